//! The sandbox ERP in somebody's own test: it answers as the vendor documents, misbehaves on demand, and knows what it
//! has been asked.
//!
//! ```sh
//! cargo run --example sandbox_in_a_test
//! ```

#![expect(clippy::print_stdout, reason = "an example talks")]

use std::error::Error;
use std::sync::Arc;

use wdt_lake::sandbox::{Fault, Options, Sandbox, SandboxClock, generate};
use wdt_lake::{AccountSettings, BeijingTime, Edition, Interrupt, Meter, Store, SyncOptions, SystemClock, sync};

/// An ERP with `count` requisitions of one day on a loopback port, and an account that may call it.
///
/// # Panics
/// Where no port can be had: it is for tests.
#[expect(clippy::expect_used, reason = "it is for tests")]
pub(crate) fn erp(count: usize) -> (Sandbox, AccountSettings) {
    let now = BeijingTime::parse("2026-06-30 12:00:00").expect("a time");
    let requisitions = generate(1, count, 1, now.plus_seconds(-3_600));
    let clock = SandboxClock::held(now);
    let sandbox = Sandbox::start(Options { requisitions, clock, ..Options::default() }).expect("a port");
    let credentials = sandbox.credentials().clone();
    let account = AccountSettings {
        name: "sandbox".parse().expect("a name"),
        edition: Edition::Enterprise,
        sid: credentials.sid,
        appkey: credentials.appkey,
        secret: credentials.secret,
        base_url: sandbox.base_url().parse().expect("an address"),
    };
    (sandbox, account)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (sandbox, account) = erp(1_000);
    // The second answer is lost on its way, and a proxy answers the third call.
    sandbox.next_faults([None, Some(Fault::LostAnswer), Some(Fault::Status(503))]);
    let options = SyncOptions { from: BeijingTime::parse("2026-06-29 00:00:00"), ..SyncOptions::default() };
    let report =
        sync(&account, Store::memory(), &options, Arc::new(SystemClock), Interrupt::never(), &Meter::default()).await?;
    let calls = sandbox.world().calls();
    println!("{} requisitions by {} calls", report.tally.headers, calls.len());
    Ok(())
}
