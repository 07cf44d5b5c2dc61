//! One call, made until it is answered: within the rate limit, signed anew for every try, retried, by a clock that
//! follows the gateway's (`clock.rs`).
//!
//! What is retried until the retry time is spent: transport errors, timeouts, HTTP 429 and 5xx, bodies that are no
//! JSON, and the gateway's refusals for its limits. What is retried a few times: a response that cannot be read, which
//! is then given to whoever asked, and refusals in words that nobody knows, which then stop their window. What stops
//! the account: refused credentials, certificates that nobody trusts, and an address that does not speak this protocol.
//! The caller's own faults stop their window at once. [`CallPolicy`] has the delays.

mod once;
mod tries;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, DATE, HeaderMap};
use url::Url;

use self::tries::Tries;
use super::body::{Body, BodyFault};
use super::clock::ServerClock;
use super::connect::{Connection, NoResponse};
use super::envelope::{self, Envelope};
use super::policy::{self, CallPolicy};
use super::rate_limiter::{Limit, Pace};
use super::refusal::{self, CallKind, RefusalRule, Verdict};
use super::response::{Answer, Called, NotRead, Response, UnreadableCause, UnreadableResponse};
use super::shared::{Limiters, Places, ResponseShare, Shared};
use super::watch::CallWatches;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::text::{Text, text};
use crate::time::{BeijingTime, Clock};
use crate::unsaid::Unsaid;
pub(crate) use once::Once;

/// A signed request, ready to send, and to be sent again as it is. Its `Debug` is left out: body and URL carry the
/// signature.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) url: Url,
    pub(super) content_type: &'static str,
    pub(super) body: String,
    /// What must not be said, should the server repeat it: the signature, and the secret with its parts, which the
    /// server knows.
    pub(super) unsaid: Unsaid,
}

/// Makes the calls of one account.
pub(super) struct Caller {
    connection: Arc<Connection>,
    limiters: Arc<Limiters>,
    places: Places,
    policy: CallPolicy,
    /// Those of the policy.
    refusals: Arc<[RefusalRule]>,
    clock: Arc<dyn Clock>,
    server_clock: ServerClock,
    calls: AtomicU64,
    refused: AtomicU64,
    retries: AtomicU64,
    /// What other accounts of the process share with this one.
    shared: Shared,
    /// Who wants to know when nothing but calls is waited for.
    watches: CallWatches,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// What one request came to.
enum Sent<T> {
    Answered(T),
    /// A business error, in the gateway's words; perhaps with how long to wait.
    Refused {
        code: i64,
        message: String,
        wait: Option<Duration>,
        /// The offset of the answer's `Date`.
        date: Option<i64>,
    },
    /// A response that cannot be read, or that is too large.
    Unreadable(UnreadableResponse),
    /// There was no connection to send it on.
    Unsent(Error),
    /// Too many calls, says HTTP itself; perhaps with how long to wait.
    Throttled(Error, Option<Duration>),
    /// No answer, or none that is one; perhaps with how long to wait.
    Unclear(Error, Option<Duration>),
    /// What no repetition makes better.
    Wrong(Error),
}

/// How one try ended.
enum Attempt<T> {
    Done(T),
    Unreadable(UnreadableResponse),
    /// Try again after a delay.
    Again(Error),
    /// The server is busy: try again after a delay, and more slowly.
    Busy(Error),
    /// The same, but not often.
    Unknown(Error),
    Limited(Error, Limit),
    /// With the offset of the answer's `Date`.
    ClockRefused(Error, Option<i64>),
    Stop(Error),
}

impl Caller {
    /// `tolerance_seconds` is how far a timestamp may be from the server's clock.
    pub(super) fn new(
        gateway: &Url,
        policy: &CallPolicy,
        tolerance_seconds: i64,
        clock: Arc<dyn Clock>,
        shared: Shared,
        watches: CallWatches,
    ) -> Result<Self> {
        Ok(Self {
            connection: shared.connection(gateway, policy)?,
            limiters: Shared::limiters(policy),
            places: shared.places(),
            policy: policy.clone(),
            refusals: policy.refusals.clone().into(),
            server_clock: ServerClock::new(Arc::clone(&clock), tolerance_seconds),
            clock,
            calls: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            shared,
            watches,
        })
    }

    pub(super) fn server_clock(&self) -> &ServerClock {
        &self.server_clock
    }

    pub(super) fn pace(&self) -> Pace {
        self.limiters.queries.pace()
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// How many answers were refusals, in the gateway's words or by HTTP itself.
    pub(super) fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many requests repeated one that was not answered.
    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Makes one call until it is answered. `sign` makes the request for a given time; it is called once a try.
    pub(super) async fn call<T, R>(
        &self,
        method: &'static str,
        names: envelope::EnvelopeNames,
        sign: impl Fn(BeijingTime) -> Outgoing,
        read: R,
    ) -> Result<Called<Response<T>>>
    where
        T: Send + 'static,
        R: Fn(&Answer) -> std::result::Result<T, NotRead> + Clone + Send + 'static,
    {
        let _awaited = self.watches.calls.begin();
        let mut unanswered = None;
        let mut tries = Tries::new(method, &self.policy);
        loop {
            let retries = tries.retries;
            let permit = match retries {
                0 => self.limiters.queries.permit().await,
                _ => self.limiters.queries.permit_again().await,
            };
            let place = self.places.take().await;
            unanswered.get_or_insert_with(|| self.watches.responses.begin());
            let signed = self.server_clock.sign();
            let (attempt, wait) = self.attempt(names, sign(signed.timestamp), signed.asked, read.clone()).await;
            drop(place);
            let delay = match attempt {
                Attempt::Done(value) => {
                    self.server_clock.accepted(signed);
                    permit.answered();
                    return Ok(Called { value: Response::Read(value), retries });
                }
                Attempt::Unreadable(response) => {
                    permit.answered();
                    match tries.after_unreadable(response) {
                        Ok((delay, buffer)) => {
                            self.shared.take_back(buffer);
                            delay
                        }
                        Err(last) => return Ok(Called { value: Response::Unreadable(last), retries }),
                    }
                }
                Attempt::Again(error) => {
                    drop(permit);
                    tries.after_failure(error, wait)?
                }
                Attempt::Busy(error) => {
                    let delay = permit.refused(tries.rest(wait));
                    tries.after(error, delay, wait)?
                }
                Attempt::Unknown(error) => {
                    let delay = permit.refused(tries.rest(wait));
                    tries.after_unknown(error, delay, wait)?
                }
                Attempt::Limited(error, limit) => tries.after(error, permit.refused(limit), wait)?,
                Attempt::ClockRefused(error, date) => {
                    drop(permit);
                    let decided = self.server_clock.refused(signed, date, &mut tries.clock_refusals);
                    decided.map_err(|hint| error.with("method", method).hint(hint))?
                }
                Attempt::Stop(error) => return Err(error.with("method", method)),
            };
            tries.retries += 1;
            self.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(delay).await;
        }
    }

    /// Sends one request once, and says what its outcome means for a call that may be repeated, and how long the server
    /// asks to wait.
    async fn attempt<T, R>(
        &self,
        names: envelope::EnvelopeNames,
        outgoing: Outgoing,
        asked: i64,
        read: R,
    ) -> (Attempt<T>, Option<Duration>)
    where
        T: Send + 'static,
        R: Fn(&Answer) -> std::result::Result<T, NotRead> + Send + 'static,
    {
        let sent = self.send(CallKind::Query, names, outgoing, asked, read).await;
        if matches!(sent, Sent::Refused { .. } | Sent::Throttled(..)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        match sent {
            Sent::Answered(value) => (Attempt::Done(value), None),
            Sent::Refused { code, message, wait, date } => {
                (refused(names.code, code, &message, date, &self.policy.refusals), wait)
            }
            Sent::Unreadable(response) => (Attempt::Unreadable(response), None),
            Sent::Unsent(error) => (Attempt::Again(error), None),
            Sent::Throttled(error, wait) => (Attempt::Busy(error), wait),
            Sent::Unclear(error, wait) => (Attempt::Again(error), wait),
            Sent::Wrong(error) => (Attempt::Stop(error), None),
        }
    }

    /// Sends one request once.
    async fn send<T, R>(
        &self,
        kind: CallKind,
        names: envelope::EnvelopeNames,
        outgoing: Outgoing,
        asked: i64,
        read: R,
    ) -> Sent<T>
    where
        T: Send + 'static,
        R: Fn(&Answer) -> std::result::Result<T, NotRead> + Send + 'static,
    {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let request = self.connection.client.post(outgoing.url).header(CONTENT_TYPE, outgoing.content_type);
        let request = request.header(ACCEPT_ENCODING, "gzip").body(outgoing.body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                return match self.connection.judge(error) {
                    NoResponse::Unsent(error) => Sent::Unsent(error),
                    NoResponse::Unclear(error) => Sent::Unclear(error, None),
                    NoResponse::Hopeless(error) => Sent::Wrong(error),
                };
            }
        };
        let date = date_of(response.headers()).map(|date| self.server_clock.see(date, asked));
        let wait = policy::retry_after(response.headers(), self.our_time());
        if let Some(error) = self.http_error(kind, response.status()) {
            return match response.status() {
                StatusCode::TOO_MANY_REQUESTS => Sent::Throttled(error, wait),
                _ if error.kind() == ErrorKind::GatewayUnavailable => Sent::Unclear(error, wait),
                _ => Sent::Wrong(error),
            };
        }
        let mut memory = self.shared.response();
        let (bytes, size) = match self.receive(response, &mut memory).await {
            Ok(received) => received,
            Err(failed) => return failed.into(),
        };
        let Outgoing { unsaid, .. } = outgoing;
        let (code, refusals) = (names.code, Arc::clone(&self.refusals));
        let answer = Answer { bytes, received_at_micros: self.clock.now_micros(), unsaid, code, refusals };
        let refused = |code, message: String| Sent::Refused { code, message, wait, date };
        match envelope::read(answer.body(), names) {
            // Its memory is given back when it was read.
            Ok(Envelope::Success) => match self.shared.reader().run(move || Ok((read(&answer), answer))).await {
                Ok((Ok(value), answer)) => {
                    self.shared.take_back(answer.bytes);
                    Sent::Answered(value)
                }
                Ok((Err(NotRead::Unreadable(why)), answer)) => Sent::Unreadable(unreadable(&why, answer, size)),
                Ok((Err(NotRead::Refused(words)), answer)) => refused(0, answer.unsaid.hide(&words)),
                Err(error) => Sent::Wrong(error),
            },
            Ok(Envelope::Refused { code, message }) => refused(code, answer.unsaid.hide(&message)),
            Err(why) => Sent::Unreadable(unreadable(&why, answer, size)),
        }
    }

    /// What an HTTP status means that is no success.
    fn http_error(&self, kind: CallKind, status: StatusCode) -> Option<Error> {
        let error = |class| self.connection.via(Error::new(class, text!("the gateway answered HTTP {status}", status)));
        let is_passing =
            matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY);
        match status {
            StatusCode::OK => None,
            // A proxy that changed something on the way, or gives a part: a body that is sound tells its rows all the
            // same.
            status if status.is_success() && kind == CallKind::Query => None,
            // What it did to the answer to a stop nobody knows.
            status if status.is_success() => Some(error(ErrorClass::GatewayHttp)),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some(self.connection.wants_name(None)),
            status if is_passing || status.is_server_error() => Some(error(ErrorClass::GatewayHttp)),
            _ => Some(
                error(ErrorClass::HttpRefused)
                    .hint("check WDT_BASE_URL or WDT_ENVIRONMENT, and that this machine's address is allowed"),
            ),
        }
    }

    /// Takes in the body of a response. What is too large, or no JSON, is let go as soon as that is known.
    async fn receive(
        &self,
        mut response: reqwest::Response,
        memory: &mut ResponseShare,
    ) -> std::result::Result<(Vec<u8>, u64), Failed> {
        let announced = response.content_length();
        let mut body = Body::new(self.shared.buffer(announced), self.policy.max_response_bytes, announced);
        while let Some(chunk) = response.chunk().await.map_err(Failed::Transport)? {
            body.push(&chunk).map_err(|fault| Failed::Body(fault, self.clock.now_micros()))?;
            // What comes next is left with the network until there is room for it.
            memory.grow_to(body.memory_bytes()).await;
        }
        body.finish().map_err(|fault| Failed::Body(fault, self.clock.now_micros()))
    }

    fn our_time(&self) -> SystemTime {
        let micros = u64::try_from(self.clock.now_micros()).unwrap_or(0);
        UNIX_EPOCH + Duration::from_micros(micros)
    }
}

/// Why a body was not taken in.
enum Failed {
    Transport(reqwest::Error),
    /// What is wrong with it, and when that was seen.
    Body(BodyFault, i64),
}

impl<T> From<Failed> for Sent<T> {
    fn from(failed: Failed) -> Self {
        let unavailable = |message: &'static str| Error::new(ErrorClass::AnswerBroken, message);
        match failed {
            Failed::Transport(error) => {
                Self::Unclear(unavailable("the response broke off").because(error.without_url()), None)
            }
            Failed::Body(BodyFault::Broken(why), _) => {
                Self::Unclear(unavailable("the response broke on its way").because(UnreadableCause(why)), None)
            }
            Failed::Body(BodyFault::Noise(why), _) => {
                Self::Unclear(unavailable("the response is no JSON").because(UnreadableCause(why)), None)
            }
            Failed::Body(BodyFault::TooLarge(size), received_at_micros) => Self::Unreadable(UnreadableResponse {
                why: "the response is larger than the memory allows".to_owned(),
                bytes: Vec::new(),
                size,
                received_at_micros,
                is_too_large: true,
            }),
        }
    }
}

/// It may be kept as it is from here on.
fn unreadable(why: &str, answer: Answer, size: u64) -> UnreadableResponse {
    let why = answer.unsaid.hide(why);
    let Answer { bytes, received_at_micros, unsaid, .. } = answer;
    let struck = match unsaid.strike_out(&bytes) {
        Cow::Owned(struck) => Some(struck),
        Cow::Borrowed(_) => None,
    };
    UnreadableResponse { why, bytes: struck.unwrap_or(bytes), size, received_at_micros, is_too_large: false }
}

/// What a business error means for the call.
fn refused<T>(field: &'static str, code: i64, message: &str, date: Option<i64>, rules: &[RefusalRule]) -> Attempt<T> {
    let (verdict, provenance) = refusal::judge(CallKind::Query, field, code, message, rules);
    tracing::debug!(field, code, message, ?verdict, ?provenance, "the gateway refused the call");
    let error = refusal_error(verdict, field, code, message);
    match verdict {
        Verdict::Busy => Attempt::Busy(error),
        Verdict::Unknown => Attempt::Unknown(error),
        Verdict::Slower => Attempt::Limited(error, Limit::PerMinute),
        Verdict::FewerAtOnce => Attempt::Limited(error, Limit::InFlight),
        Verdict::Clock => Attempt::ClockRefused(error, date),
        Verdict::Credentials | Verdict::Business => Attempt::Stop(error),
    }
}

/// A business error as an error of ours, with what to do about it.
fn refusal_error(verdict: Verdict, field: &'static str, code: i64, message: &str) -> Error {
    // The code of a success, without what a success has.
    let what: Text = if code == 0 { text!(" and lists nothing") } else { Text::default() };
    let message: Text =
        if code == 0 && message.is_empty() { text!("it says nothing else") } else { Text::verbatim(message) };
    let error = |class| {
        Error::new(class, text!("the gateway answered {field} {code}{what}: {message}", field, code, what, message))
    };
    match verdict {
        Verdict::Busy | Verdict::Slower | Verdict::FewerAtOnce => error(ErrorClass::GatewayBusy),
        Verdict::Clock => error(ErrorClass::TimestampRefused),
        Verdict::Credentials => error(refusal::class_of_credentials(message.english())).hint(
            "check WDT_SID, WDT_APPKEY, the secret and WDT_EDITION, or the account in wdt-lake.toml; ask the vendor whether the account has this interface's permission, \
             this machine's address is on its IP list, and the ERP's client is recent enough (docs/gateway.md)",
        ),
        Verdict::Business | Verdict::Unknown if code == 0 => error(ErrorClass::CallRefused)
            .hint("a response with the code of a success and without a list is none: run again later; if it stays, show it to the vendor"),
        Verdict::Business | Verdict::Unknown => error(ErrorClass::CallRefused)
            .hint("look the code up at the vendor; WDT_REFUSALS can say what it means: see docs/gateway.md"),
    }
}

/// The time of the answer by its `Date` header; nothing where it has none that can be read.
fn date_of(headers: &HeaderMap) -> Option<BeijingTime> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    Some(BeijingTime::from_micros(i64::try_from(since.as_micros()).ok()?))
}
