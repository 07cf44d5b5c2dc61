//! Random worlds of stops through the real gateway, with the clock of both sides under the test's control: runs one
//! after the other and side by side, over an ERP that loses answers, has effects late, refuses and is edited meanwhile;
//! runs that are cut off at any call. The oracle is the sandbox's journal, which knows what each call really did.
//!
//! `WDT_WORLDS` sets how many worlds are tried, `WDT_SEED` the first seed. The state machine alone is tried in many
//! more worlds by a unit test (`stop/worlds_tests.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use futures::stream::{self, StreamExt as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use wdt_lake::sandbox::{Fault, Options, Quantity, Requisition, Sandbox, SandboxClock, Status, StopEffect};
use wdt_lake::{BeijingTime, Numbers};
use wdt_lake::{CallPolicy, Depth, Edition, Lake, Manifest, StopOptions, StopOutcome, Store, Table, decode, verify};

use crate::stop::STOP;
use crate::support::{account, at};

/// 2012-01-01 00:00:00 Beijing time, from which the gateway's timestamps count.
const EPOCH: i64 = 1_325_347_200;
const NUMBERS: i64 = 6;

fn number(id: i64) -> String {
    format!("POA{id}")
}

/// Requisitions in every state; none is referenced with quantity open, which only a stop leaves.
fn requisitions(rng: &mut StdRng) -> Vec<Requisition> {
    let states = [
        Status::PartlyReferenced,
        Status::PartlyReferenced,
        Status::PartlyReferenced,
        Status::PartlyReferenced,
        Status::Referenced,
        Status::ToReference,
        Status::Cancelled,
        Status::Undocumented(77),
    ];
    let one = |id| {
        let mut requisition = Requisition::plain(id, &number(id), at("2026-06-01 10:00:00"));
        set(&mut requisition, states[rng.random_range(0..states.len())]);
        requisition
    };
    (1..=NUMBERS).map(one).collect()
}

fn set(requisition: &mut Requisition, status: Status) {
    requisition.status = status;
    let referenced = match status {
        Status::Referenced => 10,
        Status::PartlyReferenced => 4,
        _ => 0,
    };
    requisition.details[0].ref_num = Quantity::pieces(referenced);
    requisition.sum_up();
}

/// What may happen to a stop call, and to a query.
fn faults() -> ([Fault; 11], [Fault; 3]) {
    let business = |code, message: &str| Fault::Business { code, message: message.to_owned() };
    let of_stops = [
        Fault::LostAnswer,
        Fault::LostAnswer,
        Fault::LateEffect { seconds: 20 },
        Fault::LateEffect { seconds: 250 },
        Fault::Status(502),
        Fault::Disconnect,
        Fault::Truncated,
        Fault::ShortBody,
        Fault::Silence,
        business(100, "系统异常"),
        business(1, "验证失败"),
    ];
    (of_stops, [Fault::Status(502), Fault::Disconnect, Fault::Truncated])
}

/// A world by seed, in which the clock moves with every call.
fn hostile(seed: u64) -> Sandbox {
    let mut rng = StdRng::seed_from_u64(seed);
    let clock = SandboxClock::held(at("2026-07-01 09:00:00"));
    clock.set_skew([0, 0, 30, -60, 500][rng.random_range(0..5)]);
    let requisitions = requisitions(&mut rng);
    let sandbox =
        Sandbox::start(Options { edition: Edition::Flagship, requisitions, clock, ..Options::default() }).unwrap();
    let (of_stops, of_queries) = faults();
    let (hostility, at_calls) = (rng.random_range(0.0..0.7), seed);
    sandbox.choose_faults(move |call| {
        let mut rng = StdRng::seed_from_u64(at_calls.wrapping_mul(1_000_003).wrapping_add(call.nth));
        if call.method == STOP {
            rng.random_bool(hostility).then(|| of_stops[rng.random_range(0..of_stops.len())].clone())
        } else {
            rng.random_bool(hostility / 5.0).then(|| of_queries[rng.random_range(0..of_queries.len())].clone())
        }
    });
    let (states, edits) = ([Status::ToReference, Status::PartlyReferenced, Status::Referenced], seed);
    sandbox.before_call(move |world, call| {
        let mut rng = StdRng::seed_from_u64(edits.wrapping_mul(7_919).wrapping_add(call.nth));
        world.clock().advance(rng.random_range(1..4));
        let number = number(rng.random_range(1..=NUMBERS));
        let is_stopped =
            world.journal().stops().iter().any(|stop| *stop.number == *number && stop.effect == StopEffect::Stopped);
        if !is_stopped && rng.random_bool(0.1) {
            let status = states[rng.random_range(0..states.len())];
            world.edit(&number, |requisition| set(requisition, status));
        }
    });
    sandbox
}

async fn run(sandbox: &Sandbox, store: &Store, numbers: Vec<String>) {
    let options = StopOptions {
        calls: CallPolicy {
            calls_per_minute: 0,
            first_delay: Duration::from_millis(1),
            timeout: Duration::from_millis(700),
            max_retry_time: Duration::from_secs(5),
            ..CallPolicy::default()
        },
        ..StopOptions::default()
    };
    let numbers = Numbers::check(numbers.into_iter().map(|number| ("a world".to_owned(), number))).unwrap();
    let clock = Arc::new(sandbox.world().clock().clone());
    wdt_lake::stop(&account(sandbox), store.clone(), &numbers, &options, clock).await.expect("the lake is well");
}

/// What the log says of each number of each intent.
#[derive(Default)]
struct Log {
    /// By timestamp and number.
    told: BTreeMap<(i64, String), Told>,
    results: usize,
}

#[derive(Default)]
struct Told {
    /// More than one when a number was refused and asked for again within a second: then their calls cannot be told
    /// apart.
    intents: usize,
    /// In their order.
    outcomes: Vec<StopOutcome>,
}

async fn read_log(store: &Store) -> Log {
    let (mut log, mut times) = (Log::default(), BTreeMap::new());
    let listed = store.list("_manifest").await.unwrap();
    for object in listed.into_iter().filter(|object| !object.path.contains("/_checkpoint/")) {
        let manifest = Manifest::from_bytes(&store.get(&object.path).await.unwrap().unwrap(), &object.path).unwrap();
        if let Some(intent) = manifest.intent {
            times.insert(manifest.id, intent.requested_at.unix());
            for number in intent.numbers {
                let told = log.told.entry((intent.requested_at.unix(), number)).or_default();
                told.intents += 1;
            }
        }
        for result in manifest.commits.into_iter().flat_map(|commit| commit.results) {
            log.results += 1;
            log.told
                .get_mut(&(times[&result.intent], result.number))
                .expect("an intent first")
                .outcomes
                .push(result.outcome);
        }
    }
    log
}

/// Sets the log against what really happened.
async fn check(sandbox: &Sandbox, store: &Store, seed: u64) -> BTreeMap<StopOutcome, usize> {
    let log = read_log(store).await;
    let rows = rows(store).await;
    assert_eq!(rows.len(), log.results, "seed {seed}: a row for each result");
    for (time, number, outcome) in rows {
        let told = &log.told[&(time, number.clone())];
        assert!(
            told.outcomes.iter().any(|told| told.name() == outcome),
            "seed {seed}: the row of {number} says what the log says"
        );
    }
    let world = sandbox.world().lock();
    let journal = world.journal();
    let timestamps: BTreeMap<u64, i64> = journal
        .calls()
        .iter()
        .filter(|call| call.method == STOP)
        .map(|call| (call.nth, call.params["timestamp"].parse::<i64>().unwrap() + EPOCH))
        .collect();
    for call in journal.calls().iter().filter(|call| call.method == STOP) {
        let body: Vec<Vec<String>> = serde_json::from_str(&call.params["body"]).unwrap();
        for number in &body[0] {
            let intended = log.told.contains_key(&(timestamps[&call.nth], number.clone()));
            assert!(intended, "seed {seed}: {number} is missing from the log");
        }
    }
    let mut counts = BTreeMap::new();
    for ((time, number), told) in &log.told {
        let effects = || {
            let stops = journal.stops().iter().filter(|stop| *stop.number == **number);
            stops.filter(|stop| stop.effect == StopEffect::Stopped)
        };
        let by_us = told.intents == 1 && effects().any(|stop| timestamps[&stop.call] == *time);
        for outcome in &told.outcomes {
            *counts.entry(*outcome).or_default() += 1;
            match outcome {
                StopOutcome::Stopped => assert!(effects().next().is_some(), "seed {seed}: {number} was not stopped"),
                StopOutcome::Refused | StopOutcome::NotStopped => {
                    assert!(!by_us, "seed {seed}: {number} was stopped by the call that is told as {}", outcome.name());
                }
                StopOutcome::Unknown => {}
            }
        }
    }
    counts
}

/// The rows of `stop_reference`: when, which, what.
async fn rows(store: &Store) -> Vec<(i64, String, String)> {
    let lake = Lake::open(store.clone(), "sandbox".parse().unwrap()).await.unwrap();
    let mut rows = Vec::new();
    for file in lake.files(Table::StopReference) {
        for batch in decode(store.get(&file.entry.path).await.unwrap().unwrap()).unwrap() {
            let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            let times = batch.column_by_name("requested_at").unwrap().as_primitive::<TimestampMicrosecondType>();
            let (numbers, outcomes) = (text("purchase_apply_no"), text("outcome"));
            rows.extend((0..batch.num_rows()).map(|row| {
                let time = BeijingTime::from_unix(times.value(row) / 1_000_000).unwrap();
                (time.unix(), numbers.value(row).to_owned(), outcomes.value(row).to_owned())
            }));
        }
    }
    rows
}

async fn world(seed: u64) -> BTreeMap<StopOutcome, usize> {
    let sandbox = hostile(seed);
    let (store, mut rng) = (Store::memory(), StdRng::seed_from_u64(seed ^ 0x5709));
    for _ in 0..rng.random_range(1..4) {
        let mut numbers = || -> Vec<String> {
            (0..rng.random_range(1..5)).map(|_| number(rng.random_range(1..=NUMBERS + 1))).collect()
        };
        let (first, second) = (numbers(), numbers());
        match rng.random_range(0..4) {
            // Cut off at a call: whatever was under way is never heard of again.
            0 => cut_off(&sandbox, &store, first, rng.random_range(1..6)).await,
            1 => {
                futures::join!(run(&sandbox, &store, first), run(&sandbox, &store, second));
            }
            _ => run(&sandbox, &store, first).await,
        }
        check(&sandbox, &store, seed).await;
        sandbox.world().clock().advance([5, 60, 400][rng.random_range(0..3)]);
    }
    // The ERP is well again and time has passed: one more run settles what can be settled.
    sandbox.forget_script();
    sandbox.world().clock().advance(1_000);
    run(&sandbox, &store, vec![number(NUMBERS + 1)]).await;
    let verified = verify(&store, "sandbox".parse().unwrap(), Depth::Deep).await.unwrap();
    assert!(verified.defects.is_empty(), "seed {seed}: {:?}", verified.defects);
    let log = read_log(&store).await;
    assert!(
        log.told.values().all(|told| told.outcomes.len() >= told.intents),
        "seed {seed}: nothing is told of a number"
    );
    check(&sandbox, &store, seed).await
}

/// A run that ends while its `nth` call is under way.
async fn cut_off(sandbox: &Sandbox, store: &Store, numbers: Vec<String>, nth: u64) {
    let (reached, at_call) = tokio::sync::oneshot::channel();
    let reached = std::sync::Mutex::new((Some(reached), 0));
    sandbox.after_call(move |_, _| {
        let mut held = reached.lock().expect("no panic");
        held.1 += 1;
        if held.1 == nth
            && let Some(reached) = held.0.take()
        {
            let _ = reached.send(());
        }
    });
    tokio::select! {
        () = run(sandbox, store, numbers) => {}
        // A run that makes fewer calls just ends.
        Ok(()) = at_call => {}
    }
    sandbox.after_call(|_, _| ());
}

#[test]
fn no_stop_is_lost_and_none_is_claimed_that_was_not() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"));
    let (first, worlds) = (number("WDT_SEED", 1), number("WDT_WORLDS", 200));
    println!("seeds {first} to {}", first + worlds - 1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let outcomes = runtime.block_on(async {
        stream::iter(first..first + worlds).map(world).buffer_unordered(8).collect::<Vec<_>>().await
    });
    let mut all = BTreeMap::<StopOutcome, usize>::new();
    for (outcome, count) in outcomes.into_iter().flatten() {
        *all.entry(outcome).or_default() += count;
    }
    println!("{all:?}");
    assert!(
        worlds < 100 || (all.len() == 4 && all.values().all(|count| *count >= 10)),
        "every outcome is seen: {all:?}"
    );
}
