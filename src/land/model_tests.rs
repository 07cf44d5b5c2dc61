//! A model test of the commit log: up to four processes land overlapping windows, refresh, sweep, and stop requisitions
//! of one account at once, while they are killed at random steps, lose answers, fail, and have effects arrive long
//! after they died; they make checkpoints and open by them, and some of these are harmed. A small scheduler polls one
//! of them at a time, so a seed is a run.
//!
//! The oracle reads the raw objects itself and shares no code with the log: after every change it checks that numbers
//! have no gap and no object of the log ever changes, that no second is covered twice, that no second which was covered
//! is lost, that no second goes back to an older reading, that every file which counts is there with the right bytes,
//! that no number gets an intent to stop before its last one is settled, and that every stop that was called has its
//! intent. At the end everything that a process was told must be true, and after a last sweep nothing is left beside
//! the committed set. `WDT_LAKE_MODEL_RUNS` asks for more runs.
//!
//! The store is memory, and in some runs a bucket that creates as Alibaba OSS does, with the whole client before it.

mod oracle;
mod wire;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use self::oracle::Oracle;
use self::wire::Wire;
use super::commit::Writer;
use super::creates::Creates;
use super::stage::CommitOutcome;
use super::testing::{binding, checkpoints, proof, state_of_every_manifest, stopped, to_stop, try_writer, window};
use crate::error::{Error, ErrorKind, Result};
use crate::log::append::Patience;
use crate::log::{CommitKind, Layout, Sha256, StopEvidence, StopIntent, StopOutcome, StopResult, Table, Walk, read};
use crate::parquet::EncodedFile;
use crate::store::failpoint::{Effect, FailPoints, FaultInjection, InjectedAt, Op};
use crate::store::{Created, Store};
use crate::time::Window;

/// The seconds that the processes fight over.
const SECONDS: i64 = 24;

/// An effect that has not reached the store yet, or never will.
#[derive(Clone, Debug)]
struct Pending {
    op: Op,
    path: String,
    body: Option<Bytes>,
}

impl Pending {
    fn of(effect: &Effect<'_>) -> Option<Self> {
        let changes = matches!(effect.op, Op::Put | Op::Create | Op::Delete);
        changes.then(|| Self { op: effect.op, path: effect.path.to_owned(), body: effect.body.cloned() })
    }

    fn is(&self, effect: &Effect<'_>) -> bool {
        self.op == effect.op && self.path == effect.path
    }

    fn apply(self, raw: &Store) {
        let body = self.body.unwrap_or_default();
        let applied = async {
            match self.op {
                Op::Put => raw.put(&self.path, body, "x").await,
                Op::Create => raw.create(&self.path, body, "x").await.map(|_: Created| ()),
                _ => raw.delete(&self.path).await,
            }
        };
        now(applied).expect("memory does not fail");
    }
}

/// What memory answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory answers at once")
}

/// What all processes of a run share.
struct World {
    raw: Store,
    rng: Mutex<StdRng>,
    /// Moves on with every walk: a later walk reads a later state of the ERP.
    tick: AtomicU64,
    /// Effects that will arrive at some later time.
    late: Mutex<Vec<Pending>>,
    /// Commit ids by what their process was told: true for committed.
    told: Mutex<Vec<(String, bool)>>,
    /// The stops that were called: the commit of the intent, and the number.
    called: Mutex<Vec<(String, String)>>,
    faults: bool,
}

impl World {
    fn chance(&self, percent: u32) -> bool {
        self.rng.lock().expect("no panic").random_range(0..100) < percent
    }

    fn below(&self, end: i64) -> i64 {
        self.rng.lock().expect("no panic").random_range(0..end)
    }
}

/// The fail_points of one process.
struct Process {
    world: Arc<World>,
    /// Effects asked for and not yet done: what a kill may leave on its way.
    under_way: Mutex<Vec<Pending>>,
}

impl FaultInjection for Process {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let lost = || Err(Error::new(ErrorKind::Lake, "no answer"));
            match moment {
                InjectedAt::Before(effect) => {
                    let pending = Pending::of(&effect);
                    self.under_way.lock().expect("no panic").extend(pending.clone());
                    step_aside().await;
                    self.under_way.lock().expect("no panic").retain(|other| !other.is(&effect));
                    let percent = if effect.op == Op::Create { 25 } else { 3 };
                    if self.world.faults && self.world.chance(percent) {
                        if self.world.chance(50) {
                            self.world.late.lock().expect("no panic").extend(pending);
                        }
                        return lost();
                    }
                    Ok(())
                }
                InjectedAt::After(_) => {
                    step_aside().await;
                    if self.world.faults && self.world.chance(4) { lost() } else { Ok(()) }
                }
                InjectedAt::Point(_) => {
                    step_aside().await;
                    Ok(())
                }
            }
        })
    }
}

/// Lets the scheduler choose who goes on.
async fn step_aside() {
    let mut stepped = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// One process: opens the lake and does a few things to it. Errors end it, as they would end a run.
async fn live(world: Arc<World>, store: Store) -> Result<()> {
    // Impatient, so that outcomes stay unknown often.
    let tries = u32::try_from(1 + world.below(3)).expect("small");
    let writer = try_writer(&store).await?.with_patience(Patience { tries, pause: Duration::ZERO });
    let writer = writer.with_checkpoints_every(world.below(4).unsigned_abs() + 1);
    if world.chance(70) {
        writer.sweep().await?;
    }
    for _ in 0..world.below(4) {
        match world.below(13) {
            10 => stop(&world, &writer).await?,
            11 | 12 => settle(&world, &writer, StopOutcome::NotStopped).await?,
            0 => {
                writer.sweep().await?;
            }
            1..=5 => {
                let start = world.below(SECONDS);
                let wanted = window(start, (start + world.below(8)).min(SECONDS - 1));
                // Mostly what is missing; now and then, like a careless planner, what may be covered.
                let gaps = writer.view().await.coverage().gaps(wanted);
                let planned = if world.chance(80) { gaps } else { vec![wanted] };
                for window in planned {
                    land(&world, &writer, CommitKind::Sync, window, vec![]).await?;
                }
            }
            _ => {
                let start = world.below(SECONDS);
                let wanted = window(start, (start + world.below(8)).min(SECONDS - 1));
                let touched = writer.view().await.state().touching(wanted);
                let all = touched.iter().fold(wanted, |all, (_, other)| {
                    window(all.start().unix().min(other.start().unix()), all.end().unix().max(other.end().unix()))
                });
                let removes = touched.into_iter().map(|(commit, _)| commit).collect();
                land(&world, &writer, CommitKind::Refresh, all, removes).await?;
            }
        }
    }
    writer.leave_checkpoint().await;
    Ok(())
}

async fn land(
    world: &World,
    writer: &Writer,
    kind: CommitKind,
    window: Window,
    removes: Vec<crate::id::CommitId>,
) -> Result<()> {
    let tick = world.tick.fetch_add(1, Ordering::SeqCst);
    // The proof carries the tick to the oracle.
    let walk = Some(Walk { window, proof: proof(tick) });
    let mut staged = writer.begin(kind, Some(window), removes).await.proved_by(walk);
    let id = staged.id.to_string();
    for table in [Table::PurchaseApply, Table::PurchaseApplyDetail] {
        // Some windows are empty; some have headers only.
        if world.chance(20) {
            break;
        }
        let bytes = Bytes::from(format!("{table} {tick} {id}"));
        let file = EncodedFile {
            sum: None,
            sha256: Sha256::of(&bytes),
            bytes,
            rows: 1,
            min_modified: window.start(),
            max_modified: window.end(),
        };
        writer.write_encoded(&mut staged, table, file).await?;
    }
    let outcome = writer.commit(staged).await?;
    let committed = matches!(outcome, CommitOutcome::Committed(_));
    world.told.lock().expect("no panic").push((id, committed));
    Ok(())
}

/// Intends to stop a number or two, calls, and says what became of it.
async fn stop(world: &World, writer: &Writer) -> Result<()> {
    let mut numbers = vec![format!("CG{}", world.below(3)), format!("CG{}", 3 + world.below(2))];
    numbers.truncate(if world.chance(50) { 1 } else { 2 });
    if world.chance(80) {
        // Mostly what is free; now and then, like a careless caller, what may not be.
        let view = writer.view().await;
        numbers.retain(|number| !view.state().stops().pending().contains_key(number));
    }
    if numbers.is_empty() {
        return Ok(());
    }
    let requested_at = window(0, 0).start();
    let CommitOutcome::Committed(intent) =
        writer.intend(StopIntent { numbers: numbers.clone(), ..to_stop(requested_at, &[]) }).await?
    else {
        return Ok(());
    };
    let id = intent.id.to_string();
    world.told.lock().expect("no panic").push((id.clone(), true));
    world.called.lock().expect("no panic").extend(numbers.into_iter().map(|number| (id.clone(), number)));
    step_aside().await;
    let outcome = if world.chance(50) { StopOutcome::Unknown } else { StopOutcome::Stopped };
    settle(world, writer, outcome).await
}

/// Says of some pending numbers what became of them.
async fn settle(world: &World, writer: &Writer, outcome: StopOutcome) -> Result<()> {
    let pending = writer.view().await.state().stops().pending().clone();
    let evidence = (outcome != StopOutcome::Unknown).then_some(StopEvidence::Query);
    let chosen = pending.into_iter().filter(|_| world.chance(70));
    let results: Vec<StopResult> =
        chosen.map(|(number, held)| StopResult { outcome, evidence, ..stopped(held.intent, &number) }).collect();
    if results.is_empty() {
        return Ok(());
    }
    let rows = results.len() as u64;
    let mut staged = writer.begin(CommitKind::StopResult, None, vec![]).await.settling(results);
    let id = staged.id.to_string();
    let (bytes, at) = (Bytes::from(format!("stops {id}")), window(0, 0).start());
    let file = EncodedFile { sha256: Sha256::of(&bytes), bytes, rows, min_modified: at, max_modified: at, sum: None };
    writer.write_encoded(&mut staged, Table::StopReference, file).await?;
    let committed = matches!(writer.commit(staged).await?, CommitOutcome::Committed(_));
    world.told.lock().expect("no panic").push((id, committed));
    Ok(())
}

type Running = (Pin<Box<dyn Future<Output = Result<()>>>>, Arc<Process>);

fn start(world: &Arc<World>) -> Running {
    let process = Arc::new(Process { world: Arc::clone(world), under_way: Mutex::default() });
    let store = world.raw.with_fail_points(FailPoints::new(Arc::clone(&process) as _));
    (Box::pin(live(Arc::clone(world), store)), process)
}

/// One run in an empty lake; gives how many commits stand, how many staged commits were dropped, how many stops were
/// called, and how often a checkpoint was read.
fn run(seed: u64, raw: Store) -> (usize, usize, usize, u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let world = Arc::new(World {
        raw,
        rng: Mutex::new(StdRng::seed_from_u64(rng.next_u64())),
        tick: AtomicU64::new(1),
        late: Mutex::default(),
        told: Mutex::default(),
        called: Mutex::default(),
        faults: rng.random_bool(0.7),
    });
    let kills = rng.random_range(0..6_u32);
    let mut oracle = Oracle::default();
    let mut context = Context::from_waker(Waker::noop());
    let mut running: Vec<Running> = (0..rng.random_range(1..=4)).map(|_| start(&world)).collect();
    let mut births = rng.random_range(0..5);
    let (mut changes, mut by_checkpoint) = (0, 0);

    while !running.is_empty() {
        let at = rng.random_range(0..running.len());
        if kills > 0 && rng.random_range(0..400) < kills {
            let (_, process) = running.swap_remove(at);
            let under_way = std::mem::take(&mut *process.under_way.lock().expect("no panic"));
            let arrives = under_way.into_iter().filter(|_| rng.random_bool(0.6));
            world.late.lock().expect("no panic").extend(arrives);
        } else if running[at].0.as_mut().poll(&mut context).is_ready() {
            drop(running.swap_remove(at));
        }
        if births > 0 && (running.is_empty() || (running.len() < 4 && rng.random_range(0..60) == 0)) {
            births -= 1;
            running.push(start(&world));
        }
        if rng.random_range(0..40) == 0 {
            arrive(&world, &mut rng);
        }
        if rng.random_range(0..200) == 0 {
            harm_checkpoint(&world.raw, &mut rng);
        }
        changes += 1;
        if changes % 3 == 0 {
            oracle.look(&world.raw);
        }
        if changes % 50 == 0 {
            by_checkpoint += u64::from(open_alone(&world));
        }
    }

    // What still is on its way may arrive before the last sweep or after it; then another sweep has to follow.
    for _ in 0..2 {
        while rng.random_bool(0.5) {
            arrive(&world, &mut rng);
        }
        sweep_alone(&world);
        oracle.look(&world.raw);
    }
    while !world.late.lock().expect("no panic").is_empty() {
        arrive(&world, &mut rng);
        oracle.look(&world.raw);
    }
    oracle.check_end(&world, false);
    sweep_alone(&world);
    oracle.look(&world.raw);
    oracle.check_end(&world, true);
    let told = world.told.lock().expect("no panic");
    let called = world.called.lock().expect("no panic").len();
    by_checkpoint += u64::from(open_alone(&world));
    (oracle.log.len(), told.iter().filter(|(_, committed)| !committed).count(), called, by_checkpoint)
}

fn arrive(world: &World, rng: &mut StdRng) {
    let late = {
        let mut late = world.late.lock().expect("no panic");
        let at = (!late.is_empty()).then(|| rng.random_range(0..late.len()));
        at.map(|at| late.swap_remove(at))
    };
    if let Some(late) = late {
        late.apply(&world.raw);
    }
}

/// A checkpoint is lost, or its bytes are.
fn harm_checkpoint(raw: &Store, rng: &mut StdRng) {
    let names = now(checkpoints(raw));
    if names.is_empty() {
        return;
    }
    let path = &names[rng.random_range(0..names.len())];
    if rng.random_bool(0.5) {
        now(raw.delete(path)).expect("memory does not fail");
    } else {
        now(raw.put(path, Bytes::from_static(b"harmed"), "x")).expect("memory does not fail");
    }
}

/// Whoever opens the log sees what every manifest adds up to; gives whether a checkpoint was read.
fn open_alone(world: &World) -> bool {
    let opened = now(read::open(&world.raw, &Layout::new(binding().name))).expect("opened");
    assert_eq!(opened.state, now(state_of_every_manifest(&world.raw)), "a checkpoint says something else");
    opened.checkpoint > 0
}

fn sweep_alone(world: &World) {
    let swept = async { try_writer(&world.raw).await?.sweep().await };
    now(swept).expect("a sweep without trouble");
}

#[test]
fn no_interleaving_loses_doubles_or_ages_a_row() {
    run_seeds(2_000, Store::memory);
}

#[test]
fn no_interleaving_does_so_where_objects_are_created_like_oss() {
    let wire = Wire::to(Creates::LikeOss);
    run_seeds(100, || wire.lake());
}

/// So many runs unless more are asked for, each in a lake of its own.
fn run_seeds(runs: u64, lake: impl Fn() -> Store) {
    let runs = std::env::var("WDT_LAKE_MODEL_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(runs);
    let first = std::env::var("WDT_LAKE_MODEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    let (mut commits, mut drops, mut stops, mut openings) = (0, 0, 0, 0);
    for seed in first..first + runs {
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| run(seed, lake())));
        let Ok((committed, dropped, called, by_checkpoint)) = result else {
            panic!("seed {seed} failed; repeat it with WDT_LAKE_MODEL_SEED={seed} WDT_LAKE_MODEL_RUNS=1")
        };
        commits += committed;
        drops += dropped;
        stops += called;
        openings += by_checkpoint;
    }
    println!(
        "seeds {first}..{}: {commits} commits, {drops} dropped staged commits, {stops} stops, {openings} openings by a checkpoint",
        first + runs
    );
    assert!(runs < 50 || (commits > 0 && drops > 0 && stops > 0 && openings > 0), "the model must see all of it");
}
