//! The two commits of a stop reference: the intent before its call, the results after it.

use super::commit::Writer;
use super::stage::{CommitOutcome, NewFile};
use crate::error::Result;
use crate::log::{CommitKind, Lake, StopIntent, StopResult};

impl Writer {
    /// The committed set from which it is to be read whether requisitions were stopped: the log forgets settled stops.
    /// Between this and the intent nobody else can stop one of `numbers` unseen; a later call lets go of the numbers of
    /// an earlier one.
    ///
    /// # Errors
    /// As [`Writer::open`].
    pub(crate) async fn pin_stops(&self, numbers: &[String]) -> Result<Lake> {
        self.follow().await?;
        self.log().lock().await.pin_stops(numbers);
        Ok(self.view().await)
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
