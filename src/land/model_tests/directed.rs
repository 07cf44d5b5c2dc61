//! Schedules for rules that random ones seldom try: another run comes in between at every step, in a lake that is made
//! for it. Each test counts how often its case came about, so that it cannot become an empty one unseen.

use std::sync::Arc;

use super::account::{id_in, is_header};
use super::process::Traits;
use super::schedule::{Running, quiesce};
use super::small::{ALL, turns};
use super::world::{Setup, Task, World};
use super::{MIXES, number};
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

fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = number("WDT_LAKE_MODEL_SEED").unwrap_or(1);
    first..first + number("WDT_LAKE_MODEL_RUNS").map_or(default, |asked| asked.clamp(default, 400))
}

/// An open version and a later closed one, in commits of their own.
fn with_a_closed_requisition(seed: u64) -> Arc<World> {
    let world = empty(seed);
    world.account(0, |account| account.source.hold(0, 0, 1));
    for now in [1, 2] {
        world.with(|inner| inner.now = now);
        turns(&mut start(&world, &[Task::Sync]), ALL);
    }
    world.with(|inner| inner.now = 4);
    world.account(0, |account| {
        account.source.hold(0, 3, 2);
        account.source.closed.insert((0, 2));
    });
    turns(&mut start(&world, &[Task::Sync, Task::Sync]), ALL);
    world
}

/// Whether a header of a removed commit still stands: whoever removed it died before it was deleted.
fn has_left_a_header(world: &World) -> bool {
    world.account(0, |account| {
        let is_left = |path: &String| is_header(path) && id_in(path).is_some_and(|id| account.dead.contains(&id));
        account.files.keys().any(is_left)
    })
}

/// The compaction leaves the open version, and the expire deletes the closed one. Were it the only one that it deletes,
/// a view over the files would show the requisition as open again: what was removed earlier goes first.
#[test]
fn an_expire_clears_away_what_a_compaction_that_died_has_left_first() {
    let mut count = 0;
    for seed in seeds(4) {
        let world = with_a_closed_requisition(seed);
        let long = turns(&mut start(&Arc::new(world.fork(seed)), &[Task::Expire]), ALL);
        let other = turns(&mut start(&Arc::new(world.fork(seed)), &[Task::Compact]), ALL);
        for (first, second) in (0..=long).flat_map(|first| (1..=other).map(move |second| (first, second))) {
            let world = Arc::new(world.fork(seed));
            let (mut expire, mut compaction) = (start(&world, &[Task::Expire]), start(&world, &[Task::Compact]));
            turns(&mut expire, first);
            turns(&mut compaction, second);
            compaction.into_iter().for_each(|died| died.kill(&world));
            let has_left = has_left_a_header(&world);
            let expires =
                || world.account(0, |account| account.manifests.iter().filter(|m| m.kind == "expire").count());
            let before = expires();
            turns(&mut expire, ALL);
            count += u32::from(has_left && expires() > before);
            quiesce(&world, &[60]);
        }
    }
    println!("{count} expires after a compaction that left something");
    assert!(count > 0, "the case does not come about");
}

/// A run stages a window; another one takes it for dead, fences it, and goes on until the log has forgotten that. The
/// run reads on and must still know.
#[test]
fn a_staged_commit_does_not_come_back_when_the_log_has_forgotten_its_fence() {
    let others = [[Task::Edit, Task::SyncLater]; 4].concat();
    let mut count = 0;
    for seed in seeds(12) {
        let world = empty(seed);
        world.with(|inner| inner.now = 4);
        let long = turns(&mut start(&Arc::new(world.fork(seed)), &[Task::Sync]), ALL);
        for first in 0..=long {
            let world = Arc::new(world.fork(seed));
            let mut one = start(&world, &[Task::Sync]);
            turns(&mut one, first);
            turns(&mut start(&world, &others), ALL);
            let forgotten: Vec<_> = world.account(0, |account| {
                account.dead.iter().filter(|id| !account.gone.contains_key(id)).copied().collect()
            });
            turns(&mut one, ALL);
            let told = world.account(0, |account| account.told.clone());
            count += told.iter().filter(|(id, is_committed)| !is_committed && forgotten.contains(id)).count();
            quiesce(&world, &[60]);
        }
    }
    println!("{count} staged commits whose fence was forgotten");
    assert!(count > 0, "the case does not come about");
}
