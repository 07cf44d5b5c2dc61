//! Every name in a lake: built here, read back here, nowhere else. Pure functions, no I/O.
//!
//! ```text
//! {table}/account={account}/modified_month={YYYY-MM}/{start}-{end}-{commit}[-{part}].parquet
//! stop_reference/account={account}/{commit}.parquet
//! _quarantine/account={account}/{commit}.jsonl
//! _raw/account={account}/{commit}.jsonl.zst
//! _manifest/account={account}/{number / 10,000, 16 digits}/{number, 20 digits}.json,
//!     or {number}-{id}.json of a single writer
//! _manifest/account={account}/_checkpoint/{number}-{id}.json
//! _staging/account={account}/{commit}-{n} and lease-{run}-{n}
//! _lease/account={account}.json and probe-{run}-{what}
//! {table}/_delta_log/{version, 20 digits}.json, {version}.checkpoint.parquet and _last_checkpoint
//! _iceberg/{table}/account={account}/metadata/v{version}.metadata.json, {version}-{id}.manifest.avro,
//!     {version}-{id}.list.avro and version-hint.text
//! ```
//!
//! `{start}` and `{end}` are the two included ends of the file's span as compact Beijing wall clock
//! (`20261001T000000`); both lie in the month of the path. `{commit}` is unique, so a name never gets other bytes and
//! never comes back once it was deleted. No name holds a `:`, and only committed or soon committed rows end in
//! `.parquet`.
//!
//! Reading back is strict: a name is ours only when building it again gives the very same text. Whatever else lies in a
//! lake was put there by somebody else, and is never touched.

mod published;

use std::fmt;

use self::published::is_published;
pub(crate) use self::published::{
    IcebergName, delta_checkpoint, delta_checkpoint_of, delta_last_checkpoint, delta_log, delta_version,
    delta_version_of, iceberg_folder, iceberg_root, iceberg_table,
};
use crate::id::{AccountName, CommitId, RunId};
use crate::time::{BeijingTime, Window};

/// The folder of manifests, one sub-folder an account.
const MANIFEST_ROOT: &str = "_manifest";
/// The folder of leases and probes.
pub(crate) const LEASE_ROOT: &str = "_lease";
/// The folder of half-written local files.
pub(crate) const STAGING_ROOT: &str = "_staging";
/// How many numbers of manifests share a folder: a local listing must not grow with the age of the log.
pub(crate) const NUMBERS_IN_FOLDER: u64 = 10_000;
/// How a folder names its account.
const ACCOUNT_KEY: &str = "account=";

/// A table of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// One row a version of a requisition.
    PurchaseApply,
    /// One row a goods line of a version of a requisition.
    PurchaseApplyDetail,
    /// One row an outcome of a stop reference.
    StopReference,
}

impl Table {
    /// Every table, in the order in which documents list them.
    pub const ALL: [Self; 3] = [Self::PurchaseApply, Self::PurchaseApplyDetail, Self::StopReference];

    /// The name of the table's folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::PurchaseApply => "purchase_apply",
            Self::PurchaseApplyDetail => "purchase_apply_detail",
            Self::StopReference => "stop_reference",
        }
    }

    /// The table of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a name of ours stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// A Parquet file of a commit.
    Data {
        /// Its table.
        table: Table,
        /// The span in its name; none for the tables that have no windows.
        span: Option<Window>,
        /// The commit that wrote it.
        commit: CommitId,
    },
    /// The quarantined records of a commit.
    Quarantine(CommitId),
    /// The answers from which a commit was made.
    Raw(CommitId),
    /// A manifest, by its number.
    Manifest(u64),
    /// A manifest of a single writer, on a store without conditional puts.
    SoleManifest {
        /// Its number.
        number: u64,
        /// Its id.
        id: CommitId,
    },
    /// The state that the log adds up to with this manifest.
    Checkpoint {
        /// The number of the manifest.
        number: u64,
        /// Its id.
        id: CommitId,
    },
    /// A half-written local file of a commit.
    Staged(CommitId),
    /// A half-written local lease of a run.
    StagedLease(RunId),
    /// The lease of the account.
    Lease,
    /// What a run tries a store with; it goes at once, and whatever stays may be deleted.
    Probe(RunId),
}

impl Name {
    /// The commit that the name belongs to, where it belongs to one.
    pub(crate) fn commit(self) -> Option<CommitId> {
        match self {
            Self::Data { commit, .. } | Self::Quarantine(commit) | Self::Raw(commit) | Self::Staged(commit) => {
                Some(commit)
            }
            Self::Manifest(_) | Self::SoleManifest { .. } | Self::Checkpoint { .. } => None,
            Self::StagedLease(_) | Self::Lease | Self::Probe(_) => None,
        }
    }
}

/// The names of one account, relative to the root of the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    account: AccountName,
}

impl Layout {
    /// The names of `account`.
    pub(crate) fn new(account: AccountName) -> Self {
        Self { account }
    }

    /// The account whose names these are.
    pub(crate) fn account(&self) -> &AccountName {
        &self.account
    }

    /// The folder of the account's files in `table`.
    pub(crate) fn table(&self, table: Table) -> String {
        format!("{table}/{ACCOUNT_KEY}{}", self.account)
    }

    /// A data file of a table with windows. The whole span must lie in one Beijing month, else `None`.
    pub(crate) fn data(&self, table: Table, span: Window, commit: CommitId, part: Option<u32>) -> Option<String> {
        let month = span.start().month();
        (month == span.end().month() && table != Table::StopReference).then(|| {
            let part = part.map_or_else(String::new, |part| format!("-{part}"));
            let (start, end) = (span.start().compact(), span.end().compact());
            format!("{}/modified_month={month}/{start}-{end}-{commit}{part}.parquet", self.table(table))
        })
    }

    /// The file of stop outcomes of a commit.
    pub(crate) fn stop_reference(&self, commit: CommitId) -> String {
        format!("{}/{commit}.parquet", self.table(Table::StopReference))
    }

    /// The folder of the account's quarantined records.
    pub(crate) fn quarantine_root(&self) -> String {
        format!("_quarantine/{ACCOUNT_KEY}{}", self.account)
    }

    /// The quarantined records of a commit.
    pub(crate) fn quarantine(&self, commit: CommitId) -> String {
        format!("{}/{commit}.jsonl", self.quarantine_root())
    }

    /// The folder of the answers from which the account's commits were made.
    pub(crate) fn raw_root(&self) -> String {
        format!("_raw/{ACCOUNT_KEY}{}", self.account)
    }

    /// The answers from which a commit was made.
    pub(crate) fn raw(&self, commit: CommitId) -> String {
        format!("{}/{commit}.jsonl.zst", self.raw_root())
    }

    /// The folder of the account's commit log.
    pub(crate) fn manifest_root(&self) -> String {
        format!("{MANIFEST_ROOT}/{ACCOUNT_KEY}{}", self.account)
    }

    /// Whether `path` is where formats before 1.0 may have a manifest: directly in the folder of the log.
    pub(crate) fn is_older_manifest(&self, path: &str) -> bool {
        let file = path.strip_prefix(&self.manifest_root()).and_then(|rest| rest.strip_prefix('/'));
        let stem = file.and_then(|file| file.strip_suffix(".json")).unwrap_or_default();
        stem.get(..20).is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
            && parse_manifest(stem).is_some()
    }

    /// The folder of the manifest of this number.
    pub(crate) fn manifest_folder(&self, number: u64) -> String {
        format!("{}/{:016}", self.manifest_root(), number / NUMBERS_IN_FOLDER)
    }

    /// The manifest of this number.
    pub(crate) fn manifest(&self, number: u64) -> String {
        format!("{}/{number:020}.json", self.manifest_folder(number))
    }

    /// The manifest of this number and id by a single writer.
    pub(crate) fn sole_manifest(&self, number: u64, id: CommitId) -> String {
        format!("{}/{number:020}-{id}.json", self.manifest_folder(number))
    }

    /// The folder of the account's checkpoints.
    pub(crate) fn checkpoint_root(&self) -> String {
        format!("{}/_checkpoint", self.manifest_root())
    }

    /// The checkpoint of the state up to the manifest of this number and id.
    pub(crate) fn checkpoint(&self, number: u64, id: CommitId) -> String {
        format!("{}/{number:020}-{id}.json", self.checkpoint_root())
    }

    /// What comes before every manifest of this number, and after those of the number before it, in the order of names.
    pub(crate) fn before_manifest(&self, number: u64) -> String {
        format!("{}/{number:020}", self.manifest_folder(number))
    }

    /// The folder of the account's half-written local files.
    pub(crate) fn staging_root(&self) -> String {
        format!("{STAGING_ROOT}/{ACCOUNT_KEY}{}", self.account)
    }

    /// What the names of a commit's half-written local files start with; the store adds `-{n}`.
    pub(crate) fn staging(&self, commit: CommitId) -> String {
        format!("{}/{commit}", self.staging_root())
    }

    /// What the name of a run's half-written lease starts with.
    pub(crate) fn staging_lease(&self, run: RunId) -> String {
        format!("{}/lease-{run}", self.staging_root())
    }

    /// The lease of the account.
    pub(crate) fn lease(&self) -> String {
        format!("{LEASE_ROOT}/{ACCOUNT_KEY}{}.json", self.account)
    }

    /// The folders in which everything that belongs to a commit of this account lies, and nothing else.
    pub(crate) fn owned_roots(&self) -> Vec<String> {
        Table::ALL
            .into_iter()
            .map(|table| self.table(table))
            .chain([self.quarantine_root(), self.raw_root(), self.staging_root()])
            .collect()
    }

    /// What `path` stands for; `None` when the name is not one of this account's.
    pub(crate) fn parse(&self, path: &str) -> Option<Name> {
        if path == self.lease() {
            return Some(Name::Lease);
        }
        let (folder, file) = path.rsplit_once('/')?;
        let (root, rest) = path.split_once('/')?;
        let name = match root {
            MANIFEST_ROOT if folder == self.checkpoint_root() => parse_checkpoint(file.strip_suffix(".json")?)?,
            MANIFEST_ROOT => parse_manifest(file.strip_suffix(".json")?)?,
            LEASE_ROOT => return parse_probe(rest),
            "_quarantine" => Name::Quarantine(CommitId::parse(file.strip_suffix(".jsonl")?)?),
            "_raw" => Name::Raw(CommitId::parse(file.strip_suffix(".jsonl.zst")?)?),
            STAGING_ROOT => return self.parse_staged(folder, file),
            table => parse_data(Table::from_name(table)?, rest, file)?,
        };
        (self.rebuild(name, file)? == path).then_some(name)
    }

    fn parse_staged(&self, folder: &str, file: &str) -> Option<Name> {
        let (stem, count) = file.rsplit_once('-')?;
        let counted = count.parse::<u64>().is_ok_and(|number| number.to_string() == count);
        if folder != self.staging_root() || !counted {
            return None;
        }
        match stem.strip_prefix("lease-") {
            Some(run) => RunId::parse(run).map(Name::StagedLease),
            None => CommitId::parse(stem).map(Name::Staged),
        }
    }

    fn rebuild(&self, name: Name, file: &str) -> Option<String> {
        match name {
            Name::Data { table, span: Some(span), commit } => self.data(table, span, commit, part_of(file)),
            Name::Data { commit, .. } => Some(self.stop_reference(commit)),
            Name::Quarantine(commit) => Some(self.quarantine(commit)),
            Name::Raw(commit) => Some(self.raw(commit)),
            Name::Manifest(number) => Some(self.manifest(number)),
            Name::SoleManifest { number, id } => Some(self.sole_manifest(number, id)),
            Name::Checkpoint { number, id } => Some(self.checkpoint(number, id)),
            Name::Staged(_) | Name::StagedLease(_) | Name::Lease | Name::Probe(_) => None,
        }
    }
}

/// The account of a folder directly under `root`: [`manifest_folders`], or a table.
pub(crate) fn account_of_folder(root: &str, folder: &str) -> Option<AccountName> {
    folder.strip_prefix(root)?.strip_prefix('/')?.strip_prefix(ACCOUNT_KEY)?.parse().ok()
}

/// Whether a name is one that a lake makes, for whatever account.
pub(crate) fn is_of_a_lake(path: &str) -> bool {
    if is_published(path) {
        return true;
    }
    let probed = path.split_once('/').filter(|(root, _)| *root == LEASE_ROOT).and_then(|(_, file)| parse_probe(file));
    let of_account = || {
        let named = path.split('/').find_map(|part| part.strip_prefix(ACCOUNT_KEY))?;
        let account: AccountName = named.strip_suffix(".json").unwrap_or(named).parse().ok()?;
        Layout::new(account).parse(path)
    };
    probed.or_else(of_account).is_some()
}

/// The folder under which every account has its log.
pub(crate) fn manifest_folders() -> &'static str {
    MANIFEST_ROOT
}

/// What `run` tries a store with; of no account.
pub(crate) fn probe(run: RunId, what: &str) -> String {
    format!("{LEASE_ROOT}/probe-{run}-{what}")
}

fn parse_probe(file: &str) -> Option<Name> {
    let (run, what) = file.strip_prefix("probe-")?.split_at_checked(UUID)?;
    let run = RunId::parse(run)?;
    (probe(run, what.strip_prefix('-')?) == format!("{LEASE_ROOT}/{file}")).then_some(Name::Probe(run))
}

fn parse_manifest(stem: &str) -> Option<Name> {
    match stem.split_once('-') {
        None => Some(Name::Manifest(stem.parse().ok()?)),
        Some((number, id)) => Some(Name::SoleManifest { number: number.parse().ok()?, id: CommitId::parse(id)? }),
    }
}

fn parse_checkpoint(stem: &str) -> Option<Name> {
    let (number, id) = stem.split_once('-')?;
    Some(Name::Checkpoint { number: number.parse().ok()?, id: CommitId::parse(id)? })
}

const COMPACT: usize = 15;
const UUID: usize = 36;

fn parse_data(table: Table, rest: &str, file: &str) -> Option<Name> {
    let stem = file.strip_suffix(".parquet")?;
    if table == Table::StopReference {
        return Some(Name::Data { table, span: None, commit: CommitId::parse(stem)? });
    }
    // account=.../modified_month=.../file: rebuilding checks what the folders say.
    (rest.split('/').count() == 3).then_some(())?;
    let start = parse_compact(stem.get(..COMPACT)?)?;
    let end = parse_compact(stem.get(COMPACT + 1..2 * COMPACT + 1)?)?;
    let commit = CommitId::parse(stem.get(2 * COMPACT + 2..2 * COMPACT + 2 + UUID)?)?;
    Some(Name::Data { table, span: Some(Window::new(start, end)?), commit })
}

/// The number of a data file's part, if its name has one; `file` is the name with or without its folders.
pub(crate) fn part_of(file: &str) -> Option<u32> {
    let file = file.rsplit('/').next()?;
    let part = file.strip_suffix(".parquet")?.get(2 * COMPACT + 2 + UUID..)?;
    part.strip_prefix('-')?.parse().ok().filter(|part| *part > 0)
}

fn parse_compact(text: &str) -> Option<BeijingTime> {
    let part = |from: usize, to: usize| text.get(from..to);
    let wall =
        format!("{}-{}-{} {}:{}:{}", part(0, 4)?, part(4, 6)?, part(6, 8)?, part(9, 11)?, part(11, 13)?, part(13, 15)?);
    BeijingTime::parse(&wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new("acme".parse().expect("a name"))
    }

    fn commit() -> CommitId {
        CommitId::parse("01928000-0000-7000-8000-000000000001").expect("an id")
    }

    fn span(start: &str, end: &str) -> Window {
        Window::new(BeijingTime::parse(start).expect("a time"), BeijingTime::parse(end).expect("a time"))
            .expect("a window")
    }

    fn october() -> Window {
        span("2026-10-01 00:00:00", "2026-10-14 23:59:59")
    }

    #[test]
    fn names_are_those_of_the_specification() {
        let path = layout().data(Table::PurchaseApply, october(), commit(), None).expect("one month");
        assert_eq!(
            path,
            "purchase_apply/account=acme/modified_month=2026-10/20261001T000000-20261014T235959-01928000-0000-7000-8000-000000000001.parquet"
        );
        let part = layout().data(Table::PurchaseApplyDetail, october(), commit(), Some(2)).expect("one month");
        assert!(part.ends_with("-01928000-0000-7000-8000-000000000001-2.parquet"), "{part}");
        assert_eq!(layout().manifest(42), "_manifest/account=acme/0000000000000000/00000000000000000042.json");
        let later = "_manifest/account=acme/0000000000000123/00000000000001234567.json";
        assert_eq!(layout().manifest(1_234_567), later);
        assert!(!path.contains(':'));
    }

    #[test]
    fn a_span_stays_in_its_month() {
        let across = span("2026-10-31 23:59:59", "2026-11-01 00:00:00");
        assert_eq!(layout().data(Table::PurchaseApply, across, commit(), None), None);
        assert_eq!(layout().data(Table::StopReference, october(), commit(), None), None, "it has no windows");
    }

    #[test]
    fn what_is_built_is_read_back() {
        let data = |table, part| layout().data(table, october(), commit(), part).expect("one month");
        let named = |table| Some(Name::Data { table, span: Some(october()), commit: commit() });
        assert_eq!(layout().parse(&data(Table::PurchaseApply, None)), named(Table::PurchaseApply));
        assert_eq!(layout().parse(&data(Table::PurchaseApplyDetail, Some(12))), named(Table::PurchaseApplyDetail));
        assert_eq!(
            layout().parse(&layout().stop_reference(commit())),
            Some(Name::Data { table: Table::StopReference, span: None, commit: commit() })
        );
        assert_eq!(layout().parse(&layout().quarantine(commit())), Some(Name::Quarantine(commit())));
        assert_eq!(layout().parse(&layout().raw(commit())), Some(Name::Raw(commit())));
        assert_eq!(layout().parse(&layout().manifest(u64::MAX)), Some(Name::Manifest(u64::MAX)));
        let sole = layout().sole_manifest(7, commit());
        assert_eq!(layout().parse(&sole), Some(Name::SoleManifest { number: 7, id: commit() }));
        let checkpoint = layout().checkpoint(7, commit());
        assert_eq!(layout().parse(&checkpoint), Some(Name::Checkpoint { number: 7, id: commit() }));
        assert!(checkpoint.starts_with("_manifest/account=acme/_checkpoint/00000000000000000007-"), "{checkpoint}");
        assert!(layout().before_manifest(7) < sole && sole < layout().manifest(7));
        assert!(layout().manifest(6) < layout().before_manifest(7));
        assert!(layout().manifest(9_999) < layout().before_manifest(10_000));
        assert_eq!(layout().parse(&layout().lease()), Some(Name::Lease));
        let run = RunId::generate();
        assert_eq!(layout().parse(&probe(run, "x-1")), Some(Name::Probe(run)));
        let staged = format!("{}-7", layout().staging(commit()));
        assert_eq!(layout().parse(&staged), Some(Name::Staged(commit())));
        let run = RunId::generate();
        assert_eq!(layout().parse(&format!("{}-0", layout().staging_lease(run))), Some(Name::StagedLease(run)));
    }

    #[test]
    fn foreign_names_are_nobodys() {
        let ours = layout().data(Table::PurchaseApply, october(), commit(), None).expect("one month");
        for foreign in [
            "README".to_owned(),
            "notes/x.parquet".to_owned(),
            "purchase_apply/account=acme/part-1.parquet".to_owned(),
            ours.replace("account=acme", "account=other"),
            ours.replace("modified_month=2026-10", "modified_month=2026-09"),
            ours.replace("modified_month=2026-10/", ""),
            ours.replace(".parquet", "-01.parquet"),
            ours.replace(".parquet", "-0.parquet"),
            ours.replace(".parquet", "-x.parquet"),
            ours.replace(".parquet", ".parquet#1"),
            ours.replace("20261001T000000", "20261001x000000"),
            ours.replace("20261001T000000", "20261301T000000"),
            ours.replace("purchase_apply/", "purchase_apply/sub/"),
            ours.to_uppercase(),
            "_manifest/account=acme/42.json".to_owned(),
            "_manifest/account=acme/00000000000000000042.json".to_owned(),
            "_manifest/account=acme/0000000000000001/00000000000000000042.json".to_owned(),
            "_manifest/account=acme/_checkpoint/00000000000000000042.json".to_owned(),
            format!("_manifest/account=acme/42-{}.json", commit()),
            "_lease/probe-x".to_owned(),
            "_quarantine/account=acme/x.jsonl".to_owned(),
            format!("_staging/account=acme/{}", commit()),
            format!("_staging/account=acme/{}-01", commit()),
            format!("_staging/account=other/{}-1", commit()),
            "购/日.parquet".to_owned(),
        ] {
            assert_eq!(layout().parse(&foreign), None, "{foreign}");
        }
    }

    #[test]
    fn manifests_of_older_formats_lie_directly_in_the_folder_of_the_log() {
        let older = "_manifest/account=acme/00000000000000000042.json".to_owned();
        let sole = format!("_manifest/account=acme/00000000000000000042-{}.json", commit());
        for (path, is_older) in [
            (&older, true),
            (&sole, true),
            (&layout().manifest(42), false),
            (&layout().checkpoint(42, commit()), false),
            (&older.replace("acme", "other"), false),
            (&older.replace("000042", "42"), false),
            (&older.replace("042", "04x"), false),
            (&older.replace("json", "txt"), false),
        ] {
            assert_eq!(layout().is_older_manifest(path), is_older, "{path}");
        }
    }

    #[test]
    fn accounts_are_read_from_folders() {
        assert_eq!(
            account_of_folder("_manifest", "_manifest/account=acme").map(|name| name.to_string()),
            Some("acme".to_owned())
        );
        assert_eq!(account_of_folder("_manifest", "_manifest/other"), None);
    }
}
