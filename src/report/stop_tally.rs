//! What became of stop references: by outcome, and the last ones.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::RecordBatch;

use super::clip::clipped;
use super::tally::OldRequisition;
use crate::error::Result;
use crate::transform::{StandingStop, StandingStops};

/// The outcomes, in the order in which they are shown.
pub(super) const OUTCOMES: [&str; 4] = ["stopped", "refused", "not_stopped", "unknown"];
/// How many of the last stops are named.
const LAST: usize = 10;

/// A stop that is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NamedStop {
    /// When it was requested, in microseconds since 1970-01-01 00:00:00 UTC.
    pub(super) requested_at: i64,
    /// The account, by its place in the report.
    pub(super) account: u32,
    /// The number of the requisition.
    pub(super) number: String,
    /// What became of it, as the row says.
    pub(super) outcome: String,
    /// The vendor's reason, or what went wrong.
    pub(super) error: String,
}

/// Stops by outcome, the latest of each requisition.
#[derive(Clone, Debug, Default)]
pub(super) struct StopTally {
    account: u32,
    /// In the order of [`OUTCOMES`].
    pub(super) by_outcome: [u64; OUTCOMES.len()],
    /// The last ones, the earliest first.
    pub(super) last: BTreeSet<NamedStop>,
    /// The outcomes for those requisitions of which a stop would be proposed, by account and number.
    watched: BTreeMap<(u32, String), Option<(i64, String)>>,
}

impl StopTally {
    /// Nothing yet; of these requisitions it remembers what became of their stops.
    pub(super) fn watching<'a>(old: impl IntoIterator<Item = &'a OldRequisition>) -> Self {
        let watched = old.into_iter().map(|one| ((one.account, one.number.clone()), None)).collect();
        Self { watched, ..Self::default() }
    }

    /// The stops to come are those of the account at this place.
    pub(super) fn begin_account(&mut self, account: u32) {
        self.account = account;
    }

    /// Adds outcomes.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when the columns are not those of the contract.
    pub(super) fn add_batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let stops = StandingStops::of(batch)?;
        (0..stops.rows()).for_each(|row| self.add(&stops.row(row)));
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn add_for_tests(&mut self, stop: &StandingStop<'_>) {
        self.add(stop);
    }

    fn add(&mut self, stop: &StandingStop<'_>) {
        // Whatever a newer program says is not known here.
        let place = OUTCOMES.iter().position(|outcome| *outcome == stop.outcome).unwrap_or(OUTCOMES.len() - 1);
        if let Some(count) = self.by_outcome.get_mut(place) {
            *count += 1;
        }
        if let Some(watched) = self.watched.get_mut(&(self.account, stop.number.to_owned())) {
            *watched = Some((stop.requested_at, stop.outcome.to_owned()));
        }
        if self.last.len() < LAST || self.last.first().is_some_and(|first| first.requested_at <= stop.requested_at) {
            self.last.insert(NamedStop {
                requested_at: stop.requested_at,
                account: self.account,
                number: stop.number.to_owned(),
                outcome: clipped(stop.outcome),
                error: clipped(stop.error.unwrap_or("")),
            });
            if self.last.len() > LAST {
                self.last.pop_first();
            }
        }
    }

    /// Whether a requisition was stopped since the version that the lake knows: the next sync will show it.
    pub(super) fn is_stopped(&self, old: &OldRequisition) -> bool {
        let held = self.watched.get(&(old.account, old.number.clone())).and_then(Option::as_ref);
        held.is_some_and(|(at, outcome)| *at >= old.modified && outcome == "stopped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop<'a>(number: &'a str, requested_at: i64, outcome: &'a str) -> StandingStop<'a> {
        StandingStop { number, requested_at, outcome, error: None }
    }

    #[test]
    fn outcomes_are_counted_and_the_last_are_named() {
        let old = |number: &str, modified| OldRequisition {
            modified,
            account: 0,
            number: number.to_owned(),
            apply_id: None,
            warehouse: String::new(),
            open: None,
        };
        let (stopped, edited, refused) = (old("N3", 2), old("N4", 9), old("N5", 2));
        let mut tally = StopTally::watching([&stopped, &edited, &refused]);
        let numbers: Vec<String> = (0..15).map(|nth| format!("N{nth}")).collect();
        for (number, at) in numbers.iter().zip(0..) {
            let outcome = if at == 5 {
                "refused"
            } else if at == 6 {
                "of tomorrow"
            } else {
                "stopped"
            };
            tally.add(&stop(number, at, outcome));
        }
        assert_eq!(tally.by_outcome, [13, 1, 0, 1]);
        let last: Vec<_> = tally.last.iter().map(|stop| &*stop.number).collect();
        assert_eq!(last, ["N5", "N6", "N7", "N8", "N9", "N10", "N11", "N12", "N13", "N14"]);
        assert!(tally.is_stopped(&stopped) && !tally.is_stopped(&refused));
        assert!(!tally.is_stopped(&edited), "it was modified after its stop");
        tally.begin_account(1);
        tally.add(&stop("N5", 20, "stopped"));
        assert!(!tally.is_stopped(&refused), "another account");
    }
}
