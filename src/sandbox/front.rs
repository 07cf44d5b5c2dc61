//! What the gateways have in common: a request is read, its caller checked, its question answered, and the answer or a
//! refusal written. How each of these looks on the wire is [`openapi2`] or [`qjb`].

use http::request::Parts;
use http::{Method, header};

use crate::edition::Edition;
use crate::time::{BeijingTime, Window};

use super::hostile::Behaviour;
use super::limit::Excess;
use super::render::Dialect;
use super::request::{Asked, Known, Params, Question, Refusal, Reply, given};
use super::{openapi2, qjb};

/// The gateway of an edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    OpenApi2,
    Qjb,
}

impl Front {
    pub(super) fn of(edition: Edition) -> Self {
        match edition {
            Edition::Enterprise | Edition::Y => Self::OpenApi2,
            Edition::Flagship => Self::Qjb,
        }
    }

    /// Reads a request; `None` when there is nothing at its address.
    pub(super) fn read(self, base_path: &str, parts: &Parts, body: &[u8]) -> Option<Asked> {
        let rest = parts.uri.path().strip_prefix(base_path)?;
        let is_post = parts.method == Method::POST;
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
        match (self, rest) {
            (Self::OpenApi2, rest) if rest.strip_prefix('/') == Some(openapi2::METHOD) => {
                let params = openapi2::form(is_post, media_type, body);
                let sent = String::from_utf8_lossy(body).into_owned();
                Some(Asked { method: openapi2::METHOD.to_owned(), params, sent })
            }
            (Self::Qjb, "") => {
                let asked = qjb::asked(is_post, media_type, parts.uri.query().unwrap_or_default(), body);
                Some(Asked { sent: parts.uri.to_string(), ..asked })
            }
            _ => None,
        }
    }

    /// What the journal tells of the parameters: all that is not secret, under the names of the search.
    pub(super) fn told(self, params: &Params) -> Params {
        let mut told = match self {
            Self::OpenApi2 => params.clone(),
            Self::Qjb => qjb::told(params),
        };
        told.retain(|name, _| !matches!(name.as_str(), "sign" | "salt"));
        told
    }

    /// Checks who calls, when (against `now`, if at all), and whether the signature is theirs.
    pub(super) fn authorize(self, params: &Params, known: &Known, now: Option<BeijingTime>) -> Result<(), Refusal> {
        match self {
            Self::OpenApi2 => openapi2::authorize(params, known, now),
            Self::Qjb => qjb::authorize(params, known, now),
        }
    }

    /// What is said to a call that the meters turn away; `nth` is its number.
    pub(super) fn turned_away(self, excess: Excess, nth: u64) -> Refusal {
        match self {
            Self::OpenApi2 => openapi2::turned_away(excess),
            Self::Qjb => qjb::turned_away(excess, nth),
        }
    }

    /// Reads the question.
    pub(super) fn question(
        self,
        method: &str,
        params: &Params,
        behaviour: &Behaviour,
        edition: Edition,
    ) -> Result<Question, Refusal> {
        let question = match self {
            Self::OpenApi2 => openapi2::query(params).map(Question::List),
            Self::Qjb => qjb::question(method, params, behaviour),
        }?;
        let refused = match &question {
            Question::List(query) => behaviour.oddities.refused_page(query.page_no, query.page_size, edition),
            Question::Stop(_) => None,
        };
        refused.map_or(Ok(question), |(code, message)| Err(Refusal::new(code, message)))
    }

    /// The JSON of an answer.
    pub(super) fn reply_json(self, reply: &Reply, behaviour: &Behaviour, dialect: Dialect) -> String {
        match (self, reply) {
            (Self::OpenApi2, Reply::Rows(listing)) => openapi2::rows_json(listing, behaviour, dialect),
            (_, Reply::Rows(listing)) => qjb::rows_json(listing, behaviour, dialect),
            (_, Reply::Stopped(failures)) => qjb::stopped_json(failures, dialect),
        }
    }

    /// The JSON of a business error.
    pub(super) fn refusal_json(self, refusal: &Refusal, dialect: Dialect) -> String {
        match self {
            Self::OpenApi2 => openapi2::refusal_json(refusal, dialect),
            Self::Qjb => qjb::refusal_json(refusal, dialect),
        }
    }
}

/// The window that a request says it is about, whether or not it is well formed.
pub(super) fn window_of(told: &Params) -> Option<Window> {
    let read = |name| BeijingTime::parse(given(told, name)?);
    Window::new(read("start_time")?, read("end_time")?)
}
