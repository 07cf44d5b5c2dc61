//! Why a commit may not follow those that stand in the log.

use std::fmt;

use super::manifest::Binding;
use super::stop_ledger::StopConflict;
use crate::id::CommitId;
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

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap { window } => write!(f, "the window {window} is already committed"),
            Self::Fenced => f.write_str("the commit was fenced by a sweep"),
            Self::NotLive { commit } => {
                write!(f, "the commit {commit}, which it removes, is not live or covers nothing")
            }
            Self::Known { commit } => write!(f, "the id {commit} is already in the log"),
            Self::Stop(conflict) => conflict.fmt(f),
            Self::OtherAccount { bound } => {
                write!(f, "the account name is bound to sid {} ({}) at {}", bound.sid, bound.edition, bound.host)
            }
        }
    }
}

impl std::error::Error for Conflict {}

impl From<StopConflict> for Conflict {
    fn from(conflict: StopConflict) -> Self {
        Self::Stop(conflict)
    }
}
