//! The manifest: one JSON object, the whole truth about what it changed in the log of an account.
//!
//! A manifest holds one or several [commits](Commit), or none when it fences, intends a stop or remembers a start. It
//! becomes true as a whole; what it removes, and what later ones remove of it, goes by commit.
//!
//! `schemas/manifest.schema.json` is the format; this module is its Rust. The format carries a version, major.minor;
//! which versions a program reads is said by [`FormatVersion::reads`]. A manifest of our own version or an older one
//! must hold exactly the fields that it should, byte-exact values included (reading and writing it again gives the same
//! JSON). One of a newer minor version may hold more; it is read, and the log is not written. Whatever its version, the
//! objects that it names are of its account: see [`check_names`].

mod check;
mod commit;
mod names;
mod stops;

use serde::{Deserialize, Serialize};

pub(crate) use self::commit::is_zero;
pub(crate) use self::commit::{CarriedRange, Commit, CommitKind, FileEntry, QuarantineEntry, RawEntry};
pub(crate) use self::names::{check_names, commit_of, paths};
use super::digest::Sha256;
use super::layout::Layout;
use super::stop_ledger::StopIntent;
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result, printable};
use crate::format::FormatVersion;
use crate::id::{AccountName, CommitId, RunId};
use crate::proof::Proof;
use crate::text::{Text, key, text};
use crate::time::{BeijingTime, Window};

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

/// The walk whose rows a manifest lands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// The seconds of modified time that were walked.
    pub window: Window,
    /// Why they are known to be complete. Its rows are those of all commits of the manifest.
    pub proof: Proof,
}

/// One manifest of an account's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format.
    pub format: FormatVersion,
    /// The version of the data contract of the files.
    pub contract: FormatVersion,
    /// Its number, counted from 1 without a gap.
    pub number: u64,
    /// Its id: that of its first commit, where it has one.
    pub id: CommitId,
    /// The run that made it.
    pub run: RunId,
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
    /// The walk whose rows it lands, if it lands rows of a walk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub walk: Option<Walk>,
    /// What it adds.
    pub commits: Vec<Commit>,
    /// The commits whose place it takes.
    pub removes: Vec<CommitId>,
    /// Until when the objects of what it removes or fences are kept; none: they may go at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<BeijingTime>,
    /// The commit ids that it forbids for ever.
    pub fences: Vec<CommitId>,
    /// The requisitions that are about to be stopped; in intents only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<StopIntent>,
}

impl Manifest {
    /// The bytes of its object: one line of JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when it cannot be written, or breaks the rules that its
    /// readers check.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        check::check(self)
            .map_err(|why| Error::internal(text!("cannot write a manifest that breaks its format: {why}", why)))?;
        let mut bytes =
            serde_json::to_vec(self).map_err(|error| Error::internal("cannot write the manifest").because(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the bytes of an object; `path` is named in errors.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) for a version that this program does not read,
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) for what is no manifest.
    pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Self> {
        Self::read(bytes, path, FormatVersion::LAKE)
    }

    /// [`from_bytes`](Self::from_bytes) of a program of the version `own`.
    fn read(bytes: &[u8], path: &str, own: FormatVersion) -> Result<Self> {
        let defect = |why: String| {
            Error::new(ErrorClass::ManifestDamaged, Text::verbatim(printable(&why)))
                .with("manifest", path)
                .hint("the commit log was changed by hand or by another program: run `wdt-lake verify`")
        };
        let head: Head = serde_json::from_slice(bytes).map_err(|error| defect(format!("not a manifest: {error}")))?;
        if !own.reads(head.format) {
            return Err(own.refuse(key!("the lake has format"), head.format).with("manifest", path));
        }
        let read: Self = serde_json::from_slice(bytes).map_err(|error| defect(format!("not a manifest: {error}")))?;
        if !own.reads(read.contract) {
            return Err(own.refuse("the lake has the data contract", read.contract).with("manifest", path));
        }
        let layout = Layout::new(read.account.name.clone());
        read.commits.iter().try_for_each(|commit| check_names(&layout, commit)).map_err(defect)?;
        if read.format <= own {
            // Serde ignores what it does not know; a field lost here would be a promise lost.
            let (given, known) = (serde_json::from_slice::<serde_json::Value>(bytes), serde_json::to_value(&read));
            match (given, known) {
                (Ok(given), Ok(known)) if given == known => {}
                _ => return Err(defect(format!("fields or values that format {} does not have", read.format))),
            }
            check::check(&read).map_err(defect)?;
        }
        Ok(read)
    }

    /// Refuses the bytes of a manifest that lies where only formats from before 1.0 have one. What is no manifest is
    /// none of a lake's.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) for a manifest of whatever version.
    pub(crate) fn refuse_early(bytes: &[u8], path: &str) -> Result<()> {
        match serde_json::from_slice::<Head>(bytes) {
            Ok(head) => {
                Err(FormatVersion::LAKE.refuse_early(key!("the lake has format"), head.format).with("manifest", path))
            }
            Err(_) => Ok(()),
        }
    }

    /// What it is for: the kind of its first commit, or what a manifest without commits does.
    pub fn kind(&self) -> CommitKind {
        match self.commits.first() {
            Some(commit) => commit.kind,
            None if self.intent.is_some() => CommitKind::StopIntent,
            None if !self.fences.is_empty() => CommitKind::Fence,
            None => CommitKind::Start,
        }
    }

    /// Every object that its commits name.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.commits.iter().flat_map(Commit::paths)
    }
}

/// What every version of the format begins with.
#[derive(Deserialize)]
struct Head {
    format: FormatVersion,
}

#[cfg(test)]
mod tests;
