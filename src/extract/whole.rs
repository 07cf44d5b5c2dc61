//! A window walked until all of it is proved: its pieces too, when it had to be cut.

use std::collections::VecDeque;

use super::budget::Budget;
use super::cuts::Cuts;
use super::plan::MAX_SPAN_SECONDS;
use super::walk::{WalkOutcome, Walked};
use crate::error::{Error, ErrorClass, Result};
use crate::proof::Proof;
use crate::time::{Coverage, Window};

/// What the walks of a window and of its pieces have proved, together.
#[derive(Debug)]
pub(crate) struct Whole<P> {
    pub(crate) pages: Vec<P>,
    /// The rows that land, as (page, row). A version may have come with two walks.
    pub(crate) selected: Vec<(usize, usize)>,
    pub(crate) proofs: Vec<Proof>,
    /// The seconds that are proved.
    pub(crate) proved: Coverage,
    /// Whether a walk was told to quit, so that not all is proved.
    pub(crate) is_interrupted: bool,
}

/// What follows a walk that was told to quit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtInterrupt {
    /// Nothing: the run ends.
    End,
    /// The other pieces: the walk came to the end of what was kept of it, and others may be whole.
    GoOn,
}

/// Walks `window` by `walk`, and what it is cut into, as far as it belongs to `wanted`. Pieces of one size go before
/// smaller ones: together they tell soonest whether they add up.
///
/// # Errors
/// What a walk fails with; [`ErrorKind::Incomplete`](crate::ErrorKind::Incomplete) when the totals of pieces sum above
/// that of the whole.
pub(crate) async fn walk_whole<P>(
    window: Window,
    wanted: Window,
    extra_seconds: i64,
    at_interrupt: AtInterrupt,
    mut walk: impl AsyncFnMut(Window, &Budget) -> Result<WalkOutcome<P>>,
) -> Result<Whole<P>> {
    let mut whole = Whole {
        pages: Vec::new(),
        selected: Vec::new(),
        proofs: Vec::new(),
        proved: Coverage::default(),
        is_interrupted: false,
    };
    let belongs = |piece: Window| wanted.intersect(piece) == Some(piece);
    let mut cuts = Cuts::default();
    // A commit may cover a whole month, which is more than a gateway gives at once.
    let mut todo = VecDeque::new();
    let mut rest = Some(window);
    while let Some(window) = rest {
        let (piece, after) = window.split_at(MAX_SPAN_SECONDS);
        todo.push_back((piece, Budget::default()));
        rest = after;
    }
    while let Some((piece, budget)) = todo.pop_front() {
        if whole.is_interrupted && at_interrupt == AtInterrupt::End {
            break;
        }
        let outcome = walk(piece, &budget).await?;
        if let Some(cut) = outcome.own_total(extra_seconds).and_then(|total| cuts.note(piece, total)) {
            return Err(contradicted().with("window", cut));
        }
        whole.is_interrupted |= matches!(outcome.walked, Ok(Walked::Interrupted(_)));
        let pieces = match outcome.walked? {
            Walked::TooLarge { pieces, total } => {
                cuts.cut(piece, total);
                piece.pieces(pieces).into_iter().map(|window| (window, Budget::default())).collect()
            }
            Walked::Unproved { windows, total } => {
                total.into_iter().for_each(|total| cuts.cut(piece, total));
                budget.shared_by(windows)
            }
            Walked::Interrupted(None) => Vec::new(),
            Walked::Proved(proved) | Walked::Interrupted(Some(proved)) => {
                let first_page = whole.pages.len();
                for part in proved.parts.into_iter().filter(|part| belongs(part.window)) {
                    whole.selected.extend(part.selected.iter().map(|(page, row)| (first_page + page, *row)));
                    whole.proved.insert(part.window);
                    whole.proofs.push(part.proof);
                }
                whole.pages.extend(proved.pages);
                budget.shared_by(proved.again)
            }
        };
        todo.extend(pieces.into_iter().filter(|(piece, _)| belongs(*piece)));
    }
    Ok(whole)
}

/// Why a window is given up whose pieces sum above it.
pub(crate) fn contradicted() -> Error {
    Error::new(
        ErrorClass::Contradicted,
        "the gateway contradicts itself: the totals of its pieces sum above that of the window",
    )
    .hint("its totals do not count what its pages list: show this to the vendor")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::BeijingTime;

    #[tokio::test]
    async fn no_piece_is_longer_than_a_gateway_allows() {
        let at = |text| BeijingTime::parse(text).expect("a time");
        let month = Window::new(at("2026-07-01 00:00:00"), at("2026-07-31 23:59:59")).expect("a window");
        let mut asked = Vec::new();
        let walk = async |piece: Window, _: &Budget| {
            asked.push(piece.to_string());
            let walked = Ok(Walked::Interrupted(None));
            Ok(WalkOutcome { walked, first_total: None, extra_rows: None, is_contradicted: false })
        };
        walk_whole::<()>(month, month, 0, AtInterrupt::GoOn, walk).await.expect("walked");
        let (first, rest) =
            ("2026-07-01 00:00:00 .. 2026-07-30 23:59:59", "2026-07-31 00:00:00 .. 2026-07-31 23:59:59");
        assert_eq!(asked, [first, rest]);
    }
}
