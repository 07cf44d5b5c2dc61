//! `wdt-lake sandbox`: serve a simulated ERP on a loopback port, friendly or hostile on demand.

use std::net::SocketAddr;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::talk::read;
use super::{output, signals};
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result, exit};
use crate::sandbox::{
    Behaviour, Credentials, Drift, Fault, Faults, Latency, Oddities, OddityKind, Options, Order, Poison, PoisonKind,
    Sandbox, SandboxClock, generate, generate_believable,
};
use crate::text::say;
use crate::time::{Clock as _, DateMeans, SystemClock, parse_user_time};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Which gateway it serves: `enterprise`, `y` or `flagship`.
    #[arg(long, value_name = "EDITION", default_value = "enterprise")]
    edition: Edition,
    /// The seller account that it knows, by which a lake tells two sandboxes apart; its port does not count, so that
    /// one may be started again.
    #[arg(long, value_name = "SID", default_value = "sandbox")]
    sid: String,
    /// How many more seller accounts it knows, `SID-1`, `SID-2` and so on, all with the same requisitions.
    #[arg(long, value_name = "N", default_value_t = 0)]
    more_accounts: u32,
    /// How many requisitions it holds.
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    requisitions: usize,
    /// Over how many days they were last modified.
    #[arg(long, value_name = "D", default_value_t = 90)]
    days: u32,
    /// The same seed gives the same requisitions for ever.
    #[arg(long, value_name = "S", default_value_t = 7)]
    seed: u64,
    /// Let one in seven hundred have a quantity of nineteen digits, which only an exact type keeps.
    #[arg(long)]
    extremes: bool,
    /// The last of those days ends then (Beijing time); default now.
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Hold the ERP's clock at the end instead of letting it run with this machine's.
    #[arg(long)]
    hold_clock: bool,
    #[command(flatten)]
    hostile: Hostile,
}

/// Ways to misbehave.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Hostile on demand")]
struct Hostile {
    /// Edit requisitions of the window that is asked for: PROBABILITY[:EDITS[:between]].
    #[arg(long, value_name = "DRIFT", value_parser = read::<Drift>)]
    drift: Option<Drift>,
    /// Fail calls at random: PROBABILITY[:FAULT,FAULT,...].
    #[arg(long, value_name = "FAULTS", value_parser = read::<Faults>, long_help = faults_help())]
    faults: Option<Faults>,
    /// Refuse calls beyond so many within any sixty seconds.
    #[arg(long, value_name = "CALLS")]
    rate_limit: Option<u32>,
    /// Refuse calls beyond so many at once.
    #[arg(long, value_name = "CALLS")]
    max_concurrency: Option<u32>,
    /// Let the server's clock be so many seconds ahead (negative: behind).
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_negative_numbers = true)]
    clock_skew: i64,
    /// Let every call take so long: `50ms`, or a range such as `20ms..200ms`.
    #[arg(long, value_name = "LATENCY", value_parser = read::<Latency>)]
    latency: Option<Latency>,
    /// Order rows otherwise than by modified time.
    #[arg(long, value_name = "ORDER", value_parser = order())]
    order: Option<Order>,
    /// Give at most so many rows a page, whatever is asked for.
    #[arg(long, value_name = "ROWS")]
    max_page_rows: Option<usize>,
    /// Spoil a share of the requisitions so that they do not fit the contract: SHARE[:KIND,KIND,...].
    #[arg(long, value_name = "POISON", value_parser = read::<Poison>, long_help = poison_help())]
    poison: Option<Poison>,
    /// Answer as oddly as real gateways were seen to: ODDITY[=VALUE],...; `list` tells them all.
    #[arg(long, value_name = "ODDITIES", value_parser = read::<Wanted>, long_help = oddities_help())]
    oddities: Option<Wanted>,
}

/// What is wanted of the oddities.
#[derive(Clone, Debug)]
enum Wanted {
    /// Their table.
    Table,
    /// Those.
    These(Oddities),
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "list" { Ok(Self::Table) } else { text.parse().map(Self::These) }
    }
}

fn order() -> impl TypedValueParser<Value = Order> {
    let values = Order::ALL.map(|order| PossibleValue::new(order.name()).help(order.does()));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<Order>())
}

/// A help text that lists what may be named.
fn listing(head: &str, entries: impl Iterator<Item = (String, String)>) -> String {
    entries.fold(head.to_owned(), |help, (name, does)| format!("{help}\n- {name}: {does}"))
}

fn owned((name, does): (&str, &str)) -> (String, String) {
    (name.to_owned(), does.to_owned())
}

fn faults_help() -> String {
    let head =
        "Fail calls at random: PROBABILITY[:FAULT,FAULT,...], for example `0.05` or `0.05:502,disconnect`\n\nFaults:";
    listing(head, Fault::vocabulary().map(owned))
}

fn poison_help() -> String {
    let head = "Spoil a share of the requisitions so that they do not fit the contract, or only just: SHARE[:KIND,KIND,...], \
                for example `0.01` or `0.01:overflow,missing-number`\n\nKinds:";
    listing(head, PoisonKind::ALL.into_iter().map(|kind| owned((kind.name(), kind.does()))))
}

fn oddities_help() -> String {
    let head = "Answer as oddly as real gateways were seen to: ODDITY[=VALUE],..., for example \
                `total-high,bom=2,unreadable-quote=100`. N strikes every N-th; what counts where nothing is said stands behind. \
                `list` prints them as a table and ends\n\nOddities:";
    listing(head, OddityKind::all().map(|kind| (kind.synopsis(), kind.description())))
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let oddities = match &args.hostile.oddities {
        Some(Wanted::Table) => {
            super::print(&Oddities::table());
            return Ok(exit::DONE);
        }
        Some(Wanted::These(oddities)) => oddities.clone(),
        None => Oddities::default(),
    };
    let end = match &args.end {
        Some(text) => parse_user_time(text, DateMeans::LastSecond)?,
        None => SystemClock.now(),
    };
    if args.days == 0 {
        return Err(Error::new(ErrorClass::SandboxWrong, "--days 0 leaves no time for requisitions")
            .hint("--days is 1 or more"));
    }
    let clock = if args.hold_clock { SandboxClock::held(end) } else { SandboxClock::default() };
    clock.set_skew(args.hostile.clock_skew);
    let hostile = &args.hostile;
    let behaviour = Behaviour {
        seed: args.seed,
        drift: hostile.drift.clone(),
        faults: hostile.faults.clone(),
        calls_per_minute: hostile.rate_limit,
        max_concurrency: hostile.max_concurrency,
        latency: hostile.latency.unwrap_or_default(),
        order: hostile.order.unwrap_or_default(),
        max_page_rows: hostile.max_page_rows,
        oddities,
        ..Behaviour::default()
    };
    let make = if args.extremes { generate } else { generate_believable };
    let sandbox = Sandbox::start(Options {
        listen: args.listen,
        edition: args.edition,
        credentials: Credentials { sid: args.sid.clone(), ..Credentials::default() },
        more_accounts: args.more_accounts,
        requisitions: make(args.seed, args.requisitions, args.days, end),
        clock,
        behaviour,
        poison: hostile.poison.clone(),
        ..Options::default()
    })?;
    let interrupt = signals::listen()?;
    super::print(&about(args, &sandbox, end));
    if let Some(error) = output::failure() {
        sandbox.shutdown();
        return Err(error);
    }
    interrupt.asked().await;
    sandbox.shutdown();
    Ok(exit::DONE)
}

/// What it serves, as a comment, and how it is reached, as lines for a shell.
fn about(args: &Args, sandbox: &Sandbox, end: crate::time::BeijingTime) -> String {
    let environment: Vec<String> =
        sandbox.environment().iter().map(|(name, value)| format!("export {name}={value}")).collect();
    say!(
        "# {requisitions} requisitions, last modified from {first_day} to {end} (Beijing time); Ctrl-C ends it\n{environment}",
        requisitions = args.requisitions,
        first_day = end.plus_seconds(1 - i64::from(args.days) * 86_400),
        end,
        environment = environment.join("\n")
    )
}
