//! Odd forms that say what they mean: they are read. Values stay strict.

use std::fmt::Write as _;

use super::*;
use crate::transform::Contract;
use crate::transform::value::SchemaViolation;

#[test]
fn raw_control_characters_in_strings_are_kept() {
    for control in ('\0'..' ').chain(['\u{7f}', '\u{85}', '\u{2028}']) {
        for text in
            [format!("{control}"), format!("a{control}b"), format!("一段比十六个字节更长的备注{control}{control}尾")]
        {
            // Beside an escape as well, and in a number.
            let rows = landed(&format!(
                r#"{{"purchase_apply_no":"{text}","status":"20","modified":"2026-09-01 10:00:00","remark":"\\{text}\u0041",
                    "x{text}":"{text}","y":[{{"{text}":"{text}"}}],"details_list":[{{"rec_id":1,"spec_no":"{text}","z":"{text}","purchase_apply_no":"{text}"}}]}}"#,
            ));
            assert_eq!(cell(&rows.headers, "purchase_apply_no", 0), text.as_str().into());
            assert_eq!(cell(&rows.headers, "remark", 0), format!("\\{text}A").as_str().into());
            assert_eq!(cell(&rows.details, "spec_no", 0), text.as_str().into());
            for (rows, wanted) in [
                (&rows.headers, serde_json::json!({format!("x{text}"): text, "y": [{text.clone(): text}]})),
                (&rows.details, serde_json::json!({"z": text})),
            ] {
                let Cell::Text(extra) = cell(rows, "extra", 0) else { panic!("there are unknown fields") };
                assert_eq!(serde_json::from_str::<serde_json::Value>(&extra).expect("JSON"), wanted);
            }
        }
    }
}

/// Such a record is quarantined for what is wrong with it, and its line and the JSON within it are JSON.
#[test]
fn a_quarantined_record_with_raw_control_characters_is_json() {
    let requisition = "{\"purchase_apply_no\":\"P\\u00411\",\n\"modified\":\"2026-09-01 10:00:00\",\"re\tmark\":{},\"remark\":\"a\tb\u{1}\",\"real_num\":\"1\n\"}";
    let page = decode(&answer(&[GOOD, requisition]));
    assert_eq!(page.quarantined_rows().collect::<Vec<_>>(), [1]);
    let record = &page.quarantined()[0];
    assert_eq!((record.reason, record.field.as_deref()), (SchemaViolation::NotANumber, Some("real_num")));
    let line = record.to_json_line();
    assert!(!line.contains(|letter: char| letter.is_ascii_control()), "{line}");
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let raw: serde_json::Value = serde_json::from_str(line["raw"].as_str().expect("text")).expect("JSON");
    assert_eq!(raw["remark"], "a\tb\u{1}");
    assert_eq!(raw["re\tmark"], serde_json::json!({}));
    assert_eq!(
        record.raw,
        requisition.replace("a\tb\u{1}", "a\\tb\\u0001").replace("1\n\"", "1\\n\"").replace("re\tm", "re\\tm")
    );

    // A name is shown to people: it carries no control characters to their terminals.
    let page = decode(&answer(&["{\"\u{1b}[31m\":1,\"\u{1b}[31m\":2}"]));
    assert_eq!(page.quarantined()[0].message(), "\\u001b[31m is given twice with different values");
}

#[test]
fn lists_may_be_objects_with_ascending_keys() {
    let detail = |id: u32| format!(r#"{{"rec_id":{id}}}"#);
    for (details, count) in [
        ("{}".to_owned(), 0),
        (format!(r#"{{"0":{}}}"#, detail(7)), 1),
        (format!(r#"{{ "0" : {} , "2":{} }}"#, detail(7), detail(8)), 2),
    ] {
        let requisition = GOOD.replace(r#"[{"rec_id":"1"}]"#, &details);
        for (list, rows) in [
            (format!("[{requisition}]"), 1),
            (format!(r#"{{"0":{requisition}}}"#), 1),
            (format!(r#"{{"3":{requisition},"10":{GOOD}}}"#), 2),
        ] {
            for (edition, answer) in [
                (Edition::Enterprise, format!(r#"{{"code":0,"purchase_list":{list}}}"#)),
                (
                    Edition::Flagship,
                    format!(r#"{{"status":0,"data":{{"order_list":{list}}}}}"#).replace("details_list", "detail_list"),
                ),
            ] {
                let page = decode_in(edition, &answer, None).expect("a page");
                assert_eq!((page.rows().len(), page.quarantined().len()), (rows, 0), "{answer}");
                assert_eq!(page.detail_rows(), count + rows - 1, "{answer}");
            }
        }
    }
    // One that does not fit is quarantined alone.
    let page = decode(&format!(r#"{{"code":0,"purchase_list":{{"0":{GOOD},"1":[],"2":{GOOD}}}}}"#));
    assert_eq!(page.quarantined_rows().collect::<Vec<_>>(), [1]);
    for empty in [r#"{"code":0,"purchase_list":{}}"#, r#"{"code":0,"purchase_list":{ }}"#] {
        assert_eq!(decode(empty).rows(), []);
    }
    for list in [r#"{"a":1}"#, r#"{"1":{},"0":{}}"#, r#"{"0":{},"0":{}}"#, r#"{"01":{}}"#, "7", "true"] {
        let body = format!(r#"{{"code":0,"total_count":1,"purchase_list":{list}}}"#);
        assert!(decode_in(Edition::Enterprise, &body, None).is_err(), "{body}");
    }
}

fn decode_page(edition: Edition, body: &str, page_no: u32, page_size: u32) -> Result<Page, PageError> {
    let context = PageContext { window: None, page_no, page_size, received_at_micros: RECEIVED_AT };
    PageDecoder::new(edition, run()).expect("a decoder").decode(body.as_bytes(), &context)
}

#[test]
fn a_list_may_be_missing_where_none_can_be() {
    let rows = |edition, body: &str, page_no| {
        decode_page(edition, body, page_no, 100).ok().map(|page| (page.total(), page.rows().len()))
    };
    use Edition::{Enterprise, Flagship, Y};
    // Body, edition, what page 0 says, what page 2 says.
    let nothing = Some((None, 0));
    for (edition, body, first, third) in [
        (Enterprise, r#"{"code":"0","message":"","total_count":"0"}"#, Some((Some(0), 0)), nothing),
        (Enterprise, r#"{"total_count":0}"#, Some((Some(0), 0)), nothing),
        // Without a total it is missed on page 0.
        (Enterprise, r#"{"code":0}"#, None, nothing),
        (Y, r#"{"code":0,"message":"ok","total_count":"","purchase_list":null}"#, None, nothing),
        (Enterprise, r#"{"code":0,"total_count":-1,"purchase_list":""}"#, None, nothing),
        (
            Enterprise,
            r#"{"code":0,"message":"没有更多数据","trace":[],"id":"a7","cost":1.5,"success":true}"#,
            None,
            nothing,
        ),
        (Flagship, r#"{"status":0}"#, None, nothing),
        (Flagship, r#"{"status":0,"data":null,"code":100}"#, None, nothing),
        (Flagship, r#"{"status":0,"data":{"order_list":null}}"#, None, nothing),
        (Flagship, r#"{"status":0,"data":{"page":0}}"#, None, nothing),
        // It is there, as PHP writes nothing.
        (Flagship, r#"{"status":"0","data":[]}"#, nothing, nothing),
        (Flagship, r#"{"status":0,"data":{}}"#, nothing, nothing),
        (Flagship, r#"{"status":0,"data":[ ],"message":"成功"}"#, nothing, nothing),
        (Flagship, r#"{"status":0,"data":{"total_count":0}}"#, Some((Some(0), 0)), nothing),
        // As many as are before page 2, or fewer: it is behind the end. Page 0 is not.
        (Enterprise, r#"{"code":0,"total_count":150}"#, None, nothing),
        (Enterprise, r#"{"code":0,"total_count":200}"#, None, nothing),
        (Enterprise, r#"{"code":0,"total_count":201}"#, None, None),
        (Enterprise, r#"{"code":0,"total_count":1}"#, None, nothing),
        // Nothing says that these are answers to the question.
        (Enterprise, r#"{"message":"x"}"#, None, None),
        (Enterprise, r#"{"status":0}"#, None, None),
        (Flagship, r#"{"code":0}"#, None, None),
        (Enterprise, r#"{"code":1}"#, None, None),
    ] {
        assert_eq!(rows(edition, body, 0), first, "page 0: {body}");
        assert_eq!(rows(edition, body, 2), third, "page 2: {body}");
    }
    for body in [r#"{"code":0,"total_count":1}"#, r#"{"code":0}"#] {
        assert!(decode_page(Enterprise, body, 2, 0).is_err(), "of an unknown page size nothing follows");
    }
    let has_list = |body| decode_page(Enterprise, body, 2, 100).map(|page| !page.lacks_list()).expect("a page");
    assert!(has_list(r#"{"code":0,"purchase_list":{}}"#) && !has_list(r#"{"code":0,"purchase_list":null}"#));
}

/// Whatever stands in place of the list with the code of a success proves nothing, on whatever page.
#[test]
fn a_success_without_its_list_that_says_something_else_is_no_page() {
    use Edition::{Enterprise, Flagship};
    let row = GOOD.replace('"', "\\\"");
    // What is a refusal by another name, and what is of another shape.
    let refusals = [
        r#""message":"系统繁忙，请稍后再试""#.to_owned(),
        r#""success":false"#.into(),
        r#""purchase_list":[],"data":[],"success":"False""#.into(),
        r#""total_count":0,"flag":"failure""#.into(),
        r#""purchase_list":null,"data":null,"msg":"库表不存在""#.into(),
        r#""error":"E5""#.into(),
        r#""error_code":500"#.into(),
        r#""errors":[{"text":"busy"}]"#.into(),
    ];
    let shapes = [
        format!(r#""data":"{{\"total_count\":1,\"purchase_list\":[{row}]}}""#),
        format!(r#""result":{{"list":{{"0":{GOOD}}}}}"#),
        format!(r#""purchase_apply_list":{{"0":{GOOD}}}"#),
        format!(r#""purchase_list":[],"order_list":[],"list":[{GOOD}]"#),
        format!(r#""total_count":0,"rows":{{"7":{GOOD}}}"#),
        r#""columns":["no"],"rows":[["POA1"]]"#.into(),
        r#""a":{"b":"c"}"#.into(),
        format!(r#""body":"{}""#, "eJyrVkrOT0lVslIyUNJRyk0tLk5MTwVyjJVqAYFFB+c=".repeat(4)),
    ];
    let all = refusals.iter().map(|beside| (beside, true)).chain(shapes.iter().map(|beside| (beside, false)));
    for (beside, is_refusal) in all {
        for (edition, code) in [(Enterprise, "code"), (Flagship, "status")] {
            for page_no in [0, 2] {
                let body = format!(r#"{{"{code}":0,{beside}}}"#);
                let error = decode_page(edition, &body, page_no, 100).expect_err(&body);
                // A list that flagship does not know.
                let is_other = edition == Flagship && beside.contains(r#""data":""#);
                assert!(is_other || error.is_refusal() == is_refusal, "{body}: {error}");
                assert!(!error.to_string().contains("busy"), "{error}");
            }
        }
    }
    let error =
        decode_page(Enterprise, r#"{"code":0,"message":"系统\u7e41忙","sub_msg":"a	b"}"#, 0, 100).expect_err("busy");
    assert_eq!(error.words(), "系统繁忙; a	b");
    // Beside a list that is there, words are words: whether they are of a refusal is not the decoder's to know.
    let page =
        decode_page(Enterprise, r#"{"code":0,"purchase_list":[],"message":"权限不足"}"#, 0, 100).expect("a page");
    assert_eq!(page.words(), "权限不足");
    let page = decode(&answer(&[GOOD]).replace(r#""message":"""#, r#""message":"权限不足","success":false"#));
    assert_eq!((page.words(), page.rows().len()), ("", 1), "rows say enough");
    // An address that is repeated is no requisition.
    let echo = r#"{"code":0,"purchase_list":[],"request":"/q?purchase_apply_no=POA1&sid=a","trace":{"a":[{"b":1}]}}"#;
    assert!(decode_page(Enterprise, echo, 0, 100).is_ok());
}

#[test]
fn byte_order_marks_and_blank_lines_stand_around_an_answer() {
    let body = answer(&[GOOD]);
    for before in ["", "\u{feff}", "\u{feff}\u{feff}\u{feff}", "\r\n\r\n", "\n\u{feff}\n \t\u{feff}\r\n"] {
        for after in ["", "\n", "\r\n\u{feff}\n"] {
            assert_eq!(decode(&format!("{before}{body}{after}")).rows().len(), 1, "{before:?} {after:?}");
        }
    }
    assert!(decode_in(Edition::Enterprise, &format!("x{body}"), None).is_err());
    assert!(decode_in(Edition::Enterprise, &format!("{body}\u{feff}x"), None).is_err());
}

#[test]
fn only_the_editions_own_code_tells_a_refusal() {
    for (edition, body, is_page) in [
        (Edition::Enterprise, r#"{"status":"error","code":0,"purchase_list":[]}"#, true),
        (Edition::Enterprise, r#"{"status":1,"code":"0","purchase_list":[]}"#, true),
        (Edition::Y, r#"{"status":{"a":[]},"purchase_list":[],"success":true,"x":[{}]}"#, true),
        (Edition::Enterprise, r#"{"status":0,"code":7,"purchase_list":[]}"#, false),
        (Edition::Flagship, r#"{"code":"x","status":0,"data":{"order_list":[]}}"#, true),
        (Edition::Flagship, r#"{"code":100,"data":{"order_list":[],"status":9,"code":9}}"#, true),
        (Edition::Flagship, r#"{"code":0,"status":1,"data":{"order_list":[]}}"#, false),
    ] {
        assert_eq!(decode_in(edition, body, None).is_ok(), is_page, "{body}");
    }
    // Names may be escaped, as any string.
    let page = decode(&format!(r#"{{"c\u006fde":0,"total\u005fcount":1,"purchase\u005flist":[{GOOD}]}}"#));
    assert_eq!((page.total(), page.rows().len()), (Some(1), 1));
}

#[test]
fn times_that_readers_cannot_hold_are_kept_as_text() {
    for (time, extra) in [
        (r#""0001-01-01 00:00:00""#, r#"{"created":"0001-01-01 00:00:00"}"#),
        (r#""1899-12-31""#, r#"{"created":"1899-12-31"}"#),
        (r#""10000-01-01 00:00:00""#, r#"{"created":"10000-01-01 00:00:00"}"#),
        (r#""1\u00300-01-01""#, ""),
        (r#""1\u003700-01-01""#, r#"{"created":"1\u003700-01-01"}"#),
    ] {
        let requisition = GOOD.replace("\"details_list\"", &format!("\"cre\\u0061ted\":{time},\"details_list\""));
        if extra.is_empty() {
            assert_eq!(
                quarantined(&requisition).reason,
                SchemaViolation::NotATime,
                "a year of three digits is no year"
            );
            continue;
        }
        let rows = landed(&requisition);
        assert_eq!(cell(&rows.headers, "created", 0), Cell::Null);
        assert_eq!(cell(&rows.headers, "extra", 0), extra.into());
        assert_eq!(rows.remarks.unreadable_times, 1);
    }
    let rows = landed(
        r#"{"new":[1],"expected_time":"1000-01-01","created":"1000-01-01","purchase_apply_no":"POA1","status":1,"modified":"1900-01-01 08:00:00",
            "created":"1000-01-01"}"#,
    );
    let extra = r#"{"new":[1],"expected_time":"1000-01-01","created":"1000-01-01"}"#;
    assert_eq!((cell(&rows.headers, "extra", 0), rows.remarks.unreadable_times), (extra.into(), 2));
    assert_eq!(cell(&rows.headers, "modified", 0), time("1900-01-01 08:00:00"), "the first second of 1900 in UTC");

    for twice in [
        r#""created":"1000-01-01","created":"1000-01-02""#,
        r#""created":"1000-01-01","created":"2000-01-01""#,
        r#""created":"2000-01-01","created":"1000-01-01""#,
        r#""created":null,"created":"1000-01-01""#,
        r#""created":"1000-01-01","created":"""#,
    ] {
        let requisition = GOOD.replace("\"details_list\"", &format!("{twice},\"details_list\""));
        assert_eq!(quarantined(&requisition).reason, SchemaViolation::GivenTwice, "{twice}");
    }
    for modified in ["1900-01-01 07:59:59", "0001-01-01", "10000-01-01"] {
        let record = quarantined(&GOOD.replace("2026-09-01 10:00:00", modified));
        assert_eq!(
            (record.reason, record.field.as_deref()),
            (SchemaViolation::OutOfRange, Some("modified")),
            "{modified}"
        );
    }
}

/// What a broken requisition or one that is not landed held is not counted.
#[test]
fn only_times_of_rows_that_land_are_counted() {
    let old = GOOD.replace("\"details_list\"", "\"created\":\"1000-01-01\",\"details_list\"");
    let broken = old.replace("\"rec_id\":\"1\"", "\"rec_id\":\"x\"");
    let page = || decode(&answer(&[&old, &broken, GOOD, &old.replace("POA1", "POA2")]));
    for (selected, count) in
        [(vec![(0, 0), (0, 1), (0, 2), (0, 3)], 2), (vec![(0, 1), (0, 2), (0, 3)], 1), (vec![(0, 2)], 0)]
    {
        assert_eq!(assemble([page()], &selected).expect("rows").remarks.unreadable_times, count, "{selected:?}");
    }
}

#[test]
fn details_have_the_id_of_their_header() {
    let rows = landed(
        r#"{"details_list":[{"rec_id":1},{"rec_id":2,"apply_id":"7"},{"rec_id":3,"apply_id":"8"},{"n":1,"apply_id":9,"rec_id":4},{"rec_id":5,"apply_id":null},
            {"rec_id":6,"apply_id":"","m":[]},{"rec_id":7,"apply_id":"\u0038","apply_id":8}],
            "purchase_apply_no":"POA1","apply_id":7,"status":1,"modified":"2026-09-01 10:00:00"}"#,
    );
    let extras = [
        Cell::Null,
        Cell::Null,
        r#"{"apply_id":"8"}"#.into(),
        r#"{"n":1,"apply_id":9}"#.into(),
        Cell::Null,
        r#"{"m":[]}"#.into(),
        r#"{"apply_id":"\u0038"}"#.into(),
    ];
    for (row, extra) in extras.into_iter().enumerate() {
        assert_eq!(
            (cell(&rows.details, "apply_id", row), cell(&rows.details, "extra", row)),
            (Cell::Int(7), extra),
            "{row}"
        );
    }
    let details = |fields: &str| GOOD.replace("\"rec_id\":\"1\"", fields);
    let rows = landed(&details(r#""rec_id":1,"apply_id":"7""#));
    assert_eq!((cell(&rows.headers, "apply_id", 0), cell(&rows.details, "apply_id", 0)), (Cell::Null, Cell::Null));
    assert_eq!(cell(&rows.details, "extra", 0), r#"{"apply_id":"7"}"#.into());
    assert_eq!(quarantined(&details(r#""rec_id":1,"apply_id":"7","apply_id":8"#)).reason, SchemaViolation::GivenTwice);
    assert_eq!(quarantined(&details(r#""rec_id":1,"apply_id":"x""#)).reason, SchemaViolation::NotANumber);
}

/// How they are looked up is tried beside `extra`.
#[test]
fn a_requisition_may_have_no_end_of_fields_and_details() {
    let mut members = String::new();
    for at in 0..60_000 {
        // Some are escaped, and some come twice.
        let _ = match at % 3 {
            0 => write!(members, "\"k{at}\":{at},"),
            1 => write!(members, "\"\\u006b{at}\":\"{at}\","),
            _ => write!(members, "\"k{at}\":null,\"\\u006b{at}\":null,"),
        };
    }
    let requisition =
        GOOD.replacen('{', &format!("{{{members}"), 1).replace("\"rec_id\"", &format!("{members}\"rec_id\""));
    let rows = landed(&requisition);
    for rows in [&rows.headers, &rows.details] {
        let Cell::Text(extra) = cell(rows, "extra", 0) else { panic!("there are unknown fields") };
        let extra: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&extra).expect("JSON");
        assert_eq!((extra.len(), &extra["k3"], &extra["k4"]), (60_000, &3.into(), &"4".into()));
    }
    let twice = requisition.replacen("\"k59997\":59997,", "\"k59997\":59997,\"\\u006b59997\":0,", 1);
    assert_eq!(quarantined(&twice).reason, SchemaViolation::GivenTwice);

    // The same field over and over, known or not, and many details.
    let again = GOOD.replacen('{', &format!("{{{}", r#""remark":"x","new":1,"#.repeat(60_000)), 1);
    assert_eq!(cell(&landed(&again).headers, "extra", 0), r#"{"new":1}"#.into());
    let details = vec![r#"{"rec_id":"1","apply_id":"3","x":1}"#; 60_000].join(",");
    assert_eq!(landed(&GOOD.replace(r#"{"rec_id":"1"}"#, &details)).details.num_rows(), 60_000);
}

#[test]
fn the_contract_sorts_by_the_id_too() {
    let contract = Contract::get().expect("a contract");
    assert_eq!(contract.headers().sort_order(), ["purchase_apply_no", "modified", "apply_id"]);
    assert_eq!(contract.details().sort_order(), ["purchase_apply_no", "apply_modified", "apply_id", "detail_index"]);
}
