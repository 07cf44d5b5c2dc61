//! What must hold after every manifest, every deletion and every poll.

use std::collections::{BTreeMap, BTreeSet};

use super::account::{Account, TrueCommit, TrueManifest, id_in};
use super::rows::{Row, Span, overlap};
use super::world::at_tick;
use crate::id::CommitId;

impl Account {
    /// Before an object is deleted: no live commit names it, and nobody was promised that it stays.
    pub(super) fn on_delete(&mut self, path: &str, tick: i64, tally: &mut BTreeMap<&'static str, u64>) {
        assert!(!path.starts_with("_manifest/") || path.contains("/_checkpoint/"), "a manifest is deleted: {path}");
        assert!(!self.names(path), "{path} is deleted and a live commit names it");
        if let Some(until) = self.kept.get(path) {
            // Clocks are one tick wrong.
            assert!(*until <= at_tick(tick + 1), "{path} is deleted at {} and kept until {until}", at_tick(tick));
            *tally.entry("deleted after it was kept").or_default() += 1;
        }
    }

    pub(super) fn on_deleted(&mut self, path: &str, tally: &mut BTreeMap<&'static str, u64>) {
        self.deleted.insert(path.to_owned());
        self.lines.remove(path);
        if self.files.remove(path).is_some() {
            self.check_view(tally);
        }
    }

    /// A new manifest stands.
    pub(super) fn follow(&mut self, manifest: TrueManifest, tally: &mut BTreeMap<&'static str, u64>) {
        let number = self.manifests.len() as u64 + 1;
        *tally.entry(name_of(&manifest.kind)).or_default() += 1;
        self.check_ids(&manifest);
        self.check_places(&manifest);
        let before: Vec<Row> = self.live_rows().collect();
        let named = self.apply(&manifest);
        let until = manifest.keep_until.unwrap_or(i64::MIN);
        let lost: Vec<String> = named.into_iter().filter(|path| !self.names(path)).collect();
        self.kept.extend(lost.into_iter().map(|path| (path, until)));
        self.manifests.push(manifest.clone());
        self.check_objects();
        self.check_windows();
        self.check_rows(&manifest, &before);
        self.check_lines(&manifest);
        self.check_stops(&manifest);
        self.check_latest(number);
        self.check_view(tally);
    }

    fn check_ids(&self, manifest: &TrueManifest) {
        for id in manifest.commits.iter().map(|(id, _)| id).chain([&manifest.id]) {
            assert!(!self.dead.contains(id) && !self.born.contains_key(id), "the id {id} lives again");
        }
        for id in &manifest.fences {
            assert!(!self.live.contains_key(id), "the live id {id} is fenced");
        }
        for id in &manifest.removes {
            assert!(self.live.contains_key(id), "{id} is removed and was not live");
        }
    }

    /// A commit that was walked again in part keeps its window.
    fn check_places(&self, manifest: &TrueManifest) {
        if manifest.kind != "refresh" {
            return;
        }
        let mut places: Vec<Option<Span>> =
            manifest.removes.iter().filter_map(|id| self.live.get(id)).map(|commit| commit.window).collect();
        let mut windows: Vec<Option<Span>> = manifest.commits.iter().map(|(_, commit)| commit.window).collect();
        places.sort_unstable();
        windows.sort_unstable();
        assert_eq!(windows, places, "a refresh gathers windows");
    }

    fn check_objects(&self) {
        for commit in self.live.values() {
            for path in &commit.paths {
                let is_there = self.files.contains_key(path) || self.lines.contains_key(path);
                let is_known = path.starts_with("purchase_apply") || path.starts_with("_quarantine/");
                assert!(is_there || !is_known || self.damaged.contains(path), "the live object {path} is not there");
            }
        }
    }

    fn check_windows(&self) {
        let claims = self.live.values().flat_map(|commit| commit.window.iter().chain(&commit.expired));
        let mut claims: Vec<Span> = claims.copied().collect();
        claims.sort_unstable();
        assert!(!claims.windows(2).any(|pair| overlap(pair[0], pair[1])), "windows overlap: {claims:?}");
        let expires = self.live.values().filter(|commit| commit.kind == "expire").count();
        assert!(expires <= 1, "more than one live expire");
    }

    /// What every slot must hold.
    fn check_rows(&mut self, manifest: &TrueManifest, before: &[Row]) {
        let mut live = BTreeMap::new();
        for row in self.live_rows() {
            assert_eq!(live.insert(row.version.key(), row), None, "{row:?} stands twice");
        }
        if let Some(parts) = self.walks.remove(&manifest.walk) {
            for part in parts {
                if part.is_all {
                    self.due.retain(|(_, slot), _| !(part.span.0..=part.span.1).contains(slot));
                }
                for version in &part.versions {
                    self.due.insert(version.key(), version.content);
                }
                self.due_lines.retain(|_, slot| !(part.span.0..=part.span.1).contains(slot));
                let slot = |line: &String| line.split(' ').next().and_then(|slot| slot.parse().ok()).expect("a slot");
                self.due_lines.extend(part.lines.iter().map(|line| (line.clone(), slot(line))));
            }
        } else {
            assert!(manifest.walk == 0 || manifest.kind == "replay", "{} is landed twice", manifest.walk);
        }
        if manifest.kind == "expire" {
            self.check_expired(manifest, before, &live);
        }
        if self.damaged.iter().any(|path| self.names(path)) {
            // What is damaged is not counted until it is mended.
            let is_due = |(key, row): (&(u8, i64), &Row)| self.due.get(key) == Some(&row.version.content);
            assert!(live.iter().all(is_due), "after {}: a row that is not due", manifest.kind);
            return;
        }
        let held: BTreeMap<(u8, i64), u32> = live.iter().map(|(key, row)| (*key, row.version.content)).collect();
        assert_eq!(held, self.due, "after {}: the lake holds something else than what is due", manifest.kind);
    }

    /// Of what an expire lets go, nothing was the latest version of an open requisition.
    fn check_expired(&mut self, manifest: &TrueManifest, before: &[Row], live: &BTreeMap<(u8, i64), Row>) {
        let ranges: Vec<Span> = manifest.commits.iter().flat_map(|(_, commit)| commit.expired.clone()).collect();
        let is_in = |slot: i64| ranges.iter().any(|range| (range.0..=range.1).contains(&slot));
        let gone: Vec<(u8, i64)> =
            self.due.keys().copied().filter(|key| is_in(key.1) && !live.contains_key(key)).collect();
        for key in gone {
            let versions = before.iter().filter(|row| row.version.num == key.0);
            if let Some(latest) = versions.max_by_key(|row| row.version.age()) {
                let is_closed = self.source.closed.contains(&(key.0, latest.version.content));
                assert!(latest.version.key() != key || is_closed, "expire lost {latest:?}, the latest and open");
            }
            self.due.remove(&key);
        }
        self.due_lines.retain(|_, slot| !is_in(*slot));
    }

    /// Every record in quarantine stands once, until its second was walked again or expired.
    fn check_lines(&self, manifest: &TrueManifest) {
        let of = |commit: &TrueCommit| -> Vec<String> {
            commit.quarantine.iter().filter_map(|path| self.lines.get(path)).flatten().cloned().collect()
        };
        let mut lines: Vec<String> = self.live.values().flat_map(of).collect();
        lines.sort_unstable();
        let due: BTreeSet<String> = self.due_lines.keys().cloned().collect();
        assert_eq!(
            lines,
            due.into_iter().collect::<Vec<_>>(),
            "after {}: quarantined records are not those that are due",
            manifest.kind
        );
    }

    fn check_stops(&self, manifest: &TrueManifest) {
        for number in &manifest.intent {
            assert_eq!(self.pending.get(number), Some(&manifest.id), "an intent that does not count");
        }
    }

    /// The latest version of a requisition is the newest that was ever committed, or it was closed and expired.
    fn check_latest(&mut self, number: u64) {
        let rows: Vec<Row> = self.live_rows().collect();
        let mut shown: BTreeMap<u8, Row> = BTreeMap::new();
        for row in &rows {
            assert!(self.born.contains_key(&row.commit), "manifest {number}: {row:?} has the id of no commit");
            let (num, age) = (row.version.num, row.version.age());
            if self.latest.get(&num).is_none_or(|latest| latest.age() < age) {
                self.latest.insert(num, row.version);
            }
            if shown.get(&num).is_none_or(|other| other.version.slot < row.version.slot) {
                shown.insert(num, *row);
            }
        }
        if self.has_damage {
            return;
        }
        for (num, row) in shown {
            let latest = self.latest[&num];
            assert!(row.version.slot >= latest.slot, "the log says {row:?} is the latest, {latest:?} was");
        }
    }

    /// One more poll of the change feed: the rows of the committed set that commits after the token have landed.
    pub(super) fn feed(&mut self) {
        let since = usize::try_from(self.token).expect("small");
        let ids: BTreeSet<CommitId> =
            self.manifests[since..].iter().flat_map(|manifest| &manifest.commits).map(|(id, _)| *id).collect();
        for row in self.live_rows().collect::<Vec<_>>() {
            if ids.contains(&row.commit) {
                assert!(self.fed.insert(row), "the feed shows {row:?} twice");
                self.followed.insert(row.version.key(), row);
            }
            assert!(self.fed.contains(&row), "the feed never showed {row:?}");
            let followed = self.followed[&row.version.key()];
            assert_eq!(followed, row, "who follows the feed has another row than the lake");
        }
        self.token = self.manifests.len() as u64;
    }

    /// Whether a state is the true one after the manifest with which it ends.
    pub(super) fn check_state(&self, state: &crate::log::LogState) {
        let number = state.newest().map_or(0, |newest| newest.number);
        let live: BTreeSet<CommitId> = state.live().keys().copied().collect();
        assert_eq!(live, self.history[usize::try_from(number).expect("small")], "another committed set at {number}");
        if number != self.manifests.len() as u64 {
            return;
        }
        assert_eq!(*state, self.folded, "a state that is not that of all manifests");
        for id in self.born.keys().chain(&self.dead) {
            let dead = self.gone.get(id);
            let is_known = self.live.contains_key(id) || dead.is_some();
            assert_eq!(state.standing(*id).is_some() && !state.is_pinned(*id), is_known, "the standing of {id}");
            if let Some(dead) = dead {
                assert_eq!(state.died_at(*id), Some(dead.number), "when {id} died");
                assert_eq!(state.keep_until(*id).map(|until| until.unix()), dead.keep_until, "how long {id} is kept");
                let is_fenced = state.standing(*id) == Some(crate::log::state::Standing::Fenced);
                assert_eq!(is_fenced, dead.is_fenced, "whether {id} was fenced");
            }
        }
        let pending: BTreeMap<String, CommitId> =
            state.stops().pending().iter().map(|(number, held)| (number.clone(), held.intent)).collect();
        assert_eq!(pending, self.pending, "the pending stops");
    }

    /// Everything that was told is true, and no requisition was stopped twice.
    pub(super) fn check_told(&self) {
        for (id, is_committed) in &self.told {
            let stands = self.manifests.iter().any(|manifest| manifest.id == *id);
            assert_eq!(stands, *is_committed, "what was told of {id} is not true");
        }
        for (number, calls) in &self.calls {
            assert!(calls.len() < 2, "{number} was stopped twice: {calls:?}");
        }
        for intent in self.asked.keys() {
            let stands = self.manifests.iter().any(|manifest| manifest.id == *intent && !manifest.intent.is_empty());
            assert!(stands, "a call without its intent {intent}");
        }
    }

    /// After a last sweep at `tick` nothing is left beside the committed set, and what is kept.
    pub(super) fn check_left<'a>(&self, paths: impl Iterator<Item = &'a String>, tick: i64) {
        let is_kept = |path: &str| {
            let keep_until = id_in(path).and_then(|id| self.gone.get(&id)).and_then(|dead| dead.keep_until);
            keep_until.is_some_and(|until| until >= at_tick(tick - 1))
        };
        let is_logs = |path: &str| path.starts_with("_manifest/") || path.starts_with("_lease/");
        let left: Vec<&String> =
            paths.filter(|path| self.owns(path) && !is_logs(path) && !self.names(path) && !is_kept(path)).collect();
        assert!(left.is_empty(), "left over: {left:?}");
    }
}

fn name_of(kind: &str) -> &'static str {
    match kind {
        "sync" => "manifests of syncs",
        "refresh" => "manifests of refreshes",
        "compaction" => "manifests of compactions",
        "expire" => "manifests of expires",
        "rewalk" => "manifests of rewalks",
        "replay" => "manifests of replays",
        "fence" => "manifests of fences",
        "stop_result" => "manifests of stop results",
        _ => "manifests of stop intents",
    }
}
