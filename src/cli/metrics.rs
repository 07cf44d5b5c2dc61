//! `sync --metrics-file`: what a run did and how the lake stands, as metrics in the text format of Prometheus, for the
//! textfile collector of node_exporter and its like.
//!
//! The file is written at the end of every run, however it ended, and takes the place of the one before in one step.
//! What a run did is that run's; how the lake stands is read from log and lease when the run is over. What cannot be
//! read then keeps the value that the file before has, so that no series ends because one run failed; and a time of
//! success that the lease has lost is never taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::rows::{NewFileAt, cannot_write};
use crate::error::{Error, ErrorClass, Result};
use crate::id::AccountName;
use crate::pipeline::{AccountHealth, SyncReport, health};
use crate::store::Store;
use crate::time::{BeijingTime, Clock as _, SystemClock};
use crate::user_file;

/// Room for the metrics of tens of thousands of accounts.
const LARGEST_FILE: u64 = 64 << 20;
/// How long the lake may take to say how it stands.
const LAKE_TIME: Duration = Duration::from_secs(10);
/// The same after an interrupt, which ends the process soon.
const LAKE_TIME_AFTER_INTERRUPT: Duration = Duration::from_secs(1);
/// With what the first line of such a file begins.
const FIRST_WORDS: &str = "# HELP wdt_lake_";

/// What a family of metrics tells of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The program, and its run as a whole.
    Process,
    /// What the run did for an account.
    Run,
    /// How an account stands; this outlives the run.
    Lake,
}

/// Every family: its name, what it tells of, and its help. All are gauges: each run tells of itself.
const FAMILIES: [(&str, Scope, &str); 19] = [
    ("wdt_lake_build_info", Scope::Process, "The version of wdt-lake; always 1."),
    ("wdt_lake_exit_code", Scope::Process, "The exit code of the last run as a whole."),
    ("wdt_lake_run_end_timestamp_seconds", Scope::Process, "When the last run ended."),
    ("wdt_lake_run_exit_code", Scope::Run, "The exit code of the last run for this account."),
    ("wdt_lake_run_seconds", Scope::Run, "How long the last run took for this account."),
    ("wdt_lake_run_rows", Scope::Run, "Rows that the last run committed, by table."),
    ("wdt_lake_run_quarantined_records", Scope::Run, "Records that the last run put into quarantine."),
    ("wdt_lake_run_calls", Scope::Run, "Requests that the last run sent to the gateway, repeated ones included."),
    ("wdt_lake_run_refusals", Scope::Run, "Answers of the gateway that were refusals, for its limits as well."),
    ("wdt_lake_run_retries", Scope::Run, "Requests that repeated one before."),
    ("wdt_lake_run_gaps", Scope::Run, "Windows that the last run wanted and did not commit."),
    ("wdt_lake_covered_until_timestamp_seconds", Scope::Lake, "The last covered second of modified time."),
    (
        "wdt_lake_complete_until_timestamp_seconds",
        Scope::Lake,
        "The last second of modified time before which nothing is missing.",
    ),
    (LAST_SUCCESS, Scope::Lake, "When a sync last ended that left no gap in its range and no error."),
    ("wdt_lake_quarantined_records", Scope::Lake, "Records in quarantine."),
    ("wdt_lake_gaps", Scope::Lake, "Ranges of seconds that are missing before the last covered one."),
    ("wdt_lake_gap_seconds", Scope::Lake, "The seconds in them."),
    ("wdt_lake_pending_stops", Scope::Lake, "Stops without an outcome, by state: open or unknown."),
    (
        "wdt_lake_read_error",
        Scope::Lake,
        "1 when the lake could not be read at the end of the last run: its values are those of before.",
    ),
];

const LAST_SUCCESS: &str = "wdt_lake_last_success_timestamp_seconds";

/// One series: its labels, already in order.
type Labels = Vec<(&'static str, String)>;

/// Values by family and labels.
#[derive(Debug, Default, PartialEq)]
struct Samples(BTreeMap<(&'static str, Labels), f64>);

/// What a run did for an account.
#[derive(Clone, Debug)]
pub(super) struct AccountRun {
    account: AccountName,
    exit_code: u8,
    elapsed: Duration,
    rows: [u64; 2],
    quarantined: u64,
    calls: u64,
    refusals: u64,
    retries: u64,
    gaps: u64,
    is_interrupted: bool,
}

impl AccountRun {
    pub(super) fn of(account: &AccountName, report: &SyncReport) -> Self {
        Self {
            account: account.clone(),
            exit_code: report.exit_code(),
            elapsed: report.elapsed,
            rows: [report.tally.headers, report.tally.details],
            quarantined: report.tally.quarantined,
            calls: report.calls,
            refusals: report.refusals,
            retries: report.retries,
            gaps: report.gaps.len() as u64,
            is_interrupted: report.interrupted,
        }
    }

    /// Of a run that failed before it did anything.
    pub(super) fn failed(account: &AccountName, error: &Error) -> Self {
        Self { exit_code: error.kind().exit_code(), ..Self::of(account, &SyncReport::not_begun()) }
    }
}

/// Which accounts a run was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunScope {
    /// All that are set: what the file has of others is gone.
    AllAccounts,
    /// One of them: what the file has of others stays.
    OneAccount,
}

/// The file, and the run that it will tell of.
pub(super) struct MetricsFile<'a> {
    path: &'a Path,
    began: Instant,
    before: Samples,
}

impl<'a> MetricsFile<'a> {
    /// Sees that the file can be written, before a run spends calls, and keeps what stands in it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when something else stands there,
    /// [`ErrorKind::Output`](crate::ErrorKind::Output) when it cannot be written.
    pub(super) fn begin(path: &'a Path, lake: Option<&Store>) -> Result<Self> {
        if path == Path::new("-") {
            return Err(Error::new(ErrorClass::OutputPlaceWrong, "metrics do not go to standard output")
                .hint("name a file with --metrics-file"));
        }
        drop(NewFileAt::create(path, lake)?);
        let text = match user_file::read_text(path, LARGEST_FILE) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(cannot_write(path).because(error)),
        };
        if !text.is_empty() && !text.starts_with(FIRST_WORDS) {
            return Err(Error::usage("the file is none of metrics that wdt-lake wrote")
                .with("path", path.display())
                .hint("name another file with --metrics-file, or remove this one"));
        }
        Ok(Self { path, began: Instant::now(), before: Samples::read(&text) })
    }

    /// Writes what came of the run.
    ///
    /// # Errors
    /// [`ErrorKind::Output`](crate::ErrorKind::Output) when it cannot be written.
    pub(super) async fn write(
        self,
        lake: Option<Store>,
        runs: &[AccountRun],
        scope: RunScope,
        exit_code: u8,
    ) -> Result<()> {
        let now = SystemClock.now();
        let known = standing(lake.as_ref(), runs, now).await;
        let samples = Samples::of(runs, &known, self.began.elapsed(), exit_code, now).over(self.before, runs, scope);
        let file = NewFileAt::create(self.path, lake.as_ref())?;
        let written = file.begin()?.write_all(samples.to_text().as_bytes());
        written.map_err(|error| cannot_write(self.path).because(error))?;
        file.publish().map(drop)
    }
}

/// How the accounts of a run stand, as far as the lake says so in time.
async fn standing(lake: Option<&Store>, runs: &[AccountRun], now: BeijingTime) -> Vec<AccountHealth> {
    let Some(lake) = lake else { return Vec::new() };
    let is_interrupted = runs.iter().any(|run| run.is_interrupted);
    let patience = if is_interrupted { LAKE_TIME_AFTER_INTERRUPT } else { LAKE_TIME };
    let until = tokio::time::Instant::now() + patience;
    let mut known = Vec::new();
    for run in runs {
        match tokio::time::timeout_at(until, health(lake, &run.account, now)).await {
            Ok(Ok(health)) => known.push(health),
            Ok(Err(error)) => tracing::warn!(account = %run.account, %error, "the metrics keep what was known before"),
            Err(_) => {
                tracing::warn!(account = %run.account, "the store did not answer in time: the metrics keep what was known before")
            }
        }
    }
    known
}

fn unix(time: BeijingTime) -> f64 {
    time.unix() as f64
}

impl Samples {
    fn add(&mut self, family: &'static str, labels: Labels, value: f64) {
        self.0.insert((family, labels), value);
    }

    fn of(runs: &[AccountRun], known: &[AccountHealth], elapsed: Duration, exit_code: u8, now: BeijingTime) -> Self {
        let mut all = Self::default();
        all.add("wdt_lake_build_info", vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0);
        all.add("wdt_lake_exit_code", vec![], exit_code.into());
        all.add("wdt_lake_run_end_timestamp_seconds", vec![], unix(now));
        for run in runs {
            // What was not begun took as long as the run as a whole.
            let elapsed = if run.elapsed.is_zero() { elapsed } else { run.elapsed };
            all.add_run(run, elapsed);
            let is_known = known.iter().any(|health| health.account == run.account);
            all.add("wdt_lake_read_error", account(&run.account), if is_known { 0.0 } else { 1.0 });
        }
        known.iter().for_each(|health| all.add_health(health));
        all
    }

    fn add_run(&mut self, run: &AccountRun, elapsed: Duration) {
        let [headers, details] = run.rows;
        for (family, value) in [
            ("wdt_lake_run_exit_code", f64::from(run.exit_code)),
            ("wdt_lake_run_seconds", super::sync_summary::seconds(elapsed)),
            ("wdt_lake_run_quarantined_records", run.quarantined as f64),
            ("wdt_lake_run_calls", run.calls as f64),
            ("wdt_lake_run_refusals", run.refusals as f64),
            ("wdt_lake_run_retries", run.retries as f64),
            ("wdt_lake_run_gaps", run.gaps as f64),
        ] {
            self.add(family, account(&run.account), value);
        }
        for (table, rows) in [("purchase_apply", headers), ("purchase_apply_detail", details)] {
            self.add(
                "wdt_lake_run_rows",
                [account(&run.account), vec![("table", table.to_owned())]].concat(),
                rows as f64,
            );
        }
    }

    fn add_health(&mut self, health: &AccountHealth) {
        let seconds: u64 = health.gaps.iter().map(|gap| gap.seconds()).sum();
        for (family, value) in [
            ("wdt_lake_covered_until_timestamp_seconds", health.covered_until.map(unix)),
            ("wdt_lake_complete_until_timestamp_seconds", health.complete_until.map(unix)),
            (LAST_SUCCESS, health.last_success_at.map(unix)),
            ("wdt_lake_quarantined_records", Some(health.quarantined as f64)),
            ("wdt_lake_gaps", Some(health.gaps.len() as f64)),
            ("wdt_lake_gap_seconds", Some(seconds as f64)),
        ] {
            if let Some(value) = value {
                self.add(family, account(&health.account), value);
            }
        }
        for (state, stops) in [("open", health.open_stops.len() as u64), ("unknown", health.unknown_stops)] {
            self.add(
                "wdt_lake_pending_stops",
                [account(&health.account), vec![("state", state.to_owned())]].concat(),
                stops as f64,
            );
        }
    }

    /// The same, with what the file before knows and this run does not.
    fn over(mut self, before: Self, runs: &[AccountRun], scope: RunScope) -> Self {
        let ours: BTreeSet<&str> = runs.iter().map(|run| run.account.as_str()).collect();
        let unread: BTreeSet<String> = self
            .0
            .iter()
            .filter(|((family, _), value)| *family == "wdt_lake_read_error" && **value > 0.0)
            .filter_map(|((_, labels), _)| account_of(labels).map(str::to_owned))
            .collect();
        for ((family, labels), value) in before.0 {
            let Some(name) = account_of(&labels) else { continue };
            let is_of_lake = scope_of(family) == Some(Scope::Lake);
            let stays = match (ours.contains(name), runs.is_empty(), scope) {
                (true, ..) => (is_of_lake && unread.contains(name)) || family == LAST_SUCCESS,
                // Which accounts it was for, the run did not come to know.
                (false, true, _) => true,
                (false, false, scope) => scope == RunScope::OneAccount,
            };
            if !stays {
                continue;
            }
            let held = self.0.entry((family, labels)).or_insert(value);
            if family == LAST_SUCCESS {
                *held = held.max(value);
            }
        }
        self
    }

    /// What of such a file can be read: what cannot is as if it were not there.
    fn read(text: &str) -> Self {
        Self(text.lines().filter_map(read_sample).collect())
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for (family, _, help) in FAMILIES {
            let mut series = self.0.iter().filter(|((name, _), _)| *name == family).peekable();
            if series.peek().is_none() {
                continue;
            }
            let _ = writeln!(text, "# HELP {family} {help}\n# TYPE {family} gauge");
            for ((_, labels), value) in series {
                let labels: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
                let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                let _ = writeln!(text, "{family}{labels} {value}");
            }
        }
        text
    }
}

fn account(name: &AccountName) -> Labels {
    vec![("account", name.to_string())]
}

fn account_of(labels: &Labels) -> Option<&str> {
    labels.iter().find(|(name, _)| *name == "account").map(|(_, value)| value.as_str())
}

fn scope_of(family: &str) -> Option<Scope> {
    FAMILIES.iter().find(|(name, ..)| *name == family).map(|(_, scope, _)| *scope)
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A line of a file that this program wrote, whose labels have no character that is escaped.
fn read_sample(line: &str) -> Option<((&'static str, Labels), f64)> {
    /// The labels of series that have any.
    const LABELS: [&str; 3] = ["account", "state", "table"];
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.strip_suffix('}').and_then(|series| series.split_once('{')).unwrap_or((series, ""));
    let family = FAMILIES.iter().map(|(family, ..)| *family).find(|family| *family == name)?;
    let read = |label: &str| {
        let (name, value) = label.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        let is_plain = !value.contains(['"', '\\', ',', '{', '}']);
        LABELS.into_iter().find(|known| *known == name).filter(|_| is_plain).map(|name| (name, value.to_owned()))
    };
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(read).collect::<Option<Labels>>()?;
    let value: f64 = value.parse().ok()?;
    value.is_finite().then_some(((family, labels), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> BeijingTime {
        BeijingTime::from_unix(1_780_000_000 + second).expect("a time")
    }

    fn run(name: &str) -> AccountRun {
        AccountRun {
            account: name.parse().expect("a name"),
            exit_code: 0,
            elapsed: Duration::from_millis(1_234),
            rows: [5, 12],
            quarantined: 0,
            calls: 9,
            refusals: 2,
            retries: 3,
            gaps: 0,
            is_interrupted: false,
        }
    }

    fn health(name: &str, success: Option<i64>) -> AccountHealth {
        AccountHealth {
            account: name.parse().expect("a name"),
            covered_until: Some(at(100)),
            checked_until: Some(at(200)),
            complete_until: Some(at(200)),
            gaps: Vec::new(),
            last_success_at: success.map(at),
            quarantined: 0,
            open_stops: vec![at(1)],
            unknown_stops: 2,
        }
    }

    fn samples(runs: &[AccountRun], known: &[AccountHealth]) -> Samples {
        Samples::of(runs, known, Duration::from_secs(1), 0, at(300))
    }

    fn value(samples: &Samples, family: &str, name: &str) -> Option<f64> {
        let found = samples.0.iter().find(|((one, labels), _)| *one == family && account_of(labels) == Some(name));
        found.map(|(_, value)| *value)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = samples(&[run("acme"), run("b-2_c")], &[health("acme", Some(5)), health("b-2_c", None)]);
        let mut read = Samples::read(&written.to_text());
        read.add("wdt_lake_build_info", vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0);
        assert_eq!(read, written);
        assert_eq!(
            Samples::read("# HELP x y\nother 1\nwdt_lake_gaps{account=\"a\" 1\nwdt_lake_gaps{x=\"a\"} 1\n"),
            Samples::default()
        );
        assert_eq!(escaped("a\\b\"c\nd"), "a\\\\b\\\"c\\nd");
    }

    #[test]
    fn what_a_failed_run_cannot_read_stays_and_a_success_is_never_taken_back() {
        let before = || samples(&[run("acme"), run("other")], &[health("acme", Some(50)), health("other", Some(60))]);
        let unread = samples(&[run("acme")], &[]).over(before(), &[run("acme")], RunScope::OneAccount);
        assert_eq!(value(&unread, LAST_SUCCESS, "acme"), Some(unix(at(50))));
        assert_eq!(value(&unread, "wdt_lake_complete_until_timestamp_seconds", "acme"), Some(unix(at(200))));
        assert_eq!(value(&unread, "wdt_lake_read_error", "acme"), Some(1.0), "of this run");
        assert_eq!(value(&unread, LAST_SUCCESS, "other"), Some(unix(at(60))), "it was not asked for");
        let lost =
            samples(&[run("acme")], &[health("acme", None)]).over(before(), &[run("acme")], RunScope::AllAccounts);
        assert_eq!(value(&lost, LAST_SUCCESS, "acme"), Some(unix(at(50))), "the lease was lost");
        assert_eq!(value(&lost, LAST_SUCCESS, "other"), None, "it is set no more");
        let newer =
            samples(&[run("acme")], &[health("acme", Some(70))]).over(before(), &[run("acme")], RunScope::OneAccount);
        assert_eq!(value(&newer, LAST_SUCCESS, "acme"), Some(unix(at(70))));
        let nobody = samples(&[], &[]).over(before(), &[], RunScope::AllAccounts);
        assert_eq!(value(&nobody, LAST_SUCCESS, "other"), Some(unix(at(60))), "the settings could not be read");
    }
}
