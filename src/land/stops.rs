//! The two commits of a stop reference: the intent before its call, the results after it.

use super::commit::Writer;
use super::stage::{CommitOutcome, NewFile};
use crate::error::Result;
use crate::log::{CommitKind, StopIntent, StopResult};

impl Writer {
    /// From now on an intent to stop one of `numbers` is dropped when another writer has intended one before it,
    /// whatever the log forgets.
    pub(crate) async fn pin_stops(&self, numbers: &[String]) {
        self.log().lock().await.pin_stops(numbers);
    }

    /// Writes down that requisitions are about to be stopped. Only after this has committed may the call be made.
    ///
    /// # Errors
    /// As [`Writer::commit`]; when it fails, whether the intent stands is unknown, and the call must not be made.
    pub(crate) async fn intend(&self, intent: StopIntent) -> Result<CommitOutcome> {
        // Others settle meanwhile what this writer still takes for pending.
        self.follow().await?;
        self.commit(self.stage(Vec::new()).await.intending(intent)).await
    }

    /// Writes down what became of stops, and the same as rows of the table.
    ///
    /// # Errors
    /// As [`Writer::land`].
    pub(crate) async fn settle(&self, results: Vec<StopResult>, rows: NewFile) -> Result<CommitOutcome> {
        let mut staged = self.begin(CommitKind::StopResult, None, Vec::new()).await.settling(results);
        match self.write(&mut staged, rows).await {
            Ok(()) => self.commit(staged).await,
            Err(error) => self.dropped_meanwhile(&staged, error).await,
        }
    }
}
