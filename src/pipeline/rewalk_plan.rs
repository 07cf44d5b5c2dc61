//! What a rewalk is made of: which seconds of a range are live, which have expired, and what is damaged.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::report::Damage;
use super::{SyncOptions, refresh};
use crate::error::{ErrorKind, Result};
use crate::log::{FileEntry, Lake, LiveCommit, ObjectEntry, Table};
use crate::time::{Coverage, Month, Window};

/// A part of a rewalk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// What it is must be found out.
    Unplanned(Window),
    /// Seconds of commits that are whole.
    Live(Window),
    /// Expired seconds, and the damaged files of the expire commit: all that these held is walked in this run.
    Expired(Window, Arc<[String]>),
    /// The window of a commit of which an object is damaged.
    Damaged(Window),
}

impl Piece {
    pub(super) fn window(&self) -> Window {
        match self {
            Self::Unplanned(window) | Self::Live(window) | Self::Expired(window, _) | Self::Damaged(window) => *window,
        }
    }
}

/// What a rewalk is made of.
#[derive(Debug, Default)]
pub(super) struct RewalkPlan {
    /// In the order of time.
    pub(super) pieces: Vec<Piece>,
    pub(super) damage: Vec<Damage>,
}

/// Plans to walk what is covered of `range`. Every object of the commits in it is read, to find damage.
///
/// # Errors
/// [`ErrorKind::Lake`] when the store does not answer.
pub(super) async fn plan(lake: &Lake, range: Window, options: &SyncOptions) -> Result<RewalkPlan> {
    let mut planned = RewalkPlan::default();
    let mut whole: Coverage = std::iter::once(range).collect();
    for (id, window) in lake.state().touching(range) {
        let Some(live) = lake.state().live().get(&id) else { continue };
        let objects = damaged_objects(lake, live).await?;
        if objects.is_empty() {
            continue;
        }
        whole.remove(window);
        let rows = [Table::PurchaseApply, Table::PurchaseApplyDetail].map(|table| live.rows(table));
        planned.damage.push(Damage { objects, window, rows, read: [0; 2] });
        planned.pieces.push(Piece::Damaged(window));
    }
    if let Some((_, live)) = lake.state().expired() {
        plan_expired(lake, live, range, &mut planned).await?;
    }
    planned.pieces.extend(refresh::pieces(lake, &whole, options.max_rows()).into_iter().map(Piece::Live));
    planned.pieces.sort_by_key(Piece::window);
    Ok(planned)
}

/// Adds the expired seconds of `range`. Where a file of what is left of a month is damaged, the seconds of all files of
/// that month are added, whether they lie in the range or not: what is left of other months moves with the commit, and
/// these files cannot be read. Header and details of a version may stand in several of them.
async fn plan_expired(lake: &Lake, live: &LiveCommit, range: Window, planned: &mut RewalkPlan) -> Result<()> {
    let expired = |window: Window| live.expired.iter().filter_map(move |range| range.intersect(window));
    let mut wanted: Coverage = expired(range).collect();
    if wanted.windows().is_empty() {
        return Ok(());
    }
    let mut months: BTreeMap<Month, Vec<&FileEntry>> = BTreeMap::new();
    for file in &live.files {
        months.entry(file.min_modified.month()).or_default().push(file);
    }
    let mut unread = Vec::new();
    for files in months.values() {
        let spans = files.iter().filter_map(|file| Window::new(file.min_modified, file.max_modified));
        let Some(span) = spans.reduce(Window::hull) else { continue };
        let mut objects = Vec::new();
        for file in files {
            objects.extend(damaged(lake, (*file).into()).await?);
        }
        if objects.is_empty() {
            continue;
        }
        expired(span).for_each(|window| wanted.insert(window));
        let rows = |table: Table| files.iter().filter(|file| file.table == table.name()).map(|file| file.rows).sum();
        let rows = [Table::PurchaseApply, Table::PurchaseApplyDetail].map(rows);
        unread.extend(files.iter().map(|file| file.path.clone()));
        planned.damage.push(Damage { objects, window: span, rows, read: [0; 2] });
    }
    let unread: Arc<[String]> = unread.into();
    let pieces = wanted.windows().iter().flat_map(|window| refresh::months(*window));
    planned.pieces.extend(pieces.map(|window| Piece::Expired(window, Arc::clone(&unread))));
    Ok(())
}

/// The objects of a commit that are not what was committed.
async fn damaged_objects(lake: &Lake, live: &LiveCommit) -> Result<Vec<String>> {
    let files = live.files.iter().map(ObjectEntry::from);
    let others = live.quarantine.iter().map(ObjectEntry::from).chain(live.raw.iter().map(ObjectEntry::from));
    let mut found = Vec::new();
    for entry in files.chain(others) {
        found.extend(damaged(lake, entry).await?);
    }
    Ok(found)
}

/// The name of an object when it is not what was committed.
async fn damaged(lake: &Lake, entry: ObjectEntry<'_>) -> Result<Option<String>> {
    match lake.fetch(entry).await {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::Defect => Ok(Some(entry.path.to_owned())),
        Err(error) => Err(error),
    }
}
