//! What is said of a table and of a file beside its rows.

use std::sync::Arc;

use arrow_schema::FieldRef;

use super::upgrade::Upgrade;
use crate::format::FormatVersion;
use crate::id::{AccountName, CommitId};
use crate::log::Table;
use crate::time::Window;

/// What writing needs to know of a table; the caller takes it from the data contract.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Which table.
    pub table: Table,
    /// The columns and their descriptions, as one JSON document for the files' metadata.
    pub columns: String,
    /// The columns by which the rows are sorted, ascending, nulls first.
    pub sorted_by: Vec<String>,
    /// The columns that are looked up by value.
    pub bloom: Vec<String>,
    /// The columns whose values are nearly all distinct: a dictionary of them is for nothing.
    pub distinct: Vec<String>,
    /// The column of modified times: timestamp in microseconds, without nulls.
    pub modified: String,
    /// The decimal column that is summed while a file is encoded.
    pub summed: Option<String>,
    /// The column that says which commit first landed a row: text without nulls, the last of a file. The encoder adds
    /// it; none where the table has no such column.
    pub commit_id: Option<FieldRef>,
    /// How rows of files of an earlier contract get the columns that were added since; none where none ever were.
    pub upgrade: Option<Arc<dyn Upgrade>>,
}

/// How the pages of files are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileCompression {
    /// zstd, which every reader of today knows.
    #[default]
    Zstd,
    /// Snappy, for readers that know no zstd, as Hadoop before 3: larger files that are written and read as fast.
    Snappy,
}

/// Where a file comes from, for its metadata, and how it is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOrigin {
    /// The account.
    pub account: AccountName,
    /// The commit that adds the file.
    pub commit: CommitId,
    /// The version of the data contract.
    pub contract: FormatVersion,
    /// The span in which every row's modified time lies; none for tables without windows.
    pub span: Option<Window>,
    /// How its pages are compressed.
    pub compression: FileCompression,
}
