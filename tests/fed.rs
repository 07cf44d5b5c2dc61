//! A lake that a job feeds every ten minutes, over the end of a month, with a lookback: its last run costs what its
//! first did, and nothing is lost, doubled or left in small pieces.

use std::sync::Arc;

use wdt_lake::sandbox::{Options, Requisition, Sandbox, SandboxClock};
use wdt_lake::{CallPolicy, Depth, Interrupt, Lake, Meter, Store, SyncOptions, SyncReport, Table, sync, verify};

use crate::support::committed::rows;
use crate::support::{LakeDir, account, at, erp, program, run};

const STEP_SECONDS: i64 = 600;
const RUNS: i64 = 3 * 144;
const ROWS: i64 = 7;

#[test]
fn the_last_run_of_days_costs_what_the_first_did() {
    let clock = SandboxClock::held(at("2026-06-29 12:05:00"));
    let sandbox = Sandbox::start(Options { clock: clock.clone(), ..Options::default() }).expect("a sandbox");
    let (store, account) = (Store::memory(), account(&sandbox));
    let options = SyncOptions {
        from: Some(at("2026-06-29 12:00:00")),
        lookback: Some(std::time::Duration::from_secs(3_600)),
        calls: CallPolicy { calls_per_minute: 0, ..CallPolicy::default() },
        ..SyncOptions::default()
    };
    let (mut added, mut late, mut most_files, mut compacted) = (0, 0, 0, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for nth in 1..=RUNS {
        let begun = clock.now();
        clock.advance(STEP_SECONDS);
        let mut add = |modified| {
            added += 1;
            let requisition = Requisition::plain(added, &format!("CG{added:06}"), modified);
            sandbox.world().lock().add_as_is(requisition);
        };
        (0..ROWS).for_each(|row| add(begun.plus_seconds(1 + row * 80)));
        // Now and then a row comes that was modified half an hour ago.
        if nth % 20 == 0 {
            late += 1;
            add(begun.plus_seconds(-1_800));
        }
        let (clock, meter) = (Arc::new(clock.clone()), Meter::default());
        let running = sync(&account, store.clone(), &options, clock, Interrupt::never(), &meter);
        let report: SyncReport = runtime.block_on(running).expect("a run");
        assert_eq!(report.exit_code(), 0, "{nth}: {report:?}");
        // Rows of seventy minutes are less than a page.
        assert!(report.calls <= 1 + 6, "{nth}: {} calls", report.calls);
        assert!(report.tally.bytes <= 1 << 20, "{nth}: {} bytes", report.tally.bytes);
        compacted += report.compacted.into;
        if nth % 12 == 0 {
            let lake = runtime.block_on(Lake::open(store.clone(), account.name.clone())).expect("a lake");
            most_files = most_files.max(lake.files(Table::PurchaseApply).len());
        }
    }
    let lake = runtime.block_on(Lake::open(store.clone(), account.name.clone())).expect("a lake");
    let months: Vec<String> = lake.files(Table::PurchaseApply).iter().map(|file| file.entry.path.clone()).collect();
    let june = months.iter().filter(|path| path.contains("modified_month=2026-06")).count();
    println!("{compacted} compactions, at most {most_files} files, {late} rows came late");
    // A refreshed commit has two files of a table until it is put together with its neighbours.
    assert!(june == 1 && most_files <= 100 && compacted >= 8, "{june}, {most_files}, {compacted}");
    // The last minutes are left to the next run.
    let held = runtime.block_on(rows(&store)).len();
    assert!((added as usize - 8..=added as usize).contains(&held), "{held} of {added}");
    let verified = runtime.block_on(verify(&store, account.name, Depth::Deep)).expect("verified");
    assert!(verified.defects.is_empty(), "{:?}", verified.defects);
}

/// Far more rows have come into the newest hours than the lake has there: they are read in ranges of their own, because
/// all of a range is in memory at once.
#[test]
fn a_lookback_over_more_than_one_range_holds_is_cut() {
    let (sandbox, lake) = (erp(30, 5, "2026-06-30 23:59:59"), LakeDir::new());
    crate::support::sync(&sandbox, &lake, &["--from", "2026-06-26", "--to", "2026-06-30"]).expect_code(0);
    let since = at("2026-06-30 00:00:00");
    for nth in 0..1_500 {
        let late = Requisition::plain(500_000 + nth, &format!("LATE{nth}"), since.plus_seconds(nth * 57));
        sandbox.world().lock().add_as_is(late);
    }
    let arguments = ["--to", "2026-06-30", "--lookback", "1d", "--page-size", "10"];
    let said = crate::support::sync(&sandbox, &lake, &arguments).expect_code(0).json();
    assert_eq!(said["rows"]["purchase_apply"], 1_500, "{said}");
    let walks: Vec<u64> = lake
        .whole_manifests()
        .iter()
        .filter(|one| one["commits"][0]["kind"] == "refresh")
        .map(|one| one["walk"]["proof"]["distinct_rows"].as_u64().unwrap())
        .collect();
    assert!(walks.len() > 1 && walks.iter().all(|rows| *rows <= 1_000), "{walks:?}");
    run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
}
