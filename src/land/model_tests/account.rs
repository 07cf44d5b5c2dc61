//! One account: its ERP, and what its log and its objects truly are. It reads the raw objects itself and shares no code
//! with the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::Value;

use super::rows::{Row, Span, Version, decode, slot_of};
use super::world::Setup;
use crate::id::{AccountName, CommitId};
use crate::log::{LogState, Manifest, Sha256};

/// The requisitions of an ERP.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    /// By number: its slot, its content, and the content before.
    rows: BTreeMap<u8, (i64, u32, u32)>,
    /// Contents that are closed.
    pub(super) closed: BTreeSet<(u8, u32)>,
}

impl Source {
    fn add(&mut self, rng: &mut StdRng, now: i64) {
        let num = u8::try_from(self.rows.len()).expect("few");
        self.rows.insert(num, (rng.random_range(0..=now), 1, 1));
    }

    /// From now on a requisition has this content, since this slot.
    pub(super) fn hold(&mut self, num: u8, slot: i64, content: u32) {
        self.rows.insert(num, (slot, content, content - 1));
    }

    pub(super) fn change(&mut self, rng: &mut StdRng, now: i64) {
        if self.rows.len() < 8 && rng.random_range(0..8) == 0 {
            return self.add(rng, now);
        }
        let num = u8::try_from(rng.random_range(0..self.rows.len())).expect("few");
        let (slot, content, before) = self.rows[&num];
        let next = content.max(before) + 1;
        let changed = match rng.random_range(0..4) {
            // An edit.
            0 | 1 => (now, next, content),
            // Other content in the same second.
            2 => (slot, next, content),
            // The content before, in the same second.
            _ => (slot, before, content),
        };
        self.rows.insert(num, changed);
        if changed.1 == next && rng.random_bool(0.4) {
            self.closed.insert((num, next));
        }
    }

    pub(super) fn edit(&mut self, rng: &mut StdRng, now: i64) {
        let num = u8::try_from(rng.random_range(0..self.rows.len())).expect("few");
        let (_, content, before) = self.rows[&num];
        self.rows.insert(num, (now, content.max(before) + 1, content));
        if rng.random_bool(0.5) {
            self.closed.insert((num, content.max(before) + 1));
        }
    }

    pub(super) fn walk(&self, span: Span, read: u64) -> Vec<Version> {
        let rows = self.rows.iter().filter(|(_, (slot, ..))| (span.0..=span.1).contains(slot));
        rows.map(|(num, (slot, content, _))| Version { num: *num, slot: *slot, content: *content, read }).collect()
    }
}

/// A part of a walk, as a manifest lands it.
#[derive(Clone, Debug)]
pub(super) struct WalkedPart {
    pub(super) span: Span,
    pub(super) versions: Vec<Version>,
    /// The records of these slots that are in quarantine.
    pub(super) lines: Vec<String>,
    /// Nothing else stays of these slots: what they held was damaged.
    pub(super) is_all: bool,
}

/// A commit, as its manifest says.
#[derive(Clone, Debug)]
pub(super) struct TrueCommit {
    pub(super) kind: String,
    pub(super) window: Option<Span>,
    pub(super) expired: Vec<Span>,
    pub(super) headers: Vec<String>,
    pub(super) quarantine: Vec<String>,
    /// Every object.
    pub(super) paths: Vec<String>,
}

/// A manifest.
#[derive(Clone, Debug)]
pub(super) struct TrueManifest {
    pub(super) id: CommitId,
    pub(super) kind: String,
    pub(super) commits: Vec<(CommitId, TrueCommit)>,
    pub(super) removes: Vec<CommitId>,
    pub(super) fences: Vec<CommitId>,
    pub(super) keep_until: Option<i64>,
    created_at: i64,
    /// The walk that it lands.
    pub(super) walk: u64,
    pub(super) intent: Vec<String>,
    /// Number and outcome.
    pub(super) results: Vec<(String, String)>,
}

fn unix(value: &Value) -> Option<i64> {
    Some(chrono::DateTime::parse_from_rfc3339(value.as_str()?).expect("a time").timestamp())
}

fn span(value: &Value) -> Option<Span> {
    Some((slot_of(unix(&value["start"])?), slot_of(unix(&value["end"])?)))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn ids(value: &Value) -> Vec<CommitId> {
    list(value).map(|id| CommitId::parse(&text(id)).expect("an id")).collect()
}

impl TrueManifest {
    fn read(bytes: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(bytes).expect("JSON");
        let paths = |value: &Value| -> Vec<String> { list(value).map(|object| text(&object["path"])).collect() };
        let commit = |commit: &Value| {
            let files = paths(&commit["files"]);
            let quarantine = paths(&commit["quarantine"]);
            let all = files.iter().chain(&quarantine).cloned().chain(paths(&commit["raw"])).collect();
            let true_commit = TrueCommit {
                kind: text(&commit["kind"]),
                window: span(&commit["window"]),
                expired: list(&commit["expired"]).filter_map(span).collect(),
                headers: files.into_iter().filter(|path| is_header(path)).collect(),
                quarantine,
                paths: all,
            };
            (CommitId::parse(&text(&commit["id"])).expect("an id"), true_commit)
        };
        let results = list(&value["commits"]).flat_map(|commit| list(&commit["results"]));
        let results = results.map(|result| (text(&result["number"]), text(&result["outcome"]))).collect();
        let commits: Vec<_> = list(&value["commits"]).map(commit).collect();
        let fences = ids(&value["fences"]);
        let kind = match commits.first() {
            Some((_, commit)) => commit.kind.clone(),
            None if !fences.is_empty() => "fence".to_owned(),
            None => "stop_intent".to_owned(),
        };
        Self {
            id: CommitId::parse(&text(&value["id"])).expect("an id"),
            kind,
            commits,
            removes: ids(&value["removes"]),
            fences,
            keep_until: unix(&value["keep_until"]),
            created_at: unix(&value["created_at"]).expect("a time"),
            walk: value["walk"]["proof"]["distinct_rows"].as_u64().unwrap_or(0),
            intent: list(&value["intent"]["numbers"]).map(text).collect(),
            results,
        }
    }
}

pub(super) fn is_header(path: &str) -> bool {
    path.starts_with("purchase_apply/")
}

pub(super) fn is_detail(path: &str) -> bool {
    path.starts_with("purchase_apply_detail/")
}

/// The id in the name of an object.
pub(super) fn id_in(path: &str) -> Option<CommitId> {
    let file = path.rsplit('/').next()?;
    let stem = file.split('.').next()?;
    let stem = if stem.get(8..9) == Some("T") { stem.get(32..68)? } else { stem.get(..36)? };
    CommitId::parse(stem)
}

/// An id that is dead and not forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dead {
    pub(super) number: u64,
    pub(super) is_fenced: bool,
    pub(super) keep_until: Option<i64>,
}

/// See the module documentation.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) name: AccountName,
    folder: String,
    pub(super) forgotten_after: u64,
    pub(super) has_damage: bool,
    pub(super) source: Source,
    /// The walks that may land, by their number.
    pub(super) walks: BTreeMap<u64, Vec<WalkedPart>>,
    pub(super) manifests: Vec<TrueManifest>,
    pub(super) live: BTreeMap<CommitId, TrueCommit>,
    /// The ids of live commits after every manifest.
    pub(super) history: Vec<BTreeSet<CommitId>>,
    pub(super) gone: BTreeMap<CommitId, Dead>,
    /// Every id that ever lived, with its manifest.
    pub(super) born: BTreeMap<CommitId, u64>,
    /// Every id that was ever removed or fenced.
    pub(super) dead: BTreeSet<CommitId>,
    pub(super) pending: BTreeMap<String, CommitId>,
    /// The state that every manifest adds up to, by the code that is tried.
    pub(super) folded: LogState,
    /// The rows of the files of data that stand in the store.
    pub(super) files: BTreeMap<String, Arc<Vec<Row>>>,
    /// Objects that were deleted once.
    pub(super) deleted: BTreeSet<String>,
    /// Live objects that were damaged.
    pub(super) damaged: BTreeSet<String>,
    /// Until when an object that lost its name is kept.
    pub(super) kept: BTreeMap<String, i64>,
    /// The lines of quarantine files.
    pub(super) lines: BTreeMap<String, Vec<String>>,
    /// What the lake must hold: the content of a requisition by its slot.
    pub(super) due: BTreeMap<(u8, i64), u32>,
    /// The lines that must be in quarantine, with their slots.
    pub(super) due_lines: BTreeMap<String, i64>,
    /// The latest version of a requisition that was ever committed.
    pub(super) latest: BTreeMap<u8, Version>,
    /// The number of the manifest up to which the change feed was read.
    pub(super) token: u64,
    pub(super) fed: BTreeSet<Row>,
    pub(super) followed: BTreeMap<(u8, i64), Row>,
    /// Ids by what their process was told: true for committed.
    pub(super) told: Vec<(CommitId, bool)>,
    /// When a number was called, by number.
    pub(super) calls: BTreeMap<String, Vec<i64>>,
    /// When an intent was begun.
    pub(super) asked: BTreeMap<CommitId, i64>,
    /// A listing of headers or of details that somebody took some time ago.
    pub(super) viewer: Option<super::view::Listed>,
}

impl Account {
    pub(super) fn new(name: &str, setup: &Setup, rng: &mut StdRng) -> Self {
        let name: AccountName = name.parse().expect("a name");
        let mut source = Source::default();
        (0..4).for_each(|_| source.add(rng, 3));
        Self {
            folder: format!("account={name}"),
            folded: LogState::new(name.clone()),
            name,
            forgotten_after: setup.forgotten_after,
            has_damage: setup.has_damage,
            source,
            walks: BTreeMap::new(),
            manifests: Vec::new(),
            live: BTreeMap::new(),
            history: vec![BTreeSet::new()],
            gone: BTreeMap::new(),
            born: BTreeMap::new(),
            dead: BTreeSet::new(),
            pending: BTreeMap::new(),
            files: BTreeMap::new(),
            deleted: BTreeSet::new(),
            damaged: BTreeSet::new(),
            kept: BTreeMap::new(),
            lines: BTreeMap::new(),
            due: BTreeMap::new(),
            due_lines: BTreeMap::new(),
            latest: BTreeMap::new(),
            token: 0,
            fed: BTreeSet::new(),
            followed: BTreeMap::new(),
            told: Vec::new(),
            calls: BTreeMap::new(),
            asked: BTreeMap::new(),
            viewer: None,
        }
    }

    pub(super) fn owns(&self, path: &str) -> bool {
        path.split('/').any(|part| part.strip_suffix(".json").unwrap_or(part) == self.folder)
    }

    pub(super) fn names(&self, path: &str) -> bool {
        self.live.values().any(|commit| commit.paths.iter().any(|other| other == path))
    }

    /// The ids of which live commits name objects.
    fn named_ids(&self) -> BTreeSet<CommitId> {
        self.live.values().flat_map(|commit| &commit.paths).filter_map(|path| id_in(path)).collect()
    }

    /// The rows of a commit, as far as its files stand.
    pub(super) fn rows<'a>(&'a self, commit: &'a TrueCommit) -> impl Iterator<Item = Row> + 'a {
        commit.headers.iter().filter_map(|path| self.files.get(path)).flat_map(|rows| rows.iter().copied())
    }

    pub(super) fn live_rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.live.values().flat_map(|commit| self.rows(commit))
    }

    /// A live object is lost by no fault of the program.
    pub(super) fn damage(&mut self, path: &str) {
        self.damaged.insert(path.to_owned());
        self.files.remove(path);
    }

    /// Notes what an object holds; a new manifest is added to the truth.
    pub(super) fn on_put(
        &mut self,
        path: &str,
        body: &Bytes,
        trace: &mut Vec<String>,
        tally: &mut BTreeMap<&'static str, u64>,
    ) {
        if is_header(path) || is_detail(path) {
            self.files.insert(path.to_owned(), Arc::new(decode(body)));
            self.check_view(tally);
        } else if path.starts_with("_quarantine/") {
            let text = std::str::from_utf8(body).expect("text");
            self.lines.insert(path.to_owned(), text.lines().map(str::to_owned).collect());
        } else if path.starts_with("_manifest/") && !path.contains("/_checkpoint/") {
            let number = path.rsplit('/').next().and_then(|file| file.get(..20)).expect("a number");
            assert_eq!(number.parse(), Ok(self.manifests.len() + 1), "a manifest leaves a gap: {path}");
            let (manifest, parsed) = (TrueManifest::read(body), Manifest::from_bytes(body, path).expect("a manifest"));
            let (kind, removes, fences) = (&manifest.kind, &manifest.removes, &manifest.fences);
            let ids: Vec<CommitId> = manifest.commits.iter().map(|(id, _)| *id).collect();
            trace.push(format!("manifest {number} {kind} {ids:?} removes {removes:?} fences {fences:?}"));
            self.folded.apply(&parsed, Sha256::of(body)).expect("a manifest that follows");
            self.follow(manifest, tally);
        }
    }

    /// Adds what a manifest says to the state; gives the objects that were named before.
    pub(super) fn apply(&mut self, manifest: &TrueManifest) -> BTreeSet<String> {
        let number = self.manifests.len() as u64 + 1;
        let named: BTreeSet<String> = self.live.values().flat_map(|commit| &commit.paths).cloned().collect();
        let out: Vec<_> = manifest.removes.iter().filter_map(|id| Some((*id, self.live.remove(id)?))).collect();
        for (id, commit) in &manifest.commits {
            self.live.insert(*id, commit.clone());
            self.born.insert(*id, number);
        }
        for (id, commit) in &out {
            let dead = Dead { number, is_fenced: false, keep_until: manifest.keep_until };
            self.gone.insert(*id, dead);
            for foreign in commit.paths.iter().filter_map(|path| id_in(path)).filter(|other| other != id) {
                if let Some(held) = self.gone.get_mut(&foreign) {
                    held.keep_until = held.keep_until.max(manifest.keep_until);
                }
            }
        }
        for id in &manifest.fences {
            self.gone.insert(*id, Dead { number, is_fenced: true, keep_until: manifest.keep_until });
        }
        self.dead.extend(manifest.removes.iter().chain(&manifest.fences));
        let (ids, last) = (self.named_ids(), number.checked_sub(self.forgotten_after));
        self.gone.retain(|id, dead| {
            let is_old = last.is_some_and(|last| dead.number <= last);
            let is_over = dead.keep_until.is_none_or(|until| until + 86_400 < manifest.created_at);
            !is_old || !is_over || ids.contains(id)
        });
        for number in &manifest.intent {
            self.pending.insert(number.clone(), manifest.id);
        }
        for (number, outcome) in &manifest.results {
            if outcome != "unknown" {
                self.pending.remove(number);
            }
        }
        self.history.push(self.live.keys().copied().collect());
        named
    }
}
