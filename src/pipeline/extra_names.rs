//! The names in the column `extra`: fields that the vendor sends and the data contract has no column for, and times
//! that readers cannot represent. Reads that column of every committed file, and nothing else of it.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;

use crate::error::{Error, ErrorClass, Result};
use crate::log::{Lake, Table};
use crate::parquet::decode_columns;
use crate::transform::member_names;
use crate::worker::blocking;

/// The column, and the tables that have it.
const EXTRA: &str = "extra";
const TABLES: [Table; 2] = [Table::PurchaseApply, Table::PurchaseApplyDetail];

/// How many rows of each table have a field of that name in `extra`.
pub(crate) type ExtraNames = BTreeMap<(Table, String), u64>;

/// The names of an account.
///
/// # Errors
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) for a file that is damaged or gone: a commit may have taken its
/// place meanwhile.
pub(crate) async fn extra_names(lake: &Lake) -> Result<ExtraNames> {
    let mut names = ExtraNames::new();
    for table in TABLES {
        for file in lake.files(table) {
            let held = lake.fetch(&file.entry).await?;
            let counted = blocking(move || {
                let mut counted: BTreeMap<String, u64> = BTreeMap::new();
                for batch in decode_columns(held, &[EXTRA])? {
                    let batch = batch?;
                    let texts = batch.column(0).as_string_opt::<i32>();
                    let texts =
                        texts.ok_or_else(|| Error::new(ErrorClass::FileDamaged, "the column `extra` is no text"))?;
                    let found = texts.iter().flatten().flat_map(member_names);
                    found.for_each(|name| *counted.entry(name).or_default() += 1);
                }
                Ok(counted)
            });
            let counted = counted.await.map_err(|error: Error| error.with("file", &file.uri))?;
            counted.into_iter().for_each(|(name, rows)| *names.entry((table, name)).or_default() += rows);
        }
    }
    Ok(names)
}
