//! A model test of the commit log: up to four processes work on one account or two at once, while they are killed at
//! random steps and at every named point, lose answers, fail, and have effects arrive long after they died; clocks
//! differ; checkpoints are made, harmed, and the log is opened by them; dead ids are forgotten after a few manifests.
//! The processes land windows, refresh, compact, expire, walk expired, live and damaged ranges again, replay, stop
//! requisitions, compact the outcomes, and sweep, with the project's own writer. A small scheduler lets one of them go
//! on at a time, so a seed is a run.
//!
//! The oracle reads the raw objects itself and shares no code with the log ([`account`], [`checks`], [`view`]). After
//! every manifest: numbers have no gap, no id lives twice, live windows and expired ranges are disjoint, every object
//! that counts is there, every row that is due stands once and in its newest reading, every quarantined record too, and
//! the latest version of a requisition is the newest that was committed. Nothing that a live commit names, or that is
//! kept, is deleted. The change feed shows every row once. Every state that a checkpoint and the manifests after it add
//! up to is the true one. Who lists files and knows no log never sees an older version or half of one, but what the
//! documentation of `expire` admits. No requisition is stopped twice. At the end everything that a process was told is
//! true, and after a last sweep nothing is left beside the committed set.
//!
//! `WDT_LAKE_MODEL_RUNS` asks for more runs, `WDT_LAKE_MODEL_SEED` for others; `WDT_LAKE_MODEL_TRACE=1` shows the last
//! events of the first that fails.

mod account;
mod checks;
mod directed;
mod land;
mod parquet;
mod plan;
mod process;
mod rows;
mod schedule;
mod small;
mod stops;
mod view;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use self::wire::Wire;
use self::world::{Setup, Task, World};
use super::creates::Creates;
use crate::store::{Access, Store, Writers};

/// The runs of the default test.
const RUNS: u64 = 160;

/// Seeds beyond these that find an old wording of a rule: of the first, refreshes that gather windows.
const TELLING: [u64; 1] = [329];

/// How work is mixed.
const MIXES: [&[(Task, u32)]; 5] = [
    &[
        (Task::Sync, 16),
        (Task::Refresh, 10),
        (Task::Compact, 8),
        (Task::Expire, 3),
        (Task::Rewalk, 2),
        (Task::RewalkLive, 1),
        (Task::Replay, 1),
        (Task::Stop, 3),
        (Task::CompactStops, 1),
    ],
    &[
        (Task::Sync, 12),
        (Task::Refresh, 24),
        (Task::Compact, 6),
        (Task::Expire, 1),
        (Task::Rewalk, 1),
        (Task::Sweep, 1),
    ],
    &[(Task::Sync, 6), (Task::Refresh, 3), (Task::Compact, 3), (Task::Expire, 3), (Task::Rewalk, 3)],
    &[(Task::Sync, 4), (Task::Compact, 1), (Task::Refresh, 1), (Task::Stop, 9), (Task::CompactStops, 2)],
    &[(Task::Sync, 8), (Task::Compact, 8), (Task::Sweep, 1), (Task::RewalkLive, 2), (Task::Replay, 2)],
];

/// The world of a seed.
fn setup(seed: u64) -> Setup {
    let pick = |of: u64, from: u64| usize::try_from(seed / of % from).expect("small");
    Setup {
        forgotten_after: [3, 3, 5, 20][pick(1, 4)],
        faults: [0, 60, 100, 250][pick(3, 4)],
        is_single: seed % 16 == 15,
        is_parquet: false,
        has_damage: seed % 16 == 14,
        mix: if seed % 16 == 14 { MIXES[4] } else { MIXES[pick(5, 5)] },
    }
}

fn accounts(seed: u64) -> &'static [&'static str] {
    if seed % 7 == 6 { &["acme", "globex"] } else { &["acme"] }
}

fn one(seed: u64, lake: impl Fn() -> Store, change: impl Fn(&mut Setup)) -> Arc<World> {
    let mut setup = setup(seed);
    change(&mut setup);
    let lake = if setup.is_single { lake().written_by(Writers::Single) } else { lake() };
    schedule::random(seed, lake, setup, accounts(seed), [300, 500, 900][usize::try_from(seed % 3).expect("small")])
}

#[test]
fn no_interleaving_loses_doubles_or_ages_a_row() {
    let seen = run_seeds(RUNS, |seed| one(seed, Store::memory, |_| {}));
    assert!(seen.is_empty() || seen.len() > 20, "the model must see all of it: {seen:?}");
}

#[test]
fn no_interleaving_does_so_where_files_are_parquet() {
    with_runtime(|| run_seeds(16, |seed| one(seed, Store::memory, |setup| setup.is_parquet = true)));
}

#[test]
fn no_interleaving_does_so_on_local_disk() {
    run_seeds(8, |seed| {
        let folder = tempfile::tempdir().expect("a folder");
        one(seed, || Store::local(folder.path(), Access::Write).expect("a lake"), |_| {})
    });
}

#[test]
fn no_interleaving_does_so_where_objects_are_created_like_oss() {
    let wire = Wire::to(Creates::LikeOss);
    run_seeds(12, |seed| one(seed, || wire.lake(), |setup| setup.is_single = false));
}

/// Where workers have threads of their own.
fn with_runtime<T>(work: impl FnOnce() -> T) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    work()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// So many runs unless more are asked for, each in a lake of its own; gives what was seen in them.
fn run_seeds(runs: u64, run: impl Fn(u64) -> Arc<World>) -> BTreeMap<&'static str, u64> {
    // The rarer worlds keep their share.
    let runs = number("WDT_LAKE_MODEL_RUNS").map_or(runs, |asked| (asked * runs).div_ceil(RUNS));
    let first = number("WDT_LAKE_MODEL_SEED").unwrap_or(1);
    let mut seen: BTreeMap<&'static str, u64> = BTreeMap::new();
    let telling = TELLING.into_iter().filter(|seed| runs == RUNS && !(first..first + runs).contains(seed));
    for seed in (first..first + runs).chain(telling) {
        let Ok(world) = std::panic::catch_unwind(AssertUnwindSafe(|| run(seed))) else {
            panic!("seed {seed} failed; repeat it with WDT_LAKE_MODEL_SEED={seed} WDT_LAKE_MODEL_RUNS=1")
        };
        for (what, count) in world.with(|inner| inner.tally.clone()) {
            *seen.entry(what).or_default() += count;
        }
    }
    println!("seeds {first}..{}: {seen:?}", first + runs);
    if runs < 50 { BTreeMap::new() } else { seen }
}
