//! The rows of several sources in their merged order, a part of a column at a time.

use std::cell::RefCell;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, SchemaRef};
use arrow_select::filter::filter;
use arrow_select::interleave::interleave;
use tempfile::SpooledTempFile;

use super::super::disk::disk_failed;
use super::super::rows::Columns;
use super::order::{MergeOrder, PICK_BYTES, SourcePosition};
use super::source::{Batches, MergeSource};
use crate::error::{Error, Result};

/// Merged rows. Any part of any column can be had; a column is read once where its parts are asked for in order.
pub(super) struct MergedColumns {
    schema: SchemaRef,
    sources: Vec<MergeSource>,
    rows: usize,
    group_rows: usize,
    starts: Vec<Vec<SourcePosition>>,
    kept: Vec<Option<BooleanBuffer>>,
    /// How many rows of a source are read at a time, by column.
    batch_rows: Vec<usize>,
    reading: RefCell<Reading>,
}

struct Reading {
    picks: SpooledTempFile,
    cursor: Option<Cursor>,
}

impl MergedColumns {
    /// Rows of `schema` in an order that was found with row groups of `group_rows`.
    pub(super) fn new(
        schema: SchemaRef,
        sources: Vec<MergeSource>,
        order: MergeOrder,
        group_rows: usize,
        batch_rows: Vec<usize>,
    ) -> Self {
        let MergeOrder { rows, picks, starts, kept } = order;
        let reading = RefCell::new(Reading { picks, cursor: None });
        Self { schema, sources, rows, group_rows, starts, kept, batch_rows, reading }
    }

    /// A cursor over a column that stands before a row.
    fn open(&self, picks: &mut SpooledTempFile, place: usize, row: usize) -> Result<Cursor> {
        let group = row / self.group_rows;
        let starts =
            self.starts.get(group).ok_or_else(|| Error::internal("no such row of a merge").with("row", row))?;
        let begin = group * self.group_rows;
        let mut cursor = Cursor { place, next: begin, sources: starts.iter().copied().map(Stand::Before).collect() };
        while cursor.next < row {
            let skipped = cursor.next..row.min(cursor.next + self.batch_rows[place]);
            cursor.gather(self, &read_picks(picks, skipped)?)?;
        }
        Ok(cursor)
    }
}

impl Columns for MergedColumns {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn column(&self, place: usize, rows: Range<usize>) -> Result<ArrayRef> {
        let Reading { picks, cursor } = &mut *self.reading.borrow_mut();
        // One that stands elsewhere is dropped before another one is opened.
        let held = cursor.take().filter(|held| held.place == place && held.next == rows.start);
        let mut reader = match held {
            Some(held) => held,
            None => self.open(picks, place, rows.start)?,
        };
        let values = reader.gather(self, &read_picks(picks, rows)?)?;
        *cursor = Some(reader);
        Ok(values)
    }
}

fn read_picks(picks: &mut SpooledTempFile, rows: Range<usize>) -> Result<Vec<u16>> {
    let mut bytes = vec![0; rows.len() * PICK_BYTES];
    let at = SeekFrom::Start((rows.start * PICK_BYTES) as u64);
    picks.seek(at).and_then(|_| picks.read_exact(&mut bytes)).map_err(disk_failed)?;
    Ok(bytes.as_chunks().0.iter().map(|pick| u16::from_le_bytes(*pick)).collect())
}

/// A place in one column of the merged rows.
struct Cursor {
    place: usize,
    /// The next row.
    next: usize,
    sources: Vec<Stand>,
}

/// Where a cursor stands in a source.
enum Stand {
    /// Nothing was read of it yet.
    Before(SourcePosition),
    Within(Values),
}

impl Cursor {
    /// The values of the next rows, which come from these sources.
    fn gather(&mut self, rows: &MergedColumns, picks: &[u16]) -> Result<ArrayRef> {
        let mut arrays: Vec<ArrayRef> = Vec::new();
        // Which of the arrays holds the next value of each source.
        let mut current: Vec<Option<usize>> = vec![None; self.sources.len()];
        let mut places = Vec::with_capacity(picks.len());
        for pick in picks {
            let source = usize::from(*pick);
            let values = self.values(rows, source)?;
            if values.at == values.array.len() {
                values.load()?;
                current[source] = None;
            }
            let array = *current[source].get_or_insert_with(|| {
                arrays.push(ArrayRef::clone(&values.array));
                arrays.len() - 1
            });
            places.push((array, values.at));
            values.at += 1;
        }
        self.next += picks.len();
        if let ([array], Some((_, first))) = (&*arrays, places.first()) {
            // Rows of one array follow each other.
            return Ok(array.slice(*first, places.len()));
        }
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        interleave(&arrays, &places).map_err(cannot_join)
    }

    fn values(&mut self, rows: &MergedColumns, source: usize) -> Result<&mut Values> {
        let stand = &mut self.sources[source];
        if let Stand::Before(from) = *stand {
            let batches = rows.sources[source].batches(&[self.place], from.row, rows.batch_rows[self.place])?;
            let array = arrow_array::new_empty_array(rows.schema.field(self.place).data_type());
            let kept = rows.kept[source].clone();
            let values = Values { batches, kept, row: from.row, skipped: from.kept_after, array, at: 0 };
            *stand = Stand::Within(values);
        }
        match stand {
            Stand::Within(values) => Ok(values),
            Stand::Before(_) => Err(Error::internal("a source of a merge was not opened")),
        }
    }
}

/// The values of one column of one source.
struct Values {
    batches: Batches,
    kept: Option<BooleanBuffer>,
    /// The row of the source with which the next batch begins.
    row: usize,
    /// Values that are passed by before the first one.
    skipped: usize,
    array: ArrayRef,
    at: usize,
}

impl Values {
    /// Reads on until there is a next value.
    fn load(&mut self) -> Result<()> {
        loop {
            let batch = self.batches.next()?.ok_or_else(|| Error::internal("a source of a merge ends too early"))?;
            self.array = match &self.kept {
                None => ArrayRef::clone(batch.column(0)),
                Some(kept) => {
                    let mask = BooleanArray::new(kept.slice(self.row, batch.num_rows()), None);
                    filter(batch.column(0), &mask).map_err(cannot_join)?
                }
            };
            self.row += batch.num_rows();
            self.at = self.skipped.min(self.array.len());
            self.skipped -= self.at;
            if self.at < self.array.len() {
                return Ok(());
            }
        }
    }
}

fn cannot_join(error: ArrowError) -> Error {
    Error::internal("cannot join the rows of a merge").because(error)
}
