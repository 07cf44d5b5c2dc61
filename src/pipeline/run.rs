//! One run of one account while it walks: which window is next, how many are under way, and what became of them.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::accounts::RunResources;
use super::range::PLANNING_SLACK_SECONDS;
use super::raw::KeepRaw;
use super::refresh::{self, Replacement};
use super::replace::replace;
use super::report::{Gap, Progress, SyncReport, Tried};
use super::source::Source;
use super::spill::SpillBuffer;
use super::window_task::{StatedTotals, Task, TaskOutcome};
use super::{Interrupt, Range, SyncOptions, recent_density};
use crate::config::AccountSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::extract::budget::Budget;
use crate::extract::cuts::Cuts;
use crate::extract::plan::Planner;
use crate::extract::walk::{Quit, Walker};
use crate::extract::whole::contradicted;
use crate::gateway::Gateway;
use crate::land::{Committed, Writer};
use crate::log::{CommitKind, Lake};
use crate::parquet::TableSpec;
use crate::time::{BeijingTime, Clock, Coverage, Window};
use crate::transform::{PageDecoder, table_specs};

/// However little memory there is: a window costs one call more than its pages, and files of its own.
const FEWEST_PAGES: u64 = 10;
/// How many windows are under way at once: enough that one is read while others are encoded and written. What their pages are expected to
/// take in memory allows fewer at times.
const WINDOWS_AT_ONCE: usize = 4;
/// After so many walks in which nothing at all could be read, what cannot be read is not a record but everything.
const MOST_UNREAD_WALKS: u32 = 3;
/// After so many windows in which the gateway contradicted itself, a run does not go on with their like.
const MOST_CONTRADICTIONS: usize = 3;
/// How far our clock must be behind the server's for what it hid to be walked by this run.
const HIDDEN_SECONDS: i64 = 60;
/// Windows are cut back for the server's clock by 2 to the power of this at most, times the slack.
const MOST_CUTS: u32 = 16;

/// What there is to do.
#[derive(Clone, Debug)]
enum Work {
    /// A window that the lake lacks, and what may still be spent on it.
    Missing(Window, Budget),
    /// Committed windows to walk again.
    Again(Replacement),
}

impl Work {
    fn window(&self) -> Window {
        match self {
            Self::Missing(window, _) => *window,
            Self::Again(replacement) => replacement.window,
        }
    }

    /// What was left for the window, if it was missing.
    fn budget(&self) -> Option<Budget> {
        match self {
            Self::Missing(_, budget) => Some(budget.clone()),
            Self::Again(_) => None,
        }
    }
}

/// One run while it walks.
pub(super) struct Run<'a> {
    options: &'a SyncOptions,
    writer: &'a Writer,
    clock: Arc<dyn Clock>,
    source: Arc<Source>,
    wanted: Range,
    range: Window,
    planner: Planner,
    /// What is left of windows that were not proved as a whole.
    pieces: VecDeque<(Window, Budget)>,
    replacements: VecDeque<Replacement>,
    /// What the lake covers, as far as this run knows.
    coverage: Coverage,
    /// From the first second that was ever wanted to the last that was covered when the run began: gaps in it were tried before.
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
    clock_compared: bool,
    /// How often a window was walked that ended later than the server's clock allows.
    clock_cuts: u32,
    /// How far a timestamp may be from the server's clock.
    tolerance_seconds: i64,
    /// Whether a window was proved.
    has_proved: bool,
    specs: [Arc<TableSpec>; 2],
    progress: &'a (dyn Fn(Progress) + Sync),
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
        progress: &'a (dyn Fn(Progress) + Sync),
        report: SyncReport,
    ) -> Result<Self> {
        let gateway = Gateway::reading_on(
            resources.reader.clone(),
            account,
            &resources.calls(&options.calls),
            Arc::clone(&clock),
        )?;
        let spill = SpillBuffer::new(resources.page_memory);
        let replacements = refresh::plan(lake, options);
        // Answers that were kept go with the commits that are replaced: those of the new walk take their place.
        let had_answers = |commit| lake.state().live().get(commit).is_some_and(|live| live.raw.is_some());
        let raw = match replacements.iter().flat_map(|replacement| &replacement.removes).any(had_answers) {
            true => KeepRaw::Yes,
            false => options.raw,
        };
        let decoder = PageDecoder::new(account.edition, report.run)?;
        let mut planner = Planner::new(range, lake.coverage(), options.max_rows());
        if let Some((rows, seconds)) = recent_density(lake) {
            planner.expect(rows, seconds);
        }
        let tried = lake.coverage().span().map(|span| {
            let start = lake.state().start().map_or(span.start(), |start| start.min(span.start()));
            Window::new(start, span.end()).unwrap_or(span)
        });
        // What was never tried goes first: an old gap may be one that no walk closes.
        planner.put_last(|gap| is_within(gap, tried));
        Ok(Self {
            source: Arc::new(Source::new(gateway, decoder, spill, raw, Arc::clone(&clock))),
            planner,
            pieces: VecDeque::new(),
            replacements: replacements.into(),
            specs: table_specs()?,
            options,
            writer,
            clock,
            coverage: lake.coverage().clone(),
            tried,
            cuts: Cuts::default(),
            contradicted: Vec::new(),
            quit: Quit::default(),
            unread_walks: 0,
            planned_end: range.end(),
            clock_compared: false,
            clock_cuts: 0,
            tolerance_seconds: account.edition.clock_tolerance_seconds(),
            has_proved: false,
            wanted,
            range,
            progress,
            report,
        })
    }

    /// Walks until all is done, or the run is interrupted: then windows whose pages are all there are finished, and of others the part that is
    /// proved.
    pub(super) async fn until_interrupted(mut self, interrupt: &Interrupt) -> SyncReport {
        let quit = self.quit.clone();
        let is_done = {
            let mut walking = pin!(self.all_windows());
            let is_done = interrupt.unless_asked(walking.as_mut()).await.is_some();
            if !is_done {
                quit.set();
                let _ = interrupt.unless_late(walking).await;
            }
            is_done
        };
        if is_done {
            self.name_uncovered();
        }
        let report = self.finish();
        if is_done { report } else { report.interrupted() }
    }

    /// Walks window after window until none is left or something stops the account.
    async fn all_windows(&mut self) {
        let source = Arc::clone(&self.source);
        let walker = Walker::new(&*source, self.options.page_size, self.options.limits, self.quit.clone());
        let (writer, options, specs) = (self.writer, self.options, self.specs.clone());
        let (wanted, clock) = (self.wanted, Arc::clone(&self.clock));
        let mut under_way = FuturesUnordered::new();
        // What the windows under way are expected to take in memory.
        let mut reserved: HashMap<Window, usize> = HashMap::new();
        // The first window goes alone until its total is known, so that refused credentials are refused once and its density plans the
        // others.
        let mut is_alone = true;
        loop {
            let at_once = if is_alone { 1 } else { WINDOWS_AT_ONCE };
            while self.report.stopped.is_none() && !self.quit.is_set() && under_way.len() < at_once {
                let Some(work) = self.next() else { break };
                let bytes = self.expected_bytes(&work);
                let all = reserved.values().fold(bytes, |all, bytes| all.saturating_add(*bytes));
                if !under_way.is_empty() && all > source.spill().limit_bytes() {
                    self.put_back(work);
                    break;
                }
                let task =
                    Task { walker: &walker, source: &source, writer, options, specs: &specs, wanted, clock: &*clock };
                reserved.insert(work.window(), bytes);
                under_way.push(async move {
                    let (totals, outcome) = match work.clone() {
                        Work::Missing(window, budget) => task.fill(window, budget).await,
                        Work::Again(replacement) => (StatedTotals::default(), replace(&task, replacement).await),
                    };
                    (work, totals, outcome)
                });
            }
            let next = tokio::select! {
                biased;
                next = under_way.next() => next,
                (window, total) = source.first_total(), if is_alone => {
                    is_alone = false;
                    self.planner.observe(window, total);
                    // Nothing was known when it began.
                    if let Some(bytes) = reserved.get_mut(&window) {
                        *bytes = (*bytes).max(source.spill().expected_bytes(total.min(self.max_rows())));
                    }
                    self.follow_server_clock();
                    continue;
                }
            };
            let Some((work, totals, outcome)) = next else { return };
            is_alone = false;
            reserved.remove(&work.window());
            self.note_totals(work.window(), totals);
            self.note_readable();
            match outcome {
                Ok(outcome) => self.take_in(&work, outcome),
                Err(error) => self.note_failure(&work, error),
            }
            let is_hopeless = |error: &Error| matches!(error.kind(), ErrorKind::Credentials | ErrorKind::Usage);
            if self.report.stopped.as_ref().is_some_and(is_hopeless) {
                // More calls cannot help; those under way are let go.
                return;
            }
            self.follow_server_clock();
        }
    }

    /// What to do next: first what is begun, then what is missing, at last what is walked again.
    fn next(&mut self) -> Option<Work> {
        self.planner.set_max_rows(self.max_rows());
        let piece = self.pieces.pop_front().map(|(window, budget)| Work::Missing(window, budget));
        let missing = || self.planner.take().map(|window| Work::Missing(window, Budget::default()));
        piece.or_else(missing).or_else(|| self.replacements.pop_front().map(Work::Again))
    }

    /// Keeps work for later.
    fn put_back(&mut self, work: Work) {
        match work {
            Work::Missing(window, budget) => self.pieces.push_front((window, budget)),
            Work::Again(replacement) => self.replacements.push_front(replacement),
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
        // What is walked again is put together with what it replaces, all of it in memory: nothing else is under way then.
        if let Work::Again(_) = work {
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
        if let Some(total) = outcome.cut_total {
            self.cuts.cut(window, total);
        }
        self.has_proved |= outcome.hours.is_some() || !outcome.commits.is_empty();
        self.planner.put_back(outcome.replan);
        if outcome.is_too_late {
            self.cut_back(window, work.budget().is_some());
        }
        if let Some((total, pieces)) = outcome.too_large {
            self.planner.put_back_too_large(window, total, pieces);
        }
        self.pieces.extend(outcome.pieces);
        self.replacements.extend(outcome.replace_again);
        self.report.gaps.extend(outcome.gaps);
        self.report.remarks += outcome.remarks;
        for committed in &outcome.commits {
            self.count(committed);
        }
        self.drop_contradicted();
        if let Some(error) = outcome.stopped {
            self.stop(window, error);
        }
    }

    /// A window that failed stays a gap, or stops the account.
    fn note_failure(&mut self, work: &Work, error: Error) {
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

    /// Gives a window up whose pieces sum above it, and the like of it when there are too many.
    fn note_totals(&mut self, window: Window, totals: StatedTotals) {
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
            let error = Error::new(ErrorKind::Incomplete, format!("the gateway contradicted itself in {new} windows"))
                .with("last window", window)
                .hint("its totals do not count what its pages list: show this to the vendor, and run again when it is mended");
            self.report.stopped = Some(error);
        }
    }

    /// A gateway of which nothing can be read is an outage, or not the gateway.
    fn note_readable(&mut self) {
        if self.source.has_read() {
            return;
        }
        self.unread_walks += 1;
        if self.unread_walks >= MOST_UNREAD_WALKS && self.report.stopped.is_none() {
            let error = Error::new(ErrorKind::GatewayUnavailable, "no response of the gateway can be read")
                .hint("the address may not be the purchase requisition query, or the gateway has changed its answers: try `wdt-lake get`");
            self.report.stopped = Some(error);
        }
    }

    fn is_contradicted(&self, window: Window) -> bool {
        self.contradicted.iter().any(|whole| is_within(window, Some(*whole)))
    }

    /// What lies within a window that was given up is walked no further.
    fn drop_contradicted(&mut self) {
        let contradicted = &self.contradicted;
        let is_dropped = |window: Window| contradicted.iter().any(|whole| is_within(window, Some(*whole)));
        self.pieces.retain(|(window, _)| !is_dropped(*window));
        self.planner.forget(is_dropped);
    }

    fn stop(&mut self, window: Window, error: Error) {
        if self.report.stopped.is_none() {
            self.report.stopped = Some(error);
        } else {
            tracing::error!(%window, %error, "another window failed too");
        }
    }

    /// When the budget of a window is spent, its other pieces are given up with it; gives the window from the first to the last of them.
    fn give_up(&mut self, window: Window, budget: Option<Budget>) -> Window {
        let Some(budget) = budget.filter(Budget::is_spent) else { return window };
        let (lost, kept) =
            std::mem::take(&mut self.pieces).into_iter().partition(|(_, other)| other.is_shared_with(&budget));
        self.pieces = kept;
        let lost: VecDeque<(Window, Budget)> = lost;
        lost.into_iter().fold(window, |hull, (piece, _)| {
            Window::new(hull.start().min(piece.start()), hull.end().max(piece.end())).unwrap_or(hull)
        })
    }

    fn count(&mut self, committed: &Committed) {
        let Some(window) = committed.window else { return };
        self.coverage.insert(window);
        match committed.kind {
            CommitKind::Refresh => self.report.refreshed += 1,
            _ => self.report.windows += 1,
        }
        self.report.tally.add(committed);
        tracing::info!(%window, number = committed.number, commit = %committed.commit, "committed");
        (self.progress)(Progress {
            window,
            range: self.range,
            headers: self.report.tally.headers,
            calls: self.source.gateway().calls(),
        });
    }

    /// The range was planned by this machine's clock; the server's own clock decides how late it may end.
    fn follow_server_clock(&mut self) {
        let Some(reached) = self.source.gateway().reached() else { return };
        let is_first = !std::mem::replace(&mut self.clock_compared, true);
        let end = self.wanted.latest(reached);
        if end < self.range.end() {
            self.end_at(end, PLANNING_SLACK_SECONDS);
        } else if is_first && self.range.end().plus_seconds(HIDDEN_SECONDS) < end {
            // Our clock is behind: what it hid is wanted too.
            let planned_end = end.plus_seconds(-PLANNING_SLACK_SECONDS);
            let hidden = Window::new(self.range.end().plus_seconds(1), planned_end);
            self.planner.extend(hidden.into_iter().flat_map(|hidden| self.coverage.gaps(hidden)));
            self.planned_end = planned_end;
            self.set_range_end(end);
        }
    }

    /// A walk was begun too early for the end of its window. Cuts twice as far each time: where the server's clock stands, or falls back, it
    /// would else be too early again and again.
    fn cut_back(&mut self, window: Window, is_missing: bool) {
        let Some(reached) = self.source.gateway().reached() else { return };
        if is_missing {
            let slack = PLANNING_SLACK_SECONDS << self.clock_cuts.min(MOST_CUTS);
            self.clock_cuts += 1;
            self.end_at(self.wanted.latest(reached), slack);
        } else {
            self.report
                .warnings
                .push(format!("{window} ends later than the gateway's clock allows: it was not walked again"));
        }
    }

    /// Plans nothing later than `slack` before `end`, where the range ends now.
    fn end_at(&mut self, end: BeijingTime, slack: i64) {
        let planned_end = end.plus_seconds(-slack).min(self.planned_end);
        self.planned_end = planned_end;
        self.planner.end_at(planned_end);
        let pieces = std::mem::take(&mut self.pieces).into_iter();
        let earlier = |window: Window| Window::new(window.start(), window.end().min(planned_end));
        self.pieces = pieces.filter_map(|(window, budget)| Some((earlier(window)?, budget))).collect();
        self.set_range_end(end.min(self.range.end()));
    }

    fn set_range_end(&mut self, end: BeijingTime) {
        match Window::new(self.range.start(), end) {
            Some(range) => {
                self.range = range;
                self.report.range = Some(range);
            }
            None if self.report.windows == 0 => self.report.range = None,
            None => {}
        }
    }

    /// At the end of a run that nothing stopped: names what is not covered for no fault of a window.
    fn name_uncovered(&mut self) {
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
        let mut why = "no window was proved";
        if let (Some(end), Some(without_date)) = (end, without_date)
            && end.plus_seconds(self.tolerance_seconds) < without_date
            && let Some(cut) = Window::new(self.range.start().max(end.plus_seconds(1)), without_date)
        {
            uncovered = self.coverage.gaps(cut);
            why = "the gateway's `Date` says that this time has not come yet";
        } else if !self.has_proved
            && self.report.gaps.is_empty()
            && let Some(planned) = Window::new(self.range.start(), self.planned_end)
        {
            uncovered = self.coverage.gaps(planned);
        }
        self.report.gaps.extend(uncovered.into_iter().map(|window| {
            let error = Error::new(ErrorKind::Incomplete, why)
                .with("window", window)
                .hint("run the same command again: what is missing is fetched then");
            Gap { window, error, tried: Tried::Yes }
        }));
    }

    fn finish(mut self) -> SyncReport {
        self.report.calls = self.source.gateway().calls();
        self.name_all_gaps();
        self.report.warnings.extend(self.source.gateway().clock_warnings());
        self.report.gaps.sort_by_key(|gap| gap.window);
        self.report
    }

    /// A gap is what is not covered now; and whatever ended the run, what it did not come to is a gap too.
    fn name_all_gaps(&mut self) {
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
            let error = Error::new(ErrorKind::Incomplete, "not walked before the run ended").with("window", window);
            self.report.gaps.push(Gap { window, error, tried: Tried::No });
        }
    }
}

/// Whether `window` lies within `whole`.
fn is_within(window: Window, whole: Option<Window>) -> bool {
    whole.is_some_and(|whole| whole.intersect(window) == Some(window))
}
