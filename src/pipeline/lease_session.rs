//! Work on the log of an account while this run holds its lease.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::interrupt::Interrupt;
use crate::error::Result;
use crate::id::{AccountName, RunId};
use crate::land::{CleanEnd, LastRun, Lease, LeaseWait, Swept, Writer};
use crate::store::Store;
use crate::time::{BeijingTime, Clock};

/// How long a sweep is enough: leftovers of a process whose lease another one overwrote are found by the next.
const SWEPT_SECONDS: i64 = 86_400;

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

/// What a run has left when it gives its lease back.
#[derive(Clone, Debug, Default)]
pub(super) struct Left {
    /// Whether nothing is unknown and nothing left over, as far as the run knows.
    pub(super) is_clean: bool,
    /// The last second that it has asked the ERP for without a gap; none when it was no sync, or left a gap or an
    /// error.
    pub(super) checked_until: Option<BeijingTime>,
    /// The versions of published tables that say how far the account is published, by table.
    pub(super) published: BTreeMap<String, u64>,
}

impl HeldLease {
    /// The versions that the last run has left word of.
    pub(super) fn published(&self) -> &BTreeMap<String, u64> {
        static NONE: BTreeMap<String, u64> = BTreeMap::new();
        self.0.last_run().last_end.as_ref().map_or(&NONE, |end| &end.published)
    }

    /// Sweeps, unless the last run is known to have left nothing: it said so, the log ends where it ended, that was
    /// less than a day ago, and nothing that was kept for readers has come due since.
    pub(super) async fn sweep(&self, writer: &Writer) -> Result<Option<Swept>> {
        if is_swept(self.0.last_run(), writer).await {
            return Ok(None);
        }
        writer.sweep().await.map(Some)
    }

    /// Does `work`, leaves a checkpoint where one is due, and gives the lease back whatever came of it. One that cannot
    /// be given back in time goes stale by itself. `left` says of the outcome what the run has left.
    ///
    /// # Errors
    /// Those of `work`.
    pub(super) async fn during<T>(
        self,
        interrupt: &Interrupt,
        writer: &Writer,
        work: impl AsyncFnOnce(&Self) -> Result<T>,
        left: impl FnOnce(&T) -> Left,
    ) -> Result<T> {
        let outcome = work(&self).await;
        let left = outcome.as_ref().map_or_else(|_| Left::default(), left);
        let _ = interrupt
            .unless_over(async {
                if outcome.is_ok() {
                    writer.leave_checkpoint().await;
                }
                let end = self.end(writer, left).await;
                self.0.release(end).await;
            })
            .await;
        outcome
    }

    /// The clean end of this run, if it is one.
    async fn end(&self, writer: &Writer, left: Left) -> Option<CleanEnd> {
        if !left.is_clean || writer.has_left().await {
            return None;
        }
        let ended_at = writer.now();
        let before = self.0.last_run().last_end.as_ref();
        let last_sweep = writer.swept_at().or_else(|| before.map(|end| end.last_sweep))?;
        // An earlier run may have asked further, and a run of an old range takes nothing from that.
        let checked_until = left.checked_until.max(before.and_then(|end| end.checked_until));
        let succeeded_at = left.checked_until.map(|_| ended_at).or_else(|| before.and_then(|end| end.succeeded_at));
        let newest = writer.with_state(|state| state.newest().map(|newest| newest.number)).await;
        let published = left.published;
        Some(CleanEnd { run: writer.run(), ended_at, newest, last_sweep, checked_until, succeeded_at, published })
    }
}

/// Whether nothing needs to be swept, by what the last run has left; what was kept for readers must go when its time is
/// over.
pub(super) async fn is_swept(last_run: &LastRun, writer: &Writer) -> bool {
    let Some(end) = &last_run.clean_end else { return false };
    let now = writer.now();
    let (newest, has_kept) = writer
        .with_state(|state| (state.newest().map(|newest| newest.number), state.has_kept_until(end.last_sweep, now)))
        .await;
    let age = now.unix() - end.last_sweep.unix();
    end.newest == newest && !has_kept && (0..SWEPT_SECONDS).contains(&age)
}
