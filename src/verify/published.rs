//! What is published of an account against its commit log: the active files of each Delta and Iceberg table are the
//! committed set at the manifest that the table names.

use std::collections::{BTreeMap, BTreeSet};

use super::Defect;
use super::chain::Chain;
use crate::error::{ErrorKind, Result};
use crate::id::AccountName;
use crate::log::{Table, layout};
use crate::publish::{PublishedSet, iceberg_set, published_table, version_flaws};
use crate::publish_format::PublishFormat;
use crate::store::Store;

/// What is published of an account, and what of it is wrong or cannot be read. To be asked before the log is read: what
/// is published by then stands in it.
///
/// # Errors
/// [`ErrorKind::Lake`] when the store does not answer.
pub(super) async fn find(store: &Store, account: &AccountName) -> Result<(Vec<PublishedSet>, Vec<Defect>)> {
    let (mut sets, mut defects) = (Vec::new(), Vec::new());
    for table in Table::ALL {
        let flaws = version_flaws(store, table).await?;
        let delta = |what| defect(store, PublishFormat::Delta, &layout::delta_log(table), what);
        match published_table(store, table).await {
            Ok(standing) => sets.extend(standing.map(|standing| standing.set(account))),
            // What is missing is told already.
            Err(error) if error.kind() == ErrorKind::Defect && flaws.is_empty() => {
                defects.push(delta(format!("is damaged: {error}")));
            }
            Err(error) if error.kind() == ErrorKind::Defect => {}
            Err(error) => return Err(error),
        }
        defects.extend(flaws.into_iter().map(delta));
        match iceberg_set(store, account, table).await {
            Ok(set) => sets.extend(set),
            Err(error) if error.kind() == ErrorKind::Defect => {
                let folder = layout::iceberg_table(table, account);
                defects.push(defect(store, PublishFormat::Iceberg, &folder, format!("is damaged: {error}")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((sets, defects))
}

/// What the tables say wrong of an account whose log is `chain`, and in whose folders `objects` lay later.
///
/// # Errors
/// As [`find`].
pub(super) async fn check(
    store: &Store,
    sets: &[PublishedSet],
    account: &AccountName,
    chain: &Chain,
    objects: &[String],
) -> Result<Vec<Defect>> {
    let objects: BTreeSet<&str> = objects.iter().map(String::as_str).collect();
    let told = |set: &PublishedSet, what| defect(store, set.format, &set.folder, what);
    let (mut defects, mut missing) = (Vec::new(), BTreeSet::new());
    for set in sets {
        let wrong = compare(set, account, chain).into_iter().chain(set.flaws.iter().cloned());
        defects.extend(wrong.map(|what| told(set, what)));
        missing.extend(set.active.keys().filter(|path| !objects.contains(path.as_str())));
    }
    if !missing.is_empty() {
        // What was published as removed meanwhile may be gone.
        for set in find(store, account).await?.0 {
            let gone = set.active.keys().filter(|path| missing.contains(path));
            defects.extend(gone.map(|path| told(&set, format!("names `{path}`, which is missing"))));
        }
    }
    Ok(defects)
}

fn defect(store: &Store, format: PublishFormat, folder: &str, what: String) -> Defect {
    let remedy = match format {
        PublishFormat::Delta => "delete the folder `_delta_log` of the table and run `wdt-lake publish`",
        PublishFormat::Iceberg => "delete that folder and run `wdt-lake publish --format iceberg`",
    };
    Defect { object: store.uri(folder), what, remedy, commit: None }
}

fn compare(set: &PublishedSet, account: &AccountName, chain: &Chain) -> Vec<String> {
    let Some(named) = set.named else {
        let active = set.active.keys();
        let stray = active.map(|path| format!("names `{path}`, and says of no manifest that it has published it"));
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
    let of_table = format!("{}/", set.table);
    let committed: BTreeMap<&str, u64> = committed
        .files
        .iter()
        .filter(|(path, _)| path.starts_with(&of_table))
        .map(|(path, bytes)| (path.as_str(), *bytes))
        .collect();
    let lacks = committed.keys().filter(|path| !set.active.contains_key(**path));
    let lacks = lacks.map(|path| format!("lacks `{path}`, which is committed at manifest {number}"));
    let wrong = set.active.iter().filter_map(|(path, size)| match committed.get(path.as_str()) {
        None => Some(format!("names `{path}`, which is not committed at manifest {number}")),
        Some(bytes) if u64::try_from(*size) != Ok(*bytes) => {
            Some(format!("says that `{path}` has {size} bytes, and its manifest says {bytes}"))
        }
        Some(_) => None,
    });
    lacks.chain(wrong).collect()
}
