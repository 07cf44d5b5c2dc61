//! The flagship gateway over real HTTP: its strictness, its forms, and stops whose answer and effect go separate ways.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{FROM, TO, at};
use crate::edition::Edition;
use crate::sandbox::*;
use crate::time::BeijingTime;

const SEARCH: &str = "purchase.PurchaseApply.search";
const STOP: &str = "purchase.PurchaseApply.stopForApi";

/// A flagship sandbox, its clock held an hour after its last requisition, and a client.
struct Bench {
    sandbox: Sandbox,
    client: reqwest::Client,
}

impl Bench {
    fn new(requisitions: usize) -> Self {
        let options = Options {
            edition: Edition::Flagship,
            requisitions: generate(1, requisitions, 19, at(TO)),
            clock: SandboxClock::held(at(TO).plus_seconds(3600)),
            ..Options::default()
        };
        let sandbox = Sandbox::start(options).expect("a sandbox");
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client");
        Self { sandbox, client }
    }

    /// A bench that holds a requisition in each state, the number of which is the state's word.
    fn with_every_state() -> Self {
        let bench = Self::new(0);
        for (id, number, status) in [
            (764, "POA2309040001", Status::PartlyReferenced),
            (767, "POA2309130001", Status::Referenced),
            (768, "POA2309150001", Status::PartlyReferenced),
        ] {
            let mut requisition = Requisition::plain(id, number, at("2026-05-10 10:00:00"));
            requisition.status = status;
            bench.sandbox.world().lock().add_as_is(requisition);
        }
        bench
    }

    /// The query string of a call, with `changes` made before it is signed; an empty value leaves a parameter out.
    fn query(&self, method: &str, body: &str, changes: &[(&str, &str)]) -> String {
        let credentials = self.sandbox.credentials();
        let (secret, salt) = credentials.secret.expose().split_once(':').expect("secret:salt");
        let timestamp = (self.sandbox.world().clock().now().unix() - 1_325_347_200).to_string();
        let mut params = BTreeMap::from(
            [
                ("sid", &*credentials.sid),
                ("key", &*credentials.appkey),
                ("salt", salt),
                ("method", method),
                ("v", "1.0"),
                ("timestamp", &timestamp),
                ("body", body),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        if method == SEARCH {
            let paging = [("page_no", "0"), ("page_size", "40"), ("calc_total", "1")];
            params.extend(paging.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        params.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        params.retain(|_, value| !value.is_empty());
        let sign = expected_flagship_signature(&params, secret);
        params.insert("sign".to_owned(), sign);
        params.remove("body");
        form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()
    }

    async fn post(&self, query: String, body: &str) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}?{query}", self.sandbox.base_url());
        self.client.post(url).header("content-type", "application/json").body(body.to_owned()).send().await
    }

    async fn call(&self, method: &str, body: Value, changes: &[(&str, &str)]) -> String {
        let body = body.to_string();
        let answer = self.post(self.query(method, &body, changes), &body).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.text().await.expect("a body")
    }

    async fn search(&self, changes: &[(&str, &str)]) -> Value {
        let text = self.call(SEARCH, json!([{"start_time": FROM, "end_time": TO}]), changes).await;
        serde_json::from_str(&text).expect("JSON")
    }

    async fn stop(&self, numbers: &[&str]) -> String {
        self.call(STOP, json!([numbers]), &[]).await
    }

    fn status(&self, number: &str) -> (Status, BeijingTime) {
        let world = self.sandbox.world().lock();
        world.find(number).map(|found| (found.status, found.modified)).expect("it is there")
    }

    fn effects(&self) -> Vec<(u64, String, StopEffect, BeijingTime)> {
        let world = self.sandbox.world().lock();
        let told = |stop: &Stop| (stop.call, stop.number.to_string(), stop.effect.clone(), stop.moment.time);
        world.journal().stops().iter().map(told).collect()
    }
}

fn numbers(answer: &Value) -> Vec<String> {
    let rows = answer["data"]["order_list"].as_array().expect("rows");
    rows.iter().map(|row| row["purchase_apply_no"].as_str().expect("a number").to_owned()).collect()
}

#[tokio::test]
async fn a_search_answers_by_pages_and_counts_only_when_it_is_asked_to() {
    let bench = Bench::new(95);
    let first = bench.search(&[]).await;
    assert_eq!((&first["status"], &first["data"]["total_count"]), (&json!(0), &json!(95)));
    let mut all = numbers(&first);
    for page_no in ["1", "2"] {
        let answer = bench.search(&[("page_no", page_no), ("calc_total", "0")]).await;
        assert!(answer["data"].get("total_count").is_none());
        all.extend(numbers(&answer));
    }
    let calls = bench.sandbox.world().calls();
    assert!(calls.iter().all(|call| call.method == SEARCH && call.params["start_time"] == FROM));
    assert!(calls.iter().all(|call| !call.params.contains_key("sign") && !call.params.contains_key("salt")));
    assert_eq!(calls.iter().map(|call| call.total).collect::<Vec<_>>(), [Some(95), None, None]);
    let world = bench.sandbox.world().lock();
    assert_eq!(all, world.requisitions().map(|one| one.purchase_apply_no.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_requisition_looks_as_the_vendors_table_says() {
    let bench = Bench::new(0);
    let mut requisition = Requisition::plain(9, "POA1", at("2026-05-10 10:00:00"));
    requisition.details[0].ref_num = Quantity(30_001);
    bench.sandbox.world().lock().add_as_is(requisition.clone());
    let expected = concat!(
        r#"{"status":0,"data":{"total_count":1,"order_list":[{"purchase_apply_no":"POA1","status":23,"apply_name":"王芳","#,
        r#""warehouse_no":"WH001","warehouse_name":"杭州中心仓","remark":"","expected_time":"0000-00-00 00:00:00","#,
        r#""modified":"2026-05-10 10:00:00","created":"2026-05-10 09:59:00","detail_list":[{"purchase_apply_no":"POA1","#,
        r#""rec_id":900,"spec_no":"SP100001","goods_no":"SP100001","goods_name":"SP100001","spec_name":"默认规格","#,
        r#""num":"10.0000","ref_num":"3.0001","stockin_num":"1.5000","remark":"","#,
        r#""brand_name":"无"}]}]}}"#
    );
    assert_eq!(bench.call(SEARCH, json!([{"purchase_apply_no": "POA1"}]), &[]).await, expected);
    bench.sandbox.behave(|behaviour| behaviour.outer = Outer::None);
    let bare = bench.call(SEARCH, json!([{"purchase_apply_no": "POA1"}]), &[]).await;
    assert_eq!(format!(r#"{{"status":0,"data":{bare}}}"#), expected);
    // A provider that all lines share is the header's.
    (requisition.details[0].provider_no, requisition.details[0].provider_name) = ("P1".into(), "甲记".into());
    bench.sandbox.world().lock().add_as_is(requisition);
    let shared = bench.call(SEARCH, json!([{"purchase_apply_no": "POA1"}]), &[]).await;
    assert!(
        shared.contains(r#""warehouse_name":"杭州中心仓","provider_no":"P1","provider_name":"甲记","remark":"#),
        "{shared}"
    );
    let unknown = bench.call(SEARCH, json!([{"purchase_apply_no": "POA9"}]), &[("calc_total", "0")]).await;
    assert_eq!(unknown, r#"{"order_list":[]}"#);
    bench.sandbox.behave(|behaviour| behaviour.uncounted = Uncounted::Zero);
    let unknown = bench.call(SEARCH, json!([{"purchase_apply_no": "POA9"}]), &[("calc_total", "0")]).await;
    assert_eq!(unknown, r#"{"total_count":0,"order_list":[]}"#);
}

#[tokio::test]
async fn the_end_belongs_to_the_interval_or_not() {
    let bench = Bench::new(0);
    for (id, second) in [(1, "09:59:59"), (2, "10:00:00"), (3, "10:00:05"), (4, "10:00:06")] {
        let modified = at(&format!("2026-05-10 {second}"));
        bench.sandbox.world().lock().add_as_is(Requisition::plain(id, &format!("POA{id}"), modified));
    }
    for (interval, expected) in [(Interval::Closed, &["POA2", "POA3"][..]), (Interval::HalfOpen, &["POA2"])] {
        bench.sandbox.behave(|behaviour| behaviour.interval = interval);
        let span = json!([{"start_time": "2026-05-10 10:00:00", "end_time": "2026-05-10 10:00:05"}]);
        let answer: Value = serde_json::from_str(&bench.call(SEARCH, span, &[]).await).expect("JSON");
        assert_eq!(numbers(&answer), expected, "{interval:?}");
    }
    let nothing = json!([{"start_time": "2026-05-10 10:00:00", "end_time": "2026-05-10 10:00:00"}]);
    let answer: Value = serde_json::from_str(&bench.call(SEARCH, nothing, &[]).await).expect("JSON");
    assert_eq!((numbers(&answer).len(), &answer["data"]["total_count"]), (0, &json!(0)));
}

#[tokio::test]
async fn strangers_and_malformed_calls_are_refused() {
    let bench = Bench::new(3);
    let (early, late) = {
        let now = bench.sandbox.world().clock().now().unix() - 1_325_347_200;
        ((now - 121).to_string(), (now + 121).to_string())
    };
    let span = |start: &str, end: &str| json!([{"start_time": start, "end_time": end}]);
    let june = span(FROM, TO);
    /// Method, body, changes before signing, and the status and words of the refusal.
    type Case<'a> = (&'a str, Value, &'a [(&'a str, &'a str)], i64, &'a str);
    let cases: &[Case<'_>] = &[
        (SEARCH, june.clone(), &[("sid", "nobody")], 1, "sid is not exists"),
        (SEARCH, june.clone(), &[("key", "nobody")], 1, "验证失败"),
        (SEARCH, june.clone(), &[("salt", "pepper")], 1, "验证失败"),
        (SEARCH, june.clone(), &[("v", "2.0")], 1, "版本号"),
        (SEARCH, june.clone(), &[("timestamp", &early)], 7, "时间戳"),
        (SEARCH, june.clone(), &[("timestamp", &late)], 7, "时间戳"),
        (SEARCH, june.clone(), &[("page_no", "")], 100, "此方法仅支持分页查询："),
        (SEARCH, june.clone(), &[("page_size", "")], 100, "此方法仅支持分页查询："),
        (SEARCH, june.clone(), &[("page_size", "101")], 1, "page_size"),
        (SEARCH, june.clone(), &[("calc_total", "2")], 1, "calc_total"),
        (SEARCH, span("2026-05-01", TO), &[], 100, "日期格式不合法"),
        (SEARCH, span(TO, FROM), &[], 100, "开始时间"),
        (SEARCH, span("2026-05-01 00:00:00", "2026-05-31 00:00:01"), &[], 100, "您的查询时间过宽,查询时间不能大于30天"),
        (SEARCH, json!([{}]), &[], 100, "不能为空"),
        (SEARCH, json!({"start_time": FROM, "end_time": TO}), &[], 1, "参数错误"),
        (SEARCH, json!([{"start_time": FROM, "end_time": TO}, {}]), &[], 1, "参数错误"),
        (SEARCH, json!([{"start_time": FROM, "end": TO}]), &[], 1, "未知字段end"),
        (STOP, json!(["POA1"]), &[], 1, "参数错误"),
        (STOP, json!([[1]]), &[], 1, "applyList"),
        (STOP, json!([[]]), &[], 100, "不能为空"),
        ("purchase.PurchaseApply.delete", json!([]), &[], 1, "方法不存在"),
    ];
    for (method, body, changes, status, words) in cases {
        let text = bench.call(method, body.clone(), changes).await;
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let is_refused = answer["status"] == *status && answer["message"].as_str().is_some_and(|m| m.contains(words));
        assert!(is_refused && answer.get("data").is_none(), "{method} {body} {changes:?}: {text}");
    }
    assert_eq!(bench.search(&[]).await["data"]["total_count"], 3);
    let longest = bench.call(SEARCH, span("2026-05-01 00:00:00", "2026-05-31 00:00:00"), &[]).await;
    assert!(longest.contains("total_count"), "thirty days are allowed: {longest}");
}

#[tokio::test]
async fn every_byte_of_query_and_body_is_signed() {
    let bench = Bench::with_every_state();
    let body = r#"[["POA2309040001"]]"#;
    let signed = bench.query(STOP, body, &[]);
    let forged = [
        (signed.clone(), r#"[["POA2309150001"]]"#),
        (signed.clone(), r#"[["POA2309040001"] ]"#),
        (signed.replace("v=1.0", "v=1.0&page_no=0"), body),
        (signed.replace("&sign=", "&signed="), body),
    ];
    for (query, body) in forged {
        let text = bench.post(query, body).await.expect("an answer").text().await.expect("a body");
        assert!(text.contains("验证失败"), "{text}");
    }
    assert!(bench.effects().is_empty());
    let wrong_kind = bench.client.post(format!("{}?{signed}", bench.sandbox.base_url())).body(body).send().await;
    assert!(wrong_kind.expect("an answer").text().await.expect("a body").contains("application/json"));
    let elsewhere = bench.client.post(format!("{}/{SEARCH}?{signed}", bench.sandbox.base_url())).send().await;
    assert_eq!(elsewhere.expect("an answer").status(), 404);
    assert_eq!(
        bench.post(signed, body).await.expect("an answer").text().await.expect("a body"),
        r#"{"status":0,"data":[]}"#
    );
}

#[tokio::test]
async fn both_commas_of_the_rate_messages_occur() {
    let bench = Bench::new(1);
    bench.sandbox.behave(|behaviour| behaviour.calls_per_minute = Some(1));
    assert_eq!(bench.search(&[]).await["status"], 0);
    let mut messages = Vec::new();
    for _ in 0..2 {
        let answer = bench.search(&[]).await;
        assert_eq!(answer["status"], 100);
        messages.push(answer["message"].as_str().expect("a message").to_owned());
    }
    messages.sort();
    assert_eq!(messages, ["超过每分钟最大调用频率限制,请稍后重试", "超过每分钟最大调用频率限制，请稍后重试"]);
    assert!(bench.stop(&["POA1"]).await.contains("不存在"), "every method has its own meter");
}

#[tokio::test]
async fn the_vendors_own_answers_to_a_stop_are_given() {
    let bench = Bench::with_every_state();
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let all = json(include_str!("../../../tests/fixtures/flagship_stop_done.json"));
    assert_eq!(json(&bench.stop(&["POA2309040001"]).await), all);
    let none = json(include_str!("../../../tests/fixtures/flagship_stop_failed.json"));
    assert_eq!(json(&bench.stop(&["POA2309040001", "POA2309130001"]).await), none);
}

#[tokio::test]
async fn a_stop_takes_effect_and_tells_what_it_refused() {
    let bench = Bench::with_every_state();
    let now = bench.sandbox.world().clock().now();
    assert_eq!(bench.stop(&["POA2309040001"]).await, r#"{"status":0,"data":[]}"#);
    assert_eq!(bench.status("POA2309040001"), (Status::Referenced, now));
    assert_eq!(
        bench.stop(&["POA2309040001", "POA2309150001", "POA2309130001", "无此单"]).await,
        concat!(
            r#"{"status":0,"total":3,"data":[{"order_id":764,"order_no":"POA2309040001","#,
            r#""error":"采购申请单状态不是部分引用","error_code":0},{"order_id":767,"order_no":"POA2309130001","#,
            r#""error":"采购申请单状态不是部分引用","error_code":0},{"order_no":"无此单","error":"采购申请单不存在","error_code":0}]}"#
        )
    );
    assert_eq!(bench.status("POA2309150001"), (Status::Referenced, now));
    let effects: Vec<_> = bench.effects().into_iter().map(|(call, number, effect, _)| (call, number, effect)).collect();
    let stopped = |call, number: &str| (call, number.to_owned(), StopEffect::Stopped);
    assert_eq!((&effects[0], &effects[2]), (&stopped(1, "POA2309040001"), &stopped(2, "POA2309150001")));
    assert_eq!(effects.len(), 5);
    let calls = bench.sandbox.world().calls();
    assert!(calls.iter().all(|call| call.method == STOP && call.outcome == Outcome::Answered));
    assert_eq!(calls[0].params["body"], r#"[["POA2309040001"]]"#);
}

#[tokio::test]
async fn a_lost_answer_and_a_lost_call_are_told_apart_only_by_the_world() {
    let bench = Bench::with_every_state();
    let number = "POA2309040001";
    let body = json!([[number]]).to_string();
    for fault in [Fault::Status(502), Fault::Disconnect, Fault::Silence] {
        bench.sandbox.next_faults([Some(fault.clone())]);
        let call = bench.post(bench.query(STOP, &body, &[]), &body);
        let _ = tokio::time::timeout(Duration::from_millis(300), call).await;
        assert_eq!(bench.status(number).0, Status::PartlyReferenced, "{fault} came before the effect");
    }
    assert!(bench.effects().is_empty());
    bench.sandbox.next_faults([Some(Fault::LostAnswer)]);
    assert!(bench.post(bench.query(STOP, &body, &[]), &body).await.is_err());
    assert_eq!(bench.status(number).0, Status::Referenced);
    assert_eq!(bench.effects().len(), 1);
    bench
        .sandbox
        .next_faults([Some(Fault::Business {
            code: 100, message: "超过每分钟最大调用频率限制,请稍后重试".into()
        })]);
    assert!(bench.stop(&["POA2309150001"]).await.contains("频率"));
    assert_eq!(bench.status("POA2309150001").0, Status::PartlyReferenced);
}

#[tokio::test]
async fn an_effect_that_comes_late_follows_the_gateways_clock() {
    let bench = Bench::with_every_state();
    let clock = bench.sandbox.world().clock();
    let (number, due) = ("POA2309040001", clock.now().plus_seconds(100));
    let body = json!([[number]]).to_string();
    bench.sandbox.next_faults([Some(Fault::LateEffect { seconds: 100 })]);
    assert!(bench.post(bench.query(STOP, &body, &[]), &body).await.is_err(), "no answer comes");
    clock.advance(99);
    let shown = |answer: &Value| answer["data"]["order_list"][0]["status"].clone();
    let by_number = json!([{"purchase_apply_no": number}]);
    let ask =
        || async { serde_json::from_str::<Value>(&bench.call(SEARCH, by_number.clone(), &[]).await).expect("JSON") };
    assert_eq!(shown(&ask().await), 25);
    clock.advance(1);
    assert_eq!(shown(&ask().await), 30);
    assert_eq!(bench.status(number), (Status::Referenced, due));
    assert_eq!(bench.effects(), [(1, number.to_owned(), StopEffect::Stopped, due)]);
}

#[test]
fn a_flagship_sandbox_needs_a_salt() {
    let credentials = Credentials { secret: crate::config::Secret::new("no-salt"), ..Credentials::default() };
    assert!(Sandbox::start(Options { edition: Edition::Flagship, credentials, ..Options::default() }).is_err());
}
