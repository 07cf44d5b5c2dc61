//! Speaks signed HTTP to Wangdian; knows no Arrow.
//!
//! [`Gateway`] makes one query at a time and retries it until it is answered, refused for good, or out of time. It
//! guarantees that no secret, signature or signed URL leaves it: errors of the HTTP library are stripped of their URL
//! at the one place where they are converted. It does not decide which calls to make (`extract` does) nor what rows
//! mean (`transform` does): whoever asks hands it a function that reads the body. A body that this function cannot read
//! is asked for again, and then given back, less secrets that it repeats; one that it takes for a refusal in the dress
//! of a success is treated as one.

mod body;
mod call;
mod clock;
mod connect;
mod envelope;
mod openapi2;
mod policy;
mod proxy;
mod qjb;
mod rate_limiter;
mod refusal;
mod response;
mod shared;
pub(crate) mod sign;
mod watch;

use std::sync::Arc;

pub(crate) use call::Once;
pub use policy::CallPolicy;
pub(crate) use policy::ProxyUse;
pub(crate) use rate_limiter::Pace;
pub(crate) use refusal::RefusalRule;
pub(crate) use response::Answer;
pub use response::{Called, NotRead, Response, UnreadableResponse};
pub(crate) use shared::Shared;
pub(crate) use watch::{CallWatch, CallWatches};

use crate::config::AccountSettings;
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::text::Text;
use crate::time::{BeijingTime, Clock, Window};

/// What to ask the purchase requisition query for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// One page of the requisitions last modified within a closed window of at most 30 days.
    Page {
        /// The window, both seconds included.
        window: Window,
        /// From 0.
        page_no: u32,
        /// 1 to 100.
        page_size: u32,
    },
    /// One requisition by its number, whenever it was modified.
    Number(String),
}

/// A moment of a run, by a clock that nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerMoment(i64);

/// Why an account cannot stop requisitions.
pub(crate) fn no_stop_method() -> Error {
    Error::new(ErrorClass::StopUnsupported, "this edition has no method that stops requisitions")
        .hint("the vendor publishes purchase.PurchaseApply.stopForApi for flagship (旗舰版) only: stop them in the ERP's client")
}

/// The gateway of one account.
#[derive(Debug)]
pub struct Gateway {
    caller: call::Caller,
    protocol: Protocol,
}

/// How the account's edition is spoken to.
#[derive(Debug)]
enum Protocol {
    OpenApi2(openapi2::OpenApi2),
    Qjb(qjb::Qjb),
}

impl Gateway {
    /// Prepares calls; sends nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an app secret that is not of the edition's form, and for a
    /// proxy that is none.
    pub fn new(account: &AccountSettings, policy: &CallPolicy, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::sharing(Shared::of_one(policy)?, CallWatches::default(), account, policy, clock)
    }

    /// The same, with what other accounts of the process have as well; `watches` are told of every query.
    pub(crate) fn sharing(
        shared: Shared,
        watches: CallWatches,
        account: &AccountSettings,
        policy: &CallPolicy,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let protocol = match account.edition {
            Edition::Enterprise | Edition::Y => Protocol::OpenApi2(openapi2::OpenApi2::new(account)),
            Edition::Flagship => Protocol::Qjb(qjb::Qjb::new(account)?),
        };
        let tolerance_seconds = account.edition.clock_tolerance_seconds();
        let caller = call::Caller::new(&account.base_url, policy, tolerance_seconds, clock, shared, watches)?;
        Ok(Self { caller, protocol })
    }

    /// Asks `query` and reads its answer with `read`, which runs on a thread for blocking work. A response that stays
    /// unreadable is no error: it is given as it is.
    ///
    /// # Errors
    /// `Credentials`: refused for good, for the whole account. `GatewayUnavailable`: no usable answer within the retry
    /// time. `GatewayRefused`: a business error, with the vendor's code and message. `Usage`: no secure connection,
    /// or no way through the proxy.
    pub async fn query<T, R>(&self, query: &Query, read: R) -> Result<Called<Response<T>>>
    where
        T: Send + 'static,
        R: Fn(&Answer) -> std::result::Result<T, NotRead> + Clone + Send + 'static,
    {
        match &self.protocol {
            Protocol::OpenApi2(account) => {
                let sign = |now| account.query(query, now);
                self.caller.call(openapi2::METHOD, openapi2::ENVELOPE, sign, read).await
            }
            Protocol::Qjb(account) => {
                let sign = |now| account.query(query, now);
                self.caller.call(qjb::SEARCH, qjb::ENVELOPE, sign, read).await
            }
        }
    }

    /// What a query asks: the method, and the parameters of the business. Nothing of it is secret.
    pub fn unsigned(&self, query: &Query) -> (&'static str, serde_json::Value) {
        match &self.protocol {
            Protocol::OpenApi2(_) => (openapi2::METHOD, openapi2::unsigned(query)),
            Protocol::Qjb(_) => (qjb::SEARCH, qjb::unsigned(query)),
        }
    }

    /// Stops the reference of requisitions by one call, signed with the timestamp `requested_at` and no other, and
    /// reads its answer with `read`. It is sent again only after a refusal for a limit, or when nothing was sent;
    /// see `Once`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an edition that has no such method; nothing was sent.
    pub async fn stop<T, R>(&self, numbers: &[String], requested_at: BeijingTime, read: R) -> Result<Once<T>>
    where
        T: Send + 'static,
        R: Fn(&Answer, &dyn Fn(&str) -> String) -> std::result::Result<T, NotRead> + Clone + Send + 'static,
    {
        let Protocol::Qjb(account) = &self.protocol else { return Err(no_stop_method()) };
        let outgoing = account.stop(numbers, requested_at);
        let unsaid = outgoing.unsaid.clone();
        let read = move |answer: &Answer| read(answer, &|text: &str| unsaid.hide(text));
        let until = requested_at.plus_seconds(qjb::SEND_WITHIN_SECONDS);
        Ok(self.caller.once(qjb::STOP, qjb::ENVELOPE, qjb::REFUSED_UNDONE, outgoing, until, read).await)
    }

    /// This moment, for [`Gateway::reached_at`].
    pub fn moment(&self) -> ServerMoment {
        ServerMoment(self.caller.server_clock().moment())
    }

    /// The time that the server's clock had reached for certain at `moment`, whatever `Date` headers say: no later than
    /// any `Date` or accepted timestamp lets expect. `None` before the first accepted call.
    pub fn reached_at(&self, moment: ServerMoment) -> Option<BeijingTime> {
        self.caller.server_clock().reached_at(moment.0)
    }

    /// The same at the last accepted call.
    pub fn reached(&self) -> Option<BeijingTime> {
        self.caller.server_clock().reached()
    }

    /// What [`Gateway::reached`] would be by the accepted timestamps alone, where a `Date` is behind them by more than
    /// the tolerance.
    pub fn reached_but_for_date(&self) -> Option<BeijingTime> {
        self.caller.server_clock().reached_but_for_date()
    }

    /// A timestamp for a call that is signed once, as of the last accepted call: the server's `Date` where it agrees
    /// with what the server accepted. `None` before the first accepted call.
    pub fn fresh_timestamp(&self) -> Option<BeijingTime> {
        self.caller.server_clock().fresh_timestamp()
    }

    /// The server's present by its last `Date` header, whatever that is worth; `None` when it sent none.
    pub fn last_date(&self) -> Option<BeijingTime> {
        self.caller.server_clock().last_date()
    }

    /// What the user should know of the server's clock.
    pub fn clock_warnings(&self) -> Vec<Text> {
        self.caller.server_clock().warnings()
    }

    /// How fast requests may be sent at present, and whether one waits for that.
    pub(crate) fn pace(&self) -> Pace {
        self.caller.pace()
    }

    /// How many requests were sent so far, repeated ones included.
    pub fn calls(&self) -> u64 {
        self.caller.calls()
    }

    /// How many answers to queries were refusals, for its limits as well.
    pub fn refusals(&self) -> u64 {
        self.caller.refusals()
    }

    /// How many requests of queries repeated one before.
    pub fn retries(&self) -> u64 {
        self.caller.retries()
    }
}
