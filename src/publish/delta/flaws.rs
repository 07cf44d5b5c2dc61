//! What is wrong with the versions of a table as a whole. Who begins to read with a checkpoint, or with the version
//! that a hint names, does not look at those before it; whoever travels to older versions does.

use std::collections::BTreeSet;

use super::action::{DeltaAction, Protocol};
use super::log::DeltaLog;
use crate::error::{ErrorKind, Result};
use crate::log::layout;

/// No more numbers that are missing from a listing are asked for one by one.
const MOST_ASKED: usize = 1_000;

impl DeltaLog<'_> {
    /// Versions that are missing among those that stand, and a first version of another program below ours.
    ///
    /// # Errors
    /// [`ErrorKind::Lake`] when the store does not answer.
    pub(crate) async fn flaws(self) -> Result<Vec<String>> {
        let names = self.store.names(&layout::delta_log(self.table)).await?;
        let mut versions: BTreeSet<u64> = names.iter().filter_map(|name| layout::delta_version_of(name)).collect();
        let checkpoints: BTreeSet<u64> = names.iter().filter_map(|name| layout::delta_checkpoint_of(name)).collect();
        let Some(newest) = versions.last().max(checkpoints.last()).copied() else { return Ok(Vec::new()) };
        match self.version(0).await {
            Ok(Some(actions)) if !is_protected(&actions) => {
                let is_ours = self.publishes(newest, &checkpoints).await?;
                let what = "begins with a version of another program, and later ones are of wdt-lake";
                return Ok(is_ours.then(|| what.to_owned()).into_iter().collect());
            }
            // One that cannot be read is told by whoever reads the table.
            Err(error) if error.kind() != ErrorKind::Defect => return Err(error),
            _ => {}
        }
        // A listing may miss what is added meanwhile.
        let missing: Vec<u64> = (0..=newest).filter(|version| !versions.contains(version)).collect();
        for version in missing.into_iter().take(MOST_ASKED) {
            if self.store.get(&layout::delta_version(self.table, version)).await?.is_some() {
                versions.insert(version);
            }
        }
        let holes = holes(&versions, newest);
        Ok(holes.into_iter().map(|(first, last)| told(first, last, newest)).collect())
    }

    /// Whether a version at the end of the table is one of a publisher of ours.
    async fn publishes(self, newest: u64, checkpoints: &BTreeSet<u64>) -> Result<bool> {
        if let Some(state) = self.checkpoint(checkpoints.last().copied()).await?
            && state.protocol.as_ref().is_some_and(Protocol::is_ours)
        {
            return Ok(true);
        }
        let is_published = |actions: Vec<DeltaAction>| {
            actions.iter().filter_map(|action| action.txn.as_ref()).any(|txn| txn.app_id.starts_with(super::APP))
        };
        match self.version(newest).await {
            Ok(actions) => Ok(actions.is_some_and(is_published)),
            Err(error) if error.kind() == ErrorKind::Defect => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_protected(actions: &[DeltaAction]) -> bool {
    actions.iter().filter_map(|action| action.protocol.as_ref()).any(Protocol::is_ours)
}

/// The numbers that are missing from 0 to the newest, as first and last of each hole.
fn holes(versions: &BTreeSet<u64>, newest: u64) -> Vec<(u64, u64)> {
    let (mut next, mut holes) = (0, Vec::new());
    for version in versions.iter().copied() {
        if version > next {
            holes.push((next, version - 1));
        }
        next = version + 1;
    }
    if next <= newest {
        holes.push((next, newest));
    }
    holes
}

fn told(first: u64, last: u64, newest: u64) -> String {
    let which = if first == last { format!("version {first}") } else { format!("versions {first} to {last}") };
    format!("lacks {which} of {newest}")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::log::Table;
    use crate::publish::delta::action::{self, Txn};
    use crate::publish::delta::state::DeltaState;
    use crate::store::Store;

    async fn put(store: &Store, version: u64, actions: &[DeltaAction]) {
        let bytes = action::to_bytes(actions).expect("written");
        store
            .put(&layout::delta_version(Table::PurchaseApply, version), bytes.into(), "_staging/x")
            .await
            .expect("put");
    }

    fn foreign() -> DeltaAction {
        let protocol = Protocol { min_reader_version: 1, min_writer_version: 2, writer_features: None };
        DeltaAction { protocol: Some(protocol), ..DeltaAction::default() }
    }

    fn publishes() -> DeltaAction {
        let txn = Txn { app_id: "wdt-lake:acme".to_owned(), version: 3, last_updated: None };
        DeltaAction { txn: Some(txn), ..DeltaAction::default() }
    }

    #[tokio::test]
    async fn holes_are_told_as_ranges() {
        let store = Store::memory();
        let log = DeltaLog { store: &store, table: Table::PurchaseApply };
        let flaws = async || log.flaws().await.expect("an answer");
        assert_eq!(flaws().await, [""; 0], "no table");
        for version in [0, 1, 2, 4, 7, 8] {
            put(&store, version, &[action::protocol()]).await;
        }
        assert_eq!(flaws().await, ["lacks version 3 of 8", "lacks versions 5 to 6 of 8"]);
        let checkpoint = layout::delta_checkpoint(Table::PurchaseApply, 10);
        store.put(&checkpoint, Bytes::from_static(b"x"), "_staging/x").await.expect("put");
        store.delete(&layout::delta_version(Table::PurchaseApply, 0)).await.expect("deleted");
        assert_eq!(
            flaws().await,
            [
                "lacks version 0 of 10",
                "lacks version 3 of 10",
                "lacks versions 5 to 6 of 10",
                "lacks versions 9 to 10 of 10"
            ]
        );
    }

    #[tokio::test]
    async fn another_programs_first_version_below_ours_is_told() {
        let store = Store::memory();
        let log = DeltaLog { store: &store, table: Table::PurchaseApply };
        let flaws = async || log.flaws().await.expect("an answer");
        put(&store, 0, &[foreign()]).await;
        put(&store, 2, &[DeltaAction::default()]).await;
        assert_eq!(flaws().await, [""; 0], "a table of another program is its own affair");
        put(&store, 3, &[publishes()]).await;
        assert_eq!(flaws().await, ["begins with a version of another program, and later ones are of wdt-lake"]);

        store.delete(&layout::delta_version(Table::PurchaseApply, 3)).await.expect("deleted");
        let mut state = DeltaState::default();
        let schema = action::tests::schema();
        state.apply(1, vec![action::protocol(), action::metadata(&schema, crate::time::BeijingTime::FIRST)]);
        log.leave_checkpoint(&state, "_staging/x").await;
        assert_eq!(flaws().await, ["begins with a version of another program, and later ones are of wdt-lake"]);
        let error = log.load().await.err().expect("it is not ours");
        assert!(error.message().contains("another program keeps a Delta table"), "{error}");
        put(&store, 0, &[action::protocol()]).await;
        assert_eq!(log.load().await.expect("sound").map(|loaded| loaded.state.version), Some(2));
    }
}
