//! Many accounts in one run: each waits for its own gateway, and none for another's; all share the memory.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use wdt_lake::sandbox::{Behaviour, Fault, Options, Sandbox, generate};

use crate::peak_memory::MOST_BYTES;
use crate::support::peak::run_measured;
use crate::support::process::{at_call, end, signal};
use crate::support::{at, program, run};

const JUNE: [&str; 4] = ["--from", "2026-06-01", "--to", "2026-06-30"];

/// A folder with a file of accounts of one gateway, which all have the same requisitions.
pub(crate) struct Many {
    folder: TempDir,
    pub(crate) sandbox: Sandbox,
    accounts: u32,
}

impl Many {
    pub(crate) fn new(accounts: u32, requisitions: usize, behaviour: Behaviour) -> Self {
        let requisitions = generate(11, requisitions, 30, at("2026-06-30 23:59:59"));
        let options = Options { more_accounts: accounts, requisitions, behaviour, ..Options::default() };
        let many = Self { folder: TempDir::new().unwrap(), sandbox: Sandbox::start(options).unwrap(), accounts };
        many.write(|_| "calls_per_minute = 0\n".to_owned());
        many
    }

    /// The name of the nth account, from 1.
    pub(crate) fn name(nth: u32) -> String {
        format!("shop{nth:05}")
    }

    /// Writes the file, with the lines that `more` says for each account.
    pub(crate) fn write(&self, more: impl Fn(u32) -> String) {
        let [(_, edition), (_, sid), (_, appkey), _, (_, base_url)] = self.sandbox.environment();
        let one = |nth: u32| {
            format!(
                "\n[[account]]\nname = \"{name}\"\nedition = \"{edition}\"\nsid = \"{sid}-{nth}\"\nappkey = \"{appkey}\"\n\
                 secret_env = \"SECRET\"\nbase_url = \"{base_url}\"\n{more}",
                name = Self::name(nth),
                more = more(nth)
            )
        };
        let all: String = (1..=self.accounts).map(one).collect();
        std::fs::write(self.folder.path().join("wdt-lake.toml"), format!("lake = \"lake\"\n{all}")).unwrap();
    }

    /// A place beside the file.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.env("WDT_CONFIG", self.folder.path().join("wdt-lake.toml")).args(arguments);
        command.env("SECRET", self.sandbox.credentials().secret.expose());
        command
    }

    pub(crate) fn sync(&self, arguments: &[&str]) -> Command {
        self.program(&[&["sync", "--json", "--compact", "off"], &JUNE[..], arguments].concat())
    }

    /// Lets the gateway never answer these accounts.
    fn let_die(&self, dead: impl Fn(u32) -> bool + Send + Sync + 'static) {
        self.sandbox.choose_faults(move |call| {
            let nth = call.params["sid"].rsplit_once('-').unwrap().1.parse().unwrap();
            dead(nth).then_some(Fault::Silence)
        });
    }

    #[track_caller]
    pub(crate) fn is_whole(&self, summary: &Value, requisitions: u64) {
        let accounts = summary["accounts"].as_array().unwrap();
        assert_eq!(accounts.len(), self.accounts as usize);
        for account in accounts {
            assert_eq!(account["rows"]["purchase_apply"], requisitions, "{account}");
            assert_eq!(account["exit_code"], 0, "{account}");
        }
    }
}

/// Two accounts at once, and four whose gateway never answers: all others are done while those still wait for it.
#[cfg(unix)]
#[test]
fn gateways_that_never_answer_hold_nobody_up() {
    let many = Many::new(12, 30, Behaviour::default());
    many.let_die(|nth| nth % 3 == 0);
    let mut command = many.sync(&["--max-accounts", "2", "--log-level", "info"]);
    let began = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    for _ in 0..8 {
        let done = lines.find(|line| line.contains("the account is done")).expect("the live ones are done");
        assert!(done.contains("exit_code=0"), "{done}");
    }
    // A call is given up after sixty seconds.
    assert!(began.elapsed() < Duration::from_secs(55), "{:?}", began.elapsed());
    signal(child.id(), "TERM");
    let reading = std::thread::spawn(move || lines.for_each(drop));
    let summary = end(child).expect_code(7).json();
    reading.join().unwrap();
    let codes: Vec<&Value> = summary["accounts"].as_array().unwrap().iter().map(|one| &one["exit_code"]).collect();
    let expected = [0, 0, 7].repeat(4);
    assert_eq!(codes, expected.iter().map(|code| Value::from(*code)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
}

/// The gateway takes one call at a time of all of them together, and refuses none.
#[test]
fn a_limit_that_accounts_share_is_kept_by_all_together() {
    let behaviour = Behaviour { max_concurrency: Some(1), latency: "5ms".parse().unwrap(), ..Behaviour::default() };
    let many = Many::new(6, 250, behaviour);
    many.write(|_| "calls_per_minute = 0\nconcurrency = 1\nlimit = \"appkey\"\n".to_owned());
    let summary = run(&mut many.sync(&[])).expect_code(0).json();
    many.is_whole(&summary, 250);
    let is_refused =
        |call: &&wdt_lake::sandbox::Call| matches!(call.outcome, wdt_lake::sandbox::Outcome::Refused { .. });
    assert_eq!(many.sandbox.world().calls().iter().filter(is_refused).count(), 0);

    // Each by itself, they meet.
    many.write(|_| "calls_per_minute = 0\nconcurrency = 1\n".to_owned());
    run(&mut many.sync(&["--lookback", "40d"])).expect_code(0);
    assert!(many.sandbox.world().calls().iter().filter(is_refused).count() > 0, "the gateway is strict");
}

/// All of them have far more rows than the memory holds.
#[test]
fn thirty_large_accounts_stay_within_the_memory() {
    let many = Many::new(30, 1_500, Behaviour::default());
    let Some((said, peak)) = run_measured(&many.sync(&["--max-memory", "64MiB"])) else { return };
    let summary = said.expect_code(0).json();
    many.is_whole(&summary, 1_500);
    assert!(peak <= MOST_BYTES, "a peak of {} KiB", peak >> 10);
    // What is walked again is put together in memory.
    let Some((said, peak)) = run_measured(&many.sync(&["--max-memory", "64MiB", "--lookback", "3d"])) else { return };
    said.expect_code(0);
    assert!(peak <= MOST_BYTES, "a peak of {} KiB with a lookback", peak >> 10);
    run(&mut many.program(&["verify"])).expect_code(0);
}

/// What it costs to have ten thousand accounts in a file: the time until the first call.
#[cfg(unix)]
#[test]
fn ten_thousand_accounts_begin_soon() {
    let many = Many::new(10_000, 5, Behaviour::default());
    let (calls, called) = channel();
    at_call(&many.sandbox, 1, move || calls.send(()).unwrap());
    let began = Instant::now();
    let child = many.sync(&[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    called.recv_timeout(Duration::from_secs(60)).expect("a call");
    let took = began.elapsed();
    signal(child.id(), "TERM");
    let summary = end(child).expect_code(7).json();
    assert_eq!(summary["accounts"].as_array().unwrap().len(), 10_000);
    // The debug build takes several times as long as a release does.
    assert!(took < Duration::from_secs(8), "{took:?}");
}
