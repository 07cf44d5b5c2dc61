//! Why records stand in quarantine, as the lines of its files say. A line is read as it streams by: the record itself
//! is never in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Seek as _};

use serde::Deserialize;

use super::clip::clipped;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Lake;
use crate::worker::blocking;

/// How many reasons are told apart; those of this program are fewer.
const MOST: usize = 40;
/// All reasons beyond that.
pub(super) const OTHERS: &str = "";

/// How many records stand in quarantine, by the code of the reason.
pub(super) type QuarantineReasons = BTreeMap<String, u64>;

/// What counts of a line.
#[derive(Deserialize)]
struct ReasonLine {
    reason: String,
}

/// Adds the records of an account.
///
/// # Errors
/// [`ErrorKind::Defect`] for a file that is damaged or gone.
pub(super) async fn add_reasons(lake: &Lake, mut reasons: QuarantineReasons) -> Result<QuarantineReasons> {
    let files = lake.with_quarantine().flat_map(|(_, live)| &live.quarantine);
    for entry in files {
        let file = lake.fetch(entry).await?;
        let uri = lake.store().uri(&entry.path);
        reasons = blocking(move || {
            count(file, &mut reasons)?;
            Ok(reasons)
        })
        .await
        .map_err(|error: Error| error.with("object", uri))?;
    }
    Ok(reasons)
}

fn count(mut file: File, reasons: &mut QuarantineReasons) -> Result<()> {
    // It was written by this process, and stands at its end.
    file.rewind().map_err(|error| {
        Error::new(ErrorKind::Lake, "cannot use a temporary file")
            .because(error)
            .hint("make room in the folder for temporary files, or set TMPDIR to another")
    })?;
    let lines = serde_json::Deserializer::from_reader(BufReader::new(file)).into_iter::<ReasonLine>();
    for line in lines {
        let line = line.map_err(|error| {
            Error::new(ErrorKind::Defect, "a file of quarantine cannot be read")
                .because(error)
                .hint("`wdt-lake verify --deep` says which file is damaged")
        })?;
        let reason = clipped(&line.reason);
        let is_full = reasons.len() >= MOST && !reasons.contains_key(&reason);
        *reasons.entry(if is_full { OTHERS.to_owned() } else { reason }).or_default() += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn counted(text: &str) -> Result<QuarantineReasons> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let mut reasons = QuarantineReasons::new();
        count(file, &mut reasons).map(|()| reasons)
    }

    #[test]
    fn reasons_are_counted_and_no_more_than_have_room() {
        let line =
            |reason: &str| format!("{{\"format\":\"1.0\",\"reason\":\"{reason}\",\"raw\":\"{{\\\"a\\\":1}}\"}}\n");
        let text = [line("missing"), line("too_long"), line("missing")].concat();
        let expected = [("missing", 2), ("too_long", 1)].map(|(reason, count)| (reason.to_owned(), count));
        assert_eq!(counted(&text).expect("read"), expected.into());
        let many: String = (0..100).map(|nth| line(&format!("r{nth:02}"))).collect();
        let reasons = counted(&many).expect("read");
        assert_eq!((reasons.len(), reasons[OTHERS]), (MOST + 1, 60));
        assert_eq!(counted("{\"reason\":").expect_err("cut").kind(), ErrorKind::Defect);
    }
}
