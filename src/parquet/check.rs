//! What a file claims of its rows: their order, and between which modified times they lie.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{
    Array, ArrayAccessor, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, TimeUnit};

use super::spec::TableSpec;
use crate::time::BeijingTime;

/// The earliest and the latest modified time of a batch that has rows.
pub(crate) fn bounds(spec: &TableSpec, batch: &RecordBatch) -> std::result::Result<(BeijingTime, BeijingTime), String> {
    let times = column(batch, &spec.modified)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .filter(|times| times.null_count() == 0)
        .ok_or_else(|| format!("`{}` is not a timestamp in microseconds without nulls", spec.modified))?;
    let least_and_most = times.values().iter().fold(None, |range: Option<(i64, i64)>, time| {
        Some(range.map_or((*time, *time), |(least, most)| (least.min(*time), most.max(*time))))
    });
    let (least, most) = least_and_most.ok_or("no rows")?;
    let whole = |micros: i64| BeijingTime::from_unix(micros.div_euclid(1_000_000));
    whole(least).zip(whole(most)).ok_or_else(|| "a modified time outside the years 1 to 9999".to_owned())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> std::result::Result<&'a dyn Array, String> {
    batch.column_by_name(name).map(AsRef::as_ref).ok_or_else(|| format!("no column `{name}`"))
}

/// Checks the claim that rows are sorted, from the last row `before` the batch on.
pub(crate) fn check_order(
    spec: &TableSpec,
    before: Option<&RecordBatch>,
    batch: &RecordBatch,
) -> std::result::Result<(), String> {
    let keys = sort_keys(spec, batch)?;
    if let Some(before) = before.filter(|before| before.num_rows() > 0 && batch.num_rows() > 0) {
        let last = sort_keys(spec, before)?;
        check_pair(&last, before.num_rows() - 1, &keys, 0)?;
    }
    (1..batch.num_rows()).try_for_each(|row| check_pair(&keys, row - 1, &keys, row))
}

fn check_pair(left: &[SortKey<'_>], i: usize, right: &[SortKey<'_>], j: usize) -> std::result::Result<(), String> {
    for (left, right) in left.iter().zip(right) {
        match left.compare(i, right, j) {
            Ordering::Less => return Ok(()),
            Ordering::Equal => {}
            Ordering::Greater => return Err("rows are not sorted as claimed".into()),
        }
    }
    Ok(())
}

/// A column by which rows are sorted.
enum SortKey<'a> {
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Time(&'a TimestampMicrosecondArray),
}

fn sort_keys<'a>(spec: &TableSpec, batch: &'a RecordBatch) -> std::result::Result<Vec<SortKey<'a>>, String> {
    let key = |name: &String| {
        let column = column(batch, name)?;
        Ok(match column.data_type() {
            DataType::Utf8 => SortKey::Text(column.as_string()),
            DataType::Binary => SortKey::Bytes(column.as_binary()),
            DataType::Int32 => SortKey::Int32(column.as_primitive()),
            DataType::Int64 => SortKey::Int64(column.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => SortKey::Time(column.as_primitive()),
            other => return Err(format!("rows cannot be sorted by a column of type {other}")),
        })
    };
    spec.sorted_by.iter().map(key).collect()
}

impl SortKey<'_> {
    /// Ascending, nulls first. Columns of two types are equal: a file has one schema.
    fn compare(&self, i: usize, other: &Self, j: usize) -> Ordering {
        // `None` is less than any value.
        fn at<A: ArrayAccessor>(array: A, row: usize) -> Option<A::Item> {
            array.is_valid(row).then(|| array.value(row))
        }
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => at(*left, i).cmp(&at(*right, j)),
            (Self::Bytes(left), Self::Bytes(right)) => at(*left, i).cmp(&at(*right, j)),
            (Self::Int32(left), Self::Int32(right)) => at(*left, i).cmp(&at(*right, j)),
            (Self::Int64(left), Self::Int64(right)) => at(*left, i).cmp(&at(*right, j)),
            (Self::Time(left), Self::Time(right)) => at(*left, i).cmp(&at(*right, j)),
            _ => Ordering::Equal,
        }
    }
}
