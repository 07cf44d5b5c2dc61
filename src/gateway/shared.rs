//! What the accounts of one process share on their way to the gateways: the thread that reads, the memory of responses
//! that arrive, connections by host, and rate limits by name.
//!
//! An account can always have one request in flight; for more at once there are places that all share, because every
//! connection on which pages arrive takes memory. Nobody's last request waits for what another's gateway does.
//!
//! Memory of responses is taken while they arrive, step by step, and nobody who holds some can be kept from getting
//! more for ever: beside the common memory there is room for one response of the largest size, and who has it asks for
//! no more. So the steps need no order, and what a gateway that hangs holds is what it has sent.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::connect::Connection;
use super::policy::{CallPolicy, ProxyUse};
use super::rate_limiter::RateLimiter;
use crate::error::Result;
use crate::worker::Worker;

/// A page of 100 requisitions takes some 250 kB.
const LARGEST_KEPT_BUFFER: usize = 1 << 20;
/// Memory of responses is taken in steps of this size.
const STEP_BYTES: usize = 64 << 10;
/// What the buffers of a connection grow to on which a large response arrives, over plain HTTP; measured.
const CONNECTION_BYTES: usize = 768 << 10;
/// Responses of several accounts are read on one thread: more of these would only lie there.
const BUFFERS_OF_MANY: usize = 8;
/// Connections of a host keep their buffers as long as they are kept. Under load one is taken again at once.
const IDLE_OF_MANY: usize = 16;

/// The limiters of limits that have a name. They stay as long as the process: what was called a moment ago counts,
/// whether or not its account is still at work.
static SHARED_LIMITERS: LazyLock<Mutex<HashMap<String, Arc<Limiters>>>> = LazyLock::new(Mutex::default);

/// What calls of several accounts share; a clone is the same.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Where responses are read, one after the other.
    reader: Worker,
    /// Buffers of bodies that were read.
    buffers: Mutex<Vec<Vec<u8>>>,
    most_buffers: usize,
    /// None: as much as is asked for.
    responses: Option<ResponseMemory>,
    /// The requests that accounts may have in flight besides the first of each; none: as many as they like.
    more_in_flight: Option<Arc<Semaphore>>,
    /// How many connections of a host are kept that nobody uses.
    idle_connections: usize,
    connections: Mutex<HashMap<Way, Weak<Connection>>>,
}

/// What makes two connections one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Way {
    gateway: String,
    proxy: ProxyUse,
    timeout: Duration,
}

/// The rate limiters of queries and of changes: the vendor meters each method by itself.
#[derive(Debug)]
pub(super) struct Limiters {
    pub(super) queries: RateLimiter,
    pub(super) changes: RateLimiter,
}

impl Limiters {
    fn new(policy: &CallPolicy) -> Arc<Self> {
        let limiter = || RateLimiter::new(policy.calls_per_minute, policy.concurrency);
        Arc::new(Self { queries: limiter(), changes: limiter() })
    }
}

impl Shared {
    /// For calls of one account.
    pub(crate) fn of_one(policy: &CallPolicy) -> Result<Self> {
        let in_flight = policy.concurrency as usize;
        Self::new(in_flight, in_flight, None, None)
    }

    /// For accounts that may have so many requests in flight besides the first of each; so much memory is for what has
    /// arrived of the responses.
    pub(crate) fn of_many(more_in_flight: usize, response_bytes: usize) -> Result<Self> {
        Self::new(IDLE_OF_MANY, BUFFERS_OF_MANY, Some(response_bytes), Some(more_in_flight))
    }

    fn new(
        idle_connections: usize,
        most_buffers: usize,
        response_bytes: Option<usize>,
        more_in_flight: Option<usize>,
    ) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            more_in_flight: more_in_flight.map(|more| Arc::new(Semaphore::new(more))),
            reader: Worker::start("reader")?,
            buffers: Mutex::default(),
            most_buffers,
            responses: response_bytes.map(ResponseMemory::new),
            idle_connections,
            connections: Mutex::default(),
        })))
    }

    pub(super) fn reader(&self) -> &Worker {
        &self.0.reader
    }

    /// The places for requests of one account.
    pub(super) fn places(&self) -> Places {
        Places { own: Arc::new(Semaphore::new(1)), more: self.0.more_in_flight.clone() }
    }

    /// The connections to a gateway: those that another account has to it, as long as it has them.
    pub(super) fn connection(&self, gateway: &Url, policy: &CallPolicy) -> Result<Arc<Connection>> {
        let way = Way { gateway: gateway.origin().ascii_serialization(), proxy: policy.proxy, timeout: policy.timeout };
        let mut connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = connections.get(&way).and_then(Weak::upgrade) {
            return Ok(connection);
        }
        connections.retain(|_, connection| connection.strong_count() > 0);
        let connection = Arc::new(Connection::new(gateway, policy, self.0.idle_connections)?);
        connections.insert(way, Arc::downgrade(&connection));
        Ok(connection)
    }

    /// The limiters of an account: its own, or those of the limit that it shares, whichever command asks.
    pub(super) fn limiters(policy: &CallPolicy) -> Arc<Limiters> {
        let Some(limit) = &policy.limit else { return Limiters::new(policy) };
        let mut limiters = SHARED_LIMITERS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(limiters.entry(limit.clone()).or_insert_with(|| Limiters::new(policy)))
    }

    /// An empty buffer for a body, used before if there is one: pages are large, and fresh memory for each costs time
    /// and stays behind.
    pub(super) fn buffer(&self, announced: Option<u64>) -> Vec<u8> {
        let mut buffer = self.0.buffers.lock().ok().and_then(|mut buffers| buffers.pop()).unwrap_or_default();
        let announced = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        buffer.reserve_exact(announced.min(LARGEST_KEPT_BUFFER));
        buffer
    }

    pub(super) fn take_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        if let Ok(mut buffers) = self.0.buffers.lock()
            && buffer.capacity() <= LARGEST_KEPT_BUFFER
            && buffers.len() < self.0.most_buffers
        {
            buffers.push(buffer);
        }
    }

    /// The memory of a response that is about to arrive: nothing yet.
    pub(super) fn response(&self) -> ResponseShare {
        ResponseShare { memory: self.0.responses.clone(), steps: Vec::new(), held: 0, largest: None }
    }
}

/// The memory of responses that arrive.
#[derive(Clone, Debug)]
struct ResponseMemory {
    steps: Arc<Semaphore>,
    /// Who has it may grow without asking.
    largest: Arc<tokio::sync::Mutex<()>>,
}

impl ResponseMemory {
    fn new(bytes: usize) -> Self {
        Self { steps: Arc::new(Semaphore::new((bytes / STEP_BYTES).max(1))), largest: Arc::default() }
    }
}

/// What one response has of it, given back when dropped.
#[derive(Debug)]
pub(super) struct ResponseShare {
    memory: Option<ResponseMemory>,
    steps: Vec<OwnedSemaphorePermit>,
    held: usize,
    largest: Option<OwnedMutexGuard<()>>,
}

impl ResponseShare {
    /// Waits until so many bytes of the response may be in memory, with what its connection takes.
    pub(super) async fn grow_to(&mut self, bytes: usize) {
        let Some(memory) = self.memory.as_ref().filter(|_| self.largest.is_none()) else { return };
        let on_the_way = if bytes > STEP_BYTES { CONNECTION_BYTES } else { 0 };
        let wanted = (bytes + on_the_way).div_ceil(STEP_BYTES);
        while self.held < wanted {
            tokio::select! {
                biased;
                // The semaphore is never closed.
                Ok(step) = Arc::clone(&memory.steps).acquire_owned() => {
                    match self.steps.first_mut() {
                        Some(first) => first.merge(step),
                        None => self.steps.push(step),
                    }
                    self.held += 1;
                }
                largest = Arc::clone(&memory.largest).lock_owned() => {
                    self.largest = Some(largest);
                    return;
                }
            }
        }
    }
}

/// Where the requests of one account are sent from.
#[derive(Debug)]
pub(super) struct Places {
    own: Arc<Semaphore>,
    more: Option<Arc<Semaphore>>,
}

impl Places {
    /// Waits for a place: the account's own, or one of those that all share. It is given back when dropped.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        let more = self.more.clone()?;
        // No semaphore is ever closed.
        tokio::select! {
            biased;
            own = Arc::clone(&self.own).acquire_owned() => own.ok(),
            more = more.acquire_owned() => more.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn accounts_of_one_host_share_its_connections_and_those_of_one_limit_its_limiter() {
        let shared = Shared::of_many(8, 1 << 20).expect("a thread");
        let url = |text: &str| Url::parse(text).expect("a URL");
        let policy = CallPolicy::default();
        let [first, second, other] = ["http://127.0.0.1:1/a", "http://127.0.0.1:1/b", "http://127.0.0.1:2/a"]
            .map(|gateway| shared.connection(&url(gateway), &policy).expect("a client"));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        drop((first, second));
        let again = shared.connection(&url("http://127.0.0.1:3/"), &policy).expect("a client");
        assert_eq!(shared.0.connections.lock().expect("no panic").len(), 2, "what nobody uses is closed");
        drop(again);

        let of = |limit: Option<&str>| {
            Shared::limiters(&CallPolicy { limit: limit.map(str::to_owned), ..CallPolicy::default() })
        };
        let (one, same, other, own, another) =
            (of(Some("one-appkey")), of(Some("one-appkey")), of(Some("another-appkey")), of(None), of(None));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other) && !Arc::ptr_eq(&own, &another));
        let known = Arc::downgrade(&other);
        drop(other);
        assert!(known.upgrade().is_some(), "its calls count for a minute, whoever is at work by then");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_with_its_only_request() {
        let shared = Shared::of_many(2, 1 << 20).expect("a thread");
        let (hanging, other) = (shared.places(), shared.places());
        let held = [hanging.take().await, hanging.take().await, hanging.take().await];
        assert!(held.iter().all(Option::is_some));
        let fourth = tokio::time::timeout(Duration::from_secs(60), hanging.take());
        assert!(fourth.await.is_err(), "its own and two more");
        let first = other.take().await;
        let second = tokio::time::timeout(Duration::from_secs(60), other.take());
        assert!(first.is_some() && second.await.is_err());
        drop(first);
        assert!(other.take().await.is_some());
        let alone = Shared::of_one(&CallPolicy::default()).expect("a thread").places();
        assert!(alone.take().await.is_none(), "who is alone needs none");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever arrives beside what: all of it arrives, and no more is in memory than there is for it.
        #[test]
        fn responses_of_any_size_all_arrive_within_their_memory(
            sizes in prop::collection::vec(0_usize..40, 1..20), room in 1_usize..8, chunk in 1_usize..4,
        ) {
            let memory = ResponseMemory::new(room * STEP_BYTES);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let arriving = sizes.iter().map(|size| {
                let mut share =
                    ResponseShare { memory: Some(memory.clone()), steps: Vec::new(), held: 0, largest: None };
                async move {
                    for arrived in (0..=*size).step_by(chunk) {
                        share.grow_to(arrived * STEP_BYTES).await;
                        assert!(share.largest.is_some() || share.held >= arrived);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
            let all = async { tokio::time::timeout(Duration::from_secs(3_600), join_all(arriving)).await };
            prop_assert!(runtime.expect("a runtime").block_on(all).is_ok(), "they wait for each other");
            prop_assert_eq!(memory.steps.available_permits(), room, "all is given back");
        }
    }
}
