//! Refreshing without forgetting: what a commit holds after some of its seconds were walked again.
//!
//! A row that the ERP does not return any more stays: it was a version that the ERP held, and a requisition that was
//! edited since has left the range. A version that is read again unchanged keeps its old rows, with the lineage that
//! they have. Unchanged is judged for the whole version, header and all details, by value. Where anything differs,
//! header and details are new rows of one lineage. An invalid record takes the place of a row of its identity. Rows
//! that differ in their id are different rows.
//!
//! Only the old rows in the walked seconds are looked at. All others stay: [`ReplacedVersions`] tells which rows of the
//! old files do not, so that these stream from file to file. Where nothing changed the commit can be left alone.

mod lines;
mod quarantine;
mod versions;

use std::collections::{HashMap, HashSet};

use arrow_array::{BooleanArray, RecordBatch, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take_record_batch;

pub(super) use self::lines::RecordLine;
pub(crate) use self::quarantine::Touched;
use self::quarantine::{Lines, place_of_each, standing};
pub(crate) use self::versions::ReplacedVersions;
pub(super) use self::versions::{Key, keys, mismatched};
use self::versions::{SameRow, by_version, is_in, second, unreadable_times};
use super::added::AddedColumns;
use super::assemble::{Remarks, WindowRows};
use super::contract::{Contract, TableContract};
use crate::error::{Error, Result};
use crate::log::Table;
use crate::requisition::Identity;
use crate::time::{BeijingTime, Coverage, Window};

/// The old rows of one commit that lie in the walked seconds.
#[derive(Clone, Debug)]
pub(crate) struct OldRows {
    window: Window,
    walked: Coverage,
    headers: Vec<RecordBatch>,
    details: Vec<RecordBatch>,
}

impl OldRows {
    /// Those of a commit of `window`, of which the seconds of `walked` were walked; what lies outside the window does
    /// not count.
    pub(crate) fn new(window: Window, walked: impl IntoIterator<Item = Window>) -> Self {
        let walked = walked.into_iter().filter_map(|walked| walked.intersect(window)).collect();
        Self { window, walked, headers: Vec::new(), details: Vec::new() }
    }

    /// How many header rows were kept.
    pub(crate) fn headers(&self) -> u64 {
        self.headers.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    /// Takes in a batch of one of the commit's files, and keeps of it the rows in the walked seconds.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the columns are not those of the contract,
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) for a table that is never walked.
    pub(crate) fn take_in(&mut self, table: Table, batch: &RecordBatch) -> Result<()> {
        let (modified, held) = match table {
            Table::PurchaseApply => ("modified", &mut self.headers),
            Table::PurchaseApplyDetail => ("apply_modified", &mut self.details),
            Table::StopReference => return Err(Error::internal("stop references are not walked")),
        };
        let is_walked: BooleanArray =
            keys(batch, modified)?.map(|(_, micros, _)| Some(holds(&self.walked, second(micros)))).collect();
        if is_walked.true_count() > 0 {
            held.push(filtered(batch, &is_walked)?);
        }
        Ok(())
    }
}

/// What became of versions and of invalid records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Versions that the commit did not have.
    pub new: u64,
    /// Versions that were read otherwise than before.
    pub changed: u64,
    /// Versions that were read as before.
    pub unchanged: u64,
    /// Versions in the walked seconds that were not returned, and stay.
    pub not_returned: u64,
    /// Versions that were read as an invalid record now, and go.
    pub set_aside: u64,
    /// Invalid records that the commit did not have.
    pub quarantined_new: u64,
    /// Invalid records that were read as before.
    pub quarantined_unchanged: u64,
    /// Old lines that stand, because nothing that was read takes their place.
    pub quarantined_standing: u64,
    /// Old lines that something takes the place of.
    pub quarantined_gone: u64,
}

impl Changes {
    /// Whether the commit holds now what it held before, to the line.
    pub(crate) fn are_none(&self) -> bool {
        let Self { new, changed, set_aside, quarantined_new, quarantined_gone, .. } = self;
        [new, changed, set_aside, quarantined_new, quarantined_gone].iter().all(|count| **count == 0)
    }

    /// How many old header rows do not stay; all others of the commit's files do.
    pub(crate) fn replaced_headers(&self) -> u64 {
        self.changed + self.set_aside
    }
}

/// What a commit holds after some of its seconds were walked again.
#[derive(Clone, Debug)]
pub(crate) struct Reconciled {
    /// New rows of `purchase_apply`, sorted, without `_commit_id`: new versions, and those that changed.
    pub headers: RecordBatch,
    /// New rows of `purchase_apply_detail`, sorted, without `_commit_id`: all details of these headers, no others.
    pub details: RecordBatch,
    /// The old rows that do not stay.
    pub replaced: ReplacedVersions,
    /// All lines of quarantine that stand, without line breaks: old ones as they are, then new ones.
    pub quarantined: Vec<String>,
    /// What became of what was read and of what was there.
    pub changes: Changes,
    /// What is to be said of the new rows.
    pub remarks: Remarks,
}

/// What becomes of a version that is read again as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unchanged {
    /// It keeps its rows.
    Keep,
    /// It lands like one that has changed, in the place of the rows that it had.
    Replace,
}

/// Sets what a walk returned against what a commit holds. `fresh` is all that was returned of the commit's part of the
/// walked seconds, see [`share_out`]; `lines` are the old lines of quarantine.
///
/// # Errors
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the old rows do not have the contract's columns or a line
/// cannot be read, [`ErrorKind::Internal`](crate::ErrorKind::Internal) when `fresh` has rows outside the walked
/// seconds.
pub(crate) fn reconcile(
    fresh: &WindowRows,
    old: &OldRows,
    lines: &[String],
    unchanged: Unchanged,
) -> Result<Reconciled> {
    let contract = Contract::get()?;
    let headers = joined(contract.headers(), &old.headers)?;
    let details = joined(contract.details(), &old.details)?;
    let set_aside: HashSet<&Identity> = fresh.quarantined.iter().map(|record| &record.identity).collect();
    let judged = judge(contract, fresh, [&headers, &details], &set_aside, unchanged)?;
    if judged.fresh.iter().any(|(_, micros, _)| !holds(&old.walked, second(*micros))) {
        return Err(Error::internal("a row was returned that does not lie in the walked seconds"));
    }
    let Lines { texts, new, unchanged, standing, gone } = standing(fresh, old, lines, &judged.old, &set_aside)?;
    let landing = |batch: &RecordBatch, modified| {
        let is_new = keys(batch, modified)?.map(|key| Some(judged.landing.contains(&key))).collect();
        filtered(batch, &is_new)
    };
    let headers = landing(&fresh.headers, "modified")?;
    let remarks = Remarks {
        unreadable_times: unreadable_times(contract.headers(), &headers),
        with_and_without_id: judged.with_and_without_id(),
    };
    Ok(Reconciled {
        details: landing(&fresh.details, "apply_modified")?,
        headers,
        replaced: judged.replaced,
        quarantined: texts,
        changes: Changes {
            quarantined_new: new,
            quarantined_unchanged: unchanged,
            quarantined_standing: standing,
            quarantined_gone: gone,
            ..judged.changes
        },
        remarks,
    })
}

/// The seconds that must be walked again for the record of a quarantine line to be read again, in the window of its
/// commit.
///
/// # Errors
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when it is no line of a quarantine file.
pub(crate) fn refresh_range(line: &str, window: Window) -> Result<Window> {
    Ok(RecordLine::read(line)?.refresh_range(window))
}

/// Shares what a walk over several commits returned out among them: rows by their second, an invalid record without a
/// known second to the commit that has had it before, else to the first one of which seconds were requested with it.
/// Rows in seconds of no commit are left out: what is not covered is not known. `touched` is in the order of time.
///
/// # Errors
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a line of quarantine cannot be read.
pub(crate) fn share_out(fresh: &WindowRows, touched: &[Touched<'_>]) -> Result<Vec<WindowRows>> {
    let headers = shared(&fresh.headers, "modified", touched)?;
    let details = shared(&fresh.details, "apply_modified", touched)?;
    let rows = headers.into_iter().zip(details);
    let mut parts: Vec<WindowRows> = rows
        .map(|(headers, details)| WindowRows { headers, details, quarantined: Vec::new(), remarks: Remarks::default() })
        .collect();
    for (record, place) in fresh.quarantined.iter().zip(place_of_each(&fresh.quarantined, touched)?) {
        if let Some(part) = place.and_then(|place| parts.get_mut(place)) {
            part.quarantined.push(record.clone());
        }
    }
    Ok(parts)
}

/// The rows of a batch that lie in each window.
fn shared(batch: &RecordBatch, modified: &str, touched: &[Touched<'_>]) -> Result<Vec<RecordBatch>> {
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); touched.len()];
    for (row, (_, micros, _)) in keys(batch, modified)?.enumerate() {
        let place = second(micros).and_then(|second| window_of(touched, second));
        if let (Some(rows), Ok(row)) = (place.and_then(|place| rows.get_mut(place)), u32::try_from(row)) {
            rows.push(row);
        }
    }
    let taken = rows.into_iter().map(|rows| take_record_batch(batch, &UInt32Array::from(rows)));
    taken
        .map(|taken| taken.map_err(|error| Error::internal("cannot share out the rows of a walk").because(error)))
        .collect()
}

/// Which of the windows, in the order of time, has a second.
fn window_of(touched: &[Touched<'_>], second: BeijingTime) -> Option<usize> {
    let place = touched.partition_point(|touched| touched.window.end() < second);
    touched.get(place).filter(|touched| touched.window.contains(second)).map(|_| place)
}

/// Versions in the walked seconds, and what becomes of them.
struct Judged<'a> {
    fresh: HashSet<Key<'a>>,
    old: HashSet<Key<'a>>,
    /// Those of `fresh` that land.
    landing: HashSet<Key<'a>>,
    replaced: ReplacedVersions,
    changes: Changes,
}

/// Judges each version. `old` are headers and details.
fn judge<'a>(
    contract: &Contract,
    fresh: &'a WindowRows,
    old: [&'a RecordBatch; 2],
    set_aside: &HashSet<&Identity>,
    unchanged: Unchanged,
) -> Result<Judged<'a>> {
    let same_header = SameRow::new(contract.headers(), old[0], &fresh.headers)?;
    let same_detail = SameRow::new(contract.details(), old[1], &fresh.details)?;
    let (old_headers, old_details) = (by_version(old[0], "modified")?, by_version(old[1], "apply_modified")?);
    let headers = by_version(&fresh.headers, "modified")?;
    let details = by_version(&fresh.details, "apply_modified")?;

    let (mut landing, mut replaced) = (HashSet::new(), ReplacedVersions::default());
    let mut changes = Changes::default();
    for (key, row) in &headers {
        let own = |details: &HashMap<Key<'_>, _>| details.get(key).cloned().unwrap_or(0..0);
        match old_headers.get(key) {
            Some(held)
                if unchanged == Unchanged::Keep
                    && same_header.all(held.clone(), row.clone())
                    && same_detail.all(own(&old_details), own(&details)) =>
            {
                changes.unchanged += 1;
                continue;
            }
            Some(_) => {
                changes.changed += 1;
                replaced.insert(*key);
            }
            None => changes.new += 1,
        }
        landing.insert(*key);
    }
    for key in old_headers.keys().filter(|key| !headers.contains_key(*key)) {
        if is_in(set_aside, *key) {
            changes.set_aside += 1;
            replaced.insert(*key);
        } else {
            changes.not_returned += 1;
        }
    }
    let [fresh, old] = [headers, old_headers].map(|versions| versions.into_keys().collect());
    Ok(Judged { fresh, old, landing, replaced, changes })
}

impl Judged<'_> {
    /// Versions by number and second that stand with an id and without, one of the two new.
    fn with_and_without_id(&self) -> u64 {
        let is_replaced = |key: &Key<'_>| self.replaced.contains(*key) && !self.landing.contains(key);
        let mut standing: Vec<&Key<'_>> = self.fresh.union(&self.old).filter(|key| !is_replaced(key)).collect();
        standing.sort_unstable();
        let is_pair = |versions: &&[&Key<'_>]| {
            let has_both = versions.first().is_some_and(|key| key.2.is_none()) && versions.len() > 1;
            has_both && versions.iter().any(|key| self.landing.contains(*key))
        };
        standing.chunk_by(|one, next| (one.0, one.1) == (next.0, next.1)).filter(is_pair).count() as u64
    }
}

/// Whether a second is one of those.
fn holds(seconds: &Coverage, second: Option<BeijingTime>) -> bool {
    second.is_some_and(|second| {
        let windows = seconds.windows();
        windows.get(windows.partition_point(|window| window.end() < second)).is_some_and(|held| held.contains(second))
    })
}

/// The old rows of a table in one batch, with today's columns where an earlier contract has landed them.
fn joined(table: &TableContract, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let added = AddedColumns::of(table);
    let batches: Vec<RecordBatch> = batches.iter().map(|batch| added.complete(batch)).collect::<Result<_>>()?;
    let schema = batches.first().map_or_else(|| table.schema(), RecordBatch::schema);
    concat_batches(&schema, &batches).map_err(|error| mismatched("files of one commit differ").because(error))
}

fn filtered(batch: &RecordBatch, is_kept: &BooleanArray) -> Result<RecordBatch> {
    filter_record_batch(batch, is_kept).map_err(|error| Error::internal("cannot pick rows").because(error))
}

#[cfg(test)]
mod tests;
