//! Checkpoints: the state up to a manifest as one object, so that a log is opened without reading all of it.
//!
//! A checkpoint is advisory. The manifests alone are the log: a checkpoint is believed only when it is whole, of a
//! format that is known, and names the manifest that stands under its number by its SHA-256; otherwise an older one is
//! tried, and in the end every manifest is read. So nothing depends on one being written, or on when it arrives, and
//! any of them may be deleted.
//!
//! Two lines of JSON: a [`Head`] with the version of the format and the SHA-256 of the second line, and a
//! [`CheckpointState`]. The same state gives the same bytes, and the name carries number and commit of its manifest. So
//! two writers that make the same checkpoint agree, and on a log with a fork each side has its own.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::digest::Sha256;
use super::layout::{Layout, Name};
use super::state::{CheckpointState, LogState};
use crate::error::{Result, printable};
use crate::format::FormatVersion;
use crate::id::CommitId;
use crate::store::{Store, Writers};

/// A run writes a checkpoint at its end when so many manifests stand behind the newest: they are read one by one when
/// the log is opened.
const WORTH_A_CHECKPOINT: u64 = 4;
/// A run that had to read so many writes one, too, whether it adds any or not: jobs that always die never come to their
/// end.
const READ_WORTH_A_CHECKPOINT: u64 = 50;
/// How many checkpoints a sweep keeps: the newest may turn out to be damaged.
const KEPT: usize = 2;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    format: FormatVersion,
    /// Of the second line.
    sha256: Sha256,
}

/// Why a checkpoint is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InvalidCheckpoint {
    /// It has a format that another version of the program writes.
    OtherFormat(FormatVersion),
    /// It is not what was written, or not of this log.
    Broken(String),
}

impl InvalidCheckpoint {
    pub(crate) fn of_another_log() -> Self {
        Self::Broken("it is of another manifest than the one in the log".to_owned())
    }
}

impl fmt::Display for InvalidCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherFormat(format) => {
                write!(f, "it has format {format}, this program reads {}", FormatVersion::LAKE)
            }
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl From<String> for InvalidCheckpoint {
    fn from(why: String) -> Self {
        Self::Broken(why)
    }
}

/// A checkpoint as a listing shows it. The later one is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListedCheckpoint {
    /// The number of its manifest.
    pub(crate) number: u64,
    /// The id of that manifest.
    pub(crate) id: CommitId,
}

impl ListedCheckpoint {
    pub(crate) fn of(name: Option<Name>) -> Option<Self> {
        match name {
            Some(Name::Checkpoint { number, id }) => Some(Self { number, id }),
            _ => None,
        }
    }

    pub(crate) fn path(self, layout: &Layout) -> String {
        layout.checkpoint(self.number, self.id)
    }
}

/// The bytes of the checkpoint of a state; none while the log is empty.
pub(crate) fn to_bytes(state: &LogState) -> serde_json::Result<Option<Vec<u8>>> {
    let Some(snapshot) = CheckpointState::of(state) else { return Ok(None) };
    let body = serde_json::to_vec(&snapshot)?;
    let mut bytes = serde_json::to_vec(&Head { format: FormatVersion::LAKE, sha256: Sha256::of(&body) })?;
    bytes.reserve(body.len() + 2);
    bytes.push(b'\n');
    bytes.extend(body);
    bytes.push(b'\n');
    Ok(Some(bytes))
}

/// Reads the bytes of a checkpoint, or tells why it cannot be believed. Whether it belongs to the log is for the caller
/// to find out.
pub(crate) fn from_bytes(
    layout: &Layout,
    listed: ListedCheckpoint,
    bytes: &[u8],
) -> std::result::Result<LogState, InvalidCheckpoint> {
    let not_one = |error: serde_json::Error| format!("it is no checkpoint: {}", printable(&error.to_string()));
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| "it is no checkpoint: it has one line".to_owned())?;
    let (head, body) = (&bytes[..end], &bytes[end + 1..]);
    let head: Head = serde_json::from_slice(head).map_err(not_one)?;
    if !FormatVersion::LAKE.reads(head.format) {
        return Err(InvalidCheckpoint::OtherFormat(head.format));
    }
    let body = body.strip_suffix(b"\n").ok_or_else(|| "it is cut short".to_owned())?;
    if Sha256::of(body) != head.sha256 {
        return Err(InvalidCheckpoint::Broken("its bytes were changed".to_owned()));
    }
    let snapshot: CheckpointState<'_> = serde_json::from_slice(body).map_err(not_one)?;
    let state = LogState::restore(snapshot)?;
    let names = state.last().map(|last| ListedCheckpoint { number: last.number, id: last.id });
    if names != Some(listed) || state.binding().is_none_or(|bound| bound.name != *layout.account()) {
        return Err(InvalidCheckpoint::Broken("it stands under the name of another one".to_owned()));
    }
    Ok(state)
}

/// The checkpoints that a sweep deletes. A reader that is about to read one of them tries another, or reads the
/// manifests.
pub(crate) async fn list_outdated(store: &Store, layout: &Layout) -> Result<Vec<String>> {
    let names = store.names(&layout.checkpoint_root()).await?;
    let mut listed: Vec<ListedCheckpoint> =
        names.iter().filter_map(|name| ListedCheckpoint::of(layout.parse(name))).collect();
    listed.sort_unstable();
    listed.truncate(listed.len().saturating_sub(KEPT));
    Ok(listed.into_iter().map(|listed| listed.path(layout)).collect())
}

/// When a run writes a checkpoint.
pub(crate) struct CheckpointPolicy {
    /// The number of the newest checkpoint that is known.
    newest: AtomicU64,
    /// Whether so many manifests were read one by one that the next run should not do it again.
    has_read_many: bool,
    worth: u64,
}

impl CheckpointPolicy {
    /// The policy of a log whose newest checkpoint that can be believed has this number, 0 for none, and behind which
    /// `read` manifests were read.
    pub(crate) fn since(newest: u64, read: u64) -> Self {
        let has_read_many = read >= READ_WORTH_A_CHECKPOINT;
        Self { newest: AtomicU64::new(newest), has_read_many, worth: WORTH_A_CHECKPOINT }
    }

    #[cfg(test)]
    pub(crate) fn every(self, worth: u64) -> Self {
        Self { worth, ..self }
    }

    /// A checkpoint of `state` at the end of a run that has added manifests or not, when it is worth one.
    pub(crate) fn pending(&self, state: &LogState, has_added: bool) -> Option<PendingCheckpoint> {
        let last = state.last()?;
        let behind = last.number.saturating_sub(self.newest.load(Ordering::Relaxed));
        if behind == 0 || !(self.has_read_many || (has_added && behind >= self.worth)) {
            return None;
        }
        self.newest.store(last.number, Ordering::Relaxed);
        let bytes = to_bytes(state).ok().flatten()?;
        Some(PendingCheckpoint { listed: ListedCheckpoint { number: last.number, id: last.id }, bytes: bytes.into() })
    }
}

/// A checkpoint that is about to be written.
pub(crate) struct PendingCheckpoint {
    listed: ListedCheckpoint,
    bytes: Bytes,
}

impl PendingCheckpoint {
    /// Writes it. What goes wrong costs the next reader some manifests, and nothing else.
    pub(crate) async fn write(self, store: &Store, layout: &Layout) {
        let (path, staging) = (self.listed.path(layout), layout.staging(self.listed.id));
        let written = match store.writers() {
            Writers::Many => store.create(&path, self.bytes, &staging).await.map(drop),
            // Whoever else puts it puts the same bytes.
            Writers::Single => store.put_unique(&path, self.bytes, &staging).await,
        };
        if let Err(error) = written {
            tracing::debug!(checkpoint = path, %error, "a checkpoint was not written");
        }
    }
}

#[cfg(test)]
mod tests;
