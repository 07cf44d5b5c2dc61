//! What is to land, the commit that it becomes, and what came of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::id::CommitId;
use crate::log::manifest;
use crate::log::{CommitKind, Conflict, FileEntry, QuarantineEntry, RawEntry, StopIntent, StopResult};
use crate::parquet::{RowSource, TableSpec};
use crate::proof::Proof;
use crate::time::{BeijingTime, Window};

/// A commit in the making. When it is given up, its files are left to the next sweep.
#[derive(Debug)]
pub(crate) struct StagedCommit {
    pub(crate) commit: CommitId,
    pub(crate) kind: CommitKind,
    pub(crate) created_at: BeijingTime,
    pub(crate) window: Option<Window>,
    pub(crate) removes: Vec<CommitId>,
    pub(crate) fences: Vec<CommitId>,
    pub(crate) files: Vec<FileEntry>,
    pub(crate) quarantine: Option<QuarantineEntry>,
    pub(crate) raw: Option<RawEntry>,
    pub(crate) intent: Option<StopIntent>,
    pub(crate) results: Vec<StopResult>,
}

impl StagedCommit {
    /// The id that the commit will have.
    pub(crate) fn commit(&self) -> CommitId {
        self.commit
    }

    pub(crate) fn fencing(self, fences: Vec<CommitId>) -> Self {
        Self { fences, ..self }
    }

    pub(crate) fn intending(self, intent: StopIntent) -> Self {
        Self { intent: Some(intent), ..self }
    }

    pub(crate) fn settling(self, results: Vec<StopResult>) -> Self {
        Self { results, ..self }
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        manifest::paths(&self.files, self.quarantine.as_ref(), self.raw.as_ref())
    }
}

/// The rows of one file.
#[derive(Debug)]
pub(crate) struct TablePart {
    /// What the table is.
    pub spec: Arc<TableSpec>,
    /// The span that the file's name states, within one Beijing month; none for the window of the commit.
    pub span: Option<Window>,
    /// The number of the part, from 1, when a table of the commit has several files of one span.
    pub part: Option<u32>,
    /// The rows.
    pub rows: RowSource,
}

/// Quarantined records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quarantine {
    /// One JSON object a line.
    pub lines: Bytes,
    /// How many.
    pub rows: u64,
}

/// The answers from which a commit is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    /// zstd, one JSON object a line.
    pub packed: Bytes,
    /// How many.
    pub answers: u64,
}

/// Everything of one commit.
#[derive(Debug)]
pub(crate) struct Landing {
    /// What it is for.
    pub kind: CommitKind,
    /// The seconds that it covers.
    pub window: Option<Window>,
    /// The commits whose place it takes.
    pub removes: Vec<CommitId>,
    /// Its rows, made and written one part after the other; parts without rows write no file.
    pub parts: Vec<TablePart>,
    /// Its quarantined records.
    pub quarantine: Option<Quarantine>,
    /// The answers from which it is made, if they are kept.
    pub raw: Option<Raw>,
    /// Why the window is known to be complete.
    pub proof: Option<Proof>,
}

/// A commit that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    /// The number of its manifest.
    pub number: u64,
    /// Its id.
    pub commit: CommitId,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// Its quarantined records.
    pub quarantine: Option<QuarantineEntry>,
    /// Objects of removed commits that could not be deleted yet; the next sweep does it.
    pub undeleted: Vec<String>,
}

/// What became of a staged commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommitOutcome {
    /// It counts.
    Committed(Committed),
    /// It does not and never will, and its files are gone: plan it again.
    Dropped(Conflict),
}
