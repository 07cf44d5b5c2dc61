//! What the walk of a window may spend, and what is left of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::time::Window;

/// What a walk may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A window of more pages than twice this is cut before it is read.
    pub max_pages: u32,
    /// Passes over one window.
    pub max_passes: u32,
    /// Calls for one window and its pieces: this many for each of its pages, and [`Limits::FREE_CALLS`] more.
    pub max_calls_per_page: u32,
    /// Calls more, once for a window and its pieces, when a response cannot be read and is asked for in smaller pages.
    pub narrowing_calls: u32,
    /// Pages asked for at once.
    pub concurrency: u32,
    /// From this total on, list and total together may be capped; see `walk/caps.rs`.
    pub least_list_cap: u64,
    /// How long a total that is above its list is given to become that of the moment.
    pub pause: Duration,
    /// Neighbouring rows of different seconds that must have come in order before the server is believed to order by
    /// modified time.
    pub min_ordered_steps: u64,
}

impl Limits {
    /// Calls that every window may spend, however small it is.
    pub const FREE_CALLS: u32 = 50;

    /// Calls for a window of so many pages.
    pub(super) fn max_calls(&self, pages: u32) -> u32 {
        Self::FREE_CALLS.saturating_add(self.max_calls_per_page.saturating_mul(pages))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pages: 50,
            max_passes: 25,
            max_calls_per_page: 25,
            narrowing_calls: 1_000,
            concurrency: 4,
            least_list_cap: 1_000,
            pause: Duration::from_secs(1),
            min_ordered_steps: 20,
        }
    }
}

/// The calls that are left for one window and for all pieces that it is cut into, and the records that these have set
/// aside; clones share it.
///
/// The first total opens it, because it says how large the window is. Pieces draw on it too, so that a window that
/// cannot be proved ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget(Arc<Mutex<Left>>);

#[derive(Clone, Copy, Debug, Default)]
struct Left {
    /// None before the size of the window is known.
    calls: Option<u32>,
    /// What was added for responses that cannot be read.
    for_narrowing: u32,
    /// The records that its pieces have set aside, and all records that they hold.
    set_aside: (u64, u64),
}

impl Budget {
    /// Opens the budget with so many calls, unless it is open already.
    pub(super) fn open(&self, calls: u32) {
        let mut left = self.left();
        let more = left.for_narrowing;
        left.calls.get_or_insert(calls.saturating_add(more));
    }

    /// Adds `calls`, once however often it is asked for, to read around what cannot be read.
    pub(super) fn allow_narrowing(&self, calls: u32) {
        let mut left = self.left();
        if left.for_narrowing == 0 {
            left.for_narrowing = calls;
            left.calls = left.calls.map(|left| left.saturating_add(calls));
        }
    }

    /// Takes `calls` out; `false` when fewer are left.
    pub(super) fn spend(&self, calls: u32) -> bool {
        match &mut self.left().calls {
            None => true,
            Some(left) => {
                let enough = *left >= calls;
                *left = left.saturating_sub(calls);
                enough
            }
        }
    }

    /// Whether nothing is left.
    pub(crate) fn is_spent(&self) -> bool {
        self.left().calls == Some(0)
    }

    /// Whether the other draws on the same calls.
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The records that the window and its pieces have set aside so far, and all that they hold.
    pub(crate) fn set_aside(&self) -> (u64, u64) {
        self.left().set_aside
    }

    /// Adds those of a piece.
    pub(crate) fn note_set_aside(&self, invalid: u64, distinct: u64) {
        let mut left = self.left();
        left.set_aside = (left.set_aside.0 + invalid, left.set_aside.1 + distinct);
    }

    /// Pieces of a window, which draw on the same calls.
    pub(crate) fn shared_by(&self, windows: Vec<Window>) -> Vec<(Window, Self)> {
        windows.into_iter().map(|window| (window, self.clone())).collect()
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_draw_on_one_budget() {
        let budget = Budget::default();
        assert!(budget.spend(1_000), "nothing is counted before the window's size is known");
        budget.open(10);
        let piece = budget.clone();
        piece.open(1_000);
        assert!(piece.spend(7));
        assert!(!budget.spend(4));
        assert!(!piece.spend(1), "what was refused is spent: the window is given up");
        assert_eq!(Limits::default().max_calls(4), 150);
        let budget = Budget::default();
        budget.open(10);
        budget.allow_narrowing(5);
        budget.clone().allow_narrowing(5);
        assert!(budget.spend(15) && !budget.spend(1), "once for all pieces");
    }
}
