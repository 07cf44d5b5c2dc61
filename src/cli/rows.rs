//! Where the commands that write rows of a lake put them: into a file, which stands under its name only when it is
//! whole, or to standard output, which gets nothing before all rows are there.

mod csv;
mod format;
mod target;

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

pub(super) use self::csv::ByteOrderMark;
pub(super) use self::format::{RowsFormat, RowsWriter};
pub(super) use self::target::{NewFileAt, cannot_write};
use super::lake::Output;
use crate::error::{Error, ErrorClass, Result};
use crate::pipeline::RowSink;
use crate::store::Store;

/// Where rows go, as the user said it.
#[derive(Debug, clap::Args)]
pub(super) struct OutArgs {
    /// Where the rows go; `-` is standard output, and all else is then said on standard error. A file that stands
    /// there is replaced.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// As what; without it as the name of the file ends, and to standard output as `arrows`.
    #[arg(long, value_enum)]
    format: Option<RowsFormat>,
}

impl OutArgs {
    /// The same, checked.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the format is not known, or the answer takes standard output
    /// as well.
    pub(super) fn target(&self, output: &Output) -> Result<RowsTarget> {
        let file = OutFile::of(&self.out, output)?;
        let format = match (self.format, file.path()) {
            (Some(format), _) => format,
            (None, None) => RowsFormat::Arrows,
            (None, Some(path)) => RowsFormat::of_name(path)?,
        };
        Ok(RowsTarget { file, format })
    }
}

/// Where rows go, and in which format.
pub(super) struct RowsTarget {
    file: OutFile,
    format: RowsFormat,
}

impl RowsTarget {
    /// The file; none is standard output.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.path()
    }

    /// The format.
    pub(super) fn format(&self) -> RowsFormat {
        self.format
    }

    /// As [`OutFile::write`].
    ///
    /// # Errors
    /// As [`OutFile::write`].
    pub(super) async fn write<T>(
        &self,
        lake: &Store,
        write: impl AsyncFnOnce(&(dyn Fn() -> Result<File> + Sync)) -> Result<T>,
    ) -> Result<(T, u64)> {
        self.file.write(lake, write).await
    }
}

/// Where a command puts one file: at a path, or to standard output.
pub(super) struct OutFile {
    /// None is standard output.
    path: Option<PathBuf>,
}

impl OutFile {
    /// The place that a user named; `-` is standard output.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the answer takes standard output as well.
    pub(super) fn of(out: &Path, output: &Output) -> Result<Self> {
        if out.as_os_str() != "-" {
            return Ok(Self { path: Some(out.to_owned()) });
        }
        if output.is_json() {
            return Err(Error::usage("`--json` and `--out -` both take standard output")
                .hint("write to a file, or leave `--json` out"));
        }
        Ok(Self { path: None })
    }

    /// The file; none is standard output.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Lets `write` write to a file that it is given as often as it asks, without anything in it, and puts the whole
    /// file where it goes. Gives what `write` gave, and the size of the file in bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a file within the folder of the lake,
    /// [`ErrorKind::Output`](crate::ErrorKind::Output) when it cannot be put there; what `write` says.
    pub(super) async fn write<T>(
        &self,
        lake: &Store,
        write: impl AsyncFnOnce(&(dyn Fn() -> Result<File> + Sync)) -> Result<T>,
    ) -> Result<(T, u64)> {
        match &self.path {
            Some(path) => {
                let target = NewFileAt::create(path, lake)?;
                let written = write(&|| target.begin()).await?;
                let bytes = target.publish()?;
                Ok((written, bytes))
            }
            None => {
                let spool = tempfile::tempfile().map_err(temporary)?;
                let written = write(&|| target::emptied(&spool).map_err(temporary)).await?;
                let bytes = to_output(&spool)?;
                Ok((written, bytes))
            }
        }
    }
}

impl RowSink for RowsWriter {
    fn take(&mut self, rows: &arrow_array::RecordBatch) -> Result<()> {
        self.write(rows)
    }
}

fn to_output(mut spool: &File) -> Result<u64> {
    spool.rewind().map_err(temporary)?;
    let mut output = io::stdout().lock();
    // A reader that went away has not taken the rows, and must not be told that it has.
    let copied = io::copy(&mut spool, &mut output).and_then(|bytes| io::Write::flush(&mut output).map(|()| bytes));
    copied.map_err(|error| {
        Error::new(ErrorClass::OutputLost, "standard output has not taken all rows")
            .because(error)
            .hint("run the same command again")
    })
}

fn temporary(error: io::Error) -> Error {
    Error::new(ErrorClass::OutputTemporary, "cannot use a temporary file")
        .because(error)
        .hint("make room in the folder for temporary files, or set TMPDIR to another")
}
