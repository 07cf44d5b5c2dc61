//! `wdt-lake sync`: bring a lake up to date with the ERP.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::render;
use crate::config::{AccountSettings, env};
use crate::edition::Edition;
use crate::error::{Error, Result};
use crate::extract::budget::Limits;
use crate::gateway::{CallPolicy, RefusalRule};
use crate::id::AccountName;
use crate::land::{Access, LeaseWait, Store, Writers};
use crate::pipeline::{self, Again, KeepRaw, SyncOptions, SyncReport};
use crate::time::{Clock as _, Coverage, DateMeans, SystemClock, parse_user_time};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    range: RangeArgs,
    /// Quarantined records in one window above which it is not committed; default the larger of 1% and 10.
    #[arg(long, value_name = "RECORDS")]
    max_quarantine: Option<u64>,
    /// Walk the newest so much of the coverage again: for an ERP that writes into the past. Off by default.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    lookback: Option<Duration>,
    /// Walk the windows again that hold quarantined records.
    #[arg(long)]
    refresh_quarantined: bool,
    /// Wait for another run on the same account instead of stopping with exit code 6.
    #[arg(long)]
    wait: bool,
    /// The store knows no conditional put (Alibaba OSS), and no other run writes this lake at the same time.
    #[arg(long)]
    single_writer: bool,
    /// The memory that the run may take, the program itself included. Pages above it wait on disk, in TMPDIR.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    max_memory: u64,
    /// Keep every answer under `_raw/` in the lake, so that `replay` can rebuild it without the ERP.
    #[arg(long)]
    keep_raw: bool,
    #[command(flatten)]
    calls: CallArgs,
    /// Print the summary as one line with one JSON object.
    #[arg(long)]
    json: bool,
}

/// Which lake, and what of the ERP it should cover; shared by `sync` and `plan`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RangeArgs {
    /// Where the lake is: a folder or `s3://bucket/prefix`.
    #[arg(long, value_name = "URI")]
    pub(super) lake: String,
    /// First modified time wanted: a date or a time in Beijing. Required on an empty lake; afterwards its start is the default.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Last modified second wanted; a date means its last second. Never later than the server's clock less the lag.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// How far behind the server's clock to stay, so that nothing enters a window that was walked.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    lag: Duration,
    /// Requisitions a page, 1 to 100.
    #[arg(long, value_name = "ROWS", default_value = "100")]
    page_size: NonZeroU32,
}

impl RangeArgs {
    /// `options` with what the user typed.
    pub(super) fn apply(&self, options: SyncOptions) -> Result<SyncOptions> {
        Ok(SyncOptions {
            from: self.from.as_deref().map(|text| parse_user_time(text, DateMeans::FirstSecond)).transpose()?,
            to: self.to.as_deref().map(|text| parse_user_time(text, DateMeans::LastSecond)).transpose()?,
            lag: self.lag,
            page_size: pipeline::check_page_size(self.page_size)?,
            ..options
        })
    }
}

/// How the gateway may be called; shared by the commands that call it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CallArgs {
    /// Calls within any sixty seconds; 0 for no budget.
    #[arg(long, value_name = "CALLS", default_value_t = 60, help_heading = "Calls")]
    calls_per_minute: u32,
    /// Calls under way at once.
    #[arg(long, value_name = "CALLS", default_value = "4", help_heading = "Calls")]
    concurrency: NonZeroU32,
    /// The longest that one try of a call may take.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration, help_heading = "Calls")]
    timeout: Duration,
    /// How long a failing call is tried again [default: 10m; 10s for `check`].
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Calls")]
    max_retry_time: Option<Duration>,
}

impl CallArgs {
    /// The policy, with the user's rules for refusals from the environment.
    pub(super) fn policy(&self) -> Result<CallPolicy> {
        self.policy_trying(CallPolicy::default().max_retry_time)
    }

    /// The policy of a command that tries so long unless told otherwise.
    pub(super) fn policy_trying(&self, max_retry_time: Duration) -> Result<CallPolicy> {
        let rules = std::env::var(env::REFUSALS).unwrap_or_default();
        Ok(CallPolicy {
            calls_per_minute: self.calls_per_minute,
            concurrency: self.concurrency.get(),
            timeout: self.timeout,
            max_retry_time: self.max_retry_time.unwrap_or(max_retry_time),
            refusals: RefusalRule::parse_list(&rules).map_err(|error| error.with("variable", env::REFUSALS))?,
            ..CallPolicy::default()
        })
    }
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let account = super::account_from_env()?;
    let calls = args.calls.policy()?;
    let options = args.range.apply(SyncOptions {
        limits: Limits { concurrency: calls.concurrency, ..Limits::default() },
        calls,
        max_quarantine: args.max_quarantine,
        lookback: args.lookback,
        again: if args.refresh_quarantined { Again::Quarantined } else { Again::None },
        max_memory: args.max_memory,
        raw: if args.keep_raw { KeepRaw::Yes } else { KeepRaw::No },
        wait: if args.wait { LeaseWait::Yes } else { LeaseWait::No },
        ..SyncOptions::default()
    })?;
    // What is wrong with the range is said before the folder of a new lake is made.
    let lake_is_new = Store::find(&args.range.lake)?.is_none();
    if lake_is_new || options.from.is_some() {
        options.range().resolve(&Coverage::default(), None, SystemClock.now())?;
    }
    let store = Store::open(&args.range.lake, Access::Write)?.written_by(writers(args.single_writer));
    let progress = super::progress::Line::new();
    let report =
        pipeline::sync(&account, store, &options, Arc::new(SystemClock), interrupted(), &|step| progress.show(step))
            .await;
    progress.clear();
    let report = report.map_err(|error| error.with("account", &account.name))?;
    print_report(&account, &report, args.json);
    Ok(report.exit_code())
}

/// How many may write, as the flag says.
pub(super) fn writers(single_writer: bool) -> Writers {
    if single_writer { Writers::Single } else { Writers::Many }
}

/// Prints what a run did: data to standard output, warnings, gaps and errors to standard error.
pub(super) fn print_report(account: &AccountSettings, report: &SyncReport, as_json: bool) {
    report.warnings.iter().for_each(|warning| super::print_warning(warning));
    super::print(&if as_json { to_json(&account.name, report).to_string() } else { to_text(account, report) });
    for gap in &report.gaps {
        super::print_error(&gap.error);
    }
    if let Some(error) = &report.stopped {
        super::print_error(error);
    }
    if report.interrupted {
        super::print_error(
            &Error::new(crate::ErrorKind::Incomplete, "interrupted").hint("run again: what is committed stays"),
        );
    }
}

fn to_json(account: &AccountName, report: &SyncReport) -> Value {
    let window = |window: crate::time::Window| json!({"start": window.start(), "end": window.end()});
    let error = |error: &Error| json!({"message": error.to_string(), "hint": error.hint_text(), "exit_code": error.kind().exit_code()});
    json!({
        "command": "sync",
        "account": account,
        "run": report.run,
        "range": report.range.map(window),
        "windows": report.windows,
        "refreshed": report.refreshed,
        "rows": {"purchase_apply": report.headers, "purchase_apply_detail": report.details, "quarantined": report.quarantined},
        "real_num": render::decimal(report.real_num_scaled),
        "calls": report.calls,
        "files": report.files,
        "parquet_bytes": report.bytes,
        "gaps": report.gaps.iter().map(|gap| json!({"window": window(gap.window), "error": error(&gap.error)})).collect::<Vec<_>>(),
        "error": report.stopped.as_ref().map(error),
        "interrupted": report.interrupted,
        "wall_s": (report.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
        "exit_code": report.exit_code(),
    })
}

fn to_text(account: &AccountSettings, report: &SyncReport) -> String {
    let (account, edition) = (&account.name, account.edition);
    let Some(range) = report.range else {
        return format!("{account}: nothing to do yet: the range ends before it starts, less the lag");
    };
    let is_idle = report.calls == 0 && report.stopped.is_none() && report.gaps.is_empty();
    if is_idle {
        return format!("{account}: {range} (Beijing time) is covered already: no call was made");
    }
    let sum = format!(", real_num sums to {}", render::decimal(report.real_num_scaled));
    let (of_headers, of_details) = match edition {
        Edition::Enterprise | Edition::Y => (&*sum, ""),
        // Its headers carry no quantities.
        Edition::Flagship => ("", &*sum),
    };
    let mut lines = vec![
        format!("{account}: {range} (Beijing time)"),
        format!("  purchase_apply         {:>14} rows{of_headers}", render::thousands(report.headers)),
        format!("  purchase_apply_detail  {:>14} rows{of_details}", render::thousands(report.details)),
        format!(
            "  {} in {}, {}, {}, {:.2} s",
            render::count(report.windows, "window"),
            render::count(report.calls, "call"),
            render::count(report.files, "file"),
            render::bytes(report.bytes),
            report.elapsed.as_secs_f64()
        ),
    ];
    if report.refreshed > 0 {
        lines.push(format!(
            "  {} walked again, rows that left the ERP's windows carried over",
            render::count(report.refreshed, "window")
        ));
    }
    if report.quarantined > 0 {
        lines.push(format!(
            "  {} quarantined: see _quarantine/ in the lake",
            render::count(report.quarantined, "record")
        ));
    }
    if !report.gaps.is_empty() {
        lines.push(format!(
            "  {} not committed; they are walked again by the next run",
            render::count(report.gaps.len() as u64, "window")
        ));
    }
    lines.join("\n")
}

/// Completes when the process is asked to end. It listens from this call on, so that nothing is lost that comes before it is awaited.
#[cfg(unix)]
pub(super) fn interrupted() -> impl Future<Output = ()> {
    use tokio::signal::unix::{Signal, SignalKind, signal};

    async fn arrival(signal: std::io::Result<Signal>) {
        match signal {
            Ok(mut signal) => _ = signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    }
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async {
        tokio::select! { () = arrival(interrupt) => {}, () = arrival(terminate) => {} }
    }
}

/// Completes when the process is asked to end.
#[cfg(not(unix))]
pub(super) async fn interrupted() {
    let _ = tokio::signal::ctrl_c().await;
}

/// Reads `90s`, `5m`, `2h`, `1d` or whole seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let units = [("", 1), ("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    in_units(text, &units, "90s, 5m, 2h or 1d").map(Duration::from_secs)
}

/// Reads `512MiB`, `1GiB` or whole bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let units = [("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    in_units(text, &units, "512MiB or 1GiB")
}

/// Reads a whole number and one of `units`, directly behind it.
fn in_units(text: &str, units: &[(&str, u64)], examples: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).len());
    let number: u64 = digits.parse().map_err(|_| format!("write a whole number and its unit: {examples}"))?;
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let factor = factor.ok_or_else(|| format!("`{unit}` is no unit: write {examples}"))?;
    number.checked_mul(factor).ok_or_else(|| "that is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        for bad in ["", "m", "5 m", "-5m", "1w", "1.5h", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1048576"), Ok(1 << 20));
        for bad in ["", "MiB", "64MB", "64 MiB", "1.5GiB", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
