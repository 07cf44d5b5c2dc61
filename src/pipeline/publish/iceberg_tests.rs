//! What becomes of Iceberg tables over time: how much of them stays, a publisher that slept, a lake that lies
//! elsewhere, and a later contract.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;

use super::tests::{land, later};
use super::*;
use crate::publish::iceberg::folder::IcebergFolder;
use crate::publish::iceberg_set;
use crate::store::failpoint::{FailPoints, FaultInjection, InjectedAt};

const TABLE: Table = Table::PurchaseApply;

fn account() -> AccountName {
    "acme".parse().expect("a name")
}

async fn publish_by(publisher: &Publisher, store: &Store) -> Result<Vec<PublishedTable>> {
    let lake = Lake::open(store.clone(), account()).await?;
    let up_to = lake.state().newest().map_or(0, |newest| newest.number);
    let (mut log, hints, now) = (FollowedLog::new(lake), BTreeMap::new(), SystemClock.now());
    let wanted = PublishScope { made: &[PublishFormat::Iceberg], kept: &[], tables: &Table::ALL };
    let run = RunId::generate();
    publisher.publish(Publishing { log: &mut log, run, up_to, hints: &hints, now }, wanted).await
}

async fn publish(store: &Store) -> Vec<PublishedTable> {
    publish_by(&publisher().expect("a contract"), store).await.expect("published")
}

async fn land_and_publish(store: &Store, windows: std::ops::Range<i64>) {
    for nth in windows {
        land(store, 1_790_000_000, nth..nth + 1).await;
        publish(store).await;
    }
}

#[tokio::test]
async fn what_lies_there_does_not_grow_with_the_age_of_the_lake() {
    let store = Store::memory();
    land_and_publish(&store, 0..80).await;
    let names = store.names(&layout::iceberg_folder(TABLE, &account())).await.expect("listed");
    let of = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    assert_eq!((of(".metadata.json"), of(".manifest.avro"), of(".list.avro")), (22, 50, 50), "{names:?}");
    let account = account();
    let folder = IcebergFolder { store: &store, account: &account, table: TABLE };
    let found = folder.newest().await.expect("sound").expect("a table");
    assert_eq!((found.version, found.metadata.snapshots.len(), found.metadata.metadata_log.len()), (81, 50, 20));
    let flaws = async || iceberg_set(&store, &account, TABLE).await.expect("sound").expect("a table").flaws;
    assert_eq!(flaws().await, [""; 0]);
    for earlier in &found.metadata.metadata_log {
        let path = folder.path_of(&earlier.metadata_file).expect("in the lake");
        assert!(names.iter().any(|name| name == path), "{path} is still there");
    }
    assert_eq!(folder.live(&found.metadata.snapshots[0]).await.expect("the oldest can be read").len(), 31);
    let list = folder.path_of(&found.metadata.snapshots[7].manifest_list).expect("in the lake");
    store.delete(list).await.expect("deleted");
    assert!(flaws().await.len() == 1, "a snapshot that cannot be read any more is told");
}

/// At the first moment at which a publisher has read the table, others publish sixty versions.
struct OthersFirst {
    store: Store,
    is_over: AtomicBool,
}

impl FaultInjection for OthersFirst {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let is_it = matches!(moment, InjectedAt::Point("publish.listed")) && !self.is_over.swap(true, Ordering::SeqCst);
        Box::pin(async move {
            if is_it {
                Box::pin(land_and_publish(&self.store, 2..62)).await;
            }
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_publisher_that_slept_leaves_nothing_of_an_old_version() {
    let store = Store::memory();
    land_and_publish(&store, 0..1).await;
    land(&store, 1_790_000_000, 1..2).await;
    let others = OthersFirst { store: store.clone(), is_over: AtomicBool::new(false) };
    let slept = store.with_fail_points(FailPoints::new(Arc::new(others)));
    let schemas = schemas().expect("a contract").into_iter().filter(|schema| schema.table == TABLE).collect();
    let published = publish_by(&Publisher::new(schemas), &slept).await.expect("published");
    assert_eq!(
        published.iter().map(|table| (table.version, table.number, table.created)).collect::<Vec<_>>(),
        [(62, 62, 0)]
    );
    let folder = layout::iceberg_folder(TABLE, &account());
    let names = store.names(&folder).await.expect("listed");
    assert!(!names.contains(&format!("{folder}/v3.metadata.json")), "{names:?}");
    let hint = store.get(&format!("{folder}/version-hint.text")).await.expect("an answer").expect("it is there");
    assert_eq!(&hint[..], b"62");
    let avro = names.iter().filter(|name| name.ends_with(".avro"));
    assert!(avro.clone().count() == 100 && !avro.clone().any(|name| name.contains("/3-")), "{names:?}");
}

#[tokio::test]
async fn a_lake_that_lies_elsewhere_is_published_anew() {
    let (first, second) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let open = |folder: &std::path::Path| Store::local(folder, crate::store::Access::Write).expect("a store");
    let store = open(&first.path().join("lake"));
    land_and_publish(&store, 0..3).await;
    std::fs::rename(first.path().join("lake"), second.path().join("lake")).expect("moved");
    let store = open(&second.path().join("lake"));
    let before = iceberg_set(&store, &account(), TABLE).await.expect("sound").expect("a table");
    assert_eq!((before.named, before.active.len()), (None, 0), "nothing is said of files that lie elsewhere");
    assert_eq!(crate::publish::iceberg_reached(&store, &account(), TABLE).await.expect("sound"), None);
    assert_eq!(publish(&store).await.iter().map(|table| table.created).collect::<Vec<_>>(), [1, 1]);
    let account = account();
    let folder = IcebergFolder { store: &store, account: &account, table: TABLE };
    let found = folder.newest().await.expect("sound").expect("a table");
    assert_eq!((found.version, found.metadata.snapshots.len()), (5, 1));
    assert_eq!(found.metadata.location, folder.location());
    let live = folder.live(&found.metadata.snapshots[0]).await.expect("it can be read");
    assert!(live.len() == 3 && live.iter().all(|entry| folder.path_of(&entry.uri).is_some()), "{live:?}");
    assert_eq!(publish(&store).await.iter().map(|table| table.created).collect::<Vec<_>>(), [0, 0]);
}

#[tokio::test]
async fn a_later_contract_adds_a_schema_and_an_earlier_one_stays_away() {
    let store = Store::memory();
    land_and_publish(&store, 0..1).await;
    land(&store, 1_790_000_000, 1..2).await;
    publish_by(&later(), &store).await.expect("published");
    let account = account();
    let folder = IcebergFolder { store: &store, account: &account, table: TABLE };
    let found = folder.newest().await.expect("sound").expect("a table");
    let (id, columns) = found.metadata.schema();
    let names: Vec<&str> =
        columns["fields"].as_array().expect("fields").iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(id == 1 && names.contains(&"urgency"), "{id} {names:?}");
    assert_eq!(found.metadata.snapshots.iter().map(|one| one.schema_id).collect::<Vec<_>>(), [Some(0), Some(1)]);
    land(&store, 1_790_000_000, 2..3).await;
    let error = publish_by(&publisher().expect("a contract"), &store).await.expect_err("its columns are not known");
    assert_eq!(error.class(), crate::error::ErrorClass::ContractLater);
}

#[tokio::test]
async fn a_table_of_another_program_and_one_of_another_log_are_left_alone() {
    let store = Store::memory();
    land(&store, 1_790_000_000, 0..2).await;
    let path = format!("{}/v1.metadata.json", layout::iceberg_folder(TABLE, &account()));
    publish(&store).await;
    let ours = store.get(&path).await.expect("an answer").expect("it is there");
    let foreign = String::from_utf8(ours.to_vec()).expect("text").replace("wdt-lake.source", "somebody");
    for name in store.names("_iceberg").await.expect("listed") {
        store.delete(&name).await.expect("deleted");
    }
    store.put(&path, foreign.clone().into(), "_staging/x").await.expect("put");
    let publisher = publisher().expect("a contract");
    let error = publish_by(&publisher, &store).await.expect_err("it is not ours");
    assert!(error.message().contains("another program keeps an Iceberg table"), "{error}");
    assert_eq!(store.get(&path).await.expect("an answer").as_deref(), Some(foreign.as_bytes()));

    store.delete(&path).await.expect("deleted");
    publish(&store).await;
    super::tests::forget_manifests(&store, 2).await;
    for (at, windows, said) in
        [(1_790_001_000, 5..5, "is ahead of the commit log"), (1_790_002_000, 6..7, "follows another commit log")]
    {
        land(&store, at, windows).await;
        let error = publish_by(&publisher, &store).await.expect_err("it cannot go on");
        assert!(error.kind() == crate::ErrorKind::Defect && error.message().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_hint_that_somebody_else_wrote_is_set_right() {
    let store = Store::memory();
    land_and_publish(&store, 0..2).await;
    let hint = format!("{}/version-hint.text", layout::iceberg_folder(TABLE, &account()));
    for (nth, wrong) in (2..).zip(["99", "4", "3\n", " 3", "+3", "03", "1", "x", "", "18446744073709551615"]) {
        store.put(&hint, wrong.into(), "_staging/x").await.expect("put");
        assert_eq!(publish(&store).await.iter().map(|table| table.created).collect::<Vec<_>>(), [0, 0], "{wrong}");
        let said = store.get(&hint).await.expect("an answer").expect("it is there");
        assert_eq!(
            String::from_utf8_lossy(&said),
            (nth + 1).to_string(),
            "{wrong:?} is set right where nothing is new"
        );
        store.put(&hint, wrong.into(), "_staging/x").await.expect("put");
        land_and_publish(&store, nth..nth + 1).await;
        let said = store.get(&hint).await.expect("an answer").expect("it is there");
        assert_eq!(String::from_utf8_lossy(&said), (nth + 2).to_string(), "{wrong:?} keeps nobody waiting");
    }
}

#[tokio::test]
async fn a_lake_that_is_published_as_iceberg_stays_so() {
    let store = Store::memory();
    land_and_publish(&store, 0..2).await;
    for name in store.names(&layout::iceberg_folder(TABLE, &account())).await.expect("listed") {
        store.delete(&name).await.expect("deleted");
    }
    let published = publish_all(&store, &[account()], &[]).await.expect("published");
    let tables = published.into_iter().flat_map(|(_, outcome)| outcome.expect("published"));
    let formats: Vec<_> = tables.map(|table| (table.format, table.created)).collect();
    assert_eq!(formats, [(PublishFormat::Iceberg, 0), (PublishFormat::Iceberg, 1)], "what was deleted is made again");
}
