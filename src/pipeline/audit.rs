//! The source, asked again and compared with the lake: how late rows come, and what has become of open requisitions.
//!
//! A sync trusts two things that only the ERP decides: that nothing enters a window which ended more than the lag ago,
//! and that a requisition which changes gets another modified time. [`audit`] tries both on random windows, and asks by
//! number for requisitions that are open for long, because one that is deleted shows in no window.
//!
//! It only reads: no lease, no commit, no sweep. So another run may replace what it reads meanwhile; then it reads the
//! log on and begins that reading again.

mod open;
mod sample;

use std::fs::File;
use std::sync::Arc;

use tracing::Instrument as _;

pub(crate) use self::open::{OpenAudit, OpenDifference, OpenFinding};
pub(crate) use self::sample::{SampleAudit, WindowAudit};
use super::accounts::page_memory;
use super::raw::KeepRaw;
use super::source::Source;
use super::spill::SpillBuffer;
use super::{SyncOptions, binding};
use crate::config::AccountSettings;
use crate::error::{Error, ErrorClass, ErrorKind, Result, exit};
use crate::gateway::{CallPolicy, Gateway};
use crate::id::RunId;
use crate::log::{Conflict, FileEntry, Lake};
use crate::store::Store;
use crate::time::Clock;
use crate::transform::PageDecoder;
use crate::worker::blocking;

/// What an audit is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct AuditOptions {
    /// Rate limit and retries of the calls.
    pub calls: CallPolicy,
    /// How many windows are walked, and the seed by which they are chosen.
    pub sample: Option<(usize, u32)>,
    /// How many open requisitions are asked for.
    pub open: Option<usize>,
}

/// What an audit of one account found.
#[derive(Debug, Default)]
pub(crate) struct AuditReport {
    /// The windows that were walked, if any were to be.
    pub sample: Option<SampleAudit>,
    /// The requisitions that were asked for, if any were to be.
    pub open: Option<OpenAudit>,
    /// Requests that it took.
    pub calls: u64,
    /// What ended it early.
    pub stopped: Option<Error>,
}

impl AuditReport {
    /// The report of an audit that could not begin.
    pub(crate) fn stopped_by(error: Error) -> Self {
        Self { stopped: Some(error), ..Self::default() }
    }

    /// Whether anything was found that the lake does not know.
    pub(crate) fn has_findings(&self) -> bool {
        self.sample.as_ref().is_some_and(|sample| sample.late() + sample.changed() > 0)
            || self.open.as_ref().is_some_and(|open| !open.findings.is_empty())
    }

    /// The exit code of an audit of this account alone.
    pub(crate) fn exit_code(&self) -> u8 {
        let found = self.has_findings().then_some(exit::DONE_WITH_REMAINDER);
        let unproved = self.sample.iter().flat_map(SampleAudit::errors).map(|error| error.kind().exit_code());
        let stopped = self.stopped.iter().map(|error| error.kind().exit_code());
        exit::combine(found.into_iter().chain(unproved).chain(stopped))
    }
}

/// Compares what the ERP gives now with the lake of one account. Nothing is landed, and the lake is not written. What
/// ends it early is in the report, beside what was found until then.
pub(crate) async fn audit(
    account: &AccountSettings,
    store: Store,
    options: &AuditOptions,
    clock: Arc<dyn Clock>,
) -> AuditReport {
    let run = RunId::generate();
    let span = tracing::error_span!("run", account = %account.name, %run);
    let mut report = AuditReport::default();
    if let Err(error) = Box::pin(audit_in(run, account, store, options, clock, &mut report)).instrument(span).await {
        report.stopped = Some(error);
    }
    report
}

async fn audit_in(
    run: RunId,
    account: &AccountSettings,
    store: Store,
    options: &AuditOptions,
    clock: Arc<dyn Clock>,
    report: &mut AuditReport,
) -> Result<()> {
    let mut lake = Lake::open(store, account.name.clone()).await?;
    check_binding(&lake, account)?;
    let gateway = Gateway::new(account, &options.calls, Arc::clone(&clock))?;
    let decoder = PageDecoder::new(account.edition, run)?;
    let spill = SpillBuffer::new(page_memory(SyncOptions::DEFAULT_MAX_MEMORY)?);
    let source = Source::new(gateway, decoder, spill, KeepRaw::No, Arc::clone(&clock));
    let work = async {
        if let Some((windows, seed)) = options.sample {
            let sample = report.sample.insert(SampleAudit::of(seed));
            sample::walk_windows(&source, &mut lake, windows, options.calls.concurrency, &*clock, sample).await?;
        }
        if let Some(wanted) = options.open {
            open::ask_for_oldest(&source, &mut lake, wanted, report.open.insert(OpenAudit::default())).await?;
        }
        Ok(())
    };
    let worked = work.await;
    report.calls = source.gateway().calls();
    for warning in source.gateway().clock_warnings() {
        tracing::warn!("{warning}");
    }
    worked
}

/// Whether the lake holds this account: another one's rows would all be findings.
fn check_binding(lake: &Lake, account: &AccountSettings) -> Result<()> {
    match lake.state().binding() {
        None => Err(Error::new(ErrorClass::AccountNotInLake, "the lake holds nothing of this account yet")
            .hint("fill it by `wdt-lake sync` first, or check --lake; nothing was called")),
        Some(bound) if *bound != binding(account) => Err(Error::new(
            ErrorClass::AccountOfOthers,
            Conflict::OtherAccount { bound: Box::new(bound.clone()) }.text(),
        )
        .hint("name the account as it is named in this lake, or use its own lake; nothing was called")),
        Some(_) => Ok(()),
    }
}

/// What `read` gives of the lake. When another run has replaced a file before it was read, it begins again with the log
/// as it is then.
async fn of_steady_lake<T>(lake: &mut Lake, read: impl AsyncFn(&Lake) -> Result<T>) -> Result<T> {
    loop {
        let error = match read(lake).await {
            Err(error) if error.kind() == ErrorKind::Defect => error,
            read => return read,
        };
        let known = lake.state().next_number();
        lake.follow().await?;
        if lake.state().next_number() == known {
            return Err(error);
        }
    }
}

/// Reads a committed file by `read`, which takes its time, off the async threads.
async fn read_file<T: Send + 'static>(
    lake: &Lake,
    entry: &FileEntry,
    read: impl FnOnce(File) -> Result<T> + Send + 'static,
) -> Result<T> {
    let file = lake.fetch(entry).await?;
    blocking(move || read(file)).await.map_err(|error| error.with("path", &entry.path))
}
