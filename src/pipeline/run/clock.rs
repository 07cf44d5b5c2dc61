//! How late a run may walk: the range was planned by this machine's clock, and the server's own decides.

use super::{Run, Work};
use crate::error::{Error, ErrorClass};
use crate::pipeline::range::PLANNING_SLACK_SECONDS;
use crate::pipeline::rewalk_plan::Piece;
use crate::pipeline::{Gap, Tried};
use crate::text::{Text, key, text};
use crate::time::{BeijingTime, Window};

/// How far our clock must be behind the server's for what it hid to be walked by this run.
const HIDDEN_SECONDS: i64 = 60;
/// Windows are cut back for the server's clock by 2 to the power of this at most, times the slack.
const MOST_CUTS: u32 = 16;

impl Run<'_> {
    /// The range was planned by this machine's clock; the server's own clock decides how late it may end.
    pub(super) fn follow_server_clock(&mut self) {
        let Some(reached) = self.source.gateway().reached() else { return };
        let end = self.wanted.latest(reached);
        if end < self.range.end() {
            self.end_at(end, PLANNING_SLACK_SECONDS);
        }
    }

    /// Plans what our clock hid, once, where it is behind the server's. Only when nothing else is left: behind one
    /// address there may be several servers, and by then the one whose clock is right has most likely answered, too.
    pub(super) fn plan_hidden(&mut self) -> bool {
        if self.report.stopped.is_some() || self.quit.is_set() || std::mem::replace(&mut self.clock_compared, true) {
            return false;
        }
        // As of the beginning: that time has passed since hides nothing.
        let Some(reached) = self.source.gateway().reached_at(self.begun) else { return false };
        let end = self.wanted.latest(reached);
        if end <= self.range.end().plus_seconds(HIDDEN_SECONDS) {
            return false;
        }
        let planned_end = end.plus_seconds(-PLANNING_SLACK_SECONDS);
        let hidden = Window::new(self.range.end().plus_seconds(1), planned_end);
        self.planner.extend(hidden.into_iter().flat_map(|hidden| self.coverage.gaps(hidden)));
        self.planned_end = planned_end;
        self.set_range_end(end);
        true
    }

    /// A walk was begun too early for the end of its window. Cuts twice as far each time: where the server's clock
    /// stands, or falls back, it would else be too early again and again. Of what is walked again the rest is walked
    /// all the same, and what is too late is told: of a rewalk it is a gap.
    pub(super) fn cut_back(&mut self, work: &Work) {
        let Some(reached) = self.source.gateway().reached() else { return };
        let slack = PLANNING_SLACK_SECONDS << self.clock_cuts.min(MOST_CUTS);
        self.clock_cuts += 1;
        let latest = self.wanted.latest(reached);
        let window = work.window();
        let earlier = Window::new(window.start(), window.end().min(latest.plus_seconds(-slack)));
        let earlier = match work {
            Work::Missing(..) => return self.end_at(latest, slack),
            Work::Again(_) => earlier.map(Work::Again),
            Work::Rewalk(Piece::Live(_)) => earlier.map(|earlier| Work::Rewalk(Piece::Live(earlier))),
            // They are replaced whole, or not at all.
            Work::Rewalk(_) => None,
        };
        let end = earlier.as_ref().map(|earlier| earlier.window().end());
        let start = end.map_or(window.start(), |end| end.plus_seconds(1));
        let why = key!("it ends later than the gateway's clock allows: it was not walked again");
        if let (Some(late), Work::Rewalk(_)) = (Window::new(start, window.end()), work) {
            let error = Error::new(ErrorClass::ClockCut, why).with("window", late);
            let error = error.hint("run it again some minutes later, or with the --lag of earlier runs");
            self.report.gaps.push(Gap { window: late, error, tried: Tried::Yes });
        } else if let Some(late) = Window::new(start, window.end()) {
            self.report.warnings.push(text!("{window}: {why}", window = late, why = Text::from(why)));
        }
        earlier.into_iter().for_each(|earlier| self.put_back(earlier));
    }

    /// Plans nothing later than `slack` before `end`, where the range ends now.
    pub(super) fn end_at(&mut self, end: BeijingTime, slack: i64) {
        let planned_end = end.plus_seconds(-slack).min(self.planned_end);
        self.planned_end = planned_end;
        self.planner.end_at(planned_end);
        let pieces = std::mem::take(&mut self.pieces).into_iter();
        let earlier = |window: Window| Window::new(window.start(), window.end().min(planned_end));
        self.pieces = pieces.filter_map(|(window, budget)| Some((earlier(window)?, budget))).collect();
        self.set_range_end(end.min(self.range.end()));
    }

    pub(super) fn set_range_end(&mut self, end: BeijingTime) {
        match Window::new(self.range.start(), end) {
            Some(range) => {
                self.range = range;
                self.report.range = Some(range);
            }
            None if self.report.windows == 0 => self.report.range = None,
            None => {}
        }
    }
}
