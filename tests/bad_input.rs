//! Bad input: one clear line what is wrong, a hint, the documented exit code, nothing half written.

use wdt_lake::sandbox::Sandbox;

use crate::support::{LakeDir, Said, erp, program, program_at, run};

fn small() -> Sandbox {
    erp(20, 5, "2026-06-30 23:59:59")
}

#[track_caller]
fn refused(said: Said, code: i32, words: &[&str]) -> Said {
    let said = said.expect_code(code);
    let lines: Vec<&str> = said.stderr.lines().collect();
    let errors = lines.iter().filter(|line| line.starts_with("error: ") || line.starts_with("error[WDT-")).count();
    let hints = lines.iter().filter(|line| line.starts_with("hint: ")).count();
    assert_eq!((errors, hints), (1, 1), "one error and one hint:\n{}", said.stderr);
    for word in words {
        assert!(said.stderr.contains(word), "`{word}` is missing:\n{}", said.stderr);
    }
    said
}

fn sync_args(lake: &LakeDir) -> Vec<String> {
    ["sync", "--lake", &lake.text(), "--from", "2026-06-01", "--to", "2026-06-30", "--calls-per-minute", "0"]
        .map(str::to_owned)
        .to_vec()
}

#[test]
fn no_environment_at_all() {
    let lake = LakeDir::new();
    refused(
        run(program().args(sync_args(&lake))),
        2,
        &["WDT_EDITION", "WDT_SID", "WDT_APPKEY", "WDT_APPSECRET", "demo"],
    );
    assert!(!lake.path().exists());
}

#[test]
fn an_unknown_edition_and_an_account_name_that_does_not_fit() {
    let (sandbox, lake) = (small(), LakeDir::new());
    refused(
        run(program_at(&sandbox).args(sync_args(&lake)).env("WDT_EDITION", "basic")),
        2,
        &["`basic`", "enterprise"],
    );
    refused(run(program_at(&sandbox).args(sync_args(&lake)).env("WDT_ACCOUNT", "2acme")), 2, &["`2acme`"]);
    refused(run(program_at(&sandbox).args(sync_args(&lake)).env("WDT_SID", "123456")), 2, &["`123456`", "WDT_ACCOUNT"]);
    refused(
        run(program_at(&sandbox).args(sync_args(&lake)).env("WDT_ENVIRONMENT", "test")),
        2,
        &["WDT_BASE_URL", "WDT_ENVIRONMENT"],
    );
    assert!(!lake.path().exists());
    assert!(sandbox.world().calls().is_empty());
}

#[test]
fn a_range_that_is_backwards_or_has_no_start() {
    let (sandbox, lake) = (small(), LakeDir::new());
    let backwards = ["sync", "--lake", &lake.text(), "--from", "2026-06-30", "--to", "2026-06-01"].map(str::to_owned);
    refused(run(program_at(&sandbox).args(backwards)), 2, &["2026-06-01 23:59:59", "2026-06-30 00:00:00"]);
    refused(run(program_at(&sandbox).args(["sync", "--lake", &lake.text()])), 2, &["--from"]);
    refused(
        run(program_at(&sandbox).args(["sync", "--lake", &lake.text(), "--from", "yesterday"])),
        2,
        &["`yesterday`"],
    );
    refused(
        run(program_at(&sandbox).args(["sync", "--lake", &lake.text(), "--from", "2026-06-01", "--page-size", "101"])),
        2,
        &["--page-size"],
    );
    assert!(!lake.path().exists(), "nothing half written: {:?}", lake.files());
    assert!(sandbox.world().calls().is_empty());
}

#[test]
fn a_wrong_secret_costs_one_call() {
    let (sandbox, lake) = (small(), LakeDir::new());
    let said = run(program_at(&sandbox).args(sync_args(&lake)).env("WDT_APPSECRET", "wrong-secret"));
    let said = refused(said, 4, &["WDT_APPKEY"]);
    assert_eq!(sandbox.world().calls().len(), 1);
    assert!(!said.stderr.contains("wrong-secret") && !said.stdout.contains("wrong-secret"));
    assert!(lake.holds_no_more_than_a_start());
    refused(run(program_at(&sandbox).args(["get", "POA1"]).env("WDT_APPSECRET", "wrong-secret")), 4, &[]);
}

#[test]
fn an_address_that_is_not_the_gateway() {
    let (sandbox, lake) = (small(), LakeDir::new());
    let elsewhere = sandbox.base_url().replace("/openapi2", "/elsewhere");
    refused(
        run(program_at(&sandbox).args(sync_args(&lake)).env("WDT_BASE_URL", elsewhere)),
        4,
        &["404", "WDT_BASE_URL"],
    );
}

#[test]
fn a_dead_gateway_ends_within_the_stated_time() {
    let (sandbox, lake) = (small(), LakeDir::new());
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = program_at(&sandbox);
    command
        .args(sync_args(&lake))
        .args(["--max-retry-time", "1s"])
        .env("WDT_BASE_URL", format!("http://{dead}/openapi2"));
    refused(run(&mut command), 5, &["no usable response"]);
    assert!(lake.holds_no_more_than_a_start());
}

#[test]
fn a_lake_that_cannot_be_written() {
    let (sandbox, lake) = (small(), LakeDir::new());
    std::fs::write(lake.path(), b"a file, not a folder").unwrap();
    refused(run(program_at(&sandbox).args(sync_args(&lake))), 6, &[&lake.text()]);
    assert!(sandbox.world().calls().is_empty(), "no call is spent on rows that cannot land");
}

#[test]
fn an_account_name_bound_to_another_account() {
    let (sandbox, lake) = (small(), LakeDir::new());
    run(program_at(&sandbox).args(sync_args(&lake))).expect_code(0);
    let calls = sandbox.world().calls().len();
    let other = run(program_at(&sandbox).args(sync_args(&lake)).env("WDT_SID", "other").env("WDT_ACCOUNT", "sandbox"));
    refused(other, 2, &["sandbox", "other"]);
    assert_eq!(sandbox.world().calls().len(), calls);
}

#[test]
fn unknown_words_on_the_command_line() {
    let said = run(program().args(["synk"])).expect_code(2);
    assert!(said.stderr.contains("sync"), "a suggestion: {}", said.stderr);
    run(program().args(["get"])).expect_code(2);
    run(program().args(["sync", "--lake", "x", "--lag", "soon"])).expect_code(2);
    let help = run(program().args(["--help"])).expect_code(0);
    assert!(help.stdout.contains("Exit codes"), "{}", help.stdout);
}

#[test]
fn a_bare_number_is_no_duration_and_no_size_and_zero_is_no_time_to_answer_in() {
    let (sandbox, lake) = (small(), LakeDir::new());
    for (arguments, word) in [
        (["sync", "--timeout", "0s"], "zero makes no sense"),
        (["sync", "--timeout", "60"], "write 90s, 5m"),
        (["check", "--timeout", "0m"], "zero makes no sense"),
        (["sync", "--lookback", "0d"], "zero makes no sense"),
        (["sync", "--lookback", "7"], "30d"),
        (["sync", "--lag", "5"], "write 90s, 5m"),
        (["sync", "--max-retry-time", "10"], "write 90s, 5m"),
        (["sync", "--max-memory", "67108864"], "64MiB, 100MB or 1.5GB"),
        (["sync", "--max-memory", "64M"], "64MiB, 100MB or 1.5GB"),
        (["stop", "--stale", "30"], "30d"),
        (["stop", "--margin", "180"], "write 90s, 5m"),
    ] {
        let said = run(program_at(&sandbox)
            .args(arguments)
            .args((arguments[0] != "check").then_some("--lake"))
            .args((arguments[0] != "check").then(|| lake.text())))
        .expect_code(2);
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    assert!(!lake.path().exists() && sandbox.world().calls().is_empty());
    // Tried once and not again is a wish; so are these forms.
    let accepted = [
        "sync",
        "--lake",
        &lake.text(),
        "--from",
        "2026-06-01T00:00",
        "--to",
        "2026-06-30 23:59",
        "--max-memory",
        "100MB",
        "--lag",
        "0.5h",
        "--max-retry-time",
        "0s",
        "--calls-per-minute",
        "0",
        "--json",
    ]
    .map(str::to_owned);
    let range = run(program_at(&sandbox).args(accepted)).expect_code(0).json()["range"].clone();
    assert_eq!(range["start"], "2026-06-01T00:00:00+08:00");
    assert_eq!(range["end"], "2026-06-30T23:59:00+08:00");
}
