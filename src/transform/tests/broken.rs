//! What does not fit goes to quarantine whole; what is not a page is no page.

use super::*;
use sha2::{Digest as _, Sha256};

use crate::requisition::{ApplyId, Identity, RowKey};
use crate::transform::value::SchemaViolation;

fn version_of(number: &str, apply_id: Option<ApplyId>) -> Identity {
    Identity::Version { number: number.into(), modified: at("2026-09-02 10:00:00"), apply_id }
}

fn record_of(raw: &str, apply_id: Option<ApplyId>) -> Identity {
    Identity::Record { apply_id, sha256: Sha256::digest(raw).into() }
}

/// A requisition with these fields instead of, or beside, the required ones.
fn with(fields: &str) -> String {
    format!(r#"{{"purchase_apply_no":"POA2","status":"20","modified":"2026-09-02 10:00:00",{fields}}}"#)
}

#[test]
fn whatever_does_not_fit_quarantines_the_whole_requisition() {
    let detail = |fields: &str| format!(r#""details_list":[{{"rec_id":1}},{{{fields}}}]"#);
    for (fields, reason, field, index) in [
        (r#""real_num":"1.23456""#.to_owned(), SchemaViolation::SurplusDigits, Some("real_num"), None),
        (r#""real_num":"1234567890123456.7890""#.to_owned(), SchemaViolation::OutOfRange, Some("real_num"), None),
        (r#""real_num":true"#.to_owned(), SchemaViolation::NotANumber, Some("real_num"), None),
        (r#""created":"2026-02-30 00:00:00""#.to_owned(), SchemaViolation::NotATime, Some("created"), None),
        (r#""created":1589860624"#.to_owned(), SchemaViolation::NotATime, Some("created"), None),
        (r#""remark":{"a":1}"#.to_owned(), SchemaViolation::NotAScalar, Some("remark"), None),
        (r#""remark":"a\ud83d""#.to_owned(), SchemaViolation::LoneSurrogate, Some("remark"), None),
        (r#""apply_id":"1","apply_id":"2""#.to_owned(), SchemaViolation::GivenTwice, Some("apply_id"), None),
        (
            r#""createor_name":"a","createtor_name":"b""#.to_owned(),
            SchemaViolation::GivenTwice,
            Some("createtor_name"),
            None,
        ),
        (r#""remark":"","remark":null"#.to_owned(), SchemaViolation::GivenTwice, Some("remark"), None),
        (r#""new":1,"n\u0065w":2"#.to_owned(), SchemaViolation::GivenTwice, Some(r"n\u0065w"), None),
        (r#""details_list":[],"details_list":[]"#.to_owned(), SchemaViolation::GivenTwice, Some("details_list"), None),
        (r#""details_list":{"a":{"rec_id":1}}"#.to_owned(), SchemaViolation::NotAList, Some("details_list"), None),
        (
            r#""details_list":{"1":{"rec_id":1},"0":{"rec_id":2}}"#.to_owned(),
            SchemaViolation::NotAList,
            Some("details_list"),
            None,
        ),
        (
            r#""details_list":{"0":{"rec_id":1},"1":{"rec_id":"x"}}"#.to_owned(),
            SchemaViolation::NotANumber,
            Some("rec_id"),
            Some(1),
        ),
        (
            r#""details_list":{"0":{"rec_id":1},"1":7}"#.to_owned(),
            SchemaViolation::NotAnObject,
            Some("details_list"),
            Some(1),
        ),
        (r#""details_list":"x""#.to_owned(), SchemaViolation::NotAList, Some("details_list"), None),
        (r#""details_list":1e999"#.to_owned(), SchemaViolation::NotAList, Some("details_list"), None),
        (r#""details_list":[{"rec_id":1},[]]"#.to_owned(), SchemaViolation::NotAnObject, Some("details_list"), Some(1)),
        (detail(r#""rec_id":"""#), SchemaViolation::Missing, Some("rec_id"), Some(1)),
        (detail(r#""spec_no":"a""#), SchemaViolation::Missing, Some("rec_id"), Some(1)),
        (detail(r#""rec_id":"9223372036854775808""#), SchemaViolation::OutOfRange, Some("rec_id"), Some(1)),
        (detail(r#""rec_id":2,"real_num":"1,000""#), SchemaViolation::NotANumber, Some("real_num"), Some(1)),
        (
            detail(r#""rec_id":2,"purchase_apply_no":"POA3""#),
            SchemaViolation::OtherNumber,
            Some("purchase_apply_no"),
            Some(1),
        ),
        (
            detail(r#""rec_id":2,"purchase_apply_no":"POA2","purchase_apply_no":"POA3""#),
            SchemaViolation::GivenTwice,
            Some("purchase_apply_no"),
            Some(1),
        ),
    ] {
        let record = quarantined(&with(&fields));
        assert_eq!((record.reason, record.field.as_deref(), record.detail_index), (reason, field, index), "{fields}");
        let version = version_of("POA2", None);
        assert_eq!(record.identity, version, "its identity is still read");
        assert_eq!((record.page_no, record.received_at_micros, record.run), (0, RECEIVED_AT, run()));
    }
}

#[test]
fn a_header_needs_number_status_and_modified() {
    for (requisition, field) in [
        (r#"{"status":"20","modified":"2026-09-02 10:00:00","apply_id":7}"#, "purchase_apply_no"),
        (
            r#"{"purchase_apply_no":"","status":"20","modified":"2026-09-02 10:00:00","apply_id":7}"#,
            "purchase_apply_no",
        ),
        (r#"{"purchase_apply_no":"POA2","modified":"2026-09-02 10:00:00","apply_id":7}"#, "status"),
        (r#"{"purchase_apply_no":"POA2","status":"20","apply_id":7}"#, "modified"),
        (r#"{"purchase_apply_no":"POA2","status":"20","modified":"0000-00-00 00:00:00","apply_id":7}"#, "modified"),
    ] {
        let record = quarantined(requisition);
        assert_eq!((record.reason, record.field.as_deref()), (SchemaViolation::Missing, Some(field)), "{requisition}");
        let apply_id = ApplyId::new(7);
        let identity = if field == "status" { version_of("POA2", apply_id) } else { record_of(requisition, apply_id) };
        assert_eq!(record.identity, identity, "{requisition}");
    }
    let long = "9".repeat(201);
    assert_eq!(quarantined(&with(r#""apply_id":1"#).replace("POA2", &long)).reason, SchemaViolation::TooLong);
}

#[test]
fn a_record_without_any_identity_is_known_by_its_text() {
    // SHA-256 of `[1]`, by another tool.
    let digest = "080a9ed428559ef602668b4c00f114f1a11c3f6b02a435f0bdc154578e4d7f22";
    let record = quarantined("[1]");
    assert_eq!((record.reason, record.field.as_deref(), record.modified), (SchemaViolation::NotAnObject, None, None));
    let Identity::Record { apply_id: None, sha256: bytes } = record.identity else { panic!("an identity by text") };
    assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), digest);
    for requisition in ["null", "\"x\"", "\"\\ud800\"", "1e999", "{}"] {
        assert!(matches!(quarantined(requisition).identity, Identity::Record { apply_id: None, .. }), "{requisition}");
    }
}

#[test]
fn an_identity_that_contradicts_itself_is_not_believed() {
    let raw = with(r#""apply_id":5,"purchase_apply_no":"POA3""#);
    let record = quarantined(&raw);
    assert_eq!((record.identity, record.purchase_apply_no), (record_of(&raw, ApplyId::new(5)), None));
}

#[test]
fn a_quarantined_record_is_one_line_of_json() {
    let requisition = with("\"real_num\":\"1.23456\",\n\"remark\":\"\\u4f60\\\"\"");
    let page = decode_in(
        Edition::Enterprise,
        &answer(&[&requisition]),
        Some(window("2026-09-01 00:00:00", "2026-09-30 23:59:59")),
    );
    let line = page.expect("a page").quarantined()[0].to_json_line();
    assert!(!line.contains('\n'));
    insta::assert_snapshot!(line, @r#"{"format":"1.0","purchase_apply_no":"POA2","apply_id":null,"modified":"2026-09-02T10:00:00+08:00","reason":"surplus_digits","message":"real_num has more decimals than the column holds","field":"real_num","detail_index":null,"window":{"start":"2026-09-01T00:00:00+08:00","end":"2026-09-30T23:59:59+08:00"},"page_no":0,"page_size":100,"edition":"enterprise","received_at":"2026-10-01T00:00:00.500000Z","run_id":"01890a5d-ac96-774b-bcce-b302099a8057","raw":"{\"purchase_apply_no\":\"POA2\",\"status\":\"20\",\"modified\":\"2026-09-02 10:00:00\",\"real_num\":\"1.23456\",\n\"remark\":\"\\u4f60\\\"\"}"}"#);
    let parsed: serde_json::Value = serde_json::from_str(&line).expect("json");
    assert_eq!(parsed["raw"], requisition.as_str(), "the source text comes back byte for byte");
}

#[test]
fn what_is_not_a_page_is_unreadable_and_not_repeated() {
    for (body, wanted) in [
        ("", "the response is broken off at byte 0"),
        ("<html>secret</html>", "the response is not JSON (expected value) at byte 0"),
        ("\"secret\"", "the response is JSON, but not an object with a list of requisitions"),
        ("[\"secret\"]", "the response is JSON, but not an object with a list of requisitions"),
        (
            r#"{"code":0,"purchase_list":{"secret":1}}"#,
            "the response is JSON, but not an object with a list of requisitions",
        ),
        (r#"{"code":0,"purchase_list":"secret"}"#, "the response's list of requisitions is not a list"),
        (r#"{"message":"secret"}"#, "the response has no purchase_list"),
        (r#"{"code":null,"message":"secret"}"#, "the response has no purchase_list"),
        (r#"{"status":0,"message":"secret"}"#, "the response has no purchase_list"),
        (r#"{"code":0,"purchase_lists":[ {"secret":1}]}"#, "the response has no purchase_list"),
        (r#"{"code":0,"data":{"order_list":[{"secret":1}]}}"#, "the response has no purchase_list"),
        (r#"{"code":0,"total_count":5}"#, "the response has no purchase_list"),
        (r#"{"code":"2180","message":"secret","purchase_list":[]}"#, "the response is not a success (code 2180)"),
        (r#"{"purchase_list":[],"purchase_list":[]}"#, "the response has purchase_list twice"),
        (r#"{"purchase_list":[]}secret"#, "the response is not JSON (trailing characters) at byte 20"),
        ("{\"purchase_list\":\n[\n{]}", "the response is not JSON (key must be a string) at byte 21"),
        ("\u{feff}\n{\"purchase_list\":\n[\n{]}", "the response is not JSON (key must be a string) at byte 25"),
    ] {
        let unreadable = decode_in(Edition::Enterprise, body, None).expect_err("no page");
        assert_eq!(unreadable.to_string(), wanted, "{body}");
    }
    let error = include_str!("../../../tests/fixtures/enterprise_error_2180.json");
    let unreadable = decode_in(Edition::Enterprise, error, None).expect_err("no page");
    assert_eq!(unreadable.to_string(), "the response is not a success (code 2180)");
    let decoder = PageDecoder::new(Edition::Enterprise, run()).expect("a decoder");
    let context = PageContext { window: None, page_no: 0, page_size: 100, received_at_micros: 0 };
    let unreadable = decoder.decode(b"{\"a\":\"\xff\"}", &context).expect_err("no page");
    assert_eq!(unreadable.to_string(), "the response is not UTF-8 at byte 6");
}

#[test]
fn a_page_broken_off_anywhere_is_unreadable() {
    let trimmed = EXAMPLE.trim_end();
    for end in (0..trimmed.len()).filter(|end| trimmed.is_char_boundary(*end)) {
        assert!(decode_in(Edition::Enterprise, &trimmed[..end], None).is_err(), "cut at {end}");
    }
}

#[test]
fn a_response_that_cannot_be_read_is_one_invalid_record() {
    let decoder = PageDecoder::new(Edition::Enterprise, run()).expect("a decoder");
    let span = window("2026-09-01 00:00:00", "2026-09-30 23:59:59");
    let context = PageContext { window: Some(span), page_no: 59, page_size: 1, received_at_micros: RECEIVED_AT };
    let page = decoder.unreadable_page(&context, b"{\"a\":\"\xff", 7, "the response is not UTF-8 at byte 6");
    assert!(page.is_unreadable() && page.total().is_none());
    assert!(!decode(&answer(&["{}"])).is_unreadable(), "an invalid record is read");
    let digest: [u8; 32] = Sha256::digest(b"{\"a\":\"\xff").into();
    assert_eq!(page.rows(), [RowKey { identity: Identity::Record { apply_id: None, sha256: digest }, modified: None }]);
    assert_eq!(page.quarantined_rows().collect::<Vec<_>>(), [0]);
    let rows = land(page);
    assert_eq!((rows.headers.num_rows(), rows.details.num_rows(), rows.quarantined.len()), (0, 0, 1));
    let line: serde_json::Value = serde_json::from_str(&rows.quarantined[0].to_json_line()).expect("json");
    assert_eq!(line["reason"], "unreadable");
    assert_eq!(line["message"], "the response cannot be read: the response is not UTF-8 at byte 6 (7 bytes)");
    assert_eq!((&line["page_no"], &line["page_size"]), (&59.into(), &1.into()), "which is its place in the list");
    assert_eq!((&line["raw"], &line["apply_id"]), (&"{\"a\":\"\u{fffd}".into(), &serde_json::Value::Null));

    // What was too large to be kept is known by its size.
    let large = |size| decoder.unreadable_page(&context, b"", size, "it is too large");
    assert_eq!(large(300 << 20).rows(), large(300 << 20).rows());
    assert_ne!(large(300 << 20).rows(), large(301 << 20).rows());
    assert_eq!(large(1).quarantined()[0].raw, "");
}

/// A total that is no number is none: the records of its page are not to blame.
#[test]
fn a_total_that_cannot_be_read_is_no_total() {
    for (total, read) in
        [("\" 250 \"", Some(250)), ("\"250,000\"", None), ("[250]", None), ("\"x\"", None), ("-1", None)]
    {
        let body = format!(r#"{{"code":0,"total_count":{total},"purchase_list":[]}}"#);
        let context = PageContext { window: None, page_no: 0, page_size: 100, received_at_micros: 0 };
        let page = PageDecoder::new(Edition::Enterprise, run()).expect("a decoder").decode(body.as_bytes(), &context);
        assert_eq!(page.expect("a page").total(), read, "{total}");
    }
}
