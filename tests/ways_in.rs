//! The commands by which somebody begins: `init`, `config show`, `completions` and `man`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use wdt_lake::sandbox::Sandbox;

use crate::support::{Said, erp, program, run};

const FILE: &str = "wdt-lake.toml";

fn init(folder: &Path, sandbox: &Sandbox) -> Command {
    let [(_, edition), (_, sid), (_, appkey), _, (_, base_url)] = sandbox.environment();
    let mut command = program();
    command.current_dir(folder).args(["init", "--edition", &edition, "--sid", &sid, "--appkey", &appkey]);
    command.args(["--base-url", &base_url]);
    command
}

fn secret(sandbox: &Sandbox) -> String {
    sandbox.credentials().secret.expose().to_owned()
}

#[test]
fn init_writes_a_file_with_which_everything_runs() {
    let (sandbox, folder) = (erp(20, 10, "2026-06-30 23:59:59"), TempDir::new().unwrap());
    let key = secret(&sandbox);
    std::fs::write(folder.path().join("key"), &key).unwrap();
    let mut command = init(folder.path(), &sandbox);
    command.args(["--secret-file", "key", "--from", "2026-06-20"]);
    let said = run(&mut command).expect_code(0);
    assert!(
        said.stdout.contains("wdt-lake.toml is written") && said.stdout.contains("accepts the account"),
        "{said:?}"
    );
    assert_eq!(sandbox.world().calls().len(), 1, "it was tried by one call");
    let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
    assert!(
        text.contains("secret_file = \"key\"") && !text.contains(&key) && !format!("{said:?}").contains(&key),
        "{text}"
    );
    let synced =
        run(program().current_dir(folder.path()).args(["sync", "--json", "--to", "2026-06-30"])).expect_code(0);
    assert_eq!(synced.json()["accounts"][0]["rows"]["purchase_apply"], 20);

    // A file that is there stays as it is.
    let again = |more: &[&str], code| {
        let mut command = init(folder.path(), &sandbox);
        run(command.args(["--secret-file", "key", "--no-check", "--lake", "other"]).args(more)).expect_code(code)
    };
    assert!(again(&[], 2).stderr.contains("--force"));
    assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
    again(&["--force"], 0);
    assert!(std::fs::read_to_string(folder.path().join(FILE)).unwrap().contains("lake = \"other\""));
    again(&["--config", "second.toml"], 0);
    assert!(folder.path().join("second.toml").is_file());
}

#[test]
fn init_writes_no_secret_and_nothing_that_is_wrong() {
    let (sandbox, folder) = (erp(5, 2, "2026-06-30 23:59:59"), TempDir::new().unwrap());
    for (more, word) in [
        (&["--secret-env", "m4rker:salt"][..], "--secret-env names no variable"),
        (&["--secret-file", "m4rker:salt"], "--secret-file names no file"),
        (&["--secret-command", "m4rker:salt"], "--secret-command begins with no program"),
        (&[], "missing: --secret-env"),
        (&["--secret-env", "ACME", "--from", "yesterday"], "hint: "),
        (&["--secret-env", "ACME", "--base-url", "ftp://x"], "base_url"),
        (&["--secret-env", "ACME", "--secret-file", "x"], "cannot be used with"),
    ] {
        let mut command = program();
        command.current_dir(folder.path()).args(["init", "--edition", "y", "--sid", "acme2", "--appkey", "k"]);
        let said = run(command.args(more)).expect_code(2);
        assert!(said.stderr.contains(word) && !format!("{said:?}").contains("m4rker"), "{word}: {said:?}");
        assert!(!folder.path().join(FILE).exists(), "{word}");
    }
    // What a name may be is said.
    let said = run(program().current_dir(folder.path()).args(["init", "--name", "a b"])).expect_code(2);
    assert!(said.stderr.contains("hint: a name starts with a letter"), "{said:?}");
    // A secret that is not there yet is told by the call, and the file stays for it.
    let said = run(init(folder.path(), &sandbox).args(["--secret-env", "ACME_APPSECRET"])).expect_code(2);
    assert!(said.stderr.contains("is not set") && folder.path().join(FILE).is_file(), "{said:?}");
    let said = run(init(folder.path(), &sandbox)
        .args(["--secret-env", "ACME_APPSECRET", "--force"])
        .env("ACME_APPSECRET", "wrong"));
    said.expect_code(4);
}

/// Answers questions on a terminal: each answer is typed when a question has come that ends with a colon and a blank.
const AT_A_TERMINAL: &str = r#"
import json, os, pty, sys
answers, command = json.loads(sys.argv[1]), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execv(command[0], command)
said = asked = b""
while True:
    try:
        taken = os.read(terminal, 4096)
    except OSError:
        taken = b""
    if not taken:
        break
    said, asked = said + taken, asked + taken
    if asked.endswith(b": ") and answers:
        asked = b""
        os.write(terminal, answers.pop(0).encode() + b"\n")
sys.stdout.buffer.write(said)
assert not answers, answers
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[test]
fn init_asks_on_a_terminal_until_it_has_answers() {
    let (sandbox, folder) = (erp(5, 2, "2026-06-30 23:59:59"), TempDir::new().unwrap());
    let [(_, edition), (_, sid), (_, appkey), _, (_, base_url)] = sandbox.environment();
    let answers = serde_json::json!([
        "basic",
        edition,
        sid,
        appkey,
        "",
        "m4rker:salt",
        "ACME_APPSECRET",
        "",
        "yesterday",
        "2026-06-01"
    ]);
    let program = env!("CARGO_BIN_EXE_wdt-lake");
    let mut command = Command::new("python3");
    command.args(["-c", AT_A_TERMINAL, &answers.to_string(), program, "init", "--base-url", &base_url]);
    command.current_dir(folder.path()).env("ACME_APPSECRET", secret(&sandbox)).stdin(Stdio::null());
    let said = run(&mut command).expect_code(0);
    for question in [
        "Edition",
        "Seller account",
        "Interface account",
        "The app secret is in",
        "Name of the variable",
        "Lake",
        "First modified",
    ] {
        assert!(said.stdout.contains(question), "{question}: {}", said.stdout);
    }
    let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
    for line in ["secret_env = \"ACME_APPSECRET\"", "lake = \"lake\"", "from = \"2026-06-01\""] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("m4rker") && !text.contains(&secret(&sandbox)), "{text}");
    assert_eq!(sandbox.world().calls().len(), 1);
}

fn show(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = program();
    command.current_dir(folder).args(["config", "show"]).args(arguments);
    command
}

/// Where a setting comes from, and its value.
fn setting(of: &Value, key: &str) -> (Value, String) {
    let all = of["settings"].as_array().unwrap();
    let one = all.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("{key}: {of}"));
    let from = match &one["from"] {
        from if from == "file" => format!("line {}", one["line"]),
        from if from == "environment" => one["variable"].as_str().unwrap().to_owned(),
        from => from.as_str().unwrap().to_owned(),
    };
    (one["value"].clone(), from)
}

const TWO: &str = "lake = \"s3://b/lake\"\npublish = [\"delta\"]\n\n[[account]]\nname = \"acme\"\nedition = \"enterprise\"\nsid = \"acme2\"\n\
appkey = \"acme2-ot\"\nsecret_env = \"S3cr3tM4rker\"\nfrom = \"2026-01-01\"\nkeep_removed = \"15m\"\n\n[[account]]\nedition = \"flagship\"\n\
environment = \"test\"\nsid = \"beta3\"\nappkey = \"0a1b2c3dm4rker\"\nsecret_command = [\"sh\", \"-c\", \"touch ran; echo m4rker\"]\nallow_stop = false\n\
max_stops = 20\nrefusals = \"m4rker=business\"\n";

#[test]
fn config_show_says_what_counts_and_where_it_comes_from() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join(FILE), TWO).unwrap();
    let json = run(&mut show(folder.path(), &["--json"])).expect_code(0).json();
    let [acme, beta] = [0, 1].map(|nth| json["accounts"][nth].clone());
    assert_eq!((&json["file"], setting(&json, "lake")), (&FILE.into(), ("s3://b/lake".into(), "line 1".into())));
    for (account, key, value, from) in [
        (&acme, "edition", "enterprise".into(), "line 6"),
        (&acme, "base_url", "https://api.wangdian.cn/openapi2".into(), "default"),
        (&acme, "appkey", "acme2-ot".into(), "line 8"),
        (&acme, "secret_env", "(hidden)".into(), "line 9"),
        (&acme, "from", "2026-01-01 00:00:00".into(), "line 10"),
        (&acme, "keep_removed", "15m".into(), "line 11"),
        (&acme, "calls_per_minute", "60".into(), "default"),
        (&acme, "publish", "delta".into(), "line 2"),
        (&acme, "max_stops", Value::Null, "default"),
        (&beta, "base_url", "http://47.92.239.46/openapi".into(), "line 15"),
        (&beta, "appkey", "(hidden)".into(), "line 17"),
        (&beta, "secret_command", "(hidden)".into(), "line 18"),
        (&beta, "allow_stop", "false".into(), "line 19"),
        (&beta, "max_stops", "20".into(), "line 20"),
        (&beta, "keep_removed", "7d".into(), "default"),
    ] {
        let found: (Value, String) = setting(account, key);
        assert_eq!(found, (value, from.to_owned()), "{key}");
    }
    assert_eq!((&acme["account"], &beta["account"]), (&"acme".into(), &"beta3".into()));
    // Keys in addresses, where some write them.
    let odd = TWO
        .replace("s3://b/lake", "s3://AKID:m4rker@b/lake")
        .replace("environment = \"test\"", "base_url = \"https://gateway.example.com/m4rker0a1b2c3d/openapi\"");
    let odd_file = folder.path().join("odd.toml");
    std::fs::write(&odd_file, odd).unwrap();
    let said = run(&mut show(folder.path(), &["--config", "odd.toml"])).expect_code(0);
    assert!(
        said.stdout.contains("https://gateway.example.com/(hidden)") && !format!("{said:?}").contains("m4rker"),
        "{said:?}"
    );
    let text = run(&mut show(folder.path(), &[])).expect_code(0);
    let secrets =
        |said: &Said| ["4rker", "S3cr3t", "0a1b2c3d"].into_iter().find(|word| format!("{said:?}").contains(word));
    assert_eq!(secrets(&text), None, "{text:?}");
    assert!(text.stdout.contains("  secret_command    (hidden)"), "{}", text.stdout);
    assert!(!folder.path().join("ran").exists(), "no program was started");
    let one = run(&mut show(folder.path(), &["--account", "acme", "--json"])).expect_code(0).json();
    assert_eq!(one["accounts"].as_array().unwrap().len(), 1);
    run(&mut show(folder.path(), &["--account", "nobody"])).expect_code(2);
}

#[test]
fn config_show_knows_the_environment_and_what_is_missing_of_it() {
    let folder = TempDir::new().unwrap();
    let none = run(&mut show(folder.path(), &["--json"])).expect_code(0).json();
    assert_eq!((&none["file"], none["accounts"].as_array().map(Vec::len)), (&Value::Null, Some(0)));
    let mut command = show(folder.path(), &["--json"]);
    let whole = [
        ("WDT_EDITION", "y"),
        ("WDT_SID", "acme2"),
        ("WDT_APPKEY", "k"),
        ("WDT_APPSECRET", "m4rker"),
        ("WDT_MAX_STOPS", "3"),
    ];
    let said = run(command.envs(whole)).expect_code(0);
    let account = &said.json()["accounts"][0];
    for (key, value, from) in [
        ("edition", "y", "WDT_EDITION"),
        ("sid", "acme2", "WDT_SID"),
        ("secret", "(hidden)", "WDT_APPSECRET"),
        ("max_stops", "3", "WDT_MAX_STOPS"),
        ("concurrency", "4", "default"),
    ] {
        assert_eq!(setting(account, key), (value.into(), from.to_owned()));
    }
    assert!(said.json()["variables"].as_array().unwrap().contains(&"WDT_MAX_STOPS".into()), "{said:?}");
    assert!(!format!("{said:?}").contains("m4rker"), "{said:?}");
    let half =
        run(show(folder.path(), &[]).env("WDT_SID", "acme2").env("WDT_APPSECRET_FILE", "/run/m4rker")).expect_code(2);
    assert!(half.stdout.contains("acme2") && half.stdout.contains("WDT_APPSECRET_FILE"), "{half:?}");
    assert!(half.stderr.contains("WDT_EDITION") && !format!("{half:?}").contains("m4rker"), "{half:?}");
}

/// Whether a shell is installed.
fn has(shell: &str) -> bool {
    Command::new(shell).arg("-c").arg("true").stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn completions_are_scripts_that_shells_read() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(program().args(["completions", shell])).expect_code(0).stdout;
        for word in ["wdt-lake", "status", "metrics-file"] {
            assert!(script.contains(word), "{shell} knows {word}");
        }
        if !["bash", "zsh", "fish"].contains(&shell) || !has(shell) {
            continue;
        }
        let mut reading = Command::new(shell).arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        reading.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = reading.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
    }
    run(program().args(["completions", "csh"])).expect_code(2);
    // And bash completes by it.
    let script = run(program().args(["completions", "bash"])).stdout;
    let ask = "COMP_WORDS=(wdt-lake sta); COMP_CWORD=1; COMPREPLY=(); by=$(complete -p wdt-lake | sed 's/.* -F //; s/ .*//'); \
               \"$by\" wdt-lake sta wdt-lake; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let said = run(Command::new("bash").arg("-c").arg(format!("{script}\n{ask}")));
    assert_eq!(said.stdout.trim(), "status", "{said:?}");
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let folder = TempDir::new().unwrap();
    let pages = folder.path().join("share/man1");
    run(program().arg("man").arg(&pages)).expect_code(0);
    let first = std::fs::read_to_string(pages.join("wdt-lake.1")).unwrap();
    assert!(first.contains(".TH wdt-lake 1"), "{first}");
    let help = run(program().arg("--help")).stdout;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.split("\n\n").next().unwrap().lines();
    let names: Vec<&str> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let page =
            std::fs::read_to_string(pages.join(format!("wdt-lake-{name}.1"))).unwrap_or_else(|_| panic!("{name}"));
        assert!(page.contains(".SH") && page.contains(name), "{name}");
    }
    let printed = run(program().arg("man")).expect_code(0).stdout;
    assert!(printed.contains(".TH wdt-lake 1"));
    std::fs::write(folder.path().join("file"), "x").unwrap();
    run(program().arg("man").arg(folder.path().join("file/below"))).expect_code(1);
}
