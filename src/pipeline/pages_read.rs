//! Which pages were read of the windows at work.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::time::Window;

/// Of a window that is being read, at most this part counts as done before it is committed: it may be read again.
const MOST_OF_A_WINDOW: f64 = 0.95;

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
    use crate::time::BeijingTime;

    fn window(start: &str, end: &str) -> Window {
        let at = |text| BeijingTime::parse(text).expect("a time");
        Window::new(at(start), at(end)).expect("a window")
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
