use super::*;

fn at(seconds: i64) -> BeijingTime {
    BeijingTime::from_unix(1_780_000_000 + seconds).expect("a time")
}

#[test]
fn each_run_begins_with_another_account_where_not_all_begin_at_once() {
    assert_eq!(order_of(3, 64, at(0)), [0, 1, 2]);
    let firsts: std::collections::BTreeSet<usize> =
        (0..400).map(|run| order_of(100, 64, at(run * 86_400))[0]).collect();
    assert!(firsts.len() > 90, "{firsts:?}");
    let order = order_of(100, 64, at(7));
    let mut sorted: Vec<usize> = order.iter().copied().collect();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    assert!(order.iter().zip(order.iter().skip(1)).all(|(one, next)| (one + 1) % 100 == *next), "{order:?}");
}
