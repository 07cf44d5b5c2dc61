//! `wdt-lake views`: SQL for the latest state of a lake.

use serde_json::json;

use super::status::accounts;
use crate::error::{Error, Result, exit};
use crate::id::AccountName;
use crate::land::{Access, Store};
use crate::transform::{Engine, render_views};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// For whom.
    #[arg(long, value_enum)]
    engine: For,
    /// Where the lake is: a folder or `s3://bucket/prefix`.
    #[arg(long, value_name = "URI")]
    lake: String,
    /// Only this account.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Print one line with one JSON object: the statements one by one, and the example.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum For {
    /// DuckDB 1.0 or later.
    Duckdb,
    /// Spark 3.5 or later.
    Spark,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let wanted: Option<AccountName> = args.account.as_deref().map(str::parse).transpose()?;
    let store = Store::open(&args.lake, Access::Read)?;
    // Both engines refuse to make a view over no file at all.
    if accounts(&store, wanted.clone()).await?.is_empty() {
        return Err(Error::usage("the lake is empty")
            .with("lake", store.root())
            .hint("fill it by `wdt-lake sync` first"));
    }
    let engine = match args.engine {
        For::Duckdb => Engine::Duckdb,
        For::Spark => Engine::Spark,
    };
    let rendered = render_views(engine, store.root(), wanted.as_ref())?;
    if args.json {
        let views = rendered.views.iter().map(|view| json!({"name": view.name, "about": view.about, "sql": view.sql}));
        let views: Vec<_> = views.collect();
        let object = json!({"command": "views", "engine": engine.name(), "views": views, "example": rendered.example});
        super::print(&object.to_string());
    } else {
        super::print(&rendered.script());
    }
    Ok(exit::DONE)
}
