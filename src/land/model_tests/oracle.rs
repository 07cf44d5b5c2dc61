//! The oracle of the model test: it reads the raw objects itself and shares no code with the log.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;

use super::{World, now};
use crate::log::Sha256;
use crate::store::Store;

/// The oracle's own reading of a manifest.
pub(super) struct Entry {
    text: Bytes,
    id: String,
    tick: u64,
    seconds: Option<(i64, i64)>,
    removes: Vec<String>,
    fences: Vec<String>,
    files: Vec<(String, String)>,
    intent: Vec<String>,
    /// Intent, number, outcome.
    results: Vec<(String, String, String)>,
}

impl Entry {
    fn read(text: Bytes) -> Self {
        let value: Value = serde_json::from_slice(&text).expect("JSON");
        let strings = |list: &Value| -> Vec<String> {
            list.as_array().expect("a list").iter().map(|id| id.as_str().expect("text").to_owned()).collect()
        };
        let commit = &value["commits"][0];
        let second = |end: &str| {
            let text = commit["window"][end].as_str()?;
            Some(chrono::DateTime::parse_from_rfc3339(text).expect("a time").timestamp())
        };
        let file = |file: &Value| {
            (file["path"].as_str().expect("text").to_owned(), file["sha256"].as_str().expect("text").to_owned())
        };
        let result = |result: &Value| {
            let text = |name: &str| result[name].as_str().expect("text").to_owned();
            (text("intent"), text("number"), text("outcome"))
        };
        Self {
            id: value["id"].as_str().expect("text").to_owned(),
            tick: value["walk"]["proof"]["distinct_rows"].as_u64().unwrap_or(0),
            seconds: second("start").zip(second("end")),
            removes: strings(&value["removes"]),
            fences: strings(&value["fences"]),
            files: commit["files"].as_array().into_iter().flatten().map(file).collect(),
            intent: value["intent"]["numbers"]
                .as_array()
                .map(|_| strings(&value["intent"]["numbers"]))
                .unwrap_or_default(),
            results: commit["results"].as_array().into_iter().flatten().map(result).collect(),
            text,
        }
    }
}

/// Watches the raw objects.
#[derive(Default)]
pub(super) struct Oracle {
    pub(super) log: Vec<Entry>,
    live: BTreeSet<usize>,
    /// By second: the tick of the walk that it was last read by.
    read_at: BTreeMap<i64, u64>,
    /// The pending numbers, with their intent and whether a result says unknown.
    pending: BTreeMap<String, (String, bool)>,
}

impl Oracle {
    pub(super) fn look(&mut self, raw: &Store) {
        let mut listed = now(raw.list("_manifest")).expect("listed");
        // Whether checkpoints are true is looked at by opening.
        listed.retain(|object| !object.path.contains("/_checkpoint/"));
        for (i, object) in listed.iter().enumerate() {
            assert!(object.path.ends_with(&format!("{:020}.json", i + 1)), "a gap: {}", object.path);
            let text = now(raw.get(&object.path)).expect("an answer").expect("a manifest");
            match self.log.get(i) {
                Some(entry) => assert_eq!(entry.text, text, "a manifest changed"),
                None => self.follow(Entry::read(text)),
            }
        }
        assert_eq!(listed.len(), self.log.len(), "a manifest vanished");
        for at in &self.live {
            for (path, sha256) in &self.log[*at].files {
                let bytes = now(raw.get(path)).expect("an answer");
                let bytes = bytes.unwrap_or_else(|| panic!("live data was deleted: {path}"));
                assert_eq!(&Sha256::of(&bytes).to_string(), sha256, "live data changed: {path}");
            }
        }
    }

    fn follow(&mut self, entry: Entry) {
        let before: BTreeSet<i64> = self.covered();
        assert!(!self.log.iter().any(|other| other.id == entry.id), "committed twice: {}", entry.id);
        assert!(!self.log.iter().any(|other| other.fences.contains(&entry.id)), "committed after its fence");
        for id in &entry.removes {
            let at = self.log.iter().position(|other| other.id == *id);
            assert!(at.is_some_and(|at| self.live.remove(&at)), "removed what was not live: {id}");
        }
        for id in &entry.fences {
            assert!(!self.log.iter().any(|other| other.id == *id), "fenced what was committed: {id}");
        }
        if let Some((start, end)) = entry.seconds {
            let held = self.covered();
            for second in start..=end {
                assert!(!held.contains(&second), "covered twice: {second}");
                let stale = self.read_at.insert(second, entry.tick).is_some_and(|read| read > entry.tick);
                assert!(!stale, "went back to an older reading: {second}");
            }
        }
        for number in &entry.intent {
            let before = self.pending.insert(number.clone(), (entry.id.clone(), false));
            assert_eq!(before, None, "a second intent for {number} before the first was settled");
        }
        for (intent, number, outcome) in &entry.results {
            let (of, is_unknown) = self.pending.remove(number).expect("an intent before its result");
            assert_eq!(of, *intent, "the result of another intent");
            if outcome == "unknown" {
                assert!(!is_unknown, "unknown is said once");
                self.pending.insert(number.clone(), (of, true));
            }
        }
        self.live.insert(self.log.len());
        self.log.push(entry);
        assert!(self.covered().is_superset(&before), "covered seconds were lost");
    }

    fn covered(&self) -> BTreeSet<i64> {
        let windows = self.live.iter().filter_map(|at| self.log[*at].seconds);
        windows.flat_map(|(start, end)| start..=end).collect()
    }

    /// Everything that was told is true, and beside the committed set there is nothing.
    pub(super) fn check_end(&self, world: &World, swept: bool) {
        for (id, committed) in world.told.lock().expect("no panic").iter() {
            let stands = self.log.iter().any(|entry| entry.id == *id);
            assert_eq!(stands, *committed, "what was told of {id} is not true");
        }
        for (intent, number) in world.called.lock().expect("no panic").iter() {
            let stands = self.log.iter().any(|entry| entry.id == *intent && entry.intent.contains(number));
            assert!(stands, "{number} was called without its intent");
        }
        if swept {
            let mut expected: Vec<String> =
                self.live.iter().flat_map(|at| &self.log[*at].files).map(|(path, _)| path.clone()).collect();
            expected.extend(now(world.raw.list("_manifest")).expect("listed").into_iter().map(|object| object.path));
            expected.sort();
            let all = now(world.raw.list("")).expect("listed");
            assert_eq!(all.into_iter().map(|object| object.path).collect::<Vec<_>>(), expected, "orphans");
        }
    }
}
