//! Publishing: bringing the tables of a lake in other formats up to a manifest of an account's log.
//!
//! For each Delta table, details before headers:
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
//!
//! An Iceberg table is of one account. It is brought up in the same order: made without files, then the log is read on,
//! then the next version is created where nothing stands.

mod iceberg_table;
mod table;
mod tail;

use std::collections::{BTreeMap, BTreeSet};

use self::table::{TablePublisher, WhereNothing};
use super::delta::log::{DeltaLog, DeltaStanding};
use super::follow::FollowedLog;
use super::iceberg::folder::IcebergFolder;
use super::schema::TableSchema;
use crate::error::{Error, ErrorClass, Result};
use crate::id::RunId;
use crate::log::{Layout, Table};
use crate::publish_format::PublishFormat;
use crate::store::{Store, Writers};
use crate::time::BeijingTime;

/// Publishes to the tables of one lake; shared by all accounts of a process.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// Details before headers: who joins them by equal `txn` finds the details of every header.
    tables: Vec<TablePublisher>,
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
    /// The present.
    pub(crate) now: BeijingTime,
}

/// What is to be published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishScope<'a> {
    /// The formats whose tables are made where they do not stand.
    pub(crate) made: &'a [PublishFormat],
    /// The formats whose tables are brought up where they stand.
    pub(crate) kept: &'a [PublishFormat],
    /// The tables.
    pub(crate) tables: &'a [Table],
}

impl PublishScope<'_> {
    fn of(self, table: Table, format: PublishFormat) -> Option<WhereNothing> {
        if !self.tables.contains(&table) {
            None
        } else if self.made.contains(&format) {
            Some(WhereNothing::Create)
        } else {
            self.kept.contains(&format).then_some(WhereNothing::Leave)
        }
    }
}

/// How far the account is published in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedTable {
    /// The table.
    pub table: Table,
    /// The format.
    pub format: PublishFormat,
    /// The version that has the account's newest `txn`, as far as it is known.
    pub version: u64,
    /// The number of the manifest.
    pub number: u64,
    /// How many versions were created.
    pub created: u64,
}

impl Publisher {
    /// A publisher of tables of these schemas.
    pub(crate) fn new(mut schemas: Vec<TableSchema>) -> Self {
        schemas.sort_by_key(|schema| schema.table != Table::PurchaseApplyDetail);
        Self { tables: schemas.into_iter().map(TablePublisher::new).collect() }
    }

    /// Refuses a store on which nobody can create a version only where nothing stands: a late one would take the place
    /// of another.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage).
    pub(crate) fn check_store(store: &Store) -> Result<()> {
        match store.writers() {
            Writers::Many => Ok(()),
            Writers::Single => Err(Error::new(ErrorClass::ArgumentsConflict, "with a single writer nothing can be published")
                .with("lake", store.root())
                .hint("Delta and Iceberg tables need a store that creates an object only where nothing stands; leave out `--publish`, or `--single-writer`")),
        }
    }

    /// Publishes what is missing of an account. The tables of stop references are made when there are some.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a single writer and for a table that another program keeps,
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) for what cannot be read,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when other publishers are faster all the while. What was
    /// published stands.
    pub(crate) async fn publish(
        &self,
        mut publishing: Publishing<'_>,
        wanted: PublishScope<'_>,
    ) -> Result<Vec<PublishedTable>> {
        Self::check_store(publishing.log.store())?;
        publishing.log.read_to(publishing.up_to).await?;
        let mut published = Vec::new();
        if publishing.log.number() == 0 {
            return Ok(published);
        }
        let has_stops = {
            let mut files = publishing.log.state().live().values().flat_map(|live| &live.files);
            files.any(|file| file.table == Table::StopReference.name())
        };
        for format in PublishFormat::ALL {
            for table in &self.tables {
                let schema = table.schema();
                let Some(where_nothing) = wanted.of(schema.table, format) else { continue };
                if schema.table == Table::StopReference && !has_stops && where_nothing == WhereNothing::Create {
                    continue;
                }
                let outcome = match format {
                    PublishFormat::Delta => table.publish(&mut publishing, where_nothing).await,
                    PublishFormat::Iceberg => iceberg_table::publish(schema, &mut publishing, where_nothing).await,
                };
                match outcome {
                    // It is not ours to bring up.
                    Err(error) if error.class() == ErrorClass::PublishedOfOthers && !wanted.made.contains(&format) => {}
                    outcome => published.extend(outcome?),
                }
            }
        }
        Ok(published)
    }

    /// The tables that are to be published before an account's files of `deleting` are deleted: those that are
    /// published already. One that another program keeps is left to it. To be asked after the manifest stands by which
    /// is deleted: who publishes for the first time from then on reads that manifest. They are published as
    /// [`publish`](Self::publish) does where nothing is made; where that fails, nothing may be deleted.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) for what cannot be read.
    pub(crate) async fn standing(&self, store: &Store, layout: &Layout, deleting: &[Table]) -> Result<Vec<Table>> {
        // Headers and details go together, so that versions of equal numbers are found in both.
        let is_paired = |table: Table| table != Table::StopReference;
        let is_wanted = |table: Table| {
            deleting.contains(&table) || (is_paired(table) && deleting.iter().any(|deleting| is_paired(*deleting)))
        };
        let mut standing = BTreeSet::new();
        for table in self.tables.iter().map(|table| table.schema().table).filter(|table| is_wanted(*table)) {
            let iceberg = IcebergFolder { store, account: layout.account(), table };
            if (DeltaLog { store, table }).stands().await? == DeltaStanding::Ours || iceberg.stands().await? {
                standing.insert(table);
            }
        }
        Ok(standing.into_iter().collect())
    }
}
