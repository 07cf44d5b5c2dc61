//! What the versions of a Delta table add up to.

use std::collections::BTreeMap;

use super::action::{AddFile, DeltaAction, Protocol, TableMetadata};

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
    pub(crate) txns: BTreeMap<String, i64>,
    /// The active files, by their paths below the table's folder.
    pub(crate) files: BTreeMap<String, AddFile>,
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
                self.txns.insert(txn.app_id, txn.version);
            }
            if let Some(remove) = remove {
                self.files.remove(&remove.path);
            }
            if let Some(add) = add {
                self.files.insert(add.path.clone(), add);
            }
        }
    }

    /// The number of the manifest up to which an application has published.
    pub(crate) fn published(&self, app_id: &str) -> Option<u64> {
        self.txns.get(app_id).and_then(|number| u64::try_from(*number).ok())
    }

    /// The active files of an account.
    pub(crate) fn files_of(&self, account: &crate::id::AccountName) -> impl Iterator<Item = &AddFile> {
        let folder = format!("account={account}/");
        self.files.values().filter(move |file| file.path.starts_with(&folder))
    }
}
