//! JSON answers to the exact columns of two Arrow tables, by the data contract.
//!
//! [`PageDecoder`] reads a page of an answer: every row's identity for the walk, and the columns of both tables. [`assemble`] picks
//! the rows that a window lands out of its pages. Nothing is bent on the way: what does not fit the contract is [`Quarantined`],
//! whole, with its reason and its exact source text.

mod assemble;
mod carry;
mod columns;
mod context;
mod contract;
mod decode;
mod docs;
mod extra;
#[cfg(test)]
mod fuzz_tests;
mod held;
mod page;
mod plan;
mod quarantine;
mod record;
mod scalar;
mod scan;
#[cfg(test)]
mod schema_page;
mod stops;
mod tables;
mod value;
mod views;

#[cfg(test)]
mod tests;

pub use assemble::{Assembly, Gathered, Remarks, WindowRows, assemble};
pub use carry::{Refreshed, ReplacedRows, carry_over};
pub use context::PageContext;
pub use contract::{Column, ColumnType, Contract, DECIMAL_PRECISION, DECIMAL_SCALE, PartitionColumn, TableContract};
pub use decode::PageDecoder;
pub use docs::{SchemaFormat, render as render_schema};
pub use page::{Page, PageError};
pub use quarantine::{FORMAT as QUARANTINE_FORMAT, Quarantined};
pub use stops::{StopRow, stop_rows};
pub use tables::{contract_version, stop_spec, table_specs};
pub use value::{SchemaViolation, decimal};
pub use views::{Engine, Extent, View, Views, render as render_views};
