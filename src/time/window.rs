//! Closed windows of modified times, and how they are cut.
//!
//! Whatever made it, a [`Window`] ends no earlier than it starts: one that is read is refused otherwise. It is written
//! as `{"start":"2026-10-01T00:00:00+08:00","end":"2026-10-01T23:59:59+08:00"}`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::BeijingTime;

/// A closed interval of modified times: both seconds are included, so it is never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Ends")]
pub struct Window {
    start: BeijingTime,
    end: BeijingTime,
}

/// What a window is read from, before anybody has looked at the order of its ends.
#[derive(Deserialize)]
struct Ends {
    start: BeijingTime,
    end: BeijingTime,
}

impl TryFrom<Ends> for Window {
    type Error = String;

    fn try_from(Ends { start, end }: Ends) -> Result<Self, String> {
        Self::new(start, end).ok_or_else(|| format!("a window that ends before it starts: {start} .. {end}"))
    }
}

impl Window {
    /// The window from `start` to `end`, both included; `None` when `start` is after `end`.
    pub fn new(start: BeijingTime, end: BeijingTime) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }

    /// The window of one second.
    pub fn second(at: BeijingTime) -> Self {
        Self { start: at, end: at }
    }

    /// The first second.
    pub fn start(self) -> BeijingTime {
        self.start
    }

    /// The last second.
    pub fn end(self) -> BeijingTime {
        self.end
    }

    /// How many seconds it holds; at least 1.
    pub fn seconds(self) -> u64 {
        self.end.0.abs_diff(self.start.0) + 1
    }

    /// Whether `time` is one of its seconds.
    pub fn contains(self, time: BeijingTime) -> bool {
        self.start <= time && time <= self.end
    }

    /// Whether the two share a second.
    pub fn overlaps(self, other: Window) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// The seconds that both hold.
    pub fn intersect(self, other: Window) -> Option<Window> {
        Window::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// The smallest window that holds both.
    #[must_use]
    pub fn hull(self, other: Window) -> Window {
        Window { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The first `seconds` seconds and what is left, if anything is.
    pub fn split_at(self, seconds: u64) -> (Window, Option<Window>) {
        let taken = i64::try_from(seconds.max(1)).unwrap_or(i64::MAX);
        let cut = self.start.plus_seconds(taken);
        match Window::new(cut, self.end) {
            Some(rest) => (Window { start: self.start, end: cut.plus_seconds(-1) }, Some(rest)),
            None => (self, None),
        }
    }

    /// The window in `count` pieces of about equal length, at least two where it has two seconds.
    pub fn pieces(self, count: u64) -> Vec<Window> {
        let length = self.seconds().div_ceil(count.max(2));
        let (mut pieces, mut rest) = (Vec::new(), Some(self));
        while let Some(window) = rest {
            let (piece, after) = window.split_at(length);
            pieces.push(piece);
            rest = after;
        }
        pieces
    }

    /// What is left before and after `second` when that second is cut out.
    pub fn around(self, second: BeijingTime) -> (Option<Window>, Option<Window>) {
        (
            Window::new(self.start, self.end.min(second.plus_seconds(-1))),
            Window::new(self.start.max(second.plus_seconds(1)), self.end),
        )
    }

    /// The largest leading piece that stays in one Beijing month and within `max_seconds`, and what is left.
    pub fn split_calendar(self, max_seconds: u64) -> (Window, Option<Window>) {
        let in_month = self.start.month().next_start().0.abs_diff(self.start.0);
        self.split_at(in_month.min(max_seconds))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} .. {}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> BeijingTime {
        BeijingTime::parse(text).expect("a time")
    }

    fn window(start: i64, end: i64) -> Window {
        Window::new(BeijingTime(start), BeijingTime(end)).expect("a window")
    }

    #[test]
    fn a_window_that_is_read_ends_no_earlier_than_it_starts() {
        let read = |start: &str, end: &str| {
            let text = format!(r#"{{"start":"{start}","end":"{end}"}}"#);
            (serde_json::from_str::<Window>(&text).map_err(|error| error.to_string()), text)
        };
        let (first, last) = ("2026-10-01T00:00:00+08:00", "2026-10-01T23:59:59+08:00");
        for (start, end) in [(first, last), (first, first)] {
            let (window, text) = read(start, end);
            assert_eq!(serde_json::to_string(&window.expect("a window")).expect("JSON"), text);
        }
        let (reversed, _) = read(last, first);
        let why = "a window that ends before it starts: 2026-10-01 23:59:59 .. 2026-10-01 00:00:00";
        assert_eq!(reversed, Err(why.to_owned()));
        assert!(read("2026-10-01", last).0.is_err());
    }

    #[test]
    fn pieces_make_up_the_window() {
        for (seconds, count, pieces) in [(1, 5, 1), (2, 0, 2), (10, 3, 3), (10, 100, 10), (7, 4, 4)] {
            let whole = window(100, 99 + seconds);
            let cut = whole.pieces(count);
            assert_eq!(cut.len(), pieces, "{seconds} seconds in {count}");
            assert!((cut[0].start(), cut[cut.len() - 1].end()) == (whole.start(), whole.end()));
            assert!(cut.windows(2).all(|pair| pair[0].end().plus_seconds(1) == pair[1].start()));
        }
    }

    #[test]
    fn calendar_cuts_at_beijing_month_ends() {
        let all = Window::new(at("2026-01-31 12:00:00"), at("2026-03-01 00:00:00")).expect("a window");
        let (first, rest) = all.split_calendar(30 * 86_400);
        assert_eq!(first.to_string(), "2026-01-31 12:00:00 .. 2026-01-31 23:59:59");
        let (second, rest) = rest.expect("february").split_calendar(30 * 86_400);
        assert_eq!(second.to_string(), "2026-02-01 00:00:00 .. 2026-02-28 23:59:59");
        assert_eq!(rest, Some(Window::second(at("2026-03-01 00:00:00"))));
        let december = Window::new(at("2026-12-01 00:00:00"), at("2026-12-31 23:59:59")).expect("a window");
        assert_eq!(
            december.split_calendar(30 * 86_400).1.expect("a 31st day").to_string(),
            "2026-12-31 00:00:00 .. 2026-12-31 23:59:59"
        );
    }

    proptest! {
        #[test]
        fn cutting_loses_no_second(
            start in 0_i64..1_000,
            length in 1_i64..1_000,
            cut in 0_u64..1_500,
            second in 0_i64..2_000,
        ) {
            let whole = window(start, start + length - 1);
            let (first, rest) = whole.split_at(cut);
            prop_assert_eq!(first.seconds() + rest.map_or(0, Window::seconds), whole.seconds());
            prop_assert!(rest.is_none_or(|rest| rest.start.0 == first.end.0 + 1));
            let (before, after) = whole.around(BeijingTime(second));
            let held = before.map_or(0, Window::seconds) + after.map_or(0, Window::seconds);
            prop_assert_eq!(held, whole.seconds() - u64::from(whole.contains(BeijingTime(second))));
        }
    }
}
