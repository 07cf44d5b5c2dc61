//! The names of published tables, Delta and Iceberg.

use super::{ACCOUNT_KEY, Table};
use crate::id::{AccountName, CommitId};

/// The folder of Iceberg tables, one sub-folder a table. It is none of the table's own folder, in which plain readers
/// would take it for a partition.
const ICEBERG_ROOT: &str = "_iceberg";
/// What the name of a version of an Iceberg table ends in.
const ICEBERG_VERSION: &str = ".metadata.json";
/// What the names of the Avro files of a snapshot end in.
const ICEBERG_MANIFEST: &str = ".manifest.avro";
const ICEBERG_LIST: &str = ".list.avro";
/// What the name of a checkpoint of a Delta table ends in.
const DELTA_CHECKPOINT: &str = ".checkpoint.parquet";

/// The folder in which a table is published as a Delta table; of all accounts.
pub(crate) fn delta_log(table: Table) -> String {
    format!("{table}/_delta_log")
}

/// A version of the Delta table.
pub(crate) fn delta_version(table: Table, version: u64) -> String {
    format!("{}/{version:020}.json", delta_log(table))
}

/// The checkpoint of the Delta table as of a version.
pub(crate) fn delta_checkpoint(table: Table, version: u64) -> String {
    format!("{}/{version:020}{DELTA_CHECKPOINT}", delta_log(table))
}

/// The object that says which checkpoint of the Delta table is the newest.
pub(crate) fn delta_last_checkpoint(table: Table) -> String {
    format!("{}/_last_checkpoint", delta_log(table))
}

/// The version of a checkpoint's name.
pub(crate) fn delta_checkpoint_of(path: &str) -> Option<u64> {
    let (_, file) = path.rsplit_once('/')?;
    file.strip_suffix(DELTA_CHECKPOINT)?.parse().ok()
}

/// The version of a version's name.
pub(crate) fn delta_version_of(path: &str) -> Option<u64> {
    let (_, file) = path.rsplit_once('/')?;
    file.strip_suffix(".json")?.parse().ok()
}

/// The folder of all Iceberg tables.
pub(crate) fn iceberg_root() -> &'static str {
    ICEBERG_ROOT
}

/// The folder of an account's Iceberg table of a table.
pub(crate) fn iceberg_table(table: Table, account: &AccountName) -> String {
    format!("{ICEBERG_ROOT}/{table}/{ACCOUNT_KEY}{account}")
}

/// The folder of all that such a table consists of, but for its data files.
pub(crate) fn iceberg_folder(table: Table, account: &AccountName) -> String {
    format!("{}/metadata", iceberg_table(table, account))
}

/// A name in the folder of an Iceberg table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IcebergName {
    /// A version of the metadata.
    Version(u64),
    /// Which version is the newest.
    Hint,
    /// The manifest of a snapshot that was made for a version. The id is of that try alone, so that the name never gets
    /// other bytes.
    Manifest(u64, CommitId),
    /// The list of manifests of such a snapshot.
    List(u64, CommitId),
}

impl IcebergName {
    /// The name of the object, in its folder.
    pub(crate) fn file(self) -> String {
        match self {
            Self::Version(version) => format!("v{version}{ICEBERG_VERSION}"),
            Self::Hint => "version-hint.text".to_owned(),
            Self::Manifest(version, id) => format!("{version}-{id}{ICEBERG_MANIFEST}"),
            Self::List(version, id) => format!("{version}-{id}{ICEBERG_LIST}"),
        }
    }

    /// The name that a path ends in; `None` when it is none of ours.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
        let of_snapshot = |text: &str| {
            let (version, id) = text.split_once('-')?;
            Some((version.parse().ok()?, CommitId::parse(id)?))
        };
        let name = if let Some(text) = file.strip_suffix(ICEBERG_MANIFEST) {
            of_snapshot(text).map(|(version, id)| Self::Manifest(version, id))
        } else if let Some(text) = file.strip_suffix(ICEBERG_LIST) {
            of_snapshot(text).map(|(version, id)| Self::List(version, id))
        } else if let Some(text) = file.strip_suffix(ICEBERG_VERSION) {
            text.strip_prefix('v').and_then(|version| version.parse().ok()).map(Self::Version)
        } else {
            Some(Self::Hint)
        };
        name.filter(|name| name.file() == file)
    }
}

/// Whether a name is one of an Iceberg table.
fn is_iceberg(path: &str) -> bool {
    let parsed = || {
        let (table, rest) = path.strip_prefix(ICEBERG_ROOT)?.strip_prefix('/')?.split_once('/')?;
        let account: AccountName = rest.strip_prefix(ACCOUNT_KEY)?.split('/').next()?.parse().ok()?;
        let folder = iceberg_folder(Table::from_name(table)?, &account);
        IcebergName::of(path).filter(|name| format!("{folder}/{}", name.file()) == path)
    };
    parsed().is_some()
}

/// Whether a name is one of a published table.
pub(super) fn is_published(path: &str) -> bool {
    if is_iceberg(path) {
        return true;
    }
    let names = |table| {
        let version = delta_version_of(path).map(|version| delta_version(table, version));
        let checkpoint = delta_checkpoint_of(path).map(|version| delta_checkpoint(table, version));
        [version, checkpoint, Some(delta_last_checkpoint(table))]
    };
    Table::ALL.into_iter().flat_map(names).flatten().any(|name| name == path)
}

#[cfg(test)]
mod tests {
    use super::super::is_of_a_lake;
    use super::*;

    #[test]
    fn names_of_published_tables_are_of_a_lake() {
        let version = delta_version(Table::PurchaseApply, 42);
        assert_eq!(version, "purchase_apply/_delta_log/00000000000000000042.json");
        let checkpoint = delta_checkpoint(Table::StopReference, 40);
        assert_eq!(checkpoint, "stop_reference/_delta_log/00000000000000000040.checkpoint.parquet");
        assert_eq!((delta_version_of(&version), delta_checkpoint_of(&checkpoint)), (Some(42), Some(40)));
        let account: AccountName = "acme".parse().expect("a name");
        let folder = iceberg_folder(Table::PurchaseApply, &account);
        assert_eq!(folder, "_iceberg/purchase_apply/account=acme/metadata");
        let id = CommitId::generate();
        for name in [IcebergName::Version(7), IcebergName::Hint, IcebergName::Manifest(7, id), IcebergName::List(8, id)]
        {
            let path = format!("{folder}/{}", name.file());
            assert_eq!(IcebergName::of(&path), Some(name));
            assert!(is_of_a_lake(&path) && !is_of_a_lake(&path.replace("metadata/", "other/")), "{path}");
            assert!(!is_of_a_lake(&path.replace("purchase_apply", "purchase")), "{path}");
        }
        assert_eq!(["v07.metadata.json", "x.avro", "v.metadata.json"].map(IcebergName::of), [None; 3]);
        for ours in [&version, &checkpoint, &delta_last_checkpoint(Table::PurchaseApplyDetail)] {
            assert!(is_of_a_lake(ours), "{ours}");
        }
        for foreign in [version.replace("0042", "42"), version.replace("json", "crc"), version.replace("purchase", "x")]
        {
            assert!(!is_of_a_lake(&foreign), "{foreign}");
        }
    }
}
