//! Which of the rows that are versions of a requisition is the latest, by narrow columns: the same choice as that of
//! the views.
//!
//! Of a number the greatest modified time counts. Of the rows with that time and the same id the one that was read last
//! does; rows with other ids all stay. An id that is not positive is none. Of stop references the latest call of a
//! number counts, and of it an outcome that is known before one that is not.

use std::cmp::{Ordering, Reverse};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use uuid::Uuid;

use super::carry::mismatched;
use crate::edition::OPEN_STATUSES;
use crate::error::Result;
use crate::log::Table;

/// The outcome of a stop that says the least.
const UNKNOWN: &str = "unknown";

/// What tells a version, and a reading of it, from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionRow<'a> {
    /// The number of the requisition.
    pub number: &'a str,
    /// When it was modified, or its stop was requested, in microseconds since 1970-01-01 00:00:00 UTC.
    pub micros: i64,
    /// The id as the row has it.
    pub apply_id: Option<i64>,
    /// When it was read, in microseconds since 1970-01-01 00:00:00 UTC. Of a stop reference: 1 where its outcome is
    /// known, else 0.
    pub read_at: i64,
    /// The id of the run that read it.
    pub run: u128,
}

impl<'a> VersionRow<'a> {
    /// The id by which requisitions are told apart; 0 is none.
    fn id(&self) -> i64 {
        self.apply_id.unwrap_or(0).max(0)
    }

    /// The order in which [`latest`] wants rows: by number, of a number the newest first, then by id, and of a version
    /// what was read last first.
    pub(crate) fn cmp_latest(&self, other: &Self) -> Ordering {
        let key = |row: &Self| (Reverse(row.micros), row.id(), Reverse(row.read_at), Reverse(row.run));
        let raw = |row: &Self| (row.apply_id.is_none(), row.apply_id);
        self.number.cmp(other.number).then_with(|| key(self).cmp(&key(other))).then_with(|| raw(self).cmp(&raw(other)))
    }

    /// Adds the row to `bytes`. Equal rows give equal bytes, and [`decode`](Self::decode) reads them.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.micros.to_le_bytes());
        bytes.extend_from_slice(&self.read_at.to_le_bytes());
        bytes.extend_from_slice(&self.run.to_le_bytes());
        bytes.push(u8::from(self.apply_id.is_some()));
        bytes.extend_from_slice(&self.apply_id.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(self.number.as_bytes());
    }

    /// The row of these bytes; none when they are not those of one.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (micros, bytes) = bytes.split_first_chunk()?;
        let (read_at, bytes) = bytes.split_first_chunk()?;
        let (run, bytes) = bytes.split_first_chunk()?;
        let ([has_id], bytes) = bytes.split_first_chunk()?;
        let (id, number) = bytes.split_first_chunk()?;
        Some(Self {
            number: std::str::from_utf8(number).ok()?,
            micros: i64::from_le_bytes(*micros),
            apply_id: (*has_id == 1).then(|| i64::from_le_bytes(*id)),
            read_at: i64::from_le_bytes(*read_at),
            run: u128::from_le_bytes(*run),
        })
    }
}

/// For each of these rows whether it is a latest one. They come in the order of [`VersionRow::cmp_latest`].
pub(crate) fn latest<'a>(rows: impl IntoIterator<Item = VersionRow<'a>>) -> impl Iterator<Item = bool> {
    let mut newest: Option<VersionRow<'a>> = None;
    let mut before: Option<VersionRow<'a>> = None;
    rows.into_iter().map(move |row| {
        let of_number = newest.filter(|newest| newest.number == row.number);
        let is_chosen = match of_number {
            None => {
                newest = Some(row);
                true
            }
            Some(newest) => newest.micros == row.micros && before.is_none_or(|before| before.id() != row.id()),
        };
        before = Some(row);
        is_chosen
    })
}

/// The rows of a batch of one table, as versions.
pub(crate) struct VersionRows<'a> {
    numbers: &'a StringArray,
    times: &'a TimestampMicrosecondArray,
    ids: Option<&'a Int64Array>,
    read: Read<'a>,
    runs: &'a StringArray,
    statuses: Option<&'a StringArray>,
    /// The run that was read last: neighbours mostly have the same.
    run: std::cell::Cell<Option<(&'a str, u128)>>,
}

/// What says which reading of a version counts.
enum Read<'a> {
    At(&'a TimestampMicrosecondArray),
    Outcome(&'a StringArray),
}

impl<'a> VersionRows<'a> {
    /// The columns of a table that are looked at.
    pub(crate) fn columns(table: Table) -> &'static [&'static str] {
        match table {
            Table::PurchaseApply => {
                &["purchase_apply_no", "modified", "apply_id", "_extracted_at", "_run_id", "status_name"]
            }
            Table::PurchaseApplyDetail => {
                &["purchase_apply_no", "apply_modified", "apply_id", "_extracted_at", "_run_id"]
            }
            Table::StopReference => &["purchase_apply_no", "requested_at", "outcome", "_run_id"],
        }
    }

    /// The rows of a batch that has these columns.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the columns are not those of the contract.
    pub(crate) fn of(table: Table, batch: &'a RecordBatch) -> Result<Self> {
        let modified = match table {
            Table::PurchaseApply => "modified",
            Table::PurchaseApplyDetail => "apply_modified",
            Table::StopReference => "requested_at",
        };
        let is_stop = table == Table::StopReference;
        Ok(Self {
            numbers: text(batch, "purchase_apply_no")?,
            times: times(batch, modified)?,
            ids: if is_stop { None } else { Some(ids(batch)?) },
            read: if is_stop {
                Read::Outcome(text(batch, "outcome")?)
            } else {
                Read::At(times(batch, "_extracted_at")?)
            },
            runs: text(batch, "_run_id")?,
            statuses: batch.column_by_name("status_name").and_then(|column| column.as_string_opt::<i32>()),
            run: std::cell::Cell::new(None),
        })
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.numbers.len()
    }

    /// One of them.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when its run has no id.
    pub(crate) fn row(&self, row: usize) -> Result<VersionRow<'a>> {
        Ok(VersionRow {
            number: self.numbers.value(row),
            micros: self.times.value(row),
            apply_id: self.ids.filter(|ids| ids.is_valid(row)).map(|ids| ids.value(row)),
            read_at: match self.read {
                Read::At(times) => times.value(row),
                Read::Outcome(outcomes) => i64::from(outcomes.value(row) != UNKNOWN),
            },
            run: self.run(self.runs.value(row))?,
        })
    }

    /// Whether a header is of a requisition that waits for purchase orders, as the views have it.
    pub(crate) fn is_open(&self, row: usize) -> bool {
        let statuses = self.statuses.filter(|statuses| statuses.is_valid(row));
        statuses.is_some_and(|statuses| OPEN_STATUSES.contains(&statuses.value(row)))
    }

    fn run(&self, text: &'a str) -> Result<u128> {
        if let Some((_, run)) = self.run.get().filter(|(known, _)| *known == text) {
            return Ok(run);
        }
        let run = Uuid::try_parse(text).map_err(|_| mismatched("a row without the id of a run"))?.as_u128();
        self.run.set(Some((text, run)));
        Ok(run)
    }
}

/// What is open of the details of a batch: the quantity applied for less what is referenced, in ten-thousandths. None
/// where no quantity is known.
pub(crate) struct OpenQuantities<'a> {
    real: &'a Decimal128Array,
    referenced: &'a Decimal128Array,
}

impl<'a> OpenQuantities<'a> {
    /// What is read of headers to find those that do not say themselves what is open: the columns of [`VersionRows`]
    /// but the status, and [`unreferenced`].
    pub(crate) const HEADER_COLUMNS: [&'static str; 6] =
        ["purchase_apply_no", "modified", "apply_id", "_extracted_at", "_run_id", "unref_num"];
    /// What is read of details to add them up: the columns of [`VersionRows`], and the quantities.
    pub(crate) const DETAIL_COLUMNS: [&'static str; 7] =
        ["purchase_apply_no", "apply_modified", "apply_id", "_extracted_at", "_run_id", "real_num", "ref_num"];

    /// Those of a batch.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the columns are not those of the contract.
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self> {
        Ok(Self { real: quantities(batch, "real_num")?, referenced: quantities(batch, "ref_num")? })
    }

    /// That of one row.
    pub(crate) fn row(&self, row: usize) -> Option<i128> {
        value(self.real, row).map(|real| real - value(self.referenced, row).unwrap_or(0))
    }

    /// Adds one row to what the details of its requisition sum to.
    pub(crate) fn add_to(&self, row: usize, sums: &mut DetailSums) {
        sums.real += value(self.real, row).unwrap_or(0);
        sums.referenced += value(self.referenced, row).unwrap_or(0);
        if let Some(open) = self.row(row) {
            sums.open = Some(sums.open.unwrap_or(0) + open);
        }
    }
}

/// What the details of one requisition sum to, in ten-thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DetailSums {
    /// The quantity applied for; 0 where no detail says one.
    pub real: i128,
    /// The quantity that purchase orders reference; 0 where no detail says one.
    pub referenced: i128,
    /// What is open of them; none where no detail says a quantity.
    pub open: Option<i128>,
}

fn value(column: &Decimal128Array, row: usize) -> Option<i128> {
    column.is_valid(row).then(|| column.value(row))
}

/// The quantity of headers that is not referenced yet, in ten-thousandths, as the column `unref_num` has it.
///
/// # Errors
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the column is not that of the contract.
pub(crate) fn unreferenced(batch: &RecordBatch) -> Result<&Decimal128Array> {
    quantities(batch, "unref_num")
}

fn quantities<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Decimal128Array> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Decimal128Type>());
    column.ok_or_else(|| mismatched(&format!("`{name}` is no column of decimals")))
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.ok_or_else(|| mismatched(&format!("`{name}` is no column of text")))
}

fn times<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    column.ok_or_else(|| mismatched(&format!("`{name}` is no column of timestamps in microseconds")))
}

fn ids(batch: &RecordBatch) -> Result<&Int64Array> {
    let column = batch.column_by_name("apply_id").and_then(|column| column.as_primitive_opt::<Int64Type>());
    column.ok_or_else(|| mismatched("`apply_id` is no column of integers"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    const NUMBERS: [&str; 3] = ["", "CG1", "采购"];

    fn random(dice: &mut StdRng) -> VersionRow<'static> {
        VersionRow {
            number: NUMBERS[dice.random_range(0..3)],
            micros: dice.random_range(0..3),
            apply_id: [None, Some(0), Some(-1), Some(7), Some(8)][dice.random_range(0..5)],
            read_at: dice.random_range(0..3),
            run: dice.random_range(0..2),
        }
    }

    #[test]
    fn bytes_give_the_row_again() {
        let mut dice = StdRng::seed_from_u64(1);
        for _ in 0..200 {
            let (row, mut bytes) = (random(&mut dice), Vec::new());
            row.encode(&mut bytes);
            assert_eq!(VersionRow::decode(&bytes), Some(row));
        }
        assert_eq!(VersionRow::decode(&[0; 40]), None);
    }

    /// Against loops over all pairs.
    #[test]
    fn the_latest_are_chosen_whatever_the_rows() {
        let mut dice = StdRng::seed_from_u64(2);
        for _ in 0..500 {
            let mut rows: Vec<_> = (0..dice.random_range(1..20)).map(|_| random(&mut dice)).collect();
            rows.sort_by(VersionRow::cmp_latest);
            rows.dedup();
            let chosen: Vec<_> =
                rows.iter().zip(latest(rows.clone())).filter(|(_, is)| *is).map(|(row, _)| *row).collect();
            let mut expected: BTreeMap<(&str, i64), VersionRow<'_>> = BTreeMap::new();
            for row in &rows {
                if rows.iter().any(|other| other.number == row.number && other.micros > row.micros) {
                    continue;
                }
                let order = |row: &VersionRow<'_>| (row.read_at, row.run, row.apply_id.map(Reverse));
                let held = expected.entry((row.number, row.apply_id.unwrap_or(0).max(0))).or_insert(*row);
                if order(held) < order(row) {
                    *held = *row;
                }
            }
            assert_eq!(chosen, expected.into_values().collect::<Vec<_>>(), "{rows:?}");
        }
    }
}
