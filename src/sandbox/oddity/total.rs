//! Totals that are not what the list holds.

use crate::time::Window;

use super::super::world::World;
use super::{Oddities, OddityKind, Takes, Unit};

const ZERO: OddityKind = OddityKind::new("total-zero", Takes::Nothing, "the total is 0");
const LOW: OddityKind = OddityKind::new("total-low", Takes::Amount(Unit::Rows, 1), "the total is so much too low");
const HIGH: OddityKind = OddityKind::new("total-high", Takes::Amount(Unit::Rows, 1), "the total is so much too high");
const HALF: OddityKind = OddityKind::new("total-half", Takes::Nothing, "the total is half of what there is");
const DOUBLE: OddityKind = OddityKind::new("total-double", Takes::Nothing, "the total is twice what there is");
const CONSTANT: OddityKind =
    OddityKind::new("total-constant", Takes::Amount(Unit::Rows, 101), "the total is the same for every query");
const CAPPED: OddityKind =
    OddityKind::new("total-capped", Takes::Amount(Unit::Rows, 1000), "the total is never higher; the list goes on");
const OF_PAGE: OddityKind =
    OddityKind::new("total-of-page", Takes::Nothing, "the total is the number of rows of the page");
const OF_ALL: OddityKind =
    OddityKind::new("total-of-all", Takes::Nothing, "the total counts all requisitions, whatever is asked for");
const HUGE: OddityKind =
    OddityKind::new("total-huge", Takes::Amount(Unit::Number, 1 << 32), "the total is huge, for example 1e18");
const STALE: OddityKind =
    OddityKind::new("total-stale", Takes::Amount(Unit::Calls, 1), "the total is that of so many calls ago");
const NONE: OddityKind = OddityKind::new("no-total", Takes::Nothing, "no response carries a total, page 0 neither");
const BLANK: OddityKind =
    OddityKind::new("total-blank", Takes::Nothing, "responses without a total carry an empty text in its place");

pub(super) const KINDS: &[OddityKind] =
    &[ZERO, LOW, HIGH, HALF, DOUBLE, CONSTANT, CAPPED, OF_PAGE, OF_ALL, HUGE, STALE, NONE, BLANK];

impl Oddities {
    /// The total that is said of a query for which there are `truth` rows, on a page of `rows`.
    pub(in crate::sandbox) fn total(
        &self,
        world: &World,
        window: Option<Window>,
        truth: u64,
        rows: usize,
    ) -> Option<u64> {
        if self.has(&NONE) {
            return None;
        }
        let said = self.0.iter().fold(truth, |total, oddity| match *oddity.kind {
            ZERO => 0,
            LOW => total.saturating_sub(oddity.amount),
            HIGH => total.saturating_add(oddity.amount),
            HALF => total / 2,
            DOUBLE => total.saturating_mul(2),
            CONSTANT | HUGE => oddity.amount,
            CAPPED => total.min(oddity.amount),
            OF_PAGE => rows as u64,
            OF_ALL => world.len() as u64,
            STALE => window.map_or(total, |window| earlier(world, window, oddity.amount)),
            _ => total,
        });
        Some(self.list_cap().map_or(said, |cap| said.min(cap as u64)))
    }

    /// The JSON in place of a total that an answer does not carry; none where it carries no such field either.
    pub(in crate::sandbox) fn total_in_place_of_none(&self) -> Option<&'static str> {
        self.has(&BLANK).then_some("\"\"")
    }
}

/// How many requisitions `window` held when the call before the last so many began; of the first calls, the first
/// one's.
fn earlier(world: &World, window: Window, calls: u64) -> u64 {
    let journal = world.journal();
    let back = usize::try_from(calls).unwrap_or(usize::MAX);
    let began = match journal.calls() {
        [] => return world.window(window).len() as u64,
        made => made.get(made.len().saturating_sub(back)).map_or(u64::MAX, |call| call.began.seq),
    };
    journal.alive_throughout(window, began, began).count() as u64
}
