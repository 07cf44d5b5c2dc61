//! How a run is asked to end, and by when it has.
//!
//! Who is asked once ends in order: what is whole is committed, the lease is given back. That has a limit, because
//! whatever is still waited for (a store, a gateway, a disk) may never answer; and who is asked twice ends at once. So
//! all that a run waits for after it was asked is bounded by [`over`](Interrupt::over). What is let go then is what a
//! killed process would have left: the next run clears it away.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long an orderly end may take.
const GRACE: Duration = Duration::from_secs(8);
/// How much of it is for what is under way; the rest is for giving back what the run holds.
const GRACE_OF_WORK: Duration = Duration::from_secs(5);

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
pub struct Interrupt(watch::Receiver<Told>);

impl Interrupt {
    /// An interrupt, and who tells it.
    pub fn new() -> (Interrupter, Self) {
        let (sender, receiver) = watch::channel(Told::default());
        (Interrupter(sender), Self(receiver))
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
        let mut told = self.0.clone();
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
        self.0.borrow().asked_at.is_some()
    }

    async fn asked_at(&self) -> Instant {
        wait_for(&mut self.0.clone(), |told| told.asked_at).await
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
    async fn one_that_never_comes_never_comes() {
        let never = Interrupt::never();
        let year = tokio::time::timeout(Duration::from_secs(365 * 86_400), never.over());
        assert!(year.await.is_err());
    }
}
