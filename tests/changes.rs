//! Rows that can be followed: whoever asks with the last token gets every row once, and none is lost, in formats that
//! real readers read alike. And the runs that committed, as the log tells of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use wdt_lake::sandbox::{Credentials, Options, Quantity, Sandbox, generate};

use crate::stop::{flagship, partly, stop};
use crate::support::{LakeDir, Said, at, erp, program, python, run, sync};

/// A reader of a lake with a folder for what it gets.
struct Reader {
    lake: String,
    folder: TempDir,
}

impl Reader {
    fn of(lake: &LakeDir) -> Self {
        Self { lake: lake.text(), folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn command(&self, table: &str, since: Option<&str>, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(["changes", table, "--lake", &self.lake]).args(arguments);
        command.args(since.iter().flat_map(|token| ["--since", token]));
        command
    }

    /// Reads what is new into a file; the summary.
    fn read(&self, table: &str, since: Option<&str>, name: &str) -> Value {
        run(&mut self.command(table, since, &["--json", "--out", &self.text(name)])).expect_code(0).json()
    }

    /// What is new since a token, row by row, and the next token.
    fn rows(&self, table: &str, since: Option<&str>) -> (Vec<Value>, String) {
        let summary = self.read(table, since, "new.parquet");
        let rows = rows(&[&self.path("new.parquet")]).remove(0);
        assert_eq!(summary["rows"], rows.len());
        (rows, summary["token"].as_str().unwrap().to_owned())
    }
}

/// The rows of files, as real readers see them.
fn rows(files: &[&Path]) -> Vec<Vec<Value>> {
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let said = run(&mut python::LOCAL.script("changes.py", &files)).expect_code(0);
    let all: Vec<Vec<Value>> = serde_json::from_str(&said.stdout).unwrap();
    all.into_iter().map(sorted).collect()
}

fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(Value::to_string);
    rows
}

const FROM: [&str; 2] = ["--from", "2026-06-01"];

fn to(day: &str) -> [&str; 4] {
    [FROM[0], FROM[1], "--to", day]
}

#[test]
fn every_row_is_given_once_whatever_sync_does() {
    let (sandbox, lake) = (erp(260, 25, "2026-06-25 23:59:59"), LakeDir::new());
    let reader = Reader::of(&lake);
    let numbers: Vec<String> =
        sandbox.world().lock().requisitions().map(|one| one.purchase_apply_no.to_string()).collect();
    let edit = |number: &str, modified: &str, quantity: i128| {
        let quantity = Quantity(quantity);
        sandbox.world().lock().edit_at(number, at(modified), |one| one.details[0].real_num = quantity).unwrap();
    };
    std::fs::create_dir(lake.path()).unwrap();
    for table in ["purchase_apply", "purchase_apply_detail"] {
        let (none, token) = reader.rows(table, None);
        assert_eq!((none, token.as_str()), (vec![], table), "a lake without anything has a token too");
    }
    sync(&sandbox, &lake, &to("2026-06-10")).expect_code(0);
    let (first, token) = reader.rows("purchase_apply", Some("purchase_apply"));
    let (first_details, details_token) = reader.rows("purchase_apply_detail", None);
    assert!(first.len() > 50 && first_details.len() > first.len());
    let (none, same) = reader.rows("purchase_apply", Some(&token));
    assert_eq!((none, &same), (vec![], &token), "nothing is new");

    // Two windows more: edits of what was there come as new versions.
    edit(&numbers[3], "2026-06-26 10:00:00", 70_000);
    sync(&sandbox, &lake, &to("2026-06-20")).expect_code(0);
    sync(&sandbox, &lake, &to("2026-06-27")).expect_code(0);
    let (second, token) = reader.rows("purchase_apply", Some(&token));
    assert!(second.iter().any(|row| row["purchase_apply_no"] == numbers[3].as_str()));

    // A lookback finds one other version in a second that it knows, and carries the rest.
    edit(&numbers[3], "2026-06-26 10:00:00", 80_000);
    sync(&sandbox, &lake, &[&to("2026-06-27")[..], &["--lookback", "3d"]].concat()).expect_code(0);
    let (third, token) = reader.rows("purchase_apply", Some(&token));
    assert_eq!(third.len(), 1, "{third:?}");
    assert_eq!(
        (&third[0]["purchase_apply_no"], &third[0]["account"]),
        (&numbers[3].as_str().into(), &"sandbox".into())
    );
    // One that finds nothing new gives nothing.
    sync(&sandbox, &lake, &[&to("2026-06-27")[..], &["--lookback", "3d"]].concat()).expect_code(0);
    assert_eq!(reader.rows("purchase_apply", Some(&token)).0, Vec::<Value>::new());

    // All together they are the committed set, but for the version that the lookback replaced.
    let replaced = |row: &Value| {
        row["purchase_apply_no"] == third[0]["purchase_apply_no"] && row["modified"] == third[0]["modified"]
    };
    let kept = second.into_iter().filter(|row| !replaced(row));
    let all = sorted(first.into_iter().chain(kept).chain(third.clone()).collect());
    assert_eq!(all, reader.rows("purchase_apply", None).0);
    let versions = sandbox.world().lock().journal().versions().len();
    assert_eq!(all.len(), versions - 1, "one was edited within its second");

    // Whoever came only once has missed what came and went, and nothing else.
    let (late, _) = reader.rows("purchase_apply_detail", Some(&details_token));
    let all_details = sorted(first_details.into_iter().chain(late).collect());
    assert_eq!(all_details, reader.rows("purchase_apply_detail", None).0);
    let ids: BTreeSet<String> = all_details.iter().map(|row| row["_commit_id"].to_string()).collect();
    assert!(ids.len() >= 3);
}

#[test]
fn all_formats_hold_the_same_rows() {
    let (sandbox, lake) = (erp(300, 20, "2026-06-20 23:59:59"), LakeDir::new());
    {
        let mut world = sandbox.world().lock();
        let number = world.requisitions().next().unwrap().purchase_apply_no.to_string();
        world.edit_at(&number, at("2026-06-19 10:00:00"), |one| {
            one.remark = "one, \"two\"\nand 三\r\n".into();
            one.details[0].real_num = Quantity(-5);
        });
    }
    sync(&sandbox, &lake, &to("2026-06-20")).expect_code(0);
    let reader = Reader::of(&lake);
    for table in ["purchase_apply", "purchase_apply_detail"] {
        let names = ["new.parquet", "new.csv", "new.arrow", "new.arrows"];
        let tokens: BTreeSet<String> =
            names.iter().map(|name| reader.read(table, None, name)["token"].to_string()).collect();
        assert_eq!(tokens.len(), 1);
        let files = names.map(|name| reader.path(name));
        let read = rows(&files.each_ref().map(PathBuf::as_path));
        assert!(read[0].len() > 290, "{}", read[0].len());
        assert!(read.iter().all(|rows| *rows == read[0]), "{table}");
        if table == "purchase_apply" {
            assert!(read[0].iter().any(|row| row["remark"] == "one, \"two\"\nand 三\r\n"));
        }
        // The columns stand also where no row is new.
        let token = tokens.first().unwrap().trim_matches('"');
        names.iter().for_each(|name| assert_eq!(reader.read(table, Some(token), name)["rows"], 0));
        assert!(rows(&files.each_ref().map(PathBuf::as_path)).iter().all(Vec::is_empty));
    }
}

/// An ERP of another seller.
fn seller(sid: &str, requisitions: usize) -> Sandbox {
    let requisitions = generate(11, requisitions, 10, at("2026-06-10 23:59:59"));
    let credentials = Credentials { sid: sid.to_owned(), ..Credentials::default() };
    Sandbox::start(Options { credentials, requisitions, ..Options::default() }).unwrap()
}

#[test]
fn one_token_covers_all_accounts() {
    let (acme, beta, lake) = (seller("acme", 60), seller("beta", 40), LakeDir::new());
    let sync = |sandbox: &Sandbox, name: &str, day: &str| {
        let mut command = program();
        command.envs(sandbox.environment()).env("WDT_ACCOUNT", name);
        run(command.args(["sync", "--calls-per-minute", "0", "--lake", &lake.text()]).args(to(day))).expect_code(0);
    };
    let reader = Reader::of(&lake);
    let accounts = |rows: &[Value]| -> BTreeSet<String> {
        rows.iter().map(|row| row["account"].as_str().unwrap().to_owned()).collect()
    };
    sync(&acme, "acme", "2026-06-05");
    let (first, token) = reader.rows("purchase_apply", None);
    assert_eq!(accounts(&first), ["acme".to_owned()].into());
    sync(&acme, "acme", "2026-06-10");
    sync(&beta, "beta", "2026-06-10");
    let (second, both) = reader.rows("purchase_apply", Some(&token));
    assert_eq!(first.len() + second.len(), 100, "what is new of one, and all of the one that is new");
    assert_eq!(accounts(&second).len(), 2);

    // One account alone moves its own place on.
    let of_beta = run(&mut reader.command(
        "purchase_apply",
        Some(&token),
        &["--json", "--account", "beta", "--out", &reader.text("beta.csv")],
    ));
    let of_beta = of_beta.expect_code(0).json();
    assert_eq!((&of_beta["rows"], of_beta["accounts"].as_array().unwrap().len()), (&40.into(), 1));
    let token = of_beta["token"].as_str().unwrap();
    let (rest, now) = reader.rows("purchase_apply", Some(token));
    assert_eq!((accounts(&rest), now), (["acme".to_owned()].into(), both));
}

/// What a refused run leaves: what was there.
#[track_caller]
fn assert_refused(reader: &Reader, said: Said, code: i32, words: &str) {
    let said = said.expect_code(code);
    assert!(said.stderr.contains(words), "{words}: {said:?}");
    assert_eq!(said.stdout, "", "no token, no row");
    assert_eq!(std::fs::read_to_string(reader.path("new.csv")).unwrap(), "what was there");
    assert_eq!(std::fs::read_dir(reader.folder.path()).unwrap().count(), 1, "nothing half written");
}

#[test]
fn what_cannot_be_given_whole_is_not_given() {
    let (sandbox, lake) = (erp(120, 10, "2026-06-10 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &to("2026-06-10")).expect_code(0);
    let reader = Reader::of(&lake);
    let token = reader.rows("purchase_apply", None).1;
    std::fs::remove_file(reader.path("new.parquet")).unwrap();
    std::fs::write(reader.path("new.csv"), "what was there").unwrap();
    let out = reader.text("new.csv");
    let try_with =
        |table: &str, since: Option<&str>, arguments: &[&str]| run(&mut reader.command(table, since, arguments));
    let refused = |said: Said, code: i32, words: &str| assert_refused(&reader, said, code, words);

    refused(try_with("purchase_apply", Some("yesterday"), &["--out", &out]), 2, "no token of `wdt-lake changes`");
    refused(try_with("purchase_apply", Some(""), &["--out", &out]), 2, "no token");
    refused(try_with("purchase_apply_detail", Some(&token), &["--out", &out]), 2, "of another table");
    refused(try_with("purchase", None, &["--out", &out]), 2, "no table");
    refused(try_with("purchase_apply", None, &["--out", &reader.text("new.txt")]), 2, "--format");
    refused(try_with("purchase_apply", None, &["--out", &reader.text(""), "--format", "csv"]), 2, "is no file");
    refused(try_with("purchase_apply", None, &["--out", &reader.text("none/new.csv")]), 1, "cannot write the file");
    refused(try_with("purchase_apply", None, &["--json", "--out", "-"]), 2, "standard output");
    refused(try_with("purchase_apply", None, &["--out", &out, "--token-file", &out]), 2, "the same file");
    refused(try_with("purchase_apply", None, &["--account", "other", "--out", &out]), 2, "no such account");
    // Another lake of the same account, filled alike.
    let other = LakeDir::new();
    sync(&sandbox, &other, &to("2026-06-10")).expect_code(0);
    let of_other = Reader { lake: other.text(), folder: TempDir::new().unwrap() };
    let said = run(&mut of_other.command("purchase_apply", Some(&token), &["--out", &out]));
    refused(said, 2, "of another lake");
    let empty = LakeDir::new();
    std::fs::create_dir(empty.path()).unwrap();
    let empty = Reader::of(&empty);
    refused(run(&mut empty.command("purchase_apply", Some(&token), &["--out", &out])), 2, "of another lake");

    // A damaged file is named, and nothing of the sound ones is given.
    let name = lake.files().into_iter().find(|name| name.starts_with("purchase_apply/")).unwrap();
    std::fs::write(lake.path().join(&name), "no Parquet").unwrap();
    refused(try_with("purchase_apply", None, &["--out", &out]), 8, &name);
    refused(try_with("purchase_apply", None, &["--out", "-"]), 8, &name);
    // It is not new, and nobody asks for it.
    let said = try_with("purchase_apply", Some(&token), &["--out", &out]).expect_code(0);
    assert_eq!(said.stdout.trim_end(), token, "the token alone");
}

#[test]
fn standard_output_takes_rows_and_the_token_comes_after_them() {
    let (sandbox, lake) = (erp(120, 10, "2026-06-10 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &to("2026-06-10")).expect_code(0);
    let reader = Reader::of(&lake);
    let (expected, token) = reader.rows("purchase_apply", None);
    let token_file = reader.text("token");
    let piped = reader.command("purchase_apply", None, &["--out", "-", "--token-file", &token_file]).output().unwrap();
    assert!(piped.status.success());
    assert_eq!(String::from_utf8(piped.stderr).unwrap(), format!("next token: {token}\n"));
    assert_eq!(std::fs::read_to_string(&token_file).unwrap(), format!("{token}\n"));
    std::fs::write(reader.path("piped.arrows"), piped.stdout).unwrap();
    let read = rows(&[&reader.path("new.parquet"), &reader.path("piped.arrows")]);
    assert_eq!(read, [expected.clone(), expected]);
    let csv =
        run(&mut reader.command("purchase_apply", Some(&token), &["--out", "-", "--format", "csv"])).expect_code(0);
    assert!(csv.stdout.starts_with("apply_id,purchase_apply_no,") && csv.stdout.ends_with(",_commit_id,account\n"));

    // A reader that goes away has not got the rows, and gets no token.
    std::fs::remove_file(&token_file).unwrap();
    let mut command = reader.command("purchase_apply", None, &["--out", "-", "--token-file", &token_file]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let gone = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(gone.stderr).unwrap();
    assert_eq!(gone.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("has not taken all rows") && !stderr.contains("next token"), "{stderr}");
    assert!(!reader.path("token").exists());
}

/// Outcomes of stops are rows like others.
#[test]
fn outcomes_of_stops_can_be_followed() {
    let (sandbox, lake) = (flagship(vec![partly(1, "CG1", 30), partly(2, "CG2", 20)]), LakeDir::new());
    let reader = Reader::of(&lake);
    stop(&sandbox, &lake, &["CG1", "--yes"]);
    let (first, token) = reader.rows("stop_reference", None);
    stop(&sandbox, &lake, &["CG2", "--yes"]);
    let (second, _) = reader.rows("stop_reference", Some(&token));
    let numbers = |rows: &[Value]| rows.iter().map(|row| row["purchase_apply_no"].clone()).collect::<Vec<_>>();
    assert_eq!((numbers(&first), numbers(&second)), (vec!["CG1".into()], vec!["CG2".into()]));
    let runs = run(program().args(["runs", "--json", "--lake", &lake.text()])).expect_code(0).json();
    assert_eq!(runs["runs"][0]["kinds"], serde_json::json!(["stop_intent", "stop_result"]));
    assert_eq!(runs["runs"][0]["rows"]["stop_reference"], 1);
}

#[test]
fn runs_are_listed_from_the_log() {
    let (sandbox, lake) = (erp(120, 10, "2026-06-10 23:59:59"), LakeDir::new());
    let runs =
        |arguments: &[&str]| run(program().args(["runs", "--lake", &lake.text()]).args(arguments)).expect_code(0);
    std::fs::create_dir(lake.path()).unwrap();
    assert_eq!(runs(&[]).stdout, "no run has committed yet\n");
    let mut calls = Vec::new();
    for day in ["2026-06-05", "2026-06-10"] {
        calls.push(sync(&sandbox, &lake, &to(day)).expect_code(0).json());
    }
    let listed = runs(&["--json"]).json()["runs"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 2);
    for (listed, summary) in listed.iter().zip(calls.iter().rev()) {
        assert_eq!((&listed["calls"], &listed["kinds"]), (&summary["calls"], &serde_json::json!(["sync"])));
        for table in ["purchase_apply", "purchase_apply_detail"] {
            assert_eq!(listed["rows"][table], summary["rows"][table]);
        }
        assert_eq!((&listed["account"], &listed["run"]), (&"sandbox".into(), &summary["run"]));
        assert!(listed["first_commit_at"].as_str() <= listed["last_commit_at"].as_str());
    }
    assert!(listed[0]["ended_at"].as_str() >= listed[0]["last_commit_at"].as_str(), "{}", listed[0]);
    assert_eq!((&listed[1]["ended_at"], &listed[1]["at_work"]), (&Value::Null, &false.into()));
    assert_eq!(listed[1]["range"]["start"], "2026-06-01T00:00:00+08:00");
    assert_eq!(runs(&["--json", "--limit", "1"]).json()["runs"], Value::Array(vec![listed[0].clone()]));
    let text = runs(&["--limit", "1", "--account", "sandbox"]).stdout;
    for word in ["sandbox: sync", "range", "purchase_apply_detail", "committed   ", "ended       2"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    run(program().args(["runs", "--lake", &lake.text(), "--limit", "0"])).expect_code(2);
}
