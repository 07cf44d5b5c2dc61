//! Answers that say the right thing in an odd form.

use http::StatusCode;

use crate::edition::Edition;

use super::super::render::{self, EmptyList, Escapes, Lists};
use super::record::NO_UTF8;
use super::{Oddities, OddityKind, Takes, Unit};

const SOME: Takes = Takes::Every(5);

const EMPTY_AS_OBJECT: OddityKind =
    OddityKind::new("empty-as-object", Takes::Nothing, "an empty list is {}, of requisitions and of details");
const EMPTY_LEFT_OUT: OddityKind =
    OddityKind::new("empty-left-out", Takes::Nothing, "an empty list is left out, of requisitions and of details");
const EMPTY_AS_NULL: OddityKind =
    OddityKind::new("empty-as-null", Takes::Nothing, "an empty list is null, of requisitions and of details");
const KEYED_LISTS: OddityKind =
    OddityKind::new("keyed-lists", Takes::Nothing, "a list is an object with the keys \"0\", \"1\", ...");
const BOM: OddityKind =
    OddityKind::new("bom", Takes::Amount(Unit::Number, 1), "so many byte order marks stand before the JSON");
const BLANK_LINES: OddityKind = OddityKind::new(
    "blank-lines",
    Takes::Amount(Unit::Number, 2),
    "so many blank lines stand before and behind the JSON",
);
const GZIP: OddityKind = OddityKind::new("gzip", Takes::Nothing, "responses are compressed, for those who accept it");
const GZIP_MEMBERS: OddityKind = OddityKind::new(
    "gzip-members",
    Takes::Amount(Unit::Number, 2),
    "compressed responses consist of so many gzip members",
);
const X_GZIP: OddityKind = OddityKind::new("x-gzip", Takes::Nothing, "compressed responses are labelled `x-gzip`");
const GZIP_UPPER: OddityKind =
    OddityKind::new("gzip-upper", Takes::Nothing, "compressed responses are labelled `GZIP`");
const GZIP_UNLABELLED: OddityKind =
    OddityKind::new("gzip-unlabelled", Takes::Nothing, "compressed responses are not labelled");
const STATUS: OddityKind =
    OddityKind::of_openapi2("outer-status", Takes::Nothing, "responses carry a `status` of 1 beside the code");
const OUTER_FIELDS: OddityKind = OddityKind::new(
    "outer-fields",
    Takes::Nothing,
    "responses carry fields that nobody knows, before and behind the others",
);
const ECHO: OddityKind = OddityKind::new(
    "request-echo",
    Takes::Nothing,
    "responses repeat the address or the form that was sent, signature and salt and all",
);
const STATUS_203: OddityKind =
    OddityKind::new("http-203", Takes::Nothing, "responses have the HTTP status 203, as behind some proxies");
const HTML: OddityKind = OddityKind::new("html", SOME, "every N-th response is an HTML page with HTTP status 200");
const PHP_WARNING: OddityKind =
    OddityKind::new("php-warning", SOME, "a warning of PHP stands before the JSON of every N-th response");

pub(super) const KINDS: &[OddityKind] = &[
    EMPTY_AS_OBJECT,
    EMPTY_LEFT_OUT,
    EMPTY_AS_NULL,
    KEYED_LISTS,
    BOM,
    BLANK_LINES,
    GZIP,
    GZIP_MEMBERS,
    X_GZIP,
    GZIP_UPPER,
    GZIP_UNLABELLED,
    STATUS,
    OUTER_FIELDS,
    ECHO,
    STATUS_203,
    HTML,
    PHP_WARNING,
];

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Packing {
    /// How many gzip members it consists of.
    pub(in crate::sandbox) members: usize,
    /// Its `Content-Encoding`.
    pub(in crate::sandbox) label: Option<&'static str>,
}

impl Oddities {
    /// How lists are sent.
    pub(in crate::sandbox) fn lists(&self) -> Lists {
        let mut lists = Lists::default();
        for oddity in &self.0 {
            match *oddity.kind {
                EMPTY_AS_OBJECT => lists.empty = EmptyList::Object,
                EMPTY_LEFT_OUT => lists.empty = EmptyList::LeftOut,
                EMPTY_AS_NULL => lists.empty = EmptyList::Null,
                KEYED_LISTS => lists.keyed = true,
                _ => {}
            }
        }
        lists
    }

    /// Fields that stand before all others in an answer with rows, name and JSON.
    pub(in crate::sandbox) fn fields_before(&self, edition: Edition) -> Vec<(&'static str, &'static str)> {
        let mut fields = Vec::new();
        if self.has(&OUTER_FIELDS) {
            fields.extend([("trace", r#"{"id":"a0","hops":[1,[2,{}]]}"#), ("success", "true")]);
        }
        if self.has(&STATUS) && edition != Edition::Flagship {
            fields.push(("status", "1"));
        }
        fields
    }

    /// Fields that stand behind all others.
    pub(in crate::sandbox) fn fields_behind(&self) -> &'static [(&'static str, &'static str)] {
        if self.has(&OUTER_FIELDS) { &[("request_id", "\"77\""), ("cost", "1.5e-3")] } else { &[] }
    }

    /// An answer with the request in it, as it was sent.
    pub(in crate::sandbox) fn echoed(&self, json: String, request: &str) -> String {
        if !self.has(&ECHO) {
            return json;
        }
        let mut echoed = "{\"request\":".to_owned();
        render::string(&mut echoed, request, Escapes::Php);
        echoed.push(',');
        echoed.push_str(json.strip_prefix('{').unwrap_or(&json));
        echoed
    }

    /// The HTTP status of an answer.
    pub(in crate::sandbox) fn status(&self) -> StatusCode {
        if self.has(&STATUS_203) { StatusCode::NON_AUTHORITATIVE_INFORMATION } else { StatusCode::OK }
    }

    /// Whether the answer to the call `nth` is an HTML page.
    pub(super) fn is_html(&self, nth: u64) -> bool {
        self.strikes(&HTML, nth)
    }

    /// The bytes of the answer to the call `nth`.
    pub(in crate::sandbox) fn bytes(&self, json: String, nth: u64) -> Vec<u8> {
        let times = |kind| self.amount(kind).map_or(0, |times| usize::try_from(times).unwrap_or(usize::MAX));
        let (marks, lines, warning) = (times(&BOM), times(&BLANK_LINES), self.strikes(&PHP_WARNING, nth));
        let mut bytes = if json.contains(NO_UTF8) { without_utf8(&json) } else { json.into_bytes() };
        if marks > 0 || lines > 0 || warning {
            let noise = "<br />\n<b>Warning</b>:  Undefined index: sid in <b>/www/openapi2/index.php</b> on line <b>12</b><br />\n";
            let blank = "\r\n".repeat(lines);
            let before = ["\u{feff}".repeat(marks).as_str(), if warning { noise } else { "" }, &blank].concat();
            bytes = [before.as_bytes(), &bytes, blank.as_bytes()].concat();
        }
        bytes
    }

    /// How answers are compressed, if an oddity says so.
    pub(in crate::sandbox) fn packing(&self) -> Option<Packing> {
        let mut packing = None;
        for oddity in &self.0 {
            let packed = packing.unwrap_or(Packing { members: 1, label: Some("gzip") });
            packing = match *oddity.kind {
                GZIP => Some(packed),
                GZIP_MEMBERS => Some(Packing { members: usize::try_from(oddity.amount).unwrap_or(1).max(1), ..packed }),
                X_GZIP => Some(Packing { label: Some("x-gzip"), ..packed }),
                GZIP_UPPER => Some(Packing { label: Some("GZIP"), ..packed }),
                GZIP_UNLABELLED => Some(Packing { label: None, ..packed }),
                _ => packing,
            };
        }
        packing
    }
}

/// The bytes of `json`, with some that are no UTF-8 in the place of each mark.
fn without_utf8(json: &str) -> Vec<u8> {
    let pieces: Vec<&[u8]> = json.split(NO_UTF8).map(str::as_bytes).collect();
    pieces.join(&[0xff, 0xc0, 0x80][..])
}
