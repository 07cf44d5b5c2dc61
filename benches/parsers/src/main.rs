//! The page decoder beside serde_json, sonic-rs and simd-json, which drive one visitor: `cargo run --release --
//! [FOLDER]`, with `page_*.json` of an enterprise ERP in the folder; without one, pages of the sandbox. What it says:
//! `../README.md`.

mod seam;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::Array;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Decimal128Type;
use serde::de::DeserializeSeed as _;
use wdt_lake::sandbox::{Options, Sandbox, SandboxClock, generate};
use wdt_lake::{AccountSettings, CallPolicy, Edition, Gateway, Query, RunId};
use wdt_lake::{BeijingTime, Contract, Page, PageContext, PageDecoder, Window, assemble};

use seam::{Answer, Tables};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUNDS: usize = 15;

/// What every candidate has to agree on: the rows of both tables, and the sum of `real_num` of all details in
/// ten-thousandths, if it is known without assembling.
type Outcome = (usize, usize, Option<i128>);

/// A way from the bytes of all pages to columns.
type Candidate = Box<dyn FnMut(&[Vec<u8>]) -> Result<Outcome>>;

fn at(text: &str) -> Result<BeijingTime> {
    Ok(BeijingTime::parse(text).ok_or("no time")?)
}

fn sum(column: &dyn Array) -> i128 {
    column.as_primitive::<Decimal128Type>().iter().flatten().sum()
}

fn decoder() -> Result<impl Fn(&Vec<u8>) -> Result<Page>> {
    let decoder = PageDecoder::new(Edition::Enterprise, RunId::generate())?;
    // Wide, but looked at for every row, as in a run.
    let window = Window::new(at("2000-01-01 00:00:00")?, at("2099-12-31 23:59:59")?);
    let context = PageContext { window, page_no: 0, page_size: 100, received_at_micros: 0 };
    Ok(move |body: &Vec<u8>| Ok(decoder.decode(body, &context)?))
}

fn ours() -> Result<Candidate> {
    let decode = decoder()?;
    Ok(Box::new(move |pages| {
        pages.iter().try_fold((0, 0, None), |(headers, details, _), body| {
            let page = black_box(decode(body)?);
            Ok((headers + page.rows().len() - page.quarantined().len(), details + page.detail_rows(), None))
        })
    }))
}

/// The decoder's pages brought into Arrow arrays as they land: sorted, and with lineage.
fn ours_in_arrow(real_num: usize) -> Result<Candidate> {
    let decode = decoder()?;
    Ok(Box::new(move |pages| {
        let pages = pages.iter().map(&decode).collect::<Result<Vec<Page>>>()?;
        let places =
            pages.iter().enumerate().flat_map(|(page, held)| (0..held.rows().len()).map(move |row| (page, row)));
        let selected: Vec<_> = places.collect();
        let rows = black_box(assemble(pages, &selected)?);
        Ok((rows.headers.num_rows(), rows.details.num_rows(), Some(sum(rows.details.column(real_num)))))
    }))
}

/// A parser behind the seam.
fn parser(real_num: usize, mut parse: impl FnMut(&[u8], &mut Tables) -> Result<()> + 'static) -> Candidate {
    let mut tables = Tables::new();
    Box::new(move |pages| {
        pages.iter().try_fold((0, 0, Some(0)), |(headers, details, real), body| {
            parse(body, &mut tables)?;
            let page = black_box(tables.finish());
            // Every column has every row, or it is no table.
            let [of_headers, of_details] = page.each_ref().map(|columns| {
                let rows = columns[0].len();
                columns.iter().all(|column| column.len() == rows).then_some(rows).ok_or("a column lacks rows")
            });
            Ok((headers + of_headers?, details + of_details?, real.map(|real| real + sum(&page[1][real_num]))))
        })
    })
}

fn candidates() -> Result<Vec<(&'static str, Candidate)>> {
    let real_num = Contract::get()?.details().column("real_num").ok_or("the contract has no real_num")?.0;
    let serde_json = |body: &[u8], tables: &mut Tables| {
        let mut parser = serde_json::Deserializer::from_str(simdutf8::basic::from_utf8(body)?);
        Answer(tables).deserialize(&mut parser)?;
        Ok(parser.end()?)
    };
    let sonic = |body: &[u8], tables: &mut Tables| {
        let mut parser = sonic_rs::Deserializer::from_str(simdutf8::basic::from_utf8(body)?);
        Answer(tables).deserialize(&mut parser)?;
        Ok(parser.end()?)
    };
    // It writes into its input.
    let (mut copy, mut buffers) = (Vec::new(), simd_json::Buffers::default());
    let simd = move |body: &[u8], tables: &mut Tables| {
        copy.clear();
        copy.extend_from_slice(body);
        let mut parser = simd_json::Deserializer::from_slice_with_buffers(&mut copy, &mut buffers)?;
        Ok(Answer(tables).deserialize(&mut parser)?)
    };
    Ok(vec![
        ("PageDecoder", ours()?),
        ("PageDecoder, then sorted into Arrow arrays", ours_in_arrow(real_num)?),
        ("serde_json, visitor into Arrow builders", parser(real_num, serde_json)),
        ("sonic-rs, the same visitor", parser(real_num, sonic)),
        ("simd-json, the same visitor", parser(real_num, simd)),
    ])
}

fn pages_in(folder: &str) -> Result<Vec<Vec<u8>>> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("page_") && name.ends_with(".json") {
            pages.insert(name.to_owned(), fs::read(&path)?);
        }
    }
    if pages.is_empty() {
        return Err(format!("no page_*.json in {folder}").into());
    }
    Ok(pages.into_values().collect())
}

/// A month of the sandbox, as it comes over the wire.
fn sandbox_pages() -> Result<Vec<Vec<u8>>> {
    const REQUISITIONS: usize = 3_000;
    let clock = SandboxClock::held(at("2026-07-01 12:00:00")?);
    let requisitions = generate(7, REQUISITIONS, 20, at("2026-06-30 23:59:59")?);
    let sandbox = Sandbox::start(Options { requisitions, clock: clock.clone(), ..Options::default() })?;
    let credentials = sandbox.credentials().clone();
    let account = AccountSettings {
        name: "bench".parse()?,
        edition: Edition::Enterprise,
        sid: credentials.sid,
        appkey: credentials.appkey,
        secret: credentials.secret,
        base_url: sandbox.base_url().parse()?,
    };
    let calls = CallPolicy { calls_per_minute: 0, ..CallPolicy::default() };
    let gateway = Gateway::new(&account, &calls, Arc::new(clock))?;
    let window = Window::new(at("2026-06-11 00:00:00")?, at("2026-06-30 23:59:59")?).ok_or("no window")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let page = |page_no| {
        let query = Query::Page { window, page_no, page_size: 100 };
        Ok(runtime.block_on(gateway.query(&query, |answer| Ok(answer.body().to_vec())))?.value)
    };
    (0..u32::try_from(REQUISITIONS.div_ceil(100))?).map(page).collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let pages = std::env::args().nth(1).map_or_else(sandbox_pages, |folder| pages_in(&folder))?;
    let bytes: usize = pages.iter().map(Vec::len).sum();
    let mut candidates = candidates()?;
    let wanted = candidates[1].1(&pages)?;
    let mut seconds = vec![Vec::with_capacity(ROUNDS); candidates.len()];
    for round in 0..=ROUNDS {
        for ((name, candidate), seconds) in candidates.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            let outcome = candidate(black_box(&pages))?;
            // The first round warms up.
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
            if (outcome.0, outcome.1, outcome.2.or(wanted.2)) != wanted {
                return Err(format!("{name} has read {outcome:?}, the page decoder {wanted:?}").into());
            }
        }
    }
    // Each ratio is of one round, so that a neighbour's load weighs on both sides of it.
    let ours = seconds[0].clone();
    println!("{} pages, {bytes} bytes, (headers, details, sum of real_num): {wanted:?}\n", pages.len());
    println!("| median of {ROUNDS} rounds | MB/s | time to ours |\n| --- | --: | --: |");
    for ((name, _), seconds) in candidates.iter().zip(&mut seconds) {
        let mut ratios: Vec<f64> = seconds.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect();
        println!("| {name} | {:.0} | {:.2} |", bytes as f64 / 1e6 / median(seconds), median(&mut ratios));
    }
    Ok(())
}
