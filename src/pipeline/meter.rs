//! How far a run is: the run notes it on its way, and whoever waits for it looks when he likes.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::source::Source;
use crate::time::{BeijingTime, Window};

/// Where a run notes how far it is; clones are the same meter. One meter is for one run.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Shown>);

#[derive(Debug, Default)]
struct Shown {
    /// That of the state: who looks at thousands of accounts need not lock those that have not begun.
    phase: AtomicU8,
    state: Mutex<State>,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has not begun, or is opening the lake.
    #[default]
    Opening,
    /// It reads windows and commits them.
    Walking,
    /// It puts small commits together, publishes, and clears away.
    Finishing,
    /// It has ended.
    Done,
}

impl Phase {
    /// In the order of their numbers.
    const ALL: [Self; 4] = [Self::Opening, Self::Walking, Self::Finishing, Self::Done];
}

/// How far a run is at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    /// What it is doing.
    pub(crate) phase: Phase,
    /// The part of the wanted seconds that is done, from 0 to 1, with the pages that are read of windows at work. It
    /// never falls.
    pub(crate) done: f64,
    /// The last second of the window that was committed last.
    pub(crate) reached: Option<BeijingTime>,
    /// Header rows committed so far.
    pub(crate) headers: u64,
    /// Requests sent so far.
    pub(crate) calls: u64,
    /// How many requests a minute are let through at present; none: without a limit.
    pub(crate) calls_per_minute: Option<u64>,
    /// How long the next request waits for that limit; none when nothing waits for it.
    pub(crate) limit_wait: Option<Duration>,
}

#[derive(Debug, Default)]
struct State {
    progress: Progress,
    source: Weak<Source>,
    /// The seconds that are left to do, those of windows at work included.
    left_seconds: u64,
    /// The most that were ever left.
    wanted_seconds: u64,
    at_work: Vec<Window>,
}

impl Meter {
    /// The part of the wanted seconds that is done, from 0 to 1, with the pages that are read of windows at work. It
    /// never falls.
    pub fn done(&self) -> f64 {
        self.progress().done
    }

    /// The last second of the window that was committed last.
    pub fn reached(&self) -> Option<BeijingTime> {
        self.progress().reached
    }

    /// Header rows committed so far.
    pub fn headers(&self) -> u64 {
        self.progress().headers
    }

    /// Requests sent so far.
    pub fn calls(&self) -> u64 {
        self.progress().calls
    }

    /// How far the run is now.
    pub(crate) fn progress(&self) -> Progress {
        let mut state = self.state();
        if let Some(source) = state.source.upgrade() {
            let pace = source.gateway().pace();
            state.progress.calls = source.gateway().calls();
            state.progress.calls_per_minute = pace.per_minute;
            state.progress.limit_wait = pace.wait;
            let read = state.at_work.iter().map(|window| source.pages_read().seconds_of(*window)).sum();
            state.advance(read);
        } else {
            state.progress.limit_wait = None;
        }
        state.progress
    }

    /// What the run is doing.
    pub(crate) fn phase(&self) -> Phase {
        let number = self.0.phase.load(Ordering::Relaxed);
        Phase::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.state().progress.phase = phase;
        self.0.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The run reads from `source` from here on.
    pub(super) fn read_from(&self, source: &Arc<Source>) {
        self.state().source = Arc::downgrade(source);
    }

    /// So many seconds are left, those of the windows `at_work` included.
    pub(super) fn note_left(&self, left_seconds: u64, at_work: Vec<Window>) {
        let mut state = self.state();
        state.wanted_seconds = state.wanted_seconds.max(left_seconds);
        (state.left_seconds, state.at_work) = (left_seconds, at_work);
        state.advance(0.0);
    }

    pub(super) fn note_commit(&self, reached: BeijingTime, headers: u64) {
        let mut state = self.state();
        state.progress.reached = Some(reached);
        state.progress.headers = headers;
    }

    /// The walk is over after so many calls.
    pub(super) fn note_end(&self, calls: u64) {
        let mut state = self.state();
        state.source = Weak::new();
        state.progress.calls = calls;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Of the seconds that are left so many are read.
    fn advance(&mut self, read_seconds: f64) {
        if self.wanted_seconds > 0 {
            let done = 1.0 - (self.left_seconds as f64 - read_seconds) / self.wanted_seconds as f64;
            self.progress.done = self.progress.done.max(done.clamp(0.0, 1.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_is_that_of_the_progress() {
        let meter = Meter::default();
        assert_eq!(meter.phase(), meter.progress().phase);
        for phase in Phase::ALL {
            meter.enter(phase);
            assert_eq!((meter.phase(), meter.progress().phase), (phase, phase));
        }
    }

    #[test]
    fn the_part_that_is_done_never_falls() {
        let meter = Meter::default();
        let done = |left, read: f64| {
            meter.note_left(left, Vec::new());
            meter.state().advance(read);
            meter.progress().done
        };
        assert_eq!(done(100, 0.0), 0.0);
        assert_eq!(done(100, 40.0), 0.4);
        assert_eq!(done(100, 0.0), 0.4, "a window that begins anew");
        assert_eq!(done(50, 0.0), 0.5);
        assert_eq!(done(400, 0.0), 0.5, "more work turned up");
        assert_eq!(done(100, 0.0), 0.75, "of all of it");
        assert_eq!(done(0, 0.0), 1.0);
        assert_eq!(Meter::default().progress().done, 0.0, "nothing is known yet");
    }
}
