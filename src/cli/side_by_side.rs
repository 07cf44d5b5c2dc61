//! `wdt-lake sync` for the accounts of a file: all of them in one run, and one summary by account.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::metrics::AccountRun;
use super::progress;
use super::shard::Shard;
use super::signals;
use super::sync_summary::{account_json, print_interrupted, seconds, to_text};
use crate::edition::Edition;
use crate::error::{Result, exit};
use crate::id::AccountName;
use crate::pipeline::{self, SyncReport, SyncRequest, Tried};
use crate::store::Store;
use crate::text::{say, text};
use crate::time::SystemClock;

/// An account and what is to be done for it, or why nothing can be.
pub(super) struct Wanted {
    pub(super) name: AccountName,
    pub(super) edition: Edition,
    pub(super) order: Result<SyncRequest>,
}

/// How it is done.
pub(super) struct Asked {
    pub(super) most_at_once: usize,
    /// The shard that the accounts are of.
    pub(super) shard: Option<Shard>,
    pub(super) as_json: bool,
}

/// Runs what is wanted and tells of all of it; gives the exit code.
pub(super) async fn run(
    wanted: Vec<Wanted>,
    open: impl FnOnce() -> Result<Store>,
    asked: &Asked,
    runs: &mut Vec<AccountRun>,
) -> Result<u8> {
    let began = Instant::now();
    let names: Vec<AccountName> = wanted.iter().map(|wanted| wanted.name.clone()).collect();
    let orders: Vec<SyncRequest> = wanted.iter().filter_map(|wanted| wanted.order.as_ref().ok().cloned()).collect();
    let reports = if orders.is_empty() {
        // No lake is made for accounts of which none can be asked.
        Ok(Vec::new())
    } else {
        let meters: Vec<_> = orders.iter().map(|order| (order.account.name.clone(), order.meter.clone())).collect();
        match open().and_then(|store| Ok((store, signals::listen()?))) {
            Ok((store, interrupt)) => {
                let work = pipeline::sync_all(&orders, asked.most_at_once, &store, Arc::new(SystemClock), interrupt);
                progress::beside(meters, Box::pin(work)).await
            }
            Err(error) => Err(error),
        }
    };
    let reports = reports.inspect_err(|error| {
        runs.extend(names.iter().map(|name| AccountRun::failed(name, error)));
    });
    let mut reports = reports?.into_iter();
    let told: Vec<(AccountName, Edition, SyncReport)> = wanted
        .into_iter()
        .map(|Wanted { name, edition, order }| {
            let report = match order {
                Ok(_) => reports.next().unwrap_or_else(SyncReport::not_begun),
                Err(error) => SyncReport::not_begun().stopped_by(error),
            };
            (name, edition, report)
        })
        .collect();
    runs.extend(told.iter().map(|(name, _, report)| AccountRun::of(name, report)));
    let code = exit::combine(told.iter().map(|(_, _, report)| report.exit_code()));
    super::print(&if asked.as_json { to_json(&told, asked, began, code) } else { all_to_text(&told, asked) });
    let is_interrupted = told.iter().any(|(_, _, report)| report.interrupted);
    for (name, _, report) in told {
        print_talk(&name, report);
    }
    if is_interrupted {
        print_interrupted();
    }
    Ok(code)
}

/// One account after the other: a tree of all of them would take more memory than the run.
fn to_json(told: &[(AccountName, Edition, SyncReport)], asked: &Asked, began: Instant, code: u8) -> String {
    let accounts: Vec<String> = told.iter().map(|(name, _, report)| account_json(name, report).to_string()).collect();
    let shard = asked.shard.map(|shard| shard.to_string());
    let rest = json!({"command": "sync", "shard": shard, "wall_s": seconds(began.elapsed()), "exit_code": code});
    format!(r#"{{"accounts":[{}],{}"#, accounts.join(","), rest.to_string().trim_start_matches('{'))
}

fn all_to_text(told: &[(AccountName, Edition, SyncReport)], asked: &Asked) -> String {
    if let (Some(shard), true) = (asked.shard, told.is_empty()) {
        return say!("shard {shard} has none of the accounts: there is nothing to do", shard);
    }
    told.iter().map(|(name, edition, report)| to_text(name, *edition, report)).collect::<Vec<_>>().join("\n")
}

/// Warnings, gaps and errors, each with its account, to standard error.
fn print_talk(name: &AccountName, report: SyncReport) {
    report.warnings.iter().for_each(|warning| super::print_warning(&text!("{name}: {warning}", name, warning)));
    let tried = report.gaps.into_iter().filter(|gap| gap.tried == Tried::Yes);
    for error in tried.map(|gap| gap.error).chain(report.stopped).chain(report.unpublished) {
        super::print_error(&error.with("account", name));
    }
}
