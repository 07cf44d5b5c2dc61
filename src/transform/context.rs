//! Where a page belongs.

use crate::time::Window;

/// Where a page belongs and when it arrived.
#[derive(Clone, Copy, Debug)]
pub struct PageContext {
    /// The window that was asked for. A row outside it does not fit, see [`PageDecoder`](super::PageDecoder). `None`,
    /// for queries by number, lets every time pass.
    pub window: Option<Window>,
    /// The page, counted from 0.
    pub page_no: u32,
    /// How many rows a page was asked to hold: the page begins at row `page_no * page_size` of the list. 0 where it is
    /// not known.
    pub page_size: u32,
    /// When the answer arrived, in microseconds since 1970-01-01 00:00:00 UTC.
    pub received_at_micros: i64,
}
