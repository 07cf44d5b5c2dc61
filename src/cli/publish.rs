//! `wdt-lake publish`: publish what is missing of a lake as Delta and Iceberg tables.

use serde_json::{Value, json};

use super::lake::LakeArgs;
use super::sync::writers;
use super::sync_summary::published_json;
use super::talk::{error_json, read};
use crate::error::{Result, exit};
use crate::id::AccountName;
use crate::pipeline;
use crate::publish::PublishedTable;
use crate::publish_format::PublishFormat;
use crate::text::say;
use crate::units::plural;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lake: LakeArgs,
    /// Make tables of this format where they do not stand yet: `delta` or `iceberg`; tables of the other that stand
    /// are published, too [default: what the file or `WDT_PUBLISH` says, else what is published already, else
    /// delta].
    #[arg(long, value_name = "FORMAT", value_parser = read::<PublishFormat>, value_delimiter = ',')]
    format: Vec<PublishFormat>,
    /// The store knows no conditional put: then nothing can be published.
    #[arg(long)]
    single_writer: bool,
}

/// What came of an account.
type Outcome = (AccountName, Result<Vec<PublishedTable>>);

pub(super) async fn run(args: &Args) -> Result<u8> {
    let opened = args.lake.open_to_change()?;
    let accounts = opened.accounts().await?;
    let store = opened.store.written_by(writers(args.single_writer));
    let formats = if args.format.is_empty() { args.lake.publish()? } else { args.format.clone() };
    let outcomes = Box::pin(pipeline::publish_all(&store, &accounts, &formats)).await?;
    let failed = || outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
    let code = exit::combine(failed().map(|error| error.kind().exit_code()));
    args.lake.output.print(|| to_json(&outcomes, code), || to_text(&outcomes));
    failed().for_each(super::print_error);
    Ok(code)
}

fn to_json(outcomes: &[Outcome], code: u8) -> Value {
    let accounts = outcomes.iter().map(|(account, outcome)| {
        json!({
            "account": account,
            "published": outcome.as_ref().map_or(Value::Null, |published| published_json(published)),
            "error": outcome.as_ref().err().map(error_json),
        })
    });
    json!({"command": "publish", "accounts": accounts.collect::<Vec<_>>(), "exit_code": code})
}

fn to_text(outcomes: &[Outcome]) -> String {
    let mut lines = Vec::new();
    for (account, outcome) in outcomes {
        match outcome {
            Ok(published) if published.is_empty() => lines.push(say!("{account}: nothing to publish yet", account)),
            Ok(published) => {
                for format in PublishFormat::ALL {
                    let of_format: Vec<_> = published.iter().filter(|table| table.format == format).collect();
                    if !of_format.is_empty() {
                        lines.push(say!("{account}: published as {format}", account, format = format.title()));
                    }
                    lines.extend(of_format.into_iter().map(line));
                }
            }
            Err(_) => lines.push(say!("{account}: not published", account)),
        }
    }
    if lines.is_empty() { say!("the lake is empty") } else { lines.join("\n") }
}

fn line(PublishedTable { table, version, number, created, .. }: &PublishedTable) -> String {
    let (table, new) = (table.name(), plural(*created, "version"));
    say!(
        "  {table}version {version}, manifest {number}, {new} new",
        table = format!("{table:<23}"),
        version,
        number,
        new
    )
}
