//! What the tests of this module share: an account, rows, manifests, a clock that stands, and a store that breaks on
//! demand.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use arrow_array::{Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use serde_json::Value;

use super::commit::{Writer, WriterOptions};
use super::stage::{NewCommit, NewFile, NewManifest};
pub(crate) use super::watcher::NobodyWatches;
use crate::edition::Edition;
use crate::error::Result;
use crate::format::FormatVersion;
use crate::id::{CommitId, RunId};
use crate::log::append::Patience;
use crate::log::manifest::*;
use crate::log::{Layout, LogState, Requester, Sha256, StopEvidence, StopIntent, StopOutcome, StopResult, Table};
use crate::parquet::{MergeLimits, TableSpec};
use crate::proof::{Grounds, Proof, Rule};
use crate::store::Store;
use crate::time::{BeijingTime, Clock, Window};

/// The window of Unix seconds `start..=end`.
pub(crate) fn window(start: i64, end: i64) -> Window {
    let at = |seconds| BeijingTime::from_unix(seconds).expect("a time");
    Window::new(at(start), at(end)).expect("a window")
}

pub(crate) fn binding() -> Binding {
    Binding {
        name: "acme".parse().expect("a name"),
        edition: Edition::Enterprise,
        sid: "acme2".into(),
        host: "api.wangdian.cn".into(),
    }
}

pub(crate) fn proof(rows: u64) -> Proof {
    Proof {
        rule: Rule::Snapshot,
        grounds: Grounds {
            total: Some(rows),
            rows_after_total: rows,
            list_bound: Some(rows),
            rows_after_bound: rows,
            unreadable: 0,
        },
        totals: vec![rows],
        distinct_rows: rows,
        rows_landed: rows,
        rows_quarantined: 0,
        rows_unchanged: 0,
        rows_carried: 0,
        quarantined_carried: 0,
        passes: 1,
        calls: 1,
        retries: 0,
        rows_left: 0,
        duplicates: 0,
    }
}

/// A manifest without commits that may follow `state`.
pub(crate) fn bare(state: &LogState) -> Manifest {
    Manifest {
        format: FormatVersion::LAKE,
        contract: FormatVersion::LAKE,
        number: state.next_number(),
        id: CommitId::generate(),
        run: RunId::generate(),
        account: binding(),
        writer: "wdt-lake test".into(),
        created_at: window(0, 9).end(),
        previous: state.newest(),
        wanted_from: None,
        walk: None,
        commits: vec![],
        removes: vec![],
        keep_until: None,
        fences: vec![],
        intent: None,
    }
}

/// A manifest that may follow `state`: a window of ten seconds with one file.
pub(crate) fn chain(state: &LogState, kind: CommitKind) -> Manifest {
    covering(state, kind, window(0, 9))
}

/// The same over another window.
pub(crate) fn covering(state: &LogState, kind: CommitKind, window: Window) -> Manifest {
    let bare = bare(state);
    let layout = Layout::new(binding().name);
    let path = layout.data(Table::PurchaseApply, window, bare.id, None).expect("one month");
    let file = FileEntry {
        table: "purchase_apply".into(),
        path,
        bytes: 10,
        sha256: Sha256::of(b"file"),
        rows: 3,
        min_modified: window.start(),
        max_modified: window.end(),
        carried: false,
    };
    let commit = commit_of_kind(bare.id, kind, Some(window), vec![file]);
    Manifest { walk: Some(Walk { window, proof: proof(3) }), commits: vec![commit], ..bare }
}

/// A commit with nothing but a window and files.
pub(crate) fn commit_of_kind(id: CommitId, kind: CommitKind, window: Option<Window>, files: Vec<FileEntry>) -> Commit {
    Commit {
        id,
        kind,
        window,
        compacted: 0,
        carried: vec![],
        expired: vec![],
        files,
        quarantine: vec![],
        raw: vec![],
        results: vec![],
    }
}

/// A manifest with something in every field that a first commit may fill.
pub(crate) fn sample_manifest() -> Manifest {
    let mut manifest = chain(&LogState::new(binding().name), CommitKind::Sync);
    let path = Layout::new(binding().name).quarantine(manifest.id);
    manifest.commits[0].quarantine = vec![QuarantineEntry { path, bytes: 2, sha256: Sha256::of(b"{}"), rows: 1 }];
    manifest
}

/// A manifest that intends to stop `numbers`.
pub(crate) fn stop_intent(state: &LogState, numbers: &[&str]) -> Manifest {
    let manifest = bare(state);
    Manifest { intent: Some(to_stop(manifest.created_at, numbers)), ..manifest }
}

/// An intent of one buyer to stop `numbers`.
pub(crate) fn to_stop(requested_at: BeijingTime, numbers: &[&str]) -> StopIntent {
    StopIntent {
        requested_at,
        by: Requester { user: "li".to_owned(), host: "till-3".to_owned() },
        reason: Some("the supplier went out of business".to_owned()),
        numbers: numbers.iter().map(|number| (*number).to_owned()).collect(),
    }
}

/// A manifest that says of each of `numbers` that an intent which nobody knows has stopped it.
pub(crate) fn stop_result(state: &LogState, numbers: &[&str]) -> Manifest {
    let mut manifest = Manifest { walk: None, ..chain(state, CommitKind::StopResult) };
    let intent = CommitId::generate();
    let commit = &mut manifest.commits[0];
    commit.window = None;
    commit.results = numbers.iter().map(|number| stopped(intent, number)).collect();
    let file = &mut commit.files[0];
    file.table = Table::StopReference.name().to_owned();
    file.path = Layout::new(binding().name).stop_reference(manifest.id);
    file.rows = numbers.len() as u64;
    manifest
}

/// That an intent has stopped a number.
pub(crate) fn stopped(intent: CommitId, number: &str) -> StopResult {
    StopResult {
        intent,
        number: number.to_owned(),
        outcome: StopOutcome::Stopped,
        evidence: Some(StopEvidence::Answer),
        error: None,
        error_code: None,
        order_id: None,
    }
}

/// A row of stops in the columns that writing looks at.
pub(crate) fn stop_rows(number: &str, second: i64) -> NewFile {
    let spec = Arc::new(TableSpec { table: Table::StopReference, ..header_spec() });
    NewFile { spec, span: None, part: None, rows: vec![header_batch(&[(number, second, 0)])].into() }
}

/// Whether the published schema accepts a manifest.
pub(crate) fn schema_accepts(manifest: &Value) -> bool {
    static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
        let schema = include_str!("../../schemas/manifest.schema.json");
        let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
        jsonschema::validator_for(&schema).expect("the schema is a schema")
    });
    VALIDATOR.is_valid(manifest)
}

/// Headers in the three columns that writing looks at: number, modified seconds, quantity in ten-thousandths.
pub(crate) fn header_batch(rows: &[(&str, i64, i128)]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("purchase_apply_no", DataType::Utf8, false),
        Field::new("modified", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("real_num", DataType::Decimal128(19, 4), true),
    ]);
    let numbers: StringArray = rows.iter().map(|row| Some(row.0)).collect();
    let modified: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.1 * 1_000_000)).collect();
    let quantities: Decimal128Array = rows.iter().map(|row| Some(row.2)).collect();
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(numbers),
            Arc::new(modified.with_timezone("UTC")),
            Arc::new(quantities.with_precision_and_scale(19, 4).expect("fits")),
        ],
    )
    .expect("a batch")
}

pub(crate) fn header_spec() -> TableSpec {
    TableSpec {
        table: Table::PurchaseApply,
        columns: "[]".into(),
        sorted_by: vec!["purchase_apply_no".into(), "modified".into()],
        bloom: vec!["purchase_apply_no".into()],
        distinct: vec!["purchase_apply_no".into()],
        modified: "modified".into(),
        summed: Some("real_num".into()),
        commit_id: None,
        upgrade: None,
    }
}

/// What lands one header a second of `start..=end`, in both tables.
pub(crate) fn new_commit(start: i64, end: i64) -> NewManifest {
    replacing(CommitKind::Sync, start, end, vec![])
}

/// The same in the place of other commits.
pub(crate) fn replacing(kind: CommitKind, start: i64, end: i64, removes: Vec<CommitId>) -> NewManifest {
    let names: Vec<String> = (start..=end).map(|second| format!("CG{second:06}")).collect();
    let rows: Vec<_> = names.iter().zip(start..=end).map(|(name, second)| (name.as_str(), second, 10_000)).collect();
    let file = |table| NewFile {
        spec: Arc::new(TableSpec { table, ..header_spec() }),
        span: None,
        part: None,
        rows: vec![header_batch(&rows)].into(),
    };
    let window = window(start, end);
    let commit = NewCommit {
        files: vec![file(Table::PurchaseApply), file(Table::PurchaseApplyDetail)],
        ..NewCommit::of(kind, Some(window))
    };
    let walk = Some(Walk { window, proof: proof(rows.len() as u64) });
    NewManifest { walk, commits: vec![commit], removes, raw: None }
}

/// A clock that moves only when told.
pub(crate) struct HeldClock(AtomicI64);

impl HeldClock {
    pub(crate) fn at(seconds: i64) -> Self {
        Self(AtomicI64::new(seconds))
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for HeldClock {
    fn now_micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst) * 1_000_000
    }
}

pub(crate) fn options() -> WriterOptions {
    WriterOptions {
        binding: binding(),
        run: RunId::generate(),
        wanted_from: None,
        contract: FormatVersion::LAKE,
        compression: crate::parquet::FileCompression::default(),
        keep_removed: std::time::Duration::ZERO,
        merge: MergeLimits { memory_bytes: 16 << 20, target_bytes: 128 << 20 },
        watcher: Arc::new(NobodyWatches),
        clock: Arc::new(HeldClock::at(1_790_000_000)),
    }
}

/// A writer of its own run that never sleeps, and finds two manifests worth a checkpoint.
pub(crate) async fn try_writer(store: &Store) -> Result<Writer> {
    let writer = Writer::open(store.clone(), options()).await?;
    Ok(writer.with_patience(Patience { tries: 6, pause: std::time::Duration::ZERO }).with_checkpoints_every(2))
}

/// The same on a store without trouble.
pub(crate) async fn writer(store: &Store) -> Writer {
    try_writer(store).await.expect("opened")
}

/// Every object of a lake but its checkpoints, to see that nothing is left over.
pub(crate) async fn everything(store: &Store) -> Vec<String> {
    let listed = store.list("").await.expect("a listing").into_iter().map(|object| object.path);
    listed.filter(|path| !path.contains("/_checkpoint/")).collect()
}

/// The names of the checkpoints of a lake.
pub(crate) async fn checkpoints(store: &Store) -> Vec<String> {
    let listed = store.list("_manifest").await.expect("a listing").into_iter().map(|object| object.path);
    listed.filter(|path| path.contains("/_checkpoint/")).collect()
}

/// The state of every manifest of a log, read one by one.
pub(crate) async fn state_of_every_manifest(store: &Store) -> LogState {
    let mut state = LogState::new(binding().name);
    for path in everything(store).await.into_iter().filter(|path| path.starts_with("_manifest/")) {
        let bytes = store.get(&path).await.expect("an answer").expect("a manifest");
        state.apply(&Manifest::from_bytes(&bytes, &path).expect("valid"), Sha256::of(&bytes)).expect("follows");
    }
    state
}
