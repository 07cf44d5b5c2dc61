//! Totals that are not what the list holds, and lists and pages that hold other rows than they should.

use std::collections::BTreeSet;

use serde_json::Value;

use super::bench::{Asked, Bench};
use crate::edition::Edition;

#[tokio::test]
async fn totals_lie_as_told_and_lists_do_not() {
    let cases = [
        ("total-zero", 0),
        ("total-low", 29),
        ("total-low=3", 27),
        ("total-low=99", 0),
        ("total-high", 31),
        ("total-high=4", 34),
        ("total-half", 15),
        ("total-double", 60),
        ("total-constant", 101),
        ("total-capped=7", 7),
        ("total-capped=70", 30),
        ("total-of-page", 10),
        ("total-of-all", 30),
        ("total-huge", 4_294_967_296),
        ("total-huge=1e18", 1_000_000_000_000_000_000),
        ("total-low,total-double", 58),
    ];
    for edition in Edition::ALL {
        let plain = Bench::new(edition, 30, "").page(0).await;
        for (oddities, total) in cases {
            let bench = Bench::new(edition, 30, oddities);
            let answer = bench.page(0).await;
            assert_eq!((answer.total(), answer.rows()), (Some(total), plain.rows()), "{edition}: {oddities}");
            assert_eq!(bench.page(1).await.total(), None, "{edition}: {oddities}");
            assert_eq!(bench.sandbox.world().calls()[0].total, Some(total), "the journal tells what was said");
        }
    }
}

#[tokio::test]
async fn totals_ignore_the_filter_or_are_not_there() {
    for edition in Edition::ALL {
        let empty = Asked { empty: true, ..Asked::default() };
        for (oddities, total) in [("total-of-all", 30), ("total-constant=5", 5), ("", 0)] {
            assert_eq!(Bench::new(edition, 30, oddities).call(empty).await.total(), Some(total), "{oddities}");
        }
        let answer = Bench::new(edition, 30, "no-total").page(0).await;
        assert_eq!((answer.data().get("total_count"), answer.rows().len()), (None, 10));
        let blank = Bench::new(edition, 30, "total-blank");
        assert_eq!(blank.page(0).await.total(), Some(30));
        assert_eq!(blank.page(1).await.data()["total_count"], "");
        assert_eq!(Bench::new(edition, 30, "no-total,total-blank").page(0).await.data()["total_count"], "");
    }
}

#[tokio::test]
async fn a_stale_total_is_that_of_earlier_calls() {
    for edition in Edition::ALL {
        for (oddities, said) in [("total-stale", [30, 30, 29, 28]), ("total-stale=2", [30, 30, 30, 29])] {
            let bench = Bench::new(edition, 30, oddities);
            let mut totals = Vec::new();
            for (n, held) in (1..).zip([30, 29, 28, 27]) {
                let answer = bench.all().await;
                assert_eq!(answer.rows().len(), held);
                totals.extend(answer.total());
                bench.sandbox.world().lock().edit(&format!("POA{n}"), |_| ());
            }
            assert_eq!(totals, said, "{edition}: {oddities}");
        }
    }
}

async fn numbers(bench: &Bench, page_no: u64) -> Vec<i64> {
    bench.page(page_no).await.numbers()
}

#[tokio::test]
async fn pages_are_shorter_than_asked_for() {
    for edition in Edition::ALL {
        let cap = Bench::new(edition, 30, "page-cap=4");
        assert_eq!((numbers(&cap, 0).await, numbers(&cap, 1).await), (vec![1, 2, 3, 4], vec![5, 6, 7, 8]));
        assert_eq!((numbers(&cap, 7).await, numbers(&cap, 8).await.len()), (vec![29, 30], 0));
        let cut = Bench::new(edition, 30, "page-cut=4");
        assert_eq!((numbers(&cut, 0).await, numbers(&cut, 1).await), (vec![1, 2, 3, 4], vec![11, 12, 13, 14]));
        let capped = Bench::new(edition, 30, "list-capped=12");
        assert_eq!(capped.page(0).await.total(), Some(12));
        assert_eq!((numbers(&capped, 1).await, numbers(&capped, 2).await.len()), (vec![11, 12], 0));
        let overlap = Bench::new(edition, 30, "page-overlap=2");
        assert_eq!((numbers(&overlap, 0).await.len(), numbers(&overlap, 1).await[..3].to_vec()), (10, vec![9, 10, 11]));
    }
}

#[tokio::test]
async fn a_join_gives_rows_twice_and_cuts_others_off() {
    for edition in Edition::ALL {
        let answer = Bench::new(edition, 30, "join=1").all().await;
        let numbers = answer.numbers();
        assert_eq!((answer.total(), numbers.len()), (Some(30), 30));
        assert_eq!((&numbers[..4], numbers[29]), (&[1, 1, 2, 2][..], 15));
        // A A B for a total of 3, told by the list of whom it strikes.
        let bench = Bench::new(edition, 3, "join=3");
        let oddities = bench.sandbox.oddities();
        let twice: Vec<_> = (1..=3).filter(|id| oddities.touch("join", *id)).collect();
        let expected: Vec<_> =
            (1..=3).flat_map(|id| vec![id; if twice.contains(&id) { 2 } else { 1 }]).take(3).collect();
        let answer = bench.all().await;
        assert_eq!((twice.len(), answer.total(), answer.numbers()), (1, Some(3), expected));
        let answer = Bench::new(edition, 30, "duplicates=10").all().await;
        let distinct: BTreeSet<_> = answer.numbers().into_iter().collect();
        assert_eq!((answer.total(), answer.rows().len(), distinct.len()), (Some(30), 33, 30));
    }
}

#[tokio::test]
async fn beyond_the_end_comes_what_should_not() {
    for edition in Edition::ALL {
        for (oddity, again) in [("beyond-last", 2), ("beyond-first", 0)] {
            let bench = Bench::new(edition, 25, oddity);
            let beyond = [numbers(&bench, 3).await, numbers(&bench, 99).await];
            assert_eq!(beyond, [numbers(&bench, again).await, numbers(&bench, again).await], "{edition}: {oddity}");
            let empty = bench.call(Asked { empty: true, page_no: 1, ..Asked::default() }).await;
            assert!(empty.rows().is_empty(), "where there is nothing there is nothing to repeat");
        }
        let bench = Bench::new(edition, 20, "beyond-no-list");
        assert!(bench.page(2).await.list().is_none() && bench.page(1).await.list().is_some());
        assert_eq!(bench.call(Asked { empty: true, ..Asked::default() }).await.list(), Some(Value::Array(vec![])));
        let bench = Bench::new(edition, 25, "page-no-ignored");
        assert_eq!(numbers(&bench, 2).await, numbers(&bench, 0).await);
        assert_eq!((bench.page(0).await.total(), bench.page(2).await.total()), (Some(25), None));
    }
}

#[tokio::test]
async fn an_unstable_order_holds_every_row() {
    for edition in Edition::ALL {
        let bench = Bench::new(edition, 30, "unstable-order");
        let (one, other) = (bench.all().await.numbers(), bench.all().await.numbers());
        assert_ne!(one, other);
        assert_eq!(one.into_iter().collect::<BTreeSet<_>>(), (1..=30).collect());
    }
}
