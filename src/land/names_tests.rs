//! Whatever stands in a log where the name of an object belongs, nothing outside of the account's own objects is
//! touched.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::commit::Writer;
use super::stage::CommitOutcome;
use super::sweep::leftovers;
use super::testing::{binding, chain, options, replacing, window};
use crate::error::{ErrorKind, Result};
use crate::id::CommitId;
use crate::log::layout::LEASE_ROOT;
use crate::log::{CommitKind, Lake, Layout, LogState, Sha256, checkpoint, digest};
use crate::store::Store;
use crate::store::failpoint::{Effect, FailPoints, FaultInjection, InjectedAt, Op};

/// An id that stands in names that are tried.
const COMMIT: &str = "01928000-0000-7000-8000-000000000001";

/// Notes what is done to a store.
#[derive(Default)]
struct Watched(Mutex<Vec<(Op, String)>>);

impl FaultInjection for Watched {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        if let InjectedAt::Before(Effect { op, path, .. }) = moment {
            self.0.lock().expect("no panic").push((op, path.to_owned()));
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Watched {
    /// Everything that was asked, read, written and deleted belongs to the account.
    fn assert_is_of(&self, layout: &Layout) {
        let roots = layout.owned_roots();
        for (op, path) in self.0.lock().expect("no panic").iter() {
            let is_own = match op {
                Op::List => {
                    path.starts_with(&layout.manifest_root())
                        || *path == layout.checkpoint_root()
                        || *path == LEASE_ROOT
                        || roots.contains(path)
                }
                _ => layout.parse(path).is_some(),
            };
            assert!(is_own, "{op:?} {path:?}");
        }
    }
}

/// Where the name of an object stands in a manifest.
#[derive(Clone, Copy, Debug)]
enum Place {
    File,
    Quarantine,
    Raw,
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("memory answers at once")
}

/// Texts that look like names, and some that do not.
fn names() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(String::new()),
        Just(COMMIT.to_owned()),
        prop::sample::select(
            &[
                "..",
                ".",
                "account=acme",
                "account=other",
                "account=",
                "%2e%2e",
                "%2F",
                "\\",
                "purchase_apply",
                "stop_reference",
                "_quarantine",
                "_raw",
                "_manifest",
                "_lease",
                "_staging",
                "_checkpoint",
                "modified_month=1970-01",
                "00000000000000000001.json",
                "acme.json",
                "19700101T080000-19700101T080009",
                ".parquet",
                ".jsonl",
                ".jsonl.zst",
                "-1",
                "\u{0}",
                "\n",
                "etc",
                "passwd",
                "s3:",
                "file:",
                "~",
            ][..]
        )
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    (prop::collection::vec((piece, prop::sample::select(&["/", "", "//", "-"][..])), 0..9), any::<bool>()).prop_map(
        |(pieces, is_absolute)| {
            let text: String = pieces.into_iter().flat_map(|(piece, joint)| [piece, joint.to_owned()]).collect();
            if is_absolute { format!("/{text}") } else { text }
        },
    )
}

/// One change to a right name.
fn edited(right: &str, at: usize, edit: u8) -> String {
    let at = right.char_indices().map(|(at, _)| at).nth(at % right.len()).unwrap_or(0);
    let (before, after) = right.split_at(at);
    match edit % 7 {
        0 => format!("{before}/../{after}"),
        1 => format!("{before}{}", after.get(1..).unwrap_or("")),
        2 => format!("{before}\u{0}{after}"),
        3 => format!("{before}/{after}"),
        4 => format!("{before}%2F{after}"),
        5 => before.to_owned(),
        _ => format!("{before}\\{after}"),
    }
}

fn tried() -> impl Strategy<Value = (Place, Option<String>, usize, u8)> {
    let place = prop::sample::select(&[Place::File, Place::Quarantine, Place::Raw][..]);
    (place, prop::option::weighted(0.6, names()), 0..200_usize, any::<u8>())
}

/// A manifest that may follow `state`, with `name` (or a changed one of its own) in one place; and whether that is
/// right all the same.
fn manifest(state: &LogState, (place, name, at, edit): (Place, Option<String>, usize, u8)) -> (CommitId, Value, bool) {
    let manifest = chain(state, CommitKind::Sync);
    let layout = Layout::new(binding().name);
    let right = match place {
        Place::File => manifest.commits[0].files[0].path.clone(),
        Place::Quarantine => layout.quarantine(manifest.id),
        Place::Raw => layout.raw(manifest.id),
    };
    let name = match name {
        // A name that was made up may hold the id of the commit.
        Some(name) => name.replace(COMMIT, &manifest.id.to_string()),
        None => edited(&right, at, edit),
    };
    let is_right = name == right;
    let mut value = serde_json::to_value(&manifest).expect("JSON");
    let entry = |count: &str| json!({"path": name, "bytes": 1, "sha256": Sha256::of(b"x"), count: 1});
    match place {
        Place::File => value["commits"][0]["files"][0]["path"] = json!(name),
        Place::Quarantine => value["commits"][0]["quarantine"] = json!([entry("rows")]),
        Place::Raw => {
            let mut raw = entry("responses");
            raw["window"] = value["walk"]["window"].clone();
            value["commits"][0]["raw"] = json!([raw]);
        }
    }
    (manifest.id, value, is_right)
}

/// Everything that may read or delete by names of the log.
async fn use_it(store: &Store, hostile: CommitId) -> Result<()> {
    let lake = Lake::open(store.clone(), binding().name).await?;
    for live in lake.state().live().values() {
        for file in &live.files {
            _ = lake.read(file).await;
        }
        for held in &live.quarantine {
            _ = lake.read(held).await;
        }
        for raw in &live.raw {
            _ = lake.read(raw).await;
        }
    }
    leftovers(&lake, window(0, 9).start()).await?;
    let writer = Writer::open(store.clone(), options()).await?;
    writer.sweep().await?;
    let mut refresh = replacing(CommitKind::Refresh, 0, 9, vec![hostile]);
    refresh.commits[0].files.clear();
    assert!(matches!(writer.land(refresh).await?, CommitOutcome::Committed(_)));
    writer.sweep().await?;
    Ok(())
}

/// Tries a lake whose newest manifest is `value`, beside what belongs to others.
fn try_it(store: &Store, layout: &Layout, hostile: CommitId, is_right: bool) {
    let others = [
        "README",
        "purchase_apply/account=other/x.parquet",
        "_manifest/account=other/0000000000000000/00000000000000000001.json",
    ];
    for path in others {
        now(store.put(path, Bytes::from_static(b"theirs"), "_staging/x")).expect("put");
    }
    let watched = Arc::new(Watched::default());
    let used = now(use_it(&store.with_fail_points(FailPoints::new(Arc::clone(&watched) as _)), hostile));
    watched.assert_is_of(layout);
    match used {
        Ok(()) => assert!(is_right),
        Err(error) => {
            assert!(!is_right && error.kind() == ErrorKind::Defect, "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
    }
    for path in others {
        assert_eq!(now(store.get(path)).expect("an answer").expect("it stands"), "theirs");
    }
}

proptest! {
    #[test]
    fn no_name_in_a_manifest_leads_out_of_the_account(tried in tried()) {
        let (store, layout) = (Store::memory(), Layout::new(binding().name));
        let (commit, value, is_right) = manifest(&LogState::new(binding().name), tried);
        now(store.put(&layout.manifest(1), format!("{value}\n").into(), "_staging/x")).expect("put");
        try_it(&store, &layout, commit, is_right);
    }

    #[test]
    fn no_name_in_a_checkpoint_leads_out_of_the_account(tried in tried()) {
        let (store, layout) = (Store::memory(), Layout::new(binding().name));
        let sound = chain(&LogState::new(binding().name), CommitKind::Sync);
        let (mut state, bytes) = (LogState::new(binding().name), sound.to_bytes().expect("valid"));
        now(store.put(&layout.manifest(1), bytes.clone().into(), "_staging/x")).expect("put");
        state.apply(&sound, digest::Sha256::of(&bytes)).expect("follows");
        let (_, named, _) = manifest(&LogState::new(binding().name), tried);
        let bytes = checkpoint::to_bytes(&state).expect("JSON").expect("not empty");
        let text = String::from_utf8(bytes).expect("UTF-8");
        let mut body: Value = serde_json::from_str(text.lines().nth(1).expect("a body")).expect("JSON");
        let live = &mut body["live"][sound.id.to_string()];
        for field in ["files", "quarantine", "raw"] {
            live[field] = named["commits"][0][field].clone();
        }
        let body = body.to_string();
        let head = json!({"format": "1.0", "sha256": Sha256::of(body.as_bytes())});
        let path = layout.checkpoint(1, sound.id);
        now(store.put(&path, format!("{head}\n{body}\n").into(), "_staging/x")).expect("put");
        // It names the files of another commit at best: it is passed over, and the log is read without it.
        try_it(&store, &layout, sound.id, true);
    }
}
