//! Refreshing without forgetting: the rows of replaced files that a new walk did not return stay in the lake.
//!
//! A requisition that was edited since the first walk has left the window, and the new walk cannot see its old version any more. It was a
//! version that the ERP held, so it is carried over. Of two readings of one identity the newer wins, header and details together,
//! whether it fitted or not.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::interleave::interleave;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::assemble::WindowRows;
use super::contract::{Contract, Table};
use crate::edition::Edition;
use crate::error::{Error, ErrorKind, Result};
use crate::requisition::{ApplyId, Identity};
use crate::time::BeijingTime;

/// What the replaced files hold.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Rows of `purchase_apply`.
    pub headers: Vec<RecordBatch>,
    /// Rows of `purchase_apply_detail`.
    pub details: Vec<RecordBatch>,
    /// Lines of the quarantine files.
    pub quarantined: Vec<String>,
}

/// A window after a refresh.
#[derive(Clone, Debug)]
pub struct Refreshed {
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
}

/// Number and modified time in microseconds: what both tables are sorted by.
type Key<'a> = (&'a str, i64);

/// Adds to `fresh` what `held` has and `fresh` has not, by identity.
///
/// # Errors
/// `Defect` when the held rows do not have the contract's columns or a quarantine line cannot be read.
pub fn carry_over(fresh: &WindowRows, held: &Held) -> Result<Refreshed> {
    let contract = Contract::get()?;
    let set_aside: HashSet<&Identity> = fresh.quarantined.iter().map(|record| &record.identity).collect();
    let headers: Vec<&RecordBatch> = std::iter::once(&fresh.headers).chain(&held.headers).collect();
    let details: Vec<&RecordBatch> = std::iter::once(&fresh.details).chain(&held.details).collect();

    // The first batch that has a key keeps it: fresh rows come first, and held files never share a key.
    let mut rows: BTreeMap<Key<'_>, (usize, usize)> = BTreeMap::new();
    for (batch, keys) in headers.iter().enumerate().map(|(batch, rows)| (batch, keys(rows, "modified"))) {
        for (row, key) in keys?.enumerate() {
            if batch == 0 || !is_in(&set_aside, key) {
                rows.entry(key).or_insert((batch, row));
            }
        }
    }
    let carried_headers = rows.values().filter(|(batch, _)| *batch > 0).count() as u64;
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
    let landed: HashSet<Key<'_>> = keys(&fresh.headers, "modified")?.collect();
    let mended = integers(&fresh.headers, "apply_id")?;
    let mended_lines = integers(&fresh.details, "rec_id")?;
    for line in &held.quarantined {
        let (identity, apply_id, rec_ids) = read_back(line, contract)?;
        let is_known = set_aside.contains(&identity)
            || match &identity {
                Identity::Version { number, modified, .. } => landed.contains(&(&**number, modified.micros())),
                // Its number or time could not be read then; now the requisition can.
                // Of flagship, which sends no apply_id, the details tell which requisition it is.
                Identity::Record { .. } => {
                    apply_id.is_some_and(|apply_id| mended.contains(&apply_id))
                        || rec_ids.iter().any(|rec_id| mended_lines.contains(rec_id))
                }
            };
        if !is_known {
            quarantined.push(line.clone());
        }
    }
    Ok(Refreshed {
        carried_quarantined: (quarantined.len() - fresh_lines) as u64,
        headers: gather(contract.headers().schema(), &headers, &header_rows)?,
        details: gather(contract.details().schema(), &details, &detail_rows)?,
        quarantined,
        carried_headers,
    })
}

fn is_in(set_aside: &HashSet<&Identity>, (number, micros): Key<'_>) -> bool {
    !set_aside.is_empty()
        && BeijingTime::from_unix(micros.div_euclid(1_000_000)).is_some_and(|modified| {
            set_aside.contains(&Identity::Version { number: number.into(), modified, apply_id: None })
        })
}

fn keys<'a>(batch: &'a RecordBatch, modified: &str) -> Result<impl Iterator<Item = Key<'a>>> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| unfit(&format!("no column `{name}`")));
    let numbers = column("purchase_apply_no")?.as_string_opt::<i32>().ok_or_else(|| unfit("numbers are not text"))?;
    let times = column(modified)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| unfit("modified times are not timestamps in microseconds"))?;
    Ok((0..numbers.len()).map(|row| (numbers.value(row), times.value(row))))
}

fn integers(rows: &RecordBatch, name: &str) -> Result<HashSet<i64>> {
    let column = rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    Ok(column.ok_or_else(|| unfit(&format!("no column `{name}` of integers")))?.iter().flatten().collect())
}

fn gather(schema: SchemaRef, batches: &[&RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch> {
    if rows.is_empty() {
        return Ok(RecordBatch::new_empty(schema));
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = |batch: &&RecordBatch| batch.column_by_name(field.name()).cloned();
        let parts: Option<Vec<_>> = batches.iter().map(column).collect();
        let parts = parts.ok_or_else(|| unfit(&format!("no column `{}`", field.name())))?;
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        columns.push(interleave(&parts, rows).map_err(|error| unfit("columns of another type").because(error))?);
    }
    RecordBatch::try_new(schema, columns).map_err(|error| unfit("columns of another type").because(error))
}

fn unfit(why: &str) -> Error {
    Error::new(ErrorKind::Defect, format!("committed rows do not follow the contract: {why}"))
        .hint("`wdt-lake verify` says which file is damaged")
}

/// The identity of a quarantined record, read back from its line, and the ids of its details where that identity is its text alone.
fn read_back(line: &str, contract: &Contract) -> Result<(Identity, Option<i64>, Vec<i64>)> {
    #[derive(Deserialize)]
    struct Line {
        edition: Edition,
        purchase_apply_no: Option<String>,
        apply_id: Option<i64>,
        modified: Option<BeijingTime>,
        raw: String,
    }
    let read: Line = serde_json::from_str(line)
        .map_err(|error| Error::new(ErrorKind::Defect, "a quarantined record cannot be read back").because(error))?;
    let apply_id = read.apply_id.and_then(ApplyId::new);
    Ok(match (read.purchase_apply_no, read.modified) {
        (Some(number), Some(modified)) => {
            (Identity::Version { number: number.into(), modified, apply_id }, read.apply_id, Vec::new())
        }
        _ => {
            let identity = Identity::Record { apply_id, sha256: Sha256::digest(&read.raw).into() };
            (identity, read.apply_id, rec_ids(&read.raw, contract.details(), read.edition))
        }
    })
}

/// The ids of the details of a raw record, as far as they can be read.
fn rec_ids(raw: &str, details: &Table, edition: Edition) -> Vec<i64> {
    let Ok(Value::Object(record)) = serde_json::from_str(raw) else { return Vec::new() };
    let lists = details.rows(edition).iter().filter_map(|name| record.get(name)?.as_array());
    let names = details.column("rec_id").map(|(_, column)| column.sources(edition)).unwrap_or_default();
    let id = |line: &Value| names.iter().find_map(|name| integer(line.get(name)?));
    lists.flatten().filter_map(id).collect()
}

fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::{PageContext, PageDecoder, assemble};
    use super::*;
    use crate::id::RunId;

    /// A window of requisitions, each (number, minute of its modified time, apply_id, rec_ids); a rec_id below 0 spoils the requisition.
    fn window(requisitions: &[(&str, u32, i64, &[i64])]) -> WindowRows {
        let list: Vec<String> = requisitions
            .iter()
            .map(|(number, minute, apply_id, details)| {
                let modified = format!("2026-06-01 10:{minute:02}:00");
                let real = if details.iter().any(|id| *id < 0) { "1.23456" } else { "1" };
                let details: Vec<String> = details.iter().map(|id| format!(r#"{{"rec_id":"{}"}}"#, id.abs())).collect();
                format!(
                    r#"{{"purchase_apply_no":"{number}","apply_id":"{apply_id}","status":"30","real_num":"{real}","modified":"{modified}","details_list":[{}]}}"#,
                    details.join(",")
                )
            })
            .collect();
        let body = format!(r#"{{"code":0,"total_count":{},"purchase_list":[{}]}}"#, list.len(), list.join(","));
        let decoder = PageDecoder::new(Edition::Enterprise, RunId::generate()).expect("decoder");
        let context = PageContext { window: None, page_no: 0, page_size: 100, received_at_micros: 0 };
        let page = decoder.decode(body.as_bytes(), &context).expect("a page");
        let winners: Vec<_> = (0..page.rows().len()).map(|row| (0, row)).collect();
        assemble([page], &winners).expect("rows")
    }

    fn held(windows: &[WindowRows]) -> Held {
        // As a reader gives files back: in small batches.
        let cut = |batch: &RecordBatch| (0..batch.num_rows()).map(|row| batch.slice(row, 1)).collect::<Vec<_>>();
        Held {
            headers: windows.iter().flat_map(|window| cut(&window.headers)).collect(),
            details: windows.iter().flat_map(|window| cut(&window.details)).collect(),
            quarantined: windows
                .iter()
                .flat_map(|window| &window.quarantined)
                .map(|record| record.to_json_line())
                .collect(),
        }
    }

    /// (number, apply_id) of the headers and (number, rec_id) of the details.
    fn seen(refreshed: &Refreshed) -> [Vec<(String, i64)>; 2] {
        let list = |batch: &RecordBatch, id: &str| {
            let numbers = batch.column_by_name("purchase_apply_no").expect("numbers").as_string::<i32>();
            let ids = batch.column_by_name(id).expect("ids").as_primitive::<Int64Type>();
            (0..batch.num_rows()).map(|row| (numbers.value(row).to_owned(), ids.value(row))).collect()
        };
        [list(&refreshed.headers, "apply_id"), list(&refreshed.details, "rec_id")]
    }

    fn named(rows: &[(&str, i64)]) -> Vec<(String, i64)> {
        rows.iter().map(|(number, id)| ((*number).to_owned(), *id)).collect()
    }

    #[test]
    fn newer_readings_win_and_what_left_is_carried_over() {
        let old = held(&[
            window(&[("B", 1, 2, &[20, 21]), ("D", 3, 4, &[40])]),
            window(&[("A", 5, 1, &[10]), ("C", 7, 3, &[30, 31]), ("Q", 8, 9, &[-90])]),
        ]);
        // A kept its second but was read with another detail; C left; Q fits now; E is new; D does not fit any more.
        let fresh = window(&[
            ("E", 2, 5, &[]),
            ("D", 3, 4, &[-40]),
            ("A", 5, 1, &[11]),
            ("B", 1, 2, &[20, 21]),
            ("Q", 8, 9, &[90]),
        ]);
        let refreshed = carry_over(&fresh, &old).expect("refreshed");
        let [headers, details] = seen(&refreshed);
        assert_eq!(headers, named(&[("A", 1), ("B", 2), ("C", 3), ("E", 5), ("Q", 9)]));
        assert_eq!(details, named(&[("A", 11), ("B", 20), ("B", 21), ("C", 30), ("C", 31), ("Q", 90)]));
        assert_eq!((refreshed.carried_headers, refreshed.carried_quarantined, refreshed.quarantined.len()), (1, 0, 1));
    }

    #[test]
    fn nothing_returned_means_that_everything_is_carried_over() {
        let old = held(&[window(&[("A", 1, 1, &[10]), ("Q", 2, 2, &[-20])])]);
        let refreshed = carry_over(&window(&[]), &old).expect("refreshed");
        assert_eq!(seen(&refreshed)[0], named(&[("A", 1)]));
        assert_eq!((refreshed.carried_headers, refreshed.carried_quarantined), (1, 1));
        let empty = carry_over(&window(&[]), &Held::default()).expect("refreshed");
        assert_eq!((empty.headers.num_rows(), empty.headers.schema()), (0, refreshed.headers.schema()));
    }
}
