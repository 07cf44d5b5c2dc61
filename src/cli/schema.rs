//! `wdt-lake schema`: the data contract, for people, programs, DuckDB and Spark.

use crate::error::{Result, exit};
use crate::transform::{SchemaFormat, render_schema};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// For whom.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// Columns with their types and descriptions, for people.
    Table,
    /// The contract as one JSON object.
    Json,
    /// DuckDB's CREATE TABLE statements.
    Duckdb,
    /// Spark's CREATE TABLE statements.
    Spark,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    super::print(&render_schema(match args.format {
        Format::Table => SchemaFormat::Table,
        Format::Json => SchemaFormat::Json,
        Format::Duckdb => SchemaFormat::Duckdb,
        Format::Spark => SchemaFormat::Spark,
    })?);
    Ok(exit::DONE)
}
