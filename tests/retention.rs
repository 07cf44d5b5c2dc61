//! Months that expire, files that are kept for readers, and ranges that are read anew: what is removed, what stays, and
//! what comes back.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use wdt_lake::sandbox::{Options, Sandbox, SandboxClock, Status, generate};
use wdt_lake::{BeijingTime, Clock as _, SystemClock};

use crate::manifest::assert_follow_their_schema;
use crate::support::committed::{assert_exact, assert_nothing_left, coverage, held};
use crate::support::{LakeDir, Said, at, erp, program, program_at, python, run, sync};

const JUNE: &str = "2026-06-01 00:00:00";
const RANGE: [&str; 4] = ["--from", "2026-05-02", "--to", "2026-06-30"];

/// May and June of an ERP, in a lake.
fn two_months() -> (Sandbox, LakeDir) {
    let sandbox = erp(600, 60, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &RANGE).expect_code(0);
    (sandbox, lake)
}

fn expire(lake: &LakeDir, arguments: &[&str]) -> Said {
    run(program().args(["expire", "--lake", &lake.text()]).args(arguments))
}

fn verify(lake: &LakeDir) -> Said {
    run(program().args(["verify", "--deep", "--json", "--lake", &lake.text()]))
}

#[track_caller]
fn assert_sound(lake: &LakeDir) {
    verify(lake).expect_code(0);
    assert_nothing_left(lake, "the committed set and no more");
    assert_follow_their_schema(&lake.whole_manifests());
}

fn is_open(status: Status) -> bool {
    matches!(status, Status::ToConfirm | Status::ToReference | Status::PartlyReferenced)
}

/// The requisitions of the ERP that were modified before June, by number: those that are open, and the others.
fn before_june(sandbox: &Sandbox) -> (BTreeSet<String>, BTreeSet<String>) {
    let world = sandbox.world().lock();
    let old = world.requisitions().filter(|one| one.modified < at(JUNE));
    let (open, closed): (Vec<_>, Vec<_>) = old.partition(|one| is_open(one.status));
    let numbers = |of: Vec<&std::sync::Arc<wdt_lake::sandbox::Requisition>>| {
        of.iter().map(|one| one.purchase_apply_no.to_string()).collect()
    };
    (numbers(open), numbers(closed))
}

/// The numbers in the lake of versions that were modified before June.
fn held_before_june(lake: &LakeDir) -> BTreeSet<String> {
    held(lake).keys().filter(|(_, modified)| *modified < at(JUNE)).map(|(number, _)| number.clone()).collect()
}

/// The earliest second that was asked for by the calls after the first `calls`.
fn earliest_asked(sandbox: &Sandbox, calls: usize) -> Option<BeijingTime> {
    let all = sandbox.world().calls();
    let starts = all[calls..].iter().filter_map(|call| call.params.get("start_time")).map(|text| at(text));
    starts.min()
}

fn live_expires(lake: &LakeDir) -> Vec<Value> {
    let manifests = lake.whole_manifests();
    let removed: BTreeSet<&str> = manifests
        .iter()
        .flat_map(|one| one["removes"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    let commits = manifests.iter().flat_map(|one| one["commits"].as_array().into_iter().flatten());
    let live = commits.filter(|one| one["kind"] == "expire" && !removed.contains(one["id"].as_str().unwrap()));
    live.cloned().collect()
}

#[test]
fn without_yes_it_is_said_and_not_done() {
    let (sandbox, lake) = two_months();
    let (open, closed) = before_june(&sandbox);
    assert!(!open.is_empty() && !closed.is_empty());
    let (files, all) = (lake.files(), held(&lake));
    let old = all.keys().filter(|(_, modified)| *modified < at(JUNE)).count();
    let said = expire(&lake, &["--before", "2026-06", "--json"]).expect_code(0).json();
    let account = &said["accounts"][0];
    assert_eq!((&account["done"], &account["manifest"]), (&false.into(), &Value::Null));
    let total = &account["total"];
    assert_eq!(total["open_kept"], open.len());
    assert_eq!(total["rows"]["purchase_apply"], old - open.len());
    let months: Vec<&str> =
        account["months"].as_array().unwrap().iter().map(|one| one["month"].as_str().unwrap()).collect();
    assert_eq!(months, ["2026-05"]);
    let text = expire(&lake, &["--before", "2026-06"]).expect_code(0).stdout;
    assert!(
        text.contains("would be removed") && text.contains("2026-05") && text.ends_with("add --yes to do it\n"),
        "{text}"
    );
    let dropped = expire(&lake, &["--before", "2026-06", "--drop-open", "--json"]).expect_code(0).json();
    assert_eq!(dropped["accounts"][0]["total"]["rows"]["purchase_apply"], old);
    assert_eq!(lake.files(), files, "nothing was written");
    let nothing = expire(&lake, &["--before", "2026-05", "--yes"]).expect_code(0).stdout;
    assert_eq!(nothing, "sandbox: there is nothing before 2026-05 to remove\n");
}

#[test]
fn a_month_that_is_not_over_cannot_expire() {
    let (_sandbox, lake) = two_months();
    let this_month = SystemClock.now().month().to_string();
    for before in [this_month.as_str(), "9999-01", "2026-13", "2026-06-01", "June"] {
        let said = expire(&lake, &["--before", before, "--yes"]).expect_code(2);
        assert!(said.stderr.contains("hint: ") || said.stderr.contains("YYYY-MM"), "{said:?}");
    }
    expire(&lake, &["--before", "2026-06", "--account", "nobody"]).expect_code(2);
    expire(&lake, &[]).expect_code(2);
}

/// A clock that is years ahead must not let everything expire.
#[test]
fn nothing_expires_behind_the_end_of_what_was_read() {
    let (sandbox, lake) = (erp(600, 60, "2026-06-30 23:59:59"), LakeDir::new());
    sync(&sandbox, &lake, &["--from", "2026-05-02", "--to", "2026-06-15"]).expect_code(0);
    let before = held(&lake);
    for arguments in [&["--before", "2026-07"][..], &["--before", "2026-07", "--yes"]] {
        let said = expire(&lake, arguments).expect_code(2);
        assert!(said.stderr.contains("covered until 2026-06-15 23:59:59 only"), "{said:?}");
        assert!(said.stderr.contains("name 2026-06 or an earlier month"), "{said:?}");
    }
    assert_eq!(held(&lake), before);
    expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0);
}

/// Nothing but gaps lies before the cutoff: they expire like all else, or each later run would read them.
#[test]
fn gaps_expire_where_there_is_nothing_else() {
    let lake = LakeDir::new();
    let gone = erp(1, 1, "2026-06-30 23:59:59");
    let mut command = program_at(&gone);
    drop(gone);
    let given_up = ["--max-retry-time", "1s", "--lake", &lake.text()];
    run(command.arg("sync").args(given_up).args(RANGE)).expect_code(5);
    let sandbox = erp(600, 60, "2026-06-30 23:59:59");
    sync(&sandbox, &lake, &["--from", "2026-06-01", "--to", "2026-06-30"]).expect_code(0);
    let said = expire(&lake, &["--before", "2026-06", "--json"]).expect_code(0).json();
    let account = &said["accounts"][0];
    let gap = serde_json::json!([{"start": at("2026-05-02 00:00:00"), "end": at("2026-05-31 23:59:59")}]);
    assert_eq!((&account["gaps"], &account["months"], &account["done"]), (&gap, &Value::Array(vec![]), &false.into()));
    let text = expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0).stdout;
    assert!(text.contains("no run reads these gaps any more: 2026-05-02 00:00:00"), "{text}");
    let calls = sandbox.world().calls().len();
    sync(&sandbox, &lake, &["--to", "2026-06-30"]).expect_code(0);
    assert_eq!(earliest_asked(&sandbox, calls), None, "nothing is left to read");
    let text = expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0).stdout;
    assert_eq!(text, "sandbox: there is nothing before 2026-06 to remove\n");
    assert_sound(&lake);
}

#[test]
fn what_expires_goes_and_what_is_open_stays_until_it_is_closed() {
    let (sandbox, lake) = two_months();
    let before = held(&lake);
    let (open, _) = before_june(&sandbox);
    let said = expire(&lake, &["--before", "2026-06", "--yes", "--json"]).expect_code(0).json();
    assert_eq!(said["accounts"][0]["done"], true);
    let after = held(&lake);
    assert_eq!(held_before_june(&lake), open);
    assert!(after.iter().all(|(key, row)| before.get(key) == Some(row)), "rows are as they were");
    assert_eq!(after.len(), before.keys().filter(|(_, modified)| *modified >= at(JUNE)).count() + open.len());
    assert_sound(&lake);
    let status = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
    assert_eq!(status["accounts"][0]["gaps"], Value::Array(vec![]), "{status}");

    // Nobody walks there again.
    let calls = sandbox.world().calls().len();
    sync(&sandbox, &lake, &RANGE).expect_code(0);
    sync(&sandbox, &lake, &["--from", "2020-01-01", "--to", "2026-06-30"]).expect_code(0);
    assert_eq!(sandbox.world().calls().len(), calls, "all of it is covered");
    sync(&sandbox, &lake, &["--to", "2026-06-30", "--lookback", "300d", "--refresh-quarantined"]).expect_code(0);
    assert!(earliest_asked(&sandbox, calls) >= Some(at(JUNE)), "the lookback stops where months have expired");

    // One is closed, one changes and stays open, one is edited within what has expired, where nobody looks.
    let mut numbers = open.iter();
    let [closed, edited] = [numbers.next().unwrap(), numbers.next().unwrap()];
    {
        let mut world = sandbox.world().lock();
        world.edit_at(closed, at("2026-07-02 10:00:00"), |one| one.status = Status::Referenced);
        world.edit_at(edited, at("2026-07-02 11:00:00"), |one| one.remark = "still open".into());
    }
    sync(&sandbox, &lake, &["--to", "2026-07-05"]).expect_code(0);
    assert_eq!(held_before_june(&lake), open, "a sync does not touch them");
    let first = live_expires(&lake);
    let said = expire(&lake, &["--before", "2026-06", "--yes", "--json"]).expect_code(0).json();
    assert_eq!(said["accounts"][0]["total"]["rows"]["purchase_apply"], 2, "{said}");
    let left: BTreeSet<String> = open.iter().filter(|number| *number != closed && *number != edited).cloned().collect();
    assert_eq!(held_before_june(&lake), left);
    let second = live_expires(&lake);
    assert_eq!((first.len(), second.len()), (1, 1), "the second takes the place of the first");
    assert_ne!(first[0]["id"], second[0]["id"]);
    assert_sound(&lake);
    let (files, said) = (lake.files(), expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0));
    assert!(said.stdout.contains("there is nothing before 2026-06 to remove"), "{said:?}");
    assert!(lake.files() == files, "nothing to do, nothing done");

    // A later cutoff takes June too; an earlier one does not uncover it again.
    expire(&lake, &["--before", "2026-07", "--yes"]).expect_code(0);
    let world = sandbox.world().lock();
    let still_open: BTreeSet<String> = world
        .requisitions()
        .filter(|one| is_open(one.status) && one.modified < at("2026-07-01 00:00:00"))
        .map(|one| one.purchase_apply_no.to_string())
        .collect();
    drop(world);
    let numbers = |rows: std::collections::BTreeMap<(String, BeijingTime), _>| {
        rows.into_keys()
            .filter(|(_, modified)| *modified < at("2026-07-01 00:00:00"))
            .map(|(number, _)| number)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(numbers(held(&lake)), still_open);
    assert_eq!(live_expires(&lake).len(), 1);
    assert_sound(&lake);
    expire(&lake, &["--before", "2026-05", "--yes", "--drop-open"]).expect_code(0);
    assert_eq!(
        coverage(&lake).gaps(wdt_lake::Window::new(at("2026-05-02 00:00:00"), at("2026-07-05 23:59:59")).unwrap()),
        []
    );
    assert_eq!(numbers(held(&lake)), BTreeSet::new(), "without open ones");
    assert_sound(&lake);
}

#[test]
fn quarantine_and_responses_of_expired_months_go_with_them() {
    let sandbox = erp(300, 60, "2026-06-30 23:59:59");
    {
        let mut world = sandbox.world().lock();
        let number = world.requisitions().next().unwrap().purchase_apply_no.clone();
        world.edit_at(&number, at("2026-05-20 12:00:00"), |one| one.send_raw("real_num", "\"1.23456\""));
    }
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &[&RANGE[..], &["--keep-raw"]].concat()).expect_code(3);
    let text = expire(&lake, &["--before", "2026-06"]).expect_code(0).stdout;
    assert!(text.contains("1 quarantined record and"), "{text}");
    expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0);
    assert!(!lake.files().iter().any(|name| name.starts_with("_quarantine/")));
    assert!(lake.files().iter().any(|name| name.starts_with("_raw/")), "those of June stay");
    assert_sound(&lake);
    sync(&sandbox, &lake, &["--keep-raw", "--rewalk", "2026-05-20..2026-05-20"]).expect_code(3);
    assert!(lake.files().iter().any(|name| name.starts_with("_quarantine/")), "it is read again");
    verify(&lake).expect_code(0);
}

#[test]
fn an_expired_range_comes_back_by_a_rewalk() {
    let (sandbox, lake) = two_months();
    let before = held(&lake);
    expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0);
    let open = held_before_june(&lake);
    let said = sync(&sandbox, &lake, &["--rewalk", "2026-05-10..2026-05-12"]).expect_code(0).json();
    assert_eq!(said["rewalked"], 1, "{said}");
    let (first, last) = (at("2026-05-10 00:00:00"), at("2026-05-12 23:59:59"));
    let of_range = |modified: &BeijingTime| (first..=last).contains(modified);
    let after = held(&lake);
    for (key, row) in before
        .iter()
        .filter(|((number, modified), _)| of_range(modified) || *modified >= at(JUNE) || open.contains(number))
    {
        assert_eq!(after.get(key), Some(row), "{key:?}");
    }
    let others = after.keys().filter(|(_, modified)| *modified < at(JUNE) && !of_range(modified));
    assert!(others.into_iter().all(|(number, _)| open.contains(number)));
    let live = live_expires(&lake);
    assert_eq!(
        (live.len(), live[0]["expired"].as_array().map(Vec::len)),
        (1, Some(2)),
        "the range is cut out: {live:?}"
    );
    assert_sound(&lake);

    // The lifted range is like any other, and expires again.
    sync(&sandbox, &lake, &["--to", "2026-06-30", "--lookback", "300d"]).expect_code(0);
    assert_eq!(held(&lake), after);
    expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0);
    assert_eq!(held_before_june(&lake), open);
    assert_eq!(live_expires(&lake)[0]["expired"].as_array().map(Vec::len), Some(1));
    assert_sound(&lake);

    sync(&sandbox, &lake, &["--rewalk", "2026-05-01..2026-06-30"]).expect_code(0);
    assert_exact(&lake, sandbox.world().lock().journal().versions(), "all of it came back");
    assert_sound(&lake);
}

#[test]
fn a_version_that_the_erp_holds_no_more_outlives_a_rewalk() {
    let (sandbox, lake) = two_months();
    expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0);
    let before = held(&lake);
    let number = held_before_june(&lake).into_iter().next().unwrap();
    let modified = before.keys().find(|(one, _)| *one == number).unwrap().1;
    sandbox.world().lock().edit_at(&number, at("2026-07-03 10:00:00"), |one| one.remark = "later".into());
    let day = modified.to_string()[..10].to_owned();
    sync(&sandbox, &lake, &["--rewalk", &format!("{day}..{day}")]).expect_code(0);
    assert_eq!(
        held(&lake).get(&(number, modified)),
        before.get(&before.keys().find(|key| key.1 == modified).unwrap().clone())
    );
    assert_sound(&lake);
}

#[test]
fn a_live_range_is_read_anew() {
    let (sandbox, lake) = two_months();
    let before = held(&lake);
    let number = before.keys().find(|(_, modified)| *modified >= at("2026-06-10 00:00:00")).unwrap().0.clone();
    sandbox.world().lock().edit_at(&number, at("2026-07-01 10:00:00"), |one| one.remark = "left the range".into());
    let calls = sandbox.world().calls().len();
    let said = sync(&sandbox, &lake, &["--rewalk", "2026-06-10..2026-06-12 12:00"]).expect_code(0).json();
    assert!(said["rewalked"].as_u64() > Some(0) && said["damaged"] == Value::Array(vec![]), "{said}");
    assert!(earliest_asked(&sandbox, calls) >= Some(at("2026-06-10 00:00:00")), "no more than was asked");
    assert_eq!(held(&lake), before, "rows that were not returned are carried over");
    let rewalks: Vec<Value> = lake.manifests().into_iter().filter(|one| one["kind"] == "rewalk").collect();
    let sum = |field: &str| rewalks.iter().map(|one| one["proof"][field].as_u64().unwrap()).sum::<u64>();
    let (first, last) = (at("2026-06-10 00:00:00"), at("2026-06-12 12:00:00"));
    let in_range = before.keys().filter(|(_, modified)| (first..=last).contains(modified)).count() as u64;
    assert_eq!((sum("rows_landed"), sum("rows_unchanged")), (in_range - 1, 0), "all that is returned is new");
    assert_sound(&lake);
    for arguments in [
        &["--rewalk", "2026-06-10..2026-06-12", "--from", "2026-06-01"][..],
        &["--rewalk", "2026-06-10..2026-06-12", "--to", "2026-06-30"],
        &["--rewalk", "2026-06-12..2026-06-10"],
        &["--rewalk", "2026-06-12"],
        &["--rewalk", "x..2026-06-10"],
        &["--rewalk", "2022-03-01..2022-03-31"],
        &["--rewalk", "2026-05-01..2026-05-03"],
    ] {
        sync(&sandbox, &lake, arguments).expect_code(2);
    }
    let empty = LakeDir::new();
    sync(&sandbox, &empty, &["--rewalk", "2026-06-10..2026-06-12"]).expect_code(0);
    assert_exact(
        &empty,
        sandbox.world().lock().journal().versions().iter().filter(|one| one.died.is_none()),
        "a range that is not covered is walked as by any run",
    );
}

/// The Parquet file of a table that holds the rows of a day.
fn file_of(lake: &LakeDir, table: &str, day: &str) -> PathBuf {
    let (first, last) = (at(&format!("{day} 00:00:00")), at(&format!("{day} 23:59:59")));
    let manifests = lake.manifests();
    let files = manifests.iter().rev().flat_map(|one| one["files"].as_array().unwrap());
    let time = |file: &Value, field: &str| BeijingTime::parse_rfc3339(file[field].as_str().unwrap()).unwrap();
    let name = files
        .filter(|file| file["table"] == table && lake.path().join(file["path"].as_str().unwrap()).exists())
        .find(|file| time(file, "min_modified") <= last && time(file, "max_modified") >= first)
        .map(|file| file["path"].as_str().unwrap().to_owned());
    lake.path().join(name.expect("a file of the day"))
}

#[test]
fn damaged_and_missing_files_are_replaced_by_a_rewalk() {
    let (sandbox, lake) = two_months();
    let before = held(&lake);
    let path = file_of(&lake, "purchase_apply_detail", "2026-05-15");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    verify(&lake).expect_code(8);
    let said = sync(&sandbox, &lake, &["--rewalk", "2026-05-15..2026-05-15"]).expect_code(0).json();
    let damaged = &said["damaged"][0];
    assert!(path.to_str().unwrap().ends_with(damaged["objects"][0].as_str().unwrap()), "{said}");
    assert_eq!(damaged["rows"], damaged["rows_read_again"]);
    assert!(damaged["rows"]["purchase_apply"].as_u64() > Some(0));
    assert_eq!(held(&lake), before);
    assert_sound(&lake);

    // A requisition has left the ERP: its rows stood in the missing file only.
    let path = file_of(&lake, "purchase_apply", "2026-06-15");
    std::fs::remove_file(&path).unwrap();
    let gone = before.keys().find(|(_, modified)| modified.to_string().starts_with("2026-06-15")).unwrap().clone();
    sandbox.world().lock().purge(&gone.0);
    let said = run(program_at(&sandbox)
        .args(["sync", "--calls-per-minute", "0", "--lake", &lake.text()])
        .args(["--rewalk", "2026-06-15..2026-06-15 12:00"]));
    let said = said.expect_code(3);
    assert!(
        said.stdout.contains("NOT ALL CAME BACK") && said.stdout.contains(path.file_name().unwrap().to_str().unwrap()),
        "{said:?}"
    );
    let after = held(&lake);
    assert_eq!((after.len(), after.contains_key(&gone)), (before.len() - 1, false));
    assert_sound(&lake);
}

#[test]
fn a_damaged_file_of_an_expire_is_read_again_month_by_month() {
    let (sandbox, lake) = two_months();
    expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0);
    let path = file_of(&lake, "purchase_apply_detail", "2026-05-15");
    std::fs::remove_file(&path).unwrap();
    verify(&lake).expect_code(8);
    let open = held_numbers(&sandbox);
    let said = sync(&sandbox, &lake, &["--rewalk", "2026-05-15..2026-05-15"]).expect_code(0).json();
    assert!(path.to_str().unwrap().ends_with(said["damaged"][0]["objects"][0].as_str().unwrap()), "{said}");
    verify(&lake).expect_code(0);
    assert!(open.is_subset(&held_before_june(&lake)), "what is open is there again");
    expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0);
    assert_eq!(held_before_june(&lake), open);
    assert_sound(&lake);
}

#[test]
fn damaged_files_of_several_expired_months_do_not_block_each_other() {
    let sandbox = erp(900, 90, "2026-06-30 23:59:59");
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &["--from", "2026-04-02", "--to", "2026-06-30"]).expect_code(0);
    expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0);
    let (before, open) = (held(&lake), held_numbers(&sandbox));
    let paths = ["2026-04-15", "2026-05-15"].map(|day| file_of(&lake, "purchase_apply_detail", day));
    assert_ne!(paths[0], paths[1]);
    paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    // One of them was asked for; what is left of the other cannot move with the commit, so it is read anew, too.
    let said = sync(&sandbox, &lake, &["--rewalk", "2026-04-15..2026-04-15"]).expect_code(0).json();
    assert_eq!(said["damaged"].as_array().unwrap().len(), 2, "{said}");
    verify(&lake).expect_code(0);
    assert!(open.is_subset(&held_before_june(&lake)), "what is open is there again");
    let after = held(&lake);
    assert!(before.keys().all(|key| after.contains_key(key)));
    expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0);
    assert_eq!(held_before_june(&lake), open);
    assert_sound(&lake);
}

fn held_numbers(sandbox: &Sandbox) -> BTreeSet<String> {
    before_june(sandbox).0
}

/// The Parquet files in the folders of both tables.
fn parquet_files(lake: &LakeDir) -> usize {
    lake.files().iter().filter(|name| name.ends_with(".parquet")).count()
}

/// What DuckDB counts by a glob and by the views: headers of all files, latest versions, open ones, and details.
fn seen(lake: &LakeDir) -> [u64; 4] {
    let views = tempfile::NamedTempFile::new().unwrap();
    let said = run(program().args(["views", "--engine", "duckdb", "--json", "--lake", &lake.text()])).expect_code(0);
    std::fs::write(views.path(), said.stdout).unwrap();
    let output = python::run("kept.py", &[&lake.text(), views.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
    ["glob", "latest", "open", "details"].map(|name| counts[name].as_u64().unwrap())
}

#[test]
fn a_glob_counts_kept_rows_twice_and_the_views_do_not() {
    let (sandbox, lake) = two_months();
    {
        let mut world = sandbox.world().lock();
        let number = world.requisitions().last().unwrap().purchase_apply_no.clone();
        world.edit_at(&number, at("2026-06-30 12:00:00"), |one| one.remark = "edited".into());
    }
    let before = seen(&lake);
    sync(&sandbox, &lake, &["--to", "2026-06-30", "--lookback", "30d", "--keep-removed", "1h"]).expect_code(0);
    let after = seen(&lake);
    assert_eq!(after[1..], before[1..], "no requisition more or less");
    assert!(after[0] > before[0] + 1, "{after:?} {before:?}");
    let committed = held(&lake).len() as u64;
    assert!(after[0] > committed);
    // After an expire the open ones are the same, by whatever file.
    expire(&lake, &["--before", "2026-06", "--yes"]).expect_code(0);
    let expired = seen(&lake);
    assert_eq!(expired[2], before[2], "what is open stays open, and nothing else is");
    assert!(expired[1] < before[1] && expired[3] < before[3]);
}

#[test]
fn removed_files_are_kept_for_readers_as_long_as_the_manifest_says() {
    let (sandbox, lake) = two_months();
    let edit = |remark: &str| {
        let mut world = sandbox.world().lock();
        let number = world.requisitions().last().unwrap().purchase_apply_no.clone();
        world.edit_at(&number, at("2026-06-30 12:00:00"), |one| one.remark = remark.into());
    };
    let refresh = |arguments: &[&str]| {
        let lookback = [&["--to", "2026-06-30", "--lookback", "2d"], arguments].concat();
        sync(&sandbox, &lake, &lookback).expect_code(0)
    };
    let committed = || {
        let said = ["purchase_apply", "purchase_apply_detail"]
            .map(|table| run(program().args(["files", table, "--lake", &lake.text()])).expect_code(0).stdout);
        said.iter().map(|said| said.lines().count()).sum::<usize>()
    };
    let keep_until = || {
        let last = lake.whole_manifests().pop().unwrap();
        last["keep_until"].as_str().and_then(BeijingTime::parse_rfc3339)
    };
    edit("kept for an hour");
    refresh(&["--keep-removed", "1h"]);
    let now = SystemClock.now();
    let until = keep_until().expect("the manifest says it");
    assert!(until > now.plus_seconds(3_000) && until <= now.plus_seconds(3_600));
    assert_eq!(parquet_files(&lake), committed() + 2, "a glob counts both");
    // A later run without the option keeps to it.
    edit("goes at once");
    refresh(&[]);
    assert_eq!((keep_until(), parquet_files(&lake)), (None, committed() + 2));
    verify(&lake).expect_code(0);

    // After its time the next run deletes it, whatever it came for.
    edit("kept for a second");
    refresh(&["--keep-removed", "1s"]);
    assert_eq!(parquet_files(&lake), committed() + 2 + 4, "the refreshed commit has rows in two parts");
    let until = keep_until().expect("the manifest says it");
    let began = Instant::now();
    while SystemClock.now() <= until {
        assert!(began.elapsed() < Duration::from_secs(60), "the clock does not stand");
        std::thread::sleep(Duration::from_millis(50));
    }
    let calls = sandbox.world().calls().len();
    sync(&sandbox, &lake, &RANGE).expect_code(0);
    assert_eq!((sandbox.world().calls().len(), parquet_files(&lake)), (calls, committed() + 2));
    // An expire keeps its files too, by the variable.
    let mut command = program();
    command.env("WDT_KEEP_REMOVED", "2h").args(["expire", "--before", "2026-06", "--yes", "--lake", &lake.text()]);
    let said = run(&mut command).expect_code(0);
    assert!(said.stdout.contains("the files are kept until"), "{said:?}");
    assert!(parquet_files(&lake) > committed() + 2);
    assert!(keep_until() > Some(SystemClock.now().plus_seconds(7_000)));
    verify(&lake).expect_code(0);
    run(program().env("WDT_KEEP_REMOVED", "soon").args(["expire", "--before", "2026-06", "--lake", &lake.text()]))
        .expect_code(2);
}

#[test]
fn each_account_expires_by_itself() {
    let (one, other) = (erp(200, 60, "2026-06-30 23:59:59"), erp(300, 60, "2026-06-30 23:59:59"));
    let lake = LakeDir::new();
    for (sandbox, name) in [(&one, "one"), (&other, "other")] {
        let mut command = program_at(sandbox);
        command.env("WDT_ACCOUNT", name).args(["sync", "--calls-per-minute", "0", "--lake", &lake.text()]).args(RANGE);
        run(&mut command).expect_code(0);
    }
    let of = |name: &str| {
        lake.files().into_iter().filter(|path| path.contains(&format!("account={name}/"))).collect::<Vec<_>>()
    };
    let before = of("other");
    expire(&lake, &["--before", "2026-06", "--account", "one", "--yes"]).expect_code(0);
    assert_eq!(of("other"), before, "the other is as it was");
    let said = expire(&lake, &["--before", "2026-06", "--yes", "--json"]).expect_code(0).json();
    let done: Vec<&Value> = said["accounts"].as_array().unwrap().iter().map(|one| &one["done"]).collect();
    assert_eq!(done, [false, true], "{said}");
    verify(&lake).expect_code(0);
    let may = |path: &String| path.starts_with("purchase_apply/") && path.contains("modified_month=2026-05");
    for (sandbox, name) in [(&one, "one"), (&other, "other")] {
        assert_eq!(
            of(name).iter().filter(|path| may(path)).count(),
            usize::from(!before_june(sandbox).0.is_empty()),
            "{name}"
        );
    }
}

/// What was removed cannot be taken back: it is told, whatever stops the other account.
#[test]
fn an_account_that_cannot_expire_hides_nothing_of_the_others() {
    let (one, lake) = (erp(200, 60, "2026-06-30 23:59:59"), LakeDir::new());
    for name in ["broken", "sound"] {
        let mut command = program_at(&one);
        command.env("WDT_ACCOUNT", name).args(["sync", "--calls-per-minute", "0", "--lake", &lake.text()]).args(RANGE);
        run(&mut command).expect_code(0);
    }
    let is_of_may = |name: &&String| name.starts_with("purchase_apply/account=broken/modified_month=2026-05");
    let files = lake.files();
    files.iter().filter(is_of_may).for_each(|name| std::fs::remove_file(lake.path().join(name)).unwrap());
    let said = expire(&lake, &["--before", "2026-06", "--yes", "--json"]).expect_code(8);
    let json = said.json();
    let [sound, broken] = &json["accounts"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!((&sound["account"], &sound["done"], &json["exit_code"]), (&"sound".into(), &true.into(), &8.into()));
    assert_eq!((&broken["account"], &broken["error"]["exit_code"]), (&"broken".into(), &8.into()), "{json}");
    assert!(said.stderr.contains("account: broken"), "{}", said.stderr);
}

#[test]
fn what_is_too_late_to_be_read_anew_is_named_and_the_rest_is_read() {
    let clock = SandboxClock::held(at("2026-06-30 12:00:00"));
    let requisitions = generate(11, 300, 20, at("2026-06-30 11:00:00"));
    let sandbox = Sandbox::start(Options { requisitions, clock, ..Options::default() }).expect("a sandbox");
    let lake = LakeDir::new();
    sync(&sandbox, &lake, &["--from", "2026-06-10"]).expect_code(0);
    let said = sync(&sandbox, &lake, &["--rewalk", "2026-06-25..2026-06-30", "--lag", "2h"]).expect_code(7);
    let json = said.json();
    assert!(json["rewalked"].as_u64() > Some(0) && json["rows"]["purchase_apply"].as_u64() > Some(20), "{json}");
    assert_eq!(json["gaps"].as_array().map(Vec::len), Some(1), "{json}");
    assert!(said.stderr.contains("later than the gateway's clock allows"), "{}", said.stderr);
    assert_sound(&lake);
    // A lookback says so, and walks the rest.
    let said = sync(&sandbox, &lake, &["--lookback", "3d", "--lag", "3h"]).expect_code(0).json();
    assert!(said["calls"].as_u64() > Some(0) && said["warnings"].to_string().contains("clock allows"), "{said}");
}

#[cfg(unix)]
#[test]
fn an_expire_does_not_work_beside_a_run() {
    let (sandbox, lake) = two_months();
    let (tell, told) = std::sync::mpsc::channel();
    let text = lake.text();
    crate::support::process::at_call(&sandbox, 1, move || {
        let said = run(program().args(["expire", "--before", "2026-06", "--yes", "--lake", &text]));
        tell.send(said).unwrap();
    });
    sync(&sandbox, &lake, &["--to", "2026-06-30", "--lookback", "2d"]).expect_code(0);
    sandbox.forget_script();
    let said = crate::support::process::told(&told).expect_code(6);
    assert!(said.stderr.contains("another run is at work"), "{said:?}");
    assert_sound(&lake);
}

#[cfg(unix)]
#[test]
fn an_expire_that_dies_is_finished_by_the_next_run() {
    for (point, is_committed) in [
        ("land.file_written", false),
        ("commit.files_written", false),
        ("commit.created", true),
        ("sweep.deleted_one", true),
    ] {
        let (sandbox, lake) = two_months();
        let before = held(&lake);
        let (open, _) = before_june(&sandbox);
        let mut command = program();
        command.env("WDT_LAKE_FAILPOINT", point).args([
            "expire",
            "--before",
            "2026-06",
            "--yes",
            "--lake",
            &lake.text(),
        ]);
        assert!(run(&mut command).code < 0, "{point}: it died");
        sync(&sandbox, &lake, &RANGE).expect_code(0);
        assert_eq!(held_before_june(&lake) == open, is_committed, "{point}");
        assert_eq!(held(&lake) == before, !is_committed, "{point}");
        assert_sound(&lake);
    }
}
