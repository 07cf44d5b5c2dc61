//! `wdt-lake replay`: rebuild a lake without the ERP, from raw responses.

use std::sync::Arc;

use serde_json::{Value, json};

use super::lake::Wait;
use super::render;
use super::sync::{CompressionArgs, writers};
use super::talk::error_json;
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result, exit};
use crate::id::AccountName;
use crate::log::Lake;
use crate::pipeline::{self, PageFiles, ReplayOptions, ReplayReport};
use crate::store::{Access, Store};
use crate::text::say;
use crate::time::SystemClock;
use crate::units::{plural, size, thousands};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(super) struct Args {
    /// A lake that was made by `sync --keep-raw`: its windows are rebuilt, each with its proof.
    #[arg(long, value_name = "URI", group = "source", conflicts_with = "edition")]
    from_raw: Option<String>,
    /// Answers that were saved as files, one page a file: a folder of *.json (also .json.gz, .json.zst), or a pattern
    /// such as 'pages/page_*.json'. A version that stands on several pages lands once, from the file whose name
    /// comes last.
    #[arg(long, value_name = "DIR|GLOB", group = "source", requires_all = ["account", "edition"])]
    pages: Option<String>,
    /// The account's name in the lake; with `--from-raw` only this account.
    #[arg(long, value_name = "NAME", value_parser = super::talk::read::<AccountName>)]
    account: Option<AccountName>,
    /// The edition that gave the page files: enterprise, y or flagship.
    #[arg(long, value_name = "EDITION")]
    edition: Option<Edition>,
    /// The lake to make: a folder or `s3://bucket/prefix`. Page files need one of their own, where they take the place
    /// of those replayed before.
    #[arg(long, value_name = "URI")]
    lake: String,
    #[command(flatten)]
    wait: Wait,
    /// The store knows no conditional put, and no other run writes this lake at the same time.
    #[arg(long)]
    single_writer: bool,
    /// The memory that the run may take, the program itself included. More makes fewer and larger files of page files.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    max_memory: u64,
    #[command(flatten)]
    compression: CompressionArgs,
    /// Print the summary as one line with one JSON object.
    #[arg(long)]
    json: bool,
}

impl Args {
    fn options(&self) -> ReplayOptions {
        ReplayOptions { max_memory: self.max_memory, compression: self.compression.get(), wait: self.wait.get() }
    }

    fn open(&self) -> Result<Store> {
        Ok(Store::open(&self.lake, Access::Write)?.written_by(writers(self.single_writer)))
    }
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let options = args.options();
    let reports = match (&args.pages, &args.from_raw, &args.account, args.edition) {
        (Some(pages), _, Some(account), Some(edition)) => {
            // What is wrong with the pages is said before the folder of a new lake is made.
            let pages = PageFiles { account: account.clone(), edition, files: pipeline::find_pages(pages)? };
            let report = pipeline::replay_pages(pages, args.open()?, &options, Arc::new(SystemClock));
            vec![(account.clone(), Box::pin(report).await.map_err(|error| error.with("account", account))?)]
        }
        (_, Some(from), account, _) => from_raw(args, from, account.as_ref()).await?,
        _ => return Err(Error::new(ErrorClass::ArgumentWrong, "neither page files nor a lake to replay from")),
    };
    let code = exit::combine(reports.iter().map(|(_, report)| report.exit_code()));
    for (_, report) in &reports {
        report.warnings.iter().for_each(super::print_warning);
    }
    super::print(&if args.json {
        let accounts: Vec<Value> = reports.iter().map(|(account, report)| to_json(account, report)).collect();
        json!({"command": "replay", "accounts": accounts, "exit_code": code}).to_string()
    } else {
        reports.iter().map(|(account, report)| to_text(account, report)).collect::<Vec<_>>().join("\n\n")
    });
    for gap in reports.iter().flat_map(|(_, report)| &report.gaps) {
        super::print_error(&gap.error);
    }
    Ok(code)
}

/// Rebuilds the accounts of a lake that have raw responses, or the one that is wanted.
async fn from_raw(args: &Args, from: &str, wanted: Option<&AccountName>) -> Result<Vec<(AccountName, ReplayReport)>> {
    let old = Store::open(from, Access::Read)?;
    let present = Lake::accounts(&old).await?;
    let accounts: Vec<AccountName> =
        present.into_iter().filter(|account| wanted.is_none_or(|wanted| wanted == account)).collect();
    if accounts.is_empty() {
        return Err(Error::new(ErrorClass::AccountNotInLake, "the lake to replay from has no such account")
            .with("lake", old.root()));
    }
    let (new, options) = (args.open()?, args.options());
    if new.root() == old.root() {
        return Err(Error::new(ErrorClass::ArgumentsConflict, "a lake cannot be replayed into itself")
            .hint("name another place with --lake"));
    }
    let mut reports = Vec::new();
    for account in accounts {
        let lake = Lake::open(old.clone(), account.clone()).await?;
        let report = pipeline::replay_lake(&lake, new.clone(), &options, Arc::new(SystemClock));
        let report = Box::pin(report).await.map_err(|error| error.with("account", &account))?;
        reports.push((account, report));
    }
    Ok(reports)
}

fn to_json(account: &AccountName, report: &ReplayReport) -> Value {
    json!({
        "account": account,
        "run": report.run,
        "pages": report.pages,
        "json_bytes": report.json_bytes,
        "commits": report.commits,
        "replaced": report.replaced,
        "rows": {"purchase_apply": report.tally.headers, "purchase_apply_detail": report.tally.details, "quarantined": report.tally.quarantined},
        "unreadable_times": report.unreadable_times,
        "duplicates": report.duplicates,
        "files": report.tally.files,
        "parquet_bytes": report.tally.bytes,
        "gaps": report.gaps.iter().map(|gap| json!({
            "window": {"start": gap.window.start(), "end": gap.window.end()},
            "error": error_json(&gap.error),
        })).collect::<Vec<_>>(),
        "wall_s": (report.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
        "exit_code": report.exit_code(),
    })
}

fn to_text(account: &AccountName, report: &ReplayReport) -> String {
    let seconds = report.elapsed.as_secs_f64();
    let mut lines = vec![
        say!(
            "{account}: {pages}, {json_bytes} in {commits}",
            account,
            pages = plural(report.pages, "page"),
            json_bytes = render::bytes(report.json_bytes),
            commits = plural(report.commits, "commit")
        ),
        say!("  purchase_apply         {headers} rows", headers = format!("{:>14}", thousands(report.tally.headers))),
        say!("  purchase_apply_detail  {details} rows", details = format!("{:>14}", thousands(report.tally.details))),
        say!(
            "  {files}, {bytes}, {seconds} s",
            files = plural(report.tally.files, "file"),
            bytes = render::bytes(report.tally.bytes),
            seconds = format!("{seconds:.2}")
        ),
    ];
    if report.duplicates > 0 {
        lines.push(say!("  {versions} met again on an earlier page", versions = plural(report.duplicates, "version")));
    }
    if report.replaced > 0 {
        lines.push(say!("  {commits} of an earlier replay replaced", commits = plural(report.replaced, "commit")));
    }
    if report.tally.quarantined > 0 {
        lines.push(say!(
            "  {records} quarantined: see _quarantine/ in the lake",
            records = plural(report.tally.quarantined, "record")
        ));
    }
    lines.extend(render::unreadable_times(report.unreadable_times));
    if !report.gaps.is_empty() {
        lines.push(say!("  {windows} not rebuilt", windows = plural(report.gaps.len() as u64, "window")));
    }
    lines.join("\n")
}
