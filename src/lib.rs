//! wdt-lake
pub mod config;
pub mod edition;
pub mod error;
pub mod extract;
pub mod gateway;
pub mod id;
pub mod requisition;
pub mod time;
pub use error::{Error, ErrorKind, Result};
