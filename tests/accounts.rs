//! Several accounts in one file: all land in one run, what stops one stops no other, and no secret is in the file or in
//! what is said of it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use serde_json::Value;
use tempfile::TempDir;
use wdt_lake::Edition;
use wdt_lake::sandbox::{Credentials, Options, Requisition, Sandbox, generate};
use wdt_lake::{Clock as _, SystemClock};

use crate::support::{Said, at, program, run};

const JUNE: [&str; 4] = ["--from", "2026-06-01", "--to", "2026-06-30"];

/// A folder with a file of accounts, one for each sandbox, and the lake beside it.
struct Accounts {
    folder: TempDir,
    sandboxes: Vec<(&'static str, Sandbox)>,
}

impl Accounts {
    /// One ERP for each edition, each with as many requisitions.
    fn new(requisitions: usize) -> Self {
        let start = |(name, edition): (&'static str, Edition)| {
            let requisitions = generate(11, requisitions, 30, at("2026-06-30 23:59:59"));
            let credentials = Credentials { sid: format!("sid-{name}"), ..Credentials::default() };
            (name, Sandbox::start(Options { edition, credentials, requisitions, ..Options::default() }).unwrap())
        };
        let named = [("acme", Edition::Enterprise), ("beta", Edition::Y), ("gamma", Edition::Flagship)];
        let accounts = Self { folder: TempDir::new().unwrap(), sandboxes: named.into_iter().map(start).collect() };
        accounts.write(&accounts.text());
        accounts
    }

    /// The file as it should be.
    fn text(&self) -> String {
        let one = |(name, sandbox): &(&str, Sandbox)| {
            let [(_, edition), (_, sid), (_, appkey), _, (_, base_url)] = sandbox.environment();
            format!(
                "\n[[account]]\nname = \"{name}\"\nedition = \"{edition}\"\nsid = \"{sid}\"\nappkey = \"{appkey}\"\n\
                 secret_env = \"SECRET_OF_{name}\"\nbase_url = \"{base_url}\"\ncalls_per_minute = 0\n"
            )
        };
        format!("lake = \"lake\"\n{}", self.sandboxes.iter().map(one).collect::<String>())
    }

    fn write(&self, text: &str) {
        std::fs::write(self.folder.path().join("wdt-lake.toml"), text).unwrap();
    }

    fn sandbox(&self, wanted: &str) -> &Sandbox {
        self.sandboxes.iter().find(|(name, _)| *name == wanted).map(|(_, sandbox)| sandbox).unwrap()
    }

    /// The program in the folder, with the secrets in its environment.
    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.current_dir(self.folder.path()).args(arguments);
        for (name, sandbox) in &self.sandboxes {
            command.env(format!("SECRET_OF_{name}"), sandbox.credentials().secret.expose());
        }
        command
    }

    fn sync(&self, arguments: &[&str]) -> Command {
        self.program(&[&["sync", "--json"], &JUNE[..], arguments].concat())
    }
}

/// The summary of one account.
fn of<'a>(summary: &'a Value, name: &str) -> &'a Value {
    summary["accounts"].as_array().unwrap().iter().find(|account| account["account"] == name).unwrap()
}

#[track_caller]
fn is_whole(accounts: &Accounts, summary: &Value, name: &str, requisitions: u64) {
    let account = of(summary, name);
    assert_eq!((&account["exit_code"], &account["error"]), (&0.into(), &Value::Null), "{name}: {account}");
    assert_eq!(account["rows"]["purchase_apply"], requisitions, "{name}");
    run(&mut accounts.program(&["verify", "--deep", "--account", name])).expect_code(0);
}

#[test]
fn all_accounts_of_a_file_land_in_one_run() {
    let accounts = Accounts::new(300);
    let summary = run(&mut accounts.sync(&[])).expect_code(0).json();
    assert_eq!((&summary["command"], &summary["exit_code"]), (&"sync".into(), &0.into()));
    for name in ["acme", "beta", "gamma"] {
        is_whole(&accounts, &summary, name, 300);
    }
    let again = run(&mut accounts.sync(&[])).expect_code(0).json();
    for name in ["acme", "beta", "gamma"] {
        assert_eq!(of(&again, name)["calls"], 0, "{name} is covered");
    }
}

/// Where the memory has room for one account only, they take turns.
#[test]
fn accounts_that_find_no_room_wait_for_their_turn() {
    let accounts = Accounts::new(120);
    let summary = run(&mut accounts.sync(&["--max-memory", "53MiB"])).expect_code(0).json();
    for name in ["acme", "beta", "gamma"] {
        is_whole(&accounts, &summary, name, 120);
    }
}

/// An audit asks the ERP of each account, and what fails for one stops no other.
#[test]
fn all_accounts_of_a_file_are_audited() {
    let accounts = Accounts::new(60);
    run(&mut accounts.sync(&[])).expect_code(0);
    accounts.sandbox("gamma").world().lock().add_as_is(Requisition::plain(900_001, "LATE", at("2026-06-10 10:00:00")));
    let audit = ["audit", "--json", "--sample", "100"];
    let said = run(&mut accounts.program(&audit)).expect_code(3).json();
    let late = |name| of(&said, name)["sample"]["late"].clone();
    assert_eq!([late("acme"), late("beta"), late("gamma")], [0, 0, 1], "{said}");
    let said = run(accounts.program(&audit).env("SECRET_OF_beta", "another-secret")).expect_code(4);
    assert!(said.stderr.contains("account: beta"), "{}", said.stderr);
    let codes = ["acme", "beta", "gamma"].map(|name| of(&said.json(), name)["exit_code"].clone());
    assert_eq!(codes, [0, 4, 3]);
    run(&mut accounts.program(&[&audit[..], &["--account", "acme"]].concat())).expect_code(0);
}

/// Each has its own answer or error, and codes combine; one that is named has an object of its own.
#[test]
fn all_accounts_of_a_file_are_checked_and_planned_for() {
    let accounts = Accounts::new(60);
    for command in [&["check", "--json"][..], &["plan", "--json", "--from", "2026-06-01", "--to", "2026-06-30"]] {
        let answered = |said: &Value| {
            ["acme", "beta", "gamma"].map(|name| match of(said, name)["error"]["exit_code"].as_i64() {
                Some(code) => code,
                None if command[0] == "check" => of(said, name)["calls"].as_i64().unwrap() - 1,
                None => of(said, name)["rows"].as_i64().unwrap() - 60,
            })
        };
        let said = run(&mut accounts.program(command)).expect_code(0).json();
        assert_eq!((answered(&said), &said["exit_code"]), ([0, 0, 0], &0.into()), "{said}");
        let mut broken = accounts.program(command);
        broken.env("SECRET_OF_acme", "another-secret").env_remove("SECRET_OF_gamma");
        let said = run(&mut broken).expect_code(2);
        assert_eq!(answered(&said.json()), [4, 0, 2], "{said:?}");
        assert!(said.stderr.contains("account: acme") && said.stderr.contains("account: gamma"), "{}", said.stderr);
        assert!(!said.stderr.contains("account: beta"), "{}", said.stderr);
        let one = run(&mut accounts.program(&[command, &["--account", "beta"]].concat())).expect_code(0).json();
        assert_eq!((&one["account"], &one["command"], one.get("accounts")), (&"beta".into(), &command[0].into(), None));
    }
    let text = run(&mut accounts.program(&["check"])).expect_code(0).stdout;
    assert_eq!(text.matches("accepts the account").count(), 3, "{text}");
}

/// The doctor looks at the place of the lake, and at each account without a call.
#[test]
fn the_doctor_looks_at_all_accounts_of_a_file() {
    let accounts = Accounts::new(20);
    let doctor = ["doctor", "--json"];
    let checks = |said: &Value, name: &str| {
        let checks = of(said, name)["checks"].as_array().unwrap().clone();
        checks.iter().map(|one| one["outcome"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let before = run(&mut accounts.program(&doctor)).expect_code(0).json();
    assert_eq!((&before["is_new"], checks(&before, "acme")), (&true.into(), "works skipped".to_owned()), "{before}");
    assert!(!accounts.folder.path().join("lake").exists());
    run(&mut accounts.sync(&[])).expect_code(0);
    let calls = accounts.sandbox("acme").world().calls().len();
    let after = run(&mut accounts.program(&doctor)).expect_code(0).json();
    assert_eq!((&after["is_new"], checks(&after, "acme")), (&false.into(), "works works".to_owned()), "{after}");
    assert_eq!(accounts.sandbox("acme").world().calls().len(), calls, "no call is spent");

    let log = accounts.folder.path().join("lake/_manifest/account=acme/0000000000000000");
    let manifests: Vec<_> =
        std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    assert!(!manifests.is_empty());
    manifests.iter().for_each(|path| std::fs::write(path, "{}").unwrap());
    let mut broken = accounts.program(&doctor);
    let said = run(broken.env_remove("SECRET_OF_gamma")).expect_code(8).json();
    let of_each = ["acme", "beta", "gamma"].map(|name| checks(&said, name));
    assert_eq!(of_each, ["works fails", "works works", "fails works"], "{said}");
    assert!(said["checks"].as_array().unwrap().iter().all(|one| one["outcome"] != "fails"), "{said}");
    run(&mut accounts.program(&["doctor", "--account", "beta"])).expect_code(0);
}

#[test]
fn what_stops_one_account_stops_no_other() {
    let accounts = Accounts::new(200);
    let said = run(accounts.sync(&[]).env("SECRET_OF_beta", "another-secret")).expect_code(4);
    let summary = said.json();
    assert_eq!((&summary["exit_code"], &of(&summary, "beta")["exit_code"]), (&4.into(), &4.into()));
    assert!(said.stderr.contains("account: beta") && !said.stderr.contains("account: acme"), "{}", said.stderr);
    assert_eq!(accounts.sandbox("beta").world().calls().len(), 1, "one refusal is one call");
    is_whole(&accounts, &summary, "acme", 200);
    is_whole(&accounts, &summary, "gamma", 200);

    // A secret that is not there is that account's failure too, and the rest of the run goes on.
    let said = run(accounts.sync(&[]).env_remove("SECRET_OF_gamma")).expect_code(2);
    let summary = said.json();
    assert_eq!(of(&summary, "gamma")["exit_code"], 2);
    is_whole(&accounts, &summary, "beta", 200);
}

/// Before there is a lake and afterwards.
#[test]
fn a_start_in_the_future_is_its_own_accounts_failure() {
    let accounts = Accounts::new(100);
    let tomorrow = SystemClock.now().plus_seconds(86_400);
    let mut text = accounts.text();
    for (name, from) in [("beta", tomorrow.to_string()), ("acme", "2026-06-01".into()), ("gamma", "2026-06-01".into())]
    {
        text = text.replace(&format!("name = \"{name}\""), &format!("name = \"{name}\"\nfrom = \"{from}\""));
    }
    accounts.write(&text);
    for _ in 0..2 {
        let said = run(&mut accounts.program(&["sync", "--json", "--to", "2026-06-30"])).expect_code(2);
        let summary = said.json();
        assert!(said.stderr.contains("in the future") && said.stderr.contains("account: beta"), "{}", said.stderr);
        assert!(!said.stderr.contains("acme") && !said.stderr.contains("gamma"), "{}", said.stderr);
        assert_eq!((&of(&summary, "beta")["exit_code"], &of(&summary, "acme")["exit_code"]), (&2.into(), &0.into()));
    }
    for name in ["acme", "gamma"] {
        let status = run(&mut accounts.program(&["status", "--json"])).expect_code(0).json();
        assert_eq!(of(&status, name)["rows"]["purchase_apply"], 100, "{name}");
    }
    assert!(accounts.sandbox("beta").world().calls().is_empty());

    // One that is typed is every account's, and no lake is made for it.
    let nowhere = Accounts::new(5);
    let said = run(&mut nowhere.program(&["sync", "--from", &tomorrow.to_string()])).expect_code(2);
    assert_eq!(said.stderr.matches("in the future").count(), 3, "{}", said.stderr);
    assert!(!nowhere.folder.path().join("lake").exists());
}

/// An account whose ERP does not answer does not hold up the others, which are done while it still hangs; an interrupt
/// then ends it.
#[cfg(unix)]
#[test]
fn an_account_that_hangs_holds_up_no_other() {
    use crate::support::process::{at_call, end, signal, told};

    for is_interrupted in [false, true] {
        let accounts = Accounts::new(200);
        let (release, released) = channel::<()>();
        at_call(accounts.sandbox("acme"), 1, move || told(&released));
        let mut command = accounts.sync(&["--log-level", "info"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        for _ in ["beta", "gamma"] {
            let done = lines.find(|line| line.contains("the account is done")).expect("the others are done");
            assert!(!done.contains("acme"), "{done}");
        }
        if is_interrupted {
            signal(child.id(), "TERM");
            assert!(lines.any(|line| line.contains("error[WDT-7108]: interrupted")));
        }
        release.send(()).unwrap();
        lines.for_each(drop);
        let said: Said = end(child);
        let summary = said.expect_code(if is_interrupted { 7 } else { 0 }).json();
        assert_eq!(of(&summary, "acme")["interrupted"], is_interrupted);
        is_whole(&accounts, &summary, "beta", 200);
        is_whole(&accounts, &summary, "gamma", 200);
        if !is_interrupted {
            is_whole(&accounts, &summary, "acme", 200);
        }
    }
}

#[test]
fn one_account_can_be_chosen_and_some_commands_need_it() {
    let accounts = Accounts::new(50);
    let summary = run(&mut accounts.sync(&["--account", "gamma"])).expect_code(0).json();
    assert_eq!(summary["accounts"].as_array().unwrap().len(), 1);
    is_whole(&accounts, &summary, "gamma", 50);
    assert!(accounts.sandbox("acme").world().calls().is_empty());
    let unknown = run(&mut accounts.sync(&["--account", "delta"])).expect_code(2);
    assert!(unknown.stderr.contains("`acme`, `beta`, `gamma`"), "{}", unknown.stderr);
    for command in [&["get", "POA1"][..], &["stop", "POA1"]] {
        let several = run(&mut accounts.program(command)).expect_code(2);
        assert!(several.stderr.contains("--account"), "{command:?}: {}", several.stderr);
        run(&mut accounts.program(&[command, &["--account", "gamma"]].concat())).expect_code(0);
    }
}

#[test]
fn the_file_is_found_and_what_is_typed_goes_before_it() {
    let accounts = Accounts::new(50);
    let path = accounts.folder.path().join("wdt-lake.toml");
    let elsewhere = TempDir::new().unwrap();
    let away = |arguments: &[&str]| {
        let mut command = accounts.program(arguments);
        command.current_dir(elsewhere.path());
        command
    };
    let checked = ["check", "--json", "--account", "acme"];
    run(&mut away(&checked)).expect_code(2);
    run(away(&checked).env("WDT_CONFIG", &path)).expect_code(0);
    let named = run(away(&checked).env("WDT_CONFIG", "nowhere.toml").arg("--config").arg(&path)).expect_code(0);
    assert_eq!(named.json()["account"], "acme");
    assert!(run(&mut away(&["check", "--config", "nowhere.toml"])).expect_code(2).stderr.contains("nowhere.toml"));

    // Paths in the file are relative to its folder, those that are typed to the working folder.
    run(accounts.sync(&[]).current_dir(elsewhere.path()).arg("--config").arg(&path)).expect_code(0);
    assert!(accounts.folder.path().join("lake/_manifest").is_dir() && !elsewhere.path().join("lake").exists());
    run(accounts.sync(&["--lake", "other"]).current_dir(elsewhere.path()).arg("--config").arg(&path)).expect_code(0);
    assert!(elsewhere.path().join("other/_manifest").is_dir());
}

#[test]
fn an_account_of_the_environment_besides_the_file_is_refused() {
    let accounts = Accounts::new(5);
    let said = run(accounts.sync(&[]).env("WDT_SID", "sandbox")).expect_code(2);
    assert!(said.stderr.contains("WDT_SID") && said.stderr.contains("wdt-lake.toml"), "{}", said.stderr);
    // A file without accounts names the lake of the environment's.
    accounts.write("lake = \"lake\"\n");
    let mut command = accounts.sync(&[]);
    let summary = run(command.envs(accounts.sandbox("beta").environment()).env("WDT_ACCOUNT", "beta")).expect_code(0);
    assert_eq!((&summary.json()["account"], summary.json().get("accounts")), (&"beta".into(), None));
}

#[test]
fn what_is_wrong_with_the_file_is_said_with_its_line_and_never_with_a_secret() {
    let accounts = Accounts::new(1);
    let good = accounts.text();
    let add = |line: &str| format!("{good}{line}\n");
    let same_sid = good.replace("sid-gamma", "sid-acme");
    let cases = [
        (add("calls_per_min = 5"), "did you mean `calls_per_minute`?"),
        (add("app_key = \"k\""), "did you mean `appkey`?"),
        (add("lake = \"x\""), "stands at the top of the file"),
        (add("color = \"red\""), "unknown key `color`"),
        (format!("sid = \"x\"\n{good}"), "stands within `[[account]]`"),
        (add("secret = \"s3cret\""), "secret_env = \"NAME\""),
        (add("app_secret = \"s3cret\""), "secret_env = \"NAME\""),
        (add("secret_file = \"s3cret\""), "both set"),
        (add("concurrency = 0"), "concurrency is 1 or more"),
        (add("concurrency = \"4\""), "without quotes"),
        (add("environment = \"test\""), "both set"),
        (add("from = \"yesterday\""), "`from` cannot be read"),
        (add("limit = \" \""), "`limit` is empty"),
        (add("refusals = \"2060\""), "no rule for refusals"),
        (good.replace("\"beta\"", "\"Acme\""), "two accounts are named"),
        (good.replace("name = \"acme\"", "name = \"s3cret s3cret\""), "`name` cannot be read"),
        (good.replace("edition = \"y\"", "edition = \"s3cret\""), "`edition` cannot be read"),
        (same_sid, "the accounts `acme` and `gamma` are one"),
        (good.replace("sid = \"sid-beta\"", ""), "has no sid"),
        ("[account]\nname = \"acme\"\n".to_owned(), "`[[account]]`"),
        (add("secret = \"s3cret"), "line"),
        (add("secret = s3cret"), "line"),
        (add("s3cret"), "line"),
        (add("secret_env = \"s3cret\" s3cret"), "line"),
        (good.replace("secret_env = \"SECRET_OF_beta\"", "secret_env = \"\"\"s3cret"), "line"),
        (good.replace("secret_env = \"SECRET_OF_beta\"", "secret_env = \"s3c\\qret s3cret\""), "line"),
        (good.replace("secret_env = \"SECRET_OF_beta\"", "secret_env = { s3cret = 1 }"), "`secret_env` is no text"),
    ];
    for (text, expected) in cases {
        accounts.write(&text);
        let said = run(&mut accounts.sync(&["--log-level", "trace"])).expect_code(2);
        assert!(said.stderr.contains(expected), "{expected}: {}", said.stderr);
        assert!(said.stderr.contains("line ") && !said.stderr.contains("s3cret"), "{expected}: {}", said.stderr);
        assert!(said.stdout.is_empty() && !accounts.folder.path().join("lake").exists(), "{expected}");
    }
    // The secret itself where its variable's or its file's name should stand.
    for key in ["secret_env", "secret_file"] {
        accounts.write(&good.replace("secret_env = \"SECRET_OF_beta\"", &format!("{key} = \"s3cret\"")));
        let said = run(&mut accounts.sync(&["--account", "beta", "--log-level", "trace"])).expect_code(2);
        assert!(said.stderr.contains("line ") && said.stderr.contains("hint: "), "{}", said.stderr);
        assert!(!format!("{said:?}").contains("s3cret"), "{said:?}");
    }
}

#[test]
fn a_run_of_a_file_tells_no_secret() {
    let accounts = Accounts::new(60);
    std::fs::write(accounts.folder.path().join("key"), accounts.sandbox("gamma").credentials().secret.expose())
        .unwrap();
    accounts.write(&accounts.text().replace("secret_env = \"SECRET_OF_gamma\"", "secret_file = \"key\""));
    let mut command = accounts.sync(&["--log-level", "trace"]);
    let said = run(command.env_remove("SECRET_OF_gamma").env("SECRET_OF_beta", "another-secret")).expect_code(4);
    is_whole(&accounts, &said.json(), "gamma", 60);
    let (secret, salt) = accounts.sandbox("gamma").credentials().secret.expose().split_once(':').unwrap();
    for word in [secret, salt, "another-secret"] {
        assert!(!format!("{said:?}").contains(word), "`{word}` was said");
    }
}

/// The secret that a program prints is used, and nothing of what a program prints is ever said.
#[cfg(unix)]
#[test]
fn a_program_prints_the_secret() {
    use std::os::unix::fs::PermissionsExt as _;

    let accounts = Accounts::new(30);
    let script = |name: &str, text: &str| {
        let path = accounts.folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    };
    let secret = accounts.sandbox("gamma").credentials().secret.expose().to_owned();
    script("print", "echo noise >&2; echo \"$1\"");
    script("fail", "echo m4rker; echo m4rker >&2; exit 7");
    let line = "secret_env = \"SECRET_OF_gamma\"";
    accounts.write(&accounts.text().replace(line, &format!("secret_command = [\"./print\", \"{secret}\"]")));
    let mut command = accounts.sync(&["--log-level", "trace"]);
    let said = run(command.env_remove("SECRET_OF_gamma")).expect_code(0);
    is_whole(&accounts, &said.json(), "gamma", 30);
    assert!(!format!("{said:?}").contains(secret.split(':').next().unwrap()), "{said:?}");

    // It fails for its own account only.
    for (program, word) in [("./fail", "ended with exit code 7"), ("./none", "cannot be started")] {
        accounts.write(&accounts.text().replace(line, &format!("secret_command = [\"{program}\"]")));
        let said = run(&mut accounts.sync(&["--lookback", "1d", "--log-level", "trace"])).expect_code(2);
        assert!(said.stderr.contains(word) && said.stderr.contains("account: gamma"), "{}", said.stderr);
        assert!(!format!("{said:?}").contains("m4rker"), "{said:?}");
        assert_eq!(of(&said.json(), "acme")["exit_code"], 0);
    }
    let twice = format!("{line}\nsecret_command = [\"./print\"]");
    accounts.write(&accounts.text().replace(line, &twice));
    assert!(run(&mut accounts.sync(&[])).expect_code(2).stderr.contains("secret_env and secret_command are both set"));
}

/// Every warning of a run for several accounts says whose it is.
#[test]
fn warnings_of_several_accounts_name_theirs() {
    let accounts = Accounts::new(10);
    run(&mut accounts.sync(&[])).expect_code(0);
    let late = ["sync", "--json", "--from", "2026-08-01", "--to", "2026-08-02"];
    let said = run(&mut accounts.program(&late)).expect_code(0);
    let warnings: Vec<&str> = said.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 3, "{}", said.stderr);
    for (warning, name) in warnings.iter().zip(["acme", "beta", "gamma"]) {
        assert!(warning.starts_with(&format!("warning: {name}: the lake ends at")), "{warning}");
    }
}
