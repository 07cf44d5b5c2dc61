//! Stops of requisitions: an intent, a call, a result; and their rows in fewer files.

use super::process::Run;
use super::rows::{file_of, start_of};
use super::world::{at_tick, time_at};
use crate::error::Result;
use crate::id::CommitId;
use crate::land::stage::CommitOutcome;
use crate::land::testing::{stopped, to_stop};
use crate::log::{CommitKind, FileEntry, Lake, PendingStop, StopEvidence, StopIntent, StopOutcome, StopResult, Table};

/// After so many ticks a call would be refused as too old.
const CALL_TICKS: i64 = 2;
/// After so many a call that was let in can have no effect any more.
const EFFECT_TICKS: i64 = 4;

impl Run {
    pub(super) async fn stop(&self) -> Result<()> {
        let number = format!("CG{}", 1 + self.world.below(2));
        let numbers = vec![number.clone()];
        let lake = self.writer.pin_stops(&numbers).await?;
        if let Some(pending) = lake.state().stops().pending().get(&number) {
            return self.settle_old(&number, *pending).await;
        }
        if self.was_stopped(&lake, &number).await != Some(false) {
            return Ok(());
        }
        self.point().await;
        let asked = self.world.tick();
        let intent = StopIntent { numbers: numbers.clone(), ..to_stop(time_at(asked), &[]) };
        let CommitOutcome::Committed(intent) = self.writer.intend(intent).await? else { return Ok(()) };
        self.world.account(self.place, |account| account.asked.insert(intent.id, asked));
        self.point().await;
        if self.world.tick() > asked + CALL_TICKS {
            return Ok(());
        }
        let tick = self.world.tick();
        self.world.count("calls that stop");
        self.world.account(self.place, |account| account.calls.entry(number.clone()).or_default().push(tick));
        self.settle(&number, intent.id, StopOutcome::Stopped).await
    }

    /// What another process left is settled by a query, once its call can have no effect any more.
    async fn settle_old(&self, number: &str, PendingStop { intent, requested_at, .. }: PendingStop) -> Result<()> {
        self.point().await;
        if at_tick(self.world.tick() - EFFECT_TICKS) <= requested_at.unix() {
            return Ok(());
        }
        let was_called = self.world.account(self.place, |account| account.calls.contains_key(number));
        let outcome = if was_called { StopOutcome::Stopped } else { StopOutcome::NotStopped };
        self.settle(number, intent, outcome).await
    }

    async fn settle(&self, number: &str, intent: CommitId, outcome: StopOutcome) -> Result<()> {
        let evidence = Some(StopEvidence::Query);
        let results = vec![StopResult { outcome, evidence, ..stopped(intent, number) }];
        let staged = self.writer.begin(CommitKind::StopResult, None, vec![]).await.settling(results);
        self.land_stops(staged, vec![format!("{number} {}", outcome.name())]).await
    }

    async fn land_stops(&self, mut staged: crate::land::stage::StagedManifest, lines: Vec<String>) -> Result<()> {
        let file = file_of(lines.join("\n"), lines.len(), (start_of(0), start_of(0)));
        match self.writer.write_encoded(&mut staged, Table::StopReference, file).await {
            Ok(()) => self.finish(staged).await,
            Err(error) => {
                let outcome = self.writer.dropped_meanwhile(&staged, error).await?;
                self.tell(staged.id, &outcome);
                Ok(())
            }
        }
    }

    /// Whether the table says that a number was stopped; nothing when it cannot be read.
    async fn was_stopped(&self, lake: &Lake, number: &str) -> Option<bool> {
        let said = format!("{number} stopped");
        let lines = self.stop_lines(lake, lake.state().live().keys()).await?;
        Some(lines.contains(&said))
    }

    async fn stop_lines<'a>(&self, lake: &Lake, ids: impl Iterator<Item = &'a CommitId>) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        for live in ids.filter_map(|id| lake.state().live().get(id)) {
            for file in live.files.iter().filter(|file| is_of_stops(file)) {
                let bytes = lake.read(file).await.ok()?;
                lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
            }
        }
        Some(lines)
    }

    /// The rows of several outcomes in one file.
    pub(super) async fn compact_stops(&self, lake: &Lake) -> Result<()> {
        let live = lake.state().live().iter();
        let held: Vec<CommitId> =
            live.filter(|(_, live)| live.files.iter().any(is_of_stops)).map(|(id, _)| *id).collect();
        if held.len() < 2 {
            return Ok(());
        }
        let Some(lines) = self.stop_lines(lake, held.iter()).await else { return Ok(()) };
        let staged = self.writer.begin(CommitKind::Compaction, None, held).await;
        self.world.count("compactions of stops");
        self.land_stops(staged, lines).await
    }
}

fn is_of_stops(file: &FileEntry) -> bool {
    file.table == Table::StopReference.name()
}
