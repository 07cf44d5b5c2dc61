#![doc = "wdt-lake"]
pub mod edition;
pub mod error;
pub mod id;
pub mod requisition;
pub mod time;
pub use error::{Error, ErrorKind, Result};
