//! How often one query was tried, and when it is tried next.

use std::time::Duration;

use tokio::time::Instant;

use super::super::clock::ClockRefusals;
use super::super::policy::CallPolicy;
use super::super::rate_limiter::Limit;
use super::super::response::UnreadableResponse;
use crate::error::{Error, ErrorClass, Result};
use crate::text::text;
use crate::units::plural;

/// The tries of one query.
pub(super) struct Tries<'a> {
    method: &'static str,
    policy: &'a CallPolicy,
    delays: Box<dyn Iterator<Item = Duration> + Send + 'a>,
    /// Counted from the first failure.
    give_up_at: Option<Instant>,
    pub(super) retries: u32,
    unreadable: u32,
    refusals: u32,
    unknown: u32,
    pub(super) clock_refusals: ClockRefusals,
}

impl<'a> Tries<'a> {
    pub(super) fn new(method: &'static str, policy: &'a CallPolicy) -> Self {
        Self {
            method,
            policy,
            delays: Box::new(policy.delays()),
            give_up_at: None,
            retries: 0,
            unreadable: 0,
            refusals: 0,
            unknown: 0,
            clock_refusals: ClockRefusals::default(),
        }
    }

    /// The delay before the next try after a response that cannot be read; the response itself after the last try.
    pub(super) fn after_unreadable(
        &mut self,
        response: UnreadableResponse,
    ) -> std::result::Result<(Duration, Vec<u8>), UnreadableResponse> {
        self.unreadable += 1;
        if response.is_too_large || self.unreadable >= CallPolicy::UNREADABLE_TRIES {
            return Err(response);
        }
        let (method, delay) = (self.method, self.delay_of_failure());
        tracing::warn!(method, why = response.why, delay_s = delay.as_secs_f64(), "unreadable, asking again");
        Ok((delay, response.bytes))
    }

    /// How everybody rests after a refusal that names no limit.
    pub(super) fn rest(&mut self, wait: Option<Duration>) -> Limit {
        self.refusals += 1;
        Limit::Unnamed(self.policy.refusal_delay(self.refusals).max(wait.unwrap_or_default()))
    }

    /// The delay before the next try after a failure that says nothing of limits.
    ///
    /// # Errors
    /// As [`after`](Self::after).
    pub(super) fn after_failure(&mut self, error: Error, wait: Option<Duration>) -> Result<Duration> {
        let delay = self.delay_of_failure();
        self.after(error, delay, wait)
    }

    /// The delay before the next try: `delay`, or the `wait` that the server asks for where that is longer.
    ///
    /// # Errors
    /// When the retry time is over before.
    pub(super) fn after(&mut self, error: Error, delay: Duration, wait: Option<Duration>) -> Result<Duration> {
        let delay = delay.max(wait.unwrap_or_default());
        if self.is_too_long(delay) {
            return Err(gave_up(self.method, self.retries + 1, error));
        }
        Ok(self.warned(&error, delay))
    }

    /// The same after a refusal in words that nobody knows, which is the error when there is no next try.
    pub(super) fn after_unknown(&mut self, error: Error, delay: Duration, wait: Option<Duration>) -> Result<Duration> {
        let delay = delay.max(wait.unwrap_or_default());
        self.unknown += 1;
        if self.unknown >= CallPolicy::UNKNOWN_REFUSAL_TRIES || self.is_too_long(delay) {
            return Err(error.with("method", self.method));
        }
        Ok(self.warned(&error, delay))
    }

    fn delay_of_failure(&mut self) -> Duration {
        self.delays.next().unwrap_or(CallPolicy::LONGEST_DELAY)
    }

    fn is_too_long(&mut self, delay: Duration) -> bool {
        let now = Instant::now();
        let give_up_at = *self.give_up_at.get_or_insert_with(|| later(now, self.policy.max_retry_time));
        later(now, delay) > give_up_at
    }

    fn warned(&self, error: &Error, delay: Duration) -> Duration {
        tracing::warn!(method = self.method, %error, delay_s = delay.as_secs_f64(), "call failed, trying again");
        delay
    }
}

/// The error of a call that was tried for as long as it may be.
fn gave_up(method: &'static str, tries: u32, last: Error) -> Error {
    Error::new(
        ErrorClass::GatewaySilent,
        text!("no usable response after {attempts}", attempts = plural(u64::from(tries), "attempt")),
    )
    .with("method", method)
    .because(last)
    .hint("run the same command again later: what is committed stays, what is missing is fetched then")
}

/// A moment, or one that does not come when it is too far away to be written down.
fn later(now: Instant, delay: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);
    now + delay.min(FAR)
}
