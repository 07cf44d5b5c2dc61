//! The manifest: one JSON object a commit, the whole truth about what the commit changed.
//!
//! `schemas/manifest.schema.json` is the format; this module is its Rust. The format carries a version, major.minor;
//! which versions a program reads is said by [`FormatVersion::reads`]. A manifest of our own version or an older one
//! must hold exactly the fields that it should, byte-exact values included (reading and writing it again gives the same
//! JSON). One of a newer minor version may hold more; it is read, and the log is not written. Whatever its version, the
//! objects that it names are its own: see `check_names`.

mod stops;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::digest::Sha256;
use super::layout::{Layout, Name, Table};
use super::stop_ledger::{StopIntent, StopResult};
use crate::edition::Edition;
use crate::error::{Error, ErrorKind, Result, printable};
use crate::format::FormatVersion;
use crate::id::{AccountName, CommitId, RunId};
use crate::proof::{Proof, Rule};
use crate::time::{BeijingTime, Window};

/// How much of a name that is none is shown.
const SHOWN_CHARS: usize = 200;

/// What a commit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CommitKind {
    /// A window that was walked for the first time.
    Sync,
    /// A range that was walked again; it takes the place of the commits that it removes.
    Refresh,
    /// Commit ids that can never commit any more.
    Fence,
    /// Rows rebuilt from raw responses or page files.
    Replay,
    /// From when on a run was asked that proved no window. It covers nothing and binds nothing.
    Start,
    /// Requisitions that are about to be stopped.
    StopIntent,
    /// What became of them.
    StopResult,
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
            Self::Fence => "fence",
            Self::Replay => "replay",
            Self::Start => "start",
            Self::StopIntent => "stop_intent",
            Self::StopResult => "stop_result",
            Self::Other => "other",
        }
    }
}

/// What an account name is bound to by the first manifest of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The account's name in this lake.
    pub name: AccountName,
    /// The edition of its ERP.
    pub edition: Edition,
    /// The seller's id at the gateway.
    pub sid: String,
    /// The gateway's host, without the port.
    pub host: String,
}

/// The manifest before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its number.
    pub number: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
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
}

/// The quarantined records of a commit, one JSON object a line.
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

/// The answers from which a commit was made: zstd, one JSON object a line. What the lines say is for others to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawEntry {
    /// Its name, relative to the root of the lake.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Its answers.
    pub answers: u64,
}

/// Every object of a commit.
pub(crate) fn paths<'a>(
    files: &'a [FileEntry],
    quarantine: Option<&'a QuarantineEntry>,
    raw: Option<&'a RawEntry>,
) -> impl Iterator<Item = &'a str> {
    let files = files.iter().map(|file| file.path.as_str());
    files.chain(quarantine.map(|held| held.path.as_str())).chain(raw.map(|raw| raw.path.as_str()))
}

/// What is wrong with the names of a commit's objects, if something is. Reading and deleting go by them, so each must
/// be the one that the layout of the account gives to an object of just this commit: nothing else in the store, nor
/// outside of it, is ever touched for a manifest's sake.
pub(crate) fn check_names(
    layout: &Layout,
    commit: CommitId,
    files: &[FileEntry],
    quarantine: Option<&QuarantineEntry>,
    raw: Option<&RawEntry>,
) -> std::result::Result<(), String> {
    let is_data = |file: &&FileEntry| match layout.parse(&file.path) {
        Some(Name::Data { table, commit: own, .. }) => own == commit && table.name() == file.table,
        _ => false,
    };
    let wrong = files.iter().find(|file| !is_data(file)).map(|file| &file.path);
    let wrong = wrong.or_else(|| {
        let path = quarantine.map(|held| &held.path);
        path.filter(|path| layout.parse(path) != Some(Name::Quarantine(commit)))
    });
    let wrong = wrong.or_else(|| raw.map(|raw| &raw.path).filter(|path| layout.parse(path) != Some(Name::Raw(commit))));
    if let Some(path) = wrong {
        // As a literal: what stands there may be anything, of any length, and people read this on a terminal.
        let shown: String = path.chars().take(SHOWN_CHARS).collect();
        return Err(format!("{shown:?} is no file of the commit {commit} of {}", layout.account()));
    }
    let distinct: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    if distinct.len() < files.len() {
        return Err(format!("the commit {commit} names one of its files twice"));
    }
    Ok(())
}

/// One commit of an account's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format.
    pub format: FormatVersion,
    /// The version of the data contract of the files.
    pub contract: FormatVersion,
    /// Its number, counted from 1 without a gap.
    pub number: u64,
    /// Its id, in the names of all its files.
    pub commit: CommitId,
    /// The run that made it.
    pub run: RunId,
    /// What it is for.
    pub kind: CommitKind,
    /// Whose log this is.
    pub account: Binding,
    /// The program that wrote it, with its version.
    pub writer: String,
    /// When it was begun.
    pub created_at: BeijingTime,
    /// The manifest before it; none before the first.
    pub previous: Option<Previous>,
    /// The first second of modified time that its run was asked for, if it was told one: a run that ends early leaves
    /// this to the next.
    pub wanted_from: Option<BeijingTime>,
    /// The seconds of modified time that it covers.
    pub window: Option<Window>,
    /// Why they are known to be complete.
    pub proof: Option<Proof>,
    /// The commits whose place it takes.
    pub removes: Vec<CommitId>,
    /// The commit ids that it forbids for ever.
    pub fences: Vec<CommitId>,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// Its quarantined records.
    pub quarantine: Option<QuarantineEntry>,
    /// The answers from which it was made, if they were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawEntry>,
    /// The requisitions that are about to be stopped; in intents only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<StopIntent>,
    /// What became of stops; in their results only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<StopResult>,
}

impl Manifest {
    /// The bytes of its object: one line of JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when it cannot be written, or breaks the rules that its readers check.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.check()
            .map_err(|why| Error::internal(format!("cannot write a manifest that breaks its format: {why}")))?;
        let mut bytes =
            serde_json::to_vec(self).map_err(|error| Error::internal("cannot write the manifest").because(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the bytes of an object; `path` is named in errors.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`] for a version that this program does not read, [`ErrorKind::Defect`] for what is no
    /// manifest.
    pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Self> {
        Self::read(bytes, path, FormatVersion::LAKE)
    }

    /// [`from_bytes`](Self::from_bytes) of a program of the version `own`.
    fn read(bytes: &[u8], path: &str, own: FormatVersion) -> Result<Self> {
        let defect = |why: String| {
            Error::new(ErrorKind::Defect, printable(&why))
                .with("manifest", path)
                .hint("the commit log was changed by hand or by another program: run `wdt-lake verify`")
        };
        let head: Head = serde_json::from_slice(bytes).map_err(|error| defect(format!("not a manifest: {error}")))?;
        if !own.reads(head.format) {
            return Err(own.refuse("the lake has format", head.format).with("manifest", path));
        }
        let read: Self = serde_json::from_slice(bytes).map_err(|error| defect(format!("not a manifest: {error}")))?;
        if !own.reads(read.contract) {
            return Err(own.refuse("the lake has the data contract", read.contract).with("manifest", path));
        }
        let layout = Layout::new(read.account.name.clone());
        check_names(&layout, read.commit, &read.files, read.quarantine.as_ref(), read.raw.as_ref()).map_err(defect)?;
        if read.format <= own {
            // Serde ignores what it does not know; a field lost here would be a promise lost.
            let (given, known) = (serde_json::from_slice::<serde_json::Value>(bytes), serde_json::to_value(&read));
            match (given, known) {
                (Ok(given), Ok(known)) if given == known => {}
                _ => return Err(defect(format!("fields or values that format {} does not have", read.format))),
            }
            read.check().map_err(defect)?;
        }
        Ok(read)
    }

    /// The rules that hold within one manifest.
    fn check(&self) -> std::result::Result<(), String> {
        let layout = Layout::new(self.account.name.clone());
        let has_window = self.window.is_some() && self.proof.is_some();
        if self.kind == CommitKind::Other || self.proof.as_ref().is_some_and(|proof| proof.rule == Rule::Other) {
            return Err("a kind or rule that this format does not have".into());
        }
        match self.kind {
            CommitKind::Sync | CommitKind::Refresh if !has_window => {
                return Err("a commit of rows without window or proof".into());
            }
            CommitKind::Replay if self.window.is_some() != self.proof.is_some() => {
                return Err("a replay with a window and no proof, or the other way round".into());
            }
            CommitKind::Replay if !self.fences.is_empty() => return Err("a replay that fences".into()),
            CommitKind::Sync if !self.removes.is_empty() => return Err("a sync commit that removes".into()),
            CommitKind::Fence
                if self.fences.is_empty()
                    || self.window.is_some()
                    || !self.files.is_empty()
                    || self.quarantine.is_some()
                    || !self.removes.is_empty() =>
            {
                return Err("a fence that does more or less than fence".into());
            }
            CommitKind::Start if self.wanted_from.is_none() || !self.is_bare() || !self.files.is_empty() => {
                return Err("a start that says more or less than when".into());
            }
            _ => {}
        }
        self.check_stops()?;
        if self.previous.map_or(0, |previous| previous.number) + 1 != self.number {
            return Err("a number that does not follow".into());
        }
        check_names(&layout, self.commit, &self.files, self.quarantine.as_ref(), self.raw.as_ref())?;
        for file in &self.files {
            let span = match layout.parse(&file.path) {
                Some(Name::Data { span, .. }) => span.or(self.window),
                _ => None,
            };
            if file.rows == 0 {
                return Err(format!("`{}` holds no rows", file.path));
            }
            if span.is_some_and(|span| !span.contains(file.min_modified) || !span.contains(file.max_modified)) {
                return Err(format!("`{}` holds rows outside its span", file.path));
            }
        }
        if self.raw.is_some() && self.window.is_none() {
            return Err("answers of a commit without a window".into());
        }
        Ok(())
    }

    /// The commits of stop references have a shape of their own, and nobody else writes their table.
    fn check_stops(&self) -> std::result::Result<(), String> {
        stops::check(self.kind, self.intent.as_ref(), &self.results)?;
        let is_bare = self.is_bare();
        let is_of_stops = |file: &FileEntry| file.table == Table::StopReference.name();
        let fits = match (self.kind, &*self.files) {
            (CommitKind::StopIntent, files) => is_bare && files.is_empty(),
            (CommitKind::StopResult, [file]) => is_bare && is_of_stops(file) && file.rows == self.results.len() as u64,
            (CommitKind::StopResult, _) => false,
            (_, files) => !files.iter().any(is_of_stops),
        };
        fits.then_some(()).ok_or_else(|| "a commit of stops with more or less than their rows".to_owned())
    }

    /// Whether it covers, removes, fences and sets aside nothing.
    fn is_bare(&self) -> bool {
        self.window.is_none()
            && self.proof.is_none()
            && self.quarantine.is_none()
            && self.removes.is_empty()
            && self.fences.is_empty()
    }

    /// Every object that the commit added.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        paths(&self.files, self.quarantine.as_ref(), self.raw.as_ref())
    }
}

/// What every version of the format begins with.
#[derive(Deserialize)]
struct Head {
    format: FormatVersion,
}

#[cfg(test)]
mod tests;
