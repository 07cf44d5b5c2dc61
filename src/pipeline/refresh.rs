//! Which seconds are walked again: those that were asked for, and no more.
//!
//! A refresh walks the lookback, or the seconds in which quarantined records lie, and never whole commits for the sake
//! of a few of their seconds. Ranges lie in one Beijing month, hold no more rows than a walk should read, and are
//! joined where one walk over both costs no more calls.

use super::{Again, SyncOptions};
use crate::error::Result;
use crate::extract::plan::MAX_SPAN_SECONDS;
use crate::log::{Lake, LiveCommit, Table};
use crate::time::{Coverage, Window};
use crate::transform::refresh_range;

/// What a run walks again, in the order of time.
///
/// # Errors
/// What reading a quarantine file fails with.
pub(super) async fn plan(lake: &Lake, options: &SyncOptions) -> Result<Vec<Window>> {
    let mut wanted = Coverage::default();
    if let Some(lookback) = options.lookback
        && let Some(span) = lake.coverage().span()
    {
        let seconds = i64::try_from(lookback.as_secs()).unwrap_or(i64::MAX);
        let since = span.end().plus_seconds(1_i64.saturating_sub(seconds)).max(span.start());
        Window::new(since, span.end()).into_iter().for_each(|range| wanted.insert(range));
    }
    // A record whose second is not known is told to be gone only by a walk over all that was requested with it: that is
    // not cut, however many rows it has. It was one walk before.
    let mut whole = Vec::new();
    if options.again == Again::Quarantined {
        let ranges = quarantined(lake).await?;
        let is_cheap = |hull| expected_rows(lake, hull) < u64::from(options.page_size);
        let of_range = |range| pieces(lake, &std::iter::once(range).collect(), u64::MAX);
        whole = joined(ranges, is_cheap).into_iter().flat_map(of_range).collect();
        whole.iter().for_each(|range| wanted.remove(*range));
    }
    let mut ranges = pieces(lake, &wanted, options.max_rows());
    ranges.append(&mut whole);
    ranges.sort_unstable();
    Ok(ranges)
}

/// What is left to do of a range, after another run has committed in it.
pub(super) fn plan_again(lake: &Lake, range: Window, options: &SyncOptions) -> Vec<Window> {
    pieces(lake, &std::iter::once(range).collect(), options.max_rows())
}

/// The seconds in which the quarantined records of the lake lie, in the order of time.
async fn quarantined(lake: &Lake) -> Result<Vec<Window>> {
    let mut ranges = Vec::new();
    for (_, live) in lake.with_quarantine() {
        let Some(window) = live.window else { continue };
        for entry in &live.quarantine {
            let bytes = lake.read(entry).await?;
            for line in String::from_utf8_lossy(&bytes).lines() {
                ranges.push(refresh_range(line, window)?);
            }
        }
    }
    ranges.sort_unstable();
    Ok(ranges)
}

/// Joins neighbours where one walk reads all that lies between them at no cost.
fn joined(ranges: Vec<Window>, is_cheap: impl Fn(Window) -> bool) -> Vec<Window> {
    let mut all: Vec<Window> = Vec::new();
    for range in ranges {
        match all.last_mut() {
            Some(last) if last.intersect(range).is_some() || is_cheap(last.hull(range)) => *last = last.hull(range),
            _ => all.push(range),
        }
    }
    all
}

/// The seconds of `wanted` that are covered and kept, each piece within one Beijing month, and with no more than `most`
/// rows expected.
pub(super) fn pieces(lake: &Lake, wanted: &Coverage, most: u64) -> Vec<Window> {
    let expired = lake.state().expired().map(|(_, live)| live.expired.clone()).unwrap_or_default();
    let mut covered = lake.coverage().clone();
    expired.into_iter().for_each(|range| covered.remove(range));
    let mut pieces = Vec::new();
    for window in wanted.windows() {
        for held in covered.windows().iter().filter_map(|held| held.intersect(*window)) {
            for month in months(held) {
                match expected_rows(lake, month).div_ceil(most.max(1)) {
                    0 | 1 => pieces.push(month),
                    parts => pieces.extend(month.pieces(parts)),
                }
            }
        }
    }
    pieces
}

/// A window, cut where a Beijing month ends, and where it is longer than a gateway allows.
pub(super) fn months(window: Window) -> Vec<Window> {
    let mut months = Vec::new();
    let mut rest = Some(window);
    while let Some(window) = rest {
        let (first, later) = window.split_calendar(MAX_SPAN_SECONDS);
        months.push(first);
        rest = later;
    }
    months
}

/// How many header rows the lake has in these seconds, as far as the windows of its commits tell.
fn expected_rows(lake: &Lake, range: Window) -> u64 {
    let share = |live: &LiveCommit, window: Window| {
        let own = window.intersect(range).map_or(0, Window::seconds);
        (u128::from(live.rows(Table::PurchaseApply)) * u128::from(own)).div_ceil(u128::from(window.seconds().max(1)))
    };
    let touched = lake.state().touching(range);
    let rows: u128 = touched.iter().filter_map(|(id, window)| Some(share(lake.state().live().get(id)?, *window))).sum();
    u64::try_from(rows).unwrap_or(u64::MAX)
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
    fn a_range_is_cut_where_a_month_ends_and_after_thirty_days() {
        let cut = months(window("2026-04-30 12:00:00", "2026-06-01 00:00:00"));
        let shown: Vec<String> = cut.iter().map(Window::to_string).collect();
        assert_eq!(
            shown,
            [
                "2026-04-30 12:00:00 .. 2026-04-30 23:59:59",
                "2026-05-01 00:00:00 .. 2026-05-30 23:59:59",
                "2026-05-31 00:00:00 .. 2026-05-31 23:59:59",
                "2026-06-01 00:00:00 .. 2026-06-01 00:00:00",
            ]
        );
        let cut = months(window("2026-07-01 00:00:00", "2026-07-31 23:59:59"));
        let shown: Vec<String> = cut.iter().map(Window::to_string).collect();
        assert_eq!(
            shown,
            ["2026-07-01 00:00:00 .. 2026-07-30 23:59:59", "2026-07-31 00:00:00 .. 2026-07-31 23:59:59"],
            "a gateway refuses more than 30 days"
        );
    }

    #[test]
    fn neighbours_are_joined_where_that_is_cheap() {
        let at =
            |second: u32| window(&format!("2026-05-30 12:00:{second:02}"), &format!("2026-05-30 12:00:{second:02}"));
        let ranges = vec![at(1), at(1), at(3), at(40)];
        let all = joined(ranges, |hull| hull.seconds() < 10);
        assert_eq!(all, [at(1).hull(at(3)), at(40)]);
    }
}
