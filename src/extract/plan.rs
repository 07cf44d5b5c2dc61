//! Wanted range minus coverage, as windows that are cut when their turn comes.
//!
//! Every window lies within one Beijing month, spans at most 30 days, and is expected to hold no more rows than a walk should read. The
//! expectation is the density of what was walked last, so the planner cuts late: a window is fixed only when somebody takes it. Windows
//! follow each other as [a, b] and [b+1s, c].

use std::collections::VecDeque;

use crate::time::{BeijingTime, Coverage, Window};

/// The longest span that the gateways allow: 2018-11-01 00:00:00 to 2018-11-30 23:59:59.
const MAX_SPAN_SECONDS: u64 = 30 * 86_400;

/// A bulk import fills single seconds.
const SHORTEST_OBSERVED_SECONDS: u64 = 3_600;

/// Hands out windows.
#[derive(Debug)]
pub struct Planner {
    gaps: VecDeque<Window>,
    max_rows: u64,
    density: Option<Density>,
}

/// Rows in a stretch of time.
#[derive(Clone, Copy, Debug)]
struct Density {
    rows: u64,
    seconds: u64,
}

impl Planner {
    /// Plans the parts of `wanted` that `coverage` lacks, in windows of about `max_rows` rows.
    pub fn new(wanted: Window, coverage: &Coverage, max_rows: u64) -> Self {
        Self { gaps: coverage.gaps(wanted).into(), max_rows: max_rows.max(1), density: None }
    }

    /// Notes that `seconds` of the ERP's time held `rows` rows; later windows are cut by it.
    ///
    /// A stretch of less than an hour says nothing of the hours around it and is not taken.
    pub fn observe(&mut self, rows: u64, seconds: u64) {
        if seconds < SHORTEST_OBSERVED_SECONDS {
            return;
        }
        self.density = Some(Density { rows, seconds: seconds.max(1) });
    }

    /// Puts windows back, to be handed out next.
    pub fn put_back(&mut self, windows: impl IntoIterator<Item = Window>) {
        let mut windows: Vec<Window> = windows.into_iter().collect();
        windows.sort_unstable();
        windows.into_iter().rev().for_each(|window| self.gaps.push_front(window));
    }

    /// The next window; `None` when everything was handed out.
    pub fn take(&mut self) -> Option<Window> {
        let gap = self.gaps.pop_front()?;
        let (window, rest) = gap.split_calendar(self.max_seconds());
        if let Some(rest) = rest {
            self.gaps.push_front(rest);
        }
        Some(window)
    }

    /// Forgets everything later than `end`.
    pub fn end_at(&mut self, end: BeijingTime) {
        self.gaps = self.gaps.iter().filter_map(|gap| Window::new(gap.start(), gap.end().min(end))).collect();
    }

    /// Plans more windows, behind all others.
    pub fn extend(&mut self, windows: impl IntoIterator<Item = Window>) {
        self.gaps.extend(windows);
    }

    /// How many rows `window` is expected to hold; `None` as long as nothing was observed.
    pub fn expected_rows(&self, window: Window) -> Option<u64> {
        let density = self.density?;
        let rows = u128::from(density.rows) * u128::from(window.seconds()) / u128::from(density.seconds);
        Some(u64::try_from(rows).unwrap_or(u64::MAX))
    }

    fn max_seconds(&self) -> u64 {
        match self.density {
            Some(Density { rows, seconds }) if rows > 0 => {
                let fitting = u128::from(self.max_rows) * u128::from(seconds) / u128::from(rows);
                u64::try_from(fitting).unwrap_or(u64::MAX).clamp(1, MAX_SPAN_SECONDS)
            }
            _ => MAX_SPAN_SECONDS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: &str, end: &str) -> Window {
        let at = |text| BeijingTime::parse(text).expect("a time");
        Window::new(at(start), at(end)).expect("a window")
    }

    fn all(mut planner: Planner) -> Vec<String> {
        std::iter::from_fn(|| planner.take()).map(|window| window.to_string()).collect()
    }

    #[test]
    fn gaps_are_cut_at_month_ends_and_thirty_days() {
        let covered = [window("2026-01-10 00:00:00", "2026-01-19 23:59:59")].into_iter().collect();
        let planner = Planner::new(window("2026-01-05 00:00:00", "2026-03-31 12:00:00"), &covered, 5000);
        assert_eq!(
            all(planner),
            [
                "2026-01-05 00:00:00 .. 2026-01-09 23:59:59",
                "2026-01-20 00:00:00 .. 2026-01-31 23:59:59",
                "2026-02-01 00:00:00 .. 2026-02-28 23:59:59",
                "2026-03-01 00:00:00 .. 2026-03-30 23:59:59",
                "2026-03-31 00:00:00 .. 2026-03-31 12:00:00",
            ]
        );
        let covered = [window("2026-01-01 00:00:00", "2026-12-31 23:59:59")].into_iter().collect();
        assert!(all(Planner::new(window("2026-02-01 00:00:00", "2026-02-02 00:00:00"), &covered, 5000)).is_empty());
    }

    #[test]
    fn density_shortens_the_windows_to_come() {
        let mut planner =
            Planner::new(window("2026-01-01 00:00:00", "2026-01-31 23:59:59"), &Coverage::default(), 5000);
        let first = planner.take().expect("a window");
        assert_eq!(first.seconds(), MAX_SPAN_SECONDS);
        assert_eq!(planner.expected_rows(first), None);
        planner.put_back([first]);
        planner.observe(30_000, first.seconds());
        let second = planner.take().expect("a window");
        assert_eq!(second.to_string(), "2026-01-01 00:00:00 .. 2026-01-05 23:59:59");
        assert_eq!(planner.expected_rows(second), Some(5000));
        planner.observe(1_000, 1);
        assert_eq!(planner.expected_rows(second), Some(5000), "a second says nothing of its day");
        planner.observe(u64::MAX, 3_600);
        assert_eq!(planner.take().expect("a second").seconds(), 1, "never less than a second");
        planner.observe(0, 86_400);
        assert_eq!(
            planner.take().expect("the rest").end().to_string(),
            "2026-01-30 23:59:59",
            "an empty stretch says nothing bad"
        );
    }
}
