//! Purchase requisitions of the Wangdian (旺店通) ERP as an exact, provably complete Parquet lake.
//!
//! The program `wdt-lake` is [`cli::main`]; everything that it does can be done from Rust as well:
//!
//! ```no_run
//! # async fn example() -> wdt_lake::Result<()> {
//! use std::sync::Arc;
//! use wdt_lake::config::AccountSettings;
//! use wdt_lake::land::{Access, Store};
//! use wdt_lake::pipeline::{Interrupt, SyncOptions, sync};
//! use wdt_lake::time::{BeijingTime, SystemClock};
//!
//! let account = AccountSettings::from_env(|name| std::env::var(name).ok(), |path| std::fs::read_to_string(path))?;
//! let options = SyncOptions { from: BeijingTime::parse("2026-01-01 00:00:00"), ..SyncOptions::default() };
//! let store = Store::open("./lake", Access::Write)?;
//! let report = sync(&account, store, &options, Arc::new(SystemClock), Interrupt::never(), &|_| ()).await?;
//! println!("{} requisitions, exit code {}", report.headers, report.exit_code());
//! # Ok(())
//! # }
//! ```
//!
//! Data flows one way, and a module imports only what stands below it:
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`cli`] | parses and prints, decides nothing |
//! | [`pipeline`] | one run for one account: the only place that knows the five below |
//! | [`stop`] | stop references: the state machine between an intent and its result |
//! | [`land`] | Arrow -> lake: Parquet, the commit log, sweep, lease |
//! | [`transform`] | JSON bytes -> the columns of two Arrow tables, by the data contract |
//! | [`extract`] | which calls to make: the planner, and the walk that proves a window complete |
//! | [`gateway`] | signed, paced, retried HTTP |
//! | [`sandbox`] | a simulated ERP for the demo, tests and rehearsals |
//! | [`config`], [`proof`], [`requisition`], [`edition`], [`id`], [`time`], [`error`] | the ground |

pub mod cli;
pub mod config;
pub mod edition;
pub mod error;
pub mod extract;
pub mod format;
#[cfg(test)]
mod fuzzing;
pub mod gateway;
mod home;
pub mod id;
pub mod land;
pub mod log;
pub mod parquet;
pub mod pipeline;
pub mod proof;
pub mod requisition;
pub mod sandbox;
pub mod stop;
pub mod store;
pub mod time;
pub mod transform;
mod units;
mod unsaid;
pub mod verify;
mod worker;

pub use error::{Error, ErrorKind, Result};
