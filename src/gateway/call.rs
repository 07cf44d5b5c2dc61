//! One call, made until it is answered: paced, signed anew for every try, retried, with the clock corrected once.
//!
//! What is retried: transport errors, timeouts, HTTP 429 and 5xx, answers that cannot be read (not JSON, cut short), and the gateway's
//! refusals for its limits. The delay doubles from half a second to thirty, with jitter, until the retry time is spent. What stops the
//! account: refused credentials, and an address that does not speak this protocol. Every other business error stops its window.

mod once;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use tokio::time::Instant;
use url::Url;

use super::envelope::{self, Envelope};
use super::pace::{Limit, Pace};
use super::refusal::{self, RefusalRule, Verdict};
use crate::error::{Error, ErrorKind, Result};
use crate::time::{BeijingTime, Clock};
use crate::unsaid::Unsaid;
use crate::worker::Worker;
pub use once::Once;

/// No page of 100 requisitions comes near this; a body that does is no answer.
const MAX_BODY_BYTES: usize = 256 << 20;
/// A page of 100 requisitions takes some 250 kB.
const LARGEST_KEPT_BUFFER: usize = 1 << 20;
/// Stands for "no `Date` header seen yet".
const UNKNOWN: i64 = i64::MIN;

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
    /// What the user knows better of refusals than the table does.
    pub refusals: Vec<RefusalRule>,
    /// The delay before the first retry; it doubles up to [`CallPolicy::LONGEST_DELAY`].
    pub first_delay: Duration,
}

impl CallPolicy {
    /// No delay between two tries is longer, unless the server asks for it.
    pub const LONGEST_DELAY: Duration = Duration::from_secs(30);

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
    /// Seconds that the server's clock was ahead of ours at its last `Date` header.
    server_ahead: AtomicI64,
    /// Seconds added to our clock when signing; set once, by a timestamp refusal.
    correction: AtomicI64,
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
    },
    /// There was no connection to send it on.
    Unsent(Error),
    /// No answer, or none that can be read; perhaps with how long to wait.
    Unclear(Error, Option<Duration>),
    /// An answer that no repetition makes better.
    Wrong(Error),
}

/// How one try ended.
enum Attempt<T> {
    Done(T),
    /// Try again after a delay, at least the given one.
    Again(Error, Option<Duration>),
    Limited(Error, Limit),
    ClockRefused(Error),
    Stop(Error),
}

impl Caller {
    pub(super) fn new(policy: &CallPolicy, clock: Arc<dyn Clock>, reader: Worker) -> Result<Self> {
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
            clock,
            server_ahead: AtomicI64::new(UNKNOWN),
            correction: AtomicI64::new(0),
            calls: AtomicU64::new(0),
            reader,
            buffers: Mutex::default(),
        })
    }

    pub(super) fn server_now(&self) -> Option<BeijingTime> {
        match self.server_ahead.load(Ordering::Relaxed) {
            UNKNOWN => None,
            ahead => Some(self.clock.now().plus_seconds(ahead)),
        }
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
    ) -> Result<Called<T>>
    where
        T: Send + 'static,
        R: Fn(&Answer) -> std::result::Result<T, Unreadable> + Clone + Send + 'static,
    {
        let mut delays = self.policy.delays();
        let mut give_up_at: Option<Instant> = None;
        let mut retries = 0;
        loop {
            let turn = self.pace.turn().await;
            let signed_with = self.correction.load(Ordering::Relaxed);
            let (error, delay) =
                match self.attempt(names, sign(self.clock.now().plus_seconds(signed_with)), read.clone()).await {
                    Attempt::Done(value) => {
                        self.pace.answered(turn);
                        return Ok(Called { value, retries });
                    }
                    Attempt::Again(error, at_least) => {
                        drop(turn);
                        let delay = delays.next().unwrap_or(CallPolicy::LONGEST_DELAY);
                        (error, delay.max(at_least.unwrap_or_default()))
                    }
                    Attempt::Limited(error, limit) => (error, self.pace.refused(turn, limit)),
                    Attempt::ClockRefused(error) => {
                        drop(turn);
                        self.correct_clock(signed_with).map_err(|hint| error.with("method", method).hint(hint))?;
                        retries += 1;
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

    async fn attempt<T, R>(&self, names: envelope::Names, outgoing: Outgoing, read: R) -> Attempt<T>
    where
        T: Send + 'static,
        R: Fn(&Answer) -> std::result::Result<T, Unreadable> + Send + 'static,
    {
        match self.send(names, outgoing, read).await {
            Sent::Answered(value) => Attempt::Done(value),
            Sent::Refused { code, message } => refused(names.code, code, &message, &self.policy.refusals),
            Sent::Unsent(error) => Attempt::Again(error, None),
            Sent::Unclear(error, wait) => Attempt::Again(error, wait),
            Sent::Wrong(error) => Attempt::Stop(error),
        }
    }

    /// Sends one request once.
    async fn send<T, R>(&self, names: envelope::Names, outgoing: Outgoing, read: R) -> Sent<T>
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
        self.note_server_clock(response.headers());
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
                Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_BODY_BYTES => body.extend_from_slice(&chunk),
                Ok(Some(_)) => return Sent::Unclear(unavailable("the answer is too large to be one"), None),
                Ok(None) => break,
                Err(error) => {
                    return Sent::Unclear(unavailable("the answer broke off").because(error.without_url()), None);
                }
            }
        }
        let answer = Answer { bytes: body, received_at_micros: self.clock.now_micros() };
        match envelope::read(answer.body(), names) {
            Ok(Envelope::Success) => {
                let (outcome, bytes) = match self.reader.run(move || Ok((read(&answer), answer.bytes))).await {
                    Ok(read) => read,
                    Err(error) => return Sent::Wrong(error),
                };
                self.take_back(bytes);
                match outcome {
                    Ok(value) => Sent::Answered(value),
                    Err(unreadable) => {
                        let told = Unreadable(unsaid.hide(&unreadable.0));
                        Sent::Unclear(unavailable("the answer cannot be read").because(told), None)
                    }
                }
            }
            Ok(Envelope::Refused { code, message }) => Sent::Refused { code, message: unsaid.hide(&message) },
            Err(why) => {
                let told = Unreadable(unsaid.hide(&why));
                Sent::Unclear(unavailable("the answer cannot be read").because(told), None)
            }
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

    fn note_server_clock(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
        if let Some(seconds) = date.and_then(|date| i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok())
        {
            self.server_ahead.store(seconds - self.clock.now().unix(), Ordering::Relaxed);
        }
    }

    /// Takes over the server's clock for signing, once. `Err` is a hint why it cannot help.
    fn correct_clock(&self, signed_with: i64) -> std::result::Result<(), &'static str> {
        let current = self.correction.load(Ordering::Relaxed);
        if current != signed_with {
            // Another call that was under way corrected it meanwhile.
            return Ok(());
        }
        match self.server_ahead.load(Ordering::Relaxed) {
            UNKNOWN => Err("the gateway sends no clock of its own: set this machine's clock"),
            ahead if current == 0 && ahead != 0 => {
                tracing::warn!(seconds = ahead, "the gateway refused the timestamp; signing by its clock from now on");
                self.correction.store(ahead, Ordering::Relaxed);
                Ok(())
            }
            _ => Err("the timestamp was refused although it follows the gateway's own clock"),
        }
    }
}

/// What a business error means for the call.
fn refused<T>(field: &'static str, code: i64, message: &str, rules: &[RefusalRule]) -> Attempt<T> {
    let (verdict, provenance) = refusal::judge(field, code, message, rules);
    tracing::debug!(field, code, message, ?verdict, ?provenance, "the gateway refused the call");
    let error = refusal_error(verdict, field, code, message);
    match verdict {
        Verdict::Busy => Attempt::Again(error, None),
        Verdict::Slower => Attempt::Limited(error, Limit::CallsPerMinute),
        Verdict::FewerAtOnce => Attempt::Limited(error, Limit::CallsAtOnce),
        Verdict::Clock => Attempt::ClockRefused(error),
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

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(600)))
}
