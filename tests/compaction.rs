//! A lake that is fed in small runs: its commits are put together, and nothing else about it changes.

use serde_json::{Value, json};
use wdt_lake::FAIL_POINTS;
use wdt_lake::sandbox::{Options, PoisonKind, Requisition, Sandbox, SandboxClock, generate};

use crate::stop::{of, partly, status, stop, stop_calls};
use crate::support::committed::{assert_nothing_left, coverage};
use crate::support::s3::S3Server;
use crate::support::{LakeDir, Said, at, check_with_readers, erp, program, program_at, run, sync};

const RUNS: u32 = 20;

/// The lake after a run for each day of June, none of which puts anything together.
fn fed(sandbox: &Sandbox, arguments: &[&str]) -> LakeDir {
    let lake = LakeDir::new();
    for day in 1..=RUNS {
        let to = format!("2026-06-{day:02}");
        let said =
            sync(sandbox, &lake, &[&["--from", "2026-06-01", "--to", &to, "--compact", "off"], arguments].concat());
        assert!([0, 3].contains(&said.code), "{said:?}");
    }
    lake
}

fn compact(lake: &LakeDir, arguments: &[&str]) -> Value {
    run(program().args(["compact", "--json", "--lake", &lake.text()]).args(arguments)).expect_code(0).json()
}

fn verify(lake: &LakeDir) -> Said {
    run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0)
}

fn parquet_files(lake: &LakeDir) -> usize {
    lake.files().iter().filter(|name| name.ends_with(".parquet")).count()
}

#[test]
fn a_month_that_is_over_is_put_together_and_reads_the_same() {
    let sandbox = erp(400, RUNS, "2026-06-20 23:59:59");
    let lake = fed(&sandbox, &[]);
    let (files, covered, manifests) = (parquet_files(&lake), coverage(&lake), lake.manifests().len());
    assert!(files >= 2 * RUNS as usize - 4, "{files}");

    let planned = compact(&lake, &["--dry-run"]);
    let steps = planned["accounts"][0]["steps"].as_array().unwrap().clone();
    assert_eq!((steps.len(), &steps[0]["commits"], steps[0]["files"].as_u64()), (1, &json!(RUNS), Some(files as u64)));
    assert_eq!(lake.manifests().len(), manifests, "it only shows");

    let done = compact(&lake, &[]);
    assert_eq!((&done["accounts"][0]["into"], &done["accounts"][0]["steps_left"]), (&json!(1), &json!(0)), "{done}");
    assert_eq!((parquet_files(&lake), coverage(&lake)), (2, covered));
    check_with_readers(&sandbox, &lake, sandbox.world().lock().journal().versions());
    assert_nothing_left(&lake, "compacted");
    crate::manifest::assert_follow_their_schema(&lake.whole_manifests());
    verify(&lake);
    let commit = lake.whole_manifests().last().unwrap()["commits"][0].clone();
    assert_eq!((&commit["kind"], &commit["compacted"]), (&json!("compaction"), &json!(RUNS)));
    assert_eq!(compact(&lake, &[])["accounts"][0]["into"], 0, "once");
    let text = run(program().args(["compact", "--lake", &lake.text()])).expect_code(0).stdout;
    assert_eq!(text, "sandbox: nothing is worth to be put together\n");
    assert_eq!(sync(&sandbox, &lake, &["--to", "2026-06-20"]).expect_code(0).json()["calls"], 0);
}

#[test]
fn a_sync_puts_together_at_its_end_what_others_left() {
    let sandbox = erp(200, RUNS, "2026-06-20 23:59:59");
    let lake = fed(&sandbox, &[]);
    // One that fetches nothing does, too.
    let copy = lake.copy();
    let idle = sync(&sandbox, &copy, &["--to", "2026-06-20"]).expect_code(0).json();
    assert_eq!((&idle["calls"], &idle["compacted"]["commits"]), (&json!(0), &json!(RUNS)), "{idle}");
    let summary = sync(&sandbox, &lake, &["--to", "2026-06-21"]).expect_code(0).json();
    assert_eq!(summary["compacted"]["commits"], RUNS + 1, "{summary}");
    for lake in [&lake, &copy] {
        assert_eq!(parquet_files(lake), 2);
        check_with_readers(&sandbox, lake, sandbox.world().lock().journal().versions());
        assert_nothing_left(lake, "compacted");
        verify(lake);
    }
    // No time for it, or no wish: the next run goes on.
    let (late, off) = (fed(&sandbox, &[]), fed(&sandbox, &[]));
    let late = sync(&sandbox, &late, &["--to", "2026-06-20", "--compact-time", "0s"]).expect_code(0).json();
    assert_eq!((&late["compacted"]["into"], &late["compacted"]["steps_left"]), (&json!(0), &json!(1)), "{late}");
    let off = sync(&sandbox, &off, &["--to", "2026-06-20", "--compact", "off"]).expect_code(0).json();
    assert_eq!((&off["compacted"]["into"], &off["compacted"]["steps_left"]), (&json!(0), &json!(0)), "{off}");
}

/// Quarantined records and responses stay where they are; a refresh walks what was asked for, and not the month.
#[test]
fn quarantine_responses_and_refreshes_are_as_before() {
    let mut requisitions = generate(21, 400, RUNS, at("2026-06-20 23:59:59"));
    PoisonKind::ALL
        .into_iter()
        .find(|kind| !kind.fits())
        .unwrap()
        .spoil(&mut requisitions[200], wdt_lake::Edition::Enterprise);
    let poisoned = requisitions[200].purchase_apply_no.clone();
    let sandbox = Sandbox::start(Options { requisitions, ..Options::default() }).expect("a sandbox");
    let lake = fed(&sandbox, &["--keep-raw"]);
    let kept =
        |lake: &LakeDir, root: &str| lake.files().into_iter().filter(|name| name.starts_with(root)).collect::<Vec<_>>();
    let (quarantine, raw) = (kept(&lake, "_quarantine/"), kept(&lake, "_raw/"));
    assert_eq!(quarantine.len(), 1);
    compact(&lake, &[]);
    assert_eq!((kept(&lake, "_quarantine/"), kept(&lake, "_raw/")), (quarantine, raw));
    verify(&lake);
    let status = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
    assert_eq!(status["accounts"][0]["rows"]["quarantined"], 1, "{status}");

    // A lake that is rebuilt from the responses holds the same requisitions.
    let rebuilt = LakeDir::new();
    run(program().args(["replay", "--json", "--from-raw", &lake.text(), "--lake", &rebuilt.text()])).expect_code(3);
    assert_eq!(coverage(&rebuilt), coverage(&lake));
    verify(&rebuilt);

    // The record is still broken: its second is asked for, nothing is written. Then it is mended.
    let again = ["--to", "2026-06-20", "--refresh-quarantined", "--keep-raw"];
    let manifests = lake.manifests().len();
    let summary = sync(&sandbox, &lake, &again).expect_code(3).json();
    assert!(summary["calls"].as_u64().unwrap() <= 2, "{summary}");
    assert_eq!(lake.manifests().len(), manifests);
    {
        let mut world = sandbox.world().lock();
        let modified = world.find(&poisoned).map(|found| found.modified);
        if let Some(modified) = modified {
            world.edit_at(&poisoned, modified, |requisition| {
                requisition.overrides.clear();
                requisition.details.iter_mut().for_each(|detail| detail.overrides.clear());
            });
        }
    }
    let summary = sync(&sandbox, &lake, &again).expect_code(0).json();
    assert!(summary["calls"].as_u64().unwrap() <= 2, "{summary}");
    assert!(kept(&lake, "_quarantine/").is_empty());
    // Late rows are found by a lookback, and land beside those that are carried over.
    {
        let mut world = sandbox.world().lock();
        world.add_as_is(Requisition::plain(8_000_001, "LATE", at("2026-06-20 20:00:00")));
    }
    let summary = sync(&sandbox, &lake, &["--to", "2026-06-20", "--lookback", "1d"]).expect_code(0).json();
    assert_eq!((&summary["refreshed"], &summary["rows"]["purchase_apply"]), (&json!(1), &json!(1)), "{summary}");
    let calls = summary["calls"].as_u64().unwrap();
    assert!(calls <= 3, "a day of twenty rows: {summary}");
    let current: Vec<_> = {
        let world = sandbox.world().lock();
        world.journal().versions().iter().filter(|version| version.died.is_none()).cloned().collect()
    };
    check_with_readers(&sandbox, &lake, &current);
    assert_nothing_left(&lake, "refreshed");
    verify(&lake);
}

/// Every death in a compaction is survived, and the next run goes on.
#[test]
#[cfg(all(unix, debug_assertions))]
fn death_in_a_compaction_is_survived() {
    let sandbox = erp(60, RUNS, "2026-06-20 23:59:59");
    let lake = fed(&sandbox, &[]);
    let mut died = 0;
    for point in FAIL_POINTS {
        for nth in 1..=3 {
            let lake = lake.copy();
            let about = format!("{point}@{nth}");
            let mut command = program();
            command.current_dir(lake.path().parent().unwrap()).args(["compact", "--lake", &lake.text()]);
            let said = run(command.env("WDT_LAKE_FAILPOINT", &about));
            died += usize::from(said.code == crate::crash::ABORTED);
            assert!([0, crate::crash::ABORTED].contains(&said.code), "{about}: {said:?}");
            if said.code != 0 && point == "put.staged" && nth == 1 {
                lake.forget_the_end();
            }
            sync(&sandbox, &lake, &["--to", "2026-06-20"]).expect_code(0);
            assert_eq!(parquet_files(&lake), 2, "{about}");
            crate::support::committed::assert_exact(&lake, sandbox.world().lock().journal().versions(), &about);
            assert_nothing_left(&lake, &about);
        }
    }
    assert!(died >= 12, "{died} deaths");
}

/// Both are done, and nothing is lost or doubled.
#[test]
fn two_compactions_at_once_do_no_harm() {
    let sandbox = erp(300, RUNS, "2026-06-20 23:59:59");
    let lake = fed(&sandbox, &[]);
    for _ in 0..6 {
        let lake = lake.copy();
        let start = || {
            let mut command = program();
            command.args(["compact", "--json", "--wait", "--lake", &lake.text()]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            command.spawn().expect("the program starts")
        };
        let both = [start(), start()].map(|child| child.wait_with_output().expect("it ends"));
        for output in both {
            assert!(output.status.success(), "{output:?}");
        }
        assert_eq!(parquet_files(&lake), 2);
        crate::support::committed::assert_exact(&lake, sandbox.world().lock().journal().versions(), "two at once");
        assert_nothing_left(&lake, "two at once");
    }
}

#[test]
fn a_bucket_is_compacted_with_and_without_conditional_put() {
    let (sandbox, server) = (erp(120, RUNS, "2026-06-20 23:59:59"), S3Server::start());
    for flags in [&[][..], &["--single-writer"]] {
        let lake = format!("s3://{}/lake", server.bucket());
        for day in 1..=8 {
            let mut command = program_at(&sandbox);
            command.envs(server.environment()).args(["sync", "--json", "--calls-per-minute", "0", "--lake", &lake]);
            command
                .args(["--from", "2026-06-01", "--to", &format!("2026-06-{day:02}"), "--compact", "off"])
                .args(flags);
            run(&mut command).expect_code(0);
        }
        let with_lake = |arguments: &[&str]| {
            run(program().envs(server.environment()).args(arguments).args(["--json", "--lake", &lake])).expect_code(0)
        };
        let before = with_lake(&["status"]).json()["accounts"][0]["rows"].clone();
        let done = with_lake(&[&["compact"], flags].concat()).json();
        assert_eq!((&done["accounts"][0]["commits"], &done["accounts"][0]["into"]), (&json!(8), &json!(1)), "{done}");
        assert_eq!(with_lake(&["status"]).json()["accounts"][0]["rows"], before);
        with_lake(&["verify", "--deep"]);
    }
}

/// The rows of stops move to one file; what was stopped is not stopped again.
#[test]
fn stops_are_put_together_and_still_known() {
    let numbers = ["POA1", "POA2", "POA3", "POA4", "POA5", "POA6"];
    let requisitions = numbers
        .iter()
        .zip(1..)
        .map(|(number, id)| Requisition { modified: at("2026-06-10 00:00:00"), ..partly(id, number, 9) });
    let clock = SandboxClock::held(at("2026-06-15 12:00:00"));
    let options = Options {
        edition: wdt_lake::Edition::Flagship,
        requisitions: requisitions.collect(),
        clock: clock.clone(),
        ..Options::default()
    };
    let (sandbox, lake) = (Sandbox::start(options).expect("a sandbox"), LakeDir::new());
    for number in numbers {
        stop(&sandbox, &lake, &["--yes", number]).expect_code(0);
        clock.advance(60);
    }
    let rows = |lake: &LakeDir| status(lake)["rows"]["stop_reference"].clone();
    assert_eq!((parquet_files(&lake), rows(&lake)), (6, json!(6)));
    let done = compact(&lake, &[]);
    assert_eq!((&done["accounts"][0]["commits"], &done["accounts"][0]["into"]), (&json!(6), &json!(1)), "{done}");
    assert_eq!((parquet_files(&lake), rows(&lake)), (1, json!(6)));
    verify(&lake);
    let calls = stop_calls(&sandbox);
    let report = stop(&sandbox, &lake, &[&["--yes"], &numbers[..]].concat()).expect_code(0).json();
    for number in numbers {
        assert_eq!(
            (&of(&report, number)["outcome"], &of(&report, number)["already_stopped"]),
            (&json!("stopped"), &json!(true))
        );
    }
    assert_eq!(stop_calls(&sandbox), calls);
    assert!(lake.lease_is_free() && lake.files().iter().all(|name| !name.starts_with("_staging/")));
}

/// A name that was mistyped must not become a lake that looks empty.
#[test]
fn nothing_is_made_of_a_lake_that_is_not_there() {
    let lake = LakeDir::new();
    for command in ["compact", "publish"] {
        let said = run(program().args([command, "--lake", &lake.text()])).expect_code(6);
        assert!(said.stderr.contains("there is no lake"), "{said:?}");
        assert!(!lake.path().exists());
    }
}
