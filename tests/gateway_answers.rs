//! No answer is believed for its dress: what is read however it is dressed, what is asked for again, how often, and
//! what a gateway must not make the program take into memory.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use wdt_lake::{
    CallPolicy, Called, Edition, Error, ErrorKind, Gateway, NotRead, Query, Response, SystemClock, UnreadableResponse,
    Window,
};

use crate::support::at;
use crate::support::fake::{Fake, http, ok};

const PAGE: &[u8] = br#"{"code":0,"message":"","total_count":"1","purchase_list":[{"purchase_apply_no":"A1"}]}"#;

fn quick() -> CallPolicy {
    CallPolicy {
        calls_per_minute: 0,
        first_delay: Duration::from_millis(2),
        max_retry_time: Duration::from_secs(20),
        timeout: Duration::from_secs(20),
        ..CallPolicy::default()
    }
}

/// For calls that only end when their time is spent.
fn short() -> CallPolicy {
    CallPolicy { max_retry_time: Duration::from_millis(100), ..quick() }
}

type Asked = Result<Called<Response<Vec<u8>>>, Error>;

/// Asks for one page as often as there are `queries`, all at once.
fn ask_at_once(fake: &Fake, edition: Edition, policy: &CallPolicy, queries: usize) -> Vec<Asked> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let gateway = Gateway::new(&fake.account(edition), policy, Arc::new(SystemClock)).unwrap();
    let window = Window::new(at("2026-05-01 00:00:00"), at("2026-05-02 00:00:00")).unwrap();
    let query = Query::Page { window, page_no: 0, page_size: 100 };
    let asked = (0..queries).map(|_| {
        gateway.query(&query, |answer| match answer.body() {
            body if body.windows(6).any(|six| six == b"no row") => Err(NotRead::Unreadable("not a row".into())),
            body => Ok(body.to_vec()),
        })
    });
    runtime.block_on(futures::future::join_all(asked))
}

fn ask_of(fake: &Fake, edition: Edition, policy: &CallPolicy) -> Asked {
    ask_at_once(fake, edition, policy, 1).pop().unwrap()
}

fn ask(fake: &Fake, policy: &CallPolicy) -> Asked {
    ask_of(fake, Edition::Enterprise, policy)
}

#[track_caller]
fn read(asked: Asked) -> (Vec<u8>, u32) {
    match asked {
        Ok(Called { value: Response::Read(body), retries }) => (body, retries),
        other => panic!("not read: {other:?}"),
    }
}

#[track_caller]
fn unreadable(asked: Asked) -> UnreadableResponse {
    match asked {
        Ok(Called { value: Response::Unreadable(response), .. }) => response,
        other => panic!("not unreadable: {other:?}"),
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_spelling_of_gzip_and_every_dress_before_the_json_is_read() {
    let two_members = [gzip(&PAGE[..30]), gzip(&PAGE[30..])].concat();
    let marked = [b"\xEF\xBB\xBF\xEF\xBB\xBF\r\n\n \xEF\xBB\xBF", PAGE].concat();
    for (encoding, body) in [
        ("gzip", gzip(PAGE)),
        ("x-gzip", gzip(PAGE)),
        ("GZIP", gzip(PAGE)),
        ("X-GZip", two_members.clone()),
        ("gzip", two_members),
        ("gzip", [gzip(PAGE), vec![0; 9]].concat()),
        ("identity", gzip(PAGE)),
        ("gzip", gzip(&marked)),
        ("identity", marked),
        ("identity", PAGE.to_vec()),
        ("gzip", PAGE.to_vec()),
    ] {
        let fake = Fake::answering(move |_| http(200, &[("Content-Encoding", encoding)], &body));
        assert_eq!(read(ask(&fake, &quick())), (PAGE.to_vec(), 0), "{encoding}");
    }
}

#[test]
fn only_the_code_of_the_edition_decides() {
    let body: &[u8] = br#"{"status":"1","code":"0","flag":"failure","purchase_list":[]}"#;
    let fake = Fake::answering(move |_| ok(body));
    assert_eq!(read(ask(&fake, &quick())).0, body);
    let body: &[u8] = br#"{"code":2180,"success":false,"status":0,"data":{"order_list":[]}}"#;
    let fake = Fake::answering(move |_| ok(body));
    assert_eq!(read(ask_of(&fake, Edition::Flagship, &quick())).0, body);
    let fake = Fake::answering(move |_| ok(br#"{"code":2180,"message":"no","status":0}"#));
    assert_eq!(ask(&fake, &quick()).unwrap_err().kind(), ErrorKind::GatewayRefused);
}

#[test]
fn what_is_no_json_is_an_outage_and_never_a_response() {
    let cut = gzip(PAGE);
    for (encoding, body) in [
        ("identity", b"<html>502</html>".to_vec()),
        ("identity", Vec::new()),
        ("identity", b"busy".to_vec()),
        ("identity", b"[]".to_vec()),
        ("gzip", cut[..cut.len() - 9].to_vec()),
        ("gzip", [cut.clone(), b"<html>".to_vec()].concat()),
        ("gzip, gzip", gzip(&gzip(PAGE))),
        ("deflate", b"\x78\x9c\xab\x56\x4a\xce\x4f".to_vec()),
    ] {
        let shown = body.clone();
        let fake = Fake::answering(move |_| http(200, &[("Content-Encoding", encoding)], &body));
        let error = ask(&fake, &short()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::GatewayUnavailable, "{shown:?}: {error}");
        assert!(error.to_string().contains("no usable response after"), "{error}");
        assert!(fake.asked().len() > 3, "{shown:?}: asked {} times", fake.asked().len());
    }
    let fake = Fake::answering(|nth| ok(if nth < 8 { b"<html>" } else { PAGE }));
    assert_eq!(read(ask(&fake, &quick())), (PAGE.to_vec(), 7));
}

#[test]
fn a_response_that_stays_unreadable_is_given_back_after_three_tries() {
    for body in [
        &br#"{"code":0,"purchase_list":[{"no row"#[..],
        br#"{"message":"","code"#,
        b"{}",
        br#"{"code":"x"}"#,
        br#"{"errno":7,"purchases":[]}"#,
        br#"{"code":1,"message":"cu"#,
    ] {
        let fake = Fake::answering(move |_| ok(&[b" \n", body].concat()));
        let response = unreadable(ask(&fake, &quick()));
        assert_eq!(fake.asked().len(), 3, "{:?}", String::from_utf8_lossy(body));
        assert_eq!(CallPolicy::UNREADABLE_TRIES, 3);
        assert_eq!(response.bytes, body);
        assert_eq!(response.size, body.len() as u64 + 2, "the size is that of the body");
        assert!(!response.is_too_large && !response.why.is_empty());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as i64;
        assert!((now - 60_000_000..=now).contains(&response.received_at_micros));
        assert!(!format!("{response:?}").contains("bytes:"), "{response:?}");
    }
    // An outage between does not begin it anew, and does not count.
    let fake = Fake::answering(|nth| match nth {
        2 | 4 => http(502, &[], b""),
        _ => ok(b"{}"),
    });
    unreadable(ask(&fake, &quick()));
    assert_eq!(fake.asked().len(), 5);
    let fake = Fake::answering(|nth| ok(if nth < 3 { b"{}" } else { PAGE }));
    assert_eq!(read(ask(&fake, &quick())), (PAGE.to_vec(), 2));
    // However little time there is to try again: it is no outage.
    let fake = Fake::answering(|_| ok(b"{}"));
    unreadable(ask(&fake, &CallPolicy { max_retry_time: Duration::ZERO, ..quick() }));
}

const LIMIT: u64 = 1 << 20;
/// What may be on the way when the program has had enough: both ends of a socket, and what the HTTP library reads
/// ahead.
const ON_THE_WAY: u64 = 16 << 20;

/// Writes a body that does not end, until nobody takes it; gives what was written.
fn endless(stream: &mut dyn crate::support::fake::Connection, head: &str, begin: &[u8]) -> u64 {
    let mut written = 0;
    let mut chunk = begin.to_vec();
    chunk.resize(64 << 10, b' ');
    if stream.write_all(head.as_bytes()).is_err() {
        return 0;
    }
    // Ten times what may be written before the test fails.
    while written < 10 * (LIMIT + ON_THE_WAY) && stream.write_all(&chunk).is_ok() {
        written += chunk.len() as u64;
        chunk.fill(b' ');
    }
    written
}

fn nobody_takes_more_than_the_limit(head: &'static str, begin: &'static [u8], judge: impl Fn(Asked)) {
    let written = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&written);
    let fake = Fake::start(move |_, stream| {
        let bytes = endless(stream, head, begin);
        noted.lock().unwrap().push(bytes);
    });
    let policy = CallPolicy { max_response_bytes: LIMIT, ..short() };
    ask_at_once(&fake, Edition::Enterprise, &policy, 4).into_iter().for_each(judge);
    let asked = fake.asked().len();
    let began = Instant::now();
    while written.lock().unwrap().len() < asked && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let written = written.lock().unwrap();
    assert_eq!(written.len(), asked, "somebody still takes a body in");
    assert!(written.iter().all(|bytes| *bytes < LIMIT + ON_THE_WAY), "{written:?}");
}

const UNKNOWN_LENGTH: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
const LARGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 251658240\r\n\r\n";

#[test]
fn four_responses_that_are_too_large_are_let_go_at_once() {
    for (head, least) in [(UNKNOWN_LENGTH, LIMIT), (LARGE, 251_658_240)] {
        nobody_takes_more_than_the_limit(head, b"{", move |asked| {
            let response = unreadable(asked);
            assert!(response.is_too_large && response.bytes.is_empty(), "{response:?}");
            assert!(response.size >= least, "{response:?}");
        });
    }
}

#[test]
fn pages_of_a_proxy_are_not_taken_into_memory_however_large() {
    for head in [UNKNOWN_LENGTH, LARGE] {
        nobody_takes_more_than_the_limit(head, b"<html>", |asked| {
            assert_eq!(asked.unwrap_err().kind(), ErrorKind::GatewayUnavailable);
        });
    }
}

#[test]
fn a_response_that_is_too_large_is_asked_for_once() {
    let bomb = gzip(&[b"{".to_vec(), vec![b' '; 64 << 20]].concat());
    let fake = Fake::answering(move |_| ok(&bomb));
    let response = unreadable(ask(&fake, &CallPolicy { max_response_bytes: LIMIT, ..quick() }));
    assert!(response.is_too_large && response.size > LIMIT && response.size < 2 * LIMIT, "{response:?}");
    assert_eq!(fake.asked().len(), 1);
    let fake = Fake::answering(|_| ok(PAGE));
    let exactly = CallPolicy { max_response_bytes: PAGE.len() as u64, ..quick() };
    assert_eq!(read(ask(&fake, &exactly)).0, PAGE);
}

fn refusing(message: &'static str, times: usize) -> Fake {
    Fake::answering(move |nth| match nth {
        nth if nth <= times => ok(format!(r#"{{"code":9,"message":"{message}"}}"#).as_bytes()),
        _ => ok(PAGE),
    })
}

#[test]
fn unknown_refusals_are_tried_a_few_times_and_stop_their_window_then() {
    for message in ["五月不行", "数据库错误", "系统异常，请稍后再试", "请求超时", ""] {
        let fake = refusing(message, 4);
        assert_eq!(read(ask(&fake, &quick())).1, 4, "{message}");
        let fake = refusing(message, usize::MAX);
        let error = ask(&fake, &quick()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::GatewayRefused, "{error}");
        assert!(error.to_string().contains(&format!("code 9: {message}")), "{error}");
        assert_eq!(fake.asked().len(), 5);
        // The retry time ends it earlier, and as what it is.
        let fake = refusing(message, usize::MAX);
        let error = ask(&fake, &CallPolicy { max_retry_time: Duration::ZERO, ..quick() }).unwrap_err();
        assert_eq!((error.kind(), fake.asked().len()), (ErrorKind::GatewayRefused, 1), "{error}");
    }
}

#[test]
fn a_busy_server_is_waited_for_and_a_callers_fault_is_said_at_once() {
    for message in
        ["系统繁忙", "系统维护中", "调用太频繁，请稍后再试!", "接口调用已被限流", "Too many requests", "QPS超过上限"]
    {
        let fake = refusing(message, 7);
        assert_eq!(read(ask(&fake, &quick())).1, 7, "{message}");
        let fake = refusing(message, usize::MAX);
        assert_eq!(ask(&fake, &short()).unwrap_err().kind(), ErrorKind::GatewayUnavailable, "{message}");
    }
    for message in ["日期格式不合法", "您的查询时间过宽,查询时间不能大于30天", "此方法仅支持分页查询"]
    {
        let fake = refusing(message, usize::MAX);
        assert_eq!(ask(&fake, &quick()).unwrap_err().kind(), ErrorKind::GatewayRefused, "{message}");
        assert_eq!(fake.asked().len(), 1, "{message}");
    }
}

#[test]
fn the_delays_of_refusals_grow_and_everybody_waits() {
    let fake = refusing("五月不行", 4);
    let policy = CallPolicy { first_delay: Duration::from_millis(20), ..quick() };
    read(ask(&fake, &policy));
    let asked: Vec<Instant> = fake.asked().into_iter().map(|(when, _)| when).collect();
    for (nth, pair) in asked.windows(2).enumerate() {
        let least = Duration::from_millis(40 << nth);
        assert!(pair[1] - pair[0] >= least, "delay {nth}: {:?}", pair[1] - pair[0]);
    }
    // Of many calls at once that meet one refusal, no further one is sent before the rest is over.
    let fake = refusing("系统繁忙", 1);
    let policy = CallPolicy { first_delay: Duration::from_millis(200), concurrency: 1, ..quick() };
    ask_at_once(&fake, Edition::Enterprise, &policy, 3).into_iter().for_each(|asked| drop(read(asked)));
    let asked: Vec<Instant> = fake.asked().into_iter().map(|(when, _)| when).collect();
    assert_eq!(asked.len(), 4);
    assert!(asked[1] - asked[0] >= Duration::from_millis(400), "{:?}", asked[1] - asked[0]);
}

#[test]
fn retry_after_is_kept_to_in_seconds_and_as_a_date() {
    // A server whose clock is years behind, and asks for a wait by it.
    const NOW: &str = "Fri, 01 May 2020 10:00:00 GMT";
    const SOON: &str = "Fri, 01 May 2020 10:00:01 GMT";
    const LATE: &str = "Fri, 01 May 2020 11:00:00 GMT";
    for (status, asked_for) in [(503, "1"), (503, SOON), (429, "1"), (429, SOON)] {
        let fake = Fake::answering(move |nth| match nth {
            1 => http(status, &[("Date", NOW), ("Retry-After", asked_for)], b"busy"),
            _ => ok(PAGE),
        });
        read(ask(&fake, &quick()));
        let asked = fake.asked();
        let waited = asked[1].0 - asked[0].0;
        assert!(waited >= Duration::from_secs(1), "{status}, {asked_for}: {waited:?}");
    }
    // Longer than the retry time: there is no use in waiting.
    for asked_for in ["3600", LATE] {
        let fake = Fake::answering(move |_| http(503, &[("Date", NOW), ("Retry-After", asked_for)], b"busy"));
        let began = Instant::now();
        assert_eq!(ask(&fake, &quick()).unwrap_err().kind(), ErrorKind::GatewayUnavailable);
        assert_eq!(fake.asked().len(), 1, "{asked_for}");
        assert!(began.elapsed() < quick().max_retry_time, "{asked_for}");
    }
}

#[test]
fn a_refusal_says_how_long_to_wait_as_well() {
    let fake = Fake::answering(|nth| match nth {
        1 => http(200, &[("Retry-After", "1")], br#"{"code":9,"message":"busy"}"#),
        _ => ok(PAGE),
    });
    read(ask(&fake, &quick()));
    let asked = fake.asked();
    assert!(asked[1].0 - asked[0].0 >= Duration::from_secs(1));
}

/// A response buffer that was large is not kept, and one after the other is read whole.
#[test]
fn large_and_small_responses_follow_each_other() {
    let page = |bytes: usize| format!(r#"{{"code":0,"message":"{}","purchase_list":[]}}"#, "x".repeat(bytes));
    let fake = Fake::answering(move |nth| ok(page([10, 3 << 20, 20, 5 << 20][nth - 1]).as_bytes()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let gateway = Gateway::new(&fake.account(Edition::Enterprise), &quick(), Arc::new(SystemClock)).unwrap();
    for bytes in [10, 3 << 20, 20, 5 << 20] {
        let number = Query::Number("A1".into());
        let asked = gateway.query(&number, |answer| Ok(answer.body().to_vec()));
        let (body, _) = read(runtime.block_on(asked));
        assert_eq!(body, page(bytes).into_bytes());
    }
    assert_eq!(fake.asked().len(), 4);
}
