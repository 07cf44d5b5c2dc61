//! What the answers of one walk have shown so far: the sightings of every row, and the totals that the server claimed.
//!
//! The count rule lives here. Rows only leave a window that ended long enough ago. So when, after an answer said total T, T distinct rows
//! were seen in LATER answers, those are the T rows of that moment, and the set is complete: in any order of pages, concurrent or
//! not, whatever rows of one second do. "Later" means: asked after the answer with the total had arrived. The rows of that very
//! answer do not count, because the server may list and count in two statements.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::walk::PageRows;
use crate::requisition::{Identity, RowKey};

/// More rows than a window is planned for.
const MOST_EXPECTED: usize = 16_384;

/// A moment within a walk: every request sent and every answer received has its own, in order.
pub(super) type Moment = u64;

/// Where a row was last seen.
#[derive(Clone, Copy, Debug)]
struct Sighting {
    page: usize,
    row: usize,
    asked: Moment,
}

/// A total that the server said, and when it arrived.
#[derive(Clone, Copy, Debug)]
struct Claim {
    total: u64,
    received: Moment,
}

/// A total rose: a row entered a window that was believed to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rose {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// The sightings and claims of one walk.
#[derive(Debug)]
pub(super) struct Evidence<P> {
    pages: Vec<P>,
    /// For each answer, how many of its rows are the latest sighting of their identity.
    latest: Vec<usize>,
    seen: HashMap<Identity, Sighting, ahash::RandomState>,
    claims: Vec<Claim>,
    now: Moment,
    sightings: u64,
}

impl<P: PageRows> Evidence<P> {
    pub(super) fn new() -> Self {
        Self {
            pages: Vec::new(),
            latest: Vec::new(),
            seen: HashMap::default(),
            claims: Vec::new(),
            now: 0,
            sightings: 0,
        }
    }

    /// The next moment; take one before a request is sent.
    pub(super) fn moment(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    /// Takes in the answer to a request of the moment `asked`; returns its place among the answers.
    ///
    /// Of two sightings of one identity the later asked wins.
    pub(super) fn observe(&mut self, asked: Moment, page: P) -> Result<usize, Rose> {
        let received = self.moment();
        let place = self.pages.len();
        self.latest.push(0);
        let mut outdated = Vec::new();
        for (row, key) in page.rows().iter().enumerate() {
            self.sightings += 1;
            let sighting = Sighting { page: place, row, asked };
            match self.seen.entry(key.identity.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(sighting);
                    self.latest[place] += 1;
                }
                Entry::Occupied(mut entry) if entry.get().asked <= asked => {
                    let before = entry.insert(sighting).page;
                    self.latest[place] += 1;
                    self.latest[before] -= 1;
                    outdated.push(before);
                }
                Entry::Occupied(_) => {}
            }
        }
        let lowest = self.claims.iter().map(|claim| claim.total).min();
        let total = page.total();
        if let Some(total) = total {
            self.claims.push(Claim { total, received });
            // Room for them at once, but for no more than a window is planned for, whatever a server claims.
            let expected = usize::try_from(total).unwrap_or(usize::MAX).min(MOST_EXPECTED);
            self.seen.reserve(expected.saturating_sub(self.seen.len()));
        }
        self.pages.push(page);
        for before in outdated.into_iter().chain([place]).filter(|before| self.latest[*before] == 0) {
            self.pages[before].forget_rows();
        }
        match (lowest, total) {
            (Some(from), Some(to)) if to > from => Err(Rose { from, to }),
            _ => Ok(place),
        }
    }

    /// The count rule: whether some claimed total is met by the distinct rows of later answers.
    pub(super) fn is_complete(&self) -> bool {
        self.claims.iter().any(|claim| {
            let needed = usize::try_from(claim.total).unwrap_or(usize::MAX);
            needed <= self.seen.len()
                && self.seen.values().filter(|sighting| sighting.asked > claim.received).take(needed).count() == needed
        })
    }

    /// The rows of an answer, as they came over the wire.
    pub(super) fn rows(&self, place: usize) -> &[RowKey] {
        self.pages.get(place).map_or(&[], PageRows::rows)
    }

    /// The rows of an answer that do not belong to the next window.
    pub(super) fn own_rows(&self, place: usize) -> impl Iterator<Item = &RowKey> {
        self.pages.get(place).into_iter().flat_map(own_rows)
    }

    /// The rows of every answer that do not belong to the next window.
    pub(super) fn all_own_rows(&self) -> impl Iterator<Item = &RowKey> {
        self.pages.iter().flat_map(own_rows)
    }

    /// The rows of every answer.
    pub(super) fn answers(&self) -> impl Iterator<Item = &[RowKey]> {
        self.pages.iter().map(PageRows::rows)
    }

    /// The totals that the server said, in order.
    pub(super) fn totals(&self) -> Vec<u64> {
        self.claims.iter().map(|claim| claim.total).collect()
    }

    pub(super) fn distinct(&self) -> u64 {
        self.seen.len() as u64
    }

    /// How often an identity that was known already came again.
    pub(super) fn duplicates(&self) -> u64 {
        self.sightings - self.distinct()
    }

    /// The answers, and for each identity the answer and row that win, in order of place.
    pub(super) fn into_winners(self) -> (Vec<P>, Vec<(usize, usize)>) {
        let mut winners: Vec<_> = self.seen.into_values().map(|sighting| (sighting.page, sighting.row)).collect();
        winners.sort_unstable();
        (self.pages, winners)
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
    fn no_claim_takes_memory_by_itself() {
        let mut evidence = Evidence::new();
        let asked = evidence.moment();
        assert_eq!(evidence.observe(asked, Counted(u64::MAX)), Ok(0));
        assert!(evidence.seen.capacity() < 4 * MOST_EXPECTED);
        assert_eq!(evidence.totals(), [u64::MAX]);
    }
}
