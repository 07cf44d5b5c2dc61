//! The bytes of a Parquet file to rows.

use std::fs::File;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::ArrowError;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicateFn, ParquetRecordBatchReaderBuilder, RowFilter};
use parquet::errors::ParquetError;

use crate::error::{Error, ErrorKind, Result};
use crate::time::Window;

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
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
    let seconds = span.start().unix()..=span.end().unix();
    let is_in = move |batch: RecordBatch| {
        let times = batch.column(0).as_primitive_opt::<TimestampMicrosecondType>();
        let times = times.ok_or_else(|| ArrowError::SchemaError("modified times are no timestamps".to_owned()))?;
        let is_in = |micros: Option<i64>| micros.map(|micros| seconds.contains(&micros.div_euclid(1_000_000)));
        Ok(times.iter().map(is_in).collect::<BooleanArray>())
    };
    let mask = ProjectionMask::columns(builder.parquet_schema(), [modified]);
    if builder.schema().index_of(modified).is_err() {
        return Err(damaged(ParquetError::General(format!("there is no column `{modified}`"))));
    }
    let filter = RowFilter::new(vec![Box::new(ArrowPredicateFn::new(mask, is_in))]);
    let reader = builder.with_row_filter(filter).build().map_err(damaged)?;
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
    Error::new(ErrorKind::Defect, "a committed file cannot be read").because(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::land::testing::{header_batch, header_spec, options, window};
    use crate::parquet::{FileOrigin, encode};

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
        let origin = FileOrigin { account, commit, contract, span: None };
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
}
