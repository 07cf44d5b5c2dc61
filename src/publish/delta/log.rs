//! Reading a Delta table's versions, and creating the next one.
//!
//! A listing says what is there and never that it is all. So the newest version is the one after which, asked for by
//! its number, nothing stands; and whoever creates the next one finds out for certain.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::action::{self, DeltaAction};
use super::checkpoint;
use super::state::DeltaState;
use crate::error::{Error, ErrorClass, Result};
use crate::log::Table;
use crate::log::layout;
use crate::store::{Created, Store};
use crate::text::{key, text};

/// How many versions are read at once.
const READ_AHEAD: usize = 16;
/// How often a version is tried to be created, and `_last_checkpoint` to be written. A sweep of another run may take
/// what is half written for a dead run's.
const TRIES: u32 = 3;
/// What to do about a table that cannot be read.
const ANEW: &str =
    key!("delete the folder `_delta_log` of the table and run `wdt-lake publish`: it publishes the same table anew");

/// A table as it was read.
pub(crate) struct LoadedTable {
    pub(crate) state: DeltaState,
    /// How many versions were read one by one.
    pub(crate) read: u64,
}

/// Whose version stands under a number.
pub(crate) enum CreatedVersion {
    /// Ours.
    Ours,
    /// Somebody else's.
    Other(Vec<DeltaAction>),
}

/// The object that says which checkpoint is the newest.
#[derive(Serialize, Deserialize)]
struct LastCheckpoint {
    version: u64,
    size: usize,
}

/// The Delta table of a table of the lake.
#[derive(Clone, Copy)]
pub(crate) struct DeltaLog<'a> {
    pub(crate) store: &'a Store,
    pub(crate) table: Table,
}

impl DeltaLog<'_> {
    /// The actions of a version; `None` when nothing stands there.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when it is no version.
    pub(crate) async fn version(self, version: u64) -> Result<Option<Vec<DeltaAction>>> {
        let path = layout::delta_version(self.table, version);
        let Some(bytes) = self.store.get(&path).await? else { return Ok(None) };
        action::from_bytes(&bytes).map(Some).map_err(|why| {
            Error::new(ErrorClass::PublishedDamaged, "a version of a Delta table cannot be read")
                .with("object", self.store.uri(&path))
                .because(why)
                .hint(ANEW)
        })
    }

    /// Whether a table of ours stands here. What another program wrote is not ours to keep.
    ///
    /// # Errors
    /// As [`version`](Self::version).
    pub(crate) async fn stands(self) -> Result<DeltaStanding> {
        Ok(match self.version(0).await? {
            // A table that begins later may be read all the same: what is active in it must not be deleted.
            None if !self.store.names(&layout::delta_log(self.table)).await?.is_empty() => return Err(self.missing(0)),
            None => DeltaStanding::Nothing,
            Some(actions) if is_ours(&actions) => DeltaStanding::Ours,
            Some(_) => DeltaStanding::Foreign,
        })
    }

    /// The table as of its newest version; `None` when there is none.
    ///
    /// # Errors
    /// As [`version`](Self::version); [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a table of another program,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when versions are missing.
    pub(crate) async fn load(self) -> Result<Option<LoadedTable>> {
        let Some(mut state) = self.beginning().await? else { return Ok(None) };
        let first = state.version + 1;
        let from = layout::delta_version(self.table, state.version);
        let listed = self.store.list_after(&layout::delta_log(self.table), &from).await?;
        let newest = listed.iter().filter_map(|object| layout::delta_version_of(&object.path)).max();
        let mut versions = stream::iter(first..=newest.unwrap_or(0))
            .map(|version| async move { Ok::<_, Error>((version, self.version(version).await?)) })
            .buffered(READ_AHEAD);
        while let Some((version, actions)) = versions.try_next().await? {
            state.apply(version, actions.ok_or_else(|| self.missing(version))?);
        }
        drop(versions);
        while let Some(actions) = self.version(state.version + 1).await? {
            state.apply(state.version + 1, actions);
        }
        self.check(&state)?;
        if first > 1 {
            // A checkpoint says nothing of the version that the table begins with.
            match self.stands().await? {
                DeltaStanding::Ours => {}
                DeltaStanding::Foreign => return Err(self.foreign()),
                DeltaStanding::Nothing => return Err(self.vanished()),
            }
        }
        Ok(Some(LoadedTable { read: state.version + 1 - first, state }))
    }

    /// The state that reading begins with: the newest checkpoint, else version 0.
    async fn beginning(self) -> Result<Option<DeltaState>> {
        let named = self.store.get(&layout::delta_last_checkpoint(self.table)).await?;
        let named = named.and_then(|bytes| serde_json::from_slice::<LastCheckpoint>(&bytes).ok());
        if let Some(state) = self.checkpoint(named.map(|last| last.version)).await? {
            return Ok(Some(state));
        }
        let names = self.store.names(&layout::delta_log(self.table)).await?;
        let mut listed: Vec<u64> = names.iter().filter_map(|name| layout::delta_checkpoint_of(name)).collect();
        listed.sort_unstable();
        for version in listed.into_iter().rev() {
            if let Some(state) = self.checkpoint(Some(version)).await? {
                return Ok(Some(state));
            }
        }
        let first = self.version(0).await?.map(|actions| {
            let mut state = DeltaState::default();
            state.apply(0, actions);
            state
        });
        match first {
            None if !names.is_empty() => Err(self.missing(0)),
            first => Ok(first),
        }
    }

    /// The state of a checkpoint, when it is there and can be read: nothing depends on one.
    pub(super) async fn checkpoint(self, version: Option<u64>) -> Result<Option<DeltaState>> {
        let Some(version) = version else { return Ok(None) };
        let path = layout::delta_checkpoint(self.table, version);
        let Some(bytes) = self.store.get(&path).await? else { return Ok(None) };
        Ok(match checkpoint::from_bytes(bytes, version) {
            Ok(state) => Some(state),
            Err(why) => {
                tracing::warn!(object = self.store.uri(&path), why, "a checkpoint of a Delta table is not used");
                None
            }
        })
    }

    /// The log was restored from a backup, or made anew, without the table.
    pub(crate) fn is_ahead(self, published: u64, newest: u64) -> Error {
        let why = text!(
            "the Delta table is ahead of the commit log: it has manifest {published}, the log ends at {newest}",
            published,
            newest
        );
        Error::new(ErrorClass::PublishedDamaged, why).with("table", self.table).hint(ANEW)
    }

    /// The log was restored from a backup, or made anew, without the table, and has come to the same number since.
    pub(crate) fn is_of_another_log(self, number: u64) -> Error {
        let why = text!(
            "the Delta table follows another commit log: its manifest {number} is not the one of this log",
            number
        );
        Error::new(ErrorClass::PublishedDamaged, why).with("table", self.table).hint(ANEW)
    }

    fn missing(self, version: u64) -> Error {
        Error::new(ErrorClass::PublishedDamaged, "a version of a Delta table is missing")
            .with("object", self.store.uri(&layout::delta_version(self.table, version)))
            .hint(ANEW)
    }

    /// That the table was deleted while it was published.
    pub(crate) fn vanished(self) -> Error {
        Error::new(ErrorClass::WroteAtOnce, "a Delta table was deleted while it was published")
            .with("object", self.store.uri(&layout::delta_log(self.table)))
            .hint("run again: it is published anew")
    }

    /// Refuses a table that is not ours.
    fn check(self, state: &DeltaState) -> Result<()> {
        if state.protocol.as_ref().is_some_and(action::Protocol::is_ours) { Ok(()) } else { Err(self.foreign()) }
    }

    /// That another program's table stands here.
    pub(crate) fn foreign(self) -> Error {
        Error::new(ErrorClass::PublishedOfOthers, "another program keeps a Delta table over the files of this one")
            .with("object", self.store.uri(&layout::delta_log(self.table)))
            .hint("to publish, move that `_delta_log` folder away or delete it; that program's table ends with it")
    }

    /// Puts the actions as a version, only where nothing stands. `staging` is what a half-written local file is called.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the outcome is not known: it may still arrive.
    pub(crate) async fn create(self, version: u64, actions: &[DeltaAction], staging: &str) -> Result<CreatedVersion> {
        let path = layout::delta_version(self.table, version);
        let bytes = Bytes::from(action::to_bytes(actions)?);
        let mut tries = 0;
        loop {
            tries += 1;
            match self.store.create(&path, bytes.clone(), staging).await {
                Ok(Created::New) => return Ok(CreatedVersion::Ours),
                // Perhaps our own first try. Who has put the same bytes has done the same.
                Ok(Created::Taken) => match self.store.get(&path).await? {
                    Some(held) if held == bytes => return Ok(CreatedVersion::Ours),
                    Some(_) => {
                        let held = self.version(version).await?;
                        return Ok(CreatedVersion::Other(held.ok_or_else(|| self.missing(version))?));
                    }
                    None => return Err(self.missing(version)),
                },
                Err(error) if tries == TRIES => return Err(error),
                Err(error) => tracing::debug!(%error, "a version of a Delta table could not be created, trying again"),
            }
        }
    }

    /// Leaves a checkpoint of a state. What goes wrong costs readers some versions, and nothing else.
    pub(crate) async fn leave_checkpoint(self, state: &DeltaState, staging: &str) {
        let written = async {
            let (bytes, size) = checkpoint::to_bytes(state)?;
            self.store.create(&layout::delta_checkpoint(self.table, state.version), bytes, staging).await?;
            let last = serde_json::to_vec(&LastCheckpoint { version: state.version, size })
                .map_err(|error| Error::internal("cannot write which Delta checkpoint is the newest").because(error))?;
            self.store.put(&layout::delta_last_checkpoint(self.table), Bytes::from(last), staging).await
        };
        if let Err(error) = written.await {
            tracing::debug!(table = %self.table, version = state.version, %error, "a Delta checkpoint was not written");
        }
    }
}

/// What stands where a table is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeltaStanding {
    /// Nothing.
    Nothing,
    /// A table that we publish.
    Ours,
    /// One that another program keeps.
    Foreign,
}

fn is_ours(actions: &[DeltaAction]) -> bool {
    actions.iter().any(|action| action.protocol.as_ref().is_some_and(action::Protocol::is_ours))
}
