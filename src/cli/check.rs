//! `wdt-lake check`: one cheap signed call that says whether credentials, clock, address and permissions are right.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::accounts::AccountArgs;
use super::lake::Output;
use super::sync::CallArgs;
use crate::error::{Result, exit};
use crate::pipeline;
use crate::text::{say, text};
use crate::time::SystemClock;

/// A clock that is further off than this is worth a warning: flagship refuses at 120 seconds, the others at 300.
const CLOCK_WARNING_SECONDS: u64 = 60;
/// Somebody waits for the answer.
const RETRY_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    calls: CallArgs,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let (account, terms) = args.account.one()?;
    let checked = pipeline::check(&account, &args.calls.policy_trying(RETRY_TIME, &terms)?, Arc::new(SystemClock))
        .await
        .map_err(|error| error.with("host", account.gateway_host()).with("account", &account.name))?;
    let ahead = checked.clock_ahead_seconds;
    if let Some(seconds) = ahead.filter(|seconds| seconds.unsigned_abs() > CLOCK_WARNING_SECONDS) {
        super::print_warning(&if seconds > 0 {
            text!("this machine's clock is {seconds} s behind the gateway's", seconds)
        } else {
            text!("this machine's clock is {seconds} s ahead of the gateway's", seconds = seconds.unsigned_abs())
        });
    }
    let to_json = || {
        json!({
            "command": "check",
            "account": account.name,
            "edition": account.edition,
            "host": account.gateway_host(),
            "clock_ahead_s": ahead,
            "calls": checked.calls,
            "wall_s": checked.elapsed.as_secs_f64(),
        })
    };
    let to_text = || {
        let clock = ahead.map_or_else(
            || say!("unknown, it sends none"),
            |seconds| say!("{seconds} s from this machine's", seconds = format!("{seconds:+}")),
        );
        say!(
            "{account}: the {edition} gateway at {host} accepts the account and may be asked for purchase requisitions\n  its clock  {clock}\n  answered in {ms} ms",
            account = account.name,
            edition = account.edition,
            host = account.gateway_host(),
            clock,
            ms = format!("{:.0}", checked.elapsed.as_secs_f64() * 1e3)
        )
    };
    args.output.print(to_json, to_text);
    Ok(exit::DONE)
}
