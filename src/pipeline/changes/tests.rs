//! Readers who come at any time, while rows are landed, moved, replaced and removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::BooleanArray;
use arrow_array::cast::AsArray as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};

use super::super::table_rows::{ACCOUNT, TRIES};
use super::*;
use crate::error::ErrorKind;
use crate::land::testing::{header_batch, header_spec, proof, window, writer};
use crate::land::{CommitOutcome, NewCommit, NewFile, NewManifest, NewRows, Writer};
use crate::log::{CommitKind, FileEntry, Table, Walk};
use crate::parquet::{RowFilter, TableSpec};
use crate::store::failpoint::{Effect, FailPoints, FaultInjection, InjectedAt, Op};
use crate::store::{Store, Writers};
use crate::time::Window;

fn commit_id() -> Arc<Field> {
    Arc::new(Field::new("_commit_id", DataType::Utf8, false))
}

fn table() -> ReaderTable {
    let fields: Vec<_> = header_batch(&[]).schema().fields().iter().cloned().chain([commit_id()]).collect();
    ReaderTable::with_columns(Table::PurchaseApply, &Schema::new(fields)).expect("a table")
}

/// Keeps rows but those of these numbers.
struct Without(BTreeSet<String>, Vec<String>);

impl RowFilter for Without {
    fn columns(&self) -> &[String] {
        &self.1
    }

    fn keep(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let numbers = rows.column_by_name("purchase_apply_no").expect("numbers").as_string::<i32>();
        Ok(numbers.iter().map(|number| number.map(|number| !self.0.contains(number))).collect())
    }
}

fn file(part: u32, rows: NewRows) -> NewFile {
    let spec = TableSpec { commit_id: Some(commit_id()), ..header_spec() };
    NewFile { spec: Arc::new(spec), span: None, part: Some(part), rows }
}

fn new_file(window: Window, numbers: &[String]) -> NewFile {
    let rows: Vec<_> = numbers.iter().map(|number| (number.as_str(), window.start().unix(), 1)).collect();
    file(1, vec![header_batch(&rows)].into())
}

fn carried_file(files: Vec<FileEntry>, without: &[String]) -> NewFile {
    let filter = Without(without.iter().cloned().collect(), vec!["purchase_apply_no".to_owned()]);
    file(2, NewRows::Carried { files, filter: Some(Arc::new(filter)) })
}

/// Lands a manifest of commits, each with its window; its number.
async fn land(writer: &Writer, kind: CommitKind, commits: Vec<(Window, Vec<NewFile>)>, removes: Vec<CommitId>) -> u64 {
    let walked = commits.iter().map(|(window, _)| *window).reduce(Window::hull).expect("a commit");
    let walk = (kind != CommitKind::Compaction).then(|| Walk { window: walked, proof: proof(0) });
    let commit = |(window, files)| NewCommit { files, ..NewCommit::of(kind, Some(window)) };
    let new = NewManifest { walk, commits: commits.into_iter().map(commit).collect(), removes, raw: None };
    match writer.land(new).await.expect("landed") {
        CommitOutcome::Committed(committed) => committed.number,
        CommitOutcome::Dropped(conflict) => panic!("{conflict}"),
    }
}

/// A lake, and which rows it should hold: of each number the manifest that landed it.
struct World {
    writer: Writer,
    landed: BTreeMap<String, u64>,
    next_row: u32,
    next_second: i64,
}

impl World {
    async fn new(store: &Store) -> Self {
        Self { writer: writer(store).await, landed: BTreeMap::new(), next_row: 0, next_second: 0 }
    }

    fn numbers(&mut self, rows: usize) -> Vec<String> {
        let names = (self.next_row..).take(rows).map(|row| format!("CG{row:06}")).collect();
        self.next_row += u32::try_from(rows).expect("few");
        names
    }

    /// Live commits in the order of time, with their windows and files.
    async fn live(&self) -> Vec<(Window, CommitId, Vec<FileEntry>)> {
        let lake = self.writer.view().await;
        let live = lake.state().live().iter();
        let mut live: Vec<_> = live.filter_map(|(id, live)| Some((live.window?, *id, live.files.clone()))).collect();
        live.sort_by_key(|(window, ..)| *window);
        live
    }

    async fn sync(&mut self, rows: usize) {
        let numbers = self.numbers(rows);
        let window = window(self.next_second, self.next_second + 9);
        self.next_second += 10;
        let number =
            land(&self.writer, CommitKind::Sync, vec![(window, vec![new_file(window, &numbers)])], vec![]).await;
        self.landed.extend(numbers.into_iter().map(|name| (name, number)));
    }

    async fn compact(&mut self, from: usize, count: usize) {
        let live = self.live().await;
        let run: Vec<_> = live.iter().skip(from).take(count).collect();
        let Some(window) = run.iter().map(|(window, ..)| *window).reduce(Window::hull) else { return };
        let files: Vec<_> = run.iter().flat_map(|(.., files)| files.clone()).collect();
        let removes = run.iter().map(|(_, id, _)| *id).collect();
        land(&self.writer, CommitKind::Compaction, vec![(window, vec![carried_file(files, &[])])], removes).await;
    }

    /// In one manifest: replaces some rows of so many commits, adds others to each, and carries the rest.
    async fn refresh(&mut self, from: usize, count: usize, rows: usize, mut drops: impl FnMut(&str) -> bool) {
        let (mut commits, mut removes) = (Vec::new(), Vec::new());
        let (mut gone, mut added) = (BTreeSet::new(), Vec::new());
        for (window, id, files) in self.live().await.into_iter().skip(from).take(count) {
            let dropped: Vec<String> = self.rows_of(&files).await.into_iter().filter(|name| drops(name)).collect();
            let numbers = self.numbers(rows);
            commits.push((window, vec![new_file(window, &numbers), carried_file(files, &dropped)]));
            removes.push(id);
            gone.extend(dropped);
            added.extend(numbers);
        }
        if commits.is_empty() {
            return;
        }
        let number = land(&self.writer, CommitKind::Refresh, commits, removes).await;
        self.landed.retain(|name, _| !gone.contains(name));
        self.landed.extend(added.into_iter().map(|name| (name, number)));
    }

    async fn rows_of(&self, files: &[FileEntry]) -> BTreeSet<String> {
        let lake = self.writer.view().await;
        let mut held = BTreeSet::new();
        for file in files {
            for batch in crate::parquet::decode(lake.read(file).await.expect("bytes")).expect("rows") {
                held.extend(numbers_of(&batch));
            }
        }
        held
    }

    /// The numbers that are new after a manifest.
    fn new_after(&self, manifest: u64) -> Vec<String> {
        self.landed.iter().filter(|(_, landed)| **landed > manifest).map(|(name, _)| name.clone()).collect()
    }
}

fn numbers_of(batch: &RecordBatch) -> Vec<String> {
    let numbers = batch.column_by_name("purchase_apply_no").expect("numbers").as_string::<i32>();
    numbers.iter().flatten().map(str::to_owned).collect()
}

/// The numbers that were given.
#[derive(Debug, Default)]
struct Given(Vec<String>);

impl RowSink for Given {
    fn take(&mut self, rows: &RecordBatch) -> Result<()> {
        assert!(
            rows.column_by_name("account").expect("accounts").as_string::<i32>().iter().all(|one| one == Some("acme"))
        );
        self.0.extend(numbers_of(rows));
        Ok(())
    }
}

async fn lake(store: &Store) -> Lake {
    Lake::open(store.clone(), "acme".parse().expect("a name")).await.expect("opened")
}

async fn try_read(store: &Store, since: Option<&ChangesToken>) -> Result<(Vec<String>, ReadChanges)> {
    let (given, changes) = changes(vec![lake(store).await], &table(), since, || Ok(Given::default())).await?;
    assert_eq!(changes.rows(), given.0.len() as u64);
    let mut given = given.0;
    given.sort_unstable();
    Ok((given, changes))
}

async fn read(store: &Store, since: Option<&ChangesToken>) -> (Vec<String>, ReadChanges) {
    try_read(store, since).await.expect("read")
}

#[tokio::test]
async fn every_reader_gets_every_row_once_whatever_happens_to_files() {
    for seed in 0..12 {
        let (mut dice, store) = (StdRng::seed_from_u64(seed), Store::memory());
        // Names of manifests carry their commit where there is a single writer.
        let store = store.written_by(if seed % 2 == 0 { Writers::Many } else { Writers::Single });
        let mut world = World::new(&store).await;
        let mut readers: Vec<(Option<ChangesToken>, u64, BTreeSet<String>)> = vec![(None, 0, BTreeSet::new()); 3];
        for _ in 0..40 {
            let commits = world.live().await.len();
            match dice.random_range(0..6) {
                0 | 1 => world.sync(dice.random_range(1..6)).await,
                2 => world.compact(dice.random_range(0..commits.max(1)), dice.random_range(1..6)).await,
                3 => {
                    let (nth, rows) = (dice.random_range(0..commits.max(1)), dice.random_range(0..3));
                    let count = dice.random_range(1..3);
                    world.refresh(nth, count, rows, |_| dice.random_range(0..3) == 0).await;
                }
                _ => {
                    let nth = dice.random_range(0..readers.len());
                    let (token, after, seen) = &mut readers[nth];
                    let (given, changes) = read(&store, token.as_ref()).await;
                    assert_eq!(given, world.new_after(*after), "seed {seed}");
                    assert!(given.into_iter().all(|name| seen.insert(name)), "seed {seed}: no row twice");
                    *after = changes.accounts[0].newest;
                    // As it is printed.
                    *token = Some(changes.next.to_string().parse().expect("a token"));
                }
            }
        }
        assert_eq!(read(&store, None).await.0, world.new_after(0), "seed {seed}");
    }
}

#[tokio::test]
async fn files_without_new_rows_are_not_read() {
    let store = Store::memory();
    let mut world = World::new(&store).await;
    for _ in 0..4 {
        world.sync(3).await;
    }
    world.compact(0, 2).await;
    let (all, before) = read(&store, None).await;
    assert_eq!(all.len(), 12);
    // All that is there so far could be gone, carried and not carried alike.
    for (.., files) in world.live().await {
        for file in files {
            store.delete(&file.path).await.expect("deleted");
        }
    }
    let (none, same) = read(&store, Some(&before.next)).await;
    assert!(none.is_empty() && same.next == before.next);
    world.sync(2).await;
    let (new, next) = read(&store, Some(&before.next)).await;
    assert_eq!(
        (new, next.accounts[0].after),
        (world.new_after(before.accounts[0].newest), Some(before.accounts[0].newest))
    );
}

#[tokio::test]
async fn what_came_and_went_between_two_reads_is_not_given() {
    let store = Store::memory();
    let mut world = World::new(&store).await;
    world.sync(2).await;
    let (_, before) = read(&store, None).await;
    world.sync(1).await;
    world.refresh(1, 1, 1, |name| name == "CG000002").await;
    world.compact(0, 2).await;
    assert_eq!(read(&store, Some(&before.next)).await.0, ["CG000003"]);
}

#[tokio::test]
async fn a_token_of_another_log_or_table_is_refused() {
    let (store, other) = (Store::memory(), Store::memory());
    let mut world = World::new(&store).await;
    let mut stranger = World::new(&other).await;
    for _ in 0..3 {
        world.sync(1).await;
        stranger.sync(1).await;
    }
    let (_, of_three) = read(&store, None).await;
    let refused = async |store: &Store, token: &ChangesToken| {
        let error = try_read(store, Some(token)).await.expect_err("refused");
        (error.kind(), error.to_string())
    };
    let (kind, why) = refused(&other, &of_three.next).await;
    assert!(kind == ErrorKind::Usage && why.contains("of another lake"), "{why}");
    stranger.sync(1).await;
    assert_eq!(refused(&other, &of_three.next).await.0, ErrorKind::Usage, "also where its number is not the newest");
    world.sync(1).await;
    let (_, of_four) = read(&store, Some(&of_three.next)).await;
    assert_eq!(refused(&Store::memory(), &of_four.next).await.0, ErrorKind::Usage, "an empty lake");

    // A log that was put back to an earlier state is another log.
    let last = lake(&store).await.layout().manifest(4);
    store.delete(&last).await.expect("deleted");
    for path in crate::land::testing::checkpoints(&store).await {
        store.delete(&path).await.expect("deleted");
    }
    assert_eq!(refused(&store, &of_four.next).await.0, ErrorKind::Usage);
    read(&store, Some(&of_three.next)).await;

    let details = of_three.next.to_string().replacen("purchase_apply", "purchase_apply_detail", 1);
    let (kind, why) = refused(&store, &details.parse().expect("a token")).await;
    assert!(kind == ErrorKind::Usage && why.contains("of another table"), "{why}");
}

/// Compacts all live commits when a data file is asked for, so many times.
struct Compactor {
    store: Store,
    left: Mutex<usize>,
    world: tokio::sync::Mutex<World>,
}

impl FaultInjection for Compactor {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let is_read =
            matches!(moment, InjectedAt::Before(Effect { op: Op::Get, path, .. }) if path.ends_with(".parquet"));
        let is_due = is_read && {
            let mut left = self.left.lock().expect("no panic");
            let is_due = *left > 0;
            *left = left.saturating_sub(1);
            is_due
        };
        async move {
            if is_due {
                let mut world = self.world.lock().await;
                let count = world.live().await.len();
                world.compact(0, count).await;
                assert_eq!(lake(&self.store).await.files(Table::PurchaseApply).len(), 1);
            }
            Ok(())
        }
        .boxed()
    }
}

/// Reads while files are replaced so many times; how often it was begun.
async fn read_while_compacted(times: usize) -> (Result<(Given, ReadChanges)>, usize) {
    let store = Store::memory();
    let mut world = World::new(&store).await;
    for _ in 0..3 {
        world.sync(4).await;
    }
    let compactor = Compactor { store: store.clone(), left: Mutex::new(times), world: tokio::sync::Mutex::new(world) };
    let busy = store.with_fail_points(FailPoints::new(Arc::new(compactor)));
    let begun = AtomicUsize::new(0);
    let begin = || {
        begun.fetch_add(1, Ordering::SeqCst);
        Ok(Given::default())
    };
    let read = changes(vec![lake(&busy).await], &table(), None, begin).await;
    (read, begun.into_inner())
}

#[tokio::test]
async fn files_that_are_replaced_while_they_are_read_are_read_where_the_rows_are_now() {
    let (read, begun) = read_while_compacted(1).await;
    let (given, changes) = read.expect("read");
    assert_eq!((given.0.len(), begun, changes.accounts[0].newest), (12, 2, 4));
    let (read, begun) = read_while_compacted(usize::MAX).await;
    assert_eq!((read.expect_err("never done").kind(), begun), (ErrorKind::Conflict, TRIES as usize));
}

#[tokio::test]
async fn a_file_that_is_damaged_is_a_defect_at_once() {
    let store = Store::memory();
    let mut world = World::new(&store).await;
    world.sync(3).await;
    let path = world.live().await.remove(0).2.remove(0).path;
    store.put(&path, "no Parquet".into(), "_staging/x").await.expect("put");
    let error = try_read(&store, None).await.expect_err("damaged");
    assert!(error.kind() == ErrorKind::Defect && error.to_string().contains(&path), "{error}");
}

#[test]
fn rows_fit_the_columns_of_the_program() {
    let account = "acme".parse().expect("a name");
    let rows = header_batch(&[("CG1", 1, 5)]);
    let with_id = |nullable, more: &[&str]| {
        let fields = rows.schema().fields().iter().cloned().collect::<Vec<_>>();
        let more = more.iter().map(|name| Arc::new(Field::new(*name, DataType::Utf8, true)));
        let id = Arc::new(Field::new("_commit_id", DataType::Utf8, nullable));
        Schema::new(fields.into_iter().chain(more).chain([id]).collect::<Vec<_>>())
    };
    // A column that came later is null in older files.
    let newer = ReaderTable::with_columns(Table::PurchaseApply, &with_id(true, &["later"])).expect("a table");
    let fitted = newer.fit(&rows, &account).expect("fits");
    assert_eq!(fitted.column_by_name("later").expect("there").null_count(), 1);
    assert_eq!(fitted.schema().fields().last().map(|field| field.name().as_str()), Some("account"));
    // One that the program lacks is not dropped in silence, and one that must be there is missed.
    let error = table().fit(&fitted.project(&[0, 1, 2, 3]).expect("columns"), &account).expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::Lake, "{error}");
    assert_eq!(table().fit(&rows, &account).expect_err("no ids").kind(), ErrorKind::Defect);
}

#[test]
fn every_table_of_the_contract_can_be_followed() {
    for table in Table::ALL {
        let followed = ReaderTable::of(table).expect("a table");
        assert_eq!(followed.commit_id(), "_commit_id");
        assert_eq!(followed.schema().fields().last().map(|field| field.name().as_str()), Some(ACCOUNT));
        assert!(followed.schema().fields().len() > 5, "{table}");
    }
}
