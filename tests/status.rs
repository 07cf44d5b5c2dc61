//! `status` says how far the ERP was asked, when a sync last succeeded, and when that is not known.

use serde_json::{Value, json};
use wdt_lake::sandbox::Sandbox;

use crate::support::{LakeDir, at, erp, program, program_at, run, sync};

fn account(lake: &LakeDir) -> Value {
    let json = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
    let accounts = json["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 1, "{json}");
    accounts[0].clone()
}

/// Compares what it says with a snapshot, but for what differs from run to run.
fn assert_says(name: &str, lake: &LakeDir) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"20[0-9]{2}-[0-9-]{5} [0-9:]{8}(\n +run)", "[now]$1");
    settings.add_filter(r"(succeeded   at|commit sync at|seen at) [0-9-]{10} [0-9:]{8}", "$1 [now]");
    settings.add_filter(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[run]");
    settings.add_filter(r"127\.0\.0\.1(:\d+)?", "[server]");
    let said = run(program().args(["status", "--lake", &lake.text()])).expect_code(0);
    assert_eq!(said.stderr, "");
    settings.bind(|| insta::assert_snapshot!(name, said.stdout));
}

/// A lake whose last run asked for half an hour in which nothing happened.
fn with_empty_tail(sandbox: &Sandbox) -> LakeDir {
    let lake = LakeDir::new();
    sync(sandbox, &lake, &["--from", "2026-06-20", "--to", "2026-06-30"]).expect_code(0);
    sync(sandbox, &lake, &["--to", "2026-07-01 00:30:00"]).expect_code(0);
    lake
}

#[test]
fn an_empty_end_is_checked_and_not_covered() {
    let lake = with_empty_tail(&erp(60, 10, "2026-06-30 23:59:59"));
    let account = account(&lake);
    assert_eq!(account["coverage"][0]["end"], "2026-06-30T23:59:59+08:00", "{account}");
    assert_eq!(account["checked_until"], "2026-07-01T00:30:00+08:00");
    assert_eq!(account["last_end"]["is_last"], true);
    assert_eq!(account["last_success_at"], account["last_end"]["ended_at"]);
    for nothing in ["at_work", "kept_until"] {
        assert!(account[nothing].is_null(), "{account}");
    }
    assert_eq!((&account["kept_objects"], account["expired"].as_array().map(Vec::len)), (&0.into(), Some(0)));
    assert_says("a_run_that_succeeded", &lake);
}

#[test]
fn a_run_that_fails_is_no_success_and_one_that_dies_has_no_known_end() {
    let sandbox = erp(60, 10, "2026-06-30 23:59:59");
    let lake = with_empty_tail(&sandbox);
    let before = account(&lake);
    let path = lake.text();
    let next = |end| ["sync", "--calls-per-minute", "0", "--lake", &path, "--to", end];
    let mut refused = program_at(&sandbox);
    let said = run(refused.args(next("2026-07-01 12:00:00")).env("WDT_APPSECRET", "wrong"));
    assert_ne!(said.code, 0, "{}", said.stderr);
    let after = account(&lake);
    assert_ne!(before["last_end"]["run"], after["last_end"]["run"], "it ended, and left nothing over");
    for kept in ["last_success_at", "checked_until"] {
        assert_eq!(before[kept], after[kept], "{kept}");
    }

    let mut dying = program_at(&sandbox);
    let died = run(dying.args(next("2026-07-02 12:00:00")).env("WDT_LAKE_FAILPOINT", "commit.created"));
    assert_ne!(died.code, 0);
    let account = account(&lake);
    assert_eq!(account["last_end"]["is_last"], false, "{account}");
    assert_eq!(before["last_success_at"], account["last_success_at"]);
    assert!(account["checked_until"].as_str() > before["checked_until"].as_str(), "it has committed: {account}");
    if cfg!(target_os = "linux") {
        assert_says("a_run_that_died", &lake);
    }
}

#[test]
fn a_run_of_an_old_range_takes_nothing_from_what_was_checked() {
    let sandbox = erp(60, 10, "2026-06-30 23:59:59");
    let lake = with_empty_tail(&sandbox);
    sync(&sandbox, &lake, &["--from", "2026-06-01", "--to", "2026-06-10"]).expect_code(0);
    let account = account(&lake);
    assert_eq!(account["checked_until"], "2026-07-01T00:30:00+08:00", "{account}");
}

#[test]
fn without_a_lease_no_end_is_known() {
    let lake = with_empty_tail(&erp(60, 10, "2026-06-30 23:59:59"));
    std::fs::remove_file(lake.path().join("_lease/account=sandbox.json")).unwrap();
    let account = account(&lake);
    assert!(account["last_end"].is_null() && account["last_success_at"].is_null(), "{account}");
    assert_eq!(account["checked_until"], account["coverage"][0]["end"], "what is covered was asked for");
    assert_says("a_lease_that_is_lost", &lake);
}

#[test]
fn an_account_that_cannot_be_read_hides_nothing_of_the_others() {
    let (sandbox, lake) = (erp(60, 10, "2026-06-30 23:59:59"), LakeDir::new());
    for name in ["broken", "sound"] {
        let mut command = program_at(&sandbox);
        command.env("WDT_ACCOUNT", name).args(["sync", "--calls-per-minute", "0", "--lake", &lake.text()]);
        run(command.args(["--from", "2026-06-20", "--to", "2026-06-30"])).expect_code(0);
    }
    let is_manifest = |name: &&String| name.starts_with("_manifest/account=broken/");
    let files = lake.files();
    let manifests: Vec<&String> = files.iter().filter(is_manifest).collect();
    assert!(!manifests.is_empty(), "{files:?}");
    manifests.iter().for_each(|name| std::fs::write(lake.path().join(name), "{}").unwrap());
    for (command, of) in [("status", "accounts"), ("runs", "runs"), ("verify", "accounts")] {
        let said = run(program().args([command, "--json", "--lake", &lake.text()])).expect_code(8);
        let json = said.json();
        assert_eq!(json["exit_code"], 8, "{json}");
        let sound: Vec<&Value> = json[of].as_array().unwrap().iter().filter(|one| one["account"] == "sound").collect();
        assert!(!sound.is_empty() && sound.iter().all(|one| one["error"].is_null()), "{command}: {json}");
        let text = run(program().args([command, "--lake", &lake.text()])).expect_code(8);
        assert!(text.stdout.contains("sound"), "{text:?}");
        assert!(command == "verify" || text.stderr.contains("broken"), "{text:?}");
    }
}

/// Fields that the contract has no column for are counted by name, in the committed set and nowhere else.
#[test]
fn names_in_extra_are_counted_when_they_are_asked_for() {
    let (sandbox, lake) = (erp(60, 10, "2026-06-30 23:59:59"), LakeDir::new());
    let asked = |more: &[&str]| run(program().args(["status", "--lake", &lake.text()]).args(more)).expect_code(0);
    let named = || {
        let said = asked(&["--json", "--extra"]).json()["accounts"][0]["extra"].clone();
        let ours = |one: &&Value| one["name"] == "urgency" || one["name"] == "project";
        said.as_array().unwrap().iter().filter(ours).cloned().collect::<Vec<_>>()
    };
    sync(&sandbox, &lake, &["--from", "2026-06-20", "--to", "2026-06-25"]).expect_code(0);
    assert_eq!(named(), [json!(null); 0]);
    let numbers: Vec<String> = {
        let world = sandbox.world().lock();
        world.requisitions().take(3).map(|one| one.purchase_apply_no.to_string()).collect()
    };
    for (nth, number) in (0..).zip(&numbers) {
        sandbox.world().lock().edit_at(number, at("2026-06-26 12:00:00").plus_seconds(nth), |one| {
            one.send_raw("urgency", "3");
            if nth == 0 {
                one.send_raw("project", "\"south\"");
            }
        });
    }
    sync(&sandbox, &lake, &["--to", "2026-06-30"]).expect_code(0);
    let row = |name: &str, rows: u64| json!({"table": "purchase_apply", "name": name, "rows": rows});
    assert_eq!(named(), [row("project", 1), row("urgency", 3)]);
    let text = asked(&["--extra"]).stdout;
    assert!(text.contains("urgency in 3 rows of purchase_apply"), "{text}");
    // Without being asked for it reads no file.
    assert!(asked(&["--json"]).json()["accounts"][0]["extra"].is_null() && !asked(&[]).stdout.contains("urgency"));
}
