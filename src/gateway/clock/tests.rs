use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;

/// 2026-10-01 00:00:00 in Beijing, in microseconds.
const TRUE_START: i64 = 1_790_784_000 * SECOND;
const DAY: i64 = 86_400;

/// A machine in a world whose true time passes only when told.
#[derive(Default)]
struct Machine {
    true_passed: AtomicI64,
    /// How far its clock is ahead.
    wall_ahead: AtomicI64,
    /// How much its monotonic clock has gained.
    gained: AtomicI64,
}

impl Machine {
    fn ahead(seconds: i64) -> Arc<Self> {
        let machine = Self::default();
        machine.wall_ahead.store(seconds * SECOND, Relaxed);
        Arc::new(machine)
    }

    /// The true time, in microseconds.
    fn truth(&self) -> i64 {
        TRUE_START + self.true_passed.load(Relaxed)
    }

    /// Lets time pass, by a monotonic clock that is wrong by so many millionths.
    fn pass(&self, micros: i64, ppm: i64) {
        self.true_passed.fetch_add(micros, Relaxed);
        self.gained.fetch_add(micros / 1_000_000 * ppm, Relaxed);
    }
}

impl Clock for Machine {
    fn now_micros(&self) -> i64 {
        self.truth() + self.wall_ahead.load(Relaxed)
    }

    fn monotonic_micros(&self) -> i64 {
        self.true_passed.load(Relaxed) + self.gained.load(Relaxed) + 77 * SECOND
    }
}

/// One server behind a balancer: how far ahead its clock is by which it judges, and the one by which it writes `Date`,
/// in seconds.
#[derive(Clone, Copy, Debug)]
struct Node {
    judges: i64,
    writes: Option<i64>,
}

impl Node {
    fn of(ahead: i64) -> Self {
        Self { judges: ahead, writes: Some(ahead) }
    }
}

const TOLERANCE: i64 = 300;

fn clock_of(machine: &Arc<Machine>) -> ServerClock {
    ServerClock::new(Arc::clone(machine) as Arc<dyn Clock>, TOLERANCE)
}

/// One call, signed anew until it is accepted, of which the tries meet one of `nodes` after the other. Gives how many
/// requests it took.
fn call(clock: &ServerClock, machine: &Machine, nodes: &mut impl Iterator<Item = Node>) -> Result<u32, &'static str> {
    let mut refusals = ClockRefusals::default();
    for requests in 1.. {
        let (signed, node) = (clock.sign(), nodes.next().expect("a node"));
        machine.pass(SECOND / 20, 0);
        let its = |ahead: i64| BeijingTime::from_micros(machine.truth() + ahead * SECOND);
        let date = node.writes.map(|ahead| clock.see(its(ahead), signed.asked));
        machine.pass(SECOND / 20, 0);
        if (its(node.judges).unix() - signed.timestamp.unix()).abs() <= TOLERANCE {
            clock.accepted(signed);
            return Ok(requests);
        }
        let wait = clock.refused(signed, date, &mut refusals)?;
        machine.pass(i64::try_from(wait.as_micros()).expect("short"), 0);
    }
    unreachable!("the refusals of a call are limited")
}

/// How many seconds the certain time of now is ahead of the true one.
fn ahead_by(clock: &ServerClock, machine: &Machine) -> i64 {
    let reached = clock.reached_at(clock.moment()).expect("something was accepted");
    reached.unix() - BeijingTime::from_micros(machine.truth()).unix()
}

#[test]
fn the_certain_time_is_the_least_that_both_witnesses_allow() {
    // The machine's clock, that of the `Date`, and what comes of them.
    for (own, date, expected) in [
        (0, Some(0), 0),
        (-20, Some(0), -20),
        (20, Some(-30), -30),
        (298, Some(299), 298),
        (-10, Some(290), -10),
        // Not believed: further ahead than what was accepted allows.
        (-10, Some(293), -310),
        (0, Some(DAY), -300),
        (0, Some(8 * 3_600), -300),
        (0, None, -300),
        (298, None, -2),
        // Behind it counts, however far.
        (0, Some(-299), -299),
        (0, Some(-DAY), -DAY),
        (0, Some(-2 * 365 * DAY), -2 * 365 * DAY),
    ] {
        let machine = Machine::ahead(own);
        let clock = clock_of(&machine);
        assert_eq!(clock.reached(), None, "nothing is known before an answer");
        call(&clock, &machine, &mut std::iter::repeat(Node { judges: 0, writes: date })).expect("accepted");
        let ahead = ahead_by(&clock, &machine);
        assert!((expected - 1..=expected).contains(&ahead), "{own} {date:?}: {ahead}, not {expected}");
    }
}

#[test]
fn impossible_dates_overflow_nothing_and_are_told_once() {
    let at = |text| BeijingTime::parse(text).expect("a time");
    let machine = Machine::ahead(0);
    let clock = clock_of(&machine);
    let last = BeijingTime::from_micros(i64::MAX);
    for said in [last, at("9999-12-31 23:59:59"), last] {
        let signed = clock.sign();
        clock.see(said, signed.asked);
        clock.accepted(signed);
    }
    assert_eq!(ahead_by(&clock, &machine), -TOLERANCE);
    let told = clock.warnings();
    assert!(
        told.len() == 1 && told[0].english().contains("9999-12-31 23:59:59") && told[0].english().contains("ahead"),
        "{told:?}"
    );
    let first = BeijingTime::from_micros(i64::MIN);
    for said in [first, at("0001-01-01 00:00:00"), at("1970-01-01 08:00:00")] {
        clock.see(said, clock.sign().asked);
    }
    assert_eq!(clock.reached(), Some(first));
    let told = clock.warnings();
    assert!(
        told.len() == 2 && told[1].english().contains("0001-01-01 00:00:00") && told[1].english().contains("behind"),
        "{told:?}"
    );
    assert!(clock.reached_but_for_date().is_some_and(|time| time > at("2026-09-30 23:59:00")));
}

#[test]
fn a_date_within_the_tolerance_is_worth_no_warning() {
    for date in [-299, -120, 0, 120, 299] {
        let machine = Machine::ahead(0);
        let clock = clock_of(&machine);
        call(&clock, &machine, &mut std::iter::repeat(Node { judges: 0, writes: Some(date) })).expect("accepted");
        assert_eq!((clock.warnings(), clock.reached_but_for_date()), (vec![], None), "{date}");
    }
}

#[test]
fn a_timestamp_that_is_signed_once_is_no_date_outside_the_tolerance() {
    for (own, date, expected) in [
        (0, Some(0), 0),
        (-100, Some(0), 0),
        (100, Some(0), 0),
        (0, Some(290), 290),
        (10, Some(DAY), 10),
        (10, Some(-DAY), 10),
        (10, None, 10),
    ] {
        let machine = Machine::ahead(own);
        let clock = clock_of(&machine);
        call(&clock, &machine, &mut std::iter::repeat(Node { judges: 0, writes: date })).expect("accepted");
        let timestamp = clock.fresh_timestamp().expect("accepted").unix();
        let ahead = timestamp - BeijingTime::from_micros(machine.truth()).unix();
        assert!((expected - 1..=expected).contains(&ahead), "{own} {date:?}: {ahead}, not {expected}");
    }
}

#[test]
fn a_clock_that_is_off_costs_one_refusal_and_one_that_is_set_later_none() {
    for (own, first) in [(0, 1), (-600, 2), (600, 2), (-DAY, 2), (400 * DAY, 2)] {
        let machine = Machine::ahead(own);
        let clock = clock_of(&machine);
        let mut right = std::iter::repeat(Node::of(0));
        assert_eq!(call(&clock, &machine, &mut right), Ok(first), "{own}");
        for step in [0, 3 * 3_600, -3 * 3_600, 7] {
            machine.wall_ahead.store(step * SECOND, Relaxed);
            assert_eq!(call(&clock, &machine, &mut right), Ok(1), "{own}, set by {step}");
        }
        assert!((-2..=0).contains(&ahead_by(&clock, &machine)), "{own}");
    }
}

/// A machine that slept: its monotonic clock stood, and the first offset does not hold any more.
#[test]
fn an_offset_that_has_changed_is_learnt_again_as_often_as_it_changes() {
    let machine = Machine::ahead(0);
    let clock = clock_of(&machine);
    for writes in [Some(0), None] {
        let mut right = std::iter::repeat(Node { judges: 0, writes });
        assert_eq!(call(&clock, &machine, &mut right), Ok(1));
        for slept in [4_000, 9_000] {
            machine.pass(slept * SECOND, -1_000_000);
            assert_eq!(call(&clock, &machine, &mut right), Ok(3), "one repeated as it was, one signed anew");
            assert_eq!(call(&clock, &machine, &mut right), Ok(1));
        }
        assert!(ahead_by(&clock, &machine) <= 0);
    }
}

#[test]
fn a_permanent_contradiction_ends_after_few_requests() {
    // It refuses everything, and its `Date` is the timestamp itself; or it sends none, or one that nobody can follow.
    for (writes, own, most) in [(Some(0), 0, 2), (Some(0), 900, 3), (None, 0, 2), (None, 900, 2), (Some(DAY), 0, 3)] {
        let machine = Machine::ahead(own);
        let clock = clock_of(&machine);
        let mut asked = 0;
        let mut never = std::iter::repeat(Node { judges: 400 * DAY, writes }).inspect(|_| asked += 1);
        let refused = call(&clock, &machine, &mut never).expect_err("refused for good");
        assert!(!refused.is_empty() && asked <= most, "{writes:?} {own}: {asked} requests: {refused}");
    }
}

/// Two servers behind one address, one of them a day off: each call is answered in the end, and what is covered is
/// right.
#[test]
fn a_balancer_of_clocks_that_are_days_apart_is_survived() {
    let right = Node::of(0);
    for off in [DAY, -DAY, 3_600, -400, 400 * DAY] {
        let wrong = Node::of(off);
        let proxied = Node { judges: off, writes: Some(0) };
        let turns: [Vec<Node>; 6] = [
            vec![right, wrong],
            vec![right, right, wrong],
            vec![right, wrong, wrong],
            [vec![right; 5], vec![wrong; 9]].concat(),
            vec![right, proxied],
            vec![right, right, proxied],
        ];
        for nodes in turns {
            let machine = Machine::ahead(0);
            let clock = clock_of(&machine);
            let mut nodes = nodes.iter().copied().cycle();
            for _ in 0..40 {
                let requests = call(&clock, &machine, &mut nodes).expect("answered in the end");
                assert!(requests <= 8, "{off}: {requests} requests for a call");
                assert!(ahead_by(&clock, &machine) <= 0, "{off}");
            }
        }
        // The wrong one is met first, and its time is believed until the right one is met.
        let machine = Machine::ahead(0);
        let clock = clock_of(&machine);
        let mut nodes = [wrong, right].into_iter().cycle();
        for _ in 0..40 {
            call(&clock, &machine, &mut nodes).expect("answered in the end");
            assert!(ahead_by(&clock, &machine) <= 0, "{off}");
        }
    }
}

proptest! {
    /// Whatever the clocks: with one witness that is right, nothing is taken for past that is not; with none, but a server that judges
    /// rightly, nothing that is more than the tolerance ahead.
    #[test]
    fn no_clock_makes_the_future_certain(
        own in prop_oneof![-400_i64..=400, -3 * DAY..3 * DAY],
        dates in prop::collection::vec(prop_oneof![Just(None), (-400_i64..=400).prop_map(Some), (-3 * DAY..3 * DAY).prop_map(Some)], 1..4),
        ppm in -500_i64..=500,
        walks in prop::collection::vec((0_i64..20_000, prop::collection::vec((0_usize..4, 0_i64..30_000_000), 1..6)), 1..8),
        steps in prop::collection::vec(-100_000_i64..100_000, 8),
        right_date in any::<bool>(),
    ) {
        let machine = Machine::ahead(own);
        let clock = clock_of(&machine);
        let mut passed = 0;
        for ((pause, calls), step) in walks.into_iter().zip(steps) {
            machine.pass(pause * SECOND, ppm);
            passed += pause;
            let begun = clock.moment();
            for (at, (node, latency)) in calls.into_iter().enumerate() {
                // The first answer of a walk has the right time, where one has.
                let writes = if right_date && at == 0 { Some(0) } else { dates[node % dates.len()] };
                machine.pass(latency, ppm);
                passed += latency / SECOND + 4;
                prop_assume!(call(&clock, &machine, &mut std::iter::repeat(Node { judges: 0, writes })).is_ok());
                machine.wall_ahead.store(step * SECOND, Relaxed);
            }
            let reached = clock.reached_at(begun).expect("accepted");
            let ahead = reached.unix() - BeijingTime::from_micros(machine.truth()).unix();
            // What the monotonic clock gains between two answers that tell the time.
            let gain = passed * 500 / 1_000_000 + 1;
            let allowed = if right_date { 0 } else { TOLERANCE + gain };
            prop_assert!(ahead <= allowed, "{ahead} s ahead, {allowed} allowed");
        }
    }
}
