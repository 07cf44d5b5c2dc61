//! Limits, skew, faults, quarantine, an ERP that writes into the past: what a run does about each, and what it says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use wdt_lake::sandbox::{
    Applicant, Behaviour, Compression, Escapes, Fault, Options, PoisonKind, Requisition, Sandbox, SandboxClock,
    Scalars, generate,
};
use wdt_lake::{Again, CallPolicy, Edition, Interrupt, LeaseWait, Meter, SyncOptions};

use crate::support::{LakeDir, at, check_with_readers, erp, program, program_at, run, sync};

const JUNE: [&str; 4] = ["--from", "2026-06-01", "--to", "2026-06-30"];

fn hostile(requisitions: Vec<Requisition>, behaviour: Behaviour) -> Sandbox {
    hostile_of(Edition::Enterprise, requisitions, behaviour)
}

fn hostile_of(edition: Edition, requisitions: Vec<Requisition>, behaviour: Behaviour) -> Sandbox {
    Sandbox::start(Options { edition, requisitions, behaviour, ..Options::default() }).unwrap()
}

/// Lines of all quarantine files.
fn quarantined(lake: &LakeDir) -> Vec<Value> {
    let files = lake.files().into_iter().filter(|name| name.starts_with("_quarantine/"));
    files
        .flat_map(|name| {
            let text = std::fs::read_to_string(lake.path().join(name)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        })
        .collect()
}

#[test]
fn what_does_not_fit_is_set_aside_whole_and_comes_back_when_it_is_mended() {
    for edition in [Edition::Enterprise, Edition::Flagship] {
        is_set_aside_and_comes_back(edition);
    }
}

fn is_set_aside_and_comes_back(edition: Edition) {
    let mut requisitions = generate(21, 300, 25, at("2026-06-30 23:59:59"));
    let poisoned: Vec<(String, PoisonKind)> = PoisonKind::ALL
        .into_iter()
        .filter(|kind| !kind.fits())
        .enumerate()
        .map(|(place, kind)| {
            let victim = &mut requisitions[place * 9];
            kind.spoil(victim, edition);
            (victim.purchase_apply_no.to_string(), kind)
        })
        .collect();
    let sandbox = hostile_of(edition, requisitions, Behaviour::default());
    let lake = LakeDir::new();
    let refused = sync(&sandbox, &lake, &[&JUNE[..], &["--max-quarantine", "0"]].concat()).expect_code(7);
    assert!(refused.stderr.contains("--max-quarantine") && lake.holds_no_more_than_a_start(), "{}", refused.stderr);
    // The hint has the numbers to look at, and the limit to give.
    let (_, hint) =
        refused.stderr.split_once("hint: look at them by `wdt-lake get ").unwrap_or_else(|| panic!("{refused:?}"));
    let (numbers, rest) = hint.split_once("`; `--max-quarantine ").unwrap_or_else(|| panic!("{hint}"));
    let is_poisoned = |number: &str| poisoned.iter().any(|(poisoned, _)| poisoned == number);
    assert!(!numbers.is_empty() && numbers.split(' ').all(is_poisoned), "{numbers}");
    let limit: usize = rest.split('`').next().unwrap().parse().unwrap();
    assert!((1..=poisoned.len()).contains(&limit), "{hint}");

    let summary = sync(&sandbox, &lake, &JUNE).expect_code(3).json();
    assert_eq!(summary["rows"]["quarantined"], poisoned.len());
    let lines = quarantined(&lake);
    assert_eq!(lines.len(), poisoned.len());
    let world = sandbox.world().lock();
    for line in &lines {
        for name in ["reason", "message", "raw", "window", "page_no", "run_id"] {
            assert!(!line[name].is_null(), "{name}: {line}");
        }
        let raw = line["raw"].as_str().unwrap();
        let sent = world.journal().versions().iter().any(|version| version.to_json(sandbox.dialect()) == raw);
        assert!(sent, "the raw text is byte for byte what was sent: {raw}");
    }
    // Everything else landed, and nothing of what was set aside did.
    let fits = |number: &str| !poisoned.iter().any(|(other, _)| other == number);
    let sound: Vec<_> = world
        .journal()
        .versions()
        .iter()
        .filter(|version| fits(&version.requisition.purchase_apply_no))
        .cloned()
        .collect();
    drop(world);
    check_with_readers(&sandbox, &lake, &sound);
    let status = run(program().args(["status", "--lake", &lake.text()])).expect_code(0);
    assert!(status.stdout.contains(&format!("{} records", poisoned.len())), "{}", status.stdout);

    // Whoever mends a record in place keeps its modified time; the windows are walked again on demand.
    {
        let mut world = sandbox.world().lock();
        for (number, _) in &poisoned {
            let Some(modified) = world.find(number).map(|found| found.modified) else { continue };
            world.edit_at(number, modified, |requisition| {
                requisition.overrides.clear();
                requisition.details.iter_mut().for_each(|detail| detail.overrides.clear());
            });
        }
    }
    let summary = sync(&sandbox, &lake, &[&JUNE[..], &["--refresh-quarantined"]].concat()).expect_code(0).json();
    assert!(summary["refreshed"].as_u64().unwrap() > 0);
    assert!(quarantined(&lake).is_empty(), "{:?}", quarantined(&lake));
    let current = sandbox
        .world()
        .lock()
        .journal()
        .versions()
        .iter()
        .filter(|version| version.died.is_none())
        .cloned()
        .collect::<Vec<_>>();
    check_with_readers(&sandbox, &lake, &current);
}

#[test]
fn an_erp_that_writes_into_the_past_is_caught_by_the_lookback_and_nothing_is_forgotten() {
    let sandbox = erp(400, 28, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    // Three commits, the last of which the lookback touches.
    sync(&sandbox, &lake, &["--from", "2026-06-03", "--to", "2026-06-20"]).expect_code(0);
    sync(&sandbox, &lake, &["--to", "2026-06-25"]).expect_code(0);
    sync(&sandbox, &lake, &["--to", "2026-06-30"]).expect_code(0);
    let before: Vec<_> = sandbox.world().lock().journal().versions().to_vec();
    {
        let mut world = sandbox.world().lock();
        // A late import lands in a covered window, another requisition leaves one.
        let mut late = Requisition::plain(8_000_001, "POA202606280999", at("2026-06-28 09:00:00"));
        late.remark = "补录".into();
        world.add_as_is(late);
        let leaver = world
            .requisitions()
            .find(|one| one.modified > at("2026-06-27 00:00:00"))
            .unwrap()
            .purchase_apply_no
            .clone();
        world.edit_at(&leaver, at("2026-07-03 12:00:00"), |requisition| requisition.remark = "later".into());
    }
    let plain = sync(&sandbox, &lake, &["--to", "2026-06-30"]).expect_code(0).json();
    assert_eq!(plain["calls"], 0, "without a lookback a covered range stays as it is");
    let summary = sync(&sandbox, &lake, &["--to", "2026-06-30", "--lookback", "4d"]).expect_code(0).json();
    assert_eq!(summary["refreshed"], 1);
    let mut expected = before;
    expected.extend(sandbox.world().lock().journal().history("POA202606280999").cloned());
    check_with_readers(&sandbox, &lake, &expected);
    let proof = lake.manifests().last().unwrap()["proof"].clone();
    // The requisition that left is not returned, and stays with those that did not change.
    let of_touched = lake.manifests().iter().rev().nth(1).unwrap()["proof"]["rows_landed"].clone();
    assert_eq!((&proof["rows_carried"], &proof["rows_landed"]), (&of_touched, &1.into()), "{proof}");
    // Once more, and all of it: nothing has changed, and nothing is written.
    let files = lake.files();
    let summary = sync(&sandbox, &lake, &["--to", "2026-06-30", "--lookback", "60d"]).expect_code(0).json();
    assert_eq!((summary["refreshed"].as_u64(), lake.files()), (Some(0), files));
}

#[test]
fn a_row_that_enters_a_walked_window_voids_the_walk() {
    let sandbox = hostile(generate(22, 300, 20, at("2026-06-30 23:59:59")), Behaviour::default());
    sandbox.before_call(|world, call| {
        let late =
            Requisition::plain(7_000_000 + call.nth as i64, &format!("LATE{}", call.nth), at("2026-06-20 00:00:00"));
        world.add_as_is(late);
    });
    let lake = LakeDir::new();
    let said = sync(&sandbox, &lake, &JUNE).expect_code(7);
    assert!(said.stderr.contains("rose") && said.stderr.contains("--lag"), "{}", said.stderr);
    assert!(lake.holds_no_more_than_a_start());
}

#[test]
fn a_window_whose_budget_is_spent_is_named_and_the_next_run_fills_it() {
    // One second of 300 requisitions whose order is random at every call, and not a pass to spare: that cannot be
    // proved.
    let mut requisitions = generate(23, 500, 28, at("2026-06-30 23:59:59"));
    for requisition in &mut requisitions[..300] {
        requisition.modified = at("2026-06-10 10:00:00");
        requisition.created = requisition.created.min(requisition.modified);
    }
    let behaviour = Behaviour { order: "shuffled-ties".parse().unwrap(), ..Behaviour::default() };
    let sandbox = hostile(requisitions, behaviour);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (store, account) = (wdt_lake::Store::memory(), crate::support::account(&sandbox));
    let options = |passes| SyncOptions {
        from: Some(at("2026-06-01 00:00:00")),
        to: Some(at("2026-06-30 23:59:59")),
        page_size: 10,
        calls: CallPolicy { calls_per_minute: 0, ..CallPolicy::default() },
        limits: wdt_lake::Limits { max_passes: passes, ..Default::default() },
        wait: LeaseWait::No,
        again: Again::None,
        ..SyncOptions::default()
    };
    runtime.block_on(async {
        let clock = Arc::new(wdt_lake::SystemClock);
        let sync = |options: SyncOptions| {
            let (account, store, clock) = (account.clone(), store.clone(), clock.clone());
            async move {
                wdt_lake::sync(&account, store, &options, clock, Interrupt::never(), &Meter::default()).await.unwrap()
            }
        };
        let report = sync(options(2)).await;
        assert_eq!(report.exit_code(), 7);
        assert!(
            report.gaps.iter().any(|gap| gap.error.to_string().contains("2026-06-10 10:00:00")),
            "{:?}",
            report.gaps
        );
        assert!(report.windows > 0, "the other windows went on");
        let report = sync(options(25)).await;
        assert_eq!((report.exit_code(), report.gaps.len()), (0, 0), "{:?}", report.gaps);
    });
    runtime.block_on(crate::completeness::check(&sandbox, &store, 23));
}

#[test]
fn answers_of_every_shape_are_understood_over_the_wire() {
    let shapes = [
        Behaviour { compression: Compression::Gzip, ..Behaviour::default() },
        Behaviour { scalars: Scalars::Numbers, ..Behaviour::default() },
        Behaviour { applicant: Applicant::Table, escapes: Escapes::Php, ..Behaviour::default() },
    ];
    let editions = [Edition::Enterprise, Edition::Flagship];
    for (behaviour, edition) in shapes.iter().flat_map(|behaviour| editions.map(|edition| (behaviour, edition))) {
        let requisitions = generate(24, 250, 20, at("2026-06-30 23:59:59"));
        let sandbox = hostile_of(edition, requisitions, behaviour.clone());
        let lake = LakeDir::new();
        sync(&sandbox, &lake, &JUNE).expect_code(0);
        // The script reads text; the journal sends text however the gateway was told to.
        sandbox.behave(|behaviour| *behaviour = Behaviour::default());
        check_with_readers(&sandbox, &lake, sandbox.world().lock().journal().versions());
    }
}

#[test]
fn a_clock_that_is_off_is_corrected_once_and_the_servers_clock_ends_the_range() {
    let now = wdt_lake::Clock::now(&wdt_lake::SystemClock);
    for (server, skew) in [(at("2026-06-29 12:00:00"), "behind"), (now.plus_seconds(7_200), "ahead")] {
        let clock = SandboxClock::held(server);
        let requisitions = generate(25, 150, 20, at("2026-06-28 23:59:59"));
        let sandbox = Sandbox::start(Options { requisitions, clock, ..Options::default() }).unwrap();
        let lake = LakeDir::new();
        let from = server.plus_seconds(-40 * 86_400).to_string();
        let summary = sync(&sandbox, &lake, &["--from", &from]).expect_code(0).json();
        // The server's clock stands; what the program makes of it goes on from the moment of the answer. A timestamp is
        // signed in whole seconds, so what was accepted may be a second behind.
        let end = summary["range"]["end"].as_str().unwrap();
        let since = |seconds: i64| server.plus_seconds(seconds - 300).rfc3339();
        assert!((-1..60).any(|seconds| end == since(seconds)), "the server is {skew}: {end}");
        let refused =
            sandbox.world().calls().iter().filter(|call| call.outcome != wdt_lake::sandbox::Outcome::Answered).count();
        assert_eq!(refused, 1, "one refusal, one correction");
        let checked = run(program_at(&sandbox).args(["check"])).expect_code(0);
        assert!(checked.stderr.contains("this machine's clock is"), "{}", checked.stderr);
    }
}

#[test]
fn check_says_whether_the_account_may_call() {
    let sandbox = erp(10, 5, "2026-06-30 23:59:59");
    let good = run(program_at(&sandbox).args(["check", "--json"])).expect_code(0).json();
    assert_eq!((&good["edition"], &good["calls"]), (&Value::from("enterprise"), &Value::from(1)));
    let text = run(program_at(&sandbox).arg("check")).expect_code(0);
    assert!(text.stdout.contains("accepts the account"), "{}", text.stdout);
    run(program_at(&sandbox).arg("check").env("WDT_APPSECRET", "no")).expect_code(4);
    sandbox.next_faults([Some(Fault::Business { code: 9, message: "权限不足".to_owned() })]);
    run(program_at(&sandbox).arg("check")).expect_code(4);
    // A rule of the user's is stronger than the table.
    sandbox.next_faults([Some(Fault::Business { code: 9, message: "权限不足".to_owned() })]);
    run(program_at(&sandbox).arg("check").env("WDT_REFUSALS", "9=business")).expect_code(7);
    run(program_at(&sandbox).arg("check").env("WDT_REFUSALS", "9")).expect_code(2);
}

#[test]
fn plan_prints_what_sync_would_walk() {
    let sandbox = erp(2_000, 55, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    let arguments =
        ["plan", "--json", "--lake", &lake.text(), "--from", "2026-05-07", "--to", "2026-06-30"].map(str::to_owned);
    let planned = run(program_at(&sandbox).args(&arguments)).expect_code(0).json();
    assert_eq!(planned["rows"], 2_000);
    let windows = planned["windows"].as_array().unwrap().len() as u64;
    assert!(planned["calls"].as_u64().unwrap() <= windows, "one call a window at most");
    assert!(!lake.path().exists(), "a plan makes no lake");
    let offline = run(program_at(&sandbox).args(&arguments).arg("--offline")).expect_code(0).json();
    assert_eq!((&offline["calls"], &offline["rows"]), (&Value::from(0), &Value::Null), "nothing is known");

    let before = sandbox.world().calls().len();
    sync(&sandbox, &lake, &["--from", "2026-05-07", "--to", "2026-06-15"]).expect_code(0);
    let whole = sync(&sandbox, &lake, &["--to", "2026-06-30"]).expect_code(0).json();
    let spent = (sandbox.world().calls().len() - before) as u64;
    assert!(spent <= planned["estimated_calls"].as_u64().unwrap() + 2, "{spent} calls, planned {planned}");
    assert!(whole["calls"].as_u64().unwrap() > 0);
    let covered = run(program_at(&sandbox).args(&arguments[..4]).args(["--to", "2026-06-30"])).expect_code(0).json();
    assert_eq!(covered["windows"], Value::Array(vec![]));
    let text = run(program_at(&sandbox).args(["plan", "--offline", "--lake", &lake.text(), "--to", "2026-07-10"]))
        .expect_code(0);
    assert!(text.stdout.contains("2026-07-01 00:00:00 .. 2026-07-10 23:59:59"), "{}", text.stdout);
    assert!(text.stdout.contains("minute"), "{}", text.stdout);
}

/// Only where nothing stands there is a lake yet to be made.
#[test]
fn a_place_that_cannot_hold_a_lake_is_not_taken_for_a_new_one() {
    let (sandbox, place) = (erp(20, 5, "2026-06-30 23:59:59"), LakeDir::new());
    std::fs::write(place.path(), "a file").unwrap();
    for lake in [place.text(), format!("{}/lake", place.text())] {
        for command in ["plan", "sync"] {
            let said = run(program_at(&sandbox).args([command, "--lake", &lake]).args(JUNE)).expect_code(6);
            assert!(said.stderr.contains(&lake) && said.stderr.contains("hint: "), "{}", said.stderr);
        }
    }
    assert!(sandbox.world().calls().is_empty(), "no call is spent");
}

/// The sandbox counts a sliding minute of its own: at the default rate limit it refuses nobody. This takes a minute, of
/// waiting.
#[test]
fn the_default_rate_limit_is_never_refused_by_a_limit_of_sixty() {
    let behaviour = Behaviour { calls_per_minute: Some(60), ..Behaviour::default() };
    let sandbox = hostile(generate(26, 640, 25, at("2026-06-30 23:59:59")), behaviour);
    let lake = LakeDir::new();
    let said =
        run(program_at(&sandbox).args(["sync", "--json", "--lake", &lake.text(), "--page-size", "10"]).args(JUNE))
            .expect_code(0);
    assert!(said.json()["calls"].as_u64().unwrap() > 60, "the limit was in reach");
    let refused =
        sandbox.world().calls().iter().filter(|call| call.outcome != wdt_lake::sandbox::Outcome::Answered).count();
    assert_eq!(refused, 0);
}

#[test]
fn a_limit_of_calls_at_once_is_learned() {
    for edition in [Edition::Enterprise, Edition::Flagship] {
        let latency = "20ms".parse().unwrap();
        let behaviour = Behaviour { max_concurrency: Some(1), latency, ..Behaviour::default() };
        let sandbox = hostile_of(edition, generate(27, 300, 25, at("2026-06-30 23:59:59")), behaviour);
        let lake = LakeDir::new();
        sync(&sandbox, &lake, &[&JUNE[..], &["--page-size", "20", "--concurrency", "3"]].concat()).expect_code(0);
        let calls = sandbox.world().calls();
        let refused = calls.iter().filter(|call| call.outcome != wdt_lake::sandbox::Outcome::Answered).count();
        assert!(refused * 3 < calls.len(), "{refused} of {} calls were refused", calls.len());
    }
}

/// A gateway of which the answers are fixed, for the vendor's own examples.
pub(crate) fn answering(body: &'static [u8]) -> (String, std::thread::JoinHandle<()>) {
    answering_times(body, usize::MAX)
}

/// The same for so many calls; after them nobody listens.
pub(crate) fn answering_times(body: &'static [u8], calls: usize) -> (String, std::thread::JoinHandle<()>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/openapi2", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().take(calls) {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // To the last byte: a connection that is closed before that is reset, and the answer with it.
            while !is_whole(&request) {
                match stream.read(&mut buffer).unwrap_or(0) {
                    0 => break,
                    read => request.extend_from_slice(&buffer[..read]),
                }
            }
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    (address, server)
}

/// Whether an HTTP request with a `Content-Length` is there to its end.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

/// The environment of an account of the gateway at `address`.
pub(crate) fn fixed(edition: Edition, address: &str) -> BTreeMap<&'static str, String> {
    [
        ("WDT_EDITION", edition.name()),
        ("WDT_SID", "wanxie2"),
        ("WDT_APPKEY", "k"),
        ("WDT_APPSECRET", "s:t"),
        ("WDT_BASE_URL", address),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

#[test]
fn the_vendors_own_answers_go_through_the_program() {
    let (address, _server) = answering(include_bytes!("fixtures/enterprise_example.json"));
    let said = run(program().envs(fixed(Edition::Enterprise, &address)).args(["get", "--json", "POA202005190001"]))
        .expect_code(0)
        .json();
    let found = &said["requisitions"][0];
    for (name, value) in [
        ("purchase_apply_no", Value::from("POA202005190001")),
        ("apply_id", 118.into()),
        ("status", 30.into()),
        ("status_name", "referenced".into()),
        ("createor_name", "wanxie2-test".into()),
        ("real_num", "200.0000".into()),
        ("unref_num", "0.0000".into()),
        ("expected_time", Value::Null),
        ("modified", "2020-05-19T11:57:04+08:00".into()),
        ("detail_count", 2.into()),
        ("extra", Value::Null),
    ] {
        assert_eq!(found[name], value, "{name}");
    }
    assert_eq!(found["details"][1]["goods_name"], "demlution test product 2");

    // The example says 7 requisitions and gives one. That is no proof, so nothing is committed.
    let lake = LakeDir::new();
    let arguments =
        ["sync", "--lake", &lake.text(), "--from", "2020-05-01", "--to", "2020-05-31", "--calls-per-minute", "0"]
            .map(str::to_owned);
    let said = run(program().envs(fixed(Edition::Enterprise, &address)).args(&arguments)).expect_code(7);
    assert!(lake.holds_no_more_than_a_start(), "{}", said.stdout);

    let (address, _server) = answering(include_bytes!("fixtures/enterprise_error_2180.json"));
    let said = run(program().envs(fixed(Edition::Enterprise, &address)).args(&arguments)).expect_code(7);
    assert!(said.stderr.contains("2180") && said.stderr.contains("时间跨度不能超过最大范围30天"), "{}", said.stderr);
}

#[test]
fn a_body_that_never_ends_does_not_hang_the_run() {
    let sandbox = hostile(generate(28, 50, 20, at("2026-06-30 23:59:59")), Behaviour::default());
    sandbox.next_faults([Some(Fault::Hang), Some(Fault::Silence)]);
    let lake = LakeDir::new();
    let began = std::time::Instant::now();
    sync(&sandbox, &lake, &[&JUNE[..], &["--timeout", "1s"]].concat()).expect_code(0);
    assert!(began.elapsed() < Duration::from_secs(60), "two tries of a second, and their delays");
}

/// What a run was asked for and could not prove is not forgotten by a later run that is told no start.
#[test]
fn a_gap_at_the_very_start_is_walked_again_without_from() {
    let sandbox = hostile(generate(29, 600, 55, at("2026-06-30 23:59:59")), Behaviour::default());
    sandbox.choose_faults(|call| {
        let is_may = call.window.is_some_and(|window| window.start() < at("2026-06-01 00:00:00"));
        is_may.then(|| Fault::Business { code: 9, message: "五月不行".to_owned() })
    });
    let lake = LakeDir::new();
    let said = sync(&sandbox, &lake, &["--from", "2026-05-07", "--to", "2026-06-30"]).expect_code(7);
    assert!(said.stderr.contains("2026-05-07 00:00:00"), "{}", said.stderr);
    let status = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
    assert_eq!(status["accounts"][0]["gaps"][0]["start"], "2026-05-07T00:00:00+08:00");
    sandbox.choose_faults(|_| None);
    sync(&sandbox, &lake, &["--to", "2026-06-30"]).expect_code(0);
    check_with_readers(&sandbox, &lake, sandbox.world().lock().journal().versions());
}

#[test]
fn an_empty_tail_of_less_than_an_hour_makes_no_commit() {
    let now = wdt_lake::Clock::now(&wdt_lake::SystemClock);
    let clock = SandboxClock::default();
    clock.set_skew(-20);
    let requisitions = generate(30, 40, 3, now.plus_seconds(-7_200));
    let sandbox = Sandbox::start(Options { requisitions, clock, ..Options::default() }).unwrap();
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &["--from", &now.plus_seconds(-5 * 86_400).to_string()]).expect_code(0);
    let commits = lake.manifests().len();
    sync(&sandbox, &lake, &["--lag", "4m"]).expect_code(0);
    sync(&sandbox, &lake, &["--lag", "3m"]).expect_code(0);
    assert_eq!(lake.manifests().len(), commits, "minutes without a row are asked again, not committed");
}

/// A gateway that repeats the signature in its refusal, and one that writes a byte order mark.
#[test]
fn a_signature_that_the_server_repeats_is_not_said() {
    let (address, _server) = answering(b"\xEF\xBB\xBF{\"code\":9,\"message\":\"no\\nway\"}");
    let said = run(program().envs(fixed(Edition::Enterprise, &address)).arg("check")).expect_code(7);
    assert!(said.stderr.contains("code 9: no way"), "{}", said.stderr);
}
