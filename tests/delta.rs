//! What is published as Delta tables, read by real readers: every version is the committed set of its manifests, and
//! other programs do not write. The oracle adds up the manifests itself, and reads the files as plain Parquet.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::delta::{
    READERS, ReadingJob, TABLES, VersionFiles, committed, expected, newest_checkpoint, requests_of_publishing, versions,
};
use crate::support::{LakeDir, at, erp, program, program_at, python, run, sync};
use wdt_lake::sandbox::{Quantity, Sandbox};

/// A `sync` that publishes, of an account of this name.
fn publishing(sandbox: &Sandbox, lake: &LakeDir, account: &str, arguments: &[&str]) -> Command {
    let mut command = program_at(sandbox);
    command.env("WDT_ACCOUNT", account).args(["sync", "--json", "--publish", "delta", "--calls-per-minute", "0"]);
    command.args(["--lake", &lake.text()]).args(arguments);
    command
}

/// A lake of two accounts with edits, refreshes, compactions and an expiry, published all the while.
fn published() -> LakeDir {
    let (sandbox, lake) = (erp(900, 85, "2026-07-20 23:59:59"), LakeDir::new());
    let range = ["--from", "2026-04-26", "--to"];
    let mut day = 1;
    while day <= 20 {
        let to = format!("2026-07-{day:02}");
        run(&mut publishing(&sandbox, &lake, "acme", &[&range[..], &[to.as_str()], &["--lookback", "2d"]].concat()))
            .expect_code(0);
        let numbers: Vec<String> = {
            let world = sandbox.world().lock();
            let near = world.requisitions().filter(|one| one.modified.to_string().starts_with(&to));
            near.map(|one| one.purchase_apply_no.to_string()).take(2).collect()
        };
        for number in numbers {
            let modified = at(&format!("{to} 12:00:00"));
            sandbox.world().lock().edit_at(&number, modified, |one| one.details[0].real_num = Quantity::pieces(7));
        }
        day += 1;
    }
    run(&mut publishing(&sandbox, &lake, "second", &["--from", "2026-06-20", "--to", "2026-07-10"])).expect_code(0);
    run(program_at(&sandbox).args([
        "expire",
        "--before",
        "2026-06",
        "--yes",
        "--keep-removed",
        "7d",
        "--lake",
        &lake.text(),
    ]))
    .expect_code(0);
    run(program().args(["publish", "--lake", &lake.text()])).expect_code(0);
    lake
}

/// What deltalake, Polars, DuckDB and Daft read of versions, the newest and those before, is what the files say, in
/// every column of every row; and Sail reads those that it can.
#[test]
fn every_version_is_the_committed_set_to_real_readers() {
    let lake = published();
    let tables: BTreeMap<&str, VersionFiles> = TABLES.iter().map(|table| (*table, expected(&lake, table))).collect();
    assert!(tables.values().all(|versions| versions.len() > 22), "{:?}", tables["purchase_apply"].keys());
    // Every version costs each reader some time: the first, the newest, and some between.
    let picked = |versions: &VersionFiles| -> VersionFiles {
        let newest = versions.len() as u64 - 1;
        let wanted = [0, 1, 2, 7, 13, 19, 20, 21, newest - 2, newest - 1, newest];
        versions.iter().filter(|(version, _)| wanted.contains(version)).map(|(v, files)| (*v, files.clone())).collect()
    };
    let picked: BTreeMap<&str, VersionFiles> = tables.iter().map(|(table, all)| (*table, picked(all))).collect();
    let root = lake.path().canonicalize().unwrap().display().to_string();
    let mut job = ReadingJob::default();
    job.add("lake", &root, &lake, &picked);
    let said = job.read(&[&["files", "refused"], &READERS[..]].concat(), &[]);
    let newest = (tables["purchase_apply"].len() - 1).to_string();
    assert!(said["files"]["lake"]["purchase_apply"][&newest]["rows"].as_u64().unwrap() > 100, "{}", said["files"]);
    for reader in READERS {
        assert_eq!(said[reader], said["files"], "{reader}");
    }
    for (table, attempts) in said["refused"]["lake"].as_object().unwrap() {
        for (attempt, said) in attempts.as_object().unwrap() {
            assert!(said.as_str().is_some_and(|said| said.contains("wdtLakePublisher")), "{table} {attempt}: {said}");
        }
    }

    // Sail 0.7 reads no older version than the newest checkpoint, of whatever writer's table: see docs/readers.md.
    let (mut job, mut read) = (ReadingJob::default(), 0);
    for (table, all) in &tables {
        let checkpoint = newest_checkpoint(&lake, table).expect("a checkpoint");
        let since: VersionFiles = all.range(checkpoint..).map(|(version, files)| (*version, files.clone())).collect();
        read += since.len();
        job.add(table, &root, &lake, &BTreeMap::from([(*table, since)]));
    }
    let said = job.read(&["files", "sail"], &[]);
    assert_eq!(said["sail"], said["files"]);
    assert!(read > 4, "{read}");
    run(program().args(["verify", "--lake", &lake.text()])).expect_code(0);
}

/// Publishing twice adds nothing. A table that is deleted and published anew is the same one. `status` says how far it
/// is, and `verify` what is wrong with it.
#[test]
fn a_table_can_be_published_anew() {
    let (sandbox, lake) = (erp(200, 40, "2026-07-20 23:59:59"), LakeDir::new());
    let said = run(&mut publishing(&sandbox, &lake, "acme", &["--from", "2026-06-20", "--to", "2026-07-10"]));
    let summary = said.expect_code(0).json();
    let number = lake.manifests().len() as u64;
    assert_eq!(summary["published"][0]["manifest"], number, "{summary}");
    let before: Vec<Vec<Vec<Value>>> = TABLES.iter().map(|table| versions(&lake, table)).collect();
    let publish = || run(program().args(["publish", "--json", "--lake", &lake.text()])).expect_code(0).json();
    for table in publish()["accounts"][0]["published"].as_array().unwrap() {
        assert_eq!(table["versions_created"], 0, "{table}");
    }
    assert_eq!(TABLES.iter().map(|table| versions(&lake, table)).collect::<Vec<_>>(), before);
    let status = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
    assert_eq!(status["accounts"][0]["published"][0]["manifest"], number, "{status}");
    assert_eq!(status["accounts"][0]["untracked"], json!([]));

    for table in TABLES {
        std::fs::remove_dir_all(lake.path().join(table).join("_delta_log")).unwrap();
    }
    publish();
    let active = |all: &[Vec<Value>]| -> BTreeSet<String> {
        let adds = all.iter().flatten().filter_map(|action| action["add"]["path"].as_str());
        adds.map(str::to_owned).collect()
    };
    for (table, before) in TABLES.iter().zip(&before) {
        let anew = versions(&lake, table);
        assert_eq!(active(&anew), active(before));
        assert_eq!(anew[0], before[0], "the id, the schema and the protocol");
    }
    let verify = || run(program().args(["verify", "--json", "--lake", &lake.text()]));
    verify().expect_code(0);

    // A file that no manifest names, and one that is not named.
    let version = lake.path().join("purchase_apply/_delta_log/00000000000000000001.json");
    let text = std::fs::read_to_string(&version).unwrap();
    std::fs::write(&version, text.replacen("modified_month=2026-06/", "modified_month=2026-05/", 1)).unwrap();
    let defects = verify().expect_code(8).json()["accounts"][0]["defects"].to_string();
    assert!(defects.contains("which is not committed") && defects.contains("lacks"), "{defects}");
}

/// A run that is not told to publish does so before it deletes, where a table stands; and where publishing fails,
/// nothing is deleted.
#[test]
fn nothing_is_deleted_that_a_table_names() {
    let (sandbox, lake) = (erp(200, 40, "2026-07-20 23:59:59"), LakeDir::new());
    let range = ["--from", "2026-06-20", "--to", "2026-07-10"];
    run(&mut publishing(&sandbox, &lake, "sandbox", &range)).expect_code(0);
    let edit = |text: &str, pieces: i64| {
        let number = {
            let world = sandbox.world().lock();
            world
                .requisitions()
                .find(|one| one.modified <= at("2026-07-08 00:00:00"))
                .unwrap()
                .purchase_apply_no
                .to_string()
        };
        sandbox.world().lock().edit_at(&number, at(text), |one| {
            one.details[0].real_num = Quantity::pieces(pieces);
        });
    };
    let active = |table: &str| {
        let mut active = BTreeSet::new();
        for action in versions(&lake, table).into_iter().flatten() {
            if let Some(path) = action["remove"]["path"].as_str() {
                active.remove(path);
            }
            active.extend(action["add"]["path"].as_str().map(str::to_owned));
        }
        active
    };
    let all_are_there = || {
        for table in TABLES {
            for path in active(table) {
                assert!(lake.path().join(table).join(&path).exists(), "{table}/{path}");
            }
        }
    };
    edit("2026-07-09 10:00:00", 5);
    let before = active("purchase_apply");
    sync(&sandbox, &lake, &["--to", "2026-07-10", "--lookback", "5d"]).expect_code(0);
    all_are_there();
    assert_ne!(active("purchase_apply"), before, "what was deleted was published as removed");
    assert!(before.iter().any(|path| !lake.path().join("purchase_apply").join(path).exists()), "something was deleted");

    // A version that cannot be read.
    let log = lake.path().join("purchase_apply/_delta_log");
    let newest = log.join(format!("{:020}.json", versions(&lake, "purchase_apply").len() - 1));
    let (whole, held) = (std::fs::read(&newest).unwrap(), active("purchase_apply"));
    std::fs::write(&newest, "{").unwrap();
    edit("2026-07-09 11:00:00", 6);
    let said = sync(&sandbox, &lake, &["--to", "2026-07-10", "--lookback", "5d"]).expect_code(0);
    assert!(said.stderr.contains("are not deleted"), "{}", said.stderr);
    assert!(held.iter().all(|path| lake.path().join("purchase_apply").join(path).exists()), "nothing was deleted");
    std::fs::write(&newest, whole).unwrap();
    sync(&sandbox, &lake, &["--to", "2026-07-10"]).expect_code(0);
    all_are_there();
    assert!(held.iter().any(|path| !lake.path().join("purchase_apply").join(path).exists()), "the next run deletes");
    run(program().args(["verify", "--lake", &lake.text()])).expect_code(0);
}

/// Nothing is published where versions could take the place of others, nor over another program's table.
#[test]
fn what_cannot_be_published_is_refused() {
    let (sandbox, lake) = (erp(60, 10, "2026-07-20 23:59:59"), LakeDir::new());
    let range = ["--from", "2026-07-12", "--to", "2026-07-15"];
    let single = [&range[..], &["--single-writer"]].concat();
    let said = run(&mut publishing(&sandbox, &lake, "acme", &single)).expect_code(2);
    assert!(said.stderr.contains("single writer") && said.stderr.contains("creates an object only where"), "{said:?}");

    let log = lake.path().join("purchase_apply/_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let foreign = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#;
    std::fs::write(log.join("00000000000000000000.json"), foreign).unwrap();
    let said = run(&mut publishing(&sandbox, &lake, "acme", &range)).expect_code(2);
    assert!(said.stderr.contains("another program keeps a Delta table"), "{}", said.stderr);
    assert_eq!(std::fs::read_to_string(log.join("00000000000000000000.json")).unwrap(), foreign);
}

/// A table that is ahead of the commit log, or that does not begin with its first version, is no guide: nothing is
/// published on top of it, and nothing that it may name is deleted.
#[test]
fn a_table_that_does_not_fit_the_log_is_named_and_nothing_is_deleted() {
    let (sandbox, lake) = (erp(60, 10, "2026-07-20 23:59:59"), LakeDir::new());
    for to in ["2026-07-13", "2026-07-14", "2026-07-15", "2026-07-17", "2026-07-18", "2026-07-20"] {
        let range = ["--from", "2026-07-12", "--to", to, "--compact", "off"];
        run(&mut publishing(&sandbox, &lake, "acme", &range)).expect_code(0);
    }
    let beheaded = lake.copy();
    std::fs::remove_file(beheaded.path().join("purchase_apply/_delta_log/00000000000000000000.json")).unwrap();
    let data = |lake: &LakeDir| -> Vec<String> {
        lake.files().into_iter().filter(|name| name.ends_with(".parquet") && !name.contains("_delta_log")).collect()
    };
    let sound = lake.copy();
    let before = data(&beheaded);
    let compact = |lake: &LakeDir| {
        let said = run(program().args(["compact", "--json", "--keep-removed", "0s", "--lake", &lake.text()]));
        assert_eq!(said.expect_code(0).json()["accounts"][0]["into"], 1);
        let after = data(lake);
        before.iter().filter(|name| !after.contains(name)).count()
    };
    assert!(compact(&sound) > 0, "a table that is whole is published first, and then files go");
    assert_eq!(compact(&beheaded), 0, "nothing is deleted that the table may name");
    let said = run(program().args(["verify", "--lake", &beheaded.text()])).expect_code(8);
    assert!(said.stdout.contains("_delta_log") || said.stderr.contains("_delta_log"), "{said:?}");

    let newest = lake.files().into_iter().rfind(|name| name.starts_with("_manifest/account=acme/0")).unwrap();
    std::fs::remove_file(lake.path().join(newest)).unwrap();
    lake.forget_the_end();
    let said = run(program().args(["publish", "--lake", &lake.text()])).expect_code(8);
    assert!(said.stderr.contains("ahead of the commit log"), "{said:?}");
}

/// Of a run that dies at any step of publishing, the next one makes up for.
#[test]
#[cfg(all(unix, debug_assertions))]
fn death_at_every_step_of_publishing_is_survived() {
    let sandbox = erp(120, 40, "2026-07-20 23:59:59");
    let range = ["--from", "2026-06-20", "--to", "2026-07-10"];
    let read = (1..=4).map(|nth| ("publish.read", nth));
    let steps = read.chain([("publish.created", 1), ("publish.created", 2)]);
    for (point, nth) in steps.chain([("create.staged", 2), ("create.published", 3)]) {
        let lake = LakeDir::new();
        let mut dying = publishing(&sandbox, &lake, "acme", &range);
        let said = run(dying.env("WDT_LAKE_FAILPOINT", format!("{point}@{nth}")));
        assert_eq!(said.code, -6, "{point}@{nth} is passed: {said:?}");
        run(&mut publishing(&sandbox, &lake, "acme", &range)).expect_code(0);
        for table in TABLES {
            let newest = expected(&lake, table).pop_last().unwrap();
            let held = committed(&lake, "acme", u64::MAX).remove(table).unwrap();
            assert_eq!(newest.1.len(), held.len(), "{point}@{nth} {table}");
        }
        run(program().args(["verify", "--lake", &lake.text()])).expect_code(0);
    }
}

/// A steady run costs at most three requests a table.
#[test]
fn publishing_costs_few_requests() {
    let mut more = requests_of_publishing("delta");
    println!("requests that publishing costs a run: {more:?}");
    more.remove(0);
    more.sort_unstable();
    assert!(more[more.len() / 2] <= 6, "three a table: {more:?}");
}

/// A later contract has a column more. How that is published is tried by a unit test (`pipeline/publish/tests.rs`);
/// here its form is put beside a published table, with one file that has the column, and every reader reads it as one
/// table.
#[test]
fn a_column_of_a_later_contract_is_read_by_real_readers() {
    const TABLE: &str = "purchase_apply";
    let (sandbox, lake) = (erp(120, 40, "2026-07-20 23:59:59"), LakeDir::new());
    run(&mut publishing(&sandbox, &lake, "acme", &["--from", "2026-06-20", "--to", "2026-07-10"])).expect_code(0);
    let before = versions(&lake, TABLE);
    let evolved = crate::readers::answer(&mut python::LOCAL.script("evolve.py", &["duckdb", &lake.text()]));
    assert!(evolved["added"].as_u64() > Some(0), "{evolved}");
    let size_of = |add: &Value| {
        let path = lake.path().join(TABLE).join(add["path"].as_str().unwrap());
        std::fs::metadata(path).unwrap().len()
    };
    let adds = before.iter().flatten().map(|action| &action["add"]).filter(|add| add.is_object());
    let mut add = adds.clone().find(|add| add["size"] != size_of(add)).expect("the file that was written anew").clone();
    let mut metadata = before[0].iter().find_map(|action| action.get("metaData")).unwrap().clone();
    let mut schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    let place = fields.iter().position(|field| field["name"] == "_commit_id").unwrap();
    fields.insert(place, json!({"name": "urgency", "type": "integer", "nullable": true, "metadata": {}}));
    metadata["schemaString"] = schema.to_string().into();
    let remove = json!({"path": add["path"], "deletionTimestamp": 1, "dataChange": false});
    add["size"] = size_of(&add).into();
    let next = [vec![json!({"metaData": metadata}), json!({"remove": remove})], vec![json!({"add": add})]];
    for (version, actions) in (before.len()..).zip(next) {
        let lines: Vec<String> = actions.iter().map(Value::to_string).collect();
        let path = lake.path().join(format!("{TABLE}/_delta_log/{version:020}.json"));
        std::fs::write(path, lines.join("\n")).unwrap();
    }
    let files: BTreeSet<String> = adds.map(|add| format!("{TABLE}/{}", add["path"].as_str().unwrap())).collect();
    let newest = before.len() as u64 + 1;
    let mut job = ReadingJob::default();
    job.add("lake", &lake.text(), &lake, &BTreeMap::from([(TABLE, BTreeMap::from([(newest, files)]))]));
    let said = job.read(&[&["files", "sail"], &READERS[..]].concat(), &[]);
    assert_eq!(said["files"]["lake"][TABLE][newest.to_string()]["columns"]["urgency"], "int32");
    for reader in READERS.into_iter().chain(["sail"]) {
        assert_eq!(said[reader], said["files"], "{reader}");
    }
}
