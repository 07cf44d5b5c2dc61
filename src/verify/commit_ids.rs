//! The rows' `_commit_id`, set against the log: whoever follows a table goes by it.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;

use super::TableShape;
use super::chain::{Chain, Live};
use crate::id::CommitId;
use crate::log::FileEntry;

/// The distinct ids that the rows of one file name.
#[derive(Debug, Default)]
pub(super) struct CommitIds(BTreeSet<String>);

impl CommitIds {
    /// Takes in rows of a table.
    pub(super) fn take_in(&mut self, shape: Option<&TableShape>, batch: &RecordBatch) {
        let field = shape.and_then(|shape| shape.spec.commit_id.as_ref());
        let ids = field.and_then(|field| batch.column_by_name(field.name())?.as_string_opt::<i32>());
        let mut last = None;
        for id in ids.into_iter().flat_map(|ids| ids.iter().flatten()).filter(|id| last.replace(*id) != Some(*id)) {
            if !self.0.contains(id) {
                self.0.insert(id.to_owned());
            }
        }
    }

    /// What is wrong with the ids of a file of a live commit: only what was carried has rows that an earlier one
    /// landed.
    pub(super) fn compare(&self, live: &Live, file: &FileEntry, chain: &Chain) -> Vec<String> {
        let wrong = |id: &String| match CommitId::parse(id) {
            None => Some(format!("has rows of a commit `{id}`, which is no id of a commit")),
            Some(id) if !file.carried => {
                (id != live.commit.id).then(|| format!("has rows of commit {id}, not of its own"))
            }
            Some(id) => (!chain.may_have_landed(id, live.number))
                .then(|| format!("has rows of commit {id}, which no earlier manifest of the log made")),
        };
        self.0.iter().filter_map(wrong).collect()
    }
}
