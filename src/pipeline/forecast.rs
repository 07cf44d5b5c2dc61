//! What a sync would do: its windows, with estimated rows and calls.

use std::sync::Arc;

use super::raw::KeepRaw;
use super::source::Source;
use super::spill::SpillBuffer;
use super::{SyncOptions, recent_density};
use crate::config::AccountSettings;
use crate::error::Result;
use crate::extract::cuts::Cuts;
use crate::extract::pages::Pages as _;
use crate::extract::plan::Planner;
use crate::extract::whole::contradicted;
use crate::gateway::{Gateway, Query};
use crate::id::RunId;
use crate::log::Lake;
use crate::text::Text;
use crate::time::{Clock, Window};
use crate::transform::PageDecoder;

/// One window that `sync` would walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedWindow {
    /// The window.
    pub window: Window,
    /// Its rows: the gateway's total, or what the density seen so far lets expect; `None` when nothing is known.
    pub rows: Option<u64>,
}

/// What a sync would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The wanted range; `None` when it is empty.
    pub range: Option<Window>,
    /// The windows that are missing, in ascending order.
    pub windows: Vec<PlannedWindow>,
    /// What the user should know.
    pub warning: Option<Text>,
    /// Calls that the forecast itself took.
    pub calls: u64,
    page_size: u32,
}

impl Forecast {
    /// Rows of all windows; `None` when nothing is known of some.
    pub fn rows(&self) -> Option<u64> {
        self.windows.iter().map(|planned| planned.rows).sum()
    }

    /// Calls of one window in a quiet world: its pages and one more, one further where they are all full, or one when
    /// it is less than a page.
    pub fn calls_of(&self, planned: &PlannedWindow) -> u64 {
        let size = u64::from(self.page_size);
        let calls = |rows: u64| rows.div_ceil(size) + 1 + u64::from(rows.is_multiple_of(size));
        planned.rows.filter(|rows| *rows >= size).map_or(1, calls)
    }

    /// Calls of all windows in a quiet world.
    pub fn estimated_calls(&self) -> u64 {
        self.windows.iter().map(|planned| self.calls_of(planned)).sum()
    }
}

/// Plans as [`sync`](super::sync) would, without landing anything. With an account it asks the gateway for the total of
/// each window, one call for each window at most, and one for each that is found too large; without one it asks nobody.
///
/// # Errors
/// As [`Gateway::query`], and usage errors of the range.
pub async fn plan(
    account: Option<&AccountSettings>,
    lake: Option<&Lake>,
    options: &SyncOptions,
    clock: Arc<dyn Clock>,
) -> Result<Forecast> {
    let coverage = lake.map(|lake| lake.coverage().clone()).unwrap_or_default();
    let start = lake.and_then(|lake| lake.state().start());
    let resolved = options.range().resolve(&coverage, start, clock.now())?;
    let mut forecast = Forecast {
        range: resolved.window,
        windows: Vec::new(),
        warning: resolved.warning,
        calls: 0,
        page_size: options.page_size,
    };
    let Some(range) = resolved.window else { return Ok(forecast) };
    let mut planner = Planner::new(range, &coverage, options.max_rows());
    if let Some((rows, seconds)) = lake.and_then(recent_density) {
        planner.expect(rows, seconds);
    }
    let source = match account {
        Some(account) => {
            let gateway = Gateway::new(account, &options.calls, Arc::clone(&clock))?;
            let decoder = PageDecoder::new(account.edition, RunId::generate())?;
            Some(Source::new(gateway, decoder, SpillBuffer::new(usize::MAX), KeepRaw::No, clock))
        }
        None => None,
    };
    let mut cuts = Cuts::default();
    while let Some(window) = planner.take() {
        let rows = match &source {
            Some(source) => {
                let first_row = Query::Page { window, page_no: 0, page_size: 1 };
                let total = source.ask(&first_row, window, 0, 1).await?.page.as_ref().total().unwrap_or(0);
                if source.extra_seconds() == 0 && cuts.note(window, total).is_some() {
                    return Err(contradicted().with("window", window));
                }
                if total > 2 * options.max_rows() && window.seconds() > 1 {
                    cuts.cut(window, total);
                    // Sync would cut it as well.
                    planner.put_back_too_large(window, total, total.div_ceil(options.max_rows()));
                    continue;
                }
                planner.observe(window, total);
                Some(total)
            }
            None => planner.expected_rows(window),
        };
        forecast.windows.push(PlannedWindow { window, rows });
    }
    forecast.calls = source.map_or(0, |source| source.gateway().calls());
    Ok(forecast)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::plan::Hours;
    use crate::time::{BeijingTime, Coverage};
    use crate::units::thousands;

    const PAGE: &str = include_str!("../../docs/scale.md");
    const CHINESE_PAGE: &str = include_str!("../../docs/zh/scale.md");
    const DAYS: u64 = 1_826;
    const DAY_SECONDS: i64 = 86_400;
    /// An office that works from 9 to 18.
    const OFFICE: std::ops::Range<usize> = 9..18;

    /// How many seconds of office there were before `second`.
    fn office_seconds(second: i64) -> i64 {
        let (day, second) = (second.div_euclid(DAY_SECONDS), second.rem_euclid(DAY_SECONDS));
        let hours = |hours: usize| hours as i64 * 3_600;
        let whole = hours(OFFICE.len());
        day * whole + (second - hours(OFFICE.start)).clamp(0, whole)
    }

    /// What the planner makes of five years in which so many requisitions come a day, in virtual time: nobody is asked.
    fn five_years(a_day: u64, max_rows: u64) -> Forecast {
        let start = BeijingTime::parse("2021-07-01 00:00:00").expect("a time");
        let range = Window::new(start, start.plus_seconds(DAYS as i64 * DAY_SECONDS - 1)).expect("a window");
        let rows = |window: Window| {
            let at = |time: BeijingTime, more| office_seconds(time.unix() + 8 * 3_600 + more) as u128;
            let seconds = at(window.end(), 1) - at(window.start(), 0);
            u64::try_from(seconds * u128::from(a_day) / (OFFICE.len() as u128 * 3_600)).expect("a number")
        };
        let mut planner = Planner::new(range, &Coverage::default(), max_rows);
        let mut planned = Forecast { range: Some(range), windows: Vec::new(), warning: None, calls: 0, page_size: 100 };
        while let Some(window) = planner.take() {
            let total = rows(window);
            if total > 2 * max_rows && window.seconds() > 1 {
                planned.calls += 1;
                planner.put_back_too_large(window, total, total.div_ceil(max_rows));
                continue;
            }
            let mut hours = Hours::default();
            OFFICE.for_each(|hour| hours[hour] = total / OFFICE.len() as u64);
            planner.learn(window, &hours);
            planned.windows.push(PlannedWindow { window, rows: Some(total) });
        }
        planned
    }

    /// The formula of docs/scale.md, and the numbers of its table.
    #[test]
    fn the_page_about_scale_says_what_the_planner_makes_of_five_years() {
        for page in [PAGE, CHINESE_PAGE] {
            assert!(page.contains("R / 100 + W") && page.contains("15%") && page.contains("R / 4,000"), "the formula");
        }
        for a_day in [10, 30, 100, 300, 1_000, 10_000] {
            let planned = five_years(a_day, 5_000);
            let requisitions = a_day * DAYS;
            assert!(
                planned.rows().expect("an estimate").abs_diff(requisitions) <= planned.windows.len() as u64,
                "all rows: {a_day}"
            );
            let said = requisitions / 100 + 125.max(requisitions / 4_000);
            let calls = planned.estimated_calls() + planned.calls;
            assert!(calls.abs_diff(said) * 100 <= said * 15, "{a_day} a day: {calls} calls, {said} by the page");
            let row = format!("| {} | {} | {} |", thousands(a_day), thousands(requisitions), thousands(said));
            for page in [PAGE, CHINESE_PAGE] {
                assert!(page.contains(&row), "the page has no line `{row}`, or not these numbers");
            }
            // In windows of twenty pages, as beside other accounts.
            let shared = five_years(a_day, 2_000);
            let more = shared.estimated_calls() + shared.calls;
            assert!(more <= calls + calls / 10 + 4, "{a_day} a day: {more} calls in small windows, {calls} else");
        }
    }
}
