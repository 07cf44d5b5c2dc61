//! `wdt-lake changes TABLE`: the rows that are new since a token, and the next token.
//!
//! Rows are written to a temporary file first. It takes its name, or goes to standard output, when it is complete, and
//! the token is given after that: whoever has a token has the rows before it.

mod csv;
mod format;
mod target;

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::PathBuf;

use serde_json::{Value, json};

use self::format::{RowsFormat, RowsWriter};
use self::target::NewFileAt;
use super::lake::{LakeArgs, OpenedLake, TableName};
use super::signals;
use crate::error::{Error, ErrorKind, Result, exit};
use crate::log::{Lake, Table};
use crate::pipeline::{ChangesTable, ChangesToken, ReadChanges, RowSink, changes};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    table: TableName,
    #[command(flatten)]
    lake: LakeArgs,
    /// The token that the last run printed; without it all rows are given.
    #[arg(long, value_name = "TOKEN")]
    since: Option<String>,
    /// Where the rows go; `-` is standard output, and the token then goes to standard error. A file that stands there
    /// is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// As what; without it as the name of the file ends, and to standard output as `arrows`.
    #[arg(long, value_enum)]
    format: Option<RowsFormat>,
    /// Write the next token to this file too, when the rows stand.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let request = Request::of(args)?;
    let lake = args.lake.open()?;
    let interrupt = signals::listen()?;
    let Some(read) = interrupt.unless_asked(Box::pin(request.write(&lake))).await else {
        return Err(Error::new(ErrorKind::Incomplete, "interrupted; nothing was written").hint("run again"));
    };
    let changes = read?;
    let token = changes.next.to_string();
    if let Some(path) = &args.token_file {
        let target = NewFileAt::create(path)?;
        io::Write::write_all(&mut target.begin()?, format!("{token}\n").as_bytes())
            .map_err(|error| target::cannot_write(path).because(error))?;
        target.publish()?;
    }
    match &request.target {
        Target::Output => super::print_note("next token", &token),
        Target::File(path) => {
            let to_json = || to_json(&changes, request.table, path, request.format);
            args.lake.output.print(to_json, || token.clone());
        }
    }
    Ok(exit::DONE)
}

/// What is asked for, checked.
struct Request {
    table: Table,
    since: Option<ChangesToken>,
    target: Target,
    format: RowsFormat,
}

/// Where rows go.
enum Target {
    Output,
    File(PathBuf),
}

impl Request {
    fn of(args: &Args) -> Result<Self> {
        let table = args.table.get()?;
        let since = args.since.as_deref().map(str::parse).transpose()?;
        if args.out.as_os_str() == "-" {
            if args.lake.output.is_json() {
                return Err(Error::usage("`--json` and `--out -` both take standard output")
                    .hint("write the rows to a file, or leave `--json` out"));
            }
            let format = args.format.unwrap_or(RowsFormat::Arrows);
            return Ok(Self { table, since, target: Target::Output, format });
        }
        if args.token_file.as_ref() == Some(&args.out) {
            return Err(Error::usage("`--out` and `--token-file` name the same file"));
        }
        let format = match args.format {
            Some(format) => format,
            None => RowsFormat::of_name(&args.out)?,
        };
        Ok(Self { table, since, target: Target::File(args.out.clone()), format })
    }

    /// Writes the rows to where they go.
    async fn write(&self, lake: &OpenedLake) -> Result<ReadChanges> {
        let lakes = self.lakes(lake).await?;
        match &self.target {
            Target::File(path) => {
                let target = NewFileAt::create(path)?;
                let changes = self.read(lakes, || target.begin()).await?;
                target.publish()?;
                Ok(changes)
            }
            Target::Output => {
                let spool = tempfile::tempfile().map_err(temporary)?;
                let begin = || target::emptied(&spool).map_err(temporary);
                let changes = self.read(lakes, begin).await?;
                to_output(&spool)?;
                Ok(changes)
            }
        }
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

    /// Writes the rows to a file that `begin` gives without anything in it.
    async fn read(&self, lakes: Vec<Lake>, begin: impl Fn() -> Result<File>) -> Result<ReadChanges> {
        let table = ChangesTable::of(self.table)?;
        let begin = || RowsWriter::begin(self.format, table.schema(), begin()?);
        let (writer, changes) = changes(lakes, &table, self.since.as_ref(), begin).await?;
        writer.finish()?;
        Ok(changes)
    }
}

impl RowSink for RowsWriter {
    fn take(&mut self, rows: &arrow_array::RecordBatch) -> Result<()> {
        self.write(rows)
    }
}

fn to_output(mut spool: &File) -> Result<()> {
    spool.rewind().map_err(temporary)?;
    let mut output = io::stdout().lock();
    // A reader that went away has not taken the rows: it must not get the token.
    io::copy(&mut spool, &mut output).and_then(|_| io::Write::flush(&mut output)).map_err(|error| {
        Error::new(ErrorKind::Output, "standard output has not taken all rows")
            .because(error)
            .hint("run again with the same `--since`")
    })
}

fn temporary(error: io::Error) -> Error {
    Error::new(ErrorKind::Output, "cannot use a temporary file")
        .because(error)
        .hint("make room in the folder for temporary files, or set TMPDIR to another")
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
