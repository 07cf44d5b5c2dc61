//! Decoded pages for the walk: the gateway and the decoder together.

use std::sync::Arc;

use super::shelf::{Shelf, ShelvedPage};
use crate::error::Result;
use crate::extract::walk::{Fetched, Pages};
use crate::gateway::{Gateway, Query, Unreadable};
use crate::time::Window;
use crate::transform::{self, PageContext, PageDecoder};

/// Where the walks of one account get their pages.
#[derive(Debug)]
pub(super) struct Source {
    gateway: Gateway,
    decoder: PageDecoder,
    shelf: Arc<Shelf>,
}

impl Source {
    pub(super) fn new(gateway: Gateway, decoder: PageDecoder, shelf: Arc<Shelf>) -> Self {
        Self { gateway, decoder, shelf }
    }

    pub(super) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// What the pages were decoded with.
    pub(super) fn decoder(&self) -> &PageDecoder {
        &self.decoder
    }

    /// Where the pages wait.
    pub(super) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// Asks once, whatever the records are like.
    pub(super) async fn ask(&self, window: Window, page_no: u32, page_size: u32) -> Result<Fetched<ShelvedPage>> {
        let (decoder, shelf) = (self.decoder.clone(), Arc::clone(&self.shelf));
        let called = self
            .gateway
            .query(&Query::Page { window, page_no, page_size }, move |answer| {
                let received_at_micros = answer.received_at_micros;
                let context = PageContext { window: Some(window), page_no, received_at_micros };
                let page = decoder.decode(answer.body(), &context).map_err(unreadable)?;
                Ok(shelf.keep(page, answer.body(), context))
            })
            .await
            .map_err(|error| error.with("page", page_no))?;
        Ok(Fetched { page: called.value, retries: called.retries })
    }
}

impl Pages for Source {
    type Page = ShelvedPage;

    /// A page with records that do not fit is asked for once more, in case the answer and not the record was broken.
    async fn page(&self, window: Window, page_no: u32, page_size: u32) -> Result<Fetched<ShelvedPage>> {
        let first = self.ask(window, page_no, page_size).await?;
        let misfits = |page: &ShelvedPage| page.as_ref().quarantined().len();
        if misfits(&first.page) == 0 {
            return Ok(first);
        }
        let second = self.ask(window, page_no, page_size).await?;
        let retries = first.retries + second.retries + 1;
        let better = if misfits(&second.page) <= misfits(&first.page) { second } else { first };
        Ok(Fetched { page: better.page, retries })
    }
}

/// The decoder's complaint in the gateway's words.
pub(super) fn unreadable(error: transform::Unreadable) -> Unreadable {
    Unreadable(error.to_string())
}
