//! What identifies one version of a requisition, whatever page, answer or file it stands in.

use std::sync::Arc;

use crate::time::BeijingTime;

/// The identity of one version of a requisition. Two rows of one identity are the same version; the later answer wins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// `purchase_apply_no` and `modified`: every version that the ERP documents.
    Version(Arc<str>, BeijingTime),
    /// `apply_id`, of a record without a readable number or modified time.
    ApplyId(i64),
    /// SHA-256 of the record's raw JSON, when it has neither.
    Raw([u8; 32]),
}

/// What the walk needs to know of a row that came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKey {
    /// Which version it is.
    pub identity: Identity,
    /// Its last-modified time; `None` when it could not be read.
    pub modified: Option<BeijingTime>,
}
