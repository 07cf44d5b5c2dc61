//! Checkpoints against the state that the manifests add up to. Readers believe them, so one that says something else is
//! a defect.

use super::{Defect, RESTORE_LOG};
use crate::error::Result;
use crate::log::checkpoint::{self, InvalidCheckpoint};
use crate::log::read::{self, ManifestNames};
use crate::log::{Layout, LogState};
use crate::store::Store;

/// What to do about a checkpoint.
const DELETE: &str = "delete it: the log is read without it as well";

/// What is wrong with a checkpoint of a log of which the manifests add up to `known`; `None`: they have defects, and
/// nobody knows what they add up to.
pub(super) async fn check(
    store: &Store,
    layout: &Layout,
    held: checkpoint::ListedCheckpoint,
    known: Option<&LogState>,
) -> Result<Option<Defect>> {
    // One that is gone was deleted by a sweep.
    let Some(bytes) = store.get(&held.path(layout)).await? else { return Ok(None) };
    let defect = |what: String| Defect { object: store.uri(&held.path(layout)), what, remedy: DELETE, commit: None };
    Ok(match checkpoint::from_bytes(layout, held, &bytes) {
        Ok(state) if known.is_none_or(|known| *known == state) => None,
        Ok(_) => Some(defect(format!("says something else than the manifests up to number {}", held.number))),
        // It is not used, and the program that wrote it can tell whether it is right.
        Err(InvalidCheckpoint::OtherFormat(_)) => None,
        Err(InvalidCheckpoint::Broken(why)) => Some(defect(format!("cannot be used: {why}"))),
    })
}

/// What is wrong with a checkpoint of a manifest that was not listed. One that was added after the listing is for the
/// next verification.
pub(super) async fn check_beyond(
    store: &Store,
    layout: &Layout,
    held: checkpoint::ListedCheckpoint,
    names: ManifestNames,
) -> Result<Option<Defect>> {
    if read::load(store, layout, names, held.number).await?.is_some() {
        return Ok(None);
    }
    let what = format!("is of manifest {}, which is missing from the commit log", held.number);
    Ok(Some(Defect { object: store.uri(&held.path(layout)), what, remedy: RESTORE_LOG, commit: None }))
}
