//! What a manifest must be in itself: only what its kind may hold, and a proof that its rule can have given. Pure.

use std::collections::HashSet;

use super::is_within;
use crate::edition::Edition;
use crate::log::layout::Name;
use crate::log::{CommitKind, Layout, Manifest, Table};
use crate::proof::{Proof, Rule};

/// What is wrong with a live manifest beyond what reading it refuses.
pub(super) fn check(manifest: &Manifest) -> Vec<String> {
    let mut wrong = check_kind(manifest);
    if let Some(proof) = &manifest.proof {
        wrong.extend(check_counts(manifest, proof));
        wrong.extend(check_rule(manifest.kind, proof));
    }
    wrong
}

fn check_kind(manifest: &Manifest) -> Vec<String> {
    let mut wrong = Vec::new();
    match manifest.kind {
        CommitKind::Sync | CommitKind::Refresh if !manifest.fences.is_empty() => {
            wrong.push("is a commit of rows that fences".to_owned());
        }
        CommitKind::Fence if manifest.proof.is_some() => wrong.push("is a fence with a proof".to_owned()),
        _ => {}
    }
    if manifest.quarantine.as_ref().is_some_and(|held| held.rows == 0) {
        wrong.push("names a quarantine file without records".to_owned());
    }
    let layout = Layout::new(manifest.account.name.clone());
    let mut seen = HashSet::new();
    for file in &manifest.files {
        if !seen.insert(&file.path) {
            wrong.push(format!("names `{}` twice", file.path));
        }
        if file.min_modified > file.max_modified {
            wrong.push(format!("says that the rows of `{}` end before they begin", file.path));
        }
        if let (Some(Name::Data { span: Some(span), .. }), Some(window)) = (layout.parse(&file.path), manifest.window)
            && !is_within(span, window)
        {
            wrong.push(format!("covers {window}, and `{}` is outside", file.path));
        }
    }
    wrong
}

/// Rows in files and records in quarantine are those that the walk saw and a refresh carried over.
fn check_counts(manifest: &Manifest, proof: &Proof) -> Vec<String> {
    let mut wrong = Vec::new();
    let headers = manifest.files.iter().filter(|file| file.table == Table::PurchaseApply.name());
    let rows: u64 = headers.map(|file| file.rows).sum();
    let proved = proof.rows_landed.saturating_add(proof.rows_carried);
    if rows != proved {
        wrong.push(format!("holds {rows} headers, and its proof counts {proved}"));
    }
    let quarantined = manifest.quarantine.as_ref().map_or(0, |held| held.rows);
    let proved = proof.rows_quarantined.saturating_add(proof.quarantined_carried);
    if quarantined != proved {
        wrong.push(format!("holds {quarantined} quarantined records, and its proof counts {proved}"));
    }
    let kept = proof.rows_landed.saturating_add(proof.rows_quarantined);
    // The flagship interval is not closed: a row of the second after the window is seen, counted, and left to the next
    // window.
    let adds_up = if manifest.account.edition == Edition::Flagship {
        proof.distinct_rows >= kept
    } else {
        proof.distinct_rows == kept
    };
    if !adds_up {
        wrong.push(format!("saw {} distinct rows, and its proof keeps {kept} of them", proof.distinct_rows));
    }
    if manifest.kind == CommitKind::Sync && proof.rows_carried + proof.quarantined_carried > 0 {
        wrong.push("carries rows over, which only a refresh may".to_owned());
    }
    wrong
}

/// What the rule implies of the numbers: the walk accepted the window by the same function. The totals of a window that
/// was proved by the boundary rule may be those of a larger one, out of which seconds were cut: they say nothing of
/// this one.
fn check_rule(kind: CommitKind, proof: &Proof) -> Vec<String> {
    let mut wrong = Vec::new();
    if !proof.rule.accepts(&proof.grounds) {
        wrong.push("has a proof whose numbers do not meet its rule".to_owned());
    }
    let grounds = &proof.grounds;
    // Pieces of a refresh may each count a row of the second between them.
    if kind == CommitKind::Sync
        && proof.rule != Rule::Boundary
        && grounds.rows_after_total.max(grounds.rows_after_bound) > proof.distinct_rows
    {
        wrong.push(format!("counts more rows for its rule than the {} that it saw", proof.distinct_rows));
    }
    if kind == CommitKind::Sync && grounds.total.is_some_and(|total| !proof.totals.contains(&total)) {
        wrong.push("has a proof by a total that the gateway did not state".to_owned());
    }
    // A refresh lists the totals of all pieces, one after the other.
    if kind == CommitKind::Sync {
        if !proof.totals.is_sorted_by(|before, after| before >= after) {
            wrong.push("has a proof in which a total rises, which voids the walk".to_owned());
        } else if let (Some(first), Some(last)) = (proof.totals.first(), proof.totals.last())
            && proof.rows_left != first - last
        {
            wrong.push(format!("says that {} rows left while the totals fell by {}", proof.rows_left, first - last));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::land::testing::{binding, chain, proof};
    use crate::log::LogState;
    use crate::proof::Grounds;

    fn manifest(change: impl FnOnce(&mut Manifest)) -> Manifest {
        let mut manifest = chain(&LogState::new(binding().name), CommitKind::Sync);
        change(&mut manifest);
        manifest
    }

    fn with_grounds(change: impl FnOnce(&mut Grounds)) -> Proof {
        let mut proof = proof(3);
        change(&mut proof.grounds);
        proof
    }

    #[test]
    fn a_proof_must_add_up_and_fit_its_rule() {
        assert_eq!(check(&manifest(|_| ())), Vec::<String>::new());
        let with = |proof: Proof| check(&manifest(|manifest| manifest.proof = Some(proof)));
        for (bad, word) in [
            (Proof { rows_landed: 2, ..proof(3) }, "holds 3 headers"),
            (Proof { rows_quarantined: 1, ..proof(3) }, "quarantined"),
            (Proof { distinct_rows: 4, ..proof(3) }, "keeps 3"),
            (Proof { rows_carried: 1, rows_landed: 2, ..proof(3) }, "carries"),
            (Proof { totals: vec![5, 4], rows_left: 1, ..proof(3) }, "did not state"),
            (with_grounds(|grounds| grounds.total = Some(4)), "meet its rule"),
            (with_grounds(|grounds| grounds.rows_after_total = 4), "meet its rule"),
            (with_grounds(|grounds| grounds.list_bound = None), "meet its rule"),
            (with_grounds(|grounds| grounds.rows_after_bound = 2), "meet its rule"),
            (with_grounds(|grounds| grounds.rows_after_bound = 4), "counts more"),
            (Proof { totals: vec![3, 4], ..proof(3) }, "rises"),
            (Proof { totals: vec![5, 3], ..proof(3) }, "fell by 2"),
            (Proof { totals: vec![], ..proof(3) }, "did not state"),
        ] {
            let wrong = with(bad);
            assert!(wrong.iter().any(|what| what.contains(word)), "{word}: {wrong:?}");
        }
        for good in [
            Proof { totals: vec![4, 3], rows_left: 1, ..proof(3) },
            Proof { rule: Rule::ListBounds, totals: vec![], ..with_grounds(|grounds| grounds.total = None) },
            Proof { rule: Rule::Boundary, totals: vec![900], ..with_grounds(|grounds| grounds.total = Some(900)) },
        ] {
            assert_eq!(with(good), Vec::<String>::new());
        }
    }

    #[test]
    fn flagship_rows_of_the_next_second_are_seen_and_not_kept() {
        let flagship = |distinct_rows| {
            manifest(|manifest| {
                manifest.account.edition = Edition::Flagship;
                manifest.proof = Some(Proof { distinct_rows, ..proof(3) });
            })
        };
        assert_eq!(check(&flagship(4)), Vec::<String>::new());
        assert!(!check(&flagship(2)).is_empty());
    }

    #[test]
    fn files_stand_once_and_within_the_window() {
        let twice = manifest(|manifest| {
            manifest.files.push(manifest.files[0].clone());
            manifest.proof = Some(proof(6));
        });
        assert!(check(&twice)[0].contains("twice"));
        let outside = manifest(|manifest| manifest.window = Some(crate::land::testing::window(1, 9)));
        assert!(check(&outside)[0].contains("outside"));
    }
}
