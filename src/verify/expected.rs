//! What the rows should be, by the data contract.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use crate::error::Result;
use crate::format::FormatVersion;
use crate::parquet::TableSpec;
use crate::transform::{Contract, contract_version, stop_spec, table_specs};

/// What the rows should be.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// The version of the contract. Files of another version are checked without a look at their columns.
    pub(super) contract: FormatVersion,
    /// The table of headers.
    pub(super) headers: TableShape,
    /// The table of their details.
    pub(super) details: TableShape,
    /// The table of outcomes of stop references.
    pub(super) stops: TableShape,
    /// The column of all tables that, with the modified time, tells one version from another.
    pub(super) number: String,
    /// The column of ids, in both; where it has none, versions are told apart by number and modified time alone.
    pub(super) id: String,
    /// The column of headers that counts their details.
    pub(super) detail_count: String,
    /// The decimal columns of both tables whose value in a header should be the sum over its details.
    pub(super) sums: Vec<String>,
}

/// A table and its exact columns.
#[derive(Clone, Debug)]
pub(super) struct TableShape {
    /// What writing knows of it.
    pub(super) spec: Arc<TableSpec>,
    /// The columns of every file.
    pub(super) schema: SchemaRef,
}

impl Expected {
    /// What the contract of this program says.
    pub(super) fn of_contract() -> Result<Self> {
        let contract = Contract::get()?;
        let [headers, details] = table_specs()?;
        let stops = stop_spec()?;
        Ok(Self {
            contract: contract_version()?,
            headers: TableShape { spec: headers, schema: contract.headers().schema() },
            details: TableShape { spec: details, schema: contract.details().schema() },
            stops: TableShape { spec: stops, schema: contract.stops().schema() },
            number: "purchase_apply_no".to_owned(),
            id: "apply_id".to_owned(),
            detail_count: "detail_count".to_owned(),
            sums: ["real_num", "ref_num"].map(str::to_owned).to_vec(),
        })
    }

    pub(super) fn shape(&self, table: &str) -> Option<&TableShape> {
        [&self.headers, &self.details, &self.stops].into_iter().find(|shape| shape.spec.table.name() == table)
    }
}
