//! Stop references: the gateway as the [`Erp`] of [`crate::stop`], and one run of it over the lake of an account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::latest::{Known, knows_present};
use super::lease_session::LeaseSession;
use super::source::unreadable;
use super::{Interrupt, requester, tidy_up, writer_options};
use crate::config::{AccountSettings, StopTerms};
use crate::edition::Edition;
use crate::error::{Error, ErrorKind, Result};
use crate::gateway::{self, CallPolicy, Gateway, Once, Query, UnreadableCause};
use crate::id::RunId;
use crate::land::{LeaseWait, Writer};
use crate::log::{Lake, Requester};
use crate::stop::{Erp, InLake, Numbers, Observation, Reply, ServerTime, StopAnswer, StopPlan, StopReport, Stopper};
use crate::store::{Store, Writers};
use crate::time::{BeijingTime, Clock, Window};
use crate::transform::{LandedDetails, LandedHeaders, PageContext, PageDecoder, WindowRows, assemble, stop_spec};

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
    /// What the lake does not know, or does not know as partly referenced, is refused beforehand, where the lake knows the present.
    Counts,
    /// The ERP decides.
    Ignored,
}

/// What a stop of `numbers` would do, by the log and by what the lake knows of them.
pub(crate) fn plan_stops(
    numbers: &Numbers,
    lake: Option<&Lake>,
    known: &BTreeMap<String, Vec<Known>>,
    word: LakeWord,
    now: BeijingTime,
) -> StopPlan {
    let stops = lake.map(|lake| lake.state().stops().clone()).unwrap_or_default();
    let is_heard = word == LakeWord::Counts && lake.is_some_and(|lake| knows_present(lake, now));
    let in_lake = |number: &str| match known.get(number) {
        _ if !is_heard => None,
        None => Some(InLake::Unknown),
        // A stop names the number alone: one of several that share it is enough to ask the ERP.
        Some(versions) if versions.iter().any(Known::is_partly_referenced) => Some(InLake::PartlyReferenced),
        Some(_) => Some(InLake::OtherStatus),
    };
    StopPlan::of(numbers.list(), &stops, in_lake)
}

/// Stops requisitions of one account, and settles what earlier runs left open. No lease is held: a stop does not wait for a sync, and the
/// log keeps two stops of one number apart. Only where one run at a time may write, it is held like by any other.
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
    let writer = Writer::open(store.clone(), writer_options(account, run, None, Arc::clone(&clock))?).await?;
    let never = Interrupt::never();
    let lease = match store.writers() {
        Writers::Many => {
            tidy_up(&writer, store, run, Arc::clone(&clock)).await?;
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
            let swept = async {
                writer.sweep().await?;
                Ok(stopper.stop(numbers.list()).await)
            };
            lease.during(&never, swept).await?
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
        let window = Window::second(self.clock.now().plus_seconds(-3_600));
        self.gateway.query(&Query::Page { window, page_no: 0, page_size: 1 }, |_| Ok(())).await?.value.into_read()?;
        match (self.gateway.reached(), self.gateway.fresh_timestamp()) {
            (Some(reached), Some(timestamp)) => Ok(ServerTime { reached, timestamp }),
            _ => Err(Error::internal("a call was answered and its timestamp not accepted")),
        }
    }

    async fn stop(&self, numbers: &[String], requested_at: BeijingTime) -> Reply {
        let called = self.gateway.stop(numbers, requested_at, |answer, hide| {
            StopAnswer::read(answer.body()).map(|read| read.with_errors(hide)).map_err(UnreadableCause)
        });
        match called.await {
            Ok(Once::Answered(answer)) => Reply::Answered(answer),
            Ok(Once::Refused { code, message, error }) => Reply::Refused { code, message, error },
            Ok(Once::Unknown(error)) | Err(error) => Reply::Unknown(error),
        }
    }

    async fn query(&self, number: &str) -> Result<Option<Observation>> {
        let decoder = Arc::clone(&self.decoder);
        let query = Query::Number(number.to_owned());
        let called = self.gateway.query(&query, move |answer| {
            let received_at_micros = answer.received_at_micros;
            let context = PageContext { window: None, page_no: 0, page_size: 0, received_at_micros };
            decoder.decode(answer.body(), &context).map_err(unreadable)
        });
        let page = match called.await {
            Ok(called) => called.value.into_read()?,
            // A client of the ERP that is too old to be asked for a number, perhaps: nothing is seen, and others may go on.
            Err(error) if error.kind() == ErrorKind::GatewayRefused => {
                tracing::warn!(number, %error, "the query of a number was refused");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let selected: Vec<_> = (0..page.rows().len()).map(|row| (0, row)).collect();
        Ok(observation(&assemble([page], &selected)?, number, self.edition))
    }
}

/// The latest of the rows of `number`.
fn observation(rows: &WindowRows, number: &str, edition: Edition) -> Option<Observation> {
    let headers = LandedHeaders::of(&rows.headers)?;
    let own = (0..headers.rows()).filter(|row| headers.number(*row) == number);
    let row = own.max_by_key(|row| headers.modified_micros(*row))?;
    let header = headers.header(row)?;
    let of_details = || {
        let details = LandedDetails::of(&rows.details)?;
        let own = (0..details.rows()).filter(|detail| details.modified_micros(*detail) == headers.modified_micros(row));
        Some(own.map(|detail| details.quantities(detail)).map(|(real, referenced)| real - referenced).sum())
    };
    Some(Observation {
        status: header.status,
        status_name: edition.status_name(header.status),
        open_scaled: header.open_scaled.or_else(of_details).unwrap_or(0),
    })
}
