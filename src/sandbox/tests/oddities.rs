//! Every oddity over real HTTP, in every edition that can have it: the raw answer differs as the table says.

mod bench;
mod form;
mod records;
mod rows;

use std::collections::BTreeSet;

use super::at;
use crate::edition::Edition;
use crate::sandbox::*;
use bench::{Asked, Bench};

/// A kind with a value by which it strikes in a small world.
fn small(kind: &OddityKind) -> String {
    let name = kind.name();
    match kind.takes() {
        Takes::Nothing => name.to_owned(),
        Takes::Every(_) => format!("{name}=1"),
        // Clocks must be off by more than what gateways tolerate.
        Takes::Amount(Unit::Seconds, _) => format!("{name}=1000"),
        Takes::Amount(..) => format!("{name}=7"),
        Takes::AmountEvery(..) => format!("{name}=7:1"),
    }
}

/// All that a client can see of some calls: pages, some beyond the end, the first one again, an empty window, a
/// timestamp that is off. One requisition leaves the window before each.
async fn seen(edition: Edition, oddities: &str) -> Vec<String> {
    let bench = Bench::new(edition, 30, oddities);
    bench.sandbox.before_call(|world, info| {
        world.edit(&format!("POA{}", info.nth), |_| ());
    });
    let pages = [0, 1, 2, 3, 4, 0].into_iter().map(|page_no| Asked { page_no, ..Asked::default() });
    let others = [
        Asked { empty: true, ..Asked::default() },
        Asked { seconds_off: 900, ..Asked::default() },
        Asked { number: Some(1), ..Asked::default() },
    ];
    let mut all = Vec::new();
    for asked in pages.chain(others) {
        let answer = bench.call(asked).await;
        all.push(format!("{} {:?} {:?}", answer.status, answer.headers, answer.body));
    }
    all
}

#[tokio::test]
async fn every_kind_changes_answers() {
    for edition in Edition::ALL {
        let plain = seen(edition, "").await;
        assert!(plain == seen(edition, "").await, "without oddities answers are always the same");
        for kind in OddityKind::all().filter(|kind| kind.concerns(edition)) {
            assert!(plain != seen(edition, &small(kind)).await, "{edition}: {}", kind.name());
        }
    }
}

#[tokio::test]
async fn oddities_come_and_go_while_it_runs() {
    for edition in Edition::ALL {
        let bench = Bench::new(edition, 30, "");
        let plain = bench.page(0).await.body;
        bench.sandbox.set_oddities("bom=2,twins=10".parse().expect("oddities")).expect("allowed");
        let odd = bench.page(0).await;
        assert!(odd.body.starts_with("\u{feff}\u{feff}{".as_bytes()));
        assert_eq!(bench.sandbox.world().lock().len(), 33, "a twin for every tenth");
        bench.sandbox.set_oddities(Oddities::default()).expect("allowed");
        let after = bench.page(0).await;
        assert_eq!(after.total(), Some(33), "twins stay: they are requisitions");
        bench.sandbox.set_oddities("twins=10".parse().expect("oddities")).expect("allowed");
        assert_eq!(bench.sandbox.world().lock().len(), 33, "and have no twins of their own, nor second ones");
        assert!(plain.starts_with(b"{"));
    }
    let bench = Bench::new(Edition::Flagship, 1, "");
    let error = bench.sandbox.set_oddities("bom,id-zero".parse().expect("oddities")).expect_err("flagship has no ids");
    assert!(error.message().contains("id-zero"), "{error}");
    assert!(bench.page(0).await.body.starts_with(b"{"), "and nothing changed");
    let behaviour = Behaviour { oddities: "id-zero".parse().expect("oddities"), ..Behaviour::default() };
    assert!(Sandbox::start(Options { edition: Edition::Flagship, behaviour, ..Options::default() }).is_err());
}

#[tokio::test]
async fn a_seed_gives_the_same_odd_answers() {
    let oddities = "unstable-order,id-flickers=2,reading-flickers=3,unreadable-sometimes=5";
    assert_eq!(seen(Edition::Enterprise, oddities).await, seen(Edition::Enterprise, oddities).await);
}

#[tokio::test]
async fn the_journal_tells_what_was_served() {
    for edition in Edition::ALL {
        let bench = Bench::new(edition, 30, "total-high=5,join=1,keyed-lists,unreadable-quote=7");
        bench.page(0).await;
        let call = bench.sandbox.world().calls().pop().expect("a call");
        assert_eq!((call.total, call.rows.len(), call.outcome), (Some(35), 10, Outcome::Answered));
        let distinct: BTreeSet<_> = call.rows.iter().map(|(number, _)| number.clone()).collect();
        assert_eq!(distinct.len(), 5, "each stands there twice");
        let world = bench.sandbox.world().lock();
        assert!(call.rows.iter().all(|(number, modified)| world.journal().ever_held(number, *modified)));
    }
}

#[tokio::test]
async fn several_refusals_take_turns_and_what_is_scripted_goes_first() {
    let bench = Bench::new(Edition::Enterprise, 5, "busy=2,unavailable=2");
    let mut seen = Vec::new();
    for _ in 0..4 {
        let answer = bench.page(0).await;
        seen.push((answer.status, answer.text().contains("purchase_list")));
    }
    assert_eq!(seen, [(503, false), (200, false), (503, false), (200, false)]);
    bench.sandbox.next_faults([None, Some(Fault::Empty)]);
    assert_eq!(bench.page(0).await.total(), Some(5), "a scripted call without a fault has none");
    assert!(bench.page(0).await.body.is_empty());
    let window = crate::time::Window::second(at("2026-05-10 10:00:00"));
    assert_eq!(bench.sandbox.world().lock().window(window).len(), 1);
}
