//! The manifest: one JSON object a commit, the whole truth about what the commit changed.
//!
//! `schemas/manifest.schema.json` is the format; this module is its Rust. The format carries a version, major.minor. A manifest of
//! our own version or an older one must hold exactly the fields that it should, byte-exact values included (reading and writing it again
//! gives the same JSON). One of a newer minor version may hold more; it is read, and the log is not written. One of a newer major
//! version is refused.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::Sha256;
use super::layout::{Layout, Name, Table};
use super::stops::{self, StopIntent, StopResult};
use crate::edition::Edition;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{AccountName, CommitId, RunId};
use crate::proof::{Proof, Rule};
use crate::time::{BeijingTime, Window};

/// A version of something on disk, written `major.minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FormatVersion {
    /// Readers of an older major version cannot read it.
    pub major: u32,
    /// Readers of an older minor version can read it, and must not write.
    pub minor: u32,
}

impl FormatVersion {
    /// The version of the commit log that this program writes.
    pub const LOG: Self = Self { major: 1, minor: 0 };

    /// The version of checkpoints that this program writes.
    pub const CHECKPOINT: Self = Self { major: 1, minor: 0 };

    /// Reads `major.minor`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let version = Self { major: major.parse().ok()?, minor: minor.parse().ok()? };
        (version.to_string() == text).then_some(version)
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for FormatVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a version major.minor")))
    }
}

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
    /// Rows rebuilt from kept answers or page files.
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

/// The answers from which a commit was made: zstd, one JSON object a line. What the lines say is not landing's to know.
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
pub(super) fn paths<'a>(
    files: &'a [FileEntry],
    quarantine: Option<&'a QuarantineEntry>,
    raw: Option<&'a RawEntry>,
) -> impl Iterator<Item = &'a str> {
    let files = files.iter().map(|file| file.path.as_str());
    files.chain(quarantine.map(|held| held.path.as_str())).chain(raw.map(|raw| raw.path.as_str()))
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
    /// The first second of modified time that its run was asked for, if it was told one: a run that ends early leaves this to the next.
    pub wanted_from: Option<BeijingTime>,
    /// The seconds of modified time that it covers.
    #[serde(with = "optional_window")]
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
        self.check().map_err(|why| Error::internal(format!("a manifest that breaks its format: {why}")))?;
        let mut bytes = serde_json::to_vec(self).map_err(|error| Error::internal("write a manifest").because(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the bytes of an object; `path` is named in errors.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`] for a newer major version, [`ErrorKind::Defect`] for what is no manifest.
    pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Self> {
        let defect = |why: String| Error::new(ErrorKind::Defect, why).with("manifest", path);
        let head: Head = serde_json::from_slice(bytes).map_err(|error| defect(format!("not a manifest: {error}")))?;
        if head.format.major != FormatVersion::LOG.major {
            return Err(Error::new(ErrorKind::Lake, format!("the lake has format {}", head.format))
                .with("manifest", path)
                .hint(format!("this program reads format {}: use a newer wdt-lake", FormatVersion::LOG)));
        }
        let read: Self = serde_json::from_slice(bytes).map_err(|error| defect(format!("not a manifest: {error}")))?;
        if read.format <= FormatVersion::LOG {
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

    /// The rules that hold within one manifest. Names are checked, because deleting goes by them.
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
        for file in &self.files {
            match layout.parse(&file.path) {
                Some(Name::Data { table, commit, span })
                    if commit == self.commit && table.name() == file.table && file.rows > 0 =>
                {
                    let span = span.or(self.window);
                    if span.is_some_and(|span| !span.contains(file.min_modified) || !span.contains(file.max_modified)) {
                        return Err(format!("`{}` holds rows outside its span", file.path));
                    }
                }
                _ => return Err(format!("`{}` is no file of this commit", file.path)),
            }
        }
        if let Some(raw) = self.raw.as_ref().filter(|raw| layout.parse(&raw.path) != Some(Name::Raw(self.commit))) {
            return Err(format!("`{}` is no file of this commit", raw.path));
        }
        if self.raw.is_some() && self.window.is_none() {
            return Err("answers of a commit without a window".into());
        }
        match &self.quarantine {
            Some(held) if layout.parse(&held.path) != Some(Name::Quarantine(self.commit)) => {
                Err(format!("`{}` is no file of this commit", held.path))
            }
            _ => Ok(()),
        }
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

/// A window as JSON. [`Window`]'s own reading does not check the order of its ends, and refuses what a newer version adds.
pub(super) mod optional_window {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Ends {
        start: BeijingTime,
        end: BeijingTime,
    }

    pub(in crate::land) fn serialize<S: Serializer>(
        window: &Option<Window>,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        window.map(|window| Ends { start: window.start(), end: window.end() }).serialize(serializer)
    }

    pub(in crate::land) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Option<Window>, D::Error> {
        let Some(Ends { start, end }) = Option::deserialize(deserializer)? else { return Ok(None) };
        let window = Window::new(start, end);
        window.map(Some).ok_or_else(|| serde::de::Error::custom("a window that ends before it starts"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::land::testing::{sample_manifest, schema_accepts};

    fn read(value: &Value) -> Result<Manifest> {
        Manifest::from_bytes(value.to_string().as_bytes(), "_manifest/x")
    }

    fn sample() -> Value {
        serde_json::from_slice(&sample_manifest().to_bytes().expect("valid")).expect("json")
    }

    #[test]
    fn a_manifest_survives_and_fits_its_schema() {
        let manifest = sample_manifest();
        let bytes = manifest.to_bytes().expect("valid");
        assert!(bytes.ends_with(b"}\n"));
        assert_eq!(Manifest::from_bytes(&bytes, "_manifest/x").expect("read"), manifest);
        assert!(schema_accepts(&serde_json::from_slice(&bytes).expect("json")));
    }

    #[test]
    fn our_version_is_strict() {
        for (pointer, value) in [
            ("", json!("more")),
            ("/window", json!("more")),
            ("/files/0", json!("more")),
            ("/proof", json!(0)),
            ("/account", json!("more")),
        ] {
            let mut odd = sample();
            odd.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object").insert("more".into(), value);
            assert_eq!(read(&odd).expect_err("unknown field").kind(), ErrorKind::Defect, "{pointer}");
            assert!(!schema_accepts(&odd), "{pointer}");
        }
        for (pointer, value) in [
            ("/kind", json!("other")),
            ("/kind", json!("dance")),
            ("/created_at", json!("2026-10-01T00:00:00Z")),
            ("/created_at", json!("2026-10-01T00:00:00.5+08:00")),
            ("/format", json!("1.00")),
            ("/number", json!(3)),
            ("/commit", json!("x")),
            ("/files/0/rows", json!(0)),
            ("/files/0/rows", json!(-1)),
            ("/files/0/rows", json!(1.5)),
            ("/files/0/path", json!("purchase_apply/account=acme/x.parquet")),
            ("/files/0/path", json!("../../etc/passwd")),
            ("/files/0/table", json!("purchase_apply_detail")),
            ("/files/0/sha256", json!("abc")),
            ("/files/0/max_modified", json!("2026-10-20T00:00:00+08:00")),
            ("/quarantine/path", json!("_quarantine/account=acme/x.jsonl")),
            ("/window", Value::Null),
            ("/proof", Value::Null),
        ] {
            let mut odd = sample();
            *odd.pointer_mut(pointer).expect("a field") = value.clone();
            assert_eq!(read(&odd).expect_err("a wrong value").kind(), ErrorKind::Defect, "{pointer} {value}");
        }
        let mut reversed = sample();
        reversed["window"]["end"] = json!("1960-01-01T00:00:00+08:00");
        assert!(read(&reversed).is_err());
    }

    #[test]
    fn a_newer_minor_version_is_read_and_a_newer_major_is_not() {
        let mut newer = sample();
        newer["format"] = json!("1.9");
        newer["window"]["more"] = json!(1);
        newer["more"] = json!({ "x": 1 });
        newer["kind"] = json!("dance");
        let manifest = read(&newer).expect("read");
        assert_eq!((manifest.format.minor, manifest.kind), (9, CommitKind::Other));
        newer["format"] = json!("2.0");
        let error = read(&newer).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Lake);
        assert!(error.hint_text().is_some());
    }
}
