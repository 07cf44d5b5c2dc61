//! Promise 2 where a lake is tidied up: the real program dies at every named step of an expire, with files that are
//! kept for readers and without, and in a bucket of a compaction and of an expire. Run again, the lake holds what it
//! held before or what it holds after, and nothing that is kept was deleted. Two expires at once are one.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use wdt_lake::FAIL_POINTS;
use wdt_lake::sandbox::{Sandbox, Status};

use crate::crash::ABORTED;
use crate::s3_crash::points;
use crate::support::committed::{assert_exact, assert_nothing_left, held};
use crate::support::s3::S3Server;
use crate::support::{LakeDir, at, copy_folder, erp, program, program_at, run};

const JUNE: &str = "2026-06-01 00:00:00";
/// How often a run may pass a point before it dies there.
const PASSES: std::ops::RangeInclusive<u32> = 1..=2;

/// The days on which the runs that fed a lake ended: two in May, and so many in June that they are put together.
const ENDS: [&str; 10] = [
    "2026-05-25",
    "2026-05-31",
    "2026-06-01",
    "2026-06-02",
    "2026-06-03",
    "2026-06-04",
    "2026-06-05",
    "2026-06-06",
    "2026-06-07",
    "2026-06-08",
];

fn sync(sandbox: &Sandbox, lake: &str, to: &str, compact: &str) -> Command {
    let mut command = program_at(sandbox);
    command.args(["sync", "--json", "--calls-per-minute", "0", "--lake", lake, "--compact", compact]);
    command.args(["--from", "2026-05-20", "--to", to]);
    command
}

fn expire(lake: &str) -> Command {
    let mut command = program();
    command.args(["expire", "--before", "2026-06", "--yes", "--json", "--lake", lake]);
    command
}

/// The numbers of the requisitions that were modified before June and are open, and of all that the lake holds of then.
fn open_before_june(sandbox: &Sandbox) -> BTreeSet<String> {
    let is_open = |status| matches!(status, Status::ToConfirm | Status::ToReference | Status::PartlyReferenced);
    let world = sandbox.world().lock();
    let old = world.requisitions().filter(|one| one.modified < at(JUNE) && is_open(one.status));
    old.map(|one| one.purchase_apply_no.to_string()).collect()
}

fn held_before_june(lake: &LakeDir) -> BTreeSet<String> {
    held(lake).keys().filter(|(_, modified)| *modified < at(JUNE)).map(|(number, _)| number.clone()).collect()
}

fn has_expired(lake: &LakeDir) -> bool {
    let commits = lake.whole_manifests().into_iter().flat_map(|one| one["commits"].as_array().cloned());
    commits.flatten().any(|commit| commit["kind"] == "expire")
}

fn parquet_files(lake: &LakeDir) -> BTreeSet<String> {
    lake.files().into_iter().filter(|name| name.ends_with(".parquet")).collect()
}

/// A lake on disk of some commits in each month.
fn fed() -> (Sandbox, LakeDir) {
    let (sandbox, lake) = (erp(80, 20, "2026-06-08 23:59:59"), LakeDir::new());
    ENDS.iter().for_each(|to| drop(run(&mut sync(&sandbox, &lake.text(), to, "off")).expect_code(0)));
    (sandbox, lake)
}

/// Dies at each point of an expire; gives how often.
fn die_in_an_expire(keeps: bool) -> usize {
    let (sandbox, fed) = fed();
    let (open, before) = (open_before_june(&sandbox), held(&fed));
    assert!(!open.is_empty() && open.len() < held_before_june(&fed).len());
    let mut died = 0;
    for (point, nth) in FAIL_POINTS.into_iter().flat_map(|point| PASSES.map(move |nth| (point, nth))) {
        let (lake, about) = (fed.copy(), format!("{point}@{nth}"));
        let mut command = expire(&lake.text());
        command.current_dir(lake.path().parent().unwrap()).env("WDT_LAKE_FAILPOINT", &about);
        command.args(if keeps { &["--keep-removed", "1h"][..] } else { &[] });
        let said = run(&mut command);
        assert!([0, ABORTED].contains(&said.code), "{about}: {said:?}");
        died += usize::from(said.code == ABORTED);
        let is_done = has_expired(&lake);
        if keeps && is_done {
            assert!(parquet_files(&lake).is_superset(&parquet_files(&fed)), "{about}: what is kept is there");
        }
        if said.code != 0 && point == "put.staged" && nth == 1 {
            // It had no lease yet: what it has left is found by the daily sweep.
            lake.forget_the_end();
        }
        run(&mut sync(&sandbox, &lake.text(), "2026-06-08", "off")).expect_code(0);
        assert_eq!(has_expired(&lake), is_done, "{about}: nobody else can finish it");
        let now = held(&lake);
        assert!(if is_done { held_before_june(&lake) == open } else { now == before }, "{about}");
        if keeps && is_done {
            assert!(parquet_files(&lake).is_superset(&parquet_files(&fed)), "{about}: later runs keep it, too");
        } else {
            assert_nothing_left(&lake, &about);
        }
        run(&mut expire(&lake.text())).expect_code(0);
        assert_eq!(held_before_june(&lake), open, "{about}: the next one does what is left");
        run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
    }
    died
}

#[test]
fn death_in_an_expire_is_survived() {
    let died = die_in_an_expire(false);
    assert!(died >= 12, "{died} deaths");
}

/// What the dead one has removed stays for readers as long as its manifest says.
#[test]
fn death_in_an_expire_that_keeps_files_deletes_none_of_them() {
    let died = die_in_an_expire(true);
    assert!(died >= 12, "{died} deaths");
}

#[test]
fn two_expires_at_once_are_one() {
    let (sandbox, fed) = fed();
    let open = open_before_june(&sandbox);
    for round in 0..6 {
        let lake = fed.copy();
        let start = || {
            let mut command = expire(&lake.text());
            command.arg("--wait").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
        };
        for ended in [start(), start()].map(|child| child.wait_with_output().expect("it ends")) {
            assert!(ended.status.success(), "round {round}: {ended:?}");
        }
        assert_eq!(held_before_june(&lake), open, "round {round}");
        run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
        assert_nothing_left(&lake, "two at once");
    }
}

/// A lake in a bucket, and what is done with it.
struct Harbour {
    sandbox: Sandbox,
    server: S3Server,
    bucket: String,
    /// A folder where core files may fall.
    folder: LakeDir,
}

fn uri(bucket: &str) -> String {
    format!("s3://{bucket}/lake")
}

impl Harbour {
    fn new() -> Self {
        let (sandbox, server, folder) = (erp(80, 20, "2026-06-08 23:59:59"), S3Server::start(), LakeDir::new());
        std::fs::create_dir_all(folder.path()).unwrap();
        let bucket = server.bucket();
        let harbour = Self { sandbox, server, bucket, folder };
        for to in ENDS {
            harbour.run(sync(&harbour.sandbox, &uri(&harbour.bucket), to, "off"), 0);
        }
        harbour
    }

    fn run(&self, mut command: Command, code: i32) {
        run(command.envs(self.server.environment())).expect_code(code);
    }

    fn copy(&self) -> String {
        let copy = self.server.bucket();
        copy_folder(&self.server.folder(&self.bucket), &self.server.folder(&copy));
        copy
    }

    /// Dies at each point of a command, and lets a run and the command itself come after it. Gives how often it died.
    fn die(&self, command: impl Fn(&str) -> Command, check: impl Fn(&LakeDir, &str)) -> usize {
        let mut died = 0;
        for (point, nth) in points().into_iter().flat_map(|point| PASSES.map(move |nth| (point, nth))) {
            let (bucket, about) = (self.copy(), format!("{point}@{nth}"));
            let lake = uri(&bucket);
            let mut dying = command(&lake);
            dying.envs(self.server.environment()).current_dir(self.folder.path()).env("WDT_LAKE_FAILPOINT", &about);
            let said = run(&mut dying);
            assert!([0, ABORTED].contains(&said.code), "{about}: {said:?}");
            died += usize::from(said.code == ABORTED);
            self.run(sync(&self.sandbox, &lake, "2026-06-08", "off"), 0);
            self.run(command(&lake), 0);
            let held = LakeDir::of(&self.server.folder(&bucket).join("lake"));
            check(&held, &about);
            assert_nothing_left(&held, &about);
            assert_eq!(self.server.open_uploads(), 0, "{about}");
        }
        died
    }
}

#[test]
fn death_in_a_compaction_in_a_bucket_is_survived() {
    let harbour = Harbour::new();
    let compact = |lake: &str| {
        let mut command = program();
        command.args(["compact", "--lake", lake]);
        command
    };
    let held = |bucket: &str| LakeDir::of(&harbour.server.folder(bucket).join("lake"));
    let alone = harbour.copy();
    harbour.run(compact(&uri(&alone)), 0);
    let files = parquet_files(&held(&alone)).len();
    assert!(files < parquet_files(&held(&harbour.bucket)).len());
    let died = harbour.die(compact, |held, about| {
        assert_exact(held, harbour.sandbox.world().lock().journal().versions(), about);
        assert_eq!(parquet_files(held).len(), files, "{about}: as when nobody dies");
    });
    assert!(died >= 12, "{died} deaths");
}

#[test]
fn death_in_an_expire_in_a_bucket_is_survived() {
    let harbour = Harbour::new();
    let open = open_before_june(&harbour.sandbox);
    let died = harbour.die(expire, |held, about| assert_eq!(held_before_june(held), open, "{about}"));
    assert!(died >= 12, "{died} deaths");
}
