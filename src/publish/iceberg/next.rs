//! The next version of an Iceberg table: what it has, and the snapshot that says so.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{
    self, Counted, EntryStatus, ListedManifest, ManifestEntry, ManifestHead, list_bytes, manifest_bytes,
};
use super::metadata::{EarlierMetadata, IcebergMetadata, Snapshot};
use super::schema;
use crate::digest::Sha256;
use crate::error::{Error, Result};
use crate::id::CommitId;
use crate::log::FileEntry;
use crate::publish::schema::TableSchema;
use crate::publish::standing::NamedManifest;

/// How many snapshots a table has at most.
const MOST_SNAPSHOTS: usize = 50;

/// The committed set of an account, as a table is to have it.
pub(crate) struct WantedSet<'a> {
    /// The files of the table with their URIs.
    pub(crate) files: Vec<(String, &'a FileEntry)>,
    /// The manifest whose committed set this is.
    pub(crate) named: NamedManifest,
    /// Until when a file is kept that is in the set no longer, by its URI, in milliseconds since 1970 in UTC; `None`:
    /// it may be gone.
    pub(crate) kept_until: &'a (dyn Fn(&str) -> Option<i64> + Sync),
}

/// Where the parts of the next version lie.
pub(crate) struct NextPlace {
    /// The version before, and where it lies.
    pub(crate) before: (u64, String),
    /// The id of this try to make the next one.
    pub(crate) id: CommitId,
    /// Where its Avro files lie.
    pub(crate) manifest: String,
    pub(crate) list: String,
    pub(crate) now_millis: i64,
}

/// The next version, to be created when its Avro files stand.
pub(crate) struct NextVersion {
    pub(crate) metadata: IcebergMetadata,
    /// The manifest and the list of its snapshot; none where the files are the same as before.
    pub(crate) avro: Option<(Vec<u8>, Vec<u8>)>,
}

/// What comes after `held`, whose newest snapshot has the files `live`.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when it cannot be written.
pub(crate) fn next_version(
    schema: &TableSchema,
    held: &IcebergMetadata,
    live: Vec<ManifestEntry>,
    wanted: &WantedSet<'_>,
    place: &NextPlace,
) -> Result<NextVersion> {
    let mut metadata = held.clone();
    metadata.take_schema(schema)?;
    metadata.name_manifest(wanted.named);
    // Readers want that time goes on.
    let at = place.now_millis.max(held.last_updated_ms);
    metadata
        .metadata_log
        .push(EarlierMetadata { metadata_file: place.before.1.clone(), timestamp_ms: held.last_updated_ms });
    let kept = usize::try_from(super::folder::KEPT_VERSIONS).unwrap_or(usize::MAX);
    let too_many = metadata.metadata_log.len().saturating_sub(kept);
    metadata.metadata_log.drain(..too_many);
    metadata.last_updated_ms = at;

    let is_same = {
        let held: BTreeSet<&str> = live.iter().map(|entry| entry.uri.as_str()).collect();
        held.len() == wanted.files.len() && wanted.files.iter().all(|(uri, _)| held.contains(uri.as_str()))
    };
    if is_same {
        metadata.forget_snapshots(MOST_SNAPSHOTS, place.now_millis);
        return Ok(NextVersion { metadata, avro: None });
    }
    let sequence_number = held.last_sequence_number.saturating_add(1);
    let id = snapshot_id(place, held);
    let entries = entries(live, wanted, id, sequence_number);
    let gone = entries.iter().filter(|entry| entry.status == EntryStatus::Deleted);
    let older_until = gone.map(|entry| (wanted.kept_until)(&entry.uri).unwrap_or(place.now_millis)).min();
    let [added, existing, deleted] =
        [EntryStatus::Added, EntryStatus::Existing, EntryStatus::Deleted].map(|status| Counted::of(&entries, status));

    let failed = |why: String| Error::internal("cannot write a snapshot of an Iceberg table").because(why);
    let (schema_id, columns) = metadata.schema();
    let head = ManifestHead { schema: columns, schema_id, modified_id: schema::field_id(schema, &schema.modified)? };
    let manifest = manifest_bytes(&entries, head).map_err(failed)?;
    let listed = ListedManifest {
        uri: place.manifest.clone(),
        bytes: i64::try_from(manifest.len()).unwrap_or(i64::MAX),
        sequence_number,
        min_sequence_number: entries.iter().map(|entry| entry.sequence_number).min().unwrap_or(sequence_number),
        snapshot_id: id,
        added,
        existing,
        deleted,
    };
    let parent_snapshot_id = held.current().map(|snapshot| snapshot.snapshot_id);
    let list = list_bytes(&listed, parent_snapshot_id).map_err(failed)?;
    let mut summary = Snapshot::summary_of(operation(&listed), wanted.named, older_until);
    summary.extend(counts(&listed));
    metadata.add_snapshot(Snapshot {
        sequence_number,
        snapshot_id: id,
        parent_snapshot_id,
        timestamp_ms: at,
        manifest_list: place.list.clone(),
        summary,
        schema_id: Some(schema_id),
    });
    metadata.forget_snapshots(MOST_SNAPSHOTS, place.now_millis);
    Ok(NextVersion { metadata, avro: Some((manifest, list)) })
}

/// A number that no snapshot of the table has.
fn snapshot_id(place: &NextPlace, held: &IcebergMetadata) -> i64 {
    let from = |salt: u64| Sha256::of(format!("{} {} {salt}", place.id, place.before.0).as_bytes()).to_positive();
    let is_free = |id: &i64| held.snapshots.iter().all(|snapshot| snapshot.snapshot_id != *id);
    (0..u64::MAX).map(from).find(is_free).unwrap_or(1)
}

/// What the manifest lists: what stays, what comes, and what goes with this snapshot.
fn entries(
    live: Vec<ManifestEntry>,
    wanted: &WantedSet<'_>,
    snapshot_id: i64,
    sequence_number: i64,
) -> Vec<ManifestEntry> {
    let mut live: BTreeMap<String, ManifestEntry> = live.into_iter().map(|entry| (entry.uri.clone(), entry)).collect();
    let stand = wanted.files.iter().map(|(uri, file)| {
        let held = live.remove(uri);
        ManifestEntry {
            status: if held.is_some() { EntryStatus::Existing } else { EntryStatus::Added },
            snapshot_id: held.as_ref().map_or(snapshot_id, |held| held.snapshot_id),
            sequence_number: held.as_ref().map_or(sequence_number, |held| held.sequence_number),
            uri: uri.clone(),
            rows: i64::try_from(file.rows).unwrap_or(i64::MAX),
            bytes: i64::try_from(file.bytes).unwrap_or(i64::MAX),
            modified: Some((file.min_modified.micros(), file.max_modified.micros())),
        }
    });
    let mut entries: Vec<ManifestEntry> = stand.collect();
    let gone = live.into_values().map(|held| ManifestEntry { status: EntryStatus::Deleted, snapshot_id, ..held });
    entries.extend(gone);
    entries
}

/// What a snapshot did. That rows were only moved is not said: whoever follows snapshots would skip new rows that were
/// moved before they were published.
fn operation(listed: &manifest::ListedManifest) -> &'static str {
    match (listed.added.files, listed.deleted.files) {
        (_, 0) => "append",
        (0, _) => "delete",
        _ => "overwrite",
    }
}

/// The numbers of a summary, under the names that the format gives them.
fn counts(listed: &ListedManifest) -> impl Iterator<Item = (String, String)> {
    let ListedManifest { added, existing, deleted, .. } = *listed;
    let total = Counted {
        files: added.files.saturating_add(existing.files),
        rows: added.rows.saturating_add(existing.rows),
        bytes: added.bytes.saturating_add(existing.bytes),
    };
    let numbers = [
        ("added-data-files", i64::from(added.files)),
        ("added-records", added.rows),
        ("added-files-size", added.bytes),
        ("deleted-data-files", i64::from(deleted.files)),
        ("deleted-records", deleted.rows),
        ("removed-files-size", deleted.bytes),
        ("total-data-files", i64::from(total.files)),
        ("total-records", total.rows),
        ("total-files-size", total.bytes),
        ("total-delete-files", 0),
        ("total-position-deletes", 0),
        ("total-equality-deletes", 0),
    ];
    numbers.into_iter().map(|(key, value)| (key.to_owned(), value.to_string()))
}
