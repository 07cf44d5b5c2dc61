//! What a commit holds after a refresh of some of its seconds, from pages to rows and lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, ArrayRef, StringArray};
use arrow_schema::{Schema, SchemaRef};
use proptest::prelude::*;

use super::*;
use crate::edition::Edition;
use crate::id::{CommitId, RunId};
use crate::transform::{PageContext, PageDecoder, assemble};

/// The second of a minute of an hour.
fn at(minute: u32) -> BeijingTime {
    BeijingTime::parse(&format!("2026-06-01 10:{minute:02}:00")).expect("a time")
}

fn minutes(first: u32, last: u32) -> Window {
    Window::new(at(first), at(last)).expect("a window")
}

fn hour() -> Window {
    minutes(0, 59)
}

/// What a walk of `requested` returns, by a run of its own.
fn read(edition: Edition, requested: Window, list: &[String]) -> WindowRows {
    let name = if edition == Edition::Flagship { "order_list" } else { "purchase_list" };
    let body = format!(r#"{{"code":0,"status":0,"{name}":[{}]}}"#, list.join(","));
    let decoder = PageDecoder::new(edition, RunId::generate()).expect("decoder");
    let context = PageContext { window: Some(requested), page_no: 0, page_size: 100, received_at_micros: 7 };
    let page = decoder.decode(body.as_bytes(), &context).expect("a page");
    let selected: Vec<_> = (0..page.rows().len()).map(|row| (0, row)).collect();
    assemble([page], &selected).expect("rows")
}

fn enterprise(list: &[&str]) -> WindowRows {
    read(Edition::Enterprise, hour(), &list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
}

/// A commit as its files and lines have it.
#[derive(Clone, Debug, Default)]
struct Held {
    headers: Vec<RecordBatch>,
    details: Vec<RecordBatch>,
    lines: Vec<String>,
}

impl Held {
    /// One that landed what a walk returned.
    fn of(fresh: &WindowRows) -> Self {
        let lines = fresh.quarantined.iter().map(|record| record.to_json_line()).collect();
        let mut held = Self { lines, ..Self::default() };
        held.land(&fresh.headers, &fresh.details);
        held
    }

    /// Adds rows under a new commit's id, as files give them back: in small batches.
    fn land(&mut self, headers: &RecordBatch, details: &RecordBatch) {
        let (contract, commit) = (Contract::get().expect("a contract"), CommitId::generate().to_string());
        let landed = |rows: &RecordBatch, schema: SchemaRef| {
            let ids: ArrayRef = Arc::new(StringArray::new_repeated(&commit, rows.num_rows()));
            let rows = RecordBatch::try_new(schema, [rows.columns(), &[ids]].concat()).expect("rows");
            (0..rows.num_rows()).map(|row| rows.slice(row, 1)).collect::<Vec<_>>()
        };
        self.headers.extend(landed(headers, contract.headers().schema()));
        self.details.extend(landed(details, contract.details().schema()));
    }

    fn old_rows(&self, walked: &[Window]) -> OldRows {
        let mut old = OldRows::new(hour(), walked.iter().copied());
        for (table, batches) in [(Table::PurchaseApply, &self.headers), (Table::PurchaseApplyDetail, &self.details)] {
            batches.iter().for_each(|batch| old.take_in(table, batch).expect("taken in"));
        }
        old
    }

    /// The commit that takes its place, and what became of its rows.
    fn refreshed(&self, walked: &[Window], fresh: &WindowRows) -> (Self, Reconciled) {
        let found = reconcile(fresh, &self.old_rows(walked), &self.lines, Unchanged::Keep).expect("reconciled");
        let kept = |batches: &[RecordBatch], modified: &str| {
            let kept = batches.iter().map(|batch| {
                let keep = found.replaced.keep(batch, modified).expect("a mask");
                filter_record_batch(batch, &keep).expect("rows")
            });
            kept.filter(|batch| batch.num_rows() > 0).collect::<Vec<_>>()
        };
        let mut next = Self {
            headers: kept(&self.headers, "modified"),
            details: kept(&self.details, "apply_modified"),
            lines: found.quarantined.clone(),
        };
        let dropped = self.headers.len() - next.headers.len();
        assert_eq!(dropped as u64, found.changes.replaced_headers());
        assert_eq!(found.replaced.is_empty(), dropped == 0);
        next.land(&found.headers, &found.details);
        (next, found)
    }

    /// Every value of every row, sorted.
    fn rows(&self) -> Vec<String> {
        let row = |batch: &RecordBatch| {
            let values = batch.columns().iter().map(|column| format!("{column:?}"));
            values.collect::<Vec<_>>().join("|")
        };
        let mut rows: Vec<String> = self.headers.iter().chain(&self.details).map(row).collect();
        rows.sort();
        rows
    }

    /// (number, id, rec_id) of headers and details, sorted; null as -1.
    fn keyed(&self) -> [Vec<(String, i64, i64)>; 2] {
        [&self.headers, &self.details].map(|batches| {
            let rows = batches.iter().map(|batch| {
                let number = batch.column_by_name("purchase_apply_no").expect("numbers").as_string::<i32>().value(0);
                let value = |name: &str| {
                    let column = batch.column_by_name(name)?.as_primitive::<Int64Type>();
                    column.is_valid(0).then(|| column.value(0))
                };
                (number.to_owned(), value("apply_id").unwrap_or(-1), value("rec_id").unwrap_or(-1))
            });
            let mut rows: Vec<_> = rows.collect();
            rows.sort();
            rows
        })
    }
}

/// A requisition `number` of minute 0, with an id as it is written and details.
fn one(number: &str, apply_id: &str, rec_ids: &[i64]) -> String {
    let details: Vec<String> = rec_ids.iter().map(|id| format!(r#"{{"rec_id":{id}}}"#)).collect();
    format!(
        r#"{{"purchase_apply_no":"{number}","apply_id":{apply_id},"status":1,"modified":"2026-06-01 10:00:00","details_list":[{}]}}"#,
        details.join(",")
    )
}

#[test]
fn requisitions_that_share_number_and_second_are_told_apart_by_their_id() {
    let all = [one("A", "9", &[3]), one("A", "null", &[5]), one("A", "1", &[1, 2]), one("B", "0", &[4])];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let old = Held::of(&enterprise(&all));
    // Whichever of them the new walk returns, and with whatever other details.
    for returned in 0..16_usize {
        for renewed in [false, true] {
            let lists: Vec<String> = (0..4)
                .filter(|at| returned >> at & 1 == 1)
                .map(|at| if renewed { all[at].replace("\"status\":1", "\"status\":2") } else { all[at].to_owned() })
                .collect();
            let (next, found) = old.refreshed(&[hour()], &read(Edition::Enterprise, hour(), &lists));
            assert_eq!(next.keyed(), old.keyed(), "{returned:04b}");
            let count = returned.count_ones().into();
            let expected = if renewed { (count, 0) } else { (0, count) };
            assert_eq!((found.changes.changed, found.changes.unchanged), expected);
            assert_eq!(found.changes.not_returned, 4 - count);
            // A stands with ids and without; it is said where one of them is new.
            let is_told = renewed && returned & 0b111 != 0;
            assert_eq!(found.remarks.with_and_without_id, u64::from(is_told), "{returned:04b}");
        }
    }
    // 0 and null are both no id: another reading of the same version.
    let (next, found) = old.refreshed(&[hour()], &enterprise(&[&one("B", "null", &[7])]));
    assert_eq!((next.keyed()[1][4].clone(), found.changes.changed), (("B".to_owned(), -1, 7), 1));
    // One that is invalid now takes the place of its own version only.
    let broken = all[0].replace("\"status\":1", "\"status\":\"x\"");
    let (next, found) = old.refreshed(&[hour()], &enterprise(&[&broken]));
    let ids: Vec<i64> = next.keyed()[0].iter().map(|(_, id, _)| *id).collect();
    assert_eq!((ids, next.keyed()[1].len(), found.quarantined.len()), (vec![-1, 1, 0], 4, 1));
    assert_eq!((found.changes.set_aside, found.changes.quarantined_new), (1, 1));
}

#[test]
fn any_difference_renews_header_and_details() {
    let requisition = |more: &str, details: &str| {
        format!(
            r#"{{"purchase_apply_no":"A","apply_id":1,"status":1,"modified":"2026-06-01 10:00:00"{more},"details_list":[{details}]}}"#
        )
    };
    let two = r#"{"rec_id":1,"real_num":"1.5","note":{"a":1,"b":[2]}},{"rec_id":2}"#;
    let old = Held::of(&enterprise(&[&requisition(r#","x":1.50,"y":"é""#, two)]));
    let refreshed = |more: &str, details: &str| {
        let (next, found) = old.refreshed(&[hour()], &enterprise(&[&requisition(more, details)]));
        assert_eq!(found.changes.are_none(), next.rows() == old.rows());
        (found.changes.changed, found.headers.num_rows(), found.details.num_rows())
    };
    let same = r#", "y" : "\u00e9", "x":1.50"#;
    assert_eq!(refreshed(r#","x":1.50,"y":"é""#, two), (0, 0, 0));
    assert_eq!(refreshed(same, r#"{"rec_id":1,"real_num":"1.5","note":{"b":[ 2 ],"a":1}},{"rec_id":2}"#), (0, 0, 0));
    assert_eq!(refreshed(same, r#"{"rec_id":1,"real_num":1.50,"note":{"b":[2],"a":1}},{"rec_id":2}"#), (0, 0, 0));
    for (more, details, rows) in [
        (r#","x":1.51,"y":"é""#, two, 2),
        (r#","x":1.50"#, two, 2),
        (r#","x":1.50,"y":"é","remark":"""#, two, 2),
        (same, r#"{"rec_id":1,"real_num":"1.5","note":{"a":1,"b":[3]}},{"rec_id":2}"#, 2),
        (same, r#"{"rec_id":1,"real_num":"1.5001","note":{"a":1,"b":[2]}},{"rec_id":2}"#, 2),
        (same, r#"{"rec_id":2},{"rec_id":1,"real_num":"1.5","note":{"a":1,"b":[2]}}"#, 2),
        (same, r#"{"rec_id":1,"real_num":"1.5","note":{"a":1,"b":[2]}}"#, 1),
        (same, r#"{"rec_id":1,"real_num":"1.5","note":{"a":1,"b":[2]}},{"rec_id":2},{"rec_id":3}"#, 3),
        (same, "", 0),
    ] {
        assert_eq!(refreshed(more, details), (1, 1, rows), "{more} {details}");
    }
}

#[test]
fn times_that_readers_cannot_hold_are_counted_where_they_land() {
    let ancient = one("A", "1", &[1]).replace("\"status\"", "\"expected_time\":\"1001-01-01\",\"status\"");
    let fresh = enterprise(&[&ancient, &one("B", "2", &[2])]);
    assert_eq!(fresh.remarks.unreadable_times, 1);
    let (next, found) = Held::default().refreshed(&[hour()], &fresh);
    assert_eq!((found.remarks.unreadable_times, found.changes.new), (1, 2));
    assert_eq!(next.refreshed(&[hour()], &fresh).1.remarks, Remarks::default());
}

#[test]
fn broken_records_of_one_id_or_none_are_each_kept() {
    let ids: [&dyn Fn(usize) -> String; 4] = [
        &|at| format!("\"apply_id\":{at},"),
        &|_| "\"apply_id\":\"0\",".to_owned(),
        &|_| "\"apply_id\":7,".to_owned(),
        &|_| String::new(),
    ];
    for edition in Edition::ALL {
        for id in ids {
            let broken = |volatile: u32| -> Vec<String> {
                (1..7)
                    .map(|at| {
                        format!(r#"{{{}"purchase_apply_no":"A{at}","status":1,"modified":"","v":{volatile}}}"#, id(at))
                    })
                    .collect()
            };
            let before = Held::of(&read(edition, hour(), &broken(0)));
            assert_eq!(before.lines.len(), 6);
            // Read again as they were, or with another byte in each; some or all of them have left.
            for (volatile, returned) in [(0, 6), (1, 6), (0, 2), (1, 2), (0, 0)] {
                let fresh = read(edition, hour(), &broken(volatile)[..returned]);
                let (_, found) = before.refreshed(&[hour()], &fresh);
                assert_eq!(found.quarantined.len(), 6, "{edition} {} {volatile} {returned}", id(1));
                let Changes { quarantined_new, quarantined_unchanged, quarantined_standing, .. } = found.changes;
                assert_eq!(quarantined_standing, 6 - returned as u64);
                assert_eq!(quarantined_new + quarantined_unchanged, returned as u64);
                assert_eq!(found.changes.are_none(), volatile == 0 || returned == 0);
                // Of unknown second: where only a part was walked, each stands.
                let part = read(edition, minutes(5, 9), &broken(volatile)[..returned]);
                let (_, found) = before.refreshed(&[minutes(5, 9)], &part);
                let new = if volatile == 0 { 0 } else { returned };
                assert_eq!(found.quarantined.len(), 6 + new);
            }
        }
    }
}

#[test]
fn a_quarantine_line_goes_when_its_record_can_be_read() {
    let lines = |before: &[&str], fresh: &[&str]| {
        Held::of(&enterprise(before)).refreshed(&[hour()], &enterprise(fresh)).1.quarantined.len()
    };
    let sound = one("A", "7", &[70]);
    let no_time = sound.replace("2026-06-01 10:00:00", "");
    assert_eq!(lines(&[&no_time], &[&sound]), 0, "by its id");
    let masked = no_time.replace("\"apply_id\":7", "\"apply_id\":0");
    assert_eq!(lines(&[&masked], &[&sound.replace("\"apply_id\":7", "\"apply_id\":0")]), 0, "by its details");
    let keyed = masked.replace(r#"[{"rec_id":70}]"#, r#"{"0":{"rec_id":"70","note":"a	b"}}"#);
    assert_eq!(lines(&[&keyed], &[&sound]), 0, "in any dress");
    assert_eq!(lines(&[&masked], &[&one("B", "0", &[71])]), 1, "0 is nobody's id");
    let bad_id = sound.replace("\"apply_id\":7", "\"apply_id\":\"x\"");
    assert_eq!(lines(&[&bad_id], &[&sound]), 0, "what did not fit was the id");
    assert_eq!(lines(&[&bad_id, &sound], &[&sound]), 1, "that one had landed before");
    let bad_status = sound.replace("\"status\":1", "\"status\":\"\"");
    assert_eq!(lines(&[&bad_status], &[&sound]), 0);
    assert_eq!(lines(&[&bad_status], &[&one("A", "8", &[])]), 1, "another requisition of that number and second");
    // Of a second that was not walked, or of an unknown one in a window that was walked in part, it stands.
    for (line, walked, wanted) in [
        (&bad_status, minutes(1, 59), 1),
        (&no_time, minutes(0, 30), 1),
        (&bad_status, minutes(0, 0), 0),
        (&no_time, hour(), 0),
    ] {
        let fresh = if walked.contains(at(0)) { vec![sound.clone()] } else { vec![] };
        let held = Held::of(&enterprise(&[line]));
        let (_, found) = held.refreshed(&[walked], &read(Edition::Enterprise, walked, &fresh));
        assert_eq!(found.quarantined.len(), wanted, "{line} {walked}");
    }
}

/// What it holds is read now, or it is unreadable still.
#[test]
fn an_unreadable_response_stands_only_as_long_as_it_is_unreadable() {
    let decoder = PageDecoder::new(Edition::Enterprise, RunId::generate()).expect("decoder");
    let unreadable = |requested: Window, body: &[u8]| {
        let context = PageContext { window: Some(requested), page_no: 7, page_size: 1, received_at_micros: 0 };
        assemble([decoder.unreadable_page(&context, body, 9, "why")], &[(0, 0)]).expect("rows")
    };
    // It was read by a request for a quarter of the hour, and stands in that.
    let before = Held::of(&unreadable(minutes(15, 29), b"<html>\xff1"));
    let lines = |walked: Window, body: Option<&[u8]>| {
        let fresh = body.map_or_else(|| enterprise(&[]), |body| unreadable(walked, body));
        before.refreshed(&[walked], &fresh).1.quarantined.len()
    };
    for walked in [hour(), minutes(15, 29)] {
        assert_eq!(lines(walked, Some(b"<html>\xff1")), 1);
        assert_eq!(lines(walked, Some(b"<html>\xff2")), 1);
        assert_eq!(lines(walked, Some(b"")), 1);
        assert_eq!(lines(walked, None), 0);
    }
    assert_eq!((lines(minutes(15, 20), Some(b"<html>\xff1")), lines(minutes(15, 20), None)), (1, 1));
    assert_eq!((lines(minutes(15, 20), Some(b"<html>\xff2")), lines(minutes(30, 59), Some(b"<html>\xff1"))), (2, 2));
}

#[test]
fn rows_outside_the_walked_seconds_and_damaged_ones_are_errors() {
    let held = Held::of(&enterprise(&[&one("A", "1", &[1])]));
    assert!(
        reconcile(&enterprise(&[&one("A", "1", &[1])]), &held.old_rows(&[minutes(1, 59)]), &[], Unchanged::Keep)
            .is_err()
    );
    assert!(reconcile(&enterprise(&[]), &held.old_rows(&[hour()]), &["{}".to_owned()], Unchanged::Keep).is_err());
    let other = RecordBatch::new_empty(Arc::new(Schema::empty()));
    assert!(OldRows::new(hour(), [hour()]).take_in(Table::PurchaseApply, &other).is_err());
    assert!(ReplacedVersions::default().keep(&other, "modified").is_err());
}

#[test]
fn a_walk_over_several_commits_is_shared_out() {
    let timed = |number: &str, time: &str| {
        format!(r#"{{"purchase_apply_no":"{number}","status":1,"modified":"{time}","details_list":[{{"rec_id":1}}]}}"#)
    };
    let bad = |number: &str, time: &str| timed(number, time).replace("\"status\":1", "\"status\":\"x\"");
    let list = [
        timed("A", "2026-06-01 10:05:00"),
        timed("B", "2026-06-01 10:15:00"),
        timed("C", "2026-06-01 10:25:00"),
        timed("D", "2026-06-01 10:35:00"),
        bad("E", "2026-06-01 10:25:00"),
        bad("F", "2026-06-01 10:15:00"),
        timed("G", ""),
        timed("H", ""),
        timed("I", "2026-06-01 12:00:00"),
    ];
    let fresh = read(Edition::Enterprise, hour(), &list);
    let lines_of = |one: &str| Held::of(&read(Edition::Enterprise, hour(), &[one.to_owned()])).lines;
    // H was read before, with other bytes, in the last of the commits.
    let (first, last) = (lines_of(&bad("Z", "2026-06-01 10:01:00")), lines_of(&timed("H", "").replace("1", "2")));
    let none = Vec::new();
    let touched = [(minutes(0, 9), &first), (minutes(20, 29), &none), (minutes(30, 39), &last)]
        .map(|(window, lines)| Touched { window, lines });
    let parts = share_out(&fresh, &touched).expect("shared out");
    let numbers = |part: &WindowRows| {
        let rows = part.headers.column_by_name("purchase_apply_no").expect("numbers").as_string::<i32>();
        let lines = part.quarantined.iter().filter_map(|record| record.purchase_apply_no.clone());
        assert_eq!(part.headers.num_rows(), part.details.num_rows());
        rows.iter().flatten().map(str::to_owned).chain(lines).collect::<Vec<_>>().join(" ")
    };
    // B and F stand in seconds of no commit; I was not requested, and is kept all the same.
    assert_eq!(parts.iter().map(numbers).collect::<Vec<_>>(), ["A G I", "C E", "D H"]);
}

/// What a walk finds of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Missing,
    /// With its fields in another order or not.
    Sound {
        content: u8,
        details: u8,
        is_reordered: bool,
    },
    Broken(u8),
}

fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        2 => Just(Reading::Missing),
        5 => (0_u8..2, 0_u8..3, any::<bool>())
            .prop_map(|(content, details, is_reordered)| Reading::Sound { content, details, is_reordered }),
        1 => (0_u8..2).prop_map(Reading::Broken),
    ]
}

const NUMBERS: u32 = 3;
const MINUTES: u32 = 12;

/// Version `place` of the world: its number and its minute.
fn version(place: usize) -> (u32, u32) {
    let place = u32::try_from(place).expect("small");
    (place % NUMBERS, place / NUMBERS)
}

fn json(place: usize, reading: Reading) -> Option<String> {
    let (number, minute) = version(place);
    let id = if number == 0 { "null".to_owned() } else { (place + 1).to_string() };
    let (status, content, count, is_reordered) = match reading {
        Reading::Missing => return None,
        Reading::Sound { content, details, is_reordered } => ("1", content, details, is_reordered),
        Reading::Broken(content) => ("\"x\"", content, 1, false),
    };
    let extra =
        if is_reordered { format!(r#""y":"{content}","x":[1]"#) } else { format!(r#""x":[1],"y":"{content}""#) };
    let details: Vec<String> =
        (0..count).map(|at| format!(r#"{{"rec_id":{},{extra}}}"#, place * 10 + at as usize)).collect();
    Some(format!(
        r#"{{"purchase_apply_no":"N{number}","apply_id":{id},"status":{status},"modified":"2026-06-01 10:{minute:02}:00",{extra},"details_list":[{}]}}"#,
        details.join(",")
    ))
}

/// What a commit holds of one version: the reading and the walk that it came with, of rows and of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Expected {
    row: Option<(u8, u8, usize)>,
    line: Option<(u8, usize)>,
}

impl Expected {
    fn read(self, reading: Reading, walk: usize) -> Self {
        match reading {
            Reading::Missing => self,
            Reading::Sound { content, details, .. } => {
                let same = self.row.filter(|row| (row.0, row.1) == (content, details));
                Self { row: same.or(Some((content, details, walk))), line: None }
            }
            Reading::Broken(content) => {
                let same = self.line.filter(|line| line.0 == content);
                Self { row: None, line: same.or(Some((content, walk))) }
            }
        }
    }
}

/// What a commit holds, as the model says it: `runs` are those of its walks.
fn held(next: &Held, runs: &[String]) -> BTreeMap<(String, i64), Expected> {
    let mut found: BTreeMap<(String, i64), Expected> = BTreeMap::new();
    let walk = |run: &str| runs.iter().position(|known| known == run).expect("a known run");
    for batch in &next.headers {
        let text = |name: &str| batch.column_by_name(name).expect("a column").as_string::<i32>().value(0);
        let (number, micros, _) = keys(batch, "modified").expect("keys").next().expect("a row");
        let own = next.details.iter().filter(|detail| {
            keys(detail, "apply_modified").expect("keys").next() == keys(batch, "modified").expect("keys").next()
        });
        let mut count = 0;
        for detail in own {
            for name in ["_run_id", "_commit_id"] {
                let of_detail = detail.column_by_name(name).expect("a column").as_string::<i32>().value(0);
                assert_eq!(of_detail, text(name), "header and details have one lineage");
            }
            count += 1;
        }
        let extra: serde_json::Value = serde_json::from_str(text("extra")).expect("JSON");
        let content = extra["y"].as_str().expect("text").parse().expect("a number");
        let held = found.entry((number.to_owned(), micros)).or_default();
        assert_eq!(held.row.replace((content, count, walk(text("_run_id")))), None, "no version stands twice");
    }
    for line in &next.lines {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let raw: serde_json::Value = serde_json::from_str(line["raw"].as_str().expect("text")).expect("JSON");
        let time = BeijingTime::parse_rfc3339(line["modified"].as_str().expect("a time")).expect("a time");
        let content = raw["y"].as_str().expect("text").parse().expect("a number");
        let key = (line["purchase_apply_no"].as_str().expect("text").to_owned(), time.micros());
        let held = found.entry(key).or_default();
        assert_eq!(held.line.replace((content, walk(line["run_id"].as_str().expect("text")))), None);
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Walks of parts of a commit, one after the other: nothing vanishes, nothing doubles, what did not change keeps
    /// its rows, and the same answer again changes nothing.
    #[test]
    fn a_commit_holds_what_was_read_last_of_each_version(
        first in prop::collection::vec(reading(), (NUMBERS * MINUTES) as usize),
        walks in prop::collection::vec(
            (prop::collection::vec((0..MINUTES, 0_u32..5), 1..3), prop::collection::vec(reading(), (NUMBERS * MINUTES) as usize)),
            1..4,
        ),
    ) {
        let mut expected = vec![Expected::default(); first.len()];
        let mut next = Held::default();
        let mut runs = Vec::new();
        let whole = (vec![(0, MINUTES)], first);
        for (walk, (ranges, readings)) in std::iter::once(whole).chain(walks).enumerate() {
            let walked: Vec<Window> = ranges.iter().map(|(from, more)| minutes(*from, from + more)).collect();
            let is_walked = |place: usize| walked.iter().any(|walked| walked.contains(at(version(place).1)));
            let answer: Vec<String> = readings.iter().enumerate().filter(|(place, _)| is_walked(*place))
                .filter_map(|(place, reading)| json(place, *reading)).collect();
            let before = expected.clone();
            for (place, reading) in readings.iter().enumerate().filter(|(place, _)| is_walked(*place)) {
                expected[place] = expected[place].read(*reading, walk);
            }
            let fresh = read(Edition::Enterprise, hour(), &answer);
            let run = [&fresh.headers].iter().filter(|rows| rows.num_rows() > 0)
                .map(|rows| rows.column_by_name("_run_id").expect("runs").as_string::<i32>().value(0).to_owned()).next();
            let run = run.or_else(|| fresh.quarantined.first().map(|record| record.run.to_string()));
            runs.push(run.unwrap_or_default());
            let (refreshed, found) = next.refreshed(&walked, &fresh);
            next = refreshed;
            let wanted: BTreeMap<_, _> = expected.iter().enumerate().filter(|(_, held)| **held != Expected::default())
                .map(|(place, held)| ((format!("N{}", version(place).0), at(version(place).1).micros()), *held)).collect();
            prop_assert_eq!(held(&next, &runs), wanted);
            prop_assert_eq!(found.changes.are_none(), before == expected);

            let (again, found) = next.refreshed(&walked, &read(Edition::Enterprise, hour(), &answer));
            prop_assert!(found.changes.are_none(), "{:?}", found.changes);
            prop_assert_eq!((again.rows(), &again.lines), (next.rows(), &next.lines));
        }
    }
}
