//! The clock of the simulated ERP: held by a test, or running with the machine, and off by a skew if asked.

use std::sync::{Arc, Mutex, PoisonError};

use crate::time::{BeijingTime, Clock, SystemClock};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Stands at this time until it is moved.
    Held(BeijingTime),
    /// Runs with the machine, this many seconds ahead of it.
    Running(i64),
}

#[derive(Debug)]
struct State {
    pace: Pace,
    skew_seconds: i64,
}

/// A clock that all parts of one sandbox share; clones show the same time.
#[derive(Clone, Debug)]
pub struct SandboxClock(Arc<Mutex<State>>);

impl Default for SandboxClock {
    /// Runs with the machine.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { pace: Pace::Running(0), skew_seconds: 0 })))
    }
}

impl SandboxClock {
    /// Stands at `at` until it is moved.
    pub fn held(at: BeijingTime) -> Self {
        let clock = Self::default();
        clock.hold(at);
        clock
    }

    /// The server's present: the true time plus the skew.
    pub fn now(&self) -> BeijingTime {
        let state = self.lock();
        state.true_time().plus_seconds(state.skew_seconds)
    }

    /// Stops the clock at `at` (the true time, without the skew).
    pub fn hold(&self, at: BeijingTime) {
        self.lock().pace = Pace::Held(at);
    }

    /// Lets the clock run with the machine.
    pub fn run(&self) {
        self.lock().pace = Pace::Running(0);
    }

    /// Moves the clock by `seconds`, held or running.
    pub fn advance(&self, seconds: i64) {
        let mut state = self.lock();
        state.pace = match state.pace {
            Pace::Held(at) => Pace::Held(at.plus_seconds(seconds)),
            Pace::Running(ahead) => Pace::Running(ahead.saturating_add(seconds)),
        };
    }

    /// Sets how many seconds the server is ahead of the true time; negative when it is behind.
    pub fn set_skew(&self, seconds: i64) {
        self.lock().skew_seconds = seconds;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn true_time(&self) -> BeijingTime {
        match self.pace {
            Pace::Held(at) => at,
            Pace::Running(ahead) => SystemClock.now().plus_seconds(ahead),
        }
    }
}

impl Clock for SandboxClock {
    /// The true time, without the skew: what a client beside the sandbox believes.
    fn now_micros(&self) -> i64 {
        let state = self.lock();
        match state.pace {
            Pace::Held(at) => at.micros(),
            Pace::Running(ahead) => SystemClock.now_micros().saturating_add(ahead.saturating_mul(1_000_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_clock_moves_only_when_told_and_the_skew_is_the_servers_alone() {
        let noon = BeijingTime::parse("2026-05-19 12:00:00").expect("a time");
        let clock = SandboxClock::held(noon);
        let same = clock.clone();
        clock.advance(90);
        clock.set_skew(-400);
        assert_eq!(same.now().to_string(), "2026-05-19 11:54:50");
        assert_eq!(Clock::now(&same).to_string(), "2026-05-19 12:01:30");
    }
}
