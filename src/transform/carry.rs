//! Refreshing without forgetting: the rows of replaced files that a new walk did not return stay in the lake.
//!
//! A requisition that was edited since the first walk has left the window, and the new walk cannot see its old version
//! any more. It was a version that the ERP held, so it is carried over. Of two readings of one identity the newer wins,
//! header and details together, whether it fitted or not. Rows that differ in their id are different rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::interleave::interleave;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::assemble::{Remarks, WindowRows};
use super::contract::{Contract, TableContract};
use super::value::SchemaViolation;
use crate::edition::Edition;
use crate::error::{Error, ErrorKind, Result};
use crate::requisition::{ApplyId, Identity};
use crate::time::BeijingTime;

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

/// What both tables are sorted by first: number, modified time in microseconds, and id, none first.
pub(super) type Key<'a> = (&'a str, i64, Option<ApplyId>);

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
        headers: gather(contract.headers().schema(), &headers, &header_rows)?,
        details: gather(contract.details().schema(), &details, &detail_rows)?,
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
    let contract = Contract::get()?;
    let mut landed: HashMap<(&str, i64), Vec<Option<ApplyId>>> = HashMap::new();
    for (number, micros, apply_id) in keys(&fresh.headers, "modified")? {
        landed.entry((number, micros)).or_default().push(apply_id);
    }
    let mended: HashSet<ApplyId> = integers(&fresh.headers, "apply_id")?.into_iter().filter_map(ApplyId::new).collect();
    let mended_lines = integers(&fresh.details, "rec_id")?;
    let lines: Vec<QuarantineLine> =
        held.quarantined.iter().map(|line| QuarantineLine::read(line)).collect::<Result<_>>()?;

    // Records without a readable time that have an id or a number were read again when the walk returned as many of
    // that id and number that are new. Several may share both, so that they are counted.
    let known: HashSet<&Identity> = lines.iter().map(|line| &line.identity).collect();
    let mut again: HashMap<(Option<ApplyId>, Option<&str>), usize> = HashMap::new();
    for record in fresh.quarantined.iter().filter(|record| !known.contains(&record.identity)) {
        if let Identity::Record { apply_id, .. } = record.identity {
            *again.entry((apply_id, record.purchase_apply_no.as_deref())).or_default() += 1;
        }
    }
    let mut standing = Vec::new();
    for (line, text) in lines.iter().zip(&held.quarantined) {
        let is_replaced = set_aside.contains(&line.identity)
            || match &line.identity {
                Identity::Version { number, modified, apply_id } => {
                    let landed = landed.get(&(&**number, modified.micros())).map_or(&[][..], Vec::as_slice);
                    // With another id it is another row. But an id that was or is not readable may be what did not fit;
                    // then the row that landed in its place is a new one.
                    landed.iter().any(|id| {
                        let is_new = || !held_keys.contains(&(&**number, modified.micros(), *id));
                        id == apply_id || ((id.is_none() || apply_id.is_none()) && is_new())
                    })
                }
                // What the response holds was read now, or it is unreadable still and among the fresh ones.
                Identity::Record { .. } if line.is_unreadable => true,
                // Its number or time could not be read then; now the requisition can.
                // Of flagship, which sends no apply_id, the details tell which requisition it is.
                Identity::Record { apply_id, .. } => {
                    apply_id.is_some_and(|apply_id| mended.contains(&apply_id))
                        || line.rec_ids(contract.details()).iter().any(|rec_id| mended_lines.contains(rec_id))
                        || line.is_read_again(&mut again)
                }
            };
        if !is_replaced {
            standing.push(text.clone());
        }
    }
    Ok(standing)
}

fn is_in(set_aside: &HashSet<&Identity>, (number, micros, apply_id): Key<'_>) -> bool {
    !set_aside.is_empty()
        && BeijingTime::from_unix(micros.div_euclid(1_000_000)).is_some_and(|modified| {
            set_aside.contains(&Identity::Version { number: number.into(), modified, apply_id })
        })
}

/// The keys of the rows, in their order; `modified` is the column of their modified time.
pub(super) fn keys<'a>(batch: &'a RecordBatch, modified: &str) -> Result<impl Iterator<Item = Key<'a>>> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| mismatched(&format!("no column `{name}`")));
    let numbers =
        column("purchase_apply_no")?.as_string_opt::<i32>().ok_or_else(|| mismatched("numbers are not text"))?;
    let times = column(modified)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| mismatched("modified times are not timestamps in microseconds"))?;
    let ids = column("apply_id")?.as_primitive_opt::<Int64Type>().ok_or_else(|| mismatched("ids are not integers"))?;
    let id = |row: usize| if ids.is_valid(row) { ApplyId::new(ids.value(row)) } else { None };
    Ok((0..numbers.len()).map(move |row| (numbers.value(row), times.value(row), id(row))))
}

fn integers(rows: &RecordBatch, name: &str) -> Result<HashSet<i64>> {
    let column = rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    Ok(column.ok_or_else(|| mismatched(&format!("no column `{name}` of integers")))?.iter().flatten().collect())
}

fn gather(schema: SchemaRef, batches: &[&RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch> {
    if rows.is_empty() {
        return Ok(RecordBatch::new_empty(schema));
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = |batch: &&RecordBatch| batch.column_by_name(field.name()).cloned();
        let parts: Option<Vec<_>> = batches.iter().map(column).collect();
        let parts = parts.ok_or_else(|| mismatched(&format!("no column `{}`", field.name())))?;
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        columns.push(interleave(&parts, rows).map_err(|error| mismatched("columns of another type").because(error))?);
    }
    RecordBatch::try_new(schema, columns).map_err(|error| mismatched("columns of another type").because(error))
}

fn mismatched(why: &str) -> Error {
    Error::new(ErrorKind::Defect, format!("committed rows do not follow the contract: {why}"))
        .hint("`wdt-lake verify` says which file is damaged")
}

/// A quarantined record, read back from its line.
#[derive(Debug)]
pub(super) struct QuarantineLine {
    pub(super) identity: Identity,
    number: Option<String>,
    is_unreadable: bool,
    edition: Edition,
    pub(super) raw: String,
}

impl QuarantineLine {
    pub(super) fn read(line: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Fields {
            edition: Edition,
            purchase_apply_no: Option<String>,
            apply_id: Option<i64>,
            modified: Option<BeijingTime>,
            reason: String,
            raw: String,
        }
        let read: Fields = serde_json::from_str(line).map_err(|error| {
            Error::new(ErrorKind::Defect, "a quarantined record cannot be read back").because(error)
        })?;
        let apply_id = read.apply_id.and_then(ApplyId::new);
        let identity = match (&read.purchase_apply_no, read.modified) {
            (Some(number), Some(modified)) => Identity::Version { number: number.as_str().into(), modified, apply_id },
            _ => Identity::Record { apply_id, sha256: Sha256::digest(&read.raw).into() },
        };
        let is_unreadable = read.reason == SchemaViolation::Unreadable.code();
        Ok(Self { identity, number: read.purchase_apply_no, is_unreadable, edition: read.edition, raw: read.raw })
    }

    /// The ids of its details, as far as they can be read.
    fn rec_ids(&self, details: &TableContract) -> Vec<i64> {
        let Ok(Value::Object(record)) = serde_json::from_str(&self.raw) else { return Vec::new() };
        let lists = details.rows(self.edition).iter().filter_map(|name| record.get(name));
        let names = details.column("rec_id").map(|(_, column)| column.sources(self.edition)).unwrap_or_default();
        let id = |line: &Value| names.iter().find_map(|name| integer(line.get(name)?));
        let elements = lists.flat_map(|list| match list {
            Value::Array(elements) => elements.iter().collect::<Vec<_>>(),
            Value::Object(elements) => elements.values().collect(),
            _ => Vec::new(),
        });
        elements.filter_map(id).collect()
    }

    /// Takes one of the fresh records of its id and number for itself, where it has either and one is left.
    fn is_read_again<'a>(&'a self, again: &mut HashMap<(Option<ApplyId>, Option<&'a str>), usize>) -> bool {
        let key = (self.identity.apply_id(), self.number.as_deref());
        key != (None, None) && again.get_mut(&key).filter(|left| **left > 0).map(|left| *left -= 1).is_some()
    }
}

fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests;
