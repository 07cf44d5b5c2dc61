//! What is kept of a window when the run ends before all of its pages were read.
//!
//! A pass reads from the end of the list backwards. Where nothing left between two equal totals, or each page was asked for after the one
//! behind it had arrived, the boundary rule holds for the pages from the end down to the first that is missing: they prove the seconds
//! behind the row with which they begin. One call more tells the total.

use std::collections::BTreeSet;

use super::super::boundary::{self, Direction, Judgement};
use super::{PageRows as _, Pages, Proved, Rule, Walk, without};
use crate::requisition::RowKey;
use crate::time::{BeijingTime, Window};

/// Each part is a commit of its own: the largest are kept.
const MOST_PARTS: usize = 8;

impl<S: Pages> Walk<'_, S> {
    /// Asks for page 0 once more and gives what is proved then: the window, when nothing else was missing, or a part of it.
    pub(super) async fn prove_a_part(mut self) -> Option<Proved<S::Page>> {
        if self.pass.is_empty() {
            return None;
        }
        let before = self.total();
        let (asked, first) = self.fetch(0, self.page_size).await.ok()?;
        if first.page.is_unreadable() {
            return None;
        }
        self.take_in(asked, first).ok()?;
        if self.evidence.exceeds_a_total() || self.evidence.is_above_the_list(self.page_size, 0) {
            return None;
        }
        if let Some(grounds) = self.evidence.count_rule(self.page_size).filter(|grounds| grounds.unreadable == 0) {
            return Some(self.prove(Rule::Count, grounds, &BTreeSet::new()));
        }
        let windows = self.proved_behind(before == self.total())?;
        let grounds = self.evidence.boundary_grounds(self.page_size)?;
        let (pages, parts) = self.into_parts(Rule::Boundary, grounds, windows);
        Some(Proved { pages, parts, again: Vec::new() })
    }

    /// The windows that the pages from the end of the list down to the first missing one prove.
    fn proved_behind(&self, is_still: bool) -> Option<Vec<Window>> {
        let mut read: Vec<(u32, usize)> = Vec::new();
        for (page_no, place) in self.pass.iter().rev() {
            let follows = read.last().is_none_or(|(behind, place_behind)| {
                behind.checked_sub(1) == Some(*page_no) && (is_still || self.was_asked_after(*place, *place_behind))
            });
            if !follows {
                break;
            }
            read.push((*page_no, *place));
        }
        let first_page = read.last()?.0;
        let rows: Vec<&[RowKey]> = read.iter().map(|(_, place)| self.evidence.rows(*place)).collect();
        let is_inside = |row: &RowKey| row.modified.is_some_and(|time| self.window.contains(time));
        if !self.evidence.all_own_rows().all(is_inside) || self.evidence.lists_rows_twice() {
            return None;
        }
        let direction = Direction::of(self.evidence.all_rows(), self.walker.limits.min_ordered_steps)?;
        let judged = boundary::judge_from(first_page, &rows, direction, self.page_size, self.total());
        let Judgement::CompleteBut(seconds) = judged else { return None };
        let edge: BeijingTime = rows.iter().rev().find_map(|rows| rows.first())?.modified?;
        let (earlier, later) = self.window.around(edge);
        let part = if direction == Direction::Ascending { later? } else { earlier? };
        let mut windows = without(part, &seconds.into_iter().filter(|second| part.contains(*second)).collect());
        windows.sort_by_key(|window| std::cmp::Reverse(window.seconds()));
        windows.truncate(MOST_PARTS);
        windows.sort_unstable();
        Some(windows)
    }

    fn was_asked_after(&self, place: usize, place_behind: usize) -> bool {
        let times = self.evidence.times(place).zip(self.evidence.times(place_behind));
        times.is_some_and(|((asked, _), (_, received_behind))| asked > received_behind)
    }
}
