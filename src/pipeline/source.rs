//! Decoded pages for the walk: the gateway and the decoder together.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::SetOnce;

use super::pages_read::PagesRead;
use super::raw::{self, KeepRaw, RawRequest, Recorder};
use super::spill::{BufferedPage, SpillBuffer};
use crate::error::{Error, ErrorClass, Result};
use crate::extract::pages::{Fetched, PageRows as _, Pages};
use crate::gateway::{Answer, Gateway, NotRead, Query, Response, UnreadableResponse};
use crate::time::{Clock, Window};
use crate::transform::{Page, PageContext, PageDecoder};

/// After so many responses that stayed unreadable, and not one row that could be read, what cannot be read is not some
/// records but everything. A record among sound ones is found by three of them in a page of a hundred.
const MOST_UNREAD: u32 = 60;

/// Where the walks of one account get their pages.
pub(super) struct Source {
    gateway: Gateway,
    decoder: PageDecoder,
    spill: Arc<SpillBuffer>,
    recorder: Recorder,
    clock: Arc<dyn Clock>,
    first_total: SetOnce<(Window, u64)>,
    has_read: AtomicBool,
    has_read_rows: AtomicBool,
    unread: AtomicU32,
    pages_read: PagesRead,
}

/// A page, and what is kept of its answer.
pub(super) struct Answered {
    pub(super) page: BufferedPage,
    retries: u32,
    received_at_micros: i64,
    /// What [`raw::pack_body`] made of it, when answers are kept.
    packed: Option<Vec<u8>>,
}

impl Source {
    pub(super) fn new(
        gateway: Gateway,
        decoder: PageDecoder,
        spill: Arc<SpillBuffer>,
        keep: KeepRaw,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            gateway,
            decoder,
            spill,
            recorder: Recorder::new(keep),
            clock,
            first_total: SetOnce::new(),
            has_read: AtomicBool::new(false),
            has_read_rows: AtomicBool::new(false),
            unread: AtomicU32::new(0),
            pages_read: PagesRead::default(),
        }
    }

    /// The first total that the server says, and the window that it counts; waits for it.
    pub(super) async fn first_total(&self) -> (Window, u64) {
        *self.first_total.wait().await
    }

    pub(super) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// What the pages were decoded with.
    pub(super) fn decoder(&self) -> &PageDecoder {
        &self.decoder
    }

    /// Where the pages wait.
    pub(super) fn spill(&self) -> &Arc<SpillBuffer> {
        &self.spill
    }

    /// Where the answers of the walks under way are kept, if they are.
    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Asks once, whatever the records are like.
    pub(super) async fn ask(&self, query: &Query, window: Window, page_no: u32, page_size: u32) -> Result<Answered> {
        let (decoder, spill, keeps) = (self.decoder.clone(), Arc::clone(&self.spill), self.recorder.keeps());
        let context =
            move |received_at_micros| PageContext { window: Some(window), page_no, page_size, received_at_micros };
        let called = self
            .gateway
            .query(query, move |answer| {
                let received_at_micros = answer.received_at_micros;
                let context = context(received_at_micros);
                let page = read_page(&decoder, answer, &context)?;
                let packed = keeps.then(|| raw::pack_body(&answer.strike_out(answer.body()))).transpose();
                let packed = packed.map_err(|error| NotRead::Unreadable(error.to_string()))?;
                Ok((spill.keep(page, answer.body(), context), received_at_micros, packed))
            })
            .await
            .map_err(|error| error.with("page", page_no))?;
        let (page, received_at_micros, packed) = match called.value {
            Response::Read(read) => read,
            Response::Unreadable(response) => self.keep_unreadable(response, context)?,
        };
        self.note(&page)?;
        Ok(Answered { page, retries: called.retries, received_at_micros, packed })
    }

    /// Notes what could be read. An error when that is nothing for too long.
    fn note(&self, page: &BufferedPage) -> Result<()> {
        if !page.is_unreadable() {
            self.has_read.store(true, Ordering::Relaxed);
            self.has_read_rows.fetch_or(!page.rows().is_empty(), Ordering::Relaxed);
            return Ok(());
        }
        let unread = self.unread.fetch_add(1, Ordering::Relaxed) + 1;
        if unread < MOST_UNREAD || self.has_read_rows.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(nothing_can_be_read())
    }

    /// A page that stands for a response that nobody can read.
    fn keep_unreadable(
        &self,
        response: UnreadableResponse,
        context: impl Fn(i64) -> PageContext,
    ) -> Result<(BufferedPage, i64, Option<Vec<u8>>)> {
        let UnreadableResponse { why, bytes, size, received_at_micros, .. } = response;
        let context = context(received_at_micros);
        let page = self.spill.keep_unreadable(&self.decoder, &context, &bytes, size, &why);
        // Not understood then: whoever replays it tries again.
        let packed = self.recorder.keeps().then(|| raw::pack_body(String::from_utf8_lossy(&bytes).as_bytes()));
        let packed = packed
            .transpose()
            .map_err(|error| Error::new(ErrorClass::TemporaryFailed, "cannot keep a raw response").because(error))?;
        Ok((page, received_at_micros, packed))
    }

    /// The pages that were read of the windows at work.
    pub(super) fn pages_read(&self) -> &PagesRead {
        &self.pages_read
    }

    /// Whether the gateway has given anything in this run that could be read.
    pub(super) fn has_read(&self) -> bool {
        self.has_read.load(Ordering::Relaxed)
    }
}

impl Pages for Source {
    type Page = BufferedPage;

    /// A page with invalid records is asked for once more, in case the response and not the record was broken.
    async fn page(&self, window: Window, page_no: u32, page_size: u32) -> Result<Fetched<BufferedPage>> {
        let query = Query::Page { window, page_no, page_size };
        let asked_at_micros = self.clock.now_micros();
        let mut answered = self.ask(&query, window, page_no, page_size).await?;
        let invalid = |answered: &Answered| answered.page.as_ref().quarantined().len();
        // One that stayed unreadable was asked for often enough.
        if invalid(&answered) > 0 && !answered.page.is_unreadable() {
            let second = self.ask(&query, window, page_no, page_size).await?;
            let retries = answered.retries + second.retries + 1;
            let is_better = !second.page.is_unreadable() && invalid(&second) <= invalid(&answered);
            let better = if is_better { second } else { answered };
            answered = Answered { retries, ..better };
        }
        let Answered { page, retries, received_at_micros, packed } = answered;
        if let Some(total) = page.total() {
            // It is set already by all but one of them.
            drop(self.first_total.set((window, total)));
        }
        self.pages_read.note(window, page_no, page_size, page.total());
        // Nothing is waited for between this and the walk's taking it in: the order is that of the walk.
        if let Some(packed) = packed {
            let (method, parameters) = self.gateway.unsigned(&query);
            let asked = RawRequest {
                method,
                parameters,
                window,
                page_no,
                page_size,
                asked_at_micros,
                received_at_micros,
                retries,
            };
            self.recorder.add(&asked, &packed)?;
        }
        Ok(Fetched { page, retries })
    }

    fn extra_seconds(&self) -> i64 {
        self.decoder.extra_seconds()
    }
}

/// A gateway of which nothing can be read is an outage, or not the gateway.
pub(super) fn nothing_can_be_read() -> Error {
    Error::new(ErrorClass::NothingReadable, "no response of the gateway can be read")
        .hint("the address may not be the purchase requisition query, or the gateway has changed its responses: try `wdt-lake get`")
}

/// Reads a page of a response as it came. What is kept of its invalid records has no secret in it.
pub(super) fn read_page(
    decoder: &PageDecoder,
    answer: &Answer,
    context: &PageContext,
) -> std::result::Result<Page, NotRead> {
    match decoder.decode(answer.body(), context) {
        Ok(page) if answer.is_refusal(page.words()) => Err(NotRead::Refused(page.words().to_owned())),
        Ok(mut page) => {
            page.keep_records_as(|text| match answer.strike_out(text.as_bytes()) {
                Cow::Owned(struck) => Some(String::from_utf8_lossy(&struck).into_owned()),
                Cow::Borrowed(_) => None,
            });
            Ok(page)
        }
        Err(error) if error.is_refusal() || answer.is_refusal(error.words()) => {
            Err(NotRead::Refused(error.words().to_owned()))
        }
        Err(error) => Err(NotRead::Unreadable(error.to_string())),
    }
}
