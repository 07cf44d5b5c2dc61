//! What a query gives: what was read of its response, or the response as it stayed unreadable.

use super::call::Unreadable;
use crate::error::{Error, ErrorKind, Result};

/// What a query gave.
#[derive(Debug)]
pub enum Response<T> {
    /// What was read.
    Read(T),
    /// A response that nobody can read, which is no outage: the same question in smaller parts may be answered.
    Unreadable(UnreadableResponse),
}

/// A response that stayed unreadable for [`CallPolicy::UNREADABLE_TRIES`](super::CallPolicy::UNREADABLE_TRIES) tries, or that is larger
/// than it may be.
#[derive(Clone, Debug)]
pub struct UnreadableResponse {
    /// Why it cannot be read, without any of it.
    pub why: String,
    /// Its bytes, decompressed; empty when it is too large.
    pub bytes: Vec<u8>,
    /// Its size in bytes, decompressed, as far as it was read or announced.
    pub size: u64,
    /// When it arrived, in microseconds since 1970-01-01 00:00:00 UTC by this machine's clock.
    pub received_at_micros: i64,
    /// Whether it is larger than it may be.
    pub is_too_large: bool,
}

impl<T> Response<T> {
    /// What was read, for those who cannot ask in smaller parts.
    ///
    /// # Errors
    /// [`ErrorKind::GatewayUnavailable`] when nothing could be read.
    pub fn into_read(self) -> Result<T> {
        match self {
            Self::Read(value) => Ok(value),
            Self::Unreadable(response) => {
                let error = Error::new(ErrorKind::GatewayUnavailable, "the response cannot be read");
                Err(error
                    .because(Unreadable(response.why))
                    .hint("run again later; if it stays so, show it to the vendor"))
            }
        }
    }
}
