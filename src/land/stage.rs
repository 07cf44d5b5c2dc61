//! What is to land, the manifest that it becomes, and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;

use crate::id::CommitId;
use crate::log::{
    CarriedRange, Commit, CommitKind, Conflict, FileEntry, QuarantineEntry, RawEntry, StopIntent, StopResult, Table,
    Walk,
};
use crate::parquet::{RowFilter, RowSource, TableSpec};
use crate::time::{BeijingTime, Window};

/// A manifest in the making. When it is given up, the files of its commits are left to the next sweep.
#[derive(Debug)]
pub(crate) struct StagedManifest {
    /// That of its first commit, where it has one.
    pub(crate) id: CommitId,
    pub(crate) created_at: BeijingTime,
    pub(crate) walk: Option<Walk>,
    pub(crate) commits: Vec<Commit>,
    pub(crate) removes: Vec<CommitId>,
    pub(crate) fences: Vec<CommitId>,
    pub(crate) intent: Option<StopIntent>,
    /// The exact sums over its new rows, by table; see [`TableSpec::summed`].
    pub(crate) sums: BTreeMap<Table, i128>,
}

impl StagedManifest {
    pub(crate) fn fencing(self, fences: Vec<CommitId>) -> Self {
        Self { fences, ..self }
    }

    pub(crate) fn intending(self, intent: StopIntent) -> Self {
        Self { intent: Some(intent), ..self }
    }

    /// Adds what became of stops to its commit.
    pub(crate) fn settling(mut self, results: Vec<StopResult>) -> Self {
        if let Some(commit) = self.commits.first_mut() {
            commit.results = results;
        }
        self
    }

    pub(crate) fn proved_by(self, walk: Option<Walk>) -> Self {
        Self { walk, ..self }
    }

    /// Adds a file that was written for one of its commits. Manifests list headers first, and of a table what is
    /// carried first: removed files go in that order.
    pub(crate) fn add(&mut self, WrittenFile { table, commit, entry, sum }: WrittenFile) {
        if let Some(sum) = sum.filter(|_| !entry.carried) {
            *self.sums.entry(table).or_default() += sum;
        }
        if let Some(commit) = self.commits.iter_mut().find(|staged| staged.id == commit) {
            commit.files.push(entry);
            commit.files.sort_by_key(|file| (Table::from_name(&file.table), !file.carried));
        }
    }

    /// Every object that was written for it, and none that was written for another commit.
    pub(crate) fn own_paths<'a>(&'a self, of: impl Fn(&str) -> Option<CommitId> + 'a) -> impl Iterator<Item = &'a str> {
        let paths = self.commits.iter().flat_map(|commit| commit.paths().map(move |path| (commit.id, path)));
        paths.filter(move |(id, path)| of(path) == Some(*id)).map(|(_, path)| path)
    }
}

/// A file of a commit, before it is written.
#[derive(Debug)]
pub(crate) struct NewFile {
    /// What the table is.
    pub spec: Arc<TableSpec>,
    /// The span that the file's name states, within one Beijing month; none for the window of the commit.
    pub span: Option<Window>,
    /// The number of the part, from 1, when a table of the commit has several files of one span. Carried rows may take
    /// several files, of which it is the first; without it they have parts only when they are several. New rows have a
    /// lower part than carried ones: of a removed commit a sweep deletes the last part first.
    pub part: Option<u32>,
    /// The rows.
    pub rows: NewRows,
}

/// Where the rows of a file come from.
pub(crate) enum NewRows {
    /// They are new.
    New(RowSource),
    /// They stand in commits that the manifest removes.
    Carried {
        /// The files, each sorted as its table is.
        files: Vec<FileEntry>,
        /// Which of their rows stay; none: all.
        filter: Option<Arc<dyn RowFilter>>,
    },
}

impl std::fmt::Debug for NewRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::New(rows) => f.debug_tuple("New").field(rows).finish(),
            Self::Carried { files, .. } => f.debug_struct("Carried").field("files", files).finish_non_exhaustive(),
        }
    }
}

impl From<Vec<RecordBatch>> for NewRows {
    fn from(batches: Vec<RecordBatch>) -> Self {
        Self::New(batches.into())
    }
}

/// A file of a commit that was written.
#[derive(Debug)]
pub(crate) struct WrittenFile {
    pub(crate) table: Table,
    pub(crate) commit: CommitId,
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

/// The responses of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    /// zstd, one JSON object a line.
    pub packed: Bytes,
    /// How many.
    pub responses: u64,
    /// The seconds that they prove.
    pub window: Window,
}

/// One commit of a manifest.
#[derive(Debug)]
pub(crate) struct NewCommit {
    /// What it is for.
    pub kind: CommitKind,
    /// The seconds that it covers.
    pub window: Option<Window>,
    /// How many commits were put together in it, or in the one whose place it takes; 0 where none were.
    pub compacted: u64,
    /// The parts of the window that the manifest's walk does not cover.
    pub carried: Vec<CarriedRange>,
    /// The seconds that are covered and not kept any more.
    pub expired: Vec<Window>,
    /// Its files, made and written one after the other; one without rows is not written.
    pub files: Vec<NewFile>,
    /// Its quarantined records.
    pub quarantine: Option<Quarantine>,
    /// The quarantined records of commits that are removed, named and not written again.
    pub kept_quarantine: Vec<QuarantineEntry>,
    /// The responses of commits that are removed.
    pub kept_raw: Vec<RawEntry>,
}

impl NewCommit {
    /// A commit that holds nothing yet.
    pub(crate) fn of(kind: CommitKind, window: Option<Window>) -> Self {
        Self {
            kind,
            window,
            compacted: 0,
            carried: Vec::new(),
            expired: Vec::new(),
            files: Vec::new(),
            quarantine: None,
            kept_quarantine: Vec::new(),
            kept_raw: Vec::new(),
        }
    }
}

/// Everything of one manifest.
#[derive(Debug)]
pub(crate) struct NewManifest {
    /// The walk whose rows it lands.
    pub walk: Option<Walk>,
    /// What it adds.
    pub commits: Vec<NewCommit>,
    /// The commits whose place it takes.
    pub removes: Vec<CommitId>,
    /// The responses of the walk, if they are kept. All its commits name them.
    pub raw: Option<Raw>,
}

/// A manifest that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: CommitId,
    /// What it is for.
    pub kind: CommitKind,
    /// The invalid records that its walk has found; without one, all that it holds.
    pub quarantined: u64,
    /// What it added.
    pub commits: Vec<Commit>,
    /// The commits whose place it took.
    pub removed: Vec<CommitId>,
    /// The exact sums over its new rows, by table; see [`TableSpec::summed`].
    pub sums: BTreeMap<Table, i128>,
    /// Objects of removed commits that could not be deleted yet; the next sweep does it.
    pub undeleted: Vec<String>,
}

impl Committed {
    /// Its files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.commits.iter().flat_map(|commit| &commit.files)
    }

    /// From the first to the last second that its commits cover.
    pub(crate) fn window(&self) -> Option<Window> {
        self.commits.iter().filter_map(|commit| commit.window).reduce(Window::hull)
    }
}

/// What became of a staged manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommitOutcome {
    /// It counts.
    Committed(Committed),
    /// It does not and never will, and its files are gone: plan it again.
    Dropped(Conflict),
}
