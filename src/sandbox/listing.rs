//! What both gateways ask of the world: a page of a window, or one requisition by its number.
//!
//! Like the real ERP the sandbox runs two statements for a page that carries a total, one that counts and one that
//! lists, and the world may change between them.

use std::borrow::Cow;
use std::sync::Arc;

use crate::time::Window;

use super::dice::Dice;
use super::hostile::{Behaviour, Order, Statements};
use super::oddity::{Oddities, PageRows, Paging};
use super::record::{Requisition, Text};
use super::world::{Key, World};

/// Whether the answer carries the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Total {
    Wanted,
    Unwanted,
}

/// A well-formed question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) window: Option<Window>,
    pub(super) number: Option<Text>,
    pub(super) page_no: u64,
    pub(super) page_size: usize,
    pub(super) total: Total,
}

/// Whether the answer has a list at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Sent,
    LeftOut,
}

/// Its answer.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) rows: Vec<Arc<Requisition>>,
    pub(super) list: List,
    pub(super) total: Option<u64>,
}

/// Answers `query`; `between` happens between the two statements, if there are two.
pub(super) fn list(
    world: &mut World,
    query: &Query,
    behaviour: &Behaviour,
    dice: &mut Dice,
    between: impl FnOnce(&mut World),
) -> Listing {
    let count = |world: &World| places(world, query, &behaviour.oddities).len() as u64;
    let (counted, mut listing) = match (query.total, behaviour.statements) {
        (Total::Unwanted, _) => return page(world, query, behaviour, dice),
        (Total::Wanted, Statements::CountThenList) => {
            let counted = count(world);
            between(world);
            (counted, page(world, query, behaviour, dice))
        }
        (Total::Wanted, Statements::ListThenCount) => {
            let listing = page(world, query, behaviour, dice);
            between(world);
            (count(world), listing)
        }
    };
    listing.total = behaviour.oddities.total(world, query.window, counted, listing.rows.len());
    listing
}

/// Where everything that the query asks for stands, in order of modified time and apply_id.
fn places<'a>(world: &'a World, query: &Query, oddities: &Oddities) -> Cow<'a, [Key]> {
    match (&query.number, query.window) {
        (Some(number), window) => world
            .requisitions()
            .filter(|found| oddities.is_asked_for(number, &found.purchase_apply_no))
            .filter(|found| window.is_none_or(|window| window.contains(found.modified)))
            .map(|found| (found.modified, found.apply_id))
            .collect(),
        (None, Some(window)) => Cow::Borrowed(world.window(window)),
        (None, None) => Cow::Borrowed(&[]),
    }
}

/// The page, without a total.
fn page(world: &World, query: &Query, behaviour: &Behaviour, dice: &mut Dice) -> Listing {
    let oddities = &behaviour.oddities;
    let order = if oddities.order_is_unstable() { Order::Random } else { behaviour.order };
    let places = oddities.listed(in_order(places(world, query, oddities), order, dice));
    let paging = Paging {
        page_no: query.page_no,
        page_size: behaviour.max_page_rows.map_or(query.page_size, |max| query.page_size.min(max)),
        overlap: behaviour.overlap_rows,
    };
    let (list, part) = match oddities.part(places.len(), paging) {
        PageRows::Rows(part) => (List::Sent, part),
        PageRows::LeftOut => (List::LeftOut, 0..0),
    };
    let page = places.get(part).unwrap_or_default();
    let rows = page.iter().filter_map(|(_, apply_id)| world.get(*apply_id).cloned()).collect();
    Listing { rows, list, total: None }
}

fn in_order<'a>(mut places: Cow<'a, [Key]>, order: Order, dice: &mut Dice) -> Cow<'a, [Key]> {
    match order {
        Order::Modified => {}
        Order::ModifiedShuffledTies => {
            places.to_mut().chunk_by_mut(|one, next| one.0 == next.0).for_each(|ties| dice.shuffle(ties));
        }
        Order::ModifiedDescending => places.to_mut().reverse(),
        Order::ApplyId => places.to_mut().sort_unstable_by_key(|(_, apply_id)| *apply_id),
        Order::Random => dice.shuffle(places.to_mut()),
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::clock::SandboxClock;
    use super::*;
    use crate::time::BeijingTime;

    fn world(count: i64) -> (World, Query) {
        let start = BeijingTime::parse("2026-05-19 10:00:00").expect("a time");
        let clock = SandboxClock::held(start.plus_seconds(86_400));
        // Every second holds three, and apply_ids run against the times.
        let requisitions =
            (0..count).map(|n| Requisition::plain(1000 - n, &format!("POA{n}"), start.plus_seconds(n / 3))).collect();
        let window = Window::new(start, start.plus_seconds(count));
        let query = Query { window, number: None, page_no: 0, page_size: 4, total: Total::Unwanted };
        (World::new(clock, requisitions), query)
    }

    fn ids(world: &mut World, query: &Query, behaviour: &Behaviour, call: u64) -> Vec<i64> {
        let listing = list(world, query, behaviour, &mut Dice::new(1, call), |_| ());
        listing.rows.iter().map(|row| row.apply_id).collect()
    }

    #[test]
    fn every_order_holds_every_row_and_keeps_its_promise() {
        let (mut world, mut query) = world(30);
        query.page_size = 100;
        for order in Order::ALL {
            let behaviour = Behaviour { order, ..Behaviour::default() };
            let (first, second) = (ids(&mut world, &query, &behaviour, 1), ids(&mut world, &query, &behaviour, 2));
            let times: Vec<_> = first.iter().filter_map(|id| world.get(*id)).map(|row| row.modified).collect();
            match order {
                Order::Modified => assert!(times.is_sorted() && first == second),
                Order::ModifiedShuffledTies => assert!(times.is_sorted() && first != second),
                Order::ModifiedDescending => assert!(times.is_sorted_by(|a, b| a >= b) && first == second),
                Order::ApplyId => assert!(first.is_sorted()),
                Order::Random => assert!(first != second && !times.is_sorted()),
            }
            let mut sorted = first;
            sorted.sort_unstable();
            assert_eq!(sorted, (971..=1000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_capped_or_overlapping_page_follows_its_own_size() {
        let (mut world, mut query) = world(10);
        query.page_no = 1;
        let plain = ids(&mut world, &query, &Behaviour::default(), 1);
        assert_eq!(plain.len(), 4);
        let capped = Behaviour { max_page_rows: Some(3), ..Behaviour::default() };
        assert_eq!(ids(&mut world, &query, &capped, 1).len(), 3);
        let overlapping = Behaviour { overlap_rows: 2, ..Behaviour::default() };
        assert_eq!(ids(&mut world, &query, &overlapping, 1)[2..], plain);
        query.page_no = 3;
        assert!(ids(&mut world, &query, &overlapping, 1).is_empty());
    }

    #[test]
    fn the_world_may_change_between_the_statements() {
        for (statements, total, rows) in [(Statements::CountThenList, 10, 9), (Statements::ListThenCount, 9, 10)] {
            let (mut world, mut query) = world(10);
            (query.total, query.page_size) = (Total::Wanted, 100);
            let behaviour = Behaviour { statements, ..Behaviour::default() };
            let listing = list(&mut world, &query, &behaviour, &mut Dice::new(1, 1), |world| {
                world.edit("POA5", |_| ());
            });
            assert_eq!((listing.total, listing.rows.len()), (Some(total), rows));
        }
    }
}
