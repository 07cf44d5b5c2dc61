//! What the tables of the contract are to whoever writes and reads their files.

use std::sync::Arc;

use super::added::AddedColumns;
use super::contract::{COMMIT_ID, Contract, TableContract};
use crate::error::{Error, Result};
use crate::format::FormatVersion;
use crate::log::Table;
use crate::parquet::TableSpec;

/// The quantity that the summary of a run adds up, where a table has it.
const SUMMED: &str = "real_num";

/// The version of the data contract, as manifests and files carry it.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the contract is broken, which a test of this crate rules
/// out.
pub(crate) fn contract_version() -> Result<FormatVersion> {
    FormatVersion::parse(Contract::get()?.version())
        .ok_or_else(|| Error::internal("the contract's version is not major.minor"))
}

/// What writing needs to know of the two tables of requisitions, headers first, from the contract.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the contract is broken, which a test of this crate rules
/// out.
pub fn table_specs() -> Result<[Arc<TableSpec>; 2]> {
    let contract = Contract::get()?;
    Ok([
        table_spec(Table::PurchaseApply, contract.headers(), "modified"),
        table_spec(Table::PurchaseApplyDetail, contract.details(), "apply_modified"),
    ])
}

/// The same of the table of stop references.
///
/// # Errors
/// As [`table_specs`].
pub(crate) fn stop_spec() -> Result<Arc<TableSpec>> {
    Ok(table_spec(Table::StopReference, Contract::get()?.stops(), "requested_at"))
}

pub(super) fn table_spec(table: Table, source: &TableContract, modified: &str) -> Arc<TableSpec> {
    Arc::new(TableSpec {
        table,
        columns: source.descriptions(),
        sorted_by: source.sort_order().to_vec(),
        bloom: source.lookup_columns().to_vec(),
        distinct: source.distinct_columns().to_vec(),
        modified: modified.to_owned(),
        summed: source.column(SUMMED).map(|_| SUMMED.to_owned()),
        upgrade: Some(Arc::new(AddedColumns::of(source))),
        commit_id: source.schema().fields().find(COMMIT_ID).map(|(_, field)| Arc::clone(field)),
    })
}
