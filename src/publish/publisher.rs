//! Publishing: bringing the Delta tables of a lake up to a manifest of an account's log.
//!
//! For each table, details before headers:
//! 1. Find the newest version, and in it how far the account is published (its `txn`). Where nothing stands, version 0
//!    is created.
//! 2. Read the log on. An account without a `txn` is published with its whole committed set; then the log is read to
//!    its end *after* the table was seen to stand, because who deletes files without seeing a table publishes nothing.
//! 3. Cut what changed since into versions, and create them one after the other, each only where nothing stands.
//! 4. Somebody else's version there: take it in, and begin again with what the account has published now. So a `txn`
//!    never goes back.
//!
//! A steady run asks for two objects a table. It knows which version has its own `txn` (a hint that its last run left),
//! reads that one, and creates the next. What the hint says is believed only as far as that version itself says it.

use std::collections::BTreeMap;

use tokio::sync::Mutex;

use super::delta::action::{self, DeltaAction};
use super::delta::cut::{DeltaVersion, cut, whole};
use super::delta::log::{CreatedVersion, DeltaLog, DeltaStanding, LoadedTable};
use super::delta::{app_id, state::DeltaState};
use super::follow::{FollowedLog, GoneFile};
use super::schema::TableSchema;
use crate::error::{Error, ErrorClass, Result};
use crate::format::FormatVersion;
use crate::id::{CommitId, RunId};
use crate::log::layout::Name;
use crate::log::{FileEntry, Layout, Table};
use crate::store::{Store, Writers};
use crate::text::text;
use crate::time::BeijingTime;

/// Every so many versions a checkpoint is left: a reader reads it and at most so many versions after it.
const CHECKPOINT_EVERY: u64 = 20;
/// How many versions of others are read one by one after the one that a hint names.
const MOST_READ_ON: u32 = 50;
/// How often other publishers may be faster.
const TRIES: u32 = 100;

/// Publishes to the tables of one lake; shared by all accounts of a process.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// Details before headers: who joins them by equal `txn` finds the details of every header.
    tables: Vec<TablePublisher>,
}

#[derive(Debug)]
struct TablePublisher {
    schema: TableSchema,
    /// What is known of the newest version.
    tail: Mutex<Option<Tail>>,
}

/// The newest version that this process knows.
#[derive(Clone, Debug)]
struct Tail {
    version: u64,
    /// The manifests up to which applications have published.
    txns: BTreeMap<String, u64>,
    /// Whether these are all of the table.
    is_complete: bool,
    /// The data contract that the table was last written by.
    contract: Option<FormatVersion>,
}

/// One account's part in publishing, by one run.
pub(crate) struct Publishing<'a> {
    /// The account's log.
    pub(crate) log: &'a mut FollowedLog,
    /// The run.
    pub(crate) run: RunId,
    /// The number of the manifest up to which is published at least.
    pub(crate) up_to: u64,
    /// The versions that have the account's newest `txn`, by table, as far as an earlier run has left word of it.
    pub(crate) hints: &'a BTreeMap<String, u64>,
}

/// How far the account is published in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedTable {
    /// The table.
    pub table: Table,
    /// The version that has the account's newest `txn`, as far as it is known.
    pub version: u64,
    /// The number of the manifest.
    pub number: u64,
    /// How many versions were created.
    pub created: u64,
}

/// What to do where no table stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhereNothing {
    Create,
    Leave,
}

impl Publisher {
    /// A publisher of tables of these schemas.
    pub(crate) fn new(mut schemas: Vec<TableSchema>) -> Self {
        schemas.sort_by_key(|schema| schema.table != Table::PurchaseApplyDetail);
        let tables = schemas.into_iter().map(|schema| TablePublisher { schema, tail: Mutex::new(None) });
        Self { tables: tables.collect() }
    }

    /// Refuses a store on which nobody can create a version only where nothing stands: a late one would take the place
    /// of another.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`].
    pub(crate) fn check_store(store: &Store) -> Result<()> {
        match store.writers() {
            Writers::Many => Ok(()),
            Writers::Single => Err(Error::new(ErrorClass::ArgumentsConflict, "with a single writer nothing can be published")
                .with("lake", store.root())
                .hint("Delta tables need a store that creates an object only where nothing stands; leave out `--publish`, or `--single-writer`")),
        }
    }

    /// Publishes what is missing of an account in all tables, and makes those that are not there. The table of stop
    /// references is made when there are some.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a single writer and for a table that another program keeps, [`ErrorKind::Lake`] when
    /// the store does not answer, [`ErrorKind::Defect`] for what cannot be read, [`ErrorKind::Conflict`] when other
    /// publishers are faster all the while. What was published stands.
    pub(crate) async fn publish(&self, mut publishing: Publishing<'_>) -> Result<Vec<PublishedTable>> {
        Self::check_store(publishing.log.store())?;
        publishing.log.read_to(publishing.up_to).await?;
        let mut published = Vec::new();
        if publishing.log.number() == 0 {
            return Ok(published);
        }
        for table in &self.tables {
            let has_files = |table: Table| {
                let mut files = publishing.log.state().live().values().flat_map(|live| &live.files);
                files.any(|file| file.table == table.name())
            };
            if table.schema.table != Table::StopReference || has_files(Table::StopReference) {
                published.extend(table.publish(&mut publishing, WhereNothing::Create).await?);
            }
        }
        Ok(published)
    }

    /// The tables that are to be published before files of `deleting` are deleted: those that are published already.
    /// One that another program keeps is left to it. To be asked after the manifest stands by which is deleted: who
    /// publishes for the first time from then on reads that manifest.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`] when the store does not answer, [`ErrorKind::Defect`] for what cannot be read.
    pub(crate) async fn standing(&self, store: &Store, deleting: &[Table]) -> Result<Vec<Table>> {
        // Headers and details go together, so that versions of equal numbers are found in both.
        let is_paired = |table: Table| table != Table::StopReference;
        let is_wanted = |table: Table| {
            deleting.contains(&table) || (is_paired(table) && deleting.iter().any(|deleting| is_paired(*deleting)))
        };
        let mut standing = Vec::new();
        for table in self.tables.iter().map(|table| table.schema.table).filter(|table| is_wanted(*table)) {
            if (DeltaLog { store, table }).stands().await? == DeltaStanding::Ours {
                standing.push(table);
            }
        }
        Ok(standing)
    }

    /// The same as [`publish`](Self::publish) in these tables, which are [`standing`](Self::standing). To be called
    /// before files are deleted, with the state by which they are.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). Then nothing may be deleted.
    pub(crate) async fn publish_standing(&self, mut publishing: Publishing<'_>, standing: &[Table]) -> Result<()> {
        Self::check_store(publishing.log.store())?;
        publishing.log.read_to(publishing.up_to).await?;
        for table in self.tables.iter().filter(|table| standing.contains(&table.schema.table)) {
            table.publish(&mut publishing, WhereNothing::Leave).await?;
        }
        Ok(())
    }
}

impl TablePublisher {
    /// Publishes what is missing of an account; `None` where no table stands and none is to be made.
    async fn publish(
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
            let number = tail.txns.get(&app_id).copied();
            let version = own_version.unwrap_or(tail.version);
            *known = Some(tail);
            if let Some(number) = number.filter(|number| *number >= publishing.up_to) {
                return Ok(Some(PublishedTable { table: self.schema.table, version, number, created }));
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
            let mut tail = Tail { version: version.saturating_sub(1), ..Tail::unknown() };
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
        if published > publishing.log.number() {
            publishing.log.read_to_end().await?;
            if published > publishing.log.number() {
                return Err(log.is_ahead(published, publishing.log.number()));
            }
        }
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
        let published = tail.txns.get(app_id).copied().ok_or_else(|| log.vanished())?;
        let active = state.files_of(publishing.log.layout().account()).map(|file| GoneFile {
            path: format!("{}/{}", self.schema.table, file.path),
            bytes: u64::try_from(file.size).unwrap_or(0),
        });
        let changes = publishing.log.changes_after(published, active).await?;
        Ok(cut(self.schema.table, &changes))
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

impl Tail {
    fn unknown() -> Self {
        Self { version: 0, txns: BTreeMap::new(), is_complete: false, contract: None }
    }

    fn of(state: &DeltaState) -> Self {
        let txns = state.txns.keys().filter_map(|app_id| Some((app_id.clone(), state.published(app_id)?)));
        Self { version: state.version, txns: txns.collect(), is_complete: true, contract: contract_of(state) }
    }

    /// Takes in the next version.
    fn take_in(&mut self, actions: &[DeltaAction]) {
        self.version += 1;
        for txn in actions.iter().filter_map(|action| action.txn.as_ref()) {
            if let Ok(number) = u64::try_from(txn.version) {
                self.txns.insert(txn.app_id.clone(), number);
            }
        }
        let info = actions.iter().find_map(|action| action.commit_info.as_ref());
        let contract = info.and_then(|info| FormatVersion::parse(info.wdt_lake_contract.as_deref()?));
        self.contract = contract.or(self.contract);
    }
}

/// The data contract that the metadata names.
fn contract_of(state: &DeltaState) -> Option<FormatVersion> {
    FormatVersion::parse(state.metadata.as_ref()?.configuration.get(action::CONTRACT_KEY)?)
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
