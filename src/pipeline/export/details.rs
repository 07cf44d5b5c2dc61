//! The details of chosen headers: those of the same version in the same response, which share number, id, modified
//! time, run and time of reading.
//!
//! Header and details of a version lie in the same Beijing month, so it is asked month by month. The keys of so many
//! headers are in memory at a time, and all details of the month are shown to them.

use std::collections::HashMap;
use std::ops::Range;

use arrow_array::{Array as _, BooleanArray, Decimal128Array, RecordBatch};

use super::super::expire::open::read_narrow;
use super::Picked;
use super::choose::{Marks, RowCursor, entries};
use crate::error::Result;
use crate::log::{Lake, LakeFile, Table};
use crate::transform::{DetailSums, OpenQuantities, VersionRows, unreferenced};

/// How many headers are in memory at a time; one takes some hundred bytes.
const KEYS: u64 = 131_072;
/// Headers by the bytes that tell their version and reading.
pub(super) type ByVersion<T> = HashMap<Box<[u8]>, T>;

/// What is open of headers that do not say so themselves: the sum over their details, in ten-thousandths; none where
/// no detail has a quantity.
#[derive(Debug, Default)]
pub(super) struct OpenSums(ByVersion<Option<i128>>);

impl OpenSums {
    /// The quantity that is open of each of these headers.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the columns are not those of the contract.
    pub(super) fn open_num(&self, headers: &RecordBatch) -> Result<Vec<Option<i128>>> {
        let (versions, own) = (VersionRows::of(Table::PurchaseApply, headers)?, unreferenced(headers)?);
        let mut key = Vec::new();
        let mut open = Vec::with_capacity(headers.num_rows());
        for row in 0..headers.num_rows() {
            open.push(if own.is_valid(row) {
                Some(own.value(row))
            } else {
                key.clear();
                versions.row(row)?.encode(&mut key);
                self.0.get(&key[..]).copied().flatten()
            });
        }
        Ok(open)
    }
}

/// The details of the wanted rows of `headers`, out of the files of the same month.
pub(super) async fn of_headers(lake: &Lake, headers: &[Picked], details: Vec<LakeFile>) -> Result<Vec<Picked>> {
    let mut marks = Marks::none(&details)?;
    let all: u64 = headers.iter().map(Picked::rows).sum();
    let mut first = 0;
    while first < all {
        let by_version = by_version(lake, headers, first..first + KEYS).await?;
        let into = (marks, by_version, RowCursor::default(), Vec::new());
        type Into = (Marks, ByVersion<()>, RowCursor, Vec<u8>);
        let mark = |(marks, by_version, cursor, key): &mut Into, batch: &RecordBatch, place: usize| {
            let first = cursor.advance(place, batch);
            let versions = VersionRows::of(Table::PurchaseApplyDetail, batch)?;
            for row in 0..versions.rows() {
                key.clear();
                versions.row(row)?.encode(key);
                if by_version.contains_key(&key[..]) {
                    marks.mark(place, first + row)?;
                }
            }
            Ok(())
        };
        let columns = VersionRows::columns(Table::PurchaseApplyDetail);
        (marks, ..) = read_narrow(lake, entries(&details), columns, into, mark).await?;
        first += KEYS;
    }
    let picked = marks.into_picked(details);
    Ok(picked.into_iter().filter(|picked| picked.rows() > 0).collect())
}

/// What the details of the wanted rows of `headers` sum to, for those that do not say what is open of them.
pub(super) async fn open_quantities(lake: &Lake, headers: &[Picked], details: Vec<LakeFile>) -> Result<OpenSums> {
    let lacking =
        |batch: &RecordBatch, row: usize| unreferenced(batch).map(|column: &Decimal128Array| column.is_null(row));
    let sums = gather(lake, headers, &OpenQuantities::HEADER_COLUMNS, 0..u64::MAX, lacking).await?;
    if sums.is_empty() {
        return Ok(OpenSums::default());
    }
    let add = |(sums, key): &mut (ByVersion<Option<i128>>, Vec<u8>), batch: &RecordBatch, _: usize| {
        let versions = VersionRows::of(Table::PurchaseApplyDetail, batch)?;
        let quantities = OpenQuantities::of(batch)?;
        for row in 0..versions.rows() {
            key.clear();
            versions.row(row)?.encode(key);
            if let Some(sum) = sums.get_mut(&key[..])
                && let Some(open) = quantities.row(row)
            {
                *sum = Some(sum.unwrap_or(0) + open);
            }
        }
        Ok(())
    };
    let (sums, _) =
        read_narrow(lake, entries(&details), &OpenQuantities::DETAIL_COLUMNS, (sums, Vec::new()), add).await?;
    Ok(OpenSums(sums))
}

/// What the details of those wanted rows of `headers` that are in `span` sum to, out of the files of the same month.
pub(super) async fn sums_of(
    lake: &Lake,
    headers: &[Picked],
    span: Range<u64>,
    details: &[LakeFile],
) -> Result<ByVersion<DetailSums>> {
    let columns = VersionRows::columns(Table::PurchaseApply);
    let sums: ByVersion<DetailSums> = gather(lake, headers, columns, span, |_, _| Ok(true)).await?;
    let add = |(sums, key): &mut (ByVersion<DetailSums>, Vec<u8>), batch: &RecordBatch, _: usize| {
        let versions = VersionRows::of(Table::PurchaseApplyDetail, batch)?;
        let quantities = OpenQuantities::of(batch)?;
        for row in 0..versions.rows() {
            key.clear();
            versions.row(row)?.encode(key);
            if let Some(sum) = sums.get_mut(&key[..]) {
                quantities.add_to(row, sum);
            }
        }
        Ok(())
    };
    let details = entries(details);
    let (sums, _) = read_narrow(lake, details, &OpenQuantities::DETAIL_COLUMNS, (sums, Vec::new()), add).await?;
    Ok(sums)
}

/// Of the wanted rows of `headers`, in order, those in `span`.
async fn by_version(lake: &Lake, headers: &[Picked], span: Range<u64>) -> Result<ByVersion<()>> {
    gather(lake, headers, VersionRows::columns(Table::PurchaseApply), span, |_, _| Ok(true)).await
}

/// Headers while they are gathered.
struct Gathering<T> {
    found: ByVersion<T>,
    marks: Vec<Option<BooleanArray>>,
    cursor: RowCursor,
    /// How many wanted rows came so far, and which of them are to be gathered.
    nth: u64,
    span: Range<u64>,
}

async fn gather<T: Default + Send + 'static>(
    lake: &Lake,
    headers: &[Picked],
    columns: &'static [&'static str],
    span: Range<u64>,
    is_asked_for: impl Fn(&RecordBatch, usize) -> Result<bool> + Copy + Send + 'static,
) -> Result<ByVersion<T>> {
    let marks = headers.iter().map(|picked| picked.marks.clone()).collect();
    let gathering = Gathering { found: HashMap::new(), marks, cursor: RowCursor::default(), nth: 0, span };
    let take_in = move |into: &mut Gathering<T>, batch: &RecordBatch, place: usize| {
        let first = into.cursor.advance(place, batch);
        let versions = VersionRows::of(Table::PurchaseApply, batch)?;
        let marks = into.marks.get(place).and_then(Option::as_ref);
        let is_wanted = |row: usize| marks.is_none_or(|marks| first + row < marks.len() && marks.value(first + row));
        for row in (0..versions.rows()).filter(|row| is_wanted(*row)) {
            if into.span.contains(&into.nth) && is_asked_for(batch, row)? {
                let mut key = Vec::new();
                versions.row(row)?.encode(&mut key);
                into.found.insert(key.into(), T::default());
            }
            into.nth += 1;
        }
        Ok(())
    };
    let files = entries(headers.iter().map(|picked| &picked.file));
    Ok(read_narrow(lake, files, columns, gathering, take_in).await?.found)
}
