//! Landing a plan without Parquet: the writer's own steps, with files of text.

use bytes::Bytes;

use super::plan::{Plan, PlannedCommit};
use super::process::Run;
use super::rows::{Row, Span, encode, span_of, window_of};
use crate::error::Result;
use crate::id::CommitId;
use crate::land::stage::{CommitOutcome, Quarantine, Raw, StagedManifest};
use crate::land::testing::proof;
use crate::log::{Table, Walk};

/// Details are put before headers.
const TABLES: [Table; 2] = [Table::PurchaseApplyDetail, Table::PurchaseApply];

impl Run {
    /// Writes all that a manifest will name; nothing when it was given up.
    pub(super) async fn stage(&self, plan: Plan) -> Result<Option<StagedManifest>> {
        let mut staged = self.writer.stage(plan.removes.clone()).await.proved_by(self.proved(&plan));
        match self.write(&mut staged, plan).await {
            Ok(()) => Ok(Some(staged)),
            Err(error) => {
                let id = staged.id;
                let outcome: CommitOutcome = self.writer.dropped_meanwhile(&staged, error).await?;
                self.tell(id, &outcome);
                Ok(None)
            }
        }
    }

    /// The walk of a plan, which the truth learns by its number.
    pub(super) fn proved(&self, plan: &Plan) -> Option<Walk> {
        let (walk, span, parts) = plan.walk.clone()?;
        if walk > 0 {
            self.world.account(self.place, |account| account.walks.insert(walk, parts));
        }
        Some(Walk { window: window_of(span), proof: proof(walk) })
    }

    async fn write(&self, staged: &mut StagedManifest, plan: Plan) -> Result<()> {
        for commit in plan.commits {
            let window = commit.window.map(window_of);
            let id = self.writer.add_commit(staged, commit.kind, window).await;
            self.write_files(staged, id, &commit).await?;
            let mut quarantine = commit.kept_quarantine.clone();
            if let Some(lines) = Quarantine::of_lines(commit.lines.iter().cloned()) {
                quarantine.extend(self.writer.write_quarantine(id, lines).await?);
            }
            if let Some(staged) = staged.commits.iter_mut().find(|staged| staged.id == id) {
                (staged.carried, staged.expired) = (commit.carried, commit.expired);
                (staged.quarantine, staged.raw) = (quarantine, commit.kept_raw);
            }
        }
        if let (true, Some((_, span, _))) = (plan.has_raw, plan.walk) {
            let raw = Raw { packed: Bytes::from_static(b"raw"), responses: 1, window: window_of(span) };
            let entry = self.writer.write_raw(staged.id, raw).await?;
            let walked = staged.commits.iter_mut().filter(|commit| commit.window.is_some());
            walked.for_each(|commit| commit.raw.push(entry.clone()));
        }
        Ok(())
    }

    async fn write_files(&self, staged: &mut StagedManifest, id: CommitId, commit: &PlannedCommit) -> Result<()> {
        let new: Vec<Row> = commit.new.iter().map(|version| Row { version: *version, commit: id }).collect();
        let mut part = 0;
        for table in TABLES {
            for (rows, carried) in [(&new, false), (&commit.kept, true)] {
                for (span, rows) in by_span(commit.window, rows) {
                    part += 1;
                    let Some(file) = encode(&rows) else { continue };
                    let place = (Some(window_of(span)), carried);
                    self.writer.write_encoded_part(staged, (id, table, part), place, file).await?;
                }
            }
        }
        Ok(())
    }
}

/// Rows with the span of their file: the window of the commit, or the month that they lie in.
pub(super) fn by_span(window: Option<Span>, rows: &[Row]) -> Vec<(Span, Vec<Row>)> {
    if let Some(window) = window {
        return vec![(window, rows.to_vec())];
    }
    let mut months: std::collections::BTreeMap<Span, Vec<Row>> = std::collections::BTreeMap::new();
    for row in rows {
        let month = row.version.slot / super::rows::MONTH * super::rows::MONTH;
        let span = (month, month + super::rows::MONTH - 1);
        debug_assert_eq!(span_of(window_of(span)), span);
        months.entry(span).or_default().push(*row);
    }
    months.into_iter().collect()
}
