//! What can go wrong between a gateway and its caller, and how each fault looks on the wire.

use std::fmt;
use std::str::FromStr;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use futures::StreamExt;
use futures::stream;

use crate::error::{Error, Result};

use super::connection::Sever;

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
    /// The connection is closed without an answer, before the gateway did anything.
    Disconnect,
    /// The gateway does its work, then the connection is closed without an answer.
    LostAnswer,
    /// The connection is closed without an answer, and what the call was to change changes so many seconds of the gateway's clock later.
    /// Only a stop changes anything; what a query would have answered is lost.
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

    /// The HTTP answer, given what it would have been.
    pub(super) async fn spoil(&self, answer: Bytes, connection: &Sever) -> Response<Body> {
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
            Self::Disconnect | Self::LostAnswer | Self::LateEffect { .. } => {
                connection.sever();
                Response::new(Body::empty())
            }
            Self::Silence => futures::future::pending().await,
            Self::Hang => {
                let begun = stream::once(async { Ok::<_, std::io::Error>(half) });
                Response::new(Body::from_stream(begun.chain(stream::pending())))
            }
            Self::Truncated => Response::new(Body::from(half)),
            Self::ShortBody => {
                // As a stream, so that nobody compares the promise with what is there to send; with a pause, in which the half goes
                // out before the connection breaks.
                let broken = async {
                    tokio::task::yield_now().await;
                    Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
                };
                let cut = stream::once(async { Ok(half) }).chain(stream::once(broken));
                let mut response = Response::new(Body::from_stream(cut));
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(answer.len()));
                response
            }
            Self::Html => page(StatusCode::OK, "系统维护中"),
            Self::Empty => Response::new(Body::empty()),
            // A business error is an answer of the gateway's own; the server writes it.
            Self::Business { .. } => Response::new(Body::from(answer)),
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
    let mut response = Response::new(Body::from(html));
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
        let named = [
            Self::TooManyRequests { retry_after: Some(1) },
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
        ];
        if let Some(fault) = named.into_iter().find(|fault| fault.name() == text) {
            return Ok(fault);
        }
        match text.parse() {
            Ok(status @ 400..=599) => Ok(Self::Status(status)),
            _ => Err(Error::usage(format!("`{text}` is not a fault")).hint(
                "faults are an HTTP status such as 502, 429, disconnect, lost-answer, late-effect, silence, hang, truncated, \
                 short-body, html, empty and business",
            )),
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
        assert!("nonsense".parse::<Fault>().is_err() && "200".parse::<Fault>().is_err());
    }
}
