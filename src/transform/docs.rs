//! The contract for people and for engines: what `wdt-lake schema` prints.
//!
//! - `table`: aligned columns. `json`: the contract files themselves, in one object.
//! - `duckdb`, `spark`: statements that create tables of the same shape, partition columns included, with the
//!   descriptions as comments.

use std::fmt::Write as _;
use std::str::FromStr;

use super::contract::{Column, ColumnType, Contract, DETAILS_JSON, HEADERS_JSON, STOPS_JSON, TableContract};
use crate::edition::Edition;
use crate::error::{Error, Result};

/// How the contract is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemaFormat {
    /// Aligned columns for people.
    Table,
    /// The contract files in one object: `{"contract": ..., "tables": [...]}`.
    Json,
    /// `CREATE TABLE` and `COMMENT ON` statements for DuckDB.
    Duckdb,
    /// `CREATE TABLE ... USING PARQUET` statements for Spark.
    Spark,
}

impl SchemaFormat {
    /// Every format, in the order in which help lists them.
    pub(crate) const ALL: [SchemaFormat; 4] =
        [SchemaFormat::Table, SchemaFormat::Json, SchemaFormat::Duckdb, SchemaFormat::Spark];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Duckdb => "duckdb",
            Self::Spark => "spark",
        }
    }
}

impl FromStr for SchemaFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            Error::usage(format!("unknown schema format `{text}`"))
                .hint("the formats are `table`, `json`, `duckdb` and `spark`")
        })
    }
}

/// The contract of all tables in `format`, ending with a line break.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the contract is broken, which a test of this crate rules
/// out.
pub(crate) fn render(format: SchemaFormat) -> Result<String> {
    let contract = Contract::get()?;
    let each = |statement: fn(&TableContract) -> String| contract.tables().map(statement).join("\n");
    Ok(match format {
        SchemaFormat::Table => each(people),
        SchemaFormat::Json => json(contract.version()),
        SchemaFormat::Duckdb => each(duckdb),
        SchemaFormat::Spark => each(spark),
    })
}

fn json(version: &str) -> String {
    let indented =
        |text: &str| text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n");
    format!(
        "{{\n  \"contract\": \"{version}\",\n  \"tables\": [\n{}\n  ]\n}}\n",
        [HEADERS_JSON, DETAILS_JSON, STOPS_JSON].map(indented).join(",\n")
    )
}

/// The source of a column in an edition: its field, its aliases, or what it is derived from.
pub(super) fn source(column: &Column, edition: Edition) -> String {
    match (column.sources(edition), column.derived()) {
        ([], Some(derived)) => format!("({derived})"),
        ([], None) => "-".to_owned(),
        (names, _) => names.join(", "),
    }
}

fn people(table: &TableContract) -> String {
    let header = ["column", "type", "required", "enterprise, y", "flagship", "description"].map(str::to_owned);
    let rows = table.columns().iter().map(|column| {
        let derived = column.sources(Edition::Enterprise).is_empty() && column.sources(Edition::Flagship).is_empty();
        let flagship = if derived { String::new() } else { source(column, Edition::Flagship) };
        [
            column.name().to_owned(),
            column.kind().name().to_owned(),
            if column.required() { "yes" } else { "" }.to_owned(),
            source(column, Edition::Enterprise),
            flagship,
            format!("{} / {}", column.en(), column.zh()),
        ]
    });
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(rows).collect();
    // Only the last cell holds wide letters, and it needs no padding.
    let widths: [usize; 6] =
        std::array::from_fn(|cell| rows.iter().map(|row| row[cell].chars().count()).max().unwrap_or(0));
    let mut out = format!("{}  {} / {}\n", table.name(), table.en(), table.zh());
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str("  ");
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    let partitions: Vec<&str> = table.partition_columns().iter().map(|column| column.name()).collect();
    let _ = writeln!(out, "  partition columns, in the path only: {}", partitions.join(", "));
    let _ = writeln!(out, "  sorted by: {}", table.sort_order().join(", "));
    out
}

/// Every column of a table as an engine sees it, partition columns last: name, type, whether it is required, and its
/// description.
fn engine_columns(
    table: &TableContract,
    type_name: fn(ColumnType) -> &'static str,
) -> Vec<(&str, &'static str, bool, String)> {
    let own = table.columns().iter().map(move |column| {
        (column.name(), type_name(column.kind()), column.required(), format!("{} / {}", column.en(), column.zh()))
    });
    let partitions = table.partition_columns().iter().map(move |column| {
        (column.name(), type_name(ColumnType::Utf8), true, format!("{} / {}", column.en(), column.zh()))
    });
    own.chain(partitions).collect()
}

/// What DuckDB calls a type.
pub(super) fn duckdb_type(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Int16 => "SMALLINT",
        ColumnType::Int32 => "INTEGER",
        ColumnType::Int64 => "BIGINT",
        ColumnType::Utf8 => "VARCHAR",
        ColumnType::Decimal => "DECIMAL(19,4)",
        ColumnType::Timestamp => "TIMESTAMP WITH TIME ZONE",
    }
}

/// What Spark calls a type.
pub(super) fn spark_type(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Int16 => "SMALLINT",
        ColumnType::Int32 => "INT",
        ColumnType::Int64 => "BIGINT",
        ColumnType::Utf8 => "STRING",
        ColumnType::Decimal => "DECIMAL(19,4)",
        ColumnType::Timestamp => "TIMESTAMP",
    }
}

fn duckdb(table: &TableContract) -> String {
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let columns = engine_columns(table, duckdb_type);
    let lines: Vec<String> = columns
        .iter()
        .map(|(name, kind, required, _)| format!("    \"{name}\" {kind}{}", if *required { " NOT NULL" } else { "" }))
        .collect();
    let mut out = format!("CREATE TABLE \"{}\" (\n{}\n);\n", table.name(), lines.join(",\n"));
    let about = text(&format!("{} / {}", table.en(), table.zh()));
    let _ = writeln!(out, "COMMENT ON TABLE \"{}\" IS {about};", table.name());
    for (name, _, _, about) in &columns {
        let _ = writeln!(out, "COMMENT ON COLUMN \"{}\".\"{name}\" IS {};", table.name(), text(about));
    }
    out
}

fn spark(table: &TableContract) -> String {
    let text = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let lines: Vec<String> = engine_columns(table, spark_type)
        .iter()
        .map(|(name, kind, required, about)| {
            format!("    `{name}` {kind}{} COMMENT {}", if *required { " NOT NULL" } else { "" }, text(about))
        })
        .collect();
    let partitions: Vec<String> =
        table.partition_columns().iter().map(|column| format!("`{}`", column.name())).collect();
    format!(
        "CREATE TABLE `{}` (\n{}\n)\nUSING PARQUET\nPARTITIONED BY ({})\nCOMMENT {};\n",
        table.name(),
        lines.join(",\n"),
        partitions.join(", "),
        text(&format!("{} / {}", table.en(), table.zh()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_names_every_column() {
        let contract = Contract::get().expect("a contract");
        for format in SchemaFormat::ALL {
            assert_eq!(format.name().parse::<SchemaFormat>().expect("a format"), format);
            let text = render(format).expect("a rendering");
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"));
            for table in contract.tables() {
                assert!(text.contains(table.name()));
                let partitions = table.partition_columns().iter().map(|column| column.name());
                for name in table.columns().iter().map(Column::name).chain(partitions) {
                    assert!(text.contains(name), "{format:?} has {name}");
                }
            }
        }
        assert!("yaml".parse::<SchemaFormat>().is_err());
    }

    #[test]
    fn the_json_rendering_is_the_contract() {
        let whole: serde_json::Value = serde_json::from_str(&render(SchemaFormat::Json).expect("json")).expect("json");
        for (table, text) in [HEADERS_JSON, DETAILS_JSON, STOPS_JSON].into_iter().enumerate() {
            assert_eq!(whole["tables"][table], serde_json::from_str::<serde_json::Value>(text).expect("json"));
        }
        assert_eq!(whole["contract"], "0.10");
    }

    #[test]
    fn engines_get_exact_types_and_quoted_comments() {
        let duckdb = render(SchemaFormat::Duckdb).expect("sql");
        assert!(duckdb.contains("    \"purchase_apply_no\" VARCHAR NOT NULL,\n    \"status\" SMALLINT NOT NULL,"));
        assert!(duckdb.contains("    \"real_num\" DECIMAL(19,4),"));
        assert!(duckdb.contains("    \"modified\" TIMESTAMP WITH TIME ZONE NOT NULL,"));
        assert!(duckdb.contains("the vendor''s table spells"));
        let spark = render(SchemaFormat::Spark).expect("sql");
        assert!(spark.contains("    `real_num` DECIMAL(19,4) COMMENT 'Quantity applied for"));
        assert!(spark.contains("USING PARQUET\nPARTITIONED BY (`account`, `modified_month`)\n"));
        assert!(spark.contains("the vendor\\'s table spells"));
    }
}
