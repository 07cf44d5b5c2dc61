//! What a stop would do is said before it is done, and `--yes` does that: what is refused beforehand, what an account's
//! terms let be called, and what the log says of who asked and why.

use serde_json::{Value, json};
use wdt_lake::sandbox::{Requisition, Sandbox, Status};

use crate::stop::{STOP, days_ago, flagship, of, partly, stop, stop_calls, stopping, verify};
use crate::support::{LakeDir, program, program_at, run};

/// One that can be stopped, one that cannot, one that will be open, and one that will be stopped; in a lake of today.
fn world() -> (Sandbox, LakeDir) {
    let sandbox = flagship(vec![
        partly(1, "POA-CALL", 30),
        Requisition { status: Status::Referenced, ..partly(2, "POA-DONE", 30) },
        partly(3, "POA-OPEN", 30),
        partly(4, "POA-STOPPED", 30),
    ]);
    let lake = LakeDir::new();
    let arguments = ["sync", "--calls-per-minute", "0", "--lake", &lake.text(), "--from", &days_ago(40)];
    run(program_at(&sandbox).args(arguments)).expect_code(0);
    (sandbox, lake)
}

const ALL: [&str; 5] = ["POA-CALL", "POA-DONE", "POA-OPEN", "POA-STOPPED", "POA-NOBODY"];

fn with_yes<'a>(numbers: &[&'a str]) -> Vec<&'a str> {
    [&["--yes"], numbers].concat()
}

#[test]
fn the_preview_counts_what_would_be_called_and_yes_does_just_that() {
    let (sandbox, lake) = world();
    stop(&sandbox, &lake, &["--yes", "POA-STOPPED"]).expect_code(0);
    sandbox.choose_faults(|call| (call.method == STOP).then(|| "disconnect".parse().unwrap()));
    stop(&sandbox, &lake, &["--yes", "POA-OPEN"]).expect_code(3);
    sandbox.choose_faults(|_| None);
    let calls = sandbox.world().calls().len();

    let shown = stop(&sandbox, &lake, &ALL).expect_code(0).json();
    assert_eq!((&shown["would_call"], &shown["called"]), (&json!(1), &json!(false)));
    let counts = json!({"already_stopped": 1, "not_partly_referenced": 1, "open": 1, "unknown_to_lake": 1});
    assert_eq!((&shown["not_called"], &shown["lake_knows_present"]), (&counts, &json!(true)));
    let planned = ALL.map(|number| of(&shown, number)["planned"].as_str().unwrap().to_owned());
    assert_eq!(planned, ["call", "not_partly_referenced", "open", "already_stopped", "unknown_to_lake"]);
    let text = run(program_at(&sandbox).args(["stop", "--lake", &lake.text()]).args(ALL)).expect_code(0).stdout;
    for words in [
        "would stop 1 requisition of sandbox; nothing was called",
        "would not call 1 already_stopped, 1 not_partly_referenced, 1 open, 1 unknown_to_lake",
        "already stopped by the call of",
        "not partly referenced in the lake",
        "unknown to the lake",
        "is not known yet",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(sandbox.world().calls().len(), calls, "nothing was called");

    let said = stop(&sandbox, &lake, &with_yes(&ALL)).expect_code(3);
    let report = said.json();
    let why = |number: &str| {
        let all = report["not_called"].as_array().unwrap();
        all.iter().find(|one| one["purchase_apply_no"] == number).map(|one| one["why"].clone())
    };
    assert_eq!(why("POA-DONE"), Some(json!("not_partly_referenced")));
    assert_eq!(why("POA-NOBODY"), Some(json!("unknown_to_lake")));
    assert!(said.stderr.contains("--ignore-lake"), "{}", said.stderr);
    assert_eq!(of(&report, "POA-CALL")["outcome"], "stopped");
    assert_eq!(of(&report, "POA-OPEN")["outcome"], "unknown");
    assert_eq!(of(&report, "POA-STOPPED")["already_stopped"], true);
    assert_eq!(of(&report, "POA-CALL")["already_stopped"], false);
    let asked: Vec<Value> = lake
        .manifests()
        .iter()
        .filter(|one| one["kind"] == "stop_intent")
        .map(|one| one["intent"]["numbers"].clone())
        .collect();
    assert_eq!(asked, [json!(["POA-STOPPED"]), json!(["POA-OPEN"]), json!(["POA-CALL"])]);
    assert_eq!(stop_calls(&sandbox), 3);

    // Once more: what was stopped is said to be, and nothing is called.
    let mut again = program_at(&sandbox);
    again.args(["stop", "--yes", "--lake", &lake.text(), "POA-CALL", "POA-STOPPED"]);
    let said = run(&mut again).expect_code(0).stdout;
    for words in
        ["POA-CALL  already stopped (answer), by the call of", "POA-STOPPED  already stopped", "2 already stopped"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(stop_calls(&sandbox), 3);
    verify(&lake);
}

#[test]
fn the_erp_decides_where_the_lake_does_not_know_the_present_or_is_to_be_ignored() {
    let (sandbox, lake) = world();
    let shown = stop(&sandbox, &lake, &["--ignore-lake", "POA-DONE", "POA-NOBODY"]).expect_code(0).json();
    assert_eq!((&shown["would_call"], &shown["lake_knows_present"]), (&json!(2), &json!(false)));
    let report = stop(&sandbox, &lake, &["--yes", "--ignore-lake", "POA-DONE", "POA-NOBODY"]).expect_code(3).json();
    for number in ["POA-DONE", "POA-NOBODY"] {
        assert_eq!(of(&report, number)["outcome"], "refused", "in the ERP's own words");
    }
    assert_eq!((&report["not_called"], stop_calls(&sandbox)), (&json!([]), 1));

    // Of yesterday, with a gap, and none at all.
    let (old, gap, none) = (LakeDir::new(), LakeDir::new(), LakeDir::new());
    crate::stop::sync_part(&sandbox, &old, &days_ago(40), &days_ago(2));
    crate::stop::sync_part(&sandbox, &gap, &days_ago(2), &days_ago(0));
    crate::stop::sync_part(&sandbox, &gap, &days_ago(40), &days_ago(20));
    for lake in [&old, &gap, &none] {
        let shown = stop(&sandbox, lake, &["POA-DONE", "POA-NOBODY"]).expect_code(0).json();
        assert_eq!((&shown["would_call"], &shown["lake_knows_present"]), (&json!(2), &json!(false)));
        let text = run(program_at(&sandbox).args(["stop", "--lake", &lake.text(), "POA-DONE"])).expect_code(0).stdout;
        assert!(text.contains("the ERP decides"), "{text}");
    }
}

#[test]
fn an_account_that_must_not_stop_or_not_so_many_is_kept_to_before_any_call() {
    let (sandbox, lake) = world();
    let (before, manifests) = (sandbox.world().calls().len(), lake.manifests().len());
    let limited = |variable: (&str, &str), arguments: &[&str]| {
        let mut command = stopping(&sandbox, &lake, arguments);
        run(command.env(variable.0, variable.1))
    };
    let numbers = ["POA-CALL", "POA-OPEN", "POA-STOPPED", "POA-DONE"];
    for (variable, word) in [
        (("WDT_ALLOW_STOP", "false"), "allow_stop is false"),
        (("WDT_MAX_STOPS", "2"), "3 numbers would be called, and max_stops is 2"),
        (("WDT_MAX_STOPS", "two"), "WDT_MAX_STOPS"),
        (("WDT_ALLOW_STOP", "maybe"), "WDT_ALLOW_STOP"),
    ] {
        let said = limited(variable, &with_yes(&numbers)).expect_code(2);
        assert!(said.stderr.contains(word) && said.stderr.contains("hint: "), "{word}: {}", said.stderr);
    }
    let shown = limited(("WDT_MAX_STOPS", "2"), &numbers).expect_code(0).json();
    assert!(shown["refusal"]["message"].as_str().unwrap().contains("max_stops is 2"), "{shown}");
    let shown = limited(("WDT_MAX_STOPS", "3"), &numbers).expect_code(0).json();
    assert_eq!(shown["refusal"], Value::Null);
    assert_eq!(
        (sandbox.world().calls().len(), lake.manifests().len()),
        (before, manifests),
        "nothing was called or written"
    );

    // Only what would be called counts: one of these four is refused beforehand.
    limited(("WDT_MAX_STOPS", "3"), &with_yes(&numbers)).expect_code(3);
    assert_eq!(stop_calls(&sandbox), 1);
    // What was stopped before does not count either.
    limited(("WDT_MAX_STOPS", "0"), &["--yes", "POA-CALL"]).expect_code(0);
    limited(("WDT_ALLOW_STOP", "true"), &["--yes", "POA-CALL"]).expect_code(0);
}

#[test]
fn the_terms_of_a_file_are_those_of_its_account() {
    let (sandbox, lake) = world();
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("wdt-lake.toml");
    let [_, (_, sid), (_, appkey), _, (_, base_url)] = sandbox.environment();
    let stop_by = |terms: &str, arguments: &[&str]| {
        let text = format!(
            "lake = {:?}\n[[account]]\nname = \"sandbox\"\nedition = \"flagship\"\nsid = \"{sid}\"\nappkey = \"{appkey}\"\nsecret_env = \"KEY\"\n\
             base_url = \"{base_url}\"\ncalls_per_minute = 0\n{terms}\n",
            lake.text()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = program();
        command.env("KEY", sandbox.credentials().secret.expose()).arg("stop").arg("--config").arg(&file);
        run(command.args(arguments))
    };
    let calls = sandbox.world().calls().len();
    for (terms, word) in [
        ("allow_stop = false", "allow_stop is false"),
        ("max_stops = 1", "max_stops is 1"),
        ("allow_stop = \"false\"", "neither true nor false"),
        ("max_stops = 1.5", "no whole number"),
        ("max_stop = 1", "did you mean `max_stops`?"),
    ] {
        let said = stop_by(terms, &["--yes", "POA-CALL", "POA-OPEN"]).expect_code(2);
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    let text = stop_by("allow_stop = false", &["POA-CALL"]).expect_code(0).stdout;
    assert!(text.contains("`--yes` would be refused") && text.contains("POA-CALL"), "{text}");
    assert_eq!(sandbox.world().calls().len(), calls);
    stop_by("allow_stop = true\nmax_stops = 2", &["--yes", "POA-CALL", "POA-OPEN"]).expect_code(0);
    assert_eq!(stop_calls(&sandbox), 1);
}

/// Of an open stop nobody knows yet whether a call of its own will follow, so that it counts once this is known.
#[test]
fn numbers_that_settling_sets_free_count_too() {
    let sandbox = flagship(vec![partly(1, "POA1", 30), partly(2, "POA2", 30)]);
    let lake = LakeDir::new();
    sandbox.choose_faults(|call| (call.method == STOP).then(|| "disconnect".parse().unwrap()));
    stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(3);
    sandbox.choose_faults(|_| None);
    let calls = stop_calls(&sandbox);
    sandbox.world().clock().advance(600);
    let mut command = stopping(&sandbox, &lake, &["--yes", "POA1", "POA2"]);
    let said = run(command.env("WDT_MAX_STOPS", "1")).expect_code(2);
    assert!(said.stderr.contains("2 numbers would be called, and max_stops is 1"), "{}", said.stderr);
    assert_eq!(of(&said.json(), "POA1")["outcome"], "not_stopped", "what was found out is told");
    assert_eq!(stop_calls(&sandbox), calls);
}

#[test]
fn the_log_says_who_asked_and_why() {
    let (sandbox, lake) = world();
    let mut command = stopping(&sandbox, &lake, &["--yes", "POA-CALL", "--reason", " 供应商停业, order 7 "]);
    run(command.env("USER", "li")).expect_code(0);
    stop(&sandbox, &lake, &["--yes", "POA-OPEN"]).expect_code(0);
    let intents: Vec<Value> = lake
        .manifests()
        .into_iter()
        .filter(|one| one["kind"] == "stop_intent")
        .map(|one| one["intent"].clone())
        .collect();
    assert_eq!((&intents[0]["by"]["user"], &intents[0]["reason"]), (&json!("li"), &json!("供应商停业, order 7")));
    assert!(intents[0]["by"]["host"].as_str().is_some_and(|host| !host.is_empty()));
    assert_eq!(intents[1].get("reason"), None);

    let long = "x".repeat(201);
    let calls = sandbox.world().calls().len();
    for (reason, word) in
        [(" ", "has words"), (&*long, "at most 200"), ("a\nb", "one line"), ("a\u{1b}[2Jb", "one line")]
    {
        let said = stop(&sandbox, &lake, &["--yes", "POA-STOPPED", "--reason", reason]).expect_code(2);
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    assert_eq!(sandbox.world().calls().len(), calls);
}

#[test]
fn the_results_in_the_log_carry_the_vendors_words() {
    let (sandbox, lake) = world();
    stop(&sandbox, &lake, &["--yes", "--ignore-lake", "POA-CALL", "POA-DONE"]).expect_code(3);
    let results = lake.manifests().into_iter().find(|one| one["kind"] == "stop_result").unwrap()["results"].clone();
    let result = |number: &str| {
        results
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["number"] == number)
            .cloned()
            .unwrap_or_else(|| panic!("{results}"))
    };
    let refused = result("POA-DONE");
    assert_eq!((&refused["outcome"], &refused["order_id"]), (&json!("refused"), &json!(2)));
    assert_eq!((&refused["error"], &refused["error_code"]), (&json!("采购申请单状态不是部分引用"), &json!(0)));
    assert_eq!(result("POA-CALL").get("error"), None);
}
