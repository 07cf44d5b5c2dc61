//! Opening by checkpoints is opening by every manifest, whatever became of the checkpoints; and it is quick.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;
use crate::land::testing::{
    binding, checkpoints, everything, proof, state_of_every_manifest, stopped, to_stop, try_writer, window, writer,
};
use crate::land::{CommitOutcome, Writer};
use crate::log::layout::Table;
use crate::log::manifest::{CommitKind, Walk};
use crate::log::read;
use crate::log::stop_ledger::{StopEvidence, StopOutcome, StopResult};
use crate::parquet::EncodedFile;
use crate::store::failpoint::{FailPoints, FaultInjection, InjectedAt, Op};

fn layout() -> Layout {
    Layout::new(binding().name)
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory answers at once")
}

/// Commits the seconds `start..=end` in place of what it touches.
async fn land(writer: &Writer, start: i64, end: i64) {
    let touched = writer.view().await.state().touching(window(start, end));
    let all = touched.iter().fold(window(start, end), |all, (_, other)| {
        window(all.start().unix().min(other.start().unix()), all.end().unix().max(other.end().unix()))
    });
    let kind = if touched.is_empty() { CommitKind::Sync } else { CommitKind::Refresh };
    let removes = touched.into_iter().map(|(commit, _)| commit).collect();
    let walk = Some(Walk { window: all, proof: proof(1) });
    let mut staged = writer.begin(kind, Some(all), removes).await.proved_by(walk);
    let bytes = Bytes::from(format!("rows of {all}"));
    let (sha256, min_modified, max_modified) = (Sha256::of(&bytes), all.start(), all.end());
    let file = EncodedFile { sha256, bytes, rows: 1, min_modified, max_modified, sum: None };
    writer.write_encoded(&mut staged, Table::PurchaseApply, file).await.expect("written");
    commit(writer.commit(staged).await);
    writer.leave_checkpoint().await;
}

fn commit(outcome: Result<CommitOutcome>) -> CommitId {
    match outcome.expect("an answer") {
        CommitOutcome::Committed(committed) => committed.id,
        CommitOutcome::Dropped(refusal) => panic!("dropped: {refusal}"),
    }
}

/// Intends to stop a number that is free, or settles those that are not.
async fn stop_or_settle(writer: &Writer, number: String) {
    let unsettled = writer.view().await.state().stops().pending().clone();
    if !unsettled.contains_key(&number) {
        let requested_at = window(0, 0).start();
        commit(writer.intend(to_stop(requested_at, &[&number])).await);
        return;
    }
    let unknown = |is_unknown: bool| if is_unknown { StopOutcome::Stopped } else { StopOutcome::Unknown };
    let results: Vec<StopResult> = unsettled
        .into_iter()
        .map(|(number, held)| (number, held.intent, unknown(held.is_unknown)))
        .map(|(number, intent, outcome)| {
            let evidence = (outcome == StopOutcome::Stopped).then_some(StopEvidence::Query);
            StopResult { outcome, evidence, ..stopped(intent, &number) }
        })
        .collect();
    let at = window(0, 0).start();
    let bytes = Bytes::from_static(b"stops");
    let rows = results.len() as u64;
    let file = EncodedFile { sha256: Sha256::of(&bytes), bytes, rows, min_modified: at, max_modified: at, sum: None };
    let mut staged = writer.begin(CommitKind::StopResult, None, vec![]).await.settling(results);
    writer.write_encoded(&mut staged, Table::StopReference, file).await.expect("written");
    commit(writer.commit(staged).await);
    writer.leave_checkpoint().await;
}

/// A log of some random commits of every kind.
async fn random_log(rng: &mut StdRng, writers: Writers) -> Store {
    let store = Store::memory().written_by(writers);
    for _ in 0..rng.random_range(1..4) {
        let every = rng.random_range(1..6);
        let writer = try_writer(&store).await.expect("opened").with_checkpoints_every(every);
        for _ in 0..rng.random_range(0..8) {
            match rng.random_range(0..10) {
                0 => {
                    let fence = writer.stage(vec![]).await.fencing(vec![CommitId::generate()]);
                    commit(writer.commit(fence).await);
                }
                1 | 2 => stop_or_settle(&writer, format!("CG{}", rng.random_range(0..3))).await,
                3 => drop(writer.sweep().await.expect("swept")),
                _ => {
                    let start = rng.random_range(0..60);
                    land(&writer, start, start + rng.random_range(0..6)).await;
                }
            }
        }
    }
    store
}

/// Something that may have become of a checkpoint, or of none.
async fn tamper(rng: &mut StdRng, store: &Store) -> &'static str {
    let names = checkpoints(store).await;
    if names.is_empty() {
        return "nothing";
    }
    let path = &names[rng.random_range(0..names.len())];
    let bytes = store.get(path).await.expect("an answer").expect("a checkpoint");
    let put = |bytes: Vec<u8>| store.put(path, bytes.into(), "_staging/x");
    match rng.random_range(0..6) {
        0 => {
            store.delete(path).await.expect("deleted");
            "deleted"
        }
        1 => {
            put(bytes[..rng.random_range(0..bytes.len())].to_vec()).await.expect("put");
            "cut short"
        }
        2 => {
            let mut bytes = bytes.to_vec();
            let at = rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
            put(bytes).await.expect("put");
            "one bit changed"
        }
        3 => {
            put(with_head(&bytes, "format", json!("2.0"))).await.expect("put");
            "of a newer major version"
        }
        4 => {
            let elsewhere = layout().checkpoint(rng.random_range(0..40), CommitId::generate());
            store.put(&elsewhere, bytes, "_staging/x").await.expect("put");
            "under the name of another"
        }
        _ => {
            // A state that never was, in a checkpoint that is whole.
            let lie = with_body(&bytes, |body| body["newest"]["sha256"] = json!(Sha256::of(b"another")));
            put(lie).await.expect("put");
            "of another log"
        }
    }
}

/// Changes a body to what never was.
type Lie<'a> = &'a dyn Fn(&mut Value);

fn parts(bytes: &[u8]) -> (Value, Value) {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).expect("JSON"));
    (lines.next().expect("a head"), lines.next().expect("a body"))
}

fn with_head(bytes: &[u8], field: &str, value: Value) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let Ok(mut head) = serde_json::from_slice::<Value>(&bytes[..end]) else { return bytes.to_vec() };
    head[field] = value;
    [head.to_string().as_bytes(), &bytes[end..]].concat()
}

/// The checkpoint with another body, and the digest of that. What cannot be read stays as it is.
fn with_body(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let Ok(mut body) = serde_json::from_slice::<Value>(&bytes[end..]) else { return bytes.to_vec() };
    change(&mut body);
    let body = body.to_string();
    with_head(
        format!("{}\n{body}\n", String::from_utf8_lossy(&bytes[..end])).as_bytes(),
        "sha256",
        json!(Sha256::of(body.as_bytes())),
    )
}

#[test]
fn opening_by_checkpoint_is_opening_by_every_manifest() {
    let (mut begun, mut alone) = (0, 0);
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let writers = if rng.random_bool(0.3) { Writers::Single } else { Writers::Many };
        let store = now(random_log(&mut rng, writers));
        let expected = now(state_of_every_manifest(&store));
        let mut became = vec!["whole"];
        for _ in 0..6 {
            let opened =
                now(read::open(&store, &layout())).unwrap_or_else(|error| panic!("{seed} {became:?}: {error}"));
            assert_eq!(opened.state, expected, "{seed} {became:?}");
            *if opened.checkpoint > 0 { &mut begun } else { &mut alone } += 1;
            became.push(now(tamper(&mut rng, &store)));
        }
    }
    assert!(begun > 500 && alone > 100, "{begun} by a checkpoint, {alone} without one");
}

#[test]
fn the_same_state_gives_the_same_bytes() {
    for seed in 0..50 {
        let store = now(random_log(&mut StdRng::seed_from_u64(seed), Writers::Many));
        let opened = now(read::open(&store, &layout())).expect("opened").state;
        let expected = now(state_of_every_manifest(&store));
        assert_eq!(to_bytes(&opened).expect("JSON"), to_bytes(&expected).expect("JSON"));
        for path in now(checkpoints(&store)) {
            let held = ListedCheckpoint::of(layout().parse(&path)).expect("ours");
            let bytes = now(store.get(&path)).expect("an answer").expect("a checkpoint");
            let state = from_bytes(&layout(), held, &bytes).expect("believed");
            assert_eq!(to_bytes(&state).expect("JSON").as_deref(), Some(&*bytes));
        }
    }
}

/// Counts what is asked of a store.
#[derive(Default)]
struct Counted {
    gets: AtomicU64,
    lists: AtomicU64,
}

impl FaultInjection for Counted {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        if let InjectedAt::Before(effect) = moment {
            match effect.op {
                Op::Get => _ = self.gets.fetch_add(1, Ordering::Relaxed),
                Op::List => _ = self.lists.fetch_add(1, Ordering::Relaxed),
                _ => {}
            }
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn a_long_log_is_opened_by_a_few_objects() {
    let store = Store::memory();
    let mut most = 0;
    // Each run adds one manifest; some die before their end.
    for n in 0..400_i64 {
        let one = try_writer(&store).await.expect("opened").with_checkpoints_every(WORTH_A_CHECKPOINT);
        let window = window(n * 10, n * 10 + 9);
        let staged = one.begin(CommitKind::Sync, Some(window), vec![]).await;
        commit(one.commit(staged.proved_by(Some(Walk { window, proof: proof(0) }))).await);
        if n % 3 != 0 {
            one.leave_checkpoint().await;
        }
        let counted = Arc::new(Counted::default());
        let opened = read::open(&store.with_fail_points(FailPoints::new(Arc::clone(&counted) as _)), &layout()).await;
        assert_eq!(opened.expect("opened").state.next_number(), n.unsigned_abs() + 2);
        // Of checkpoints, of the folders, of the one of manifests, and of checkpoints again.
        assert!(counted.lists.load(Ordering::Relaxed) <= 4);
        most = most.max(counted.gets.load(Ordering::Relaxed));
    }
    // The checkpoint, its manifest, those after it, and the one that must not be there.
    assert_eq!(most, 1 + WORTH_A_CHECKPOINT + 1, "runs that died left one manifest more");
    let one = writer(&store).await;
    assert_eq!(one.view().await.state(), &state_of_every_manifest(&store).await);
}

#[tokio::test]
async fn runs_that_always_die_leave_no_long_log() {
    let store = Store::memory();
    for n in 0..120 {
        let one = try_writer(&store).await.expect("opened").with_checkpoints_every(u64::MAX);
        if checkpoints(&store).await.is_empty() {
            // It dies before it adds anything, but comes as far as its beginning.
            one.leave_checkpoint().await;
        }
        let window = window(n * 10, n * 10 + 9);
        let staged = one.begin(CommitKind::Sync, Some(window), vec![]).await;
        commit(one.commit(staged.proved_by(Some(Walk { window, proof: proof(0) }))).await);
    }
    let first = ListedCheckpoint::of(layout().parse(&checkpoints(&store).await[0])).expect("ours");
    assert_eq!(first.number, READ_WORTH_A_CHECKPOINT);
}

#[tokio::test]
async fn a_writer_makes_the_next_checkpoint_though_another_process_made_the_last() {
    let store = Store::memory();
    for n in 0..9 {
        land(&writer(&store).await.with_checkpoints_every(3), n * 10, n * 10).await;
    }
    let names = checkpoints(&store).await;
    let numbers: Vec<u64> =
        names.iter().filter_map(|path| ListedCheckpoint::of(layout().parse(path))).map(|held| held.number).collect();
    assert_eq!(numbers, [3, 6, 9]);
    let swept = writer(&store).await.sweep().await.expect("swept");
    assert_eq!(swept.deleted, names[..1], "the newest two stay");
    assert_eq!(checkpoints(&store).await, names[1..]);
}

#[tokio::test]
async fn what_is_missing_before_a_checkpoint_is_missed_by_who_looks_at_the_whole_log() {
    let store = Store::memory();
    let one = writer(&store).await;
    for n in 0..4 {
        land(&one, n * 10, n * 10).await;
    }
    store.delete(&layout().manifest(2)).await.expect("deleted");
    assert!(read::open(&store, &layout()).await.expect("opened").checkpoint > 0);
    let error = read::check_whole(&store, &layout()).await.expect_err("a defect");
    assert_eq!(error.kind(), ErrorKind::Defect);
    assert!(error.to_string().contains("00000000000000000002.json"), "{error}");
}

#[tokio::test]
async fn a_fork_before_a_checkpoint_is_seen_and_its_other_side_is_believed_once_chosen() {
    let store = Store::memory().written_by(Writers::Single);
    let one = try_writer(&store).await.expect("opened");
    land(&one, 0, 9).await;
    let manifests = async || {
        let names = everything(&store).await.into_iter();
        names.filter(|path| path.starts_with("_manifest")).collect::<Vec<_>>()
    };
    let first = manifests().await.remove(0);
    land(&one, 10, 19).await;
    let [checkpoint] = &checkpoints(&store).await[..] else { panic!("one after two commits") };
    // What another writer put at the same time arrives late: under the number of the checkpoint it is seen when the log
    // is opened, under one before it by the next sweep.
    for number in [1, 2] {
        let other = layout().sole_manifest(number, CommitId::generate());
        let text = store.get(&first).await.expect("an answer").expect("a manifest");
        store.put(&other, text, "_staging/x").await.expect("put");
        let error = match number {
            1 => try_writer(&store).await.expect("opened").sweep().await.expect_err("a fork"),
            _ => read::open(&store, &layout()).await.err().expect("a fork"),
        };
        assert_eq!(error.kind(), ErrorKind::Conflict, "{number}");
        store.delete(&other).await.expect("deleted");
    }
    // A person keeps the other manifest of number 2: the checkpoint is of the one that was deleted.
    let expected = read::open(&store, &layout()).await.expect("opened").state;
    let kept = {
        let (elsewhere, held) = (Store::memory().written_by(Writers::Single), store.get(&first).await);
        elsewhere.put(&first, held.expect("an answer").expect("a manifest"), "_staging/x").await.expect("put");
        land(&try_writer(&elsewhere).await.expect("opened"), 40, 49).await;
        let path = everything(&elsewhere).await.into_iter().filter(|path| path.starts_with("_manifest")).nth(1);
        let path = path.expect("a second manifest");
        (path.clone(), elsewhere.get(&path).await.expect("an answer").expect("a manifest"))
    };
    let second = everything(&store).await.into_iter().filter(|path| path.starts_with("_manifest")).nth(1);
    store.delete(&second.expect("a second manifest")).await.expect("deleted");
    store.put(&kept.0, kept.1, "_staging/x").await.expect("put");
    let opened = read::open(&store, &layout()).await.expect("opened");
    assert_eq!(opened.checkpoint, 0, "{checkpoint} is of another manifest");
    assert_ne!(opened.state, expected);
    assert_eq!(opened.state, state_of_every_manifest(&store).await);
    assert_eq!(opened.state.coverage().windows(), [window(0, 9), window(40, 49)]);
}

#[tokio::test]
async fn more_fields_are_read_over_and_what_cannot_be_read_is_told() {
    let store = Store::memory();
    let one = writer(&store).await;
    land(&one, 0, 9).await;
    land(&one, 10, 19).await;
    let path = checkpoints(&store).await.remove(0);
    let held = ListedCheckpoint::of(layout().parse(&path)).expect("ours");
    let bytes = store.get(&path).await.expect("an answer").expect("a checkpoint");
    let newer = with_body(&bytes, |body| body["more"] = json!(1));
    assert_eq!(from_bytes(&layout(), held, &newer).expect("read"), state_of_every_manifest(&store).await);
    let (_, body) = parts(&bytes);
    let id = body["last"]["id"].as_str().expect("an id").to_owned();
    let live = |body: &mut Value, change: fn(&mut Value)| change(&mut body["live"][&id]);
    let lies: [(Lie<'_>, &str); 9] = [
        (&|body| body["log_format"] = json!("2.0"), "of a log of format 2.0"),
        (&|body| live(body, |held| held["number"] = json!(9)), "manifests after the one"),
        (&|body| live(body, |held| held["files"][0]["path"] = json!("_manifest/account=acme/x")), "no file of"),
        (&|body| body["live"][&id]["files"][0]["path"] = json!(format!("_staging/account=acme/{id}-1")), "no file of"),
        (&|body| live(body, |held| held["window"]["start"] = json!("1970-01-01T08:00:00+08:00")), "overlap"),
        (
            &|body| live(body, |held| held["window"]["end"] = json!("1960-01-01T00:00:00+08:00")),
            "ends before it starts",
        ),
        (
            &|body| live(body, |held| drop(held.as_object_mut().map(|held| held.remove("window")))),
            "missing field `window`",
        ),
        (&|body| body["dead"][&id] = json!({"number": 1, "is_fenced": true}), "live and not live"),
        (&|body| body["account"]["name"] = json!("other"), "no file of"),
    ];
    for (lie, why) in lies {
        let told = from_bytes(&layout(), held, &with_body(&bytes, lie)).expect_err("not believed").to_string();
        assert!(told.contains(why), "{told}: {why}");
    }
    for (broken, why) in [
        (with_head(&bytes, "format", json!("2.0")), "this program reads 1.0"),
        (with_head(&bytes, "format", json!("0.10")), "this program reads 1.0"),
        (bytes[..bytes.len() - 1].to_vec(), "cut short"),
        (with_head(&bytes, "sha256", json!(Sha256::of(b"x"))), "bytes were changed"),
        (b"{}".to_vec(), "one line"),
    ] {
        let told = from_bytes(&layout(), held, &broken).expect_err("not believed").to_string();
        assert!(told.contains(why), "{told}: {why}");
    }
    let elsewhere = ListedCheckpoint { number: 1, ..held };
    assert!(
        from_bytes(&layout(), elsewhere, &bytes).expect_err("not believed").to_string().contains("the name of another")
    );
}
