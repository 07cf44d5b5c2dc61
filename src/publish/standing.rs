//! What is published of an account, as far as others need to know it.

use std::collections::BTreeMap;

use crate::log::Table;
use crate::publish_format::PublishFormat;

/// The manifest that a published table names. Its number alone does not say whose log it is of: a log that was restored
/// from a backup goes on with numbers that the table knows already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamedManifest {
    /// Its number.
    pub(crate) number: u64,
    /// When it was begun, in milliseconds since 1970 in UTC; Delta checkpoints of earlier programs do not say it.
    pub(crate) created_at_millis: Option<i64>,
}

/// How far an account is published in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The table.
    pub(crate) table: Table,
    /// The format.
    pub(crate) format: PublishFormat,
    /// The newest version of what is published.
    pub(crate) version: u64,
    /// The number of the manifest whose committed set the active files are.
    pub(crate) number: u64,
}

/// What is published of an account in a table, in full.
#[derive(Clone, Debug)]
pub(crate) struct PublishedSet {
    /// The table.
    pub(crate) table: Table,
    /// The format.
    pub(crate) format: PublishFormat,
    /// The folder that holds what is published, relative to the root of the lake.
    pub(crate) folder: String,
    /// The manifest up to which the account is published, if it is.
    pub(crate) named: Option<NamedManifest>,
    /// The active files by their names, relative to the root of the lake, with their sizes. What is named elsewhere
    /// stands with the whole of its URI.
    pub(crate) active: BTreeMap<String, i64>,
    /// What else is wrong with it.
    pub(crate) flaws: Vec<String>,
}
