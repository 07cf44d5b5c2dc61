//! Rebuilding a lake without the ERP: from the answers that another lake has kept, or from page files that somebody saved.

mod files;
mod kept;
mod lake;
mod pages;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use files::find as find_pages;
pub(crate) use lake::replay_lake;
pub(crate) use pages::{PageFiles, replay_pages};

use super::Gap;
use crate::error::{Result, exit};
use crate::id::RunId;
use crate::land::{Committed, Lease, LeaseWait, Writer};
use crate::log::Table;
use crate::store::Store;
use crate::time::Clock;

/// How a replay works.
#[derive(Clone, Debug)]
pub(crate) struct ReplayOptions {
    /// The memory that the run may take, in bytes, the program itself included.
    pub max_memory: u64,
    /// What to do when another run is at work on the account.
    pub wait: LeaseWait,
}

/// What a replay did.
#[derive(Debug)]
pub(crate) struct ReplayReport {
    /// The run's id, on every row that it landed.
    pub run: RunId,
    /// Pages read.
    pub pages: u64,
    /// The bytes of their JSON.
    pub json_bytes: u64,
    /// Commits made.
    pub commits: u64,
    /// Commits of earlier replays whose place they took.
    pub replaced: u64,
    /// Rows of `purchase_apply`.
    pub headers: u64,
    /// Rows of `purchase_apply_detail`.
    pub details: u64,
    /// Records that did not fit.
    pub quarantined: u64,
    /// Times that readers cannot hold: null in the column, kept as text in `extra`.
    pub unreadable_times: u64,
    /// Versions that stood on several pages, each time beyond the first.
    pub duplicates: u64,
    /// Parquet files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Windows that could not be rebuilt, and why.
    pub gaps: Vec<Gap>,
    /// What the user should know although nothing failed.
    pub warnings: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

impl ReplayReport {
    fn new(run: RunId) -> Self {
        Self {
            run,
            pages: 0,
            json_bytes: 0,
            commits: 0,
            replaced: 0,
            headers: 0,
            details: 0,
            quarantined: 0,
            unreadable_times: 0,
            duplicates: 0,
            files: 0,
            bytes: 0,
            gaps: Vec::new(),
            warnings: Vec::new(),
            elapsed: Duration::ZERO,
        }
    }

    fn after(self, began: Instant) -> Self {
        Self { elapsed: began.elapsed(), ..self }
    }

    fn count(&mut self, committed: &Committed) {
        self.commits += 1;
        for file in &committed.files {
            self.files += 1;
            self.bytes += file.bytes;
            match Table::from_name(&file.table) {
                Some(Table::PurchaseApply) => self.headers += file.rows,
                Some(Table::PurchaseApplyDetail) => self.details += file.rows,
                _ => {}
            }
        }
        self.quarantined += committed.quarantine.as_ref().map_or(0, |held| held.rows);
    }

    /// The exit code of a replay that ended like this.
    pub(crate) fn exit_code(&self) -> u8 {
        let gaps = self.gaps.iter().map(|gap| gap.error.kind().exit_code());
        let quarantined = (self.quarantined > 0).then_some(exit::DONE_WITH_REMAINDER);
        exit::combine(gaps.chain(quarantined))
    }
}

/// Does `work` while this run holds the lease, after a sweep.
async fn under_lease<T>(
    writer: &Writer,
    store: Store,
    run: RunId,
    clock: Arc<dyn Clock>,
    wait: LeaseWait,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let account = writer.view().await.account().clone();
    let lease = Lease::acquire(store, account, run, clock, wait, std::future::pending()).await?;
    let outcome = async {
        writer.sweep().await?;
        work.await
    }
    .await;
    if let Some(lease) = lease {
        lease.release().await;
    }
    outcome
}
