//! Reading the versions of an Iceberg table, and creating the next one.
//!
//! A listing says what is there and never that it is all. So the newest version is the one after which, asked for by
//! its number, nothing stands; and whoever creates the next one finds out for certain. Old versions are deleted, so
//! that a publisher which slept for long can create one of them again; see [`IcebergFolder::say_newest`].

use std::collections::BTreeSet;

use bytes::Bytes;

use super::manifest::{self, ManifestEntry};
use super::metadata::{IcebergMetadata, Snapshot};
use crate::error::{Error, ErrorClass, Result};
use crate::id::{AccountName, CommitId};
use crate::log::Table;
use crate::log::layout::{self, IcebergName};
use crate::store::{Created, Store};
use crate::text::{key, text};

/// How many versions of the metadata are kept before the newest: a reader that has found one has so long to read it.
pub(crate) const KEPT_VERSIONS: u64 = 20;
/// How often an object is tried to be written, and how often the folder is listed again when a version goes meanwhile.
const TRIES: u32 = 3;
/// What to do about a table that cannot be read.
const ANEW: &str = key!(
    "delete the folder of the table and run `wdt-lake publish --format iceberg`: it publishes the same table anew"
);

/// The Iceberg table of an account.
#[derive(Clone, Copy)]
pub(crate) struct IcebergFolder<'a> {
    pub(crate) store: &'a Store,
    pub(crate) account: &'a AccountName,
    pub(crate) table: Table,
}

/// A table as it was found.
pub(crate) struct FoundTable {
    /// The newest version of its metadata.
    pub(crate) version: u64,
    /// What that says.
    pub(crate) metadata: IcebergMetadata,
    /// The names in its folder, as they were listed before.
    pub(crate) names: Vec<String>,
}

impl IcebergFolder<'_> {
    /// The name of an object, relative to the root of the lake.
    pub(crate) fn path(self, name: IcebergName) -> String {
        format!("{}/{}", layout::iceberg_folder(self.table, self.account), name.file())
    }

    /// The URI of an object of the lake, as Iceberg readers take it.
    pub(crate) fn uri(self, path: &str) -> String {
        let scheme = if self.store.folder().is_some() { "file://" } else { "" };
        format!("{scheme}{}", self.store.uri(path))
    }

    /// The URI of the table's folder.
    pub(crate) fn location(self) -> String {
        self.uri(&layout::iceberg_table(self.table, self.account))
    }

    /// A URI as a name relative to the root of the lake, where it is one.
    pub(crate) fn path_of(self, uri: &str) -> Option<&str> {
        uri.strip_prefix(&self.uri(""))
    }

    /// Whether a table stands here, whoever keeps it.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
    pub(crate) async fn stands(self) -> Result<bool> {
        let names = self.store.names(&layout::iceberg_folder(self.table, self.account)).await?;
        // A listing may leave names out.
        Ok(!names.is_empty() || self.store.get(&self.path(IcebergName::Hint)).await?.is_some())
    }

    /// The newest version of the table; `None` where there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) for what cannot be read.
    pub(crate) async fn newest(self) -> Result<Option<FoundTable>> {
        let mut tries = 0;
        loop {
            tries += 1;
            let names = self.store.names(&layout::iceberg_folder(self.table, self.account)).await?;
            let listed = names.iter().filter_map(|name| match IcebergName::of(name) {
                Some(IcebergName::Version(version)) => Some(version),
                _ => None,
            });
            let listed = match listed.max() {
                Some(version) => Some(version),
                None => self.hint().await?,
            };
            let Some(mut version) = listed else { return Ok(None) };
            let Some(mut metadata) = self.version(version).await? else {
                if tries < TRIES {
                    continue;
                }
                return Err(self.missing(&self.path(IcebergName::Version(version))));
            };
            while let Some(after) = version.checked_add(1)
                && let Some(next) = self.version(after).await?
            {
                (version, metadata) = (after, next);
            }
            return Ok(Some(FoundTable { version, metadata, names }));
        }
    }

    async fn stands_at(self, version: u64) -> Result<bool> {
        Ok(self.version(version).await?.is_some())
    }

    async fn version(self, version: u64) -> Result<Option<IcebergMetadata>> {
        let path = self.path(IcebergName::Version(version));
        let Some(bytes) = self.store.get(&path).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| match IcebergMetadata::is_of_others(&bytes) {
            true => self.foreign(),
            false => self.unread(&path, error.to_string()),
        })
    }

    /// The version that is said to be the newest; `None` also for what readers do not take as a number.
    async fn hint(self) -> Result<Option<u64>> {
        let bytes = self.store.get(&self.path(IcebergName::Hint)).await?;
        let said = bytes.and_then(|bytes| {
            let text = std::str::from_utf8(&bytes).ok()?;
            text.parse::<u64>().ok().filter(|said| said.to_string() == text)
        });
        Ok(said)
    }

    /// Says that a version is the newest, or one that came after it meanwhile, unless a later one is said to be, and
    /// stands. Gives whether it counts: it
    /// does not where a much later one stands, so that it is one that stood before and was deleted, and was created
    /// again by a publisher that slept. (Who deletes one has said before that a much later one is the newest.)
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) for a version that cannot be read.
    pub(crate) async fn say_newest(self, version: u64, staging: &str) -> Result<bool> {
        let said = match self.hint().await? {
            // Somebody else has written there: a version that never was must not keep readers and us waiting for it.
            Some(said) if said > version && !self.stands_at(said).await? => None,
            said => said,
        };
        if said.is_none_or(|said| said < version) {
            let mut newest = version;
            loop {
                let (path, text) = (self.path(IcebergName::Hint), Bytes::from(newest.to_string()));
                tried(|| self.store.put(&path, text.clone(), staging)).await?;
                // Whoever created the next one meanwhile may have said so before us.
                match newest.checked_add(1) {
                    Some(after) if self.stands_at(after).await? => newest = after,
                    _ => break,
                }
            }
        }
        Ok(said.is_none_or(|said| said <= version.saturating_add(KEPT_VERSIONS)))
    }

    /// Puts a version, only where nothing stands; gives whether it is ours. `staging` is what a half-written local file
    /// is called.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the outcome is not known: it may still arrive.
    pub(crate) async fn create(self, version: u64, metadata: &IcebergMetadata, staging: &str) -> Result<bool> {
        let path = self.path(IcebergName::Version(version));
        let bytes = serde_json::to_vec(metadata)
            .map_err(|error| Error::internal("cannot write the metadata of an Iceberg table").because(error))?;
        let bytes = Bytes::from(bytes);
        match tried(|| self.store.create(&path, bytes.clone(), staging)).await? {
            Created::New => Ok(true),
            // Perhaps our own first try.
            Created::Taken => Ok(self.store.get(&path).await?.is_some_and(|held| held == bytes)),
        }
    }

    /// Puts an Avro file of a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
    pub(crate) async fn put_avro(self, path: &str, bytes: Bytes, staging: &str) -> Result<()> {
        tried(|| self.store.put_unique(path, bytes.clone(), staging)).await
    }

    /// The live data files of a snapshot that a version of the table has; `None` when a later version stands by now.
    /// Whoever created that may have deleted what the snapshot consists of.
    ///
    /// # Errors
    /// As [`live`](Self::live).
    pub(crate) async fn live_of(self, found: &FoundTable) -> Result<Option<Vec<ManifestEntry>>> {
        let Some(snapshot) = found.metadata.current() else { return Ok(Some(Vec::new())) };
        match self.live(snapshot).await {
            Ok(live) => Ok(Some(live)),
            Err(_) if self.has_later(found.version).await? => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a later version than this one stands by now.
    ///
    /// # Errors
    /// As [`newest`](Self::newest).
    pub(crate) async fn has_later(self, version: u64) -> Result<bool> {
        Ok(self.newest().await?.is_some_and(|newest| newest.version > version))
    }

    /// The live data files of a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) for what is missing or cannot be read.
    pub(crate) async fn live(self, snapshot: &Snapshot) -> Result<Vec<ManifestEntry>> {
        let list = self.avro(&snapshot.manifest_list).await?;
        let listed = manifest::list_from_bytes(&list).map_err(|why| self.unread(&snapshot.manifest_list, why))?;
        let mut live = Vec::new();
        for named in &listed {
            let bytes = self.avro(&named.manifest_path).await?;
            let entries = manifest::live_from_bytes(&bytes, named);
            live.extend(entries.map_err(|why| self.unread(&named.manifest_path, why))?);
        }
        Ok(live)
    }

    async fn avro(self, uri: &str) -> Result<Bytes> {
        let path = self.path_of(uri).ok_or_else(|| self.unread(uri, "it lies outside of the lake".to_owned()))?;
        self.store.get(path).await?.ok_or_else(|| self.missing(path))
    }

    /// Deletes what no reader needs any more: versions long before this one, and Avro files of decided versions that no
    /// snapshot names. What goes wrong is left to the next run.
    pub(crate) async fn clear(self, version: u64, metadata: &IcebergMetadata, names: &[String]) {
        let named: BTreeSet<&str> =
            metadata.snapshots.iter().filter_map(|snapshot| self.path_of(&snapshot.manifest_list)).collect();
        let is_needed = |id: CommitId, of: u64| named.contains(&*self.path(IcebergName::List(of, id)));
        for name in names {
            let goes = match IcebergName::of(name) {
                Some(IcebergName::Version(old)) => old.saturating_add(KEPT_VERSIONS) < version,
                Some(IcebergName::Manifest(of, id) | IcebergName::List(of, id)) => of <= version && !is_needed(id, of),
                Some(IcebergName::Hint) | None => false,
            };
            if goes && let Err(error) = self.store.delete(name).await {
                tracing::debug!(%error, "an old object of an Iceberg table was not deleted");
            }
        }
    }

    /// That another program's table stands here.
    pub(crate) fn foreign(self) -> Error {
        Error::new(ErrorClass::PublishedOfOthers, "another program keeps an Iceberg table where this one would be")
            .with("object", self.uri(&layout::iceberg_table(self.table, self.account)))
            .hint("to publish, move that folder away or delete it; that program's table ends with it")
    }

    /// The log was restored from a backup, or made anew, without the table.
    pub(crate) fn is_ahead(self, published: u64, newest: u64) -> Error {
        let why = text!(
            "the Iceberg table is ahead of the commit log: it has manifest {published}, the log ends at {newest}",
            published,
            newest
        );
        self.damaged(why)
    }

    /// The log was restored from a backup, or made anew, without the table, and has come to the same number since.
    pub(crate) fn is_of_another_log(self, number: u64) -> Error {
        self.damaged(text!(
            "the Iceberg table follows another commit log: its manifest {number} is not the one of this log",
            number
        ))
    }

    fn damaged(self, why: crate::text::Text) -> Error {
        Error::new(ErrorClass::PublishedDamaged, why).with("object", self.location()).hint(ANEW)
    }

    fn missing(self, path: &str) -> Error {
        Error::new(ErrorClass::PublishedDamaged, "an object of an Iceberg table is missing")
            .with("object", self.store.uri(path))
            .hint(ANEW)
    }

    fn unread(self, object: &str, why: String) -> Error {
        Error::new(ErrorClass::PublishedDamaged, "an object of an Iceberg table cannot be read")
            .with("object", object)
            .because(why)
            .hint(ANEW)
    }
}

/// Writes an object, at most so often. A sweep of another run may take a half-written local file for one of the dead.
async fn tried<T, F: Future<Output = Result<T>>>(write: impl Fn() -> F) -> Result<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        match write().await {
            Err(error) if tries < TRIES => {
                tracing::debug!(%error, "an object of an Iceberg table could not be written, trying again");
            }
            outcome => return outcome,
        }
    }
}
