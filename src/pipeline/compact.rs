//! Puts small commits together, so that a lake that is fed every few minutes stays as quick as one that was filled at
//! once.
//!
//! A compaction changes no row and no coverage. Rows stream from file to file in the order of their tables; quarantined
//! records and responses stay where they are, named by the new commit. Who loses against another writer drops its own
//! work, and nothing else.

mod plan;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument as _;

use self::plan::plan;
pub(crate) use self::plan::{CompactionPolicy, CompactionStep, StepInput};
use super::accounts::page_memory;
use super::lease_session::{HeldLease, LeaseSession, Left};
use super::publish::Publication;
use super::{Interrupt, SyncOptions, SyncReport};
use crate::error::{Error, ErrorClass, Result};
use crate::id::{CommitId, RunId};
use crate::land::{CommitOutcome, LeaseWait, NewCommit, NewFile, NewManifest, NewRows, Writer, WriterOptions};
use crate::log::{CommitKind, FileEntry, Lake, LiveCommit, LogState, Table};
use crate::parquet::{FileCompression, MergeLimits, TableSpec};
use crate::store::Store;
use crate::text::text;
use crate::time::{BeijingTime, Clock};
use crate::transform::{contract_version, stop_spec, table_specs};

/// What ends within the newest so many seconds is left alone at least.
const QUIET_SECONDS: i64 = 2 * 3_600;

/// What was put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// The commits that were there.
    pub commits: u64,
    /// Those that stand in their place.
    pub into: u64,
    /// The files that were removed.
    pub files_removed: u64,
    /// The files that were written.
    pub files_written: u64,
    /// The bytes of these.
    pub bytes_written: u64,
    /// Steps that are left for the next time.
    pub left: u64,
}

impl CompactionPolicy {
    /// What is put together at `now`, by a run with this lookback.
    pub(crate) fn new(now: BeijingTime, lookback: Option<Duration>, target_file_bytes: u64) -> Self {
        let lookback = lookback.map_or(0, |lookback| i64::try_from(lookback.as_secs()).unwrap_or(i64::MAX));
        let quiet_seconds = QUIET_SECONDS.max(lookback.saturating_mul(2));
        Self { now, quiet_seconds, large_bytes: target_file_bytes / 2 }
    }
}

/// What a compaction is asked to do.
#[derive(Clone, Debug)]
pub(crate) struct CompactOptions {
    /// The memory that it may take, in bytes, the program itself included.
    pub max_memory: u64,
    /// How large files are to be, in bytes.
    pub target_file_bytes: u64,
    /// How files are compressed.
    pub compression: FileCompression,
    /// How long the files of commits that gave their place to others are kept for readers.
    pub keep_removed: Duration,
    /// What to do when another run is at work on the account.
    pub wait: LeaseWait,
}

/// Puts the small commits of one account together until nothing is left that is worth it, or the run is interrupted:
/// what is committed stays.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an account without a log or too little memory,
/// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when another run holds the lease and is not waited for; what
/// reading, merging and committing say.
pub(crate) async fn compact_account(
    lake: &Lake,
    store: Store,
    options: &CompactOptions,
    clock: Arc<dyn Clock>,
    interrupt: &Interrupt,
) -> Result<Compacted> {
    let run = RunId::generate();
    let binding = lake.state().binding().cloned().ok_or_else(|| {
        Error::new(ErrorClass::AccountNotInLake, "the lake has nothing of this account").with("account", lake.account())
    })?;
    let merge = MergeLimits { memory_bytes: page_memory(options.max_memory)?, target_bytes: options.target_file_bytes };
    let writer_options = WriterOptions {
        binding,
        run,
        wanted_from: None,
        contract: contract_version()?,
        compression: options.compression,
        keep_removed: options.keep_removed,
        merge,
        watcher: Publication::of(run, Arc::clone(&clock))?,
        clock: Arc::clone(&clock),
    };
    let mut done = Compacted::default();
    let span = tracing::error_span!("run", account = %lake.account(), %run);
    let work = async {
        let writer = Writer::open(store.clone(), writer_options).await?;
        let session = LeaseSession { store, account: lake.account().clone(), run, clock };
        let Some(lease) = session.begin(options.wait, interrupt).await? else { return Ok(()) };
        let policy = CompactionPolicy::new(writer.now(), None, options.target_file_bytes);
        let under_lease = async |lease: &HeldLease| {
            lease.sweep(&writer).await?;
            interrupt.unless_asked(compact(&writer, policy, None, &mut done)).await.unwrap_or(Ok(()))
        };
        lease.during(interrupt, &writer, under_lease, |()| Left { is_clean: true, ..Left::default() }).await
    };
    Box::pin(work).instrument(span).await?;
    Ok(done)
}

/// The compaction at the end of a sync.
pub(super) struct AfterSync<'a> {
    pub(super) options: &'a SyncOptions,
    pub(super) interrupt: &'a Interrupt,
    pub(super) report: &'a mut SyncReport,
}

impl<'a> AfterSync<'a> {
    fn policy(&self, writer: &Writer) -> CompactionPolicy {
        CompactionPolicy::new(writer.now(), self.options.lookback, self.options.target_file_bytes)
    }

    /// Whether there is something to put together.
    pub(super) async fn is_worth_it(&self, writer: &Writer) -> bool {
        self.options.compact_time.is_some()
            && writer.with_state(|state| !steps(state, self.policy(writer)).is_empty()).await
    }

    /// Puts together what a run that went well finds. What goes wrong here is a warning: the sync is done, and the next
    /// run tries again. A run that is interrupted meanwhile ends as the sync did.
    pub(super) async fn compact(self, writer: &Writer) -> &'a mut SyncReport {
        let Some(time) = self.options.compact_time else { return self.report };
        if self.report.is_cut_short() || self.report.stopped.is_some() {
            return self.report;
        }
        let (policy, until) = (self.policy(writer), Instant::now().checked_add(time));
        let compacting = compact(writer, policy, until, &mut self.report.compacted);
        if let Some(Err(error)) = self.interrupt.unless_asked(compacting).await {
            let hint = error.hint_said().map(|hint| text!(" ({hint})", hint)).unwrap_or_default();
            self.report.warnings.push(text!(
                "small commits were not put together: {error}{hint}; the next run tries again",
                error,
                hint
            ));
        }
        self.report
    }
}

/// What is to be put together, one step after the other.
pub(crate) fn steps(state: &LogState, policy: CompactionPolicy) -> Vec<CompactionStep> {
    plan(state.live(), policy)
}

/// Puts commits together until nothing is left that is worth it, or `until` has come. Each step is a manifest of its
/// own; what is committed stays whatever comes after it.
///
/// # Errors
/// What reading, merging and committing say. That another writer was faster is none: the rest is left to the next time.
async fn compact(
    writer: &Writer,
    policy: CompactionPolicy,
    until: Option<Instant>,
    done: &mut Compacted,
) -> Result<()> {
    let steps = writer.with_state(|state| steps(state, policy)).await;
    done.left = steps.len() as u64;
    let mut made: Vec<CommitId> = Vec::with_capacity(steps.len());
    for step in &steps {
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        let ids = step.inputs.iter().map(|input| match input {
            StepInput::Live(id) => Some(*id),
            StepInput::Made(place) => made.get(*place).copied(),
        });
        let Some(inputs) = live(writer, ids.collect::<Option<Vec<_>>>()).await else { break };
        let commits = inputs.len() as u64;
        let Some((id, files)) = put_together(writer, inputs).await? else { break };
        made.push(id);
        done.commits += commits;
        done.into += 1;
        done.files_removed += step.files;
        done.files_written += files.len() as u64;
        done.bytes_written += files.iter().map(|file| file.bytes).sum::<u64>();
        done.left -= 1;
    }
    Ok(())
}

/// The commits of these ids; nothing where one is not live any more.
async fn live(writer: &Writer, ids: Option<Vec<CommitId>>) -> Option<Vec<(CommitId, LiveCommit)>> {
    let ids = ids?;
    let find = |state: &LogState| ids.iter().map(|id| Some((*id, state.live().get(id)?.clone()))).collect();
    writer.with_state(find).await
}

/// Commits one in the place of these; nothing where another writer was faster.
async fn put_together(
    writer: &Writer,
    inputs: Vec<(CommitId, LiveCommit)>,
) -> Result<Option<(CommitId, Vec<FileEntry>)>> {
    let removes: Vec<CommitId> = inputs.iter().map(|(id, _)| *id).collect();
    let new = NewManifest { walk: None, commits: vec![compacted(inputs)?], removes, raw: None };
    match writer.land(new).await {
        Ok(CommitOutcome::Committed(landed)) => Ok(Some((landed.id, landed.files().cloned().collect()))),
        Ok(CommitOutcome::Dropped(conflict)) => {
            tracing::info!(?conflict, "another writer was faster: the compaction was dropped");
            Ok(None)
        }
        Err(error) => Err(error.with("while", "small commits were put together")),
    }
}

/// The commit that stands in the place of these, which are in the order of time.
fn compacted(inputs: Vec<(CommitId, LiveCommit)>) -> Result<NewCommit> {
    let window = inputs.iter().filter_map(|(_, live)| live.window).reduce(crate::time::Window::hull);
    let weight = inputs.iter().map(|(_, live)| live.weight()).sum();
    let mut new = NewCommit { compacted: weight, ..NewCommit::of(CommitKind::Compaction, window) };
    for table in Table::ALL {
        let of_table = |file: &&FileEntry| file.table == table.name();
        let files: Vec<FileEntry> =
            inputs.iter().flat_map(|(_, live)| live.files.iter().filter(of_table)).cloned().collect();
        if !files.is_empty() {
            let rows = NewRows::Carried { files, filter: None };
            new.files.push(NewFile { spec: spec(table)?, span: None, part: None, rows });
        }
    }
    for (_, live) in inputs {
        new.kept_quarantine.extend(live.quarantine);
        new.kept_raw.extend(live.raw);
    }
    Ok(new)
}

fn spec(table: Table) -> Result<Arc<TableSpec>> {
    let specs = table_specs()?.into_iter().chain([stop_spec()?]);
    specs.into_iter().find(|spec| spec.table == table).ok_or_else(|| Error::internal("a table without a spec"))
}
