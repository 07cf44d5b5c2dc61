//! One suite of the whole protocol, run alike on memory, on local disk, and on a real S3 server that checks signatures,
//! also where it creates objects as Alibaba OSS does:
//! what a store must do, commit, refresh, fence and sweep, lease, readers, two writers at once, and death, errors and
//! lost answers at the steps of it all.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use tempfile::TempDir;

use super::crash_tests::{Kind, check_whole, committed, dropped, leave_orphans, trouble_at, work};
use super::creates::Creates;
use super::doctor::{Ability, AbilityOutcome, examine};
use super::fake_s3::{FakeS3, Lists};
use super::lease::{Lease, LeaseWait};
use super::s3_server::S3Server;
use super::stage::CommitOutcome;
use super::sweep::leftovers;
use super::testing::{
    HeldClock, binding, everything, new_commit, replacing, stop_rows, stopped, to_stop, try_writer, window, writer,
};
use crate::error::{Error, ErrorKind, Result};
use crate::id::RunId;
use crate::log::stop_ledger::StopConflict;
use crate::log::{CommitKind, Conflict, Lake, Layout, Sha256, Table, read};
use crate::store::failpoint::{FailPoints, FaultInjection, InjectedAt, Op};
use crate::store::s3::upload::{PART_BYTES, THRESHOLD_BYTES};
use crate::store::{Access, Created, Object, Store, Writers};

/// Where the suite runs.
pub(crate) enum Place {
    Memory,
    Disk,
    S3(S3Server),
    Fake(FakeS3),
}

impl Place {
    pub(crate) fn s3() -> Self {
        Self::S3(S3Server::start())
    }

    /// A new, empty lake.
    pub(crate) fn lake(&self) -> (Store, Option<TempDir>) {
        match self {
            Self::Memory => (Store::memory(), None),
            Self::Disk => {
                let folder = TempDir::new().expect("a folder");
                (Store::local(folder.path(), Access::Write).expect("made"), Some(folder))
            }
            Self::S3(server) => {
                let location = format!("s3://{}/some/湖", server.bucket());
                (Store::s3(&location, server.environment()).expect("settings"), None)
            }
            Self::Fake(server) => {
                let location = server.lake(&format!("湖/{}", RunId::generate()));
                (Store::s3(&location, server.environment()).expect("settings"), None)
            }
        }
    }
}

/// The whole suite. `stride`: trouble comes at every so many of the moments.
async fn suite(place: &Place, stride: usize) {
    a_store_keeps_its_word(place).await;
    of_many_creators_one_wins(place).await;
    a_working_life_is_whole(place).await;
    a_big_object_arrives_whole(place).await;
    files_are_put_and_fetched(place).await;
    one_run_holds_the_lease(place).await;
    two_writers_that_overlap_commit_each_second_once(place).await;
    of_many_stops_of_one_number_one_may_call(place).await;
    an_answer_that_was_lost_is_found_out(place).await;
    what_a_dead_writer_left_is_fenced(place).await;
    a_single_writer_sees_a_second_one(place).await;
    the_doctor_finds_it_healthy(place).await;
    for kind in [Kind::Die, Kind::Fail] {
        trouble_at(kind, (0..).step_by(stride), || place.lake()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms() {
    suite(&Place::Memory, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_disk_conforms() {
    suite(&Place::Disk, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_conforms() {
    // A put has four moments there; five meets all of them in turn.
    suite(&Place::s3(), 5).await;
}

/// A real server that refuses `If-None-Match` and knows the header of OSS, which it wants to be signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_creates_like_oss_conforms() {
    suite(&Place::S3(S3Server::start_as(Creates::LikeOss)), 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fake_that_creates_like_oss_conforms() {
    suite(&Place::Fake(FakeS3::start_as(Creates::LikeOss)), 7).await;
}

/// The same on a store that gives two names a page at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fake_that_lists_by_small_pages_conforms() {
    let server = FakeS3::start();
    server.list_so(Lists::Honestly, 2);
    suite(&Place::Fake(server), 5).await;
}

async fn a_store_keeps_its_word(place: &Place) {
    let (store, _folder) = place.lake();
    let body = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(store.get("a/x").await.expect("an answer"), None);
    assert_eq!(store.list("a").await.expect("a listing"), vec![]);
    store.delete("a/x").await.expect("gone is fine");

    store.put_unique("a/x=1/one", body("one"), "_staging/i").await.expect("put");
    store.put_unique("a/x=1/one", body("one"), "_staging/i").await.expect("the same again");
    store.put("a/x=1/one", body("other"), "_staging/i").await.expect("put over it");
    assert_eq!(store.get("a/x=1/one").await.expect("an answer"), Some(body("other")));

    assert_eq!(store.create("a/y", body("first"), "_staging/i").await.expect("an answer"), Created::New);
    assert_eq!(store.create("a/y", body("second"), "_staging/i").await.expect("an answer"), Created::Taken);
    assert_eq!(store.get("a/y").await.expect("an answer"), Some(body("first")));

    let object = |path: &str, bytes| Object { path: path.to_owned(), bytes };
    assert_eq!(store.list("a").await.expect("a listing"), vec![object("a/x=1/one", 5), object("a/y", 5)]);
    assert_eq!(store.list_after("a", "a/x=1/one").await.expect("a listing"), vec![object("a/y", 5)]);
    assert_eq!(store.list_folders("a").await.expect("a listing"), vec!["a/x=1".to_owned()]);
    assert_eq!(store.list("_staging").await.expect("a listing"), vec![], "nothing stays half written");
    assert_eq!(store.uri("a/y"), format!("{}/a/y", store.root().trim_end_matches('/')));
    store.delete("a/y").await.expect("deleted");
    assert_eq!(store.get("a/y").await.expect("an answer"), None);
}

async fn of_many_stops_of_one_number_one_may_call(place: &Place) {
    let (store, _folder) = place.lake();
    let writers = join_all((0..4).map(|_| writer(&store))).await;
    let of = |number: &str| to_stop(window(0, 0).start(), &[number]);
    let outcomes = join_all(writers.iter().map(|writer| writer.intend(of("CG1")))).await;
    let (mut won, mut lost) = (Vec::new(), 0);
    for outcome in outcomes {
        match outcome.expect("the store answers") {
            CommitOutcome::Committed(committed) => won.push(committed.id),
            CommitOutcome::Dropped(refusal) => {
                assert_eq!(refusal, Conflict::Stop(StopConflict::Pending { number: "CG1".to_owned() }));
                lost += 1;
            }
        }
    }
    assert_eq!((won.len(), lost), (1, 3));

    let rows = || stop_rows("CG1", 0);
    let result = stopped(won[0], "CG1");
    let settled = writers[1].settle(vec![result.clone()], rows()).await.expect("the store answers");
    assert!(matches!(&settled, CommitOutcome::Committed(committed) if committed.files().count() == 1), "{settled:?}");
    let again = writers[2].settle(vec![result], rows()).await.expect("the store answers");
    assert!(matches!(again, CommitOutcome::Dropped(Conflict::Stop(StopConflict::Settled { .. }))), "{again:?}");

    // Rows, a refresh of them and a sweep leave the stops alone, and the other way round.
    assert!(matches!(writers[3].land(new_commit(0, 9)).await, Ok(CommitOutcome::Committed(_))));
    let removes =
        writers[3].view().await.state().touching(window(0, 9)).into_iter().map(|(commit, _)| commit).collect();
    let refreshed = replacing(CommitKind::Refresh, 0, 9, removes);
    assert!(matches!(writers[3].land(refreshed).await, Ok(CommitOutcome::Committed(_))));
    let swept = writers[3].sweep().await.expect("swept").deleted;
    assert!(swept.iter().all(|path| path.contains("/_checkpoint/")), "{swept:?}");
    let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
    assert_eq!((lake.files(Table::StopReference).len(), lake.state().stops().pending().len()), (1, 0));
    assert_eq!(everything(&store).await.into_iter().filter(|name| name.starts_with("stop_reference")).count(), 1);
    assert!(
        matches!(writers[0].intend(of("CG1")).await, Ok(CommitOutcome::Committed(_))),
        "settled, it may be stopped again"
    );
}

async fn of_many_creators_one_wins(place: &Place) {
    let (store, _folder) = place.lake();
    for round in 0..20 {
        let path = format!("log/{round}");
        let tries = (0..8).map(|n: u32| {
            let (store, path) = (store.clone(), path.clone());
            tokio::spawn(async move { store.create(&path, Bytes::from(n.to_string()), "_staging/i").await })
        });
        let tries = join_all(tries).await;
        let won = tries.into_iter().filter(|tried| matches!(tried, Ok(Ok(Created::New)))).count();
        assert_eq!(won, 1);
    }
}

async fn a_working_life_is_whole(place: &Place) {
    let (store, _folder) = place.lake();
    leave_orphans(&store).await;
    work(&writer(&store).await).await.expect("no trouble");
    check_whole(&store, "without trouble").await;
    assert!(read::open(&store, &Layout::new(binding().name)).await.expect("opened").checkpoint > 0);
    assert_eq!(Lake::accounts(&store).await.expect("listed"), vec![binding().name]);
    assert!(
        Lake::open(store.clone(), "nobody".parse().expect("a name"))
            .await
            .expect("opened")
            .coverage()
            .windows()
            .is_empty()
    );
    // A refresh has removed the first commit; its files are gone, and it is not named any more.
    let lake = Lake::open(store, binding().name).await.expect("opened");
    assert_eq!(lake.files(Table::PurchaseApply).len(), 3);
    assert_eq!(lake.state().last().expect("a commit").kind, CommitKind::Refresh);
}

async fn a_big_object_arrives_whole(place: &Place) {
    let (store, _folder) = place.lake();
    let bytes: Vec<u8> = (0..THRESHOLD_BYTES + 7).map(|i| (i / 3) as u8).collect();
    let bytes = Bytes::from(bytes);
    store.put_unique("a/big", bytes.clone(), "_staging/i").await.expect("put");
    assert!(store.get("a/big").await.expect("an answer").expect("there") == bytes);
    assert_eq!(everything(&store).await, vec!["a/big".to_owned()]);
}

/// A file under no name that holds these bytes, and stands at its end.
fn spooled(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    file
}

async fn files_are_put_and_fetched(place: &Place) {
    let (store, _folder) = place.lake();
    assert!(store.get_to_file("a/x").await.expect("an answer").is_none());
    let big: Vec<u8> = (0..THRESHOLD_BYTES + 7).map(|i| (i / 5) as u8).collect();
    for (name, bytes) in [("a/empty", &[][..]), ("a/small", b"small"), ("a/part", &big[..PART_BYTES]), ("a/big", &big)]
    {
        store.put_unique_file(name, spooled(bytes), "_staging/i").await.expect("put");
        assert!(store.get(name).await.expect("an answer").expect("there") == bytes, "{name}");
        let mut fetched = store.get_to_file(name).await.expect("an answer").expect("there");
        assert_eq!((fetched.bytes, fetched.sha256), (bytes.len() as u64, Sha256::of(bytes)), "{name}");
        let mut read = Vec::new();
        fetched.file.rewind().and_then(|()| fetched.file.read_to_end(&mut read)).expect("read");
        assert!(read == bytes, "{name}");
    }
    // Over its like, as after an answer that was lost.
    store.put_unique_file("a/small", spooled(b"small"), "_staging/i").await.expect("the same again");
    assert_eq!(everything(&store).await, ["a/big", "a/empty", "a/part", "a/small"]);

    // What is fetched stays, whatever becomes of its object.
    let mut fetched = store.get_to_file("a/small").await.expect("an answer").expect("there");
    store.delete("a/small").await.expect("deleted");
    let mut read = String::new();
    fetched.file.rewind().and_then(|()| fetched.file.read_to_string(&mut read)).expect("read");
    assert_eq!(read, "small");

    // A file passes the same moments as bytes in memory, and leaves the same when its writer dies at one of them.
    let big = &big[..3_500];
    let mut moments = Vec::new();
    for is_file in [false, true] {
        let watched = Arc::new(Watch::default());
        let store = store.with_fail_points(FailPoints::new(Arc::clone(&watched) as _).in_parts_of(3_500));
        put_either(&store, "a/watched", big, is_file).await.expect("put");
        moments.push(std::mem::take(&mut *watched.0.lock().expect("no panic")));
    }
    assert!(!moments[0].is_empty());
    assert_eq!(moments[0], moments[1]);
    for (nth, moment) in moments[0].iter().enumerate() {
        let mut left = Vec::new();
        for is_file in [false, true] {
            let (store, _folder) = place.lake();
            let dying =
                store.with_fail_points(FailPoints::new(Arc::new(DieAt(AtomicUsize::new(nth)))).in_parts_of(3_500));
            put_either(&dying, "a/big", big, is_file).await.expect_err("dead");
            let mut held = Vec::new();
            for folder in ["_staging", "a"] {
                let objects = store.list(folder).await.expect("listed").into_iter();
                held.push(objects.map(|object| object.bytes).collect::<Vec<_>>());
            }
            left.push(held);
        }
        assert_eq!(left[0], left[1], "{moment}");
    }
}

async fn put_either(store: &Store, path: &str, bytes: &[u8], is_file: bool) -> Result<()> {
    if is_file {
        store.put_unique_file(path, spooled(bytes), "_staging/i").await
    } else {
        store.put_unique(path, Bytes::copy_from_slice(bytes), "_staging/i").await
    }
}

/// Notes what is done to a store.
#[derive(Default)]
struct Watch(Mutex<Vec<String>>);

impl FaultInjection for Watch {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let said = match moment {
            InjectedAt::Before(effect) => format!("before {:?} {:?}", effect.op, effect.body.map(Bytes::len)),
            InjectedAt::After(effect) => format!("after {:?} {:?}", effect.op, effect.body.map(Bytes::len)),
            InjectedAt::Point(name) => name.to_owned(),
        };
        self.0.lock().expect("no panic").push(said);
        Box::pin(async { Ok(()) })
    }
}

/// Fails at one moment and at all after it.
struct DieAt(AtomicUsize);

impl FaultInjection for DieAt {
    fn at<'a>(&'a self, _: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let is_dead = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
        Box::pin(async move { if is_dead { Err(Error::new(ErrorKind::Lake, "dead")) } else { Ok(()) } })
    }
}

async fn one_run_holds_the_lease(place: &Place) {
    let (store, _folder) = place.lake();
    let clock = Arc::new(HeldClock::at(1_790_000_000));
    let acquire = async || {
        let (name, clock) = (binding().name, Arc::clone(&clock) as _);
        let never = std::future::pending();
        let lease = Lease::acquire(store.clone(), name, RunId::generate(), clock, LeaseWait::No, never).await;
        lease.map(|lease| lease.expect("nobody gave up"))
    };
    let lease = acquire().await.expect("free");
    assert_eq!(acquire().await.expect_err("held").kind(), ErrorKind::Conflict);
    lease.release(None).await;
    acquire().await.expect("free again").release(None).await;
    assert_eq!(everything(&store).await, [Layout::new(binding().name).lease()]);
}

async fn two_writers_that_overlap_commit_each_second_once(place: &Place) {
    let (store, _folder) = place.lake();
    let writers = [Arc::new(writer(&store).await), Arc::new(writer(&store).await)];
    let tries = (0..24).map(|n: i64| {
        let (writer, start) = (Arc::clone(&writers[(n % 2) as usize]), (n / 4) * 10);
        tokio::spawn(async move { writer.land(new_commit(start, start + 9)).await })
    });
    let outcomes = join_all(tries).await;
    let won = outcomes.into_iter().filter(|tried| matches!(tried, Ok(Ok(CommitOutcome::Committed(_))))).count();
    assert_eq!(won, 6, "each window was tried four times");
    let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
    assert_eq!(lake.coverage().windows(), [window(0, 59)]);
    assert_eq!(everything(&store).await.len(), 6 + 12);
    let overlap = writers[0].land(new_commit(55, 64)).await;
    assert_eq!(dropped(overlap), Conflict::Overlap { window: window(50, 59) });
}

/// Loses one answer, or one request.
struct Lose(std::sync::atomic::AtomicBool, fn(&InjectedAt<'_>) -> bool);

impl FaultInjection for Lose {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let lost = (self.1)(&moment) && !self.0.swap(true, std::sync::atomic::Ordering::SeqCst);
        Box::pin(async move { if lost { Err(Error::new(ErrorKind::Lake, "lost")) } else { Ok(()) } })
    }
}

async fn an_answer_that_was_lost_is_found_out(place: &Place) {
    for when in [
        (|moment| matches!(moment, InjectedAt::After(effect) if effect.op == Op::Create))
            as fn(&InjectedAt<'_>) -> bool,
        |moment| matches!(moment, InjectedAt::Before(effect) if effect.op == Op::Create),
    ] {
        let (store, _folder) = place.lake();
        let lossy = store.with_fail_points(FailPoints::new(Arc::new(Lose(false.into(), when))));
        assert_eq!(committed(writer(&lossy).await.land(new_commit(0, 9)).await).number, 1);
        assert_eq!(writer(&store).await.view().await.state().next_number(), 2);
    }
}

async fn what_a_dead_writer_left_is_fenced(place: &Place) {
    let (store, _folder) = place.lake();
    let slow = writer(&store).await;
    let mut staged = slow.begin(CommitKind::Sync, Some(window(0, 9)), vec![]).await.proved_by(new_commit(0, 9).walk);
    slow.write(&mut staged, new_commit(0, 9).commits.remove(0).files.remove(0)).await.expect("written");
    let file = everything(&store).await.remove(0);
    let bytes = store.get(&file).await.expect("an answer").expect("a file");
    let swept = writer(&store).await.sweep().await.expect("swept");
    assert_eq!((swept.fenced, swept.deleted), (vec![staged.id], vec![file.clone()]));
    // It was only slow: it may not commit, and what it puts late goes with the next sweep.
    assert_eq!(dropped(slow.commit(staged).await), Conflict::Fenced);
    store.put(&file, bytes, "_staging/i").await.expect("the late put");
    assert_eq!(writer(&store).await.sweep().await.expect("swept").deleted, vec![file]);
    assert_eq!(everything(&store).await, vec![Layout::new(binding().name).manifest(1)]);
}

async fn a_single_writer_sees_a_second_one(place: &Place) {
    let (plain, _folder) = place.lake();
    let store = plain.clone().written_by(Writers::Single);
    leave_orphans(&store).await;
    let writer_of = || async { try_writer(&store).await.expect("opened") };
    let one = writer_of().await;
    work(&one).await.expect("alone");
    let lake = Lake::open(plain.clone(), binding().name).await.expect("anybody may read it");
    assert_eq!((lake.coverage().windows(), lake.rows(Table::PurchaseApply)), (&[window(0, 29)][..], 30));
    let left = leftovers(&lake, window(0, 9).start()).await.expect("listed");
    assert!(left.unfinished.is_empty() && left.deletable.is_empty());
    let numbers = lake.state().next_number();
    let manifests = manifests_of(&plain).await;
    let layout = Layout::new(binding().name);
    assert!(
        manifests.iter().all(|held| matches!(layout.parse(held), Some(crate::log::layout::Name::SoleManifest { .. })))
    );

    // The next one follows, also when its first answer is lost.
    let lost = |moment: &InjectedAt<'_>| matches!(moment, InjectedAt::After(effect) if effect.op == Op::Put && effect.path.starts_with("_manifest"));
    let lossy = store.with_fail_points(FailPoints::new(Arc::new(Lose(false.into(), lost))));
    let next = try_writer(&lossy).await.expect("opened");
    assert_eq!(committed(next.land(new_commit(30, 39)).await).number, numbers);
    // One that had looked before learns of it, and plans again.
    assert_eq!(dropped(one.land(new_commit(30, 39)).await), Conflict::Overlap { window: window(30, 39) });
    let refused = try_writer(&plain).await.err().expect("not for several");
    assert!(refused.hint_text().expect("a hint").contains("--single-writer"), "{refused}");

    // Two at once: a copy of the last manifest under another id stands for what the other one did in the same moment.
    let last = manifests_of(&plain).await.pop().expect("a manifest");
    let text = plain.get(&last).await.expect("an answer").expect("a manifest");
    let copy = layout.sole_manifest(numbers, crate::id::CommitId::generate());
    plain.put(&copy, text, "_staging/i").await.expect("put");
    for error in [
        one.land(new_commit(50, 59)).await.map(|_| ()).err(),
        Lake::open(plain.clone(), binding().name).await.map(|_| ()).err(),
        try_writer(&store).await.map(|_| ()).err(),
    ] {
        let error = error.expect("a fork is never read over");
        assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::Conflict, 6), "{error}");
        assert!(error.hint_text().expect("a hint").contains("delete the other"), "{error}");
    }
}

async fn manifests_of(store: &Store) -> Vec<String> {
    everything(store).await.into_iter().filter(|path| path.starts_with("_manifest")).collect()
}

async fn the_doctor_finds_it_healthy(place: &Place) {
    let (store, _folder) = place.lake();
    let findings = examine(&store).await.expect("examined");
    for finding in &findings {
        assert!(!finding.is_fatal(), "{finding:?}");
        let only_s3 = matches!(finding.ability, Ability::ListPages | Ability::Multipart | Ability::Clock);
        let tried = !only_s3 || matches!(place, Place::S3(_) | Place::Fake(_));
        assert_eq!(matches!(finding.outcome, AbilityOutcome::Works(_)), tried, "{finding:?}");
    }
    assert_eq!(findings.len(), 8);
    assert_eq!(everything(&store).await, Vec::<String>::new(), "it clears up");
}
