//! Bare page files to one commit: rows of both tables by month, without a window, because nobody can prove one.
//!
//! The files are read in the order of their names, from the last to the first: so the version that is met first is the
//! one that wins, and rows can land before all files are read. What is kept of a version that was met is a digest of
//! its identity, some 30 bytes. Decoded pages are held up to the run's memory, then they land, a file for each month
//! that they hold.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash as _, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use tracing::Instrument as _;

use super::super::accounts::page_memory;
use super::super::lease_session::LeaseSession;
use super::super::no_merge;
use super::super::publish::Publication;
use super::files::{self, PageFile};
use super::{ReplayOptions, ReplayReport, under_lease};
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::id::{AccountName, RunId};
use crate::land::{CommitOutcome, NewFile, NewRows, Quarantine, Writer, WriterOptions};
use crate::log::{Binding, CommitKind, Lake, LogState};
use crate::parquet::{RowSource, TableSpec};
use crate::requisition::Identity;
use crate::store::Store;
use crate::text::{Text, text};
use crate::time::{BeijingTime, Clock, Month, Window};
use crate::transform::{Assembly, Page, PageContext, PageDecoder, Quarantined, contract_version, table_specs};
use crate::worker::Worker;

/// Stands for `sid` and host of a lake that was made of page files: nobody knows from where they came. No host and no
/// `sid` is called so.
const NOWHERE: &str = "(pages)";
/// How many unreadable pages are named in the report.
const UNREADABLE_NAMED: u64 = 10;

/// Page files, and whose they are.
#[derive(Clone, Debug)]
pub(crate) struct PageFiles {
    /// The account's name in the lake.
    pub account: AccountName,
    /// Which edition answered them.
    pub edition: Edition,
    /// The files, in the order in which the answers came.
    pub files: Vec<PathBuf>,
}

/// Makes the lake of an account hold exactly what is on the pages: one commit, in the place of that of an earlier
/// replay.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) when the lake holds rows that came from the ERP, or a file cannot be
/// read; whatever stops a commit.
pub(crate) async fn replay_pages(
    pages: PageFiles,
    store: Store,
    options: &ReplayOptions,
    clock: Arc<dyn Clock>,
) -> Result<ReplayReport> {
    let run = RunId::generate();
    let span = tracing::error_span!("run", account = %pages.account, %run);
    Box::pin(replay_pages_as(run, pages, store, options, clock)).instrument(span).await
}

async fn replay_pages_as(
    run: RunId,
    pages: PageFiles,
    store: Store,
    options: &ReplayOptions,
    clock: Arc<dyn Clock>,
) -> Result<ReplayReport> {
    let began = Instant::now();
    let memory_bytes = page_memory(options.max_memory)?;
    let mut report = ReplayReport::new(run);
    let PageFiles { account, edition, files } = pages;
    check_is_ours(&store, &account).await?;
    let writer = Writer::open(
        store.clone(),
        WriterOptions {
            binding: Binding { name: account.clone(), edition, sid: NOWHERE.to_owned(), host: NOWHERE.to_owned() },
            run: report.run,
            wanted_from: None,
            contract: contract_version()?,
            compression: options.compression,
            keep_removed: std::time::Duration::ZERO,
            merge: no_merge(),
            watcher: Publication::of(run, Arc::clone(&clock))?,
            clock: Arc::clone(&clock),
        },
    )
    .await?;
    let reader = Reader::new(files, PageDecoder::new(edition, report.run)?, edition, report.run);
    let work = land(&writer, reader, memory_bytes, &mut report);
    let session = LeaseSession { store, account, run, clock };
    Box::pin(under_lease(&writer, session, options.wait, work)).await?;
    Ok(report.after(began))
}

/// Rows of pages that nobody proved must not stand beside those that are.
async fn check_is_ours(store: &Store, account: &AccountName) -> Result<()> {
    let lake = Lake::open(store.clone(), account.clone()).await?;
    match lake.state().binding() {
        Some(bound) if bound.host != NOWHERE => Err(Error::new(
            ErrorClass::LakeUnfit,
            "the lake holds what came from the ERP, which page files cannot stand beside",
        )
        .with("account", account)
        .hint("replay them into a lake of their own, or under another --account")),
        _ => Ok(()),
    }
}

/// Lands all groups of pages in one commit.
async fn land(writer: &Writer, mut reader: Reader, memory_bytes: usize, report: &mut ReplayReport) -> Result<()> {
    let replaced = replays(writer.view().await.state());
    report.replaced = replaced.len() as u64;
    let mut staged = writer.begin(CommitKind::Replay, None, replaced).await;
    let specs = table_specs()?;
    let thread = Worker::start("reader")?;
    for number in 1.. {
        let group;
        (reader, group) = thread
            .run(move || {
                let group = reader.next_group(memory_bytes)?;
                Ok((reader, group))
            })
            .await?;
        if group.pages.is_empty() {
            break;
        }
        for part in group.into_parts(&specs, number, report)? {
            writer.write(&mut staged, part).await?;
        }
    }
    report.pages = reader.pages;
    report.json_bytes = reader.json_bytes;
    report.duplicates = reader.duplicates;
    report.warnings.append(&mut reader.warnings);
    let quarantine = Quarantine { lines: Bytes::from(reader.quarantined), rows: reader.quarantined_rows };
    writer.quarantine(&mut staged, quarantine).await?;
    match writer.commit(staged).await? {
        CommitOutcome::Committed(committed) => report.count(&committed),
        CommitOutcome::Dropped(conflict) => {
            return Err(Error::new(ErrorClass::WroteAtOnce, "cannot commit the pages")
                .because(conflict.text())
                .hint("run again: if another run wrote this lake meanwhile, its pages are replaced then"));
        }
    }
    Ok(())
}

/// The commits of earlier replays.
fn replays(state: &LogState) -> Vec<crate::id::CommitId> {
    state.live().iter().filter(|(_, live)| live.kind == CommitKind::Replay).map(|(commit, _)| *commit).collect()
}

/// Reads page files from the last to the first.
struct Reader {
    /// What is left to read.
    files: Vec<PathBuf>,
    decoder: PageDecoder,
    edition: Edition,
    run: RunId,
    buffer: PageFile,
    /// Every version that was met.
    seen: HashSet<Mark, ahash::RandomState>,
    /// Lines of the quarantine file.
    quarantined: String,
    quarantined_rows: u64,
    duplicates: u64,
    pages: u64,
    unreadable: u64,
    json_bytes: u64,
    warnings: Vec<Text>,
}

impl Reader {
    fn new(files: Vec<PathBuf>, decoder: PageDecoder, edition: Edition, run: RunId) -> Self {
        Self {
            files,
            decoder,
            edition,
            run,
            buffer: PageFile { body: Vec::new(), written_at_micros: 0 },
            seen: HashSet::default(),
            quarantined: String::new(),
            quarantined_rows: 0,
            duplicates: 0,
            pages: 0,
            unreadable: 0,
            json_bytes: 0,
            warnings: Vec::new(),
        }
    }

    /// The next pages that together fit in memory; none when all are read.
    fn next_group(&mut self, memory_bytes: usize) -> Result<Group> {
        let (mut group, mut bytes) = (Group::default(), 0);
        while bytes < memory_bytes
            && let Some(path) = self.files.pop()
        {
            let empty = PageFile { body: Vec::new(), written_at_micros: 0 };
            self.buffer = files::read(&path, std::mem::replace(&mut self.buffer, empty))?;
            self.pages += 1;
            self.json_bytes += self.buffer.body.len() as u64;
            let page_no = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
            let received_at_micros = self.buffer.written_at_micros;
            let context = PageContext { window: None, page_no, page_size: 0, received_at_micros };
            match self.decoder.decode(&self.buffer.body, &context) {
                Ok(page) => {
                    bytes += page.memory_bytes();
                    self.take_in(page, &mut group);
                }
                Err(why) => self.set_aside(&path, &context, &why.to_string()),
            }
        }
        Ok(group)
    }

    /// Keeps those rows of a page that no later page has.
    fn take_in(&mut self, page: Page, group: &mut Group) {
        let invalid: HashMap<usize, &Quarantined> = page.quarantined_rows().zip(page.quarantined()).collect();
        for (row, key) in page.rows().iter().enumerate().rev() {
            if !self.seen.insert(mark(&key.identity)) {
                self.duplicates += 1;
            } else if let Some(record) = invalid.get(&row) {
                push_line(&mut self.quarantined, record);
                self.quarantined_rows += 1;
            } else if let Some(modified) = key.modified {
                group.add(row, modified);
            }
        }
        group.pages.push(page);
    }

    /// Sends a file that is no page to quarantine, all of it.
    fn set_aside(&mut self, path: &std::path::Path, context: &PageContext, why: &str) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if self.unreadable < UNREADABLE_NAMED {
            self.warnings.push(text!("`{name}` is no page and went to quarantine: {why}", name, why));
        }
        self.unreadable += 1;
        let record = Quarantined::page(&name, &self.buffer.body, self.edition, self.run, context);
        push_line(&mut self.quarantined, &record);
        self.quarantined_rows += 1;
    }
}

/// What is kept of an identity: half of its SHA-256, so that no two are alike by chance or on purpose.
type Mark = [u8; 16];

fn mark(identity: &Identity) -> Mark {
    let mut digest = Digesting(Sha256::new());
    identity.hash(&mut digest);
    let mut mark = Mark::default();
    mark.copy_from_slice(&digest.0.finalize()[..16]);
    mark
}

/// Takes in all that tells one value from another.
struct Digesting(Sha256);

impl Hasher for Digesting {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

fn push_line(lines: &mut String, record: &Quarantined) {
    lines.push_str(&record.to_json_line());
    lines.push('\n');
}

/// Pages that are in memory together, and which of their rows land.
#[derive(Default)]
struct Group {
    pages: Vec<Page>,
    months: BTreeMap<Month, InMonth>,
}

/// Rows of one Beijing month.
struct InMonth {
    rows: Vec<(usize, usize)>,
    span: Window,
}

impl Group {
    /// Adds a row of the page that comes next.
    fn add(&mut self, row: usize, modified: BeijingTime) {
        let second = Window::second(modified);
        let month = self.months.entry(modified.month()).or_insert_with(|| InMonth { rows: Vec::new(), span: second });
        month.rows.push((self.pages.len(), row));
        month.span = month.span.hull(second);
    }

    /// The files that it makes: of each month one in each table.
    fn into_parts(self, specs: &[Arc<TableSpec>; 2], number: u32, report: &mut ReplayReport) -> Result<Vec<NewFile>> {
        let pages: Arc<[Page]> = self.pages.into();
        let mut parts = Vec::new();
        let [of_headers, of_details] = specs;
        for InMonth { rows, span } in self.months.into_values() {
            let assembly = Assembly::new(Arc::clone(&pages), &rows)?;
            report.unreadable_times += assembly.remarks().unreadable_times;
            let headers = RowSource::new(assembly.headers());
            let details = RowSource::new(assembly.details());
            parts.extend([(of_details, details), (of_headers, headers)].map(|(spec, rows)| NewFile {
                spec: Arc::clone(spec),
                span: Some(span),
                part: Some(number),
                rows: NewRows::New(rows),
            }));
        }
        Ok(parts)
    }
}
