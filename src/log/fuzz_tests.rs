//! Manifests and checkpoints: whatever is read is one of ours in every respect, and says the same when it is written
//! again.

use serde_json::Value;

use super::checkpoint::{self, ListedCheckpoint};
use super::digest::Sha256;
use super::layout::{Layout, Name};
use super::manifest::{Commit, CommitKind, Manifest};
use super::state::{LiveCommit, LogState};
use crate::fuzzing::{Target, kind};
use crate::id::{AccountName, CommitId};
use crate::land::testing::{commit_of_kind, schema_accepts};
use crate::time::Window;

const WORDS: [&str; 44] = [
    "\"format\":\"0.10\"",
    "\"format\":\"1.0\"",
    "0.10",
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
    let head = format!("{{\"format\":\"0.10\",\"sha256\":\"{}\"}}\n", Sha256::of(body));
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
    let stops = (state.stops().pending().len().min(2), state.stops().stopped().len().min(2));
    let files: usize = state.live().values().map(|live: &LiveCommit| live.files.len()).sum();
    format!("checkpoint of {} commits, {} files, stops {stops:?}", state.live().len().min(3), files.min(3))
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
