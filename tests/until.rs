//! A run whose time is over ends in order, and the next one goes on where it ended: what was proved is not asked for
//! again.

use std::sync::Arc;

use serde_json::Value;
use wdt_lake::sandbox::{Behaviour, Options, Sandbox, SandboxClock, generate};
use wdt_lake::{
    CallPolicy, Clock as _, Coverage, Depth, Interrupt, Lake, Meter, Store, SyncOptions, SystemClock, Window, sync,
    verify,
};

use crate::many_accounts::Many;
use crate::support::committed::rows;
use crate::support::{account, at, run};

const ROWS: usize = 9_000;
const DAYS: u32 = 1_826;

/// Five years, at a second of virtual time a call, in nights of less than two minutes.
#[test]
fn five_years_are_fetched_in_nights() {
    let end = at("2026-06-30 23:59:59");
    let clock = SandboxClock::held(at("2026-07-01 22:00:00"));
    let options = Options { clock: clock.clone(), requisitions: generate(3, ROWS, DAYS, end), ..Options::default() };
    let sandbox = Sandbox::start(options).expect("a sandbox");
    let moving = clock.clone();
    sandbox.after_call(move |_, _| moving.advance(1));
    let (store, account) = (Store::memory(), account(&sandbox));
    let (start, page_size) = (end.plus_seconds(1 - i64::from(DAYS) * 86_400), 25);
    let calls = CallPolicy { calls_per_minute: 0, ..CallPolicy::default() };
    let options = SyncOptions { from: Some(start), to: Some(end), page_size, calls, ..SyncOptions::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let coverage = || {
        let lake = runtime.block_on(Lake::open(store.clone(), account.name.clone())).expect("a lake");
        lake.coverage().clone()
    };

    let (mut nights, mut calls) = (0, 0);
    loop {
        nights += 1;
        let (before, asked) = (coverage(), sandbox.world().calls().len());
        let until = clock.now().plus_seconds(100);
        let (shared, meter) = (Arc::new(clock.clone()), Meter::default());
        let options = SyncOptions { until: Some(until), ..options.clone() };
        let night = sync(&account, store.clone(), &options, shared, Interrupt::never(), &meter);
        let report = runtime.block_on(night).expect("a night");
        assert_eq!((report.exit_code(), report.interrupted), (0, false), "{report:?}");
        assert!(report.gaps.is_empty(), "{report:?}");
        calls += report.calls;
        let made = sandbox.world().calls();
        let asked_for = made[asked..].iter().filter_map(|call| {
            let time = |name: &str| wdt_lake::BeijingTime::parse(&call.params[name]);
            Window::new(time("start_time")?, time("end_time")?)
        });
        for window in asked_for {
            let missing: u64 = before.gaps(window).into_iter().map(Window::seconds).sum();
            assert_eq!(missing, window.seconds(), "{window} was proved in a night before");
        }
        if report.remaining.is_none() {
            break;
        }
        assert!(report.calls >= 90, "a night is not given away: {}", report.calls);
        // Those that are under way when the time comes are let go or finished.
        assert!(report.calls <= 100 + 30, "{}", report.calls);
        clock.advance(16 * 3_600);
        assert!(nights < 50, "it ends");
    }
    assert!(nights >= 4, "{nights} nights");
    let wanted: Coverage = Window::new(start, end).into_iter().collect();
    assert!(wanted.windows().iter().all(|window| coverage().gaps(*window).is_empty()));
    assert_eq!(runtime.block_on(rows(&store)).len(), sandbox.world().lock().journal().versions().len());
    let verified = runtime.block_on(verify(&store, account.name.clone(), Depth::Deep)).expect("verified");
    assert!(verified.defects.is_empty(), "{:?}", verified.defects);

    // In one go.
    let (whole, shared, meter) = (Store::memory(), Arc::new(clock.clone()), Meter::default());
    let at_once = sync(&account, whole, &options, shared, Interrupt::never(), &meter);
    let at_once = runtime.block_on(at_once).expect("a run").calls;
    assert!(calls <= at_once + at_once / 10, "{calls} calls in {nights} nights, {at_once} in one go");
}

/// The program: no call is made after the time, the summary says what is left, and the exit code is that of success.
#[test]
fn the_program_ends_at_its_time_and_says_what_is_left() {
    let many = Many::new(3, 400, Behaviour { latency: "150ms".parse().unwrap(), ..Behaviour::default() });
    let until = SystemClock.now().plus_seconds(2).to_string()[11..].to_owned();
    let arguments = ["--page-size", "4", "--max-accounts", "1", "--concurrency", "1", "--until", &until];
    let said = run(&mut many.sync(&arguments)).expect_code(0);
    assert!(!said.stderr.contains("error["), "{}", said.stderr);
    let summary = said.json();
    let accounts = summary["accounts"].as_array().unwrap();
    let of = |key: &str| accounts.iter().map(|account| account["remaining"][key].clone()).collect::<Vec<Value>>();
    assert_eq!(of("begun").iter().filter(|begun| begun.as_bool() == Some(false)).count(), 2, "{summary}");
    let seconds = of("seconds").iter().filter_map(Value::as_u64).sum::<u64>();
    assert!((86_400..=30 * 86_400).contains(&seconds), "{summary}");
    assert!(
        accounts
            .iter()
            .all(|one| one["interrupted"] == false && one["exit_code"] == 0 && one["gaps"] == Value::Array(vec![])),
        "{summary}"
    );
    many.sandbox.behave(|behaviour| behaviour.latency = Default::default());
    let tomorrow = SystemClock.now().plus_seconds(-3_600).to_string()[11..].to_owned();
    run(&mut many.sync(&["--until", &tomorrow])).expect_code(0);
    let status = run(&mut many.program(&["status", "--json"])).expect_code(0).json();
    assert!(status["accounts"].as_array().unwrap().iter().all(|one| one["rows"]["purchase_apply"] == 400), "{status}");
    for wrong in ["6:00", "24:00", "soon", "06:00+08:00"] {
        assert!(run(&mut many.sync(&["--until", wrong])).expect_code(2).stderr.contains("06:00"), "{wrong}");
    }
}
