//! A table as it stands now: whatever sync, compaction and expiry did to files, `export` gives the rows of the
//! committed set, and of them the latest versions and the open ones as the views have them, in files that real readers
//! read.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use wdt_lake::Edition;
use wdt_lake::sandbox::{Credentials, Options, Quantity, Requisition, Sandbox, Status, generate};

use crate::stop::{flagship, partly, stop};
use crate::support::{LakeDir, Said, at, erp, program, python, run, sync};

const HEADERS: &str = "purchase_apply";
const DETAILS: &str = "purchase_apply_detail";

/// Exports of a lake, and what each is to hold.
struct Exports {
    lake: String,
    folder: TempDir,
    checks: Vec<Value>,
}

impl Exports {
    fn of(lake: &LakeDir) -> Self {
        let root = lake.path().canonicalize().unwrap().to_str().unwrap().to_owned();
        Self { lake: root, folder: TempDir::new().unwrap(), checks: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn command(&self, table: &str, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(["export", table, "--lake", &self.lake]).args(arguments);
        command
    }

    /// Exports to a file; the summary.
    fn export(&self, table: &str, arguments: &[&str], name: &str) -> Value {
        let summary = run(&mut self.command(table, &[arguments, &["--json", "--out", &self.text(name)]].concat()));
        let summary = summary.expect_code(0).json();
        assert_eq!(summary["bytes"], std::fs::metadata(self.path(name)).unwrap().len());
        summary
    }

    /// Exports to a file that is to hold the rows of a query.
    fn expect(&mut self, table: &str, arguments: &[&str], name: &str, sql: &str) {
        let summary = self.export(table, arguments, name);
        let is_beijing = arguments.contains(&"--beijing-time");
        self.checks.push(json!({
            "file": self.text(name), "sql": sql, "beijing": is_beijing, "rows": summary["rows"],
        }));
    }

    /// The rows of a table by a glob, which sees the committed set when nothing is left over.
    fn all(&self, table: &str) -> String {
        format!("SELECT * FROM read_parquet('{}/{table}/**/*.parquet', hive_partitioning = true)", self.lake)
    }

    /// Compares everything that was exported with what it is to hold; the rows of each file.
    fn check(&mut self) -> Vec<u64> {
        let views = run(program().args(["views", "--json", "--engine", "duckdb", "--lake", &self.lake]));
        let views = views.expect_code(0).json()["views"].as_array().unwrap().clone();
        let views: Vec<Value> = views.into_iter().map(|view| view["sql"].clone()).collect();
        let checks = std::mem::take(&mut self.checks);
        let asked = self.path("checks.json");
        std::fs::write(&asked, json!({"views": views, "checks": checks}).to_string()).unwrap();
        let said = run(&mut python::LOCAL.script("export.py", &[asked.to_str().unwrap()])).expect_code(0);
        let rows: Vec<u64> = serde_json::from_str(&said.stdout).unwrap();
        for (rows, check) in rows.iter().zip(&checks) {
            assert_eq!(check["rows"], *rows, "{check}");
        }
        rows
    }
}

/// An ERP under a sid of its own.
fn seller(sid: &str, edition: Edition, requisitions: Vec<Requisition>) -> Sandbox {
    let credentials = Credentials { sid: sid.to_owned(), ..Credentials::default() };
    Sandbox::start(Options { edition, credentials, requisitions, ..Options::default() }).unwrap()
}

fn sync_as(sandbox: &Sandbox, name: &str, lake: &LakeDir, arguments: &[&str]) {
    let mut command = program();
    command.envs(sandbox.environment()).env("WDT_ACCOUNT", name);
    command.args(["sync", "--calls-per-minute", "0", "--from", "2026-05-02", "--lake", &lake.text()]).args(arguments);
    run(&mut command).expect_code(0);
}

/// Requisitions of which some share their number with another one, and some of these their second too.
fn with_twins(dice: &mut StdRng, seed: u64, count: usize) -> Vec<Requisition> {
    let mut all = generate(seed, count, 60, at("2026-06-30 23:59:59"));
    let twins: Vec<Requisition> = all.iter().filter(|_| dice.random_range(0..9) == 0).cloned().collect();
    for mut twin in twins {
        twin.apply_id += 10_000_000;
        if dice.random_range(0..2) == 0 {
            twin.modified = twin.modified.plus_seconds(-1);
        }
        twin.status = Status::ToReference;
        all.push(twin);
    }
    all
}

/// Edits some requisitions, each at a random second of a day.
fn edit(sandbox: &Sandbox, dice: &mut StdRng, day: &str) {
    let mut world = sandbox.world().lock();
    let numbers: Vec<String> = world.requisitions().map(|one| one.purchase_apply_no.to_string()).collect();
    for number in &numbers {
        if dice.random_range(0..8) > 0 {
            continue;
        }
        let modified = at(&format!("{day} 00:00:00")).plus_seconds(dice.random_range(0..86_400));
        let (status, keep) = (dice.random_range(0..3), dice.random_range(0..3));
        world.edit_at(number, modified, |one| {
            one.status = [Status::ToReference, Status::PartlyReferenced, Status::Referenced][status];
            one.details.truncate(keep);
            if let Some(detail) = one.details.first_mut() {
                detail.real_num = Quantity(-123_456);
            }
            one.sum_up();
        });
    }
}

/// A lake of two accounts and three months, that was synced, walked again, compacted and expired, as the seed wants it.
fn random_lake(seed: u64) -> LakeDir {
    let (mut dice, lake) = (StdRng::seed_from_u64(seed), LakeDir::new());
    let acme = seller("acme", Edition::Enterprise, with_twins(&mut dice, seed, 220));
    let beta = seller("beta", Edition::Flagship, generate(seed + 1, 120, 60, at("2026-06-30 23:59:59")));
    for (sandbox, name) in [(&acme, "acme"), (&beta, "beta")] {
        let compact = if seed.is_multiple_of(2) { "off" } else { "auto" };
        for day in ["05-20", "06-03", "06-07", "06-12", "06-18", "06-30", "07-02"].map(|day| format!("2026-{day}")) {
            sync_as(sandbox, name, &lake, &["--to", &day, "--compact", compact]);
            edit(sandbox, &mut dice, "2026-06-25");
            edit(sandbox, &mut dice, "2026-07-01");
        }
        // Some of the last edits lie in seconds that are covered: they take the place of what stood there.
        sync_as(sandbox, name, &lake, &["--to", "2026-07-02", "--lookback", "20d", "--compact", compact]);
    }
    let at_once = |arguments: &[&str]| run(program().args(arguments).args(["--lake", &lake.text()])).expect_code(0);
    if seed.is_multiple_of(3) {
        at_once(&["compact"]);
    }
    if seed % 3 == 1 {
        at_once(&["expire", "--before", "2026-06", "--yes"]);
    }
    lake
}

const OPEN_DETAILS: &str = "SELECT d.* FROM purchase_apply_detail_latest d
    JOIN purchase_apply_open o ON o.account = d.account AND o.purchase_apply_no = d.purchase_apply_no
     AND o.apply_id IS NOT DISTINCT FROM d.apply_id AND o.modified = d.apply_modified";

#[test]
fn exports_are_what_the_views_show_whatever_became_of_the_files() {
    for seed in 1..4 {
        let lake = random_lake(seed);
        let mut exports = Exports::of(&lake);
        let (latest, detail_latest) =
            ("SELECT * FROM purchase_apply_latest", "SELECT * FROM purchase_apply_detail_latest");
        exports.expect(HEADERS, &[], "all.parquet", &exports.all(HEADERS));
        exports.expect(DETAILS, &[], "all-details.arrow", &exports.all(DETAILS));
        exports.expect(HEADERS, &["--latest"], "latest.csv", latest);
        exports.expect(HEADERS, &["--latest", "--beijing-time", "--bom"], "excel.csv", latest);
        exports.expect(DETAILS, &["--latest"], "latest-details.parquet", detail_latest);
        exports.expect(HEADERS, &["--open"], "open.parquet", "SELECT * FROM purchase_apply_open");
        exports.expect(HEADERS, &["--open", "--latest"], "open.csv", "SELECT * FROM purchase_apply_open");
        exports.expect(DETAILS, &["--open", "--beijing-time"], "open-details.arrows", OPEN_DETAILS);

        let of_beta = format!("{latest} WHERE account = 'beta'");
        exports.expect(HEADERS, &["--latest", "--account", "beta"], "beta.parquet", &of_beta);
        let range = ["--from", "2026-05-10 12:30", "--to", "2026-06-25"];
        let between = |time: &str| {
            format!("{time} >= TIMESTAMPTZ '2026-05-10 12:30:00+08' AND {time} < TIMESTAMPTZ '2026-06-26 00:00:00+08'")
        };
        let with = |option: &'static str| [&range[..], &[option]].concat();
        exports.expect(
            HEADERS,
            &range,
            "range.parquet",
            &format!("{} WHERE {}", exports.all(HEADERS), between("modified")),
        );
        exports.expect(HEADERS, &with("--latest"), "range.csv", &format!("{latest} WHERE {}", between("modified")));
        let in_range = format!("{detail_latest} WHERE {}", between("apply_modified"));
        exports.expect(DETAILS, &with("--latest"), "range-details.parquet", &in_range);
        let in_range = format!("{} WHERE {}", exports.all(DETAILS), between("apply_modified"));
        exports.expect(DETAILS, &range, "range-all-details.parquet", &in_range);

        let rows = exports.check();
        assert!(rows.iter().all(|rows| *rows > 20), "seed {seed}: {rows:?}");
        assert!(rows[0] > rows[2] && rows[2] > rows[5], "seed {seed}: {rows:?}");
    }
}

/// The same rows are the same bytes, however many files they lie in.
#[test]
fn compaction_changes_no_byte_of_an_export() {
    let lake = random_lake(2);
    let exports = Exports::of(&lake);
    let names = [(HEADERS, "--latest", "headers"), (DETAILS, "--latest", "details"), (HEADERS, "--open", "open")];
    let export = |round: &str| {
        names.map(|(table, option, name)| {
            let name = format!("{name}-{round}.csv");
            let files = exports.export(table, &[option], &name)["files"].as_u64().unwrap();
            (files, std::fs::read(exports.path(&name)).unwrap())
        })
    };
    let before = export("before");
    run(program().args(["compact", "--lake", &lake.text()])).expect_code(0);
    let after = export("after");
    for ((files, rows), (fewer, same)) in before.iter().zip(&after) {
        assert!(fewer < files && rows == same, "{files} files, then {fewer}");
    }
}

#[test]
fn standard_output_is_a_stream_for_pyarrow() {
    let (sandbox, lake) = (erp(150, 10, "2026-06-10 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &["--from", "2026-06-01"]).expect_code(0);
    let mut exports = Exports::of(&lake);
    let piped = exports.command(HEADERS, &["--latest", "--out", "-"]).output().unwrap();
    let stderr = String::from_utf8(piped.stderr).unwrap();
    assert!(piped.status.success(), "{stderr}");
    assert!(stderr.starts_with("exported: purchase_apply: 1") && stderr.contains("to standard output"), "{stderr}");
    std::fs::write(exports.path("piped.arrows"), piped.stdout).unwrap();
    let rows = sandbox.world().lock().len();
    exports.checks.push(json!({
        "file": exports.text("piped.arrows"), "sql": "SELECT * FROM purchase_apply_latest", "beijing": false, "rows": rows,
    }));
    assert_eq!(exports.check(), [rows as u64]);
    // A reader that goes away has not got the rows.
    let mut child = exports.command(HEADERS, &["--out", "-"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let gone = child.wait_with_output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(!String::from_utf8(gone.stderr).unwrap().contains("exported"));
}

/// Every cell of a CSV is the text of the value, and no float has been there.
#[test]
fn csv_is_exact_and_says_beijing_times_as_excel_reads_them() {
    let mut one = Requisition::plain(1, "0012", at("2026-06-03 00:00:01"));
    one.details[0].real_num = Quantity(9_007_199_254_740_993_001);
    one.details[0].ref_num = Quantity(1);
    one.remark = "逗号, \"引号\"".into();
    one.sum_up();
    let (sandbox, lake) = (seller("acme", Edition::Enterprise, vec![one]), LakeDir::new());
    sync_as(&sandbox, "acme", &lake, &["--to", "2026-06-10"]);
    let exports = Exports::of(&lake);
    exports.export(HEADERS, &["--open", "--beijing-time", "--bom"], "open.csv");
    let text = std::fs::read_to_string(exports.path("open.csv")).unwrap();
    let (header, row) = text.strip_prefix('\u{feff}').expect("a mark").split_once('\n').unwrap();
    assert!(header.starts_with("apply_id,purchase_apply_no,") && header.ends_with(",account,open_num"), "{header}");
    assert!(row.starts_with("1,0012,"), "{row}");
    for cell in
        ["900719925474099.3001", "0.0001", "900719925474099.3000", "2026-06-03 00:00:01", "\"逗号, \"\"引号\"\"\""]
    {
        assert!(row.contains(&format!(",{cell},")), "{cell}: {row}");
    }
    assert!(row.ends_with(",acme,900719925474099.3000\n"), "{row}");
    exports.export(HEADERS, &["--latest"], "latest.csv");
    let text = std::fs::read_to_string(exports.path("latest.csv")).unwrap();
    assert!(text.starts_with("apply_id,") && text.contains(",2026-06-03T00:00:01.000000+08:00,"), "{text}");
}

#[test]
fn the_last_of_the_latest_stop_of_each_requisition() {
    let (sandbox, lake) = (flagship(vec![partly(1, "CG1", 30), partly(2, "CG2", 20)]), LakeDir::new());
    for number in ["CG1", "CG2"] {
        stop(&sandbox, &lake, &[number, "--yes"]);
    }
    sync(&sandbox, &lake, &["--from", "2026-10-01"]).expect_code(0);
    let mut exports = Exports::of(&lake);
    exports.expect("stop_reference", &["--latest"], "latest.csv", "SELECT * FROM stop_reference_latest");
    exports.expect("stop_reference", &[], "all.parquet", &exports.all("stop_reference"));
    assert_eq!(exports.check(), [2, 2]);
    let said = run(&mut exports.command("stop_reference", &["--open", "--out", &exports.text("open.csv")]));
    assert!(said.expect_code(2).stderr.contains("not open or closed"));
}

#[test]
fn what_is_missing_is_said() {
    let (sandbox, lake) = (erp(300, 60, "2026-06-30 23:59:59"), LakeDir::new());
    std::fs::create_dir(lake.path()).unwrap();
    let exports = Exports::of(&lake);
    let said = |arguments: &[&str]| -> Said {
        run(&mut exports.command(HEADERS, &[arguments, &["--out", &exports.text("new.parquet")]].concat()))
            .expect_code(0)
    };
    // A file of yesterday does not give way to an empty one, because a disk is not mounted.
    std::fs::write(exports.path("new.parquet"), "what was there").unwrap();
    let empty = run(&mut exports.command(HEADERS, &["--latest", "--out", &exports.text("new.parquet")])).expect_code(6);
    assert!(empty.stderr.contains("there is no account in the lake"), "{empty:?}");
    assert_eq!(std::fs::read_to_string(exports.path("new.parquet")).unwrap(), "what was there");

    sync(&sandbox, &lake, &["--from", "2026-05-02", "--to", "2026-06-10"]).expect_code(0);
    sync(&sandbox, &lake, &["--from", "2026-06-21", "--to", "2026-06-30"]).expect_code(0);
    let gap = "sandbox: the lake does not cover 2026-06-11 00:00:00 .. 2026-06-20 23:59:59";
    assert_eq!(said(&[]).stderr, format!("warning: {gap}\n"));
    assert_eq!(said(&["--to", "2026-06-10", "--latest"]).stderr, "");
    let beyond = said(&["--from", "2026-06-30", "--to", "2026-07-02"]).stderr;
    assert!(beyond.contains("does not cover 2026-07-01 00:00:00 .. 2026-07-02 23:59:59"), "{beyond}");

    for outside in [&["--from", "2026-07-02"][..], &["--to", "2026-05-01"]] {
        assert!(said(outside).stderr.contains("does not cover"), "{outside:?}");
    }

    run(program().args(["expire", "--before", "2026-06", "--yes", "--lake", &lake.text()])).expect_code(0);
    let expired = said(&["--from", "2026-05-20", "--to", "2026-06-05"]).stderr;
    assert!(
        expired.contains("expired, but for what was open then: 2026-05-20 00:00:00 .. 2026-05-31 23:59:59"),
        "{expired}"
    );
    let summary = exports.export(HEADERS, &["--from", "2026-05-20"], "new.csv");
    assert_eq!(summary["accounts"][0]["expired"].as_array().unwrap().len(), 1);
    assert_eq!(summary["accounts"][0]["gaps"][0]["start"], "2026-06-11T00:00:00+08:00");
}

#[test]
fn what_cannot_be_exported_is_refused_and_nothing_is_left() {
    let (sandbox, lake) = (erp(120, 10, "2026-06-10 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &["--from", "2026-06-01"]).expect_code(0);
    let exports = Exports::of(&lake);
    std::fs::write(exports.path("new.csv"), "what was there").unwrap();
    let out = exports.text("new.csv");
    let before = lake.files();
    let refused = |table: &str, arguments: &[&str], code: i32, words: &str| {
        let said = run(&mut exports.command(table, arguments)).expect_code(code);
        assert!(said.stderr.contains(words) && said.stdout.is_empty(), "{words}: {said:?}");
        assert_eq!(std::fs::read_to_string(exports.path("new.csv")).unwrap(), "what was there");
        assert_eq!(std::fs::read_dir(exports.folder.path()).unwrap().count(), 1, "nothing half written");
        assert_eq!(lake.files(), before, "nothing in the lake");
    };
    refused("purchase", &["--out", &out], 2, "no table");
    refused(HEADERS, &["--out", &exports.text("new.txt")], 2, "--format");
    refused(HEADERS, &["--out", "-", "--json"], 2, "standard output");
    refused(HEADERS, &["--out", &exports.text("new.parquet"), "--bom"], 2, "`--bom` is for CSV");
    refused(HEADERS, &["--out", &out, "--from", "2026-06-02", "--to", "2026-06-01"], 2, "before it starts");
    refused(HEADERS, &["--out", &out, "--account", "other"], 2, "no such account");
    // Within the lake a file would be read as a part of it, by whatever way the path leads there.
    let within = lake.path().join("purchase_apply/mine.parquet");
    let around = format!("{}/../lake/mine.parquet", lake.text());
    for path in [within.to_str().unwrap(), &around] {
        refused(HEADERS, &["--out", path], 2, "within the folder of the lake");
        let changes = run(program().args(["changes", HEADERS, "--lake", &lake.text(), "--out", path])).expect_code(2);
        assert!(changes.stderr.contains("within the folder of the lake"), "{}", changes.stderr);
    }
    let token = lake.path().join("token");
    let arguments = ["--out", &exports.text("x.csv"), "--token-file", token.to_str().unwrap()];
    let changes = run(program().args(["changes", HEADERS, "--lake", &lake.text()]).args(arguments)).expect_code(2);
    assert!(changes.stderr.contains("within the folder of the lake") && !exports.path("x.csv").exists());

    // A damaged file is named, and nothing of the sound ones is given.
    let name = before.iter().find(|name| name.starts_with("purchase_apply/")).unwrap();
    std::fs::write(lake.path().join(name), "no Parquet").unwrap();
    refused(HEADERS, &["--out", &out], 8, name);
    refused(DETAILS, &["--latest", "--out", &out], 8, name);
    refused(HEADERS, &["--latest", "--out", "-"], 8, name);
}
