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
