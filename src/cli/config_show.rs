//! `wdt-lake config show`: the settings as they count, and where each comes from. It reads no secret, starts no program
//! and makes no call.
//!
//! What may be a secret in a wrong place is hidden: a word of a setting is shown only where it is plainly none.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::accounts::{AccountArgs, variable};
use super::lake::Output;
use super::talk::error_json;
use crate::config::{
    AccountDefaults, AccountSettings, ConfigFile, FileAccount, StopPermission, env, keep_removed_when, plain_word,
};
use crate::error::{Error, Result, exit};
use crate::gateway::CallPolicy;
use crate::publish_format::PublishFormat;
use crate::text::say;
use crate::time::BeijingTime;

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";
/// What begins or ends the names of variables that are heard.
const HEARD: [&str; 3] = ["WDT_", "AWS_", "SSL_CERT_"];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the settings as they count, and where each comes from.
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    output: Output,
}

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Nobody has set it.
    Default,
    Variable(&'static str),
    /// A line of the file.
    Line(usize),
}

/// A setting; no value is none.
#[derive(Debug)]
struct Setting {
    key: &'static str,
    value: Option<String>,
    origin: Origin,
}

/// The settings of an account, or why they cannot be used.
struct Account {
    name: Option<String>,
    settings: Vec<Setting>,
    error: Option<Error>,
}

/// All that is shown.
struct Shown {
    file: Option<String>,
    top: Vec<Setting>,
    accounts: Vec<Account>,
    variables: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<u8> {
    let Command::Show(args) = &args.command;
    let file = args.account.config.read()?;
    let accounts = match file.as_ref().filter(|file| !file.accounts().is_empty()) {
        Some(file) => {
            // An account that is set twice is an error of every command.
            file.check_environment(variable)?;
            let wanted = file.accounts().iter().filter(|account| args.account.is_wanted(account.name()));
            wanted.map(|account| of_file(file, account)).collect()
        }
        None if is_set(env::EDITION) || is_set(env::SID) || is_set(env::APPKEY) => vec![of_environment()],
        None => Vec::new(),
    };
    if args.account.is_one() && file.is_some() && accounts.is_empty() {
        // It says which there are.
        args.account.all()?;
    }
    let mut variables: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    variables.retain(|name| is_heard(name));
    variables.sort_unstable();
    let top = top_of(file.as_ref());
    let shown = Shown { file: file.as_ref().map(|file| file.path().to_owned()), top, accounts, variables };
    let errors = shown.accounts.iter().filter_map(|account| account.error.as_ref());
    let code = exit::combine(errors.clone().map(|error| error.kind().exit_code()));
    args.output.print(|| to_json(&shown, code), || to_text(&shown));
    errors.for_each(super::print_error);
    Ok(code)
}

fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| !value.trim().is_empty())
}

fn is_heard(name: &str) -> bool {
    HEARD.iter().any(|prefix| name.starts_with(prefix)) || name.to_ascii_lowercase().ends_with("_proxy")
}

/// The settings at the top of the file, and those of the lake.
fn top_of(file: Option<&ConfigFile>) -> Vec<Setting> {
    let origin = |key| file.and_then(|file| file.line_of(key)).map_or(Origin::Default, Origin::Line);
    let lake = file.and_then(ConfigFile::lake).map(location);
    vec![Setting { key: "lake", value: lake, origin: origin("lake") }]
}

/// A value that is shown only where it is plainly no secret.
fn plain(text: &str) -> String {
    plain_word(text).unwrap_or(HIDDEN).to_owned()
}

/// Where a lake is. Some write keys into such an address, as it is done elsewhere.
fn location(lake: &str) -> String {
    let may_hold_keys = lake.contains("://") && lake.contains(['@', '?']);
    if may_hold_keys { HIDDEN.to_owned() } else { lake.to_owned() }
}

/// The address of a gateway; its path only where no part of it may be a token.
fn address(url: &Url) -> String {
    let is_plain = url.path().split(['/', '.']).all(|part| part.is_empty() || plain_word(part).is_some());
    if is_plain { url.to_string() } else { format!("{}/{HIDDEN}", url.origin().ascii_serialization()) }
}

fn formats(publish: &[PublishFormat]) -> Option<String> {
    let names: Vec<&str> = publish.iter().map(|format| format.name()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// A span as it is typed: in the largest unit that holds it whole.
fn span_text(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(factor, _)| seconds > 0 && seconds.is_multiple_of(*factor));
    let (factor, unit) = unit.unwrap_or((1, "s"));
    format!("{}{unit}", seconds / factor)
}

/// The settings of an account in the order in which they are shown; `origin` says where a key was set.
fn settings_of(
    account: &AccountSettings,
    terms: &AccountDefaults,
    secret: Setting,
    origin: impl Fn(&'static str) -> Origin,
) -> Vec<Setting> {
    let usual = CallPolicy::default();
    let calls = terms.calls_per_minute.unwrap_or(usual.calls_per_minute);
    let concurrency = terms.concurrency.map_or(usual.concurrency, std::num::NonZeroU32::get);
    let allow_stop = terms.stops.permission == StopPermission::Allowed;
    let refusals = Some(terms.refusals.trim()).filter(|rules| !rules.is_empty());
    // An address is set by one of two keys.
    let set_by = match origin("environment") {
        Origin::Default => origin("base_url"),
        set => set,
    };
    let setting = |key, value| Setting { key, value, origin: origin(key) };
    vec![
        setting("edition", Some(account.edition.to_string())),
        Setting { key: "base_url", value: Some(address(&account.base_url)), origin: set_by },
        setting("sid", Some(plain(&account.sid))),
        setting("appkey", Some(plain(&account.appkey))),
        secret,
        setting("from", terms.from.map(|from: BeijingTime| from.to_string())),
        setting("calls_per_minute", Some(calls.to_string())),
        setting("concurrency", Some(concurrency.to_string())),
        setting("limit", terms.limit.clone()),
        setting("refusals", refusals.map(|_| "(set; its words are not shown)".to_owned())),
        setting("allow_stop", Some(allow_stop.to_string())),
        setting("max_stops", terms.stops.most.map(|most| most.to_string())),
        setting("keep_removed", Some(span_text(keep_removed_when(terms.keep_removed, &terms.publish)))),
        setting("publish", formats(&terms.publish)),
    ]
}

fn of_file(file: &ConfigFile, account: &FileAccount) -> Account {
    let origin = |key: &'static str| {
        let line = if key == "publish" { file.line_of(key) } else { account.line_of(key) };
        line.map_or(Origin::Default, Origin::Line)
    };
    let key = account.secret_key();
    let secret = Setting { key, value: Some(HIDDEN.to_owned()), origin: origin(key) };
    let settings = settings_of(account.without_secret(), account.terms(), secret, origin);
    Account { name: Some(account.name().to_string()), settings, error: None }
}

/// The account that the variables set. One that is set by halves is shown as far as it is.
fn of_environment() -> Account {
    let names = [
        ("edition", env::EDITION),
        ("base_url", env::BASE_URL),
        ("environment", env::ENVIRONMENT),
        ("sid", env::SID),
        ("appkey", env::APPKEY),
        ("secret", env::APPSECRET),
        ("refusals", env::REFUSALS),
        ("allow_stop", env::ALLOW_STOP),
        ("max_stops", env::MAX_STOPS),
        ("keep_removed", env::KEEP_REMOVED),
        ("publish", env::PUBLISH),
    ];
    let origin = |key: &'static str| {
        let named = names.iter().find(|(known, _)| *known == key).filter(|(_, name)| is_set(name));
        named.map_or(Origin::Default, |(_, name)| Origin::Variable(name))
    };
    let in_file = is_set(env::APPSECRET_FILE).then_some(Origin::Variable(env::APPSECRET_FILE));
    let place = in_file.unwrap_or_else(|| origin("secret"));
    let value = (place != Origin::Default).then(|| HIDDEN.to_owned());
    let secret = Setting { key: "secret", value, origin: place };
    // The file of a secret is not read, whose two parts flagship wants.
    let account = AccountSettings::from_env(variable, |_| Ok("a:b".to_owned()));
    match account.and_then(|account| Ok((AccountDefaults::from_env(variable)?, account))) {
        Ok((terms, account)) => {
            let settings = settings_of(&account, &terms, secret, origin);
            Account { name: Some(account.name.to_string()), settings, error: None }
        }
        Err(error) => {
            let set = names.into_iter().filter(|(key, name)| *key != "secret" && is_set(name));
            let set = set.map(|(key, name)| Setting {
                key,
                value: variable(name).map(|value| plain(value.trim())),
                origin: Origin::Variable(name),
            });
            Account { name: None, settings: set.chain([secret]).collect(), error: Some(error) }
        }
    }
}

fn setting_json(Setting { key, value, origin }: &Setting) -> Value {
    let (from, line, variable) = match origin {
        Origin::Default => ("default", None, None),
        Origin::Variable(name) => ("environment", None, Some(*name)),
        Origin::Line(line) => ("file", Some(*line), None),
    };
    json!({"key": key, "value": value, "from": from, "line": line, "variable": variable})
}

fn to_json(shown: &Shown, code: u8) -> Value {
    let account = |Account { name, settings, error }: &Account| {
        json!({
            "account": name,
            "settings": settings.iter().map(setting_json).collect::<Vec<_>>(),
            "error": error.as_ref().map(error_json),
        })
    };
    json!({
        "command": "config show",
        "file": shown.file,
        "settings": shown.top.iter().map(setting_json).collect::<Vec<_>>(),
        "accounts": shown.accounts.iter().map(account).collect::<Vec<_>>(),
        "variables": shown.variables,
        "exit_code": code,
    })
}

fn lines_of(settings: &[Setting]) -> Vec<String> {
    let values: Vec<&str> = settings.iter().map(|setting| setting.value.as_deref().unwrap_or("(none)")).collect();
    let width = values.iter().map(|value| value.chars().count()).max().unwrap_or_default();
    let line = |(Setting { key, origin, .. }, value): (&Setting, &&str)| {
        let from = match origin {
            Origin::Default => say!("default"),
            Origin::Variable(name) => (*name).to_owned(),
            Origin::Line(line) => say!("line {line}", line),
        };
        format!("  {key:<16}  {value:<width$}  {from}")
    };
    settings.iter().zip(&values).map(line).collect()
}

fn to_text(shown: &Shown) -> String {
    let mut lines = vec![shown.file.clone().unwrap_or_else(|| say!("no configuration file"))];
    lines.extend(lines_of(&shown.top));
    for account in &shown.accounts {
        let name = account.name.clone().unwrap_or_else(|| say!("without a name"));
        lines.push(say!("account {account}", account = name));
        lines.extend(lines_of(&account.settings));
    }
    if shown.accounts.is_empty() {
        lines.push(say!("no account"));
    }
    if !shown.variables.is_empty() {
        lines.push(say!("variables that are set: {names}", names = shown.variables.join(", ")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_shown_as_it_is_typed() {
        for (seconds, text) in [(0, "0s"), (90, "90s"), (900, "15m"), (7_200, "2h"), (604_800, "7d"), (90_000, "25h")] {
            assert_eq!(span_text(Duration::from_secs(seconds)), text);
        }
        assert_eq!((&*plain("acme2-ot"), &*plain("s3cr3t")), ("acme2-ot", HIDDEN));
    }
}
