//! Work on the log of an account while this run holds its lease.

use std::sync::Arc;

use super::interrupt::Interrupt;
use crate::error::Result;
use crate::id::{AccountName, RunId};
use crate::land::{Lease, LeaseWait};
use crate::store::Store;
use crate::time::Clock;

/// Whose lease it is.
pub(super) struct LeaseSession {
    pub(super) store: Store,
    pub(super) account: AccountName,
    pub(super) run: RunId,
    pub(super) clock: Arc<dyn Clock>,
}

impl LeaseSession {
    /// Takes the lease; `None` when the run is interrupted before it has it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when another run holds it and is not waited for,
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the object store does not answer.
    pub(super) async fn begin(self, wait: LeaseWait, interrupt: &Interrupt) -> Result<Option<HeldLease>> {
        let Self { store, account, run, clock } = self;
        let acquiring = Lease::acquire(store, account, run, clock, wait, interrupt.asked());
        Ok(interrupt.unless_over(acquiring).await.transpose()?.flatten().map(HeldLease))
    }
}

/// A lease that this run holds.
pub(super) struct HeldLease(Lease);

impl HeldLease {
    /// Does `work`, and gives the lease back whatever came of it. One that cannot be given back in time goes stale by
    /// itself.
    ///
    /// # Errors
    /// Those of `work`.
    pub(super) async fn during<T>(self, interrupt: &Interrupt, work: impl Future<Output = Result<T>>) -> Result<T> {
        let outcome = work.await;
        let _ = interrupt.unless_over(self.0.release()).await;
        outcome
    }
}
