//! Verifying while others write; damage is tried by the real program in `tests/verify.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::*;
use crate::land::testing::{
    binding, checkpoints, header_batch, header_spec, new_commit, proof, replacing, stop_rows, stopped, to_stop, window,
    writer,
};
use crate::land::{CommitOutcome, NewFile, NewManifest, NewRows};
use crate::log::{CommitKind, Sha256, Walk, layout};
use crate::parquet::TableSpec;
use crate::proof::Proof;
use crate::store::failpoint::{Effect, FailPoints, FaultInjection, InjectedAt, Op};

fn expected() -> Arc<Expected> {
    let shape =
        |table| TableShape { spec: Arc::new(TableSpec { table, ..header_spec() }), schema: header_batch(&[]).schema() };
    Arc::new(Expected {
        contract: FormatVersion::LAKE,
        headers: shape(Table::PurchaseApply),
        details: shape(Table::PurchaseApplyDetail),
        stops: shape(Table::StopReference),
        number: "purchase_apply_no".to_owned(),
        id: "apply_id".to_owned(),
        detail_count: "none".to_owned(),
        sums: vec!["real_num".to_owned()],
    })
}

async fn verified(store: &Store) -> Verified {
    verify_as(store, "acme".parse().expect("a name"), expected(), Depth::Deep).await.expect("verified")
}

/// Replaces every live commit by one refresh as soon as the first data file is asked for.
struct Refresher {
    store: Store,
    done: AtomicBool,
}

impl FaultInjection for Refresher {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let is_first_read = matches!(moment, InjectedAt::Before(Effect { op: Op::Get, path, .. }) if path.ends_with(".parquet"))
            && !self.done.swap(true, Ordering::SeqCst);
        Box::pin(async move {
            if is_first_read {
                let writer = writer(&self.store).await;
                let removes = writer.view().await.state().live().keys().copied().collect();
                let mut landed = replacing(CommitKind::Refresh, 0, 19, removes);
                landed.walk = Some(Walk { window: window(0, 19), proof: Proof { rows_carried: 20, ..proof(0) } });
                assert!(matches!(writer.land(landed).await, Ok(CommitOutcome::Committed(_))));
            }
            Ok(())
        })
    }
}

#[tokio::test]
async fn rows_of_stops_are_those_of_their_manifest() {
    for (row, defects) in [("CG1", 0), ("CG2", 1)] {
        let store = Store::memory();
        let writer = writer(&store).await;
        let intent = to_stop(window(0, 0).start(), &["CG1"]);
        let Ok(CommitOutcome::Committed(intent)) = writer.intend(intent).await else { panic!("nobody else is here") };
        let settled = writer.settle(vec![stopped(intent.id, "CG1")], stop_rows(row, 0)).await;
        assert!(matches!(settled, Ok(CommitOutcome::Committed(_))));
        let verified = verified(&store).await;
        assert_eq!((verified.commits, verified.rows[&Table::StopReference]), (1, 1));
        assert_eq!(verified.defects.len(), defects, "{:?}", verified.defects);
        assert!(verified.defects.iter().all(|defect| defect.what.contains("does not say that the stop of CG1")));
    }
}

#[tokio::test]
async fn a_commit_that_is_replaced_meanwhile_is_not_called_damaged() {
    let store = Store::memory();
    let first = writer(&store).await;
    for (start, end) in [(0, 9), (10, 19)] {
        assert!(matches!(first.land(new_commit(start, end)).await, Ok(CommitOutcome::Committed(_))));
    }
    let watched = store
        .with_fail_points(FailPoints::new(Arc::new(Refresher { store: store.clone(), done: AtomicBool::new(false) })));
    let during = verified(&watched).await;
    assert_eq!((during.objects, &during.defects), (0, &vec![]), "everything it knew is gone");
    let after = verified(&store).await;
    assert_eq!((after.commits, after.objects, &after.defects), (1, 2, &vec![]));
    assert_eq!(after.rows[&Table::PurchaseApply], 20);
}

/// Headers whose `_commit_id` is said, or left to the encoder.
fn rows_of(said: Option<&str>) -> NewFile {
    let field = Arc::new(Field::new("_commit_id", DataType::Utf8, false));
    let spec = TableSpec { commit_id: Some(Arc::clone(&field)), ..header_spec() };
    let mut rows = header_batch(&[("A", 1, 5), ("B", 2, 6)]);
    if let Some(said) = said {
        let columns = [rows.columns(), &[Arc::new(StringArray::from(vec![said; 2])) as ArrayRef]].concat();
        let fields = [&rows.schema().fields()[..], &[field]].concat();
        rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("rows");
    }
    NewFile { spec: Arc::new(spec), span: None, part: None, rows: vec![rows].into() }
}

#[tokio::test]
async fn rows_name_the_commit_that_landed_them() {
    let mut expected = Expected::clone(&expected());
    let field = Field::new("_commit_id", DataType::Utf8, false);
    let fields = [&expected.headers.schema.fields()[..], &[Arc::new(field.clone())]].concat();
    expected.headers.schema = Arc::new(Schema::new(fields));
    expected.headers.spec = Arc::new(TableSpec { commit_id: Some(Arc::new(field)), ..header_spec() });
    let expected = Arc::new(expected);
    let stranger = CommitId::generate().to_string();
    for (is_carried, said, wanted) in [
        (false, None, None),
        (false, Some(&*stranger), Some("not of its own")),
        (true, None, None),
        (true, Some(&*stranger), Some("which no earlier manifest of the log made")),
        (true, Some("mine"), Some("which is no id of a commit")),
    ] {
        let store = Store::memory();
        let writer = writer(&store).await;
        let land = async |kind, removes, file| {
            let mut new = replacing(kind, 0, 9, removes);
            new.commits[0].files = vec![file];
            new.walk = Some(Walk { window: window(0, 9), proof: proof(2) });
            match writer.land(new).await {
                Ok(CommitOutcome::Committed(landed)) => landed,
                other => panic!("nobody else is here: {other:?}"),
            }
        };
        let first = land(CommitKind::Sync, vec![], rows_of(said)).await;
        if is_carried {
            let files = first.files().cloned().collect();
            let carried = NewFile { rows: NewRows::Carried { files, filter: None }, ..rows_of(None) };
            land(CommitKind::Refresh, vec![first.id], carried).await;
        }
        let account = "acme".parse().expect("a name");
        let found = verify_as(&store, account, Arc::clone(&expected), Depth::Shallow).await.expect("verified").defects;
        let told: Vec<bool> = found.iter().map(|defect| wanted.is_some_and(|why| defect.what.contains(why))).collect();
        assert_eq!(told, vec![true; usize::from(wanted.is_some())], "{is_carried} {said:?}: {found:?}");
    }
}

#[tokio::test]
async fn a_checkpoint_that_lies_is_found() {
    let store = Store::memory();
    let one = writer(&store).await;
    for start in [0, 10, 20, 30] {
        assert!(matches!(one.land(new_commit(start, start + 9)).await, Ok(CommitOutcome::Committed(_))));
        one.leave_checkpoint().await;
    }
    assert_eq!(verified(&store).await.defects, []);
    let names = checkpoints(&store).await;
    assert_eq!(names.len(), 2);
    let first = store.get(&names[0]).await.expect("an answer").expect("a checkpoint");
    // The very first lines of another log with the same numbers: whole, and its digest is right.
    let text = String::from_utf8(first.to_vec()).expect("UTF-8");
    let body = text.lines().nth(1).expect("a body").replace("\"rows\":10", "\"rows\":11");
    let lie = format!("{{\"format\":\"1.0\",\"sha256\":\"{}\"}}\n{body}\n", Sha256::of(body.as_bytes()));
    assert_ne!(lie, text);
    let newer = text.replacen("\"format\":\"1.0\"", "\"format\":\"2.0\"", 1);
    let put = |path: &str, text: &str| store.put(path, Bytes::from(text.to_owned()), "_staging/x").now_or_never();
    for (held, what) in [(&*lie, "says something else"), (&text[..90], "cannot be used"), (&newer, "")] {
        put(&names[0], held).expect("at once").expect("put");
        let found = verified(&store).await.defects;
        let told: Vec<_> = found.iter().map(|defect| (&*defect.object, defect.what.contains(what))).collect();
        let expected = (!what.is_empty()).then(|| (store.uri(&names[0]), true));
        assert_eq!(told, expected.iter().map(|(uri, told)| (&**uri, *told)).collect::<Vec<_>>(), "{found:?}");
    }
    put(&names[0], &text).expect("at once").expect("put");
    // The newest manifest is gone; without its checkpoint nothing would tell.
    store.delete(&Layout::new(binding().name).manifest(4)).await.expect("deleted");
    let found = verified(&store).await.defects;
    assert!(found.iter().any(|defect| defect.what.contains("is of manifest 4, which is missing")), "{found:?}");
}

#[tokio::test]
async fn more_files_than_may_be_open_are_carried() {
    const COMMITS: i64 = 260;
    let store = Store::memory();
    let writer = writer(&store).await;
    let land = async |new: NewManifest| match writer.land(new).await {
        Ok(CommitOutcome::Committed(landed)) => landed,
        other => panic!("nobody else is here: {other:?}"),
    };
    let (mut removes, mut files) = (Vec::new(), Vec::new());
    for nth in 0..COMMITS {
        let mut new = replacing(CommitKind::Sync, nth * 10, nth * 10 + 9, vec![]);
        let rows = header_batch(&[(&format!("CG{nth:03}"), nth * 10 + 1, 5)]);
        new.commits[0].files =
            vec![NewFile { spec: Arc::new(header_spec()), span: None, part: None, rows: vec![rows].into() }];
        new.walk = Some(Walk { window: window(nth * 10, nth * 10 + 9), proof: proof(1) });
        let landed = land(new).await;
        removes.push(landed.id);
        files.extend(landed.files().cloned());
    }
    let mut new = replacing(CommitKind::Compaction, 0, COMMITS * 10 - 1, removes);
    new.walk = None;
    new.commits[0].compacted = COMMITS.unsigned_abs();
    new.commits[0].files = vec![NewFile {
        spec: Arc::new(header_spec()),
        span: None,
        part: None,
        rows: NewRows::Carried { files, filter: None },
    }];
    let landed = land(new).await;
    assert_eq!(landed.files().map(|file| (file.rows, file.carried)).collect::<Vec<_>>(), [(260, true)]);
    assert_eq!(verified(&store).await.defects, []);
}

/// Publishes nothing, but says that manifest 2, begun at this time, was published with its file.
async fn publish_by_hand(store: &Store, begun_at: BeijingTime, files: &[FileEntry]) {
    use crate::publish::delta::{action, app_id};
    let txn = action::txn(app_id(&binding().name), 2, begun_at);
    let adds = files.iter().map(|file| {
        let path = file.path.strip_prefix("purchase_apply/").expect("a header file").to_owned();
        let add = action::AddFile {
            path,
            partition_values: BTreeMap::new(),
            size: i64::try_from(file.bytes).expect("small"),
            modification_time: 0,
            data_change: true,
            stats: None,
        };
        action::DeltaAction { add: Some(add), ..action::DeltaAction::default() }
    });
    let versions = [vec![action::protocol()], std::iter::once(txn).chain(adds).collect()];
    for (version, actions) in (0..).zip(versions) {
        let path = layout::delta_version(Table::PurchaseApply, version);
        store.put(&path, action::to_bytes(&actions).expect("written").into(), "_staging/x").await.expect("put");
    }
}

#[tokio::test]
async fn a_table_of_another_log_and_one_that_lacks_versions_are_found() {
    let store = Store::memory();
    let one = writer(&store).await;
    for start in [0, 10] {
        assert!(matches!(one.land(new_commit(start, start + 9)).await, Ok(CommitOutcome::Committed(_))));
    }
    let lake = one.view().await;
    let begun_at = lake.state().last().expect("a manifest").created_at;
    let mut files: Vec<FileEntry> = lake.state().live().values().flat_map(|live| live.files.clone()).collect();
    files.retain(|file| file.table == Table::PurchaseApply.name());
    publish_by_hand(&store, begun_at, &files).await;
    assert_eq!(verified(&store).await.defects, []);
    let told = async || verified(&store).await.defects.into_iter().map(|defect| defect.what).collect::<Vec<_>>();

    publish_by_hand(&store, begun_at.plus_seconds(1), &files).await;
    assert_eq!(told().await, ["follows another commit log of acme: its manifest 2 is not the one of this log"]);

    publish_by_hand(&store, begun_at, &files).await;
    let log = crate::publish::delta::log::DeltaLog { store: &store, table: Table::PurchaseApply };
    let mut state = log.load().await.expect("sound").expect("a table").state;
    let schema = crate::publish::TableSchema {
        table: Table::PurchaseApply,
        comment: String::new(),
        columns: Vec::new(),
        partitions: Vec::new(),
        modified: "modified".to_owned(),
        contract: FormatVersion::LAKE,
    };
    state.metadata = crate::publish::delta::action::metadata(&schema, begun_at).meta_data;
    log.leave_checkpoint(&state, "_staging/x").await;
    store.delete(&layout::delta_version(Table::PurchaseApply, 1)).await.expect("deleted");
    assert_eq!(
        told().await,
        ["lacks version 1 of 1"],
        "whoever begins with the checkpoint reads the table all the same"
    );
    store.delete(&layout::delta_version(Table::PurchaseApply, 0)).await.expect("deleted");
    assert_eq!(told().await, ["lacks versions 0 to 1 of 1"]);
}
