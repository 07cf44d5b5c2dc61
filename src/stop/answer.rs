//! The answer of the stop call: a list of what failed.
//!
//! Source: the vendor's page. `{"status": 0, "data": []}` stopped all; otherwise `total` counts the entries of `data`, each with `order_no`,
//! `error`, `error_code` (0 does not mean success) and `order_id`. An answer stands for its silence, the numbers that it does not
//! name, only when it is well-formed: a list, of which `total` tells the length, of numbers that were asked for, each once.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};

/// The list of failures as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct StopAnswer {
    /// How many failed; absent in the vendor's example of none.
    #[serde(default, deserialize_with = "integer")]
    total: Option<i64>,
    /// What failed.
    data: Vec<StopFailure>,
}

/// One requisition that was not stopped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct StopFailure {
    /// Its number.
    pub order_no: String,
    /// The vendor's reason.
    #[serde(default)]
    pub error: Option<String>,
    /// The vendor's code.
    #[serde(default, deserialize_with = "integer")]
    pub error_code: Option<i64>,
    /// Its key in the ERP.
    #[serde(default, deserialize_with = "integer")]
    pub order_id: Option<i64>,
}

impl StopAnswer {
    /// Reads a successful answer. `Err` says why it cannot be read, without repeating it.
    pub(crate) fn read(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| format!("not a list of failures: {error}"))
    }

    /// The same with each of its reasons as `told` gives it.
    pub(crate) fn with_errors(mut self, told: impl Fn(&str) -> String) -> Self {
        for error in self.data.iter_mut().filter_map(|failure| failure.error.as_mut()) {
            *error = told(error);
        }
        self
    }

    /// An answer with these failures and the total that they have.
    #[cfg(test)]
    pub(super) fn of(failures: Vec<StopFailure>) -> Self {
        let total = i64::try_from(failures.len()).ok().filter(|total| *total > 0);
        Self { total, data: failures }
    }

    /// The failures, when the answer tells of `asked` and of nothing else; else why it does not.
    pub(super) fn failures(&self, asked: &[String]) -> Result<&[StopFailure], String> {
        let mut seen = BTreeSet::new();
        for failure in &self.data {
            if !asked.contains(&failure.order_no) {
                return Err("the answer names a requisition that was not asked for".to_owned());
            }
            if !seen.insert(&failure.order_no) {
                return Err(format!("the answer names {} twice", failure.order_no));
            }
        }
        let listed = i64::try_from(self.data.len()).unwrap_or(i64::MAX);
        match self.total {
            Some(total) if total != listed => Err(format!("the answer says {total} failures and lists {listed}")),
            None if listed > 0 => Err(format!("the answer lists {listed} failures and no total")),
            _ => Ok(&self.data),
        }
    }
}

/// An integer, written as a number or as text; `""` and null are none.
fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let text = match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::String(text) if text.is_empty() => return Ok(None),
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    text.parse().map(Some).map_err(|_| serde::de::Error::custom("not an integer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Vec<String> {
        ["POA2309130001", "POA2309040001"].map(str::to_owned).to_vec()
    }

    #[test]
    fn the_vendors_own_examples() {
        let all = StopAnswer::read(include_bytes!("../../tests/fixtures/flagship_stop_done.json")).expect("readable");
        assert_eq!(all.failures(&asked()), Ok(&[][..]));
        let none =
            StopAnswer::read(include_bytes!("../../tests/fixtures/flagship_stop_failed.json")).expect("readable");
        let failure = |order_no: &str, order_id| StopFailure {
            order_no: order_no.to_owned(),
            error: Some("采购申请单状态不是部分引用".to_owned()),
            error_code: Some(0),
            order_id: Some(order_id),
        };
        let told = [failure("POA2309040001", 764), failure("POA2309130001", 767)];
        assert_eq!(none.failures(&asked()), Ok(&told[..]));
    }

    #[test]
    fn an_answer_that_does_not_add_up_tells_nothing() {
        for odd in [
            r#"{"status":0,"total":1,"data":[]}"#,
            r#"{"status":0,"total":2,"data":[{"order_no":"POA2309040001"}]}"#,
            r#"{"status":0,"data":[{"order_no":"POA2309040001"}]}"#,
            r#"{"status":0,"total":1,"data":[{"order_no":"POA1"}]}"#,
            r#"{"status":0,"total":2,"data":[{"order_no":"POA2309040001"},{"order_no":"POA2309040001"}]}"#,
        ] {
            let answer = StopAnswer::read(odd.as_bytes()).expect("readable");
            assert!(answer.failures(&asked()).is_err(), "{odd}");
        }
        for unreadable in [
            r#"{"status":0}"#,
            r#"{"status":0,"data":null}"#,
            r#"{"status":0,"data":{}}"#,
            r#"{"status":0,"total":"x","data":[]}"#,
            r#"{"status":0,"total":0.5,"data":[]}"#,
            r#"{"status":0,"total":1,"data":[{"order_id":764}]}"#,
            r#"{"status":0,"total":1,"data":[{"order_no":"POA2309040001""#,
            "<html>",
        ] {
            assert!(StopAnswer::read(unreadable.as_bytes()).is_err(), "{unreadable}");
        }
        let strings = r#"{"status":"0","total":"1","data":[{"order_no":"POA2309040001","order_id":"","error_code":"7","error":null}]}"#;
        let answer = StopAnswer::read(strings.as_bytes()).expect("numbers as text");
        let failures = answer.failures(&asked()).expect("adds up");
        assert_eq!((failures[0].error_code, failures[0].order_id), (Some(7), None));
    }
}
