//! What the pieces of a window that was cut must add up to.
//!
//! Rows only leave a window, so that the totals of its pieces, which are stated later, never sum above its own. Where
//! they do, the totals are not those of the lists: one that is one too high, the same for every window, that of all
//! there is. Such a window is given up as a whole instead of being cut down to seconds.

use std::collections::BTreeMap;

use crate::time::{BeijingTime, Window};

/// The windows of one run that were cut; they lie within one another or apart.
#[derive(Debug, Default)]
pub(crate) struct Cuts(Vec<Cut>);

/// A window that was cut.
#[derive(Debug)]
struct Cut {
    window: Window,
    total: u64,
    /// What its pieces stated, by their first second.
    pieces: BTreeMap<BeijingTime, (Window, u64)>,
}

impl Cuts {
    /// Notes that `window`, for which `total` rows were stated, is walked in pieces from here on.
    pub(crate) fn cut(&mut self, window: Window, total: u64) {
        self.0.retain(|cut| cut.window != window);
        self.0.push(Cut { window, total, pieces: BTreeMap::new() });
    }

    /// Notes the first total of a walk. Gives the window that its pieces contradict, if they do.
    pub(crate) fn note(&mut self, piece: Window, total: u64) -> Option<Window> {
        let holds = |cut: &&mut Cut| cut.window != piece && cut.window.intersect(piece) == Some(piece);
        let cut = self.0.iter_mut().filter(holds).min_by_key(|cut| cut.window.seconds())?;
        // A piece that is walked again in other bounds counts once.
        cut.pieces.retain(|_, (other, _)| !other.overlaps(piece));
        cut.pieces.insert(piece.start(), (piece, total));
        let sum: u128 = cut.pieces.values().map(|(_, total)| u128::from(*total)).sum();
        (sum > u128::from(cut.total)).then_some(cut.window)
    }

    /// Forgets the windows within `window`, which is done.
    pub(crate) fn forget(&mut self, window: Window) {
        self.0.retain(|cut| window.intersect(cut.window) != Some(cut.window));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: i64, end: i64) -> Window {
        let at = |second| BeijingTime::from_unix(second).expect("in range");
        Window::new(at(start), at(end)).expect("a window")
    }

    #[test]
    fn pieces_above_the_whole_contradict_it() {
        let mut cuts = Cuts::default();
        assert_eq!(cuts.note(window(0, 9), 7), None, "nothing was cut");
        cuts.cut(window(0, 9), 7);
        assert_eq!(cuts.note(window(0, 9), 9), None, "the window itself is no piece of it");
        assert_eq!(cuts.note(window(0, 4), 4), None);
        assert_eq!(cuts.note(window(0, 4), 3), None, "walked again");
        cuts.cut(window(5, 9), 4);
        assert_eq!(cuts.note(window(5, 9), 4), None, "exactly the whole");
        assert_eq!(cuts.note(window(5, 6), 4), None);
        assert_eq!(cuts.note(window(7, 9), 1), Some(window(5, 9)), "the innermost");
        cuts.forget(window(5, 9));
        assert_eq!(cuts.note(window(5, 9), 5), Some(window(0, 9)));
    }

    #[test]
    fn however_large_totals_do_not_overflow() {
        let mut cuts = Cuts::default();
        cuts.cut(window(0, 9), u64::MAX);
        assert_eq!(cuts.note(window(0, 4), u64::MAX), None);
        assert_eq!(cuts.note(window(5, 9), 1), Some(window(0, 9)));
    }
}
