//! A commit: what a manifest adds to the committed set, and the objects that it names.

use serde::{Deserialize, Serialize};

use crate::id::CommitId;
use crate::log::digest::Sha256;
use crate::log::stop_ledger::StopResult;
use crate::time::{BeijingTime, Window};

/// What a commit, or a manifest without commits, is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommitKind {
    /// A window that was walked for the first time.
    Sync,
    /// The window of a commit that it takes the place of, a part of which was walked again.
    Refresh,
    /// The rows of the commits whose place it takes, in fewer files.
    Compaction,
    /// What is left of months that are no longer kept.
    Expire,
    /// A range that was walked again whole.
    Rewalk,
    /// Rows rebuilt from raw responses or page files.
    Replay,
    /// What became of requisitions that were to be stopped.
    StopResult,
    /// No commit: commit ids that can never commit any more.
    Fence,
    /// No commit: from when on a run was asked that proved no window. It covers nothing and binds nothing.
    Start,
    /// No commit: requisitions that are about to be stopped.
    StopIntent,
    /// A kind of a newer minor version.
    #[serde(other)]
    Other,
}

impl CommitKind {
    /// The word in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Refresh => "refresh",
            Self::Compaction => "compaction",
            Self::Expire => "expire",
            Self::Rewalk => "rewalk",
            Self::Replay => "replay",
            Self::StopResult => "stop_result",
            Self::Fence => "fence",
            Self::Start => "start",
            Self::StopIntent => "stop_intent",
            Self::Other => "other",
        }
    }
}

/// A Parquet file of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// The name of its table.
    pub table: String,
    /// Its name, relative to the root of the lake.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Its rows; a file without rows is not written.
    pub rows: u64,
    /// The earliest modified time of its rows.
    pub min_modified: BeijingTime,
    /// The latest.
    pub max_modified: BeijingTime,
    /// Whether its rows stood in commits whose place the manifest takes, all of them: none is new.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub carried: bool,
}

/// Quarantined records, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineEntry {
    /// Its name, relative to the root of the lake.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Its records.
    pub rows: u64,
}

/// The responses of one walk: zstd, one JSON object a line. What the lines say is for others to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawEntry {
    /// Its name, relative to the root of the lake.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Its responses.
    pub responses: u64,
    /// The seconds that they prove.
    pub window: Window,
}

/// Seconds of a window that the walk of its manifest did not cover: another manifest says why they are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedRange {
    /// The seconds.
    pub window: Window,
    /// The number of that manifest.
    pub manifest: u64,
}

/// What a manifest adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its id, in the names of all files that were written for it.
    pub id: CommitId,
    /// What it is for.
    pub kind: CommitKind,
    /// The seconds of modified time that it covers; none where it covers none by itself.
    #[serde(deserialize_with = "Option::deserialize")]
    pub window: Option<Window>,
    /// How many commits were put together in it, each counted by how many were put together in that one; 0 where it is
    /// none of a compaction and takes the place of none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub compacted: u64,
    /// The parts of the window that were not walked for it, in the order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<CarriedRange>,
    /// The seconds that are covered and hold nothing any more but what its files have; in an expire only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<Window>,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// Its quarantined records. In a compaction they are those of the commits whose place it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<QuarantineEntry>,
    /// The responses from which its rows were made, as far as they were kept, in the order in which they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub raw: Vec<RawEntry>,
    /// What became of stops; in their results only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<StopResult>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Commit {
    /// Every object that it names.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        super::paths(&self.files, &self.quarantine, &self.raw)
    }
}
