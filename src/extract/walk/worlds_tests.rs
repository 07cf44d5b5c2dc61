//! The walk in hostile worlds: totals that lie, capped pages and lists, repeated pages, rows twice, records that nobody
//! can read or that read differently each time, and drift besides. The walk's own code runs against a model of such a
//! server; the model knows which rows never left. `WDT_WALK_WORLDS` says how many worlds of each kind are tried (40),
//! `WDT_SEED` where their seeds begin.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::super::cuts::Cuts;
use super::super::pages::{Fetched, PageRows};
use super::tests::now;
use super::*;
use crate::requisition::{ApplyId, Identity};

/// The seconds of every world.
const SPAN: i64 = 40;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
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
struct Row {
    uid: usize,
    second: i64,
    number: usize,
    apply_id: i64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Ascending,
    Descending,
    None,
}

/// What the server states for a total.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Total {
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
enum Behind {
    Nothing,
    LastPage,
    FirstPage,
}

#[derive(Clone, Copy, Debug)]
struct Nature {
    order: Order,
    total: Total,
    behind: Behind,
    page_cap: usize,
    list_cap: usize,
    ignores_page: bool,
    /// Whether pages are counted from 1, and page 0 is taken for page 1.
    counts_from_one: bool,
    /// Whether rows of one second keep their order.
    keeps_ties: bool,
    /// How likely a row leaves before a call, and between its list and its count; and how many may.
    leaves: (f64, f64, usize),
    /// How likely a row stands twice.
    twice: f64,
    /// How likely an id is not given, and a valid record not read as one.
    lacks_id: f64,
    misread: f64,
    /// Whether invalid records have other bytes each time.
    other_bytes: bool,
    /// How likely a response cannot be read, and for how many tries more.
    passing: (f64, u32),
}

const HONEST: Nature = Nature {
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

const DRIFT: (f64, f64, usize) = (0.1, 0.05, 3);

struct World {
    nature: Nature,
    state: Mutex<State>,
}

struct State {
    rows: Vec<Row>,
    random: StdRng,
    left: usize,
    calls: u32,
    totals: HashMap<Window, u64>,
    unreadable_for: u32,
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
struct WorldPage {
    total: Option<u64>,
    rows: Vec<RowKey>,
    uids: Vec<usize>,
    is_unreadable: bool,
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
    fn new(nature: Nature, rows: Vec<Row>, random: StdRng) -> Self {
        let state = State { rows, random, left: 0, calls: 0, totals: HashMap::new(), unreadable_for: 0 };
        Self { nature, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("lock")
    }

    fn uids(&self, window: Window) -> BTreeSet<usize> {
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

fn second(second: i64) -> BeijingTime {
    BeijingTime::from_unix(second).expect("in range")
}

fn whole() -> Window {
    Window::new(second(0), second(SPAN - 1)).expect("a window")
}

/// What a run over one world came to.
#[derive(Default, Debug)]
struct Came {
    lost: Vec<(Window, Vec<usize>, Proof)>,
    twice: usize,
    /// Rows that landed and stand in quarantine as unreadable too.
    both: usize,
    gaps: usize,
    landed: usize,
    quarantined: usize,
    calls: u32,
}

/// Walks the whole of a world as a run does.
fn sync(world: &World, page_size: u32) -> Came {
    sync_window(world, whole(), page_size, LIMITS)
}

const LIMITS: Limits = Limits {
    max_pages: 50,
    max_passes: 25,
    max_calls_per_page: 25,
    narrowing_calls: 1_000,
    concurrency: 2,
    least_list_cap: 4,
    pause: std::time::Duration::ZERO,
    min_ordered_steps: 10,
};

fn sync_window(world: &World, window: Window, page_size: u32, limits: Limits) -> Came {
    let walker = Walker::new(world, page_size, limits, Quit::default());
    let (mut came, mut cuts) = (Came::default(), Cuts::default());
    let mut todo = VecDeque::from([(window, Budget::default())]);
    let mut given_up: Vec<Window> = Vec::new();
    let mut walks = 0;
    while let Some((window, budget)) = todo.pop_front() {
        walks += 1;
        assert!(walks < 5_000, "a run ends");
        let before = world.uids(window);
        let outcome = now(walker.walk(window, &budget));
        if let Some(contradicted) = outcome.first_total.and_then(|total| cuts.note(window, total)) {
            came.gaps += 1;
            given_up.push(contradicted);
        }
        match outcome.walked {
            Err(_) => came.gaps += 1,
            Ok(Walked::Interrupted(_)) => panic!("nobody told it to quit"),
            Ok(Walked::TooLarge { pieces, total }) => {
                cuts.cut(window, total);
                todo.extend(window.pieces(pieces).into_iter().map(|piece| (piece, Budget::default())));
            }
            Ok(Walked::Unproved { windows, total }) => {
                total.into_iter().for_each(|total| cuts.cut(window, total));
                todo.extend(windows.into_iter().map(|piece| (piece, budget.clone())));
            }
            Ok(Walked::Proved(proved)) => {
                check(world, &before, &proved, &mut came);
                todo.extend(proved.again.into_iter().map(|second| (second, budget.clone())));
            }
        }
        todo.retain(|(window, _)| !given_up.iter().any(|gap| gap.overlaps(*window)));
    }
    came.calls = world.state().calls;
    came
}

/// What is promised of every part that is proved: what stayed is there, and once.
fn check(world: &World, before: &BTreeSet<usize>, proved: &Proved<WorldPage>, came: &mut Came) {
    for part in &proved.parts {
        assert!(part.proof.rule.accepts(&part.proof.grounds), "{:?}", part.proof);
        let (mut landed, mut unreadable) = (BTreeMap::<usize, usize>::new(), BTreeSet::new());
        for (page, row) in &part.selected {
            let page = &proved.pages[*page];
            if page.is_unreadable {
                unreadable.extend(page.uids.iter().copied());
            } else {
                *landed.entry(page.uids[*row]).or_default() += 1;
            }
        }
        let after = world.uids(part.window);
        let missing = before.intersection(&after).filter(|uid| !landed.contains_key(uid) && !unreadable.contains(uid));
        let missing: Vec<usize> = missing.copied().collect();
        if !missing.is_empty() {
            came.lost.push((part.window, missing, part.proof.clone()));
        }
        came.twice += landed.values().filter(|times| **times > 1).count();
        came.both += unreadable.iter().filter(|uid| landed.contains_key(uid)).count();
        came.landed += landed.len();
        came.quarantined += unreadable.len();
    }
}

/// How many rows a world has, and of what kind some of them are.
#[derive(Clone, Copy, Debug)]
struct Population {
    rows: (usize, usize),
    odd: (usize, Kind),
    /// Whether requisitions share their numbers two by two.
    shared_numbers: bool,
}

const PLAIN: Population = Population { rows: (1, 16), odd: (0, Kind::Valid), shared_numbers: false };

fn populate(population: Population, random: &mut StdRng) -> Vec<Row> {
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

/// Tries a kind of world many times; gives what all came to.
fn many(name: &str, nature: Nature, population: Population) -> Came {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (worlds, first): (u64, u64) = (number("WDT_WALK_WORLDS", 40), number("WDT_SEED", 0));
    let mut all = Came::default();
    for seed in first..first + worlds {
        let mut random = StdRng::seed_from_u64(seed);
        let rows = populate(population, &mut random);
        let came = sync(&World::new(nature, rows, random), 4);
        assert!(came.lost.is_empty(), "{name}, seed {seed}: lost {:?}", came.lost);
        all.twice += came.twice;
        all.both += came.both;
        all.gaps += came.gaps.min(1);
        all.landed += came.landed;
        all.quarantined += came.quarantined;
        all.calls += came.calls;
    }
    println!(
        "{name:44} worlds {worlds} gaps {} twice {} both {} calls {:.1} rows {:.1}",
        all.gaps,
        all.twice,
        all.both,
        f64::from(all.calls) / worlds as f64,
        all.landed as f64 / worlds as f64
    );
    all
}

/// How drift and order vary with everything else.
fn variants(nature: Nature) -> Vec<(String, Nature)> {
    let mut variants = Vec::new();
    for order in [Order::Ascending, Order::Descending, Order::None] {
        for (name, leaves) in [("quiet", (0.0, 0.0, 0)), ("drift", DRIFT), ("much", (0.4, 0.2, 99))] {
            variants.push((format!("{order:?} {name}"), Nature { order, leaves, ..nature }));
        }
    }
    variants
}

#[test]
fn no_lying_total_lands_a_part_as_the_whole() {
    use Total::*;
    for total in [
        True,
        Zero,
        OneLess,
        OneMore,
        Half,
        Double,
        CappedAt(4),
        CappedAt(8),
        Always(0),
        Always(3),
        Always(4),
        Always(8),
        Always(11),
        Always(u64::MAX),
        Stale,
        OfEverything,
        Missing,
    ] {
        for behind in [Behind::Nothing, Behind::LastPage, Behind::FirstPage] {
            for (name, nature) in variants(Nature { total, behind, ..HONEST }) {
                let came = many(&format!("{total:?} {behind:?} {name}"), nature, PLAIN);
                assert_eq!(came.twice, 0, "{total:?} {behind:?} {name}");
            }
        }
    }
}

/// However large a total is, a second of which it is stated is not read page by page.
#[test]
fn a_second_with_an_impossible_total_costs_few_calls() {
    for total in [4_294_967_296, 4_294_967_300, 1_000_000_000_000_000_000, u64::MAX] {
        let rows = populate(Population { rows: (5, 6), ..PLAIN }, &mut StdRng::seed_from_u64(3));
        let world = World::new(Nature { total: Total::Always(total), ..HONEST }, rows, StdRng::seed_from_u64(3));
        let walker =
            Walker::new(&world, 100, Limits { pause: std::time::Duration::ZERO, ..Limits::default() }, Quit::default());
        let outcome = now(walker.walk(Window::second(second(0)), &Budget::default()));
        let error = outcome.walked.expect_err("nothing is proved");
        let calls = world.state().calls;
        assert!(error.kind() == ErrorKind::Incomplete && calls < 12, "{total}: {calls} calls, {error}");
    }
}

#[test]
fn a_total_that_is_one_too_high_costs_few_calls() {
    let worlds = many("one more", Nature { total: Total::OneMore, ..HONEST }, PLAIN);
    let honest = many("honest", HONEST, PLAIN);
    assert!(worlds.calls < honest.calls * 3, "{} calls against {}", worlds.calls, honest.calls);
}

#[test]
fn caps_of_pages_and_lists_are_seen() {
    for page_cap in [2, 3] {
        for (name, nature) in variants(Nature { page_cap, ..HONEST }) {
            // A cap that never showed itself cannot be told from a short list, were rows to leave between list and
            // count; real caps are round, and a round page is looked behind.
            let nature = Nature { leaves: (nature.leaves.0, 0.0, nature.leaves.2), ..nature };
            many(&format!("page cap {page_cap} {name}"), nature, PLAIN);
        }
    }
    for list_cap in [4, 5, 8] {
        for order in [Order::Ascending, Order::Descending, Order::None] {
            let came =
                many(&format!("list and total capped at {list_cap}"), Nature { order, list_cap, ..HONEST }, PLAIN);
            assert!(came.landed > 0);
            let nature = Nature { order, list_cap, total: Total::Missing, ..HONEST };
            let came = many(&format!("list capped at {list_cap}, no total"), nature, PLAIN);
            assert!(came.landed > 0);
        }
    }
    for total in [Total::True, Total::Missing, Total::OfThePage] {
        // Of four rows two may leave, or those of one second change places, just so that pages seem to follow one
        // another; of a hundred fifty do not.
        let keeps_ties = total == Total::OfThePage;
        let is_large = |(name, _): &(String, Nature)| !keeps_ties || name.ends_with("quiet");
        for (name, nature) in
            variants(Nature { ignores_page: true, total, keeps_ties, ..HONEST }).into_iter().filter(is_large)
        {
            many(&format!("every page is page 0, {total:?} {name}"), nature, PLAIN);
        }
        for (name, nature) in
            variants(Nature { counts_from_one: true, total, keeps_ties, ..HONEST }).into_iter().filter(is_large)
        {
            many(&format!("pages are counted from 1, {total:?} {name}"), nature, PLAIN);
        }
    }
    for page_cap in [1, 2, 3] {
        for order in [Order::Ascending, Order::Descending] {
            // Pages so short seem to repeat where the rows of one second change places.
            let nature = Nature { page_cap, order, total: Total::Missing, keeps_ties: true, ..HONEST };
            let came = many(&format!("page cap {page_cap}, no total, {order:?}"), nature, PLAIN);
            assert!(came.landed > 0);
        }
    }
}

/// Pages of ten, as a server caps them that says the page's length for a total.
#[test]
fn a_hidden_page_cap_with_the_pages_length_as_total_is_seen() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let rows = populate(Population { rows: (1, 60), ..PLAIN }, &mut random);
        let held = rows.len();
        let nature = Nature { page_cap: 10, total: Total::OfThePage, ..HONEST };
        let came = sync(&World::new(nature, rows, random), 100);
        assert!(came.lost.is_empty(), "seed {seed}, {held} rows: {:?}", came.lost);
    }
}

#[test]
fn rows_twice_hide_no_other() {
    for twice in [0.1, 0.4] {
        for (name, nature) in variants(Nature { twice, ..HONEST }) {
            let came = many(&format!("rows twice {twice} {name}"), nature, PLAIN);
            assert_eq!(came.twice, 0);
        }
    }
}

#[test]
fn readings_that_flicker_count_once() {
    for (name, nature) in variants(HONEST) {
        let shared = Population { shared_numbers: true, ..PLAIN };
        assert_eq!(many(&format!("two ids of a number and second, {name}"), nature, shared).twice, 0);
        many(&format!("ids come and go, {name}"), Nature { lacks_id: 0.3, ..nature }, PLAIN);
        many(&format!("ids come and go, shared, {name}"), Nature { lacks_id: 0.3, ..nature }, shared);
        many(&format!("valid now and then, {name}"), Nature { misread: 0.2, other_bytes: true, ..nature }, PLAIN);
        for kind in [Kind::Invalid, Kind::ById, Kind::Nameless] {
            for other_bytes in [false, true] {
                let odd = Population { odd: (2, kind), ..PLAIN };
                many(&format!("two {kind:?} {other_bytes} {name}"), Nature { other_bytes, ..nature }, odd);
            }
        }
    }
}

#[test]
fn unreadable_records_take_nothing_with_them() {
    for (name, nature) in variants(HONEST) {
        for count in [1, 2, 3] {
            let odd = Population { odd: (count, Kind::Unreadable), ..PLAIN };
            let came = many(&format!("{count} unreadable {name}"), nature, odd);
            assert_eq!((came.twice, came.both), (0, 0));
        }
        many(&format!("unreadable for a moment, {name}"), Nature { passing: (0.05, 0), ..nature }, PLAIN);
        many(&format!("unreadable for some calls, {name}"), Nature { passing: (0.05, 6), ..nature }, PLAIN);
    }
    for order in [Order::Ascending, Order::Descending] {
        let one = Population { rows: (3, 16), odd: (1, Kind::Unreadable), ..PLAIN };
        let came = many("one unreadable, quiet", Nature { order, ..HONEST }, one);
        assert_eq!(came.gaps, 0, "everything else lands in one run");
    }
}

/// Sixty requisitions in pages of a hundred, the worst place included: page 0 then has no total.
#[test]
fn one_of_sixty_unreadable_leaves_fifty_nine() {
    for place in [0, 30, 59] {
        for order in [Order::Ascending, Order::Descending] {
            let random = StdRng::seed_from_u64(1);
            let mut rows: Vec<Row> = (0..60)
                .map(|uid| Row { uid, second: uid as i64 % SPAN, number: uid, apply_id: uid as i64, kind: Kind::Valid })
                .collect();
            rows.sort_by_key(|row| row.second);
            rows[place].kind = Kind::Unreadable;
            let world = World::new(Nature { order, keeps_ties: true, ..HONEST }, rows, random);
            let came = sync_window(&world, whole(), 100, Limits { least_list_cap: 1_000, ..LIMITS });
            println!("unreadable at {place}, {order:?}: {} calls", came.calls);
            assert_eq!((came.landed, came.quarantined, came.gaps), (59, 1, 0), "at {place} {order:?}");
            assert!(came.lost.is_empty() && came.calls <= 75, "{} calls", came.calls);
        }
    }
}

/// Several records that nobody can read are cut out of a large window by what stands next to them.
#[test]
fn several_unreadable_records_of_a_large_window_cost_few_calls() {
    for places in [vec![99, 100], vec![0, 249], vec![10, 120, 240], vec![97, 98, 99, 100, 101]] {
        let mut rows: Vec<Row> = (0..250)
            .map(|uid| Row { uid, second: uid as i64 * 600, number: uid, apply_id: uid as i64 + 1, kind: Kind::Valid })
            .collect();
        places.iter().for_each(|place| rows[*place].kind = Kind::Unreadable);
        let world = World::new(HONEST, rows, StdRng::seed_from_u64(1));
        let window = Window::new(second(0), second(30 * 86_400)).expect("a window");
        let came = sync_window(&world, window, 100, Limits { least_list_cap: 1_000, ..LIMITS });
        println!("unreadable at {places:?}: {} calls", came.calls);
        assert_eq!((came.landed, came.quarantined, came.gaps), (250 - places.len(), places.len(), 0), "{places:?}");
        assert!(came.lost.is_empty() && came.calls < 200 * places.len() as u32, "{places:?}: {} calls", came.calls);
    }
}

/// A run that ends while a window is read keeps what the pages from the end of the list prove.
#[test]
fn a_walk_that_is_told_to_quit_keeps_what_is_proved() {
    struct Quitting<'a> {
        world: &'a World,
        quit: Quit,
        after: u32,
    }
    impl Pages for Quitting<'_> {
        type Page = WorldPage;
        async fn page(&self, window: Window, page_no: u32, page_size: u32) -> Result<Fetched<WorldPage>> {
            let page = self.world.page(window, page_no, page_size).await;
            if self.world.state().calls >= self.after {
                self.quit.set();
            }
            page
        }
    }
    let (mut kept, mut wholes) = (0, 0);
    for seed in 0..600_u64 {
        let mut random = StdRng::seed_from_u64(seed);
        let rows = populate(Population { rows: (20, 60), ..PLAIN }, &mut random);
        let order = [Order::Ascending, Order::Descending, Order::None][seed as usize % 3];
        let leaves = if seed % 2 == 0 { (0.0, 0.0, 0) } else { DRIFT };
        let world = World::new(Nature { order, leaves, ..HONEST }, rows, random);
        let before = world.uids(whole());
        let quitting = Quitting { world: &world, quit: Quit::default(), after: 2 + (seed % 17) as u32 };
        let limits = Limits {
            concurrency: 1 + (seed % 4) as u32,
            least_list_cap: 1_000,
            pause: std::time::Duration::ZERO,
            min_ordered_steps: 10,
            ..Limits::default()
        };
        let walker = Walker::new(&quitting, 4, limits, quitting.quit.clone());
        let outcome = now(walker.walk(whole(), &Budget::default()));
        let mut came = Came::default();
        if let Ok(Walked::Interrupted(Some(proved)) | Walked::Proved(proved)) = outcome.walked {
            wholes += usize::from(proved.parts.iter().any(|part| part.window == whole()));
            for part in &proved.parts {
                let before = before.iter().copied().filter(|uid| {
                    let state = world.state();
                    state.rows.iter().any(|row| row.uid == *uid && part.window.contains(second(row.second)))
                });
                let before = before.collect();
                let alone = Part { window: part.window, selected: part.selected.clone(), proof: part.proof.clone() };
                let only = Proved { pages: Vec::new(), parts: vec![alone], again: Vec::new() };
                let only = Proved { pages: copy(&proved.pages), ..only };
                check(&world, &before, &only, &mut came);
            }
        }
        assert!(came.lost.is_empty(), "seed {seed}: {:?}", came.lost);
        assert_eq!(came.twice, 0);
        kept += came.landed;
    }
    println!("{kept} rows kept, {wholes} windows whole");
    assert!(kept > 2_000 && wholes > 10, "{kept} rows, {wholes} windows");
}

fn copy(pages: &[WorldPage]) -> Vec<WorldPage> {
    let copy = |page: &WorldPage| WorldPage {
        total: page.total,
        rows: page.rows.clone(),
        uids: page.uids.clone(),
        is_unreadable: page.is_unreadable,
    };
    pages.iter().map(copy).collect()
}
