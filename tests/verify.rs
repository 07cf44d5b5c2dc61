//! `verify`: a healthy lake passes, and every kind of damage is found, named and told what to do about.

use std::path::PathBuf;

use serde_json::Value;
use wdt_lake::sandbox::{Quantity, Requisition};

use crate::support::{LakeDir, Said, at, erp, program, run, sync};

/// A lake of several commits, some of them with quarantined records.
fn lake() -> LakeDir {
    let sandbox = erp(600, 60, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    {
        let mut world = sandbox.world().lock();
        let number = world.requisitions().next().unwrap().purchase_apply_no.clone();
        let modified = at("2026-05-20 12:00:00");
        world.edit_at(&number, modified, |requisition| requisition.send_raw("real_num", "\"1.23456\""));
    }
    sync(&sandbox, &lake, &["--from", "2026-05-02", "--to", "2026-05-31"]).expect_code(3);
    sync(&sandbox, &lake, &["--to", "2026-06-10"]).expect_code(0);
    sync(&sandbox, &lake, &["--to", "2026-06-30"]).expect_code(0);
    lake
}

fn verify(lake: &LakeDir, arguments: &[&str]) -> Said {
    run(program().args(["verify", "--lake", &lake.text()]).args(arguments))
}

/// The path of the first object whose name starts and ends like this.
fn object(lake: &LakeDir, start: &str, end: &str) -> PathBuf {
    let files = lake.files();
    let name = files.iter().find(|name| name.starts_with(start) && name.ends_with(end));
    lake.path().join(name.unwrap_or_else(|| panic!("no {start}...{end}: {files:?}")))
}

fn manifest(lake: &LakeDir, number: u64) -> PathBuf {
    lake.path().join(format!("_manifest/account=sandbox/{:016}/{number:020}.json", number / 10_000))
}

/// Edits the text of a manifest.
fn edit(path: &PathBuf, change: impl FnOnce(&mut Value)) {
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut manifest);
    std::fs::write(path, format!("{manifest}\n")).unwrap();
}

/// Both forms of the answer find a defect of exactly this object, with `word` in what is wrong, one a line, with a
/// remedy. Gives the number of defects.
#[track_caller]
fn assert_found(lake: &LakeDir, object: &std::path::Path, word: &str) -> usize {
    let object = lake.path().canonicalize().unwrap().join(object.strip_prefix(lake.path()).unwrap());
    let object = object.to_str().unwrap();
    let text = verify(lake, &[]).expect_code(8);
    let line = text.stdout.lines().find(|line| line.contains(object) && line.contains(word));
    let line = line.unwrap_or_else(|| panic!("no `{word}` of {object}:\n{}", text.stdout));
    assert!(line.contains("restore") || line.contains("report it"), "{line}");
    let json = verify(lake, &["--json", "--deep"]).expect_code(8).json();
    assert_eq!(json["exit_code"], 8);
    let defects = json["accounts"][0]["defects"].as_array().unwrap();
    assert!(
        defects.iter().any(|defect| defect["object"] == object && defect["what"].as_str().unwrap().contains(word)),
        "{json}"
    );
    defects.len()
}

#[test]
fn a_healthy_lake_has_no_defect() {
    let lake = lake();
    let before = lake.files();
    let said = verify(&lake, &[]).expect_code(0);
    assert!(said.stdout.starts_with("sandbox: no defect\n") && said.stderr.is_empty(), "{said:?}");
    let json = verify(&lake, &["--json", "--deep"]).expect_code(0).json();
    let account = &json["accounts"][0];
    assert_eq!((&account["rows"]["purchase_apply"], &account["rows"]["quarantined"]), (&599.into(), &1.into()));
    assert_eq!(account["manifests"], lake.manifests().len());
    assert_eq!(
        (&account["notes"], &account["total_mismatches"]["count"]),
        (&Value::Array(vec![]), &0.into()),
        "{account}"
    );
    assert_eq!(lake.files(), before, "verify only reads");
    verify(&lake, &["--account", "nobody"]).expect_code(2);
    let empty = LakeDir::new();
    std::fs::create_dir_all(empty.path()).unwrap();
    assert_eq!(verify(&empty, &[]).expect_code(0).stdout, "the lake is empty\n");
}

#[test]
fn a_refreshed_lake_has_no_defect() {
    let sandbox = erp(300, 20, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &["--from", "2026-06-01", "--to", "2026-06-30"]).expect_code(0);
    {
        let mut world = sandbox.world().lock();
        let numbers: Vec<_> = world.requisitions().map(|one| one.purchase_apply_no.clone()).take(30).collect();
        for number in numbers {
            world.edit_at(&number, at("2026-07-01 10:00:00"), |requisition| requisition.remark = "late".into());
        }
        world.add_as_is(Requisition::plain(8_000_001, "LATE", at("2026-06-20 00:00:00")));
    }
    sync(&sandbox, &lake, &["--to", "2026-07-02", "--lookback", "30d"]).expect_code(0);
    let manifests = lake.manifests();
    assert!(manifests.iter().any(|manifest| manifest["proof"]["rows_carried"].as_u64() > Some(0)), "{manifests:?}");
    verify(&lake, &["--deep"]).expect_code(0);
}

#[test]
fn a_flipped_byte_is_found() {
    let lake = lake();
    let path = object(&lake, "purchase_apply_detail/", ".parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(assert_found(&lake, &path, "its bytes were changed"), 1, "one cause, one defect");
}

#[test]
fn a_missing_file_is_found() {
    let lake = lake();
    let path = object(&lake, "purchase_apply/", ".parquet");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(assert_found(&lake, &path, "is missing"), 1);
}

#[test]
fn a_truncated_quarantine_is_found() {
    let lake = lake();
    let path = object(&lake, "_quarantine/", ".jsonl");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(assert_found(&lake, &path, "bytes, manifest"), 1);
}

#[test]
fn swapped_files_are_found() {
    let lake = lake();
    let names = lake.files();
    let headers: Vec<PathBuf> =
        names.iter().filter(|name| name.starts_with("purchase_apply/")).map(|name| lake.path().join(name)).collect();
    let (first, second) = (std::fs::read(&headers[0]).unwrap(), std::fs::read(&headers[1]).unwrap());
    std::fs::write(&headers[0], second).unwrap();
    std::fs::write(&headers[1], first).unwrap();
    assert_found(&lake, &headers[0], "manifest");
    assert_eq!(assert_found(&lake, &headers[1], "manifest"), 2, "both are listed");
}

#[test]
fn an_edited_manifest_is_found() {
    let lake = lake();
    let path = manifest(&lake, 1);
    edit(&path, |manifest| manifest["walk"]["proof"]["calls"] = 77.into());
    assert_eq!(assert_found(&lake, &path, "its successor"), 1);
    // Nobody vouches for the newest one, but what it says of rows must hold.
    let lake = self::lake();
    let path = manifest(&lake, lake.manifests().len() as u64);
    edit(&path, |manifest| manifest["walk"]["proof"]["rows_landed"] = 1.into());
    assert_found(&lake, &path, "its proof counts 1");
    let lake = self::lake();
    let path = manifest(&lake, lake.manifests().len() as u64);
    edit(&path, |manifest| manifest["commits"][0]["files"][0]["rows"] = 1.into());
    assert_found(
        &lake,
        &lake.path().join(lake.manifests().last().unwrap()["files"][0]["path"].as_str().unwrap()),
        "its manifest says 1",
    );
    let lake = self::lake();
    let path = manifest(&lake, 2);
    edit(&path, |manifest| manifest["surplus"] = 1.into());
    assert_found(&lake, &path, "fields or values that format 1.0 does not have");
}

#[test]
fn a_manifest_that_overlaps_is_found() {
    let lake = lake();
    let number = lake.manifests().len() as u64;
    let path = manifest(&lake, number);
    edit(&path, |manifest| {
        let start = Value::from("2026-06-01T00:00:00+08:00");
        manifest["walk"]["window"]["start"] = start.clone();
        manifest["commits"][0]["window"]["start"] = start;
    });
    assert_found(&lake, &path, "is already committed");
}

#[test]
fn a_removed_manifest_is_found() {
    let lake = lake();
    let path = manifest(&lake, 2);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_found(&lake, &path, "is missing from the commit log");
    // A manifest of another number in its place.
    std::fs::copy(manifest(&lake, 3), &path).unwrap();
    assert_found(&lake, &path, "says that it is number 3");
    std::fs::write(&path, bytes).unwrap();
    verify(&lake, &[]).expect_code(0);
    // Without the newest one the chain is whole, and its files look like unfinished work: that is noted.
    std::fs::remove_file(manifest(&lake, lake.manifests().len() as u64)).unwrap();
    let said = verify(&lake, &[]).expect_code(0);
    assert!(said.stdout.contains("the newest manifests were removed"), "{}", said.stdout);
    std::fs::remove_dir_all(lake.path().join("_manifest")).unwrap();
    let said = verify(&lake, &[]).expect_code(0);
    assert!(said.stdout.contains("that no manifest names"), "{}", said.stdout);
}

#[test]
fn a_gap_of_numbers_is_found() {
    let lake = lake();
    let manifests = lake.manifests().len() as u64;
    std::fs::create_dir_all(manifest(&lake, 99_999_999).parent().unwrap()).unwrap();
    std::fs::copy(manifest(&lake, manifests), manifest(&lake, 99_999_999)).unwrap();
    let first_missing = manifest(&lake, manifests + 1);
    assert_found(&lake, &first_missing, "and those up to number 99999998 are missing");
}

#[test]
fn total_mismatches_are_reported_and_no_defect() {
    let sandbox = erp(20, 5, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    let number = {
        let mut world = sandbox.world().lock();
        let number = world.requisitions().find(|one| !one.details.is_empty()).unwrap().purchase_apply_no.clone();
        let modified = at("2026-06-29 10:00:00");
        world.edit_at(&number, modified, |requisition| requisition.real_num = Quantity(requisition.real_num.0 + 5));
        number.to_string()
    };
    sync(&sandbox, &lake, &["--from", "2026-06-01", "--to", "2026-06-30"]).expect_code(0);
    let json = verify(&lake, &["--deep", "--json"]).expect_code(0).json();
    let uneven = &json["accounts"][0]["total_mismatches"];
    assert_eq!((&uneven["count"], &uneven["first"][0]["purchase_apply_no"]), (&1.into(), &number.as_str().into()));
    assert_eq!(uneven["first"][0]["column"], "real_num");
    let text = verify(&lake, &["--deep"]).expect_code(0).stdout;
    assert!(text.contains("1 sum whose header and details disagree") && text.contains(&number), "{text}");
    assert!(verify(&lake, &["--json"]).expect_code(0).json()["accounts"][0]["total_mismatches"].is_null());
}

/// Whoever reads a table by a glob reads every Parquet file below its folder.
#[test]
fn parquet_files_that_are_not_the_lakes_are_found() {
    let lake = lake();
    let sound = std::fs::read(object(&lake, "purchase_apply/", ".parquet")).unwrap();
    let put = |name: &str| {
        let path = lake.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &sound).unwrap();
        path
    };
    let own = object(&lake, "purchase_apply/", ".parquet");
    let own = own.strip_prefix(lake.path()).unwrap().to_str().unwrap();
    let found = |path: &std::path::Path, place: &str| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = verify(&lake, &[]).expect_code(8).stdout;
        assert!(text.lines().any(|line| line.contains(name) && line.contains("move it out")), "{text}");
        let json = verify(&lake, &["--json"]).expect_code(8).json();
        let defects = json.pointer(place).and_then(Value::as_array).unwrap();
        assert!(defects.len() == 1 && defects[0]["object"].as_str().unwrap().ends_with(name), "{json}");
    };
    for name in ["purchase_apply/account=sandbox/backup.parquet", &own.replace(".parquet", "-7.parquet")] {
        let path = put(name);
        found(&path, "/accounts/0/defects");
        std::fs::remove_file(path).unwrap();
    }
    let path = put("purchase_apply_detail/part-0001.parquet");
    found(&path, "/defects");
    verify(&lake, &["--account", "sandbox"]).expect_code(0);
    std::fs::remove_file(path).unwrap();
    // Those of Delta that no glob takes for rows, and what has no such name.
    run(program().args(["publish", "--lake", &lake.text()])).expect_code(0);
    put("purchase_apply/_delta_log/_sidecars/part-0001.parquet");
    put("purchase_apply/account=sandbox/notes.txt");
    verify(&lake, &[]).expect_code(0);
    // Of an id that no manifest knows: a run is at work, or the next one clears it away.
    let live = lake.manifests()[0]["commit"].as_str().unwrap().to_owned();
    let commit =
        lake.manifests().iter().map(|one| one["commit"].as_str().unwrap().to_owned()).find(|id| own.contains(id));
    let unfinished = put(&own.replace(&commit.unwrap_or(live), "01999999-0000-7000-8000-000000000000"));
    let said = verify(&lake, &[]).expect_code(0);
    assert!(said.stdout.contains("note") && said.stdout.contains("the next `wdt-lake sync` clears"), "{}", said.stdout);
    let json = verify(&lake, &["--json"]).expect_code(0).json();
    assert_eq!(json["accounts"][0]["notes"].as_array().map(Vec::len), Some(1), "{json}");
    assert!(unfinished.exists(), "verify only reads");
}
