//! Brings the lake of one account up to date, as `wdt-lake sync` does.
//!
//! ```sh
//! export WDT_EDITION=enterprise WDT_SID=... WDT_APPKEY=... WDT_APPSECRET=...
//! cargo run --example sync_account -- ./lake 2026-01-01
//! ```

#![expect(clippy::print_stdout, reason = "an example talks")]

use std::error::Error;
use std::sync::Arc;

use wdt_lake::{
    Access, AccountSettings, BeijingTime, Interrupt, Meter, Store, SyncOptions, SyncReport, SystemClock, sync,
};

/// Fills the lake at `location`, a folder or an `s3://` URI, from `from` on.
///
/// # Errors
/// What keeps the run from its first call. What happened later is part of the report.
pub(crate) async fn fill(
    account: &AccountSettings,
    location: &str,
    from: Option<BeijingTime>,
) -> wdt_lake::Result<SyncReport> {
    let store = Store::open(location, Access::Write)?;
    let options = SyncOptions { from, ..SyncOptions::default() };
    // Another task may look at a clone of it: `meter.done()`.
    let meter = Meter::default();
    sync(account, store, &options, Arc::new(SystemClock), Interrupt::never(), &meter).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let location = arguments.next().ok_or("usage: sync_account LAKE [FROM]")?;
    let from = arguments.next().and_then(|date| BeijingTime::parse(&format!("{date} 00:00:00")));
    let account = AccountSettings::from_env(|name| std::env::var(name).ok(), |path| std::fs::read_to_string(path))?;
    let report = fill(&account, &location, from).await?;
    println!("{} requisitions, exit code {}", report.tally.headers, report.exit_code());
    Ok(())
}
