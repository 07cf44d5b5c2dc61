//! What an expire removes and what it keeps, read from the log and from narrow columns of headers.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::open::read_narrow;
use super::{Expired, OpenRequisitions};
use crate::error::{Error, ErrorClass, Result};
use crate::id::CommitId;
use crate::log::{CommitKind, FileEntry, Lake, LiveCommit, Table};
use crate::text::text;
use crate::time::{BeijingTime, Coverage, Month, Window};
use crate::transform::OpenVersions;

/// What is to be done.
pub(super) struct ExpirePlan {
    /// The commits that go, the expire commit before this one among them.
    pub(super) removes: Vec<CommitId>,
    /// The expired ranges, in the order of time.
    pub(super) expired: Vec<Window>,
    /// The versions that stay.
    pub(super) open: Arc<OpenVersions>,
    /// The files in which they stand.
    pub(super) carried: Vec<FileEntry>,
    /// What goes, by month.
    pub(super) months: BTreeMap<Month, Expired>,
    /// What was asked for once and is not covered, and counts as covered from now on.
    pub(super) gaps: Vec<Window>,
}

/// Plans to expire everything before `cutoff`; nothing when that would change nothing.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the cutoff lies behind what the lake covers,
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not
/// answer, [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a committed file is missing or was changed.
pub(super) async fn plan(lake: &Lake, cutoff: BeijingTime, open: OpenRequisitions) -> Result<Option<ExpirePlan>> {
    check_covered(lake, cutoff)?;
    let state = lake.state();
    let is_over = |live: &LiveCommit| live.window.is_some_and(|window| window.end() < cutoff);
    let goes = |live: &LiveCommit| live.kind == CommitKind::Expire || is_over(live);
    let removed: Vec<(CommitId, &LiveCommit)> =
        state.live().iter().filter(|(_, live)| goes(live)).map(|(id, live)| (*id, live)).collect();
    let old = state.expired().map(|(_, live)| live);
    let mut ranges: Coverage = old.into_iter().flat_map(|live| live.expired.iter().copied()).collect();
    Window::new(BeijingTime::FIRST, cutoff.plus_seconds(-1))
        .filter(|range| range.end() < cutoff)
        .into_iter()
        .for_each(|range| ranges.insert(range));
    let expired = ranges.windows().to_vec();
    let asked = state.start().and_then(|start| Window::new(start, cutoff.plus_seconds(-1)));
    let gaps = asked.map(|asked| lake.coverage().gaps(asked)).unwrap_or_default();

    let kept = match open {
        OpenRequisitions::Keep => latest_open(lake, &removed).await?,
        OpenRequisitions::Drop => OpenVersions::default(),
    };
    let stays = kept.iter().count() as u64;
    let changes = |old: &LiveCommit| old.expired != expired || old.rows(Table::PurchaseApply) != stays;
    if !removed.iter().any(|(_, live)| is_over(live)) && !old.is_some_and(changes) && gaps.is_empty() {
        return Ok(None);
    }
    let mut months = count(&removed);
    for version in kept.iter() {
        let month = months.entry(BeijingTime::from_micros(version.micros).month()).or_default();
        month.open += 1;
        month.headers = month.headers.saturating_sub(1);
        month.details = month.details.saturating_sub(version.details);
    }
    Ok(Some(ExpirePlan {
        removes: removed.iter().map(|(id, _)| *id).collect(),
        expired,
        carried: carried(&removed, &kept),
        open: Arc::new(kept),
        months,
        gaps,
    }))
}

/// The clock of this machine says which months are over, and it may be wrong. What the ERP was never asked for does
/// not expire behind the end of what was.
fn check_covered(lake: &Lake, cutoff: BeijingTime) -> Result<()> {
    match lake.coverage().span().map(Window::end) {
        Some(end) if cutoff > end.plus_seconds(1) => {
            Err(Error::new(ErrorClass::RangeWrong, text!("the lake is covered until {end} only", end))
                .with("account", lake.account())
                .hint(text!(
                    "name {month} or an earlier month as the first to stay, or run `wdt-lake sync` first",
                    month = end.month()
                )))
        }
        _ => Ok(()),
    }
}

/// The versions in these commits that are open, and the latest of their numbers in the whole committed set. Places
/// count the commits.
async fn latest_open(lake: &Lake, removed: &[(CommitId, &LiveCommit)]) -> Result<OpenVersions> {
    let headers = |live: &LiveCommit| {
        let own = live.files.iter().filter(|file| file.table == Table::PurchaseApply.name());
        own.cloned().collect::<Vec<_>>()
    };
    let candidates = removed.iter().enumerate();
    let candidates: Vec<(usize, FileEntry)> =
        candidates.flat_map(|(place, (_, live))| headers(live).into_iter().map(move |file| (place, file))).collect();
    let open = OpenVersions::default();
    let take_in = |open: &mut OpenVersions, headers: &_, place| open.take_in(headers, place);
    let open = read_narrow(lake, candidates, &OpenVersions::CANDIDATE_COLUMNS, open, take_in).await?;
    let Some(oldest) = open.oldest().map(BeijingTime::from_micros) else { return Ok(open) };
    let all = lake.state().live().values().flat_map(headers);
    let later = all.filter(|file| file.max_modified >= oldest).map(|file| (0, file)).collect();
    let outdate = |open: &mut OpenVersions, headers: &_, _| open.outdate(headers);
    read_narrow(lake, later, &OpenVersions::AGE_COLUMNS, open, outdate).await
}

/// The files of the commits in which versions that stay stand, as far as they are of the months of these.
fn carried(removed: &[(CommitId, &LiveCommit)], kept: &OpenVersions) -> Vec<FileEntry> {
    let places: BTreeSet<(usize, Month)> =
        kept.iter().map(|version| (version.place, BeijingTime::from_micros(version.micros).month())).collect();
    let files = removed.iter().enumerate().flat_map(|(place, (_, live))| {
        live.files
            .iter()
            .filter(move |file| file.min_modified.month() == file.max_modified.month())
            .map(move |file| (place, file))
    });
    files
        .filter(|(place, file)| places.contains(&(*place, file.min_modified.month())))
        .map(|(_, file)| file.clone())
        .collect()
}

/// What stands in commits, by month. An object that several of them name counts once.
fn count(removed: &[(CommitId, &LiveCommit)]) -> BTreeMap<Month, Expired> {
    let mut months: BTreeMap<Month, Expired> = BTreeMap::new();
    let mut seen = HashSet::new();
    for (_, live) in removed {
        for file in &live.files {
            let month = months.entry(file.min_modified.month()).or_default();
            match Table::from_name(&file.table) {
                Some(Table::PurchaseApply) => month.headers += file.rows,
                Some(Table::PurchaseApplyDetail) => month.details += file.rows,
                _ => {}
            }
            month.files += 1;
            month.bytes += file.bytes;
        }
        let Some(window) = live.window else { continue };
        let month = months.entry(window.start().month()).or_default();
        for held in live.quarantine.iter().filter(|held| seen.insert(held.path.as_str())) {
            month.quarantined += held.rows;
        }
        for raw in live.raw.iter().filter(|raw| seen.insert(raw.path.as_str())) {
            month.responses += raw.responses;
        }
    }
    months
}
