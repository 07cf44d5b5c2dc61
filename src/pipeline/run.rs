//! One run of one account while it walks: which window is next, how many are under way, and what became of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::accounts::Means;
use super::raw::KeepRaw;
use super::refresh::{self, Replacement};
use super::report::{Gap, Progress, SyncReport};
use super::shelf::Shelf;
use super::source::Source;
use super::task::{Arrived, Done, Task, Work};
use super::{CLOCK_SLACK_SECONDS, Range, SyncOptions, recent_density, table_specs};
use crate::config::AccountSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::extract::budget::Budget;
use crate::extract::plan::Planner;
use crate::extract::walk::Walker;
use crate::gateway::Gateway;
use crate::land::{CommitKind, Lake, Table, TableSpec, Writer};
use crate::time::{Clock, Coverage, Window};
use crate::transform::PageDecoder;

/// However little memory there is: a window costs one call more than its pages, and files of its own.
const FEWEST_PAGES: u64 = 10;
/// How many windows are under way at once: enough that one is read while others are encoded and written. What their pages are expected to
/// take in memory allows fewer at times.
const WINDOWS_AT_ONCE: usize = 4;

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
    /// What the lake covered when the run began.
    coverage: Coverage,
    clock_compared: bool,
    specs: [Arc<TableSpec>; 2],
    progress: &'a (dyn Fn(Progress) + Sync),
    report: SyncReport,
}

impl<'a> Run<'a> {
    #[expect(clippy::too_many_arguments, reason = "the one place that wires a run together")]
    pub(super) fn new(
        means: &Means,
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
        let gateway =
            Gateway::reading_on(means.reader.clone(), account, &means.calls(&options.calls), Arc::clone(&clock))?;
        let shelf = Shelf::new(means.page_memory);
        let replacements = refresh::plan(lake, options);
        // Answers that were kept go with the commits that are replaced: those of the new walk take their place.
        let had_answers = |commit| lake.fold().live().get(commit).is_some_and(|live| live.raw.is_some());
        let raw = match replacements.iter().flat_map(|replacement| &replacement.removes).any(had_answers) {
            true => KeepRaw::Yes,
            false => options.raw,
        };
        let decoder = PageDecoder::new(account.edition, report.run)?;
        let mut planner = Planner::new(range, lake.coverage(), options.max_rows());
        if let Some((rows, seconds)) = recent_density(lake) {
            planner.expect(rows, seconds);
        }
        Ok(Self {
            source: Arc::new(Source::new(gateway, decoder, shelf, raw, Arc::clone(&clock))),
            planner,
            pieces: VecDeque::new(),
            replacements: replacements.into(),
            specs: table_specs()?,
            options,
            writer,
            clock,
            coverage: lake.coverage().clone(),
            clock_compared: false,
            wanted,
            range,
            progress,
            report,
        })
    }

    /// Walks window after window until none is left or something stops the account.
    pub(super) async fn all_windows(&mut self) {
        let source = Arc::clone(&self.source);
        let walker = Walker::new(&*source, self.options.page_size, self.options.limits);
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
            while self.report.stopped.is_none() && under_way.len() < at_once {
                let Some(work) = self.next() else { break };
                let bytes = self.expected_bytes(&work);
                let all = reserved.values().fold(bytes, |all, bytes| all.saturating_add(*bytes));
                if !under_way.is_empty() && all > source.shelf().limit_bytes() {
                    self.put_back(work);
                    break;
                }
                let task =
                    Task { walker: &walker, source: &source, writer, options, specs: &specs, wanted, clock: &*clock };
                let (window, budget) = (work.window(), work.budget());
                reserved.insert(window, bytes);
                under_way.push(async move { Done { window, budget, outcome: task.run(work).await } });
            }
            let next = tokio::select! {
                biased;
                next = under_way.next() => next,
                (window, total) = source.first_total(), if is_alone => {
                    is_alone = false;
                    self.planner.observe(window, total);
                    // Nothing was known when it began.
                    if let Some(bytes) = reserved.get_mut(&window) {
                        *bytes = (*bytes).max(source.shelf().expected_bytes(total.min(self.max_rows())));
                    }
                    self.follow_server_clock();
                    continue;
                }
            };
            let Some(done) = next else { return };
            is_alone = false;
            reserved.remove(&done.window);
            self.take_in(done);
            if self.report.stopped.as_ref().is_some_and(|error| error.kind() == ErrorKind::Credentials) {
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
        let shelf = self.source.shelf();
        let fitting = shelf.rows_in(shelf.limit_bytes() / 2);
        self.options.max_rows().min(fitting.max(FEWEST_PAGES * u64::from(self.options.page_size)))
    }

    /// What the pages of a window are expected to take in memory.
    fn expected_bytes(&self, work: &Work) -> usize {
        // What is walked again is put together with what it replaces, all of it in memory: nothing else is under way then.
        if let Work::Again(_) = work {
            return self.source.shelf().limit_bytes().saturating_add(1);
        }
        let most = self.max_rows();
        let rows = self.planner.expected_rows(work.window()).map_or(most, |rows| rows.min(most));
        self.source.shelf().expected_bytes(rows)
    }

    fn take_in(&mut self, Done { window, budget, outcome }: Done) {
        match outcome {
            Ok(landed) => {
                match (landed.hours, landed.total) {
                    (Some(hours), _) => self.planner.learn(window, &hours),
                    (None, Some(total)) => self.planner.observe(window, total),
                    (None, None) => {}
                }
                self.planner.put_back(landed.replan);
                if let Some((total, pieces)) = landed.too_large {
                    self.planner.put_back_too_large(window, total, pieces);
                }
                self.pieces.extend(landed.pieces);
                self.replacements.extend(landed.replace_again);
                self.report.gaps.extend(landed.gaps);
                for arrived in landed.commits {
                    self.count(arrived);
                }
                if let Some(error) = landed.stopped {
                    self.stop(window, error);
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::Incomplete | ErrorKind::GatewayRefused => {
                    let window = self.give_up(window, budget);
                    tracing::error!(%window, %error, "the window stays a gap");
                    self.report.gaps.push(Gap { window, error });
                }
                _ => self.stop(window, error),
            },
        }
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

    fn count(&mut self, arrived: Arrived) {
        let Arrived { window, kind, committed, real_num_scaled } = arrived;
        match kind {
            CommitKind::Refresh => self.report.refreshed += 1,
            _ => self.report.windows += 1,
        }
        self.report.real_num_scaled += real_num_scaled;
        self.report.quarantined += committed.quarantine.as_ref().map_or(0, |held| held.rows);
        for file in &committed.files {
            self.report.files += 1;
            self.report.bytes += file.bytes;
            match Table::from_name(&file.table) {
                Some(Table::PurchaseApply) => self.report.headers += file.rows,
                Some(Table::PurchaseApplyDetail) => self.report.details += file.rows,
                _ => {}
            }
        }
        tracing::info!(%window, number = committed.number, commit = %committed.commit, "committed");
        (self.progress)(Progress {
            window,
            range: self.range,
            headers: self.report.headers,
            calls: self.source.gateway().calls(),
        });
    }

    /// The range was planned by this machine's clock; the server's own clock decides how late it may end.
    fn follow_server_clock(&mut self) {
        let Some(server_now) = self.source.gateway().server_now().filter(|_| !self.clock_compared) else { return };
        self.clock_compared = true;
        let end = self.wanted.latest(server_now);
        if end.plus_seconds(CLOCK_SLACK_SECONDS) < self.range.end() {
            self.planner.end_at(end);
        } else if self.range.end().plus_seconds(60) < end {
            // Our clock is behind: what it hid is wanted too.
            let hidden = Window::new(self.range.end().plus_seconds(1), end);
            self.planner.extend(hidden.into_iter().flat_map(|hidden| self.coverage.gaps(hidden)));
        } else {
            return;
        }
        if let Some(range) = Window::new(self.range.start(), end) {
            self.range = range;
            self.report.range = Some(range);
        }
    }

    pub(super) fn finish(mut self) -> SyncReport {
        self.report.calls = self.source.gateway().calls();
        self.report.gaps.sort_by_key(|gap| gap.window);
        self.report
    }
}
