//! Random covered windows, walked again in memory and compared with the lake.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{of_steady_lake, read_file};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::budget::Limits;
use crate::extract::pages::Pages as _;
use crate::extract::walk::{Quit, Walker};
use crate::extract::whole::{AtInterrupt, Whole, walk_whole};
use crate::log::{CommitKind, Lake, LogState, Table};
use crate::parquet::decode_span;
use crate::pipeline::SyncOptions;
use crate::pipeline::source::Source;
use crate::pipeline::spill::BufferedPage;
use crate::time::{BeijingTime, Clock, Coverage, Window};
use crate::transform::{Comparison, LandedRows, assemble, compare, table_specs};
use crate::worker::blocking;

/// How many rows a window should hold at most, by what the lake says: ten pages.
const MOST_ROWS: u64 = 1_000;

/// The windows of a sample.
#[derive(Debug)]
pub(crate) struct SampleAudit {
    /// By which the windows were chosen.
    pub seed: u32,
    /// In the order of time.
    pub windows: Vec<WindowAudit>,
}

/// A window that was walked again.
#[derive(Debug)]
pub(crate) struct WindowAudit {
    /// The window.
    pub window: Window,
    /// When the commit was begun for which its rows were walked; of several, the first. None where that is not known
    /// any more, because commits were put together since, or their rows came from raw responses.
    pub committed_at: Option<BeijingTime>,
    /// When it was walked again.
    pub walked_at: BeijingTime,
    /// What was found, or why the window was not proved.
    pub outcome: Result<Comparison>,
}

impl SampleAudit {
    pub(super) fn of(seed: u32) -> Self {
        Self { seed, windows: Vec::new() }
    }

    /// The windows that were proved, with what was found in them.
    pub(crate) fn compared(&self) -> impl Iterator<Item = (&WindowAudit, &Comparison)> {
        self.windows.iter().filter_map(|audited| Some((audited, audited.outcome.as_ref().ok()?)))
    }

    /// Why windows were not proved.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Error> {
        self.windows.iter().filter_map(|audited| audited.outcome.as_ref().err())
    }

    /// How many versions came late.
    pub(crate) fn late(&self) -> u64 {
        self.compared().map(|(_, found)| found.late.len() as u64).sum()
    }

    /// How many versions changed under one modified time.
    pub(crate) fn changed(&self) -> u64 {
        self.compared().map(|(_, found)| found.changed.len() as u64).sum()
    }

    /// How many seconds after their modified times the versions came that are late, over all of them: the greatest
    /// bounds, at least and at most.
    pub(crate) fn lateness(&self) -> Option<(u64, u64)> {
        let bounds = self
            .compared()
            .flat_map(|(audited, found)| found.late.iter().map(|version| audited.lateness(found, version.modified)));
        bounds.reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)))
    }
}

impl WindowAudit {
    /// How many seconds after `modified` a version came that the lake does not have: at least and at most. It was not
    /// there yet when the window was read, and is there now. The window was read when the first of its rows was, or,
    /// for all that is known, when it was committed. Where that is not known, the rows tell only of versions behind the
    /// first of them: what comes before it may have been read earlier.
    pub(crate) fn lateness(&self, found: &Comparison, modified: BeijingTime) -> (u64, u64) {
        let first_read =
            found.first_read_micros.and_then(|micros| BeijingTime::from_unix(micros.div_euclid(1_000_000)));
        let since = |time: BeijingTime| u64::try_from(time.unix() - modified.unix()).unwrap_or(0);
        let read_at = match self.committed_at {
            Some(committed_at) => Some(first_read.map_or(committed_at, |read| read.min(committed_at))),
            None => first_read.filter(|_| found.first_modified_micros.is_some_and(|first| first <= modified.micros())),
        };
        (read_at.map_or(0, since), since(self.walked_at))
    }
}

/// Walks so many random windows that the lake covers, one after the other, and adds each to `sample`.
///
/// # Errors
/// What would fail for every window. One that is not proved, or refused, is in the sample with its error.
pub(super) async fn walk_windows(
    source: &Source,
    lake: &mut Lake,
    count: usize,
    concurrency: u32,
    clock: &dyn Clock,
    sample: &mut SampleAudit,
) -> Result<()> {
    let limits = Limits { concurrency, ..Limits::default() };
    let walker = Walker::new(source, SyncOptions::default().page_size, limits, Quit::default());
    let covered = lake.state().live().values().filter_map(|live| Some((live.window?, live.rows(Table::PurchaseApply))));
    for window in choose(covered, count, sample.seed) {
        let landed = of_steady_lake(lake, async |lake: &Lake| landed_rows(lake, window).await);
        let landed = landed.await.map_err(|error| error.with("window", window))?;
        let committed_at = committed_at(lake, window).await?;
        let outcome = match compare_window(source, &walker, window, landed).await {
            Err(error) if !matches!(error.kind(), ErrorKind::Incomplete | ErrorKind::GatewayRefused) => {
                return Err(error);
            }
            outcome => outcome,
        };
        sample.windows.push(WindowAudit { window, committed_at, walked_at: clock.now(), outcome });
    }
    Ok(())
}

/// `count` of the covered windows, each given with its rows, in the order of time; fewer where there are no more. A
/// window of many rows is cut into pieces that should hold [`MOST_ROWS`] at most. What holds more rows is chosen more
/// often, and what holds none as often as what holds one. The same seed chooses the same.
fn choose(covered: impl Iterator<Item = (Window, u64)>, count: usize, seed: u32) -> Vec<Window> {
    let mut drawn: Vec<(f64, Window)> = covered
        .flat_map(|(window, rows)| {
            let pieces = match rows.div_ceil(MOST_ROWS) {
                0 | 1 => vec![window],
                pieces => window.pieces(pieces),
            };
            let weight = rows as f64 / pieces.len() as f64 + 1.0;
            // The least of such numbers are a sample without replacement, by weight (Efraimidis and Spirakis).
            pieces.into_iter().map(move |piece| (-random(seed, piece).ln() / weight, piece))
        })
        .collect();
    drawn.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    drawn.truncate(count);
    let mut windows: Vec<Window> = drawn.into_iter().map(|(_, window)| window).collect();
    windows.sort_unstable_by_key(|window| window.start());
    windows
}

/// A number above 0 and up to 1 that belongs to the seed and the window.
fn random(seed: u32, window: Window) -> f64 {
    let mut digest = Sha256::new();
    digest.update(seed.to_be_bytes());
    digest.update(window.start().unix().to_be_bytes());
    digest.update(window.end().unix().to_be_bytes());
    let bits = digest.finalize().iter().take(4).fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
    (f64::from(bits) + 1.0) / (f64::from(u32::MAX) + 1.0)
}

/// When the first of the commits was begun for which the seconds of the window were walked; none where a walk is not
/// known any more.
async fn committed_at(lake: &Lake, window: Window) -> Result<Option<BeijingTime>> {
    let mut first: Option<BeijingTime> = None;
    for number in proved_by(lake.state(), window) {
        let walked = lake.manifest(number).await?.filter(|manifest| manifest.walk.is_some());
        let Some(manifest) = walked.filter(|manifest| manifest.kind() != CommitKind::Replay) else { return Ok(None) };
        first = first.into_iter().chain([manifest.created_at]).min();
    }
    Ok(first)
}

/// The numbers of the manifests that say why the seconds of the window are complete.
fn proved_by(state: &LogState, window: Window) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    for (commit, held) in state.touching(window) {
        let Some(live) = state.live().get(&commit) else { continue };
        let elsewhere = live.carried.iter().filter(|range| range.window.overlaps(window));
        numbers.extend(elsewhere.map(|range| range.manifest));
        let carried: Coverage = live.carried.iter().map(|range| range.window).collect();
        let is_own = held.intersect(window).is_some_and(|seconds| !carried.gaps(seconds).is_empty());
        numbers.extend(is_own.then_some(live.number));
    }
    numbers
}

/// What the lake holds of the window, out of every file that may have rows of it. What page files gave has no window of
/// its own.
async fn landed_rows(lake: &Lake, window: Window) -> Result<LandedRows> {
    let specs = table_specs()?;
    let mut landed = LandedRows::of(window);
    for live in lake.state().live().values() {
        for file in &live.files {
            let spec = specs.iter().find(|spec| spec.table.name() == file.table);
            let held = Window::new(file.min_modified, file.max_modified);
            let Some(spec) = spec.filter(|_| held.is_some_and(|held| held.overlaps(window))) else { continue };
            let spec = Arc::clone(spec);
            landed = read_file(lake, file, move |file| {
                for batch in decode_span(file, &spec.modified, window)? {
                    landed.add(spec.table, &batch?)?;
                }
                Ok(landed)
            })
            .await?;
        }
        let may_hold = live.window.is_none_or(|covered| covered.overlaps(window));
        for quarantine in live.quarantine.iter().filter(|_| may_hold) {
            let bytes = lake.read(quarantine).await?;
            String::from_utf8_lossy(&bytes).lines().try_for_each(|line| landed.add_quarantined(line))?;
        }
    }
    Ok(landed)
}

/// Walks the window, all of it, and compares what it holds.
async fn compare_window(
    source: &Source,
    walker: &Walker<'_, Source>,
    window: Window,
    landed: LandedRows,
) -> Result<Comparison> {
    let walk = async |piece, budget: &_| Ok(walker.walk(piece, budget).await);
    let Whole { mut pages, selected, .. } =
        walk_whole(window, window, source.extra_seconds(), AtInterrupt::End, walk).await?;
    let decoder = source.decoder().clone();
    blocking(move || {
        pages.iter_mut().try_for_each(|page: &mut BufferedPage| page.restore(&decoder))?;
        compare(&assemble(pages, &selected)?, &landed)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::land::testing::{binding, covering};
    use crate::log::{CarriedRange, Manifest};

    fn window(first: i64, last: i64) -> Window {
        let at = |second| BeijingTime::from_unix(1_790_000_000 + second).expect("a time");
        Window::new(at(first), at(last)).expect("a window")
    }

    #[test]
    fn a_seed_chooses_the_same_windows_and_no_window_twice() {
        let covered = || (0..50).map(|n| (window(n * 100, n * 100 + 99), 10));
        let chosen = choose(covered(), 8, 7);
        assert_eq!(chosen, choose(covered().collect::<Vec<_>>().into_iter().rev(), 8, 7));
        assert!(chosen.len() == 8 && chosen.windows(2).all(|pair| pair[0].end() < pair[1].start()));
        assert_ne!(chosen, choose(covered(), 8, 8));
        assert_eq!(choose(covered(), 100, 1).len(), 50, "there are no more");
    }

    #[test]
    fn large_windows_are_cut_and_full_ones_come_first() {
        let large = window(0, 99_999);
        let chosen = choose([(large, 10_000)].into_iter(), 100, 1);
        assert_eq!((chosen.len(), chosen[0].seconds()), (10, 10_000));
        let full = window(0, 9);
        let covered = || (1..100).map(|n| (window(n * 10, n * 10 + 9), 0)).chain([(full, 900)]);
        let times = (0..200).filter(|seed| choose(covered(), 1, *seed) == [full]).count();
        assert!((150..200).contains(&times), "{times} of 200, nine in ten are expected");
    }

    #[test]
    fn a_carried_second_was_walked_for_the_manifest_that_proved_it() {
        let mut state = LogState::new(binding().name);
        let add = |state: &mut LogState, manifest: &Manifest| {
            state.apply(manifest, crate::log::Sha256::of(b"x")).expect("follows");
            manifest.id
        };
        let sync = covering(&state, CommitKind::Sync, window(0, 9));
        let removes = vec![add(&mut state, &sync)];
        let mut refresh = Manifest { removes, ..covering(&state, CommitKind::Refresh, window(0, 9)) };
        refresh.commits[0].carried = vec![CarriedRange { window: window(0, 4), manifest: 1 }];
        add(&mut state, &refresh);
        let next = covering(&state, CommitKind::Sync, window(10, 19));
        add(&mut state, &next);
        for (first, last, numbers) in [(0, 4, vec![1]), (5, 9, vec![2]), (4, 5, vec![1, 2]), (8, 30, vec![2, 3])] {
            assert_eq!(proved_by(&state, window(first, last)).into_iter().collect::<Vec<_>>(), numbers);
        }
    }

    #[test]
    fn lateness_is_bounded_by_the_reading_and_the_present() {
        let at = |second| window(second, second).start();
        let mut audited = WindowAudit {
            window: window(0, 99),
            committed_at: Some(at(500)),
            walked_at: at(10_000),
            outcome: Ok(Comparison::default()),
        };
        let read = |second: i64| Comparison { first_read_micros: Some(at(second).micros()), ..Comparison::default() };
        assert_eq!(audited.lateness(&Comparison::default(), at(50)), (450, 9_950));
        assert_eq!(audited.lateness(&read(480), at(50)), (430, 9_950));
        assert_eq!(audited.lateness(&read(900), at(50)), (450, 9_950), "rows that were read again later");
        audited.committed_at = None;
        assert_eq!(audited.lateness(&Comparison::default(), at(50)), (0, 9_950), "nothing is known");
        let behind = |first: i64| Comparison { first_modified_micros: Some(at(first).micros()), ..read(480) };
        assert_eq!(audited.lateness(&behind(40), at(50)), (430, 9_950));
        assert_eq!(audited.lateness(&behind(60), at(50)), (0, 9_950), "rows before the first may be older");
    }
}
