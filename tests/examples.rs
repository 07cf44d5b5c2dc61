//! The examples, run: what they show works.

use arrow_array::RecordBatch;
use wdt_lake::{BeijingTime, Table};

use crate::support::LakeDir;

#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../examples/read_table.rs"]
mod read_table;
#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../examples/sandbox_in_a_test.rs"]
mod sandbox_in_a_test;
#[expect(dead_code, reason = "its `main` is for people")]
#[path = "../examples/sync_account.rs"]
mod sync_account;

#[tokio::test]
async fn an_account_is_synced_from_a_sandbox_and_its_tables_are_read() {
    let (sandbox, account) = sandbox_in_a_test::erp(150);
    let lake = LakeDir::new();
    let from = BeijingTime::parse("2026-06-28 00:00:00");
    let report = sync_account::fill(&account, &lake.text(), from).await.unwrap();
    let count = |batches: Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    let rows = async |table| count(read_table::committed_rows(&lake.text(), table).await.unwrap());
    assert_eq!((report.exit_code(), report.tally.headers), (0, 150));
    assert_eq!(rows(Table::PurchaseApply).await, 150);
    assert_eq!(rows(Table::PurchaseApplyDetail).await as u64, report.tally.details);
    assert!(sandbox.world().calls().len() > 2);
}
