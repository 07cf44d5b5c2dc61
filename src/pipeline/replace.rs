//! Covered seconds walked again: each commit of which something changed gives its place to one of the same window.
//!
//! Its new and changed rows stand in files of their own, apart from the rows that are carried over, which stream from
//! file to file. A commit of which nothing changed is left alone; where nothing changed at all nothing is committed.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};

use super::raw;
use super::refresh;
use super::spill::BufferedPage;
use super::window_task::{Task, TaskOutcome};
use crate::error::{Error, Result};
use crate::extract::budget::Budget;
use crate::extract::pages::{PageRows as _, Pages as _};
use crate::extract::whole::{AtInterrupt, Whole, walk_whole};
use crate::id::CommitId;
use crate::land::{NewCommit, NewFile, NewManifest, NewRows, Quarantine};
use crate::log::{CarriedRange, CommitKind, Lake, LiveCommit, Table, Walk};
use crate::parquet::{RowFilter, TableSpec, decode_span};
use crate::proof::Proof;
use crate::time::Window;
use crate::transform::{OldRows, Reconciled, ReplacedVersions, Touched, WindowRows, assemble, reconcile, share_out};
use crate::worker::blocking;

/// The part of the files with new rows; those with carried rows follow.
const NEW_PART: u32 = 1;

/// A commit of which seconds were walked again.
struct OldCommit {
    id: CommitId,
    window: Window,
    live: LiveCommit,
    /// Its lines of quarantine.
    lines: Vec<String>,
    /// Its rows in the walked seconds.
    rows: OldRows,
}

/// Walks `range` again, which is covered, and commits what has changed.
pub(super) async fn replace(task: &Task<'_>, range: Window) -> Result<TaskOutcome> {
    let begun = task.source.gateway().moment();
    let too_late = || TaskOutcome { is_too_late: true, ..TaskOutcome::default() };
    if task.latest(begun) < range.end() {
        return Ok(too_late());
    }
    let mut records = Vec::new();
    let walk = async |piece, budget: &_| {
        let (outcome, record) = task.walk(piece, budget).await?;
        records.extend(record);
        Ok(outcome)
    };
    let Whole { mut pages, mut selected, proofs, is_interrupted, .. } =
        walk_whole(range, range, task.source.extra_seconds(), AtInterrupt::End, walk).await?;
    if is_interrupted {
        return Ok(TaskOutcome::default());
    }
    if task.latest(begun) < range.end() {
        return Ok(too_late());
    }
    let lake = task.writer.view().await;
    let old = match read_old(&lake, range, task.specs).await {
        Ok(old) => old,
        Err(error) => return overtaken(task, range, error).await,
    };
    let decoder = task.source.decoder().clone();
    let (fresh, old, reconciled, raw, extra) = blocking(move || {
        // A row of the second after a piece lands with the next piece; a record without a readable modified time may
        // have come with both.
        let extra = drop_extra_rows(&pages, &mut selected);
        pages.iter_mut().try_for_each(|page: &mut BufferedPage| page.restore(&decoder))?;
        let fresh = assemble(pages, &selected)?;
        let reconciled = reconcile_all(&fresh, &old)?;
        Ok((fresh, old, reconciled, raw::join(records, range)?, extra))
    })
    .await?;
    let first_invalid = fresh.quarantined.first().map(|record| record.message());
    let left = reconciled.iter().filter(|of_commit| of_commit.changes.are_none());
    let still_invalid = left.map(|of_commit| of_commit.changes.quarantined_unchanged).sum();
    let proof = proof_of(Proof::of_pieces(proofs), &fresh, &old, &reconciled, extra);
    let mut outcome = TaskOutcome { still_invalid, ..TaskOutcome::default() };
    let Some((new, remarks)) = changed(task.specs, Walk { window: range, proof }, old, reconciled, raw) else {
        outcome.has_proved = true;
        return Ok(outcome);
    };
    task.commit(new, remarks, first_invalid, &Budget::default(), &mut outcome).await?;
    Ok(outcome)
}

/// What the commits that cover a part of `range` hold. What is damaged is an error: it must not be carried over, nor
/// replaced.
async fn read_old(lake: &Lake, range: Window, specs: &[Arc<TableSpec>; 2]) -> Result<Vec<OldCommit>> {
    let mut all = Vec::new();
    for (id, window) in lake.state().touching(range) {
        let Some(live) = lake.state().live().get(&id).cloned() else { continue };
        let mut lines = Vec::new();
        for entry in &live.quarantine {
            let bytes = lake.read(entry).await?;
            lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
        }
        let mut rows = OldRows::new(window, [range]);
        for file in &live.files {
            let held = Window::new(file.min_modified, file.max_modified);
            let spec = specs.iter().find(|spec| spec.table.name() == file.table);
            let Some(spec) = spec.filter(|_| held.is_some_and(|held| held.intersect(range).is_some())) else {
                continue;
            };
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
        all.push(OldCommit { id, window, live, lines, rows });
    }
    Ok(all)
}

fn reconcile_all(fresh: &WindowRows, old: &[OldCommit]) -> Result<Vec<Reconciled>> {
    let touched: Vec<Touched<'_>> = old.iter().map(|old| Touched { window: old.window, lines: &old.lines }).collect();
    let shares = share_out(fresh, &touched)?;
    shares.iter().zip(old).map(|(fresh, old)| reconcile(fresh, &old.rows, &old.lines)).collect()
}

/// The proof of the walk, with the rows of all commits that change.
fn proof_of(proof: Proof, fresh: &WindowRows, old: &[OldCommit], reconciled: &[Reconciled], extra: u64) -> Proof {
    let mut proof = Proof {
        distinct_rows: (fresh.headers.num_rows() + fresh.quarantined.len()) as u64 + extra,
        rows_landed: 0,
        rows_quarantined: 0,
        ..proof
    };
    for (old, Reconciled { changes, .. }) in old.iter().zip(reconciled) {
        proof.rows_unchanged += changes.unchanged;
        if changes.are_none() {
            proof.rows_unchanged += changes.quarantined_unchanged;
            continue;
        }
        proof.rows_landed += changes.new + changes.changed;
        proof.rows_quarantined += changes.quarantined_new + changes.quarantined_unchanged;
        proof.rows_carried += old.live.rows(Table::PurchaseApply).saturating_sub(changes.replaced_headers());
        proof.quarantined_carried += changes.quarantined_standing;
    }
    proof
}

/// What is to be committed, and what is to be said of the new rows; nothing where nothing changed.
fn changed(
    specs: &[Arc<TableSpec>; 2],
    walk: Walk,
    old: Vec<OldCommit>,
    reconciled: Vec<Reconciled>,
    raw: Option<crate::land::Raw>,
) -> Option<(NewManifest, crate::transform::Remarks)> {
    let (mut commits, mut removes) = (Vec::new(), Vec::new());
    let mut remarks = crate::transform::Remarks::default();
    for (old, reconciled) in old.into_iter().zip(reconciled).filter(|(_, reconciled)| !reconciled.changes.are_none()) {
        remarks += reconciled.remarks;
        removes.push(old.id);
        let replaced = Arc::new(reconciled.replaced);
        let fresh = specs.iter().zip([reconciled.headers, reconciled.details]);
        let files = fresh.flat_map(|(spec, rows)| {
            let new = NewRows::New(vec![rows].into());
            let own = old.live.files.iter().filter(|file| file.table == spec.table.name());
            let filter = KeptVersions::filter(&replaced, spec);
            let carried = NewRows::Carried { files: own.cloned().collect(), filter };
            [(NEW_PART, new), (NEW_PART + 1, carried)].map(|(part, rows)| NewFile {
                spec: Arc::clone(spec),
                span: None,
                part: Some(part),
                rows,
            })
        });
        commits.push(NewCommit {
            compacted: old.live.compacted,
            carried: carried_ranges(&old, walk.window),
            files: files.collect(),
            quarantine: Quarantine::of_lines(reconciled.quarantined.into_iter()),
            kept_raw: old.live.raw,
            ..NewCommit::of(CommitKind::Refresh, Some(old.window))
        });
    }
    let new = NewManifest { walk: Some(walk), commits, removes, raw };
    (!new.commits.is_empty()).then_some((new, remarks))
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
    fn filter(replaced: &Arc<ReplacedVersions>, spec: &TableSpec) -> Option<Arc<dyn RowFilter>> {
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

/// What is left to do when another run has replaced some of the same commits meanwhile, and deleted their files; else
/// `error` stands.
async fn overtaken(task: &Task<'_>, range: Window, error: Error) -> Result<TaskOutcome> {
    let before = task.writer.view().await;
    task.writer.follow().await?;
    let lake = task.writer.view().await;
    if before.state().touching(range) == lake.state().touching(range) {
        return Err(error);
    }
    Ok(TaskOutcome { walk_again: refresh::plan_again(&lake, range, task.options), ..TaskOutcome::default() })
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
            let old =
                OldCommit { id: CommitId::generate(), window: window(0, 99), live: live(carried), lines: vec![], rows };
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
