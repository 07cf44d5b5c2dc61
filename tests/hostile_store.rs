//! The real program over a store that lists, refuses and falls silent as stores in the field do.

use std::process::Command;
use std::time::{Duration, Instant};

use wdt_lake::sandbox::Sandbox;

use crate::support::fake_s3::{FakeS3, KEY_ID, Lists, Reply, SECRET};
use crate::support::{Said, erp, program, program_at, run};

/// Several months, so that there are several commits.
const RANGE: [&str; 4] = ["--from", "2026-03-01", "--to", "2026-06-30"];
const END: &str = "2026-06-30 23:59:59";

fn sync_to(sandbox: &Sandbox, server: &FakeS3, lake: &str) -> Command {
    let mut command = program_at(sandbox);
    command.envs(server.environment()).args(["sync", "--json", "--calls-per-minute", "0", "--lake", lake]).args(RANGE);
    command
}

fn read(server: &FakeS3, arguments: &[&str], lake: &str) -> Said {
    let said = run(program().envs(server.environment()).args(arguments).args(["--lake", lake]));
    for secret in [SECRET, KEY_ID] {
        assert!(!said.stderr.contains(secret) && !said.stdout.contains(secret), "{}", said.stderr);
    }
    said
}

const CHANGES: [&str; 6] = ["changes", "purchase_apply", "--out", "-", "--format", "csv"];
const EXPORT: [&str; 7] = ["export", "purchase_apply", "--latest", "--out", "-", "--format", "csv"];
const READERS: [&[&str]; 7] = [
    &["files", "purchase_apply"],
    &["status"],
    &["verify"],
    &["views", "--engine", "duckdb"],
    &CHANGES,
    &EXPORT,
    &["runs"],
];

#[test]
fn a_listing_that_is_none_is_never_taken_for_a_shorter_lake() {
    let (sandbox, server) = (erp(300, 120, END), FakeS3::start());
    let lake = server.lake("lake");
    run(&mut sync_to(&sandbox, &server, &lake)).expect_code(0);
    let files = read(&server, READERS[0], &lake).expect_code(0).stdout;
    assert!(files.lines().count() >= 4, "{files}");
    let rows = read(&server, &CHANGES, &lake).expect_code(0);
    assert!(rows.stdout.lines().count() > 300, "{}", rows.stdout);
    let latest = read(&server, &EXPORT, &lake).expect_code(0);
    assert!(latest.stdout.lines().count() > 300, "{}", latest.stdout);
    let keys = server.keys();
    for lists in Lists::CONTRADICTIONS.into_iter().filter(|lists| *lists != Lists::Invented) {
        server.list_so(lists, 2);
        for arguments in READERS {
            let began = Instant::now();
            let said = read(&server, arguments, &lake);
            assert!(began.elapsed() < Duration::from_secs(60), "{lists:?} {arguments:?}: {:?}", began.elapsed());
            // A command whose listings have one page is right, every other one is not taken in.
            if said.code == 0 {
                assert!(arguments[0] != "files" || said.stdout == files, "{lists:?}: {}", said.stdout);
                assert!(arguments[0] != "changes" || said.stdout == rows.stdout, "{lists:?}: {}", said.stdout);
                assert!(arguments[0] != "export" || said.stdout == latest.stdout, "{lists:?}: {}", said.stdout);
                continue;
            }
            assert_eq!(said.code, 6, "{lists:?} {arguments:?}: {}", said.stderr);
            assert!(said.stderr.contains("\nhint: ") && said.stderr.starts_with("error[WDT-6"), "{}", said.stderr);
        }
        let said = run(&mut sync_to(&sandbox, &server, &lake));
        assert!(said.code == 6 || said.json()["calls"] == 0, "{lists:?}: {}", said.stderr);
    }
    server.behave();
    assert_eq!(server.keys(), keys, "nobody wrote");
    assert_eq!(read(&server, READERS[0], &lake).expect_code(0).stdout, files);
}

#[test]
fn a_listing_that_hides_the_end_hides_nothing() {
    let (sandbox, server) = (erp(300, 120, END), FakeS3::start());
    let lake = server.lake("lake");
    run(&mut sync_to(&sandbox, &server, &lake)).expect_code(0);
    let files = read(&server, READERS[0], &lake).expect_code(0).stdout;
    let rows = read(&server, &CHANGES, &lake).expect_code(0);
    server.list_so(Lists::FirstPageOnly, 1);
    assert_eq!(read(&server, &CHANGES, &lake).expect_code(0).stdout, rows.stdout);
    assert_eq!(read(&server, READERS[0], &lake).expect_code(0).stdout, files);
    read(&server, &["verify", "--deep"], &lake).expect_code(0);
    let again = run(&mut sync_to(&sandbox, &server, &lake)).expect_code(0).json();
    assert_eq!(again["calls"], 0, "everything is covered");
    // Where nothing is listed at all, who names the account is told of it.
    server.list_so(Lists::NothingThere, 1_000);
    assert_eq!(read(&server, &["files", "purchase_apply", "--account", "sandbox"], &lake).expect_code(0).stdout, files);
    // A token names accounts, too.
    let token = rows.stderr.trim().strip_prefix("next token: ").unwrap();
    let none = read(&server, &[&CHANGES[..], &["--since", token]].concat(), &lake).expect_code(0);
    assert_eq!((none.stdout.lines().count(), none.stderr), (1, rows.stderr));
    let mut of_environment = program_at(&sandbox);
    of_environment.envs(server.environment()).args(["files", "purchase_apply", "--lake", &lake]);
    assert_eq!(run(&mut of_environment).expect_code(0).stdout, files);
    let again = run(&mut sync_to(&sandbox, &server, &lake)).expect_code(0).json();
    assert_eq!(again["calls"], 0, "everything is covered");
}

#[test]
fn verify_tells_of_what_is_nobodys() {
    let (sandbox, server) = (erp(60, 30, END), FakeS3::start());
    let lake = server.lake("lake");
    run(&mut sync_to(&sandbox, &server, &lake)).expect_code(0);
    for key in [&b"lake/"[..], b"lake//x", b"lake/purchase_apply/account=sandbox//e.csv", b"lake/a\nb", b"lake/%zz\xff"]
    {
        server.put(key, "x");
    }
    let text = read(&server, &["verify"], &lake).expect_code(0).stdout;
    for name in ["  untracked   \"\"\n", "  untracked   /x\n", "account=sandbox//e.csv\n", "\"a\\nb\"\n", "%zz\u{fffd}"]
    {
        assert!(text.contains(name), "{name:?} is missing:\n{text}");
    }
    let json = read(&server, &["verify", "--json"], &lake).expect_code(0).json();
    assert_eq!(json["untracked"].as_array().unwrap().len(), 5, "{json}");
    for arguments in READERS {
        read(&server, arguments, &lake).expect_code(0);
    }
    run(sync_to(&sandbox, &server, &lake).args(["--lookback", "30d"])).expect_code(0);
}

#[test]
fn a_refusal_is_said_as_it_is_and_costs_no_call() {
    let (sandbox, server) = (erp(20, 10, END), FakeS3::start());
    let lake = server.lake("lake");
    for (status, code, message, word) in [
        (400, "ExpiredToken", "The provided token has expired.", "renew"),
        (400, "InvalidRequest", "Content-MD5 is required with Object Lock parameters", "AWS_CHECKSUM_ALGORITHM"),
        (403, "AccessDenied", "not allowed: kms:GenerateDataKey", "KMS key"),
        (409, "OperationAborted", "A conflicting operation is in progress.", "--max-retry-time"),
        (503, "SlowDown", "Please reduce your request rate.", "--max-retry-time"),
    ] {
        server.reply_by(move |asked| asked.is_conditional.then_some(Reply::Refuse(status, code, message)));
        let said = run(sync_to(&sandbox, &server, &lake).args(["--max-retry-time", "1s"])).expect_code(6);
        for word in [code, word] {
            assert!(said.stderr.contains(word), "`{word}` is missing: {}", said.stderr);
        }
        assert!(!said.stderr.contains("single-writer"), "{}", said.stderr);
        if status < 409 {
            let said = read(&server, &["doctor"], &lake).expect_code(6);
            assert!(said.stdout.contains(word) && !said.stdout.contains("single-writer"), "{}", said.stdout);
        }
        // One that comes later, at the commit, is as plain. It is tried several times, so two are enough.
        if !["ExpiredToken", "SlowDown"].contains(&code) {
            continue;
        }
        server.reply_by(move |asked| {
            (asked.is_conditional && asked.key.contains("_manifest")).then_some(Reply::Refuse(status, code, message))
        });
        let said =
            run(sync_to(&sandbox, &server, &server.lake("other")).args(["--max-retry-time", "1s"])).expect_code(6);
        for word in [code, word, "then run the same command again"] {
            assert!(said.stderr.contains(word), "`{word}` is missing: {}", said.stderr);
        }
    }
}

/// What a run may be waiting for when it is asked to end: none of these is ever answered.
#[cfg(unix)]
mod signals {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::support::process::{end, signal, start, told};

    /// A run is bounded by less than ten seconds; the rest is for a busy machine.
    const LONGEST: Duration = Duration::from_secs(20);

    #[derive(Clone, Copy, Debug)]
    enum Waits {
        FirstListing,
        Manifest,
        Probe,
        Lease,
        Sweep,
        Data,
        Commit,
        Release,
    }

    fn is_reached(waits: Waits, asked: &crate::support::fake_s3::Asked<'_>) -> bool {
        let (method, key) = (asked.method.as_str(), asked.key);
        match waits {
            Waits::FirstListing => asked.is_listing,
            Waits::Manifest => method == "GET" && key.contains("_manifest/"),
            Waits::Probe => method == "PUT" && key.contains("_lease/probe"),
            Waits::Lease => method == "PUT" && key.contains("_lease/account"),
            Waits::Sweep => method == "GET" && key.is_empty() && asked.is_listing,
            Waits::Data => method == "PUT" && key.ends_with(".parquet"),
            Waits::Commit => method == "PUT" && key.contains("_manifest/"),
            Waits::Release => method == "PUT" && key.contains("_lease/account"),
        }
    }

    fn interrupted(waits: Waits, names: &[&str]) -> (Said, Duration) {
        let (sandbox, server) = (erp(20, 10, END), FakeS3::start());
        let (reached, is_waiting) = channel();
        let (mut has_lease, mut has_committed) = (false, false);
        server.reply_by(move |asked| {
            // A lease that is put after a commit gives it back.
            let is_late = match waits {
                Waits::Sweep => has_lease,
                Waits::Release => has_committed,
                _ => true,
            };
            let is_it = is_late && is_reached(waits, asked);
            has_lease |= asked.method == "PUT" && asked.key.contains("_lease/account");
            has_committed |= asked.method == "PUT" && asked.key.contains("_manifest/");
            is_it.then(|| {
                let _ = reached.send(());
                Reply::Never
            })
        });
        let child = start(&mut sync_to(&sandbox, &server, &server.lake("lake")));
        told(&is_waiting);
        let began = Instant::now();
        for name in names {
            signal(child.id(), name);
        }
        (end(child), began.elapsed())
    }

    /// The sync is done: what is put together after it changes neither its report nor its exit code.
    #[test]
    fn a_compaction_that_is_interrupted_ends_as_the_sync_did() {
        let (sandbox, server) = (erp(60, 20, END), FakeS3::start());
        let lake = server.lake("lake");
        let sync = |day: u32, compact: &str| {
            let mut command = program_at(&sandbox);
            command.envs(server.environment()).args(["sync", "--json", "--calls-per-minute", "0", "--lake", &lake]);
            command.args(["--from", "2026-06-11", "--to", &format!("2026-06-{day}"), "--compact", compact]);
            command
        };
        for day in 11..=18 {
            run(&mut sync(day, "off")).expect_code(0);
        }
        let keys = server.keys();
        let (reached, is_waiting) = channel();
        server.reply_by(move |asked| {
            let is_it = asked.method == "PUT" && asked.key.ends_with(".parquet");
            is_it.then(|| {
                let _ = reached.send(());
                Reply::Never
            })
        });
        let child = start(&mut sync(18, "auto"));
        told(&is_waiting);
        let began = Instant::now();
        signal(child.id(), "TERM");
        let said = end(child).expect_code(0);
        assert!(began.elapsed() < LONGEST, "{:?}", began.elapsed());
        let summary = said.json();
        assert_eq!((&summary["interrupted"], &summary["compacted"]["into"]), (&false.into(), &0.into()), "{summary}");
        server.behave();
        assert_eq!(server.keys(), keys);
        assert_eq!(run(&mut sync(18, "auto")).expect_code(0).json()["compacted"]["into"], 1);
        read(&server, &["verify", "--deep"], &lake).expect_code(0);
    }

    #[test]
    fn a_run_ends_whatever_it_waits_for() {
        use Waits::*;
        for waits in [FirstListing, Manifest, Probe, Lease, Sweep, Data, Commit, Release] {
            let (said, took) = interrupted(waits, &["TERM"]);
            assert!(took < LONGEST, "{waits:?}: {took:?}");
            if matches!(waits, Release) {
                // Everything was done before it was asked to end.
                assert!([0, 7].contains(&said.code), "{waits:?}: {}", said.stderr);
                continue;
            }
            assert_eq!(said.code, 7, "{waits:?}: {said:?}");
            assert!(said.stderr.contains("error[WDT-7108]: interrupted"), "{waits:?}: {}", said.stderr);
            assert_eq!(said.json()["interrupted"], true, "{waits:?}");
        }
    }

    #[test]
    fn the_second_signal_ends_it_at_once() {
        for waits in [Waits::Lease, Waits::Commit] {
            let (said, took) = interrupted(waits, &["TERM", "INT", "INT"]);
            assert!(took < Duration::from_secs(7), "{waits:?}: {took:?}, sooner than the time for an orderly end");
            assert!(said.expect_code(7).stderr.contains("interrupted"), "{waits:?}");
        }
    }
}
