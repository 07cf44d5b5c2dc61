//! The rules that hold within one manifest; how it may follow those before it is for the
//! [log state](crate::log::state) to say.

use super::{Commit, CommitKind, Manifest, check_names, stops};
use crate::log::layout::{Layout, Name, Table};
use crate::proof::Rule;
use crate::time::Window;

type Checked = Result<(), String>;

/// What is wrong with a manifest in itself, if something is.
pub(super) fn check(manifest: &Manifest) -> Checked {
    let Manifest { commits, .. } = manifest;
    if manifest.previous.map_or(0, |previous| previous.number) + 1 != manifest.number {
        return Err("a number that does not follow".into());
    }
    if commits.first().is_some_and(|first| first.id != manifest.id) {
        return Err("an id that is not that of its first commit".into());
    }
    if manifest.walk.as_ref().is_some_and(|walk| walk.proof.rule == Rule::Other) {
        return Err("a rule that this format does not have".into());
    }
    if manifest.keep_until.is_some() && manifest.removes.is_empty() && manifest.fences.is_empty() {
        return Err("a time to keep nothing until".into());
    }
    if commits.is_empty() {
        check_without_commits(manifest)?;
    } else if manifest.intent.is_some() || !manifest.fences.is_empty() {
        return Err("a manifest that commits, and fences or intends".into());
    }
    let layout = Layout::new(manifest.account.name.clone());
    for commit in commits {
        let fits = commit.kind == manifest.kind()
            || (manifest.kind() == CommitKind::Rewalk && commit.kind == CommitKind::Expire);
        if !fits {
            return Err("commits of kinds that do not go together".into());
        }
        check_kind(manifest, commit)?;
        check_names(&layout, commit)?;
        check_files(&layout, commit)?;
    }
    stops::check(manifest)
}

/// A manifest without commits fences, or intends a stop, or says when a run was told to begin.
fn check_without_commits(manifest: &Manifest) -> Checked {
    let does = [!manifest.fences.is_empty(), manifest.intent.is_some()].into_iter().filter(|does| *does).count();
    let is_start = does == 0 && manifest.wanted_from.is_some();
    if manifest.walk.is_some() || !manifest.removes.is_empty() || (does != 1 && !is_start) {
        return Err("a manifest without commits that does more or less than fence, intend, or say a start".into());
    }
    Ok(())
}

/// Only what its kind may hold, and all that it must.
fn check_kind(manifest: &Manifest, commit: &Commit) -> Checked {
    let (walk, window, removes) = (manifest.walk.as_ref(), commit.window, !manifest.removes.is_empty());
    let is_alone = manifest.commits.len() == 1;
    let fits = match commit.kind {
        CommitKind::Sync => is_alone && walk.map(|walk| walk.window) == window && window.is_some() && !removes,
        CommitKind::Replay => is_alone && walk.map(|walk| walk.window) == window,
        CommitKind::Refresh | CommitKind::Rewalk => {
            let walked = walk.zip(window).and_then(|(walk, window)| walk.window.intersect(window));
            let takes_a_place = removes || commit.kind == CommitKind::Rewalk;
            takes_a_place && walked.is_some_and(|walked| is_divided(window, walked, commit))
        }
        CommitKind::Compaction => walk.is_none() && removes,
        CommitKind::Expire => window.is_none() && !commit.expired.is_empty(),
        CommitKind::StopResult => is_alone && walk.is_none() && window.is_none() && !removes,
        CommitKind::Fence | CommitKind::Start | CommitKind::StopIntent | CommitKind::Other => false,
    };
    if !fits {
        return Err(format!("a commit of kind {} that says more or less than such a one", commit.kind.name()));
    }
    let may_carry = matches!(commit.kind, CommitKind::Refresh | CommitKind::Rewalk);
    if (!may_carry && !commit.carried.is_empty()) || (commit.kind != CommitKind::Expire && !commit.expired.is_empty()) {
        return Err(format!("ranges that a commit of kind {} does not have", commit.kind.name()));
    }
    if commit.compacted > 0 && !may_carry && commit.kind != CommitKind::Compaction {
        return Err(format!("commits that were put together in one of kind {}", commit.kind.name()));
    }
    if !commit.raw.is_empty() && window.is_none() {
        return Err("responses of a commit without a window".into());
    }
    let is_ascending = commit.expired.windows(2).all(|pair| pair[0].end() < pair[1].start());
    is_ascending.then_some(()).ok_or_else(|| "expired ranges that overlap, or are not in the order of time".into())
}

/// Whether the walked part of a window and the carried ones join to all of it, without gap or overlap.
fn is_divided(window: Option<Window>, walked: Window, commit: &Commit) -> bool {
    let Some(window) = window else { return false };
    let mut parts: Vec<Window> = commit.carried.iter().map(|range| range.window).chain([walked]).collect();
    parts.sort_unstable();
    let joins = parts.windows(2).all(|pair| pair[0].end().plus_seconds(1) == pair[1].start());
    let hull = parts.first().zip(parts.last()).map(|(first, last)| (first.start(), last.end()));
    joins && hull == Some((window.start(), window.end()))
}

fn check_files(layout: &Layout, commit: &Commit) -> Checked {
    for file in &commit.files {
        let span = match layout.parse(&file.path) {
            Some(Name::Data { span, .. }) => span.or(commit.window),
            _ => None,
        };
        if file.rows == 0 {
            return Err(format!("`{}` holds no rows", file.path));
        }
        if span.is_some_and(|span| !span.contains(file.min_modified) || !span.contains(file.max_modified)) {
            return Err(format!("`{}` holds rows outside its span", file.path));
        }
    }
    let is_of_stops = |table: &String| *table == Table::StopReference.name();
    let of_stops = commit.files.iter().filter(|file| is_of_stops(&file.table)).count();
    let fits = match commit.kind {
        CommitKind::StopResult => {
            commit.files.len() == 1 && of_stops == 1 && commit.files[0].rows == commit.results.len() as u64
        }
        // Of stops, or of windows.
        CommitKind::Compaction => of_stops == if commit.window.is_none() { commit.files.len() } else { 0 },
        _ => of_stops == 0,
    };
    fits.then_some(()).ok_or_else(|| "a commit with more or less than the files of its kind".into())
}
