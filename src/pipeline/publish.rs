//! What a run has to do with published tables: it publishes before it deletes files, and at its end if it is told to.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::DataType;
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use crate::error::{Error, Result};
use crate::id::{AccountName, RunId};
use crate::land::{BeforeDeletion, Writer};
use crate::log::{Lake, Table, layout};
use crate::publish::{FollowedLog, PublishedTable, Publisher, Publishing, SchemaColumn, TableSchema};
use crate::store::{Store, capability};
use crate::transform::{Contract, TableContract, contract_version, stop_spec, table_specs};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod worlds_tests;

/// What publishing needs to know of every table, from the contract.
fn schemas() -> Result<Vec<TableSchema>> {
    let contract = Contract::get()?;
    let version = contract_version()?;
    let specs = table_specs()?.into_iter().chain([stop_spec()?]);
    let schemas = specs.zip(contract.tables()).map(|(spec, table)| TableSchema {
        table: spec.table,
        comment: table.en().to_owned(),
        columns: columns(table),
        partitions: partitions(table),
        modified: spec.modified.clone(),
        contract: version,
    });
    Ok(schemas.collect())
}

fn columns(table: &TableContract) -> Vec<SchemaColumn> {
    let columns = table.columns().iter().map(|column| SchemaColumn {
        name: column.name().to_owned(),
        kind: column.kind().arrow(),
        is_nullable: !column.required(),
        comment: column.en().to_owned(),
    });
    columns.collect()
}

fn partitions(table: &TableContract) -> Vec<SchemaColumn> {
    let columns = table.partition_columns().iter().map(|column| SchemaColumn {
        name: column.name().to_owned(),
        kind: DataType::Utf8,
        is_nullable: true,
        comment: column.en().to_owned(),
    });
    columns.collect()
}

/// A publisher of the tables of the contract.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the contract is broken.
pub(super) fn publisher() -> Result<Arc<Publisher>> {
    Ok(Arc::new(Publisher::new(schemas()?)))
}

/// Publishing by one run of one account.
pub(super) struct Publication {
    publisher: Arc<Publisher>,
    run: RunId,
    /// The log from the state on in which the run found it; none in a run that publishes only what it must.
    log: Mutex<Option<FollowedLog>>,
    hints: Mutex<BTreeMap<String, u64>>,
}

impl Publication {
    /// Of a run that shares the publisher with others.
    pub(super) fn new(publisher: Arc<Publisher>, run: RunId) -> Arc<Self> {
        Arc::new(Self { publisher, run, log: Mutex::new(None), hints: Mutex::new(BTreeMap::new()) })
    }

    /// Of a run that publishes only before it deletes.
    ///
    /// # Errors
    /// As [`publisher`].
    pub(super) fn of(run: RunId) -> Result<Arc<Self>> {
        Ok(Self::new(publisher()?, run))
    }

    /// The run.
    pub(super) fn run(&self) -> RunId {
        self.run
    }

    /// The run will publish: it found the log in the state of `lake`.
    pub(super) async fn begin(&self, lake: Lake) {
        *self.log.lock().await = Some(FollowedLog::new(lake));
    }

    /// Where the last run has published to.
    pub(super) async fn take_hints(&self, published: &BTreeMap<String, u64>) {
        self.hints.lock().await.clone_from(published);
    }

    /// Publishes everything that `writer` knows, and makes tables that are not there.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub(super) async fn publish(&self, writer: &Writer) -> Result<Vec<PublishedTable>> {
        writer.probe().await?;
        let up_to = newest(writer).await;
        let hints = self.hints.lock().await;
        let mut held = self.log.lock().await;
        let log = match &mut *held {
            Some(log) => log,
            none => none.insert(FollowedLog::new(writer.view().await)),
        };
        self.publisher.publish(Publishing { log, run: self.run, up_to, hints: &hints }).await
    }

    async fn publish_standing(&self, lake: Lake, tables: &[Table]) -> Result<()> {
        let up_to = lake.state().newest().map_or(0, |newest| newest.number);
        let hints = self.hints.lock().await;
        let mut held = self.log.lock().await;
        let mut own;
        let log = if let Some(log) = &mut *held {
            log
        } else {
            own = FollowedLog::new(lake);
            &mut own
        };
        self.publisher.publish_standing(Publishing { log, run: self.run, up_to, hints: &hints }, tables).await
    }
}

impl BeforeDeletion for Publication {
    fn concerns<'a>(&'a self, store: &'a Store, tables: &'a [Table]) -> BoxFuture<'a, Result<Vec<Table>>> {
        Box::pin(self.publisher.standing(store, tables))
    }

    fn prepare<'a>(&'a self, lake: Lake, tables: &'a [Table]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.publish_standing(lake, tables))
    }
}

async fn newest(writer: &Writer) -> u64 {
    writer.with_state(|state| state.newest().map_or(0, |newest| newest.number)).await
}

/// The versions to look at first in the next run.
pub(super) fn hints(published: &[PublishedTable]) -> BTreeMap<String, u64> {
    published.iter().map(|table| (table.table.name().to_owned(), table.version)).collect()
}

/// Publishes what is missing of these accounts, one after the other. Those that fail do not keep others from it.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a single writer, [`ErrorKind::Lake`](crate::ErrorKind::Lake) for a
/// store that cannot keep publishers apart. What goes wrong with an account is part of the answer.
pub(crate) async fn publish_all(
    store: &Store,
    accounts: &[AccountName],
) -> Result<Vec<(AccountName, Result<Vec<PublishedTable>>)>> {
    Publisher::check_store(store)?;
    let (publisher, run) = (publisher()?, RunId::generate());
    let mut published = Vec::new();
    for account in accounts {
        let lease = layout::Layout::new(account.clone()).lease();
        if published.is_empty() {
            capability::check(store, &lease, &|what| layout::probe(run, what)).await?;
        }
        let outcome = async {
            let lake = Lake::open(store.clone(), account.clone()).await?;
            let up_to = lake.state().newest().map_or(0, |newest| newest.number);
            let (mut log, hints) = (FollowedLog::new(lake), BTreeMap::new());
            publisher.publish(Publishing { log: &mut log, run, up_to, hints: &hints }).await
        };
        published.push((account.clone(), outcome.await.map_err(|error: Error| error.with("account", account))));
    }
    Ok(published)
}
