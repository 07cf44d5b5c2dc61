//! What a publisher knows of a table's newest version.

use std::collections::BTreeMap;

use crate::format::FormatVersion;
use crate::publish::delta::action::{self, DeltaAction};
use crate::publish::delta::state::DeltaState;
use crate::publish::standing::NamedManifest;

/// The newest version that this process knows.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    pub(super) version: u64,
    /// The manifests up to which applications have published.
    pub(super) txns: BTreeMap<String, NamedManifest>,
    /// Whether these are all of the table.
    pub(super) is_complete: bool,
    /// The data contract that the table was last written by.
    pub(super) contract: Option<FormatVersion>,
}

impl Tail {
    /// That of a table of which a version is to be taken in, and nothing else is known.
    pub(super) fn before(version: u64) -> Self {
        Self { version: version.saturating_sub(1), txns: BTreeMap::new(), is_complete: false, contract: None }
    }

    /// That of a table that was read whole.
    pub(super) fn of(state: &DeltaState) -> Self {
        let txns = state.txns.iter().filter_map(|(app_id, txn)| Some((app_id.clone(), txn.manifest()?)));
        Self { version: state.version, txns: txns.collect(), is_complete: true, contract: contract_of(state) }
    }

    /// Takes in the next version.
    pub(super) fn take_in(&mut self, actions: &[DeltaAction]) {
        self.version += 1;
        for txn in actions.iter().filter_map(|action| action.txn.as_ref()) {
            if let Some(manifest) = txn.manifest() {
                self.txns.insert(txn.app_id.clone(), manifest);
            }
        }
        let info = actions.iter().find_map(|action| action.commit_info.as_ref());
        let contract = info.and_then(|info| FormatVersion::parse(info.wdt_lake_contract.as_deref()?));
        // An older program does not take columns away.
        self.contract = contract.max(self.contract);
    }
}

/// The data contract that the metadata names.
pub(super) fn contract_of(state: &DeltaState) -> Option<FormatVersion> {
    FormatVersion::parse(state.metadata.as_ref()?.configuration.get(action::CONTRACT_KEY)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::delta::action::{CommitInfo, Txn};

    /// A version by a program of this contract, which publishes up to this manifest.
    fn version(contract: Option<&str>, number: i64) -> Vec<DeltaAction> {
        let info = CommitInfo {
            timestamp: 0,
            operation: "WRITE".to_owned(),
            operation_parameters: BTreeMap::new(),
            engine_info: String::new(),
            wdt_lake_contract: contract.map(str::to_owned),
        };
        let txn = Txn { app_id: "wdt-lake:acme".to_owned(), version: number, last_updated: Some(number * 1_000) };
        vec![
            DeltaAction { commit_info: Some(info), ..DeltaAction::default() },
            DeltaAction { txn: Some(txn), ..DeltaAction::default() },
        ]
    }

    #[test]
    fn a_program_of_an_older_contract_takes_no_columns_away() {
        let mut tail = Tail::before(7);
        for (contract, known) in
            [(None, None), (Some("1.1"), Some((1, 1))), (Some("1.0"), Some((1, 1))), (None, Some((1, 1)))]
        {
            tail.take_in(&version(contract, 5));
            assert_eq!(tail.contract.map(|held| (held.major, held.minor)), known, "{contract:?}");
        }
        assert_eq!(tail.version, 10);
        let named = tail.txns.get("wdt-lake:acme").copied();
        assert_eq!(named, Some(NamedManifest { number: 5, created_at_millis: Some(5_000) }));
    }
}
