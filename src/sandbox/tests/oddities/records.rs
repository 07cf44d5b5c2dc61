//! Records that are broken, that nobody can read, that change, or that are too large.

use serde_json::Value;

use super::bench::{Answer, Asked, Bench};
use crate::edition::Edition;

const OPENAPI2: [Edition; 2] = [Edition::Enterprise, Edition::Y];

/// Row by row: whether the oddity strikes it, and the row.
fn by_row(bench: &Bench, name: &str, answer: &Answer) -> Vec<(bool, Value)> {
    let oddities = bench.sandbox.oddities();
    let rows = answer.numbers().into_iter().zip(answer.rows());
    let rows: Vec<_> = rows.map(|(id, row)| (oddities.touch(name, id), row)).collect();
    let struck = rows.iter().filter(|(struck, _)| *struck).count();
    assert!(0 < struck && struck < rows.len(), "{name} strikes some and not all");
    rows
}

#[tokio::test]
async fn fields_of_every_nth_record_are_what_they_should_not_be() {
    let cases = [
        ("broken", "modified", Some(Value::from(""))),
        ("time-before-1900", "created", Some("1899-12-31 12:00:00".into())),
        ("time-after-9999", "expected_time", Some("10000-01-01 12:00:00".into())),
        ("modified-before-1900", "modified", Some("1899-12-31 12:00:00".into())),
        ("modified-after-9999", "modified", Some("10000-01-01 12:00:00".into())),
    ];
    let of_ids = [
        ("broken-id-zero", "apply_id", Some(Value::from("0"))),
        ("broken-id-masked", "apply_id", Some("***".into())),
        ("broken-no-id", "apply_id", None),
        ("id-zero", "apply_id", Some("0".into())),
    ];
    for edition in Edition::ALL {
        let of_ids = of_ids.iter().filter(|_| edition != Edition::Flagship);
        for (name, field, value) in cases.iter().chain(of_ids) {
            let bench = Bench::new(edition, 30, &format!("{name}=6"));
            for (struck, row) in by_row(&bench, name, &bench.all().await) {
                assert_eq!(struck, row.get(field) == value.as_ref(), "{edition}: {name}: {row}");
                assert_eq!(struck && name.starts_with("broken"), row["modified"] == "", "{edition}: {name}: {row}");
            }
        }
    }
}

#[tokio::test]
async fn keyless_records_vary_or_do_not() {
    let keyless = |answer: &Answer| -> Vec<Value> {
        let keys = ["purchase_apply_no", "modified", "apply_id"];
        answer.rows().into_iter().filter(|row| keys.iter().all(|key| row.get(key).is_none())).collect()
    };
    for edition in Edition::ALL {
        for (oddities, same) in [("broken-keyless=6", true), ("broken-varies=6", false)] {
            let bench = Bench::new(edition, 12, oddities);
            let (one, other) = (bench.all().await, bench.all().await);
            assert_eq!((one.rows().len(), keyless(&one).len()), (12, 2), "{edition}: {oddities}");
            assert_eq!(keyless(&one) == keyless(&other), same, "{edition}: {oddities}");
        }
    }
}

#[tokio::test]
async fn readings_flicker() {
    let has_id = |row: &Value| row.get("apply_id").is_some();
    let text = |row: &Value| row.to_string();
    let fits = move |row: &Value| row["modified"] != "" && !text(row).contains("若干");
    let ways = [
        ("id-flickers", &OPENAPI2[..], &has_id as &dyn Fn(&Value) -> bool),
        ("reading-flickers", &Edition::ALL, &fits),
    ];
    for (name, editions, sound) in ways {
        for edition in editions {
            let bench = Bench::new(*edition, 12, &format!("{name}=6"));
            let (mut readings, calls) = (vec![0; 12], 30);
            for _ in 0..calls {
                for (place, (struck, row)) in by_row(&bench, name, &bench.all().await).into_iter().enumerate() {
                    assert!(struck || sound(&row), "{row}");
                    readings[place] += u32::from(sound(&row));
                }
            }
            let flickering = readings.iter().filter(|sound| (5..25).contains(*sound)).count();
            assert_eq!(flickering, 2, "{edition}: {name}: {readings:?}");
        }
    }
}

#[tokio::test]
async fn one_record_makes_its_page_unreadable_wherever_it_stands() {
    for edition in Edition::ALL {
        for name in ["unreadable-quote", "unreadable-brace", "unreadable-bytes"] {
            let bench = Bench::new(edition, 12, &format!("{name}=6"));
            let oddities = bench.sandbox.oddities();
            for page_size in [1, 2, 3, 12] {
                for page_no in 0..12 / page_size {
                    let ids = page_no * page_size + 1..=(page_no + 1) * page_size;
                    let unreadable = ids.clone().any(|id| oddities.touch(name, i64::try_from(id).expect("small")));
                    let asked =
                        Asked { page_no, page_size: usize::try_from(page_size).expect("small"), ..Asked::default() };
                    let answer = bench.call(asked).await;
                    assert_eq!(answer.is_json(), !unreadable, "{edition}: {name}: {ids:?}");
                    let bytes = unreadable && name == "unreadable-bytes";
                    assert_eq!(std::str::from_utf8(&answer.body).is_err(), bytes, "{edition}: {name}");
                }
            }
            let calls = bench.sandbox.world().calls();
            assert!(calls.iter().all(|call| !call.rows.is_empty()), "the journal tells what was there to read");
        }
    }
}

#[tokio::test]
async fn a_record_is_unreadable_now_and_then() {
    for edition in Edition::ALL {
        let bench = Bench::new(edition, 12, "unreadable-sometimes=12");
        let mut readable = 0;
        for _ in 0..30 {
            readable += u32::from(bench.all().await.is_json());
        }
        assert!((5..25).contains(&readable), "{edition}: {readable}");
    }
}

#[tokio::test]
async fn control_characters_stand_in_strings_as_they_are() {
    for edition in Edition::ALL {
        let answer = Bench::new(edition, 12, "raw-controls=12").all().await;
        assert!(!answer.is_json(), "JSON demands an escape");
        assert!(answer.text().contains("\"remark\":\"一\t二\n三\u{1}\""), "{}", answer.text());
        let escaped = answer.text().replace('\t', "\\t").replace('\n', "\\n").replace('\u{1}', "\\u0001");
        assert!(serde_json::from_str::<Value>(&escaped).is_ok(), "nothing else is wrong with it");
    }
}

#[tokio::test]
async fn records_are_as_large_as_told() {
    for edition in Edition::ALL {
        let bench = Bench::new(edition, 12, "large=100KiB:6");
        for (struck, row) in by_row(&bench, "large", &bench.all().await) {
            assert_eq!(row["remark"].as_str().expect("a remark").len(), if struck { 100 << 10 } else { 0 });
        }
        let bench = Bench::new(edition, 12, "many-keys=60000:6");
        for (struck, row) in by_row(&bench, "many-keys", &bench.all().await) {
            let keys = row.as_object().expect("an object").len();
            assert_eq!(struck, keys > 60_000, "{keys}");
            assert_eq!(struck, row.get("key_59999").is_some());
        }
    }
}

#[tokio::test]
async fn twins_share_number_and_second() {
    for edition in Edition::ALL {
        let bench = Bench::new(edition, 12, "twins=12");
        let answer = bench.all().await;
        let oddities = bench.sandbox.oddities();
        let id = (1..=12).find(|id| oddities.touch("twins", *id)).expect("one of twelve");
        let twins: Vec<_> = answer.rows().into_iter().zip(answer.numbers()).filter(|(_, other)| *other == id).collect();
        let [(one, _), (other, _)] = &twins[..] else { panic!("two: {twins:?}") };
        assert_eq!((answer.total(), &one["modified"]), (Some(13), &other["modified"]));
        let ids = |row: &Value| answer.details(row).expect("details")[0]["rec_id"].clone();
        assert_ne!(ids(one), ids(other));
        assert!(edition == Edition::Flagship || one["apply_id"] != other["apply_id"]);
        let found = bench.call(Asked { number: Some(id), ..Asked::default() }).await;
        assert_eq!((found.total(), found.numbers()), (Some(2), vec![id, id]), "both are found by their number");
        let world = bench.sandbox.world().lock();
        assert_eq!(world.journal().history(&format!("POA{id}")).count(), 2, "and the journal knows both");
    }
}
