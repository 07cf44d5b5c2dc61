//! What became of earlier stops. The log knows those that are pending and forgets the settled ones after a while; the
//! rows of `stop_reference` tell these for ever.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::log::stop_ledger::StopEvidence;
use crate::log::{Lake, PendingStop, StopOutcome, Table};
use crate::parquet::decode;
use crate::time::BeijingTime;
use crate::transform::landed_stops;
use crate::worker::blocking;

/// A number whose last call has stopped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EarlierStop {
    /// The timestamp of that call.
    pub requested_at: BeijingTime,
    /// How that is known.
    pub evidence: Option<StopEvidence>,
}

/// Earlier stops of some numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EarlierStops {
    /// All whose outcome is not known yet, by number.
    pub pending: BTreeMap<String, PendingStop>,
    /// Those of the numbers whose last call has stopped them.
    pub stopped: BTreeMap<String, EarlierStop>,
}

impl EarlierStops {
    /// What the log and the rows of a lake tell of `numbers`.
    ///
    /// # Errors
    /// As [`stopped_before`].
    pub(crate) async fn of(lake: &Lake, numbers: &[String]) -> Result<Self> {
        let pending = lake.state().stops().pending().clone();
        Ok(Self { pending, stopped: stopped_before(lake, numbers).await? })
    }
}

/// Which of `numbers` their last settled call has stopped, and how that is known.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a committed file is missing or was changed.
pub(super) async fn stopped_before(lake: &Lake, numbers: &[String]) -> Result<BTreeMap<String, EarlierStop>> {
    let numbers: BTreeSet<&str> = numbers.iter().map(String::as_str).collect();
    let mut last: BTreeMap<String, (BeijingTime, Option<EarlierStop>)> = BTreeMap::new();
    for file in lake.files(Table::StopReference) {
        let bytes = lake.read(&file.entry).await?;
        let batches = blocking(move || decode(bytes)).await.map_err(|error: Error| error.with("object", &file.uri))?;
        for stop in batches.iter().flat_map(landed_stops).filter(|stop| numbers.contains(stop.number)) {
            let is_stopped = stop.outcome == StopOutcome::Stopped.name();
            let evidence = stop.evidence.and_then(StopEvidence::from_name);
            let before = is_stopped.then_some(EarlierStop { requested_at: stop.requested_at, evidence });
            let held = last.entry(stop.number.to_owned()).or_insert((stop.requested_at, None));
            // An attempt that was unknown first and known later has two rows with one time.
            if stop.requested_at > held.0 {
                *held = (stop.requested_at, before);
            } else if stop.requested_at == held.0 {
                held.1 = held.1.or(before);
            }
        }
    }
    Ok(last.into_iter().filter_map(|(number, (_, before))| Some((number, before?))).collect())
}
