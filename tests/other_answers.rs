//! Promises 1 and 9 for answers that are none of the method: the code of a success with something else in place of the
//! list, other requisitions than were asked for, and a stop that is answered in other words than the vendor documents.
//! None of it is taken for an answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wdt_lake::Edition;

use crate::support::fake::{Fake, http, ok};
use crate::support::{LakeDir, Said, program, run};
use crate::under_fire::fixed;

const SECOND: &str = "2026-05-03 10:00:00";

fn ask(fake: &Fake, edition: Edition, arguments: &[&str]) -> Said {
    let mut command = program();
    command.envs(fixed(edition, &fake.url())).args(arguments);
    run(command.args(["--max-retry-time", "1s", "--timeout", "10s"]))
}

/// A sync of some days of May 2026, the summary as JSON.
fn sync(fake: &Fake, edition: Edition, lake: &LakeDir) -> Said {
    let lake = lake.text();
    let range = ["--from", "2026-05-01", "--to", "2026-05-04"];
    ask(fake, edition, &[&["sync", "--json", "--calls-per-minute", "0", "--lake", &lake], &range[..]].concat())
}

/// A requisition of either edition with one detail.
fn requisition(number: &str, status: i64, num: &str, referenced: &str) -> Value {
    let detail = json!({"purchase_apply_no": number, "rec_id": 1, "real_num": num, "num": num, "ref_num": referenced});
    json!({"purchase_apply_no": number, "status": status, "modified": SECOND, "details_list": [detail], "detail_list": [detail]})
}

/// The code of a success beside `fields`.
fn success(edition: Edition, fields: &str) -> Vec<u8> {
    let code = if edition == Edition::Flagship { "status" } else { "code" };
    ok(format!("{{\"{code}\":0,{fields}}}").as_bytes())
}

fn covers_nothing(lake: &LakeDir) -> bool {
    lake.manifests().iter().all(|manifest| manifest["kind"] == "start")
}

/// Whatever stands in place of the list, on the first call and on all others: nothing is covered, nobody is told that
/// all is well, and it ends soon.
#[test]
fn a_success_that_lists_nothing_covers_nothing() {
    let row = requisition("A1", 25, "3.0000", "1.0000").to_string();
    let text = Value::from(format!(r#"{{"total_count":1,"purchase_list":[{row}]}}"#)).to_string();
    // Exit codes: an outage, a gap, or no permission.
    let cases = [
        (r#""message":"系统繁忙，请稍后再试""#.to_owned(), 5),
        (r#""message":"数据库错误","success":false,"purchase_list":[]"#.into(), 7),
        (r#""message":"","purchase_list":[],"data":[],"success":false"#.into(), 7),
        (r#""data":null,"order_list":null,"purchase_list":null,"msg":"库表不存在""#.into(), 7),
        (r#""purchase_list":[],"data":{"order_list":[]},"message":"权限不足""#.into(), 4),
        (r#""purchase_list":[],"data":{"order_list":[],"total_count":0},"message":"系统繁忙""#.into(), 5),
        (r#""data":null"#.into(), 7),
        (format!(r#""data":{text}"#), 5),
        (format!(r#""data":{{"list":{{"0":{row}}}}}"#), 5),
        (format!(r#""purchase_apply_list":{{"0":{row}}}"#), 5),
        (r#""columns":["no"],"rows":[["A1"]]"#.into(), 5),
        (format!(r#""body":"{}""#, "eJyrVkrOT0lVslIyUNJRyk0tLk5MTwVyjJVqAYFFB+c=".repeat(3)), 5),
    ];
    // All at once: most of the time they wait to ask again.
    std::thread::scope(|scope| {
        for (fields, code) in &cases {
            for edition in [Edition::Enterprise, Edition::Y, Edition::Flagship] {
                scope.spawn(move || covers_nothing_at(edition, fields, *code));
            }
        }
    });
}

fn covers_nothing_at(edition: Edition, fields: &str, code: i32) {
    let (lake, body) = (LakeDir::new(), success(edition, fields));
    let fake = Fake::answering(move |_| body.clone());
    let began = Instant::now();
    let said = sync(&fake, edition, &lake).expect_code(code);
    assert!(covers_nothing(&lake), "{edition}: {fields}");
    assert!(said.json()["gaps"].as_array().is_some_and(|gaps| !gaps.is_empty()), "{edition}: {fields}: {said:?}");
    assert!(began.elapsed() < Duration::from_secs(90), "{edition}: {fields}: {:?}", began.elapsed());
}

/// Words that no row of the table knows are no refusal beside a list that is there, or a total of 0.
#[test]
fn an_empty_list_may_have_words_of_its_own() {
    for edition in [Edition::Enterprise, Edition::Flagship] {
        for fields in [
            r#""message":"ok","purchase_list":[],"data":{"order_list":[]}"#,
            r#""message":"暂无数据","purchase_list":{},"data":{"order_list":{}}"#,
            r#""message":"共0条","total_count":"0","data":{"total_count":0}"#,
            r#""success":true,"message":"查询成功","total_count":0,"purchase_list":null,"data":{"total_count":0,"order_list":null}"#,
        ] {
            let (lake, body) = (LakeDir::new(), success(edition, fields));
            let fake = Fake::answering(move |_| body.clone());
            sync(&fake, edition, &lake).expect_code(0);
            assert!(!covers_nothing(&lake), "{edition}: {fields}");
        }
    }
}

/// Rows are judged as rows, whatever HTTP calls its success.
#[test]
fn a_sound_body_is_read_with_any_status_of_success() {
    let row = requisition("A1", 25, "3.0000", "1.0000");
    for status in [200, 201, 203, 206] {
        let body = json!({"code": 0, "message": "", "total_count": 1, "purchase_list": [row]}).to_string();
        let lake = LakeDir::new();
        let fake = Fake::answering(move |_| http(status, &[], body.as_bytes()));
        let summary = sync(&fake, Edition::Enterprise, &lake).expect_code(0).json();
        assert_eq!(summary["rows"]["purchase_apply"], 1, "{status}");
    }
    // A stop is not settled by what somebody on the way has made of its answer.
    for status in [203, 206] {
        let fake = stop_answered(http(status, &[], br#"{"status":0,"data":[]}"#), Vec::new());
        assert_eq!(stopped(&fake, 3), ("unknown".to_owned(), Value::Null), "{status}");
    }
}

/// A gateway that gives these requisitions, and says that it has so many.
fn giving(rows: Vec<Value>, total: usize) -> Fake {
    let body = json!({"status": 0, "data": {"total_count": total, "order_list": rows}}).to_string();
    Fake::answering(move |_| ok(body.as_bytes()))
}

#[test]
fn get_shows_what_was_asked_for_and_says_what_else_came() {
    let row = |number| requisition(number, 25, "3.0000", "1.0000");
    let numbers = |said: &Value| -> Vec<String> {
        let shown = said["requisitions"].as_array().unwrap();
        shown.iter().map(|shown| shown["purchase_apply_no"].as_str().unwrap().to_owned()).collect()
    };
    let broken = |number: &str| json!({"purchase_apply_no": number, "status": "x", "modified": SECOND});
    for (rows, total, code, shown, warnings) in [
        (vec![row("POA1")], 1, 0, vec!["POA1"], 0),
        (vec![], 0, 0, vec![], 0),
        (vec![row("OTHER1"), row("POA10"), row("POA1")], 3, 0, vec!["POA1"], 1),
        (vec![row("OTHER1"), broken("OTHER2")], 2, 3, vec![], 1),
        (vec![row("POA1")], 5, 0, vec!["POA1"], 1),
        (vec![row("POA1"), broken("POA1")], 2, 3, vec!["POA1"], 1),
    ] {
        let about = format!("{rows:?}, {total}");
        let said = ask(&giving(rows.clone(), total), Edition::Flagship, &["get", "POA1", "--json"]).expect_code(code);
        let json = said.json();
        assert_eq!(numbers(&json), shown, "{about}");
        assert_eq!(json["warnings"].as_array().unwrap().len(), warnings, "{about}: {json}");
        assert_eq!(said.stderr.matches("warning: ").count(), warnings, "{about}: {}", said.stderr);
        let is_unknown = shown.is_empty();
        assert_eq!(json["unknown"], if is_unknown { json!(["POA1"]) } else { json!([]) }, "{about}");
        let text = ask(&giving(rows.clone(), total), Edition::Flagship, &["get", "POA1"]).stdout;
        assert!(!text.contains("OTHER1") && !text.contains("POA10"), "{text}");
        assert_eq!(text.contains("does not know"), is_unknown && rows.is_empty(), "{text}");
        assert_eq!(text.contains("does not have"), is_unknown && !rows.is_empty(), "{text}");
    }
    let busy = Fake::answering(|_| ok(r#"{"status":0,"message":"系统繁忙，请稍后再试"}"#.as_bytes()));
    let said = ask(&busy, Edition::Flagship, &["get", "POA1"]).expect_code(5);
    assert!(said.stdout.is_empty() && said.stderr.contains("系统繁忙"), "{said:?}");
}

#[test]
fn check_wants_an_answer_of_the_method() {
    for (fields, codes) in [
        (r#""purchase_list":[],"data":{"order_list":[]}"#, [0, 0]),
        (r#""total_count":0,"data":{"total_count":0}"#, [0, 0]),
        (r#""data":"<html>not this method</html>""#, [5, 7]),
        (r#""data":{"version":"1.0","features":["a"]}"#, [5, 5]),
        (r#""purchase_list":[{"shop_no":"1"}],"data":{"order_list":[{"shop_no":"1"}]}"#, [5, 5]),
        (r#""message":"系统繁忙""#, [5, 5]),
        (r#""message":"""#, [7, 7]),
        (r#""purchase_list":[],"data":[],"message":"appkey没有权限""#, [4, 4]),
    ] {
        for edition in [Edition::Enterprise, Edition::Flagship] {
            let body = success(edition, fields);
            let fake = Fake::answering(move |_| body.clone());
            let said = ask(&fake, edition, &["check"]);
            assert!(codes.contains(&said.code), "{edition}: {fields}: {said:?}");
            assert_eq!(said.stdout.contains("accepts the account"), said.code == 0, "{edition}: {fields}");
        }
    }
}

/// A flagship gateway that answers a stop so, and a query by number with these rows.
fn stop_answered(stop: Vec<u8>, rows: Vec<Value>) -> Fake {
    let of = |rows: &[Value]| {
        ok(json!({"status": 0, "data": {"total_count": rows.len(), "order_list": rows}}).to_string().as_bytes())
    };
    let (found, nothing) = (of(&rows), of(&[]));
    Fake::replying(move |request| match request {
        request if request.contains("stopForApi") => stop.clone(),
        request if request.contains("purchase_apply_no") => found.clone(),
        _ => nothing.clone(),
    })
}

/// What a stop of POA1 comes to, and by what that is known.
fn stopped(fake: &Fake, code: i32) -> (String, Value) {
    let lake = LakeDir::new();
    let arguments = ["stop", "--json", "--yes", "--ignore-lake", "--lake", &lake.text(), "POA1"];
    let report = ask(fake, Edition::Flagship, &arguments).expect_code(code).json();
    let told = &report["requisitions"][0];
    assert_eq!(told["purchase_apply_no"], "POA1", "{report}");
    assert_eq!(fake.asked().iter().filter(|(_, request)| request.contains("stopForApi")).count(), 1);
    (told["outcome"].as_str().unwrap().to_owned(), told["evidence"].clone())
}

#[test]
fn a_stop_is_believed_only_as_the_vendor_documents_its_answer() {
    for answer in [
        r#"{"status":0,"data":[]}"#,
        r#"{"status":"0","total":0,"data":[],"message":"ok"}"#,
        r#"{"data":[],"message":"","success":true,"status":0,"trace":{"id":"7"}}"#,
    ] {
        let told = stopped(&stop_answered(ok(answer.as_bytes()), Vec::new()), 0);
        assert_eq!(told, ("stopped".to_owned(), json!("answer")), "{answer}");
    }
    for answer in [
        r#"{"data":[]}"#,
        r#"{"message":"系统异常","success":false,"data":[]}"#,
        r#"{"status":0,"data":[],"success":false}"#,
        r#"{"status":0,"data":[],"status":100,"message":"busy"}"#,
        r#"{"status":0,"data":[],"st\u0061tus":100}"#,
        r#"{"status":"","data":[]}"#,
        r#"{"status":null,"data":[]}"#,
        r#"{"code":0,"data":[]}"#,
        r#"{"status":0,"message":"POA1: 采购申请单状态不是部分引用","data":[]}"#,
        r#"{"status":0,"data":[],"msg":"系统繁忙"}"#,
        r#"{"status":0,"data":null}"#,
    ] {
        let told = stopped(&stop_answered(ok(answer.as_bytes()), Vec::new()), 3);
        assert_eq!(told, ("unknown".to_owned(), Value::Null), "{answer}");
    }
}

/// The response is lost, and the query shows more than the number, or the number more than once.
#[test]
fn a_lost_stop_is_told_by_rows_of_its_own_number_only() {
    let row = requisition;
    let at = |mut row: Value, second: &str| {
        row["modified"] = second.into();
        row
    };
    let lost = || http(502, &[], b"");
    let done = || row("POA1", 30, "3.0000", "3.0000");
    let open = || row("POA1", 30, "9.0000", "1.0000");
    let partly = || row("POA1", 25, "9.0000", "1.0000");
    let others = || vec![row("POA10", 25, "9.0000", "1.0000"), row("poa1", 30, "9.0000", "1.0000")];
    let broken = || json!({"purchase_apply_no": "POA1", "status": "x", "modified": SECOND});
    let unknown = || ("unknown".to_owned(), Value::Null);
    let by_query = || ("stopped".to_owned(), json!("query"));
    for (rows, code, told) in [
        (vec![open()], 0, by_query()),
        (vec![done()], 3, unknown()),
        ([others(), vec![done()]].concat(), 3, unknown()),
        ([vec![open()], others()].concat(), 0, by_query()),
        (others(), 3, unknown()),
        // Twice: it must say the same.
        (vec![partly(), done()], 3, unknown()),
        (vec![open(), done()], 3, unknown()),
        (vec![partly(), open()], 3, unknown()),
        (vec![open(), open()], 0, by_query()),
        (vec![open(), broken()], 3, unknown()),
        // An older version beside the newest.
        (vec![at(partly(), "2026-05-02 10:00:00"), open()], 0, by_query()),
        (vec![at(open(), "2026-05-02 10:00:00"), done()], 3, unknown()),
    ] {
        let about = format!("{rows:?}");
        assert_eq!(stopped(&stop_answered(lost(), rows), code), told, "{about}");
    }
}

/// Pages behind so many rows are refused: smaller windows do without them.
#[test]
fn a_page_that_lies_too_deep_leaves_no_gap() {
    for message in ["分页过深", "Result window is too large", "五月不行"] {
        let rows: Vec<Value> = (0..250)
            .map(|at| {
                let mut row = requisition(&format!("A{at:03}"), 25, "3.0000", "1.0000");
                row["modified"] = format!("2026-05-{:02} {:02}:{:02}:00", 1 + at % 4, at / 60, at % 60).into();
                row
            })
            .collect();
        let fake = Fake::replying(move |request| {
            let form = request.rsplit("\r\n\r\n").next().unwrap_or_default();
            let fields: Vec<(String, String)> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
            let field =
                |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap();
            let (page, size): (usize, usize) = (field("page_no").parse().unwrap(), field("page_size").parse().unwrap());
            if page * size >= 100 {
                return ok(json!({"code": 9, "message": message}).to_string().as_bytes());
            }
            let mut own: Vec<&Value> = rows
                .iter()
                .filter(|row| (field("start_time")..=field("end_time")).contains(&row["modified"].as_str().unwrap()))
                .collect();
            own.sort_by_key(|row| row["modified"].as_str());
            let page = own[(page * size).min(own.len())..((page + 1) * size).min(own.len())].to_vec();
            ok(json!({"code": 0, "message": "", "total_count": own.len(), "purchase_list": page})
                .to_string()
                .as_bytes())
        });
        let lake = LakeDir::new();
        let said = sync(&fake, Edition::Enterprise, &lake);
        let summary = said.expect_code(0).json();
        assert_eq!(summary["rows"]["purchase_apply"], 250, "{message}");
        let most = if message == "五月不行" { 60 } else { 30 };
        assert!(fake.asked().len() < most, "{message}: {} calls", fake.asked().len());
    }
}
