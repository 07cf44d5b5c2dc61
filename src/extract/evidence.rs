//! What the responses of one walk have shown so far: where every row was last seen, the totals that the server stated,
//! and the ends of the list that it showed.
//!
//! Rows only leave a window that ended long enough ago. So when, after a response stated total T, T distinct rows were
//! seen in LATER responses, those are the T rows of that moment, and the set is complete: in any order of pages,
//! concurrent or not, whatever rows of one second do. "Later" means: asked after the response with the total had
//! arrived. The rows of that very response do not count, because the server may list and count in two statements.
//!
//! The total is a claim; the list is the other witness. Page k with r rows, fewer than a page, is a *list bound*: the
//! list held at most k·size + r rows at that moment. Its own rows count, and those of responses asked after it had
//! arrived. Both must be met ([`Rule::accepts`]), and neither may contradict the other.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::count;
use super::pages::PageRows;
use crate::proof::{Grounds, Rule};
use crate::requisition::{Identity, RowKey};
use crate::time::BeijingTime;

/// A full page of fewer rows is not taken for the repetition of another: rows of one second change places.
const LEAST_ECHO: u32 = 4;

/// More rows than a window is planned for.
const MOST_EXPECTED: usize = 16_384;

/// A moment within a walk: every request sent and every response received has its own, in order.
pub(super) type Tick = u64;

/// The ticks of one walk; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Ticks(Arc<AtomicU64>);

impl Ticks {
    /// The next moment; take one before a request is sent.
    pub(super) fn next(&self) -> Tick {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Which page a response was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageRequest {
    pub(super) page_no: u32,
    pub(super) page_size: u32,
    pub(super) at: Tick,
}

/// A response and when it arrived.
#[derive(Clone, Copy, Debug)]
struct Response {
    asked: PageRequest,
    received: Tick,
    rows: u64,
    is_unreadable: bool,
    lacks_list: bool,
}

/// Where a row was received last, and when it was asked for last.
#[derive(Clone, Copy, Debug)]
struct Observation {
    page: usize,
    row: usize,
    asked: Tick,
}

/// A total that the server stated, and when.
#[derive(Clone, Copy, Debug)]
struct Stated {
    total: u64,
    asked: Tick,
    received: Tick,
}

/// An end of the list that a short page showed.
#[derive(Clone, Copy, Debug)]
struct Bound {
    place: usize,
    rows: u64,
    asked: Tick,
    received: Tick,
}

/// A total rose: a row entered a window that was believed to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rose {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Which rows are counted.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// Responses asked after this moment.
    after: Tick,
    /// And before this one.
    before: Tick,
    /// And this response, whenever it was asked.
    and: Option<usize>,
}

impl Span {
    fn since(after: Tick) -> Self {
        Self { after, before: Tick::MAX, and: None }
    }
}

/// The observations of one walk.
#[derive(Debug)]
pub(super) struct Evidence<P> {
    pages: Vec<P>,
    responses: Vec<Response>,
    /// For each response, how many of its rows are the latest observation of their identity.
    latest: Vec<usize>,
    seen: HashMap<Identity, Observation, ahash::RandomState>,
    totals: Vec<Stated>,
    ticks: Ticks,
    observations: u64,
    /// Whether rows with an id, without one, and such as do not say which they are were seen: only a mixture needs a
    /// careful count.
    has_ids: bool,
    lacks_ids: bool,
    has_records: bool,
    /// Whether a response held a row twice.
    lists_rows_twice: bool,
}

impl<P: PageRows> Evidence<P> {
    pub(super) fn new() -> Self {
        Self {
            pages: Vec::new(),
            responses: Vec::new(),
            latest: Vec::new(),
            seen: HashMap::default(),
            totals: Vec::new(),
            ticks: Ticks::default(),
            observations: 0,
            has_ids: false,
            lacks_ids: false,
            has_records: false,
            lists_rows_twice: false,
        }
    }

    pub(super) fn ticks(&self) -> Ticks {
        self.ticks.clone()
    }

    /// Takes in the response to a request; returns its place among the responses.
    ///
    /// Of two observations of one identity the one that was received later is kept. Pages that are asked for at once
    /// may be asked for in another order when their responses are replayed, but they are received in the same.
    pub(super) fn observe(&mut self, asked: PageRequest, page: P) -> Result<usize, Rose> {
        let received = self.ticks.next();
        let place = self.pages.len();
        let (is_unreadable, lacks_list) = (page.is_unreadable(), page.lacks_list());
        self.responses.push(Response { asked, received, rows: page.rows().len() as u64, is_unreadable, lacks_list });
        self.latest.push(0);
        let mut outdated = Vec::new();
        if !is_unreadable {
            for (row, key) in page.rows().iter().enumerate() {
                outdated.extend(self.see(key, Observation { page: place, row, asked: asked.at }));
            }
        }
        let lowest = self.totals.iter().map(|stated| stated.total).min();
        let total = page.total();
        if let Some(total) = total {
            self.totals.push(Stated { total, asked: asked.at, received });
            // Room for them at once, but for no more than a window is planned for, whatever a server claims.
            let expected = usize::try_from(total).unwrap_or(usize::MAX).min(MOST_EXPECTED);
            self.seen.reserve(expected.saturating_sub(self.seen.len()));
        }
        self.pages.push(page);
        // What cannot be read has no row that is seen, and is kept as it is.
        let needless = |place: &usize| self.latest[*place] == 0 && !self.responses[*place].is_unreadable;
        let needless: Vec<usize> = outdated.into_iter().chain([place]).filter(needless).collect();
        needless.into_iter().for_each(|place| self.pages[place].forget_rows());
        match (lowest, total) {
            (Some(from), Some(to)) if to > from => Err(Rose { from, to }),
            _ => Ok(place),
        }
    }

    /// Notes a row; gives the response whose observation it replaces.
    fn see(&mut self, key: &RowKey, now: Observation) -> Option<usize> {
        self.observations += 1;
        match &key.identity {
            Identity::Version { apply_id: Some(_), .. } => self.has_ids = true,
            Identity::Version { apply_id: None, .. } => self.lacks_ids = true,
            Identity::Record { .. } => self.has_records = true,
        }
        match self.seen.entry(key.identity.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(now);
                self.latest[now.page] += 1;
                None
            }
            Entry::Occupied(mut entry) => {
                self.lists_rows_twice |= entry.get().page == now.page;
                let asked = now.asked.max(entry.get().asked);
                let before = entry.insert(Observation { asked, ..now }).page;
                self.latest[now.page] += 1;
                self.latest[before] -= 1;
                Some(before)
            }
        }
    }

    /// How many distinct rows the responses of `span` show at least.
    fn count(&self, span: Span) -> u64 {
        let is_mixed = self.has_records || (self.has_ids && self.lacks_ids);
        if span.before == Tick::MAX && !is_mixed {
            // Every identity is one record, and its latest observation says whether it lies in the span. A row of the
            // named response that was seen again before the span began is left out, which is on the safe
            // side.
            let is_in =
                |seen: &&Observation| seen.asked > span.after || span.and.is_some_and(|place| seen.page == place);
            return self.seen.values().filter(is_in).count() as u64;
        }
        let is_in = |(place, response): &(usize, &Response)| {
            let is_between = response.asked.at > span.after && response.asked.at < span.before;
            !response.is_unreadable && (is_between || span.and == Some(*place))
        };
        count::distinct(self.responses.iter().enumerate().filter(is_in).map(|(place, _)| self.rows(place)))
    }

    /// 1 when a record that nobody can read was met in `span`: it counts as one row, however many there are.
    fn unreadable(&self, span: Span) -> u64 {
        let is_in = |response: &Response| {
            response.is_unreadable && response.asked.at > span.after && response.asked.at < span.before
        };
        u64::from(self.responses.iter().any(is_in))
    }

    /// The ends of the list that were shown at page sizes up to `honoured`.
    fn bounds(&self, honoured: u32) -> impl Iterator<Item = Bound> {
        let short = move |(place, response): (usize, &Response)| {
            let PageRequest { page_no, page_size, at } = response.asked;
            let known = page_size <= honoured && !response.is_unreadable;
            let start = u64::from(page_no) * u64::from(page_size);
            // A short page 0 is the whole list: a row that stands twice in it is one.
            let rows = match page_no {
                _ if self.is_echo(place) => 0,
                0 => count::distinct([self.rows(place)].into_iter()),
                _ => response.rows,
            };
            let received = response.received;
            (known && (rows == 0 || response.rows < u64::from(page_size))).then_some(Bound {
                place,
                rows: start + rows,
                asked: at,
                received,
            })
        };
        self.responses.iter().enumerate().filter_map(short)
    }

    /// Whether a page behind page 0 held fewer rows than its size, or none.
    pub(super) fn has_short_page(&self, page_size: u32) -> bool {
        self.responses.iter().enumerate().any(|(place, response)| {
            let PageRequest { page_no, page_size: size, .. } = response.asked;
            page_no > 0 && size == page_size && (self.rows(place).len() as u64) < u64::from(size)
        })
    }

    /// The first response to that page at that size.
    pub(super) fn first_of(&self, page_no: u32, page_size: u32) -> Option<usize> {
        let is_it = |asked: &PageRequest| asked.page_no == page_no && asked.page_size == page_size;
        self.responses.iter().position(|response| is_it(&response.asked))
    }

    /// Whether a full response repeats an earlier page row for row: what some servers give for a page beyond the end.
    pub(super) fn is_echo(&self, place: usize) -> bool {
        let PageRequest { page_no, page_size, .. } = self.responses[place].asked;
        let rows = self.rows(place);
        if page_no == 0 || page_size < LEAST_ECHO || rows.len() as u64 != u64::from(page_size) {
            return false;
        }
        self.responses.iter().enumerate().any(|(other, response)| {
            let PageRequest { page_no: before, page_size: size, .. } = response.asked;
            before < page_no && size == page_size && other != place && self.rows(other) == rows
        })
    }

    /// The grounds by which the count rule is met, if it is.
    pub(super) fn count_rule(&self, honoured: u32) -> Option<Grounds> {
        let bound = self.met_bound(honoured)?;
        let grounds = |total: u64, rows_after_total, unreadable| Grounds {
            total: Some(total),
            rows_after_total,
            list_bound: Some(bound.rows),
            rows_after_bound: self.count(Span { and: Some(bound.place), ..Span::since(bound.received) }),
            unreadable,
        };
        let plain = self.totals.iter().map(|stated| grounds(stated.total, self.count(Span::since(stated.received)), 0));
        plain.chain(self.counts_with_unreadable(&grounds)).find(|grounds| Rule::Count.accepts(grounds))
    }

    /// Where one record cannot be read: two equal totals, so that nothing left between them, and all others read
    /// meanwhile.
    fn counts_with_unreadable(&self, grounds: &impl Fn(u64, u64, u64) -> Grounds) -> Vec<Grounds> {
        if !self.responses.iter().any(|response| response.is_unreadable) {
            return Vec::new();
        }
        let pairs = self.totals.iter().enumerate().flat_map(|(place, first)| {
            self.totals[place + 1..]
                .iter()
                .filter(|second| second.total == first.total)
                .map(move |second| (first, second))
        });
        let of_pair = |(first, second): (&Stated, &Stated)| {
            let span = Span { before: second.received, ..Span::since(first.received) };
            grounds(first.total, self.count(span), self.unreadable(span))
        };
        pairs.map(of_pair).filter(|grounds| grounds.unreadable > 0).collect()
    }

    /// The first end of the list that is met by the rows seen at and after it.
    fn met_bound(&self, honoured: u32) -> Option<Bound> {
        self.bounds(honoured).find(|bound| {
            let span = Span { and: Some(bound.place), ..Span::since(bound.received) };
            self.count(span) + self.unreadable(Span::since(bound.asked)) >= bound.rows
        })
    }

    /// The grounds on which one response is the whole window, if it is.
    pub(super) fn snapshot_rule(&self, place: usize, honoured: u32) -> Option<Grounds> {
        let response = self.responses.get(place)?;
        let total = self.pages.get(place)?.total()?;
        let rows = count::distinct([self.rows(place)].into_iter());
        let is_short = response.asked.page_no == 0
            && response.rows < u64::from(response.asked.page_size)
            && response.asked.page_size <= honoured;
        let grounds = Grounds {
            total: Some(total),
            rows_after_total: rows,
            // A row that stands twice in the whole list is one.
            list_bound: is_short.then_some(rows),
            rows_after_bound: rows,
            unreadable: u64::from(response.is_unreadable),
        };
        Rule::Snapshot.accepts(&grounds).then_some(grounds)
    }

    /// The grounds on which a window without a total is complete: two equal ends of the list, and as many rows at and
    /// between them.
    pub(super) fn list_bounds_rule(&self, honoured: u32) -> Option<Grounds> {
        // Nothing speaks for a missing list but a total, and there is none.
        let has_list = |bound: &Bound| !self.responses[bound.place].lacks_list;
        let bounds: Vec<Bound> = self.bounds(honoured).filter(has_list).collect();
        let pairs = bounds.iter().enumerate().flat_map(|(place, first)| {
            bounds[place + 1..].iter().filter(|second| second.rows == first.rows).map(move |second| (first, second))
        });
        let of_pair = |(first, second): (&Bound, &Bound)| {
            let span = Span { after: first.received, before: second.received, and: Some(first.place) };
            Grounds {
                total: None,
                rows_after_total: 0,
                list_bound: Some(first.rows),
                rows_after_bound: self.count(span),
                unreadable: self.unreadable(span),
            }
        };
        pairs.filter(|(first, second)| second.asked > first.received).map(of_pair).find(|g| Rule::ListBounds.accepts(g))
    }

    /// What the boundary rule records: the last total, and the last end of the list that was shown.
    pub(super) fn boundary_grounds(&self, honoured: u32) -> Option<Grounds> {
        let bound = self.bounds(honoured).last()?;
        let last = self.totals.last();
        let grounds = Grounds {
            total: last.map(|stated| stated.total),
            rows_after_total: last.map_or(0, |stated| self.count(Span::since(stated.received))),
            list_bound: Some(bound.rows),
            rows_after_bound: self.count(Span { and: Some(bound.place), ..Span::since(bound.received) }),
            unreadable: 0,
        };
        Rule::Boundary.accepts(&grounds).then_some(grounds)
    }

    /// Whether more distinct rows were asked for after a total than it stated.
    pub(super) fn exceeds_a_total(&self) -> bool {
        self.totals.iter().any(|stated| self.count(Span::since(stated.received)) > stated.total)
    }

    /// Whether a total that was asked for after `since` is above what the list had room for before it.
    pub(super) fn is_above_the_list(&self, honoured: u32, since: Tick) -> bool {
        self.bounds(honoured).any(|bound| {
            let is_above =
                |stated: &&Stated| stated.asked > bound.received && stated.asked > since && stated.total > bound.rows;
            self.totals.iter().any(|stated| is_above(&stated))
        })
    }

    /// How many distinct rows all responses show at least.
    pub(super) fn rows_seen(&self) -> u64 {
        self.count(Span::since(0))
    }

    /// The second in the middle of the rows; none without rows.
    pub(super) fn median_second(&self) -> Option<BeijingTime> {
        let mut seconds: Vec<BeijingTime> = self.all_seen().filter_map(|key| key.modified).collect();
        let middle = seconds.len().checked_sub(1)? / 2;
        Some(*seconds.select_nth_unstable(middle).1)
    }

    /// How many rows were seen that lie, or may lie, within the seconds.
    pub(super) fn rows_within(&self, first: BeijingTime, last: BeijingTime) -> u64 {
        let may_lie = |key: &&RowKey| key.modified.is_none_or(|second| (first..=last).contains(&second));
        self.all_seen().filter(may_lie).count() as u64 + self.unreadable(Span::since(0))
    }

    /// How many rows were seen that lie within the seconds.
    pub(super) fn rows_known_within(&self, first: BeijingTime, last: BeijingTime) -> u64 {
        let lies = |key: &&RowKey| key.modified.is_some_and(|second| (first..=last).contains(&second));
        self.all_seen().filter(lies).count() as u64
    }

    fn all_seen(&self) -> impl Iterator<Item = &RowKey> {
        self.seen.values().filter_map(|seen| self.rows(seen.page).get(seen.row))
    }

    /// The seconds next to the records that could not be read, when there are several places of them: what lies between
    /// is to be walked apart.
    pub(super) fn around_unreadable(&self) -> Option<(BeijingTime, BeijingTime)> {
        let unreadable = |response: &&Response| response.is_unreadable;
        let places = || self.responses.iter().filter(unreadable).map(|response| u64::from(response.asked.page_no));
        let (first, last) = (places().min()?, places().max()?);
        if first == last {
            return None;
        }
        let mut before: Option<(u64, BeijingTime)> = None;
        let mut behind = before;
        for (response, page) in self.responses.iter().zip(&self.pages).filter(|(response, _)| !response.is_unreadable) {
            let start = u64::from(response.asked.page_no) * u64::from(response.asked.page_size);
            for (place, second) in (start..).zip(page.rows()).filter_map(|(place, row)| Some((place, row.modified?))) {
                if place < first && before.is_none_or(|(other, _)| other <= place) {
                    before = Some((place, second));
                } else if place > last && behind.is_none_or(|(other, _)| other >= place) {
                    behind = Some((place, second));
                }
            }
        }
        let (one, other) = (before?.1, behind?.1);
        Some((one.min(other), one.max(other)))
    }

    /// Whether records at several places could not be read.
    pub(super) fn has_several_unreadable(&self) -> bool {
        let mut places = self.responses.iter().filter(|response| response.is_unreadable).map(|r| r.asked.page_no);
        places.next().is_some_and(|first| places.any(|place| place != first))
    }

    /// Whether no response could be read.
    pub(super) fn has_read_nothing(&self) -> bool {
        self.responses.iter().all(|response| response.is_unreadable)
    }

    /// The place in the list of the record that could not be read last.
    pub(super) fn unreadable_place(&self) -> Option<u32> {
        self.responses.iter().rfind(|response| response.is_unreadable).map(|response| response.asked.page_no)
    }

    /// Whether a response held a row twice.
    pub(super) fn lists_rows_twice(&self) -> bool {
        self.lists_rows_twice
    }

    /// The rows of a response, as they came over the wire.
    pub(super) fn rows(&self, place: usize) -> &[RowKey] {
        self.pages.get(place).map_or(&[], PageRows::rows)
    }

    /// When a response was asked for and when it arrived.
    pub(super) fn times(&self, place: usize) -> Option<(Tick, Tick)> {
        self.responses.get(place).map(|response| (response.asked.at, response.received))
    }

    /// The rows of a response that do not belong to the next window.
    pub(super) fn own_rows(&self, place: usize) -> impl Iterator<Item = &RowKey> {
        self.pages.get(place).into_iter().flat_map(own_rows)
    }

    /// The rows of every response that do not belong to the next window.
    pub(super) fn all_own_rows(&self) -> impl Iterator<Item = &RowKey> {
        self.pages.iter().flat_map(own_rows)
    }

    /// The rows of every response.
    pub(super) fn all_rows(&self) -> impl Iterator<Item = &[RowKey]> {
        self.pages.iter().map(PageRows::rows)
    }

    /// The totals that the server stated, in order.
    pub(super) fn totals(&self) -> Vec<u64> {
        self.totals.iter().map(|stated| stated.total).collect()
    }

    /// How often an identity that was known already came again.
    pub(super) fn duplicates(&self) -> u64 {
        self.observations - self.seen.len() as u64
    }

    /// The responses, and for each identity the response and row that win, in order of place. `and_unreadable` adds the
    /// record that counts as a row although it could not be read.
    pub(super) fn into_selected(self, and_unreadable: bool) -> (Vec<P>, Vec<(usize, usize)>) {
        let unreadable = self.responses.iter().rposition(|response| response.is_unreadable).filter(|_| and_unreadable);
        let mut selected: Vec<_> = self.seen.into_values().map(|seen| (seen.page, seen.row)).collect();
        selected.extend(unreadable.map(|place| (place, 0)));
        selected.sort_unstable();
        (self.pages, selected)
    }
}

fn own_rows<P: PageRows>(page: &P) -> impl Iterator<Item = &RowKey> {
    page.rows().iter().enumerate().filter(|(row, _)| !page.is_extra(*row)).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counted(u64);

    impl PageRows for Counted {
        fn total(&self) -> Option<u64> {
            Some(self.0)
        }

        fn rows(&self) -> &[RowKey] {
            &[]
        }

        fn forget_rows(&mut self) {}
    }

    #[test]
    fn no_total_takes_memory_by_itself() {
        let mut evidence = Evidence::new();
        let asked = PageRequest { page_no: 0, page_size: 100, at: evidence.ticks().next() };
        assert_eq!(evidence.observe(asked, Counted(u64::MAX)), Ok(0));
        assert!(evidence.seen.capacity() < 4 * MOST_EXPECTED);
        assert_eq!(evidence.totals(), [u64::MAX]);
    }

    /// A page without a total that has a list, or none.
    struct Listed(Vec<RowKey>, bool);

    impl PageRows for Listed {
        fn total(&self) -> Option<u64> {
            None
        }

        fn rows(&self) -> &[RowKey] {
            &self.0
        }

        fn forget_rows(&mut self) {}

        fn lacks_list(&self) -> bool {
            self.1
        }
    }

    #[test]
    fn without_a_total_a_missing_list_is_no_end_of_it() {
        let row = |number: u8| RowKey {
            identity: Identity::Record { apply_id: None, sha256: [number; 32] },
            modified: BeijingTime::from_unix(1_780_000_000),
        };
        for lacks_list in [false, true] {
            let mut evidence = Evidence::new();
            for page_no in [1, 0, 1] {
                let rows = if page_no == 0 { (0..4).map(row).collect() } else { Vec::new() };
                let asked = PageRequest { page_no, page_size: 4, at: evidence.ticks().next() };
                let page = Listed(rows, lacks_list && page_no > 0);
                assert!(evidence.observe(asked, page).is_ok());
            }
            assert_eq!(evidence.list_bounds_rule(4).is_some(), !lacks_list);
        }
    }
}
