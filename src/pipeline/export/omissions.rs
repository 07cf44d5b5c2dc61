//! What is not among the rows of a range, as the log tells: seconds that the lake does not cover, months that have
//! expired, and records in quarantine.

use super::ExportRange;
use crate::log::{Lake, Table};
use crate::time::{BeijingTime, Window};

/// What whoever reads exported rows should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Omissions {
    /// Seconds of the range that the lake does not cover. Of an end that was not asked for it is what the lake covers,
    /// or was told to cover.
    pub(crate) gaps: Vec<Window>,
    /// Seconds of which only requisitions that were open are kept, if these.
    pub(crate) expired: Vec<Window>,
    /// How many records stand in quarantine, of commits that reach into the range.
    pub(crate) quarantined: u64,
}

impl Omissions {
    /// Those on a range of a table. Outcomes of stops are all there.
    pub(super) fn of(lake: &Lake, table: Table, range: ExportRange) -> Self {
        if table == Table::StopReference {
            return Self::default();
        }
        let state = lake.state();
        let span = lake.coverage().span();
        // An end that was not asked for lies on the right side of the one that was.
        let from = range.from.or(state.start().map(|start| range.to.map_or(start, |to| to.min(start))));
        let to = range.to.or(span.map(Window::end).map(|end| range.from.map_or(end, |from| from.max(end))));
        let asked = from.zip(to).and_then(|(from, to)| Window::new(from, to));
        let gaps = asked.map(|asked| lake.coverage().gaps(asked)).unwrap_or_default();

        let from = range.from.unwrap_or(BeijingTime::FIRST);
        let within = match range.to {
            Some(to) => Window::new(from, to),
            None => Window::new(from, BeijingTime::FIRST.plus_seconds(i64::MAX)),
        };
        let is_within = |window: Window| within.is_some_and(|within| within.overlaps(window));
        let expired = state.expired().map(|(_, live)| &*live.expired).unwrap_or_default();
        let expired = expired.iter().filter_map(|range| within?.intersect(*range)).collect();
        let held = state.live().values().filter(|live| live.window.is_none_or(is_within));
        let quarantined = held.flat_map(|live| &live.quarantine).map(|held| held.rows).sum();
        Self { gaps, expired, quarantined }
    }
}
