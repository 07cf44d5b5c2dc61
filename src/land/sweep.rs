//! The sweep: clears away what runs that died have left, before a run writes.
//!
//! It lists first and reads the log after, so that nothing which was committed before the listing looks unfinished.
//! Then:
//! - objects of removed and of fenced commits are deleted, once they are kept no longer: neither can ever come back to
//!   life. What a live commit names stays, whosever it was;
//! - objects of unknown commit ids are unfinished work, and the manifest that would make them count may still be on its
//!   way, however old they are and however dead their process is. So a fence names these ids, under the very number
//!   that such a late manifest would need, and only then are they deleted. When that late manifest wins the number
//!   instead, its id is known and its objects stay. What this process has staged itself is left alone;
//! - half-written local files, and in a bucket half-done uploads, go as soon as their commit is known or fenced;
//! - of the checkpoints all but the newest two: nothing depends on them;
//! - probes of a run that began more than an hour ago go too: nothing depends on them, so here age is reason enough;
//! - untracked objects are reported and never touched.
//!
//! Before files are deleted, what publishes them elsewhere is told ([`LogWatcher`](super::LogWatcher)). If that
//! fails, none is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::{StreamExt, TryStreamExt, stream};

use super::commit::Writer;
use super::stage::CommitOutcome;
use crate::error::{Error, ErrorClass, Result};
use crate::id::{CommitId, RunId};
use crate::log::layout::{self, LEASE_ROOT, Name};
use crate::log::read::ManifestNames;
use crate::log::state::Standing;
use crate::log::{Conflict, Lake, Layout, LogState, Table, checkpoint, read};
use crate::store::Store;
use crate::time::BeijingTime;

/// How many objects are deleted at once.
const DELETES_AT_ONCE: usize = 8;
/// Whoever probes a store is done in a minute; clocks of machines differ by less.
const PROBE_SECONDS: u64 = 3_600;

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// The commit ids that it fenced.
    pub fenced: Vec<CommitId>,
    /// The objects that it deleted.
    pub deleted: Vec<String>,
    /// Untracked objects in the account's folders.
    pub untracked: Vec<String>,
}

/// What lies in a lake beside the committed set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// Commit ids that no manifest knows, with their objects: work of a run that is still under way, or that died.
    pub unfinished: Vec<(CommitId, Vec<String>)>,
    /// Objects of removed or fenced commits whose deletion is not finished, and half-written leases.
    pub deletable: Vec<String>,
    /// Objects of removed or fenced commits that are kept for readers, and until when the last of them is.
    pub kept: Vec<String>,
    /// Until when the last of these is kept.
    pub kept_until: Option<BeijingTime>,
    /// Untracked objects in the account's folders.
    pub untracked: Vec<String>,
}

/// What lies in the account's folders beside the committed set at `now`, found by listing them. Touches nothing.
///
/// # Errors
/// As [`Lake::open`]. The log is read again after the listing, so that what was committed in between does not look
/// unfinished.
pub(crate) async fn leftovers(lake: &Lake, now: BeijingTime) -> Result<Leftovers> {
    let objects = list_owned(lake.store(), lake.layout()).await?;
    let mut lake = lake.clone();
    lake.follow().await?;
    let Found { unknown, deletable, kept, kept_until, leases, untracked } =
        sort_out(lake.state(), lake.layout(), objects, now);
    let mut deletable: Vec<String> = deletable.into_iter().map(|dead| dead.path).collect();
    deletable.extend(leases.into_iter().map(|(_, path)| path));
    Ok(Leftovers { unfinished: unknown.into_iter().collect(), deletable, kept, kept_until, untracked })
}

/// An object that may be deleted. The lesser goes first: of headers those that never counted, then the oldest, so that
/// no older version of a requisition outlives a newer one; then all else. Of a commit's files of one span the last part
/// goes first: carried rows stand in later parts than new ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeadObject {
    pub(crate) is_no_header: bool,
    pub(crate) has_counted: bool,
    /// The number of the manifest that removed or fenced its commit.
    pub(crate) number: u64,
    /// Its name without the part, which begins with its window within a month.
    stem: String,
    later_part: Reverse<u32>,
    /// Its name.
    pub(crate) path: String,
}

/// A listing, sorted out by what the log says.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Objects of commits that the log does not know.
    pub(crate) unknown: BTreeMap<CommitId, Vec<String>>,
    /// Objects of commits that can never count again, and half-written ones of commits that count.
    pub(crate) deletable: Vec<DeadObject>,
    /// Objects of removed or fenced commits that are kept for readers.
    pub(crate) kept: Vec<String>,
    /// Until when the last of these is kept.
    pub(crate) kept_until: Option<BeijingTime>,
    /// Half-written leases.
    pub(crate) leases: Vec<(RunId, String)>,
    /// Untracked objects.
    pub(crate) untracked: Vec<String>,
}

/// Sorts out the objects of an account's folders at `now`.
pub(crate) fn sort_out(state: &LogState, layout: &Layout, objects: Vec<String>, now: BeijingTime) -> Found {
    let mut found = Found::default();
    let named: HashSet<&str> = state.named();
    for path in objects {
        match layout.parse(&path) {
            Some(Name::StagedLease(run)) => found.leases.push((run, path)),
            Some(Name::Data { .. } | Name::Quarantine(_) | Name::Raw(_)) if named.contains(&*path) => {}
            Some(name @ (Name::Data { .. } | Name::Quarantine(_) | Name::Raw(_) | Name::Staged(_))) => {
                let Some(commit) = name.commit() else { continue };
                sort_in(state, &mut found, name, commit, path, now);
            }
            Some(Name::Manifest(_) | Name::SoleManifest { .. } | Name::Checkpoint { .. })
            | Some(Name::Lease | Name::Probe(_))
            | None => found.untracked.push(path),
        }
    }
    found.deletable.sort_unstable();
    found
}

/// Sorts in an object of a commit that no live commit names.
fn sort_in(state: &LogState, found: &mut Found, name: Name, commit: CommitId, path: String, now: BeijingTime) {
    let is_staged = matches!(name, Name::Staged(_));
    let is_no_header = !matches!(name, Name::Data { table: Table::PurchaseApply, .. });
    match state.standing(commit) {
        None => found.unknown.entry(commit).or_default().push(path),
        Some(Standing::Live) if !is_staged => found.untracked.push(path),
        Some(standing) => {
            let kept_until = state.keep_until(commit).filter(|until| *until >= now && !is_staged);
            if kept_until.is_some() {
                found.kept_until = found.kept_until.max(kept_until);
                found.kept.push(path);
                return;
            }
            let number = state.died_at(commit).unwrap_or(u64::MAX);
            let has_counted = standing != Standing::Fenced;
            let part = layout::part_of(&path).unwrap_or(0);
            let stem = path.strip_suffix(&format!("-{part}.parquet")).unwrap_or(&path).to_owned();
            let later_part = Reverse(part);
            found.deletable.push(DeadObject { is_no_header, has_counted, number, stem, later_part, path });
        }
    }
}

/// The names of all objects in the account's folders of data, quarantine, raw responses and half-written files.
pub(crate) async fn list_owned(store: &Store, layout: &Layout) -> Result<Vec<String>> {
    let roots = layout.owned_roots();
    let listed = futures::future::try_join_all(roots.iter().map(|root| store.names(root))).await?;
    Ok(listed.into_iter().flatten().collect())
}

/// The probes that killed processes have left.
async fn list_old_probes(store: &Store, layout: &Layout) -> Result<Vec<String>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let is_old = |path: &String| match layout.parse(path) {
        Some(Name::Probe(run)) => run.generated_at_unix().is_some_and(|began| began + PROBE_SECONDS < now),
        _ => false,
    };
    Ok(store.list(LEASE_ROOT).await?.into_iter().map(|object| object.path).filter(is_old).collect())
}

impl Writer {
    /// Clears away what runs that died have left. Call it before the first commit, while holding the lease: without the
    /// lease it is as safe, but a run that is still alive has to land again what was fenced.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer; it is safe to sweep again.
    pub(crate) async fn sweep(&self) -> Result<Swept> {
        let began = self.now();
        let objects = list_owned(self.store(), self.layout()).await?;
        let probes = list_old_probes(self.store(), self.layout()).await?;
        let checkpoints = checkpoint::list_outdated(self.store(), self.layout()).await?;
        if self.names() == ManifestNames::WithCommit {
            read::check_whole(self.store(), self.layout()).await?;
        }
        self.store().point("sweep.listed").await?;
        let mut swept = Swept::default();
        // An id that this sweep has seen dead stays dead for it: its own fence may make the log forget the id.
        let mut dead: BTreeMap<String, DeadObject> = BTreeMap::new();
        loop {
            self.follow().await?;
            let left: Vec<String> = objects.iter().filter(|path| !dead.contains_key(*path)).cloned().collect();
            let now = self.now();
            let found = self.with_state(|state| sort_out(state, self.layout(), left, now)).await;
            dead.extend(found.deletable.into_iter().map(|object| (object.path.clone(), object)));
            let own = self.with_state(|state| pinned(state, found.unknown.keys())).await;
            let unknown: Vec<CommitId> = found.unknown.into_keys().filter(|id| !own.contains(id)).collect();
            if unknown.is_empty() {
                let leases = found.leases.into_iter().filter(|(run, _)| *run != self.run()).map(|(_, path)| path);
                let unneeded = leases.chain(probes).chain(checkpoints).collect();
                let may_delete = self.may_delete(dead.keys().map(String::as_str)).await;
                let dead = if may_delete { dead.into_values().collect() } else { Vec::new() };
                swept.deleted = self.delete_all(dead, unneeded).await?;
                swept.untracked = found.untracked;
                if may_delete {
                    self.note_swept(began);
                }
                return Ok(swept);
            }
            let fence = self.stage(Vec::new()).await.fencing(unknown.clone());
            match self.commit(fence).await? {
                CommitOutcome::Committed(_) => {
                    self.store().point("sweep.fenced").await?;
                    swept.fenced.extend(unknown);
                }
                // One of the ids was committed, or fenced by another sweep, in the meantime; or another sweep saw this
                // fence half written and fenced it: sort out again.
                CommitOutcome::Dropped(Conflict::Known { .. } | Conflict::Fenced) => {}
                CommitOutcome::Dropped(conflict) => {
                    return Err(Error::new(ErrorClass::WroteAtOnce, "cannot commit a fence").because(conflict.text()));
                }
            }
        }
    }

    /// Deletes headers one after the other in their order, then all else.
    async fn delete_all(&self, mut dead: Vec<DeadObject>, unneeded: Vec<String>) -> Result<Vec<String>> {
        dead.sort_unstable();
        let (others, headers): (Vec<_>, Vec<_>) = dead.into_iter().partition(|object| object.is_no_header);
        let mut deleted = self.delete_some(headers.into_iter().map(|object| object.path).collect(), 1).await?;
        let others = others.into_iter().map(|object| object.path).chain(unneeded).collect();
        deleted.extend(self.delete_some(others, DELETES_AT_ONCE).await?);
        Ok(deleted)
    }

    async fn delete_some(&self, paths: Vec<String>, at_once: usize) -> Result<Vec<String>> {
        let deletes = stream::iter(paths).map(|path| async move {
            match self.layout().parse(&path) {
                Some(Name::Staged(_)) => self.store().delete_staged(&path).await?,
                _ => self.store().delete(&path).await?,
            }
            self.store().point("sweep.deleted_one").await?;
            Ok::<_, Error>(path)
        });
        deletes.buffered(at_once).try_collect().await
    }

    /// Reads what others have added to the log.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub(crate) async fn follow(&self) -> Result<()> {
        let mut state = self.log().lock().await;
        read::follow(self.store(), self.layout(), self.names(), &mut state).await?;
        state.writable()
    }
}

/// Those of `ids` that this process has staged.
fn pinned<'a>(state: &LogState, ids: impl Iterator<Item = &'a CommitId>) -> BTreeSet<CommitId> {
    ids.filter(|id| state.is_pinned(**id)).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::land::testing::{HeldClock, binding, chain, new_commit, options, replacing, window, writer};
    use crate::land::{Committed, NewCommit, NewManifest, WriterOptions};
    use crate::log::layout::probe;
    use crate::log::{CommitKind, Manifest, Sha256};
    use crate::time::Clock as _;

    #[tokio::test]
    async fn a_probe_goes_when_it_is_an_hour_old() {
        let store = Store::memory();
        let old = RunId::parse("01a10000-0000-7000-8000-000000000000").expect("an id of an earlier day");
        let names = [probe(old, "create"), probe(RunId::generate(), "create"), "_lease/probe-x".to_owned()];
        for name in &names {
            store.put(name, bytes::Bytes::new(), "_staging/x").await.expect("put");
        }
        store.put(&Layout::new(binding().name).lease(), bytes::Bytes::new(), "_staging/x").await.expect("put");
        assert_eq!(writer(&store).await.sweep().await.expect("swept").deleted, names[..1]);
        assert_eq!(store.list(LEASE_ROOT).await.expect("listed").len(), 3);
    }

    /// A writer of its own run that keeps what is removed for so many seconds.
    async fn keeping(store: &Store, seconds: u64, clock: &Arc<HeldClock>) -> Writer {
        let keep_removed = std::time::Duration::from_secs(seconds);
        let clock: Arc<dyn crate::time::Clock> = Arc::clone(clock) as _;
        Writer::open(store.clone(), WriterOptions { keep_removed, clock, ..options() }).await.expect("opened")
    }

    async fn landed(writer: &Writer, new: NewManifest) -> Committed {
        match writer.land(new).await.expect("landed") {
            CommitOutcome::Committed(committed) => committed,
            CommitOutcome::Dropped(conflict) => panic!("dropped: {conflict}"),
        }
    }

    #[tokio::test]
    async fn what_is_kept_goes_when_its_time_is_over_whatever_later_runs_are_told() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(1_790_000_000)));
        let first = landed(&keeping(&store, 0, &clock).await, new_commit(0, 9)).await;
        let writer = keeping(&store, 60, &clock).await;
        let second = landed(&writer, replacing(CommitKind::Refresh, 0, 9, vec![first.id])).await;
        let until = clock.now().plus_seconds(60);
        assert_eq!((second.removed.clone(), writer.kept_until(&second).await), (vec![first.id], Some(until)));
        let kept: Vec<String> = first.files().map(|file| file.path.clone()).collect();
        let are_there = async || {
            let all = crate::land::testing::everything(&store).await;
            kept.iter().filter(|path| all.contains(path)).count()
        };
        let later = keeping(&store, 0, &clock).await;
        assert!(later.sweep().await.expect("swept").deleted.is_empty());
        clock.advance(60);
        assert!(later.sweep().await.expect("swept").deleted.is_empty(), "to its last second");
        assert_eq!(are_there().await, kept.len());
        let has_kept = async |since| later.with_state(|state| state.has_kept_until(since, clock.now())).await;
        assert!(!has_kept(until.plus_seconds(-9)).await);
        clock.advance(1);
        assert!(has_kept(until.plus_seconds(-9)).await && !has_kept(until.plus_seconds(1)).await);
        assert_eq!(later.sweep().await.expect("swept").deleted.len(), kept.len());
        assert_eq!(are_there().await, 0);
        // Without it they go at once.
        let third = landed(&later, replacing(CommitKind::Refresh, 0, 9, vec![second.id])).await;
        assert_eq!((third.undeleted.len(), later.kept_until(&third).await), (0, None));
        assert!(later.sweep().await.expect("swept").deleted.is_empty());
    }

    #[tokio::test]
    async fn an_expire_leaves_its_files_to_the_sweep_that_follows() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(1_790_000_000)));
        let writer = keeping(&store, 0, &clock).await;
        let (first, second) = (landed(&writer, new_commit(0, 9)).await, landed(&writer, new_commit(20, 29)).await);
        let expiring = |end, removes| {
            let commit = NewCommit { expired: vec![window(-99, end)], ..NewCommit::of(CommitKind::Expire, None) };
            NewManifest { walk: None, commits: vec![commit], removes, raw: None }
        };
        let expire = landed(&writer, expiring(15, vec![first.id])).await;
        assert_eq!(
            crate::land::testing::everything(&store).await.iter().filter(|path| path.ends_with("parquet")).count(),
            4
        );
        let deleted = writer.sweep().await.expect("swept").deleted;
        assert_eq!(deleted, first.files().map(|file| file.path.clone()).collect::<Vec<_>>(), "headers first");
        let view = writer.view().await;
        assert_eq!(view.state().kept_span(), Some(window(20, 29)));
        assert_eq!(view.state().start(), Some(window(20, 29).start()), "not the beginning of time");
        assert_eq!(view.coverage().windows(), [window(-99, 15), window(20, 29)]);
        // There is one at most.
        let beside = writer.land(expiring(19, vec![second.id])).await.expect("tried");
        assert!(matches!(beside, CommitOutcome::Dropped(Conflict::Overlap { .. })), "{beside:?}");
        let mut apart = expiring(35, vec![second.id]);
        apart.commits[0].expired = vec![window(20, 35)];
        let apart = writer.land(apart).await.expect("tried");
        assert!(matches!(apart, CommitOutcome::Dropped(Conflict::Overlap { .. })), "{apart:?}");
        let next = landed(&writer, expiring(35, vec![expire.id, second.id])).await;
        assert_eq!(writer.view().await.state().expired().map(|(id, _)| id), Some(next.id));
        let kept = writer.view().await;
        assert_eq!(kept.state().start(), Some(window(35, 35).start()), "nothing is kept: the end of what has expired");
    }

    /// Carried rows stand in the later parts, and may be older versions.
    #[test]
    fn of_a_removed_commit_the_last_part_goes_first() {
        let layout = Layout::new("acme".parse().expect("a name"));
        let mut state = LogState::new(layout.account().clone());
        let gone = chain(&state, CommitKind::Sync);
        state.apply(&gone, Sha256::of(b"x")).expect("follows");
        let next = Manifest { removes: vec![gone.id], ..chain(&state, CommitKind::Refresh) };
        state.apply(&next, Sha256::of(b"x")).expect("follows");
        let part = |part| layout.data(Table::PurchaseApply, window(0, 9), gone.id, Some(part)).expect("one month");
        let found = sort_out(&state, &layout, [1, 2, 10].map(part).to_vec(), window(0, 9).start());
        let order: Vec<String> = found.deletable.into_iter().map(|dead| dead.path).collect();
        assert_eq!(order, [10, 2, 1].map(part));
    }

    #[test]
    fn a_listing_is_sorted_out_by_what_the_log_says() {
        let layout = Layout::new("acme".parse().expect("a name"));
        let mut state = LogState::new(layout.account().clone());
        let add = |state: &mut LogState, manifest: Manifest| {
            state.apply(&manifest, Sha256::of(b"x")).expect("follows");
            manifest.id
        };
        let gone = chain(&state, CommitKind::Sync);
        let gone = add(&mut state, gone);
        let live = Manifest { removes: vec![gone], ..chain(&state, CommitKind::Refresh) };
        let live_path = live.commits[0].files[0].path.clone();
        let live = add(&mut state, live);
        let unknown = CommitId::generate();

        let data = |commit| layout.data(Table::PurchaseApply, window(0, 9), commit, None).expect("one month");
        let staged = |commit| format!("{}-1", layout.staging(commit));
        let run = RunId::generate();
        let lease = format!("{}-1", layout.staging_lease(run));
        let stray = layout.data(Table::PurchaseApply, window(0, 9), live, Some(9)).expect("one month");
        let objects = [
            data(gone),
            live_path,
            staged(live),
            staged(gone),
            data(unknown),
            staged(unknown),
            layout.quarantine(unknown),
            lease.clone(),
            stray.clone(),
            "purchase_apply/account=acme/README".to_owned(),
        ];
        let found = sort_out(&state, &layout, objects.to_vec(), window(0, 9).start());
        assert_eq!(
            found.unknown.into_iter().collect::<Vec<_>>(),
            vec![(unknown, vec![data(unknown), staged(unknown), layout.quarantine(unknown)])]
        );
        let deletable: Vec<String> = found.deletable.into_iter().map(|dead| dead.path).collect();
        assert_eq!(deletable, vec![data(gone), staged(gone), staged(live)]);
        assert_eq!(found.leases, vec![(run, lease)]);
        assert_eq!(found.untracked, vec![stray, "purchase_apply/account=acme/README".to_owned()]);
    }
}
