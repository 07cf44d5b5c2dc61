//! `wdt-lake demo`: the main job against the embedded sandbox ERP, over real HTTP with real signatures, in one process.

use std::sync::Arc;

use super::progress;
use super::signals;
use super::sync_summary::print_report;
use crate::config::AccountSettings;
use crate::edition::Edition;
use crate::error::{Error, Result};
use crate::gateway::CallPolicy;
use crate::pipeline::{self, Meter, SyncOptions};
use crate::sandbox::{Options, Sandbox, SandboxClock, generate_believable};
use crate::store::{Access, Store};
use crate::text::{say, text};
use crate::time::{BeijingTime, Clock};

/// The demo's world never changes: the same requisitions, and a clock that stands still after the last of them.
const SEED: u64 = 7;
const REQUISITIONS: usize = 5_000;
const DAYS: u32 = 91;
const LAST_SECOND: &str = "2026-06-30 23:59:59";
const CLOCK: &str = "2026-07-01 09:00:00";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to put the lake: a folder.
    #[arg(long, value_name = "DIR", default_value = "./demo-lake")]
    lake: String,
    /// The edition of the embedded ERP: `enterprise`, `y` or `flagship`.
    #[arg(long, value_name = "EDITION", default_value = "enterprise")]
    edition: Edition,
    /// Print the summary as one line with one JSON object.
    #[arg(long)]
    json: bool,
}

/// A clock that stands where the sandbox's stands, so that both sides of the demo live at the same time.
struct StandingClock(BeijingTime);

impl Clock for StandingClock {
    fn now_micros(&self) -> i64 {
        self.0.micros()
    }
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let time = |text| BeijingTime::parse(text).ok_or_else(|| Error::internal(text!("`{text}` is not a time", text)));
    let (last_second, now) = (time(LAST_SECOND)?, time(CLOCK)?);
    let sandbox = Sandbox::start(Options {
        requisitions: generate_believable(SEED, REQUISITIONS, DAYS, last_second),
        clock: SandboxClock::held(now),
        edition: args.edition,
        ..Options::default()
    })?;
    let credentials = sandbox.credentials();
    let account = AccountSettings {
        name: "demo".parse()?,
        edition: args.edition,
        sid: credentials.sid.clone(),
        appkey: credentials.appkey.clone(),
        secret: credentials.secret.clone(),
        base_url: sandbox
            .base_url()
            .parse()
            .map_err(|error| Error::internal("cannot find out the sandbox's address").because(error))?,
    };
    let options = SyncOptions {
        from: Some(last_second.plus_seconds(1 - i64::from(DAYS) * 86_400)),
        calls: CallPolicy { calls_per_minute: 0, ..CallPolicy::default() },
        ..SyncOptions::default()
    };
    let store = Store::open(&args.lake, Access::Write)?;
    let meter = Meter::default();
    let work = pipeline::sync(&account, store, &options, Arc::new(StandingClock(now)), signals::listen()?, &meter);
    let report = progress::beside(vec![(account.name.clone(), meter.clone())], Box::pin(work)).await?;
    print_report(&account, &report, args.json);
    if !args.json {
        super::print(&recipes(&crate::home::expand(&args.lake)?.to_string_lossy(), args.edition));
    }
    Ok(report.exit_code())
}

/// Lines to copy into a shell.
fn recipes(lake: &str, edition: Edition) -> String {
    let lake = lake.trim_end_matches('/');
    let (table, by) = match edition {
        Edition::Enterprise | Edition::Y => ("purchase_apply", "status_name"),
        // Its headers carry no quantities.
        Edition::Flagship => ("purchase_apply_detail", "brand_name"),
    };
    say!(
        "\nRead it with DuckDB:\n  \
         duckdb -c \"SELECT {by}, count(*), sum(real_num) FROM read_parquet('{lake}/{table}/account=*/modified_month=*/*.parquet') GROUP BY ALL\"\n\
         or with Spark:\n  \
         spark-sql -e \"SELECT {by}, count(*), sum(real_num) FROM parquet.\\`{lake}/{table}\\` GROUP BY 1\"",
        by,
        lake,
        table
    )
}
