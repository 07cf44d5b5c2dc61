//! Promise 8 for Delta tables: random histories of a lake by the real program (syncs, refreshes, ranges walked again,
//! compactions, expires, stops, two accounts, two publishers at once), which dies at named steps and is followed by
//! others that fence what it left. Every version that was ever published is then read by real readers, on disk and in a
//! bucket, in every column of every row, and is the committed set at the manifests that it names. The oracle adds up
//! the manifests itself, and reads the files as plain Parquet.
//!
//! `WDT_WORLDS` is a hundred times the number of histories, and `WDT_SEED` the first seed. A hundred times as many
//! histories are tried by a unit test without real readers (`pipeline/publish/worlds_tests.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use wdt_lake::sandbox::{Quantity, Sandbox, Status};
use wdt_lake::{Edition, FAIL_POINTS};

use crate::crash::ABORTED;
use crate::support::delta::{BUCKET_READERS, READERS, ReadingJob, VersionFiles, expected, newest_checkpoint, versions};
use crate::support::process::{end, start};
use crate::support::s3::S3Server;
use crate::support::{LakeDir, Said, at, erp_of, program, program_at, run};

const TABLES: [&str; 3] = ["purchase_apply_detail", "purchase_apply", "stop_reference"];
const ACCOUNTS: [&str; 2] = ["acme", "second"];
const POINTS: [&str; 3] = ["publish.read", "publish.created", "publish.checkpointed"];
const DAY: i64 = 86_400;
/// The last day of the ERP, counted from the first of June.
const LAST_DAY: i64 = 49;
/// Asked for what cannot be.
const USAGE: i32 = 2;
/// In use by another run, or in conflict with it.
const BUSY: i32 = 6;
/// Done, with stops that are refused or not known yet.
const PARTLY: i32 = 3;

fn day(nth: i64) -> String {
    at("2026-06-01 00:00:00").plus_seconds(nth * DAY).to_string()[..10].to_owned()
}

/// Where a lake lies.
enum Place<'a> {
    Disk(LakeDir),
    Bucket(&'a S3Server, String),
}

/// A lake, its ERP, and the dice.
struct World<'a> {
    seed: u64,
    rng: StdRng,
    sandbox: Sandbox,
    place: Place<'a>,
    /// Where core files may fall.
    folder: LakeDir,
    /// Up to which day each account is synced.
    days: BTreeMap<&'static str, i64>,
    /// Whether replaced files stay for readers of older versions, in all runs.
    keeps: bool,
    deaths: usize,
}

impl<'a> World<'a> {
    fn new(seed: u64, place: Place<'a>, keeps: bool) -> Self {
        let sandbox = erp_of(Edition::Flagship, 150, 60, "2026-07-20 23:59:59");
        let folder = LakeDir::new();
        std::fs::create_dir_all(folder.path()).unwrap();
        let days = ACCOUNTS.map(|account| (account, 0)).into();
        Self { seed, rng: StdRng::seed_from_u64(seed), sandbox, place, folder, days, keeps, deaths: 0 }
    }

    fn below(&mut self, limit: i64) -> i64 {
        self.rng.random_range(0..limit)
    }

    fn chance(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    fn uri(&self) -> String {
        match &self.place {
            Place::Disk(lake) => lake.path().display().to_string(),
            Place::Bucket(_, bucket) => format!("s3://{bucket}/lake"),
        }
    }

    fn environment(&self) -> Vec<(String, String)> {
        match &self.place {
            Place::Disk(_) => Vec::new(),
            Place::Bucket(server, _) => server.environment(),
        }
    }

    /// The lake as files.
    fn held(&self) -> LakeDir {
        match &self.place {
            Place::Disk(lake) => lake.copy(),
            Place::Bucket(server, bucket) => LakeDir::of(&server.folder(bucket).join("lake")),
        }
    }

    fn command(&self, account: Option<&str>, arguments: &[&str]) -> Command {
        let mut command = match account {
            Some(account) => {
                let mut command = program_at(&self.sandbox);
                command.env("WDT_ACCOUNT", account);
                command
            }
            None => program(),
        };
        command.envs(self.environment()).current_dir(self.folder.path());
        command.args(arguments).args(["--json", "--lake", &self.uri()]);
        command
    }

    /// How long a run keeps what it replaces.
    fn kept(&mut self) -> &'static str {
        if self.keeps || self.chance(50) { "7d" } else { "0s" }
    }

    fn sync(&mut self, account: &'static str, publishes: bool) -> Command {
        let to = (self.days[account] + self.below(6)).min(LAST_DAY);
        let (from, to) = if self.chance(15) {
            let first = self.below(self.days[account] + 1);
            (None, format!("--rewalk={}..{}", day(first), day((first + 3).min(LAST_DAY))))
        } else {
            self.days.insert(account, to);
            let lookback = ["1m", "2d", "20d"][self.below(3) as usize];
            (Some(["--from", "2026-05-25", "--lookback", lookback]), format!("--to={}", day(to)))
        };
        let kept = self.kept();
        let mut command = self.command(Some(account), &["sync", "--calls-per-minute", "0", "--page-size", "50"]);
        command.args(from.iter().flatten()).args([&*to, "--keep-removed", kept]);
        if self.chance(40) {
            command.args(["--compact", "off"]);
        }
        if publishes {
            command.args(["--publish", "delta"]);
        }
        command
    }

    /// Edits some requisitions: those of past seconds are found by a refresh only.
    fn edit(&mut self) {
        let until = at(&format!("{} 23:59:59", day(self.days["acme"])));
        let numbers: Vec<String> = {
            let world = self.sandbox.world().lock();
            let old = world.requisitions().filter(|one| one.modified < until);
            old.map(|one| one.purchase_apply_no.to_string()).collect()
        };
        for _ in 0..self.below(5) {
            let number = &numbers[self.rng.random_range(0..numbers.len())];
            let (modified, pieces) = (until.plus_seconds(-self.below(4 * DAY)), self.below(50));
            self.sandbox.world().lock().edit_at(number, modified, |one| {
                one.details[0].real_num = Quantity::pieces(pieces);
            });
        }
    }

    fn stop(&mut self) -> Command {
        let partly: Vec<String> = {
            let world = self.sandbox.world().lock();
            let partly = world.requisitions().filter(|one| one.status == Status::PartlyReferenced);
            partly.map(|one| one.purchase_apply_no.to_string()).collect()
        };
        let first = self.rng.random_range(0..partly.len());
        let numbers: Vec<&str> = partly.iter().skip(first).take(2).map(String::as_str).collect();
        let mut command = self.command(Some("acme"), &["stop", "--yes", "--ignore-lake", "--calls-per-minute", "0"]);
        command.args(["--timeout", "2s", "--max-retry-time", "3s", "--margin", "1s"]).args(numbers);
        command
    }

    fn any(&mut self) -> Command {
        match self.below(16) {
            0..=6 => {
                self.edit();
                let publishes = self.chance(60);
                self.sync("acme", publishes)
            }
            7 | 8 => {
                let publishes = self.chance(60);
                self.sync("second", publishes)
            }
            9 | 10 => {
                let kept = self.kept();
                self.command(None, &["compact", "--keep-removed", kept])
            }
            11 => {
                let (month, kept) = (["2026-06", "2026-07"][self.below(2) as usize], self.kept());
                self.command(None, &["expire", "--yes", "--before", month, "--keep-removed", kept])
            }
            12 | 13 => self.stop(),
            _ => self.command(None, &["publish"]),
        }
    }

    fn check_code(&self, said: &Said, about: &str) {
        // An expire of a month that is not over in the lake.
        let is_early = said.code == USAGE && said.stderr.contains("the lake is covered until");
        let is_fine = [0, ABORTED, BUSY, PARTLY].contains(&said.code) || is_early;
        assert!(is_fine, "seed {}, {about}: {said:?}", self.seed);
    }

    fn step(&mut self) {
        if self.chance(25) {
            let publishes = self.command(None, &["publish"]);
            let pair = match self.below(3) {
                0 => [self.sync("acme", true), self.sync("second", true)],
                1 => [self.sync("acme", true), publishes],
                _ => [self.any(), publishes],
            };
            for child in pair.map(|mut command| start(&mut command)) {
                let said = end(child);
                self.check_code(&said, "two at once");
            }
            return;
        }
        let mut command = self.any();
        if self.chance(30) {
            let points: Vec<&str> = FAIL_POINTS.into_iter().chain(POINTS).collect();
            let point = points[self.rng.random_range(0..points.len())];
            command.env("WDT_LAKE_FAILPOINT", format!("{point}@{}", 1 + self.below(3)));
        }
        let said = run(&mut command);
        self.deaths += usize::from(said.code == ABORTED);
        self.check_code(&said, &format!("{command:?}"));
    }

    /// Whatever happened: each newest version names files that are there, and is what its manifests say.
    fn check(&self) {
        let lake = self.held();
        for table in TABLES {
            let Some((version, files)) = expected(&lake, table).pop_last() else { continue };
            assert_eq!(active(&lake, table), files, "seed {}: {table} version {version}", self.seed);
            let gone: Vec<_> = files.iter().filter(|path| !lake.path().join(path).exists()).collect();
            assert!(gone.is_empty(), "seed {}: {table} version {version} names {gone:?}", self.seed);
        }
    }

    /// A whole history; the last runs bring everything up to date.
    fn live(&mut self, steps: usize) {
        run(&mut self.sync("acme", true)).expect_code(0);
        for _ in 0..steps {
            self.step();
            self.check();
        }
        for account in ACCOUNTS {
            let said = run(&mut self.sync(account, true));
            self.check_code(&said, "the last sync");
        }
        for created in [None, Some(0)] {
            let said = run(&mut self.command(None, &["publish"])).expect_code(0).json();
            for table in
                said["accounts"].as_array().unwrap().iter().flat_map(|one| one["published"].as_array().unwrap())
            {
                assert!(created.is_none_or(|created| table["versions_created"] == created), "published twice: {said}");
            }
        }
        self.check();
        run(&mut self.command(None, &["verify"])).expect_code(0);
    }

    /// The versions of each table whose files are all there.
    fn readable(&self, lake: &LakeDir) -> BTreeMap<&'static str, VersionFiles> {
        let is_there = |files: &BTreeSet<String>| files.iter().all(|path| lake.path().join(path).exists());
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let all = expected(lake, table);
            let mut readable = all.clone();
            readable.retain(|_, files| is_there(files));
            assert!(!self.keeps || readable.len() == all.len(), "seed {}: nothing was deleted", self.seed);
            if !readable.is_empty() {
                tables.insert(table, readable);
            }
        }
        tables
    }
}

/// The active files of the newest version, by the actions of all.
fn active(lake: &LakeDir, table: &str) -> BTreeSet<String> {
    let mut active = BTreeSet::new();
    for action in versions(lake, table).iter().flatten() {
        if let Some(path) = action["remove"]["path"].as_str() {
            assert!(active.remove(&format!("{table}/{path}")), "{path} is removed and was not active");
        }
        if let Some(path) = action["add"]["path"].as_str() {
            assert!(active.insert(format!("{table}/{path}")), "{path} is added twice");
        }
    }
    active
}

/// A copy of a lake whose tables were deleted and published anew: the same tables in one version for each account.
fn published_anew(lake: &LakeDir) -> LakeDir {
    let copy = lake.copy();
    let before: Vec<_> = TABLES.iter().map(|table| (versions(lake, table), active(lake, table))).collect();
    for table in TABLES {
        let _ = std::fs::remove_dir_all(copy.path().join(table).join("_delta_log"));
    }
    run(program().args(["publish", "--lake", &copy.text()])).expect_code(0);
    for (table, (before, files)) in TABLES.iter().zip(before).filter(|(_, (before, _))| !before.is_empty()) {
        let anew = versions(&copy, table);
        assert_eq!(active(&copy, table), files, "{table}");
        let said = |all: &[Vec<Value>], field: &str| -> Value {
            all[0].iter().find_map(|action| action.get(field)).expect("version 0 says it").clone()
        };
        assert_eq!(said(&anew, "protocol"), said(&before, "protocol"));
        for field in ["id", "name", "schemaString", "partitionColumns", "configuration"] {
            assert_eq!(said(&anew, "metaData")[field], said(&before, "metaData")[field], "{table}");
        }
    }
    copy
}

/// Every reader says of every version what the files say.
fn assert_all_say_the_same(said: &Value, readers: &[&str]) {
    for reader in readers {
        for (lake, tables) in said["files"].as_object().unwrap() {
            for (table, versions) in tables.as_object().unwrap() {
                for (version, expected) in versions.as_object().unwrap() {
                    assert_eq!(
                        &said[reader][lake][table][version], expected,
                        "{reader}: {lake}, {table} version {version}"
                    );
                }
            }
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

fn seeds() -> std::ops::Range<u64> {
    let first = number("WDT_SEED", 1);
    first..first + (number("WDT_WORLDS", 300) / 100).max(1)
}

#[test]
fn every_version_of_random_histories_is_the_committed_set_to_real_readers() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let (mut deaths, mut read) = (0, 0);
    for seed in seeds() {
        let mut world = World::new(seed, Place::Disk(LakeDir::new()), seed % 2 == 1);
        world.live(16);
        deaths += world.deaths;
        let Place::Disk(lake) = &world.place else { unreachable!("it lies on disk") };
        for manifest in lake.manifests() {
            *kinds.entry(manifest["kind"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let tables = world.readable(lake);
        read += tables.values().map(BTreeMap::len).sum::<usize>();
        let anew = published_anew(lake);
        let newest = |table: &&'static str| (*table, expected(&anew, table).pop_last().into_iter().collect());
        let newest: BTreeMap<&str, VersionFiles> = tables.keys().map(newest).collect();
        let mut job = ReadingJob::default();
        job.add("lake", &lake.text(), lake, &tables);
        job.add("anew", &anew.text(), &anew, &newest);
        let said = job.read(&[&["files"], &READERS[..]].concat(), &[]);
        assert_all_say_the_same(&said, &READERS);
        for (table, versions) in &tables {
            let (newest, _) = versions.last_key_value().expect("the newest can be read");
            let anew = said["files"]["anew"][table].as_object().expect("it is there anew").values().next();
            let before = &said["files"]["lake"][table][newest.to_string()];
            assert_eq!(anew, Some(before), "seed {seed}: {table} is another one");
        }
        // Sail reads no version that is older than the newest checkpoint: see docs/readers.md.
        let mut job = ReadingJob::default();
        let since = |(table, all): (&&'static str, &VersionFiles)| {
            let from = newest_checkpoint(lake, table).unwrap_or(0);
            (*table, all.range(from..).map(|(version, files)| (*version, files.clone())).collect::<VersionFiles>())
        };
        job.add("lake", &lake.text(), lake, &tables.iter().map(since).collect());
        assert_all_say_the_same(&job.read(&["files", "sail"], &[]), &["sail"]);
    }
    println!("{read} versions, {deaths} deaths, {kinds:?}");
    let all = ["sync", "refresh", "compaction", "expire", "stop_intent", "fence"];
    let is_full = deaths >= 3 && all.iter().all(|kind| kinds.contains_key(*kind));
    assert!(seeds().count() < 3 || is_full, "{deaths} deaths, {kinds:?}");
}

#[test]
fn every_version_of_a_random_history_in_a_bucket_is_the_committed_set_to_real_readers() {
    let server = S3Server::start();
    for seed in seeds().step_by(3) {
        let mut world = World::new(seed, Place::Bucket(&server, server.bucket()), true);
        world.live(10);
        let lake = world.held();
        let tables = world.readable(&lake);
        let mut job = ReadingJob::default();
        job.add("lake", &world.uri(), &lake, &tables);
        for readers in [&BUCKET_READERS[..], &["clickhouse"]] {
            let said = job.read(&[&["files"], readers].concat(), &world.environment());
            assert_all_say_the_same(&said, readers);
        }
        assert!(tables["purchase_apply"].len() > 3, "seed {seed}: {:?}", tables["purchase_apply"].keys());
    }
}
