//! An Apache Iceberg table, format version 2: one for each table and account of the lake, under `_iceberg/`.
//!
//! An account has tables of its own, because the files do not say whose they are: the account stands in their paths
//! only, and readers were seen to read partition values that stand in the path only as something else, without a word.
//! So the tables are unpartitioned, and one of all accounts could not tell these apart.
//!
//! A version of the metadata (`v{N}.metadata.json`) is created only where nothing stands, and `version-hint.text` says
//! which is the newest, as a Hadoop catalog has it. A version has one snapshot more than the one before it, whose one
//! Avro manifest lists every file of the committed set and those that went since. Paths are absolute URIs: where the
//! lake lies elsewhere now, the next snapshot is the first again.

pub(crate) mod folder;
pub(crate) mod manifest;
pub(crate) mod metadata;
pub(crate) mod next;
mod schema;
