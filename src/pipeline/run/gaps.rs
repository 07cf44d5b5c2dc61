//! What a run does not cover, and why: windows that failed, a gateway that contradicts itself or cannot be read, a run
//! that ends early.

use std::collections::VecDeque;

use super::{Run, Work, is_within};
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::extract::budget::Budget;
use crate::extract::whole::contradicted;
use crate::pipeline::report::{Gap, Tried};
use crate::pipeline::source::nothing_can_be_read;
use crate::pipeline::window_task::StatedTotals;
use crate::text::key;
use crate::time::{BeijingTime, Coverage, Window};

/// After so many walks in which nothing at all could be read, what cannot be read is not a record but everything.
const MOST_UNREAD_WALKS: u32 = 3;
/// After so many windows in which the gateway contradicted itself, a run does not go on with their like.
const MOST_CONTRADICTIONS: usize = 3;

impl Run<'_> {
    /// Gives a window up whose pieces sum above it, and the like of it when there are too many.
    pub(super) fn note_totals(&mut self, window: Window, totals: StatedTotals) {
        let whole = totals.own.and_then(|total| self.cuts.note(window, total));
        if let Some(whole) = whole.filter(|whole| !self.is_contradicted(*whole)) {
            let error = contradicted().with("window", whole);
            tracing::error!(window = %whole, %error, "the window stays a gap");
            self.report.gaps.push(Gap { window: whole, error, tried: Tried::Yes });
            self.cuts.forget(whole);
            self.contradicted.push(whole);
        } else if totals.is_contradicted {
            self.contradicted.push(window);
        } else {
            return;
        }
        self.drop_contradicted();
        let tried = self.tried;
        if self.contradicted.len() >= MOST_CONTRADICTIONS {
            self.planner.forget(|gap| is_within(gap, tried));
        }
        let new = self.contradicted.iter().filter(|window| !is_within(**window, tried)).count();
        if new >= MOST_CONTRADICTIONS && self.report.stopped.is_none() {
            let error = Error::new(
                ErrorClass::Contradicted,
                "the run ended before its time: the gateway contradicted itself in too many windows",
            )
            .hint(
                "its totals do not count what its pages list: show this to the vendor, and run again when it is mended",
            );
            self.report.stopped = Some(error);
        }
    }

    /// A gateway of which nothing can be read is an outage, or not the gateway.
    pub(super) fn note_readable(&mut self) {
        if self.source.has_read() {
            return;
        }
        self.unread_walks += 1;
        if self.unread_walks >= MOST_UNREAD_WALKS && self.report.stopped.is_none() {
            self.report.stopped = Some(nothing_can_be_read());
        }
    }

    /// A window that failed stays a gap, or stops the account.
    pub(super) fn note_failure(&mut self, work: &Work, error: Error) {
        let window = work.window();
        match error.kind() {
            // It is part of a gap that is named already.
            ErrorKind::Incomplete | ErrorKind::GatewayRefused if self.is_contradicted(window) => {}
            ErrorKind::Incomplete | ErrorKind::GatewayRefused => {
                let window = self.give_up(window, work.budget());
                tracing::error!(%window, %error, "the window stays a gap");
                self.report.gaps.push(Gap { window, error, tried: Tried::Yes });
            }
            _ => self.stop(window, error),
        }
    }

    pub(super) fn is_contradicted(&self, window: Window) -> bool {
        self.contradicted.iter().any(|whole| is_within(window, Some(*whole)))
    }

    /// What lies within a window that was given up is walked no further.
    pub(super) fn drop_contradicted(&mut self) {
        let contradicted = &self.contradicted;
        let is_dropped = |window: Window| contradicted.iter().any(|whole| is_within(window, Some(*whole)));
        self.pieces.retain(|(window, _)| !is_dropped(*window));
        self.planner.forget(is_dropped);
    }

    /// When the budget of a window is spent, its other pieces are given up with it; gives the window from the first to
    /// the last of them.
    pub(super) fn give_up(&mut self, window: Window, budget: Option<Budget>) -> Window {
        let Some(budget) = budget.filter(Budget::is_spent) else { return window };
        let (lost, kept) =
            std::mem::take(&mut self.pieces).into_iter().partition(|(_, other)| other.is_shared_with(&budget));
        self.pieces = kept;
        let lost: VecDeque<(Window, Budget)> = lost;
        lost.into_iter().fold(window, |hull, (piece, _)| {
            Window::new(hull.start().min(piece.start()), hull.end().max(piece.end())).unwrap_or(hull)
        })
    }

    pub(super) fn stop(&mut self, window: Window, error: Error) {
        if self.report.stopped.is_none() {
            self.report.stopped = Some(error);
        } else {
            tracing::error!(%window, %error, "another window failed too");
        }
    }

    /// At the end of a run that nothing stopped: names what is not covered for no fault of a window.
    pub(super) fn name_uncovered(&mut self) {
        if self.report.stopped.is_some() {
            return;
        }
        let gateway = self.source.gateway();
        let latest = |reached: Option<BeijingTime>| reached.map(|reached| self.wanted.latest(reached));
        let own = self.wanted.latest(self.clock.now());
        let (end, without_date) = (latest(gateway.reached()), latest(gateway.reached_but_for_date()));
        // Behind a balancer the accepted timestamp may be that of a server that is ahead.
        let without_date = without_date.map(|without_date| without_date.min(own));
        let mut uncovered = Vec::new();
        let mut why = (ErrorClass::NotProved, key!("no window was proved"));
        if let (Some(end), Some(without_date)) = (end, without_date)
            && end.plus_seconds(self.tolerance_seconds) < without_date
            && let Some(cut) = Window::new(self.range.start().max(end.plus_seconds(1)), without_date)
        {
            uncovered = self.coverage.gaps(cut);
            why = (ErrorClass::ClockCut, key!("the gateway's `Date` says that this time has not come yet"));
        } else if !self.has_proved
            && self.report.gaps.is_empty()
            && let Some(planned) = Window::new(self.range.start(), self.planned_end)
        {
            uncovered = self.coverage.gaps(planned);
        }
        self.report.gaps.extend(uncovered.into_iter().map(|window| {
            let error = Error::new(why.0, why.1)
                .with("window", window)
                .hint("run the same command again: what is missing is fetched then");
            Gap { window, error, tried: Tried::Yes }
        }));
    }

    /// A gap is what is not covered now; and whatever ended the run, what it did not come to is a gap too.
    pub(super) fn name_all_gaps(&mut self) {
        for gap in &mut self.report.gaps {
            let open = self.coverage.gaps(gap.window);
            if let Some((first, last)) = open.first().zip(open.last()) {
                gap.window = first.hull(*last);
            }
        }
        let named: Coverage = self.report.gaps.iter().map(|gap| gap.window).collect();
        let ended_early = self.report.stopped.is_some() || self.quit.is_set();
        if !ended_early && self.contradicted.len() < MOST_CONTRADICTIONS {
            return;
        }
        for window in self.coverage.gaps(self.range).into_iter().flat_map(|open| named.gaps(open)) {
            let error = Error::new(ErrorClass::NotWalked, "not walked before the run ended").with("window", window);
            self.report.gaps.push(Gap { window, error, tried: Tried::No });
        }
    }
}
