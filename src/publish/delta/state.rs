//! What the versions of a Delta table add up to.

use std::collections::BTreeMap;

use super::action::{AddFile, DeltaAction, Protocol, TableMetadata, Txn};
use crate::publish::standing::NamedManifest;

/// The table as of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeltaState {
    /// The version.
    pub(crate) version: u64,
    /// What programs must know.
    pub(crate) protocol: Option<Protocol>,
    /// What the table is.
    pub(crate) metadata: Option<TableMetadata>,
    /// How far each application has come.
    pub(crate) txns: BTreeMap<String, Txn>,
    /// The active files, by their paths below the table's folder.
    pub(crate) files: BTreeMap<String, AddFile>,
}

impl Txn {
    /// The manifest that it names.
    pub(crate) fn manifest(&self) -> Option<NamedManifest> {
        let number = u64::try_from(self.version).ok()?;
        Some(NamedManifest { number, created_at_millis: self.last_updated })
    }
}

impl DeltaState {
    /// Adds the actions of the next version, or of a checkpoint.
    pub(crate) fn apply(&mut self, version: u64, actions: Vec<DeltaAction>) {
        self.version = version;
        for action in actions {
            let DeltaAction { commit_info: _, protocol, meta_data, txn, add, remove } = action;
            self.protocol = protocol.or(self.protocol.take());
            self.metadata = meta_data.or(self.metadata.take());
            if let Some(txn) = txn {
                self.txns.insert(txn.app_id.clone(), txn);
            }
            if let Some(remove) = remove {
                self.files.remove(&remove.path);
            }
            if let Some(add) = add {
                self.files.insert(add.path.clone(), add);
            }
        }
    }

    /// The manifest up to which an application has published.
    pub(crate) fn published(&self, app_id: &str) -> Option<NamedManifest> {
        self.txns.get(app_id)?.manifest()
    }

    /// The active files of an account.
    pub(crate) fn files_of(&self, account: &crate::id::AccountName) -> impl Iterator<Item = &AddFile> {
        let folder = format!("account={account}/");
        self.files.values().filter(move |file| file.path.starts_with(&folder))
    }
}
