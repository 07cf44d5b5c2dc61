//! Committed windows walked again, and replaced by what was read together with what the ERP does not return any more.

use std::collections::HashSet;

use super::raw;
use super::refresh::{self, Replacement};
use super::spill::BufferedPage;
use super::window_task::{Task, TaskOutcome, recorded};
use crate::error::{Error, Result};
use crate::extract::budget::Budget;
use crate::extract::pages::{PageRows as _, Pages as _};
use crate::extract::whole::{AtInterrupt, Whole, walk_whole};
use crate::id::CommitId;
use crate::land::{NewCommit, NewFile, NewManifest, Quarantine};
use crate::log::{CommitKind, Walk};
use crate::proof::Proof;
use crate::transform::{Refreshed, assemble, carry_over};
use crate::worker::blocking;

/// Walks the window of committed windows again, all of it, and commits what was read together with what the replaced
/// commits hold and the ERP does not return any more.
pub(super) async fn replace(task: &Task<'_>, Replacement { window, removes }: Replacement) -> Result<TaskOutcome> {
    let begun = task.source.gateway().moment();
    let too_late = || TaskOutcome { is_too_late: true, ..TaskOutcome::default() };
    if task.latest(begun) < window.end() {
        return Ok(too_late());
    }
    let mut records = Vec::new();
    let walk = async |piece, budget: &_| {
        let (outcome, record) = task.walk(piece, budget).await?;
        records.extend(record);
        Ok(outcome)
    };
    let Whole { mut pages, mut selected, proofs, is_interrupted, .. } =
        walk_whole(window, window, task.source.extra_seconds(), AtInterrupt::End, walk).await?;
    if is_interrupted {
        // What the replaced commits hold stays.
        return Ok(TaskOutcome::default());
    }
    if task.latest(begun) < window.end() {
        return Ok(too_late());
    }
    let replaced = match refresh::replaced_rows(&task.writer.view().await, &removes).await {
        Ok(replaced) => replaced,
        Err(error) => return overtaken(task, removes, error).await,
    };
    let decoder = task.source.decoder().clone();
    let (fresh, refreshed, raw, extra) = blocking(move || {
        // A row of the second after a piece lands with the next piece; a record without a readable modified time may
        // have come with both.
        let extra = drop_extra_rows(&pages, &mut selected);
        pages.iter_mut().try_for_each(|page: &mut BufferedPage| page.restore(&decoder))?;
        let fresh = assemble(pages, &selected)?;
        let refreshed = carry_over(&fresh, &replaced)?;
        Ok((fresh, refreshed, raw::join(records, window)?, extra))
    })
    .await?;
    let Refreshed { headers, details, quarantined, carried_headers, carried_quarantined, remarks } = refreshed;
    let mut proof = recorded(Proof::of_pieces(proofs), fresh.headers.num_rows(), fresh.quarantined.len());
    proof.distinct_rows = proof.rows_landed + proof.rows_quarantined + extra;
    proof.rows_carried = carried_headers;
    proof.quarantined_carried = carried_quarantined;
    let files = task.specs.iter().zip([headers, details]);
    let files =
        files.map(|(spec, rows)| NewFile { spec: spec.clone(), span: None, part: None, carried: false, rows: vec![rows].into() });
    let new = NewCommit {
        files: files.collect(),
        quarantine: Quarantine::of_lines(quarantined.into_iter()),
        raw,
        ..NewCommit::of(CommitKind::Refresh, Some(window))
    };
    let new = NewManifest { walk: Some(Walk { window, proof }), commits: vec![new], removes };
    let mut outcome = TaskOutcome::default();
    let first_invalid = fresh.quarantined.first().map(|record| record.message());
    task.commit(new, remarks, first_invalid, &Budget::default(), &mut outcome).await?;
    Ok(outcome)
}

/// What is left to do when another run has replaced some of the same commits meanwhile, and deleted their files; else
/// `error` stands.
async fn overtaken(task: &Task<'_>, removes: Vec<CommitId>, error: Error) -> Result<TaskOutcome> {
    task.writer.follow().await?;
    let lake = task.writer.view().await;
    if removes.iter().all(|commit| lake.state().live().contains_key(commit)) {
        return Err(error);
    }
    Ok(TaskOutcome { replace_again: refresh::plan_again(&lake, &removes, task.options), ..TaskOutcome::default() })
}

/// Of rows that several walks have given: drops those of the second after a piece, which land with the next piece, and
/// all but one of a record without a readable modified time that came with both. Gives how many versions were dropped,
/// which the totals of the walks count.
pub(super) fn drop_extra_rows(pages: &[BufferedPage], selected: &mut Vec<(usize, usize)>) -> u64 {
    let (mut landed, mut extra) = (HashSet::new(), HashSet::new());
    selected.retain(|(page, row)| {
        let identity = &pages[*page].rows()[*row].identity;
        let is_extra = pages[*page].is_extra(*row);
        let is_new = if is_extra { &mut extra } else { &mut landed }.insert(identity);
        is_new && !is_extra
    });
    extra.difference(&landed).count() as u64
}
