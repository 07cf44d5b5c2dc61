//! Rows to the bytes of one Parquet file in memory. How it is written says `writer`; that the rows are sorted as their
//! file claims is checked here, because a wrong claim makes readers drop rows.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::FieldRef;
use bytes::Bytes;

use super::check::check_order;
use super::commit_id;
use super::rows::{Columns, RowSource};
use super::spec::{FileOrigin, TableSpec};
use super::writer::{CHUNK_ROWS, FileWriter, RowFacts, RowSteps, chunks, mismatched, values};
use crate::digest::Sha256;
use crate::error::{Error, Result};
use crate::time::BeijingTime;

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
    check_sorted(spec, &*columns)?;
    let steps = RowSteps::default();
    let mut file = FileWriter::new(spec, schema, rows, steps, origin, Vec::new())?;
    for group in chunks(0..rows, steps.group) {
        file.write_group(&*columns, group)?;
    }
    let (facts, bytes) = file.finish()?;
    let bytes = Bytes::from(bytes);
    let sha256 = Sha256::of(&bytes);
    let RowFacts { rows, min_modified, max_modified, sum } = facts;
    Ok(Some(EncodedFile { bytes, rows, sha256, min_modified, max_modified, sum }))
}

/// Checks that the rows are sorted as the file will claim.
fn check_sorted(spec: &TableSpec, columns: &dyn Columns) -> Result<()> {
    let schema = columns.schema();
    let sorts = |field: &FieldRef| spec.sorted_by.contains(field.name());
    let places: Vec<usize> = (0..schema.fields().len()).filter(|place| sorts(&schema.fields()[*place])).collect();
    let failed = |error| Error::internal("cannot check the rows of a file").with("table", spec.table).because(error);
    let schema = Arc::new(schema.project(&places).map_err(failed)?);

    let mut before = None;
    for chunk in chunks(0..columns.rows(), CHUNK_ROWS) {
        let keys = places.iter().zip(schema.fields());
        let keys = keys.map(|(place, field)| values(spec, columns, field, *place, chunk.clone()));
        let keys = keys.collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(chunk.len()));
        let keys = RecordBatch::try_new_with_options(Arc::clone(&schema), keys, &options).map_err(failed)?;
        check_order(spec, before.as_ref(), &keys).map_err(|why| mismatched(spec, &why))?;
        before = Some(keys);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use arrow_array::cast::AsArray as _;
    use arrow_array::types::Decimal128Type;
    use arrow_array::{Array as _, ArrayRef};
    use arrow_schema::{DataType, SchemaRef};
    use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
    use parquet::basic::{Compression, Encoding, ZstdLevel};
    use parquet::column::page::Page;
    use parquet::file::metadata::PageIndexPolicy;
    use parquet::file::reader::FileReader as _;
    use parquet::file::serialized_reader::SerializedFileReader;
    use parquet::file::statistics::Statistics;

    use super::*;
    use crate::format::FormatVersion;
    use crate::id::CommitId;
    use crate::land::testing::{header_batch, header_spec, window};
    use crate::parquet::writer::{CREATED_BY, ROW_GROUP_ROWS};
    use crate::parquet::{FileCompression, decode};

    fn origin() -> FileOrigin {
        FileOrigin {
            account: "acme".parse().expect("a name"),
            commit: CommitId::generate(),
            contract: FormatVersion::LAKE,
            span: Some(window(0, 100)),
            compression: FileCompression::default(),
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
        assert_eq!(value("wdt_lake.contract").as_deref(), Some("1.0"));
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

    #[test]
    fn files_are_compressed_as_asked() {
        for (wanted, codec) in [
            (FileCompression::Zstd, Compression::ZSTD(ZstdLevel::try_new(1).expect("a level"))),
            (FileCompression::Snappy, Compression::SNAPPY),
        ] {
            let origin = FileOrigin { compression: wanted, ..origin() };
            let file = encode(&header_spec(), vec![rows(&[("A", 1, 2)])].into(), &origin);
            let bytes = file.expect("encoded").expect("rows").bytes;
            let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).expect("parquet");
            let columns = metadata.metadata().row_group(0).columns();
            assert!(columns.iter().all(|column| column.compression() == codec), "{wanted:?}");
            assert_eq!(decode(bytes).expect("readable")[0].num_rows(), 1);
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
        // Numbers that never repeat soon get no dictionary any more.
        let pages = SerializedFileReader::new(file.bytes.clone()).expect("parquet");
        let place = reader.schema().index_of("real_num").expect("a column");
        let mut pages = pages.get_row_group(0).expect("a group").get_column_page_reader(place).expect("pages");
        let first = pages.get_next_page().expect("a page");
        let Some(Page::DictionaryPage { buf, .. }) = first else { panic!("{first:?}") };
        assert!(buf.len() < 300 << 10, "{} bytes", buf.len());
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
