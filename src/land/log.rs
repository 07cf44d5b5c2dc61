//! Reading a commit log into its fold.

use futures::{StreamExt, TryStreamExt, stream};

use super::digest::Sha256;
use super::fold::Fold;
use super::layout::{Layout, Name};
use super::manifest::Manifest;
use super::store::Store;
use crate::error::{Error, ErrorKind, Result};

/// How many manifests are read at once.
const READ_AHEAD: usize = 16;

/// Reads the whole log.
pub(super) async fn read(store: &Store, layout: &Layout) -> Result<Fold> {
    let listed = store.list(&layout.manifest_root()).await?;
    let numbers = listed.iter().filter_map(|object| match layout.parse(&object.path) {
        Some(Name::Manifest(number)) => Some(number),
        _ => None,
    });
    // Only the highest number counts: a local listing taken while manifests are added may miss one and show the next.
    let newest = numbers.max().unwrap_or(0);
    let mut fold = Fold::new(layout.account().clone());
    let mut manifests = stream::iter(1..=newest).map(|number| load(store, layout, number)).buffered(READ_AHEAD);
    while let Some(loaded) = manifests.try_next().await? {
        let Some((manifest, sha256)) = loaded else {
            return Err(Error::new(ErrorKind::Defect, "a manifest is missing from the commit log")
                .with("object", store.uri(&layout.manifest(fold.next_number())))
                .hint("restore it from a backup of the lake, or sync into a new lake"));
        };
        fold.apply(&manifest, sha256)?;
    }
    Ok(fold)
}

/// Reads what was added since.
pub(super) async fn follow(store: &Store, layout: &Layout, fold: &mut Fold) -> Result<()> {
    while let Some((manifest, sha256)) = load(store, layout, fold.next_number()).await? {
        fold.apply(&manifest, sha256)?;
    }
    Ok(())
}

/// The manifest of a number and the digest of its bytes, when there is one.
pub(super) async fn load(store: &Store, layout: &Layout, number: u64) -> Result<Option<(Manifest, Sha256)>> {
    let path = layout.manifest(number);
    let Some(bytes) = store.get(&path).await? else { return Ok(None) };
    Ok(Some((Manifest::from_bytes(&bytes, &store.uri(&path))?, Sha256::of(&bytes))))
}
