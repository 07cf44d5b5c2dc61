//! The oldest open requisitions, asked for by number: one that was deleted in the ERP shows in no window.

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::{of_steady_lake, read_file};
use crate::error::Result;
use crate::log::{Lake, LakeFile, Table};
use crate::parquet::decode_columns;
use crate::pipeline::ask::{query_number, rows_of};
use crate::pipeline::source::Source;
use crate::requisition::ApplyId;
use crate::time::{BeijingTime, Window};
use crate::transform::{LandedHeader, LandedHeaders, OldestOpen, OpenRequisition, Page, Quarantined, assemble};

/// What the ERP says of the oldest open requisitions of the lake.
#[derive(Debug, Default)]
pub(crate) struct OpenAudit {
    /// How many requisitions were asked for.
    pub asked: u64,
    /// Those that the ERP shows as the lake does.
    pub same: u64,
    /// Those that were modified when the lake does not cover yet: the next sync gets them.
    pub newer: u64,
    /// The others, the oldest first.
    pub findings: Vec<OpenFinding>,
}

/// An open requisition of the lake that the ERP does not show so.
#[derive(Debug)]
pub(crate) struct OpenFinding {
    /// What the lake says last.
    pub lake: OpenRequisition,
    /// What the ERP says.
    pub difference: OpenDifference,
}

/// In what the ERP differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OpenDifference {
    /// It does not have the requisition: deleted, or under another number.
    Missing,
    /// It gave other requisitions in its place, or says that it has more than it gave.
    NotShown,
    /// It has another status under the same modified time.
    OtherStatus(LandedHeader),
    /// It has another modified time, within what the lake covers or before what the lake has.
    OtherTime(LandedHeader),
    /// What it gives is no valid record, for this reason.
    Invalid(String),
}

/// What the ERP gave for one number.
#[derive(Debug, Default)]
struct NumberAnswer {
    headers: Vec<LandedHeader>,
    invalid: Vec<Quarantined>,
    /// Whether it gave others, or less than it has.
    is_doubtful: bool,
}

/// What an answer says of one requisition.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Newer,
    Differs(OpenDifference),
}

/// Asks for the oldest `wanted` open requisitions, one call a number, and adds up what the ERP says of them.
///
/// # Errors
/// As [`Gateway::query`](crate::gateway::Gateway::query), and what keeps the lake from being read.
pub(super) async fn ask_for_oldest(
    source: &Source,
    lake: &mut Lake,
    wanted: usize,
    audit: &mut OpenAudit,
) -> Result<()> {
    let oldest = of_steady_lake(lake, async |lake: &Lake| oldest_open(lake, wanted).await).await?;
    let is_covered = |time: BeijingTime| lake.coverage().gaps(Window::second(time)).is_empty();
    let decoder = Arc::new(source.decoder().clone());
    for versions in oldest {
        let Some(number) = versions.first().map(|version| version.number.clone()) else { continue };
        let page = query_number(source.gateway(), &decoder, &number).await;
        let page = page.map_err(|error| error.with("number", &number))?;
        let answer = answer(&page, &number)?;
        for version in versions {
            audit.asked += 1;
            match judge(&version.header, &answer, is_covered) {
                Verdict::Same => audit.same += 1,
                Verdict::Newer => audit.newer += 1,
                Verdict::Differs(difference) => audit.findings.push(OpenFinding { lake: version, difference }),
            }
        }
    }
    Ok(())
}

/// The oldest open requisitions of the lake by number, in two passes over the files of headers.
async fn oldest_open(lake: &Lake, wanted: usize) -> Result<Vec<Vec<OpenRequisition>>> {
    let mut search = OldestOpen::wanting(wanted);
    let files = lake.files(Table::PurchaseApply);
    for file in &files {
        search = show(lake, file, search, OldestOpen::note).await?;
    }
    let Some(last) = search.last_wanted() else { return Ok(Vec::new()) };
    for file in files.iter().filter(|file| file.entry.min_modified <= last) {
        search = show(lake, file, search, OldestOpen::pick).await?;
    }
    Ok(search.picked())
}

/// Shows the rows of a file to a pass of the search, a batch at a time.
async fn show(
    lake: &Lake,
    file: &LakeFile,
    mut search: OldestOpen,
    pass: fn(&mut OldestOpen, &RecordBatch),
) -> Result<OldestOpen> {
    read_file(lake, &file.entry, move |file| {
        for batch in decode_columns(file, &OldestOpen::COLUMNS)? {
            pass(&mut search, &batch?);
        }
        Ok(search)
    })
    .await
}

/// What a page says of `number` and of no other.
fn answer(page: &Page, number: &str) -> Result<NumberAnswer> {
    let rows = page.rows().len();
    let own: Vec<_> = rows_of(page, number).into_iter().map(|row| (0, row)).collect();
    let has_more = page.total().is_some_and(|total| total > rows as u64);
    let is_doubtful = own.len() < rows || has_more;
    let rows = assemble([page], &own)?;
    let headers = LandedHeaders::of(&rows.headers);
    let headers = headers.iter().flat_map(|headers| (0..headers.rows()).filter_map(|row| headers.header(row)));
    Ok(NumberAnswer { headers: headers.collect(), invalid: rows.quarantined, is_doubtful })
}

/// What the answer says of the requisition that the lake knows by `lake`. A number may be that of several requisitions:
/// an id that both sides say tells which one is meant.
fn judge(lake: &LandedHeader, answer: &NumberAnswer, is_covered: impl Fn(BeijingTime) -> bool) -> Verdict {
    let is_it = |id: Option<ApplyId>| id == lake.apply_id || id.is_none() || lake.apply_id.is_none();
    let is_newer = |modified| modified > lake.modified && !is_covered(modified);
    let header = answer.headers.iter().filter(|header| is_it(header.apply_id)).max_by_key(|header| header.modified);
    let invalid = answer.invalid.iter().find(|record| is_it(record.identity.apply_id()));
    match (header, invalid) {
        (Some(header), _) if is_newer(header.modified) => Verdict::Newer,
        (Some(header), _) if header.modified != lake.modified => {
            Verdict::Differs(OpenDifference::OtherTime(header.clone()))
        }
        (Some(header), _) if header.status != lake.status => {
            Verdict::Differs(OpenDifference::OtherStatus(header.clone()))
        }
        (Some(_), _) => Verdict::Same,
        (None, Some(record)) if record.modified.is_some_and(is_newer) => Verdict::Newer,
        (None, Some(record)) => Verdict::Differs(OpenDifference::Invalid(record.message())),
        (None, None) if answer.is_doubtful => Verdict::Differs(OpenDifference::NotShown),
        (None, None) => Verdict::Differs(OpenDifference::Missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> BeijingTime {
        BeijingTime::from_unix(1_790_000_000 + second).expect("a time")
    }

    fn header(apply_id: i64, second: i64, status: i16) -> LandedHeader {
        LandedHeader {
            apply_id: ApplyId::new(apply_id),
            status,
            status_name: None,
            modified: at(second),
            warehouse_no: None,
            real_scaled: None,
            ref_scaled: None,
            open_scaled: None,
        }
    }

    #[test]
    fn an_answer_is_judged_by_id_time_and_status() {
        let lake = header(5, 100, 20);
        let judged = |headers: &[LandedHeader], is_doubtful| {
            let answer = NumberAnswer { headers: headers.to_vec(), is_doubtful, ..NumberAnswer::default() };
            judge(&lake, &answer, |time| time <= at(1_000))
        };
        let differs = Verdict::Differs;
        assert_eq!(judged(&[header(5, 100, 20)], false), Verdict::Same);
        assert_eq!(judged(&[header(0, 100, 20)], false), Verdict::Same, "one without an id may be it");
        assert_eq!(judged(&[header(6, 100, 25), header(5, 100, 20)], false), Verdict::Same);
        assert_eq!(judged(&[header(5, 2_000, 30)], false), Verdict::Newer);
        for second in [99, 101, 1_000] {
            let other = header(5, second, 20);
            assert_eq!(judged(std::slice::from_ref(&other), false), differs(OpenDifference::OtherTime(other)));
        }
        let other = header(5, 100, 30);
        assert_eq!(judged(std::slice::from_ref(&other), false), differs(OpenDifference::OtherStatus(other)));
        assert_eq!(judged(&[], false), differs(OpenDifference::Missing));
        assert_eq!(judged(&[header(6, 100, 20)], false), differs(OpenDifference::Missing), "another requisition");
        assert_eq!(judged(&[], true), differs(OpenDifference::NotShown));
    }
}
