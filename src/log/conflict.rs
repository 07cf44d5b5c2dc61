//! Why a commit may not follow those that stand in the log.

use std::fmt;

use super::manifest::Binding;
use super::stop_ledger::StopConflict;
use crate::id::CommitId;
use crate::text::{Text, text};
use crate::time::Window;

/// Why a commit may not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Conflict {
    /// A live commit that stays covers some of the same seconds.
    Overlap {
        /// Its window.
        window: Window,
    },
    /// The commit's own id was fenced: a sweep took its writer for dead.
    Fenced,
    /// A commit that it removes is not live, or covers nothing whose place could be taken.
    NotLive {
        /// That commit.
        commit: CommitId,
    },
    /// An id that it fences, or its own, is already in the log.
    Known {
        /// That id.
        commit: CommitId,
    },
    /// Its stops may not follow those before them.
    Stop(StopConflict),
    /// The log is bound to another account of the ERP.
    OtherAccount {
        /// What it is bound to.
        bound: Box<Binding>,
    },
}

impl Conflict {
    /// In words.
    pub(crate) fn text(&self) -> Text {
        match self {
            Self::Overlap { window } => text!("the window {window} is already committed", window),
            Self::Fenced => text!("the commit was fenced by a sweep"),
            Self::NotLive { commit } => {
                text!("the commit {commit}, which it removes, is not live or covers nothing", commit)
            }
            Self::Known { commit } => text!("the id {commit} is already in the log", commit),
            Self::Stop(conflict) => conflict.text(),
            Self::OtherAccount { bound } => {
                text!(
                    "the account name is bound to sid {sid} ({edition}) at {host}",
                    sid = bound.sid,
                    edition = bound.edition,
                    host = bound.host
                )
            }
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(f)
    }
}

impl std::error::Error for Conflict {}

impl From<StopConflict> for Conflict {
    fn from(conflict: StopConflict) -> Self {
        Self::Stop(conflict)
    }
}
