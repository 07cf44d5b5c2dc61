//! The ledger of stop references, as far as the commit log keeps it: what is about to be stopped, and what became of it.
//!
//! A stop reference is a call that changes the ERP, may be made only once, and whose answer may get lost. So it is written down twice, each
//! time as a commit: an **intent** before the call, with the timestamp that the call is signed with, and a **result** for each of its numbers
//! after it. Between the two, and after a result that says `unknown`, a number is **unsettled**. The rules, checked before every try at a
//! number of the log and whenever the log is read:
//! - an intent may not name a number that is unsettled, so of two processes that would stop one number only one makes its call;
//! - a result names a number of the intent that left it unsettled; `unknown` is said once, and anything else settles it for good.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::draft::{Outcome, TablePart};
use super::fold::Refusal;
use super::manifest::CommitKind;
use super::writer::Writer;
use crate::error::Result;
use crate::id::CommitId;
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
            Self::Stopped => "stopped",
            Self::Refused => "refused",
            Self::NotStopped => "not_stopped",
            Self::Unknown => "unknown",
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
}

/// A number whose intent has no known outcome yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    /// The commit of the intent.
    pub intent: CommitId,
    /// The timestamp that its call was signed with, if it was made at all.
    pub requested_at: BeijingTime,
    /// Whether a result says `unknown`; otherwise there is none yet: the call is under way, or its process died.
    pub is_unknown: bool,
}

/// A number whose last intent has stopped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedBefore {
    /// The timestamp of its call.
    pub requested_at: BeijingTime,
    /// How that is known.
    pub evidence: Option<StopEvidence>,
}

/// What a log says of stops.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stops {
    unsettled: BTreeMap<String, Unsettled>,
    stopped: BTreeMap<String, StoppedBefore>,
}

impl Stops {
    /// The unsettled numbers, in their order.
    pub fn unsettled(&self) -> &BTreeMap<String, Unsettled> {
        &self.unsettled
    }

    /// The numbers whose last intent has stopped them, in their order.
    pub fn stopped(&self) -> &BTreeMap<String, StoppedBefore> {
        &self.stopped
    }

    /// Whether an intent or results may follow.
    pub(super) fn admit(
        &self,
        intent: Option<&StopIntent>,
        results: &[StopResult],
    ) -> std::result::Result<(), Refusal> {
        let mut intended = intent.into_iter().flat_map(|intent| &intent.numbers);
        if let Some(number) = intended.find(|number| self.unsettled.contains_key(*number)) {
            return Err(Refusal::StopUnsettled { number: number.clone() });
        }
        let is_settled = |result: &&StopResult| match self.unsettled.get(&result.number) {
            Some(held) if held.intent == result.intent => held.is_unknown && result.outcome == StopOutcome::Unknown,
            _ => true,
        };
        match results.iter().find(is_settled) {
            Some(result) => Err(Refusal::StopSettled { number: result.number.clone() }),
            None => Ok(()),
        }
    }

    /// Adds what a commit says.
    pub(super) fn apply(&mut self, commit: CommitId, intent: Option<&StopIntent>, results: &[StopResult]) {
        for StopResult { number, outcome, evidence, .. } in results {
            if *outcome == StopOutcome::Unknown {
                self.unsettled.entry(number.clone()).and_modify(|held| held.is_unknown = true);
                continue;
            }
            let held = self.unsettled.remove(number).filter(|_| *outcome == StopOutcome::Stopped);
            let stopped = held.map(|held| StoppedBefore { requested_at: held.requested_at, evidence: *evidence });
            self.stopped.extend(stopped.map(|stopped| (number.clone(), stopped)));
        }
        if let Some(StopIntent { requested_at, numbers, .. }) = intent {
            for number in numbers {
                self.stopped.remove(number);
                let unsettled = Unsettled { intent: commit, requested_at: *requested_at, is_unknown: false };
                self.unsettled.insert(number.clone(), unsettled);
            }
        }
    }
}

/// What is wrong with the stops of one manifest in themselves.
pub(super) fn check(
    kind: CommitKind,
    intent: Option<&StopIntent>,
    results: &[StopResult],
) -> std::result::Result<(), &'static str> {
    let numbers: Vec<&String> = match (kind, intent, results) {
        (CommitKind::StopIntent, Some(intent), []) => intent.numbers.iter().collect(),
        (CommitKind::StopResult, None, results) => results.iter().map(|result| &result.number).collect(),
        (CommitKind::StopIntent, ..) => return Err("an intent to stop that does more or less than intend"),
        (_, None, []) => return Ok(()),
        _ => return Err("stops in a commit of another kind"),
    };
    if intent.is_some_and(|StopIntent { by, reason, .. }| {
        [&by.user, &by.host].into_iter().chain(reason).any(|text| text.trim().is_empty())
    }) {
        return Err("an intent to stop of nobody, or an empty reason for it");
    }
    let distinct: BTreeSet<&String> = numbers.iter().copied().collect();
    if numbers.is_empty() || distinct.len() < numbers.len() || numbers.iter().any(|number| number.is_empty()) {
        return Err("stops of no number, of an empty one, or of one twice");
    }
    if results.iter().any(|result| result.evidence.is_none() != (result.outcome == StopOutcome::Unknown)) {
        return Err("an outcome of a stop without evidence, or evidence of none");
    }
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::error::ErrorKind;
    use crate::land::digest::Sha256;
    use crate::land::fold::Fold;
    use crate::land::manifest::Manifest;
    use crate::land::testing::{sample_manifest, schema_accepts, stop_intent, stop_result, stopped, to_stop};

    fn intent(numbers: &[&str]) -> StopIntent {
        to_stop(BeijingTime::from_unix(1_790_000_000).expect("a time"), numbers)
    }

    fn result(intent: CommitId, number: &str, outcome: StopOutcome) -> StopResult {
        let evidence = (outcome != StopOutcome::Unknown).then_some(StopEvidence::Query);
        StopResult { outcome, evidence, ..stopped(intent, number) }
    }

    #[test]
    fn an_unsettled_number_gets_no_second_intent_and_no_foreign_result() {
        let (first, other) = (CommitId::generate(), CommitId::generate());
        let mut stops = Stops::default();
        stops.apply(first, Some(&intent(&["A", "B"])), &[]);
        let unsettled = |number: &str| Err(Refusal::StopUnsettled { number: number.to_owned() });
        let settled = |number: &str| Err(Refusal::StopSettled { number: number.to_owned() });
        assert_eq!(stops.admit(Some(&intent(&["C", "B"])), &[]), unsettled("B"));
        assert_eq!(stops.admit(Some(&intent(&["C"])), &[]), Ok(()));
        assert_eq!(stops.admit(None, &[result(other, "A", StopOutcome::Stopped)]), settled("A"));
        assert_eq!(stops.admit(None, &[result(first, "C", StopOutcome::Stopped)]), settled("C"));

        let unknown = result(first, "A", StopOutcome::Unknown);
        assert_eq!(stops.admit(None, std::slice::from_ref(&unknown)), Ok(()));
        stops.apply(other, None, std::slice::from_ref(&unknown));
        assert!(stops.unsettled()["A"].is_unknown && !stops.unsettled()["B"].is_unknown);
        assert_eq!(stops.admit(Some(&intent(&["A"])), &[]), unsettled("A"), "unknown is not settled");
        assert_eq!(stops.admit(None, &[unknown]), settled("A"), "unknown is said once");

        let known = result(first, "A", StopOutcome::NotStopped);
        assert_eq!(stops.admit(None, std::slice::from_ref(&known)), Ok(()));
        stops.apply(other, None, std::slice::from_ref(&known));
        assert_eq!(stops.admit(None, &[known]), settled("A"));
        assert_eq!(stops.admit(Some(&intent(&["A"])), &[]), Ok(()));
        assert_eq!(stops.unsettled().keys().collect::<Vec<_>>(), ["B"]);

        stops.apply(other, None, &[result(first, "B", StopOutcome::Stopped)]);
        assert_eq!(stops.stopped().keys().collect::<Vec<_>>(), ["B"]);
        assert_eq!(stops.stopped()["B"].evidence, Some(StopEvidence::Query));
        stops.apply(other, Some(&intent(&["B"])), &[]);
        assert!(stops.stopped().is_empty(), "the last intent counts");
    }

    #[test]
    fn stops_stand_in_commits_of_their_kind_only() {
        let (id, both) = (CommitId::generate(), intent(&["A", "B"]));
        let stopped = [result(id, "A", StopOutcome::Stopped)];
        assert_eq!(check(CommitKind::StopIntent, Some(&both), &[]), Ok(()));
        assert_eq!(check(CommitKind::StopResult, None, &stopped), Ok(()));
        assert_eq!(check(CommitKind::Sync, None, &[]), Ok(()));
        let bare = StopResult { evidence: None, ..stopped[0].clone() };
        let by = |user: &str, host: &str| {
            let by = Requester { user: user.to_owned(), host: host.to_owned() };
            StopIntent { by, ..both.clone() }
        };
        let certain = StopResult { outcome: StopOutcome::Unknown, ..stopped[0].clone() };
        for (kind, intent, results) in [
            (CommitKind::StopIntent, None, &[][..]),
            (CommitKind::StopIntent, Some(&both), &stopped),
            (CommitKind::StopIntent, Some(&intent(&[])), &[]),
            (CommitKind::StopIntent, Some(&intent(&["A", "A"])), &[]),
            (CommitKind::StopIntent, Some(&intent(&[""])), &[]),
            (CommitKind::StopIntent, Some(&StopIntent { reason: Some(" ".into()), ..both.clone() }), &[]),
            (CommitKind::StopIntent, Some(&by("", "till-3")), &[]),
            (CommitKind::StopIntent, Some(&by("li", "\t")), &[]),
            (CommitKind::StopResult, None, &[]),
            (CommitKind::StopResult, Some(&both), &stopped),
            (CommitKind::StopResult, None, &[stopped[0].clone(), stopped[0].clone()]),
            (CommitKind::StopResult, None, &[bare]),
            (CommitKind::StopResult, None, &[certain]),
            (CommitKind::Sync, Some(&both), &[]),
            (CommitKind::Refresh, None, &stopped),
        ] {
            assert!(check(kind, intent, results).is_err(), "{kind:?} {intent:?} {results:?}");
        }
    }
    #[test]
    fn stops_survive_and_fit_their_schema() {
        let fold = Fold::new(sample_manifest().account.name);
        for manifest in [stop_intent(&fold, &["CG1", "CG2"]), stop_result(&fold, &["CG1", "CG2"])] {
            let bytes = manifest.to_bytes().expect("valid");
            assert_eq!(Manifest::from_bytes(&bytes, "_manifest/x").expect("read"), manifest);
            let value: Value = serde_json::from_slice(&bytes).expect("json");
            assert!(schema_accepts(&value), "{value}");
            for (pointer, odd) in [
                ("/kind", json!("sync")),
                ("/kind", json!(if manifest.kind == CommitKind::StopIntent { "stop_result" } else { "stop_intent" })),
                ("/window", serde_json::to_value(sample_manifest()).expect("json")["window"].clone()),
                (
                    "/quarantine",
                    json!({"path": "_quarantine/account=acme/x.jsonl", "bytes": 1, "sha256": Sha256::of(b""), "rows": 1}),
                ),
                ("/removes", json!([CommitId::generate()])),
                ("/fences", json!([CommitId::generate()])),
                ("/intent", json!({"requested_at": manifest.created_at, "numbers": []})),
                ("/results", json!([])),
            ] {
                let mut changed = value.clone();
                let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
                changed
                    .pointer_mut(parent)
                    .and_then(Value::as_object_mut)
                    .expect("an object")
                    .insert(field.into(), odd);
                let read = Manifest::from_bytes(changed.to_string().as_bytes(), "_manifest/x");
                assert_eq!(read.expect_err("refused").kind(), ErrorKind::Defect, "{pointer} of {value}");
                assert!(!schema_accepts(&changed), "{pointer} of {value}");
            }
        }
        assert_odd_fields_are_refused(&stop_intent(&fold, &["CG1"]));
        assert_odd_fields_are_refused(&stop_result(&fold, &["CG1"]));
        let mut two = stop_result(&fold, &["CG1"]);
        two.files[0].rows = 2;
        assert!(two.to_bytes().is_err(), "a row for each result");
        let mut sync = sample_manifest();
        sync.files = stop_result(&fold, &["CG1"]).files;
        assert!(sync.to_bytes().is_err(), "only results write the table of stops");
    }

    /// Each optional field with a value of another kind, and each field of an intent taken away.
    fn assert_odd_fields_are_refused(manifest: &Manifest) {
        let value = serde_json::to_value(manifest).expect("json");
        let (parent, fields, required) = match manifest.kind {
            CommitKind::StopIntent => ("/intent", vec![("by", json!("li")), ("reason", json!(null))], vec!["by"]),
            _ => (
                "/results/0",
                vec![("error", json!(null)), ("error_code", json!("1")), ("order_id", json!(1.5))],
                vec!["evidence"],
            ),
        };
        let odd = fields.into_iter().map(|(field, odd)| (field, Some(odd)));
        for (field, odd) in odd.chain(required.into_iter().map(|field| (field, None))) {
            let mut changed = value.clone();
            let object = changed.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
            match odd {
                Some(odd) => object.insert(field.to_owned(), odd),
                None => object.remove(field),
            };
            let read = Manifest::from_bytes(changed.to_string().as_bytes(), "_manifest/x");
            assert_eq!(read.expect_err("refused").kind(), ErrorKind::Defect, "{field} of {changed}");
            assert!(!schema_accepts(&changed), "{field} of {changed}");
        }
    }

    #[test]
    fn who_asked_and_what_the_vendor_said_stand_in_the_log() {
        let fold = Fold::new(sample_manifest().account.name);
        let intent = stop_intent(&fold, &["CG1"]);
        let told = intent.intent.clone().expect("an intent");
        assert!(told.reason.is_some());
        let bare = Manifest { intent: Some(StopIntent { reason: None, ..told }), ..intent };
        let mut refused = stop_result(&fold, &["CG1"]);
        let StopResult { intent, number, .. } = refused.results[0].clone();
        refused.results = vec![StopResult {
            intent,
            number,
            outcome: StopOutcome::Refused,
            evidence: Some(StopEvidence::Answer),
            error: Some("采购申请单状态不是部分引用".to_owned()),
            error_code: Some(0),
            order_id: Some(764),
        }];
        for (manifest, pointer, expected) in [
            (&bare, "/intent/by", json!({"user": "li", "host": "till-3"})),
            (&refused, "/results/0/error", json!("采购申请单状态不是部分引用")),
            (&refused, "/results/0/error_code", json!(0)),
            (&refused, "/results/0/order_id", json!(764)),
        ] {
            let bytes = manifest.to_bytes().expect("valid");
            assert_eq!(Manifest::from_bytes(&bytes, "_manifest/x").expect("read"), *manifest);
            let value: Value = serde_json::from_slice(&bytes).expect("json");
            assert_eq!(value.pointer(pointer), Some(&expected));
            assert!(schema_accepts(&value), "{value}");
        }
    }
}
