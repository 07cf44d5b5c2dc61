//! Promise 5 where answers are large on purpose or by accident: whatever a gateway sends and page files hold, the
//! program stays within `--max-memory`, and what is sound lands.
//!
//! The program is the debug build, which takes some MiB more than a release does: its code is larger. The peak is the
//! kernel's own count of the whole process, code included.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wdt_lake::Edition;

use crate::support::fake::{Connection, Fake, ok};
use crate::support::peak::run_measured;
use crate::support::{LakeDir, Said, erp, erp_of, program, program_at, run};

const MIB: usize = 1 << 20;
const MAX_MEMORY: &str = "64MiB";
/// A quarter above what is asked for.
pub(crate) const MOST_BYTES: u64 = 80 << 20;

/// Runs the program, which must end with `code` and within the memory.
#[track_caller]
pub(crate) fn within_memory(command: &mut Command, code: i32) -> Option<Said> {
    let (said, peak) = run_measured(command.args(["--json", "--max-memory", MAX_MEMORY]))?;
    let said = said.expect_code(code);
    assert!(peak <= MOST_BYTES, "a peak of {} KiB: {said:?}", peak >> 10);
    Some(said)
}

/// What a page was asked by.
#[derive(Clone, Debug)]
struct Asked {
    start: String,
    end: String,
    page_no: usize,
    page_size: usize,
}

/// A text that is written without ever being whole in memory.
enum Piece {
    Text(String),
    /// So many bytes of one letter.
    Fill(u8, usize),
}

impl Piece {
    fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Fill(_, length) => *length,
        }
    }
}

/// Writes a response, until nobody takes it any more.
fn write(stream: &mut dyn Connection, says_length: SaysLength, pieces: &[Piece]) {
    let length = match says_length {
        SaysLength::Yes => format!("Content-Length: {}\r\n", pieces.iter().map(Piece::length).sum::<usize>()),
        SaysLength::No => String::new(),
    };
    let head = format!("HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n");
    let mut chunk = Vec::new();
    let mut write_all = || -> std::io::Result<()> {
        stream.write_all(head.as_bytes())?;
        for piece in pieces {
            match piece {
                Piece::Text(text) => stream.write_all(text.as_bytes())?,
                Piece::Fill(letter, length) => {
                    chunk.clear();
                    chunk.resize(MIB.min(*length), *letter);
                    let mut left = *length;
                    while left > 0 {
                        let taken = left.min(chunk.len());
                        stream.write_all(&chunk[..taken])?;
                        left -= taken;
                    }
                }
            }
        }
        Ok(())
    };
    // Whoever has had enough hangs up.
    drop(write_all());
}

#[derive(Clone, Copy, Debug)]
enum SaysLength {
    Yes,
    No,
}

/// A page of the requisitions that the gateway lists, one a minute; each has a remark of so many bytes.
fn page(remarks: &[usize], asked: &Asked) -> Vec<Piece> {
    let modified = |at: usize| format!("2026-05-03 {:02}:{:02}:00", at / 60, at % 60);
    let is_asked_for = |at: &usize| (asked.start.as_str()..=asked.end.as_str()).contains(&modified(*at).as_str());
    let rows: Vec<usize> = (0..remarks.len()).filter(is_asked_for).collect();
    let total = if asked.page_no == 0 { format!(r#""total_count":"{}","#, rows.len()) } else { String::new() };
    let mut pieces = vec![Piece::Text(format!(r#"{{"code":0,"message":"",{total}"purchase_list":["#))];
    for (place, at) in rows.into_iter().skip(asked.page_no * asked.page_size).take(asked.page_size).enumerate() {
        let comma = if place == 0 { "" } else { "," };
        pieces.push(Piece::Text(format!(
            r#"{comma}{{"apply_id":{id},"purchase_apply_no":"A{at}","status":"25","modified":"{modified}",
            "details_list":[{{"rec_id":{id},"real_num":"2.0000"}}],"remark":""#,
            id = at + 1,
            modified = modified(at),
        )));
        pieces.push(Piece::Fill(b'x', remarks[at]));
        pieces.push(Piece::Text("\"}".to_owned()));
    }
    pieces.push(Piece::Text("]}".to_owned()));
    pieces
}

/// Lists requisitions with these remarks, but where `odd` has answered.
fn gateway(remarks: Vec<usize>, odd: impl Fn(&Asked, &mut dyn Connection) -> Answered + Send + Sync + 'static) -> Fake {
    Fake::hearing(move |request, stream| {
        let form = request.split_once("\r\n\r\n").expect("a request").1;
        let fields: HashMap<_, _> = form_urlencoded::parse(form.as_bytes()).collect();
        let number = |name| fields[name].parse().expect("a number");
        let (start, end) = (fields["start_time"].to_string(), fields["end_time"].to_string());
        let asked = Asked { start, end, page_no: number("page_no"), page_size: number("page_size") };
        if matches!(odd(&asked, stream), Answered::No) {
            write(stream, SaysLength::Yes, &page(&remarks, &asked));
        }
    })
}

enum Answered {
    Yes,
    No,
}

/// A sync of the day on which everything stands.
fn sync(fake: &Fake, lake: &LakeDir) -> Command {
    let mut command = program();
    command.args(["sync", "--calls-per-minute", "0", "--from", "2026-05-03", "--to", "2026-05-03", "--lake"]);
    command.arg(lake.path()).envs([
        ("WDT_EDITION", "enterprise"),
        ("WDT_SID", "acme"),
        ("WDT_APPKEY", "acme-ot"),
        ("WDT_APPSECRET", "0123456789abcdef"),
        ("WDT_BASE_URL", &fake.url()),
    ]);
    command
}

const PARTY: usize = 4;

/// Lets the first four who come wait until all of them are there.
#[derive(Default)]
struct Meeting {
    here: Mutex<usize>,
    came: Condvar,
    /// For each of the four whether all were there in time.
    met: Mutex<Vec<bool>>,
}

impl Meeting {
    /// Gives whether it is one of the four.
    fn attend(&self) -> bool {
        let mut here = self.here.lock().expect("no panic");
        if *here == PARTY {
            return false;
        }
        *here += 1;
        self.came.notify_all();
        let waited = self.came.wait_timeout_while(here, Duration::from_secs(60), |here| *here < PARTY);
        self.met.lock().expect("no panic").push(!waited.expect("no panic").1.timed_out());
        true
    }
}

/// Six pages, of which four are asked for at once and meet `write_odd` all together.
fn four_at_once(write_odd: impl Fn(&mut dyn Connection) + Send + Sync + 'static) {
    let meeting = Arc::new(Meeting::default());
    let attended = Arc::clone(&meeting);
    let fake = gateway(vec![10; 550], move |asked, stream| {
        if asked.page_size < 100 || !(1..=PARTY).contains(&asked.page_no) || !attended.attend() {
            return Answered::No;
        }
        write_odd(stream);
        Answered::Yes
    });
    let lake = LakeDir::new();
    let Some(said) = within_memory(&mut sync(&fake, &lake), 0) else { return };
    assert_eq!(*meeting.met.lock().expect("no panic"), [true; PARTY], "four at once");
    assert_eq!(said.json()["rows"], json!({"purchase_apply": 550, "purchase_apply_detail": 550, "quarantined": 0}));
    verify(&lake);
}

fn verify(lake: &LakeDir) {
    run(program().args(["verify", "--deep", "--lake", &lake.text()])).expect_code(0);
}

#[test]
fn four_answers_of_240_mib_at_once() {
    for says_length in [SaysLength::Yes, SaysLength::No] {
        four_at_once(move |stream| {
            write(stream, says_length, &[Piece::Text("{".to_owned()), Piece::Fill(b' ', 240 * MIB)]);
        });
    }
}

#[test]
fn four_pages_of_a_proxy_of_240_mib_at_once() {
    for says_length in [SaysLength::Yes, SaysLength::No] {
        four_at_once(move |stream| {
            write(stream, says_length, &[Piece::Text("<html>".to_owned()), Piece::Fill(b'a', 240 * MIB)]);
        });
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).expect("compressed");
    encoder.finish().expect("compressed")
}

/// Half a megabyte that becomes 512 MiB, in one member of gzip or in many.
#[test]
fn four_gzip_bombs_at_once() {
    let mebibyte = gzip(&vec![b' '; MIB]);
    let mut encoder = flate2::write::GzEncoder::new(gzip(b"{"), flate2::Compression::fast());
    (0..512).for_each(|_| encoder.write_all(&[b' '; MIB]).expect("compressed"));
    let of_one = encoder.finish().expect("compressed");
    let of_many = [gzip(b"{"), mebibyte.repeat(512)].concat();
    for bomb in [of_one, of_many] {
        assert!(bomb.len() < 4 * MIB, "{}", bomb.len());
        four_at_once(move |stream| drop(stream.write_all(&ok(&bomb))));
    }
}

/// Of pages that cannot be read nothing waits in memory until they are asked for in smaller ones.
#[test]
fn nine_broken_pages_of_7_mib() {
    let fake = gateway(vec![10; 1_050], |asked, stream| {
        if asked.page_size < 100 || !(1..=9).contains(&asked.page_no) {
            return Answered::No;
        }
        write(stream, SaysLength::Yes, &[Piece::Text("{".to_owned()), Piece::Fill(b'x', 7 * MIB)]);
        Answered::Yes
    });
    let lake = LakeDir::new();
    let Some(said) = within_memory(&mut sync(&fake, &lake), 0) else { return };
    assert_eq!(said.json()["rows"]["purchase_apply"], 1_050);
    verify(&lake);
}

/// It is narrowed to the record, which goes to quarantine with its place and size; all others land.
#[test]
fn a_record_of_100_mib_among_sound_ones() {
    let place = 137;
    let mut remarks = vec![10; 230];
    remarks[place] = 100 * MIB;
    let (fake, lake) = (gateway(remarks, |_, _| Answered::No), LakeDir::new());
    let Some(said) = within_memory(&mut sync(&fake, &lake), 3) else { return };
    let rows = json!({"purchase_apply": 229, "purchase_apply_detail": 229, "quarantined": 1});
    assert_eq!(said.json()["rows"], rows);
    let held = lake.files().into_iter().find(|name| name.starts_with("_quarantine/")).expect("a quarantine");
    let held: Value = serde_json::from_slice(&std::fs::read(lake.path().join(held)).expect("read")).expect("a line");
    let told = ["reason", "page_no", "page_size", "raw"].map(|name| held[name].clone());
    assert_eq!(told, [json!("unreadable"), json!(place), json!(1), json!("")]);
    let message = held["message"].as_str().expect("a message");
    let size: usize =
        message.split_once('(').and_then(|(_, size)| size.split_once(" bytes)")?.0.parse().ok()).expect("a size");
    assert!((100 * MIB..101 * MIB).contains(&size), "{message}");
    verify(&lake);
}

#[test]
fn a_plain_sync() {
    let (sandbox, lake) = (erp(20_000, 60, "2026-06-30 23:59:59"), LakeDir::new());
    let mut command = program_at(&sandbox);
    command.args(["sync", "--calls-per-minute", "0", "--from", "2026-05-02", "--to", "2026-06-30", "--lake"]);
    let Some(said) = within_memory(command.arg(lake.path()), 0) else { return };
    assert_eq!(said.json()["rows"]["purchase_apply"], 20_000);
}

/// Writes so many files of a megabyte, whose requisitions are all different.
fn write_pages(folder: &Path, files: usize, edition: Edition) {
    let sandbox = erp_of(edition, 800, 20, "2026-06-30 23:59:59");
    let dialect = sandbox.dialect();
    let mut page = match edition {
        Edition::Flagship => r#"{"status":0,"data":{"order_list":["#.to_owned(),
        _ => r#"{"code":0,"purchase_list":["#.to_owned(),
    };
    for version in sandbox.world().lock().journal().versions() {
        if page.len() < MIB {
            page += &version.to_json(dialect);
            page.push(',');
        }
    }
    page.pop();
    page += if edition == Edition::Flagship { "]}}" } else { "]}" };
    assert!(page.len() > MIB);
    let number = r#""purchase_apply_no":""#;
    for file in 0..files {
        let page = page.replace(number, &format!("{number}{file}-"));
        std::fs::write(folder.join(format!("page_{file:03}.json")), page).expect("written");
    }
}

/// Replays 300 files of one edition as those of another. Gives how many requisitions landed and how many lines went to
/// quarantine.
fn replay(of: Edition, taken_for: Edition, code: i32) -> Option<(u64, u64)> {
    let (folder, lake) = (TempDir::new().expect("a folder"), LakeDir::new());
    write_pages(folder.path(), 300, of);
    let mut command = program();
    command.args(["replay", "--account", "acme", "--edition", taken_for.name(), "--pages"]);
    let said = within_memory(command.arg(folder.path()).arg("--lake").arg(lake.path()), code)?;
    let rows = &said.json()["accounts"][0]["rows"];
    let count = |name: &str| rows[name].as_u64().expect("a count");
    Some((count("purchase_apply"), count("quarantined")))
}

#[test]
fn page_files_of_an_edition_that_lists_elsewhere() {
    let Some(counted) = replay(Edition::Flagship, Edition::Enterprise, 3) else { return };
    assert_eq!(counted, (0, 300), "each file is a line of quarantine");
}

/// Editions of one protocol read each other's pages: these land.
#[test]
fn page_files_of_an_edition_that_is_read_all_the_same() {
    let Some((landed, quarantined)) = replay(Edition::Y, Edition::Enterprise, 0) else { return };
    assert!(landed > 100_000 && quarantined == 0, "{landed} landed, {quarantined} in quarantine");
}

#[test]
fn an_export_of_the_latest_versions() {
    let (folder, lake) = (TempDir::new().expect("a folder"), LakeDir::new());
    write_pages(folder.path(), 120, Edition::Enterprise);
    let mut command = program();
    command.args(["replay", "--account", "acme", "--edition", "enterprise", "--pages"]);
    run(command.arg(folder.path()).arg("--lake").arg(lake.path())).expect_code(0);
    for (table, option, name) in [
        ("purchase_apply", "--latest", "latest.parquet"),
        ("purchase_apply", "--open", "open.arrow"),
        ("purchase_apply_detail", "--latest", "details.csv"),
        ("purchase_apply_detail", "--open", "details.parquet"),
    ] {
        let mut command = program();
        command.args(["export", table, option, "--json", "--lake", &lake.text(), "--out"]);
        let Some((said, peak)) = run_measured(command.arg(folder.path().join(name))) else { return };
        let rows = said.expect_code(0).json()["rows"].as_u64().expect("a count");
        assert!(rows > 10_000, "{name}: {rows} rows");
        assert!(peak <= MOST_BYTES, "{name}: a peak of {} KiB for {rows} rows", peak >> 10);
    }
}
