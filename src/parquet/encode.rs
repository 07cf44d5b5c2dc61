//! Rows to the bytes of one Parquet file, with every setting that readers depend on made explicit.
//!
//! - zstd(1): on this data level 3 saves 3% of the bytes for 11% of the speed, and no compression at all doubles them.
//! - Pages are plain or dictionary-encoded, of version 1, and nothing else: Spark up to 3.2, fastparquet, Iceberg's
//!   reader and older StarRocks know no other encoding. Columns whose values are nearly all distinct have no
//!   dictionary, which would be for nothing.
//! - `created_by` in the form that parquet-java parses; it distrusts the statistics of files of an unknown maker.
//! - Field ids, by which table formats tell columns apart.
//! - Statistics by page, column and offset index, so that a reader skips pages and not only files. Text has them where
//!   rows are sorted or looked up by it; elsewhere every page would span all values, and finding the least and the most
//!   of them costs a tenth of the encoding.
//! - Row groups of at most 131,072 rows: they bound a reader's memory and still hold many pages.
//! - Bloom filters for the columns that are looked up by value, sized to the rows of the file.
//! - No embedded Arrow schema: DuckDB, Spark, Polars and pyarrow then read the same types from the same file.
//! - The order of rows is a claim that the format does not check, so it is checked here: a wrong claim makes readers
//!   drop rows.
//! - Key-value metadata: the contract's version and column descriptions, and which table, account, span and commit the
//!   file belongs to.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::check::{bounds, check_order};
use super::commit_id;
use super::rows::{Columns, RowSource};
use super::spec::{FileOrigin, TableSpec};
use crate::error::{Error, Result};
use crate::log::Sha256;
use crate::time::BeijingTime;

/// Who made a file, as parquet-java wants it said.
const CREATED_BY: &str = concat!("wdt-lake version ", env!("CARGO_PKG_VERSION"));
/// The most rows of a row group.
const ROW_GROUP_ROWS: usize = 131_072;
/// The rows of a column that are in memory as an array at a time: few enough to cost little memory, enough that their
/// making costs little time.
const CHUNK_ROWS: usize = 4_096;

/// A Parquet file in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFile {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its rows.
    pub rows: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// The earliest modified time of its rows.
    pub min_modified: BeijingTime,
    /// The latest.
    pub max_modified: BeijingTime,
    /// The exact sum over the column that its table wants summed, in units of the last decimal; none where no row has
    /// a value.
    pub sum: Option<i128>,
}

/// Encodes rows as one file; `None` when there are none. Takes its time: call it off the async threads.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the rows do not fit the specification: a column is missing,
/// rows are not sorted as claimed, or a modified time is null or outside the span; what their source says when it
/// cannot go on.
pub fn encode(spec: &TableSpec, rows: RowSource, origin: &FileOrigin) -> Result<Option<EncodedFile>> {
    let columns = match &spec.commit_id {
        Some(field) => commit_id::complete(rows.open()?, field, origin.commit)?,
        None => rows.open()?,
    };
    let (schema, rows) = (columns.schema(), columns.rows());
    if rows == 0 {
        return Ok(None);
    }
    let failed = |error| Error::internal("cannot encode the Parquet file").with("table", spec.table).because(error);
    let properties = properties(spec, &schema, rows, origin).map_err(|why| mismatched(spec, &why))?;
    let (min_modified, max_modified) = check(spec, &*columns, origin)?;

    let parquet = ArrowSchemaConverter::new().convert(&as_text(&schema)).map_err(failed)?;
    let mut file =
        SerializedFileWriter::new(Vec::new(), parquet.root_schema_ptr(), properties.into()).map_err(failed)?;
    let mut sum = None;
    let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema));
    for (group, rows) in chunks(0..rows, ROW_GROUP_ROWS).enumerate() {
        let writers = factory.create_column_writers(group).map_err(failed)?;
        let mut row_group = file.next_row_group().map_err(failed)?;
        for (place, (field, mut writer)) in schema.fields().iter().zip(writers).enumerate() {
            for chunk in chunks(rows.clone(), CHUNK_ROWS) {
                let values = values(spec, &*columns, field, place, chunk)?;
                if spec.summed.as_ref() == Some(field.name()) {
                    sum = add_up(sum, &values);
                }
                let leaves = compute_leaves(field, &values).map_err(failed)?;
                leaves.iter().try_for_each(|leaf| writer.write(leaf)).map_err(failed)?;
            }
            writer.close().and_then(|column| column.append_to_row_group(&mut row_group)).map_err(failed)?;
        }
        row_group.close().map_err(failed)?;
    }
    let bytes = Bytes::from(file.into_inner().map_err(failed)?);
    let sha256 = Sha256::of(&bytes);
    Ok(Some(EncodedFile { bytes, rows: rows as u64, sha256, min_modified, max_modified, sum }))
}

/// The sum and the decimals of one more array.
fn add_up(sum: Option<i128>, values: &ArrayRef) -> Option<i128> {
    let values = values.as_primitive_opt::<Decimal128Type>().into_iter().flat_map(|values| values.iter().flatten());
    values.fold(sum, |sum, value| Some(sum.unwrap_or(0) + value))
}

/// Checks what the file will claim of its rows, and gives the earliest and the latest of their modified times.
fn check(spec: &TableSpec, columns: &dyn Columns, origin: &FileOrigin) -> Result<(BeijingTime, BeijingTime)> {
    let schema = columns.schema();
    let claimed = |field: &FieldRef| spec.sorted_by.contains(field.name()) || spec.modified == *field.name();
    let places: Vec<usize> = (0..schema.fields().len()).filter(|place| claimed(&schema.fields()[*place])).collect();
    let failed = |error| Error::internal("cannot check the rows of a file").with("table", spec.table).because(error);
    let schema = Arc::new(schema.project(&places).map_err(failed)?);

    let mut range: Option<(BeijingTime, BeijingTime)> = None;
    let mut before = None;
    for chunk in chunks(0..columns.rows(), CHUNK_ROWS) {
        let keys = places.iter().zip(schema.fields());
        let keys = keys.map(|(place, field)| values(spec, columns, field, *place, chunk.clone()));
        let keys = keys.collect::<Result<_>>()?;
        let keys = RecordBatch::try_new(Arc::clone(&schema), keys).map_err(failed)?;
        check_order(spec, before.as_ref(), &keys).map_err(|why| mismatched(spec, &why))?;
        let (least, most) = bounds(spec, &keys).map_err(|why| mismatched(spec, &why))?;
        if origin.span.is_some_and(|span| !span.contains(least) || !span.contains(most)) {
            return Err(mismatched(spec, "a modified time outside the file's span"));
        }
        range = Some(range.map_or((least, most), |(low, high)| (low.min(least), high.max(most))));
        before = Some(keys);
    }
    range.ok_or_else(|| mismatched(spec, "no rows"))
}

/// The values of a column in `rows`, as many as there must be, and none missing where none may be.
fn values(
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

fn mismatched(spec: &TableSpec, why: &str) -> Error {
    Error::internal(format!("cannot write rows that do not fit their table: {why}")).with("table", spec.table)
}

/// `rows` in pieces of at most `size`.
fn chunks(rows: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
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
    origin: &FileOrigin,
) -> std::result::Result<WriterProperties, String> {
    let index = |name: &String| schema.index_of(name).map_err(|_| format!("no column `{name}`"));
    let sorting = spec.sorted_by.iter().map(|name| {
        let column_idx = i32::try_from(index(name)?).map_err(|error| error.to_string())?;
        Ok(SortingColumn { column_idx, descending: false, nulls_first: true })
    });
    let sorting: Vec<_> = sorting.collect::<std::result::Result<_, String>>()?;
    let zstd = ZstdLevel::try_new(1).map_err(|error| error.to_string())?;
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(zstd))
        .set_dictionary_enabled(true)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_offset_index_disabled(false)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_sorting_columns((!sorting.is_empty()).then_some(sorting))
        .set_key_value_metadata(Some(metadata(spec, origin)));
    let is_text = |field: &FieldRef| matches!(field.data_type(), DataType::Utf8 | DataType::Binary);
    let is_found_by = |name: &String| spec.sorted_by.contains(name) || spec.bloom.contains(name);
    for field in schema.fields().iter().filter(|field| is_text(field) && !is_found_by(field.name())) {
        let column = ColumnPath::from(field.name().as_str());
        properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
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
            .set_column_bloom_filter_max_ndv(column, rows.min(ROW_GROUP_ROWS) as u64);
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

#[cfg(test)]
mod tests {
    use arrow_schema::SchemaRef;
    use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
    use parquet::basic::Encoding;
    use parquet::column::page::Page;
    use parquet::file::metadata::PageIndexPolicy;
    use parquet::file::reader::FileReader as _;
    use parquet::file::serialized_reader::SerializedFileReader;
    use parquet::file::statistics::Statistics;

    use super::*;
    use crate::format::FormatVersion;
    use crate::id::CommitId;
    use crate::land::testing::{header_batch, header_spec, window};
    use crate::parquet::decode;

    fn origin() -> FileOrigin {
        FileOrigin {
            account: "acme".parse().expect("a name"),
            commit: CommitId::generate(),
            contract: FormatVersion::LAKE,
            span: Some(window(0, 100)),
        }
    }

    fn rows(rows: &[(&str, i64, i128)]) -> RecordBatch {
        header_batch(rows)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let batches = [rows(&[("A1", 5, -12_345), ("A2", 9, 10_000)]), rows(&[]), rows(&[("A2", 9, 0), ("B", 7, -1)])];
        let origin = origin();
        let file = encode(&header_spec(), batches.to_vec().into(), &origin).expect("encoded").expect("rows");
        assert_eq!((file.rows, file.min_modified.unix(), file.max_modified.unix()), (4, 5, 9));
        assert_eq!(file.sha256, Sha256::of(&file.bytes));

        let reader = ParquetRecordBatchReaderBuilder::try_new(file.bytes).expect("parquet");
        let metadata = reader.metadata().file_metadata();
        assert_eq!(metadata.created_by(), Some(CREATED_BY));
        let pairs = metadata.key_value_metadata().expect("metadata");
        let value = |key: &str| pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone());
        assert_eq!(value("wdt_lake.contract").as_deref(), Some("0.10"));
        assert_eq!(value("wdt_lake.commit"), Some(origin.commit.to_string()));
        assert_eq!(value("wdt_lake.span").as_deref(), Some("1970-01-01T08:00:00+08:00/1970-01-01T08:01:40+08:00"));
        assert_eq!(value("ARROW:schema"), None, "readers must not see types of our own");
        assert_eq!(
            reader.schema().field_with_name("modified").expect("it").data_type().to_string(),
            "Timestamp(µs, \"UTC\")"
        );

        let read: Vec<RecordBatch> = reader.build().expect("a reader").map(|batch| batch.expect("a batch")).collect();
        let nums = read[0].column_by_name("real_num").expect("a column").as_primitive::<Decimal128Type>();
        assert_eq!(nums.values().as_ref(), [-12_345, 10_000, 0, -1]);
        assert_eq!(nums.data_type(), &DataType::Decimal128(19, 4));
    }

    #[test]
    fn statistics_hold_negative_decimals_and_indexes_are_written() {
        let batches = [rows(&[("A", 1, -12_345), ("B", 2, 10_000), ("C", 3, -2)])];
        let file = encode(&header_spec(), batches.to_vec().into(), &origin()).expect("encoded").expect("rows");
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let metadata = ArrowReaderMetadata::load(&file.bytes, options).expect("parquet");
        let group = metadata.metadata().row_group(0);
        let at = |name: &str| header_batch(&[]).schema().index_of(name).expect("a column");

        let Some(Statistics::FixedLenByteArray(held)) = group.column(at("real_num")).statistics() else {
            panic!("decimals are fixed-length bytes")
        };
        let value = |bytes: &[u8]| {
            let mut wide = [if bytes[0] < 0x80 { 0 } else { 0xFF }; 16];
            wide[16 - bytes.len()..].copy_from_slice(bytes);
            i128::from_be_bytes(wide)
        };
        let (min, max) = (held.min_opt().expect("min").data(), held.max_opt().expect("max").data());
        assert_eq!((min.len(), value(min), value(max)), (9, -12_345, 10_000));

        assert_eq!(group.column(0).compression(), Compression::ZSTD(ZstdLevel::try_new(1).expect("a level")));
        assert!(group.column(at("purchase_apply_no")).bloom_filter_offset().is_some());
        assert!(group.column(at("modified")).bloom_filter_offset().is_none());
        assert!(metadata.metadata().page_index().is_some());
        assert!(group.column(0).column_index_offset().is_some() && group.column(0).offset_index_offset().is_some());
        let sorting: Vec<i32> =
            group.sorting_columns().expect("sorted").iter().map(|column| column.column_idx).collect();
        assert_eq!(sorting, [at("purchase_apply_no") as i32, at("modified") as i32]);
    }

    /// Old readers know no other encodings; the levels of nulls are run-length encoded.
    #[test]
    fn pages_are_plain_or_of_a_dictionary() {
        let names: Vec<String> = (0..5_000).map(|row| format!("N{row:05}")).collect();
        let all: Vec<_> = names.iter().enumerate().map(|(row, name)| (name.as_str(), 5, row as i128 % 3)).collect();
        let file = encode(&header_spec(), vec![rows(&all)].into(), &origin()).expect("encoded").expect("rows");
        let metadata = ArrowReaderMetadata::load(&file.bytes, ArrowReaderOptions::new()).expect("parquet");
        let known = [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY];
        for column in metadata.metadata().row_group(0).columns() {
            let encodings: Vec<Encoding> = column.encodings().collect();
            assert!(encodings.iter().all(|encoding| known.contains(encoding)), "{encodings:?}");
            let is_distinct = column.column_path().string() == "purchase_apply_no";
            assert_eq!(encodings.contains(&Encoding::RLE_DICTIONARY), !is_distinct, "{}", column.column_path());
        }
        let groups = SerializedFileReader::new(file.bytes).expect("parquet");
        let mut pages = groups.get_row_group(0).expect("a group").get_column_page_reader(0).expect("pages");
        while let Some(page) = pages.get_next_page().expect("a page") {
            assert!(matches!(page, Page::DataPage { .. } | Page::DictionaryPage { .. }), "{:?}", page.page_type());
        }
    }

    /// Two row groups, and many chunks of each column.
    #[test]
    fn large_files_are_cut_into_row_groups_and_read_back_whole() {
        let count = ROW_GROUP_ROWS + CHUNK_ROWS + 5;
        let names: Vec<String> = (0..count).map(|row| format!("N{row:07}")).collect();
        let nums = |row: usize| (row as i128) * 7 - 3;
        let all: Vec<_> = names.iter().enumerate().map(|(row, name)| (name.as_str(), 5, nums(row))).collect();
        let file = encode(&header_spec(), vec![rows(&all)].into(), &origin()).expect("encoded").expect("rows");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.bytes.clone()).expect("parquet");
        let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(groups, [ROW_GROUP_ROWS as i64, (CHUNK_ROWS + 5) as i64]);
        let mut row = 0;
        for batch in decode(file.bytes).expect("readable") {
            let numbers = batch.column_by_name("purchase_apply_no").expect("a column").as_string::<i32>();
            let values = batch.column_by_name("real_num").expect("a column").as_primitive::<Decimal128Type>();
            for (number, value) in numbers.iter().zip(values) {
                assert_eq!((number, value), (Some(names[row].as_str()), Some(nums(row))));
                row += 1;
            }
        }
        assert_eq!(row, count);

        // Sorted in each chunk, but not from one to the next.
        let unsorted: Vec<_> = all[1..=CHUNK_ROWS].iter().chain(&all[..1]).copied().collect();
        let error = encode(&header_spec(), vec![rows(&unsorted)].into(), &origin()).expect_err("refused");
        assert!(error.to_string().contains("not sorted"), "{error}");
    }

    /// A source that gives fewer values than it has rows, or nulls where none may be.
    #[test]
    fn missing_values_are_refused() {
        struct Wrong(RecordBatch, ArrayRef);
        impl Columns for Wrong {
            fn schema(&self) -> SchemaRef {
                self.0.schema()
            }

            fn rows(&self) -> usize {
                self.0.num_rows()
            }

            fn column(&self, place: usize, rows: Range<usize>) -> Result<ArrayRef> {
                let is_wrong = self.0.schema().field(place).name() == "modified";
                if is_wrong { Ok(Arc::clone(&self.1)) } else { Columns::column(&self.0, place, rows) }
            }
        }
        let batch = rows(&[("A", 1, 0), ("B", 2, 0)]);
        let place = batch.schema().index_of("modified").expect("a column");
        let short = batch.column(place).slice(0, 1);
        let nulls = arrow_array::new_null_array(batch.column(place).data_type(), 2);
        for (column, why) in [(short, "1 values for 2 rows"), (nulls, "has nulls")] {
            let source = RowSource::new(Wrong(batch.clone(), column));
            let error = encode(&header_spec(), source, &origin()).expect_err("refused");
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn false_claims_are_refused() {
        for (batches, why) in [
            (vec![rows(&[("B", 1, 0), ("A", 2, 0)])], "not sorted"),
            (vec![rows(&[("A", 2, 0), ("A", 1, 0)])], "not sorted"),
            (vec![rows(&[("B", 1, 0)]), rows(&[("A", 2, 0)])], "not sorted"),
            (vec![rows(&[("A", 101, 0)])], "outside"),
        ] {
            let error = encode(&header_spec(), batches.to_vec().into(), &origin()).expect_err("refused");
            assert!(error.to_string().contains(why), "{error}");
        }
        let spec = TableSpec { bloom: vec!["none".into()], ..header_spec() };
        assert!(encode(&spec, vec![rows(&[("A", 1, 0)])].into(), &origin()).is_err());
        assert_eq!(encode(&header_spec(), vec![rows(&[])].into(), &origin()).expect("fine"), None);
    }
}
