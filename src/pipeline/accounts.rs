//! Several accounts in one run, side by side: what they share, and in which order they begin.
//!
//! An account has its own gateway, log and lease, so nothing that stops one touches the others. What they have in
//! common is this process: a thread on which responses are read, one on which files are encoded, the connections to a
//! host, limits of calls that bear a name, and the memory (`memory`).
//!
//! Accounts begin in the order of their list, so many at once as there are slots. Where there are more, each run begins
//! at another place of the list: runs that end before all had their turn would else come to the first ones only. An
//! account waits for its gateway most of the time. One that has waited for [`PATIENCE`] gives its slot to another, and
//! takes it back as soon as something comes, whether one is free or not: it is not kept waiting in the middle of its
//! work. So a gateway that does not answer costs nobody else's time, and how many accounts have begun is bounded by the
//! memory.

mod slots;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use self::slots::Slots;
use super::memory::{Division, Memory, SHARED_WINDOW_PAGES};
use super::{Interrupt, Meter, Phase, Remaining, SyncOptions, SyncReport, sync_by};
use crate::config::AccountSettings;
use crate::digest::Sha256;
use crate::error::Result;
use crate::gateway::{CallPolicy, CallWatches, Shared};
use crate::publish::Publisher;
use crate::store::Store;
use crate::time::{BeijingTime, Clock};
use crate::worker::Worker;

/// How long an account waits for its gateway before another may begin in its place.
const PATIENCE: Duration = Duration::from_secs(5);
/// A page of a hundred requisitions is some 250 kB.
const LEAST_RESPONSE_BYTES: u64 = 1 << 20;

/// What an account works with; a clone shares everything.
#[derive(Clone, Debug)]
pub(super) struct RunResources {
    pub(super) shared: Shared,
    pub(super) encoder: Worker,
    pub(super) publisher: Arc<Publisher>,
    pub(super) memory: Memory,
    /// The account's own: whether it waits for nothing but its gateway.
    pub(super) watches: CallWatches,
}

/// The bytes of decoded pages that may wait in memory, when a run of one account may take `max_memory` bytes.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when that leaves no room for pages.
pub(super) fn page_memory(max_memory: u64) -> Result<usize> {
    Ok(Division::of(max_memory, 1)?.page_bytes)
}

impl RunResources {
    /// What one account has that is alone.
    pub(super) fn alone(options: &SyncOptions) -> Result<Self> {
        let memory = Memory::new(Division::of(options.max_memory, 1)?, 1);
        Self::with(memory, Shared::of_one(&options.calls)?)
    }

    /// What these accounts share.
    fn of_many(orders: &[SyncRequest], division: Division) -> Result<Self> {
        let response_bytes = usize::try_from(division.response_bytes).unwrap_or(usize::MAX);
        let shared = match orders {
            [SyncRequest { options, .. }] => Shared::of_one(&options.calls)?,
            _ => Shared::of_many(division.more_in_flight, response_bytes)?,
        };
        Self::with(Memory::new(division, orders.len()), shared)
    }

    fn with(memory: Memory, shared: Shared) -> Result<Self> {
        Ok(Self {
            shared,
            encoder: Worker::start("encoder")?,
            publisher: super::publish::publisher()?,
            memory,
            watches: CallWatches::default(),
        })
    }

    /// The same for another account.
    fn for_another(&self) -> Self {
        Self { watches: CallWatches::default(), ..self.clone() }
    }

    /// What is asked, in windows that leave room for those of others.
    fn bounded(&self, options: &SyncOptions) -> SyncOptions {
        let mut bounded = options.clone();
        if self.memory.is_shared() {
            bounded.limits.max_pages = bounded.limits.max_pages.min(SHARED_WINDOW_PAGES);
        }
        bounded
    }

    /// How the account's gateway is called: a response may take an equal share of what the responses in flight may take
    /// together.
    pub(super) fn calls(&self, asked: &CallPolicy) -> CallPolicy {
        let together = self.memory.division().response_each;
        // However many are asked for at once: a page of some requisitions must fit.
        let share = (together / u64::from(asked.concurrency.max(1))).max(LEAST_RESPONSE_BYTES);
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

/// Brings the lake up to date for several accounts, side by side, at most `most_at_once` of them while none waits.
/// Whatever stops one is in its report and nowhere else.
///
/// `interrupt` ends all of them early. The reports come in the order of `orders`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the memory is too little to work in.
pub(crate) async fn sync_all(
    orders: &[SyncRequest],
    most_at_once: usize,
    store: &Store,
    clock: Arc<dyn Clock>,
    interrupt: Interrupt,
) -> Result<Vec<SyncReport>> {
    let Some(max_memory) = orders.iter().map(|order| order.options.max_memory).min() else { return Ok(Vec::new()) };
    let division = Division::of(max_memory, orders.len())?;
    let at_once = most_at_once.clamp(1, division.most_begun).min(orders.len());
    let resources = RunResources::of_many(orders, division)?;
    let until = orders.iter().filter_map(|order| order.options.until).min();
    let interrupt = interrupt.until(&clock, until);
    let slots = Slots::new(at_once);
    let run = |place: usize| {
        let SyncRequest { account, options, meter } = &orders[place];
        let (resources, clock, interrupt) = (resources.for_another(), Arc::clone(&clock), &interrupt);
        let options = resources.bounded(options);
        let slot = slots.take();
        Box::pin(async move {
            let mut report = pin!(sync_by(&resources, account, store.clone(), &options, clock, interrupt, meter));
            let report = tokio::select! {
                biased;
                report = &mut report => report,
                () = slot.lend_while_waiting(&resources.watches.calls, PATIENCE) => report.await,
            };
            let report = report.unwrap_or_else(|error| SyncReport::not_begun().stopped_by(error));
            meter.enter(Phase::Done);
            tracing::info!(account = %account.name, run = %report.run, exit_code = report.exit_code(), "the account is done");
            (place, report)
        })
    };
    let mut waiting = order_of(orders.len(), at_once, clock.now());
    let mut reports: Vec<Option<SyncReport>> = orders.iter().map(|_| None).collect();
    let mut begun = FuturesUnordered::new();
    loop {
        if interrupt.is_asked() {
            // Those have no report.
            waiting.clear();
        }
        while begun.len() < division.most_begun
            && slots.is_free()
            && let Some(place) = waiting.pop_front()
        {
            begun.push(run(place));
        }
        tokio::select! {
            biased;
            done = begun.next() => match done {
                Some((place, report)) => reports[place] = Some(report),
                None => break,
            },
            () = slots.freed(), if !waiting.is_empty() => {}
            () = interrupt.asked(), if !waiting.is_empty() => {}
        }
    }
    let reports = reports.into_iter().zip(orders).map(|(report, order)| {
        report.unwrap_or_else(|| {
            order.meter.enter(Phase::Done);
            SyncReport::not_begun().ended_early(&interrupt, Remaining::All)
        })
    });
    Ok(reports.collect())
}

/// In which order so many accounts begin: from the first one on where all begin at once, else from one that another run
/// does not begin with.
fn order_of(accounts: usize, at_once: usize, now: BeijingTime) -> VecDeque<usize> {
    let first = match accounts > at_once {
        true => Sha256::of(&now.unix().to_be_bytes()).first_u64() % accounts as u64,
        false => 0,
    };
    let mut order: VecDeque<usize> = (0..accounts).collect();
    order.rotate_left(usize::try_from(first).unwrap_or(0));
    order
}

#[cfg(test)]
mod tests;
