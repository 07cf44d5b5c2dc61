//! JSON answers to the exact columns of two Arrow tables, by the data contract.
//!
//! [`PageDecoder`] reads a page of an answer: every row's identity for the walk, and the columns of both tables.
//! [`assemble`] picks the rows that a window lands out of its pages. Nothing is bent on the way: what does not fit the
//! contract is [`Quarantined`], whole, with its reason and its exact source text.

mod added;
mod assemble;
mod carry;
mod columns;
mod compact;
mod compare;
mod context;
mod contract;
mod ddl;
mod decode;
mod dialect;
mod docs;
mod extra;
#[cfg(test)]
mod fuzz_tests;
mod json;
mod landed;
mod latest;
mod oldest;
mod open;
mod page;
mod plan;
mod quarantine;
mod record;
mod scalar;
mod scan;
#[cfg(test)]
mod schema_page;
mod standing;
mod stops;
mod tables;
mod value;
mod views;

#[cfg(test)]
mod tests;

pub use assemble::{Assembly, assemble};
pub(crate) use assemble::{Gathered, Remarks, WindowRows};
pub(crate) use carry::{
    Changes, OldRows, Reconciled, ReplacedVersions, Touched, Unchanged, reconcile, refresh_range, share_out,
};
pub(crate) use compare::{Change, Comparison, LandedRows, Version, compare};
pub use context::PageContext;
pub use contract::{ColumnType, Contract, TableContract};
pub(crate) use ddl::render as render_ddl;
pub use decode::PageDecoder;
pub(crate) use dialect::Dialect;
pub(crate) use docs::{render_json as render_schema_json, render_text as render_schema_text};
pub(crate) use json::names as member_names;
pub(crate) use landed::{LandedDetails, LandedHeader, LandedHeaders};
pub(crate) use latest::{DetailSums, OpenQuantities, VersionRow, VersionRows, latest, unreferenced};
pub(crate) use oldest::{OldestOpen, OpenRequisition};
pub(crate) use open::OpenVersions;
pub use page::Page;
pub(crate) use quarantine::Quarantined;
pub(crate) use standing::{StandingHeader, StandingHeaders, StandingStop, StandingStops};
pub(crate) use stops::{StopRow, landed_stops, stop_rows};
pub use tables::table_specs;
pub(crate) use tables::{contract_version, stop_spec};
pub(crate) use views::{Engine, Extent, render as render_views};
