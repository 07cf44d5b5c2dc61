//! What a run has to do with published tables: it publishes before it deletes files, and at its end if it is told to.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::DataType;
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use crate::error::{Error, Result};
use crate::id::{AccountName, RunId};
use crate::land::{LogWatcher, Writer};
use crate::log::{Lake, Layout, Manifest, Sha256, Table, layout};
use crate::publish::{
    FollowedLog, PublishScope, PublishedTable, Publisher, Publishing, SchemaColumn, TableSchema, published_tables,
};
use crate::publish_format::PublishFormat;
use crate::store::{Store, capability};
use crate::time::{Clock, SystemClock};
use crate::transform::{Contract, TableContract, contract_version, stop_spec, table_specs};

#[cfg(test)]
mod iceberg_tests;
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
        field_id: Some(column.field_id()),
    });
    columns.collect()
}

fn partitions(table: &TableContract) -> Vec<SchemaColumn> {
    let columns = table.partition_columns().iter().map(|column| SchemaColumn {
        name: column.name().to_owned(),
        kind: DataType::Utf8,
        is_nullable: true,
        comment: column.en().to_owned(),
        field_id: None,
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
    /// The formats in which the run publishes at its end.
    formats: Vec<PublishFormat>,
    clock: Arc<dyn Clock>,
    /// The log from the state on in which the run found it; none in a run that publishes only what it must.
    log: Mutex<Option<FollowedLog>>,
    hints: Mutex<BTreeMap<String, u64>>,
}

impl Publication {
    /// Of a run that shares the publisher with others, and publishes in these formats.
    pub(super) fn new(
        publisher: Arc<Publisher>,
        run: RunId,
        formats: Vec<PublishFormat>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let (log, hints) = (Mutex::new(None), Mutex::new(BTreeMap::new()));
        Arc::new(Self { publisher, run, formats, clock, log, hints })
    }

    /// Of a run that publishes only before it deletes.
    ///
    /// # Errors
    /// As [`publisher`].
    pub(super) fn of(run: RunId, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        Ok(Self::new(publisher()?, run, Vec::new(), clock))
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
        let wanted = PublishScope { made: &self.formats, kept: &[], tables: &Table::ALL };
        self.publisher
            .publish(Publishing { log, run: self.run, up_to, hints: &hints, now: self.clock.now() }, wanted)
            .await
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
        let wanted = PublishScope { made: &[], kept: &PublishFormat::ALL, tables };
        let publishing = Publishing { log, run: self.run, up_to, hints: &hints, now: self.clock.now() };
        self.publisher.publish(publishing, wanted).await.map(drop)
    }
}

impl LogWatcher for Publication {
    fn saw(&self, manifest: &Manifest, sha256: Sha256) {
        // Where somebody publishes just now, the manifest is read instead.
        if let Ok(mut held) = self.log.try_lock()
            && let Some(log) = &mut *held
            && let Err(error) = log.take_in(manifest, sha256)
        {
            tracing::debug!(%error, "a manifest was not taken in; it is read when it is published");
        }
    }

    fn concerns<'a>(
        &'a self,
        store: &'a Store,
        layout: &'a Layout,
        tables: &'a [Table],
    ) -> BoxFuture<'a, Result<Vec<Table>>> {
        Box::pin(self.publisher.standing(store, layout, tables))
    }

    fn prepare<'a>(&'a self, lake: Lake, tables: &'a [Table]) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.publish_standing(lake, tables))
    }
}

/// In which formats tables are made where nobody says it: in those in which the lake is published, else in Delta.
async fn unsaid(store: &Store) -> Result<Vec<PublishFormat>> {
    let mut formats = Vec::new();
    if !published_tables(store).await?.is_empty() {
        formats.push(PublishFormat::Delta);
    }
    if !store.names(layout::iceberg_root()).await?.is_empty() {
        formats.push(PublishFormat::Iceberg);
    }
    Ok(if formats.is_empty() { vec![PublishFormat::Delta] } else { formats })
}

async fn newest(writer: &Writer) -> u64 {
    writer.with_state(|state| state.newest().map_or(0, |newest| newest.number)).await
}

/// What the next run is told of what was published: versions of Delta tables to look at first, and that there are
/// Iceberg tables.
pub(super) fn hints(published: &[PublishedTable]) -> BTreeMap<String, u64> {
    published.iter().map(|table| (hint(table.table, table.format), table.version)).collect()
}

/// Whether the last run has published in this format, by the hints that it left.
pub(super) fn hints_at(hints: &BTreeMap<String, u64>, format: PublishFormat) -> bool {
    Table::ALL.into_iter().any(|table| hints.contains_key(&hint(table, format)))
}

fn hint(table: Table, format: PublishFormat) -> String {
    match format {
        PublishFormat::Delta => table.name().to_owned(),
        PublishFormat::Iceberg => format!("iceberg/{table}"),
    }
}

/// Publishes what is missing of these accounts, one after the other: in these formats, and in others where tables of
/// them stand. Those that fail do not keep others from it.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a single writer, [`ErrorKind::Lake`](crate::ErrorKind::Lake) for a
/// store that cannot keep publishers apart. What goes wrong with an account is part of the answer.
pub(crate) async fn publish_all(
    store: &Store,
    accounts: &[AccountName],
    formats: &[PublishFormat],
) -> Result<Vec<(AccountName, Result<Vec<PublishedTable>>)>> {
    Publisher::check_store(store)?;
    let (publisher, run) = (publisher()?, RunId::generate());
    let made = if formats.is_empty() { unsaid(store).await? } else { formats.to_vec() };
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
            let publishing = Publishing { log: &mut log, run, up_to, hints: &hints, now: SystemClock.now() };
            let wanted = PublishScope { made: &made, kept: &PublishFormat::ALL, tables: &Table::ALL };
            publisher.publish(publishing, wanted).await
        };
        published.push((account.clone(), outcome.await.map_err(|error: Error| error.with("account", account))));
    }
    Ok(published)
}
