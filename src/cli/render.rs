//! How values look: numbers for people, rows as JSON.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::text::{say, text};
use crate::time::BeijingTime;
use crate::units::plural;

/// Bytes for people: `512 B`, `1.5 MB`.
pub(super) fn bytes(number: u64) -> String {
    match number {
        0..1_000 => format!("{number} B"),
        1_000..1_000_000 => format!("{:.1} kB", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number as f64 / 1e6),
        _ => format!("{:.2} GB", number as f64 / 1e9),
    }
}

/// The name of an object that may have any shape, on one line and so that it can be told from others.
pub(super) fn name(name: &str) -> String {
    let is_plain = !name.is_empty() && !name.contains(char::is_control) && name.trim() == name;
    if is_plain { name.to_owned() } else { format!("{name:?}") }
}

/// A number scaled by 10,000 as `-12.3400`, exactly.
pub(super) fn decimal(scaled: i128) -> String {
    let (sign, magnitude) = (if scaled < 0 { "-" } else { "" }, scaled.unsigned_abs());
    format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000)
}

/// The line of a summary on times that readers cannot hold, if there are any.
pub(super) fn unreadable_times(number: u64) -> Option<String> {
    (number > 0).then(|| {
        say!(
            "  {times} before 1900 or after 9999 kept as text in `extra`, null in the column",
            times = plural(number, "time")
        )
    })
}

/// The rows of a batch as JSON objects in the contract's columns: decimals as text, times as RFC 3339 in Beijing.
pub(super) fn rows(batch: &RecordBatch) -> Result<Vec<Map<String, Value>>> {
    let mut objects = vec![Map::new(); batch.num_rows()];
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        for (row, object) in objects.iter_mut().enumerate() {
            object.insert(field.name().clone(), value(column, row)?);
        }
    }
    Ok(objects)
}

fn value(column: &dyn Array, row: usize) -> Result<Value> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Decimal128(_, 4) => decimal(column.as_primitive::<Decimal128Type>().value(row)).into(),
        DataType::Timestamp(..) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let time = BeijingTime::from_unix(micros.div_euclid(1_000_000));
            time.map_or(Value::Null, |time| time.rfc3339().into())
        }
        other => return Err(Error::internal(text!("cannot print a column of type {other}", other))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people_stay_exact() {
        assert_eq!(decimal(-5), "-0.0005");
        assert_eq!(decimal(1_234_567_890_123_456_789), "123456789012345.6789");
        assert_eq!(name("a b//c"), "a b//c");
        assert_eq!((&*name(""), &*name("a\n")), ("\"\"", "\"a\\n\""));
        assert_eq!(bytes(1_500_000), "1.5 MB");
    }
}
