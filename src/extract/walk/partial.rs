//! What is kept of a window when the run ends before all of its pages were read.
//!
//! A pass reads its pages in blocks, each page by page from its end backwards. Consecutive pages that were read so,
//! each asked for after the one behind it had arrived, are a *stretch*. Rows only move to lower places, so that a row
//! whose second lies between the first and the last row of a stretch was on one of its pages when that was read: the
//! boundary rule holds within it, and up to the end of the window where the stretch holds the end of the list. Where
//! page 0, asked once more, states the same total as before, nothing has left, and stretches that touch are one.

use std::collections::BTreeSet;

use super::super::boundary::{self, Direction};
use super::super::evidence::PageRequest;
use super::{PATIENCE, Proved, Rule, Walk, without};
use crate::extract::pages::{PageRows as _, Pages};
use crate::requisition::RowKey;
use crate::time::{BeijingTime, Window};

/// Each part is a commit of its own: the largest are kept.
const MOST_PARTS: usize = 16;

impl<S: Pages> Walk<'_, S> {
    /// What is proved by what was read: the window, when nothing but page 0 was missing, or parts of it.
    pub(super) async fn prove_a_part(mut self) -> Option<Proved<S::Page>> {
        if self.pass.is_empty() {
            return None;
        }
        let is_still = self.ask_for_total().await && self.pass_total == self.total();
        if self.evidence.exceeds_a_total() || self.evidence.is_above_the_list(self.page_size, 0) {
            return None;
        }
        let counted = self.evidence.count_rule(self.page_size).filter(|grounds| grounds.unreadable == 0);
        if let Some(grounds) = counted.filter(|_| self.is_list_known()) {
            return Some(self.prove(Rule::Count, grounds, &BTreeSet::new()));
        }
        let windows = self.proved_stretches(is_still)?;
        let grounds = self.evidence.boundary_grounds(self.page_size)?;
        let (pages, parts) = self.into_parts(Rule::Boundary, grounds, windows);
        Some(Proved { pages, parts, again: Vec::new() })
    }

    /// Asks for page 0 once more, for not too long; gives whether it came.
    async fn ask_for_total(&mut self) -> bool {
        let asked = PageRequest { page_no: 0, page_size: self.page_size, at: self.evidence.ticks().next() };
        let response = tokio::time::timeout(PATIENCE, self.walker.source.page(self.window, 0, self.page_size)).await;
        match response {
            Ok(Ok(first)) if !first.page.is_unreadable() && first.page.total().is_some() => {
                self.take_in(asked, first).is_ok()
            }
            _ => false,
        }
    }

    /// The windows that the stretches prove.
    fn proved_stretches(&self, is_still: bool) -> Option<Vec<Window>> {
        let is_inside = |row: &RowKey| row.modified.is_some_and(|time| self.window.contains(time));
        if !self.evidence.all_own_rows().all(is_inside) || self.evidence.lists_rows_twice() {
            return None;
        }
        let direction = Direction::of(self.evidence.all_rows(), self.walker.limits.min_ordered_steps)?;
        let stretches = self.stretches(is_still);
        let proved = |(nth, stretch): (usize, &Vec<usize>)| self.proved_by(stretch, nth == 0, direction);
        let mut windows: Vec<Window> = stretches.iter().enumerate().filter_map(proved).flatten().collect();
        windows.sort_by_key(|window| std::cmp::Reverse(window.seconds()));
        windows.truncate(MOST_PARTS);
        windows.sort_unstable();
        (!windows.is_empty()).then_some(windows)
    }

    /// The responses of consecutive pages, from the end of the list on, the last page of each stretch first.
    fn stretches(&self, is_still: bool) -> Vec<Vec<usize>> {
        let mut stretches: Vec<Vec<usize>> = Vec::new();
        let mut before: Option<(u32, usize)> = None;
        for (page_no, place) in self.pass.iter().rev().map(|(page_no, place)| (*page_no, *place)) {
            let is_full = self.evidence.rows(place).len() as u64 == u64::from(self.page_size);
            let follows = before.is_some_and(|(behind, place_behind)| {
                behind.checked_sub(1) == Some(page_no)
                    && is_full
                    && (is_still || self.was_asked_after(place, place_behind))
            });
            match stretches.last_mut().filter(|_| follows) {
                Some(stretch) => stretch.push(place),
                None => stretches.push(vec![place]),
            }
            before = Some((page_no, place));
        }
        stretches
    }

    /// The windows that a stretch proves; only the last one may hold the end of the list.
    fn proved_by(&self, stretch: &[usize], is_last: bool, direction: Direction) -> Option<Vec<Window>> {
        let rows: Vec<&[RowKey]> = stretch.iter().map(|place| self.evidence.rows(*place)).collect();
        let both_sides = boundary::both_sides(&rows, direction).ok()?;
        let is_short = (rows.first()?.len() as u64) < u64::from(self.page_size);
        // Where list and total may be capped together, the end of the list is not that of the window.
        let holds_end = is_short && self.is_list_known();
        if is_short && !is_last {
            // A page in the middle that came short is not believed.
            return None;
        }
        let first: BeijingTime = rows.iter().rev().find_map(|rows| rows.first())?.modified?;
        let last: BeijingTime = rows.iter().find_map(|rows| rows.last())?.modified?;
        let (start, end) = match (direction, holds_end) {
            (Direction::Ascending, true) => (first.plus_seconds(1), self.window.end()),
            (Direction::Ascending, false) => (first.plus_seconds(1), last.plus_seconds(-1)),
            (Direction::Descending, true) => (self.window.start(), first.plus_seconds(-1)),
            (Direction::Descending, false) => (last.plus_seconds(1), first.plus_seconds(-1)),
        };
        let part = Window::new(start, end)?.intersect(self.window)?;
        Some(without(part, &both_sides.into_iter().filter(|second| part.contains(*second)).collect()))
    }

    fn was_asked_after(&self, place: usize, place_behind: usize) -> bool {
        let times = self.evidence.times(place).zip(self.evidence.times(place_behind));
        times.is_some_and(|((asked, _), (_, received_behind))| asked > received_behind)
    }
}
