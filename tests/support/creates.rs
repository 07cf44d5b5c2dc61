//! By which header a server of the tests creates an object only where nothing stands.

use hyper::header::{AUTHORIZATION, HeaderMap, IF_NONE_MATCH};

const FORBID_OVERWRITE: &str = "x-oss-forbid-overwrite";

/// A refusal: its status, code and message.
pub(crate) type Refused = (u16, &'static str, &'static str);

/// What a server makes of the headers of a put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Creates {
    /// `If-None-Match`, and other headers are nothing to it.
    #[default]
    LikeS3,
    /// As Alibaba OSS: `If-None-Match` is refused, and `x-oss-forbid-overwrite` must be signed.
    LikeOss,
    /// As Alibaba OSS in a bucket with versions, which does not look at the header.
    LikeVersionedOss,
}

impl Creates {
    /// The setting that a client of it needs.
    pub(crate) fn setting(self) -> Option<(String, String)> {
        (self != Self::LikeS3).then(|| ("AWS_CONDITIONAL_PUT".to_owned(), "oss".to_owned()))
    }

    /// Whether a put with these headers is only for a name under which nothing stands.
    pub(crate) fn only_new(self, headers: &HeaderMap) -> Result<bool, Refused> {
        if self == Self::LikeS3 {
            return Ok(headers.contains_key(IF_NONE_MATCH));
        }
        if headers.contains_key(IF_NONE_MATCH) {
            return Err((
                501,
                "NotImplemented",
                "A header you provided implies functionality that is not implemented.",
            ));
        }
        match headers.get(FORBID_OVERWRITE).map(|value| value.as_bytes()) {
            None | Some(b"false") => Ok(false),
            Some(b"true") if is_signed(headers) => Ok(self == Self::LikeOss),
            Some(b"true") => Err((403, "SignatureDoesNotMatch", "x-oss-forbid-overwrite is not signed")),
            Some(_) => Err((400, "InvalidArgument", "x-oss-forbid-overwrite must be true or false")),
        }
    }

    /// The answer where something stands.
    pub(crate) fn taken(self) -> Refused {
        match self {
            Self::LikeS3 => {
                (412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
            }
            _ => (409, "FileAlreadyExists", "The object you specified already exists and can not be overwritten."),
        }
    }
}

fn is_signed(headers: &HeaderMap) -> bool {
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signed = authorization.split_once("SignedHeaders=").map_or("", |(_, rest)| rest);
    signed.split(',').next().unwrap_or_default().split(';').any(|name| name == FORBID_OVERWRITE)
}
