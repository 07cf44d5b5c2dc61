//! One window -> its complete set of rows, with the proof.
//!
//! The ERP addresses pages by offset over a list that shrinks while it is read: a requisition that is edited leaves the
//! window, and every row behind it moves up. A walk never trusts one pass, and neither of the two witnesses alone, the
//! stated total and the list itself (`evidence`). It tries, cheapest first:
//!
//! 1. one response with fewer rows than a page and exactly as many as its total: a snapshot;
//! 2. the last page, which shows the end of the list, the others concurrently, page 0 again last, and the count rule;
//! 3. a sequential pass from the last page to page 0, and the boundary rule (`boundary`);
//! 4. cutting the window in two, at once where a page behind the first is refused: it may lie too deep. A single second
//!    is not cut: it gathers passes until the count rule is met.
//!
//! What it meets on the way: smaller pages than asked for (a page 0 that is shorter than its total; from then on the
//! run asks for no more than that), a cap of list and total together (`caps`), a response that cannot be read
//! (`narrow`), a window without a total (`list_end`), totals that the list contradicts (the window is cut; only a
//! single second is given up).
//!
//! What it assumes: nothing ENTERS a window that ended more than the lag ago. A total that rises breaks the assumption,
//! voids the walk, and is reported. What it guarantees: every version that stays in the window while it is walked is
//! among the selected rows of a proved part; everything else among them is a version that the server really gave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::boundary::{self, Direction, Judgement};
use super::budget::{Budget, Limits};
use super::evidence::Evidence;
use super::pages::{PageRows as _, Pages};
use crate::error::{Error, ErrorClass, Result};
use crate::proof::{Grounds, Proof, Rule};
use crate::requisition::RowKey;
use crate::text::{Text, key, text};
use crate::time::{BeijingTime, Window};

mod caps;
mod list_end;
mod narrow;
mod partial;
mod pass;

/// How a walk ended, and what it heard of the size of the window.
#[derive(Debug)]
pub(crate) struct WalkOutcome<P> {
    /// What was proved.
    pub walked: Result<Walked<P>>,
    /// The first total that the server stated; none when it stated none.
    pub first_total: Option<u64>,
    /// How many rows of the seconds behind the window were seen, when all of them were; see [`Pages::extra_seconds`].
    pub extra_rows: Option<u64>,
    /// Whether total and list contradicted each other and the window could not be cut.
    pub is_contradicted: bool,
}

impl<P> WalkOutcome<P> {
    /// The first total, as far as it counts rows of the window and no others: what the pieces of a window add up to.
    /// Where more seconds than the window are asked for, only a walk that saw their rows tells how many are its
    /// own.
    pub(crate) fn own_total(&self, extra_seconds: i64) -> Option<u64> {
        let extra = if extra_seconds == 0 { Some(0) } else { self.extra_rows };
        self.first_total.zip(extra).map(|(total, extra)| total.saturating_sub(extra))
    }
}

/// What a walk came to.
#[derive(Debug)]
pub(crate) enum Walked<P> {
    /// Something was proved.
    Proved(Proved<P>),
    /// One call has shown that the window holds more than a walk should read.
    TooLarge {
        /// How many pieces of it would each be as large as a walk should read, at least two.
        pieces: u64,
        /// The total that the server stated for the whole window, or the least that its list holds.
        total: u64,
    },
    /// The window could not be proved as a whole; its pieces share its budget.
    Unproved {
        /// Pieces that together are the window.
        windows: Vec<Window>,
        /// The last total that the server stated for the whole window.
        total: Option<u64>,
    },
    /// The run ends before all pages were read; what was read may prove a part of the window.
    Interrupted(Option<Proved<P>>),
}

/// The outcome of a walk that proved something.
#[derive(Debug)]
pub(crate) struct Proved<P> {
    /// The responses, in order of arrival; those without selected rows have forgotten what they held.
    pub pages: Vec<P>,
    /// The proved windows, disjoint.
    pub parts: Vec<Part>,
    /// Seconds that stood on both sides of a page boundary: windows to walk on their own.
    pub again: Vec<Window>,
}

/// A window that is proved complete.
#[derive(Debug)]
pub(crate) struct Part {
    /// The window.
    pub window: Window,
    /// Its rows: index of the page in [`Proved::pages`], index of the row in the page.
    pub selected: Vec<(usize, usize)>,
    /// Why it is complete.
    pub proof: Proof,
}

/// How long pages that were asked for are waited for when a run ends.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Tells walks to ask for no more pages; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quit(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    is_set: AtomicBool,
    set: Notify,
}

impl Quit {
    /// From here on, no walk asks for another page but to close what it has read.
    pub(crate) fn set(&self) {
        self.0.is_set.store(true, Ordering::Release);
        self.0.set.notify_waiters();
    }

    /// Whether it was told.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::Acquire)
    }

    /// Completes some time after it was told: what was asked for and has not come by then is not waited for.
    async fn is_over(&self) {
        let told = self.0.set.notified();
        if !self.is_set() {
            told.await;
        }
        tokio::time::sleep(PATIENCE).await;
    }
}

/// Walks the windows of one account.
#[derive(Debug)]
pub(crate) struct Walker<'a, S> {
    source: &'a S,
    limits: Limits,
    quit: Quit,
    /// Shrinks when the server is found to cap pages below what was asked.
    page_size: AtomicU32,
    /// The longest page that the server has given.
    longest_page: AtomicU32,
    /// The highest total that was found to be that of the whole list.
    highest_total: AtomicU64,
}

impl<'a, S: Pages> Walker<'a, S> {
    /// A walker that asks for pages of `page_size` rows (1 to 100), until it is told to quit.
    pub(crate) fn new(source: &'a S, page_size: u32, limits: Limits, quit: Quit) -> Self {
        Self {
            source,
            limits,
            quit,
            page_size: AtomicU32::new(page_size.max(1)),
            longest_page: AtomicU32::new(0),
            highest_total: AtomicU64::new(0),
        }
    }

    /// Walks one window. Pieces of a window that was cut because it could not be proved take its `budget` along.
    ///
    /// Its errors are `Incomplete` when the budget is spent, a row entered the window, or the server does not keep to
    /// it; and whatever the source returns. The window is named.
    pub(crate) async fn walk(&self, window: Window, budget: &Budget) -> WalkOutcome<S::Page> {
        let mut walk = Walk::new(self, window, budget.clone());
        let ended = walk.run().await;
        let extra_rows = matches!(ended, Ok(Verdict::Proved(..))).then(|| walk.extra_rows());
        let first_total = walk.evidence.totals().first().copied();
        let is_contradicted = matches!(ended, Err(Halt::Contradicted(_))) && window.seconds() == 1;
        let walked = walk.conclude(ended).await.map_err(|error| error.with("window", window));
        WalkOutcome { walked, first_total, extra_rows, is_contradicted }
    }
}

/// What a walk came to.
enum Verdict {
    /// Proved by the rule, on these grounds, but for the seconds that must be walked on their own.
    Proved(Rule, Grounds, BTreeSet<BeijingTime>),
    TooLarge {
        pieces: u64,
        total: u64,
    },
    Cut,
}

/// Why a walk does not go on.
enum Halt {
    /// Smaller windows may be proved.
    Unproved(&'static str),
    /// The same, and the server contradicts itself.
    Contradicted(&'static str),
    /// The same: a page behind the first is refused. Of a single second this is the error.
    Refused(Error),
    /// The run ends.
    Quit,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

type Step<T> = std::result::Result<T, Halt>;

/// A page as it was read: in one response, or in several smaller ones that together are it.
#[derive(Debug, Default)]
struct PageRead {
    /// The responses, in the order of the list.
    places: Vec<usize>,
    /// Rows, those included that could not be read.
    rows: u64,
    total: Option<u64>,
    /// Whether it took several responses.
    is_narrowed: bool,
    /// How many of its rows could not be read.
    unreadable: u32,
}

/// The state of one walk.
struct Walk<'a, S: Pages> {
    walker: &'a Walker<'a, S>,
    window: Window,
    page_size: u32,
    /// Whether the server was seen to give no more than `page_size` rows at once.
    is_capped: bool,
    budget: Budget,
    evidence: Evidence<S::Page>,
    /// The pages that the latest pass has read behind page 0, for a run that ends meanwhile.
    pass: BTreeMap<u32, usize>,
    /// The total that was known when that pass began.
    pass_total: u64,
    /// Whether the record that cannot be read was read again at the end.
    was_read_again: bool,
    calls: u32,
    retries: u32,
    passes: u32,
}

impl<'a, S: Pages> Walk<'a, S> {
    fn new(walker: &'a Walker<'a, S>, window: Window, budget: Budget) -> Self {
        Self {
            walker,
            window,
            page_size: walker.page_size.load(Ordering::Relaxed),
            is_capped: false,
            budget,
            evidence: Evidence::new(),
            pass: BTreeMap::new(),
            pass_total: 0,
            was_read_again: false,
            calls: 0,
            retries: 0,
            passes: 0,
        }
    }

    async fn run(&mut self) -> Step<Verdict> {
        self.spend(1)?;
        let first = self.first_page().await?;
        if self.is_astray(&first) {
            let error =
                Error::new(ErrorClass::RowsAstray, "the gateway gives nothing but rows from outside the window");
            return Err(error.hint("the address may not be the purchase requisition query; ask the vendor").into());
        }
        if first.total.is_none() {
            return self.without_total(&first).await;
        }
        if let Some(grounds) = self.snapshot(&first).await? {
            return Ok(Verdict::Proved(Rule::Snapshot, grounds, BTreeSet::new()));
        }
        let limits = self.walker.limits;
        if self.page_count() > limits.max_pages.saturating_mul(2) && self.window.seconds() > 1 {
            let pieces = u64::from(self.page_count().div_ceil(limits.max_pages));
            return Ok(Verdict::TooLarge { pieces, total: self.total() });
        }
        self.budget.open(limits.max_calls(self.page_count()));
        self.concurrent_pass().await?;
        if let Some(verdict) = self.judge_count().await? {
            return Ok(verdict);
        }
        self.halt_at_several_unreadable()?;
        let pass = self.backward_pass().await?;
        if let Some(verdict) = self.judge_count().await? {
            return Ok(verdict);
        }
        if let Some(verdict) = self.judge_boundary(&pass) {
            self.check_single_page().await?;
            self.check_list_cap().await?;
            return Ok(verdict);
        }
        if self.window.seconds() > 1 {
            return Ok(Verdict::Cut);
        }
        loop {
            self.concurrent_pass().await?;
            if let Some(verdict) = self.judge_count().await? {
                return Ok(verdict);
            }
        }
    }

    /// Whether the response is the whole window.
    async fn snapshot(&mut self, first: &PageRead) -> Step<Option<Grounds>> {
        let [place] = first.places[..] else { return Ok(None) };
        let Some(grounds) = self.evidence.snapshot_rule(place, self.page_size) else { return Ok(None) };
        self.check_hidden_page_cap(place).await?;
        self.passes = 1;
        Ok(Some(grounds))
    }

    /// The count rule, after what contradicts it. `None`: more passes are needed.
    async fn judge_count(&mut self) -> Step<Option<Verdict>> {
        if self.evidence.exceeds_a_total() {
            return Err(Halt::Contradicted(key!("more distinct rows came after a total than it stated")));
        }
        self.check_total_against_list().await?;
        loop {
            let Some(grounds) = self.evidence.count_rule(self.page_size) else { return Ok(None) };
            if grounds.unreadable > 0 && !self.was_read_again {
                self.read_again().await?;
                continue;
            }
            self.check_single_page().await?;
            self.check_list_cap().await?;
            return Ok(Some(Verdict::Proved(Rule::Count, grounds, BTreeSet::new())));
        }
    }

    /// A total above what the list has room for, twice, the second time after a pause: it is no longer the total of a
    /// moment ago.
    async fn check_total_against_list(&mut self) -> Step<()> {
        if !self.evidence.is_above_the_list(self.page_size, 0) {
            return Ok(());
        }
        let noticed = self.evidence.ticks().next();
        let pause = self.walker.limits.pause;
        if !pause.is_zero() && !self.walker.source.is_kept() {
            tokio::time::sleep(pause).await;
        }
        self.spend(1)?;
        self.ask(0).await?;
        if self.evidence.is_above_the_list(self.page_size, noticed) {
            return Err(Halt::Contradicted(key!("the stated total is above what the list has room for")));
        }
        Ok(())
    }

    /// What a backward pass proves, and which seconds it leaves to be walked again.
    fn judge_boundary(&self, pass: &[PageRead]) -> Option<Verdict> {
        let direction = Direction::of(self.evidence.all_rows(), self.walker.limits.min_ordered_steps)?;
        // Rows that stand twice move others to higher places.
        if pass.iter().any(|page| page.is_narrowed) || self.evidence.lists_rows_twice() {
            return None;
        }
        let rows: Vec<&[RowKey]> =
            pass.iter().flat_map(|page| &page.places).map(|place| self.evidence.rows(*place)).collect();
        let is_inside = |row: &RowKey| row.modified.is_some_and(|time| self.window.contains(time));
        match boundary::judge(&rows, direction, self.page_size, self.total()) {
            Judgement::CompleteBut(mut seconds) => {
                // The second after the window is another window's to prove.
                seconds.retain(|second| self.window.contains(*second));
                // A row from outside would belong to no part, and a second on both sides of a boundary in a window of
                // one second is all of it.
                let has_parts = || self.window.seconds() > 1 && self.evidence.all_own_rows().all(is_inside);
                let grounds = self.evidence.boundary_grounds(self.page_size)?;
                (seconds.is_empty() || has_parts()).then_some(Verdict::Proved(Rule::Boundary, grounds, seconds))
            }
            Judgement::Nothing(why) => {
                tracing::debug!(window = %self.window, why, "the boundary rule proves nothing");
                None
            }
        }
    }

    /// Reads page 0, and finds out whether the server caps the page size below what was asked.
    async fn first_page(&mut self) -> Step<PageRead> {
        let first = self.ask(0).await?;
        let Some(total) = first.total else { return Ok(first) };
        if first.is_narrowed || first.rows >= u64::from(self.page_size) || first.rows >= total {
            return Ok(first);
        }
        // Short of its own total: rows left between list and count, or the server gives no more than this at once.
        let again = self.ask(0).await?;
        if again.is_narrowed || again.rows != first.rows || again.rows == 0 {
            return Ok(again);
        }
        // The same length twice may be the most that the server gives. Only a total that is still out of reach shows
        // that it is.
        self.page_size = u32::try_from(again.rows).unwrap_or(self.page_size);
        self.is_capped = again.rows < self.total();
        Ok(again)
    }

    /// Whether a page holds rows from outside the window and no others.
    fn is_astray(&self, page: &PageRead) -> bool {
        let is_outside = |row: &RowKey| row.modified.is_some_and(|time| !self.window.contains(time));
        let rows = || page.places.iter().flat_map(|place| self.evidence.own_rows(*place));
        rows().next().is_some() && rows().all(is_outside)
    }

    /// Takes calls out of the budget.
    fn spend(&mut self, calls: u32) -> Step<()> {
        if self.budget.spend(calls) { Ok(()) } else { Err(self.budget_spent().into()) }
    }

    fn budget_spent(&self) -> Error {
        let (passes, calls) = (self.passes, self.calls);
        Error::new(
            ErrorClass::NotProved,
            text!(
                "the window was not proved complete within its budget: {passes} passes and {calls} calls",
                passes,
                calls
            ),
        )
        .hint("run again when the ERP is quieter: the window stays a gap until it is proved")
    }

    /// The last total that the server stated.
    fn total(&self) -> u64 {
        self.evidence.totals().last().copied().unwrap_or(0)
    }

    fn page_count(&self) -> u32 {
        u32::try_from(self.total().div_ceil(u64::from(self.page_size))).unwrap_or(u32::MAX).max(1)
    }

    fn extra_rows(&self) -> u64 {
        let (end, extra) = (self.window.end(), self.walker.source.extra_seconds());
        if extra == 0 { 0 } else { self.evidence.rows_known_within(end.plus_seconds(1), end.plus_seconds(extra)) }
    }

    /// The pieces in which a window that was not proved is walked: halves, or what lies around records that cannot be
    /// read and the rest.
    fn pieces(&self) -> Vec<Window> {
        let around = self.evidence.around_unreadable().and_then(|(first, last)| Window::new(first, last));
        let Some(around) = around.and_then(|around| around.intersect(self.window)).filter(|part| *part != self.window)
        else {
            return self.window.pieces(2);
        };
        let before = Window::new(self.window.start(), around.start().plus_seconds(-1));
        let behind = Window::new(around.end().plus_seconds(1), self.window.end());
        before.into_iter().chain([around]).chain(behind).collect()
    }

    /// What the walk gives to whoever asked for it.
    async fn conclude(self, ended: Step<Verdict>) -> Result<Walked<S::Page>> {
        let total = self.evidence.totals().last().copied();
        let halves = || Walked::Unproved { windows: self.pieces(), total };
        match ended {
            Ok(Verdict::Proved(rule, grounds, seconds)) => {
                if self.is_capped {
                    let before = self.walker.page_size.fetch_min(self.page_size, Ordering::Relaxed);
                    let given = self.page_size;
                    tracing::warn!(asked = before, given, "the gateway gives smaller pages than asked for");
                }
                Ok(Walked::Proved(self.prove(rule, grounds, &seconds)))
            }
            Ok(Verdict::TooLarge { pieces, total }) => Ok(Walked::TooLarge { pieces, total }),
            Ok(Verdict::Cut) => Ok(halves()),
            Err(Halt::Unproved(why) | Halt::Contradicted(why)) if self.window.seconds() > 1 => {
                tracing::debug!(window = %self.window, why, "the window is cut");
                Ok(halves())
            }
            Err(Halt::Refused(why)) if self.window.seconds() > 1 => {
                tracing::warn!(window = %self.window, %why, "a page is refused, and the window is cut");
                Ok(halves())
            }
            Err(Halt::Unproved(why)) => {
                Err(Error::new(ErrorClass::NotProved, text!("one second is not proved: {why}", why = Text::from(why)))
                    .hint("run again when the ERP is quieter: the second stays a gap until it is proved"))
            }
            Err(Halt::Contradicted(why)) => Err(Error::new(
                ErrorClass::Contradicted,
                text!("the gateway contradicts itself: {why}", why = Text::from(why)),
            )
            .hint("its totals or pages are not those of one list: show this to the vendor")),
            Err(Halt::Quit) => Ok(Walked::Interrupted(self.prove_a_part().await)),
            Err(Halt::Failed(error) | Halt::Refused(error)) => Err(error),
        }
    }

    fn prove(self, rule: Rule, grounds: Grounds, seconds: &BTreeSet<BeijingTime>) -> Proved<S::Page> {
        let windows = without(self.window, seconds);
        let again = seconds.iter().map(|second| Window::second(*second)).collect();
        let (pages, parts) = self.into_parts(rule, grounds, windows);
        Proved { pages, parts, again }
    }

    /// The rows of each of `windows`, all of which are proved. A row from outside belongs to a part only where that is
    /// the whole window.
    fn into_parts(self, rule: Rule, grounds: Grounds, windows: Vec<Window>) -> (Vec<S::Page>, Vec<Part>) {
        let totals = self.evidence.totals();
        let first_total = totals.first().copied().unwrap_or(0);
        let mut proof = Proof {
            rule,
            grounds,
            rows_left: first_total.saturating_sub(totals.last().copied().unwrap_or(0)),
            totals,
            passes: self.passes.into(),
            calls: self.calls.into(),
            retries: self.retries.into(),
            duplicates: self.evidence.duplicates(),
            ..Proof::of_pieces(Vec::new())
        };
        let is_whole = windows == [self.window];
        let (pages, selected) = self.evidence.into_selected(grounds.unreadable > 0);
        let parts = windows.into_iter().map(|window| {
            let in_part = |(page, row): &(usize, usize)| {
                is_whole || pages[*page].rows()[*row].modified.is_some_and(|time| window.contains(time))
            };
            let selected: Vec<_> = selected.iter().copied().filter(in_part).collect();
            proof.distinct_rows = selected.len() as u64;
            Part { window, selected, proof: proof.clone() }
        });
        let parts = parts.collect();
        (pages, parts)
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
#[cfg(test)]
mod worlds_tests;
