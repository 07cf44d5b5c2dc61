//! Whether an account does nothing but wait for its gateway: for a response, for a retry, or for its rate limit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What is noted of the calls of an account; clones note in the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallWatches {
    /// From the wait for the rate limit to the response.
    pub(crate) calls: CallWatch,
    /// From when a request may be sent to the response, retries included.
    pub(crate) responses: CallWatch,
}

/// Notes when something begins and ends; clones note in the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallWatch(Arc<Watched>);

#[derive(Debug, Default)]
struct Watched {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The calls that have no response yet.
    waiting: usize,
    /// When the last call ended, or the first of those that wait began.
    since: Option<Instant>,
}

/// Something that is waited for; it has come when this is dropped.
#[derive(Debug)]
pub(crate) struct Awaited(CallWatch);

impl CallWatch {
    /// Something is waited for from here on.
    pub(crate) fn begin(&self) -> Awaited {
        {
            let mut state = self.state();
            if state.waiting == 0 {
                state.since = Some(Instant::now());
            }
            state.waiting += 1;
        }
        self.0.changed.notify_waiters();
        Awaited(self.clone())
    }

    /// Completes when the account has waited for so long without anything that came.
    pub(crate) async fn waited(&self, patience: Duration) {
        loop {
            let changed = self.0.changed.notified();
            let State { waiting, since } = *self.state();
            match since.filter(|_| waiting > 0) {
                Some(since) if since.elapsed() >= patience => return,
                Some(since) => drop(timeout_at(since + patience, changed).await),
                None => changed.await,
            }
        }
    }

    /// Completes when something has come after that.
    pub(crate) async fn went_on(&self, patience: Duration) {
        loop {
            let changed = self.0.changed.notified();
            let State { waiting, since } = *self.state();
            if waiting == 0 || since.is_none_or(|since| since.elapsed() < patience) {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        {
            let mut state = self.0.state();
            state.waiting -= 1;
            state.since = Some(Instant::now());
        }
        self.0.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_for_so_long_is_told_and_told_when_it_goes_on() {
        let watch = CallWatch::default();
        let idle = tokio::time::timeout(Duration::from_secs(60), watch.waited(PATIENCE));
        assert!(idle.await.is_err(), "who calls nobody waits for nobody");
        let first = watch.begin();
        let began = Instant::now();
        let others = watch.clone();
        let calls = tokio::spawn(async move {
            for _ in 0..3 {
                let call = others.begin();
                tokio::time::sleep(Duration::from_secs(4)).await;
                drop(call);
            }
        });
        watch.waited(PATIENCE).await;
        assert_eq!(began.elapsed().as_secs(), 17, "each response is a sign of life");
        calls.await.expect("no panic");
        let still = tokio::time::timeout(Duration::from_secs(60), watch.went_on(PATIENCE));
        assert!(still.await.is_err(), "nothing has come");
        drop(first);
        watch.went_on(PATIENCE).await;
    }
}
