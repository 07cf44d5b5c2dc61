//! A response that stays unreadable is no outage: it is asked for in smaller pages, down to the record that nobody can
//! read.
//!
//! That record counts as one row, whatever it is, and only between two equal totals or list bounds with all other rows
//! read between them (`evidence`). Several are never told apart by their places or bytes: the window is cut until each
//! stands alone.

use std::collections::VecDeque;

use super::super::evidence::PageRequest;
use super::{Halt, PageRead, Step, Walk};
use crate::extract::pages::{Fetched, PageRows as _, Pages};
use crate::text::key;

/// How many smaller pages one that cannot be read is asked for in, where that divides its size.
const STEP: u32 = 10;
/// So many records that cannot be read, while nothing at all could be: more of them tell nothing.
const MOST_AT_FIRST: u32 = 3;

impl<S: Pages> Walk<'_, S> {
    /// Reads the page of an unreadable response in smaller ones. Those behind the end of the list are left out.
    pub(super) async fn narrow(&mut self, asked: PageRequest, unreadable: Fetched<S::Page>) -> Step<PageRead> {
        self.budget.allow_narrowing(self.walker.limits.narrowing_calls);
        let mut page = PageRead { is_narrowed: true, ..PageRead::default() };
        let mut todo = VecDeque::new();
        self.narrow_once(asked, unreadable, &mut todo, &mut page)?;
        while let Some((page_no, page_size)) = todo.pop_front() {
            if self.walker.quit.is_set() {
                return Err(Halt::Quit);
            }
            self.spend(1)?;
            let (asked, response) = self.fetch(page_no, page_size).await?;
            if response.page.is_unreadable() {
                self.narrow_once(asked, response, &mut todo, &mut page)?;
                if page.unreadable >= MOST_AT_FIRST && self.evidence.has_read_nothing() && self.window.seconds() > 1 {
                    return Err(Halt::Unproved(key!("nothing can be read")));
                }
                continue;
            }
            let read = self.take_in(asked, response)?;
            page.rows += read.rows;
            page.total = page.total.or(read.total);
            page.places.extend(read.places);
            if read.rows < u64::from(page_size) {
                todo.clear();
            }
            // A row behind them is read too: the window is cut around them.
            if page.unreadable > 1 && self.window.seconds() > 1 {
                return Err(Halt::Unproved(key!("several records cannot be read")));
            }
        }
        Ok(page)
    }

    /// Puts the smaller pages of an unreadable one before what is left to do, or keeps the one record that cannot be
    /// read.
    fn narrow_once(
        &mut self,
        asked: PageRequest,
        unreadable: Fetched<S::Page>,
        todo: &mut VecDeque<(u32, u32)>,
        page: &mut PageRead,
    ) -> Step<()> {
        if asked.page_size > 1 {
            self.calls += 1;
            self.retries += unreadable.retries;
            let size = if asked.page_size.is_multiple_of(STEP) { asked.page_size / STEP } else { 1 };
            let count = asked.page_size / size;
            let first = asked.page_no.saturating_mul(count);
            (0..count).rev().for_each(|place| todo.push_front((first.saturating_add(place), size)));
            return Ok(());
        }
        let kept = self.take_in(asked, unreadable)?;
        page.rows += 1;
        page.places.extend(kept.places);
        page.unreadable += 1;
        Ok(())
    }

    /// A window with several records that cannot be read is cut: they count as one.
    pub(super) fn halt_at_several_unreadable(&self) -> Step<()> {
        if self.evidence.has_several_unreadable() && self.window.seconds() > 1 {
            return Err(Halt::Unproved(key!("several records cannot be read")));
        }
        Ok(())
    }

    /// Asks once more for the one record that could not be read: it may have been so for a moment only. Gives whether
    /// it can be read now.
    pub(super) async fn read_again(&mut self) -> Step<bool> {
        self.was_read_again = true;
        let Some(place) = self.evidence.unreadable_place() else { return Ok(false) };
        self.spend(1)?;
        let (asked, response) = self.fetch(place, 1).await?;
        let is_readable = !response.page.is_unreadable();
        self.take_in(asked, response)?;
        Ok(is_readable)
    }
}
