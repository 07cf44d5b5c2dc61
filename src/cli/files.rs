//! `wdt-lake files TABLE`: the committed files of a table, exactly, for `read_parquet([...])`.

use serde_json::json;

use super::lake::{LakeArgs, TableName};
use crate::error::{Result, exit};
use crate::log::Lake;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    table: TableName,
    #[command(flatten)]
    lake: LakeArgs,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let table = args.table.get()?;
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
