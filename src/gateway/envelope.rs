//! The outer object of an answer: success or business error, read without reading the rows.
//!
//! The vendor sends `code` (enterprise, Y) or `status` (flagship) and `message` before the list, so that the reader
//! stops at the list; in any other order it skips over the list and is only slower. The code may be a number or a
//! string.

use std::borrow::Cow;
use std::fmt;
use std::io;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The names of an edition's outer object.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnvelopeNames {
    /// Where the code of a business error stands; 0 means success.
    pub(super) code: &'static str,
    /// Fields that only a successful answer has; the rows stand in the first of them that is there.
    pub(super) list: &'static [&'static str],
}

/// What the outer object says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    Success,
    Refused { code: i64, message: String },
}

#[derive(Default)]
struct Found {
    code: Option<String>,
    message: Option<String>,
    list: bool,
}

impl Found {
    /// Whether the code says so.
    fn is_success(&self) -> bool {
        self.code.as_deref().map(str::trim) == Some("0")
    }
}

/// Reads the outer object of `body`.
///
/// # Errors
/// What is wrong, in words without the body, when `body` is not a JSON object, is cut before its code, or has neither
/// code nor list.
pub(super) fn read(body: &[u8], names: EnvelopeNames) -> Result<Envelope, String> {
    let mut found = Found::default();
    let mut outcome = serde_json::Deserializer::from_slice(body).deserialize_map(Reader { names, found: &mut found });
    // A success ends at its list, with an error for what is not read: nothing is wrong with it, and the rest is for the
    // decoder to look at.
    if outcome.is_err() && !found.is_success() && body.iter().any(u8::is_ascii_control) {
        // Raw control characters within a text are no JSON, and some servers send them.
        found = Found::default();
        let mut json = serde_json::Deserializer::from_reader(Blanked(body));
        outcome = json.deserialize_map(Reader { names, found: &mut found });
    }
    match (&found, outcome) {
        (Found { code: Some(code), message, .. }, outcome) => {
            let code: i64 = code.trim().parse().map_err(|_| format!("`{}` is no number", names.code))?;
            match (code, outcome) {
                (0, _) => Ok(Envelope::Success),
                (_, Ok(())) => Ok(Envelope::Refused { code, message: message.clone().unwrap_or_default() }),
                (_, Err(error)) => Err(format!("the response is not JSON: {error}")),
            }
        }
        (Found { list: true, .. }, _) => Ok(Envelope::Success),
        (_, Ok(())) => Err(format!("the response has neither `{}` nor `{}`", names.code, names.list.join("` nor `"))),
        (_, Err(error)) => Err(format!("the response is not JSON: {error}")),
    }
}

/// A text with blanks for its control characters.
struct Blanked<'a>(&'a [u8]);

impl io::Read for Blanked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        buffer[..read].iter_mut().filter(|byte| byte.is_ascii_control()).for_each(|byte| *byte = b' ');
        Ok(read)
    }
}

struct Reader<'a> {
    names: EnvelopeNames,
    found: &'a mut Found,
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == self.names.code {
                self.found.code = Some(scalar(map.next_value::<Box<RawValue>>()?.get()));
            } else if name == "message" {
                self.found.message = Some(scalar(map.next_value::<Box<RawValue>>()?.get()));
            } else {
                if self.names.list.contains(&&*name) {
                    self.found.list = true;
                    if self.found.is_success() {
                        // Nothing after this can change the verdict; the decoder reads the rest.
                        return Ok(());
                    }
                }
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A scalar's text: the content of a string, or the JSON text of anything else.
fn scalar(raw: &str) -> String {
    serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: EnvelopeNames = EnvelopeNames { code: "code", list: &["purchase_list"] };

    fn refused(code: i64, message: &str) -> Result<Envelope, String> {
        Ok(Envelope::Refused { code, message: message.to_owned() })
    }

    #[test]
    fn every_shape_of_an_outer_object() {
        let read = |text: &str| read(text.as_bytes(), NAMES);
        for success in [
            r#"{"code":"0","message":"","total_count":"7","purchase_list":[{"code":"9"}]}"#,
            r#"{"code":0,"purchase_list":[]}"#,
            r#"{"purchase_list":[{"code":"9"}],"message":"ok","code":"0"}"#,
            r#"{"purchase_list":[]}"#,
            r#"{"code":0}"#,
            r#"{"code":0,"purchase_list":[{"cut"#,
        ] {
            assert_eq!(read(success), Ok(Envelope::Success), "{success}");
        }
        assert_eq!(read(r#"{"code":2180,"message":"跨度"}"#), refused(2180, "跨度"));
        assert_eq!(read(r#"{"message":"\u8de8","code":" 2180 "}"#), refused(2180, "跨"));
        assert_eq!(read(r#"{"code":5,"message":null}"#), refused(5, "null"));
        for unreadable in
            ["", "<html>502</html>", "[]", "{", "{}", r#"{"code":"x"}"#, r#"{"code":21"#, r#"{"code":1,"message":"cu"#]
        {
            assert!(read(unreadable).is_err(), "{unreadable}");
        }
        assert!(super::read(b"\xff\xfe", NAMES).is_err());
    }

    /// Each edition has a code of its own, and what the other one calls so is a field like any other.
    #[test]
    fn only_the_editions_own_code_decides() {
        let enterprise = |text: &str| read(text.as_bytes(), NAMES);
        let flagship = |text: &str| read(text.as_bytes(), crate::gateway::qjb::ENVELOPE);
        for status in ["1", "\"7\"", "null", "{\"a\":[1]}", "\"fail\""] {
            let text = format!(r#"{{"status":{status},"code":0,"message":"x","purchase_list":[]}}"#);
            assert_eq!(enterprise(&text), Ok(Envelope::Success), "{text}");
            assert_eq!(enterprise(&format!(r#"{{"code":3,"status":{status}}}"#)), refused(3, ""));
            let text = format!(r#"{{"code":{status},"status":0,"success":false,"data":[]}}"#);
            assert_eq!(flagship(&text), Ok(Envelope::Success), "{text}");
            assert_eq!(flagship(&format!(r#"{{"code":{status},"status":3}}"#)), refused(3, ""));
        }
        assert!(enterprise(r#"{"status":1,"message":"no code"}"#).is_err());
        assert_eq!(
            enterprise(r#"{"flag":"failure","trace":{"id":[{}]},"code":"0","purchase_list":[]}"#),
            Ok(Envelope::Success)
        );
    }

    #[test]
    fn raw_control_characters_are_no_reason_not_to_read() {
        let read = |text: &str| read(text.as_bytes(), NAMES);
        assert_eq!(read("{\"code\":0,\"message\":\"a\tb\u{1}\",\"purchase_list\":[]}"), Ok(Envelope::Success));
        assert_eq!(read("{\"purchase_list\":[{\"remark\":\"a\nb\"}],\"code\":\"0\"}"), Ok(Envelope::Success));
        assert_eq!(read("{\"message\":\"a\nb\",\n\"code\":9}"), refused(9, "a b"));
        assert!(read("{\"message\":\"a\nb").is_err());
    }

    #[test]
    fn every_shape_of_a_flagship_object() {
        let read = |text: &str| read(text.as_bytes(), crate::gateway::qjb::ENVELOPE);
        for success in [
            r#"{"status":0,"data":{"total_count":1,"order_list":[{"status":25}]}}"#,
            r#"{"data":{"order_list":[{"status":25}]},"status":0}"#,
            r#"{"total_count":1,"order_list":[{"status":25}]}"#,
            r#"{"status":0,"data":[]}"#,
            r#"{"status":"0","total":1,"data":[{"order_id":764,"error":"采购申请单状态不是部分引用","error_code":0}]}"#,
        ] {
            assert_eq!(read(success), Ok(Envelope::Success), "{success}");
        }
        assert_eq!(read(r#"{"status":100,"message":"日期格式不合法"}"#), refused(100, "日期格式不合法"));
        assert_eq!(read(r#"{"status":1,"data":null,"message":"验证失败"}"#), refused(1, "验证失败"));
        assert!(read(r#"{"message":"验证失败"}"#).is_err());
    }
}
