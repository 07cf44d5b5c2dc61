//! `wdt-lake stop`: stop partly referenced requisitions (停止引用), with every outcome on record.

mod preview;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::accounts::{AccountArgs, LakeUri};
use super::sync::{CallArgs, writers};
use super::talk::error_json;
use crate::config::AccountSettings;
use crate::error::{Error, ErrorClass, ErrorKind, Result, exit};
use crate::id::RunId;
use crate::log::{Lake, StopOutcome};
use crate::pipeline::{self, Known, LakeWord, StopOptions};
use crate::stop::{CallMade, EarlierStops, Numbers, Planned, StopFinding, StopReport, Told, read_lines, reason};
use crate::store::{Access, Store};
use crate::text::{Text, key, say, text};
use crate::time::{Clock as _, SystemClock};
use crate::units::{some_span, span};
use crate::user_file;
use preview::Preview;

/// Room for hundreds of thousands of numbers.
const LARGEST_LIST: u64 = 16 << 20;

/// What the vendor asks for, beyond credentials.
const PREREQUISITES: &str = key!(
    "stopping needs the ERP's client V1.4.8.1 or later (V1.5.1.0 to find out about a lost response), the permission of \
     the interface purchase.PurchaseApply.stopForApi, and this machine's address on the account's IP list"
);

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
    /// Why they are stopped, for the record: at most 200 characters.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Leave it to the ERP to refuse what the lake does not know, or does not know as partly referenced.
    #[arg(long)]
    ignore_lake: bool,
    /// How long after the gateway's 120 seconds a call may still have its effect; until then nothing is called not
    /// stopped.
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = span)]
    margin: Duration,
    /// The store knows no conditional put, and no other run writes this lake at the same time.
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
        return Err(Error::new(ErrorClass::ArgumentsConflict, "`--warehouse` narrows `--stale`, and nothing else")
            .hint("nothing was called"));
    }
    let given = match args.stale {
        None => Some(Numbers::check(given(args)?)?),
        Some(_) => None,
    };
    let location = args.lake.find(&args.account.config)?;
    let asked = match given {
        Some(numbers) => asked_by_number(args, &location, &account, numbers).await?,
        None => asked_by_rule(args, &location, &account).await?,
    };
    let Some(Asked { lake, numbers, known, word }) = asked else {
        super::print(&preview::of_none(&account, args.json));
        return Ok(exit::DONE);
    };
    for number in numbers.merged() {
        super::print_warning(&text!("{number} was given more than once, and counts once", number));
    }
    let now = SystemClock.now();
    let earlier = match &lake {
        Some(lake) => EarlierStops::of(lake, numbers.list()).await?,
        None => EarlierStops::default(),
    };
    let plan = pipeline::plan_stops(&numbers, lake.as_ref(), &earlier, &known, word, now);
    if !args.yes {
        let is_lake_heard =
            word == LakeWord::Counts && lake.as_ref().is_some_and(|lake| pipeline::knows_present(lake, now));
        let (account, numbers, known, earlier, plan) = (&account, &numbers, &known, &earlier, &plan);
        let preview = Preview { account, numbers, known, earlier, plan, terms: terms.stops, is_lake_heard };
        super::print(&if args.json { preview.to_json().to_string() } else { preview.to_text() });
        return Ok(exit::DONE);
    }
    plan.check(terms.stops).map_err(|error| error.with("account", &account.name))?;
    let options = StopOptions {
        calls: args.calls.policy(&terms)?,
        margin: args.margin,
        reason: args.reason.clone(),
        terms: terms.stops,
        ..StopOptions::default()
    };
    let store = Store::open(&location, Access::Write)?.written_by(writers(args.single_writer));
    let store = store.retrying_for(args.calls.store_retry_time());
    let to_try = plan.to_try();
    let tried = numbers.only(|number| to_try.iter().any(|other| other == number));
    let (run, mut report) = pipeline::stop(&account, store, &tried, &options, Arc::new(SystemClock))
        .await
        .map_err(|error| error.with("account", &account.name))?;
    report.not_called = plan.refused_by_lake();
    print_report(&account, run, &tried, &report, args.json);
    Ok(report.exit_code())
}

/// The numbers that are to be stopped, and what is known of them.
struct Asked {
    lake: Option<Lake>,
    numbers: Numbers,
    known: BTreeMap<String, Vec<Known>>,
    word: LakeWord,
}

async fn open_lake(location: &str, account: &AccountSettings) -> Result<Option<Lake>> {
    match Store::find(location)? {
        Some(store) => Ok(Some(Lake::open(store, account.name.clone()).await?)),
        None => Ok(None),
    }
}

async fn asked_by_number(
    args: &Args,
    location: &str,
    account: &AccountSettings,
    numbers: Numbers,
) -> Result<Option<Asked>> {
    let word = if args.ignore_lake { LakeWord::Ignored } else { LakeWord::Counts };
    let wanted: BTreeSet<String> = numbers.list().iter().cloned().collect();
    let mut is_again = false;
    loop {
        let lake = open_lake(location, account).await?;
        // What is only asked by number needs no lake, and one that says nothing is not read.
        let is_read =
            |lake: &&Lake| !args.yes || (word == LakeWord::Counts && pipeline::knows_present(lake, SystemClock.now()));
        let known = match lake.as_ref().filter(is_read) {
            Some(lake) => pipeline::latest(lake, &wanted).await,
            None => Ok(BTreeMap::new()),
        };
        match known {
            Ok(known) => return Ok(Some(Asked { lake, numbers, known, word })),
            // Another run may have replaced a file between the log and its reading.
            Err(error) if error.kind() == ErrorKind::Defect && !is_again => is_again = true,
            Err(error) => return Err(error),
        }
    }
}

/// By `--stale`; nothing when there is none.
async fn asked_by_rule(args: &Args, location: &str, account: &AccountSettings) -> Result<Option<Asked>> {
    let lake = open_lake(location, account).await?;
    let known = stale(args, location, lake.as_ref()).await?;
    if known.is_empty() {
        return Ok(None);
    }
    let numbers = Numbers::check(known.keys().map(|number| ("the lake".to_owned(), number.clone())))?;
    Ok(Some(Asked { lake, numbers, known, word: LakeWord::Counts }))
}

/// The numbers as they were given, each with its place.
fn given(args: &Args) -> Result<Vec<(String, String)>> {
    if let Some(file) = &args.file {
        let text = user_file::read_text(Path::new(file), LARGEST_LIST).map_err(|error| {
            Error::new(ErrorClass::InputUnreadable, "the file of numbers cannot be read")
                .with("file", file)
                .because(error)
                .hint("nothing was called")
        })?;
        return Ok(read_lines(file, &text));
    }
    if args.numbers == ["-"] {
        let text = user_file::read_stdin(LARGEST_LIST).map_err(|error| {
            Error::new(ErrorClass::InputUnreadable, "standard input cannot be read")
                .because(error)
                .hint("nothing was called")
        })?;
        return Ok(read_lines("standard input", &text));
    }
    if args.numbers.iter().any(|number| number == "-") {
        return Err(Error::new(ErrorClass::ArgumentsConflict, "numbers as arguments and `-` do not go together")
            .hint("nothing was called"));
    }
    Ok(args
        .numbers
        .iter()
        .enumerate()
        .map(|(at, number)| (say!("argument {at}", at = at + 1), number.clone()))
        .collect())
}

async fn stale(args: &Args, location: &str, lake: Option<&Lake>) -> Result<BTreeMap<String, Vec<Known>>> {
    let lake = lake.ok_or_else(|| {
        Error::new(ErrorClass::AccountNotInLake, "there is no lake to go by")
            .with("lake", location)
            .hint("fill it by `wdt-lake sync` first")
    })?;
    let seconds = args.stale.map_or(0, |stale| i64::try_from(stale.as_secs()).unwrap_or(i64::MAX));
    pipeline::stale(lake, seconds, args.warehouse.as_deref(), SystemClock.now()).await
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
    if !report.not_called.is_empty() {
        super::print_hint(&text!(
            "the lake may be behind the ERP: `wdt-lake sync` and try again, or let the ERP decide by --ignore-lake"
        ));
    }
    if !report.refusals.is_empty()
        || report.stopped.as_ref().is_some_and(|error| error.kind().exit_code() == exit::CREDENTIALS)
    {
        super::print_hint(&PREREQUISITES.into());
    }
    if let Some(settles_at) = report.told.values().filter_map(|told| told.settles_at).max() {
        super::print_hint(&text!(
            "what is unknown is settled by the next `wdt-lake stop`; run the same command again after {settles_at}, when it can also be told \
             that something was not stopped",
            settles_at
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
        let StopFinding { outcome, evidence, error, error_code, order_id, observed_status } = &told.finding;
        json!({
            "purchase_apply_no": told.number, "requested_at": told.requested_at, "outcome": outcome, "evidence": evidence,
            "error": error, "error_code": error_code, "order_id": order_id, "observed_status": observed_status,
            "settles_at": told.settles_at, "already_stopped": told.call == CallMade::AlreadyStopped,
        })
    };
    let not_called = |(number, why): &(String, Planned)| json!({"purchase_apply_no": number, "why": why.name(), "message": why.in_words()});
    json!({
        "command": "stop", "account": account.name, "run": run, "called": true,
        "merged": numbers.merged().collect::<Vec<_>>(),
        "requisitions": report.told.values().map(one).collect::<Vec<_>>(),
        "not_called": report.not_called.iter().map(not_called).collect::<Vec<_>>(),
        "untried": untried,
        "refusals": report.refusals.iter().map(error_json).collect::<Vec<_>>(),
        "error": report.stopped.as_ref().map(error_json),
        "exit_code": report.exit_code(),
    })
}

fn to_text(report: &StopReport, untried: &[&String]) -> String {
    let mut lines = Vec::new();
    let mut counts: BTreeMap<(StopOutcome, bool), u64> = BTreeMap::new();
    for told in report.told.values() {
        let is_repeat = told.call == CallMade::AlreadyStopped;
        let outcome = in_words(told.finding.outcome, is_repeat);
        *counts.entry((told.finding.outcome, is_repeat)).or_default() += 1;
        let evidence =
            told.finding.evidence.map(|evidence| say!(" ({evidence})", evidence = evidence.name())).unwrap_or_default();
        let since =
            told.requested_at.filter(|_| is_repeat).map(|at| say!(", by the call of {at}", at)).unwrap_or_default();
        let error = told.finding.error.as_ref().map(|error| say!(": {error}", error)).unwrap_or_default();
        lines.push(format!("{}  {outcome}{evidence}{since}{error}", told.number));
    }
    lines.extend(
        report.not_called.iter().map(|(number, why)| say!("{number}  not called: {why}", number, why = why.in_words())),
    );
    lines.extend(untried.iter().map(|number| say!("{number}  not tried", number)));
    let mut summary: Vec<String> = counts
        .iter()
        .map(|((outcome, is_repeat), count)| say!("{count} {what}", count, what = in_words(*outcome, *is_repeat)))
        .collect();
    for (count, what) in [(report.not_called.len(), say!("not called")), (untried.len(), say!("not tried"))] {
        if count > 0 {
            summary.push(say!("{count} {what}", count, what));
        }
    }
    lines.push(summary.join(&say!(", ")));
    lines.join("\n")
}

fn in_words(outcome: StopOutcome, is_repeat: bool) -> String {
    let outcome = Text::from(outcome.name());
    if is_repeat { say!("already {outcome}", outcome) } else { outcome.into_told() }
}
