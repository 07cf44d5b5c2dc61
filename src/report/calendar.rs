//! Which days of the last months a lake covers: pure, from the log state alone.

use super::months::MonthAxis;
use crate::time::{BeijingTime, Coverage, Month, Window};

const SECONDS_OF_A_DAY: i64 = 86_400;

/// How a day stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DayState {
    /// Nobody asked for it, or it has not come.
    Unasked,
    /// All of it that was asked for is covered.
    Covered,
    /// A part of it is missing.
    Partly,
    /// All of it that was asked for is missing.
    Missing,
    /// It is covered, and its rows are not kept any more.
    Expired,
}

/// The days of the last months, and what is missing in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Calendar {
    /// The months from the first that was asked for, each with its days.
    pub(super) months: Vec<(Month, Vec<DayState>)>,
    /// How many days stand so: covered, partly covered, missing, expired.
    pub(super) days: [u64; 4],
    /// What is missing between the first second that was asked for and the last covered one.
    pub(super) gaps: Vec<Window>,
    /// What is covered and kept: from when to when, gaps included.
    pub(super) span: Option<Window>,
    /// How many seconds are covered and kept.
    pub(super) covered_seconds: u64,
    /// How many seconds are missing.
    pub(super) gap_seconds: u64,
    /// Whether covered ranges have expired.
    pub(super) has_expired: bool,
}

impl Calendar {
    /// That of a coverage, of which `expired` is not kept any more. `start` is the first second that was asked for, and
    /// `last` the time whose month is the last.
    pub(super) fn of(
        coverage: &Coverage,
        expired: &[Window],
        start: Option<BeijingTime>,
        kept_span: Option<Window>,
        last: BeijingTime,
    ) -> Self {
        let wanted = start.zip(coverage.span()).and_then(|(start, span)| Window::new(start, span.end()));
        let Some(wanted) = wanted else { return Self { has_expired: !expired.is_empty(), ..Self::default() } };
        let gaps = coverage.gaps(wanted);
        let mut kept = coverage.clone();
        expired.iter().for_each(|range| kept.remove(*range));
        let seconds = |windows: &[Window]| windows.iter().map(|window| window.seconds()).sum();
        let mut calendar = Self {
            gap_seconds: seconds(&gaps),
            covered_seconds: seconds(kept.windows()),
            span: kept_span,
            has_expired: !expired.is_empty(),
            gaps,
            ..Self::default()
        };
        // Where rows were kept of whole months that have expired, the calendar begins there.
        let first = expired.iter().map(|range| range.end().month()).min();
        let first = first.map_or(wanted.start().month(), |first| first.min(wanted.start().month()));
        for (month, ()) in MonthAxis::until(last).months {
            if month < first {
                continue;
            }
            let days = days(month).map(|day| state(day, wanted, coverage, expired)).collect::<Vec<_>>();
            for day in &days {
                let place = match day {
                    DayState::Unasked => continue,
                    DayState::Covered => 0,
                    DayState::Partly => 1,
                    DayState::Missing => 2,
                    DayState::Expired => 3,
                };
                if let Some(count) = calendar.days.get_mut(place) {
                    *count += 1;
                }
            }
            calendar.months.push((month, days));
        }
        calendar
    }
}

/// The days of a month.
fn days(month: Month) -> impl Iterator<Item = Window> {
    let (first, next) = (month.start(), month.next_start());
    let days = (next.unix() - first.unix()) / SECONDS_OF_A_DAY;
    (0..days).filter_map(move |day| {
        let start = first.plus_seconds(day * SECONDS_OF_A_DAY);
        Window::new(start, start.plus_seconds(SECONDS_OF_A_DAY - 1))
    })
}

fn state(day: Window, wanted: Window, coverage: &Coverage, expired: &[Window]) -> DayState {
    if expired.iter().any(|range| range.overlaps(day)) && coverage.gaps(day).is_empty() {
        return DayState::Expired;
    }
    let Some(asked) = day.intersect(wanted) else { return DayState::Unasked };
    let missing: u64 = coverage.gaps(asked).iter().map(|gap| gap.seconds()).sum();
    match missing {
        0 => DayState::Covered,
        _ if missing == asked.seconds() => DayState::Missing,
        _ => DayState::Partly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> BeijingTime {
        BeijingTime::parse(text).expect("a time")
    }

    fn window(start: &str, end: &str) -> Window {
        Window::new(at(start), at(end)).expect("a window")
    }

    #[test]
    fn days_are_told_apart() {
        let expired = window("0001-01-01 00:00:00", "2026-03-31 23:59:59");
        let coverage: Coverage = [
            expired,
            window("2026-04-02 10:00:00", "2026-04-03 23:59:59"),
            window("2026-04-06 00:00:00", "2026-04-06 09:00:00"),
        ]
        .into_iter()
        .collect();
        let start = at("2026-04-01 12:00:00");
        let kept = Window::new(at("2026-04-02 10:00:00"), at("2026-04-06 09:00:00"));
        let last = at("2026-05-02 00:00:00");
        let calendar = Calendar::of(&coverage, &[expired], Some(start), kept, last);
        let shown: Vec<String> = calendar.months.iter().map(|(month, _)| month.to_string()).collect();
        assert_eq!(shown, ["2026-03", "2026-04", "2026-05"]);
        assert!(calendar.months[0].1.iter().all(|day| *day == DayState::Expired));
        let april = &calendar.months[1].1[..7];
        use DayState::{Covered, Missing, Partly, Unasked};
        assert_eq!(april, [Missing, Partly, Covered, Missing, Missing, Covered, Unasked], "what was asked for counts");
        assert_eq!(calendar.months[1].1.len(), 30);
        assert_eq!(calendar.days, [2, 1, 3, 31]);
        let gap = [
            window("2026-04-01 12:00:00", "2026-04-02 09:59:59"),
            window("2026-04-04 00:00:00", "2026-04-05 23:59:59"),
        ];
        assert_eq!(calendar.gaps, gap);
        assert_eq!(calendar.gap_seconds, 22 * 3_600 + 2 * 86_400);
        assert_eq!(calendar.covered_seconds, 38 * 3_600 + 9 * 3_600 + 1);
    }

    #[test]
    fn nothing_covered_is_an_empty_calendar() {
        let none =
            Calendar::of(&Coverage::default(), &[], Some(at("2026-04-01 00:00:00")), None, at("2026-04-02 00:00:00"));
        assert_eq!(none, Calendar::default());
    }
}
