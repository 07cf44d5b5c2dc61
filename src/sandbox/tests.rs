//! The protocol rules and the faults, over real HTTP.

mod flagship;
mod oddities;

use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::edition::Edition;
use crate::time::{BeijingTime, Window};

const FROM: &str = "2026-05-01 00:00:00";
const TO: &str = "2026-05-19 23:59:59";

fn at(text: &str) -> BeijingTime {
    BeijingTime::parse(text).expect("a time")
}

/// A sandbox with so many requisitions in the window, its clock held an hour after it, and a client.
struct Bench {
    sandbox: Sandbox,
    client: reqwest::Client,
}

impl Bench {
    fn new(requisitions: usize) -> Self {
        Self::with(requisitions, |_| ())
    }

    fn with(requisitions: usize, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            requisitions: generate(1, requisitions, 19, at(TO)),
            clock: SandboxClock::held(at(TO).plus_seconds(3600)),
            ..Options::default()
        };
        change(&mut options);
        let sandbox = Sandbox::start(options).expect("a sandbox");
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client");
        Self { sandbox, client }
    }

    /// The signed form of a call, with `changes` made before it is signed.
    fn form(&self, changes: &[(&str, &str)]) -> String {
        let now = crate::time::Clock::now(self.sandbox.world().clock()).unix().to_string();
        let credentials = self.sandbox.credentials();
        let mut params = vec![
            ("sid", credentials.sid.as_str()),
            ("appkey", &credentials.appkey),
            ("timestamp", &now),
            ("start_time", FROM),
            ("end_time", TO),
        ];
        params.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        params.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        let sign = expected_signature(params.iter().copied(), credentials.secret.expose());
        params.push(("sign", &sign));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()
    }

    async fn post(&self, form: String) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}/purchase_apply_query.php", self.sandbox.base_url());
        let kind = "application/x-www-form-urlencoded";
        self.client.post(url).header("content-type", kind).body(form).send().await
    }

    async fn text(&self, changes: &[(&str, &str)]) -> String {
        self.post(self.form(changes)).await.expect("an answer").text().await.expect("a body")
    }

    async fn ask(&self, changes: &[(&str, &str)]) -> Value {
        serde_json::from_str(&self.text(changes).await).expect("JSON")
    }

    async fn refusal(&self, changes: &[(&str, &str)]) -> String {
        let answer = self.ask(changes).await;
        assert!(
            answer.get("purchase_list").is_none() && answer["code"].as_i64().is_some_and(|code| code != 0),
            "{answer}"
        );
        answer["message"].as_str().expect("a message").to_owned()
    }
}

fn numbers(answer: &Value) -> Vec<String> {
    let rows = answer["purchase_list"].as_array().expect("rows");
    rows.iter().map(|row| row["purchase_apply_no"].as_str().expect("a number").to_owned()).collect()
}

#[tokio::test]
async fn pages_hold_the_window_in_order_and_the_total_comes_with_the_first() {
    let bench = Bench::new(95);
    let first = bench.ask(&[]).await;
    assert_eq!((&first["code"], &first["message"], &first["total_count"]), (&"0".into(), &"".into(), &"95".into()));
    assert_eq!(numbers(&first).len(), 40, "the default page size");
    let mut all = numbers(&first);
    for page in ["1", "2"] {
        let answer = bench.ask(&[("page_no", page)]).await;
        assert!(answer.get("total_count").is_none());
        all.extend(numbers(&answer));
    }
    let world = bench.sandbox.world().lock();
    let held: Vec<_> = world.requisitions().map(|requisition| requisition.purchase_apply_no.to_string()).collect();
    assert_eq!(all, held);
    let calls = world.journal().calls();
    assert_eq!(calls.iter().map(|call| call.rows.len()).collect::<Vec<_>>(), [40, 40, 15]);
    assert_eq!((calls[0].total, calls[1].total), (Some(95), None));
    assert!(calls.iter().all(|call| !call.params.contains_key("sign") && call.outcome == Outcome::Answered));
}

#[tokio::test]
async fn what_is_sent_is_what_the_journal_says() {
    let bench = Bench::with(60, |options| options.poison = Some("0.5".parse().expect("a poison")));
    for change in [Scalars::Strings, Scalars::Numbers] {
        bench.sandbox.behave(|behaviour| behaviour.scalars = change);
        let text = bench.text(&[("page_size", "100")]).await;
        let world = bench.sandbox.world().lock();
        assert_eq!(world.journal().versions().len(), 60);
        for version in world.journal().versions() {
            assert!(text.contains(&version.to_json(bench.sandbox.dialect())));
        }
    }
}

#[tokio::test]
async fn both_ends_belong_to_the_window() {
    let bench = Bench::new(0);
    for (id, second) in [(1, "09:59:59"), (2, "10:00:00"), (3, "10:00:05"), (4, "10:00:06")] {
        let modified = at(&format!("2026-05-10 {second}"));
        bench.sandbox.world().lock().add_as_is(Requisition::plain(id, &format!("POA{id}"), modified));
    }
    let answer = bench.ask(&[("start_time", "2026-05-10 10:00:00"), ("end_time", "2026-05-10 10:00:05")]).await;
    assert_eq!(numbers(&answer), ["POA2", "POA3"]);
}

#[tokio::test]
async fn one_requisition_is_found_by_number_without_a_span() {
    let bench = Bench::new(10);
    let number = bench.sandbox.world().lock().requisitions().next().expect("one").purchase_apply_no.to_string();
    let alone = [("start_time", ""), ("end_time", "")];
    let answer = bench.ask(&[alone[0], alone[1], ("purchase_apply_no", &number)]).await;
    assert_eq!((numbers(&answer), &answer["total_count"]), (vec![number], &"1".into()));
    let nothing = bench.ask(&[alone[0], alone[1], ("purchase_apply_no", "采购")]).await;
    assert_eq!((numbers(&nothing).len(), &nothing["total_count"]), (0, &"0".into()));
    assert!(bench.refusal(&alone).await.contains("start_time"));
}

#[tokio::test]
async fn strangers_are_refused() {
    let bench = Bench::new(1);
    let now = crate::time::Clock::now(bench.sandbox.world().clock()).unix();
    assert!(bench.refusal(&[("sid", "nobody")]).await.contains("sid is not"));
    assert!(bench.refusal(&[("appkey", "none")]).await.contains("appkey"));
    for off in [-301, 301] {
        assert!(bench.refusal(&[("timestamp", &(now + off).to_string())]).await.contains("时间戳"));
    }
    for off in [-300, 300] {
        assert_eq!(bench.ask(&[("timestamp", &(now + off).to_string())]).await["code"], "0");
    }
    let forged = bench.form(&[]).replace("2026-05-19", "2026-05-18");
    let answer = bench.post(forged).await.expect("an answer").text().await.expect("a body");
    assert!(answer.contains("sign error") && answer.contains("签名"), "{answer}");
    let long = [("start_time", "2018-11-01 00:00:00"), ("end_time", "2018-12-01 00:00:00")];
    assert_eq!(bench.refusal(&long).await, "start_time与end_time时间跨度不能超过最大范围30天");
    assert_eq!(bench.sandbox.world().calls().iter().filter(|call| call.outcome == Outcome::Answered).count(), 2);
}

#[tokio::test]
async fn only_the_form_body_counts() {
    let bench = Bench::new(1);
    let url = format!("{}/purchase_apply_query.php", bench.sandbox.base_url());
    let form = bench.form(&[]);
    let get = bench.client.get(format!("{url}?{form}")).send().await.expect("an answer");
    assert_eq!(get.status(), 200);
    assert!(get.text().await.expect("a body").contains("请求方式错误"));
    let json = bench.client.post(&url).header("content-type", "application/json").body("{}").send().await;
    assert!(json.expect("an answer").text().await.expect("a body").contains("请求方式错误"));
    let kind = "application/x-www-form-urlencoded";
    let query = bench.client.post(format!("{url}?{form}")).header("content-type", kind).send().await;
    assert!(query.expect("an answer").text().await.expect("a body").contains("sid is not"));
    let other = bench.client.post(format!("{}/trade_query.php", bench.sandbox.base_url())).send().await;
    assert_eq!(other.expect("an answer").status(), 404);
}

#[tokio::test]
async fn the_date_is_the_servers() {
    let bench = Bench::new(0);
    bench.sandbox.world().clock().hold(at("2026-05-19 12:00:00"));
    bench.sandbox.world().clock().set_skew(400);
    let answer = bench.post(bench.form(&[])).await.expect("an answer");
    assert_eq!(answer.headers()["date"], "Tue, 19 May 2026 04:06:40 GMT");
    assert!(answer.text().await.expect("a body").contains("timestamp"));
}

#[tokio::test]
async fn y_speaks_the_same_protocol_with_its_own_codes() {
    let bench = Bench::with(0, |options| options.edition = Edition::Y);
    assert!(bench.sandbox.base_url().ends_with("/openapi"));
    bench.sandbox.world().lock().add_as_is(Requisition::plain(1, "POA1", at("2026-05-10 10:00:00")));
    assert_eq!(bench.ask(&[]).await["purchase_list"][0]["status"], "20");
}

#[test]
fn other_machines_are_let_in_only_when_the_user_says_so() {
    let listen = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(Sandbox::start(Options { listen, ..Options::default() }).is_err());
    let sandbox =
        Sandbox::start(Options { listen, exposure: Exposure::Anywhere, ..Options::default() }).expect("allowed");
    let address = sandbox.addr();
    assert!(Sandbox::start(Options { listen: address, exposure: Exposure::Anywhere, ..Options::default() }).is_err());
    sandbox.shutdown();
}

#[tokio::test]
async fn an_ordinary_ascending_reader_loses_rows_under_drift() {
    let bench = Bench::with(120, |options| options.behaviour.drift = Some("1:2".parse().expect("a drift")));
    let mut read = Vec::new();
    for page in 0..12 {
        let page = page.to_string();
        read.extend(numbers(&bench.ask(&[("page_size", "10"), ("page_no", &page)]).await));
    }
    let world = bench.sandbox.world().lock();
    let (first, last) = (world.journal().calls()[0].began.seq, world.journal().seq());
    let window = Window::new(at(FROM), at(TO)).expect("a window");
    let stayed: Vec<_> = world.journal().alive_throughout(window, first, last).collect();
    assert_eq!(stayed.len(), 120 - 24);
    let lost =
        stayed.iter().filter(|version| !read.contains(&version.requisition.purchase_apply_no.to_string())).count();
    assert!(lost > 0, "the drift must bite");
}

#[tokio::test]
async fn hooks_change_the_world_at_their_moment() {
    let bench = Bench::new(50);
    bench.sandbox.between_statements(|world, info| {
        assert_eq!(info.page_no(), 0);
        let first = world.requisitions().next().map(|first| first.purchase_apply_no.clone());
        world.purge(&first.expect("one"));
    });
    let answer = bench.ask(&[("page_size", "100")]).await;
    assert_eq!((&answer["total_count"], numbers(&answer).len()), (&"50".into(), 49));
    bench.sandbox.behave(|behaviour| behaviour.statements = Statements::ListThenCount);
    let answer = bench.ask(&[("page_size", "100")]).await;
    assert_eq!((&answer["total_count"], numbers(&answer).len()), (&"48".into(), 49));
    let calls = bench.sandbox.world().calls();
    assert!(calls.iter().all(|call| call.ended.seq == call.began.seq + 2), "the purge lies between");
    bench.sandbox.forget_script();
    assert_eq!(numbers(&bench.ask(&[("page_size", "100")]).await).len(), 48);
}

#[tokio::test]
async fn every_fault_looks_as_it_should() {
    let bench = Bench::new(5);
    let faults = [
        Fault::Status(502),
        Fault::TooManyRequests { retry_after: Some(7) },
        Fault::Disconnect,
        Fault::LostAnswer,
        Fault::Truncated,
        Fault::ShortBody,
        Fault::Html,
        Fault::Empty,
        Fault::Business { code: 9, message: "系统繁忙".to_owned() },
    ];
    for fault in faults {
        bench.sandbox.next_faults([Some(fault.clone())]);
        let answer = bench.post(bench.form(&[])).await;
        match fault {
            Fault::Status(status) => assert_eq!(answer.expect("an answer").status(), status),
            Fault::TooManyRequests { .. } => {
                let answer = answer.expect("an answer");
                assert_eq!(
                    (answer.status().as_u16(), &answer.headers()["retry-after"]),
                    (429, &"7".parse().expect("a value"))
                );
            }
            Fault::Disconnect | Fault::LostAnswer => assert!(answer.is_err(), "{fault}"),
            Fault::ShortBody => assert!(answer.expect("a head").bytes().await.is_err()),
            _ => {
                let text = answer.expect("an answer").text().await.expect("a whole body");
                let json = serde_json::from_str::<Value>(&text);
                match fault {
                    Fault::Business { .. } => assert_eq!(json.expect("JSON")["code"], 9),
                    Fault::Empty => assert!(text.is_empty()),
                    Fault::Html => assert!(text.starts_with("<html>")),
                    _ => assert!(text.starts_with('{') && json.is_err()),
                }
            }
        }
    }
    assert_eq!(bench.ask(&[]).await["total_count"], "5", "and then all is well");
    let calls = bench.sandbox.world().calls();
    let rows: Vec<_> = calls.iter().map(|call| call.rows.len()).collect();
    assert_eq!(rows, [0, 0, 0, 5, 5, 5, 0, 0, 0, 5]);
}

#[tokio::test]
async fn a_hanging_answer_ends_with_the_clients_patience_and_frees_its_slot() {
    let bench = Bench::with(5, |options| options.behaviour.max_concurrency = Some(1));
    bench.sandbox.next_faults([Some(Fault::Hang), Some(Fault::Silence), None]);
    for _ in 0..2 {
        let whole = async { bench.post(bench.form(&[])).await?.bytes().await };
        assert!(tokio::time::timeout(Duration::from_millis(200), whole).await.is_err());
    }
    assert_eq!(bench.ask(&[]).await["code"], "0");
}

#[tokio::test]
async fn the_meters_count_admitted_calls_only() {
    let bench = Bench::with(1, |options| options.behaviour.calls_per_minute = Some(2));
    bench.refusal(&[("sid", "nobody")]).await;
    for _ in 0..2 {
        assert_eq!(bench.ask(&[]).await["code"], "0");
    }
    for _ in 0..2 {
        assert!(bench.refusal(&[]).await.contains("频率超限"));
    }
    bench.sandbox.behave(|behaviour| {
        behaviour.calls_per_minute = None;
        behaviour.max_concurrency = Some(1);
        // Long enough for both to be under way at once, however slow the machine.
        behaviour.latency = Latency::exactly(Duration::from_secs(1));
    });
    let (one, other) = tokio::join!(bench.ask(&[]), bench.ask(&[]));
    let mut messages = [one["message"].to_string(), other["message"].to_string()];
    messages.sort();
    assert!(messages[0] == "\"\"" && messages[1].contains("并发"), "{messages:?}");
}

#[tokio::test]
async fn chance_is_decided_by_the_seed() {
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let bench = Bench::with(30, |options| {
            options.behaviour.seed = 11;
            options.behaviour.order = Order::Random;
            options.behaviour.faults = Some("0.5:html".parse().expect("faults"));
        });
        let mut texts = Vec::new();
        for _ in 0..12 {
            texts.push(bench.text(&[]).await);
        }
        let spoiled = texts.iter().filter(|text| text.starts_with("<html>")).count();
        assert!((1..12).contains(&spoiled));
        outcomes.push(texts);
    }
    assert_eq!(outcomes[0], outcomes[1]);
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    let bench = Bench::with(20, |options| options.behaviour.compression = Compression::Gzip);
    let plain = reqwest::Client::builder().no_proxy().no_gzip().build().expect("a client");
    let url = format!("{}/purchase_apply_query.php", bench.sandbox.base_url());
    let request = plain.post(url).header("content-type", "application/x-www-form-urlencoded").body(bench.form(&[]));
    let packed =
        request.try_clone().expect("a copy").header("accept-encoding", "gzip").send().await.expect("an answer");
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = packed.bytes().await.expect("a body");
    let open = request.send().await.expect("an answer");
    assert!(!open.headers().contains_key("content-encoding"));
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*packed), &mut unpacked).expect("gzip");
    assert_eq!(unpacked, open.text().await.expect("a body"));
    assert_eq!(bench.ask(&[]).await["total_count"], "20", "and clients understand it");
}
