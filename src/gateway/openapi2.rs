//! The enterprise and Y query, `purchase_apply_query.php`.
//!
//! Source: the vendor's page of that method. A form POST with `sid`, `appkey`, `timestamp` (Unix seconds), `sign` and
//! the business parameters; the window is closed on both ends and spans at most 30 days; `total_count` comes with page
//! 0 only.

use serde_json::Value;
use url::Url;

use super::call::Outgoing;
use super::{Query, envelope, sign};
use crate::config::{AccountSettings, Secret};
use crate::time::BeijingTime;

/// The query of purchase requisitions.
pub(super) const METHOD: &str = "purchase_apply_query.php";
/// The outer object of every answer.
pub(super) const ENVELOPE: envelope::EnvelopeNames = envelope::EnvelopeNames { code: "code", list: &["purchase_list"] };

/// Signs the queries of one enterprise or Y account.
#[derive(Debug)]
pub(super) struct OpenApi2 {
    url: Url,
    sid: String,
    appkey: String,
    secret: Secret,
}

impl OpenApi2 {
    pub(super) fn new(account: &AccountSettings) -> Self {
        let mut url = account.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(METHOD);
        }
        Self { url, sid: account.sid.clone(), appkey: account.appkey.clone(), secret: account.secret.clone() }
    }

    /// One page of the query, or one number.
    pub(super) fn query(&self, query: &Query, now: BeijingTime) -> Outgoing {
        let timestamp = now.unix().to_string();
        let business = business_parameters(query);
        let mut parameters = vec![("sid", &*self.sid), ("appkey", &*self.appkey), ("timestamp", &*timestamp)];
        parameters.extend(business.iter().map(|(name, value)| (*name, &**value)));
        let sign = sign::openapi2(&parameters, &self.secret);
        parameters.push(("sign", &sign));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let content_type = "application/x-www-form-urlencoded";
        let unsaid = [&*sign, self.secret.expose()].into_iter().collect();
        Outgoing { url: self.url.clone(), content_type, body, unsaid }
    }
}

/// What a query asks, without anything that signs it.
pub(super) fn unsigned(query: &Query) -> Value {
    business_parameters(query).into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
}

fn business_parameters(query: &Query) -> Vec<(&'static str, String)> {
    match query {
        Query::Page { window, page_no, page_size } => vec![
            ("start_time", window.start().to_string()),
            ("end_time", window.end().to_string()),
            ("page_no", page_no.to_string()),
            ("page_size", page_size.to_string()),
        ],
        Query::Number(number) => {
            vec![("purchase_apply_no", number.clone()), ("page_no", "0".into()), ("page_size", "100".into())]
        }
    }
}
