//! The Avro files of a snapshot: the manifest, which lists the data files, and the list of manifests.

use std::sync::LazyLock;

use apache_avro::schema::RecordField;
use apache_avro::types::Value as Avro;
use apache_avro::{Codec, Reader, Schema, Writer, from_value};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What the list of manifests says of one that lists data files, and not deleted rows.
const DATA: i32 = 0;

/// What a snapshot did with a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryStatus {
    Existing = 0,
    Added = 1,
    Deleted = 2,
}

/// A data file in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManifestEntry {
    pub(crate) status: EntryStatus,
    /// The snapshot that did this with it.
    pub(crate) snapshot_id: i64,
    /// The sequence number of the snapshot that added it.
    pub(crate) sequence_number: i64,
    /// Its URI.
    pub(crate) uri: String,
    pub(crate) rows: i64,
    pub(crate) bytes: i64,
    /// The least and the greatest modified time, in microseconds since 1970 in UTC.
    pub(crate) modified: Option<(i64, i64)>,
}

/// What a manifest says of itself.
#[derive(Clone, Copy)]
pub(crate) struct ManifestHead<'a> {
    /// The schema of the table.
    pub(crate) schema: &'a Value,
    pub(crate) schema_id: i32,
    /// The id of the column of modified times.
    pub(crate) modified_id: i32,
}

/// A manifest in the list of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedManifest {
    pub(crate) uri: String,
    pub(crate) bytes: i64,
    pub(crate) sequence_number: i64,
    pub(crate) min_sequence_number: i64,
    pub(crate) snapshot_id: i64,
    /// Files and rows that were added, that stay, and that went.
    pub(crate) added: Counted,
    pub(crate) existing: Counted,
    pub(crate) deleted: Counted,
}

/// So many files, and rows in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) files: i32,
    pub(crate) rows: i64,
    pub(crate) bytes: i64,
}

impl Counted {
    /// The files of this status.
    pub(crate) fn of(entries: &[ManifestEntry], status: EntryStatus) -> Self {
        let of_status = entries.iter().filter(|entry| entry.status == status);
        of_status.fold(Self::default(), |sum, entry| Self {
            files: sum.files.saturating_add(1),
            rows: sum.rows.saturating_add(entry.rows),
            bytes: sum.bytes.saturating_add(entry.bytes),
        })
    }
}

fn field(id: i32, name: &str, kind: impl Into<Value>) -> Value {
    json!({"name": name, "type": kind.into(), "field-id": id})
}

fn optional(id: i32, name: &str, kind: impl Into<Value>) -> Value {
    json!({"name": name, "type": ["null", kind.into()], "default": null, "field-id": id})
}

/// A map from column ids to values, in the form of the format: Avro's own maps have text as keys.
fn bounds(id: i32, name: &str, key: i32, value: i32) -> Value {
    let item = json!({
        "type": "record", "name": format!("k{key}_v{value}"),
        "fields": [field(key, "key", "int"), field(value, "value", "bytes")],
    });
    optional(id, name, json!({"type": "array", "items": item}))
}

static MANIFEST: LazyLock<Result<Schema, String>> = LazyLock::new(|| {
    let data_file = json!({"type": "record", "name": "r2", "fields": [
        field(134, "content", "int"),
        field(100, "file_path", "string"),
        field(101, "file_format", "string"),
        field(102, "partition", json!({"type": "record", "name": "r102", "fields": []})),
        field(103, "record_count", "long"),
        field(104, "file_size_in_bytes", "long"),
        bounds(125, "lower_bounds", 126, 127),
        bounds(128, "upper_bounds", 129, 130),
    ]});
    parse(&json!({"type": "record", "name": "manifest_entry", "fields": [
        field(0, "status", "int"),
        optional(1, "snapshot_id", "long"),
        optional(3, "sequence_number", "long"),
        optional(4, "file_sequence_number", "long"),
        field(2, "data_file", data_file),
    ]}))
});

static LIST: LazyLock<Result<Schema, String>> = LazyLock::new(|| {
    parse(&json!({"type": "record", "name": "manifest_file", "fields": [
        field(500, "manifest_path", "string"),
        field(501, "manifest_length", "long"),
        field(502, "partition_spec_id", "int"),
        field(517, "content", "int"),
        field(515, "sequence_number", "long"),
        field(516, "min_sequence_number", "long"),
        field(503, "added_snapshot_id", "long"),
        field(504, "added_files_count", "int"),
        field(505, "existing_files_count", "int"),
        field(506, "deleted_files_count", "int"),
        field(512, "added_rows_count", "long"),
        field(513, "existing_rows_count", "long"),
        field(514, "deleted_rows_count", "long"),
    ]}))
});

fn parse(schema: &Value) -> Result<Schema, String> {
    Schema::parse(schema).and_then(marked).map_err(|error| error.to_string())
}

/// The same schema, in which every array is said to be a map, as all of ours are: the parser forgets the logical types
/// that it does not know.
fn marked(schema: Schema) -> Result<Schema, apache_avro::Error> {
    Ok(match schema {
        Schema::Array(mut array) => {
            array.attributes.insert("logicalType".to_owned(), "map".into());
            Schema::Array(array)
        }
        Schema::Union(union) => {
            let variants = union.variants().iter().cloned().map(marked);
            Schema::union(variants.collect::<Result<_, _>>()?)?
        }
        Schema::Record(mut record) => {
            let fields =
                record.fields.into_iter().map(|field| Ok(RecordField { schema: marked(field.schema)?, ..field }));
            record.fields = fields.collect::<Result<_, apache_avro::Error>>()?;
            Schema::Record(record)
        }
        other => other,
    })
}

fn record<const N: usize>(fields: [(&str, Avro); N]) -> Avro {
    Avro::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn some(value: Avro) -> Avro {
    Avro::Union(1, Box::new(value))
}

fn nothing() -> Avro {
    Avro::Union(0, Box::new(Avro::Null))
}

/// The bytes of an Avro file.
fn written(
    schema: &LazyLock<Result<Schema, String>>,
    about: &[(&str, String)],
    rows: impl Iterator<Item = Avro>,
) -> Result<Vec<u8>, String> {
    let schema = schema.as_ref().map_err(Clone::clone)?;
    let write = || {
        let mut writer = Writer::with_codec(schema, Vec::new(), Codec::Deflate(Default::default()))?;
        for (key, value) in about {
            writer.add_user_metadata((*key).to_owned(), value)?;
        }
        for row in rows {
            writer.append_value(row)?;
        }
        writer.into_inner()
    };
    write().map_err(|error: apache_avro::Error| error.to_string())
}

/// A manifest of these files.
///
/// # Errors
/// Why it cannot be written.
pub(crate) fn manifest_bytes(entries: &[ManifestEntry], head: ManifestHead<'_>) -> Result<Vec<u8>, String> {
    let about = [
        ("schema", head.schema.to_string()),
        ("schema-id", head.schema_id.to_string()),
        ("partition-spec", "[]".to_owned()),
        ("partition-spec-id", "0".to_owned()),
        ("format-version", "2".to_owned()),
        ("content", "data".to_owned()),
    ];
    let bound = |value: Option<i64>| match value {
        Some(micros) => some(Avro::Array(vec![record([
            ("key", Avro::Int(head.modified_id)),
            ("value", Avro::Bytes(micros.to_le_bytes().to_vec())),
        ])])),
        None => nothing(),
    };
    let rows = entries.iter().map(|entry| {
        // What is added takes its sequence number from the list of manifests.
        let sequence_number = || match entry.status {
            EntryStatus::Added => nothing(),
            EntryStatus::Existing | EntryStatus::Deleted => some(Avro::Long(entry.sequence_number)),
        };
        let data_file = record([
            ("content", Avro::Int(DATA)),
            ("file_path", Avro::String(entry.uri.clone())),
            ("file_format", Avro::String("PARQUET".to_owned())),
            ("partition", record([])),
            ("record_count", Avro::Long(entry.rows)),
            ("file_size_in_bytes", Avro::Long(entry.bytes)),
            ("lower_bounds", bound(entry.modified.map(|(least, _)| least))),
            ("upper_bounds", bound(entry.modified.map(|(_, greatest)| greatest))),
        ]);
        record([
            ("status", Avro::Int(entry.status as i32)),
            ("snapshot_id", some(Avro::Long(entry.snapshot_id))),
            ("sequence_number", sequence_number()),
            ("file_sequence_number", sequence_number()),
            ("data_file", data_file),
        ])
    });
    written(&MANIFEST, &about, rows)
}

/// The list that has this manifest.
///
/// # Errors
/// Why it cannot be written.
pub(crate) fn list_bytes(listed: &ListedManifest, parent_snapshot_id: Option<i64>) -> Result<Vec<u8>, String> {
    let parent = parent_snapshot_id.map_or_else(|| "null".to_owned(), |id| id.to_string());
    let about = [
        ("snapshot-id", listed.snapshot_id.to_string()),
        ("parent-snapshot-id", parent),
        ("sequence-number", listed.sequence_number.to_string()),
        ("format-version", "2".to_owned()),
    ];
    let row = record([
        ("manifest_path", Avro::String(listed.uri.clone())),
        ("manifest_length", Avro::Long(listed.bytes)),
        ("partition_spec_id", Avro::Int(0)),
        ("content", Avro::Int(DATA)),
        ("sequence_number", Avro::Long(listed.sequence_number)),
        ("min_sequence_number", Avro::Long(listed.min_sequence_number)),
        ("added_snapshot_id", Avro::Long(listed.snapshot_id)),
        ("added_files_count", Avro::Int(listed.added.files)),
        ("existing_files_count", Avro::Int(listed.existing.files)),
        ("deleted_files_count", Avro::Int(listed.deleted.files)),
        ("added_rows_count", Avro::Long(listed.added.rows)),
        ("existing_rows_count", Avro::Long(listed.existing.rows)),
        ("deleted_rows_count", Avro::Long(listed.deleted.rows)),
    ]);
    written(&LIST, &about, std::iter::once(row))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, String> {
    // By way of values, because programs give their records whatever names they like.
    let read = || Reader::new(bytes)?.map(|row| from_value::<T>(&row?)).collect::<Result<Vec<T>, apache_avro::Error>>();
    read().map_err(|error| error.to_string())
}

/// A manifest as a list of manifests names it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct NamedInList {
    pub(crate) manifest_path: String,
    content: i32,
    sequence_number: i64,
    added_snapshot_id: i64,
}

/// The manifests that a list names.
///
/// # Errors
/// Why it cannot be read; also when it names one of deleted rows, which only another program can have written.
pub(crate) fn list_from_bytes(bytes: &[u8]) -> Result<Vec<NamedInList>, String> {
    let named: Vec<NamedInList> = read(bytes)?;
    match named.iter().find(|named| named.content != DATA) {
        Some(named) => Err(format!("`{}` deletes rows, which only another program does", named.manifest_path)),
        None => Ok(named),
    }
}

#[derive(Deserialize)]
struct ReadEntry {
    status: i32,
    snapshot_id: Option<i64>,
    sequence_number: Option<i64>,
    data_file: ReadFile,
}

#[derive(Deserialize)]
struct ReadFile {
    file_path: String,
    record_count: i64,
    file_size_in_bytes: i64,
}

/// The data files that a manifest has live.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn live_from_bytes(bytes: &[u8], named: &NamedInList) -> Result<Vec<ManifestEntry>, String> {
    let live = read::<ReadEntry>(bytes)?.into_iter().filter(|entry| entry.status != EntryStatus::Deleted as i32);
    let live = live.map(|entry| {
        let ReadFile { file_path, record_count, file_size_in_bytes } = entry.data_file;
        ManifestEntry {
            status: EntryStatus::Existing,
            snapshot_id: entry.snapshot_id.unwrap_or(named.added_snapshot_id),
            sequence_number: entry.sequence_number.unwrap_or(named.sequence_number),
            uri: file_path,
            rows: record_count,
            bytes: file_size_in_bytes,
            modified: None,
        }
    });
    Ok(live.collect())
}
