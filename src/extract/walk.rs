//! One window -> its complete set of rows, with the proof.
//!
//! The ERP addresses pages by offset over a list that shrinks while it is read: a requisition that is edited leaves the window, and every
//! row behind it moves up. A walk never trusts one pass. It tries, cheapest first:
//!
//! 1. one answer with fewer rows than a page and at least as many as its total: a snapshot;
//! 2. all pages concurrently, page 0 again last, and the count rule (`evidence`);
//! 3. a sequential pass from the last page to page 0, and the boundary rule (`boundary`);
//! 4. cutting the window in two. A single second is not cut: it gathers passes until the count rule is met.
//!
//! A server that gives smaller pages than asked for shows it by a page 0 that is shorter than its total; from then on the run asks for no
//! more than that.
//!
//! What it assumes: nothing ENTERS a window that ended more than the lag ago. A total that rises breaks the assumption, voids the walk, and is
//! reported. What it guarantees: every version that stays in the window while it is walked is among the winners of a proved part;
//! everything else among them is a version that the server really gave.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::stream::{self, StreamExt as _};

use super::boundary::{self, Direction, Judgement};
use super::budget::{Budget, Limits};
use super::evidence::{Evidence, Moment, Rose};
use super::proof::{Proof, Rule};
use crate::error::{Error, ErrorKind, Result};
use crate::requisition::RowKey;
use crate::time::{BeijingTime, Window};

/// Where decoded pages come from: the gateway and the decoder together, or a model in tests.
pub trait Pages: Sync {
    /// A decoded page.
    type Page: PageRows + Send;

    /// Asks for one page of a closed window. Page 0 must carry the total.
    fn page(
        &self,
        window: Window,
        page_no: u32,
        page_size: u32,
    ) -> impl Future<Output = Result<Fetched<Self::Page>>> + Send;
}

/// What the walk reads of a page; the rest of it passes through unseen.
pub trait PageRows {
    /// How many rows the window holds, as the server says; with page 0 only.
    fn total(&self) -> Option<u64>;
    /// Every row that came over the wire, in order.
    fn rows(&self) -> &[RowKey];
    /// Every row of it was seen again in a later answer: nothing but the keys of its rows is needed any more.
    fn forget_rows(&mut self);
    /// Whether the row at that place belongs to the next window: one second more is asked for where the interval is not documented as
    /// closed.
    fn is_extra(&self, _row: usize) -> bool {
        false
    }
}

/// A page, and what it cost.
#[derive(Clone, Copy, Debug)]
pub struct Fetched<P> {
    /// The page.
    pub page: P,
    /// Tries that failed before.
    pub retries: u32,
}

/// How a walk ended.
#[derive(Debug)]
pub enum Walked<P> {
    /// Something was proved.
    Proved(Proved<P>),
    /// One call has shown that the window holds more than a walk should read.
    TooLarge {
        /// How many pieces of it would each be as large as a walk should read, at least two.
        pieces: u64,
        /// The total that the server said for the whole window.
        total: u64,
    },
    /// The window could not be proved as a whole; its pieces share its budget.
    Unproved {
        /// Pieces that together are the window.
        windows: Vec<Window>,
        /// The last total that the server said for the whole window.
        total: u64,
    },
}

/// The outcome of a walk that proved something.
#[derive(Debug)]
pub struct Proved<P> {
    /// The answers, in order of arrival; those without winners have forgotten what they held.
    pub pages: Vec<P>,
    /// The proved windows, disjoint.
    pub parts: Vec<Part>,
    /// Seconds that stood on both sides of a page boundary: windows to walk on their own.
    pub again: Vec<Window>,
    /// The first total that the server said for the window that was asked for.
    pub total: u64,
}

/// A window that is proved complete.
#[derive(Debug)]
pub struct Part {
    /// The window.
    pub window: Window,
    /// Its rows: index of the page in [`Proved::pages`], index of the row in the page.
    pub winners: Vec<(usize, usize)>,
    /// Why it is complete.
    pub proof: Proof,
}

/// Walks the windows of one account.
#[derive(Debug)]
pub struct Walker<'a, S> {
    source: &'a S,
    limits: Limits,
    /// Shrinks when the server is found to cap pages below what was asked.
    page_size: AtomicU32,
}

impl<'a, S: Pages> Walker<'a, S> {
    /// A walker that asks for pages of `page_size` rows (1 to 100).
    pub fn new(source: &'a S, page_size: u32, limits: Limits) -> Self {
        Self { source, limits, page_size: AtomicU32::new(page_size.max(1)) }
    }

    /// Walks one window. Pieces of a window that was cut because it could not be proved take its `budget` along.
    ///
    /// # Errors
    /// `Incomplete` when the budget is spent, a row entered the window, or the server does not keep to it; and whatever the source
    /// returns. The window is named.
    pub async fn walk(&self, window: Window, budget: &Budget) -> Result<Walked<S::Page>> {
        let page_size = self.page_size.load(Ordering::Relaxed);
        let mut walk = Walk::new(self.source, window, page_size, self.limits, budget.clone());
        let walked = walk.run().await.map_err(|error| error.with("window", window))?;
        if walk.is_capped && matches!(walked, Verdict::Proved(..)) {
            let before = self.page_size.fetch_min(walk.page_size, Ordering::Relaxed);
            tracing::warn!(asked = before, given = walk.page_size, "the gateway gives smaller pages than asked for");
        }
        Ok(match walked {
            Verdict::Proved(rule, seconds) => Walked::Proved(walk.prove(rule, &seconds)),
            Verdict::TooLarge { pieces } => Walked::TooLarge { pieces, total: walk.total() },
            Verdict::Cut(windows) => Walked::Unproved { windows, total: walk.total() },
        })
    }
}

/// What a walk came to.
enum Verdict {
    /// Proved by the rule, but for the seconds that must be walked on their own.
    Proved(Rule, BTreeSet<BeijingTime>),
    TooLarge {
        pieces: u64,
    },
    Cut(Vec<Window>),
}

impl Verdict {
    fn proved(rule: Rule) -> Self {
        Self::Proved(rule, Default::default())
    }
}

/// The state of one walk.
struct Walk<'a, S: Pages> {
    source: &'a S,
    window: Window,
    page_size: u32,
    /// Whether the server was seen to give no more than `page_size` rows at once.
    is_capped: bool,
    limits: Limits,
    budget: Budget,
    evidence: Evidence<S::Page>,
    calls: u32,
    retries: u32,
    passes: u32,
}

impl<'a, S: Pages> Walk<'a, S> {
    fn new(source: &'a S, window: Window, page_size: u32, limits: Limits, budget: Budget) -> Self {
        Self {
            source,
            window,
            page_size,
            is_capped: false,
            limits,
            budget,
            evidence: Evidence::new(),
            calls: 0,
            retries: 0,
            passes: 0,
        }
    }

    async fn run(&mut self) -> Result<Verdict> {
        if !self.budget.spend(1) {
            return Err(self.budget_spent());
        }
        let first = self.first_page().await?;
        if self.is_astray(first) {
            return Err(Error::new(
                ErrorKind::Incomplete,
                "the gateway gives nothing but rows from outside the window",
            )
            .hint("the address may not be the purchase requisition query; ask the vendor"));
        }
        if self.is_snapshot(first) {
            self.passes = 1;
            return Ok(Verdict::proved(Rule::Snapshot));
        }
        if self.page_count() > self.limits.max_pages.saturating_mul(2) && self.window.seconds() > 1 {
            let pieces = u64::from(self.page_count().div_ceil(self.limits.max_pages));
            return Ok(Verdict::TooLarge { pieces });
        }
        self.budget.open(self.limits.max_calls(self.page_count()));
        self.concurrent_pass().await?;
        if self.evidence.is_complete() {
            return Ok(Verdict::proved(Rule::Count));
        }
        let pass = self.backward_pass().await?;
        if self.evidence.is_complete() {
            return Ok(Verdict::proved(Rule::Count));
        }
        if let Some(seconds) = self.judge(&pass) {
            return Ok(Verdict::Proved(Rule::Boundary, seconds));
        }
        if self.window.seconds() > 1 {
            return Ok(Verdict::Cut(self.window.pieces(2)));
        }
        while !self.evidence.is_complete() {
            self.concurrent_pass().await?;
        }
        Ok(Verdict::proved(Rule::Count))
    }

    /// What a backward pass leaves to be walked again, if it proves the rest.
    fn judge(&self, pass: &[usize]) -> Option<BTreeSet<BeijingTime>> {
        let direction = Direction::of(self.evidence.answers(), self.limits.min_ordered_steps)?;
        let rows: Vec<&[RowKey]> = pass.iter().map(|place| self.evidence.rows(*place)).collect();
        let is_inside = |row: &RowKey| row.modified.is_some_and(|time| self.window.contains(time));
        match boundary::judge(&rows, direction, self.page_size, self.total()) {
            Judgement::CompleteBut(mut seconds) => {
                // The second after the window is another window's to prove.
                seconds.retain(|second| self.window.contains(*second));
                // A row from outside would belong to no part, and a second on both sides of a boundary in a window of one second is all
                // of it.
                let has_parts = || self.window.seconds() > 1 && self.evidence.all_own_rows().all(is_inside);
                (seconds.is_empty() || has_parts()).then_some(seconds)
            }
            Judgement::Nothing(why) => {
                tracing::debug!(window = %self.window, why, "the boundary rule proves nothing");
                None
            }
        }
    }

    /// Reads page 0, and finds out whether the server caps the page size below what was asked.
    async fn first_page(&mut self) -> Result<usize> {
        let first = self.ask(0).await?;
        let rows = self.evidence.rows(first).len() as u64;
        if rows >= u64::from(self.page_size) || rows >= self.total() {
            return Ok(first);
        }
        // Short of its own total: rows left between list and count, or the server gives no more than this at once.
        let again = self.ask(0).await?;
        let (rows_again, total) = (self.evidence.rows(again).len() as u64, self.total());
        if rows_again != rows || rows_again == 0 {
            return Ok(again);
        }
        // The same length twice may be the most that the server gives. Only a total that is still out of reach shows that it is.
        self.page_size = u32::try_from(rows_again).unwrap_or(self.page_size);
        self.is_capped = rows_again < total;
        Ok(again)
    }

    /// Whether an answer holds rows from outside the window and no others.
    fn is_astray(&self, place: usize) -> bool {
        let is_outside = |row: &RowKey| row.modified.is_some_and(|time| !self.window.contains(time));
        self.evidence.own_rows(place).next().is_some() && self.evidence.own_rows(place).all(is_outside)
    }

    fn is_snapshot(&self, place: usize) -> bool {
        let rows = self.evidence.rows(place).len() as u64;
        rows < u64::from(self.page_size) && rows >= self.total()
    }

    /// All pages behind page 0 at once, then page 0, whose total starts the next count.
    async fn concurrent_pass(&mut self) -> Result<()> {
        let (pages, total) = (self.page_count(), self.total());
        self.begin_pass(pages)?;
        let mut short = Vec::new();
        let asked: Vec<(u32, Moment)> = (1..pages).map(|page_no| (page_no, self.evidence.moment())).collect();
        let (source, window, page_size) = (self.source, self.window, self.page_size);
        let mut answers = stream::iter(asked)
            .map(|(page_no, asked)| async move { (page_no, asked, source.page(window, page_no, page_size).await) })
            .buffer_unordered(self.limits.concurrency.max(1) as usize);
        while let Some((page_no, asked, answer)) = answers.next().await {
            let place = self.take_in(asked, answer?)?;
            if self.is_short(place, page_no, total) {
                short.push(page_no);
            }
        }
        drop(answers);
        for page_no in short {
            self.ask(page_no).await?;
        }
        self.ask(0).await?;
        Ok(())
    }

    /// Every page once, one after the other, from the last to page 0. Returns the answers' places in that order.
    async fn backward_pass(&mut self) -> Result<Vec<usize>> {
        let (pages, total) = (self.page_count(), self.total());
        self.begin_pass(pages)?;
        let mut places = Vec::new();
        for page_no in (0..pages).rev() {
            let mut place = self.ask(page_no).await?;
            if self.is_short(place, page_no, total) {
                place = self.ask(page_no).await?;
            }
            places.push(place);
        }
        Ok(places)
    }

    /// Whether a page held fewer rows than `total` promised for it. Such a page is read again once.
    fn is_short(&self, place: usize, page_no: u32, total: u64) -> bool {
        let size = u64::from(self.page_size);
        let promised = size.min(total.saturating_sub(u64::from(page_no) * size));
        (self.evidence.rows(place).len() as u64) < promised
    }

    async fn ask(&mut self, page_no: u32) -> Result<usize> {
        let asked = self.evidence.moment();
        let fetched = self.source.page(self.window, page_no, self.page_size).await?;
        if page_no == 0 && fetched.page.total().is_none() {
            return Err(Error::new(ErrorKind::Incomplete, "the gateway gave page 0 without a total")
                .hint("without totals no window can be proved; ask the vendor"));
        }
        self.take_in(asked, fetched)
    }

    fn take_in(&mut self, asked: Moment, fetched: Fetched<S::Page>) -> Result<usize> {
        self.calls += 1;
        self.retries += fetched.retries;
        self.evidence.observe(asked, fetched.page).map_err(|Rose { from, to }| {
            Error::new(ErrorKind::Incomplete, format!("the total rose from {from} to {to} while the window was walked"))
                .hint("raise --lag: the ERP still writes into times that this run took for closed")
        })
    }

    /// Counts a pass of `pages` calls against the budget.
    fn begin_pass(&mut self, pages: u32) -> Result<()> {
        if self.passes >= self.limits.max_passes || !self.budget.spend(pages) {
            return Err(self.budget_spent());
        }
        self.passes += 1;
        Ok(())
    }

    fn budget_spent(&self) -> Error {
        Error::new(
            ErrorKind::Incomplete,
            format!(
                "the window was not proved complete within its budget: {} passes and {} calls",
                self.passes, self.calls
            ),
        )
        .hint("run again when the ERP is quieter: the window stays a gap until it is proved")
    }

    /// The last total that the server said.
    fn total(&self) -> u64 {
        self.evidence.totals().last().copied().unwrap_or(0)
    }

    fn page_count(&self) -> u32 {
        u32::try_from(self.total().div_ceil(u64::from(self.page_size))).unwrap_or(u32::MAX).max(1)
    }

    fn prove(self, rule: Rule, seconds: &BTreeSet<BeijingTime>) -> Proved<S::Page> {
        let totals = self.evidence.totals();
        let first_total = totals.first().copied().unwrap_or(0);
        let mut proof = Proof {
            rule,
            rows_left: first_total.saturating_sub(totals.last().copied().unwrap_or(0)),
            totals,
            distinct_rows: 0,
            passes: self.passes,
            calls: self.calls,
            retries: self.retries,
            duplicates: self.evidence.duplicates(),
        };
        let window = self.window;
        let (pages, winners) = self.evidence.into_winners();
        let parts = without(window, seconds)
            .into_iter()
            .map(|part| {
                let in_part = |(page, row): &(usize, usize)| {
                    // A row from outside the window belongs to the window that was asked for; only a whole window has such rows.
                    seconds.is_empty() || pages[*page].rows()[*row].modified.is_some_and(|time| part.contains(time))
                };
                let winners: Vec<_> = winners.iter().copied().filter(in_part).collect();
                proof.distinct_rows = winners.len() as u64;
                Part { window: part, winners, proof: proof.clone() }
            })
            .collect();
        let again = seconds.iter().map(|second| Window::second(*second)).collect();
        Proved { pages, parts, again, total: first_total }
    }
}

/// What is left of `window` without `seconds`.
fn without(window: Window, seconds: &BTreeSet<BeijingTime>) -> Vec<Window> {
    let mut parts = Vec::new();
    let mut rest = Some(window);
    for second in seconds {
        let Some(window) = rest else { break };
        let (before, after) = window.around(*second);
        parts.extend(before);
        rest = after;
    }
    parts.extend(rest);
    parts
}

#[cfg(test)]
mod tests;
