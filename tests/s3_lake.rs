//! Lakes on S3: the real program against a real S3 server that checks signatures.

use std::process::Command;
use std::time::{Duration, Instant};

use wdt_lake::sandbox::Sandbox;

use crate::support::creates::Creates;
use crate::support::s3::{Fault, KEY_ID, S3Server, SECRET};
use crate::support::{LakeDir, Said, check_with_readers, erp, program, program_at, run};

const RANGE: [&str; 4] = ["--from", "2026-05-20", "--to", "2026-06-30"];

fn sync_to(sandbox: &Sandbox, server: &S3Server, lake: &str) -> Command {
    let mut command = program_at(sandbox);
    command.envs(server.environment()).args(["sync", "--json", "--calls-per-minute", "0", "--lake", lake]).args(RANGE);
    command
}

fn read(server: &S3Server, arguments: &[&str]) -> Said {
    run(program().envs(server.environment()).args(arguments))
}

#[track_caller]
fn refused(said: Said, code: i32, words: &[&str]) {
    let said = said.expect_code(code);
    for line in ["error[WDT-", "hint: "] {
        assert_eq!(said.stderr.lines().filter(|said| said.starts_with(line)).count(), 1, "{}", said.stderr);
    }
    for word in words {
        assert!(said.stderr.contains(word), "`{word}` is missing:\n{}", said.stderr);
    }
    tells_no_key(&said);
}

#[track_caller]
fn tells_no_key(said: &Said) {
    for secret in [SECRET, KEY_ID, "another-secret", "X-Amz-Signature", "AWS4-HMAC", "StringToSign"] {
        assert!(
            !said.stdout.contains(secret) && !said.stderr.contains(secret),
            "`{secret}` was said:\n{}",
            said.stderr
        );
    }
}

#[test]
fn a_lake_in_a_bucket_holds_what_the_erp_held() {
    let (sandbox, server) = (erp(600, 40, "2026-06-30 23:59:59"), S3Server::start());
    let bucket = server.bucket();
    let lake = format!("s3://{bucket}/lake");
    let said = run(sync_to(&sandbox, &server, &lake).args(["--log-level", "trace"])).expect_code(0);
    tells_no_key(&said);
    assert_eq!(said.json()["rows"]["purchase_apply"], 600);
    let again = run(&mut sync_to(&sandbox, &server, &lake)).expect_code(0).json();
    assert_eq!((&again["calls"], &again["windows"]), (&0.into(), &0.into()));

    let status = read(&server, &["status", "--json", "--lake", &lake]).expect_code(0).json();
    assert_eq!(status["lake"], lake);
    let account = &status["accounts"][0];
    assert_eq!((&account["rows"]["purchase_apply"], &account["unfinished_commits"]), (&600.into(), &0.into()));
    assert_eq!(account["untracked"], serde_json::json!([]));

    read(&server, &["verify", "--deep", "--lake", &lake]).expect_code(0);
    let local = LakeDir::of(&server.folder(&bucket).join("lake"));
    check_with_readers(&sandbox, &local, sandbox.world().lock().journal().versions());
    let mut listed = Vec::new();
    for table in ["purchase_apply", "purchase_apply_detail"] {
        let said = read(&server, &["files", table, "--lake", &lake]).expect_code(0);
        listed.extend(said.stdout.lines().map(|uri| uri.strip_prefix(&format!("{lake}/")).unwrap().to_owned()));
    }
    listed.sort();
    let held: Vec<String> = local.files().into_iter().filter(|name| name.ends_with(".parquet")).collect();
    assert_eq!(listed, held, "exactly the committed files");
    assert!(local.lease_is_free(), "the run has ended");
}

#[test]
fn missing_and_wrong_keys_are_said_soon_and_cost_no_call() {
    let (sandbox, server) = (erp(20, 5, "2026-06-30 23:59:59"), S3Server::start());
    let lake = format!("s3://{}/lake", server.bucket());
    let began = Instant::now();
    for arguments in
        [&["status", "--lake", &*lake][..], &["files", "purchase_apply", "--lake", &lake], &["doctor", "--lake", &lake]]
    {
        refused(run(program().args(arguments)), 2, &["no credentials for S3", "AWS_ACCESS_KEY_ID"]);
        refused(
            read_with(&server, "AWS_SECRET_ACCESS_KEY", "another-secret", arguments),
            6,
            &["AWS_SECRET_ACCESS_KEY"],
        );
    }
    let bare = || {
        let mut command = sync_to(&sandbox, &server, &lake);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command
    };
    refused(run(&mut bare()), 2, &["no credentials for S3"]);
    refused(run(bare().env("AWS_PROFILE", "work")), 2, &["AWS_PROFILE is not supported"]);
    refused(run(bare().env("AWS_ACCESS_KEY_ID", KEY_ID)), 2, &["AWS_SECRET_ACCESS_KEY is not set"]);
    let wrong = run(sync_to(&sandbox, &server, &lake)
        .env("AWS_SECRET_ACCESS_KEY", "another-secret")
        .args(["--log-level", "trace"]));
    refused(wrong, 6, &["AWS_SECRET_ACCESS_KEY"]);
    let far = run(sync_to(&sandbox, &server, &lake).env("AWS_ENDPOINT_URL", "http://minio.example.com"));
    refused(far, 2, &["AWS_ALLOW_HTTP"]);
    assert!(sandbox.world().calls().is_empty(), "no call is spent on rows that cannot land");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

fn read_with(server: &S3Server, name: &str, value: &str, arguments: &[&str]) -> Said {
    run(program().envs(server.environment()).env(name, value).args(arguments))
}

/// A server that is as Alibaba OSS and checks signatures, and one whose bucket has versions, which cannot keep two
/// writers apart.
#[test]
fn oss_is_for_many_writers_where_its_bucket_has_no_versions() {
    let (sandbox, server) = (erp(120, 30, "2026-06-30 23:59:59"), S3Server::start_as(Creates::LikeOss));
    let lake = format!("s3://{}/lake", server.bucket());
    let said = run(sync_to(&sandbox, &server, &lake).args(["--log-level", "trace"])).expect_code(0);
    tells_no_key(&said);
    assert_eq!(said.json()["rows"]["purchase_apply"], 120);
    read(&server, &["verify", "--deep", "--lake", &lake]).expect_code(0);
    // Nobody has said which header this store knows.
    let other = format!("{lake}-of-another");
    let said = run(sync_to(&sandbox, &server, &other).env_remove("AWS_CONDITIONAL_PUT"));
    refused(said, 6, &["AWS_CONDITIONAL_PUT=oss", "--single-writer"]);
    let said = run(sync_to(&sandbox, &server, &lake).env("AWS_CONDITIONAL_PUT", "OSS"));
    refused(said, 2, &["AWS_CONDITIONAL_PUT", "`OSS`", "`oss`"]);

    let (sandbox, versioned) = (erp(120, 30, "2026-06-30 23:59:59"), S3Server::start_as(Creates::LikeVersionedOss));
    let lake = format!("s3://{}/lake", versioned.bucket());
    refused(
        run(&mut sync_to(&sandbox, &versioned, &lake)),
        6,
        &["x-oss-forbid-overwrite", "versions", "--single-writer"],
    );
    assert!(sandbox.world().calls().is_empty());
    run(sync_to(&sandbox, &versioned, &lake).arg("--single-writer")).expect_code(0);
    read(&versioned, &["verify", "--deep", "--lake", &lake]).expect_code(0);
}

#[test]
fn a_store_without_conditional_put_needs_a_single_writer() {
    let (sandbox, server) = (erp(120, 30, "2026-06-30 23:59:59"), S3Server::start());
    let bucket = server.bucket();
    let lake = format!("s3://{bucket}/lake");
    server.break_by(|asked| asked.is_conditional.then_some(Fault::Refuse(501)));
    refused(run(&mut sync_to(&sandbox, &server, &lake)), 6, &["--single-writer"]);
    assert!(sandbox.world().calls().is_empty());
    let said = run(sync_to(&sandbox, &server, &lake).arg("--single-writer")).expect_code(0).json();
    assert_eq!(said["rows"]["purchase_apply"], 120);
    let again = run(sync_to(&sandbox, &server, &lake).arg("--single-writer")).expect_code(0).json();
    assert_eq!(again["calls"], 0);
    read(&server, &["verify", "--deep", "--lake", &lake]).expect_code(0);
    let local = LakeDir::of(&server.folder(&bucket).join("lake"));
    check_with_readers(&sandbox, &local, sandbox.world().lock().journal().versions());
}

/// What a run asks of a store does not grow with the log: opening reads one checkpoint and what came after it.
#[test]
fn a_run_asks_a_store_for_little_whatever_the_age_of_the_log() {
    let (sandbox, server) = (erp(300, 40, "2026-06-30 23:59:59"), S3Server::start());
    let lake = format!("s3://{}/lake", server.bucket());
    let requests = |to: &str| {
        let before = server.requests();
        let mut command = program_at(&sandbox);
        command.envs(server.environment()).args(["sync", "--json", "--calls-per-minute", "0", "--lake", &lake]);
        command.args(["--from", "2026-05-21", "--to", to, "--compact", "off"]);
        let summary = run(&mut command).expect_code(0).json();
        (server.requests() - before, summary["windows"].as_u64().unwrap())
    };
    let median = |counts: &[u32]| {
        let mut counts = counts.to_vec();
        counts.sort_unstable();
        counts[counts.len() / 2]
    };
    let (mut landing, mut idle) = (Vec::new(), Vec::new());
    for day in 22..=31 {
        for hour in [0, 6, 12, 18] {
            let to = format!("2026-05-{day} {hour:02}:30:00");
            let (count, windows) = requests(&to);
            assert_eq!(windows, 1);
            landing.push(count);
            idle.push(requests(&to).0);
        }
    }
    println!("requests of runs that land a window {landing:?}, of runs that fetch nothing {idle:?}");
    let (young, old) = (&landing[1..20], &landing[20..]);
    assert!(median(young) <= 18 && median(old) <= 18, "{landing:?}");
    assert!(idle[1..].iter().all(|count| *count <= 8), "{idle:?}");
}
