//! Rows to the bytes of Parquet files, and back.
//!
//! Knows no HTTP and no data contract: callers say what a table is by a [`TableSpec`] and hand over rows a column at a
//! time.

mod check;
mod commit_id;
pub(crate) mod decode;
mod disk;
pub(crate) mod encode;
#[cfg_attr(not(test), expect(dead_code, reason = "what merges files of the lake comes with compaction"))]
pub(crate) mod merge;
pub(crate) mod rows;
pub(crate) mod spec;
#[cfg_attr(not(test), expect(dead_code, reason = "what merges files of the lake comes with compaction"))]
mod spool;
mod writer;

pub(crate) use check::{bounds, check_order};
pub use decode::decode;
pub(crate) use encode::EncodedFile;
pub use encode::encode;
pub(crate) use rows::Columns;
pub use rows::RowSource;
pub use spec::FileOrigin;
pub(crate) use spec::TableSpec;
