//! Extract -> transform -> land for one account, or several side by side; the only module that knows all three.
//!
//! [`sync`] brings the lake of an account up to date: it resolves the wanted range, takes the lease, sweeps, and walks
//! the missing windows side by side, committing each as it is proved. A window that is not proved stays a gap and the
//! run goes on; what stops the account (credentials, an unavailable gateway, a failing lake) stops the run and keeps
//! what is committed.

mod accounts;
mod ask;
mod audit;
mod changes;
mod compact;
mod expire;
mod export;
mod extra_names;
mod forecast;
mod health;
mod interrupt;
mod latest;
mod lease_session;
mod memory;
mod meter;
mod pages_read;
mod parts;
mod publish;
mod range;
mod raw;
mod refresh;
mod replace;
mod replay;
mod report;
mod requester;
mod rewalk;
mod rewalk_plan;
mod run;
mod runs;
mod source;
mod spill;
mod stop;
mod table_rows;
mod tally;
mod window_task;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument as _;

use accounts::RunResources;
pub(crate) use accounts::{SyncRequest, sync_all};
pub(crate) use ask::{Checked, Queried, check, get};
pub(crate) use audit::{
    AuditOptions, AuditReport, OpenAudit, OpenDifference, OpenFinding, SampleAudit, WindowAudit, audit,
};
pub(crate) use changes::{ChangesToken, ReadChanges, changes};
use compact::AfterSync;
pub(crate) use compact::Compacted;
pub(crate) use compact::{CompactOptions, CompactionPolicy, CompactionStep, compact_account, steps};
pub(crate) use expire::{ExpireOptions, ExpireReport, Expired, OpenRequisitions, check_cutoff, expire, preview};
pub(crate) use export::{
    AccountExport, ExportColumns, ExportRange, ExportRequest, ExportedRows, Partitions, TimesAs, export,
    standing_headers, standing_stops,
};
pub(crate) use extra_names::{ExtraNames, extra_names};
pub(crate) use forecast::Forecast;
pub use forecast::plan;
pub(crate) use health::{AccountHealth, HealthChecks, HealthFinding, HealthLevel, LeftoverLimits, gaps_of, health};
pub use interrupt::Interrupt;
pub(crate) use interrupt::Interrupter;
pub use latest::latest;
pub(crate) use latest::{Known, knows_present, stale};
use lease_session::{HeldLease, LeaseSession, Left, is_swept};
pub use meter::Meter;
pub(crate) use meter::{Phase, Progress};
use publish::Publication;
pub(crate) use publish::publish_all;
pub(crate) use range::Range;
pub(crate) use raw::KeepRaw;
pub(crate) use replay::{PageFiles, ReplayOptions, ReplayReport, find_pages, replay_lake, replay_pages};
pub use report::SyncReport;
pub(crate) use report::{Damage, Gap, HiddenStops, Remaining, Tried};
use run::{Run, WalkAgain};
pub(crate) use runs::{PastRun, RunEnd, runs};
pub(crate) use stop::{LakeWord, check_can_stop, plan_stops};
pub use stop::{StopOptions, stop};
pub(crate) use table_rows::{ReaderTable, RowSink, until_steady};

use crate::config::AccountSettings;
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, ErrorKind, Result, exit};
use crate::extract::budget::Limits;
use crate::gateway::CallPolicy;
use crate::id::RunId;
use crate::land::{LastRun, LeaseWait, Writer, WriterOptions, last_run};
use crate::log::{Binding, Lake, Table};
use crate::parquet::{FileCompression, MergeLimits};
use crate::publish::Publisher;
use crate::publish_format::PublishFormat;
use crate::stop::stopped_since;
use crate::store::Store;
use crate::text::{Text, text};
use crate::time::{BeijingTime, Clock, Coverage, Window};
use crate::transform::contract_version;

/// How much of the newest coverage says how dense the next windows are.
const DENSITY_SECONDS: i64 = 14 * 86_400;
/// What a requisition with its details takes while it is read anew: its page, its rows and those that it replaces.
const REWALKED_ROW_BYTES: usize = 12 << 10;
/// How long after its timestamp a stop may be modified in the ERP, beside what a run plans less than its lag allows.
const STOP_SLACK_SECONDS: i64 = 60;
/// How long an interrupted run waits for the store to take its start.
const START_AFTER_INTERRUPT: Duration = Duration::from_secs(3);

/// What a sync is asked to do.
#[derive(Clone, Debug)]
pub struct SyncOptions {
    /// First wanted second of modified time; `None` continues what the lake covers.
    pub from: Option<BeijingTime>,
    /// Last wanted second; `None` means as late as the lag allows.
    pub to: Option<BeijingTime>,
    /// How far behind the server's clock a window must end.
    pub lag: Duration,
    /// Rows of a page, 1 to 100.
    pub page_size: u32,
    /// Rate limit and retries of the calls.
    pub calls: CallPolicy,
    /// What the walk of one window may spend.
    pub limits: Limits,
    /// Quarantined records in one window above which it is not committed; `None`: the larger of 1% and 10.
    pub max_quarantine: Option<u64>,
    /// How much of the newest coverage is walked again.
    pub lookback: Option<Duration>,
    /// Which committed windows are walked again besides.
    pub again: Again,
    /// A range that is read anew: it takes the place of `from` and `to`, and all that is covered of it is walked and
    /// replaced, expired seconds and damaged commits too.
    pub rewalk: Option<Window>,
    /// What to do when another run is at work on the account.
    pub wait: LeaseWait,
    /// The memory that the run may take, in bytes, the program itself and other accounts of the run included.
    pub max_memory: u64,
    /// Whether the answers of landed windows are kept.
    pub raw: KeepRaw,
    /// How long small commits are put together at the end, where it is worth it; none: not at all. Nothing is begun
    /// after that time.
    pub compact_time: Option<Duration>,
    /// How large files of rows that are put together are to be, in bytes.
    pub target_file_bytes: u64,
    /// How files of rows are compressed.
    pub compression: FileCompression,
    /// How long the files of commits that gave their place to others are kept for readers.
    pub keep_removed: Duration,
    /// The formats in which the lake is published at the end of the run.
    pub publish: Vec<PublishFormat>,
    /// When the run ends although not all is done; what is left is for the next one.
    pub until: Option<BeijingTime>,
}

/// Which committed windows a sync walks again, besides the lookback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Again {
    /// None.
    #[default]
    None,
    /// Those that hold quarantined records.
    Quarantined,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            from: None,
            to: None,
            lag: Duration::from_secs(300),
            page_size: 100,
            calls: CallPolicy::default(),
            limits: Limits::default(),
            max_quarantine: None,
            lookback: None,
            again: Again::None,
            rewalk: None,
            wait: LeaseWait::No,
            max_memory: Self::DEFAULT_MAX_MEMORY,
            raw: KeepRaw::No,
            compact_time: Some(Self::DEFAULT_COMPACT_TIME),
            target_file_bytes: Self::DEFAULT_TARGET_FILE_BYTES,
            compression: FileCompression::default(),
            keep_removed: Duration::ZERO,
            publish: Vec::new(),
            until: None,
        }
    }
}

impl SyncOptions {
    /// What a run may take in memory unless told otherwise.
    pub const DEFAULT_MAX_MEMORY: u64 = 64 << 20;

    /// How long a run puts commits together unless told otherwise.
    pub const DEFAULT_COMPACT_TIME: Duration = Duration::from_secs(120);

    /// How large files of rows that are put together are unless told otherwise.
    pub const DEFAULT_TARGET_FILE_BYTES: u64 = 128 << 20;

    /// The wanted range.
    pub fn range(&self) -> Range {
        let (from, to) = self.rewalk.map(|range| (range.start(), range.end())).unzip();
        Range { from: from.or(self.from), to: to.or(self.to), lag: self.lag }
    }

    /// How rows are merged in so much memory.
    fn merge_limits(&self, memory_bytes: usize) -> MergeLimits {
        MergeLimits { memory_bytes, target_bytes: self.target_file_bytes }
    }

    /// The same with windows so small that what is read anew of one fits in memory beside what stood there.
    fn within_memory(&self, memory_bytes: usize) -> Self {
        let rows = u64::try_from(memory_bytes / REWALKED_ROW_BYTES).unwrap_or(u64::MAX);
        let pages = u32::try_from(rows / u64::from(self.page_size.max(1))).unwrap_or(u32::MAX);
        let max_pages = self.limits.max_pages.min(pages.max(1));
        Self { limits: Limits { max_pages, ..self.limits }, ..self.clone() }
    }

    /// The rows that a window should hold at most.
    fn max_rows(&self) -> u64 {
        u64::from(self.limits.max_pages) * u64::from(self.page_size)
    }
}

/// Brings the lake of one account up to date.
///
/// `interrupt` ends the run early; what is committed stays. `meter` tells how far it is.
///
/// # Errors
/// What stops the run before its first call: usage, an unavailable or held lake. Later failures are part of the report.
pub async fn sync(
    account: &AccountSettings,
    store: Store,
    options: &SyncOptions,
    clock: Arc<dyn Clock>,
    interrupt: Interrupt,
    meter: &Meter,
) -> Result<SyncReport> {
    let interrupt = interrupt.until(&clock, options.until);
    sync_by(&RunResources::alone(options)?, account, store, options, clock, &interrupt, meter).await
}

/// The same, by means that others may share.
async fn sync_by(
    resources: &RunResources,
    account: &AccountSettings,
    store: Store,
    options: &SyncOptions,
    clock: Arc<dyn Clock>,
    interrupt: &Interrupt,
    meter: &Meter,
) -> Result<SyncReport> {
    let report = SyncReport::new(RunId::generate());
    let span = tracing::error_span!("run", account = %account.name, run = %report.run);
    Box::pin(sync_in(resources, account, store, options, clock, interrupt, meter, report)).instrument(span).await
}

#[expect(clippy::too_many_arguments, reason = "what a run needs, and its report")]
async fn sync_in(
    resources: &RunResources,
    account: &AccountSettings,
    store: Store,
    options: &SyncOptions,
    clock: Arc<dyn Clock>,
    interrupt: &Interrupt,
    meter: &Meter,
    mut report: SyncReport,
) -> Result<SyncReport> {
    let began = Instant::now();
    let opening = open(resources, account, store.clone(), options, report.run, Arc::clone(&clock));
    let Some((writer, publication)) = interrupt.unless_asked(opening).await.transpose()? else {
        return Ok(report.ended_early(interrupt, Remaining::All).after(began));
    };
    let lake = writer.view().await;
    let (coverage, start) = (lake.coverage().clone(), lake.state().start());
    let wanted = options.range();
    check_rewalk(options, &coverage, start)?;
    let resolved = wanted.resolve(&coverage, start, clock.now())?;
    report.warnings.extend(resolved.warning);
    report.range = resolved.window;
    let wants_again = options.lookback.is_some() || options.again != Again::None || options.rewalk.is_some();
    let Some(range) = resolved.window.filter(|range| wants_again || !coverage.gaps(*range).is_empty()) else {
        report.hidden_stops = hidden_stops(account, &writer, options, report.range, interrupt).await;
        let end = AtEnd { after: AfterSync { options, interrupt, report: &mut report }, publication: &publication };
        let tidying = tidy_up(&writer, store, clock, Some(end));
        let tidied = Box::pin(interrupt.unless_over(tidying)).await.transpose()?;
        let report = if tidied.is_some() { report } else { report.ended_early(interrupt, Remaining::All) };
        return Ok(report.after(began));
    };

    let session = LeaseSession { store, account: account.name.clone(), run: report.run, clock: Arc::clone(&clock) };
    let lease = {
        let _awaited = resources.watches.calls.begin();
        session.begin(options.wait, interrupt).await?
    };
    let Some(lease) = lease else {
        return Ok(report.ended_early(interrupt, Remaining::All).after(began));
    };
    let work = async |lease: &HeldLease| {
        publication.take_hints(lease.published()).await;
        let mut report = Box::pin(async {
            let Some(swept) = interrupt.unless_asked(lease.sweep(&writer)).await.transpose()? else {
                return Ok(report.ended_early(interrupt, Remaining::All));
            };
            report.warnings.extend(swept.iter().flat_map(|swept| &swept.untracked).map(|name| untracked(name)));
            let lake = writer.view().await;
            let bounded = options.within_memory(resources.memory.division().reserved_bytes);
            let again = refresh::plan(&lake, &bounded).await?;
            let planned = match options.rewalk {
                Some(_) => rewalk_plan::plan(&lake, range, &bounded).await?,
                None => rewalk_plan::RewalkPlan::default(),
            };
            report.damage = planned.damage;
            let todo = WalkAgain { refresh: again, rewalk: planned.pieces };
            let run = Run::new(resources, account, options, &writer, clock, wanted, range, &lake, todo, meter, report)?;
            Ok::<_, Error>(run.until_interrupted(interrupt).await)
        })
        .await?;
        // What is not remembered in time is told again.
        let _ = interrupt.unless_over(remember_start(&writer, &mut report)).await;
        // The server's clock has said by now where the range ends.
        report.hidden_stops = hidden_stops(account, &writer, options, report.range, interrupt).await;
        meter.enter(Phase::Finishing);
        let after = AfterSync { options, interrupt, report: &mut report };
        AtEnd { after, publication: &publication }.finish(&writer).await;
        Ok(report)
    };
    Ok(Box::pin(lease.during(interrupt, &writer, work, left_by)).await?.after(began))
}

/// What is said of an object that nobody knows.
fn untracked(name: &str) -> Text {
    text!(
        "the lake holds `{name}`, which is untracked: no wdt-lake wrote it, and it was left alone",
        name = name.escape_debug()
    )
}

/// The stops that are too young for the end of the range. A run whose end was typed was not meant to see them.
async fn hidden_stops(
    account: &AccountSettings,
    writer: &Writer,
    options: &SyncOptions,
    range: Option<Window>,
    interrupt: &Interrupt,
) -> Option<HiddenStops> {
    let range = range.filter(|_| account.edition == Edition::Flagship && options.range().to.is_none())?;
    let lake = writer.view().await;
    match interrupt.unless_asked(stopped_since(&lake, range.end())).await? {
        Ok(recent) => recent.map(|recent| {
            let lag = i64::try_from(options.lag.as_secs()).unwrap_or(i64::MAX);
            let visible_after = recent.last.plus_seconds(lag.saturating_add(STOP_SLACK_SECONDS));
            HiddenStops { requisitions: recent.requisitions, visible_after }
        }),
        // What is wrong with these files is for `stop` and `verify` to say.
        Err(error) => {
            tracing::warn!(%error, "whether stops are hidden by the lag is not known");
            None
        }
    }
}

/// Opens the log to write it, and to publish it if that is asked for.
async fn open(
    resources: &RunResources,
    account: &AccountSettings,
    store: Store,
    options: &SyncOptions,
    run: RunId,
    clock: Arc<dyn Clock>,
) -> Result<(Writer, Arc<Publication>)> {
    let publishes = !options.publish.is_empty();
    if publishes {
        Publisher::check_store(&store)?;
    }
    let publication =
        Publication::new(Arc::clone(&resources.publisher), run, options.publish.clone(), Arc::clone(&clock));
    let writer_options = sync_writer_options(resources, account, options, &publication, clock)?;
    let writer = Writer::encoding_on(resources.encoder.clone(), store, writer_options).await?;
    if publishes {
        publication.begin(writer.view().await).await;
    }
    Ok((writer, publication))
}

/// What a sync that ended so has left.
fn left_by(report: &SyncReport) -> Left {
    Left {
        is_clean: !report.is_cut_short() && report.unpublished.is_none(),
        checked_until: report.checked_until,
        published: publish::hints(&report.published),
    }
}

fn sync_writer_options(
    resources: &RunResources,
    account: &AccountSettings,
    options: &SyncOptions,
    publication: &Arc<Publication>,
    clock: Arc<dyn Clock>,
) -> Result<WriterOptions> {
    // A rewalk says nothing of what is wanted from now on.
    let wanted_from = options.from.filter(|_| options.rewalk.is_none());
    let merge = options.merge_limits(resources.memory.division().merge_bytes);
    let writer_options = writer_options(account, publication, wanted_from, merge, clock)?;
    Ok(WriterOptions { keep_removed: options.keep_removed, compression: options.compression, ..writer_options })
}

/// What is read anew must not begin before all that was ever asked for: all between the two would be a gap.
fn check_rewalk(options: &SyncOptions, coverage: &Coverage, start: Option<BeijingTime>) -> Result<()> {
    let (Some(range), Some(start)) = (options.rewalk, start) else { return Ok(()) };
    if coverage.gaps(range).iter().all(|gap| gap.start() >= start) {
        return Ok(());
    }
    Err(Error::new(
        ErrorClass::RangeWrong,
        text!("--rewalk {start}..{end} begins before the lake does", start = range.start(), end = range.end()),
    )
    .hint(text!("the lake begins at {start}; what is before it comes by `wdt-lake sync --from`", start)))
}

/// Puts the start that a run was told into the log, unless its end must not wait for the store.
async fn remember_start(writer: &Writer, report: &mut SyncReport) {
    if report.stopped.as_ref().is_some_and(|error| error.kind().exit_code() == exit::LAKE) {
        return;
    }
    let patience = if report.is_cut_short() { START_AFTER_INTERRUPT } else { Duration::MAX };
    match tokio::time::timeout(patience, writer.remember_start()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            report.stopped.get_or_insert(error);
        }
        Err(_) => tracing::warn!("the store did not answer: the next run must be told the same --from"),
    }
}

/// Clears away what a run that died after its last commit has left; otherwise it would stay for as long as the range is
/// covered. Where the log does not know yet from which start it was asked for, it is put there; small commits are put
/// together.
async fn tidy_up(writer: &Writer, store: Store, clock: Arc<dyn Clock>, end: Option<AtEnd<'_>>) -> Result<()> {
    let account = writer.layout().account().clone();
    let before = last_run(&store, account.clone(), clock.now()).await?;
    let is_worth_it = match &end {
        Some(end) => end.is_worth_it(writer, &before).await,
        None => false,
    };
    if is_swept(&before, writer).await && !writer.lacks_start().await && !is_worth_it {
        return Ok(());
    }
    let never = Interrupt::never();
    let session = LeaseSession { store, account, run: writer.run(), clock };
    let lease = match session.begin(LeaseWait::No, &never).await {
        // Another run is at work: it has swept, and what lies there now may be its own.
        Err(error) if error.kind() == ErrorKind::Conflict => return Ok(()),
        lease => lease?,
    };
    let Some(lease) = lease else { return Ok(()) };
    let tidied = async |lease: &HeldLease| {
        if let Some(end) = &end {
            end.publication.take_hints(lease.published()).await;
        }
        lease.sweep(writer).await?;
        writer.remember_start().await?;
        let mut left = Left { is_clean: true, ..Left::default() };
        if let Some(end) = end {
            let report = end.finish(writer).await;
            left.is_clean = report.unpublished.is_none();
            left.published = publish::hints(&report.published);
        }
        Ok(left)
    };
    lease.during(&never, writer, tidied, Left::clone).await.map(drop)
}

/// What a sync does at its end.
struct AtEnd<'a> {
    after: AfterSync<'a>,
    publication: &'a Publication,
}

impl<'a> AtEnd<'a> {
    fn publishes(&self) -> bool {
        !self.after.options.publish.is_empty()
    }

    /// Whether there is something to do by what the last run has left.
    async fn is_worth_it(&self, writer: &Writer, before: &LastRun) -> bool {
        let published = before.clean_end.as_ref().map(|end| &end.published);
        let formats = &self.after.options.publish;
        let lacks = |format: &PublishFormat| !published.is_some_and(|held| publish::hints_at(held, *format));
        formats.iter().any(lacks) || self.after.is_worth_it(writer).await
    }

    /// Puts small commits together, and publishes.
    async fn finish(self, writer: &Writer) -> &'a mut SyncReport {
        let (publishes, interrupt) = (self.publishes(), self.after.interrupt);
        let report = self.after.compact(writer).await;
        // A store that failed a moment ago would fail again; the next run publishes what is missing.
        let has_failed = report.stopped.as_ref().is_some_and(|error| error.kind().exit_code() == exit::LAKE);
        if publishes && !has_failed {
            let publishing = self.publication.publish(writer);
            match interrupt.unless_over(publishing).await {
                Some(Ok(published)) => report.published = published,
                Some(Err(error)) => report.unpublished = Some(error),
                None => tracing::warn!("the store did not answer in time: the next run publishes what is missing"),
            }
        }
        report
    }
}

/// Of a command that puts no files together.
fn no_merge() -> MergeLimits {
    MergeLimits { memory_bytes: 0, target_bytes: SyncOptions::DEFAULT_TARGET_FILE_BYTES }
}

fn writer_options(
    account: &AccountSettings,
    publication: &Arc<Publication>,
    wanted_from: Option<BeijingTime>,
    merge: MergeLimits,
    clock: Arc<dyn Clock>,
) -> Result<WriterOptions> {
    let (binding, contract) = (binding(account), contract_version()?);
    Ok(WriterOptions {
        binding,
        run: publication.run(),
        wanted_from,
        contract,
        compression: FileCompression::default(),
        keep_removed: Duration::ZERO,
        merge,
        watcher: Arc::clone(publication) as _,
        clock,
    })
}

/// What a lake binds the account's name to.
fn binding(account: &AccountSettings) -> Binding {
    Binding {
        name: account.name.clone(),
        edition: account.edition,
        sid: account.sid.clone(),
        host: account.gateway_host(),
    }
}

/// A page size that the gateways accept.
///
/// # Errors
/// [`ErrorKind::Usage`] outside 1 to 100.
pub(crate) fn check_page_size(size: NonZeroU32) -> Result<u32> {
    match size.get() {
        size @ 1..=100 => Ok(size),
        size => Err(Error::new(
            ErrorClass::ArgumentWrong,
            text!("a page of {size} requisitions is more than the gateway gives", size),
        )
        .hint("--page-size is 1 to 100")),
    }
}

/// Rows and seconds of the newest covered days: what the windows to come are planned by.
fn recent_density(lake: &Lake) -> Option<(u64, u64)> {
    let newest = lake.coverage().windows().last()?.end();
    let since = newest.plus_seconds(-DENSITY_SECONDS);
    let recent = lake
        .state()
        .live()
        .values()
        .filter_map(|live| Some((live.window.filter(|window| window.end() > since)?, live)));
    let (mut rows, mut seconds) = (0, 0);
    for (window, live) in recent {
        seconds += window.seconds();
        rows += live.rows(Table::PurchaseApply);
    }
    (seconds > 0).then_some((rows, seconds))
}
