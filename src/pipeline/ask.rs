//! Questions to the ERP that land nothing: requisitions by number, and whether it answers at all.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::source::read_page;
use crate::config::AccountSettings;
use crate::error::Result;
use crate::gateway::{CallPolicy, Gateway, NotRead, Query};
use crate::id::RunId;
use crate::requisition::{Identity, RowKey};
use crate::time::{Clock, Window};
use crate::transform::{Page, PageContext, PageDecoder, Quarantined, WindowRows, assemble};

/// What the ERP says of one number.
#[derive(Debug)]
pub(crate) struct Queried {
    /// The number that was asked for.
    pub number: String,
    /// Its rows in the two tables; no rows when the answer has none of it.
    pub rows: WindowRows,
    /// Rows of other numbers, which were not asked for.
    pub others: u64,
    /// How many rows the ERP says that it has, where it gave fewer.
    pub more: Option<u64>,
}

impl Queried {
    /// Whether the answer shows nothing of the number.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.headers.num_rows() == 0 && self.rows.quarantined.is_empty()
    }
}

/// Asks the ERP for requisitions by number, one call each. Nothing is landed.
///
/// # Errors
/// As [`Gateway::query`].
pub(crate) async fn get(
    account: &AccountSettings,
    numbers: &[String],
    calls: &CallPolicy,
    clock: Arc<dyn Clock>,
) -> Result<Vec<Queried>> {
    let gateway = Gateway::new(account, calls, clock)?;
    let decoder = Arc::new(PageDecoder::new(account.edition, RunId::generate())?);
    let mut found = Vec::with_capacity(numbers.len());
    for number in numbers {
        let page = query_number(&gateway, &decoder, number).await.map_err(|error| error.with("number", number))?;
        let rows = page.rows().len();
        let own: Vec<_> = rows_of(&page, number).into_iter().map(|row| (0, row)).collect();
        let others = (rows - own.len()) as u64;
        let more = page.total().filter(|total| *total > rows as u64);
        found.push(Queried { number: number.clone(), rows: assemble([page], &own)?, others, more });
    }
    Ok(found)
}

/// Asks for the requisitions of one number. The answer may hold others as well: see [`rows_of`].
pub(super) async fn query_number(gateway: &Gateway, decoder: &Arc<PageDecoder>, number: &str) -> Result<Page> {
    let decoder = Arc::clone(decoder);
    let query = Query::Number(number.to_owned());
    let called = gateway.query(&query, move |answer| {
        let received_at_micros = answer.received_at_micros;
        let context = PageContext { window: None, page_no: 0, page_size: 0, received_at_micros };
        read_page(&decoder, answer, &context)
    });
    called.await?.value.into_read()
}

/// The rows of a page that are of this number exactly, and those that may be of any: a server may give what begins with
/// it, or everything.
pub(super) fn rows_of(page: &Page, number: &str) -> Vec<usize> {
    let invalid: HashMap<usize, &Quarantined> = page.quarantined_rows().zip(page.quarantined()).collect();
    let is_own = |(row, key): (usize, &RowKey)| {
        let other = match (&key.identity, invalid.get(&row)) {
            (Identity::Version { number, .. }, _) => Some(&**number),
            (Identity::Record { .. }, record) => record.and_then(|record| record.purchase_apply_no.as_deref()),
        };
        other.is_none_or(|other| other == number).then_some(row)
    };
    page.rows().iter().enumerate().filter_map(is_own).collect()
}

/// One cheap signed call that changes nothing, a page of one row of one past second: when it is answered by the method,
/// credentials, clock, address and permission are right.
pub(super) async fn ping(gateway: &Gateway, decoder: &Arc<PageDecoder>, clock: &dyn Clock) -> Result<()> {
    let decoder = Arc::clone(decoder);
    let window = Window::second(clock.now().plus_seconds(-3_600));
    let (page_no, page_size) = (0, 1);
    let query = Query::Page { window, page_no, page_size };
    let called = gateway.query(&query, move |answer| {
        let received_at_micros = answer.received_at_micros;
        let context = PageContext { window: Some(window), page_no, page_size, received_at_micros };
        let page = read_page(&decoder, answer, &context)?;
        let has_numbers = page.quarantined().iter().any(|record| record.purchase_apply_no.is_some());
        match page.quarantined().len() {
            invalid if invalid > 0 && invalid == page.rows().len() && !has_numbers => {
                Err(NotRead::Unreadable("the response lists something else than requisitions".to_owned()))
            }
            _ => Ok(()),
        }
    });
    called.await?.value.into_read()
}

/// What one signed call has shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    /// Seconds that the gateway's clock is ahead of this machine's; `None` when it sends no `Date` header.
    pub clock_ahead_seconds: Option<i64>,
    /// Requests that it took; more than one when a try was repeated or the clock was corrected.
    pub calls: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Makes one call by which an account is tried: see [`ping`].
///
/// # Errors
/// As [`Gateway::query`].
pub(crate) async fn check(account: &AccountSettings, calls: &CallPolicy, clock: Arc<dyn Clock>) -> Result<Checked> {
    let began = Instant::now();
    let gateway = Gateway::new(account, calls, Arc::clone(&clock))?;
    let decoder = Arc::new(PageDecoder::new(account.edition, RunId::generate())?);
    ping(&gateway, &decoder, &*clock).await?;
    let clock_ahead_seconds = gateway.last_date().map(|server| server.unix() - clock.now().unix());
    Ok(Checked { clock_ahead_seconds, calls: gateway.calls(), elapsed: began.elapsed() })
}
