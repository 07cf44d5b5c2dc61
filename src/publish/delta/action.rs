//! The actions of a Delta version, as JSON: one object a line, with one key that says what it is.
//!
//! Actions and fields that are not ours are ignored when they are read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Result, printable};
use crate::log::{FileEntry, Sha256};
use crate::publish::follow::GoneFile;
use crate::publish::schema::{SchemaColumn, TableSchema};
use crate::time::{BeijingTime, rfc3339_micros};

/// The writer feature that no other program has: it keeps them from writing.
pub(crate) const WRITER_FEATURE: &str = "wdtLakePublisher";
/// Where the metadata says which version of the data contract the table has.
pub(crate) const CONTRACT_KEY: &str = "wdt_lake.contract";

/// One line. Exactly one field is set in what we write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeltaAction {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit_info: Option<CommitInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta_data: Option<TableMetadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) txn: Option<Txn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) add: Option<AddFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remove: Option<RemoveFile>,
}

/// Where a version comes from; for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommitInfo {
    /// Milliseconds since 1970 in UTC.
    #[serde(default)]
    pub(crate) timestamp: i64,
    #[serde(default)]
    pub(crate) operation: String,
    #[serde(default)]
    pub(crate) operation_parameters: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    pub(crate) engine_info: String,
    /// The version of the data contract of whoever wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wdt_lake_contract: Option<String>,
}

/// What a program must know to read and to write the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocol {
    pub(crate) min_reader_version: i32,
    pub(crate) min_writer_version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) writer_features: Option<Vec<String>>,
}

impl Protocol {
    fn ours() -> Self {
        Self { min_reader_version: 1, min_writer_version: 7, writer_features: Some(vec![WRITER_FEATURE.to_owned()]) }
    }

    /// Whether a publisher of ours wrote the table.
    pub(crate) fn is_ours(&self) -> bool {
        *self == Self::ours()
    }
}

/// What the table is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TableMetadata {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) description: Option<String>,
    pub(crate) format: FileFormat,
    pub(crate) schema_string: String,
    pub(crate) partition_columns: Vec<String>,
    #[serde(default)]
    pub(crate) configuration: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) created_time: Option<i64>,
}

/// The format of the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileFormat {
    pub(crate) provider: String,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
}

/// How far an application has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Txn {
    pub(crate) app_id: String,
    /// Of ours: the number of a manifest.
    pub(crate) version: i64,
    /// Of ours: when that manifest was begun, in milliseconds since 1970 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_updated: Option<i64>,
}

/// A file that is active from here on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddFile {
    /// Relative to the table's folder.
    pub(crate) path: String,
    pub(crate) partition_values: BTreeMap<String, Option<String>>,
    pub(crate) size: i64,
    pub(crate) modification_time: i64,
    pub(crate) data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stats: Option<String>,
}

/// A file that is active no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RemoveFile {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) deletion_timestamp: Option<i64>,
    pub(crate) data_change: bool,
    #[serde(default)]
    pub(crate) extended_file_metadata: Option<bool>,
    #[serde(default)]
    pub(crate) partition_values: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    pub(crate) size: Option<i64>,
}

/// The bytes of a version.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when an action cannot be written.
pub(crate) fn to_bytes(actions: &[DeltaAction]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut bytes, action)
            .map_err(|error| Error::internal("cannot write a Delta action").because(error))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// Reads the bytes of a version, or tells what is wrong with them.
pub(crate) fn from_bytes(bytes: &[u8]) -> std::result::Result<Vec<DeltaAction>, String> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|error| printable(&error.to_string()))).collect()
}

/// What a version says of itself; `operation` is a word that engines know.
pub(crate) fn commit_info(at: BeijingTime, operation: &str, schema: &TableSchema) -> DeltaAction {
    let info = CommitInfo {
        timestamp: at.millis(),
        operation: operation.to_owned(),
        operation_parameters: BTreeMap::new(),
        engine_info: concat!("wdt-lake/", env!("CARGO_PKG_VERSION")).to_owned(),
        wdt_lake_contract: Some(schema.contract.to_string()),
    };
    DeltaAction { commit_info: Some(info), ..DeltaAction::default() }
}

/// The protocol of our tables.
pub(crate) fn protocol() -> DeltaAction {
    DeltaAction { protocol: Some(Protocol::ours()), ..DeltaAction::default() }
}

/// The metadata of a table.
pub(crate) fn metadata(schema: &TableSchema, created_at: BeijingTime) -> DeltaAction {
    let fields = schema.columns.iter().chain(&schema.partitions).map(field);
    let configuration = [
        (CONTRACT_KEY, schema.contract.to_string()),
        // Every version stays: whoever looks for version 0 must find it.
        ("delta.enableExpiredLogCleanup", "false".to_owned()),
        ("delta.logRetentionDuration", "interval 36500 days".to_owned()),
    ];
    let metadata = TableMetadata {
        id: table_id(schema),
        name: Some(schema.table.name().to_owned()),
        description: Some(schema.comment.clone()),
        format: FileFormat { provider: "parquet".to_owned(), options: BTreeMap::new() },
        schema_string: json!({"type": "struct", "fields": fields.collect::<Vec<_>>()}).to_string(),
        partition_columns: schema.partitions.iter().map(|column| column.name.clone()).collect(),
        configuration: configuration.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        created_time: Some(created_at.millis()),
    };
    DeltaAction { meta_data: Some(metadata), ..DeltaAction::default() }
}

fn field(column: &SchemaColumn) -> serde_json::Value {
    json!({
        "name": column.name,
        "type": type_name(&column.kind),
        "nullable": column.is_nullable,
        "metadata": {"comment": column.comment},
    })
}

fn type_name(kind: &arrow_schema::DataType) -> String {
    use arrow_schema::DataType;
    match kind {
        DataType::Int16 => "short".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "long".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        _ => "string".to_owned(),
    }
}

/// An id that is the same whenever the table is published anew, in the form of a UUID.
fn table_id(schema: &TableSchema) -> String {
    Sha256::of(format!("wdt-lake delta {}", schema.table).as_bytes()).to_uuid()
}

/// How far an account has been published.
pub(crate) fn txn(app_id: String, number: u64, at: BeijingTime) -> DeltaAction {
    let version = i64::try_from(number).unwrap_or(i64::MAX);
    let txn = Txn { app_id, version, last_updated: Some(at.millis()) };
    DeltaAction { txn: Some(txn), ..DeltaAction::default() }
}

/// A file that becomes active. `written_at_unix` is when its commit was begun.
pub(crate) fn add(schema: &TableSchema, entry: &FileEntry, written_at_unix: u64, data_change: bool) -> DeltaAction {
    let path = below_table(&entry.path);
    let stats = json!({
        "numRecords": entry.rows,
        "minValues": {&schema.modified: stats_time(entry.min_modified)},
        "maxValues": {&schema.modified: stats_time(entry.max_modified)},
        "nullCount": {&schema.modified: 0},
    });
    let add = AddFile {
        partition_values: partition_values(path),
        path: path.to_owned(),
        size: i64::try_from(entry.bytes).unwrap_or(i64::MAX),
        modification_time: i64::try_from(written_at_unix).unwrap_or(0).saturating_mul(1_000),
        data_change,
        stats: Some(stats.to_string()),
    };
    DeltaAction { add: Some(add), ..DeltaAction::default() }
}

/// A time in statistics: milliseconds and no finer, as the protocol says.
fn stats_time(time: BeijingTime) -> String {
    let micros = rfc3339_micros(time.micros());
    format!("{}Z", micros.get(..23).unwrap_or(&micros))
}

/// A file that is active no longer.
pub(crate) fn remove(gone: &GoneFile, at: BeijingTime, data_change: bool) -> DeltaAction {
    let path = below_table(&gone.path);
    let remove = RemoveFile {
        path: path.to_owned(),
        deletion_timestamp: Some(at.millis()),
        data_change,
        extended_file_metadata: Some(true),
        partition_values: Some(partition_values(path)),
        size: Some(i64::try_from(gone.bytes).unwrap_or(i64::MAX)),
    };
    DeltaAction { remove: Some(remove), ..DeltaAction::default() }
}

/// A name without the table's folder. Its letters are such that a URI needs no escapes.
fn below_table(path: &str) -> &str {
    path.split_once('/').map_or(path, |(_, rest)| rest)
}

/// The partition that the folders of a path name.
fn partition_values(path: &str) -> BTreeMap<String, Option<String>> {
    let folders = path.split('/').filter_map(|part| part.split_once('='));
    folders.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use arrow_schema::{DataType, TimeUnit};

    use super::*;
    use crate::format::FormatVersion;
    use crate::log::Table;

    pub(in crate::publish::delta) fn schema() -> TableSchema {
        let column = |name: &str, kind, is_nullable| SchemaColumn {
            name: name.to_owned(),
            kind,
            is_nullable,
            comment: format!("the {name}"),
            field_id: None,
        };
        TableSchema {
            table: Table::PurchaseApply,
            comment: "a row".to_owned(),
            columns: vec![
                column("id", DataType::Int64, true),
                column("kind", DataType::Int16, false),
                column("num", DataType::Decimal128(19, 4), true),
                column("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
            ],
            partitions: vec![column("account", DataType::Utf8, true)],
            modified: "at".to_owned(),
            contract: FormatVersion::LAKE,
        }
    }

    fn second(seconds: i64) -> BeijingTime {
        BeijingTime::from_unix(seconds).expect("a time")
    }

    #[test]
    fn actions_are_what_the_protocol_says() {
        let entry = FileEntry {
            table: "purchase_apply".to_owned(),
            path: "purchase_apply/account=acme/modified_month=2026-10/x.parquet".to_owned(),
            bytes: 10,
            sha256: Sha256::of(b"x"),
            rows: 3,
            min_modified: second(1),
            max_modified: second(2),
            carried: false,
        };
        let actions = [
            txn("wdt-lake:acme".to_owned(), 7, second(9)),
            remove(&GoneFile::of(&entry), second(9), true),
            add(&schema(), &entry, 5, false),
        ];
        let text = String::from_utf8(to_bytes(&actions).expect("written")).expect("text");
        let expected = [
            r#"{"txn":{"appId":"wdt-lake:acme","version":7,"lastUpdated":9000}}"#,
            concat!(
                r#"{"remove":{"path":"account=acme/modified_month=2026-10/x.parquet","deletionTimestamp":9000,"#,
                r#""dataChange":true,"extendedFileMetadata":true,"#,
                r#""partitionValues":{"account":"acme","modified_month":"2026-10"},"size":10}}"#
            ),
            concat!(
                r#"{"add":{"path":"account=acme/modified_month=2026-10/x.parquet","#,
                r#""partitionValues":{"account":"acme","modified_month":"2026-10"},"#,
                r#""size":10,"modificationTime":5000,"dataChange":false,"stats":"#,
                r#""{\"maxValues\":{\"at\":\"1970-01-01T00:00:02.000Z\"},\"minValues\":{\"at\":\"1970-01-01T00:00:01.000Z\"},"#,
                r#"\"nullCount\":{\"at\":0},\"numRecords\":3}"}}"#
            ),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        assert_eq!(from_bytes(text.as_bytes()), Ok(actions.to_vec()));
    }

    #[test]
    fn the_metadata_is_the_same_whenever_it_is_made() {
        let made = metadata(&schema(), second(3)).meta_data.expect("metadata");
        assert_eq!(metadata(&schema(), second(3)).meta_data, Some(made.clone()));
        let is_uuid = uuid::Uuid::try_parse(&made.id).is_ok_and(|id| id.to_string() == made.id);
        assert!(is_uuid, "{}", made.id);
        assert_eq!(made.partition_columns, ["account"]);
        let fields: serde_json::Value = serde_json::from_str(&made.schema_string).expect("JSON");
        let of = |name: &str| {
            let fields = fields["fields"].as_array().expect("fields");
            fields.iter().find(|field| field["name"] == name).expect("a field").clone()
        };
        let kinds = ["id", "kind", "num", "at", "account"].map(|name| of(name)["type"].clone());
        assert_eq!(kinds, ["long", "short", "decimal(19,4)", "timestamp", "string"]);
        assert_eq!(of("kind")["nullable"], false);
        assert_eq!(of("at")["metadata"]["comment"], "the at");
    }

    #[test]
    fn what_is_not_ours_is_read_past_and_noise_is_told() {
        let foreign = br#"{"cdc":{"path":"x"}}

{"txn":{"appId":"other","version":3},"new":1}
"#;
        let read = from_bytes(foreign).expect("read");
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].txn.as_ref().map(|txn| txn.version), Some(3));
        assert!(from_bytes(b"{").is_err());
        let plain = br#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#;
        assert!(!from_bytes(plain).expect("read")[0].protocol.as_ref().expect("a protocol").is_ours());
        assert!(protocol().protocol.expect("a protocol").is_ours());
    }
}
