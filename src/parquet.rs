//! Rows to the bytes of Parquet files, and back.
//!
//! Knows no HTTP and no data contract: callers say what a table is by a [`TableSpec`] and hand over rows a column at a
//! time.

mod check;
mod commit_id;
pub(crate) mod decode;
mod disk;
pub(crate) mod encode;
pub(crate) mod merge;
pub(crate) mod rows;
pub(crate) mod spec;
mod spool;
mod upgrade;
mod writer;

pub(crate) use check::{bounds, check_order};
pub use decode::decode;
pub(crate) use decode::{decode_columns, decode_landed_by, decode_marked, decode_span};
pub(crate) use encode::EncodedFile;
pub use encode::encode;
pub(crate) use merge::{MergeInput, MergeLimits, RowFilter, merge};
pub(crate) use rows::Columns;
pub use rows::RowSource;
pub use spec::FileCompression;
pub use spec::FileOrigin;
pub(crate) use spec::TableSpec;
pub(crate) use spool::SpooledFile;
pub(crate) use upgrade::{Upgrade, upgraded};
