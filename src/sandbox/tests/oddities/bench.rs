//! A sandbox of any edition, and a client that shows its answers as they came.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::edition::Edition;
use crate::sandbox::*;
use crate::time::BeijingTime;

use super::super::at;

pub(super) const FIRST: &str = "2026-05-10 10:00:00";

/// What a call asks for: page 0 of ten rows of everything, unless it says otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) page_no: u64,
    pub(super) page_size: usize,
    /// A window that holds nothing.
    pub(super) empty: bool,
    /// How far the timestamp is off.
    pub(super) seconds_off: i64,
    /// The requisition of this place, by its number.
    pub(super) number: Option<i64>,
}

impl Default for Asked {
    fn default() -> Self {
        Self { page_no: 0, page_size: 10, empty: false, seconds_off: 0, number: None }
    }
}

/// A sandbox and a client. It holds POA1, POA2, ..., a minute apart, with as many as their number for id.
pub(super) struct Bench {
    pub(super) sandbox: Sandbox,
    client: reqwest::Client,
    edition: Edition,
}

impl Bench {
    pub(super) fn new(edition: Edition, requisitions: i64, oddities: &str) -> Self {
        let clock = SandboxClock::held(at("2026-05-20 00:00:00"));
        let plain = |id| Requisition::plain(id, &format!("POA{id}"), at(FIRST).plus_seconds(60 * (id - 1)));
        let sandbox = Sandbox::start(Options {
            edition,
            clock,
            requisitions: (1..=requisitions).map(plain).collect(),
            behaviour: Behaviour { oddities: oddities.parse().expect("oddities"), ..Behaviour::default() },
            ..Options::default()
        });
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60));
        Self { sandbox: sandbox.expect("a sandbox"), client: client.build().expect("a client"), edition }
    }

    pub(super) async fn page(&self, page_no: u64) -> Answer {
        self.call(Asked { page_no, ..Asked::default() }).await
    }

    /// One page with everything.
    pub(super) async fn all(&self) -> Answer {
        self.call(Asked { page_size: 100, ..Asked::default() }).await
    }

    pub(super) async fn call(&self, asked: Asked) -> Answer {
        let (start, end) = match asked.empty {
            true => ("2025-01-01 00:00:00", "2025-01-02 00:00:00"),
            false => ("2026-05-01 00:00:00", "2026-05-19 23:59:59"),
        };
        let window = match asked.number {
            Some(number) => vec![("purchase_apply_no", format!("POA{number}"))],
            None => vec![("start_time", start.to_owned()), ("end_time", end.to_owned())],
        };
        let window: Vec<_> = window.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let now = self.sandbox.world().clock().now().plus_seconds(asked.seconds_off);
        let request = match self.edition {
            Edition::Enterprise | Edition::Y => self.form(&window, asked, now),
            Edition::Flagship => self.query(&window, asked, now),
        };
        let response = request.header("accept-encoding", "gzip").send().await.expect("an answer");
        let text = |value: &reqwest::header::HeaderValue| value.to_str().expect("ASCII").to_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let status = response.status().as_u16();
        Answer { status, headers, body: response.bytes().await.expect("a body").to_vec(), edition: self.edition }
    }

    fn form(&self, window: &[(&str, &str)], asked: Asked, now: BeijingTime) -> reqwest::RequestBuilder {
        let credentials = self.sandbox.credentials();
        let (now, page_no, page_size) =
            (now.unix().to_string(), asked.page_no.to_string(), asked.page_size.to_string());
        let mut params = vec![("sid", credentials.sid.as_str()), ("appkey", &credentials.appkey), ("timestamp", &now)];
        params.extend([("page_no", page_no.as_str()), ("page_size", &page_size)]);
        params.extend(window);
        let sign = expected_signature(params.iter().copied(), credentials.secret.expose());
        params.push(("sign", &sign));
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let url = format!("{}/purchase_apply_query.php", self.sandbox.base_url());
        self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form)
    }

    fn query(&self, window: &[(&str, &str)], asked: Asked, now: BeijingTime) -> reqwest::RequestBuilder {
        let credentials = self.sandbox.credentials();
        let (secret, salt) = credentials.secret.expose().split_once(':').expect("secret:salt");
        let body = serde_json::to_string(&[window.iter().copied().collect::<BTreeMap<_, _>>()]).expect("JSON");
        let given = [
            ("sid", credentials.sid.clone()),
            ("key", credentials.appkey.clone()),
            ("salt", salt.to_owned()),
            ("method", "purchase.PurchaseApply.search".to_owned()),
            ("v", "1.0".to_owned()),
            ("timestamp", (now.unix() - 1_325_347_200).to_string()),
            ("page_no", asked.page_no.to_string()),
            ("page_size", asked.page_size.to_string()),
            ("calc_total", u8::from(asked.page_no == 0).to_string()),
            ("body", body.clone()),
        ];
        let mut params: BTreeMap<String, String> =
            given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        params.insert("sign".to_owned(), expected_flagship_signature(&params, secret));
        params.remove("body");
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let url = format!("{}?{query}", self.sandbox.base_url());
        self.client.post(url).header("content-type", "application/json").body(body)
    }
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    edition: Edition,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(super) fn is_json(&self) -> bool {
        serde_json::from_slice::<Value>(&self.body).is_ok()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// What stands where total and list belong.
    pub(super) fn data(&self) -> Value {
        if self.edition == Edition::Flagship { self.json()["data"].clone() } else { self.json() }
    }

    pub(super) fn total(&self) -> Option<u64> {
        match self.data().get("total_count") {
            Some(Value::String(text)) => text.parse().ok(),
            Some(other) => other.as_u64(),
            None => None,
        }
    }

    /// The list, whatever it is.
    pub(super) fn list(&self) -> Option<Value> {
        let name = if self.edition == Edition::Flagship { "order_list" } else { "purchase_list" };
        self.data().get(name).cloned()
    }

    pub(super) fn rows(&self) -> Vec<Value> {
        self.list().and_then(|list| list.as_array().cloned()).expect("an array")
    }

    pub(super) fn details(&self, row: &Value) -> Option<Value> {
        row.get(if self.edition == Edition::Flagship { "detail_list" } else { "details_list" }).cloned()
    }

    /// The places of the requisitions that it has.
    pub(super) fn numbers(&self) -> Vec<i64> {
        let number = |row: &Value| row["purchase_apply_no"].as_str()?.strip_prefix("POA")?.parse().ok();
        self.rows().iter().map(|row| number(row).expect("a number")).collect()
    }
}
