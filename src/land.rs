//! Arrow to lake: Parquet files under unique names, and a commit log that says which of them count.
//!
//! **Exactly once.** A commit is one manifest object, created under the next number of its account's log only where
//! nothing stands yet. Before that moment none of its files count, after it all of them do. A process that dies
//! anywhere leaves either a commit or leftovers that the next writer's [sweep](Writer::sweep) clears away; two
//! processes at once never both commit the same second of modified time. The proof of a window travels in its manifest.
//! `docs/lake-format.md` specifies all of it.
//!
//! Knows no HTTP API and no data contract: callers say what a table is by a [`TableSpec`] and hand over rows.

pub(crate) mod commit;
pub(crate) mod doctor;
pub(crate) mod lease;
pub(crate) mod stage;
mod stops;
pub(crate) mod sweep;
mod watcher;

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
#[path = "../tests/support/creates.rs"]
mod creates;
#[cfg(test)]
#[expect(dead_code, reason = "shared with the tests of the program, which use other parts of it")]
#[path = "../tests/support/fake_s3.rs"]
pub(crate) mod fake_s3;
#[cfg(test)]
mod hostile_store_tests;
#[cfg(test)]
#[path = "../tests/support/loopback.rs"]
mod loopback;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
#[expect(dead_code, reason = "shared with the tests of the program, which use other parts of it")]
#[path = "../tests/support/s3.rs"]
mod s3_server;
#[cfg(test)]
mod s3_tests;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use commit::{Writer, WriterOptions};
pub(crate) use doctor::{AbilityOutcome, AbilityReport, examine};
pub use lease::LeaseWait;
pub(crate) use lease::{CleanEnd, LastRun, Lease, last_run};
pub(crate) use stage::{CommitOutcome, Committed, NewCommit, NewFile, NewManifest, NewRows, Quarantine, Raw};
pub(crate) use sweep::{Leftovers, Swept, leftovers};
pub(crate) use watcher::LogWatcher;
