//! A run that is asked to end (SIGINT, SIGTERM) ends with exit code 7, keeps what is committed, gives its lease back,
//! and the next run fetches the rest.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc::channel;

use wdt_lake::Edition;

use crate::support::campaign::{Campaign, Job};
use crate::support::committed::assert_exact;
use crate::support::process::{at_call, end, run_signalled, run_signalled_once, signal, start, told};
use crate::support::{LakeDir, erp_of, program_at, run};

#[test]
fn an_interrupted_run_keeps_what_is_committed() {
    let campaign = Campaign::new();
    let whole = run(&mut campaign.sync(&LakeDir::new(), Job::Fill)).expect_code(0).json()["calls"].as_u64().unwrap();
    for (name, call) in [("TERM", 1), ("INT", 4), ("TERM", whole / 2), ("INT", whole)] {
        let about = format!("{name} at call {call}");
        let lake = LakeDir::new();
        // At the last call every other window has all its answers and is committed without another call.
        let (is_last, first) =
            (call == whole, lake.path().join(format!("_manifest/account=sandbox/{:016}/{:020}.json", 0, 1)));
        let is_so = move || !is_last || first.exists();
        let said = run_signalled_once(is_so, &campaign.erp, &mut campaign.sync(&lake, Job::Fill), call, name);
        let said = said.expect_code(7);
        assert!(said.stderr.contains("error[WDT-7108]: interrupted\nhint: run again"), "{about}: {}", said.stderr);
        let summary = said.json();
        assert_eq!((&summary["interrupted"], &summary["exit_code"]), (&true.into(), &7.into()), "{about}");
        let committed = lake.manifests().iter().filter(|manifest| manifest["kind"] == "sync").count() as u64;
        assert!(committed >= summary["windows"].as_u64().unwrap(), "{about}");
        assert!(committed > 0 || !is_last, "{about}");
        assert_exact(&lake, &campaign.versions(), &about);
        assert!(lake.lease_is_free(), "{about}: the lease was given back");

        let calls = run(&mut campaign.sync(&lake, Job::Fill)).expect_code(0).json()["calls"].as_u64().unwrap();
        // A part of a window may be kept whose rest costs as many calls.
        assert!(committed == 0 || calls <= whole, "{about}: {calls} calls for the rest, {whole} for all");
        campaign.assert_whole(&lake, &about);
    }
}

/// A window of sixty pages that is interrupted near its end is not lost: the list is ordered, and its pages are read
/// from the end backwards.
#[test]
fn a_window_that_is_partly_read_keeps_what_is_proved() {
    for edition in [Edition::Enterprise, Edition::Y] {
        let erp = erp_of(edition, 6_000, 25, "2026-06-29 23:59:59");
        let lake = LakeDir::new();
        let mut command = program_at(&erp);
        command.args(["sync", "--json", "--calls-per-minute", "0", "--lake", &lake.text()]);
        command.args(["--from", "2026-06-01", "--to", "2026-06-30"]);
        let summary = run_signalled(&erp, &mut command, 60, "TERM").expect_code(7).json();
        let kept = summary["rows"]["purchase_apply"].as_u64().unwrap();
        assert!((5_000..6_000).contains(&kept), "{edition}: {kept} of 6,000 are kept");
        assert!(!summary["gaps"].as_array().unwrap().is_empty(), "{edition}: what is missing is named");
        let versions = erp.world().lock().journal().versions().to_vec();
        assert_exact(&lake, &versions, edition.name());
        let rest = run(&mut command).expect_code(0).json();
        assert!(rest["calls"].as_u64().unwrap() < 20, "{edition}: {rest}");
        assert_exact(&lake, &versions, edition.name());
    }
}

#[test]
fn an_interrupted_refresh_forgets_nothing() {
    let campaign = Campaign::new();
    let filled = campaign.lake();
    campaign.rewrite_history();
    for call in [1, 4, 8] {
        let about = format!("call {call}");
        let lake = filled.copy();
        run_signalled(&campaign.erp, &mut campaign.sync(&lake, Job::Refresh), call, "TERM").expect_code(7);
        run(&mut campaign.sync(&lake, Job::Refresh)).expect_code(0);
        campaign.assert_whole(&lake, &about);
    }
}

#[test]
fn a_run_that_waits_for_another_can_be_interrupted() {
    let campaign = Campaign::new();
    let lake = LakeDir::new();
    let (holds, is_held) = channel();
    let (release, released) = channel::<()>();
    at_call(&campaign.erp, 1, move || {
        holds.send(()).unwrap();
        told(&released);
    });
    let first = start(&mut campaign.sync(&lake, Job::Fill));
    told(&is_held);
    let mut command = campaign.sync(&lake, Job::Fill);
    let mut waiting =
        command.args(["--wait", "--log-level", "info"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("waiting for another run to end") && line.contains("at_most=\"60m\"")));
    signal(waiting.id(), "INT");
    let waited = end(waiting).expect_code(7);
    assert_eq!(waited.json()["interrupted"], true);
    assert!(lines.any(|line| line == "error[WDT-7108]: interrupted"));
    release.send(()).unwrap();
    end(first).expect_code(0);
    campaign.assert_whole(&lake, "the first was not disturbed");
}

/// A thread that waits for a disk cannot be stopped. The run gives it up, and the process ends without it.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_hangs_does_not_hold_up_the_end() {
    use std::thread;
    use std::time::{Duration, Instant};

    let campaign = Campaign::new();
    let lake = campaign.lake();
    // Who opens a pipe waits until somebody writes to it.
    let newest = lake.manifests().len();
    let newest = lake.path().join(format!("_manifest/account=sandbox/{:016}/{newest:020}.json", 0));
    std::fs::remove_file(&newest).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&newest).status().unwrap().success());
    let waiting = start(&mut campaign.sync(&lake, Job::Fill));
    let began = Instant::now();
    while !listens_to_terminate(waiting.id()) {
        assert!(began.elapsed() < Duration::from_secs(60), "the program does not listen to signals");
        thread::sleep(Duration::from_millis(5));
    }
    // Time to come to the pipe. A machine that is slower than that ends earlier, and as well.
    thread::sleep(Duration::from_secs(1));
    signal(waiting.id(), "TERM");
    let said = end(waiting).expect_code(7);
    assert!(said.stderr.contains("error[WDT-7108]: interrupted\n"), "{}", said.stderr);
    assert!(!said.stderr.contains("did not end"), "{}", said.stderr);
}

/// Whether a process has a handler for SIGTERM, number 15.
#[cfg(target_os = "linux")]
fn listens_to_terminate(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << 14 != 0
}
