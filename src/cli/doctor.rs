//! `wdt-lake doctor`: what the store of a lake can do of what a lake asks, and whether the settings and the log of each
//! account can be read. It calls no gateway.

use std::time::Duration;

use serde_json::{Value, json};

use super::accounts::{AccountArgs, Chosen, LakeUri};
use super::lake::Output;
use super::sync::writers;
use crate::error::{Error, Result, exit};
use crate::id::AccountName;
use crate::land::{AbilityOutcome, AbilityReport, examine};
use crate::log::Lake;
use crate::store::{Access, Store};
use crate::text::{Text, key, pad, say, text};
use crate::units::plural;

/// Somebody waits for the answer.
const RETRY_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    lake: LakeUri,
    #[command(flatten)]
    account: AccountArgs,
    /// One run at a time will write: do not insist on conditional creates.
    #[arg(long)]
    single_writer: bool,
    #[command(flatten)]
    output: Output,
}

/// What was found of the lake's place.
struct Place {
    root: String,
    /// Whether there is no folder yet.
    is_new: bool,
    abilities: Vec<AbilityReport>,
}

/// What was found of an account.
struct Account {
    name: AccountName,
    /// Why it cannot be called.
    settings: Result<()>,
    /// What its log is like; none where there is no lake yet.
    log: Option<Result<Text>>,
}

pub(super) async fn run(args: &Args) -> Result<u8> {
    let location = args.lake.find(&args.account.config)?;
    // An account that is set by halves must not hide what is found of the store.
    let (chosen, unset) = match args.account.all_or_none() {
        Ok(chosen) => (chosen, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let (place, store) = examined(args, &location).await?;
    let mut accounts = Vec::new();
    for Chosen { name, settings, .. } in chosen {
        let log = match &store {
            Some(store) => Some(log_of(store, &name).await),
            None => None,
        };
        accounts.push(Account { name, settings: settings.map(drop), log });
    }
    let unable = place.abilities.iter().any(AbilityReport::is_fatal).then_some(exit::LAKE);
    let failed = accounts.iter().flat_map(Account::errors).chain(&unset).map(|error| error.kind().exit_code());
    let code = exit::combine(unable.into_iter().chain(failed));
    args.output.print(|| to_json(&place, &accounts, code), || to_text(&place, &accounts));
    unset.iter().for_each(super::print_error);
    Ok(code)
}

/// Tries the store. Of a lake that is not there yet, the disk is tried in a folder that goes again.
async fn examined(args: &Args, location: &str) -> Result<(Place, Option<Store>)> {
    if let Some(folder) = Store::missing_folder(location)? {
        let (trial, _made) = Store::trial_for(&folder)?;
        let abilities = examine(&trial.written_by(writers(args.single_writer))).await?;
        return Ok((Place { root: folder.display().to_string(), is_new: true, abilities }, None));
    }
    let store = Store::open(location, Access::Read)?.written_by(writers(args.single_writer));
    let store = store.retrying_for(RETRY_TIME);
    let abilities = examine(&store).await?;
    Ok((Place { root: store.root().to_owned(), is_new: false, abilities }, Some(store)))
}

/// What the log of an account holds, in words.
async fn log_of(store: &Store, name: &AccountName) -> Result<Text> {
    let lake = Lake::open(store.clone(), name.clone()).await.map_err(|error| error.with("account", name))?;
    Ok(match lake.state().newest() {
        Some(newest) => text!(
            "{commits}, up to number {number}",
            commits = plural(lake.state().live().len() as u64, "live commit"),
            number = newest.number
        ),
        None => text!("nothing yet: the first sync begins it"),
    })
}

impl Account {
    fn errors(&self) -> impl Iterator<Item = &Error> {
        self.settings.as_ref().err().into_iter().chain(self.log.as_ref().and_then(|log| log.as_ref().err()))
    }

    /// Its checks: name, outcome, and what is to be said of it.
    fn checks(&self) -> [(&'static str, &'static str, Option<Text>, Option<&Text>); 2] {
        let failed = |error: &Error| Some(Text::of_value(error));
        let settings = match &self.settings {
            Ok(()) => (key!("settings"), key!("works"), None, None),
            Err(error) => (key!("settings"), key!("fails"), failed(error), error.hint_said()),
        };
        let log = match &self.log {
            None => (key!("log"), key!("skipped"), Some(Text::from("there is no lake yet")), None),
            Some(Ok(detail)) => (key!("log"), key!("works"), Some(detail.clone()), None),
            Some(Err(error)) => (key!("log"), key!("fails"), failed(error), error.hint_said()),
        };
        [settings, log]
    }
}

fn to_json(place: &Place, accounts: &[Account], code: u8) -> Value {
    let checks: Vec<Value> = place
        .abilities
        .iter()
        .map(|finding| {
            let (outcome, detail) = words(finding);
            json!({
                "check": finding.ability.name(), "outcome": outcome, "needed": finding.is_needed, "detail": detail, "hint": finding.hint,
            })
        })
        .collect();
    let account = |account: &Account| {
        let checks = account.checks().map(|(check, outcome, detail, hint)| {
            json!({"check": check, "outcome": outcome, "detail": detail, "hint": hint})
        });
        json!({"account": account.name, "checks": checks})
    };
    json!({
        "command": "doctor",
        "lake": place.root,
        "is_new": place.is_new,
        "checks": checks,
        "accounts": accounts.iter().map(account).collect::<Vec<_>>(),
        "exit_code": code,
    })
}

fn words(finding: &AbilityReport) -> (&'static str, Option<&Text>) {
    match &finding.outcome {
        AbilityOutcome::Works(detail) => (key!("works"), detail.as_ref()),
        AbilityOutcome::Fails(why) => (key!("fails"), Some(why)),
        AbilityOutcome::Skipped(why) => (key!("skipped"), Some(why)),
    }
}

fn line(name: &str, outcome: &str, detail: Option<&str>) -> String {
    let detail = detail.map_or_else(String::new, |detail| format!("  {detail}"));
    format!("  {} {outcome}{detail}", pad(name, 19)).trim_end().to_owned()
}

fn to_text(place: &Place, accounts: &[Account]) -> String {
    let mut lines = vec![place.root.clone()];
    if place.is_new {
        lines.push(say!("  there is no lake yet: the first `wdt-lake sync` makes this folder; its disk was tried"));
    }
    for finding in &place.abilities {
        let (outcome, detail) = words(finding);
        let ability = Text::from(finding.ability.words());
        lines.push(line(ability.told(), Text::from(outcome).told(), detail.map(Text::told)));
        if let (AbilityOutcome::Fails(_), Some(hint)) = (&finding.outcome, &finding.hint) {
            lines.push(say!("    hint: {hint}", hint));
        }
    }
    for account in accounts {
        lines.push(say!("account {account}", account = account.name));
        for (check, outcome, detail, hint) in account.checks() {
            lines.push(line(Text::from(check).told(), Text::from(outcome).told(), detail.as_ref().map(Text::told)));
            lines.extend(hint.map(|hint| say!("    hint: {hint}", hint)));
        }
    }
    lines.push(match place.abilities.iter().any(AbilityReport::is_fatal) {
        false => say!("this store can hold a lake"),
        true => say!("this store cannot hold a lake as asked"),
    });
    lines.join("\n")
}
