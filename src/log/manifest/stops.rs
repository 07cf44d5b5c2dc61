//! What the stops of one manifest must be in themselves; how they follow those before them is the
//! [ledger](crate::log::stop_ledger)'s.

use std::collections::BTreeSet;

use super::{CommitKind, Manifest};
use crate::log::stop_ledger::{StopIntent, StopOutcome, StopResult};

/// What is wrong with the stops of one manifest in themselves, if something is.
pub(super) fn check(manifest: &Manifest) -> Result<(), String> {
    for commit in &manifest.commits {
        check_results(commit.kind, &commit.results)?;
    }
    manifest.intent.as_ref().map_or(Ok(()), check_intent)
}

fn check_intent(intent: &StopIntent) -> Result<(), String> {
    let StopIntent { by, reason, numbers, .. } = intent;
    if [&by.user, &by.host].into_iter().chain(reason).any(|text| text.trim().is_empty()) {
        return Err("an intent to stop of nobody, or an empty reason for it".into());
    }
    check_numbers(numbers.iter())
}

fn check_results(kind: CommitKind, results: &[StopResult]) -> Result<(), String> {
    if results.is_empty() && kind != CommitKind::StopResult {
        return Ok(());
    }
    if kind != CommitKind::StopResult {
        return Err("outcomes of stops in a commit of another kind".into());
    }
    if results.iter().any(|result| result.evidence.is_none() != (result.outcome == StopOutcome::Unknown)) {
        return Err("an outcome of a stop without evidence, or evidence of none".into());
    }
    check_numbers(results.iter().map(|result| &result.number))
}

fn check_numbers<'a>(numbers: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let numbers: Vec<&String> = numbers.collect();
    let distinct: BTreeSet<&String> = numbers.iter().copied().collect();
    if numbers.is_empty() || distinct.len() < numbers.len() || numbers.iter().any(|number| number.is_empty()) {
        return Err("stops of no number, of an empty one, or of one twice".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::error::ErrorKind;
    use crate::id::CommitId;
    use crate::land::testing::{sample_manifest, schema_accepts, stop_intent, stop_result};
    use crate::log::state::LogState;
    use crate::log::stop_ledger::tests::{intent, result};
    use crate::log::stop_ledger::{Requester, StopEvidence};

    #[test]
    fn stops_stand_in_commits_of_their_kind_only() {
        let (id, both) = (CommitId::generate(), intent(&["A", "B"]));
        let stopped = [result(id, "A", StopOutcome::Stopped)];
        assert_eq!(check_intent(&both), Ok(()));
        assert_eq!(check_results(CommitKind::StopResult, &stopped), Ok(()));
        assert_eq!(check_results(CommitKind::Sync, &[]), Ok(()));
        let bare = StopResult { evidence: None, ..stopped[0].clone() };
        let by = |user: &str, host: &str| {
            let by = Requester { user: user.to_owned(), host: host.to_owned() };
            StopIntent { by, ..both.clone() }
        };
        let certain = StopResult { outcome: StopOutcome::Unknown, ..stopped[0].clone() };
        for odd in [
            intent(&[]),
            intent(&["A", "A"]),
            intent(&[""]),
            StopIntent { reason: Some(" ".into()), ..both.clone() },
            by("", "till-3"),
            by("li", "\t"),
        ] {
            assert!(check_intent(&odd).is_err(), "{odd:?}");
        }
        for (kind, results) in [
            (CommitKind::StopResult, &[][..]),
            (CommitKind::StopResult, &[stopped[0].clone(), stopped[0].clone()]),
            (CommitKind::StopResult, &[bare]),
            (CommitKind::StopResult, &[certain]),
            (CommitKind::Refresh, &stopped),
        ] {
            assert!(check_results(kind, results).is_err(), "{kind:?} {results:?}");
        }
    }

    /// The manifest, read back, and its JSON.
    fn written(manifest: &Manifest) -> Value {
        let bytes = manifest.to_bytes().expect("valid");
        assert_eq!(Manifest::from_bytes(&bytes, "_manifest/x").expect("read"), *manifest);
        let value: Value = serde_json::from_slice(&bytes).expect("json");
        assert!(schema_accepts(&value), "{value}");
        value
    }

    fn assert_refused(value: &Value, what: &str) {
        let read = Manifest::from_bytes(value.to_string().as_bytes(), "_manifest/x");
        assert_eq!(read.expect_err("refused").kind(), ErrorKind::Defect, "{what} of {value}");
        assert!(!schema_accepts(value), "{what} of {value}");
    }

    #[test]
    fn stops_survive_and_fit_their_schema() {
        let state = LogState::new(sample_manifest().account.name);
        let (intent, result) = (stop_intent(&state, &["CG1", "CG2"]), stop_result(&state, &["CG1", "CG2"]));
        let sync = written(&sample_manifest());
        for (manifest, pointer, odd) in [
            (&intent, "/commits", sync["commits"].clone()),
            (&intent, "/walk", sync["walk"].clone()),
            (&intent, "/removes", json!([CommitId::generate()])),
            (&intent, "/fences", json!([CommitId::generate()])),
            (&intent, "/intent", json!({"requested_at": intent.created_at, "numbers": []})),
            (&intent, "/intent/by", json!("li")),
            (&intent, "/intent/reason", json!(null)),
            (&result, "/commits/0/kind", json!("sync")),
            (&result, "/commits/0/window", sync["commits"][0]["window"].clone()),
            (&result, "/commits/0/results", json!([])),
            (&result, "/walk", sync["walk"].clone()),
            (&result, "/fences", json!([CommitId::generate()])),
            (&result, "/intent", written(&intent)["intent"].clone()),
            (&result, "/commits/0/results/0/error", json!(null)),
            (&result, "/commits/0/results/0/error_code", json!("1")),
            (&result, "/commits/0/results/0/order_id", json!(1.5)),
        ] {
            let mut changed = written(manifest);
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
            let parent = changed.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
            parent.insert(field.into(), odd);
            assert_refused(&changed, pointer);
        }
        for (manifest, parent, field) in [(&intent, "/intent", "by"), (&result, "/commits/0/results/0", "evidence")] {
            let mut changed = written(manifest);
            changed.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(field);
            assert_refused(&changed, field);
        }
        let mut two = stop_result(&state, &["CG1"]);
        two.commits[0].files[0].rows = 2;
        assert!(two.to_bytes().is_err(), "a row for each result");
        let mut sync = sample_manifest();
        sync.commits[0].files = stop_result(&state, &["CG1"]).commits[0].files.clone();
        assert!(sync.to_bytes().is_err(), "only results write the table of stops");
    }

    #[test]
    fn who_asked_and_what_the_vendor_said_stand_in_the_log() {
        let state = LogState::new(sample_manifest().account.name);
        let intent = stop_intent(&state, &["CG1"]);
        let told = intent.intent.clone().expect("an intent");
        assert!(told.reason.is_some());
        let bare = Manifest { intent: Some(StopIntent { reason: None, ..told }), ..intent };
        let mut refused = stop_result(&state, &["CG1"]);
        let StopResult { intent, number, .. } = refused.commits[0].results[0].clone();
        refused.commits[0].results = vec![StopResult {
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
            (&refused, "/commits/0/results/0/error", json!("采购申请单状态不是部分引用")),
            (&refused, "/commits/0/results/0/error_code", json!(0)),
            (&refused, "/commits/0/results/0/order_id", json!(764)),
        ] {
            assert_eq!(written(manifest).pointer(pointer), Some(&expected));
        }
    }
}
