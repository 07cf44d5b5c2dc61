//! The rows of a table as they stand now: the committed set, or of it the latest version of each requisition.
//!
//! Rows come account by account, of each Beijing month by month, and of a month in the order by which the table is
//! sorted. So the same rows come in the same order, however commits have been put together since. Stop references,
//! which have no months, come in one piece.
//!
//! Nothing is in memory that grows with the rows but one bit a row: which rows are chosen is found by narrow columns,
//! which wait in a temporary file; then files are read one after the other. Those of one month are merged to a
//! temporary file first, where there are several.

mod choose;
mod columns;
mod details;
mod omissions;
mod partitions;
mod sorted;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::BooleanArray;

use self::choose::picked;
pub(crate) use self::columns::{ExportColumns, TimesAs};
pub(crate) use self::omissions::Omissions;
pub(crate) use self::partitions::Partitions;
use self::sorted::{Sorted, sorted};
pub(crate) use self::standing::{standing_headers, standing_stops};
use super::table_rows::{RowSink, until_steady};
use crate::error::{Error, Result};
use crate::id::AccountName;
use crate::log::{Lake, LakeFile, Table};
use crate::parquet::{TableSpec, decode_marked};
use crate::time::{BeijingTime, Month};
use crate::transform::{stop_spec, table_specs};
use crate::worker::Worker;

/// Which rows of a table are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportedRows {
    /// All versions.
    All,
    /// The latest version of each requisition; of details those of this version; of stop references the last that is
    /// known of the latest stop.
    Latest,
    /// Of the latest versions those that are open.
    Open,
}

/// The modified times that are wanted, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExportRange {
    /// The first second; none: from the beginning.
    pub(crate) from: Option<BeijingTime>,
    /// The last second; none: to the end.
    pub(crate) to: Option<BeijingTime>,
}

impl ExportRange {
    /// Whether a time is in it, in microseconds since 1970-01-01 00:00:00 UTC.
    fn contains(self, micros: i64) -> bool {
        let second = micros.div_euclid(1_000_000);
        self.from.is_none_or(|from| from.unix() <= second) && self.to.is_none_or(|to| second <= to.unix())
    }

    /// Whether a file has times in it, and whether it has others, by what its manifest says.
    fn holds(self, file: &LakeFile) -> (bool, bool) {
        let (min, max) = (file.entry.min_modified, file.entry.max_modified);
        let overlaps = self.from.is_none_or(|from| from <= max) && self.to.is_none_or(|to| min <= to);
        (overlaps, !self.contains(min.micros()) || !self.contains(max.micros()))
    }
}

/// What is wanted.
#[derive(Clone, Debug)]
pub(crate) struct ExportRequest {
    /// Which rows.
    pub(crate) rows: ExportedRows,
    /// Of which modified times.
    pub(crate) range: ExportRange,
    /// In which columns.
    pub(crate) columns: ExportColumns,
}

/// What was given of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountExport {
    /// The account.
    pub(crate) account: AccountName,
    /// The number of the newest manifest.
    pub(crate) newest: u64,
    /// The rows that were given.
    pub(crate) rows: u64,
    /// The committed files in which they stand.
    pub(crate) files: u64,
    /// What is not among them.
    pub(crate) omissions: Omissions,
}

/// A committed file, and which of its rows are wanted; all of them without marks.
#[derive(Clone, Debug)]
struct Picked {
    file: LakeFile,
    marks: Option<BooleanArray>,
}

impl Picked {
    /// How many rows are wanted.
    fn rows(&self) -> u64 {
        self.marks.as_ref().map_or(self.file.entry.rows, |marks| marks.true_count() as u64)
    }
}

/// Gives the rows of accounts to a sink. `begin` makes a sink that holds nothing; it is asked again when files that are
/// read were replaced meanwhile, and the sink before is dropped.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer or no temporary file can be written;
/// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when files were replaced again and again while they were read;
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a file is missing or damaged; what the sink says.
pub(crate) async fn export<S: RowSink>(
    mut lakes: Vec<Lake>,
    request: &ExportRequest,
    begin: impl Fn() -> Result<S>,
) -> Result<(S, Vec<AccountExport>)> {
    // What writes rows takes most of the memory, and must not do so on each thread in turn.
    let worker = Worker::start("export")?;
    until_steady(&mut lakes, async |lakes| {
        let (mut sink, mut accounts) = (begin()?, Vec::new());
        for lake in lakes {
            let given;
            (sink, given) = Box::pin(read_account(&worker, lake, request, sink)).await?;
            accounts.push(given);
        }
        Ok((sink, accounts))
    })
    .await
}

async fn read_account<S: RowSink>(
    worker: &Worker,
    lake: &Lake,
    request: &ExportRequest,
    mut sink: S,
) -> Result<(S, AccountExport)> {
    let table = request.columns.table();
    let of_details = table == Table::PurchaseApplyDetail && request.rows != ExportedRows::All;
    let spec = spec(table)?;
    let mut given = AccountExport {
        account: lake.account().clone(),
        newest: lake.state().newest().map_or(0, |newest| newest.number),
        rows: 0,
        files: 0,
        omissions: Omissions::of(lake, table, request.range),
    };
    let chosen_of = if of_details { Table::PurchaseApply } else { table };
    for (month, mut group) in by_month(picked(lake, chosen_of, request.rows, request.range).await?) {
        if of_details {
            group = details::of_headers(lake, &group, details_in(lake, month)).await?;
        }
        let open = if request.columns.has_open_num() && table == Table::PurchaseApply {
            details::open_quantities(lake, &group, details_in(lake, month)).await?
        } else {
            details::OpenSums::default()
        };
        given.files += group.len() as u64;
        let Some(file) = sorted(worker, lake, &spec, group).await? else { continue };
        let rows;
        (sink, rows) = give(worker, file, lake.account(), &request.columns, open, sink).await?;
        given.rows += rows;
    }
    Ok((sink, given))
}

/// Gives the rows of one file; their number.
async fn give<S: RowSink>(
    worker: &Worker,
    file: Sorted,
    account: &AccountName,
    columns: &ExportColumns,
    open: details::OpenSums,
    mut sink: S,
) -> Result<(S, u64)> {
    let (account, columns) = (account.clone(), columns.clone());
    let Sorted { file, marks, uri } = file;
    let read = worker.run(move || {
        let mut rows = 0;
        for batch in decode_marked(file, marks)? {
            let batch = columns.fit(&batch?, &account, &open)?;
            rows += batch.num_rows() as u64;
            sink.take(&batch)?;
        }
        Ok((sink, rows))
    });
    read.await.map_err(|error: Error| match uri {
        Some(uri) => error.with("object", uri),
        None => error,
    })
}

fn spec(table: Table) -> Result<Arc<TableSpec>> {
    if table == Table::StopReference {
        return stop_spec();
    }
    let spec = table_specs()?.into_iter().find(|spec| spec.table == table);
    spec.ok_or_else(|| Error::internal("the contract lacks a table").with("table", table))
}

/// Files by the Beijing month in which each lies; those of stop references, which lie in none, together.
fn by_month(picked: Vec<Picked>) -> BTreeMap<Option<Month>, Vec<Picked>> {
    let mut months: BTreeMap<_, Vec<Picked>> = BTreeMap::new();
    for one in picked {
        months.entry(month(&one.file)).or_default().push(one);
    }
    months
}

fn month(file: &LakeFile) -> Option<Month> {
    (file.entry.table != Table::StopReference.name()).then(|| file.entry.min_modified.month())
}

fn details_in(lake: &Lake, in_month: Option<Month>) -> Vec<LakeFile> {
    lake.files(Table::PurchaseApplyDetail).into_iter().filter(|file| month(file) == in_month).collect()
}
