//! A window that the lake lacks: walked, assembled and committed.

use std::sync::Arc;

use super::memory::Memory;
use super::raw::{self, Record};
use super::refresh;
use super::report::Damage;
use super::rewalk_plan::Piece;
use super::source::Source;
use super::spill::BufferedPage;
use super::{Gap, Range, SyncOptions, Tried, parts};
use crate::error::{Error, ErrorClass, Result};
use crate::extract::budget::Budget;
use crate::extract::pages::{PageRows as _, Pages as _};
use crate::extract::plan::Hours;
use crate::extract::walk::{Part, Proved, WalkOutcome, Walked, Walker};
use crate::gateway::ServerMoment;
use crate::land::{CommitOutcome, Committed, NewCommit, NewManifest, Quarantine, Raw, Writer};
use crate::log::{CommitKind, Walk};
use crate::parquet::TableSpec;
use crate::proof::Proof;
use crate::text::{Text, text};
use crate::time::{BeijingTime, Clock, Window};
use crate::transform::{Assembly, Remarks};
use crate::worker::blocking;

/// An empty window at the end of the range is committed only when it is this long; a shorter one is asked again by the
/// next run.
const SHORTEST_EMPTY_TAIL_SECONDS: u64 = 3600;
/// A window that ends so close to the latest second is the end of the range: it is planned some moments before it is
/// walked.
const TAIL_SLACK_SECONDS: i64 = 60;

/// What the walk of a window heard of the server's totals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StatedTotals {
    /// The first total of the window's own rows; see [`WalkOutcome::own_total`].
    pub(super) own: Option<u64>,
    /// Whether the server contradicted itself within one second.
    pub(super) is_contradicted: bool,
}

/// What walking and committing one window came to.
#[derive(Default)]
pub(super) struct TaskOutcome {
    pub(super) commits: Vec<Committed>,
    /// What is to be said of the rows of these commits.
    pub(super) remarks: Remarks,
    /// Windows to plan anew.
    pub(super) replan: Vec<Window>,
    /// The rows of the window, when they are more than one walk should read, and how many walks should read them.
    pub(super) too_large: Option<(u64, u64)>,
    /// Pieces of a window that was not proved as a whole, with what is left of its budget.
    pub(super) pieces: Vec<(Window, Budget)>,
    /// What the server stated for the whole of a window that was cut.
    pub(super) cut_total: Option<u64>,
    /// Covered seconds that must still be walked again.
    pub(super) walk_again: Vec<Window>,
    /// What of a rewalk is left to do.
    pub(super) rewalk: Vec<Piece>,
    /// What was found damaged while a rewalk was planned.
    pub(super) damage: Vec<Damage>,
    /// The total that the server said for the window.
    pub(super) total: Option<u64>,
    /// At which hours of the day its rows were modified, if it was proved.
    pub(super) hours: Option<Hours>,
    /// Whether a walk was proved although nothing was committed.
    pub(super) has_proved: bool,
    /// Invalid records that were found as they stand in the lake already, in commits that stay as they are.
    pub(super) still_invalid: u64,
    pub(super) gaps: Vec<Gap>,
    /// The window ends later than the server's clock allows, and nothing of it was committed.
    pub(super) is_too_late: bool,
    /// What stopped the work after some of it was committed.
    pub(super) stopped: Option<Error>,
}

/// What a window needs to be walked and committed.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) walker: &'a Walker<'a, Source>,
    pub(super) source: &'a Source,
    pub(super) writer: &'a Writer,
    pub(super) memory: &'a Memory,
    pub(super) options: &'a SyncOptions,
    pub(super) specs: &'a [Arc<TableSpec>; 2],
    /// What the user asked for.
    pub(super) wanted: Range,
    pub(super) clock: &'a dyn Clock,
}

impl Task<'_> {
    /// Commits each part of a window that the lake lacks, as far as the walk proves it.
    pub(super) async fn fill(&self, window: Window, budget: Budget) -> (StatedTotals, Result<TaskOutcome>) {
        let begun = self.source.gateway().moment();
        let (outcome, record) = match self.walk(window, &budget).await {
            Ok(walked) => walked,
            Err(error) => return (StatedTotals::default(), Err(error)),
        };
        let totals = StatedTotals {
            own: outcome.own_total(self.source.extra_seconds()),
            is_contradicted: outcome.is_contradicted,
        };
        (totals, self.land_walked(window, budget, begun, outcome.walked, record).await)
    }

    async fn land_walked(
        &self,
        window: Window,
        budget: Budget,
        begun: ServerMoment,
        walked: Result<Walked<BufferedPage>>,
        record: Option<Record>,
    ) -> Result<TaskOutcome> {
        let walked = walked?;
        // A window that ends later than the server's clock allows was planned by a wrong clock: walk what may be
        // walked.
        let latest = self.latest(begun);
        if latest < window.end() {
            tracing::debug!(%latest, "the window ends later than the gateway's clock allows");
            return Ok(TaskOutcome { replan: vec![window], is_too_late: true, ..TaskOutcome::default() });
        }
        match walked {
            Walked::TooLarge { pieces, total } => {
                tracing::debug!(total, pieces, "the window is too large");
                let too_large = Some((total, pieces));
                Ok(TaskOutcome { too_large, cut_total: Some(total), ..TaskOutcome::default() })
            }
            Walked::Unproved { windows, total } => {
                tracing::debug!(total, "the window was not proved and is cut");
                let pieces = budget.shared_by(windows);
                Ok(TaskOutcome { pieces, total, cut_total: total, ..TaskOutcome::default() })
            }
            Walked::Interrupted(None) => Ok(TaskOutcome::default()),
            Walked::Proved(proved) | Walked::Interrupted(Some(proved)) => {
                self.land(proved, record, &budget, latest).await
            }
        }
    }

    /// Commits each proved part of a window.
    async fn land(
        &self,
        proved: Proved<BufferedPage>,
        record: Option<Record>,
        budget: &Budget,
        latest: BeijingTime,
    ) -> Result<TaskOutcome> {
        let pieces = budget.shared_by(proved.again);
        let pages: Arc<[BufferedPage]> = proved.pages.into();
        let hours = Some(hours(&pages, &proved.parts));
        let mut outcome = TaskOutcome { pieces, hours, ..TaskOutcome::default() };
        let whole = proved.parts.iter().map(|part| part.window).reduce(Window::hull);
        let raw = match whole {
            Some(whole) => blocking(move || raw::join(record.into_iter().collect(), whole)).await?,
            None => None,
        };
        for Part { window, mut selected, proof } in proved.parts {
            selected.retain(|(page, row)| !pages[*page].is_extra(*row));
            let is_tail = latest <= window.end().plus_seconds(TAIL_SLACK_SECONDS);
            if selected.is_empty() && is_tail && window.seconds() < SHORTEST_EMPTY_TAIL_SECONDS {
                continue;
            }
            let (pages, decoder, specs) = (Arc::clone(&pages), self.source.decoder().clone(), self.specs.clone());
            let memory_bytes = self.memory.division().reserved_bytes;
            let from_disk = pages.iter().any(|page| page.spilled_bytes() > 0);
            let _group =
                if from_disk { Some(self.memory.reserve(parts::group_bytes(memory_bytes)).await) } else { None };
            let (assembly, files) = blocking(move || {
                let assembly = Assembly::new(Arc::clone(&pages), &selected)?;
                let files = parts::cut(&assembly, &pages, &selected, &decoder, memory_bytes, &specs)?;
                Ok((assembly, files))
            })
            .await?;
            let quarantined = assembly.quarantined();
            let first_invalid = quarantined.first().map(|record| record.message());
            let proof = recorded(proof, assembly.header_rows(), quarantined.len());
            let new = NewCommit {
                files,
                quarantine: Quarantine::of_lines(quarantined.iter().map(|record| record.to_json_line())),
                ..NewCommit::of(CommitKind::Sync, Some(window))
            };
            let (walk, raw) = (Walk { window, proof }, raw.clone().map(|raw| Raw { window, ..raw }));
            let new = NewManifest { walk: Some(walk), commits: vec![new], removes: Vec::new(), raw };
            if let Err(error) = self.commit(new, assembly.remarks(), first_invalid, budget, &mut outcome).await {
                // What is committed stays and is told.
                outcome.stopped = Some(error);
                break;
            }
        }
        Ok(outcome)
    }

    /// The latest second that a walk may cover which was begun at `begun`: rows enter a second until the server's clock
    /// is the lag behind it.
    pub(super) fn latest(&self, begun: ServerMoment) -> BeijingTime {
        self.wanted.latest(self.source.gateway().reached_at(begun).unwrap_or_else(|| self.clock.now()))
    }

    /// Walks a window, and gives its responses too when they are kept.
    pub(super) async fn walk(
        &self,
        window: Window,
        budget: &Budget,
    ) -> Result<(WalkOutcome<BufferedPage>, Option<Record>)> {
        self.source.recorder().begin(window)?;
        let outcome = self.walker.walk(window, budget).await;
        let record = self.source.recorder().end(window);
        Ok((outcome, record))
    }

    /// Commits what is new, unless too many records of its window and of the pieces that share the window's budget are
    /// invalid; `first_invalid` says what is wrong with the first of them.
    pub(super) async fn commit(
        &self,
        new: NewManifest,
        remarks: Remarks,
        first_invalid: Option<String>,
        budget: &Budget,
        outcome: &mut TaskOutcome,
    ) -> Result<()> {
        let walk = new.walk.as_ref().ok_or_else(|| Error::internal("a manifest of a run has no walk"))?;
        let window = walk.window;
        let (own_invalid, own_distinct) = (walk.proof.rows_quarantined, walk.proof.distinct_rows);
        let (before_invalid, before_distinct) = budget.set_aside();
        let (invalid, distinct) = (own_invalid + before_invalid, own_distinct + before_distinct);
        let allowed = self.options.max_quarantine.unwrap_or_else(|| (distinct / 100).max(10));
        if own_invalid > 0 && invalid > allowed {
            let first = first_invalid.unwrap_or_default();
            let why = text!(
                "{invalid} of {distinct} records are invalid, more than the {allowed} allowed; the first: {first}",
                invalid,
                distinct,
                allowed,
                first
            );
            let numbers = some_numbers(&new).join(" ");
            let look = match numbers.is_empty() {
                true => Text::default(),
                false => text!("look at them by `wdt-lake get {numbers}`; ", numbers),
            };
            let error = Error::new(ErrorClass::TooManyInvalid, why).with("window", window).hint(text!(
                "{look}`--max-quarantine {invalid}` commits the window without them",
                look,
                invalid
            ));
            outcome.gaps.push(Gap { window, error, tried: Tried::Yes });
            return Ok(());
        }
        let is_again = !new.removes.is_empty();
        match self.writer.land(new).await? {
            CommitOutcome::Committed(committed) => {
                budget.note_set_aside(own_invalid, own_distinct);
                outcome.commits.push(committed);
                outcome.remarks += remarks;
            }
            // Another run committed some of it, or took this run for dead: what is still missing is planned again.
            CommitOutcome::Dropped(conflict) => {
                tracing::warn!(%conflict, "the commit was dropped and is planned again");
                let lake = self.writer.view().await;
                outcome.replan.extend(lake.coverage().gaps(window));
                if is_again {
                    outcome.walk_again.extend(refresh::plan_again(&lake, window, self.options));
                }
            }
        }
        Ok(())
    }
}

/// How many rows of the proved parts belong to each hour of a day; a row of the second after the window does no harm.
fn hours(pages: &[BufferedPage], parts: &[Part]) -> Hours {
    let mut hours = Hours::default();
    for (page, row) in parts.iter().flat_map(|part| &part.selected) {
        if let Some(modified) = pages[*page].rows()[*row].modified {
            hours[modified.hour()] += 1;
        }
    }
    hours
}

/// The proof as the manifest records it.
pub(super) fn recorded(proof: Proof, rows_landed: usize, rows_quarantined: usize) -> Proof {
    Proof { rows_landed: rows_landed as u64, rows_quarantined: rows_quarantined as u64, ..proof }
}

/// The numbers of some of the records that would go to quarantine.
fn some_numbers(new: &NewManifest) -> Vec<String> {
    const MOST: usize = 3;
    #[derive(serde::Deserialize)]
    struct Line {
        purchase_apply_no: Option<String>,
    }
    let lines = new.commits.iter().filter_map(|commit| commit.quarantine.as_ref());
    let lines = lines.flat_map(|quarantine| quarantine.lines.split(|byte| *byte == b'\n'));
    let numbers = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()?.purchase_apply_no);
    // What a shell would read otherwise is not proposed.
    let is_plain = |number: &String| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    numbers.filter(is_plain).take(MOST).collect()
}
