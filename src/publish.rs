//! The committed set as tables of other formats, so that engines which know these read exactly the committed rows,
//! without a glob and without our log.
//!
//! The one format is Delta Lake ([`delta`]): one table for each table of the lake, all accounts in it. The files are
//! the lake's own and stay where they are; publishing writes small log entries beside them.
//!
//! **Every version is the committed set at the manifest that it names.** What is published follows the commit log,
//! manifest by manifest; a crash leaves a table behind the log, never wrong, and the next publisher goes on from there.
//! Nothing is deleted that is active in the newest version: whoever deletes publishes first (see
//! [`Publisher::publish_standing`]).
//!
//! Knows no data contract: callers say what a table is by a [`TableSchema`].

pub(crate) mod delta;
mod follow;
mod publisher;
mod schema;

pub(crate) use follow::FollowedLog;
pub use publisher::PublishedTable;
pub(crate) use publisher::{Publisher, Publishing};
pub(crate) use schema::{SchemaColumn, TableSchema};
