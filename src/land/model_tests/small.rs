//! Schedules of two runs with at most three switches, one of them killed or not, where the store has no faults.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::future::BoxFuture;

use super::process::Traits;
use super::schedule::{MOST_TURNS, Running, Turn, quiesce};
use super::world::{Setup, Task, World, now};
use super::{MIXES, number};
use crate::error::{Error, Result};
use crate::land::stage::CommitOutcome;
use crate::land::testing::{new_commit, replacing, try_writer, writer};
use crate::log::CommitKind;
use crate::store::Store;
use crate::store::failpoint::{Effect, FailPoints, FaultInjection, InjectedAt, Op};

const SETUP: [Task; 9] =
    [Task::Sync, Task::Sync, Task::Stop, Task::Sync, Task::Compact, Task::Sync, Task::Expire, Task::Sync, Task::Sync];

/// What the two do.
const PAIRS: [(&[Task], &[Task]); 17] = [
    (&[Task::Compact], &[Task::Compact]),
    (&[Task::Compact], &[Task::Refresh]),
    (&[Task::Refresh], &[Task::Refresh]),
    (&[Task::Expire], &[Task::Compact]),
    (&[Task::Expire], &[Task::Expire]),
    (&[Task::Expire], &[Task::Rewalk]),
    (&[Task::Rewalk], &[Task::Rewalk]),
    (&[Task::RewalkLive], &[Task::Compact]),
    (&[Task::Replay], &[Task::Refresh]),
    (&[Task::Sync], &[Task::Expire]),
    (
        &[Task::Sync],
        &[Task::Edit, Task::Edit, Task::SyncLater, Task::SyncLater, Task::SyncLater, Task::SyncLater, Task::Expire],
    ),
    (&[Task::Sync], &[Task::Sync]),
    (&[Task::Refresh], &[Task::Expire, Task::Sync]),
    (&[Task::Stop], &[Task::Stop, Task::Sync, Task::Sync, Task::Sync]),
    (&[Task::Sync], &[Task::Compact, Task::Sync, Task::Sync, Task::Sync]),
    (&[], &[Task::Compact]),
    (&[], &[Task::Refresh, Task::Sync]),
];

fn start(world: &Arc<World>, tasks: &[Task]) -> Running {
    let keeps = world.chance(25).then_some(6);
    let traits = Traits { place: 0, skew: 0, keeps, checkpoints_every: 2, tries: 3 };
    Running::start(world, traits, Some(tasks.to_vec()), true)
}

/// At most so many turns; whether it goes on.
pub(super) fn turns(running: &mut Option<Running>, most: u32) -> u32 {
    for done in 0..most {
        if running.as_mut().is_none_or(|running| running.turn() == Turn::Ended) {
            *running = None;
            return done;
        }
        assert!(done < MOST_TURNS, "a process comes to no end");
    }
    most
}

/// A lake with a little of everything, in which some slots have passed since.
fn prepared(seed: u64, (one, other): (&[Task], &[Task])) -> Arc<World> {
    let setup = Setup { forgotten_after: 3, mix: MIXES[0], ..Setup::quiet() };
    let world = Arc::new(World::new(seed, Store::memory(), setup, &["acme"]));
    world.with(|inner| inner.now = 7);
    let is_empty = other.contains(&Task::SyncLater);
    for (at, task) in SETUP.iter().enumerate().filter(|_| !is_empty) {
        if *task != Task::Stop || !one.contains(&Task::Stop) {
            start(&world, &[*task]).finish();
        }
        if at == 3 || at == 6 {
            world.pass_time(1, 2);
            world.change_source(0);
            world.change_source(0);
        }
    }
    if seed % 2 == 1 {
        // A run that died and left objects behind.
        let mut died = Some(start(&world, &[Task::Sync]));
        turns(&mut died, 12);
        died.into_iter().for_each(|died| died.kill(&world));
    }
    world.pass_time(0, 4);
    world.change_source(0);
    world.change_source(0);
    world
}

/// One goes on for `first` turns, the other for `second`, the one for `third`; then the other to its end, and the one
/// too, or it dies.
#[derive(Clone, Copy, Debug)]
struct Switches {
    first: u32,
    second: u32,
    third: u32,
    dies: bool,
}

/// To its end.
pub(super) const ALL: u32 = u32::MAX;
/// Of runs with more tasks no step is tried alone.
const MOST_TASKS: usize = 3;

fn schedule(world: &World, (one, other): (&[Task], &[Task]), switches: Switches) -> (u32, u32) {
    let world = Arc::new(world.fork(7 + u64::from(switches.first)));
    let Switches { first, second, third, dies } = switches;
    let (mut one, mut other) = (Some(start(&world, one)), Some(start(&world, other)));
    let lengths = (turns(&mut one, first), turns(&mut other, second));
    turns(&mut one, third);
    turns(&mut other, ALL);
    if dies {
        one.into_iter().for_each(|one| one.kill(&world));
    } else {
        turns(&mut one, ALL);
    }
    world.account(0, super::account::Account::feed);
    quiesce(&world, &[60]);
    lengths
}

/// The schedules of two runs of these lengths.
fn all_switches(one: u32, other: u32) -> Vec<Switches> {
    let mut all = Vec::new();
    for (first, second) in (0..=one).flat_map(|first| (1..=other).map(move |second| (first, second))) {
        for third in [0, 1, 2, 4, 7, 12] {
            all.extend([false, true].map(|dies| Switches { first, second, third, dies }));
        }
    }
    all
}

/// How many turns the two take when nobody comes in between.
fn lengths(world: &World, pair: (&[Task], &[Task])) -> (u32, u32) {
    let alone = Switches { first: ALL, second: ALL, third: 0, dies: false };
    let (one, _) = schedule(world, pair, alone);
    let (_, other) = schedule(world, pair, Switches { first: 0, ..alone });
    (one, other)
}

fn try_schedule(seed: u64, world: &World, pair: (&[Task], &[Task]), switches: Switches) {
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| schedule(world, pair, switches)));
    assert!(result.is_ok(), "seed {seed}, {pair:?}, {switches:?} failed");
}

#[test]
fn no_small_schedule_does_so() {
    crate::log::state::standing::forget_sooner(3);
    // One of so many schedules is tried, or all.
    let stride = number("WDT_LAKE_MODEL_STRIDE").unwrap_or(401);
    let seed = number("WDT_LAKE_MODEL_SEED").unwrap_or(1);
    let (mut count, mut tried) = (0_u64, 0_u64);
    let pairs = || PAIRS.into_iter().filter(|(_, other)| other.len() <= MOST_TASKS);
    for (seed, pair) in (seed..seed + 2).flat_map(|seed| pairs().map(move |pair| (seed, pair))) {
        let world = prepared(seed, pair);
        let (one, other) = lengths(&world, pair);
        for switches in all_switches(one, other) {
            count += 1;
            if count.is_multiple_of(stride) {
                tried += 1;
                try_schedule(seed, &world, pair, switches);
            }
        }
    }
    println!("{tried} of {count} small schedules");
}

/// Where the other run has so much to do that the log forgets, it comes in between as a whole.
#[test]
fn nothing_does_so_that_comes_in_between() {
    crate::log::state::standing::forget_sooner(3);
    let seed = number("WDT_LAKE_MODEL_SEED").unwrap_or(1);
    let seeds = number("WDT_LAKE_MODEL_RUNS").map_or(4, |asked| asked.min(400));
    let pairs = || PAIRS.into_iter().filter(|(_, other)| other.len() > MOST_TASKS);
    for (seed, pair) in (seed..seed + seeds).flat_map(|seed| pairs().map(move |pair| (seed, pair))) {
        let world = prepared(seed, pair);
        let (one, _) = lengths(&world, pair);
        for first in 0..=one {
            // Some of them die then.
            let dies = (seed + u64::from(first)).is_multiple_of(4);
            try_schedule(seed, &world, pair, Switches { first, second: ALL, third: 0, dies });
        }
    }
}

/// The two merge the same commits, whatever comes in between.
#[test]
fn of_two_compactions_at_once_one_wins() {
    let setup = Setup { forgotten_after: 3, mix: MIXES[0], ..Setup::quiet() };
    let world = Arc::new(World::new(1, Store::memory(), setup, &["acme"]));
    let traits = Traits { place: 0, skew: 0, keeps: None, checkpoints_every: 2, tries: 3 };
    for now in [1, 2] {
        world.with(|inner| inner.now = now);
        Running::start(&world, traits, Some(vec![Task::Sync]), true).finish();
    }
    let start = |world: &Arc<World>| Some(Running::start(world, traits, Some(vec![Task::Compact]), true));
    let long = turns(&mut start(&Arc::new(world.fork(7))), ALL);
    let mut both = 0;
    for (first, second) in (0..=long).flat_map(|first| (1..=long).step_by(3).map(move |second| (first, second))) {
        let world = Arc::new(world.fork(7));
        let (mut one, mut other) = (start(&world), start(&world));
        turns(&mut one, first);
        turns(&mut other, second);
        turns(&mut one, ALL);
        turns(&mut other, ALL);
        let (paths, tick) = world.with(|inner| (inner.held.keys().cloned().collect::<Vec<_>>(), inner.tick));
        world.account(0, |account| {
            let won = account.manifests.iter().filter(|manifest| manifest.kind == "compaction").count();
            assert_eq!((won, account.live.len()), (1, 1), "{first}, {second}");
            both += u64::from(account.told.iter().any(|(_, is_committed)| !is_committed));
            account.check_told();
            // What the loser wrote is gone, and nothing else: that all is there which counts was seen on the way.
            account.check_left(paths.iter(), tick);
        });
    }
    assert!(both > 0, "some of them lose");
}

/// Of an account's log no more manifests are created than so many.
struct Creates(AtomicI64);

impl FaultInjection for Creates {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let is_create =
            matches!(moment, InjectedAt::Before(Effect { op: Op::Create, path, .. }) if path.starts_with("_manifest/"));
        let is_over = is_create && self.0.fetch_sub(1, Ordering::Relaxed) <= 0;
        Box::pin(std::future::ready(if is_over { Err(Error::internal("it comes to no end")) } else { Ok(()) }))
    }
}

/// The fence of the first leftover makes the log forget the second, and so on.
#[test]
fn a_sweep_ends_though_its_own_fence_makes_the_log_forget() {
    crate::log::state::standing::forget_sooner(3);
    let store = Store::memory();
    let swept = now(async {
        let writer = writer(&store).await;
        let mut ids = Vec::new();
        for start in [0, 10, 20, 30] {
            match writer.land(new_commit(start, start + 9)).await.expect("landed") {
                CommitOutcome::Committed(committed) => ids.push(committed),
                CommitOutcome::Dropped(conflict) => panic!("{conflict}"),
            }
        }
        let mut left = Vec::new();
        for (start, old) in [0, 10, 20, 30].into_iter().zip(&ids) {
            for file in old.files() {
                left.push((file.path.clone(), store.get(&file.path).await.expect("an answer").expect("a file")));
            }
            let landed = writer.land(replacing(CommitKind::Refresh, start, start + 9, vec![old.id])).await;
            assert!(matches!(landed, Ok(CommitOutcome::Committed(_))));
        }
        // Deletions that never came: of the four ids the first is forgotten, and the next one is the oldest.
        for (path, bytes) in &left {
            store.put(path, bytes.clone(), "_staging/x").await.expect("put");
        }
        let few = FailPoints::new(Arc::new(Creates(AtomicI64::new(8))));
        let swept = try_writer(&store.with_fail_points(few)).await.expect("opened").sweep().await;
        (swept.expect("it ends"), ids[0].id, left.len())
    });
    assert_eq!((swept.0.fenced, swept.0.deleted.len()), (vec![swept.1], swept.2));
}
