//! The log state: what the manifests 1..N of an account add up to, and the rules by which a next one may follow.
//!
//! One rule serves both directions. A writer asks [`check`](LogState::check) before every try at a number, and
//! [`apply`](LogState::apply) asks the same of every manifest that it reads, so that a log which breaks the rules is a
//! defect and never half understood. The rules: the binding is the log's, no id of the manifest is known, everything it
//! removes is live, its windows and expired ranges overlap nothing live but what it removes, what it fences is unknown
//! and no live commit names an object of it, and its stops follow those before them (see
//! [`stops`](crate::log::stop_ledger)). Live windows and expired ranges are therefore always disjoint.
//!
//! The state does not grow with the age of the log: dead ids are forgotten (see [`standing`]), and what has no objects
//! is not part of it.

mod snapshot;
pub(crate) mod standing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use self::snapshot::CheckpointState;
pub(crate) use self::standing::Standing;
use self::standing::{DeadId, Standings};
use super::conflict::Conflict;
use super::digest::Sha256;
use super::layout::Layout;
use super::manifest::{
    self, Binding, CarriedRange, Commit, CommitKind, FileEntry, Manifest, Previous, QuarantineEntry, RawEntry,
};
use super::stop_ledger::{StopResult, Stops};
use crate::error::{Error, ErrorClass, Result};
use crate::format::FormatVersion;
use crate::id::{AccountName, CommitId, RunId};
use crate::text::{Text, text};
use crate::time::{BeijingTime, Coverage, Window};

/// A commit that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveCommit {
    /// The number of its manifest.
    pub number: u64,
    /// What it is for.
    pub kind: CommitKind,
    /// The seconds that it covers. Where the field is missing they are not known, which is not the same as none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub window: Option<Window>,
    /// How many commits were put together in it; 0 where none were.
    #[serde(default, skip_serializing_if = "manifest::is_zero")]
    pub compacted: u64,
    /// The parts of the window that its walk did not cover.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<CarriedRange>,
    /// The seconds that are covered and not kept any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<Window>,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// Its quarantined records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<QuarantineEntry>,
    /// The responses from which it was made, as far as they were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub raw: Vec<RawEntry>,
}

impl LiveCommit {
    fn of(number: u64, commit: &Commit) -> Self {
        Self {
            number,
            kind: commit.kind,
            window: commit.window,
            compacted: commit.compacted,
            carried: commit.carried.clone(),
            expired: commit.expired.clone(),
            files: commit.files.clone(),
            quarantine: commit.quarantine.clone(),
            raw: commit.raw.clone(),
        }
    }

    /// How many commits it stands for: one, or those that were put together in it.
    pub(crate) fn weight(&self) -> u64 {
        self.compacted.max(1)
    }

    /// Every object of the commit.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        manifest::paths(&self.files, &self.quarantine, &self.raw)
    }

    /// Its rows in the table of this name.
    pub fn rows(&self, table: super::Table) -> u64 {
        self.files.iter().filter(|file| file.table == table.name()).map(|file| file.rows).sum()
    }

    /// The seconds that nothing else may cover.
    fn claims(&self) -> impl Iterator<Item = Window> {
        self.window.into_iter().chain(self.expired.iter().copied())
    }
}

/// The newest manifest of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastManifest {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: CommitId,
    /// The run that made it.
    pub run: RunId,
    /// What it is for.
    pub kind: CommitKind,
    /// When it was begun.
    pub created_at: BeijingTime,
}

/// The state that the manifests read so far add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    name: AccountName,
    binding: Option<Binding>,
    newest: Option<Previous>,
    format: FormatVersion,
    last: Option<LastManifest>,
    standings: Standings,
    live: BTreeMap<CommitId, LiveCommit>,
    /// The windows and expired ranges of live commits by their first second; they are disjoint.
    claims: BTreeMap<BeijingTime, (Window, CommitId)>,
    coverage: Coverage,
    wanted_from: Option<BeijingTime>,
    stops: Stops,
}

impl LogState {
    /// The state of an empty log.
    pub fn new(name: AccountName) -> Self {
        Self {
            name,
            binding: None,
            newest: None,
            format: FormatVersion::LAKE,
            last: None,
            standings: Standings::default(),
            live: BTreeMap::new(),
            claims: BTreeMap::new(),
            coverage: Coverage::default(),
            wanted_from: None,
            stops: Stops::default(),
        }
    }

    /// The earliest second of modified time that a run was asked for or that is covered: where a run that is told no
    /// start begins.
    pub fn start(&self) -> Option<BeijingTime> {
        self.wanted_from.into_iter().chain(self.kept_span().map(Window::start)).min()
    }

    /// From the first second that is covered and kept to the last that is covered, gaps included. Expired ranges reach
    /// back to the beginning of time, when nobody asked for anything: where nothing is kept it is their last second.
    pub fn kept_span(&self) -> Option<Window> {
        let last = self.coverage.span()?.end();
        let kept = |(window, id): &(Window, CommitId)| {
            self.live.get(id).is_some_and(|live| live.window.is_some()).then_some(window.start())
        };
        Window::new(self.claims.values().find_map(kept).unwrap_or(last), last)
    }

    /// What the account is bound to; none while the log is empty, or knows a start only.
    pub fn binding(&self) -> Option<&Binding> {
        self.binding.as_ref()
    }

    /// The number and digest of the newest manifest.
    pub fn newest(&self) -> Option<Previous> {
        self.newest
    }

    /// The number that the next manifest takes.
    pub fn next_number(&self) -> u64 {
        self.newest.map_or(0, |newest| newest.number) + 1
    }

    /// The newest manifest.
    pub fn last(&self) -> Option<&LastManifest> {
        self.last.as_ref()
    }

    /// The commits that count, by id.
    pub fn live(&self) -> &BTreeMap<CommitId, LiveCommit> {
        &self.live
    }

    /// The union of their windows and expired ranges.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// The live expire commit, if months were expired.
    pub fn expired(&self) -> Option<(CommitId, &LiveCommit)> {
        self.live.iter().find(|(_, live)| live.kind == CommitKind::Expire).map(|(id, live)| (*id, live))
    }

    /// The stop references whose outcome is not known yet.
    pub fn stops(&self) -> &Stops {
        &self.stops
    }

    /// The live commits whose windows share a second with `window`, in the order of time.
    pub fn touching(&self, window: Window) -> Vec<(CommitId, Window)> {
        let mut touched: Vec<_> = self
            .overlapping(window)
            .filter(|(commit, held)| self.live.get(commit).is_some_and(|live| live.window == Some(*held)))
            .collect();
        touched.reverse();
        touched
    }

    /// Whether this program may write the log.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when a newer program has written to it.
    pub fn writable(&self) -> Result<()> {
        if self.format <= FormatVersion::LAKE {
            return Ok(());
        }
        Err(Error::new(ErrorClass::FormatOther, text!("the lake has format {format}", format = self.format))
            .with("account", &self.name)
            .hint(text!("this program writes format {lake}: use a newer wdt-lake", lake = FormatVersion::LAKE)))
    }

    pub(crate) fn standing(&self, commit: CommitId) -> Option<Standing> {
        if self.live.contains_key(&commit) { Some(Standing::Live) } else { self.standings.of(commit) }
    }

    /// The same as far as the log says, whatever this process has pinned.
    fn logged(&self, commit: CommitId) -> Option<Standing> {
        if self.live.contains_key(&commit) { Some(Standing::Live) } else { self.standings.logged(commit) }
    }

    /// Until when the objects of a removed or fenced id are kept.
    pub(crate) fn keep_until(&self, commit: CommitId) -> Option<BeijingTime> {
        self.standings.keep_until(commit)
    }

    /// Whether the objects of some dead id were kept at `since`, and are not at `now`.
    pub(crate) fn has_kept_until(&self, since: BeijingTime, now: BeijingTime) -> bool {
        let is_over = |until: BeijingTime| since <= until && until < now;
        self.standings.dead().values().any(|dead| dead.keep_until.is_some_and(is_over))
    }

    /// The number of the manifest that removed or fenced an id, while it is known.
    pub(crate) fn died_at(&self, commit: CommitId) -> Option<u64> {
        self.standings.dead().get(&commit).map(|dead| dead.number)
    }

    /// The objects that live commits name.
    pub(crate) fn named(&self) -> std::collections::HashSet<&str> {
        self.live.values().flat_map(LiveCommit::paths).collect()
    }

    /// Keeps the standing of an id that this process has staged, whatever the log forgets.
    pub(crate) fn pin(&mut self, commit: CommitId) {
        self.standings.pin(commit);
    }

    /// The id was given up, and nothing of it can arrive any more.
    pub(crate) fn unpin(&mut self, commit: CommitId) {
        self.standings.unpin(commit);
    }

    /// Drops every intent to stop one of these requisitions that follows a foreign one from now on.
    pub(crate) fn pin_stops(&mut self, numbers: &[String]) {
        self.stops.pin(numbers);
    }

    /// Whether this process has staged something of which it is not known what became of it.
    pub(crate) fn has_pins(&self) -> bool {
        self.standings.has_pins()
    }

    /// Whether this process has staged the id.
    pub(crate) fn is_pinned(&self, commit: CommitId) -> bool {
        self.standings.is_pinned(commit)
    }

    #[cfg(test)]
    pub(crate) fn forget_after(&mut self, manifests: u64) {
        self.standings.forget_after(manifests);
    }

    /// The check before every try at a number.
    pub(crate) fn check(&self, request: &Manifest) -> std::result::Result<(), Conflict> {
        self.check_ids(request, |id| self.standing(id))?;
        self.stops.check(request.intent.as_ref(), &results_of(request))?;
        self.check_logged(request)
    }

    /// The same by what the log alone says. Others know nothing of what this process has pinned, and their manifests
    /// are right without it.
    fn check_logged(&self, request: &Manifest) -> std::result::Result<(), Conflict> {
        if let Some(bound) = self.binding.as_ref().filter(|bound| **bound != request.account) {
            return Err(Conflict::OtherAccount { bound: Box::new(bound.clone()) });
        }
        self.check_ids(request, |id| self.logged(id))?;
        for (i, commit) in request.removes.iter().enumerate() {
            if !self.live.get(commit).is_some_and(|live| may_go(live, request)) || request.removes[..i].contains(commit)
            {
                return Err(Conflict::NotLive { commit: *commit });
            }
        }
        self.stops.check_logged(request.intent.as_ref(), &results_of(request))?;
        self.check_overlap(request)
    }

    /// The ids of a manifest must be new, and what it fences must be unknown.
    fn check_ids(
        &self,
        request: &Manifest,
        standing: impl Fn(CommitId) -> Option<Standing>,
    ) -> std::result::Result<(), Conflict> {
        let own = request.commits.iter().map(|commit| commit.id);
        for id in std::iter::once(request.id).chain(own) {
            match standing(id) {
                Some(Standing::Fenced) => return Err(Conflict::Fenced),
                Some(Standing::Live | Standing::Removed) => return Err(Conflict::Known { commit: id }),
                None => {}
            }
        }
        for id in &request.fences {
            if standing(*id).is_some() || *id == request.id || self.names_object_of(*id) {
                return Err(Conflict::Known { commit: *id });
            }
        }
        Ok(())
    }

    /// Whether a live commit names an object that was written for another id.
    pub(crate) fn names_object_of(&self, id: CommitId) -> bool {
        self.standings.is_named(id)
    }

    /// What a manifest covers must be covered by nothing that stays, and by no two of its commits.
    fn check_overlap(&self, request: &Manifest) -> std::result::Result<(), Conflict> {
        let expires = request.commits.iter().any(|commit| commit.kind == CommitKind::Expire);
        if let Some((id, live)) = self.expired().filter(|(id, _)| expires && !request.removes.contains(id)) {
            // One says what has expired; a second one beside it would carry rows that the first has replaced.
            return Err(live
                .expired
                .first()
                .map_or(Conflict::NotLive { commit: id }, |window| Conflict::Overlap { window: *window }));
        }
        let mut own = Coverage::default();
        let claims = request.commits.iter().flat_map(|commit| commit.window.iter().chain(&commit.expired));
        for claim in claims {
            let mut stays = self.overlapping(*claim).filter(|(commit, _)| !request.removes.contains(commit));
            if let Some((_, window)) = stays.next() {
                return Err(Conflict::Overlap { window });
            }
            if own.gaps(*claim) != [*claim] {
                return Err(Conflict::Overlap { window: *claim });
            }
            own.insert(*claim);
        }
        Ok(())
    }

    /// What live commits cover of the seconds of `window`, the latest first.
    fn overlapping(&self, window: Window) -> impl Iterator<Item = (CommitId, Window)> {
        // Disjoint windows end in the order in which they start.
        self.claims
            .range(..=window.end())
            .rev()
            .take_while(move |(_, (held, _))| held.end() >= window.start())
            .map(|(_, (held, commit))| (*commit, *held))
    }

    /// Takes a live commit out.
    fn remove(&mut self, commit: CommitId, dead: DeadId) -> Option<(CommitId, LiveCommit)> {
        let gone = self.live.remove(&commit)?;
        for claim in gone.claims() {
            self.claims.remove(&claim.start());
            self.coverage.remove(claim);
        }
        let foreign = foreign_ids(&self.name, commit, gone.paths());
        self.standings.bury(commit, dead, foreign.into_iter());
        Some((commit, gone))
    }

    fn add(&mut self, number: u64, commit: &Commit) {
        let live = LiveCommit::of(number, commit);
        for claim in live.claims() {
            self.claims.insert(claim.start(), (claim, commit.id));
            self.coverage.insert(claim);
        }
        let foreign = foreign_ids(&self.name, commit.id, live.paths());
        self.standings.live(commit.id, foreign.into_iter());
        self.live.insert(commit.id, live);
    }

    /// Adds the next manifest, whose object has the digest `sha256`; gives back what it removed.
    ///
    /// # Errors
    /// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when it does not follow the newest, or breaks a rule; the state
    /// is then unchanged.
    pub fn apply(&mut self, manifest: &Manifest, sha256: Sha256) -> Result<Vec<(CommitId, LiveCommit)>> {
        let defect = |why: String| {
            Error::new(ErrorClass::ManifestDamaged, Text::verbatim(why))
                .with("account", &self.name)
                .with("manifest", manifest.number)
                .hint("the commit log was changed by hand or by another program: run `wdt-lake verify`")
        };
        if manifest.account.name != self.name {
            return Err(defect(format!("a manifest of the account {}", manifest.account.name)));
        }
        if manifest.number != self.next_number() || manifest.previous != self.newest {
            return Err(defect("a manifest that does not follow the one before it".into()));
        }
        self.check_logged(manifest)
            .map_err(|conflict| defect(format!("a manifest that may not follow: {conflict}")))?;

        let Manifest { number, keep_until, .. } = *manifest;
        let removed = DeadId { number, is_fenced: false, keep_until };
        let removed = manifest.removes.iter().filter_map(|commit| self.remove(*commit, removed)).collect();
        for id in &manifest.fences {
            self.standings.bury(*id, DeadId { number, is_fenced: true, keep_until }, std::iter::empty());
        }
        for commit in &manifest.commits {
            self.add(number, commit);
            self.stops.settle(&commit.results);
        }
        if let Some(intent) = &manifest.intent {
            self.stops.intend(manifest.id, intent);
        }
        let has_window = manifest.commits.iter().any(|commit| commit.window.is_some());
        if has_window || manifest.kind() == CommitKind::Start {
            self.wanted_from = self.wanted_from.into_iter().chain(manifest.wanted_from).min();
        }
        // A run that proved nothing may have been told a wrong account.
        if manifest.kind() != CommitKind::Start {
            self.binding.get_or_insert_with(|| manifest.account.clone());
        }
        self.newest = Some(Previous { number, sha256 });
        self.format = self.format.max(manifest.format);
        self.last = Some(LastManifest {
            number,
            id: manifest.id,
            run: manifest.run,
            kind: manifest.kind(),
            created_at: manifest.created_at,
        });
        self.standings.forget(number, manifest.created_at);
        Ok(removed)
    }
}

/// Whether a live commit may give its place to a commit of `request`: windows to windows, page files to page files,
/// outcomes of stops to their compaction.
fn may_go(live: &LiveCommit, request: &Manifest) -> bool {
    let has_window = |commit: &Commit| commit.window.is_some() || !commit.expired.is_empty();
    let covers = live.window.is_some() || !live.expired.is_empty();
    match live.kind {
        _ if covers => request.commits.iter().any(has_window),
        CommitKind::Replay => request.kind() == CommitKind::Replay,
        CommitKind::StopResult | CommitKind::Compaction => {
            request.kind() == CommitKind::Compaction && !request.commits.iter().any(has_window)
        }
        _ => false,
    }
}

fn results_of(request: &Manifest) -> Vec<&StopResult> {
    request.commits.iter().flat_map(|commit| &commit.results).collect()
}

/// The other ids for which the objects of a commit were written.
fn foreign_ids<'a>(account: &AccountName, own: CommitId, paths: impl Iterator<Item = &'a str>) -> Vec<CommitId> {
    let layout = Layout::new(account.clone());
    paths.filter_map(|path| manifest::commit_of(&layout, path)).filter(|id| *id != own).collect()
}
