//! The log read object by object, so that one broken manifest does not hide what is wrong with the others.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Defect, REPORT, RESTORE_LOG, checkpoints, proof};
use crate::error::{ErrorKind, Result};
use crate::format::FormatVersion;
use crate::id::CommitId;
use crate::log::manifest::Previous;
use crate::log::read::{self, ListedLog, ManifestNames};
use crate::log::{Commit, Layout, LogState, Manifest, Sha256};
use crate::store::Store;
use crate::time::{BeijingTime, Window};

/// How many manifests are read at once.
const READ_AHEAD: usize = 16;
/// A gap of no more numbers than this is asked for number by number: a listing may miss what is added meanwhile.
const GAP_ASKED: u64 = 1_000;

/// What the log adds up to, as far as it can be read.
pub(super) struct Chain {
    /// Manifests that are there.
    pub(super) manifests: u64,
    /// How they are named.
    pub(super) names: ManifestNames,
    /// Their names, by number.
    pub(super) paths: BTreeMap<u64, String>,
    /// The commits that no later manifest removes, with the number and the contract of theirs.
    pub(super) live: BTreeMap<CommitId, Live>,
    /// The manifests that have live commits, by number.
    pub(super) by_number: BTreeMap<u64, Manifest>,
    /// The id of every manifest, by number.
    ids: BTreeMap<u64, CommitId>,
    /// The seconds that each manifest proves by itself, by its number.
    proves: BTreeMap<u64, Vec<Window>>,
    /// The state of those manifests that may follow one another.
    pub(super) state: LogState,
    /// Whether manifests are missing or cannot be read, so that others may refer to what is not known.
    damaged: bool,
    /// The committed set after those manifests for which that is wanted.
    committed: BTreeMap<u64, Option<CommittedAt>>,
    pub(super) defects: Vec<Defect>,
    /// The number of every manifest that can be read, by the commits that it made; what was removed meanwhile
    /// included.
    landed: BTreeMap<CommitId, u64>,
    newest: Option<Previous>,
}

/// The committed set after a manifest.
pub(super) struct CommittedAt {
    /// When the manifest was begun.
    pub(super) begun_at: BeijingTime,
    /// The files with their sizes.
    pub(super) files: BTreeMap<String, u64>,
}

/// A live commit.
#[derive(Clone, Debug)]
pub(super) struct Live {
    /// The number of its manifest.
    pub(super) number: u64,
    /// The data contract of its files.
    pub(super) contract: FormatVersion,
    pub(super) commit: Commit,
}

/// Reads the whole log. `wanted` are numbers of manifests after which the committed set is to be known.
pub(super) async fn read(store: &Store, layout: &Layout, wanted: &BTreeSet<u64>) -> Result<Chain> {
    let listed = read::list(store, layout).await?;
    let numbers = numbers(store, layout, &listed).await?;
    let mut chain = Chain {
        manifests: numbers.len() as u64,
        names: listed.names(),
        paths: BTreeMap::new(),
        live: BTreeMap::new(),
        by_number: BTreeMap::new(),
        ids: BTreeMap::new(),
        proves: BTreeMap::new(),
        state: LogState::new(layout.account().clone()),
        damaged: false,
        committed: wanted.iter().map(|number| (*number, None)).collect(),
        defects: Vec::new(),
        landed: BTreeMap::new(),
        newest: None,
    };
    for (first, last) in gaps(&numbers) {
        let what = if first == last {
            "is missing from the commit log".to_owned()
        } else {
            format!("and those up to number {last} are missing from the commit log")
        };
        chain.damaged = true;
        chain.defect(store.uri(&layout.manifest(first)), what);
    }
    for number in numbers {
        chain.paths.insert(number, listed.one(store, layout, number)?.0);
    }
    let paths = chain.paths.clone();
    let mut untrue = Vec::new();
    let mut objects = stream::iter(&paths)
        .map(|(number, path)| async move { Ok::<_, crate::Error>((*number, path, store.get(path).await?)) })
        .buffered(READ_AHEAD);
    while let Some((number, path, bytes)) = objects.try_next().await? {
        let uri = |number| store.uri(paths.get(&number).unwrap_or(path));
        match bytes {
            Some(bytes) => chain.take(number, &bytes, uri)?,
            None => chain.defect(uri(number), "vanished while the log was read".to_owned()),
        }
        for held in listed.checkpoints().iter().filter(|held| held.number == number) {
            untrue.extend(checkpoints::check(store, layout, *held, chain.known()).await?);
        }
    }
    let newest = paths.keys().next_back().copied().unwrap_or(0);
    for held in listed.checkpoints().iter().filter(|held| held.number > newest) {
        untrue.extend(checkpoints::check_beyond(store, layout, *held, chain.names).await?);
    }
    let misnamed = chain.ids.iter().filter_map(|(number, id)| {
        let path = paths.get(number)?;
        let own = [layout.manifest(*number), layout.sole_manifest(*number, *id)];
        (!own.contains(path)).then(|| store.uri(path))
    });
    for uri in misnamed.collect::<Vec<_>>() {
        chain.defect(uri, "stands under the name of another commit".to_owned());
    }
    chain.defects.extend(untrue);
    Ok(chain)
}

/// The numbers of the manifests: a listing may miss what is added meanwhile, so short gaps are asked for.
async fn numbers(store: &Store, layout: &Layout, listed: &ListedLog) -> Result<BTreeSet<u64>> {
    let mut numbers: BTreeSet<u64> = listed.numbers().collect();
    for gap in gaps(&numbers) {
        for number in gap.0..=gap.1.min(gap.0.saturating_add(GAP_ASKED)) {
            if store.get(&layout.manifest(number)).await?.is_some() {
                numbers.insert(number);
            }
        }
    }
    Ok(numbers)
}

/// The commits that manifests added since `chain` was read have removed.
pub(super) async fn removed_since(store: &Store, layout: &Layout, chain: &Chain) -> Result<BTreeSet<CommitId>> {
    let mut removed = BTreeSet::new();
    let first = chain.newest.map_or(1, |newest| newest.number + 1);
    // A store may have an answer to everything.
    for next in first..first.saturating_add(GAP_ASKED) {
        match read::load(store, layout, chain.names, next).await {
            Ok(Some((manifest, _))) => removed.extend(manifest.removes),
            Ok(None) => return Ok(removed),
            // One that is broken is for the next verification to tell.
            Err(error) if error.kind() == ErrorKind::Defect => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// The numbers that are missing from 1 to the highest, as first and last of each gap.
fn gaps(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut before = 0;
    let mut gaps = Vec::new();
    for number in numbers.iter().copied().filter(|number| *number > 0) {
        if number > before + 1 {
            gaps.push((before + 1, number - 1));
        }
        before = number;
    }
    gaps
}

impl Chain {
    /// What the manifests read so far add up to, as long as they have no defects.
    fn known(&self) -> Option<&LogState> {
        Some(&self.state).filter(|_| self.defects.is_empty())
    }

    /// Whether rows of the commit can stand in a file of manifest `number`. Where manifests are missing nobody knows.
    pub(super) fn may_have_landed(&self, commit: CommitId, number: u64) -> bool {
        self.landed.get(&commit).map_or(self.damaged, |landed| *landed <= number)
    }

    fn defect(&mut self, object: String, what: String) {
        self.defects.push(Defect { object, what, remedy: RESTORE_LOG, commit: None });
    }

    /// Takes out a commit that is live no more, and its manifest when that has no other.
    fn forget(&mut self, commit: CommitId) {
        let Some(gone) = self.live.remove(&commit) else { return };
        let has_live = |manifest: &Manifest| manifest.commits.iter().any(|commit| self.live.contains_key(&commit.id));
        if self.by_number.get(&gone.number).is_some_and(|manifest| !has_live(manifest)) {
            self.by_number.remove(&gone.number);
        }
    }

    /// Keeps the committed set after a manifest for which that is wanted.
    fn note_committed(&mut self, number: u64, begun_at: BeijingTime) {
        if let Some(committed) = self.committed.get_mut(&number) {
            let files = self.live.values().flat_map(|live| &live.commit.files);
            let files = files.map(|file| (file.path.clone(), file.bytes)).collect();
            *committed = Some(CommittedAt { begun_at, files });
        }
    }

    /// The committed set after a manifest that was wanted; `None` where it is not there.
    pub(super) fn committed_at(&self, number: u64) -> Option<&CommittedAt> {
        self.committed.get(&number)?.as_ref()
    }

    /// Adds the manifest that stands under `number`.
    fn take(&mut self, number: u64, bytes: &Bytes, uri: impl Fn(u64) -> String) -> Result<()> {
        let own = uri(number);
        let sha256 = Sha256::of(bytes);
        let before = self.newest.replace(Previous { number, sha256 }).filter(|before| before.number + 1 == number);
        let manifest = match Manifest::from_bytes(bytes, &own) {
            Ok(manifest) => manifest,
            Err(error) if error.kind() == ErrorKind::Defect => {
                self.damaged = true;
                self.defect(own, error.message().to_owned());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if manifest.number != number {
            self.defect(own.clone(), format!("says that it is number {}", manifest.number));
        } else if let Some(before) = before
            && let Some(said) = manifest.previous
            && said != before
        {
            let what = format!(
                "has the SHA-256 {}, its successor `{own}` says {}: one of them was changed or exchanged",
                before.sha256, said.sha256
            );
            self.defect(uri(before.number), what);
        }
        // The rules are tried as if the numbers were right: what is wrong with them is told already.
        let mut follower =
            Manifest { number: self.state.next_number(), previous: self.state.newest(), ..manifest.clone() };
        if self.damaged {
            follower.removes.retain(|commit| self.state.standing(*commit).is_some());
            for commit in &mut follower.commits {
                commit.results.retain(|result| self.state.stops().pending().contains_key(&result.number));
            }
        }
        match self.state.apply(&follower, sha256) {
            Ok(removed) => {
                for commit in &manifest.removes {
                    self.forget(*commit);
                }
                let wrong = proof::check_against(&manifest, &removed, &self.proves);
                let wrong = wrong.into_iter().filter(|_| !self.damaged);
                self.defects.extend(wrong.map(|what| Defect {
                    object: own.clone(),
                    what,
                    remedy: REPORT,
                    commit: Some(manifest.id),
                }));
            }
            Err(error) => self.defect(own, error.message().to_owned()),
        }
        self.proves.insert(number, proof::proved_by(&manifest));
        for commit in &manifest.commits {
            let live = Live { number, contract: manifest.contract, commit: commit.clone() };
            self.live.insert(commit.id, live);
            self.landed.insert(commit.id, number);
        }
        self.note_committed(number, manifest.created_at);
        self.ids.insert(number, manifest.id);
        if !manifest.commits.is_empty() {
            self.by_number.insert(number, manifest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_told_as_ranges() {
        assert_eq!(gaps(&[1, 2, 4, 9].into()), [(3, 3), (5, 8)]);
        assert_eq!(gaps(&[3].into()), [(1, 2)]);
        assert_eq!(gaps(&[u64::MAX].into()), [(1, u64::MAX - 1)]);
        assert!(gaps(&BTreeSet::new()).is_empty());
    }
}
