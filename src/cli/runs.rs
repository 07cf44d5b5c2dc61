//! `wdt-lake runs`: the runs that committed, from the log.

use std::num::NonZeroUsize;

use serde_json::{Value, json};

use super::lake::{ByAccount, LakeArgs};
use crate::error::Result;
use crate::id::AccountName;
use crate::log::{CommitKind, Lake, Table};
use crate::pipeline::{PastRun, RunEnd, runs};
use crate::text::say;
use crate::time::{Clock as _, SystemClock};
use crate::units::{plural, thousands};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lake: LakeArgs,
    /// How many runs to list.
    #[arg(long, default_value_t = DEFAULT_LIMIT, value_name = "NUMBER")]
    limit: NonZeroUsize,
}

const DEFAULT_LIMIT: NonZeroUsize = NonZeroUsize::new(20).unwrap();

pub(super) async fn run(args: &Args) -> Result<u8> {
    let lake = args.lake.open()?;
    let one = async |account: &AccountName| {
        let part = Lake::open(lake.store.clone(), account.clone()).await?;
        runs(&part, args.limit.get(), SystemClock.now()).await
    };
    let read = ByAccount::of(lake.accounts().await?, one).await;
    let code = read.exit_code([]);
    let mut found: Vec<&PastRun> = read.found.iter().flat_map(|(_, runs)| runs).collect();
    found.sort_by_key(|run| std::cmp::Reverse(run.last_at));
    found.truncate(args.limit.get());
    let to_json = || {
        let runs: Vec<Value> = found.iter().copied().map(to_json).collect();
        let failed: Vec<Value> = read.failed_json().collect();
        json!({"command": "runs", "lake": lake.store.root(), "runs": runs, "failed": failed, "exit_code": code})
    };
    let to_text = || match &*found {
        [] if read.failed.is_empty() => say!("no run has committed yet"),
        found => found.iter().copied().map(to_text).collect::<Vec<_>>().join("\n\n"),
    };
    args.lake.output.print(to_json, to_text);
    read.print_failed();
    Ok(code)
}

fn rows(run: &PastRun, table: Table) -> u64 {
    run.rows.get(&table).copied().unwrap_or(0)
}

fn to_json(run: &PastRun) -> Value {
    let ended_at = match run.end {
        RunEnd::At(ended_at) => Some(ended_at),
        RunEnd::AtWork | RunEnd::Unknown => None,
    };
    json!({
        "run": run.run,
        "account": run.account,
        "kinds": run.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        "range": run.range().map(|range| json!({"start": range.start(), "end": range.end()})),
        "rows": {
            "purchase_apply": rows(run, Table::PurchaseApply),
            "purchase_apply_detail": rows(run, Table::PurchaseApplyDetail),
            "stop_reference": rows(run, Table::StopReference),
            "quarantined": run.quarantined,
        },
        "calls": run.calls,
        "manifests": run.manifests,
        "first_commit_at": run.first_at,
        "last_commit_at": run.last_at,
        "ended_at": ended_at,
        "at_work": run.end == RunEnd::AtWork,
    })
}

fn to_text(run: &PastRun) -> String {
    let kinds: Vec<&str> = run.kinds.iter().copied().map(CommitKind::name).collect();
    let mut lines = vec![format!("{} {}: {}", run.run, run.account, kinds.join(&say!(", ")))];
    lines.extend(run.range().map(|range| say!("  range       {range}", range)));
    let mut landed = vec![
        say!("{headers} purchase_apply", headers = thousands(rows(run, Table::PurchaseApply))),
        say!("{details} purchase_apply_detail", details = thousands(rows(run, Table::PurchaseApplyDetail))),
    ];
    let stops = rows(run, Table::StopReference);
    landed.extend((stops > 0).then(|| say!("{stops} stop_reference", stops = thousands(stops))));
    landed.extend((run.quarantined > 0).then(|| say!("{records} quarantined", records = thousands(run.quarantined))));
    lines.push(say!("  rows        {landed}", landed = landed.join(&say!(", "))));
    lines.push(say!("  calls       {calls}", calls = thousands(run.calls)));
    let manifests = plural(run.manifests, "manifest");
    lines.push(say!(
        "  committed   {manifests}, begun from {first_at} to {last_at}",
        manifests,
        first_at = run.first_at,
        last_at = run.last_at
    ));
    lines.push(match run.end {
        RunEnd::At(ended_at) => say!("  ended       {ended_at}", ended_at),
        RunEnd::AtWork => say!("  ended       not yet: it is at work"),
        RunEnd::Unknown => say!("  ended       not known"),
    });
    lines.join("\n")
}
