//! A small store that speaks S3, in memory, inside the test process, and does on demand what stores in the field do:
//! listings that break off, repeat themselves or are none, refusals with any code, answers that never come. It holds
//! keys of any shape and checks no signatures. It can be as Alibaba OSS is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};

use hyper::body::Bytes;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::creates::Creates;
use super::loopback::Loopback;

pub(crate) const KEY_ID: &str = "AKIDOFTHEFAKE";
pub(crate) const SECRET: &str = "secret-of-the-fake-store";
const BUCKET: &str = "b";
/// An odd listing without an end goes on until somebody has enough.
const INVENTED: usize = 1 << 40;

/// What becomes of listings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lists {
    #[default]
    Honestly,
    /// A page after which more follows names no token.
    WithoutTokens,
    /// The first version of the request is answered.
    FirstVersion,
    /// Each page names itself as the next.
    InCircles,
    /// Each page is the first, with a new token.
    FirstPageAgain,
    /// What comes before `start-after` is listed, too.
    FromTheStart,
    /// What does not begin with the prefix is listed, too.
    Everything,
    /// The last name comes first.
    Backwards,
    /// Names are encoded, and it is not said.
    Encoded,
    /// A web page, with the status of success.
    Html,
    /// Nothing, with the status of success.
    Blank,
    /// A page that breaks off within its text.
    CutOff,
    /// An error, with the status of success.
    ErrorInSuccess(&'static str),
    /// Only the first page, as if it were all.
    FirstPageOnly,
    /// Nothing at all, as if nothing were there.
    NothingThere,
    /// Pages without names, without an end.
    EmptyPages,
    /// Names that are not there, without an end.
    Invented,
    /// Only the first page, and it is not said whether more follows.
    Unsaid,
}

impl Lists {
    /// All ways in which a listing contradicts itself as soon as it has more than one page.
    pub(crate) const CONTRADICTIONS: [Self; 14] = [
        Self::WithoutTokens,
        Self::FirstVersion,
        Self::InCircles,
        Self::FirstPageAgain,
        Self::Everything,
        Self::Backwards,
        Self::Encoded,
        Self::Html,
        Self::Blank,
        Self::CutOff,
        Self::ErrorInSuccess("AccessDenied"),
        Self::EmptyPages,
        Self::Invented,
        Self::Unsaid,
    ];
}

/// What a request gets in place of its effect.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// This status, with this code and message as S3 writes them.
    Refuse(u16, &'static str, &'static str),
    /// The status of success, and nothing is kept.
    Pretend,
    /// Its condition is not looked at.
    IgnoreCondition,
    /// None, ever.
    Never,
}

/// What a hook is told of a request.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    /// The key, without the bucket.
    pub(crate) key: &'a str,
    pub(crate) is_listing: bool,
    pub(crate) is_conditional: bool,
}

type Hook = Box<dyn FnMut(&Asked<'_>) -> Option<Reply> + Send>;

#[derive(Default)]
struct State {
    objects: BTreeMap<Vec<u8>, Bytes>,
    uploads: BTreeMap<String, BTreeMap<u32, Bytes>>,
    begun: usize,
    creates: Creates,
    lists: Lists,
    page_names: usize,
    hook: Option<Hook>,
    requests: Vec<String>,
}

/// The store; it ends with the test.
pub(crate) struct FakeS3 {
    server: Loopback,
    state: Arc<Mutex<State>>,
}

impl FakeS3 {
    pub(crate) fn start() -> Self {
        Self::start_as(Creates::LikeS3)
    }

    pub(crate) fn start_as(creates: Creates) -> Self {
        let state = Arc::new(Mutex::new(State { creates, page_names: 1_000, ..State::default() }));
        let shared = Arc::clone(&state);
        let server = Loopback::serve(1, move |request| {
            let state = Arc::clone(&shared);
            async move {
                let (parts, body) = request.into_parts();
                let body = s3s::Body::from(body).store_all_limited(1 << 30).await.unwrap_or_default();
                Ok(answer(state, parts, body).await?)
            }
        });
        Self { server, state }
    }

    /// A place for a lake.
    pub(crate) fn lake(&self, name: &str) -> String {
        format!("s3://{BUCKET}/{name}")
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
        .chain(lock(&self.state).creates.setting())
        .collect()
    }

    /// Answers a request that has not come over the network.
    pub(crate) fn answer(&self, parts: Parts, body: Bytes) -> impl Future<Output = Answered> + Send + use<> {
        answer(Arc::clone(&self.state), parts, body)
    }

    /// Lists so from now on, with so many names a page.
    pub(crate) fn list_so(&self, lists: Lists, page_names: usize) {
        let mut state = lock(&self.state);
        (state.lists, state.page_names) = (lists, page_names);
    }

    /// Asks `hook` about every request from now on.
    pub(crate) fn reply_by(&self, hook: impl FnMut(&Asked<'_>) -> Option<Reply> + Send + 'static) {
        lock(&self.state).hook = Some(Box::new(hook));
    }

    /// Does what it is asked again.
    pub(crate) fn behave(&self) {
        let mut state = lock(&self.state);
        (state.lists, state.page_names, state.hook) = (Lists::Honestly, 1_000, None);
    }

    /// Puts an object under a key of any shape.
    pub(crate) fn put(&self, key: &[u8], body: &'static str) {
        lock(&self.state).objects.insert(key.to_vec(), Bytes::from_static(body.as_bytes()));
    }

    /// The keys that it holds, as well as they can be shown.
    pub(crate) fn keys(&self) -> Vec<String> {
        lock(&self.state).objects.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    /// Holds nothing, and has had no requests.
    pub(crate) fn clear(&self) {
        let mut state = lock(&self.state);
        state.objects.clear();
        state.uploads.clear();
        state.requests.clear();
    }

    /// The requests since this was called last: method, path and query.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).requests)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no panic")
}

pub(crate) type Answered = Result<Response<s3s::Body>, std::convert::Infallible>;

async fn answer(state: Arc<Mutex<State>>, parts: Parts, body: Bytes) -> Answered {
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let path = decoded(parts.uri.path());
    let key = path.strip_prefix(format!("/{BUCKET}/").as_bytes()).unwrap_or_default().to_vec();
    let (creates, only_new) = {
        let creates = lock(&state).creates;
        (creates, creates.only_new(&parts.headers))
    };
    let reply = {
        let mut state = lock(&state);
        state.requests.push(format!("{} {}", parts.method, parts.uri));
        let asked = Asked {
            method: &parts.method,
            key: &String::from_utf8_lossy(&key),
            is_listing: key.is_empty() && parts.method == Method::GET,
            is_conditional: only_new != Ok(false),
        };
        state.hook.take().and_then(|mut hook| {
            let reply = hook(&asked);
            state.hook = Some(hook);
            reply
        })
    };
    let only_new = match reply {
        None => match only_new {
            Ok(only_new) => only_new,
            Err((status, code, message)) => return Ok(refusal(status, code, message)),
        },
        Some(Reply::IgnoreCondition) => false,
        Some(Reply::Refuse(status, code, message)) => return Ok(refusal(status, code, message)),
        Some(Reply::Pretend) => return Ok(said(200, "")),
        Some(Reply::Never) => std::future::pending().await,
    };
    let mut state = lock(&state);
    Ok(match (&parts.method, query.get("uploadId")) {
        (&Method::GET, _) if key.is_empty() => listing(&mut state, &query),
        (&Method::GET | &Method::HEAD, _) => read(&state, &key, &parts),
        (&Method::POST, None) => {
            state.begun += 1;
            let id = format!("u{}", state.begun);
            state.uploads.insert(id.clone(), BTreeMap::new());
            said(
                200,
                &format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"),
            )
        }
        (&Method::POST, Some(id)) => match state.uploads.remove(id) {
            None => refusal(404, "NoSuchUpload", "no"),
            Some(put) => {
                let whole: Vec<u8> = put.into_values().flatten().collect();
                state.objects.insert(key, whole.into());
                said(200, "<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>")
            }
        },
        (&Method::PUT, Some(id)) => {
            let number = query["partNumber"].parse().expect("a number");
            match state.uploads.get_mut(id) {
                None => refusal(404, "NoSuchUpload", "no"),
                Some(upload) => {
                    upload.insert(number, body);
                    said(200, "")
                }
            }
        }
        (&Method::PUT, None) if only_new && state.objects.contains_key(&key) => {
            let (status, code, message) = creates.taken();
            refusal(status, code, message)
        }
        (&Method::PUT, None) => {
            state.objects.insert(key, body);
            said(200, "")
        }
        (&Method::DELETE, Some(id)) => {
            state.uploads.remove(id);
            said(204, "")
        }
        (&Method::DELETE, None) => {
            state.objects.remove(&key);
            said(204, "")
        }
        _ => refusal(405, "MethodNotAllowed", "no"),
    })
}

fn read(state: &State, key: &[u8], asked: &Parts) -> Response<s3s::Body> {
    let Some(body) = state.objects.get(key) else {
        return refusal(404, "NoSuchKey", "The specified key does not exist.");
    };
    let range = asked.headers.get("range").map(|range| range.to_str().expect("text"));
    let part = range.map(|range| {
        let (start, last) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).expect("a range");
        let [start, last] = [start, last].map(|text| text.parse::<usize>().expect("a number"));
        start..body.len().min(last + 1)
    });
    if part.as_ref().is_some_and(|part| part.start >= part.end) {
        return refusal(416, "InvalidRange", "The requested range is not satisfiable");
    }
    let mut response = said(if part.is_some() { 206 } else { 200 }, "");
    let shown = part.clone().unwrap_or(0..body.len());
    response.headers_mut().insert("content-length", shown.len().into());
    if let Some(part) = part {
        let range = format!("bytes {}-{}/{}", part.start, part.end - 1, body.len());
        response.headers_mut().insert("content-range", range.parse().expect("a value"));
    }
    if asked.method == Method::GET {
        *response.body_mut() = s3s::Body::from(body.slice(shown));
    }
    response
}

/// The names after which a page begins, under the prefix and in order, and whether each is a folder.
fn names_after(state: &State, prefix: &[u8], delimiter: bool, after: &[u8]) -> Vec<(Vec<u8>, Option<usize>)> {
    let mut seen = BTreeSet::new();
    let entry = |(key, body): (&Vec<u8>, &Bytes)| {
        let rest = key.strip_prefix(prefix)?;
        match rest.iter().position(|byte| *byte == b'/').filter(|_| delimiter) {
            Some(at) => Some((key[..=prefix.len() + at].to_vec(), None)),
            None => Some((key.clone(), Some(body.len()))),
        }
    };
    let entries = state.objects.iter().filter_map(entry);
    entries.filter(|(name, _)| name.as_slice() > after && seen.insert(name.clone())).collect()
}

fn listing(state: &mut State, query: &BTreeMap<String, String>) -> Response<s3s::Body> {
    let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let (lists, delimiter) = (state.lists, !get("delimiter").is_empty());
    let cap = get("max-keys").parse().unwrap_or(1_000).min(state.page_names);
    match lists {
        Lists::Html => return said(200, "<!DOCTYPE html><html><body>Please sign in<br></body></html>"),
        Lists::Blank => return said(200, ""),
        Lists::ErrorInSuccess(code) => return said(200, &error(code, "as the test says")),
        _ => {}
    }
    let prefix = if lists == Lists::Everything { "" } else { get("prefix") };
    // A token is what the page ended with, and how many there were before.
    let token = get("continuation-token").split_once(' ').map(|(count, last)| (count.parse().unwrap_or(0), last));
    let nth: usize = token.map_or(0, |(count, _)| count);
    let start = if lists == Lists::FromTheStart { "" } else { get("start-after") };
    let after = match lists {
        Lists::FirstPageAgain | Lists::FirstVersion => start,
        _ => token.map_or(start, |(_, last)| last),
    };
    let mut names = match lists {
        Lists::NothingThere | Lists::EmptyPages => Vec::new(),
        Lists::Invented => {
            let last: usize = after.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            let name = |number: usize| (format!("{prefix}~-{number:020}").into_bytes(), Some(1));
            (last + 1..INVENTED).map(name).take(cap + 1).collect()
        }
        _ => names_after(state, prefix.as_bytes(), delimiter, after.as_bytes()),
    };
    let more = names.len() > cap || lists == Lists::EmptyPages;
    names.truncate(cap);
    let last = names.last().map_or(String::new(), |(name, _)| String::from_utf8_lossy(name).into_owned());
    if lists == Lists::Backwards {
        names.reverse();
    }
    let next = match lists {
        Lists::InCircles => format!("{nth} {after}"),
        _ => format!("{} {last}", nth + 1),
    };
    page(lists, &names, more, &next)
}

fn page(lists: Lists, names: &[(Vec<u8>, Option<usize>)], more: bool, next: &str) -> Response<s3s::Body> {
    let is_truncated = more && !matches!(lists, Lists::FirstPageOnly);
    let mut text = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_vec();
    if lists != Lists::Unsaid {
        text.extend(format!("<IsTruncated>{is_truncated}</IsTruncated>").bytes());
    }
    match lists {
        Lists::FirstVersion => text.extend(format!("<Marker/><NextMarker>{}</NextMarker>", escaped(next)).bytes()),
        Lists::WithoutTokens | Lists::Unsaid => {}
        _ if is_truncated => {
            text.extend(format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(next)).bytes());
        }
        _ => {}
    }
    for (name, size) in names {
        let name = if lists == Lists::Encoded { encoded(name).into_bytes() } else { escaped_bytes(name) };
        let (before, after) = match size {
            Some(size) => (
                "<Contents><Key>".to_owned(),
                format!(
                    "</Key><LastModified>2026-06-30T00:00:00.000Z</LastModified><ETag>\"x\"</ETag><Size>{size}</Size></Contents>"
                ),
            ),
            None => ("<CommonPrefixes><Prefix>".to_owned(), "</Prefix></CommonPrefixes>".to_owned()),
        };
        text.extend(before.bytes().chain(name).chain(after.bytes()));
    }
    text.extend(b"</ListBucketResult>");
    if lists == Lists::CutOff {
        text.truncate(text.len() - "stBucketResult>".len());
    }
    let mut response = said(200, "");
    *response.body_mut() = s3s::Body::from(Bytes::from(text));
    response
}

fn error(code: &str, message: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>")
}

fn refusal(status: u16, code: &str, message: &str) -> Response<s3s::Body> {
    said(status, &error(code, message))
}

fn said(status: u16, text: &str) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::from(text.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    for (name, value) in [("etag", "\"x\""), ("last-modified", &now), ("content-type", "application/xml")] {
        response.headers_mut().insert(name, value.parse().expect("a value"));
    }
    response
}

/// Text as it stands in XML. Characters that XML forbids are written as numbers all the same, as S3 does.
fn escaped(text: &str) -> String {
    String::from_utf8(escaped_bytes(text.as_bytes())).expect("UTF-8")
}

fn escaped_bytes(bytes: &[u8]) -> Vec<u8> {
    let one = |byte: &u8| match byte {
        b'<' => b"&lt;".to_vec(),
        b'>' => b"&gt;".to_vec(),
        b'&' => b"&amp;".to_vec(),
        0..32 => format!("&#x{byte:X};").into_bytes(),
        byte => vec![*byte],
    };
    bytes.iter().flat_map(one).collect()
}

fn encoded(name: &[u8]) -> String {
    name.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => text.push(char::from(*byte)),
            byte => write!(text, "%{byte:02X}").expect("text"),
        }
        text
    })
}

/// A path without its percent signs.
fn decoded(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16)).expect("two digits") as u8;
        bytes.push(if byte == b'%' { digit() * 16 + digit() } else { byte });
    }
    bytes
}
