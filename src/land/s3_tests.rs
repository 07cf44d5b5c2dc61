//! What only a real S3 server can show: requests broken on the wire, conditions that are refused or ignored, wrong
//! keys.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;

use super::conformance_tests::Place;
use super::crash_tests::{committed, work};
use super::creates::Creates;
use super::doctor::{Ability, AbilityOutcome, AbilityReport, examine};
use super::fake_s3::{FakeS3, Reply};
use super::s3_server::{Asked, Fault, Held, KEY_ID, S3Server, SECRET};
use super::testing::{binding, everything, new_commit, try_writer, window, writer};
use crate::error::{Error, ErrorKind};
use crate::log::{Lake, Layout, Table};
use crate::store::{Created, Store, Writers};

fn server_and_lake() -> (Place, Store) {
    let place = Place::s3();
    let (store, _) = place.lake();
    (place, store)
}

fn server(place: &Place) -> &S3Server {
    match place {
        Place::S3(server) => server,
        _ => panic!("a server"),
    }
}

fn is_manifest(asked: &Asked<'_>) -> bool {
    *asked.method == Method::PUT && asked.path.contains("_manifest")
}

fn is_data(asked: &Asked<'_>) -> bool {
    *asked.method == Method::PUT && asked.path.ends_with(".parquet")
}

fn is_listing(asked: &Asked<'_>) -> bool {
    *asked.method == Method::GET && asked.path.matches('/').count() <= 2
}

async fn check_one_window(store: &Store) {
    let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
    assert_eq!((lake.coverage().windows(), lake.rows(Table::PurchaseApply)), (&[window(0, 9)][..], 10));
    assert_eq!(everything(store).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_broken_request_anywhere_on_the_wire_is_survived() {
    for creates in [Creates::LikeS3, Creates::LikeOss] {
        let place = Place::S3(S3Server::start_as(creates));
        one_broken_request_is_survived(&place).await;
    }
}

async fn one_broken_request_is_survived(place: &Place) {
    let slow = Fault::Slow(Duration::from_millis(200));
    for fits in [is_manifest, is_data, is_listing] {
        for fault in [Fault::Refuse(503), Fault::LoseAnswer, Fault::RefuseAfter(500), slow.clone()] {
            let (store, _) = place.lake();
            server(place).break_first(fits, fault);
            let writer = writer(&store).await;
            writer.sweep().await.expect("swept");
            assert_eq!(committed(writer.land(new_commit(0, 9)).await).number, 1, "our own lost try is ours");
            check_one_window(&store).await;
        }
    }
}

/// It may have had its effect, so whoever asked looks for it first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_without_an_answer_is_not_sent_again() {
    for creates in [Creates::LikeS3, Creates::LikeOss] {
        let server = FakeS3::start_as(creates);
        let mut variables = server.environment();
        variables.push(("AWS_TIMEOUT".to_owned(), "1s".to_owned()));
        let store = Store::s3(&server.lake("lake"), variables).expect("settings");
        store.put("a", Bytes::new(), "_staging/i").await.expect("an answer");
        server.reply_by(|asked| asked.is_conditional.then_some(Reply::Never));
        server.take_requests();
        let created = store.create("log/1", Bytes::from_static(b"1"), "_staging/i").await;
        assert_eq!(created.expect_err("unknown").kind(), ErrorKind::Lake);
        assert_eq!(server.take_requests().len(), 1, "{creates:?}");
        server.behave();
        let created = store.create("log/1", Bytes::from_static(b"1"), "_staging/i").await;
        assert_eq!(created.expect("an answer"), Created::New, "{creates:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_arrives_after_its_writer_died_never_counts_half() {
    for (fits, arrives_first) in [(is_manifest as fn(&Asked<'_>) -> bool, false), (is_manifest, true), (is_data, false)]
    {
        let (place, store) = server_and_lake();
        let held = Held::new();
        server(&place).break_first(fits, Fault::Hold(Arc::clone(&held)));
        let dying = writer(&store).await;
        let task = tokio::spawn(async move { dying.land(new_commit(0, 9)).await });
        held.arrived().await;
        task.abort();
        assert!(task.await.expect_err("dead").is_cancelled());
        if arrives_first {
            held.release().await;
        }
        let sweeper = writer(&store).await;
        sweeper.sweep().await.expect("swept");
        if !arrives_first {
            held.release().await;
        }
        let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
        assert_eq!(lake.rows(Table::PurchaseApply), if arrives_first { 10 } else { 0 });
        sweeper.sweep().await.expect("swept again");
        if !arrives_first {
            committed(sweeper.land(new_commit(0, 9)).await);
        }
        let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
        let files = lake.files(Table::PurchaseApply).len() + lake.files(Table::PurchaseApplyDetail).len();
        let manifests = usize::try_from(lake.state().next_number() - 1).expect("few");
        assert_eq!((lake.rows(Table::PurchaseApply), files), (10, 2));
        assert_eq!(everything(&store).await.len(), files + manifests, "nothing is left over");
    }
}

fn refused(error: &Error, words: &[&str]) {
    assert_eq!(error.kind(), ErrorKind::Lake, "{error}");
    let said = format!("{error} {}", error.hint_text().expect("a hint"));
    for word in words {
        assert!(said.contains(word), "`{word}` is missing: {said}");
    }
}

fn outcome(findings: &[AbilityReport], ability: Ability) -> &AbilityReport {
    findings.iter().find(|finding| finding.ability == ability).expect("tried")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_conditional_put_is_for_a_single_writer() {
    for (fault, word) in [
        (Fault::Refuse(501), "refuses"),
        (Fault::RefuseWith(400, "InvalidArgument", "If-None-Match is not supported"), "refuses"),
        (Fault::IgnoreCondition, "over"),
    ] {
        let (place, store) = server_and_lake();
        server(&place).break_by(move |asked| asked.is_conditional.then(|| fault.clone()));
        let began = Instant::now();
        let error = try_writer(&store).await.err().expect("refused");
        refused(&error, &["--single-writer", word]);
        assert_eq!(everything(&store).await, Vec::<String>::new(), "the probe is gone");

        let findings = examine(&store).await.expect("examined");
        let condition = outcome(&findings, Ability::ConditionalCreate);
        assert!(
            condition.is_fatal()
                && condition.hint.as_ref().is_some_and(|hint| hint.english().contains("--single-writer"))
        );
        assert!(matches!(outcome(&findings, Ability::CreateRace).outcome, AbilityOutcome::Skipped(_)));
        assert!(began.elapsed() < Duration::from_secs(20), "said soon: {:?}", began.elapsed());

        let single = store.clone().written_by(Writers::Single);
        assert!(!examine(&single).await.expect("examined").iter().any(AbilityReport::is_fatal));
        work(&writer(&single).await).await.expect("one writer is safe without it");
        let lake = Lake::open(store, binding().name).await.expect("opened");
        assert_eq!((lake.coverage().windows(), lake.rows(Table::PurchaseApply)), (&[window(0, 29)][..], 30));
    }
}

/// Fails unless the store is refused for many writers with these words, and no object stays.
async fn refused_for_many(about: &str, store: &Store, words: &[&str]) {
    let error = try_writer(store).await.err().unwrap_or_else(|| panic!("{about}: not refused"));
    refused(&error, words);
    assert_eq!(everything(store).await, Vec::<String>::new(), "{about}: the probe is gone");
    let findings = examine(store).await.expect("examined");
    let condition = outcome(&findings, Ability::ConditionalCreate);
    assert!(condition.is_fatal(), "{about}: {condition:?}");
    assert!(words.contains(&"--single-writer") && condition.hint.as_ref() == error.hint_said(), "{about}");
    let single = store.clone().written_by(Writers::Single);
    let findings = examine(&single).await.expect("examined");
    assert!(!findings.iter().any(AbilityReport::is_fatal), "{about}: {findings:?}");
    assert_eq!(outcome(&findings, Ability::ConditionalCreate).hint, None, "{about}: it is what was asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_header_of_oss_is_believed_only_where_it_is_kept() {
    let open = |server: &FakeS3, setting: Option<&str>| {
        let mut variables = server.environment();
        variables.retain(|(name, _)| name != "AWS_CONDITIONAL_PUT");
        variables.extend(setting.map(|value| ("AWS_CONDITIONAL_PUT".to_owned(), value.to_owned())));
        Store::s3(&server.lake("lake"), variables).expect("settings")
    };
    let versions: &[&str] = &["writes over", "x-oss-forbid-overwrite", "never had versions", "--single-writer"];
    let not_oss: &[&str] = &["refuses", "x-oss-forbid-overwrite", "unset AWS_CONDITIONAL_PUT", "--single-writer"];
    let standard: &[&str] = &["refuses", "If-None-Match", "AWS_CONDITIONAL_PUT=oss", "--single-writer"];
    for (about, creates, setting, words) in [
        ("a bucket with versions", Creates::LikeVersionedOss, Some("oss"), Some(versions)),
        ("a store that does not know the header", Creates::LikeS3, Some("oss"), Some(versions)),
        ("OSS without the setting", Creates::LikeOss, None, Some(standard)),
        ("OSS with the setting for S3", Creates::LikeOss, Some("etag"), Some(standard)),
        ("no way to create", Creates::LikeS3, Some("disabled"), Some(standard)),
        ("S3 with its own setting", Creates::LikeS3, Some("etag"), None),
        ("OSS", Creates::LikeOss, Some("oss"), None),
    ] {
        let server = FakeS3::start_as(creates);
        let store = open(&server, setting);
        match words {
            Some(words) => refused_for_many(about, &store, words).await,
            None => {
                work(&try_writer(&store).await.expect(about)).await.expect(about);
                let lake = Lake::open(store, binding().name).await.expect("opened");
                assert_eq!(lake.coverage().windows(), [window(0, 29)], "{about}");
            }
        }
    }
    let server = FakeS3::start_as(Creates::LikeOss);
    server.reply_by(|asked| {
        asked.is_conditional.then_some(Reply::Refuse(400, "InvalidArgument", "x-oss-forbid-overwrite: no such header"))
    });
    refused_for_many("the header is refused", &open(&server, Some("oss")), not_oss).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_single_writers_at_once_are_both_stopped() {
    let (place, store) = server_and_lake();
    let store = store.written_by(Writers::Single);
    let held = Held::new();
    server(&place).break_first(is_manifest, Fault::Hold(Arc::clone(&held)));
    let (slow, quick) = (writer(&store).await, writer(&store).await);
    let slow = tokio::spawn(async move { slow.land(new_commit(0, 9)).await });
    held.arrived().await;
    committed(quick.land(new_commit(0, 9)).await);
    held.release().await;
    let error = slow.await.expect("no panic").expect_err("a fork");
    assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::Conflict, 6));
    for error in [try_writer(&store).await.err(), Lake::open(store.clone(), binding().name).await.err()] {
        assert_eq!(error.expect("a fork").kind(), ErrorKind::Conflict);
    }
    // As the hint says: one of the two goes, and the next run puts right what is missing.
    let forked = store.list(&Layout::new(binding().name).manifest_root()).await.expect("listed");
    assert_eq!(forked.len(), 2);
    store.delete(&forked[0].path).await.expect("deleted");
    let after = writer(&store).await;
    after.sweep().await.expect("swept");
    let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
    assert_eq!((lake.coverage().windows(), lake.rows(Table::PurchaseApply)), (&[window(0, 9)][..], 10));
    assert_eq!(everything(&store).await.len(), 2 + 2, "the loser was fenced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_and_buckets_are_said_at_once_and_without_the_key() {
    let server = S3Server::start();
    let bucket = server.bucket();
    let with = |name: &str, value: &str| {
        let mut variables = server.environment();
        variables.retain(|(held, _)| held != name);
        variables.push((name.to_owned(), value.to_owned()));
        variables
    };
    for (variables, bucket, word) in [
        (with("AWS_SECRET_ACCESS_KEY", "another-secret"), &*bucket, "AWS_SECRET_ACCESS_KEY"),
        (with("AWS_ACCESS_KEY_ID", "AKIDANOTHER"), &bucket, "AWS_ACCESS_KEY_ID"),
        (server.environment(), "nowhere", "make the bucket first"),
    ] {
        let store = Store::s3(&format!("s3://{bucket}/lake"), variables).expect("settings");
        let began = Instant::now();
        for error in [
            try_writer(&store).await.err().expect("refused"),
            Lake::open(store.clone(), binding().name).await.expect_err("refused"),
            examine(&store).await.expect_err("refused"),
        ] {
            refused(&error, &[word]);
            let said = format!("{error} {error:?}");
            for secret in [SECRET, KEY_ID, "another-secret", "AKIDANOTHER", "StringToSign", "X-Amz"] {
                assert!(!said.contains(secret), "`{secret}` was said: {said}");
            }
        }
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    assert!(server.requests() > 0);
}

/// A store that answers is there, at first contact as later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_down_for_a_moment_is_waited_for() {
    let (place, store) = server_and_lake();
    let down = |requests: u32| {
        let mut left = requests;
        server(&place).break_by(move |_| {
            left = left.saturating_sub(1);
            (left > 0).then_some(Fault::Refuse(503))
        });
    };
    for _ in 0..2 {
        down(6);
        assert_eq!(store.list("_manifest").await.expect("it was down for a moment"), vec![]);
    }
    down(u32::MAX);
    let began = Instant::now();
    let error = store.retrying_for(Duration::from_secs(1)).list("_manifest").await.expect_err("it stays down");
    refused(&error, &["503", "ServiceUnavailable", "--max-retry-time"]);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}
