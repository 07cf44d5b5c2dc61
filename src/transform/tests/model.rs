//! Random requisitions, written as JSON in a random way, come out as the model holds them.
//!
//! The model and its writer share nothing with the decoder: values start as integers and characters, and the columns
//! that they belong to are listed here by hand. What has no column is compared as serde_json's tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value as Tree;

use super::*;

/// What a field holds.
#[derive(Clone, Debug)]
enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    /// Ten-thousandths.
    Decimal(Option<i64>),
    /// Seconds since 2000-01-01 00:00:00 in Beijing.
    Time(Option<u32>),
    /// Midnight of a day in January of a year that readers do not hold.
    Ancient(u32, u32),
}

impl Value {
    fn cell(&self) -> Cell {
        match self {
            Self::Text(value) => value.as_deref().map_or(Cell::Null, Cell::from),
            Self::Int(value) => value.map_or(Cell::Null, Cell::Int),
            Self::Decimal(value) => value.map_or(Cell::Null, |units| Cell::Decimal(units.into())),
            // 2000-01-01 00:00:00 +08:00 is 946656000 in Unix seconds.
            Self::Ancient(..) => Cell::Null,
            Self::Time(value) => {
                value.map_or(Cell::Null, |seconds| Cell::Time((946_656_000 + i64::from(seconds)) * 1_000_000))
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Record {
    /// (column, value), each column at most once.
    fields: Vec<(&'static str, Value)>,
    /// Names that no column has, each once, and their values.
    unknown: BTreeMap<String, Tree>,
    details: Vec<Detail>,
}

#[derive(Clone, Debug)]
struct Detail {
    fields: Vec<(&'static str, Value)>,
    unknown: BTreeMap<String, Tree>,
}

/// Trees of texts and numbers.
fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        raw_text().prop_map(Tree::from)
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::from),
            prop::collection::btree_map(raw_text(), inner, 0..4)
                .prop_map(|map| Tree::Object(map.into_iter().collect())),
        ]
    })
}

/// At times more than are compared one by one.
fn unknown() -> impl Strategy<Value = BTreeMap<String, Tree>> {
    let named = |count| prop::collection::btree_map(raw_text().prop_map(|text| format!("x{text}")), tree(), count);
    prop_oneof![4 => named(0..3), 1 => named(30..50)]
}

/// Text with control characters among its letters.
fn raw_text() -> impl Strategy<Value = String> {
    prop_oneof!["[\0-\u{20}\"\\\\/a\u{7f}好😀]{0,6}", "[a-z]{0,20}"]
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![Just(None), Just(Some(String::new())), any::<String>().prop_map(Some), raw_text().prop_map(Some)]
        .prop_map(Value::Text)
}

fn decimal() -> impl Strategy<Value = Value> {
    prop_oneof![Just(None), (-3_000_000_i64..3_000_000).prop_map(Some), any::<i64>().prop_map(Some)]
        .prop_map(Value::Decimal)
}

fn int() -> impl Strategy<Value = Value> {
    prop::option::of(any::<i64>()).prop_map(Value::Int)
}

fn time() -> impl Strategy<Value = Value> {
    let year = prop_oneof![Just(0), 1_u32..1900, 10_000_u32..200_000];
    prop_oneof![
        3 => prop::option::of(0_u32..1_200_000_000).prop_map(Value::Time),
        1 => (year, 1_u32..32).prop_map(|(year, day)| Value::Ancient(year, day)),
    ]
}

/// Each field with a value, or left out.
fn fields(named: Vec<(&'static str, BoxedStrategy<Value>)>) -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    named
        .into_iter()
        .map(|(name, value)| prop::option::weighted(0.9, value.prop_map(move |value| (name, value))))
        .collect::<Vec<_>>()
        .prop_map(|fields| fields.into_iter().flatten().collect())
}

fn record() -> impl Strategy<Value = Record> {
    let id = || prop_oneof![prop::option::of(0_i64..3).prop_map(Value::Int), int()];
    let header = vec![
        ("apply_id", id().boxed()),
        ("createor_name", text().boxed()),
        ("name", text().boxed()),
        ("warehouse_no", text().boxed()),
        ("real_num", decimal().boxed()),
        ("ref_num", decimal().boxed()),
        ("unref_num", decimal().boxed()),
        ("expected_time", time().boxed()),
        ("remark", text().boxed()),
        ("created", time().boxed()),
    ];
    let texts =
        ["spec_no", "spec_name", "goods_no", "goods_name", "short_name", "brand_no", "brand_name", "class_name"];
    let mut detail = vec![("apply_id", id().boxed()), ("real_num", decimal().boxed()), ("ref_num", decimal().boxed())];
    detail.extend(texts.map(|name| (name, text().boxed())));
    detail.extend(["provider_no", "provider_name", "remark"].map(|name| (name, text().boxed())));
    let detail = (any::<i64>(), fields(detail), unknown()).prop_map(|(id, mut fields, unknown)| {
        fields.push(("rec_id", Value::Int(Some(id))));
        Detail { fields, unknown }
    });
    let required = ("\\PC{1,8}", any::<i16>(), 0_u32..1_200_000_000);
    (required, fields(header), unknown(), prop::collection::vec(detail, 0..4)).prop_map(
        |((no, status, modified), mut fields, unknown, details)| {
            fields.push(("purchase_apply_no", Value::Text(Some(no))));
            fields.push(("status", Value::Int(Some(status.into()))));
            fields.push(("modified", Value::Time(Some(modified))));
            Record { fields, unknown, details }
        },
    )
}

/// Writes JSON in one of many equivalent ways.
struct Writer(u64);

impl Writer {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn blank(&mut self) -> &'static str {
        ["", "", "", " ", "\n\t"][usize::try_from(self.roll(5)).expect("small")]
    }

    fn string(&mut self, text: &str) -> String {
        let mut out = String::from("\"");
        for letter in text.chars() {
            let must = letter == '"' || letter == '\\' || (letter < ' ' && self.roll(2) == 0);
            if must || self.roll(6) == 0 {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    out += &if self.roll(2) == 0 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
                }
            } else {
                out.push(letter);
            }
        }
        out + "\""
    }

    fn number(&mut self, text: String) -> String {
        if self.roll(2) == 0 { self.string(&text) } else { text }
    }

    fn value(&mut self, value: &Value) -> String {
        match value {
            Value::Text(None) => "null".to_owned(),
            Value::Text(Some(text)) => self.string(text),
            Value::Int(Some(value)) => self.number(value.to_string()),
            Value::Decimal(Some(units)) => {
                let (sign, size) = (if *units < 0 { "-" } else { "" }, units.unsigned_abs());
                let fraction = format!("{:04}", size % 10_000);
                let text = match self.roll(4) {
                    0 => format!("{sign}{size}e-4"),
                    1 => format!("{sign}{}.{fraction}000", size / 10_000),
                    2 if fraction == "0000" => format!("{sign}{}", size / 10_000),
                    _ => format!("{sign}{}.{fraction}", size / 10_000),
                };
                self.number(text)
            }
            Value::Time(Some(seconds)) => {
                let days = i64::from(seconds / 86_400);
                let (year, month, day) = calendar(days);
                let rest = seconds % 86_400;
                if rest == 0 && self.roll(2) == 0 {
                    return format!("\"{year:04}-{month:02}-{day:02}\"");
                }
                let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
                self.string(&format!("{year:04}-{month:02}-{day:02} {clock}"))
            }
            Value::Ancient(year, day) => format!("\"{year:04}-01-{day:02}\""),
            Value::Time(None) => ["null", "\"\"", "\"0000-00-00 00:00:00\"", "\"0000-00-00\""]
                [usize::try_from(self.roll(4)).expect("small")]
            .to_owned(),
            _ => ["null", "\"\""][usize::try_from(self.roll(2)).expect("small")].to_owned(),
        }
    }

    fn tree(&mut self, tree: &Tree) -> String {
        match tree {
            Tree::String(text) => self.string(text),
            Tree::Array(elements) => {
                let elements: Vec<String> =
                    elements.iter().map(|element| self.blank().to_owned() + &self.tree(element)).collect();
                format!("[{}]", elements.join(","))
            }
            Tree::Object(members) => {
                let members = members.iter().map(|(name, value)| (name.clone(), self.tree(value))).collect();
                self.object(members)
            }
            scalar => scalar.to_string(),
        }
    }

    /// A list, or an object with ascending keys.
    fn list(&mut self, elements: &[String]) -> String {
        if self.roll(2) == 0 {
            return format!("[{}]", elements.join(","));
        }
        let mut place = 0;
        let members: Vec<String> = elements
            .iter()
            .map(|element| {
                place += self.roll(2);
                let member = format!("{}\"{place}\"{}:{element}", self.blank(), self.blank());
                place += 1;
                member
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }

    fn unknown(&mut self, unknown: &BTreeMap<String, Tree>) -> Vec<(String, String)> {
        unknown.iter().map(|(name, tree)| (name.clone(), self.tree(tree))).collect()
    }

    fn object(&mut self, mut members: Vec<(String, String)>) -> String {
        // Half of the objects keep their order, so that guessed keys are right and wrong by turns.
        if self.roll(2) == 0 {
            for place in (1..members.len()).rev() {
                let other = usize::try_from(self.roll(u64::try_from(place).expect("small") + 1)).expect("small");
                members.swap(place, other);
            }
        }
        let members: Vec<String> = members
            .into_iter()
            .map(|(name, value)| {
                let name = self.string(&name);
                format!("{}{name}{}:{}{value}{}", self.blank(), self.blank(), self.blank(), self.blank())
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }

    fn record(&mut self, record: &Record) -> String {
        let number =
            record.fields.iter().find(|(name, _)| *name == "purchase_apply_no").map(|(_, value)| value.clone());
        let mut details = Vec::new();
        for Detail { fields, unknown } in &record.details {
            let mut members = self.unknown(unknown);
            members.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), self.value(value))));
            if let Some(number) = number.as_ref().filter(|_| self.roll(2) == 0) {
                members.push(("purchase_apply_no".to_owned(), self.value(number)));
            }
            details.push(self.object(members));
        }
        let mut members = self.unknown(&record.unknown);
        for (name, value) in &record.fields {
            let name = if *name == "createor_name" && self.roll(2) == 0 { "createtor_name" } else { name };
            members.push((name.to_owned(), self.value(value)));
        }
        members.push(("details_list".to_owned(), self.list(&details)));
        self.object(members)
    }
}

/// The date `days` after 2000-01-01, counted day by day through the months.
fn calendar(mut days: i64) -> (i64, i64, i64) {
    let (mut year, mut month) = (2000, 1);
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if days < length {
            return (year, month, days + 1);
        }
        days -= length;
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
}

fn assert_fields(batch: &RecordBatch, row: usize, fields: &[(&str, Value)], derived: &[&str]) {
    for field in batch.schema().fields() {
        let name = field.name().as_str();
        let wanted = match fields.iter().find(|(column, _)| *column == name) {
            Some((_, value)) => value.cell(),
            None if derived.contains(&name) => continue,
            None => Cell::Null,
        };
        assert_eq!(cell(batch, name, row), wanted, "{name} of row {row}");
    }
}

/// What has no column, and the times and ids that have none either.
fn assert_extra(batch: &RecordBatch, row: usize, unknown: &BTreeMap<String, Tree>, more: &[(&str, Tree)]) {
    let mut wanted: serde_json::Map<String, Tree> = unknown.clone().into_iter().collect();
    wanted.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let read = match cell(batch, "extra", row) {
        Cell::Null => serde_json::Map::new(),
        Cell::Text(text) => serde_json::from_str(&text).expect("an object"),
        other => panic!("{other:?} is no text"),
    };
    assert_eq!(read, wanted, "extra of row {row}");
}

fn int_of(fields: &[(&str, Value)], column: &str) -> Option<i64> {
    let found = fields.iter().find(|(name, _)| *name == column);
    found.and_then(|(_, value)| if let Value::Int(value) = value { *value } else { None })
}

proptest! {
    #[test]
    fn any_requisitions_in_any_spelling_land_field_by_field(
        records in prop::collection::vec(record(), 0..4),
        seed in any::<u64>(),
    ) {
        let mut writer = Writer(seed);
        let written: Vec<String> = records.iter().map(|record| writer.record(record)).collect();
        let written = format!(r#"{{"code":0,"purchase_list":{}}}"#, writer.list(&written));
        let page: Arc<[Page]> = [decode(&written)].into();
        prop_assert_eq!(page[0].quarantined(), &[]);
        prop_assert_eq!(page[0].rows().len(), records.len());

        for (row, record) in records.iter().enumerate() {
            let rows = assemble(Arc::clone(&page), &[(0, row)]).expect("rows");
            let derived = ["status_name", "detail_count", "extra", "_edition", "_extracted_at", "_run_id"];
            assert_fields(&rows.headers, 0, &record.fields, &derived);
            let ancient: Vec<(&str, Tree)> = record.fields.iter().filter_map(|(name, value)| match value {
                Value::Ancient(year, day) => Some((*name, format!("{year:04}-01-{day:02}").into())),
                _ => None,
            }).collect();
            assert_extra(&rows.headers, 0, &record.unknown, &ancient);
            prop_assert_eq!(rows.remarks.unreadable_times, ancient.len() as u64);
            prop_assert_eq!(rows.details.num_rows(), record.details.len());
            let apply_id = int_of(&record.fields, "apply_id");
            for (index, Detail { fields, unknown }) in record.details.iter().enumerate() {
                let derived =
                    ["apply_id", "purchase_apply_no", "apply_modified", "detail_index", "extra", "_edition", "_extracted_at", "_run_id"];
                let own: Vec<_> = fields.iter().filter(|(name, _)| *name != "apply_id").cloned().collect();
                assert_fields(&rows.details, index, &own, &derived);
                let other_id = int_of(fields, "apply_id").filter(|id| Some(*id) != apply_id);
                // Written as a number or as text.
                let Cell::Text(extra) = (match cell(&rows.details, "extra", index) { Cell::Null => "{}".into(), held => held }) else {
                    panic!("extra is text")
                };
                let held: Tree = serde_json::from_str(&extra).expect("an object");
                prop_assert_eq!(held["apply_id"].as_i64().or_else(|| held["apply_id"].as_str()?.parse().ok()), other_id);
                let own_id: Vec<(&str, Tree)> = other_id.map(|_| ("apply_id", held["apply_id"].clone())).into_iter().collect();
                assert_extra(&rows.details, index, unknown, &own_id);
                for (name, source) in
                    [("apply_id", "apply_id"), ("purchase_apply_no", "purchase_apply_no"), ("apply_modified", "modified")]
                {
                    prop_assert_eq!(cell(&rows.details, name, index), cell(&rows.headers, source, 0));
                }
                let place = i64::try_from(index).expect("small");
                prop_assert_eq!(cell(&rows.details, "detail_index", index), Cell::Int(place));
            }
        }
    }

    /// One broken requisition among good ones: the good ones land as if it were not there.
    #[test]
    fn a_broken_requisition_leaves_no_trace(
        records in prop::collection::vec(record(), 2..4),
        seed in any::<u64>(),
        place in any::<prop::sample::Index>(),
        poison in prop::sample::select(vec![
            r#"{"remark":"x","details_list":[{"rec_id":1,"spec_no":"y"},{"rec_id":"z"}]}"#,
            r#"{"details_list":[{"rec_id":1}],"purchase_apply_no":"P","status":1,"modified":"never"}"#,
            r#"{"purchase_apply_no":"P","details_list":[{"rec_id":1,"goods_name":"a\ud800"}]}"#,
            "7",
        ]),
    ) {
        let mut writer = Writer(seed);
        let mut written: Vec<String> = records.iter().map(|record| writer.record(record)).collect();
        let whole = land(decode(&answer(&written.iter().map(String::as_str).collect::<Vec<_>>())));
        written.insert(place.index(written.len() + 1), poison.to_owned());
        let rows = land(decode(&answer(&written.iter().map(String::as_str).collect::<Vec<_>>())));
        prop_assert_eq!(rows.quarantined.len(), 1);
        prop_assert_eq!(rows.quarantined[0].raw.as_str(), poison);
        prop_assert_eq!(rows.headers, whole.headers);
        prop_assert_eq!(rows.details, whole.details);
    }
}
