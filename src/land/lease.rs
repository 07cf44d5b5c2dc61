//! The advisory lease: keeps a second run on the same account from spending calls on what a first run is already
//! fetching.
//!
//! It is one small object a run rewrites every 30 seconds. A run that finds another's lease younger than two minutes
//! stops with [`ErrorKind::Conflict`](crate::ErrorKind::Conflict), or waits; an older one it takes over. **Nothing's
//! correctness depends on it**: two runs that both believe to hold it waste calls, and the commit log sorts them out.
//! So it is written without conditions, and a lease whose process is known to be dead (same machine, Linux) is stale at
//! once, because a wrong guess costs nothing but calls.
//!
//! At its end a run leaves the lease with an account of itself, a [`CleanEnd`], when it has left nothing over. The next
//! run then knows without a listing that there is nothing to sweep, and an operator when a run last ended well and how
//! far it has asked.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::error::{Error, ErrorClass, Result};
use crate::id::{AccountName, RunId};
use crate::log::Layout;
use crate::store::Store;
use crate::time::{BeijingTime, Clock};
use crate::units::at_least;

/// How often the lease is rewritten.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How old another's lease must be to count for nothing, in seconds.
const STALE_SECONDS: i64 = 120;
/// How often a lease is tried to be written: a sweep of another run may take one that is half written for a dead run's.
const TRIES: u32 = 3;
/// How often a waiting run looks again.
const POLL: Duration = Duration::from_secs(5);

/// What to do when another run holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseWait {
    /// Stop with an error.
    No,
    /// Wait until it is released or stale, at most so long.
    UpTo(Duration),
}

/// How a run ended that left nothing over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CleanEnd {
    /// The run.
    pub(crate) run: RunId,
    /// When it ended.
    pub(crate) ended_at: BeijingTime,
    /// The newest manifest of the log then; none when it had none.
    pub(crate) newest: Option<u64>,
    /// When data files were last listed and swept.
    pub(crate) last_sweep: BeijingTime,
    /// The last second of modified time that it or a run before has asked the ERP for, where that asked without a gap:
    /// an empty end of the range is not committed.
    #[serde(default)]
    pub(crate) checked_until: Option<BeijingTime>,
    /// When it or a run before ended as a sync that left no gap in its range.
    #[serde(default)]
    pub(crate) succeeded_at: Option<BeijingTime>,
    /// The versions of published tables that say how far this account is published, by table; a hint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) published: BTreeMap<String, u64>,
}

/// The object. Unknown fields are ignored: a lease is never worth an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Heartbeat {
    run: RunId,
    written_at: BeijingTime,
    pid: u32,
    /// Which process this is, where that can be told: see [`process`].
    #[serde(default)]
    process: Option<String>,
    /// Whether the run has ended: then nobody is at work.
    #[serde(default)]
    ended: bool,
    /// The last end that left nothing over, of this run or an earlier one.
    #[serde(default)]
    last_end: Option<CleanEnd>,
}

impl Heartbeat {
    /// The end of the last run, when that is known to have been a clean one.
    fn clean_end(&self) -> Option<&CleanEnd> {
        self.last_end.as_ref().filter(|end| self.ended && end.run == self.run)
    }
}

/// What the lease of an account says of the runs before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastRun {
    /// The end of the last run, when it was a clean one; else it may have left something over.
    pub(crate) clean_end: Option<CleanEnd>,
    /// The last clean end, of whatever run.
    pub(crate) last_end: Option<CleanEnd>,
    /// The run that is at work, and since when its lease stands so.
    pub(crate) at_work: Option<(RunId, BeijingTime)>,
}

/// A held lease. [`release`](Lease::release) it at the end; one that is dropped goes stale by itself.
#[derive(Debug)]
pub(crate) struct Lease {
    keeper: Keeper,
    /// What was known of the runs before when it was taken.
    last_run: LastRun,
    stop: Option<oneshot::Sender<()>>,
    beating: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Keeper {
    store: Store,
    path: String,
    staging: String,
    run: RunId,
    clock: Arc<dyn Clock>,
    /// The last clean end that was known when the lease was taken: a beat keeps it.
    last_end: Option<CleanEnd>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("path", &self.path).field("run", &self.run).finish_non_exhaustive()
    }
}

impl Lease {
    /// Takes the lease of `account` for `run`, and keeps it fresh until it is released or dropped. `None` when
    /// `give_up` completed while another run was waited for.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when another run holds it and `wait` is [`LeaseWait::No`];
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
    pub(crate) async fn acquire(
        store: Store,
        account: AccountName,
        run: RunId,
        clock: Arc<dyn Clock>,
        wait: LeaseWait,
        give_up: impl Future<Output = ()>,
    ) -> Result<Option<Self>> {
        let layout = Layout::new(account.clone());
        let (path, staging) = (layout.lease(), layout.staging_lease(run));
        let mut keeper = Keeper { store, path, staging, run, clock, last_end: None };
        let mut give_up = pin!(give_up);
        let (mut tries, mut waiting_since) = (0, None);
        let last_run = loop {
            let before = keeper.read().await?;
            match before.as_ref().filter(|held| keeper.is_held_by_other(held)) {
                None => {
                    tries += 1;
                    let last_run = LastRun::of(before.as_ref());
                    keeper.last_end.clone_from(&last_run.last_end);
                    match keeper.write(false).await {
                        Err(error) if tries == TRIES => return Err(error),
                        Err(error) => tracing::debug!(%error, "the lease could not be written, trying again"),
                        // Of two that wrote at once the later write stands, and the other gives way here.
                        Ok(()) if keeper.held_by_other().await?.is_none() => break last_run,
                        Ok(()) => {}
                    }
                }
                Some(other) => {
                    let LeaseWait::UpTo(most) = wait else { return Err(held(&account, other)) };
                    let since = *waiting_since.get_or_insert_with(|| {
                        tell_of_waiting(&account, other, most);
                        Instant::now()
                    });
                    let left = most.saturating_sub(since.elapsed());
                    if left.is_zero() {
                        return Err(held(&account, other).with("waited", at_least(most.as_secs())));
                    }
                    tokio::select! {
                        () = tokio::time::sleep(POLL.min(left)) => {}
                        () = &mut give_up => return Ok(None),
                    }
                }
            }
        };
        let (stop, stopped) = oneshot::channel();
        let beating = tokio::spawn(keeper.clone().beat(stopped).in_current_span());
        Ok(Some(Self { keeper, last_run, stop: Some(stop), beating: Some(beating) }))
    }

    /// What was known of the runs before when it was taken.
    pub(crate) fn last_run(&self) -> &LastRun {
        &self.last_run
    }

    /// Gives the lease back, if it is still ours, with a clean end where the run has left nothing over. A lease that
    /// cannot be given back goes stale by itself.
    pub(crate) async fn release(mut self, end: Option<CleanEnd>) {
        // The heartbeat ends first: one that is under way must not bring the lease back.
        drop(self.stop.take());
        if let Some(beating) = self.beating.take() {
            let _ = beating.await;
        }
        if let Err(error) = self.keeper.end(end).await {
            tracing::warn!(%error, "the lease could not be given back; it is stale in two minutes");
        }
    }
}

/// What the lease of `account` says of its runs at `now`.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
pub(crate) async fn last_run(store: &Store, account: AccountName, now: BeijingTime) -> Result<LastRun> {
    let held = read(store, &Layout::new(account).lease()).await?;
    let at_work = held.as_ref().filter(|held| is_at_work(held, now)).map(|held| (held.run, held.written_at));
    Ok(LastRun { at_work, ..LastRun::of(held.as_ref()) })
}

impl LastRun {
    fn of(held: Option<&Heartbeat>) -> Self {
        Self {
            clean_end: held.and_then(Heartbeat::clean_end).cloned(),
            last_end: held.and_then(|held| held.last_end.clone()),
            at_work: None,
        }
    }
}

async fn read(store: &Store, path: &str) -> Result<Option<Heartbeat>> {
    let bytes = store.get(path).await?;
    // What cannot be read is nobody's.
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Whether the run of a lease is at work at `now`, as far as can be told.
fn is_at_work(held: &Heartbeat, now: BeijingTime) -> bool {
    !held.ended && is_fresh(held, now) && !process::is_dead(held)
}

/// Says once for whom a run waits: whoever looks at it would else see nothing for as long.
fn tell_of_waiting(account: &AccountName, other: &Heartbeat, most: Duration) {
    let (since, at_most) = (other.written_at, at_least(most.as_secs()));
    tracing::warn!(%account, other_run = %other.run, pid = other.pid, last_seen = %since, at_most, "waiting for another run to end");
}

fn held(account: &AccountName, other: &Heartbeat) -> Error {
    Error::new(ErrorClass::LeaseHeld, "another run is at work on this account")
        .with("since", other.written_at)
        .with("pid", other.pid)
        .with("run", other.run)
        .with("account", account)
        .hint("wait for it with `--wait`, or run again later; a run that died holds an account for at most two minutes")
}

impl Keeper {
    async fn beat(self, mut stopped: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                _ = &mut stopped => return,
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
            match self.held_by_other().await {
                Ok(Some(other)) => {
                    tracing::warn!(other_run = %other.run, "another run has taken the lease over; both go on, nothing is lost");
                    return;
                }
                Ok(None) => {
                    if let Err(error) = self.write(false).await {
                        tracing::warn!(%error, "the lease could not be refreshed");
                    }
                }
                Err(error) => tracing::warn!(%error, "the lease could not be read"),
            }
        }
    }

    async fn read(&self) -> Result<Option<Heartbeat>> {
        read(&self.store, &self.path).await
    }

    fn is_held_by_other(&self, held: &Heartbeat) -> bool {
        held.run != self.run && is_at_work(held, self.clock.now())
    }

    async fn held_by_other(&self) -> Result<Option<Heartbeat>> {
        Ok(self.read().await?.filter(|held| self.is_held_by_other(held)))
    }

    async fn write(&self, ended: bool) -> Result<()> {
        let beat = Heartbeat {
            run: self.run,
            written_at: self.clock.now(),
            pid: std::process::id(),
            process: process::own(),
            ended,
            last_end: self.last_end.clone(),
        };
        let bytes =
            serde_json::to_vec(&beat).map_err(|error| Error::internal("cannot write the lease").because(error))?;
        self.store.put(&self.path, Bytes::from(bytes), &self.staging).await
    }

    /// Says that the run has ended. A lease that another run has taken over stays as it is.
    async fn end(&mut self, end: Option<CleanEnd>) -> Result<()> {
        if self.read().await?.is_some_and(|held| held.run != self.run) {
            return Ok(());
        }
        if end.is_some() {
            self.last_end = end;
        }
        self.write(true).await
    }
}

/// A lease from the future comes from a wrong clock; far ahead it is as good as stale.
fn is_fresh(held: &Heartbeat, now: BeijingTime) -> bool {
    (now.unix() - held.written_at.unix()).abs() < STALE_SECONDS
}

/// Which process holds a lease, and whether it is certainly dead. Linux tells; elsewhere nothing is known.
mod process {
    use super::Heartbeat;

    /// `{boot}/{pid namespace}/{pid}/{start}`: a pid means something only within them, and comes back only with another
    /// start.
    pub(crate) fn own() -> Option<String> {
        Some(format!("{}/{}", place()?, life("self")?))
    }

    pub(crate) fn is_dead(held: &Heartbeat) -> bool {
        let life_there = || {
            let text = held.process.as_deref()?;
            let life = text.strip_prefix(&place()?)?.strip_prefix('/')?;
            Some((life, life.split_once('/')?.0))
        };
        life_there().is_some_and(|(life_then, pid)| life(pid).as_deref() != Some(life_then))
    }

    fn place() -> Option<String> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        Some(format!("{}/{}", boot.trim(), namespace.to_str()?))
    }

    pub(crate) fn life(pid: &str) -> Option<String> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let pid = stat.split_once(' ')?.0;
        // The name, in brackets, may hold anything; the state is the first field after it, the start the 20th.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        // A zombie is dead; nobody has asked for its exit code yet, and in a container perhaps nobody ever will.
        let lives = !matches!(fields.next()?, "Z" | "X" | "x");
        let start = fields.nth(18)?;
        lives.then(|| format!("{pid}/{start}"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::future::BoxFuture;

    use super::*;
    use crate::error::ErrorKind;
    use crate::land::testing::{HeldClock, writer};
    use crate::store::Access;
    use crate::store::failpoint::{FailPoints, FaultInjection, InjectedAt};

    fn keeper(store: &Store, clock: &Arc<HeldClock>) -> Keeper {
        let layout = Layout::new("acme".parse().expect("a name"));
        let run = RunId::generate();
        Keeper {
            store: store.clone(),
            path: layout.lease(),
            staging: layout.staging_lease(run),
            run,
            clock: Arc::clone(clock) as _,
            last_end: None,
        }
    }

    async fn acquire(store: &Store, clock: &Arc<HeldClock>) -> Result<Lease> {
        let account = "acme".parse().expect("a name");
        let never = std::future::pending();
        let lease =
            Lease::acquire(store.clone(), account, RunId::generate(), Arc::clone(clock) as _, LeaseWait::No, never)
                .await;
        lease.map(|lease| lease.expect("nobody gave up"))
    }

    #[tokio::test]
    async fn one_run_holds_it_and_gives_it_back() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(1_000_000)));
        let lease = acquire(&store, &clock).await.expect("free");
        let error = acquire(&store, &clock).await.expect_err("held");
        assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::Conflict, 6));
        assert!(error.hint_text().expect("a hint").contains("--wait"));
        lease.release(None).await;
        acquire(&store, &clock).await.expect("free again").release(None).await;
    }

    #[tokio::test]
    async fn the_end_of_a_run_is_known_to_the_next() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(1_000_000)));
        let lease = acquire(&store, &clock).await.expect("free");
        let account = || "acme".parse().expect("a name");
        let now = clock.now();
        let at_work = last_run(&store, account(), now).await.expect("read").at_work;
        assert_eq!(at_work, Some((lease.keeper.run, now)));
        let (run, checked_until) = (lease.keeper.run, Some(now.plus_seconds(-60)));
        let end = CleanEnd {
            run,
            ended_at: now,
            newest: Some(7),
            last_sweep: now,
            checked_until,
            succeeded_at: Some(now),
            published: BTreeMap::new(),
        };
        lease.release(Some(end.clone())).await;
        let told = last_run(&store, account(), now).await.expect("read");
        assert_eq!(told, LastRun { clean_end: Some(end.clone()), last_end: Some(end.clone()), at_work: None });

        // A run that leaves something over keeps what was known, and is no clean end itself.
        let lease = acquire(&store, &clock).await.expect("free");
        assert_eq!(lease.last_run().clean_end, Some(end.clone()));
        lease.release(None).await;
        let told = last_run(&store, account(), now).await.expect("read");
        assert_eq!(told, LastRun { clean_end: None, last_end: Some(end.clone()), at_work: None });
        // So does one that dies.
        drop(acquire(&store, &clock).await.expect("free"));
        clock.advance(200);
        let told = last_run(&store, account(), clock.now()).await.expect("read");
        assert_eq!(told, LastRun { clean_end: None, last_end: Some(end), at_work: None });
    }

    #[tokio::test]
    async fn a_stale_or_broken_lease_is_taken_over_and_not_given_back_by_its_old_holder() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(1_000_000)));
        let old = acquire(&store, &clock).await.expect("free");
        clock.advance(119);
        acquire(&store, &clock).await.expect_err("fresh");
        clock.advance(1);
        let new = acquire(&store, &clock).await.expect("stale");
        old.release(None).await;
        acquire(&store, &clock).await.expect_err("the new holder's");
        new.release(None).await;

        store.put("_lease/account=acme.json", Bytes::from_static(b"{"), "x").await.expect("written");
        acquire(&store, &clock).await.expect("nobody's").release(None).await;
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn the_lease_of_a_dead_process_is_stale_at_once() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(1_000_000)));
        let dead = keeper(&store, &clock);
        dead.write(false).await.expect("written");
        let mut beat = dead.read().await.expect("read").expect("there");
        assert!(!process::is_dead(&beat), "this very process lives");
        let text = beat.process.take().expect("linux tells");
        let (place, start) = text.rsplit_once('/').expect("fields");
        for other in [format!("{place}/1{start}"), text.replacen('/', "x/", 1)] {
            beat.process = Some(other.clone());
            assert_eq!(process::is_dead(&beat), other.starts_with(place), "elsewhere nothing is known");
        }
        beat.process = Some(format!("{place}/1{start}"));
        let bytes = serde_json::to_vec(&beat).expect("json");
        store.put(&dead.path, bytes.into(), "x").await.expect("written");
        acquire(&store, &clock).await.expect("taken over").release(None).await;
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_killed_process_that_nobody_has_waited_for_is_dead() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("started");
        let own = process::own().expect("linux tells");
        let place = own.rsplitn(3, '/').last().expect("fields");
        let life = process::life(&child.id().to_string()).expect("it lives");
        let held = Heartbeat {
            run: RunId::generate(),
            written_at: BeijingTime::from_unix(1_000_000).expect("a time"),
            pid: child.id(),
            process: Some(format!("{place}/{life}")),
            ended: false,
            last_end: None,
        };
        assert!(!process::is_dead(&held));
        child.kill().expect("killed");
        let killed = std::time::Instant::now();
        while !process::is_dead(&held) {
            assert!(killed.elapsed() < Duration::from_secs(10), "a zombie is dead");
            std::thread::yield_now();
        }
        child.wait().expect("waited for");
        assert!(process::is_dead(&held));
    }

    #[tokio::test]
    async fn a_half_written_lease_that_a_sweep_took_away_is_written_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::local(folder.path(), Access::Write).expect("made");
        let sweep = Arc::new(SweepOnce { store: store.clone(), swept: AtomicBool::new(false) });
        let clock = Arc::new(HeldClock::at(1_000_000));
        acquire(&store.with_fail_points(FailPoints::new(sweep)), &clock).await.expect("taken").release(None).await;
        let left: Vec<String> = store.list("").await.expect("a listing").into_iter().map(|left| left.path).collect();
        assert_eq!(left, ["_lease/account=acme.json"]);
    }

    /// Another run's sweep, just when a lease is half written.
    struct SweepOnce {
        store: Store,
        swept: AtomicBool,
    }

    impl FaultInjection for SweepOnce {
        fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
            let now = matches!(moment, InjectedAt::Point("put.staged")) && !self.swept.swap(true, Ordering::SeqCst);
            Box::pin(async move {
                if now {
                    let swept = writer(&self.store).await.sweep().await?;
                    assert_eq!(swept.deleted.len(), 1);
                }
                Ok(())
            })
        }
    }

    /// It looks every five seconds, and at the end of its time.
    #[tokio::test(start_paused = true)]
    async fn a_run_waits_no_longer_than_it_was_told() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(1_000_000)));
        let lease = acquire(&store, &clock).await.expect("free");
        let wait = |seconds| {
            let (account, most) = ("acme".parse().expect("a name"), LeaseWait::UpTo(Duration::from_secs(seconds)));
            Lease::acquire(store.clone(), account, RunId::generate(), clock.clone(), most, std::future::pending())
        };
        for seconds in [0, 7] {
            let began = Instant::now();
            let error = wait(seconds).await.expect_err("it is held");
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains(&format!("waited: {seconds}s")), "{error}");
            assert_eq!(began.elapsed().as_secs(), seconds);
        }
        let (waited, ()) = tokio::join!(wait(60), async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            lease.release(None).await;
        });
        waited.expect("no error").expect("taken").release(None).await;
    }

    #[tokio::test]
    async fn a_run_that_waits_can_give_up() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(1_000_000)));
        let lease = acquire(&store, &clock).await.expect("free");
        let account = "acme".parse().expect("a name");
        let given_up = std::future::ready(());
        let waited = Lease::acquire(
            store,
            account,
            RunId::generate(),
            clock,
            LeaseWait::UpTo(Duration::from_secs(3_600)),
            given_up,
        )
        .await;
        assert!(waited.expect("no error").is_none());
        lease.release(None).await;
    }
}
