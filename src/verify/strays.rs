//! Parquet files in a table's folder that are not the lake's. Engines read a table by a glob, and a glob asks nobody
//! whose a file is.

use super::Defect;
use crate::error::Result;
use crate::land::sweep::Found;
use crate::log::layout::account_of_folder;
use crate::log::{Layout, Table};
use crate::store::Store;

/// What to do about one.
const MOVE: &str = "move it out of the table's folder, or delete it: whoever reads the table by a glob reads it too";
/// What every glob ends in.
const EXTENSION: &str = ".parquet";
/// Where other programs keep their own account of the files in a table's folder, checkpoints in Parquet among it.
const DELTA_LOG: &str = "_delta_log/";

fn defect(store: &Store, path: &str, what: &str) -> Defect {
    Defect { object: store.uri(path), what: what.to_owned(), remedy: MOVE, commit: None }
}

/// The part of a name below its table's folder, when a glob over the table sees it.
fn below_table(path: &str) -> Option<(Table, &str)> {
    let (root, rest) = path.split_once('/')?;
    let table = Table::from_name(root)?;
    (rest.ends_with(EXTENSION) && !rest.starts_with(DELTA_LOG)).then_some((table, rest))
}

/// Those of the `objects` in the account's folders whose names are none of ours.
pub(super) fn of_account(store: &Store, layout: &Layout, objects: &[String]) -> Vec<Defect> {
    let strays = objects.iter().filter(|path| below_table(path).is_some() && layout.parse(path).is_none());
    strays.map(|path| defect(store, path, "is a Parquet file in a table's folder that is not the lake's")).collect()
}

/// Those with a name of ours, under the id of a live commit that does not name them: no sweep clears them away.
pub(super) fn unnamed(store: &Store, layout: &Layout, found: &Found) -> Vec<Defect> {
    let strays = found.untracked.iter().filter(|path| below_table(path).is_some() && layout.parse(path).is_some());
    strays.map(|path| defect(store, path, "bears the id of a commit that does not name it")).collect()
}

/// Those in no account's folder, in the whole lake.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer.
pub(crate) async fn strays(store: &Store) -> Result<Vec<Defect>> {
    let mut strays = Vec::new();
    for table in Table::ALL {
        for path in store.names(table.name()).await? {
            let is_of_account = |rest: &str| {
                let folder = rest.split_once('/').map(|(folder, _)| format!("{table}/{folder}"));
                folder.is_some_and(|folder| account_of_folder(table.name(), &folder).is_some())
            };
            if below_table(&path).is_some_and(|(_, rest)| !is_of_account(rest)) {
                strays.push(defect(store, &path, "is a Parquet file in a table's folder and in no account's"));
            }
        }
    }
    Ok(strays)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::id::CommitId;

    #[tokio::test]
    async fn what_a_glob_would_read_is_told() {
        let store = Store::memory();
        let layout = Layout::new("acme".parse().expect("a name"));
        let ours = layout.stop_reference(CommitId::generate());
        let (of_account_, of_nobody, fine) = (
            [
                "purchase_apply/account=acme/x.parquet",
                "purchase_apply/account=acme/_delta_log/x.parquet",
                "purchase_apply/account=acme/modified_month=2026-10/.x.parquet",
                "purchase_apply_detail/account=acme/modified_month=2026-10/copy of x.parquet",
                "stop_reference/account=acme/sub/x.parquet",
            ],
            [
                "purchase_apply/x.parquet",
                "purchase_apply/.parquet",
                "purchase_apply_detail/account=/x.parquet",
                "purchase_apply_detail/account=1/modified_month=2026-10/x.parquet",
                "stop_reference/part/x.parquet",
            ],
            [
                &*ours,
                "purchase_apply/_delta_log/00000000000000000010.checkpoint.parquet",
                "purchase_apply/account=acme/README",
                "purchase_apply/account=acme/x.parquet.bak",
                "purchase_apply/account=other/x.parquet",
                "notes/x.parquet",
                "_quarantine/account=acme/x.parquet",
            ],
        );
        for path in of_account_.iter().chain(&of_nobody).chain(&fine) {
            store.put(path, Bytes::from_static(b"x"), "_staging/x").await.expect("put");
        }
        let uris = |paths: &[&str]| paths.iter().map(|path| store.uri(path)).collect::<Vec<_>>();
        let told = |defects: Vec<Defect>| defects.into_iter().map(|defect| defect.object).collect::<Vec<_>>();
        let objects = crate::land::sweep::list_owned(&store, &layout).await.expect("listed");
        let mut found = told(of_account(&store, &layout, &objects));
        found.sort();
        let mut expected = uris(&of_account_);
        expected.sort();
        assert_eq!(found, expected);
        let mut found = told(strays(&store).await.expect("listed"));
        found.sort();
        let mut expected = uris(&of_nobody);
        expected.sort();
        assert_eq!(found, expected);
    }
}
