//! Arrow to lake: Parquet files under unique names, and a commit log that says which of them count.
//!
//! **Exactly once.** A commit is one manifest object, created under the next number of its account's log only where nothing stands
//! yet. Before that moment none of its files count, after it all of them do. A process that dies anywhere leaves either a commit or
//! leftovers that the next writer's [sweep](Writer::sweep) clears away; two processes at once never both commit the same second of
//! modified time. The proof of a window travels in its manifest. `docs/lake-format.md` specifies all of it.
//!
//! Knows no HTTP API and no data contract: callers say what a table is by a [`TableSpec`] and hand over rows.

mod append;
mod checkpoint;
mod committed;
mod digest;
mod doctor;
mod draft;
mod fold;
pub mod layout;
mod lease;
mod local;
mod log;
pub mod manifest;
mod parquet;
mod probe;
mod reader;
mod s3;
mod seam;
mod source;
mod stops;
mod store;
mod sweep;
mod verify;
mod writer;

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
#[expect(dead_code, reason = "shared with the tests of the program, which use other parts of it")]
#[path = "../../tests/support/s3.rs"]
mod s3_server;
#[cfg(test)]
mod s3_tests;
#[cfg(test)]
mod testing;

pub use committed::ObjectEntry;
pub use digest::Sha256;
pub use doctor::{Ability, Finding, Outcome as Tried, examine};
pub use draft::{Committed, Draft, Landing, Outcome, Quarantine, Raw, TablePart};
pub use fold::{Fold, LastCommit, LiveCommit, Refusal};
pub use layout::{Layout, Table};
pub use lease::{Lease, LeaseWait};
pub use manifest::{Binding, CommitKind, FileEntry, FormatVersion, Manifest, Proof, QuarantineEntry, RawEntry, Rule};
pub use parquet::{EncodedFile, Origin, TableSpec, decode, encode};
pub use reader::{Lake, LakeFile, Leftovers, accounts};
pub use seam::{BUCKET_POINTS as BUCKET_FAIL_POINTS, POINTS as FAIL_POINTS};
pub use source::{Columns, RowSource};
pub use stops::{Requester, StopEvidence, StopIntent, StopOutcome, StopResult, StoppedBefore, Stops, Unsettled};
pub use store::{Access, Created, Object, Store, Writers};
pub use sweep::Swept;
pub use verify::{Defect, Depth, Expected, TableShape, Uneven, Verified, accounts_with_objects, strays, verify};
pub use writer::{Writer, WriterOptions};
