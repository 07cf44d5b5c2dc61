//! One run: settle what is pending, then intend, call, look and record, batch by batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::before::{EarlierStop, stopped_before};
use super::judge::{self, StopFinding};
use super::plan::{self, Planned};
use super::{Erp, Reply};
use crate::config::StopTerms;
use crate::error::{Error, ErrorClass, ErrorKind, Result, exit};
use crate::id::{CommitId, RunId};
use crate::land::{CommitOutcome, NewFile, Writer};
use crate::log::stop_ledger::StopConflict;
use crate::log::{Conflict, Lake, PendingStop, Requester, StopIntent, StopOutcome, StopResult, Table};
use crate::parquet::TableSpec;
use crate::text::{Text, key, text};
use crate::time::BeijingTime;
use crate::transform::{StopRow, stop_rows};

/// The most numbers of one call. The vendor names no limit; this one keeps what a lost answer leaves open small.
pub(crate) const BATCH: usize = 50;
/// How often something is committed that sweeps of other runs fence each time. It takes a sweep in just that moment.
const FENCED_TRIES: usize = 8;

/// Stops requisitions of one account.
pub(crate) struct Stopper<'a, E> {
    /// The ERP.
    pub erp: &'a E,
    /// The account's log.
    pub writer: &'a Writer,
    /// What writing needs to know of the table.
    pub spec: Arc<TableSpec>,
    /// The run, as on the rows.
    pub run: RunId,
    /// Who asked for it, as on the intents.
    pub by: Requester,
    /// Why, where a reason was given.
    pub reason: Option<String>,
    /// What the account lets be stopped.
    pub terms: StopTerms,
    /// How long after the tolerance of a timestamp a call may still have its effect.
    pub margin_seconds: i64,
}

/// The last that is known of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The number.
    pub number: String,
    /// When its call was signed for; nothing when another run is about to stop it.
    pub requested_at: Option<BeijingTime>,
    /// What became of it.
    pub finding: StopFinding,
    /// While it is unknown: from when on, by the server's clock, it can be told that it was not stopped.
    pub settles_at: Option<BeijingTime>,
    /// Whether this run called for it, or only found it stopped by an earlier call.
    pub call: CallMade,
}

/// Whose call it is that a number's outcome is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallMade {
    /// One whose outcome this run has found out.
    Told,
    /// One that had stopped it before this run: no other was made.
    AlreadyStopped,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct StopReport {
    /// The last that is known of every number that was asked for or settled, by number.
    pub told: BTreeMap<String, Told>,
    /// Numbers that were refused beforehand, and why.
    pub not_called: Vec<(String, Planned)>,
    /// Calls that the gateway refused as a whole.
    pub refusals: Vec<Error>,
    /// Why not everything was tried.
    pub stopped: Option<Error>,
}

impl StopReport {
    /// The exit code of a process that did this.
    pub fn exit_code(&self) -> u8 {
        let open =
            !self.not_called.is_empty() || self.told.values().any(|told| told.finding.outcome != StopOutcome::Stopped);
        let codes = [if open { exit::DONE_WITH_REMAINDER } else { exit::DONE }];
        exit::combine(codes.into_iter().chain(self.stopped.as_ref().map(|error| error.kind().exit_code())))
    }
}

/// A number with its intent, and what was found out.
struct Found {
    number: String,
    intent: CommitId,
    requested_at: BeijingTime,
    finding: StopFinding,
}

impl<E: Erp> Stopper<'_, E> {
    /// Stops `numbers`, and settles whatever earlier runs left pending. What it found out before it failed is in the
    /// report.
    pub(crate) async fn stop(&self, numbers: &[String]) -> StopReport {
        let mut report = StopReport::default();
        let done = async {
            self.settle_earlier(numbers, &mut report).await?;
            self.pass_over_stopped(numbers, &mut report).await?;
            // Of what an earlier call has stopped, or may have, there is nothing to do.
            let is_free = |number: &&String| {
                report.told.get(*number).is_none_or(|told| told.finding.outcome == StopOutcome::NotStopped)
            };
            let free: Vec<String> = numbers.iter().filter(is_free).cloned().collect();
            // Settling may have set free more numbers than were counted beforehand.
            plan::check_terms(self.terms, free.len())?;
            for batch in free.chunks(BATCH) {
                self.stop_batch(batch.to_vec(), &mut report).await?;
            }
            Ok(())
        };
        report.stopped = done.await.err();
        report
    }

    async fn pending(&self) -> BTreeMap<String, PendingStop> {
        self.writer.view().await.state().stops().pending().clone()
    }

    /// Looks at every number that an earlier run left pending, and records what can be told. A number that was not
    /// asked for and of which nothing new is known is not reported: its time may never come.
    async fn settle_earlier(&self, asked: &[String], report: &mut StopReport) -> Result<()> {
        self.writer.follow().await?;
        let pending = self.pending().await;
        if pending.is_empty() {
            return Ok(());
        }
        // One answer's clock for all of them: it had passed before any of the queries is sent.
        let reached = self.erp.ping().await?.reached;
        let asked: BTreeSet<&String> = asked.iter().collect();
        let pending: Vec<(String, PendingStop)> = pending.into_iter().collect();
        for batch in pending.chunks(BATCH) {
            let (mut found, mut failed) = (Vec::new(), None);
            for (number, held) in batch {
                let is_spent = judge::is_spent(held.requested_at, self.margin_seconds, reached);
                let seen = match self.erp.query(number).await {
                    Ok(seen) => seen,
                    Err(error) => {
                        failed = Some(error.with("number", number));
                        break;
                    }
                };
                let finding = judge::by_observation(StopFinding::unknown(None), seen, is_spent);
                let one =
                    Found { number: number.clone(), intent: held.intent, requested_at: held.requested_at, finding };
                // Before its time nothing is recorded of a call that may still be under way in another process; and
                // unknown is said once.
                let is_news = one.finding.outcome != StopOutcome::Unknown || (is_spent && !held.is_unknown);
                if is_news {
                    found.push(one);
                } else if asked.contains(number) {
                    self.tell(&one, report);
                }
            }
            self.record(found, report).await?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The same command may be run again after it was done in part: what an earlier call has stopped gets no other one,
    /// unless it does not look stopped any more: then somebody has opened it again, or the ERP will say what is the
    /// matter.
    async fn pass_over_stopped(&self, numbers: &[String], report: &mut StopReport) -> Result<()> {
        let stopped = self.stopped_before(numbers).await?;
        for number in numbers {
            let Some(before) = stopped.get(number).filter(|_| !report.told.contains_key(number)) else { continue };
            let seen = self.erp.query(number).await.map_err(|error| error.with("number", number))?;
            if seen.is_none_or(|seen| seen.is_referenced()) {
                let told = Told {
                    number: number.clone(),
                    requested_at: Some(before.requested_at),
                    finding: StopFinding::stopped_before(before.evidence, seen),
                    settles_at: None,
                    call: CallMade::AlreadyStopped,
                };
                report.told.insert(number.clone(), told);
            }
        }
        Ok(())
    }

    /// What rows say that earlier calls have stopped. Whoever intends to stop one of `numbers` from now on goes before
    /// this run: its results may be forgotten by the log before this run has seen them.
    async fn stopped_before(&self, numbers: &[String]) -> Result<BTreeMap<String, EarlierStop>> {
        let mut lake = self.writer.pin_stops(numbers).await?;
        loop {
            let error = match stopped_before(&lake, numbers).await {
                Ok(stopped) => return Ok(stopped),
                Err(error) => error,
            };
            // A compaction may have moved the rows meanwhile.
            self.writer.follow().await?;
            let after = self.writer.view().await;
            let names =
                |lake: &Lake| lake.files(Table::StopReference).into_iter().map(|file| file.uri).collect::<Vec<_>>();
            if names(&lake) == names(&after) {
                return Err(error);
            }
            lake = after;
        }
    }

    async fn stop_batch(&self, numbers: Vec<String>, report: &mut StopReport) -> Result<()> {
        // Refused credentials are found out here, before there is an intent; and the timestamp is one that the server
        // accepts.
        let requested_at = self.erp.ping().await?.timestamp;
        let Some((intent, numbers)) = self.intend(numbers, requested_at, report).await? else { return Ok(()) };
        let reply = self.erp.stop(&numbers, requested_at).await;
        let findings = judge::by_reply(&numbers, &reply);
        let found = numbers.into_iter().zip(findings);
        let mut found: Vec<Found> =
            found.map(|(number, finding)| Found { number, intent, requested_at, finding }).collect();
        let looked = self.look_at_unknown(&mut found).await;
        self.record(found, report).await?;
        match reply {
            // Whom the gateway does not let in it will not let in with the next batch.
            Reply::Refused { error, .. } if error.kind() != ErrorKind::GatewayRefused => Err(error),
            Reply::Refused { error, .. } => {
                report.refusals.push(error);
                looked
            }
            _ => looked,
        }
    }

    /// Commits the intent; gives it with its numbers, less those that another run is about to stop.
    async fn intend(
        &self,
        mut numbers: Vec<String>,
        requested_at: BeijingTime,
        report: &mut StopReport,
    ) -> Result<Option<(CommitId, Vec<String>)>> {
        let mut fenced = 0;
        while !numbers.is_empty() {
            let (by, reason) = (self.by.clone(), self.reason.clone());
            let intent = StopIntent { requested_at, by, reason, numbers: numbers.clone() };
            match self.writer.intend(intent).await? {
                CommitOutcome::Committed(committed) => return Ok(Some((committed.id, numbers))),
                CommitOutcome::Dropped(Conflict::Stop(StopConflict::Pending { number })) => {
                    numbers.retain(|other| *other != number);
                    let finding = StopFinding::unknown(Some("another run is about to stop it".to_owned()));
                    let (requested_at, settles_at, call) = (None, None, CallMade::Told);
                    report.told.insert(number.clone(), Told { number, requested_at, finding, settles_at, call });
                }
                CommitOutcome::Dropped(Conflict::Fenced) if fenced < FENCED_TRIES => fenced += 1,
                CommitOutcome::Dropped(conflict) => return Err(dropped(key!("an intent to stop"), &conflict)),
            }
        }
        Ok(None)
    }

    /// Looks at the numbers of which the reply tells nothing. A stop that is seen is a stop; that none is seen proves
    /// nothing yet.
    async fn look_at_unknown(&self, found: &mut [Found]) -> Result<()> {
        for one in found.iter_mut().filter(|one| one.finding.outcome == StopOutcome::Unknown) {
            let seen = self.erp.query(&one.number).await.map_err(|error| error.with("number", &one.number))?;
            one.finding = judge::by_observation(one.finding.clone(), seen, false);
        }
        Ok(())
    }

    /// Commits what was found out, less what another run has settled meanwhile.
    async fn record(&self, mut found: Vec<Found>, report: &mut StopReport) -> Result<()> {
        found.iter().for_each(|one| self.tell(one, report));
        let mut fenced = 0;
        while !found.is_empty() {
            let batches = vec![stop_rows(&found.iter().map(row).collect::<Vec<_>>(), self.run)?];
            let rows = NewFile { spec: Arc::clone(&self.spec), span: None, part: None, rows: batches.into() };
            match self.writer.settle(found.iter().map(result).collect(), rows).await? {
                CommitOutcome::Committed(_) => return Ok(()),
                CommitOutcome::Dropped(Conflict::Stop(StopConflict::Settled { number })) => {
                    tracing::info!(number, "another run has settled this stop meanwhile");
                    found.retain(|one| one.number != number);
                }
                CommitOutcome::Dropped(Conflict::Fenced) if fenced < FENCED_TRIES => fenced += 1,
                CommitOutcome::Dropped(conflict) => return Err(dropped(key!("the results of stops"), &conflict)),
            }
        }
        Ok(())
    }

    fn tell(&self, one: &Found, report: &mut StopReport) {
        let is_unknown = one.finding.outcome == StopOutcome::Unknown;
        let told = Told {
            number: one.number.clone(),
            requested_at: Some(one.requested_at),
            finding: one.finding.clone(),
            settles_at: is_unknown.then(|| judge::spent_at(one.requested_at, self.margin_seconds)),
            call: CallMade::Told,
        };
        report.told.insert(one.number.clone(), told);
    }
}

fn dropped(what: &'static str, conflict: &Conflict) -> Error {
    Error::new(ErrorClass::WroteAtOnce, text!("cannot commit {what}", what = Text::from(what)))
        .because(conflict.text())
        .hint("run the same command again: what is open in the log is settled first")
}

fn result(one: &Found) -> StopResult {
    let StopFinding { outcome, evidence, error, error_code, order_id, observed_status: _ } = one.finding.clone();
    StopResult { intent: one.intent, number: one.number.clone(), outcome, evidence, error, error_code, order_id }
}

fn row(one: &Found) -> StopRow {
    let finding = &one.finding;
    StopRow {
        purchase_apply_no: one.number.clone(),
        requested_at: one.requested_at,
        outcome: finding.outcome.name(),
        evidence: finding.evidence.map(crate::log::stop_ledger::StopEvidence::name),
        error: finding.error.clone(),
        error_code: finding.error_code,
        order_id: finding.order_id,
        observed_status: finding.observed_status,
    }
}
