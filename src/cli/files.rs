//! `wdt-lake files TABLE`: the committed files of a table, exactly, for `read_parquet([...])`.

use serde_json::json;

use super::status::accounts;
use crate::error::{Error, Result, exit};
use crate::id::AccountName;
use crate::land::{Access, Lake, Store, Table};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `purchase_apply`, `purchase_apply_detail` or `stop_reference`.
    #[arg(value_name = "TABLE")]
    table: String,
    /// Where the lake is: a folder or `s3://bucket/prefix`.
    #[arg(long, value_name = "URI")]
    lake: String,
    /// Only this account.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Print one line with one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let table = Table::from_name(&args.table).ok_or_else(|| {
        let names: Vec<_> = Table::ALL.iter().map(|table| format!("`{table}`")).collect();
        Error::usage(format!("there is no table `{}`", args.table)).hint(format!("the tables are {}", names.join(", ")))
    })?;
    let wanted: Option<AccountName> = args.account.as_deref().map(str::parse).transpose()?;
    let store = Store::open(&args.lake, Access::Read)?;
    let mut files = Vec::new();
    for account in accounts(&store, wanted).await? {
        files.extend(Lake::open(store.clone(), account).await?.files(table));
    }
    if args.json {
        let files: Vec<_> = files
            .iter()
            .map(|file| json!({"path": file.uri, "rows": file.entry.rows, "bytes": file.entry.bytes, "sha256": file.entry.sha256}))
            .collect();
        super::print(&json!({"command": "files", "table": table.name(), "files": files}).to_string());
    } else if !files.is_empty() {
        super::print(&files.iter().map(|file| &*file.uri).collect::<Vec<_>>().join("\n"));
    }
    Ok(exit::DONE)
}
