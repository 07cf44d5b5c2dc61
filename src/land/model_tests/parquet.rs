//! Landing a plan as the commands do: the writer encodes, merges and puts Parquet files by itself.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{BooleanArray, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;

use super::land::by_span;
use super::plan::{Plan, PlannedCommit};
use super::process::Run;
use super::rows::{Row, Version, slot_of, start_of, window_of};
use crate::error::{ErrorKind, Result};
use crate::id::CommitId;
use crate::land::stage::{CommitOutcome, NewCommit, NewFile, NewManifest, NewRows, Quarantine, Raw};
use crate::land::testing::header_spec;
use crate::log::Table;
use crate::parquet::{RowFilter, TableSpec};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("purchase_apply_no", DataType::Utf8, false),
        Field::new("modified", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("real_num", DataType::Decimal128(19, 4), true),
        Field::new("read", DataType::Int64, false),
    ]))
});

fn spec(table: Table) -> Arc<TableSpec> {
    let commit_id = Some(Arc::new(Field::new("_commit_id", DataType::Utf8, false)));
    Arc::new(TableSpec { table, commit_id, bloom: vec![], ..header_spec() })
}

fn batch(versions: &[Version]) -> RecordBatch {
    let mut versions = versions.to_vec();
    versions.sort_unstable();
    let all = || versions.iter();
    let contents: Decimal128Array = all().map(|row| Some(i128::from(row.content))).collect();
    let modified: TimestampMicrosecondArray = all().map(|row| Some(start_of(row.slot).micros())).collect();
    RecordBatch::try_new(
        Arc::clone(&SCHEMA),
        vec![
            Arc::new(all().map(|row| Some(format!("CG{}", row.num))).collect::<StringArray>()),
            Arc::new(modified.with_timezone("UTC")),
            Arc::new(contents.with_precision_and_scale(19, 4).expect("fits")),
            Arc::new(all().map(|row| Some(row.read as i64)).collect::<Int64Array>()),
        ],
    )
    .expect("a batch")
}

fn keys(batch: &RecordBatch) -> Vec<(u8, i64)> {
    let numbers = batch.column_by_name("purchase_apply_no").expect("numbers").as_string::<i32>();
    let modified = batch.column_by_name("modified").expect("times").as_primitive::<TimestampMicrosecondType>();
    let number = |at: usize| numbers.value(at)[2..].parse().expect("a number");
    (0..batch.num_rows()).map(|at| (number(at), slot_of(modified.value(at) / 1_000_000))).collect()
}

/// The rows of a file.
pub(super) fn decode(bytes: Bytes) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in crate::parquet::decode(bytes).expect("a file") {
        let contents = batch.column_by_name("real_num").expect("contents").as_primitive::<Decimal128Type>();
        let reads = batch.column_by_name("read").expect("walks").as_primitive::<Int64Type>();
        let ids = batch.column_by_name("_commit_id").expect("ids").as_string::<i32>();
        for (at, (num, slot)) in keys(&batch).into_iter().enumerate() {
            let content = u32::try_from(contents.value(at)).expect("small");
            let version = Version { num, slot, content, read: reads.value(at) as u64 };
            rows.push(Row { version, commit: CommitId::parse(ids.value(at)).expect("an id") });
        }
    }
    rows
}

/// The rows that stay.
struct Kept {
    keys: BTreeSet<(u8, i64)>,
    columns: Vec<String>,
}

impl RowFilter for Kept {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn keep(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        Ok(keys(rows).iter().map(|key| Some(self.keys.contains(key))).collect())
    }
}

fn new_commit(commit: &PlannedCommit) -> NewCommit {
    let mut files = Vec::new();
    for table in [Table::PurchaseApply, Table::PurchaseApplyDetail] {
        let new = NewRows::New(vec![batch(&commit.new)].into());
        files.push(NewFile { spec: spec(table), span: None, part: Some(1), rows: new });
        for (span, rows) in by_span(commit.window, &commit.kept) {
            let keys = rows.iter().map(|row| row.version.key()).collect();
            let columns = vec!["purchase_apply_no".to_owned(), "modified".to_owned()];
            let own = commit.kept_files.iter().filter(|file| file.table == table.name());
            let rows =
                NewRows::Carried { files: own.cloned().collect(), filter: Some(Arc::new(Kept { keys, columns })) };
            files.push(NewFile { spec: spec(table), span: Some(window_of(span)), part: Some(2), rows });
        }
    }
    // What has no window has no new rows.
    files.retain(|file| commit.window.is_some() || matches!(file.rows, NewRows::Carried { .. }));
    NewCommit {
        carried: commit.carried.clone(),
        expired: commit.expired.clone(),
        files,
        quarantine: Quarantine::of_lines(commit.lines.iter().cloned()),
        kept_quarantine: commit.kept_quarantine.clone(),
        kept_raw: commit.kept_raw.clone(),
        ..NewCommit::of(commit.kind, commit.window.map(window_of))
    }
}

impl Run {
    pub(super) async fn land_parquet(&self, plan: Plan) -> Result<()> {
        let raw = plan.walk.as_ref().filter(|_| plan.has_raw).map(|(_, span, _)| Raw {
            packed: Bytes::from_static(b"raw"),
            responses: 1,
            window: window_of(*span),
        });
        let commits = plan.commits.iter().map(new_commit).collect();
        let new = NewManifest { walk: self.proved(&plan), commits, removes: plan.removes.clone(), raw };
        match self.writer.land(new).await {
            Ok(CommitOutcome::Committed(committed)) => {
                self.tell(committed.id, &CommitOutcome::Committed(committed));
                Ok(())
            }
            Ok(CommitOutcome::Dropped(_)) => {
                self.world.count("staged manifests that were dropped");
                Ok(())
            }
            // Another process has replaced some of the same commits meanwhile, and deleted their files.
            Err(error) if error.kind() == ErrorKind::Defect => {
                self.writer.follow().await?;
                let state = self.writer.view().await;
                let is_live = |id| state.state().live().contains_key(id);
                assert!(!plan.removes.iter().all(is_live) || self.world.setup.has_damage, "{error}");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
