//! What manifests say of files against ranges.

use super::*;
use crate::land::testing::window;
use crate::log::{FileEntry, Sha256};

#[test]
fn a_file_is_told_by_its_times() {
    let entry = FileEntry {
        table: Table::PurchaseApply.name().to_owned(),
        path: "x".to_owned(),
        bytes: 1,
        sha256: Sha256::of(b""),
        rows: 2,
        min_modified: window(10, 10).start(),
        max_modified: window(19, 19).start(),
        carried: false,
    };
    let file = LakeFile { uri: "x".to_owned(), commit: crate::id::CommitId::generate(), entry };
    let at = |second: Option<i64>| second.map(|second| window(second, second).start());
    for (from, to, overlaps, reaches_beyond) in [
        (None, None, true, false),
        (Some(10), Some(19), true, false),
        (Some(11), None, true, true),
        (None, Some(18), true, true),
        (Some(19), None, true, true),
        (Some(20), None, false, true),
        (None, Some(9), false, true),
    ] {
        let range = ExportRange { from: at(from), to: at(to) };
        assert_eq!(range.holds(&file), (overlaps, reaches_beyond), "{from:?} {to:?}");
    }
    let second = ExportRange { from: at(Some(3)), to: at(Some(3)) };
    let micros = window(3, 3).start().micros();
    assert!(second.contains(micros) && second.contains(micros + 999_999));
    assert!(!second.contains(micros - 1) && !second.contains(micros + 1_000_000));
}
