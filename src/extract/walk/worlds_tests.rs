//! The walk in hostile worlds: totals that lie, capped pages and lists, repeated pages, rows twice, records that nobody
//! can read or that read differently each time, and drift besides. The walk's own code runs against a model of such a
//! server ([`model`]); the model knows which rows never left. `WDT_WALK_WORLDS` says how many worlds of each kind are
//! tried (40), `WDT_SEED` where their seeds begin.

mod model;
mod run;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use self::model::{
    Behind, DRIFT, HONEST, Kind, Nature, Order, PLAIN, Population, Row, SPAN, Total, World, WorldPage, populate,
    second, whole,
};
use self::run::{Came, LIMITS, check, sync, sync_window};
use super::super::pages::Fetched;
use super::tests::now;
use super::*;
use crate::error::ErrorKind;

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
