//! Refreshing without forgetting: the rows of replaced files that a new walk did not return stay in the lake.
//!
//! A requisition that was edited since the first walk has left the window, and the new walk cannot see its old version
//! any more. It was a version that the ERP held, so it is carried over. Of two readings of one identity the newer wins,
//! header and details together, whether it fitted or not. Rows that differ in their id are different rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow_array::{RecordBatch, new_null_array};
use arrow_schema::{FieldRef, Fields, Schema};
use arrow_select::interleave::interleave;

use super::lines::{ReadAgain, RecordLine};
use super::versions::{Key, is_in, keys, mismatched};
use crate::error::Result;
use crate::requisition::Identity;
use crate::transform::assemble::{Remarks, WindowRows};
use crate::transform::contract::{COMMIT_ID, Contract, TableContract};

/// What the replaced files hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplacedRows {
    /// Rows of `purchase_apply`.
    pub headers: Vec<RecordBatch>,
    /// Rows of `purchase_apply_detail`.
    pub details: Vec<RecordBatch>,
    /// Lines of the quarantine files.
    pub quarantined: Vec<String>,
}

/// A window after a refresh.
#[derive(Clone, Debug)]
pub(crate) struct Refreshed {
    /// Rows of `purchase_apply`, sorted.
    pub headers: RecordBatch,
    /// Rows of `purchase_apply_detail`, sorted.
    pub details: RecordBatch,
    /// Lines of the quarantine file, without line breaks.
    pub quarantined: Vec<String>,
    /// Header rows that were carried over.
    pub carried_headers: u64,
    /// Quarantined records that were carried over.
    pub carried_quarantined: u64,
    /// What is to be said of the rows; of times only where they were read now.
    pub remarks: Remarks,
}

/// Adds to `fresh` what `held` has and `fresh` has not, by identity. `fresh` is all that a walk of the held windows
/// returned.
///
/// # Errors
/// `Defect` when the held rows do not have the contract's columns or a quarantine line cannot be read.
pub(crate) fn carry_over(fresh: &WindowRows, held: &ReplacedRows) -> Result<Refreshed> {
    let contract = Contract::get()?;
    let set_aside: HashSet<&Identity> = fresh.quarantined.iter().map(|record| &record.identity).collect();
    let headers: Vec<&RecordBatch> = std::iter::once(&fresh.headers).chain(&held.headers).collect();
    let details: Vec<&RecordBatch> = std::iter::once(&fresh.details).chain(&held.details).collect();

    // The first batch that has a key keeps it: fresh rows come first, and held files never share a key.
    let mut rows: BTreeMap<Key<'_>, (usize, usize)> = BTreeMap::new();
    let mut held_keys: HashSet<Key<'_>> = HashSet::new();
    for (batch, keys) in headers.iter().enumerate().map(|(batch, rows)| (batch, keys(rows, "modified"))) {
        for (row, key) in keys?.enumerate() {
            if batch > 0 {
                held_keys.insert(key);
            }
            if batch == 0 || !is_in(&set_aside, key) {
                rows.entry(key).or_insert((batch, row));
            }
        }
    }
    let carried_headers = rows.values().filter(|(batch, _)| *batch > 0).count() as u64;
    let with_and_without_id = rows
        .keys()
        .zip(rows.keys().skip(1))
        .filter(|(one, next)| one.2.is_none() && next.2.is_some() && (one.0, one.1) == (next.0, next.1))
        .count() as u64;
    // A header's details come from where the header comes from: the new walk, or the held files.
    let mut lines: HashMap<(Key<'_>, bool), Vec<(usize, usize)>> = HashMap::new();
    for (batch, keys) in details.iter().enumerate().map(|(batch, rows)| (batch, keys(rows, "apply_modified"))) {
        for (row, key) in keys?.enumerate() {
            lines.entry((key, batch == 0)).or_default().push((batch, row));
        }
    }
    let own = rows.iter().filter_map(|(key, (batch, _))| lines.get(&(*key, *batch == 0)));
    let detail_rows: Vec<(usize, usize)> = own.flatten().copied().collect();
    let header_rows: Vec<(usize, usize)> = rows.values().copied().collect();

    let mut quarantined: Vec<String> = fresh.quarantined.iter().map(|record| record.to_json_line()).collect();
    let fresh_lines = quarantined.len();
    quarantined.extend(standing_lines(fresh, held, &held_keys, &set_aside)?);
    Ok(Refreshed {
        carried_quarantined: (quarantined.len() - fresh_lines) as u64,
        headers: gather(contract.headers(), &headers, &header_rows)?,
        details: gather(contract.details(), &details, &detail_rows)?,
        quarantined,
        carried_headers,
        remarks: Remarks { with_and_without_id, ..fresh.remarks },
    })
}

/// The held quarantine lines that nothing in `fresh` takes the place of.
fn standing_lines(
    fresh: &WindowRows,
    held: &ReplacedRows,
    held_keys: &HashSet<Key<'_>>,
    set_aside: &HashSet<&Identity>,
) -> Result<Vec<String>> {
    let lines: Vec<RecordLine> = held.quarantined.iter().map(|line| RecordLine::read(line)).collect::<Result<_>>()?;
    let mut again = ReadAgain::new(fresh, &lines, held_keys, set_aside)?;
    let standing = lines.iter().zip(&held.quarantined).filter(|(line, _)| !again.replaces(line));
    Ok(standing.map(|(_, text)| text.clone()).collect())
}

/// Rows that the new walk returned have no commit yet: their `_commit_id` is null, and is filled when they are encoded.
fn gather(table: &TableContract, batches: &[&RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch> {
    let nullable = |field: &FieldRef| match field.name() == COMMIT_ID {
        true => Arc::new(field.as_ref().clone().with_nullable(true)),
        false => Arc::clone(field),
    };
    let schema = Arc::new(Schema::new(table.schema().fields().iter().map(nullable).collect::<Fields>()));
    if rows.is_empty() {
        return Ok(RecordBatch::new_empty(schema));
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let no_commit = |batch: &RecordBatch| {
            (field.name() == COMMIT_ID).then(|| new_null_array(field.data_type(), batch.num_rows()))
        };
        let column = |batch: &&RecordBatch| batch.column_by_name(field.name()).cloned().or_else(|| no_commit(batch));
        let parts: Option<Vec<_>> = batches.iter().map(column).collect();
        let parts = parts.ok_or_else(|| mismatched(&format!("no column `{}`", field.name())))?;
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        columns.push(interleave(&parts, rows).map_err(|error| mismatched("columns of another type").because(error))?);
    }
    RecordBatch::try_new(schema, columns).map_err(|error| mismatched("columns of another type").because(error))
}

#[cfg(test)]
mod tests;
