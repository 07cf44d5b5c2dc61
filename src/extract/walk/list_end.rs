//! A window without a total: page 0 cannot be read, or the server states none. Its end is found by doubling the page
//! number; two equal list bounds, one before and one after a full backward reading, prove it. No total says then that a
//! search gives no more than so many rows: a list that is as long as such a cap may be is cut.

use std::collections::BTreeSet;

use super::{Halt, PageRead, Step, Verdict, Walk};
use crate::extract::pages::Pages;
use crate::proof::Rule;
use crate::text::key;

/// Full readings before the window is cut.
const MOST_READINGS: u32 = 3;
/// However large a list is: page numbers double up to here.
const LAST_PAGE: u32 = 1 << 20;

impl<S: Pages> Walk<'_, S> {
    /// Proves the window by the list alone.
    pub(super) async fn without_total(&mut self, first: &PageRead) -> Step<Verdict> {
        let last = self.find_end(first).await?;
        let limits = self.walker.limits;
        let pages = last.saturating_add(1);
        let full = u64::from(last) * u64::from(self.page_size);
        if pages > limits.max_pages.saturating_mul(2) && self.window.seconds() > 1 {
            return Ok(Verdict::TooLarge { pieces: u64::from(pages.div_ceil(limits.max_pages)), total: full });
        }
        self.budget.open(limits.max_calls(pages));
        for _ in 0..MOST_READINGS {
            self.passes += 1;
            self.spend(pages.saturating_add(1))?;
            let end = self.ask(last).await?;
            let total = full.saturating_add(end.rows);
            if let Some(pieces) = self.pieces_below_a_cap(total) {
                return Ok(Verdict::TooLarge { pieces, total });
            }
            self.halt_at_several_unreadable()?;
            for page_no in (0..last).rev() {
                self.ask(page_no).await?;
                self.halt_at_several_unreadable()?;
            }
            self.ask(last).await?;
            if let Some(grounds) = self.evidence.list_bounds_rule(self.page_size) {
                if grounds.unreadable > 0 && !self.was_read_again && self.read_again().await? {
                    // It can be read now: the next reading counts it.
                    continue;
                }
                return Ok(Verdict::Proved(Rule::ListBounds, grounds, BTreeSet::new()));
            }
        }
        Err(Halt::Unproved(key!("no total, and the end of the list moves")))
    }

    /// Into how many pieces the window is cut because a list of so many rows may be all that a search gives. Of one
    /// second there is no smaller window that could tell.
    fn pieces_below_a_cap(&self, rows: u64) -> Option<u64> {
        let cap = self.walker.limits.least_list_cap;
        let may_be_capped = rows >= cap && self.window.seconds() > 1 && !self.walker.source.is_kept();
        may_be_capped.then(|| rows.saturating_mul(2).div_ceil(cap))
    }

    /// The first page that is not full.
    async fn find_end(&mut self, first: &PageRead) -> Step<u32> {
        if first.rows < u64::from(self.page_size) {
            let place = first.places.first().copied().unwrap_or_default();
            if first.places.len() == 1 {
                self.check_nothing_follows(place).await?;
            }
            return Ok(0);
        }
        self.spend(1)?;
        let second = self.ask(1).await?;
        if self.is_echo(&second) {
            if let [place] = first.places[..] {
                self.check_pages_advance(place).await?;
            }
            return Ok(1);
        }
        if second.rows < u64::from(self.page_size) {
            return Ok(1);
        }
        let (mut full, mut short) = (1, 2);
        while !self.is_short_page(short).await? {
            full = short;
            short = short.saturating_mul(2);
            if short > LAST_PAGE {
                return Err(Halt::Contradicted(key!("the list has no end")));
            }
        }
        while short - full > 1 {
            let middle = full + (short - full) / 2;
            if self.is_short_page(middle).await? { short = middle } else { full = middle }
        }
        Ok(short)
    }

    async fn is_short_page(&mut self, page_no: u32) -> Step<bool> {
        self.spend(1)?;
        let page = self.ask(page_no).await?;
        Ok(self.is_echo(&page) || page.rows < u64::from(self.page_size))
    }
}
