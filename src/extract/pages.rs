//! What a walk asks for and reads: pages of rows, wherever they come from.

use std::future::Future;

use crate::error::Result;
use crate::requisition::RowKey;
use crate::time::Window;

/// Where decoded pages come from: the gateway and the decoder together, or a model in tests.
pub(crate) trait Pages: Sync {
    /// A decoded page.
    type Page: PageRows + Send;

    /// Asks for one page of a closed window. A response that stays unreadable is a page too, see
    /// [`PageRows::is_unreadable`].
    fn page(
        &self,
        window: Window,
        page_no: u32,
        page_size: u32,
    ) -> impl Future<Output = Result<Fetched<Self::Page>>> + Send;

    /// Whether these are responses of an earlier walk: there are no others, and what was checked of the server then is
    /// not checked again.
    fn is_kept(&self) -> bool {
        false
    }

    /// How many seconds behind a window are asked for as well, where the interval is not documented as closed.
    fn extra_seconds(&self) -> i64 {
        0
    }
}

/// What the walk reads of a page; the rest of it passes through unseen.
pub(crate) trait PageRows {
    /// How many rows the window holds, as the server states; with page 0 only, and not with every page 0.
    fn total(&self) -> Option<u64>;
    /// Every row that came over the wire, in order.
    fn rows(&self) -> &[RowKey];
    /// Every row of it was seen again in a later answer: nothing but the keys of its rows is needed any more.
    fn forget_rows(&mut self);
    /// Whether the row at that place belongs to the next window: one second more is asked for where the interval is not
    /// documented as closed.
    fn is_extra(&self, _row: usize) -> bool {
        false
    }
    /// Whether the response had no list, not even an empty one. Beside a total that is no end of the list by itself.
    fn lacks_list(&self) -> bool {
        false
    }
    /// Whether the response stayed unreadable. Its one row then stands for whatever is in it.
    fn is_unreadable(&self) -> bool {
        false
    }
}

/// A page, and what it cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetched<P> {
    /// The page.
    pub page: P,
    /// Tries that failed before.
    pub retries: u32,
}
