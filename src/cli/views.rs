//! `wdt-lake views`: SQL, or a script for Polars, for the latest state of a lake.

use serde_json::json;

use super::lake::{LakeArgs, extent_of};
use crate::error::{Result, exit};
use crate::transform::{Engine, render_views};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// For whom.
    #[arg(long, value_enum)]
    engine: For,
    #[command(flatten)]
    lake: LakeArgs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum For {
    /// DuckDB 1.0 or later.
    Duckdb,
    /// Spark 3.5 or later.
    Spark,
    /// ClickHouse 25.8 or later.
    Clickhouse,
    /// Polars 1.31 or later: a Python script, with the views for its SQL too.
    Polars,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let lake = args.lake.open()?;
    let engine = match args.engine {
        For::Duckdb => Engine::Duckdb,
        For::Spark => Engine::Spark,
        For::Clickhouse => Engine::Clickhouse,
        For::Polars => Engine::Polars,
    };
    let extent = extent_of(&lake.store, lake.accounts().await?).await?;
    let rendered = render_views(engine, lake.store.root(), lake.wanted.as_ref(), extent)?;
    if let Some(note) = &rendered.note {
        super::print_warning(note);
    }
    // The statements one by one, for programs that run them.
    let to_json = || {
        let written_in = engine.language();
        let views =
            rendered.views.iter().map(|view| json!({"name": view.name, "about": view.about, written_in: view.sql}));
        let views: Vec<_> = views.collect();
        let setup: Vec<_> = rendered.setup.iter().map(|(_, statement)| statement).collect();
        json!({
            "command": "views", "engine": engine.name(), "note": rendered.note, "setup": setup, "views": views,
            "example": rendered.example
        })
    };
    args.lake.output.print(to_json, || rendered.script());
    Ok(exit::DONE)
}
