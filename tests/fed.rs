//! A lake that a job feeds every ten minutes, over the end of a month, with a lookback: its last run costs what its
//! first did, and nothing is lost, doubled or left in small pieces.

use std::sync::Arc;

use wdt_lake::sandbox::{Options, Requisition, Sandbox, SandboxClock};
use wdt_lake::{CallPolicy, Depth, Interrupt, Lake, Store, SyncOptions, SyncReport, Table, sync, verify};

use crate::support::committed::rows;
use crate::support::{account, at};

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
        let running = sync(&account, store.clone(), &options, Arc::new(clock.clone()), Interrupt::never(), &|_| ());
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
