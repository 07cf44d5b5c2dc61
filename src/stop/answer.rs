//! The answer of the stop call: a list of what failed.
//!
//! Source: the vendor's page. `{"status": 0, "data": []}` stopped all; otherwise `total` counts the entries of `data`,
//! each with `order_no`, `error`, `error_code` (0 does not mean success) and `order_id`. An answer stands for its
//! silence, the numbers that it does not name, only when it is well-formed: a `status` of 0, once, as the page requires
//! it; a list, of which `total` tells the length, of numbers that were asked for, each once; and no word beside it that
//! is none of success. Queries are read leniently; this is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::success;

/// The list of failures as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StopAnswer {
    /// How many failed; absent in the vendor's example of none.
    total: Option<i64>,
    /// What failed.
    data: Vec<StopFailure>,
    /// What it says beside its list, when that is not plainly a success.
    remark: Option<String>,
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
        let fields: Fields =
            serde_json::from_slice(body).map_err(|error| format!("not a list of failures: {error}"))?;
        let status = fields.read::<Integer>("status")?.and_then(|status| status.0);
        if status != Some(0) {
            return Err("not a list of failures: its `status` is not 0".to_owned());
        }
        let total = fields.read::<Integer>("total")?.and_then(|total| total.0);
        let data = fields.read("data")?.ok_or("not a list of failures: missing field `data`")?;
        Ok(Self { total, data, remark: fields.remark() })
    }

    /// The same with each of its reasons as `told` gives it.
    pub(crate) fn with_errors(mut self, told: impl Fn(&str) -> String) -> Self {
        let errors = self.data.iter_mut().filter_map(|failure| failure.error.as_mut());
        for error in errors.chain(&mut self.remark) {
            *error = told(error);
        }
        self
    }

    /// An answer with these failures and the total that they have.
    #[cfg(test)]
    pub(super) fn of(failures: Vec<StopFailure>) -> Self {
        let total = i64::try_from(failures.len()).ok().filter(|total| *total > 0);
        Self { total, data: failures, remark: None }
    }

    /// What keeps its silence on a number from meaning that it was stopped.
    pub(super) fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
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

/// The fields of the answer, as they are written. One that is there twice contradicts itself.
struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    /// The value of a field; nothing where there is none.
    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        let read = self.0.get(name).map(|raw| serde_json::from_str(raw.get()));
        read.transpose().map_err(|error| format!("not a list of failures: `{name}`: {error}"))
    }

    /// What the others say, when it is not plainly that all went well.
    fn remark(&self) -> Option<String> {
        let mut remarks = Vec::new();
        for (name, raw) in &self.0 {
            let text = serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
            let is_empty = text.chars().all(|letter| letter.is_whitespace() || "[]{}".contains(letter));
            if success::is_failure(name, &text) {
                remarks.push("the answer says that it is a failure".to_owned());
            } else if success::is_of_words(name) && !is_empty && !success::is_success(&text) {
                remarks.push(text);
            }
        }
        (!remarks.is_empty()).then(|| remarks.join("; "))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EachOnce)
    }
}

struct EachOnce;

impl<'de> Visitor<'de> for EachOnce {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if fields.insert(name, value).is_some() {
                return Err(de::Error::custom("a field is given twice"));
            }
        }
        Ok(Fields(fields))
    }
}

/// An integer, written as a number or as text; `""` and null are none.
#[derive(Deserialize)]
struct Integer(#[serde(deserialize_with = "integer")] Option<i64>);

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
            // Neither a success nor a failure, both, or none that can be read.
            r#"{"data":[]}"#,
            r#"{"status":null,"data":[]}"#,
            r#"{"status":"","data":[]}"#,
            r#"{"status":100,"data":[]}"#,
            r#"{"status":"ok","data":[]}"#,
            r#"{"status":false,"data":[]}"#,
            r#"{"status":[0],"data":[]}"#,
            r#"{"code":0,"data":[]}"#,
            r#"{"status":0,"status":0,"data":[]}"#,
            r#"{"status":0,"data":[],"st\u0061tus":100}"#,
            r#"{"status":0,"data":[],"data":[{"order_no":"POA2309040001"}],"total":1}"#,
            r#"{"status":0,"total":0,"data":[],"total":1}"#,
            r#"{"status":0,"total":1,"data":[{"order_no":"POA2309040001","order_no":"POA2309130001"}]}"#,
            r#"[{"status":0,"data":[]}]"#,
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
        for (beside, remark) in [
            (r#""message":"系统异常""#, Some("系统异常")),
            (r#""message":"POA1: 采购申请单状态不是部分引用""#, Some("POA1: 采购申请单状态不是部分引用")),
            (r#""success":false"#, Some("the answer says that it is a failure")),
            (r#""flag":"failure","sub_msg":"busy""#, Some("the answer says that it is a failure; busy")),
            (r#""error":{"code":5}"#, Some(r#"{"code":5}"#)),
            (r#""message":"ok","success":true,"error":null,"msg":"","errors":[],"error_code":0"#, None),
            (r#""message":"停止引用成功","trace":{"id":7},"cost":1.5"#, None),
        ] {
            let text = format!(r#"{{"status":0,"data":[],{beside}}}"#);
            let answer = StopAnswer::read(text.as_bytes()).expect("readable");
            assert_eq!(answer.remark(), remark, "{text}");
        }
        let strings = r#"{"status":"0","total":"1","data":[{"order_no":"POA2309040001","order_id":"","error_code":"7","error":null}]}"#;
        let answer = StopAnswer::read(strings.as_bytes()).expect("numbers as text");
        let failures = answer.failures(&asked()).expect("adds up");
        assert_eq!((failures[0].error_code, failures[0].order_id), (Some(7), None));
    }
}
