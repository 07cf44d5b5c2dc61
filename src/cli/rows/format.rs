//! The formats in which rows are written, a batch at a time.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{ArrowError, SchemaRef};
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::csv::{ByteOrderMark, CsvWriter};
use crate::error::{Error, ErrorClass, Result};

/// A row group ends when its rows take so many bytes of memory.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// A format of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum RowsFormat {
    /// Arrow IPC, the file format.
    Arrow,
    /// Arrow IPC, the stream format.
    Arrows,
    /// Parquet.
    Parquet,
    /// CSV.
    Csv,
}

impl RowsFormat {
    /// Its name, which is how names of its files end.
    pub(in crate::cli) fn name(self) -> &'static str {
        match self {
            Self::Arrow => "arrow",
            Self::Arrows => "arrows",
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }

    /// The format of a file by its name.
    pub(in crate::cli) fn of_name(path: &Path) -> Result<Self> {
        let end = path.extension().unwrap_or_default();
        let found = Self::value_variants().iter().find(|format| end.eq_ignore_ascii_case(format.name()));
        found.copied().ok_or_else(|| {
            Error::new(ErrorClass::ArgumentWrong, "the name of the file does not say its format")
                .with("path", path.display())
                .hint("end it in .arrow, .arrows, .parquet or .csv, or name the format by `--format`")
        })
    }
}

/// Writes rows of one schema to a file.
pub(in crate::cli) enum RowsWriter {
    Arrow(Box<FileWriter<BufWriter<File>>>),
    Arrows(Box<StreamWriter<BufWriter<File>>>),
    Parquet(Box<ArrowWriter<File>>),
    Csv(CsvWriter<BufWriter<File>>),
}

impl RowsWriter {
    /// Begins with what stands before all rows.
    pub(in crate::cli) fn begin(
        format: RowsFormat,
        mark: ByteOrderMark,
        schema: &SchemaRef,
        file: File,
    ) -> Result<Self> {
        let buffered = |file| BufWriter::with_capacity(1 << 16, file);
        Ok(match format {
            RowsFormat::Arrow => Self::Arrow(Box::new(FileWriter::try_new(buffered(file), schema).map_err(of_arrow)?)),
            RowsFormat::Arrows => {
                Self::Arrows(Box::new(StreamWriter::try_new(buffered(file), schema).map_err(of_arrow)?))
            }
            RowsFormat::Parquet => {
                let zstd = ZstdLevel::try_new(1).map_err(of_parquet)?;
                let properties = WriterProperties::builder().set_compression(Compression::ZSTD(zstd)).build();
                let writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties));
                Self::Parquet(Box::new(writer.map_err(of_parquet)?))
            }
            RowsFormat::Csv => Self::Csv(CsvWriter::begin(buffered(file), mark, schema).map_err(cannot_write)?),
        })
    }

    /// Adds rows.
    pub(in crate::cli) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        match self {
            Self::Arrow(writer) => writer.write(rows).map_err(of_arrow),
            Self::Arrows(writer) => writer.write(rows).map_err(of_arrow),
            Self::Parquet(writer) => {
                writer.write(rows).map_err(of_parquet)?;
                if writer.memory_size() < ROW_GROUP_BYTES { Ok(()) } else { writer.flush().map_err(of_parquet) }
            }
            Self::Csv(writer) => writer.write(rows).map_err(cannot_write),
        }
    }

    /// Ends with what stands behind all rows, and hands everything to the system.
    pub(in crate::cli) fn finish(self) -> Result<()> {
        match self {
            Self::Arrow(writer) => flush(finished(*writer, FileWriter::finish, FileWriter::into_inner)?),
            Self::Arrows(writer) => flush(finished(*writer, StreamWriter::finish, StreamWriter::into_inner)?),
            Self::Parquet(writer) => writer.close().map(|_| ()).map_err(of_parquet),
            Self::Csv(writer) => flush(writer.into_inner()),
        }
    }
}

fn finished<W, B>(
    mut writer: W,
    finish: impl FnOnce(&mut W) -> std::result::Result<(), ArrowError>,
    into_inner: impl FnOnce(W) -> std::result::Result<B, ArrowError>,
) -> Result<B> {
    finish(&mut writer).and_then(|()| into_inner(writer)).map_err(of_arrow)
}

fn flush(mut file: BufWriter<File>) -> Result<()> {
    file.flush().map_err(cannot_write)
}

fn of_arrow(error: ArrowError) -> Error {
    cannot_write(error)
}

fn of_parquet(error: ParquetError) -> Error {
    cannot_write(error)
}

/// That rows were not taken.
fn cannot_write(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorClass::OutputLost, "cannot write the rows")
        .because(error)
        .hint("see that there is space left where they go; then run the same command again")
}
