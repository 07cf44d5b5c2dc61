//! What is published as Iceberg tables, read by real readers: every snapshot is the committed set of its manifest. The
//! oracle adds up the manifests itself, and reads the files as plain Parquet.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};
use wdt_lake::sandbox::{Quantity, Sandbox};

use crate::support::delta::{TABLES, committed, requests_of_publishing};
use crate::support::moto::Moto;
use crate::support::{LakeDir, at, copy_folder, erp, program, program_at, python, run, sync};

const READERS: [&str; 4] = ["pyiceberg", "polars", "duckdb", "daft"];

/// A `sync` that publishes, of an account of this name.
fn publishing(sandbox: &Sandbox, lake: &str, account: &str, arguments: &[&str]) -> Command {
    let mut command = program_at(sandbox);
    command.env("WDT_ACCOUNT", account).args(["sync", "--json", "--publish", "iceberg", "--calls-per-minute", "0"]);
    command.args(["--lake", lake]).args(arguments);
    command
}

/// The folder of a table's metadata, relative to the lake.
fn folder(table: &str, account: &str) -> String {
    format!("_iceberg/{table}/account={account}/metadata")
}

/// The newest version of a table's metadata: where it lies, relative to the lake, and what it says.
fn newest(lake: &Path, table: &str, account: &str) -> (String, Value) {
    let folder = folder(table, account);
    let version = std::fs::read_to_string(lake.join(&folder).join("version-hint.text")).unwrap();
    let name = format!("{folder}/v{version}.metadata.json");
    let metadata = serde_json::from_slice(&std::fs::read(lake.join(&name)).unwrap()).unwrap();
    (name, metadata)
}

/// What is to be read of the tables of these accounts: the snapshots that `picks` picks of so many, with the files that
/// they must have. `root` is where readers find the lake.
fn job(lake: &LakeDir, root: &str, accounts: &[&str], picks: impl Fn(usize, usize) -> bool) -> Map<String, Value> {
    let mut tables = Map::new();
    for (table, account) in TABLES.iter().flat_map(|table| accounts.iter().map(move |account| (table, account))) {
        let (name, metadata) = newest(&lake.path(), table, account);
        let all = metadata["snapshots"].as_array().unwrap();
        assert_eq!(all.last().unwrap()["snapshot-id"], metadata["current-snapshot-id"]);
        let mut snapshots = Map::new();
        for (_, snapshot) in all.iter().enumerate().filter(|(nth, _)| picks(*nth, all.len())) {
            let number = snapshot["summary"]["wdt-lake.manifest"].as_str().unwrap().parse().unwrap();
            let files = committed(lake, account, number).remove(*table).unwrap_or_default();
            let absolute: Vec<_> = files.iter().map(|path| lake.path().join(path)).collect();
            snapshots.insert(snapshot["snapshot-id"].to_string(), json!(absolute));
        }
        let metadata = format!("{root}/{name}");
        tables.insert(format!("{table} of {account}"), json!({"metadata": metadata, "snapshots": snapshots}));
    }
    tables
}

/// What each of these readers says, by table and snapshot; all in one process.
fn read(readers: &[&str], tables: &Map<String, Value>, environment: &[(&str, &str)]) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({"readers": readers, "tables": tables}).to_string()).unwrap();
    let mut command = python::EXTENSIONS.script("iceberg.py", &[file.path().to_str().unwrap()]);
    crate::readers::answer(command.envs(environment.iter().copied()))
}

fn edit(sandbox: &Sandbox, day: &str) {
    let numbers: Vec<String> = {
        let world = sandbox.world().lock();
        let near = world.requisitions().filter(|one| one.modified.to_string().starts_with(day));
        near.map(|one| one.purchase_apply_no.to_string()).take(2).collect()
    };
    for number in numbers {
        let modified = at(&format!("{day} 12:00:00"));
        sandbox.world().lock().edit_at(&number, modified, |one| one.details[0].real_num = Quantity::pieces(7));
    }
}

/// Two accounts with edits, refreshes, compactions and an expiry, published all the while, in a folder whose name is
/// not plain.
#[test]
fn every_snapshot_is_the_committed_set_to_real_readers() {
    let (sandbox, lake) = (erp(700, 85, "2026-07-20 23:59:59"), LakeDir::new());
    for day in 1..=12 {
        let to = format!("2026-07-{day:02}");
        let range = ["--from", "2026-04-26", "--to", &to, "--lookback", "2d"];
        run(&mut publishing(&sandbox, &lake.text(), "acme", &range)).expect_code(0);
        edit(&sandbox, &to);
    }
    let range = ["--from", "2026-06-20", "--to", "2026-07-10"];
    run(&mut publishing(&sandbox, &lake.text(), "second", &range)).expect_code(0);
    run(program().args(["expire", "--before", "2026-06", "--yes", "--keep-removed", "7d", "--lake", &lake.text()]))
        .expect_code(0);
    let said = run(program().args(["publish", "--lake", &lake.text()])).expect_code(0).stdout;
    assert!(said.contains("acme: published as Iceberg") && !said.contains("Delta"), "{said}");
    run(program().args(["verify", "--lake", &lake.text()])).expect_code(0);

    let root = format!("file://{}", lake.path().display());
    let picked = |nth: usize, many: usize| nth < 2 || nth == many / 2 || nth + 3 > many;
    let tables = job(&lake, &root, &["acme", "second"], picked);
    let said = read(&[&["files", "pruned"], &READERS[..]].concat(), &tables, &[]);
    for reader in READERS {
        assert_eq!(said[reader], said["files"], "{reader}");
    }
    let headers = &said["files"]["purchase_apply of acme"];
    let rows: Vec<u64> = headers.as_object().unwrap().values().map(|one| one["rows"].as_u64().unwrap()).collect();
    assert!(rows.len() == 5 && rows.iter().max() > Some(&500), "{rows:?}");
    let pruned = said["pruned"]["purchase_apply of acme"].as_array().unwrap();
    assert!(pruned[0].as_u64() < pruned[1].as_u64(), "times in the manifest leave files out: {pruned:?}");

    // Snapshots say what they did: nothing but new rows, or more.
    let (_, metadata) = newest(&lake.path(), "purchase_apply", "acme");
    let operations: Vec<&str> = metadata["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["summary"]["operation"].as_str().unwrap())
        .collect();
    assert!(operations.contains(&"append") && operations.contains(&"overwrite"), "{operations:?}");
    assert_eq!(metadata["properties"]["gc.enabled"], "false", "no program may delete the lake's files");

    // The same lake in a folder of another name is published anew.
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("采购 lake");
    copy_folder(&lake.path(), &moved);
    let uri = moved.to_str().unwrap();
    run(program().args(["verify", "--lake", uri])).expect_code(0);
    run(program().args(["publish", "--lake", uri])).expect_code(0);
    run(program().args(["verify", "--lake", uri])).expect_code(0);
    std::fs::rename(lake.path().join("purchase_apply"), lake.path().join("gone")).unwrap();
    let mut tables = Map::new();
    let mut files = BTreeMap::new();
    for account in ["acme", "second"] {
        let (name, metadata) = newest(&moved, "purchase_apply", account);
        assert_eq!(metadata["snapshots"].as_array().unwrap().len(), 1);
        let held = committed(&lake, account, u64::MAX).remove("purchase_apply").unwrap();
        let absolute: Vec<_> = held.iter().map(|path| moved.join(path)).collect();
        files.insert(account, absolute.len());
        let snapshots = json!({metadata["current-snapshot-id"].to_string(): absolute});
        tables.insert(account.to_owned(), json!({"metadata": format!("file://{uri}/{name}"), "snapshots": snapshots}));
    }
    let said = read(&[&["files"], &READERS[..]].concat(), &tables, &[]);
    for reader in READERS {
        assert_eq!(said[reader], said["files"], "{reader} {files:?}");
    }
}

/// In a bucket of a server that every reader knows how to talk to.
#[test]
fn snapshots_in_a_bucket_are_read_by_real_readers() {
    let (sandbox, moto, twin) = (erp(300, 40, "2026-07-20 23:59:59"), Moto::start(), LakeDir::new());
    let lake = moto.lake("wangdian/lake");
    for to in ["2026-07-01", "2026-07-10"] {
        let range = ["--from", "2026-06-20", "--to", to, "--lookback", "2d", "--compact", "off"];
        run(publishing(&sandbox, &lake, "acme", &range).envs(moto.environment())).expect_code(0);
        run(&mut publishing(&sandbox, &twin.text(), "acme", &range)).expect_code(0);
        edit(&sandbox, to);
    }
    run(program().envs(moto.environment()).args(["verify", "--lake", &lake])).expect_code(0);
    // The same runs on disk have the same rows; which snapshots there are, the bucket says.
    let said = read(
        &["pyiceberg"],
        &job(&twin, &format!("file://{}", twin.path().display()), &["acme"], |nth, many| nth + 1 == many),
        &[],
    );
    let rows_of = |table: &str, said: &Value| -> u64 {
        said["pyiceberg"][table].as_object().unwrap().values().map(|one| one["rows"].as_u64().unwrap()).sum()
    };
    let mut tables = Map::new();
    for table in TABLES {
        let uri = format!("{lake}/{}/v3.metadata.json", folder(table, "acme"));
        tables.insert(table.to_owned(), json!({"metadata": uri, "snapshots": {"0": []}}));
    }
    let said_there = read(&["newest"], &tables, &moto.environment());
    for (table, of) in said_there["newest"].as_object().unwrap() {
        tables[table]["snapshots"] = json!({of["snapshot"].to_string(): []});
        assert_eq!(of["rows"], rows_of(&format!("{table} of acme"), &said), "{table}");
    }
    let said = read(&["pyiceberg", "polars", "duckdb"], &tables, &moto.environment());
    assert!(said["pyiceberg"]["purchase_apply"].to_string().contains("digest"), "{said}");
    assert_eq!((&said["polars"], &said["duckdb"]), (&said["pyiceberg"], &said["pyiceberg"]));
}

/// Publishing twice adds nothing; `status` says how far a table is, `verify` what is wrong with it, and a table that is
/// deleted is published anew.
#[test]
fn a_table_is_checked_and_can_be_published_anew() {
    let (sandbox, lake) = (erp(120, 40, "2026-07-20 23:59:59"), LakeDir::new());
    let range = ["--from", "2026-06-20", "--to", "2026-07-10"];
    let summary = run(&mut publishing(&sandbox, &lake.text(), "acme", &range)).expect_code(0).json();
    let number = lake.manifests().len() as u64;
    let published = &summary["published"][0];
    assert_eq!((&published["format"], &published["manifest"]), (&json!("iceberg"), &json!(number)), "{summary}");
    let publish = || {
        let said = run(program().args(["publish", "--json", "--format", "iceberg", "--lake", &lake.text()]));
        said.expect_code(0).json()["accounts"][0]["published"].clone()
    };
    assert!(publish().as_array().unwrap().iter().all(|table| table["versions_created"] == 0));
    let status = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
    let reached = &status["accounts"][0]["published"];
    assert_eq!(reached.as_array().unwrap().len(), 2, "{reached}");
    assert_eq!((&reached[0]["format"], &reached[0]["manifest"]), (&json!("iceberg"), &json!(number)));
    let text = run(program().args(["status", "--lake", &lake.text()])).expect_code(0).stdout;
    assert!(text.contains("  Iceberg     purchase_apply up to commit"), "{text}");

    let verify = || {
        let said = run(program().args(["verify", "--json", "--lake", &lake.text()]));
        (said.code, said.json()["accounts"][0]["defects"].to_string())
    };
    assert_eq!(verify(), (0, "[]".to_owned()));
    let (name, metadata) = newest(&lake.path(), "purchase_apply", "acme");
    let whole = std::fs::read_to_string(lake.path().join(&name)).unwrap();
    // A table that says it has come further than its files.
    let said = format!("\"wdt-lake.manifest\":\"{number}\"");
    assert!(whole.contains(&said), "{whole}");
    std::fs::write(lake.path().join(&name), whole.replacen(&said, "\"wdt-lake.manifest\":\"1\"", 2)).unwrap();
    let (code, defects) = verify();
    assert!(code == 8 && defects.contains("not committed at manifest 1"), "{defects}");
    std::fs::write(lake.path().join(&name), &whole).unwrap();
    let list = metadata["snapshots"][0]["manifest-list"].as_str().unwrap().strip_prefix("file://").unwrap();
    let held = std::fs::read(list).unwrap();
    std::fs::write(list, &held[..held.len() - 9]).unwrap();
    let (code, defects) = verify();
    assert!(code == 8 && defects.contains("cannot be read") && defects.contains("--format iceberg"), "{defects}");
    std::fs::remove_dir_all(lake.path().join("_iceberg")).unwrap();
    assert!(publish().as_array().unwrap().iter().all(|table| table["versions_created"] == 1));
    assert_eq!(verify(), (0, "[]".to_owned()));
    let (_, anew) = newest(&lake.path(), "purchase_apply", "acme");
    assert_eq!((&anew["table-uuid"], &anew["schemas"]), (&metadata["table-uuid"], &metadata["schemas"]));
}

/// A run that is not told to publish does so before it deletes, and where that fails, nothing is deleted.
#[test]
fn nothing_is_deleted_that_a_table_names() {
    let (sandbox, lake) = (erp(200, 40, "2026-07-20 23:59:59"), LakeDir::new());
    let range = ["--from", "2026-06-20", "--to", "2026-07-10"];
    run(&mut publishing(&sandbox, &lake.text(), "sandbox", &range)).expect_code(0);
    let data = || -> Vec<String> { lake.files().into_iter().filter(|name| name.ends_with(".parquet")).collect() };
    let gone = |before: &[String]| before.iter().filter(|name| !data().contains(name)).count();
    let again = ["--to", "2026-07-10", "--lookback", "5d"];
    edit(&sandbox, "2026-07-08");
    let before = data();
    sync(&sandbox, &lake, &again).expect_code(0);
    assert!(gone(&before) > 0, "the edit replaced files");
    run(program().args(["verify", "--lake", &lake.text()])).expect_code(0);
    let (name, metadata) = newest(&lake.path(), "purchase_apply", "sandbox");
    assert_eq!(metadata["snapshots"].as_array().unwrap().len(), 1, "the snapshot is forgotten whose files are gone");

    let whole = std::fs::read(lake.path().join(&name)).unwrap();
    std::fs::write(lake.path().join(&name), "{").unwrap();
    edit(&sandbox, "2026-07-09");
    let before = data();
    let said = sync(&sandbox, &lake, &again).expect_code(0);
    assert!(said.stderr.contains("are not deleted"), "{}", said.stderr);
    assert_eq!(gone(&before), 0);
    std::fs::write(lake.path().join(&name), whole).unwrap();
    sync(&sandbox, &lake, &["--to", "2026-07-10"]).expect_code(0);
    assert!(gone(&before) > 0, "the next run deletes");
    run(program().args(["verify", "--lake", &lake.text()])).expect_code(0);

    let single = [&range[..], &["--single-writer"]].concat();
    let said = run(&mut publishing(&sandbox, &LakeDir::new().text(), "acme", &single)).expect_code(2);
    assert!(said.stderr.contains("single writer"), "{}", said.stderr);
}

/// Of a run that dies at any step of publishing, the next one makes up for, and clears away what the dead one left.
#[test]
#[cfg(all(unix, debug_assertions))]
fn death_at_every_step_of_publishing_is_survived() {
    let sandbox = erp(60, 10, "2026-07-20 23:59:59");
    let range = ["--from", "2026-07-12", "--to", "2026-07-15"];
    let read = (1..=4).map(|nth| ("publish.read", nth));
    let steps =
        read.chain([("publish.listed", 1), ("publish.listed", 2), ("publish.created", 1), ("publish.created", 2)]);
    for (point, nth) in steps {
        let lake = LakeDir::new();
        let mut dying = publishing(&sandbox, &lake.text(), "acme", &range);
        let said = run(dying.env("WDT_LAKE_FAILPOINT", format!("{point}@{nth}")));
        assert_eq!(said.code, -6, "{point}@{nth} is passed: {said:?}");
        run(&mut publishing(&sandbox, &lake.text(), "acme", &range)).expect_code(0);
        let later = ["--from", "2026-07-12", "--to", "2026-07-17"];
        run(&mut publishing(&sandbox, &lake.text(), "acme", &later)).expect_code(0);
        run(program().args(["verify", "--lake", &lake.text()])).expect_code(0);
        for table in TABLES {
            let (_, metadata) = newest(&lake.path(), table, "acme");
            let snapshots = metadata["snapshots"].as_array().unwrap().len();
            let avro = lake
                .files()
                .iter()
                .filter(|name| name.starts_with(&folder(table, "acme")) && name.ends_with(".avro"))
                .count();
            assert_eq!(avro, 2 * snapshots, "{point}@{nth} {table}");
            assert_eq!(metadata["properties"]["wdt-lake.manifest"], lake.manifests().len().to_string());
        }
    }
}

/// A steady run costs at most fifteen requests a table.
#[test]
fn publishing_costs_few_requests() {
    let mut more = requests_of_publishing("iceberg");
    println!("requests that publishing costs a run: {more:?}");
    more.remove(0);
    more.sort_unstable();
    assert!(more[more.len() / 2] <= 30, "fifteen a table: {more:?}");
}
