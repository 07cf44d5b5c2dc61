//! `wdt-lake sandbox`: what it prints points a client at it, and it behaves as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use wdt_lake::Edition;
use wdt_lake::sandbox::{Fault, OddityKind, Order, PoisonKind, expected_flagship_signature, expected_signature};
use wdt_lake::{Clock as _, SystemClock};

use crate::support::{LakeDir, program, run};

/// A sandbox of its own process; ended with the test.
struct Served {
    process: Child,
    headline: String,
    environment: BTreeMap<String, String>,
}

impl Served {
    fn start(arguments: &[&str]) -> Self {
        let mut process =
            program().arg("sandbox").args(arguments).stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let headline = lines.next().unwrap();
        let environment = lines
            .by_ref()
            .take(5)
            .map(|line| {
                let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        Self { process, headline, environment }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sync(served: &Served, lake: &LakeDir) -> crate::support::Said {
    let arguments = [
        "sync",
        "--json",
        "--calls-per-minute",
        "0",
        "--from",
        "2026-05-01",
        "--to",
        "2026-06-30",
        "--lake",
        &lake.text(),
    ];
    run(program().envs(&served.environment).args(arguments))
}

/// The raw answer, head and body, to a signed query for page 0 of June 2026.
fn ask(served: &Served, edition: Edition) -> Vec<u8> {
    let set = |name: &str| served.environment[name].as_str();
    let (sid, key, secret) = (set("WDT_SID"), set("WDT_APPKEY"), set("WDT_APPSECRET"));
    let (start, end, now) = ("2026-06-01 00:00:00", "2026-06-30 23:59:59", SystemClock.now().unix());
    let encode =
        |pairs: &BTreeMap<String, String>| form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let mut params: BTreeMap<String, String> =
        [("sid", sid), ("page_no", "0"), ("page_size", "100")].map(|(name, value)| (name.into(), value.into())).into();
    let (host, path) = set("WDT_BASE_URL").strip_prefix("http://").unwrap().split_once('/').unwrap();
    let (target, kind, body) = if edition == Edition::Flagship {
        let (secret, salt) = secret.split_once(':').unwrap();
        let body = format!(r#"[{{"start_time":"{start}","end_time":"{end}"}}]"#);
        let since_2012 = (now - 1_325_347_200).to_string();
        let method = "purchase.PurchaseApply.search";
        let more = [("key", key), ("salt", salt), ("method", method), ("v", "1.0"), ("calc_total", "1")];
        params.extend(more.map(|(name, value)| (name.into(), value.into())));
        params.extend([("timestamp".into(), since_2012), ("body".into(), body.clone())]);
        params.insert("sign".into(), expected_flagship_signature(&params, secret));
        params.remove("body");
        (format!("/{path}?{}", encode(&params)), "application/json", body)
    } else {
        params.extend([("appkey", key), ("start_time", start), ("end_time", end)].map(|(n, v)| (n.into(), v.into())));
        params.insert("timestamp".into(), now.to_string());
        let sign = expected_signature(params.iter().map(|(name, value)| (name.as_str(), value.as_str())), secret);
        params.insert("sign".into(), sign);
        (format!("/{path}/purchase_apply_query.php"), "application/x-www-form-urlencoded", encode(&params))
    };
    let mut stream = TcpStream::connect(host).unwrap();
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(&[head, body].concat().into_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn oddities_are_served_over_http() {
    for edition in Edition::ALL {
        let name = edition.to_string();
        let oddities = "total-high=7,bom,keyed-lists,unreadable-quote=1,no-date,busy=2";
        let world = ["--edition", &name, "--requisitions", "20", "--days", "30", "--end", "2026-06-30"];
        let served = Served::start(&[&world[..], &["--oddities", oddities]].concat());
        let answer = String::from_utf8(ask(&served, edition)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && !head.to_ascii_lowercase().contains("\ndate:"), "{name}: {head}");
        assert!(body.starts_with("\u{feff}{"), "{name}: {body}");
        assert!(body.contains("\"total_count\":27,") || body.contains("\"total_count\":\"27\","), "{name}: {body}");
        assert!(body.contains("_list\":{\"0\":{") && body.contains("\"说\"不\"行\""), "{name}: {body}");
        let refused = String::from_utf8(ask(&served, edition)).unwrap();
        assert!(refused.contains("系统繁忙"), "{name}: {refused}");
        // Without them nothing of it is there.
        let friendly = Served::start(&world);
        let answer = String::from_utf8(ask(&friendly, edition)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.to_ascii_lowercase().contains("\ndate: "), "{name}: {head}");
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{name}: {body}");
        assert!(body.contains("\"total_count\":20,") || body.contains("\"total_count\":\"20\","), "{name}: {body}");
    }
}

/// Lines of `text` that begin with this name, whatever list mark stands before it.
fn lines_of<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let named = |line: &&str| {
        let line = line.trim_start().trim_start_matches("- ");
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with([':', '[', ' ']) && rest.len() > 3)
    };
    text.lines().filter(named).collect()
}

#[test]
fn help_lists_every_value() {
    let help = run(program().args(["sandbox", "--help"])).expect_code(0).stdout;
    let table = run(program().args(["sandbox", "--oddities", "list"])).expect_code(0).stdout;
    // What stands below a flag, up to the next one.
    let below = |flag: &str| {
        let (_, below) = help.split_once(&format!("\n      {flag} ")).unwrap_or_else(|| panic!("{flag}: {help}"));
        below.split("\n      --").next().unwrap().to_owned()
    };
    let oddities = below("--oddities");
    for kind in OddityKind::all() {
        let (help, table) = (lines_of(&oddities, kind.name()), lines_of(&table, kind.name()));
        assert_eq!((help.len(), table.len()), (1, 1), "{}", kind.name());
    }
    let faults: Vec<_> = Fault::vocabulary().map(|(name, _)| name).collect();
    let (orders, poisons) = (Order::ALL.map(Order::name), PoisonKind::ALL.map(PoisonKind::name));
    for (flag, names) in [("--order", &orders[..]), ("--faults", &faults), ("--poison", &poisons)] {
        for name in names {
            assert_eq!(lines_of(&below(flag), name).len(), 1, "{flag} {name}: {}", below(flag));
        }
    }
}

#[test]
fn what_is_unknown_is_answered_with_what_is_known() {
    for (arguments, hints) in [
        (&["--oddities", "total-hihg"][..], &["did you mean `total-high`?", "beyond-last"][..]),
        (&["--oddities", "busy=never"], &["busy[=N]", "every N-th call"]),
        (&["--edition", "flagship", "--oddities", "id-zero"], &["enterprise and y"]),
        (&["--order", "by-mood"], &["shuffled-ties", "apply-id"]),
        (&["--faults", "0.1:plague"], &["retry-after-date", "short-body"]),
        (&["--poison", "0.1:vitriol"], &["surplus-decimals", "unknown-fields"]),
    ] {
        let said = run(program().arg("sandbox").args(arguments)).expect_code(2);
        assert!(hints.iter().all(|hint| said.stderr.contains(hint)), "{arguments:?}: {}", said.stderr);
    }
}

#[test]
fn the_printed_environment_points_a_client_at_it() {
    let served = Served::start(&["--requisitions", "250", "--days", "30", "--seed", "3", "--end", "2026-06-30"]);
    assert!(
        served.headline.contains("250 requisitions") && served.headline.contains("2026-06-01 00:00:00"),
        "{}",
        served.headline
    );
    let lake = LakeDir::new();
    assert_eq!(sync(&served, &lake).expect_code(0).json()["rows"]["purchase_apply"], 250);
    // The same seed is the same ERP.
    let again = Served::start(&["--requisitions", "250", "--days", "30", "--seed", "3", "--end", "2026-06-30"]);
    let other = LakeDir::new();
    let sum = |lake: &LakeDir, served| sync(served, lake).expect_code(0).json()["real_num"].clone();
    let fresh = LakeDir::new();
    assert_eq!(sum(&other, &again), sum(&fresh, &served));
}

#[test]
fn every_edition_is_served_and_spoiled() {
    for edition in ["y", "flagship"] {
        let world = ["--edition", edition, "--requisitions", "300", "--days", "30", "--end", "2026-06-30"];
        let served = Served::start(&[&world[..], &["--poison", "0.02:overflow,bad-line"]].concat());
        assert_eq!(served.environment["WDT_EDITION"], edition);
        let summary = sync(&served, &LakeDir::new()).expect_code(3).json();
        let count = |table: &str| summary["rows"][table].as_u64().unwrap();
        assert!(count("quarantined") > 0, "{edition}: {summary}");
        assert_eq!(count("purchase_apply") + count("quarantined"), 300, "{edition}: {summary}");
    }
}

#[test]
fn hostile_flags_are_obeyed_and_overcome() {
    let flags = [
        "--drift",
        "0.3:2",
        "--faults",
        "0.1:502,truncated",
        "--order",
        "shuffled-ties",
        "--poison",
        "0.01:overflow",
        "--latency",
        "1ms",
    ];
    let world = [
        "--requisitions",
        "300",
        "--days",
        "30",
        "--end",
        "2026-06-30",
        "--max-page-rows",
        "60",
        "--clock-skew",
        "900",
    ];
    let served = Served::start(&[&world[..], &flags[..]].concat());
    let lake = LakeDir::new();
    let summary = sync(&served, &lake).expect_code(3).json();
    assert!(summary["rows"]["quarantined"].as_u64().unwrap() > 0, "{summary}");
    assert!(summary["rows"]["purchase_apply"].as_u64().unwrap() > 200, "{summary}");
}

#[test]
fn what_it_cannot_be_told_is_refused() {
    for wrong in [
        &["--drift", "2"][..],
        &["--faults", "0.1:plague"],
        &["--order", "by-mood"],
        &["--days", "0"],
        &["--listen", "0.0.0.0:0"],
        &["--edition", "basic"],
    ] {
        run(program().arg("sandbox").args(wrong)).expect_code(2);
    }
}

/// A lake knows its sandbox by the seller account, not by the port.
#[test]
fn a_sandbox_that_is_started_again_serves_the_same_lake_and_another_does_not() {
    let start = |sid: &str| {
        let world = ["--requisitions", "30", "--days", "20", "--end", "2026-06-20", "--hold-clock", "--sid", sid];
        Served::start(&world)
    };
    let lake = LakeDir::new();
    for _ in 0..2 {
        let served = start("acme");
        assert_eq!(served.environment["WDT_SID"], "acme");
        sync(&served, &lake).expect_code(0);
    }
    let mut other = start("beta");
    other.environment.insert("WDT_ACCOUNT".to_owned(), "acme".to_owned());
    let refused = sync(&other, &lake).expect_code(2);
    assert!(refused.stderr.contains("another account under the same name"), "{}", refused.stderr);
}
