//! Promise 2: the real program dies at every named step of a commit and a sweep, and at calls chosen by seed, while it
//! fills and while it refreshes a lake on local disk. Run again, it leaves every version in the lake once, no orphan,
//! nothing half written, no lease.
//!
//! `WDT_DEATHS` sets how many random lives are tried, `WDT_SEED` the first seed. The fail points exist in builds with
//! debug assertions only; of a release build the tests try that it has none.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use wdt_lake::{Access, FAIL_POINTS, Store};

use crate::completeness;
use crate::support::campaign::{Campaign, Job};
use crate::support::committed::{assert_nothing_left, coverage};
use crate::support::process::run_signalled;
use crate::support::{LakeDir, Said, program, run};

/// How a process ends that aborts, and one that is killed.
pub(crate) const ABORTED: i32 = -6;
pub(crate) const KILLED: i32 = -9;

/// The lakes that a run may find, and what it is asked to do with them.
#[cfg(debug_assertions)]
struct Beginnings {
    campaign: Campaign,
    /// A lake that was up to date before the ERP's history was rewritten.
    filled: LakeDir,
    /// A lake whose writer died just before it committed a window.
    orphaned: LakeDir,
}

#[cfg(debug_assertions)]
impl Beginnings {
    fn new() -> Self {
        let campaign = Campaign::new();
        let (filled, orphaned) = (campaign.lake(), LakeDir::new());
        campaign.rewrite_history();
        die_at("commit.files_written@3", &campaign, &orphaned, Job::Fill);
        Self { campaign, filled, orphaned }
    }

    /// Where a run passes `point`: which lake it finds, and its job.
    fn passing(&self, point: &str) -> Vec<(&str, LakeDir, Job)> {
        let fill = || ("an empty lake", LakeDir::new(), Job::Fill);
        let refresh = || ("a filled lake", self.filled.copy(), Job::Refresh);
        let tidy_up = || ("a lake with an orphan", self.orphaned.copy(), Job::Fill);
        match point {
            "commit.removed_one" => vec![refresh()],
            "sweep.fenced" | "sweep.deleted_one" => vec![tidy_up()],
            // The run that filled the lake has left nothing: there is no sweep.
            "sweep.listed" => vec![fill(), tidy_up()],
            _ => vec![fill(), refresh(), tidy_up()],
        }
    }
}

fn aborted(point: &str, campaign: &Campaign, lake: &LakeDir, job: Job) -> Said {
    run(campaign.sync(lake, job).env("WDT_LAKE_FAILPOINT", point))
}

#[cfg(debug_assertions)]
#[track_caller]
fn die_at(point: &str, campaign: &Campaign, lake: &LakeDir, job: Job) {
    let said = aborted(point, campaign, lake, job);
    assert_eq!(said.code, ABORTED, "{point} is passed: {said:?}");
}

/// The first half of the points; both halves run side by side.
#[test]
#[cfg(debug_assertions)]
fn death_at_every_named_step_of_a_landing_is_survived() {
    die_at_each(&FAIL_POINTS[..FAIL_POINTS.len() / 2]);
}

#[test]
#[cfg(debug_assertions)]
fn death_at_every_named_step_of_a_commit_and_a_sweep_is_survived() {
    die_at_each(&FAIL_POINTS[FAIL_POINTS.len() / 2..]);
}

#[cfg(debug_assertions)]
fn die_at_each(points: &[&str]) {
    let beginnings = Beginnings::new();
    for point in points {
        for nth in [1, 2] {
            for (found, lake, job) in beginnings.passing(point) {
                // A run sweeps once.
                if nth > 1 && matches!(*point, "sweep.listed" | "sweep.fenced") {
                    continue;
                }
                let about = format!("{point}@{nth}, {job:?} of {found}");
                die_at(&format!("{point}@{nth}"), &beginnings.campaign, &lake, job);
                if *point == "put.staged" && nth == 1 && job == Job::Refresh {
                    // It had no lease yet, so that nobody knows of it: what it has left is found by the daily sweep.
                    lake.forget_the_end();
                }
                let again = run(&mut beginnings.campaign.sync(&lake, Job::Refresh));
                assert_eq!(again.code, 0, "{about}: {again:?}");
                match job {
                    Job::Refresh => beginnings.campaign.assert_whole(&lake, &about),
                    Job::Fill => beginnings.campaign.assert_current(&lake, &about),
                }
            }
        }
    }
}

/// The last step of all: nothing is missing any more, and yet the next run clears away what the dead one has left.
#[test]
#[cfg(debug_assertions)]
fn a_run_that_has_nothing_to_fetch_still_tidies_up() {
    let campaign = Campaign::new();
    let lake = campaign.lake();
    let commits = lake.manifests().len();
    for (point, nth) in [("create.published", commits), ("commit.done", commits), ("commit.created", commits)] {
        let lake = LakeDir::new();
        die_at(&format!("{point}@{nth}"), &campaign, &lake, Job::Fill);
        assert!(!lake.lease_is_free(), "it had no time to give its lease back");
        let summary = run(&mut campaign.sync(&lake, Job::Fill)).expect_code(0).json();
        assert_eq!(summary["calls"], 0, "{point}");
        campaign.assert_whole(&lake, point);
    }
}

#[test]
#[cfg(not(debug_assertions))]
fn a_release_build_has_no_fail_points() {
    let campaign = Campaign::new();
    for point in FAIL_POINTS {
        let lake = LakeDir::new();
        assert_eq!(aborted(point, &campaign, &lake, Job::Fill).code, 0, "{point}");
    }
}

#[test]
fn random_lives_and_deaths_lose_and_double_nothing() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"));
    let (first, lives) = (number("WDT_SEED", 1), number("WDT_DEATHS", 12));
    println!("seeds {first} to {}", first + lives - 1);
    let campaign = Campaign::new();
    let filled = campaign.lake();
    campaign.rewrite_history();
    let mut deaths = 0;
    for seed in first..first + lives {
        let mut rng = StdRng::seed_from_u64(seed);
        let begins_empty = rng.random_bool(0.5);
        let lake = if begins_empty { LakeDir::new() } else { filled.copy() };
        let mut story = format!("seed {seed}");
        for _ in 0..rng.random_range(1..4) {
            let job = if rng.random_bool(0.5) { Job::Fill } else { Job::Refresh };
            let said = if cfg!(debug_assertions) && rng.random_bool(0.4) {
                let point = FAIL_POINTS[rng.random_range(0..FAIL_POINTS.len())];
                let point = format!("{point}@{}", rng.random_range(1..8));
                story += &format!(", {job:?} until {point}");
                aborted(&point, &campaign, &lake, job)
            } else {
                let nth = rng.random_range(1..15);
                story += &format!(", {job:?} until call {nth}");
                run_signalled(&campaign.erp, &mut campaign.sync(&lake, job), nth, "KILL")
            };
            assert!([0, ABORTED, KILLED].contains(&said.code), "{story}: {said:?}");
            deaths += u64::from(said.code != 0);
        }
        let last = run(&mut campaign.sync(&lake, Job::Refresh));
        assert_eq!(last.code, 0, "{story}: {last:?}");
        if begins_empty { campaign.assert_current(&lake, &story) } else { campaign.assert_whole(&lake, &story) }
    }
    println!("{deaths} deaths");
    assert!(deaths >= lives / 2, "most are killed: {deaths} of {lives}");
}

/// Requisitions are edited, and so leave the range, while a run pages through it and until it is killed. The edits go
/// on while the last run, which is left alone, completes the lake.
#[test]
fn edits_and_deaths_together_lose_and_double_nothing() {
    let (lives, mut deaths, mut owed, mut left) = (3, 0, 0, 0);
    for seed in 1..=6 {
        let (campaign, lake) = (Campaign::new(), LakeDir::new());
        let mut rng = StdRng::seed_from_u64(seed);
        for life in 0..=lives {
            let edits = rng.random::<u64>();
            campaign.erp.before_call(move |world, call| {
                let mut rng = StdRng::seed_from_u64(edits ^ call.nth);
                let there: Vec<_> = world.window(Campaign::range()).iter().map(|key| key.1).collect();
                if !there.is_empty() && rng.random_bool(0.7) {
                    let number =
                        world.get(there[rng.random_range(0..there.len())]).map(|one| one.purchase_apply_no.to_string());
                    world.edit(&number.expect("it is there"), |edited| edited.remark = "改".into());
                }
            });
            let mut command = campaign.sync(&lake, if life % 2 == 0 { Job::Fill } else { Job::Refresh });
            if life < lives {
                let said = run_signalled(&campaign.erp, &mut command, rng.random_range(2..14), "KILL");
                assert!([0, KILLED].contains(&said.code), "seed {seed}, life {life}: {said:?}");
                deaths += u64::from(said.code == KILLED);
            } else {
                let said = run(&mut command);
                assert_eq!(said.code, 0, "seed {seed}: {said:?}");
            }
        }
        let about = format!("seed {seed}");
        assert_eq!(coverage(&lake).gaps(Campaign::range()), [], "{about}");
        assert_nothing_left(&lake, &about);
        let store = Store::open(&lake.text(), Access::Read).expect("a lake");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        owed += runtime.block_on(completeness::check(&campaign.erp, &store, seed));
        left += campaign.versions().iter().filter(|version| version.died.is_some()).count();
        run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
    }
    println!("{deaths} deaths, {left} versions left while others walked, {owed} had to be there");
    assert!(deaths >= 12 && left > 100 && owed > 100, "{deaths} deaths, {left} versions left, {owed} owed");
}
