//! `wdt-lake compact`: put the small commits of a lake together now.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::lake::{ByAccount, LakeArgs, Wait};
use super::render;
use super::signals;
use super::sync::{CompressionArgs, TargetFileSize, writers};
use super::sync_summary::{compacted_json, compacted_text, print_interrupted};
use crate::error::{Result, exit};
use crate::id::AccountName;
use crate::log::Lake;
use crate::pipeline::{self, CompactOptions, Compacted, CompactionPolicy, CompactionStep, Interrupt};
use crate::store::Store;
use crate::text::say;
use crate::time::{Clock as _, SystemClock};
use crate::units::{plural, size, span};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lake: LakeArgs,
    /// Show what would be put together, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: TargetFileSize,
    #[command(flatten)]
    compression: CompressionArgs,
    /// Keep the files of what is put together for so long, for readers that have listed them. A bare glob counts their
    /// rows twice meanwhile; the views do not [default: WDT_KEEP_REMOVED, else what the file says, else 0s, or 7d
    /// where it says to publish].
    #[arg(long, value_name = "DURATION", value_parser = span)]
    keep_removed: Option<Duration>,
    #[command(flatten)]
    wait: Wait,
    /// The store knows no conditional put, and no other run writes this lake at the same time.
    #[arg(long)]
    single_writer: bool,
    /// The memory that the run may take, the program itself included. What is above it waits on disk, in TMPDIR.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    max_memory: u64,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let opened = if args.dry_run { args.lake.open()? } else { args.lake.open_to_change()? };
    let accounts = opened.accounts().await?;
    if args.dry_run {
        return show(args, opened.store, accounts).await;
    }
    let store = opened.store.written_by(writers(args.single_writer));
    let interrupt = signals::listen()?;
    let done = ByAccount::of(accounts, async |name| compact(args, &store, name, &interrupt).await).await;
    let is_interrupted = interrupt.is_asked();
    let code = done.exit_code(is_interrupted.then_some(exit::INCOMPLETE));
    args.lake.output.print(|| to_json(&done, code), || to_text(&done.found, is_interrupted));
    done.print_failed();
    if is_interrupted {
        print_interrupted();
    }
    Ok(code)
}

async fn compact(args: &Args, store: &Store, account: &AccountName, interrupt: &Interrupt) -> Result<Compacted> {
    let lake = Lake::open(store.clone(), account.clone()).await?;
    let keep_removed = match args.keep_removed {
        Some(kept) => kept,
        None => args.lake.keep_removed(account)?,
    };
    let options = CompactOptions {
        keep_removed,
        max_memory: args.max_memory,
        target_file_bytes: args.target.target_file_size,
        compression: args.compression.get(),
        wait: args.wait.get(),
    };
    pipeline::compact_account(&lake, store.clone(), &options, Arc::new(SystemClock), interrupt).await
}

fn to_json(done: &ByAccount<Compacted>, code: u8) -> Value {
    let accounts = done.found.iter().map(|(account, compacted)| {
        let mut told = compacted_json(compacted);
        told["account"] = account.as_str().into();
        told
    });
    let accounts = accounts.chain(done.failed_json());
    json!({"command": "compact", "accounts": accounts.collect::<Vec<_>>(), "exit_code": code})
}

fn to_text(done: &[(AccountName, Compacted)], is_interrupted: bool) -> String {
    let lines = done.iter().map(|(account, compacted)| match compacted_text(compacted) {
        None if is_interrupted || compacted.left > 0 => say!("{account}: nothing was put together", account),
        None => say!("{account}: nothing is worth to be put together", account),
        Some(what) => format!("{account}\n{what}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Prints the steps that would be done.
async fn show(args: &Args, store: Store, accounts: Vec<AccountName>) -> Result<u8> {
    let policy = CompactionPolicy::new(SystemClock.now(), None, args.target.target_file_size);
    let mut planned = Vec::new();
    for account in accounts {
        let lake = Lake::open(store.clone(), account.clone()).await?;
        planned.push((account, pipeline::steps(lake.state(), policy)));
    }
    let to_json = || {
        let accounts = planned.iter().map(
            |(account, steps)| json!({"account": account, "steps": steps.iter().map(step_json).collect::<Vec<_>>()}),
        );
        json!({"command": "compact", "dry_run": true, "accounts": accounts.collect::<Vec<_>>()})
    };
    let to_text = || {
        let of_account = planned.iter().map(|(account, steps)| {
            let head = say!("{account}: {steps} would be done", account, steps = plural(steps.len() as u64, "step"));
            std::iter::once(head).chain(steps.iter().map(step_text)).collect::<Vec<_>>().join("\n")
        });
        of_account.collect::<Vec<_>>().join("\n")
    };
    args.lake.output.print(to_json, to_text);
    Ok(exit::DONE)
}

fn step_json(step: &CompactionStep) -> Value {
    json!({
        "window": step.window.map(|window| json!({"start": window.start(), "end": window.end()})),
        "commits": step.inputs.len(),
        "files": step.files,
        "bytes": step.bytes,
    })
}

fn step_text(step: &CompactionStep) -> String {
    let of = step.window.map_or_else(|| say!("stops"), |window| window.to_string());
    let (commits, files) = (plural(step.inputs.len() as u64, "commit"), plural(step.files, "file"));
    say!("  {of}: {commits}, {files}, {bytes}", of, commits, files, bytes = render::bytes(step.bytes))
}
