//! Stopping partly referenced requisitions (停止引用), with every outcome on record. Knows no HTTP: the ERP is an
//! [`Erp`].
//!
//! The call changes the ERP, cannot be taken back, and its answer may get lost. What is guaranteed, whatever dies or
//! gets lost:
//! - **No call without its intent.** The intent, with the timestamp that the call is signed with, is committed before
//!   the call; a number whose earlier stop is not settled gets none (see [`Stops`](crate::log::stop_ledger::Stops)).
//! - **`stopped` only on evidence** (`judge.rs`): the number is absent from a well-formed list of failures, or a query
//!   shows it referenced with quantity still open. The latter may be recorded at once.
//! - **`not_stopped` only when no call can arrive any more**: the server's clock, which refuses timestamps older than
//!   120 seconds, was past that and a margin before a query was sent that still says partly referenced: both by its
//!   `Date` and by the timestamps that it accepts.
//! - **`refused` only in the ERP's own words.** Everything else is `unknown`, which a later run settles.
//!
//! ```text
//!  ask for numbers -> settle what is pending -> pass over what is stopped -> intend (commit) -> call once -> look at what the answer does not tell -> record (commit)
//! ```

mod answer;
mod before;
mod judge;
mod numbers;
mod plan;
mod recent;
mod run;
#[cfg(test)]
mod worlds_tests;

use std::future::Future;

pub(crate) use answer::StopAnswer;
pub(crate) use before::EarlierStops;
pub(crate) use judge::{Observation, StopFinding};
pub use numbers::Numbers;
pub(crate) use numbers::read_lines;
pub(crate) use plan::{InLake, Planned, StopPlan, reason};
pub(crate) use recent::stopped_since;
pub(crate) use run::{CallMade, StopReport, Stopper, Told};

use crate::error::{Error, Result};
use crate::time::BeijingTime;

/// The ERP, as far as stopping needs it.
pub(crate) trait Erp: Sync {
    /// A call that changes nothing and needs the same rights as the others: are we let in, and what is known of the
    /// server's clock?
    ///
    /// # Errors
    /// What keeps any call from being answered.
    fn ping(&self) -> impl Future<Output = Result<ServerTime>> + Send;

    /// Stops requisitions by one call, signed with the timestamp `requested_at` and no other. It is sent again only
    /// when it is certain that the ERP did nothing.
    fn stop(&self, numbers: &[String], requested_at: BeijingTime) -> impl Future<Output = Reply> + Send;

    /// What a requisition looks like now; nothing when the ERP does not know the number, or shows what cannot be read.
    ///
    /// # Errors
    /// What keeps any call from being answered.
    fn query(&self, number: &str) -> impl Future<Output = Result<Option<Observation>>> + Send;
}

/// What is known of the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerTime {
    /// The time that it had reached for certain when it was asked.
    pub reached: BeijingTime,
    /// A timestamp that the server accepts.
    pub timestamp: BeijingTime,
}

/// What a stop call came to.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The list of failures.
    Answered(StopAnswer),
    /// The gateway refused the call as a whole, before anything was done.
    Refused {
        /// Its code.
        code: i64,
        /// Its words.
        message: String,
        /// The same as an error, which says what to do.
        error: Error,
    },
    /// Nothing that says what was done.
    Unknown(Error),
}
