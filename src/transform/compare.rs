//! What the ERP gives of a window now, compared with what the lake holds of it: by identity, and then by value.
//!
//! The two are the same when all columns of the header and of all its details are, whatever the order of the fields in
//! `extra`. Lineage, the columns whose names begin with `_`, says who read a row and when, and does not count.

use std::collections::{HashMap, HashSet};

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array as _, ArrayRef, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

use super::assemble::WindowRows;
use super::carry::{Key, RecordLine, keys};
use super::contract::{Column, Contract, TableContract};
use super::json::is_same_json;
use crate::error::{Error, Result};
use crate::log::Table;
use crate::requisition::{ApplyId, Identity};
use crate::time::{BeijingTime, Window};

/// The column of the source fields that the contract does not name: one JSON object, or null.
const EXTRA: &str = "extra";
/// When the response arrived that a row was read from.
const EXTRACTED_AT: &str = "_extracted_at";

/// What the lake holds of a window.
#[derive(Debug)]
pub(crate) struct LandedRows {
    window: Window,
    headers: Vec<RecordBatch>,
    details: Vec<RecordBatch>,
    invalid: Vec<RecordLine>,
}

/// A version of a requisition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    /// When it was modified.
    pub modified: BeijingTime,
    /// Its number.
    pub number: String,
    /// Its id, where it has one.
    pub apply_id: Option<ApplyId>,
}

/// In what a version differs from what the lake holds under the same number, modified time and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// In the values of these columns, in the order of the contract; those of details as `details.NAME`.
    Values(Vec<String>),
    /// It was quarantined, and is valid now.
    BecameValid,
    /// It landed, and is invalid now.
    BecameInvalid,
    /// It was and is invalid, and its text is another.
    InvalidText,
}

/// A window of the ERP compared with the lake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Versions that the ERP gave, invalid ones included.
    pub given: u64,
    /// Versions of these that the lake does not have, in the order of their modified times.
    pub late: Vec<Version>,
    /// Versions that the lake has with another content, in the same order.
    pub changed: Vec<(Version, Change)>,
    /// Versions that the lake has and the ERP did not give: edited since.
    pub gone: u64,
    /// Invalid records that the lake does not have and that have no readable number or modified time.
    pub unidentified: u64,
    /// When the first of the landed headers was read, in microseconds since 1970-01-01 00:00:00 UTC.
    pub first_read_micros: Option<i64>,
    /// The earliest modified time of the landed headers, likewise.
    pub first_modified_micros: Option<i64>,
}

impl LandedRows {
    /// What the lake holds of `window`: nothing yet.
    pub(crate) fn of(window: Window) -> Self {
        Self { window, headers: Vec::new(), details: Vec::new(), invalid: Vec::new() }
    }

    /// Adds those rows of a committed file of `table` that were modified within the window.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when they do not have the contract's columns.
    pub(crate) fn add(&mut self, table: Table, batch: &RecordBatch) -> Result<()> {
        let (modified, kept) = match table {
            Table::PurchaseApply => ("modified", &mut self.headers),
            Table::PurchaseApplyDetail => ("apply_modified", &mut self.details),
            Table::StopReference => return Ok(()),
        };
        let (first, last) = (self.window.start().micros(), self.window.end().plus_seconds(1).micros());
        let is_inside: BooleanArray = keys(batch, modified)?.map(|key| Some(first <= key.1 && key.1 < last)).collect();
        if is_inside.true_count() > 0 {
            let rows = filter_record_batch(batch, &is_inside);
            kept.push(rows.map_err(|error| Error::internal("cannot pick the rows of a window").because(error))?);
        }
        Ok(())
    }

    /// Adds a line of a quarantine file, unless its record was modified outside of the window.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the line cannot be read.
    pub(crate) fn add_quarantined(&mut self, line: &str) -> Result<()> {
        let line = RecordLine::read(line)?;
        let is_outside = matches!(line.identity, Identity::Version { modified, .. } if !self.window.contains(modified));
        if !is_outside {
            self.invalid.push(line);
        }
        Ok(())
    }

    /// The earliest time of a column of the headers.
    fn first_micros(&self, column: &str) -> Option<i64> {
        let times = self.headers.iter().filter_map(|rows| rows.column_by_name(column));
        let times = times.filter_map(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        times.flat_map(|column| column.iter().flatten()).min()
    }
}

/// Compares `fresh`, all that the ERP gives of the window of `landed`, with what the lake holds of it.
///
/// # Errors
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when landed rows do not have the contract's columns.
pub(crate) fn compare(fresh: &WindowRows, landed: &LandedRows) -> Result<Comparison> {
    let contract = Contract::get()?;
    let fresh_rows = Versions::of([&fresh.headers], [&fresh.details])?;
    let landed_rows = Versions::of(&landed.headers, &landed.details)?;
    let invalid: HashMap<&Identity, &RecordLine> = landed.invalid.iter().map(|line| (&line.identity, line)).collect();
    let mut seen: HashSet<&Identity> = HashSet::new();
    let mut seen_rows: HashSet<Key<'_>> = HashSet::new();
    let mut found = Comparison {
        first_read_micros: landed.first_micros(EXTRACTED_AT),
        first_modified_micros: landed.first_micros("modified"),
        ..Comparison::default()
    };

    for (key, header) in &fresh_rows.headers {
        let Some((version, identity)) = version(*key) else { continue };
        found.given += 1;
        if let Some(held) = landed_rows.headers.get(key) {
            seen_rows.insert(*key);
            let mut columns = differing(contract.headers(), "", &[*header], &[*held]);
            let (lines, held) = (fresh_rows.details(key), landed_rows.details(key));
            columns.extend(differing(contract.details(), "details.", lines, held));
            if !columns.is_empty() {
                found.changed.push((version, Change::Values(columns)));
            }
        } else if let Some((held, _)) = invalid.get_key_value(&identity) {
            seen.insert(held);
            found.changed.push((version, Change::BecameValid));
        } else {
            found.late.push(version);
        }
    }
    for record in &fresh.quarantined {
        found.given += 1;
        let held = invalid.get(&record.identity);
        seen.extend(held.map(|line| &line.identity));
        let Identity::Version { number, modified, apply_id } = &record.identity else {
            found.unidentified += u64::from(held.is_none());
            continue;
        };
        let version = Version { modified: *modified, number: number.to_string(), apply_id: *apply_id };
        let key: Key<'_> = (number, modified.micros(), *apply_id);
        match held {
            _ if landed_rows.headers.contains_key(&key) => {
                seen_rows.insert(key);
                found.changed.push((version, Change::BecameInvalid));
            }
            Some(line) if line.raw == record.raw => {}
            Some(_) => found.changed.push((version, Change::InvalidText)),
            None => found.late.push(version),
        }
    }
    let is_version = |line: &&RecordLine| matches!(line.identity, Identity::Version { .. });
    let invalid_gone = landed.invalid.iter().filter(is_version).filter(|line| !seen.contains(&line.identity)).count();
    found.gone = (landed_rows.headers.len() - seen_rows.len() + invalid_gone) as u64;
    found.late.sort_unstable();
    found.changed.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

/// A row of a batch.
type Row<'a> = (&'a RecordBatch, usize);

/// Headers by their identity, and their details in the order of files.
#[derive(Default)]
struct Versions<'a> {
    headers: HashMap<Key<'a>, Row<'a>>,
    details: HashMap<Key<'a>, Vec<Row<'a>>>,
}

impl<'a> Versions<'a> {
    fn of(
        headers: impl IntoIterator<Item = &'a RecordBatch>,
        details: impl IntoIterator<Item = &'a RecordBatch>,
    ) -> Result<Self> {
        let mut versions = Self::default();
        for batch in headers {
            versions.headers.extend(keys(batch, "modified")?.enumerate().map(|(row, key)| (key, (batch, row))));
        }
        for batch in details {
            for (row, key) in keys(batch, "apply_modified")?.enumerate() {
                versions.details.entry(key).or_default().push((batch, row));
            }
        }
        Ok(versions)
    }

    fn details(&self, key: &Key<'a>) -> &[Row<'a>] {
        self.details.get(key).map_or(&[], Vec::as_slice)
    }
}

/// A key as it is reported, and as an identity; `None` for a time that no requisition has.
fn version((number, micros, apply_id): Key<'_>) -> Option<(Version, Identity)> {
    let modified = BeijingTime::from_unix(micros.div_euclid(1_000_000))?;
    let identity = Identity::Version { number: number.into(), modified, apply_id };
    Some((Version { modified, number: number.to_owned(), apply_id }, identity))
}

/// The columns, lineage left out, in which the rows of one table differ, each with `prefix` before its name: all of
/// them where the rows are not as many.
fn differing(table: &TableContract, prefix: &str, fresh: &[Row<'_>], landed: &[Row<'_>]) -> Vec<String> {
    let differs = |name: &&str| {
        let is_same = |(one, other): (&Row<'_>, &Row<'_>)| {
            match (one.0.column_by_name(name), other.0.column_by_name(name)) {
                (Some(fresh), Some(landed)) if *name == EXTRA => {
                    is_same_extra(text(fresh, one.1), text(landed, other.1))
                }
                (Some(fresh), Some(landed)) => fresh.slice(one.1, 1) == landed.slice(other.1, 1),
                // A column that came with a later contract has nothing to be compared with.
                _ => true,
            }
        };
        fresh.len() != landed.len() || !fresh.iter().zip(landed).all(is_same)
    };
    let names = table.columns().iter().map(Column::name).filter(|name| !name.starts_with('_'));
    names.filter(differs).map(|name| format!("{prefix}{name}")).collect()
}

fn text(column: &ArrayRef, row: usize) -> Option<&str> {
    column.as_string_opt::<i32>().filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row))
}

fn is_same_extra(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => is_same_json(one, other),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests;
