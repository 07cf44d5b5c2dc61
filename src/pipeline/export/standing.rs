//! How requisitions and stops stand now, for whoever adds them up: the latest versions by some columns, headers beside
//! what their details sum to.
//!
//! Rows are shown a batch at a time. Of headers so many are in memory by the bytes that tell them, with their sums.

use std::ops::Range;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

use super::super::expire::open::read_narrow;
use super::choose::{RowCursor, entries, picked};
use super::details::{ByVersion, sums_of};
use super::{ExportRange, ExportedRows, Picked, by_month, details_in};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Lake, Table};
use crate::transform::{DetailSums, StandingHeaders, StandingStops, VersionRows};

/// How many headers are in memory at a time; one takes some 200 bytes.
const HEADERS: u64 = 65_536;

/// Shows the latest version of each requisition, in the columns of [`StandingHeaders`], with what its details sum to.
///
/// # Errors
/// [`ErrorKind::Lake`] when the store does not answer or no temporary file can be written, [`ErrorKind::Defect`] when
/// a file is missing or damaged; what `visit` fails with.
pub(crate) async fn standing_headers<T: Send + 'static>(
    lake: &Lake,
    mut into: T,
    visit: impl Fn(&mut T, &RecordBatch, &[DetailSums]) -> Result<()> + Copy + Send + 'static,
) -> Result<T> {
    let latest = picked(lake, Table::PurchaseApply, ExportedRows::Latest, ExportRange::default()).await?;
    for (month, group) in by_month(latest) {
        let details = details_in(lake, month);
        let all: u64 = group.iter().map(Picked::rows).sum();
        let mut first = 0;
        while first < all {
            let span = first..first + HEADERS;
            let sums = sums_of(lake, &group, span.clone(), &details).await?;
            let show = move |(into, sums): &mut (T, ByVersion<DetailSums>), batch: &RecordBatch| {
                let of_rows = sums_of_rows(batch, sums)?;
                visit(into, batch, &of_rows)
            };
            (into, _) = show_wanted(lake, &group, span, &StandingHeaders::COLUMNS, (into, sums), show).await?;
            first += HEADERS;
        }
    }
    Ok(into)
}

/// Shows the last that is known of the latest stop of each requisition, in the columns of [`StandingStops`].
///
/// # Errors
/// As [`standing_headers`].
pub(crate) async fn standing_stops<T: Send + 'static>(
    lake: &Lake,
    into: T,
    visit: impl Fn(&mut T, &RecordBatch) -> Result<()> + Copy + Send + 'static,
) -> Result<T> {
    let latest = picked(lake, Table::StopReference, ExportedRows::Latest, ExportRange::default()).await?;
    show_wanted(lake, &latest, 0..u64::MAX, &StandingStops::COLUMNS, into, visit).await
}

/// What the details of each of these headers sum to.
fn sums_of_rows(headers: &RecordBatch, sums: &ByVersion<DetailSums>) -> Result<Vec<DetailSums>> {
    let versions = VersionRows::of(Table::PurchaseApply, headers)?;
    let mut key = Vec::new();
    let of_row = |row: usize| {
        key.clear();
        versions.row(row)?.encode(&mut key);
        Ok(sums.get(&key[..]).copied().unwrap_or_default())
    };
    (0..versions.rows()).map(of_row).collect()
}

/// Rows on their way to whoever wants to see them.
struct Showing<T> {
    into: T,
    marks: Vec<Option<BooleanArray>>,
    cursor: RowCursor,
    /// How many wanted rows came so far, and which of them are to be shown.
    nth: u64,
    span: Range<u64>,
}

/// Shows those wanted rows of files, in order, that are in `span`, in some columns.
async fn show_wanted<T: Send + 'static>(
    lake: &Lake,
    files: &[Picked],
    span: Range<u64>,
    columns: &'static [&'static str],
    into: T,
    visit: impl Fn(&mut T, &RecordBatch) -> Result<()> + Copy + Send + 'static,
) -> Result<T> {
    let marks = files.iter().map(|picked| picked.marks.clone()).collect();
    let showing = Showing { into, marks, cursor: RowCursor::default(), nth: 0, span };
    let show = move |showing: &mut Showing<T>, batch: &RecordBatch, place: usize| {
        let first = showing.cursor.advance(place, batch);
        let marks = showing.marks.get(place).and_then(Option::as_ref);
        let is_wanted = |row: usize| marks.is_none_or(|marks| first + row < marks.len() && marks.value(first + row));
        let mut nth = showing.nth;
        let shown: BooleanArray = (0..batch.num_rows())
            .map(|row| {
                let is_shown = is_wanted(row) && showing.span.contains(&nth);
                nth += u64::from(is_wanted(row));
                Some(is_shown)
            })
            .collect();
        showing.nth = nth;
        if shown.true_count() == 0 {
            return Ok(());
        }
        let rows = filter_record_batch(batch, &shown)
            .map_err(|error| Error::new(ErrorKind::Defect, "a committed file cannot be read").because(error))?;
        visit(&mut showing.into, &rows)
    };
    let entries = entries(files.iter().map(|picked| &picked.file));
    Ok(read_narrow(lake, entries, columns, showing, show).await?.into)
}
