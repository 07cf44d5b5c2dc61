//! Covered seconds walked again: each commit of which something changed gives its place to one of the same window.
//!
//! Its new and changed rows stand in files of their own, apart from the rows that are carried over, which stream from
//! file to file. A commit of which nothing changed is left alone; where nothing changed at all nothing is committed.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};

use super::memory::Reservation;
use super::raw::{self, Record};
use super::spill::BufferedPage;
use super::window_task::{Task, TaskOutcome};
use super::{Again, REWALKED_ROW_BYTES, refresh};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::budget::Budget;
use crate::extract::pages::{PageRows as _, Pages as _};
use crate::extract::walk::Walked;
use crate::extract::whole::{AtInterrupt, Whole, walk_whole};
use crate::id::CommitId;
use crate::land::{NewCommit, NewFile, NewManifest, NewRows, Quarantine, Raw};
use crate::log::{CarriedRange, CommitKind, FileEntry, Lake, LiveCommit, Table, Walk};
use crate::parquet::{RowFilter, TableSpec, decode_span};
use crate::proof::Proof;
use crate::time::Window;
use crate::transform::{
    Changes, OldRows, Reconciled, Remarks, ReplacedVersions, Touched, Unchanged, WindowRows, assemble, reconcile,
    share_out,
};
use crate::worker::blocking;

/// The part of the files with new rows; those with carried rows follow.
const NEW_PART: u32 = 1;

/// A commit of which seconds were walked again.
pub(super) struct OldCommit {
    pub(super) id: CommitId,
    pub(super) window: Window,
    pub(super) live: LiveCommit,
    /// Its lines of quarantine.
    pub(super) lines: Vec<String>,
    /// Its rows in the walked seconds.
    pub(super) rows: OldRows,
    /// The header rows that its successor has, but for those that are replaced.
    pub(super) headers: u64,
}

/// What a walk over covered seconds has returned.
pub(super) struct WalkedAgain {
    pub(super) range: Window,
    pub(super) pages: Vec<BufferedPage>,
    pub(super) selected: Vec<(usize, usize)>,
    pub(super) proofs: Vec<Proof>,
    pub(super) records: Vec<Record>,
}

impl WalkedAgain {
    /// Waits for the memory in which it is put together with what it replaces. No call is made as long as that is held.
    pub(super) async fn reserve(&self, task: &Task<'_>) -> Reservation {
        task.memory.reserve(self.selected.len().saturating_mul(REWALKED_ROW_BYTES)).await
    }
}

/// What was returned, set against what commits hold.
pub(super) struct Compared {
    pub(super) old: Vec<OldCommit>,
    pub(super) reconciled: Vec<Reconciled>,
    pub(super) walk: Walk,
    pub(super) raw: Option<Raw>,
    /// What is wrong with the first record that is invalid.
    pub(super) first_invalid: Option<String>,
}

/// What is done about a range that is more than one walk should read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooLarge {
    /// It is walked in pieces, and they are put together.
    Join,
    /// It is given back in pieces, each to be committed by itself.
    GiveBack,
}

/// Walks `range` again, which is covered, and commits what has changed.
pub(super) async fn replace(task: &Task<'_>, range: Window) -> Result<TaskOutcome> {
    // A quarantined record of unknown second is told to be gone only by a walk over all that was requested with it.
    let too_large = match task.options.again {
        Again::Quarantined => TooLarge::Join,
        Again::None => TooLarge::GiveBack,
    };
    let walked = match walk_again(task, range, too_large).await? {
        Ok(walked) => walked,
        Err(outcome) => return Ok(outcome),
    };
    let lake = task.writer.view().await;
    match commit_changes(task, walked, &lake).await {
        Err(error) if error.kind() == ErrorKind::Defect && is_overtaken(task, &lake, range).await? => {
            tracing::debug!(%error, "another run has replaced some of the commits");
            let walk_again = refresh::plan_again(&task.writer.view().await, range, task.options);
            Ok(TaskOutcome { walk_again, ..TaskOutcome::default() })
        }
        done => done,
    }
}

async fn commit_changes(task: &Task<'_>, walked: WalkedAgain, lake: &Lake) -> Result<TaskOutcome> {
    let _memory = walked.reserve(task).await;
    let old = read_old(lake, walked.range, task.specs).await?;
    let compared = compare(task, walked, old, Unchanged::Keep).await?;
    let left = compared.reconciled.iter().filter(|of_commit| of_commit.changes.are_none());
    let still_invalid = left.map(|of_commit| of_commit.changes.quarantined_unchanged).sum();
    let mut outcome = TaskOutcome { still_invalid, ..TaskOutcome::default() };
    let first_invalid = compared.first_invalid.clone();
    let Some((new, remarks)) = changed(task.specs, compared, Unchanged::Keep) else {
        outcome.has_proved = true;
        return Ok(outcome);
    };
    task.commit(new, remarks, first_invalid, &Budget::default(), &mut outcome).await?;
    Ok(outcome)
}

/// Walks `range`, which is covered; the other outcome says why there is nothing to commit.
pub(super) async fn walk_again(
    task: &Task<'_>,
    range: Window,
    too_large: TooLarge,
) -> Result<std::result::Result<WalkedAgain, TaskOutcome>> {
    let begun = task.source.gateway().moment();
    let too_late = || TaskOutcome { is_too_late: true, ..TaskOutcome::default() };
    if task.latest(begun) < range.end() {
        return Ok(Err(too_late()));
    }
    let (mut records, mut given_back) = (Vec::new(), None);
    let walk = async |piece: Window, budget: &_| {
        let (outcome, record) = task.walk(piece, budget).await?;
        if let (TooLarge::GiveBack, Ok(Walked::TooLarge { pieces, .. })) = (too_large, &outcome.walked)
            && piece == range
            && piece.seconds() > 1
        {
            given_back = Some(*pieces);
            return Err(Error::internal("the range is given back in pieces"));
        }
        records.extend(record);
        Ok(outcome)
    };
    let whole = walk_whole(range, range, task.source.extra_seconds(), AtInterrupt::End, walk).await;
    if let Some(pieces) = given_back {
        return Ok(Err(TaskOutcome { walk_again: range.pieces(pieces), ..TaskOutcome::default() }));
    }
    let Whole { pages, selected, proofs, is_interrupted, .. } = whole?;
    if is_interrupted {
        return Ok(Err(TaskOutcome::default()));
    }
    if task.latest(begun) < range.end() {
        return Ok(Err(too_late()));
    }
    Ok(Ok(WalkedAgain { range, pages, selected, proofs, records }))
}

/// Sets what a walk has returned against what commits hold.
pub(super) async fn compare(
    task: &Task<'_>,
    walked: WalkedAgain,
    old: Vec<OldCommit>,
    unchanged: Unchanged,
) -> Result<Compared> {
    let WalkedAgain { range, mut pages, mut selected, proofs, records } = walked;
    let decoder = task.source.decoder().clone();
    blocking(move || {
        // A row of the second after a piece lands with the next piece; a record without a readable modified time may
        // have come with both.
        let extra = drop_extra_rows(&pages, &mut selected);
        pages.iter_mut().try_for_each(|page: &mut BufferedPage| page.restore(&decoder))?;
        let fresh = assemble(pages, &selected)?;
        let reconciled = reconcile_all(&fresh, &old, unchanged)?;
        let proof = proof_of(Proof::of_pieces(proofs), &fresh, &old, &reconciled, extra, unchanged);
        Ok(Compared {
            old,
            reconciled,
            walk: Walk { window: range, proof },
            raw: raw::join(records, range)?,
            first_invalid: fresh.quarantined.first().map(|record| record.message()),
        })
    })
    .await
}

/// What the commits that cover a part of `range` hold. What is damaged is an error: it must not be carried over, nor
/// replaced.
pub(super) async fn read_old(lake: &Lake, range: Window, specs: &[Arc<TableSpec>; 2]) -> Result<Vec<OldCommit>> {
    let mut all = Vec::new();
    for (id, window) in lake.state().touching(range) {
        let Some(live) = lake.state().live().get(&id).cloned() else { continue };
        let mut lines = Vec::new();
        for entry in &live.quarantine {
            let bytes = lake.read(entry).await?;
            lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
        }
        let rows = read_rows(lake, &live.files, OldRows::new(window, [range]), range, specs).await?;
        let headers = live.rows(Table::PurchaseApply);
        all.push(OldCommit { id, window, live, lines, rows, headers });
    }
    Ok(all)
}

/// Adds the rows of `files` in the seconds of `range` to `rows`.
pub(super) async fn read_rows(
    lake: &Lake,
    files: &[FileEntry],
    mut rows: OldRows,
    range: Window,
    specs: &[Arc<TableSpec>; 2],
) -> Result<OldRows> {
    for file in files.iter().filter(|file| holds_some_of(file, range)) {
        let Some(spec) = specs.iter().find(|spec| spec.table.name() == file.table) else { continue };
        let (bytes, modified, path) = (lake.fetch(file).await?, spec.modified.clone(), file.path.clone());
        let (table, mut taken) = (spec.table, rows);
        rows = blocking(move || {
            for batch in decode_span(bytes, &modified, range)? {
                taken.take_in(table, &batch?)?;
            }
            Ok(taken)
        })
        .await
        .map_err(|error: Error| error.with("path", path))?;
    }
    Ok(rows)
}

/// Whether a file can have rows in these seconds.
pub(super) fn holds_some_of(file: &FileEntry, range: Window) -> bool {
    Window::new(file.min_modified, file.max_modified).is_some_and(|held| held.overlaps(range))
}

fn reconcile_all(fresh: &WindowRows, old: &[OldCommit], unchanged: Unchanged) -> Result<Vec<Reconciled>> {
    let touched: Vec<Touched<'_>> = old.iter().map(|old| Touched { window: old.window, lines: &old.lines }).collect();
    let shares = share_out(fresh, &touched)?;
    shares.iter().zip(old).map(|(fresh, old)| reconcile(fresh, &old.rows, &old.lines, unchanged)).collect()
}

/// The proof of the walk, with the rows of all commits that change.
fn proof_of(
    proof: Proof,
    fresh: &WindowRows,
    old: &[OldCommit],
    reconciled: &[Reconciled],
    extra: u64,
    unchanged: Unchanged,
) -> Proof {
    let mut proof = Proof {
        distinct_rows: (fresh.headers.num_rows() + fresh.quarantined.len()) as u64 + extra,
        rows_landed: 0,
        rows_quarantined: 0,
        ..proof
    };
    for (old, Reconciled { changes, .. }) in old.iter().zip(reconciled) {
        proof.rows_unchanged += changes.unchanged;
        if stays(changes, unchanged) {
            proof.rows_unchanged += changes.quarantined_unchanged;
            continue;
        }
        proof.rows_landed += changes.new + changes.changed;
        proof.rows_quarantined += changes.quarantined_new + changes.quarantined_unchanged;
        proof.rows_carried += old.headers.saturating_sub(changes.replaced_headers());
        proof.quarantined_carried += changes.quarantined_standing;
    }
    proof
}

/// Whether a commit keeps its place. What is read anew takes it in any case.
fn stays(changes: &Changes, unchanged: Unchanged) -> bool {
    unchanged == Unchanged::Keep && changes.are_none()
}

/// What is to be committed, and what is to be said of the new rows; nothing where nothing changed.
pub(super) fn changed(
    specs: &[Arc<TableSpec>; 2],
    compared: Compared,
    unchanged: Unchanged,
) -> Option<(NewManifest, Remarks)> {
    let Compared { old, reconciled, walk, raw, .. } = compared;
    let kind = match unchanged {
        Unchanged::Keep => CommitKind::Refresh,
        Unchanged::Replace => CommitKind::Rewalk,
    };
    let (mut commits, mut removes) = (Vec::new(), Vec::new());
    let mut remarks = Remarks::default();
    for (old, reconciled) in old.into_iter().zip(reconciled).filter(|(_, done)| !stays(&done.changes, unchanged)) {
        remarks += reconciled.remarks;
        removes.push(old.id);
        let replaced = Arc::new(reconciled.replaced);
        let fresh = specs.iter().zip([reconciled.headers, reconciled.details]);
        let files = fresh.flat_map(|(spec, rows)| {
            let new = NewRows::New(vec![rows].into());
            let own = old.live.files.iter().filter(|file| file.table == spec.table.name());
            let filter = KeptVersions::of(&replaced, spec);
            let carried = NewRows::Carried { files: own.cloned().collect(), filter };
            parts(spec, new, carried)
        });
        commits.push(NewCommit {
            compacted: old.live.compacted,
            carried: carried_ranges(&old, walk.window),
            files: files.collect(),
            quarantine: Quarantine::of_lines(reconciled.quarantined.into_iter()),
            kept_raw: old.live.raw,
            ..NewCommit::of(kind, Some(old.window))
        });
    }
    let new = NewManifest { walk: Some(walk), commits, removes, raw };
    (!new.commits.is_empty()).then_some((new, remarks))
}

/// The files of a table: new rows apart from carried ones.
pub(super) fn parts(spec: &Arc<TableSpec>, new: NewRows, carried: NewRows) -> [NewFile; 2] {
    [(NEW_PART, new), (NEW_PART + 1, carried)].map(|(part, rows)| NewFile {
        spec: Arc::clone(spec),
        span: None,
        part: Some(part),
        rows,
    })
}

/// The parts of a commit's window that were not walked, each with the manifest that proved it.
fn carried_ranges(old: &OldCommit, walked: Window) -> Vec<CarriedRange> {
    let mut ranges = Vec::new();
    for rest in std::iter::once(walked).collect::<crate::time::Coverage>().gaps(old.window) {
        let elsewhere =
            old.live.carried.iter().filter_map(|range| {
                Some(CarriedRange { window: range.window.intersect(rest)?, manifest: range.manifest })
            });
        let elsewhere: Vec<CarriedRange> = elsewhere.collect();
        let proved: crate::time::Coverage = elsewhere.iter().map(|range| range.window).collect();
        let own = proved.gaps(rest).into_iter().map(|window| CarriedRange { window, manifest: old.live.number });
        ranges.extend(own.chain(elsewhere));
    }
    ranges.sort_unstable_by_key(|range| range.window);
    ranges.dedup_by(|next, before| {
        let joins = before.manifest == next.manifest && before.window.end().plus_seconds(1) == next.window.start();
        if joins {
            before.window = before.window.hull(next.window);
        }
        joins
    });
    ranges
}

/// The rows of a replaced commit that stay.
struct KeptVersions {
    replaced: Arc<ReplacedVersions>,
    modified: String,
    /// The columns by which a version is told: those by which its table is sorted.
    columns: Vec<String>,
}

impl KeptVersions {
    fn of(replaced: &Arc<ReplacedVersions>, spec: &TableSpec) -> Option<Arc<dyn RowFilter>> {
        if replaced.is_empty() {
            return None;
        }
        let (modified, columns) = (spec.modified.clone(), spec.sorted_by.clone());
        Some(Arc::new(Self { replaced: Arc::clone(replaced), modified, columns }))
    }
}

impl RowFilter for KeptVersions {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn keep(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        self.replaced.keep(rows, &self.modified)
    }
}

/// Whether another run has replaced some of the commits of `range` since `before`, and may have deleted their files.
pub(super) async fn is_overtaken(task: &Task<'_>, before: &Lake, range: Window) -> Result<bool> {
    let of_range = |lake: &Lake| (lake.state().touching(range), lake.state().expired().map(|(id, _)| id));
    task.writer.follow().await?;
    Ok(of_range(before) != of_range(&task.writer.view().await))
}

/// Of rows that several walks have given: drops those of the second after a piece, which land with the next piece, and
/// all but one of a record without a readable modified time that came with both. Gives how many versions were dropped,
/// which the totals of the walks count.
pub(super) fn drop_extra_rows(pages: &[BufferedPage], selected: &mut Vec<(usize, usize)>) -> u64 {
    let (mut landed, mut extra) = (HashSet::new(), HashSet::new());
    selected.retain(|(page, row)| {
        let identity = &pages[*page].rows()[*row].identity;
        let is_extra = pages[*page].is_extra(*row);
        let is_new = if is_extra { &mut extra } else { &mut landed }.insert(identity);
        is_new && !is_extra
    });
    extra.difference(&landed).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::land::testing::window;

    #[test]
    fn what_was_not_walked_is_followed_to_the_manifest_that_proved_it() {
        let live = |carried| LiveCommit {
            number: 7,
            kind: CommitKind::Refresh,
            window: Some(window(0, 99)),
            compacted: 0,
            carried,
            expired: vec![],
            files: vec![],
            quarantine: vec![],
            raw: vec![],
        };
        let range = |start, end, manifest| CarriedRange { window: window(start, end), manifest };
        let of = |carried, walked| {
            let rows = OldRows::new(window(0, 99), [walked]);
            let old = OldCommit {
                id: CommitId::generate(),
                window: window(0, 99),
                live: live(carried),
                lines: vec![],
                rows,
                headers: 0,
            };
            carried_ranges(&old, walked)
        };
        assert_eq!(of(vec![], window(0, 99)), []);
        assert_eq!(of(vec![], window(60, 150)), [range(0, 59, 7)]);
        assert_eq!(of(vec![], window(40, 59)), [range(0, 39, 7), range(60, 99, 7)]);
        let carried = vec![range(0, 49, 3)];
        assert_eq!(of(carried.clone(), window(60, 99)), [range(0, 49, 3), range(50, 59, 7)]);
        assert_eq!(of(carried.clone(), window(20, 29)), [range(0, 19, 3), range(30, 49, 3), range(50, 99, 7)]);
        assert_eq!(of(carried, window(0, 49)), [range(50, 99, 7)]);
    }
}
