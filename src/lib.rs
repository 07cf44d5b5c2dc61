//! Purchase requisitions of the Wangdian (旺店通) ERP as an exact, provably complete Parquet lake.
//!
//! The program `wdt-lake` is [`main`]; everything that it does can be done from Rust as well:
//!
//! ```no_run
//! # async fn example() -> wdt_lake::Result<()> {
//! use std::sync::Arc;
//! use wdt_lake::{AccountSettings, Access, BeijingTime, Interrupt, Meter, Store, SyncOptions, SystemClock, sync};
//!
//! let account = AccountSettings::from_env(|name| std::env::var(name).ok(), |path| std::fs::read_to_string(path))?;
//! let options = SyncOptions { from: BeijingTime::parse("2026-01-01 00:00:00"), ..SyncOptions::default() };
//! let store = Store::open("./lake", Access::Write)?;
//! let report = sync(&account, store, &options, Arc::new(SystemClock), Interrupt::never(), &Meter::default()).await?;
//! println!("{} requisitions, exit code {}", report.tally.headers, report.exit_code());
//! # Ok(())
//! # }
//! ```
//!
//! Data flows one way, and a module imports only what stands below it:
//!
//! | module | what it is for |
//! | --- | --- |
//! | `cli` | parses and prints, decides nothing |
//! | `report` | what a lake says, on one page of HTML |
//! | `pipeline` | one run for one account: the only place that knows extract, transform and land together |
//! | `verify` | what `wdt-lake verify` checks |
//! | `stop` | stop references: the state machine between an intent and its result |
//! | `publish` | the committed set as Delta and Iceberg tables |
//! | `land` | staged commits, the sweep, the lease |
//! | `transform` | JSON bytes -> the columns of two Arrow tables, by the data contract |
//! | `extract` | which calls to make: the planner, and the walk that proves a window complete |
//! | `gateway` | signed, rate-limited, retried HTTP |
//! | `parquet`, `log`, `store` | rows to files, the commit log, the object store |
//! | [`sandbox`] | a simulated ERP for the demo, tests and rehearsals |
//! | `digest`, `edition`, `error`, `format`, `home`, `id`, `language`, `proof`, `requisition`, `time`, `units`, `unsaid`, `worker` | the ground |
//! | `config` | the account of the environment, or those of a file |
//!
//! Modules are private; what can be used from outside stands here.

#![cfg_attr(test, expect(clippy::too_many_lines, reason = "a test tells one story from its beginning to its end"))]

mod cli;
mod config;
mod digest;
mod edition;
mod error;
mod extract;
mod format;
#[cfg(test)]
mod fuzzing;
mod gateway;
mod home;
mod id;
mod land;
mod language;
mod log;
mod parquet;
mod pipeline;
mod proof;
mod publish;
mod publish_format;
mod report;
mod requisition;
pub mod sandbox;
mod stop;
mod store;
mod success;
mod text;
mod time;
mod transform;
mod units;
mod unsaid;
mod user_file;
mod verify;
mod worker;

pub use cli::main;
// An account, and how its gateway may be called.
pub use config::AccountSettings;
pub use edition::Edition;
pub use error::{Error, ErrorKind, Result};
pub use extract::budget::Limits;
pub use gateway::{CallPolicy, Called, Gateway, NotRead, Query, Response, UnreadableResponse};
pub use id::{CommitId, RunId};
pub use time::{BeijingTime, Clock, Coverage, SystemClock, Window};
// A lake: the committed set, and the files.
pub use format::FormatVersion;
pub use land::LeaseWait;
pub use log::{Lake, Manifest, StopOutcome, Table};
pub use parquet::{FileCompression, FileOrigin, RowSource, decode, encode};
pub use store::failpoint::{BUCKET_POINTS as BUCKET_FAIL_POINTS, POINTS as FAIL_POINTS};
pub use store::{Access, Store};
pub use verify::{Depth, verify};
// A run.
pub use pipeline::{Again, Interrupt, Meter, StopOptions, SyncOptions, SyncReport, latest, plan, stop, sync};
pub use publish_format::PublishFormat;
pub use stop::Numbers;
// A page, and the data contract.
pub use transform::{
    Assembly, ColumnType, Contract, Page, PageContext, PageDecoder, TableContract, assemble, table_specs,
};
