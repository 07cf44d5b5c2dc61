//! Raw responses in the place of the gateway: what a walk asked for is given again, in the order in which the walk took
//! it in.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::super::raw;
use super::super::spill::{BufferedPage, SpillBuffer};
use crate::error::{Error, ErrorClass, Result};
use crate::extract::pages::{Fetched, Pages};
use crate::extract::walk::Quit;
use crate::time::Window;
use crate::transform::{PageContext, PageDecoder};

/// What a page was asked by.
type RawRequest = (Window, u32, u32);

/// The answers of one commit.
pub(super) struct Kept {
    /// What the first answer was asked by.
    first: RawRequest,
    json_bytes: u64,
    extra_seconds: i64,
    /// Set when the walk asks for more than was kept: the run that kept it ended there.
    ended: Quit,
    state: Mutex<State>,
}

struct State {
    answers: Vec<Answer>,
    /// The answers that are asked for and not given yet.
    claimed: BTreeSet<usize>,
    waiting: Vec<Waker>,
}

struct Answer {
    asked: RawRequest,
    retries: u32,
    /// None when it was asked for.
    page: Option<BufferedPage>,
}

impl Kept {
    /// Decodes the answers of a `_raw` object, by the contract of today. Takes its time: call it off the async threads.
    ///
    /// # Errors
    /// As [`raw::read`]; [`ErrorKind::Incomplete`](crate::ErrorKind::Incomplete) when there is none.
    pub(super) fn read(packed: &[u8], decoder: &PageDecoder, spill: &Arc<SpillBuffer>) -> Result<Self> {
        let (mut answers, mut json_bytes) = (Vec::new(), 0);
        raw::read(packed, |kept| {
            json_bytes += kept.body.len() as u64;
            let context = PageContext {
                window: Some(kept.window),
                page_no: kept.page_no,
                page_size: kept.page_size,
                received_at_micros: kept.received_at_micros,
            };
            // What was unreadable then is read in smaller pages as it was then; and perhaps it can be read now.
            let body = kept.body.as_bytes();
            let page = match decoder.decode(body, &context) {
                Ok(page) => spill.keep(page, body, context),
                Err(why) => spill.keep_unreadable(decoder, &context, body, body.len() as u64, &why.to_string()),
            };
            answers.push(Answer {
                asked: (kept.window, kept.page_no, kept.page_size),
                retries: kept.retries,
                page: Some(page),
            });
            Ok(())
        })?;
        let first = answers.first().map(|answer| answer.asked);
        let first = first.ok_or_else(|| Error::new(ErrorClass::RawMissing, "no raw responses were kept"))?;
        let state = State { answers, claimed: BTreeSet::new(), waiting: Vec::new() };
        Ok(Self {
            first,
            json_bytes,
            extra_seconds: decoder.extra_seconds(),
            ended: Quit::default(),
            state: Mutex::new(state),
        })
    }

    /// The window of the first walk.
    pub(super) fn window(&self) -> Window {
        self.first.0
    }

    /// The page size that it began with.
    pub(super) fn page_size(&self) -> u32 {
        self.first.2
    }

    /// Tells whether the walk has come to the end of what was kept.
    pub(super) fn ended(&self) -> &Quit {
        &self.ended
    }

    /// The bytes of all answers.
    pub(super) fn json_bytes(&self) -> u64 {
        self.json_bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next answer that was asked for by these words.
    fn claim(&self, asked: RawRequest) -> Option<usize> {
        let mut state = self.state();
        let free = |(place, answer): (usize, &Answer)| {
            let is_free = answer.asked == asked && answer.page.is_some() && !state.claimed.contains(&place);
            is_free.then_some(place)
        };
        let place = state.answers.iter().enumerate().find_map(free)?;
        state.claimed.insert(place);
        Some(place)
    }

    /// Gives a claimed answer when it is the first of those that are claimed.
    fn give(&self, place: usize, waker: &Waker) -> Poll<Result<Fetched<BufferedPage>>> {
        let mut state = self.state();
        if state.claimed.first() != Some(&place) {
            state.waiting.push(waker.clone());
            return Poll::Pending;
        }
        state.claimed.remove(&place);
        state.waiting.drain(..).for_each(Waker::wake);
        let answer = &mut state.answers[place];
        let retries = answer.retries;
        let page = answer.page.take().ok_or_else(|| Error::internal("a raw response was given twice"));
        Poll::Ready(page.map(|page| Fetched { page, retries }))
    }
}

impl Pages for Kept {
    type Page = BufferedPage;

    /// Pages that are asked for at once are given in the order in which they once came.
    async fn page(&self, window: Window, page_no: u32, page_size: u32) -> Result<Fetched<BufferedPage>> {
        let place = self.claim((window, page_no, page_size)).ok_or_else(|| {
            self.ended.set();
            Error::new(
                ErrorClass::RawMissing,
                "the walk asks for more than was kept: the raw responses prove nothing now",
            )
            .with("page", page_no)
        })?;
        // Once around, so that all that is asked for at once is claimed before the first is given.
        let mut is_first_time = true;
        poll_fn(|context| {
            if std::mem::take(&mut is_first_time) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.give(place, context.waker())
        })
        .await
    }

    fn extra_seconds(&self) -> i64 {
        self.extra_seconds
    }

    /// What a run found out about its server it knew when it kept the window.
    fn is_kept(&self) -> bool {
        true
    }
}
