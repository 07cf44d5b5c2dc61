//! `wdt-lake files TABLE`: the committed files of a table, exactly, for `read_parquet([...])`.

use serde_json::json;

use super::lake::LakeArgs;
use crate::error::{Error, Result, exit};
use crate::log::{Lake, Table};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `purchase_apply`, `purchase_apply_detail` or `stop_reference`.
    #[arg(value_name = "TABLE")]
    table: String,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let table = Table::from_name(&args.table).ok_or_else(|| {
        let names: Vec<_> = Table::ALL.iter().map(|table| format!("`{table}`")).collect();
        Error::usage(format!("there is no table `{}`", args.table)).hint(format!("the tables are {}", names.join(", ")))
    })?;
    let lake = args.lake.open()?;
    let mut files = Vec::new();
    for account in lake.accounts().await? {
        files.extend(Lake::open(lake.store.clone(), account).await?.files(table));
    }
    let to_json = || {
        let files = files.iter().map(|file| {
            json!({"path": file.uri, "rows": file.entry.rows, "bytes": file.entry.bytes, "sha256": file.entry.sha256})
        });
        json!({"command": "files", "table": table.name(), "files": files.collect::<Vec<_>>()})
    };
    args.lake.output.print(to_json, || files.iter().map(|file| &*file.uri).collect::<Vec<_>>().join("\n"));
    Ok(exit::DONE)
}
