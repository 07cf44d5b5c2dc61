//! The metadata of an Iceberg table: what a version of it says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::schema;
use crate::digest::Sha256;
use crate::error::Result;
use crate::format::FormatVersion;
use crate::id::AccountName;
use crate::publish::schema::TableSchema;
use crate::publish::standing::NamedManifest;

/// The version of the format.
const FORMAT_VERSION: u8 = 2;
/// The id of the only partition spec, which has no fields, and of the order of no columns.
const NONE: i32 = 0;
/// The greatest id of a partition field where there is none, as the format has it.
const LAST_PARTITION_ID: i32 = 999;
/// The branch that readers read.
const MAIN: &str = "main";

/// The property that says by which table and account of a lake this one was made.
const SOURCE: &str = "wdt-lake.source";
/// The property that has the version of the data contract.
const CONTRACT: &str = "wdt-lake.contract";
/// The property of table and snapshot that has the number of the manifest whose committed set they are.
const MANIFEST: &str = "wdt-lake.manifest";
/// The property that says when that was begun, in milliseconds since 1970 in UTC.
const MANIFEST_AT: &str = "wdt-lake.manifest-at";
/// The property of a snapshot that says until when, in milliseconds since 1970 in UTC, the files are kept that it does
/// not have any more.
const OLDER_UNTIL: &str = "wdt-lake.older-until";
/// What a snapshot does, among the properties of its summary.
const OPERATION: &str = "operation";

/// A version of a table's metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct IcebergMetadata {
    format_version: u8,
    table_uuid: String,
    /// The folder of the table, as a URI.
    pub(crate) location: String,
    pub(crate) last_sequence_number: i64,
    pub(crate) last_updated_ms: i64,
    last_column_id: i32,
    schemas: Vec<Value>,
    current_schema_id: i32,
    partition_specs: Vec<Value>,
    default_spec_id: i32,
    last_partition_id: i32,
    sort_orders: Vec<Value>,
    default_sort_order_id: i32,
    properties: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current_snapshot_id: Option<i64>,
    /// Those that can still be read, oldest first.
    #[serde(default)]
    pub(crate) snapshots: Vec<Snapshot>,
    #[serde(default)]
    snapshot_log: Vec<Value>,
    #[serde(default)]
    pub(crate) metadata_log: Vec<EarlierMetadata>,
    #[serde(default)]
    refs: BTreeMap<String, Value>,
}

/// An earlier version of the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EarlierMetadata {
    pub(crate) metadata_file: String,
    pub(crate) timestamp_ms: i64,
}

/// A state of the table that can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Snapshot {
    pub(crate) sequence_number: i64,
    pub(crate) snapshot_id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent_snapshot_id: Option<i64>,
    pub(crate) timestamp_ms: i64,
    /// Where the list of its Avro manifests lies.
    pub(crate) manifest_list: String,
    pub(crate) summary: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) schema_id: Option<i32>,
}

impl Snapshot {
    /// What its summary says at least: what it did, of which manifest it is the committed set, and until when the files
    /// are kept that it lacks of those before it; `None`: it lacks none.
    pub(crate) fn summary_of(
        operation: &str,
        named: NamedManifest,
        older_until_millis: Option<i64>,
    ) -> BTreeMap<String, String> {
        let until = older_until_millis.map(|millis| (OLDER_UNTIL.to_owned(), millis.to_string()));
        let said = [(OPERATION, operation.to_owned()), (MANIFEST, named.number.to_string())];
        said.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(until).collect()
    }

    /// Whether the files are gone by now that those before it have and it has not.
    fn ends_older(&self, now_millis: i64) -> bool {
        let until = self.summary.get(OLDER_UNTIL).and_then(|until| until.parse::<i64>().ok());
        until.is_some_and(|until| until <= now_millis)
    }
}

impl IcebergMetadata {
    /// Whether bytes that are no metadata of ours are those of a table that another program keeps, of whatever version
    /// of the format.
    pub(crate) fn is_of_others(bytes: &[u8]) -> bool {
        let said: Value = serde_json::from_slice(bytes).unwrap_or_default();
        said.get("format-version").is_some() && said.get("properties").and_then(|held| held.get(SOURCE)).is_none()
    }

    /// The first version of a table: it has no snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) for a broken contract.
    pub(crate) fn first(table: &TableSchema, account: &AccountName, location: String, at_millis: i64) -> Result<Self> {
        let properties = [
            ("comment", table.comment.clone()),
            (SOURCE, source(table, account)),
            // The files are the lake's: no program may delete them because no snapshot of this table has them.
            ("gc.enabled", "false".to_owned()),
        ];
        let mut metadata = Self {
            format_version: FORMAT_VERSION,
            table_uuid: table_uuid(table, account),
            location,
            last_sequence_number: 0,
            last_updated_ms: at_millis,
            last_column_id: 0,
            schemas: Vec::new(),
            current_schema_id: NONE,
            partition_specs: vec![json!({"spec-id": NONE, "fields": []})],
            default_spec_id: NONE,
            last_partition_id: LAST_PARTITION_ID,
            sort_orders: vec![json!({"order-id": NONE, "fields": []})],
            default_sort_order_id: NONE,
            properties: properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            current_snapshot_id: None,
            snapshots: Vec::new(),
            snapshot_log: Vec::new(),
            metadata_log: Vec::new(),
            refs: BTreeMap::new(),
        };
        metadata.take_schema(table)?;
        Ok(metadata)
    }

    /// Whether it is of a table that wdt-lake publishes, of this account.
    pub(crate) fn is_ours(&self, table: &TableSchema, account: &AccountName) -> bool {
        self.format_version == FORMAT_VERSION
            && self.properties.get(SOURCE).is_some_and(|held| *held == source(table, account))
    }

    /// The data contract by which it was published.
    pub(crate) fn contract(&self) -> Option<FormatVersion> {
        FormatVersion::parse(self.properties.get(CONTRACT)?)
    }

    /// The manifest whose committed set it is.
    pub(crate) fn manifest(&self) -> Option<NamedManifest> {
        let number = |key| self.properties.get(key)?.parse::<i64>().ok();
        let named = u64::try_from(number(MANIFEST)?).ok()?;
        Some(NamedManifest { number: named, created_at_millis: number(MANIFEST_AT) })
    }

    /// The snapshot that readers read.
    pub(crate) fn current(&self) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| Some(snapshot.snapshot_id) == self.current_snapshot_id)
    }

    /// The schema that readers read by, and its id.
    pub(crate) fn schema(&self) -> (i32, &Value) {
        let is_current = |schema: &&Value| schema["schema-id"] == self.current_schema_id;
        (self.current_schema_id, self.schemas.iter().find(is_current).unwrap_or(&Value::Null))
    }

    /// Takes the columns of the data contract, if it has others; older files lack what is new.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) for a broken contract.
    pub(crate) fn take_schema(&mut self, table: &TableSchema) -> Result<()> {
        self.properties.insert(CONTRACT.to_owned(), table.contract.to_string());
        if !self.schemas.is_empty() && self.schema().1["fields"] == schema::to_json(table, NONE)?["fields"] {
            return Ok(());
        }
        let ids = self.schemas.iter().filter_map(|schema| schema["schema-id"].as_i64());
        let next = ids.max().map_or(0, |greatest| greatest.saturating_add(1));
        self.current_schema_id = i32::try_from(next).unwrap_or(i32::MAX);
        self.schemas.push(schema::to_json(table, self.current_schema_id)?);
        self.last_column_id = self.last_column_id.max(schema::last_column_id(table));
        Ok(())
    }

    /// Says of which manifest it is the committed set.
    pub(crate) fn name_manifest(&mut self, named: NamedManifest) {
        self.properties.insert(MANIFEST.to_owned(), named.number.to_string());
        match named.created_at_millis {
            Some(millis) => self.properties.insert(MANIFEST_AT.to_owned(), millis.to_string()),
            None => self.properties.remove(MANIFEST_AT),
        };
    }

    /// Adds a snapshot, which readers read from now on.
    pub(crate) fn add_snapshot(&mut self, snapshot: Snapshot) {
        let id = snapshot.snapshot_id;
        self.last_sequence_number = snapshot.sequence_number;
        self.current_snapshot_id = Some(id);
        self.snapshot_log.push(json!({"snapshot-id": id, "timestamp-ms": snapshot.timestamp_ms}));
        self.refs = BTreeMap::from([(MAIN.to_owned(), json!({"snapshot-id": id, "type": "branch"}))]);
        self.snapshots.push(snapshot);
    }

    /// How many of the oldest snapshots have a file that is kept no longer.
    pub(crate) fn past_snapshots(&self, now_millis: i64) -> usize {
        self.snapshots.iter().rposition(|snapshot| snapshot.ends_older(now_millis)).unwrap_or(0)
    }

    /// Forgets those, and all before the `most` newest.
    pub(crate) fn forget_snapshots(&mut self, most: usize, now_millis: i64) {
        let first = self.past_snapshots(now_millis).max(self.snapshots.len().saturating_sub(most));
        self.snapshots.drain(..first);
        self.forget_log();
    }

    /// Forgets all snapshots: the lake lies elsewhere now.
    pub(crate) fn begin_anew(&mut self, location: String) {
        self.location = location;
        self.current_snapshot_id = None;
        self.snapshots.clear();
        self.metadata_log.clear();
        self.refs.clear();
        self.forget_log();
    }

    fn forget_log(&mut self) {
        let held: Vec<i64> = self.snapshots.iter().map(|snapshot| snapshot.snapshot_id).collect();
        self.snapshot_log.retain(|entry| entry["snapshot-id"].as_i64().is_some_and(|id| held.contains(&id)));
    }
}

/// Which table of which account a table publishes.
fn source(table: &TableSchema, account: &AccountName) -> String {
    format!("{}/account={account}", table.table)
}

/// An id that is the same whenever the table is published anew, in the form of a UUID.
fn table_uuid(table: &TableSchema, account: &AccountName) -> String {
    Sha256::of(format!("wdt-lake iceberg {}", source(table, account)).as_bytes()).to_uuid()
}
