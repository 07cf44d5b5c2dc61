//! How a run is asked to end, by a signal or because a time has come, and by when it has.
//!
//! Who is asked once ends in order: what is whole is committed, the lease is given back. That has a limit, because
//! whatever is still waited for (a store, a gateway, a disk) may never answer; and who is asked twice ends at once. So
//! all that a run waits for after it was asked is bounded by [`over`](Interrupt::over). What is let go then is what a
//! killed process would have left: the next run clears it away.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::time::{BeijingTime, Clock};

/// How long an orderly end may take.
const GRACE: Duration = Duration::from_secs(8);
/// How much of it is for what is under way; the rest is for giving back what the run holds.
const GRACE_OF_WORK: Duration = Duration::from_secs(5);
/// How often the clock is looked at: it may be set.
const LOOK: Duration = Duration::from_secs(1);

/// What a run has been told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    asked_at: Option<Instant>,
    is_over: bool,
}

/// Tells runs to end; each call is one signal. When it is dropped, nothing is told any more.
#[derive(Debug)]
pub struct Interrupter(watch::Sender<Told>);

impl Interrupter {
    /// Asks runs to end, and the second time to end at once.
    pub fn ask(&self) {
        self.0.send_modify(|told| match told.asked_at {
            None => told.asked_at = Some(Instant::now()),
            Some(_) => told.is_over = true,
        });
    }
}

/// What a run listens to; clones hear the same.
#[derive(Clone, Debug)]
pub struct Interrupt {
    told: watch::Receiver<Told>,
    deadline: Option<Arc<Deadline>>,
}

/// Why a run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndCause {
    /// Somebody asked for it.
    Asked,
    /// Its time has come.
    Deadline,
}

/// A time at which a run is asked to end.
struct Deadline {
    clock: Arc<dyn Clock>,
    at: BeijingTime,
    /// When it was first seen to have come.
    came_at: OnceLock<Instant>,
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Deadline {
    fn came_at(&self) -> Option<Instant> {
        let has_come = self.came_at.get().is_some() || self.clock.now() >= self.at;
        has_come.then(|| *self.came_at.get_or_init(Instant::now))
    }

    async fn wait(&self) -> Instant {
        loop {
            match self.came_at() {
                Some(came_at) => return came_at,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

impl Interrupt {
    /// An interrupt, and who tells it.
    pub fn new() -> (Interrupter, Self) {
        let (sender, receiver) = watch::channel(Told::default());
        (Interrupter(sender), Self { told: receiver, deadline: None })
    }

    /// The same, and the run is asked to end when this time has come by `clock`, if there is one.
    #[must_use]
    pub(super) fn until(&self, clock: &Arc<dyn Clock>, at: Option<BeijingTime>) -> Self {
        let deadline = at.map(|at| Arc::new(Deadline { clock: Arc::clone(clock), at, came_at: OnceLock::new() }));
        Self { told: self.told.clone(), deadline: deadline.or_else(|| self.deadline.clone()) }
    }

    /// One that never comes.
    pub fn never() -> Self {
        Self::new().1
    }

    /// Completes when the run is asked to end.
    pub async fn asked(&self) {
        self.asked_at().await;
    }

    /// Completes when the run has to have ended: some time after it was asked, or when it is asked again.
    pub async fn over(&self) {
        self.over_after(GRACE).await;
    }

    async fn over_after(&self, grace: Duration) {
        let limit = self.asked_at().await + grace;
        let mut told = self.told.clone();
        tokio::select! {
            () = tokio::time::sleep_until(limit) => {}
            _ = wait_for(&mut told, |told| told.is_over.then_some(())) => {}
        }
    }

    /// The outcome of `work`, unless the run is asked to end before.
    pub(crate) async fn unless_asked<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.asked() => None,
        }
    }

    /// The outcome of work that is under way, unless it takes so long after the run was asked to end that nothing could
    /// be given back.
    pub(super) async fn unless_late<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.over_after(GRACE_OF_WORK) => None,
        }
    }

    /// The outcome of `work`, unless the run has to have ended before.
    pub(super) async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.over() => None,
        }
    }

    /// Whether the run was asked to end.
    pub(crate) fn is_asked(&self) -> bool {
        self.cause().is_some()
    }

    /// Why the run is to end, if it is.
    pub(super) fn cause(&self) -> Option<EndCause> {
        if self.told.borrow().asked_at.is_some() {
            return Some(EndCause::Asked);
        }
        self.deadline.as_ref().and_then(|deadline| deadline.came_at()).map(|_| EndCause::Deadline)
    }

    async fn asked_at(&self) -> Instant {
        let mut told = self.told.clone();
        let asked = wait_for(&mut told, |told| told.asked_at);
        match &self.deadline {
            None => asked.await,
            Some(deadline) => tokio::select! {
                biased;
                at = asked => at,
                at = deadline.wait() => at,
            },
        }
    }
}

/// Waits until something was told, for ever when nobody is left to tell it.
async fn wait_for<T>(told: &mut watch::Receiver<Told>, what: impl Fn(&Told) -> Option<T>) -> T {
    loop {
        if let Some(found) = what(&told.borrow_and_update()) {
            return found;
        }
        if told.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_has_some_seconds() {
        let (interrupter, interrupt) = Interrupt::new();
        assert_eq!(interrupt.unless_asked(async { 1 }).await, Some(1));
        let began = Instant::now();
        interrupter.ask();
        interrupt.asked().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(interrupt.unless_over(async { 1 }).await, Some(1), "what does not wait is done");
        assert_eq!(interrupt.unless_over(std::future::pending::<()>()).await, None);
        assert!((GRACE..GRACE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert_eq!(interrupt.clone().unless_over(std::future::pending::<()>()).await, None, "it stays over");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_twice_has_no_time() {
        let (interrupter, interrupt) = Interrupt::new();
        let began = Instant::now();
        let waiting = tokio::spawn(async move {
            interrupt.asked().await;
            interrupt.unless_over(std::future::pending::<()>()).await
        });
        interrupter.ask();
        tokio::time::sleep(Duration::from_secs(1)).await;
        interrupter.ask();
        assert_eq!(waiting.await.expect("no panic"), None);
        assert_eq!(began.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_comes_asks_as_a_signal_does() {
        let clock = crate::sandbox::SandboxClock::held(BeijingTime::parse("2026-07-01 05:59:00").expect("a time"));
        let (interrupter, never) = Interrupt::new();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let interrupt = never.until(&shared, BeijingTime::parse("2026-07-01 06:00:00"));
        let early = tokio::time::timeout(Duration::from_secs(3_600), interrupt.asked());
        assert!(early.await.is_err() && interrupt.cause().is_none(), "the clock stands still");
        clock.advance(60);
        assert_eq!(interrupt.cause(), Some(EndCause::Deadline), "whoever looks knows at once");
        let began = Instant::now();
        assert_eq!(interrupt.unless_over(std::future::pending::<()>()).await, None);
        assert!((GRACE..GRACE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        clock.advance(-60);
        assert!(interrupt.is_asked(), "what has come stays");
        assert!(!never.is_asked());
        interrupter.ask();
        assert_eq!(interrupt.cause(), Some(EndCause::Asked), "a signal counts for more");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_comes_never_comes() {
        let never = Interrupt::never();
        let year = tokio::time::timeout(Duration::from_secs(365 * 86_400), never.over());
        assert!(year.await.is_err());
    }
}
