//! The state of the simulated ERP: all requisitions, found by window or by number, and the journal of what happened to
//! them.
//!
//! Every mutation makes a new version: it stamps `modified` with the server's present (or a time that the caller names)
//! and goes into the journal. The index is a sorted list, so that a window is a slice of it: its total is a subtraction
//! and a page is a sub-slice, whatever the number of requisitions; only an edit pays for moving entries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::time::{BeijingTime, Window};

use super::clock::SandboxClock;
use super::journal::{Call, Journal, Moment, Stop};
use super::record::{Requisition, Status, Text};
use super::stop::{self, NotStopped, Pending, StopEffect};

/// The place of a requisition in the index: last-modified time, then apply_id.
pub type Key = (BeijingTime, i64);

/// All requisitions of one ERP and their history.
#[derive(Debug, Default)]
pub struct World {
    clock: SandboxClock,
    by_id: HashMap<i64, Arc<Requisition>>,
    /// The latest last: a number should be one requisition's alone, and is not always.
    by_number: HashMap<Text, Vec<i64>>,
    index: Vec<Key>,
    journal: Journal,
    /// Stops whose effect comes late.
    pending: Vec<Pending>,
}

impl World {
    /// A world that starts with `requisitions`, as if they had always been there (sequence 0 in the journal). Of two
    /// with one apply_id the later stays.
    pub fn new(clock: SandboxClock, requisitions: Vec<Requisition>) -> Self {
        let mut world = Self { clock, ..Self::default() };
        let beginning = Moment { seq: 0, time: world.clock.now() };
        for requisition in requisitions {
            let requisition = Arc::new(requisition);
            if let Some(before) = world.by_id.insert(requisition.apply_id, requisition.clone()) {
                world.forget_number(&before);
            }
            world.by_number.entry(requisition.purchase_apply_no.clone()).or_default().push(requisition.apply_id);
            world.journal.born(requisition, beginning);
        }
        world.index = world.by_id.values().map(|requisition| key(requisition)).collect();
        world.index.sort_unstable();
        world
    }

    /// The clock that all mutations read.
    pub fn clock(&self) -> &SandboxClock {
        &self.clock
    }

    /// The server's present.
    pub fn now(&self) -> BeijingTime {
        self.clock.now()
    }

    /// What happened so far.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// How many requisitions there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// All requisitions, in order of modified time and apply_id.
    pub fn requisitions(&self) -> impl Iterator<Item = &Arc<Requisition>> {
        self.index.iter().filter_map(|(_, id)| self.by_id.get(id))
    }

    /// The places of the requisitions whose modified time lies in the closed window, in order of modified time and
    /// apply_id.
    pub fn window(&self, window: Window) -> &[Key] {
        let from = self.index.partition_point(|(modified, _)| *modified < window.start());
        let to = self.index.partition_point(|(modified, _)| *modified <= window.end());
        self.index.get(from..to).unwrap_or_default()
    }

    /// The requisition with this apply_id.
    pub fn get(&self, apply_id: i64) -> Option<&Arc<Requisition>> {
        self.by_id.get(&apply_id)
    }

    /// The requisition with this number; of several the one that was written last.
    pub fn find(&self, number: &str) -> Option<&Arc<Requisition>> {
        self.by_number.get(number).and_then(|ids| ids.last()).and_then(|id| self.by_id.get(id))
    }

    /// All requisitions with this number.
    pub fn find_all(&self, number: &str) -> impl Iterator<Item = &Arc<Requisition>> {
        self.by_number.get(number).into_iter().flatten().filter_map(|id| self.by_id.get(id))
    }

    /// Adds a requisition, modified now. One that has its apply_id is replaced: a new version.
    pub fn add(&mut self, mut requisition: Requisition) -> Arc<Requisition> {
        requisition.modified = self.now();
        self.put(requisition)
    }

    /// Adds a requisition with the modified time that it says.
    pub fn add_as_is(&mut self, requisition: Requisition) -> Arc<Requisition> {
        self.put(requisition)
    }

    /// Edits a requisition: a new version, modified now. `None` when there is none with this number.
    pub fn edit(&mut self, number: &str, change: impl FnOnce(&mut Requisition)) -> Option<Arc<Requisition>> {
        self.edit_at(number, self.now(), change)
    }

    /// Edits a requisition: a new version, modified at `modified` (even in the past, even at the time it already has).
    pub fn edit_at(
        &mut self,
        number: &str,
        modified: BeijingTime,
        change: impl FnOnce(&mut Requisition),
    ) -> Option<Arc<Requisition>> {
        let before = self.find(number)?;
        let (apply_id, mut edited) = (before.apply_id, Requisition::clone(before));
        change(&mut edited);
        edited.apply_id = apply_id;
        edited.modified = modified;
        Some(self.put(edited))
    }

    /// Gives a requisition another state: a new version.
    pub fn set_status(&mut self, number: &str, status: Status) -> Option<Arc<Requisition>> {
        self.edit(number, |requisition| requisition.status = status)
    }

    /// Takes one line out and sums the header up again: a new version. `None` when there is no such line.
    pub fn remove_detail(&mut self, number: &str, rec_id: i64) -> Option<Arc<Requisition>> {
        self.find(number)?.details.iter().find(|detail| detail.rec_id == rec_id)?;
        self.edit(number, |requisition| {
            requisition.details.retain(|detail| detail.rec_id != rec_id);
            requisition.sum_up();
        })
    }

    /// Deletes a requisition for good: it leaves every window and no new version comes.
    pub fn purge(&mut self, number: &str) -> Option<Arc<Requisition>> {
        let apply_id = *self.by_number.get(number)?.last()?;
        let gone = self.unlink(apply_id)?;
        let moment = self.journal.tick(self.clock.now());
        self.journal.died(apply_id, moment);
        Some(gone)
    }

    /// Stops the reference of requisitions now; gives those that were not stopped.
    pub(super) fn stop(&mut self, call: u64, numbers: &[Text]) -> Vec<NotStopped> {
        self.stop_at(call, numbers, self.now())
    }

    /// Stops the reference of requisitions when it is due.
    pub(super) fn stop_later(&mut self, pending: Pending) {
        self.pending.push(pending);
    }

    /// Lets everything happen that is due by now.
    pub(super) fn catch_up(&mut self) {
        let now = self.now();
        for Pending { call, numbers, due } in
            self.pending.extract_if(.., |pending| pending.due <= now).collect::<Vec<_>>()
        {
            self.stop_at(call, &numbers, due);
        }
    }

    /// Stops `numbers` one after the other, as of the time `at`; gives those that were not stopped, in the order in
    /// which they were asked for.
    fn stop_at(&mut self, call: u64, numbers: &[Text], at: BeijingTime) -> Vec<NotStopped> {
        let mut failures = Vec::new();
        for number in numbers {
            let found = self.find(number).map(|found| (found.apply_id, found.status));
            match stop::refusal(found.map(|(_, status)| status)) {
                None => {
                    self.edit_at(number, at, |requisition| requisition.status = Status::Referenced);
                    self.stopped(call, number, at, StopEffect::Stopped);
                }
                Some(why) => {
                    self.stopped(call, number, at, StopEffect::Refused(why));
                    let apply_id = found.map(|(apply_id, _)| apply_id);
                    failures.push(NotStopped { apply_id, number: number.clone(), why });
                }
            }
        }
        failures
    }

    /// Notes what a stop did to one number at the time `at`.
    fn stopped(&mut self, call: u64, number: &Text, at: BeijingTime, effect: StopEffect) {
        let moment = self.journal.tick(at);
        self.journal.stopped(Stop { call, number: number.clone(), moment, effect });
    }

    /// Notes the start of a call: its place in the history.
    pub(super) fn call_begins(&mut self) -> Moment {
        self.journal.tick(self.clock.now())
    }

    /// Notes the end of a call, which gets its own place in the history.
    pub(super) fn call_ends(&mut self, mut call: Call) {
        call.ended = self.journal.tick(self.clock.now());
        self.journal.called(call);
    }

    fn put(&mut self, requisition: Requisition) -> Arc<Requisition> {
        self.unlink(requisition.apply_id);
        let requisition = Arc::new(requisition);
        let key = key(&requisition);
        let place = self.index.partition_point(|other| *other < key);
        self.index.insert(place, key);
        self.by_number.entry(requisition.purchase_apply_no.clone()).or_default().push(requisition.apply_id);
        self.by_id.insert(requisition.apply_id, requisition.clone());
        let moment = self.journal.tick(self.clock.now());
        self.journal.born(requisition.clone(), moment);
        requisition
    }

    fn unlink(&mut self, apply_id: i64) -> Option<Arc<Requisition>> {
        let gone = self.by_id.remove(&apply_id)?;
        if let Ok(place) = self.index.binary_search(&key(&gone)) {
            self.index.remove(place);
        }
        self.forget_number(&gone);
        Some(gone)
    }

    fn forget_number(&mut self, gone: &Requisition) {
        if let Some(ids) = self.by_number.get_mut(&gone.purchase_apply_no) {
            ids.retain(|id| *id != gone.apply_id);
            if ids.is_empty() {
                self.by_number.remove(&gone.purchase_apply_no);
            }
        }
    }
}

fn key(requisition: &Requisition) -> Key {
    (requisition.modified, requisition.apply_id)
}

/// A world that a running sandbox and a test share.
#[derive(Clone, Debug, Default)]
pub struct SharedWorld {
    world: Arc<Mutex<World>>,
    clock: SandboxClock,
}

impl SharedWorld {
    /// Shares `world`.
    pub fn new(world: World) -> Self {
        let clock = world.clock.clone();
        Self { world: Arc::new(Mutex::new(world)), clock }
    }

    /// The world, held still until the guard is dropped: no call is answered meanwhile. Late effects that are due by
    /// now have happened.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.catch_up();
        world
    }

    /// The world's clock, which needs no lock: hold it, advance it, or hand it to a client as its own.
    pub fn clock(&self) -> &SandboxClock {
        &self.clock
    }

    /// Every call so far, in the order in which they ended.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().journal().calls().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> BeijingTime {
        BeijingTime::parse(text).expect("a time")
    }

    fn world() -> World {
        let second = at("2026-05-19 10:00:00");
        let clock = SandboxClock::held(at("2026-05-20 00:00:00"));
        World::new(clock, (1..=5).map(|id| Requisition::plain(id, &format!("POA{id}"), second)).collect())
    }

    #[test]
    fn a_window_is_closed_and_an_edit_leaves_it() {
        let mut world = world();
        let window = Window::second(at("2026-05-19 10:00:00"));
        assert_eq!(world.window(window).len(), 5);
        assert!(world.window(Window::second(at("2026-05-19 10:00:01"))).is_empty());
        let edited = world.set_status("POA3", Status::Cancelled).expect("it is there");
        assert_eq!(edited.modified, world.now());
        assert_eq!(world.window(window).iter().map(|key| key.1).collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert_eq!(world.find("POA3").map(|requisition| requisition.status), Some(Status::Cancelled));
        assert!(world.edit("POA9", |_| ()).is_none());
        assert_eq!(world.len(), 5);
    }

    #[test]
    fn the_journal_knows_who_lived_when() {
        let mut world = world();
        let window = Window::second(at("2026-05-19 10:00:00"));
        let first = world.call_begins().seq;
        world.edit("POA2", |requisition| requisition.remark = "改".into());
        let last = world.call_begins().seq;
        world.purge("POA4");
        let numbers = |from, to| {
            let journal = world.journal();
            journal.alive_throughout(window, from, to).map(|v| v.requisition.apply_id).collect::<Vec<_>>()
        };
        assert_eq!(numbers(first, first), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(first, last), [1, 3, 4, 5]);
        assert_eq!(numbers(first, world.journal().seq()), [1, 3, 5]);
        assert_eq!(world.journal().history("POA2").count(), 2);
        assert!(world.journal().ever_held("POA2", window.start()) && world.journal().ever_held("POA2", world.now()));
        assert!(!world.journal().ever_held("POA1", world.now()));
        assert_eq!(world.journal().history("POA4").filter(|version| version.died.is_none()).count(), 0);
    }

    #[test]
    fn a_renamed_or_thinned_requisition_stays_consistent() {
        let mut world = world();
        world.edit("POA1", |requisition| requisition.purchase_apply_no = "POA100".into());
        assert!(world.find("POA1").is_none() && world.find("POA100").is_some());
        assert!(world.remove_detail("POA100", 7).is_none());
        let thin = world.remove_detail("POA100", 100).expect("its only line");
        assert_eq!((thin.details.len(), thin.real_num.0), (0, 0));
        assert_eq!(world.index.len(), world.by_id.len());
        assert!(world.index.is_sorted());
    }
}
