//! Which committed windows are walked again, and what they hold.
//!
//! A refresh takes the place of whole commits: the wanted range is widened to the commits that it touches. Neighbours
//! are replaced together, as long as they stay in one Beijing month and are no more than a walk should read, so that
//! many small commits become one.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{Again, SyncOptions};
use crate::error::{Error, Result};
use crate::id::CommitId;
use crate::log::{Lake, LiveCommit, Table};
use crate::parquet::decode;
use crate::time::{BeijingTime, Window};
use crate::transform::ReplacedRows;
use crate::worker::blocking;

/// How many files of replaced commits are read at once.
const READS_AT_ONCE: usize = 4;

/// Commits that are walked again together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replacement {
    /// The union of their windows, which touch one another.
    pub(super) window: Window,
    /// The commits, in the order of time.
    pub(super) removes: Vec<CommitId>,
}

/// A committed window that is to be walked again.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    window: Window,
    commit: CommitId,
    rows: u64,
}

/// What a run replaces, in the order of time.
pub(super) fn plan(lake: &Lake, options: &SyncOptions) -> Vec<Replacement> {
    let since = options
        .lookback
        .zip(lake.coverage().span())
        .map(|(lookback, span)| span.end().plus_seconds(1 - i64::try_from(lookback.as_secs()).unwrap_or(i64::MAX)));
    let is_wanted = |_, window: Window, live: &LiveCommit| {
        let is_recent = since.is_some_and(|since| window.end() >= since);
        let is_quarantined = options.again == Again::Quarantined && !live.quarantine.is_empty();
        is_recent || is_quarantined
    };
    group(candidates(lake, is_wanted), options.max_rows())
}

/// What is left to do of a replacement that another run came before: the commits that are still live.
pub(super) fn plan_again(lake: &Lake, removes: &[CommitId], options: &SyncOptions) -> Vec<Replacement> {
    group(candidates(lake, |commit, _, _| removes.contains(&commit)), options.max_rows())
}

/// The live commits that are wanted, by their first second.
fn candidates(
    lake: &Lake,
    is_wanted: impl Fn(CommitId, Window, &LiveCommit) -> bool,
) -> BTreeMap<BeijingTime, Candidate> {
    let candidate = |(commit, live): (&CommitId, &LiveCommit)| {
        let window = live.window.filter(|window| is_wanted(*commit, *window, live))?;
        let rows = live.rows(Table::PurchaseApply);
        Some((window.start(), Candidate { window, commit: *commit, rows }))
    };
    lake.state().live().iter().filter_map(candidate).collect()
}

/// Joins neighbours that touch, lie in one month, and hold no more than `max_rows` together.
fn group(candidates: BTreeMap<BeijingTime, Candidate>, max_rows: u64) -> Vec<Replacement> {
    let mut groups: Vec<(Replacement, u64)> = Vec::new();
    for Candidate { window, commit, rows } in candidates.into_values() {
        if let Some((group, held)) = groups.last_mut()
            && group.window.end().plus_seconds(1) == window.start()
            && *held + rows <= max_rows
            && let Some(joined) = Window::new(group.window.start(), window.end())
            && joined.split_calendar(30 * 86_400).1.is_none()
        {
            group.window = joined;
            group.removes.push(commit);
            *held += rows;
        } else {
            groups.push((Replacement { window, removes: vec![commit] }, rows));
        }
    }
    groups.into_iter().map(|(group, _)| group).collect()
}

/// Reads what the commits hold. What is damaged is an error: it must not be carried over, nor replaced.
pub(super) async fn replaced_rows(lake: &Lake, commits: &[CommitId]) -> Result<ReplacedRows> {
    let live = commits.iter().filter_map(|commit| lake.state().live().get(commit));
    let mut held = ReplacedRows::default();
    let mut files = Vec::new();
    for commit in live {
        files.extend(commit.files.iter().cloned());
        for quarantine in &commit.quarantine {
            let bytes = lake.read(quarantine).await?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            held.quarantined.extend(text.lines().map(str::to_owned));
        }
    }
    let mut read_files = stream::iter(files)
        .map(|file| async move {
            let bytes = lake.read(&file).await?;
            let batches = blocking(move || decode(bytes)).await.map_err(|error| error.with("path", &file.path))?;
            Ok::<_, Error>((file.table, batches))
        })
        .buffered(READS_AT_ONCE);
    while let Some((table, batches)) = read_files.try_next().await? {
        match Table::from_name(&table) {
            Some(Table::PurchaseApply) => held.headers.extend(batches),
            Some(Table::PurchaseApplyDetail) => held.details.extend(batches),
            _ => {}
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(start: &str, end: &str, rows: u64) -> (BeijingTime, Candidate) {
        let at = |text| BeijingTime::parse(text).expect("a time");
        let window = Window::new(at(start), at(end)).expect("a window");
        (window.start(), Candidate { window, commit: CommitId::generate(), rows })
    }

    #[test]
    fn neighbours_are_replaced_together_within_a_month_and_a_walk() {
        let groups = group(
            [
                candidate("2026-05-30 00:00:00", "2026-05-30 23:59:59", 10),
                candidate("2026-05-31 00:00:00", "2026-05-31 23:59:59", 10),
                candidate("2026-06-01 00:00:00", "2026-06-01 23:59:59", 60),
                candidate("2026-06-02 00:00:00", "2026-06-02 23:59:59", 50),
                candidate("2026-06-04 00:00:00", "2026-06-04 23:59:59", 0),
            ]
            .into(),
            100,
        );
        let shown: Vec<_> = groups.iter().map(|group| (group.window.to_string(), group.removes.len())).collect();
        assert_eq!(
            shown,
            [
                ("2026-05-30 00:00:00 .. 2026-05-31 23:59:59".to_owned(), 2),
                ("2026-06-01 00:00:00 .. 2026-06-01 23:59:59".to_owned(), 1),
                ("2026-06-02 00:00:00 .. 2026-06-02 23:59:59".to_owned(), 1),
                ("2026-06-04 00:00:00 .. 2026-06-04 23:59:59".to_owned(), 1),
            ]
        );
    }
}
