//! The log of an account as a publisher follows it: from a state that it knows, manifest by manifest.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use crate::error::{Error, ErrorClass, Result};
use crate::id::CommitId;
use crate::log::layout::Name;
use crate::log::{CommitKind, FileEntry, Lake, Layout, LogState, Manifest, ManifestReader, Sha256, Table};
use crate::store::Store;
use crate::time::BeijingTime;

/// What a manifest changed of the committed set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogChange {
    /// Its number.
    pub(crate) number: u64,
    /// When it was begun.
    pub(crate) created_at: BeijingTime,
    /// Whether it removes rows for good: an expire.
    pub(crate) is_expire: bool,
    /// The files that it adds, of all tables.
    pub(crate) added: Vec<FileEntry>,
    /// The files of the commits that it removes, of all tables.
    pub(crate) removed: Vec<GoneFile>,
}

/// A file that is in the committed set no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GoneFile {
    /// Its name, relative to the root of the lake.
    pub(crate) path: String,
    /// Its size.
    pub(crate) bytes: u64,
}

impl GoneFile {
    pub(crate) fn of(entry: &FileEntry) -> Self {
        Self { path: entry.path.clone(), bytes: entry.bytes }
    }

    /// Whether it is one of this table.
    pub(crate) fn is_of(&self, table: Table) -> bool {
        self.path.split('/').next() == Some(table.name())
    }
}

impl LogChange {
    fn of(manifest: &Manifest, removed: Vec<GoneFile>) -> Self {
        Self {
            number: manifest.number,
            created_at: manifest.created_at,
            is_expire: manifest.kind() == CommitKind::Expire,
            added: manifest.commits.iter().flat_map(|commit| &commit.files).cloned().collect(),
            removed,
        }
    }
}

/// The log of an account, followed from the state in which it was handed over.
pub(crate) struct FollowedLog {
    reader: ManifestReader,
    state: LogState,
    /// The number of the manifest after which it is followed.
    base: u64,
    /// When that was begun.
    base_at: Option<BeijingTime>,
    changes: Vec<LogChange>,
}

impl FollowedLog {
    /// Follows the log from the state of `lake` on.
    pub(crate) fn new(lake: Lake) -> Self {
        let (reader, state) = lake.into_parts();
        let base_at = state.last().map(|last| last.created_at);
        Self { reader, base: state.next_number() - 1, base_at, state, changes: Vec::new() }
    }

    /// The store of the lake.
    pub(crate) fn store(&self) -> &Store {
        self.reader.store()
    }

    /// Where the account lies in it.
    pub(crate) fn layout(&self) -> &Layout {
        self.reader.layout()
    }

    /// The state as far as it was followed.
    pub(crate) fn state(&self) -> &LogState {
        &self.state
    }

    /// The number of the newest manifest that was read.
    pub(crate) fn number(&self) -> u64 {
        self.state.next_number() - 1
    }

    /// Reads on up to this number, which must stand.
    ///
    /// # Errors
    /// As [`Lake::open`]; also for a manifest that is missing.
    pub(crate) async fn read_to(&mut self, number: u64) -> Result<()> {
        if self.number() >= number {
            return Ok(());
        }
        let reader = self.reader.clone();
        let manifests = reader.manifests(self.state.next_number()..=number).await?;
        futures::pin_mut!(manifests);
        while let Some((manifest, sha256)) = manifests.try_next().await? {
            self.take_in(&manifest, sha256)?;
        }
        Ok(())
    }

    /// Takes in a manifest without reading it, when it is the next one.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when it does not follow; then nothing of it counts.
    pub(crate) fn take_in(&mut self, manifest: &Manifest, sha256: Sha256) -> Result<()> {
        if manifest.number == self.state.next_number() {
            let removed = self.state.apply(manifest, sha256)?;
            let gone = removed.iter().flat_map(|(_, live)| &live.files).map(GoneFile::of).collect();
            self.changes.push(LogChange::of(manifest, gone));
        }
        Ok(())
    }

    /// Reads on to the end of the log.
    ///
    /// # Errors
    /// As [`Lake::open`].
    pub(crate) async fn read_to_end(&mut self) -> Result<()> {
        while self.reader.manifest(self.state.next_number()).await?.is_some() {
            self.read_to(self.state.next_number()).await?;
        }
        Ok(())
    }

    /// When a manifest was begun, if it is there.
    ///
    /// # Errors
    /// As [`Lake::open`].
    pub(crate) async fn created_at(&self, number: u64) -> Result<Option<BeijingTime>> {
        if number == self.base {
            return Ok(self.base_at);
        }
        match self.changes.iter().find(|change| change.number == number) {
            Some(change) => Ok(Some(change.created_at)),
            None => Ok(self.reader.manifest(number).await?.map(|(manifest, _)| manifest.created_at)),
        }
    }

    /// What the manifests after `published` have changed, as far as the log was read. `active` are the files of the
    /// account that were published with that manifest; they say what a removed commit held.
    ///
    /// # Errors
    /// As [`Lake::open`].
    pub(crate) async fn changes_after(
        &self,
        published: u64,
        active: impl Iterator<Item = GoneFile>,
    ) -> Result<Vec<LogChange>> {
        let mut changes = Vec::new();
        if published < self.base {
            let mut held = HeldFiles::new(self.reader.layout(), active)?;
            let manifests = self.reader.manifests(published + 1..=self.base).await?;
            futures::pin_mut!(manifests);
            while let Some((manifest, _)) = manifests.try_next().await? {
                changes.push(held.change(&manifest));
            }
        }
        changes.extend(self.changes.iter().filter(|change| change.number > published).cloned());
        Ok(changes)
    }

    /// Whether [`changes_after`](Self::changes_after) needs to know what was published.
    pub(crate) fn knows_since(&self, published: u64) -> bool {
        published >= self.base
    }
}

/// The files of commits, to be found when a commit is removed.
struct HeldFiles(BTreeMap<CommitId, Vec<GoneFile>>);

impl HeldFiles {
    fn new(layout: &Layout, files: impl Iterator<Item = GoneFile>) -> Result<Self> {
        let mut held: BTreeMap<CommitId, Vec<GoneFile>> = BTreeMap::new();
        for file in files {
            let Some(Name::Data { commit, .. }) = layout.parse(&file.path) else {
                return Err(Error::new(ErrorClass::PublishedDamaged, "a published file has no name of the lake")
                    .with("path", file.path));
            };
            held.entry(commit).or_default().push(file);
        }
        Ok(Self(held))
    }

    fn change(&mut self, manifest: &Manifest) -> LogChange {
        let gone = manifest.removes.iter().filter_map(|id| self.0.remove(id)).flatten().collect();
        for commit in &manifest.commits {
            self.0.entry(commit.id).or_default().extend(commit.files.iter().map(GoneFile::of));
        }
        LogChange::of(manifest, gone)
    }
}
