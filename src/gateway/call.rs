//! One call, made until it is answered: paced, signed anew for every try, retried, by a clock that follows the gateway's (`clock.rs`).
//!
//! What is retried: transport errors, timeouts, HTTP 429 and 5xx, answers that cannot be read (not JSON, cut short), and the gateway's
//! refusals for its limits. The delay doubles from half a second to thirty, with jitter, until the retry time is spent. What stops the
//! account: refused credentials, and an address that does not speak this protocol. Every other business error stops its window.

mod once;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use tokio::time::Instant;
use url::Url;

use super::clock::{ClockRefusals, ServerClock};
use super::envelope::{self, Envelope};
use super::pace::{Limit, Pace};
use super::refusal::{self, RefusalRule, Verdict};
use super::response::{Response, UnreadableResponse};
use crate::error::{Error, ErrorKind, Result};
use crate::time::{BeijingTime, Clock};
use crate::unsaid::Unsaid;
use crate::worker::Worker;
pub use once::Once;

/// A page of 100 requisitions takes some 250 kB.
const LARGEST_KEPT_BUFFER: usize = 1 << 20;

/// How calls of one account and method are paced and how long they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPolicy {
    /// Calls within any sixty seconds; 0 means no budget.
    pub calls_per_minute: u32,
    /// Calls under way at once.
    pub concurrency: u32,
    /// The longest that one try may take, its body included.
    pub timeout: Duration,
    /// How long a call is tried again after its first failure.
    pub max_retry_time: Duration,
    /// The largest response that is read, in bytes, decompressed.
    pub max_response_bytes: u64,
    /// What the user knows better of refusals than the table does.
    pub refusals: Vec<RefusalRule>,
    /// The delay before the first retry; it doubles up to [`CallPolicy::LONGEST_DELAY`].
    pub first_delay: Duration,
}

impl CallPolicy {
    /// No delay between two tries is longer, unless the server asks for it.
    pub const LONGEST_DELAY: Duration = Duration::from_secs(30);
    /// So many responses in a row that look like answers and cannot be read are no outage.
    pub const UNREADABLE_TRIES: u32 = 3;

    /// The delays before one retry after the other, without end.
    fn delays(&self) -> impl Iterator<Item = Duration> {
        ExponentialBuilder::default()
            .with_min_delay(self.first_delay)
            .with_max_delay(Self::LONGEST_DELAY)
            .with_jitter()
            .without_max_times()
            .build()
    }
}

impl Default for CallPolicy {
    fn default() -> Self {
        Self {
            calls_per_minute: 60,
            concurrency: 4,
            timeout: Duration::from_secs(60),
            max_retry_time: Duration::from_secs(600),
            max_response_bytes: 128 << 20,
            refusals: Vec::new(),
            first_delay: Duration::from_millis(500),
        }
    }
}

/// A body as it came over the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    bytes: Vec<u8>,
    /// When the last byte arrived, in microseconds since 1970-01-01 00:00:00 UTC by this machine's clock.
    pub received_at_micros: i64,
}

impl Answer {
    /// JSON text, decompressed.
    pub fn body(&self) -> &[u8] {
        // Some PHP servers write a byte order mark before the JSON.
        self.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.bytes)
    }
}

/// Why a body that looked like an answer cannot be read. It is asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// What a call gave, and what it cost.
#[derive(Clone, Copy, Debug)]
pub struct Called<T> {
    /// What was read from the answer.
    pub value: T,
    /// Tries that failed before the one that was answered.
    pub retries: u32,
}

/// A signed request, ready to send, and to be sent again as it is. Its `Debug` is left out: body and URL carry the signature.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) url: Url,
    pub(super) content_type: &'static str,
    pub(super) body: String,
    /// What must not be said, should the server repeat it: the signature, and the secret with its parts, which the server knows.
    pub(super) unsaid: Unsaid,
}

/// Makes the calls of one account.
pub(super) struct Caller {
    client: reqwest::Client,
    pace: Pace,
    /// Of the method that changes the ERP: the vendor meters each method by itself.
    pace_of_changes: Pace,
    policy: CallPolicy,
    clock: Arc<dyn Clock>,
    server_clock: ServerClock,
    calls: AtomicU64,
    /// Where answers are read, one after the other.
    reader: Worker,
    /// Buffers of bodies that were read.
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// What one request came to.
enum Sent<T> {
    Answered(T),
    /// A business error, in the gateway's words.
    Refused {
        code: i64,
        message: String,
        /// The offset of the answer's `Date`.
        date: Option<i64>,
    },
    /// There was no connection to send it on.
    Unsent(Error),
    /// No answer, or none that can be read; perhaps with how long to wait.
    Unclear(Error, Option<Duration>),
    /// A response of the gateway that cannot be read.
    Unreadable(UnreadableResponse),
    /// An answer that no repetition makes better.
    Wrong(Error),
}

/// How one try ended.
enum Attempt<T> {
    Done(T),
    /// Try again after a delay, at least the given one.
    Again(Error, Option<Duration>),
    Unreadable(UnreadableResponse),
    Limited(Error, Limit),
    /// With the offset of the answer's `Date`.
    ClockRefused(Error, Option<i64>),
    Stop(Error),
}

fn unreadable(bytes: Vec<u8>, why: String, received_at_micros: i64) -> UnreadableResponse {
    UnreadableResponse { why, size: bytes.len() as u64, bytes, received_at_micros, is_too_large: false }
}

/// Whether a body is the gateway's at all: what a proxy or a web server says instead is an outage.
fn looks_like_json(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| matches!(byte, b'{' | b'['))
}

impl Caller {
    /// `tolerance_seconds` is how far a timestamp may be from the server's clock.
    pub(super) fn new(
        policy: &CallPolicy,
        tolerance_seconds: i64,
        clock: Arc<dyn Clock>,
        reader: Worker,
    ) -> Result<Self> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("wdt-lake/", env!("CARGO_PKG_VERSION")))
            // A signed form must not follow a redirect to another host.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(policy.timeout)
            .connect_timeout(policy.timeout.min(Duration::from_secs(10)))
            .pool_max_idle_per_host(policy.concurrency as usize)
            .build()
            .map_err(|error| Error::internal("the HTTP client cannot start").because(error.without_url()))?;
        Ok(Self {
            client,
            pace: Pace::new(policy.calls_per_minute, policy.concurrency),
            pace_of_changes: Pace::new(policy.calls_per_minute, policy.concurrency),
            policy: policy.clone(),
            server_clock: ServerClock::new(Arc::clone(&clock), tolerance_seconds),
            clock,
            calls: AtomicU64::new(0),
            reader,
            buffers: Mutex::default(),
        })
    }

    pub(super) fn server_clock(&self) -> &ServerClock {
        &self.server_clock
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Makes one call until it is answered. `sign` makes the request for a given time; it is called once a try.
    pub(super) async fn call<T, R>(
        &self,
        method: &'static str,
        names: envelope::Names,
        sign: impl Fn(BeijingTime) -> Outgoing,
        read: R,
    ) -> Result<Called<Response<T>>>
    where
        T: Send + 'static,
        R: Fn(&Answer) -> std::result::Result<T, Unreadable> + Clone + Send + 'static,
    {
        let mut unreadable = 0;
        let mut delays = self.policy.delays();
        let mut give_up_at: Option<Instant> = None;
        let mut retries = 0;
        let mut clock_refusals = ClockRefusals::default();
        loop {
            let turn = self.pace.turn().await;
            let signed = self.server_clock.sign();
            let attempt = self.attempt(names, sign(signed.timestamp), signed.asked, read.clone()).await;
            let (error, delay) = match attempt {
                Attempt::Done(value) => {
                    self.server_clock.accepted(signed);
                    self.pace.answered(turn);
                    return Ok(Called { value: Response::Read(value), retries });
                }
                Attempt::Again(error, at_least) => {
                    drop(turn);
                    let delay = delays.next().unwrap_or(CallPolicy::LONGEST_DELAY);
                    (error, delay.max(at_least.unwrap_or_default()))
                }
                Attempt::Unreadable(response) => {
                    self.pace.answered(turn);
                    unreadable += 1;
                    if response.is_too_large || unreadable >= CallPolicy::UNREADABLE_TRIES {
                        return Ok(Called { value: Response::Unreadable(response), retries });
                    }
                    let error = Error::new(ErrorKind::GatewayUnavailable, "the response cannot be read");
                    let delay = delays.next().unwrap_or(CallPolicy::LONGEST_DELAY);
                    (error.because(Unreadable(response.why)), delay)
                }
                Attempt::Limited(error, limit) => (error, self.pace.refused(turn, limit)),
                Attempt::ClockRefused(error, date) => {
                    drop(turn);
                    let decided = self.server_clock.refused(signed, date, &mut clock_refusals);
                    let wait = decided.map_err(|hint| error.with("method", method).hint(hint))?;
                    retries += 1;
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Attempt::Stop(error) => {
                    drop(turn);
                    return Err(error.with("method", method));
                }
            };
            let now = Instant::now();
            let give_up_at = *give_up_at.get_or_insert(now + self.policy.max_retry_time);
            if now + delay > give_up_at {
                return Err(Error::new(
                    ErrorKind::GatewayUnavailable,
                    format!("no usable answer after {} tries", retries + 1),
                )
                .with("method", method)
                .because(error)
                .hint("run the same command again later: what is committed stays, what is missing is fetched then"));
            }
            tracing::warn!(method, %error, delay_ms = delay.as_millis(), "call failed, trying again");
            retries += 1;
            tokio::time::sleep(delay).await;
        }
    }

    async fn attempt<T, R>(&self, names: envelope::Names, outgoing: Outgoing, asked: i64, read: R) -> Attempt<T>
    where
        T: Send + 'static,
        R: Fn(&Answer) -> std::result::Result<T, Unreadable> + Send + 'static,
    {
        match self.send(names, outgoing, asked, read).await {
            Sent::Answered(value) => Attempt::Done(value),
            Sent::Refused { code, message, date } => refused(names.code, code, &message, date, &self.policy.refusals),
            Sent::Unsent(error) => Attempt::Again(error, None),
            Sent::Unclear(error, wait) => Attempt::Again(error, wait),
            Sent::Unreadable(response) => Attempt::Unreadable(response),
            Sent::Wrong(error) => Attempt::Stop(error),
        }
    }

    /// Sends one request once; `asked` is the moment at which it was signed.
    async fn send<T, R>(&self, names: envelope::Names, outgoing: Outgoing, asked: i64, read: R) -> Sent<T>
    where
        T: Send + 'static,
        R: Fn(&Answer) -> std::result::Result<T, Unreadable> + Send + 'static,
    {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let unsaid = outgoing.unsaid;
        let unavailable = |message: &str| Error::new(ErrorKind::GatewayUnavailable, message);
        let response =
            self.client.post(outgoing.url).header(CONTENT_TYPE, outgoing.content_type).body(outgoing.body).send().await;
        let mut response = match response {
            Ok(response) => response,
            Err(error) => {
                let is_unsent = error.is_connect();
                let error = unavailable("the gateway did not answer").because(error.without_url());
                return if is_unsent { Sent::Unsent(error) } else { Sent::Unclear(error, None) };
            }
        };
        let date = date_of(response.headers()).map(|date| self.server_clock.see(date, asked));
        let status = response.status();
        let is_passing =
            matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY);
        if is_passing || status.is_server_error() {
            let wait = retry_after(response.headers());
            return Sent::Unclear(unavailable(&format!("the gateway answered HTTP {status}")), wait);
        }
        if status != StatusCode::OK {
            return Sent::Wrong(
                Error::new(ErrorKind::Credentials, format!("the gateway answered HTTP {status}"))
                    .hint("check WDT_BASE_URL or WDT_ENVIRONMENT, and that this machine's address is allowed"),
            );
        }
        let mut body = self.buffer(response.content_length());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if (body.len() + chunk.len()) as u64 <= self.policy.max_response_bytes => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(chunk)) => {
                    let size = response.content_length().unwrap_or(0).max((body.len() + chunk.len()) as u64);
                    return Sent::Unreadable(self.too_large(size));
                }
                Ok(None) => break,
                Err(error) => {
                    return Sent::Unclear(unavailable("the answer broke off").because(error.without_url()), None);
                }
            }
        }
        let received_at_micros = self.clock.now_micros();
        let answer = Answer { bytes: body, received_at_micros };
        match envelope::read(answer.body(), names) {
            Ok(Envelope::Success) => {
                let (outcome, bytes) = match self.reader.run(move || Ok((read(&answer), answer.bytes))).await {
                    Ok(read) => read,
                    Err(error) => return Sent::Wrong(error),
                };
                match outcome {
                    Ok(value) => {
                        self.take_back(bytes);
                        Sent::Answered(value)
                    }
                    Err(Unreadable(why)) => Sent::Unreadable(unreadable(bytes, unsaid.hide(&why), received_at_micros)),
                }
            }
            Ok(Envelope::Refused { code, message }) => Sent::Refused { code, message: unsaid.hide(&message), date },
            Err(why) if looks_like_json(answer.body()) => {
                Sent::Unreadable(unreadable(answer.bytes, unsaid.hide(&why), received_at_micros))
            }
            Err(why) => {
                let told = Unreadable(unsaid.hide(&why));
                Sent::Unclear(unavailable("the answer cannot be read").because(told), None)
            }
        }
    }

    fn too_large(&self, size: u64) -> UnreadableResponse {
        UnreadableResponse {
            why: format!("{size} bytes or more are too large for one response"),
            bytes: Vec::new(),
            size,
            received_at_micros: self.clock.now_micros(),
            is_too_large: true,
        }
    }

    /// An empty buffer for a body, used before if there is one: pages are large, and fresh memory for each costs time and stays behind.
    fn buffer(&self, announced: Option<u64>) -> Vec<u8> {
        let mut buffer = self.buffers.lock().ok().and_then(|mut buffers| buffers.pop()).unwrap_or_default();
        let announced = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        buffer.reserve_exact(announced.min(LARGEST_KEPT_BUFFER));
        buffer
    }

    fn take_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        if let Ok(mut buffers) = self.buffers.lock()
            && buffer.capacity() <= LARGEST_KEPT_BUFFER
            && buffers.len() < self.policy.concurrency as usize
        {
            buffers.push(buffer);
        }
    }
}

/// What a business error means for the call.
fn refused<T>(field: &'static str, code: i64, message: &str, date: Option<i64>, rules: &[RefusalRule]) -> Attempt<T> {
    let (verdict, provenance) = refusal::judge(field, code, message, rules);
    tracing::debug!(field, code, message, ?verdict, ?provenance, "the gateway refused the call");
    let error = refusal_error(verdict, field, code, message);
    match verdict {
        Verdict::Busy => Attempt::Again(error, None),
        Verdict::Slower => Attempt::Limited(error, Limit::CallsPerMinute),
        Verdict::FewerAtOnce => Attempt::Limited(error, Limit::CallsAtOnce),
        Verdict::Clock => Attempt::ClockRefused(error, date),
        Verdict::Credentials | Verdict::Business => Attempt::Stop(error),
    }
}

/// A business error as an error of ours, with what to do about it.
fn refusal_error(verdict: Verdict, field: &'static str, code: i64, message: &str) -> Error {
    let error = |kind| Error::new(kind, format!("the gateway answered {field} {code}: {message}"));
    match verdict {
        Verdict::Busy | Verdict::Slower | Verdict::FewerAtOnce => error(ErrorKind::GatewayUnavailable),
        Verdict::Clock => error(ErrorKind::Credentials),
        Verdict::Credentials => error(ErrorKind::Credentials).hint(
            "check WDT_SID, WDT_APPKEY, the secret and WDT_EDITION, or the account in wdt-lake.toml; ask the vendor whether the account has this interface's permission, \
             this machine's address is on its IP list, and the ERP's client is recent enough (docs/gateway.md)",
        ),
        Verdict::Business => error(ErrorKind::GatewayRefused)
            .hint("look the code up at the vendor; WDT_REFUSALS can say what it means: see docs/gateway.md"),
    }
}

/// The time of the answer by its `Date` header; nothing where it has none that can be read.
fn date_of(headers: &HeaderMap) -> Option<BeijingTime> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    Some(BeijingTime::from_micros(i64::try_from(since.as_micros()).ok()?))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(600)))
}
