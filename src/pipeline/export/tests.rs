//! Files against ranges, and files that are read while others replace them.

use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{
    ArrayRef, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow_schema::{DataType, Field};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::*;
use crate::error::ErrorKind;
use crate::id::CommitId;
use crate::land::testing::{proof, window, writer};
use crate::land::{CommitOutcome, NewCommit, NewFile, NewManifest, NewRows, Writer};
use crate::log::{CommitKind, FileEntry, Sha256, Walk};
use crate::store::Store;
use crate::store::failpoint::{Effect, FailPoints, FaultInjection, InjectedAt, Op};
use crate::time::Window;
use crate::transform::{Contract, VersionRows};

#[test]
fn a_file_is_told_by_its_times() {
    let entry = FileEntry {
        table: Table::PurchaseApply.name().to_owned(),
        path: "x".to_owned(),
        bytes: 1,
        sha256: Sha256::of(b""),
        rows: 2,
        min_modified: window(10, 10).start(),
        max_modified: window(19, 19).start(),
        carried: false,
    };
    let file = LakeFile { uri: "x".to_owned(), commit: crate::id::CommitId::generate(), entry };
    let at = |second: Option<i64>| second.map(|second| window(second, second).start());
    for (from, to, overlaps, reaches_beyond) in [
        (None, None, true, false),
        (Some(10), Some(19), true, false),
        (Some(11), None, true, true),
        (None, Some(18), true, true),
        (Some(19), None, true, true),
        (Some(20), None, false, true),
        (None, Some(9), false, true),
    ] {
        let range = ExportRange { from: at(from), to: at(to) };
        assert_eq!(range.holds(&file), (overlaps, reaches_beyond), "{from:?} {to:?}");
    }
    let second = ExportRange { from: at(Some(3)), to: at(Some(3)) };
    let micros = window(3, 3).start().micros();
    assert!(second.contains(micros) && second.contains(micros + 999_999));
    assert!(!second.contains(micros - 1) && !second.contains(micros + 1_000_000));
}

/// Headers of the contract: number, second and name of the status.
fn headers(rows: &[(&str, i64, &str)]) -> RecordBatch {
    let schema = Contract::get().expect("a contract").headers().fresh_schema();
    let texts = |text: &dyn Fn(usize) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..rows.len()).map(text)))
    };
    let run = CommitId::generate().to_string();
    let column = |field: &Arc<Field>| -> ArrayRef {
        match (field.name().as_str(), field.data_type()) {
            ("purchase_apply_no", _) => texts(&|row| rows[row].0.to_owned()),
            ("status_name", _) => texts(&|row| rows[row].2.to_owned()),
            ("_run_id", _) => texts(&|_| run.clone()),
            ("modified", _) => {
                let times = rows.iter().map(|row| window(row.1, row.1).start().micros());
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
            }
            (_, kind) if field.is_nullable() => new_null_array(kind, rows.len()),
            (_, DataType::Utf8) => texts(&|_| "x".to_owned()),
            (_, DataType::Int16) => Arc::new(Int16Array::from(vec![1; rows.len()])),
            (_, DataType::Int32) => Arc::new(Int32Array::from(vec![0; rows.len()])),
            (_, DataType::Int64) => Arc::new(Int64Array::from(vec![1; rows.len()])),
            (_, DataType::Timestamp(..)) => {
                Arc::new(TimestampMicrosecondArray::from(vec![1; rows.len()]).with_timezone("UTC"))
            }
            (name, kind) => panic!("{name} is {kind}"),
        }
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(schema, columns).expect("rows of the contract")
}

async fn land(writer: &Writer, kind: CommitKind, span: Window, rows: NewRows, removes: Vec<CommitId>) {
    let spec = spec(Table::PurchaseApply).expect("a table");
    let commit =
        NewCommit { files: vec![NewFile { spec, span: None, part: None, rows }], ..NewCommit::of(kind, Some(span)) };
    let walk = (kind != CommitKind::Compaction).then(|| Walk { window: span, proof: proof(0) });
    let landed = writer.land(NewManifest { walk, commits: vec![commit], removes, raw: None }).await.expect("landed");
    assert!(matches!(landed, CommitOutcome::Committed(_)));
}

/// A lake of four commits: of CG1 three versions, of CG2 two, and one more requisition in each commit.
async fn lake_of_four(store: &Store) -> Writer {
    let writer = writer(store).await;
    for nth in 0..4 {
        let (span, own) = (window(10 * nth, 10 * nth + 9), format!("CG-{nth}"));
        let mut rows = vec![(own.as_str(), 10 * nth, "to_reference")];
        if nth < 3 {
            rows.push(("CG1", 10 * nth + 1, if nth == 2 { "referenced" } else { "to_reference" }));
        }
        if nth > 1 {
            rows.push(("CG2", 10 * nth + 2, "partly_referenced"));
        }
        land(&writer, CommitKind::Sync, span, vec![headers(&rows)].into(), vec![]).await;
    }
    writer
}

async fn compact(writer: &Writer) {
    let lake = writer.view().await;
    let live = lake.state().live();
    let span = live.values().filter_map(|live| live.window).reduce(Window::hull).expect("commits");
    let mut files: Vec<FileEntry> = live.values().flat_map(|live| live.files.clone()).collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let rows = NewRows::Carried { files, filter: None };
    land(writer, CommitKind::Compaction, span, rows, live.keys().copied().collect()).await;
}

/// Keeps number and second of rows.
#[derive(Debug, Default)]
struct Rows(Vec<(String, i64)>);

impl RowSink for Rows {
    fn take(&mut self, rows: &RecordBatch) -> Result<()> {
        let versions = VersionRows::of(Table::PurchaseApply, rows)?;
        for row in 0..versions.rows() {
            let version = versions.row(row)?;
            self.0.push((version.number.to_owned(), (version.micros - window(0, 0).start().micros()) / 1_000_000));
        }
        Ok(())
    }
}

/// Exports a lake; the rows, and how often it was begun.
async fn exported(store: &Store, rows: ExportedRows) -> (Result<(Rows, Vec<AccountExport>)>, usize) {
    let lake = Lake::open(store.clone(), "acme".parse().expect("a name")).await.expect("opened");
    let columns = ExportColumns::of(Table::PurchaseApply, rows, TimesAs::Instants).expect("columns");
    let request = ExportRequest { rows, range: ExportRange::default(), columns };
    let begun = AtomicUsize::new(0);
    let begin = || {
        begun.fetch_add(1, Ordering::SeqCst);
        Ok(Rows::default())
    };
    (export(vec![lake], &request, begin).await, begun.into_inner())
}

fn named(rows: &[(&str, i64)]) -> Vec<(String, i64)> {
    rows.iter().map(|(number, second)| ((*number).to_owned(), *second)).collect()
}

const LATEST: [(&str, i64); 6] = [("CG-0", 0), ("CG-1", 10), ("CG-2", 20), ("CG-3", 30), ("CG1", 21), ("CG2", 32)];

/// Puts all commits together when a data file is asked for, after so many others.
struct Compactor {
    others: AtomicUsize,
    writer: tokio::sync::Mutex<Option<Writer>>,
}

impl FaultInjection for Compactor {
    fn at<'a>(&'a self, moment: InjectedAt<'a>) -> BoxFuture<'a, Result<()>> {
        let is_read =
            matches!(moment, InjectedAt::Before(Effect { op: Op::Get, path, .. }) if path.ends_with(".parquet"));
        async move {
            if is_read && self.others.fetch_sub(1, Ordering::SeqCst) == 0 {
                let writer = self.writer.lock().await.take().expect("once");
                compact(&writer).await;
            }
            Ok(())
        }
        .boxed()
    }
}

/// The first four are read to choose, the next ones to give rows.
#[tokio::test]
async fn files_that_are_replaced_while_they_are_read_are_read_where_the_rows_are_now() {
    for others in [0, 2, 4, 6] {
        let store = Store::memory();
        let writer = tokio::sync::Mutex::new(Some(lake_of_four(&store).await));
        let compactor = Arc::new(Compactor { others: AtomicUsize::new(others), writer });
        let busy = store.with_fail_points(FailPoints::new(Arc::clone(&compactor) as _));
        let (read, begun) = exported(&busy, ExportedRows::Latest).await;
        let (rows, accounts) = read.expect("read");
        assert!(compactor.writer.lock().await.is_none(), "{others}: compacted");
        assert_eq!((rows.0, begun), (named(&LATEST), 2), "{others}");
        assert_eq!((accounts[0].rows, accounts[0].files, accounts[0].newest), (6, 1, 5), "{others}");
    }
}

#[tokio::test]
async fn rows_come_in_the_same_order_from_one_file_and_from_several() {
    let store = Store::memory();
    let writer = lake_of_four(&store).await;
    let mut all = [&LATEST[..], &[("CG1", 1), ("CG1", 11), ("CG2", 22)]].concat();
    all.sort_unstable();
    let open: Vec<_> = LATEST.into_iter().filter(|(number, _)| *number != "CG1").collect();
    for files in [4, 1] {
        for (rows, expected) in
            [(ExportedRows::All, &all[..]), (ExportedRows::Latest, &LATEST), (ExportedRows::Open, &open)]
        {
            let (given, accounts) = exported(&store, rows).await.0.expect("read");
            assert_eq!(given.0, named(expected), "{rows:?} of {files}");
            assert_eq!(accounts[0].files, files, "{rows:?}");
        }
        if files > 1 {
            compact(&writer).await;
        }
    }
}

#[tokio::test]
async fn a_file_that_is_damaged_is_a_defect_at_once() {
    let store = Store::memory();
    lake_of_four(&store).await;
    let lake = Lake::open(store.clone(), "acme".parse().expect("a name")).await.expect("opened");
    let path = lake.files(Table::PurchaseApply)[1].entry.path.clone();
    store.put(&path, "no Parquet".into(), "_staging/x").await.expect("put");
    for rows in [ExportedRows::All, ExportedRows::Latest] {
        let (read, begun) = exported(&store, rows).await;
        let error = read.expect_err("damaged");
        assert!(error.kind() == ErrorKind::Defect && error.to_string().contains(&path), "{error}");
        assert_eq!(begun, 1);
    }
}
