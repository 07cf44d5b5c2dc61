//! What a run did, for whoever started it.

use std::time::{Duration, Instant};

use super::compact::Compacted;
use super::interrupt::{EndCause, Interrupt};
use super::tally::Tally;
use crate::error::{Error, exit};
use crate::id::RunId;
use crate::publish::PublishedTable;
use crate::text::Text;
use crate::time::{BeijingTime, Window};
use crate::transform::Remarks;

/// What a sync did. Rows, files and bytes are those that this run committed.
#[derive(Debug)]
pub struct SyncReport {
    /// The run's id, on every row that it landed.
    pub run: RunId,
    /// The wanted range after clamping; `None` when it is empty.
    pub range: Option<Window>,
    /// Windows committed.
    pub windows: u64,
    /// Windows that were walked again and committed in the place of older commits.
    pub refreshed: u64,
    /// Windows that a rewalk has read anew.
    pub rewalked: u64,
    /// What was found damaged in the range of a rewalk.
    pub damage: Vec<Damage>,
    /// What was committed.
    pub tally: Tally,
    /// What is to be said of the rows.
    pub remarks: Remarks,
    /// Requests sent, repeated ones included.
    pub calls: u64,
    /// Answers that were refusals, for the gateway's limits as well.
    pub refusals: u64,
    /// Requests that repeated one before.
    pub retries: u64,
    /// The last second of modified time that the run has asked the ERP for, where it asked without a gap.
    pub checked_until: Option<BeijingTime>,
    /// What was put together at the end.
    pub compacted: Compacted,
    /// How far the account is published, where that was asked for.
    pub published: Vec<PublishedTable>,
    /// Why it is not.
    pub unpublished: Option<Error>,
    /// Windows that were not proved or not committed, and why.
    pub gaps: Vec<Gap>,
    /// Requisitions that were stopped, and whose new versions the lag hides yet.
    pub hidden_stops: Option<HiddenStops>,
    /// What the user should know although nothing failed.
    pub warnings: Vec<Text>,
    /// What stopped the run before its end.
    pub stopped: Option<Error>,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// What is left of a run that ended because its time was over.
    pub remaining: Option<Remaining>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Objects that are missing or were changed, and what a rewalk has read in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Their names, relative to the root of the lake.
    pub objects: Vec<String>,
    /// The window in which their rows lie, all of which is walked.
    pub window: Window,
    /// Rows of `purchase_apply` and of `purchase_apply_detail` that the manifest says stood in it.
    pub rows: [u64; 2],
    /// Those that were read again and committed.
    pub read: [u64; 2],
}

impl Damage {
    /// Whether fewer rows came back than there were.
    pub fn has_lost(&self) -> bool {
        self.rows.iter().zip(self.read).any(|(rows, read)| read < *rows)
    }
}

/// Requisitions that were stopped after the last second that a run may walk: the lake shows them as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HiddenStops {
    /// How many.
    pub requisitions: u64,
    /// A run that begins after this sees them all.
    pub visible_after: BeijingTime,
}

/// A window that stays missing.
#[derive(Debug)]
pub struct Gap {
    /// The window.
    pub window: Window,
    /// Why.
    pub error: Error,
    /// Whether it was tried.
    pub tried: Tried,
}

/// What a run has left to the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remaining {
    /// All of it: it had not begun to walk.
    All,
    /// These seconds of its range are not covered, and so many covered ranges were not walked again.
    Some {
        /// The seconds that are not covered.
        missing: Vec<Window>,
        /// Ranges that were to be walked again.
        again: u64,
    },
}

/// Whether a window that stays missing was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It was, and its error says what happened.
    Yes,
    /// The run ended before.
    No,
}

impl SyncReport {
    pub(super) fn new(run: RunId) -> Self {
        Self {
            run,
            range: None,
            windows: 0,
            refreshed: 0,
            rewalked: 0,
            damage: Vec::new(),
            tally: Tally::default(),
            remarks: Remarks::default(),
            calls: 0,
            refusals: 0,
            retries: 0,
            checked_until: None,
            compacted: Compacted::default(),
            published: Vec::new(),
            unpublished: None,
            gaps: Vec::new(),
            hidden_stops: None,
            warnings: Vec::new(),
            stopped: None,
            interrupted: false,
            remaining: None,
            elapsed: Duration::ZERO,
        }
    }

    /// The report of a run that did nothing.
    pub fn not_begun() -> Self {
        Self::new(RunId::generate())
    }

    /// The report of a run that was stopped.
    #[must_use]
    pub fn stopped_by(self, error: Error) -> Self {
        Self { stopped: Some(error), ..self }
    }

    /// The report of a run that was asked to end before it had done everything: interrupted, or at the end of its time
    /// with what is left.
    #[must_use]
    pub(super) fn ended_early(self, interrupt: &Interrupt, left: Remaining) -> Self {
        match interrupt.cause() {
            Some(EndCause::Deadline) => {
                // What it did not come to is named by what is left.
                let gaps = self.gaps.into_iter().filter(|gap| gap.tried == Tried::Yes).collect();
                Self { remaining: Some(left), gaps, ..self }
            }
            Some(EndCause::Asked) | None => Self { interrupted: true, ..self },
        }
    }

    /// Whether the run was asked to end before it had done everything.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.interrupted || self.remaining.is_some()
    }

    /// The report of a run that ends now.
    pub(super) fn after(self, began: Instant) -> Self {
        Self { elapsed: began.elapsed(), ..self }
    }

    /// The exit code of a run that ended like this.
    pub fn exit_code(&self) -> u8 {
        let gaps = self.gaps.iter().map(|gap| gap.error.kind().exit_code());
        let stopped = self.stopped.iter().chain(&self.unpublished).map(|error| error.kind().exit_code());
        let quarantined = (self.tally.quarantined > 0).then_some(exit::DONE_WITH_REMAINDER);
        let lost = self.damage.iter().any(Damage::has_lost).then_some(exit::DONE_WITH_REMAINDER);
        let interrupted = self.interrupted.then_some(exit::INCOMPLETE);
        exit::combine(gaps.chain(stopped).chain(quarantined).chain(lost).chain(interrupted))
    }
}
