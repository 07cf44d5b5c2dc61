//! `wdt-lake replay`: rebuild a lake without the ERP, from pages that were kept.

use std::sync::Arc;

use serde_json::{Value, json};

use super::render;
use super::sync::{size, writers};
use crate::edition::Edition;
use crate::error::Result;
use crate::id::AccountName;
use crate::land::{Access, LeaseWait, Store};
use crate::pipeline::{self, PageFiles, ReplayOptions, ReplayReport};
use crate::time::SystemClock;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Answers that were saved as files, one page a file: a folder of *.json (also .json.gz, .json.zst), or a pattern such as 'pages/page_*.json'.
    /// A version that stands on several pages lands once, from the file whose name comes last.
    #[arg(long, value_name = "DIR|GLOB")]
    pages: String,
    /// The account's name in the lake.
    #[arg(long, value_name = "NAME")]
    account: AccountName,
    /// The edition that gave the answers: enterprise, y or flagship.
    #[arg(long, value_name = "EDITION")]
    edition: Edition,
    /// The lake to make, of its own: a folder or `s3://bucket/prefix`. What an earlier replay of pages put there is replaced.
    #[arg(long, value_name = "URI")]
    lake: String,
    /// Wait for another run on the same account instead of stopping with exit code 6.
    #[arg(long)]
    wait: bool,
    /// The store knows no conditional put (Alibaba OSS), and no other run writes this lake at the same time.
    #[arg(long)]
    single_writer: bool,
    /// The memory that the run may take, the program itself included. More makes fewer and larger files.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    max_memory: u64,
    /// Print the summary as one line with one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let options =
        ReplayOptions { max_memory: args.max_memory, wait: if args.wait { LeaseWait::Yes } else { LeaseWait::No } };
    // What is wrong with the pages is said before the folder of a new lake is made.
    let files = pipeline::find_pages(&args.pages)?;
    let store = Store::open(&args.lake, Access::Write)?.written_by(writers(args.single_writer));
    let pages = PageFiles { account: args.account.clone(), edition: args.edition, files };
    let report = pipeline::replay_pages(pages, store, &options, Arc::new(SystemClock)).await?;
    report.warnings.iter().for_each(|warning| super::print_warning(warning));
    let code = report.exit_code();
    let (account, report) = (&args.account, &report);
    super::print(&if args.json { to_json(account, report).to_string() } else { to_text(account, report) });
    Ok(code)
}

fn to_json(account: &AccountName, report: &ReplayReport) -> Value {
    json!({
        "command": "replay",
        "account": account,
        "run": report.run,
        "pages": report.pages,
        "json_bytes": report.json_bytes,
        "commits": report.commits,
        "replaced": report.replaced,
        "rows": {"purchase_apply": report.headers, "purchase_apply_detail": report.details, "quarantined": report.quarantined},
        "duplicates": report.duplicates,
        "files": report.files,
        "parquet_bytes": report.bytes,
        "wall_s": (report.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
        "exit_code": report.exit_code(),
    })
}

fn to_text(account: &AccountName, report: &ReplayReport) -> String {
    let seconds = report.elapsed.as_secs_f64();
    let mut lines = vec![
        format!("{account}: {}, {}", render::count(report.pages, "page"), render::bytes(report.json_bytes)),
        format!("  purchase_apply         {:>14} rows", render::thousands(report.headers)),
        format!("  purchase_apply_detail  {:>14} rows", render::thousands(report.details)),
        format!("  {}, {}, {seconds:.2} s", render::count(report.files, "file"), render::bytes(report.bytes)),
    ];
    if report.duplicates > 0 {
        lines.push(format!("  {} met again on an earlier page", render::count(report.duplicates, "version")));
    }
    if report.replaced > 0 {
        lines.push(format!("  {} of an earlier replay replaced", render::count(report.replaced, "commit")));
    }
    if report.quarantined > 0 {
        lines.push(format!(
            "  {} quarantined: see _quarantine/ in the lake",
            render::count(report.quarantined, "record")
        ));
    }
    lines.join("\n")
}
