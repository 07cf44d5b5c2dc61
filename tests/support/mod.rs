//! What the tests share: a sandbox, the real program beside it, and what they say.

#[cfg(unix)]
pub(crate) mod campaign;
pub(crate) mod committed;
pub(crate) mod creates;
pub(crate) mod delta;
pub(crate) mod fake;
#[expect(dead_code, reason = "shared with the unit tests of the land module, which use other parts of it")]
pub(crate) mod fake_s3;
pub(crate) mod loopback;
pub(crate) mod moto;
pub(crate) mod peak;
#[cfg(unix)]
pub(crate) mod process;
pub(crate) mod python;
#[expect(dead_code, reason = "shared with the unit tests of the land module, which use other parts of it")]
pub(crate) mod s3;

use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use wdt_lake::BeijingTime;
use wdt_lake::sandbox::{Options, Sandbox, Version, generate};
use wdt_lake::{AccountSettings, Edition};

pub(crate) fn at(text: &str) -> BeijingTime {
    BeijingTime::parse(text).expect("a time")
}

/// A believable ERP whose clock runs with the machine's and whose last requisition is long ago.
pub(crate) fn erp(requisitions: usize, days: u32, end: &str) -> Sandbox {
    erp_of(Edition::Enterprise, requisitions, days, end)
}

/// The same of another edition.
pub(crate) fn erp_of(edition: Edition, requisitions: usize, days: u32, end: &str) -> Sandbox {
    let requisitions = generate(11, requisitions, days, at(end));
    Sandbox::start(Options { edition, requisitions, ..Options::default() }).expect("sandbox")
}

/// The sandbox's account as the program would read it from its environment.
pub(crate) fn account(sandbox: &Sandbox) -> AccountSettings {
    let environment: std::collections::BTreeMap<&str, String> = sandbox.environment().into_iter().collect();
    AccountSettings::from_env(|name| environment.get(name).cloned(), |path| std::fs::read_to_string(path))
        .expect("an account")
}

/// A folder for one lake, gone with the test.
pub(crate) struct LakeDir(TempDir);

impl LakeDir {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.0.path().join("lake")
    }

    pub(crate) fn text(&self) -> String {
        self.path().to_str().expect("UTF-8").to_owned()
    }

    /// A lake that holds the files of a folder.
    pub(crate) fn of(folder: &Path) -> Self {
        let lake = Self::new();
        copy_folder(folder, &lake.path());
        lake
    }

    /// A folder that holds the same files.
    pub(crate) fn copy(&self) -> Self {
        Self::of(&self.path())
    }

    /// Every file below the lake, relative to it, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        fn visit(folder: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    visit(&path, root, found);
                } else {
                    found.push(path.strip_prefix(root).expect("below").to_str().expect("UTF-8").to_owned());
                }
            }
        }
        let mut found = Vec::new();
        visit(&self.path(), &self.path(), &mut found);
        found.sort();
        found
    }

    /// Whether no run is at work: none has ever been, or the last one has ended.
    pub(crate) fn lease_is_free(&self) -> bool {
        let names = self.files();
        let leases = names.iter().filter(|name| name.starts_with("_lease/account="));
        let read = |name| std::fs::read(self.path().join(name)).expect("a lease");
        leases.map(read).all(|lease| serde_json::from_slice::<Value>(&lease).is_ok_and(|lease| lease["ended"] == true))
    }

    /// As if the last run had died: what it has left is not known, and the next one looks for it.
    pub(crate) fn forget_the_end(&self) {
        std::fs::remove_dir_all(self.path().join("_lease")).expect("a lease");
    }

    /// Whether nothing was committed but the start that a run was told.
    pub(crate) fn holds_no_more_than_a_start(&self) -> bool {
        self.manifests().iter().all(|manifest| manifest["kind"] == "start")
    }

    /// The manifests of all accounts, in order, as they are.
    pub(crate) fn whole_manifests(&self) -> Vec<Value> {
        let is_manifest = |name: &&String| name.starts_with("_manifest/") && !name.contains("/_checkpoint/");
        let read = |name: &String| std::fs::read(self.path().join(name)).expect("a manifest");
        self.files().iter().filter(is_manifest).map(|name| serde_json::from_slice(&read(name)).expect("JSON")).collect()
    }

    /// The same, each with what its first commit says, its kind and its proof beside its own fields, and with the files
    /// of all its commits.
    pub(crate) fn manifests(&self) -> Vec<Value> {
        self.whole_manifests().into_iter().map(flattened).collect()
    }
}

fn flattened(mut manifest: Value) -> Value {
    let commits = manifest["commits"].as_array().cloned().unwrap_or_default();
    let kind = match commits.first() {
        Some(first) => first["kind"].clone(),
        None if manifest.get("intent").is_some() => "stop_intent".into(),
        None if manifest["fences"].as_array().is_some_and(|fences| !fences.is_empty()) => "fence".into(),
        None => "start".into(),
    };
    let all = |field: &str| -> Vec<Value> {
        commits.iter().filter_map(|commit| commit[field].as_array()).flatten().cloned().collect()
    };
    manifest["kind"] = kind;
    manifest["commit"] = manifest["id"].clone();
    manifest["proof"] = manifest["walk"]["proof"].clone();
    manifest["window"] = commits.first().map(|first| first["window"].clone()).unwrap_or_default();
    manifest["files"] = all("files").into();
    manifest["quarantine"] = all("quarantine").first().cloned().unwrap_or_default();
    manifest["raw"] = all("raw").first().cloned().unwrap_or_default();
    if !all("results").is_empty() {
        manifest["results"] = all("results").into();
    }
    manifest
}

/// Copies every file below a folder.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let from = entry.expect("an entry").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() { copy_folder(&from, &to) } else { std::fs::copy(&from, &to).map(|_| ()).expect("copied") }
    }
}

/// The program, without any account or key in its environment.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wdt-lake"));
    command.stdin(Stdio::null());
    let is_heard = |name: &str| {
        ["WDT_", "AWS_", "SSL_CERT_", "LC_", "LANG"].iter().any(|prefix| name.starts_with(prefix))
            || name.to_lowercase().ends_with("_proxy")
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_heard) {
            command.env_remove(name);
        }
    }
    command
}

/// The program with the sandbox's account.
pub(crate) fn program_at(sandbox: &Sandbox) -> Command {
    let mut command = program();
    command.envs(sandbox.environment());
    command
}

/// What a run of the program said.
#[derive(Debug)]
pub(crate) struct Said {
    /// The exit code, or the number of the signal that ended it, as a negative number.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stdout.trim_end().lines().count(), 1, "one line: {self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

pub(crate) fn run(command: &mut Command) -> Said {
    said(command.output().expect("the program starts"))
}

fn said(output: Output) -> Said {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { code: code(output.status), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[cfg(unix)]
pub(crate) fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| -status.signal().expect("a signal"))
}

#[cfg(not(unix))]
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// `sync` without a rate limit, with the summary as JSON.
pub(crate) fn sync(sandbox: &Sandbox, lake: &LakeDir, arguments: &[&str]) -> Said {
    run(program_at(sandbox).args(["sync", "--json", "--calls-per-minute", "0", "--lake", &lake.text()]).args(arguments))
}

/// Compares the lake with `versions` by DuckDB and pyarrow, field by field.
pub(crate) fn check_with_readers<'a>(
    sandbox: &Sandbox,
    lake: &LakeDir,
    versions: impl IntoIterator<Item = &'a Version>,
) {
    let dialect = sandbox.dialect();
    let lines: Vec<String> = versions.into_iter().map(|version| version.to_json(dialect)).collect();
    let expected = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(expected.path(), lines.join("\n")).expect("written");
    let expected = expected.path().to_str().expect("UTF-8");
    let arguments = ["--expected", expected, "--lake", &lake.text(), "--edition", dialect.edition.name()];
    let output = python::run("check_lake.py", &arguments);
    let said = said(output);
    assert_eq!(said.code, 0, "{}\n{}", said.stdout, said.stderr);
}
