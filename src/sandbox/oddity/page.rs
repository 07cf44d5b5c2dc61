//! Lists and pages that hold other rows than they should.

use std::borrow::Cow;
use std::ops::Range;

use super::super::world::Key;
use super::{Oddities, OddityKind, Takes, Unit};

const CAP: OddityKind = OddityKind::new(
    "page-cap",
    Takes::Amount(Unit::Rows, 40),
    "a page has at most so many rows, whatever is asked for, and paging goes by that size",
);
const CUT: OddityKind = OddityKind::new(
    "page-cut",
    Takes::Amount(Unit::Rows, 40),
    "a page has at most so many rows, but paging goes by the size that is asked for: the rest is on no page",
);
const LIST_CAPPED: OddityKind =
    OddityKind::new("list-capped", Takes::Amount(Unit::Rows, 1000), "list and total end after so many rows");
const JOIN: OddityKind = OddityKind::new(
    "join",
    Takes::Every(3),
    "every N-th requisition stands twice in the list, which is cut off at the right length: others are missing",
);
const DUPLICATES: OddityKind =
    OddityKind::new("duplicates", Takes::Every(50), "every N-th requisition stands twice in the list; none is missing");
const OVERLAP: OddityKind = OddityKind::new(
    "page-overlap",
    Takes::Amount(Unit::Rows, 1),
    "a page begins with the last so many rows of the page before it",
);
const UNSTABLE: OddityKind =
    OddityKind::new("unstable-order", Takes::Nothing, "the list has a new order at every call, as `--order random`");
const BEYOND_LAST: OddityKind =
    OddityKind::new("beyond-last", Takes::Nothing, "a page beyond the end is the last page again");
const BEYOND_FIRST: OddityKind =
    OddityKind::new("beyond-first", Takes::Nothing, "a page beyond the end is page 0 again");
const BEYOND_NO_LIST: OddityKind =
    OddityKind::new("beyond-no-list", Takes::Nothing, "a page beyond the end leaves the list out");
const PAGE_NO_IGNORED: OddityKind =
    OddityKind::new("page-no-ignored", Takes::Nothing, "every page is page 0, whichever is asked for");

const NUMBER_PREFIX: OddityKind = OddityKind::new(
    "number-prefix",
    Takes::Nothing,
    "a query by number gives every requisition whose number begins with it",
);

pub(super) const KINDS: &[OddityKind] = &[
    CAP,
    CUT,
    LIST_CAPPED,
    JOIN,
    DUPLICATES,
    OVERLAP,
    UNSTABLE,
    BEYOND_LAST,
    BEYOND_FIRST,
    BEYOND_NO_LIST,
    PAGE_NO_IGNORED,
    NUMBER_PREFIX,
];

/// Which part of a list an answer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum PageRows {
    /// These places of it.
    Rows(Range<usize>),
    /// None, and there is no list in the answer.
    LeftOut,
}

/// What is asked for, and what the server does of itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::sandbox) struct Paging {
    pub(in crate::sandbox) page_no: u64,
    pub(in crate::sandbox) page_size: usize,
    /// So many rows of the page before come first.
    pub(in crate::sandbox) overlap: usize,
}

impl Oddities {
    /// Whether the list has a new order at every call.
    pub(in crate::sandbox) fn order_is_unstable(&self) -> bool {
        self.has(&UNSTABLE)
    }

    /// Whether a query by number gives a requisition of `found`.
    pub(in crate::sandbox) fn is_asked_for(&self, number: &str, found: &str) -> bool {
        found == number || (self.has(&NUMBER_PREFIX) && found.starts_with(number))
    }

    /// How many rows the list has at most.
    pub(super) fn list_cap(&self) -> Option<usize> {
        self.amount(&LIST_CAPPED).map(|rows| usize::try_from(rows).unwrap_or(usize::MAX))
    }

    /// The list that pages are cut from.
    pub(in crate::sandbox) fn listed<'a>(&self, places: Cow<'a, [Key]>) -> Cow<'a, [Key]> {
        let mut places = places;
        for (kind, keeps_length) in [(&DUPLICATES, false), (&JOIN, true)] {
            if let Some(oddity) = self.get(kind) {
                let length = places.len();
                let twice = |place: &Key| std::iter::repeat_n(*place, 1 + usize::from(oddity.touches(place.1)));
                let mut joined: Vec<Key> = places.iter().flat_map(twice).collect();
                if keeps_length {
                    joined.truncate(length);
                }
                places = Cow::Owned(joined);
            }
        }
        match (self.list_cap(), places) {
            (Some(cap), Cow::Borrowed(places)) => Cow::Borrowed(places.get(..cap).unwrap_or(places)),
            (Some(cap), Cow::Owned(mut places)) => {
                places.truncate(cap);
                Cow::Owned(places)
            }
            (None, places) => places,
        }
    }

    /// The part of a list of `length` rows that one page is.
    pub(in crate::sandbox) fn part(&self, length: usize, paging: Paging) -> PageRows {
        let rows = |kind| self.amount(kind).map_or(usize::MAX, |rows| usize::try_from(rows).unwrap_or(usize::MAX));
        let step = paging.page_size.min(rows(&CAP)).max(1);
        let size = step.min(rows(&CUT));
        let overlap = paging.overlap.max(self.get(&OVERLAP).map_or(0, |_| rows(&OVERLAP)));
        let page_no = match paging.page_no {
            _ if self.has(&PAGE_NO_IGNORED) => 0,
            page_no => usize::try_from(page_no).unwrap_or(usize::MAX),
        };
        let page = |page_no: usize| {
            let offset = page_no.saturating_mul(step);
            let from = offset.saturating_sub(overlap).min(length);
            (offset < length).then(|| from..offset.saturating_add(size).min(length))
        };
        let nothing = PageRows::Rows(0..0);
        match page(page_no) {
            Some(rows) => PageRows::Rows(rows),
            None if page_no == 0 => nothing,
            None if self.has(&BEYOND_LAST) => page(length.saturating_sub(1) / step).map_or(nothing, PageRows::Rows),
            None if self.has(&BEYOND_FIRST) => page(0).map_or(nothing, PageRows::Rows),
            None if self.has(&BEYOND_NO_LIST) => PageRows::LeftOut,
            // Past the end there is nothing, not even the rows of the page before.
            None => nothing,
        }
    }
}
