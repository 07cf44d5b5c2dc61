//! Promise 9 for what stands in an answer: odd dress is read, records that share an id or none are each kept,
//! requisitions that share number and second both land, and times that readers cannot hold are kept as text. A gateway
//! of this file's own says what the sandbox would not.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::readers::ask;
use crate::support::{LakeDir, Said, program, python, run};

/// What a page was asked by.
struct Asked {
    start: String,
    end: String,
    page_no: usize,
    page_size: usize,
}

/// A gateway of enterprise's shape that lists requisitions as they are written, in the order of their modified times.
struct Fake {
    address: String,
    /// The modified time in the list, and the JSON.
    rows: Arc<Mutex<Vec<(String, String)>>>,
}

impl Fake {
    /// `dress` makes an answer of the total (of page 0) and the requisitions of a page.
    fn start(dress: impl Fn(&Asked, Option<usize>, &[String]) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/openapi2", listener.local_addr().unwrap());
        let rows: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let (held, dress) = (Arc::clone(&rows), Arc::new(dress));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, held, dress) = (stream.unwrap(), Arc::clone(&held), Arc::clone(&dress));
                std::thread::spawn(move || {
                    let Some(asked) = read(&mut stream) else { return };
                    let mut own: Vec<(String, String)> = held.lock().unwrap().clone();
                    own.retain(|(modified, _)| asked.start <= *modified && *modified <= asked.end);
                    own.sort_by(|one, other| one.0.cmp(&other.0));
                    let total = (asked.page_no == 0).then_some(own.len());
                    let page = own.into_iter().skip(asked.page_no * asked.page_size).take(asked.page_size);
                    let body = dress(&asked, total, &page.map(|(_, json)| json).collect::<Vec<_>>());
                    let head =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
                });
            }
        });
        Self { address, rows }
    }

    fn plain() -> Self {
        Self::start(|_, total, rows| plain(total, &format!("[{}]", rows.join(","))))
    }

    fn hold(&self, rows: &[(&str, String)]) {
        *self.rows.lock().unwrap() =
            rows.iter().map(|(modified, json)| ((*modified).to_owned(), json.clone())).collect();
    }

    /// A sync of May 2026, the summary as JSON.
    fn sync(&self, lake: &LakeDir, arguments: &[&str]) -> Said {
        let mut command = program();
        command
            .args(["sync", "--json", "--calls-per-minute", "0", "--max-retry-time", "2s", "--lake", &lake.text()])
            .args(["--from", "2026-05-01", "--to", "2026-05-31"])
            .args(arguments)
            .envs([
                ("WDT_EDITION", "enterprise"),
                ("WDT_SID", "acme"),
                ("WDT_APPKEY", "acme-ot"),
                ("WDT_APPSECRET", "0123456789abcdef"),
                ("WDT_BASE_URL", &self.address),
            ]);
        run(&mut command)
    }
}

fn plain(total: Option<usize>, list: &str) -> String {
    let total = total.map_or_else(String::new, |total| format!(r#""total_count":"{total}","#));
    format!(r#"{{"code":0,"message":"",{total}"purchase_list":{list}}}"#)
}

/// Reads a request to its end.
fn read(stream: &mut TcpStream) -> Option<Asked> {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    let form = loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if length.is_some_and(|length: usize| body.len() >= length) {
                break body.to_owned();
            }
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            read => request.extend_from_slice(&buffer[..read]),
        }
    };
    let fields: BTreeMap<&str, String> = form
        .split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (name, value.replace('+', " ").replace("%3A", ":").replace("%20", " ")))
        .collect();
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    Some(Asked {
        start: field("start_time"),
        end: field("end_time"),
        page_no: field("page_no").parse().unwrap_or(0),
        page_size: field("page_size").parse().unwrap_or(40),
    })
}

/// A requisition with an id as it is written, and details with these ids.
fn requisition(number: &str, apply_id: &str, modified: &str, rec_ids: &[u32]) -> String {
    let details: Vec<String> = rec_ids
        .iter()
        .map(|id| format!(r#"{{"rec_id":{id},"apply_id":{apply_id},"real_num":"{id}.0000","ref_num":"1.0000"}}"#))
        .collect();
    let id = if apply_id.is_empty() { String::new() } else { format!(r#""apply_id":{apply_id},"#) };
    format!(
        r#"{{{id}"purchase_apply_no":"{number}","status":"25","remark":"","modified":"{modified}","details_list":[{}]}}"#,
        details.join(",").replace(r#""apply_id":,"#, "")
    )
}

fn views(engine: &str, lake: &LakeDir) -> Value {
    run(program().args(["views", "--json", "--engine", engine, "--lake", &lake.text()])).expect_code(0).json()
}

/// Rows of a view, some of their columns.
fn rows(said: &Value, view: &str, columns: &[&str]) -> Vec<Vec<Value>> {
    let shown = said["views"][view].as_array().unwrap_or_else(|| panic!("{said}"));
    let mut rows: Vec<Vec<Value>> =
        shown.iter().map(|row| columns.iter().map(|column| row[*column].clone()).collect()).collect();
    rows.sort_by_key(|row| row.iter().map(|value| format!("{value:>9}")).collect::<Vec<_>>());
    rows
}

fn engines() -> Vec<&'static str> {
    if python::has_java() { vec!["duckdb", "spark"] } else { vec!["duckdb"] }
}

/// The records in quarantine.
fn quarantined(lake: &LakeDir) -> Vec<Value> {
    let files = lake.files().into_iter().filter(|name| name.starts_with("_quarantine/"));
    let texts = files.map(|name| std::fs::read_to_string(lake.path().join(name)).unwrap());
    texts.flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>()).collect()
}

fn verify(lake: &LakeDir) -> Value {
    run(program().args(["verify", "--deep", "--json", "--lake", &lake.text()])).expect_code(0).json()
}

#[test]
fn odd_dress_stops_no_account() {
    let numbers: Vec<(String, String)> =
        (0..250).map(|at| (format!("2026-05-{:02} 10:00:{:02}", 1 + at / 20, at % 20), format!("A{at:03}"))).collect();
    let held: Vec<(&str, String)> = numbers
        .iter()
        .enumerate()
        .map(|(at, (modified, number))| {
            let row = requisition(number, "7", modified, if at % 3 == 0 { &[] } else { &[1, 2] });
            let row = row.replace(r#""details_list":[]"#, r#""details_list":{}"#);
            // Raw control characters in a value, in a field of the vendor's next release, and in its name.
            let row = row.replace(r#""remark":"""#, "\"remark\":\"a\tb\r\n\u{1}c\",\"ne\tw\":[\"\u{2}\"]");
            let (before, details) = row.split_once(r#""details_list":["#).unwrap_or((&row, ""));
            let keyed = details.trim_end_matches("]}").replacen(r#"{"rec_id":1"#, r#""0":{"rec_id":1"#, 1);
            let keyed = keyed.replacen(r#"{"rec_id":2"#, r#""1":{"rec_id":2"#, 1);
            let row = if at % 3 == 1 { format!("{before}\"details_list\":{{{keyed}}}}}") } else { row };
            (modified.as_str(), row)
        })
        .collect();
    // A page behind the end has no list; of the others some are objects, and each answer says something that no edition
    // documents.
    let fake = Fake::start(|asked, total, rows| {
        let list = if rows.is_empty() {
            "null".to_owned()
        } else if asked.page_no % 2 == 0 {
            let members: Vec<String> =
                rows.iter().enumerate().map(|(at, row)| format!("\"{}\":{row}", at * 2)).collect();
            format!("{{{}}}", members.join(","))
        } else {
            format!("[{}]", rows.join(","))
        };
        plain(total, &list).replacen("\"code\":0", "\"code\":0,\"status\":\"error\",\"trace\":{\"a\":[1]}", 1)
    });
    fake.hold(&held);
    let lake = LakeDir::new();
    let summary = fake.sync(&lake, &[]).expect_code(0).json();
    assert_eq!(summary["rows"], json!({"purchase_apply": 250, "purchase_apply_detail": 332, "quarantined": 0}));
    verify(&lake);
    for engine in engines() {
        let said = ask(engine, &[], Some(&views(engine, &lake)));
        let shown = rows(&said, "purchase_apply_latest", &["purchase_apply_no", "remark", "extra"]);
        assert_eq!(shown.len(), 250, "{engine}");
        for ((_, number), row) in numbers.iter().zip(&shown) {
            let extra: Value = serde_json::from_str(row[2].as_str().unwrap()).unwrap();
            assert_eq!(row[..2], [json!(number), json!("a\tb\r\n\u{1}c")], "{engine}");
            assert_eq!(extra, json!({"ne\tw": ["\u{2}"]}), "{engine}");
        }
        assert_eq!(rows(&said, "purchase_apply_detail_latest", &["rec_id"]).len(), 332, "{engine}");
    }
}

#[test]
fn six_broken_records_of_one_id_or_none_are_six_lines() {
    for ids in ["123456", "000000", "777777", "------"] {
        let second = "2026-05-03 10:00:00";
        let broken = |from: usize| -> Vec<(&str, String)> {
            let of = |at: usize| {
                let id = ids[at..=at].replace('-', "");
                let row = requisition(&format!("A{at}"), &id, "", &[10 + u32::try_from(at).unwrap()]);
                (second, row)
            };
            (from..6).map(of).chain([(second, requisition("GOOD", "99", second, &[1]))]).collect()
        };
        let (fake, lake) = (Fake::plain(), LakeDir::new());
        fake.hold(&broken(0));
        let numbers = |lake: &LakeDir| {
            let mut numbers: Vec<Value> =
                quarantined(lake).iter().map(|line| line["purchase_apply_no"].clone()).collect();
            numbers.sort_by_key(Value::to_string);
            numbers
        };
        let all = ["A0", "A1", "A2", "A3", "A4", "A5"].map(Value::from).to_vec();
        let summary = fake.sync(&lake, &[]).expect_code(3).json();
        assert_eq!((&summary["rows"]["purchase_apply"], numbers(&lake)), (&1.into(), all.clone()), "{ids}");

        // After a refresh too, whether they stand in the list still or not.
        fake.sync(&lake, &["--refresh-quarantined"]).expect_code(3);
        assert_eq!(numbers(&lake), all, "{ids}");
        fake.hold(&broken(4));
        fake.sync(&lake, &["--refresh-quarantined"]).expect_code(3);
        assert_eq!(numbers(&lake), all, "{ids}");
        // One can be read again.
        let mut rows = broken(4);
        let mended = requisition("A4", &ids[4..5].replace('-', ""), second, &[14]);
        rows[0] = (second, mended);
        fake.hold(&rows);
        fake.sync(&lake, &["--refresh-quarantined"]).expect_code(3);
        let left: Vec<Value> = all.iter().filter(|number| *number != "A4").cloned().collect();
        // Where all share an id, nobody can tell which of them it was.
        assert!(numbers(&lake) == left || (ids == "777777" && numbers(&lake) == ["A5"]), "{ids}: {:?}", numbers(&lake));
        verify(&lake);

        let pages = tempfile::tempdir().unwrap();
        let list: Vec<String> = broken(0).into_iter().map(|(_, row)| row).collect();
        std::fs::write(pages.path().join("page_1.json"), plain(None, &format!("[{}]", list.join(",")))).unwrap();
        let lake = LakeDir::new();
        replay(&pages, &lake).expect_code(3);
        assert_eq!(numbers(&lake), all, "{ids}");
    }
}

/// Makes a lake of page files.
fn replay(pages: &tempfile::TempDir, lake: &LakeDir) -> Said {
    let pages = pages.path().to_str().unwrap();
    let place =
        ["replay", "--json", "--pages", pages, "--lake", &lake.text(), "--account", "acme", "--edition", "enterprise"];
    run(program().args(place))
}

#[test]
fn requisitions_that_share_number_and_second_both_land() {
    let (early, late) = ("2026-05-02 09:00:00", "2026-05-03 10:00:00");
    let (fake, lake) = (Fake::plain(), LakeDir::new());
    let one = (late, requisition("A", "1", late, &[5, 6]));
    let nine = (late, requisition("A", "9", late, &[7]));
    let older = (early, requisition("A", "1", early, &[3]));
    let other = (late, requisition("B", "0", late, &[8]));
    fake.hold(&[nine.clone(), one.clone(), older.clone(), other.clone()]);
    fake.sync(&lake, &[]).expect_code(0);
    let check = |what: &str, engines: &[&'static str]| {
        let checked = verify(&lake);
        assert_eq!(checked["total_mismatches"], Value::Null, "{what}: {checked}");
        for &engine in engines {
            let said = ask(engine, &[], Some(&views(engine, &lake)));
            let shown = rows(&said, "purchase_apply_latest", &["purchase_apply_no", "apply_id"]);
            assert_eq!(
                shown,
                [[json!("A"), json!(1)], [json!("A"), json!(9)], [json!("B"), json!(0)]],
                "{what}, {engine}"
            );
            let shown = rows(&said, "purchase_apply_detail_latest", &["purchase_apply_no", "apply_id", "rec_id"]);
            let details = [("A", 1, 5), ("A", 1, 6), ("A", 9, 7), ("B", 0, 8)];
            assert_eq!(
                shown,
                details.map(|(number, id, rec_id)| [json!(number), json!(id), json!(rec_id)]),
                "{what}, {engine}"
            );
            let shown = rows(&said, "purchase_apply_open", &["purchase_apply_no", "apply_id", "open_num"]);
            let open = [("A", 1, "9.0000"), ("A", 9, "6.0000"), ("B", 0, "7.0000")];
            assert_eq!(
                shown,
                open.map(|(number, id, open)| [json!(number), json!(id), json!(open)]),
                "{what}, {engine}"
            );
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let known = runtime.block_on(async {
            let store = wdt_lake::Store::open(&lake.text(), wdt_lake::Access::Read).unwrap();
            let lake = wdt_lake::Lake::open(store, "acme".parse().unwrap()).await.unwrap();
            wdt_lake::latest(&lake, &["A".to_owned(), "B".to_owned()].into()).await.unwrap()
        });
        let open = |number: &str| known[number].iter().map(|known| known.header.open_scaled).collect::<Vec<_>>();
        assert_eq!((open("A"), open("B")), (vec![Some(90_000), Some(60_000)], vec![Some(70_000)]), "{what}");
    };
    check("first", &engines());
    // Each of them leaves the window in its turn.
    for (what, left) in
        [("9 left", vec![one.clone(), other.clone()]), ("1 left", vec![nine.clone()]), ("all left", vec![])]
    {
        fake.hold(&left);
        fake.sync(&lake, &["--lookback", "31d"]).expect_code(0);
        check(what, &["duckdb"]);
    }
    // A glob may see the replaced files beside the new ones.
    let before = lake.copy();
    fake.hold(&[nine, other, older, one]);
    fake.sync(&lake, &["--lookback", "31d"]).expect_code(0);
    for table in ["purchase_apply", "purchase_apply_detail"] {
        crate::support::copy_folder(&before.path().join(table), &lake.path().join(table));
    }
    let said = ask("duckdb", &[], Some(&views("duckdb", &lake)));
    assert_eq!(rows(&said, "purchase_apply_latest", &["apply_id"]), [[json!(0)], [json!(1)], [json!(9)]]);
    assert_eq!(rows(&said, "purchase_apply_detail_latest", &["rec_id"]).len(), 4);
}

#[test]
fn a_version_that_lands_with_an_id_and_without_is_said() {
    let second = "2026-05-03 10:00:00";
    let (fake, lake) = (Fake::plain(), LakeDir::new());
    fake.hold(&[(second, requisition("A", "4", second, &[5])), (second, requisition("A", "", second, &[5]))]);
    let summary = fake.sync(&lake, &[]).expect_code(0).json();
    assert_eq!((&summary["landed_with_and_without_id"], &summary["rows"]["purchase_apply"]), (&1.into(), &2.into()));
    verify(&lake);
    let said = ask("duckdb", &[], Some(&views("duckdb", &lake)));
    let shown = rows(&said, "purchase_apply_detail_latest", &["purchase_apply_no", "apply_id", "rec_id"]);
    assert_eq!(shown, [[json!("A"), json!(4), json!(5)], [json!("A"), Value::Null, json!(5)]]);
}

#[test]
fn times_that_readers_cannot_hold_are_null_and_kept() {
    let (fake, lake) = (Fake::plain(), LakeDir::new());
    let second = "2026-05-03 10:00:00";
    let with = |number: &str, more: &str| {
        let row = requisition(number, "1", second, &[5]);
        (second, row.replace("\"status\"", &format!("{more},\"status\"")))
    };
    fake.hold(&[
        with("A", r#""created":"0001-01-01 00:00:00","expected_time":"1900-01-01""#),
        with("B", r#""created":"1900-01-01 08:00:00","expected_time":"9999-12-31 23:59:59""#),
        with("C", r#""created":"10000-01-01 00:00:00","expected_time":"0000-00-00""#),
        with("D", "\"remark\":\"\",\"remark\":\"x\"").clone(),
    ]);
    let said = fake.sync(&lake, &[]).expect_code(3);
    let summary = said.json();
    assert_eq!((&summary["unreadable_times"], &summary["rows"]["purchase_apply"]), (&3.into(), &3.into()));
    let lake_of_text = LakeDir::new();
    let mut command = program();
    command.args(["sync", "--lake", &lake_of_text.text(), "--from", "2026-05-01", "--to", "2026-05-31"]).envs([
        ("WDT_EDITION", "enterprise"),
        ("WDT_SID", "acme"),
        ("WDT_APPKEY", "acme-ot"),
        ("WDT_APPSECRET", "0123456789abcdef"),
        ("WDT_BASE_URL", &fake.address),
    ]);
    let text = run(&mut command).expect_code(3).stdout;
    assert!(text.contains("3 times before 1900 or after 9999 kept as text in `extra`"), "{text}");

    let (pages, of_pages) = (tempfile::tempdir().unwrap(), LakeDir::new());
    let held: Vec<String> = fake.rows.lock().unwrap().iter().map(|(_, row)| row.clone()).collect();
    std::fs::write(pages.path().join("page_1.json"), plain(None, &format!("[{}]", held.join(",")))).unwrap();
    assert_eq!(replay(&pages, &of_pages).expect_code(3).json()["accounts"][0]["unreadable_times"], 3);

    // The first second of 1900 and the last of 9999 in Beijing, in UTC.
    let (first, last) = (-2_208_988_800_000_000_i64, 253_402_271_999_000_000_i64);
    let mut readers = vec!["duckdb", "pyarrow", "polars"];
    readers.extend(python::has_java().then_some("spark"));
    for reader in readers {
        let views = ["duckdb", "spark"].contains(&reader).then(|| views(reader, &lake));
        let said = ask(reader, &[&lake], views.as_ref());
        let instants = &said["lakes"][0]["purchase_apply"]["instants"];
        assert_eq!(
            (&instants["created"], &instants["expected_time"]),
            (&json!([first, first]), &json!([last, last])),
            "{reader}"
        );
        if views.is_none() {
            continue;
        }
        let shown = rows(&said, "purchase_apply_latest", &["purchase_apply_no", "created", "expected_time", "extra"]);
        let extra = r#"{"created":"0001-01-01 00:00:00","expected_time":"1900-01-01"}"#;
        assert_eq!(shown[0], [json!("A"), Value::Null, Value::Null, json!(extra)], "{reader}");
        assert_eq!(shown[1], [json!("B"), json!(first), json!(last), Value::Null], "{reader}");
        let extra = r#"{"created":"10000-01-01 00:00:00"}"#;
        assert_eq!(shown[2], [json!("C"), Value::Null, Value::Null, json!(extra)], "{reader}");
    }
}

#[test]
fn views_over_tables_without_a_file_are_empty_and_say_so() {
    let second = "2026-05-03 10:00:00";
    let lake_of = |rows: &[String]| {
        let (pages, lake) = (tempfile::tempdir().unwrap(), LakeDir::new());
        std::fs::write(pages.path().join("page_1.json"), plain(None, &format!("[{}]", rows.join(",")))).unwrap();
        replay(&pages, &lake).expect_code(0);
        lake
    };
    let nothing = LakeDir::new();
    std::fs::create_dir_all(nothing.path()).unwrap();
    let full = lake_of(&[requisition("A", "1", second, &[5])]);
    for engine in engines() {
        let of_full = ask(engine, &[], Some(&views(engine, &full)));
        for (lake, missing, headers) in [
            (lake_of(&[requisition("A", "1", second, &[])]), "of purchase_apply_detail yet", 1),
            (lake_of(&[]), "of purchase_apply and of purchase_apply_detail yet", 0),
            (nothing.copy(), "of purchase_apply and of purchase_apply_detail yet", 0),
        ] {
            let script = run(program().args(["views", "--engine", engine, "--lake", &lake.text()])).expect_code(0);
            let first = script.stdout.lines().next().unwrap();
            for said in [first, &script.stderr] {
                assert!(
                    said.contains(missing) && said.contains("make this script again after the first rows"),
                    "{said}"
                );
            }
            assert!(first.starts_with("-- "), "{first}");
            let sql = views(engine, &lake);
            assert!(first.contains(sql["note"].as_str().unwrap()));
            if engine == "spark" && lake.files().is_empty() {
                // Its statements are those of the lake with a log and nothing else.
                continue;
            }
            let said = ask(engine, &[], Some(&sql));
            assert_eq!(said["views"]["purchase_apply_latest"].as_array().unwrap().len(), headers, "{engine}");
            assert_eq!(said["views"]["purchase_apply_open"].as_array().unwrap().len(), headers, "{engine}");
            assert_eq!(said["views"]["purchase_apply_detail_latest"], json!([]), "{engine}");
            assert_eq!(said["view_types"], of_full["view_types"], "{engine}: the same types as of a lake with files");
        }
        let script = run(program().args(["views", "--engine", engine, "--lake", &full.text()])).expect_code(0);
        assert!(script.stderr.is_empty() && !script.stdout.contains("Note"), "{}", script.stderr);
        assert_eq!(views(engine, &full)["note"], Value::Null);
    }
}
