//! Extract -> transform -> land for one account, or several side by side; the only module that knows all three.
//!
//! [`sync`] brings the lake of an account up to date: it resolves the wanted range, takes the lease, sweeps, and walks the missing windows
//! side by side, committing each as it is proved. A window that is not proved stays a gap and the run goes on; what stops the account
//! (credentials, an unavailable gateway, a failing lake) stops the run and keeps what is committed.

mod accounts;
mod ask;
mod forecast;
mod interrupt;
mod latest;
mod parts;
mod range;
mod raw;
mod refresh;
mod replay;
mod report;
mod requester;
mod run;
mod shelf;
mod source;
mod stop;
mod task;
mod verify;

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::Means;
pub use accounts::{Order, sync_all};
pub use ask::{Checked, Looked, check, get};
pub use forecast::{Forecast, PlannedWindow, plan};
pub use interrupt::{Interrupt, Interrupter};
pub use latest::{Known, knows_present, latest, stale};
pub use range::Range;
pub use raw::KeepRaw;
pub use replay::{PageFiles, ReplayOptions, ReplayReport, find_pages, replay_lake, replay_pages};
pub use report::{Gap, Progress, SyncReport, Tried};
use run::Run;
pub use stop::{LakeWord, StopOptions, check_can_stop, plan_stops, stop};
pub use verify::verify;

use crate::config::AccountSettings;
use crate::error::{Error, ErrorKind, Result, exit};
use crate::extract::budget::Limits;
use crate::gateway::CallPolicy;
use crate::id::RunId;
use crate::land::{Binding, FormatVersion, Lake, Lease, LeaseWait, Store, Table, TableSpec, Writer, WriterOptions};
use crate::time::{BeijingTime, Clock};
use crate::transform::Contract;

/// How much of the newest coverage says how dense the next windows are.
const DENSITY_SECONDS: i64 = 14 * 86_400;
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
/// `interrupt` ends the run early; what is committed stays. `progress` is told of every commit.
///
/// # Errors
/// What stops the run before its first call: usage, an unavailable or held lake. Later failures are part of the report.
pub async fn sync(
    account: &AccountSettings,
    store: Store,
    options: &SyncOptions,
    clock: Arc<dyn Clock>,
    interrupt: Interrupt,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<SyncReport> {
    sync_by(&Means::alone(options.max_memory)?, account, store, options, clock, &interrupt, progress).await
}

/// The same, by means that others may share.
async fn sync_by(
    means: &Means,
    account: &AccountSettings,
    store: Store,
    options: &SyncOptions,
    clock: Arc<dyn Clock>,
    interrupt: &Interrupt,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<SyncReport> {
    let began = Instant::now();
    let mut report = SyncReport::new(RunId::generate());
    let writer_options = writer_options(account, report.run, options.from, Arc::clone(&clock))?;
    let opening = Writer::encoding_on(means.encoder.clone(), store.clone(), writer_options);
    let Some(writer) = interrupt.unless_asked(opening).await.transpose()? else {
        return Ok(report.interrupted().after(began));
    };
    let lake = writer.view().await;
    let (coverage, start) = (lake.coverage().clone(), lake.fold().start());
    let wanted = options.range();
    let resolved = wanted.resolve(&coverage, start, clock.now())?;
    report.warnings.extend(resolved.warning);
    report.range = resolved.window;
    let wants_again = options.lookback.is_some() || options.again != Again::None;
    let Some(range) = resolved.window.filter(|range| wants_again || !coverage.gaps(*range).is_empty()) else {
        let tidied = interrupt.unless_over(tidy_up(&writer, store, report.run, clock)).await.transpose()?;
        let report = if tidied.is_some() { report } else { report.interrupted() };
        return Ok(report.after(began));
    };

    let (name, heartbeat) = (account.name.clone(), Arc::clone(&clock));
    let acquiring = Lease::acquire(store, name, report.run, heartbeat, options.wait, interrupt.asked());
    let lease = interrupt.unless_over(acquiring).await.transpose()?.flatten();
    let Some(lease) = lease else { return Ok(report.interrupted().after(began)) };
    let outcome = async {
        let Some(swept) = interrupt.unless_asked(writer.sweep()).await.transpose()? else {
            return Ok(report.interrupted());
        };
        report.warnings.extend(swept.foreign.iter().map(|name| {
            format!("the lake holds `{}`, which is not wdt-lake's; it was left alone", name.escape_debug())
        }));
        let lake = writer.view().await;
        let mut run = Run::new(means, account, options, &writer, clock, wanted, range, &lake, progress, report)?;
        let quit = run.quit();
        let is_done = {
            let mut walking = pin!(run.all_windows());
            let is_done = interrupt.unless_asked(walking.as_mut()).await.is_some();
            if !is_done {
                // Windows whose pages are all there are finished, and of others the part that is proved.
                quit.set();
                let _ = interrupt.unless_late(walking).await;
            }
            is_done
        };
        if is_done {
            run.name_uncovered();
        }
        let report = run.finish();
        Ok(if is_done { report } else { report.interrupted() })
    };
    let mut outcome = outcome.await;
    if let Ok(report) = &mut outcome {
        // What is not remembered in time is told again.
        let _ = interrupt.unless_over(remember_start(&writer, report)).await;
    }
    // One that cannot be given back in time goes stale by itself.
    let _ = interrupt.unless_over(lease.release()).await;
    Ok(outcome?.after(began))
}

/// Puts the start that a run was told into the log, unless its end must not wait for the store.
async fn remember_start(writer: &Writer, report: &mut SyncReport) {
    if report.stopped.as_ref().is_some_and(|error| error.kind().exit_code() == exit::LAKE) {
        return;
    }
    let patience = if report.interrupted { START_AFTER_INTERRUPT } else { Duration::MAX };
    match tokio::time::timeout(patience, writer.remember_start()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            report.stopped.get_or_insert(error);
        }
        Err(_) => tracing::warn!("the store did not answer: the next run must be told the same --from"),
    }
}

/// Clears away what a run that died after its last commit has left; otherwise it would stay for as long as the range is covered. Where the
/// log does not know yet from which start it was asked for, it is put there.
async fn tidy_up(writer: &Writer, store: Store, run: RunId, clock: Arc<dyn Clock>) -> Result<()> {
    let lake = writer.view().await;
    let account = lake.account().clone();
    let left = lake.leftovers().await?;
    let is_tidy = left.unfinished.is_empty() && left.deletable.is_empty() && !writer.lacks_start().await;
    if is_tidy && !Lease::lies_in(&store, account.clone()).await? {
        return Ok(());
    }
    let lease = match Lease::acquire(store, account, run, clock, LeaseWait::No, std::future::pending()).await {
        // Another run is at work: it has swept, and what lies there now may be its own.
        Err(error) if error.kind() == ErrorKind::Conflict => return Ok(()),
        lease => lease?,
    };
    let tidied = async {
        writer.sweep().await?;
        writer.remember_start().await
    };
    let tidied = tidied.await;
    if let Some(lease) = lease {
        lease.release().await;
    }
    tidied
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
