//! The two commits of a stop reference: the intent before its call, the results after it.

use super::commit::Writer;
use super::stage::{Outcome, TablePart};
use crate::error::Result;
use crate::log::manifest::CommitKind;
use crate::log::stop_ledger::{StopIntent, StopResult};

impl Writer {
    /// Writes down that requisitions are about to be stopped. Only after this has committed may the call be made.
    ///
    /// # Errors
    /// As [`Writer::commit`]; when it fails, whether the intent stands is unknown, and the call must not be made.
    pub async fn intend(&self, intent: StopIntent) -> Result<Outcome> {
        // Others settle meanwhile what this writer still takes for unsettled.
        self.follow().await?;
        self.commit(self.begin(CommitKind::StopIntent, None, Vec::new()).intending(intent), None).await
    }

    /// Writes down what became of stops, and the same as rows of the table.
    ///
    /// # Errors
    /// As [`Writer::land`].
    pub async fn settle(&self, results: Vec<StopResult>, rows: TablePart) -> Result<Outcome> {
        let mut draft = self.begin(CommitKind::StopResult, None, Vec::new()).settling(results);
        match self.write(&mut draft, rows).await {
            Ok(()) => self.commit(draft, None).await,
            Err(error) => self.dropped_by_a_sweep(draft.commit(), error).await,
        }
    }
}
