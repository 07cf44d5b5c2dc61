//! `wdt-lake status --check`: whether a lake is as it should be, for monitors, and for schedulers that wait until a day
//! is complete.
//!
//! The answer is that of a Nagios plugin: one line first that says it all, and exit code 0 ok, 1 warning, 2 critical or
//! 3 unknown. Whatever keeps it from being known is part of the answer, on standard output: a monitor reads nothing
//! else.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::lake::{ByAccount, LakeArgs};
use super::talk::error_json;
use crate::error::{Error, ErrorKind, Result};
use crate::id::AccountName;
use crate::pipeline::{AccountHealth, HealthChecks, HealthFinding, HealthLevel, LeftoverLimits, health};
use crate::text::{Text, key, say, text};
use crate::time::{BeijingTime, Clock as _, DateMeans, SystemClock, parse_user_time};
use crate::units::{at_least, plural, some_span, span};

/// How old a lake may be where nothing else is said.
const MAX_AGE: Duration = Duration::from_secs(2 * 3_600);
/// How soon a lake is looked at again that is waited for; then twice as long each time.
const FIRST_POLL: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(30);
/// How many findings the first line names.
const NAMED: usize = 4;

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Judge the lake as a monitoring plugin does: one line first, and exit code 0 ok, 1 warning, 2 critical or 3
    /// unknown.
    #[arg(long, help_heading = "Check", conflicts_with = "extra")]
    pub(super) check: bool,
    /// Critical where an account is complete only up to longer ago than this [default: 2h, unless --covered-until is
    /// given].
    #[arg(long, value_name = "DURATION", help_heading = "Check", requires = "check", value_parser = some_span)]
    max_age: Option<Duration>,
    /// Critical where an account is not complete up to this time; a date means its last second. Without --max-age,
    /// nothing else is judged.
    #[arg(long, value_name = "TIME", help_heading = "Check", requires = "check")]
    covered_until: Option<String>,
    /// Look again for so long until that is so.
    #[arg(long, value_name = "DURATION", help_heading = "Check", requires = "covered_until", value_parser = span)]
    wait: Option<Duration>,
    /// Quarantined records that are no warning, for each account.
    #[arg(long, value_name = "RECORDS", help_heading = "Check", requires = "check", default_value_t = 0)]
    max_quarantined: u64,
}

impl CheckArgs {
    fn checks(&self) -> Result<HealthChecks> {
        let covered_until =
            self.covered_until.as_deref().map(|text| parse_user_time(text, DateMeans::LastSecond)).transpose()?;
        // Who waits for a day is not kept from it by what is left over elsewhere.
        let is_monitor = covered_until.is_none() || self.max_age.is_some();
        Ok(HealthChecks {
            max_age: self.max_age.or(covered_until.is_none().then_some(MAX_AGE)),
            covered_until,
            leftovers: is_monitor.then_some(LeftoverLimits { quarantined: self.max_quarantined }),
        })
    }
}

/// Whether the lake was to be judged, though what was typed cannot be read as a command.
pub(super) fn was_meant(mut arguments: impl Iterator<Item = OsString>) -> bool {
    let mut is_status = false;
    arguments.any(|argument| {
        is_status |= argument == "status";
        is_status && argument == "--check"
    })
}

/// What is said, and the exit code, where nothing can be known.
pub(super) fn print_unknown(why: &Text) -> u8 {
    super::print(&format!("{} - {}", word(HealthLevel::Unknown), one_line(why.told())));
    HealthLevel::Unknown.exit_code()
}

/// An account, and what of it is not as it should be.
struct Judged {
    /// How it stands; none where the lake has nothing of it.
    health: Option<AccountHealth>,
    findings: Vec<HealthFinding>,
}

impl Judged {
    fn level(&self) -> HealthLevel {
        self.findings.iter().map(HealthFinding::level).max().unwrap_or(HealthLevel::Ok)
    }
}

/// What is known of a lake at a moment.
struct Answer {
    now: BeijingTime,
    root: Option<String>,
    accounts: ByAccount<Judged>,
    /// Why nothing is known.
    error: Option<Error>,
}

/// Judges the lake, and gives the exit code.
pub(super) async fn run(lake: &LakeArgs, args: &CheckArgs) -> u8 {
    let (answer, max_age) = match args.checks() {
        Ok(checks) => (awaited(lake, &checks, args.wait).await, checks.max_age),
        Err(error) => (Answer::failed(error), None),
    };
    let level = answer.level();
    lake.output.print(|| answer.to_json(), || answer.to_text(max_age));
    level.exit_code()
}

/// The answer, as soon as all is covered that is waited for, or as it is at the end of that time. What passes, such as
/// a store that does not answer, is waited for as well; what was mistyped is not.
async fn awaited(lake: &LakeArgs, checks: &HealthChecks, wait: Option<Duration>) -> Answer {
    let until = wait.and_then(|wait| Instant::now().checked_add(wait));
    let mut pause = FIRST_POLL;
    loop {
        let answer = look(lake, checks).await.unwrap_or_else(Answer::failed);
        let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() || !answer.is_worth_waiting() {
            return answer;
        }
        tracing::debug!(pause_s = pause.min(left).as_secs_f64(), "not yet: looking again");
        sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_POLL);
    }
}

async fn look(args: &LakeArgs, checks: &HealthChecks) -> Result<Answer> {
    let lake = args.open()?;
    let now = SystemClock.now();
    let expected = args.expected_accounts();
    let present = match lake.accounts().await {
        // An account that is set and has no log yet is told as such.
        Err(error) if error.kind() == ErrorKind::Usage && !expected.is_empty() => Vec::new(),
        present => present?,
    };
    let absent: Vec<AccountName> = expected.into_iter().filter(|name| !present.contains(name)).collect();
    let one = async |name: &AccountName| {
        let health = health(&lake.store, name, now).await?;
        let findings = health.findings(checks, now);
        Ok(Judged { health: Some(health), findings })
    };
    let mut accounts = ByAccount::of(present, one).await;
    let nothing = |name| (name, Judged { health: None, findings: vec![HealthFinding::Absent] });
    accounts.found.extend(absent.into_iter().map(nothing));
    let error = accounts.is_empty().then(|| {
        Error::new(ErrorKind::Lake, "there is no account in the lake")
            .with("lake", lake.store.root())
            .hint("is it the right place? `wdt-lake sync` fills a lake")
    });
    Ok(Answer { now, root: Some(lake.store.root().to_owned()), accounts, error })
}

impl Answer {
    fn failed(error: Error) -> Self {
        let accounts = ByAccount { found: Vec::new(), failed: Vec::new() };
        Self { now: SystemClock.now(), root: None, accounts, error: Some(error) }
    }

    fn level(&self) -> HealthLevel {
        let is_unknown = self.error.is_some() || !self.accounts.failed.is_empty();
        let unknown = is_unknown.then_some(HealthLevel::Unknown);
        let levels = self.accounts.found.iter().map(|(_, judged)| judged.level());
        levels.chain(unknown).max().unwrap_or(HealthLevel::Ok)
    }

    /// Whether time alone may make it better: something is not covered yet, or could not be read.
    fn is_worth_waiting(&self) -> bool {
        if let Some(error) = &self.error {
            return error.kind() != ErrorKind::Usage;
        }
        let is_missing =
            |finding: &HealthFinding| matches!(finding, HealthFinding::NotCovered { .. } | HealthFinding::Absent);
        !self.accounts.failed.is_empty()
            || self.accounts.found.iter().any(|(_, judged)| judged.findings.iter().any(is_missing))
    }

    /// What is wrong, the gravest first, in words that begin with the account.
    fn wrong(&self) -> Vec<(HealthLevel, Text)> {
        let found = self.accounts.found.iter().flat_map(|(name, judged)| {
            judged
                .findings
                .iter()
                .map(move |finding| (finding.level(), text!("{account}: {what}", account = name, what = told(finding))))
        });
        let failed = self.accounts.failed.iter().map(|(name, error)| (name.to_string(), error));
        let failed = failed
            .map(|(name, error)| (HealthLevel::Unknown, text!("{account}: {what}", account = name, what = error)));
        let whole = self.error.iter().map(|error| (HealthLevel::Unknown, Text::of_value(error)));
        let mut wrong: Vec<_> = whole.chain(found).chain(failed).collect();
        wrong.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
        wrong
    }

    /// The one line that says it all.
    fn summary(&self) -> Text {
        let level = self.level();
        let worst: Vec<Text> =
            self.wrong().into_iter().filter(|(one, _)| *one == level).map(|(_, text)| text).collect();
        match worst.len() {
            0 => self.all_well(),
            1..=NAMED => Text::join(&worst, key!("; ")),
            more => text!(
                "{named}; and {count} more",
                named = Text::join(&worst[..NAMED], key!("; ")),
                count = more - NAMED
            ),
        }
    }

    /// Of a lake in which nothing is wrong: up to when all accounts are complete.
    fn all_well(&self) -> Text {
        let ends = self.accounts.found.iter().filter_map(|(_, judged)| judged.health.as_ref()?.complete_until);
        let complete = complete(ends.min());
        match &*self.accounts.found {
            [(name, _)] => text!("{account}: {what}", account = name, what = complete),
            all => text!("{accounts}: {complete}", accounts = plural(all.len() as u64, "account"), complete),
        }
    }

    /// The ages, in the form in which monitoring plugins tell numbers.
    fn numbers(&self, max_age: Option<Duration>) -> Vec<String> {
        let limit = max_age.map(|limit| limit.as_secs().to_string()).unwrap_or_default();
        let age = |judged: &Judged| judged.health.as_ref()?.age_seconds(self.now);
        let ages = self.accounts.found.iter().filter_map(|(name, judged)| Some((name, age(judged)?)));
        let number = |(name, age): (&AccountName, u64)| {
            [&*name.to_string(), "_age=", &age.to_string(), "s;;", &limit, ";0"].concat()
        };
        ages.map(number).collect()
    }

    fn to_text(&self, max_age: Option<Duration>) -> String {
        let numbers = self.numbers(max_age);
        let numbers = if numbers.is_empty() { String::new() } else { format!(" | {}", numbers.join(" ")) };
        let mut lines = vec![format!("{} - {}{numbers}", word(self.level()), one_line(self.summary().told()))];
        for (name, judged) in &self.accounts.found {
            if let Some(health) = &judged.health {
                let what = complete(health.complete_until);
                lines.push(say!("{account}: {what}", account = name, what));
            }
        }
        let wrong =
            self.wrong().into_iter().map(|(level, text)| format!("{}: {}", level.name(), one_line(text.told())));
        lines.extend(wrong);
        let errors = self.error.iter().chain(self.accounts.failed.iter().map(|(_, error)| error));
        lines
            .extend(errors.filter_map(Error::hint_said).map(|hint| say!("hint: {hint}", hint = one_line(hint.told()))));
        lines.join("\n")
    }

    fn to_json(&self) -> Value {
        let found = self.accounts.found.iter().map(|(name, judged)| account_json(name, judged, self.now));
        let failed = self.accounts.failed.iter().map(|(name, error)| {
            json!({"account": name, "state": HealthLevel::Unknown.name(), "findings": [], "error": error_json(error)})
        });
        json!({
            "command": "status",
            "lake": self.root,
            "state": self.level().name(),
            "summary": format!("{} - {}", word(self.level()), one_line(self.summary().english())),
            "accounts": found.chain(failed).collect::<Vec<_>>(),
            "error": self.error.as_ref().map(error_json),
            "exit_code": self.level().exit_code(),
        })
    }
}

fn account_json(name: &AccountName, judged: &Judged, now: BeijingTime) -> Value {
    let health = judged.health.as_ref();
    let findings = judged
        .findings
        .iter()
        .map(|finding| json!({"finding": finding.name(), "state": finding.level().name(), "message": told(finding)}));
    json!({
        "account": name,
        "state": judged.level().name(),
        "complete_until": health.and_then(|health| health.complete_until),
        "age_s": health.and_then(|health| health.age_seconds(now)),
        "last_success_at": health.and_then(|health| health.last_success_at),
        "gaps": health.map_or(0, |health| health.gaps.len()),
        "quarantined": health.map_or(0, |health| health.quarantined),
        "pending_stops": health.map_or(0, |health| health.open_stops.len() as u64 + health.unknown_stops),
        "findings": findings.collect::<Vec<_>>(),
        "error": null,
    })
}

/// A level as monitoring plugins write it.
fn word(level: HealthLevel) -> String {
    level.name().to_uppercase()
}

/// Up to when an account is complete.
fn complete(until: Option<BeijingTime>) -> Text {
    match until {
        Some(until) => text!("complete until {until}", until),
        None => text!("complete nowhere yet"),
    }
}

/// A finding in words.
fn told(finding: &HealthFinding) -> Text {
    match finding {
        HealthFinding::Absent => text!("the lake has nothing of it yet"),
        HealthFinding::NotCovered { wanted, until } => {
            text!("{complete}, and not until {wanted}", complete = complete(*until), wanted)
        }
        HealthFinding::TooOld { until: None, .. } => complete(None),
        HealthFinding::TooOld { until, seconds, max_age } => text!(
            "{complete}, {age} ago, more than {limit}",
            complete = complete(*until),
            age = at_least(*seconds),
            limit = at_least(max_age.as_secs())
        ),
        HealthFinding::Gaps { count, first } => {
            text!("{gaps}, the first: {first}", gaps = plural(*count, "gap"), first)
        }
        HealthFinding::Quarantined { records, limit: 0 } => {
            text!("{records} quarantined", records = plural(*records, "record"))
        }
        HealthFinding::Quarantined { records, limit } => {
            text!("{records} quarantined, more than {limit}", records = plural(*records, "record"), limit)
        }
        HealthFinding::OpenStops { count } => {
            text!("{stops} without a result: run `wdt-lake stop` again", stops = plural(*count, "stop"))
        }
        HealthFinding::UnknownStops { count } => {
            text!("{stops} of unknown outcome: run `wdt-lake stop` again", stops = plural(*count, "stop"))
        }
    }
}

/// A text on one line, without the character behind which monitors expect numbers.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of `docs/exit-codes.md` has every code of a check, in both languages.
    #[test]
    fn the_codes_of_a_check_are_documented() {
        for (page, heading) in [
            (include_str!("../../docs/exit-codes.md"), "\n## Of `status --check`\n"),
            (include_str!("../../docs/zh/exit-codes.md"), "\n## `status --check` 的退出码\n"),
        ] {
            let (_, table) = page.split_once(heading).expect(heading);
            let table = table.split("\n## ").next().unwrap_or_default();
            let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
            assert_eq!(rows.len(), HealthLevel::ALL.len(), "{heading}");
            for (level, row) in HealthLevel::ALL.iter().zip(rows) {
                assert!(row.starts_with(&format!("| {} | `{}` | ", level.exit_code(), word(*level))), "{row}");
            }
        }
    }

    #[test]
    fn a_check_is_known_though_its_options_are_not() {
        let meant = |words: &[&str]| was_meant(words.iter().map(OsString::from));
        assert!(meant(&["wdt-lake", "--log-level", "info", "status", "--lake", "x", "--check", "--max-aeg", "2h"]));
        assert!(!meant(&["wdt-lake", "--check", "status"]) && !meant(&["wdt-lake", "status", "--max-aeg"]));
        assert_eq!(one_line("a |\n b"), "a / b");
    }
}
