//! Manifests and checkpoints: whatever is read is one of ours in every respect, and says the same when it is written
//! again.

use serde_json::Value;

use super::checkpoint::{self, ListedCheckpoint};
use super::digest::Sha256;
use super::layout::{Layout, Name};
use super::manifest::{CarriedRange, Commit, CommitKind, Manifest, QuarantineEntry, RawEntry};
use super::state::{LiveCommit, LogState};
use crate::fuzzing::{Target, folder, kind};
use crate::id::{AccountName, CommitId};
use crate::land::testing::{bare, binding, commit_of_kind, covering, schema_accepts, stopped, to_stop, window};
use crate::time::Window;

const WORDS: [&str; 44] = [
    "\"format\":\"1.0\"",
    "\"format\":\"1.0\"",
    "1.0",
    "0.9",
    "1.9",
    "\"kind\":\"sync\"",
    "refresh",
    "fence",
    "replay",
    "stop_intent",
    "stop_result",
    "other",
    "null",
    "[]",
    "{}",
    "\"fences\":",
    "\"removes\":",
    "\"files\":[",
    "\"commits\":[",
    "\"raw\":",
    "\"intent\":",
    "\"results\":[",
    "\"by\":",
    "\"reason\":\"x\"",
    "\"evidence\":null",
    "unknown",
    "not_stopped",
    "../",
    "account=acme",
    "account=other",
    "%2F",
    "\\u0000",
    "purchase_apply",
    "purchase_apply_detail",
    "stop_reference",
    "modified_month=2026-10",
    ".parquet",
    "01928000-0000-7000-8000-000000000001",
    "2026-10-01T00:00:00+08:00",
    "0000-00-00",
    "+08:00",
    "\"live\":",
    "\"dead\":",
    "compaction",
];

/// Each name is that of an object of this commit, or of one whose place it takes, told without the parser of names: by
/// what it begins with, holds once, and ends in.
fn assert_is_own(layout: &Layout, commit: &Commit, path: &str) {
    let account = format!("/account={}/", layout.account());
    let (root, rest) = path.split_once(&account).expect("the account's folder");
    let ends = match root {
        "purchase_apply" | "purchase_apply_detail" | "stop_reference" => ".parquet",
        "_quarantine" => ".jsonl",
        "_raw" => ".jsonl.zst",
        _ => panic!("{path:?} lies in no folder of ours"),
    };
    let keeps = matches!(commit.kind, CommitKind::Refresh | CommitKind::Rewalk | CommitKind::Compaction);
    let is_own = rest.matches(&commit.id.to_string()).count() == 1 || (keeps && ends != ".parquet");
    assert!(rest.ends_with(ends) && is_own, "{path:?}");
    assert!(path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"=/_-.".contains(&byte)), "{path:?}");
    assert!(!path.contains("..") && !path.contains("//") && rest.matches('/').count() < 2, "{path:?}");
    assert!(matches!(layout.parse(path), Some(Name::Data { .. } | Name::Quarantine(_) | Name::Raw(_))), "{path:?}");
}

fn check_manifest(input: &[u8]) -> String {
    let manifest = match Manifest::from_bytes(input, "_manifest/x") {
        Ok(manifest) => manifest,
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
            return kind(error.message());
        }
    };
    let layout = Layout::new(manifest.account.name.clone());
    for commit in &manifest.commits {
        commit.paths().for_each(|path| assert_is_own(&layout, commit, path));
    }
    let given: Value = serde_json::from_slice(input).expect("JSON");
    let written = manifest.to_bytes().expect("what was read keeps the rules");
    assert_eq!(serde_json::from_slice::<Value>(&written).expect("JSON"), given, "nothing is lost or bent");
    assert_eq!(Manifest::from_bytes(&written, "_manifest/x").expect("read again"), manifest);
    assert!(schema_accepts(&given), "the published schema knows it: {given}");

    // As the first of a log, and what a checkpoint makes of that.
    let mut state = LogState::new(manifest.account.name.clone());
    let state = match state.apply(&manifest, Sha256::of(input)) {
        Ok(_) => {
            assert_eq!(fold_of_checkpoint(&checkpoint_of(&state)).expect("our own"), state);
            "first"
        }
        Err(_) => "later",
    };
    let files = manifest.commits.iter().map(|commit| commit.files.len()).sum();
    let results = manifest.commits.iter().map(|commit| commit.results.len()).sum();
    let counts = [files, manifest.commits.len(), manifest.removes.len(), manifest.fences.len(), results];
    format!("{} {state} {:?}", manifest.kind().name(), counts.map(|count: usize| count.min(2)))
}

/// The second line of a checkpoint, which holds the state.
fn checkpoint_of(state: &LogState) -> Vec<u8> {
    let bytes = checkpoint::to_bytes(state).expect("JSON").expect("a log that is not empty");
    let end = bytes.iter().position(|byte| *byte == b'\n').expect("two lines");
    bytes[end + 1..].trim_ascii_end().to_vec()
}

/// What is read of a checkpoint with this second line, under the name that it says of itself.
fn fold_of_checkpoint(body: &[u8]) -> Result<LogState, String> {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |pointer: &str| said.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name: AccountName = text("/account/name").parse().unwrap_or_else(|_| "acme".parse().expect("a name"));
    let commit = CommitId::parse(&text("/last/id")).unwrap_or_else(|| CommitId::parse(WORDS[37]).expect("an id"));
    let number = said.pointer("/last/number").and_then(Value::as_u64).unwrap_or(1);
    let head = format!("{{\"format\":\"1.0\",\"sha256\":\"{}\"}}\n", Sha256::of(body));
    let bytes = [head.as_bytes(), body, b"\n"].concat();
    checkpoint::from_bytes(&Layout::new(name), ListedCheckpoint { number, id: commit }, &bytes)
        .map_err(|why| why.to_string())
}

fn check_checkpoint(input: &[u8]) -> String {
    let state = match fold_of_checkpoint(input) {
        Ok(state) => state,
        Err(why) => return kind(&why),
    };
    let binding = state.binding().expect("a log that is not empty").clone();
    let layout = Layout::new(binding.name);
    let mut windows: Vec<Window> = Vec::new();
    for (commit, live) in state.live() {
        let named = commit_of_kind(*commit, live.kind, live.window, vec![]);
        live.paths().for_each(|path| assert_is_own(&layout, &named, path));
        windows.extend(live.window.iter().chain(&live.expired).copied());
    }
    windows.sort();
    assert!(windows.windows(2).all(|pair| pair[0].end() < pair[1].start()), "windows overlap: {windows:?}");
    let seconds: u64 = windows.iter().map(|window| window.seconds()).sum();
    assert_eq!(state.coverage().windows().iter().map(|window| window.seconds()).sum::<u64>(), seconds);
    assert_eq!(fold_of_checkpoint(&checkpoint_of(&state)).expect("our own"), state);
    let pending = state.stops().pending().len().min(2);
    let files: usize = state.live().values().map(|live: &LiveCommit| live.files.len()).sum();
    format!("checkpoint of {} commits, {} files, {pending} pending stops", state.live().len().min(3), files.min(3))
}

#[test]
fn manifests_and_checkpoints() {
    let target = Target { name: "manifest", words: &WORDS, inputs: 10_000 };
    target.fuzz(|input| {
        // A manifest is one line. The body of a checkpoint has no head here: the digest that it would need is put
        // before it.
        let as_manifest = check_manifest(input);
        format!("{as_manifest}; {}", check_checkpoint(input))
    });
}

/// A log with a manifest of every kind, and the body of its checkpoint.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let (mut state, mut seeds) = (LogState::new(binding().name), Vec::new());
    let mut add = |state: &mut LogState, manifest: &Manifest| {
        let bytes = manifest.to_bytes().expect("it keeps the rules");
        state.apply(manifest, Sha256::of(&bytes)).expect("it follows");
        seeds.push((format!("{:02}_{}.json", manifest.number, manifest.kind().name()), bytes));
    };
    let layout = Layout::new(binding().name);
    let held = |manifest: &mut Manifest| {
        let (id, window) = (manifest.id, manifest.commits[0].window.expect("a window"));
        let (sha256, bytes) = (Sha256::of(b"x"), 9);
        manifest.commits[0].quarantine = vec![QuarantineEntry { path: layout.quarantine(id), bytes, sha256, rows: 1 }];
        manifest.commits[0].raw = vec![RawEntry { path: layout.raw(id), bytes, sha256, responses: 2, window }];
    };
    let mut first =
        Manifest { wanted_from: Some(window(0, 0).start()), ..covering(&state, CommitKind::Sync, window(0, 9)) };
    held(&mut first);
    add(&mut state, &first);
    let second = covering(&state, CommitKind::Sync, window(10, 19));
    add(&mut state, &second);
    let mut refresh = covering(&state, CommitKind::Refresh, window(0, 9));
    refresh.removes = vec![first.id];
    refresh.keep_until = Some(window(0, 900).end());
    refresh.walk.as_mut().expect("a walk").window = window(4, 9);
    refresh.commits[0].carried = vec![CarriedRange { window: window(0, 3), manifest: 1 }];
    refresh.commits[0].files[0].carried = true;
    (refresh.commits[0].quarantine, refresh.commits[0].raw) =
        (first.commits[0].quarantine.clone(), first.commits[0].raw.clone());
    add(&mut state, &refresh);
    let mut compaction = Manifest { walk: None, ..covering(&state, CommitKind::Compaction, window(0, 19)) };
    compaction.removes = vec![refresh.id, second.id];
    compaction.commits[0].compacted = 2;
    compaction.commits[0].files[0].carried = true;
    (compaction.commits[0].quarantine, compaction.commits[0].raw) =
        (refresh.commits[0].quarantine.clone(), refresh.commits[0].raw.clone());
    add(&mut state, &compaction);
    let mut expire = Manifest { walk: None, ..covering(&state, CommitKind::Expire, window(0, 19)) };
    expire.removes = vec![compaction.id];
    (expire.commits[0].window, expire.commits[0].expired) = (None, vec![window(-99, 29)]);
    expire.commits[0].files[0].carried = true;
    add(&mut state, &expire);
    let mut rewalk = Manifest { removes: vec![expire.id], ..covering(&state, CommitKind::Rewalk, window(0, 9)) };
    let mut rest = commit_of_kind(CommitId::generate(), CommitKind::Expire, None, vec![]);
    rest.expired = vec![window(-99, -1), window(10, 29)];
    rewalk.commits.push(rest);
    add(&mut state, &rewalk);
    let fence = Manifest { fences: vec![CommitId::generate()], ..bare(&state) };
    add(&mut state, &fence);
    let stop = to_stop(window(0, 9).end(), &["CG1", "CG2"]);
    let intent = Manifest { intent: Some(stop), ..bare(&state) };
    add(&mut state, &intent);
    let mut result = Manifest { walk: None, ..covering(&state, CommitKind::StopResult, window(0, 9)) };
    result.commits[0].window = None;
    let file = &mut result.commits[0].files[0];
    (file.table, file.path, file.rows) = ("stop_reference".to_owned(), layout.stop_reference(result.id), 1);
    result.commits[0].results = vec![stopped(intent.id, "CG1")];
    add(&mut state, &result);
    seeds.push(("99_checkpoint.json".to_owned(), checkpoint_of(&state)));
    seeds
}

/// The seeds stand for every kind, and are what this version writes.
#[test]
fn every_kind_of_manifest_is_a_seed() {
    let folder = folder("manifest");
    if std::env::var_os("WDT_FUZZ_WRITE_SEEDS").is_some() {
        for (name, bytes) in seeds() {
            std::fs::write(folder.join(name), bytes).expect("written");
        }
    }
    for (name, _) in seeds() {
        let seed = std::fs::read(folder.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (as_manifest, as_checkpoint) = (check_manifest(&seed), check_checkpoint(&seed));
        let kind = name.trim_end_matches(".json").split_once('_').expect("a name").1;
        let is_one = as_manifest.starts_with(kind) || as_checkpoint.starts_with(kind);
        assert!(is_one, "{name}: {as_manifest}; {as_checkpoint}; WDT_FUZZ_WRITE_SEEDS=1 writes the seeds anew");
    }
}
