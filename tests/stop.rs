//! Stop references by the real program against the flagship sandbox: what is shown, what is stopped, what is refused
//! before any call, and what everybody can read of it afterwards. Faults are tried in `stop_faults`, random worlds in
//! `stop_worlds`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use wdt_lake::Edition;
use wdt_lake::sandbox::{Detail, Options, Quantity, Requisition, Sandbox, SandboxClock, Status, StopEffect};
use wdt_lake::{BeijingTime, Clock as _, SystemClock};

use crate::support::fake::{Fake, ok};
use crate::support::{LakeDir, Said, erp_of, program, program_at, python, run};
use crate::under_fire::fixed;

pub(crate) const STOP: &str = "purchase.PurchaseApply.stopForApi";

/// A requisition of which 4 of 10 pieces are referenced, modified so many days ago.
pub(crate) fn partly(id: i64, number: &str, days_ago: i64) -> Requisition {
    let modified = SystemClock.now().plus_seconds(-days_ago * 86_400);
    let mut requisition = Requisition::plain(id, number, modified);
    requisition.status = Status::PartlyReferenced;
    requisition.details[0].ref_num = Quantity::pieces(4);
    requisition.sum_up();
    requisition
}

/// A flagship ERP with these requisitions, whose clock runs with the machine's.
pub(crate) fn flagship(requisitions: Vec<Requisition>) -> Sandbox {
    let clock = SandboxClock::default();
    Sandbox::start(Options { edition: Edition::Flagship, requisitions, clock, ..Options::default() }).expect("sandbox")
}

/// `stop` that gives up soon, with the report as JSON.
pub(crate) fn stopping(sandbox: &Sandbox, lake: &LakeDir, arguments: &[&str]) -> Command {
    let mut command = stopping_patiently(sandbox, lake, arguments);
    command.args(["--timeout", "2s", "--max-retry-time", "3s"]);
    command
}

/// `stop` that tries as long as it does by default.
pub(crate) fn stopping_patiently(sandbox: &Sandbox, lake: &LakeDir, arguments: &[&str]) -> Command {
    let mut command = program_at(sandbox);
    command.args(["stop", "--json", "--calls-per-minute", "0", "--lake", &lake.text()]).args(arguments);
    command
}

pub(crate) fn stop(sandbox: &Sandbox, lake: &LakeDir, arguments: &[&str]) -> Said {
    run(&mut stopping(sandbox, lake, arguments))
}

/// What a report says of one number.
#[track_caller]
pub(crate) fn of<'a>(report: &'a Value, number: &str) -> &'a Value {
    let all = report["requisitions"].as_array().expect("a list");
    all.iter().find(|one| one["purchase_apply_no"] == number).unwrap_or_else(|| panic!("{number} in {report}"))
}

/// How many calls were made of the method that stops.
pub(crate) fn stop_calls(sandbox: &Sandbox) -> usize {
    sandbox.world().calls().iter().filter(|call| call.method == STOP).count()
}

pub(crate) fn status(lake: &LakeDir) -> Value {
    run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json()["accounts"][0].clone()
}

pub(crate) fn verify(lake: &LakeDir) {
    run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
}

/// The lake as DuckDB joins it, and its views.
pub(crate) fn by_duckdb(lake: &LakeDir) -> Value {
    let said = run(program().args(["views", "--json", "--engine", "duckdb", "--lake", &lake.text()])).expect_code(0);
    let views = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(views.path(), &said.stdout).expect("written");
    let output = python::run("stops.py", &[&lake.text(), views.path().to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

pub(crate) fn days_ago(days: i64) -> String {
    SystemClock.now().plus_seconds(-days * 86_400).to_string()
}

pub(crate) fn sync_part(sandbox: &Sandbox, lake: &LakeDir, from: &str, to: &str) {
    let arguments = ["sync", "--calls-per-minute", "0", "--lake", &lake.text(), "--from", from, "--to", to];
    run(program_at(sandbox).args(arguments)).expect_code(0);
}

/// Brings the lake up to date with the ERP.
fn sync_all(sandbox: &Sandbox, lake: &LakeDir) -> Value {
    let (lake, from) = (lake.text(), days_ago(40));
    let arguments = ["sync", "--json", "--calls-per-minute", "0", "--lake", &lake, "--from", &from];
    run(program_at(sandbox).args(arguments)).expect_code(0).json()
}

#[test]
fn stops_are_made_and_recorded_and_the_next_sync_sees_them() {
    let sandbox = flagship(vec![
        partly(764, "POA2309040001", 30),
        partly(767, "POA2309130001", 12),
        Requisition { status: Status::Referenced, ..partly(768, "POA2309150001", 3) },
    ]);
    let lake = LakeDir::new();
    sync_part(&sandbox, &lake, &days_ago(40), &days_ago(1));
    let report = stop(&sandbox, &lake, &["--yes", "POA2309040001", "POA2309130001"]).expect_code(0).json();
    for number in ["POA2309040001", "POA2309130001"] {
        let told = of(&report, number);
        assert_eq!((&told["outcome"], &told["evidence"]), (&json!("stopped"), &json!("answer")), "{report}");
        let held = sandbox.world().lock().find(number).unwrap().status;
        assert_eq!(held, Status::Referenced);
    }
    assert_eq!(stop_calls(&sandbox), 1, "one call for both");

    // The lake's coverage ends a day ago: whether it may refuse by itself is a matter of seconds.
    let arguments = ["--yes", "--ignore-lake", "POA2309150001", "POA-NOBODY"];
    let refused = stop(&sandbox, &lake, &arguments).expect_code(3).json();
    let told = of(&refused, "POA2309150001");
    assert_eq!((&told["outcome"], &told["order_id"]), (&json!("refused"), &json!(768)));
    assert_eq!((&told["error"], &told["error_code"]), (&json!("采购申请单状态不是部分引用"), &json!(0)));
    assert_eq!(of(&refused, "POA-NOBODY")["outcome"], "refused");

    let kinds: Vec<Value> = lake.manifests().iter().map(|manifest| manifest["kind"].clone()).collect();
    assert_eq!(kinds[kinds.len() - 4..], ["stop_intent", "stop_result", "stop_intent", "stop_result"]);
    crate::manifest::assert_follow_their_schema(&lake.whole_manifests());
    assert_eq!(status(&lake)["pending_stops"], json!([]));
    verify(&lake);

    // The new versions are in the lake as soon as they are older than the lag.
    sandbox.world().clock().advance(600);
    assert_eq!(sync_all(&sandbox, &lake)["rows"]["purchase_apply"], 2);
    verify(&lake);
    let files =
        run(program().args(["files", "stop_reference", "--json", "--lake", &lake.text()])).expect_code(0).json();
    assert_eq!(files["files"].as_array().unwrap().len(), 2, "a refresh or sync leaves them alone");
    let joined = by_duckdb(&lake);
    let row = |number: &str, outcome: &str, evidence: &str, code: Value, before: i64, after: i64| {
        json!([number, outcome, evidence, code, before, after])
    };
    assert_eq!(
        joined["joined"],
        json!([
            row("POA2309040001", "stopped", "answer", Value::Null, 25, 30),
            row("POA2309130001", "stopped", "answer", Value::Null, 25, 30),
            row("POA2309150001", "refused", "answer", json!(0), 30, 30),
        ]),
        "the status before and after, by DuckDB"
    );
    let latest = json!([
        ["POA-NOBODY", "refused"],
        ["POA2309040001", "stopped"],
        ["POA2309130001", "stopped"],
        ["POA2309150001", "refused"]
    ]);
    assert_eq!(joined["latest"], latest);
    let names: Vec<&str> =
        joined["columns"].as_array().unwrap().iter().map(|column| column[0].as_str().unwrap()).collect();
    assert_eq!(
        names.join(" "),
        "purchase_apply_no requested_at outcome evidence error error_code order_id observed_status _run_id _commit_id account"
    );
    let kind =
        |name: &str| joined["columns"].as_array().unwrap().iter().find(|column| column[0] == name).unwrap()[1].clone();
    assert_eq!((kind("requested_at"), kind("order_id")), (json!("TIMESTAMP WITH TIME ZONE"), json!("BIGINT")));
}

#[test]
fn without_yes_it_shows_what_the_lake_knows_and_stops_nobody() {
    let sandbox = flagship(vec![partly(1, "POA1", 30), partly(2, "POA2", 3)]);
    let lake = LakeDir::new();
    let shown = stop(&sandbox, &lake, &["POA1"]).expect_code(0).json();
    assert_eq!(of(&shown, "POA1")["in_lake"], Value::Null);
    assert!(lake.files().is_empty(), "looking makes no lake");
    sync_all(&sandbox, &lake);
    let calls = sandbox.world().calls().len();
    let said = stop(&sandbox, &lake, &["POA1", "POA9", "POA1"]).expect_code(0);
    assert!(said.stderr.contains("POA1 was given more than once"), "{}", said.stderr);
    let shown = said.json();
    assert_eq!((&shown["called"], &shown["merged"]), (&json!(false), &json!(["POA1"])));
    let known = &of(&shown, "POA1")["in_lake"];
    let quantities = ["real_num", "ref_num", "open_num"].map(|name| known[name].as_str().unwrap().to_owned());
    assert_eq!(quantities, ["10.0000", "4.0000", "6.0000"], "from the details: flagship headers have none");
    assert_eq!((&known["status_name"], &known["age_days"]), (&json!("partly_referenced"), &json!(30)));
    assert_eq!(of(&shown, "POA9")["in_lake"], Value::Null);
    let text = run(program_at(&sandbox).args(["stop", "--lake", &lake.text(), "POA1"])).expect_code(0).stdout;
    for word in ["would stop 1 requisition", "--yes", "POA1  partly_referenced (25)", "open 6.0000", "30 days ago"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(sandbox.world().calls().len(), calls, "nothing was called");
}

#[test]
fn the_stale_are_found_in_a_lake_that_knows_the_present() {
    let mut other = partly(4, "POA4", 30);
    other.warehouse_no = "WH002".into();
    let sandbox = flagship(vec![
        partly(1, "POA1", 30),
        partly(2, "POA2", 3),
        Requisition { status: Status::Referenced, ..partly(3, "POA3", 30) },
        other,
        partly(5, "POA5", 30),
    ]);
    let lake = LakeDir::new();
    sync_all(&sandbox, &lake);
    // Modified again since: its old version is stale, the requisition is not.
    sandbox
        .world()
        .lock()
        .edit_at("POA5", SystemClock.now().plus_seconds(-86_400), |edited| edited.remark = "改".into());
    let lookback = ["--lookback", "40d"];
    run(program_at(&sandbox).args(["sync", "--calls-per-minute", "0", "--lake", &lake.text()]).args(lookback))
        .expect_code(0);

    let numbers = |arguments: &[&str]| -> Vec<String> {
        let shown = stop(&sandbox, &lake, arguments).expect_code(0).json();
        let all = shown["requisitions"].as_array().unwrap();
        all.iter().map(|one| one["purchase_apply_no"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(numbers(&["--stale", "14d"]), ["POA1", "POA4"]);
    assert_eq!(numbers(&["--stale", "14d", "--warehouse", "WH002"]), ["POA4"]);
    assert_eq!(numbers(&["--stale", "2d"]), ["POA1", "POA2", "POA4"]);
    assert_eq!(numbers(&["--stale", "31d"]), Vec::<String>::new());
    assert_eq!(stop_calls(&sandbox), 0);
    let report = stop(&sandbox, &lake, &["--stale", "14d", "--warehouse", "WH002", "--yes"]).expect_code(0).json();
    assert_eq!(of(&report, "POA4")["outcome"], "stopped");

    // A lake that ends long ago, one with a gap since, and none.
    let old = LakeDir::new();
    let until = SystemClock.now().plus_seconds(-26 * 3_600).to_string();
    sync_part(&sandbox, &old, &days_ago(40), &until);
    let said = stop(&sandbox, &old, &["--stale", "14d", "--yes"]).expect_code(2);
    assert!(said.stderr.contains("more than 24 hours ago") && said.stderr.contains("wdt-lake sync"), "{}", said.stderr);
    let gap = LakeDir::new();
    sync_part(&sandbox, &gap, &days_ago(2), &days_ago(0));
    sync_part(&sandbox, &gap, &days_ago(40), &days_ago(20));
    let said = stop(&sandbox, &gap, &["--stale", "14d", "--yes"]).expect_code(2);
    assert!(said.stderr.contains("does not cover"), "{}", said.stderr);
    stop(&sandbox, &LakeDir::new(), &["--stale", "14d", "--yes"]).expect_code(2);
    assert_eq!(stop_calls(&sandbox), 1);
}

#[test]
fn bad_input_is_refused_before_any_call() {
    let sandbox = flagship(vec![partly(1, "POA1", 30)]);
    let lake = LakeDir::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    std::fs::write(&path, "POA1\nPOA 2\n").unwrap();
    let empty = tempfile::NamedTempFile::new().unwrap();
    let long = "X".repeat(41);
    for (arguments, word) in [
        (vec!["--yes"], "required"),
        (vec!["--yes", ""], "an empty number"),
        (vec!["--yes", "POA1", " POA2"], "argument 2: whitespace"),
        (vec!["--yes", &long], "41 characters"),
        (vec!["--yes", "--file", &path], "line 2: whitespace in \"POA 2\""),
        (vec!["--yes", "--file", empty.path().to_str().unwrap()], "there is no number to stop"),
        (vec!["--yes", "--file", "/nowhere/at/all"], "cannot be read"),
        (vec!["--yes", "-"], "there is no number to stop"),
        (vec!["--yes", "-", "POA1"], "do not go together"),
        (vec!["--yes", "POA1", "--stale", "3d"], "cannot be used with"),
        (vec!["--yes", "--stale", "0d"], "zero makes no sense"),
        (vec!["--yes", "--stale", "30"], "write 90s, 5m, 2h or 30d"),
        (vec!["--yes", "--warehouse", "W", "POA1"], "--stale"),
    ] {
        let said = stop(&sandbox, &lake, &arguments).expect_code(2);
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    assert!(lake.files().is_empty() && sandbox.world().calls().is_empty(), "nothing was called or written");
}

#[test]
fn numbers_come_from_a_file_and_from_standard_input() {
    let sandbox = flagship(vec![partly(1, "POA1", 30), partly(2, "POA2", 30)]);
    let lake = LakeDir::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "\u{feff}POA1\r\n\r\n").unwrap();
    let report = stop(&sandbox, &lake, &["--yes", "--file", file.path().to_str().unwrap()]).expect_code(0).json();
    assert_eq!(of(&report, "POA1")["outcome"], "stopped");
    let mut command = stopping(&sandbox, &lake, &["--yes", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"POA2\nPOA2\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&of(&report, "POA2")["outcome"], &report["merged"]), (&json!("stopped"), &json!(["POA2"])));
}

#[test]
fn an_edition_without_the_method_is_told_so_at_once() {
    for edition in [Edition::Enterprise, Edition::Y] {
        let (sandbox, lake) = (erp_of(edition, 10, 5, "2026-06-30 23:59:59"), LakeDir::new());
        for arguments in [vec!["POA1"], vec!["--yes", "POA1"], vec!["--yes", "--stale", "3d"]] {
            let said = stop(&sandbox, &lake, &arguments).expect_code(2);
            assert!(said.stderr.contains("flagship (旗舰版) only"), "{}", said.stderr);
        }
        assert!(sandbox.world().calls().is_empty() && lake.files().is_empty());
    }
}

/// The two answers of the vendor's page, byte for byte.
#[test]
fn the_vendors_own_answers_to_a_stop_go_through_the_program() {
    let numbers = ["POA2309130001", "POA2309040001"];
    let stop_at = |answer: &'static [u8]| {
        // The queries before it find nothing.
        let fake = Fake::replying(move |request| match request.contains(STOP) {
            true => ok(answer),
            false => ok(br#"{"status":0,"data":{"total_count":0,"order_list":[]}}"#),
        });
        let lake = LakeDir::new();
        let mut command = program();
        command
            .envs(fixed(Edition::Flagship, &fake.url()))
            .args(["stop", "--json", "--yes", "--lake", &lake.text()])
            .args(numbers);
        (run(&mut command), lake)
    };
    let (said, lake) = stop_at(include_bytes!("fixtures/flagship_stop_done.json"));
    let report = said.expect_code(0).json();
    for number in numbers {
        assert_eq!(of(&report, number)["outcome"], "stopped");
    }
    assert_eq!(lake.manifests()[0]["intent"]["numbers"], json!(numbers));

    let (said, _lake) = stop_at(include_bytes!("fixtures/flagship_stop_failed.json"));
    let report = said.expect_code(3).json();
    for (number, order_id) in [("POA2309040001", 764), ("POA2309130001", 767)] {
        let told = of(&report, number);
        assert_eq!((&told["outcome"], &told["order_id"]), (&json!("refused"), &json!(order_id)));
        assert_eq!((&told["error"], &told["error_code"]), (&json!("采购申请单状态不是部分引用"), &json!(0)));
    }
}

#[test]
fn more_numbers_than_a_batch_are_stopped_batch_by_batch() {
    let numbers: Vec<String> = (0..120).map(|id| format!("POA{id:04}")).collect();
    let sandbox = flagship(numbers.iter().zip(1..).map(|(number, id)| partly(id, number, 9)).collect());
    let lake = LakeDir::new();
    let mut arguments = vec!["--yes"];
    arguments.extend(numbers.iter().map(String::as_str));
    stop(&sandbox, &lake, &arguments).expect_code(0);
    let world = sandbox.world().lock();
    let effects = world.journal().stops();
    assert_eq!((effects.len(), effects.iter().filter(|stop| stop.effect == StopEffect::Stopped).count()), (120, 120));
    let sizes =
        lake.manifests().into_iter().filter_map(|manifest| Some(manifest["intent"]["numbers"].as_array()?.len()));
    assert_eq!(sizes.collect::<Vec<_>>(), [50, 50, 20]);
}

/// A run that is at work holds up a stop only where two writers would harm each other.
#[test]
fn a_stop_waits_for_nobody_unless_there_must_be_one_writer() {
    let sandbox = flagship(vec![partly(1, "POA1", 30), partly(2, "POA2", 30)]);
    let lake = LakeDir::new();
    std::fs::create_dir_all(lake.path().join("_lease")).unwrap();
    let lease = lake.path().join("_lease/account=sandbox.json");
    let written_at = SystemClock.now().rfc3339();
    let held = json!({"run": "01999999-0000-7000-8000-000000000000", "written_at": written_at, "pid": 1});
    std::fs::write(&lease, held.to_string()).unwrap();
    stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(0);
    let alone = LakeDir::new();
    std::fs::create_dir_all(alone.path().join("_lease")).unwrap();
    std::fs::copy(&lease, alone.path().join("_lease/account=sandbox.json")).unwrap();
    let said = stop(&sandbox, &alone, &["--yes", "--single-writer", "POA2"]).expect_code(6);
    assert!(said.stderr.contains("another run is at work"), "{}", said.stderr);
    assert_eq!((stop_calls(&sandbox), alone.manifests().len()), (1, 0));
    std::fs::remove_file(alone.path().join("_lease/account=sandbox.json")).unwrap();
    stop(&sandbox, &alone, &["--yes", "--single-writer", "POA2"]).expect_code(0);
    assert_eq!(alone.manifests().len(), 2);
}

/// One detail more than referenced, so that the sum over the details counts and not any of them.
#[test]
fn what_is_open_is_the_sum_over_the_details() {
    let mut many = partly(1, "POA1", 30);
    many.details.push(Detail::plain(9_001, "SKU-2", Quantity(25_001)));
    many.sum_up();
    let sandbox = flagship(vec![many]);
    let lake = LakeDir::new();
    sync_all(&sandbox, &lake);
    let shown = stop(&sandbox, &lake, &["POA1"]).expect_code(0).json();
    assert_eq!(of(&shown, "POA1")["in_lake"]["open_num"], "8.5001");
    let modified = of(&shown, "POA1")["in_lake"]["modified"].as_str().unwrap().to_owned();
    assert!(BeijingTime::parse_rfc3339(&modified).is_some());
}

/// Right after a stop the lake shows the old status, because a run stays its lag behind the present: a sync says so,
/// and until when.
#[test]
fn a_sync_says_which_stops_the_lag_hides_yet() {
    let sandbox = flagship(vec![partly(764, "POA2309040001", 30), partly(767, "POA2309130001", 12)]);
    let lake = LakeDir::new();
    assert_eq!(sync_all(&sandbox, &lake)["hidden_stops"], Value::Null, "nothing was stopped");
    let report = stop(&sandbox, &lake, &["--yes", "POA2309040001", "POA2309130001"]).expect_code(0).json();
    let last = of(&report, "POA2309130001")["requested_at"].as_str().unwrap().to_owned();
    let last = BeijingTime::parse_rfc3339(&last).unwrap();
    for _ in 0..2 {
        let hidden = sync_all(&sandbox, &lake)["hidden_stops"].clone();
        let after = last.plus_seconds(300 + 60).rfc3339();
        assert_eq!(hidden, json!({"requisitions": 2, "visible_after": after}), "with calls or without");
    }
    let arguments = ["sync", "--calls-per-minute", "0", "--lake", &lake.text()];
    let text = run(program_at(&sandbox).args(arguments)).expect_code(0).stdout;
    let line = format!(
        "2 stopped requisitions not seen yet, because a run stays its lag behind the present: sync again after {}",
        last.plus_seconds(360)
    );
    assert!(text.contains(&line), "{text}");
    // An end that was typed was not meant to show them.
    let to = days_ago(1);
    let summary = run(program_at(&sandbox).args(arguments).args(["--json", "--to", &to])).expect_code(0).json();
    assert_eq!(summary["hidden_stops"], Value::Null);
    // When they are seen nothing is said any more: the gateway's own clock says that their lag is over.
    sandbox.world().clock().advance(600);
    let seen = run(program_at(&sandbox).args(arguments).args(["--json", "--lag", "1s"])).expect_code(0).json();
    assert_eq!((&seen["rows"]["purchase_apply"], &seen["hidden_stops"]), (&2.into(), &Value::Null), "{seen}");
}
