//! Stop references: the gateway as the [`Erp`] of [`crate::stop`], and one run of it over the lake of an account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::ask::{ping, query_number, rows_of};
use super::latest::{Known, knows_present};
use super::lease_session::{HeldLease, LeaseSession, Left};
use super::publish::Publication;
use super::{Interrupt, no_merge, requester, tidy_up, writer_options};
use crate::config::{AccountSettings, StopTerms};
use crate::edition::Edition;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{self, CallPolicy, Gateway, NotRead, Once};
use crate::id::RunId;
use crate::land::{LeaseWait, Writer};
use crate::log::{Lake, Requester};
use crate::requisition::ApplyId;
use crate::stop::{
    EarlierStops, Erp, InLake, Numbers, Observation, Reply, ServerTime, StopAnswer, StopPlan, StopReport, Stopper,
};
use crate::store::{Store, Writers};
use crate::time::{BeijingTime, Clock};
use crate::transform::{
    LandedDetails, LandedHeader, LandedHeaders, Page, PageDecoder, WindowRows, assemble, stop_spec,
};

/// How stops are made.
#[derive(Clone, Debug)]
pub struct StopOptions {
    /// Rate limit and retries of the calls.
    pub calls: CallPolicy,
    /// How long a call that the gateway let in may still take until it has its effect.
    pub margin: Duration,
    /// Who asks for them, for the record.
    pub by: Requester,
    /// Why, for the record.
    pub reason: Option<String>,
    /// What the account lets be stopped.
    pub terms: StopTerms,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self {
            calls: CallPolicy::default(),
            margin: Duration::from_secs(180),
            by: requester::of_this_process(),
            reason: None,
            terms: StopTerms::default(),
        }
    }
}

/// Whether the vendor offers an account the method.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when it does not.
pub(crate) fn check_can_stop(account: &AccountSettings) -> Result<()> {
    if account.edition == Edition::Flagship { Ok(()) } else { Err(gateway::no_stop_method()) }
}

/// How much the lake's word counts before a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LakeWord {
    /// What the lake does not know, or does not know as partly referenced, is refused beforehand, where the lake knows
    /// the present.
    Counts,
    /// The ERP decides.
    Ignored,
}

/// What a stop of `numbers` would do, by the log and by what the lake knows of them.
pub(crate) fn plan_stops(
    numbers: &Numbers,
    lake: Option<&Lake>,
    earlier: &EarlierStops,
    known: &BTreeMap<String, Vec<Known>>,
    word: LakeWord,
    now: BeijingTime,
) -> StopPlan {
    let is_heard = word == LakeWord::Counts && lake.is_some_and(|lake| knows_present(lake, now));
    let in_lake = |number: &str| match known.get(number) {
        _ if !is_heard => None,
        None => Some(InLake::Unknown),
        // A stop names the number alone: one of several that share it is enough to ask the ERP.
        Some(versions) if versions.iter().any(Known::is_partly_referenced) => Some(InLake::PartlyReferenced),
        Some(_) => Some(InLake::OtherStatus),
    };
    StopPlan::of(numbers.list(), earlier, in_lake)
}

/// Stops requisitions of one account, and settles what earlier runs left open. No lease is held: a stop does not wait
/// for a sync, and the log keeps two stops of one number apart. Only where one run at a time may write, it is held like
/// by any other.
///
/// # Errors
/// What keeps the run from its first call: usage, an unavailable lake. Later failures are part of the report.
pub async fn stop(
    account: &AccountSettings,
    store: Store,
    numbers: &Numbers,
    options: &StopOptions,
    clock: Arc<dyn Clock>,
) -> Result<(RunId, StopReport)> {
    check_can_stop(account)?;
    let run = RunId::generate();
    let span = tracing::error_span!("run", account = %account.name, %run);
    let report = Box::pin(stop_in(run, account, store, numbers, options, clock)).instrument(span).await?;
    Ok((run, report))
}

async fn stop_in(
    run: RunId,
    account: &AccountSettings,
    store: Store,
    numbers: &Numbers,
    options: &StopOptions,
    clock: Arc<dyn Clock>,
) -> Result<StopReport> {
    let erp = Called {
        gateway: Gateway::new(account, &options.calls, Arc::clone(&clock))?,
        decoder: Arc::new(PageDecoder::new(account.edition, run)?),
        edition: account.edition,
        clock: Arc::clone(&clock),
    };
    let writer = Writer::open(
        store.clone(),
        writer_options(account, &Publication::of(run, Arc::clone(&clock))?, None, no_merge(), Arc::clone(&clock))?,
    )
    .await?;
    let never = Interrupt::never();
    let lease = match store.writers() {
        Writers::Many => {
            Box::pin(tidy_up(&writer, store, Arc::clone(&clock), None)).await?;
            None
        }
        Writers::Single => {
            let session = LeaseSession { store, account: account.name.clone(), run, clock: Arc::clone(&clock) };
            session.begin(LeaseWait::No, &never).await?
        }
    };
    let margin_seconds = i64::try_from(options.margin.as_secs()).unwrap_or(i64::MAX);
    let stopper = Stopper {
        erp: &erp,
        writer: &writer,
        spec: stop_spec()?,
        run,
        by: options.by.clone(),
        reason: options.reason.clone(),
        terms: options.terms,
        margin_seconds,
    };
    let report = match lease {
        None => stopper.stop(numbers.list()).await,
        Some(lease) => {
            let swept = async |lease: &HeldLease| {
                lease.sweep(&writer).await?;
                Ok(stopper.stop(numbers.list()).await)
            };
            let left = |_: &StopReport| Left { is_clean: true, ..Left::default() };
            lease.during(&never, &writer, swept, left).await?
        }
    };
    for warning in erp.gateway.clock_warnings() {
        tracing::warn!("{warning}");
    }
    Ok(report)
}

/// The ERP behind a gateway.
struct Called {
    gateway: Gateway,
    decoder: Arc<PageDecoder>,
    edition: Edition,
    clock: Arc<dyn Clock>,
}

impl Erp for Called {
    async fn ping(&self) -> Result<ServerTime> {
        ping(&self.gateway, &self.decoder, &*self.clock).await?;
        match (self.gateway.reached(), self.gateway.fresh_timestamp()) {
            (Some(reached), Some(timestamp)) => Ok(ServerTime { reached, timestamp }),
            _ => Err(Error::internal("a call was answered and its timestamp not accepted")),
        }
    }

    async fn stop(&self, numbers: &[String], requested_at: BeijingTime) -> Reply {
        let called = self.gateway.stop(numbers, requested_at, |answer, hide| {
            StopAnswer::read(answer.body()).map(|read| read.with_errors(hide)).map_err(NotRead::Unreadable)
        });
        match called.await {
            Ok(Once::Answered(answer)) => Reply::Answered(answer),
            Ok(Once::Refused { code, message, error }) => Reply::Refused { code, message, error },
            Ok(Once::Unknown(error)) | Err(error) => Reply::Unknown(error),
        }
    }

    async fn query(&self, number: &str) -> Result<Option<Observation>> {
        match query_number(&self.gateway, &self.decoder, number).await {
            Ok(page) => observation(&page, number, self.edition),
            // A client of the ERP that is too old to be asked for a number, perhaps: nothing is seen, and others may go
            // on.
            Err(error) if error.kind() == ErrorKind::GatewayRefused => {
                tracing::warn!(number, %error, "the query of a number was refused");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// What the rows of `number` show, and only those: the answer may hold others, such as those of numbers that begin like
/// it.
///
/// Of each requisition that has the number its latest rows count. Where they say different things, nobody knows what
/// the number is now, nor where one of them cannot be read: then nothing is seen.
fn observation(page: &Page, number: &str, edition: Edition) -> Result<Option<Observation>> {
    let mut latest: BTreeMap<Option<ApplyId>, (BeijingTime, Vec<Observation>)> = BTreeMap::new();
    for row in rows_of(page, number) {
        // A row by itself: its details are told apart from those of another row of the same number and second.
        let rows = assemble([page], &[(0, row)])?;
        let headers = LandedHeaders::of(&rows.headers).filter(|headers| headers.rows() > 0);
        let Some(header) = headers.and_then(|headers| headers.header(0)) else { return Ok(None) };
        let seen = observed(&header, &rows, edition);
        let (modified, all) = latest.entry(header.apply_id).or_insert((header.modified, Vec::new()));
        if header.modified > *modified {
            (*modified, *all) = (header.modified, Vec::new());
        }
        if header.modified == *modified {
            all.push(seen);
        }
    }
    let mut all = latest.into_values().flat_map(|(_, seen)| seen);
    let Some(first) = all.next() else { return Ok(None) };
    let says = |seen: Observation| (seen.status, seen.open_scaled > 0);
    Ok(all.all(|other| says(other) == says(first)).then_some(first))
}

/// What one row shows, alone in `rows` with its details.
fn observed(header: &LandedHeader, rows: &WindowRows, edition: Edition) -> Observation {
    let of_details = || {
        let details = LandedDetails::of(&rows.details)?;
        let quantities = (0..details.rows()).map(|detail| details.quantities(detail));
        Some(quantities.map(|(real, referenced)| real - referenced).sum())
    };
    Observation {
        status: header.status,
        status_name: edition.status_name(header.status),
        open_scaled: header.open_scaled.or_else(of_details).unwrap_or(0),
    }
}
