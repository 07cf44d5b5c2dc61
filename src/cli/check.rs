//! `wdt-lake check`: one cheap signed call that says whether credentials, clock, address and permissions are right.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::accounts::AccountArgs;
use super::each::EachAccount;
use super::lake::Output;
use super::sync::CallArgs;
use crate::config::{AccountDefaults, AccountSettings};
use crate::edition::Edition;
use crate::error::Result;
use crate::id::AccountName;
use crate::pipeline::{self, Checked};
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

/// What a call has shown of an account.
struct CheckedAccount {
    edition: Edition,
    host: String,
    checked: Checked,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    checked(&args.account, &args.calls, &args.output).await
}

/// Tries the accounts of a file that was just written, and says so in words.
pub(super) async fn accounts(account: &AccountArgs, calls: &CallArgs) -> Result<u8> {
    checked(account, calls, &Output::text()).await
}

async fn checked(account: &AccountArgs, calls: &CallArgs, output: &Output) -> Result<u8> {
    let one = async |account: &AccountSettings, terms: &AccountDefaults| {
        let policy = calls.policy_trying(RETRY_TIME, terms)?;
        let checked = pipeline::check(account, &policy, Arc::new(SystemClock)).await;
        let checked = checked.map_err(|error| error.with("host", account.gateway_host()))?;
        Ok(CheckedAccount { edition: account.edition, host: account.gateway_host(), checked })
    };
    let each = EachAccount::of(account, one).await?;
    each.found().for_each(|(name, account)| warn_of_clock(name, account));
    each.print("check", output, to_json, to_text)
}

fn warn_of_clock(name: &AccountName, account: &CheckedAccount) {
    let ahead = account.checked.clock_ahead_seconds;
    if let Some(seconds) = ahead.filter(|seconds| seconds.unsigned_abs() > CLOCK_WARNING_SECONDS) {
        super::print_warning(&if seconds > 0 {
            text!("{account}: this machine's clock is {seconds} s behind the gateway's", account = name, seconds)
        } else {
            text!(
                "{account}: this machine's clock is {seconds} s ahead of the gateway's",
                account = name,
                seconds = seconds.unsigned_abs()
            )
        });
    }
}

fn to_json(name: &AccountName, CheckedAccount { edition, host, checked }: &CheckedAccount) -> Value {
    json!({
        "account": name,
        "edition": edition,
        "host": host,
        "clock_ahead_s": checked.clock_ahead_seconds,
        "calls": checked.calls,
        "wall_s": checked.elapsed.as_secs_f64(),
    })
}

fn to_text(name: &AccountName, CheckedAccount { edition, host, checked }: &CheckedAccount) -> String {
    let clock = checked.clock_ahead_seconds.map_or_else(
        || say!("unknown, it sends none"),
        |seconds| say!("{seconds} s from this machine's", seconds = format!("{seconds:+}")),
    );
    say!(
        "{account}: the {edition} gateway at {host} accepts the account and may be asked for purchase requisitions\n  its clock  {clock}\n  answered in {ms} ms",
        account = name,
        edition,
        host,
        clock,
        ms = format!("{:.0}", checked.elapsed.as_secs_f64() * 1e3)
    )
}
