//! Versions of requisitions in batches of rows: their keys, and whether two readings of one say the same.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrayAccessor, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::DataType;

use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::requisition::{ApplyId, Identity};
use crate::text::text;
use crate::time::BeijingTime;
use crate::transform::contract::{COMMIT_ID, Column, ColumnType, TableContract};
use crate::transform::json::{is_same_json, names};

/// What both tables are sorted by first: number, modified time in microseconds, and id, none first.
pub(in crate::transform) type Key<'a> = (&'a str, i64, Option<ApplyId>);

/// Columns that say when and by whom a row was read, and nothing of the requisition.
const OF_THE_READING: [&str; 3] = ["_extracted_at", "_run_id", COMMIT_ID];
/// The column that holds JSON.
const EXTRA: &str = "extra";

/// The keys of the rows of a batch, in which the column of modified times is called `modified`.
///
/// # Errors
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the columns are not those of the contract.
pub(in crate::transform) fn keys<'a>(batch: &'a RecordBatch, modified: &str) -> Result<impl Iterator<Item = Key<'a>>> {
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

/// The second of a modified time in microseconds.
pub(super) fn second(micros: i64) -> Option<BeijingTime> {
    BeijingTime::from_unix(micros.div_euclid(1_000_000))
}

/// Whether invalid records have the identity of a version.
pub(super) fn is_in(set_aside: &HashSet<&Identity>, (number, micros, apply_id): Key<'_>) -> bool {
    !set_aside.is_empty()
        && second(micros).is_some_and(|modified| {
            set_aside.contains(&Identity::Version { number: number.into(), modified, apply_id })
        })
}

pub(in crate::transform) fn mismatched(why: &str) -> Error {
    Error::new(ErrorClass::FileDamaged, text!("committed rows do not follow the contract: {why}", why))
        .hint("`wdt-lake verify` says which file is damaged")
}

/// The old versions whose rows a refresh leaves out, header and details alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplacedVersions(HashMap<i64, Vec<(String, Option<ApplyId>)>>);

impl ReplacedVersions {
    /// Whether no row is left out.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which rows of a batch of a replaced commit stay. `modified` is the column of modified times: `modified` of
    /// headers, `apply_modified` of details.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the columns are not those of the contract.
    pub(crate) fn keep(&self, batch: &RecordBatch, modified: &str) -> Result<BooleanArray> {
        Ok(keys(batch, modified)?.map(|key| Some(!self.contains(key))).collect())
    }

    pub(super) fn insert(&mut self, (number, micros, apply_id): Key<'_>) {
        self.0.entry(micros).or_default().push((number.to_owned(), apply_id));
    }

    pub(super) fn contains(&self, (number, micros, apply_id): Key<'_>) -> bool {
        self.0.get(&micros).is_some_and(|held| held.iter().any(|(own, id)| own == number && *id == apply_id))
    }
}

/// How many times of header rows are null because readers cannot hold them: their text stands in `extra`.
pub(super) fn unreadable_times(table: &TableContract, headers: &RecordBatch) -> u64 {
    let Some(extra) = headers.column_by_name(EXTRA).and_then(|column| column.as_string_opt::<i32>()) else { return 0 };
    let times: Vec<_> = table.columns().iter().filter(|column| column.kind() == ColumnType::Timestamp).collect();
    let mut count = 0;
    for row in (0..headers.num_rows()).filter(|row| extra.is_valid(*row)) {
        let names = names(extra.value(row));
        let is_kept_as_text = |column: &&&Column| {
            headers.column_by_name(column.name()).is_some_and(|times| times.is_null(row))
                && Edition::ALL.iter().flat_map(|edition| column.sources(*edition)).any(|name| names.contains(name))
        };
        count += times.iter().filter(is_kept_as_text).count() as u64;
    }
    count
}

/// The rows of each version in a batch.
///
/// # Errors
/// As [`keys`], and when the rows of one version do not stand together.
pub(super) fn by_version<'a>(batch: &'a RecordBatch, modified: &str) -> Result<HashMap<Key<'a>, Range<usize>>> {
    let mut rows: HashMap<Key<'a>, Range<usize>> = HashMap::new();
    for (row, key) in keys(batch, modified)?.enumerate() {
        let held = rows.entry(key).or_insert(row..row);
        if held.end != row {
            return Err(mismatched("the rows of one version do not stand together"));
        }
        held.end += 1;
    }
    Ok(rows)
}

type SameCell<'a> = Box<dyn Fn(usize, usize) -> bool + 'a>;

/// Compares the values of rows of two batches of one table, but not by whom and when they were read.
pub(super) struct SameRow<'a>(Vec<SameCell<'a>>);

impl<'a> SameRow<'a> {
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a column is missing or of another type.
    pub(super) fn new(table: &TableContract, one: &'a RecordBatch, other: &'a RecordBatch) -> Result<Self> {
        let columns = table.columns().iter().map(|column| column.name());
        let cells = columns.filter(|name| !OF_THE_READING.contains(name)).map(|name| {
            let column = |batch: &'a RecordBatch| {
                batch.column_by_name(name).ok_or_else(|| mismatched(&format!("no column `{name}`")))
            };
            same_cell(name, column(one)?, column(other)?)
        });
        Ok(Self(cells.collect::<Result<_>>()?))
    }

    /// Whether the rows of `one` are those of `other`, one by one.
    pub(super) fn all(&self, one: Range<usize>, other: Range<usize>) -> bool {
        one.len() == other.len() && one.zip(other).all(|(one, other)| self.0.iter().all(|same| same(one, other)))
    }
}

fn same_cell<'a>(name: &str, one: &'a ArrayRef, other: &'a ArrayRef) -> Result<SameCell<'a>> {
    if one.data_type() != other.data_type() {
        return Err(mismatched(&format!("`{name}` is {}, not {}", one.data_type(), other.data_type())));
    }
    Ok(match one.data_type() {
        DataType::Utf8 if name == EXTRA => {
            let (one, other) = (one.as_string::<i32>(), other.as_string::<i32>());
            Box::new(move |i, j| match (at(one, i), at(other, j)) {
                (Some(one), Some(other)) => is_same_json(one, other),
                (one, other) => one == other,
            })
        }
        DataType::Utf8 => equal(one.as_string::<i32>(), other.as_string::<i32>()),
        DataType::Int16 => equal(one.as_primitive::<Int16Type>(), other.as_primitive::<Int16Type>()),
        DataType::Int32 => equal(one.as_primitive::<Int32Type>(), other.as_primitive::<Int32Type>()),
        DataType::Int64 => equal(one.as_primitive::<Int64Type>(), other.as_primitive::<Int64Type>()),
        DataType::Decimal128(..) => equal(one.as_primitive::<Decimal128Type>(), other.as_primitive::<Decimal128Type>()),
        DataType::Timestamp(..) => match one.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(one) => equal(one, other.as_primitive::<TimestampMicrosecondType>()),
            None => return Err(mismatched(&format!("`{name}` is not in microseconds"))),
        },
        kind => return Err(mismatched(&format!("`{name}` is {kind}"))),
    })
}

fn equal<'a, A>(one: A, other: A) -> SameCell<'a>
where
    A: ArrayAccessor + Copy + 'a,
    A::Item: PartialEq,
{
    Box::new(move |i, j| at(one, i) == at(other, j))
}

fn at<A: ArrayAccessor>(array: A, row: usize) -> Option<A::Item> {
    array.is_valid(row).then(|| array.value(row))
}
