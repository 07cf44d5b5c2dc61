//! What `doctor` says, to people and to programs: of a store that can hold a lake, of one that cannot, and of none.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::creates::Creates;
use crate::support::s3::{Fault, S3Server};
use crate::support::{LakeDir, erp, program, program_at, run};

fn doctor(server: &S3Server, arguments: &[&str]) -> Command {
    let mut command = program();
    command.envs(server.environment()).args(["doctor", "--lake", "s3://lake0/lake"]).args(arguments);
    command
}

/// Compares what it says with a snapshot, but for what differs from run to run.
fn assert_says(name: &str, code: i32, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"127\.0\.0\.1:\d+", "[server]");
    settings.add_filter(r"[+-]\d+ s from", "[offset] s from");
    settings.add_filter(r"in \d+(\.\d+)?[mµn]?s,", "in [time],");
    settings.add_filter(r"in \d+(\.\d+)?[mµn]?s -", "in [time] -");
    settings.add_filter(r"after \d+ retries", "after [n] retries");
    settings.add_filter(r"os error \d+", "os error [n]");
    settings.add_filter(r"probe-[0-9a-f-]{36}", "probe-[run]");
    settings.bind(|| insta::assert_snapshot!(name, format!("exit code {code}\n{text}")));
}

/// Tries a store, and shows what is said of it to people and to programs.
fn assert_doctor(name: &str, server: &S3Server, arguments: &[&str]) {
    for (form, more) in [("text", None), ("json", Some("--json"))] {
        let said = run(doctor(server, arguments).args(more));
        let text = match more {
            None => said.stdout,
            Some(_) => serde_json::to_string_pretty(&said.json()).unwrap(),
        };
        assert_eq!(said.stderr, "", "{name}");
        assert_says(&format!("{name}_{form}"), said.code, &text);
    }
}

#[test]
fn a_store_is_described_as_it_is() {
    let server = S3Server::start();
    let bucket = server.bucket();
    assert_doctor("good_store", &server, &[]);
    server.break_by(|asked| asked.is_conditional.then_some(Fault::Refuse(501)));
    assert_doctor("store_without_conditional_put", &server, &[]);
    assert_doctor("store_without_conditional_put_for_one_writer", &server, &["--single-writer"]);
    server.break_by(|asked| asked.is_conditional.then_some(Fault::IgnoreCondition));
    assert_doctor("store_that_ignores_conditions", &server, &[]);
    let left = LakeDir::of(&server.folder(&bucket)).files();
    assert_eq!(left, Vec::<String>::new(), "it clears up");
}

#[test]
fn a_store_says_by_which_header_it_creates() {
    for (name, creates) in [("oss", Creates::LikeOss), ("oss_with_versions", Creates::LikeVersionedOss)] {
        let server = S3Server::start_as(creates);
        let bucket = server.bucket();
        assert_doctor(name, &server, &[]);
        let left = LakeDir::of(&server.folder(&bucket)).files();
        assert_eq!(left, Vec::<String>::new(), "it clears up");
    }
}

/// Nobody listens at `127.0.0.1:9`, and one that listens and never answers is as dead. With the patience of a run that
/// is under way it would take minutes; the limits leave room for a slow machine.
#[test]
fn what_keeps_a_store_out_of_reach_is_said_soon() {
    let server = S3Server::start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    type Variables<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, Variables<'_>, u64); 5] = [
        ("missing_credentials", &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")], 20),
        ("wrong_key", &[("AWS_SECRET_ACCESS_KEY", "another-secret")], 20),
        ("missing_bucket", &[], 20),
        ("dead_endpoint", &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")], 20),
        ("silent_endpoint", &[("AWS_ENDPOINT_URL", &silent), ("AWS_TIMEOUT", "1s")], 40),
    ];
    for (name, variables, seconds) in cases {
        let began = Instant::now();
        let said = run(doctor(&server, &["--json"]).envs(variables.iter().copied()));
        assert!(began.elapsed() < Duration::from_secs(seconds), "{name}: {:?}", began.elapsed());
        assert_eq!(said.stdout, "", "{name}");
        assert_says(name, said.code, &said.stderr);
    }
}

/// Every command that asks a store first is as quick to say so.
#[test]
fn a_dead_endpoint_is_said_soon_by_every_command() {
    let server = S3Server::start();
    let (lake, sandbox) = ("s3://lake0/lake", erp(5, 2, "2026-06-30 23:59:59"));
    for arguments in [
        &["status"][..],
        &["verify"],
        &["files", "purchase_apply"],
        &["views", "--engine", "duckdb"],
        &["sync", "--from", "2026-06-29", "--to", "2026-06-30"],
        &["plan", "--offline", "--from", "2026-06-29", "--to", "2026-06-30"],
    ] {
        let began = Instant::now();
        let mut command = program_at(&sandbox);
        command.envs(server.environment()).env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
        let said = run(command.args(arguments).args(["--lake", lake])).expect_code(6);
        assert!(began.elapsed() < Duration::from_secs(20), "{arguments:?}: {:?}", began.elapsed());
        for word in ["error[WDT-6204]: the store of the lake cannot be reached", "endpoint: http://127.0.0.1:9,"] {
            assert!(said.stderr.contains(word), "{}", said.stderr);
        }
    }
    assert!(sandbox.world().calls().is_empty(), "no call is spent");
}

#[test]
fn the_doctor_sees_a_local_folder_and_leaves_it_as_it_was() {
    let lake = LakeDir::new();
    let said = run(program().args(["doctor", "--lake", &lake.text()])).expect_code(0);
    assert!(
        said.stdout.contains("there is no lake yet") && said.stdout.contains("this store can hold a lake"),
        "{said:?}"
    );
    let above = lake.path().parent().unwrap().to_owned();
    assert_eq!(std::fs::read_dir(&above).unwrap().count(), 0, "nothing stays");
    let deep = above.join("not/there/yet");
    run(program().args(["doctor", "--lake"]).arg(&deep)).expect_code(0);
    assert_eq!(std::fs::read_dir(&above).unwrap().count(), 0, "nothing stays");
    // Where a file is in the way, no lake can be.
    std::fs::write(above.join("file"), "x").unwrap();
    let said = run(program().args(["doctor", "--lake"]).arg(above.join("file/lake"))).expect_code(6);
    assert!(said.stderr.contains("hint: "), "{}", said.stderr);
    std::fs::create_dir_all(lake.path()).unwrap();
    let said = run(program().args(["doctor", "--lake", &lake.text()])).expect_code(0);
    assert!(said.stdout.ends_with("this store can hold a lake\n"), "{}", said.stdout);
    assert_eq!(std::fs::read_dir(lake.path()).unwrap().count(), 0);
}
