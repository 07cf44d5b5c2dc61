use super::*;
use crate::error::ErrorKind;
use crate::land::testing::{bare, binding, covering, sample_manifest, stop_intent, stop_result, window};

fn empty() -> LogState {
    LogState::new("acme".parse().expect("a name"))
}

fn add(state: &mut LogState, manifest: &Manifest) -> CommitId {
    state.apply(manifest, Sha256::of(b"x")).expect("follows");
    manifest.id
}

/// A state with commits over the seconds 0..=9 and 20..=29, and their ids.
fn two() -> (LogState, CommitId, CommitId) {
    let mut state = empty();
    let first = covering(&state, CommitKind::Sync, window(0, 9));
    let first = add(&mut state, &first);
    let second = covering(&state, CommitKind::Sync, window(20, 29));
    let second = add(&mut state, &second);
    (state, first, second)
}

fn request(state: &LogState, span: (i64, i64), removes: &[CommitId]) -> Manifest {
    let kind = if removes.is_empty() { CommitKind::Sync } else { CommitKind::Refresh };
    Manifest { removes: removes.to_vec(), ..covering(state, kind, window(span.0, span.1)) }
}

#[test]
fn windows_never_overlap() {
    let (state, first, second) = two();
    let check = |span, removes: &[CommitId]| state.check(&request(&state, span, removes));
    assert_eq!(check((10, 19), &[]), Ok(()));
    assert_eq!(check((9, 19), &[]), Err(Conflict::Overlap { window: window(0, 9) }));
    assert_eq!(check((22, 23), &[]), Err(Conflict::Overlap { window: window(20, 29) }));
    assert_eq!(check((5, 25), &[second]), Err(Conflict::Overlap { window: window(0, 9) }));
    assert_eq!(check((5, 25), &[second, first]), Ok(()));
    assert_eq!(check((5, 8), &[first, first]), Err(Conflict::NotLive { commit: first }));
    assert_eq!(state.touching(window(9, 20)), vec![(first, window(0, 9)), (second, window(20, 29))]);
    assert_eq!(state.touching(window(10, 19)), vec![]);
    // Nor do those of one manifest.
    let mut both = request(&state, (40, 49), &[]);
    let more = covering(&state, CommitKind::Sync, window(49, 50));
    both.commits.extend(more.commits);
    assert_eq!(state.check(&both), Err(Conflict::Overlap { window: window(49, 50) }));
}

#[test]
fn a_refresh_takes_the_place_of_what_it_removes() {
    let (mut state, first, second) = two();
    let manifest = request(&state, (0, 12), &[first]);
    let removed = state.apply(&manifest, Sha256::of(b"y")).expect("follows");
    assert_eq!(removed.iter().map(|(id, gone)| (*id, gone.window)).collect::<Vec<_>>(), [(first, Some(window(0, 9)))]);
    assert_eq!(state.coverage().windows(), [window(0, 12), window(20, 29)]);
    assert_eq!(state.standing(first), Some(Standing::Removed));
    assert_eq!(state.standing(second), Some(Standing::Live));
    assert_eq!(state.check(&request(&state, (40, 41), &[first])), Err(Conflict::NotLive { commit: first }));
}

#[test]
fn several_commits_stand_and_go_one_by_one() {
    let (mut state, first, second) = two();
    let mut manifest = request(&state, (0, 9), &[first, second]);
    let other = covering(&state, CommitKind::Refresh, window(20, 29));
    manifest.commits.extend(other.commits);
    add(&mut state, &manifest);
    let ids: Vec<CommitId> = manifest.commits.iter().map(|commit| commit.id).collect();
    assert_eq!(state.coverage().windows(), [window(0, 9), window(20, 29)]);
    let next = request(&state, (20, 29), &ids[1..]);
    add(&mut state, &next);
    assert_eq!((state.standing(ids[0]), state.standing(ids[1])), (Some(Standing::Live), Some(Standing::Removed)));
}

#[test]
fn a_fenced_id_never_commits_and_a_known_id_is_never_fenced() {
    let (mut state, first, _) = two();
    let lost = CommitId::generate();
    let fence = Manifest { fences: vec![lost], ..bare(&state) };
    add(&mut state, &fence);
    let mut late = request(&state, (50, 51), &[]);
    (late.id, late.commits[0].id) = (lost, lost);
    assert_eq!(state.check(&late), Err(Conflict::Fenced));
    for known in [first, lost] {
        let again = Manifest { fences: vec![known], ..bare(&state) };
        assert_eq!(state.check(&again), Err(Conflict::Known { commit: known }));
    }
    let mut same = request(&state, (50, 51), &[]);
    (same.id, same.commits[0].id) = (first, first);
    assert_eq!(state.check(&same), Err(Conflict::Known { commit: first }));
}

/// Adds so many manifests that change nothing.
fn age(state: &mut LogState, manifests: u64) {
    for _ in 0..manifests {
        let manifest = Manifest { fences: vec![CommitId::generate()], ..bare(state) };
        add(state, &manifest);
    }
}

#[test]
fn dead_ids_are_forgotten_but_not_by_who_staged_them() {
    let (mut state, first, second) = two();
    state.forget_after(3);
    let own = CommitId::generate();
    state.pin(own);
    let fence = Manifest { fences: vec![own], ..bare(&state) };
    add(&mut state, &fence);
    let refresh = request(&state, (0, 9), &[first]);
    add(&mut state, &refresh);
    age(&mut state, 2);
    assert_eq!(state.standing(first), Some(Standing::Removed));
    age(&mut state, 1);
    assert_eq!(state.standing(first), None, "three manifests later");
    assert_eq!(state.standing(own), Some(Standing::Fenced), "it is this process that staged it");
    assert_eq!(state.standing(second), Some(Standing::Live));
    let snapshot = serde_json::to_string(&CheckpointState::of(&state).expect("a state")).expect("json");
    assert!(!snapshot.contains(&own.to_string()), "pins are of no checkpoint");
    // Who has forgotten it may fence it again, and whoever pinned it reads on.
    let again = Manifest { fences: vec![own], ..bare(&state) };
    assert_eq!(state.check(&again), Err(Conflict::Known { commit: own }));
    add(&mut state, &again);
    age(&mut state, 20);
    assert_eq!(state.standings.dead().len(), 3, "the state does not grow");
}

#[test]
fn what_is_kept_or_named_is_not_forgotten() {
    let (mut state, first, second) = two();
    state.forget_after(3);
    let raw = |id: CommitId| RawEntry {
        path: Layout::new(binding().name).raw(id),
        bytes: 1,
        sha256: Sha256::of(b"raw"),
        responses: 1,
        window: window(0, 9),
    };
    // The refresh names the responses of the commit that it removes, and the other one is kept until a day.
    let mut refresh = request(&state, (0, 9), &[first]);
    refresh.commits[0].raw = vec![raw(first)];
    let refreshed = add(&mut state, &refresh);
    let keep_until = Some(refresh.created_at.plus_seconds(1_000));
    let other = Manifest { keep_until, ..request(&state, (20, 29), &[second]) };
    add(&mut state, &other);
    age(&mut state, 9);
    assert_eq!((state.standing(first), state.standing(second)), (Some(Standing::Removed), Some(Standing::Removed)));
    let refused = Manifest { fences: vec![first], ..bare(&state) };
    assert_eq!(state.check(&refused), Err(Conflict::Known { commit: first }));

    // When nothing names it any more, it is kept as long as the manifest says that ended it.
    let end = Manifest { keep_until, ..request(&state, (0, 9), &[refreshed]) };
    add(&mut state, &end);
    assert_eq!(state.keep_until(first), keep_until);
    let later = Manifest {
        created_at: refresh.created_at.plus_seconds(1_000 + 86_400 + 1),
        fences: vec![CommitId::generate()],
        ..bare(&state)
    };
    add(&mut state, &later);
    assert_eq!((state.standing(first), state.standing(second)), (None, None));
}

#[test]
fn the_chain_and_the_binding_are_checked() {
    let (mut state, ..) = two();
    let good = request(&state, (40, 41), &[]);
    let other = Binding { sid: "other".into(), ..binding() };
    for bad in [
        Manifest { number: 4, ..good.clone() },
        Manifest { previous: None, ..good.clone() },
        Manifest { previous: Some(Previous { number: 2, sha256: Sha256::of(b"?") }), ..good.clone() },
        Manifest { account: other.clone(), ..good.clone() },
        request(&state, (0, 1), &[]),
        Manifest { account: Binding { name: "b".parse().expect("a name"), ..binding() }, ..good.clone() },
    ] {
        assert_eq!(state.apply(&bad, Sha256::of(b"b")).expect_err("a defect").kind(), ErrorKind::Defect);
    }
    let elsewhere = Manifest { account: other, ..good.clone() };
    assert!(matches!(state.check(&elsewhere), Err(Conflict::OtherAccount { .. })));
    state.apply(&good, Sha256::of(b"g")).expect("the state is unchanged by what it refused");
}

#[test]
fn a_start_is_remembered_and_binds_nothing() {
    let start =
        |state: &LogState, second: i64| Manifest { wanted_from: Some(window(second, second).start()), ..bare(state) };
    let mut state = empty();
    let other = Manifest { account: Binding { sid: "mistyped".into(), ..binding() }, ..start(&state, 50) };
    other.to_bytes().expect("fits its format");
    add(&mut state, &other);
    assert_eq!((state.binding(), state.start()), (None, Some(window(50, 50).start())));
    let good = request(&state, (60, 69), &[]);
    state.apply(&good, Sha256::of(b"b")).expect("another account may follow");
    assert_eq!(state.binding(), Some(&binding()));
    assert_eq!(state.coverage().windows(), [window(60, 69)]);
    for (second, first) in [(40, 40), (45, 40)] {
        let manifest = start(&state, second);
        add(&mut state, &manifest);
        assert_eq!(state.start(), Some(window(first, first).start()), "the earliest counts");
    }
    for odd in [
        Manifest { wanted_from: None, ..start(&state, 1) },
        Manifest { removes: vec![good.id], ..start(&state, 1) },
        Manifest { walk: good.walk.clone(), ..start(&state, 1) },
        Manifest { keep_until: Some(good.created_at), ..start(&state, 1) },
    ] {
        odd.to_bytes().expect_err("more or less than a start");
    }
}

#[test]
fn stops_follow_stops() {
    let (mut state, ..) = two();
    let intent = stop_intent(&state, &["CG1", "CG2"]);
    add(&mut state, &intent);
    let second = stop_intent(&state, &["CG2"]);
    let error = state.apply(&second, Sha256::of(b"s")).expect_err("unsettled");
    assert!(error.to_string().contains("an earlier stop of CG2"), "{error}");
    let foreign = stop_result(&state, &["CG1"]);
    assert!(state.apply(&foreign, Sha256::of(b"f")).is_err(), "of no intent in the log");
    let mut result = stop_result(&state, &["CG1"]);
    result.commits[0].results[0].intent = intent.id;
    let result = add(&mut state, &result);
    assert_eq!(state.stops().pending().keys().collect::<Vec<_>>(), ["CG2"]);
    assert_eq!(state.coverage().windows(), [window(0, 9), window(20, 29)], "stops cover nothing");
    let refused = Err(Conflict::NotLive { commit: result });
    assert_eq!(state.check(&request(&state, (40, 49), &[result])), refused, "a window takes no place of a result");
}

#[test]
fn a_log_of_a_newer_minor_version_is_not_written() {
    let mut state = empty();
    state.writable().expect("empty");
    let newer = Manifest { format: FormatVersion { major: 1, minor: 1 }, ..sample_manifest() };
    state.apply(&newer, Sha256::of(b"x")).expect("read");
    assert_eq!(state.writable().expect_err("refused").kind(), ErrorKind::Lake);
}
