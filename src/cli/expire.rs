//! `wdt-lake expire`: remove whole months from a lake.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::lake::{ByAccount, LakeArgs, Wait};
use super::render;
use super::sync::{CompressionArgs, writers};
use crate::error::Result;
use crate::id::AccountName;
use crate::log::Lake;
use crate::pipeline::{self, ExpireOptions, ExpireReport, Expired, OpenRequisitions};
use crate::store::Store;
use crate::text::{pad, pad_left, say};
use crate::time::{BeijingTime, Clock as _, Month, SystemClock};
use crate::units::{plural, size, span, thousands};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lake: LakeArgs,
    /// The first month that stays: everything that was modified before it, in Beijing, goes. It must be over.
    #[arg(long, value_name = "YYYY-MM", value_parser = month)]
    before: Month,
    /// Remove requisitions that are still open, too; else the latest version of each stays.
    #[arg(long)]
    drop_open: bool,
    /// Do it; else it is only said what would be done.
    #[arg(long)]
    yes: bool,
    /// Keep the files of what is removed for so long, for readers that have listed them. Until they are gone a glob,
    /// and so the views, may show a closed requisition as open [default: WDT_KEEP_REMOVED, else what the file
    /// says, else 0s, or 7d where it says to publish].
    #[arg(long, value_name = "DURATION", value_parser = span)]
    keep_removed: Option<Duration>,
    #[command(flatten)]
    wait: Wait,
    /// The store knows no conditional put, and no other run writes this lake at the same time.
    #[arg(long)]
    single_writer: bool,
    /// The memory that the run may take, the program itself included.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    max_memory: u64,
    #[command(flatten)]
    compression: CompressionArgs,
}

fn month(text: &str) -> Result<Month, String> {
    Month::parse(text.trim()).ok_or_else(|| "a month is written YYYY-MM, for example 2023-01".to_owned())
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let cutoff = pipeline::check_cutoff(args.before, SystemClock.now())?;
    let opened = args.lake.open()?;
    // What was removed cannot be taken back: whatever stops one account, it is told what was done to the others.
    let done = ByAccount::of(opened.accounts().await?, async |name| one(args, cutoff, &opened.store, name).await).await;
    let code = done.exit_code([]);
    args.lake.output.print(
        || to_json(args, cutoff, &done, code),
        || if done.is_empty() { say!("the lake is empty") } else { to_text(args, &done.found) },
    );
    done.print_failed();
    Ok(code)
}

async fn one(args: &Args, cutoff: BeijingTime, store: &Store, account: &AccountName) -> Result<ExpireReport> {
    let lake = &Lake::open(store.clone(), account.clone()).await?;
    let keep_removed = match args.keep_removed {
        Some(kept) => kept,
        None => args.lake.keep_removed(lake.account())?,
    };
    let options = ExpireOptions {
        cutoff,
        open: if args.drop_open { OpenRequisitions::Drop } else { OpenRequisitions::Keep },
        keep_removed,
        wait: args.wait.get(),
        max_memory: args.max_memory,
        compression: args.compression.get(),
    };
    if !args.yes {
        return pipeline::preview(lake, &options).await;
    }
    let store = args.lake.open_to_write()?.written_by(writers(args.single_writer));
    pipeline::expire(lake, store, &options, Arc::new(SystemClock)).await
}

fn to_json(args: &Args, cutoff: BeijingTime, done: &ByAccount<ExpireReport>, code: u8) -> Value {
    let accounts = done.found.iter().map(|(account, report)| {
        let months = report.months.iter().map(|(month, expired)| {
            let mut told = counts(expired);
            told["month"] = month.to_string().into();
            told
        });
        json!({
            "account": account,
            "months": months.collect::<Vec<_>>(),
            "total": counts(&report.total()),
            "gaps": report.gaps.iter().map(|gap| json!({"start": gap.start(), "end": gap.end()})).collect::<Vec<_>>(),
            "rows_without_window": report.without_window,
            "done": report.manifest.is_some(),
            "manifest": report.manifest,
            "kept_until": report.kept_until,
        })
    });
    json!({
        "command": "expire",
        "before": cutoff,
        "drop_open": args.drop_open,
        "accounts": accounts.chain(done.failed_json()).collect::<Vec<_>>(),
        "exit_code": code,
    })
}

fn counts(expired: &Expired) -> Value {
    let Expired { headers, details, files, bytes, quarantined, responses, open } = expired;
    json!({
        "rows": {"purchase_apply": headers, "purchase_apply_detail": details, "quarantined": quarantined},
        "responses": responses,
        "files": files,
        "parquet_bytes": bytes,
        "open_kept": open,
    })
}

fn to_text(args: &Args, told: &[(AccountName, ExpireReport)]) -> String {
    let mut lines: Vec<String> = told.iter().map(|(account, report)| of_account(args, account, report)).collect();
    if !args.yes && told.iter().any(|(_, report)| !report.is_empty()) {
        lines.push(say!("nothing was removed: add --yes to do it"));
    }
    lines.join("\n")
}

fn of_account(args: &Args, account: &AccountName, report: &ExpireReport) -> String {
    let before = args.before;
    if report.is_empty() {
        return say!("{account}: there is nothing before {before} to remove", account, before);
    }
    let gaps = report.gaps.iter().map(ToString::to_string).collect::<Vec<_>>().join(&say!(", "));
    let gaps = (!gaps.is_empty()).then(|| {
        if args.yes {
            say!("  no run reads these gaps any more: {gaps}", gaps)
        } else {
            say!("  no run would read these gaps any more: {gaps}", gaps)
        }
    });
    if report.months.is_empty() {
        let head = say!("{account}: only gaps lie before {before}", account, before);
        return std::iter::once(head).chain(gaps).collect::<Vec<_>>().join("\n");
    }
    let mut lines = vec![if args.yes {
        say!("{account}: what was modified before {before} (Beijing time) was removed", account, before)
    } else {
        say!("{account}: what was modified before {before} (Beijing time) would be removed", account, before)
    }];
    lines.push(row(&[
        say!("month"),
        say!("requisitions"),
        say!("details"),
        say!("files"),
        say!("size"),
        say!("quarantined"),
        say!("open, kept"),
    ]));
    for (month, expired) in &report.months {
        lines.push(row(&cells(month.to_string(), expired)));
    }
    let total = report.total();
    lines.push(row(&cells(say!("all"), &total)));
    if total.quarantined > 0 || total.responses > 0 {
        let (records, responses) =
            (plural(total.quarantined, "quarantined record"), plural(total.responses, "raw response"));
        lines.push(say!("  {records} and {responses} of these months go with them", records, responses));
    }
    lines.extend(gaps);
    if report.without_window > 0 {
        let rows = plural(report.without_window, "row");
        lines.push(say!("  {rows} of page files that were replayed stay: they have no window", rows));
    }
    if let Some(until) = report.kept_until {
        lines.push(say!(
            "  the files are kept until {until}; until they are gone a glob may show closed requisitions as open",
            until
        ));
    }
    lines.join("\n")
}

fn cells(name: String, expired: &Expired) -> [String; 7] {
    let Expired { headers, details, files, bytes, quarantined, open, .. } = *expired;
    let [headers, details, files, quarantined, open] = [headers, details, files, quarantined, open].map(thousands);
    [name, headers, details, files, render::bytes(bytes), quarantined, open]
}

fn row([name, cells @ ..]: &[String; 7]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| pad_left(cell, 13)).collect();
    format!("  {}{}", pad(name, 7), cells.join(""))
}
