//! Caps that a server does not tell of: pages shorter than asked for with a total to match, and a search that lists and counts no more than
//! so many rows. In both, total and list agree on a part of the window.

use std::sync::atomic::Ordering;

use super::{Halt, Step, Walk, Walker};
use crate::extract::pages::{PageRows as _, Pages};
use crate::time::Window;

/// Caps of pages are round.
const ROUND: usize = 10;

impl<S: Pages> Walker<'_, S> {
    /// Whether the server gives pages longer than `rows`.
    fn is_page_known(&self, rows: usize) -> bool {
        self.longest_page.load(Ordering::Relaxed) as usize > rows
    }

    pub(super) fn note_page(&self, rows: usize) {
        self.longest_page.fetch_max(u32::try_from(rows).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

impl<S: Pages> Walk<'_, S> {
    /// A short page 0 that is as long as its total may be all that the server gives at once, where no longer page was seen in the run and
    /// its length is round: the page behind it, at that length, tells.
    pub(super) async fn check_hidden_page_cap(&mut self, place: usize) -> Step<()> {
        let rows = self.evidence.rows(place).len();
        let is_round = rows > 0 && rows.is_multiple_of(ROUND);
        if !is_round || self.walker.is_page_known(rows) || self.walker.source.is_kept() {
            return Ok(());
        }
        let size = u32::try_from(rows).unwrap_or(u32::MAX);
        let (_, behind) = self.fetch(1, size).await?;
        self.calls += 1;
        self.retries += behind.retries;
        if behind.page.is_unreadable() {
            return Err(Halt::Unproved("the page behind a short one cannot be read"));
        }
        let is_more = !behind.page.rows().is_empty() && behind.page.rows() != self.evidence.rows(place);
        if is_more { Err(Halt::Contradicted("there are rows behind the total")) } else { Ok(()) }
    }

    /// Whether the list of the window cannot be capped: it is short, or one as long was found whole.
    pub(super) fn is_list_known(&self) -> bool {
        let total = self.total();
        total < self.walker.limits.least_list_cap || total <= self.walker.highest_total.load(Ordering::Relaxed)
    }

    /// List and total together may be capped, which a new highest total of the run can be: the totals before, at and after the second in
    /// the middle must not be above the rows that are held there.
    pub(super) async fn check_list_cap(&mut self) -> Step<()> {
        let total = self.total();
        let highest = &self.walker.highest_total;
        let is_known = total < self.walker.limits.least_list_cap || total < highest.load(Ordering::Relaxed);
        if is_known || self.window.seconds() == 1 || self.walker.source.is_kept() {
            return Ok(());
        }
        let seen = self.evidence.rows_seen();
        if seen > self.evidence.totals().first().copied().unwrap_or(0) {
            // An unordered list gives other rows each time; all of them were there when the first total was stated.
            return Err(Halt::Contradicted("more rows came than the first total stated"));
        }
        let Some(middle) = self.evidence.median_second() else { return Ok(()) };
        let (before, after) = self.window.around(middle);
        let at = self.window.intersect(Window::second(middle));
        for part in before.into_iter().chain(at).chain(after) {
            self.spend(1)?;
            let quit = &self.walker.quit;
            let fetched = tokio::select! {
                biased;
                fetched = self.walker.source.page(part, 0, 1) => fetched?,
                () = quit.is_over() => return Err(Halt::Quit),
            };
            self.calls += 1;
            self.retries += fetched.retries;
            let last = part.end().plus_seconds(self.walker.source.extra_seconds());
            // By the boundary rule some seconds are left to be walked on their own: the rows that are missing lie in them.
            let held = self.evidence.rows_within(part.start(), last).saturating_add(total.saturating_sub(seen));
            if fetched.page.total().is_some_and(|total| total > held) {
                return Err(Halt::Contradicted("a part of the window holds more rows than the whole gave"));
            }
        }
        highest.fetch_max(total, Ordering::Relaxed);
        Ok(())
    }
}
