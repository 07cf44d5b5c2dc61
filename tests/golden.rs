//! Lakes that stay readable for ever: the folders below `tests/golden`, one for each version of the lake format, hold
//! small lakes whose bytes never change. On each of them `verify --deep` finds nothing, real readers see the rows that
//! were there when it was written, and the next commit goes on, by the words of that version.
//!
//! `WDT_GOLDEN=write cargo test --test promises golden::` writes the lakes of a new version that are not there yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Once;

use serde_json::{Value, json};
use wdt_lake::sandbox::{Options, Quantity, Requisition, Sandbox, Status, generate};
use wdt_lake::{Edition, FormatVersion};

use crate::readers::answer;
use crate::support::delta::{READERS, ReadingJob, TABLES, VersionFiles, expected, newest_checkpoint};
use crate::support::{LakeDir, at, copy_folder, program, program_at, python, run, sync};

/// One kind of lake.
struct Kind {
    name: &'static str,
    edition: Edition,
    /// Flags of every `sync` of it.
    flags: &'static [&'static str],
    /// Makes the lake, and tells what makes it worth keeping.
    make: fn(&Sandbox, &LakeDir),
    /// What stands in the names or manifests of such a lake.
    holds: fn(&LakeDir) -> bool,
}

const RANGE: [&str; 2] = ["--from", "2026-05-20"];

/// The last second that the lakes cover.
const END: &str = "2026-07-05 23:59:59";

const KINDS: &[Kind] = &[
    Kind {
        name: "plain",
        edition: Edition::Enterprise,
        flags: &[],
        make: |sandbox, lake| feed(sandbox, lake, &[], &["2026-07-05"]),
        holds: |lake| kinds(lake).iter().all(|kind| kind == "sync"),
    },
    Kind {
        name: "single_writer",
        edition: Edition::Y,
        flags: &["--single-writer"],
        make: |sandbox, lake| feed(sandbox, lake, &["--single-writer"], &["2026-06-20", "2026-07-05"]),
        holds: |lake| {
            let logged = lake.files().into_iter().filter(|name| name.starts_with("_manifest/"));
            logged.filter(|name| !name.contains("/_checkpoint/")).all(|name| name.contains('-'))
        },
    },
    Kind {
        name: "checkpointed",
        edition: Edition::Enterprise,
        flags: &["--compact", "off"],
        make: |sandbox, lake| {
            // A run that died has left a file: the next one writes a fence.
            feed(sandbox, lake, &["--compact", "off"], &["2026-06-01"]);
            let stray = lake.path().join("_quarantine/account=sandbox/01999999-0000-7000-8000-000000000000.jsonl");
            std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
            std::fs::write(&stray, b"{}\n").unwrap();
            lake.forget_the_end();
            feed(sandbox, lake, &["--compact", "off"], &["2026-06-10", "2026-06-20", "2026-07-03", "2026-07-05"]);
        },
        holds: |lake| kinds(lake).contains(&"fence".to_owned()) && lake.files().join("\n").contains("/_checkpoint/"),
    },
    Kind {
        name: "compacted",
        edition: Edition::Enterprise,
        flags: &[],
        make: |sandbox, lake| {
            let days = ["2026-06-04", "2026-06-08", "2026-06-12", "2026-06-16", "2026-06-20", "2026-07-05"];
            feed(sandbox, lake, &["--compact", "off"], &days);
            run(program().args(["compact", "--lake", &lake.text()])).expect_code(0);
        },
        holds: |lake| kinds(lake).contains(&"compaction".to_owned()),
    },
    Kind {
        name: "stops",
        edition: Edition::Flagship,
        flags: &[],
        make: make_stops,
        holds: |lake| {
            let kinds = kinds(lake);
            kinds.iter().filter(|kind| *kind == "stop_intent").count() == 2
                && kinds.iter().filter(|kind| *kind == "stop_result").count() == 1
        },
    },
    Kind {
        name: "refreshed",
        edition: Edition::Enterprise,
        flags: &[],
        make: |sandbox, lake| {
            feed(sandbox, lake, &[], &["2026-06-20", "2026-07-02"]);
            // Within one commit: one version has other details, the others stay as they were.
            let (number, modified) = first_within(sandbox, "2026-06-25", "2026-07-02");
            edit(sandbox, &number, &modified, |one| one.details[0].real_num = Quantity::pieces(7));
            feed(sandbox, lake, &["--lookback", "12d"], &["2026-07-05"]);
        },
        holds: |lake| manifests(lake).contains("\"kind\":\"refresh\"") && manifests(lake).contains("\"carried\":true"),
    },
    Kind {
        name: "raw",
        edition: Edition::Enterprise,
        flags: &["--keep-raw"],
        make: |sandbox, lake| feed(sandbox, lake, &["--keep-raw"], &["2026-06-20", "2026-07-05"]),
        holds: |lake| lake.files().iter().any(|name| name.starts_with("_raw/")),
    },
    Kind {
        name: "expired",
        edition: Edition::Enterprise,
        flags: &[],
        make: |sandbox, lake| {
            feed(sandbox, lake, &[], &["2026-06-20", "2026-07-05"]);
            run(program().args(["expire", "--before", "2026-06", "--yes", "--lake", &lake.text()])).expect_code(0);
        },
        holds: |lake| manifests(lake).contains("\"expired\":["),
    },
    Kind {
        name: "quarantined",
        edition: Edition::Enterprise,
        flags: &[],
        make: |sandbox, lake| {
            let (number, modified) = first_within(sandbox, "2026-06-10", "2026-06-20");
            edit(sandbox, &number, &modified, |one| one.send_raw("real_num", "\"1.23456\""));
            let flags = [&RANGE[..], &["--to", "2026-07-05"]].concat();
            sync(sandbox, lake, &flags).expect_code(3);
        },
        holds: |lake| lake.files().iter().any(|name| name.starts_with("_quarantine/")),
    },
    Kind {
        name: "published",
        edition: Edition::Enterprise,
        flags: &["--publish", "delta"],
        make: |sandbox, lake| {
            let days: Vec<String> = (8..=30).map(|day| format!("2026-06-{day:02}")).collect();
            let days = days.iter().map(String::as_str).chain(["2026-07-05"]);
            feed(sandbox, lake, &["--publish", "delta", "--compact", "off"], &days.collect::<Vec<_>>());
            run(program().args(["compact", "--lake", &lake.text(), "--keep-removed", "7d"])).expect_code(0);
        },
        holds: |lake| {
            let checkpoints = TABLES.iter().filter_map(|table| newest_checkpoint(lake, table)).count();
            checkpoints == TABLES.len() && kinds(lake).contains(&"compaction".to_owned())
        },
    },
];

/// The kinds of the manifests in order.
fn kinds(lake: &LakeDir) -> Vec<String> {
    lake.manifests().iter().map(|manifest| manifest["kind"].as_str().unwrap().to_owned()).collect()
}

fn manifests(lake: &LakeDir) -> String {
    lake.whole_manifests().iter().map(Value::to_string).collect()
}

/// A `sync` to the end of each day in turn.
fn feed(sandbox: &Sandbox, lake: &LakeDir, flags: &[&str], days: &[&str]) {
    for day in days {
        sync(sandbox, lake, &[&RANGE[..], flags, &["--to", day]].concat()).expect_code(0);
    }
}

/// Number and time of the first requisition that was modified from one day to before the other.
fn first_within(sandbox: &Sandbox, from: &str, before: &str) -> (String, String) {
    let world = sandbox.world().lock();
    let mut all = world.requisitions().map(|one| (one.modified.to_string(), one.purchase_apply_no.to_string()));
    let (modified, number) = all.find(|(modified, _)| from <= &modified[..] && &modified[..] < before).expect("one");
    (number, modified)
}

fn edit(sandbox: &Sandbox, number: &str, modified: &str, change: impl FnOnce(&mut Requisition)) {
    sandbox.world().lock().edit_at(number, at(modified), change).expect("it is there");
}

/// A requisition of which 4 of 10 pieces are referenced.
fn partly(id: i64, number: &str) -> Requisition {
    let mut requisition = Requisition::plain(id, number, at("2026-06-15 10:00:00").plus_seconds(id));
    requisition.status = Status::PartlyReferenced;
    requisition.details[0].real_num = Quantity::pieces(10);
    requisition.details[0].ref_num = Quantity::pieces(4);
    requisition.sum_up();
    requisition
}

fn stop_command(sandbox: &Sandbox, lake: &LakeDir, numbers: &[&str]) -> std::process::Command {
    let mut command = program_at(sandbox);
    command.args(["stop", "--json", "--yes", "--calls-per-minute", "0", "--lake", &lake.text()]).args(numbers);
    command
}

/// One requisition is stopped, one is refused, and of a third nobody knows: the program died after the call.
fn make_stops(sandbox: &Sandbox, lake: &LakeDir) {
    feed(sandbox, lake, &[], &["2026-07-05"]);
    let referenced = first_within(sandbox, "2026-06-01", "2026-06-15").0;
    edit(sandbox, &referenced, "2026-06-14 10:00:00", |one| one.status = Status::Referenced);
    for (id, number) in [(900_001, "GOLDEN-1"), (900_002, "GOLDEN-2")] {
        sandbox.world().lock().add_as_is(partly(id, number));
    }
    run(stop_command(sandbox, lake, &["GOLDEN-1", &referenced]).env("USER", "li").args(["--reason", "供应商停产"]))
        .expect_code(3);
    let mut dying = stop_command(sandbox, lake, &["GOLDEN-2"]);
    dying.env("USER", "li").env("WDT_LAKE_FAILPOINT", "land.file_written@1").current_dir(lake.path().parent().unwrap());
    assert_eq!(run(&mut dying).code, -6);
}

/// The ERP from which a lake is made.
fn erp_of_old(edition: Edition) -> Sandbox {
    let requisitions = generate(23, 60, 47, at(END));
    Sandbox::start(Options { edition, requisitions, ..Options::default() }).expect("a sandbox")
}

/// The ERP from which the next commit is made. It does not depend on the generator, which may change.
fn erp_of_new(edition: Edition) -> Sandbox {
    let mut requisitions: Vec<Requisition> = (1..=6)
        .map(|id| Requisition::plain(950_000 + id, &format!("NEXT-{id}"), at(END).plus_seconds(id * 86_000)))
        .collect();
    // The call of the dead program arrived.
    let mut stopped = partly(900_002, "GOLDEN-2");
    stopped.status = Status::Referenced;
    requisitions.extend([stopped, partly(900_003, "GOLDEN-3")]);
    Sandbox::start(Options { edition, requisitions, ..Options::default() }).expect("a sandbox")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(FormatVersion::LAKE.to_string())
}

/// The committed files of a table, as paths.
fn files(lake: &LakeDir, table: &str) -> Vec<String> {
    let said = run(program().args(["files", table, "--json", "--lake", &lake.text()])).expect_code(0).json();
    let local = |uri: &str| uri.strip_prefix("file://").unwrap_or(uri).to_owned();
    said["files"].as_array().unwrap().iter().map(|file| local(file["path"].as_str().unwrap())).collect()
}

/// The rows of the committed set to each reader, as counts and digests by table.
fn read(lake: &LakeDir, readers: &[&str]) -> Value {
    let tables = ["purchase_apply", "purchase_apply_detail", "stop_reference"];
    let files: BTreeMap<&str, Vec<String>> = tables.iter().map(|table| (*table, files(lake, table))).collect();
    let job = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(job.path(), json!(files).to_string()).unwrap();
    answer(&mut python::LOCAL.script("golden.py", &[&[job.path().to_str().unwrap()], readers].concat()))
}

/// The rows of a table as `export` writes them, sorted.
fn rows(lake: &LakeDir, table: &str) -> BTreeSet<String> {
    let out = lake.path().parent().unwrap().join(format!("{table}.csv"));
    run(program().args(["export", table, "--lake", &lake.text(), "--out"]).arg(&out)).expect_code(0);
    let (text, mut record, mut records) = (std::fs::read_to_string(out).unwrap(), String::new(), BTreeSet::new());
    for line in text.split_inclusive('\n') {
        record.push_str(line);
        // A remark may have several lines.
        if record.matches('"').count() % 2 == 0 {
            records.insert(std::mem::take(&mut record));
        }
    }
    records
}

fn verify(lake: &LakeDir) {
    run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
}

/// Writes the lakes of this version that are not there yet.
fn write_missing() {
    for kind in KINDS.iter().filter(|kind| !root().join(kind.name).exists()) {
        let (sandbox, lake) = (erp_of_old(kind.edition), LakeDir::new());
        (kind.make)(&sandbox, &lake);
        verify(&lake);
        let said = read(&lake, &["duckdb"]);
        copy_folder(&lake.path(), &root().join(kind.name));
        std::fs::write(root().join(format!("{}.json", kind.name)), format!("{:#}\n", said["duckdb"])).unwrap();
    }
}

/// Every lake, as a copy that a test may change.
fn golden_lakes() -> impl Iterator<Item = (&'static Kind, LakeDir)> {
    static WRITTEN: Once = Once::new();
    if std::env::var("WDT_GOLDEN").is_ok_and(|value| value == "write") {
        WRITTEN.call_once(write_missing);
    }
    KINDS.iter().map(|kind| (kind, LakeDir::of(&root().join(kind.name))))
}

/// Each lake is of its kind and sound, and every reader sees the rows that were there when it was written.
#[test]
fn lakes_of_this_format_are_read_as_they_were_written() {
    for (kind, lake) in golden_lakes() {
        assert!((kind.holds)(&lake), "{}", kind.name);
        verify(&lake);
        let readers = ["duckdb", "pyarrow", "polars", "pandas", "clickhouse"];
        let written: Value =
            serde_json::from_slice(&std::fs::read(root().join(format!("{}.json", kind.name))).unwrap()).unwrap();
        for (reader, said) in read(&lake, &readers).as_object().unwrap() {
            assert_eq!(*said, written, "{} by {reader}", kind.name);
        }
        let exported = 1 + written["purchase_apply"]["rows"].as_u64().unwrap() as usize;
        assert_eq!(rows(&lake, "purchase_apply").len(), exported, "{}: a line of names, and the rows", kind.name);
    }
}

/// The next runs go on with each lake: rows stay and new ones come, no file of old changes, and what is written keeps
/// to the schemas of the lake's own version.
#[test]
fn the_next_commits_go_on_with_lakes_of_this_format() {
    let schema: Value = serde_json::from_slice(&std::fs::read(root().join("manifest.schema.json")).unwrap()).unwrap();
    let schema = jsonschema::validator_for(&schema).expect("a JSON Schema");
    for (kind, lake) in golden_lakes() {
        let name = kind.name;
        let (sandbox, before) = (erp_of_new(kind.edition), contents(&lake));
        let held: Vec<BTreeSet<String>> =
            ["purchase_apply", "purchase_apply_detail"].map(|table| rows(&lake, table)).to_vec();
        for to in ["2026-07-08", "2026-07-10"] {
            sync(&sandbox, &lake, &[kind.flags, &["--lookback", "1d", "--to", to]].concat()).expect_code(0);
        }
        if name == "stops" {
            let report = run(&mut stop_command(&sandbox, &lake, &["GOLDEN-2", "GOLDEN-3"])).expect_code(0).json();
            for number in ["GOLDEN-2", "GOLDEN-3"] {
                assert_eq!(crate::stop::of(&report, number)["outcome"], "stopped", "{report}");
            }
        }
        let compacted = run(program()
            .args(["compact", "--json", "--lake", &lake.text()])
            .args(kind.flags.iter().filter(|flag| **flag == "--single-writer")));
        compacted.expect_code(0);
        verify(&lake);
        for (table, held) in ["purchase_apply", "purchase_apply_detail"].iter().zip(held) {
            let now = rows(&lake, table);
            assert!(held.is_subset(&now), "{name}: {table} keeps its rows");
            assert!(now.len() >= held.len() + 4, "{name}: {table} has new rows");
        }
        let after = contents(&lake);
        for (path, bytes) in &before {
            let may_change = path.starts_with("_lease/");
            assert!(may_change || after.get(path).is_none_or(|now| now == bytes), "{name}: {path} was changed");
            assert!(
                !path.starts_with("_manifest/") || path.contains("/_checkpoint/") || after.contains_key(path),
                "{name}: {path}"
            );
        }
        for manifest in lake.whole_manifests() {
            let errors: Vec<String> = schema.iter_errors(&manifest).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{name}: {manifest}: {errors:?}");
        }
        let old: Vec<&str> = before.keys().map(String::as_str).collect();
        let new: Vec<&str> = after.keys().map(String::as_str).filter(|path| !before.contains_key(*path)).collect();
        assert_same_columns(kind, &old, &lake, &new);
    }
}

/// New files have exactly the columns of the old ones: names, types, field ids, and what stands beside them.
fn assert_same_columns(kind: &Kind, old: &[&str], lake: &LakeDir, new: &[&str]) {
    let parquet = |root: &Path, names: &[&str]| -> Vec<String> {
        let is_data = |name: &&&str| name.ends_with(".parquet") && !name.contains("_delta_log");
        names.iter().filter(is_data).map(|name| root.join(name).to_str().unwrap().to_owned()).collect()
    };
    let (old, new) = (parquet(&root().join(kind.name), old), parquet(&lake.path(), new));
    assert!(!new.is_empty(), "{}", kind.name);
    let job = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(job.path(), json!({"old": old, "new": new}).to_string()).unwrap();
    let said = answer(&mut python::LOCAL.script("golden.py", &["--schemas", job.path().to_str().unwrap()]));
    for (table, new) in said["new"].as_object().unwrap() {
        // A lake without stops has no old file of them.
        let old = &said["old"][table];
        assert!(old == new || (old.is_null() && table == "stop_reference"), "{}: {table}\n{old}\n{new}", kind.name);
    }
}

fn contents(lake: &LakeDir) -> BTreeMap<String, Vec<u8>> {
    lake.files().into_iter().map(|name| (name.clone(), std::fs::read(lake.path().join(name)).unwrap())).collect()
}

/// What engines read of the newest version of each Delta table of a lake is the set that it names.
fn assert_published(lake: &LakeDir) {
    let newest = |table: &&'static str| -> (&'static str, VersionFiles) {
        (*table, expected(lake, table).into_iter().next_back().into_iter().collect())
    };
    let tables: BTreeMap<&str, VersionFiles> = TABLES.iter().map(newest).collect();
    let mut job = ReadingJob::default();
    job.add("lake", &lake.path().canonicalize().unwrap().display().to_string(), lake, &tables);
    let said = job.read(&[&["files"], &READERS[..]].concat(), &[]);
    for reader in READERS {
        assert_eq!(said[reader], said["files"], "{reader}");
    }
}

/// The newest version of each table is the committed set.
fn assert_published_whole(lake: &LakeDir) {
    assert_published(lake);
    for table in TABLES {
        let committed: BTreeSet<PathBuf> = files(lake, table).into_iter().map(PathBuf::from).collect();
        let newest = expected(lake, table).into_values().next_back().unwrap();
        let newest: BTreeSet<PathBuf> = newest.into_iter().map(|path| lake.path().join(path)).collect();
        assert_eq!(newest, committed, "{table}");
    }
}

/// Delta tables of this version are read, and versions are added to them. The last manifest, a compaction, is not
/// published yet.
#[test]
fn delta_tables_of_this_format_are_read_and_go_on() {
    let (kind, lake) = golden_lakes().find(|(kind, _)| kind.name == "published").unwrap();
    assert_published(&lake);
    run(program().args(["publish", "--lake", &lake.text()])).expect_code(0);
    assert_published_whole(&lake);
    let count = || TABLES.map(|table| expected(&lake, table).len());
    let before = count();
    let sandbox = erp_of_new(kind.edition);
    sync(&sandbox, &lake, &[kind.flags, &["--to", "2026-07-08"]].concat()).expect_code(0);
    assert!(count().iter().zip(before).all(|(now, before)| *now == before + 1), "one version more: {before:?}");
    assert_published_whole(&lake);
    verify(&lake);
}

/// From raw responses of this format the same rows come.
#[test]
fn raw_responses_of_this_format_are_replayed() {
    let (_, lake) = golden_lakes().find(|(kind, _)| kind.name == "raw").unwrap();
    let rebuilt = LakeDir::new();
    run(program().args(["replay", "--from-raw", &lake.text(), "--lake", &rebuilt.text()])).expect_code(0);
    verify(&rebuilt);
    assert_eq!(rows(&rebuilt, "purchase_apply").len(), rows(&lake, "purchase_apply").len());
}

/// A quarantined record is read again, and what was expired comes back by a rewalk.
#[test]
fn quarantine_and_expiry_of_this_format_go_on() {
    let (_, lake) = golden_lakes().find(|(kind, _)| kind.name == "quarantined").unwrap();
    let sandbox = erp_of_new(Edition::Enterprise);
    let said = sync(&sandbox, &lake, &["--refresh-quarantined", "--to", "2026-07-05"]).expect_code(0).json();
    assert_eq!(said["rows"]["quarantined"], 0, "the ERP has the record no more: {said}");
    verify(&lake);

    let (_, lake) = golden_lakes().find(|(kind, _)| kind.name == "expired").unwrap();
    let sandbox = erp_of_old(Edition::Enterprise);
    let held = rows(&lake, "purchase_apply").len();
    sync(&sandbox, &lake, &["--rewalk", "2026-05-20..2026-05-31"]).expect_code(0);
    verify(&lake);
    assert!(rows(&lake, "purchase_apply").len() > held);
}
