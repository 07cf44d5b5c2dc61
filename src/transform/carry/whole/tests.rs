//! What stands after a refresh, from pages to lines.

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;

use super::*;
use crate::edition::Edition;
use crate::id::RunId;
use crate::transform::{PageContext, PageDecoder, assemble};

/// A window of requisitions, each (number, minute of its modified time, apply_id, rec_ids); a rec_id below 0 spoils the
/// requisition.
fn window(requisitions: &[(&str, u32, i64, &[i64])]) -> WindowRows {
    let list: Vec<String> = requisitions
        .iter()
        .map(|(number, minute, apply_id, details)| {
            let modified = format!("2026-06-01 10:{minute:02}:00");
            let real = if details.iter().any(|id| *id < 0) { "1.23456" } else { "1" };
            let details: Vec<String> = details.iter().map(|id| format!(r#"{{"rec_id":"{}"}}"#, id.abs())).collect();
            format!(
                r#"{{"purchase_apply_no":"{number}","apply_id":"{apply_id}","status":"30","real_num":"{real}","modified":"{modified}","details_list":[{}]}}"#,
                details.join(",")
            )
        })
        .collect();
    let body = format!(r#"{{"code":0,"total_count":{},"purchase_list":[{}]}}"#, list.len(), list.join(","));
    let decoder = PageDecoder::new(Edition::Enterprise, RunId::generate()).expect("decoder");
    let context = PageContext { window: None, page_no: 0, page_size: 100, received_at_micros: 0 };
    let page = decoder.decode(body.as_bytes(), &context).expect("a page");
    let selected: Vec<_> = (0..page.rows().len()).map(|row| (0, row)).collect();
    assemble([page], &selected).expect("rows")
}

fn held(windows: &[WindowRows]) -> ReplacedRows {
    // As a reader gives files back: in small batches.
    let cut = |batch: &RecordBatch| (0..batch.num_rows()).map(|row| batch.slice(row, 1)).collect::<Vec<_>>();
    ReplacedRows {
        headers: windows.iter().flat_map(|window| cut(&window.headers)).collect(),
        details: windows.iter().flat_map(|window| cut(&window.details)).collect(),
        quarantined: windows
            .iter()
            .flat_map(|window| &window.quarantined)
            .map(|record| record.to_json_line())
            .collect(),
    }
}

/// (number, apply_id) of the headers and (number, rec_id) of the details.
fn seen(refreshed: &Refreshed) -> [Vec<(String, i64)>; 2] {
    let list = |batch: &RecordBatch, id: &str| {
        let numbers = batch.column_by_name("purchase_apply_no").expect("numbers").as_string::<i32>();
        let ids = batch.column_by_name(id).expect("ids").as_primitive::<Int64Type>();
        (0..batch.num_rows()).map(|row| (numbers.value(row).to_owned(), ids.value(row))).collect()
    };
    [list(&refreshed.headers, "apply_id"), list(&refreshed.details, "rec_id")]
}

fn named(rows: &[(&str, i64)]) -> Vec<(String, i64)> {
    rows.iter().map(|(number, id)| ((*number).to_owned(), *id)).collect()
}

#[test]
fn newer_readings_win_and_what_left_is_carried_over() {
    let old = held(&[
        window(&[("B", 1, 2, &[20, 21]), ("D", 3, 4, &[40])]),
        window(&[("A", 5, 1, &[10]), ("C", 7, 3, &[30, 31]), ("Q", 8, 9, &[-90])]),
    ]);
    // A kept its second but was read with another detail; C left; Q fits now; E is new; D does not fit any more.
    let fresh = window(&[
        ("E", 2, 5, &[]),
        ("D", 3, 4, &[-40]),
        ("A", 5, 1, &[11]),
        ("B", 1, 2, &[20, 21]),
        ("Q", 8, 9, &[90]),
    ]);
    let refreshed = carry_over(&fresh, &old).expect("refreshed");
    let [headers, details] = seen(&refreshed);
    assert_eq!(headers, named(&[("A", 1), ("B", 2), ("C", 3), ("E", 5), ("Q", 9)]));
    assert_eq!(details, named(&[("A", 11), ("B", 20), ("B", 21), ("C", 30), ("C", 31), ("Q", 90)]));
    assert_eq!((refreshed.carried_headers, refreshed.carried_quarantined, refreshed.quarantined.len()), (1, 0, 1));
}

#[test]
fn nothing_returned_means_that_everything_is_carried_over() {
    let old = held(&[window(&[("A", 1, 1, &[10]), ("Q", 2, 2, &[-20])])]);
    let refreshed = carry_over(&window(&[]), &old).expect("refreshed");
    assert_eq!(seen(&refreshed)[0], named(&[("A", 1)]));
    assert_eq!((refreshed.carried_headers, refreshed.carried_quarantined), (1, 1));
    let empty = carry_over(&window(&[]), &ReplacedRows::default()).expect("refreshed");
    assert_eq!((empty.headers.num_rows(), empty.headers.schema()), (0, refreshed.headers.schema()));
}

/// A window of requisitions as their JSON says them, read in a page of any edition.
fn read(edition: Edition, list: &[String]) -> WindowRows {
    let name = if edition == Edition::Flagship { "order_list" } else { "purchase_list" };
    let body = format!(r#"{{"code":0,"status":0,"{name}":[{}]}}"#, list.join(","));
    let decoder = PageDecoder::new(edition, RunId::generate()).expect("decoder");
    let context = PageContext { window: None, page_no: 0, page_size: 100, received_at_micros: 0 };
    let page = decoder.decode(body.as_bytes(), &context).expect("a page");
    let selected: Vec<_> = (0..page.rows().len()).map(|row| (0, row)).collect();
    assemble([page], &selected).expect("rows")
}

fn enterprise(list: &[&str]) -> WindowRows {
    read(Edition::Enterprise, &list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
}

/// A requisition `number` of one second, with an id as it is written and details.
fn one(number: &str, apply_id: &str, rec_ids: &[i64]) -> String {
    let details: Vec<String> = rec_ids.iter().map(|id| format!(r#"{{"rec_id":{id}}}"#)).collect();
    format!(
        r#"{{"purchase_apply_no":"{number}","apply_id":{apply_id},"status":1,"modified":"2026-06-01 10:00:00","details_list":[{}]}}"#,
        details.join(",")
    )
}

/// (number, apply_id) of the headers, and (number, apply_id, rec_id) of the details, null as -1.
fn keyed(rows: &[&RecordBatch; 2]) -> [Vec<(String, i64, i64)>; 2] {
    rows.map(|batch| {
        let numbers = batch.column_by_name("purchase_apply_no").expect("numbers").as_string::<i32>();
        let value = |name: &str, row: usize| {
            let column = batch.column_by_name(name)?.as_primitive::<Int64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        (0..batch.num_rows())
            .map(|row| {
                let number = numbers.value(row).to_owned();
                (number, value("apply_id", row).unwrap_or(-1), value("rec_id", row).unwrap_or(-1))
            })
            .collect()
    })
}

#[test]
fn requisitions_that_share_number_and_second_are_told_apart_by_their_id() {
    let all = [one("A", "9", &[3]), one("A", "null", &[5]), one("A", "1", &[1, 2]), one("B", "0", &[4])];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let wanted = [
        vec![("A".to_owned(), -1, -1), ("A".to_owned(), 1, -1), ("A".to_owned(), 9, -1), ("B".to_owned(), 0, -1)],
        vec![
            ("A".to_owned(), -1, 5),
            ("A".to_owned(), 1, 1),
            ("A".to_owned(), 1, 2),
            ("A".to_owned(), 9, 3),
            ("B".to_owned(), 0, 4),
        ],
    ];
    // Whichever of them the new walk returns.
    for returned in 0..16_usize {
        let fresh: Vec<&str> = (0..4).filter(|at| returned >> at & 1 == 1).map(|at| all[at]).collect();
        let refreshed = carry_over(&enterprise(&fresh), &held(&[enterprise(&all)])).expect("refreshed");
        assert_eq!(keyed(&[&refreshed.headers, &refreshed.details]), wanted, "{returned:04b}");
        assert_eq!(refreshed.carried_headers, 4 - fresh.len() as u64);
        assert_eq!(refreshed.remarks.with_and_without_id, 1, "A stands with ids and without");
    }
    let fresh = enterprise(&all);
    assert_eq!(keyed(&[&fresh.headers, &fresh.details]), wanted, "assembly sorts alike");
    assert_eq!(fresh.remarks.with_and_without_id, 1);
    assert_eq!(enterprise(&[all[0], all[2], all[3]]).remarks.with_and_without_id, 0);

    // 0 and null are both no id.
    let refreshed = carry_over(&enterprise(&[&one("B", "null", &[7])]), &held(&[enterprise(&all)])).expect("refreshed");
    assert_eq!(keyed(&[&refreshed.headers, &refreshed.details])[1][4], ("B".to_owned(), -1, 7));
    assert_eq!((refreshed.headers.num_rows(), refreshed.carried_headers), (4, 3));
    // One that does not fit now takes the place of its own version only.
    let broken = all[0].replace("\"status\":1", "\"status\":\"x\"");
    let refreshed = carry_over(&enterprise(&[&broken]), &held(&[enterprise(&all)])).expect("refreshed");
    let ids: Vec<i64> = keyed(&[&refreshed.headers, &refreshed.details])[0].iter().map(|(_, id, _)| *id).collect();
    assert_eq!((ids, refreshed.quarantined.len()), (vec![-1, 1, 0], 1));
}

#[test]
fn broken_records_of_one_id_or_none_are_each_kept() {
    let ids: [&dyn Fn(usize) -> String; 4] = [
        &|at| format!("\"apply_id\":{at},"),
        &|_| "\"apply_id\":\"0\",".to_owned(),
        &|_| "\"apply_id\":7,".to_owned(),
        &|_| String::new(),
    ];
    for edition in Edition::ALL {
        for id in ids {
            let broken = |volatile: u32| -> Vec<String> {
                (1..7)
                    .map(|at| {
                        format!(r#"{{{}"purchase_apply_no":"A{at}","status":1,"modified":"","v":{volatile}}}"#, id(at))
                    })
                    .collect()
            };
            let before = held(&[read(edition, &broken(0))]);
            assert_eq!(before.quarantined.len(), 6);
            // Read again as they were, or with another byte in each; some or all of them have left.
            for (volatile, returned) in [(0, 6), (1, 6), (0, 2), (1, 2), (0, 0)] {
                let fresh = read(edition, &broken(volatile)[..returned]);
                assert_eq!(fresh.quarantined.len(), returned);
                let refreshed = carry_over(&fresh, &before).expect("refreshed");
                assert_eq!(refreshed.quarantined.len(), 6, "{edition} {} {volatile} {returned}", id(1));
                assert_eq!(refreshed.carried_quarantined, 6 - returned as u64);
            }
        }
    }
}

#[test]
fn a_quarantine_line_goes_when_its_record_can_be_read() {
    let lines = |before: &[&str], fresh: &[&str]| {
        let refreshed = carry_over(&enterprise(fresh), &held(&[enterprise(before)])).expect("refreshed");
        refreshed.quarantined.len()
    };
    let sound = one("A", "7", &[70]);
    let no_time = sound.replace("2026-06-01 10:00:00", "");
    assert_eq!(lines(&[&no_time], &[&sound]), 0, "by its id");
    let masked = no_time.replace("\"apply_id\":7", "\"apply_id\":0");
    assert_eq!(lines(&[&masked], &[&sound.replace("\"apply_id\":7", "\"apply_id\":0")]), 0, "by its details");
    let keyed = masked.replace(r#"[{"rec_id":70}]"#, r#"{"0":{"rec_id":"70","note":"a	b"}}"#);
    assert_eq!(lines(&[&keyed], &[&sound]), 0, "in any dress");
    assert_eq!(lines(&[&masked], &[&one("B", "0", &[71])]), 1, "0 is nobody's id");
    let bad_id = sound.replace("\"apply_id\":7", "\"apply_id\":\"x\"");
    assert_eq!(lines(&[&bad_id], &[&sound]), 0, "what did not fit was the id");
    assert_eq!(lines(&[&bad_id, &sound], &[&sound]), 1, "that one had landed before");
    let bad_status = sound.replace("\"status\":1", "\"status\":\"\"");
    assert_eq!(lines(&[&bad_status], &[&sound]), 0);
    assert_eq!(lines(&[&bad_status], &[&one("A", "8", &[])]), 1, "another requisition of that number and second");
}

/// What it holds is read now, or it is unreadable still.
#[test]
fn an_unreadable_response_stands_only_as_long_as_it_is_unreadable() {
    let decoder = PageDecoder::new(Edition::Enterprise, RunId::generate()).expect("decoder");
    let context = PageContext { window: None, page_no: 7, page_size: 1, received_at_micros: 0 };
    let unreadable =
        |body: &[u8]| assemble([decoder.unreadable_page(&context, body, 9, "why")], &[(0, 0)]).expect("rows");
    let before = held(&[unreadable(b"<html>\xff1")]);
    let lines = |fresh: &WindowRows| carry_over(fresh, &before).expect("refreshed").quarantined.len();
    assert_eq!(lines(&unreadable(b"<html>\xff1")), 1);
    assert_eq!(lines(&unreadable(b"<html>\xff2")), 1);
    assert_eq!(lines(&unreadable(b"")), 1);
    assert_eq!(lines(&window(&[])), 0);
}
