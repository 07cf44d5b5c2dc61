//! The flagship gateway, `qjb`: signed calls of methods, among them the query, `purchase.PurchaseApply.search`, and the
//! stop of references, `purchase.PurchaseApply.stopForApi`, whose only argument is the list of numbers.
//!
//! Source: the vendor's pages of both methods, and several public clients that agree on what the pages leave out. A
//! POST to the gateway's address. The query string carries `sid`, `key`, `salt`, `method`, `v`, `timestamp` (seconds
//! since 2012-01-01 00:00:00 Beijing time), `sign`, and of paged methods `page_size`, `page_no` and `calc_total`; the
//! body is a JSON array of positional arguments, signed with the rest.
//!
//! The query's page does not say whether its interval is closed. So the end that is asked for is one second later than
//! the window's: whichever it is, every row of the window is in the answer, and rows of that one second more are left
//! to their own window by the decoder.

use serde_json::{Map, Value, json};
use url::Url;

use super::call::Outgoing;
use super::{Query, envelope, sign};
use crate::config::{self, AccountSettings, Secret};
use crate::error::Result;
use crate::time::BeijingTime;

/// The query of purchase requisitions.
pub(super) const SEARCH: &str = "purchase.PurchaseApply.search";
/// The outer object of every answer. The vendor's example of the query shows the data alone, without an outer object.
pub(super) const ENVELOPE: envelope::EnvelopeNames =
    envelope::EnvelopeNames { code: "status", list: &["data", "order_list"] };

/// The method that stops the reference of requisitions.
pub(super) const STOP: &str = "purchase.PurchaseApply.stopForApi";
/// Statuses that say that a call was refused before anything was done: authentication or arguments, address, timestamp.
/// Others, such as the 100 of the application, may come when part of the work is done.
pub(super) const REFUSED_UNDONE: &[i64] = &[1, 6, 7];
/// How long after its timestamp a call that must not be repeated is sent: the server takes 120 seconds, less the way
/// there and its clock's whole seconds.
pub(super) const SEND_WITHIN_SECONDS: i64 = 90;

/// 2012-01-01 00:00:00 Beijing time, from which timestamps count.
const EPOCH: i64 = 1_325_347_200;

/// Signs the calls of one flagship account.
#[derive(Debug)]
pub(super) struct Qjb {
    url: Url,
    sid: String,
    key: String,
    secret: Secret,
    salt: Secret,
}

impl Qjb {
    /// # Errors
    /// `Usage` when the app secret is not `secret:salt`.
    pub(super) fn new(account: &AccountSettings) -> Result<Self> {
        let (secret, salt) = account.secret.split_salt().ok_or_else(config::no_salt)?;
        Ok(Self { url: account.base_url.clone(), sid: account.sid.clone(), key: account.appkey.clone(), secret, salt })
    }

    /// One page of the query, or one number.
    pub(super) fn query(&self, query: &Query, now: BeijingTime) -> Outgoing {
        let (paging, arguments) = business_parameters(query);
        let paging: Vec<_> = paging.iter().map(|(name, value)| (*name, &**value)).collect();
        self.sign(SEARCH, &paging, arguments.to_string(), now)
    }

    /// The stop of `numbers`.
    pub(super) fn stop(&self, numbers: &[String], requested_at: BeijingTime) -> Outgoing {
        self.sign(STOP, &[], json!([numbers]).to_string(), requested_at)
    }

    /// A signed call of `method` with the parameters of its paging, if it is paged, and its arguments, a JSON array.
    pub(super) fn sign(&self, method: &str, paging: &[(&str, &str)], arguments: String, now: BeijingTime) -> Outgoing {
        let timestamp = (now.unix() - EPOCH).to_string();
        let mut parameters = vec![
            ("sid", &*self.sid),
            ("key", &*self.key),
            ("salt", self.salt.expose()),
            ("method", method),
            ("v", "1.0"),
            ("timestamp", &*timestamp),
        ];
        parameters.extend(paging);
        let sign = sign::qjb(&parameters, &arguments, &self.secret);
        parameters.push(("sign", &sign));
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        let [secret, salt] = [&self.secret, &self.salt].map(Secret::expose);
        let unsaid = [&*sign, secret, salt].into_iter().collect();
        Outgoing { url, content_type: "application/json", body: arguments, unsaid }
    }
}

/// What a query asks, without anything that signs it.
pub(super) fn unsigned(query: &Query) -> Value {
    let (paging, arguments) = business_parameters(query);
    let mut parameters: Map<_, _> =
        paging.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
    parameters.insert("arguments".to_owned(), arguments);
    Value::Object(parameters)
}

/// The paging of a query, and its arguments.
fn business_parameters(query: &Query) -> ([(&'static str, String); 3], Value) {
    let (page_no, page_size, wants_total, arguments) = match query {
        Query::Page { window, page_no, page_size } => {
            let (start, end) = (window.start().to_string(), window.end().plus_seconds(1).to_string());
            // Counting costs the vendor extra, and a walk needs totals of page 0 only.
            (*page_no, *page_size, *page_no == 0, json!([{"start_time": start, "end_time": end}]))
        }
        // Here the total tells a number that nobody knows from an answer that lacks its list.
        Query::Number(number) => (0, 100, true, json!([{"purchase_apply_no": number}])),
    };
    let calc_total = if wants_total { "1" } else { "0" };
    let paging =
        [("page_no", page_no.to_string()), ("page_size", page_size.to_string()), ("calc_total", calc_total.to_owned())];
    (paging, arguments)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::edition::Edition;
    use crate::time::Window;

    fn account(secret: &str) -> AccountSettings {
        AccountSettings {
            name: "acme".parse().expect("a name"),
            edition: Edition::Flagship,
            sid: "acme3".into(),
            appkey: "acme3-ot".into(),
            secret: Secret::new(secret),
            base_url: "http://127.0.0.1:9/openapi".parse().expect("a URL"),
        }
    }

    fn at(text: &str) -> BeijingTime {
        BeijingTime::parse(text).expect("a time")
    }

    fn parameters(outgoing: &Outgoing) -> BTreeMap<String, String> {
        outgoing.url.query_pairs().into_owned().collect()
    }

    #[test]
    fn a_page_is_asked_one_second_further_and_counted_only_when_it_is_the_first() {
        let qjb = Qjb::new(&account("s3cret:s4lt")).expect("an account");
        let window = Window::new(at("2026-06-01 00:00:00"), at("2026-06-30 23:59:59")).expect("a window");
        for (page_no, calc_total) in [(0, "1"), (7, "0")] {
            let outgoing = qjb.query(&Query::Page { window, page_no, page_size: 100 }, at("2012-01-01 00:01:40"));
            assert_eq!(outgoing.body, r#"[{"end_time":"2026-07-01 00:00:00","start_time":"2026-06-01 00:00:00"}]"#);
            let sent = parameters(&outgoing);
            let names: Vec<&str> = sent.keys().map(String::as_str).collect();
            assert_eq!(names.join(" "), "calc_total key method page_no page_size salt sid sign timestamp v");
            for (name, value) in [
                ("timestamp", "100"),
                ("salt", "s4lt"),
                ("key", "acme3-ot"),
                ("method", "purchase.PurchaseApply.search"),
                ("v", "1.0"),
                ("page_no", &page_no.to_string()),
                ("page_size", "100"),
                ("calc_total", calc_total),
            ] {
                assert_eq!(sent[name], value, "{name}");
            }
            assert_eq!(outgoing.url.path(), "/openapi");
        }
    }

    #[test]
    fn a_number_is_asked_without_a_span_and_the_secret_is_never_sent() {
        let qjb = Qjb::new(&account("s3cret:s4lt")).expect("an account");
        let outgoing = qjb.query(&Query::Number("POA\"1".into()), at("2026-06-01 00:00:00"));
        assert_eq!(outgoing.body, r#"[{"purchase_apply_no":"POA\"1"}]"#);
        assert!(!outgoing.url.as_str().contains("s3cret"));
        let sign = parameters(&outgoing)["sign"].clone();
        let told = outgoing.unsaid.hide(&format!("{sign}, s4lt, s3cret, POA1"));
        assert_eq!(told, "(hidden), (hidden), (hidden), POA1");
    }

    /// The body is the vendor's own example, but for its blanks.
    #[test]
    fn a_stop_is_one_argument_signed_for_one_time() {
        let qjb = Qjb::new(&account("s3cret:s4lt")).expect("an account");
        let numbers = ["POA2309130001", "POA2309040001"].map(str::to_owned);
        let outgoing = qjb.stop(&numbers, at("2012-01-01 00:01:40"));
        let example: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/flagship_stop_request.json")).expect("JSON");
        assert_eq!(outgoing.body, example.to_string());
        let sent = parameters(&outgoing);
        assert_eq!(
            sent.keys().map(String::as_str).collect::<Vec<_>>().join(" "),
            "key method salt sid sign timestamp v"
        );
        assert_eq!((&*sent["method"], &*sent["timestamp"]), ("purchase.PurchaseApply.stopForApi", "100"));
        assert_eq!(outgoing.url, qjb.stop(&numbers, at("2012-01-01 00:01:40")).url, "the same bytes, however often");
    }

    #[test]
    fn a_secret_without_its_salt_is_refused_without_being_said() {
        for half in ["s3cret", "s3cret:", ":s4lt"] {
            let error = Qjb::new(&account(half)).expect_err(half);
            assert_eq!(error.kind().exit_code(), 2);
            assert!(error.hint_text().is_some() && !format!("{error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
