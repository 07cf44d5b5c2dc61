//! The SQL dialects for which statements are written: what each calls a type, how it quotes, and where it finds the
//! files of a table.
//!
//! Types are chosen so that every value of the data contract is read exactly: decimals as DECIMAL(19,4), and times as
//! instants wherever an engine has such a type. Files say that their timestamps are adjusted to UTC, in microseconds.

use super::contract::{ColumnType, TableContract};
use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

/// What stands in the place of an endpoint of Alibaba OSS, which the URI of a lake does not name.
pub(super) const OSS_ENDPOINT: &str = "OSS_ENDPOINT";

/// An engine, or several that share their statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// DuckDB 1.0 or later.
    Duckdb,
    /// Spark 3.5 or later.
    Spark,
    /// Hive 4 or later; Hive 3 reads timestamps of these files as BIGINT only.
    Hive,
    /// ClickHouse 25.8 or later.
    Clickhouse,
    /// StarRocks 3.4 or later.
    Starrocks,
    /// MaxCompute, types of version 2.0.
    Maxcompute,
}

impl Dialect {
    /// What it calls a type.
    pub(super) fn type_name(self, kind: ColumnType) -> &'static str {
        match (self, kind) {
            (Self::Clickhouse, ColumnType::Int16) => "Int16",
            (Self::Clickhouse, ColumnType::Int32) => "Int32",
            (Self::Clickhouse, ColumnType::Int64) => "Int64",
            (Self::Clickhouse, ColumnType::Utf8) => "String",
            (Self::Clickhouse, ColumnType::Decimal) => "Decimal(19, 4)",
            // The zone of the type is how the instant is shown; it changes no value.
            (Self::Clickhouse, ColumnType::Timestamp) => "DateTime64(6, 'Asia/Shanghai')",
            (_, ColumnType::Int16) => "SMALLINT",
            (Self::Duckdb, ColumnType::Int32) => "INTEGER",
            (_, ColumnType::Int32) => "INT",
            (_, ColumnType::Int64) => "BIGINT",
            (Self::Duckdb, ColumnType::Utf8) => "VARCHAR",
            (_, ColumnType::Utf8) => "STRING",
            (_, ColumnType::Decimal) => "DECIMAL(19,4)",
            (Self::Duckdb, ColumnType::Timestamp) => "TIMESTAMP WITH TIME ZONE",
            (Self::Starrocks, ColumnType::Timestamp) => "DATETIME",
            (_, ColumnType::Timestamp) => "TIMESTAMP",
        }
    }

    /// The same of a column that may hold null. Only ClickHouse tells them apart by their types.
    pub(super) fn nullable_type_name(self, kind: ColumnType) -> String {
        let name = self.type_name(kind);
        if self == Self::Clickhouse { format!("Nullable({name})") } else { name.to_owned() }
    }

    /// A name, quoted.
    pub(super) fn name(self, name: &str) -> String {
        if self == Self::Duckdb { format!("\"{name}\"") } else { format!("`{name}`") }
    }

    /// A text, quoted.
    pub(super) fn text(self, text: &str) -> String {
        match self {
            Self::Duckdb => format!("'{}'", text.replace('\'', "''")),
            Self::Starrocks => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Self::Spark | Self::Hive | Self::Clickhouse | Self::Maxcompute => {
                format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
            }
        }
    }

    /// A description as a quoted text, without semicolons, at which simple clients cut a script.
    pub(super) fn comment(self, en: &str, zh: &str) -> String {
        self.text(&format!("{en} / {zh}").replace(';', ",").replace('；', "，"))
    }

    /// The folder of a table in the lake at `lake`, as the engine takes it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the engine cannot reach such a lake.
    pub(super) fn folder(self, lake: &str, table: &TableContract) -> Result<String> {
        let lake = lake.trim_end_matches('/');
        let bucket = ["s3://", "s3a://"].iter().find_map(|scheme| lake.strip_prefix(scheme));
        let lake = match (self, bucket) {
            (Self::Maxcompute, Some(path)) => format!("oss://{OSS_ENDPOINT}/{path}"),
            (Self::Maxcompute, None) => {
                return Err(Error::new(
                    ErrorClass::EngineUnfit,
                    "MaxCompute reads lakes in a bucket of Alibaba OSS only",
                )
                .hint("give the lake as `s3://bucket/prefix`"));
            }
            // Hadoop's client has another name for buckets.
            (Self::Spark | Self::Hive, Some(path)) => format!("s3a://{path}"),
            (Self::Starrocks, None) => format!("file://{lake}"),
            _ => lake.to_owned(),
        };
        Ok(format!("{lake}/{}", table.name()))
    }

    /// The files of a table in the lake at `lake`, as a pattern for engines that read by pattern.
    ///
    /// # Errors
    /// As [`folder`](Self::folder), also when the lake's own path has letters of a pattern and the engine has no way to
    /// take them literally.
    pub(super) fn pattern(self, lake: &str, table: &TableContract) -> Result<String> {
        let folder = self.folder(lake, table)?;
        check_above(lake)?;
        let folder = match self {
            Self::Duckdb => literal_by_class(&folder),
            _ if folder.contains(['*', '?', '{', '[', '^']) => {
                return Err(Error::new(
                    ErrorClass::EngineUnfit,
                    "the engine takes letters of the lake's path for a pattern",
                )
                .with("lake", lake)
                .hint("move the lake to a path without `*`, `?`, `{`, `[` and `^`"));
            }
            _ => folder,
        };
        Ok(format!("{folder}/{}", below(table)))
    }
}

/// The files below the folder of a table: a folder for each partition column, and Parquet files in the last.
pub(super) fn below(table: &TableContract) -> String {
    let folders = table.partition_columns().iter().map(|column| format!("{}=*/", column.name()));
    format!("{}*.parquet", folders.collect::<String>())
}

/// Refuses a lake below a folder that engines which find columns in paths take for one, so that rows would be lost.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage).
pub(super) fn check_above(lake: &str) -> Result<()> {
    match lake.split('/').find(|part| part.contains('=')) {
        None => Ok(()),
        Some(part) => Err(Error::new(
            ErrorClass::EngineUnfit,
            text!("the engine takes `{part}` in the lake's path for a column", part),
        )
        .with("lake", lake)
        .hint("move the lake to a path without `=`")),
    }
}

/// A path of which no letter is a pattern: a class of one letter takes it literally.
pub(super) fn literal_by_class(path: &str) -> String {
    let literal = |letter: char| if "*?[".contains(letter) { format!("[{letter}]") } else { letter.to_string() };
    path.chars().map(literal).collect()
}
