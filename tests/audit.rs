//! `audit`: rows that came late or changed under one modified time, and open requisitions that the ERP lacks or shows
//! otherwise, are found and named; a lake that is as the ERP has nothing to find; and the lake is only read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use wdt_lake::sandbox::{Credentials, Options, Requisition, Sandbox, SharedWorld, Status, generate};
use wdt_lake::{Edition, Table};

use crate::support::{LakeDir, Said, at, erp, erp_of, program_at, run, sync};

const JUNE: [&str; 4] = ["--from", "2026-06-01", "--to", "2026-06-30"];

fn audit(sandbox: &Sandbox, lake: &LakeDir, arguments: &[&str]) -> Said {
    let lake = lake.text();
    run(program_at(sandbox).args(["audit", "--calls-per-minute", "0", "--lake", &lake]).args(arguments))
}

/// The audit of the one account, as JSON.
#[track_caller]
fn account(sandbox: &Sandbox, lake: &LakeDir, arguments: &[&str], code: i32) -> Value {
    let said = audit(sandbox, lake, &[arguments, &["--json"]].concat()).expect_code(code).json();
    assert_eq!((&said["command"], &said["exit_code"]), (&"audit".into(), &code.into()), "{said}");
    let accounts = said["accounts"].as_array().unwrap();
    assert!(accounts.len() == 1 && accounts[0]["account"] == "sandbox", "{said}");
    accounts[0].clone()
}

/// Every file of the lake with its bytes.
fn bytes(lake: &LakeDir) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| (name.clone(), std::fs::read(lake.path().join(name)).unwrap());
    lake.files().into_iter().map(read).collect()
}

fn lake_of(sandbox: &Sandbox) -> LakeDir {
    let lake = LakeDir::new();
    sync(sandbox, &lake, &JUNE).expect_code(0);
    lake
}

/// The findings of one kind in all windows.
fn found<'a>(account: &'a Value, kind: &str) -> Vec<&'a Value> {
    let windows = account["sample"]["windows"].as_array().unwrap();
    windows.iter().flat_map(|window| window[kind].as_array().unwrap()).collect()
}

/// The `nth` requisition in the order of modified time.
fn requisition(world: &SharedWorld, nth: usize) -> Requisition {
    Requisition::clone(world.lock().requisitions().nth(nth).unwrap())
}

fn is_open(requisition: &&std::sync::Arc<Requisition>) -> bool {
    matches!(requisition.status, Status::ToConfirm | Status::ToReference | Status::PartlyReferenced)
}

#[test]
fn a_lake_that_is_as_the_erp_has_no_finding_and_is_not_written() {
    for edition in Edition::ALL {
        let sandbox = erp_of(edition, 300, 30, "2026-06-30 23:59:59");
        let lake = lake_of(&sandbox);
        let (before, calls) = (bytes(&lake), sandbox.world().calls().len());
        let account = account(&sandbox, &lake, &["--sample", "1000", "--open", "5"], 0);
        let windows = account["sample"]["windows"].as_array().unwrap();
        let live = lake.manifests().iter().filter(|manifest| manifest["kind"] == "sync").count();
        assert_eq!(windows.len(), live, "all windows there are: {account}");
        let sample = &account["sample"];
        assert_eq!((&sample["rows"], &sample["late"], &sample["gone"]), (&300.into(), &0.into(), &0.into()));
        assert_eq!(account["open"], json!({"asked": 5, "same": 5, "newer": 0, "findings": []}), "{edition}");
        assert_eq!(account["calls"], sandbox.world().calls().len() - calls);
        let text = audit(&sandbox, &lake, &["--sample", "2", "--seed", "1"]).expect_code(0);
        assert!(text.stdout.starts_with("sandbox: nothing was found\n") && text.stderr.is_empty(), "{text:?}");
        assert_eq!(bytes(&lake), before, "an audit only reads");
    }
}

#[test]
fn rows_that_came_late_or_changed_are_found_with_their_bounds() {
    let sandbox = erp(300, 30, "2026-06-30 23:59:59");
    let lake = lake_of(&sandbox);
    let changed = requisition(sandbox.world(), 50);
    let gone = requisition(sandbox.world(), 60);
    {
        let mut world = sandbox.world().lock();
        world.add_as_is(Requisition::plain(900_001, "POA-LATE", at("2026-06-10 10:00:00")));
        world.edit_at(&changed.purchase_apply_no, changed.modified, |requisition| {
            requisition.remark = "changed under one time".into();
            requisition.details[0].remark = "here too".into();
        });
        // Edited as it should be: it leaves its window, and enters none that is covered.
        world.edit_at(&gone.purchase_apply_no, at("2026-07-02 10:00:00"), |_| ());
    }
    let before = bytes(&lake);
    let account = account(&sandbox, &lake, &["--sample", "1000"], 3);
    let late = found(&account, "late");
    assert_eq!(late.len(), 1, "{account}");
    let modified = "2026-06-10T10:00:00+08:00";
    assert_eq!(
        (&late[0]["purchase_apply_no"], &late[0]["apply_id"], &late[0]["modified"]),
        (&"POA-LATE".into(), &900_001.into(), &modified.into())
    );
    let seconds = |name: &str| late[0][name].as_u64().unwrap();
    let committed = account["sample"]["windows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|window| !window["late"].as_array().unwrap().is_empty())
        .and_then(|window| window["committed_at"].as_str())
        .map(|time| wdt_lake::BeijingTime::parse_rfc3339(time).unwrap().unix())
        .unwrap();
    let until_commit = (committed - at("2026-06-10 10:00:00").unix()) as u64;
    // The window was read within the seconds before its commit.
    assert!((until_commit - 60..=until_commit).contains(&seconds("late_at_least_s")), "{account}");
    assert!(seconds("late_at_most_s") >= seconds("late_at_least_s"), "{account}");
    assert_eq!(account["sample"]["late_at_least_s"], late[0]["late_at_least_s"]);
    let changes = found(&account, "changed");
    assert_eq!(changes.len(), 1, "{account}");
    assert_eq!(changes[0]["purchase_apply_no"], *changed.purchase_apply_no);
    assert_eq!(
        (&changes[0]["change"], &changes[0]["columns"]),
        (&"values".into(), &json!(["remark", "details.remark"]))
    );
    assert_eq!(account["sample"]["gone"], 1, "{account}");
    assert!(account["open"].is_null() && account["error"].is_null());
    let text = audit(&sandbox, &lake, &["--sample", "1000"]).expect_code(3).stdout;
    for words in [
        "sandbox: the ERP and the lake differ",
        "late        POA-LATE modified 2026-06-10 10:00:00: came ",
        "remark, details.remark",
        "choose      --lag and --lookback",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(bytes(&lake), before, "an audit only reads");
    // What it found is what a lookback gets.
    sync(&sandbox, &lake, &["--to", "2026-06-30", "--lookback", "60d"]).expect_code(0);
    audit(&sandbox, &lake, &["--sample", "1000"]).expect_code(0);
}

#[test]
fn a_sample_is_small_and_a_seed_repeats_it() {
    let sandbox = erp(2_500, 30, "2026-06-30 23:59:59");
    let lake = lake_of(&sandbox);
    let windows = |seed: &str| {
        let account = account(&sandbox, &lake, &["--sample", "2", "--seed", seed], 0);
        let span = |window: &Value| (window["start"].clone(), window["end"].clone());
        assert!(account["sample"]["rows"].as_u64().unwrap() < 2_500, "{account}");
        account["sample"]["windows"].as_array().unwrap().iter().map(span).collect::<Vec<_>>()
    };
    let first = windows("7");
    assert_eq!((first.len(), &windows("7")), (2, &first));
    assert!((8..20).any(|seed| windows(&seed.to_string()) != first));
}

#[test]
fn open_requisitions_that_the_erp_lacks_or_shows_otherwise_are_named() {
    for edition in [Edition::Enterprise, Edition::Flagship] {
        let sandbox = erp_of(edition, 200, 30, "2026-06-30 23:59:59");
        let lake = lake_of(&sandbox);
        let oldest: Vec<Requisition> = {
            let world = sandbox.world().lock();
            world.requisitions().filter(is_open).take(6).map(|open| Requisition::clone(open)).collect()
        };
        let numbers: Vec<&str> = oldest.iter().map(|open| &*open.purchase_apply_no).collect();
        let calls = sandbox.world().calls().len();
        {
            let mut world = sandbox.world().lock();
            world.purge(numbers[0]).unwrap();
            world
                .edit_at(numbers[1], oldest[1].modified, |requisition| requisition.status = Status::Cancelled)
                .unwrap();
            world.edit_at(numbers[2], at("2026-06-30 12:00:00"), |_| ()).unwrap();
            world.edit_at(numbers[3], at("2026-07-02 12:00:00"), |_| ()).unwrap();
            world
                .edit_at(numbers[4], oldest[4].modified, |requisition| requisition.send_raw("status", "\"x\""))
                .unwrap();
        }
        let before = bytes(&lake);
        let account = account(&sandbox, &lake, &["--open", "6"], 3);
        let open = &account["open"];
        assert_eq!((&open["asked"], &open["same"], &open["newer"]), (&6.into(), &1.into(), &1.into()), "{account}");
        assert_eq!((&account["calls"], sandbox.world().calls().len() - calls), (&6.into(), 6));
        assert!(account["sample"].is_null());
        let findings = open["findings"].as_array().unwrap();
        let named: Vec<_> = findings
            .iter()
            .map(|one| (one["purchase_apply_no"].as_str().unwrap(), one["finding"].as_str().unwrap()))
            .collect();
        let expected = [
            (numbers[0], "missing"),
            (numbers[1], "other_status"),
            (numbers[2], "other_time"),
            (numbers[4], "invalid"),
        ];
        assert_eq!(named, expected, "{account}");
        assert_eq!(findings[0]["lake"]["modified"], json!(oldest[0].modified.rfc3339()));
        assert!(findings[0]["erp"].is_null());
        assert_eq!(findings[1]["erp"]["status_name"], "cancelled");
        assert_eq!(findings[2]["erp"]["modified"], "2026-06-30T12:00:00+08:00");
        assert!(findings[3]["reason"].as_str().unwrap().contains("status"), "{account}");
        let text = audit(&sandbox, &lake, &["--open", "6"]).expect_code(3).stdout;
        assert!(text.contains(&format!("missing     {} modified", numbers[0])), "{text}");
        assert_eq!(bytes(&lake), before, "an audit only reads");
    }
}

/// What a run sets aside is known to the lake.
#[test]
fn quarantined_records_are_no_findings() {
    let sandbox = erp(50, 20, "2026-06-30 23:59:59");
    let number = requisition(sandbox.world(), 20).purchase_apply_no;
    {
        let mut world = sandbox.world().lock();
        let modified = at("2026-06-20 10:00:00");
        world.edit_at(&number, modified, |requisition| requisition.send_raw("real_num", "\"1.23456\"")).unwrap();
    }
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &JUNE).expect_code(3);
    account(&sandbox, &lake, &["--sample", "1000"], 0);
    {
        let mut world = sandbox.world().lock();
        let modified = at("2026-06-20 10:00:00");
        world.edit_at(&number, modified, |requisition| requisition.overrides.clear()).unwrap();
    }
    let account = account(&sandbox, &lake, &["--sample", "1000"], 3);
    let changes = found(&account, "changed");
    assert!(changes.len() == 1 && changes[0]["change"] == "became_valid", "{account}");
}

/// Another run replaces what the audit is about to read: it reads the log on, and then what is there.
#[test]
fn a_lake_that_is_refreshed_meanwhile_is_read_again() {
    let sandbox = erp(200, 30, "2026-06-30 23:59:59");
    // The same account of the same ERP, but for what was changed there.
    let other = erp(200, 30, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &["--from", "2026-06-01", "--to", "2026-06-15"]).expect_code(0);
    sync(&sandbox, &lake, &["--to", "2026-06-30"]).expect_code(0);
    let changed: Vec<Requisition> = [20, 180].map(|nth| requisition(other.world(), nth)).to_vec();
    assert!(changed[0].modified < at("2026-06-15 00:00:00") && changed[1].modified > at("2026-06-16 00:00:00"));
    for one in &changed {
        let edit = |requisition: &mut Requisition| requisition.remark = "changed".into();
        other.world().lock().edit_at(&one.purchase_apply_no, one.modified, edit).unwrap();
    }
    let (has_run, path) = (AtomicBool::new(false), lake.text());
    sandbox.before_call(move |_, _| {
        if !has_run.swap(true, Ordering::SeqCst) {
            let again = ["sync", "--calls-per-minute", "0", "--to", "2026-06-30", "--lookback", "60d", "--lake", &path];
            run(program_at(&other).args(again)).expect_code(0);
        }
    });
    let account = account(&sandbox, &lake, &["--sample", "1000"], 3);
    let windows = account["sample"]["windows"].as_array().unwrap();
    assert_eq!((windows.len(), &account["error"]), (2, &Value::Null), "{account}");
    // Of the first window the lake was read before it was replaced, of the second after that.
    let changes = found(&account, "changed");
    assert!(changes.len() == 1 && changes[0]["purchase_apply_no"] == *changed[1].purchase_apply_no, "{account}");
}

/// Rows that came from raw responses were read before their commit was begun; nothing says when the window was.
#[test]
fn a_lake_that_was_rebuilt_knows_no_time_of_its_walks() {
    let sandbox = erp(60, 20, "2026-06-30 23:59:59");
    let (kept, rebuilt) = (LakeDir::new(), LakeDir::new());
    sync(&sandbox, &kept, &[&JUNE[..], &["--keep-raw"]].concat()).expect_code(0);
    run(program_at(&sandbox).args(["replay", "--from-raw", &kept.text(), "--lake", &rebuilt.text()])).expect_code(0);
    let first = requisition(sandbox.world(), 0).modified;
    let (before, after) = (first.plus_seconds(-1), first.plus_seconds(1));
    for (id, number, modified) in [(900_001, "POA-FIRST", before), (900_002, "POA-NEXT", after)] {
        sandbox.world().lock().add_as_is(Requisition::plain(id, number, modified));
    }
    for (lake, is_known) in [(&kept, true), (&rebuilt, false)] {
        let account = account(&sandbox, lake, &["--sample", "1000"], 3);
        let windows = account["sample"]["windows"].as_array().unwrap();
        assert!(windows.iter().all(|window| window["committed_at"].is_null() != is_known), "{account}");
        let late = found(&account, "late");
        let bounds: Vec<bool> = late.iter().map(|late| late["late_at_least_s"].as_u64().unwrap() > 0).collect();
        assert_eq!(bounds, [is_known, true], "{account}");
    }
}

/// A window that is not proved is named, and says nothing of its rows.
#[test]
fn a_window_that_is_not_proved_is_named() {
    let sandbox = erp(50, 20, "2026-06-30 23:59:59");
    let lake = lake_of(&sandbox);
    sandbox.world().lock().add_as_is(Requisition::plain(900_001, "POA-LATE", at("2026-06-20 10:00:00")));
    sandbox.set_oddities("total-high".parse().unwrap()).unwrap();
    let account = account(&sandbox, &lake, &["--sample", "1"], 7);
    let window = &account["sample"]["windows"][0];
    assert_eq!((&window["error"]["exit_code"], &window["late"]), (&7.into(), &json!([])), "{account}");
    let text = audit(&sandbox, &lake, &["--sample", "1"]).expect_code(7);
    assert!(text.stdout.contains("not proved  2026-06-01"), "{}", text.stdout);
    assert!(text.stderr.contains("account: sandbox") && text.stderr.contains("window: "), "{}", text.stderr);
}

#[test]
fn what_cannot_be_audited_is_said() {
    let sandbox = erp(50, 20, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    audit(&sandbox, &lake, &[]).expect_code(2);
    audit(&sandbox, &lake, &["--open", "1", "--seed", "3"]).expect_code(2);
    audit(&sandbox, &lake, &["--sample", "0"]).expect_code(2);
    audit(&sandbox, &lake, &["--sample", "1"]).expect_code(6);
    let lake = lake_of(&sandbox);
    let unknown =
        run(program_at(&sandbox).env("WDT_ACCOUNT", "other").args(["audit", "--sample", "1", "--lake", &lake.text()]));
    assert!(unknown.expect_code(2).stderr.contains("holds nothing of this account"));
    let credentials = Credentials { sid: "another".into(), ..Credentials::default() };
    let requisitions = generate(11, 5, 20, at("2026-06-30 23:59:59"));
    let another = Sandbox::start(Options { credentials, requisitions, ..Options::default() }).unwrap();
    let mut command = program_at(&another);
    command.env("WDT_ACCOUNT", "sandbox").args(["audit", "--json", "--open", "1", "--lake", &lake.text()]);
    let said = run(&mut command).expect_code(2);
    assert!(said.json()["accounts"][0]["error"]["message"].as_str().unwrap().contains("is bound to sid"), "{said:?}");
    assert_eq!(another.world().calls().len(), 0, "nothing was called");
    // A damaged file is a defect, and what was found before it is told.
    let path = lake.files().into_iter().find(|name| name.starts_with(Table::PurchaseApply.name())).unwrap();
    std::fs::write(lake.path().join(path), b"changed").unwrap();
    let account = account(&sandbox, &lake, &["--sample", "1000"], 8);
    assert!(account["error"]["message"].as_str().unwrap().contains("its manifest says"), "{account}");
}
