//! The world of a run: a store with faults, effects that arrive late, clocks that differ, and an ERP whose rows change.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::account::Account;
use super::rows::{SLOTS, Span, Version};
use crate::error::{Error, ErrorKind, Result};
use crate::store::failpoint::{Effect, FailPoints, FaultInjection, InjectedAt, Op};
use crate::store::{Created, Store};
use crate::time::{BeijingTime, Clock};

/// The seconds of a tick: three make the day by which the log keeps what is forgotten longer.
pub(super) const TICK: i64 = 28_800;
/// The ticks of a day.
pub(super) const DAY: i64 = 3;
const EPOCH: i64 = 1_780_000_000;

/// What a tick is on a right clock.
pub(super) fn at_tick(tick: i64) -> i64 {
    EPOCH + tick * TICK
}

/// An effect that has not reached the store yet, or never will.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) op: Op,
    pub(super) path: String,
    pub(super) body: Option<Bytes>,
}

impl Pending {
    fn of(effect: &Effect<'_>) -> Option<Self> {
        let changes = matches!(effect.op, Op::Put | Op::Create | Op::Delete);
        changes.then(|| Self { op: effect.op, path: effect.path.to_owned(), body: effect.body.cloned() })
    }

    fn is(&self, effect: &Effect<'_>) -> bool {
        self.op == effect.op && self.path == effect.path
    }
}

/// What kind of world it is.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// After how many manifests a dead id is forgotten.
    pub(super) forgotten_after: u64,
    /// Of a thousand effects, so many go wrong.
    pub(super) faults: u32,
    /// One process at a time, on a store without conditions.
    pub(super) is_single: bool,
    /// Files are Parquet, written and merged by the writer itself.
    pub(super) is_parquet: bool,
    /// Whether files are damaged, and ranges walked again for it.
    pub(super) has_damage: bool,
    /// How the work is mixed.
    pub(super) mix: &'static [(Task, u32)],
}

impl Setup {
    /// A world without trouble.
    pub(super) fn quiet() -> Self {
        Self {
            forgotten_after: 1_000,
            faults: 0,
            is_single: false,
            is_parquet: false,
            has_damage: false,
            mix: &[(Task::Sync, 1)],
        }
    }
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Sync,
    /// A sync that leaves the first month to others.
    SyncLater,
    Refresh,
    Compact,
    Expire,
    Rewalk,
    RewalkLive,
    Replay,
    Stop,
    CompactStops,
    Sweep,
    /// Not the process: the ERP changes and time passes.
    Edit,
}

/// The state of a world.
pub(super) struct Inner {
    pub(super) rng: StdRng,
    /// The present, in ticks.
    pub(super) tick: i64,
    /// The first slot that has not passed yet.
    pub(super) now: i64,
    /// The walks so far.
    pub(super) walks: u64,
    /// What the store holds.
    pub(super) held: BTreeMap<String, Bytes>,
    /// Effects that arrive at some later time, or never.
    pub(super) late: Vec<Pending>,
    /// Whether the next manifest gets lost on its way, and arrives later.
    pub(super) loses_manifest: bool,
    pub(super) accounts: Vec<Account>,
    /// What was seen, and how often.
    pub(super) tally: BTreeMap<&'static str, u64>,
    /// What happened, where somebody wants to know.
    pub(super) trace: Vec<String>,
}

pub(super) struct World {
    pub(super) raw: Store,
    pub(super) setup: Setup,
    inner: Mutex<Inner>,
}

impl World {
    pub(super) fn new(seed: u64, raw: Store, setup: Setup, accounts: &[&str]) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let accounts = accounts.iter().map(|name| Account::new(name, &setup, &mut rng)).collect();
        let inner = Inner {
            rng,
            tick: 1,
            now: 3,
            walks: 0,
            held: BTreeMap::new(),
            late: Vec::new(),
            loses_manifest: false,
            accounts,
            tally: BTreeMap::new(),
            trace: Vec::new(),
        };
        Self { raw, setup, inner: Mutex::new(inner) }
    }

    /// The same world in a store of its own.
    pub(super) fn fork(&self, seed: u64) -> Self {
        let raw = Store::memory();
        let inner = self.with(|inner| Inner {
            rng: StdRng::seed_from_u64(seed),
            held: inner.held.clone(),
            late: inner.late.clone(),
            accounts: inner.accounts.clone(),
            tally: inner.tally.clone(),
            trace: inner.trace.clone(),
            ..*inner
        });
        for (path, bytes) in &inner.held {
            now(raw.put(path, bytes.clone(), "_staging/x")).expect("memory does not fail");
        }
        Self { raw, setup: self.setup.clone(), inner: Mutex::new(inner) }
    }

    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(super) fn account<T>(&self, place: usize, look: impl FnOnce(&mut Account) -> T) -> T {
        self.with(|inner| look(&mut inner.accounts[place]))
    }

    pub(super) fn chance(&self, percent: u32) -> bool {
        self.below(100) < i64::from(percent)
    }

    fn chance_of_thousand(&self, chance: u32) -> bool {
        self.below(1_000) < i64::from(chance)
    }

    pub(super) fn below(&self, end: i64) -> i64 {
        self.with(|inner| inner.rng.random_range(0..end))
    }

    pub(super) fn tick(&self) -> i64 {
        self.with(|inner| inner.tick)
    }

    pub(super) fn count(&self, what: &'static str) {
        self.with(|inner| *inner.tally.entry(what).or_default() += 1);
    }

    /// Reads the slots of `span` from the ERP; gives the number of the walk too.
    pub(super) fn walk(&self, place: usize, span: Span) -> (u64, Vec<Version>) {
        self.with(|inner| {
            inner.walks += 1;
            let read = inner.walks;
            (read, inner.accounts[place].source.walk(span, read))
        })
    }

    /// Something happens to the ERP.
    pub(super) fn change_source(&self, place: usize) {
        self.with(|inner| {
            let Inner { rng, now, accounts, .. } = inner;
            accounts[place].source.change(rng, *now);
        });
    }

    pub(super) fn pass_time(&self, ticks: i64, slots: i64) {
        self.with(|inner| {
            inner.tick += ticks;
            inner.now = (inner.now + slots).min(SLOTS - 1);
        });
    }

    /// One of the late effects arrives, or another one never does.
    pub(super) fn arrive(&self, arrives: bool) {
        let late = self.with(|inner| {
            let count = inner.late.len();
            (count > 0).then(|| {
                let at = inner.rng.random_range(0..count);
                inner.late.swap_remove(at)
            })
        });
        let Some(Pending { op, path, body }) = late.filter(|_| arrives) else { return };
        let bytes = body.clone().unwrap_or_default();
        let applied = async {
            match op {
                Op::Put => self.raw.put(&path, bytes, "_staging/x").await,
                Op::Create => self.raw.create(&path, bytes, "_staging/x").await.map(|_: Created| ()),
                _ => self.raw.delete(&path).await,
            }
        };
        now(applied).expect("the store does not fail");
        self.with(|inner| inner.effected(op, &path, body));
    }

    /// Whether an effect gets lost on its way.
    fn loses(&self, pending: &Pending) -> bool {
        let is_manifest = pending.path.starts_with("_manifest/") && !pending.path.contains("/_checkpoint/");
        self.with(|inner| {
            let is_lost = is_manifest && std::mem::take(&mut inner.loses_manifest);
            inner.late.extend(is_lost.then(|| pending.clone()));
            is_lost
        })
    }

    /// Looks at what the store holds, where a process died in the middle of an effect.
    pub(super) fn look(&self) {
        let listed = now(self.raw.list("")).expect("listed");
        let names: std::collections::BTreeSet<String> = listed.into_iter().map(|object| object.path).collect();
        let gone: Vec<String> =
            self.with(|inner| inner.held.keys().filter(|path| !names.contains(*path)).cloned().collect());
        for path in gone {
            self.with(|inner| inner.effected(Op::Delete, &path, None));
        }
        for path in names {
            if self.with(|inner| !inner.held.contains_key(&path)) {
                let body = now(self.raw.get(&path)).expect("an answer");
                self.with(|inner| inner.effected(Op::Put, &path, body));
            }
        }
    }

    /// Whether the model has seen everything that happened to the store.
    pub(super) fn check_held(&self) {
        let listed = now(self.raw.list("")).expect("listed");
        let names: Vec<String> = listed.into_iter().map(|object| object.path).collect();
        let held: Vec<String> = self.with(|inner| inner.held.keys().cloned().collect());
        assert_eq!(names, held, "the model does not know what the store holds");
    }
}

impl Inner {
    /// An effect has reached the store.
    pub(super) fn effected(&mut self, op: Op, path: &str, body: Option<Bytes>) {
        let tick = self.tick;
        let Some(place) = self.accounts.iter().position(|account| account.owns(path)) else {
            // A probe.
            match op {
                Op::Delete => self.held.remove(path),
                _ => self.held.insert(path.to_owned(), body.unwrap_or_default()),
            };
            return;
        };
        match op {
            Op::Delete => {
                if self.held.contains_key(path) {
                    self.trace.push(format!("{tick}: deleted {path}"));
                    self.accounts[place].on_delete(path, tick, &mut self.tally);
                    self.held.remove(path);
                    self.accounts[place].on_deleted(path, &mut self.tally);
                }
            }
            Op::Create if self.held.contains_key(path) => {}
            _ => {
                let body = body.unwrap_or_default();
                let before = self.held.insert(path.to_owned(), body.clone());
                let is_new = before.is_none();
                if path.starts_with("_manifest/") && !path.contains("/_checkpoint/") && !is_new {
                    assert_eq!(before, Some(body), "a manifest is written over: {path}");
                    return;
                }
                if is_new && !path.starts_with("_lease/") {
                    self.trace.push(format!("{tick}: put {path}"));
                }
                self.accounts[place].on_put(path, &body, &mut self.trace, &mut self.tally);
            }
        }
    }
}

/// Wakes the thread of the scheduler: a worker has done its part.
pub(super) struct Unpark(pub(super) Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What memory answers at once, and other stores when they are waited for.
pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut context, mut future) = (Context::from_waker(&waker), std::pin::pin!(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(Duration::from_millis(20)),
        }
    }
}

/// A clock that is some ticks wrong.
pub(super) struct ModelClock {
    pub(super) world: Arc<World>,
    pub(super) skew: i64,
}

impl Clock for ModelClock {
    fn now_micros(&self) -> i64 {
        at_tick(self.world.tick() + self.skew) * 1_000_000
    }
}

impl ModelClock {
    pub(super) fn tick(&self) -> i64 {
        self.world.tick() + self.skew
    }
}

pub(super) fn time_at(tick: i64) -> BeijingTime {
    BeijingTime::from_unix(at_tick(tick)).expect("a time")
}

/// What interferes with one process.
pub(super) struct Interference {
    world: Arc<World>,
    /// Effects asked for and not yet done: what a kill may leave on its way.
    pub(super) under_way: Mutex<Vec<Pending>>,
    /// Whether it waits for its next turn.
    pub(super) has_stepped: AtomicBool,
    /// Whether it was killed at a point.
    pub(super) is_dead: AtomicBool,
    /// The point at which it dies, and how often it passes it before.
    pub(super) doom: Mutex<Option<(&'static str, u32)>>,
    /// Faults do not reach it.
    pub(super) is_safe: bool,
}

impl Interference {
    pub(super) fn new(world: &Arc<World>, doom: Option<(&'static str, u32)>, is_safe: bool) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            under_way: Mutex::default(),
            has_stepped: AtomicBool::new(false),
            is_dead: AtomicBool::new(false),
            doom: Mutex::new(doom),
            is_safe,
        })
    }

    pub(super) fn store(self: &Arc<Self>) -> Store {
        self.world.raw.with_fail_points(FailPoints::new(Arc::clone(self) as _))
    }

    /// Lets the scheduler choose who goes on; now and then for more than one turn, so that the tasks of a process do
    /// not keep step.
    pub(super) async fn step(&self) {
        loop {
            let mut has_waited = false;
            std::future::poll_fn(|context| {
                if std::mem::replace(&mut has_waited, true) {
                    return Poll::Ready(());
                }
                self.has_stepped.store(true, Ordering::Relaxed);
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            if self.is_safe || !self.world.chance(20) {
                return;
            }
        }
    }

    async fn before(&self, effect: Effect<'_>) -> Result<()> {
        if is_probe(effect.path) {
            return Ok(());
        }
        let Some(pending) = Pending::of(&effect) else {
            // Questions are many; some of them are places where others come in between.
            if self.world.chance(if self.is_safe { 100 } else { 40 }) {
                self.step().await;
            }
            return if !self.is_safe && self.world.chance_of_thousand(self.world.setup.faults / 16) {
                Err(no_answer())
            } else {
                Ok(())
            };
        };
        self.under_way.lock().expect("no panic").push(pending.clone());
        self.step().await;
        self.under_way.lock().expect("no panic").retain(|other| !other.is(&effect));
        if self.world.loses(&pending) {
            return Err(no_answer());
        }
        if !self.is_safe && self.world.chance_of_thousand(self.world.setup.faults / 2) {
            if self.world.chance(70) {
                self.world.with(|inner| inner.late.push(pending));
            }
            return Err(no_answer());
        }
        Ok(())
    }

    async fn after(&self, effect: Effect<'_>) -> Result<()> {
        if matches!(effect.op, Op::Put | Op::Create | Op::Delete) {
            self.world.with(|inner| inner.effected(effect.op, effect.path, effect.body.cloned()));
            if is_probe(effect.path) {
                return Ok(());
            }
            if self.world.chance(30) {
                self.step().await;
            }
            if !self.is_safe && self.world.chance_of_thousand(self.world.setup.faults / 2) {
                return Err(no_answer());
            }
        }
        Ok(())
    }

    /// Dies here, if this is the place.
    async fn point(&self, name: &'static str) {
        let dies = {
            let mut doom = self.doom.lock().expect("no panic");
            match &mut *doom {
                Some((point, passes)) if *point == name && *passes == 0 => true,
                Some((point, passes)) if *point == name => {
                    *passes -= 1;
                    false
                }
                _ => false,
            }
        };
        if dies {
            self.is_dead.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
    }
}

impl FaultInjection for Interference {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            match moment {
                InjectedAt::Before(effect) => self.before(effect).await,
                InjectedAt::After(effect) => self.after(effect).await,
                InjectedAt::Point(name) => {
                    self.point(name).await;
                    Ok(())
                }
            }
        })
    }
}

fn no_answer() -> Error {
    Error::new(ErrorKind::Lake, "no answer")
}

fn is_probe(path: &str) -> bool {
    path.starts_with("_lease/probe-")
}
