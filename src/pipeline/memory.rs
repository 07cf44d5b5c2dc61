//! The memory that the accounts of a run share: how much is for what, and who waits for it.
//!
//! Of decoded pages nobody waits for room: a page that finds none goes to disk (`spill`). What is put together in
//! memory is reserved **whole before it begins**, in the order in which it is asked for: the rows of covered seconds
//! that were walked again, and pages that come back from disk. Who holds a reservation waits for the processor and the
//! store and for nothing else, no gateway and no other reservation, and so gives it back. That is why nobody waits for
//! ever.
//!
//! An account that is alone shares nothing: its windows are planned so that they fit beside each other, and it waits
//! for no reservation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

/// What the program takes besides the pages that wait: its code, connections, responses that are being read, and the
/// encoders.
const BASE_MEMORY_BYTES: u64 = 49 << 20;
/// Below this, hardly a page of an account would wait in memory.
const LEAST_PAGE_MEMORY_BYTES: u64 = 4 << 20;
/// What an account takes that has begun, besides its pages: its state of the lake, its connections, what it has
/// planned.
const ACCOUNT_MEMORY_BYTES: u64 = 96 << 10;
/// What a row takes while its window is walked and landed, wherever its page is: how it is known, and its place.
const WALKED_ROW_BYTES: u64 = 256;
/// What a connection takes that pages arrive on.
const CONNECTION_BYTES: u64 = 1 << 20;
/// Where several accounts share the memory, a window has no more pages than so many: as long as one walks it, another
/// one may wait.
pub(super) const SHARED_WINDOW_PAGES: u32 = 20;
/// And of the first window so many pages are read at most, or twice as many; a larger one is planned anew.
pub(super) const FIRST_WINDOW_PAGES: u32 = 2;
/// Reservations are in these.
const UNIT_BYTES: usize = 4 << 10;

/// How the memory of a run is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Division {
    /// The bytes of decoded pages that may wait in memory, of all accounts.
    pub(super) page_bytes: usize,
    /// The bytes that may be reserved, of all accounts.
    pub(super) reserved_bytes: usize,
    /// The bytes that walks may take besides their pages, of all accounts.
    pub(super) walk_bytes: usize,
    /// The requests in flight besides the first of each account.
    pub(super) more_in_flight: usize,
    /// What a merge may take: there is one at a time, on the thread that encodes.
    pub(super) merge_bytes: usize,
    /// The bytes of responses that have arrived and are not read yet, of all accounts. One of `response_each` may come
    /// on top.
    pub(super) response_bytes: u64,
    /// The bytes that all responses of an account which are in flight may have together.
    pub(super) response_each: u64,
    /// The most accounts that may have begun and not ended.
    pub(super) most_begun: usize,
}

impl Division {
    /// Of a run for so many accounts that may take `max_memory` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when that leaves no room for pages.
    pub(super) fn of(max_memory: u64, accounts: usize) -> Result<Self> {
        let left = max_memory.checked_sub(BASE_MEMORY_BYTES).filter(|left| *left >= LEAST_PAGE_MEMORY_BYTES);
        let left = left.ok_or_else(|| {
            let least = (BASE_MEMORY_BYTES + LEAST_PAGE_MEMORY_BYTES) >> 20;
            Error::new(
                ErrorClass::ArgumentWrong,
                text!("{max_memory} bytes of memory are too little to work in", max_memory),
            )
            .hint(text!("--max-memory is at least {least}MiB", least))
        })?;
        let fits = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        if accounts <= 1 {
            return Ok(Self {
                page_bytes: fits(left),
                reserved_bytes: fits(left),
                walk_bytes: usize::MAX,
                more_in_flight: usize::MAX,
                merge_bytes: fits(left),
                response_bytes: max_memory / 2,
                response_each: max_memory / 2,
                most_begun: 1,
            });
        }
        // What one account may have in flight, a half, is for what arrives and for what each account takes.
        let response_bytes = max_memory / 4;
        let response_each = response_bytes;
        let of_accounts = max_memory / 4 - response_each / LARGEST_RESPONSE_PART;
        Ok(Self {
            page_bytes: fits(left / 4),
            reserved_bytes: fits(left / 4),
            walk_bytes: fits(left / 2),
            more_in_flight: fits(left / 4 / CONNECTION_BYTES),
            merge_bytes: fits(left / 2),
            response_bytes,
            response_each,
            most_begun: fits(of_accounts / ACCOUNT_MEMORY_BYTES).max(1),
        })
    }
}

/// A response may take this part of what those of its account may take together, where four are in flight.
const LARGEST_RESPONSE_PART: u64 = 4;

/// The memory of a run; a clone is the same memory.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    division: Division,
    pages: Arc<PageMemory>,
    /// None for an account that is alone, as the next.
    reserved: Option<Arc<Semaphore>>,
    walks: Option<Arc<Semaphore>>,
}

/// Something that was reserved, given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Reservation(#[expect(dead_code, reason = "counts as long as it lives")] Option<OwnedSemaphorePermit>);

impl Memory {
    pub(super) fn new(division: Division, accounts: usize) -> Self {
        let shared = |bytes| (accounts > 1).then(|| Arc::new(Semaphore::new(units(bytes))));
        let (reserved, walks) = (shared(division.reserved_bytes), shared(division.walk_bytes));
        Self { division, pages: PageMemory::new(division.page_bytes), reserved, walks }
    }

    /// Whether several accounts share it.
    pub(super) fn is_shared(&self) -> bool {
        self.walks.is_some()
    }

    /// Waits until a walk over so many rows may begin. Whoever asks walks nothing.
    pub(super) async fn reserve_walk(&self, rows: u64) -> Reservation {
        let Some(all) = self.walks.clone() else { return Reservation(None) };
        Reservation(all.acquire_many_owned(self.walk_units(rows)).await.ok())
    }

    /// The same for who walks already: nothing where it would have to wait.
    pub(super) fn try_reserve_walk(&self, rows: u64) -> Option<Reservation> {
        let Some(all) = self.walks.clone() else { return Some(Reservation(None)) };
        all.try_acquire_many_owned(self.walk_units(rows)).ok().map(|held| Reservation(Some(held)))
    }

    fn walk_units(&self, rows: u64) -> u32 {
        let bytes = rows.saturating_mul(WALKED_ROW_BYTES).saturating_add(CONNECTION_BYTES);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        u32::try_from(units(bytes.min(self.division.walk_bytes))).unwrap_or(u32::MAX)
    }

    pub(super) fn division(&self) -> &Division {
        &self.division
    }

    pub(super) fn pages(&self) -> &Arc<PageMemory> {
        &self.pages
    }

    /// Waits until so many bytes are free, at most all that there are, and takes them. Whoever asks holds no other
    /// reservation.
    pub(super) async fn reserve(&self, bytes: usize) -> Reservation {
        let Some(all) = self.reserved.clone() else { return Reservation(None) };
        let wanted = units(bytes.min(self.division.reserved_bytes));
        // The semaphore is never closed.
        Reservation(all.acquire_many_owned(u32::try_from(wanted).unwrap_or(u32::MAX)).await.ok())
    }
}

fn units(bytes: usize) -> usize {
    (bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize))
}

/// The memory of decoded pages.
#[derive(Debug)]
pub(super) struct PageMemory {
    limit_bytes: usize,
    held_bytes: AtomicUsize,
    /// The accounts that are walking.
    walking: AtomicUsize,
}

/// An account that walks, until it is dropped.
#[derive(Debug)]
pub(super) struct Walking(Arc<PageMemory>);

impl PageMemory {
    pub(super) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self { limit_bytes, held_bytes: AtomicUsize::new(0), walking: AtomicUsize::new(0) })
    }

    pub(super) fn walk(self: &Arc<Self>) -> Walking {
        self.walking.fetch_add(1, Ordering::Relaxed);
        Walking(Arc::clone(self))
    }

    /// What the windows of one account may be planned for: its share.
    pub(super) fn share_bytes(&self) -> usize {
        self.limit_bytes / self.walking.load(Ordering::Relaxed).max(1)
    }

    /// What is held.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Takes so many bytes whatever is held already. Says whether they fit together with `beside`, which is let go in a
    /// moment: expectations are off by a little, and a quarter above the limit is no reason to put pages on disk.
    pub(super) fn take(&self, bytes: usize, beside: usize) -> Fits {
        let before = self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        let limit = self.limit_bytes.saturating_add(self.limit_bytes / 4);
        if before + bytes + beside <= limit { Fits::Yes } else { Fits::No }
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Whether something fits in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fits {
    Yes,
    No,
}

impl Drop for Walking {
    fn drop(&mut self) {
        self.0.walking.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::join_all;
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn all_parts_together_stay_within_the_memory() {
        for (max_memory, accounts) in [(53, 1), (53, 9), (64, 1), (64, 2), (64, 400), (300, 5), (300, 400)] {
            let division = Division::of(max_memory * MIB, accounts).expect("enough");
            let Division { page_bytes, reserved_bytes, walk_bytes, response_bytes, response_each, most_begun, .. } =
                division;
            if accounts > 1 {
                let parts = (page_bytes + reserved_bytes + walk_bytes) as u64;
                assert!(BASE_MEMORY_BYTES + parts <= max_memory * MIB, "{division:?}");
                let beside = response_bytes + response_each / 4 + most_begun as u64 * ACCOUNT_MEMORY_BYTES;
                assert!(beside <= max_memory * MIB / 2, "no more than the responses of one account: {division:?}");
            }
            assert!(response_each / 4 >= MIB, "a page of 100 requisitions takes some 250 kB: {division:?}");
            assert!(page_bytes as u64 >= LEAST_PAGE_MEMORY_BYTES / 4 && most_begun >= 1, "{division:?}");
        }
        let alone = Division::of(64 * MIB, 1).expect("enough");
        assert_eq!((alone.page_bytes as u64, alone.most_begun), (15 * MIB, 1), "alone it has everything");
        assert!(Division::of(64 * MIB, 1_000).expect("enough").most_begun >= 64, "a slot each");
        assert_eq!(Division::of(52 * MIB, 1).expect_err("too little").kind().exit_code(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Jobs that reserve what they like, hold it for a while, and are given up at any time.
        #[test]
        fn nobody_waits_for_ever_and_no_more_is_reserved_than_there_is(
            jobs in prop::collection::vec((0_usize..12 << 20, 0_u64..50, 1_u64..50, prop::option::of(0_u64..60)), 1..40),
        ) {
            let division = Division::of(64 * MIB, jobs.len() + 1).expect("enough");
            let memory = Memory::new(division, jobs.len() + 1);
            let held = AtomicUsize::new(0);
            let millis = Duration::from_millis;
            let work = jobs.iter().map(|(bytes, begins, lasts, given_up)| {
                let job = async {
                    tokio::time::sleep(millis(*begins)).await;
                    let reservation = memory.reserve(*bytes).await;
                    let taken = bytes.min(&division.reserved_bytes) / UNIT_BYTES * UNIT_BYTES;
                    let counted = Counted::of(&held, taken);
                    assert!(held.load(Ordering::Relaxed) <= division.reserved_bytes);
                    tokio::time::sleep(millis(*lasts)).await;
                    drop((counted, reservation));
                };
                async move {
                    match given_up {
                        Some(after) => drop(tokio::time::timeout(millis(*after), job).await),
                        None => job.await,
                    }
                }
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let all = async { tokio::time::timeout(Duration::from_secs(3_600), join_all(work)).await };
            prop_assert!(runtime.expect("a runtime").block_on(all).is_ok(), "they wait for each other");
            prop_assert_eq!(held.load(Ordering::Relaxed), 0);
            prop_assert_eq!(memory.reserved.expect("shared").available_permits(), units(division.reserved_bytes));
        }
    }

    /// Bytes that are held, until this is dropped.
    struct Counted<'a>(&'a AtomicUsize, usize);

    impl<'a> Counted<'a> {
        fn of(held: &'a AtomicUsize, bytes: usize) -> Self {
            held.fetch_add(bytes, Ordering::Relaxed);
            Self(held, bytes)
        }
    }

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(self.1, Ordering::Relaxed);
        }
    }
}
