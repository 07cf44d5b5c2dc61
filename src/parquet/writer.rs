//! The bytes of one Parquet file, written row group by row group, with every setting that readers depend on made
//! explicit.
//!
//! - zstd(1): on this data level 3 saves 3% of the bytes for 11% of the speed, and no compression at all doubles them.
//!   Snappy on request, for readers that know no zstd.
//! - Pages are plain or dictionary-encoded, of version 1, and nothing else: Spark up to 3.2, fastparquet, Iceberg's
//!   reader and older StarRocks know no other encoding. Columns whose values are nearly all distinct have no
//!   dictionary, which would be for nothing; decimals have a small one, because it takes much memory.
//! - `created_by` in the form that parquet-java parses; it distrusts the statistics of files of an unknown maker.
//! - Field ids, by which table formats tell columns apart.
//! - Statistics by page, column and offset index, so that a reader skips pages and not only files. Text has them where
//!   rows are sorted or looked up by it; elsewhere every page would span all values, and finding the least and the most
//!   of them costs a tenth of the encoding.
//! - Row groups of at most 131,072 rows: they bound a reader's memory and still hold many pages.
//! - Bloom filters for the columns that are looked up by value, sized to the rows of the file.
//! - No embedded Arrow schema: DuckDB, Spark, Polars and pyarrow then read the same types from the same file.
//! - Key-value metadata: the contract's version and column descriptions, and which table, account, span and commit the
//!   file belongs to.
//!
//! A row group is written one column after the other, a chunk of rows at a time: memory holds one column of one group,
//! compressed, and what its encoder needs. The order of rows is a claim that the format does not check; who hands over
//! rows checks it.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, PageStoreFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::check::time_bounds;
use super::disk::of_disk_or;
use super::rows::Columns;
use super::spec::{FileCompression, FileOrigin, TableSpec};
use crate::error::{Error, Result};
use crate::text::text;
use crate::time::BeijingTime;

/// Who made a file, as parquet-java wants it said.
pub(super) const CREATED_BY: &str = concat!("wdt-lake version ", env!("CARGO_PKG_VERSION"));
/// The most rows of a row group.
pub(super) const ROW_GROUP_ROWS: usize = 131_072;
/// The rows of a column that are in memory as an array at a time: few enough to cost little memory, enough that their
/// making costs little time.
pub(super) const CHUNK_ROWS: usize = 4_096;

/// The largest dictionary of a decimal column. In memory each of its values takes some hundred bytes: the usual limit
/// of 1 MiB would be 11 MiB there, for columns whose values hardly ever repeat.
const DECIMAL_DICTIONARY_BYTES: usize = 256 << 10;

/// How many rows are written at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowSteps {
    /// The most rows of a row group.
    pub(super) group: usize,
    /// The rows of a column that are in memory as an array.
    pub(super) chunk: usize,
}

impl Default for RowSteps {
    fn default() -> Self {
        Self { group: ROW_GROUP_ROWS, chunk: CHUNK_ROWS }
    }
}

/// What is known of the rows of a file once they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowFacts {
    pub(super) rows: u64,
    /// The earliest modified time.
    pub(super) min_modified: BeijingTime,
    /// The latest.
    pub(super) max_modified: BeijingTime,
    /// See [`TableSpec::summed`], in units of the last decimal; none where no row has a value.
    pub(super) sum: Option<i128>,
}

/// A Parquet file that is being written to `W`.
pub(super) struct FileWriter<'a, W: Write + Send> {
    spec: &'a TableSpec,
    origin: &'a FileOrigin,
    schema: SchemaRef,
    chunk_rows: usize,
    file: SerializedFileWriter<W>,
    groups: ArrowRowGroupWriterFactory,
    rows: u64,
    range: Option<(BeijingTime, BeijingTime)>,
    sum: Option<i128>,
}

impl<'a, W: Write + Send> FileWriter<'a, W> {
    /// Begins a file that will have at most `rows` rows of `schema`, or several row groups in any case.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the schema lacks a column of the specification.
    pub(super) fn new(
        spec: &'a TableSpec,
        schema: SchemaRef,
        rows: usize,
        steps: RowSteps,
        origin: &'a FileOrigin,
        sink: W,
    ) -> Result<Self> {
        let properties = properties(spec, &schema, rows, steps.group, origin).map_err(|why| mismatched(spec, &why))?;
        let failed = |error| cannot_encode(spec, error);
        let parquet = ArrowSchemaConverter::new().convert(&as_text(&schema)).map_err(failed)?;
        let file = SerializedFileWriter::new(sink, parquet.root_schema_ptr(), properties.into()).map_err(failed)?;
        let groups = ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema));
        Ok(Self { spec, origin, schema, chunk_rows: steps.chunk, file, groups, rows: 0, range: None, sum: None })
    }

    /// Keeps the pages of a column in `pages` until the column is whole, and not in memory.
    pub(super) fn keeping_pages_in(self, pages: Arc<dyn PageStoreFactory>) -> Self {
        Self { groups: self.groups.with_page_store_factory(pages), ..self }
    }

    /// How many bytes were written so far.
    pub(super) fn bytes_written(&self) -> u64 {
        self.file.bytes_written() as u64
    }

    /// How many rows were written so far.
    pub(super) fn rows_written(&self) -> u64 {
        self.rows
    }

    /// Writes these rows of `columns` as one row group.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when a column has fewer values or nulls where none may be,
    /// or a modified time lies outside the span; what the columns say when they cannot go on.
    pub(super) fn write_group(&mut self, columns: &dyn Columns, rows: Range<usize>) -> Result<()> {
        let spec = self.spec;
        let failed = |error| cannot_encode(spec, error);
        let writers = self.groups.create_column_writers(self.file.flushed_row_groups().len()).map_err(failed)?;
        let mut group = self.file.next_row_group().map_err(failed)?;
        for (place, (field, mut writer)) in self.schema.fields().iter().zip(writers).enumerate() {
            for chunk in chunks(rows.clone(), self.chunk_rows) {
                let values = values(spec, columns, field, place, chunk)?;
                if spec.summed.as_ref() == Some(field.name()) {
                    self.sum = add_up(self.sum, &values);
                }
                if spec.modified == *field.name() {
                    self.range = Some(widen(self.range, &values, spec, self.origin)?);
                }
                let leaves = compute_leaves(field, &values).map_err(failed)?;
                leaves.iter().try_for_each(|leaf| writer.write(leaf)).map_err(failed)?;
            }
            writer.close().and_then(|column| column.append_to_row_group(&mut group)).map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// Ends the file, and says what is known of its rows.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when it has no rows.
    pub(super) fn finish(self) -> Result<(RowFacts, W)> {
        let (min_modified, max_modified) = self.range.ok_or_else(|| mismatched(self.spec, "no rows"))?;
        let sink = self.file.into_inner().map_err(|error| cannot_encode(self.spec, error))?;
        Ok((RowFacts { rows: self.rows, min_modified, max_modified, sum: self.sum }, sink))
    }
}

/// The earliest and the latest time, with those of one more array.
fn widen(
    range: Option<(BeijingTime, BeijingTime)>,
    times: &ArrayRef,
    spec: &TableSpec,
    origin: &FileOrigin,
) -> Result<(BeijingTime, BeijingTime)> {
    let (least, most) = time_bounds(&spec.modified, times).map_err(|why| mismatched(spec, &why))?;
    if origin.span.is_some_and(|span| !span.contains(least) || !span.contains(most)) {
        return Err(mismatched(spec, "a modified time outside the file's span"));
    }
    Ok(range.map_or((least, most), |(low, high)| (low.min(least), high.max(most))))
}

/// The sum and the decimals of one more array.
fn add_up(sum: Option<i128>, values: &ArrayRef) -> Option<i128> {
    let values = values.as_primitive_opt::<Decimal128Type>().into_iter().flat_map(|values| values.iter().flatten());
    values.fold(sum, |sum, value| Some(sum.unwrap_or(0) + value))
}

/// The values of a column in `rows`, as many as there must be, and none missing where none may be.
pub(super) fn values(
    spec: &TableSpec,
    columns: &dyn Columns,
    field: &Field,
    place: usize,
    rows: Range<usize>,
) -> Result<ArrayRef> {
    let values = columns.column(place, rows.clone())?;
    if values.len() != rows.len() {
        return Err(mismatched(
            spec,
            &format!("`{}` has {} values for {} rows", field.name(), values.len(), rows.len()),
        ));
    }
    if !field.is_nullable() && values.null_count() > 0 {
        return Err(mismatched(spec, &format!("`{}` has nulls", field.name())));
    }
    Ok(values)
}

pub(super) fn mismatched(spec: &TableSpec, why: &str) -> Error {
    Error::internal(text!("cannot write rows that do not fit their table: {why}", why)).with("table", spec.table)
}

fn cannot_encode(spec: &TableSpec, error: ParquetError) -> Error {
    of_disk_or(error, |error| {
        Error::internal("cannot encode the Parquet file").with("table", spec.table).because(error)
    })
}

/// `rows` in pieces of at most `size`.
pub(super) fn chunks(rows: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(size).map(move |start| start..end.min(start + size))
}

/// The schema of a file: what comes as bytes is text.
fn as_text(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Binary => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        _ => Arc::clone(field),
    });
    Schema::new(fields.collect::<Fields>())
}

fn properties(
    spec: &TableSpec,
    schema: &Schema,
    rows: usize,
    group_rows: usize,
    origin: &FileOrigin,
) -> std::result::Result<WriterProperties, String> {
    let index = |name: &String| schema.index_of(name).map_err(|_| format!("no column `{name}`"));
    index(&spec.modified)?;
    let sorting = spec.sorted_by.iter().map(|name| {
        let column_idx = i32::try_from(index(name)?).map_err(|error| error.to_string())?;
        Ok(SortingColumn { column_idx, descending: false, nulls_first: true })
    });
    let sorting: Vec<_> = sorting.collect::<std::result::Result<_, String>>()?;
    let compression = match origin.compression {
        FileCompression::Zstd => Compression::ZSTD(ZstdLevel::try_new(1).map_err(|error| error.to_string())?),
        FileCompression::Snappy => Compression::SNAPPY,
    };
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(compression)
        .set_dictionary_enabled(true)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_offset_index_disabled(false)
        .set_max_row_group_row_count(Some(group_rows))
        .set_sorting_columns((!sorting.is_empty()).then_some(sorting))
        .set_key_value_metadata(Some(metadata(spec, origin)));
    let is_text = |field: &FieldRef| matches!(field.data_type(), DataType::Utf8 | DataType::Binary);
    let is_found_by = |name: &String| spec.sorted_by.contains(name) || spec.bloom.contains(name);
    for field in schema.fields().iter().filter(|field| is_text(field) && !is_found_by(field.name())) {
        let column = ColumnPath::from(field.name().as_str());
        properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    for field in schema.fields().iter().filter(|field| matches!(field.data_type(), DataType::Decimal128(..))) {
        let column = ColumnPath::from(field.name().as_str());
        properties = properties.set_column_dictionary_page_size_limit(column, DECIMAL_DICTIONARY_BYTES);
    }
    for name in &spec.distinct {
        index(name)?;
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name.as_str()), false);
    }
    for name in &spec.bloom {
        index(name)?;
        let column = ColumnPath::from(name.as_str());
        properties = properties
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_max_ndv(column, rows.min(group_rows) as u64);
    }
    Ok(properties.build())
}

fn metadata(spec: &TableSpec, origin: &FileOrigin) -> Vec<KeyValue> {
    let span = origin.span.map(|span| format!("{}/{}", span.start().rfc3339(), span.end().rfc3339()));
    [
        ("wdt_lake.contract", Some(origin.contract.to_string())),
        ("wdt_lake.columns", Some(spec.columns.clone())),
        ("wdt_lake.table", Some(spec.table.to_string())),
        ("wdt_lake.account", Some(origin.account.to_string())),
        ("wdt_lake.commit", Some(origin.commit.to_string())),
        ("wdt_lake.span", span),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some(KeyValue::new(key.to_owned(), value?)))
    .collect()
}
