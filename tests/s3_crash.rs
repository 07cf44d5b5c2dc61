//! Promise 2 in a bucket: the real program dies at every named step that a lake on S3 has, and at requests and calls of
//! its own, while it fills and while it refreshes the lake. What it had sent may arrive after its death, or never. Run
//! again, it leaves every version in the lake once, no orphan, and nothing half written. Some of it is tried again
//! where objects are created as on Alibaba OSS.

use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use wdt_lake::{BUCKET_FAIL_POINTS, FAIL_POINTS, Store};

use crate::crash::{ABORTED, KILLED};
use crate::support::campaign::{Campaign, Job};
use crate::support::committed::assert_whole_in;
use crate::support::creates::Creates;
use crate::support::moto::Moto;
use crate::support::process::{at_call, end, run_signalled, signal, start, told};
use crate::support::s3::{Fault, Held, S3Server};
use crate::support::{LakeDir, Said, copy_folder, program, run};

/// How a process ends that is to die at a named point; a release build has none.
const AT_A_POINT: i32 = if cfg!(debug_assertions) { ABORTED } else { 0 };

/// An ERP, and a server for lakes. A lake is named by its bucket.
struct Coast {
    campaign: Campaign,
    server: S3Server,
    /// A lake that was up to date before the ERP's history was rewritten.
    filled: String,
    /// A folder where core files may fall.
    folder: LakeDir,
}

impl Coast {
    fn new() -> Self {
        Self::that_creates(Creates::LikeS3)
    }

    fn that_creates(creates: Creates) -> Self {
        let (campaign, server, folder) = (Campaign::new(), S3Server::start_as(creates), LakeDir::new());
        std::fs::create_dir_all(folder.path()).unwrap();
        let coast = Self { filled: server.bucket(), campaign, server, folder };
        run(&mut coast.sync(&coast.filled, Job::Fill)).expect_code(0);
        coast.campaign.rewrite_history();
        coast
    }

    fn sync(&self, lake: &str, job: Job) -> Command {
        let mut command = self.campaign.sync_into(&uri(lake), 20, job);
        command.envs(self.server.environment()).current_dir(self.folder.path());
        command
    }

    fn copy(&self, lake: &str) -> String {
        let copy = self.server.bucket();
        copy_folder(&self.server.folder(lake), &self.server.folder(&copy));
        copy
    }

    /// Runs once more, and looks at every object that is then in the bucket.
    fn assert_mended(&self, lake: &str, begun: Job, about: &str) {
        let last = run(&mut self.sync(lake, Job::Refresh));
        assert_eq!(last.code, 0, "{about}: {last:?}");
        let held = LakeDir::of(&self.server.folder(lake).join("lake"));
        match begun {
            Job::Fill => self.campaign.assert_current(&held, about),
            Job::Refresh => self.campaign.assert_whole(&held, about),
        }
        let environment = self.server.environment();
        let verified = run(program().envs(environment).args(["verify", "--deep", "--lake", &uri(lake)]));
        assert_eq!(verified.code, 0, "{about}: {verified:?}");
        assert_eq!(self.server.open_uploads(), 0, "{about}");
    }
}

fn uri(bucket: &str) -> String {
    format!("s3://{bucket}/lake")
}

/// The points that a lake in a bucket passes whose objects are small.
pub(crate) fn points() -> Vec<&'static str> {
    let is_of_disk = |point: &&str| point.starts_with("put.") || point.starts_with("create.");
    let of_bucket = BUCKET_FAIL_POINTS.into_iter().filter(|point| !point.starts_with("upload."));
    FAIL_POINTS.into_iter().filter(|point| !is_of_disk(point)).chain(of_bucket).collect()
}

fn aborted(coast: &Coast, point: &str, lake: &str, job: Job) -> Said {
    run(coast.sync(lake, job).env("WDT_LAKE_FAILPOINT", point))
}

#[test]
fn death_at_every_named_step_in_a_bucket_is_survived() {
    let coast = Coast::new();
    let orphaned = coast.server.bucket();
    assert_eq!(aborted(&coast, "commit.files_written@3", &orphaned, Job::Fill).code, AT_A_POINT);
    for point in points() {
        let found = match point {
            "commit.removed_one" => vec![(&coast.filled, Job::Refresh)],
            "sweep.listed" | "sweep.fenced" | "sweep.deleted_one" => vec![(&orphaned, Job::Fill)],
            _ => vec![(&orphaned, Job::Fill), (&coast.filled, Job::Refresh)],
        };
        for (found, job) in found {
            // A run sweeps once. The first object that it puts is its lease; the second, of a commit, is tried where it
            // refreshes.
            let last = if job == Job::Fill || matches!(point, "sweep.listed" | "sweep.fenced") { 1 } else { 2 };
            for nth in 1..=last {
                let (lake, about) = (coast.copy(found), format!("{point}@{nth}, {job:?}"));
                let said = aborted(&coast, &format!("{point}@{nth}"), &lake, job);
                assert_eq!(said.code, AT_A_POINT, "{about} is passed: {said:?}");
                coast.assert_mended(&lake, job, &about);
            }
        }
    }
}

/// A big object is put in parts. Who dies meanwhile leaves an upload that is seen by nobody, and a note by which the
/// next run aborts it.
#[test]
fn death_within_an_upload_in_parts_is_survived() {
    let (campaign, moto, folder) = (Campaign::new(), Moto::start(), LakeDir::new());
    std::fs::create_dir_all(folder.path()).unwrap();
    let (versions, mut left) = (campaign.versions(), 0);
    for point in BUCKET_FAIL_POINTS.into_iter().filter(|point| point.starts_with("upload.")) {
        for nth in [1, 4] {
            let about = format!("{point}@{nth}");
            let lake = moto.lake(&about.replace(['.', '@'], "-"));
            let sync = || {
                let mut command = campaign.sync_into(&lake, 20, Job::Fill);
                // Every data file is put in several parts, and nothing else is.
                command.envs(moto.environment()).env("WDT_LAKE_PART_BYTES", "3000").current_dir(folder.path());
                command
            };
            let died = run(sync().env("WDT_LAKE_FAILPOINT", &about));
            assert_eq!(died.code, AT_A_POINT, "{about} is passed: {died:?}");
            let (uploads, parts) = moto.open_uploads();
            assert_eq!(uploads > 0, AT_A_POINT == ABORTED, "{about}");
            left += parts;
            run(&mut sync()).expect_code(0);
            let variables = moto.environment().map(|(name, value)| (name.to_owned(), value.to_owned()));
            let store = Store::s3(&lake, variables).unwrap();
            assert_whole_in(&store, Campaign::range(), &versions, &about);
            // An upload whose note was not written yet has no parts, and stays.
            assert_eq!(moto.open_uploads().1, 0, "{about}");
        }
    }
    assert_eq!(left > 0, AT_A_POINT == ABORTED, "parts were left, and cleared away");
}

/// What becomes of the request at which a process dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Last {
    /// It has its effect when its sender is dead already.
    Arrives,
    /// It never arrives.
    IsLost,
}

/// Runs the program and kills it at its `nth` request to the server.
fn killed_at_request(coast: &Coast, lake: &str, job: Job, nth: u64, last: Last) -> Said {
    let (started, process) = channel();
    let (held, mut requests) = (Held::new(), 0);
    let (dies, has_died) = channel();
    let hold = Arc::clone(&held);
    coast.server.break_by(move |_| {
        requests += 1;
        (requests == nth).then(|| {
            signal(told(&process), "KILL");
            dies.send(()).unwrap();
            match last {
                Last::Arrives => Fault::Hold(Arc::clone(&hold)),
                Last::IsLost => Fault::Refuse(503),
            }
        })
    });
    let child = start(&mut coast.sync(lake, job));
    started.send(child.id()).unwrap();
    let said = end(child);
    coast.server.break_by(|_| None);
    if has_died.try_recv().is_ok() && last == Last::Arrives {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(held.release());
    }
    said
}

#[test]
fn deaths_at_requests_and_calls_lose_and_double_nothing_in_a_bucket() {
    let number =
        |name: &str, default: u64| std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"));
    let (first, lives) = (number("WDT_SEED", 1), number("WDT_DEATHS", 12));
    println!("seeds {first} to {}", first + lives - 1);
    let deaths = deaths_of(&Coast::new(), first..first + lives);
    println!("{deaths} deaths");
    assert!(deaths >= lives / 2, "most are killed: {deaths} of {lives}");
}

/// Random deaths of one life a seed; gives how many there were.
fn deaths_of(coast: &Coast, seeds: std::ops::Range<u64>) -> u64 {
    let mut deaths = 0;
    for seed in seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let begun = if rng.random_bool(0.5) { Job::Fill } else { Job::Refresh };
        let lake = if begun == Job::Fill { coast.server.bucket() } else { coast.copy(&coast.filled) };
        let mut story = format!("seed {seed}");
        for _ in 0..rng.random_range(1..4) {
            let job = if rng.random_bool(0.5) { Job::Fill } else { Job::Refresh };
            let said = if rng.random_bool(0.7) {
                let nth = rng.random_range(1..60);
                let last = if rng.random_bool(0.5) { Last::Arrives } else { Last::IsLost };
                story += &format!(", {job:?} until request {nth}, which {last:?}");
                killed_at_request(coast, &lake, job, nth, last)
            } else {
                let nth = rng.random_range(1..15);
                story += &format!(", {job:?} until call {nth}");
                run_signalled(&coast.campaign.erp, &mut coast.sync(&lake, job), nth, "KILL")
            };
            assert!([0, KILLED].contains(&said.code), "{story}: {said:?}");
            deaths += u64::from(said.code != 0);
        }
        coast.assert_mended(&lake, begun, &story);
    }
    deaths
}

/// What differs there is how objects are created, so these steps are tried, and a few deaths at random.
#[test]
fn death_where_objects_are_created_like_oss_is_survived() {
    let coast = Coast::that_creates(Creates::LikeOss);
    let empty = coast.server.bucket();
    for point in points().into_iter().filter(|point| point.starts_with("create.")) {
        for (found, job) in [(&empty, Job::Fill), (&coast.filled, Job::Refresh)] {
            let (lake, about) = (coast.copy(found), format!("{point}, {job:?}"));
            let said = aborted(&coast, point, &lake, job);
            assert_eq!(said.code, AT_A_POINT, "{about} is passed: {said:?}");
            coast.assert_mended(&lake, job, &about);
        }
    }
    assert!(deaths_of(&coast, 1..5) > 0);
}

/// Two processes that both believe to be alone: the first is frozen within its work, and the second, which finds no
/// lease, does everything before the first goes on. Only the conditional create keeps them apart.
#[test]
fn two_at_once_lose_and_double_nothing_in_a_bucket() {
    for creates in [Creates::LikeS3, Creates::LikeOss] {
        two_at_once_are_kept_apart(&Coast::that_creates(creates));
    }
}

fn two_at_once_are_kept_apart(coast: &Coast) {
    for (job, call) in [(Job::Fill, 1), (Job::Fill, 6), (Job::Refresh, 3), (Job::Refresh, 9)] {
        let lake = if job == Job::Fill { coast.server.bucket() } else { coast.copy(&coast.filled) };
        let about = format!("{job:?}, frozen at call {call}");
        let (started, process) = channel();
        let (freezes, is_frozen) = channel();
        at_call(&coast.campaign.erp, call, move || {
            signal(told(&process), "STOP");
            freezes.send(()).unwrap();
        });
        let first = start(&mut coast.sync(&lake, job));
        started.send(first.id()).unwrap();
        told(&is_frozen);
        std::fs::remove_file(coast.server.folder(&lake).join("lake/_lease/account=sandbox.json")).unwrap();
        let second = run(&mut coast.sync(&lake, job));
        assert_eq!(second.code, 0, "{about}: {second:?}");
        signal(first.id(), "CONT");
        let first = end(first);
        assert_eq!(first.code, 0, "{about}: {first:?}");
        coast.campaign.erp.forget_script();
        coast.assert_mended(&lake, job, &about);
    }
}
