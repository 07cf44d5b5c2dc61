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
    use crate::log::digest::Sha256;
    use crate::log::manifest::Manifest;
    use crate::log::state::LogState;
    use crate::log::stop_ledger::tests::{intent, result};
    use crate::log::stop_ledger::{Requester, StopEvidence};

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
        let state = LogState::new(sample_manifest().account.name);
        for manifest in [stop_intent(&state, &["CG1", "CG2"]), stop_result(&state, &["CG1", "CG2"])] {
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
        assert_odd_fields_are_refused(&stop_intent(&state, &["CG1"]));
        assert_odd_fields_are_refused(&stop_result(&state, &["CG1"]));
        let mut two = stop_result(&state, &["CG1"]);
        two.files[0].rows = 2;
        assert!(two.to_bytes().is_err(), "a row for each result");
        let mut sync = sample_manifest();
        sync.files = stop_result(&state, &["CG1"]).files;
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
        let state = LogState::new(sample_manifest().account.name);
        let intent = stop_intent(&state, &["CG1"]);
        let told = intent.intent.clone().expect("an intent");
        assert!(told.reason.is_some());
        let bare = Manifest { intent: Some(StopIntent { reason: None, ..told }), ..intent };
        let mut refused = stop_result(&state, &["CG1"]);
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
