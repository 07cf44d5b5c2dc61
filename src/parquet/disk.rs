//! What is said when the disk fails that temporary files lie on.

use std::io;

use parquet::errors::ParquetError;

use crate::error::{Error, ErrorClass};

/// That a temporary file cannot be written or read.
pub(super) fn disk_failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorClass::TemporaryFailed, "cannot use a temporary file")
        .because(error)
        .hint("make room in the folder for temporary files, or set TMPDIR to another")
}

/// What `otherwise` makes of an error, unless it is one of the disk.
pub(super) fn of_disk_or(error: ParquetError, otherwise: impl FnOnce(ParquetError) -> Error) -> Error {
    match error {
        ParquetError::External(source) if source.is::<io::Error>() => disk_failed(source),
        error => otherwise(error),
    }
}
