//! The page decoder against `serde_json` with the lenient rules: it reads what that reads and nothing else, no row is
//! lost, what lands is what its text says, and what does not fit is set aside.

use std::collections::HashSet;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Int16Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};

use super::lenient::Node;
use super::value::{expected, expected_instant};
use crate::edition::Edition;
use crate::fuzzing::{Target, kind};
use crate::id::RunId;
use crate::requisition::Identity;
use crate::transform::contract::{ColumnType, Contract, TableContract};
use crate::transform::value::SchemaViolation;
use crate::transform::{PageContext, PageDecoder, assemble};

const WORDS: [&str; 50] = [
    "\"purchase_list\":",
    "\"details_list\":",
    "\"total_count\":",
    "\"code\":0",
    "\"code\":\"0\"",
    "\"message\":\"\"",
    "\"status\":\"20\"",
    "\"purchase_apply_no\":",
    "\"modified\":\"2026-09-01 10:00:00\"",
    "\"apply_id\":",
    "\"real_num\":\"1.2345\"",
    "\"ref_num\":",
    "\"unref_num\":",
    "\"remark\":",
    "\"created\":",
    "\"expected_time\":",
    "\"rec_id\":1",
    "\"spec_no\":\"x\"",
    "\"0\":",
    "\"1\":",
    "null",
    "true",
    "[]",
    "{}",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\\"",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\u4e2d",
    "\u{feff}",
    "\u{1}",
    "\t",
    "\n",
    "\r\n",
    "0000-00-00 00:00:00",
    "1899-12-31 00:00:00",
    "10000-01-01",
    "1e3",
    "-0.00001",
    "\"createtor_name\":",
    "\"x\":",
    "NaN",
    "<html>",
];

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Lands,
    Quarantined,
    /// It is left to the tests of that rule: doubles, and names or numbers in a form of their own.
    Open,
}

/// The value of a known field as it lands; texts as they are, all else as a number.
#[derive(Clone, Debug, PartialEq)]
enum ReplacedRows {
    Null,
    Text(String),
    Number(i128),
}

fn value(node: &Node, kind: ColumnType) -> Result<ReplacedRows, SchemaViolation> {
    let Some(text) = node.scalar().map_err(|()| SchemaViolation::NotAScalar)? else { return Ok(ReplacedRows::Null) };
    let whole = |least: i64, most: i64| {
        let number = expected(&text, 0, 19)?;
        let is_within = (i128::from(least)..=i128::from(most)).contains(&number);
        if is_within { Ok(ReplacedRows::Number(number)) } else { Err(SchemaViolation::OutOfRange) }
    };
    match kind {
        ColumnType::Utf8 => Ok(ReplacedRows::Text(text)),
        _ if text.is_empty() => Ok(ReplacedRows::Null),
        ColumnType::Int16 => whole(i16::MIN.into(), i16::MAX.into()),
        ColumnType::Int32 => whole(i32::MIN.into(), i32::MAX.into()),
        ColumnType::Int64 => whole(i64::MIN, i64::MAX),
        ColumnType::Decimal => expected(&text, 4, 15).map(ReplacedRows::Number),
        ColumnType::Timestamp => Ok(match expected_instant(&text)? {
            Some(seconds) => ReplacedRows::Number(i128::from(seconds) * 1_000_000),
            None => ReplacedRows::Null,
        }),
    }
}

/// The known fields of an object, and whether they fit; `Open` where a rule of its own decides.
fn fields(object: &[(String, Node)], table: &TableContract) -> (Verdict, Vec<(String, ReplacedRows)>) {
    let mut names = HashSet::new();
    let (mut verdict, mut held) = (Verdict::Lands, Vec::new());
    let mut is_open = false;
    for (name, node) in object {
        let column = table.columns().iter().find(|column| column.sources(Edition::Enterprise).contains(name));
        let own = column.map_or(name.as_str(), |column| column.name());
        is_open |= !names.insert(own.to_owned()) || name.contains(['"', '\\']);
        let Some(column) = column else { continue };
        match value(node, column.kind()) {
            Ok(ReplacedRows::Number(micros))
                if column.kind() == ColumnType::Timestamp && micros < -2_208_988_800_000_000 =>
            {
                is_open = true
            }
            Ok(value) => held.push((own.to_owned(), value)),
            // Times of another era may be kept as text.
            Err(SchemaViolation::NotATime) if node.raw().len() >= 12 && !column.required() => is_open = true,
            Err(_) => verdict = Verdict::Quarantined,
        }
    }
    let is_there = |name: &str| {
        held.iter().any(|(own, value)| {
            own == name && !matches!(value, ReplacedRows::Null) && *value != ReplacedRows::Text(String::new())
        })
    };
    let required =
        table.columns().iter().filter(|column| column.required() && !column.sources(Edition::Enterprise).is_empty());
    for column in required {
        // What a detail has of its header need not stand in it.
        let is_of_header = table.name() != "purchase_apply" && column.name() == "purchase_apply_no";
        if !is_there(column.name()) && !is_of_header {
            verdict = Verdict::Quarantined;
        }
    }
    (if is_open { Verdict::Open } else { verdict }, held)
}

/// What becomes of a record, its known fields, and how many details it has.
fn judge(record: &Node, contract: &Contract) -> (Verdict, Vec<(String, ReplacedRows)>, usize) {
    let Some(object) = record.members() else { return (Verdict::Quarantined, Vec::new(), 0) };
    let (mut verdict, held) = fields(&object, contract.headers());
    let number = held.iter().find(|(name, _)| name == "purchase_apply_no").map(|(_, value)| value.clone());
    if matches!(&number, Some(ReplacedRows::Text(text)) if text.len() > 200) && verdict == Verdict::Lands {
        verdict = Verdict::Quarantined;
    }
    let lists: Vec<&Node> = object.iter().filter(|(name, _)| name == "details_list").map(|(_, node)| node).collect();
    let details = match lists[..] {
        [] => Vec::new(),
        [list] if matches!(list.raw(), "null" | "\"\"") => Vec::new(),
        [list] => match list.items() {
            Some(details) => details,
            None => return (if verdict == Verdict::Open { verdict } else { Verdict::Quarantined }, held, 0),
        },
        _ => return (Verdict::Open, held, 0),
    };
    for detail in &details {
        let (of_detail, own) = match detail.members() {
            Some(object) => fields(&object, contract.details()),
            None => (Verdict::Quarantined, Vec::new()),
        };
        let own_number = own.into_iter().find(|(name, _)| name == "purchase_apply_no").map(|(_, value)| value);
        let is_other = own_number.is_some_and(|own| {
            !matches!(&own, ReplacedRows::Null) && own != ReplacedRows::Text(String::new()) && Some(own) != number
        });
        verdict = match (verdict, of_detail) {
            (Verdict::Open, _) | (_, Verdict::Open) => Verdict::Open,
            (Verdict::Lands, Verdict::Lands) if !is_other => Verdict::Lands,
            _ => Verdict::Quarantined,
        };
    }
    (verdict, held, details.len())
}

/// The records of an answer; an error when it is none, and `None` where a rule of its own decides.
fn records(answer: &Node) -> Result<Option<Vec<Node>>, ()> {
    let members = answer.members().ok_or(())?;
    let (mut list, mut total, mut is_open, mut is_elsewhere) = (None, None, false, false);
    for (name, node) in &members {
        is_open |= name.contains(['"', '\\']);
        match name.as_str() {
            "code" => match node.scalar()?.filter(|text| !text.is_empty()) {
                None => {}
                Some(text) if expected(&text, 0, 19) == Ok(0) => {}
                Some(_) => return Err(()),
            },
            // What is no number is no total.
            "total_count" => {
                let text = node.scalar().ok().flatten();
                let given = text.and_then(|text| expected(text.trim(), 0, 19).ok());
                let given = given.and_then(|total| i64::try_from(total).ok()).filter(|given| *given >= 0);
                if given.is_some() && total.is_some() && given != total {
                    return Err(());
                }
                total = given.or(total);
            }
            "purchase_list" if list.is_some() => return Err(()),
            "purchase_list" if matches!(node.raw(), "null" | "\"\"") => {}
            "purchase_list" => list = Some(node.items().ok_or(())?),
            // Requisitions by another name.
            _ => is_elsewhere |= ["purchase_apply_no", "modified"].iter().all(|name| node.raw().contains(name)),
        }
    }
    match list {
        _ if is_open => Ok(None),
        Some(list) if !list.is_empty() => Ok(Some(list)),
        _ if is_elsewhere => Err(()),
        Some(_) => Ok(Some(Vec::new())),
        // On page 0 only a total speaks for a missing list.
        None if total == Some(0) => Ok(Some(Vec::new())),
        None => Err(()),
    }
}

fn number<T: ArrowPrimitiveType>(batch: &RecordBatch, name: &str) -> ReplacedRows
where
    i128: From<T::Native>,
{
    let column = batch.column_by_name(name).expect("a column").as_primitive::<T>();
    if column.is_null(0) { ReplacedRows::Null } else { ReplacedRows::Number(column.value(0).into()) }
}

fn text(batch: &RecordBatch, name: &str) -> ReplacedRows {
    let column = batch.column_by_name(name).expect("a column").as_string::<i32>();
    if column.is_null(0) { ReplacedRows::Null } else { ReplacedRows::Text(column.value(0).to_owned()) }
}

/// Every known field of a landed header is what its text says.
fn assert_landed(batch: &RecordBatch, held: &[(String, ReplacedRows)], contract: &Contract) {
    for column in contract.headers().columns().iter().filter(|column| !column.sources(Edition::Enterprise).is_empty()) {
        let name = column.name();
        let landed = match column.kind() {
            ColumnType::Int16 => number::<Int16Type>(batch, name),
            ColumnType::Int32 => continue,
            ColumnType::Int64 => number::<Int64Type>(batch, name),
            ColumnType::Utf8 => text(batch, name),
            ColumnType::Decimal => number::<Decimal128Type>(batch, name),
            ColumnType::Timestamp => number::<TimestampMicrosecondType>(batch, name),
        };
        let wanted = held.iter().find(|(own, _)| own == name).map_or(ReplacedRows::Null, |(_, value)| value.clone());
        assert_eq!(landed, wanted, "{name}");
    }
}

fn check(decoder: &PageDecoder, contract: &Contract, input: &[u8]) -> String {
    let context = PageContext { window: None, page_no: 0, page_size: 100, received_at_micros: 1_790_812_800_500_000 };
    let answer = Node::of(input);
    let page = match decoder.decode(input, &context) {
        Ok(page) => page,
        Err(why) => {
            let expected = answer.as_ref().map(records);
            assert!(!matches!(expected, Some(Ok(Some(_)))), "{why}, but it is a page");
            assert!(why.offset().is_none_or(|offset| offset <= input.len()));
            return kind(&why.to_string());
        }
    };
    let answer = answer.expect("what is read is JSON");
    let records = match records(&answer) {
        Ok(Some(records)) => records,
        Ok(None) => return "open".to_owned(),
        Err(()) => panic!("it is read, but it is no page"),
    };
    assert_eq!(page.rows().len(), records.len(), "every record is a row");
    let quarantined: HashSet<usize> = page.quarantined_rows().collect();
    let identities: Vec<Identity> = page.rows().iter().map(|row| row.identity.clone()).collect();
    for record in page.quarantined() {
        let line: serde_json::Value = serde_json::from_str(&record.to_json_line()).expect("its line is JSON");
        let raw = line["raw"].as_str().expect("a text");
        serde_json::from_str::<&serde_json::value::RawValue>(raw).expect("what is kept of it is JSON");
    }
    let mut verdicts = [0_usize; 4];
    let page: std::sync::Arc<[_]> = [page].into();
    for (row, record) in records.iter().enumerate() {
        let (verdict, held, details) = judge(record, contract);
        let is_quarantined = quarantined.contains(&row);
        match verdict {
            Verdict::Lands => assert!(!is_quarantined, "{} fits: {:?}", record.raw(), page[0].quarantined()),
            Verdict::Quarantined => assert!(is_quarantined, "{} does not fit", record.raw()),
            Verdict::Open => {}
        }
        verdicts[if verdict == Verdict::Open { 2 } else { usize::from(is_quarantined) }] += 1;
        if verdict == Verdict::Lands && verdicts[3] < 3 {
            verdicts[3] += 1;
            let rows = assemble(std::sync::Arc::clone(&page), &[(0, row)]).expect("it lands");
            assert_eq!((rows.headers.num_rows(), rows.details.num_rows()), (1, details), "{}", record.raw());
            assert_landed(&rows.headers, &held, contract);
            assert!(matches!(identities[row], Identity::Version { .. }));
        }
    }
    format!("a page of {:?}", verdicts.map(|count| count.min(2)))
}

#[test]
fn pages() {
    let decoder =
        PageDecoder::new(Edition::Enterprise, RunId::parse("01890a5d-ac96-774b-bcce-b302099a8057").expect("an id"));
    let (decoder, contract) = (decoder.expect("a decoder"), Contract::get().expect("a contract"));
    let target = Target { name: "page", words: &WORDS, inputs: 10_000 };
    target.fuzz(|input| check(&decoder, contract, input));
}
