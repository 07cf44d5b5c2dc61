//! The clock of one account's gateway: with which timestamp calls are signed, and how late it certainly is there.
//!
//! Everything is kept as an offset against the monotonic clock, in microseconds, so a machine's clock that is set
//! within a run changes nothing. The first call is signed by the machine's clock. A refusal of the timestamp makes the
//! next one follow the gateway's own `Date`.
//!
//! **How late it certainly is.** Two witnesses: A, the least timestamp that the gateway accepted, and D, the least
//! `Date` that it sent. The gateway accepts what is within its tolerance, so A is off by no more than that; a `Date`
//! may be written by anybody on the way, so it is believed only where A does not contradict it, but it is believed
//! whenever it is the later news of an earlier time. The certain time is min(A, D) where D <= A + tolerance, else A -
//! tolerance. Both are taken at the moment at which a call was signed: so no time that is told is later than the `Date`
//! or the timestamp of any call of which it is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::text::{Text, key, text};
use crate::time::{BeijingTime, Clock};

const SECOND: i64 = 1_000_000;
/// `Date` headers are whole seconds that were true when the answer was made.
const DATE_SLACK: i64 = 2 * SECOND;
/// The signing offset changes at most so often: behind a balancer the next answer may come from another clock.
const RELEARN_EVERY: i64 = 3 * SECOND;
/// How many refusals of its timestamp one call survives.
const MOST_REFUSALS: usize = 10;

/// What was seen of a gateway's clock. Pure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Observed {
    /// The least offset of a timestamp that was accepted.
    accepted: Option<i64>,
    /// The least of a `Date`.
    least: Option<Date>,
    /// The greatest of a `Date`.
    greatest: Option<Date>,
}

/// A `Date` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    offset: i64,
    said: BeijingTime,
}

impl Observed {
    fn accept(&mut self, timestamp: BeijingTime, asked: i64) {
        let offset = timestamp.micros().saturating_sub(asked);
        self.accepted = Some(self.accepted.map_or(offset, |least| least.min(offset)));
    }

    fn see(&mut self, said: BeijingTime, asked: i64) {
        let date = Date { offset: said.micros().saturating_sub(asked), said };
        self.least = Some(self.least.filter(|least| least.offset <= date.offset).unwrap_or(date));
        self.greatest = Some(self.greatest.filter(|greatest| greatest.offset >= date.offset).unwrap_or(date));
    }

    /// The offset of the time that the gateway's clock has reached for certain; nothing before a timestamp was
    /// accepted.
    fn reached(&self, tolerance: i64) -> Option<i64> {
        let accepted = self.accepted?;
        Some(match self.least {
            Some(Date { offset, .. }) if offset <= accepted.saturating_add(tolerance) => accepted.min(offset),
            _ => accepted.saturating_sub(tolerance),
        })
    }

    /// The offset of a timestamp for a call that is signed once: the `Date` where it agrees with what was accepted,
    /// else what was accepted.
    fn fresh(&self, tolerance: i64) -> Option<i64> {
        let accepted = self.accepted?;
        let date = self.least.map(|least| least.offset);
        let agrees = |date: &i64| date.saturating_sub(accepted).saturating_abs() <= tolerance;
        Some(date.filter(agrees).unwrap_or(accepted))
    }

    /// The `Date` that is furthest behind what was accepted, if it is by more than the tolerance, and by how much.
    fn behind(&self, tolerance: i64) -> Option<(Date, i64)> {
        let (date, accepted) = (self.least?, self.accepted?);
        let behind = accepted.saturating_sub(date.offset);
        (behind > tolerance).then_some((date, behind))
    }

    /// The `Date` that is furthest ahead of what was accepted, if it is by more than the tolerance, and by how much.
    fn ahead(&self, tolerance: i64) -> Option<(Date, i64)> {
        let (date, accepted) = (self.greatest?, self.accepted?);
        let ahead = date.offset.saturating_sub(accepted);
        (ahead > tolerance).then_some((date, ahead))
    }

    fn warnings(&self, tolerance: i64) -> Vec<Text> {
        let ahead = self.ahead(tolerance).map(|(date, ahead)| {
            text!(
                "a `Date` of the gateway ({date}) is {seconds} s ahead of the timestamp that it accepted: it was not believed",
                date = date.said,
                seconds = ahead / SECOND
            )
        });
        let behind = self.behind(tolerance).map(|(date, behind)| {
            text!(
                "a `Date` of the gateway ({date}) is {seconds} s behind the timestamp that it accepted: nothing later than it is taken for complete",
                date = date.said,
                seconds = behind / SECOND
            )
        });
        ahead.into_iter().chain(behind).collect()
    }
}

/// A timestamp, and what it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// The timestamp.
    pub(super) timestamp: BeijingTime,
    /// When it was signed, by the monotonic clock.
    pub(super) asked: i64,
    /// What was added to the monotonic clock.
    offset: i64,
}

/// The refusals of the timestamp that one call has met.
#[derive(Clone, Debug, Default)]
pub(super) struct ClockRefusals {
    /// The offsets that were refused.
    refused: Vec<i64>,
    /// How often this call has changed the offset.
    changes: u32,
}

/// The clock of a gateway.
pub(super) struct ServerClock {
    clock: Arc<dyn Clock>,
    tolerance: i64,
    state: Mutex<State>,
}

struct State {
    observed: Observed,
    /// What is added to the monotonic clock when signing.
    signing: i64,
    /// Whether a timestamp of this offset was accepted.
    is_accepted: bool,
    changed: Option<i64>,
    /// When the last call was signed that was accepted.
    asked: i64,
    /// The last `Date`, against the moment of its arrival.
    last_date: Option<i64>,
}

impl ServerClock {
    pub(super) fn new(clock: Arc<dyn Clock>, tolerance_seconds: i64) -> Self {
        let asked = clock.monotonic_micros();
        let signing = clock.now_micros().saturating_sub(asked);
        let state =
            State { observed: Observed::default(), signing, is_accepted: false, changed: None, asked, last_date: None };
        Self { clock, tolerance: tolerance_seconds.saturating_mul(SECOND), state: Mutex::new(state) }
    }

    /// The timestamp for a call that is sent now.
    pub(super) fn sign(&self) -> Signed {
        let (asked, offset) = (self.moment(), self.state().signing);
        Signed { timestamp: BeijingTime::from_micros(asked.saturating_add(offset)), asked, offset }
    }

    /// This moment by the monotonic clock.
    pub(super) fn moment(&self) -> i64 {
        self.clock.monotonic_micros()
    }

    /// Notes the `Date` of an answer to a call that was sent at `asked`; gives its offset.
    pub(super) fn see(&self, said: BeijingTime, asked: i64) -> i64 {
        let arrived = self.moment();
        let mut state = self.state();
        state.observed.see(said, asked);
        let offset = said.micros().saturating_sub(arrived);
        state.last_date = Some(offset);
        offset
    }

    /// Notes that the gateway accepted a timestamp.
    pub(super) fn accepted(&self, signed: Signed) {
        let mut state = self.state();
        state.observed.accept(signed.timestamp, signed.asked);
        state.is_accepted |= state.signing == signed.offset;
        state.asked = state.asked.max(signed.asked);
    }

    /// Decides how a call goes on of which the timestamp `signed` was refused by an answer whose `Date` has the offset
    /// `date`: after which delay it is signed again. `Err` is a hint why that cannot help.
    pub(super) fn refused(
        &self,
        signed: Signed,
        date: Option<i64>,
        refusals: &mut ClockRefusals,
    ) -> Result<Duration, &'static str> {
        let now = self.moment();
        let own = self.clock.now_micros().saturating_sub(now);
        let mut state = self.state();
        refusals.refused.push(signed.offset);
        if refusals.refused.len() > MOST_REFUSALS {
            return Err(key!("the gateway's clocks contradict each other: ask the vendor"));
        }
        if state.signing != signed.offset {
            // Another call that was under way has changed it meanwhile.
            return Ok(Duration::ZERO);
        }
        let differ = |one: i64, other: i64| one.saturating_sub(other).saturating_abs() > DATE_SLACK;
        // A timestamp that was accepted before is refused by another node, perhaps, and the next call meets the first
        // one again.
        let may_be_a_node = state.is_accepted || refusals.changes > 1;
        let is_repeated = refusals.refused.iter().filter(|refused| **refused == signed.offset).count() > 1;
        let date_differs = date.filter(|date| differ(*date, signed.offset));
        let is_new = |own: &i64| refusals.refused.iter().all(|refused| differ(*own, *refused));
        let candidate = date_differs.or_else(|| Some(own).filter(is_new));
        let Some(offset) = candidate.filter(|_| is_repeated || !may_be_a_node) else {
            return match (is_repeated, date) {
                (false, _) => Ok(Duration::ZERO),
                (true, None) => Err(key!("the gateway sends no clock of its own: set this machine's clock")),
                (true, Some(_)) => Err(key!("the timestamp was refused although it follows the gateway's own clock")),
            };
        };
        refusals.changes += 1;
        let seconds = offset.saturating_sub(signed.offset) / SECOND;
        tracing::warn!(seconds, "the gateway refused the timestamp; signing by its clock from now on");
        let wait = state.changed.map_or(0, |changed| changed.saturating_add(RELEARN_EVERY).saturating_sub(now));
        state.signing = offset;
        state.is_accepted = false;
        state.changed = Some(now);
        Ok(Duration::from_micros(u64::try_from(wait).unwrap_or(0)))
    }

    /// The time that the gateway's clock had reached for certain at a moment; nothing before a timestamp was accepted.
    pub(super) fn reached_at(&self, moment: i64) -> Option<BeijingTime> {
        let offset = self.state().observed.reached(self.tolerance)?;
        Some(BeijingTime::from_micros(moment.saturating_add(offset)))
    }

    /// The same when the last accepted call was signed.
    pub(super) fn reached(&self) -> Option<BeijingTime> {
        let asked = self.state().asked;
        self.reached_at(asked)
    }

    /// Where the gateway's `Date` is behind by more than the tolerance: what would have been [reached](Self::reached)
    /// without it.
    pub(super) fn reached_but_for_date(&self) -> Option<BeijingTime> {
        let state = self.state();
        state.observed.behind(self.tolerance)?;
        Some(BeijingTime::from_micros(state.asked.saturating_add(state.observed.accepted?)))
    }

    /// The timestamp of a call that is signed once, as of the last accepted call.
    pub(super) fn fresh_timestamp(&self) -> Option<BeijingTime> {
        let state = self.state();
        Some(BeijingTime::from_micros(state.asked.saturating_add(state.observed.fresh(self.tolerance)?)))
    }

    /// The same of this moment; this machine's time before anything was accepted.
    pub(super) fn present(&self) -> BeijingTime {
        let (moment, state) = (self.moment(), self.state());
        let offset = state.observed.fresh(self.tolerance).unwrap_or(state.signing);
        BeijingTime::from_micros(moment.saturating_add(offset))
    }

    /// The gateway's present by its last `Date`, whatever it is worth.
    pub(super) fn last_date(&self) -> Option<BeijingTime> {
        let offset = self.state().last_date?;
        Some(BeijingTime::from_micros(self.moment().saturating_add(offset)))
    }

    /// What the user should know of the gateway's clock.
    pub(super) fn warnings(&self) -> Vec<Text> {
        self.state().observed.warnings(self.tolerance)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
