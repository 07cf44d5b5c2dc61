//! `status --check` says in one line and by an exit code of its own how a lake stands, and waits until a day is
//! complete.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use wdt_lake::sandbox::{Options, Requisition, Sandbox};

use crate::support::{LakeDir, Said, at, erp, program, program_at, run, sync};

const OK: i32 = 0;
const WARNING: i32 = 1;
const CRITICAL: i32 = 2;
const UNKNOWN: i32 = 3;

/// More than a century.
const ANY_AGE: [&str; 2] = ["--max-age", "36500d"];

fn check(lake: &LakeDir, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(["status", "--check", "--lake", &lake.text()]).args(arguments);
    command
}

fn said(lake: &LakeDir, arguments: &[&str], code: i32) -> Said {
    let said = run(&mut check(lake, arguments)).expect_code(code);
    assert_eq!(said.stderr, "", "a monitor reads standard output");
    said
}

/// A lake that is fed up to a second in which nothing happened.
fn fed() -> (Sandbox, LakeDir) {
    let (sandbox, lake) = (erp(60, 10, "2026-06-30 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &["--from", "2026-06-20", "--to", "2026-06-30"]).expect_code(0);
    sync(&sandbox, &lake, &["--to", "2026-07-01 00:30:00"]).expect_code(0);
    (sandbox, lake)
}

#[test]
fn a_lake_is_as_old_as_the_second_up_to_which_the_erp_was_asked() {
    let (_sandbox, lake) = fed();
    let fine = said(&lake, &ANY_AGE, OK).stdout;
    let first = fine.lines().next().unwrap();
    assert!(first.starts_with("OK - sandbox: complete until 2026-07-01 00:30:00 | sandbox_age="), "{first}");
    for old in [&[][..], &["--max-age", "1h"]] {
        let said = said(&lake, old, CRITICAL).stdout;
        assert!(said.starts_with("CRITICAL - sandbox: complete until 2026-07-01 00:30:00, "), "{said}");
    }
    let json = said(&lake, &["--json"], CRITICAL).json();
    assert_eq!((&json["state"], &json["exit_code"]), (&"critical".into(), &CRITICAL.into()));
    let account = &json["accounts"][0];
    assert_eq!(account["complete_until"], "2026-07-01T00:30:00+08:00", "later than the coverage: {account}");
    assert_eq!(account["findings"][0]["finding"], "too_old");
    assert!(json["summary"].as_str().unwrap().starts_with("CRITICAL - "), "{json}");
}

#[test]
fn what_is_covered_until_a_time_is_told_from_what_is_not() {
    let (_sandbox, lake) = fed();
    for (until, code) in [
        ("2026-06-29", OK),
        ("2026-06-30", OK),
        ("2026-07-01 00:30:00", OK),
        ("2026-07-01 00:30:01", CRITICAL),
        ("2026-07-01", CRITICAL),
    ] {
        said(&lake, &["--covered-until", until], code);
    }
    // The age is judged as well where it is typed.
    said(&lake, &["--covered-until", "2026-06-30", "--max-age", "1h"], CRITICAL);
    let late = said(&lake, &["--covered-until", "2026-07-01", "--wait", "1s", "--json"], CRITICAL).json();
    assert_eq!(late["accounts"][0]["findings"][0]["finding"], "not_covered", "{late}");
}

/// The lease knows that an empty end was asked for; a gap before it counts all the same.
#[test]
fn nothing_is_complete_past_a_gap() {
    let (sandbox, lake) = fed();
    sync(&sandbox, &lake, &["--from", "2026-07-02", "--to", "2026-07-03 12:00:00"]).expect_code(0);
    // A range that begins behind the end of the lake leaves a gap, which is walked again by no --from.
    let json = said(&lake, &[&ANY_AGE[..], &["--json"]].concat(), WARNING).json();
    let account = &json["accounts"][0];
    assert_eq!((&account["gaps"], &account["findings"][0]["finding"]), (&1.into(), &"gaps".into()), "{account}");
    assert_eq!(account["complete_until"], "2026-06-30T23:59:59+08:00", "{account}");
    said(&lake, &["--covered-until", "2026-07-01"], CRITICAL);
    said(&lake, &["--covered-until", "2026-06-30"], OK);
    let text = said(&lake, &ANY_AGE, WARNING).stdout;
    assert!(text.starts_with("WARNING - sandbox: 1 gap, the first: 2026-07-01 00:00:00"), "{text}");
}

#[test]
fn quarantined_records_are_a_warning_until_somebody_has_looked_at_them() {
    let mut wrong = Requisition::plain(7, "A7", at("2026-06-25 10:00:00"));
    wrong.send_raw("real_num", "\"1.23456\"");
    let fine = Requisition::plain(8, "A8", at("2026-06-30 10:00:00"));
    let sandbox = Sandbox::start(Options { requisitions: vec![wrong, fine], ..Options::default() }).unwrap();
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &["--from", "2026-06-20", "--to", "2026-06-30"]).expect_code(3);
    let text = said(&lake, &ANY_AGE, WARNING).stdout;
    assert!(text.starts_with("WARNING - sandbox: 1 record quarantined | "), "{text}");
    said(&lake, &[&ANY_AGE[..], &["--max-quarantined", "1"]].concat(), OK);
    said(&lake, &["--covered-until", "2026-06-30"], OK);
}

#[test]
fn the_worst_account_counts_and_one_that_cannot_be_read_is_unknown() {
    let (sandbox, lake) = (erp(60, 10, "2026-06-30 23:59:59"), LakeDir::new());
    for (name, to) in [("early", "2026-06-25"), ("late", "2026-06-30"), ("broken", "2026-06-30")] {
        let mut command = program_at(&sandbox);
        command.env("WDT_ACCOUNT", name).args(["sync", "--calls-per-minute", "0", "--lake", &lake.text()]);
        run(command.args(["--from", "2026-06-20", "--to", to])).expect_code(0);
    }
    let states = |until: &str, code| {
        let json = said(&lake, &["--covered-until", until, "--json"], code).json();
        let accounts = json["accounts"].as_array().unwrap().clone();
        let mut states: Vec<String> =
            accounts.iter().map(|one| format!("{} {}", one["account"], one["state"]).replace('"', "")).collect();
        states.sort();
        (states.join(", "), json["summary"].as_str().unwrap().to_owned())
    };
    assert_eq!(states("2026-06-25", OK).0, "broken ok, early ok, late ok");
    let (all, summary) = states("2026-06-30", CRITICAL);
    assert_eq!(all, "broken ok, early critical, late ok");
    assert!(summary.starts_with("CRITICAL - early: ") && !summary.contains("late: "), "{summary}");
    said(&lake, &["--covered-until", "2026-06-30", "--account", "late"], OK);

    let is_manifest = |name: &&String| name.starts_with("_manifest/account=broken/");
    lake.files().iter().filter(is_manifest).for_each(|name| std::fs::write(lake.path().join(name), "{}").unwrap());
    assert_eq!(states("2026-06-25", UNKNOWN).0, "broken unknown, early ok, late ok");
    assert_eq!(states("2026-06-30", CRITICAL).0, "broken unknown, early critical, late ok");
    let warned = said(&lake, &[&ANY_AGE[..], &["--account", "broken"]].concat(), UNKNOWN).stdout;
    assert!(warned.starts_with("UNKNOWN - broken: "), "{warned}");
}

#[test]
fn what_cannot_be_known_is_unknown_and_never_a_finding() {
    let (_sandbox, lake) = fed();
    let nowhere = LakeDir::new();
    let empty = LakeDir::new();
    std::fs::create_dir_all(empty.path()).unwrap();
    for (lake, arguments) in [
        (&nowhere, &[][..]),
        (&nowhere, &["--covered-until", "2026-06-30", "--wait", "1s"]),
        (&empty, &[]),
        (&lake, &["--account", "nobody"]),
        (&lake, &["--account", "nobody", "--covered-until", "2026-06-30", "--wait", "10m"]),
        (&lake, &["--covered-until", "yesterday"]),
    ] {
        let text = said(lake, arguments, UNKNOWN).stdout;
        assert!(text.starts_with("UNKNOWN - "), "{arguments:?}: {text}");
        let json = said(lake, &[arguments, &["--json"]].concat(), UNKNOWN).json();
        assert_eq!((&json["state"], &json["exit_code"]), (&"unknown".into(), &UNKNOWN.into()));
        assert!(!json["error"].is_null(), "{json}");
    }
    // No lake was named, and an option was mistyped: monitors take exit code 2 for critical.
    let folder = tempfile::TempDir::new().unwrap();
    let none = run(program().current_dir(folder.path()).args(["status", "--check"])).expect_code(UNKNOWN);
    assert!(none.stdout.starts_with("UNKNOWN - no lake was given"), "{none:?}");
    let odd = run(&mut check(&lake, &["--max-aeg", "2h"])).expect_code(UNKNOWN);
    assert!(odd.stdout.starts_with("UNKNOWN - ") && odd.stderr.contains("--max-aeg"), "{odd:?}");
    for wrong in [&["--max-age", "2h"][..], &["--check", "--wait", "1s"]] {
        let code = if wrong.contains(&"--check") { UNKNOWN } else { 2 };
        run(program().args(["status", "--lake", &lake.text()]).args(wrong)).expect_code(code);
    }
}

/// The file that names the lake names the accounts that it must have.
#[test]
fn an_account_that_is_set_and_was_never_fed_is_critical() {
    let (_sandbox, lake) = fed();
    let folder = tempfile::TempDir::new().unwrap();
    let account = |name: &str| {
        format!(
            "[[account]]\nname = \"{name}\"\nedition = \"y\"\nsid = \"{name}\"\nappkey = \"k\"\nsecret_env = \"NONE\"\n"
        )
    };
    let text = format!("lake = {:?}\n{}{}", lake.text(), account("sandbox"), account("new"));
    std::fs::write(folder.path().join("wdt-lake.toml"), text).unwrap();
    let checked = |arguments: &[&str], code| {
        let mut command = program();
        command.current_dir(folder.path()).args(["status", "--check"]).args(ANY_AGE).args(arguments);
        run(&mut command).expect_code(code).stdout
    };
    let text = checked(&[], CRITICAL);
    assert!(text.starts_with("CRITICAL - new: the lake has nothing of it yet"), "{text}");
    checked(&["--account", "new"], CRITICAL);
    checked(&["--account", "sandbox"], OK);
    checked(&["--lake", &lake.text()], OK);
}

/// It is started before the day is there, and ends by itself when a sync has brought it.
#[test]
fn who_waits_for_a_day_goes_on_when_it_is_complete() {
    let (sandbox, lake) = fed();
    let until = ["--covered-until", "2026-07-02", "--wait", "10m", "--json", "--log-level", "debug"];
    let mut child =
        check(&lake, &until).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    // It has looked once, and found the day missing.
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.any(|line| line.contains("not yet: looking again")), "it waits");
    sync(&sandbox, &lake, &["--to", "2026-07-02 23:59:59"]).expect_code(0);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(OK), "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["state"], &json["accounts"][0]["complete_until"]),
        (&"ok".into(), &"2026-07-02T23:59:59+08:00".into())
    );
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_nobody_reads_is_unknown() {
    let (_sandbox, lake) = fed();
    let mut command = check(&lake, &ANY_AGE);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(command.stdout(full).stderr(Stdio::null()).status().unwrap().code(), Some(UNKNOWN));
}
