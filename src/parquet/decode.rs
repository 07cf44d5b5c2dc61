//! The bytes of a Parquet file to rows.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_buffer::BooleanBufferBuilder;
use arrow_schema::ArrowError;
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use crate::error::{Error, ErrorClass, Result};
use crate::id::CommitId;
use crate::time::Window;

/// How many rows are in memory at a time while those of a file are chosen, and how many bytes they may take there if
/// they are like most of their row group.
const BATCH_ROWS: usize = 4_096;
const BATCH_BYTES: usize = 4 << 20;
/// The least rows that are read at a time.
const LEAST_BATCH_ROWS: usize = 16;

/// The rows of a file, in batches. Takes its time: call it off the async threads.
///
/// # Errors
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the bytes are not a Parquet file that can be read.
pub fn decode(bytes: Bytes) -> Result<Vec<RecordBatch>> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|builder| builder.build()).map_err(damaged)?;
    reader.map(|batch| batch.map_err(|error| damaged(error.into()))).collect()
}

/// The rows of a file whose `modified` lies in `span`, a batch at a time; of the others no more than that column is
/// read. Takes its time: call it off the async threads.
///
/// # Errors
/// As [`decode`], also for a file without such a column.
pub(crate) fn decode_span(
    file: File,
    modified: &str,
    span: Window,
) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let seconds = span.start().unix()..=span.end().unix();
    let is_in = move |times: &ArrayRef| {
        let times = times.as_primitive_opt::<TimestampMicrosecondType>();
        let times = times.ok_or_else(|| ArrowError::SchemaError("modified times are no timestamps".to_owned()))?;
        let is_in = |micros: Option<i64>| micros.map(|micros| seconds.contains(&micros.div_euclid(1_000_000)));
        Ok(times.iter().map(is_in).collect())
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
    batches(keeping(builder, modified, is_in)?)
}

/// The rows of a file that one of `commits` first landed, by the column `commit_id`, a batch at a time; of the others
/// no more than that column is read. Without `commits` it is all rows. Takes its time: call it off the async threads.
///
/// # Errors
/// As [`decode_span`]; also for an id that is none.
pub(crate) fn decode_landed_by(
    file: File,
    commit_id: &str,
    commits: Option<Arc<HashSet<CommitId>>>,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
    let rows = batch_rows(builder.metadata());
    let builder = builder.with_batch_size(rows);
    let Some(commits) = commits else { return batches(builder) };
    let is_of_them = move |ids: &ArrayRef| {
        let ids = ids.as_string_opt::<i32>();
        let ids = ids.ok_or_else(|| ArrowError::SchemaError("ids of commits are no text".to_owned()))?;
        let is_one = |id: Option<&str>| {
            let id = id.and_then(CommitId::parse);
            let id = id.ok_or_else(|| ArrowError::SchemaError("a row without the id of a commit".to_owned()))?;
            Ok(Some(commits.contains(&id)))
        };
        ids.iter().map(is_one).collect()
    };
    batches(keeping(builder, commit_id, is_of_them)?)
}

/// The rows of a file that are marked, a batch at a time; without marks it is all rows. Groups of rows without a mark
/// are not read. Takes its time: call it off the async threads.
///
/// # Errors
/// As [`decode`], also when the file has another number of rows than there are marks.
pub(crate) fn decode_marked(
    file: File,
    marks: Option<BooleanArray>,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
    let rows = batch_rows(builder.metadata());
    let mut kept = None;
    if let Some(marks) = marks {
        let (groups, marks) = marked_groups(builder.metadata(), &marks)?;
        (builder, kept) = (builder.with_row_groups(groups), Some(marks));
    }
    let mut next = 0;
    let marked = move |batch: Result<RecordBatch>| {
        let batch = batch?;
        let Some(marks) = &kept else { return Ok(batch) };
        let own = marks.slice(next, batch.num_rows());
        next += batch.num_rows();
        filter_record_batch(&batch, &own).map_err(|error| damaged(error.into()))
    };
    let has_rows = |batch: &Result<RecordBatch>| !batch.as_ref().is_ok_and(|batch| batch.num_rows() == 0);
    Ok(batches(builder.with_batch_size(rows))?.map(marked).filter(has_rows))
}

/// The row groups that have a mark, and their marks.
fn marked_groups(metadata: &ParquetMetaData, marks: &BooleanArray) -> Result<(Vec<usize>, BooleanArray)> {
    let mismatched = || damaged(ParquetError::General("it has other rows than were said".to_owned()));
    let (mut groups, mut kept, mut first) = (Vec::new(), BooleanBufferBuilder::new(0), 0);
    for (place, group) in metadata.row_groups().iter().enumerate() {
        let rows = usize::try_from(group.num_rows()).map_err(|_| mismatched())?;
        if first + rows > marks.len() {
            return Err(mismatched());
        }
        let own = marks.slice(first, rows);
        if own.true_count() > 0 {
            groups.push(place);
            kept.append_buffer(own.values());
        }
        first += rows;
    }
    if first == marks.len() { Ok((groups, BooleanArray::new(kept.finish(), None))) } else { Err(mismatched()) }
}

/// How many rows of a file are read at a time.
fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let row_bytes = |group: &RowGroupMetaData| {
        // A dictionary makes a file small, and not its rows.
        let bytes = |column: &ColumnChunkMetaData| {
            column.unencoded_byte_array_data_bytes().unwrap_or(0).max(column.uncompressed_size())
        };
        let bytes: i64 = group.columns().iter().map(bytes).sum();
        usize::try_from(bytes / group.num_rows().max(1)).unwrap_or(usize::MAX)
    };
    let widest = metadata.row_groups().iter().map(row_bytes).max();
    (BATCH_BYTES / widest.unwrap_or(1).max(1)).clamp(LEAST_BATCH_ROWS, BATCH_ROWS)
}

/// Of a file only the rows that `is_kept` says of the values of one column.
fn keeping(
    builder: ParquetRecordBatchReaderBuilder<File>,
    column: &str,
    mut is_kept: impl FnMut(&ArrayRef) -> Result<BooleanArray, ArrowError> + Send + 'static,
) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    if builder.schema().index_of(column).is_err() {
        return Err(damaged(ParquetError::General(format!("there is no column `{column}`"))));
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
    let filter = ArrowPredicateFn::new(mask, move |batch: RecordBatch| is_kept(batch.column(0)));
    Ok(builder.with_row_filter(RowFilter::new(vec![Box::new(filter)])))
}

fn batches(
    builder: ParquetRecordBatchReaderBuilder<File>,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let reader = builder.build().map_err(damaged)?;
    Ok(reader.map(|batch| batch.map_err(|error| damaged(error.into()))))
}

/// Some columns of a file, a batch at a time. Takes its time: call it off the async threads.
///
/// # Errors
/// As [`decode`], also for a file that lacks one of the columns.
pub(crate) fn decode_columns(
    file: File,
    columns: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
    if let Some(column) = columns.iter().find(|column| builder.schema().index_of(column).is_err()) {
        return Err(damaged(ParquetError::General(format!("there is no column `{column}`"))));
    }
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder.with_projection(mask).build().map_err(damaged)?;
    Ok(reader.map(|batch| batch.map_err(|error| damaged(error.into()))))
}

fn damaged(error: ParquetError) -> Error {
    Error::new(ErrorClass::FileDamaged, "a committed file cannot be read").because(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::error::ErrorKind;
    use crate::land::testing::{header_batch, header_spec, options, window};
    use crate::parquet::{FileCompression, FileOrigin, encode};

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    #[test]
    fn rows_of_a_span_are_read() {
        let names: Vec<String> = (0..10_000).map(|row| format!("N{row:05}")).collect();
        let rows: Vec<_> = names.iter().zip(0_i64..).map(|(name, row)| (name.as_str(), row % 100, 1)).collect();
        let account = "acme".parse().expect("a name");
        let (commit, contract) = (crate::id::CommitId::generate(), options().contract);
        let origin = FileOrigin { account, commit, contract, span: None, compression: FileCompression::Zstd };
        let encoded = encode(&header_spec(), vec![header_batch(&rows)].into(), &origin).expect("encoded");
        let bytes = encoded.expect("rows").bytes;
        let read = |span| {
            let batches = decode_span(file(&bytes), "modified", span).expect("readable");
            let batches: Vec<RecordBatch> = batches.collect::<Result<_>>().expect("read");
            let numbers = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten());
            numbers.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(read(window(0, 99)), names);
        let some: Vec<String> = names
            .iter()
            .enumerate()
            .filter(|(row, _)| (7..=8).contains(&(row % 100)))
            .map(|(_, name)| name.clone())
            .collect();
        assert_eq!(read(window(7, 8)), some);
        assert!(read(window(100, 200)).is_empty());
        let narrow: Vec<RecordBatch> =
            decode_columns(file(&bytes), &["modified"]).expect("readable").collect::<Result<_>>().expect("read");
        assert_eq!(narrow.iter().map(RecordBatch::num_rows).sum::<usize>(), 10_000);
        assert!(narrow.iter().all(|batch| batch.num_columns() == 1));
        assert_eq!(decode_columns(file(&bytes), &["created"]).err().expect("refused").kind(), ErrorKind::Defect);
        for (bytes, column) in [(&b"no file"[..], "modified"), (&bytes, "created")] {
            let error = decode_span(file(bytes), column, window(0, 9)).err().expect("refused");
            assert_eq!(error.kind(), ErrorKind::Defect);
        }
    }

    #[test]
    fn marked_rows_are_read_and_groups_without_a_mark_are_not() {
        let names: Vec<String> = (0..300_000).map(|row| format!("N{row:06}")).collect();
        let rows: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 1)).collect();
        let account = "acme".parse().expect("a name");
        let (commit, contract) = (crate::id::CommitId::generate(), options().contract);
        let origin = FileOrigin { account, commit, contract, compression: FileCompression::default(), span: None };
        let encoded = encode(&header_spec(), vec![header_batch(&rows)].into(), &origin).expect("encoded");
        let bytes = encoded.expect("rows").bytes;
        let read = |marks: BooleanArray| -> Result<Vec<String>> {
            let mut numbers = Vec::new();
            for batch in decode_marked(file(&bytes), Some(marks))? {
                numbers.extend(batch?.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
            }
            Ok(numbers)
        };
        // The first row, one of the second group, and the last row; and none of the second group.
        for wanted in [[0, 200_000, 299_999], [7, 131_071, 270_000]] {
            let marks = (0..300_000).map(|row| Some(wanted.contains(&row))).collect();
            assert_eq!(read(marks).expect("read"), wanted.map(|row: usize| format!("N{row:06}")));
        }
        assert!(read((0..300_000).map(|_| Some(false)).collect()).expect("read").is_empty());
        for rows in [299_999, 300_001] {
            assert_eq!(read((0..rows).map(|_| Some(true)).collect()).expect_err("others").kind(), ErrorKind::Defect);
        }
    }

    #[test]
    fn wide_rows_are_few_at_a_time() {
        let of_width = |width: usize| {
            let names: Vec<String> = (0..500).map(|row| format!("{row:0width$}")).collect();
            let rows: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 1)).collect();
            let account = "acme".parse().expect("a name");
            let (commit, contract) = (crate::id::CommitId::generate(), options().contract);
            let origin = FileOrigin { account, commit, contract, span: None, compression: FileCompression::Zstd };
            let encoded = encode(&header_spec(), vec![header_batch(&rows)].into(), &origin).expect("encoded");
            let read = decode_landed_by(file(&encoded.expect("rows").bytes), "", None).expect("readable");
            read.map(|batch| batch.expect("rows").num_rows()).collect::<Vec<_>>()
        };
        assert_eq!(of_width(10), [500]);
        let wide = of_width(50_000);
        assert_eq!(wide.iter().sum::<usize>(), 500);
        assert!(wide.iter().all(|rows| *rows <= BATCH_BYTES / 50_000), "{wide:?}");
    }
}
