//! The decoder as a whole: the vendor's example, answers that differ a little from the documented ones, and random
//! requisitions against a model.

mod broken;
mod dress;
mod drift;
mod example;
mod model;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;

use super::page::PageError;
use super::{Page, PageContext, PageDecoder, Quarantined, WindowRows, assemble};
use crate::edition::Edition;
use crate::id::RunId;
use crate::time::{BeijingTime, Window};

/// The vendor's example answer, verbatim from the page of purchase_apply_query.php, section 6.1. (The page shows its
/// blanks as HTML's no-break spaces, which JSON does not have; they are blanks again here.)
const EXAMPLE: &str = include_str!("../../../tests/fixtures/enterprise_example.json");
/// When the answers of these tests arrive: 2026-10-01 00:00:00 UTC and half a second.
const RECEIVED_AT: i64 = 1_790_812_800_500_000;

fn run() -> RunId {
    RunId::parse("01890a5d-ac96-774b-bcce-b302099a8057").expect("an id")
}

fn at(text: &str) -> BeijingTime {
    BeijingTime::parse(text).expect("a time")
}

fn window(start: &str, end: &str) -> Window {
    Window::new(at(start), at(end)).expect("a window")
}

fn decode_in(edition: Edition, body: &str, window: Option<Window>) -> Result<Page, PageError> {
    let decoder = PageDecoder::new(edition, run()).expect("a decoder");
    decoder
        .decode(body.as_bytes(), &PageContext { window, page_no: 0, page_size: 100, received_at_micros: RECEIVED_AT })
}

fn decode(body: &str) -> Page {
    decode_in(Edition::Enterprise, body, None).expect("a page")
}

/// Lands every row of a page.
fn land(page: Page) -> WindowRows {
    let selected: Vec<(usize, usize)> = (0..page.rows().len()).map(|row| (0, row)).collect();
    assemble([page], &selected).expect("rows")
}

/// An enterprise answer of these requisitions.
fn answer(requisitions: &[&str]) -> String {
    format!(r#"{{"code":0,"message":"","purchase_list":[{}]}}"#, requisitions.join(","))
}

/// The rows of one requisition that fits.
fn landed(requisition: &str) -> WindowRows {
    let rows = land(decode(&answer(&[requisition])));
    assert_eq!(rows.quarantined, [], "it fits: {requisition}");
    rows
}

/// The one requisition that does not fit, when nothing of it landed.
fn quarantined(requisition: &str) -> Quarantined {
    let page = decode(&answer(&[GOOD, requisition, GOOD]));
    assert_eq!(page.quarantined_rows().collect::<Vec<_>>(), [1], "{requisition}");
    let identity = page.rows()[1].identity.clone();
    let mut rows = land(page);
    assert_eq!((rows.headers.num_rows(), rows.details.num_rows()), (2, 2), "the rows around it land");
    let record = rows.quarantined.remove(0);
    assert_eq!(record.raw, requisition, "the source text is kept");
    assert_eq!(identity, record.identity);
    record
}

/// A requisition that fits, with one detail.
const GOOD: &str =
    r#"{"purchase_apply_no":"POA1","status":"20","modified":"2026-09-01 10:00:00","details_list":[{"rec_id":"1"}]}"#;

/// A value of any column, as tests compare them.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Int(i64),
    /// Ten-thousandths.
    Decimal(i128),
    /// Microseconds.
    Time(i64),
    Text(String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

fn time(text: &str) -> Cell {
    Cell::Time(at(text).unix() * 1_000_000)
}

fn cell(batch: &RecordBatch, column: &str, row: usize) -> Cell {
    let array = batch.column_by_name(column).unwrap_or_else(|| panic!("a column {column}"));
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Int16 => Cell::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Cell::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Decimal128(19, 4) => Cell::Decimal(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Timestamp(_, Some(zone)) if **zone == *"UTC" => {
            Cell::Time(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        other => panic!("{column} has the type {other}"),
    }
}
