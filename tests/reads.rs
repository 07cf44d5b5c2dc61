//! What was committed and then changed is not used: every command that reads a committed object finds out, also when
//! the object can still be read.

use std::path::PathBuf;

use serde_json::Value;
use wdt_lake::sandbox::Status;

use crate::stop::{days_ago, flagship, partly, stop, stop_calls};
use crate::support::{LakeDir, Said, at, erp, program, program_at, run, sync};

/// The committed object of each manifest that names one of this kind, in order.
fn objects(lake: &LakeDir, pointer: &str) -> Vec<PathBuf> {
    let manifests = lake.manifests();
    let names = manifests.iter().filter_map(|manifest| manifest.pointer(pointer)?["path"].as_str());
    names.map(|name| lake.path().join(name)).collect()
}

/// The Parquet files of a table, in the order of their commits.
fn tables(lake: &LakeDir, table: &str) -> Vec<PathBuf> {
    let manifests = lake.manifests();
    let files = manifests.iter().flat_map(|manifest| manifest["files"].as_array().expect("files"));
    let names = files.filter(|file| file["table"] == table).map(|file| file["path"].as_str().expect("a path"));
    names.map(|name| lake.path().join(name)).collect()
}

#[track_caller]
fn assert_found(said: Said, object: &std::path::Path) -> Said {
    let said = said.expect_code(8);
    let name = object.file_name().and_then(|name| name.to_str()).expect("a name");
    assert!(format!("{}{}", said.stdout, said.stderr).contains(name), "{name}: {said:?}");
    said
}

/// A lake of two commits of a flagship ERP with three stale requisitions, brought up to date.
fn stale_lake() -> (wdt_lake::sandbox::Sandbox, LakeDir) {
    let sandbox = flagship(vec![partly(1, "CG1", 30), partly(2, "CG2", 20), partly(3, "CG3", 2)]);
    let lake = LakeDir::new();
    for to in [Some(days_ago(10)), None] {
        let (text, from) = (lake.text(), days_ago(40));
        let mut command = program_at(&sandbox);
        command.args(["sync", "--calls-per-minute", "0", "--lake", &text, "--from", &from]);
        command.args(to.iter().flat_map(|to| ["--to", to]));
        run(&mut command).expect_code(0);
    }
    (sandbox, lake)
}

#[test]
fn a_stop_by_rule_makes_no_call_for_a_changed_lake() {
    let (sandbox, lake) = stale_lake();
    let files = tables(&lake, "purchase_apply");
    assert!(files.len() >= 2, "{files:?}");
    // Sound Parquet, and rows of another time: what is not stale there would be stopped, and what is would not.
    let (first, last) = (&files[0], &files[files.len() - 1]);
    let (sound, other) = (std::fs::read(first).unwrap(), std::fs::read(last).unwrap());
    let calls = sandbox.world().calls().len();
    for changed in [other, sound[..sound.len() - 1].to_vec(), Vec::new()] {
        std::fs::write(first, changed).unwrap();
        for arguments in [&["--stale", "15d"][..], &["--stale", "15d", "--yes"], &["CG1"]] {
            assert_found(stop(&sandbox, &lake, arguments), first);
        }
    }
    std::fs::remove_file(first).unwrap();
    assert_found(stop(&sandbox, &lake, &["--stale", "15d", "--yes"]), first);
    assert_eq!(
        (sandbox.world().calls().len(), stop_calls(&sandbox)),
        (calls, 0),
        "nothing was asked, nothing was stopped"
    );
    let held = ["CG1", "CG2", "CG3"].map(|number| sandbox.world().lock().find(number).unwrap().status);
    assert_eq!(held, [Status::PartlyReferenced; 3]);
    std::fs::write(first, sound).unwrap();
    let shown = stop(&sandbox, &lake, &["--stale", "15d"]).expect_code(0).json();
    assert_eq!(shown["requisitions"].as_array().map(Vec::len), Some(2), "{shown}");
}

/// A lake of June with a quarantined record and kept answers.
fn june() -> (wdt_lake::sandbox::Sandbox, LakeDir) {
    let sandbox = erp(150, 20, "2026-06-30 23:59:59");
    {
        let mut world = sandbox.world().lock();
        let number = world.requisitions().next().unwrap().purchase_apply_no.clone();
        world
            .edit_at(&number, at("2026-06-20 12:00:00"), |requisition| requisition.send_raw("real_num", "\"1.23456\""));
    }
    let lake = LakeDir::new();
    for to in ["2026-06-25", "2026-06-30"] {
        let said = sync(&sandbox, &lake, &["--keep-raw", "--from", "2026-06-01", "--to", to]);
        assert!(matches!(said.code, 0 | 3), "{said:?}");
    }
    (sandbox, lake)
}

fn refresh(sandbox: &wdt_lake::sandbox::Sandbox, lake: &LakeDir) -> Said {
    sync(sandbox, lake, &["--to", "2026-06-30", "--lookback", "30d"])
}

#[test]
fn a_refresh_replaces_nothing_that_was_changed() {
    let (sandbox, lake) = june();
    let (tables, quarantined) = (tables(&lake, "purchase_apply_detail"), objects(&lake, "/quarantine"));
    let victims = [(&tables[0], std::fs::read(&tables[1]).unwrap()), (&quarantined[0], b"{}\n".to_vec())];
    for (victim, changed) in victims {
        let (sound, manifests) = (std::fs::read(victim).unwrap(), lake.manifests());
        std::fs::write(victim, &changed).unwrap();
        assert_found(refresh(&sandbox, &lake), victim);
        let named = |manifests: &[Value], path: &PathBuf| {
            manifests.iter().any(|one| one.to_string().contains(path.file_name().unwrap().to_str().unwrap()))
        };
        let later = lake.manifests();
        assert!(named(&later, victim), "it is not forgotten");
        assert!(later[manifests.len()..].iter().all(|one| {
            !one["removes"].as_array().unwrap().iter().any(|id| victim.to_str().unwrap().contains(id.as_str().unwrap()))
        }));
        assert_eq!(std::fs::read(victim).unwrap(), changed, "nor deleted");
        assert_found(run(program().args(["verify", "--lake", &lake.text()])), victim);
        std::fs::write(victim, sound).unwrap();
    }
    assert!(matches!(refresh(&sandbox, &lake).code, 0 | 3));
    run(program().args(["verify", "--lake", &lake.text()])).expect_code(0);
}

#[test]
fn a_replay_makes_nothing_of_changed_answers() {
    let (_sandbox, lake) = june();
    let raw = objects(&lake, "/raw");
    assert!(raw.len() >= 2, "{raw:?}");
    let other = std::fs::read(&raw[1]).unwrap();
    std::fs::write(&raw[0], other).unwrap();
    let rebuilt = LakeDir::new();
    let said = run(program().args(["replay", "--json", "--from-raw", &lake.text(), "--lake", &rebuilt.text()]));
    assert_found(said, &raw[0]);
    assert!(rebuilt.manifests().len() < lake.manifests().len(), "the window stays a gap");
    assert_found(run(program().args(["verify", "--lake", &lake.text()])), &raw[0]);
}

#[test]
fn a_lake_of_another_format_is_refused_with_what_to_do() {
    let (sandbox, lake) = june();
    let manifest = lake.path().join("_manifest/account=sandbox/0000000000000000/00000000000000000001.json");
    let sound = std::fs::read_to_string(&manifest).unwrap();
    for format in ["2.0", "0.10", "0.9"] {
        for field in ["format", "contract"] {
            let other = sound.replacen(&format!("\"{field}\":\"1.0\""), &format!("\"{field}\":\"{format}\""), 1);
            assert_ne!(other, sound);
            std::fs::write(&manifest, other).unwrap();
            let lake_text = lake.text();
            for arguments in [
                &["status", "--lake", &lake_text][..],
                &["files", "purchase_apply", "--lake", &lake_text],
                &["verify", "--lake", &lake_text],
                &["sync", "--calls-per-minute", "0", "--lake", &lake_text, "--to", "2026-06-30"],
            ] {
                let calls = sandbox.world().calls().len();
                let said = run(program_at(&sandbox).args(arguments)).expect_code(6);
                assert!(said.stderr.contains(format) && said.stderr.contains("hint: "), "{arguments:?} {said:?}");
                assert!(said.stderr.contains("wdt-lake sync") && said.stderr.contains("1.x"), "{arguments:?} {said:?}");
                assert_eq!(sandbox.world().calls().len(), calls, "{arguments:?}");
            }
        }
    }
    std::fs::write(&manifest, sound).unwrap();
    run(program().args(["verify", "--lake", &lake.text()])).expect_code(0);
}

#[test]
fn a_lake_whose_manifests_lie_as_before_format_1_0_is_no_empty_one() {
    // The first builds called their format 1.0 as well.
    for early in ["0.9", "1.0"] {
        refuses_manifests_in_one_folder(early);
    }
}

fn refuses_manifests_in_one_folder(early: &str) {
    let (sandbox, lake) = june();
    let root = lake.path().join("_manifest/account=sandbox");
    for manifest in lake.whole_manifests() {
        let name = format!("{:020}.json", manifest["number"].as_u64().unwrap());
        let older = manifest.to_string().replacen("\"format\":\"1.0\"", &format!("\"format\":\"{early}\""), 1);
        std::fs::write(root.join(name), older).unwrap();
    }
    std::fs::remove_dir_all(root.join(format!("{:016}", 0))).unwrap();
    let (before, lake_text) = (lake.files(), lake.text());
    for arguments in [
        &["status", "--lake", &lake_text][..],
        &["verify", "--lake", &lake_text],
        &["sync", "--calls-per-minute", "0", "--lake", &lake_text, "--from", "2026-06-01", "--to", "2026-06-30"],
    ] {
        let said = run(program_at(&sandbox).args(arguments)).expect_code(6);
        assert!(said.stderr.contains(early) && said.stderr.contains("hint: "), "{arguments:?} {said:?}");
    }
    assert_eq!(lake.files(), before, "nothing was deleted");
}

#[test]
fn a_manifest_that_names_what_is_not_the_accounts_is_refused_and_nothing_is_touched() {
    let (sandbox, lake) = june();
    let outside = lake.path().parent().unwrap().join("precious.parquet");
    std::fs::write(&outside, b"precious").unwrap();
    let newest = lake.manifests().len();
    let manifest = lake.path().join(format!("_manifest/account=sandbox/{:016}/{newest:020}.json", 0));
    let sound: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let own = sound["commits"][0]["files"][0]["path"].as_str().unwrap();
    for name in [
        "../precious.parquet".to_owned(),
        outside.to_str().unwrap().to_owned(),
        own.replace("account=sandbox", "account=other"),
        own.replace("account=sandbox", "account=sandbox/../../.."),
        own.replace('/', "%2F"),
        "_manifest/account=sandbox/0000000000000000/00000000000000000001.json".to_owned(),
        String::new(),
        "\u{1b}[2J".to_owned(),
    ] {
        let mut odd = sound.clone();
        odd["commits"][0]["files"][0]["path"] = name.clone().into();
        std::fs::write(&manifest, format!("{odd}\n")).unwrap();
        let before = lake.files();
        for said in [
            refresh(&sandbox, &lake),
            run(program().args(["files", "purchase_apply", "--lake", &lake.text()])),
            run(program().args(["status", "--lake", &lake.text()])),
            run(program().args(["verify", "--lake", &lake.text()])),
        ] {
            let said = assert_found(said, &manifest);
            assert!(!said.stderr.contains('\u{1b}') && !said.stdout.contains('\u{1b}'), "{name:?}: {said:?}");
        }
        assert_eq!((lake.files(), std::fs::read(&outside).unwrap()), (before, b"precious".to_vec()), "{name:?}");
    }
}
