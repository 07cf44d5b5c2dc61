//! Death, lost answers and errors at every single step of a commit, a refresh and a sweep, on memory and on local disk;
//! and the races that the protocol is made for, one by one.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::commit::Writer;
use super::stage::{CommitOutcome, Committed, Quarantine};
use super::sweep::leftovers;
use super::testing::{
    binding, everything, new_commit, options, replacing, schema_accepts, state_of_every_manifest, try_writer, window,
    writer,
};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Binding, CommitKind, Conflict, Lake, Layout, Sha256, Table};
use crate::store::failpoint::{FailPoints, FaultInjection, InjectedAt, Op, POINTS};
use crate::store::{Access, Created, Store};

/// What happens at the one moment that a [`Trouble`] waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// The process dies: nothing that it asks of the store later has an effect.
    Die,
    /// One error, before or after the effect; the process lives on.
    Fail,
}

/// Breaks a store at its nth moment.
struct Trouble {
    kind: Kind,
    left: AtomicU32,
    dead: AtomicBool,
    points: Mutex<BTreeSet<&'static str>>,
}

impl Trouble {
    fn at(kind: Kind, nth: u32) -> Arc<Self> {
        Arc::new(Self { kind, left: AtomicU32::new(nth + 1), dead: AtomicBool::new(false), points: Mutex::default() })
    }

    fn happened(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

fn trouble() -> Error {
    Error::new(ErrorKind::Lake, "trouble")
}

impl FaultInjection for Trouble {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        if let InjectedAt::Point(name) = moment {
            self.points.lock().expect("no panic").insert(name);
        }
        let count = |left: u32| left.checked_sub(1);
        let now = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) == Ok(1);
        let fails = now || self.dead.load(Ordering::SeqCst);
        if now && self.kind == Kind::Die {
            self.dead.store(true, Ordering::SeqCst);
        }
        Box::pin(async move { if fails { Err(trouble()) } else { Ok(()) } })
    }
}

/// Does something of its own the first time that a moment comes by.
struct Meanwhile<F> {
    when: fn(&InjectedAt<'_>) -> bool,
    done: AtomicBool,
    act: F,
}

impl<F: Fn() -> BoxFuture<'static, Result<()>> + Send + Sync> FaultInjection for Meanwhile<F> {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let now = (self.when)(&moment) && !self.done.swap(true, Ordering::SeqCst);
        if now { (self.act)() } else { Box::pin(async { Ok(()) }) }
    }
}

fn meanwhile(
    store: &Store,
    when: fn(&InjectedAt<'_>) -> bool,
    act: impl Fn() -> BoxFuture<'static, Result<()>> + Send + Sync + 'static,
) -> Store {
    store.with_fail_points(FailPoints::new(Arc::new(Meanwhile { when, done: AtomicBool::new(false), act })))
}

/// A whole working life: sweep, land what is missing of the seconds 0..=29 in three windows, walk the first anew.
pub(crate) async fn work(writer: &Writer) -> Result<()> {
    writer.sweep().await?;
    for (start, end) in [(0, 9), (10, 19), (20, 29)] {
        let gaps = writer.view().await.coverage().gaps(window(start, end));
        for gap in gaps {
            let quarantine = (start == 10).then(|| Quarantine { lines: Bytes::from_static(b"{}\n"), rows: 1 });
            let mut new = new_commit(gap.start().unix(), gap.end().unix());
            new.commits[0].quarantine = quarantine;
            writer.land(new).await?;
        }
    }
    let removes = writer.view().await.state().touching(window(0, 9)).into_iter().map(|(commit, _)| commit).collect();
    writer.land(replacing(CommitKind::Refresh, 0, 9, removes)).await?;
    writer.leave_checkpoint().await;
    Ok(())
}

/// What a run that died has left: files without a manifest, a half-written file, and something that is untracked.
pub(crate) async fn leave_orphans(store: &Store) {
    let dead = writer(store).await;
    let mut staged = dead.begin(CommitKind::Sync, Some(window(0, 9)), vec![]).await;
    for part in new_commit(0, 9).commits.remove(0).files {
        dead.write(&mut staged, part).await.expect("written");
    }
    let staged = format!("{}-7", Layout::new(binding().name).staging(staged.id));
    store.put(&staged, Bytes::from_static(b"half"), "_staging/account=acme/elsewhere").await.expect("written");
    store.put("purchase_apply/account=acme/README", Bytes::from_static(b"hi"), "_staging/x").await.expect("written");
}

/// The lake holds exactly the seconds 0..=29, once, in whole files, and beside them nothing but what was there.
pub(crate) async fn check_whole(store: &Store, about: &str) {
    let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
    assert_eq!(lake.state(), &state_of_every_manifest(store).await, "{about}");
    assert_eq!(lake.coverage().windows(), [window(0, 29)], "{about}");
    assert_eq!(lake.quarantined(), 1, "{about}");
    let mut expected = vec!["purchase_apply/account=acme/README".to_owned()];
    for table in [Table::PurchaseApply, Table::PurchaseApplyDetail] {
        let mut rows = 0;
        for file in lake.files(table) {
            let bytes = store.get(&file.entry.path).await.expect("an answer").expect("a committed file is there");
            assert_eq!((bytes.len() as u64, Sha256::of(&bytes)), (file.entry.bytes, file.entry.sha256), "{about}");
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("parquet").build().expect("a reader");
            rows += reader.map(|batch| batch.expect("a batch").num_rows()).sum::<usize>();
            expected.push(file.entry.path);
        }
        assert_eq!((rows, lake.rows(table)), (30, 30), "{about}");
    }
    expected.extend(lake.with_quarantine().flat_map(|(_, live)| live.quarantine.clone()).map(|held| held.path));
    let layout = Layout::new(binding().name);
    for number in 1..lake.state().next_number() {
        let bytes = store.get(&layout.manifest(number)).await.expect("an answer").expect("a manifest");
        let manifest: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert!(schema_accepts(&manifest), "{manifest}");
        expected.push(layout.manifest(number));
    }
    expected.sort();
    assert_eq!(everything(store).await, expected, "{about}");
    let left = leftovers(&lake, window(0, 9).start()).await.expect("listed");
    assert!(left.unfinished.is_empty() && left.deletable.is_empty() && left.untracked.len() == 1, "{about}");
}

/// Runs [`work`] with trouble at every moment in turn, lets it be repeated, and checks the lake. Gives the number of
/// moments, and the named ones among them.
async fn trouble_everywhere(
    kind: Kind,
    stores: impl Fn() -> (Store, Option<tempfile::TempDir>),
) -> (u32, BTreeSet<&'static str>) {
    trouble_at(kind, 0.., stores).await
}

/// The same at some of the moments, in ascending order.
pub(crate) async fn trouble_at(
    kind: Kind,
    moments: impl Iterator<Item = u32>,
    stores: impl Fn() -> (Store, Option<tempfile::TempDir>),
) -> (u32, BTreeSet<&'static str>) {
    for nth in moments {
        let (store, _folder) = stores();
        leave_orphans(&store).await;
        let trouble = Trouble::at(kind, nth);
        let troubled = store.with_fail_points(FailPoints::new(Arc::clone(&trouble) as _));
        if let Ok(first) = try_writer(&troubled).await {
            let ended = work(&first).await;
            assert!(ended.is_ok() || trouble.happened());
            if kind == Kind::Fail && ended.is_err() {
                // The same process goes on with what is missing.
                work(&first).await.expect("there was one error only");
            }
        }
        let about = format!("{kind:?} at moment {nth}");
        // What an earlier trouble made of the log is what a plain second run starts from.
        work(&writer(&store).await).await.unwrap_or_else(|error| panic!("{about}: {error}"));
        check_whole(&store, &about).await;
        if !trouble.happened() {
            return (nth, trouble.points.lock().expect("no panic").clone());
        }
    }
    unreachable!("there is an end of moments")
}

fn local() -> (Store, Option<tempfile::TempDir>) {
    let folder = tempfile::tempdir().expect("a folder");
    (Store::local(folder.path(), Access::Write).expect("made"), Some(folder))
}

#[tokio::test]
async fn dying_anywhere_loses_and_doubles_nothing_in_memory() {
    let (moments, _) = trouble_everywhere(Kind::Die, || (Store::memory(), None)).await;
    assert!(moments > 80, "{moments}");
}

#[tokio::test]
async fn dying_anywhere_loses_and_doubles_nothing_on_disk() {
    let (moments, points) = trouble_everywhere(Kind::Die, local).await;
    assert!(moments > 100, "the steps between staging and publishing count too: {moments}");
    assert_eq!(points, POINTS.into_iter().collect(), "every named point is passed");
}

#[tokio::test]
async fn one_error_or_lost_answer_anywhere_is_survived_in_memory() {
    trouble_everywhere(Kind::Fail, || (Store::memory(), None)).await;
}

#[tokio::test]
async fn one_error_or_lost_answer_anywhere_is_survived_on_disk() {
    trouble_everywhere(Kind::Fail, local).await;
}

pub(crate) fn committed(outcome: Result<CommitOutcome>) -> Committed {
    match outcome {
        Ok(CommitOutcome::Committed(committed)) => committed,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn dropped(outcome: Result<CommitOutcome>) -> Conflict {
    match outcome {
        Ok(CommitOutcome::Dropped(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn of_two_overlapping_windows_one_is_committed() {
    let store = Store::memory();
    let (one, two) = (writer(&store).await, writer(&store).await);
    committed(one.land(new_commit(0, 9)).await);
    assert_eq!(dropped(two.land(new_commit(5, 14)).await), Conflict::Overlap { window: window(0, 9) });
    assert_eq!(two.view().await.coverage().windows(), [window(0, 9)], "the loser learned of the winner");
    committed(two.land(new_commit(10, 14)).await);
    assert_eq!(everything(&store).await.len(), 2 + 2 * 2, "the files of the dropped commit are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_windows_of_two_processes_are_committed_once_each() {
    for stores in [|| (Store::memory(), None), local] {
        let (store, _folder) = stores();
        let writers = [Arc::new(writer(&store).await), Arc::new(writer(&store).await)];
        let tries = (0..40).map(|n| {
            let (writer, start) = (Arc::clone(&writers[n % 2]), (n as i64 / 4) * 10);
            tokio::spawn(async move { writer.land(new_commit(start, start + 9)).await })
        });
        let tries = join_all(tries).await;
        let won = tries.into_iter().filter(|tried| matches!(tried, Ok(Ok(CommitOutcome::Committed(_))))).count();
        assert_eq!(won, 10, "each window was tried four times");
        let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
        assert_eq!(lake.coverage().windows(), [window(0, 99)]);
        assert_eq!(everything(&store).await.len(), 10 + 20);
    }
}

#[tokio::test]
async fn a_number_that_our_own_lost_try_took_is_ours() {
    for when in [
        (|moment| matches!(moment, InjectedAt::After(effect) if effect.op == Op::Create))
            as fn(&InjectedAt<'_>) -> bool,
        |moment| matches!(moment, InjectedAt::Before(effect) if effect.op == Op::Create),
    ] {
        let store = Store::memory();
        let troubled = meanwhile(&store, when, || Box::pin(async { Err(trouble()) }));
        assert_eq!(committed(writer(&troubled).await.land(new_commit(0, 9)).await).number, 1);
        assert_eq!(writer(&store).await.view().await.state().next_number(), 2);
    }
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_an_error_and_its_files_wait_for_the_sweep() {
    struct NoCreate;
    impl FaultInjection for NoCreate {
        fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
            let refuse = matches!(moment, InjectedAt::Before(effect) if effect.op == Op::Create);
            Box::pin(async move { if refuse { Err(trouble()) } else { Ok(()) } })
        }
    }
    let store = Store::memory();
    let lame = writer(&store.with_fail_points(FailPoints::new(Arc::new(NoCreate)))).await;
    let error = lame.land(new_commit(0, 9)).await.expect_err("no create works");
    assert_eq!(error.kind(), ErrorKind::Lake);
    assert!(error.hint_text().is_some());
    assert_eq!(everything(&store).await.len(), 2, "the create may still arrive: nothing may be deleted");
    let left = leftovers(&lame.view().await, window(0, 9).start()).await.expect("listed");
    assert_eq!(left.unfinished.len(), 1);
    let swept = writer(&store).await.sweep().await.expect("swept");
    assert_eq!((swept.fenced.len(), swept.deleted.len()), (1, 2));
}

#[tokio::test]
async fn a_fenced_writer_is_dropped_and_its_late_files_go() {
    let store = Store::memory();
    let (slow, other) = (writer(&store).await, writer(&store).await);
    let mut staged = slow.begin(CommitKind::Sync, Some(window(0, 9)), vec![]).await.proved_by(new_commit(0, 9).walk);
    let mut parts = new_commit(0, 9).commits.remove(0).files.into_iter();
    slow.write(&mut staged, parts.next().expect("a part")).await.expect("written");
    let commit = staged.id;
    assert_eq!(other.sweep().await.expect("swept").fenced, vec![commit]);
    slow.write(&mut staged, parts.next().expect("a part")).await.expect("written after the fence");
    assert_eq!(dropped(slow.commit(staged).await), Conflict::Fenced);
    assert_eq!(everything(&store).await, vec![Layout::new(binding().name).manifest(1)]);
    committed(slow.land(new_commit(0, 9)).await);
}

#[tokio::test]
async fn a_file_that_arrives_after_its_writer_was_fenced_goes_with_the_next_sweep() {
    let store = Store::memory();
    let slow = writer(&store).await;
    let mut staged = slow.begin(CommitKind::Sync, Some(window(0, 9)), vec![]).await;
    slow.write(&mut staged, new_commit(0, 9).commits.remove(0).files.remove(0)).await.expect("written");
    let file = everything(&store).await.remove(0);
    let bytes = store.get(&file).await.expect("an answer").expect("a file");
    writer(&store).await.sweep().await.expect("swept");
    store.put(&file, bytes, "x").await.expect("the late put");
    let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
    assert_eq!(leftovers(&lake, window(0, 9).start()).await.expect("listed").deletable, vec![file.clone()]);
    let swept = writer(&store).await.sweep().await.expect("swept");
    assert_eq!((swept.fenced, swept.deleted), (vec![], vec![file]));
}

#[tokio::test]
async fn a_manifest_on_its_way_meets_the_fence() {
    // The writer has died; its create is still on its way, and arrives before or after the sweep's fence.
    for arrives_first in [true, false] {
        let store = Store::memory();
        let slow = writer(&store).await;
        let walk = new_commit(0, 9).walk;
        let mut staged = slow.begin(CommitKind::Sync, Some(window(0, 9)), vec![]).await.proved_by(walk);
        for part in new_commit(0, 9).commits.remove(0).files {
            slow.write(&mut staged, part).await.expect("written");
        }
        // What would be created: taken from a copy of the lake.
        let copy = Store::memory();
        committed(writer(&copy).await.commit(staged).await);
        let path = Layout::new(binding().name).manifest(1);
        let manifest = copy.get(&path).await.expect("an answer").expect("the manifest");
        let sweeper = if arrives_first {
            let (raw, path, manifest) = (store.clone(), path.clone(), manifest.clone());
            let create = move || -> BoxFuture<'static, Result<()>> {
                let (raw, path, manifest) = (raw.clone(), path.clone(), manifest.clone());
                Box::pin(async move { raw.create(&path, manifest, "x").await.map(|_| ()) })
            };
            let fencing =
                |moment: &InjectedAt<'_>| matches!(moment, InjectedAt::Before(effect) if effect.op == Op::Create);
            writer(&meanwhile(&store, fencing, create)).await
        } else {
            writer(&store).await
        };
        let swept = sweeper.sweep().await.expect("swept");
        assert_eq!(swept.deleted.len(), if arrives_first { 0 } else { 2 });
        let late = store.create(&path, manifest, "x").await.expect("an answer");
        assert_eq!(late, Created::Taken, "the fence, or the manifest itself, has the number");
        let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
        assert_eq!(lake.rows(Table::PurchaseApply), if arrives_first { 10 } else { 0 });
        assert_eq!(everything(&store).await.len(), if arrives_first { 3 } else { 1 });
    }
}

#[tokio::test]
async fn a_writer_whose_half_written_file_is_swept_away_lands_again() {
    let (store, _folder) = local();
    let sweep = {
        let store = store.clone();
        move || -> BoxFuture<'static, Result<()>> {
            let store = store.clone();
            Box::pin(async move { writer(&store).await.sweep().await.map(|_| ()) })
        }
    };
    let staged = |moment: &InjectedAt<'_>| matches!(moment, InjectedAt::Point("put.staged"));
    let slow = writer(&meanwhile(&store, staged, sweep)).await;
    assert_eq!(dropped(slow.land(new_commit(0, 9)).await), Conflict::Fenced);
    committed(slow.land(new_commit(0, 9)).await);
    writer(&store).await.sweep().await.expect("swept");
    assert_eq!(everything(&store).await.len(), 2 + 2);
}

#[tokio::test]
async fn a_fence_that_another_sweep_saw_half_written_and_fenced_is_begun_again() {
    for point in ["create.staged", "create.published"] {
        let (store, _folder) = local();
        leave_orphans(&store).await;
        let sweep = {
            let store = store.clone();
            move || -> BoxFuture<'static, Result<()>> {
                let store = store.clone();
                Box::pin(async move { writer(&store).await.sweep().await.map(|_| ()) })
            }
        };
        let when: fn(&InjectedAt<'_>) -> bool = match point {
            "create.staged" => |moment| matches!(moment, InjectedAt::Point("create.staged")),
            _ => |moment| matches!(moment, InjectedAt::Point("create.published")),
        };
        let sweeper = writer(&meanwhile(&store, when, sweep)).await;
        sweeper.sweep().await.unwrap_or_else(|error| panic!("{point}: {error}"));
        committed(sweeper.land(new_commit(0, 29)).await);
        writer(&store).await.sweep().await.expect("swept");
        // The log does not keep the id of a fence: one that was half deleted is fenced itself.
        let fences = if point == "create.published" { 2 } else { 1 };
        let left = everything(&store).await;
        assert_eq!(left.len(), 1 + 2 + 1 + fences, "{point}: what is untracked, two files, the manifests: {left:?}");
    }
}

/// Notes the order in which data files come to be and go.
#[derive(Default)]
struct Watching(Mutex<Vec<(Op, bool, String)>>);

impl FaultInjection for Watching {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let (effect, is_over) = match moment {
            InjectedAt::Before(effect) => (Some(effect), false),
            InjectedAt::After(effect) => (Some(effect), true),
            _ => (None, false),
        };
        if let Some(effect) = effect.filter(|effect| effect.path.ends_with(".parquet")) {
            self.0.lock().expect("no panic").push((effect.op, is_over, effect.path.to_owned()));
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Whoever sees a header by a glob sees its details too: they stand before it, and go after it.
#[tokio::test]
async fn details_come_before_their_headers_and_go_after_them() {
    let (memory, watching) = (Store::memory(), Arc::new(Watching::default()));
    let store = memory.with_fail_points(FailPoints::new(Arc::clone(&watching) as Arc<dyn FaultInjection>));
    let writer = writer(&store).await;
    let first = committed(writer.land(new_commit(0, 9)).await).id;
    committed(writer.land(replacing(CommitKind::Refresh, 0, 14, vec![first])).await);
    let seen = watching.0.lock().expect("no panic").clone();
    let place = |op: Op, is_over: bool, table: &str, after: usize| {
        let is_it = |(held, over, path): &(Op, bool, String)| {
            (*held, *over) == (op, is_over) && path.starts_with(&format!("{table}/"))
        };
        after + seen[after..].iter().position(is_it).unwrap_or_else(|| panic!("{op:?} {table} after {after}: {seen:?}"))
    };
    let (headers, details) = ("purchase_apply", "purchase_apply_detail");
    let second = place(Op::Put, false, headers, 0) + 1;
    for from in [0, second] {
        assert!(place(Op::Put, true, details, from) < place(Op::Put, false, headers, from), "{seen:?}");
    }
    assert!(place(Op::Delete, true, headers, 0) < place(Op::Delete, false, details, 0), "{seen:?}");
}

#[tokio::test]
async fn a_refresh_takes_the_place_of_what_it_removes_and_comes_once() {
    let store = Store::memory();
    let (one, two) = (writer(&store).await, writer(&store).await);
    let first = committed(one.land(new_commit(0, 9)).await).id;
    two.sweep().await.expect("swept");
    let again =
        |writer: Arc<Writer>| async move { writer.land(replacing(CommitKind::Refresh, 0, 14, vec![first])).await };
    let (one, two) = (Arc::new(one), Arc::new(two));
    committed(again(Arc::clone(&one)).await);
    assert_eq!(dropped(again(two).await), Conflict::NotLive { commit: first });
    let lake = one.view().await;
    assert_eq!((lake.rows(Table::PurchaseApply), lake.files(Table::PurchaseApply).len()), (15, 1));
    assert_eq!(everything(&store).await.len(), 2 + 2);
}

#[tokio::test]
async fn an_empty_window_is_a_manifest_and_no_file() {
    let store = Store::memory();
    let writer = writer(&store).await;
    let mut empty = new_commit(0, 9);
    empty.commits[0].files.clear();
    committed(writer.land(empty).await);
    assert_eq!(everything(&store).await, vec![Layout::new(binding().name).manifest(1)]);
    assert_eq!(writer.view().await.coverage().windows(), [window(0, 9)]);
    assert_eq!(Lake::accounts(&store).await.expect("listed"), vec![binding().name]);
}

#[tokio::test]
async fn an_account_name_stays_bound() {
    let store = Store::memory();
    let early = crate::land::testing::writer(&store).await;
    let other = Binding { sid: "other".into(), ..binding() };
    let late = crate::land::commit::WriterOptions { binding: other, ..options() };
    // Bound by another process after this one had opened the empty lake, and before the next one opens it.
    let late_writer = Writer::open(store.clone(), late.clone()).await.expect("an empty lake");
    committed(early.land(new_commit(0, 9)).await);
    for error in [
        late_writer.land(new_commit(20, 29)).await.expect_err("bound"),
        Writer::open(store.clone(), late).await.err().expect("bound"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint_text().expect("a hint").contains("WDT_ACCOUNT"));
    }
    assert_eq!(everything(&store).await.len(), 3);
}

#[tokio::test]
async fn a_hole_or_a_changed_byte_in_the_log_is_a_defect() {
    let layout = Layout::new(binding().name);
    for (number, bytes) in [(1, None), (2, Some("{}")), (1, Some("changed"))] {
        let store = Store::memory();
        // What stands before a checkpoint is not read again, so a changed byte there is for `verify` to find.
        let writer = writer(&store).await.with_checkpoints_every(50);
        for start in [0, 10, 20] {
            committed(writer.land(new_commit(start, start + 9)).await);
        }
        let path = layout.manifest(number);
        match bytes {
            None => store.delete(&path).await.expect("deleted"),
            Some("changed") => {
                let held = store.get(&path).await.expect("an answer").expect("a manifest");
                let text = String::from_utf8(held.to_vec()).expect("text").replace("\"calls\":1", "\"calls\":2");
                store.put(&path, text.into(), "x").await.expect("changed");
            }
            Some(bytes) => store.put(&path, Bytes::from_static(bytes.as_bytes()), "x").await.expect("changed"),
        }
        let error = Lake::open(store, binding().name).await.expect_err("a defect");
        assert_eq!(error.kind(), ErrorKind::Defect, "{error}");
    }
}
