//! Questions to the ERP that land nothing: requisitions by number, and whether it answers at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::source::unreadable;
use crate::config::AccountSettings;
use crate::error::Result;
use crate::gateway::{CallPolicy, Gateway, Query};
use crate::id::RunId;
use crate::time::{Clock, Window};
use crate::transform::{PageContext, PageDecoder, WindowRows, assemble};

/// What the ERP says of one number.
#[derive(Debug)]
pub(crate) struct Queried {
    /// The number that was asked for.
    pub number: String,
    /// Its rows in the two tables; no rows when the ERP does not know the number.
    pub rows: WindowRows,
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
        let decoder = Arc::clone(&decoder);
        let called = gateway
            .query(&Query::Number(number.clone()), move |answer| {
                let received_at_micros = answer.received_at_micros;
                let context = PageContext { window: None, page_no: 0, page_size: 0, received_at_micros };
                decoder.decode(answer.body(), &context).map_err(unreadable)
            })
            .await
            .map_err(|error| error.with("number", number))?;
        let page = called.value.into_read().map_err(|error| error.with("number", number))?;
        let selected: Vec<_> = (0..page.rows().len()).map(|row| (0, row)).collect();
        found.push(Queried { number: number.clone(), rows: assemble([page], &selected)? });
    }
    Ok(found)
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

/// Makes one cheap signed call: a page of one row of one past second. When it is answered, credentials, clock, address and permission
/// are right.
///
/// # Errors
/// As [`Gateway::query`].
pub(crate) async fn check(account: &AccountSettings, calls: &CallPolicy, clock: Arc<dyn Clock>) -> Result<Checked> {
    let began = Instant::now();
    let gateway = Gateway::new(account, calls, Arc::clone(&clock))?;
    let window = Window::second(clock.now().plus_seconds(-3_600));
    gateway.query(&Query::Page { window, page_no: 0, page_size: 1 }, |_| Ok(())).await?.value.into_read()?;
    let clock_ahead_seconds = gateway.last_date().map(|server| server.unix() - clock.now().unix());
    Ok(Checked { clock_ahead_seconds, calls: gateway.calls(), elapsed: began.elapsed() })
}
