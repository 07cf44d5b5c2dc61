//! What the log says of commit ids: which are live, removed or fenced, which objects of dead ones live commits still
//! name, and when a dead id is forgotten, so that the state does not grow with the age of the log.
//!
//! Only manifests decide what is forgotten, so every reader and every checkpoint agree. A process keeps besides the
//! standing of every id that it has staged itself ([`pin`](Standings::pin)): it must never take a commit of its own for
//! a new one because the log has forgotten that it was fenced.

#[cfg(test)]
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::id::CommitId;
use crate::time::BeijingTime;

/// After so many further manifests a dead id is forgotten.
pub(crate) const FORGOTTEN_AFTER: u64 = 1_000;
#[cfg(test)]
thread_local! {
    /// The same for the logs that this thread reads, where a test wants ids forgotten sooner.
    static FORGOTTEN_SOONER: Cell<u64> = const { Cell::new(FORGOTTEN_AFTER) };
}

/// From now on this thread forgets dead ids, of every log that it reads, so many manifests later.
#[cfg(test)]
pub(crate) fn forget_sooner(manifests: u64) {
    FORGOTTEN_SOONER.set(manifests);
}

/// How many manifests later a dead id is forgotten.
fn forgotten_after() -> u64 {
    #[cfg(test)]
    return FORGOTTEN_SOONER.get();
    #[cfg(not(test))]
    FORGOTTEN_AFTER
}

/// How much later than its `keep_until`, because clocks of machines differ.
const KEPT_LONGER_SECONDS: i64 = 86_400;

/// What the log says of a commit id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Live,
    Removed,
    Fenced,
}

/// An id that never counts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadId {
    /// The number of the manifest that removed or fenced it.
    pub(crate) number: u64,
    /// Whether it was fenced; else it was removed.
    pub(crate) is_fenced: bool,
    /// Until when its objects are kept; none: they may go at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep_until: Option<BeijingTime>,
}

impl DeadId {
    pub(crate) fn standing(self) -> Standing {
        if self.is_fenced { Standing::Fenced } else { Standing::Removed }
    }
}

/// The standing of all ids but those of live commits.
#[derive(Clone, Debug)]
pub(crate) struct Standings {
    dead: BTreeMap<CommitId, DeadId>,
    /// The same by the number of their manifest: the oldest are forgotten first.
    by_number: BTreeSet<(u64, CommitId)>,
    /// How many objects of an id live commits of other ids name.
    named: HashMap<CommitId, u64>,
    /// The ids that this process has staged, and what became of each; of no checkpoint.
    pinned: BTreeMap<CommitId, Option<Standing>>,
    forgotten_after: u64,
}

impl Default for Standings {
    fn default() -> Self {
        Self {
            dead: BTreeMap::new(),
            by_number: BTreeSet::new(),
            named: HashMap::new(),
            pinned: BTreeMap::new(),
            forgotten_after: forgotten_after(),
        }
    }
}

impl PartialEq for Standings {
    /// Equal when the log says the same: what a process has pinned is its own affair.
    fn eq(&self, other: &Self) -> bool {
        self.dead == other.dead
    }
}

impl Eq for Standings {}

impl Standings {
    pub(super) fn of(&self, commit: CommitId) -> Option<Standing> {
        self.logged(commit).or_else(|| self.pinned.get(&commit).copied().flatten())
    }

    /// The same without what only this process knows.
    pub(super) fn logged(&self, commit: CommitId) -> Option<Standing> {
        self.dead.get(&commit).map(|dead| dead.standing())
    }

    /// Until when the objects of a dead id are kept.
    pub(super) fn keep_until(&self, commit: CommitId) -> Option<BeijingTime> {
        self.dead.get(&commit).and_then(|dead| dead.keep_until)
    }

    /// Whether a live commit of another id names an object of this one.
    pub(super) fn is_named(&self, commit: CommitId) -> bool {
        self.named.contains_key(&commit)
    }

    pub(super) fn dead(&self) -> &BTreeMap<CommitId, DeadId> {
        &self.dead
    }

    pub(super) fn pin(&mut self, commit: CommitId) {
        let standing = self.of(commit);
        self.pinned.entry(commit).or_insert(standing);
    }

    pub(super) fn is_pinned(&self, commit: CommitId) -> bool {
        self.pinned.contains_key(&commit)
    }

    pub(super) fn has_pins(&self) -> bool {
        !self.pinned.is_empty()
    }

    pub(super) fn unpin(&mut self, commit: CommitId) {
        self.pinned.remove(&commit);
    }

    /// Notes that a commit counts now, which names objects of the ids `foreign`.
    pub(super) fn live(&mut self, commit: CommitId, foreign: impl Iterator<Item = CommitId>) {
        if let Some(pinned) = self.pinned.get_mut(&commit) {
            *pinned = Some(Standing::Live);
        }
        foreign.for_each(|id| *self.named.entry(id).or_default() += 1);
    }

    /// Notes that a commit counts no more, which named objects of the ids `foreign`.
    pub(super) fn bury(&mut self, commit: CommitId, dead: DeadId, foreign: impl Iterator<Item = CommitId>) {
        if let Some(pinned) = self.pinned.get_mut(&commit) {
            *pinned = Some(dead.standing());
        }
        self.insert(commit, dead);
        for id in foreign {
            if let Some(count) = self.named.get_mut(&id) {
                *count -= 1;
                if *count == 0 {
                    self.named.remove(&id);
                }
            }
            // What another manifest has kept longer stays as long.
            if let Some(held) = self.dead.get_mut(&id) {
                held.keep_until = held.keep_until.max(dead.keep_until);
            }
        }
    }

    pub(super) fn insert(&mut self, commit: CommitId, dead: DeadId) {
        self.by_number.insert((dead.number, commit));
        self.dead.insert(commit, dead);
    }

    /// Forgets what is old enough at a manifest of this number and time.
    pub(super) fn forget(&mut self, number: u64, created_at: BeijingTime) {
        let Some(last) = number.checked_sub(self.forgotten_after) else { return };
        let is_over =
            |dead: &DeadId| dead.keep_until.is_none_or(|until| until.plus_seconds(KEPT_LONGER_SECONDS) < created_at);
        let old = self.by_number.iter().take_while(|(number, _)| *number <= last);
        let forgotten: Vec<(u64, CommitId)> = old
            .filter(|(_, id)| !self.named.contains_key(id) && self.dead.get(id).is_none_or(is_over))
            .copied()
            .collect();
        for entry in forgotten {
            self.by_number.remove(&entry);
            self.dead.remove(&entry.1);
        }
    }

    #[cfg(test)]
    pub(super) fn forget_after(&mut self, manifests: u64) {
        self.forgotten_after = manifests;
    }
}
