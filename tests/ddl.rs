//! The statements of `wdt-lake schema --format ENGINE` make the tables of a lake known to that engine: run in DuckDB,
//! ClickHouse and Spark, which must read what the manifests count, and compared with what was written down for engines
//! that no test can run.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::{LakeDir, copy_folder, erp, program, python, run, sync};

fn statements(format: &str, lake: &LakeDir) -> String {
    run(program().args(["schema", "--format", format, "--lake", &lake.text()])).expect_code(0).stdout
}

/// What an engine says of the tables that the statements of `format` make.
fn made(format: &str, lake: &LakeDir) -> Value {
    let (script, folder) = (tempfile::NamedTempFile::new().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(script.path(), statements(format, lake)).unwrap();
    let paths = [script.path(), folder.path()].map(|path| path.to_str().unwrap());
    let said = run(&mut python::LOCAL.script("ddl.py", &[format, paths[0], paths[1]]));
    assert_eq!(said.code, 0, "{format}: {}", said.stderr);
    serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap()
}

fn lake() -> LakeDir {
    let (sandbox, lake) = (erp(300, 70, "2026-07-20 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &["--from", "2026-05-10", "--to", "2026-07-20"]).expect_code(0);
    lake
}

/// The manifests' rows and the types of the engine; all engines agree on sums and instants.
fn assert_made(format: &str, lake: &LakeDir, types: &Value, before: Option<&Value>) -> Value {
    let said = made(format, lake);
    let status = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
    for table in ["purchase_apply", "purchase_apply_detail"] {
        assert_eq!(said[table]["rows"], status["accounts"][0]["rows"][table], "{format}: {table}");
        for part in ["sums", "instants"] {
            let wanted = before.map_or(&said[table][part], |before| &before[table][part]);
            assert_eq!(&said[table][part], wanted, "{format}: {part} of {table}");
        }
    }
    assert_eq!(&said["purchase_apply"]["types"], types, "{format}");
    assert!(said["comment"].as_str().unwrap().starts_with("Quantity applied for"), "{format}: {}", said["comment"]);
    said
}

#[test]
fn duckdb_and_clickhouse_read_the_tables_that_their_statements_make() {
    let lake = lake();
    let duckdb = json!({
        "apply_id": "BIGINT", "status": "SMALLINT", "detail_count": "INTEGER", "purchase_apply_no": "VARCHAR",
        "real_num": "DECIMAL(19,4)", "modified": "TIMESTAMP WITH TIME ZONE", "account": "VARCHAR", "modified_month": "VARCHAR",
    });
    let said = assert_made("duckdb", &lake, &duckdb, None);
    let clickhouse = json!({
        "apply_id": "Nullable(Int64)", "status": "Int16", "detail_count": "Nullable(Int32)", "purchase_apply_no": "String",
        "real_num": "Nullable(Decimal(19, 4))", "modified": "DateTime64(6, 'Asia/Shanghai')", "account": "String",
        "modified_month": "String",
    });
    assert_made("clickhouse", &lake, &clickhouse, Some(&said));
}

/// Java 17 is a prerequisite of this test, as of the other one of Spark.
#[test]
fn spark_reads_the_tables_of_the_statements_for_spark_and_for_hive() {
    if !python::has_java() {
        let said = "\n*** NOT TESTED: the statements for Spark and Hive. There is no `java` (17 or later) on this machine. ***\n\n";
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return;
    }
    let lake = lake();
    let types = json!({
        "apply_id": "bigint", "status": "smallint", "detail_count": "int", "purchase_apply_no": "string",
        "real_num": "decimal(19,4)", "modified": "timestamp", "account": "string", "modified_month": "string",
    });
    let spark = assert_made("spark", &lake, &types, None);
    let hive = assert_made("hive", &lake, &types, Some(&spark));
    let months = ["2026-05", "2026-06", "2026-07"].map(|month| format!("account=sandbox/modified_month={month}"));
    assert_eq!((&spark["partitions"], &hive["partitions"]), (&json!(months), &json!(months)));
}

/// No test can run these engines. The statements follow the pages that docs/readers.md names.
#[test]
fn statements_for_hive_starrocks_and_maxcompute_are_as_documented() {
    for format in ["hive", "starrocks", "maxcompute"] {
        let mut schema = program();
        schema.args(["schema", "purchase_apply", "--format", format, "--lake", "s3://bucket/lake"]);
        schema.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x").env("AWS_REGION", "x");
        insta::assert_snapshot!(format!("statements_for_{format}"), run(&mut schema).expect_code(0).stdout);
    }
}

#[test]
fn the_contract_is_shown_for_one_table_or_for_all() {
    let text = |more: &[&str]| run(program().arg("schema").args(more)).expect_code(0).stdout;
    let (all, one) = (text(&[]), text(&["purchase_apply_detail"]));
    assert!(all.contains(one.trim_end()) && one.starts_with("purchase_apply_detail\n") && !one.contains("outcome"));
    let json: Value = serde_json::from_str(&text(&["stop_reference", "--format", "json"])).unwrap();
    assert_eq!(json["tables"][0]["table"], "stop_reference");
    let refused = |more: &[&str]| run(program().arg("schema").args(more)).expect_code(2).stderr;
    assert!(refused(&["orders"]).contains("hint: the tables are `purchase_apply`"));
    assert!(refused(&["--format", "hive"]).contains("hint: give the lake with --lake"));
    assert!(refused(&["--lake", "x"]).contains("hint: leave --lake out, or name an engine"));
    // Without a file there is nothing to say, and that is said.
    let nothing = LakeDir::new();
    std::fs::create_dir_all(nothing.path()).unwrap();
    let said = run(program().args(["schema", "--format", "duckdb", "--lake", &nothing.text()])).expect_code(0);
    assert!(
        said.stderr.contains("the lake has no file of purchase_apply and of purchase_apply_detail yet"),
        "{}",
        said.stderr
    );
}

/// Engines that find partition columns in paths would take a folder above the lake for one: rows would be lost.
#[test]
fn a_lake_below_a_folder_like_a_partition_is_refused() {
    let (sandbox, lake) = (erp(20, 5, "2026-06-30 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &["--from", "2026-06-26", "--to", "2026-06-30"]).expect_code(0);
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("account=zzz").join("lake");
    copy_folder(&lake.path(), &below);
    for arguments in [
        ["views", "--engine", "duckdb"],
        ["views", "--engine", "polars"],
        ["views", "--engine", "clickhouse"],
        ["schema", "--format", "duckdb"],
        ["schema", "--format", "clickhouse"],
    ] {
        let said = run(program().args(arguments).args(["--lake", below.to_str().unwrap()])).expect_code(2);
        assert!(said.stderr.contains("takes `account=zzz` in the lake's path for a column"), "{arguments:?}: {said:?}");
    }
    run(program().args(["views", "--engine", "spark", "--lake", below.to_str().unwrap()])).expect_code(0);
}
