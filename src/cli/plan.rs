//! `wdt-lake plan`: the windows that `sync` would walk, with estimated rows, calls and minutes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::accounts::AccountArgs;
use super::each::EachAccount;
use super::lake::Output;
use super::sync::{CallArgs, RangeArgs};
use crate::config::{AccountDefaults, AccountSettings};
use crate::error::Result;
use crate::id::AccountName;
use crate::log::Lake;
use crate::pipeline::{self, Forecast, SyncOptions};
use crate::store::Store;
use crate::text::{Text, say, text};
use crate::time::SystemClock;
use crate::units::{plural, thousands};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// Ask the gateway nothing: estimate by what the lake holds.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    calls: CallArgs,
    #[command(flatten)]
    output: Output,
}

/// What an account is asked for, and at which rate.
struct Planned {
    forecast: Forecast,
    calls_per_minute: u32,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let location = args.range.lake.find(&args.account.config)?;
    let one = async |account: &AccountSettings, terms: &AccountDefaults| {
        let calls = args.calls.policy(terms)?;
        let calls_per_minute = calls.calls_per_minute;
        let options = args.range.apply(SyncOptions { calls, from: terms.from, ..SyncOptions::default() })?;
        // A lake that is not there yet covers nothing.
        let lake = match Store::find(&location)? {
            Some(store) => Some(Lake::open(store, account.name.clone()).await?),
            None => None,
        };
        let asked = (!args.offline).then_some(account);
        let forecast = pipeline::plan(asked, lake.as_ref(), &options, Arc::new(SystemClock)).await?;
        Ok(Planned { forecast, calls_per_minute })
    };
    let each = EachAccount::of(&args.account, one).await?;
    for (name, planned) in each.found() {
        planned
            .forecast
            .warning
            .iter()
            .for_each(|warning| super::print_warning(&text!("{account}: {warning}", account = name, warning)));
    }
    each.print("plan", &args.output, to_json, to_text)
}

/// Whole minutes that the calls take at the rate limit; `None` without one.
fn minutes(forecast: &Forecast, calls_per_minute: u32) -> Option<u64> {
    (calls_per_minute > 0).then(|| forecast.estimated_calls().div_ceil(u64::from(calls_per_minute)))
}

/// So many minutes, in the largest unit of which they are two or more, rounded up.
fn time_of(minutes: u64) -> Text {
    match minutes {
        2_880.. => plural(minutes.div_ceil(1_440), "day"),
        120.. => plural(minutes.div_ceil(60), "hour"),
        _ => plural(minutes, "minute"),
    }
}

fn to_json(account: &AccountName, Planned { forecast, calls_per_minute }: &Planned) -> Value {
    let windows: Vec<Value> = forecast
        .windows
        .iter()
        .map(|planned| {
            let window = planned.window;
            json!({"start": window.start(), "end": window.end(), "rows": planned.rows, "calls": forecast.calls_of(planned)})
        })
        .collect();
    json!({
        "account": account,
        "range": forecast.range.map(|range| json!({"start": range.start(), "end": range.end()})),
        "windows": windows,
        "rows": forecast.rows(),
        "estimated_calls": forecast.estimated_calls(),
        "estimated_minutes": minutes(forecast, *calls_per_minute),
        "calls": forecast.calls,
    })
}

fn to_text(account: &AccountName, Planned { forecast, calls_per_minute: per_minute }: &Planned) -> String {
    let Some(range) = forecast.range else {
        return say!("{account}: nothing to do yet: the range ends before it starts, less the lag", account);
    };
    if forecast.windows.is_empty() {
        return say!("{account}: {range} (Beijing time) is covered already", account, range);
    }
    let mut lines = vec![say!("{account}: {range} (Beijing time)", account, range)];
    for planned in &forecast.windows {
        let calls = plural(forecast.calls_of(planned), "call");
        lines.push(match planned.rows {
            Some(1) => say!("  {window}          1 row   {calls}", window = planned.window, calls),
            Some(rows) => say!(
                "  {window}  {rows} rows  {calls}",
                window = planned.window,
                rows = format!("{:>9}", thousands(rows)),
                calls
            ),
            None => say!("  {window}  {calls} or more", window = planned.window, calls),
        });
    }
    let windows = plural(forecast.windows.len() as u64, "window");
    let calls = plural(forecast.estimated_calls(), "call");
    let time = minutes(forecast, *per_minute).map(time_of);
    if let Some(rows) = forecast.rows() {
        let time = time.map(|time| say!(", {time} at {per_minute} calls a minute", time, per_minute));
        let (rows, time) = (thousands(rows), time.unwrap_or_default());
        lines.push(say!("  {windows}, about {rows} rows, {calls}{time}", windows, rows, calls, time));
    } else {
        let time = time.map(|time| say!(", {time} or more at {per_minute} calls a minute", time, per_minute));
        lines.push(say!(
            "  {windows}, {calls} or more{time}\n  \
             the lake has no rows to estimate by: leave --offline out to ask the gateway",
            windows,
            calls,
            time = time.unwrap_or_default()
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_are_said_in_hours_and_days() {
        let said = [1, 119, 120, 121, 2_879, 2_880, 525_601].map(|minutes| time_of(minutes).english().to_owned());
        assert_eq!(said, ["1 minute", "119 minutes", "2 hours", "3 hours", "48 hours", "2 days", "366 days"]);
    }
}
