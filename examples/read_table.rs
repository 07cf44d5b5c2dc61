//! Reads exactly the committed rows of a table as Arrow batches, from a folder or from S3.
//!
//! ```sh
//! cargo run --example read_table -- ./lake purchase_apply
//! AWS_REGION=cn-north-1 AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=... \
//!     cargo run --example read_table -- s3://my-bucket/wangdian purchase_apply_detail
//! ```

#![expect(clippy::print_stdout, reason = "an example talks")]

use std::error::Error;

use arrow_array::RecordBatch;
use wdt_lake::{Access, Lake, Store, Table, decode};

/// The committed rows of `table`, of all accounts. The bytes of each file are checked against its manifest before they
/// are read.
///
/// # Errors
/// The object store does not answer, or a committed file is missing or was changed.
pub(crate) async fn committed_rows(location: &str, table: Table) -> wdt_lake::Result<Vec<RecordBatch>> {
    let store = Store::open(location, Access::Read)?;
    let mut batches = Vec::new();
    for account in Lake::accounts(&store).await? {
        let lake = Lake::open(store.clone(), account).await?;
        for file in lake.files(table) {
            batches.extend(decode(lake.read(&file.entry).await?)?);
        }
    }
    Ok(batches)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(location), Some(table)) = (arguments.next(), arguments.next()) else {
        return Err("usage: read_table LAKE TABLE".into());
    };
    let table =
        Table::from_name(&table).ok_or("the tables are purchase_apply, purchase_apply_detail, stop_reference")?;
    for batch in committed_rows(&location, table).await? {
        println!("{} rows of {} columns", batch.num_rows(), batch.num_columns());
    }
    Ok(())
}
