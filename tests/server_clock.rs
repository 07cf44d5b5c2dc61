//! The gateway's clock, lied about in every way: what a `Date` header says, which timestamps are accepted, and what is
//! covered by it.
//!
//! The gateway here is a small one, whose `Date`, whose judgement of timestamps and whose rows are set call by call. No
//! test waits: what must not happen is that something is covered that has not happened yet.

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use fake::{Ask, Fake, Reply, http_date};
use serde_json::{Value, json};
use wdt_lake::{
    BeijingTime, CallPolicy, Clock, Coverage, Edition, Interrupt, Lake, Meter, Store, SyncOptions, SyncReport,
    SystemClock,
};

use crate::support::{LakeDir, Said, program, run};
use crate::under_fire::fixed;

const LAG: i64 = 300;
const TOLERANCE: i64 = 300;
const DAY: i64 = 86_400;

fn now() -> BeijingTime {
    SystemClock.now()
}

/// A machine whose clock is off, and may be set while a run is at work.
#[derive(Clone, Default)]
struct Machine(Arc<AtomicI64>);

impl Machine {
    fn ahead(seconds: i64) -> Self {
        let machine = Self::default();
        machine.set(seconds);
        machine
    }

    fn set(&self, ahead: i64) {
        self.0.store(ahead * 1_000_000, Relaxed);
    }
}

impl Clock for Machine {
    fn now_micros(&self) -> i64 {
        SystemClock.now_micros() + self.0.load(Relaxed)
    }

    fn monotonic_micros(&self) -> i64 {
        SystemClock.monotonic_micros()
    }
}

/// Runs a sync on such a machine; gives its report and what is covered after it.
fn sync_on(machine: &Machine, fake: &Fake, store: &Store, options: SyncOptions) -> (SyncReport, Coverage) {
    let account = fake.account(Edition::Enterprise);
    let calls = CallPolicy { calls_per_minute: 0, max_retry_time: Duration::from_secs(1), ..CallPolicy::default() };
    let options = SyncOptions { calls, ..options };
    let work = async {
        let clock = Arc::new(machine.clone());
        let report = wdt_lake::sync(&account, store.clone(), &options, clock, Interrupt::never(), &Meter::default())
            .await
            .unwrap();
        (report, Lake::open(store.clone(), account.name.clone()).await.unwrap().coverage().clone())
    };
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

fn from(seconds_ago: i64) -> SyncOptions {
    SyncOptions { from: Some(now().plus_seconds(-seconds_ago)), ..SyncOptions::default() }
}

fn end(coverage: &Coverage) -> BeijingTime {
    coverage.span().expect("something is covered").end()
}

/// So many rows, of which the last was modified ten seconds ago.
fn rows(count: i64, seconds_apart: i64) -> Vec<(String, BeijingTime)> {
    let newest = now().plus_seconds(-10);
    (0..count).map(|row| (format!("POA{row}"), newest.plus_seconds(-row * seconds_apart))).collect()
}

/// The code of a refused timestamp, by a clock that is so far ahead.
fn refused() -> Value {
    json!({"code": 1040, "message": "timestamp无效"})
}

/// Answers as a server whose clock is so far ahead and judges timestamps.
fn judge(ask: &Ask, ahead: i64, rows: &[(String, BeijingTime)]) -> Reply {
    let is_fresh = (now().unix() + ahead - ask.timestamp()).abs() <= TOLERANCE;
    Reply::by(ahead, if is_fresh { ask.page(rows) } else { refused() })
}

fn warnings(summary: &Value) -> Vec<String> {
    let warnings = summary["warnings"].as_array().unwrap();
    warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
}

fn time(value: &Value) -> BeijingTime {
    BeijingTime::parse_rfc3339(value.as_str().unwrap()).unwrap()
}

fn covered_to(lake: &LakeDir) -> Option<BeijingTime> {
    let status = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
    status["accounts"][0]["coverage"].as_array()?.last().map(|window| time(&window["end"]))
}

fn start(seconds_ago: i64) -> String {
    now().plus_seconds(-seconds_ago).to_string()
}

/// Local time called GMT, a day, and the year 9999, in all answers or in the first one only.
#[test]
fn a_date_ahead_of_the_accepted_timestamp_is_ignored_with_one_warning() {
    for (ahead, is_lasting) in [(8 * 3_600, true), (DAY, true), (DAY, false), (400, true)] {
        let rows = rows(40, 60);
        let fake = Fake::new(move |ask| {
            let ahead = if is_lasting || ask.nth == 1 { ahead } else { 0 };
            Reply::by(ahead, ask.page(&rows))
        });
        let (lake, begun) = (LakeDir::new(), now());
        let said = fake.sync(&lake, &["--from", &start(2 * DAY)]).expect_code(0);
        let told = warnings(&said.json());
        assert!(told.len() == 1 && told[0].contains("`Date`") && told[0].contains("ahead"), "{ahead}: {told:?}");
        assert_eq!(said.stderr.matches("`Date`").count(), 1, "{}", said.stderr);
        let (covered, latest) = (covered_to(&lake).unwrap(), now().plus_seconds(-LAG));
        assert!(covered <= latest, "{ahead}: covered to {covered}, and not later than {latest} has happened");
        assert!(covered >= begun.plus_seconds(-LAG - TOLERANCE - 5), "{ahead}: {covered} is no use");
        assert!(fake.calls() <= 4, "{} calls", fake.calls());
        run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
    }
}

/// A requisition that is modified between two runs, in hours that the `Date` of the first one had passed already.
#[test]
fn what_comes_after_a_date_ahead_is_fetched() {
    for off in [8 * 3_600, DAY] {
        let passed = Arc::new(AtomicI64::new(0));
        let (old, new) =
            (("POA1".to_owned(), now().plus_seconds(-7_200)), ("POA2".to_owned(), now().plus_seconds(7_200)));
        let later = Arc::clone(&passed);
        let fake = Fake::new(move |ask| {
            let passed = later.load(Relaxed);
            let rows = if passed == 0 { vec![old.clone()] } else { vec![old.clone(), new.clone()] };
            Reply { date: Some(http_date(now().plus_seconds(passed + off))), ..judge(ask, passed, &rows) }
        });
        let (machine, store) = (Machine::default(), Store::memory());
        assert_eq!(sync_on(&machine, &fake, &store, from(DAY)).0.tally.headers, 1, "{off}");
        machine.set(3 * 3_600);
        passed.store(3 * 3_600, Relaxed);
        let (report, coverage) = sync_on(&machine, &fake, &store, SyncOptions::default());
        assert_eq!((report.exit_code(), report.tally.headers), (0, 1), "{off}: {:?}", report.gaps);
        assert!(end(&coverage) <= now().plus_seconds(3 * 3_600 - LAG));
    }
}

#[test]
fn dates_of_other_ages_and_no_dates_cost_no_calls() {
    let impossible = [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Sat, 32 Foo 2026 25:61:61 GMT",
        "yesterday",
        "",
        "Wed, 31 Dec 1969 23:59:59 GMT",
    ];
    for (date, is_lasting) in impossible.into_iter().flat_map(|date| [(date, true), (date, false)]) {
        let rows = rows(20, 60);
        let fake = Fake::new(move |ask| {
            let odd = is_lasting || ask.nth == 1;
            Reply { date: Some(if odd { date.to_owned() } else { http_date(now()) }), ..Reply::by(0, ask.page(&rows)) }
        });
        let (lake, begun) = (LakeDir::new(), now());
        let summary = fake.sync(&lake, &["--from", &start(3 * 3_600)]).expect_code(0).json();
        let covered = covered_to(&lake).unwrap();
        assert!(covered <= now().plus_seconds(-LAG), "{date}: {covered}");
        assert!(covered >= begun.plus_seconds(-LAG - TOLERANCE - 5), "{date}: {covered}");
        assert!(fake.calls() <= 4, "{date}: {} calls", fake.calls());
        let is_told = date.contains("9999");
        assert_eq!(warnings(&summary).len(), usize::from(is_told), "{date}: {summary}");
    }
}

/// However far behind, it ends the coverage, is named with its difference, and the next run with a right one catches
/// up: without a start, because the log has it.
#[test]
fn a_date_behind_always_ends_the_coverage() {
    let epoch = BeijingTime::from_unix(0).unwrap();
    for (said, first_only) in [
        (now().plus_seconds(-400), false),
        (now().plus_seconds(-DAY), false),
        (now().plus_seconds(-DAY), true),
        (epoch.plus_seconds(DAY), false),
        (epoch, true),
    ] {
        let (rows, right) = (rows(100, 1_800), Arc::new(AtomicI64::new(0)));
        let is_right = Arc::clone(&right);
        let fake = Fake::new(move |ask| {
            let is_odd = is_right.load(Relaxed) == 0 && (!first_only || ask.nth == 1);
            Reply { date: Some(http_date(if is_odd { said } else { now() })), ..Reply::by(0, ask.page(&rows)) }
        });
        let lake = LakeDir::new();
        let told = fake.sync(&lake, &["--from", &start(2 * DAY)]).expect_code(7);
        let summary = told.json();
        let warned = warnings(&summary);
        assert!(warned.len() == 1 && warned[0].contains("behind"), "{said}: {warned:?}");
        assert!(warned[0].contains(&said.to_string()), "{said}: {warned:?}");
        assert!(told.stderr.contains("has not come yet") && told.stderr.contains("hint: "), "{}", told.stderr);
        let latest = said.plus_seconds(-LAG);
        assert!(covered_to(&lake).is_none_or(|covered| covered <= latest), "{said}: {:?}", covered_to(&lake));
        let gap = summary["gaps"].as_array().unwrap().last().unwrap();
        assert!(time(&gap["window"]["end"]) >= now().plus_seconds(-LAG - 30), "{said}: {gap}");
        right.store(1, Relaxed);
        let summary = fake.sync(&lake, &[]).expect_code(0).json();
        assert_eq!(warnings(&summary), Vec::<String>::new());
        assert!(covered_to(&lake).unwrap() >= now().plus_seconds(-3_600 - LAG), "less an empty tail");
        let status = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
        assert_eq!(
            (&status["accounts"][0]["gaps"], &status["accounts"][0]["rows"]["purchase_apply"]),
            (&json!([]), &json!(95))
        );
        run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
    }
}

/// With every answer the gateway's clock is further back: each walk was begun too early for its end, and the run ends
/// all the same.
#[test]
fn a_date_that_falls_with_every_answer_costs_few_calls() {
    for (step, code) in [(3_600, 7), (600, 7), (20, 0)] {
        let rows = rows(50, 3_600);
        let fake = Fake::new(move |ask| Reply::by(-step * ask.nth as i64, ask.page(&rows)));
        let lake = LakeDir::new();
        let summary = fake.sync(&lake, &["--from", &start(2 * DAY)]).expect_code(code).json();
        assert!(fake.calls() <= 20, "{step}: {} calls", fake.calls());
        let last = now().plus_seconds(-step * fake.calls() as i64 - LAG);
        assert!(
            covered_to(&lake).is_none_or(|covered| covered <= last),
            "{step}: {:?} and {summary}",
            covered_to(&lake)
        );
    }
}

/// A run that was told where to end is not cut by a clock that has passed it; and one that finds nothing new is done.
#[test]
fn a_clock_that_cuts_nothing_is_no_failure() {
    let rows = rows(10, 2 * DAY);
    let fake = Fake::new(move |ask| Reply::by(-DAY, ask.page(&rows)));
    let lake = LakeDir::new();
    let arguments = ["--from", &start(30 * DAY), "--to", &start(3 * DAY)];
    let summary = fake.sync(&lake, &arguments).expect_code(0).json();
    assert!(warnings(&summary).len() == 1, "{summary}");
    let calls = fake.calls();
    fake.sync(&lake, &arguments).expect_code(0);
    assert_eq!(fake.calls(), calls, "it is covered");

    let fake = Fake::new(move |ask| Reply::by(0, ask.page(&[])));
    let lake = LakeDir::new();
    fake.sync(&lake, &["--from", &start(2 * 3_600)]).expect_code(0);
    let (calls, covered) = (fake.calls(), covered_to(&lake));
    assert_eq!(warnings(&fake.sync(&lake, &["--lag", "240s"]).expect_code(0).json()), Vec::<String>::new());
    assert_eq!((fake.calls(), covered_to(&lake)), (calls + 1, covered), "an empty minute is asked and not committed");
}

/// Servers behind one address whose clocks are far apart, each of which refuses the timestamps of the others.
#[test]
fn a_balancer_with_a_clock_that_is_off_loses_nothing() {
    for off in [DAY, -DAY, 3_600] {
        for turns in [&[0, 1][..], &[0, 0, 1], &[0, 1, 1], &[1, 0]] {
            let rows = rows(60, 600);
            let turns: Vec<i64> = turns.iter().map(|turn| turn * off).collect();
            let (all, is_one) = (rows.clone(), Arc::new(AtomicI64::new(0)));
            let is_alone = Arc::clone(&is_one);
            let fake = Fake::new(move |ask| {
                let ahead = if is_alone.load(Relaxed) == 1 { 0 } else { turns[ask.nth % turns.len()] };
                judge(ask, ahead, &rows)
            });
            let (machine, store) = (Machine::default(), Store::memory());
            let options = SyncOptions { page_size: 20, ..from(2 * DAY) };
            let (report, coverage) = sync_on(&machine, &fake, &store, options);
            assert!(report.stopped.is_none(), "{off}: {:?}", report.stopped);
            let latest = now().plus_seconds(-LAG).plus_seconds(off.min(0));
            assert!(
                coverage.windows().iter().all(|window| window.end() <= latest),
                "{off}: {coverage:?} after {latest}"
            );
            if off > 0 {
                assert!(end(&coverage) >= now().plus_seconds(-LAG - TOLERANCE - 60), "{off}: {coverage:?}");
                assert_eq!(report.exit_code(), 0, "{:?}", report.gaps);
            }
            // Behind the right server alone, the rest arrives, and nothing twice.
            is_one.store(1, Relaxed);
            let (rest, coverage) = sync_on(&machine, &fake, &store, SyncOptions::default());
            assert_eq!(rest.exit_code(), 0, "{off}: {:?} {:?}", rest.gaps, rest.stopped);
            let owed = all.iter().filter(|(_, modified)| coverage.windows()[0].contains(*modified)).count() as u64;
            assert!(owed >= 50 && coverage.windows().len() == 1, "{off}: {coverage:?}");
            assert_eq!(report.tally.headers + rest.tally.headers, owed, "{off}");
        }
    }
}

/// Both witnesses wrong, each within the tolerance: what is covered has happened.
#[test]
fn nothing_is_covered_that_has_not_happened() {
    for (own, date) in
        [(298, Some(299)), (298, Some(596)), (298, None), (-298, Some(299)), (120, Some(-120)), (0, Some(299))]
    {
        let fake = Fake::new(move |ask| Reply {
            date: date.map(|ahead| http_date(now().plus_seconds(ahead))),
            ..judge(ask, 0, &[])
        });
        let (report, coverage) = sync_on(&Machine::ahead(own), &fake, &Store::memory(), from(2 * DAY));
        assert_eq!(report.exit_code(), 0, "{own} {date:?}: {:?} {:?}", report.gaps, report.stopped);
        let covered = end(&coverage);
        assert!(covered < now(), "{own} {date:?}: {covered} has not happened");
        let bound = date.filter(|date| date - own <= TOLERANCE).map_or(own - TOLERANCE, |date| own.min(date));
        let latest = now().plus_seconds(bound - LAG);
        assert!(covered <= latest, "{own} {date:?}: {covered} is later than {latest}");
        assert!(covered >= latest.plus_seconds(-30), "{own} {date:?}: {covered} is much earlier than {latest}");
    }
}

/// The machine's clock is set while a run is at work: once right and then wrong, wrong and then right, and there and
/// back.
#[test]
fn a_clock_that_is_set_within_a_run_costs_nothing() {
    for (before, after) in [(0, -3 * 3_600), (-600, 0), (600, 0), (0, 7_200), (-DAY, DAY), (-100, 0)] {
        let (rows, machine) = (rows(200, 300), Machine::ahead(before));
        let set = machine.clone();
        let fake = Fake::new(move |ask| {
            if ask.nth == 4 {
                set.set(after);
            }
            judge(ask, 0, &rows)
        });
        let options = SyncOptions { page_size: 20, to: Some(now().plus_seconds(-3 * 3_600)), ..from(2 * DAY) };
        // A machine that is behind must still know the start.
        let options = SyncOptions { from: options.from.map(|from| from.plus_seconds(before.min(0))), ..options };
        let (report, coverage) = sync_on(&machine, &fake, &Store::memory(), options.clone());
        assert_eq!(report.exit_code(), 0, "{before} {after}: {:?} {:?}", report.gaps, report.stopped);
        let allowed = if before.abs() > TOLERANCE { 1 } else { 0 };
        let refused =
            fake.asked.lock().unwrap().iter().filter(|asked| (now().unix() - **asked).abs() > TOLERANCE).count();
        assert_eq!(refused, allowed, "{before} {after}");
        assert!(end(&coverage) <= now().plus_seconds(-LAG));
        if before >= 0 {
            assert_eq!(Some(end(&coverage)), options.to, "{before} {after}");
        }
    }
}

#[test]
fn a_gateway_that_refuses_its_own_time_ends_the_account_soon() {
    let fake = Fake::new(|_| Reply::by(0, refused()));
    let said = fake.sync(&LakeDir::new(), &["--from", &start(DAY)]).expect_code(4);
    assert!(said.stderr.contains("although it follows the gateway's own clock"), "{}", said.stderr);
    assert!(fake.calls() <= 3, "{} calls", fake.calls());
}

/// What the first run was asked stands in the log, whatever became of it, once; an earlier start takes its place.
#[test]
fn the_start_of_a_run_that_proved_nothing_is_remembered() {
    let business = || Reply::by(0, json!({"code": 9, "message": "no"}));
    let credentials = || Reply::by(0, json!({"code": 2030, "message": "appkey"}));
    let down = || Reply { status: 503, ..Reply::by(0, json!({})) };
    let cases: [(fn() -> Reply, i32); 3] = [(business, 7), (credentials, 4), (down, 5)];
    for (failing, code) in cases {
        let (rows, well) = (rows(30, 600), Arc::new(AtomicI64::new(0)));
        let is_well = Arc::clone(&well);
        let fake = Fake::new(move |ask| match is_well.load(Relaxed) {
            0 => failing(),
            _ => Reply::by(0, ask.page(&rows)),
        });
        let (lake, first) = (LakeDir::new(), start(DAY));
        fake.sync(&lake, &["--from", &first]).expect_code(code);
        let log = lake.manifests();
        assert_eq!((log.len(), &log[0]["kind"]), (1, &json!("start")), "{code}: {log:?}");
        assert_eq!(time(&log[0]["wanted_from"]).to_string(), first);
        fake.sync(&lake, &["--from", &start(3_600)]).expect_code(code);
        fake.sync(&lake, &[]).expect_code(code);
        assert_eq!(lake.manifests().len(), 1, "a later start, or none, is no news");
        let earlier = start(2 * DAY);
        fake.sync(&lake, &["--from", &earlier]).expect_code(code);
        assert_eq!(lake.manifests().len(), 2, "an earlier one is");
        well.store(1, Relaxed);
        fake.sync(&lake, &[]).expect_code(0);
        let status = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
        let account = &status["accounts"][0];
        assert_eq!(time(&account["coverage"][0]["start"]).to_string(), earlier, "{code}: {account}");
        assert_eq!((&account["gaps"], account["sid"].as_str()), (&json!([]), Some("wanxie2")));
        let log = lake.manifests();
        assert!(log[2..].iter().all(|manifest| manifest["kind"] == "sync"), "{log:?}");
        crate::manifest::assert_follow_their_schema(&lake.whole_manifests());
        run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
    }
}

/// A first run with nothing to do yet, and one of a wrong account: the right one may follow.
#[test]
fn a_start_is_remembered_before_there_is_anything_to_do_and_binds_no_account() {
    let fake = Fake::new(|ask| Reply::by(0, ask.page(&[])));
    let lake = LakeDir::new();
    let first = start(60);
    let mistyped = ["sync", "--calls-per-minute", "0", "--lake", &lake.text(), "--from", &first].map(str::to_owned);
    run(program()
        .envs(fixed(Edition::Enterprise, &fake.address))
        .env("WDT_SID", "mistyped")
        .env("WDT_ACCOUNT", "wanxie2")
        .args(&mistyped))
    .expect_code(0);
    assert_eq!((fake.calls(), lake.manifests().len()), (0, 1));
    fake.sync(&lake, &[]).expect_code(0);
    fake.sync(&lake, &["--from", &start(DAY)]).expect_code(0);
    assert!(covered_to(&lake).is_some());
    run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
    assert!(lake.lease_is_free(), "{:?}", lake.files());
}

#[test]
fn a_start_in_the_future_is_a_usage_error() {
    let fake = Fake::new(|ask| Reply::by(0, ask.page(&[])));
    let lake = LakeDir::new();
    for command in ["sync", "plan"] {
        let future = start(-3_600);
        let arguments = [command, "--lake", &lake.text(), "--from", &future].map(str::to_owned);
        let said = run(program().envs(fixed(Edition::Enterprise, &fake.address)).args(&arguments)).expect_code(2);
        assert!(said.stderr.contains("in the future") && said.stderr.contains("hint: "), "{}", said.stderr);
        assert!(said.stdout.is_empty() && fake.calls() == 0 && !lake.path().exists());
    }
    fake.sync(&lake, &["--from", &start(DAY)]).expect_code(0);
    let calls = fake.calls();
    fake.sync(&lake, &["--from", &start(-3_600)]).expect_code(2);
    assert_eq!(fake.calls(), calls);
}

/// The flagship gateway, asked for one partly referenced requisition; calls that stop are answered by `stops`.
fn flagship(ask: &Ask, date: i64, stops: impl Fn() -> Reply) -> Reply {
    let is_fresh = (now().unix() - ask.timestamp()).abs() <= 120;
    if !is_fresh {
        return Reply::by(date, json!({"status": 7, "message": "timestamp"}));
    }
    if ask.parameters["method"].ends_with("stopForApi") {
        return stops();
    }
    let modified = now().plus_seconds(-30 * DAY).to_string();
    let detail = json!({"purchase_apply_no": "POA1", "rec_id": 1, "num": "10.0000", "ref_num": "4.0000"});
    let order = json!({"purchase_apply_no": "POA1", "status": 25, "modified": modified, "detail_list": [detail]});
    Reply::by(date, json!({"status": 0, "data": {"total_count": 1, "order_list": [order]}}))
}

fn stop(fake: &Fake, lake: &LakeDir) -> Said {
    let usual = [
        "stop",
        "--json",
        "--yes",
        "--calls-per-minute",
        "0",
        "--max-retry-time",
        "1s",
        "--lake",
        &lake.text(),
        "POA1",
    ];
    run(program().envs(fixed(Edition::Flagship, &fake.address)).args(usual))
}

/// A `Date` that is hours off neither makes a stop look spent nor signs one.
#[test]
fn a_stop_is_settled_when_both_clocks_are_past_its_time() {
    for date in [8 * 3_600, 700, -8 * 3_600, -700] {
        let fake = Fake::new(move |ask| flagship(ask, date, || Reply { status: 502, ..Reply::by(date, json!({})) }));
        let lake = LakeDir::new();
        let report = stop(&fake, &lake).expect_code(3).json();
        assert_eq!(report["requisitions"][0]["outcome"], "unknown", "{date}: {report}");
        let requested_at = time(&lake.manifests()[0]["intent"]["requested_at"]);
        assert!((requested_at.unix() - now().unix()).abs() <= 120, "{date}: signed for {requested_at}");
        let report = stop(&fake, &lake).expect_code(3).json();
        assert_eq!(report["requisitions"][0]["outcome"], "unknown", "{date}: its time has not passed: {report}");
        let results: Vec<Value> =
            lake.manifests().iter().filter_map(|manifest| manifest["results"].as_array().cloned()).flatten().collect();
        assert!(results.iter().all(|result| result["outcome"] == "unknown"), "{date}: {results:?}");
    }
}
