//! Promise 1: under edits, ties, disorder and faults, every version that stayed through its window's walk is in the
//! lake, exactly once, and everything else in it is a version that the ERP really held.
//!
//! The oracle is the sandbox's journal. `WDT_WORLDS` sets how many random worlds are tried, `WDT_SEED` the first seed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use wdt_lake::sandbox::{
    Behaviour, Call, Drift, DriftMoment, Fault, Faults, Interval, Options, Order, Outer, Quantity, Requisition,
    Sandbox, Statements, Uncounted, generate,
};
use wdt_lake::{BeijingTime, SystemClock, Window};
use wdt_lake::{
    CallPolicy, Depth, Edition, Interrupt, Lake, Limits, Meter, Store, SyncOptions, SyncReport, plan, sync, verify,
};

use crate::support::committed::rows;
use crate::support::{account, at};

/// The window for which a call asked; of flagship it asked for one second more.
fn asked_window(call: &Call, edition: Edition) -> Option<Window> {
    let time = |name| BeijingTime::parse(call.params.get(name)?);
    let surplus = i64::from(edition == Edition::Flagship);
    Window::new(time("start_time")?, time("end_time")?.plus_seconds(-surplus))
}

/// What the header of a requisition says of its quantity; flagship headers say nothing.
fn header_quantity(sandbox: &Sandbox, real_num: Quantity) -> Option<i128> {
    (sandbox.dialect().edition != Edition::Flagship).then_some(real_num.0)
}

/// Checks the lake against the journal. Returns how many versions had to be there.
pub(crate) async fn check(sandbox: &Sandbox, store: &Store, seed: u64) -> usize {
    let lake = rows(store).await;
    let log = Lake::open(store.clone(), "sandbox".parse().unwrap()).await.unwrap();
    let mut walked = Vec::new();
    for number in 1..log.state().next_number() {
        let manifest = log.manifest(number).await.unwrap().expect("a manifest");
        walked.extend(manifest.walk.map(|walk| walk.window));
    }
    let edition = sandbox.dialect().edition;
    let asked_window = |call: &Call| asked_window(call, edition);
    let world = sandbox.world().lock();
    let journal = world.journal();
    for ((number, modified), row) in &lake {
        let held = journal.held(number, *modified).any(|version| {
            let details: Vec<i64> = version.requisition.details.iter().map(|detail| detail.rec_id).collect();
            header_quantity(sandbox, version.requisition.real_num) == row.real_num && details == row.details
        });
        assert!(held, "seed {seed}: the ERP never held {number} of {modified} as it is in the lake");
    }
    let mut owed = HashSet::new();
    for window in walked {
        // The walk that proved it asked for this window, or for a larger one out of which seconds were cut.
        let is_around = |asked: &Window| asked.start() <= window.start() && window.end() <= asked.end();
        let asked =
            journal.calls().iter().filter_map(asked_window).filter(is_around).min_by_key(|asked| asked.seconds());
        let asked = asked.unwrap_or_else(|| panic!("seed {seed}: {window} was committed and never asked for"));
        let calls: Vec<_> = journal.calls().iter().filter(|call| asked_window(call) == Some(asked)).collect();
        let from = calls.iter().map(|call| call.began.seq).min().unwrap();
        let to = calls.iter().map(|call| call.ended.seq).max().unwrap();
        for version in journal.alive_throughout(window, from, to) {
            let key = (version.requisition.purchase_apply_no.to_string(), version.requisition.modified);
            assert!(lake.contains_key(&key), "seed {seed}: {key:?} stayed in {window} and is not in the lake");
            owed.insert(key);
        }
    }
    owed.len()
}

fn options() -> SyncOptions {
    SyncOptions {
        from: Some(at("2026-06-01 00:00:00")),
        to: Some(at("2026-06-30 23:59:59")),
        page_size: 10,
        calls: CallPolicy {
            calls_per_minute: 0,
            first_delay: Duration::from_millis(1),
            timeout: Duration::from_secs(10),
            max_retry_time: Duration::from_secs(60),
            ..CallPolicy::default()
        },
        limits: Limits { max_pages: 8, ..Limits::default() },
        compact_time: None,
        ..SyncOptions::default()
    }
}

async fn run(sandbox: &Sandbox, store: &Store, options: &SyncOptions) -> SyncReport {
    sync(&account(sandbox), store.clone(), options, Arc::new(SystemClock), Interrupt::never(), &Meter::default())
        .await
        .unwrap()
}

/// A world and a way to misbehave, by seed.
fn hostile(seed: u64) -> Options {
    let mut rng = StdRng::seed_from_u64(seed);
    let count = rng.random_range(0..180);
    let mut requisitions = generate(seed, count, rng.random_range(1..=30), at("2026-06-30 23:59:59"));
    if rng.random_bool(0.4) {
        // Ties: everything on a few seconds, in bursts.
        let seconds = rng.random_range(1..60);
        for requisition in &mut requisitions {
            move_to(requisition, at("2026-06-15 12:00:00").plus_seconds(rng.random_range(0..seconds)));
        }
    }
    let orders = [
        Order::Modified,
        Order::ModifiedShuffledTies,
        Order::ModifiedShuffledTies,
        Order::ModifiedDescending,
        Order::ApplyId,
        Order::Random,
    ];
    let behaviour = Behaviour {
        seed,
        drift: rng.random_bool(0.8).then(|| Drift {
            probability: rng.random_range(0.0..0.6),
            edits: rng.random_range(1..4),
            moment: if rng.random_bool(0.5) { DriftMoment::BeforeTheCall } else { DriftMoment::BetweenStatements },
        }),
        faults: rng
            .random_bool(0.5)
            .then(|| Faults { probability: rng.random_range(0.0..0.15), kinds: quick_faults() }),
        order: orders[rng.random_range(0..orders.len())],
        statements: if rng.random_bool(0.5) { Statements::ListThenCount } else { Statements::CountThenList },
        overlap_rows: if rng.random_bool(0.1) { 1 } else { 0 },
        // What the pages of flagship leave open; the other editions do not look at it.
        interval: if rng.random_bool(0.5) { Interval::HalfOpen } else { Interval::Closed },
        uncounted: if rng.random_bool(0.5) { Uncounted::Zero } else { Uncounted::Absent },
        outer: if rng.random_bool(0.3) { Outer::None } else { Outer::Object },
        ..Behaviour::default()
    };
    Options { edition: edition(seed), requisitions, behaviour, ..Options::default() }
}

/// Every edition has its third of the worlds.
fn edition(seed: u64) -> Edition {
    Edition::ALL[usize::try_from(seed % 3).unwrap()]
}

/// Faults that a client notices at once.
fn quick_faults() -> Vec<Fault> {
    Fault::usual().into_iter().filter(|fault| !matches!(fault.name(), "hang" | "429")).collect()
}

fn move_to(requisition: &mut Requisition, modified: BeijingTime) {
    requisition.modified = modified;
    requisition.created = requisition.created.min(modified);
}

#[test]
fn random_worlds_lose_nothing() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"));
    let (first, worlds) = (number("WDT_SEED", 1), number("WDT_WORLDS", 500));
    println!("seeds {first} to {}", first + worlds - 1);
    let compactions = std::sync::atomic::AtomicU64::new(0);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let outcomes = runtime.block_on(async {
        let compactions = &compactions;
        let one = |seed| async move {
            let sandbox = Sandbox::start(hostile(seed)).unwrap();
            let store = Store::memory();
            let report = run(&sandbox, &store, &options()).await;
            assert!(report.stopped.is_none(), "seed {seed}: {:?}", report.stopped);
            let owed = check(&sandbox, &store, seed).await;
            let verified = verify(&store, "sandbox".parse().unwrap(), Depth::Deep).await.unwrap();
            assert!(verified.defects.is_empty(), "seed {seed}: {:?}", verified.defects);
            // What was put together holds the same.
            let before = rows(&store).await;
            let compacting = SyncOptions { compact_time: Some(Duration::from_secs(60)), ..options() };
            let again = run(&sandbox, &store, &compacting).await;
            let verified = verify(&store, "sandbox".parse().unwrap(), Depth::Deep).await.unwrap();
            assert!(verified.defects.is_empty(), "seed {seed}: {:?}", verified.defects);
            // The run that puts it together may walk what the first has left.
            let after = rows(&store).await;
            assert!(before.iter().all(|(version, row)| after.get(version) == Some(row)), "seed {seed}");
            assert!(again.calls > 0 || after.len() == before.len(), "seed {seed}");
            compactions.fetch_add(again.compacted.into, std::sync::atomic::Ordering::Relaxed);
            (edition(seed), owed, report.gaps.len())
        };
        stream::iter(first..first + worlds).map(one).buffer_unordered(4).collect::<Vec<_>>().await
    });
    println!("{} commits were put together of others", compactions.into_inner());
    for edition in Edition::ALL {
        let own: Vec<_> = outcomes.iter().filter(|(other, ..)| *other == edition).collect();
        let owed: usize = own.iter().map(|(_, owed, _)| owed).sum();
        let with_gaps = own.iter().filter(|(.., gaps)| *gaps > 0).count();
        println!("{edition}: {owed} versions had to be there; {with_gaps} of {} worlds left a gap", own.len());
        // A few worlds may well be empty or hard; many are not.
        if own.len() >= 20 {
            assert!(owed > own.len() * 10, "the worlds are not empty");
            assert!(with_gaps < own.len().div_ceil(4), "most worlds are walked to the end");
        }
    }
}

/// The bench bites: what everybody writes first loses rows in such a world.
#[test]
fn an_ordinary_ascending_reader_loses_rows_under_the_same_drift() {
    let requisitions = generate(3, 1_000, 28, at("2026-06-30 23:59:59"));
    let behaviour = Behaviour { drift: Some("0.5:1".parse().unwrap()), seed: 3, ..Behaviour::default() };
    let sandbox = Sandbox::start(Options { requisitions, behaviour, ..Options::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (read, from, to) = runtime.block_on(ascending_reader(&sandbox));
    let window = Window::new(at("2026-06-01 00:00:00"), at("2026-06-30 23:59:59")).unwrap();
    let world = sandbox.world().lock();
    let stayed: Vec<_> = world
        .journal()
        .alive_throughout(window, from, to)
        .map(|version| version.requisition.purchase_apply_no.to_string())
        .collect();
    let lost = stayed.iter().filter(|number| !read.contains(*number)).count();
    assert!(lost > 0, "{} stayed and all were read", stayed.len());
    println!("an ascending reader lost {lost} of {} requisitions that never moved", stayed.len());
}

/// Page 0, 1, 2, ... until a page is short, as any client does it. Gives the numbers and the span of the journal.
async fn ascending_reader(sandbox: &Sandbox) -> (HashSet<String>, u64, u64) {
    let environment: BTreeMap<&str, String> = sandbox.environment().into_iter().collect();
    let client = reqwest::Client::new();
    let mut read = HashSet::new();
    for page_no in 0.. {
        let timestamp = wdt_lake::Clock::now(&SystemClock).unix().to_string();
        let page_no = page_no.to_string();
        let mut form = vec![
            ("sid", environment["WDT_SID"].as_str()),
            ("appkey", environment["WDT_APPKEY"].as_str()),
            ("timestamp", &timestamp),
            ("start_time", "2026-06-01 00:00:00"),
            ("end_time", "2026-06-30 23:59:59"),
            ("page_size", "100"),
            ("page_no", &page_no),
        ];
        let sign = wdt_lake::sandbox::expected_signature(form.iter().copied(), &environment["WDT_APPSECRET"]);
        form.push(("sign", &sign));
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = client.post(format!("{}/purchase_apply_query.php", environment["WDT_BASE_URL"]));
        let answer =
            request.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let rows = answer["purchase_list"].as_array().unwrap();
        read.extend(rows.iter().map(|row| row["purchase_apply_no"].as_str().unwrap().to_owned()));
        if rows.len() < 100 {
            break;
        }
    }
    let calls = sandbox.world().calls();
    (read, calls.first().unwrap().began.seq, calls.last().unwrap().ended.seq)
}

/// A bulk import puts a thousand requisitions into one second, and their order changes from call to call.
#[test]
fn a_second_of_a_thousand_requisitions_is_complete() {
    let mut requisitions = generate(5, 1_300, 20, at("2026-06-30 23:59:59"));
    requisitions[..1_000].iter_mut().for_each(|requisition| move_to(requisition, at("2026-06-20 10:00:00")));
    let behaviour = Behaviour { order: Order::ModifiedShuffledTies, seed: 5, ..Behaviour::default() };
    let sandbox = Sandbox::start(Options { requisitions, behaviour, ..Options::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::memory();
        let options = SyncOptions { page_size: 100, limits: Limits::default(), ..options() };
        let report = run(&sandbox, &store, &options).await;
        assert_eq!((report.exit_code(), report.tally.headers), (0, 1_300), "{report:?}");
        assert_eq!(check(&sandbox, &store, 5).await, 1_300);
        println!("{} calls for 1,300 rows, 1,000 of them in one second", report.calls);
    });
}

#[test]
fn a_server_that_caps_its_pages_is_read_completely() {
    // Of 3,000 rows in pages of 20 there are more pages than one walk reads, but not more rows than a window is planned
    // for.
    for (cap, count, calls) in [(50, 700, 14 + 6), (20, 3_000, 150 + 30)] {
        let behaviour = Behaviour { max_page_rows: Some(cap), ..Behaviour::default() };
        let requisitions = generate(6, count, 25, at("2026-06-30 23:59:59"));
        let sandbox = Sandbox::start(Options { requisitions, behaviour, ..Options::default() }).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::memory();
            let options = SyncOptions { page_size: 100, limits: Limits::default(), ..options() };
            let report = run(&sandbox, &store, &options).await;
            assert_eq!((report.exit_code(), report.tally.headers), (0, count as u64), "{report:?}");
            assert!(report.calls <= calls, "{} calls for pages of {cap}", report.calls);
        });
    }
}

/// The density of half an hour is not planned by, so what is in it must be cut in another way, by `plan` too.
#[test]
fn a_burst_within_an_hour_is_planned_and_read() {
    let mut requisitions = generate(9, 800, 1, at("2026-06-30 23:59:59"));
    for (place, requisition) in (0_i64..).zip(&mut requisitions) {
        move_to(requisition, at("2026-06-20 10:00:00").plus_seconds(place));
    }
    let sandbox = Sandbox::start(Options { requisitions, ..Options::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = options();
        let account = account(&sandbox);
        let forecast = plan(Some(&account), None, &options, Arc::new(SystemClock)).await.unwrap();
        assert_eq!(forecast.rows(), Some(800));
        assert!(forecast.windows.iter().all(|planned| planned.rows.is_some_and(|rows| rows <= 160)), "{forecast:?}");
        let report = run(&sandbox, &Store::memory(), &options).await;
        assert_eq!((report.exit_code(), report.tally.headers), (0, 800), "{report:?}");
    });
}

/// Promise 4 on a larger world, with the figure printed.
#[test]
fn a_quiet_year_half_costs_its_pages_and_one_call_a_window() {
    let requisitions = generate(8, 100_000, 180, at("2026-06-30 23:59:59"));
    let sandbox = Sandbox::start(Options { requisitions, ..Options::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::memory();
        let options = SyncOptions {
            from: Some(at("2026-01-01 00:00:00")),
            page_size: 100,
            limits: Limits::default(),
            ..options()
        };
        let report = run(&sandbox, &store, &options).await;
        assert_eq!((report.exit_code(), report.tally.headers), (0, 100_000), "{:?}", report.gaps);
        let allowed = 100_000_u64.div_ceil(100) * 105 / 100 + report.windows;
        println!("{} calls for 100,000 rows in {} windows; {allowed} allowed", report.calls, report.windows);
        assert!(report.calls <= allowed, "{} calls, {allowed} allowed", report.calls);
    });
}
