//! Schedules for rules that random ones seldom try: another run comes in between at every step, in a lake that is made
//! for it. Each test counts how often its case came about, so that it cannot become an empty one unseen.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use super::account::{id_in, is_header};
use super::process::Traits;
use super::rows::Row;
use super::schedule::{Running, quiesce};
use super::small::{ALL, turns};
use super::world::{Setup, Task, World};
use super::{MIXES, number};
use crate::id::CommitId;
use crate::store::Store;

/// Dead ids are forgotten so many manifests later.
const FORGOTTEN_AFTER: u64 = 3;

fn start(world: &Arc<World>, tasks: &[Task]) -> Option<Running> {
    let traits = Traits { place: 0, skew: 0, keeps: None, checkpoints_every: 2, tries: 3 };
    Some(Running::start(world, traits, Some(tasks.to_vec()), true))
}

/// An empty lake.
fn empty(seed: u64) -> Arc<World> {
    crate::log::state::standing::forget_sooner(FORGOTTEN_AFTER);
    let setup = Setup { forgotten_after: FORGOTTEN_AFTER, mix: MIXES[0], ..Setup::quiet() };
    Arc::new(World::new(seed, Store::memory(), setup, &["acme"]))
}

/// Tries what the other run comes in between after so many turns; says which of them failed.
fn try_at<T>(seed: u64, first: u32, tried: impl FnOnce() -> T) -> T {
    let result = std::panic::catch_unwind(AssertUnwindSafe(tried));
    result.unwrap_or_else(|_| panic!("seed {seed}, after {first} turns"))
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = number("WDT_LAKE_MODEL_SEED").unwrap_or(1);
    first..first + number("WDT_LAKE_MODEL_RUNS").map_or(default, |asked| asked.clamp(default, 400))
}

/// An open version of a requisition in the first month, and a later closed one in the second.
fn with_a_closed_requisition(seed: u64) -> Arc<World> {
    let world = empty(seed);
    world.account(0, |account| account.source.hold(0, 0, 1));
    for now in [1, 3] {
        world.with(|inner| inner.now = now);
        turns(&mut start(&world, &[Task::Sync, Task::Sync]), ALL);
    }
    world.with(|inner| inner.now = 8);
    world.account(0, |account| {
        account.source.hold(0, 4, 2);
        account.source.closed.insert((0, 2));
    });
    turns(&mut start(&world, &[Task::Sync, Task::Sync]), ALL);
    world
}

/// Of this requisition the slots of the versions in headers that whoever removed them has left, and in live ones.
fn slots_of(world: &World, num: u8) -> (Vec<i64>, Vec<i64>) {
    world.account(0, |account| {
        let is_left = |path: &str| is_header(path) && id_in(path).is_some_and(|id| account.dead.contains(&id));
        let left = account.files.iter().filter(|(path, _)| is_left(path)).flat_map(|(_, rows)| rows.iter().copied());
        let slots = |rows: Vec<Row>| {
            rows.iter().filter(|row| row.version.num == num).map(|row| row.version.slot).collect::<Vec<_>>()
        };
        (slots(left.collect()), slots(account.live_rows().collect()))
    })
}

/// The edits are places where the other comes in between after the lease was taken and before the log is read.
const EXPIRE: [Task; 3] = [Task::Edit, Task::Edit, Task::Expire];

/// Between two turns of an expire a compaction dies as soon as it has replaced the open version. Gives whether both
/// versions have expired then; nothing when the compaction has not replaced it.
fn expires_after_a_death(world: &World, seed: u64, first: u32) -> Option<bool> {
    let world = Arc::new(world.fork(seed + u64::from(first)));
    let (mut expire, mut compaction) = (start(&world, &EXPIRE), start(&world, &[Task::Compact]));
    turns(&mut expire, first);
    let is_left = || slots_of(&world, 0).0 == [0];
    while !is_left() && turns(&mut compaction, 1) > 0 {}
    compaction.filter(|_| is_left())?.kill(&world);
    turns(&mut expire, ALL);
    let is_case = slots_of(&world, 0).1.is_empty();
    quiesce(&world, &[60]);
    Some(is_case)
}

/// The compaction leaves the open version, and the expire deletes the closed one. Were it the only one that it deletes,
/// a view over the files would show the requisition as open again: what was removed earlier goes first.
#[test]
fn an_expire_clears_away_what_a_compaction_that_died_has_left_first() {
    let (mut count, mut tried) = (0, 0);
    for seed in seeds(6) {
        let world = with_a_closed_requisition(seed);
        let long = turns(&mut start(&Arc::new(world.fork(seed)), &EXPIRE), ALL);
        for is_case in (0..=long).filter_map(|first| try_at(seed, first, || expires_after_a_death(&world, seed, first)))
        {
            (tried, count) = (tried + 1, count + u32::from(is_case));
        }
    }
    println!("in {count} of {tried} schedules the older version was left, and then both have expired");
    assert!(count > 0, "the case does not come about");
}

/// A staged window is fenced, and the log forgets that, between two turns of a run. Gives how many of its commits were
/// dropped then.
fn comes_back_after_its_fence(world: &World, seed: u64, first: u32) -> usize {
    let world = Arc::new(world.fork(seed));
    let mut one = start(&world, &[Task::Sync]);
    turns(&mut one, first);
    turns(&mut start(&world, &[[Task::Edit, Task::SyncLater]; 4].concat()), ALL);
    let forgotten: Vec<CommitId> =
        world.account(0, |account| account.dead.iter().filter(|id| !account.gone.contains_key(id)).copied().collect());
    turns(&mut one, ALL);
    let told = world.account(0, |account| account.told.clone());
    quiesce(&world, &[60]);
    told.iter().filter(|(id, is_committed)| !is_committed && forgotten.contains(id)).count()
}

/// A run stages a window; another one takes it for dead, fences it, and goes on until the log has forgotten that. The
/// run reads on and must still know.
#[test]
fn a_staged_commit_does_not_come_back_when_the_log_has_forgotten_its_fence() {
    let mut count = 0;
    for seed in seeds(6) {
        let world = empty(seed);
        world.with(|inner| inner.now = 4);
        let long = turns(&mut start(&Arc::new(world.fork(seed)), &[Task::Sync]), ALL);
        // Nothing is staged in its first turns.
        for first in 8..=long {
            count += try_at(seed, first, || comes_back_after_its_fence(&world, seed, first));
        }
    }
    println!("{count} staged commits whose fence was forgotten");
    assert!(count > 0, "the case does not come about");
}
