//! The ledger of stop references, as far as the commit log keeps it: what is about to be stopped, and what became of
//! it.
//!
//! A stop reference is a call that changes the ERP, may be made only once, and whose answer may get lost. So it is
//! written down twice, each time as a commit: an **intent** before the call, with the timestamp that the call is signed
//! with, and a **result** for each of its numbers after it. Between the two, and after a result that says `unknown`, a
//! number is **pending**. The rules, checked before every try at a number of the log and whenever the log is read:
//! - an intent may not name a number that is pending, so of two processes that would stop one number only one makes its
//!   call;
//! - a result names a number of the intent that left it pending; `unknown` is said once, and anything else settles it
//!   for good.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::CommitId;
use crate::text::{Text, key, text};
use crate::time::BeijingTime;

/// Who asked for a stop: the user and the machine of the process, as its environment names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// The name of the user; never empty.
    pub user: String,
    /// The name of the machine; never empty.
    pub host: String,
}

/// Requisitions that are about to be stopped by one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopIntent {
    /// The timestamp that the call is signed with, and no other.
    pub requested_at: BeijingTime,
    /// Who asked for it.
    pub by: Requester,
    /// Why, where a reason was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The numbers of the requisitions, each once.
    pub numbers: Vec<String>,
}

/// What became of one number of an intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopResult {
    /// The commit of the intent.
    pub intent: CommitId,
    /// The number of the requisition.
    pub number: String,
    /// What became of it.
    pub outcome: StopOutcome,
    /// How that is known; nothing when it is not.
    pub evidence: Option<StopEvidence>,
    /// The vendor's reason, or what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The vendor's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<i64>,
    /// The requisition's key in the ERP, where the answer told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<i64>,
}

/// What became of a stop reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopOutcome {
    /// The ERP has stopped it.
    Stopped,
    /// The ERP refused to, and said why.
    Refused,
    /// The call can have no effect any more, and had none.
    NotStopped,
    /// Not known, or not yet.
    Unknown,
}

impl StopOutcome {
    /// The word in manifests and rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => key!("stopped"),
            Self::Refused => key!("refused"),
            Self::NotStopped => key!("not_stopped"),
            Self::Unknown => key!("unknown"),
        }
    }
}

/// How an outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopEvidence {
    /// The answer of the call itself.
    Answer,
    /// What a query showed later.
    Query,
}

impl StopEvidence {
    /// The word in manifests and rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Query => "query",
        }
    }

    /// The evidence of this word.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Answer, Self::Query].into_iter().find(|evidence| evidence.name() == name)
    }
}

/// A number whose intent has no known outcome yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingStop {
    /// The commit of the intent.
    pub intent: CommitId,
    /// The timestamp that its call was signed with, if it was made at all.
    pub requested_at: BeijingTime,
    /// Whether a result says `unknown`; otherwise there is none yet: the call is under way, or its process died.
    pub is_unknown: bool,
}

/// What a log says of stops: those that are not settled. The rows of `stop_reference` tell the settled ones for ever.
/// Between reading these rows and its intent a process [pins](Stops::pin) its numbers.
#[derive(Clone, Debug, Default, Eq, Serialize, Deserialize)]
pub struct Stops {
    pending: BTreeMap<String, PendingStop>,
    /// The numbers that this process is about to stop, and whether somebody has intended to stop one since.
    #[serde(skip)]
    pinned: BTreeMap<String, bool>,
}

impl PartialEq for Stops {
    /// Equal when the log says the same: what a process has pinned is its own affair.
    fn eq(&self, other: &Self) -> bool {
        self.pending == other.pending
    }
}

impl Stops {
    /// The pending numbers, in their order.
    pub fn pending(&self) -> &BTreeMap<String, PendingStop> {
        &self.pending
    }

    /// Drops every intent to stop one of `numbers` that follows a foreign one from now on.
    pub(crate) fn pin(&mut self, numbers: &[String]) {
        self.pinned = numbers.iter().map(|number| (number.clone(), false)).collect();
    }

    /// Whether an intent or results may follow.
    pub(crate) fn check(
        &self,
        intent: Option<&StopIntent>,
        results: &[&StopResult],
    ) -> std::result::Result<(), StopConflict> {
        let mut intended = intent.into_iter().flat_map(|intent| &intent.numbers);
        if let Some(number) = intended.find(|number| self.pinned.get(*number).is_some_and(|is_taken| *is_taken)) {
            return Err(StopConflict::Pending { number: number.clone() });
        }
        self.check_logged(intent, results)
    }

    /// The same by what the log alone says, whatever this process has pinned.
    pub(crate) fn check_logged(
        &self,
        intent: Option<&StopIntent>,
        results: &[&StopResult],
    ) -> std::result::Result<(), StopConflict> {
        let mut intended = intent.into_iter().flat_map(|intent| &intent.numbers);
        if let Some(number) = intended.find(|number| self.pending.contains_key(*number)) {
            return Err(StopConflict::Pending { number: number.clone() });
        }
        let is_settled = |result: &&&StopResult| match self.pending.get(&result.number) {
            Some(held) if held.intent == result.intent => held.is_unknown && result.outcome == StopOutcome::Unknown,
            _ => true,
        };
        match results.iter().find(is_settled) {
            Some(result) => Err(StopConflict::Settled { number: result.number.clone() }),
            None => Ok(()),
        }
    }

    /// Adds what a manifest says became of stops.
    pub(crate) fn settle(&mut self, results: &[StopResult]) {
        for StopResult { number, outcome, .. } in results {
            if *outcome == StopOutcome::Unknown {
                self.pending.entry(number.clone()).and_modify(|held| held.is_unknown = true);
            } else {
                self.pending.remove(number);
            }
        }
    }

    /// Adds an intent, which has the id of its manifest.
    pub(crate) fn intend(&mut self, id: CommitId, intent: &StopIntent) {
        let StopIntent { requested_at, numbers, .. } = intent;
        for number in numbers {
            self.pinned.entry(number.clone()).and_modify(|is_taken| *is_taken = true);
            let pending = PendingStop { intent: id, requested_at: *requested_at, is_unknown: false };
            self.pending.insert(number.clone(), pending);
        }
    }
}

/// Why stops may not follow those before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopConflict {
    /// A requisition that would be stopped has a stop whose outcome is not known yet.
    Pending {
        /// The number of the requisition.
        number: String,
    },
    /// A stop of which the outcome is told is settled already, or is not in the log.
    Settled {
        /// The number of the requisition.
        number: String,
    },
}

impl StopConflict {
    /// In words.
    pub(super) fn text(&self) -> Text {
        match self {
            Self::Pending { number } => text!("an earlier stop of {number} is pending", number),
            Self::Settled { number } => text!("no stop of {number} is pending", number),
        }
    }
}

impl fmt::Display for StopConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(f)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::land::testing::{stopped, to_stop};

    pub(in crate::log) fn intent(numbers: &[&str]) -> StopIntent {
        to_stop(BeijingTime::from_unix(1_790_000_000).expect("a time"), numbers)
    }

    pub(in crate::log) fn result(intent: CommitId, number: &str, outcome: StopOutcome) -> StopResult {
        let evidence = (outcome != StopOutcome::Unknown).then_some(StopEvidence::Query);
        StopResult { outcome, evidence, ..stopped(intent, number) }
    }

    #[test]
    fn a_pending_number_gets_no_second_intent_and_no_foreign_result() {
        let (first, other) = (CommitId::generate(), CommitId::generate());
        let mut stops = Stops::default();
        stops.intend(first, &intent(&["A", "B"]));
        let pending = |number: &str| Err(StopConflict::Pending { number: number.to_owned() });
        let settled = |number: &str| Err(StopConflict::Settled { number: number.to_owned() });
        assert_eq!(stops.check(Some(&intent(&["C", "B"])), &[]), pending("B"));
        assert_eq!(stops.check(Some(&intent(&["C"])), &[]), Ok(()));
        assert_eq!(stops.check(None, &[&result(other, "A", StopOutcome::Stopped)]), settled("A"));
        assert_eq!(stops.check(None, &[&result(first, "C", StopOutcome::Stopped)]), settled("C"));

        let unknown = result(first, "A", StopOutcome::Unknown);
        assert_eq!(stops.check(None, &[&unknown]), Ok(()));
        stops.settle(std::slice::from_ref(&unknown));
        assert!(stops.pending()["A"].is_unknown && !stops.pending()["B"].is_unknown);
        assert_eq!(stops.check(Some(&intent(&["A"])), &[]), pending("A"), "unknown is not settled");
        assert_eq!(stops.check(None, &[&unknown]), settled("A"), "unknown is said once");

        let known = result(first, "A", StopOutcome::NotStopped);
        assert_eq!(stops.check(None, &[&known]), Ok(()));
        stops.settle(std::slice::from_ref(&known));
        assert_eq!(stops.check(None, &[&known]), settled("A"));
        assert_eq!(stops.check(Some(&intent(&["A"])), &[]), Ok(()));
        assert_eq!(stops.pending().keys().collect::<Vec<_>>(), ["B"]);

        stops.settle(&[result(first, "B", StopOutcome::Stopped)]);
        assert!(stops.pending().is_empty());
        stops.intend(other, &intent(&["B"]));
        assert_eq!(stops.pending()["B"].intent, other, "the last intent counts");
    }

    #[test]
    fn a_settled_stop_leaves_nothing_but_the_pin_of_who_looked_before() {
        let mut stops = Stops::default();
        let other = CommitId::generate();
        stops.pin(&["A".to_owned()]);
        stops.intend(other, &intent(&["A"]));
        stops.settle(&[result(other, "A", StopOutcome::Stopped)]);
        assert!(stops.pending().is_empty());
        let refused = Err(StopConflict::Pending { number: "A".to_owned() });
        assert_eq!(stops.check(Some(&intent(&["A"])), &[]), refused, "somebody came between");
        assert_eq!(stops.check_logged(Some(&intent(&["A"])), &[]), Ok(()), "others do not know of that");
        stops.pin(&["A".to_owned()]);
        assert_eq!(stops.check(Some(&intent(&["A"])), &[]), Ok(()));
    }
}
