//! File systems that cannot do all that a local lake likes: no hard links, no sync of folders.

use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::support::campaign::{Campaign, Job};
use crate::support::{LakeDir, program, run};

const EPERM: i32 = 1;
const EIO: i32 = 5;
const EINVAL: i32 = 22;
const ENOSYS: i32 = 38;
const EOPNOTSUPP: i32 = 95;

/// The library that takes these abilities away, compiled by the C compiler that links this test, too.
fn poor_disk() -> &'static str {
    static LIBRARY: LazyLock<(TempDir, String)> = LazyLock::new(|| {
        let folder = TempDir::new().unwrap();
        let library = folder.path().join("poor_disk.so").to_str().unwrap().to_owned();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/poor_disk.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o", &library, source, "-ldl"]).status().unwrap();
        assert!(compiled.success());
        (folder, library)
    });
    &LIBRARY.1
}

fn on_poor_disk<'a>(command: &'a mut Command, what: &str, errno: i32) -> &'a mut Command {
    command.env("LD_PRELOAD", poor_disk()).env(what, errno.to_string())
}

#[test]
fn without_hard_links_several_runs_are_refused_before_the_first_call() {
    let campaign = Campaign::new();
    for errno in [EPERM, EOPNOTSUPP, ENOSYS, EINVAL] {
        let lake = LakeDir::new();
        let said = run(on_poor_disk(&mut campaign.sync(&lake, Job::Fill), "LINK_ERRNO", errno)).expect_code(6);
        for word in
            ["the file system makes no hard link", "hint: several runs are kept apart by hard links", "--single-writer"]
        {
            assert!(said.stderr.contains(word), "{errno}: {}", said.stderr);
        }
        assert!(campaign.erp.world().calls().is_empty(), "no call is spent");
        assert_eq!(lake.files(), Vec::<String>::new(), "{errno}: nothing is left");

        let mut doctor = program();
        let said =
            run(on_poor_disk(doctor.args(["doctor", "--lake", &lake.text()]), "LINK_ERRNO", errno)).expect_code(6);
        assert!(said.stdout.contains("the file system makes no hard link"), "{}", said.stdout);
        assert!(said.stdout.contains("hint: several runs are kept apart by hard links"), "{}", said.stdout);
    }
    // One run at a time needs none.
    let lake = LakeDir::new();
    let mut alone = campaign.sync(&lake, Job::Fill);
    run(on_poor_disk(alone.arg("--single-writer"), "LINK_ERRNO", EPERM)).expect_code(0);
    run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
    let rows = run(program().args(["status", "--json", "--lake", &lake.text()])).expect_code(0).json();
    assert_eq!(rows["accounts"][0]["rows"]["purchase_apply"], campaign.versions().len());
}

#[test]
fn folders_that_cannot_be_synced_are_told_of_once() {
    let campaign = Campaign::new();
    for errno in [EINVAL, EOPNOTSUPP] {
        let lake = LakeDir::new();
        let said = run(on_poor_disk(&mut campaign.sync(&lake, Job::Fill), "FOLDER_SYNC_ERRNO", errno)).expect_code(0);
        assert_eq!(said.stderr.matches("cannot sync folders").count(), 1, "{}", said.stderr);
        assert!(said.stderr.contains("after a power cut"), "{}", said.stderr);
        campaign.assert_whole(&lake, "on such a disk");
    }
    // A disk that fails is another matter.
    let lake = LakeDir::new();
    let said = run(on_poor_disk(&mut campaign.sync(&lake, Job::Fill), "FOLDER_SYNC_ERRNO", EIO)).expect_code(6);
    assert!(!said.stderr.contains("cannot sync folders"), "{}", said.stderr);
}
