//! What identifies one version of a requisition, whatever page, answer or file it stands in.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::time::BeijingTime;

/// The `apply_id` of a requisition. The ERP counts from 1: 0 and what is below stand for a field that is masked or not
/// filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApplyId(NonZeroU64);

impl ApplyId {
    /// The id that the source field `apply_id` says; `None` when it says none.
    pub fn new(value: i64) -> Option<Self> {
        u64::try_from(value).ok().and_then(NonZeroU64::new).map(Self)
    }

    /// The number that the source field says.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

/// By what rows are told apart when they are kept: two rows of one identity are one, and the later answer wins. It is
/// fine on purpose, so that nothing is dropped; how rows are counted for a proof is coarser, see `extract/evidence.rs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// A version that the ERP documents by number and second. Two requisitions can share both, so the id belongs to it,
    /// or its absence.
    Version {
        /// `purchase_apply_no`.
        number: Arc<str>,
        /// `modified`.
        modified: BeijingTime,
        /// `apply_id`; flagship sends none.
        apply_id: Option<ApplyId>,
    },
    /// An invalid record without a readable number or modified time.
    Record {
        /// `apply_id`, where it can be read.
        apply_id: Option<ApplyId>,
        /// SHA-256 of its raw JSON.
        sha256: [u8; 32],
    },
}

impl Identity {
    /// The id of the requisition, where the row says one.
    pub fn apply_id(&self) -> Option<ApplyId> {
        match self {
            Self::Version { apply_id, .. } | Self::Record { apply_id, .. } => *apply_id,
        }
    }
}

/// What the walk needs to know of a row that came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKey {
    /// Which row it is.
    pub identity: Identity,
    /// Its last-modified time; `None` when it could not be read.
    pub modified: Option<BeijingTime>,
}
