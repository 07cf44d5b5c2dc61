//! Where a lake is said to lie: what path libraries make of URIs is refused, and `~/` is the home folder wherever it is
//! written.

use std::fs;

use tempfile::TempDir;

use crate::support::{LakeDir, erp, program_at, run};

const RANGE: [&str; 4] = ["--from", "2026-06-20", "--to", "2026-06-30"];

#[test]
fn what_is_left_of_a_uri_makes_no_folder() {
    let (sandbox, folder) = (erp(20, 5, "2026-06-30 23:59:59"), TempDir::new().unwrap());
    for (lake, right) in [
        ("s3:/b/lake", "`s3://b/lake`"),
        ("s3:b/lake", "`s3://b/lake`"),
        ("oss:/b/lake", "`s3://b/lake`"),
        ("file:/srv/lake", "`file:///srv/lake`"),
        ("~you/lake", "./~you/lake"),
    ] {
        for arguments in [&["sync", RANGE[0], RANGE[1]][..], &["status"], &["demo"], &["doctor"]] {
            let mut command = program_at(&sandbox);
            command.current_dir(folder.path()).args(arguments).arg(format!("--lake={lake}"));
            let said = run(&mut command).expect_code(2);
            assert!(said.stderr.contains(right), "{lake}: {}", said.stderr);
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
    assert!(sandbox.world().calls().is_empty());
}

#[test]
fn a_tilde_is_the_home_folder() {
    let sandbox = erp(20, 5, "2026-06-30 23:59:59");
    let (home, work) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let secret = &sandbox.environment().into_iter().find(|(name, _)| *name == "WDT_APPSECRET").unwrap().1;
    fs::write(home.path().join("secret"), secret).unwrap();
    let sync = || {
        let mut command = program_at(&sandbox);
        command.current_dir(work.path()).env("HOME", home.path()).args(["sync", "--json"]).args(RANGE);
        command
    };
    run(sync().arg("--lake=~/by-flag")).expect_code(0);
    run(sync().args(["--lake", "~/by-secret"]).env_remove("WDT_APPSECRET").env("WDT_APPSECRET_FILE", "~/secret"))
        .expect_code(0);
    fs::write(home.path().join("lake.toml"), "lake = \"~/by-file\"\n").unwrap();
    run(sync().arg("--config=~/lake.toml")).expect_code(0);
    run(sync().env("WDT_CONFIG", "~/lake.toml")).expect_code(0);
    for lake in ["by-flag", "by-secret", "by-file"] {
        assert!(home.path().join(lake).join("_manifest").is_dir(), "{lake}");
    }
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0, "no folder `~` was made");
    // A folder of that name is asked for in another way.
    let lake = LakeDir::new();
    fs::create_dir_all(lake.path()).unwrap();
    run(sync().current_dir(lake.path()).args(["--lake", "./~"])).expect_code(0);
    assert!(lake.path().join("~/_manifest").is_dir());
}
