//! Taking a number of the commit log: the one step that makes a commit count.
//!
//! With any number of writers the manifest is created only where nothing stands, see `docs/lake-format.md`. On a store
//! that does not know that condition there must be one writer. It looks whether the number is free, puts its manifest
//! under a name that no other commit has, and looks again. A second writer is thereby not kept out, but it is seen:
//! whatever the two do, one of them, or the next reader, finds two manifests of one number.

use std::time::Duration;

use bytes::Bytes;

use super::digest::Sha256;
use super::layout::Layout;
use super::manifest::Manifest;
use super::read::ManifestNames;
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::log::read;
use crate::store::{Created, Store, Writers};
use crate::text::{Text, key, text};

/// How long the outcome of a create is sought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Tries at one number.
    pub(crate) tries: u32,
    /// The pause before the second try; it doubles.
    pub(crate) pause: Duration,
}

impl Patience {
    pub(crate) const DEFAULT: Self = Self { tries: 6, pause: Duration::from_millis(200) };
}

/// Whose manifest stands under a number.
pub(crate) enum AppendOutcome {
    Ours(Manifest, Sha256),
    Other(Manifest, Sha256),
}

/// A log that is being written.
#[derive(Clone, Copy)]
pub(crate) struct LogEnd<'a> {
    pub(crate) store: &'a Store,
    pub(crate) layout: &'a Layout,
    pub(crate) names: ManifestNames,
    pub(crate) patience: Patience,
}

impl LogEnd<'_> {
    /// Tries to put the manifest under its number, until it is known whose manifest stands there.
    pub(crate) async fn append(self, manifest: Manifest) -> Result<AppendOutcome> {
        let Self { store, layout, names, patience } = self;
        let (number, id) = (manifest.number, manifest.id);
        let writers = store.writers();
        let path = match writers {
            Writers::Many => layout.manifest(number),
            Writers::Single => layout.sole_manifest(number, id),
        };
        if writers == Writers::Single
            && let Some((held, sha256)) = read::load(store, layout, names, number).await?
        {
            return Ok(AppendOutcome::Other(held, sha256));
        }
        let bytes = Bytes::from(manifest.to_bytes()?);
        let staging = layout.staging(id);
        let mut pause = patience.pause;
        let mut trouble = None;
        for attempt in 0..patience.tries {
            if attempt > 0 && !pause.is_zero() {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            let put = match writers {
                Writers::Many => store.create(&path, bytes.clone(), &staging).await,
                // The name is ours alone, so the same bytes may be put again; who else has the number is seen below.
                Writers::Single => store.put_unique(&path, bytes.clone(), &staging).await.map(|()| Created::Taken),
            };
            match put {
                Ok(Created::New) => {
                    let sha256 = Sha256::of(&bytes);
                    return Ok(AppendOutcome::Ours(manifest, sha256));
                }
                Ok(Created::Taken) => {}
                Err(error) => trouble = Some(error),
            }
            match read::load(store, layout, names, number).await {
                Ok(Some((held, sha256))) if held.id == id => return Ok(AppendOutcome::Ours(held, sha256)),
                // Our own put may still arrive beside it.
                Ok(Some((held, _))) if writers == Writers::Single => {
                    return Err(Error::new(
                        ErrorClass::WroteAtOnce,
                        "another run wrote the commit log at the same time",
                    )
                    .with("run", held.run)
                    .with("manifest", store.uri(&path))
                    .hint(
                        "with `--single-writer` one run at a time may write a lake: schedule them so, and run again",
                    ));
                }
                Ok(Some((held, sha256))) => return Ok(AppendOutcome::Other(held, sha256)),
                // The create may still be on its way: nothing but the same number and the same bytes may be tried.
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Lake => trouble = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(unknown(&store.uri(&path), trouble))
    }
}

/// Nobody knows whether the manifest stands there.
fn unknown(manifest: &str, trouble: Option<Error>) -> Error {
    let again = key!("run the same command again: it finds out, and lands only what is missing");
    let unknown = Error::new(ErrorClass::OutcomeUnknown, "the outcome of a commit is unknown");
    let Some(trouble) = trouble else { return unknown.with("object", manifest).hint(again) };
    // What made it unknown comes first: until that is mended, running again is no help.
    let hint = trouble
        .hint_said()
        .map_or_else(|| again.into(), |hint| text!("{hint}; then {again}", hint, again = Text::from(again)));
    unknown.because(trouble.without_hint()).with("object", manifest).hint(hint)
}
