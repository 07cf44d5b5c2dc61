//! `--compression snappy` is what files are written with, by every command that writes files; the default is zstd.

use std::collections::BTreeSet;
use std::fs::File;

use parquet::basic::Compression;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use crate::support::{LakeDir, check_with_readers, erp, program, run, sync};

/// The codecs of a file, of all its columns.
fn codecs(lake: &LakeDir, name: &str) -> BTreeSet<String> {
    let reader = SerializedFileReader::new(File::open(lake.path().join(name)).unwrap()).unwrap();
    let columns = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
    let name =
        |codec: Compression| if matches!(codec, Compression::ZSTD(_)) { "zstd".to_owned() } else { codec.to_string() };
    columns.map(|column| name(column.compression())).collect()
}

/// The files of a lake, each with its codecs.
fn files(lake: &LakeDir) -> Vec<(String, BTreeSet<String>)> {
    let names = lake.files().into_iter().filter(|name| name.ends_with(".parquet"));
    names.map(|name| (name.clone(), codecs(lake, &name))).collect()
}

/// Every file that is not one of those `before` has this codec and no other; gives how many these are.
#[track_caller]
fn assert_written_with(codec: &str, lake: &LakeDir, before: &[(String, BTreeSet<String>)]) -> usize {
    let new: Vec<_> = files(lake).into_iter().filter(|file| !before.contains(file)).collect();
    assert!(new.iter().all(|(_, codecs)| *codecs == BTreeSet::from([codec.to_owned()])), "{new:?}");
    assert!(!new.is_empty());
    new.len()
}

#[test]
fn files_have_the_compression_that_was_asked_for() {
    let (sandbox, lake) = (erp(200, 40, "2026-07-20 23:59:59"), LakeDir::new());
    let text = lake.text();
    // A month that is over and has more than four commits is put together.
    for to in ["2026-06-14", "2026-06-17", "2026-06-20", "2026-06-23", "2026-06-26", "2026-06-30"] {
        let snappy = ["--from", "2026-06-11", "--to", to, "--compact", "off", "--compression", "snappy", "--keep-raw"];
        sync(&sandbox, &lake, &snappy).expect_code(0);
    }
    assert!(assert_written_with("SNAPPY", &lake, &[]) >= 12);

    let mut before = files(&lake);
    let compact = |more: &[&str]| run(program().args(["compact", "--lake", &text]).args(more)).expect_code(0);
    compact(&[]);
    assert_written_with("zstd", &lake, &before);

    // What an expire keeps of its months, it writes anew.
    before = files(&lake);
    run(program().args(["expire", "--before", "2026-07", "--yes", "--lake", &text, "--compression", "snappy"]))
        .expect_code(0);
    assert_written_with("SNAPPY", &lake, &before);

    for to in ["2026-07-03", "2026-07-06", "2026-07-09", "2026-07-12", "2026-07-15", "2026-07-20"] {
        sync(&sandbox, &lake, &["--to", to, "--compact", "off", "--keep-raw"]).expect_code(0);
    }
    before = files(&lake);
    compact(&["--compression", "snappy"]);
    assert_written_with("SNAPPY", &lake, &before);
    run(program().args(["verify", "--deep", "--lake", &text])).expect_code(0);
}

#[test]
fn a_lake_of_snappy_is_read_and_replayed() {
    let (sandbox, lake, anew) = (erp(200, 40, "2026-07-20 23:59:59"), LakeDir::new(), LakeDir::new());
    sync(&sandbox, &lake, &["--from", "2026-06-11", "--to", "2026-07-20", "--keep-raw", "--compression", "snappy"])
        .expect_code(0);
    let versions = sandbox.world().lock().journal().versions().to_vec();
    check_with_readers(&sandbox, &lake, &versions);
    for (codec, more) in [("SNAPPY", &["--compression", "snappy"][..]), ("zstd", &[])] {
        let _ = std::fs::remove_dir_all(anew.path());
        let mut replay = program();
        replay.args(["replay", "--from-raw", &lake.text(), "--lake", &anew.text()]).args(more);
        run(&mut replay).expect_code(0);
        assert_written_with(codec, &anew, &[]);
        check_with_readers(&sandbox, &anew, &versions);
    }
}
