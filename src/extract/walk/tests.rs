//! The rules of the walk on a small model: every schedule of departures and tie orders of tiny worlds, and random
//! larger ones.
//!
//! The model's server lists by modified time with unstable ties (or by nothing at all), and lists and counts in two
//! statements. Rows leave before, between and after them. The oracle is the model's own record of which rows never
//! left.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::pages::{Fetched, PageRows};
use super::*;
use crate::error::ErrorKind;
use crate::requisition::Identity;
use crate::time::BeijingTime;

/// Where the model's free choices come from.
trait Choices: Send {
    /// A number below `options`.
    fn choose(&mut self, options: usize) -> usize;
}

/// Every sequence of choices, one after the other, like the digits of an odometer.
#[derive(Default)]
struct Odometer {
    digits: Vec<(usize, usize)>,
    at: usize,
}

impl Odometer {
    fn next_schedule(&mut self) -> bool {
        self.at = 0;
        while let Some((digit, options)) = self.digits.pop() {
            if digit + 1 < options {
                self.digits.push((digit + 1, options));
                return true;
            }
        }
        false
    }
}

impl Choices for Odometer {
    fn choose(&mut self, options: usize) -> usize {
        if self.at == self.digits.len() {
            self.digits.push((0, options));
        }
        self.at += 1;
        self.digits[self.at - 1].0
    }
}

struct Random(StdRng);

impl Choices for Random {
    fn choose(&mut self, options: usize) -> usize {
        self.0.random_range(0..options)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Ascending,
    Descending,
    None,
}

struct Model<C> {
    order: Order,
    /// One call in this many sees a departure; 0: never.
    departs_in: usize,
    cap: u32,
    /// How many seconds more than the window the server is asked for: 1 where the interval is not documented as
    /// closed.
    extra: i64,
    state: Mutex<State<C>>,
}

struct State<C> {
    /// Modified second and name of the rows that are in the window.
    rows: Vec<(i64, usize)>,
    departures_left: usize,
    calls: u32,
    choices: C,
}

#[derive(Debug)]
struct ModelPage {
    total: Option<u64>,
    rows: Vec<RowKey>,
    is_forgotten: bool,
    end: BeijingTime,
}

impl PageRows for ModelPage {
    fn total(&self) -> Option<u64> {
        self.total
    }

    fn rows(&self) -> &[RowKey] {
        &self.rows
    }

    fn forget_rows(&mut self) {
        self.is_forgotten = true;
    }

    fn is_extra(&self, row: usize) -> bool {
        self.rows[row].modified.is_some_and(|modified| modified > self.end)
    }
}

fn key((second, name): (i64, usize)) -> RowKey {
    let modified = BeijingTime::from_unix(second).expect("in range");
    RowKey {
        identity: Identity::Version { number: name.to_string().into(), modified, apply_id: None },
        modified: Some(modified),
    }
}

impl<C: Choices> Model<C> {
    fn new(seconds: &[i64], order: Order, departures: usize, departs_in: usize, choices: C) -> Self {
        let rows = seconds.iter().copied().enumerate().map(|(name, second)| (second, name)).collect();
        let state = State { rows, departures_left: departures, calls: 0, choices };
        Self { order, departs_in, cap: u32::MAX, extra: 0, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().expect("lock")
    }

    fn maybe_depart(&self, state: &mut State<C>) {
        if self.departs_in == 0 || state.departures_left == 0 || state.rows.is_empty() {
            return;
        }
        // Option 0 is "nobody leaves"; the last ones are the rows.
        let options = state.rows.len() * self.departs_in + 1;
        let choice = state.choices.choose(options);
        if (1..=state.rows.len()).contains(&choice) {
            state.rows.remove(choice - 1);
            state.departures_left -= 1;
        }
    }

    fn is_asked(&self, (second, _): (i64, usize), window: Window) -> bool {
        (window.start().unix()..=window.end().unix() + self.extra).contains(&second)
    }

    /// The window's rows in the order of this call: groups of one second are shuffled.
    fn list(&self, state: &mut State<C>, window: Window) -> Vec<(i64, usize)> {
        let mut left: Vec<_> = state.rows.iter().copied().filter(|row| self.is_asked(*row, window)).collect();
        let mut listed = Vec::new();
        while !left.is_empty() {
            let head = match self.order {
                Order::Ascending => left.iter().map(|row| row.0).min(),
                Order::Descending => left.iter().map(|row| row.0).max(),
                Order::None => None,
            };
            let candidates: Vec<_> =
                (0..left.len()).filter(|place| head.is_none_or(|second| left[*place].0 == second)).collect();
            let chosen = if candidates.len() == 1 { 0 } else { state.choices.choose(candidates.len()) };
            listed.push(left.remove(candidates[chosen]));
        }
        listed
    }
}

impl<C: Choices> Pages for Model<C> {
    type Page = ModelPage;

    async fn page(&self, window: Window, page_no: u32, page_size: u32) -> Result<Fetched<ModelPage>> {
        let mut state = self.state();
        let state = &mut *state;
        state.calls += 1;
        self.maybe_depart(state);
        let listed = self.list(state, window);
        let size = page_size.min(self.cap) as usize;
        let from = (page_no as usize * size).min(listed.len());
        let rows = listed[from..(from + size).min(listed.len())].iter().copied().map(key).collect();
        let mut total = None;
        if page_no == 0 {
            // A cap that never showed itself cannot be told from a short list, were rows to leave between list and
            // count.
            if self.cap == u32::MAX {
                self.maybe_depart(state);
            }
            total = Some(state.rows.iter().filter(|row| self.is_asked(**row, window)).count() as u64);
        }
        Ok(Fetched { page: ModelPage { total, rows, end: window.end(), is_forgotten: false }, retries: 0 })
    }
}

fn window(start: i64, end: i64) -> Window {
    let at = |second| BeijingTime::from_unix(second).expect("in range");
    Window::new(at(start), at(end)).expect("a window")
}

const LIMITS: Limits = Limits {
    max_pages: 20,
    max_passes: 25,
    max_calls_per_page: 25,
    narrowing_calls: 1_000,
    concurrency: 2,
    least_list_cap: 1_000,
    pause: std::time::Duration::ZERO,
    min_ordered_steps: 0,
};

/// Pages as small as the model's are in order by chance: a server that orders by nothing is told apart by more steps
/// than they have.
fn believing(order: Order, limits: Limits) -> Limits {
    Limits { min_ordered_steps: if order == Order::None { 1_000 } else { 0 }, ..limits }
}

/// Drives a future whose model answers at once.
pub(super) fn now<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Walks `whole` as the pipeline does and checks every promise against the model. Returns how many windows were proved.
fn check<C: Choices>(model: &Model<C>, whole: Window, page_size: u32, limits: Limits) -> usize {
    let held: HashSet<Identity> = model.state().rows.iter().copied().map(|row| key(row).identity).collect();
    let walker = Walker::new(model, page_size, limits, Quit::default());
    let mut todo = vec![(whole, Budget::default())];
    let (mut proved_windows, mut seconds_done) = (0, 0);
    while let Some((window, budget)) = todo.pop() {
        let before: Vec<RowKey> = model.state().rows.iter().copied().map(key).collect();
        let walked = match now(walker.walk(window, &budget)).walked {
            Ok(walked) => walked,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Incomplete, "{error}");
                continue;
            }
        };
        let after: HashSet<Identity> = model.state().rows.iter().copied().map(|row| key(row).identity).collect();
        match walked {
            Walked::TooLarge { pieces, .. } => {
                let windows = window.pieces(pieces);
                assert_eq!(windows.iter().map(|piece| piece.seconds()).sum::<u64>(), window.seconds());
                assert!(windows.len() > 1, "a cut makes progress");
                todo.extend(windows.into_iter().map(|piece| (piece, Budget::default())));
            }
            Walked::Unproved { windows, .. } => {
                assert_eq!(windows.iter().map(|piece| piece.seconds()).sum::<u64>(), window.seconds());
                assert!(windows.len() > 1, "a cut makes progress");
                todo.extend(windows.into_iter().map(|piece| (piece, budget.clone())));
            }
            Walked::Interrupted(_) => panic!("nobody told it to quit"),
            Walked::Proved(proved) => {
                let mut covered = proved.again.iter().map(|window| window.seconds()).sum::<u64>();
                for part in &proved.parts {
                    covered += part.window.seconds();
                    seconds_done += part.window.seconds();
                    proved_windows += 1;
                    let selected: Vec<&Identity> =
                        part.selected.iter().map(|(page, row)| &proved.pages[*page].rows[*row].identity).collect();
                    let distinct: HashSet<&Identity> = selected.iter().copied().collect();
                    assert_eq!(distinct.len(), selected.len(), "no identity wins twice");
                    assert_eq!(part.proof.distinct_rows, selected.len() as u64);
                    assert!(distinct.iter().all(|winner| held.contains(*winner)), "only versions that the server held");
                    for row in &before {
                        let stayed = row.modified.is_some_and(|time| part.window.contains(time))
                            && after.contains(&row.identity);
                        assert!(
                            !stayed || distinct.contains(&row.identity),
                            "{:?} lost from {} by {:?}",
                            row.identity,
                            part.window,
                            part.proof
                        );
                    }
                }
                assert_eq!(covered, window.seconds(), "parts and seconds to walk again make up the window");
                todo.extend(proved.again.into_iter().map(|second| (second, budget.clone())));
            }
        }
    }
    assert!(seconds_done <= whole.seconds());
    proved_windows
}

/// Every schedule of a world of a few rows.
fn exhaust(
    (seconds, extra): (&[i64], i64),
    order: Order,
    departures: usize,
    page_size: u32,
    limits: Limits,
) -> (usize, usize) {
    let mut odometer = Odometer::default();
    let (mut schedules, mut proved) = (0, 0);
    loop {
        let mut model = Model::new(seconds, order, departures, 1, odometer);
        model.extra = extra;
        let first = seconds.iter().copied().min().unwrap_or(0);
        // Where one second more is asked for, the last rows are in it.
        proved += usize::from(check(&model, window(first, first + 3 - 2 * extra), page_size, limits) > 0);
        schedules += 1;
        odometer = model.state.into_inner().expect("lock").choices;
        if !odometer.next_schedule() {
            return (schedules, proved);
        }
        assert!(schedules < 2_000_000, "the model is small enough to exhaust");
    }
}

#[test]
fn every_schedule_of_small_worlds() {
    // Few passes keep a world of unstable ties finite: a walk that is not proved by then is a gap, which is no loss.
    let limits = Limits { max_passes: 2, ..LIMITS };
    let mut schedules = 0;
    for (seconds, extra, order, departures, page_size) in [
        (&[1, 2, 3][..], 0, Order::Ascending, 2, 2),
        (&[1, 2, 3, 4], 0, Order::Ascending, 2, 2),
        (&[1, 2, 3, 4], 0, Order::Descending, 2, 2),
        (&[1, 1, 2], 0, Order::Ascending, 1, 2),
        (&[1, 2, 2], 0, Order::Ascending, 1, 2),
        (&[1, 2, 2, 3], 0, Order::Ascending, 1, 2),
        (&[1, 2, 2, 3], 0, Order::Descending, 1, 2),
        (&[1, 2, 3], 0, Order::None, 0, 2),
        (&[1, 2], 0, Order::None, 1, 1),
        (&[1, 2, 3], 0, Order::Ascending, 3, 1),
        (&[1, 2, 3], 1, Order::Ascending, 2, 2),
        (&[1, 2, 3, 3], 1, Order::Ascending, 1, 2),
        (&[1, 2, 2, 3], 1, Order::Ascending, 1, 2),
        (&[1, 2, 3, 3], 1, Order::Descending, 1, 2),
    ] {
        let limits = believing(order, limits);
        let (count, proved) = exhaust((seconds, extra), order, departures, page_size, limits);
        assert!(proved > 0, "the rules prove something in {seconds:?}");
        schedules += count;
    }
    println!("{schedules} schedules tried");
    assert!(schedules > 10_000, "only {schedules}");
}

#[test]
fn random_larger_worlds() {
    for seed in 0..3_000 {
        let mut random = Random(StdRng::seed_from_u64(seed));
        let (count, span) = (random.choose(60), 1 + random.choose(40));
        let seconds: Vec<i64> = (0..count).map(|_| random.choose(span) as i64).collect();
        let order = [Order::Ascending, Order::Ascending, Order::Descending, Order::None][random.choose(4)];
        let page_size = 1 + random.choose(9) as u32;
        let (departures, departs_in) = (random.choose(20), 1 + random.choose(4));
        let cap = if random.choose(4) == 0 { 1 + random.choose(5) as u32 } else { u32::MAX };
        let mut model = Model::new(&seconds, order, departures, departs_in, random);
        (model.cap, model.extra) = (cap, (seed % 2) as i64);
        check(&model, window(0, span as i64), page_size, believing(order, Limits { max_pages: 3, ..LIMITS }));
    }
}

/// Walks one window by itself.
fn walk_alone<S: Pages>(source: &S, page_size: u32, limits: Limits, window: Window) -> Result<Walked<S::Page>> {
    now(Walker::new(source, page_size, limits, Quit::default()).walk(window, &Budget::default())).walked
}

fn quiet(count: usize, page_size: u32) -> (u32, Walked<ModelPage>) {
    let seconds: Vec<i64> = (0..count as i64).collect();
    let model = Model::new(&seconds, Order::Ascending, 0, 0, Odometer::default());
    let walked = walk_alone(&model, page_size, LIMITS, window(0, 10_000)).expect("walked");
    (model.state.into_inner().expect("lock").calls, walked)
}

#[test]
fn a_quiet_world_costs_its_pages_and_a_call_or_two() {
    for (count, page_size, calls) in
        [(0, 5, 1), (4, 5, 1), (5, 5, 3), (6, 5, 3), (50, 5, 12), (53, 5, 12), (20, 50, 2), (21, 50, 1)]
    {
        let (spent, walked) = quiet(count, page_size);
        assert_eq!(spent, calls, "{count} rows in pages of {page_size}");
        let Walked::Proved(proved) = walked else { panic!("not proved") };
        assert_eq!((proved.parts.len(), proved.parts[0].selected.len()), (1, count));
    }
}

#[test]
fn a_window_far_too_large_is_cut_before_it_is_read() {
    let (spent, walked) = quiet(1_000, 5);
    let Walked::TooLarge { pieces, total } = walked else { panic!("not cut") };
    assert_eq!((spent, total, pieces), (1, 1_000, 10));
}

#[test]
fn one_second_larger_than_a_page_gathers_passes_until_it_is_complete() {
    for seed in 0..20 {
        let model = Model::new(&[7; 100], Order::Ascending, 0, 0, Random(StdRng::seed_from_u64(seed)));
        let walked = walk_alone(&model, 10, LIMITS, window(7, 7)).expect("proved");
        let Walked::Proved(proved) = walked else { panic!("a second cannot be cut") };
        assert_eq!((proved.parts[0].selected.len(), proved.parts[0].proof.rule), (100, Rule::Count));
        assert!(proved.parts[0].proof.calls < 150, "{} calls", proved.parts[0].proof.calls);
    }
}

#[test]
fn a_budget_that_is_spent_leaves_a_gap_and_names_it() {
    let model = Model::new(&[7; 100], Order::Ascending, 0, 0, Random(StdRng::seed_from_u64(1)));
    let limits = Limits { max_passes: 2, ..LIMITS };
    let error = walk_alone(&model, 10, limits, window(7, 7)).expect_err("two passes cannot do");
    assert_eq!(error.kind().exit_code(), 7);
    assert!(error.to_string().contains("1970-01-01 08:00:07"), "{error}");
}

#[test]
fn a_total_that_rises_voids_the_walk() {
    struct Rising(Mutex<u64>);
    impl Pages for Rising {
        type Page = ModelPage;
        async fn page(&self, window: Window, _: u32, page_size: u32) -> Result<Fetched<ModelPage>> {
            let mut total = self.0.lock().expect("lock");
            *total += 1;
            let rows = (0..page_size as usize).map(|name| key((name as i64, name))).collect();
            Ok(Fetched {
                page: ModelPage { total: Some(*total), rows, end: window.end(), is_forgotten: false },
                retries: 0,
            })
        }
    }
    let error = walk_alone(&Rising(Mutex::new(50)), 10, LIMITS, window(0, 100)).expect_err("void");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("--lag")), "{error}");
}

/// A server that ignores the window or answers the same page for ever must not be asked for ever.
#[test]
fn a_server_that_keeps_to_nothing_is_given_up_within_the_budget() {
    struct Deaf {
        second: i64,
        calls: Mutex<u32>,
    }
    impl Pages for Deaf {
        type Page = ModelPage;
        async fn page(&self, window: Window, _: u32, _: u32) -> Result<Fetched<ModelPage>> {
            *self.calls.lock().expect("lock") += 1;
            Ok(Fetched {
                page: ModelPage {
                    total: Some(7),
                    rows: vec![key((self.second, 1))],
                    end: window.end(),
                    is_forgotten: false,
                },
                retries: 0,
            })
        }
    }
    for second in [500, 5_000_000] {
        let deaf = Deaf { second, calls: Mutex::new(0) };
        let walker = Walker::new(&deaf, 100, LIMITS, Quit::default());
        let mut todo = vec![(window(0, 1_000_000), Budget::default())];
        while let Some((window, budget)) = todo.pop() {
            match now(walker.walk(window, &budget)).walked {
                Ok(Walked::Unproved { windows, .. }) => {
                    todo.extend(windows.into_iter().map(|piece| (piece, budget.clone())))
                }
                Ok(_) => panic!("nothing can be proved"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Incomplete),
            }
        }
        let calls = *deaf.calls.lock().expect("lock");
        assert!(calls < 400, "{calls} calls");
    }
}
