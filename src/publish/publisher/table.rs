//! One table: what is missing of an account, cut into versions and created one after the other.

use tokio::sync::Mutex;

use super::tail::{Tail, contract_of};
use super::{PublishedTable, Publishing};
use crate::error::{Error, ErrorClass, Result};
use crate::id::CommitId;
use crate::log::layout::Name;
use crate::log::{FileEntry, Layout};
use crate::publish::delta::action::{self, DeltaAction};
use crate::publish::delta::app_id;
use crate::publish::delta::cut::{DeltaVersion, cut, whole};
use crate::publish::delta::log::{CreatedVersion, DeltaLog, LoadedTable};
use crate::publish::delta::state::DeltaState;
use crate::publish::follow::{FollowedLog, GoneFile};
use crate::publish::schema::TableSchema;
use crate::publish::standing::NamedManifest;
use crate::publish_format::PublishFormat;
use crate::text::text;
use crate::time::BeijingTime;

/// Every so many versions a checkpoint is left: a reader reads it and at most so many versions after it.
const CHECKPOINT_EVERY: u64 = 20;
/// How many versions of others are read one by one after the one that a hint names.
const MOST_READ_ON: u32 = 50;
/// How often other publishers may be faster.
const TRIES: u32 = 100;

/// Publishes to one table.
#[derive(Debug)]
pub(super) struct TablePublisher {
    schema: TableSchema,
    /// What is known of the newest version.
    tail: Mutex<Option<Tail>>,
}

/// What to do where no table stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhereNothing {
    Create,
    Leave,
}

impl TablePublisher {
    /// A publisher of a table of this schema.
    pub(super) fn new(schema: TableSchema) -> Self {
        Self { schema, tail: Mutex::new(None) }
    }

    /// What the table is.
    pub(super) fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// Publishes what is missing of an account; `None` where no table stands and none is to be made.
    ///
    /// # Errors
    /// As [`Publisher::publish`](super::Publisher::publish).
    pub(super) async fn publish(
        &self,
        publishing: &mut Publishing<'_>,
        where_nothing: WhereNothing,
    ) -> Result<Option<PublishedTable>> {
        let mut known = self.tail.lock().await;
        let store = publishing.log.store().clone();
        let log = DeltaLog { store: &store, table: self.schema.table };
        let app_id = app_id(publishing.log.layout().account());
        let (mut created, mut own_version) = (0, None);
        for _ in 0..TRIES {
            // While it is not known what becomes of a version, nothing is known of the table.
            let tail = self.newest(log, publishing, known.take(), &app_id).await?;
            store.point("publish.read").await?;
            let Some(mut tail) = tail else {
                if where_nothing == WhereNothing::Leave {
                    return Ok(None);
                }
                self.make(log, publishing).await?;
                continue;
            };
            let versions = self.missing(log, publishing, &mut tail, &app_id).await?;
            let (first, wanted) = (tail.version, versions.len());
            let own = self.create_all(log, publishing, &mut tail, versions, &app_id).await?;
            created += own as u64;
            if own > 0 {
                own_version = Some(first + own as u64);
            }
            if tail.version / CHECKPOINT_EVERY > first / CHECKPOINT_EVERY {
                self.leave_checkpoint(log, publishing).await?;
            }
            if own < wanted {
                *known = self.read_on(log, tail).await?;
                continue;
            }
            let number = tail.txns.get(&app_id).map(|manifest| manifest.number);
            let version = own_version.unwrap_or(tail.version);
            *known = Some(tail);
            if let Some(number) = number.filter(|number| *number >= publishing.up_to) {
                return Ok(Some(PublishedTable {
                    table: self.schema.table,
                    format: PublishFormat::Delta,
                    version,
                    number,
                    created,
                }));
            }
        }
        Err(Error::new(ErrorClass::WroteAtOnce, "other publishers are faster all the while")
            .with("table", self.schema.table)
            .hint("run again: it publishes what is missing"))
    }

    /// Creates these versions one after the other, up to the first that somebody else has created; gives how many are
    /// ours.
    async fn create_all(
        &self,
        log: DeltaLog<'_>,
        publishing: &Publishing<'_>,
        tail: &mut Tail,
        versions: Vec<DeltaVersion>,
        app_id: &str,
    ) -> Result<usize> {
        let staging = publishing.log.layout().staging_lease(publishing.run);
        for (nth, version) in versions.iter().enumerate() {
            let actions = self.actions(publishing, tail, version, app_id);
            match log.create(tail.version + 1, &actions, &staging).await? {
                CreatedVersion::Ours => {
                    log.store.point("publish.created").await?;
                    tail.take_in(&actions);
                }
                CreatedVersion::Other(actions) => {
                    tail.take_in(&actions);
                    return Ok(nth);
                }
            }
        }
        Ok(versions.len())
    }

    /// The newest version as far as it must be known: with the account's `txn`, and by our data contract.
    async fn newest(
        &self,
        log: DeltaLog<'_>,
        publishing: &Publishing<'_>,
        known: Option<Tail>,
        app_id: &str,
    ) -> Result<Option<Tail>> {
        let tail = match known {
            Some(tail) => Some(tail),
            None => self.find(log, publishing, app_id).await?,
        };
        let suffices = |tail: &Tail| {
            tail.is_complete || (tail.txns.contains_key(app_id) && tail.contract == Some(self.schema.contract))
        };
        if tail.as_ref().is_none_or(suffices) {
            return Ok(tail);
        }
        let loaded = log.load().await?.ok_or_else(|| log.vanished())?;
        self.check_contract(log, &loaded.state)?;
        Ok(Some(Tail::of(&loaded.state)))
    }

    /// The newest version, by the hint that the account's last run left, else by reading the table.
    async fn find(&self, log: DeltaLog<'_>, publishing: &Publishing<'_>, app_id: &str) -> Result<Option<Tail>> {
        let hint = publishing.hints.get(self.schema.table.name()).copied();
        if let Some(version) = hint
            && let Some(actions) = log.version(version).await?
        {
            let mut tail = Tail::before(version);
            tail.take_in(&actions);
            if tail.txns.contains_key(app_id) {
                return Ok(Some(tail));
            }
        }
        let Some(LoadedTable { state, read }) = log.load().await? else { return Ok(None) };
        self.check_contract(log, &state)?;
        if read >= 2 * CHECKPOINT_EVERY {
            let staging = publishing.log.layout().staging_lease(publishing.run);
            log.leave_checkpoint(&state, &staging).await;
        }
        Ok(Some(Tail::of(&state)))
    }

    /// Takes in the versions that others have created; where these are many, by reading the table.
    async fn read_on(&self, log: DeltaLog<'_>, mut tail: Tail) -> Result<Option<Tail>> {
        for _ in 0..MOST_READ_ON {
            match log.version(tail.version + 1).await? {
                Some(actions) => tail.take_in(&actions),
                None => return Ok(Some(tail)),
            }
        }
        Ok(log.load().await?.map(|loaded| Tail::of(&loaded.state)))
    }

    /// Version 0.
    async fn make(&self, log: DeltaLog<'_>, publishing: &Publishing<'_>) -> Result<()> {
        let at = newest_at(publishing.log);
        let actions = [
            action::commit_info(at, "CREATE TABLE", &self.schema),
            action::protocol(),
            action::metadata(&self.schema, at),
        ];
        let staging = publishing.log.layout().staging_lease(publishing.run);
        log.create(0, &actions, &staging).await?;
        Ok(())
    }

    /// The versions that are missing of the account.
    async fn missing(
        &self,
        log: DeltaLog<'_>,
        publishing: &mut Publishing<'_>,
        tail: &mut Tail,
        app_id: &str,
    ) -> Result<Vec<DeltaVersion>> {
        let Some(published) = tail.txns.get(app_id).copied() else {
            // Files that were deleted before the table stood must not be added.
            publishing.log.read_to_end().await?;
            let state = publishing.log.state();
            let live = state.live().values().flat_map(|live| &live.files);
            return Ok(vec![whole(self.schema.table, publishing.log.number(), newest_at(publishing.log), live)]);
        };
        Self::check_history(log, publishing, published).await?;
        let published = published.number;
        if published >= publishing.up_to {
            return Ok(Vec::new());
        }
        if publishing.log.knows_since(published) {
            let changes = publishing.log.changes_after(published, std::iter::empty()).await?;
            return Ok(cut(self.schema.table, &changes));
        }
        // What was removed since is known by what was published.
        let LoadedTable { state, .. } = log.load().await?.ok_or_else(|| log.vanished())?;
        *tail = Tail::of(&state);
        let published = tail.txns.get(app_id).copied().ok_or_else(|| log.vanished())?.number;
        let active = state.files_of(publishing.log.layout().account()).map(|file| GoneFile {
            path: format!("{}/{}", self.schema.table, file.path),
            bytes: u64::try_from(file.size).unwrap_or(0),
        });
        let changes = publishing.log.changes_after(published, active).await?;
        Ok(cut(self.schema.table, &changes))
    }

    /// Refuses a table that follows another log of the account: one that went on elsewhere, before this one was
    /// restored from a backup or made anew.
    async fn check_history(log: DeltaLog<'_>, publishing: &mut Publishing<'_>, published: NamedManifest) -> Result<()> {
        if published.number > publishing.log.number() {
            publishing.log.read_to_end().await?;
            if published.number > publishing.log.number() {
                return Err(log.is_ahead(published.number, publishing.log.number()));
            }
        }
        let Some(said) = published.created_at_millis else { return Ok(()) };
        match publishing.log.created_at(published.number).await? {
            Some(at) if at.millis() != said => Err(log.is_of_another_log(published.number)),
            _ => Ok(()),
        }
    }

    /// The actions of a version.
    fn actions(
        &self,
        publishing: &Publishing<'_>,
        tail: &Tail,
        version: &DeltaVersion,
        app_id: &str,
    ) -> Vec<DeltaAction> {
        let schema = &self.schema;
        let layout = publishing.log.layout();
        let mut actions = vec![action::commit_info(version.at, "WRITE", schema)];
        if tail.contract.is_some_and(|contract| contract < schema.contract) {
            actions.push(action::metadata(schema, version.at));
        }
        actions.push(action::txn(app_id.to_owned(), version.number, version.at));
        let removes = version.removes.iter().map(|(gone, at, is_change)| action::remove(gone, *at, *is_change));
        let adds = version
            .adds
            .iter()
            .map(|(entry, is_new)| action::add(schema, entry, written_at_unix(layout, entry).unwrap_or(0), *is_new));
        actions.extend(removes.chain(adds));
        actions
    }

    async fn leave_checkpoint(&self, log: DeltaLog<'_>, publishing: &Publishing<'_>) -> Result<()> {
        if let Some(loaded) = log.load().await? {
            let staging = publishing.log.layout().staging_lease(publishing.run);
            log.leave_checkpoint(&loaded.state, &staging).await;
            log.store.point("publish.checkpointed").await?;
        }
        Ok(())
    }

    /// Refuses a table that a program of a newer contract has published: its columns are not known here.
    fn check_contract(&self, log: DeltaLog<'_>, state: &DeltaState) -> Result<()> {
        match contract_of(state) {
            Some(held) if held > self.schema.contract => {
                Err(Error::new(ErrorClass::ContractLater, text!("the Delta table has the data contract {held}", held))
                    .with("table", log.table)
                    .hint(text!("this program has {contract}: use a newer wdt-lake", contract = self.schema.contract)))
            }
            _ => Ok(()),
        }
    }
}

/// When the newest manifest was begun.
fn newest_at(log: &FollowedLog) -> BeijingTime {
    log.state().last().map_or(BeijingTime::FIRST, |last| last.created_at)
}

/// When the commit of a file was begun, by its id.
fn written_at_unix(layout: &Layout, entry: &FileEntry) -> Option<u64> {
    match layout.parse(&entry.path) {
        Some(Name::Data { commit, .. }) => CommitId::generated_at_unix(commit),
        _ => None,
    }
}
