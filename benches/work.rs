//! What a sync does with its processor, part by part: `cargo bench`. Figures and how to take them side by side:
//! `README.md` here.
#![expect(clippy::expect_used, reason = "a bench has nobody to tell of an error")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use wdt_lake::sandbox::{Options, Sandbox, SandboxClock, generate};
use wdt_lake::{
    Access, AccountSettings, CallPolicy, CommitId, Edition, FileOrigin, FormatVersion, Gateway, Interrupt, Query,
    RowSource, RunId, Store, SyncOptions, encode,
};
use wdt_lake::{Assembly, BeijingTime, Page, PageContext, PageDecoder, Window};

const REQUISITIONS: usize = 3_000;
const DAYS: u32 = 20;

fn at(text: &str) -> BeijingTime {
    BeijingTime::parse(text).expect("a time")
}

/// An ERP with a month of requisitions, and an account of it.
struct Erp {
    sandbox: Sandbox,
    account: AccountSettings,
    clock: SandboxClock,
    window: Window,
    runtime: Runtime,
}

impl Erp {
    fn new() -> Self {
        let clock = SandboxClock::held(at("2026-07-01 12:00:00"));
        let requisitions = generate(7, REQUISITIONS, DAYS, at("2026-06-30 23:59:59"));
        let options = Options { requisitions, clock: clock.clone(), ..Options::default() };
        let sandbox = Sandbox::start(options).expect("a sandbox");
        let credentials = sandbox.credentials().clone();
        let account = AccountSettings {
            name: "bench".parse().expect("a name"),
            edition: Edition::Enterprise,
            sid: credentials.sid,
            appkey: credentials.appkey,
            secret: credentials.secret,
            base_url: sandbox.base_url().parse().expect("an address"),
        };
        let window = Window::new(at("2026-06-11 00:00:00"), at("2026-06-30 23:59:59")).expect("a window");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { sandbox, account, clock, window, runtime }
    }

    fn calls() -> CallPolicy {
        CallPolicy { calls_per_minute: 0, ..CallPolicy::default() }
    }

    /// Every page of the window, as it comes over the wire.
    fn pages(&self) -> Vec<Vec<u8>> {
        let gateway = Gateway::new(&self.account, &Self::calls(), Arc::new(self.clock.clone())).expect("a gateway");
        let count = u32::try_from(REQUISITIONS.div_ceil(100)).expect("few");
        let page = |page_no| {
            let query = Query::Page { window: self.window, page_no, page_size: 100 };
            let called = self.runtime.block_on(gateway.query(&query, |answer| Ok(answer.body().to_vec())));
            called.expect("an answer").value.into_read().expect("readable")
        };
        (0..count).map(page).collect()
    }
}

fn decoded(decoder: &PageDecoder, window: Window, pages: &[Vec<u8>]) -> Vec<Page> {
    let page = |(page_no, body): (u32, &Vec<u8>)| {
        let context = PageContext { window: Some(window), page_no, page_size: 100, received_at_micros: 0 };
        decoder.decode(body, &context).expect("a page")
    };
    (0..).zip(pages).map(page).collect()
}

fn decode(criterion: &mut Criterion) {
    let erp = Erp::new();
    let pages = erp.pages();
    let decoder = PageDecoder::new(Edition::Enterprise, RunId::generate()).expect("a decoder");
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(pages.iter().map(|page| page.len() as u64).sum()));
    group.bench_function("pages", |bencher| bencher.iter(|| decoded(&decoder, erp.window, black_box(&pages))));
    group.finish();
}

fn decimal(criterion: &mut Criterion) {
    let everyday = ["0.0000", "573.7500", "8", "-12.5", "123456789012345.6789", "1200.0000", "76.0000", "0.2500"];
    let odd = ["1e2", "12.5E-1", "007.50", "1.23400000000"];
    let mut group = criterion.benchmark_group("decimal");
    for (name, texts) in [("everyday", &everyday[..]), ("odd", &odd[..])] {
        group.throughput(Throughput::Elements(texts.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                texts
                    .iter()
                    .map(|text| wdt_lake::ColumnType::read_decimal(black_box(text)).expect("fits"))
                    .sum::<i128>()
            })
        });
    }
    group.finish();
}

/// Rows of a proved window to the bytes of both files: picked, sorted, gathered, encoded.
fn encode_window(criterion: &mut Criterion) {
    let erp = Erp::new();
    let decoder = PageDecoder::new(Edition::Enterprise, RunId::generate()).expect("a decoder");
    let pages: Arc<[Page]> = decoded(&decoder, erp.window, &erp.pages()).into();
    let rows = |(page, held): (usize, &Page)| (0..held.rows().len()).map(move |row| (page, row)).collect::<Vec<_>>();
    let selected: Vec<(usize, usize)> = pages.iter().enumerate().flat_map(rows).collect();
    let [headers, details] = wdt_lake::table_specs().expect("a contract");
    let origin = FileOrigin {
        account: "bench".parse().expect("a name"),
        commit: CommitId::generate(),
        contract: FormatVersion::LAKE,
        span: Some(erp.window),
        compression: Default::default(),
    };
    let land = || {
        let assembly = Assembly::new(Arc::clone(&pages), &selected).expect("rows");
        let one = encode(&headers, RowSource::new(assembly.headers()), &origin).expect("encoded");
        (one, encode(&details, RowSource::new(assembly.details()), &origin).expect("encoded"))
    };
    let mut group = criterion.benchmark_group("encode");
    let details: usize = pages.iter().map(Page::detail_rows).sum();
    group.throughput(Throughput::Elements((selected.len() + details) as u64));
    group.bench_function("window", |bencher| bencher.iter(land));
    group.finish();
}

/// A whole sync into an empty lake on disk. The sandbox answers from the same machine, and its work is part of the
/// figure.
fn sync(criterion: &mut Criterion) {
    let erp = Erp::new();
    let options = SyncOptions { from: Some(erp.window.start()), calls: Erp::calls(), ..SyncOptions::default() };
    let mut group = criterion.benchmark_group("sync");
    group
        .throughput(Throughput::Elements(REQUISITIONS as u64))
        .sample_size(10)
        .measurement_time(Duration::from_secs(10));
    group.bench_function("empty_lake", |bencher| {
        bencher.iter_batched(
            || tempfile::tempdir().expect("a folder"),
            |folder| {
                let uri = folder.path().to_str().expect("text");
                let store = Store::open(uri, Access::Write).expect("a lake");
                let clock = Arc::new(erp.clock.clone());
                let meter = wdt_lake::Meter::default();
                let run = wdt_lake::sync(&erp.account, store, &options, clock, Interrupt::never(), &meter);
                let report = erp.runtime.block_on(run).expect("a run");
                assert_eq!((report.tally.headers, report.exit_code()), (REQUISITIONS as u64, 0));
                folder
            },
            criterion::BatchSize::PerIteration,
        )
    });
    group.finish();
    drop(erp.sandbox);
}

criterion_group!(parts, decode, decimal, encode_window, sync);
criterion_main!(parts);
