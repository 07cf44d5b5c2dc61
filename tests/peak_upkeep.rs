//! The work on what a lake holds already stays within `--max-memory` too: months are put together, refreshed, read
//! anew, expired and followed as streams, whatever their size.

use serde_json::json;
use wdt_lake::sandbox::Sandbox;

use crate::peak_memory::{MOST_BYTES, within_memory};
use crate::support::peak::run_measured;
use crate::support::{LakeDir, erp, program, program_at, run, sync};

/// Two months of an ERP, landed three days at a time.
struct Fed {
    sandbox: Sandbox,
    lake: LakeDir,
}

const REQUISITIONS: u64 = 20_000;

impl Fed {
    fn new() -> Self {
        let (sandbox, lake) = (erp(REQUISITIONS as usize, 60, "2026-06-30 23:59:59"), LakeDir::new());
        for to in (4..=31)
            .step_by(3)
            .map(|day| format!("05-{day:02}"))
            .chain((3..=30).step_by(3).map(|day| format!("06-{day:02}")))
        {
            let to = format!("2026-{to}");
            sync(&sandbox, &lake, &["--from", "2026-05-02", "--to", &to, "--compact", "off"]).expect_code(0);
        }
        Self { sandbox, lake }
    }

    fn sync(&self, lake: &LakeDir, arguments: &[&str]) -> std::process::Command {
        let mut command = program_at(&self.sandbox);
        command.args(["sync", "--calls-per-minute", "0", "--lake", &lake.text()]).args(arguments);
        command
    }

    /// Every third requisition was edited within its own day.
    fn edit(&self) {
        let mut world = self.sandbox.world().lock();
        let all: Vec<_> = world.requisitions().cloned().collect();
        for one in all.iter().step_by(3) {
            let (number, modified) = (&one.purchase_apply_no, one.modified.plus_seconds(1));
            world.edit_at(number, modified, |edited| edited.remark = "改".into());
        }
    }
}

fn verify(lake: &LakeDir) {
    run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
}

#[test]
fn months_are_put_together_expired_and_followed() {
    let Fed { lake, .. } = Fed::new();
    let mut compact = program();
    compact.args(["compact", "--lake", &lake.text()]);
    let Some(said) = within_memory(&mut compact, 0) else { return };
    assert_eq!(said.json()["accounts"][0]["into"], 2, "{said:?}");
    verify(&lake);

    let out = lake.path().with_file_name("new.parquet");
    let mut changes = program();
    changes.args(["changes", "purchase_apply_detail", "--json", "--lake", &lake.text(), "--out"]);
    let Some((said, peak)) = run_measured(changes.arg(&out)) else { return };
    assert!(said.expect_code(0).json()["rows"].as_u64().unwrap() > REQUISITIONS);
    assert!(peak <= MOST_BYTES, "a peak of {} KiB", peak >> 10);

    let mut expire = program();
    expire.args(["expire", "--before", "2026-06", "--yes", "--lake", &lake.text()]);
    let Some(said) = within_memory(&mut expire, 0) else { return };
    assert_eq!(said.json()["accounts"][0]["done"], true);
    verify(&lake);
}

#[test]
fn months_are_refreshed_and_read_anew() {
    let fed = Fed::new();
    run(program().args(["compact", "--lake", &fed.lake.text()])).expect_code(0);
    fed.edit();
    let (refreshed, rewalked) = (fed.lake.copy(), &fed.lake);
    let Some(said) = within_memory(&mut fed.sync(&refreshed, &["--to", "2026-06-30", "--lookback", "400d"]), 0) else {
        return;
    };
    let new = said.json()["rows"]["purchase_apply"].as_u64().unwrap();
    assert!(new >= 7 * REQUISITIONS / 60 / 4, "{said:?}");
    verify(&refreshed);

    let Some(said) = within_memory(&mut fed.sync(rewalked, &["--rewalk", "2026-05-02..2026-06-30"]), 0) else { return };
    assert_eq!(said.json()["gaps"], json!([]), "{said:?}");
    verify(rewalked);
}
