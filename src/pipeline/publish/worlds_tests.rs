//! Random histories of a lake of two accounts, with stops and ranges walked again, published and not, by processes that
//! run one after the other or two at once, and that die between any two steps. What must hold, by an oracle that adds
//! up manifests and versions itself:
//!
//! - every version is the committed set of each account at its `txn`, and no `txn` goes back;
//! - nothing is deleted that the newest version names, at no moment;
//! - a stream that reads the versions in order and takes what is added with `dataChange` sees every row once;
//! - a table that is deleted and published anew is the same table.

mod iceberg;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex as Lock;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::*;
use crate::land::stage::StagedManifest;
use crate::land::testing::{HeldClock, binding, options, proof, stop_rows, stopped, to_stop};
use crate::land::{CommitOutcome, WriterOptions};
use crate::log::append::Patience;
use crate::log::{CommitKind, Manifest, Sha256, Walk};
use crate::parquet::EncodedFile;
use crate::store::failpoint::{FailPoints, FaultInjection, InjectedAt, Op};
use crate::time::{BeijingTime, Coverage, Window};

const TABLES: [Table; 3] = [Table::PurchaseApplyDetail, Table::PurchaseApply, Table::StopReference];
const ACCOUNTS: [&str; 2] = ["acme", "beta"];
/// The windows of a month.
const WINDOWS: i64 = 5;

/// What all processes share.
struct PublishedWorld {
    store: Store,
    rng: Lock<StdRng>,
    clock: Arc<HeldClock>,
    /// The rows of every file that was written.
    rows: Lock<BTreeMap<String, Vec<u64>>>,
    next_row: Lock<u64>,
    hints: Lock<BTreeMap<usize, BTreeMap<String, u64>>>,
    /// The newest version of each Iceberg table that was seen, and the manifest that it names.
    iceberg: Lock<BTreeMap<(Table, usize), (u64, u64)>>,
    counts: Lock<BTreeMap<&'static str, u64>>,
}

/// What a process meets: others that come in between, errors before and after an effect, and its death.
struct Chaos {
    world: Arc<PublishedWorld>,
    is_dead: AtomicBool,
    /// In ten thousand.
    deadly: u32,
}

impl FaultInjection for Chaos {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let gone = match moment {
            InjectedAt::After(effect) if effect.op == Op::Delete => Some(effect.path.to_owned()),
            _ => None,
        };
        let dies = self.world.chance(self.deadly);
        let stumbles = !matches!(moment, InjectedAt::Point(_)) && self.world.chance(self.deadly / 2);
        if dies {
            self.is_dead.store(true, Ordering::SeqCst);
        }
        let fails = self.is_dead.load(Ordering::SeqCst) || stumbles;
        let waits = self.world.chance(3_000);
        Box::pin(async move {
            if let Some(path) = gone {
                self.world.assert_nobody_names(&path).await;
            }
            if waits {
                tokio::task::yield_now().await;
            }
            if fails { Err(Error::new(crate::ErrorKind::Lake, "no answer")) } else { Ok(()) }
        })
    }
}

fn slot(month: i64, window: i64) -> Window {
    let first = BeijingTime::parse(&format!("2026-{:02}-01 00:00:00", month + 1)).expect("a time");
    let start = first.plus_seconds(window * 10);
    Window::new(start, start.plus_seconds(9)).expect("a window")
}

impl PublishedWorld {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            store: Store::memory(),
            rng: Lock::new(StdRng::seed_from_u64(seed)),
            clock: Arc::new(HeldClock::at(1_790_000_000)),
            rows: Lock::default(),
            next_row: Lock::new(1),
            hints: Lock::default(),
            iceberg: Lock::default(),
            counts: Lock::default(),
        })
    }

    fn chance(&self, in_ten_thousand: u32) -> bool {
        self.rng.lock().expect("sound").random_range(0..10_000) < in_ten_thousand
    }

    fn below(&self, limit: usize) -> usize {
        self.rng.lock().expect("sound").random_range(0..limit.max(1))
    }

    fn count(&self, what: &'static str) {
        *self.counts.lock().expect("sound").entry(what).or_default() += 1;
    }

    fn fresh_rows(&self, many: usize) -> Vec<u64> {
        let mut next = self.next_row.lock().expect("sound");
        let rows = (0..many as u64).map(|nth| *next + nth).collect();
        *next += many as u64;
        rows
    }

    fn rows_of(&self, path: &str) -> Vec<u64> {
        if path.starts_with(Table::StopReference.name()) {
            // One row in each, and nothing carries it elsewhere.
            let digest = Sha256::of(path.as_bytes()).to_string();
            return vec![u64::from_str_radix(&digest[..15], 16).expect("digits")];
        }
        self.rows.lock().expect("sound").get(path).cloned().unwrap_or_default()
    }

    async fn versions(&self, table: Table) -> Vec<Vec<Value>> {
        let mut versions = Vec::new();
        while let Some(bytes) =
            self.store.get(&layout::delta_version(table, versions.len() as u64)).await.expect("an answer")
        {
            let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            versions.push(lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect());
        }
        versions
    }

    /// The newest version does not name an object that was deleted.
    async fn assert_nobody_names(&self, path: &str) {
        for table in TABLES {
            let mut active = BTreeSet::new();
            self.versions(table).await.iter().flatten().for_each(|action| follow(&mut active, action));
            let path = path.strip_prefix(&format!("{table}/"));
            assert!(path.is_none_or(|path| !active.contains(path)), "{path:?} is deleted and active");
        }
        self.assert_no_iceberg_names(path).await;
    }

    /// The manifests of an account, with its committed set after each.
    async fn history(&self, account: &str) -> Vec<(Manifest, BTreeSet<String>)> {
        let layout = layout::Layout::new(account.parse().expect("a name"));
        let (mut live, mut history) = (BTreeMap::<String, BTreeSet<String>>::new(), Vec::new());
        while let Some(bytes) = self.store.get(&layout.manifest(history.len() as u64 + 1)).await.expect("an answer") {
            let manifest = Manifest::from_bytes(&bytes, "m").expect("a manifest");
            manifest.removes.iter().for_each(|id| drop(live.remove(&id.to_string())));
            for commit in &manifest.commits {
                live.insert(commit.id.to_string(), commit.files.iter().map(|file| file.path.clone()).collect());
            }
            let set = live.values().flatten().cloned().collect();
            history.push((manifest, set));
        }
        history
    }

    /// All that must hold whenever somebody looks; gives how far each account is published.
    async fn check(&self) -> BTreeMap<(Table, usize), u64> {
        let mut reached = BTreeMap::new();
        for (place, account) in ACCOUNTS.into_iter().enumerate() {
            let history = self.history(account).await;
            self.check_iceberg(place, &history).await;
            // Reading all of them takes long.
            if self.chance(1_500) {
                self.check_snapshots(account).await;
            }
            for table in TABLES {
                let Some(txn) = self.check_table(table, account, &history).await else { continue };
                reached.insert((table, place), txn);
            }
        }
        reached
    }

    async fn check_table(&self, table: Table, account: &str, history: &[(Manifest, BTreeSet<String>)]) -> Option<u64> {
        let (folder, app_id) = (format!("account={account}/"), format!("wdt-lake:{account}"));
        let in_table = |set: &BTreeSet<String>| -> BTreeSet<String> {
            let paths = set.iter().filter_map(|path| path.strip_prefix(&format!("{table}/")));
            paths.map(str::to_owned).collect()
        };
        let (mut active, mut txn, mut streamed) = (BTreeSet::new(), None, Vec::new());
        let mut due: BTreeSet<u64> = BTreeSet::new();
        for (number, version) in self.versions(table).await.iter().enumerate() {
            for action in version {
                follow(&mut active, action);
                if action["txn"]["appId"] == app_id.as_str() {
                    let next = action["txn"]["version"].as_u64().expect("a number");
                    let at = |number: u64| &history[usize::try_from(number).expect("small") - 1];
                    let begun_at = at(next).0.created_at.unix() * 1_000;
                    assert_eq!(action["txn"]["lastUpdated"], begun_at, "{table} {number}: which manifest {next}");
                    match txn {
                        None => due.extend(
                            in_table(&at(next).1).iter().flat_map(|path| self.rows_of(&format!("{table}/{path}"))),
                        ),
                        Some(before) => {
                            assert!(next > before, "{table} {number}: txn from {before} to {next}");
                            for (manifest, _) in (before + 1..=next).map(at) {
                                let new = manifest.commits.iter().flat_map(|commit| &commit.files);
                                let new = new.filter(|file| !file.carried && file.table == table.name());
                                due.extend(new.flat_map(|file| self.rows_of(&file.path)));
                            }
                        }
                    }
                    txn = Some(next);
                }
                let add = &action["add"];
                if add["dataChange"] == true && add["path"].as_str().is_some_and(|path| path.starts_with(&folder)) {
                    streamed.extend(self.rows_of(&format!("{table}/{}", add["path"].as_str().expect("text"))));
                }
            }
            let own: BTreeSet<String> = active.iter().filter(|path| path.starts_with(&folder)).cloned().collect();
            let committed = txn.map(|txn| in_table(&history[usize::try_from(txn).expect("small") - 1].1));
            assert_eq!(own, committed.unwrap_or_default(), "{table} version {number} of {account} at {txn:?}");
        }
        let distinct: BTreeSet<u64> = streamed.iter().copied().collect();
        assert_eq!(distinct.len(), streamed.len(), "{table}: the stream sees a row of {account} twice");
        assert_eq!(distinct, due, "{table}: what the stream of {account} sees");
        let Some(txn) = txn else {
            assert!(distinct.is_empty());
            return None;
        };
        let loaded = crate::publish::delta::log::DeltaLog { store: &self.store, table }.load().await.expect("sound");
        let loaded = loaded.expect("a table").state;
        assert_eq!(loaded.files.keys().cloned().collect::<BTreeSet<_>>(), active, "by the checkpoint");
        Some(txn)
    }
}

/// Takes an action into the active files.
fn follow(active: &mut BTreeSet<String>, action: &Value) {
    if let Some(path) = action["remove"]["path"].as_str() {
        assert!(active.remove(path), "{path} is removed and was not active");
    }
    if let Some(path) = action["add"]["path"].as_str() {
        assert!(active.insert(path.to_owned()), "{path} is added twice");
    }
}

/// One process.
struct PublishingProcess {
    world: Arc<PublishedWorld>,
    place: usize,
    writer: Writer,
    publication: Arc<Publication>,
}

impl PublishingProcess {
    /// A whole life, which ends by an error where the process dies.
    async fn live(world: Arc<PublishedWorld>, place: usize, publishes: bool, deadly: u32) -> Result<()> {
        let chaos = Chaos { world: Arc::clone(&world), is_dead: AtomicBool::new(false), deadly };
        let store = world.store.with_fail_points(FailPoints::new(Arc::new(chaos)));
        let formats = match world.below(4) {
            0 => vec![PublishFormat::Delta],
            1 => vec![PublishFormat::Iceberg],
            _ => PublishFormat::ALL.to_vec(),
        };
        let publication = Publication::new(publisher()?, RunId::generate(), formats, Arc::clone(&world.clock) as _);
        let keep_removed = std::time::Duration::from_secs(if world.chance(4_000) { 40 } else { 0 });
        let mut account = binding();
        account.name = ACCOUNTS[place].parse()?;
        let writer_options = WriterOptions {
            binding: account,
            run: publication.run(),
            keep_removed,
            watcher: Arc::clone(&publication) as _,
            clock: Arc::clone(&world.clock) as _,
            ..options()
        };
        let writer = Writer::open(store, writer_options).await?;
        let writer = writer.with_patience(Patience { tries: 3, pause: std::time::Duration::ZERO });
        if publishes {
            publication.begin(writer.view().await).await;
            let hints = world.hints.lock().expect("sound").get(&place).cloned();
            publication.take_hints(&hints.unwrap_or_default()).await;
        }
        let process = Self { world: Arc::clone(&world), place, writer, publication };
        process.writer.sweep().await?;
        for _ in 0..2 + world.below(4) {
            world.clock.advance(15);
            process.step().await?;
            if publishes && world.chance(1_500) {
                process.publish().await?;
            }
        }
        if publishes { process.publish().await } else { Ok(()) }
    }

    async fn publish(&self) -> Result<()> {
        let published = self.publication.publish(&self.writer).await?;
        self.world.hints.lock().expect("sound").insert(self.place, hints(&published));
        self.world.count("published");
        Ok(())
    }

    async fn step(&self) -> Result<()> {
        if self.world.chance(2_000) {
            self.writer.follow().await?;
        }
        match self.world.below(14) {
            0..=4 => self.sync().await,
            5 | 6 => self.refresh(CommitKind::Refresh).await,
            7 => self.compact().await,
            8 => self.expire().await,
            9 => self.refresh(CommitKind::Rewalk).await,
            10 => self.rewalk_expired().await,
            11 | 12 => self.stop().await,
            _ => self.writer.sweep().await.map(drop),
        }
    }

    /// An intent, and what came of it if the process learns that.
    async fn stop(&self) -> Result<()> {
        let number = format!("CG{}", self.world.fresh_rows(1)[0]);
        let intent = to_stop(self.world.clock.now(), &[&number]);
        let CommitOutcome::Committed(intent) = self.writer.intend(intent).await? else { return Ok(()) };
        if self.world.chance(2_000) {
            return Ok(());
        }
        let settled = self.writer.settle(vec![stopped(intent.id, &number)], stop_rows(&number, 0)).await?;
        if let CommitOutcome::Committed(_) = settled {
            self.world.count("stop");
        }
        Ok(())
    }

    /// Expired seconds become a window again: one manifest with two commits in the place of the expire commit.
    async fn rewalk_expired(&self) -> Result<()> {
        let lake = self.writer.view().await;
        let Some((id, live)) = lake.state().expired().map(|(id, live)| (id, live.clone())) else { return Ok(()) };
        let mut left: Coverage = live.expired.iter().copied().collect();
        let all = (0..3).flat_map(|month| (0..WINDOWS).map(move |window| slot(month, window)));
        let within: Vec<Window> = all.filter(|window| left.gaps(*window).is_empty()).collect();
        let Some(window) = within.get(self.world.below(within.len())).copied() else { return Ok(()) };
        left.remove(window);
        let staged = self.writer.begin(CommitKind::Rewalk, Some(window), vec![id]).await;
        let mut staged = staged.proved_by(Some(Walk { window, proof: proof(1) }));
        let rows = self.rows_in(&live.files);
        let mut own = rows.len();
        if !left.windows().is_empty() {
            own = self.world.below(rows.len() + 1);
            let mut rest = staged.commits[0].clone();
            (rest.id, rest.kind, rest.window) = (crate::CommitId::generate(), CommitKind::Expire, None);
            rest.expired = left.windows().to_vec();
            staged.commits.push(rest);
            self.write_for(&mut staged, 1, slot(0, 0), rows[own..].to_vec(), true).await?;
        }
        self.write(&mut staged, window, self.world.fresh_rows(1), false).await?;
        self.write(&mut staged, window, rows[..own].to_vec(), true).await?;
        self.commit(staged, "rewalk of expired seconds").await
    }

    async fn sync(&self) -> Result<()> {
        let lake = self.writer.view().await;
        let all = (0..3).flat_map(|month| (0..WINDOWS).map(move |window| slot(month, window)));
        let free: Vec<Window> = all.filter(|window| lake.coverage().gaps(*window) == [*window]).collect();
        let Some(window) = free.get(self.world.below(free.len())).copied() else { return Ok(()) };
        let staged = self.writer.begin(CommitKind::Sync, Some(window), vec![]).await;
        let mut staged = staged.proved_by(Some(Walk { window, proof: proof(1) }));
        let many = self.world.below(3);
        self.write(&mut staged, window, self.world.fresh_rows(many), false).await?;
        self.commit(staged, "sync").await
    }

    /// The live commits with windows, in the order of time, and the header rows that they hold.
    async fn windowed(&self) -> Vec<(crate::CommitId, Window, Vec<u64>)> {
        let lake = self.writer.view().await;
        let live = lake.state().live().iter();
        let mut all: Vec<_> =
            live.filter_map(|(id, live)| Some((*id, live.window?, self.rows_in(&live.files)))).collect();
        all.sort_unstable_by_key(|(_, window, _)| *window);
        all
    }

    fn rows_in(&self, files: &[crate::log::FileEntry]) -> Vec<u64> {
        let headers = files.iter().filter(|file| file.table == Table::PurchaseApply.name());
        headers.flat_map(|file| self.world.rows_of(&file.path)).collect()
    }

    /// Some rows of a window are new, and the others are carried; or all are new.
    async fn refresh(&self, kind: CommitKind) -> Result<()> {
        let all = self.windowed().await;
        let Some((id, window, rows)) = all.get(self.world.below(all.len())).cloned() else { return Ok(()) };
        let staged = self.writer.begin(kind, Some(window), vec![id]).await;
        let mut staged = staged.proved_by(Some(Walk { window, proof: proof(1) }));
        let changed = if kind == CommitKind::Rewalk { rows.len() } else { self.world.below(rows.len() + 1) };
        self.write(&mut staged, window, self.world.fresh_rows(changed.max(1)), false).await?;
        self.write(&mut staged, window, rows[changed..].to_vec(), true).await?;
        self.commit(staged, if kind == CommitKind::Rewalk { "rewalk" } else { "refresh" }).await
    }

    async fn compact(&self) -> Result<()> {
        let all = self.windowed().await;
        let from = self.world.below(all.len());
        let month = |window: &Window| window.start().month();
        let run: Vec<_> =
            all.iter().skip(from).take(3).filter(|(_, window, _)| month(window) == month(&all[from].1)).collect();
        if run.len() < 2 {
            return Ok(());
        }
        let window = run.iter().map(|(_, window, _)| *window).reduce(Window::hull).expect("two");
        let removes = run.iter().map(|(id, ..)| *id).collect();
        let mut staged = self.writer.begin(CommitKind::Compaction, Some(window), removes).await;
        staged.commits[0].compacted = run.len() as u64;
        let rows = run.iter().flat_map(|(.., rows)| rows.clone()).collect();
        self.write(&mut staged, window, rows, true).await?;
        self.commit(staged, "compaction").await
    }

    async fn expire(&self) -> Result<()> {
        if self.world.chance(5_000) {
            return Ok(());
        }
        let lake = self.writer.view().await;
        let before = lake.state().expired().map(|(id, live)| (id, live.clone()));
        let cut = slot(1 + self.world.below(2) as i64, 0).start();
        if before.as_ref().is_some_and(|(_, live)| live.expired.iter().any(|range| range.end() >= cut)) {
            return Ok(());
        }
        let gone: Vec<_> = self.windowed().await.into_iter().filter(|(_, window, _)| window.end() < cut).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let held = before.iter().flat_map(|(_, live)| self.rows_in(&live.files));
        let rows: Vec<u64> = gone.iter().flat_map(|(.., rows)| rows.clone()).chain(held).collect();
        let kept = self.world.below(rows.len() + 1);
        let removes = gone.iter().map(|(id, ..)| *id).chain(before.map(|(id, _)| id)).collect();
        let mut staged = self.writer.begin(CommitKind::Expire, None, removes).await;
        staged.commits[0].expired = Window::new(BeijingTime::FIRST, cut.plus_seconds(-1)).into_iter().collect();
        self.write(&mut staged, slot(0, 0), rows[..kept].to_vec(), true).await?;
        self.commit(staged, "expire").await?;
        self.writer.sweep().await.map(drop)
    }

    /// Files of these rows in both tables, of the first commit of a manifest.
    async fn write(&self, staged: &mut StagedManifest, span: Window, rows: Vec<u64>, carried: bool) -> Result<()> {
        self.write_for(staged, 0, span, rows, carried).await
    }

    /// The same of any of its commits.
    async fn write_for(
        &self,
        staged: &mut StagedManifest,
        nth: usize,
        span: Window,
        rows: Vec<u64>,
        carried: bool,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let id = staged.commits[nth].id;
        for table in [Table::PurchaseApplyDetail, Table::PurchaseApply] {
            let bytes = bytes::Bytes::from(format!("{rows:?}"));
            let file = EncodedFile {
                sha256: Sha256::of(&bytes),
                bytes,
                rows: rows.len() as u64,
                min_modified: span.start(),
                max_modified: span.start(),
                sum: None,
            };
            let part = if carried { 2 } else { 1 };
            self.writer.write_encoded_part(staged, (id, table, part), (Some(span), carried), file).await?;
            let path = self.writer.layout().data(table, span, id, Some(part)).expect("one month");
            self.world.rows.lock().expect("sound").insert(path, rows.clone());
        }
        Ok(())
    }

    async fn commit(&self, staged: StagedManifest, kind: &'static str) -> Result<()> {
        if let CommitOutcome::Committed(_) = self.writer.commit(staged).await? {
            self.world.count(kind);
        }
        Ok(())
    }
}

async fn run_world(seed: u64) -> BTreeMap<&'static str, u64> {
    let world = PublishedWorld::new(seed);
    let deadly = [0, 60, 300][world.below(3)];
    for _ in 0..4 + world.below(8) {
        let one = |place| {
            let publishes = world.chance(6_000);
            PublishingProcess::live(Arc::clone(&world), place, publishes, deadly)
        };
        let ended = if world.chance(5_000) {
            let (first, second) = (one(world.below(2)), one(world.below(2)));
            let (first, second) = tokio::join!(Box::pin(first), Box::pin(second));
            vec![first, second]
        } else {
            vec![Box::pin(one(world.below(2))).await]
        };
        for error in ended.into_iter().filter_map(std::result::Result::err) {
            assert!(matches!(error.kind(), crate::ErrorKind::Lake | crate::ErrorKind::Conflict), "{seed}: {error}");
            world.count("deaths and failures");
        }
        world.check().await;
    }
    for place in 0..ACCOUNTS.len() {
        Box::pin(PublishingProcess::live(Arc::clone(&world), place, true, 0)).await.expect("nothing goes wrong");
    }
    let reached = world.check().await;
    for ((table, place), txn) in reached {
        let newest = world.history(ACCOUNTS[place]).await.len() as u64;
        assert!(txn <= newest, "{seed}: {table} of {place} is at {txn} of {newest}");
    }
    assert_published_anew(&world).await;
    world.counts.lock().expect("sound").clone()
}

/// Publishing twice adds nothing; a table that is deleted and published again is the same one.
async fn assert_published_anew(world: &PublishedWorld) {
    let accounts: Vec<AccountName> = ACCOUNTS.iter().map(|name| name.parse().expect("a name")).collect();
    let publish = async || {
        for (_, outcome) in publish_all(&world.store, &accounts, &PublishFormat::ALL).await.expect("published") {
            outcome.expect("published");
        }
        let mut tables = Vec::new();
        for table in TABLES {
            let log = crate::publish::delta::log::DeltaLog { store: &world.store, table };
            tables.extend(log.load().await.expect("sound").map(|loaded| loaded.state));
        }
        tables
    };
    let before = publish().await;
    assert_eq!(publish().await, before, "nothing is added");
    world.check().await;
    for folder in TABLES.map(layout::delta_log).into_iter().chain(["_iceberg".to_owned()]) {
        for path in world.store.names(&folder).await.expect("listed") {
            world.store.delete(&path).await.expect("deleted");
        }
    }
    world.iceberg.lock().expect("sound").clear();
    let anew = publish().await;
    world.check().await;
    assert_eq!(anew.len(), before.len());
    for (anew, before) in anew.into_iter().zip(before) {
        let paths = |state: &crate::publish::delta::state::DeltaState| {
            let active = state.files.values().map(|file| (file.path.clone(), file.size, file.stats.clone()));
            active.collect::<Vec<_>>()
        };
        assert_eq!(paths(&anew), paths(&before));
        assert_eq!(anew.txns, before.txns);
        let id = |state: &crate::publish::delta::state::DeltaState| {
            state.metadata.clone().map(|held| (held.id, held.schema_string))
        };
        assert_eq!(id(&anew), id(&before));
    }
}

#[tokio::test]
async fn every_version_is_the_committed_set_whatever_happens() {
    let from_environment = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, many) = (from_environment("WDT_SEED").unwrap_or(1), from_environment("WDT_WORLDS").unwrap_or(60));
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in first..first + many {
        for (what, count) in run_world(seed).await {
            *counts.entry(what).or_default() += count;
        }
    }
    let kinds = ["sync", "refresh", "rewalk", "rewalk of expired seconds", "compaction", "expire", "stop"];
    for what in kinds.into_iter().chain(["published", "deaths and failures", "snapshots read"]) {
        assert!(many < 20 || counts.get(what).is_some_and(|count| *count > 5), "{what}: {counts:?}");
    }
}
