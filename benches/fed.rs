//! The life of a lake that is fed every ten minutes: `cargo bench --bench fed -- FOLDER [RUNS [off]]`. One line a
//! month: runs, files of the table that has most, commits, and what a run took. At the end the same ERP is synced at
//! once into `FOLDER-once`. With `off` nothing is compacted. What reads both is `fed.py`; figures are in `README.md`
//! here.
#![expect(clippy::expect_used, reason = "a bench has nobody to tell of an error")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]

use std::sync::Arc;
use std::time::Duration;

use wdt_lake::sandbox::{Options, Requisition, Sandbox, SandboxClock};
use wdt_lake::{
    Access, AccountSettings, BeijingTime, CallPolicy, Edition, Interrupt, Lake, Meter, Store, SyncOptions, Table, sync,
};

const STEP_SECONDS: i64 = 600;
const ROWS: i64 = 7;
/// A year without leap day.
const RUNS: i64 = 365 * 144;
const RUNS_A_MONTH: i64 = 30 * 144;

struct Feed {
    sandbox: Sandbox,
    clock: SandboxClock,
    account: AccountSettings,
    store: Store,
    compact_time: Option<Duration>,
    added: i64,
}

impl Feed {
    fn new(folder: &str, compact_time: Option<Duration>) -> Self {
        let clock = SandboxClock::held(BeijingTime::parse("2025-01-01 00:05:00").expect("a time"));
        let sandbox = Sandbox::start(Options { clock: clock.clone(), ..Options::default() }).expect("a sandbox");
        let credentials = sandbox.credentials().clone();
        let account = AccountSettings {
            name: "fed".parse().expect("a name"),
            edition: Edition::Enterprise,
            sid: credentials.sid,
            appkey: credentials.appkey,
            secret: credentials.secret,
            base_url: sandbox.base_url().parse().expect("an address"),
        };
        let store = Store::open(folder, Access::Write).expect("a lake");
        Self { sandbox, clock, account, store, compact_time, added: 0 }
    }

    /// Ten minutes pass, in which some requisitions are modified.
    fn pass(&mut self) {
        let begun = self.clock.now();
        self.clock.advance(STEP_SECONDS);
        let mut world = self.sandbox.world().lock();
        for nth in 0..ROWS {
            self.added += 1;
            let modified = begun.plus_seconds(1 + nth * (STEP_SECONDS - 1) / ROWS);
            world.add_as_is(Requisition::plain(self.added, &format!("CG{:09}", self.added), modified));
        }
    }

    async fn sync(&self) -> (Duration, bool) {
        self.sync_into(&self.store).await
    }

    async fn sync_into(&self, store: &Store) -> (Duration, bool) {
        let options = SyncOptions {
            from: BeijingTime::parse("2025-01-01 00:00:00"),
            compact_time: self.compact_time,
            calls: CallPolicy { calls_per_minute: 0, ..CallPolicy::default() },
            ..SyncOptions::default()
        };
        let clock = Arc::new(self.clock.clone());
        let meter = Meter::default();
        let report = sync(&self.account, store.clone(), &options, clock, Interrupt::never(), &meter);
        let report = report.await.expect("a run");
        assert_eq!(report.exit_code(), 0, "{report:?}");
        (report.elapsed, report.compacted.into > 0)
    }

    async fn lake(&self) -> Lake {
        Lake::open(self.store.clone(), self.account.name.clone()).await.expect("a lake")
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

async fn feed(folder: &str, runs: i64, compact_time: Option<Duration>) {
    let mut feed = Feed::new(folder, compact_time);
    let (mut quiet, mut slowest) = (Vec::new(), Duration::ZERO);
    let (mut most_files, mut first) = (0, Duration::ZERO);
    println!("runs  most files  files  commits  median run ms  slowest run ms");
    for nth in 1..=runs {
        feed.pass();
        let (took, has_compacted) = feed.sync().await;
        slowest = slowest.max(took);
        if !has_compacted {
            quiet.push(took);
        }
        if nth == 100 {
            first = median(&quiet);
        }
        if nth % 24 == 0 || nth == runs {
            let lake = feed.lake().await;
            let files = Table::ALL.map(|table| lake.files(table).len()).into_iter().max().unwrap_or_default();
            most_files = most_files.max(files);
            if nth % RUNS_A_MONTH == 0 || nth == runs {
                let (commits, median) =
                    (lake.state().live().len(), median(&quiet[quiet.len().saturating_sub(1_000)..]));
                println!(
                    "{nth:6}  {most_files:4}  {files:4}  {commits:5}  {:8.1}  {:8.1}",
                    median.as_secs_f64() * 1e3,
                    slowest.as_secs_f64() * 1e3
                );
                slowest = Duration::ZERO;
            }
        }
    }
    println!("first hundred runs: median {:.1} ms", first.as_secs_f64() * 1e3);
    let (took, _) = feed.sync_into(&Store::open(&format!("{folder}-once"), Access::Write).expect("a lake")).await;
    println!("all at once: {:.1} s; covered to {}", took.as_secs_f64(), feed.clock.now());
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(folder) = arguments.next() else {
        println!("usage: cargo bench --bench fed -- FOLDER [RUNS]");
        return;
    };
    let runs = arguments.next().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    let compact_time = match arguments.next().as_deref() {
        Some("off") => None,
        _ => SyncOptions::default().compact_time,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(feed(&folder, runs, compact_time));
}
