//! Decides which calls to make; knows no Parquet.
//!
//! [`plan`] turns a wanted range and the coverage of the lake into windows; [`walk`] turns one window into its complete
//! set of rows, with the proof. Both are free of HTTP and of JSON: `pipeline` hands them a source of decoded pages.

mod boundary;
pub(crate) mod budget;
mod count;
pub(crate) mod cuts;
mod day;
mod evidence;
pub(crate) mod pages;
pub(crate) mod plan;
pub(crate) mod walk;
pub(crate) mod whole;
