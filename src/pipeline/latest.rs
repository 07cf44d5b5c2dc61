//! What a lake knows of requisitions now: the latest committed version of each that is asked for, and which have been
//! left partly referenced for long. Reads the committed set file by file; memory grows with what is asked for only.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::RecordBatch;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;

use crate::error::{Error, ErrorClass, Result};
use crate::id::CommitId;
use crate::log::{Lake, LakeFile, Table};
use crate::parquet::decode_columns;
use crate::requisition::ApplyId;
use crate::text::{Text, text};
use crate::time::{BeijingTime, Window};
use crate::transform::{LandedDetails, LandedHeader, LandedHeaders};
use crate::worker::blocking;

/// How many files are read at once.
const READ_AHEAD: usize = 4;
/// A rule over the lake may go by what is at most so old.
const FRESH_SECONDS: i64 = 86_400;
/// The meaning of the status that can be stopped.
const PARTLY_REFERENCED: &str = "partly_referenced";

/// The latest version of a requisition in the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// What its row says; where headers carry no quantities, what its details sum to.
    pub header: LandedHeader,
    commit: CommitId,
}

impl Known {
    /// Whether it has the status that can be stopped.
    pub fn is_partly_referenced(&self) -> bool {
        self.header.status_name.as_deref() == Some(PARTLY_REFERENCED)
    }
}

/// Whether a rule may go by what the lake knows: its coverage ends at most a day ago and has no gap.
pub(crate) fn knows_present(lake: &Lake, now: BeijingTime) -> bool {
    lake.coverage().span().is_some_and(|covered| {
        covered.end() >= now.plus_seconds(-FRESH_SECONDS) && lake.coverage().gaps(covered).is_empty()
    })
}

/// The latest versions of `numbers` in the lake: of each number the rows with the greatest modified time. They are
/// several, in the order of their ids, where requisitions share their number and that second.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer,
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when a committed file is missing or was changed.
pub async fn latest(lake: &Lake, numbers: &BTreeSet<String>) -> Result<BTreeMap<String, Vec<Known>>> {
    let mut known: BTreeMap<String, Vec<Known>> = BTreeMap::new();
    for_each_batch(lake, lake.files(Table::PurchaseApply), &LandedHeaders::COLUMNS, |file, batch| {
        let Some(headers) = LandedHeaders::of(batch) else { return };
        for row in (0..headers.rows()).filter(|row| numbers.contains(headers.number(*row))) {
            let held = known.get(headers.number(row)).and_then(|held| held.first());
            if held.is_none_or(|held| held.header.modified.micros() <= headers.modified_micros(row))
                && let Some(header) = headers.header(row)
            {
                let version = Known { header, commit: file.commit };
                keep_latest(known.entry(headers.number(row).to_owned()).or_default(), version);
            }
        }
    })
    .await?;
    known.values_mut().for_each(|versions| versions.sort_unstable_by_key(|version| version.header.apply_id));
    add_up_details(lake, &mut known).await?;
    Ok(known)
}

/// Adds a version that is not older than those that are held. The committed set holds each version once.
fn keep_latest(held: &mut Vec<Known>, version: Known) {
    held.retain(|other| {
        other.header.modified == version.header.modified && other.header.apply_id != version.header.apply_id
    });
    held.push(version);
}

/// The requisitions that are partly referenced and have not been modified for so long, of one warehouse or of all.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the lake does not know the present: its coverage ends more than a
/// day ago, or has a gap in which one of them may have been modified. Otherwise as [`latest`].
pub(crate) async fn stale(
    lake: &Lake,
    seconds: i64,
    warehouse_no: Option<&str>,
    now: BeijingTime,
) -> Result<BTreeMap<String, Vec<Known>>> {
    let not_fresh = |why: Text| {
        Error::new(ErrorClass::LakeStale, why)
            .with("account", lake.account())
            .hint("bring the lake up to date by `wdt-lake sync` first; nothing was called")
    };
    let end = lake.coverage().span().map(Window::end);
    let end = end.ok_or_else(|| not_fresh(text!("the lake covers nothing yet")))?;
    if end < now.plus_seconds(-FRESH_SECONDS) {
        return Err(not_fresh(text!("the lake knows nothing after {end}, which is more than 24 hours ago", end)));
    }
    let before = now.plus_seconds(seconds.saturating_neg());
    let is_stale = |known: &Known| {
        known.is_partly_referenced()
            && known.header.modified <= before
            && warehouse_no.is_none_or(|wanted| known.header.warehouse_no.as_deref() == Some(wanted))
    };
    let mut candidates = BTreeSet::new();
    for_each_batch(lake, lake.files(Table::PurchaseApply), &LandedHeaders::COLUMNS, |file, batch| {
        let Some(headers) = LandedHeaders::of(batch) else { return };
        let known = |row: &usize| headers.header(*row).map(|header| Known { header, commit: file.commit });
        let stale = (0..headers.rows()).filter(|row| known(row).as_ref().is_some_and(is_stale));
        candidates.extend(stale.map(|row| headers.number(row).to_owned()));
    })
    .await?;
    let mut found = latest(lake, &candidates).await?;
    // A stop names the number alone, so that all that bear it must be stale.
    found.retain(|_, known| known.iter().all(is_stale));
    let since =
        found.values().flatten().map(|known| known.header.modified).min().and_then(|oldest| Window::new(oldest, end));
    match since.map(|since| lake.coverage().gaps(since)).unwrap_or_default().first() {
        Some(gap) => {
            Err(not_fresh(text!("the lake does not cover {gap}, when one of them may have been modified", gap)))
        }
        None => Ok(found),
    }
}

/// Where headers carry no quantities, those of the details count.
async fn add_up_details(lake: &Lake, known: &mut BTreeMap<String, Vec<Known>>) -> Result<()> {
    let lacking: BTreeSet<CommitId> =
        known.values().flatten().filter(|known| known.header.open_scaled.is_none()).map(|known| known.commit).collect();
    let mut sums: BTreeMap<(String, Option<ApplyId>), (i128, i128)> = BTreeMap::new();
    let files = lake.files(Table::PurchaseApplyDetail).into_iter().filter(|file| lacking.contains(&file.commit));
    for_each_batch(lake, files.collect(), &LandedDetails::COLUMNS, |_, batch| {
        let Some(details) = LandedDetails::of(batch) else { return };
        for row in 0..details.rows() {
            let (number, apply_id) = (details.number(row), details.apply_id(row));
            let is_own = |known: &Known| {
                known.header.modified.micros() == details.modified_micros(row) && known.header.apply_id == apply_id
            };
            if known.get(number).is_some_and(|known| known.iter().any(is_own)) {
                let sum = sums.entry((number.to_owned(), apply_id)).or_default();
                let (real, referenced) = details.quantities(row);
                *sum = (sum.0 + real, sum.1 + referenced);
            }
        }
    })
    .await?;
    for ((number, apply_id), (real, referenced)) in sums {
        let mut versions = known.get_mut(&number).into_iter().flatten().map(|known| &mut known.header);
        if let Some(header) = versions.find(|header| header.apply_id == apply_id && header.open_scaled.is_none()) {
            header.real_scaled.get_or_insert(real);
            header.ref_scaled.get_or_insert(referenced);
            header.open_scaled = Some(real - referenced);
        }
    }
    Ok(())
}

/// Shows every batch of `files` to `visit`, in the order of files. No more of a file than some batches is in memory.
async fn for_each_batch(
    lake: &Lake,
    files: Vec<LakeFile>,
    columns: &'static [&'static str],
    mut visit: impl FnMut(&LakeFile, &RecordBatch),
) -> Result<()> {
    let fetch = |file: LakeFile| async move {
        let fetched = lake.fetch(&file.entry).await?;
        Ok::<_, Error>((file, fetched))
    };
    let mut fetched = stream::iter(files).map(fetch).buffered(READ_AHEAD);
    while let Some((file, bytes)) = fetched.try_next().await? {
        let (sender, mut batches) = mpsc::channel(READ_AHEAD);
        let reading = blocking(move || {
            for batch in decode_columns(bytes, columns)? {
                if sender.blocking_send(batch?).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let visiting = async {
            while let Some(batch) = batches.recv().await {
                visit(&file, &batch);
            }
        };
        let (read, ()) = tokio::join!(reading, visiting);
        read.map_err(|error: Error| error.with("object", &file.uri))?;
    }
    Ok(())
}
