//! What a manifest must be in itself, and beside what it removes: a proof that its rule can have given, the rows that
//! it counts, and for every second of a window a manifest that proved it. Pure.

use std::collections::BTreeMap;

use super::is_within;
use crate::edition::Edition;
use crate::id::CommitId;
use crate::log::layout::Name;
use crate::log::{Commit, CommitKind, FileEntry, Layout, LiveCommit, Manifest, Table};
use crate::proof::{Proof, Rule};
use crate::time::{Coverage, Window};

/// What is wrong with a manifest in itself beyond what reading it refuses.
pub(super) fn check(manifest: &Manifest) -> Vec<String> {
    let mut wrong: Vec<String> = manifest.commits.iter().flat_map(|commit| check_commit(manifest, commit)).collect();
    if let Some(walk) = &manifest.walk {
        wrong.extend(check_counts(manifest, &walk.proof));
        wrong.extend(check_rule(manifest.kind(), &walk.proof));
    }
    wrong
}

fn check_commit(manifest: &Manifest, commit: &Commit) -> Vec<String> {
    let mut wrong = Vec::new();
    if commit.quarantine.iter().any(|held| held.rows == 0) {
        wrong.push("names a quarantine file without records".to_owned());
    }
    let layout = Layout::new(manifest.account.name.clone());
    for file in &commit.files {
        if file.min_modified > file.max_modified {
            wrong.push(format!("says that the rows of `{}` end before they begin", file.path));
        }
        if let (Some(Name::Data { span: Some(span), .. }), Some(window)) = (layout.parse(&file.path), commit.window)
            && !is_within(span, window)
        {
            wrong.push(format!("covers {window}, and `{}` is outside", file.path));
        }
    }
    wrong
}

fn rows<'a>(files: impl Iterator<Item = &'a FileEntry>, table: Table) -> u64 {
    files.filter(|file| file.table == table.name()).map(|file| file.rows).sum()
}

/// Rows in files and records in quarantine are those that the walk saw and those that were carried over.
fn check_counts(manifest: &Manifest, proof: &Proof) -> Vec<String> {
    let mut wrong = Vec::new();
    let commits = || manifest.commits.iter();
    // An expire beside a rewalk carries rows of other seconds.
    let walked = || commits().filter(|commit| commit.kind != CommitKind::Expire);
    let headers = rows(walked().flat_map(|commit| &commit.files), Table::PurchaseApply);
    let proved = proof.rows_landed.saturating_add(proof.rows_carried);
    if headers != proved {
        wrong.push(format!("holds {headers} headers, and its proof counts {proved}"));
    }
    let quarantined: u64 = walked().flat_map(|commit| &commit.quarantine).map(|held| held.rows).sum();
    let proved = proof.rows_quarantined.saturating_add(proof.quarantined_carried);
    if quarantined != proved {
        wrong.push(format!("holds {quarantined} quarantined records, and its proof counts {proved}"));
    }
    let kept =
        [proof.rows_landed, proof.rows_quarantined, proof.rows_unchanged].into_iter().fold(0, u64::saturating_add);
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
    let carried = proof.rows_carried + proof.quarantined_carried + proof.rows_unchanged;
    if matches!(manifest.kind(), CommitKind::Sync | CommitKind::Replay) && carried > 0 {
        wrong.push("carries rows over, which only a refresh may".to_owned());
    }
    wrong
}

/// The seconds that a manifest proves by itself: those of its walk, and where its rows were proved by others, as in a
/// compaction, those of its commits.
pub(super) fn proved_by(manifest: &Manifest) -> Vec<Window> {
    match &manifest.walk {
        Some(walk) => vec![walk.window],
        None => manifest.commits.iter().filter_map(|commit| commit.window).collect(),
    }
}

/// What is wrong with a manifest beside what it removes, and the manifests to which it refers for carried ranges.
pub(super) fn check_against(
    manifest: &Manifest,
    removed: &[(CommitId, LiveCommit)],
    proves: &BTreeMap<u64, Vec<Window>>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for range in manifest.commits.iter().flat_map(|commit| &commit.carried) {
        let proved: Coverage = proves.get(&range.manifest).into_iter().flatten().copied().collect();
        if !proved.gaps(range.window).is_empty() {
            let (window, number) = (range.window, range.manifest);
            wrong.push(format!("says that manifest {number} proved {window}, which it did not"));
        }
    }
    match manifest.kind() {
        CommitKind::Compaction => wrong.extend(check_compaction(manifest, removed)),
        CommitKind::Expire | CommitKind::Rewalk => wrong.extend(check_expired(manifest, removed)),
        _ => {}
    }
    wrong
}

/// What is left of expired months stood before, all of it, and nothing that was covered is covered no more.
fn check_expired(manifest: &Manifest, removed: &[(CommitId, LiveCommit)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let after: Coverage =
        manifest.commits.iter().flat_map(|commit| commit.window.iter().chain(&commit.expired)).copied().collect();
    let before = removed.iter().flat_map(|(_, live)| live.window.iter().chain(&live.expired));
    if let Some(lost) = before.flat_map(|window| after.gaps(*window)).next() {
        wrong.push(format!("covers {lost} no more, which what it removes covered"));
    }
    let kept = || manifest.commits.iter().filter(|commit| commit.kind == CommitKind::Expire);
    let is_expire = manifest.kind() == CommitKind::Expire;
    // Beside a rewalk only what had expired before can be left of it.
    let sources = || removed.iter().map(|(_, live)| live).filter(|live| is_expire || live.kind == CommitKind::Expire);
    for table in Table::ALL {
        let before: u64 = sources().map(|live| live.rows(table)).sum();
        let after = rows(kept().flat_map(|commit| &commit.files), table);
        if after > before {
            wrong.push(format!("keeps {after} rows of {table} of {before} that expire"));
        }
    }
    let is_new = |commit: &Commit| {
        commit.files.iter().any(|file| !file.carried) || !commit.quarantine.is_empty() || !commit.raw.is_empty()
    };
    if kept().any(is_new) {
        wrong.push("has more than rows that stood before in what is left of expired months".to_owned());
    }
    wrong
}

/// A compaction changes no row, no quarantined record and no coverage.
fn check_compaction(manifest: &Manifest, removed: &[(CommitId, LiveCommit)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let removed = || removed.iter().map(|(_, live)| live);
    let before: u64 = removed().map(LiveCommit::weight).sum();
    let after: u64 = manifest.commits.iter().map(|commit| commit.compacted).sum();
    if before != after {
        wrong.push(format!(
            "says that {after} commits were put together in it, and it removes what {before} were put in"
        ));
    }
    for table in Table::ALL {
        let before: u64 = removed().map(|live| live.rows(table)).sum();
        let after = rows(manifest.commits.iter().flat_map(|commit| &commit.files), table);
        if before != after {
            wrong.push(format!("compacts {before} rows of {table} into {after}"));
        }
    }
    let covered = |windows: &mut dyn Iterator<Item = Window>| windows.collect::<Coverage>();
    let before = covered(&mut removed().filter_map(|live| live.window));
    let after = covered(&mut manifest.commits.iter().filter_map(|commit| commit.window));
    if before != after {
        wrong.push("covers other seconds than what it compacts".to_owned());
    }
    let mut before: Vec<&str> = removed().flat_map(|live| live.paths()).filter(|path| is_kept(path)).collect();
    let mut after: Vec<&str> = manifest.paths().filter(|path| is_kept(path)).collect();
    before.sort_unstable();
    after.sort_unstable();
    if before != after {
        wrong.push("names other quarantined records or responses than what it compacts".to_owned());
    }
    wrong
}

/// Whether a compaction names an object as it is, and does not write it anew.
fn is_kept(path: &str) -> bool {
    !Table::ALL.into_iter().any(|table| path.split('/').next() == Some(table.name()))
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
    use crate::land::testing::{binding, chain, covering, proof, window};
    use crate::log::{CarriedRange, LogState, QuarantineEntry, Sha256, Walk};
    use crate::proof::Grounds;

    fn manifest(change: impl FnOnce(&mut Manifest)) -> Manifest {
        let mut manifest = chain(&LogState::new(binding().name), CommitKind::Sync);
        change(&mut manifest);
        manifest
    }

    fn prove(manifest: &mut Manifest, proof: Proof) {
        manifest.walk.as_mut().expect("a walk").proof = proof;
    }

    fn with_grounds(change: impl FnOnce(&mut Grounds)) -> Proof {
        let mut proof = proof(3);
        change(&mut proof.grounds);
        proof
    }

    #[test]
    fn a_proof_must_add_up_and_fit_its_rule() {
        assert_eq!(check(&manifest(|_| ())), Vec::<String>::new());
        let with = |proof: Proof| check(&manifest(|manifest| prove(manifest, proof)));
        for (bad, word) in [
            (Proof { rows_landed: 2, ..proof(3) }, "holds 3 headers"),
            (Proof { rows_quarantined: 1, ..proof(3) }, "quarantined"),
            (Proof { distinct_rows: 4, ..proof(3) }, "keeps 3"),
            (Proof { rows_carried: 1, rows_landed: 2, ..proof(3) }, "carries"),
            (Proof { rows_unchanged: 1, distinct_rows: 4, ..proof(3) }, "carries"),
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
                prove(manifest, Proof { distinct_rows, ..proof(3) });
            })
        };
        assert_eq!(check(&flagship(4)), Vec::<String>::new());
        assert!(!check(&flagship(2)).is_empty());
    }

    #[test]
    fn files_stand_within_the_window() {
        let outside = manifest(|manifest| manifest.commits[0].window = Some(window(1, 9)));
        assert!(check(&outside)[0].contains("outside"));
    }

    /// A log of two windows; gives the state, and what each manifest proves.
    fn two() -> (LogState, Vec<CommitId>, BTreeMap<u64, Vec<Window>>) {
        let (mut state, mut ids, mut proves) = (LogState::new(binding().name), Vec::new(), BTreeMap::new());
        for (start, end) in [(0, 9), (10, 19)] {
            let manifest = covering(&state, CommitKind::Sync, window(start, end));
            state.apply(&manifest, Sha256::of(b"x")).expect("follows");
            proves.insert(manifest.number, proved_by(&manifest));
            ids.push(manifest.id);
        }
        (state, ids, proves)
    }

    fn check_next(change: impl FnOnce(&mut Manifest, &LogState)) -> Vec<String> {
        let (mut state, ids, proves) = two();
        let mut manifest = covering(&state, CommitKind::Compaction, window(0, 19));
        (manifest.removes, manifest.walk) = (ids, None);
        manifest.commits[0].files[0].rows = 6;
        manifest.commits[0].compacted = 2;
        change(&mut manifest, &state);
        manifest.to_bytes().expect("in itself it is right");
        let removed = state.apply(&manifest, Sha256::of(b"x")).expect("follows");
        check_against(&manifest, &removed, &proves)
    }

    #[test]
    fn a_compaction_changes_no_row_and_no_second() {
        assert_eq!(check_next(|_, _| ()), Vec::<String>::new());
        let told = check_next(|manifest, _| manifest.commits[0].files[0].rows = 5);
        assert_eq!(told, ["compacts 6 rows of purchase_apply into 5"]);
        let told = check_next(|manifest, _| manifest.commits[0].window = Some(window(0, 25)));
        assert_eq!(told, ["covers other seconds than what it compacts"]);
        let told = check_next(|manifest, _| {
            let path = Layout::new(binding().name).quarantine(manifest.removes[0]);
            let held = QuarantineEntry { path, bytes: 1, sha256: Sha256::of(b"x"), rows: 1 };
            manifest.commits[0].quarantine.push(held);
        });
        assert_eq!(told, ["names other quarantined records or responses than what it compacts"]);
    }

    /// An expire commit beside others.
    fn expiring(state: &LogState, end: i64, rows: u64) -> Commit {
        let of = covering(state, CommitKind::Sync, window(0, 9));
        let files = of.commits[0].files.iter().cloned().map(|file| FileEntry { rows, carried: true, ..file });
        let expired = vec![window(-9, end)];
        Commit { kind: CommitKind::Expire, window: None, expired, files: files.collect(), ..of.commits[0].clone() }
    }

    #[test]
    fn an_expire_keeps_no_more_than_there_was_and_uncovers_nothing() {
        let next = |end, rows, change: fn(&mut Manifest)| {
            check_next(move |manifest, state| {
                let commit = expiring(state, end, rows);
                (manifest.id, manifest.commits) = (commit.id, vec![commit]);
                change(manifest);
            })
        };
        assert_eq!(next(19, 6, |_| ()), Vec::<String>::new());
        assert_eq!(next(19, 7, |_| ()), ["keeps 7 rows of purchase_apply of 6 that expire"]);
        let (first, last) = (window(19, 19).start(), window(19, 19).end());
        assert_eq!(next(18, 6, |_| ()), [format!("covers {first} .. {last} no more, which what it removes covered")]);
        let told = next(19, 6, |manifest| manifest.commits[0].files[0].carried = false);
        assert_eq!(told, ["has more than rows that stood before in what is left of expired months"]);
    }

    #[test]
    fn beside_a_rewalk_only_what_had_expired_is_left() {
        let told = check_next(|manifest, state| {
            let rewalk = covering(state, CommitKind::Rewalk, window(0, 9));
            manifest.walk = rewalk.walk;
            manifest.removes.truncate(1);
            let mut left = expiring(state, -1, 1);
            left.files[0].min_modified = window(0, 0).start();
            manifest.id = rewalk.id;
            manifest.commits = vec![rewalk.commits[0].clone(), left];
        });
        assert_eq!(told, ["keeps 1 rows of purchase_apply of 0 that expire"]);
    }

    #[test]
    fn a_carried_range_is_followed_to_the_manifest_that_proved_it() {
        let carrying = |number, start| {
            check_next(move |manifest, state| {
                let carried = vec![CarriedRange { window: window(start, 19), manifest: number }];
                *manifest = Manifest {
                    removes: manifest.removes.clone(),
                    ..covering(state, CommitKind::Refresh, window(0, 19))
                };
                let walked = window(0, start - 1);
                manifest.walk = Some(Walk { window: walked, proof: proof(3) });
                manifest.commits[0].carried = carried;
            })
        };
        assert_eq!(carrying(2, 10), Vec::<String>::new());
        assert_eq!(carrying(2, 5).len(), 1, "it proved a part of it only");
        assert_eq!(carrying(1, 10).len(), 1, "it proved other seconds");
        assert_eq!(carrying(9, 10).len(), 1, "there is no such manifest");
    }
}
