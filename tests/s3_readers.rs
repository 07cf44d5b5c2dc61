//! Promise 3 in a bucket: DuckDB, pyarrow and Polars read one lake over `s3://` alike, and by the list of its files,
//! and the SQL of `views` is right there. The server is moto, which all of them know how to talk to; the oracle is the
//! sandbox's journal.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use wdt_lake::sandbox::Quantity;

use crate::readers::{MONTH, answer, assert_latest, assert_read, latest};
use crate::support::moto::Moto;
use crate::support::{at, erp, program, program_at, python, run};

fn wdt_lake(moto: &Moto, arguments: &[&str]) -> Command {
    let mut command = program();
    command.envs(moto.environment()).args(arguments);
    command
}

fn files(moto: &Moto, table: &str, lake: &str) -> Vec<String> {
    let said = run(&mut wdt_lake(moto, &["files", table, "--lake", lake])).expect_code(0);
    said.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn duckdb_pyarrow_and_polars_read_the_same_lake_in_a_bucket() {
    let (sandbox, moto) = (erp(700, 85, "2026-07-20 23:59:59"), Moto::start());
    let lake = moto.lake("wangdian/lake");
    let sync = |to: &str| {
        let mut command = program_at(&sandbox);
        command.envs(moto.environment()).args(["sync", "--json", "--calls-per-minute", "0", "--lake", &lake]);
        run(command.args(["--from", "2026-04-26", "--to", to])).expect_code(0).json()
    };
    assert_eq!(sync("2026-07-20")["rows"]["purchase_apply"], 700);
    // Edits, details that go among them.
    let edited = at("2026-07-22 10:00:00");
    {
        let mut world = sandbox.world().lock();
        let many = world.requisitions().filter(|one| one.details.len() > 2).step_by(7);
        let numbers: Vec<String> = many.map(|one| one.purchase_apply_no.to_string()).collect();
        for number in numbers {
            world.edit_at(&number, edited, |requisition| {
                requisition.details.remove(1);
                requisition.sum_up();
            });
        }
    }
    assert!(sync("2026-07-23")["rows"]["purchase_apply"].as_u64() > Some(20));

    let listed = files(&moto, "purchase_apply", &lake);
    let names: Vec<String> = [listed.clone(), files(&moto, "purchase_apply_detail", &lake)]
        .concat()
        .iter()
        .map(|uri| uri.strip_prefix(&format!("{lake}/")).unwrap().to_owned())
        .collect();
    let by_list = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(by_list.path(), json!(listed).to_string()).unwrap();
    let views = run(&mut wdt_lake(&moto, &["views", "--json", "--engine", "duckdb", "--lake", &lake])).expect_code(0);
    let by_view = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(by_view.path(), views.stdout).unwrap();

    let ask = |reader: &str, more: &[&str]| -> Value {
        let listed = by_list.path().to_str().unwrap();
        let arguments = [&[reader, MONTH, "--lake", &lake, "--listed", listed], more].concat();
        answer(python::EXTENSIONS.script("readers.py", &arguments).envs(moto.environment()))
    };
    let mut duckdb = ask("duckdb", &["--views", by_view.path().to_str().unwrap()]);
    let [views, example_files, view_types, zone] = ["views", "example_files", "view_types", "zone"]
        .map(|name| duckdb.as_object_mut().unwrap().remove(name).unwrap());
    assert_eq!(zone, "Asia/Shanghai");
    assert!(view_types.is_object(), "{view_types}");
    assert_read(&sandbox, &names, "duckdb", &duckdb["lakes"][0]);
    for reader in ["pyarrow", "polars"] {
        assert_eq!(ask(reader, &[]), duckdb, "{reader} differs from duckdb");
    }
    let versions = sandbox.world().lock().journal().versions().to_vec();
    let real_num = Quantity(versions.iter().map(|version| version.requisition.real_num.0).sum());
    assert_eq!(duckdb["listed"], json!({"rows": versions.len(), "real_num": real_num.to_string()}));
    assert_latest(&views, &latest(&sandbox));
    assert_eq!(example_files, listed.iter().filter(|uri| uri.contains(MONTH)).count(), "it reads one month");
}

/// Spark reaches buckets by Hadoop's own name for them. The text is what Spark runs on local folders, but for that.
#[test]
fn spark_is_told_to_read_a_bucket_by_s3a() {
    let (sandbox, moto) = (erp(30, 5, "2026-07-20 23:59:59"), Moto::start());
    let lake = moto.lake("spark");
    let mut sync = program_at(&sandbox);
    sync.envs(moto.environment()).args(["sync", "--calls-per-minute", "0", "--lake", &lake]);
    run(sync.args(["--from", "2026-07-15", "--to", "2026-07-20"])).expect_code(0);
    let script = run(&mut wdt_lake(&moto, &["views", "--engine", "spark", "--lake", &lake])).expect_code(0).stdout;
    let read: BTreeSet<&str> = script.split('`').skip(1).step_by(2).collect();
    assert_eq!(read, BTreeSet::from(["s3a://lakes/spark/purchase_apply", "s3a://lakes/spark/purchase_apply_detail"]));
    assert!(!script.contains("s3://"), "{script}");
}
