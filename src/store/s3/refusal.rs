//! Refusals of a store, told apart: which pass, which mean that it knows no conditional put, and what a user can do
//! about the others.
//!
//! S3 answers an error with a status, a code and a sentence. The code counts: one status stands for an expired token, a
//! body that came too slowly and a lock alike. The client of object_store gives status and body as text, so they are
//! read back out of it.

use std::fmt;

use bytes::Bytes;

use super::create::names_header;
use crate::error::ErrorClass;
use crate::text::key;

/// Before which the client's text has the status of an answer.
const STATUS: &str = "status code: ";
/// The element in which the true status of an answer stands that the client was given another one for.
const NOTE: &str = "Answer";

/// Codes that pass when one waits.
const PASSING: [&str; 16] = [
    "RequestTimeout",
    "RequestTimedOut",
    "IncompleteBody",
    "OperationAborted",
    "ConditionalRequestConflict",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "ServiceUnavailable",
    "InternalError",
    "ServerBusy",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
];

const WRONG_KEY: &str =
    key!("check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, where one is set)");
const WRONG_REGION: &str = key!("check AWS_REGION and AWS_ENDPOINT_URL: the bucket lies elsewhere");
const CANNOT: &str = key!("this store cannot do what the lake needs: run `wdt-lake doctor`");
const EXPIRED: &str = key!(
    "the session token has expired: renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and run again"
);
const INVALID: &str = key!(
    "the session token is not valid: renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and run again"
);
const CLOCK: &str = key!("set this machine's clock");
const HOSTED: &str = key!("this store wants AWS_VIRTUAL_HOSTED_STYLE_REQUEST=true");
const NO_BUCKET: &str = key!("make the bucket first, and check its name, AWS_REGION and AWS_ENDPOINT_URL");
const KMS: &str = key!(
    "let this key use the bucket's KMS key (kms:GenerateDataKey and kms:Decrypt), and see that the KMS key is enabled"
);
const CHECKSUM: &str = key!("a bucket with Object Lock wants checksums: set AWS_CHECKSUM_ALGORITHM=SHA256");
const LOCKED: &str = key!(
    "Object Lock keeps objects in this bucket from being written over or deleted, and a lake must delete what no longer \
counts: use a bucket or a prefix without a default retention"
);
const DENIED: &str = key!("let this key list the bucket, and get, put and delete objects under the lake's prefix");
const FORBIDDEN: &str = key!(
    "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and that the key may list the bucket, and get, put and delete objects \
under the lake's prefix"
);
const FULL: &str = key!("the store or its quota is full: free some space and run again");
const BUSY: &str = key!(
    "the store cannot take the request just now: run again later; `--max-retry-time` says how long a run waits for it"
);

/// What a store answered instead of doing what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreRefusal {
    status: u16,
    code: String,
    message: String,
    /// Whether it speaks of the condition of a conditional put, or of its header.
    names_condition: bool,
}

impl StoreRefusal {
    /// The refusal of an answer.
    pub(super) fn of(status: u16, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let part = |name| element(&body, name).unwrap_or_default().to_owned();
        let code = part("Code");
        let names_condition = code.to_lowercase().contains("condition") || names_header(&body);
        Self { status, message: part("Message"), names_condition, code }
    }

    /// The refusal that the client's text speaks of.
    pub(super) fn in_text(text: &str) -> Option<Self> {
        let number = |rest: &str| rest.get(..3)?.parse().ok();
        let body = text.find('<').map_or("", |at| &text[at..]);
        let status = match element(body, NOTE) {
            Some(answer) => number(answer)?,
            None => number(text.split_once(STATUS)?.1)?,
        };
        Some(Self::of(status, body.as_bytes()))
    }

    /// A body for the client that carries the status which the answer had, when the client must be given another.
    pub(super) fn note(status: u16, region: Option<&str>, body: &[u8]) -> Bytes {
        let region = region.filter(|region| region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        let region = region.map(|region| format!(", the bucket lies in {region}")).unwrap_or_default();
        let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let mut noted = format!("<{NOTE}>{status} {}{region}</{NOTE}>", reason.unwrap_or_default()).into_bytes();
        noted.extend_from_slice(body);
        noted.into()
    }

    /// The client's text, with the status that the answer really had.
    pub(super) fn true_status(text: &str) -> String {
        let noted = text.split_once('<').and_then(|(before, _)| {
            let answer = element(&text[before.len()..], NOTE)?;
            let at = before.rfind(STATUS)? + STATUS.len();
            let rest = text.split_once(&format!("</{NOTE}>"))?.1;
            Some(format!("{}{answer}: {rest}", &before[..at]).replace("non-2xx status code", "status code"))
        });
        noted.unwrap_or_else(|| text.to_owned())
    }

    /// Whether it passes when one waits.
    pub(super) fn passes(&self) -> bool {
        let by_status = match self.status {
            // Not implemented, an unknown version of HTTP, no space.
            501 | 505 | 507 => false,
            408 | 425 | 429 => true,
            status => status >= 500,
        };
        by_status || PASSING.contains(&&*self.code)
    }

    /// Whether the store knows no conditional put.
    pub(super) fn is_of_condition(&self) -> bool {
        match self.status {
            501 => true,
            400 | 405 => !self.passes() && (self.names_condition || self.code == "NotImplemented"),
            _ => false,
        }
    }

    /// What may help.
    pub(super) fn hint(&self) -> Option<&'static str> {
        let (code, message) = (&*self.code, self.message.to_lowercase());
        if self.passes() {
            return Some(BUSY);
        }
        Some(match code {
            "SignatureDoesNotMatch" | "InvalidAccessKeyId" | "InvalidClientTokenId" | "InvalidAccessKey" => WRONG_KEY,
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired" => EXPIRED,
            "InvalidToken" | "InvalidSecurityToken" => INVALID,
            "RequestTimeTooSkewed" | "RequestInTheFuture" => CLOCK,
            "SecondLevelDomainForbidden" | "PathStyleDomainForbidden" | "VirtualHostDomainRequired" => HOSTED,
            "NoSuchBucket" | "InvalidBucketName" => NO_BUCKET,
            "PermanentRedirect" | "TemporaryRedirect" | "Redirect" | "AuthorizationHeaderMalformed" => WRONG_REGION,
            "IllegalLocationConstraintException" | "InvalidRegion" => WRONG_REGION,
            _ if message.contains("content-md5") || message.contains("x-amz-checksum") => CHECKSUM,
            _ if code.contains("ObjectLock") || message.contains("object lock") || message.contains("worm") => LOCKED,
            _ if code.starts_with("KMS") || code.starts_with("Kms") || message.contains("kms") => KMS,
            "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "NotEnoughSpace" => FULL,
            "AccessDenied" | "AllAccessDisabled" => DENIED,
            "NotImplemented" => CANNOT,
            _ => match self.status {
                301 | 302 | 307 | 308 => WRONG_REGION,
                401 => WRONG_KEY,
                403 => FORBIDDEN,
                501 => CANNOT,
                507 => FULL,
                _ => return None,
            },
        })
    }
}

impl StoreRefusal {
    /// What class of errors it is.
    pub(super) fn class(&self) -> ErrorClass {
        match self.hint() {
            Some(WRONG_KEY | EXPIRED | INVALID | CLOCK | DENIED | FORBIDDEN | KMS) => ErrorClass::StoreRefused,
            Some(NO_BUCKET | WRONG_REGION) => ErrorClass::BucketMissing,
            Some(FULL) => ErrorClass::StoreFull,
            _ => ErrorClass::ObjectFailed,
        }
    }
}

impl fmt::Display for StoreRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain =
            |code: &str| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        write!(f, "{} {}", self.status, if is_plain(&self.code) { &self.code } else { "" })
    }
}

/// Whether the store answered that it does not know conditional puts.
pub(crate) fn refuses_condition(error: &object_store::Error) -> bool {
    if matches!(error, object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) {
        return true;
    }
    StoreRefusal::in_text(&error.to_string()).is_some_and(|refused| refused.is_of_condition())
}

/// Whether a store that refused to create an object did so because something stands there.
pub(crate) fn is_taken(error: &object_store::Error) -> bool {
    match error {
        object_store::Error::Precondition { .. } => true,
        // Stores say 409 for what stands there, and for another request that is under way.
        object_store::Error::AlreadyExists { .. } => {
            StoreRefusal::in_text(&error.to_string()).is_none_or(|refused| !refused.passes())
        }
        _ => false,
    }
}

/// Whether nothing stands there because there is no bucket.
pub(crate) fn misses_bucket(error: &object_store::Error) -> bool {
    StoreRefusal::in_text(&error.to_string()).is_some_and(|refused| refused.code == "NoSuchBucket")
}

/// The text of the first element of that name, if it is plain.
pub(super) fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    (!text.contains('<')).then(|| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str, message: &str) -> StoreRefusal {
        StoreRefusal::of(
            status,
            format!("<?xml?><Error><Code>{code}</Code><Message>{message}</Message></Error>").as_bytes(),
        )
    }

    #[test]
    fn only_what_names_the_condition_is_of_the_condition() {
        for (status, code, message) in [
            (501, "", ""),
            (501, "NotImplemented", "A header you provided implies functionality that is not implemented"),
            (400, "NotImplemented", ""),
            (400, "InvalidArgument", "Header If-None-Match is not supported"),
            (400, "ConditionalNotSupported", ""),
            (405, "MethodNotAllowed", "if-none-match"),
            (400, "InvalidArgument", "The header x-oss-forbid-overwrite is not supported"),
        ] {
            assert!(refused(status, code, message).is_of_condition(), "{status} {code} {message}");
        }
        for (status, code, message) in [
            (400, "ExpiredToken", "The provided token has expired."),
            (400, "InvalidRequest", "Content-MD5 is required for Put Object requests with Object Lock parameters"),
            (400, "RequestTimeout", ""),
            (400, "", ""),
            (405, "MethodNotAllowed", "The specified method is not allowed against this resource."),
            (403, "AccessDenied", "no permission for If-None-Match"),
            (409, "ConditionalRequestConflict", "A conflicting operation occurred"),
            (412, "PreconditionFailed", "if-none-match"),
            (503, "SlowDown", ""),
        ] {
            assert!(!refused(status, code, message).is_of_condition(), "{status} {code} {message}");
        }
    }

    #[test]
    fn each_refusal_gets_its_own_hint() {
        for (status, code, message, word) in [
            (400, "ExpiredToken", "", "renew"),
            (403, "InvalidToken", "", "renew"),
            (403, "RequestTimeTooSkewed", "", "clock"),
            (400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong", "AWS_REGION"),
            (301, "PermanentRedirect", "", "AWS_REGION"),
            (301, "", "", "AWS_REGION"),
            (400, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required", "AWS_CHECKSUM_ALGORITHM"),
            (403, "AccessDenied", "Access Denied because object protected by object lock.", "retention"),
            (403, "AccessDenied", "not authorized to perform: kms:GenerateDataKey", "KMS"),
            (400, "KMS.DisabledException", "", "KMS"),
            (403, "AccessDenied", "Access Denied", "put and delete"),
            (403, "", "", "AWS_SECRET_ACCESS_KEY"),
            (507, "", "", "full"),
            (503, "SlowDown", "", "--max-retry-time"),
            (409, "OperationAborted", "", "--max-retry-time"),
            (400, "RequestTimeout", "", "--max-retry-time"),
        ] {
            let hint = refused(status, code, message).hint().expect("a hint");
            assert!(hint.contains(word), "{status} {code}: {hint}");
            assert!(!hint.contains("single-writer"), "{hint}");
        }
        assert_eq!(refused(400, "InvalidRequest", "something").hint(), None);
    }

    #[test]
    fn what_passes_is_waited_for() {
        for (status, code) in
            [(400, "RequestTimeout"), (409, "OperationAborted"), (500, ""), (503, "SlowDown"), (429, "")]
        {
            assert!(refused(status, code, "").passes(), "{status} {code}");
        }
        for (status, code) in [(400, "InvalidRequest"), (409, "FileAlreadyExists"), (501, "NotImplemented"), (403, "")]
        {
            assert!(!refused(status, code, "").passes(), "{status} {code}");
        }
    }

    #[test]
    fn the_true_status_is_shown() {
        let noted = StoreRefusal::note(301, Some("eu-west-1"), b"<Error><Code>PermanentRedirect</Code></Error>");
        let text = format!(
            "Error performing GET http://h/b in 1ms - Server returned non-2xx status code: 400 Bad Request: {}",
            String::from_utf8_lossy(&noted)
        );
        let refused = StoreRefusal::in_text(&text).expect("a refusal");
        assert_eq!((refused.status, &*refused.code), (301, "PermanentRedirect"));
        let shown = StoreRefusal::true_status(&text);
        assert!(shown.contains("status code: 301 Moved Permanently, the bucket lies in eu-west-1: <Error>"), "{shown}");
        assert_eq!(StoreRefusal::in_text("operation timed out"), None);
    }
}
