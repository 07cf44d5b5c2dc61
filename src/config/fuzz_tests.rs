//! Configuration: whatever a file or the environment says, no message repeats what may be a secret.

use std::path::Path;

use toml::de::DeTable;

use super::{AccountSettings, ConfigFile, FileAccount, env};
use crate::error::Error;
use crate::fuzzing::{Target, kind};

/// What stands where secrets stand, and wherever a change of the input takes it.
const MARKER: &str = "Hunter2Marker";
/// A part of it that is long enough to be no accident.
const PART: &str = "Hunter2";

const WORDS: [&str; 47] = [
    MARKER,
    "[[account]]",
    "lake = ",
    "name = ",
    "edition = ",
    "sid = ",
    "appkey = ",
    "secret_env = ",
    "secret_file = ",
    "secret_command = [",
    "environment = ",
    "base_url = ",
    "calls_per_minute = ",
    "concurrency = ",
    "from = ",
    "refusals = ",
    "secret = ",
    "salt = ",
    "appsecret = ",
    "account = ",
    "\"enterprise\"",
    "\"flagship\"",
    "\"y\"",
    "\"production\"",
    "\"\"\"",
    "'''",
    "'",
    "\"",
    "\\u0041",
    "\u{feff}",
    "\u{200b}",
    "#",
    "\n",
    "=",
    "https://",
    "http://",
    "@",
    ":",
    "?",
    "2026-01-01",
    "2026-01-01T00:00:00+08:00",
    "true",
    "1_000",
    "0x10",
    "{ a = 1 }",
    "WDT_APPSECRET=",
    "WDT_BASE_URL=",
];

#[track_caller]
fn assert_tells_nothing(text: &str, input: &str) {
    assert!(!text.contains(PART), "{text}\nof\n{input}");
}

fn told(error: &Error) -> String {
    format!("{error}\n{}\n{error:?}", error.hint_text().unwrap_or_default())
}

/// Whether the marker stands where a value is shown on purpose: names of accounts and of keys, the sid, and the lake.
fn is_shown_on_purpose(input: &str) -> bool {
    let Ok(root) = DeTable::parse(input) else { return false };
    let keys = |table: &DeTable<'_>| table.keys().any(|key| key.get_ref().contains(PART));
    let holds = |table: &DeTable<'_>, name: &str| {
        table.get(name).is_some_and(|value| format!("{:?}", value.get_ref()).contains(PART))
    };
    let accounts = root.get_ref().get("account").and_then(|value| value.get_ref().as_array());
    let tables =
        accounts.into_iter().flat_map(|accounts| accounts.iter()).filter_map(|value| value.get_ref().as_table());
    keys(root.get_ref())
        || holds(root.get_ref(), "lake")
        || tables.into_iter().any(|table| keys(table) || holds(table, "sid") || holds(table, "name"))
}

fn check_file(input: &str) -> String {
    let file = match ConfigFile::parse(input, Path::new("wdt-lake.toml")) {
        Err(error) => {
            if !is_shown_on_purpose(input) {
                assert_tells_nothing(&told(&error), input);
            }
            return kind(error.message());
        }
        Ok(file) => file,
    };
    if is_shown_on_purpose(input) {
        return "shown on purpose".to_owned();
    }
    let accounts: Vec<String> = file.accounts().iter().map(|account| check_account(account, input)).collect();
    format!("{} accounts: {accounts:?}", accounts.len().min(3))
}

fn check_account(account: &FileAccount, input: &str) -> String {
    let mut ends = Vec::new();
    for secret in [None, Some(MARKER.to_owned()), Some(format!("{MARKER}:{MARKER}")), Some(format!(":{MARKER}"))] {
        let not_found = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let run = |_: &[&str]| secret.clone().ok_or_else(|| Error::usage("no program"));
        match account.settings(|_| secret.clone(), |_| secret.clone().ok_or_else(not_found), run) {
            Ok(settings) => {
                // Of the interface account, the address and the refusals the debug form says what is there.
                let AccountSettings { appkey, base_url, .. } = &settings;
                let is_shown = [appkey.as_str(), base_url.as_str(), &account.terms().refusals];
                if !is_shown.into_iter().any(|text| text.contains(PART)) {
                    assert_tells_nothing(&format!("{settings:?}\n{account:?}"), input);
                }
                ends.push("account".to_owned());
            }
            Err(error) => {
                assert_tells_nothing(&told(&error), input);
                ends.push(kind(error.message()));
            }
        }
    }
    ends.join(", ")
}

/// Each line sets a variable.
fn check_environment(input: &str) -> String {
    let set: Vec<(&str, &str)> = input.lines().filter_map(|line| line.split_once('=')).collect();
    let value = |name: &str| set.iter().rev().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
    // These are shown on purpose.
    if [env::SID, env::ACCOUNT, env::EDITION, env::ENVIRONMENT]
        .into_iter()
        .any(|name| value(name).is_some_and(|value| value.contains(PART)))
    {
        return "shown on purpose".to_owned();
    }
    match AccountSettings::from_env(value, |path| {
        if path.contains(PART) { Err(std::io::ErrorKind::NotFound.into()) } else { Ok(MARKER.to_owned()) }
    }) {
        Ok(_) => "an account".to_owned(),
        Err(error) => {
            assert_tells_nothing(&told(&error), input);
            kind(error.message())
        }
    }
}

#[test]
fn configuration_never_repeats_what_may_be_a_secret() {
    let target = Target { name: "config", words: &WORDS, inputs: 20_000 };
    target.fuzz(|input| {
        let text = String::from_utf8_lossy(input);
        format!("{}; {}", check_file(&text), check_environment(&text))
    });
}
