//! How oddities are written and read, and whom they strike. What they do to answers is tried in
//! `sandbox/tests/oddities.rs`.

use std::collections::BTreeSet;

use super::*;

fn read(text: &str) -> Oddities {
    text.parse().expect("oddities")
}

#[test]
fn every_kind_is_read_as_it_is_written_and_stands_in_the_table() {
    let table = Oddities::table();
    let mut names = BTreeSet::new();
    for kind in OddityKind::all() {
        assert!(names.insert(kind.name()), "{} is there twice", kind.name());
        let plain: Oddity = kind.name().parse().expect("its name alone");
        assert_eq!((plain.kind(), plain.to_string().parse().ok()), (kind, Some(plain)));
        let line = table.lines().find(|line| line.trim_start().split(['[', ' ']).next() == Some(kind.name()));
        assert!(line.is_some_and(|line| line.contains(kind.does())), "{}: {line:?}", kind.name());
    }
    assert_eq!(read(" busy=3, bom ,total-huge=1e18").to_string(), "busy=3,bom=1,total-huge=1000000000000000000");
    assert!(read("").is_empty());
}

#[test]
fn values_are_read_by_what_a_kind_takes() {
    for (text, same) in [
        ("large=1MiB:2", "large=1048576:2"),
        ("large=7", "large=7:50"),
        ("total-constant=2e3", "total-constant=2000"),
        ("twins", "twins=50"),
    ] {
        assert_eq!(read(text).to_string(), same);
    }
    for wrong in [
        "total-zero=1",
        "busy=0",
        "busy=often",
        "busy=",
        "busy=2:2",
        "date-ahead=-1",
        "date-ahead=8h",
        "large=1MiB:0",
        "large=MiB",
        "total-huge=1e40",
        "large=99999999999GiB",
        "bom=2MiB",
    ] {
        let error = wrong.parse::<Oddities>().expect_err(wrong);
        let name = wrong.split('=').next().expect("a name");
        assert!(error.hint_text().is_some_and(|hint| hint.contains(name)), "{wrong}: {error}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let error = "total-hihg".parse::<Oddities>().expect_err("no such oddity");
    let hint = error.hint_text().expect("a hint");
    assert!(hint.contains("did you mean `total-high`?"), "{hint}");
    assert!(OddityKind::all().all(|kind| hint.contains(kind.name())), "{hint}");
    let error = "xyzzy".parse::<Oddities>().expect_err("nothing is like it");
    assert!(error.hint_text().is_some_and(|hint| !hint.contains("did you mean") && hint.contains("busy")));
}

#[test]
fn every_nth_is_struck_and_each_kind_strikes_others() {
    let struck = |name: &str, oddities: &str| -> Vec<i64> {
        let oddities = read(oddities);
        (100..160).filter(|id| oddities.touch(name, *id)).collect()
    };
    assert_eq!(struck("broken", "broken=20").len(), 3);
    assert_eq!(struck("broken", "broken=1").len(), 60);
    assert_ne!(struck("broken", "broken=20"), struck("large", "large=1:20"));
    assert!(struck("broken", "large=1:20").is_empty());
}

#[test]
fn flagship_has_no_oddity_of_what_it_never_sends() {
    let (theirs, none): (Vec<_>, Vec<_>) = OddityKind::all().partition(|kind| kind.concerns(Edition::Flagship));
    assert!(theirs.len() > 10 * none.len());
    for kind in none {
        let oddities = read(kind.name());
        assert!(oddities.check(Edition::Flagship).is_err(), "{}", kind.name());
        assert!(oddities.check(Edition::Y).is_ok() && oddities.check(Edition::Enterprise).is_ok());
    }
}
