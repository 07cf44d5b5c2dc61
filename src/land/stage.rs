//! What is to land, the commit that it becomes, and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::id::CommitId;
use crate::log::manifest;
use crate::log::{CommitKind, Conflict, FileEntry, QuarantineEntry, RawEntry, StopIntent, StopResult, Table};
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
    pub(crate) sums: BTreeMap<Table, i128>,
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

    /// Adds a file that was written. Manifests list headers first, and removed files go in that order: details are
    /// written before headers and deleted after them.
    pub(crate) fn add(&mut self, table: Table, WrittenFile { entry, sum }: WrittenFile) {
        self.files.push(entry);
        self.files.sort_by_key(|file| Table::from_name(&file.table));
        if let Some(sum) = sum {
            *self.sums.entry(table).or_default() += sum;
        }
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        manifest::paths(&self.files, self.quarantine.as_ref(), self.raw.as_ref())
    }
}

/// A file of a commit, before it is written.
#[derive(Debug)]
pub(crate) struct NewFile {
    /// What the table is.
    pub spec: Arc<TableSpec>,
    /// The span that the file's name states, within one Beijing month; none for the window of the commit.
    pub span: Option<Window>,
    /// The number of the part, from 1, when a table of the commit has several files of one span.
    pub part: Option<u32>,
    /// The rows.
    pub rows: RowSource,
}

/// A file of a commit that was written.
#[derive(Debug)]
pub(crate) struct WrittenFile {
    pub(crate) entry: FileEntry,
    pub(crate) sum: Option<i128>,
}

/// Quarantined records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quarantine {
    /// One JSON object a line.
    pub lines: Bytes,
    /// How many.
    pub rows: u64,
}

impl Quarantine {
    /// The records of these lines, which have no line breaks; none without lines.
    pub(crate) fn of_lines(lines: impl Iterator<Item = String>) -> Option<Self> {
        let (mut text, mut rows) = (String::new(), 0);
        for line in lines {
            text.push_str(&line);
            text.push('\n');
            rows += 1;
        }
        (rows > 0).then(|| Self { lines: Bytes::from(text), rows })
    }
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
pub(crate) struct NewCommit {
    /// What it is for.
    pub kind: CommitKind,
    /// The seconds that it covers.
    pub window: Option<Window>,
    /// The commits whose place it takes.
    pub removes: Vec<CommitId>,
    /// Its files, made and written one after the other; one without rows is not written.
    pub files: Vec<NewFile>,
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
    /// What it is for.
    pub kind: CommitKind,
    /// The seconds that it covers.
    pub window: Option<Window>,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// The exact sums over their rows, by table; see [`TableSpec::summed`].
    pub sums: BTreeMap<Table, i128>,
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
