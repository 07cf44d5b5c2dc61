//! The rate limiter: so many requests in any sixty seconds and so many in flight, for all workers of an account and
//! method.
//!
//! A request is sent with a permit and counts until sixty seconds after it ended. The server counted it before it
//! answered, so in no sixty seconds, by the server's count or ours, are there more requests than the limit; delays on
//! the way cannot push two minutes together. A refusal shows that the server's limit is lower than ours: everybody
//! rests then, and the limit is learned where the refused minute was the run's own: requests of others before the run
//! say nothing of it. What was taken away comes back, one request a quiet minute.
//!
//! No task runs for a permit. The limiter notes when each request ended. A waiter works out of these notes when the
//! next permit is free, and sleeps until then in its own future. Waiters stand in line, and only the first of a line
//! looks at the notes. A waiter that is dropped leaves nothing behind.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

const MINUTE: Duration = Duration::from_secs(60);

/// The shortest rest after a rate refusal; it doubles with each further one in a row.
const SHORTEST_REST: Duration = Duration::from_secs(2);
/// How long after a rest new requests leave the way to those that were refused.
const YIELD: Duration = Duration::from_millis(100);
/// The longest rest. The vendor says to rest 5 to 10 minutes if the refusals persist.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// Lets the requests of one account and method through.
#[derive(Debug)]
pub(super) struct RateLimiter {
    state: Mutex<State>,
    /// Wakes the first in each line when a permit ends.
    ended: Notify,
    /// The line of requests that are sent for the first time; this lock is fair.
    first_tries: tokio::sync::Mutex<()>,
    /// The line of those that are sent again.
    retries: tokio::sync::Mutex<()>,
}

/// The right to send one request; say how it went with [`answered`](Self::answered) or [`refused`](Self::refused), or
/// drop it. However a request ends, even when nobody waits for it any more, it counts for a minute.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    limiter: &'a RateLimiter,
    is_answered: bool,
}

/// Which limit of the server a refusal spoke of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    PerMinute,
    InFlight,
    /// None that it named, or none at all; everybody rests for so long.
    Unnamed(Duration),
}

/// How many requests are let through.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// `None` for no limit.
    per_minute: Option<usize>,
    in_flight: usize,
}

#[derive(Debug)]
struct State {
    /// As the user set them.
    set: Limits,
    /// As they are now: lower after refusals, never higher.
    limits: Limits,
    in_flight: usize,
    /// The requests that ended within the last minute, the earliest first.
    ended: VecDeque<Ended>,
    /// Nothing is sent before this moment.
    resting_until: Option<Instant>,
    /// Refusals since the last answer; those of requests that were in flight together are one.
    refusals: u32,
    /// When the first request was answered or refused.
    began: Option<Instant>,
    /// When the limits last changed.
    changed: Option<Instant>,
}

#[derive(Debug)]
struct Ended {
    at: Instant,
    is_answered: bool,
}

/// How fast requests are let through at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Requests a minute; none: without a limit.
    pub(crate) per_minute: Option<u64>,
    /// How long the next request waits for the minute or a rest to end; none when nothing waits.
    pub(crate) wait: Option<Duration>,
}

/// When the next permit is free.
#[derive(Debug)]
enum Free {
    Now,
    At(Instant),
    /// Not before a request that is in flight ends.
    AfterAnother,
}

impl RateLimiter {
    /// `per_minute` 0 means no limit; `in_flight` is at least 1.
    pub(super) fn new(per_minute: u32, in_flight: u32) -> Self {
        let set = Limits {
            per_minute: (per_minute > 0).then_some(per_minute as usize),
            in_flight: in_flight.max(1) as usize,
        };
        Self {
            state: Mutex::new(State {
                set,
                limits: set,
                in_flight: 0,
                ended: VecDeque::new(),
                resting_until: None,
                refusals: 0,
                began: None,
                changed: None,
            }),
            ended: Notify::new(),
            first_tries: tokio::sync::Mutex::default(),
            retries: tokio::sync::Mutex::default(),
        }
    }

    /// Waits for the right to send a request for the first time.
    pub(super) async fn permit(&self) -> Permit<'_> {
        self.permit_in(&self.first_tries, YIELD).await
    }

    /// Waits for the right to send a request again. After a rest, such requests come before new ones, so that none is
    /// refused for ever.
    pub(super) async fn permit_again(&self) -> Permit<'_> {
        self.permit_in(&self.retries, Duration::ZERO).await
    }

    pub(super) fn pace(&self) -> Pace {
        // Who holds a line waits.
        let waits = self.first_tries.try_lock().is_err() || self.retries.try_lock().is_err();
        let (mut state, now) = (self.state(), Instant::now());
        let wait = match state.free(now, Duration::ZERO) {
            Free::At(due) if waits => Some(due.duration_since(now)),
            _ => None,
        };
        Pace { per_minute: state.limits.per_minute.map(|limit| limit as u64), wait }
    }

    /// Waits in `line`, and after a rest for `others`.
    async fn permit_in(&self, line: &tokio::sync::Mutex<()>, others: Duration) -> Permit<'_> {
        let _first_in_line = line.lock().await;
        loop {
            // It hears of every end from here on: none is missed between the look at the state and the wait.
            let another_ended = self.ended.notified();
            let free = self.state().take(Instant::now(), others);
            match free {
                Free::Now => return Permit { limiter: self, is_answered: false },
                // Whichever comes first: the state is looked at again.
                Free::At(due) => drop(timeout_at(due, another_ended).await),
                Free::AfterAnother => another_ended.await,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// The request was answered.
    pub(super) fn answered(mut self) {
        self.is_answered = true;
        self.limiter.state().answered(Instant::now());
    }

    /// The request was refused for a limit: everybody rests so long, and the limits shrink to what the server took.
    pub(super) fn refused(self, limit: Limit) -> Duration {
        self.limiter.state().refused(Instant::now(), limit)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.limiter.state().ended(Instant::now(), self.is_answered);
        self.limiter.ended.notify_waiters();
    }
}

impl State {
    /// Takes a permit if one is free. After a rest, none is before the time of `others` is over.
    fn take(&mut self, now: Instant, others: Duration) -> Free {
        let free = self.free(now, others);
        if let Free::Now = free {
            self.in_flight += 1;
        }
        free
    }

    /// When the next permit is free.
    fn free(&mut self, now: Instant, others: Duration) -> Free {
        self.forget_older_than_a_minute(now);
        if let Some(due) = self.resting_until.map(|until| until + others).filter(|due| *due > now) {
            return Free::At(due);
        }
        if self.in_flight >= self.limits.in_flight {
            return Free::AfterAnother;
        }
        let surplus = self.limits.per_minute.and_then(|limit| (self.in_flight + self.ended.len()).checked_sub(limit));
        match surplus.map(|surplus| self.ended.get(surplus)) {
            None => Free::Now,
            // With this one and all before it out of the minute, there are fewer than the limit.
            Some(Some(last)) => Free::At(last.at + MINUTE),
            Some(None) => Free::AfterAnother,
        }
    }

    fn ended(&mut self, now: Instant, is_answered: bool) {
        self.in_flight -= 1;
        self.ended.push_back(Ended { at: now, is_answered });
        self.forget_older_than_a_minute(now);
    }

    fn answered(&mut self, now: Instant) {
        self.refusals = 0;
        self.began.get_or_insert(now);
        self.grow_back(now);
    }

    fn refused(&mut self, now: Instant, limit: Limit) -> Duration {
        self.forget_older_than_a_minute(now);
        self.began.get_or_insert(now);
        let is_first = self.resting_until.is_none_or(|until| until <= now);
        if is_first {
            self.refusals += 1;
        }
        let rest = match limit {
            Limit::PerMinute => {
                self.shrink_per_minute(now);
                // The server takes another one once the oldest of the minute is out of its sight.
                let oldest = self.ended.iter().find(|ended| ended.is_answered);
                let until_free = oldest.map_or(Duration::ZERO, |oldest| (oldest.at + MINUTE).duration_since(now));
                until_free.max(SHORTEST_REST.saturating_mul(1 << self.refusals.min(12)))
            }
            Limit::InFlight => {
                self.shrink_in_flight(now);
                SHORTEST_REST
            }
            Limit::Unnamed(rest) => {
                // Whichever limit it is, both come nearer to it.
                self.shrink_per_minute(now);
                if is_first {
                    self.shrink_in_flight(now);
                }
                rest
            }
        }
        .min(LONGEST_REST);
        self.resting_until = self.resting_until.max(Some(now + rest));
        rest
    }

    /// Lowers the limit of a minute to what the server took in the last one.
    fn shrink_per_minute(&mut self, now: Instant) {
        let is_own_minute = self.began.is_some_and(|began| now.duration_since(began) >= MINUTE);
        if let Some(limit) = self.limits.per_minute.as_mut().filter(|_| is_own_minute) {
            let taken = self.ended.iter().filter(|ended| ended.is_answered).count();
            *limit = taken.clamp(1, *limit);
        }
        self.changed = Some(now);
    }

    /// Lets one request less be in flight, unless it is the last.
    fn shrink_in_flight(&mut self, now: Instant) {
        self.limits.in_flight = (self.limits.in_flight - 1).max(1);
        self.changed = Some(now);
    }

    /// Gives one request back after a quiet minute.
    fn grow_back(&mut self, now: Instant) {
        if self.changed.is_none_or(|changed| now.duration_since(changed) <= MINUTE) {
            return;
        }
        self.changed = Some(now);
        self.limits = Limits {
            per_minute: self.limits.per_minute.map(|limit| limit + 1).min(self.set.per_minute),
            in_flight: (self.limits.in_flight + 1).min(self.set.in_flight),
        };
    }

    fn forget_older_than_a_minute(&mut self, now: Instant) {
        while self.ended.front().is_some_and(|ended| now.duration_since(ended.at) >= MINUTE) {
            self.ended.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
