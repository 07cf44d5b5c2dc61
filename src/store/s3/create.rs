//! How an object is created only where nothing stands.
//!
//! S3 knows the header `If-None-Match: *`. Alibaba OSS refuses it (501 or 400, `NotImplemented`) and knows one of its
//! own, `x-oss-forbid-overwrite: true`, which is as atomic: of several that create one name at once, one succeeds, and
//! the others are answered 409 `FileAlreadyExists`. In a bucket with versions OSS does not look at it, also where
//! versioning is suspended; the [probe](crate::store::capability) finds that out. `AWS_CONDITIONAL_PUT=oss` chooses it.
//!
//! The signature of AWS covers the headers that it names. S3 lets other headers pass; the documentation of OSS does not
//! say so of its own `x-oss-` headers, and its native signature must cover them. A header that is signed is right in
//! both cases. The client signs the default headers of its options and no others that we can add, and it adds them to
//! everything it sends. So a client of its own creates, and sends nothing but creates.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, path::Path};

use super::Bucket;
use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

/// The setting that chooses.
const VARIABLE: &str = "AWS_CONDITIONAL_PUT";
/// The header of OSS.
const FORBID_OVERWRITE: &str = "x-oss-forbid-overwrite";

/// The header by which a store is asked to create an object only where nothing stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CreateHeader {
    /// `If-None-Match: *`.
    #[default]
    IfNoneMatch,
    /// `x-oss-forbid-overwrite: true`.
    ForbidOverwrite,
}

impl CreateHeader {
    /// What the settings choose. The client of object_store is to see of them only what it knows: `etag` for
    /// `If-None-Match`, `disabled` for no condition at all.
    pub(super) fn take(set: &mut BTreeMap<String, String>) -> Result<Self> {
        let Some(value) = set.get(VARIABLE) else { return Ok(Self::default()) };
        match value.as_str() {
            "oss" => {
                set.remove(VARIABLE);
                Ok(Self::ForbidOverwrite)
            }
            "etag" | "disabled" => Ok(Self::IfNoneMatch),
            other => Err(Error::new(
                ErrorClass::S3SettingsWrong,
                text!("{variable} is `{other}`, which is no way to create an object", variable = VARIABLE, other),
            )
            .hint(text!(
                "unset {variable}, or set it to `oss` (Alibaba OSS), `etag` or `disabled`",
                variable = VARIABLE
            ))),
        }
    }

    /// The options of the client that creates; `None` where the client for everything else does it.
    pub(super) fn client_options(self) -> Option<ClientOptions> {
        let headers = match self {
            Self::IfNoneMatch => return None,
            Self::ForbidOverwrite => [(FORBID_OVERWRITE, "true")],
        };
        let headers: HeaderMap = headers
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .into_iter()
            .collect();
        Some(ClientOptions::new().with_default_headers(headers))
    }

    /// As people read it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::IfNoneMatch => "`If-None-Match: *`",
            Self::ForbidOverwrite => "`x-oss-forbid-overwrite: true`",
        }
    }
}

/// Whether a request creates an object only where nothing stands.
pub(super) fn is_create(headers: &HeaderMap) -> bool {
    headers.contains_key("if-none-match") || headers.contains_key(FORBID_OVERWRITE)
}

/// Whether a refusal speaks of one of the headers.
pub(super) fn names_header(body: &str) -> bool {
    let body = body.to_lowercase();
    body.contains("if-none-match") || body.contains(FORBID_OVERWRITE)
}

impl Bucket {
    /// Creates an object only where nothing stands. [`is_taken`](super::is_taken) says of an error whether something
    /// does.
    pub(crate) async fn create(&self, name: &Path, body: PutPayload) -> object_store::Result<()> {
        let created = match &self.creator {
            Some(creator) => creator.put(name, body).await,
            None => self.objects.put_opts(name, body, PutMode::Create.into()).await,
        };
        created.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn taken(value: &str) -> (Result<CreateHeader>, Option<String>) {
        let mut set = BTreeMap::from([(VARIABLE.to_owned(), value.to_owned())]);
        let header = CreateHeader::take(&mut set);
        (header, set.remove(VARIABLE))
    }

    #[test]
    fn the_setting_chooses_and_the_client_sees_its_own_values() {
        assert_eq!(CreateHeader::take(&mut BTreeMap::new()).expect("none"), CreateHeader::IfNoneMatch);
        let (header, left) = taken("oss");
        assert_eq!((header.expect("known"), left), (CreateHeader::ForbidOverwrite, None));
        for value in ["etag", "disabled"] {
            let (header, left) = taken(value);
            assert_eq!((header.expect("known"), left.as_deref()), (CreateHeader::IfNoneMatch, Some(value)));
        }
        let error = taken("cos").0.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Usage);
        let said = format!("{error} {}", error.hint_text().expect("a hint"));
        assert!(["AWS_CONDITIONAL_PUT", "`cos`", "`oss`", "`etag`"].iter().all(|word| said.contains(word)), "{said}");
    }
}
