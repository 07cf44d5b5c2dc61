//! The committed set of one account, for whoever only reads: never writes, never sweeps.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use bytes::Bytes;
use futures::Stream;

use super::digest::Sha256;
use super::layout::{Layout, Table, account_of_folder, manifest_folders};
use super::manifest::{FileEntry, Manifest};
use super::object::{self, ObjectEntry};
use super::read::{self, ManifestNames};
use super::state::{LiveCommit, LogState};
use crate::error::Result;
use crate::id::{AccountName, CommitId};
use crate::store::Store;
use crate::time::Coverage;

/// A committed file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeFile {
    /// The absolute path or URI, as readers take it.
    pub uri: String,
    /// The commit that added it.
    pub commit: CommitId,
    /// What its manifest says of it, the name relative to the lake's root included.
    pub entry: FileEntry,
}

/// The committed set of an account as of the moment it was read.
#[derive(Clone, Debug)]
pub struct Lake {
    store: Store,
    layout: Layout,
    state: LogState,
    names: ManifestNames,
}

/// The manifests of an account's log, one by one; holds no state.
#[derive(Clone, Debug)]
pub(crate) struct ManifestReader {
    store: Store,
    layout: Layout,
    names: ManifestNames,
}

impl ManifestReader {
    /// The store.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Where the account lies in it.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// As [`Lake::manifest`].
    pub(crate) async fn manifest(&self, number: u64) -> Result<Option<(Manifest, Sha256)>> {
        read::load(&self.store, &self.layout, self.names, number).await
    }

    /// As [`Lake::manifests`].
    pub(crate) async fn manifests(
        &self,
        numbers: RangeInclusive<u64>,
    ) -> Result<impl Stream<Item = Result<(Manifest, Sha256)>>> {
        read::manifests(&self.store, &self.layout, self.names, numbers).await
    }
}

impl Lake {
    /// The accounts that have a commit log in this lake, in the order of names.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
    pub async fn accounts(store: &Store) -> Result<Vec<AccountName>> {
        let root = manifest_folders();
        let folders = store.list_folders(root).await?;
        let accounts: Vec<_> = folders.iter().filter_map(|folder| account_of_folder(root, folder)).collect();
        if !accounts.is_empty() {
            return Ok(accounts);
        }
        // That a lake is empty is a lot to believe: it is listed in another way, too.
        let names = store.names(root).await?;
        let folder = |name: &String| name.splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
        let found: BTreeSet<_> = names.iter().filter_map(|name| account_of_folder(root, &folder(name))).collect();
        Ok(found.into_iter().collect())
    }

    /// Reads the commit log of `account`. An account without one is empty.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer or the format is too new,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the log breaks its rules.
    pub async fn open(store: Store, account: AccountName) -> Result<Self> {
        let layout = Layout::new(account);
        let read::OpenedLog { state, names, .. } = read::open(&store, &layout).await?;
        Ok(Self { store, layout, state, names })
    }

    pub(crate) fn of(store: Store, layout: Layout, state: LogState, names: ManifestNames) -> Self {
        Self { store, layout, state, names }
    }

    /// What reads the manifests, and the state that was read.
    pub(crate) fn into_parts(self) -> (ManifestReader, LogState) {
        let Self { store, layout, state, names } = self;
        (ManifestReader { store, layout, names }, state)
    }

    /// The account.
    pub fn account(&self) -> &AccountName {
        self.layout.account()
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The state that the log adds up to.
    pub fn state(&self) -> &LogState {
        &self.state
    }

    /// The committed seconds of modified time.
    pub fn coverage(&self) -> &Coverage {
        self.state.coverage()
    }

    /// The committed files of `table`, in the order of names.
    pub fn files(&self, table: Table) -> Vec<LakeFile> {
        let mut files: Vec<LakeFile> = self
            .state
            .live()
            .iter()
            .flat_map(|(commit, live)| live.files.iter().map(move |entry| (*commit, entry)))
            .filter(|(_, entry)| entry.table == table.name())
            .map(|(commit, entry)| LakeFile { uri: self.store.uri(&entry.path), commit, entry: entry.clone() })
            .collect();
        files.sort_unstable_by(|a, b| a.entry.path.cmp(&b.entry.path));
        files
    }

    /// The committed rows of `table`.
    pub fn rows(&self, table: Table) -> u64 {
        self.state.live().values().map(|live| live.rows(table)).sum()
    }

    /// The committed quarantined records.
    pub fn quarantined(&self) -> u64 {
        self.state.live().values().flat_map(|live| &live.quarantine).map(|held| held.rows).sum()
    }

    /// The commits that hold quarantined records.
    pub fn with_quarantine(&self) -> impl Iterator<Item = (CommitId, &LiveCommit)> {
        self.state.live().iter().filter(|(_, live)| !live.quarantine.is_empty()).map(|(commit, live)| (*commit, live))
    }

    /// The manifest of that number, if there is one.
    ///
    /// # Errors
    /// As [`Lake::open`].
    pub async fn manifest(&self, number: u64) -> Result<Option<Manifest>> {
        let manifest = read::load(&self.store, &self.layout, self.names, number).await?;
        Ok(manifest.map(|(manifest, _)| manifest))
    }

    /// The manifests of these numbers with the digests of their bytes, in order.
    ///
    /// # Errors
    /// As [`Lake::open`]; also for a manifest that is missing.
    pub(crate) async fn manifests(
        &self,
        numbers: RangeInclusive<u64>,
    ) -> Result<impl Stream<Item = Result<(Manifest, Sha256)>>> {
        read::manifests(&self.store, &self.layout, self.names, numbers).await
    }

    /// The bytes of a committed object, checked against what its manifest says of it.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when it is missing or was changed,
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
    pub async fn read<'a>(&self, entry: impl Into<ObjectEntry<'a>>) -> Result<Bytes> {
        object::read(&self.store, entry.into()).await
    }

    /// A committed object as a file of local disk, for what may be too large for memory; checked as by
    /// [`read`](Self::read).
    ///
    /// # Errors
    /// As [`read`](Self::read), and when no temporary file can be written.
    pub(crate) async fn fetch<'a>(&self, entry: impl Into<ObjectEntry<'a>>) -> Result<std::fs::File> {
        object::fetch(&self.store, entry.into()).await
    }

    /// Where it lies in the store.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Reads what was added to the log since.
    ///
    /// # Errors
    /// As [`Lake::open`].
    pub async fn follow(&mut self) -> Result<()> {
        read::follow(&self.store, &self.layout, self.names, &mut self.state).await
    }
}
