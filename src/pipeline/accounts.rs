//! Several accounts in one run, side by side: what they share, and how it is shared out.
//!
//! An account has its own gateway, rate limit, log and lease, so nothing that stops one touches the others. What they
//! have in common is this process. Answers are read on one thread and files encoded on one, each taking its jobs in the
//! order in which they come, and no account has more of them waiting than it has requests in flight and windows under
//! way. Memory is divided into equal shares, and as many accounts are at work at once as there is room for shares; the
//! others begin as soon as one is done. So memory does not grow with the number of accounts.

use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::Semaphore;

use super::{Interrupt, Meter, Phase, SyncOptions, SyncReport, sync_by};
use crate::config::AccountSettings;
use crate::error::{Error, ErrorClass, Result};
use crate::gateway::CallPolicy;
use crate::publish::Publisher;
use crate::store::Store;
use crate::text::text;
use crate::time::Clock;
use crate::worker::Worker;

/// What the program takes besides the pages that wait: its code, connections, answers that are being read, and the
/// encoders.
const BASE_MEMORY_BYTES: u64 = 49 << 20;
/// What every further account takes besides its pages: connections, and answers that are being read.
const ACCOUNT_MEMORY_BYTES: u64 = 3 << 20;
/// Below this, hardly a page of an account would wait in memory.
const LEAST_PAGE_MEMORY_BYTES: u64 = 4 << 20;
/// A page of a hundred requisitions is some 250 kB.
const LEAST_RESPONSE_BYTES: u64 = 1 << 20;

/// What an account works with; a clone shares the threads and has a share of the memory of its own.
#[derive(Clone, Debug)]
pub(super) struct RunResources {
    pub(super) reader: Worker,
    pub(super) encoder: Worker,
    pub(super) publisher: Arc<Publisher>,
    /// The bytes of decoded pages that may wait in memory.
    pub(super) page_memory: usize,
    /// The bytes of responses that may be in flight.
    response_memory: u64,
}

/// The bytes of decoded pages that may wait in memory, when a run of one account may take `max_memory` bytes.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when that leaves no room for pages.
pub(super) fn page_memory(max_memory: u64) -> Result<usize> {
    Ok(Shares::of(max_memory, 1)?.page_memory)
}

/// How many accounts may be at work at once, and the bytes that the pages of each may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    at_once: usize,
    page_memory: usize,
    response_memory: u64,
}

impl Shares {
    fn of(max_memory: u64, accounts: usize) -> Result<Self> {
        let left = max_memory.checked_sub(BASE_MEMORY_BYTES).filter(|left| *left >= LEAST_PAGE_MEMORY_BYTES);
        let left = left.ok_or_else(|| {
            let least = (BASE_MEMORY_BYTES + LEAST_PAGE_MEMORY_BYTES) >> 20;
            Error::new(
                ErrorClass::ArgumentWrong,
                text!("{max_memory} bytes of memory are too little to work in", max_memory),
            )
            .hint(text!("--max-memory is at least {least}MiB", least))
        })?;
        let room = 1 + (left - LEAST_PAGE_MEMORY_BYTES) / (LEAST_PAGE_MEMORY_BYTES + ACCOUNT_MEMORY_BYTES);
        let at_once = room.min(accounts.max(1) as u64);
        let share = (left - (at_once - 1) * ACCOUNT_MEMORY_BYTES) / at_once;
        let fits = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Self { at_once: fits(at_once), page_memory: fits(share), response_memory: max_memory / 2 / at_once })
    }
}

impl RunResources {
    /// What one account has that is alone.
    pub(super) fn alone(max_memory: u64) -> Result<Self> {
        Self::with(Shares::of(max_memory, 1)?)
    }

    fn with(shares: Shares) -> Result<Self> {
        Ok(Self {
            reader: Worker::start("reader")?,
            encoder: Worker::start("encoder")?,
            publisher: super::publish::publisher()?,
            page_memory: shares.page_memory,
            response_memory: shares.response_memory,
        })
    }

    /// How the account's gateway is called: a response may take an equal share of what the responses in flight may take
    /// together.
    pub(super) fn calls(&self, asked: &CallPolicy) -> CallPolicy {
        // However many are asked for at once: a page of some requisitions must fit.
        let share = (self.response_memory / u64::from(asked.concurrency.max(1))).max(LEAST_RESPONSE_BYTES);
        CallPolicy { max_response_bytes: asked.max_response_bytes.min(share), ..asked.clone() }
    }
}

/// One account of a run, and what is asked for it.
#[derive(Clone, Debug)]
pub(crate) struct SyncRequest {
    /// The account.
    pub account: AccountSettings,
    /// What is asked. The run as a whole takes no more memory than the least that any of its orders allows.
    pub options: SyncOptions,
    /// Where it is noted how far the account is.
    pub meter: Meter,
}

/// Brings the lake up to date for several accounts, side by side. Whatever stops one is in its report and nowhere else.
///
/// `interrupt` ends all of them early. The reports come in the order of `orders`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the memory is too little to work in.
pub(crate) async fn sync_all(
    orders: &[SyncRequest],
    store: &Store,
    clock: Arc<dyn Clock>,
    interrupt: Interrupt,
) -> Result<Vec<SyncReport>> {
    let Some(max_memory) = orders.iter().map(|order| order.options.max_memory).min() else { return Ok(Vec::new()) };
    let shares = Shares::of(max_memory, orders.len())?;
    let means = RunResources::with(shares)?;
    let places = Semaphore::new(shares.at_once);
    let runs = orders.iter().map(|SyncRequest { account, options, meter }| {
        let (means, clock, places, interrupt) = (means.clone(), Arc::clone(&clock), &places, &interrupt);
        let run = async move {
            let _place = tokio::select! {
                biased;
                () = interrupt.asked() => return SyncReport::not_begun().interrupted(),
                place = places.acquire() => place,
            };
            let report = sync_by(&means, account, store.clone(), options, clock, interrupt, meter).await;
            let report = report.unwrap_or_else(|error| SyncReport::not_begun().stopped_by(error));
            meter.enter(Phase::Done);
            tracing::info!(account = %account.name, run = %report.run, exit_code = report.exit_code(), "the account is done");
            report
        };
        Box::pin(run)
    });
    Ok(join_all(runs).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn all_shares_together_stay_within_the_memory() {
        for (max_memory, accounts) in [(53, 1), (53, 9), (64, 1), (64, 2), (64, 3), (64, 400), (300, 5), (300, 400)] {
            let shares = Shares::of(max_memory * MIB, accounts).expect("enough");
            let (at_once, page_memory) = (shares.at_once as u64, shares.page_memory as u64);
            assert!(at_once >= 1 && shares.at_once <= accounts, "{shares:?}");
            assert!(page_memory >= LEAST_PAGE_MEMORY_BYTES, "{shares:?}");
            let all = BASE_MEMORY_BYTES + at_once * page_memory + (at_once - 1) * ACCOUNT_MEMORY_BYTES;
            assert!(all <= max_memory * MIB, "{shares:?}");
            let means = RunResources::with(shares).expect("threads");
            let concurrency = 4;
            let each = means.calls(&CallPolicy { concurrency, ..CallPolicy::default() }).max_response_bytes;
            assert!(each * u64::from(concurrency) * at_once <= max_memory * MIB / 2, "{shares:?}: {each}");
            assert!(each >= MIB, "a page of 100 requisitions takes some 250 kB: {shares:?}");
        }
        assert_eq!(Shares::of(64 * MIB, 1).expect("enough").page_memory as u64, 15 * MIB, "alone it has everything");
        assert_eq!(Shares::of(64 * MIB, 3).expect("enough").at_once, 2);
        assert_eq!(Shares::of(52 * MIB, 1).expect_err("too little").kind().exit_code(), 2);
    }
}
