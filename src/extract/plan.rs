//! Wanted range minus coverage, as windows that are cut when their turn comes.
//!
//! Every window lies within one Beijing month, spans at most 30 days, and is expected to hold no more rows than a walk
//! should read. The expectation is the density of what was walked last, weighed by the hours of the day, so the planner
//! cuts late: a window is fixed only when somebody takes it. Windows follow each other as [a, b] and [b+1s, c].

use std::collections::VecDeque;

use super::day::Day;
pub(crate) use super::day::Hours;
use crate::time::{BeijingTime, Coverage, Window};

/// The longest span that the gateways allow: 2018-11-01 00:00:00 to 2018-11-30 23:59:59.
pub(crate) const MAX_SPAN_SECONDS: u64 = 30 * 86_400;

/// A bulk import fills single seconds.
const SHORTEST_OBSERVED_SECONDS: u64 = 3_600;

/// Hands out windows.
#[derive(Debug)]
pub(crate) struct Planner {
    gaps: VecDeque<Window>,
    max_rows: u64,
    day: Day,
    density: Option<Density>,
}

/// Rows in a stretch of time, by its [weight](Day::weight).
#[derive(Clone, Copy, Debug)]
struct Density {
    rows: u64,
    weight: u128,
}

impl Planner {
    /// Plans the parts of `wanted` that `coverage` lacks, in windows of about `max_rows` rows.
    pub(crate) fn new(wanted: Window, coverage: &Coverage, max_rows: u64) -> Self {
        Self { gaps: coverage.gaps(wanted).into(), max_rows: max_rows.max(1), day: Day::default(), density: None }
    }

    /// Hands the windows that `is_last` names out after all others.
    pub(crate) fn put_last(&mut self, is_last: impl Fn(Window) -> bool) {
        let (last, first): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.gaps).into_iter().partition(|gap| is_last(*gap));
        self.gaps = first.into_iter().chain(last).collect();
    }

    /// Forgets the windows that `is_unwanted` names.
    pub(crate) fn forget(&mut self, is_unwanted: impl Fn(Window) -> bool) {
        self.gaps.retain(|gap| !is_unwanted(*gap));
    }

    /// From here on, windows are planned for about `max_rows` rows.
    pub(crate) fn set_max_rows(&mut self, max_rows: u64) {
        self.max_rows = max_rows.max(1);
    }

    /// Expects `rows` rows in `seconds` of any days, as long as nothing was observed.
    pub(crate) fn expect(&mut self, rows: u64, seconds: u64) {
        self.density = Some(Density { rows, weight: Day::usual_weight(seconds) });
    }

    /// Notes that `window` held `rows` rows; later windows are cut by it.
    ///
    /// A stretch of less than an hour says nothing of the hours around it and is not taken.
    pub(crate) fn observe(&mut self, window: Window, rows: u64) {
        if window.seconds() >= SHORTEST_OBSERVED_SECONDS {
            self.density = Some(Density { rows, weight: self.day.weight(window) });
        }
    }

    /// Notes the same, and how the rows were spread over the hours of a day.
    pub(crate) fn learn(&mut self, window: Window, hours: &Hours) {
        if window.seconds() >= SHORTEST_OBSERVED_SECONDS {
            self.day.learn(window, hours);
            self.observe(window, hours.iter().sum());
        }
    }

    /// Puts windows back, to be handed out next.
    pub(crate) fn put_back(&mut self, windows: impl IntoIterator<Item = Window>) {
        let mut windows: Vec<Window> = windows.into_iter().collect();
        windows.sort_unstable();
        windows.into_iter().rev().for_each(|window| self.gaps.push_front(window));
    }

    /// Puts back a window that was found to hold `total` rows, which `pieces` walks should read. What is handed out
    /// next is at most that part of it, whatever the density says: a server may give smaller pages than windows are
    /// planned by.
    pub(crate) fn put_back_too_large(&mut self, window: Window, total: u64, pieces: u64) {
        self.observe(window, total);
        let part = self.day.weight(window) / u128::from(pieces.max(2));
        let (first, rest) = window.split_at(self.day.seconds(window, part));
        self.put_back([first].into_iter().chain(rest));
    }

    /// The next window; `None` when everything was handed out.
    pub(crate) fn take(&mut self) -> Option<Window> {
        let gap = self.gaps.pop_front()?;
        let (window, rest) = gap.split_calendar(self.max_seconds(gap));
        if let Some(rest) = rest {
            self.gaps.push_front(rest);
        }
        Some(window)
    }

    /// What was not handed out yet.
    pub(crate) fn left(&self) -> impl Iterator<Item = Window> {
        self.gaps.iter().copied()
    }

    /// Forgets everything later than `end`.
    pub(crate) fn end_at(&mut self, end: BeijingTime) {
        self.gaps = self.gaps.iter().filter_map(|gap| Window::new(gap.start(), gap.end().min(end))).collect();
    }

    /// Plans more windows, behind all others.
    pub(crate) fn extend(&mut self, windows: impl IntoIterator<Item = Window>) {
        self.gaps.extend(windows);
    }

    /// How many rows `window` is expected to hold; `None` as long as nothing was observed.
    pub(crate) fn expected_rows(&self, window: Window) -> Option<u64> {
        let density = self.density?;
        let rows = u128::from(density.rows) * self.day.weight(window) / density.weight.max(1);
        Some(u64::try_from(rows).unwrap_or(u64::MAX))
    }

    /// How long a window may be that begins with `gap`.
    fn max_seconds(&self, gap: Window) -> u64 {
        match self.density {
            Some(Density { rows, weight }) if rows > 0 => {
                let (longest, _) = gap.split_at(MAX_SPAN_SECONDS);
                self.day.seconds(longest, u128::from(self.max_rows) * weight / u128::from(rows)).max(1)
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
        planner.observe(first, 30_000);
        let second = planner.take().expect("a window");
        assert_eq!(second.to_string(), "2026-01-01 00:00:00 .. 2026-01-05 23:59:59");
        assert_eq!(planner.expected_rows(second), Some(5000));
        planner.observe(window("2026-01-01 00:00:00", "2026-01-01 00:00:00"), 1_000);
        assert_eq!(planner.expected_rows(second), Some(5000), "a second says nothing of its day");
        planner.observe(window("2026-01-01 00:00:00", "2026-01-01 00:59:59"), u64::MAX);
        assert_eq!(planner.take().expect("a second").seconds(), 1, "never less than a second");
        planner.observe(window("2026-01-01 00:00:00", "2026-01-01 23:59:59"), 0);
        assert_eq!(
            planner.take().expect("the rest").end().to_string(),
            "2026-01-30 23:59:59",
            "an empty stretch says nothing bad"
        );
    }

    #[test]
    fn the_hours_of_the_day_shape_the_windows() {
        let all = window("2026-01-01 00:00:00", "2026-01-20 23:59:59");
        let mut planner = Planner::new(all, &Coverage::default(), 1_000);
        // An office that works from 9 to 12 and from 14 to 17: 6,000 rows a day.
        let mut hours = [0; 24];
        (9..12).chain(14..17).for_each(|hour: usize| hours[hour] = 1_000);
        planner.learn(window("2026-01-01 00:00:00", "2026-01-01 23:59:59"), &hours);
        let planned: Vec<Window> = std::iter::from_fn(|| planner.take()).collect();
        // A requisition every 3.6 seconds of office hours.
        let is_office = |second: &i64| {
            let hour = BeijingTime::from_unix(*second).expect("a time").hour();
            (9..12).contains(&hour) || (14..17).contains(&hour)
        };
        let rows = |window: &Window| {
            let seconds = window.start().unix()..=window.end().unix();
            seconds.filter(is_office).count() * 10 / 36
        };
        let held: Vec<usize> = planned.iter().map(rows).collect();
        // The night weighs a little more than it holds; planned by the clock alone, one in three would hold twice as
        // much.
        assert!(held.iter().all(|rows| *rows <= 1_030), "{held:?}");
        assert!((120..=126).contains(&planned.len()), "{held:?}");
    }

    #[test]
    fn what_is_too_large_comes_back_shorter() {
        let all = window("2026-01-01 00:00:00", "2026-01-10 23:59:59");
        let mut planner = Planner::new(all, &Coverage::default(), 1_000);
        let first = planner.take().expect("a window");
        planner.put_back_too_large(first, 10_000, 10);
        let second = planner.take().expect("a window");
        assert_eq!((second.start(), second.seconds()), (all.start(), 86_400), "a tenth, from the start on");
        // Fewer rows than a window is planned for are too many where the server gives small pages.
        let mut window = second;
        for rows in (1..10).rev() {
            planner.put_back_too_large(window, rows * 10, 2);
            let next = planner.take().expect("a window");
            assert!(next.start() == window.start() && next.seconds() <= window.seconds().div_ceil(2), "{next}");
            window = next;
        }
        let rest: u64 = std::iter::from_fn(|| planner.take()).map(Window::seconds).sum();
        assert_eq!(window.seconds() + rest, all.seconds(), "nothing is left out");
    }
}
