//! A real S3 server inside the test process, on a loopback port of its own: it checks signatures and keeps objects in a
//! temporary folder. A hook may break any request before or after its effect.
//!
//! The server beneath checks a condition and writes in two steps, so conditional writes are let in one at a time. As
//! Alibaba OSS, which it can be, it takes the header of OSS for the condition that the server beneath knows.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderValue, IF_MATCH, IF_NONE_MATCH};
use hyper::{Method, Request, Response, StatusCode};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::creates::Creates;
use super::loopback::Loopback;

pub(crate) const KEY_ID: &str = "AKIDEXAMPLEOFTESTS";
pub(crate) const SECRET: &str = "wJalr/XUtnFEMI+secret-of-tests";

/// What happens to a request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Answered with this status; it has no effect.
    Refuse(u16),
    /// The same with a code and a message.
    RefuseWith(u16, &'static str, &'static str),
    /// It has its effect, and the connection is cut instead of an answer.
    LoseAnswer,
    /// It has its effect, and the answer is this status.
    RefuseAfter(u16),
    /// It takes so much longer.
    Slow(Duration),
    /// It waits until it is released, whether its client is still there or not.
    Hold(Arc<Held>),
    /// Its condition is not looked at.
    IgnoreCondition,
}

/// A request that waits at the server.
pub(crate) struct Held {
    arrived: Semaphore,
    released: Semaphore,
    done: Semaphore,
}

impl Held {
    pub(crate) fn new() -> Arc<Self> {
        let closed = || Semaphore::new(0);
        Arc::new(Self { arrived: closed(), released: closed(), done: closed() })
    }

    /// Waits until the request is at the server.
    pub(crate) async fn arrived(&self) {
        self.arrived.acquire().await.expect("open").forget();
    }

    /// Lets it have its effect, and waits for that.
    pub(crate) async fn release(&self) {
        self.released.add_permits(1);
        self.done.acquire().await.expect("open").forget();
    }
}

/// What a hook is told of a request.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    /// `/bucket/key`.
    pub(crate) path: &'a str,
    pub(crate) is_conditional: bool,
}

type Hook = Box<dyn FnMut(&Asked<'_>) -> Option<Fault> + Send>;

struct Shared {
    service: S3Service,
    creates: Creates,
    conditional: tokio::sync::Mutex<()>,
    hook: Mutex<Option<Hook>>,
    requests: AtomicU32,
    root: TempDir,
}

/// The server; it ends with the test.
pub(crate) struct S3Server {
    server: Loopback,
    shared: Arc<Shared>,
    buckets: AtomicU32,
}

impl S3Server {
    pub(crate) fn start() -> Self {
        Self::start_as(Creates::LikeS3)
    }

    pub(crate) fn start_as(creates: Creates) -> Self {
        let root = TempDir::new().expect("a temporary folder");
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).expect("a file system"));
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let shared = Arc::new(Shared {
            service: builder.build(),
            creates,
            conditional: tokio::sync::Mutex::default(),
            hook: Mutex::default(),
            requests: AtomicU32::new(0),
            root,
        });
        let answering = Arc::clone(&shared);
        let server = Loopback::serve(2, move |request| {
            let shared = Arc::clone(&answering);
            async move { Ok(answer(shared, request).await?) }
        });
        Self { server, shared, buckets: AtomicU32::new(0) }
    }

    /// A new, empty bucket.
    pub(crate) fn bucket(&self) -> String {
        let name = format!("lake{}", self.buckets.fetch_add(1, Ordering::SeqCst));
        std::fs::create_dir(self.shared.root.path().join(&name)).expect("a bucket");
        name
    }

    /// Where the objects of a bucket lie, as files.
    pub(crate) fn folder(&self, bucket: &str) -> std::path::PathBuf {
        self.shared.root.path().join(bucket)
    }

    /// How many uploads in parts were begun and neither completed nor aborted.
    pub(crate) fn open_uploads(&self) -> usize {
        let names = std::fs::read_dir(self.shared.root.path()).expect("a folder").map(|entry| entry.expect("an entry"));
        let is_open = |name: &str| name.starts_with(".upload-") && name.ends_with(".json");
        names.filter(|entry| entry.file_name().to_str().is_some_and(is_open)).count()
    }

    /// The variables that point a client at it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://{}", self.server.address)),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .chain(self.shared.creates.setting())
        .collect()
    }

    /// Asks `hook` about every request from now on.
    pub(crate) fn break_by(&self, hook: impl FnMut(&Asked<'_>) -> Option<Fault> + Send + 'static) {
        *self.shared.hook.lock().expect("no panic") = Some(Box::new(hook));
    }

    /// Breaks the first request that fits.
    pub(crate) fn break_first(&self, fits: fn(&Asked<'_>) -> bool, fault: Fault) {
        let mut fault = Some(fault);
        self.break_by(move |asked| if fits(asked) { fault.take() } else { None });
    }

    /// How many requests it has had.
    pub(crate) fn requests(&self) -> u32 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

/// Cuts the connection.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<s3s::Body>, Cut> {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let (mut parts, body) = request.into_parts();
    // Taken in whole, so that it outlives its client.
    let bytes = s3s::Body::from(body).store_all_limited(1 << 30).await.map_err(|_| Cut)?;
    let only_new = shared.creates.only_new(&parts.headers);
    let is_conditional = only_new != Ok(false) || parts.headers.contains_key(IF_MATCH);
    let asked = Asked { method: &parts.method, path: parts.uri.path(), is_conditional };
    let fault = shared.hook.lock().expect("no panic").as_mut().and_then(|hook| hook(&asked));
    if let (Some(Fault::IgnoreCondition), true) = (&fault, is_conditional) {
        let _ = std::fs::remove_file(shared.root.path().join(decoded(parts.uri.path().trim_start_matches('/'))));
    }
    if only_new == Ok(true) {
        // A header that is not signed, beside those that are.
        parts.headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    }
    if let (None, Err((status, code, message))) = (&fault, only_new) {
        return Ok(refusal_with(status, code, message));
    }
    let effect = apply(Arc::clone(&shared), Request::from_parts(parts, bytes), is_conditional);
    match fault {
        None | Some(Fault::IgnoreCondition) => effect.await,
        Some(Fault::Refuse(status)) => Ok(refusal(status)),
        Some(Fault::RefuseWith(status, code, message)) => Ok(refusal_with(status, code, message)),
        Some(Fault::LoseAnswer) => {
            effect.await?;
            Err(Cut)
        }
        Some(Fault::RefuseAfter(status)) => {
            effect.await?;
            Ok(refusal(status))
        }
        Some(Fault::Slow(time)) => {
            tokio::time::sleep(time).await;
            effect.await
        }
        Some(Fault::Hold(held)) => {
            let task = tokio::spawn(async move {
                held.arrived.add_permits(1);
                held.released.acquire().await.expect("open").forget();
                let answer = effect.await;
                held.done.add_permits(1);
                answer
            });
            task.await.expect("no panic")
        }
    }
}

async fn apply(shared: Arc<Shared>, request: Request<Bytes>, is_conditional: bool) -> Result<Response<s3s::Body>, Cut> {
    let _one_at_a_time = if is_conditional { Some(shared.conditional.lock().await) } else { None };
    let response = shared.service.call(request.map(s3s::Body::from)).await.map_err(|_| Cut)?;
    if is_conditional && response.status() == StatusCode::PRECONDITION_FAILED {
        let (status, code, message) = shared.creates.taken();
        return Ok(refusal_with(status, code, message));
    }
    Ok(response)
}

/// A path without its percent signs.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).expect("two digits") as u8;
        bytes.push(if byte == b'%' { digit() * 16 + digit() } else { byte });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn refusal(status: u16) -> Response<s3s::Body> {
    let code = if status == 501 { "NotImplemented" } else { "ServiceUnavailable" };
    refusal_with(status, code, "as the test says")
}

fn refusal_with(status: u16, code: &str, message: &str) -> Response<s3s::Body> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
    let mut response = Response::new(s3s::Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response
}
