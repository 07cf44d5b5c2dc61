//! The model of a hostile server: its rows, its nature, and the pages that it gives. It knows which rows never left.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::super::*;
use crate::extract::pages::{Fetched, PageRows};
use crate::requisition::{ApplyId, Identity};

/// The seconds of every world.
pub(super) const SPAN: i64 = 40;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Valid,
    /// Invalid, of which number and second can be read.
    Invalid,
    /// Invalid, of which only the id can be read.
    ById,
    /// Invalid, of which nothing can be read.
    Nameless,
    /// Whatever response holds it cannot be read.
    Unreadable,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) uid: usize,
    pub(super) second: i64,
    pub(super) number: usize,
    pub(super) apply_id: i64,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    Ascending,
    Descending,
    None,
}

/// What the server states for a total.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Total {
    True,
    Zero,
    OneLess,
    OneMore,
    Half,
    Double,
    CappedAt(u64),
    Always(u64),
    /// That of the call before.
    Stale,
    /// The rows of the page.
    OfThePage,
    /// All rows of the server and some more, whatever the window.
    OfEverything,
    /// None.
    Missing,
}

/// What the server gives for a page behind the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Behind {
    Nothing,
    LastPage,
    FirstPage,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    pub(super) order: Order,
    pub(super) total: Total,
    pub(super) behind: Behind,
    pub(super) page_cap: usize,
    pub(super) list_cap: usize,
    pub(super) ignores_page: bool,
    /// Whether pages are counted from 1, and page 0 is taken for page 1.
    pub(super) counts_from_one: bool,
    /// Whether rows of one second keep their order.
    pub(super) keeps_ties: bool,
    /// How likely a row leaves before a call, and between its list and its count; and how many may.
    pub(super) leaves: (f64, f64, usize),
    /// How likely a row stands twice.
    pub(super) twice: f64,
    /// How likely an id is not given, and a valid record not read as one.
    pub(super) lacks_id: f64,
    pub(super) misread: f64,
    /// Whether invalid records have other bytes each time.
    pub(super) other_bytes: bool,
    /// How likely a response cannot be read, and for how many tries more.
    pub(super) passing: (f64, u32),
}

pub(super) const HONEST: Nature = Nature {
    order: Order::Ascending,
    total: Total::True,
    behind: Behind::Nothing,
    page_cap: usize::MAX,
    list_cap: usize::MAX,
    ignores_page: false,
    counts_from_one: false,
    keeps_ties: false,
    leaves: (0.0, 0.0, 0),
    twice: 0.0,
    lacks_id: 0.0,
    misread: 0.0,
    other_bytes: false,
    passing: (0.0, 0),
};

pub(super) const DRIFT: (f64, f64, usize) = (0.1, 0.05, 3);

pub(super) struct World {
    pub(super) nature: Nature,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    pub(super) rows: Vec<Row>,
    pub(super) random: StdRng,
    pub(super) left: usize,
    pub(super) calls: u32,
    pub(super) totals: HashMap<Window, u64>,
    pub(super) unreadable_for: u32,
}

impl State {
    fn chance(&mut self, likely: f64) -> bool {
        likely > 0.0 && self.random.random_bool(likely)
    }

    fn maybe_leave(&mut self, nature: &Nature, likely: f64) {
        if self.left < nature.leaves.2 && !self.rows.is_empty() && self.chance(likely) {
            let gone = self.random.random_range(0..self.rows.len());
            self.rows.remove(gone);
            self.left += 1;
        }
    }

    fn list(&mut self, nature: &Nature, window: Window) -> Vec<Row> {
        let mut listed: Vec<Row> =
            self.rows.iter().filter(|row| window.contains(second(row.second))).cloned().collect();
        if !nature.keeps_ties {
            listed.shuffle(&mut self.random);
        }
        match nature.order {
            Order::Ascending => listed.sort_by_key(|row| row.second),
            Order::Descending => listed.sort_by_key(|row| -row.second),
            Order::None => {}
        }
        let listed: Vec<Row> = listed
            .into_iter()
            .flat_map(|row| if self.chance(nature.twice) { vec![row.clone(), row] } else { vec![row] })
            .collect();
        listed.into_iter().take(nature.list_cap).collect()
    }

    fn total(&mut self, nature: &Nature, window: Window, page_rows: usize) -> Option<u64> {
        let held = self.rows.iter().filter(|row| window.contains(second(row.second))).count() as u64;
        let before = self.totals.insert(window, held);
        Some(match nature.total {
            Total::True => held.min(nature.list_cap as u64),
            Total::Zero => 0,
            Total::OneLess => held.saturating_sub(1),
            Total::OneMore => held + 1,
            Total::Half => held / 2,
            Total::Double => held * 2,
            Total::CappedAt(cap) => held.min(cap),
            Total::Always(total) => total,
            Total::Stale => before.unwrap_or(held),
            Total::OfThePage => page_rows as u64,
            Total::OfEverything => self.rows.len() as u64 + 50,
            Total::Missing => return None,
        })
    }

    fn key(&mut self, nature: &Nature, row: &Row) -> RowKey {
        let id = if self.chance(nature.lacks_id) { 0 } else { row.apply_id };
        let mut kind = row.kind;
        if kind == Kind::Valid && self.chance(nature.misread) {
            kind = if self.chance(0.5) { Kind::ById } else { Kind::Invalid };
        }
        let bytes = if nature.other_bytes { self.random.random() } else { 0 };
        let mut sha256 = [bytes; 32];
        sha256[..8].copy_from_slice(&(row.uid as u64).to_le_bytes());
        let modified = second(row.second);
        match kind {
            Kind::Valid | Kind::Invalid => {
                let number = row.number.to_string().into();
                let identity = Identity::Version { number, modified, apply_id: ApplyId::new(id) };
                RowKey { identity, modified: Some(modified) }
            }
            Kind::ById => {
                RowKey { identity: Identity::Record { apply_id: ApplyId::new(row.apply_id), sha256 }, modified: None }
            }
            Kind::Nameless | Kind::Unreadable => {
                RowKey { identity: Identity::Record { apply_id: None, sha256 }, modified: None }
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct WorldPage {
    pub(super) total: Option<u64>,
    pub(super) rows: Vec<RowKey>,
    pub(super) uids: Vec<usize>,
    pub(super) is_unreadable: bool,
}

impl PageRows for WorldPage {
    fn total(&self) -> Option<u64> {
        self.total
    }

    fn rows(&self) -> &[RowKey] {
        &self.rows
    }

    fn forget_rows(&mut self) {}

    fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }
}

impl World {
    pub(super) fn new(nature: Nature, rows: Vec<Row>, random: StdRng) -> Self {
        let state = State { rows, random, left: 0, calls: 0, totals: HashMap::new(), unreadable_for: 0 };
        Self { nature, state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("lock")
    }

    pub(super) fn uids(&self, window: Window) -> BTreeSet<usize> {
        let state = self.state();
        state.rows.iter().filter(|row| window.contains(second(row.second))).map(|row| row.uid).collect()
    }
}

impl Pages for World {
    type Page = WorldPage;

    async fn page(&self, window: Window, page_no: u32, page_size: u32) -> Result<Fetched<WorldPage>> {
        let (nature, mut state) = (&self.nature, self.state());
        let state = &mut *state;
        state.calls += 1;
        state.maybe_leave(nature, nature.leaves.0);
        let listed = state.list(nature, window);
        let size = (page_size as usize).min(nature.page_cap);
        let cut = |from: usize| listed[from.min(listed.len())..(from + size).min(listed.len())].to_vec();
        let page_no = if nature.counts_from_one { page_no.saturating_sub(1) } else { page_no };
        let from = if nature.ignores_page { 0 } else { page_no as usize * size };
        let mut page = cut(from);
        if page.is_empty() && page_no > 0 && !listed.is_empty() {
            page = match nature.behind {
                Behind::Nothing => page,
                Behind::LastPage => cut((listed.len() - 1) / size * size),
                Behind::FirstPage => cut(0),
            };
        }
        state.maybe_leave(nature, nature.leaves.1);
        let total = if page_no == 0 { state.total(nature, window, page.len()) } else { None };
        let mut is_unreadable = page.iter().any(|row| row.kind == Kind::Unreadable);
        if !is_unreadable && nature.passing.0 > 0.0 {
            if state.unreadable_for > 0 {
                (state.unreadable_for, is_unreadable) = (state.unreadable_for - 1, true);
            } else if state.chance(nature.passing.0) {
                (state.unreadable_for, is_unreadable) = (nature.passing.1, true);
            }
        }
        let uids: Vec<usize> = page.iter().map(|row| row.uid).collect();
        let page = if is_unreadable {
            let identity = Identity::Record { apply_id: None, sha256: [7; 32] };
            WorldPage { total: None, rows: vec![RowKey { identity, modified: None }], uids, is_unreadable }
        } else {
            let rows = page.iter().map(|row| state.key(nature, row)).collect();
            WorldPage { total, rows, uids, is_unreadable }
        };
        Ok(Fetched { page, retries: 0 })
    }
}

pub(super) fn second(second: i64) -> BeijingTime {
    BeijingTime::from_unix(second).expect("in range")
}

pub(super) fn whole() -> Window {
    Window::new(second(0), second(SPAN - 1)).expect("a window")
}

/// How many rows a world has, and of what kind some of them are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Population {
    pub(super) rows: (usize, usize),
    pub(super) odd: (usize, Kind),
    /// Whether requisitions share their numbers two by two.
    pub(super) shared_numbers: bool,
}

pub(super) const PLAIN: Population = Population { rows: (1, 16), odd: (0, Kind::Valid), shared_numbers: false };

pub(super) fn populate(population: Population, random: &mut StdRng) -> Vec<Row> {
    let count = random.random_range(population.rows.0..population.rows.1);
    let mut rows: Vec<Row> = (0..count)
        .map(|uid| {
            let number = if population.shared_numbers { uid / 2 } else { uid };
            let second = if population.shared_numbers && uid % 2 == 1 {
                // Its twin has the same second.
                -1
            } else {
                random.random_range(0..SPAN)
            };
            Row { uid, second, number, apply_id: uid as i64 + 1, kind: Kind::Valid }
        })
        .collect();
    for uid in 1..count {
        if rows[uid].second < 0 {
            rows[uid].second = rows[uid - 1].second;
        }
    }
    let mut places: Vec<usize> = (0..count).collect();
    places.shuffle(random);
    for place in places.into_iter().take(population.odd.0) {
        rows[place].kind = population.odd.1;
    }
    rows
}
