//! `wdt-lake sync`: bring a lake up to date with the ERP.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use super::accounts::{AccountArgs, AccountSource, Chosen, LakeUri};
use super::lake::Wait;
use super::metrics::{AccountRun, MetricsFile, RunScope};
use super::progress;
use super::shard::Shard;
use super::side_by_side::{self, Asked, Wanted};
use super::signals;
use super::sync_summary::print_report;
use super::talk::read;
use super::until::TimeOfDay;
use crate::config::{AccountDefaults, keep_removed_when};
use crate::error::{Result, exit};
use crate::extract::budget::Limits;
use crate::gateway::{CallPolicy, ProxyUse, RefusalRule};
use crate::parquet::FileCompression;
use crate::pipeline::{self, Again, KeepRaw, Meter, SyncOptions, SyncReport, SyncRequest};
use crate::publish_format::PublishFormat;
use crate::store::{Access, Store, Writers};
use crate::time::{BeijingTime, Clock as _, Coverage, DateMeans, SystemClock, Window, parse_user_time};
use crate::units::{size, some_span, span};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// Quarantined records in one window above which it is not committed; default the larger of 1% and 10.
    #[arg(long, value_name = "RECORDS")]
    max_quarantine: Option<u64>,
    /// Walk the newest so much of the coverage again: for an ERP that writes into the past. Off by default.
    #[arg(long, value_name = "DURATION", value_parser = some_span)]
    lookback: Option<Duration>,
    /// Walk the seconds again in which quarantined records lie.
    #[arg(long)]
    refresh_quarantined: bool,
    /// Read a range anew and replace what the lake holds of it: FROM..TO, times as of --from and --to, both included.
    /// Expired months come back, and damaged files are replaced.
    #[arg(long, value_name = "FROM..TO", value_parser = rewalk_range,
          conflicts_with_all = ["from", "to", "lookback", "refresh_quarantined"])]
    rewalk: Option<Window>,
    #[command(flatten)]
    wait: Wait,
    /// The store knows no conditional put, and no other run writes this lake at the same time.
    #[arg(long)]
    single_writer: bool,
    /// The memory that the run may take, the program itself and all accounts included. Pages above it wait on disk, in
    /// TMPDIR; what is walked again is put together in memory, fifty pages at a time.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    max_memory: u64,
    #[command(flatten)]
    compression: CompressionArgs,
    /// Keep every answer under `_raw/` in the lake, so that `replay` can rebuild it without the ERP.
    #[arg(long)]
    keep_raw: bool,
    /// Keep the files of commits that gave their place to others for so long, for readers that have listed them. A
    /// bare glob counts their rows twice meanwhile; the views do not [default: WDT_KEEP_REMOVED, else what the
    /// file says, else 7d with --publish, else 0s].
    #[arg(long, value_name = "DURATION", value_parser = span)]
    keep_removed: Option<Duration>,
    /// Publish the lake at the end of the run, for engines that know the formats: `delta`, `iceberg`, or both
    /// with a comma between them [default: WDT_PUBLISH, else what the file says, else nothing].
    #[arg(long, value_name = "FORMAT", value_parser = read::<PublishFormat>, value_delimiter = ',')]
    publish: Vec<PublishFormat>,
    #[command(flatten)]
    compact: CompactArgs,
    #[command(flatten)]
    calls: CallArgs,
    /// At the end, write how the run and the lake stand into this file, as metrics for Prometheus.
    #[arg(long, value_name = "PATH")]
    metrics_file: Option<PathBuf>,
    #[command(flatten)]
    many: ManyArgs,
    /// Print the summary as one line with one JSON object.
    #[arg(long)]
    json: bool,
}

/// What matters where there is more to do than one process does in one night.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Many accounts")]
struct ManyArgs {
    /// So many accounts are at work at once; one that has waited five seconds for its gateway does not count.
    #[arg(long, value_name = "ACCOUNTS", default_value = "64")]
    max_accounts: NonZeroUsize,
    /// Only the accounts of the I-th of N shards, I from 0: several processes with the same N share the accounts of a
    /// file. Accounts that share a limit are in one shard.
    #[arg(long, value_name = "I/N", value_parser = Shard::from_str)]
    shard: Option<Shard>,
    /// End in order at the next such time in Beijing, with exit code 0 where nothing failed. The next run goes on.
    #[arg(long, value_name = "HH:MM", value_parser = TimeOfDay::from_str)]
    until: Option<TimeOfDay>,
}

/// Whether and how small commits are put together at the end.
#[derive(Clone, Debug, clap::Args)]
struct CompactArgs {
    /// Put small commits together at the end of the run where it is worth it, or leave them.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = CompactWhen::Auto, help_heading = "Compaction")]
    compact: CompactWhen,
    /// After how long no more of them are begun in this run; the next one goes on.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = span, help_heading = "Compaction")]
    compact_time: Duration,
    #[command(flatten)]
    target: TargetFileSize,
}

/// When a run puts small commits together.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum CompactWhen {
    /// At its end, where it is worth it.
    Auto,
    /// Never.
    Off,
}

/// How files of rows are compressed; shared by the commands that write them.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct CompressionArgs {
    /// How files of rows are compressed. Readers that know no zstd, as Hadoop before 3, need snappy.
    #[arg(long, value_enum, default_value_t = Codec::Zstd)]
    compression: Codec,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Codec {
    /// Smaller files.
    Zstd,
    /// Larger files, for old readers.
    Snappy,
}

impl CompressionArgs {
    pub(super) fn get(self) -> FileCompression {
        match self.compression {
            Codec::Zstd => FileCompression::Zstd,
            Codec::Snappy => FileCompression::Snappy,
        }
    }
}

/// How large files are to be; shared by `sync` and `compact`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TargetFileSize {
    /// How large the files are to be that small ones are put together in.
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = size, help_heading = "Compaction")]
    pub(super) target_file_size: u64,
}

impl CompactArgs {
    /// How long, if at all.
    fn time(&self) -> Option<Duration> {
        match self.compact {
            CompactWhen::Auto => Some(self.compact_time),
            CompactWhen::Off => None,
        }
    }
}

/// Which lake, and what of the ERP it should cover; shared by `sync` and `plan`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RangeArgs {
    #[command(flatten)]
    pub(super) lake: LakeUri,
    /// First modified time wanted: a date or a time in Beijing. Required on an empty lake; afterwards its start is the
    /// default.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Last modified second wanted; a date means its last second. Never later than the server's clock less the lag.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// How far behind the server's clock to stay, so that nothing enters a window that was walked.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = span)]
    lag: Duration,
    /// Requisitions a page, 1 to 100.
    #[arg(long, value_name = "ROWS", default_value = "100")]
    page_size: NonZeroU32,
}

impl RangeArgs {
    /// `options` with what the user typed.
    pub(super) fn apply(&self, options: SyncOptions) -> Result<SyncOptions> {
        let from = self.from.as_deref().map(|text| parse_user_time(text, DateMeans::FirstSecond)).transpose()?;
        Ok(SyncOptions {
            from: from.or(options.from),
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
    /// Calls of an account within any sixty seconds; 0 for no limit [default: 60].
    #[arg(long, value_name = "CALLS", help_heading = "Calls")]
    calls_per_minute: Option<u32>,
    /// Requests of an account in flight [default: 4].
    #[arg(long, value_name = "CALLS", help_heading = "Calls")]
    concurrency: Option<NonZeroU32>,
    /// The longest that one try of a call may take.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = some_span, help_heading = "Calls")]
    timeout: Duration,
    /// How long a failing call is tried again, and a store of the lake that is busy [default: 10m; 10s for `check`].
    #[arg(long, value_name = "DURATION", value_parser = span, help_heading = "Calls")]
    max_retry_time: Option<Duration>,
    /// Call the gateway directly, whatever HTTPS_PROXY, HTTP_PROXY and ALL_PROXY say. Loopback addresses always are.
    #[arg(long, help_heading = "Calls")]
    no_proxy: bool,
}

impl CallArgs {
    /// As if nothing was typed.
    pub(super) fn usual() -> Self {
        Self {
            calls_per_minute: None,
            concurrency: None,
            timeout: CallPolicy::default().timeout,
            max_retry_time: None,
            no_proxy: false,
        }
    }

    /// How long a busy store is asked again.
    pub(super) fn store_retry_time(&self) -> Duration {
        self.max_retry_time.unwrap_or(CallPolicy::default().max_retry_time)
    }

    /// The policy of an account: what was typed, else its terms.
    pub(super) fn policy(&self, terms: &AccountDefaults) -> Result<CallPolicy> {
        self.policy_trying(CallPolicy::default().max_retry_time, terms)
    }

    /// The policy of a command that tries so long unless told otherwise.
    pub(super) fn policy_trying(&self, max_retry_time: Duration, terms: &AccountDefaults) -> Result<CallPolicy> {
        let usual = CallPolicy::default();
        Ok(CallPolicy {
            calls_per_minute: self.calls_per_minute.or(terms.calls_per_minute).unwrap_or(usual.calls_per_minute),
            concurrency: self.concurrency.or(terms.concurrency).map_or(usual.concurrency, NonZeroU32::get),
            limit: terms.limit.clone(),
            timeout: self.timeout,
            max_retry_time: self.max_retry_time.unwrap_or(max_retry_time),
            refusals: RefusalRule::parse_list(&terms.refusals)
                .map_err(|error| error.with("set in", &terms.refusals_from))?,
            proxy: if self.no_proxy { ProxyUse::Never } else { ProxyUse::Environment },
            ..usual
        })
    }
}

impl Args {
    fn options(&self, terms: &AccountDefaults, now: BeijingTime) -> Result<SyncOptions> {
        let calls = self.calls.policy(terms)?;
        let publish = if self.publish.is_empty() { &terms.publish } else { &self.publish };
        self.range.apply(SyncOptions {
            from: terms.from,
            limits: Limits { concurrency: calls.concurrency, ..Limits::default() },
            calls,
            max_quarantine: self.max_quarantine,
            lookback: self.lookback,
            rewalk: self.rewalk,
            again: if self.refresh_quarantined { Again::Quarantined } else { Again::None },
            max_memory: self.max_memory,
            raw: if self.keep_raw { KeepRaw::Yes } else { KeepRaw::No },
            wait: self.wait.get(),
            compact_time: self.compact.time(),
            target_file_bytes: self.compact.target.target_file_size,
            keep_removed: keep_removed_when(self.keep_removed.or(terms.keep_removed), publish),
            publish: publish.clone(),
            compression: self.compression.get(),
            until: self.many.until.map(|time| time.next_after(now)),
            ..SyncOptions::default()
        })
    }
}

/// Reads `FROM..TO`: two times as `--from` and `--to` take them, both included.
fn rewalk_range(text: &str) -> Result<Window, String> {
    let (from, to) =
        text.split_once("..").ok_or_else(|| "write FROM..TO, for example 2026-01-01..2026-01-31".to_owned())?;
    let read = |text, means| {
        parse_user_time(text, means)
            .map_err(|error| format!("{error}; {}", error.hint_text().unwrap_or("that is no time")))
    };
    let (from, to) = (read(from, DateMeans::FirstSecond)?, read(to, DateMeans::LastSecond)?);
    Window::new(from, to).ok_or_else(|| format!("the range ends at {to}, before it starts at {from}"))
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    match &args.metrics_file {
        None => sync(args, &mut Vec::new()).await,
        Some(path) => with_metrics(args, path).await,
    }
}

/// The same, and what came of it in a file of metrics, however it ended.
async fn with_metrics(args: &Args, path: &Path) -> Result<u8> {
    // What is wrong with the lake's location is said by the run itself.
    let lake = || args.range.lake.find(&args.account.config).and_then(|location| Store::find(&location)).ok().flatten();
    let metrics = MetricsFile::begin(path, lake().as_ref())?;
    let mut runs = Vec::new();
    let outcome = Box::pin(sync(args, &mut runs)).await;
    let code = outcome.as_ref().map_or_else(|error| error.kind().exit_code(), |code| *code);
    let scope =
        if args.account.is_one() || args.many.shard.is_some() { RunScope::OneAccount } else { RunScope::AllAccounts };
    match (metrics.write(lake(), &runs, scope, code).await, outcome) {
        (Ok(()), outcome) => outcome,
        (Err(unwritten), Ok(code)) => {
            super::print_error(&unwritten);
            Ok(exit::combine([code, unwritten.kind().exit_code()]))
        }
        (Err(unwritten), Err(error)) => {
            super::print_error(&unwritten);
            Err(error)
        }
    }
}

/// Syncs, and adds what was done for each account to `runs`.
async fn sync(args: &Args, runs: &mut Vec<AccountRun>) -> Result<u8> {
    let (origin, chosen) = args.account.all_of(args.many.shard)?;
    let now = SystemClock.now();
    let location = args.range.lake.find(&args.account.config)?;
    let mut wanted = wanted(args, &location, chosen, now)?;
    let open = || {
        let store = Store::open(&location, Access::Write)?.written_by(writers(args.single_writer));
        Ok(store.retrying_for(args.calls.store_retry_time()))
    };
    match (origin, wanted.pop()) {
        (AccountSource::Environment, Some(Wanted { name, order, .. })) => {
            let outcome = match order.map_err(|error| error.with("account", &name)) {
                Ok(order) => alone(&order, open, args.json).await,
                Err(error) => Err(error),
            };
            runs.push(match &outcome {
                Ok(report) => AccountRun::of(&name, report),
                Err(error) => AccountRun::failed(&name, error),
            });
            outcome.map(|report| report.exit_code())
        }
        (_, last) => {
            wanted.extend(last);
            let asked =
                Asked { most_at_once: args.many.max_accounts.get(), shard: args.many.shard, as_json: args.json };
            side_by_side::run(wanted, open, &asked, runs).await
        }
    }
}

/// What is to be done for each account. What is wrong with the settings is said before the folder of a new lake is
/// made; a start in the future is its own account's failure.
fn wanted(args: &Args, location: &str, chosen: Vec<Chosen>, now: BeijingTime) -> Result<Vec<Wanted>> {
    let lake_is_new = Store::find(location)?.is_none();
    let check = |Chosen { name, edition, settings, terms }| {
        let checked = args.options(&terms, now).and_then(|options| {
            let has_begun = options.range().check_start(now);
            if has_begun.is_ok() && (lake_is_new || options.from.is_some()) {
                options.range().resolve(&Coverage::default(), None, now)?;
            }
            Ok((options, has_begun))
        });
        let (options, has_begun) = checked.map_err(|error| error.with("account", &name))?;
        let order =
            settings.and_then(|account| has_begun.map(|()| SyncRequest { account, options, meter: Meter::default() }));
        Ok(Wanted { name, edition, order })
    };
    chosen.into_iter().map(check).collect()
}

/// One account, as the environment sets it.
async fn alone(
    SyncRequest { account, options, meter }: &SyncRequest,
    open: impl FnOnce() -> Result<Store>,
    as_json: bool,
) -> Result<SyncReport> {
    let work = pipeline::sync(account, open()?, options, Arc::new(SystemClock), signals::listen()?, meter);
    let report = progress::beside(vec![(account.name.clone(), meter.clone())], Box::pin(work)).await;
    let report = report.map_err(|error| error.with("account", &account.name))?;
    print_report(account, &report, as_json);
    Ok(report)
}

/// How many may write, as the flag says.
pub(super) fn writers(single_writer: bool) -> Writers {
    if single_writer { Writers::Single } else { Writers::Many }
}
