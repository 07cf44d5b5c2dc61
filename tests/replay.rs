//! A lake is rebuilt without the ERP: from page files that somebody kept.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use wdt_lake::edition::Edition;
use wdt_lake::gateway::{CallPolicy, Gateway, Query};
use wdt_lake::sandbox::Sandbox;
use wdt_lake::time::{SystemClock, Window};

use crate::support::committed::{assert_nothing_left, coverage};
use crate::support::{LakeDir, Said, account, at, check_with_readers, erp, erp_of, program, run, sync};

const SECOND_QUARTER: [&str; 4] = ["--from", "2026-04-01", "--to", "2026-06-30"];

/// What `replay --pages` says.
fn replay(pages: &str, lake: &LakeDir, arguments: &[&str]) -> Said {
    let mut command = program();
    command.args(["replay", "--json", "--pages", pages, "--lake", &lake.text(), "--account", "sandbox"]);
    run(command.args(arguments))
}

fn verify(lake: &LakeDir) -> Value {
    run(program().args(["verify", "--deep", "--json", "--lake", &lake.text()])).expect_code(0).json()
}

/// Saves every answer of thirty days at a time, as a script would; windows that reach over the ends of months.
fn save_pages(sandbox: &Sandbox, windows: &[(&str, &str)], folder: &Path) -> u64 {
    let policy = CallPolicy { calls_per_minute: 0, ..CallPolicy::default() };
    let gateway = Gateway::new(&account(sandbox), &policy, Arc::new(SystemClock)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut saved = 0;
    for (start, end) in windows {
        let window = Window::new(at(start), at(end)).unwrap();
        for page_no in 0.. {
            let query = Query::Page { window, page_no, page_size: 100 };
            let called = runtime.block_on(gateway.query(&query, |answer| Ok(answer.body().to_vec()))).unwrap();
            let text = String::from_utf8(called.value).unwrap();
            if !text.contains("purchase_apply_no") {
                break;
            }
            std::fs::write(folder.join(format!("page_{saved:05}.json")), text).unwrap();
            saved += 1;
        }
    }
    saved
}

/// The same rows as a sync of the same ERP, in the partitions of three months.
fn lands_what_a_sync_lands(edition: Edition) {
    let sandbox = erp_of(edition, 2_500, 80, "2026-06-30 23:59:59");
    let pages = TempDir::new().unwrap();
    let windows = [
        ("2026-04-01 00:00:00", "2026-04-20 23:59:59"),
        ("2026-04-21 00:00:00", "2026-05-10 23:59:59"),
        ("2026-05-11 00:00:00", "2026-06-05 23:59:59"),
        ("2026-06-06 00:00:00", "2026-06-30 23:59:59"),
    ];
    let saved = save_pages(&sandbox, &windows, pages.path());
    let lake = LakeDir::new();
    let arguments = ["--edition", edition.name()];
    // Beside the pages lies something else: the pattern leaves it out.
    std::fs::write(pages.path().join("truth.json"), "{}").unwrap();
    let pattern = format!("{}/page_*.json", pages.path().display());
    let summary = replay(&pattern, &lake, &arguments).expect_code(0).json();
    assert_eq!((&summary["pages"], &summary["rows"]["purchase_apply"]), (&saved.into(), &2_500.into()), "{summary}");
    assert_eq!((&summary["commits"], &summary["replaced"]), (&1.into(), &0.into()));
    let world = sandbox.world().lock();
    check_with_readers(&sandbox, &lake, world.journal().versions());
    drop(world);

    let months: std::collections::BTreeSet<String> = lake
        .files()
        .iter()
        .filter_map(|name| Some(name.split_once("modified_month=")?.1.split('/').next()?.to_owned()))
        .collect();
    assert_eq!(months.into_iter().collect::<Vec<_>>(), ["2026-04", "2026-05", "2026-06"]);
    let manifests = lake.manifests();
    assert_eq!((&manifests[0]["kind"], &manifests[0]["window"]), (&"replay".into(), &Value::Null));
    assert_eq!(coverage(&lake).windows(), [], "page files prove nothing");
    let verified = verify(&lake);
    assert_eq!(verified["accounts"][0]["rows"]["purchase_apply"], 2_500, "{verified}");
    run(program().args(["status", "--lake", &lake.text()])).expect_code(0);
    run(program().args(["views", "--engine", "duckdb", "--lake", &lake.text()])).expect_code(0);

    // Again: the same lake, made anew.
    let again = replay(&pattern, &lake, &arguments).expect_code(0).json();
    assert_eq!((&again["replaced"], &again["rows"]), (&1.into(), &summary["rows"]));
    assert_nothing_left(&lake, "after a second replay");
    verify(&lake);

    // What came from nowhere and what the ERP vouches for do not share an account of a lake.
    let refused = sync(&sandbox, &lake, &SECOND_QUARTER).expect_code(2);
    assert!(refused.stderr.contains("another account under the same name"), "{}", refused.stderr);
}

#[test]
fn page_files_make_the_lake_that_a_sync_makes() {
    lands_what_a_sync_lands(Edition::Enterprise);
}

#[test]
fn page_files_of_flagship_make_it_too() {
    lands_what_a_sync_lands(Edition::Flagship);
}

#[test]
fn page_files_do_not_go_into_a_lake_of_the_erp() {
    let sandbox = erp(150, 5, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &SECOND_QUARTER).expect_code(0);
    let before = lake.files();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/enterprise_example.json");
    let refused = replay(page.to_str().unwrap(), &lake, &["--edition", "enterprise"]).expect_code(2);
    assert!(refused.stderr.contains("hint: replay them into a lake of their own"), "{}", refused.stderr);
    assert_eq!(lake.files(), before);
}

/// One requisition as enterprise gives it.
fn requisition(number: &str, modified: &str, remark: &str) -> Value {
    json!({
        "apply_id": "7", "purchase_apply_no": number, "status": "20", "real_num": "1.5000", "remark": remark,
        "modified": modified,
        "details_list": [{"rec_id": "70", "apply_id": "7", "purchase_apply_no": number, "real_num": "1.5000"}],
    })
}

fn page(requisitions: &[Value]) -> Vec<u8> {
    json!({"code": "0", "message": "", "purchase_list": requisitions}).to_string().into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The remarks of all headers in the lake, by number.
fn remarks(lake: &LakeDir) -> Vec<(String, String)> {
    let said = run(program().args(["files", "purchase_apply", "--lake", &lake.text()])).expect_code(0);
    let mut found = Vec::new();
    for path in said.stdout.lines().map(PathBuf::from) {
        let file = std::fs::File::open(path).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let text = |name: &str, row| batch.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned();
            found.extend((0..batch.num_rows()).map(|row| (text("purchase_apply_no", row), text("remark", row))));
        }
    }
    found.sort();
    found
}

#[test]
fn later_files_win_and_what_does_not_fit_is_set_aside() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let (june, july) = ("2026-06-30 23:59:59", "2026-07-01 00:00:00");
    let mut broken = requisition("C", june, "too exact");
    broken["real_num"] = json!("1.23456");
    write("page_1.json", &page(&[requisition("A", june, "early"), requisition("B", june, "only here"), broken]));
    // The same version twice on one page, too: the later row wins. And a newer version of it, which is a version of its own.
    let rows = [requisition("A", june, "late"), requisition("A", july, "newer"), requisition("A", june, "latest")];
    write("page_2.json.gz", &gzip(&page(&rows)));
    write("page_3.json", &[b"\xEF\xBB\xBF", page(&[requisition("D", july, "behind a mark")]).as_slice()].concat());
    write("page_4.json.zst", &zstd::bulk::compress(&page(&[requisition("E", june, "small")]), 1).unwrap());
    let torn = page(&[requisition("F", june, "torn")]);
    write("page_5.json", &torn[..torn.len() - 9]);
    write("page_6.json", br#"{"code":"1","message":"no"}"#);
    write("notes.txt", b"not a page");

    let lake = LakeDir::new();
    let place = folder.path().to_str().unwrap();
    let said = replay(place, &lake, &["--edition", "enterprise"]).expect_code(3);
    let summary = said.json();
    assert_eq!((&summary["pages"], &summary["duplicates"]), (&6.into(), &2.into()), "{summary}");
    assert_eq!(summary["rows"], json!({"purchase_apply": 5, "purchase_apply_detail": 5, "quarantined": 3}));
    for name in ["page_5.json", "page_6.json"] {
        assert!(said.stderr.contains(&format!("`{name}` is no page and went to quarantine")), "{}", said.stderr);
    }
    let expected = [("A", "latest"), ("A", "newer"), ("B", "only here"), ("D", "behind a mark"), ("E", "small")];
    assert_eq!(remarks(&lake), expected.map(|(number, remark)| (number.to_owned(), remark.to_owned())));

    let held = lake.files().into_iter().find(|name| name.starts_with("_quarantine/")).unwrap();
    let held = std::fs::read_to_string(lake.path().join(held)).unwrap();
    let mut lines: Vec<Value> = held.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["page_no"].as_u64());
    let told: Vec<_> = lines.iter().map(|line| (&line["reason"], &line["field"])).collect();
    assert_eq!(
        told,
        [
            (&json!("surplus_digits"), &json!("real_num")),
            (&json!("not_a_page"), &json!("page_5.json")),
            (&json!("not_a_page"), &json!("page_6.json")),
        ]
    );
    assert_eq!(lines[1]["raw"].as_str().unwrap().as_bytes(), &torn[..torn.len() - 9]);
    verify(&lake);
}

#[test]
fn what_is_no_place_of_pages_is_refused_before_a_lake_is_made() {
    let folder = TempDir::new().unwrap();
    let lake = LakeDir::new();
    for place in [folder.path().to_str().unwrap(), "/nowhere/page_*.json"] {
        let said = replay(place, &lake, &["--edition", "enterprise"]).expect_code(2);
        assert!(said.stderr.contains("page files"), "{}", said.stderr);
    }
    std::fs::write(folder.path().join("page.json"), b"\x1F\x8Bnot gzip").unwrap();
    let said = replay(folder.path().to_str().unwrap(), &lake, &["--edition", "enterprise"]).expect_code(2);
    assert!(said.stderr.contains("hint: nothing was committed"), "{}", said.stderr);
    assert_eq!(lake.manifests(), Vec::<Value>::new());
}
