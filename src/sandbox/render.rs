//! The JSON of one requisition, written straight into a string, field by field: of enterprise and Y in the order of the
//! vendor's example, of flagship in the order of its page's table.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

use super::record::{Detail, Override, Quantity, Requisition};

/// How the applicant's field is spelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Applicant {
    /// `createtor_name`, as in the vendor's example answer.
    #[default]
    Example,
    /// `createor_name`, as in the vendor's table of fields.
    Table,
}

/// How numbers go over the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scalars {
    /// As in the vendor's example answers: JSON strings of enterprise and Y; of flagship strings for quantities and
    /// numbers for the rest.
    #[default]
    Strings,
    /// As JSON numbers: ids, states, quantities, the total and the code.
    Numbers,
}

/// How text beyond ASCII goes over the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escapes {
    /// As UTF-8; only what JSON demands is escaped.
    #[default]
    Plain,
    /// As PHP's `json_encode` does unless told otherwise: `\uXXXX` with surrogates, and `\/`.
    Php,
}

/// What is sent for a list without entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptyList {
    /// `[]`
    #[default]
    Array,
    /// `{}`, as PHP sends an empty array that was told to be an object.
    Object,
    /// `null`
    Null,
    /// Nothing: the field is left out.
    LeftOut,
}

/// How lists go over the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// What an empty one is.
    pub empty: EmptyList,
    /// Whether they are objects with the keys "0", "1", ..., as PHP sends an array with a gap in its keys.
    pub keyed: bool,
}

/// The ways in which answers of one gateway differ in form, not in content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Whose status codes are sent.
    pub edition: Edition,
    /// How the applicant's field is spelled.
    pub applicant: Applicant,
    /// How numbers are sent.
    pub scalars: Scalars,
    /// How text is escaped.
    pub escapes: Escapes,
    /// How lists are sent.
    pub lists: Lists,
}

impl Dialect {
    /// What the vendor's example answer shows.
    pub fn of(edition: Edition) -> Self {
        Self {
            edition,
            applicant: Applicant::default(),
            scalars: Scalars::default(),
            escapes: Escapes::default(),
            lists: Lists::default(),
        }
    }
}

impl FromStr for Scalars {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "strings" => Ok(Self::Strings),
            "numbers" => Ok(Self::Numbers),
            _ => Err(Error::new(ErrorClass::SandboxWrong, text!("`{text}` is not a way to send numbers", text))
                .hint("write `strings` or `numbers`")),
        }
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn string(out: &mut String, text: &str, escapes: Escapes) {
    out.push('"');
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if escapes == Escapes::Plain && text.bytes().all(plain) {
        out.push_str(text);
        out.push('"');
        return;
    }
    let mut plain_from = 0;
    for (at, letter) in text.char_indices() {
        let php = escapes == Escapes::Php && (letter == '/' || !letter.is_ascii());
        if !php && letter >= ' ' && letter != '"' && letter != '\\' {
            continue;
        }
        out.push_str(text.get(plain_from..at).unwrap_or_default());
        plain_from = at + letter.len_utf8();
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ => letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }),
        }
    }
    out.push_str(text.get(plain_from..).unwrap_or_default());
    out.push('"');
}

/// Appends the JSON object of one requisition, overrides applied.
pub(crate) fn requisition(out: &mut String, requisition: &Requisition, dialect: Dialect) {
    match dialect.edition {
        Edition::Enterprise | Edition::Y => openapi2(out, requisition, dialect),
        Edition::Flagship => flagship(out, requisition, dialect),
    }
}

fn openapi2(out: &mut String, requisition: &Requisition, dialect: Dialect) {
    let mut object = Object::open(out, &requisition.overrides, dialect);
    object.number("apply_id", requisition.apply_id);
    object.text("purchase_apply_no", &requisition.purchase_apply_no);
    object.number("status", requisition.status.code(dialect.edition));
    object.text(
        match dialect.applicant {
            Applicant::Example => "createtor_name",
            Applicant::Table => "createor_name",
        },
        &requisition.createor_name,
    );
    object.text("warehouse_no", &requisition.warehouse_no);
    object.text("name", &requisition.name);
    object.quantity("real_num", requisition.real_num);
    object.quantity("ref_num", requisition.ref_num);
    object.quantity("unref_num", requisition.unref_num);
    object.text("expected_time", &requisition.expected_time);
    object.text("remark", &requisition.remark);
    object.shown("modified", requisition.modified);
    object.shown("created", requisition.created);
    object.list("details_list", &requisition.details, |out, detail| openapi2_detail(out, detail, requisition, dialect));
    object.close();
}

/// Appends a list; a list that is left out where it is empty is an array here.
pub(super) fn list<T>(out: &mut String, entries: &[T], lists: Lists, entry: impl Fn(&mut String, &T)) {
    let (open, close) = match (entries.is_empty(), lists) {
        (true, Lists { empty: EmptyList::Null, .. }) => ("null", ""),
        (true, Lists { empty: EmptyList::Object, .. }) | (false, Lists { keyed: true, .. }) => ("{", "}"),
        _ => ("[", "]"),
    };
    out.push_str(open);
    for (i, one) in entries.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        if lists.keyed {
            // Writing to a string cannot fail.
            let _ = write!(out, "\"{i}\":");
        }
        entry(out, one);
    }
    out.push_str(close);
}

fn openapi2_detail(out: &mut String, detail: &Detail, header: &Requisition, dialect: Dialect) {
    let mut object = Object::open(out, &detail.overrides, dialect);
    object.number("rec_id", detail.rec_id);
    object.number("apply_id", header.apply_id);
    object.text("remark", &detail.remark);
    object.text("purchase_apply_no", &header.purchase_apply_no);
    object.text("spec_name", &detail.spec_name);
    object.text("spec_no", &detail.spec_no);
    object.text("goods_name", &detail.goods_name);
    object.text("brand_no", &detail.brand_no);
    object.text("brand_name", &detail.brand_name);
    object.text("class_name", &detail.class_name);
    object.text("goods_no", &detail.goods_no);
    object.text("short_name", &detail.short_name);
    object.quantity("real_num", detail.real_num);
    object.quantity("ref_num", detail.ref_num);
    object.text("provider_no", &detail.provider_no);
    object.text("provider_name", &detail.provider_name);
    object.close();
}

fn flagship(out: &mut String, requisition: &Requisition, dialect: Dialect) {
    let mut object = Object::open(out, &requisition.overrides, dialect);
    object.text("purchase_apply_no", &requisition.purchase_apply_no);
    object.integer("status", requisition.status.code(dialect.edition).into());
    object.text("apply_name", &requisition.createor_name);
    object.text("warehouse_no", &requisition.warehouse_no);
    object.text("warehouse_name", &requisition.name);
    if let Some(line) = requisition.only_provider() {
        object.text_unless_empty("provider_no", &line.provider_no);
        object.text_unless_empty("provider_name", &line.provider_name);
    }
    object.text("remark", &requisition.remark);
    object.text("expected_time", &requisition.expected_time);
    object.shown("modified", requisition.modified);
    object.shown("created", requisition.created);
    object.list("detail_list", &requisition.details, |out, detail| flagship_detail(out, detail, requisition, dialect));
    object.close();
}

fn flagship_detail(out: &mut String, detail: &Detail, header: &Requisition, dialect: Dialect) {
    let mut object = Object::open(out, &detail.overrides, dialect);
    object.text("purchase_apply_no", &header.purchase_apply_no);
    object.integer("rec_id", detail.rec_id);
    object.text("spec_no", &detail.spec_no);
    object.text("goods_no", &detail.goods_no);
    object.text("goods_name", &detail.goods_name);
    object.text("spec_name", &detail.spec_name);
    object.quantity("num", detail.real_num);
    object.quantity("ref_num", detail.ref_num);
    object.quantity("stockin_num", detail.stockin_num());
    object.text_unless_empty("provider_no", &detail.provider_no);
    object.text_unless_empty("provider_name", &detail.provider_name);
    object.text("remark", &detail.remark);
    object.text("brand_name", &detail.brand_name);
    object.close();
}

/// One JSON object in the making. Overrides of fields that it never had come last.
pub(super) struct Object<'a> {
    out: &'a mut String,
    overrides: &'a [Override],
    applied: Vec<bool>,
    dialect: Dialect,
    empty: bool,
}

impl<'a> Object<'a> {
    pub(super) fn open(out: &'a mut String, overrides: &'a [Override], dialect: Dialect) -> Self {
        out.push('{');
        Self { out, overrides, applied: vec![false; overrides.len()], dialect, empty: true }
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(',');
        }
        // Documented names, and those that tests invent, need no escape.
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    pub(super) fn field(&mut self, name: &str, value: impl FnOnce(&mut String)) {
        let Some(place) = self.overrides.iter().position(|other| &*other.field == name) else {
            self.name(name);
            value(self.out);
            return;
        };
        self.applied[place] = true;
        if let Some(json) = &self.overrides[place].json {
            self.name(name);
            self.out.push_str(json);
        }
    }

    /// A list, unless it is empty and left out.
    pub(super) fn list<T>(&mut self, name: &str, entries: &[T], entry: impl Fn(&mut String, &T)) {
        let lists = self.dialect.lists;
        let overridden = self.overrides.iter().any(|other| &*other.field == name);
        if overridden || !entries.is_empty() || lists.empty != EmptyList::LeftOut {
            self.field(name, |out| list(out, entries, lists, entry));
        }
    }

    /// Fields as they are.
    pub(super) fn raw(&mut self, fields: &[(&str, &str)]) {
        for (name, json) in fields {
            self.field(name, |out| out.push_str(json));
        }
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        let escapes = self.dialect.escapes;
        self.field(name, |out| string(out, text, escapes));
    }

    fn text_unless_empty(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text(name, text);
        }
    }

    pub(super) fn number(&mut self, name: &str, number: impl std::fmt::Display) {
        match self.dialect.scalars {
            Scalars::Strings => self.shown(name, number),
            Scalars::Numbers => self.field(name, |out| {
                let _ = write!(out, "{number}");
            }),
        }
    }

    /// A number in either way of sending numbers.
    pub(super) fn integer(&mut self, name: &str, number: i64) {
        self.field(name, |out| {
            let _ = write!(out, "{number}");
        });
    }

    fn quantity(&mut self, name: &str, quantity: Quantity) {
        self.number(name, quantity);
    }

    /// Anything whose text needs no escape, as a JSON string.
    fn shown(&mut self, name: &str, value: impl std::fmt::Display) {
        self.field(name, |out| {
            let _ = write!(out, "\"{value}\"");
        });
    }

    pub(super) fn close(mut self) {
        for place in 0..self.overrides.len() {
            if let (false, Override { field, json: Some(json) }) = (self.applied[place], &self.overrides[place]) {
                self.name(field);
                self.out.push_str(json);
            }
        }
        self.out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::BeijingTime;

    fn sample() -> Requisition {
        let modified = BeijingTime::parse("2020-05-19 11:57:04").expect("a time");
        Requisition::plain(118, "POA202005190001", modified)
    }

    fn render(sample: &Requisition, dialect: Dialect) -> serde_json::Value {
        let mut json = String::new();
        requisition(&mut json, sample, dialect);
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
    }

    #[test]
    fn fields_come_in_the_order_of_the_vendors_example() {
        let mut json = String::new();
        requisition(&mut json, &sample(), Dialect::of(Edition::Enterprise));
        assert_eq!(
            json,
            concat!(
                r#"{"apply_id":"118","purchase_apply_no":"POA202005190001","status":"23","createtor_name":"王芳","#,
                r#""warehouse_no":"WH001","name":"杭州中心仓","real_num":"10.0000","ref_num":"0.0000","unref_num":"10.0000","#,
                r#""expected_time":"0000-00-00 00:00:00","remark":"","modified":"2020-05-19 11:57:04","#,
                r#""created":"2020-05-19 11:56:04","details_list":[{"rec_id":"11800","apply_id":"118","remark":"","#,
                r#""purchase_apply_no":"POA202005190001","spec_name":"默认规格","spec_no":"SP100001","#,
                r#""goods_name":"SP100001","brand_no":"","brand_name":"无","class_name":"无","goods_no":"SP100001","#,
                r#""short_name":"","real_num":"10.0000","ref_num":"0.0000","provider_no":"","provider_name":""}]}"#
            )
        );
    }

    #[test]
    fn the_other_dialect_says_the_same() {
        let mut dialect = Dialect::of(Edition::Y);
        (dialect.applicant, dialect.scalars, dialect.escapes) = (Applicant::Table, Scalars::Numbers, Escapes::Php);
        let json = render(&sample(), dialect);
        assert_eq!((&json["apply_id"], &json["status"]), (&118.into(), &20.into()));
        assert_eq!((&json["createor_name"], &json["real_num"]), (&"王芳".into(), &10.0.into()));
    }

    #[test]
    fn every_text_survives_both_escapes() {
        let text = "\"引号\" \\ / \n\r\t\u{1}\u{7f} 😀 é";
        for escapes in [Escapes::Plain, Escapes::Php] {
            let mut json = String::new();
            string(&mut json, text, escapes);
            assert_eq!(serde_json::from_str::<String>(&json).expect("a JSON string"), text);
            assert!(escapes == Escapes::Plain || json.is_ascii());
        }
    }

    #[test]
    fn overrides_replace_remove_and_add() {
        let mut sample = sample();
        sample.send_raw("real_num", "10.00001");
        sample.send_raw("details_list", "null");
        sample.send_raw("new_field", r#"{"a":[1]}"#);
        sample.leave_out("purchase_apply_no");
        let json = render(&sample, Dialect::of(Edition::Enterprise));
        assert_eq!((&json["details_list"], &json["new_field"]["a"][0]), (&serde_json::Value::Null, &1.into()));
        assert!(json.get("purchase_apply_no").is_none());
        assert_eq!(json["real_num"].to_string(), "10.00001");
    }
}
