//! The passes over the pages of a window. Each begins with the last page, because it shows the end of the list, and
//! ends with page 0, whose total starts the next count; between them the pages are asked for from the end backwards.

use std::future;
use std::ops::Range;

use futures::stream::{self, StreamExt as _};

use super::super::evidence::PageRequest;
use super::{Halt, PageRead, Step, Walk};
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::extract::pages::{Fetched, PageRows as _, Pages};
use crate::text::text;

impl<S: Pages> Walk<'_, S> {
    /// The last page, all others behind page 0 at once, then page 0.
    pub(super) async fn concurrent_pass(&mut self) -> Step<()> {
        let (pages, total) = (self.page_count(), self.total());
        self.begin_pass(pages)?;
        let Some(behind) = self.end_of_list(pages, total).await? else { return Ok(()) };
        let mut short = Vec::new();
        for (page_no, read) in self.read_at_once(behind).await? {
            if self.is_short(&read, page_no, total) {
                short.push(page_no);
            }
        }
        for page_no in short {
            self.ask(page_no).await?;
        }
        self.ask(0).await?;
        Ok(())
    }

    /// Every page once, one after the other, from the last to page 0. Returns them in that order.
    pub(super) async fn backward_pass(&mut self) -> Step<Vec<PageRead>> {
        let (pages, total) = (self.page_count(), self.total());
        self.begin_pass(pages)?;
        let mut read = Vec::new();
        let last = if self.is_full(total) { pages } else { pages - 1 };
        if last == pages {
            self.spend(1)?;
        }
        for page_no in (0..=last).rev() {
            let mut page = self.ask(page_no).await?;
            if self.is_short(&page, page_no, total) {
                page = self.ask(page_no).await?;
            }
            if page_no > 0 {
                self.note_in_pass(page_no, &page);
            }
            read.push(page);
        }
        Ok(read)
    }

    /// Asks for the page that shows the end of the list: the last one, or the one behind it where that must be full.
    /// Gives the page from which the others follow towards page 0; `None` when the list is shorter than the total
    /// by pages, so that a pass by another total is due.
    async fn end_of_list(&mut self, pages: u32, total: u64) -> Step<Option<u32>> {
        let is_full = self.is_full(total);
        // More pages than a walk is planned for are those of one second, or of a total that is not true.
        let is_long = pages > self.walker.limits.max_pages.saturating_mul(2);
        let mut behind = pages;
        if (pages > 1 && !is_full) || is_long {
            behind = pages - 1;
            if self.ask_in_pass(behind).await?.rows == 0 {
                self.spend(1)?;
                self.ask(0).await?;
                self.check_total_against_list().await?;
                return Ok(None);
            }
        }
        if is_full {
            self.spend(1)?;
            self.ask_in_pass(pages).await?;
        }
        Ok(Some(behind))
    }

    /// Whether a page repeats an earlier one row for row.
    pub(super) fn is_echo(&self, page: &PageRead) -> bool {
        matches!(page.places[..], [place] if self.evidence.is_echo(place))
    }

    async fn ask_in_pass(&mut self, page_no: u32) -> Step<PageRead> {
        let page = self.ask(page_no).await?;
        self.note_in_pass(page_no, &page);
        Ok(page)
    }

    fn note_in_pass(&mut self, page_no: u32, page: &PageRead) {
        if let [place] = page.places[..]
            && !page.is_narrowed
        {
            self.pass.insert(page_no, place);
        }
    }

    /// Whether the total fills its last page, so that only the page behind it shows the end of the list.
    fn is_full(&self, total: u64) -> bool {
        total > 0 && total.is_multiple_of(u64::from(self.page_size))
    }

    /// The pages before `behind` and behind page 0, several at once: in blocks, each of which is read page by page from
    /// its end backwards, so that what is read of it proves something by itself (`partial`).
    async fn read_at_once(&mut self, behind: u32) -> Step<Vec<(u32, PageRead)>> {
        let (window, page_size, ticks) = (self.window, self.page_size, self.evidence.ticks());
        let (source, quit) = (self.walker.source, &self.walker.quit);
        let ask = |page_no| {
            let ticks = ticks.clone();
            async move {
                let asked = PageRequest { page_no, page_size, at: ticks.next() };
                (asked, source.page(window, page_no, page_size).await)
            }
        };
        let in_turn = |block: Range<u32>| {
            Box::pin(stream::iter(block.rev()).take_while(|_| future::ready(!quit.is_set())).then(ask))
        };
        let mut responses = stream::select_all(blocks(1..behind, self.walker.limits.concurrency).map(in_turn));
        let (mut read, mut unreadable) = (Vec::new(), Vec::new());
        loop {
            let next = tokio::select! {
                biased;
                next = responses.next() => next,
                () = quit.is_over() => None,
            };
            let Some((asked, response)) = next else { break };
            let response = match response {
                Err(_) if quit.is_set() => continue,
                response => response.map_err(|error| failed(asked, error))?,
            };
            if response.page.is_unreadable() {
                unreadable.push((asked, response));
                continue;
            }
            let page = self.take_in(asked, response)?;
            self.note_in_pass(asked.page_no, &page);
            read.push((asked.page_no, page));
        }
        drop(responses);
        if quit.is_set() {
            return Err(Halt::Quit);
        }
        for (asked, response) in unreadable {
            read.push((asked.page_no, self.narrow(asked, response).await?));
        }
        Ok(read)
    }

    /// Whether a page held fewer rows than `total` promised for it. Such a page is read again once.
    fn is_short(&self, page: &PageRead, page_no: u32, total: u64) -> bool {
        let size = u64::from(self.page_size);
        let promised = size.min(total.saturating_sub(u64::from(page_no) * size));
        page.rows < promised
    }

    /// Asks for one page, in smaller ones where it cannot be read.
    pub(super) async fn ask(&mut self, page_no: u32) -> Step<PageRead> {
        if self.walker.quit.is_set() {
            return Err(Halt::Quit);
        }
        let (asked, response) = self.fetch(page_no, self.page_size).await?;
        if response.page.is_unreadable() {
            return self.narrow(asked, response).await;
        }
        self.take_in(asked, response)
    }

    pub(super) async fn fetch(&mut self, page_no: u32, page_size: u32) -> Step<(PageRequest, Fetched<S::Page>)> {
        let asked = PageRequest { page_no, page_size, at: self.evidence.ticks().next() };
        let quit = &self.walker.quit;
        tokio::select! {
            biased;
            response = self.walker.source.page(self.window, page_no, page_size) => match response {
                Err(_) if quit.is_set() => Err(Halt::Quit),
                response => Ok((asked, response.map_err(|error| failed(asked, error))?)),
            },
            () = quit.is_over() => Err(Halt::Quit),
        }
    }

    pub(super) fn take_in(&mut self, asked: PageRequest, fetched: Fetched<S::Page>) -> Step<PageRead> {
        self.calls += 1;
        self.retries += fetched.retries;
        let (rows, total) = (fetched.page.rows().len(), fetched.page.total());
        if !fetched.page.is_unreadable() {
            self.walker.note_page(rows);
        }
        let place = self.evidence.observe(asked, fetched.page).map_err(rose)?;
        Ok(PageRead { places: vec![place], rows: rows as u64, total, ..PageRead::default() })
    }

    fn begin_pass(&mut self, pages: u32) -> Step<()> {
        if self.passes >= self.walker.limits.max_passes || !self.budget.spend(pages) {
            return Err(self.budget_spent().into());
        }
        self.passes += 1;
        self.pass.clear();
        self.pass_total = self.total();
        Ok(())
    }
}

/// So many blocks of about equal length, fewer where there are fewer pages.
fn blocks(pages: Range<u32>, count: u32) -> impl Iterator<Item = Range<u32>> {
    let length = pages.end.saturating_sub(pages.start).div_ceil(count.max(1)).max(1);
    let end = pages.end;
    pages.step_by(length as usize).map(move |first| first..first.saturating_add(length).min(end))
}

/// A page behind the first that is refused may lie too deep in the list: those of smaller windows do not.
fn failed(asked: PageRequest, error: Error) -> Halt {
    if asked.page_no > 0 && error.kind() == ErrorKind::GatewayRefused { Halt::Refused(error) } else { error.into() }
}

fn rose(super::super::evidence::Rose { from, to }: super::super::evidence::Rose) -> Error {
    let what = text!("the total rose from {from} to {to} while the window was walked", from, to);
    Error::new(ErrorClass::LagTooShort, what)
        .hint("raise --lag: the ERP still writes into times that this run took for closed")
}
