//! The state as data: what a checkpoint holds of it. What follows from the rest (coverage, the windows in order) is not
//! written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::standing::DeadId;
use super::{LastManifest, LiveCommit, LogState, foreign_ids};
use crate::format::FormatVersion;
use crate::id::CommitId;
use crate::log::layout::Layout;
use crate::log::manifest::{Binding, Commit, Previous, check_names};
use crate::log::stop_ledger::Stops;
use crate::time::BeijingTime;

/// The state of a log that is not empty.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckpointState<'a> {
    account: Cow<'a, Binding>,
    /// The newest manifest.
    pub(crate) newest: Previous,
    /// The highest version of its manifests.
    log_format: FormatVersion,
    pub(crate) last: Cow<'a, LastManifest>,
    wanted_from: Option<BeijingTime>,
    live: Cow<'a, BTreeMap<CommitId, LiveCommit>>,
    dead: Cow<'a, BTreeMap<CommitId, DeadId>>,
    stops: Cow<'a, Stops>,
}

impl<'a> CheckpointState<'a> {
    /// The state of `state`; none while the log is empty. The same state always gives the same snapshot.
    pub(crate) fn of(state: &'a LogState) -> Option<Self> {
        Some(Self {
            account: Cow::Borrowed(state.binding.as_ref()?),
            newest: state.newest?,
            log_format: state.format,
            last: Cow::Borrowed(state.last.as_ref()?),
            wanted_from: state.wanted_from,
            live: Cow::Borrowed(&state.live),
            dead: Cow::Borrowed(state.standings.dead()),
            stops: Cow::Borrowed(&state.stops),
        })
    }
}

impl LogState {
    /// The state that a snapshot was taken of, or what is wrong with it. Names are checked, because deleting goes by
    /// them.
    pub(crate) fn restore(snapshot: CheckpointState<'_>) -> std::result::Result<Self, String> {
        let CheckpointState { account, newest, log_format, last, wanted_from, live, dead, stops } = snapshot;
        let (account, last, live) = (account.into_owned(), last.into_owned(), live.into_owned());
        let is_later = live.values().any(|held| held.number > newest.number);
        if last.number != newest.number || is_later || dead.values().any(|dead| dead.number > newest.number) {
            return Err("it knows manifests after the one that it ends with".to_owned());
        }
        if !FormatVersion::LAKE.reads(log_format) {
            return Err(format!("it is of a log of format {log_format}"));
        }
        let layout = Layout::new(account.name.clone());
        let mut state = Self::new(account.name.clone());
        for (id, held) in &live {
            check_names(&layout, &named(*id, held))?;
            for claim in held.claims() {
                if let Some((_, other)) = state.overlapping(claim).next() {
                    return Err(format!("the windows {other} and {claim} overlap"));
                }
                state.claims.insert(claim.start(), (claim, *id));
            }
            state.standings.live(*id, foreign_ids(&account.name, *id, held.paths()).into_iter());
        }
        // In the order of time, where a window joins the end of the coverage.
        state.coverage = state.claims.values().map(|(window, _)| *window).collect();
        for (id, dead) in dead.into_owned() {
            if live.contains_key(&id) {
                return Err("a commit is live and not live".to_owned());
            }
            state.standings.insert(id, dead);
        }
        Ok(Self {
            binding: Some(account),
            newest: Some(newest),
            format: log_format,
            last: Some(last),
            wanted_from,
            stops: stops.into_owned(),
            live,
            ..state
        })
    }
}

/// A live commit as far as the names of its objects go.
fn named(id: CommitId, live: &LiveCommit) -> Commit {
    Commit {
        id,
        kind: live.kind,
        window: live.window,
        compacted: live.compacted,
        carried: Vec::new(),
        expired: Vec::new(),
        files: live.files.clone(),
        quarantine: live.quarantine.clone(),
        raw: live.raw.clone(),
        results: Vec::new(),
    }
}
