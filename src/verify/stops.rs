//! The rows of `stop_reference`, set against what their manifest says of the same stops.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, RecordBatch};

use super::Expected;
use crate::log::StopResult;

/// The column of the table that says what became of a stop; read only when everything is.
const OUTCOME: &str = "outcome";

/// What the rows of one file say: the outcome of each number, where it was read.
#[derive(Debug, Default)]
pub(super) struct StopRows(BTreeMap<String, Option<String>>);

impl StopRows {
    /// Takes in rows of `table`, when it is that of stops.
    pub(super) fn take_in(&mut self, expected: &Expected, table: &str, batch: &RecordBatch) {
        let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let Some(numbers) = text(&expected.number).filter(|_| table == expected.stops.spec.table.name()) else {
            return;
        };
        let outcomes = text(OUTCOME);
        for row in 0..batch.num_rows() {
            let outcome = outcomes.filter(|outcomes| outcomes.is_valid(row)).map(|outcomes| outcomes.value(row));
            self.0.insert(numbers.value(row).to_owned(), outcome.map(str::to_owned));
        }
    }

    /// The first of the results that the rows do not tell so.
    pub(super) fn compare(&self, results: &[StopResult]) -> Option<String> {
        let untold = |result: &&StopResult| match self.0.get(&result.number) {
            Some(outcome) => outcome.as_deref().is_some_and(|outcome| outcome != result.outcome.name()),
            None => true,
        };
        let result = results.iter().find(untold)?;
        Some(format!(
            "does not say that the stop of {} is {}, as its manifest does",
            result.number,
            result.outcome.name()
        ))
    }
}
