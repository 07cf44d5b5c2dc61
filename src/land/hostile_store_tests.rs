//! Stores as they are in the field: what they list, what they refuse, and what lies in them besides. Whatever it is,
//! nobody is told that a lake holds less than it does, no log is forked, and nobody waits for ever.

use std::future::Future;
use std::time::Duration;

use proptest::prelude::*;

use super::crash_tests::committed;
use super::doctor::{Ability, AbilityOutcome, examine};
use super::fake_s3::{FakeS3, KEY_ID, Lists, Reply, SECRET};
use super::testing::{binding, new_commit, try_writer, window, writer};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Lake, Layout, Table};
use crate::store::{Store, Writers};
use crate::text::Text;
use crate::verify::{accounts_with_objects, chain_length};

/// Nothing here takes nearly as long; what takes longer has no end.
const HANG: Duration = Duration::from_secs(100);

async fn ends<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, work).await.expect("it has an end")
}

fn store(server: &FakeS3, writers: Writers) -> Store {
    let store = Store::s3(&server.lake("some/lake"), server.environment()).expect("settings");
    // Tests do not wait for what passes only in minutes.
    store.written_by(writers).retrying_for(Duration::from_secs(2))
}

/// A lake of so many commits of ten seconds.
async fn filled(store: &Store, commits: i64) {
    for n in 0..commits {
        committed(writer(store).await.land(new_commit(n * 10, n * 10 + 9)).await);
    }
}

async fn files(store: &Store) -> Result<usize> {
    Ok(Lake::open(store.clone(), binding().name).await?.files(Table::PurchaseApply).len())
}

fn said(error: &Error) -> String {
    let said = format!("{error} {}", error.hint_text().expect("a hint"));
    for secret in [SECRET, KEY_ID] {
        assert!(!said.contains(secret), "{said}");
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_contradicts_itself_is_an_error_of_the_store() {
    for writers in [Writers::Many, Writers::Single] {
        let server = FakeS3::start();
        let store = store(&server, writers);
        filled(&store, 5).await;
        let open = writer(&store).await;
        // The invented names have a test of their own, which takes a while.
        for lists in Lists::CONTRADICTIONS.into_iter().filter(|lists| *lists != Lists::Invented) {
            server.list_so(lists, 2);
            let before = server.keys();
            let tried = [
                ends(Lake::accounts(&store)).await.map(|accounts| accounts.len() == 1),
                ends(accounts_with_objects(&store)).await.map(|accounts| accounts.len() == 1),
                ends(files(&store)).await.map(|files| files == 5),
                ends(chain_length(&store, &binding().name)).await.map(|manifests| manifests == 5),
                ends(open.sweep()).await.map(|swept| swept.deleted.is_empty()),
                ends(try_writer(&store)).await.map(|_| true),
            ];
            let refused = tried.iter().filter(|tried| tried.is_err()).count();
            assert!(refused > 0, "{lists:?}: nobody has noticed");
            for tried in tried {
                match tried {
                    Ok(is_right) => assert!(is_right, "{lists:?}"),
                    Err(error) => {
                        assert_eq!(
                            (error.kind(), error.kind().exit_code()),
                            (ErrorKind::Lake, 6),
                            "{lists:?}: {error}"
                        );
                        said(&error);
                    }
                }
            }
            assert_eq!(server.keys(), before, "{lists:?}");
        }
        server.behave();
        assert_eq!(files(&store).await.expect("opened"), 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_names_what_the_store_did() {
    let server = FakeS3::start();
    let store = store(&server, Writers::Many);
    filled(&store, 4).await;
    for (lists, words) in [
        (Lists::WithoutTokens, &["page 1 breaks off and names no token"][..]),
        (Lists::FirstVersion, &["page 1 breaks off", "first version of the request"]),
        (Lists::InCircles, &["page 2 shows the name"]),
        (Lists::FirstPageAgain, &["page 2 shows the name", "repeats names"]),
        (Lists::Backwards, &["page 1 shows the name", "does not order them"]),
        (Lists::Encoded, &["does not begin with `some/lake/_manifest/account=acme/`"]),
        (Lists::Html, &["the response is a <html>", "not of its web page"]),
        (Lists::Blank, &["the response is empty"]),
        (Lists::CutOff, &["the response is"]),
        (Lists::ErrorInSuccess("AccessDenied"), &["200 OK", "AccessDenied", "let this key list"]),
        (Lists::ErrorInSuccess("SlowDown"), &["200 OK", "SlowDown", "--max-retry-time"]),
        (Lists::EmptyPages, &["bring nothing new"]),
        (Lists::Unsaid, &["does not say whether more follows"]),
    ] {
        server.list_so(lists, 2);
        let error = ends(files(&store)).await.expect_err("refused");
        let said = said(&error);
        for word in words {
            assert!(said.contains(word), "{lists:?}: `{word}` is missing: {said}");
        }
    }
}

/// It lists only the first names as if they were all, or none at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_ends_where_the_next_number_is_absent_and_not_where_a_listing_ends() {
    for lists in [Lists::FirstPageOnly, Lists::NothingThere] {
        for writers in [Writers::Many, Writers::Single] {
            // Where every listing is empty, a log whose names carry its commits cannot be found.
            if (lists, writers) == (Lists::NothingThere, Writers::Single) {
                continue;
            }
            let server = FakeS3::start();
            let store = store(&server, writers);
            filled(&store, 7).await;
            server.list_so(lists, 2);
            assert_eq!(files(&store).await.expect("opened"), 7, "{lists:?}");
            assert_eq!(chain_length(&store, &binding().name).await.expect("read"), 7, "{lists:?}");
            let next = try_writer(&store).await.expect("opened");
            assert_eq!(committed(next.land(new_commit(70, 79)).await).number, 8, "{lists:?}: no fork");
            server.behave();
            assert_eq!(files(&store).await.expect("opened"), 8);
            assert_eq!(server.keys().iter().filter(|key| is_manifest(key)).count(), 8);
        }
    }
}

fn is_manifest(key: &str) -> bool {
    key.contains("/_manifest/") && !key.contains("/_checkpoint/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proof_of_the_end_is_one_request() {
    let server = FakeS3::start();
    let store = store(&server, Writers::Many);
    let asked = async || {
        server.take_requests();
        files(&store).await.expect("opened");
        server.take_requests()
    };
    let count = |asked: &[String], part: &str| asked.iter().filter(|request| request.contains(part)).count();
    filled(&store, 1).await;
    let plain = asked().await;
    let next = format!("GET /b/some/lake/_manifest/account%3Dacme/{:016}/{:020}.json", 0, 2);
    // The listings of checkpoints and of manifests, the manifest, and the one that must not be there.
    assert_eq!((plain.len(), count(&plain, "list-type=2"), count(&plain, &next)), (4, 2, 1), "{plain:#?}");

    // The same lake goes on by a single writer.
    let single = writer(&store.clone().written_by(Writers::Single)).await;
    let committed = committed(single.land(new_commit(10, 19)).await);
    assert_eq!(committed.number, 2);
    store.delete(&Layout::new(binding().name).checkpoint(2, committed.id)).await.expect("deleted");
    let named = asked().await;
    let next = format!("prefix=some%2Flake%2F_manifest%2Faccount%3Dacme%2F{:016}%2F{:020}", 0, 3);
    assert_eq!((named.len(), count(&named, "list-type=2"), count(&named, &next)), (5, 3, 1), "{named:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_invents_names_for_ever_is_given_up() {
    let server = FakeS3::start();
    let store = store(&server, Writers::Many);
    filled(&store, 1).await;
    server.list_so(Lists::Invented, 1);
    let error = ends(files(&store)).await.expect_err("refused");
    assert!(said(&error).contains("there is no end"), "{error}");
}

/// Keys that no lake makes: of consoles, of other programs, and such as a path cannot hold.
const FOREIGN: [&[u8]; 16] = [
    b"",
    b"/",
    b"//x",
    b"./x",
    b"../x",
    b"_manifest/",
    b"_manifest//account=acme/00000000000000000009.json",
    b"_manifest/account=acme/",
    b"_manifest/account=acme/%2e%2E/%zz",
    b"_manifest/account%3Dacme/00000000000000000009.json",
    b"purchase_apply/account=acme//export.csv",
    b"purchase_apply/account=acme/./a",
    b"purchase_apply/_SUCCESS",
    b"purchase_apply_$folder$",
    b"_lease/\x01\x7f\n<&>",
    b"purchase_apply/account=acme/\xff\xfe.csv",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_keys_of_any_shape_stop_nothing() {
    let server = FakeS3::start();
    let store = store(&server, Writers::Many);
    filled(&store, 3).await;
    for key in FOREIGN {
        server.put(&[b"some/lake/", key].concat(), "x");
    }
    assert_eq!(Lake::accounts(&store).await.expect("listed"), [binding().name]);
    assert_eq!(accounts_with_objects(&store).await.expect("listed"), [binding().name]);
    assert_eq!(files(&store).await.expect("opened"), 3);
    assert_eq!(chain_length(&store, &binding().name).await.expect("read"), 3);
    let lake = Lake::open(store.clone(), binding().name).await.expect("opened");
    let left = super::sweep::leftovers(&lake, window(0, 9).start()).await.expect("listed");
    assert!(left.unfinished.is_empty() && left.deletable.is_empty(), "{left:?}");
    let after = writer(&store).await;
    after.sweep().await.expect("swept");
    committed(after.land(new_commit(30, 39)).await);
    let findings = examine(&store).await.expect("examined");
    assert!(!findings.iter().any(crate::land::doctor::AbilityReport::is_fatal), "{findings:?}");
    let held = server.keys();
    for key in FOREIGN {
        let key = format!("some/lake/{}", String::from_utf8_lossy(key));
        assert!(held.contains(&key), "`{key}` was touched");
    }
    let told = crate::verify::untracked(&store).await.expect("listed");
    for key in FOREIGN {
        assert!(told.iter().any(|told| **told == *String::from_utf8_lossy(key)), "{key:?} is not told of: {told:#?}");
    }
    assert_eq!(told.len(), FOREIGN.len(), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_keeps_its_code_and_gets_its_hint() {
    let server = FakeS3::start();
    let store = store(&server, Writers::Many);
    for (status, code, message, word) in [
        (400, "ExpiredToken", "The provided token has expired.", "renew"),
        (400, "InvalidToken", "The provided token is malformed.", "renew"),
        (403, "RequestTimeTooSkewed", "The difference is too large.", "clock"),
        (400, "InvalidRequest", "Content-MD5 HTTP header is required for Object Lock parameters", "CHECKSUM"),
        (403, "AccessDenied", "Access Denied because object protected by object lock.", "retention"),
        (400, "KMS.DisabledException", "the key is disabled", "KMS"),
        (400, "InvalidArgument", "something else", "safe to run again"),
        (301, "PermanentRedirect", "The bucket must be addressed elsewhere.", "AWS_REGION"),
        (400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong", "AWS_REGION"),
        (409, "ConditionalRequestConflict", "A conflicting operation occurred.", "--max-retry-time"),
        (409, "OperationAborted", "A conflicting conditional operation is in progress.", "--max-retry-time"),
        (503, "SlowDown", "Please reduce your request rate.", "--max-retry-time"),
        (400, "RequestTimeout", "Your socket connection was not read in time.", "--max-retry-time"),
        (403, "", "", "AWS_SECRET_ACCESS_KEY"),
    ] {
        for every in [false, true] {
            server
                .reply_by(move |asked| (every || asked.is_conditional).then_some(Reply::Refuse(status, code, message)));
            let quick = store.clone().retrying_for(Duration::from_millis(500));
            let error = ends(try_writer(&quick)).await.err().expect("refused");
            let said = said(&error);
            for word in [&status.to_string(), code, message, word] {
                assert!(said.contains(word), "{status} {code}: `{word}` is missing: {said}");
            }
            assert!(!said.contains("single-writer"), "{said}");
            assert_eq!(error.kind(), ErrorKind::Lake);
        }
        server.behave();
        // The doctor says the same.
        server.reply_by(move |asked| asked.is_conditional.then_some(Reply::Refuse(status, code, message)));
        let findings = ends(examine(&store.clone().retrying_for(Duration::from_millis(200)))).await.expect("examined");
        let condition = findings.iter().find(|finding| finding.ability == Ability::ConditionalCreate).expect("tried");
        assert!(matches!(condition.outcome, AbilityOutcome::Fails(_)), "{condition:?}");
        let hint = condition.hint.as_ref().expect("a hint").english();
        assert!(hint.contains(word) && !hint.contains("single-writer"), "{status} {code}: {hint}");
        server.behave();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_store_without_the_condition_is_for_a_single_writer() {
    let server = FakeS3::start();
    let store = store(&server, Writers::Many);
    for reply in [
        Reply::Refuse(501, "NotImplemented", "A header you provided implies functionality that is not implemented"),
        Reply::Refuse(501, "", ""),
        Reply::Refuse(400, "InvalidArgument", "If-None-Match is not supported"),
        Reply::Refuse(400, "NotImplemented", ""),
        Reply::IgnoreCondition,
    ] {
        let given = reply.clone();
        server.reply_by(move |asked| asked.is_conditional.then(|| given.clone()));
        let error = try_writer(&store).await.err().expect("refused");
        assert!(said(&error).contains("--single-writer"), "{reply:?}: {error}");
        assert_eq!(server.keys(), Vec::<String>::new(), "the probe is gone");
    }
    // What refuses every put, or keeps nothing, is no such store.
    for reply in [Reply::Refuse(501, "NotImplemented", "no"), Reply::Pretend] {
        let given = reply.clone();
        server.reply_by(move |asked| (asked.method == hyper::Method::PUT).then(|| given.clone()));
        let error = try_writer(&store).await.err().expect("refused");
        assert!(!said(&error).contains("--single-writer"), "{reply:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_waited_for_from_the_first_request_on() {
    for (status, code) in
        [(503, "SlowDown"), (409, "OperationAborted"), (400, "RequestTimeout"), (500, "InternalError")]
    {
        let server = FakeS3::start();
        let store = store(&server, Writers::Many).retrying_for(Duration::from_secs(60));
        let mut left = 6;
        server.reply_by(move |_| {
            left -= 1;
            (left >= 0).then_some(Reply::Refuse(status, code, "as the test says"))
        });
        filled(&store, 1).await;
        // The number of a commit is as contested.
        let mut left = 3;
        server.reply_by(move |asked| {
            left -= i32::from(asked.key.contains("_manifest/") && asked.is_conditional);
            (left >= 0 && asked.key.contains("_manifest/") && asked.is_conditional).then_some(Reply::Refuse(
                status,
                code,
                "as the test says",
            ))
        });
        committed(writer(&store).await.land(new_commit(10, 19)).await);
        server.behave();
        assert_eq!(files(&store).await.expect("opened"), 2, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_lists_one_name_a_page() {
    let server = FakeS3::start();
    let store = store(&server, Writers::Many);
    let findings = examine(&store).await.expect("examined");
    let pages = |findings: &[crate::land::doctor::AbilityReport]| {
        findings.iter().find(|finding| finding.ability == Ability::ListPages).expect("tried").clone()
    };
    assert_eq!(pages(&findings).outcome, AbilityOutcome::Works(Some(Text::verbatim("6 names on 6 pages"))));
    // On an empty lake, and with the usual pages, nothing else of it shows.
    for (lists, word) in [
        (Lists::WithoutTokens, "breaks off"),
        (Lists::FirstVersion, "first version"),
        (Lists::InCircles, "page 2"),
        (Lists::FirstPageAgain, "page 2"),
        (Lists::FirstPageOnly, "others than there are"),
    ] {
        server.list_so(lists, 1_000);
        let findings = ends(examine(&store)).await.expect("examined");
        let pages = pages(&findings);
        assert!(pages.is_fatal(), "{lists:?}: {pages:?}");
        assert!(
            matches!(&pages.outcome, AbilityOutcome::Fails(why) if why.english().contains(word)),
            "{lists:?}: {pages:?}"
        );
        server.behave();
        assert_eq!(server.keys(), Vec::<String>::new(), "{lists:?}: it clears up");
    }
}

/// Everything that a store can do to listings, but for inventing names without an end, which takes a while.
fn lists() -> impl Strategy<Value = Lists> {
    let mut all = Lists::CONTRADICTIONS.to_vec();
    all.retain(|lists| *lists != Lists::Invented);
    all.extend([Lists::Honestly, Lists::FromTheStart, Lists::FirstPageOnly, Lists::NothingThere]);
    all.extend([Lists::ErrorInSuccess("SlowDown"), Lists::ErrorInSuccess("NoSuchBucket")]);
    prop::sample::select(all)
}

async fn trial(is_single: bool, commits: i64, phases: &[(Lists, usize)]) {
    let server = FakeS3::start();
    let writers = if is_single { Writers::Single } else { Writers::Many };
    let store = store(&server, writers).retrying_for(Duration::from_millis(300));
    filled(&store, commits).await;
    let mut expected = usize::try_from(commits).expect("few");
    // What ended in an error may have been committed, or not.
    let mut unknown = 0;
    let mut next = commits;
    for (lists, page_names) in phases {
        server.list_so(*lists, *page_names);
        let about = format!("{lists:?} by {page_names}");
        // Where every listing is empty, a log whose names carry its commits cannot be found.
        let is_invisible = is_single && *lists == Lists::NothingThere;
        if let Ok(files) = ends(files(&store)).await {
            let fits = (expected..=expected + unknown).contains(&files);
            assert!(fits || is_invisible, "{about}: {files} of {expected}");
        }
        if let Ok(manifests) = ends(chain_length(&store, &binding().name)).await {
            let fits = (expected..=expected + unknown).contains(&manifests);
            assert!(fits || is_invisible, "{about}: {manifests} of {expected}");
        }
        let landed = async {
            let writer = try_writer(&store).await?;
            writer.sweep().await?;
            writer.land(new_commit(next * 10, next * 10 + 9)).await
        };
        if is_invisible {
            continue;
        }
        if let Ok(outcome) = ends(landed).await {
            committed(Ok(outcome));
            expected += 1;
        } else {
            unknown += 1;
        }
        next += 1;
    }
    server.behave();
    let lake = Lake::open(store.clone(), binding().name).await.expect("the log has no fork");
    let landed = lake.files(Table::PurchaseApply).len();
    assert!((expected..=usize::try_from(next).expect("few")).contains(&landed), "{landed} of {expected}");
    assert_eq!(lake.coverage().windows()[0].start(), window(0, 0).start());
    let manifests = server.keys().iter().filter(|key| is_manifest(key)).count();
    assert_eq!(manifests as u64, lake.state().next_number() - 1, "one manifest a number");
    let layout = Layout::new(binding().name);
    for file in lake.files(Table::PurchaseApply) {
        assert!(layout.parse(&file.entry.path).is_some());
        assert!(store.get(&file.entry.path).await.expect("an answer").is_some(), "{} is gone", file.entry.path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_store_does_to_listings_nothing_is_lost_and_everything_ends(
        is_single: bool,
        commits in 1_i64..6,
        phases in prop::collection::vec((lists(), 1_usize..5), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(trial(is_single, commits, &phases));
    }
}
