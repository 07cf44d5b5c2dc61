//! The main job, end to end: what the ERP holds is in the lake, field by field, as real readers see it.

use serde_json::Value;
use wdt_lake::sandbox::{Detail, Quantity, Requisition};

use crate::support::{LakeDir, at, check_with_readers, erp, program, program_at, run, sync};

#[test]
fn five_thousand_requisitions_are_read_back_field_by_field() {
    let sandbox = erp(5_000, 90, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    let summary = sync(&sandbox, &lake, &["--from", "2026-04-01", "--to", "2026-06-30"]).expect_code(0).json();
    assert_eq!(summary["rows"]["purchase_apply"], 5_000);
    assert_eq!(summary["rows"]["quarantined"], 0);
    assert_eq!(summary["gaps"], Value::Array(vec![]));

    let world = sandbox.world().lock();
    let versions = world.journal().versions();
    let details: usize = versions.iter().map(|version| version.requisition.details.len()).sum();
    assert_eq!(summary["rows"]["purchase_apply_detail"], details);
    let sum: i128 = versions.iter().map(|version| version.requisition.real_num.0).sum();
    assert_eq!(summary["real_num"], format!("{}.{:04}", sum / 10_000, sum % 10_000));
    check_with_readers(&sandbox, &lake, versions);

    // A quiet world: the pages, one more call for each window of more than a page, one where all its pages are full,
    // and three for a total that is the highest so far.
    let windows = summary["windows"].as_u64().unwrap();
    let calls = summary["calls"].as_u64().unwrap();
    let totals: Vec<u64> =
        lake.manifests().iter().map(|manifest| manifest["proof"]["totals"][0].as_u64().unwrap()).collect();
    let full = totals.iter().filter(|total| total.is_multiple_of(100)).count() as u64;
    let large = totals.iter().filter(|total| **total >= 1_000).count() as u64;
    let most = 5_000_u64.div_ceil(100) * 105 / 100 + windows + full + 3 * large;
    assert!(calls <= most, "{calls} calls for {windows} windows");
    assert_eq!(calls as usize, world.journal().calls().len());
}

/// 5,000 requisitions take some 7 MB of decoded pages; so little memory has room for 5.
#[test]
fn a_window_above_the_memory_lands_in_parts() {
    let sandbox = erp(5_000, 20, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    let range = ["--from", "2026-06-01", "--to", "2026-06-30", "--max-memory", "53MiB"];
    let summary = sync(&sandbox, &lake, &range).expect_code(0).json();
    assert_eq!((&summary["windows"], &summary["rows"]["purchase_apply"]), (&1.into(), &5_000.into()));
    let manifests = lake.manifests();
    let files = manifests[0]["files"].as_array().unwrap();
    for table in ["purchase_apply", "purchase_apply_detail"] {
        let parts: Vec<_> = files.iter().filter(|file| file["table"] == table).collect();
        assert!(parts.len() > 1, "{table}: {} files", parts.len());
        let last = format!("-{}.parquet", parts.len());
        assert!(parts.iter().any(|file| file["path"].as_str().unwrap().ends_with(&last)), "{files:?}");
    }
    check_with_readers(&sandbox, &lake, sandbox.world().lock().journal().versions());
    run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
    let refused = sync(&sandbox, &lake, &["--max-memory", "40MiB"]).expect_code(2);
    assert!(refused.stderr.contains("at least 53MiB"), "{}", refused.stderr);
}

#[test]
fn a_covered_range_calls_nobody_and_commits_nothing() {
    let sandbox = erp(300, 20, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    let range = ["--from", "2026-06-01", "--to", "2026-06-30"];
    sync(&sandbox, &lake, &range).expect_code(0);
    let (files, calls) = (lake.files(), sandbox.world().calls().len());
    let summary = sync(&sandbox, &lake, &range).expect_code(0).json();
    assert_eq!((&summary["calls"], &summary["windows"]), (&Value::from(0), &Value::from(0)));
    assert_eq!(sandbox.world().calls().len(), calls);
    assert_eq!(lake.files(), files, "nothing was written, not even a lease");
    let text = run(program_at(&sandbox).args(["sync", "--lake", &lake.text(), "--to", "2026-06-30"])).expect_code(0);
    assert!(text.stdout.contains("covered already: no call was made"), "{}", text.stdout);
}

#[test]
fn later_runs_add_what_is_missing_and_only_that() {
    let sandbox = erp(600, 60, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &["--from", "2026-06-10", "--to", "2026-06-12"]).expect_code(0);
    // Later leaves a gap and warns, earlier is a backfill, and without --from the gap is closed.
    let later = sync(&sandbox, &lake, &["--from", "2026-06-20", "--to", "2026-06-22"]).expect_code(0);
    assert!(later.stderr.contains("leaves a gap"), "{}", later.stderr);
    sync(&sandbox, &lake, &["--from", "2026-05-02", "--to", "2026-06-15"]).expect_code(0);
    let status = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
    assert_eq!(status["accounts"][0]["gaps"][0]["start"], "2026-06-16T00:00:00+08:00");
    sync(&sandbox, &lake, &["--to", "2026-06-30"]).expect_code(0);
    check_with_readers(&sandbox, &lake, sandbox.world().lock().journal().versions());
}

#[test]
fn what_is_edited_after_a_sync_comes_as_a_new_version() {
    let sandbox = erp(50, 10, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &["--from", "2026-06-01", "--to", "2026-06-30"]).expect_code(0);
    let number = {
        let mut world = sandbox.world().lock();
        let number = world.requisitions().find(|one| one.details.len() > 1).unwrap().purchase_apply_no.clone();
        let rec_id = world.find(&number).unwrap().details[0].rec_id;
        world.edit_at(&number, at("2026-07-02 10:00:00"), |requisition| {
            requisition.remark = "改了 \"quoted\"\n🙂".into();
            requisition.details.retain(|detail| detail.rec_id != rec_id);
            requisition.sum_up();
        });
        let mut fresh = Requisition::plain(9_000_001, "POA202607020001", at("2026-07-02 10:00:00"));
        fresh.details = (0..3).map(|i| Detail::plain(9_000_100 + i, "SKU", Quantity::pieces(i + 1))).collect();
        fresh.sum_up();
        world.add_as_is(fresh);
        number
    };
    sync(&sandbox, &lake, &["--to", "2026-07-05"]).expect_code(0);
    let world = sandbox.world().lock();
    assert_eq!(world.journal().history(&number).count(), 2);
    check_with_readers(&sandbox, &lake, world.journal().versions());
}

#[test]
fn the_demo_runs_the_main_job_and_then_has_nothing_to_do() {
    let lake = LakeDir::new();
    let first = run(program().args(["demo", "--lake", &lake.text()])).expect_code(0);
    for word in
        ["purchase_apply ", "purchase_apply_detail ", "real_num sums to", "calls", "files", "duckdb -c", "spark-sql -e"]
    {
        assert!(first.stdout.contains(word), "{word} is missing:\n{}", first.stdout);
    }
    let sum = first.stdout.split("real_num sums to ").nth(1).unwrap().split('.').next().unwrap();
    assert!(sum.replace(',', "").parse::<u64>().unwrap() < 100_000_000, "what a company could order: {sum}");
    let second = run(program().args(["demo", "--lake", &lake.text()])).expect_code(0);
    assert!(second.stdout.contains("no call was made"), "{}", second.stdout);
    let json = run(program().args(["demo", "--json", "--lake", &lake.text()])).expect_code(0).json();
    assert_eq!(json["calls"], 0);
}

#[test]
fn get_prints_requisitions_by_number_whenever_they_were_modified() {
    let sandbox = erp(50, 400, "2026-06-30 23:59:59");
    let (number, real_num, details) = {
        let world = sandbox.world().lock();
        let oldest = world.requisitions().next().unwrap();
        (oldest.purchase_apply_no.to_string(), oldest.real_num.0, oldest.details.len())
    };
    let said = run(program_at(&sandbox).args(["get", "--json", &number, "POA-NOBODY"])).expect_code(0).json();
    let found = &said["requisitions"][0];
    assert_eq!(found["purchase_apply_no"], *number);
    assert_eq!(found["real_num"], format!("{}.{:04}", real_num / 10_000, real_num % 10_000));
    assert_eq!(found["details"].as_array().unwrap().len(), details);
    assert_eq!(said["unknown"], serde_json::json!(["POA-NOBODY"]));
    let text = run(program_at(&sandbox).args(["get", &number, "POA-NOBODY"])).expect_code(0);
    assert!(
        text.stdout.contains(&number) && text.stdout.contains("POA-NOBODY: the ERP does not know"),
        "{}",
        text.stdout
    );
}

#[test]
fn files_lists_exactly_the_committed_ones() {
    let sandbox = erp(300, 60, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &["--from", "2026-05-02", "--to", "2026-06-30"]).expect_code(0);
    let stray = lake.path().join("purchase_apply/account=sandbox/modified_month=2026-06/20260601T000000-20260601T000001-01999999-0000-7000-8000-000000000000.parquet");
    std::fs::write(&stray, b"half written").unwrap();
    let mut listed = Vec::new();
    for table in ["purchase_apply", "purchase_apply_detail"] {
        let said = run(program().args(["files", table, "--lake", &lake.text()])).expect_code(0);
        listed.extend(said.stdout.lines().map(str::to_owned));
        let json = run(program().args(["files", table, "--json", "--lake", &lake.text()])).expect_code(0).json();
        assert_eq!(json["files"].as_array().unwrap().len(), said.stdout.lines().count());
    }
    listed.sort();
    let root = lake.path().canonicalize().unwrap();
    let mut expected: Vec<String> = lake
        .files()
        .iter()
        .map(|name| root.join(name))
        .filter(|path| {
            path.extension().is_some_and(|kind| kind == "parquet") && !stray.ends_with(path.file_name().unwrap())
        })
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    expected.sort();
    assert_eq!(listed, expected);
    let status = run(program().args(["status", "--lake", &lake.text()])).expect_code(0);
    assert!(status.stdout.contains("unfinished  1 commit"), "{}", status.stdout);
    // The next writing command clears what a dead run left.
    lake.forget_the_end();
    sync(&sandbox, &lake, &["--from", "2026-05-01", "--to", "2026-06-30"]).expect_code(0);
    assert!(!stray.exists());
    let said = run(program().args(["files", "nothing", "--lake", &lake.text()])).expect_code(2);
    assert!(said.stderr.contains("hint: the tables are"), "{}", said.stderr);
}
