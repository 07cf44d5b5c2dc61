//! Verifying a lake against the data contract.

use std::sync::Arc;

use super::{contract_version, stop_spec, table_specs};
use crate::error::Result;
use crate::id::AccountName;
use crate::land::{self, Depth, Expected, Store, TableShape, Verified};
use crate::transform::Contract;

/// Checks whether the lake of an account is what its commit log says and what the contract asks; see [`land::verify`].
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer or the lake has a newer format. Defects are part of the answer.
pub async fn verify(store: &Store, account: AccountName, depth: Depth) -> Result<Verified> {
    let contract = Contract::get()?;
    let [headers, details] = table_specs()?;
    let stops = stop_spec()?;
    let expected = Expected {
        contract: contract_version()?,
        headers: TableShape { spec: headers, schema: contract.headers().schema() },
        details: TableShape { spec: details, schema: contract.details().schema() },
        stops: TableShape { spec: stops, schema: contract.stops().schema() },
        number: "purchase_apply_no".to_owned(),
        id: "apply_id".to_owned(),
        detail_count: "detail_count".to_owned(),
        sums: ["real_num", "ref_num"].map(str::to_owned).to_vec(),
    };
    land::verify(store, account, Arc::new(expected), depth).await
}
