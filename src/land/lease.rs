//! The courtesy lease: keeps a second run on the same account from spending calls on what a first run is already fetching.
//!
//! It is one small object a run rewrites every 30 seconds. A run that finds another's lease younger than two minutes stops with
//! [`ErrorKind::Conflict`], or waits; an older one it takes over. **Nothing's correctness depends on it**: two runs that both believe to
//! hold it waste calls, and the commit log sorts them out. So it is written without conditions, and a lease whose process is known
//! to be dead (same machine, Linux) is stale at once, because a wrong guess costs nothing but calls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::layout::Layout;
use super::store::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{AccountName, RunId};
use crate::time::{BeijingTime, Clock};

/// How often the lease is rewritten.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How old another's lease must be to count for nothing, in seconds.
const STALE_SECONDS: i64 = 120;
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
pub struct Lease {
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
    /// Takes the lease of `account` for `run`, and keeps it fresh until it is released or dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another run holds it and `wait` is [`LeaseWait::No`]; [`ErrorKind::Lake`] when the store does not answer.
    pub async fn acquire(
        store: Store,
        account: AccountName,
        run: RunId,
        clock: Arc<dyn Clock>,
        wait: LeaseWait,
    ) -> Result<Self> {
        let layout = Layout::new(account.clone());
        let keeper = Keeper { store, path: layout.lease(), staging: layout.staging_lease(run), run, clock };
        loop {
            match keeper.held_by_other().await? {
                None => {
                    keeper.write().await?;
                    // Of two that wrote at once the later write stands, and the other gives way here.
                    if keeper.held_by_other().await?.is_none() {
                        break;
                    }
                }
                Some(other) if wait == LeaseWait::No => return Err(held(&account, &other)),
                Some(other) => {
                    tracing::info!(account = %account, run = %other.run, "waiting for another run to finish");
                    tokio::time::sleep(POLL).await;
                }
            }
        }
        let (stop, stopped) = oneshot::channel();
        let beating = tokio::spawn(keeper.clone().beat(stopped));
        Ok(Self { keeper, stop: Some(stop), beating: Some(beating) })
    }

    /// Gives the lease back, if it is still ours. A lease that cannot be given back goes stale by itself.
    pub async fn release(mut self) {
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
                    tracing::warn!(run = %other.run, "another run has taken the lease over; both go on, nothing is lost");
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
        let bytes = serde_json::to_vec(&beat).map_err(|error| Error::internal("write a lease").because(error))?;
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

    /// `{boot}/{pid namespace}/{pid}/{start}`: a pid means something only within them, and comes back only with another start.
    pub(super) fn own() -> Option<String> {
        Some(format!("{}/{}", place()?, life("self")?))
    }

    pub(super) fn is_dead(held: &Heartbeat) -> bool {
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

    fn life(pid: &str) -> Option<String> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let pid = stat.split_once(' ')?.0;
        // The name, in brackets, may hold anything; the start is the 20th field after it.
        let start = stat.rsplit_once(") ")?.1.split(' ').nth(19)?;
        Some(format!("{pid}/{start}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::land::testing::HeldClock;

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
        Lease::acquire(store.clone(), account, RunId::generate(), Arc::clone(clock) as _, LeaseWait::No).await
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
}
