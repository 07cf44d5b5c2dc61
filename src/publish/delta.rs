//! Delta Lake: `{table}/_delta_log/` with one JSON object of actions a version, and now and then a checkpoint in
//! Parquet.
//!
//! - Version 0 has the protocol and the metadata and no file. Its writer features have one of our own, so that other
//!   programs read the table (reader version 1) and refuse to write, vacuum or optimise it.
//! - Each further version has the `txn` of an account, `wdt-lake:{account}`: the number of the manifest at which the
//!   active files of the account are exactly its committed set. Its `lastUpdated` is when that manifest was begun, by
//!   which a log is known that took another way since.
//! - `dataChange` is true of files of new rows, and of what an expire removes. So whoever reads the versions in order
//!   and takes the added files with `dataChange` sees each row once. The one exception is an account's first version,
//!   which adds its whole committed set.
//! - Versions are never deleted.

pub(crate) mod action;
pub(crate) mod checkpoint;
pub(crate) mod cut;
mod flaws;
pub(crate) mod log;
pub(crate) mod state;

/// What the names begin with under which versions say how far accounts are published.
const APP: &str = "wdt-lake:";

/// How a version names the account whose manifests it has published.
pub(crate) fn app_id(account: &crate::id::AccountName) -> String {
    format!("{APP}{account}")
}
