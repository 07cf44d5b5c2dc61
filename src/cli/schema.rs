//! `wdt-lake schema`: the data contract, for people and programs, and as statements that make a lake's tables known to
//! an engine.

use super::lake::{extent_of, table_of_name};
use crate::error::{Error, ErrorClass, Result, exit};
use crate::log::Lake;
use crate::store::{Access, Store};
use crate::text::text;
use crate::transform::{Dialect, Extent, render_ddl, render_schema_json, render_schema_text};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One table: `purchase_apply`, `purchase_apply_detail` or `stop_reference` [default: all].
    #[arg(value_name = "TABLE")]
    table: Option<String>,
    /// For whom.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The lake whose files the statements read: a folder or `s3://bucket/prefix`. Without TABLE, tables that have no
    /// file yet are left out.
    #[arg(long, value_name = "URI")]
    lake: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Columns with their types and descriptions, for people.
    Table,
    /// The contract as one JSON object.
    Json,
    /// Hive: external tables, and the repair of their partitions.
    Hive,
    /// Spark: tables, and the repair of their partitions; without --lake tables for rows of one's own.
    Spark,
    /// ClickHouse: tables over the files.
    Clickhouse,
    /// StarRocks: views over the files.
    Starrocks,
    /// MaxCompute: external tables, and the repair of their partitions.
    Maxcompute,
    /// DuckDB: views over the files; without --lake tables for rows of one's own.
    Duckdb,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let table = args.table.as_deref().map(table_of_name).transpose()?;
    let is_named = |name: &str| table.is_none_or(|table| table.name() == name);
    let dialect = match args.format {
        Format::Table | Format::Json if args.lake.is_some() => {
            return Err(Error::new(ErrorClass::ArgumentsConflict, "this format says nothing of a lake")
                .hint("leave --lake out, or name an engine"));
        }
        Format::Table => {
            super::print(&render_schema_text(is_named)?);
            return Ok(exit::DONE);
        }
        Format::Json => {
            super::print(&render_schema_json(is_named)?);
            return Ok(exit::DONE);
        }
        Format::Hive => Dialect::Hive,
        Format::Spark => Dialect::Spark,
        Format::Clickhouse => Dialect::Clickhouse,
        Format::Starrocks => Dialect::Starrocks,
        Format::Maxcompute => Dialect::Maxcompute,
        Format::Duckdb => Dialect::Duckdb,
    };
    let Some(uri) = &args.lake else {
        super::print(&render_ddl(dialect, None, is_named)?);
        return Ok(exit::DONE);
    };
    let store = Store::open(uri, Access::Read)?;
    let extent = match table {
        Some(_) => Extent::ALL,
        None => extent_of(&store, Lake::accounts(&store).await?).await?,
    };
    if let Some(missing) = extent.missing() {
        super::print_warning(&text!("the lake has no file of {missing} yet, so its statements are left out", missing));
    }
    super::print(&render_ddl(dialect, Some(store.root()), |name| is_named(name) && extent.has(name))?);
    Ok(exit::DONE)
}
