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
    time_bounds(&spec.modified, column(batch, &spec.modified)?)
}

/// The earliest and the latest of the times of the column `name`, of which there is at least one.
pub(super) fn time_bounds(name: &str, times: &dyn Array) -> std::result::Result<(BeijingTime, BeijingTime), String> {
    let times = times
        .as_primitive_opt::<TimestampMicrosecondType>()
        .filter(|times| times.null_count() == 0)
        .ok_or_else(|| format!("`{name}` is not a timestamp in microseconds without nulls"))?;
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
    let keys = SortKeys::of(spec, batch)?;
    if let Some(before) = before.filter(|before| before.num_rows() > 0 && batch.num_rows() > 0) {
        let last = SortKeys::of(spec, before)?;
        last.check_pair(before.num_rows() - 1, &keys, 0)?;
    }
    (1..batch.num_rows()).try_for_each(|row| keys.check_pair(row - 1, &keys, row))
}

/// The columns of a batch by which its rows are sorted, in the order in which they count.
pub(super) struct SortKeys(Vec<SortKey>);

/// A column by which rows are sorted.
enum SortKey {
    Text(StringArray),
    Bytes(BinaryArray),
    Int32(Int32Array),
    Int64(Int64Array),
    Time(TimestampMicrosecondArray),
}

impl SortKeys {
    /// The keys of no rows.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn of(spec: &TableSpec, batch: &RecordBatch) -> std::result::Result<Self, String> {
        let key = |name: &String| {
            let column = column(batch, name)?;
            Ok(match column.data_type() {
                DataType::Utf8 => SortKey::Text(column.as_string().clone()),
                DataType::Binary => SortKey::Bytes(column.as_binary().clone()),
                DataType::Int32 => SortKey::Int32(column.as_primitive().clone()),
                DataType::Int64 => SortKey::Int64(column.as_primitive().clone()),
                DataType::Timestamp(TimeUnit::Microsecond, _) => SortKey::Time(column.as_primitive().clone()),
                other => return Err(format!("rows cannot be sorted by a column of type {other}")),
            })
        };
        spec.sorted_by.iter().map(key).collect::<std::result::Result<_, _>>().map(Self)
    }

    /// How row `i` compares to row `j` of other keys of the same table.
    pub(super) fn compare(&self, i: usize, other: &Self, j: usize) -> Ordering {
        let pairs = self.0.iter().zip(&other.0);
        pairs.map(|(one, other)| one.compare(i, other, j)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// Checks that row `j` of the other keys may come after row `i` of these.
    pub(super) fn check_pair(&self, i: usize, next: &Self, j: usize) -> std::result::Result<(), String> {
        match self.compare(i, next, j) {
            Ordering::Greater => Err("rows are not sorted as claimed".into()),
            Ordering::Less | Ordering::Equal => Ok(()),
        }
    }
}

impl SortKey {
    /// Ascending, nulls first. Columns of two types are equal: a file has one schema.
    fn compare(&self, i: usize, other: &Self, j: usize) -> Ordering {
        // `None` is less than any value.
        fn at<A: ArrayAccessor>(array: A, row: usize) -> Option<A::Item> {
            array.is_valid(row).then(|| array.value(row))
        }
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => at(left, i).cmp(&at(right, j)),
            (Self::Bytes(left), Self::Bytes(right)) => at(left, i).cmp(&at(right, j)),
            (Self::Int32(left), Self::Int32(right)) => at(left, i).cmp(&at(right, j)),
            (Self::Int64(left), Self::Int64(right)) => at(left, i).cmp(&at(right, j)),
            (Self::Time(left), Self::Time(right)) => at(left, i).cmp(&at(right, j)),
            _ => Ordering::Equal,
        }
    }
}
