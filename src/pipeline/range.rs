//! The wanted range: from what the user asked, what the lake covers, and how late it may end.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::time::{BeijingTime, Coverage, Window};

/// What the user asked for.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// First wanted second; `None` continues what the lake covers.
    pub from: Option<BeijingTime>,
    /// Last wanted second; `None` means as late as the lag allows.
    pub to: Option<BeijingTime>,
    /// How far behind the server's clock a window must end.
    pub lag: Duration,
}

/// The range that a run wants to have covered at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The range; `None` when it holds no second yet.
    pub window: Option<Window>,
    /// What the user should know.
    pub warning: Option<String>,
}

impl Range {
    /// The latest second that may be walked when the server's clock says `now`.
    pub fn latest(&self, now: BeijingTime) -> BeijingTime {
        let lag = i64::try_from(self.lag.as_secs()).unwrap_or(i64::MAX);
        let latest = now.plus_seconds(lag.saturating_neg());
        self.to.map_or(latest, |to| to.min(latest))
    }

    /// Resolves the range at `now` against what the lake covers; `start` is where a run begins that is told no start: the earliest second
    /// that was ever asked for or is covered.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) without a start on an empty lake, or when the start is after the end.
    pub fn resolve(&self, coverage: &Coverage, start: Option<BeijingTime>, now: BeijingTime) -> Result<Resolved> {
        let span = coverage.span();
        let Some(start) = self.from.or(start) else {
            return Err(Error::usage("the lake is empty and no start is given")
                .hint("say where to begin, for example --from 2026-01-01"));
        };
        if let Some(to) = self.to.filter(|to| *to < start) {
            return Err(Error::usage(format!("the range ends at {to}, before it starts at {start}"))
                .hint("--from must not be later than --to; times without an offset are Beijing time"));
        }
        let beyond = span.filter(|span| span.end().plus_seconds(1) < start);
        let warning = beyond.map(|span| {
            format!("the lake ends at {}: starting at {start} leaves a gap; leave --from out to close it", span.end())
        });
        Ok(Resolved { window: Window::new(start, self.latest(now)), warning })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> BeijingTime {
        BeijingTime::parse(text).expect("a time")
    }

    fn range(from: Option<&str>, to: Option<&str>) -> Range {
        Range { from: from.map(at), to: to.map(at), lag: Duration::from_secs(300) }
    }

    const NOW: &str = "2026-10-20 12:00:00";

    #[test]
    fn a_range_is_clamped_to_the_lag_and_continues_the_coverage() {
        let covered: Coverage = Window::new(at("2026-10-01 00:00:00"), at("2026-10-10 23:59:59")).into_iter().collect();
        let resolve = |range: Range, coverage: &Coverage| {
            range
                .resolve(coverage, coverage.span().map(Window::start), at(NOW))
                .map(|r| r.window.map(|w| w.to_string()))
        };
        let resolved = resolve(range(None, None), &covered).expect("resolved");
        assert_eq!(resolved.as_deref(), Some("2026-10-01 00:00:00 .. 2026-10-20 11:55:00"));
        let resolved =
            resolve(range(Some("2026-09-01 00:00:00"), Some("2026-10-05 00:00:00")), &covered).expect("resolved");
        assert_eq!(resolved.as_deref(), Some("2026-09-01 00:00:00 .. 2026-10-05 00:00:00"));
        assert_eq!(resolve(range(Some("2026-10-20 11:58:00"), None), &covered).expect("nothing yet"), None);
    }

    #[test]
    fn bad_ranges_and_gaps_are_said() {
        let empty = Coverage::default();
        assert_eq!(range(None, None).resolve(&empty, None, at(NOW)).expect_err("no start").kind().exit_code(), 2);
        let backwards = range(Some("2026-10-02 00:00:00"), Some("2026-10-01 00:00:00")).resolve(&empty, None, at(NOW));
        assert_eq!(backwards.expect_err("backwards").kind().exit_code(), 2);
        let covered: Coverage = Window::new(at("2026-10-01 00:00:00"), at("2026-10-10 23:59:59")).into_iter().collect();
        let later = |from| range(Some(from), None).resolve(&covered, None, at(NOW)).expect("resolved").warning;
        assert!(later("2026-10-15 00:00:00").is_some_and(|warning| warning.contains("2026-10-10 23:59:59")));
        assert_eq!(later("2026-10-11 00:00:00"), None, "that continues exactly");
    }
}
