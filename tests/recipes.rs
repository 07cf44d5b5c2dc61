//! The recipes that people copy, tried as far as a test can: `recipes/` with its paths put where this test has its own,
//! against the sandbox, robots on loopback, and the checkers of systemd, Kubernetes and Airflow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use wdt_lake::sandbox::{Behaviour, Sandbox};

use crate::many_accounts::Many;
use crate::support::process::{end, signal, start};
use crate::support::python;
use crate::support::s3::S3Server;
use crate::support::{LakeDir, Said, check_with_readers, copy_folder, erp, program, program_at, run, sync};

const FROM: [&str; 2] = ["--from", "2026-05-20"];

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A machine on which the recipes are installed: their paths lie in one folder, with the sandbox's secret.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new(sandbox: &Sandbox) -> Self {
        let machine = Self { folder: TempDir::new().unwrap() };
        for folder in ["etc", "lib", "log", "state"] {
            std::fs::create_dir(machine.path(folder)).unwrap();
        }
        for recipe in ["run.sh", "alert.py"] {
            std::fs::copy(project("recipes").join(recipe), machine.path("lib").join(recipe)).unwrap();
        }
        let environment: BTreeMap<&str, String> = sandbox.environment().into_iter().collect();
        std::fs::write(machine.path("etc/appsecret"), &environment["WDT_APPSECRET"]).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lake(&self) -> String {
        text(&self.path("state/lake")).to_owned()
    }

    /// A recipe with the paths of this machine, and with the sandbox's account in the place of the example's.
    fn recipe(&self, name: &str) -> String {
        let mut recipe = std::fs::read_to_string(project("recipes").join(name)).unwrap();
        let account = [("acme2-ot", "sandbox-test".to_owned()), ("acme2", "sandbox".to_owned())];
        let folders = [
            ("/etc/wdt-lake", "etc"),
            ("/usr/local/lib/wdt-lake", "lib"),
            ("/var/lib/wdt-lake", "state"),
            ("/var/log/wdt-lake", "log"),
        ];
        let folders = folders.map(|(example, name)| (example, text(&self.path(name)).to_owned()));
        for (example, own) in folders.into_iter().chain(account) {
            recipe = recipe.replace(example, &own);
        }
        recipe
    }

    /// A shell that runs `script` with nothing of this process's environment but the programs and the sandbox's
    /// address.
    fn shell(&self, sandbox: &Sandbox, script: &str) -> Command {
        let mut command = Command::new("sh");
        bare(&mut command).args(["-c", script]).env("PATH", programs()).current_dir(&self.folder);
        command.envs(sandbox.environment().into_iter().filter(|(name, _)| *name == "WDT_BASE_URL"));
        command
    }
}

/// Takes the environment of this process from a command, but for the home folder, by which some machines find Python.
fn bare(command: &mut Command) -> &mut Command {
    command.env_clear().envs(std::env::var("HOME").ok().map(|home| ("HOME", home))).stdin(Stdio::null())
}

/// A `PATH` with the program before all others.
fn programs() -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_wdt-lake")).parent().unwrap();
    format!("{}:{}", text(folder), std::env::var("PATH").unwrap())
}

/// A few windows of the sandbox, and a first sync by hand, as the page says.
fn begun() -> (Sandbox, Machine) {
    let sandbox = erp(120, 40, "2026-06-30 23:59:59");
    let machine = Machine::new(&sandbox);
    run(program_at(&sandbox).args(["sync", "--lake", &machine.lake(), "--to", "2026-06-01"]).args(FROM)).expect_code(0);
    (sandbox, machine)
}

/// What `status` says of a lake's only account.
fn status(lake: &str) -> Value {
    run(program().args(["status", "--json", "--lake", lake])).expect_code(0).json()["accounts"][0].clone()
}

/// A program in the place of `wdt-lake`: its runs end with `codes`, one after the other.
struct Stub {
    folder: TempDir,
}

impl Stub {
    fn new(codes: &[i32], before: &str) -> Self {
        let stub = Self { folder: TempDir::new().unwrap() };
        let mut lines = String::new();
        codes.iter().for_each(|code| writeln!(lines, "{code}").unwrap());
        std::fs::write(stub.path("codes"), lines).unwrap();
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>{0}/calls\n{before}\ncode=$(sed -n \"$(wc -l <{0}/calls)p\" {0}/codes)\n\
             echo \"{{\\\"command\\\":\\\"sync\\\",\\\"account\\\":\\\"acme\\\",\\\"exit_code\\\":$code}}\"\nexit \"$code\"\n",
            text(stub.folder.path())
        );
        let program = stub.path("wdt-lake");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        stub
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn programs(&self) -> String {
        format!("{}:{}", text(self.folder.path()), std::env::var("PATH").unwrap())
    }

    /// `run.sh` with this program, which pauses for `pause` seconds and has no robot to tell.
    fn run_sh(&self, pause: &str) -> Command {
        let mut command = Command::new(project("recipes/run.sh"));
        bare(&mut command).args(["sync", "--lake", "lake"]);
        command.env("PATH", self.programs()).env("RUN_PAUSE", pause);
        command
    }

    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }
}

#[test]
fn robots_are_told_in_their_own_form_and_the_address_is_never_printed() {
    let said = run(Command::new("python3").arg(project("tests/recipes/alerts.py")).arg(project("recipes/alert.py")));
    said.expect_code(0);
}

/// Codes of the program, how often it should run, the exit code of the script, and whether somebody is told.
#[test]
fn the_wrapper_runs_again_what_may_be_run_again_and_tells_the_rest() {
    let cases: [(&[i32], usize, i32, Option<i32>); 9] = [
        (&[0], 1, 0, None),
        (&[3], 1, 0, Some(3)),
        (&[5, 6, 0], 3, 0, None),
        (&[7, 3], 2, 0, Some(3)),
        (&[7, 5, 6, 0], 3, 6, Some(6)),
        (&[5, 4, 0], 2, 4, Some(4)),
        (&[1, 0], 1, 1, Some(1)),
        (&[2, 0], 1, 2, Some(2)),
        (&[8, 0], 1, 8, Some(8)),
    ];
    for (codes, calls, code, told) in cases {
        let stub = Stub::new(codes, "");
        let said = run(&mut stub.run_sh("0")).expect_code(code);
        assert_eq!(stub.calls(), vec!["sync --lake lake --json"; calls], "{codes:?}");
        let alert = said.stdout.lines().find(|line| line.starts_with("[wdt-lake]"));
        match told {
            None => assert_eq!(alert, None, "{codes:?}"),
            Some(last) => assert!(alert.is_some_and(|line| line.contains(&format!("exit code {last}:"))), "{said:?}"),
        }
        let summaries = said.stdout.lines().filter(|line| line.starts_with('{'));
        assert_eq!(summaries.count(), calls, "every summary is printed: {said:?}");
    }
}

#[test]
fn the_wrapper_passes_a_signal_on_and_waits_for_the_end() {
    let stub =
        Stub::new(&[7, 0], "trap 'ended=yes' TERM\necho started >&2\nwhile [ -z \"$ended\" ]; do sleep 0.1; done");
    let mut child = start(&mut stub.run_sh("0"));
    let mut line = String::new();
    let mut messages = BufReader::new(child.stderr.take().unwrap());
    messages.read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    signal(child.id(), "TERM");
    let said = end(child).expect_code(7);
    assert_eq!(stub.calls().len(), 1, "nothing runs again");
    assert!(said.stdout.contains("\"exit_code\":7") && !said.stdout.contains("[wdt-lake]"), "{said:?}");
}

/// The lines of a file in `/etc/cron.d`: its variables, and its commands without schedule and user.
fn cron(file: &str) -> (Vec<(String, String)>, Vec<String>) {
    let (mut variables, mut commands) = (Vec::new(), Vec::new());
    for line in file.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.contains(' ')) {
            variables.push((name.to_owned(), value.to_owned()));
        } else {
            assert!(!line.contains('%'), "cron takes a percent sign for the end of the command");
            let fields: Vec<&str> = line.splitn(7, ' ').collect();
            assert_eq!((&fields[1..5], fields[5]), (&["*", "*", "*", "*"][..], "wdt-lake"));
            commands.push(fields[6].to_owned());
        }
    }
    (variables, commands)
}

#[test]
fn the_lines_of_cron_sync_and_watch_the_lake() {
    let (sandbox, machine) = begun();
    let (variables, commands) = cron(&machine.recipe("wdt-lake.cron"));
    let line = |command: &str| {
        let mut shell = machine.shell(&sandbox, command);
        shell.envs(variables.iter().filter(|(name, _)| name.starts_with("WDT_")).cloned());
        run(&mut shell)
    };
    let [sync, watch] = &commands[..] else { panic!("{commands:?}") };
    let said = line(sync).expect_code(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "cron mails what is printed");
    assert_eq!(status(&machine.lake())["rows"]["purchase_apply"], 120);
    let log = std::fs::read_to_string(machine.path("log/sync.log")).unwrap();
    assert!(log.starts_with('{'), "the summary stands in the log: {log}");

    let said = line(watch).expect_code(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    let strict = watch.replace("--max-age 30m", "--max-age 0s");
    assert!(line(&strict).expect_code(0).stdout.contains("the last success was at"));

    // While the lock is held, a run is left out.
    let lock = machine.path("state/cron.lock");
    let mut holder = Command::new("flock");
    holder.arg(&lock).args(["sh", "-c", "echo held; read -r end"]);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut held = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut held).unwrap();
    let said = line(sync).expect_code(1);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    holder.stdin.take().unwrap().write_all(b"end\n").unwrap();
    holder.wait().unwrap();
    assert_eq!(std::fs::read_to_string(machine.path("log/sync.log")).unwrap(), log);
}

#[test]
fn the_shell_task_of_dolphinscheduler_syncs() {
    let (sandbox, machine) = begun();
    let script = machine.recipe("dolphinscheduler.sh");
    assert!(!script.contains("${") && !script.contains("$["), "DolphinScheduler would replace it");
    let said = run(&mut machine.shell(&sandbox, &script)).expect_code(0);
    assert_eq!(said.json()["exit_code"], 0);
    assert_eq!(status(&machine.lake())["rows"]["purchase_apply"], 120);
}

/// A unit's settings, in order.
fn settings(unit: &str) -> Vec<(&str, &str)> {
    unit.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect()
}

#[test]
fn the_units_of_systemd_are_sound_and_their_command_syncs() {
    let (sandbox, machine) = begun();
    let units = ["wdt-lake.service", "wdt-lake.timer"].map(|name| {
        std::fs::write(machine.path(name), machine.recipe(name)).unwrap();
        machine.path(name)
    });
    let service = std::fs::read_to_string(&units[0]).unwrap();
    let settings = settings(&service);
    let all =
        |wanted: &str| settings.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| *value).collect::<Vec<_>>();

    // The command, with the variables as systemd gives them and the credential in its folder.
    let credentials = machine.path("credentials");
    std::fs::create_dir(&credentials).unwrap();
    for credential in all("LoadCredential") {
        let (name, file) = credential.split_once(':').unwrap();
        let held = std::fs::read(file).unwrap_or_default();
        std::fs::write(credentials.join(name), held).unwrap();
    }
    let variables = all("Environment").join(" ").replace("%d", text(&credentials));
    let said = run(&mut machine.shell(&sandbox, &format!("{variables} exec {}", all("ExecStart")[0]))).expect_code(0);
    assert_eq!(said.json()["exit_code"], 0);
    assert_eq!(status(&machine.lake())["rows"]["purchase_apply"], 120);

    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        let said = b"\n*** NOT TESTED: the units of systemd are read by its own checker only where there is `systemd-analyze`. ***\n\n";
        std::io::stderr().write_all(said).unwrap();
        return;
    }
    let said = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units)).expect_code(0);
    assert_eq!(said.stderr, "");
    // The checker finds what is misspelled.
    std::fs::write(&units[0], service.replace("LoadCredential", "LoadCredentials")).unwrap();
    let said = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units));
    assert!(said.stderr.contains("LoadCredentials"), "{said:?}");
}

#[test]
fn the_cron_job_of_kubernetes_fits_its_schemas_and_syncs() {
    let (sandbox, machine) = begun();
    let recipe = project("recipes/kubernetes.yaml");
    let checked = run(python::KUBERNETES.command().arg(project("tests/recipes/cronjob.py")).arg(recipe));
    let job = checked.expect_code(0).json();
    // All codes of the page that are neither success nor to be run again.
    let page = std::fs::read_to_string(project("docs/exit-codes.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse::<u64>().ok());
    let failing: Vec<u64> = rows.filter(|code| ![0, 5, 6, 7].contains(code)).take(5).collect();
    assert_eq!(job["fail"], serde_json::json!(failing));

    let mut command = Command::new(env!("CARGO_BIN_EXE_wdt-lake"));
    command.env_clear();
    for (name, value) in job["environment"].as_object().unwrap() {
        command.env(name, value.as_str().unwrap());
    }
    // What differs here: the account, and where the folders are mounted.
    command.envs([("WDT_SID", "sandbox"), ("WDT_APPKEY", "sandbox-test")]);
    command.env("WDT_APPSECRET_FILE", machine.path("etc/appsecret")).env("TMPDIR", machine.path("state"));
    command.envs(sandbox.environment().into_iter().filter(|(name, _)| *name == "WDT_BASE_URL"));
    let arguments = job["args"].as_array().unwrap().iter().map(|one| one.as_str().unwrap());
    let lake = machine.lake();
    command.args(arguments.map(|one| if one.starts_with("s3://") { lake.as_str() } else { one }));
    assert_eq!(run(&mut command).expect_code(0).json()["exit_code"], 0);
    assert_eq!(status(&lake)["rows"]["purchase_apply"], 120);
}

/// All pods together sync every account once.
#[test]
fn the_indexed_job_of_kubernetes_fits_its_schemas_and_syncs_every_account() {
    let many = Many::new(9, 20, Behaviour::default());
    let recipe = project("recipes/kubernetes-shards.yaml");
    let checked = run(python::KUBERNETES.command().arg(project("tests/recipes/shards.py")).arg(recipe));
    let job = checked.expect_code(0).json();
    assert_eq!(job["fail"], serde_json::json!([1, 2, 3, 4, 8]));
    let lake = many.path("lake");
    let mut synced = Vec::new();
    for pod in job["pods"].as_array().unwrap() {
        let arguments = pod.as_array().unwrap().iter().map(|one| one.as_str().unwrap());
        let arguments: Vec<&str> = arguments.map(|one| if one.starts_with("s3://") { &lake } else { one }).collect();
        let summary =
            run(&mut many.program(&[&arguments[..], &["--from", "2026-06-01"]].concat())).expect_code(0).json();
        synced.extend(summary["accounts"].as_array().unwrap().iter().map(|one| one["account"].to_string()));
    }
    synced.sort_unstable();
    assert_eq!(synced, (1..=9).map(|nth| format!("{:?}", Many::name(nth))).collect::<Vec<_>>());
    run(&mut many.program(&["verify", "--lake", &lake])).expect_code(0);
}

/// Airflow's environment takes a minute to make and hundreds of megabytes, so `.ci/long` alone tries it.
#[test]
fn the_dag_of_airflow_does_with_each_exit_code_what_it_should() {
    if std::env::var_os("WDT_AIRFLOW").is_none() {
        let said = b"\n*** NOT TESTED: the DAG of Airflow. Set WDT_AIRFLOW=1, as `.ci/long` does. ***\n\n";
        std::io::stderr().write_all(said).unwrap();
        return;
    }
    for airflow in [&python::AIRFLOW_2, &python::AIRFLOW_3] {
        let (stub, home) = (Stub::new(&[], ""), TempDir::new().unwrap());
        let dags = home.path().join("dags");
        std::fs::create_dir(&dags).unwrap();
        let alert = stub.path("alert");
        std::fs::write(&alert, format!("#!/bin/sh\necho \"$1\" >>{}\n", text(&stub.path("told")))).unwrap();
        std::fs::set_permissions(&alert, std::fs::Permissions::from_mode(0o755)).unwrap();
        let recipe = std::fs::read_to_string(project("recipes/airflow_dag.py")).unwrap();
        let recipe = recipe.replace("/usr/local/lib/wdt-lake/alert.py", text(&alert));
        std::fs::write(dags.join("airflow_dag.py"), recipe).unwrap();
        let mut command = airflow.command();
        command.arg(project("tests/recipes/dag.py")).arg(&dags).arg(stub.folder.path());
        // The exit codes of the runs, one after the other.
        command.args(["0", "3", "5,0", "6,7,3", "7,7,7,7", "5,4,0", "1,0", "2,0", "4,0", "8,0"]);
        let said = run(command.env("PATH", stub.programs()).env("AIRFLOW_HOME", home.path())).expect_code(0);
        let ends: Value = serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap();
        let wanted = serde_json::json!({
            "0": ["success", 1, []], "3": ["success", 1, ["3"]],
            "5,0": ["success", 2, []], "6,7,3": ["success", 3, ["3"]], "7,7,7,7": ["failed", 4, []],
            "5,4,0": ["failed", 2, ["4"]], "1,0": ["failed", 1, ["1"]], "2,0": ["failed", 1, ["2"]],
            "4,0": ["failed", 1, ["4"]], "8,0": ["failed", 1, ["8"]],
        });
        assert_eq!(ends, wanted);
    }
}

/// `backup.py` beside a writer, which `meanwhile` is the arguments of; how often it asked `verify`, and the backup.
fn back_up(sandbox: &Sandbox, lake: &LakeDir, backups: &Path, meanwhile: &[&str]) -> (u64, PathBuf) {
    let mut command = Command::new("python3");
    command.arg(project("tests/recipes/backups.py")).arg(project("recipes/backup.py")).arg(lake.path()).arg(backups);
    if !meanwhile.is_empty() {
        command.args(["wdt-lake", "sync", "--compact", "off", "--lake", &lake.text()]).args(meanwhile);
    }
    bare(&mut command).envs(sandbox.environment()).env("PATH", programs());
    let said = run(&mut command).expect_code(0);
    let made = said.stderr.lines().rfind(|line| line.starts_with(text(backups))).unwrap();
    (said.json()["verified"].as_u64().unwrap(), made.into())
}

#[test]
fn a_backup_beside_a_writer_is_sound_and_a_restored_lake_goes_on() {
    let (sandbox, lake) = (erp(300, 40, "2026-06-30 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &["--compact", "off", "--from", "2026-05-20", "--to", "2026-06-05"]).expect_code(0);
    let backups = TempDir::new().unwrap();
    let backups = backups.path();
    let covered = |lake: &Path| status(text(lake))["coverage"][0]["end"].as_str().unwrap().to_owned();

    let (verified, first) = back_up(&sandbox, &lake, &backups.join("beside"), &["--to", "2026-06-20"]);
    assert_eq!(
        (verified, covered(&first).as_str()),
        (1, "2026-06-05T23:59:59+08:00"),
        "what came meanwhile is no part of it"
    );
    let (verified, second) =
        back_up(&sandbox, &lake, &backups.join("replaced"), &["--rewalk", "2026-05-25..2026-06-01"]);
    assert_eq!(
        (verified, covered(&second).as_str()),
        (2, "2026-06-20T23:59:59+08:00"),
        "files went before they were copied"
    );

    let rows = backups.join("rows.parquet");
    let changes = |lake: &LakeDir, arguments: &[&str]| {
        let lake = lake.text();
        run(program()
            .args(["changes", "purchase_apply", "--json", "--lake", &lake, "--out", text(&rows)])
            .args(arguments))
    };
    let token = changes(&lake, &[]).expect_code(0).json()["token"].as_str().unwrap().to_owned();
    for (backup, code) in [(first, 2), (second, 0)] {
        let restored = LakeDir::of(&backup);
        changes(&restored, &["--since", &token]).expect_code(code);
        sync(&sandbox, &restored, &[]).expect_code(0);
        let said = run(program().args(["verify", "--json", "--lake", &restored.text()])).expect_code(0);
        assert!(!said.stdout.contains("no manifest names"), "nothing is left over: {}", said.stdout);
        let world = sandbox.world().lock();
        check_with_readers(&sandbox, &restored, world.journal().versions());
    }
}

#[test]
fn a_backup_links_what_the_one_before_has() {
    use std::os::unix::fs::MetadataExt as _;

    let (sandbox, lake) = (erp(60, 20, "2026-06-30 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &["--compact", "off", "--from", "2026-06-01", "--to", "2026-06-20"]).expect_code(0);
    let folder = TempDir::new().unwrap();
    let backups = folder.path().join("lake");
    // An older backup, as if it had been made a day ago.
    let (_, made) = back_up(&sandbox, &lake, &backups, &[]);
    let older = backups.join("20200101T000000");
    std::fs::rename(made, &older).unwrap();
    sync(&sandbox, &lake, &["--compact", "off"]).expect_code(0);
    let (_, newer) = back_up(&sandbox, &lake, &backups, &[]);
    let inode = |backup: &Path, name: &str| std::fs::metadata(backup.join(name)).ok().map(|found| found.ino());
    let names: Vec<String> = lake.files().into_iter().filter(|name| !name.starts_with("_lease")).collect();
    let shared = names.iter().filter(|name| inode(&older, name).is_some_and(|one| inode(&newer, name) == Some(one)));
    assert!(
        shared.clone().any(|name| name.ends_with(".parquet")) && shared.clone().any(|name| name.ends_with(".json"))
    );
    assert!(names.iter().all(|name| inode(&newer, name).is_some_and(|one| inode(&lake.path(), name) != Some(one))));
}

#[test]
fn a_lake_that_moved_to_a_bucket_goes_on() {
    let (sandbox, lake, server) = (erp(120, 40, "2026-06-30 23:59:59"), LakeDir::new(), S3Server::start());
    sync(&sandbox, &lake, &["--from", "2026-05-20", "--to", "2026-06-05"]).expect_code(0);
    let bucket = server.bucket();
    copy_folder(&lake.path(), &server.folder(&bucket).join("wangdian"));
    let moved = format!("s3://{bucket}/wangdian");
    let at_bucket = |command: &mut Command| -> Said { run(command.envs(server.environment())) };
    for command in ["doctor", "verify"] {
        at_bucket(program().args([command, "--lake", &moved])).expect_code(0);
    }
    let said = at_bucket(program_at(&sandbox).args(["sync", "--json", "--lake", &moved])).expect_code(0).json();
    assert_eq!(said["range"]["start"], "2026-05-20T00:00:00+08:00");
    let said = at_bucket(program().args(["status", "--json", "--lake", &moved])).expect_code(0).json();
    assert_eq!(said["accounts"][0]["rows"]["purchase_apply"], 120);
    at_bucket(program().args(["verify", "--lake", &moved])).expect_code(0);
}

/// Every query of the dashboard names metrics that a run writes, and every metric has its place there.
#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let (sandbox, lake, folder) = (erp(30, 10, "2026-06-30 23:59:59"), LakeDir::new(), TempDir::new().unwrap());
    let file = folder.path().join("wdt-lake.prom");
    sync(&sandbox, &lake, &["--from", "2026-06-20", "--to", "2026-06-30", "--metrics-file", text(&file)])
        .expect_code(0);
    let metrics = std::fs::read_to_string(&file).unwrap();
    let written: BTreeSet<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(written.len() > 15, "{written:?}");

    let dashboard = std::fs::read_to_string(project("recipes/grafana.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut asked = BTreeSet::new();
    let mut take = |query: &Value| {
        let query = query.as_str().expect("a query");
        let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let named: Vec<String> = words.filter(|word| word.starts_with("wdt_lake_")).map(str::to_owned).collect();
        assert!(!named.is_empty(), "{query}");
        asked.extend(named);
    };
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        targets.iter().for_each(|target| take(&target["expr"]));
    }
    let queries = dashboard["templating"]["list"].as_array().unwrap().iter().filter(|one| one["type"] == "query");
    queries.for_each(|one| take(&one["query"]["query"]));
    let asked: BTreeSet<&str> = asked.iter().map(String::as_str).collect();
    assert_eq!(asked.difference(&written).collect::<Vec<_>>(), Vec::<&&str>::new(), "nobody writes these");
    let unseen: Vec<_> = written.difference(&asked).collect();
    assert_eq!(unseen, [&"wdt_lake_build_info"], "they have no place on the dashboard");
    // What the page proposes as alerts is written too.
    for page in ["docs/operations.md", "docs/zh/operations.md"] {
        let page = std::fs::read_to_string(project(page)).unwrap();
        let words = page.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for word in words.filter(|word| word.starts_with("wdt_lake_") && !word.ends_with('_')) {
            assert!(written.contains(word), "{word}");
        }
    }
}
