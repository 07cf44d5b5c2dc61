//! `wdt-lake sandbox`: what it prints points a client at it, and it behaves as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use crate::support::{LakeDir, program, run};

/// A sandbox of its own process; ended with the test.
struct Served {
    process: Child,
    headline: String,
    environment: BTreeMap<String, String>,
}

impl Served {
    fn start(arguments: &[&str]) -> Self {
        let mut process =
            program().arg("sandbox").args(arguments).stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let headline = lines.next().unwrap();
        let environment = lines
            .by_ref()
            .take(5)
            .map(|line| {
                let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        Self { process, headline, environment }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sync(served: &Served, lake: &LakeDir) -> crate::support::Said {
    let arguments = [
        "sync",
        "--json",
        "--calls-per-minute",
        "0",
        "--from",
        "2026-05-01",
        "--to",
        "2026-06-30",
        "--lake",
        &lake.text(),
    ];
    run(program().envs(&served.environment).args(arguments))
}

#[test]
fn the_printed_environment_points_a_client_at_it() {
    let served = Served::start(&["--requisitions", "250", "--days", "30", "--seed", "3", "--end", "2026-06-30"]);
    assert!(
        served.headline.contains("250 requisitions") && served.headline.contains("2026-06-01 00:00:00"),
        "{}",
        served.headline
    );
    let lake = LakeDir::new();
    assert_eq!(sync(&served, &lake).expect_code(0).json()["rows"]["purchase_apply"], 250);
    // The same seed is the same ERP.
    let again = Served::start(&["--requisitions", "250", "--days", "30", "--seed", "3", "--end", "2026-06-30"]);
    let other = LakeDir::new();
    let sum = |lake: &LakeDir, served| sync(served, lake).expect_code(0).json()["real_num"].clone();
    let fresh = LakeDir::new();
    assert_eq!(sum(&other, &again), sum(&fresh, &served));
}

#[test]
fn every_edition_is_served_and_spoiled() {
    for edition in ["y", "flagship"] {
        let world = ["--edition", edition, "--requisitions", "300", "--days", "30", "--end", "2026-06-30"];
        let served = Served::start(&[&world[..], &["--poison", "0.02:overflow,bad-line"]].concat());
        assert_eq!(served.environment["WDT_EDITION"], edition);
        let summary = sync(&served, &LakeDir::new()).expect_code(3).json();
        let count = |table: &str| summary["rows"][table].as_u64().unwrap();
        assert!(count("quarantined") > 0, "{edition}: {summary}");
        assert_eq!(count("purchase_apply") + count("quarantined"), 300, "{edition}: {summary}");
    }
}

#[test]
fn hostile_flags_are_obeyed_and_overcome() {
    let flags = [
        "--drift",
        "0.3:2",
        "--faults",
        "0.1:502,truncated",
        "--order",
        "shuffled-ties",
        "--poison",
        "0.01:overflow",
        "--latency",
        "1ms",
    ];
    let world = [
        "--requisitions",
        "300",
        "--days",
        "30",
        "--end",
        "2026-06-30",
        "--max-page-rows",
        "60",
        "--clock-skew",
        "900",
    ];
    let served = Served::start(&[&world[..], &flags[..]].concat());
    let lake = LakeDir::new();
    let summary = sync(&served, &lake).expect_code(3).json();
    assert!(summary["rows"]["quarantined"].as_u64().unwrap() > 0, "{summary}");
    assert!(summary["rows"]["purchase_apply"].as_u64().unwrap() > 200, "{summary}");
}

#[test]
fn what_it_cannot_be_told_is_refused() {
    for wrong in [
        &["--drift", "2"][..],
        &["--faults", "0.1:plague"],
        &["--order", "by-mood"],
        &["--days", "0"],
        &["--listen", "0.0.0.0:0"],
        &["--edition", "basic"],
    ] {
        run(program().arg("sandbox").args(wrong)).expect_code(2);
    }
}
