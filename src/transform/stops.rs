//! Outcomes of stop references to an Arrow record batch, by the data contract.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array as _, ArrayRef, Int16Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use super::contract::Contract;
use crate::error::{Error, Result};
use crate::id::RunId;
use crate::time::BeijingTime;

/// One row of `stop_reference`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StopRow {
    /// The number of the requisition.
    pub purchase_apply_no: String,
    /// The timestamp that the call was signed with.
    pub requested_at: BeijingTime,
    /// The word for what became of it.
    pub outcome: &'static str,
    /// The word for how that is known.
    pub evidence: Option<&'static str>,
    /// The vendor's reason, or what went wrong.
    pub error: Option<String>,
    /// The vendor's code.
    pub error_code: Option<i64>,
    /// The requisition's key in the ERP.
    pub order_id: Option<i64>,
    /// The status that a query showed.
    pub observed_status: Option<i16>,
}

/// The rows as one batch in the order of the contract, without `_commit_id`, which the encoder adds.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal) when the contract has other columns than these, which a test of
/// this crate rules out.
pub(crate) fn stop_rows(rows: &[StopRow], run: RunId) -> Result<RecordBatch> {
    let mut rows: Vec<&StopRow> = rows.iter().collect();
    rows.sort_unstable();
    let run = run.to_string();
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.requested_at.micros())).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.purchase_apply_no))),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.outcome))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.evidence))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.error.as_deref()))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.error_code))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.order_id))),
        Arc::new(Int16Array::from_iter(rows.iter().map(|row| row.observed_status))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| &run))),
    ];
    RecordBatch::try_new(Contract::get()?.stops().fresh_schema(), columns)
        .map_err(|error| Error::internal("rows of stop references do not fit their contract").because(error))
}

/// A row of `stop_reference`, read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LandedStop<'a> {
    /// The number.
    pub number: &'a str,
    /// The timestamp of the call.
    pub requested_at: BeijingTime,
    /// The word for what became of it.
    pub outcome: &'a str,
    /// The word for how that is known.
    pub evidence: Option<&'a str>,
}

/// The rows of a batch; none of one that lacks their columns.
pub(crate) fn landed_stops(batch: &RecordBatch) -> impl Iterator<Item = LandedStop<'_>> {
    let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
    let times =
        batch.column_by_name("requested_at").and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let columns = text("purchase_apply_no").zip(times).zip(text("outcome").zip(text("evidence")));
    columns.into_iter().flat_map(|((numbers, times), (outcomes, evidence))| {
        (0..numbers.len()).filter_map(move |row| {
            Some(LandedStop {
                number: numbers.value(row),
                requested_at: BeijingTime::from_unix(times.value(row).div_euclid(1_000_000))?,
                outcome: outcomes.value(row),
                evidence: evidence.is_valid(row).then(|| evidence.value(row)),
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use arrow_array::Array as _;
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::Int64Type;

    use super::*;

    #[test]
    fn rows_are_sorted_and_fit_the_contract() {
        let row = |number: &str, seconds, error_code: Option<i64>| StopRow {
            purchase_apply_no: number.to_owned(),
            requested_at: BeijingTime::from_unix(seconds).expect("a time"),
            outcome: if error_code.is_some() { "refused" } else { "stopped" },
            evidence: Some("answer"),
            error: error_code.map(|_| "采购申请单状态不是部分引用".to_owned()),
            error_code,
            order_id: error_code.map(|_| 764),
            observed_status: None,
        };
        let batch =
            stop_rows(&[row("B", 2, Some(0)), row("A", 2, None), row("B", 1, None)], RunId::generate()).expect("rows");
        assert_eq!(batch.schema(), Contract::get().expect("a contract").stops().fresh_schema());
        let numbers: Vec<_> = batch.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!(numbers, ["A", "B", "B"]);
        let codes = batch.column(5).as_primitive::<Int64Type>();
        assert_eq!((codes.is_null(1), codes.value(2)), (true, 0), "the vendor's code 0 is no null");
    }
}
