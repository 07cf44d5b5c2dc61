//! What can go wrong between a gateway and its caller, and how each fault looks on the wire.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::{HeaderValue, Response, StatusCode, header};

use crate::error::{Error, ErrorClass, Result};
use crate::text::text;
use crate::time::BeijingTime;

use super::body::{self, Body};
use super::connection::Sever;

/// How a gateway says when to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// In so many seconds.
    Seconds(u32),
    /// At a time, so many seconds of the gateway's clock ahead.
    Date {
        /// How far ahead it is.
        seconds: u32,
    },
}

impl RetryAfter {
    fn header(self, now: BeijingTime) -> HeaderValue {
        match self {
            Self::Seconds(seconds) => HeaderValue::from(seconds),
            Self::Date { seconds } => http_date(now.plus_seconds(seconds.into()).unix()),
        }
    }
}

/// A time in seconds since 1970, as headers say it.
pub(super) fn http_date(unix: i64) -> HeaderValue {
    let since = Duration::from_secs(u64::try_from(unix).unwrap_or(0));
    HeaderValue::try_from(httpdate::fmt_http_date(UNIX_EPOCH + since)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// One fault of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error page with this HTTP status, as a proxy in front of the gateway answers.
    Status(u16),
    /// HTTP 429, with a `Retry-After` of so many seconds if given.
    TooManyRequests {
        /// The seconds of `Retry-After`.
        retry_after: Option<u32>,
    },
    /// HTTP 503 with a `Retry-After`.
    ComeAgain(RetryAfter),
    /// The connection is closed without an answer, before the gateway did anything.
    Disconnect,
    /// The gateway does its work, then the connection is closed without an answer.
    LostAnswer,
    /// The connection is closed without an answer, and what the call was to change changes so many seconds of the
    /// gateway's clock later. Only a stop changes anything; what a query would have answered is lost.
    LateEffect {
        /// Seconds of the gateway's clock.
        seconds: u32,
    },
    /// No answer ever comes; the connection stays open.
    Silence,
    /// The answer begins and never ends.
    Hang,
    /// A complete HTTP answer whose JSON is cut in the middle.
    Truncated,
    /// Fewer bytes than `Content-Length` promised, then the connection is closed.
    ShortBody,
    /// HTTP 200 with an HTML page.
    Html,
    /// HTTP 200 with no body.
    Empty,
    /// A business error of the gateway.
    Business {
        /// Its code.
        code: i64,
        /// Its text.
        message: String,
    },
}

impl Fault {
    /// The faults that a bare probability draws from: all that a client can get over without waiting for its timeout.
    pub fn usual() -> Vec<Self> {
        vec![
            Self::Status(500),
            Self::Status(502),
            Self::TooManyRequests { retry_after: Some(1) },
            Self::Disconnect,
            Self::Truncated,
            Self::ShortBody,
            Self::Html,
            Self::Empty,
        ]
    }

    /// The word for it in the journal and on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::TooManyRequests { .. } => "429",
            Self::ComeAgain(RetryAfter::Seconds(_)) => "retry-after",
            Self::ComeAgain(RetryAfter::Date { .. }) => "retry-after-date",
            Self::Disconnect => "disconnect",
            Self::LostAnswer => "lost-answer",
            Self::LateEffect { .. } => "late-effect",
            Self::Silence => "silence",
            Self::Hang => "hang",
            Self::Truncated => "truncated",
            Self::ShortBody => "short-body",
            Self::Html => "html",
            Self::Empty => "empty",
            Self::Business { .. } => "business",
        }
    }

    /// Whether the gateway does its work nevertheless, so that only the answer suffers.
    pub(super) fn comes_after_the_work(&self) -> bool {
        matches!(self, Self::LostAnswer | Self::LateEffect { .. } | Self::Hang | Self::Truncated | Self::ShortBody)
    }

    /// What it is, in a few words.
    fn looks(&self) -> &'static str {
        match self {
            Self::Status(_) => "an error page with that HTTP status",
            Self::TooManyRequests { .. } => "HTTP status 429, with a `Retry-After` of a second",
            Self::ComeAgain(RetryAfter::Seconds(_)) => "HTTP status 503, with a `Retry-After` of a second",
            Self::ComeAgain(RetryAfter::Date { .. }) => "HTTP status 503, with a `Retry-After` that is a date",
            Self::Disconnect => "the connection is closed before the gateway did anything",
            Self::LostAnswer => "the gateway does its work, then the connection is closed",
            Self::LateEffect { .. } => "the connection is closed, and a stop takes effect a minute later",
            Self::Silence => "no response ever comes",
            Self::Hang => "the response begins and never ends",
            Self::Truncated => "JSON that is cut in the middle",
            Self::ShortBody => "fewer bytes than `Content-Length` promised",
            Self::Html => "an HTML page with HTTP status 200",
            Self::Empty => "HTTP status 200 with no body",
            Self::Business { .. } => "a business error that says that the system is busy",
        }
    }

    /// All faults that have a name, as the command line understands them.
    fn named() -> [Self; 13] {
        [
            Self::TooManyRequests { retry_after: Some(1) },
            Self::ComeAgain(RetryAfter::Seconds(1)),
            Self::ComeAgain(RetryAfter::Date { seconds: 2 }),
            Self::Disconnect,
            Self::LostAnswer,
            Self::LateEffect { seconds: 60 },
            Self::Silence,
            Self::Hang,
            Self::Truncated,
            Self::ShortBody,
            Self::Html,
            Self::Empty,
            Self::Business { code: 1, message: "系统繁忙，请稍后重试".to_owned() },
        ]
    }

    /// The faults that the command line understands: the word of each and what it is.
    pub fn vocabulary() -> impl Iterator<Item = (&'static str, &'static str)> {
        let status = std::iter::once(("400..599", Self::Status(502).looks()));
        status.chain(Self::named().map(|fault| (fault.name(), fault.looks())))
    }

    /// The HTTP answer, given what it would have been, when the gateway's clock says `now`.
    pub(super) async fn spoil(&self, answer: Bytes, connection: &Sever, now: BeijingTime) -> Response<Body> {
        let half = answer.slice(..answer.len() / 2);
        match self {
            Self::Status(status) => error_page(*status),
            Self::TooManyRequests { retry_after } => {
                let mut response = error_page(429);
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
                }
                response
            }
            Self::ComeAgain(after) => {
                let mut response = error_page(503);
                response.headers_mut().insert(header::RETRY_AFTER, after.header(now));
                response
            }
            Self::Disconnect | Self::LostAnswer | Self::LateEffect { .. } => {
                connection.sever();
                Response::new(body::empty())
            }
            Self::Silence => futures::future::pending().await,
            Self::Hang => {
                let begun = stream::once(async { Ok::<_, std::io::Error>(half) });
                Response::new(body::streamed(begun.chain(stream::pending())))
            }
            Self::Truncated => Response::new(body::whole(half)),
            Self::ShortBody => {
                // As a stream, so that nobody compares the promise with what is there to send; with a pause, in which
                // the half goes out before the connection breaks.
                let broken = async {
                    tokio::task::yield_now().await;
                    Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
                };
                let cut = stream::once(async { Ok(half) }).chain(stream::once(broken));
                let mut response = Response::new(body::streamed(cut));
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(answer.len()));
                response
            }
            Self::Html => page(StatusCode::OK, "系统维护中"),
            Self::Empty => Response::new(body::empty()),
            // A business error is an answer of the gateway's own; the server writes it.
            Self::Business { .. } => Response::new(body::whole(answer)),
        }
    }
}

fn error_page(status: u16) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    page(status, status.canonical_reason().unwrap_or("error"))
}

fn page(status: StatusCode, text: &str) -> Response<Body> {
    let html =
        format!("<html><head><title>{text}</title></head><body><center><h1>{text}</h1></center></body></html>\n");
    let mut response = Response::new(body::whole(html));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            _ => f.write_str(self.name()),
        }
    }
}

impl FromStr for Fault {
    type Err = Error;

    /// The words of [`Fault::name`], or an HTTP status of three digits.
    fn from_str(text: &str) -> Result<Self> {
        if let Some(fault) = Self::named().into_iter().find(|fault| fault.name() == text) {
            return Ok(fault);
        }
        match text.parse() {
            Ok(status @ 400..=599) => Ok(Self::Status(status)),
            _ => {
                let names = Self::named().map(|fault| fault.name()).join(", ");
                Err(Error::new(ErrorClass::SandboxWrong, text!("`{text}` is not a fault", text))
                    .hint(text!("faults are an HTTP status such as 502, and {names}", names)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        for fault in Fault::usual() {
            assert_eq!(fault.to_string().parse::<Fault>().expect("a fault"), fault);
        }
        for fault in Fault::named() {
            assert_eq!(fault.name().parse::<Fault>().expect("a fault"), fault);
        }
        assert!("nonsense".parse::<Fault>().is_err() && "200".parse::<Fault>().is_err());
    }
}
