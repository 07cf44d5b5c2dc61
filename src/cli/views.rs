//! `wdt-lake views`: SQL for the latest state of a lake.

use serde_json::json;

use super::lake::LakeArgs;
use crate::error::{Result, exit};
use crate::log::{Lake, Table};
use crate::transform::{Engine, Extent, render_views};

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
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let lake = args.lake.open()?;
    let engine = match args.engine {
        For::Duckdb => Engine::Duckdb,
        For::Spark => Engine::Spark,
    };
    let mut extent = Extent::default();
    for account in lake.accounts().await? {
        let lake = Lake::open(lake.store.clone(), account).await?;
        extent.headers |= lake.rows(Table::PurchaseApply) > 0;
        extent.details |= lake.rows(Table::PurchaseApplyDetail) > 0;
        extent.stops |= lake.rows(Table::StopReference) > 0;
    }
    let rendered = render_views(engine, lake.store.root(), lake.wanted.as_ref(), extent)?;
    if let Some(note) = &rendered.note {
        super::print_warning(note);
    }
    // The statements one by one, for programs that run them.
    let to_json = || {
        let views = rendered.views.iter().map(|view| json!({"name": view.name, "about": view.about, "sql": view.sql}));
        let views: Vec<_> = views.collect();
        json!({
            "command": "views", "engine": engine.name(), "note": rendered.note, "views": views, "example": rendered.example
        })
    };
    args.lake.output.print(to_json, || rendered.script());
    Ok(exit::DONE)
}
