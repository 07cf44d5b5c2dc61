//! `wdt-lake changes TABLE`: the rows that are new since a token, and the next token.
//!
//! Rows are written to a temporary file first. It takes its name, or goes to standard output, when it is complete, and
//! the token is given after that: whoever has a token has the rows before it.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::lake::{LakeArgs, OpenedLake, TableName};
use super::rows::{ByteOrderMark, NewFileAt, OutArgs, RowsFormat, RowsTarget, RowsWriter, cannot_write};
use super::signals;
use crate::error::{Error, ErrorClass, Result, exit};
use crate::log::{Lake, Table};
use crate::pipeline::{ChangesToken, ReadChanges, ReaderTable, changes};
use crate::text::{Text, key};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    table: TableName,
    #[command(flatten)]
    lake: LakeArgs,
    /// The token that the last run printed; without it all rows are given.
    #[arg(long, value_name = "TOKEN")]
    since: Option<String>,
    #[command(flatten)]
    rows: OutArgs,
    /// Write the next token to this file too, when the rows stand.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let request = Request::of(args)?;
    let lake = args.lake.open()?;
    let token_file = args.token_file.as_deref().map(|path| Ok((NewFileAt::create(path, &lake.store)?, path)));
    let token_file = token_file.transpose()?;
    let interrupt = signals::listen()?;
    let Some(read) = interrupt.unless_asked(Box::pin(request.write(&lake))).await else {
        return Err(Error::new(ErrorClass::Interrupted, "interrupted; nothing was written").hint("run again"));
    };
    let changes = read?;
    let token = changes.next.to_string();
    if let Some((target, path)) = token_file {
        io::Write::write_all(&mut target.begin()?, format!("{token}\n").as_bytes())
            .map_err(|error| cannot_write(path).because(error))?;
        target.publish()?;
    }
    match request.target.path() {
        None => super::print_note(key!("next token"), &Text::verbatim(token)),
        Some(path) => {
            let to_json = || to_json(&changes, request.table, path, request.target.format());
            args.lake.output.print(to_json, || token.clone());
        }
    }
    Ok(exit::DONE)
}

/// What is asked for, checked.
struct Request {
    table: Table,
    since: Option<ChangesToken>,
    target: RowsTarget,
}

impl Request {
    fn of(args: &Args) -> Result<Self> {
        let table = args.table.get()?;
        let since = args.since.as_deref().map(str::parse).transpose()?;
        let target = args.rows.target(&args.lake.output)?;
        if target.path().is_some() && target.path() == args.token_file.as_deref() {
            return Err(Error::new(ErrorClass::ArgumentsConflict, "`--out` and `--token-file` name the same file"));
        }
        Ok(Self { table, since, target })
    }

    /// Writes the rows to where they go.
    async fn write(&self, lake: &OpenedLake) -> Result<ReadChanges> {
        let lakes = self.lakes(lake).await?;
        let table = ReaderTable::of(self.table)?;
        let write = async |begin: &(dyn Fn() -> Result<File> + Sync)| {
            let begin = || RowsWriter::begin(self.target.format(), ByteOrderMark::No, table.schema(), begin()?);
            let (writer, changes) = changes(lakes, &table, self.since.as_ref(), begin).await?;
            writer.finish()?;
            Ok(changes)
        };
        Ok(self.target.write(&lake.store, write).await?.0)
    }

    /// The logs of the accounts that are wanted: those that the lake has, and those that the token names.
    async fn lakes(&self, lake: &OpenedLake) -> Result<Vec<Lake>> {
        let mut names = lake.accounts().await?;
        if lake.wanted.is_none() {
            let named = self.since.iter().flat_map(ChangesToken::accounts);
            // A listing may leave an account out.
            names.extend(named.cloned().collect::<Vec<_>>());
            names.sort_unstable();
            names.dedup();
        }
        let mut lakes = Vec::new();
        for name in names {
            lakes.push(Lake::open(lake.store.clone(), name).await?);
        }
        Ok(lakes)
    }
}

fn to_json(changes: &ReadChanges, table: Table, path: &std::path::Path, format: RowsFormat) -> Value {
    let accounts = changes.accounts.iter().map(|one| {
        json!({"account": one.account, "after_manifest": one.after, "newest_manifest": one.newest, "rows": one.rows})
    });
    json!({
        "command": "changes",
        "table": table.name(),
        "out": path.display().to_string(),
        "format": format.name(),
        "rows": changes.rows(),
        "accounts": accounts.collect::<Vec<_>>(),
        "token": changes.next.to_string(),
    })
}
