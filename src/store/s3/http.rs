//! How a request reaches the store, and what its answer is taken for.
//!
//! The client of object_store signs requests and reads answers; between it and the network stands this service, for two
//! reasons. It looks at every answer to a listing as it came (see [`listing`](super::listing)) and hands what it found
//! to whoever asked, so that a name that the client cannot hold stops nothing. And it alone repeats what failed: which
//! answers are worth it depends on their codes, which the client does not read, and for how long is for the user to
//! say.
//!
//! A store that never answered is probably not there, which people want to hear within seconds; one that has is waited
//! for. What a repeated request may do twice is for the callers of [`Store`](crate::store::Store): a conditional put
//! whose answer was lost is not repeated here, unless it certainly never arrived.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use http::StatusCode;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use tokio::time::Instant;

use super::create::is_create;
use super::listing::{self, ListAnswer};
use super::refusal::StoreRefusal;

/// How long a request is repeated, unless the user says.
const RETRY_TIME: Duration = Duration::from_secs(180);
/// No longer than this, whatever the user says: what a request is signed for grows stale.
const LONGEST_RETRY_TIME: Duration = Duration::from_secs(600);
/// How long a store is tried that has never answered.
const CONTACT_TIME: Duration = Duration::from_secs(8);
/// How long the first answer of a store may take, where `AWS_TIMEOUT` says nothing.
const CONTACT_REQUEST_TIME: Duration = Duration::from_secs(10);
/// The pause before the first repetition; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A person who waits longer than this wants to know why.
const SAID_AFTER: Duration = Duration::from_secs(5);

/// A thousand names of the greatest length, with all that may stand beside them.
const LONGEST_PAGE_BYTES: usize = 64 << 20;

/// A body that the client reads as a listing without names.
const NOTHING_LISTED: &[u8] = b"<ListBucketResult></ListBucketResult>";

/// How long this store is waited for. Shared by all that ask it.
#[derive(Debug)]
pub(super) struct RetryTimes {
    retry_ms: AtomicU64,
    has_answered: AtomicBool,
    /// Whether the user has said how long an answer may take.
    request_time_is_set: bool,
}

impl RetryTimes {
    pub(super) fn new(request_time_is_set: bool) -> Self {
        let patience = Self { retry_ms: AtomicU64::new(0), has_answered: AtomicBool::new(false), request_time_is_set };
        patience.retry_for(RETRY_TIME);
        patience
    }

    /// Repeats requests for so long.
    pub(super) fn retry_for(&self, time: Duration) {
        let millis = time.min(LONGEST_RETRY_TIME).as_millis();
        self.retry_ms.store(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn retry_time(&self) -> Duration {
        Duration::from_millis(self.retry_ms.load(Ordering::Relaxed))
    }

    fn request_time(&self) -> Option<Duration> {
        (!self.has_answered.load(Ordering::Relaxed) && !self.request_time_is_set).then_some(CONTACT_REQUEST_TIME)
    }
}

/// Makes clients that behave as this module says.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) network: Arc<dyn HttpConnector>,
    pub(super) patience: Arc<RetryTimes>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let network = self.network.connect(options)?;
        Ok(HttpClient::new(Service { network, patience: Arc::clone(&self.patience) }))
    }
}

#[derive(Debug)]
struct Service {
    network: HttpClient,
    patience: Arc<RetryTimes>,
}

/// An answer with all of its body.
type Whole = (http::response::Parts, Bytes);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let kind = Kind::of(&request);
        let mut repetition = Repetition::new(&self.patience);
        loop {
            let answered = self.once(kind, &request).await;
            let again = match &answered {
                Ok((parts, body)) => {
                    if kind != Kind::Credentials {
                        self.patience.has_answered.store(true, Ordering::Relaxed);
                    }
                    let is_refusal = !parts.status.is_success() || is_error_in_success(kind, parts.status, body);
                    let refused = is_refusal.then(|| StoreRefusal::of(parts.status.as_u16(), body));
                    refused.filter(StoreRefusal::passes).map(|refused| refused.to_string())
                }
                Err(error) => kind.may_repeat(error.kind()).then(|| format!("{:?}", error.kind()).to_lowercase()),
            };
            let pause = again.and_then(|why| repetition.pause(&why, answered.is_ok()));
            match (pause, answered) {
                (Some(pause), _) => tokio::time::sleep(pause).await,
                (None, Ok(whole)) => return Ok(finish(kind, whole)),
                (None, Err(error)) => return Err(error),
            }
        }
    }
}

impl Service {
    async fn once(&self, kind: Kind, request: &HttpRequest) -> Result<Whole, HttpError> {
        let answered = async {
            let (parts, body) = self.network.execute(request.clone()).await?.into_parts();
            let body = match kind {
                Kind::Listing => bounded(body).await?,
                _ => body.bytes().await?,
            };
            Ok((parts, body))
        };
        match self.patience.request_time() {
            None => answered.await,
            Some(time) => {
                let in_time = tokio::time::timeout(time, answered).await;
                in_time.unwrap_or_else(|_| Err(HttpError::new(HttpErrorKind::Timeout, Silent(time))))
            }
        }
    }
}

/// The body of a page, however long the store goes on.
async fn bounded(body: HttpResponseBody) -> Result<Bytes, HttpError> {
    let mut whole = BytesMut::new();
    let mut rest = body.bytes_stream();
    while let Some(bytes) = rest.try_next().await? {
        whole.extend_from_slice(&bytes);
        if whole.len() > LONGEST_PAGE_BYTES {
            return Err(HttpError::new(HttpErrorKind::Unknown, Endless(whole.len())));
        }
    }
    Ok(whole.freeze())
}

/// A page of a listing that does not end.
#[derive(Debug)]
struct Endless(usize);

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a page of a listing has no end within {} bytes", self.0)
    }
}

impl std::error::Error for Endless {}

/// No answer came in time.
#[derive(Debug)]
struct Silent(Duration);

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation timed out: no response within {:?}", self.0)
    }
}

impl std::error::Error for Silent {}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Listing,
    /// Creates an object where nothing stands.
    Create,
    /// A step of an upload in parts, whose answer under the status of success may be an error.
    Upload,
    /// Of the machine's own services, not of the store.
    Credentials,
    Other,
}

impl Kind {
    fn of(request: &HttpRequest) -> Self {
        let (method, uri, headers) = (request.method().as_str(), request.uri(), request.headers());
        let query = uri.query().unwrap_or_default();
        let host = uri.host().unwrap_or_default();
        match method {
            _ if ["169.254.", "[fd00:", "sts."].iter().any(|start| host.starts_with(start)) => Self::Credentials,
            "GET" if query.split('&').any(|part| part == "list-type=2") => Self::Listing,
            "PUT" if is_create(headers) => Self::Create,
            "POST" if query.contains("uploadId=") || query.starts_with("uploads") => Self::Upload,
            _ => Self::Other,
        }
    }

    /// Whether a request whose answer never came may be sent again. Connections that are refused have carried nothing.
    fn may_repeat(self, kind: HttpErrorKind) -> bool {
        match kind {
            HttpErrorKind::Connect | HttpErrorKind::Request => true,
            HttpErrorKind::Timeout | HttpErrorKind::Interrupted | HttpErrorKind::Decode => self != Self::Create,
            _ => false,
        }
    }
}

/// When a request is sent again, and when no more.
struct Repetition<'a> {
    patience: &'a RetryTimes,
    began: Instant,
    pause: Duration,
    is_said: bool,
}

impl<'a> Repetition<'a> {
    fn new(patience: &'a RetryTimes) -> Self {
        Self { patience, began: Instant::now(), pause: FIRST_PAUSE, is_said: false }
    }

    fn pause(&mut self, why: &str, is_answer: bool) -> Option<Duration> {
        let all = self.patience.retry_time();
        let is_there = is_answer || self.patience.has_answered.load(Ordering::Relaxed);
        let longest = if is_there { all } else { all.min(CONTACT_TIME) };
        let elapsed = self.began.elapsed();
        // Up to a quarter less, so that many that failed at once do not come back at once.
        let spread = u32::try_from(RandomState::new().hash_one(elapsed) % 250).unwrap_or_default();
        let pause = self.pause - self.pause * spread / 1_000;
        if elapsed + pause > longest {
            return None;
        }
        if elapsed > SAID_AFTER && is_there && !self.is_said {
            self.is_said = true;
            tracing::warn!(
                answer = why,
                "the object store does not do what was asked; it is asked again for {longest:?}"
            );
        } else {
            tracing::debug!(answer = why, pause_s = pause.as_secs_f64(), "a request to the object store is repeated");
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

/// Whether an answer under the status of success is an error.
fn is_error_in_success(kind: Kind, status: StatusCode, body: &[u8]) -> bool {
    let is_looked_at = matches!(kind, Kind::Listing | Kind::Upload) && status.is_success();
    is_looked_at && listing::root_of(body).is_some_and(|root| root == b"Error")
}

/// The answer as the client takes it.
fn finish(kind: Kind, (mut parts, body): Whole) -> HttpResponse {
    let status = parts.status;
    let is_error = is_error_in_success(kind, status, &body);
    // The client keeps neither code nor reason of a redirection that leads nowhere.
    let leads_nowhere = status.is_redirection() && status.as_u16() != 304 && !parts.headers.contains_key("location");
    if is_error || leads_nowhere {
        let region = parts.headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
        let noted = StoreRefusal::note(status.as_u16(), region, &body);
        parts.status = StatusCode::BAD_REQUEST;
        return HttpResponse::from_parts(parts, noted.into());
    }
    if kind == Kind::Listing && status.is_success() {
        let answer: ListAnswer = listing::read(&body);
        parts.extensions.insert(answer);
        return HttpResponse::from_parts(parts, Bytes::from_static(NOTHING_LISTED).into());
    }
    HttpResponse::from_parts(parts, body.into())
}
