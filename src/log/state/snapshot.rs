//! The state as data: what a checkpoint holds of it. What follows from the rest (coverage, the windows in order) is not
//! written.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{LastCommit, LiveCommit, LogState, Standing};
use crate::format::FormatVersion;
use crate::id::CommitId;
use crate::log::layout::Layout;
use crate::log::manifest::{Binding, Previous, check_names};
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
    pub(crate) last: Cow<'a, LastCommit>,
    wanted_from: Option<BeijingTime>,
    live: Cow<'a, BTreeMap<CommitId, LiveCommit>>,
    removed: Vec<CommitId>,
    fenced: Vec<CommitId>,
    #[serde(rename = "unsettled_stops")]
    stops: Cow<'a, Stops>,
}

impl<'a> CheckpointState<'a> {
    /// The state of `state`; none while the log is empty. The same state always gives the same snapshot.
    pub(crate) fn of(state: &'a LogState) -> Option<Self> {
        let with = |standing| {
            let mut ids: Vec<CommitId> =
                state.standing.iter().filter(|(_, held)| **held == standing).map(|(commit, _)| *commit).collect();
            ids.sort_unstable();
            ids
        };
        Some(Self {
            account: Cow::Borrowed(state.binding.as_ref()?),
            newest: state.newest?,
            log_format: state.format,
            last: Cow::Borrowed(state.last.as_ref()?),
            wanted_from: state.wanted_from,
            live: Cow::Borrowed(&state.live),
            removed: with(Standing::Removed),
            fenced: with(Standing::Fenced),
            stops: Cow::Borrowed(&state.stops),
        })
    }
}

impl LogState {
    /// The state that a snapshot was taken of, or what is wrong with it. Names are checked, because deleting goes by
    /// them.
    pub(crate) fn restore(snapshot: CheckpointState<'_>) -> std::result::Result<Self, String> {
        let CheckpointState { account, newest, log_format, last, wanted_from, live, removed, fenced, stops } = snapshot;
        let (account, last, live) = (account.into_owned(), last.into_owned(), live.into_owned());
        if last.number != newest.number || live.get(&last.commit).is_none_or(|held| held.number != newest.number) {
            return Err("it does not know the commit that it ends with".to_owned());
        }
        if !FormatVersion::LAKE.reads(log_format) {
            return Err(format!("it is of a log of format {log_format}"));
        }
        let layout = Layout::new(account.name.clone());
        let mut state = Self::new(account.name.clone());
        for (commit, held) in &live {
            check_names(&layout, *commit, &held.files, held.quarantine.as_ref(), held.raw.as_ref())?;
            let Some(window) = held.window else { continue };
            if let Some((_, other)) = state.overlapping(window).next() {
                return Err(format!("the windows {other} and {window} overlap"));
            }
            state.windows.insert(window.start(), (window, *commit));
        }
        // In the order of time, where a window joins the end of the coverage.
        state.coverage = state.windows.values().map(|(window, _)| *window).collect();
        let standing = |ids: Vec<CommitId>, standing| ids.into_iter().map(move |commit| (commit, standing));
        let alive = live.keys().map(|commit| (*commit, Standing::Live));
        let count = live.len() + removed.len() + fenced.len();
        state.standing = alive
            .chain(standing(removed, Standing::Removed))
            .chain(standing(fenced, Standing::Fenced))
            .collect::<HashMap<_, _>>();
        if state.standing.len() != count {
            return Err("a commit is live and not live".to_owned());
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
