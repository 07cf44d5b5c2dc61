//! The vendor's own example, every column of it, and the same requisition as flagship writes it.

use super::*;
use crate::requisition::{ApplyId, Identity};
use crate::transform::Contract;

fn assert_row(batch: &RecordBatch, row: usize, wanted: &[(&str, Cell)]) {
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    let schema = batch.schema();
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(columns, names, "every column is checked");
    for (name, value) in wanted {
        assert_eq!(&cell(batch, name, row), value, "{name} of row {row}");
    }
}

fn detail(rec_id: i64, index: i64, spec: &str, goods: &str, short: &str) -> Vec<(&'static str, Cell)> {
    vec![
        ("rec_id", Cell::Int(rec_id)),
        ("apply_id", Cell::Int(118)),
        ("purchase_apply_no", "POA202005190001".into()),
        ("apply_modified", time("2020-05-19 11:57:04")),
        ("detail_index", Cell::Int(index)),
        ("spec_no", spec.into()),
        ("spec_name", "默认规格".into()),
        ("goods_no", spec.into()),
        ("goods_name", goods.into()),
        ("short_name", short.into()),
        ("brand_no", "BD201911060035".into()),
        ("brand_name", "无".into()),
        ("class_name", "无".into()),
        ("real_num", Cell::Decimal(1_000_000)),
        ("ref_num", Cell::Decimal(1_000_000)),
        ("stockin_num", Cell::Null),
        ("provider_no", "".into()),
        ("provider_name", "".into()),
        ("remark", "".into()),
        ("extra", Cell::Null),
        ("_edition", "enterprise".into()),
        ("_extracted_at", Cell::Time(RECEIVED_AT)),
        ("_run_id", "01890a5d-ac96-774b-bcce-b302099a8057".into()),
    ]
}

#[test]
fn the_vendors_example_lands_field_by_field() {
    let page = decode(EXAMPLE);
    assert_eq!(page.total(), Some(7));
    let identity = Identity::Version {
        number: "POA202005190001".into(),
        modified: at("2020-05-19 11:57:04"),
        apply_id: ApplyId::new(118),
    };
    assert_eq!(page.rows().len(), 1);
    assert_eq!((&page.rows()[0].identity, page.rows()[0].modified), (&identity, Some(at("2020-05-19 11:57:04"))));

    let rows = land(page);
    let contract = Contract::get().expect("a contract");
    assert_eq!(rows.headers.schema(), contract.headers().fresh_schema());
    assert_eq!(rows.details.schema(), contract.details().fresh_schema());
    assert_eq!((rows.headers.num_rows(), rows.details.num_rows(), rows.quarantined.len()), (1, 2, 0));
    assert_row(
        &rows.headers,
        0,
        &[
            ("apply_id", Cell::Int(118)),
            ("purchase_apply_no", "POA202005190001".into()),
            ("status", Cell::Int(30)),
            ("status_name", "referenced".into()),
            ("createor_name", "wanxie2-test".into()),
            ("name", "wanxie2-test".into()),
            ("warehouse_no", "wanxie2-test".into()),
            ("provider_no", Cell::Null),
            ("provider_name", Cell::Null),
            ("real_num", Cell::Decimal(2_000_000)),
            ("ref_num", Cell::Decimal(2_000_000)),
            ("unref_num", Cell::Decimal(0)),
            ("expected_time", Cell::Null),
            ("remark", "".into()),
            ("modified", time("2020-05-19 11:57:04")),
            ("created", time("2020-05-19 11:48:44")),
            ("detail_count", Cell::Int(2)),
            ("extra", Cell::Null),
            ("_edition", "enterprise".into()),
            ("_extracted_at", Cell::Time(RECEIVED_AT)),
            ("_run_id", "01890a5d-ac96-774b-bcce-b302099a8057".into()),
        ],
    );
    assert_row(&rows.details, 0, &detail(335, 0, "fapiao", "demlution test product", "dem product"));
    assert_row(&rows.details, 1, &detail(336, 1, "fapiao2", "demlution test product 2", "dem test 2"));
}

#[test]
fn y_means_the_same_statuses_by_other_codes() {
    let body = EXAMPLE.replace(r#""status": "30""#, r#""status": "40""#);
    let rows = land(decode_in(Edition::Y, &body, None).expect("a page"));
    assert_eq!(cell(&rows.headers, "status", 0), Cell::Int(40));
    assert_eq!(cell(&rows.headers, "status_name", 0), "referenced".into());
    assert_eq!(cell(&rows.headers, "_edition", 0), "y".into());
}

const FLAGSHIP: &str = r#"{"total_count":1,"order_list":[{"purchase_apply_no":"POA2309040001","status":25,"apply_name":"张三","warehouse_no":"WH1",
    "warehouse_name":"杭州中心仓","provider_no":"P1","provider_name":"供应商","remark":"","expected_time":"2023-09-05","modified":"2023-09-04 10:00:00",
    "created":"2023-09-04 09:00:00","detail_list":[{"purchase_apply_no":"POA2309040001","rec_id":9,"spec_no":"s","goods_no":"g","goods_name":"货",
    "spec_name":"红","num":"12.5000","ref_num":"2.0000","stockin_num":"1.5000","provider_no":"P1","provider_name":"供应商","remark":"急","brand_name":"无"}]}]}"#;

#[test]
fn flagship_fields_land_in_the_same_columns() {
    for body in [FLAGSHIP.to_owned(), format!(r#"{{"status":0,"data":{FLAGSHIP}}}"#)] {
        let page = decode_in(Edition::Flagship, &body, None).expect("a page");
        assert_eq!(page.total(), Some(1));
        let rows = land(page);
        for (name, value) in [
            ("apply_id", Cell::Null),
            ("purchase_apply_no", "POA2309040001".into()),
            ("status_name", "partly_referenced".into()),
            ("createor_name", "张三".into()),
            ("name", "杭州中心仓".into()),
            ("warehouse_no", "WH1".into()),
            ("provider_no", "P1".into()),
            ("provider_name", "供应商".into()),
            ("real_num", Cell::Null),
            ("ref_num", Cell::Null),
            ("unref_num", Cell::Null),
            ("expected_time", time("2023-09-05 00:00:00")),
            ("detail_count", Cell::Int(1)),
            ("extra", Cell::Null),
            ("_edition", "flagship".into()),
        ] {
            assert_eq!(cell(&rows.headers, name, 0), value, "{name}");
        }
        for (name, value) in [
            ("rec_id", Cell::Int(9)),
            ("purchase_apply_no", "POA2309040001".into()),
            ("apply_modified", time("2023-09-04 10:00:00")),
            ("real_num", Cell::Decimal(125_000)),
            ("ref_num", Cell::Decimal(20_000)),
            ("stockin_num", Cell::Decimal(15_000)),
            ("brand_name", "无".into()),
            ("brand_no", Cell::Null),
            ("remark", "急".into()),
            ("extra", Cell::Null),
        ] {
            assert_eq!(cell(&rows.details, name, 0), value, "{name}");
        }
    }
}

#[test]
fn the_second_after_a_flagship_window_belongs_to_the_next() {
    let second = |end: &str| Some(window("2023-09-04 00:00:00", end));
    let page = decode_in(Edition::Flagship, FLAGSHIP, second("2023-09-04 09:59:59")).expect("a page");
    assert!(page.is_skipped(0));
    assert_eq!(page.rows().len(), 1, "it counts for the walk");
    let rows = land(page);
    assert_eq!((rows.headers.num_rows(), rows.details.num_rows(), rows.quarantined.len()), (0, 0, 0));

    let broken = FLAGSHIP.replace("12.5000", "12.50001");
    let page = decode_in(Edition::Flagship, &broken, second("2023-09-04 09:59:59")).expect("a page");
    assert!(page.is_skipped(0) && page.quarantined().is_empty(), "its own window sets it aside");
    let page = decode_in(Edition::Flagship, &broken, second("2023-09-04 10:00:00")).expect("a page");
    assert_eq!(page.quarantined_rows().collect::<Vec<_>>(), [0]);

    let page = decode_in(Edition::Flagship, FLAGSHIP, second("2023-09-04 09:59:58")).expect("a page");
    assert_eq!(page.quarantined_rows().collect::<Vec<_>>(), [0], "further out it does not fit");
    let page = decode_in(Edition::Enterprise, EXAMPLE, Some(window("2020-05-19 11:57:00", "2020-05-19 11:57:03")));
    assert_eq!(page.expect("a page").quarantined()[0].reason, crate::transform::value::SchemaViolation::OutsideWindow);
}
