//! The names of objects in a manifest. Reading and deleting go by them, so each must be one that the layout gives to
//! the account: nothing else in the store, nor outside of it, is ever touched for a manifest's sake.

use std::collections::BTreeSet;

use super::commit::{Commit, CommitKind, FileEntry, QuarantineEntry, RawEntry};
use crate::id::CommitId;
use crate::log::layout::{Layout, Name};

/// How much of a name that is none is shown.
const SHOWN_CHARS: usize = 200;

/// Every object of a commit, headers first.
pub(crate) fn paths<'a>(
    files: &'a [FileEntry],
    quarantine: &'a [QuarantineEntry],
    raw: &'a [RawEntry],
) -> impl Iterator<Item = &'a str> {
    let files = files.iter().map(|file| file.path.as_str());
    files.chain(quarantine.iter().map(|held| held.path.as_str())).chain(raw.iter().map(|raw| raw.path.as_str()))
}

/// The commit for which an object was written.
pub(crate) fn commit_of(layout: &Layout, path: &str) -> Option<CommitId> {
    layout.parse(path).and_then(Name::commit)
}

/// What is wrong with the names of a commit's objects, if something is: its files were written for it, and its
/// quarantined records and responses for it, or for a commit whose place it takes.
pub(crate) fn check_names(layout: &Layout, commit: &Commit) -> Result<(), String> {
    let is_data = |file: &FileEntry| match layout.parse(&file.path) {
        Some(Name::Data { table, commit: own, .. }) => own == commit.id && table.name() == file.table,
        _ => false,
    };
    let keeps =
        matches!(commit.kind, CommitKind::Refresh | CommitKind::Rewalk | CommitKind::Compaction | CommitKind::Other);
    let is_own = |id: CommitId| keeps || id == commit.id;
    let is_quarantine = |path: &str| matches!(layout.parse(path), Some(Name::Quarantine(id)) if is_own(id));
    let is_raw = |path: &str| matches!(layout.parse(path), Some(Name::Raw(id)) if is_own(id));
    let files = commit.files.iter().filter(|file| !is_data(file)).map(|file| &file.path);
    let quarantine = commit.quarantine.iter().map(|held| &held.path).filter(|path| !is_quarantine(path));
    let raw = commit.raw.iter().map(|raw| &raw.path).filter(|path| !is_raw(path));
    if let Some(path) = files.chain(quarantine).chain(raw).next() {
        // As a literal: what stands there may be anything, of any length, and people read this on a terminal.
        let shown: String = path.chars().take(SHOWN_CHARS).collect();
        return Err(format!("{shown:?} is no file of the commit {} of {}", commit.id, layout.account()));
    }
    let mut seen = BTreeSet::new();
    if !commit.paths().all(|path| seen.insert(path)) {
        return Err(format!("the commit {} names one of its files twice", commit.id));
    }
    Ok(())
}
