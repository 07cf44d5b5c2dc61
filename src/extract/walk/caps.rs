//! Caps that a server does not tell of: pages shorter than asked for with a total to match, and a search that lists and
//! counts no more than so many rows. In both, total and list agree on a part of the window.

use std::sync::atomic::Ordering;

use super::{Halt, Step, Walk, Walker};
use crate::extract::pages::{PageRows as _, Pages};
use crate::requisition::RowKey;
use crate::text::key;
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
    /// A short page 0 that is as long as its total may be all that the server gives at once, where no longer page was
    /// seen in the run and its length is round: the page behind it, at that length, tells.
    pub(super) async fn check_hidden_page_cap(&mut self, place: usize) -> Step<()> {
        let rows = self.evidence.rows(place).len();
        if rows.is_multiple_of(ROUND) && !self.walker.is_page_known(rows) {
            self.check_nothing_follows(place).await?;
        }
        Ok(())
    }

    /// A short page 0 shows the end of the list only where nothing follows it. Where no total says so, that is asked
    /// for, whatever its length. A page behind it that repeats it may be what a server gives for want of another,
    /// or page 0 again where pages are counted from 1: then the next one tells.
    pub(super) async fn check_nothing_follows(&mut self, place: usize) -> Step<()> {
        let size = u32::try_from(self.evidence.rows(place).len()).unwrap_or(u32::MAX);
        if size == 0 || self.walker.source.is_kept() {
            return Ok(());
        }
        for page_no in [1, 2] {
            let rows = self.look_at(page_no, size).await?;
            if rows.is_empty() {
                return Ok(());
            }
            if rows != self.evidence.rows(place) {
                return Err(Halt::Contradicted(key!("there are rows behind the total")));
            }
        }
        Ok(())
    }

    /// The rows of a page that counts for no proof.
    async fn look_at(&mut self, page_no: u32, size: u32) -> Step<Vec<RowKey>> {
        self.spend(1)?;
        let (_, fetched) = self.fetch(page_no, size).await?;
        self.calls += 1;
        self.retries += fetched.retries;
        if fetched.page.is_unreadable() {
            return Err(Halt::Unproved(key!("the page behind a short one cannot be read")));
        }
        Ok(fetched.page.rows().to_vec())
    }

    /// A page behind page 0 that repeats it shows the end of the list, or that the server does not go by the number of
    /// the page, or counts pages from 1: the second of smaller pages tells.
    pub(super) async fn check_pages_advance(&mut self, first: usize) -> Step<()> {
        let rows = self.evidence.rows(first);
        let Some(size) =
            (2..=rows.len()).find(|parts| rows.len().is_multiple_of(*parts)).map(|parts| rows.len() / parts)
        else {
            return Err(Halt::Contradicted(key!("every page is the first")));
        };
        if self.walker.source.is_kept() {
            return Ok(());
        }
        let second = rows[size..2 * size].to_vec();
        if self.look_at(1, u32::try_from(size).unwrap_or(u32::MAX)).await? != second {
            return Err(Halt::Contradicted(key!("the pages do not follow one another")));
        }
        Ok(())
    }

    /// One full page that is all there is by its total: its end is shown by a page behind it that has less, not by one
    /// that repeats it.
    pub(super) async fn check_single_page(&mut self) -> Step<()> {
        let size = self.page_size;
        if self.total() != u64::from(size) || self.evidence.has_short_page(size) {
            return Ok(());
        }
        match self.evidence.first_of(0, size) {
            Some(first) => self.check_pages_advance(first).await,
            None => Ok(()),
        }
    }

    /// Whether the list of the window cannot be capped: it is short, or one as long was found whole.
    pub(super) fn is_list_known(&self) -> bool {
        let total = self.total();
        total < self.walker.limits.least_list_cap || total <= self.walker.highest_total.load(Ordering::Relaxed)
    }

    /// List and total together may be capped, which a new highest total of the run can be: the totals before, at and
    /// after the second in the middle must not be above the rows that are held there.
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
            return Err(Halt::Contradicted(key!("more rows came than the first total stated")));
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
            // By the boundary rule some seconds are left to be walked on their own: the rows that are missing lie in
            // them.
            let held = self.evidence.rows_within(part.start(), last).saturating_add(total.saturating_sub(seen));
            if fetched.page.total().is_some_and(|total| total > held) {
                return Err(Halt::Contradicted(key!("a part of the window holds more rows than the whole gave")));
            }
        }
        highest.fetch_max(total, Ordering::Relaxed);
        Ok(())
    }
}
