//! The budget of calls: a true sliding minute and a limit of calls at once, shared by all workers of an account and method.
//!
//! A call takes one of `calls_per_minute` places before it is sent and gives it back sixty seconds after its answer arrived. The server
//! counted the call before it answered, so in no sixty seconds, by the server's count or ours, are there more calls than places;
//! delays on the way cannot push two minutes together. A refusal shows that the server's limit is lower than the budget: the pace
//! then rests, and learns it when the refused minute was the run's own: calls of others before the run say nothing of the limit. What was
//! taken away comes back, one place a quiet minute.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// The shortest rest after a rate refusal; it doubles with each further one in a row.
const SHORTEST_REST: Duration = Duration::from_secs(2);
/// How long after a rest new calls leave the way to those that were refused.
const YIELD: Duration = Duration::from_millis(100);
/// The longest rest. The vendor says to rest 5 to 10 minutes if the refusals persist.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// The shared budget of one account and method.
#[derive(Debug)]
pub(super) struct Pace {
    minute: Option<Arc<Semaphore>>,
    at_once: Arc<Semaphore>,
    /// Places in a minute and at once, as the user set them.
    budget: (usize, usize),
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Nobody calls before this moment.
    resting_until: Option<Instant>,
    /// Rate refusals since the last answer.
    refusals: u32,
    /// When the calls of the last minute were answered.
    answered: VecDeque<Instant>,
    /// When the first call was answered or refused.
    began: Option<Instant>,
    /// When the budget last changed.
    changed: Option<Instant>,
    places: usize,
    /// Places of the minute that are in use and do not come back.
    surplus: usize,
    places_at_once: usize,
}

/// The right to make one call; tell [`Pace::answered`] or [`Pace::refused`] how it went, or drop it.
#[derive(Debug)]
pub(super) struct Turn {
    minute: Option<OwnedSemaphorePermit>,
    at_once: Option<OwnedSemaphorePermit>,
    state: Arc<Mutex<State>>,
}

impl Drop for Turn {
    /// However a call ended, even when nobody waits for it any more, its place in the minute comes back sixty seconds later.
    fn drop(&mut self) {
        let (Some(place), Ok(runtime)) = (self.minute.take(), tokio::runtime::Handle::try_current()) else { return };
        let state = Arc::clone(&self.state);
        runtime.spawn(async move {
            tokio::time::sleep(MINUTE).await;
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.surplus > 0 {
                state.surplus -= 1;
                place.forget();
            }
        });
    }
}

/// Which limit of the server a refusal spoke of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    CallsPerMinute,
    CallsAtOnce,
    /// None that it named, or none at all; everybody rests for so long.
    Unnamed(Duration),
}

impl Pace {
    /// `calls_per_minute` 0 means no budget; `concurrency` is at least 1.
    pub(super) fn new(calls_per_minute: u32, concurrency: u32) -> Self {
        let (places, places_at_once) = (calls_per_minute as usize, concurrency.max(1) as usize);
        Self {
            minute: (places > 0).then(|| Arc::new(Semaphore::new(places))),
            at_once: Arc::new(Semaphore::new(places_at_once)),
            budget: (places, places_at_once),
            state: Arc::new(Mutex::new(State { places, places_at_once, ..State::default() })),
        }
    }

    /// Waits for the right to make a call for the first time.
    pub(super) async fn turn(&self) -> Turn {
        self.turn_behind(YIELD).await
    }

    /// Waits for the right to make a call again. After a rest, such calls come before new ones, so that none is refused for ever.
    pub(super) async fn turn_again(&self) -> Turn {
        self.turn_behind(Duration::ZERO).await
    }

    async fn turn_behind(&self, others: Duration) -> Turn {
        // The place at once comes last: whoever waits for the minute must not hold it.
        loop {
            while self.resting_until().is_some() {
                self.rest().await;
                tokio::time::sleep(others).await;
            }
            let minute = match &self.minute {
                Some(places) => Arc::clone(places).acquire_owned().await.ok(),
                None => None,
            };
            let Ok(at_once) = Arc::clone(&self.at_once).acquire_owned().await else { continue };
            if self.resting_until().is_none() {
                return Turn { minute, at_once: Some(at_once), state: Arc::clone(&self.state) };
            }
        }
    }

    /// The call was answered: its place comes back in a minute.
    pub(super) fn answered(&self, turn: Turn) {
        let now = Instant::now();
        {
            let mut state = self.state();
            state.refusals = 0;
            state.began.get_or_insert(now);
            self.grow_back(&mut state, now);
            state.answered.push_back(now);
            while state.answered.front().is_some_and(|then| now.duration_since(*then) > MINUTE) {
                state.answered.pop_front();
            }
        }
        drop(turn);
    }

    /// The call was refused for a limit: everybody rests, and the budget shrinks to what the server took.
    pub(super) fn refused(&self, mut turn: Turn, limit: Limit) -> Duration {
        let now = Instant::now();
        let rest = {
            let mut state = self.state();
            state.began.get_or_insert(now);
            // Calls that were under way together are refused together; they are one refusal.
            let is_first = state.resting_until.is_none_or(|until| until <= now);
            if is_first {
                state.refusals += 1;
            }
            let rest = match limit {
                Limit::CallsPerMinute => {
                    self.shrink_minute(&mut state, now);
                    // A place is free again once the oldest call of the minute is out of the server's sight.
                    let oldest = state.answered.iter().find(|then| now.duration_since(**then) <= MINUTE);
                    let until_free =
                        oldest.map_or(Duration::ZERO, |then| MINUTE.saturating_sub(now.duration_since(*then)));
                    until_free.max(SHORTEST_REST.saturating_mul(1 << state.refusals.min(12)))
                }
                Limit::CallsAtOnce => {
                    Self::shrink_at_once(&mut state, &mut turn, now);
                    SHORTEST_REST
                }
                Limit::Unnamed(rest) => {
                    // Whichever limit it is, both budgets come nearer to it.
                    self.shrink_minute(&mut state, now);
                    if is_first {
                        Self::shrink_at_once(&mut state, &mut turn, now);
                    }
                    rest
                }
            }
            .min(LONGEST_REST);
            let until = now + rest;
            state.resting_until = Some(state.resting_until.map_or(until, |other| other.max(until)));
            rest
        };
        drop(turn);
        rest
    }

    /// Lowers the budget of a minute to what the server took in the last one.
    fn shrink_minute(&self, state: &mut State, now: Instant) {
        let taken = state.answered.iter().filter(|then| now.duration_since(**then) <= MINUTE).count().max(1);
        let is_own_minute = state.began.is_some_and(|began| now.duration_since(began) >= MINUTE);
        if let Some(places) = self.minute.as_ref().filter(|_| is_own_minute && taken < state.places) {
            let unused = places.forget_permits(state.places - taken);
            state.surplus += state.places - taken - unused;
            state.places = taken;
        }
        state.changed = Some(now);
    }

    /// Takes one place at once away, the refused call's own, unless it is the last.
    fn shrink_at_once(state: &mut State, turn: &mut Turn, now: Instant) {
        if state.places_at_once > 1 {
            state.places_at_once -= 1;
            turn.at_once.take().into_iter().for_each(OwnedSemaphorePermit::forget);
        }
        state.changed = Some(now);
    }

    /// Gives one place back after a quiet minute.
    fn grow_back(&self, state: &mut State, now: Instant) {
        if state.changed.is_none_or(|changed| now.duration_since(changed) <= MINUTE) {
            return;
        }
        state.changed = Some(now);
        if let Some(places) = self.minute.as_ref().filter(|_| state.places < self.budget.0) {
            state.places += 1;
            match state.surplus.checked_sub(1) {
                Some(left) => state.surplus = left,
                None => places.add_permits(1),
            }
        }
        if state.places_at_once < self.budget.1 {
            state.places_at_once += 1;
            self.at_once.add_permits(1);
        }
    }

    async fn rest(&self) {
        while let Some(until) = self.resting_until() {
            tokio::time::sleep_until(until).await;
        }
    }

    fn resting_until(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.state();
        if state.resting_until.is_some_and(|until| until <= now) {
            state.resting_until = None;
        }
        state.resting_until
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `workers` that each call as fast as `pace` lets them, until `calls` are answered; returns when each call was sent.
    async fn run(pace: Arc<Pace>, workers: usize, calls: usize, answer_after: Duration) -> Vec<Instant> {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..workers)
            .map(|_| {
                let (pace, sent) = (Arc::clone(&pace), Arc::clone(&sent));
                tokio::spawn(async move {
                    loop {
                        let turn = pace.turn().await;
                        {
                            let mut sent = sent.lock().expect("lock");
                            if sent.len() >= calls {
                                return;
                            }
                            sent.push(Instant::now());
                        }
                        tokio::time::sleep(answer_after).await;
                        pace.answered(turn);
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
    async fn no_sixty_seconds_hold_more_calls_than_the_budget() {
        let sent = run(Arc::new(Pace::new(7, 3)), 5, 50, Duration::from_millis(400)).await;
        for (i, first) in sent.iter().enumerate() {
            let within = sent[i..].iter().take_while(|then| then.duration_since(*first) <= MINUTE).count();
            assert!(within <= 7, "{within} calls within a minute of call {i}");
        }
        let spent = sent[49].duration_since(sent[0]);
        assert!(spent < MINUTE * 8, "50 calls at 7 a minute took {spent:?}: the budget is used up, not merely kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_of_zero_waits_for_nobody() {
        let sent = run(Arc::new(Pace::new(0, 2)), 4, 500, Duration::ZERO).await;
        assert_eq!(sent[499].duration_since(sent[0]), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_rests_everybody_and_teaches_the_limit() {
        let pace = Arc::new(Pace::new(60, 4));
        for _ in 0..20 {
            let turn = pace.turn().await;
            pace.answered(turn);
            tokio::time::sleep(Duration::from_millis(3_050)).await;
        }
        let turn = pace.turn().await;
        let before = Instant::now();
        let rest = pace.refused(turn, Limit::CallsPerMinute);
        assert!(rest >= Duration::from_secs(2), "{rest:?}");
        let learned = pace.state().places;
        assert!((19..=20).contains(&learned), "{learned}");
        let _turn = pace.turn().await;
        assert!(Instant::now() - before >= rest);
    }

    /// A server that lets in `limit` calls within any sixty seconds and `at_once` at a time, in virtual time.
    async fn against(limit: usize, at_once: usize, pace: Pace, calls: usize) -> (usize, usize) {
        #[derive(Default)]
        struct Server {
            let_in: Vec<Instant>,
            inside: usize,
            refused: usize,
        }
        let (pace, server) = (Arc::new(pace), Arc::new(Mutex::new(Server::default())));
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let (pace, server) = (Arc::clone(&pace), Arc::clone(&server));
                tokio::spawn(async move {
                    loop {
                        let turn = pace.turn().await;
                        let now = Instant::now();
                        let refusal = {
                            let mut server = server.lock().expect("lock");
                            if server.let_in.len() >= calls {
                                return;
                            }
                            let recent =
                                server.let_in.iter().filter(|then| now.duration_since(**then) < MINUTE).count();
                            let refusal = match () {
                                () if server.inside >= at_once => Some(Limit::CallsAtOnce),
                                () if recent >= limit => Some(Limit::CallsPerMinute),
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
                            Some(limit) => drop(pace.refused(turn, limit)),
                            None => {
                                server.lock().expect("lock").inside -= 1;
                                pace.answered(turn);
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
            let (answered, refused) = against(limit, at_once, Pace::new(60, 4), 150).await;
            let spent = Instant::now() - before;
            let fastest = MINUTE * u32::try_from(150 / limit).expect("small");
            assert!(spent <= fastest * 2 + MINUTE * 3, "limit {limit}: {spent:?}, at best {fastest:?}");
            println!("limit {limit} a minute, {at_once} at once: {refused} refused beside {answered}");
            assert!(refused * 2 < answered, "limit {limit}, {at_once} at once: {refused} of {}", answered + refused);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_others_before_the_run_teach_nothing_and_a_quiet_minute_gives_back() {
        let pace = Pace::new(60, 4);
        let turn = pace.turn().await;
        pace.refused(turn, Limit::CallsPerMinute);
        assert_eq!(pace.state().places, 60, "the first call of a run was refused for what others did");
        let turn = pace.turn().await;
        pace.refused(turn, Limit::CallsAtOnce);
        assert_eq!(pace.state().places_at_once, 3);
        for _ in 0..2 {
            let turn = pace.turn().await;
            tokio::time::sleep(MINUTE + Duration::from_secs(1)).await;
            pace.answered(turn);
        }
        assert_eq!(pace.state().places_at_once, 4);
    }

    /// A server that lets in three calls in any two seconds, and says only that it is busy.
    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_not_named_is_met_by_resting_and_by_fewer_calls_at_once() {
        let (pace, let_in) = (Arc::new(Pace::new(60, 4)), Arc::new(Mutex::new(Vec::<Instant>::new())));
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let (pace, let_in) = (Arc::clone(&pace), Arc::clone(&let_in));
                tokio::spawn(async move {
                    let (mut done, mut refused, mut worst) = (0, 0_u32, 0);
                    while done < 5 {
                        let turn = if refused == 0 { pace.turn().await } else { pace.turn_again().await };
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
                            pace.answered(turn);
                            (done, refused) = (done + 1, 0);
                        } else {
                            refused += 1;
                            worst = worst.max(refused);
                            let rest = pace.refused(turn, Limit::Unnamed(Duration::from_secs(1 << (refused - 1))));
                            tokio::time::sleep(rest).await;
                        }
                    }
                    worst
                })
            })
            .collect();
        for worker in workers {
            let worst = worker.await.expect("worker");
            assert!(
                worst < 5,
                "a call was refused {worst} times in a row: a query with unknown words would be given up"
            );
        }
        assert_eq!(pace.state().places_at_once, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn rests_are_the_documented_ones() {
        let pace = Pace::new(60, 4);
        assert_eq!(pace.refused(pace.turn().await, Limit::CallsAtOnce), Duration::from_secs(2));
        let pace = Pace::new(60, 4);
        for seconds in [4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(pace.refused(pace.turn().await, Limit::CallsPerMinute), Duration::from_secs(seconds));
        }
        let page = include_str!("../../docs/gateway.md");
        let rests = "at least 2 s for concurrency; for rate at least 4 s, doubled with each further one\nin a row up to 5 minutes";
        assert!(page.contains(rests), "docs/gateway.md should say: {rests}");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_refused_together_take_one_place_away() {
        let pace = Pace::new(60, 4);
        let turns = [pace.turn().await, pace.turn().await, pace.turn().await];
        for turn in turns {
            let rest = pace.refused(turn, Limit::Unnamed(Duration::from_secs(7)));
            assert_eq!(rest, Duration::from_secs(7));
        }
        assert_eq!(pace.state().places_at_once, 3);
        let before = Instant::now();
        let turn = pace.turn().await;
        assert_eq!(Instant::now() - before, Duration::from_secs(7) + YIELD, "everybody rests");
        drop(turn);
        let refused = pace.refused(pace.turn().await, Limit::Unnamed(Duration::from_secs(7)));
        let before = Instant::now();
        drop(pace.turn_again().await);
        assert_eq!(Instant::now() - before, refused, "whoever was refused comes first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_waits_for_keeps_its_place_for_a_minute() {
        let pace = Pace::new(1, 1);
        let before = Instant::now();
        drop(pace.turn().await);
        drop(pace.turn().await);
        assert!(Instant::now() - before >= MINUTE);
    }
}
