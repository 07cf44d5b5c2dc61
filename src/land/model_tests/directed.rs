//! Schedules for rules that random ones seldom try: another run comes in between at every step, in a lake that is made
//! for it. Each test counts how often its case came about, so that it cannot become an empty one unseen.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use super::account::{TrueCommit, id_in, is_header};
use super::process::Traits;
use super::rows::Row;
use super::schedule::{Running, quiesce};
use super::small::{ALL, turns};
use super::world::{Setup, Task, World};
use super::{MIXES, number};
use crate::id::CommitId;
use crate::store::{Store, Writers};

/// Dead ids are forgotten so many manifests later.
const FORGOTTEN_AFTER: u64 = 3;

fn start(world: &Arc<World>, tasks: &[Task]) -> Option<Running> {
    let traits = Traits { place: 0, skew: 0, keeps: None, checkpoints_every: 2, tries: 3 };
    Some(Running::start(world, traits, Some(tasks.to_vec()), true))
}

/// An empty lake.
fn empty(seed: u64) -> Arc<World> {
    empty_in(seed, Store::memory())
}

fn empty_in(seed: u64, lake: Store) -> Arc<World> {
    crate::log::state::standing::forget_sooner(FORGOTTEN_AFTER);
    let is_single = lake.writers() == Writers::Single;
    let setup = Setup { forgotten_after: FORGOTTEN_AFTER, is_single, mix: MIXES[0], ..Setup::quiet() };
    Arc::new(World::new(seed, lake, setup, &["acme"]))
}

/// Says which schedule failed.
fn try_one<T>(which: std::fmt::Arguments<'_>, schedule: impl FnOnce() -> T) -> T {
    let result = std::panic::catch_unwind(AssertUnwindSafe(schedule));
    result.unwrap_or_else(|_| panic!("{which}"))
}

/// Tries what the other run comes in between after so many turns; says which of them failed.
fn try_at<T>(seed: u64, first: u32, schedule: impl FnOnce() -> T) -> T {
    try_one(format_args!("seed {seed}, after {first} turns"), schedule)
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = number("WDT_LAKE_MODEL_SEED").unwrap_or(1);
    first..first + number("WDT_LAKE_MODEL_RUNS").map_or(default, |asked| asked.clamp(default, 400))
}

/// Time goes on to the end of the second month, and a requisition is closed early in it.
fn close_later(world: &World) {
    world.with(|inner| inner.now = 8);
    close(world, 4);
}

/// A requisition is modified in this slot, and closed.
fn close(world: &World, slot: i64) {
    world.account(0, |account| {
        account.source.hold(0, slot, 2);
        account.source.closed.insert((0, 2));
    });
}

/// An open version of a requisition in the first month, and a later closed one in the second.
fn with_a_closed_requisition(seed: u64) -> Arc<World> {
    let world = empty(seed);
    world.account(0, |account| account.source.hold(0, 0, 1));
    for now in [1, 3] {
        world.with(|inner| inner.now = now);
        turns(&mut start(&world, &[Task::Sync, Task::Sync]), ALL);
    }
    close_later(&world);
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

/// Between the walk of a window with the open version and its first file another run lands the closed version, and an
/// expire lets both months go. Gives whether the window was dropped for that, and not because it was fenced.
fn fills_a_gap_that_has_expired(world: &World, seed: u64, first: u32) -> bool {
    let world = Arc::new(world.fork(seed + u64::from(first)));
    let mut one = start(&world, &[Task::Sync]);
    turns(&mut one, first);
    close_later(&world);
    turns(&mut start(&world, &[Task::SyncLater, Task::SyncLater, Task::Expire, Task::Expire, Task::Expire]), ALL);
    turns(&mut one, ALL);
    let is_gone = slots_of(&world, 0).1.is_empty();
    let is_case = world.account(0, |account| {
        let has_expired = account.live.values().flat_map(|commit| &commit.expired).any(|range| range.1 >= 4);
        let is_walked = account.walks.values().flatten().flat_map(|part| &part.versions).any(|row| row.key() == (0, 0));
        let is_dropped = account.told.iter().any(|(id, is_committed)| !is_committed && !account.dead.contains(id));
        is_gone && has_expired && is_walked && is_dropped
    });
    quiesce(&world, &[60]);
    is_case
}

/// A window that nobody has landed yet is walked; meanwhile its requisition is closed, and what closed it expires. Were
/// only the windows expired that had landed, the open version would count again, and for ever.
#[test]
fn a_gap_before_the_cutoff_expires_too() {
    let mut count = 0;
    for seed in seeds(5) {
        let world = empty(seed);
        world.account(0, |account| account.source.hold(0, 0, 1));
        world.with(|inner| inner.now = 4);
        let long = turns(&mut start(&Arc::new(world.fork(seed)), &[Task::Sync]), ALL);
        // Nothing is walked in its first turns.
        for first in 10..=long {
            count += u32::from(try_at(seed, first, || fills_a_gap_that_has_expired(&world, seed, first)));
        }
    }
    println!("{count} windows were dropped because their range has expired");
    assert!(count > 0, "the case does not come about");
}

/// A staged window is fenced, the log forgets that, and the run, which has not read on, puts one more file of it, so
/// that the next sweep fences it again. Gives how many of its commits were fenced twice.
fn is_fenced_twice(world: &World, seed: u64, first: u32) -> usize {
    let world = Arc::new(world.fork(seed));
    let mut one = start(&world, &[Task::Sync]);
    turns(&mut one, first);
    turns(&mut start(&world, &[[Task::Edit, Task::SyncLater]; 4].concat()), ALL);
    turns(&mut one, 3);
    turns(&mut start(&world, &[Task::Sweep]), ALL);
    turns(&mut one, ALL);
    let count = world.account(0, |account| {
        let fences = |id| account.manifests.iter().filter(|manifest| manifest.fences.contains(id)).count();
        account.told.iter().filter(|(id, is_committed)| !is_committed && fences(id) > 1).count()
    });
    quiesce(&world, &[60]);
    count
}

/// What a process remembers of its own ids decides what it may commit, and not what the log may say: the second fence
/// of an id that the log has forgotten is right, though the process knows the first one.
#[test]
fn a_run_reads_on_where_the_log_fences_again_what_it_has_forgotten() {
    let mut count = 0;
    for seed in seeds(5) {
        let world = empty(seed);
        world.with(|inner| inner.now = 4);
        let long = turns(&mut start(&Arc::new(world.fork(seed)), &[Task::Sync]), ALL);
        // Nothing is staged in its first turns.
        for first in 14..=long {
            count += try_at(seed, first, || is_fenced_twice(&world, seed, first));
        }
    }
    println!("{count} staged commits were fenced twice");
    assert!(count > 0, "the case does not come about");
}

/// Windows land at once where there is one writer, and the first manifest gets lost on its way; then it arrives. Gives
/// whether another window was given up for that.
fn loses_sight_of_a_manifest(seed: u64) -> bool {
    let world = empty_in(seed, Store::memory().written_by(Writers::Single));
    world.with(|inner| (inner.now, inner.loses_manifest) = (4, true));
    let traits = Traits { place: 0, skew: 0, keeps: None, checkpoints_every: 2, tries: 1 };
    turns(&mut Some(Running::start(&world, traits, Some(vec![Task::Sync]), true)), ALL);
    let is_late = world.with(|inner| !inner.late.is_empty());
    let staged = world.account(0, |account| {
        let unknown = account.files.keys().filter_map(|path| id_in(path)).filter(|id| !account.born.contains_key(id));
        unknown.collect::<BTreeSet<CommitId>>().len()
    });
    world.arrive(true);
    quiesce(&world, &[60]);
    is_late && staged > 1
}

/// Nothing on such a store would keep the next manifest of the run from the number of the one that is still on its way.
#[test]
fn a_single_writer_commits_no_more_when_it_has_lost_sight_of_a_manifest() {
    let mut count = 0;
    for seed in seeds(40) {
        count += u32::from(try_one(format_args!("seed {seed}"), || loses_sight_of_a_manifest(seed)));
    }
    println!("in {count} runs a window was given up because of a manifest on its way");
    assert!(count > 0, "the case does not come about");
}

/// Whether a live commit holds a later, closed version as a new row and the open one as a carried row, in two files.
fn are_apart(world: &World) -> bool {
    world.account(0, |account| {
        let has = |path: &String, slot| {
            account.files.get(path).is_some_and(|rows| rows.iter().any(|row| row.version.key() == (0, slot)))
        };
        let are_apart = |commit: &TrueCommit| {
            let is_new = |path: &&String| has(path, 1) && !has(path, 0);
            commit.headers.iter().any(|path| has(path, 0)) && commit.headers.iter().any(|path| is_new(&path))
        };
        account.live.values().any(are_apart)
    })
}

/// A refresh lands a closed version beside the open one that it carries, and the commit expires. Gives whether the two
/// stood in two files of it.
fn expires_after_a_refresh(seed: u64) -> bool {
    let world = empty(seed);
    world.account(0, |account| account.source.hold(0, 0, 1));
    turns(&mut start(&world, &[Task::Sync, Task::Sync, Task::Sync, Task::Compact, Task::Compact]), ALL);
    close(&world, 1);
    turns(&mut start(&world, &[Task::Refresh, Task::Refresh]), ALL);
    let are_apart = are_apart(&world);
    world.with(|inner| inner.now = 8);
    turns(&mut start(&world, &[Task::Expire]), ALL);
    let is_case = are_apart && slots_of(&world, 0).1.is_empty();
    quiesce(&world, &[60]);
    is_case
}

/// New rows and carried ones of a commit stand in two files. The carried ones are the older ones, and go first: between
/// the two deletions a view over the files would show the requisition as open again.
#[test]
fn carried_rows_of_a_commit_go_before_its_new_ones() {
    let mut count = 0;
    for seed in seeds(20) {
        count += u32::from(try_one(format_args!("seed {seed}"), || expires_after_a_refresh(seed)));
    }
    println!("in {count} runs an open and a closed version of one commit have expired");
    assert!(count > 0, "the case does not come about");
}
