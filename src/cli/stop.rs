//! `wdt-lake stop`: stop partly referenced requisitions (停止引用), with every outcome on record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::accounts::{AccountArgs, LakeUri};
use super::render;
use super::sync::{CallArgs, writers};
use crate::config::AccountSettings;
use crate::error::{Error, Result, exit};
use crate::id::RunId;
use crate::land::{Access, Lake, StopOutcome, Stops, Store};
use crate::pipeline::{self, Known, StopOptions};
use crate::stop::{Finding, Numbers, StopReport, Told, read_lines};
use crate::time::{Clock as _, SystemClock};
use crate::units::{some_span, span};

/// What the vendor asks for, beyond credentials.
const PREREQUISITES: &str = "stopping needs the ERP's client V1.4.8.1 or later (V1.5.1.0 to find out about a lost answer), the permission of \
                             the interface purchase.PurchaseApply.stopForApi, and this machine's address on the account's IP list";
const DAY_SECONDS: i64 = 86_400;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(super) struct Args {
    #[command(flatten)]
    account: AccountArgs,
    /// Numbers of requisitions (采购申请单号); `-` reads them from standard input, one a line.
    #[arg(value_name = "NUMBER", group = "which")]
    numbers: Vec<String>,
    /// A file of numbers, one a line.
    #[arg(long, value_name = "FILE", group = "which")]
    file: Option<String>,
    /// Those that the lake knows as partly referenced and not modified for so long, such as `30d`.
    #[arg(long, value_name = "DURATION", group = "which", value_parser = some_span)]
    stale: Option<Duration>,
    /// With `--stale`: only those of this warehouse.
    #[arg(long, value_name = "NO")]
    warehouse: Option<String>,
    #[command(flatten)]
    lake: LakeUri,
    /// Stop them. Without it they are only shown, and nothing is called.
    #[arg(long)]
    yes: bool,
    /// How long after the gateway's 120 seconds a call may still have its effect; until then nothing is called not stopped.
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = span)]
    margin: Duration,
    /// The store knows no conditional put (Alibaba OSS), and no other run writes this lake at the same time.
    #[arg(long)]
    single_writer: bool,
    #[command(flatten)]
    calls: CallArgs,
    /// Print one line with one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let (account, terms) = args.account.one()?;
    pipeline::check_can_stop(&account)?;
    if args.warehouse.is_some() && args.stale.is_none() {
        return Err(Error::usage("`--warehouse` narrows `--stale`, and nothing else").hint("nothing was called"));
    }
    let given = match args.stale {
        None => Some(Numbers::check(given(args)?)?),
        Some(_) => None,
    };
    let location = args.lake.find(&args.account.config)?;
    let lake = match Store::find(&location)? {
        Some(store) => Some(Lake::open(store, account.name.clone()).await?),
        None => None,
    };
    let (numbers, known) = match given {
        Some(numbers) => {
            let known = match &lake {
                Some(lake) if !args.yes => {
                    pipeline::latest(lake, &numbers.list().iter().cloned().collect::<BTreeSet<_>>()).await?
                }
                _ => BTreeMap::new(),
            };
            (numbers, known)
        }
        None => {
            let known = stale(args, &location, lake.as_ref()).await?;
            if known.is_empty() {
                print_none(&account, args.json);
                return Ok(exit::DONE);
            }
            let numbers = known.keys().map(|number| ("the lake".to_owned(), number.clone()));
            (Numbers::check(numbers)?, known)
        }
    };
    for number in numbers.merged() {
        super::print_warning(&format!("{number} was given more than once, and counts once"));
    }
    if !args.yes {
        let stops = lake.map(|lake| lake.fold().stops().clone()).unwrap_or_default();
        let preview = Preview { account: &account, numbers: &numbers, known: &known, stops: &stops };
        super::print(&if args.json { preview.to_json().to_string() } else { preview.to_text() });
        return Ok(exit::DONE);
    }
    let options = StopOptions { calls: args.calls.policy(&terms)?, margin: args.margin, ..StopOptions::default() };
    let store = Store::open(&location, Access::Write)?.written_by(writers(args.single_writer));
    let (run, report) = pipeline::stop(&account, store, &numbers, &options, Arc::new(SystemClock))
        .await
        .map_err(|error| error.with("account", &account.name))?;
    print_report(&account, run, &numbers, &report, args.json);
    Ok(report.exit_code())
}

/// The numbers as they were given, each with its place.
fn given(args: &Args) -> Result<Vec<(String, String)>> {
    if let Some(file) = &args.file {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Error::usage("the file of numbers cannot be read")
                .with("file", file)
                .because(error)
                .hint("nothing was called")
        })?;
        return Ok(read_lines(file, &text));
    }
    if args.numbers == ["-"] {
        let text = std::io::read_to_string(std::io::stdin())
            .map_err(|error| Error::usage("standard input cannot be read").because(error).hint("nothing was called"))?;
        return Ok(read_lines("standard input", &text));
    }
    if args.numbers.iter().any(|number| number == "-") {
        return Err(Error::usage("numbers as arguments and `-` do not go together").hint("nothing was called"));
    }
    Ok(args.numbers.iter().enumerate().map(|(at, number)| (format!("argument {}", at + 1), number.clone())).collect())
}

async fn stale(args: &Args, location: &str, lake: Option<&Lake>) -> Result<BTreeMap<String, Vec<Known>>> {
    let lake = lake.ok_or_else(|| {
        Error::usage("there is no lake to go by").with("lake", location).hint("fill it by `wdt-lake sync` first")
    })?;
    let seconds = args.stale.map_or(0, |stale| i64::try_from(stale.as_secs()).unwrap_or(i64::MAX));
    pipeline::stale(lake, seconds, args.warehouse.as_deref(), SystemClock.now()).await
}

fn print_none(account: &AccountSettings, as_json: bool) {
    let none = json!({"command": "stop", "account": account.name, "called": false, "requisitions": []});
    super::print(&if as_json { none.to_string() } else { "no requisition is that stale".to_owned() });
}

/// What would be stopped.
struct Preview<'a> {
    account: &'a AccountSettings,
    numbers: &'a Numbers,
    known: &'a BTreeMap<String, Vec<Known>>,
    stops: &'a Stops,
}

impl Preview<'_> {
    fn age_days(known: &Known) -> i64 {
        (SystemClock.now().unix() - known.modified.unix()) / DAY_SECONDS
    }

    fn to_json(&self) -> Value {
        let quantity = |scaled: Option<i128>| scaled.map(render::decimal);
        let one = |number: &String| {
            let known = |known: &Known| {
                json!({
                    "status": known.status, "status_name": known.status_name, "modified": known.modified,
                    "age_days": Self::age_days(known), "warehouse_no": known.warehouse_no,
                    "real_num": quantity(known.real_scaled), "ref_num": quantity(known.ref_scaled),
                    "open_num": quantity(known.open_scaled),
                })
            };
            let mut known = self.known.get(number).into_iter().flatten().map(known);
            let in_lake = known.next();
            let unsettled = self.stops.unsettled().get(number).map(|held| held.requested_at);
            let stopped = self.stops.stopped().get(number).map(|held| held.requested_at);
            json!({
                "purchase_apply_no": number, "in_lake": in_lake, "share_its_number": known.collect::<Vec<_>>(),
                "unsettled_since": unsettled, "stopped_at": stopped,
            })
        };
        let requisitions: Vec<Value> = self.numbers.list().iter().map(one).collect();
        json!({
            "command": "stop", "account": self.account.name, "called": false,
            "merged": self.numbers.merged().collect::<Vec<_>>(), "requisitions": requisitions,
        })
    }

    fn to_text(&self) -> String {
        let count = render::count(self.numbers.list().len() as u64, "requisition");
        let mut lines =
            vec![format!("would stop {count} of {}; nothing was called, `--yes` does it", self.account.name)];
        for number in self.numbers.list() {
            let known = self.known.get(number).map_or(&[][..], Vec::as_slice);
            if known.is_empty() {
                lines.push(format!("  {number}  not in the lake"));
            }
            for known in known {
                lines.push(format!(
                    "  {number}  {} ({})  real {} ref {} open {}  modified {}, {} ago  warehouse {}",
                    known.status_name.as_deref().unwrap_or("unknown status"),
                    known.status,
                    quantity(known.real_scaled),
                    quantity(known.ref_scaled),
                    quantity(known.open_scaled),
                    known.modified,
                    render::count(u64::try_from(Self::age_days(known)).unwrap_or(0), "day"),
                    known.warehouse_no.as_deref().unwrap_or("-")
                ));
            }
            if let Some(held) = self.stops.stopped().get(number) {
                lines.push(format!("    stopped by the call of {}; the lake sees it after a sync", held.requested_at));
            }
            if let Some(held) = self.stops.unsettled().get(number) {
                lines.push(format!("    its stop of {} is not settled yet: that comes first", held.requested_at));
            }
        }
        lines.join("\n")
    }
}

fn quantity(scaled: Option<i128>) -> String {
    scaled.map_or_else(|| "-".to_owned(), render::decimal)
}

/// Data to standard output; what keeps outcomes open to standard error.
fn print_report(account: &AccountSettings, run: RunId, numbers: &Numbers, report: &StopReport, as_json: bool) {
    let untried: Vec<&String> = numbers.list().iter().filter(|number| !report.told.contains_key(*number)).collect();
    super::print(&if as_json {
        to_json(account, run, numbers, report, &untried).to_string()
    } else {
        to_text(report, &untried)
    });
    report.refusals.iter().for_each(super::print_error);
    if let Some(error) = &report.stopped {
        super::print_error(error);
    }
    if !report.refusals.is_empty()
        || report.stopped.as_ref().is_some_and(|error| error.kind().exit_code() == exit::CREDENTIALS)
    {
        super::print_hint(PREREQUISITES);
    }
    if let Some(settles_at) = report.told.values().filter_map(|told| told.settles_at).max() {
        super::print_hint(&format!(
            "what is unknown is settled by the next `wdt-lake stop`; run the same command again after {settles_at}, when it can also be told \
             that something was not stopped"
        ));
    }
}

fn to_json(
    account: &AccountSettings,
    run: RunId,
    numbers: &Numbers,
    report: &StopReport,
    untried: &[&String],
) -> Value {
    let one = |told: &Told| {
        let Finding { outcome, evidence, error, error_code, order_id, observed_status } = &told.finding;
        json!({
            "purchase_apply_no": told.number, "requested_at": told.requested_at, "outcome": outcome, "evidence": evidence,
            "error": error, "error_code": error_code, "order_id": order_id, "observed_status": observed_status,
            "settles_at": told.settles_at,
        })
    };
    let error = |error: &Error| json!({"message": error.to_string(), "hint": error.hint_text(), "exit_code": error.kind().exit_code()});
    json!({
        "command": "stop", "account": account.name, "run": run, "called": true,
        "merged": numbers.merged().collect::<Vec<_>>(),
        "requisitions": report.told.values().map(one).collect::<Vec<_>>(),
        "untried": untried,
        "refusals": report.refusals.iter().map(error).collect::<Vec<_>>(),
        "error": report.stopped.as_ref().map(error),
        "exit_code": report.exit_code(),
    })
}

fn to_text(report: &StopReport, untried: &[&String]) -> String {
    let mut lines = Vec::new();
    let mut counts: BTreeMap<StopOutcome, u64> = BTreeMap::new();
    for told in report.told.values() {
        *counts.entry(told.finding.outcome).or_default() += 1;
        let evidence = told.finding.evidence.map(|evidence| format!(" ({})", evidence.name())).unwrap_or_default();
        let error = told.finding.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        lines.push(format!("{}  {}{evidence}{error}", told.number, told.finding.outcome.name()));
    }
    lines.extend(untried.iter().map(|number| format!("{number}  not tried")));
    let mut summary: Vec<String> =
        counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.name())).collect();
    if !untried.is_empty() {
        summary.push(format!("{} not tried", untried.len()));
    }
    lines.push(summary.join(", "));
    lines.join("\n")
}
