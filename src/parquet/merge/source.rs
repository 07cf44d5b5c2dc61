//! A sorted file that is merged: read by ranges, a few columns and a few rows at a time.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::{Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::super::disk::of_disk_or;
use super::super::upgrade::{OlderFile, Upgrade};
use crate::error::{Error, ErrorClass, Result};

/// Which rows of a file stay.
pub(crate) trait RowFilter: Send + Sync {
    /// The columns that it looks at.
    fn columns(&self) -> &[String];

    /// For each of these rows whether it stays. The batch has at least the columns that the filter looks at. It is
    /// called for every row of its file once, in order.
    ///
    /// # Errors
    /// Whatever keeps it from deciding.
    fn keep(&self, rows: &RecordBatch) -> Result<BooleanArray>;
}

/// A sorted Parquet file of local disk, and which of its rows are wanted.
pub(crate) struct MergeInput {
    pub(super) file: Arc<File>,
    pub(super) filter: Option<Arc<dyn RowFilter>>,
}

impl MergeInput {
    /// A file of which all rows are wanted, or those that `filter` keeps. Its bytes were checked by who gives it.
    pub(crate) fn new(file: File, filter: Option<Arc<dyn RowFilter>>) -> Self {
        Self { file: Arc::new(file), filter }
    }
}

/// An input whose footer was read.
pub(super) struct MergeSource {
    file: Arc<File>,
    metadata: ArrowReaderMetadata,
    pub(super) filter: Option<Arc<dyn RowFilter>>,
    schema: SchemaRef,
    pub(super) rows: usize,
    /// What its columns take, by their places.
    pub(super) costs: Vec<ColumnCost>,
    /// The places of the columns that the filter looks at.
    pub(super) filter_places: Vec<usize>,
    /// How it is seen where it lacks columns of today's contract.
    older: Option<OlderFile>,
}

/// What reading a column takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ColumnCost {
    /// The most bytes that a page and a dictionary take together, uncompressed.
    pub(super) pages: usize,
    /// The bytes of a value as an array, on average.
    pub(super) width: usize,
}

impl MergeSource {
    pub(super) fn open(input: MergeInput, upgrade: Option<&Arc<dyn Upgrade>>) -> Result<Self> {
        let MergeInput { file, filter } = input;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&SharedFile(Arc::clone(&file)), options).map_err(unreadable)?;
        // Metadata of the file is not metadata of its columns.
        let held = Arc::new(Schema::new(metadata.schema().fields().clone()));
        let older = upgrade.and_then(|upgrade| OlderFile::of(upgrade, &held));
        let schema = older.as_ref().map_or(held, |older| Arc::clone(older.schema()));
        let rows = metadata.metadata().file_metadata().num_rows();
        let rows = usize::try_from(rows).map_err(|error| unreadable(error.into()))?;
        let cost_of = |place| match &older {
            Some(older) => older.read_for(place).into_iter().map(|place| cost(&metadata, place)).collect(),
            None => cost(&metadata, place),
        };
        let costs = (0..schema.fields().len()).map(cost_of).collect();
        let place = |name: &String| schema.index_of(name);
        let filter_places = filter.iter().flat_map(|filter| filter.columns()).map(place).collect::<Result<_, _>>();
        let filter_places = filter_places
            .map_err(|error| Error::internal("cannot filter by a column that the file lacks").because(error))?;
        Ok(Self { file, metadata, filter, schema, rows, costs, filter_places, older })
    }

    /// The input again, its footer forgotten.
    pub(super) fn into_input(self) -> MergeInput {
        MergeInput { file: self.file, filter: self.filter }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The bytes that its footer takes, and a mark a row where rows are filtered.
    pub(super) fn standing_bytes(&self) -> usize {
        let marks = if self.filter.is_some() { self.rows.div_ceil(8) } else { 0 };
        self.metadata.metadata().memory_size() + marks
    }

    /// Its rows from one on, with the columns at these places, so many at a time.
    pub(super) fn batches(&self, places: &[usize], from: usize, batch_rows: usize) -> Result<Batches> {
        let left = self.rows.saturating_sub(from);
        let (mut group, mut skipped) = (0, from);
        let groups = self.metadata.metadata().row_groups();
        while let Some(rows) = groups.get(group).and_then(|group| usize::try_from(group.num_rows()).ok())
            && skipped >= rows
        {
            (group, skipped) = (group + 1, skipped - rows);
        }
        let older = self.older.as_ref().map(|older| {
            let mut places = places.to_vec();
            places.sort_unstable();
            Box::new((older.clone(), places))
        });
        let read: Vec<usize> = match &self.older {
            Some(older) => places.iter().flat_map(|place| older.read_for(*place)).collect(),
            None => places.to_vec(),
        };
        let columns = ProjectionMask::roots(self.metadata.parquet_schema(), read);
        let file = SharedFile(Arc::clone(&self.file));
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups((group..groups.len()).collect())
            .with_projection(columns)
            .with_offset(skipped)
            .with_batch_size(batch_rows)
            .build()
            .map_err(unreadable)?;
        Ok(Batches { reader: (left > 0).then_some(reader), left, older })
    }
}

fn unreadable(error: ParquetError) -> Error {
    of_disk_or(error, |error| Error::new(ErrorClass::FileDamaged, "a committed file cannot be read").because(error))
}

/// The most bytes of a page before it is ended, the most rows of one, and how many values are added between two looks
/// at these limits.
const PAGE_BYTES: usize = 1 << 20;
const PAGE_ROWS: usize = 20_000;
const PAGE_STEP_ROWS: usize = 1_024;
/// The widest value of a fixed size.
const FIXED_BYTES: usize = 16;

impl FromIterator<ColumnCost> for ColumnCost {
    /// What several columns take that are read for one.
    fn from_iter<I: IntoIterator<Item = Self>>(costs: I) -> Self {
        let none = Self { pages: 0, width: FIXED_BYTES };
        costs
            .into_iter()
            .fold(none, |all, cost| Self { pages: all.pages + cost.pages, width: all.width.max(cost.width) })
    }
}

fn cost(metadata: &ArrowReaderMetadata, place: usize) -> ColumnCost {
    let bytes = |bytes: i64| usize::try_from(bytes).unwrap_or_default();
    let mut most = ColumnCost { pages: 0, width: FIXED_BYTES };
    for group in metadata.metadata().row_groups() {
        let column = group.column(place);
        let values = bytes(column.num_values()).max(1);
        let whole = bytes(column.uncompressed_size());
        let width = whole.div_ceil(values);
        let page = PAGE_BYTES.min(PAGE_ROWS * width) + PAGE_STEP_ROWS * width;
        let dictionary = if column.dictionary_page_offset().is_some() { PAGE_BYTES } else { 0 };
        let text = column.unencoded_byte_array_data_bytes().map_or(0, bytes).div_ceil(values) + size_of::<i32>();
        most.pages = most.pages.max(whole.min(page + dictionary));
        most.width = most.width.max(width).max(text);
    }
    most
}

/// Rows of a source, a batch at a time.
pub(super) struct Batches {
    /// None once all rows were read: many small sources then take no more than their rows.
    reader: Option<ParquetRecordBatchReader>,
    left: usize,
    /// The file's own way to be seen, and the columns that are wanted, in the order of a file.
    older: Option<Box<(OlderFile, Vec<usize>)>>,
}

impl Batches {
    /// The next batch, which has rows.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let batch = reader.next().transpose().map_err(|error| unreadable(error.into()))?;
        let batch = batch.filter(|batch| batch.num_rows() > 0 && batch.num_rows() <= self.left);
        let batch = batch.ok_or_else(|| unreadable(ParquetError::General("its rows end too early".to_owned())))?;
        self.left -= batch.num_rows();
        if self.left == 0 {
            self.reader = None;
        }
        match &self.older {
            Some(older) => older.0.see(&older.1, &batch).map(Some),
            None => Ok(Some(batch)),
        }
    }
}

/// A file that several readers on one thread read in turn. Each seeks before it reads, so that they share the handle.
struct SharedFile(Arc<File>);

impl Length for SharedFile {
    fn len(&self) -> u64 {
        // What cannot be looked at cannot be read, and that is said then.
        self.0.metadata().map_or(0, |held| held.len())
    }
}

impl ChunkReader for SharedFile {
    type T = BufReader<FileFrom>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(FileFrom { file: Arc::clone(&self.0), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = vec![0; length];
        FileFrom { file: Arc::clone(&self.0), at: start }.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// The bytes of a file from one on.
struct FileFrom {
    file: Arc<File>,
    at: u64,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}
