//! Expiring whole months: their commits give their place to one that says what is expired and holds what is still open.
//!
//! An account has at most one live expire commit. It has no window: all before its cutoff is one expired range, gaps
//! included, which is covered and which nothing walks again but `sync --rewalk`. Its files hold the latest versions of
//! requisitions that are open, as far as these versions lie in what is expired. The next expire takes its place and
//! judges its rows anew.
//!
//! Files go by a sweep after the manifest, headers in the order of time, and with them what earlier removals left: a
//! glob that is read meanwhile shows as few older versions as can be.

pub(super) mod open;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use self::plan::{ExpirePlan, plan};
use super::accounts::page_memory;
use super::lease_session::{HeldLease, LeaseSession, Left};
use super::publish::Publication;
use super::{Interrupt, SyncOptions};
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::id::RunId;
use crate::land::{CommitOutcome, LeaseWait, NewCommit, NewManifest, Writer, WriterOptions};
use crate::log::{CommitKind, Lake};
use crate::parquet::{FileCompression, MergeLimits};
use crate::store::Store;
use crate::text::text;
use crate::time::{BeijingTime, Clock, Month, Window};
use crate::transform::contract_version;

/// How often an expire is planned anew because another run has committed meanwhile.
const TRIES: u32 = 5;

/// What is to become of requisitions that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenRequisitions {
    /// Their latest versions stay.
    Keep,
    /// They go like all others.
    Drop,
}

/// What is to expire, and how.
#[derive(Clone, Debug)]
pub(crate) struct ExpireOptions {
    /// The first second that stays.
    pub cutoff: BeijingTime,
    /// What is to become of requisitions that are open.
    pub open: OpenRequisitions,
    /// How long the files of what is removed are kept.
    pub keep_removed: Duration,
    /// What to do when another run is at work on the account.
    pub wait: LeaseWait,
    /// The memory that the run may take, in bytes, the program itself included.
    pub max_memory: u64,
    /// How files are compressed.
    pub compression: FileCompression,
}

/// What goes of one Beijing month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    /// Rows of `purchase_apply`.
    pub headers: u64,
    /// Rows of `purchase_apply_detail`.
    pub details: u64,
    /// Parquet files; what stays of their rows is written anew.
    pub files: u64,
    /// The bytes of these.
    pub bytes: u64,
    /// Quarantined records.
    pub quarantined: u64,
    /// Raw responses.
    pub responses: u64,
    /// Requisitions that are open and stay.
    pub open: u64,
}

impl std::ops::AddAssign for Expired {
    fn add_assign(&mut self, other: Self) {
        let Self { headers, details, files, bytes, quarantined, responses, open } = other;
        self.headers += headers;
        self.details += details;
        self.files += files;
        self.bytes += bytes;
        self.quarantined += quarantined;
        self.responses += responses;
        self.open += open;
    }
}

/// What an expire does, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExpireReport {
    /// What goes, and what stays, by month.
    pub months: BTreeMap<Month, Expired>,
    /// What was asked for once and is not covered, and counts as covered from then on.
    pub gaps: Vec<Window>,
    /// The rows of page files that were replayed: these have no window, and stay.
    pub without_window: u64,
    /// The number of the manifest, when it was done.
    pub manifest: Option<u64>,
    /// Until when the files of what was removed are kept.
    pub kept_until: Option<BeijingTime>,
}

impl ExpireReport {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.months.is_empty() && self.gaps.is_empty()
    }

    /// All months together.
    pub(crate) fn total(&self) -> Expired {
        self.months.values().fold(Expired::default(), |mut total, month| {
            total += *month;
            total
        })
    }

    fn of(plan: Option<&ExpirePlan>, lake: &Lake) -> Self {
        let replayed = lake.state().live().values();
        let without_window = replayed.filter(|live| live.kind == CommitKind::Replay && live.window.is_none());
        Self {
            months: plan.map(|plan| plan.months.clone()).unwrap_or_default(),
            gaps: plan.map(|plan| plan.gaps.clone()).unwrap_or_default(),
            without_window: without_window.flat_map(|live| &live.files).map(|file| file.rows).sum(),
            manifest: None,
            kept_until: None,
        }
    }
}

/// The first second that stays when everything before a month is to expire.
///
/// # Errors
/// [`ErrorKind::Usage`] unless the month is over at `now`.
pub(crate) fn check_cutoff(before: Month, now: BeijingTime) -> Result<BeijingTime> {
    if before < now.month() {
        return Ok(before.start());
    }
    Err(Error::new(ErrorClass::RangeWrong, text!("--before {before} is not over: it is {now} in Beijing", before, now))
        .hint("name a month before the current one; what is of that month and later stays"))
}

/// What an expire would do. Reads only.
///
/// # Errors
/// [`ErrorKind::Usage`] when the cutoff lies behind what the lake covers, [`ErrorKind::Lake`] when the store does not
/// answer, [`ErrorKind::Defect`] when a committed file is missing or was changed.
pub(crate) async fn preview(lake: &Lake, options: &ExpireOptions) -> Result<ExpireReport> {
    let mut lake = lake.clone();
    for _ in 1..TRIES {
        match plan(&lake, options.cutoff, options.open).await {
            // A file may be gone because another run has replaced its commit.
            Err(error) if error.kind() == ErrorKind::Defect => {
                let newest = lake.state().newest();
                let newer = Lake::open(lake.store().clone(), lake.account().clone()).await?;
                if newer.state().newest() == newest {
                    return Err(error);
                }
                lake = newer;
            }
            planned => return Ok(ExpireReport::of(planned?.as_ref(), &lake)),
        }
    }
    let plan = plan(&lake, options.cutoff, options.open).await?;
    Ok(ExpireReport::of(plan.as_ref(), &lake))
}

/// Expires what is before the cutoff, and deletes it.
///
/// # Errors
/// As [`preview`], [`ErrorKind::Conflict`] when another run is at work and is not waited for, and whatever keeps the
/// manifest from being written.
pub(crate) async fn expire(
    lake: &Lake,
    store: Store,
    options: &ExpireOptions,
    clock: Arc<dyn Clock>,
) -> Result<ExpireReport> {
    let run = RunId::generate();
    let span = tracing::error_span!("run", account = %lake.account(), %run);
    Box::pin(expire_as(run, lake, store, options, clock)).instrument(span).await
}

async fn expire_as(
    run: RunId,
    lake: &Lake,
    store: Store,
    options: &ExpireOptions,
    clock: Arc<dyn Clock>,
) -> Result<ExpireReport> {
    let Some(binding) = lake.state().binding().cloned() else { return Ok(ExpireReport::of(None, lake)) };
    let memory_bytes = page_memory(options.max_memory)?;
    let writer_options = WriterOptions {
        binding,
        run,
        wanted_from: None,
        contract: contract_version()?,
        compression: options.compression,
        keep_removed: options.keep_removed,
        merge: MergeLimits { memory_bytes, target_bytes: SyncOptions::DEFAULT_TARGET_FILE_BYTES },
        watcher: Publication::of(run, Arc::clone(&clock))?,
        clock: Arc::clone(&clock),
    };
    let writer = Writer::open(store.clone(), writer_options).await?;
    let session = LeaseSession { store, account: lake.account().clone(), run, clock };
    let never = Interrupt::never();
    let Some(lease) = session.begin(options.wait, &never).await? else {
        return Err(Error::internal("a lease was given up although nobody asked for it"));
    };
    let work = async |lease: &HeldLease| {
        lease.sweep(&writer).await?;
        let report = commit(&writer, options).await?;
        if report.manifest.is_some() {
            writer.sweep().await?;
        }
        Ok(report)
    };
    Box::pin(lease.during(&never, &writer, work, |_| Left { is_clean: true, ..Left::default() })).await
}

/// Commits what the plan says, as long as there is something to do.
async fn commit(writer: &Writer, options: &ExpireOptions) -> Result<ExpireReport> {
    let mut tries = 0;
    loop {
        tries += 1;
        let lake = writer.view().await;
        let planned = plan(&lake, options.cutoff, options.open).await;
        let landed = match planned {
            Ok(None) => return Ok(ExpireReport::of(None, &lake)),
            Ok(Some(plan)) => {
                let report = ExpireReport::of(Some(&plan), &lake);
                writer.land(new_manifest(plan)?).await.map(|outcome| (report, outcome))
            }
            Err(error) => Err(error),
        };
        match landed {
            Ok((report, CommitOutcome::Committed(committed))) => {
                let kept_until = writer.kept_until(&committed).await;
                return Ok(ExpireReport { manifest: Some(committed.number), kept_until, ..report });
            }
            Ok((_, CommitOutcome::Dropped(conflict))) if tries < TRIES => {
                tracing::debug!(%conflict, "another run has committed meanwhile: planned anew");
            }
            Ok((_, CommitOutcome::Dropped(conflict))) => {
                return Err(
                    Error::new(ErrorClass::WroteAtOnce, "other runs commit all the while").because(conflict.text())
                );
            }
            // A file may be gone because another run has replaced its commit.
            Err(error) if error.kind() == ErrorKind::Defect && tries < TRIES => {
                writer.follow().await?;
                if writer.with_state(|state| state.newest()).await == lake.state().newest() {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn new_manifest(plan: ExpirePlan) -> Result<NewManifest> {
    let ExpirePlan { removes, expired, open, carried, .. } = plan;
    let files = open::files(carried, &open)?;
    let commit = NewCommit { expired, files, ..NewCommit::of(CommitKind::Expire, None) };
    Ok(NewManifest { walk: None, commits: vec![commit], removes, raw: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_months_that_are_over_can_be_the_first_to_stay() {
        let now = BeijingTime::parse("2026-11-01 00:00:00").expect("a time");
        let cutoff = |month| check_cutoff(Month::parse(month).expect("a month"), now);
        assert_eq!(cutoff("2026-10").expect("over").to_string(), "2026-10-01 00:00:00");
        assert_eq!(cutoff("0001-01").expect("over").to_string(), "0001-01-01 00:00:00");
        for month in ["2026-11", "2026-12", "2027-01", "9999-12"] {
            assert_eq!(cutoff(month).expect_err("not over").kind(), ErrorKind::Usage, "{month}");
        }
        for text in ["2026-13", "2026", "2026-1", "2026-10-01", "", "x"] {
            assert_eq!(Month::parse(text), None, "{text}");
        }
    }
}
