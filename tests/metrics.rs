//! `sync --metrics-file` writes what a run did and how the lake stands, in a form that every scraper takes, and loses
//! nothing of it when a run fails.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use wdt_lake::sandbox::{Options, Requisition, Sandbox};

use crate::support::{LakeDir, Said, at, erp, program, program_at, run};

const LAST_SUCCESS: &str = "wdt_lake_last_success_timestamp_seconds";

/// Series by name and labels, and their values.
type Metrics = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads the text format of Prometheus strictly: every family stands together, behind its HELP and its TYPE, which are
/// there once; names, labels and escapes are as specified; no series is there twice; the last line ends.
fn parse(text: &str) -> Metrics {
    let is_name = |name: &str, colon: bool| {
        !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || (colon && byte == b':'))
    };
    assert!(text.ends_with('\n') && !text.contains('\r'), "every line ends");
    let (mut metrics, mut families, mut family) = (Metrics::new(), BTreeSet::new(), String::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("a help");
            assert!(is_name(name, true) && !words.is_empty() && families.insert(name.to_owned()), "{line}");
            assert_eq!(lines.next(), Some(&*format!("# TYPE {name} gauge")), "its type follows");
            assert!(!name.ends_with("_total") && !name.ends_with("_info") || name == "wdt_lake_build_info", "{name}");
            name.clone_into(&mut family);
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a sample");
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("closed")),
            None => (series, ""),
        };
        assert_eq!(name, family, "a family stands together");
        let mut read = BTreeMap::new();
        let mut rest = labels;
        while !rest.is_empty() {
            let (label, after) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label, false), "{line}");
            let (mut value, mut letters) = (String::new(), after.char_indices());
            let end = loop {
                match letters.next().expect("closed") {
                    (_, '\\') => match letters.next().expect("an escape").1 {
                        'n' => value.push('\n'),
                        escaped @ ('\\' | '"') => value.push(escaped),
                        other => panic!("no escape: {other}"),
                    },
                    (at, '"') => break at,
                    (_, letter) => value.push(letter),
                }
            };
            assert!(read.insert(label.to_owned(), value).is_none(), "{line}");
            rest = &after[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or_else(|| {
                assert!(rest.is_empty(), "{line}");
                rest
            });
        }
        let value: f64 = value.parse().expect("a number");
        assert!(metrics.insert((name.to_owned(), read), value).is_none(), "twice: {line}");
    }
    metrics
}

struct Job {
    folder: TempDir,
    lake: LakeDir,
}

impl Job {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), lake: LakeDir::new() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("wdt-lake.prom")
    }

    fn sync(&self, sandbox: &Sandbox, arguments: &[&str]) -> std::process::Command {
        let mut command = program_at(sandbox);
        command.args(["sync", "--json", "--calls-per-minute", "0", "--lake", &self.lake.text()]).args(arguments);
        command.arg("--metrics-file").arg(self.path());
        command
    }

    fn metrics(&self) -> Metrics {
        let metrics = parse(&std::fs::read_to_string(self.path()).unwrap());
        let left: Vec<_> =
            std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{left:?}");
        metrics
    }
}

/// The value of a series of the account `sandbox`, with one more label or none.
fn of(metrics: &Metrics, name: &str, more: &[(&str, &str)]) -> Option<f64> {
    of_account(metrics, "sandbox", name, more)
}

fn of_account(metrics: &Metrics, account: &str, name: &str, more: &[(&str, &str)]) -> Option<f64> {
    let all = [&[("account", account)], more].concat();
    let labels = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    metrics.get(&(name.to_owned(), labels.collect())).copied()
}

fn whole(metrics: &Metrics, name: &str) -> Option<f64> {
    metrics.get(&(name.to_owned(), BTreeMap::new())).copied()
}

const JUNE: [&str; 4] = ["--from", "2026-06-20", "--to", "2026-06-30"];

#[test]
fn metrics_do_not_go_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(program().current_dir(folder.path()).args(["sync", "--lake", "lake", "--metrics-file", "-"]));
    let said = said.expect_code(2);
    assert!(said.stderr.contains("metrics do not go to standard output"), "{said:?}");
    assert!(!folder.path().join("-").exists());
}

#[test]
fn a_run_and_the_lake_are_told_in_numbers() {
    let (sandbox, job) = (erp(60, 10, "2026-06-30 23:59:59"), Job::new());
    let summary = run(&mut job.sync(&sandbox, &JUNE)).expect_code(0).json();
    let metrics = job.metrics();
    let number = |value: &Value| value.as_f64().unwrap();
    for (name, more, expected) in [
        ("wdt_lake_run_rows", &[("table", "purchase_apply")][..], number(&summary["rows"]["purchase_apply"])),
        ("wdt_lake_run_rows", &[("table", "purchase_apply_detail")], number(&summary["rows"]["purchase_apply_detail"])),
        ("wdt_lake_run_calls", &[], number(&summary["calls"])),
        ("wdt_lake_run_exit_code", &[], 0.0),
        ("wdt_lake_run_refusals", &[], 0.0),
        ("wdt_lake_run_retries", &[], 0.0),
        ("wdt_lake_run_gaps", &[], 0.0),
        ("wdt_lake_quarantined_records", &[], 0.0),
        ("wdt_lake_gaps", &[], 0.0),
        ("wdt_lake_gap_seconds", &[], 0.0),
        ("wdt_lake_pending_stops", &[("state", "open")], 0.0),
        ("wdt_lake_pending_stops", &[("state", "unknown")], 0.0),
        ("wdt_lake_read_error", &[], 0.0),
        ("wdt_lake_covered_until_timestamp_seconds", &[], at("2026-06-30 23:59:59").unix() as f64),
    ] {
        assert_eq!(of(&metrics, name, more), Some(expected), "{name} {more:?}");
    }
    assert!(of(&metrics, "wdt_lake_run_seconds", &[]).unwrap() > 0.0);
    assert_eq!(whole(&metrics, "wdt_lake_exit_code"), Some(0.0));
    let ended = whole(&metrics, "wdt_lake_run_end_timestamp_seconds").unwrap();
    let success = of(&metrics, LAST_SUCCESS, &[]).unwrap();
    assert!((ended - success).abs() < 60.0, "{ended} {success}");

    // An empty end is asked for and not committed.
    run(&mut job.sync(&sandbox, &["--to", "2026-07-01 00:30:00"])).expect_code(0);
    let metrics = job.metrics();
    let complete = of(&metrics, "wdt_lake_complete_until_timestamp_seconds", &[]);
    assert_eq!(complete, Some(at("2026-07-01 00:30:00").unix() as f64));
    assert_eq!(of(&metrics, "wdt_lake_run_rows", &[("table", "purchase_apply")]), Some(0.0), "of that run");
}

#[test]
fn refusals_and_repeated_calls_are_counted() {
    let job = Job::new();
    let mut wrong = Requisition::plain(7, "A7", at("2026-06-25 10:00:00"));
    wrong.send_raw("real_num", "\"1.23456\"");
    let oddities = "busy=2".parse::<wdt_lake::sandbox::Oddities>().unwrap();
    let behaviour = wdt_lake::sandbox::Behaviour { oddities, ..wdt_lake::sandbox::Behaviour::default() };
    let sandbox = Sandbox::start(Options { requisitions: vec![wrong], behaviour, ..Options::default() }).unwrap();
    let summary = run(&mut job.sync(&sandbox, &JUNE)).expect_code(3).json();
    let metrics = job.metrics();
    let refusals = of(&metrics, "wdt_lake_run_refusals", &[]).unwrap();
    assert!(refusals > 0.0, "{metrics:?}");
    assert_eq!(of(&metrics, "wdt_lake_run_retries", &[]), Some(refusals), "each was tried again: {metrics:?}");
    assert_eq!(of(&metrics, "wdt_lake_run_calls", &[]), summary["calls"].as_f64());
    for name in ["wdt_lake_run_quarantined_records", "wdt_lake_quarantined_records"] {
        assert_eq!(of(&metrics, name, &[]), Some(1.0), "{name}");
    }
    for name in ["wdt_lake_run_exit_code", "wdt_lake_exit_code"] {
        assert_eq!(of(&metrics, name, &[]).or(whole(&metrics, name)), Some(3.0), "{name}");
    }
}

/// However a run fails, its file says so and keeps when a run last succeeded.
#[test]
fn a_failed_run_takes_nothing_back() {
    let (sandbox, job) = (erp(60, 10, "2026-06-30 23:59:59"), Job::new());
    run(&mut job.sync(&sandbox, &JUNE)).expect_code(0);
    let before = job.metrics();
    let stays = |said: Said, code: i32, account_code: Option<i32>| {
        let said = said.expect_code(code);
        let after = job.metrics();
        let code_of = of(&after, "wdt_lake_run_exit_code", &[]);
        assert_eq!(whole(&after, "wdt_lake_exit_code"), Some(f64::from(code)), "{said:?}");
        if let Some(account_code) = account_code {
            assert_eq!(code_of, Some(f64::from(account_code)), "{said:?}");
        }
        for name in [LAST_SUCCESS, "wdt_lake_complete_until_timestamp_seconds", "wdt_lake_quarantined_records"] {
            assert_eq!(of(&after, name, &[]), of(&before, name, &[]), "{name}: {said:?}");
        }
        of(&after, "wdt_lake_read_error", &[])
    };
    let more = ["--to", "2026-07-05"];
    // Wrong credentials, a gateway that is not there, a setting that is missing, and an option that makes no sense.
    let refused = run(job.sync(&sandbox, &more).env("WDT_APPSECRET", "wrong"));
    assert_eq!(stays(refused, 4, Some(4)), Some(0.0));
    let nobody = run(job
        .sync(&sandbox, &[&more[..], &["--max-retry-time", "0s"]].concat())
        .env("WDT_BASE_URL", "http://127.0.0.1:9/openapi2"));
    assert_eq!(stays(nobody, 5, Some(5)), Some(0.0));
    stays(run(job.sync(&sandbox, &more).env_remove("WDT_SID").env_remove("WDT_ACCOUNT")), 2, None);
    stays(run(&mut job.sync(&sandbox, &["--to", "2026-06-01"])), 2, Some(2));
    // A lake that cannot be read any more, and a lease that is lost.
    let is_manifest = |name: &&String| name.starts_with("_manifest/");
    let files = job.lake.files();
    let kept: Vec<(PathBuf, Vec<u8>)> = files
        .iter()
        .filter(is_manifest)
        .map(|name| job.lake.path().join(name))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    kept.iter().for_each(|(path, _)| std::fs::write(path, "{}").unwrap());
    assert_eq!(stays(run(&mut job.sync(&sandbox, &more)), 8, Some(8)), Some(1.0));
    kept.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    job.lake.forget_the_end();
    stays(run(job.sync(&sandbox, &more).env("WDT_APPSECRET", "wrong")), 4, Some(4));
    // And a success renews it.
    run(&mut job.sync(&sandbox, &more)).expect_code(0);
    assert!(of(&job.metrics(), LAST_SUCCESS, &[]) >= of(&before, LAST_SUCCESS, &[]));
}

#[test]
fn a_path_where_no_metrics_belong_is_refused_before_any_call() {
    let (sandbox, job) = (erp(5, 2, "2026-06-30 23:59:59"), Job::new());
    std::fs::write(job.path(), "lake = \"precious\"\n").unwrap();
    let said = run(&mut job.sync(&sandbox, &JUNE)).expect_code(2);
    assert!(said.stderr.contains("none of metrics"), "{}", said.stderr);
    assert_eq!(std::fs::read_to_string(job.path()).unwrap(), "lake = \"precious\"\n");
    let nowhere = Path::new("no-such-folder/x.prom");
    let mut command = program_at(&sandbox);
    command.args(["sync", "--lake", &job.lake.text()]).args(JUNE).arg("--metrics-file").arg(nowhere);
    run(&mut command).expect_code(1);
    assert!(sandbox.world().calls().is_empty() && !job.lake.path().exists());
    // Within the lake it would be a stray.
    std::fs::remove_file(job.path()).unwrap();
    run(&mut job.sync(&sandbox, &JUNE)).expect_code(0);
    let mut command = program_at(&sandbox);
    command.args(["sync", "--lake", &job.lake.text()]).arg("--metrics-file").arg(job.lake.path().join("x.prom"));
    run(&mut command).expect_code(2);
}

#[test]
fn accounts_of_a_file_have_series_of_their_own() {
    let sandboxes = ["acme", "beta"].map(|name| (name, erp(30, 10, "2026-06-30 23:59:59")));
    let job = Job::new();
    let account = |(name, sandbox): &(&str, Sandbox)| {
        let [(_, edition), (_, _), (_, appkey), _, (_, base_url)] = sandbox.environment();
        let sid = &sandbox.credentials().sid;
        format!(
            "[[account]]\nname = \"{name}\"\nedition = \"{edition}\"\nsid = \"{sid}\"\nappkey = \"{appkey}\"\nsecret_env = \"SECRET_{name}\"\nbase_url = \"{base_url}\"\ncalls_per_minute = 0\n"
        )
    };
    let folder = TempDir::new().unwrap();
    let write = |which: &[(&str, Sandbox)]| {
        let accounts: String = which.iter().map(account).collect();
        // One host and one sid are one account.
        let accounts = accounts.replacen("127.0.0.1", "localhost", 1);
        std::fs::write(folder.path().join("wdt-lake.toml"), format!("lake = \"lake\"\n{accounts}")).unwrap();
    };
    write(&sandboxes);
    let sync = |arguments: &[&str]| {
        let mut command = program();
        command.current_dir(folder.path()).args(["sync", "--json"]).args(JUNE).args(arguments);
        command.arg("--metrics-file").arg(job.path());
        for (name, sandbox) in &sandboxes {
            command.env(format!("SECRET_{name}"), sandbox.credentials().secret.expose());
        }
        command
    };
    run(&mut sync(&[])).expect_code(0);
    let both = job.metrics();
    let success = |metrics: &Metrics| ["acme", "beta"].map(|name| of_account(metrics, name, LAST_SUCCESS, &[]));
    assert!(success(&both).iter().all(Option::is_some), "{both:?}");

    // One fails, and the other is as well as it was.
    run(sync(&[]).env("SECRET_beta", "wrong").args(["--to", "2026-07-02"])).expect_code(2);
    run(sync(&["--lookback", "1d"]).env("SECRET_beta", "wrong")).expect_code(4);
    let after = job.metrics();
    let codes = ["acme", "beta"].map(|name| of_account(&after, name, "wdt_lake_run_exit_code", &[]));
    assert_eq!((codes, whole(&after, "wdt_lake_exit_code")), ([Some(0.0), Some(4.0)], Some(4.0)));
    assert_eq!(success(&after)[1], success(&both)[1]);

    // A run of one leaves what is known of the other; one of all knows who is set.
    run(&mut sync(&["--account", "acme"])).expect_code(0);
    assert_eq!(success(&job.metrics())[1], success(&both)[1]);
    write(&sandboxes[..1]);
    run(&mut sync(&[])).expect_code(0);
    assert_eq!(success(&job.metrics())[1], None);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_and_one_of_whom_the_file_is_read_leave_a_whole_file() {
    use std::os::unix::fs::PermissionsExt as _;

    use crate::support::process::run_signalled;

    let (sandbox, job) = (erp(300, 10, "2026-06-30 23:59:59"), Job::new());
    let said = run_signalled(&sandbox, &mut job.sync(&sandbox, &JUNE), 2, "TERM").expect_code(7);
    let metrics = job.metrics();
    assert_eq!(of(&metrics, "wdt_lake_run_exit_code", &[]), Some(7.0), "{said:?}");
    assert_eq!(of(&metrics, LAST_SUCCESS, &[]), None, "none has succeeded");
    // node_exporter is another user.
    let mode = std::fs::metadata(job.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o400, 0o400);
    assert!(mode & 0o044 != 0, "{mode:o}");
}
