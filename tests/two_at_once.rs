//! Two processes on one lake. Courtesy keeps the second away or lets it wait; where courtesy fails (its lease is taken
//! away while both run, or one is frozen for as long as the other works), the commit log alone sees to it that nothing
//! is lost and nothing doubled.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};

use crate::support::campaign::{Campaign, Job};
use crate::support::process::{at_call, end, signal, start, told};
use crate::support::{LakeDir, program, run};

const ROUNDS: u64 = 20;

/// How the two meet.
#[derive(Clone, Copy, Debug)]
enum Meeting {
    /// They start in the same instant, and courtesy may do what it can.
    AtOnce,
    /// The first is frozen at its call of this number until the second, which finds no lease, makes its first call;
    /// then they race.
    Race(u64),
    /// The first is frozen at its call of this number until the second, which finds no lease, has done everything.
    Frozen(u64),
    /// The same, but the second has nothing to fetch if the first only refreshes: it sweeps away what the first has
    /// half written.
    Swept(u64),
}

fn take_lease_away(lake: &LakeDir) {
    std::fs::remove_file(lake.path().join("_lease/account=sandbox.json")).expect("a lease");
}

/// Starts a run and says when it is frozen, at its call of this number.
fn start_and_freeze(campaign: &Campaign, lake: &LakeDir, job: Job, nth: u64) -> (Child, Receiver<()>) {
    let (frozen, is_frozen) = channel();
    let (started, process) = channel();
    at_call(&campaign.erp, nth, move || {
        signal(told(&process), "STOP");
        frozen.send(()).unwrap();
    });
    let child = start(&mut campaign.sync(lake, job));
    started.send(child.id()).unwrap();
    (child, is_frozen)
}

fn meet(campaign: &Campaign, lake: &LakeDir, job: Job, meeting: Meeting) {
    let about = format!("{meeting:?}, {job:?}");
    match meeting {
        Meeting::AtOnce => {
            let both = [(); 2].map(|()| start(&mut campaign.sync(lake, job)));
            let mut codes = both.map(|child| end(child).code);
            codes.sort_unstable();
            assert!(codes == [0, 0] || codes == [0, 6], "{about}: {codes:?}");
        }
        Meeting::Race(nth) | Meeting::Frozen(nth) | Meeting::Swept(nth) => {
            let (first, is_frozen) = start_and_freeze(campaign, lake, job, nth);
            told(&is_frozen);
            take_lease_away(lake);
            // Its page size tells whose call it is.
            let (arrives, arrived) = channel();
            campaign.erp.choose_faults(move |call| {
                if call.params["page_size"] == "19" {
                    let _ = arrives.send(());
                }
                None
            });
            let seconds_job = if matches!(meeting, Meeting::Swept(_)) { Job::Fill } else { job };
            let mut second = start(&mut campaign.sync_by_pages_of(19, lake, seconds_job));
            match meeting {
                Meeting::Race(_) => told(&arrived),
                _ => _ = second.wait().unwrap(),
            }
            signal(first.id(), "CONT");
            let said = [first, second].map(end);
            assert!(said.iter().all(|said| said.code == 0), "{about}: {said:?}");
        }
    }
    campaign.erp.forget_script();
}

#[test]
fn twenty_rounds_of_two_at_once_lose_and_double_nothing() {
    let campaign = Campaign::new();
    let filled = campaign.lake();
    campaign.rewrite_history();
    let found = |job| if job == Job::Fill { LakeDir::new() } else { filled.copy() };
    let calls = [Job::Fill, Job::Refresh]
        .map(|job| run(&mut campaign.sync(&found(job), job)).expect_code(0).json()["calls"].as_u64().unwrap());
    println!("{calls:?} calls fill and refresh the lake");
    let mut fences = 0;
    for round in 0..ROUNDS {
        let job = if round % 2 == 0 { Job::Fill } else { Job::Refresh };
        let lake = found(job);
        let calls = calls[round as usize % 2];
        let meeting = match round / 2 % 5 {
            0 => Meeting::AtOnce,
            1 => Meeting::Race(1),
            2 => Meeting::Race(1 + round % calls),
            3 => Meeting::Frozen(1 + round / 2 % calls),
            _ => Meeting::Swept(calls - round % 3),
        };
        meet(&campaign, &lake, job, meeting);
        let about = format!("round {round}, {meeting:?}, {job:?}");
        fences += lake.manifests().iter().filter(|manifest| manifest["kind"] == "fence").count();
        // What the two left to each other's sweep goes with the next run.
        run(&mut campaign.sync(&lake, Job::Fill)).expect_code(0);
        match job {
            Job::Fill => campaign.assert_current(&lake, &about),
            Job::Refresh => campaign.assert_whole(&lake, &about),
        }
        let status = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
        let account = &status["accounts"][0];
        assert_eq!(
            (&account["gaps"], &account["untracked"]),
            (&serde_json::json!([]), &serde_json::json!([])),
            "{about}"
        );
        assert_eq!((&account["unfinished_commits"], &account["files_to_delete"]), (&0.into(), &0.into()), "{about}");
    }
    println!("{fences} times one fenced what the other had half written");
}

#[test]
fn a_second_run_is_turned_away_or_waits_and_then_finds_everything_done() {
    let (campaign, lake) = (Campaign::new(), LakeDir::new());
    let (holds, is_held) = channel();
    let (release, released) = channel::<()>();
    at_call(&campaign.erp, 1, move || {
        holds.send(()).unwrap();
        told(&released);
    });
    let first = start(&mut campaign.sync(&lake, Job::Fill));
    told(&is_held);
    let files = lake.files();
    let turned_away = run(&mut campaign.sync(&lake, Job::Fill)).expect_code(6);
    assert!(turned_away.stdout.is_empty());
    assert!(
        turned_away.stderr.contains("error[WDT-6101]: another run is at work on this account"),
        "{}",
        turned_away.stderr
    );
    assert!(turned_away.stderr.contains("hint: wait for it with `--wait`"), "{}", turned_away.stderr);
    let gave_up = run(campaign.sync(&lake, Job::Fill).args(["--wait", "1s"])).expect_code(6);
    assert!(gave_up.stderr.contains("waited: 1s"), "{}", gave_up.stderr);
    assert_eq!(lake.files(), files, "they left no trace");

    let mut waiting = start(campaign.sync(&lake, Job::Fill).args(["--wait", "--log-level", "info"]));
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("waiting for another run to end")));
    release.send(()).unwrap();
    end(first).expect_code(0);
    let waited = end(waiting).expect_code(0).json();
    assert_eq!((&waited["calls"], &waited["windows"]), (&0.into(), &0.into()));
    campaign.assert_whole(&lake, "both are done");
}
