//! Summaries, errors and hints in English and in Chinese, whole outputs of the real program; and what machines read is
//! English whatever the language is.
//!
//! The snapshots are one page a language: a command, its exit code, and what it says. `INSTA_UPDATE=always` renews
//! them.

use std::fs;
use std::path::Path;
use std::process::Command;

use wdt_lake::sandbox::Requisition;

use crate::stop::{flagship, partly};
use crate::support::{LakeDir, Said, erp, program, program_at, run};

const RANGE: [&str; 6] = ["--from", "2026-06-20", "--to", "2026-06-30", "--calls-per-minute", "0"];

/// What commands said in one language, one after the other.
struct Transcript {
    language: &'static str,
    lines: Vec<String>,
    hidden: Vec<(String, &'static str)>,
}

impl Transcript {
    fn new(language: &'static str) -> Self {
        Self { language, lines: Vec::new(), hidden: Vec::new() }
    }

    /// Leaves out what differs from run to run.
    fn hide(&mut self, text: impl Into<String>, name: &'static str) {
        self.hidden.push((text.into(), name));
    }

    /// Runs a command and writes down what it says.
    fn note(&mut self, about: &str, command: &mut Command) -> Said {
        let said = run(command.env("WDT_LANG", self.language));
        self.lines.push(format!("$ {about}: {}\n{}{}", said.code, said.stdout, said.stderr));
        said
    }

    fn assert(&self, name: &str) {
        let mut all = self.lines.join("\n");
        for (text, name) in &self.hidden {
            all = all.replace(text, name);
        }
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r"127\.0\.0\.1:\d+", "[server]");
        settings.add_filter(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[id]");
        settings.add_filter(r"\d[\d.]* (B|kB|MB)\b", "[size]");
        settings.add_filter(r"\d+\.\d\d (s\b|秒)", "[time] $1");
        settings.add_filter(r"in \d+ ms", "in [time] ms");
        settings.add_filter(r"\d+ 毫秒", "[time] 毫秒");
        settings.add_filter(r"[+-]\d s from", "[off] s from");
        settings.add_filter(r"相差 [+-]\d 秒", "相差 [off] 秒");
        let today = at_today();
        settings.add_filter(&format!(r"({today})[ T][0-9:]{{8}}"), "[now]");
        settings.add_filter(r"[0-9a-f]{64}", "[sha256]");
        settings.add_filter(r"\[day\] [0-9:]{8}", "[day] [time]");
        settings.add_filter(r"up to commit \d+", "up to commit [n]");
        settings.bind(|| insta::assert_snapshot!(format!("{name}_{}", self.language), all));
    }
}

/// Today and the days around it, by the machine's clock in Beijing.
fn at_today() -> String {
    use wdt_lake::{Clock as _, SystemClock};
    let now = SystemClock.now();
    let day = |days: i64| now.plus_seconds(days * 86_400).to_string().chars().take(10).collect::<String>();
    [day(-1), day(0), day(1)].join("|")
}

fn at_lake(mut command: Command, arguments: &[&str], lake: &LakeDir) -> Command {
    command.args(arguments).args(["--lake", &lake.text()]);
    command
}

/// The summaries of all commands that read or write a lake, in the order in which one would use them.
fn summaries(language: &'static str) {
    let sandbox = erp(60, 10, "2026-06-30 23:59:59");
    let (lake, other) = (LakeDir::new(), LakeDir::new());
    let mut told = Transcript::new(language);
    for (folder, name) in [(&lake, "[lake]"), (&other, "[other]")] {
        told.hide(folder.text(), name);
    }
    let quick = ["--calls-per-minute", "0"];
    let files = tempfile::tempdir().expect("a folder");
    let file = |name: &str| files.path().join(name).display().to_string();
    told.hide(files.path().display().to_string(), "[files]");

    told.note("status of no lake", &mut at_lake(program(), &["status"], &lake));
    told.note("plan --offline of no lake", at_lake(program_at(&sandbox), &["plan", "--offline"], &lake).args(RANGE));
    told.note("plan", at_lake(program_at(&sandbox), &["plan"], &lake).args(RANGE));
    told.note("check", program_at(&sandbox).arg("check").args(quick));
    told.note("sync", at_lake(program_at(&sandbox), &["sync", "--keep-raw", "--compact", "off"], &lake).args(RANGE));
    told.note("sync again", at_lake(program_at(&sandbox), &["sync"], &lake).args(RANGE));
    told.note(
        "sync --rewalk",
        at_lake(program_at(&sandbox), &["sync", "--rewalk", "2026-06-21..2026-06-22"], &lake).args(quick),
    );
    told.note("plan of what is covered", at_lake(program_at(&sandbox), &["plan"], &lake).args(RANGE));
    told.note("status", &mut at_lake(program(), &["status", "--extra"], &lake));
    told.note("runs", &mut at_lake(program(), &["runs"], &lake));
    told.note("verify --deep", &mut at_lake(program(), &["verify", "--deep"], &lake));
    let audit = ["audit", "--sample", "2", "--seed", "1", "--open", "3"];
    told.note("audit", at_lake(program_at(&sandbox), &audit, &lake).args(quick));
    told.note("get", program_at(&sandbox).args(["get", "NOBODY"]).args(quick));
    told.note("doctor", &mut at_lake(program(), &["doctor"], &lake));
    let target = ["--target-file-size", "100MB"];
    told.note("compact --dry-run", at_lake(program(), &["compact", "--dry-run"], &lake).args(target));
    told.note("compact", at_lake(program(), &["compact"], &lake).args(target));
    told.note("publish", &mut at_lake(program(), &["publish"], &lake));
    told.note("publish again", &mut at_lake(program(), &["publish"], &lake));
    let csv = ["export", "purchase_apply", "--open", "--out", &file("open.csv")];
    told.note("export", &mut at_lake(program(), &csv, &lake));
    let arrow = ["changes", "purchase_apply", "--json", "--out", &file("new.arrow")];
    assert_eq!(run(&mut at_lake(program(), &arrow, &lake)).code, 0);
    told.note("replay", program().args(["replay", "--from-raw", &lake.text(), "--lake", &other.text()]));
    told.note("expire", &mut at_lake(program(), &["expire", "--before", "2026-07"], &lake));
    told.note("expire --yes", &mut at_lake(program(), &["expire", "--before", "2026-07", "--yes"], &lake));
    told.note("expire again", &mut at_lake(program(), &["expire", "--before", "2026-07"], &lake));
    told.note("status after it", &mut at_lake(program(), &["status"], &lake));
    told.note(
        "export with warnings",
        &mut at_lake(program(), &["export", "purchase_apply", "--out", &file("all.csv")], &lake),
    );
    told.assert("summaries");
}

#[test]
fn summaries_in_english() {
    summaries("en");
}

#[test]
fn summaries_in_chinese() {
    summaries("zh");
}

/// Stops: shown, refused, made, and made before.
fn stops(language: &'static str) {
    let requisitions: Vec<Requisition> =
        ["PR1", "PR2"].into_iter().zip(1..).map(|(no, id)| partly(id, no, 40)).collect();
    let sandbox = flagship(requisitions);
    let lake = LakeDir::new();
    let mut told = Transcript::new(language);
    told.hide(lake.text(), "[lake]");
    let quick = ["--calls-per-minute", "0"];
    let from = at_days_ago(60);
    assert_eq!(run(at_lake(program_at(&sandbox), &["sync", "--from", &from], &lake).args(quick)).code, 0);
    let stop = |arguments: &[&str]| {
        let mut command = at_lake(program_at(&sandbox), &["stop"], &lake);
        command.args(quick).args(arguments);
        command
    };
    told.hide(at_days_ago(40), "[day]");
    told.hide(at_days_ago(41), "[day]");
    told.note("stop, shown", &mut stop(&["PR1", "PR9", "PR1"]));
    told.note("stop --stale", &mut stop(&["--stale", "90d"]));
    told.note("stop forbidden", stop(&["PR1", "--yes"]).env("WDT_ALLOW_STOP", "false"));
    told.note("stop too many", stop(&["PR1", "PR2", "--yes"]).env("WDT_MAX_STOPS", "1"));
    told.note("stop", &mut stop(&["PR1", "PR9", "--yes"]));
    told.note("stop again", &mut stop(&["PR1", "--yes"]));
    told.assert("stops");
}

fn at_days_ago(days: i64) -> String {
    use wdt_lake::{Clock as _, SystemClock};
    SystemClock.now().plus_seconds(-days * 86_400).to_string().chars().take(10).collect()
}

#[test]
fn stops_in_english() {
    stops("en");
}

#[test]
fn stops_in_chinese() {
    stops("zh");
}

fn config(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// Errors of as many classes as the program can be brought to from outside.
fn errors(language: &'static str) {
    let sandbox = erp(30, 10, "2026-06-30 23:59:59");
    let (lake, new) = (LakeDir::new(), LakeDir::new());
    run(at_lake(program_at(&sandbox), &["sync"], &lake).args(RANGE)).expect_code(0);
    let mut told = Transcript::new(language);
    let files = tempfile::tempdir().expect("a folder");
    let file = |name: &str| files.path().join(name).display().to_string();
    for (text, name) in
        [(lake.text(), "[lake]"), (new.text(), "[new]"), (files.path().display().to_string(), "[files]")]
    {
        told.hide(text, name);
    }
    let account = "[[account]]\nedition = \"enterprise\"\nsid = \"acme2\"\nappkey = \"k\"\nsecret_env = \"NONE\"\n";
    let twice = config(files.path(), "twice.toml", &format!("{account}{account}"));
    let typo = config(files.path(), "typo.toml", &account.replace("appkey", "apkey"));
    let one = config(files.path(), "one.toml", account);
    let erp_of = |variables: &[(&str, &str)]| {
        let mut command = program_at(&sandbox);
        command.envs(variables.iter().copied());
        command
    };
    let quick = ["--calls-per-minute", "0", "--max-retry-time", "0s"];

    told.note("2101", program().arg("check"));
    told.note("2102", erp_of(&[("WDT_EDITION", "other")]).arg("check"));
    told.note("2103", erp_of(&[("WDT_APPSECRET_FILE", "x")]).arg("check"));
    told.note("2104", program().args(["check", "--config", &file("none.toml")]));
    told.note("2105", program().args(["check", "--config", &typo]));
    told.note("2106", erp_of(&[("WDT_APPSECRET", "\"s3cret\"")]).arg("check"));
    told.note("2106 of a file", program().args(["check", "--config", &one]));
    told.note("2107", program().args(["check", "--config", &twice]));
    told.note("2108", program().args(["check", "--config", &one, "--account", "beta"]));
    told.note("2201", erp_of(&[]).args(["get", " x"]));
    told.note(
        "2202",
        &mut at_lake(program(), &["export", "purchase_apply", "--out", &file("x.parquet"), "--bom"], &lake),
    );
    told.note("2203", &mut at_lake(erp_of(&[]), &["sync", "--from", "2026-06-30", "--to", "2026-06-01"], &new));
    told.note("2204", &mut at_lake(erp_of(&[]), &["sync"], &new));
    told.note(
        "2205",
        program()
            .args(["replay", "--pages", &file("none"), "--account", "a", "--edition", "y"])
            .args(["--lake", &new.text()]),
    );
    let within = lake.path().join("x.csv").display().to_string();
    told.note("2206", &mut at_lake(program(), &["export", "purchase_apply", "--out", &within], &lake));
    told.note(
        "2207",
        &mut at_lake(program(), &["changes", "purchase_apply", "--since", "x", "--out", &file("c.csv")], &lake),
    );
    told.note("2208", program().args(["sandbox", "--days", "0"]));
    told.note("2301", program().arg("status").current_dir(files.path()));
    told.note("2302", program().args(["status", "--lake", "ftp://host/lake"]));
    told.note("2303", program().args(["status", "--lake", "s3://bucket/lake"]));
    told.note("2304", &mut at_lake(program(), &["status", "--account", "other"], &lake));
    let other = [("WDT_ACCOUNT", "sandbox"), ("WDT_SID", "other")];
    told.note("2305", at_lake(erp_of(&other), &["sync"], &lake).args(RANGE));
    let base = sandbox.base_url().replace("http://", "https://");
    told.note("2401", erp_of(&[("WDT_BASE_URL", &base)]).arg("check").args(quick));
    told.note(
        "2402",
        erp_of(&[("WDT_BASE_URL", "http://erp.invalid/openapi2"), ("http_proxy", "ftp://proxy")])
            .arg("check")
            .args(quick),
    );
    told.note("2503", &mut at_lake(erp_of(&[]), &["stop", "PR1"], &lake));
    told.note("4101", erp_of(&[("WDT_APPSECRET", "wrong-secret")]).arg("check").args(quick));
    told.note("5101", erp_of(&[("WDT_BASE_URL", "http://127.0.0.1:9/openapi2")]).arg("check").args(quick));
    told.note("6201", &mut at_lake(program(), &["export", "purchase_apply", "--out", &file("y.csv")], &new));
    let partition = lake.path().join("purchase_apply/account=sandbox/modified_month=2026-06");
    let object = fs::read_dir(partition).expect("a folder").filter_map(Result::ok).next().expect("a file").path();
    fs::remove_file(&object).expect("removed");
    told.note("8103", &mut at_lake(program(), &["export", "purchase_apply", "--out", &file("z.csv")], &lake));
    told.note("8, by verify", &mut at_lake(program(), &["verify"], &lake));
    told.assert("errors");
    for line in &told.lines {
        let code = &line[2..6];
        if code.chars().all(|digit| digit.is_ascii_digit()) {
            assert!(line.contains(&format!("[WDT-{code}]")), "{line}");
        }
    }
}

#[test]
fn errors_in_english() {
    errors("en");
}

#[test]
fn errors_in_chinese() {
    errors("zh");
}

/// What of our own Chinese words a text has.
fn own_words(text: &str) -> Vec<&'static str> {
    let is_han = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
    let table = include_str!("../src/text/zh.toml");
    let words = table.split(|letter| !is_han(letter)).filter(|word| word.chars().count() >= 4);
    // The sandbox's ERP speaks Chinese too.
    let text = text.replace("采购申请单不存在", "");
    words.filter(|word| text.contains(word)).collect()
}

/// `WDT_LANG`, else the locale; an empty variable says nothing.
#[test]
fn the_locale_decides_where_nothing_is_set() {
    let told = |variables: &[(&str, &str)]| run(program().arg("check").envs(variables.iter().copied())).stderr;
    for variables in
        [&[("LANG", "zh_CN.UTF-8")][..], &[("LC_ALL", "zh_CN.UTF-8"), ("LANG", "C")], &[("WDT_LANG", "zh")]]
    {
        assert!(told(variables).starts_with("错误[WDT-2101]：没有账号："), "{}", told(variables));
    }
    for variables in [&[][..], &[("WDT_LANG", "en"), ("LANG", "zh_CN.UTF-8")], &[("LANG", "de_DE.UTF-8")]] {
        assert!(told(variables).starts_with("error[WDT-2101]: no account: "), "{}", told(variables));
    }
    let help = run(program().args(["sync", "--help"]).env("WDT_LANG", "zh")).expect_code(0);
    assert!(help.stdout.contains("Bring a lake up to date"), "{}", help.stdout);
}

/// Manifests, leases, quarantine, JSON and logs are read by machines, and by other people.
#[test]
fn what_is_kept_and_what_machines_read_is_english() {
    let sandbox = flagship(vec![partly(1, "PR1", 40), partly(2, "PR2", 40)]);
    let lake = LakeDir::new();
    let chinese = |command: &mut Command| run(command.env("WDT_LANG", "zh"));
    let json = ["--json", "--log-format", "json", "--log-level", "debug", "--calls-per-minute", "0"];
    let from = at_days_ago(60);
    let sync = chinese(at_lake(program_at(&sandbox), &["sync", "--keep-raw", "--from", &from], &lake).args(json));
    let stop = ["stop", "PR1", "PR9", "--yes", "--ignore-lake"];
    let stop = chinese(at_lake(program_at(&sandbox), &stop, &lake).args(json));
    let new = LakeDir::new();
    let mut lost = at_lake(program_at(&sandbox), &["sync", "--max-retry-time", "0s", "--from", &from], &new);
    let lost = chinese(lost.args(json).env("WDT_APPSECRET", "a:b"));
    assert_eq!((sync.code, stop.code, lost.code), (0, 3, 4), "{}", lost.stderr);
    assert!(lost.stdout.contains("\"code\":\"WDT-4101\""), "{}", lost.stdout);
    for said in [&sync, &stop, &lost] {
        for told in [&said.stdout, &said.stderr] {
            assert_eq!(own_words(told), Vec::<&str>::new(), "{told}");
        }
    }
    let own: Vec<String> = lake.files().into_iter().filter(|name| !name.ends_with(".parquet")).collect();
    assert!(own.len() >= 4, "{own:?}");
    for name in own {
        let bytes = fs::read(lake.path().join(&name)).expect("a file");
        assert_eq!(own_words(&String::from_utf8_lossy(&bytes)), Vec::<&str>::new(), "{name}");
    }
    let plain = chinese(&mut at_lake(program(), &["status"], &lake)).expect_code(0);
    assert!(own_words(&plain.stdout).len() > 3, "the words are found where they are: {}", plain.stdout);
}
