//! A request to either gateway and its answer, whatever they look like on the wire.

use std::collections::BTreeMap;

use crate::config::Secret;

use super::listing::{Listing, Query};
use super::record::Text;
use super::stop::NotStopped;

/// The parameters of a request; of two with one name the later counts.
pub(super) type Params = BTreeMap<String, String>;

/// Who may call.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) sid: String,
    /// How many more sids there are, with their number behind it.
    pub(super) more_accounts: u32,
    pub(super) appkey: String,
    pub(super) secret: Secret,
}

impl Known {
    /// Whether it is a seller account that may call.
    pub(super) fn has(&self, sid: Option<&str>) -> bool {
        let Some(rest) = sid.and_then(|sid| sid.strip_prefix(&self.sid)) else { return false };
        let number = || rest.strip_prefix('-')?.parse::<u32>().ok();
        rest.is_empty() || number().is_some_and(|number| (1..=self.more_accounts).contains(&number))
    }
}

/// A business error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// A request as it arrived, not yet checked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The method of the gateway that it names.
    pub(super) method: String,
    pub(super) params: Result<Params, Refusal>,
    /// What carries the signature, as it was sent: a form, or an address.
    pub(super) sent: String,
}

/// A well-formed question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    List(Query),
    /// Stop the reference of these numbers.
    Stop(Vec<Text>),
}

/// Its answer.
#[derive(Debug)]
pub(super) enum Reply {
    Rows(Listing),
    /// What was not stopped.
    Stopped(Vec<NotStopped>),
}

/// A parameter that is there and not empty.
pub(super) fn given<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    params.get(name).map(String::as_str).filter(|value| !value.is_empty())
}
