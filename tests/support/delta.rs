//! What is published as Delta tables, by an oracle that adds up manifests and versions itself, and by real readers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::s3::S3Server;
use super::{LakeDir, erp, program_at, python, run};

/// The tables that every lake has, in the order in which they are published.
pub(crate) const TABLES: [&str; 2] = ["purchase_apply_detail", "purchase_apply"];
/// The readers of tables on local disk, but for Sail.
pub(crate) const READERS: [&str; 4] = ["deltalake", "polars", "duckdb", "daft"];
/// Those of tables in a bucket, but for ClickHouse, whose `deltaLake` reads no folder.
pub(crate) const BUCKET_READERS: [&str; 2] = ["duckdb", "polars"];

/// The actions of each version, as far as they stand.
pub(crate) fn versions(lake: &LakeDir, table: &str) -> Vec<Vec<Value>> {
    let read = |version: usize| {
        let path = lake.path().join(format!("{table}/_delta_log/{version:020}.json"));
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    };
    (0..).map_while(read).collect()
}

/// The manifests of an account, added up one after the other.
struct History {
    /// When each was begun, in milliseconds, and the files that are committed after it, by table.
    after: Vec<(i64, BTreeMap<String, BTreeSet<String>>)>,
}

impl History {
    fn of(manifests: &[Value], account: &str) -> Self {
        let (mut live, mut after) = (BTreeMap::<String, Vec<Value>>::new(), Vec::new());
        for manifest in manifests.iter().filter(|manifest| manifest["account"]["name"] == account) {
            assert_eq!(manifest["number"], after.len() as u64 + 1);
            for id in manifest["removes"].as_array().unwrap() {
                live.remove(id.as_str().unwrap()).expect("it was live");
            }
            for commit in manifest["commits"].as_array().unwrap() {
                live.insert(commit["id"].as_str().unwrap().to_owned(), commit["files"].as_array().unwrap().clone());
            }
            let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for file in live.values().flatten() {
                let table = file["table"].as_str().unwrap().to_owned();
                files.entry(table).or_default().insert(file["path"].as_str().unwrap().to_owned());
            }
            let begun = manifest["created_at"].as_str().unwrap();
            after.push((millis(begun), files));
        }
        Self { after }
    }

    fn at(&self, number: u64) -> &(i64, BTreeMap<String, BTreeSet<String>>) {
        &self.after[usize::try_from(number).unwrap() - 1]
    }
}

/// The milliseconds of a time as manifests write it.
fn millis(text: &str) -> i64 {
    let local = text.strip_suffix("+08:00").unwrap_or_else(|| panic!("{text} is no Beijing time"));
    super::at(&local.replace('T', " ")).unix() * 1_000
}

/// The files that are committed after so many manifests of an account, by table.
pub(crate) fn committed(lake: &LakeDir, account: &str, number: u64) -> BTreeMap<String, BTreeSet<String>> {
    let history = History::of(&lake.whole_manifests(), account);
    history.at(number.min(history.after.len() as u64)).1.clone()
}

/// The files of each version by the manifests that it names, relative to the lake. No `txn` goes back, and each says
/// when its manifest was begun.
pub(crate) fn expected(lake: &LakeDir, table: &str) -> BTreeMap<u64, BTreeSet<String>> {
    let manifests = lake.whole_manifests();
    let mut histories: BTreeMap<String, History> = BTreeMap::new();
    let (mut published, mut expected) = (BTreeMap::<String, u64>::new(), BTreeMap::new());
    for (version, actions) in versions(lake, table).iter().enumerate() {
        for txn in actions.iter().map(|action| &action["txn"]).filter(|txn| txn.is_object()) {
            let account = txn["appId"].as_str().unwrap().strip_prefix("wdt-lake:").unwrap().to_owned();
            let history = histories.entry(account.clone()).or_insert_with(|| History::of(&manifests, &account));
            let number = txn["version"].as_u64().unwrap();
            assert_eq!(txn["lastUpdated"], history.at(number).0, "{table} version {version}, manifest {number}");
            let before = published.insert(account, number);
            assert!(before < Some(number), "{table} version {version}: from {before:?} to {number}");
        }
        let of_account = |(account, number): (&String, &u64)| histories[account].at(*number).1.get(table).cloned();
        expected.insert(version as u64, published.iter().filter_map(of_account).flatten().collect());
    }
    expected
}

/// The newest checkpoint of a table.
pub(crate) fn newest_checkpoint(lake: &LakeDir, table: &str) -> Option<u64> {
    let folder = format!("{table}/_delta_log/");
    let of = |name: &String| name.strip_prefix(&folder)?.strip_suffix(".checkpoint.parquet")?.parse().ok();
    lake.files().iter().filter_map(of).max()
}

/// What is to be read.
#[derive(Default)]
pub(crate) struct ReadingJob {
    lakes: Map<String, Value>,
}

impl ReadingJob {
    /// Adds versions of the tables of a lake. `root` is where readers find it; its files lie in `lake`.
    pub(crate) fn add(&mut self, name: &str, root: &str, lake: &LakeDir, tables: &BTreeMap<&str, VersionFiles>) {
        let folder = lake.path().canonicalize().unwrap();
        let absolute = |files: &BTreeSet<String>| files.iter().map(|path| folder.join(path)).collect::<Vec<_>>();
        let of_table = |versions: &VersionFiles| {
            versions.iter().map(|(version, files)| (version.to_string(), json!(absolute(files)))).collect::<Map<_, _>>()
        };
        let tables: Map<String, Value> =
            tables.iter().map(|(table, versions)| ((*table).to_owned(), of_table(versions).into())).collect();
        self.lakes.insert(name.to_owned(), json!({"root": root, "tables": tables}));
    }

    /// What each of these readers says, by lake, table and version; all in one process.
    pub(crate) fn read(&self, readers: &[&str], environment: &[(String, String)]) -> Value {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json!({"readers": readers, "lakes": self.lakes}).to_string()).unwrap();
        // ClickHouse is large, and lies among the readers of files.
        let python = if readers.contains(&"clickhouse") { &python::LOCAL } else { &python::EXTENSIONS };
        let mut command = python.script("delta.py", &[file.path().to_str().unwrap()]);
        crate::readers::answer(command.envs(environment.iter().map(|(name, value)| (name, value))))
    }
}

/// The files of versions, relative to the lake.
pub(crate) type VersionFiles = BTreeMap<u64, BTreeSet<String>>;

/// How many requests each of seven runs, a day after the other, makes more where it publishes in this format, in a
/// bucket.
pub(crate) fn requests_of_publishing(format: &str) -> Vec<i64> {
    let (sandbox, server) = (erp(300, 40, "2026-07-20 23:59:59"), S3Server::start());
    let bucket = server.bucket();
    let requests = |name: &str, publish: &[&str], day: u32| {
        let lake = format!("s3://{bucket}/{name}");
        let (before, to) = (server.requests(), format!("2026-07-{day:02}"));
        let mut command = program_at(&sandbox);
        command.envs(server.environment()).args(["sync", "--json", "--calls-per-minute", "0", "--lake", &lake]);
        run(command.args(["--from", "2026-07-01", "--to", &to, "--compact", "off"]).args(publish)).expect_code(0);
        i64::from(server.requests() - before)
    };
    (2..9).map(|day| requests("published", &["--publish", format], day) - requests("plain", &[], day)).collect()
}
