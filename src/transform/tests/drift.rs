//! Answers that differ a little from the documented ones, as they occur in the wild.

use std::sync::Arc;

use super::super::Assembly;
use super::*;

/// The example's requisition after a change of its text.
fn changed(from: &str, to: &str) -> WindowRows {
    assert!(EXAMPLE.contains(from), "the example has {from}");
    let rows = land(decode(&EXAMPLE.replacen(from, to, 1)));
    assert_eq!((rows.headers.num_rows(), rows.quarantined.len()), (1, 0), "{to}");
    rows
}

#[test]
fn both_spellings_of_the_applicant_are_read() {
    let rows = changed("createtor_name", "createor_name");
    assert_eq!(cell(&rows.headers, "createor_name", 0), "wanxie2-test".into());
}

#[test]
fn numbers_may_come_as_json_numbers() {
    let rows = changed(r#""apply_id": "118""#, r#""apply_id": 118"#);
    assert_eq!(cell(&rows.headers, "apply_id", 0), Cell::Int(118));
    let rows = changed(r#""status": "30""#, r#""status": 30"#);
    assert_eq!(cell(&rows.headers, "status", 0), Cell::Int(30));
    let rows = changed(r#""rec_id": "335""#, r#""rec_id": 335"#);
    assert_eq!(cell(&rows.details, "rec_id", 0), Cell::Int(335));
    let rows = changed(r#""real_num": "200.0000""#, r#""real_num": 123456789012345.6789"#);
    assert_eq!(cell(&rows.headers, "real_num", 0), Cell::Decimal(1_234_567_890_123_456_789));
    let rows = changed(r#""total_count": "7""#, r#""total_count": 7"#);
    assert_eq!(rows.headers.num_rows(), 1);
}

#[test]
fn a_number_in_a_text_field_keeps_its_text() {
    let rows = changed(r#""spec_no": "fapiao""#, r#""spec_no": 1.50e3"#);
    assert_eq!(cell(&rows.details, "spec_no", 0), "1.50e3".into());
    let rows = changed(r#""remark": """#, r#""remark": true"#);
    assert_eq!(cell(&rows.headers, "remark", 0), "true".into());
}

#[test]
fn no_details_are_zero_details() {
    let start = EXAMPLE.find(r#""details_list""#).expect("a list");
    let head = &EXAMPLE[..start];
    for list in [r#""details_list": []"#, r#""details_list": null"#, r#""details_list": """#, r#""detailz": null"#] {
        let rows = land(decode(&format!("{head}{list}}}]}}")));
        assert_eq!((rows.headers.num_rows(), rows.details.num_rows()), (1, 0), "{list}");
        assert_eq!(cell(&rows.headers, "detail_count", 0), Cell::Int(0));
    }
}

#[test]
fn missing_null_and_empty_differ_only_in_text() {
    let rows = changed("\t\t\"remark\": \"\",\n\t\t\"modified\"", "\t\t\"modified\"");
    assert_eq!(cell(&rows.headers, "remark", 0), Cell::Null);
    let rows = changed(r#""provider_name": """#, r#""provider_name": null"#);
    assert_eq!(cell(&rows.details, "provider_name", 0), Cell::Null);
    assert_eq!(cell(&rows.details, "provider_name", 1), "".into());
    let rows = changed(r#""expected_time": "0000-00-00 00:00:00""#, r#""expected_time": """#);
    assert_eq!(cell(&rows.headers, "expected_time", 0), Cell::Null);
    let rows = changed(r#""real_num": "200.0000""#, r#""real_num": """#);
    assert_eq!(cell(&rows.headers, "real_num", 0), Cell::Null);
}

#[test]
fn unknown_fields_go_to_extra_as_written() {
    let rows = landed(
        r#"{"zeta": {"a" : [1, 2.50]},"purchase_apply_no":"POA1","status":77,"modified":"2026-09-01 10:00:00",
            "details_list":[{"rec_id":1,"note":"\u4f60\n","rec_id":1},{"rec_id":2}],"alpha":1e400,"zeta": {"a" : [1, 2.50]}}"#,
    );
    assert_eq!(cell(&rows.headers, "extra", 0), r#"{"zeta":{"a" : [1, 2.50]},"alpha":1e400}"#.into());
    assert_eq!(cell(&rows.details, "extra", 0), r#"{"note":"\u4f60\n"}"#.into());
    assert_eq!(cell(&rows.details, "extra", 1), Cell::Null);
    assert_eq!(cell(&rows.headers, "status", 0), Cell::Int(77), "an unknown status keeps its number");
    assert_eq!(cell(&rows.headers, "status_name", 0), Cell::Null);
}

#[test]
fn fields_come_in_any_order() {
    let rows = landed(
        r#"{"details_list":[{"real_num":"1.5","purchase_apply_no":"POA9","rec_id":"1"},{"rec_id":"2"}],
            "modified":"2026-09-01 10:00:00","status":"5","purchase_apply_no":"POA9"}"#,
    );
    for row in 0..2 {
        assert_eq!(cell(&rows.details, "purchase_apply_no", row), "POA9".into());
        assert_eq!(cell(&rows.details, "apply_modified", row), time("2026-09-01 10:00:00"));
        assert_eq!(cell(&rows.details, "detail_index", row), Cell::Int(i64::try_from(row).expect("small")));
    }
    assert_eq!(cell(&rows.headers, "status_name", 0), "cancelled".into());
}

#[test]
fn escapes_are_resolved_wherever_they_stand() {
    let rows = landed(
        r#"{"purchase_\u0061pply_no":"PO\u0041\/1","status":"\u0032\u0030","modified":"2026-09-01\u002010:00:00","remark":"\ud83d\ude00 \"x\"\n😀",
            "real_num":"1\u002e5","details_list":[{"rec_id":1,"purchase_apply_no":"POA/1"}]}"#,
    );
    assert_eq!(cell(&rows.headers, "purchase_apply_no", 0), "POA/1".into());
    assert_eq!(cell(&rows.headers, "status", 0), Cell::Int(20));
    assert_eq!(cell(&rows.headers, "modified", 0), time("2026-09-01 10:00:00"));
    assert_eq!(cell(&rows.headers, "remark", 0), "😀 \"x\"\n😀".into());
    assert_eq!(cell(&rows.headers, "real_num", 0), Cell::Decimal(15_000));
    assert_eq!(cell(&rows.headers, "extra", 0), Cell::Null);
}

#[test]
fn the_same_value_twice_is_one_value() {
    let rows = landed(
        r#"{"purchase_apply_no":"POA1","status":"20","status":20,"modified":"2026-09-01 10:00:00","real_num":"1.50","real_num":1.5,
            "createor_name":"王","createtor_name":"\u738b","details_list":[{"rec_id":1,"rec_id":"1","spec_no":null,"spec_no":null}]}"#,
    );
    assert_eq!(cell(&rows.headers, "real_num", 0), Cell::Decimal(15_000));
    assert_eq!(cell(&rows.headers, "createor_name", 0), "王".into());
}

#[test]
fn a_list_may_be_missing_only_when_the_total_is_zero() {
    for body in [
        r#"{"code":"0","message":"","total_count":"0"}"#,
        r#"{"code":0,"total_count":0,"purchase_list":null}"#,
        r#"{"code":0,"purchase_list":[]}"#,
        "\u{feff}{\"code\":0,\"purchase_list\":[]}",
    ] {
        assert_eq!(decode(body).rows().len(), 0, "{body}");
    }
    let flagship = decode_in(Edition::Flagship, r#"{"status":0,"data":{"total_count":0}}"#, None).expect("a page");
    assert_eq!(flagship.total(), Some(0));
}

#[test]
fn rows_of_several_pages_are_sorted_and_keep_their_details() {
    let requisition = |no: &str, modified: &str, details: &[u32]| {
        let details: Vec<String> = details.iter().map(|id| format!(r#"{{"rec_id":{id}}}"#)).collect();
        format!(
            r#"{{"purchase_apply_no":"{no}","status":20,"modified":"2026-09-01 {modified}","details_list":[{}]}}"#,
            details.join(",")
        )
    };
    let first = answer(&[&requisition("B", "10:00:00", &[5, 6]), &requisition("A", "11:00:00", &[4, 3])]);
    let second = answer(&[&requisition("A", "09:00:00", &[1]), &requisition("B", "12:00:00", &[]), "{}"]);
    let pages = || [decode(&first), decode(&second)];
    let rows = assemble(pages(), &[(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]).expect("rows");
    let numbers: Vec<Cell> = (0..4).map(|row| cell(&rows.headers, "purchase_apply_no", row)).collect();
    assert_eq!(numbers, ["A", "A", "B", "B"].map(Cell::from));
    let ids: Vec<Cell> = (0..rows.details.num_rows()).map(|row| cell(&rows.details, "rec_id", row)).collect();
    assert_eq!(ids, [1, 4, 3, 5, 6].map(Cell::Int));
    assert_eq!(rows.quarantined.len(), 1);
    assert!(assemble(pages(), &[(2, 0)]).is_err());

    // However the rows are asked for, the columns are the same.
    let assembly = Assembly::new(Arc::new(pages()), &[(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]).expect("rows");
    for (gathered, rows) in [(assembly.headers(), 4), (assembly.details(), 5)] {
        assert_eq!(gathered.rows(), rows);
        let places = gathered.schema().fields().len();
        assert!(gathered.column(places, 0..rows).is_err());
        for place in 0..places {
            let whole = gathered.column(place, 0..rows).expect("a column");
            for (start, end) in (0..=rows).flat_map(|start| (start..=rows).map(move |end| (start, end))) {
                let part = gathered.column(place, start..end).expect("a column");
                assert_eq!(*part, *whole.slice(start, end - start), "column {place}, rows {start} to {end}");
            }
        }
    }

    let none = assemble::<Page>([], &[]).expect("no rows");
    assert_eq!(none.headers.schema(), rows.headers.schema());
    assert_eq!((none.headers.num_rows(), none.details.num_rows()), (0, 0));
}

/// A server that was not asked to count may send a 0 all the same. Believed, it would prove any window complete.
#[test]
fn a_total_counts_only_with_page_0() {
    let body = format!(r#"{{"status":0,"data":{{"total_count":0,"order_list":[{GOOD}]}}}}"#);
    for (edition, body) in [
        (Edition::Flagship, body.as_str()),
        (Edition::Enterprise, &format!(r#"{{"code":0,"total_count":"0","purchase_list":[{GOOD}]}}"#)),
    ] {
        let decoder = PageDecoder::new(edition, run()).expect("a decoder");
        let total = |page_no| {
            let context = PageContext { window: None, page_no, page_size: 100, received_at_micros: RECEIVED_AT };
            decoder.decode(body.as_bytes(), &context).expect("a page").total()
        };
        assert_eq!((total(0), total(1), total(7)), (Some(0), None, None), "{edition}");
    }
}
