//! The rows of a table as readers get them: in the columns of the table with the account beside them, which in a lake
//! stands in the path alone; and how files are read that another run may replace meanwhile.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::id::AccountName;
use crate::log::{Lake, Table};
use crate::transform::Contract;

/// How often reading begins anew because files went away while they were read.
pub(super) const TRIES: u32 = 5;
/// The column that says whose rows they are.
pub(super) const ACCOUNT: &str = "account";

/// What is done with rows, a batch at a time.
pub(crate) trait RowSink: Send + 'static {
    /// Takes the next rows. They have the columns of [`ReaderTable::schema`].
    ///
    /// # Errors
    /// Whatever keeps them from being taken; nothing more is given then.
    fn take(&mut self, rows: &RecordBatch) -> Result<()>;
}

/// The rows of a table, as they are given to readers.
#[derive(Clone, Debug)]
pub(crate) struct ReaderTable {
    table: Table,
    /// The columns of its rows: those of the table, and at their end the account.
    schema: SchemaRef,
    /// The column that says which commit first landed a row.
    commit_id: String,
}

impl ReaderTable {
    /// A table of the data contract.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the contract is broken, which a test of this crate rules out.
    pub(crate) fn of(table: Table) -> Result<Self> {
        let tables = Contract::get()?.tables();
        let found = tables.iter().find(|contract| contract.name() == table.name());
        let found = found.ok_or_else(|| Error::internal("the contract lacks a table").with("table", table))?;
        Self::with_columns(table, &found.schema())
    }

    /// A table with these columns, of which the last says which commit first landed a row.
    pub(super) fn with_columns(table: Table, columns: &Schema) -> Result<Self> {
        let commit_id = columns.fields().last().map(|field| field.name().clone());
        let commit_id = commit_id.ok_or_else(|| Error::internal("a table without columns").with("table", table))?;
        let account = Arc::new(Field::new(ACCOUNT, DataType::Utf8, false));
        let fields: Vec<_> = columns.fields().iter().cloned().chain([account]).collect();
        Ok(Self { table, schema: Arc::new(Schema::new(fields)), commit_id })
    }

    /// The columns of the rows that are given.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The table.
    pub(super) fn table(&self) -> Table {
        self.table
    }

    /// The name of the column that says which commit first landed a row.
    pub(super) fn commit_id(&self) -> &str {
        &self.commit_id
    }

    /// Rows of a file in these columns. Those that the file lacks are null.
    pub(super) fn fit(&self, rows: &RecordBatch, account: &AccountName) -> Result<RecordBatch> {
        let held = rows.schema();
        if let Some(unknown) = held.fields().iter().find(|field| self.schema.index_of(field.name()).is_err()) {
            return Err(Error::new(ErrorClass::ContractLater, "a file has a column that this program does not know")
                .with("column", unknown.name())
                .hint("use a newer wdt-lake"));
        }
        let column = |field: &Arc<Field>| -> ArrayRef {
            match rows.column_by_name(field.name()) {
                Some(column) => Arc::clone(column),
                None if field.name() == ACCOUNT => {
                    Arc::new(StringArray::new_repeated(account.as_str(), rows.num_rows()))
                }
                None => new_null_array(field.data_type(), rows.num_rows()),
            }
        };
        let columns = self.schema.fields().iter().map(column).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::new(ErrorClass::FileDamaged, "a committed file has other columns").because(error))
    }
}

/// Reads committed files until all of them were there. It begins anew, with the logs read on, when files that are read
/// were replaced meanwhile.
///
/// # Errors
/// [`ErrorKind::Conflict`] when files were replaced again and again; what `read` says, when no log has changed since.
pub(crate) async fn until_steady<T>(lakes: &mut [Lake], mut read: impl AsyncFnMut(&[Lake]) -> Result<T>) -> Result<T> {
    for _ in 0..TRIES {
        match read(lakes).await {
            Ok(read) => return Ok(read),
            // A file that a later manifest removed is no defect, nor is one that went while it was fetched in parts.
            Err(error) if matches!(error.kind(), ErrorKind::Defect | ErrorKind::Lake) => {
                if !follow(lakes).await? {
                    return Err(error);
                }
                tracing::info!(%error, "the lake has changed while it was read; reading begins anew");
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(ErrorClass::WroteAtOnce, "files were replaced again and again while they were read")
        .hint("run again, or let sync keep what it removes for a while"))
}

/// Reads what was added to the logs; whether there was anything.
async fn follow(lakes: &mut [Lake]) -> Result<bool> {
    let mut has_moved = false;
    for lake in lakes {
        let before = lake.state().newest();
        lake.follow().await?;
        has_moved |= lake.state().newest() != before;
    }
    Ok(has_moved)
}
