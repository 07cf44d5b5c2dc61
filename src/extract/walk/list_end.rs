//! A window without a total: page 0 cannot be read, or the server states none. Its end is found by doubling the page number; two equal list
//! bounds, one before and one after a full backward reading, prove it.

use std::collections::BTreeSet;

use super::{Halt, PageRead, Pages, Step, Verdict, Walk};
use crate::proof::Rule;

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
        if pages > limits.max_pages.saturating_mul(2) && self.window.seconds() > 1 {
            let total = u64::from(last) * u64::from(self.page_size);
            return Ok(Verdict::TooLarge { pieces: u64::from(pages.div_ceil(limits.max_pages)), total });
        }
        self.budget.open(limits.max_calls(pages));
        for _ in 0..MOST_READINGS {
            self.passes += 1;
            self.spend(pages.saturating_add(1))?;
            self.ask(last).await?;
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
        Err(Halt::Unproved("no total, and the end of the list moves"))
    }

    /// The first page that is not full.
    async fn find_end(&mut self, first: &PageRead) -> Step<u32> {
        if first.rows < u64::from(self.page_size) {
            let place = first.places.first().copied().unwrap_or_default();
            if first.places.len() == 1 {
                self.check_hidden_page_cap(place).await?;
            }
            return Ok(0);
        }
        let (mut full, mut short) = (0, 1);
        while !self.is_short_page(short).await? {
            full = short;
            short = short.saturating_mul(2);
            if short > LAST_PAGE {
                return Err(Halt::Contradicted("the list has no end"));
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
        let is_echo = matches!(page.places[..], [place] if self.evidence.is_echo(place));
        Ok(is_echo || page.rows < u64::from(self.page_size))
    }
}
