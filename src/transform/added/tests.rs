use std::fs::File;
use std::io::Write as _;

use arrow_array::types::{Decimal128Type, Int32Type};
use arrow_array::{Int16Array, StringArray, TimestampMicrosecondArray};
use serde_json::{Value, json};

use super::*;
use crate::format::FormatVersion;
use crate::id::CommitId;
use crate::land::testing::window;
use crate::log::Table;
use crate::parquet::{FileCompression, FileOrigin, MergeInput, MergeLimits, TableSpec, decode, encode, merge};
use crate::transform::contract::HEADERS_JSON;
use crate::transform::tables::table_spec;

/// A table of today's contract, and the same in a contract 1.1 with three more columns: one with a name of each
/// edition, an exact quantity, and a text.
fn contracts(text: &str) -> [TableContract; 2] {
    let mut later: Value = serde_json::from_str(text).expect("json");
    later["contract"] = json!("1.1");
    let columns = later["columns"].as_array_mut().expect("columns");
    let last = columns.len() - 1;
    let column = |id: usize, name: &str, kind: &str, sources: Value| json!({"field_id": 900 + id, "name": name, "type": kind, "required": false, "sources": sources, "en": "x", "zh": "x"});
    columns.splice(
        last..last,
        [
            column(1, "urgency", "int32", json!({"enterprise": ["urgent"], "flagship": ["priority"]})),
            column(2, "tax_num", "decimal(19,4)", json!({"enterprise": ["tax_num"]})),
            column(3, "project", "utf8", json!({"enterprise": ["project_name", "project"]})),
        ],
    );
    [text.to_owned(), later.to_string()].map(|text| TableContract::parse(&text).expect("a contract"))
}

/// Rows of a table by number, with what they hold in `extra` and the edition that sent them; all else is null or empty.
fn rows(table: &TableContract, held: &[(&str, Option<&str>, &str)]) -> RecordBatch {
    let text = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let schema = table.fresh_schema();
    let column = |field: &Arc<arrow_schema::Field>| match field.name().as_str() {
        "purchase_apply_no" => text(held.iter().map(|row| Some(row.0)).collect()),
        "extra" => text(held.iter().map(|row| row.1).collect()),
        "_edition" => text(held.iter().map(|row| Some(row.2)).collect()),
        "status" => Arc::new(Int16Array::from(vec![10; held.len()])) as ArrayRef,
        "modified" => Arc::new(TimestampMicrosecondArray::from(vec![5_000_000; held.len()]).with_timezone("UTC")),
        _ => new_null_array(field.data_type(), held.len()),
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(Arc::clone(&schema), columns).expect("rows")
}

fn file(spec: &TableSpec, rows: RecordBatch) -> File {
    let origin = origin();
    let bytes = encode(spec, vec![rows].into(), &origin).expect("encoded").expect("rows").bytes;
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&bytes).expect("written");
    file
}

fn origin() -> FileOrigin {
    FileOrigin {
        account: "acme".parse().expect("a name"),
        commit: CommitId::generate(),
        contract: FormatVersion::LAKE,
        span: Some(window(0, 9)),
        compression: FileCompression::default(),
    }
}

fn bytes(mut file: File) -> bytes::Bytes {
    use std::io::{Read as _, Seek as _};
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("read");
    bytes.into()
}

fn texts(rows: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let column = rows.column_by_name(name).expect("a column").as_string::<i32>();
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

/// What a compaction does with a file of contract 1.0 and one of contract 1.1.
#[test]
fn a_merge_fills_the_columns_of_a_later_contract_from_extra() {
    let [today, later] = contracts(HEADERS_JSON);
    let [old_spec, new_spec] = [&today, &later].map(|table| table_spec(Table::PurchaseApply, table, "modified"));
    let old = file(
        &old_spec,
        rows(
            &today,
            &[
                (
                    "A",
                    Some(r#"{"urgent":"3","tax_num":12.5000,"project":"\u5357","other":[1, {"urgent":2}]}"#),
                    "enterprise",
                ),
                ("C", Some(r#"{"priority":7,"urgent":9}"#), "flagship"),
                ("D", Some(r#"{"urgent":"soon","tax_num":0.00001,"project_name":""}"#), "enterprise"),
                ("E", None, "enterprise"),
            ],
        ),
    );
    let new = file(&new_spec, rows(&later, &[("B", Some(r#"{"new":1}"#), "enterprise")]));
    let limits = MergeLimits { memory_bytes: 32 << 20, target_bytes: 128 << 20 };
    let inputs = vec![MergeInput::new(old, None), MergeInput::new(new, None)];
    let mut files = merge(&new_spec, inputs, &origin(), limits).expect("merged");
    let merged = decode(bytes(files.remove(0).file)).expect("readable").remove(0);

    assert_eq!(texts(&merged, "purchase_apply_no"), ["A", "B", "C", "D", "E"].map(|number| Some(number.to_owned())));
    let names = |schema: &SchemaRef| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    assert_eq!(names(&merged.schema()), names(&later.schema()), "the columns of the later contract, in its order");
    let urgency = merged.column_by_name("urgency").expect("a column").as_primitive::<Int32Type>();
    assert_eq!(urgency.iter().collect::<Vec<_>>(), [Some(3), None, Some(7), None, None]);
    let taxes = merged.column_by_name("tax_num").expect("a column").as_primitive::<Decimal128Type>();
    assert_eq!(taxes.iter().collect::<Vec<_>>(), [Some(125_000), None, None, None, None]);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(texts(&merged, "project"), [some("南"), None, None, some(""), None]);
    // What became a column leaves `extra`; what does not fit its column, or is of another edition, stays as it was.
    assert_eq!(
        texts(&merged, "extra"),
        [
            some(r#"{"other":[1, {"urgent":2}]}"#),
            some(r#"{"new":1}"#),
            some(r#"{"urgent":9}"#),
            some(r#"{"urgent":"soon","tax_num":0.00001}"#),
            None
        ]
    );
    // Rows of both keep the commits that landed them.
    assert!(merged.column_by_name("_commit_id").expect("ids").null_count() == 0);
}

#[test]
fn rows_in_memory_are_completed_alike_and_others_stay_as_they_are() {
    let [today, later] = contracts(HEADERS_JSON);
    let added = AddedColumns::of(&later);
    let held = rows(&today, &[("A", Some(r#"{"urgent":1}"#), "enterprise")]);
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let held = RecordBatch::try_new(today.schema(), [held.columns(), &[ids]].concat()).expect("rows");
    let seen = added.complete(&held).expect("completed");
    assert_eq!(seen.schema(), later.schema());
    assert_eq!(seen.column_by_name("urgency").expect("a column").as_primitive::<Int32Type>().value(0), 1);
    assert_eq!(texts(&seen, "extra"), [None]);
    assert_eq!(added.complete(&seen).expect("as they are"), seen);
    assert_eq!(AddedColumns::of(&today).complete(&held).expect("as they are"), held);
    // A file with a column that the program does not know is not taken for an older one.
    assert_eq!(AddedColumns::of(&today).complete(&seen).expect("as they are"), seen);
}
