//! Decoded pages for the walk: the gateway and the decoder together.

use std::sync::Arc;

use crate::error::Result;
use crate::extract::walk::{Fetched, PageRows, Pages};
use crate::gateway::{Gateway, Query, Unreadable};
use crate::requisition::RowKey;
use crate::time::Window;
use crate::transform::{self, Page, PageContext, PageDecoder};

/// Where the walks of one account get their pages.
#[derive(Debug)]
pub(super) struct Source {
    gateway: Gateway,
    decoder: Arc<PageDecoder>,
}

impl Source {
    pub(super) fn new(gateway: Gateway, decoder: PageDecoder) -> Self {
        Self { gateway, decoder: Arc::new(decoder) }
    }

    pub(super) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Asks once, whatever the records are like.
    pub(super) async fn ask(&self, window: Window, page_no: u32, page_size: u32) -> Result<Fetched<Page>> {
        let decoder = Arc::clone(&self.decoder);
        let called = self
            .gateway
            .query(&Query::Page { window, page_no, page_size }, move |answer| {
                let received_at_micros = answer.received_at_micros;
                let context = PageContext { window: Some(window), page_no, received_at_micros };
                decoder.decode(&answer.body, &context).map_err(unreadable)
            })
            .await
            .map_err(|error| error.with("page", page_no))?;
        Ok(Fetched { page: called.value, retries: called.retries })
    }
}

impl Pages for Source {
    type Page = Page;

    /// A page with records that do not fit is asked for once more, in case the answer and not the record was broken.
    async fn page(&self, window: Window, page_no: u32, page_size: u32) -> Result<Fetched<Page>> {
        let first = self.ask(window, page_no, page_size).await?;
        if first.page.quarantined().is_empty() {
            return Ok(first);
        }
        let second = self.ask(window, page_no, page_size).await?;
        let retries = first.retries + second.retries + 1;
        let better = if second.page.quarantined().len() <= first.page.quarantined().len() { second } else { first };
        Ok(Fetched { page: better.page, retries })
    }
}

impl PageRows for Page {
    fn total(&self) -> Option<u64> {
        Page::total(self)
    }

    fn rows(&self) -> &[RowKey] {
        Page::rows(self)
    }

    fn is_extra(&self, row: usize) -> bool {
        Page::is_skipped(self, row)
    }
}

/// The decoder's complaint in the gateway's words.
pub(super) fn unreadable(error: transform::Unreadable) -> Unreadable {
    Unreadable(error.to_string())
}
