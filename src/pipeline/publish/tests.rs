//! What publishing does about a log that took another way since, and about a later contract.

use super::*;
use crate::format::FormatVersion;
use crate::land::testing::{HeldClock, new_commit, options};
use crate::land::{CommitOutcome, WriterOptions};
use crate::publish::delta::action::DeltaAction;
use crate::publish::delta::log::DeltaLog;

const TABLE: Table = Table::PurchaseApply;

/// Lands windows of ten seconds by a run that begins at this time.
pub(super) async fn land(store: &Store, at: i64, windows: std::ops::Range<i64>) {
    let clock = Arc::new(HeldClock::at(at));
    let writer = Writer::open(store.clone(), WriterOptions { clock, ..options() }).await.expect("a lake");
    for nth in windows {
        let landed = writer.land(new_commit(nth * 10, nth * 10 + 9)).await;
        assert!(matches!(landed, Ok(CommitOutcome::Committed(_))), "{landed:?}");
    }
}

async fn publish(publisher: &Publisher, store: &Store, hints: &BTreeMap<String, u64>) -> Result<Vec<PublishedTable>> {
    let lake = Lake::open(store.clone(), "acme".parse()?).await?;
    let up_to = lake.state().newest().map_or(0, |newest| newest.number);
    let mut log = FollowedLog::new(lake);
    let wanted = PublishScope { made: &[PublishFormat::Delta], kept: &[], tables: &Table::ALL };
    let now = SystemClock.now();
    publisher.publish(Publishing { log: &mut log, run: RunId::generate(), up_to, hints, now }, wanted).await
}

async fn versions(store: &Store) -> Vec<Vec<DeltaAction>> {
    let (log, mut versions) = (DeltaLog { store, table: TABLE }, Vec::new());
    while let Some(actions) = log.version(versions.len() as u64).await.expect("sound") {
        versions.push(actions);
    }
    versions
}

/// What a next run may know of the table: the version that a hint names, a checkpoint, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knows {
    Nothing,
    Hint,
    Checkpoint,
}

pub(super) async fn forget_manifests(store: &Store, from: u64) {
    let layout = layout::Layout::new("acme".parse().expect("a name"));
    for object in store.list(&layout.manifest_root()).await.expect("listed") {
        if object.path.contains("/_checkpoint/") || object.path >= layout.manifest(from) {
            store.delete(&object.path).await.expect("deleted");
        }
    }
}

#[tokio::test]
async fn a_log_that_was_restored_is_known_also_when_it_has_grown_again() {
    for knows in [Knows::Nothing, Knows::Hint, Knows::Checkpoint] {
        let store = Store::memory();
        let publisher = publisher().expect("a contract");
        land(&store, 1_790_000_000, 0..3).await;
        let published = publish(&publisher, &store, &BTreeMap::new()).await.expect("published");
        let hints = if knows == Knows::Hint { hints(&published) } else { BTreeMap::new() };
        if knows == Knows::Checkpoint {
            for table in [TABLE, Table::PurchaseApplyDetail] {
                let log = DeltaLog { store: &store, table };
                let state = log.load().await.expect("sound").expect("a table").state;
                log.leave_checkpoint(&state, "_staging/x").await;
                // Nothing but the checkpoint tells how far the account is.
                store.delete(&layout::delta_version(table, 1)).await.expect("deleted");
            }
        }
        let before = versions(&store).await;
        // The backup had the first manifest.
        forget_manifests(&store, 2).await;
        for (at, windows, said) in [
            (1_790_001_000, 5..6, "is ahead of the commit log"),
            (1_790_002_000, 6..7, "follows another commit log: its manifest 3"),
            (1_790_003_000, 7..9, "follows another commit log: its manifest 3"),
        ] {
            land(&store, at, windows).await;
            // Another process each time.
            let publisher = super::publisher().expect("a contract");
            let error = publish(&publisher, &store, &hints).await.expect_err("it cannot go on");
            assert!(error.kind() == crate::ErrorKind::Defect && error.message().contains(said), "{knows:?}: {error}");
            assert_eq!(versions(&store).await, before, "{knows:?}");
        }
        for table in [TABLE, Table::PurchaseApplyDetail] {
            for path in store.names(&layout::delta_log(table)).await.expect("listed") {
                store.delete(&path).await.expect("deleted");
            }
        }
        let anew = super::publisher().expect("a contract");
        let published = publish(&anew, &store, &BTreeMap::new()).await.expect("published anew");
        assert_eq!(published.iter().map(|table| table.number).collect::<Vec<_>>(), [5, 5]);
    }
}

/// A publisher of the next minor contract, which has one column more before the last of headers.
pub(super) fn later() -> Publisher {
    let mut schemas = schemas().expect("a contract");
    for schema in &mut schemas {
        schema.contract = FormatVersion { minor: schema.contract.minor + 1, ..schema.contract };
        if schema.table == TABLE {
            let urgency = SchemaColumn {
                name: "urgency".to_owned(),
                kind: DataType::Int32,
                is_nullable: true,
                comment: "how urgent it is".to_owned(),
                field_id: Some(999),
            };
            schema.columns.insert(schema.columns.len() - 1, urgency);
        }
    }
    Publisher::new(schemas)
}

#[tokio::test]
async fn a_later_contract_is_published_as_a_change_of_the_schema() {
    for knows in [Knows::Nothing, Knows::Hint] {
        let store = Store::memory();
        let mut hinted = BTreeMap::new();
        let mut publish_by = async |publisher: &Publisher, nth: i64| {
            land(&store, 1_790_000_000 + nth, nth..nth + 1).await;
            let published = publish(publisher, &store, &hinted).await?;
            if knows == Knows::Hint {
                hinted = hints(&published);
            }
            Ok::<_, Error>(())
        };
        publish_by(&*publisher().expect("a contract"), 0).await.expect("published");
        publish_by(&later(), 1).await.expect("published");
        publish_by(&later(), 2).await.expect("published");
        let all = versions(&store).await;
        let metadata: Vec<_> =
            all.iter().map(|actions| actions.iter().find_map(|action| action.meta_data.clone())).collect();
        let told: Vec<bool> = metadata.iter().map(Option::is_some).collect();
        assert_eq!(told, [true, false, true, false], "{knows:?}: it is told once");
        let (Some(before), Some(after)) = (&metadata[0], &metadata[2]) else { panic!("{metadata:?}") };
        assert_eq!((&after.id, &after.partition_columns), (&before.id, &before.partition_columns));
        let fields = |text: &str| -> Vec<serde_json::Value> {
            let schema: serde_json::Value = serde_json::from_str(text).expect("JSON");
            schema["fields"].as_array().expect("fields").clone()
        };
        let (mut old, new) = (fields(&before.schema_string), fields(&after.schema_string));
        let place = new.iter().position(|field| field["name"] == "urgency").expect("the new column");
        assert_eq!((&new[place]["type"], &new[place]["nullable"]), (&"integer".into(), &true.into()));
        assert_eq!(new[place + 1]["name"], "_commit_id");
        old.insert(place, new[place].clone());
        assert_eq!(old, new, "all else is as it was");
        assert!(all[2].iter().any(|action| action.add.is_some()), "together with the first files of it");

        // A program of today does not know that column.
        let refused = publish_by(&*publisher().expect("a contract"), 3).await.expect_err("it is of a later contract");
        assert!(refused.message().contains("has the data contract"), "{refused}");
        assert_eq!(versions(&store).await, all);
        publish_by(&later(), 4).await.expect("published");
        assert_eq!(versions(&store).await.len(), all.len() + 1);
    }
}
