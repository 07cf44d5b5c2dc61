//! How the changes of a log are cut into versions of a Delta table. Pure.
//!
//! A version takes in as many manifests as it can. A new one begins before a manifest that removes a file which the
//! current one adds: else a stream would never see its rows. An expire has a version to itself, because what it
//! removes is a change of data, and what it carries is none.

use std::collections::BTreeSet;

use crate::log::{FileEntry, Table};
use crate::publish::follow::{GoneFile, LogChange};
use crate::time::BeijingTime;

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeltaVersion {
    /// The number of the last manifest that it takes in: it is the committed set at it.
    pub(crate) number: u64,
    /// When that was begun.
    pub(crate) at: BeijingTime,
    /// The files that it adds, and whether their rows are new.
    pub(crate) adds: Vec<(FileEntry, bool)>,
    /// The files that it removes, when, and whether their rows are gone for good.
    pub(crate) removes: Vec<(GoneFile, BeijingTime, bool)>,
    is_expire: bool,
}

/// Cuts the changes of a log, which are in the order of their numbers, into versions of this table.
pub(crate) fn cut(table: Table, changes: &[LogChange]) -> Vec<DeltaVersion> {
    let mut versions: Vec<DeltaVersion> = Vec::new();
    let mut own: BTreeSet<&str> = BTreeSet::new();
    for change in changes {
        let removed = change.removed.iter().filter(|file| file.is_of(table));
        let goes_on = versions.last().is_some_and(|version| !version.is_expire)
            && !change.is_expire
            && !removed.clone().any(|file| own.contains(file.path.as_str()));
        if !goes_on {
            own.clear();
            versions.push(DeltaVersion {
                number: change.number,
                at: change.created_at,
                adds: Vec::new(),
                removes: Vec::new(),
                is_expire: change.is_expire,
            });
        }
        let Some(version) = versions.last_mut() else { continue };
        (version.number, version.at) = (change.number, change.created_at);
        for file in change.added.iter().filter(|file| file.table == table.name()) {
            own.insert(&file.path);
            version.adds.push((file.clone(), !file.carried));
        }
        version.removes.extend(removed.map(|file| (file.clone(), change.created_at, change.is_expire)));
    }
    versions
}

/// The one version of an account that was never published: all of its committed set is new.
pub(crate) fn whole<'a>(
    table: Table,
    number: u64,
    at: BeijingTime,
    live: impl Iterator<Item = &'a FileEntry>,
) -> DeltaVersion {
    let mut adds: Vec<(FileEntry, bool)> =
        live.filter(|file| file.table == table.name()).map(|file| (file.clone(), true)).collect();
    adds.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
    DeltaVersion { number, at, adds, removes: Vec::new(), is_expire: false }
}
