//! How many accounts are at work at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::gateway::CallWatch;

/// The slots of a run.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    taken: AtomicUsize,
    freed: Notify,
}

/// A slot, free again when this is dropped.
#[derive(Debug)]
pub(super) struct AccountSlot(Slots);

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Inner { most, taken: AtomicUsize::new(0), freed: Notify::new() }))
    }

    /// Whether another account may begin.
    pub(super) fn is_free(&self) -> bool {
        self.0.taken.load(Ordering::Relaxed) < self.0.most
    }

    /// Completes when a slot was given back since this was last awaited.
    pub(super) async fn freed(&self) {
        self.0.freed.notified().await;
    }

    /// Takes a slot, whether one is free or not.
    pub(super) fn take(&self) -> AccountSlot {
        self.0.taken.fetch_add(1, Ordering::Relaxed);
        AccountSlot(self.clone())
    }
}

impl AccountSlot {
    /// Lends the slot to others as often as the account that has it has waited so long for its gateway, and takes it
    /// back when something has come. Never completes.
    pub(super) async fn lend_while_waiting(self, watch: &CallWatch, patience: Duration) {
        let slots = self.0.clone();
        let mut slot = Some(self);
        loop {
            watch.waited(patience).await;
            drop(slot.take());
            watch.went_on(patience).await;
            slot = Some(slots.take());
        }
    }
}

impl Drop for AccountSlot {
    fn drop(&mut self) {
        self.0.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_lent_while_its_account_waits() {
        let (slots, watch) = (Slots::new(1), CallWatch::default());
        let slot = slots.take();
        assert!(!slots.is_free());
        let others = watch.clone();
        let holding = tokio::spawn(async move { slot.lend_while_waiting(&others, Duration::from_secs(5)).await });
        let call = watch.begin();
        let began = tokio::time::Instant::now();
        slots.freed().await;
        assert!(slots.is_free() && began.elapsed().as_secs() == 5);
        let another = slots.take();
        drop(call);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!slots.is_free(), "it is back");
        drop(another);
        assert!(!slots.is_free(), "and holds its own");
        holding.abort();
        assert!(holding.await.is_err() && slots.is_free());
    }
}
