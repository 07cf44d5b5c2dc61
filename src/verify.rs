//! Verifying a lake: whether what lies there is what its commit log says, and whether the log keeps its own rules.
//!
//! What is checked, for one account, and every defect is listed, not only the first:
//! - **the log** (`chain`): numbers without a gap, each manifest of its format, each vouched for by its successor's
//!   SHA-256, each one that may follow those before it, so that no two live commits cover the same second;
//! - **the checkpoints** (`checkpoints`): each says what the manifests up to its number add up to;
//! - **the proofs** (`proof`): the rows and quarantined records of a commit are those that its proof counts, and the
//!   proof is one that its rule can have given;
//! - **the objects** (`contents`): every live object is there with its size and SHA-256; a Parquet file has exactly the
//!   columns of its contract, its rows, its earliest and latest modified time, all within its window, in the order that
//!   it claims;
//! - **the origin of rows** (`commit_ids`): a row's `_commit_id` is its file's commit, or in a commit that took the
//!   place of others an earlier one;
//! - **the stops** (`stops`): the rows of `stop_reference` are what their manifest says;
//! - **what is published** (`published`): the active files of a Delta or Iceberg table are the committed set at the
//!   manifest that it names, and all of them are there;
//! - **the strays** (`strays`): no untracked Parquet file lies in a table's folder, for whoever reads the table by a
//!   glob would read it;
//! - **the rows** (`ledger`): details belong to a header of their commit, and each header has as many as it says.
//!   [`Depth::Deep`] reads every column of every row, checks that no version stands twice in the whole committed set,
//!   and reports headers whose quantities are not the sums of their details. That is no defect of the lake, for the
//!   ERP's own data may be so.
//!
//! What cannot be seen: the newest manifest has no successor that vouches for it, so of what it says only what its
//! files confirm is certain; and when the newest manifests are gone, their files look like unfinished work, which is
//! noted.
//!
//! Read-only, and one object at a time in memory. A commit that another run replaces meanwhile is not called damaged.

mod chain;
mod checkpoints;
mod commit_ids;
mod contents;
mod expected;
mod ledger;
mod proof;
mod published;
mod stops;
mod strays;
mod untracked;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use self::chain::{Chain, Live};
use self::commit_ids::CommitIds;
use self::expected::{Expected, TableShape};
use self::ledger::{Balance, Ledger};
use self::stops::StopRows;
pub(crate) use self::strays::strays;
pub(crate) use self::untracked::untracked;
use crate::error::{Error, Result};
use crate::format::FormatVersion;
use crate::id::{AccountName, CommitId};
use crate::land::sweep::{Found, list_owned, sort_out};
use crate::log::layout::{Name, account_of_folder, manifest_folders};
use crate::log::object;
use crate::log::{FileEntry, Layout, ObjectEntry, QuarantineEntry, Table};
use crate::store::Store;
use crate::text::Text;
use crate::time::{BeijingTime, Clock as _, SystemClock, Window};
use crate::units::plural;

/// What to do about an object that is not what was committed.
const RESTORE: &str = "restore it from a backup of the lake, or read it anew with `wdt-lake sync --rewalk FROM..TO`";
/// What to do about a commit log that was tampered with.
const RESTORE_LOG: &str =
    "restore the log from a backup of the lake before anything is synced into it, or sync into a new lake";
/// What to do about an object that is what was committed, and wrong.
const REPORT: &str = "keep the lake as it is and report it";
/// The most headers with total mismatches that are named; all are counted.
const MISMATCHES_NAMED: usize = 20;

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every byte for its digest, and of the rows the columns that prove something.
    Shallow,
    /// Every value of every row.
    Deep,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The object, as an absolute path or URI.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do about it.
    pub remedy: &'static str,
    /// The live commit that it concerns.
    commit: Option<CommitId>,
}

/// A header whose quantity is not the sum over its details. Quantities in ten-thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalMismatch {
    /// The number of the requisition.
    pub number: String,
    /// Its modified time.
    pub modified: BeijingTime,
    /// The column.
    pub column: String,
    /// What the header says.
    pub header_scaled: i128,
    /// What its details add up to.
    pub details_scaled: i128,
}

/// What was found out about the lake of one account.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The account.
    pub account: AccountName,
    /// Manifests of its log.
    pub manifests: u64,
    /// Commits that count.
    pub commits: u64,
    /// Their objects that were read.
    pub objects: u64,
    /// The bytes of these.
    pub bytes: u64,
    /// Rows that were read, by table.
    pub rows: BTreeMap<Table, u64>,
    /// Quarantined records that were read.
    pub quarantined: u64,
    /// What is wrong.
    pub defects: Vec<Defect>,
    /// What is worth knowing and no defect.
    pub notes: Vec<String>,
    /// Quantities of headers that are not the sums of their details; counted only by [`Depth::Deep`].
    pub total_mismatches: u64,
    /// The first of these.
    pub mismatches: Vec<TotalMismatch>,
}

/// The accounts to verify: those that have a commit log, and those that have files and lost it.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
pub(crate) async fn accounts_with_objects(store: &Store) -> Result<Vec<AccountName>> {
    let mut accounts = BTreeSet::new();
    for root in [manifest_folders()].into_iter().chain(Table::ALL.map(Table::name)) {
        let folders = store.list_folders(root).await?;
        accounts.extend(folders.iter().filter_map(|folder| account_of_folder(root, folder)));
    }
    Ok(accounts.into_iter().collect())
}

/// Verifies the lake of one account.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer or the lake has a newer format. What is
/// wrong with the lake is no error but part of the answer.
pub async fn verify(store: &Store, account: AccountName, depth: Depth) -> Result<Verified> {
    verify_as(store, account, Arc::new(Expected::of_contract()?), depth).await
}

/// The same by a contract of the caller's.
async fn verify_as(store: &Store, account: AccountName, expected: Arc<Expected>, depth: Depth) -> Result<Verified> {
    let layout = Layout::new(account.clone());
    let (published, mut unread) = published::find(store, &account).await?;
    let wanted = published.iter().filter_map(|set| set.named).map(|named| named.number).collect();
    let chain = chain::read(store, &layout, &wanted).await?;
    let name = account.clone();
    let mut verifier = Verifier {
        store,
        chain: &chain,
        expected,
        depth,
        ledger: Ledger::new(depth),
        other_contracts: BTreeMap::new(),
        verified: Verified {
            account,
            manifests: chain.manifests,
            commits: chain.live.len() as u64,
            objects: 0,
            bytes: 0,
            rows: BTreeMap::new(),
            quarantined: 0,
            defects: chain.defects.clone(),
            notes: Vec::new(),
            total_mismatches: 0,
            mismatches: Vec::new(),
        },
    };
    for (number, manifest) in &chain.by_number {
        let own = chain.paths.get(number).cloned().unwrap_or_else(|| layout.manifest(*number));
        for what in proof::check(manifest) {
            verifier.defect(manifest.id, &own, what, REPORT);
        }
    }
    let mut live: Vec<&Live> = chain.live.values().collect();
    live.sort_unstable_by_key(|live| (live.number, live.commit.id));
    for live in live {
        let own = chain.paths.get(&live.number).cloned().unwrap_or_else(|| layout.manifest(live.number));
        verifier.commit(&layout, live, own).await?;
    }
    let mut verified = verifier.finish();
    let removed = chain::removed_since(store, &layout, &chain).await?;
    verified.defects.retain(|defect| defect.commit.is_none_or(|commit| !removed.contains(&commit)));
    verified.notes.extend(pending(&chain));
    let objects = list_owned(store, &layout).await?;
    verified.defects.extend(strays::of_account(store, &layout, &objects));
    verified.defects.append(&mut unread);
    verified.defects.extend(published::check(store, &published, &name, &chain, &objects).await?);
    // A log with defects does not know its own files any more.
    if chain.defects.is_empty() {
        let mut state = chain.state.clone();
        crate::log::read::follow(store, &layout, chain.names, &mut state).await?;
        let found = sort_out(&state, &layout, objects, SystemClock.now());
        verified.defects.extend(strays::unnamed(store, &layout, &found));
        verified.notes.extend(unfinished(store, &found));
    }
    Ok(verified)
}

/// How many manifests the log of an account has, as verifying reads it.
#[cfg(test)]
pub(crate) async fn chain_length(store: &Store, account: &AccountName) -> Result<usize> {
    Ok(usize::try_from(chain::read(store, &Layout::new(account.clone()), &BTreeSet::new()).await?.manifests)
        .unwrap_or(usize::MAX))
}

/// Whether there are stops of which nobody knows yet what became of them.
fn pending(chain: &Chain) -> Option<String> {
    let pending = chain.state.stops().pending();
    let (number, held) = pending.first_key_value()?;
    let count = plural(pending.len() as u64, "stop");
    Some(format!(
        "{count} pending, the first of {number} of {}: the next `wdt-lake stop` settles what can be told",
        held.requested_at
    ))
}

/// Whether objects of ours lie there whose commit no manifest knows.
fn unfinished(store: &Store, found: &Found) -> Option<String> {
    let unknown = &found.unknown;
    let (commit, paths) = unknown.first_key_value()?;
    Some(format!(
        "{} that no manifest names, the first of commit {commit}: `{}`. A run is at work, or one died and the next `wdt-lake sync` clears \
         them, or the newest manifests were removed",
        plural(unknown.values().map(Vec::len).sum::<usize>() as u64, "object"),
        paths.first().map_or_else(String::new, |path| store.uri(path))
    ))
}

/// The work on one account.
struct Verifier<'a> {
    store: &'a Store,
    chain: &'a Chain,
    expected: Arc<Expected>,
    depth: Depth,
    ledger: Ledger,
    /// Files of contracts that this program does not know.
    other_contracts: BTreeMap<FormatVersion, u64>,
    verified: Verified,
}

impl Verifier<'_> {
    async fn commit(&mut self, layout: &Layout, live: &Live, own: String) -> Result<()> {
        let mut files: Vec<&FileEntry> = live.commit.files.iter().collect();
        // Details are looked up among the headers.
        files.sort_by_key(|file| file.table != self.expected.headers.spec.table.name());
        for file in &files {
            self.file(layout, live, file).await?;
        }
        for held in &live.commit.quarantine {
            self.quarantine(live, held).await?;
        }
        for raw in &live.commit.raw {
            self.object(live, raw.into()).await?;
        }
        let Balance { wrong, total_mismatches } = self.ledger.close(&self.expected);
        let blamed = files.first().map_or(own.as_str(), |file| file.path.as_str());
        for what in wrong {
            self.defect(live.commit.id, blamed, what, REPORT);
        }
        self.verified.total_mismatches += total_mismatches.len() as u64;
        let room = MISMATCHES_NAMED.saturating_sub(self.verified.mismatches.len());
        self.verified.mismatches.extend(total_mismatches.into_iter().take(room));
        Ok(())
    }

    async fn file(&mut self, layout: &Layout, live: &Live, entry: &FileEntry) -> Result<()> {
        let Some(bytes) = self.object(live, entry.into()).await? else {
            self.ledger.leave_hole();
            return Ok(());
        };
        let is_known = live.contract == self.expected.contract;
        let shape = self.expected.shape(&entry.table).filter(|_| is_known).cloned();
        let shape_is_known = shape.is_some();
        if !is_known {
            *self.other_contracts.entry(live.contract).or_default() += 1;
        }
        let named = match layout.parse(&entry.path) {
            Some(Name::Data { span, .. }) => span,
            _ => None,
        };
        let window = match (named, live.commit.window) {
            (Some(span), Some(window)) => span.intersect(window),
            (span, window) => span.or(window),
        };
        let (expected, depth, of) = (Arc::clone(&self.expected), self.depth, entry.clone());
        let mut ledger = std::mem::replace(&mut self.ledger, Ledger::new(depth));
        ledger.begin_file(self.store.uri(&entry.path));
        let (mut stops, mut ids) = (StopRows::default(), CommitIds::default());
        let task = tokio::task::spawn_blocking(move || {
            let examined =
                contents::examine(bytes, &of, shape.as_ref(), window, depth, &expected.detail_count, |batch| {
                    ledger.take_in(&expected, &of.table, batch);
                    stops.take_in(&expected, &of.table, batch);
                    ids.take_in(shape.as_ref(), batch);
                });
            (ledger, stops, ids, examined)
        });
        let (examined, stops, ids);
        (self.ledger, stops, ids, examined) = task.await.map_err(|error| {
            Error::internal("cannot check a file: its thread ended").with("path", &entry.path).because(error)
        })?;
        if !examined.is_read {
            self.ledger.leave_hole();
        }
        if let Some(table) = Table::from_name(&entry.table) {
            *self.verified.rows.entry(table).or_default() += examined.rows;
        }
        let untold = stops.compare(&live.commit.results).filter(|_| examined.is_read && shape_is_known);
        let misattributed = ids.compare(live, entry, self.chain);
        for what in examined.wrong.into_iter().chain(self.ledger.end_file()).chain(untold).chain(misattributed) {
            self.defect(live.commit.id, &entry.path, what, REPORT);
        }
        Ok(())
    }

    async fn quarantine(&mut self, live: &Live, held: &QuarantineEntry) -> Result<()> {
        let Some(bytes) = self.object(live, held.into()).await? else { return Ok(()) };
        let (records, wrong) = contents::examine_quarantine(&bytes, held.rows);
        self.verified.quarantined += records;
        for what in wrong {
            self.defect(live.commit.id, &held.path, what, REPORT);
        }
        Ok(())
    }

    /// The bytes of a committed object, when they are those that were committed.
    async fn object(&mut self, live: &Live, entry: ObjectEntry<'_>) -> Result<Option<Bytes>> {
        let examined = object::examine(self.store, entry).await?;
        let held_bytes = match &examined {
            Ok(bytes) => Some(bytes.len() as u64),
            Err(mismatch) => mismatch.held_bytes(),
        };
        self.verified.objects += u64::from(held_bytes.is_some());
        self.verified.bytes += held_bytes.unwrap_or(0);
        if let Err(mismatch) = &examined {
            self.defect(
                live.commit.id,
                entry.path,
                mismatch.told(Text::verbatim(format!("manifest {}", live.number))).to_string(),
                RESTORE,
            );
        }
        Ok(examined.ok())
    }

    fn defect(&mut self, commit: CommitId, path: &str, what: String, remedy: &'static str) {
        let commit = Some(commit);
        self.verified.defects.push(Defect { object: self.store.uri(path), what, remedy, commit });
    }

    fn finish(mut self) -> Verified {
        for (contract, files) in self.other_contracts {
            self.verified.notes.push(format!(
                "the columns of {} of contract {contract} were not checked: this program knows {}",
                plural(files, "file"),
                self.expected.contract
            ));
        }
        self.verified
    }
}

/// Whether every second of `inner` is one of `outer`.
fn is_within(inner: Window, outer: Window) -> bool {
    outer.contains(inner.start()) && outer.contains(inner.end())
}

#[cfg(test)]
mod tests;
