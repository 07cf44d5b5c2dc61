//! The committed set as tables of other formats, so that engines which know these read exactly the committed rows,
//! without a glob and without our log.
//!
//! The one format is Delta Lake ([`delta`]): one table for each table of the lake, all accounts in it. The files are
//! the lake's own and stay where they are; publishing writes small log entries beside them.
//!
//! **Every version is the committed set at the manifest that it names.** What is published follows the commit log,
//! manifest by manifest; a crash leaves a table behind the log, never wrong, and the next publisher goes on from there.
//! Nothing is deleted that is active in the newest version: whoever deletes publishes first (see
//! [`Publisher::publish_standing`]).
//!
//! Knows no data contract: callers say what a table is by a [`TableSchema`].

pub(crate) mod delta;
mod follow;
mod publisher;
mod schema;

use delta::state::NamedManifest;
pub(crate) use follow::FollowedLog;
pub(crate) use publisher::{PublishedTable, Publisher, Publishing};
pub(crate) use schema::{SchemaColumn, TableSchema};

use crate::error::Result;
use crate::id::AccountName;
use crate::log::Table;
use crate::store::Store;

/// A table that is published, as of its newest version.
#[derive(Clone, Debug)]
pub(crate) struct StandingTable {
    /// Which table.
    pub(crate) table: Table,
    /// Its state.
    pub(crate) state: delta::state::DeltaState,
}

/// How far an account is published in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The table.
    pub(crate) table: Table,
    /// Its newest version.
    pub(crate) version: u64,
    /// The number of the manifest whose committed set the active files are.
    pub(crate) number: u64,
}

impl StandingTable {
    /// How far an account is published, if it is.
    pub(crate) fn reached(&self, account: &AccountName) -> Option<Reached> {
        let number = self.manifest(account)?.number;
        Some(Reached { table: self.table, version: self.state.version, number })
    }

    /// The manifest up to which an account is published, if it is.
    pub(crate) fn manifest(&self, account: &AccountName) -> Option<NamedManifest> {
        self.state.published(&delta::app_id(account))
    }
}

/// The Delta table of a table of the lake, when it is one that we publish.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) for what cannot be read.
pub(crate) async fn published_table(store: &Store, table: Table) -> Result<Option<StandingTable>> {
    let log = delta::log::DeltaLog { store, table };
    if log.stands().await? != delta::log::DeltaStanding::Ours {
        return Ok(None);
    }
    Ok(log.load().await?.map(|loaded| StandingTable { table, state: loaded.state }))
}

/// The tables of a lake that we publish, details first. Those of other programs are left out.
///
/// # Errors
/// As [`published_table`].
pub(crate) async fn published_tables(store: &Store) -> Result<Vec<StandingTable>> {
    let mut tables = Vec::new();
    for table in Table::ALL {
        tables.extend(published_table(store, table).await?);
    }
    tables.sort_by_key(|standing| standing.table != Table::PurchaseApplyDetail);
    Ok(tables)
}

/// What is wrong with the versions of a table, which whoever begins with a checkpoint does not see.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
pub(crate) async fn version_flaws(store: &Store, table: Table) -> Result<Vec<String>> {
    delta::log::DeltaLog { store, table }.flaws().await
}
