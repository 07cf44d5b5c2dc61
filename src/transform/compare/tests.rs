//! Windows of pages against the same pages landed.

use super::super::{PageContext, PageDecoder, assemble};
use super::*;
use crate::edition::Edition;
use crate::id::RunId;

const MINUTE: &str = "2026-06-01 10:00";

/// A requisition modified at a second of the minute, with more fields in its header and its one detail.
fn requisition(number: &str, second: u32, header: &str, detail: &str) -> String {
    format!(
        r#"{{"purchase_apply_no":"{number}","apply_id":"7","status":"30","modified":"{MINUTE}:{second:02}"{header},
        "details_list":[{{"rec_id":"1"{detail}}}]}}"#
    )
}

/// What a walk gives, of an answer that came at a microsecond.
fn window(requisitions: &[String], received_at_micros: i64) -> WindowRows {
    let body =
        format!(r#"{{"code":0,"total_count":{},"purchase_list":[{}]}}"#, requisitions.len(), requisitions.join(","));
    let decoder = PageDecoder::new(Edition::Enterprise, RunId::generate()).expect("decoder");
    let context = PageContext { window: None, page_no: 0, page_size: 100, received_at_micros };
    let page = decoder.decode(body.as_bytes(), &context).expect("a page");
    let selected: Vec<_> = (0..page.rows().len()).map(|row| (0, row)).collect();
    assemble([page], &selected).expect("rows")
}

/// The whole minute as it was landed.
fn landed(requisitions: &[String], received_at_micros: i64) -> LandedRows {
    let at = |second: i64| BeijingTime::parse(&format!("{MINUTE}:00")).expect("a time").plus_seconds(second);
    let mut landed = LandedRows::of(Window::new(at(0), at(59)).expect("a window"));
    let rows = window(requisitions, received_at_micros);
    for row in 0..rows.headers.num_rows() {
        landed.add(Table::PurchaseApply, &rows.headers.slice(row, 1)).expect("headers");
    }
    landed.add(Table::PurchaseApplyDetail, &rows.details).expect("details");
    rows.quarantined.iter().for_each(|record| landed.add_quarantined(&record.to_json_line()).expect("a line"));
    landed
}

fn compared(before: &[String], now: &[String]) -> Comparison {
    compare(&window(now, 9), &landed(before, 5)).expect("compared")
}

#[test]
fn the_same_content_is_the_same_whoever_read_it_and_whatever_the_order_of_extra() {
    let before = [
        requisition("A", 1, r#","x1":{"a":1,"b":[1,{"c":"\u4e2d"}]},"x2":null"#, r#","y1":1.0,"y2":2"#),
        requisition("B", 2, "", ""),
    ];
    let now = [
        requisition("B", 2, "", ""),
        requisition("A", 1, r#","x2":null,"x1":{"b":[1,{"c":"中"}], "a":1}"#, r#","y2":2,"y1":1.0"#),
    ];
    let found = compared(&before, &now);
    let first = BeijingTime::parse(&format!("{MINUTE}:01")).expect("a time").micros();
    assert_eq!(
        found,
        Comparison {
            given: 2,
            first_read_micros: Some(5),
            first_modified_micros: Some(first),
            ..Comparison::default()
        }
    );
}

#[test]
fn a_change_names_its_columns() {
    for (header, detail, columns) in [
        (r#","remark":"b""#, "", &["remark"][..]),
        (r#","real_num":"1.0001""#, "", &["real_num"]),
        ("", r#","real_num":"2""#, &["details.real_num"]),
        (r#","x":1.00"#, "", &["extra"]),
        ("", r#","x":{"a":1}"#, &["details.extra"]),
        (r#","remark":"b""#, r#","remark":"c""#, &["remark", "details.remark"]),
    ] {
        let found = compared(&[requisition("A", 1, "", "")], &[requisition("A", 1, header, detail)]);
        let [(version, Change::Values(changed))] = &*found.changed else { panic!("{found:?}") };
        assert_eq!((version.number.as_str(), changed.join(" ")), ("A", columns.join(" ")));
        assert_eq!((found.late.len(), found.gone), (0, 0));
    }
    let more = requisition("A", 1, "", r#"},{"rec_id":"2""#);
    let found = compared(&[requisition("A", 1, "", "")], &[more]);
    let [(_, Change::Values(changed))] = &*found.changed else { panic!("{found:?}") };
    assert!(
        changed.contains(&"detail_count".to_owned()) && changed.contains(&"details.rec_id".to_owned()),
        "{changed:?}"
    );
}

#[test]
fn what_came_late_and_what_left_are_told_apart() {
    let before = [requisition("A", 1, "", ""), requisition("B", 2, "", "")];
    let now = [requisition("A", 1, "", ""), requisition("A", 3, "", ""), requisition("C", 2, "", "")];
    let found = compared(&before, &now);
    let late: Vec<_> = found.late.iter().map(|late| (late.number.as_str(), late.apply_id.map(ApplyId::get))).collect();
    assert_eq!((late, found.gone, found.given), (vec![("C", Some(7)), ("A", Some(7))], 1, 3));
    assert!(found.changed.is_empty());
    // What the lake has outside of the window does not count.
    let mut landed = landed(&before, 5);
    let outside = window(&[requisition("D", 1, "", "").replace("10:00:01", "10:01:00")], 5);
    landed.add(Table::PurchaseApply, &outside.headers).expect("headers");
    assert_eq!(compare(&window(&before, 9), &landed).expect("compared").gone, 0);
}

#[test]
fn invalid_records_are_compared_too() {
    let invalid = |text: &str| requisition("A", 1, &format!(r#","real_num":"{text}""#), "");
    let valid = requisition("A", 1, "", "");
    let change = |before: &String, now: &String| {
        let found = compared(std::slice::from_ref(before), std::slice::from_ref(now));
        assert_eq!((found.late.len(), found.gone, found.given), (0, 0, 1), "{found:?}");
        found.changed.into_iter().map(|(_, change)| change).next()
    };
    assert_eq!(change(&invalid("x"), &invalid("x")), None);
    assert_eq!(change(&invalid("x"), &invalid("y")), Some(Change::InvalidText));
    assert_eq!(change(&invalid("x"), &valid), Some(Change::BecameValid));
    assert_eq!(change(&valid, &invalid("x")), Some(Change::BecameInvalid));
    let found = compared(&[], &[invalid("x")]);
    assert_eq!((found.late.len(), found.unidentified), (1, 0));
    let nameless = r#"{"purchase_apply_no":"","status":"30","details_list":[]}"#.to_owned();
    assert_eq!(compared(&[], std::slice::from_ref(&nameless)).unidentified, 1);
    assert_eq!(compared(std::slice::from_ref(&nameless), std::slice::from_ref(&nameless)).unidentified, 0);
    assert_eq!(compared(&[invalid("x")], &[]).gone, 1);
}
