//! Reading a commit log into its state.
//!
//! A log is read by number, because a listing taken while manifests are added may miss one and show the next. Where a
//! single writer is at work on a store without conditional puts, the names of manifests carry their commit, so there a
//! listing says what they are; and two names of one number are a **fork**: two writers at once, each of which believed
//! to have committed. Nobody can tell any more which of them readers have seen, so everything stops until a person has
//! chosen.
//!
//! A listing says only what is there, never that it is all: stores exist whose listings break off. So a log ends where
//! it is **proved** to end: the manifest after the last that was listed is asked for by its number, and must be absent.
//! What stands there although it was not listed counts like any other, and the number after it is asked for.
//!
//! What the newest [checkpoint](crate::log::checkpoint) that can be believed adds up is neither read nor listed again:
//! opening costs the same however long the log is. So a fork or a missing manifest before it is seen by
//! [`check_whole`] and by `verify` only.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::checkpoint::{self, InvalidCheckpoint};
use super::digest::Sha256;
use super::layout::{Layout, Name};
use super::manifest::Manifest;
use super::state::LogState;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::id::CommitId;
use crate::store::{Store, Writers};
use crate::text::text;

/// How many manifests are read at once.
const READ_AHEAD: usize = 16;

/// From how many on manifests that a listing left out are worth a word.
const UNLISTED_SAID: u32 = 16;

/// How the manifests of a log are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ManifestNames {
    /// By their number alone.
    Plain,
    /// Some by number and commit: a single writer's.
    WithCommit,
}

/// A log as it was read.
pub(crate) struct OpenedLog {
    pub(crate) state: LogState,
    pub(crate) names: ManifestNames,
    /// The number of the checkpoint that reading began with; 0 for none.
    pub(crate) checkpoint: u64,
    /// How many manifests were read behind it.
    pub(crate) read: u64,
}

/// The names of manifests in a listing, by number, and those of checkpoints.
#[derive(Default)]
pub(crate) struct ListedLog {
    manifests: BTreeMap<u64, Vec<(String, Option<CommitId>)>>,
    checkpoints: BTreeSet<checkpoint::ListedCheckpoint>,
}

impl ListedLog {
    pub(crate) fn of(layout: &Layout, names: impl IntoIterator<Item = String>) -> Self {
        let mut listed = Self::default();
        for path in names {
            let name = layout.parse(&path);
            let (number, commit) = match name {
                Some(Name::Manifest(number)) => (number, None),
                Some(Name::SoleManifest { number, id }) => (number, Some(id)),
                _ => {
                    listed.checkpoints.extend(checkpoint::ListedCheckpoint::of(name));
                    continue;
                }
            };
            listed.manifests.entry(number).or_default().push((path, commit));
        }
        listed
    }

    /// The same, with what stands behind the last number although it was not listed. An error when that cannot be a
    /// log.
    pub(crate) async fn proved(mut self, store: &Store, layout: &Layout) -> Result<Self> {
        let mut unlisted = 0;
        loop {
            let next = self.newest().saturating_add(1);
            let Some((path, commit)) = self.standing(store, layout, next).await? else { break };
            // It must be one: a store that has an answer to everything would have no end.
            match load_named(store, (path.clone(), commit)).await {
                Ok(Some((manifest, _))) if manifest.number == next => {}
                // One that is broken is for whoever reads it to tell; behind it nothing is sought.
                Ok(_) => break self.take(next, path, commit),
                Err(error) if error.kind() == ErrorKind::Defect => break self.take(next, path, commit),
                Err(error) => return Err(error),
            }
            self.take(next, path, commit);
            unlisted += 1;
        }
        // A run that commits at the same time adds one or two.
        if unlisted > UNLISTED_SAID {
            let log = store.uri(&layout.manifest_root());
            tracing::warn!(
                log,
                unlisted,
                "the store's listing leaves manifests out; they were found by their numbers: run `wdt-lake doctor`"
            );
        }
        Ok(self)
    }

    /// What stands under a number that was not listed.
    async fn standing(
        &self,
        store: &Store,
        layout: &Layout,
        number: u64,
    ) -> Result<Option<(String, Option<CommitId>)>> {
        let plain = layout.manifest(number);
        let knows_commits = self.names() == ManifestNames::WithCommit || store.writers() == Writers::Single;
        if !knows_commits && store.get(&plain).await?.is_some() {
            return Ok(Some((plain, None)));
        }
        // Where nothing was listed, nobody knows how manifests are named.
        if !knows_commits && !self.manifests.is_empty() {
            return Ok(None);
        }
        let names = store.names_from(&layout.before_manifest(number)).await?;
        let found = Self::of(layout, names);
        if found.manifests.contains_key(&number) { found.one(store, layout, number).map(Some) } else { Ok(None) }
    }

    fn take(&mut self, number: u64, path: String, commit: Option<CommitId>) {
        self.manifests.entry(number).or_default().push((path, commit));
    }

    fn newest(&self) -> u64 {
        self.manifests.keys().next_back().copied().unwrap_or(0)
    }

    /// The numbers that are listed.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.manifests.keys().copied()
    }

    /// The checkpoints that are listed, the newest last.
    pub(crate) fn checkpoints(&self) -> &BTreeSet<checkpoint::ListedCheckpoint> {
        &self.checkpoints
    }

    pub(crate) fn names(&self) -> ManifestNames {
        let carries_commit = self.manifests.values().flatten().any(|(_, commit)| commit.is_some());
        if carries_commit { ManifestNames::WithCommit } else { ManifestNames::Plain }
    }

    /// The one name of a number, or the plain one for a number that is not listed.
    pub(crate) fn one(&self, store: &Store, layout: &Layout, number: u64) -> Result<(String, Option<CommitId>)> {
        match self.manifests.get(&number).map(Vec::as_slice) {
            None | Some([]) => Ok((layout.manifest(number), None)),
            Some([one]) => Ok(one.clone()),
            Some([one, other, ..]) => Err(fork(store, &one.0, &other.0)),
        }
    }

    /// Whether each number from 1 on has its one manifest, as far as names tell.
    async fn check_whole(&self, store: &Store, layout: &Layout) -> Result<()> {
        for number in 1..=self.newest() {
            let (path, _) = self.one(store, layout, number)?;
            if !self.manifests.contains_key(&number) && store.get(&path).await?.is_none() {
                return Err(missing(store, layout, number));
            }
        }
        Ok(())
    }
}

fn missing(store: &Store, layout: &Layout, number: u64) -> Error {
    Error::new(ErrorClass::ManifestMissing, "a manifest is missing from the commit log")
        .with("object", store.uri(&layout.manifest(number)))
        .hint("restore it from a backup of the lake, or sync into a new lake")
}

/// Lists the whole log, up to its proved end.
pub(crate) async fn list(store: &Store, layout: &Layout) -> Result<ListedLog> {
    let names = store.names(&layout.manifest_root()).await?;
    let older = names.iter().find(|name| layout.is_older_manifest(name)).cloned();
    let listed = ListedLog::of(layout, names).proved(store, layout).await?;
    if let Some(older) = older.filter(|_| listed.manifests.is_empty()) {
        refuse_older(store, &older).await?;
    }
    Ok(listed)
}

/// Refuses a log of a format that has its manifests elsewhere. Taken for an empty one it would be begun anew, and a
/// sweep would delete all that it names.
async fn refuse_older(store: &Store, path: &str) -> Result<()> {
    match store.get(path).await? {
        Some(bytes) => Manifest::refuse_early(&bytes, &store.uri(path)),
        None => Ok(()),
    }
}

/// Lists the whole log and looks for forks and missing manifests, wherever they are.
///
/// # Errors
/// [`ErrorKind::Conflict`] for a fork, [`ErrorKind::Defect`] for a manifest that is missing.
pub(crate) async fn check_whole(store: &Store, layout: &Layout) -> Result<()> {
    list(store, layout).await?.check_whole(store, layout).await
}

/// Reads the log: its newest checkpoint, and the manifests after it.
pub(crate) async fn open(store: &Store, layout: &Layout) -> Result<OpenedLog> {
    let names = store.names(&layout.checkpoint_root()).await?;
    let checkpoints: BTreeSet<_> =
        names.iter().filter_map(|name| checkpoint::ListedCheckpoint::of(layout.parse(name))).collect();
    for held in checkpoints.into_iter().rev() {
        // One that is gone was deleted by a sweep.
        let Some(bytes) = store.get(&held.path(layout)).await? else { continue };
        let opened = match checkpoint::from_bytes(layout, held, &bytes) {
            Ok(state) => open_from(store, layout, state).await?,
            Err(why) => Err(why),
        };
        match opened {
            Ok(opened) => return Ok(opened),
            Err(why) => {
                let object = store.uri(&held.path(layout));
                tracing::warn!(object, %why, "a checkpoint is not used; the log is read without it");
            }
        }
    }
    let opened = open_from(store, layout, LogState::new(layout.account().clone())).await?;
    if opened.as_ref().is_ok_and(|opened| opened.state.last().is_none()) {
        list(store, layout).await?;
    }
    opened.map_err(|why| Error::internal(text!("an empty log is not believed: {why}", why)))
}

/// Reads the manifests after `state`, or tells why they are not those that follow it.
async fn open_from(
    store: &Store,
    layout: &Layout,
    mut state: LogState,
) -> Result<std::result::Result<OpenedLog, InvalidCheckpoint>> {
    let checkpoint = state.next_number() - 1;
    let names = store.names_after(&layout.manifest_root(), &layout.before_manifest(checkpoint)).await?;
    let mut listed = ListedLog::of(layout, names);
    if checkpoint > 0 && !listed.manifests.contains_key(&checkpoint) {
        // A listing may leave it out; that it stands there is found out below.
        listed.manifests.insert(checkpoint, Vec::new());
    }
    let listed = listed.proved(store, layout).await?;
    let newest = listed.newest();
    let one = |number| listed.one(store, layout, number);
    if newest == checkpoint && !stands(store, &state, one(checkpoint)?).await? {
        return Ok(Err(InvalidCheckpoint::of_another_log()));
    }
    let mut manifests = stream::iter(checkpoint + 1..=newest)
        .map(|number| async move { load_named(store, one(number)?).await })
        .buffered(READ_AHEAD);
    let mut read = 0;
    while let Some(loaded) = manifests.try_next().await? {
        let (manifest, sha256) = loaded.ok_or_else(|| missing(store, layout, state.next_number()))?;
        if read == 0 && checkpoint > 0 && manifest.previous != state.newest() {
            return Ok(Err(InvalidCheckpoint::of_another_log()));
        }
        state.apply(&manifest, sha256)?;
        read += 1;
    }
    drop(manifests);
    Ok(Ok(OpenedLog { state, names: listed.names(), checkpoint, read }))
}

/// Whether the newest manifest of a checkpoint is the one that stands under its number. Where a later one follows, that
/// one vouches for it.
async fn stands(store: &Store, state: &LogState, (path, _): (String, Option<CommitId>)) -> Result<bool> {
    let Some(newest) = state.newest() else { return Ok(true) };
    Ok(store.get(&path).await?.map(|bytes| Sha256::of(&bytes)) == Some(newest.sha256))
}

/// Reads what was added since.
pub(crate) async fn follow(store: &Store, layout: &Layout, names: ManifestNames, state: &mut LogState) -> Result<()> {
    while let Some((manifest, sha256)) = load(store, layout, names, state.next_number()).await? {
        state.apply(&manifest, sha256)?;
    }
    Ok(())
}

/// The manifests of these numbers with the digests of their bytes, in order, several read at once. One that is missing
/// is an error.
pub(crate) async fn manifests<'a>(
    store: &'a Store,
    layout: &'a Layout,
    names: ManifestNames,
    numbers: RangeInclusive<u64>,
) -> Result<impl Stream<Item = Result<(Manifest, Sha256)>> + 'a> {
    let listed = match names {
        ManifestNames::Plain => ListedLog::default(),
        ManifestNames::WithCommit => {
            let before = layout.before_manifest(*numbers.start());
            ListedLog::of(layout, store.names_after(&layout.manifest_root(), &before).await?)
        }
    };
    let read = move |number| {
        let name = listed.one(store, layout, number);
        async move { load_named(store, name?).await?.ok_or_else(|| missing(store, layout, number)) }
    };
    Ok(stream::iter(numbers).map(read).buffered(READ_AHEAD))
}

/// The manifest of a number and the digest of its bytes, when there is one.
pub(crate) async fn load(
    store: &Store,
    layout: &Layout,
    names: ManifestNames,
    number: u64,
) -> Result<Option<(Manifest, Sha256)>> {
    let name = match names {
        ManifestNames::Plain => (layout.manifest(number), None),
        ManifestNames::WithCommit => {
            // From the number before on: a fork there came after it was read.
            let before = number.saturating_sub(1);
            let after = store.names_after(&layout.manifest_root(), &layout.before_manifest(before)).await?;
            let listed = ListedLog::of(layout, after);
            listed.one(store, layout, before)?;
            listed.one(store, layout, number)?
        }
    };
    load_named(store, name).await
}

async fn load_named(store: &Store, (path, commit): (String, Option<CommitId>)) -> Result<Option<(Manifest, Sha256)>> {
    let Some(bytes) = store.get(&path).await? else { return Ok(None) };
    let manifest = Manifest::from_bytes(&bytes, &store.uri(&path))?;
    if commit.is_some_and(|commit| commit != manifest.id) {
        return Err(Error::new(ErrorClass::ManifestDamaged, "a manifest stands under the name of another commit")
            .with("object", store.uri(&path))
            .hint("restore the lake from a backup, or sync into a new lake"));
    }
    Ok(Some((manifest, Sha256::of(&bytes))))
}

fn fork(store: &Store, one: &str, other: &str) -> Error {
    Error::new(ErrorClass::Forked, "two runs wrote the commit log at once: it has a fork")
        .with("other", store.uri(other))
        .with("one", store.uri(one))
        .hint("stop all runs; of the two keep the one that a later manifest follows, else the one that removes or fences commits, else either; delete the other and run `sync` again: it lands what is then missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_of_an_older_format_is_no_empty_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new("acme".parse().expect("a name"));
        let older = format!("{}/{:020}.json", layout.manifest_root(), 1);
        for store in [Store::memory(), Store::local(folder.path(), crate::store::Access::Write).expect("made")] {
            let put = |bytes: &'static [u8]| store.put(&older, bytes.into(), "_staging/x");
            put(br#"{"note":"of somebody else"}"#).await.expect("put");
            assert!(open(&store, &layout).await.expect("untracked").state.last().is_none());
            put(br#"{"format":"0.9","number":1}"#).await.expect("put");
            let said = [open(&store, &layout).await.err(), list(&store, &layout).await.err()];
            for error in said {
                let error = error.expect("refused");
                assert_eq!(error.kind(), ErrorKind::Lake);
                assert!(error.to_string().contains("0.9"), "{error}");
            }
        }
    }
}
