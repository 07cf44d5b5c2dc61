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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::land::testing::window;
    use crate::log::Sha256;

    fn file(name: &str, carried: bool) -> FileEntry {
        let at = window(0, 9);
        FileEntry {
            table: Table::PurchaseApply.name().to_owned(),
            path: format!("purchase_apply/account=acme/{name}.parquet"),
            bytes: 10,
            sha256: Sha256::of(name.as_bytes()),
            rows: 3,
            min_modified: at.start(),
            max_modified: at.end(),
            carried,
        }
    }

    /// A manifest that adds new files, carried ones (`~`), and removes some (`-`).
    fn change(number: u64, is_expire: bool, files: &str) -> LogChange {
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for name in files.split_whitespace() {
            match (name.strip_prefix('-'), name.strip_prefix('~')) {
                (Some(name), _) => removed.push(GoneFile::of(&file(name, false))),
                (_, Some(name)) => added.push(file(name, true)),
                _ => added.push(file(name, false)),
            }
        }
        // Files of another table concern this one in nothing.
        added.push(FileEntry {
            table: Table::PurchaseApplyDetail.name().to_owned(),
            path: format!("purchase_apply_detail/account=acme/{number}.parquet"),
            ..file("x", false)
        });
        removed.push(GoneFile { path: format!("purchase_apply_detail/account=acme/{}.parquet", number - 1), bytes: 1 });
        LogChange { number, created_at: window(0, 9).end(), is_expire, added, removed }
    }

    /// Each version as `number: files`, with `+` for new rows, `~` for moved ones, `-` and `!` for removed files, the
    /// latter for good.
    fn told(changes: &[LogChange]) -> Vec<String> {
        let name =
            |path: &str| path.rsplit('/').next().and_then(|file| file.strip_suffix(".parquet")).map(str::to_owned);
        let versions = cut(Table::PurchaseApply, changes);
        let told = versions.iter().map(|version| {
            let adds = version.adds.iter().map(|(file, is_new)| (if *is_new { "+" } else { "~" }, &file.path));
            let gone =
                version.removes.iter().map(|(file, _, is_change)| (if *is_change { "!" } else { "-" }, &file.path));
            let all = adds.chain(gone).map(|(sign, path)| format!(" {sign}{}", name(path).expect("a file")));
            format!("{}:{}", version.number, all.collect::<String>())
        });
        told.collect()
    }

    #[test]
    fn as_many_manifests_as_can_are_one_version() {
        assert_eq!(told(&[]), [""; 0]);
        assert_eq!(told(&[change(4, false, "a"), change(5, false, ""), change(6, false, "b")]), ["6: +a +b"]);
        assert_eq!(told(&[change(4, false, "")]), ["4:"], "the number moves on without a file");
    }

    #[test]
    fn a_version_ends_before_what_it_adds_is_removed() {
        let changes = [change(4, false, "a"), change(5, false, "b ~c -old"), change(6, false, "~d -a -b")];
        assert_eq!(told(&changes), ["5: +a +b ~c -old", "6: ~d -a -b"]);
        let moved_twice = [change(4, false, "~a -x"), change(5, false, "~b -a"), change(6, false, "~c -b")];
        assert_eq!(told(&moved_twice), ["4: ~a -x", "5: ~b -a", "6: ~c -b"]);
    }

    #[test]
    fn an_expire_has_a_version_to_itself() {
        let changes = [change(4, false, "a"), change(5, true, "~k -x"), change(6, false, "b"), change(7, true, "-y")];
        assert_eq!(told(&changes), ["4: +a", "5: ~k !x", "6: +b", "7: !y"]);
    }

    #[test]
    fn the_first_version_of_an_account_is_all_new() {
        let live = [file("b", true), file("a", false)];
        let first = whole(Table::PurchaseApply, 9, window(0, 9).end(), live.iter());
        assert_eq!(first.number, 9);
        let adds: Vec<(&str, bool)> = first.adds.iter().map(|(file, is_new)| (file.path.as_str(), *is_new)).collect();
        assert!(adds.is_sorted() && adds.len() == 2 && adds.iter().all(|(_, is_new)| *is_new), "{adds:?}");
        assert_eq!(whole(Table::StopReference, 9, first.at, live.iter()).adds, []);
    }
}
