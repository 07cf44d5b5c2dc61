//! Manifests that are written, read, and refused.

use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;
use crate::land::testing::{sample_manifest, schema_accepts};

fn read(value: &Value) -> Result<Manifest> {
    Manifest::from_bytes(value.to_string().as_bytes(), "_manifest/x")
}

fn read_by((major, minor): (u32, u32), value: &Value) -> Result<Manifest> {
    Manifest::read(value.to_string().as_bytes(), "_manifest/x", FormatVersion { major, minor })
}

fn sample() -> Value {
    serde_json::from_slice(&sample_manifest().to_bytes().expect("valid")).expect("json")
}

#[test]
fn a_manifest_survives_and_fits_its_schema() {
    let manifest = sample_manifest();
    let bytes = manifest.to_bytes().expect("valid");
    assert!(bytes.ends_with(b"}\n"));
    assert_eq!(Manifest::from_bytes(&bytes, "_manifest/x").expect("read"), manifest);
    assert!(schema_accepts(&serde_json::from_slice(&bytes).expect("json")));
}

#[test]
fn our_version_is_strict() {
    for (pointer, value) in [
        ("", json!("more")),
        ("/walk", json!("more")),
        ("/commits/0", json!("more")),
        ("/commits/0/window", json!("more")),
        ("/commits/0/files/0", json!("more")),
        ("/walk/proof", json!(0)),
        ("/account", json!("more")),
    ] {
        let mut odd = sample();
        odd.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object").insert("more".into(), value);
        assert_eq!(read(&odd).expect_err("unknown field").kind(), ErrorKind::Defect, "{pointer}");
        assert!(!schema_accepts(&odd), "{pointer}");
    }
    for (pointer, value) in [
        ("/commits/0/kind", json!("other")),
        ("/commits/0/kind", json!("dance")),
        ("/commits/0/kind", json!("start")),
        ("/commits/0/kind", json!("compaction")),
        ("/commits/0/kind", json!("expire")),
        ("/commits/0/kind", json!("stop_result")),
        ("/created_at", json!("2026-10-01T00:00:00Z")),
        ("/created_at", json!("2026-10-01T00:00:00.5+08:00")),
        ("/format", json!("1.00")),
        ("/number", json!(3)),
        ("/id", json!("x")),
        ("/id", json!("01928000-0000-7000-8000-000000000001")),
        ("/commits/0/id", json!("01928000-0000-7000-8000-000000000001")),
        ("/commits", json!([])),
        ("/commits/0/files/0/rows", json!(0)),
        ("/commits/0/files/0/rows", json!(-1)),
        ("/commits/0/files/0/rows", json!(1.5)),
        ("/commits/0/files/0/path", json!("purchase_apply/account=acme/x.parquet")),
        ("/commits/0/files/0/path", json!("../../etc/passwd")),
        ("/commits/0/files/0/table", json!("purchase_apply_detail")),
        ("/commits/0/files/0/sha256", json!("abc")),
        ("/commits/0/files/0/max_modified", json!("2026-10-20T00:00:00+08:00")),
        ("/commits/0/quarantine/0/path", json!("_quarantine/account=acme/x.jsonl")),
        ("/commits/0/window", Value::Null),
        ("/walk", Value::Null),
        ("/fences", json!(["01928000-0000-7000-8000-000000000001"])),
    ] {
        let mut odd = sample();
        *odd.pointer_mut(pointer).expect("a field") = value.clone();
        assert_eq!(read(&odd).expect_err("a wrong value").kind(), ErrorKind::Defect, "{pointer} {value}");
    }
    let mut reversed = sample();
    reversed["commits"][0]["window"]["end"] = json!("1960-01-01T00:00:00+08:00");
    let error = read(&reversed).expect_err("a window that ends before it starts");
    assert_eq!(error.kind(), ErrorKind::Defect);
    assert!(error.to_string().contains("a window that ends before it starts"), "{error}");
    let mut without = sample();
    without["commits"][0].as_object_mut().expect("an object").remove("window");
    assert_eq!(read(&without).expect_err("a field that is missing").kind(), ErrorKind::Defect);
}

#[test]
fn a_newer_minor_version_is_read_and_a_newer_major_is_not() {
    let mut newer = sample();
    newer["format"] = json!("1.9");
    newer["contract"] = json!("1.3");
    newer["walk"]["window"]["more"] = json!(1);
    newer["more"] = json!({ "x": 1 });
    newer["commits"][0]["kind"] = json!("dance");
    let manifest = read_by((1, 0), &newer).expect("read");
    assert_eq!((manifest.format.minor, manifest.kind()), (9, CommitKind::Other));
    newer["contract"] = json!("2.0");
    assert_eq!(read_by((1, 0), &newer).expect_err("refused").kind(), ErrorKind::Lake);
    newer["format"] = json!("2.0");
    let error = read_by((1, 0), &newer).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Lake);
    assert!(error.hint_text().is_some());
}

#[test]
fn another_major_version_is_refused() {
    assert_eq!(FormatVersion::LAKE.to_string(), "1.0");
    for (field, other) in
        ["format", "contract"].into_iter().flat_map(|field| ["0.9", "0.10", "2.0", "10.0"].map(|other| (field, other)))
    {
        let mut odd = sample();
        odd[field] = json!(other);
        let error = read(&odd).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Lake, "{field} {other}");
        assert!(error.to_string().contains(other) && error.to_string().contains("_manifest/x"), "{error}");
        let hint = error.hint_text().expect("a hint");
        assert!(hint.contains("1.x") && hint.contains("wdt-lake sync") && hint.contains("replay"), "{hint}");
    }
    let version = |major, minor| FormatVersion { major, minor };
    assert!(version(1, 0).reads(version(1, 7)) && version(1, 7).reads(version(1, 0)));
    assert!(!version(1, 0).reads(version(0, 9)) && !version(0, 9).reads(version(0, 10)));
}

/// Names that somebody might put into a manifest; `ours` is the right one.
fn hostile(ours: &str, commit: CommitId) -> Vec<String> {
    let other = CommitId::generate();
    let mut names: Vec<String> = [
        "",
        "/",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "C:\\lake\\x.parquet",
        "_manifest/account=acme/00000000000000000001.json",
        "_lease/account=acme.json",
        "_quarantine/account=acme/",
        "purchase_apply/account=acme/",
        "s3://other/x.parquet",
        "\u{0}",
        "\n",
    ]
    .map(str::to_owned)
    .to_vec();
    names.extend([
        format!("../{ours}"),
        format!("/{ours}"),
        format!("./{ours}"),
        format!("{ours}/"),
        format!("{ours}\u{0}"),
        format!("{ours}\n"),
        format!(" {ours}"),
        format!("{ours}.json"),
        format!("_staging/account=acme/{commit}-1"),
        format!("_manifest/account=acme/00000000000000000001-{commit}.json"),
        format!("_manifest/account=acme/_checkpoint/00000000000000000001-{commit}.json"),
        ours.replace('/', "//"),
        ours.replace('/', "/../account=acme/"),
        ours.replace('/', "/./"),
        ours.replace('/', "\\"),
        ours.replace('/', "%2F"),
        ours.replace("=acme", "%3Dacme"),
        ours.replace("account=acme", "account=acme/../account=other"),
        ours.replace("account=acme", "account=other"),
        ours.replace("account=acme", "account=ACME"),
        ours.replace("account=acme", "account=acme\u{301}"),
        ours.replace("account=acme", "account="),
        ours.replace(&commit.to_string(), &other.to_string()),
        ours.replace(&commit.to_string(), &commit.to_string().to_uppercase()),
        ours.replace("modified_month=", "modified_month=2"),
        ours.to_uppercase(),
    ]);
    names.retain(|name| name != ours);
    names
}

#[test]
fn names_of_objects_are_those_of_the_account_and_commit_in_every_version() {
    let manifest = sample_manifest();
    let layout = Layout::new(manifest.account.name.clone());
    let mut whole: Value = serde_json::from_slice(&manifest.to_bytes().expect("valid")).expect("json");
    let window = whole["walk"]["window"].clone();
    let (path, sha256) = (layout.raw(manifest.id), Sha256::of(b""));
    whole["commits"][0]["raw"] =
        json!([{"path": path, "bytes": 1, "sha256": sha256, "responses": 1, "window": window}]);
    read(&whole).expect("valid");
    // Right in themselves, and each in the place of another.
    const NAMES: [&str; 3] = ["/commits/0/files/0/path", "/commits/0/quarantine/0/path", "/commits/0/raw/0/path"];
    let ours: Vec<String> =
        NAMES.map(|at| whole.pointer(at).and_then(Value::as_str).expect("a name").to_owned()).to_vec();
    let swapped = [&ours[1..], &ours[..2]].concat();
    for pointer in NAMES {
        let own = whole.pointer(pointer).and_then(Value::as_str).expect("a name").to_owned();
        for name in hostile(&own, manifest.id).into_iter().chain(swapped.clone()).filter(|name| *name != own) {
            for (version, format) in [((0, 10), "0.10"), ((1, 0), "1.0"), ((1, 0), "1.4")] {
                let mut odd = whole.clone();
                (odd["format"], odd["contract"]) = (json!(format), json!(format));
                *odd.pointer_mut(pointer).expect("a name") = json!(name);
                let error = read_by(version, &odd).expect_err("refused");
                assert_eq!(error.kind(), ErrorKind::Defect, "{pointer} {name:?} of {format}");
                assert!(!error.to_string().contains('\u{0}') && !error.to_string().contains('\n'), "{error}");
            }
        }
    }
    let mut twice = whole.clone();
    let file = twice["commits"][0]["files"][0].clone();
    twice["commits"][0]["files"].as_array_mut().expect("files").push(file);
    assert!(read(&twice).expect_err("refused").to_string().contains("twice"));
}
