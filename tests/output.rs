//! What a command prints reaches its reader, or is missed aloud: a full disk, a closed output, a reader that went away.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use crate::support::{LakeDir, Said, code, erp, program, program_at, run, sync};

const RANGE: [&str; 4] = ["--from", "2026-06-20", "--to", "2026-06-30"];

/// Runs with a standard output that takes nothing.
fn onto_full_disk(command: &mut Command) -> Said {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let output = command.stdout(full).stderr(Stdio::piped()).output().expect("the program starts");
    Said { code: code(output.status), stdout: String::new(), stderr: String::from_utf8(output.stderr).expect("UTF-8") }
}

#[cfg(target_os = "linux")]
#[test]
fn every_command_that_cannot_write_its_output_says_so() {
    let (sandbox, lake) = (erp(60, 10, "2026-06-30 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &RANGE).expect_code(0);
    let path = lake.text();
    let raw = LakeDir::new();
    sync(&sandbox, &raw, &[&RANGE[..], &["--keep-raw"]].concat()).expect_code(0);
    let folder = LakeDir::new();
    std::fs::create_dir(folder.path()).unwrap();
    let out = format!("{}/new.csv", folder.text());
    for arguments in [
        &["files", "purchase_apply", "--lake", &path][..],
        &["files", "purchase_apply", "--json", "--lake", &path],
        &["views", "--engine", "duckdb", "--lake", &path],
        &["schema"],
        &["schema", "--format", "json"],
        &["changes", "purchase_apply", "--lake", &path, "--out", &out],
        &["export", "purchase_apply", "--lake", &path, "--out", &out],
        &["runs", "--lake", &path],
        &["status", "--lake", &path],
        &["status", "--json", "--lake", &path],
        &["verify", "--lake", &path],
        &["doctor", "--lake", &path],
        &["plan", "--lake", &path, "--to", "2026-06-30"],
        &["check"],
        &["get", "CG1"],
        &["audit", "--sample", "1", "--lake", &path],
        &["sync", "--lake", &path],
        &["sync", "--json", "--lake", &path],
        &["replay", "--from-raw", &raw.text(), "--lake", &LakeDir::new().text()],
        &["sandbox"],
        &["--help"],
        &["sync", "--help"],
        &["--version"],
    ] {
        let said = onto_full_disk(program_at(&sandbox).args(arguments));
        assert_eq!(said.code, 1, "{arguments:?}: {}", said.stderr);
        for word in ["error[WDT-1101]: standard output cannot be written", "hint: "] {
            assert!(said.stderr.contains(word), "{arguments:?}: {}", said.stderr);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_sync_that_cannot_tell_of_it_commits_all_the_same() {
    let (sandbox, lake) = (erp(60, 10, "2026-06-30 23:59:59"), LakeDir::new());
    let mut command = program_at(&sandbox);
    command.args(["sync", "--lake", &lake.text()]).args(RANGE);
    assert_eq!(onto_full_disk(&mut command).code, 1);
    let again = sync(&sandbox, &lake, &RANGE).expect_code(0).json();
    assert_eq!(again["calls"], 0, "everything is covered");
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let (sandbox, lake) = (erp(60, 10, "2026-06-30 23:59:59"), LakeDir::new());
    let path = lake.text();
    for arguments in [
        &["sync", "--lake", &path, RANGE[0], RANGE[1], RANGE[2], RANGE[3]][..],
        &["files", "purchase_apply", "--lake", &path],
        &["schema", "--format", "json"],
        &["status", "--lake", &path],
    ] {
        let mut child =
            program_at(&sandbox).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(code(child.wait().unwrap()), 0, "{arguments:?}: {stderr}");
        assert!(!stderr.contains("error"), "{arguments:?}: {stderr}");
    }
    let again = sync(&sandbox, &lake, &RANGE).expect_code(0).json();
    assert_eq!(again["calls"], 0, "the sync went on without its output");
}

/// A shell's `>&-`. Commands that are run for more than their output cannot tell it from an output that nobody wants.
#[cfg(target_os = "linux")]
#[test]
fn a_closed_output_is_an_error_of_commands_that_only_print() {
    let (sandbox, lake) = (erp(60, 10, "2026-06-30 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &RANGE).expect_code(0);
    let shell = |redirection: &str| {
        let line = format!("exec \"$0\" files purchase_apply --lake \"$1\" {redirection}");
        let mut command = Command::new("sh");
        run(command.args(["-c", &line, env!("CARGO_BIN_EXE_wdt-lake"), &lake.text()]))
    };
    let said = shell(">&-").expect_code(1);
    assert!(said.stderr.contains("standard output cannot be written"), "{}", said.stderr);
    for wanted in [">/dev/null", ">>/dev/null", ""] {
        assert_eq!(shell(wanted).expect_code(0).stderr, "", "{wanted}");
    }
}

#[test]
fn the_simulated_erp_says_where_it_is_and_ends_when_asked() {
    let mut child = program().arg("sandbox").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("WDT_BASE_URL")));
    crate::support::process::signal(child.id(), "TERM");
    assert_eq!(code(child.wait().unwrap()), 0);
}
