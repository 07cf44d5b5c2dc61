//! Promise 3 as real engines see it: DuckDB, pyarrow, Polars and Spark read one lake alike, and what `views` prints
//! gives the ERP's latest state, whatever a glob finds beside the committed files. The oracle is the sandbox's journal.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Command;

use serde_json::{Value, json};
use wdt_lake::BeijingTime;
use wdt_lake::Edition;
use wdt_lake::sandbox::{Detail, Quantity, Requisition, Sandbox, Status, Version};

use crate::stop::{days_ago, flagship, partly, stop, sync_part};
use crate::support::{LakeDir, at, copy_folder, erp, erp_of, program, python, run, sync};

/// A month of the lakes of these tests that is neither their first nor their last.
pub(crate) const MONTH: &str = "2026-06";

/// What a reader says of `lakes`, and of the views when their SQL is given.
pub(crate) fn ask(reader: &str, lakes: &[&LakeDir], views: Option<&Value>) -> Value {
    let mut arguments = vec![reader.to_owned(), MONTH.to_owned()];
    for lake in lakes {
        arguments.extend(["--lake".to_owned(), lake.text()]);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    if let Some(views) = views {
        std::fs::write(file.path(), views.to_string()).unwrap();
        arguments.extend(["--views".to_owned(), file.path().to_str().unwrap().to_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    answer(&mut python::LOCAL.script("readers.py", &arguments))
}

/// What `readers.py` says.
pub(crate) fn answer(readers: &mut Command) -> Value {
    let said = run(readers);
    assert_eq!(said.code, 0, "{readers:?}: {}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{readers:?}: {error}: {}", said.stderr))
}

fn views(engine: &str, lake: &LakeDir) -> Value {
    run(program().args(["views", "--json", "--engine", engine, "--lake", &lake.text()])).expect_code(0).json()
}

/// Every version of the ERP in a lake of three months.
fn healthy() -> (Sandbox, LakeDir) {
    let (sandbox, lake) = (erp(700, 85, "2026-07-20 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &["--from", "2026-04-26", "--to", "2026-07-20"]).expect_code(0);
    (sandbox, lake)
}

/// What every reader must say of one table: the journal's rows, summed up in this test's own way.
fn expected<'a>(rows: impl Iterator<Item = (&'a Version, Vec<(&'static str, i128)>)>, modified: &str) -> Value {
    let (mut count, mut in_month, mut sums, mut times) = (0, 0, BTreeMap::new(), BTreeSet::new());
    for (version, decimals) in rows {
        count += 1;
        let time = version.requisition.modified;
        in_month += u64::from(time.to_string().starts_with(MONTH));
        times.insert(time.micros());
        for (name, value) in decimals {
            *sums.entry(name).or_insert(0_i128) += value;
        }
    }
    let sums: BTreeMap<&str, String> = sums.into_iter().map(|(name, sum)| (name, Quantity(sum).to_string())).collect();
    json!({"rows": count, "month_rows": in_month, "sums": sums, "instants": {modified: [times.first(), times.last()]}})
}

/// Whether `said` holds all that `wanted` holds.
fn holds(said: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(wanted) => wanted.iter().all(|(name, value)| holds(&said[name], value)),
        wanted => said == wanted,
    }
}

/// Sums, counts, instants and pruning of one reader against the journal; `files` are those of the lake.
pub(crate) fn assert_read(sandbox: &Sandbox, files: &[String], reader: &str, said: &Value) {
    let world = sandbox.world().lock();
    let versions = world.journal().versions();
    let headers = versions.iter().map(|version| {
        let one = &version.requisition;
        (version, vec![("real_num", one.real_num.0), ("ref_num", one.ref_num.0), ("unref_num", one.unref_num.0)])
    });
    let details = versions.iter().flat_map(|version| {
        let lines = version.requisition.details.iter();
        lines.map(move |line| (version, vec![("real_num", line.real_num.0), ("ref_num", line.ref_num.0)]))
    });
    for (table, wanted) in [
        ("purchase_apply", expected(headers, "modified")),
        ("purchase_apply_detail", expected(details, "apply_modified")),
    ] {
        let seen = &said[table];
        assert!(holds(seen, &wanted), "{reader}: {table}: {seen}\nis not\n{wanted}");
        let folder = format!("{table}/account=sandbox/modified_month={MONTH}/");
        let of_month = files.iter().filter(|name| name.starts_with(&folder)).count();
        assert_eq!(seen["month_files"], of_month, "{reader} prunes {table} to one month");
        assert!(of_month < seen["files"].as_u64().unwrap() as usize);
    }
}

#[test]
fn duckdb_pyarrow_and_polars_read_the_same_lake() {
    let (sandbox, lake) = healthy();
    let duckdb = ask("duckdb", &[&lake], None);
    assert_read(&sandbox, &lake.files(), "duckdb", &duckdb["lakes"][0]);
    for reader in ["pyarrow", "polars"] {
        assert_eq!(ask(reader, &[&lake], None), duckdb, "{reader} differs from duckdb");
    }
}

/// The versions that the views must show, by number: of one that was edited twice within its second, the later.
pub(crate) type Latest = BTreeMap<String, std::sync::Arc<Requisition>>;

pub(crate) fn latest(sandbox: &Sandbox) -> Latest {
    let mut latest = Latest::new();
    for version in sandbox.world().lock().journal().versions() {
        let one = &version.requisition;
        let held = latest.entry(one.purchase_apply_no.to_string()).or_insert_with(|| one.clone());
        if held.modified <= one.modified {
            *held = one.clone();
        }
    }
    latest
}

/// A lake as a glob may find it at the worst time, and what the views must show nevertheless.
///
/// - Requisitions were edited: details went, all of them or some, and states changed.
/// - A refresh has read one version anew, which was edited a second time within its second, and died before it deleted
///   the files that it replaced: their rows stand twice, those of this version with other details.
/// - The commit of a still newer version is in progress: its header is there, its details are not.
fn worst_time() -> (LakeDir, Latest) {
    let (sandbox, lake) = healthy();
    let edited = at("2026-07-22 10:00:00");
    let numbers: Vec<String> = {
        let world = sandbox.world().lock();
        let many = world.requisitions().filter(|one| one.details.len() > 2);
        many.map(|one| one.purchase_apply_no.to_string()).step_by(7).take(30).collect()
    };
    let edit = |number: &str, modified: BeijingTime, change: &dyn Fn(&mut Requisition)| {
        sandbox.world().lock().edit_at(number, modified, |requisition| {
            change(requisition);
            requisition.sum_up();
        });
    };
    for (nth, number) in numbers.iter().enumerate() {
        edit(number, edited, &|requisition| {
            requisition.details.remove(nth % 3);
            requisition.details.truncate(if nth % 5 == 0 { 0 } else { usize::MAX });
        });
    }
    sync(&sandbox, &lake, &["--to", "2026-07-23"]).expect_code(0);

    let before = LakeDir::new();
    copy_folder(&lake.path(), &before.path());
    let (twice, unfinished) = (&numbers[1], &numbers[2]);
    edit(twice, edited, &|requisition| {
        requisition.details.truncate(1);
        requisition.details.push(Detail::plain(9_999_999, "SKU-NEW", Quantity(12_345)));
    });
    sync(&sandbox, &lake, &["--to", "2026-07-23", "--lookback", "20d"]).expect_code(0);
    for table in ["purchase_apply", "purchase_apply_detail"] {
        copy_folder(&before.path().join(table), &lake.path().join(table));
    }
    let latest = latest(&sandbox);

    let after = LakeDir::new();
    copy_folder(&lake.path(), &after.path());
    edit(unfinished, at("2026-07-24 10:00:00"), &|requisition| requisition.details[0].real_num = Quantity::pieces(77));
    sync(&sandbox, &after, &["--to", "2026-07-25"]).expect_code(0);
    let headers = |lake: &LakeDir| lake.path().join("purchase_apply");
    let known = lake.files().len();
    copy_folder(&headers(&after), &headers(&lake));
    assert_eq!(lake.files().len(), known + 1, "one header file more, and no details");
    (lake, latest)
}

/// The views' rows against the journal.
pub(crate) fn assert_latest(shown: &Value, latest: &Latest) {
    let rows = |view: &str| shown[view].as_array().unwrap().clone();
    let text = |row: &Value, column: &str| row[column].as_str().unwrap().to_owned();
    let headers: BTreeMap<String, Value> =
        rows("purchase_apply_latest").into_iter().map(|row| (text(&row, "purchase_apply_no"), row)).collect();
    assert_eq!(headers.len(), rows("purchase_apply_latest").len(), "each requisition once");
    assert_eq!(headers.keys().collect::<Vec<_>>(), latest.keys().collect::<Vec<_>>());
    let mut details: BTreeMap<String, BTreeMap<u64, Value>> = BTreeMap::new();
    for row in rows("purchase_apply_detail_latest") {
        let index = row["detail_index"].as_u64().unwrap();
        let other = details.entry(text(&row, "purchase_apply_no")).or_default().insert(index, row);
        assert_eq!(other, None, "each detail once");
    }
    let open: BTreeMap<String, String> =
        rows("purchase_apply_open").iter().map(|row| (text(row, "purchase_apply_no"), text(row, "open_num"))).collect();
    for (number, one) in latest {
        let header = &headers[number];
        assert_eq!(header["modified"], one.modified.micros(), "{number}");
        assert_eq!(header["real_num"], one.real_num.to_string(), "{number}");
        assert_eq!(header["account"], "sandbox");
        let seen: Vec<(i64, String, i64)> = details
            .get(number)
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(|row| {
                (row["rec_id"].as_i64().unwrap(), text(row, "real_num"), row["apply_modified"].as_i64().unwrap())
            })
            .collect();
        let held = one.details.iter().map(|line| (line.rec_id, line.real_num.to_string(), one.modified.micros()));
        assert_eq!(seen, held.collect::<Vec<_>>(), "{number}");
        let is_open =
            matches!(header["status_name"].as_str(), Some("to_confirm" | "to_reference" | "partly_referenced"));
        assert_eq!(open.get(number), is_open.then(|| one.unref_num.to_string()).as_ref(), "{number}");
    }
    assert!(!open.is_empty() && open.len() < latest.len());
    let counted: u64 = rows("example").iter().map(|row| row["versions"].as_u64().unwrap()).sum();
    assert!(counted > 0, "the example reads its month");
}

/// The lake is as bad as it should be: a plain count is wrong.
fn assert_worst(said: &Value, latest: &Latest) {
    let rows = said["purchase_apply"]["rows"].as_u64().unwrap();
    assert!(rows > latest.len() as u64 + 31, "{rows} rows by glob, {} requisitions", latest.len());
}

#[test]
fn the_views_give_the_latest_state_at_the_worst_time() {
    let (lake, latest) = worst_time();
    let said = ask("duckdb", &[&lake], Some(&views("duckdb", &lake)));
    assert_worst(&said["lakes"][0], &latest);
    assert_latest(&said["views"], &latest);
    assert_example_prunes(&lake, &said);
    assert_eq!(said["zone"], "Asia/Shanghai");
    for engine in ["clickhouse", "polars"] {
        let other = ask(engine, &[], Some(&views(engine, &lake)));
        for view in ["purchase_apply_latest", "purchase_apply_detail_latest", "purchase_apply_open", "example"] {
            assert_eq!(other["views"][view], said["views"][view], "{engine}: every column of every row of {view}");
        }
        assert_example_prunes(&lake, &other);
        assert_eq!(other["zone"], "Asia/Shanghai", "{engine}");
    }
}

/// The example of the views reads the files of its month, and no others.
fn assert_example_prunes(lake: &LakeDir, said: &Value) {
    let headers: Vec<_> = lake.files().into_iter().filter(|name| name.starts_with("purchase_apply/")).collect();
    let of_month = headers.iter().filter(|name| name.contains(MONTH)).count();
    assert_eq!(said["example_files"], of_month);
    assert!(of_month < headers.len());
}

/// Runs the views of `engine` on random lakes in every state that a glob may find; an oracle in loops says what they
/// must show.
fn assert_random(engine: &str, seeds: std::ops::Range<u32>) {
    let (_sandbox, lake) = healthy();
    let (folder, file) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(file.path(), views(engine, &lake).to_string()).unwrap();
    let lake = lake.path().canonicalize().unwrap();
    for seed in seeds {
        let random = folder.path().join(seed.to_string());
        let (seed, paths) =
            (seed.to_string(), [lake.as_path(), file.path(), &random].map(|path| path.to_str().unwrap()));
        let said = answer(&mut python::LOCAL.script("random_views.py", &[engine, &seed, paths[0], paths[1], paths[2]]));
        for (what, at_least) in [("requisitions", 1000), ("torn", 500), ("copied", 300), ("long", 20)] {
            assert!(said[what].as_u64().unwrap() >= at_least, "{what}: {said}");
        }
        for view in ["purchase_apply_latest", "purchase_apply_detail_latest", "purchase_apply_open"] {
            assert!(said["rows"][view].as_u64().unwrap() > 100, "{view}: {said}");
        }
    }
}

#[test]
fn the_views_are_right_for_every_state_of_random_lakes() {
    assert_random("duckdb", 0..4);
    assert_random("clickhouse", 0..2);
    assert_random("polars", 0..2);
}

/// Flagship headers carry no quantity: what is open is the sum over the details.
#[test]
fn the_views_of_a_flagship_lake_find_what_is_open_in_the_details() {
    let (sandbox, lake) = (erp_of(Edition::Flagship, 400, 60, "2026-07-20 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &["--from", "2026-05-20", "--to", "2026-07-20"]).expect_code(0);
    let said = ask("duckdb", &[&lake], Some(&views("duckdb", &lake)));
    let text = |row: &Value, column: &str| row[column].as_str().unwrap().to_owned();
    let shown = said["views"]["purchase_apply_open"].as_array().unwrap();
    assert!(shown.iter().all(|row| row["unref_num"].is_null()));
    let shown: BTreeMap<_, _> =
        shown.iter().map(|row| (text(row, "purchase_apply_no"), text(row, "open_num"))).collect();
    let is_open =
        |one: &Requisition| matches!(one.status, Status::ToConfirm | Status::ToReference | Status::PartlyReferenced);
    let held = latest(&sandbox).into_iter().filter(|(_, one)| is_open(one));
    let held: BTreeMap<_, _> = held.map(|(number, one)| (number, one.unref_num.to_string())).collect();
    assert_eq!(shown, held);
    assert!(held.len() > 40, "{}", held.len());
}

/// Java 17 is a prerequisite of this test alone. Without it nothing is tried, and that is said past the test harness,
/// which hides what passing tests print.
#[test]
fn spark_reads_the_same_and_its_views_are_the_same() {
    if !python::has_java() {
        let said = "\n*** NOT TESTED: Spark. There is no `java` (17 or later) on this machine, so that nothing shows whether \
                    Spark reads the lake and its views. ***\n\n";
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return;
    }
    let (sandbox, healthy) = healthy();
    let (worst, latest) = worst_time();
    let spark = ask("spark", &[&healthy, &worst], Some(&views("spark", &worst)));
    assert_read(&sandbox, &healthy.files(), "spark", &spark["lakes"][0]);
    assert_worst(&spark["lakes"][1], &latest);
    assert_latest(&spark["views"], &latest);
    assert_example_prunes(&worst, &spark);
    let duckdb = ask("duckdb", &[&healthy, &worst], Some(&views("duckdb", &worst)));
    assert_eq!(spark["lakes"], duckdb["lakes"]);
    assert_eq!(spark["views"], duckdb["views"], "every column of every row");
    assert_eq!(spark["zone"], "Asia/Shanghai");
    assert_random("spark", 0..1);
}

/// A later minor version of the contract adds a column. Files from before have null there, and the views of today's
/// contract go on as before.
#[test]
fn files_of_two_minor_versions_are_read_together() {
    let (_sandbox, lake) = healthy();
    let mut engines = vec!["duckdb", "clickhouse", "polars"];
    engines.extend(python::has_java().then_some("spark"));
    let before = ask("duckdb", &[], Some(&views("duckdb", &lake)));
    for engine in engines {
        let said = answer(&mut python::LOCAL.script("evolve.py", &[engine, &lake.text()]));
        assert_eq!((&said["rows"], &said["urgent"]), (&json!(700), &said["added"]), "{engine}");
        assert!(said["added"].as_u64().is_some_and(|rows| rows > 0 && rows < 700), "{said}");
        let after = ask(engine, &[], Some(&views(engine, &lake)));
        assert_eq!(after["views"], before["views"], "{engine}");
    }
}

#[test]
fn views_are_a_script_to_run() {
    let (_sandbox, lake) = healthy();
    let script = run(program().args(["views", "--engine", "duckdb", "--lake", &lake.text(), "--account", "sandbox"]))
        .expect_code(0)
        .stdout;
    let root = lake.path().canonicalize().unwrap();
    insta::assert_snapshot!(script.replace(root.to_str().unwrap(), "/lake"));
    let said =
        run(program().args(["views", "--engine", "spark", "--lake", &lake.text(), "--account", "x"])).expect_code(2);
    assert!(said.stderr.contains("hint: it has `sandbox`"), "{}", said.stderr);
}

/// Of several outcomes of a stop each engine shows the last that is known, in every column.
#[test]
fn the_view_of_stops_is_the_same_in_every_engine() {
    let numbers = ["POA2309040001", "POA2309130001", "POA2309150001"];
    let requisitions = (0..).zip(numbers).map(|(id, number)| partly(764 + id, number, 30 - id));
    let (sandbox, lake) = (flagship(requisitions.collect()), LakeDir::new());
    sync_part(&sandbox, &lake, &days_ago(40), &days_ago(1));
    stop(&sandbox, &lake, &["--yes", numbers[0], numbers[1]]).expect_code(0);
    // It is refused twice: the later row counts.
    for reason in ["once", "twice"] {
        let again = ["--yes", "--ignore-lake", "--reason", reason, numbers[1], "POA-NOBODY"];
        stop(&sandbox, &lake, &again).expect_code(3);
    }
    let shown = |engine: &str| ask(engine, &[], Some(&views(engine, &lake)))["views"]["stop_reference_latest"].clone();
    let duckdb = shown("duckdb");
    let told: Vec<[&str; 2]> = duckdb
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ["purchase_apply_no", "outcome"].map(|column| row[column].as_str().unwrap()))
        .collect();
    assert_eq!(told.len(), 3, "{duckdb}");
    assert!(told.contains(&["POA-NOBODY", "refused"]) && told.contains(&[numbers[0], "stopped"]), "{told:?}");
    for engine in ["clickhouse", "polars"] {
        assert_eq!(shown(engine), duckdb, "{engine}");
    }
}
