//! The advisory lease: keeps a second run on the same account from spending calls on what a first run is already
//! fetching.
//!
//! It is one small object a run rewrites every 30 seconds. A run that finds another's lease younger than two minutes
//! stops with [`ErrorKind::Conflict`], or waits; an older one it takes over. **Nothing's correctness depends on it**:
//! two runs that both believe to hold it waste calls, and the commit log sorts them out. So it is written without
//! conditions, and a lease whose process is known to be dead (same machine, Linux) is stale at once, because a wrong
//! guess costs nothing but calls.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::error::{Error, ErrorKind, Result};
use crate::id::{AccountName, RunId};
use crate::log::Layout;
use crate::store::Store;
use crate::time::{BeijingTime, Clock};

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
    /// Wait until it is released or stale.
    Yes,
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
}

/// A held lease. [`release`](Lease::release) it at the end; one that is dropped goes stale by itself.
#[derive(Debug)]
pub(crate) struct Lease {
    keeper: Keeper,
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
    /// [`ErrorKind::Conflict`] when another run holds it and `wait` is [`LeaseWait::No`]; [`ErrorKind::Lake`] when the
    /// store does not answer.
    pub(crate) async fn acquire(
        store: Store,
        account: AccountName,
        run: RunId,
        clock: Arc<dyn Clock>,
        wait: LeaseWait,
        give_up: impl Future<Output = ()>,
    ) -> Result<Option<Self>> {
        let layout = Layout::new(account.clone());
        let keeper = Keeper { store, path: layout.lease(), staging: layout.staging_lease(run), run, clock };
        let mut give_up = pin!(give_up);
        let mut tries = 0;
        loop {
            match keeper.held_by_other().await? {
                None => {
                    tries += 1;
                    match keeper.write().await {
                        Err(error) if tries == TRIES => return Err(error),
                        Err(error) => tracing::debug!(%error, "the lease could not be written, trying again"),
                        // Of two that wrote at once the later write stands, and the other gives way here.
                        Ok(()) if keeper.held_by_other().await?.is_none() => break,
                        Ok(()) => {}
                    }
                }
                Some(other) if wait == LeaseWait::No => return Err(held(&account, &other)),
                Some(other) => {
                    tracing::info!(other_run = %other.run, "waiting for another run to finish");
                    tokio::select! {
                        () = tokio::time::sleep(POLL) => {}
                        () = &mut give_up => return Ok(None),
                    }
                }
            }
        }
        let (stop, stopped) = oneshot::channel();
        let beating = tokio::spawn(keeper.clone().beat(stopped).in_current_span());
        Ok(Some(Self { keeper, stop: Some(stop), beating: Some(beating) }))
    }

    /// Whether a lease of `account` lies in the lake, whoever's it is and however old.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`] when the store does not answer.
    pub(crate) async fn lies_in(store: &Store, account: AccountName) -> Result<bool> {
        Ok(store.get(&Layout::new(account).lease()).await?.is_some())
    }

    /// Gives the lease back, if it is still ours. A lease that cannot be given back goes stale by itself.
    pub(crate) async fn release(mut self) {
        // The heartbeat ends first: one that is under way must not bring the lease back.
        drop(self.stop.take());
        if let Some(beating) = self.beating.take() {
            let _ = beating.await;
        }
        if let Err(error) = self.keeper.remove().await {
            tracing::warn!(%error, "the lease could not be given back; it is stale in two minutes");
        }
    }
}

fn held(account: &AccountName, other: &Heartbeat) -> Error {
    Error::new(ErrorKind::Conflict, "another run is at work on this account")
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
                    if let Err(error) = self.write().await {
                        tracing::warn!(%error, "the lease could not be refreshed");
                    }
                }
                Err(error) => tracing::warn!(%error, "the lease could not be read"),
            }
        }
    }

    async fn read(&self) -> Result<Option<Heartbeat>> {
        let bytes = self.store.get(&self.path).await?;
        // What cannot be read is nobody's.
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    async fn held_by_other(&self) -> Result<Option<Heartbeat>> {
        let now = self.clock.now();
        Ok(self.read().await?.filter(|held| held.run != self.run && is_fresh(held, now) && !process::is_dead(held)))
    }

    async fn write(&self) -> Result<()> {
        let beat =
            Heartbeat { run: self.run, written_at: self.clock.now(), pid: std::process::id(), process: process::own() };
        let bytes =
            serde_json::to_vec(&beat).map_err(|error| Error::internal("cannot write the lease").because(error))?;
        self.store.put(&self.path, Bytes::from(bytes), &self.staging).await
    }

    async fn remove(&self) -> Result<()> {
        match self.read().await? {
            Some(held) if held.run == self.run => self.store.delete(&self.path).await,
            _ => Ok(()),
        }
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
        lease.release().await;
        assert_eq!(store.list("_lease").await.expect("a listing"), vec![]);
        acquire(&store, &clock).await.expect("free again").release().await;
    }

    #[tokio::test]
    async fn a_stale_or_broken_lease_is_taken_over_and_not_given_back_by_its_old_holder() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(1_000_000)));
        let old = acquire(&store, &clock).await.expect("free");
        clock.advance(119);
        acquire(&store, &clock).await.expect_err("fresh");
        clock.advance(1);
        let new = acquire(&store, &clock).await.expect("stale");
        old.release().await;
        acquire(&store, &clock).await.expect_err("the new holder's");
        new.release().await;

        store.put("_lease/account=acme.json", Bytes::from_static(b"{"), "x").await.expect("written");
        acquire(&store, &clock).await.expect("nobody's").release().await;
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn the_lease_of_a_dead_process_is_stale_at_once() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(1_000_000)));
        let dead = keeper(&store, &clock);
        dead.write().await.expect("written");
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
        acquire(&store, &clock).await.expect("taken over").release().await;
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
        acquire(&store.with_fail_points(FailPoints::new(sweep)), &clock).await.expect("taken").release().await;
        assert_eq!(store.list("").await.expect("a listing"), vec![]);
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

    #[tokio::test]
    async fn a_run_that_waits_can_give_up() {
        let (store, clock) = (Store::memory(), Arc::new(HeldClock::at(1_000_000)));
        let lease = acquire(&store, &clock).await.expect("free");
        let account = "acme".parse().expect("a name");
        let given_up = std::future::ready(());
        let waited = Lease::acquire(store, account, RunId::generate(), clock, LeaseWait::Yes, given_up).await;
        assert!(waited.expect("no error").is_none());
        lease.release().await;
    }
}
