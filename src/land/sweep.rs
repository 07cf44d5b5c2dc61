//! The sweep: clears away what runs that died have left, before a run writes.
//!
//! It lists first and reads the log after, so that nothing which was committed before the listing looks unfinished.
//! Then:
//! - objects of removed and of fenced commits are deleted: neither can ever come back to life;
//! - objects of unknown commit ids are unfinished work, and the manifest that would make them count may still be on its
//!   way, however old they are and however dead their process is. So a `fence` manifest names these ids, under the very
//!   number that such a late manifest would need, and only then are they deleted. When that late manifest wins the
//!   number instead, its id is known and its objects stay;
//! - half-written local files, and in a bucket half-done uploads, go as soon as their commit is known or fenced;
//! - of the checkpoints all but the newest two: nothing depends on them;
//! - probes of a run that began more than an hour ago go too: nothing depends on them, so here age is reason enough;
//! - untracked objects are reported and never touched.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::{StreamExt, TryStreamExt, stream};

use super::commit::Writer;
use super::stage::CommitOutcome;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{CommitId, RunId};
use crate::log::layout::{LEASE_ROOT, Name};
use crate::log::state::Standing;
use crate::log::{CommitKind, Conflict, Lake, Layout, LogState, Table, checkpoint, read};
use crate::store::Store;

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
    /// Untracked objects in the account's folders.
    pub untracked: Vec<String>,
}

/// What lies in the account's folders beside the committed set, found by listing them. Touches nothing.
///
/// # Errors
/// As [`Lake::open`]. The log is read again after the listing, so that what was committed in between does not look
/// unfinished.
pub(crate) async fn leftovers(lake: &Lake) -> Result<Leftovers> {
    let objects = list_owned(lake.store(), lake.layout()).await?;
    let mut lake = lake.clone();
    lake.follow().await?;
    let Found { unknown, mut deletable, leases, untracked } = sort_out(lake.state(), lake.layout(), objects);
    deletable.extend(leases.into_iter().map(|(_, path)| path));
    Ok(Leftovers { unfinished: unknown.into_iter().collect(), deletable, untracked })
}

/// A listing, sorted out by what the log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Objects of commit ids that the log does not know.
    pub(crate) unknown: BTreeMap<CommitId, Vec<String>>,
    /// Objects of commits that can never count again, and half-written ones of commits that count.
    pub(crate) deletable: Vec<String>,
    /// Half-written leases.
    pub(crate) leases: Vec<(RunId, String)>,
    /// Untracked objects.
    pub(crate) untracked: Vec<String>,
}

/// Sorts out the objects of an account's folders.
pub(crate) fn sort_out(state: &LogState, layout: &Layout, objects: Vec<String>) -> Found {
    let mut found = Found::default();
    for path in objects {
        match layout.parse(&path) {
            Some(Name::StagedLease(run)) => found.leases.push((run, path)),
            Some(name @ (Name::Data { .. } | Name::Quarantine(_) | Name::Raw(_) | Name::Staged(_))) => {
                let Some(commit) = name.commit() else { continue };
                match state.standing(commit) {
                    None => found.unknown.entry(commit).or_default().push(path),
                    Some(Standing::Removed | Standing::Fenced) => found.deletable.push(path),
                    Some(Standing::Live) if matches!(name, Name::Staged(_)) => found.deletable.push(path),
                    Some(Standing::Live) => {
                        let named = state.live().get(&commit).is_some_and(|live| live.paths().any(|own| own == path));
                        if !named {
                            found.untracked.push(path);
                        }
                    }
                }
            }
            Some(Name::Manifest(_) | Name::SoleManifest { .. } | Name::Checkpoint { .. })
            | Some(Name::Lease | Name::Probe(_))
            | None => found.untracked.push(path),
        }
    }
    found
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
        let objects = list_owned(self.store(), self.layout()).await?;
        let probes = list_old_probes(self.store(), self.layout()).await?;
        let checkpoints = checkpoint::list_outdated(self.store(), self.layout()).await?;
        self.store().point("sweep.listed").await?;
        let mut swept = Swept::default();
        loop {
            self.follow().await?;
            let found = self.with_state(|state| sort_out(state, self.layout(), objects.clone())).await;
            if found.unknown.is_empty() {
                let leases = found.leases.into_iter().filter(|(run, _)| *run != self.run()).map(|(_, path)| path);
                let unneeded = leases.chain(probes).chain(checkpoints);
                swept.deleted = self.delete_all(found.deletable.into_iter().chain(unneeded).collect()).await?;
                swept.untracked = found.untracked;
                return Ok(swept);
            }
            let unknown: Vec<CommitId> = found.unknown.into_keys().collect();
            let fence = self.begin(CommitKind::Fence, None, Vec::new()).fencing(unknown.clone());
            match self.commit(fence, None).await? {
                CommitOutcome::Committed(_) => {
                    self.store().point("sweep.fenced").await?;
                    swept.fenced.extend(unknown);
                }
                // One of the ids was committed, or fenced by another sweep, in the meantime; or another sweep saw this
                // fence half written and fenced it: sort out again.
                CommitOutcome::Dropped(Conflict::Known { .. } | Conflict::Fenced) => {}
                CommitOutcome::Dropped(conflict) => {
                    return Err(Error::new(ErrorKind::Conflict, "cannot commit a fence").because(conflict));
                }
            }
        }
    }

    /// Deletes headers first: whoever sees one by a glob sees its details too.
    async fn delete_all(&self, paths: Vec<String>) -> Result<Vec<String>> {
        let is_header =
            |path: &String| matches!(self.layout().parse(path), Some(Name::Data { table: Table::PurchaseApply, .. }));
        let (headers, others) = paths.into_iter().partition(is_header);
        let mut deleted = self.delete_at_once(headers).await?;
        deleted.extend(self.delete_at_once(others).await?);
        Ok(deleted)
    }

    async fn delete_at_once(&self, paths: Vec<String>) -> Result<Vec<String>> {
        let deletes = stream::iter(paths).map(|path| async move {
            match self.layout().parse(&path) {
                Some(Name::Staged(_)) => self.store().delete_staged(&path).await?,
                _ => self.store().delete(&path).await?,
            }
            self.store().point("sweep.deleted_one").await?;
            Ok::<_, Error>(path)
        });
        deletes.buffered(DELETES_AT_ONCE).try_collect().await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::land::testing::{binding, chain, window, writer};
    use crate::log::layout::probe;
    use crate::log::{Manifest, Sha256};

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

    #[test]
    fn a_listing_is_sorted_out_by_what_the_log_says() {
        let layout = Layout::new("acme".parse().expect("a name"));
        let mut state = LogState::new(layout.account().clone());
        let add = |state: &mut LogState, manifest: Manifest| {
            state.apply(&manifest, Sha256::of(b"x")).expect("follows");
            manifest.commit
        };
        let gone = chain(&state, CommitKind::Sync);
        let gone = add(&mut state, gone);
        let live = Manifest { removes: vec![gone], ..chain(&state, CommitKind::Refresh) };
        let live_path = live.files[0].path.clone();
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
        let found = sort_out(&state, &layout, objects.to_vec());
        assert_eq!(
            found.unknown.into_iter().collect::<Vec<_>>(),
            vec![(unknown, vec![data(unknown), staged(unknown), layout.quarantine(unknown)])]
        );
        assert_eq!(found.deletable, vec![data(gone), staged(live), staged(gone)]);
        assert_eq!(found.leases, vec![(run, lease)]);
        assert_eq!(found.untracked, vec![stray, "purchase_apply/account=acme/README".to_owned()]);
    }
}
