//! The commit log: which files of an account count, in which order it came to that, and the proof of each window.
//!
//! Commits stand in manifests, each created under the next number of its account's log only where nothing stands yet.
//! What all of them add up to is the [log state](state); the rules by which a next one may follow are checked before
//! every try at a number and whenever the log is read. `docs/lake-format.md` specifies it.
//!
//! Knows no HTTP and no data contract: names of tables stand in [`layout`], those of columns nowhere.

pub(crate) mod append;
pub(crate) mod checkpoint;
pub(crate) mod conflict;
pub(crate) mod lake;
pub(crate) mod layout;
pub(crate) mod manifest;
pub(crate) mod object;
pub(crate) mod read;
pub(crate) mod state;
pub(crate) mod stop_ledger;

#[cfg(test)]
mod fuzz_tests;

pub(crate) use crate::digest::{self, Sha256};
pub(crate) use conflict::Conflict;
pub use lake::Lake;
pub(crate) use lake::{LakeFile, ManifestReader};
pub(crate) use layout::Layout;
pub use layout::Table;
pub use manifest::Manifest;
pub(crate) use manifest::{Binding, CarriedRange, Commit, CommitKind, FileEntry, QuarantineEntry, RawEntry, Walk};
pub(crate) use object::ObjectEntry;
pub(crate) use state::{LiveCommit, LogState};
pub use stop_ledger::StopOutcome;
pub(crate) use stop_ledger::{PendingStop, Requester, StopEvidence, StopIntent, StopResult};
