//! The committed set as tables of other formats, so that engines which know these read exactly the committed rows,
//! without a glob and without our log.
//!
//! Two formats: Delta Lake ([`delta`]), one table for each table of the lake, all accounts in it; and Apache Iceberg
//! ([`iceberg`]), one for each table and account. The files are the lake's own and stay where they are; publishing
//! writes small log entries beside them.
//!
//! **Every version is the committed set at the manifest that it names.** What is published follows the commit log,
//! manifest by manifest; a crash leaves a table behind the log, never wrong, and the next publisher goes on from there.
//! Nothing is deleted that is active in the newest version: whoever deletes publishes first (see
//! [`Publisher::standing`]).
//!
//! Knows no data contract: callers say what a table is by a [`TableSchema`].

pub(crate) mod delta;
mod follow;
pub(crate) mod iceberg;
mod publisher;
mod schema;
mod standing;

use std::collections::BTreeMap;

pub(crate) use follow::FollowedLog;
use iceberg::folder::IcebergFolder;
pub(crate) use publisher::{PublishScope, PublishedTable, Publisher, Publishing};
pub(crate) use schema::{SchemaColumn, TableSchema};
pub(crate) use standing::{PublishedSet, Reached};

use crate::error::Result;
use crate::id::AccountName;
use crate::log::{Table, layout};
use crate::publish_format::PublishFormat;
use crate::store::Store;

/// A Delta table that is published, as of its newest version.
#[derive(Clone, Debug)]
pub(crate) struct StandingTable {
    /// Which table.
    pub(crate) table: Table,
    /// Its state.
    pub(crate) state: delta::state::DeltaState,
}

impl StandingTable {
    /// How far an account is published, if it is.
    pub(crate) fn reached(&self, account: &AccountName) -> Option<Reached> {
        let number = self.state.published(&delta::app_id(account))?.number;
        Some(Reached { table: self.table, format: PublishFormat::Delta, version: self.state.version, number })
    }

    /// What of an account is active in it.
    pub(crate) fn set(&self, account: &AccountName) -> PublishedSet {
        let files = self.state.files_of(account);
        PublishedSet {
            table: self.table,
            format: PublishFormat::Delta,
            folder: layout::delta_log(self.table),
            named: self.state.published(&delta::app_id(account)),
            active: files.map(|file| (format!("{}/{}", self.table, file.path), file.size)).collect(),
            flaws: Vec::new(),
        }
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

/// The Delta tables of a lake that we publish, details first. Those of other programs are left out.
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

/// How far an account is published in the Iceberg table of a table, if it is.
///
/// # Errors
/// As [`published_table`].
pub(crate) async fn iceberg_reached(store: &Store, account: &AccountName, table: Table) -> Result<Option<Reached>> {
    let folder = IcebergFolder { store, account, table };
    // One of a lake that lay elsewhere is published anew.
    let found = folder.newest().await?.filter(|found| found.metadata.location == folder.location());
    Ok(found.and_then(|found| {
        let number = found.metadata.manifest()?.number;
        Some(Reached { table, format: PublishFormat::Iceberg, version: found.version, number })
    }))
}

/// What is active in the Iceberg table of an account and a table, where one stands.
///
/// # Errors
/// As [`published_table`].
pub(crate) async fn iceberg_set(store: &Store, account: &AccountName, table: Table) -> Result<Option<PublishedSet>> {
    let folder = IcebergFolder { store, account, table };
    loop {
        let Some(found) = folder.newest().await? else { return Ok(None) };
        // One of a lake that lay elsewhere is published anew.
        let is_here = found.metadata.location == folder.location();
        let live = if is_here { folder.live_of(&found).await? } else { Some(Vec::new()) };
        let Some(live) = live else { continue };
        let lists = found.metadata.snapshots.iter().filter(|_| is_here).map(|snapshot| snapshot.manifest_list.as_str());
        let mut flaws = Vec::new();
        for list in lists {
            let path = folder.path_of(list);
            // A list may have come after the listing.
            let stands = match path {
                Some(path) => found.names.iter().any(|name| name == path) || store.get(path).await?.is_some(),
                None => false,
            };
            if !stands {
                flaws.push(format!("lacks `{list}`, which one of its snapshots names"));
            }
        }
        if !flaws.is_empty() && folder.has_later(found.version).await? {
            continue;
        }
        let named = |uri: &str| folder.path_of(uri).unwrap_or(uri).to_owned();
        let active: BTreeMap<String, i64> = live.iter().map(|entry| (named(&entry.uri), entry.bytes)).collect();
        let folder = layout::iceberg_table(table, account);
        let named = found.metadata.manifest().filter(|_| is_here);
        return Ok(Some(PublishedSet { table, format: PublishFormat::Iceberg, folder, named, active, flaws }));
    }
}

/// What is wrong with the versions of a Delta table, which whoever begins with a checkpoint does not see.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
pub(crate) async fn version_flaws(store: &Store, table: Table) -> Result<Vec<String>> {
    delta::log::DeltaLog { store, table }.flaws().await
}
