//! Nothing half committed: a gateway that dies in the middle ends the run with exit code 5 within its stated limits.
//! What is committed is complete, what is not leaves nothing behind, and the next run fetches the rest.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use wdt_lake::Window;
use wdt_lake::sandbox::Fault;

use crate::support::campaign::{Campaign, Job};
use crate::support::committed::{assert_exact, assert_nothing_left, coverage};
use crate::support::process::{at_call, end, start, told};
use crate::support::{LakeDir, Said, at, run};

/// A failing call is tried for a second, and its first and its last try may take a second each.
const LIMITS: [&str; 4] = ["--max-retry-time", "1s", "--timeout", "1s"];
/// The stated limits are three seconds; the rest is for a busy machine, and far from the minute that a forgotten limit
/// would take.
const LONGEST: Duration = Duration::from_secs(15);

#[track_caller]
fn unavailable(said: Said, campaign: &Campaign, lake: &LakeDir, about: &str) {
    let said = said.expect_code(5);
    let summary = said.json();
    assert_eq!(summary["exit_code"], 5, "{about}");
    let codes = ["error[WDT-5101]", "error[WDT-5102]", "error[WDT-5104]", "error[WDT-5106]"];
    let told = |code: &str| said.stderr.contains(&format!("{code}: no usable response after"));
    assert!(codes.iter().any(|code| told(code)), "{about}: {}", said.stderr);
    assert!(said.stderr.contains("hint: run the same command again later"), "{about}: {}", said.stderr);
    assert_exact(lake, &campaign.versions(), about);
    assert_nothing_left(lake, about);
    let windows = lake.manifests().iter().filter(|manifest| manifest["kind"] == "sync").count();
    assert_eq!(summary["windows"], windows, "{about}");
}

/// The next run asks for what is missing, and only for that.
fn resumes(campaign: &Campaign, lake: &LakeDir, about: &str) {
    let (covered, before) = (coverage(lake), campaign.erp.world().calls().len());
    run(&mut campaign.sync(lake, Job::Fill)).expect_code(0);
    for call in &campaign.erp.world().calls()[before..] {
        let asked = Window::new(at(&call.params["start_time"]), at(&call.params["end_time"])).unwrap();
        assert_eq!(covered.gaps(asked), [asked], "{about}: {asked} is partly covered");
    }
    campaign.assert_whole(lake, about);
}

fn dies_with(fault: Fault) {
    for answered in [0, 9] {
        let about = format!("{fault} after {answered} calls");
        let campaign = Campaign::new();
        let lake = LakeDir::new();
        let failing = fault.clone();
        campaign.erp.choose_faults(move |call| (call.nth > answered).then(|| failing.clone()));
        let began = Instant::now();
        let said = run(campaign.sync(&lake, Job::Fill).args(LIMITS));
        let took = began.elapsed();
        assert!(took < LONGEST, "{about}: {took:?}");
        unavailable(said, &campaign, &lake, &about);
        assert_eq!(lake.holds_no_more_than_a_start(), answered == 0, "{about}");
        campaign.erp.forget_script();
        resumes(&campaign, &lake, &about);
    }
}

#[test]
fn a_gateway_that_only_answers_502_from_some_moment_on() {
    dies_with(Fault::Status(502));
}

#[test]
fn a_gateway_whose_bodies_never_end_from_some_moment_on() {
    dies_with(Fault::Hang);
}

#[test]
fn a_gateway_that_says_nothing_any_more_from_some_moment_on() {
    dies_with(Fault::Silence);
}

#[test]
fn a_gateway_that_is_gone_from_some_moment_on() {
    let (mut campaign, lake) = (Campaign::new(), LakeDir::new());
    let (reached, dying) = channel();
    let (go_on, dead) = channel::<()>();
    at_call(&campaign.erp, 9, move || {
        reached.send(()).unwrap();
        told(&dead);
    });
    let child = start(campaign.sync(&lake, Job::Fill).args(LIMITS));
    told(&dying);
    // Its port is closed while the ninth call waits for an answer: what is asked from now on is refused.
    let world = campaign.close();
    go_on.send(()).unwrap();
    let began = Instant::now();
    let said = end(child);
    assert!(began.elapsed() < LONGEST, "{:?}", began.elapsed());
    drop(world);
    unavailable(said, &campaign, &lake, "refused");
    assert!(!lake.manifests().is_empty());
    resumes(&campaign, &lake, "refused");
}

#[test]
fn a_refresh_that_is_cut_off_keeps_what_was() {
    let campaign = Campaign::new();
    let lake = campaign.lake();
    campaign.rewrite_history();
    let before = campaign.erp.world().calls().len() as u64;
    campaign.erp.choose_faults(move |call| (call.nth > before + 4).then_some(Fault::Status(502)));
    run(campaign.sync(&lake, Job::Refresh).args(LIMITS)).expect_code(5);
    assert_nothing_left(&lake, "cut off");
    campaign.erp.forget_script();
    run(&mut campaign.sync(&lake, Job::Refresh)).expect_code(0);
    campaign.assert_whole(&lake, "again");
}
