//! What the committed set of a lake holds, row by row, read with the Parquet reader, against what the sandbox's journal
//! says.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use wdt_lake::sandbox::Version;
use wdt_lake::{Access, Lake, Store, Table};
use wdt_lake::{BeijingTime, Coverage, Window};

use super::LakeDir;

/// What tells one version of a requisition from another: its number, and when it was modified.
pub(crate) type VersionKey = (String, BeijingTime);

/// What one version says in the lake, as far as a test looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) real_num: Option<i128>,
    pub(crate) details: Vec<i64>,
}

/// Every row of the committed set; panics when one is there twice.
pub(crate) async fn rows(store: &Store) -> BTreeMap<VersionKey, Row> {
    let lake = Lake::open(store.clone(), "sandbox".parse().unwrap()).await.unwrap();
    let mut found = BTreeMap::new();
    let time = |micros: i64| BeijingTime::from_unix(micros / 1_000_000).unwrap();
    for file in lake.files(Table::PurchaseApply) {
        let bytes = store.get(&file.entry.path).await.unwrap().expect("a committed file is there");
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let numbers = batch.column_by_name("purchase_apply_no").unwrap().as_string::<i32>();
            let modified = batch.column_by_name("modified").unwrap().as_primitive::<TimestampMicrosecondType>();
            let real = batch.column_by_name("real_num").unwrap().as_primitive::<Decimal128Type>();
            for row in 0..batch.num_rows() {
                let key = (numbers.value(row).to_owned(), time(modified.value(row)));
                let held = Row { real_num: real.iter().nth(row).unwrap(), details: Vec::new() };
                assert!(found.insert(key.clone(), held).is_none(), "{key:?} is in the lake twice");
            }
        }
    }
    for file in lake.files(Table::PurchaseApplyDetail) {
        let bytes = store.get(&file.entry.path).await.unwrap().expect("a committed file is there");
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let numbers = batch.column_by_name("purchase_apply_no").unwrap().as_string::<i32>();
            let modified = batch.column_by_name("apply_modified").unwrap().as_primitive::<TimestampMicrosecondType>();
            let ids = batch.column_by_name("rec_id").unwrap().as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let key = (numbers.value(row).to_owned(), time(modified.value(row)));
                found
                    .get_mut(&key)
                    .unwrap_or_else(|| panic!("details of {key:?} without a header"))
                    .details
                    .push(ids.value(row));
            }
        }
    }
    found
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn open(store: Store) -> Lake {
    Lake::open(store, "sandbox".parse().unwrap()).await.expect("a log that can be read")
}

fn on_disk(dir: &LakeDir) -> Lake {
    block_on(open(Store::open(&dir.text(), Access::Read).expect("a lake")))
}

/// Every row of the committed set on disk.
pub(crate) fn held(dir: &LakeDir) -> BTreeMap<VersionKey, Row> {
    block_on(rows(on_disk(dir).store()))
}

/// What the lake covers.
pub(crate) fn coverage(dir: &LakeDir) -> Coverage {
    on_disk(dir).coverage().clone()
}

/// The lake holds, of `versions`, exactly those of the seconds that it covers, each of them once.
pub(crate) fn assert_exact<'a>(dir: &LakeDir, versions: impl IntoIterator<Item = &'a Version>, about: &str) {
    assert_rows(&on_disk(dir), versions, about);
}

fn assert_rows<'a>(lake: &Lake, versions: impl IntoIterator<Item = &'a Version>, about: &str) {
    let row = |version: &Version| Row {
        real_num: Some(version.requisition.real_num.0),
        details: version.requisition.details.iter().map(|detail| detail.rec_id).collect(),
    };
    let expected: BTreeMap<VersionKey, Row> = versions
        .into_iter()
        .filter(|version| lake.coverage().windows().iter().any(|window| window.contains(version.requisition.modified)))
        .map(|version| {
            ((version.requisition.purchase_apply_no.to_string(), version.requisition.modified), row(version))
        })
        .collect();
    let held = block_on(rows(lake.store()));
    let lost: Vec<_> = expected.keys().filter(|key| !held.contains_key(*key)).collect();
    let invented: Vec<_> = held.keys().filter(|key| !expected.contains_key(*key)).collect();
    assert!(
        lost.is_empty() && invented.is_empty(),
        "{about}: lost {} {:?}, invented {} {:?}",
        lost.len(),
        lost.first(),
        invented.len(),
        invented.first()
    );
    assert!(held == expected, "{about}: a row is not as the ERP held it");
}

/// On disk there is the committed set and its log, whole, and nothing else: no orphan, nothing half written, and a
/// lease only of a run that has ended.
pub(crate) fn assert_nothing_left(dir: &LakeDir, about: &str) {
    let lake = on_disk(dir);
    for file in Table::ALL.into_iter().flat_map(|table| lake.files(table)) {
        let size = std::fs::metadata(&file.uri).unwrap_or_else(|error| panic!("{about}: {}: {error}", file.uri)).len();
        assert_eq!(size, file.entry.bytes, "{about}: {}", file.uri);
    }
    assert!(dir.lease_is_free(), "{about}: the lease was given back");
    let (held, named) = (without_advisory(dir.files()), names(&lake));
    let left: Vec<_> = held.iter().filter(|name| !named.contains(name)).collect();
    assert!(left.is_empty(), "{about}: left over: {left:?}");
    assert_eq!(held, named, "{about}");
}

/// The names of all objects that the log of a lake speaks for, and of its manifests.
fn names(lake: &Lake) -> Vec<String> {
    let files = Table::ALL.into_iter().flat_map(|table| lake.files(table)).map(|file| file.entry.path);
    let quarantine = lake.with_quarantine().flat_map(|(_, live)| live.quarantine.clone()).map(|held| held.path);
    let raw = lake.state().live().values().flat_map(|live| live.raw.clone()).map(|raw| raw.path);
    let manifests =
        (1..lake.state().next_number()).map(|number| format!("_manifest/account=sandbox/{:016}/{number:020}.json", 0));
    let mut names: Vec<String> = files.chain(quarantine).chain(raw).chain(manifests).collect();
    names.sort();
    names
}

/// A long log has checkpoints, which come and go, and the last run has left a lease.
fn without_advisory(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| !name.contains("/_checkpoint/") && !name.starts_with("_lease/account="));
    names
}

/// [`assert_whole`] for a lake that lies anywhere.
pub(crate) fn assert_whole_in<'a>(
    store: &Store,
    range: Window,
    versions: impl IntoIterator<Item = &'a Version>,
    about: &str,
) {
    let lake = block_on(open(store.clone()));
    assert_rows(&lake, versions, about);
    assert_eq!(lake.coverage().gaps(range), [], "{about}");
    let held = block_on(store.list("")).expect("a listing");
    let held = without_advisory(held.into_iter().map(|object| object.path).collect());
    assert_eq!(held, names(&lake), "{about}");
}

/// The lake covers `range`, holds exactly `versions`, and nothing is left beside them.
pub(crate) fn assert_whole<'a>(
    dir: &LakeDir,
    range: Window,
    versions: impl IntoIterator<Item = &'a Version>,
    about: &str,
) {
    assert_exact(dir, versions, about);
    assert_eq!(coverage(dir).gaps(range), [], "{about}");
    assert_nothing_left(dir, about);
}
