//! What a publisher needs to know of a table; the caller takes it from the data contract.

use arrow_schema::DataType;

use crate::format::FormatVersion;
use crate::log::Table;

/// A table as it is published.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TableSchema {
    /// Which table.
    pub(crate) table: Table,
    /// What a row is, for people.
    pub(crate) comment: String,
    /// The columns of its files, in order.
    pub(crate) columns: Vec<SchemaColumn>,
    /// The columns that stand in the path only, as text, in the order of folders.
    pub(crate) partitions: Vec<SchemaColumn>,
    /// The column of modified times, of which manifests know the least and the greatest.
    pub(crate) modified: String,
    /// The version of the data contract.
    pub(crate) contract: FormatVersion,
}

/// A column of a published table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SchemaColumn {
    /// Its name.
    pub(crate) name: String,
    /// Its type.
    pub(crate) kind: DataType,
    /// Whether it may hold nulls.
    pub(crate) is_nullable: bool,
    /// What it holds, for people.
    pub(crate) comment: String,
    /// The id by which table formats tell it from others, which stands in the files; none of a column that stands in
    /// the path only.
    pub(crate) field_id: Option<i32>,
}
