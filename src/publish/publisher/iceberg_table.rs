//! The Iceberg table of an account and a table: what is missing of it, as one snapshot more.

use super::Publishing;
use super::table::WhereNothing;
use crate::error::{Error, ErrorClass, Result};
use crate::id::CommitId;
use crate::log::layout::{IcebergName, Name};
use crate::log::{FileEntry, Layout, LogState, Table};
use crate::publish::PublishedTable;
use crate::publish::iceberg::folder::{FoundTable, IcebergFolder};
use crate::publish::iceberg::metadata::IcebergMetadata;
use crate::publish::iceberg::next::{NextPlace, NextVersion, WantedSet, next_version};
use crate::publish::schema::TableSchema;
use crate::publish::standing::NamedManifest;
use crate::publish_format::PublishFormat;
use crate::text::text;

/// How often other publishers may be faster.
const TRIES: u32 = 20;

/// Publishes what is missing of an account; `None` where no table stands and none is to be made.
///
/// # Errors
/// As [`Publisher::publish`](super::Publisher::publish).
pub(super) async fn publish(
    schema: &TableSchema,
    publishing: &mut Publishing<'_>,
    where_nothing: WhereNothing,
) -> Result<Option<PublishedTable>> {
    let (store, account) = (publishing.log.store().clone(), publishing.log.layout().account().clone());
    let folder = IcebergFolder { store: &store, account: &account, table: schema.table };
    let staging = publishing.log.layout().staging_lease(publishing.run);
    for _ in 0..TRIES {
        let found = folder.newest().await?;
        store.point("publish.read").await?;
        let Some(found) = found else {
            if where_nothing == WhereNothing::Leave {
                return Ok(None);
            }
            let first = IcebergMetadata::first(schema, &account, folder.location(), publishing.now.millis())?;
            folder.create(1, &first, &staging).await?;
            continue;
        };
        check(folder, schema, &found.metadata)?;
        let published = check_history(folder, publishing, &found.metadata).await?;
        let has_moved = found.metadata.location != folder.location();
        // Before files are deleted, the snapshots are forgotten that have them.
        let has_past = found.metadata.past_snapshots(publishing.now.millis()) > 0;
        if let Some(number) = published.filter(|number| *number >= publishing.up_to && !has_moved && !has_past) {
            folder.say_newest(found.version, &staging).await?;
            return Ok(Some(published_table(schema.table, found.version, number, 0)));
        }
        if published.is_none() {
            // Files that were deleted before the table stood must not be named.
            publishing.log.read_to_end().await?;
        }
        let Some(version) = create_next(folder, schema, publishing, &found, has_moved).await? else { continue };
        return Ok(Some(published_table(schema.table, version, publishing.log.number(), 1)));
    }
    Err(Error::new(ErrorClass::WroteAtOnce, "other publishers are faster all the while")
        .with("table", schema.table)
        .hint("run again: it publishes what is missing"))
}

fn published_table(table: Table, version: u64, number: u64, created: u64) -> PublishedTable {
    PublishedTable { table, format: PublishFormat::Iceberg, version, number, created }
}

/// Creates the version after the one that was found; `None` when somebody else has.
async fn create_next(
    folder: IcebergFolder<'_>,
    schema: &TableSchema,
    publishing: &Publishing<'_>,
    found: &FoundTable,
    has_moved: bool,
) -> Result<Option<u64>> {
    let version = found.version.saturating_add(1);
    // Of this try alone: an earlier one of this run may still arrive, and names its own files.
    let id = CommitId::generate();
    let log = &*publishing.log;
    let mut held = found.metadata.clone();
    let live = if has_moved {
        held.begin_anew(folder.location());
        Vec::new()
    } else {
        let Some(live) = folder.live_of(found).await? else { return Ok(None) };
        live
    };
    let (state, layout) = (log.state(), log.layout());
    let kept_until = |uri: &str| kept_until(folder, layout, state, uri);
    let last = state.last();
    let wanted = WantedSet {
        files: files(state, schema.table).map(|file| (folder.uri(&file.path), file)).collect(),
        named: NamedManifest { number: log.number(), created_at_millis: last.map(|last| last.created_at.millis()) },
        kept_until: &kept_until,
    };
    let [manifest, list] = [IcebergName::Manifest(version, id), IcebergName::List(version, id)];
    let [manifest, list] = [manifest, list].map(|name| folder.path(name));
    let place = NextPlace {
        before: (found.version, folder.uri(&folder.path(IcebergName::Version(found.version)))),
        id,
        manifest: folder.uri(&manifest),
        list: folder.uri(&list),
        now_millis: publishing.now.millis(),
    };
    let NextVersion { metadata, avro } = next_version(schema, &held, live, &wanted, &place)?;
    let staging = layout.staging_lease(publishing.run);
    if let Some((manifest_bytes, list_bytes)) = avro {
        for (path, bytes) in [(manifest, manifest_bytes), (list, list_bytes)] {
            folder.put_avro(&path, bytes.into(), &staging).await?;
        }
        folder.store.point("publish.listed").await?;
    }
    // The Avro files of a version that does not come to be stay: whoever creates the next one clears them away, and
    // knows which of them a snapshot names.
    if !folder.create(version, &metadata, &staging).await? {
        return Ok(None);
    }
    folder.store.point("publish.created").await?;
    if !folder.say_newest(version, &staging).await? {
        folder.store.delete(&folder.path(IcebergName::Version(version))).await?;
        return Ok(None);
    }
    folder.clear(found.version, &metadata, &found.names).await;
    Ok(Some(version))
}

/// The committed files of a table.
fn files(state: &LogState, table: Table) -> impl Iterator<Item = &FileEntry> {
    state.live().values().flat_map(|live| &live.files).filter(move |file| file.table == table.name())
}

/// Until when a file is kept that is committed no longer.
fn kept_until(folder: IcebergFolder<'_>, layout: &Layout, state: &LogState, uri: &str) -> Option<i64> {
    match layout.parse(folder.path_of(uri)?) {
        Some(Name::Data { commit, .. }) => state.keep_until(commit).map(crate::time::BeijingTime::millis),
        _ => None,
    }
}

/// Refuses a table that is not ours, or of a later contract, whose columns are not known here.
fn check(folder: IcebergFolder<'_>, schema: &TableSchema, metadata: &IcebergMetadata) -> Result<()> {
    if !metadata.is_ours(schema, folder.account) {
        return Err(folder.foreign());
    }
    match metadata.contract() {
        Some(held) if held > schema.contract => {
            Err(Error::new(ErrorClass::ContractLater, text!("the Iceberg table has the data contract {held}", held))
                .with("table", folder.table)
                .hint(text!("this program has {contract}: use a newer wdt-lake", contract = schema.contract)))
        }
        _ => Ok(()),
    }
}

/// The number of the manifest that is published. Refuses a table that follows another log of the account.
async fn check_history(
    folder: IcebergFolder<'_>,
    publishing: &mut Publishing<'_>,
    metadata: &IcebergMetadata,
) -> Result<Option<u64>> {
    let Some(NamedManifest { number, created_at_millis }) = metadata.manifest() else { return Ok(None) };
    if number > publishing.log.number() {
        publishing.log.read_to_end().await?;
        if number > publishing.log.number() {
            return Err(folder.is_ahead(number, publishing.log.number()));
        }
    }
    let Some(said) = created_at_millis else { return Ok(Some(number)) };
    match publishing.log.created_at(number).await? {
        Some(at) if at.millis() != said => Err(folder.is_of_another_log(number)),
        _ => Ok(Some(number)),
    }
}
