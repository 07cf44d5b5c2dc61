//! What is published of an account against its commit log: the active files of each Delta table are the committed set
//! at the manifest that the table names.

use std::collections::{BTreeMap, BTreeSet};

use super::Defect;
use super::chain::Chain;
use crate::error::{ErrorKind, Result};
use crate::id::AccountName;
use crate::log::{Table, layout};
use crate::publish::{StandingTable, published_table, version_flaws};
use crate::store::Store;

/// What to do about a table that says something else.
const ANEW: &str = "delete the folder `_delta_log` of the table and run `wdt-lake publish`";

/// The published tables, and what of them is wrong or cannot be read. To be asked before the log is read: what is
/// published by then stands in it.
///
/// # Errors
/// [`ErrorKind::Lake`] when the store does not answer.
pub(super) async fn find(store: &Store) -> Result<(Vec<StandingTable>, Vec<Defect>)> {
    let (mut tables, mut defects) = (Vec::new(), Vec::new());
    for table in Table::ALL {
        let flaws = version_flaws(store, table).await?;
        match published_table(store, table).await {
            Ok(standing) => tables.extend(standing),
            // What is missing is told already.
            Err(error) if error.kind() == ErrorKind::Defect && flaws.is_empty() => {
                defects.push(defect(store, table, format!("has {error}")));
            }
            Err(error) if error.kind() == ErrorKind::Defect => {}
            Err(error) => return Err(error),
        }
        defects.extend(flaws.into_iter().map(|what| defect(store, table, what)));
    }
    Ok((tables, defects))
}

/// What the tables say wrong of an account whose log is `chain`, and in whose folders `objects` lay later.
///
/// # Errors
/// As [`find`].
pub(super) async fn check(
    store: &Store,
    tables: &[StandingTable],
    account: &AccountName,
    chain: &Chain,
    objects: &[String],
) -> Result<Vec<Defect>> {
    let objects: BTreeSet<&str> = objects.iter().map(String::as_str).collect();
    let (mut defects, mut missing) = (Vec::new(), BTreeSet::new());
    for standing in tables {
        let active = active(standing, account);
        let wrong = compare(standing, account, chain, &active);
        defects.extend(wrong.into_iter().map(|what| defect(store, standing.table, what)));
        missing.extend(active.into_keys().filter(|path| !objects.contains(path.as_str())));
    }
    if !missing.is_empty() {
        // What was published as removed meanwhile may be gone.
        for standing in find(store).await?.0 {
            let gone = active(&standing, account).into_keys().filter(|path| missing.contains(path));
            let gone = gone.map(|path| defect(store, standing.table, format!("names `{path}`, which is missing")));
            defects.extend(gone);
        }
    }
    Ok(defects)
}

fn defect(store: &Store, table: Table, what: String) -> Defect {
    Defect { object: store.uri(&layout::delta_log(table)), what, remedy: ANEW, commit: None }
}

/// The active files of an account with their sizes.
fn active(standing: &StandingTable, account: &AccountName) -> BTreeMap<String, i64> {
    let files = standing.state.files_of(account);
    files.map(|file| (format!("{}/{}", standing.table, file.path), file.size)).collect()
}

fn compare(
    standing: &StandingTable,
    account: &AccountName,
    chain: &Chain,
    active: &BTreeMap<String, i64>,
) -> Vec<String> {
    let Some(named) = standing.manifest(account) else {
        let stray =
            active.keys().map(|path| format!("names `{path}`, and says of no manifest that it has published it"));
        return stray.collect();
    };
    let number = named.number;
    let Some(committed) = chain.committed_at(number) else {
        return vec![format!("says that {account} is published up to manifest {number}, which is not there")];
    };
    if named.created_at_millis.is_some_and(|said| said != committed.begun_at.unix().saturating_mul(1_000)) {
        return vec![format!(
            "follows another commit log of {account}: its manifest {number} is not the one of this log"
        )];
    }
    let of_table = format!("{}/", standing.table);
    let committed: BTreeMap<&str, u64> = committed
        .files
        .iter()
        .filter(|(path, _)| path.starts_with(&of_table))
        .map(|(path, bytes)| (path.as_str(), *bytes))
        .collect();
    let lacks = committed.keys().filter(|path| !active.contains_key(**path));
    let lacks = lacks.map(|path| format!("lacks `{path}`, which is committed at manifest {number}"));
    let wrong = active.iter().filter_map(|(path, size)| match committed.get(path.as_str()) {
        None => Some(format!("names `{path}`, which is not committed at manifest {number}")),
        Some(bytes) if u64::try_from(*size) != Ok(*bytes) => {
            Some(format!("says that `{path}` has {size} bytes, and its manifest says {bytes}"))
        }
        Some(_) => None,
    });
    lacks.chain(wrong).collect()
}
