//! Rows as CSV, exactly: RFC 4180 in UTF-8 with a line of names, lines ended by a line feed.
//!
//! Null is nothing between two commas, and empty text is `""`: no crate that writes Arrow as CSV tells them apart.
//! Decimals have their four places. Times are RFC 3339 in Beijing with six; those that have no time zone are written as
//! they are, `2026-10-01 08:00:00`, with six places where they are no whole seconds. Text is as it is, between quotes
//! where it holds a comma, a quote or the end of a line, each of its quotes twice.

use std::io::{self, Write};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema, TimeUnit};

use super::super::render;
use crate::time::{rfc3339_beijing, wall_clock};

/// Whether CSV begins with a byte order mark, by which Excel tells that it is UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum ByteOrderMark {
    Yes,
    No,
}

/// Writes rows of one schema.
pub(in crate::cli) struct CsvWriter<W> {
    output: W,
}

impl<W: Write> CsvWriter<W> {
    /// Begins with the names of the columns.
    pub(super) fn begin(mut output: W, mark: ByteOrderMark, schema: &Schema) -> io::Result<Self> {
        if mark == ByteOrderMark::Yes {
            output.write_all("\u{feff}".as_bytes())?;
        }
        for (place, field) in schema.fields().iter().enumerate() {
            separate(&mut output, place)?;
            write_text(&mut output, field.name())?;
        }
        output.write_all(b"\n")?;
        Ok(Self { output })
    }

    /// Adds rows.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> io::Result<()> {
        for row in 0..rows.num_rows() {
            for (place, column) in rows.columns().iter().enumerate() {
                separate(&mut self.output, place)?;
                if column.is_valid(row) {
                    self.write_value(column, row)?;
                }
            }
            self.output.write_all(b"\n")?;
        }
        Ok(())
    }

    fn write_value(&mut self, column: &ArrayRef, row: usize) -> io::Result<()> {
        let output = &mut self.output;
        match column.data_type() {
            DataType::Utf8 => write_text(output, column.as_string::<i32>().value(row)),
            DataType::Int16 => write!(output, "{}", column.as_primitive::<Int16Type>().value(row)),
            DataType::Int32 => write!(output, "{}", column.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => write!(output, "{}", column.as_primitive::<Int64Type>().value(row)),
            DataType::Decimal128(_, 4) => {
                output.write_all(render::decimal(column.as_primitive::<Decimal128Type>().value(row)).as_bytes())
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
                let text = if zone.is_some() { rfc3339_beijing(micros) } else { wall_clock(micros) };
                output.write_all(text.as_bytes())
            }
            other => Err(io::Error::other(format!("CSV has no form for a column of type {other}"))),
        }
    }

    /// Where the rows went.
    pub(super) fn into_inner(self) -> W {
        self.output
    }
}

fn separate(output: &mut impl Write, place: usize) -> io::Result<()> {
    if place > 0 { output.write_all(b",") } else { Ok(()) }
}

fn write_text(output: &mut impl Write, text: &str) -> io::Result<()> {
    if !text.is_empty() && !text.contains([',', '"', '\n', '\r']) {
        return output.write_all(text.as_bytes());
    }
    output.write_all(b"\"")?;
    for (place, part) in text.split('"').enumerate() {
        if place > 0 {
            output.write_all(b"\"\"")?;
        }
        output.write_all(part.as_bytes())?;
    }
    output.write_all(b"\"")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Decimal128Array, Int16Array, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn values_are_exact_and_null_is_not_empty() {
        let texts = ["plain 采购", "", "a,b", "say \"so\"", "two\nlines\r", " blank "];
        let texts = texts.into_iter().map(Some).chain([None]);
        let times: TimestampMicrosecondArray = (0..7).map(|nth| (nth < 6).then_some(nth)).collect();
        let decimals: Decimal128Array =
            [-5_i128, 0, 12_345, 9_999_999_999_999_999_999, -10_000, 1, 0].into_iter().map(Some).collect();
        let columns: [(&str, ArrayRef); 5] = [
            ("text, of a row", Arc::new(texts.collect::<StringArray>())),
            ("time", Arc::new(times.with_timezone("UTC"))),
            ("num", Arc::new(decimals.with_precision_and_scale(19, 4).expect("fits"))),
            ("small", Arc::new((0..7).map(|nth| Some(-nth)).collect::<Int16Array>())),
            ("large", Arc::new(Int64Array::new_null(7))),
        ];
        let rows = RecordBatch::try_from_iter(columns).expect("rows");
        let mut csv = CsvWriter::begin(Vec::new(), ByteOrderMark::No, &rows.schema()).expect("begun");
        csv.write(&rows).expect("written");
        let at = |micros: u8| format!("1970-01-01T08:00:00.00000{micros}+08:00");
        let expected = format!(
            "\"text, of a row\",time,num,small,large\nplain 采购,{},-0.0005,0,\n\"\",{},0.0000,-1,\n\"a,b\",{},1.2345,-2,\n\
             \"say \"\"so\"\"\",{},999999999999999.9999,-3,\n\"two\nlines\r\",{},-1.0000,-4,\n blank ,{},0.0001,-5,\n,,0.0000,-6,\n",
            at(0),
            at(1),
            at(2),
            at(3),
            at(4),
            at(5)
        );
        assert_eq!(String::from_utf8(csv.into_inner()).expect("UTF-8"), expected);
    }
    #[test]
    fn times_without_a_zone_are_wall_clock_and_a_mark_comes_first() {
        let times: TimestampMicrosecondArray =
            [Some(1_790_812_800_000_000), Some(1_790_812_800_000_007), None, Some(-1_000_000)].into_iter().collect();
        let rows = RecordBatch::try_from_iter([("time", Arc::new(times) as ArrayRef)]).expect("rows");
        let mut csv = CsvWriter::begin(Vec::new(), ByteOrderMark::Yes, &rows.schema()).expect("begun");
        csv.write(&rows).expect("written");
        let expected = "\u{feff}time\n2026-10-01 00:00:00\n2026-10-01 00:00:00.000007\n\n1969-12-31 23:59:59\n";
        assert_eq!(String::from_utf8(csv.into_inner()).expect("UTF-8"), expected);
    }
}
