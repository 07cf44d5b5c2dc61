//! Every manifest that a run writes validates against the published JSON Schema, and the log is one chain.

use serde_json::{Value, json};
use wdt_lake::sandbox::{Requisition, Status};

use crate::stop::{flagship, partly, stopping};
use crate::support::{LakeDir, erp, run, sync};

fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(include_str!("../schemas/manifest.schema.json")).expect("JSON");
    jsonschema::validator_for(&schema).expect("a JSON Schema")
}

/// Every manifest of a log fits the schema, and their numbers have no gap.
pub(crate) fn assert_follow_their_schema(manifests: &[Value]) {
    let validator = validator();
    for (at, manifest) in manifests.iter().enumerate() {
        let errors: Vec<String> = validator.iter_errors(manifest).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{manifest}: {errors:?}");
        assert_eq!(manifest["number"], at + 1);
    }
}

#[test]
fn manifests_follow_their_schema_and_each_other() {
    let sandbox = erp(900, 60, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &["--from", "2026-05-02", "--to", "2026-06-15"]).expect_code(0);
    // A run that died has left a file: the next one writes a fence.
    let stray = lake.path().join("_quarantine/account=sandbox/01999999-0000-7000-8000-000000000000.jsonl");
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::write(&stray, b"{}\n").unwrap();
    lake.forget_the_end();
    sync(&sandbox, &lake, &["--to", "2026-06-30"]).expect_code(0);
    assert!(!stray.exists());

    let (validator, manifests) = (validator(), lake.manifests());
    assert!(manifests.iter().any(|manifest| manifest["kind"] == "fence"));
    assert!(manifests.iter().any(|manifest| manifest["kind"] == "sync" && !manifest["proof"].is_null()));
    let whole = lake.whole_manifests();
    assert_follow_their_schema(&whole);
    let mut broken = whole[0].clone();
    broken["rows"] = 3.into();
    assert!(!validator.is_valid(&broken), "the schema is strict");
}

#[test]
fn a_stop_says_who_asked_and_what_the_vendor_said() {
    let requisition = Requisition { status: Status::Referenced, ..partly(768, "CG1", 3) };
    let (sandbox, lake) = (flagship(vec![requisition]), LakeDir::new());
    let mut command = stopping(&sandbox, &lake, &["--yes", "CG1"]);
    run(command.env("USER", "li").env_remove("LOGNAME")).expect_code(3);
    let manifests = lake.manifests();
    assert_follow_their_schema(&lake.whole_manifests());
    let by = &manifests[0]["intent"]["by"];
    assert_eq!(by["user"], "li");
    assert!(by["host"].as_str().is_some_and(|host| !host.is_empty()), "{by}");
    let result = &manifests[1]["results"][0];
    assert_eq!((&result["error"], &result["error_code"]), (&json!("采购申请单状态不是部分引用"), &json!(0)));
    assert_eq!(result["order_id"], 768);
}
