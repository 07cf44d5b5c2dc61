//! Logs: whose they are, when, and as JSON for whoever collects them.

use serde_json::Value;
use wdt_lake::sandbox::Fault;

use crate::support::{LakeDir, erp, program_at, run};

fn events(stderr: &str) -> Vec<Value> {
    let event = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    stderr.lines().map(event).collect()
}

fn in_span<'a>(event: &'a Value, name: &str) -> Option<&'a Value> {
    event["spans"].as_array()?.iter().find(|span| span["name"] == name)
}

#[test]
fn every_event_of_a_run_says_whose_it_is_and_of_a_window_which() {
    let sandbox = erp(300, 20, "2026-06-30 23:59:59");
    sandbox.next_faults([None, None, Some(Fault::Status(503))]);
    let lake = LakeDir::new();
    let sync = ["sync", "--from", "2026-06-01", "--json", "--log-format", "json", "--log-level", "debug"];
    let ended = run(program_at(&sandbox).args(sync).args(["--lake", &lake.text()])).expect_code(0);
    let summary = ended.json();
    let told = events(&ended.stderr);
    let of_run: Vec<&Value> = told.iter().filter(|event| in_span(event, "run").is_some()).collect();
    for event in &of_run {
        let span = in_span(event, "run").unwrap();
        assert_eq!((&span["account"], &span["run"]), (&Value::from("sandbox"), &summary["run"]), "{event}");
        assert!(event["timestamp"].as_str().unwrap().ends_with("+08:00"), "{event}");
        assert!(event["level"].is_string() && event["message"].is_string(), "{event}");
    }
    let saying = |words: &str| {
        let is_it = |event: &&&Value| event["message"].as_str().is_some_and(|message| message.contains(words));
        let found: Vec<_> = of_run.iter().filter(is_it).copied().collect();
        assert!(!found.is_empty(), "{words}: {}", ended.stderr);
        found
    };
    for event in saying("trying again") {
        assert!(event["delay_s"].is_number(), "{event}");
        assert!(in_span(event, "window").unwrap()["window"].as_str().unwrap().contains(" .. "), "{event}");
    }
    for event in saying("committed") {
        assert!(event["number"].is_number(), "{event}");
    }
}

#[test]
fn the_last_error_and_its_hint_are_json_too() {
    let sandbox = erp(5, 1, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    let sync = ["sync", "--log-format", "json", "--lake"];
    let mut wrong = program_at(&sandbox);
    wrong.args(sync).arg(lake.text()).args(["--from", "2026-06-30"]).env("WDT_APPSECRET", "no");
    let ended = run(&mut wrong).expect_code(4);
    let told = events(&ended.stderr);
    let last = told.last().unwrap();
    assert_eq!((&last["level"], &last["exit_code"]), (&Value::from("ERROR"), &Value::from(4)), "{last}");
    assert!(last["message"].is_string() && last["hint"].is_string(), "{last}");
    assert!(last["timestamp"].as_str().unwrap().ends_with("+08:00"), "{last}");
    let ended =
        run(program_at(&sandbox).args(["--log-format", "json", "status", "--lake", "/nowhere/at/all"])).expect_code(6);
    assert_eq!(events(&ended.stderr).len(), 1);
}
