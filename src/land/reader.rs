//! The committed set of one account, for whoever only reads: never writes, never sweeps.

use bytes::Bytes;

use super::committed::{self, ObjectEntry};
use super::fold::{Fold, LiveCommit};
use super::layout::{Layout, Table, account_of_folder, manifest_folders};
use super::log::{self, Names};
use super::manifest::{FileEntry, Proof};
use super::store::Store;
use super::sweep::{Found, sort_out};
use crate::error::Result;
use crate::id::{AccountName, CommitId};
use crate::time::Coverage;

/// The accounts that have a commit log in this lake, in the order of names.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
pub async fn accounts(store: &Store) -> Result<Vec<AccountName>> {
    let folders = store.list_folders(manifest_folders()).await?;
    Ok(folders.iter().filter_map(|folder| account_of_folder(manifest_folders(), folder)).collect())
}

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

/// What lies in a lake beside the committed set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Commit ids that no manifest knows, with their objects: work of a run that is still under way, or that died.
    pub unfinished: Vec<(CommitId, Vec<String>)>,
    /// Objects of removed or fenced commits whose deletion is not finished, and half-written leases.
    pub deletable: Vec<String>,
    /// Names in the account's folders that are not ours.
    pub foreign: Vec<String>,
}

/// The committed set of an account as of the moment it was read.
#[derive(Clone, Debug)]
pub struct Lake {
    store: Store,
    layout: Layout,
    fold: Fold,
    names: Names,
}

impl Lake {
    /// Reads the commit log of `account`. An account without one is empty.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer or the format is too new,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the log breaks its rules.
    pub async fn open(store: Store, account: AccountName) -> Result<Self> {
        let layout = Layout::new(account);
        let log::Opened { fold, names, .. } = log::read(&store, &layout).await?;
        Ok(Self { store, layout, fold, names })
    }

    pub(super) fn of(store: Store, layout: Layout, fold: Fold, names: Names) -> Self {
        Self { store, layout, fold, names }
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
    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    /// The committed seconds of modified time.
    pub fn coverage(&self) -> &Coverage {
        self.fold.coverage()
    }

    /// The committed files of `table`, in the order of names.
    pub fn files(&self, table: Table) -> Vec<LakeFile> {
        let mut files: Vec<LakeFile> = self
            .fold
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
        let files = self.fold.live().values().flat_map(|live| &live.files);
        files.filter(|file| file.table == table.name()).map(|file| file.rows).sum()
    }

    /// The committed quarantined records.
    pub fn quarantined(&self) -> u64 {
        self.fold.live().values().filter_map(|live| live.quarantine.as_ref()).map(|held| held.rows).sum()
    }

    /// The commits that hold quarantined records.
    pub fn with_quarantine(&self) -> impl Iterator<Item = (CommitId, &LiveCommit)> {
        self.fold.live().iter().filter(|(_, live)| live.quarantine.is_some()).map(|(commit, live)| (*commit, live))
    }

    /// The proof of the commit with that number, if it has one.
    ///
    /// # Errors
    /// As [`Lake::open`].
    pub async fn proof(&self, number: u64) -> Result<Option<Proof>> {
        let manifest = log::load(&self.store, &self.layout, self.names, number).await?;
        Ok(manifest.and_then(|(manifest, _)| manifest.proof))
    }

    /// The bytes of a committed object, checked against what its manifest says of it.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when it is missing or was changed, [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the
    /// store does not answer.
    pub async fn read<'a>(&self, entry: impl Into<ObjectEntry<'a>>) -> Result<Bytes> {
        committed::read(&self.store, entry.into()).await
    }

    /// What lies in the account's folders beside the committed set, found by listing them. Touches nothing.
    ///
    /// # Errors
    /// As [`Lake::open`]. The log is read again after the listing, so that what was committed in between does not look unfinished.
    pub async fn leftovers(&self) -> Result<Leftovers> {
        let objects = super::sweep::list_owned(&self.store, &self.layout).await?;
        let mut fold = self.fold.clone();
        log::follow(&self.store, &self.layout, self.names, &mut fold).await?;
        let Found { unknown, mut deletable, leases, foreign } = sort_out(&fold, &self.layout, objects);
        deletable.extend(leases.into_iter().map(|(_, path)| path));
        Ok(Leftovers { unfinished: unknown.into_iter().collect(), deletable, foreign })
    }
}
