//! Reading what the log names: the one place where the bytes of a committed object come from.
//!
//! A manifest says of each object how many bytes it has and what their SHA-256 is. Bytes are given only when both are
//! right, so that whoever uses an object uses what was committed: one that was changed and can still be read is found
//! before anybody goes by it.

use std::fs::File;

use bytes::Bytes;

use super::digest::Sha256;
use super::manifest::{FileEntry, QuarantineEntry, RawEntry};
use crate::error::{Error, ErrorClass, Result};
use crate::store::{FetchedFile, Store};
use crate::text::{Text, key, text};

/// What a manifest says of one of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectEntry<'a> {
    /// Its name, relative to the root of the lake.
    pub path: &'a str,
    /// Its size.
    pub bytes: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
}

impl<'a> From<&'a FileEntry> for ObjectEntry<'a> {
    fn from(entry: &'a FileEntry) -> Self {
        Self { path: &entry.path, bytes: entry.bytes, sha256: entry.sha256 }
    }
}

impl<'a> From<&'a QuarantineEntry> for ObjectEntry<'a> {
    fn from(entry: &'a QuarantineEntry) -> Self {
        Self { path: &entry.path, bytes: entry.bytes, sha256: entry.sha256 }
    }
}

impl<'a> From<&'a RawEntry> for ObjectEntry<'a> {
    fn from(entry: &'a RawEntry) -> Self {
        Self { path: &entry.path, bytes: entry.bytes, sha256: entry.sha256 }
    }
}

/// How an object differs from what was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Nothing stands there.
    Missing,
    /// It has another size.
    Size { held: u64, said: u64 },
    /// It has the size, and other bytes.
    Digest { bytes: u64, held: Sha256, said: Sha256 },
}

impl Mismatch {
    /// The bytes that were found, if any.
    pub(crate) fn held_bytes(self) -> Option<u64> {
        match self {
            Self::Missing => None,
            Self::Size { held, .. } => Some(held),
            Self::Digest { bytes, .. } => Some(bytes),
        }
    }

    /// What to say after the name of the object; `manifest` names who says otherwise.
    pub(crate) fn told(self, manifest: impl Into<Text>) -> Text {
        let manifest: Text = manifest.into();
        match self {
            Self::Missing => text!("is missing; {manifest} names it", manifest),
            Self::Size { held, said } => text!("has {held} bytes, {manifest} says {said}", held, manifest, said),
            Self::Digest { held, said, .. } => {
                text!("has the SHA-256 {held}, {manifest} says {said}: its bytes were changed", held, manifest, said)
            }
        }
    }
}

/// The bytes of an object when they are those that were committed, else how they differ.
pub(crate) async fn examine(store: &Store, entry: ObjectEntry<'_>) -> Result<std::result::Result<Bytes, Mismatch>> {
    Ok(match store.get(entry.path).await? {
        None => Err(Mismatch::Missing),
        Some(bytes) => compare(&bytes, entry).map_or(Ok(bytes), Err),
    })
}

fn compare(bytes: &[u8], entry: ObjectEntry<'_>) -> Option<Mismatch> {
    let held = bytes.len() as u64;
    if held != entry.bytes {
        return Some(Mismatch::Size { held, said: entry.bytes });
    }
    let digest = Sha256::of(bytes);
    (digest != entry.sha256).then_some(Mismatch::Digest { bytes: held, held: digest, said: entry.sha256 })
}

/// The bytes of an object that a manifest names.
pub(crate) async fn read(store: &Store, entry: ObjectEntry<'_>) -> Result<Bytes> {
    examine(store, entry).await?.map_err(|mismatch| mismatched(store, entry, mismatch))
}

/// An object that a manifest names, as a file of local disk to read: see [`Store::get_to_file`].
pub(crate) async fn fetch(store: &Store, entry: ObjectEntry<'_>) -> Result<File> {
    let Some(FetchedFile { file, bytes, sha256 }) = store.get_to_file(entry.path).await? else {
        return Err(mismatched(store, entry, Mismatch::Missing));
    };
    if bytes != entry.bytes {
        return Err(mismatched(store, entry, Mismatch::Size { held: bytes, said: entry.bytes }));
    }
    if sha256 != entry.sha256 {
        return Err(mismatched(store, entry, Mismatch::Digest { bytes, held: sha256, said: entry.sha256 }));
    }
    Ok(file)
}

fn mismatched(store: &Store, entry: ObjectEntry<'_>, mismatch: Mismatch) -> Error {
    let hint = match mismatch {
        Mismatch::Missing => {
            key!(
                "if another run replaced it just now, run again; else restore it from a backup of the lake, or read it anew with \
             `wdt-lake sync --rewalk FROM..TO`"
            )
        }
        _ => {
            key!(
                "`wdt-lake verify` lists all that is damaged; restore it from a backup of the lake, or read it anew with \
             `wdt-lake sync --rewalk FROM..TO`"
            )
        }
    };
    Error::new(
        ErrorClass::ObjectDamaged,
        text!("a committed object {what}", what = mismatch.told(key!("its manifest"))),
    )
    .with("object", store.uri(entry.path))
    .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn only_what_was_committed_is_given() {
        let store = Store::memory();
        let path = "_quarantine/account=acme/x.jsonl";
        let entry = ObjectEntry { path, bytes: 3, sha256: Sha256::of(b"abc") };
        let put = |bytes: &'static [u8]| store.put(path, Bytes::from_static(bytes), "_staging/x");
        let told = async || {
            let fetched = fetch(&store, entry).await.map_err(|error| (error.kind(), error.to_string()));
            let read = read(&store, entry).await.map_err(|error| (error.kind(), error.to_string()));
            assert_eq!(fetched.map(|_| ()).err(), read.as_ref().err().cloned(), "both say the same");
            read
        };
        let (kind, why) = told().await.expect_err("missing");
        assert!(kind == ErrorKind::Defect && why.contains("is missing") && why.contains(path), "{why}");
        for (bytes, what) in [(&b"abcd"[..], "has 4 bytes"), (b"", "has 0 bytes"), (b"abd", "bytes were changed")] {
            put(bytes).await.expect("put");
            let (kind, why) = told().await.expect_err("changed");
            assert!(kind == ErrorKind::Defect && why.contains(what) && why.contains(path), "{why}");
        }
        put(b"abc").await.expect("put");
        assert_eq!(told().await.expect("read"), "abc");
    }
}
