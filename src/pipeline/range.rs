//! The wanted range: from what the user asked, what the lake covers, and how late it may end.

use std::time::Duration;

use crate::error::{Error, ErrorClass, Result};
use crate::text::{Text, text};
use crate::time::{BeijingTime, Coverage, Window};

/// A run plans so much less than this machine's clock allows: the server's, in whole seconds too, may say up to that
/// much less, and a window that ends too late is walked twice.
pub(super) const PLANNING_SLACK_SECONDS: i64 = 2;

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
    pub warning: Option<Text>,
}

impl Range {
    /// The latest second that may be covered when the server's clock has reached `now`. That second is over, whatever
    /// the lag.
    pub fn latest(&self, now: BeijingTime) -> BeijingTime {
        let lag = i64::try_from(self.lag.as_secs()).unwrap_or(i64::MAX).max(1);
        let latest = now.plus_seconds(lag.saturating_neg());
        self.to.map_or(latest, |to| to.min(latest))
    }

    /// Refuses a start that has not come yet at `now`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for such a start.
    pub fn check_start(&self, now: BeijingTime) -> Result<()> {
        match self.from.filter(|from| *from > now) {
            Some(from) => Err(Error::new(
                ErrorClass::RangeWrong,
                text!("the range starts at {from}, which is in the future", from),
            )
            .hint(text!("times without an offset are Beijing time, where it is {now} by this machine's clock", now))),
            None => Ok(()),
        }
    }

    /// Resolves the range at `now` by this machine's clock against what the lake covers; `start` is where a run begins
    /// that is told no start: the earliest second that was ever asked for or is covered.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) without a start on an empty lake, when the start is after the end,
    /// or in the future.
    pub fn resolve(&self, coverage: &Coverage, start: Option<BeijingTime>, now: BeijingTime) -> Result<Resolved> {
        self.check_start(now)?;
        let span = coverage.span();
        let Some(start) = self.from.or(start) else {
            return Err(Error::new(ErrorClass::StartMissing, "the lake is empty and no start is given")
                .hint("say where to begin, for example --from 2026-01-01"));
        };
        if let Some(to) = self.to.filter(|to| *to < start) {
            return Err(Error::new(
                ErrorClass::RangeWrong,
                text!("the range ends at {to}, before it starts at {start}", to, start),
            )
            .hint("--from must not be later than --to; times without an offset are Beijing time"));
        }
        let beyond = span.filter(|span| span.end().plus_seconds(1) < start);
        let warning = beyond.map(|span| {
            text!(
                "the lake ends at {end}: starting at {start} leaves a gap; leave --from out to close it",
                end = span.end(),
                start
            )
        });
        let latest = self.latest(now.plus_seconds(-PLANNING_SLACK_SECONDS));
        Ok(Resolved { window: Window::new(start, latest), warning })
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
        assert_eq!(resolved.as_deref(), Some("2026-10-01 00:00:00 .. 2026-10-20 11:54:58"));
        let resolved =
            resolve(range(Some("2026-09-01 00:00:00"), Some("2026-10-05 00:00:00")), &covered).expect("resolved");
        assert_eq!(resolved.as_deref(), Some("2026-09-01 00:00:00 .. 2026-10-05 00:00:00"));
        assert_eq!(resolve(range(Some("2026-10-20 11:58:00"), None), &covered).expect("nothing yet"), None);
    }

    #[test]
    fn a_start_in_the_future_is_refused_and_one_within_the_lag_is_not() {
        let covered: Coverage = Window::new(at("2026-10-01 00:00:00"), at("2026-10-10 23:59:59")).into_iter().collect();
        for coverage in [covered, Coverage::default()] {
            let resolve = |from| range(Some(from), None).resolve(&coverage, None, at(NOW));
            let error = resolve("2026-10-20 12:00:01").expect_err("the future");
            assert_eq!(error.kind().exit_code(), 2);
            assert!(error.to_string().contains("2026-10-20 12:00:01") && error.hint_text().is_some(), "{error}");
            assert_eq!(resolve("2026-10-20 12:00:00").expect("the present").window, None);
        }
    }

    #[test]
    fn a_second_that_is_not_over_is_never_the_latest() {
        let of = |lag| Range { lag: Duration::from_secs(lag), ..range(None, None) }.latest(at(NOW)).to_string();
        assert_eq!((of(0), of(1), of(2)), (of(1), "2026-10-20 11:59:59".to_owned(), "2026-10-20 11:59:58".to_owned()));
        assert_eq!(of(u64::MAX), "0001-01-01 00:00:00");
    }

    #[test]
    fn bad_ranges_and_gaps_are_said() {
        let empty = Coverage::default();
        assert_eq!(range(None, None).resolve(&empty, None, at(NOW)).expect_err("no start").kind().exit_code(), 2);
        let backwards = range(Some("2026-10-02 00:00:00"), Some("2026-10-01 00:00:00")).resolve(&empty, None, at(NOW));
        assert_eq!(backwards.expect_err("backwards").kind().exit_code(), 2);
        let covered: Coverage = Window::new(at("2026-10-01 00:00:00"), at("2026-10-10 23:59:59")).into_iter().collect();
        let later = |from| range(Some(from), None).resolve(&covered, None, at(NOW)).expect("resolved").warning;
        assert!(later("2026-10-15 00:00:00").is_some_and(|warning| warning.english().contains("2026-10-10 23:59:59")));
        assert_eq!(later("2026-10-11 00:00:00"), None, "that continues exactly");
    }
}
