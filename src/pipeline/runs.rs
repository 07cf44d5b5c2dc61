//! The runs that committed, as the log of an account tells of them. Reads manifests backwards, no more than it needs.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use crate::error::Result;
use crate::id::{AccountName, RunId};
use crate::land::last_run;
use crate::log::{CommitKind, Lake, Manifest, Table};
use crate::time::{BeijingTime, Window};

/// How many manifests are read at a time.
const CHUNK: u64 = 64;
/// Runs may be at work at once, on machines whose clocks differ: a manifest that was begun so many seconds before a run
/// was is none of that run.
const CLOCKS_DIFFER_SECONDS: i64 = 3_600;

/// A run, as far as the log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PastRun {
    /// Its id.
    pub(crate) run: RunId,
    /// The account.
    pub(crate) account: AccountName,
    /// What its manifests were for, each kind once, in the order in which they came.
    pub(crate) kinds: Vec<CommitKind>,
    /// From the first to the last second of modified time that it has walked.
    walked: Option<Window>,
    /// The same of what its commits cover: more, where a part of it was carried.
    committed: Option<Window>,
    /// The new rows that it landed, by table; what was carried does not count.
    pub(crate) rows: BTreeMap<Table, u64>,
    /// The records that it quarantined.
    pub(crate) quarantined: u64,
    /// The responses that prove its walks, retries not counted. Calls for what was not proved are nowhere on record.
    pub(crate) calls: u64,
    /// How many manifests it added.
    pub(crate) manifests: u64,
    /// When its first manifest was begun.
    pub(crate) first_at: BeijingTime,
    /// When its last manifest was begun.
    pub(crate) last_at: BeijingTime,
    /// When it ended.
    pub(crate) end: RunEnd,
}

/// What is known of the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// It ended well then.
    At(BeijingTime),
    /// It is at work.
    AtWork,
    /// Nothing is known: the lease tells of the last run alone.
    Unknown,
}

/// The newest `limit` runs of an account that added to its log, the one with the newest manifest first.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a manifest is missing or no manifest.
pub(crate) async fn runs(lake: &Lake, limit: usize, now: BeijingTime) -> Result<Vec<PastRun>> {
    let mut found = FoundRuns { account: lake.account(), limit, runs: Vec::new() };
    let mut last = lake.state().newest().map_or(0, |newest| newest.number);
    'log: while last > 0 {
        let first = last.saturating_sub(CHUNK - 1).max(1);
        let manifests: Vec<_> = Box::pin(lake.manifests(first..=last).await?).try_collect().await?;
        for (manifest, _) in manifests.iter().rev() {
            if found.are_complete_before(manifest) {
                break 'log;
            }
            found.add(manifest);
        }
        last = first - 1;
    }
    let mut runs = found.runs;
    let lease = last_run(lake.store(), lake.account().clone(), now).await?;
    for run in &mut runs {
        let ended_at = lease.last_end.as_ref().filter(|end| end.run == run.run).map(|end| end.ended_at);
        let is_at_work = lease.at_work.is_some_and(|(at_work, _)| at_work == run.run);
        run.end = ended_at.map_or(if is_at_work { RunEnd::AtWork } else { RunEnd::Unknown }, RunEnd::At);
    }
    Ok(runs)
}

/// The runs of the manifests read so far.
struct FoundRuns<'a> {
    account: &'a AccountName,
    limit: usize,
    /// The newest first.
    runs: Vec<PastRun>,
}

impl FoundRuns<'_> {
    /// Whether neither this manifest nor any before it can be of one of the runs that are wanted.
    fn are_complete_before(&self, manifest: &Manifest) -> bool {
        let began = |run: &PastRun| {
            let by_id = run.run.generated_at_unix().and_then(|seconds| i64::try_from(seconds).ok());
            by_id.unwrap_or(run.first_at.unix()).min(run.first_at.unix())
        };
        let earliest = self.runs.iter().map(began).min();
        self.runs.len() == self.limit
            && self.runs.iter().all(|run| run.run != manifest.run)
            && earliest.is_some_and(|earliest| manifest.created_at.unix() < earliest - CLOCKS_DIFFER_SECONDS)
    }

    /// Adds the manifest before those that were added.
    fn add(&mut self, manifest: &Manifest) {
        let place = match self.runs.iter().position(|run| run.run == manifest.run) {
            Some(place) => place,
            None if self.runs.len() == self.limit => return,
            None => {
                self.runs.push(self.begun(manifest));
                self.runs.len() - 1
            }
        };
        if let Some(run) = self.runs.get_mut(place) {
            run.add(manifest);
        }
    }

    /// The run of a manifest, before anything is known of it.
    fn begun(&self, manifest: &Manifest) -> PastRun {
        PastRun {
            run: manifest.run,
            account: self.account.clone(),
            kinds: Vec::new(),
            walked: None,
            committed: None,
            rows: Table::ALL.into_iter().map(|table| (table, 0)).collect(),
            quarantined: 0,
            calls: 0,
            manifests: 0,
            first_at: manifest.created_at,
            last_at: manifest.created_at,
            end: RunEnd::Unknown,
        }
    }
}

impl PastRun {
    /// From the first to the last second of modified time that it has walked; of a run that walked nothing, of its
    /// commits.
    pub(crate) fn range(&self) -> Option<Window> {
        self.walked.or(self.committed)
    }

    /// Adds the manifest before those that were added.
    fn add(&mut self, manifest: &Manifest) {
        let commits = manifest.commits.iter().map(|commit| commit.kind);
        let own: Vec<_> = if manifest.commits.is_empty() { vec![manifest.kind()] } else { commits.collect() };
        let mut kinds = Vec::new();
        for kind in own.iter().chain(&self.kinds) {
            if !kinds.contains(kind) {
                kinds.push(*kind);
            }
        }
        self.kinds = kinds;
        for file in manifest.commits.iter().flat_map(|commit| &commit.files).filter(|file| !file.carried) {
            if let Some(rows) = Table::from_name(&file.table).and_then(|table| self.rows.get_mut(&table)) {
                *rows += file.rows;
            }
        }
        if let Some(walk) = &manifest.walk {
            self.quarantined += walk.proof.rows_quarantined;
            self.calls += walk.proof.calls;
            self.walked = Some(self.walked.map_or(walk.window, |walked| walked.hull(walk.window)));
        }
        let windows = manifest.commits.iter().filter_map(|commit| commit.window);
        self.committed = self.committed.into_iter().chain(windows).reduce(Window::hull);
        self.manifests += 1;
        self.first_at = self.first_at.min(manifest.created_at);
        self.last_at = self.last_at.max(manifest.created_at);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::ErrorKind;
    use crate::land::testing::{HeldClock, binding, checkpoints, new_commit, options};
    use crate::land::{
        CleanEnd, CommitOutcome, Lease, LeaseWait, NewCommit, NewFile, NewManifest, NewRows, Writer, WriterOptions,
    };
    use crate::store::Store;

    const NOW: i64 = 1_790_000_000;

    async fn writer_at(store: &Store, seconds: i64) -> Writer {
        let options = WriterOptions { clock: Arc::new(HeldClock::at(seconds)), ..options() };
        Writer::open(store.clone(), options).await.expect("opened").with_checkpoints_every(2)
    }

    async fn land(writer: &Writer, new: NewManifest) {
        assert!(matches!(writer.land(new).await, Ok(CommitOutcome::Committed(_))));
    }

    /// One that carries all rows of the live commits that begin in these seconds.
    async fn compaction(writer: &Writer, seconds: std::ops::RangeInclusive<i64>) -> NewManifest {
        let lake = writer.view().await;
        let is_in = |window: Window| seconds.contains(&window.start().unix());
        let live = lake.state().live().iter();
        let live: Vec<_> = live.filter(|(_, live)| live.window.is_some_and(is_in)).collect();
        let files = |table: Table| {
            let files = live.iter().flat_map(|(_, live)| &live.files);
            files.filter(|file| file.table == table.name()).cloned().collect()
        };
        let file = |table| {
            let spec = crate::parquet::TableSpec { table, ..crate::land::testing::header_spec() };
            let rows = NewRows::Carried { files: files(table), filter: None };
            NewFile { spec: Arc::new(spec), span: None, part: None, rows }
        };
        let window = live.iter().filter_map(|(_, live)| live.window).reduce(Window::hull);
        let files = vec![file(Table::PurchaseApply), file(Table::PurchaseApplyDetail)];
        let commit = NewCommit { files, ..NewCommit::of(CommitKind::Compaction, window) };
        let removes = live.iter().map(|(id, _)| **id).collect();
        NewManifest { walk: None, commits: vec![commit], removes, raw: None }
    }

    async fn listed(store: &Store, limit: usize) -> Result<Vec<PastRun>> {
        let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
        runs(&lake, limit, BeijingTime::from_unix(NOW).expect("a time")).await
    }

    #[tokio::test]
    async fn runs_are_told_apart_and_no_more_is_read_than_they_need() {
        let store = Store::memory();
        let old = writer_at(&store, NOW - 86_400).await;
        for nth in 0..i64::try_from(CHUNK).expect("few") + 6 {
            land(&old, new_commit(nth * 10, nth * 10 + 9)).await;
        }
        let (one, other) = (writer_at(&store, NOW - 60).await, writer_at(&store, NOW - 30).await);
        land(&one, new_commit(2_000, 2_009)).await;
        land(&other, new_commit(3_000, 3_004)).await;
        land(&one, new_commit(2_010, 2_019)).await;
        land(&one, compaction(&one, 2_000..=2_019).await).await;

        let found = listed(&store, 3).await.expect("listed");
        assert_eq!(found.iter().map(|run| run.run).collect::<Vec<_>>(), [one.run(), other.run(), old.run()]);
        let window = crate::land::testing::window;
        assert_eq!(found[0].kinds, [CommitKind::Sync, CommitKind::Compaction]);
        assert_eq!((found[0].range(), found[0].calls, found[0].manifests), (Some(window(2_000, 2_019)), 2, 3));
        assert_eq!((found[0].rows[&Table::PurchaseApply], found[0].rows[&Table::PurchaseApplyDetail]), (20, 20));
        assert_eq!((found[1].rows[&Table::PurchaseApply], found[1].range()), (5, Some(window(3_000, 3_004))));
        assert_eq!((found[2].manifests, found[2].range()), (CHUNK + 6, Some(window(0, (70 - 1) * 10 + 9))));
        assert_eq!((found[2].first_at, found[2].last_at), (found[2].last_at, found[2].first_at));

        // What the newest two do not need may be gone.
        one.leave_checkpoint().await;
        assert!(!checkpoints(&store).await.is_empty());
        let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
        store.delete(&lake.layout().manifest(1)).await.expect("deleted");
        assert_eq!(listed(&store, 2).await.expect("listed"), found[..2]);
        assert_eq!(listed(&store, 3).await.expect_err("missing").kind(), ErrorKind::Defect);
    }

    #[tokio::test]
    async fn the_lease_tells_of_the_end_of_the_last_run_alone() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(NOW)));
        let (first, second) = (writer_at(&store, NOW).await, writer_at(&store, NOW).await);
        let lease = async |writer: &Writer| {
            let never = std::future::pending();
            let (clock, name) = (Arc::clone(&clock) as _, binding().name);
            Lease::acquire(store.clone(), name, writer.run(), clock, LeaseWait::No, never).await
        };
        let ends = async || listed(&store, 9).await.expect("listed").iter().map(|run| run.end).collect::<Vec<_>>();
        assert_eq!(ends().await, []);
        let ended_at = BeijingTime::from_unix(NOW + 5).expect("a time");
        let clean = |writer: &Writer| {
            let (run, last_sweep) = (writer.run(), ended_at);
            Some(CleanEnd {
                run,
                ended_at,
                newest: None,
                last_sweep,
                checked_until: None,
                succeeded_at: None,
                published: BTreeMap::new(),
            })
        };
        land(&first, new_commit(0, 9)).await;
        let held = lease(&first).await.expect("an answer").expect("free");
        assert_eq!(ends().await, [RunEnd::AtWork]);
        held.release(clean(&first)).await;
        assert_eq!(ends().await, [RunEnd::At(ended_at)]);
        land(&second, new_commit(10, 19)).await;
        let held = lease(&second).await.expect("an answer").expect("free");
        assert_eq!(ends().await, [RunEnd::AtWork, RunEnd::At(ended_at)], "it is the last that has ended");
        held.release(clean(&second)).await;
        assert_eq!(ends().await, [RunEnd::At(ended_at), RunEnd::Unknown]);
    }
}
