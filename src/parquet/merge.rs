//! Sorted files of one table to fewer sorted files, in bounded memory.
//!
//! Rows are copied as they are, in the order that their table claims; equal rows keep the order of the inputs. First
//! the columns by which rows are sorted are read and merged, which gives for each row of the result the input that it
//! comes from; then the result is written column by column, each column of each input being read alongside. So memory
//! holds a page of a few columns, or of one column, of each input, and never an input or a row group. Where that is too
//! much, inputs that follow each other are merged to temporary files first, and those in turn.
//!
//! The files that come out are the ones that encoding all rows at once would give, but for where they are cut.
//! Everything here blocks and takes its time: call it off the async threads.

mod columns;
mod order;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::columns::MergedColumns;
use self::order::{MergeOrder, key_places};
pub(crate) use self::source::MergeInput;
use self::source::MergeSource;
pub(crate) use self::source::RowFilter;
use super::spec::{FileOrigin, TableSpec};
use super::spool::{DigestedFile, PageSpool, SpooledFile};
use super::writer::{CHUNK_ROWS, FileWriter, ROW_GROUP_ROWS, RowSteps, chunks};
use crate::error::{Error, Result};

/// What a merge may take, and how large its files are to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MergeLimits {
    /// The memory of the merge as a whole. Values of usual sizes need 16 MiB; two inputs are merged in any case.
    pub(crate) memory_bytes: usize,
    /// A file ends with the row group that brings it to this size. A last file of less than a quarter of it is not
    /// begun.
    pub(crate) target_bytes: u64,
}

/// The most inputs that are merged at a time, whatever the memory.
const MOST_SOURCES: usize = 1_024;
/// What encoding a column takes: its dictionary, a page before and after its compression, the compressor, and the
/// hashes of a bloom filter.
const ENCODER_BYTES: usize = 5 << 20;
/// What a reader of a column takes besides its pages; most of it is the decompressor.
const READER_BYTES: usize = 96 << 10;
/// How many parts of the memory batches and temporary files may take.
const BATCH_PART: usize = 16;
const SPOOL_PART: usize = 32;
/// The least rows that are read at a time.
const LEAST_BATCH_ROWS: usize = 16;

/// Merges the files of `inputs`, each of which is sorted as its table claims, to files of about the target size; none
/// when no row stays.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the rows do not fit the specification or `origin`: an input
/// is not sorted, inputs differ in their columns, or a modified time lies outside the span;
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when an input is no Parquet file that can be read;
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when temporary files cannot be written; what a filter says.
pub(crate) fn merge(
    spec: &TableSpec,
    inputs: Vec<MergeInput>,
    origin: &FileOrigin,
    limits: MergeLimits,
) -> Result<Vec<SpooledFile>> {
    Merge { spec, origin, memory_bytes: limits.memory_bytes, group_rows: ROW_GROUP_ROWS }
        .run(inputs, limits.target_bytes)
}

/// What does not change from one pass to the next.
#[derive(Clone, Copy)]
struct Merge<'a> {
    spec: &'a TableSpec,
    origin: &'a FileOrigin,
    memory_bytes: usize,
    /// The most rows of a row group.
    group_rows: usize,
}

impl Merge<'_> {
    fn run(self, mut inputs: Vec<MergeInput>, target_bytes: u64) -> Result<Vec<SpooledFile>> {
        loop {
            let mut merged = Vec::new();
            let mut rest = inputs.into_iter();
            let mut next = rest.next().map(|input| self.open(input)).transpose()?;
            while next.is_some() {
                let group = self.group(&mut next, &mut rest)?;
                if next.is_none() && merged.is_empty() {
                    return self.pass(group, target_bytes);
                }
                merged.extend(self.shrink(group)?);
            }
            if merged.is_empty() {
                return Ok(Vec::new());
            }
            inputs = merged;
        }
    }

    /// An input with the columns of today's contract.
    fn open(self, input: MergeInput) -> Result<MergeSource> {
        MergeSource::open(input, self.spec.upgrade.as_ref())
    }

    /// The sources from the next one on that can be merged at once: at least two, if there are so many.
    fn group(
        self,
        next: &mut Option<MergeSource>,
        rest: &mut impl Iterator<Item = MergeInput>,
    ) -> Result<Vec<MergeSource>> {
        let mut group: Vec<MergeSource> = Vec::new();
        while let Some(source) = next.take() {
            if group.first().is_some_and(|first| first.schema() != source.schema()) {
                return Err(
                    Error::internal("cannot merge files that differ in their columns").with("table", self.spec.table)
                );
            }
            group.push(source);
            if group.len() > 2 && (group.len() > MOST_SOURCES || self.needed_bytes(&group)? > self.memory_bytes) {
                *next = group.pop();
                break;
            }
            *next = rest.next().map(|input| self.open(input)).transpose()?;
        }
        Ok(group)
    }

    /// A group as one temporary file; nothing when no row stays.
    fn shrink(self, mut group: Vec<MergeSource>) -> Result<Option<MergeInput>> {
        if group.len() == 1 {
            return Ok(group.pop().map(MergeSource::into_input));
        }
        let files = self.pass(group, u64::MAX)?;
        Ok(files.into_iter().next().map(|merged| MergeInput::new(merged.file, None)))
    }

    /// Merges these sources at once.
    fn pass(self, sources: Vec<MergeSource>, target_bytes: u64) -> Result<Vec<SpooledFile>> {
        let Some(schema) = sources.first().map(|source| Arc::clone(source.schema())) else { return Ok(Vec::new()) };
        let spool_bytes = self.memory_bytes / SPOOL_PART;
        let key_rows = self.key_batch_rows(&sources)?;
        let order = MergeOrder::find(self.spec, &sources, key_rows, self.group_rows, spool_bytes)?;
        let places = 0..schema.fields().len();
        let widest = sources.iter().flat_map(|source| &source.costs).map(|cost| cost.width).max();
        let batch_rows = places.map(|place| self.batch_rows(&sources, place)).collect();
        let steps = RowSteps { group: self.group_rows, chunk: self.rows_in_memory(widest.unwrap_or(1)) };
        let rows = MergedColumns::new(schema, sources, order, self.group_rows, batch_rows);
        self.write(&rows, steps, target_bytes)
    }

    fn write(self, rows: &MergedColumns, steps: RowSteps, target_bytes: u64) -> Result<Vec<SpooledFile>> {
        use super::rows::Columns as _;

        let pages = Arc::new(PageSpool::new(self.memory_bytes / SPOOL_PART));
        let all = rows.rows();
        let mut files = Vec::new();
        let mut file = None;
        for group in chunks(0..all, steps.group) {
            let mut writer = match file.take() {
                Some(writer) => writer,
                None => {
                    let most = all - group.start;
                    let sink = DigestedFile::new()?;
                    FileWriter::new(self.spec, rows.schema(), most, steps, self.origin, sink)?
                        .keeping_pages_in(Arc::clone(&pages) as _)
                }
            };
            let end = group.end;
            writer.write_group(rows, group)?;
            if end == all || is_full(writer.bytes_written(), writer.rows_written(), (all - end) as u64, target_bytes) {
                let (facts, sink) = writer.finish()?;
                files.push(sink.finish(facts));
            } else {
                file = Some(writer);
            }
        }
        Ok(files)
    }

    /// What merging these sources at once may take.
    fn needed_bytes(self, sources: &[MergeSource]) -> Result<usize> {
        let standing: usize = sources.iter().map(MergeSource::standing_bytes).sum();
        // A source that fits one batch is not read any further.
        let reading = |source: &MergeSource, place: usize, batch_rows: usize| {
            if source.rows > batch_rows { source.costs[place].pages + READER_BYTES } else { 0 }
        };
        let batch_rows = self.key_batch_rows(sources)?;
        let mut keys = 0;
        for source in sources {
            let places = key_places(self.spec, source)?;
            keys += places.iter().map(|place| reading(source, *place, batch_rows)).sum::<usize>();
        }
        let places = sources.first().map_or(0, |source| source.costs.len());
        let column = |place: usize| {
            let batch_rows = self.batch_rows(sources, place);
            sources.iter().map(|source| reading(source, place, batch_rows)).sum::<usize>()
        };
        let columns = (0..places).map(column).max().unwrap_or(0);
        // A spool may hold twice what it was given while it grows. Of a column there are two batches of each source
        // while a chunk is put together, and the chunk.
        let (batches, spools) = (self.memory_bytes / BATCH_PART, 2 * self.memory_bytes / SPOOL_PART);
        Ok(standing + spools + (keys + batches).max(columns + ENCODER_BYTES + 3 * batches + spools))
    }

    /// How many rows of each source are read at a time while their order is found.
    fn key_batch_rows(self, sources: &[MergeSource]) -> Result<usize> {
        let mut row_bytes = 0;
        for source in sources {
            row_bytes += key_places(self.spec, source)?.iter().map(|place| source.costs[*place].width).sum::<usize>();
        }
        Ok(self.rows_in_memory(row_bytes))
    }

    /// How many values of a column are read at a time from each source.
    fn batch_rows(self, sources: &[MergeSource], place: usize) -> usize {
        self.rows_in_memory(sources.iter().filter_map(|source| source.costs.get(place)).map(|cost| cost.width).sum())
    }

    /// How many rows of this size one part of the memory holds.
    fn rows_in_memory(self, row_bytes: usize) -> usize {
        (self.memory_bytes / BATCH_PART / row_bytes.max(1)).clamp(LEAST_BATCH_ROWS, CHUNK_ROWS)
    }
}

/// Whether a file of so many bytes and rows ends here, when `rest` rows follow. Fewer than would make a file of their
/// own are added to it.
fn is_full(bytes: u64, rows: u64, rest: u64, target_bytes: u64) -> bool {
    let rest_bytes = u128::from(bytes) * u128::from(rest) / u128::from(rows.max(1));
    bytes >= target_bytes && rest_bytes >= u128::from(target_bytes / 4)
}
