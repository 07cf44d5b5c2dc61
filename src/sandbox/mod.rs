//! A faithful simulated ERP: the vendor's gateways over HTTP, with a world that tests script and a journal that tests
//! believe.
//!
//! - [`Sandbox`] is a running server on a loopback port, with credentials of its own. It answers as the vendor's pages
//!   document; [`Behaviour`] lists everything in which it can be told to differ.
//! - [`Oddities`] are what real gateways were seen to answer beside the vendor's page, each by a name; they may change
//!   while it runs.
//! - [`World`] holds the requisitions: add, edit, thin out, purge; hold or advance its [`SandboxClock`].
//! - [`Journal`] is the oracle: every version with the time it lived, every call with what it was answered.
//! - [`generate`] makes believable requisitions by seed, the same for ever.
//!
//! The signature, the status codes and the JSON are written a second time from the vendor's description instead of
//! being shared with the client, so that a mistake cannot agree with itself. Beijing times and windows are shared; they
//! have property tests of their own.
//!
//! The server runs on a small runtime of its own, so that a test may block, or hold the world still, without stopping
//! it.

mod body;
mod clock;
mod connection;
mod data;
mod dice;
mod fault;
mod front;
mod hostile;
mod journal;
mod limit;
mod listing;
mod oddity;
mod openapi2;
mod poison;
mod qjb;
mod record;
mod render;
mod request;
mod run;
mod script;
mod server;
mod sign;
mod stop;
#[cfg(test)]
mod tests;
mod vocabulary;
mod world;

pub use clock::SandboxClock;
pub use data::{generate, generate_believable};
pub use fault::{Fault, RetryAfter};
pub use hostile::{
    Behaviour, Compression, Drift, DriftMoment, Faults, Interval, Latency, Order, Outer, Statements, Uncounted,
};
pub use journal::{Call, Journal, Moment, Outcome, Stop, Version};
pub use oddity::{Oddities, Oddity, OddityKind, Takes, Unit};
pub use poison::{Poison, PoisonKind};
pub use record::{Detail, Override, Quantity, Requisition, Status, Text};
pub use render::{Applicant, Dialect, EmptyList, Escapes, Lists, Scalars};
pub use run::{Credentials, Exposure, Options, Sandbox};
pub use script::{CallInfo, Choice, Hook};
pub use sign::{
    expected as expected_signature, expected_flagship as expected_flagship_signature, verify as verify_signature,
};
pub use stop::StopEffect;
pub use world::{Key, SharedWorld, World};
