//! How far a run is: the run notes it on its way, and whoever waits for it looks when he likes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::source::Source;
use crate::time::{BeijingTime, Window};

/// Of a window that is being read, at most this part counts as done before it is committed: it may be read again.
const MOST_OF_A_WINDOW: f64 = 0.95;

/// Where a run notes how far it is; clones are the same meter. One meter is for one run.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<State>>);

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
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

/// How far a run is at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// The part of the wanted seconds that is done, from 0 to 1, with the pages that are read of windows at work. It
    /// never falls.
    pub done: f64,
    /// The last second of the window that was committed last.
    pub reached: Option<BeijingTime>,
    /// Header rows committed so far.
    pub headers: u64,
    /// Requests sent so far.
    pub calls: u64,
    /// How many requests a minute are let through at present; none: without a limit.
    pub calls_per_minute: Option<u64>,
    /// How long the next request waits for that limit; none when nothing waits for it.
    pub limit_wait: Option<Duration>,
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
    /// How far the run is now.
    pub fn progress(&self) -> Progress {
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

    pub(super) fn enter(&self, phase: Phase) {
        self.state().progress.phase = phase;
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The pages that were read of the windows at work.
#[derive(Debug, Default)]
pub(super) struct PagesRead(Mutex<HashMap<Window, WindowPages>>);

#[derive(Debug, Default)]
struct WindowPages {
    /// Numbers and sizes of the pages, each once however often it was read.
    read: HashSet<(u32, u32)>,
    rows: u64,
    total: u64,
}

impl PagesRead {
    /// A page of a window that has `total` rows, as the server says.
    pub(super) fn note(&self, window: Window, page_no: u32, page_size: u32, total: Option<u64>) {
        let mut windows = self.windows();
        let pages = windows.entry(window).or_default();
        pages.total = total.unwrap_or(pages.total);
        if pages.read.insert((page_no, page_size)) {
            pages.rows += u64::from(page_size);
        }
    }

    /// The seconds of `work` that are read so far, by its pages.
    pub(super) fn seconds_of(&self, work: Window) -> f64 {
        let windows = self.windows();
        let within = windows.iter().filter(|(window, _)| work.intersect(**window) == Some(**window));
        let read: f64 = within.map(|(window, pages)| pages.part() * window.seconds() as f64).sum();
        read.min(work.seconds() as f64 * MOST_OF_A_WINDOW)
    }

    /// The work is done, or begins anew.
    pub(super) fn forget(&self, work: Window) {
        self.windows().retain(|window, _| work.intersect(*window) != Some(*window));
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Window, WindowPages>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WindowPages {
    fn part(&self) -> f64 {
        if self.total == 0 { 0.0 } else { (self.rows as f64 / self.total as f64).min(MOST_OF_A_WINDOW) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: &str, end: &str) -> Window {
        let at = |text| BeijingTime::parse(text).expect("a time");
        Window::new(at(start), at(end)).expect("a window")
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

    #[test]
    fn pages_count_once_and_for_the_window_that_they_are_of() {
        let (pages, june) = (PagesRead::default(), window("2026-06-01 00:00:00", "2026-06-30 23:59:59"));
        let seconds = june.seconds() as f64;
        let part = |pages: &PagesRead| (pages.seconds_of(june) / seconds * 1_000.0).round();
        pages.note(june, 0, 100, Some(1_000));
        pages.note(june, 0, 100, Some(1_000));
        assert_eq!(part(&pages), 100.0);
        (1..10).for_each(|page_no| pages.note(june, page_no, 100, None));
        assert_eq!(part(&pages), 950.0, "it may have to be read again");
        pages.forget(june);
        assert_eq!(part(&pages), 0.0);
        pages.note(window("2026-06-01 00:00:00", "2026-06-15 23:59:59"), 0, 100, Some(200));
        pages.note(window("2026-05-31 00:00:00", "2026-06-01 23:59:59"), 0, 100, Some(200));
        assert_eq!(part(&pages), 250.0, "half of its first half");
        pages.note(june, 0, 100, Some(0));
        assert_eq!(part(&pages), 250.0, "an empty window is done when it is committed");
    }
}
