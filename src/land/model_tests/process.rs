//! What a writing process does: it opens the log, takes the lease, sweeps where it must, does some work, and ends.

use std::cell::Cell;
use std::sync::Arc;

use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::rows::{Row, decode};
use super::world::{DAY, Interference, ModelClock, TICK, Task, World};
use crate::error::{ErrorKind, Result};
use crate::id::RunId;
use crate::land::commit::{Writer, WriterOptions};
use crate::land::stage::{CommitOutcome, StagedManifest};
use crate::land::testing::{binding, options};
use crate::log::append::Patience;
use crate::log::{Binding, Lake, LiveCommit, Table};
use crate::store::Store;

/// The lease, as far as the model needs one.
#[derive(Serialize, Deserialize)]
struct Held {
    has_ended: bool,
    newest: u64,
    swept: i64,
}

/// A process at work on one account.
pub(super) struct Run {
    pub(super) world: Arc<World>,
    pub(super) place: usize,
    pub(super) writer: Writer,
    pub(super) interference: Arc<Interference>,
    run: RunId,
    clock: ModelClock,
    /// Whether nothing went wrong so far.
    is_clean: Cell<bool>,
}

/// What differs from process to process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    pub(super) place: usize,
    /// How many ticks its clock is wrong.
    pub(super) skew: i64,
    /// For how many ticks it keeps what it removes.
    pub(super) keeps: Option<i64>,
    /// How many manifests are worth a checkpoint.
    pub(super) checkpoints_every: u64,
    pub(super) tries: u32,
}

pub(super) fn binding_of(world: &World, place: usize) -> Binding {
    Binding { name: world.account(place, |account| account.name.clone()), ..binding() }
}

/// Opens the log and does what it was told to. Errors end it, as they would end a run.
pub(super) async fn live(
    world: Arc<World>,
    store: Store,
    interference: Arc<Interference>,
    traits: Traits,
    tasks: Option<Vec<Task>>,
) -> Result<()> {
    let Traits { place, skew, keeps, checkpoints_every, tries } = traits;
    let keep_seconds = u64::try_from(keeps.unwrap_or(0) * TICK).expect("small");
    let run = RunId::generate();
    let options = WriterOptions {
        binding: binding_of(&world, place),
        run,
        compression: crate::parquet::FileCompression::default(),
        keep_removed: std::time::Duration::from_secs(keep_seconds),
        clock: Arc::new(ModelClock { world: Arc::clone(&world), skew }),
        ..options()
    };
    let writer = Writer::open(store, options).await?;
    let writer = writer.with_patience(Patience { tries, pause: std::time::Duration::ZERO });
    let writer = writer.with_checkpoints_every(checkpoints_every);
    let clock = ModelClock { world: Arc::clone(&world), skew };
    let run = Run { world, place, writer, interference, run, clock, is_clean: Cell::new(true) };
    run.work(tasks).await
}

impl Run {
    async fn work(&self, tasks: Option<Vec<Task>>) -> Result<()> {
        let swept = self.begin().await?;
        let tasks = tasks.unwrap_or_else(|| self.choose());
        for task in tasks {
            if self.world.chance(70) {
                self.writer.follow().await?;
            }
            let done = self.perform(task).await;
            self.is_clean.set(self.is_clean.get() && done.is_ok());
            if done.is_err() && (self.world.setup.is_single || self.world.chance(60)) {
                return done;
            }
        }
        self.writer.leave_checkpoint().await;
        if self.is_clean.get() && !self.writer.has_left().await {
            let newest = self.newest().await;
            self.put_lease(Held { has_ended: true, newest, swept }).await?;
        }
        Ok(())
    }

    /// Takes the lease and sweeps, unless the last run is known to have left nothing.
    async fn begin(&self) -> Result<i64> {
        let (store, layout) = (self.writer.store(), self.writer.layout());
        let bytes = store.get(&layout.lease()).await?;
        let held: Option<Held> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        self.put_lease(Held { has_ended: false, newest: 0, swept: 0 }).await?;
        let (now, newest) = (self.clock.tick(), self.newest().await);
        let is_swept = |held: &Held| held.has_ended && held.newest == newest && (0..DAY).contains(&(now - held.swept));
        if let Some(held) = held.filter(is_swept) {
            return Ok(held.swept);
        }
        self.writer.sweep().await?;
        Ok(now)
    }

    async fn put_lease(&self, held: Held) -> Result<()> {
        let (store, layout) = (self.writer.store(), self.writer.layout());
        let bytes = serde_json::to_vec(&held).expect("JSON");
        store.put(&layout.lease(), bytes.into(), &layout.staging_lease(self.run)).await
    }

    async fn newest(&self) -> u64 {
        self.writer.with_state(|state| state.newest().map_or(0, |newest| newest.number)).await
    }

    fn choose(&self) -> Vec<Task> {
        let mix = self.world.setup.mix;
        let all: u32 = mix.iter().map(|(_, weight)| weight).sum();
        let one = || {
            let mut left = u32::try_from(self.world.below(i64::from(all))).expect("small");
            let chosen = mix.iter().find(|(_, weight)| {
                let is_it = left < *weight;
                left = left.saturating_sub(*weight);
                is_it
            });
            chosen.map_or(Task::Sync, |(task, _)| *task)
        };
        (0..2 + self.world.below(5)).map(|_| one()).collect()
    }

    /// Others may come in between here.
    pub(super) async fn point(&self) {
        self.interference.step().await;
    }

    async fn perform(&self, task: Task) -> Result<()> {
        let lake = self.writer.view().await;
        let plan = match task {
            Task::Sync => return self.sync(self.gaps(&lake, 0)).await,
            Task::SyncLater => return self.sync(self.gaps(&lake, super::rows::MONTH)).await,
            Task::Stop => return self.stop().await,
            Task::CompactStops => return self.compact_stops(&lake).await,
            Task::Sweep => return self.writer.sweep().await.map(drop),
            Task::Edit => {
                self.point().await;
                let place = self.place;
                self.world.with(|inner| {
                    let super::world::Inner { rng, now, accounts, .. } = inner;
                    accounts[place].source.edit(rng, *now);
                });
                self.world.pass_time(0, 2);
                return Ok(());
            }
            Task::Refresh => self.plan_refresh(&lake).await,
            Task::Compact => self.plan_compaction(&lake).await,
            Task::Expire => self.plan_expire(&lake).await,
            Task::Rewalk => self.plan_rewalk(&lake).await,
            Task::RewalkLive => self.plan_rewalk_live(&lake).await,
            Task::Replay => self.plan_replay(&lake).await,
        };
        let Some(plan) = plan else { return Ok(()) };
        self.land(plan).await?;
        if task == Task::Expire {
            // What earlier removals have left goes first, and what the expire has removed.
            self.writer.sweep().await?;
        }
        Ok(())
    }

    /// Several windows: all are staged before the first one is committed, or all land at the same time.
    async fn sync(&self, spans: Vec<super::rows::Span>) -> Result<()> {
        let mut plans = Vec::new();
        for span in spans {
            self.point().await;
            plans.push(self.plan_sync(span));
        }
        if self.world.setup.is_parquet || self.world.chance(40) {
            let landed = join_all(plans.into_iter().map(|plan| self.land(plan))).await;
            return landed.into_iter().collect();
        }
        let mut staged = Vec::new();
        for plan in plans {
            staged.extend(self.stage(plan).await?);
        }
        if self.world.chance(30) {
            staged.reverse();
        }
        for staged in staged {
            if self.world.chance(40) {
                // Other tasks of a run read on in the meantime.
                self.point().await;
                self.writer.follow().await?;
            }
            self.finish(staged).await?;
        }
        Ok(())
    }

    pub(super) async fn land(&self, plan: Plan) -> Result<()> {
        if self.world.setup.is_parquet {
            return self.land_parquet(plan).await;
        }
        match self.stage(plan).await? {
            Some(staged) => self.finish(staged).await,
            None => Ok(()),
        }
    }

    pub(super) async fn finish(&self, staged: StagedManifest) -> Result<()> {
        let id = staged.id;
        let outcome = self.writer.commit(staged).await?;
        self.tell(id, &outcome);
        Ok(())
    }

    pub(super) fn tell(&self, id: crate::id::CommitId, outcome: &CommitOutcome) {
        let is_committed = matches!(outcome, CommitOutcome::Committed(_));
        if !is_committed {
            self.world.count("staged manifests that were dropped");
        }
        self.world.account(self.place, |account| account.told.push((id, is_committed)));
    }

    /// The rows of a commit, or nothing where one of its files cannot be read.
    pub(super) async fn rows_of(&self, lake: &Lake, live: &LiveCommit) -> Option<Vec<Row>> {
        let mut rows = Vec::new();
        for file in live.files.iter().filter(|file| file.table == Table::PurchaseApply.name()) {
            rows.extend(decode(&readable(lake.read(file).await)?));
        }
        // Details are carried as headers are, and have to be there too.
        for file in live.files.iter().filter(|file| file.table == Table::PurchaseApplyDetail.name()) {
            readable(lake.read(file).await)?;
        }
        Some(rows)
    }

    pub(super) async fn lines_of(&self, lake: &Lake, live: &LiveCommit) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        for entry in &live.quarantine {
            let bytes = readable(lake.read(entry).await)?;
            lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
        }
        Some(lines)
    }
}

/// What was read. An object that is gone was replaced by another process meanwhile.
fn readable(read: Result<bytes::Bytes>) -> Option<bytes::Bytes> {
    if let Err(error) = &read {
        assert!(matches!(error.kind(), ErrorKind::Lake | ErrorKind::Defect), "{error}");
    }
    read.ok()
}
