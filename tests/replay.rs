//! A lake is rebuilt without the ERP: from page files that somebody saved, or from the answers that a sync has kept.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray as _;
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use wdt_lake::sandbox::{Behaviour, Options, PoisonKind, Requisition, Sandbox, generate};
use wdt_lake::{CallPolicy, Edition, Gateway, Query};
use wdt_lake::{SystemClock, Window};

use crate::manifest::assert_follow_their_schema;
use crate::support::committed::{assert_nothing_left, coverage};
use crate::support::{LakeDir, Said, account, at, check_with_readers, erp, erp_of, program, run, sync};

const SECOND_QUARTER: [&str; 4] = ["--from", "2026-04-01", "--to", "2026-06-30"];

/// What `replay --pages` says.
fn replay(pages: &str, lake: &LakeDir, arguments: &[&str]) -> Said {
    let mut command = program();
    command.args(["replay", "--json", "--pages", pages, "--lake", &lake.text(), "--account", "sandbox"]);
    run(command.args(arguments))
}

/// The only account of a replay's summary.
fn only(said: &Said) -> Value {
    let accounts = said.json()["accounts"].clone();
    assert_eq!(accounts.as_array().unwrap().len(), 1);
    accounts[0].clone()
}

/// The lake is sound by its own log and by the published schema.
fn verify(lake: &LakeDir) -> Value {
    assert_follow_their_schema(&lake.whole_manifests());
    run(program().args(["verify", "--deep", "--json", "--lake", &lake.text()])).expect_code(0).json()
}

/// Saves every answer of thirty days at a time, as a script would; windows that reach over the ends of months.
pub(crate) fn save_pages(sandbox: &Sandbox, windows: &[(&str, &str)], folder: &Path) -> u64 {
    let policy = CallPolicy { calls_per_minute: 0, ..CallPolicy::default() };
    let gateway = Gateway::new(&account(sandbox), &policy, Arc::new(SystemClock)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut saved = 0;
    for (start, end) in windows {
        let window = Window::new(at(start), at(end)).unwrap();
        for page_no in 0.. {
            let query = Query::Page { window, page_no, page_size: 100 };
            let called = runtime.block_on(gateway.query(&query, |answer| Ok(answer.body().to_vec()))).unwrap();
            let text = String::from_utf8(called.value.into_read().unwrap()).unwrap();
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
    let summary = only(&replay(&pattern, &lake, &arguments).expect_code(0));
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
    let again = only(&replay(&pattern, &lake, &arguments).expect_code(0));
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
    // The same version twice on one page, too: the later row wins. And a newer version of it, which is a version of its
    // own.
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
    let summary = only(&said);
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

/// A sync that keeps its answers.
fn sync_keeping(sandbox: &Sandbox, lake: &LakeDir, arguments: &[&str]) -> Said {
    sync(sandbox, lake, &[&["--keep-raw"], arguments].concat())
}

fn from_raw(old: &LakeDir, new: &LakeDir) -> Said {
    run(program().args(["replay", "--json", "--from-raw", &old.text(), "--lake", &new.text()]))
}

/// What the manifests of rows say, but for what is new in every lake: by window, its proof and what its files hold.
fn landed(lake: &LakeDir) -> Vec<(String, Value, Vec<Value>)> {
    let manifests = lake.manifests();
    let removed: Vec<&Value> = manifests.iter().flat_map(|manifest| manifest["removes"].as_array().unwrap()).collect();
    let live = manifests.iter().filter(|one| !one["window"].is_null() && !removed.contains(&&one["commit"]));
    let mut found: Vec<_> = live
        .map(|one| {
            let mut files: Vec<Value> = one["files"]
                .as_array()
                .unwrap()
                .iter()
                .map(|file| json!([file["table"], file["rows"], file["min_modified"], file["max_modified"]]))
                .collect();
            files.sort_by_key(Value::to_string);
            (one["window"].to_string(), one["proof"].clone(), files)
        })
        .collect();
    found.sort_by_key(|(window, ..)| window.clone());
    found
}

/// A column as text; times as microseconds.
fn as_text(column: &ArrayRef) -> ArrayRef {
    let cast = |column: &ArrayRef, to| arrow_cast::cast(column, &to).unwrap();
    match column.data_type() {
        DataType::Timestamp(..) => cast(&cast(column, DataType::Int64), DataType::Utf8),
        _ => cast(column, DataType::Utf8),
    }
}

/// Every row of both tables, all columns but the ids of the run and of the commit.
fn all_rows(lake: &LakeDir) -> Vec<String> {
    let mut found = Vec::new();
    for table in ["purchase_apply", "purchase_apply_detail"] {
        let said = run(program().args(["files", table, "--lake", &lake.text()])).expect_code(0);
        for path in said.stdout.lines() {
            let file = std::fs::File::open(path).unwrap();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let columns: Vec<_> = batch
                    .schema()
                    .fields()
                    .iter()
                    .zip(batch.columns())
                    .filter(|(field, _)| !["_run_id", "_commit_id"].contains(&field.name().as_str()))
                    .map(|(_, column)| as_text(column))
                    .collect();
                for row in 0..batch.num_rows() {
                    let values = columns.iter().map(|column| {
                        let column = column.as_string::<i32>();
                        column.iter().nth(row).unwrap().map_or("null".to_owned(), |text| format!("{text:?}"))
                    });
                    found.push(format!("{table} {}", values.collect::<Vec<_>>().join(" ")));
                }
            }
        }
    }
    found.sort();
    found
}

/// The lines of all kept answers.
fn kept_lines(lake: &LakeDir) -> Vec<String> {
    let files = lake.files().into_iter().filter(|name| name.starts_with("_raw/"));
    files
        .flat_map(|name| {
            let packed = std::fs::read(lake.path().join(name)).unwrap();
            let text = String::from_utf8(zstd::stream::decode_all(&packed[..]).unwrap()).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

fn assert_rebuilt(old: &LakeDir, new: &LakeDir) {
    assert_eq!(landed(new), landed(old), "windows, proofs and files");
    assert_eq!(coverage(new), coverage(old));
    assert_eq!(all_rows(new), all_rows(old));
    assert_follow_their_schema(&old.whole_manifests());
    let binding = |lake: &LakeDir| lake.manifests()[0]["account"].clone();
    assert_eq!(binding(new), binding(old));
    verify(new);
}

/// Edits while it is read, ties in any order, answers that are lost or broken, and pages that are asked for at once.
fn is_rebuilt_after_fire(edition: Edition) {
    let mut requisitions = generate(41, 600, 28, at("2026-06-30 23:59:59"));
    for requisition in &mut requisitions[..60] {
        requisition.modified = at("2026-06-10 10:00:00");
        requisition.created = requisition.created.min(requisition.modified);
    }
    PoisonKind::ALL.into_iter().find(|kind| !kind.fits()).unwrap().spoil(&mut requisitions[300], edition);
    let behaviour = Behaviour { order: "shuffled-ties".parse().unwrap(), ..Behaviour::default() };
    let sandbox = Sandbox::start(Options { edition, requisitions, behaviour, ..Options::default() }).unwrap();
    sandbox.choose_faults(|call| match call.nth % 23 {
        3 => Some("502".parse().unwrap()),
        9 => Some("truncated".parse().unwrap()),
        _ => None,
    });
    sandbox.before_call(|world, call| {
        if call.nth % 5 == 0 {
            let leaver = world.requisitions().nth(call.nth as usize % 400).unwrap().purchase_apply_no.clone();
            world.edit_at(&leaver, at("2026-07-05 12:00:00"), |requisition| requisition.remark = "later".into());
        }
    });
    let old = LakeDir::new();
    // Proof by proof: as they were landed.
    let june = ["--from", "2026-06-01", "--to", "2026-06-30", "--page-size", "20", "--compact", "off"];
    sync_keeping(&sandbox, &old, &june).expect_code(3);
    let proofs: Vec<Value> = landed(&old).into_iter().map(|(_, proof, _)| proof).collect();
    let seen = |name: &str| proofs.iter().any(|proof| proof[name].as_u64().unwrap() > 0);
    assert!(seen("retries") && seen("rows_left") && seen("duplicates"), "the fire was met: {proofs:?}");
    assert!(proofs.iter().any(|proof| proof["passes"].as_u64().unwrap() > 1), "not every pass has proved: {proofs:?}");
    sandbox.shutdown();

    let new = LakeDir::new();
    let summary = only(&from_raw(&old, &new).expect_code(3));
    assert_eq!((&summary["gaps"], &summary["rows"]["quarantined"]), (&json!([]), &1.into()), "{summary}");
    assert_rebuilt(&old, &new);
    // The new lake has the answers too, and there is nothing left to do.
    assert_eq!(kept_lines(&new).len(), kept_lines(&old).len());
    assert_eq!(only(&from_raw(&old, &new).expect_code(0))["commits"], 0);
    let third = LakeDir::new();
    from_raw(&new, &third).expect_code(3);
    assert_rebuilt(&old, &third);
}

#[test]
fn a_lake_that_was_synced_under_fire_is_rebuilt_from_its_answers() {
    is_rebuilt_after_fire(Edition::Enterprise);
}

#[test]
fn a_flagship_lake_is_rebuilt_from_its_answers() {
    is_rebuilt_after_fire(Edition::Flagship);
}

#[test]
fn kept_answers_say_what_was_asked_and_nothing_secret() {
    for edition in [Edition::Enterprise, Edition::Flagship] {
        let sandbox = erp_of(edition, 250, 20, "2026-06-30 23:59:59");
        let lake = LakeDir::new();
        sync_keeping(&sandbox, &lake, &["--from", "2026-06-01", "--to", "2026-06-30"]).expect_code(0);
        let lines = kept_lines(&lake);
        assert_eq!(lines.len(), sandbox.world().calls().len(), "every answer that was taken in");
        let first: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!((&first["format"], &first["page_no"], &first["page_size"]), (&json!("1.0"), &json!(0), &json!(100)));
        assert_eq!(first["parameters"]["page_no"], "0");
        assert!(first["asked_at"].as_str() <= first["received_at"].as_str());
        let body: Value = serde_json::from_str(first["body"].as_str().unwrap()).unwrap();
        assert!(body.is_object());
        let environment = sandbox.environment();
        let secret = |name: &str| environment.iter().find(|(other, _)| *other == name).unwrap().1.clone();
        let (key, secrets) = (secret("WDT_APPKEY"), secret("WDT_APPSECRET"));
        let words = secrets.split(':').chain([&*key, "sign", "appkey", "timestamp", "salt", "\"sid\""]);
        for (word, line) in words.flat_map(|word| lines.iter().map(move |line| (word, line))) {
            assert!(!line.contains(word), "`{word}` in {line}");
        }
    }
}

#[test]
fn windows_without_answers_are_named_and_left_to_the_next_sync() {
    let sandbox = erp(300, 60, "2026-06-30 23:59:59");
    let (old, new) = (LakeDir::new(), LakeDir::new());
    sync(&sandbox, &old, &["--from", "2026-05-02", "--to", "2026-05-20"]).expect_code(0);
    sync_keeping(&sandbox, &old, &["--to", "2026-06-30"]).expect_code(0);
    let said = from_raw(&old, &new).expect_code(7);
    let summary = only(&said);
    assert_eq!(summary["gaps"].as_array().unwrap().len(), 1, "{summary}");
    assert!(said.stderr.contains("no raw responses of the window were kept"), "{}", said.stderr);
    assert!(said.stderr.contains("2026-05-02 00:00:00 .. 2026-05-20 23:59:59"), "{}", said.stderr);
    assert_eq!(said.stderr.matches("no raw responses of the window were kept").count(), 1, "once: {}", said.stderr);
    // The lake is bound to the same account and begins where the old one began.
    sync(&sandbox, &new, &["--to", "2026-06-30"]).expect_code(0);
    assert_eq!(coverage(&new), coverage(&old));
    assert_eq!(remarks(&new), remarks(&old), "the same requisitions");
    let same = run(program().args(["replay", "--from-raw", &old.text(), "--lake", &old.text()])).expect_code(2);
    assert!(same.stderr.contains("into itself"), "{}", same.stderr);
}

/// A refreshed window has the answers of both walks.
#[test]
fn a_refreshed_window_is_rebuilt() {
    let sandbox = erp(300, 20, "2026-06-30 23:59:59");
    let (old, new) = (LakeDir::new(), LakeDir::new());
    sync_keeping(&sandbox, &old, &["--from", "2026-06-01", "--to", "2026-06-20"]).expect_code(0);
    sync_keeping(&sandbox, &old, &["--to", "2026-06-30"]).expect_code(0);
    let refresh = ["--to", "2026-06-30", "--lookback", "60d"];
    let summary = sync(&sandbox, &old, &refresh).expect_code(0).json();
    assert_eq!(summary["refreshed"], 0, "nothing has changed");
    from_raw(&old, &new).expect_code(0);
    assert_rebuilt(&old, &new);

    {
        let mut world = sandbox.world().lock();
        let leaver = world.requisitions().next().unwrap().purchase_apply_no.clone();
        world.edit_at(&leaver, at("2026-07-05 12:00:00"), |requisition| requisition.remark = "later".into());
        world.add_as_is(Requisition::plain(8_000_001, "LATE", at("2026-06-10 00:00:00")));
    }
    // Answers that were kept are kept again, whether this run is told to or not.
    assert_eq!(sync(&sandbox, &old, &refresh).expect_code(0).json()["refreshed"], 1);
    assert_nothing_left(&old, "the answers of the first walk stay named");
    let new = LakeDir::new();
    from_raw(&old, &new).expect_code(0);
    assert_eq!((coverage(&new), remarks(&new)), (coverage(&old), remarks(&old)), "the same requisitions");
    verify(&old);
    verify(&new);
}

/// Between the answers and the commit that they belong to: nothing counts, and the next run clears them away.
#[test]
#[cfg(all(unix, debug_assertions))]
fn answers_of_a_run_that_died_are_cleared_away() {
    let sandbox = erp(150, 10, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    let arguments = ["sync", "--keep-raw", "--json", "--calls-per-minute", "0", "--lake", &lake.text()];
    let june = ["--from", "2026-06-01", "--to", "2026-06-30"];
    let mut dying = crate::support::program_at(&sandbox);
    dying.args(arguments).args(june).env("WDT_LAKE_FAILPOINT", "commit.files_written");
    assert_eq!(run(dying.current_dir(lake.path().parent().unwrap())).code, crate::crash::ABORTED);
    let raw = |lake: &LakeDir| lake.files().into_iter().filter(|name| name.starts_with("_raw/")).collect::<Vec<_>>();
    let orphans = raw(&lake);
    assert!(!orphans.is_empty() && lake.manifests().is_empty());
    sync_keeping(&sandbox, &lake, &june).expect_code(0);
    assert!(raw(&lake).iter().all(|name| !orphans.contains(name)));
    assert_nothing_left(&lake, "after the next run");
    verify(&lake);
    // What is kept is vouched for like everything else.
    let victim = lake.path().join(&raw(&lake)[0]);
    std::fs::write(&victim, b"other").unwrap();
    run(program().args(["verify", "--lake", &lake.text()])).expect_code(8);
    let said = from_raw(&lake, &LakeDir::new());
    assert!(said.code == 8 && said.stderr.contains("a committed object has 5 bytes"), "{said:?}");
}
