//! The scheduler: it lets one process go on at a time, kills processes, and lets the world change.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::process::{Traits, binding_of, live};
use super::world::{DAY, Interference, Setup, Task, Unpark, World, now};
use crate::error::{ErrorKind, Result};
use crate::log::checkpoint::{self, ListedCheckpoint};
use crate::log::{Lake, Layout, read};
use crate::store::Store;
use crate::store::failpoint::{BUCKET_POINTS, POINTS};

/// A process under way.
pub(super) struct Running {
    future: Pin<Box<dyn Future<Output = Result<()>>>>,
    interference: Arc<Interference>,
}

/// Whoever takes more turns comes to no end.
pub(super) const MOST_TURNS: u32 = 3_000;

/// What came of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Stepped,
    /// It has come to its end, or died.
    Ended,
}

impl Running {
    pub(super) fn start(world: &Arc<World>, traits: Traits, tasks: Option<Vec<Task>>, is_safe: bool) -> Self {
        let doom = (!is_safe && world.chance(15)).then(|| {
            let all = POINTS.len() + BUCKET_POINTS.len();
            let at = usize::try_from(world.below(all as i64)).expect("small");
            let name = POINTS.iter().chain(&BUCKET_POINTS).nth(at).expect("a point");
            (*name, u32::try_from(world.below(4)).expect("small"))
        });
        let interference = Interference::new(world, doom, is_safe);
        let store = interference.store();
        let future = live(Arc::clone(world), store, Arc::clone(&interference), traits, tasks);
        Self { future: Box::pin(future), interference }
    }

    /// Somebody who only reads.
    fn reader(world: &Arc<World>, place: usize) -> Self {
        let interference = Interference::new(world, None, false);
        let store = interference.store();
        let world = Arc::clone(world);
        let name = world.account(place, |account| account.name.clone());
        let future = async move {
            let lake = Lake::open(store, name).await?;
            world.count("slow openings");
            world.account(place, |account| account.check_state(lake.state()));
            Ok(())
        };
        Self { future: Box::pin(future), interference }
    }

    /// Goes on to its next step at the store.
    pub(super) fn turn(&mut self) -> Turn {
        self.interference.has_stepped.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match self.future.as_mut().poll(&mut context) {
                Poll::Ready(outcome) => {
                    if let Err(error) = outcome {
                        let told = error.kind();
                        assert!(matches!(told, ErrorKind::Lake), "a process ends with {error}");
                    }
                    return Turn::Ended;
                }
                Poll::Pending if self.interference.is_dead.load(Ordering::Relaxed) => return Turn::Ended,
                Poll::Pending if self.interference.has_stepped.load(Ordering::Relaxed) => return Turn::Stepped,
                Poll::Pending => thread::park_timeout(Duration::from_millis(20)),
            }
        }
    }

    pub(super) fn finish(mut self) {
        let mut turns = 0;
        while self.turn() == Turn::Stepped {
            turns += 1;
            assert!(turns < MOST_TURNS, "a process comes to no end");
        }
    }

    /// It is killed; what it has under way may still arrive.
    pub(super) fn kill(self, world: &World) {
        let under_way = std::mem::take(&mut *self.interference.under_way.lock().expect("no panic"));
        drop(self.future);
        for pending in under_way {
            if world.chance(60) {
                world.with(|inner| inner.late.push(pending));
            }
        }
        world.look();
    }
}

fn traits(world: &World, place: usize) -> Traits {
    Traits {
        place,
        skew: [-1, 0, 0, 1][usize::try_from(world.below(4)).expect("small")],
        keeps: world.chance(33).then_some(6),
        checkpoints_every: world.below(4).unsigned_abs() + 1,
        tries: u32::try_from(1 + world.below(3)).expect("small"),
    }
}

/// Shows the last events of a run that fails, where somebody wants to see them.
struct ShowTrace(Arc<World>);

impl Drop for ShowTrace {
    fn drop(&mut self) {
        if thread::panicking() && std::env::var_os("WDT_LAKE_MODEL_TRACE").is_some() {
            let lines = self.0.with(|inner| inner.trace.iter().rev().take(60).cloned().collect::<Vec<_>>());
            lines.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// One random run of so many events.
pub(super) fn random(seed: u64, raw: Store, setup: Setup, accounts: &[&str], events: u32) -> Arc<World> {
    crate::log::state::standing::forget_sooner(setup.forgotten_after);
    let world = Arc::new(World::new(seed, raw, setup, accounts));
    let _shown = ShowTrace(Arc::clone(&world));
    let most = if world.setup.is_single { 1 } else { 1 + world.below(4) };
    // Some processes sleep long between their steps.
    let slow = [1, 1, 8, 25][usize::try_from(world.below(4)).expect("small")];
    let mut running: Vec<Option<Running>> = (0..most).map(|_| None).collect();
    for _ in 0..events {
        let chance = world.below(1_000);
        match chance {
            0..850 => turn(&world, &mut running, slow),
            _ => happen(&world, &mut running, chance - 850),
        }
    }
    for running in running.into_iter().flatten() {
        running.kill(&world);
    }
    quiesce(&world, &[DAY + 3, 60, 60]);
    world
}

/// One of the processes goes on; where there is none, one is born.
fn turn(world: &Arc<World>, running: &mut [Option<Running>], slow: i64) {
    let count = running.len() as i64;
    let at = world.below(count * slow);
    let at = usize::try_from(if at < count { at } else { 0 }).expect("small");
    let Some(process) = &mut running[at] else {
        let place = usize::try_from(world.below(world.with(|inner| inner.accounts.len() as i64))).expect("small");
        if world.setup.is_single {
            settle_late(world);
        } else if world.chance(6) {
            running[at] = Some(Running::reader(world, place));
            return;
        }
        let traits = traits(world, place);
        running[at] = Some(Running::start(world, traits, None, false));
        return;
    };
    if process.turn() == Turn::Ended {
        let ended = running[at].take().expect("it was there");
        if ended.interference.is_dead.load(Ordering::Relaxed) {
            world.count("deaths at a point");
            ended.kill(world);
        }
    }
}

/// Where one process at a time may write, what it had under way has arrived when the next one begins, or never does.
fn settle_late(world: &World) {
    while world.with(|inner| !inner.late.is_empty()) {
        let arrives = world.chance(60);
        world.arrive(arrives);
    }
}

/// Something else than a step of a process happens.
fn happen(world: &Arc<World>, running: &mut [Option<Running>], what: i64) {
    let place = usize::try_from(world.below(world.with(|inner| inner.accounts.len() as i64))).expect("small");
    match what {
        0..30 if !world.setup.is_single => world.arrive(true),
        30..35 if !world.setup.is_single => world.arrive(false),
        35..45 => {
            let at = usize::try_from(world.below(running.len() as i64)).expect("small");
            if let Some(killed) = running[at].take() {
                world.count("kills");
                killed.kill(world);
            }
        }
        45..65 => world.pass_time(1, 1),
        65..73 => world.pass_time([1, 1, 4][usize::try_from(world.below(3)).expect("small")], 0),
        73..100 => world.change_source(place),
        100..115 => world.account(place, super::account::Account::feed),
        115..117 => open_alone(world, place),
        117..120 => harm_checkpoint(world),
        120..122 if world.setup.has_damage => damage(world, place),
        _ => world.with(|inner| {
            let super::world::Inner { rng, accounts, tally, .. } = inner;
            let has_headers = rand::RngExt::random_bool(rng, 0.5);
            accounts[place].view_in_two(has_headers, tally);
        }),
    }
}

/// Whoever opens the log sees what every manifest adds up to, from whatever checkpoint; and all that it names is there.
pub(super) fn open_alone(world: &World, place: usize) {
    let layout = Layout::new(binding_of(world, place).name);
    let opened = now(read::open(&world.raw, &layout)).expect("opened");
    if opened.checkpoint > 0 {
        world.count("openings by a checkpoint");
    }
    world.account(place, |account| account.check_state(&opened.state));
    for path in opened.state.named() {
        let is_there = world.with(|inner| inner.held.contains_key(path));
        assert!(is_there || world.setup.has_damage, "the log names {path}, which is not there");
    }
    let paths: Vec<String> = world.with(|inner| inner.held.keys().cloned().collect());
    for (path, held) in paths.iter().filter_map(|path| Some((path, ListedCheckpoint::of(layout.parse(path))?))) {
        let bytes = now(world.raw.get(path)).expect("an answer").expect("a checkpoint");
        let Ok(mut state) = checkpoint::from_bytes(&layout, held, &bytes) else { continue };
        now(read::follow(&world.raw, &layout, opened.names, &mut state)).expect("followed");
        assert_eq!(state, opened.state, "the checkpoint {path} says something else");
    }
}

/// A checkpoint is lost, or its bytes are.
fn harm_checkpoint(world: &World) {
    let names: Vec<String> =
        world.with(|inner| inner.held.keys().filter(|path| path.contains("/_checkpoint/")).cloned().collect());
    if names.is_empty() {
        return;
    }
    let path = &names[usize::try_from(world.below(names.len() as i64)).expect("small")];
    if world.chance(50) {
        now(world.raw.delete(path)).expect("deleted");
        world.with(|inner| inner.held.remove(path));
    } else {
        now(world.raw.put(path, bytes::Bytes::from_static(b"harmed"), "_staging/x")).expect("harmed");
    }
}

/// A live file is lost.
fn damage(world: &World, place: usize) {
    let headers: Vec<String> = world.account(place, |account| {
        let windowed = account.live.values().filter(|commit| commit.window.is_some());
        windowed.flat_map(|commit| commit.headers.clone()).collect()
    });
    if headers.is_empty() {
        return;
    }
    let path = &headers[usize::try_from(world.below(headers.len() as i64)).expect("small")];
    now(world.raw.delete(path)).expect("deleted");
    world.count("files that were damaged");
    world.with(|inner| {
        inner.held.remove(path);
        inner.accounts[place].damage(path);
    });
}

/// Everybody is dead. What is under way arrives or not; then one run without faults, later another one, and nothing is
/// left beside the committed set.
pub(super) fn quiesce(world: &Arc<World>, rounds: &[i64]) {
    let accounts = world.with(|inner| inner.accounts.len());
    for (at, later) in rounds.iter().enumerate() {
        if world.setup.is_single || at + 1 >= rounds.len().min(2) {
            settle_late(world);
        }
        while world.with(|inner| !inner.late.is_empty()) && world.chance(50) {
            let arrives = world.chance(60);
            world.arrive(arrives);
        }
        world.pass_time(*later, 0);
        for place in 0..accounts {
            let traits = Traits { place, skew: 0, keeps: None, checkpoints_every: 2, tries: 3 };
            Running::start(world, traits, Some(vec![]), true).finish();
        }
    }
    world.check_held();
    for place in 0..accounts {
        let (paths, tick) = world.with(|inner| (inner.held.keys().cloned().collect::<Vec<_>>(), inner.tick));
        open_alone(world, place);
        world.with(|inner| {
            let super::world::Inner { accounts, tally, .. } = inner;
            accounts[place].feed();
            accounts[place].check_view(tally);
            accounts[place].check_told();
            accounts[place].check_left(paths.iter(), tick);
        });
    }
}
