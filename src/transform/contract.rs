//! The data contract: the one list of columns, read from `schemas/*.json` at compile time.
//!
//! Each file describes one table of the lake: its name, where its rows stand in an answer of each edition, its sort
//! order, its partition columns (in the path only, never in a file), and its columns in order. A column is read from
//! the first of its `sources` or from any alias after it, or is `derived`, or both (then the derived value wins, and
//! `derived` says what becomes of a source that differs). Arrow schemas, the decoder's field table, `wdt-lake schema`
//! and `docs/schema.md` all come from here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::Deserialize;

use crate::edition::Edition;
use crate::error::{Error, Result};

/// Precision of the quantities: the vendor documents decimal(19,4).
pub(crate) const DECIMAL_PRECISION: u8 = 19;
/// Digits after the point of the quantities.
pub(crate) const DECIMAL_SCALE: i8 = 4;

/// The last column of every table: the commit that first landed the row. A commit's id is known only when it is staged,
/// and a commit that is staged anew has another one, so the column is filled when a file is encoded.
pub(super) const COMMIT_ID: &str = "_commit_id";

/// The text of `schemas/purchase_apply.json`.
pub(super) const HEADERS_JSON: &str = include_str!("../../schemas/purchase_apply.json");
/// The text of `schemas/purchase_apply_detail.json`.
pub(super) const DETAILS_JSON: &str = include_str!("../../schemas/purchase_apply_detail.json");
/// The text of `schemas/stop_reference.json`.
pub(super) const STOPS_JSON: &str = include_str!("../../schemas/stop_reference.json");

/// The contract of all tables.
#[derive(Debug)]
pub struct Contract {
    headers: TableContract,
    details: TableContract,
    stops: TableContract,
}

impl Contract {
    /// The contract that this program was built with.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when a contract file is broken, which a test of this crate
    /// rules out.
    pub fn get() -> Result<&'static Self> {
        static CONTRACT: LazyLock<Result<Contract, String>> = LazyLock::new(|| {
            Ok(Contract {
                headers: TableContract::parse(HEADERS_JSON)?,
                details: TableContract::parse(DETAILS_JSON)?,
                stops: TableContract::parse(STOPS_JSON)?,
            })
        });
        CONTRACT.as_ref().map_err(|error| Error::internal("cannot read the data contract").because(error.as_str()))
    }

    /// `major.minor` of the contract, as files of the lake carry it.
    pub fn version(&self) -> &str {
        &self.headers.contract
    }

    /// The table of requisitions, `purchase_apply`.
    pub fn headers(&self) -> &TableContract {
        &self.headers
    }

    /// The table of their details, `purchase_apply_detail`.
    pub fn details(&self) -> &TableContract {
        &self.details
    }

    /// The table of outcomes of stop references, `stop_reference`.
    pub fn stops(&self) -> &TableContract {
        &self.stops
    }

    /// Every table, in the order in which documents list them.
    pub fn tables(&self) -> [&TableContract; 3] {
        [&self.headers, &self.details, &self.stops]
    }
}

/// One table of the lake.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableContract {
    contract: String,
    table: String,
    en: String,
    zh: String,
    rows: BTreeMap<Edition, Vec<String>>,
    sort_order: Vec<String>,
    lookup_columns: Vec<String>,
    distinct_columns: Vec<String>,
    partition_columns: Vec<PartitionColumn>,
    columns: Vec<Column>,
    #[serde(skip)]
    schema: Option<SchemaRef>,
    #[serde(skip)]
    fresh_schema: Option<SchemaRef>,
}

impl TableContract {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut table: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for name in table.sort_order.iter().chain(&table.lookup_columns).chain(&table.distinct_columns) {
            if table.column(name).is_none() {
                return Err(format!("{}: there is no column `{name}`", table.table));
            }
        }
        let ids: BTreeSet<i32> = table.columns.iter().map(|column| column.field_id).collect();
        if ids.len() < table.columns.len() || ids.first().is_some_and(|id| *id < 1) {
            return Err(format!("{}: columns share a field id, or have none", table.table));
        }
        let fields: Vec<Field> = table.columns.iter().map(Column::field).collect();
        let fresh = match fields.split_last() {
            Some((last, fresh)) if last.name() == COMMIT_ID => fresh.to_vec(),
            _ => return Err(format!("{}: the last column is not `{COMMIT_ID}`", table.table)),
        };
        table.fresh_schema = Some(Arc::new(Schema::new(fresh)));
        table.schema = Some(Arc::new(Schema::new(fields)));
        Ok(table)
    }

    /// `major.minor` of the contract that the table belongs to.
    pub fn version(&self) -> &str {
        &self.contract
    }

    /// Its name: the folder in the lake.
    pub fn name(&self) -> &str {
        &self.table
    }

    /// What a row is, in English.
    pub fn en(&self) -> &str {
        &self.en
    }

    /// What a row is, in Chinese.
    pub fn zh(&self) -> &str {
        &self.zh
    }

    /// Where its rows stand: dotted paths from the top of an answer for requisitions, from the requisition for details.
    pub fn rows(&self, edition: Edition) -> &[String] {
        self.rows.get(&edition).map_or(&[], Vec::as_slice)
    }

    /// The columns that rows of a file are sorted by, all ascending, nulls first.
    pub fn sort_order(&self) -> &[String] {
        &self.sort_order
    }

    /// The columns that stand in the path only.
    pub fn partition_columns(&self) -> &[PartitionColumn] {
        &self.partition_columns
    }

    /// The columns of a file, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of that name and its place.
    pub fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
    }

    /// The Arrow schema of a file: plain utf8, microseconds UTC, decimal128(19,4), signed integers, nothing else.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone().unwrap_or_else(|| Arc::new(Schema::empty()))
    }

    /// The Arrow schema of rows that no commit has landed yet: that of a file without `_commit_id`.
    pub fn fresh_schema(&self) -> SchemaRef {
        self.fresh_schema.clone().unwrap_or_else(|| Arc::new(Schema::empty()))
    }

    /// The columns that users look rows up by; their values go into bloom filters.
    pub fn lookup_columns(&self) -> &[String] {
        &self.lookup_columns
    }

    /// Columns whose values are nearly all distinct, so that a dictionary of them is for nothing.
    pub fn distinct_columns(&self) -> &[String] {
        &self.distinct_columns
    }

    /// One JSON object that describes each column in English and Chinese, for the metadata of files.
    pub fn descriptions(&self) -> String {
        let columns = self.columns.iter();
        let described =
            columns.map(|column| (column.name.clone(), serde_json::json!({ "en": column.en, "zh": column.zh })));
        serde_json::Value::Object(described.collect()).to_string()
    }
}

/// A column that stands in the path only, as text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionColumn {
    name: String,
    en: String,
    zh: String,
}

impl PartitionColumn {
    /// Its name in the path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds, in English.
    pub fn en(&self) -> &str {
        &self.en
    }

    /// What it holds, in Chinese.
    pub fn zh(&self) -> &str {
        &self.zh
    }
}

/// Where an Arrow field carries the id by which table formats tell columns apart, whatever they are called.
const FIELD_ID: &str = "PARQUET:field_id";

/// One column of a table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    field_id: i32,
    name: String,
    #[serde(rename = "type")]
    kind: ColumnType,
    required: bool,
    #[serde(default)]
    sources: BTreeMap<Edition, Vec<String>>,
    #[serde(default)]
    derived: Option<String>,
    #[serde(default)]
    vendor_type: Option<String>,
    en: String,
    zh: String,
}

impl Column {
    /// The id by which table formats tell it from others; it stands in the files and never changes.
    pub fn field_id(&self) -> i32 {
        self.field_id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type.
    pub fn kind(&self) -> ColumnType {
        self.kind
    }

    /// Whether it never holds null.
    pub fn required(&self) -> bool {
        self.required
    }

    /// The source fields of an edition: the documented one first, then its aliases; empty when the edition has none.
    pub fn sources(&self, edition: Edition) -> &[String] {
        self.sources.get(&edition).map_or(&[], Vec::as_slice)
    }

    /// What it is derived from, when it is not (only) a source field.
    pub fn derived(&self) -> Option<&str> {
        self.derived.as_deref()
    }

    /// The type that the vendor documents for the source field.
    pub fn vendor_type(&self) -> Option<&str> {
        self.vendor_type.as_deref()
    }

    /// What it holds, in English.
    pub fn en(&self) -> &str {
        &self.en
    }

    /// What it holds, in Chinese.
    pub fn zh(&self) -> &str {
        &self.zh
    }

    fn field(&self) -> Field {
        let id = HashMap::from([(FIELD_ID.to_owned(), self.field_id.to_string())]);
        Field::new(&self.name, self.kind.arrow(), !self.required).with_metadata(id)
    }
}

/// The type of a column, as the contract files write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum ColumnType {
    /// A signed integer of 16 bits.
    #[serde(rename = "int16")]
    Int16,
    /// A signed integer of 32 bits.
    #[serde(rename = "int32")]
    Int32,
    /// A signed integer of 64 bits.
    #[serde(rename = "int64")]
    Int64,
    /// Text.
    #[serde(rename = "utf8")]
    Utf8,
    /// An exact quantity: 19 digits, 4 of them after the point.
    #[serde(rename = "decimal(19,4)")]
    Decimal,
    /// An instant in microseconds.
    #[serde(rename = "timestamp(us,UTC)")]
    Timestamp,
}

impl ColumnType {
    /// As the contract files write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Utf8 => "utf8",
            Self::Decimal => "decimal(19,4)",
            Self::Timestamp => "timestamp(us,UTC)",
        }
    }

    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Utf8 => DataType::Utf8,
            Self::Decimal => DataType::Decimal128(DECIMAL_PRECISION, DECIMAL_SCALE),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_contract_is_well_formed() {
        let contract = Contract::get().expect("the contract files parse");
        assert_eq!(contract.version(), "1.0");
        for table in contract.tables() {
            assert_eq!(table.version(), contract.version());
            assert_eq!(table.schema().fields().len(), table.columns().len());
            let names: BTreeSet<&str> = table.columns().iter().map(Column::name).collect();
            assert_eq!(names.len(), table.columns().len(), "column names are unique");
            for partition in table.partition_columns() {
                assert!(!names.contains(partition.name()), "partition columns stand in the path only");
            }
            for edition in Edition::ALL {
                let has_rows = table.name() != "stop_reference" || edition == Edition::Flagship;
                assert_eq!(!table.rows(edition).is_empty(), has_rows, "{edition} has rows of {}", table.name());
                let sources: Vec<&String> = table.columns().iter().flat_map(|column| column.sources(edition)).collect();
                let distinct: BTreeSet<&String> = sources.iter().copied().collect();
                assert_eq!(sources.len(), distinct.len(), "a source field has one column in {edition}");
            }
            for column in table.columns() {
                assert!(column.derived().is_some() || !column.sources.is_empty(), "{} has an origin", column.name());
                assert!(!column.en().is_empty() && !column.zh().is_empty(), "{} is described", column.name());
            }
        }
    }

    #[test]
    fn columns_stand_in_the_order_of_the_design() {
        let contract = Contract::get().expect("the contract files parse");
        let names = |table: &TableContract| table.columns().iter().map(Column::name).collect::<Vec<_>>().join(" ");
        assert_eq!(
            names(contract.headers()),
            "apply_id purchase_apply_no status status_name createor_name name warehouse_no provider_no provider_name real_num \
             ref_num unref_num expected_time remark modified created detail_count extra _edition _extracted_at _run_id \
             _commit_id"
        );
        assert_eq!(
            names(contract.details()),
            "rec_id apply_id purchase_apply_no apply_modified detail_index spec_no spec_name goods_no goods_name short_name \
             brand_no brand_name class_name real_num ref_num stockin_num provider_no provider_name remark extra _edition \
             _extracted_at _run_id _commit_id"
        );
        assert_eq!(
            names(contract.stops()),
            "purchase_apply_no requested_at outcome evidence error error_code order_id observed_status _run_id _commit_id"
        );
        let required = |table: &TableContract| {
            table.columns().iter().filter(|column| column.required()).map(Column::name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(required(contract.headers()), "purchase_apply_no status modified _commit_id");
        assert_eq!(required(contract.details()), "rec_id purchase_apply_no apply_modified _commit_id");
    }
}
