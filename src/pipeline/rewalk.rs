//! A range that is walked again and replaces what the lake holds of it, whatever that is.
//!
//! - **Live seconds** are read as by a refresh, but every version that is returned lands as a new row, in the place of
//!   what stood there; rows of other seconds and versions that are not returned are carried over.
//! - **A commit of which an object is missing or was changed** is not read: its whole window is walked, and its place
//!   is taken by what the walk returned.
//! - **Expired seconds** become a window again. The manifest takes the place of the live expire commit by two commits:
//!   the window, and an expire commit of the other ranges with the other rows.
//!
//! Seconds that are not covered are walked as by any run.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{BooleanArray, RecordBatch};

use super::expire::open::by_month;
use super::replace::{
    OldCommit, TooLarge, WalkedAgain, changed, compare, drop_extra_rows, holds_some_of, is_overtaken, parts, read_old,
    read_rows, walk_again,
};
use super::report::Damage;
use super::rewalk_plan::{Piece, RewalkPlan, plan};
use super::window_task::{Task, TaskOutcome, recorded};
use super::{parts as large, raw};
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::extract::budget::Budget;
use crate::land::{Committed, NewCommit, NewManifest, NewRows, Quarantine};
use crate::log::{CommitKind, LiveCommit, Table, Walk};
use crate::parquet::{RowFilter, TableSpec};
use crate::proof::Proof;
use crate::time::{Coverage, Window};
use crate::transform::{Assembly, OldRows, ReplacedVersions, Unchanged};
use crate::worker::blocking;

/// Notes the rows that a commit of `window` has read in the place of damaged ones.
pub(super) fn note_read(damage: &mut [Damage], window: Window, committed: &Committed) {
    let new = |table: Table| {
        let files = committed.files().filter(|file| !file.carried && file.table == table.name());
        files.map(|file| file.rows).sum::<u64>()
    };
    for damage in damage.iter_mut().filter(|damage| damage.window.overlaps(window)) {
        damage.read[0] += new(Table::PurchaseApply);
        damage.read[1] += new(Table::PurchaseApplyDetail);
    }
}

/// Walks a piece, and commits what it returned in the place of what is there.
pub(super) async fn rewalk(task: &Task<'_>, piece: Piece) -> Result<TaskOutcome> {
    let window = piece.window();
    let before = task.writer.view().await;
    let done = match &piece {
        Piece::Unplanned(_) => {
            let RewalkPlan { pieces, damage } = plan(&before, window, task.options).await?;
            return Ok(TaskOutcome { rewalk: pieces, damage, ..TaskOutcome::default() });
        }
        Piece::Live(_) => live(task, window).await,
        Piece::Expired(_, unread) => expired(task, window, unread).await,
        Piece::Damaged(_) => restore(task, window).await,
    };
    let mut outcome = match done {
        Err(error) if error.kind() == ErrorKind::Defect && is_overtaken(task, &before, window).await? => {
            tracing::debug!(%error, "another run has replaced some of the commits");
            TaskOutcome { walk_again: vec![window], ..TaskOutcome::default() }
        }
        done => done?,
    };
    // What another run has changed meanwhile may be of another kind now.
    outcome.rewalk.extend(std::mem::take(&mut outcome.walk_again).into_iter().map(Piece::Unplanned));
    Ok(outcome)
}

async fn live(task: &Task<'_>, range: Window) -> Result<TaskOutcome> {
    let walked = match walk_again(task, range, TooLarge::GiveBack).await? {
        Ok(walked) => walked,
        Err(outcome) => return Ok(outcome),
    };
    let _memory = walked.reserve(task).await;
    let old = read_old(&task.writer.view().await, range, task.specs).await?;
    let compared = compare(task, walked, old, Unchanged::Replace).await?;
    let first_invalid = compared.first_invalid.clone();
    let mut outcome = TaskOutcome::default();
    if let Some((new, remarks)) = changed(task.specs, compared, Unchanged::Replace) {
        task.commit(new, remarks, first_invalid, &Budget::default(), &mut outcome).await?;
    }
    Ok(outcome)
}

/// Walks the whole window of a commit that cannot be read, and takes its place.
async fn restore(task: &Task<'_>, window: Window) -> Result<TaskOutcome> {
    let walked = match walk_again(task, window, TooLarge::Join).await? {
        Ok(walked) => walked,
        Err(outcome) => return Ok(outcome),
    };
    let touched = task.writer.view().await.state().touching(window);
    let [(id, _)] = touched[..] else {
        return Ok(TaskOutcome { walk_again: vec![window], ..TaskOutcome::default() });
    };
    let _memory = walked.reserve(task).await;
    let WalkedAgain { pages, mut selected, proofs, records, .. } = walked;
    let (decoder, specs) = (task.source.decoder().clone(), task.specs.clone());
    let memory_bytes = task.memory.division().reserved_bytes;
    let (assembly, files, extra, raw) = blocking(move || {
        let extra = drop_extra_rows(&pages, &mut selected);
        let pages: Arc<[_]> = pages.into();
        let assembly = Assembly::new(Arc::clone(&pages), &selected)?;
        let files = large::cut(&assembly, &pages, &selected, &decoder, memory_bytes, &specs)?;
        Ok((assembly, files, extra, raw::join(records, window)?))
    })
    .await?;
    let quarantined = assembly.quarantined();
    let rows = assembly.header_rows();
    let proof = Proof { distinct_rows: (rows + quarantined.len()) as u64 + extra, ..Proof::of_pieces(proofs) };
    let proof = recorded(proof, rows, quarantined.len());
    let commit = NewCommit {
        files,
        quarantine: Quarantine::of_lines(quarantined.iter().map(|record| record.to_json_line())),
        ..NewCommit::of(CommitKind::Rewalk, Some(window))
    };
    let new = NewManifest { walk: Some(Walk { window, proof }), commits: vec![commit], removes: vec![id], raw };
    let first_invalid = quarantined.first().map(|record| record.message());
    let mut outcome = TaskOutcome::default();
    task.commit(new, assembly.remarks(), first_invalid, &Budget::default(), &mut outcome).await?;
    Ok(outcome)
}

/// Walks expired seconds. `unread` are files of the expire commit that are damaged.
async fn expired(task: &Task<'_>, range: Window, unread: &[String]) -> Result<TaskOutcome> {
    let walked = match walk_again(task, range, TooLarge::GiveBack).await? {
        Ok(walked) => walked,
        // The pieces of a month whose files are damaged do not find that again.
        Err(mut outcome) => {
            let pieces = std::mem::take(&mut outcome.walk_again).into_iter();
            outcome.rewalk.extend(pieces.map(|window| Piece::Expired(window, unread.into())));
            return Ok(outcome);
        }
    };
    let lake = task.writer.view().await;
    let held = lake.state().expired().map(|(id, live)| (id, live.clone()));
    let is_expired = |live: &LiveCommit| live.expired.iter().copied().collect::<Coverage>().gaps(range).is_empty();
    let Some((id, mut live)) = held.filter(|(_, live)| is_expired(live)) else {
        return Ok(TaskOutcome { walk_again: vec![range], ..TaskOutcome::default() });
    };
    live.files.retain(|file| !unread.contains(&file.path));
    let _memory = walked.reserve(task).await;
    let rows = read_rows(&lake, &live.files, OldRows::new(range, [range]), range, task.specs).await?;
    let headers = rows.headers();
    let old = OldCommit { id, window: range, live: live.clone(), lines: Vec::new(), rows, headers };
    let mut compared = compare(task, walked, vec![old], Unchanged::Replace).await?;
    let (first_invalid, mut outcome) = (compared.first_invalid.take(), TaskOutcome::default());
    let Some(reconciled) = compared.reconciled.pop() else { return Ok(outcome) };

    let replaced = Arc::new(reconciled.replaced);
    let fresh = task.specs.iter().zip([reconciled.headers, reconciled.details]);
    let files = fresh.flat_map(|(spec, rows)| {
        let own = live.files.iter().filter(|file| file.table == spec.table.name() && holds_some_of(file, range));
        let filter = SecondsFilter::of(spec, range, Side::Within, Some(&replaced));
        let carried = NewRows::Carried { files: own.cloned().collect(), filter: Some(filter) };
        parts(spec, NewRows::New(vec![rows].into()), carried)
    });
    let mut commits = vec![NewCommit {
        files: files.collect(),
        quarantine: Quarantine::of_lines(reconciled.quarantined.into_iter()),
        ..NewCommit::of(CommitKind::Rewalk, Some(range))
    }];
    commits.extend(rest(task.specs, live, range));
    let new = NewManifest { walk: Some(compared.walk), commits, removes: vec![id], raw: compared.raw };
    task.commit(new, reconciled.remarks, first_invalid, &Budget::default(), &mut outcome).await?;
    Ok(outcome)
}

/// What is left of an expire commit without the seconds of `range`, if anything is.
fn rest(specs: &[Arc<TableSpec>; 2], live: LiveCommit, range: Window) -> Option<NewCommit> {
    let mut left: Coverage = live.expired.iter().copied().collect();
    left.remove(range);
    let expired = left.windows().to_vec();
    let filter = |spec: &TableSpec| Some(SecondsFilter::of(spec, range, Side::Outside, None));
    let files = by_month(specs, live.files, filter);
    (!expired.is_empty()).then(|| NewCommit { expired, files, ..NewCommit::of(CommitKind::Expire, None) })
}

/// Which rows stay, as seen from a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Within,
    Outside,
}

/// Keeps the rows on one side of a range, but for versions that are replaced.
struct SecondsFilter {
    range: Window,
    side: Side,
    replaced: Arc<ReplacedVersions>,
    modified: String,
    columns: Vec<String>,
}

impl SecondsFilter {
    fn of(spec: &TableSpec, range: Window, side: Side, replaced: Option<&Arc<ReplacedVersions>>) -> Arc<dyn RowFilter> {
        let (modified, columns) = (spec.modified.clone(), spec.sorted_by.clone());
        Arc::new(Self { range, side, replaced: replaced.cloned().unwrap_or_default(), modified, columns })
    }
}

impl RowFilter for SecondsFilter {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn keep(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let stays = self.replaced.keep(rows, &self.modified)?;
        let times = rows.column_by_name(&self.modified);
        let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.ok_or_else(|| Error::new(ErrorClass::FileDamaged, "modified times are no timestamps"))?;
        let seconds = self.range.start().unix()..=self.range.end().unix();
        let is_on_side =
            |row: usize| seconds.contains(&times.value(row).div_euclid(1_000_000)) == (self.side == Side::Within);
        Ok((0..times.len()).map(|row| Some(stays.value(row) && is_on_side(row))).collect())
    }
}
