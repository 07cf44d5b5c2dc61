//! What came back for a query: a response that was read, or one that stays unreadable.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::refusal::{self, CallKind, RefusalRule};
use crate::error::{Error, ErrorClass, Result};
use crate::unsaid::Unsaid;

/// A body as it came over the wire, decompressed, without what stands before its JSON.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) bytes: Vec<u8>,
    /// When the last byte arrived, in microseconds since 1970-01-01 00:00:00 UTC by this machine's clock.
    pub received_at_micros: i64,
    pub(super) unsaid: Unsaid,
    /// Where its code stands.
    pub(super) code: &'static str,
    pub(super) refusals: Arc<[RefusalRule]>,
}

impl Answer {
    /// JSON text, decompressed.
    pub fn body(&self) -> &[u8] {
        &self.bytes
    }

    /// A part of the body as it may be kept: without secret, salt and signatures, which a server may have repeated.
    pub(crate) fn strike_out<'a>(&self, part: &'a [u8]) -> Cow<'a, [u8]> {
        self.unsaid.strike_out(part)
    }

    /// Whether an answer that lists nothing and says this is known to be a refusal, although its code is that of a
    /// success.
    pub(crate) fn is_refusal(&self, words: &str) -> bool {
        !words.is_empty() && refusal::judge(CallKind::Query, self.code, 0, words, &self.refusals).1.is_some()
    }
}

/// Why a body that looked like an answer was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRead {
    /// It cannot be read, for this reason. It is asked for again.
    Unreadable(String),
    /// It is a refusal with the code of a success, in these words.
    Refused(String),
}

/// Why a body cannot be read, as the source of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnreadableCause(pub(crate) String);

impl fmt::Display for UnreadableCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnreadableCause {}

/// What a call gave, and what it cost.
#[derive(Clone, Copy, Debug)]
pub struct Called<T> {
    /// What was read from the answer.
    pub value: T,
    /// Tries that failed before the one that was answered.
    pub retries: u32,
}

/// What a query gave.
#[derive(Clone, Debug)]
pub enum Response<T> {
    /// What was read from the response.
    Read(T),
    /// The response cannot be read, however often it is asked for.
    Unreadable(UnreadableResponse),
}

impl<T> Response<T> {
    /// What was read.
    ///
    /// # Errors
    /// [`ErrorKind::GatewayUnavailable`](crate::ErrorKind::GatewayUnavailable) for a response that stays unreadable.
    pub fn into_read(self) -> Result<T> {
        match self {
            Self::Read(value) => Ok(value),
            Self::Unreadable(response) => Err(response.into_error()),
        }
    }
}

/// A response that stayed unreadable for [`CallPolicy::UNREADABLE_TRIES`](super::CallPolicy::UNREADABLE_TRIES) tries,
/// or that is larger than it may be.
#[derive(Clone, PartialEq, Eq)]
pub struct UnreadableResponse {
    /// Why, in words without the response.
    pub why: String,
    /// The body, decompressed; empty when it is too large.
    pub bytes: Vec<u8>,
    /// The size of the decompressed body, as far as it was read or announced.
    pub size: u64,
    /// When the last byte arrived, in microseconds since 1970-01-01 00:00:00 UTC by this machine's clock.
    pub received_at_micros: i64,
    /// Whether it is larger than [`CallPolicy::max_response_bytes`](super::CallPolicy::max_response_bytes).
    pub is_too_large: bool,
}

impl UnreadableResponse {
    /// The same as an error, for those who can do nothing with such a response.
    pub(crate) fn into_error(self) -> Error {
        Error::new(ErrorClass::AnswerUnreadable, "the response cannot be read")
            .with("size in bytes", self.size)
            .because(UnreadableCause(self.why))
            .hint("run the same command again later; if it stays, tell the vendor: the gateway answers something that is no valid JSON of this method")
    }
}

impl fmt::Debug for UnreadableResponse {
    /// The bytes are left out: they are many, and the customer's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnreadableResponse")
            .field("why", &self.why)
            .field("size", &self.size)
            .field("received_at_micros", &self.received_at_micros)
            .field("is_too_large", &self.is_too_large)
            .finish_non_exhaustive()
    }
}
