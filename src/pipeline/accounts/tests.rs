use super::*;
use crate::edition::Edition;

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

fn order(calls: CallPolicy) -> SyncRequest {
    let account = AccountSettings {
        name: "acme".parse().expect("a name"),
        edition: Edition::Enterprise,
        sid: "acme".to_owned(),
        appkey: "acme".to_owned(),
        secret: crate::config::Secret::new("s3cret"),
        base_url: "http://127.0.0.1:1/".parse().expect("a URL"),
    };
    SyncRequest { account, options: SyncOptions { calls, ..SyncOptions::default() }, meter: Meter::default() }
}

#[test]
fn of_a_shared_limit_the_least_counts_for_all_together() {
    let calls = |limit: Option<&str>, calls_per_minute, concurrency| CallPolicy {
        limit: limit.map(str::to_owned),
        calls_per_minute,
        concurrency,
        ..CallPolicy::default()
    };
    let all = [calls(Some("a"), 0, 4), calls(Some("a"), 60, 8), calls(Some("a"), 30, 2), calls(Some("b"), 0, 1)];
    let orders: Vec<SyncRequest> = all.iter().cloned().chain([calls(None, 7, 3)]).map(order).collect();
    let division = Division::of(64 << 20, 5).expect("enough");
    let resources = RunResources::of_many(&orders, division).expect("resources");
    let counts = |asked: &CallPolicy| {
        let counted = resources.calls(asked);
        (counted.calls_per_minute, counted.concurrency)
    };
    assert_eq!(all.iter().map(counts).collect::<Vec<_>>(), [(30, 2), (30, 2), (30, 2), (0, 1)]);
    assert_eq!(counts(&calls(None, 7, 3)), (7, 3));
}
