//! Requisitions that were stopped so lately that no walk may have reached their new version yet.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::log::{Lake, StopOutcome, Table};
use crate::parquet::decode;
use crate::time::BeijingTime;
use crate::transform::landed_stops;
use crate::worker::blocking;

/// What was stopped after some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecentStops {
    /// How many requisitions.
    pub(crate) requisitions: u64,
    /// When the last of them was requested.
    pub(crate) last: BeijingTime,
}

/// What was stopped after `since`, as far as the rows of a lake tell it; none when nothing was. Only files that reach
/// so far are read.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a committed file is missing or was changed.
pub(crate) async fn stopped_since(lake: &Lake, since: BeijingTime) -> Result<Option<RecentStops>> {
    let (mut numbers, mut last) = (BTreeSet::new(), since);
    for file in lake.files(Table::StopReference).into_iter().filter(|file| file.entry.max_modified > since) {
        let bytes = lake.read(&file.entry).await?;
        let batches = blocking(move || decode(bytes)).await.map_err(|error: Error| error.with("object", &file.uri))?;
        let is_recent = |outcome: &str, at: BeijingTime| outcome == StopOutcome::Stopped.name() && at > since;
        for stop in batches.iter().flat_map(landed_stops).filter(|stop| is_recent(stop.outcome, stop.requested_at)) {
            last = last.max(stop.requested_at);
            numbers.insert(stop.number.to_owned());
        }
    }
    let requisitions = numbers.len() as u64;
    Ok((requisitions > 0).then_some(RecentStops { requisitions, last }))
}
