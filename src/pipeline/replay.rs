//! Rebuilding a lake without the ERP: from the answers that another lake has kept, or from page files that somebody
//! saved.

mod files;
mod kept;
mod lake;
mod pages;

use std::time::{Duration, Instant};

pub(crate) use files::find as find_pages;
pub(crate) use lake::replay_lake;
pub(crate) use pages::{PageFiles, replay_pages};

use super::lease_session::{HeldLease, LeaseSession, Left};
use super::tally::Tally;
use super::{Gap, Interrupt};
use crate::error::{Error, Result, exit};
use crate::id::RunId;
use crate::land::{Committed, LeaseWait, Writer};
use crate::parquet::FileCompression;
use crate::text::Text;

/// How a replay works.
#[derive(Clone, Debug)]
pub(crate) struct ReplayOptions {
    /// The memory that the run may take, in bytes, the program itself included.
    pub max_memory: u64,
    /// How files are compressed.
    pub compression: FileCompression,
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
    /// What was committed.
    pub tally: Tally,
    /// Times that readers cannot hold: null in the column, kept as text in `extra`.
    pub unreadable_times: u64,
    /// Versions that stood on several pages, each time beyond the first.
    pub duplicates: u64,
    /// Windows that could not be rebuilt, and why.
    pub gaps: Vec<Gap>,
    /// What the user should know although nothing failed.
    pub warnings: Vec<Text>,
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
            tally: Tally::default(),
            unreadable_times: 0,
            duplicates: 0,
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
        self.tally.add(committed);
    }

    /// The exit code of a replay that ended like this.
    pub(crate) fn exit_code(&self) -> u8 {
        let gaps = self.gaps.iter().map(|gap| gap.error.kind().exit_code());
        let quarantined = (self.tally.quarantined > 0).then_some(exit::DONE_WITH_REMAINDER);
        exit::combine(gaps.chain(quarantined))
    }
}

/// Does `work` while this run holds the lease, after a sweep.
async fn under_lease<T>(
    writer: &Writer,
    session: LeaseSession,
    wait: LeaseWait,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let never = Interrupt::never();
    let Some(lease) = session.begin(wait, &never).await? else {
        return Err(Error::internal("a lease was given up although nobody asked for it"));
    };
    let swept = async |lease: &HeldLease| {
        lease.sweep(writer).await?;
        work.await
    };
    lease.during(&never, writer, swept, |_| Left { is_clean: true, ..Left::default() }).await
}
