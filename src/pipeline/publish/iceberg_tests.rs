//! What becomes of Iceberg tables over time: how much of them stays, a publisher that slept, a lake that lies
//! elsewhere, and a later contract.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::tests::{land, later};
use super::*;
use crate::land::fake_s3::{FakeS3, Lists};
use crate::publish::iceberg::folder::IcebergFolder;
use crate::publish::iceberg_set;
use crate::store::failpoint::{Effect, FailPoints, FaultInjection, InjectedAt, Op};

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

/// The first time that a moment comes to a publisher, others publish so many versions.
struct OthersMeanwhile {
    store: Store,
    is_it: fn(&InjectedAt<'_>) -> bool,
    windows: std::ops::Range<i64>,
    is_over: AtomicBool,
}

impl FaultInjection for OthersMeanwhile {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let is_it = (self.is_it)(&moment) && !self.is_over.swap(true, Ordering::SeqCst);
        Box::pin(async move {
            if is_it {
                Box::pin(land_and_publish(&self.store, self.windows.clone())).await;
            }
            Ok(())
        })
    }
}

/// Publishes one table of a lake of two commits, and sleeps at a moment until the others have published these windows:
/// the versions and numbers that it says it is at, and how many versions it created.
async fn publish_sleeping(
    store: &Store,
    is_it: fn(&InjectedAt<'_>) -> bool,
    windows: std::ops::Range<i64>,
) -> Vec<(u64, u64, u64)> {
    land_and_publish(store, 0..1).await;
    land(store, 1_790_000_000, 1..2).await;
    let others = OthersMeanwhile { store: store.clone(), is_it, windows, is_over: AtomicBool::new(false) };
    let slept = store.with_fail_points(FailPoints::new(Arc::new(others)));
    let schemas = schemas().expect("a contract").into_iter().filter(|schema| schema.table == TABLE).collect();
    let published = publish_by(&Publisher::new(schemas), &slept).await.expect("published");
    published.iter().map(|table| (table.version, table.number, table.created)).collect()
}

async fn hint(store: &Store) -> String {
    let path = format!("{}/version-hint.text", layout::iceberg_folder(TABLE, &account()));
    let said = store.get(&path).await.expect("an answer").expect("it is there");
    String::from_utf8_lossy(&said).into_owned()
}

/// The newest version of the table; every snapshot that it has can be read, and its last one has so many files.
async fn assert_sound(store: &Store, files: usize) -> u64 {
    let account = account();
    let folder = IcebergFolder { store, account: &account, table: TABLE };
    let found = folder.newest().await.expect("sound").expect("a table");
    for snapshot in &found.metadata.snapshots {
        folder.live(snapshot).await.expect("every snapshot can be read");
    }
    let set = iceberg_set(store, &account, TABLE).await.expect("sound").expect("a table");
    assert_eq!((set.active.len(), set.flaws), (files, Vec::new()));
    assert_eq!(hint(store).await, found.version.to_string());
    found.version
}

#[tokio::test]
async fn a_publisher_that_slept_leaves_nothing_of_an_old_version() {
    let store = Store::memory();
    let published = publish_sleeping(&store, |at| matches!(at, InjectedAt::Point("publish.listed")), 2..62).await;
    assert_eq!(published, [(62, 62, 0)]);
    let folder = layout::iceberg_folder(TABLE, &account());
    let names = store.names(&folder).await.expect("listed");
    assert!(!names.contains(&format!("{folder}/v3.metadata.json")), "{names:?}");
    assert_eq!(assert_sound(&store, 62).await, 62);
    let avro = names.iter().filter(|name| name.ends_with(".avro"));
    assert!(avro.clone().count() == 100 && !avro.clone().any(|name| name.contains("/3-")), "{names:?}");
}

/// It does not know whether its version was the one on which the others have built.
#[tokio::test]
async fn a_publisher_that_slept_after_its_version_stood_takes_nothing_from_the_others() {
    let store = Store::memory();
    let published = publish_sleeping(&store, |at| matches!(at, InjectedAt::Point("publish.created")), 2..32).await;
    assert_eq!(published, [(33, 32, 0)]);
    assert_eq!(assert_sound(&store, 32).await, 33);
}

/// What it had read is gone when it goes on: that is no damage.
#[tokio::test]
async fn a_publisher_whose_snapshot_was_forgotten_begins_again() {
    let store = Store::memory();
    let published = publish_sleeping(&store, |at| matches!(at, InjectedAt::Point("publish.read")), 2..62).await;
    assert_eq!(published, [(62, 62, 0)]);
    assert_eq!(assert_sound(&store, 62).await, 62);
}

/// It has read the hint, and writes it after others have said later versions.
#[tokio::test]
async fn the_hint_does_not_stay_behind_where_two_write_it_at_once() {
    let store = Store::memory();
    let is_it = |at: &InjectedAt<'_>| matches!(at, InjectedAt::Before(put) if put.op == Op::Put && put.path.ends_with("version-hint.text"));
    assert_eq!(publish_sleeping(&store, is_it, 2..4).await, [(3, 2, 1)]);
    assert_eq!(assert_sound(&store, 4).await, 5);
}

/// The first write of each object fails, as it does when a sweep takes the half-written file of a living publisher.
#[derive(Default)]
struct FirstWritesFail(std::sync::Mutex<std::collections::BTreeSet<String>>);

impl FaultInjection for FirstWritesFail {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let is_first = match moment {
            InjectedAt::Before(Effect { op: Op::Put | Op::Create, path, .. }) => {
                self.0.lock().expect("no test panicked").insert(path.to_owned())
            }
            _ => false,
        };
        Box::pin(async move {
            if is_first { Err(Error::new(crate::error::ErrorClass::StoreUnreached, "it is gone")) } else { Ok(()) }
        })
    }
}

#[tokio::test]
async fn a_write_that_a_sweep_disturbs_is_tried_again() {
    let store = Store::memory();
    land(&store, 1_790_000_000, 0..2).await;
    publish(&store.with_fail_points(FailPoints::new(Arc::new(FirstWritesFail::default())))).await;
    assert_eq!(assert_sound(&store, 2).await, 2);
}

/// The create of a version fails, and arrives when the same run has put the files of its next try.
#[derive(Default)]
struct LateCreate {
    sent: std::sync::Mutex<Option<(String, Bytes)>>,
    store: Option<Store>,
}

impl FaultInjection for LateCreate {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let mut sent = self.sent.lock().expect("no test panicked");
        match (&self.store, moment) {
            (None, InjectedAt::Before(Effect { op: Op::Create, path, body: Some(body) }))
                if path.ends_with("/v3.metadata.json") && path.contains(&format!("/{TABLE}/")) =>
            {
                *sent = Some((path.to_owned(), body.clone()));
                Box::pin(async { Err(Error::new(crate::error::ErrorClass::StoreUnreached, "no answer")) })
            }
            (Some(store), InjectedAt::Point("publish.listed")) => {
                let late = sent.take();
                Box::pin(async move {
                    match late {
                        Some((path, body)) => store.create(&path, body, "_staging/late").await.map(drop),
                        None => Ok(()),
                    }
                })
            }
            _ => Box::pin(async { Ok(()) }),
        }
    }
}

#[tokio::test]
async fn a_version_that_arrives_late_keeps_its_own_files() {
    let store = Store::memory();
    land_and_publish(&store, 0..1).await;
    land(&store, 1_790_000_000, 1..2).await;
    let run = RunId::generate();
    let publish_of_the_run = async |points: Arc<LateCreate>| {
        let lossy = store.with_fail_points(FailPoints::new(points));
        let lake = Lake::open(store.clone(), account()).await?;
        let up_to = lake.state().newest().map_or(0, |newest| newest.number);
        let (mut log, hints, now) =
            (FollowedLog::new(Lake::open(lossy, account()).await?), BTreeMap::new(), SystemClock.now());
        let wanted = PublishScope { made: &[PublishFormat::Iceberg], kept: &[], tables: &[TABLE] };
        publisher()?.publish(Publishing { log: &mut log, run, up_to, hints: &hints, now }, wanted).await
    };
    let failing = Arc::new(LateCreate::default());
    publish_of_the_run(Arc::clone(&failing)).await.expect_err("no answer");
    let sent = failing.sent.lock().expect("no test panicked").take();
    assert!(sent.is_some());
    land(&store, 1_790_000_000, 2..3).await;
    let late = LateCreate { sent: std::sync::Mutex::new(sent), store: Some(store.clone()) };
    let published = publish_of_the_run(Arc::new(late)).await.expect("published");
    assert_eq!(published.iter().map(|table| (table.number, table.created)).collect::<Vec<_>>(), [(3, 1)]);
    assert_eq!(assert_sound(&store, 3).await, 4, "the late one is version 3");
    let account = account();
    let folder = IcebergFolder { store: &store, account: &account, table: TABLE };
    let mut files = Vec::new();
    for snapshot in &folder.newest().await.expect("sound").expect("a table").metadata.snapshots {
        files.push(folder.live(snapshot).await.expect("it can be read").len());
    }
    assert_eq!(files, [1, 2, 3], "each snapshot has what its maker knew");
}

/// A listing says what is there, and never that it is all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_a_listing_leaves_out_is_published_before_files_are_deleted() {
    let server = FakeS3::start();
    let store = Store::s3(&server.lake("some/lake"), server.environment()).expect("settings");
    land_and_publish(&store, 0..2).await;
    server.list_so(Lists::NothingThere, 2);
    let standing = publisher().expect("a contract").standing(&store, &Layout::new(account()), &[TABLE]).await;
    assert!(standing.expect("an answer").contains(&TABLE));
}

#[tokio::test]
async fn a_table_of_another_version_of_the_format_is_another_programs() {
    let store = Store::memory();
    land(&store, 1_790_000_000, 0..1).await;
    let path = format!("{}/v1.metadata.json", layout::iceberg_folder(TABLE, &account()));
    let first = r#"{"format-version": 1, "table-uuid": "x", "location": "y", "schema": {}, "partition-spec": []}"#;
    store.put(&path, first.into(), "_staging/x").await.expect("put");
    let error = publish_by(&publisher().expect("a contract"), &store).await.expect_err("it is not ours");
    assert_eq!(error.class(), crate::error::ErrorClass::PublishedOfOthers, "{error}");
    store.put(&path, "{}".into(), "_staging/x").await.expect("put");
    let error = publish_by(&publisher().expect("a contract"), &store).await.expect_err("it is nobody's");
    assert_eq!(error.class(), crate::error::ErrorClass::PublishedDamaged, "{error}");
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
