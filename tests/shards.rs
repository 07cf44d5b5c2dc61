//! Accounts shared out among processes: together they leave the lake that one process leaves, and no limit is split.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use wdt_lake::sandbox::Behaviour;

use crate::many_accounts::Many;
use crate::support::process::{end, start};
use crate::support::s3::S3Server;
use crate::support::{Said, run};

const ACCOUNTS: u32 = 18;

/// Some of them share limits, and those are in one shard each.
fn many() -> Many {
    let many = Many::new(ACCOUNTS, 40, Behaviour::default());
    many.write(|nth| {
        let limit = if nth <= 6 { format!("limit = \"appkey-{}\"\n", nth % 2) } else { String::new() };
        format!("calls_per_minute = 0\n{limit}")
    });
    many
}

fn names(summary: &Value) -> BTreeSet<String> {
    let accounts = summary["accounts"].as_array().unwrap();
    accounts.iter().map(|account| account["account"].as_str().unwrap().to_owned()).collect()
}

/// Four processes at once.
fn four(sync: impl Fn(&str) -> Command) -> Vec<Value> {
    let begun: Vec<_> = (0..4).map(|shard| start(&mut sync(&format!("{shard}/4")))).collect();
    begun.into_iter().map(|process| end(process).expect_code(0).json()).collect()
}

fn check_shards(many: &Many, summaries: &[Value]) {
    let shards: Vec<BTreeSet<String>> = summaries.iter().map(names).collect();
    let all: BTreeSet<String> = shards.iter().flatten().cloned().collect();
    assert_eq!(all, (1..=ACCOUNTS).map(Many::name).collect());
    assert_eq!(shards.iter().map(BTreeSet::len).sum::<usize>(), ACCOUNTS as usize, "each in one: {shards:?}");
    for limit in 0..2 {
        let sharing: Vec<String> = (1..=6).filter(|nth| nth % 2 == limit).map(Many::name).collect();
        let together = shards.iter().filter(|shard| sharing.iter().any(|name| shard.contains(name))).count();
        assert_eq!(together, 1, "a limit is not split: {shards:?}");
    }
    for (shard, summary) in summaries.iter().enumerate() {
        assert_eq!(summary["shard"], format!("{shard}/4"));
        for account in summary["accounts"].as_array().unwrap() {
            assert_eq!(account["rows"]["purchase_apply"], 40, "{account}");
        }
    }
    assert!(many.sandbox.world().calls().len() >= ACCOUNTS as usize);
}

/// The rows of every account, but for what differs from run to run.
fn rows(many: &Many, lake: &[&str], environment: &[(String, String)]) -> BTreeMap<String, Vec<String>> {
    let of = |name: String| {
        let arguments =
            [&["export", "purchase_apply_detail", "--account", &name, "--format", "csv", "--out", "-"][..], lake]
                .concat();
        let Said { stdout, .. } = run(many.program(&arguments).envs(environment.iter().cloned())).expect_code(0);
        let mut lines = stdout.lines();
        let head = lines.next().unwrap();
        assert!(head.ends_with(",_edition,_extracted_at,_run_id,_commit_id,account"), "{head}");
        let of_the_erp = |line: &str| line.rsplitn(5, ',').last().unwrap().to_owned();
        let mut rows: Vec<String> = lines.map(of_the_erp).collect();
        rows.sort_unstable();
        (name, rows)
    };
    (1..=ACCOUNTS).map(Many::name).map(of).collect()
}

#[test]
fn four_processes_leave_the_lake_that_one_leaves() {
    let many = many();
    let (sharded, whole) = (lake_of(&many, "shards"), lake_of(&many, "whole"));
    let summaries = four(|shard| many.sync(&[&["--shard", shard][..], &sharded.each()].concat()));
    check_shards(&many, &summaries);
    run(&mut many.sync(&whole.each())).expect_code(0);
    let (found, wanted) = (rows(&many, &sharded.each(), &[]), rows(&many, &whole.each(), &[]));
    assert!(wanted.values().all(|rows| rows.len() >= 40));
    assert_eq!(found, wanted);
    run(&mut many.program(&[&["verify", "--deep"][..], &sharded.each()].concat())).expect_code(0);
    // All is covered, whoever asks: by one process, and by other shards.
    let again = run(&mut many.sync(&sharded.each())).expect_code(0).json();
    assert!(again["accounts"].as_array().unwrap().iter().all(|account| account["calls"] == 0), "{again}");
    assert_eq!(again["shard"], Value::Null);
}

#[test]
fn four_processes_share_a_bucket() {
    let (many, server) = (many(), S3Server::start());
    let bucket = server.bucket();
    let (sharded, whole) = (format!("s3://{bucket}/shards"), format!("s3://{bucket}/whole"));
    let sync = |arguments: &[&str]| {
        let mut command = many.sync(arguments);
        command.envs(server.environment());
        command
    };
    check_shards(&many, &four(|shard| sync(&["--lake", &sharded, "--shard", shard])));
    run(&mut sync(&["--lake", &whole])).expect_code(0);
    let environment = server.environment();
    let of = |lake: &str| rows(&many, &["--lake", lake], &environment);
    assert_eq!(of(&sharded), of(&whole));
}

#[test]
fn a_shard_without_accounts_has_nothing_to_do_and_what_is_no_shard_is_refused() {
    let many = Many::new(1, 5, Behaviour::default());
    let ended: Vec<Value> = (0..64)
        .map(|shard| run(&mut many.sync(&["--shard", &format!("{shard}/64")])).expect_code(0).json())
        .filter(|summary| summary["accounts"].as_array().unwrap().is_empty())
        .collect();
    assert_eq!(ended.len(), 63);
    assert_eq!((&ended[0]["exit_code"], &ended[0]["command"]), (&0.into(), &"sync".into()));
    let calls = many.sandbox.world().calls().len();
    let empty = ended[0]["shard"].as_str().unwrap();
    let said = run(&mut many.program(&["sync", "--from", "2026-06-01", "--shard", empty])).expect_code(0);
    assert!(said.stdout.contains("none of the accounts"), "{}", said.stdout);
    assert_eq!(many.sandbox.world().calls().len(), calls);
    for wrong in ["4/4", "1", "-1/4", "a/b", "0/0"] {
        let said = run(&mut many.sync(&[&format!("--shard={wrong}")])).expect_code(2);
        assert!(said.stderr.contains("3/4") || said.stderr.contains("0/4"), "{wrong}: {}", said.stderr);
    }
    // A name that no account has is an error in every shard.
    run(&mut many.sync(&["--shard", "0/1", "--account", "nobody"])).expect_code(2);
}

/// A lake beside the file.
struct At(String);

impl At {
    fn each(&self) -> [&str; 2] {
        ["--lake", &self.0]
    }
}

fn lake_of(many: &Many, name: &str) -> At {
    At(many.path(name))
}
