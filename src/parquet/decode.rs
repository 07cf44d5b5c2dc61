//! The bytes of a Parquet file to rows.

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{Error, ErrorKind, Result};

/// The rows of a file, in batches. Takes its time: call it off the async threads.
///
/// # Errors
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the bytes are not a Parquet file that can be read.
pub fn decode(bytes: Bytes) -> Result<Vec<RecordBatch>> {
    let damaged = |error: parquet::errors::ParquetError| {
        Error::new(ErrorKind::Defect, "a committed file cannot be read").because(error)
    };
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|builder| builder.build()).map_err(damaged)?;
    reader.map(|batch| batch.map_err(|error| damaged(error.into()))).collect()
}
