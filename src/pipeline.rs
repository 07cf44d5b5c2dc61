//! Extract -> transform -> land for one account, or several side by side; the only module that knows all three.
//!
//! [`sync`] brings the lake of an account up to date: it resolves the wanted range, takes the lease, sweeps, and walks the missing windows
//! side by side, committing each as it is proved. A window that is not proved stays a gap and the run goes on; what stops the account
//! (credentials, an unavailable gateway, a failing lake) stops the run and keeps what is committed.

mod accounts;
mod ask;
mod forecast;
mod latest;
mod parts;
mod range;
mod raw;
mod refresh;
mod replay;
mod report;
mod shelf;
mod source;
mod stop;
mod task;
mod verify;

use std::collections::VecDeque;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use accounts::Means;
pub use accounts::{Order, sync_all};
pub use ask::{Checked, Looked, check, get};
pub use forecast::{Forecast, PlannedWindow, plan};
pub use latest::{Known, latest, stale};
pub use range::Range;
pub use raw::KeepRaw;
use refresh::Replacement;
pub use replay::{PageFiles, ReplayOptions, ReplayReport, find_pages, replay_lake, replay_pages};
pub use report::{Gap, Progress, SyncReport};
use shelf::Shelf;
use source::Source;
pub use stop::{StopOptions, check_can_stop, stop};
use task::{Arrived, Done, Task, Work};
pub use verify::verify;

use crate::config::AccountSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::extract::budget::{Budget, Limits};
use crate::extract::plan::Planner;
use crate::extract::walk::Walker;
use crate::gateway::{CallPolicy, Gateway};
use crate::id::RunId;
use crate::land::{
    Binding, CommitKind, FormatVersion, Lake, Lease, LeaseWait, Store, Table, TableSpec, Writer, WriterOptions,
};
use crate::time::{BeijingTime, Clock, Coverage, Window};
use crate::transform::{Contract, PageDecoder};

/// How many windows are under way at once: enough that one is read while others are encoded and written. What their pages are expected to
/// take in memory allows fewer at times.
const WINDOWS_AT_ONCE: usize = 4;
/// How much of the newest coverage says how dense the next windows are.
const DENSITY_SECONDS: i64 = 14 * 86_400;
/// `Date` headers are whole seconds that were true when the answer began.
const CLOCK_SLACK_SECONDS: i64 = 2;

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
    /// Pace and retries of the calls.
    pub calls: CallPolicy,
    /// What the walk of one window may spend.
    pub limits: Limits,
    /// Quarantined records in one window above which it is not committed; `None`: the larger of 1% and 10.
    pub max_quarantine: Option<u64>,
    /// How much of the newest coverage is walked again.
    pub lookback: Option<Duration>,
    /// Which committed windows are walked again besides.
    pub again: Again,
    /// What to do when another run is at work on the account.
    pub wait: LeaseWait,
    /// The memory that the run may take, in bytes, the program itself and other accounts of the run included.
    pub max_memory: u64,
    /// Whether the answers of landed windows are kept.
    pub raw: KeepRaw,
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
            wait: LeaseWait::No,
            max_memory: Self::DEFAULT_MAX_MEMORY,
            raw: KeepRaw::No,
        }
    }
}

impl SyncOptions {
    /// What a run may take in memory unless told otherwise.
    pub const DEFAULT_MAX_MEMORY: u64 = 64 << 20;

    /// The wanted range.
    pub fn range(&self) -> Range {
        Range { from: self.from, to: self.to, lag: self.lag }
    }

    /// The rows that a window should hold at most.
    fn max_rows(&self) -> u64 {
        u64::from(self.limits.max_pages) * u64::from(self.page_size)
    }
}

/// Brings the lake of one account up to date.
///
/// `interrupt` ends the run early when it completes; what is committed stays. `progress` is told of every commit.
///
/// # Errors
/// What stops the run before its first call: usage, an unavailable or held lake. Later failures are part of the report.
pub async fn sync(
    account: &AccountSettings,
    store: Store,
    options: &SyncOptions,
    clock: Arc<dyn Clock>,
    interrupt: impl Future<Output = ()>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<SyncReport> {
    sync_by(&Means::alone(options.max_memory)?, account, store, options, clock, interrupt, progress).await
}

/// The same, by means that others may share.
async fn sync_by(
    means: &Means,
    account: &AccountSettings,
    store: Store,
    options: &SyncOptions,
    clock: Arc<dyn Clock>,
    interrupt: impl Future<Output = ()>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<SyncReport> {
    let began = Instant::now();
    let mut report = SyncReport::new(RunId::generate());
    let writer_options = writer_options(account, report.run, options.from, Arc::clone(&clock))?;
    let writer = Writer::encoding_on(means.encoder.clone(), store.clone(), writer_options).await?;
    let lake = writer.view().await;
    let (coverage, start) = (lake.coverage().clone(), lake.fold().start());
    let wanted = options.range();
    let resolved = wanted.resolve(&coverage, start, clock.now())?;
    report.warnings.extend(resolved.warning);
    report.range = resolved.window;
    let wants_again = options.lookback.is_some() || options.again != Again::None;
    let Some(range) = resolved.window.filter(|range| wants_again || !coverage.gaps(*range).is_empty()) else {
        tidy_up(&writer, store, report.run, clock).await?;
        return Ok(report.after(began));
    };

    let mut interrupt = pin!(interrupt);
    let (name, heartbeat) = (account.name.clone(), Arc::clone(&clock));
    let lease = Lease::acquire(store, name, report.run, heartbeat, options.wait, interrupt.as_mut()).await?;
    let Some(lease) = lease else { return Ok(report.interrupted().after(began)) };
    let outcome = async {
        let swept = tokio::select! {
            swept = writer.sweep() => swept?,
            () = interrupt.as_mut() => return Ok(report.interrupted()),
        };
        report.warnings.extend(
            swept
                .foreign
                .iter()
                .map(|name| format!("the lake holds `{name}`, which is not wdt-lake's; it was left alone")),
        );
        let lake = writer.view().await;
        let mut run = Run::new(means, account, options, &writer, clock, wanted, range, &lake, progress, report)?;
        tokio::select! {
            () = run.all_windows() => Ok(run.finish()),
            () = interrupt.as_mut() => Ok(run.finish().interrupted()),
        }
    };
    let outcome = outcome.await;
    lease.release().await;
    Ok(outcome?.after(began))
}

/// Clears away what a run that died after its last commit has left; otherwise it would stay for as long as the range is covered.
async fn tidy_up(writer: &Writer, store: Store, run: RunId, clock: Arc<dyn Clock>) -> Result<()> {
    let lake = writer.view().await;
    let account = lake.account().clone();
    let left = lake.leftovers().await?;
    if left.unfinished.is_empty() && left.deletable.is_empty() && !Lease::lies_in(&store, account.clone()).await? {
        return Ok(());
    }
    let lease = match Lease::acquire(store, account, run, clock, LeaseWait::No, std::future::pending()).await {
        // Another run is at work: it has swept, and what lies there now may be its own.
        Err(error) if error.kind() == ErrorKind::Conflict => return Ok(()),
        lease => lease?,
    };
    let swept = writer.sweep().await;
    if let Some(lease) = lease {
        lease.release().await;
    }
    swept.map(drop)
}

fn writer_options(
    account: &AccountSettings,
    run: RunId,
    wanted_from: Option<BeijingTime>,
    clock: Arc<dyn Clock>,
) -> Result<WriterOptions> {
    let binding = Binding {
        name: account.name.clone(),
        edition: account.edition,
        sid: account.sid.clone(),
        host: account.gateway_host(),
    };
    Ok(WriterOptions { binding, run, wanted_from, contract: contract_version()?, clock })
}

/// One run while it walks.
struct Run<'a> {
    options: &'a SyncOptions,
    writer: &'a Writer,
    clock: Arc<dyn Clock>,
    source: Arc<Source>,
    wanted: Range,
    range: Window,
    planner: Planner,
    /// What is left of windows that were not proved as a whole.
    pieces: VecDeque<(Window, Budget)>,
    replacements: VecDeque<Replacement>,
    /// What the lake covered when the run began.
    coverage: Coverage,
    clock_compared: bool,
    specs: [Arc<TableSpec>; 2],
    progress: &'a (dyn Fn(Progress) + Sync),
    report: SyncReport,
}

impl<'a> Run<'a> {
    #[expect(clippy::too_many_arguments, reason = "the one place that wires a run together")]
    fn new(
        means: &Means,
        account: &AccountSettings,
        options: &'a SyncOptions,
        writer: &'a Writer,
        clock: Arc<dyn Clock>,
        wanted: Range,
        range: Window,
        lake: &Lake,
        progress: &'a (dyn Fn(Progress) + Sync),
        report: SyncReport,
    ) -> Result<Self> {
        let gateway = Gateway::reading_on(means.reader.clone(), account, &options.calls, Arc::clone(&clock))?;
        let shelf = Shelf::new(means.page_memory);
        let replacements = refresh::plan(lake, options);
        // Answers that were kept go with the commits that are replaced: those of the new walk take their place.
        let had_answers = |commit| lake.fold().live().get(commit).is_some_and(|live| live.raw.is_some());
        let raw = match replacements.iter().flat_map(|replacement| &replacement.removes).any(had_answers) {
            true => KeepRaw::Yes,
            false => options.raw,
        };
        let decoder = PageDecoder::new(account.edition, report.run)?;
        let mut planner = Planner::new(range, lake.coverage(), options.max_rows());
        if let Some((rows, seconds)) = recent_density(lake) {
            planner.observe(rows, seconds);
        }
        Ok(Self {
            source: Arc::new(Source::new(gateway, decoder, shelf, raw, Arc::clone(&clock))),
            planner,
            pieces: VecDeque::new(),
            replacements: replacements.into(),
            specs: table_specs()?,
            options,
            writer,
            clock,
            coverage: lake.coverage().clone(),
            clock_compared: false,
            wanted,
            range,
            progress,
            report,
        })
    }

    /// Walks window after window until none is left or something stops the account.
    async fn all_windows(&mut self) {
        let source = Arc::clone(&self.source);
        let walker = Walker::new(&*source, self.options.page_size, self.options.limits);
        let (writer, options, specs) = (self.writer, self.options, self.specs.clone());
        let (wanted, clock) = (self.wanted, Arc::clone(&self.clock));
        let mut under_way = FuturesUnordered::new();
        // What the windows under way are expected to take in memory.
        let mut reserved = 0;
        // The first window goes alone until its total is known, so that refused credentials are refused once and its density plans the
        // others.
        let mut is_alone = true;
        loop {
            let at_once = if is_alone { 1 } else { WINDOWS_AT_ONCE };
            while self.report.stopped.is_none() && under_way.len() < at_once {
                let Some(work) = self.next() else { break };
                let bytes = self.expected_bytes(&work);
                if !under_way.is_empty() && reserved + bytes > source.shelf().limit_bytes() {
                    self.put_back(work);
                    break;
                }
                reserved += bytes;
                let task =
                    Task { walker: &walker, source: &source, writer, options, specs: &specs, wanted, clock: &*clock };
                let (window, budget) = (work.window(), work.budget());
                under_way.push(async move { (bytes, Done { window, budget, outcome: task.run(work).await }) });
            }
            let next = tokio::select! {
                biased;
                next = under_way.next() => next,
                (window, total) = source.first_total(), if is_alone => {
                    is_alone = false;
                    self.planner.observe(total, window.seconds());
                    self.follow_server_clock();
                    continue;
                }
            };
            let Some((bytes, done)) = next else { return };
            is_alone = false;
            reserved -= bytes;
            self.take_in(done);
            if self.report.stopped.as_ref().is_some_and(|error| error.kind() == ErrorKind::Credentials) {
                // More calls cannot help; those under way are let go.
                return;
            }
            self.follow_server_clock();
        }
    }

    /// What to do next: first what is begun, then what is missing, at last what is walked again.
    fn next(&mut self) -> Option<Work> {
        let piece = self.pieces.pop_front().map(|(window, budget)| Work::Missing(window, budget));
        let missing = || self.planner.take().map(|window| Work::Missing(window, Budget::default()));
        piece.or_else(missing).or_else(|| self.replacements.pop_front().map(Work::Again))
    }

    /// Keeps work for later.
    fn put_back(&mut self, work: Work) {
        match work {
            Work::Missing(window, budget) => self.pieces.push_front((window, budget)),
            Work::Again(replacement) => self.replacements.push_front(replacement),
        }
    }

    /// What the pages of a window are expected to take in memory.
    fn expected_bytes(&self, work: &Work) -> usize {
        // What is walked again is put together with what it replaces, all of it in memory: nothing else is under way then.
        if let Work::Again(_) = work {
            return self.source.shelf().limit_bytes().saturating_add(1);
        }
        let most = self.options.max_rows();
        let rows = self.planner.expected_rows(work.window()).map_or(most, |rows| rows.min(most));
        self.source.shelf().expected_bytes(rows)
    }

    fn take_in(&mut self, Done { window, budget, outcome }: Done) {
        match outcome {
            Ok(landed) => {
                if let Some(total) = landed.total {
                    self.planner.observe(total, window.seconds());
                }
                self.planner.put_back(landed.replan);
                self.pieces.extend(landed.pieces);
                self.replacements.extend(landed.replace_again);
                self.report.gaps.extend(landed.gaps);
                for arrived in landed.commits {
                    self.count(arrived);
                }
                if let Some(error) = landed.stopped {
                    self.stop(window, error);
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::Incomplete | ErrorKind::GatewayRefused => {
                    let window = self.give_up(window, budget);
                    tracing::error!(%window, %error, "the window stays a gap");
                    self.report.gaps.push(Gap { window, error });
                }
                _ => self.stop(window, error),
            },
        }
    }

    fn stop(&mut self, window: Window, error: Error) {
        if self.report.stopped.is_none() {
            self.report.stopped = Some(error);
        } else {
            tracing::error!(%window, %error, "another window failed too");
        }
    }

    /// When the budget of a window is spent, its other pieces are given up with it; gives the window from the first to the last of them.
    fn give_up(&mut self, window: Window, budget: Option<Budget>) -> Window {
        let Some(budget) = budget.filter(Budget::is_spent) else { return window };
        let (lost, kept) =
            std::mem::take(&mut self.pieces).into_iter().partition(|(_, other)| other.is_shared_with(&budget));
        self.pieces = kept;
        let lost: VecDeque<(Window, Budget)> = lost;
        lost.into_iter().fold(window, |hull, (piece, _)| {
            Window::new(hull.start().min(piece.start()), hull.end().max(piece.end())).unwrap_or(hull)
        })
    }

    fn count(&mut self, arrived: Arrived) {
        let Arrived { window, kind, committed, real_num_scaled } = arrived;
        match kind {
            CommitKind::Refresh => self.report.refreshed += 1,
            _ => self.report.windows += 1,
        }
        self.report.real_num_scaled += real_num_scaled;
        self.report.quarantined += committed.quarantine.as_ref().map_or(0, |held| held.rows);
        for file in &committed.files {
            self.report.files += 1;
            self.report.bytes += file.bytes;
            match Table::from_name(&file.table) {
                Some(Table::PurchaseApply) => self.report.headers += file.rows,
                Some(Table::PurchaseApplyDetail) => self.report.details += file.rows,
                _ => {}
            }
        }
        tracing::info!(%window, number = committed.number, commit = %committed.commit, "committed");
        (self.progress)(Progress {
            window,
            range: self.range,
            headers: self.report.headers,
            calls: self.source.gateway().calls(),
        });
    }

    /// The range was planned by this machine's clock; the server's own clock decides how late it may end.
    fn follow_server_clock(&mut self) {
        let Some(server_now) = self.source.gateway().server_now().filter(|_| !self.clock_compared) else { return };
        self.clock_compared = true;
        let end = self.wanted.latest(server_now);
        if end.plus_seconds(CLOCK_SLACK_SECONDS) < self.range.end() {
            self.planner.end_at(end);
        } else if self.range.end().plus_seconds(60) < end {
            // Our clock is behind: what it hid is wanted too.
            let hidden = Window::new(self.range.end().plus_seconds(1), end);
            self.planner.extend(hidden.into_iter().flat_map(|hidden| self.coverage.gaps(hidden)));
        } else {
            return;
        }
        if let Some(range) = Window::new(self.range.start(), end) {
            self.range = range;
            self.report.range = Some(range);
        }
    }

    fn finish(mut self) -> SyncReport {
        self.report.calls = self.source.gateway().calls();
        self.report.gaps.sort_by_key(|gap| gap.window);
        self.report
    }
}

/// The version of the data contract, as manifests and files carry it.
fn contract_version() -> Result<FormatVersion> {
    FormatVersion::parse(Contract::get()?.version())
        .ok_or_else(|| Error::internal("the contract's version is not major.minor"))
}

/// What landing needs to know of the two tables of requisitions, headers first, from the contract.
///
/// # Errors
/// [`ErrorKind::Internal`] when the contract is broken, which a test of this crate rules out.
pub fn table_specs() -> Result<[Arc<TableSpec>; 2]> {
    let contract = Contract::get()?;
    Ok([
        table_spec(Table::PurchaseApply, contract.headers(), "modified"),
        table_spec(Table::PurchaseApplyDetail, contract.details(), "apply_modified"),
    ])
}

/// The same of the table of stop references.
fn stop_spec() -> Result<Arc<TableSpec>> {
    Ok(table_spec(Table::StopReference, Contract::get()?.stops(), "requested_at"))
}

fn table_spec(table: Table, source: &crate::transform::Table, modified: &str) -> Arc<TableSpec> {
    Arc::new(TableSpec {
        table,
        columns: source.descriptions(),
        sorted_by: source.sort_order().to_vec(),
        bloom: source.lookup_columns().to_vec(),
        delta: source.delta_columns().to_vec(),
        modified: modified.to_owned(),
    })
}

/// A page size that the gateways accept.
///
/// # Errors
/// [`ErrorKind::Usage`] outside 1 to 100.
pub fn check_page_size(size: NonZeroU32) -> Result<u32> {
    match size.get() {
        size @ 1..=100 => Ok(size),
        size => Err(Error::usage(format!("a page of {size} requisitions is more than the gateway gives"))
            .hint("--page-size is 1 to 100")),
    }
}

/// Rows and seconds of the newest covered days: what the windows to come are planned by.
fn recent_density(lake: &Lake) -> Option<(u64, u64)> {
    let newest = lake.coverage().windows().last()?.end();
    let since = newest.plus_seconds(-DENSITY_SECONDS);
    let recent =
        lake.fold().live().values().filter_map(|live| Some((live.window.filter(|window| window.end() > since)?, live)));
    let (mut rows, mut seconds) = (0, 0);
    for (window, live) in recent {
        seconds += window.seconds();
        rows += live
            .files
            .iter()
            .filter(|file| file.table == Table::PurchaseApply.name())
            .map(|file| file.rows)
            .sum::<u64>();
    }
    (seconds > 0).then_some((rows, seconds))
}
