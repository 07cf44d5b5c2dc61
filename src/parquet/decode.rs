//! The bytes of a Parquet file to rows.

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::error::{Error, ErrorKind, Result};

/// The rows of a file, a batch at a time, so that no more of them is in memory than is looked at; only the `columns` of
/// these names where there are any. Takes its time: call it off the async threads.
///
/// # Errors
/// As [`decode`], when the bytes are no Parquet file; what is broken further on is the error of its batch.
pub(crate) fn decode_batches(bytes: Bytes, columns: &[&str]) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(damaged)?;
    let builder = if columns.is_empty() {
        builder
    } else {
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder.with_projection(mask)
    };
    let reader = builder.build().map_err(damaged)?;
    Ok(reader.map(|batch| batch.map_err(|error| damaged(error.into()))))
}

/// The rows of a file, in batches. Takes its time: call it off the async threads.
///
/// # Errors
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the bytes are not a Parquet file that can be read.
pub fn decode(bytes: Bytes) -> Result<Vec<RecordBatch>> {
    decode_batches(bytes, &[])?.collect()
}

fn damaged(error: ParquetError) -> Error {
    Error::new(ErrorKind::Defect, "a committed file cannot be read").because(error)
}
