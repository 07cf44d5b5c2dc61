//! Random worlds in virtual time: several processes stop numbers of one account side by side, while they die at any
//! step, lose answers, are refused, and have effects come long after the answer was given up. The log is the real one,
//! in memory; the ERP keeps its own account of what really happened and shares no code with what is tested.
//!
//! After every world, when everything is settled that can be: no number was called without an intent before it, none
//! was called twice while an earlier call of it could still have an effect, every number of every intent has its
//! results, none is recorded as stopped that was not, and none as refused or not stopped that a call of that intent has
//! stopped.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::error::ErrorKind;
use crate::id::RunId;
use crate::land::{Writer, WriterOptions};
use crate::log::{CommitKind, Manifest, StopOutcome, Table};
use crate::parquet::TableSpec;
use crate::stop::answer::StopFailure;
use crate::stop::judge::TOLERANCE_SECONDS;
use crate::store::Store;
use crate::time::Clock;

const MARGIN: i64 = 180;

/// A requisition as this ERP holds it.
#[derive(Clone, Debug)]
struct Held {
    status: i16,
    open: i128,
    /// The stops that took effect on it, by the timestamp of their call.
    stopped_by: Vec<i64>,
}

/// One stop call that reached the ERP.
#[derive(Clone, Debug)]
struct Arrived {
    timestamp: i64,
    numbers: Vec<String>,
    /// When it takes effect; at once, or later.
    due: i64,
}

struct Inner {
    rng: StdRng,
    now: i64,
    requisitions: BTreeMap<String, Held>,
    late: Vec<Arrived>,
    calls: Vec<(i64, Vec<String>)>,
    hostility: u32,
}

impl Inner {
    fn happens(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn pass(&mut self, seconds: i64) {
        self.now += seconds;
        let (due, late): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|one| one.due <= self.now);
        self.late = late;
        for arrived in due {
            self.work(&arrived);
        }
        // People work in the ERP too.
        if self.happens(20) {
            let number = format!("CG{}", self.rng.random_range(0..6));
            let status = [5, 20, 23, 25, 30, 77][self.rng.random_range(0..6)];
            if let Some(held) = self.requisitions.get_mut(&number).filter(|held| held.stopped_by.is_empty()) {
                held.status = status;
                // Nobody but a stop leaves a requisition referenced with quantity open.
                held.open = if status == 30 { 0 } else { 5 };
            }
        }
    }

    /// Does the work of a call; gives what it could not stop.
    fn work(&mut self, call: &Arrived) -> Vec<StopFailure> {
        let mut failures = Vec::new();
        for number in &call.numbers {
            match self.requisitions.get_mut(number) {
                Some(held) if held.status == 25 => {
                    held.status = 30;
                    held.stopped_by.push(call.timestamp);
                }
                held => failures.push(StopFailure {
                    order_no: number.clone(),
                    error: Some("采购申请单状态不是部分引用".to_owned()),
                    error_code: Some(0),
                    order_id: held.map(|_| 1),
                }),
            }
        }
        failures
    }
}

/// The ERP that all processes share, and their clock.
#[derive(Clone)]
struct World(Arc<Mutex<Inner>>);

impl World {
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.0.lock().expect("no panic"))
    }

    fn lost() -> Error {
        Error::new(ErrorKind::GatewayUnavailable, "the gateway did not answer")
    }
}

impl Clock for World {
    fn now_micros(&self) -> i64 {
        self.with(|inner| inner.now * 1_000_000)
    }
}

thread_local! {
    /// Whether the process that was polled last has stepped aside, rather than waits for an encoder.
    static STEPPED_ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Lets another process go on.
async fn step_aside() {
    let mut stepped = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        STEPPED_ASIDE.set(true);
        Poll::Pending
    })
    .await;
}

/// Wakes the scheduler when an encoder has ended.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Lets a process go on to its next step, or its end. Encoders run on threads of their own, and a seed must be a run
/// whatever time they take.
fn next_step<T>(process: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut process, mut context) = (process, Context::from_waker(&waker));
    loop {
        STEPPED_ASIDE.set(false);
        let polled = process.as_mut().poll(&mut context);
        if polled.is_ready() || STEPPED_ASIDE.get() {
            return polled;
        }
        std::thread::park();
    }
}

impl Erp for World {
    async fn ping(&self) -> Result<ServerTime> {
        step_aside().await;
        self.with(|inner| {
            inner.pass(1);
            if inner.happens(inner.hostility / 4) {
                return Err(Self::lost());
            }
            let now = BeijingTime::from_unix(inner.now).expect("a time");
            Ok(ServerTime { reached: now, timestamp: now })
        })
    }

    async fn stop(&self, numbers: &[String], requested_at: BeijingTime) -> Reply {
        let call = Arrived { timestamp: requested_at.unix(), numbers: numbers.to_vec(), due: 0 };
        self.with(|inner| inner.calls.push((call.timestamp, call.numbers.clone())));
        step_aside().await;
        let reply = self.with(|inner| {
            let on_the_way = if inner.happens(inner.hostility / 6) { inner.rng.random_range(0..200) } else { 1 };
            inner.pass(on_the_way);
            if inner.happens(inner.hostility / 3) {
                return Reply::Unknown(Self::lost());
            }
            if (inner.now - call.timestamp).abs() > TOLERANCE_SECONDS {
                let message = "timestamp无效".to_owned();
                return Reply::Refused { code: 7, error: Self::lost(), message };
            }
            if inner.happens(inner.hostility / 3) {
                // Let in, and done only later; nobody waits so long.
                let due = inner.now + inner.rng.random_range(1..=MARGIN);
                inner.late.push(Arrived { due, ..call });
                return Reply::Unknown(Self::lost());
            }
            let failures = inner.work(&call);
            match inner.rng.random_range(0..100) {
                at if at < inner.hostility / 3 => Reply::Unknown(Self::lost()),
                at if at < inner.hostility / 2 => {
                    Reply::Answered(StopAnswer::read(br#"{"status":0,"total":3,"data":[]}"#).expect("readable"))
                }
                _ => Reply::Answered(StopAnswer::of(failures)),
            }
        });
        // The answer is on its way, and its process may die before it arrives.
        step_aside().await;
        reply
    }

    async fn query(&self, number: &str) -> Result<Option<Observation>> {
        step_aside().await;
        self.with(|inner| {
            inner.pass(1);
            if inner.happens(inner.hostility / 4) {
                return Err(Self::lost());
            }
            let name = |status| crate::edition::Edition::Flagship.status_name(status);
            Ok(inner.requisitions.get(number).map(|held| Observation {
                status: held.status,
                status_name: name(held.status),
                open_scaled: held.open,
            }))
        })
    }
}

fn spec() -> Arc<TableSpec> {
    Arc::new(TableSpec {
        table: Table::StopReference,
        columns: "[]".into(),
        sorted_by: vec!["purchase_apply_no".into(), "requested_at".into()],
        distinct: vec![],
        bloom: vec![],
        modified: "requested_at".into(),
        summed: None,
        commit_id: None,
        upgrade: None,
    })
}

async fn process(world: World, store: Store, numbers: Vec<String>, margin_seconds: i64) -> StopReport {
    let run = RunId::generate();
    let options = WriterOptions {
        binding: crate::log::manifest::Binding {
            name: "acme".parse().expect("a name"),
            edition: crate::edition::Edition::Flagship,
            sid: "acme".into(),
            host: "localhost".into(),
        },
        run,
        wanted_from: None,
        contract: crate::format::FormatVersion::LAKE,
        compression: crate::parquet::FileCompression::default(),
        keep_removed: std::time::Duration::ZERO,
        merge: crate::parquet::MergeLimits { memory_bytes: 0, target_bytes: 0 },
        watcher: Arc::new(crate::land::testing::NobodyWatches),
        clock: Arc::new(world.clone()),
    };
    let writer = Writer::open(store, options).await.expect("opened");
    let stopper = Stopper {
        erp: &world,
        writer: &writer,
        spec: spec(),
        run,
        by: crate::log::stop_ledger::Requester { user: "li".into(), host: "till-3".into() },
        reason: None,
        terms: crate::config::StopTerms::default(),
        margin_seconds,
    };
    stopper.stop(&numbers).await
}

/// The log as anybody can read it.
fn manifests(store: &Store) -> Vec<Manifest> {
    use futures::FutureExt as _;
    let listed = store.list("_manifest").now_or_never().expect("memory answers at once").expect("listed");
    let read = |path: &str| store.get(path).now_or_never().expect("at once").expect("an answer").expect("an object");
    let listed = listed.iter().filter(|object| !object.path.contains("/_checkpoint/"));
    listed.map(|object| Manifest::from_bytes(&read(&object.path), &object.path).expect("a manifest")).collect()
}

/// What the log says of one intent: when it was asked for, and the outcomes of each number, in order.
type Told = BTreeMap<crate::id::CommitId, (i64, BTreeMap<String, Vec<StopOutcome>>)>;

fn told(store: &Store) -> Told {
    let mut told = Told::new();
    for manifest in manifests(store) {
        if let Some(intent) = manifest.intent {
            let numbers = intent.numbers.into_iter().map(|number| (number, Vec::new())).collect();
            told.insert(manifest.id, (intent.requested_at.unix(), numbers));
        }
        for result in manifest.commits.into_iter().flat_map(|commit| commit.results) {
            let (_, numbers) = told.get_mut(&result.intent).expect("an intent before its result");
            numbers.get_mut(&result.number).expect("a number of the intent").push(result.outcome);
        }
    }
    told
}

/// What holds at every moment.
fn check(world: &World, store: &Store, seed: u64) {
    let told = told(store);
    world.with(|inner| {
        for (timestamp, numbers) in &inner.calls {
            for number in numbers {
                let intended = told.values().any(|(at, all)| at == timestamp && all.contains_key(number));
                assert!(intended, "seed {seed}: {number} was called for {timestamp} without an intent");
            }
        }
        for (requested_at, numbers) in told.values() {
            for (number, outcomes) in numbers {
                let held = inner.requisitions.get(number);
                let by_us = held.is_some_and(|held| held.stopped_by.contains(requested_at));
                let ever = held.is_some_and(|held| !held.stopped_by.is_empty());
                for outcome in outcomes {
                    match outcome {
                        StopOutcome::Stopped => {
                            assert!(ever, "seed {seed}: {number} is claimed as stopped and was not")
                        }
                        StopOutcome::Refused | StopOutcome::NotStopped => {
                            assert!(!by_us, "seed {seed}: {number} is claimed as {} and was stopped", outcome.name());
                        }
                        StopOutcome::Unknown => {}
                    }
                }
            }
        }
        for (at, held) in &inner.requisitions {
            assert!(held.stopped_by.len() <= 1, "seed {seed}: {at} was stopped twice");
        }
    });
}

/// One world; gives how often each outcome was recorded, and how many processes died.
fn run(seed: u64) -> (BTreeMap<StopOutcome, usize>, usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let statuses = [25, 25, 25, 25, 30, 23, 5, 77];
    let requisitions = (0..6).map(|at| {
        let status = statuses[rng.random_range(0..statuses.len())];
        (format!("CG{at}"), Held { status, open: if status == 30 { 0 } else { 5 }, stopped_by: vec![] })
    });
    let requisitions = requisitions.collect();
    let hostility = [0, 30, 60, 90][rng.random_range(0..4)];
    let world = World(Arc::new(Mutex::new(Inner {
        rng: StdRng::seed_from_u64(rng.random()),
        now: 1_790_000_000,
        requisitions,
        late: vec![],
        calls: vec![],
        hostility,
    })));
    let store = Store::memory();
    let mut deaths = 0;
    for _ in 0..rng.random_range(1..5) {
        let mut running: Vec<Pin<Box<dyn Future<Output = StopReport>>>> = Vec::new();
        for _ in 0..rng.random_range(1..=3) {
            // CG6 is a number that the ERP does not know.
            let numbers: BTreeSet<String> =
                (0..rng.random_range(1..5)).map(|_| format!("CG{}", rng.random_range(0..7))).collect();
            running.push(Box::pin(process(world.clone(), store.clone(), numbers.into_iter().collect(), MARGIN)));
        }
        while !running.is_empty() {
            let at = rng.random_range(0..running.len());
            if hostility > 0 && rng.random_range(0..60) == 0 {
                drop(running.swap_remove(at));
                deaths += 1;
            } else if next_step(running[at].as_mut()).is_ready() {
                drop(running.swap_remove(at));
            }
            check(&world, &store, seed);
        }
        let pause = [0, 30, 400][rng.random_range(0..3)];
        world.with(|inner| inner.pass(pause));
    }
    // When the ERP is well again and time has passed, one run settles what can be settled.
    world.with(|inner| {
        inner.hostility = 0;
        inner.pass(1_000);
    });
    let last = to_the_end(process(world.clone(), store.clone(), vec!["CG6".to_owned()], MARGIN));
    assert!(last.stopped.is_none(), "seed {seed}: {:?}", last.stopped);
    check(&world, &store, seed);
    let mut counts = BTreeMap::new();
    for (_, numbers) in told(&store).values() {
        for (number, outcomes) in numbers {
            assert!(!outcomes.is_empty(), "seed {seed}: nothing is told of {number}");
            outcomes.iter().for_each(|outcome| *counts.entry(*outcome).or_default() += 1);
        }
    }
    assert!(
        manifests(&store)
            .iter()
            .all(|manifest| { matches!(manifest.kind(), CommitKind::StopIntent | CommitKind::StopResult) })
    );
    (counts, deaths)
}

fn to_the_end<T>(process: impl Future<Output = T>) -> T {
    let mut process = Box::pin(process);
    loop {
        if let Poll::Ready(value) = next_step(process.as_mut()) {
            return value;
        }
    }
}

#[test]
fn random_worlds_claim_nothing_that_was_not() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"));
    let (first, worlds) = (number("WDT_SEED", 1), number("WDT_WORLDS", 400));
    let encoders = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _entered = encoders.enter();
    let (mut all, mut deaths) = (BTreeMap::<StopOutcome, usize>::new(), 0);
    for seed in first..first + worlds {
        let (counts, died) = run(seed);
        counts.into_iter().for_each(|(outcome, count)| *all.entry(outcome).or_default() += count);
        deaths += died;
    }
    println!("seeds {first} to {}: {all:?}, {deaths} deaths", first + worlds - 1);
    assert!(worlds < 100 || (all.len() == 4 && deaths > 0), "every outcome is seen: {all:?}, {deaths} deaths");
}

/// The bench bites: a process that believes a call spent as soon as it is made claims what is not true in these worlds.
#[test]
fn judging_too_early_is_found_out() {
    let encoders = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _entered = encoders.enter();
    let wrong = |seed| {
        std::panic::catch_unwind(|| {
            let world = World(Arc::new(Mutex::new(Inner {
                rng: StdRng::seed_from_u64(seed),
                now: 1_790_000_000,
                requisitions: [("CG0".to_owned(), Held { status: 25, open: 5, stopped_by: vec![] })].into(),
                late: vec![],
                calls: vec![],
                hostility: 60,
            })));
            let store = Store::memory();
            for _ in 0..4 {
                let eager = process(world.clone(), store.clone(), vec!["CG0".to_owned()], -TOLERANCE_SECONDS);
                to_the_end(eager);
                world.with(|inner| inner.pass(60));
                check(&world, &store, seed);
            }
        })
        .is_err()
    };
    assert!((1..200).any(wrong), "no world tells a margin below zero from a sound one");
}
