//! What an S3 store or its client says when something fails, made fit to be shown.
//!
//! The client puts the address of a request into its errors, and the body of the answer. A body may echo the key id,
//! the string to sign and the signature, and an address may carry them in its query. So of a body only code and message
//! stay, of an address only scheme, host and path, and whatever is left of a known secret is struck out.

use std::error::Error;

use object_store::client::{HttpError, HttpErrorKind};

use super::refusal::{StoreRefusal, element};
use crate::error::ErrorClass;
use crate::text::key;
use crate::unsaid::Unsaid;

/// How much of a text is shown.
const LONGEST: usize = 500;

/// An error of the store, fit to be shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Explained {
    /// Whether there was an answer at all.
    pub(crate) contact: Contact,
    pub(crate) class: ErrorClass,
    pub(crate) text: String,
    pub(crate) hint: &'static str,
}

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    /// Nobody was there: no such host, nobody listens, no way.
    Refused,
    /// Nobody answered in time.
    Silent,
    /// The store answered, or broke off.
    Made,
}

const BROKEN: &str =
    key!("check that the store can be reached; nothing half written counts, so it is safe to run again");
const UNREACHED: &str = key!(
    "check AWS_ENDPOINT_URL and AWS_REGION, the network, and that the store is up; nothing half written counts, so it is \
safe to run again"
);

/// What went wrong, and what may help.
pub(super) fn explain(error: &object_store::Error, secrets: &Unsaid) -> Explained {
    let contact = contact(error);
    let raw = error.to_string();
    let refused = StoreRefusal::in_text(&raw);
    let mut text = shown(&StoreRefusal::true_status(&raw));
    // The client's own text ends with "error sending request", and not with why.
    let cause = shown(&deepest(error));
    if contact != Contact::Made && !text.contains(&cause) {
        text = format!("{text}: {cause}");
    }
    text = secrets.hide(&text);
    let class = refused.as_ref().map_or(ErrorClass::ObjectFailed, StoreRefusal::class);
    let hint = match contact {
        Contact::Made => refused.and_then(|refused| refused.hint()).unwrap_or(BROKEN),
        Contact::Refused | Contact::Silent => UNREACHED,
    };
    Explained { contact, class, text, hint }
}

fn contact(error: &object_store::Error) -> Contact {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<HttpError>().map(HttpError::kind) {
            Some(HttpErrorKind::Connect) => return Contact::Refused,
            Some(HttpErrorKind::Timeout) => return Contact::Silent,
            _ => cause = error.source(),
        }
    }
    Contact::Made
}

fn deepest(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), deepest)
}

/// A location without the user and password that somebody may have put into it.
pub(super) fn without_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    // A secret key may have slashes in it.
    let whole = if authority.contains(':') { rest } else { authority };
    let rest = whole.rfind('@').map_or(rest, |at| &rest[at + 1..]);
    format!("{scheme}://{rest}")
}

fn shown(text: &str) -> String {
    let (before, body) = match text.find('<') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut words: Vec<String> = before.split_whitespace().map(word).collect();
    if let Some(code) = element(body, "Code") {
        words.push(match element(body, "Message") {
            Some(message) => format!("{code} ({message})"),
            None => code.to_owned(),
        });
    }
    let shown = words.join(" ");
    match shown.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}...", &shown[..at]),
        None => shown,
    }
}

fn word(word: &str) -> String {
    match ["http://", "https://"].iter().find_map(|scheme| word.find(scheme)) {
        Some(at) => format!("{}{}", &word[..at], without_userinfo(&word[at..])),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_location_is_left_out_whatever_letters_it_has() {
        for (told, shown) in [
            ("s3://AK:SK@bucket/a", "s3://bucket/a"),
            ("s3://AK:s3/cr+et@bucket/a", "s3://bucket/a"),
            ("s3://AK:s3@cr/et@bucket/a", "s3://bucket/a"),
            ("https://AK:s3/cret@host:9000/a?x=y", "https://host:9000/a"),
            ("https://host:9000/a/b", "https://host:9000/a/b"),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("lakes/a@b", "lakes/a@b"),
        ] {
            assert_eq!(without_userinfo(told), shown);
        }
    }

    fn explained(text: &str) -> Explained {
        let error = object_store::Error::Generic { store: "S3", source: text.to_owned().into() };
        explain(&error, &["AKIAIOSFODNN7EXAMPLE", "abc"].into_iter().collect())
    }

    #[test]
    fn a_body_keeps_its_code_and_message_only() {
        let said = explained(
            "Error performing PUT http://user:pw@h:1/b/k?X-Amz-Signature=ff&x=1 in 2ms - Server returned non-2xx status code: 403 Forbidden: \
             <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>They differ.</Message>\
             <AWSAccessKeyId>AKIAIOSFODNN7EXAMPLE</AWSAccessKeyId><StringToSign>AWS4-HMAC-SHA256 x</StringToSign></Error>",
        );
        assert_eq!(
            said.text,
            "Generic S3 error: Error performing PUT http://h:1/b/k in 2ms - Server returned non-2xx status code: 403 Forbidden: \
             SignatureDoesNotMatch (They differ.)"
        );
        assert!(said.hint.contains("AWS_SECRET_ACCESS_KEY"), "{}", said.hint);
    }

    #[test]
    fn known_secrets_are_struck_out_wherever_they_stand() {
        let said = explained("401 Unauthorized: key AKIAIOSFODNN7EXAMPLE\nabc abcd (https://x.example/p?token=1)");
        assert_eq!(said.text, "Generic S3 error: 401 Unauthorized: key (hidden) (hidden) abcd (https://x.example/p");
        assert!(explained(&"长".repeat(2_000)).text.len() < 2_000);
    }

    #[test]
    fn a_page_of_html_is_cut_off() {
        assert_eq!(explained("502: <html><b>Code</b></html>").text, "Generic S3 error: 502:");
        assert_eq!(explained("502: <Code><b>x</b></Code>").hint, BROKEN);
    }
}
