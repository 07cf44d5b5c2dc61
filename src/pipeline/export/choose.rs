//! Which rows of a table are wanted, file by file.
//!
//! All rows of a range are told by what manifests say of files; of a file that reaches beyond the range the times are
//! read. The latest versions are found by narrow columns of all files that may hold one or outdate one: they wait in
//! [`Partitions`] by the hash of their number, and then one partition after the other is sorted in memory.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use arrow_array::{BooleanArray, RecordBatch};
use arrow_buffer::BooleanBufferBuilder;

use super::super::expire::open::read_narrow;
use super::partitions::Partitions;
use super::{ExportRange, ExportedRows, Picked};
use crate::error::{Error, ErrorClass, Result};
use crate::log::{FileEntry, Lake, LakeFile, Table};
use crate::transform::{VersionRow, VersionRows, latest};
use crate::worker::blocking;

/// How many rows of narrow columns are sorted in memory at a time, if numbers are spread as hashes are.
const PARTITION_ROWS: u64 = 65_536;
/// What stands before a version in a record: the place of its file, that of its row, and whether it is wanted when it
/// is a latest one.
const PLACE_BYTES: usize = 9;

/// The files of a table that have wanted rows, in the order of names.
pub(super) async fn picked(lake: &Lake, table: Table, rows: ExportedRows, range: ExportRange) -> Result<Vec<Picked>> {
    let picked = match rows {
        ExportedRows::All => in_range(lake, table, range).await?,
        ExportedRows::Latest | ExportedRows::Open => latest_of(lake, table, rows, range).await?,
    };
    Ok(picked.into_iter().filter(|picked| picked.rows() > 0).collect())
}

/// Files with their places, as [`read_narrow`] takes them.
pub(super) fn entries<'a>(files: impl IntoIterator<Item = &'a LakeFile>) -> Vec<(usize, FileEntry)> {
    files.into_iter().map(|file| file.entry.clone()).enumerate().collect()
}

/// Marks of the rows of files.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<BooleanBufferBuilder>);

impl Marks {
    /// No row of these files is marked.
    pub(super) fn none<'a>(files: impl IntoIterator<Item = &'a LakeFile>) -> Result<Self> {
        let marks = files.into_iter().map(|file| {
            let rows = usize::try_from(file.entry.rows).map_err(|_| odd_rows())?;
            let mut marks = BooleanBufferBuilder::new(rows);
            marks.append_n(rows, false);
            Ok(marks)
        });
        Ok(Self(marks.collect::<Result<_>>()?))
    }

    /// Marks a row of the file at a place.
    pub(super) fn mark(&mut self, place: usize, row: usize) -> Result<()> {
        let marks = self.0.get_mut(place).filter(|marks| row < marks.len()).ok_or_else(odd_rows)?;
        marks.set_bit(row, true);
        Ok(())
    }

    /// The files with their marks.
    pub(super) fn into_picked(self, files: Vec<LakeFile>) -> Vec<Picked> {
        let marks = self.0.into_iter().map(|mut marks| Some(BooleanArray::new(marks.finish(), None)));
        files.into_iter().zip(marks).map(|(file, marks)| Picked { file, marks }).collect()
    }
}

fn odd_rows() -> Error {
    Error::new(ErrorClass::FileDamaged, "a committed file has other rows than its manifest says")
        .hint("`wdt-lake verify --deep` says which file is damaged")
}

/// Which row of which file is next, while batches come file by file.
#[derive(Debug, Default)]
pub(super) struct RowCursor {
    place: Option<usize>,
    next: usize,
}

impl RowCursor {
    /// The place of the first row of a batch in its file.
    pub(super) fn advance(&mut self, place: usize, batch: &RecordBatch) -> usize {
        if self.place != Some(place) {
            *self = Self { place: Some(place), next: 0 };
        }
        let first = self.next;
        self.next += batch.num_rows();
        first
    }
}

async fn in_range(lake: &Lake, table: Table, range: ExportRange) -> Result<Vec<Picked>> {
    let files = lake.files(table).into_iter().filter(|file| range.holds(file).0);
    let (cut, whole): (Vec<_>, Vec<_>) = files.partition(|file| range.holds(file).1);
    let mark = move |(marks, cursor): &mut (Marks, RowCursor), batch: &RecordBatch, place: usize| {
        let first = cursor.advance(place, batch);
        let rows = VersionRows::of(table, batch)?;
        for row in 0..rows.rows() {
            if range.contains(rows.row(row)?.micros) {
                marks.mark(place, first + row)?;
            }
        }
        Ok(())
    };
    let none = (Marks::none(&cut)?, RowCursor::default());
    let (marks, _) = read_narrow(lake, entries(&cut), VersionRows::columns(table), none, mark).await?;
    let whole = whole.into_iter().map(|file| Picked { file, marks: None });
    let mut picked: Vec<Picked> = marks.into_picked(cut).into_iter().chain(whole).collect();
    picked.sort_unstable_by(|one, other| one.file.entry.path.cmp(&other.file.entry.path));
    Ok(picked)
}

/// Versions on their way to the partitions.
struct Spilling {
    partitions: Partitions,
    cursor: RowCursor,
    record: Vec<u8>,
}

async fn latest_of(lake: &Lake, table: Table, rows: ExportedRows, range: ExportRange) -> Result<Vec<Picked>> {
    // What is older than the range is not wanted, and outdates nothing that is.
    let may_count = |file: &LakeFile| range.from.is_none_or(|from| from <= file.entry.max_modified);
    let files: Vec<LakeFile> = lake.files(table).into_iter().filter(may_count).collect();
    let all: u64 = files.iter().map(|file| file.entry.rows).sum();
    let partitions = Partitions::new(all.div_ceil(PARTITION_ROWS))?;
    let spilling = Spilling { partitions, cursor: RowCursor::default(), record: Vec::new() };
    let spill = move |spilling: &mut Spilling, batch: &RecordBatch, place: usize| {
        let Spilling { partitions, cursor, record } = spilling;
        let first = cursor.advance(place, batch);
        let versions = VersionRows::of(table, batch)?;
        for row in 0..versions.rows() {
            let version = versions.row(row)?;
            let is_wanted = range.contains(version.micros) && (rows == ExportedRows::Latest || versions.is_open(row));
            record.clear();
            record.extend_from_slice(&place_bytes(place)?);
            record.extend_from_slice(&place_bytes(first + row)?);
            record.push(u8::from(is_wanted));
            version.encode(record);
            partitions.add(hash(version.number), record)?;
        }
        Ok(())
    };
    let spilled = read_narrow(lake, entries(&files), VersionRows::columns(table), spilling, spill).await?;
    blocking(move || {
        let mut marks = Marks::none(&files)?;
        let mut partitions = spilled.partitions;
        for part in 0..partitions.len() {
            let held = partitions.read(part)?;
            mark_latest(&held.records()?, &mut marks)?;
        }
        Ok(marks.into_picked(files))
    })
    .await
}

/// Marks those of a partition that are latest ones and wanted.
fn mark_latest(records: &[&[u8]], marks: &mut Marks) -> Result<()> {
    let damaged = || Error::internal("a temporary file does not give back what was written to it");
    let rows = records.iter().map(|record| read_record(record));
    let mut rows = rows.collect::<Option<Vec<_>>>().ok_or_else(damaged)?;
    rows.sort_unstable_by(|(one, ..), (other, ..)| one.cmp_latest(other));
    let are_latest = latest(rows.iter().map(|(version, ..)| *version));
    for ((_, (place, row), _), _) in rows.iter().zip(are_latest).filter(|((.., wanted), latest)| *wanted && *latest) {
        marks.mark(*place as usize, *row as usize)?;
    }
    Ok(())
}

/// A version, the places of its file and of its row, and whether it is wanted when it is a latest one.
fn read_record(record: &[u8]) -> Option<(VersionRow<'_>, (u32, u32), bool)> {
    let (head, version) = record.split_at_checked(PLACE_BYTES)?;
    let (place, head) = head.split_first_chunk()?;
    let (row, is_wanted) = head.split_first_chunk()?;
    let places = (u32::from_le_bytes(*place), u32::from_le_bytes(*row));
    Some((VersionRow::decode(version)?, places, is_wanted == [1]))
}

fn place_bytes(place: usize) -> Result<[u8; 4]> {
    u32::try_from(place).map(u32::to_le_bytes).map_err(|_| odd_rows())
}

fn hash(number: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    number.hash(&mut hasher);
    hasher.finish()
}
