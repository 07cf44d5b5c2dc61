//! One piece of work of a run: a window walked, assembled and committed.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Decimal128Type;
use bytes::Bytes;

use super::parts::{self, PartRows};
use super::raw::{self, Record};
use super::refresh::{self, Replacement};
use super::shelf::BufferedPage;
use super::source::Source;
use super::{Gap, Range, SyncOptions, Tried};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::budget::Budget;
use crate::extract::cuts::Cuts;
use crate::extract::pages::{PageRows as _, Pages as _};
use crate::extract::plan::Hours;
use crate::extract::walk::{Part, Proved, WalkOutcome, Walked, Walker};
use crate::gateway::ServerMoment;
use crate::id::CommitId;
use crate::land::{CommitOutcome, Committed, Landing, Quarantine, Raw, Writer};
use crate::log::CommitKind;
use crate::parquet::{RowSource, TableSpec};
use crate::proof::Proof;
use crate::time::{BeijingTime, Clock, Window};
use crate::transform::{Assembly, Refreshed, Remarks, assemble, carry_over};
use crate::worker::blocking;

/// An empty window at the end of the range is committed only when it is this long; a shorter one is asked again by the next run.
const SHORTEST_EMPTY_TAIL_SECONDS: u64 = 3600;
/// A window that ends so close to the latest second is the end of the range: it is planned some moments before it is walked.
const TAIL_SLACK_SECONDS: i64 = 60;

/// How many rows are added up at a time.
const SUMMED_ROWS: usize = 4_096;

/// What there is to do.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// A window that the lake lacks, and what may still be spent on it.
    Missing(Window, Budget),
    /// Committed windows to walk again.
    Again(Replacement),
}

impl Work {
    pub(super) fn window(&self) -> Window {
        match self {
            Self::Missing(window, _) => *window,
            Self::Again(replacement) => replacement.window,
        }
    }

    pub(super) fn budget(&self) -> Option<Budget> {
        match self {
            Self::Missing(_, budget) => Some(budget.clone()),
            Self::Again(_) => None,
        }
    }
}

/// What became of one window that was taken.
pub(super) struct Done {
    pub(super) window: Window,
    /// What was left for the window, if it was missing.
    pub(super) budget: Option<Budget>,
    pub(super) outcome: Result<Landed>,
    pub(super) heard: Heard,
}

/// What the walk of a window heard of the server's totals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// The first total, as far as it counts rows of the window and no others: what the pieces of a window add up to.
    pub(super) first_total: Option<u64>,
    /// Whether the server contradicted itself within one second.
    pub(super) is_contradicted: bool,
}

impl Heard {
    /// Where more seconds than the window are asked for, only a walk that saw their rows tells how many are its own.
    fn of<P>(outcome: &WalkOutcome<P>, extra_seconds: i64) -> Self {
        let extra = if extra_seconds == 0 { Some(0) } else { outcome.extra_rows };
        let own = outcome.first_total.zip(extra).map(|(total, extra)| total.saturating_sub(extra));
        Self { first_total: own, is_contradicted: outcome.is_contradicted }
    }
}

/// What walking and committing one window came to.
#[derive(Default)]
pub(super) struct Landed {
    pub(super) commits: Vec<Arrived>,
    /// Windows to plan anew.
    pub(super) replan: Vec<Window>,
    /// The rows of the window, when they are more than one walk should read, and how many walks should read them.
    pub(super) too_large: Option<(u64, u64)>,
    /// Pieces of a window that was not proved as a whole, with what is left of its budget.
    pub(super) pieces: Vec<(Window, Budget)>,
    /// What the server stated for the whole of a window that was cut.
    pub(super) cut_total: Option<u64>,
    /// Committed windows that must still be walked again.
    pub(super) replace_again: Vec<Replacement>,
    /// The total that the server said for the window.
    pub(super) total: Option<u64>,
    /// At which hours of the day its rows were modified, if it was proved.
    pub(super) hours: Option<Hours>,
    pub(super) gaps: Vec<Gap>,
    /// The window ends later than the server's clock allows, and nothing of it was committed.
    pub(super) is_too_late: bool,
    /// What stopped the work after some of it was committed.
    pub(super) stopped: Option<Error>,
}

pub(super) struct Arrived {
    pub(super) window: Window,
    pub(super) kind: CommitKind,
    pub(super) committed: Committed,
    pub(super) real_num_scaled: i128,
    pub(super) remarks: Remarks,
}

/// What is to be committed for one window.
struct Rows {
    window: Window,
    kind: CommitKind,
    removes: Vec<CommitId>,
    parts: Vec<PartRows>,
    /// Lines of the quarantine file, without line breaks.
    quarantined: Vec<String>,
    /// What is wrong with the first of them.
    first_misfit: Option<String>,
    remarks: Remarks,
    proof: Proof,
    /// The answers, if they are kept.
    raw: Option<Raw>,
}

/// What a piece of work needs to be walked and committed.
pub(super) struct Task<'a> {
    pub(super) walker: &'a Walker<'a, Source>,
    pub(super) source: &'a Source,
    pub(super) writer: &'a Writer,
    pub(super) options: &'a SyncOptions,
    pub(super) specs: &'a [Arc<TableSpec>; 2],
    /// What the user asked for.
    pub(super) wanted: Range,
    pub(super) clock: &'a dyn Clock,
}

impl Task<'_> {
    pub(super) async fn run(&self, work: Work) -> (Heard, Result<Landed>) {
        match work {
            Work::Missing(window, budget) => {
                let begun = self.source.gateway().moment();
                match self.walk(window, &budget).await {
                    Ok((outcome, record)) => {
                        let heard = Heard::of(&outcome, self.source.extra_seconds());
                        (heard, self.fill(window, budget, begun, outcome.walked, record).await)
                    }
                    Err(error) => (Heard::default(), Err(error)),
                }
            }
            Work::Again(replacement) => (Heard::default(), self.replace(replacement).await),
        }
    }

    /// Commits each part of a window that the lake lacks, as far as the walk that was begun at `begun` has proved it.
    async fn fill(
        &self,
        window: Window,
        budget: Budget,
        begun: ServerMoment,
        walked: Result<Walked<BufferedPage>>,
        record: Option<Record>,
    ) -> Result<Landed> {
        let walked = walked?;
        // A window that ends later than the server's clock allows was planned by a wrong clock: walk what may be walked.
        let latest = self.latest(begun);
        if latest < window.end() {
            tracing::debug!(%window, %latest, "the window ends later than the gateway's clock allows");
            return Ok(Landed { replan: vec![window], is_too_late: true, ..Landed::default() });
        }
        let proved = match walked {
            Walked::TooLarge { pieces, total } => {
                tracing::debug!(%window, total, pieces, "the window is too large");
                return Ok(Landed { too_large: Some((total, pieces)), cut_total: Some(total), ..Landed::default() });
            }
            Walked::Unproved { windows, total } => {
                tracing::debug!(%window, total, "the window was not proved and is cut");
                let pieces = sharing(windows, &budget);
                return Ok(Landed { pieces, total, cut_total: total, ..Landed::default() });
            }
            Walked::Interrupted(None) => return Ok(Landed::default()),
            Walked::Proved(proved) | Walked::Interrupted(Some(proved)) => proved,
        };
        self.land(proved, record, &budget, latest).await
    }

    /// Commits each proved part of a window.
    async fn land(
        &self,
        proved: Proved<BufferedPage>,
        record: Option<Record>,
        budget: &Budget,
        latest: BeijingTime,
    ) -> Result<Landed> {
        let pieces = sharing(proved.again, budget);
        let pages: Arc<[BufferedPage]> = proved.pages.into();
        let hours = Some(hours(&pages, &proved.parts));
        let mut landed = Landed { pieces, hours, ..Landed::default() };
        let raw = blocking(move || raw::join(record.into_iter().collect())).await?;
        for Part { window, mut selected, proof } in proved.parts {
            selected.retain(|(page, row)| !pages[*page].is_extra(*row));
            let is_tail = latest <= window.end().plus_seconds(TAIL_SLACK_SECONDS);
            let is_short_empty_tail = selected.is_empty() && is_tail && window.seconds() < SHORTEST_EMPTY_TAIL_SECONDS;
            if is_short_empty_tail {
                continue;
            }
            let (pages, decoder) = (Arc::clone(&pages), self.source.decoder().clone());
            let memory_bytes = self.source.shelf().limit_bytes();
            let (assembly, parts) = blocking(move || {
                let assembly = Assembly::new(Arc::clone(&pages), &selected)?;
                let parts = parts::cut(&assembly, &pages, &selected, &decoder, memory_bytes)?;
                Ok((assembly, parts))
            })
            .await?;
            let quarantined = assembly.quarantined();
            let rows = Rows {
                window,
                kind: CommitKind::Sync,
                removes: Vec::new(),
                proof: recorded(proof, assembly.header_rows(), quarantined.len()),
                parts,
                quarantined: quarantined.iter().map(|record| record.to_json_line()).collect(),
                first_misfit: quarantined.first().map(|record| record.message()),
                remarks: assembly.remarks(),
                raw: raw.clone(),
            };
            if let Err(error) = self.commit(rows, &mut landed).await {
                // What is committed stays and is told.
                landed.stopped = Some(error);
                break;
            }
        }
        Ok(landed)
    }

    /// Walks the window of committed windows again, all of it, and commits what was read together with what the replaced commits hold
    /// and the ERP does not return any more.
    async fn replace(&self, Replacement { window, removes }: Replacement) -> Result<Landed> {
        let begun = self.source.gateway().moment();
        if self.latest(begun) < window.end() {
            return Ok(Landed { is_too_late: true, ..Landed::default() });
        }
        // Pieces of one size before smaller ones: together they tell soonest whether they add up.
        let mut todo = VecDeque::from([(window, Budget::default())]);
        let mut cuts = Cuts::default();
        let (mut pages, mut selected, mut proofs, mut records) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        while let Some((piece, budget)) = todo.pop_front() {
            let (outcome, record) = self.walk(piece, &budget).await?;
            records.extend(record);
            let heard = Heard::of(&outcome, self.source.extra_seconds());
            if let Some(whole) = heard.first_total.and_then(|total| cuts.note(piece, total)) {
                return Err(contradicted().with("window", whole));
            }
            match outcome.walked? {
                // What the replaced commits hold stays.
                Walked::Interrupted(_) => return Ok(Landed::default()),
                Walked::TooLarge { pieces, total } => {
                    cuts.cut(piece, total);
                    todo.extend(piece.pieces(pieces).into_iter().map(|window| (window, Budget::default())))
                }
                Walked::Unproved { windows, total } => {
                    total.into_iter().for_each(|total| cuts.cut(piece, total));
                    todo.extend(sharing(windows, &budget));
                }
                Walked::Proved(proved) => {
                    let first_page = pages.len();
                    for part in proved.parts {
                        selected.extend(part.selected.iter().map(|(page, row)| (first_page + page, *row)));
                        proofs.push(part.proof);
                    }
                    pages.extend(proved.pages);
                    todo.extend(sharing(proved.again, &budget));
                }
            }
        }
        if self.latest(begun) < window.end() {
            return Ok(Landed { is_too_late: true, ..Landed::default() });
        }
        let held = match refresh::held(&self.writer.view().await, &removes).await {
            Ok(held) => held,
            Err(error) => return self.overtaken(removes, error).await,
        };
        let decoder = self.source.decoder().clone();
        let (fresh, refreshed, raw, extra) = blocking(move || {
            // A row of the second after a piece lands with the next piece; a record without a readable modified time may have come with
            // both.
            let extra = drop_extra_rows(&pages, &mut selected);
            pages.iter_mut().try_for_each(|page: &mut BufferedPage| page.restore(&decoder))?;
            let fresh = assemble(pages, &selected)?;
            let refreshed = carry_over(&fresh, &held)?;
            Ok((fresh, refreshed, raw::join(records)?, extra))
        })
        .await?;
        let Refreshed { headers, details, quarantined, carried_headers, carried_quarantined, remarks } = refreshed;
        let mut proof = recorded(Proof::of_pieces(proofs), fresh.headers.num_rows(), fresh.quarantined.len());
        proof.distinct_rows = proof.rows_landed + proof.rows_quarantined + extra;
        proof.rows_carried = carried_headers;
        proof.quarantined_carried = carried_quarantined;
        let rows = Rows {
            window,
            kind: CommitKind::Refresh,
            removes,
            parts: vec![PartRows { headers: vec![headers].into(), details: vec![details].into() }],
            quarantined,
            first_misfit: fresh.quarantined.first().map(|record| record.message()),
            remarks,
            proof,
            raw,
        };
        let mut landed = Landed::default();
        self.commit(rows, &mut landed).await?;
        Ok(landed)
    }

    /// The latest second that a walk may cover which was begun at `begun`: rows enter a second until the server's clock is the lag behind it.
    fn latest(&self, begun: ServerMoment) -> BeijingTime {
        self.wanted.latest(self.source.gateway().reached_at(begun).unwrap_or_else(|| self.clock.now()))
    }

    /// Walks a window, and gives its answers too when they are kept.
    async fn walk(&self, window: Window, budget: &Budget) -> Result<(WalkOutcome<BufferedPage>, Option<Record>)> {
        self.source.recorder().begin(window)?;
        let outcome = self.walker.walk(window, budget).await;
        let record = self.source.recorder().end(window);
        Ok((outcome, record))
    }

    /// What is left to do when another run has replaced some of the same commits meanwhile, and deleted their files; else `error` stands.
    async fn overtaken(&self, removes: Vec<CommitId>, error: Error) -> Result<Landed> {
        self.writer.follow().await?;
        let lake = self.writer.view().await;
        if removes.iter().all(|commit| lake.state().live().contains_key(commit)) {
            return Err(error);
        }
        Ok(Landed { replace_again: refresh::plan_again(&lake, &removes, self.options), ..Landed::default() })
    }

    async fn commit(&self, rows: Rows, landed: &mut Landed) -> Result<()> {
        let Rows { window, kind, removes, parts, quarantined, first_misfit, remarks, proof, raw } = rows;
        let (set_aside, distinct) = (quarantined.len() as u64, proof.distinct_rows);
        let allowed = self.options.max_quarantine.unwrap_or_else(|| (distinct / 100).max(10));
        if set_aside > allowed {
            let error = Error::new(
                ErrorKind::Incomplete,
                format!(
                    "{set_aside} of {distinct} records do not fit, more than the {allowed} allowed; the first: {}",
                    first_misfit.unwrap_or_default()
                ),
            )
            .with("window", window)
            .hint("look at the records with `wdt-lake get`; raise --max-quarantine to commit the others without them");
            landed.gaps.push(Gap { window, error, tried: Tried::Yes });
            return Ok(());
        }
        let (of_all_headers, of_all_details) = (Sum::default(), Sum::default());
        let parts = parts.into_iter().map(|PartRows { headers, details }| PartRows {
            headers: summed(headers, &of_all_headers),
            details: summed(details, &of_all_details),
        });
        let parts = parts::files(parts.collect(), self.specs);
        let lines: String = quarantined.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let landing = Landing {
            kind,
            window: Some(window),
            removes: removes.clone(),
            parts,
            raw,
            quarantine: (set_aside > 0).then(|| Quarantine { lines: Bytes::from(lines), rows: set_aside }),
            proof: Some(proof),
        };
        match self.writer.land(landing).await? {
            CommitOutcome::Committed(committed) => {
                let sum = |sum: &Sum| sum.lock().ok().and_then(|sum| *sum);
                let real_num_scaled = sum(&of_all_headers).or_else(|| sum(&of_all_details)).unwrap_or(0);
                landed.commits.push(Arrived { window, kind, committed, real_num_scaled, remarks });
            }
            // Another run committed some of it, or took this run for dead: what is still missing is planned again.
            CommitOutcome::Dropped(refusal) => {
                tracing::warn!(%window, %refusal, "the commit was dropped and is planned again");
                let lake = self.writer.view().await;
                landed.replan.extend(lake.coverage().gaps(window));
                landed.replace_again.extend(refresh::plan_again(&lake, &removes, self.options));
            }
        }
        Ok(())
    }
}

/// Of rows that several walks have given: drops those of the second after a piece, which land with the next piece, and all but one of a
/// record without a readable modified time that came with both. Gives how many versions were dropped, which the totals of the walks count.
pub(super) fn drop_extra_rows(pages: &[BufferedPage], selected: &mut Vec<(usize, usize)>) -> u64 {
    let (mut landed, mut extra) = (HashSet::new(), HashSet::new());
    selected.retain(|(page, row)| {
        let identity = &pages[*page].rows()[*row].identity;
        let is_extra = pages[*page].is_extra(*row);
        let is_new = if is_extra { &mut extra } else { &mut landed }.insert(identity);
        is_new && !is_extra
    });
    extra.difference(&landed).count() as u64
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

/// Pieces that draw on one budget.
pub(super) fn sharing(windows: Vec<Window>, budget: &Budget) -> Vec<(Window, Budget)> {
    windows.into_iter().map(|window| (window, budget.clone())).collect()
}

/// Why a window is given up whose pieces sum above it.
pub(super) fn contradicted() -> Error {
    Error::new(
        ErrorKind::Incomplete,
        "the gateway contradicts itself: the totals of its pieces sum above that of the window",
    )
    .hint("its totals do not count what its pages list: show this to the vendor")
}

/// The proof as the manifest records it.
pub(super) fn recorded(proof: Proof, rows_landed: usize, rows_quarantined: usize) -> Proof {
    Proof { rows_landed: rows_landed as u64, rows_quarantined: rows_quarantined as u64, ..proof }
}

/// The exact sum of `real_num`, times 10,000; `None` where no row has one, as flagship headers.
type Sum = Arc<Mutex<Option<i128>>>;

/// The same rows, which are added to `sum` when they are taken.
fn summed(rows: RowSource, sum: &Sum) -> RowSource {
    let sum = Arc::clone(sum);
    rows.inspect(move |rows| {
        let Ok(place) = rows.schema().index_of("real_num") else { return Ok(()) };
        for start in (0..rows.rows()).step_by(SUMMED_ROWS) {
            let column = rows.column(place, start..rows.rows().min(start + SUMMED_ROWS))?;
            if let (Some(column), Ok(mut sum)) = (column.as_primitive_opt::<Decimal128Type>(), sum.lock()) {
                *sum = column.iter().flatten().fold(*sum, |sum, real_num| Some(sum.unwrap_or(0) + real_num));
            }
        }
        Ok(())
    })
}
