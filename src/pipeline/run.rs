//! One run of one account while it walks: which window is next, how many are under way, and what became of them.

mod clock;
mod gaps;

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tracing::Instrument as _;

use super::accounts::RunResources;
use super::memory::{FIRST_WINDOW_PAGES, Memory, Reservation};
use super::meter::{Meter, Phase};
use super::raw::KeepRaw;
use super::replace::replace;
use super::report::{Remaining, SyncReport};
use super::rewalk::{self, rewalk};
use super::rewalk_plan::Piece;
use super::source::Source;
use super::spill::SpillBuffer;
use super::window_task::{StatedTotals, Task, TaskOutcome};
use super::{Interrupt, Range, SyncOptions, recent_density};
use crate::config::AccountSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::extract::budget::{Budget, Limits};
use crate::extract::cuts::Cuts;
use crate::extract::plan::Planner;
use crate::extract::walk::{Quit, Walker};
use crate::gateway::{CallWatch, CallWatches, Gateway, ServerMoment};
use crate::land::{Committed, Writer};
use crate::log::{CommitKind, Lake};
use crate::parquet::TableSpec;
use crate::time::{BeijingTime, Clock, Coverage, Window};
use crate::transform::{PageDecoder, table_specs};

/// However little memory there is: a window costs one call more than its pages, and files of its own.
const FEWEST_PAGES: u64 = 10;
/// How many windows are under way at once: enough that one is read while others are encoded and written. What their
/// pages are expected to take in memory allows fewer at times.
const WINDOWS_AT_ONCE: usize = 4;

/// How long a walk holds its memory while no response comes.
const STALLED: Duration = Duration::from_secs(10);

/// What there is to do.
#[derive(Clone, Debug)]
enum Work {
    /// A window that the lake lacks, and what may still be spent on it.
    Missing(Window, Budget),
    /// Covered seconds to walk again.
    Again(Window),
    /// Covered seconds to read anew.
    Rewalk(Piece),
}

/// How the walk of all windows ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Walk {
    /// Nothing is left, or something has stopped the account.
    Done,
    /// The run was to end.
    CutShort,
}

/// The covered seconds that a run is to walk.
#[derive(Debug, Default)]
pub(super) struct WalkAgain {
    /// For what has changed in them.
    pub(super) refresh: Vec<Window>,
    /// To take the place of what is there.
    pub(super) rewalk: Vec<Piece>,
}

impl WalkAgain {
    fn windows(&self) -> impl Iterator<Item = Window> {
        self.refresh.iter().copied().chain(self.rewalk.iter().map(Piece::window))
    }
}

impl Work {
    fn window(&self) -> Window {
        match self {
            Self::Missing(window, _) | Self::Again(window) => *window,
            Self::Rewalk(piece) => piece.window(),
        }
    }

    /// What was left for the window, if it was missing.
    fn budget(&self) -> Option<Budget> {
        match self {
            Self::Missing(_, budget) => Some(budget.clone()),
            Self::Again(_) | Self::Rewalk(_) => None,
        }
    }
}

/// One run while it walks.
pub(super) struct Run<'a> {
    options: &'a SyncOptions,
    /// The memory of the run, which other accounts may share.
    memory: Memory,
    watches: CallWatches,
    writer: &'a Writer,
    clock: Arc<dyn Clock>,
    source: Arc<Source>,
    wanted: Range,
    range: Window,
    planner: Planner,
    /// The first window of a run with others, of which a few pages are read.
    first: Option<Window>,
    /// What is left of windows that were not proved as a whole.
    pieces: VecDeque<(Window, Budget)>,
    /// Covered seconds to walk again.
    again: VecDeque<Window>,
    /// Covered seconds to read anew.
    rewalk: VecDeque<Piece>,
    /// What the lake covers, as far as this run knows.
    coverage: Coverage,
    /// From the first second that was ever wanted to the last that was covered when the run began: gaps in it were
    /// tried before.
    tried: Option<Window>,
    /// The windows that were cut, and what their pieces must add up to.
    cuts: Cuts,
    /// Windows in which the gateway contradicted itself: they are walked no further.
    contradicted: Vec<Window>,
    quit: Quit,
    /// Walks that have ended while nothing could be read yet.
    unread_walks: u32,
    /// Nothing later than this is planned.
    planned_end: BeijingTime,
    /// When the range was planned.
    begun: ServerMoment,
    clock_compared: bool,
    /// How often a window was walked that ended later than the server's clock allows.
    clock_cuts: u32,
    /// How far a timestamp may be from the server's clock.
    tolerance_seconds: i64,
    /// Whether a window was proved.
    has_proved: bool,
    specs: [Arc<TableSpec>; 2],
    meter: &'a Meter,
    report: SyncReport,
}

impl<'a> Run<'a> {
    #[expect(clippy::too_many_arguments, reason = "the one place that wires a run together")]
    pub(super) fn new(
        resources: &RunResources,
        account: &AccountSettings,
        options: &'a SyncOptions,
        writer: &'a Writer,
        clock: Arc<dyn Clock>,
        wanted: Range,
        range: Window,
        lake: &Lake,
        again: WalkAgain,
        meter: &'a Meter,
        report: SyncReport,
    ) -> Result<Self> {
        let gateway = Gateway::sharing(
            resources.shared.clone(),
            resources.watches.clone(),
            account,
            &resources.calls(&options.calls),
            Arc::clone(&clock),
        )?;
        let begun = gateway.moment();
        let spill = SpillBuffer::within(resources.memory.pages());
        // What was kept of a commit stays whole: the responses of what is walked again are kept too.
        let had_responses = |range: Window| {
            let touched = lake.state().touching(range);
            touched.iter().any(|(id, _)| lake.state().live().get(id).is_some_and(|live| !live.raw.is_empty()))
        };
        let raw = match again.windows().any(had_responses) {
            true => KeepRaw::Yes,
            false => options.raw,
        };
        let decoder = PageDecoder::new(account.edition, report.run)?;
        let (planner, tried) = planner(range, lake, options);
        Ok(Self {
            source: Arc::new(Source::new(gateway, decoder, spill, raw, Arc::clone(&clock))),
            planner,
            first: None,
            pieces: VecDeque::new(),
            again: again.refresh.into(),
            rewalk: again.rewalk.into(),
            specs: table_specs()?,
            options,
            memory: resources.memory.clone(),
            watches: resources.watches.clone(),
            writer,
            clock,
            coverage: lake.coverage().clone(),
            tried,
            cuts: Cuts::default(),
            contradicted: Vec::new(),
            quit: Quit::default(),
            unread_walks: 0,
            planned_end: range.end(),
            begun,
            clock_compared: false,
            clock_cuts: 0,
            tolerance_seconds: account.edition.clock_tolerance_seconds(),
            has_proved: false,
            wanted,
            range,
            meter,
            report,
        })
    }

    /// Walks until all is done, or the run is interrupted: then windows whose pages are all there are finished, and of
    /// others the part that is proved.
    pub(super) async fn until_interrupted(mut self, interrupt: &Interrupt) -> SyncReport {
        let quit = self.quit.clone();
        self.meter.enter(Phase::Walking);
        self.meter.read_from(&self.source);
        let is_done = {
            let mut walking = pin!(self.all_windows(interrupt));
            let ended = interrupt.unless_asked(walking.as_mut()).await;
            if ended != Some(Walk::Done) {
                quit.set();
            }
            if ended.is_none() {
                let _ = interrupt.unless_late(walking).await;
            }
            ended == Some(Walk::Done)
        };
        if is_done {
            self.name_uncovered();
            // What is read anew ends anywhere: it says nothing of the present.
            let asks_on = self.options.rewalk.is_none();
            if asks_on && self.report.stopped.is_none() && self.report.gaps.is_empty() {
                self.report.checked_until = Some(self.planned_end);
            }
        }
        let missing = self.coverage.gaps(self.range);
        let again = (self.again.len() + self.rewalk.len()) as u64;
        let report = self.finish();
        if is_done { report } else { report.ended_early(interrupt, Remaining::Some { missing, again }) }
    }

    /// Walks window after window until none is left or something stops the account.
    async fn all_windows(&mut self, interrupt: &Interrupt) -> Walk {
        let source = Arc::clone(&self.source);
        let walker = Walker::new(&*source, self.options.page_size, self.options.limits, self.quit.clone());
        let first_walker = Walker::new(&*source, self.options.page_size, self.first_limits(), self.quit.clone());
        let (writer, specs, memory) = (self.writer, self.specs.clone(), self.memory.clone());
        let bounded = self.options.within_memory(memory.division().reserved_bytes);
        let bounded_walker = Walker::new(&*source, bounded.page_size, bounded.limits, self.quit.clone());
        let (wanted, clock) = (self.wanted_of_walks(), Arc::clone(&self.clock));
        let mut under_way = FuturesUnordered::new();
        // What the windows under way are expected to take in memory.
        let mut reserved: HashMap<Window, usize> = HashMap::new();
        // The first window goes alone until its total is known, so that refused credentials are refused once and its
        // density plans the others.
        let mut is_alone = true;
        loop {
            let at_once = if is_alone { 1 } else { WINDOWS_AT_ONCE };
            // A time that has come is seen here at once, however quickly windows follow each other.
            let is_asked = interrupt.is_asked();
            while under_way.len() < at_once && !is_asked {
                let Some((work, bytes)) = self.next_that_fits(&reserved) else { break };
                let Some(held) = self.reserve(&work, is_alone, under_way.is_empty()).await else {
                    self.put_back(work);
                    break;
                };
                let (walker, options) = match work {
                    Work::Missing(window, _) if is_alone && memory.is_shared() => {
                        self.first = Some(window);
                        (&first_walker, self.options)
                    }
                    Work::Missing(..) => (&walker, self.options),
                    Work::Again(_) | Work::Rewalk(_) => (&bounded_walker, &bounded),
                };
                let (source, memory, specs) = (&*source, &memory, &specs);
                let task = Task { walker, source, writer, memory, options, specs, wanted, clock: &*clock };
                reserved.insert(work.window(), bytes);
                let span = tracing::error_span!("window", window = %work.window());
                under_way.push(holding(held, self.watches.responses.clone(), done(task, work)).instrument(span));
            }
            self.note_left(reserved.keys());
            let next = tokio::select! {
                biased;
                next = under_way.next() => next,
                (window, total) = source.first_total(), if is_alone => {
                    is_alone = false;
                    self.note_first_total(window, total, &mut reserved);
                    self.follow_server_clock();
                    continue;
                }
            };
            let (work, totals, outcome) = match next {
                Some(done) => done,
                None if is_asked => return if self.is_all_done() { Walk::Done } else { Walk::CutShort },
                None if self.plan_hidden() => continue,
                None => return Walk::Done,
            };
            is_alone = false;
            reserved.remove(&work.window());
            self.note_walked(&work, totals, outcome);
            if self.is_hopeless() {
                // More calls cannot help; those under way are let go.
                return Walk::Done;
            }
            self.follow_server_clock();
        }
    }

    fn first_limits(&self) -> Limits {
        Limits { max_pages: FIRST_WINDOW_PAGES.min(self.options.limits.max_pages), ..self.options.limits }
    }

    /// Of a damaged commit the whole window is read anew, whatever was asked for of it.
    fn wanted_of_walks(&self) -> Range {
        Range { to: self.wanted.to.filter(|_| self.options.rewalk.is_none()), ..self.wanted }
    }

    /// Nothing was known when the first window began.
    fn note_first_total(&mut self, window: Window, total: u64, reserved: &mut HashMap<Window, usize>) {
        self.planner.observe(window, total);
        if let Some(bytes) = reserved.get_mut(&window) {
            *bytes = (*bytes).max(self.source.spill().expected_bytes(total.min(self.max_rows())));
        }
    }

    fn note_walked(&mut self, work: &Work, totals: StatedTotals, outcome: Result<TaskOutcome>) {
        self.source.pages_read().forget(work.window());
        self.note_totals(work.window(), totals);
        self.note_readable();
        match outcome {
            Ok(outcome) => self.take_in(work, outcome),
            Err(error) => self.note_failure(work, error),
        }
    }

    fn is_hopeless(&self) -> bool {
        let is_hopeless = |error: &Error| matches!(error.kind(), ErrorKind::Credentials | ErrorKind::Usage);
        self.report.stopped.as_ref().is_some_and(is_hopeless)
    }

    /// The memory of a walk; nothing where it would have to be waited for while others are under way. The first one of
    /// a run needs none.
    async fn reserve(&self, work: &Work, is_first: bool, is_idle: bool) -> Option<Reservation> {
        if is_first && matches!(work, Work::Missing(..)) {
            return Some(Reservation::default());
        }
        let rows = match work {
            Work::Missing(window, _) => self.planner.expected_rows(*window).unwrap_or(self.max_rows()),
            Work::Again(_) | Work::Rewalk(_) => self.max_rows(),
        };
        let rows = rows.min(2 * self.options.max_rows());
        match self.memory.try_reserve_walk(rows) {
            None if is_idle => {
                // It waits for other accounts, and lets others begin meanwhile.
                let _awaited = self.watches.calls.begin();
                Some(self.memory.reserve_walk(rows).await)
            }
            reserved => reserved,
        }
    }

    /// Whether nothing is left that could be begun.
    fn is_all_done(&mut self) -> bool {
        if self.report.stopped.is_some() {
            return true;
        }
        match self.next() {
            Some(work) => {
                self.put_back(work);
                false
            }
            None => !self.plan_hidden(),
        }
    }

    /// What to do next and the memory that it is expected to take beside what is under way; none when nothing is left,
    /// or it must wait.
    fn next_that_fits(&mut self, reserved: &HashMap<Window, usize>) -> Option<(Work, usize)> {
        if self.report.stopped.is_some() || self.quit.is_set() {
            return None;
        }
        let work = self.next()?;
        let bytes = self.expected_bytes(&work);
        let all = reserved.values().fold(bytes, |all, bytes| all.saturating_add(*bytes));
        if !reserved.is_empty() && all > self.source.spill().limit_bytes() {
            self.put_back(work);
            return None;
        }
        Some((work, bytes))
    }

    /// What to do next: first what is begun, then what is missing, at last what is walked again.
    fn next(&mut self) -> Option<Work> {
        self.planner.set_max_rows(self.max_rows());
        let piece = self.pieces.pop_front().map(|(window, budget)| Work::Missing(window, budget));
        let missing = || self.planner.take().map(|window| Work::Missing(window, Budget::default()));
        let again = || self.again.pop_front().map(Work::Again);
        piece.or_else(missing).or_else(again).or_else(|| self.rewalk.pop_front().map(Work::Rewalk))
    }

    /// Keeps work for later.
    fn put_back(&mut self, work: Work) {
        match work {
            Work::Missing(window, budget) => self.pieces.push_front((window, budget)),
            Work::Again(range) => self.again.push_front(range),
            Work::Rewalk(piece) => self.rewalk.push_front(piece),
        }
    }

    /// The rows that a window should hold at most: so few that one window can be read while another is encoded.
    fn max_rows(&self) -> u64 {
        let spill = self.source.spill();
        let fitting = spill.rows_in(spill.limit_bytes() / 2);
        self.options.max_rows().min(fitting.max(FEWEST_PAGES * u64::from(self.options.page_size)))
    }

    /// What the pages of a window are expected to take in memory.
    fn expected_bytes(&self, work: &Work) -> usize {
        // What is walked again is put together with what it replaces, all of it in memory: nothing else is under way
        // then.
        if let Work::Again(_) | Work::Rewalk(_) = work {
            return self.source.spill().limit_bytes().saturating_add(1);
        }
        let most = self.max_rows();
        let rows = self.planner.expected_rows(work.window()).map_or(most, |rows| rows.min(most));
        self.source.spill().expected_bytes(rows)
    }

    /// Plans what is left to do after a window, and counts what was committed.
    fn take_in(&mut self, work: &Work, outcome: TaskOutcome) {
        let window = work.window();
        match (outcome.hours, outcome.total) {
            (Some(hours), _) => self.planner.learn(window, &hours),
            (None, Some(total)) => self.planner.observe(window, total),
            (None, None) => {}
        }
        // Of the first window only a few pages are read where memory is shared: it may be none too many for a walk.
        let is_first = self.first.take() == Some(window);
        let is_walked_whole = is_first && outcome.too_large.is_some_and(|(total, _)| total <= self.max_rows());
        if let Some(total) = outcome.cut_total.filter(|_| !is_walked_whole) {
            self.cuts.cut(window, total);
        }
        self.has_proved |= outcome.hours.is_some() || outcome.has_proved || !outcome.commits.is_empty();
        self.planner.put_back(outcome.replan);
        if outcome.is_too_late {
            self.cut_back(work);
        }
        if let Some((total, pieces)) = outcome.too_large {
            self.planner.observe(window, total);
            match is_walked_whole {
                true => self.planner.put_back([window]),
                false if is_first => {
                    self.planner.put_back_too_large(window, total, total.div_ceil(self.max_rows()));
                }
                false => self.planner.put_back_too_large(window, total, pieces),
            }
        }
        self.pieces.extend(outcome.pieces);
        self.again.extend(outcome.walk_again);
        self.rewalk.extend(outcome.rewalk);
        for damage in outcome.damage {
            if !self.report.damage.iter().any(|known| known.objects == damage.objects) {
                self.report.damage.push(damage);
            }
        }
        self.report.gaps.extend(outcome.gaps);
        self.report.remarks += outcome.remarks;
        self.report.tally.quarantined += outcome.still_invalid;
        for committed in &outcome.commits {
            self.count(committed);
        }
        self.drop_contradicted();
        if let Some(error) = outcome.stopped {
            self.stop(window, error);
        }
    }

    fn count(&mut self, committed: &Committed) {
        let Some(window) = committed.window() else { return };
        committed.commits.iter().filter_map(|commit| commit.window).for_each(|window| self.coverage.insert(window));
        match committed.kind {
            CommitKind::Refresh => self.report.refreshed += committed.commits.len() as u64,
            CommitKind::Rewalk => {
                let windows = committed.commits.iter().filter(|commit| commit.window.is_some());
                self.report.rewalked += windows.count() as u64;
                rewalk::note_read(&mut self.report.damage, window, committed);
            }
            _ => self.report.windows += 1,
        }
        self.report.tally.add(committed);
        tracing::info!(%window, number = committed.number, id = %committed.id, "committed");
        self.meter.note_commit(window.end(), self.report.tally.headers);
    }

    /// Tells whoever waits how much is left, the windows under way included.
    fn note_left<'w>(&self, under_way: impl Iterator<Item = &'w Window>) {
        let under_way: Vec<Window> = under_way.copied().collect();
        let waiting = self.pieces.iter().map(|(window, _)| *window).chain(self.again.iter().copied());
        let waiting = waiting.chain(self.rewalk.iter().map(Piece::window)).chain(self.planner.left());
        let left = waiting.chain(under_way.iter().copied()).map(Window::seconds).sum();
        self.meter.note_left(left, under_way);
    }

    fn finish(mut self) -> SyncReport {
        let gateway = self.source.gateway();
        self.report.calls = gateway.calls();
        self.report.refusals = gateway.refusals();
        self.report.retries = gateway.retries();
        self.meter.note_end(self.report.calls);
        self.name_all_gaps();
        self.report.warnings.extend(self.source.gateway().clock_warnings());
        self.report.gaps.sort_by_key(|gap| gap.window);
        self.report
    }
}

/// Does the work of a walk and holds its memory, but not for a gateway that has stopped to answer: that must cost
/// nobody else's time.
async fn holding<T>(held: Reservation, responses: CallWatch, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = responses.waited(STALLED) => drop(held),
    }
    work.await
}

/// Does a piece of work, and gives it back with what came of it.
async fn done(task: Task<'_>, work: Work) -> (Work, StatedTotals, Result<TaskOutcome>) {
    let (totals, outcome) = match work.clone() {
        Work::Missing(window, budget) => task.fill(window, budget).await,
        Work::Again(range) => (StatedTotals::default(), replace(&task, range).await),
        Work::Rewalk(piece) => (StatedTotals::default(), rewalk(&task, piece).await),
    };
    (work, totals, outcome)
}

/// What a run is to walk in `range`, and from which first to which last second gaps were tried before.
fn planner(range: Window, lake: &Lake, options: &SyncOptions) -> (Planner, Option<Window>) {
    let mut planner = Planner::new(range, lake.coverage(), options.max_rows());
    if let Some((rows, seconds)) = recent_density(lake) {
        planner.expect(rows, seconds);
    }
    let tried = lake.state().kept_span().map(|span| {
        let start = lake.state().start().map_or(span.start(), |start| start.min(span.start()));
        Window::new(start, span.end()).unwrap_or(span)
    });
    // What was never tried goes first: an old gap may be one that no walk closes.
    planner.put_last(|gap| is_within(gap, tried));
    (planner, tried)
}

/// Whether `window` lies within `whole`.
fn is_within(window: Window, whole: Option<Window>) -> bool {
    whole.is_some_and(|whole| whole.intersect(window) == Some(window))
}
