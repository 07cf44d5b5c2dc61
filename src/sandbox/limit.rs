//! The vendor's meters: calls within any sixty seconds, and calls at once, for one method of one account.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// Why a call was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Too many within the last sixty seconds.
    Rate,
    /// Too many at once.
    Concurrency,
}

/// The meters of one method. A call that is turned away counts nowhere.
#[derive(Debug, Default)]
pub(super) struct Meter {
    admitted: VecDeque<Instant>,
    at_once: u32,
}

impl Meter {
    /// Lets a call in, or says why not. Whoever was let in must [`leave`](Self::leave).
    pub(super) fn enter(
        &mut self,
        now: Instant,
        calls_per_minute: Option<u32>,
        max_concurrency: Option<u32>,
    ) -> Result<(), Excess> {
        while self.admitted.front().is_some_and(|first| now.saturating_duration_since(*first) >= MINUTE) {
            self.admitted.pop_front();
        }
        if max_concurrency.is_some_and(|max| self.at_once >= max) {
            return Err(Excess::Concurrency);
        }
        if calls_per_minute.is_some_and(|max| self.admitted.len() >= max as usize) {
            return Err(Excess::Rate);
        }
        self.admitted.push_back(now);
        self.at_once += 1;
        Ok(())
    }

    /// A call that was let in has ended.
    pub(super) fn leave(&mut self) {
        self.at_once = self.at_once.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minute_slides() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let mut enter = |millis| {
            let entered = meter.enter(start + Duration::from_millis(millis), Some(2), None);
            meter.leave();
            entered
        };
        assert_eq!((enter(0), enter(30_000), enter(59_999)), (Ok(()), Ok(()), Err(Excess::Rate)));
        assert_eq!((enter(60_000), enter(89_999), enter(90_000)), (Ok(()), Err(Excess::Rate), Ok(())));
    }

    #[test]
    fn those_who_leave_make_room() {
        let (mut meter, now) = (Meter::default(), Instant::now());
        assert_eq!(meter.enter(now, None, Some(1)), Ok(()));
        assert_eq!(meter.enter(now, None, Some(1)), Err(Excess::Concurrency));
        meter.leave();
        assert_eq!(meter.enter(now, None, Some(1)), Ok(()));
    }
}
