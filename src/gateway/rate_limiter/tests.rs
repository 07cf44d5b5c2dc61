use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// Runs `workers` that each call as fast as `limiter` lets them, until `calls` are answered; returns when each call was
/// sent.
async fn run(limiter: Arc<RateLimiter>, workers: usize, calls: usize, answer_after: Duration) -> Vec<Instant> {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..workers)
        .map(|_| {
            let (limiter, sent) = (Arc::clone(&limiter), Arc::clone(&sent));
            tokio::spawn(async move {
                loop {
                    let permit = limiter.permit().await;
                    {
                        let mut sent = sent.lock().expect("lock");
                        if sent.len() >= calls {
                            return;
                        }
                        sent.push(Instant::now());
                    }
                    tokio::time::sleep(answer_after).await;
                    permit.answered();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("worker");
    }
    sent.lock().expect("lock").clone()
}

#[tokio::test(start_paused = true)]
async fn no_sixty_seconds_hold_more_requests_than_the_limit() {
    let sent = run(Arc::new(RateLimiter::new(7, 3)), 5, 50, Duration::from_millis(400)).await;
    for (i, first) in sent.iter().enumerate() {
        let within = sent[i..].iter().take_while(|then| then.duration_since(*first) <= MINUTE).count();
        assert!(within <= 7, "{within} calls within a minute of call {i}");
    }
    let spent = sent[49].duration_since(sent[0]);
    assert!(spent < MINUTE * 8, "50 calls at 7 a minute took {spent:?}: the limit is used up, not merely kept");
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_waits_for_nobody() {
    let sent = run(Arc::new(RateLimiter::new(0, 2)), 4, 500, Duration::ZERO).await;
    assert_eq!(sent[499].duration_since(sent[0]), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_rests_everybody_and_teaches_the_limit() {
    let limiter = Arc::new(RateLimiter::new(60, 4));
    for _ in 0..20 {
        let permit = limiter.permit().await;
        permit.answered();
        tokio::time::sleep(Duration::from_millis(3_050)).await;
    }
    let permit = limiter.permit().await;
    let before = Instant::now();
    let rest = permit.refused(Limit::PerMinute);
    assert!(rest >= Duration::from_secs(2), "{rest:?}");
    let learned = limiter.state().limits.per_minute.expect("a limit");
    assert!((19..=20).contains(&learned), "{learned}");
    let _permit = limiter.permit().await;
    assert!(Instant::now() - before >= rest);
}

/// A server that lets in `limit` calls within any sixty seconds and `at_once` at a time, in virtual time.
async fn against(limit: usize, at_once: usize, limiter: RateLimiter, calls: usize) -> (usize, usize) {
    #[derive(Default)]
    struct Server {
        let_in: Vec<Instant>,
        inside: usize,
        refused: usize,
    }
    let (limiter, server) = (Arc::new(limiter), Arc::new(Mutex::new(Server::default())));
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (limiter, server) = (Arc::clone(&limiter), Arc::clone(&server));
            tokio::spawn(async move {
                loop {
                    let permit = limiter.permit().await;
                    let now = Instant::now();
                    let refusal = {
                        let mut server = server.lock().expect("lock");
                        if server.let_in.len() >= calls {
                            return;
                        }
                        let recent = server.let_in.iter().filter(|then| now.duration_since(**then) < MINUTE).count();
                        let refusal = match () {
                            () if server.inside >= at_once => Some(Limit::InFlight),
                            () if recent >= limit => Some(Limit::PerMinute),
                            () => None,
                        };
                        server.refused += usize::from(refusal.is_some());
                        if refusal.is_none() {
                            server.let_in.push(now);
                            server.inside += 1;
                        }
                        refusal
                    };
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    match refusal {
                        Some(limit) => drop(permit.refused(limit)),
                        None => {
                            server.lock().expect("lock").inside -= 1;
                            permit.answered();
                        }
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("worker");
    }
    let server = server.lock().expect("lock");
    (server.let_in.len(), server.refused)
}

#[tokio::test(start_paused = true)]
async fn an_unknown_lower_limit_refuses_less_than_a_third() {
    for (limit, at_once) in [(60, 8), (20, 8), (30, 2), (60, 1), (7, 3)] {
        let before = Instant::now();
        let (answered, refused) = against(limit, at_once, RateLimiter::new(60, 4), 150).await;
        let spent = Instant::now() - before;
        let fastest = MINUTE * u32::try_from(150 / limit).expect("small");
        assert!(spent <= fastest * 2 + MINUTE * 3, "limit {limit}: {spent:?}, at best {fastest:?}");
        println!("limit {limit} a minute, {at_once} at once: {refused} refused beside {answered}");
        assert!(refused * 2 < answered, "limit {limit}, {at_once} at once: {refused} of {}", answered + refused);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_others_before_the_run_teach_nothing_and_a_quiet_minute_gives_back() {
    let limiter = RateLimiter::new(60, 4);
    let permit = limiter.permit().await;
    permit.refused(Limit::PerMinute);
    assert_eq!(limiter.state().limits.per_minute, Some(60), "the first call of a run was refused for what others did");
    let permit = limiter.permit().await;
    permit.refused(Limit::InFlight);
    assert_eq!(limiter.state().limits.in_flight, 3);
    for _ in 0..2 {
        let permit = limiter.permit().await;
        tokio::time::sleep(MINUTE + Duration::from_secs(1)).await;
        permit.answered();
    }
    assert_eq!(limiter.state().limits.in_flight, 4);
}

/// A server that lets in three calls in any two seconds, and says only that it is busy.
#[tokio::test(start_paused = true)]
async fn a_limit_that_is_not_named_is_met_by_resting_and_by_fewer_requests_in_flight() {
    let (limiter, let_in) = (Arc::new(RateLimiter::new(60, 4)), Arc::new(Mutex::new(Vec::<Instant>::new())));
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (limiter, let_in) = (Arc::clone(&limiter), Arc::clone(&let_in));
            tokio::spawn(async move {
                let (mut done, mut refused, mut worst) = (0, 0_u32, 0);
                while done < 5 {
                    let permit = if refused == 0 { limiter.permit().await } else { limiter.permit_again().await };
                    let now = Instant::now();
                    let is_let_in = {
                        let mut let_in = let_in.lock().expect("lock");
                        let_in.retain(|then| now.duration_since(*then) < Duration::from_secs(2));
                        let is_let_in = let_in.len() < 3;
                        if is_let_in {
                            let_in.push(now);
                        }
                        is_let_in
                    };
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    if is_let_in {
                        permit.answered();
                        (done, refused) = (done + 1, 0);
                    } else {
                        refused += 1;
                        worst = worst.max(refused);
                        let rest = permit.refused(Limit::Unnamed(Duration::from_secs(1 << (refused - 1))));
                        tokio::time::sleep(rest).await;
                    }
                }
                worst
            })
        })
        .collect();
    for worker in workers {
        let worst = worker.await.expect("worker");
        assert!(worst < 5, "a call was refused {worst} times in a row: a query with unknown words would be given up");
    }
    assert_eq!(limiter.state().limits.in_flight, 1);
}

#[tokio::test(start_paused = true)]
async fn rests_are_the_documented_ones() {
    let limiter = RateLimiter::new(60, 4);
    assert_eq!(limiter.permit().await.refused(Limit::InFlight), Duration::from_secs(2));
    let limiter = RateLimiter::new(60, 4);
    for seconds in [4, 8, 16, 32, 64, 128, 256, 300, 300] {
        assert_eq!(limiter.permit().await.refused(Limit::PerMinute), Duration::from_secs(seconds));
    }
    let page = include_str!("../../../docs/gateway.md");
    let rests =
        "at least 2 s for concurrency; for rate at least 4 s, doubled with each further one\nin a row up to 5 minutes";
    assert!(page.contains(rests), "docs/gateway.md should say: {rests}");
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_refused_together_take_one_place_away() {
    let limiter = RateLimiter::new(60, 4);
    let permits = [limiter.permit().await, limiter.permit().await, limiter.permit().await];
    for permit in permits {
        let rest = permit.refused(Limit::Unnamed(Duration::from_secs(7)));
        assert_eq!(rest, Duration::from_secs(7));
    }
    assert_eq!(limiter.state().limits.in_flight, 3);
    let before = Instant::now();
    let permit = limiter.permit().await;
    assert_eq!(Instant::now() - before, Duration::from_secs(7) + YIELD, "everybody rests");
    drop(permit);
    let refused = limiter.permit().await.refused(Limit::Unnamed(Duration::from_secs(7)));
    let before = Instant::now();
    drop(limiter.permit_again().await);
    assert_eq!(Instant::now() - before, refused, "whoever was refused comes first");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_waits_for_counts_for_a_minute() {
    let limiter = RateLimiter::new(1, 1);
    let before = Instant::now();
    drop(limiter.permit().await);
    drop(limiter.permit().await);
    assert!(Instant::now() - before >= MINUTE);
}

#[tokio::test(start_paused = true)]
async fn permits_leave_no_task_behind() {
    let limiter = RateLimiter::new(3, 3);
    for _ in 0..7 {
        drop(limiter.permit().await);
    }
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_no_longer_waits_leaves_the_place_to_the_next() {
    let limiter = RateLimiter::new(1, 1);
    let begun = Instant::now();
    drop(limiter.permit().await);
    let order = Mutex::new(Vec::new());
    let wait = async |name, patience| {
        if let Ok(permit) = tokio::time::timeout(patience, limiter.permit()).await {
            order.lock().expect("lock").push((name, begun.elapsed()));
            permit.answered();
        }
    };
    let (short, long) = (Duration::from_secs(10), Duration::from_secs(86_400));
    tokio::join!(wait("a", short), wait("b", long), wait("c", short), wait("d", long), wait("e", long));
    assert_eq!(*order.lock().expect("lock"), [("b", MINUTE), ("d", MINUTE * 2), ("e", MINUTE * 3)]);
}

/// A request that somebody makes; times are milliseconds.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// After the one before it.
    later: u64,
    patience: u64,
    takes: u64,
    is_answered: bool,
    is_retry: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
struct Made {
    wanted_at: u64,
    is_retry: bool,
    sent_and_ended: Option<(u64, u64)>,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let later = prop_oneof![Just(0_u64), 0..2_000_u64, 0..40_000_u64];
    let takes = prop_oneof![Just(0_u64), 0..1_000_u64, 0..90_000_u64];
    (later, 0..400_000_u64, takes, any::<bool>(), any::<bool>()).prop_map(
        |(later, patience, takes, is_answered, is_retry)| Wanted { later, patience, takes, is_answered, is_retry },
    )
}

async fn make(limiter: Arc<RateLimiter>, begun: Instant, wanted_at: u64, wanted: Wanted) -> Made {
    let now = || u64::try_from(begun.elapsed().as_millis()).expect("small");
    tokio::time::sleep_until(begun + Duration::from_millis(wanted_at)).await;
    let permit = async { if wanted.is_retry { limiter.permit_again().await } else { limiter.permit().await } };
    let sent_and_ended = match tokio::time::timeout(Duration::from_millis(wanted.patience), permit).await {
        Ok(permit) => {
            let sent = now();
            tokio::time::sleep(Duration::from_millis(wanted.takes)).await;
            if wanted.is_answered {
                permit.answered()
            } else {
                drop(permit)
            }
            Some((sent, now()))
        }
        Err(_) => None,
    };
    Made { wanted_at, is_retry: wanted.is_retry, sent_and_ended }
}

/// Makes all requests, each in a task of its own.
fn made(limiter: RateLimiter, all: &[Wanted]) -> Vec<Made> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let (limiter, begun, mut at) = (Arc::new(limiter), Instant::now(), 0);
        let mut tasks = Vec::new();
        for wanted in all {
            at += wanted.later;
            tasks.push(tokio::spawn(make(Arc::clone(&limiter), begun, at, *wanted)));
        }
        let mut made = Vec::new();
        for task in tasks {
            // Somebody who is never woken would wait for ever.
            let ended = tokio::time::timeout(Duration::from_secs(30 * 86_400), task).await;
            made.push(ended.expect("an end").expect("no panic"));
        }
        made
    })
}

proptest! {
    /// The oracle counts in what was made, and knows neither lines nor notes.
    #[test]
    fn permits_keep_the_limits_and_the_order_and_wait_for_nothing_else(
        per_minute in 0_u32..8,
        in_flight in 1_u32..5,
        all in prop::collection::vec(wanted(), 1..60),
    ) {
        let made = made(RateLimiter::new(per_minute, in_flight), &all);
        let count = |counts: &dyn Fn(u64, u64) -> bool| {
            made.iter().filter_map(|made| made.sent_and_ended).filter(|(sent, ended)| counts(*sent, *ended)).count()
        };
        let (minute, none) = (60_000, per_minute == 0);
        for one in &made {
            let Some((sent, _)) = one.sent_and_ended else { continue };
            // Those that are sent at the same moment count, and those that ended at it do not.
            let at_once = count(&|begun, ended| begun <= sent && sent < ended);
            prop_assert!(at_once <= in_flight as usize, "{at_once} in flight at {sent}");
            let sent_within = count(&|begun, _| begun <= sent && sent - begun < minute);
            prop_assert!(none || sent_within <= per_minute as usize, "{sent_within} in the minute before {sent}");
            let is_behind = |other: &&Made| other.is_retry == one.is_retry && other.wanted_at > one.wanted_at;
            let is_sent_before = |other: &Made| other.sent_and_ended.is_some_and(|(at, _)| at < sent);
            let overtaken = made.iter().filter(is_behind).any(is_sent_before);
            prop_assert!(!overtaken, "{one:?} was overtaken");
            if one.wanted_at < sent {
                let before = sent - 1;
                let is_full = count(&|begun, ended| begun <= before && before < ended) >= in_flight as usize;
                let in_minute = count(&|begun, ended| begun <= before && before < ended + minute);
                prop_assert!(is_full || !none && in_minute >= per_minute as usize, "{one:?} waited for nothing");
            }
        }
    }
}
