//! Answers in an odd form, with an odd clock, or none at all.

use std::io::Read as _;

use serde_json::Value;

use super::bench::{Answer, Asked, Bench};
use crate::edition::Edition;
use crate::sandbox::*;

/// An answer without rows, one with rows, and one whose requisition has no details.
async fn three(edition: Edition, oddities: &str) -> [Answer; 3] {
    let bench = Bench::new(edition, 2, oddities);
    let nothing = bench.call(Asked { empty: true, ..Asked::default() }).await;
    let rows = bench.all().await;
    bench.sandbox.world().lock().edit_at("POA1", super::at(super::bench::FIRST), |one| one.details.clear());
    [nothing, rows, bench.all().await]
}

#[tokio::test]
async fn lists_come_in_other_forms() {
    let object = Value::Object(serde_json::Map::new());
    for edition in Edition::ALL {
        let ways = [
            ("", Some(Value::Array(vec![]))),
            ("empty-as-object", Some(object.clone())),
            ("empty-as-null", Some(Value::Null)),
            ("empty-left-out", None),
        ];
        for (oddity, empty) in ways {
            let [nothing, rows, bare] = three(edition, oddity).await;
            assert_eq!((nothing.total(), nothing.list()), (Some(0), empty.clone()), "{edition}: {oddity}");
            assert_eq!(rows.rows().len(), 2);
            assert_eq!(bare.details(&bare.rows()[0]), empty, "{edition}: {oddity}");
            assert!(
                bare.details(&bare.rows()[1]).is_some_and(|list| list.as_array().is_some_and(|list| list.len() == 1))
            );
        }
        let [nothing, rows, _] = three(edition, "keyed-lists").await;
        assert_eq!(nothing.list(), Some(Value::Array(vec![])), "PHP writes an empty array as one");
        let list = rows.list().expect("a list");
        let keys: Vec<_> = list.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["0", "1"]);
        assert_eq!(list["1"]["purchase_apply_no"], "POA2");
        assert!(rows.details(&list["0"]).expect("details")["0"]["rec_id"].is_string() || edition == Edition::Flagship);
        assert!(rows.details(&list["0"]).expect("details").is_object());
        let [nothing, rows, _] = three(edition, "keyed-lists,empty-as-object").await;
        assert_eq!((nothing.list(), rows.list().map(|list| list.is_object())), (Some(object.clone()), Some(true)));
    }
}

#[tokio::test]
async fn noise_stands_around_the_json() {
    for edition in Edition::ALL {
        let plain = Bench::new(edition, 2, "").all().await;
        let odd = Bench::new(edition, 2, "bom=3,blank-lines=2").all().await;
        assert_eq!(odd.text(), format!("\u{feff}\u{feff}\u{feff}\r\n\r\n{}\r\n\r\n", plain.text()));
        let bench = Bench::new(edition, 2, "php-warning=2,bom=0");
        assert_eq!(bench.all().await.body, plain.body);
        let warned = bench.all().await;
        assert!(!warned.is_json() && warned.text().contains("<b>Warning</b>") && warned.text().ends_with(plain.text()));
        let bench = Bench::new(edition, 2, "html=2");
        assert_eq!(bench.all().await.body, plain.body);
        let page = bench.all().await;
        assert!(page.status == 200 && page.text().starts_with("<html>"), "{}", page.text());
        assert_eq!(bench.sandbox.world().calls()[1].outcome, Outcome::Faulted("html"));
    }
}

#[tokio::test]
async fn unknown_fields_stand_around_the_known_ones() {
    for edition in Edition::ALL {
        let plain = Bench::new(edition, 2, "").all().await;
        let odd = Bench::new(edition, 2, "outer-fields").all().await;
        assert_eq!((odd.rows(), odd.total()), (plain.rows(), plain.total()));
        let json = odd.json();
        let names: Vec<_> = json.as_object().expect("an object").keys().collect();
        assert!(names.iter().any(|name| *name == "trace") && json["request_id"] == "77", "{names:?}");
        assert!(odd.text().starts_with("{\"trace\"") && odd.text().ends_with("\"cost\":1.5e-3}"));
    }
    for edition in [Edition::Enterprise, Edition::Y] {
        let json = Bench::new(edition, 2, "outer-status").all().await.json();
        assert_eq!((&json["status"], &json["code"]), (&Value::from(1), &Value::from("0")));
    }
}

#[tokio::test]
async fn answers_are_packed_as_told() {
    for edition in Edition::ALL {
        let plain = Bench::new(edition, 9, "").all().await;
        assert!(!plain.headers.contains_key("content-encoding"));
        for (oddities, label, members) in [
            ("gzip", Some("gzip"), 1),
            ("gzip-members=3", Some("gzip"), 3),
            ("x-gzip", Some("x-gzip"), 1),
            ("gzip-upper,gzip-members", Some("GZIP"), 2),
            ("gzip-unlabelled", None, 1),
        ] {
            let odd = Bench::new(edition, 9, oddities).all().await;
            assert_eq!(odd.headers.get("content-encoding").map(String::as_str), label, "{oddities}");
            let (mut first, mut all) = (Vec::new(), Vec::new());
            flate2::read::GzDecoder::new(&odd.body[..]).read_to_end(&mut first).expect("a member");
            flate2::read::MultiGzDecoder::new(&odd.body[..]).read_to_end(&mut all).expect("gzip");
            assert_eq!(all, plain.body, "{oddities}");
            assert_eq!(first.len(), plain.body.len().div_ceil(members), "{oddities}");
        }
    }
}

#[tokio::test]
async fn dates_are_wrong_as_told() {
    let now = "Tue, 19 May 2026 16:00:00 GMT";
    let cases = [
        ("", [Some(now); 3]),
        ("date-ahead=28800", [Some("Wed, 20 May 2026 00:00:00 GMT"); 3]),
        ("date-behind=28800", [Some("Tue, 19 May 2026 08:00:00 GMT"); 3]),
        ("date-behind=1e18", [Some("Thu, 01 Jan 1970 00:00:00 GMT"); 3]),
        ("date-1970", [Some("Thu, 01 Jan 1970 00:00:00 GMT"); 3]),
        ("date-9999", [Some("Fri, 31 Dec 9999 23:59:59 GMT"); 3]),
        ("date-9999=3", [Some(now), Some(now), Some("Fri, 31 Dec 9999 23:59:59 GMT")]),
        ("date-ahead=1e18", [Some("Fri, 31 Dec 9999 23:59:59 GMT"); 3]),
        ("no-date", [None; 3]),
        ("node-date-ahead", [Some(now), Some(now), Some("Wed, 20 May 2026 16:00:00 GMT")]),
        ("node-ahead=2", [Some(now), Some("Wed, 20 May 2026 16:00:00 GMT"), Some(now)]),
    ];
    for edition in Edition::ALL {
        for (oddities, dates) in cases {
            let bench = Bench::new(edition, 2, oddities);
            for (nth, date) in (1..).zip(dates) {
                let answer = bench.all().await;
                assert_eq!(answer.headers.get("date").map(String::as_str), date, "{edition}: {oddities}");
                let refused = oddities.starts_with("node-ahead") && nth == 2;
                assert_eq!(answer.list().is_none(), refused, "{edition}: {oddities}: {}", answer.text());
            }
        }
    }
}

#[tokio::test]
async fn timestamps_are_checked_by_another_clock_or_by_none() {
    for edition in Edition::ALL {
        for (oddities, accepted) in [
            ("", [false, true, false]),
            ("timestamps-ahead=1000", [false, false, true]),
            ("timestamps-behind=1000", [true, false, false]),
            ("timestamps-unchecked", [true, true, true]),
        ] {
            let bench = Bench::new(edition, 2, oddities);
            for (seconds_off, accepted) in [-1000, 0, 1000].into_iter().zip(accepted) {
                let answer = bench.call(Asked { seconds_off, ..Asked::default() }).await;
                assert_eq!(answer.list().is_some(), accepted, "{edition}: {oddities}: {seconds_off}");
                assert_eq!(answer.headers["date"], "Tue, 19 May 2026 16:00:00 GMT", "`Date` goes by the other clock");
            }
        }
    }
}

/// Code and text of a refusal.
fn refusal(edition: Edition, answer: &Answer) -> (i64, String) {
    let json = answer.json();
    let code = if edition == Edition::Flagship { &json["status"] } else { &json["code"] };
    (code.as_i64().expect("a code"), json["message"].as_str().expect("a text").to_owned())
}

#[tokio::test]
async fn refusals_pass_and_vary() {
    let busy = [
        "系统繁忙",
        "调用太频繁，请稍后再试!",
        "请求过于频繁",
        "系统异常，请稍后再试",
        "接口调用已被限流",
        "Too many requests",
        "请求超时",
        "系统维护中",
        "QPS超过上限",
    ];
    for edition in Edition::ALL {
        let code = if edition == Edition::Flagship { 100 } else { 9 };
        let bench = Bench::new(edition, 2, "busy=2");
        for text in busy.iter().chain(&busy[..1]) {
            assert_eq!(bench.all().await.total(), Some(2));
            assert_eq!(refusal(edition, &bench.all().await), (code, (*text).to_owned()));
        }
        let told = Outcome::Refused { code, message: busy[0].to_owned() };
        assert_eq!(bench.sandbox.world().calls()[1].outcome, told);
        for (oddity, text) in [("system-error=1", "数据库错误"), ("unknown-code=1", "未知错误")] {
            let (code, message) = refusal(edition, &Bench::new(edition, 2, oddity).all().await);
            assert!(code != 0 && message == text, "{edition}: {oddity}: {code} {message}");
        }
        let bench = Bench::new(edition, 2, "unavailable=2");
        assert_eq!([bench.all().await.status, bench.all().await.status, bench.all().await.status], [200, 503, 200]);
        for (oddity, after) in [("retry-after=7:1", "7"), ("retry-after-date=90:1", "Tue, 19 May 2026 16:01:30 GMT")] {
            let answer = Bench::new(edition, 2, oddity).all().await;
            assert_eq!((answer.status, &*answer.headers["retry-after"]), (503, after), "{edition}");
        }
    }
}
