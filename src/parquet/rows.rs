//! The rows of a file, before it is encoded: a column at a time.
//!
//! A file is encoded one column after the other, so that one dictionary and one compressor are at work at a time, and
//! rows that lie scattered over many pages are collected where they are close together: within one column.

use std::fmt;
use std::ops::Range;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Schema, SchemaRef};
use arrow_select::concat::concat_batches;

use crate::error::{Error, Result};

/// Rows of one table, of which any part of any column can be had. Asked on a thread for work that takes its time.
pub trait Columns: Send {
    /// Their columns. Text may be [`Binary`](arrow_schema::DataType::Binary) where it was read as UTF-8: then nobody
    /// looks at every letter once more.
    fn schema(&self) -> SchemaRef;

    /// How many rows there are.
    fn rows(&self) -> usize;

    /// The values of the column at `place` in `rows`.
    ///
    /// # Errors
    /// Whatever keeps them from being put together.
    fn column(&self, place: usize, rows: Range<usize>) -> Result<ArrayRef>;
}

type Open = dyn FnOnce() -> Result<Box<dyn Columns>> + Send;

/// The rows of one file, sorted as their table claims.
pub struct RowSource(Box<Open>);

impl RowSource {
    /// Rows that are there.
    pub fn new(columns: impl Columns + 'static) -> Self {
        Self::later(|| Ok(Box::new(columns)))
    }

    /// Rows that are there only when the file is encoded.
    pub fn later(open: impl FnOnce() -> Result<Box<dyn Columns>> + Send + 'static) -> Self {
        Self(Box::new(open))
    }

    /// The rows, ready to be asked for.
    pub(crate) fn open(self) -> Result<Box<dyn Columns>> {
        (self.0)()
    }
}

impl fmt::Debug for RowSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowSource").finish_non_exhaustive()
    }
}

/// Batches of one schema.
impl From<Vec<RecordBatch>> for RowSource {
    fn from(batches: Vec<RecordBatch>) -> Self {
        Self::later(move || {
            let schema = batches.first().map_or_else(|| Schema::empty().into(), RecordBatch::schema);
            let rows = concat_batches(&schema, &batches);
            Ok(Box::new(rows.map_err(|error| Error::internal("cannot join the batches of a file").because(error))?))
        })
    }
}

impl Columns for RecordBatch {
    fn schema(&self) -> SchemaRef {
        self.schema()
    }

    fn rows(&self) -> usize {
        self.num_rows()
    }

    fn column(&self, place: usize, rows: Range<usize>) -> Result<ArrayRef> {
        let column =
            self.columns().get(place).ok_or_else(|| Error::internal("no such column").with("column", place))?;
        Ok(column.slice(rows.start, rows.len()))
    }
}
