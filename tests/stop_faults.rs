//! Stops under faults, by the real program: answers lost before and after the effect, effects that come late, refusals
//! of every kind, death between intent and result, and several stops of one number at once. Time is the sandbox's: its
//! `Date` decides what may be told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use wdt_lake::Edition;
use wdt_lake::sandbox::{Fault, Latency, Requisition, Sandbox, Status, StopEffect};

use crate::stop::{
    STOP, by_duckdb, days_ago, flagship, of, partly, status, stop, stop_calls, stopping, stopping_patiently, sync_part,
    verify,
};
use crate::support::process::{end, start};
use crate::support::{LakeDir, program, run};
use crate::under_fire::{answering_times, fixed};

/// More than the tolerance of timestamps and the margin.
const SPENT_SECONDS: i64 = 120 + 180 + 5;

fn one() -> (Sandbox, LakeDir) {
    (flagship(vec![partly(1, "POA1", 30), partly(2, "POA2", 30)]), LakeDir::new())
}

/// The next stop call meets this fault; queries meet none.
fn strike(sandbox: &Sandbox, fault: Fault) {
    let struck = AtomicBool::new(false);
    sandbox.choose_faults(move |call| {
        let is_first = call.method == STOP && !struck.swap(true, Ordering::SeqCst);
        is_first.then(|| fault.clone())
    });
}

fn outcome(report: &Value) -> (String, Value) {
    let told = of(report, "POA1");
    (told["outcome"].as_str().expect("an outcome").to_owned(), told["evidence"].clone())
}

fn was_stopped(sandbox: &Sandbox) -> bool {
    let world = sandbox.world().lock();
    world.journal().stops().iter().any(|stop| &*stop.number == "POA1" && stop.effect == StopEffect::Stopped)
}

/// The gateway does its work, and the answer suffers: a query shows the stop, at once.
#[test]
fn an_answer_that_is_lost_after_the_effect_is_found_out_by_a_query() {
    for fault in [Fault::LostAnswer, Fault::Hang, Fault::Truncated, Fault::ShortBody] {
        let (sandbox, lake) = one();
        strike(&sandbox, fault.clone());
        let report = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(0).json();
        assert_eq!(outcome(&report), ("stopped".into(), json!("query")), "{fault:?}");
        assert_eq!(of(&report, "POA1")["observed_status"], 30);
        assert_eq!(stop_calls(&sandbox), 1, "{fault:?} is not answered by another call");
        verify(&lake);
    }
}

/// Nothing was done, and nobody can know for the next five minutes; then a second stop settles the first and makes its
/// own call.
#[test]
fn a_call_without_an_answer_is_unknown_until_it_is_spent() {
    let faults = [
        Fault::Status(502),
        Fault::TooManyRequests { retry_after: Some(0) },
        Fault::Silence,
        Fault::Disconnect,
        Fault::Html,
        Fault::Empty,
        Fault::Business { code: 100, message: "系统异常".into() },
    ];
    for fault in faults {
        let (sandbox, lake) = one();
        strike(&sandbox, fault.clone());
        let said = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(3);
        assert!(said.stderr.contains("run the same command again after"), "{}", said.stderr);
        let report = said.json();
        assert_eq!(outcome(&report), ("unknown".into(), Value::Null), "{fault:?}");
        assert!(of(&report, "POA1")["error"].is_string(), "{report}");
        assert_eq!(status(&lake)["pending_stops"][0]["state"], "unknown");
        let shown = stop(&sandbox, &lake, &["POA1"]).expect_code(0).json();
        assert!(of(&shown, "POA1")["pending_since"].is_string(), "{shown}");
        assert!(!was_stopped(&sandbox), "{fault:?}");

        // Before its time: no second call, and nothing is told.
        let again = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(3).json();
        assert_eq!(outcome(&again).0, "unknown");
        assert_eq!(stop_calls(&sandbox), 1, "{fault:?}: an unsettled number gets no second call");

        sandbox.world().clock().advance(SPENT_SECONDS);
        let settled = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(0).json();
        assert_eq!(outcome(&settled), ("stopped".into(), json!("answer")), "{fault:?}");
        assert_eq!(results(&lake), ["unknown", "not_stopped", "stopped"]);
        assert_eq!((stop_calls(&sandbox), &status(&lake)["pending_stops"]), (2, &json!([])));
        verify(&lake);
    }
}

/// The outcomes of POA1 in the order of the log.
fn results(lake: &LakeDir) -> Vec<String> {
    let all = lake.manifests().into_iter().filter_map(|manifest| manifest["results"].as_array().cloned()).flatten();
    all.filter(|result| result["number"] == "POA1")
        .map(|result| result["outcome"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_effect_that_comes_after_the_answer_was_given_up_is_a_stop() {
    let (sandbox, lake) = one();
    strike(&sandbox, Fault::LateEffect { seconds: 100 });
    let report = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(3).json();
    assert_eq!(outcome(&report).0, "unknown");
    sandbox.world().clock().advance(101);
    let report = stop(&sandbox, &lake, &["--yes", "POA2"]).expect_code(0).json();
    assert_eq!(outcome(&report), ("stopped".into(), json!("query")), "settled although another number was asked for");
    assert_eq!(of(&report, "POA2")["outcome"], "stopped");
    assert_eq!(results(&lake), ["unknown", "stopped"]);
    assert_eq!(stop_calls(&sandbox), 2);
}

/// The words of both limits, in both forms of the comma: the same bytes are sent again, with the same timestamp and
/// signature.
#[test]
fn a_refusal_for_a_limit_is_waited_out_with_the_same_call() {
    for message in ["超过每分钟最大调用频率限制，请稍后重试", "超过每分钟最大并发次数限制,请稍后重试"]
    {
        let (sandbox, lake) = one();
        strike(&sandbox, Fault::Business { code: 100, message: message.into() });
        let report = run(&mut stopping_patiently(&sandbox, &lake, &["--yes", "POA1"])).expect_code(0).json();
        assert_eq!(outcome(&report), ("stopped".into(), json!("answer")));
        let world = sandbox.world().calls();
        let sent: Vec<_> =
            world.iter().filter(|call| call.method == STOP).map(|call| &call.params["timestamp"]).collect();
        assert_eq!((sent.len(), sent[0]), (2, sent[1]), "{message}");
        assert_eq!(lake.manifests().len(), 2, "one intent, one result");
    }
    // What does not go away in time is a refusal in the vendor's words.
    let (sandbox, lake) = one();
    sandbox.choose_faults(|call| {
        let refused =
            Fault::Business { code: 100, message: "超过每分钟最大调用频率限制,请稍后重试".into() };
        (call.method == STOP).then_some(refused)
    });
    let report = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(5).json();
    assert_eq!(outcome(&report), ("refused".into(), json!("answer")));
    assert!(of(&report, "POA1")["error"].as_str().unwrap().contains("频率"), "{report}");
}

/// A user's rule may take words for a limit; a call that changes the ERP is not repeated on it.
#[test]
fn a_users_rule_never_repeats_a_stop() {
    let (sandbox, lake) = one();
    strike(&sandbox, Fault::Business { code: 100, message: "系统维护".into() });
    let mut command = stopping(&sandbox, &lake, &["--yes", "POA1"]);
    let report = run(command.env("WDT_REFUSALS", "系统维护=slower")).expect_code(3).json();
    assert_eq!((outcome(&report).0.as_str(), stop_calls(&sandbox)), ("unknown", 1));
}

#[test]
fn wrong_credentials_are_found_out_before_there_is_an_intent() {
    let (sandbox, lake) = one();
    let said = run(stopping(&sandbox, &lake, &["--yes", "POA1"]).env("WDT_APPSECRET", "wrong:salt")).expect_code(4);
    for word in ["V1.4.8.1", "permission", "IP list", "stopForApi"] {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    assert_eq!(said.json()["untried"], json!(["POA1"]));
    assert!(lake.manifests().is_empty(), "nothing was intended");
    assert_eq!((sandbox.world().calls().len(), stop_calls(&sandbox)), (1, 0));
}

/// Statuses that say that nothing was done: authentication and arguments, address, timestamp.
#[test]
fn a_call_that_is_refused_as_a_whole_is_refused_in_the_vendors_words() {
    for (code, message, exit_code) in [
        (1, "验证失败：签名不正确", 4),
        (6, "IP不允许访问", 4),
        (7, "时间戳与服务器时间误差超过120秒", 4),
        (1, "方法不存在：purchase.PurchaseApply.stopForApi", 3),
    ] {
        let (sandbox, lake) = one();
        strike(&sandbox, Fault::Business { code, message: message.into() });
        let said = stop(&sandbox, &lake, &["--yes", "POA1", "POA2"]).expect_code(exit_code);
        assert!(said.stderr.contains("V1.4.8.1") && said.stderr.contains("IP list"), "{}", said.stderr);
        let report = said.json();
        for number in ["POA1", "POA2"] {
            let told = of(&report, number);
            assert_eq!(
                (&told["outcome"], &told["error"], &told["error_code"]),
                (&json!("refused"), &json!(message), &json!(code))
            );
        }
        assert_eq!(status(&lake)["pending_stops"], json!([]));
        // The clock is right again, the secret too: a refused number may be tried again at once.
        let again = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(0).json();
        assert_eq!(outcome(&again).0, "stopped");
    }
}

/// Nobody listens any more when the stop is to be sent: nothing is sent, which is known, and yet no evidence of
/// anything.
#[test]
fn what_could_not_be_sent_is_tried_again_and_then_unknown() {
    let (address, server) = answering_times(include_bytes!("fixtures/flagship_stop_done.json"), 1);
    let lake = LakeDir::new();
    let mut command = program();
    command.envs(fixed(Edition::Flagship, &address)).args(["stop", "--json", "--yes", "--lake", &lake.text(), "POA1"]);
    let said = run(command.args(["--max-retry-time", "2s", "--timeout", "1s"])).expect_code(5);
    server.join().unwrap();
    let report = said.json();
    assert_eq!(outcome(&report).0, "unknown");
    assert!(!said.stderr.contains("sign=") && !of(&report, "POA1")["error"].as_str().unwrap().contains("sign="));
    assert_eq!(results(&lake), ["unknown"]);
}

/// A client of the ERP that is too old to be asked for a number: nothing is found out, and others go on.
#[test]
fn a_query_that_is_refused_proves_nothing() {
    let (sandbox, lake) = one();
    sync_part(&sandbox, &lake, &days_ago(40), &days_ago(1));
    sandbox.choose_faults(|call| {
        let refused = || Fault::Business { code: 100, message: "开始时间不能为空".into() };
        let asks_for_a_number = call.params.contains_key("purchase_apply_no");
        if call.method == STOP { Some(Fault::LostAnswer) } else { asks_for_a_number.then(refused) }
    });
    let report = stop(&sandbox, &lake, &["--yes", "POA1", "POA2"]).expect_code(3).json();
    assert_eq!((outcome(&report).0.as_str(), &report["error"]), ("unknown", &Value::Null));
    sandbox.forget_script();
    let settled = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(0).json();
    assert_eq!(outcome(&settled), ("stopped".into(), json!("query")));
    assert_eq!(of(&settled, "POA2")["evidence"], "query");
    sync_part(&sandbox, &lake, &days_ago(40), &days_ago(1));
    assert_eq!(
        by_duckdb(&lake)["latest"],
        json!([["POA1", "stopped"], ["POA2", "stopped"]]),
        "not the rows that said unknown"
    );
}

/// The clock of this machine is off: the timestamp of the stop is the server's own, and is not signed a second time.
#[test]
fn a_clock_that_is_off_makes_no_difference() {
    for skew in [-90, 90, 400, -4_000] {
        let (sandbox, lake) = one();
        sandbox.world().clock().set_skew(skew);
        let report = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(0).json();
        assert_eq!(outcome(&report), ("stopped".into(), json!("answer")), "{skew}");
        assert_eq!(stop_calls(&sandbox), 1);
    }
}

/// After the intent and before the call; after the call and before its result.
#[test]
#[cfg(debug_assertions)]
fn death_between_intent_and_result_is_shown_and_settled() {
    for (point, called) in [("commit.done@1", false), ("land.file_written@1", true), ("commit.files_written@2", true)] {
        let (sandbox, lake) = one();
        let mut command = stopping(&sandbox, &lake, &["--yes", "POA1"]);
        command.env("WDT_LAKE_FAILPOINT", point).current_dir(lake.path().parent().unwrap());
        assert_eq!(run(&mut command).code, -6, "{point} is passed");
        assert_eq!((stop_calls(&sandbox), was_stopped(&sandbox)), (usize::from(called), called), "{point}");
        assert_eq!(status(&lake)["pending_stops"][0]["state"], "open", "{point}");
        let text = run(program().args(["status", "--lake", &lake.text()])).expect_code(0).stdout;
        assert!(text.contains("1 requisition pending") && text.contains("POA1"), "{text}");

        let next = stop(&sandbox, &lake, &["--yes", "POA1"]);
        if called {
            assert_eq!(outcome(&next.expect_code(0).json()), ("stopped".into(), json!("query")), "{point}");
            assert_eq!(results(&lake), ["stopped"]);
        } else {
            // The call of the dead may still be on its way.
            assert_eq!(outcome(&next.expect_code(3).json()).0, "unknown", "{point}");
            assert_eq!((results(&lake).len(), stop_calls(&sandbox)), (0, 0), "{point}");
            sandbox.world().clock().advance(SPENT_SECONDS);
            let settled = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(0).json();
            assert_eq!(outcome(&settled).0, "stopped");
            assert_eq!(results(&lake), ["not_stopped", "stopped"]);
        }
        assert_eq!(status(&lake)["pending_stops"], json!([]), "{point}");
        assert!(lake.files().iter().all(|name| !name.starts_with("_staging")) && lake.lease_is_free(), "{point}");
        verify(&lake);
    }
}

/// A requisition that somebody references to the end, or takes back, after an answer was lost: nothing is claimed.
#[test]
fn what_others_did_meanwhile_is_not_taken_for_a_stop() {
    let change = |requisition: &mut Requisition, status, referenced: bool| {
        requisition.status = status;
        if referenced {
            requisition.details[0].ref_num = requisition.details[0].real_num;
        }
        requisition.sum_up();
    };
    for (status_then, referenced) in [
        (Status::Referenced, true),
        (Status::ToReference, false),
        (Status::Cancelled, false),
        (Status::Undocumented(77), false),
    ] {
        let (sandbox, lake) = one();
        strike(&sandbox, Fault::Disconnect);
        stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(3);
        sandbox.world().lock().edit("POA1", |requisition| change(requisition, status_then, referenced));
        sandbox.world().clock().advance(SPENT_SECONDS);
        let report = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(3).json();
        assert_eq!(outcome(&report).0, "unknown", "{status_then:?}");
        // It does not hold up others, nor is it told again to whom did not ask.
        let other = stop(&sandbox, &lake, &["--yes", "POA2"]).expect_code(0).json();
        assert_eq!(other["requisitions"].as_array().unwrap().len(), 1, "{other}");
        assert_eq!(results(&lake), ["unknown"]);
        // Partly referenced again: then it was not stopped, and may be.
        sandbox.world().lock().edit("POA1", |requisition| {
            requisition.details[0].ref_num = wdt_lake::sandbox::Quantity::pieces(4);
            change(requisition, Status::PartlyReferenced, false);
        });
        let report = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(0).json();
        assert_eq!(outcome(&report).0, "stopped");
        assert_eq!(results(&lake), ["unknown", "not_stopped", "stopped"]);
    }
}

/// The same command again, after all or some of it was done: what is stopped is not called for again, unless somebody
/// has opened it again.
#[test]
fn what_is_stopped_is_not_stopped_again() {
    let (sandbox, lake) = one();
    stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(0);
    let again = stop(&sandbox, &lake, &["--yes", "POA1", "POA2"]).expect_code(0).json();
    assert_eq!(outcome(&again), ("stopped".into(), json!("answer")));
    assert_eq!(of(&again, "POA2")["outcome"], "stopped");
    assert_eq!((stop_calls(&sandbox), results(&lake).len()), (2, 1), "POA1 was called for once");
    let shown = stop(&sandbox, &lake, &["POA1"]).expect_code(0).json();
    assert!(of(&shown, "POA1")["stopped_at"].is_string(), "{shown}");
    sandbox.world().lock().set_status("POA1", Status::PartlyReferenced);
    stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(0);
    assert_eq!((stop_calls(&sandbox), results(&lake).len()), (3, 2));
}

/// Dead at each step of a stop, twice over, and run again until it is done: one effect, nothing open, nothing left
/// over.
#[test]
#[cfg(debug_assertions)]
fn death_at_every_step_of_a_stop_is_survived() {
    let mut deaths = 0;
    for point in wdt_lake::FAIL_POINTS {
        for nth in [1, 2] {
            let about = format!("{point}@{nth}");
            let (sandbox, lake) = one();
            let mut command = stopping(&sandbox, &lake, &["--yes", "POA1"]);
            command.env("WDT_LAKE_FAILPOINT", &about).current_dir(lake.path().parent().unwrap());
            deaths += u32::from(run(&mut command).code == -6);
            stop(&sandbox, &lake, &["--yes", "POA1"]);
            sandbox.world().clock().advance(SPENT_SECONDS);
            let report = stop(&sandbox, &lake, &["--yes", "POA1"]).expect_code(0).json();
            assert_eq!(outcome(&report).0, "stopped", "{about}");
            assert_eq!(results(&lake).last().map(String::as_str), Some("stopped"), "{about}");
            let effects = sandbox.world().lock().journal().stops().len();
            assert_eq!((effects, stop_calls(&sandbox)), (1, 1), "{about}: one call, and it took effect");
            assert_eq!(status(&lake)["pending_stops"], json!([]), "{about}");
            assert!(lake.files().iter().all(|name| !name.starts_with("_staging")), "{about}: {:?}", lake.files());
            verify(&lake);
        }
    }
    assert!(deaths >= 12, "{deaths} deaths");
}

/// Many at once, all of the same numbers: each number has one call at a time, and one effect.
#[test]
fn of_several_stops_of_one_number_at_once_one_makes_its_call() {
    let (sandbox, lake) = one();
    sandbox.behave(|behaviour| behaviour.latency = Latency { at_least: millis(150), at_most: millis(400) });
    let running: Vec<_> =
        (0..4).map(|_| start(&mut stopping_patiently(&sandbox, &lake, &["--yes", "POA1", "POA2"]))).collect();
    let reports: Vec<Value> = running.into_iter().map(|child| end(child).json()).collect();
    let outcomes: BTreeSet<String> = reports.iter().map(|report| outcome(report).0).collect();
    assert!(outcomes.contains("stopped"), "{reports:?}");
    let effects = |number: &str| {
        let world = sandbox.world().lock();
        let stops = world.journal().stops().iter().filter(|stop| &*stop.number == number).cloned();
        stops.collect::<Vec<_>>()
    };
    for number in ["POA1", "POA2"] {
        assert_eq!(effects(number).iter().filter(|stop| stop.effect == StopEffect::Stopped).count(), 1, "{number}");
        let intents = lake.manifests().into_iter().filter(|manifest| {
            manifest["intent"]["numbers"].as_array().is_some_and(|numbers| numbers.iter().any(|one| one == number))
        });
        assert_eq!(intents.count(), effects(number).len(), "{number}: an intent for each call");
    }
    assert_eq!(status(&lake)["pending_stops"], json!([]));
    verify(&lake);
}

fn millis(count: u64) -> std::time::Duration {
    std::time::Duration::from_millis(count)
}
