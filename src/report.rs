//! What a lake says, on one page: coverage and gaps, requisitions by status, what is open and for how long, stops,
//! quality, and what it cost. The page is one file of HTML that needs no network and no script, and has at most
//! [`MOST_BYTES`] bytes, whatever is in the lake.
//!
//! Figures are those of the committed set: of requisitions their latest versions, the rows of `export --latest`. Memory
//! does not grow with the rows: the tallies have a bounded number of keys, and lists name so many and sum up the rest.
//! Quantities stay integers of ten-thousandths up to their last digit on the page; only coordinates of bars are floats.
//! The page shows the same for the same lake, but for the time when it was made.
//!
//! Everything that it says of the past ends where the lake's knowledge ends: the last second that is covered, or known
//! to be empty. Ages are counted up to there, and not to the present of whoever makes or reads the page.

mod calendar;
mod clip;
mod labels;
mod months;
mod page;
mod quarantine_reasons;
mod spending;
mod stop_tally;
mod tally;
mod warehouses;

use self::calendar::Calendar;
use self::page::render;
use self::quarantine_reasons::{QuarantineReasons, add_reasons};
use self::spending::Spending;
use self::stop_tally::StopTally;
use self::tally::{AccountSum, HeaderTally, Stoppable};
use self::warehouses::WarehouseRanking;
use crate::edition::Edition;
use crate::error::{Error, Result};
use crate::id::AccountName;
use crate::land::last_run;
use crate::language::Language;
use crate::log::{Lake, Table};
use crate::pipeline::{standing_headers, standing_stops, until_steady};
use crate::time::{BeijingTime, Window};

/// The most bytes of a page.
pub(crate) const MOST_BYTES: usize = 400_000;
/// How many warehouses are named.
const WAREHOUSES: usize = 15;

/// What was found of an account.
struct AccountPart {
    name: AccountName,
    edition: Option<Edition>,
    calendar: Calendar,
    sum: AccountSum,
    /// The versions of its requisitions.
    versions: u64,
    quarantined: u64,
    /// The numbers whose stop is not settled, of which no result stands in the table of outcomes yet.
    pending: Vec<String>,
    /// When a sync last ended without a gap.
    succeeded_at: Option<BeijingTime>,
    /// The last second that the ERP is known to have been asked for.
    known_until: Option<BeijingTime>,
}

/// All that a page shows.
struct Findings {
    /// The lake, as its URI.
    lake: String,
    made_at: BeijingTime,
    /// How far the lake knows; none where it covers nothing and has no row.
    as_of: Option<BeijingTime>,
    accounts: Vec<AccountPart>,
    headers: HeaderTally,
    warehouses: WarehouseRanking,
    stops: StopTally,
    reasons: QuarantineReasons,
    spending: Spending,
}

/// A page, and what it is of.
#[derive(Debug)]
pub(crate) struct ReportPage {
    /// The HTML.
    pub(crate) html: String,
    /// The accounts.
    pub(crate) accounts: Vec<AccountName>,
    /// How far the lake knows.
    pub(crate) as_of: Option<BeijingTime>,
    /// The requisitions of all accounts.
    pub(crate) requisitions: u64,
    /// Those that are open.
    pub(crate) open: u64,
    /// The quantity that is open, in ten-thousandths.
    pub(crate) open_scaled: i128,
    /// The gaps of all accounts.
    pub(crate) gaps: u64,
    /// The records in quarantine.
    pub(crate) quarantined: u64,
}

/// Makes the page of some accounts of one lake, at the present `now`.
///
/// # Errors
/// [`ErrorKind::Lake`](crate::ErrorKind::Lake) when the store does not answer or no temporary file can be written;
/// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when files were replaced again and again while they were read;
/// [`ErrorKind::Defect`](crate::ErrorKind::Defect) when an object is missing or damaged.
pub(crate) async fn report(mut lakes: Vec<Lake>, language: Language, now: BeijingTime) -> Result<ReportPage> {
    let findings = until_steady(&mut lakes, async |lakes| Box::pin(gather(lakes, now)).await).await?;
    let html = render(&findings, language);
    if html.len() > MOST_BYTES {
        return Err(Error::internal("the page is larger than it may be").with("bytes", html.len()));
    }
    Ok(ReportPage {
        html,
        accounts: findings.accounts.iter().map(|part| part.name.clone()).collect(),
        as_of: findings.as_of,
        requisitions: findings.accounts.iter().map(|part| part.sum.requisitions).sum(),
        open: findings.headers.open.requisitions,
        open_scaled: findings.headers.open.quantity,
        gaps: findings.accounts.iter().map(|part| part.calendar.gaps.len() as u64).sum(),
        quarantined: findings.accounts.iter().map(|part| part.quarantined).sum(),
    })
}

async fn gather(lakes: &[Lake], now: BeijingTime) -> Result<Findings> {
    let mut accounts = Vec::new();
    for lake in lakes {
        accounts.push(account_part(lake, now).await?);
    }
    let newest_row = lakes.iter().flat_map(|lake| lake.files(Table::PurchaseApply)).map(|file| file.entry.max_modified);
    let as_of = accounts.iter().filter_map(|part| part.known_until).max().or(newest_row.max());
    for (part, lake) in accounts.iter_mut().zip(lakes) {
        let state = lake.state();
        let expired = state.expired().map(|(_, live)| &*live.expired).unwrap_or_default();
        let last = as_of.unwrap_or(now);
        part.calendar = Calendar::of(lake.coverage(), expired, state.start(), state.kept_span(), last);
    }

    let mut headers = HeaderTally::new(as_of.unwrap_or(now));
    for (lake, part) in lakes.iter().zip(&accounts) {
        headers.begin_account(match part.edition {
            Some(Edition::Flagship) => Stoppable::Yes,
            _ => Stoppable::No,
        });
        headers = standing_headers(lake, headers, HeaderTally::add_batch).await?;
    }
    for (part, sum) in accounts.iter_mut().zip(&headers.by_account) {
        part.sum = *sum;
    }
    let warehouses = std::mem::take(&mut headers.warehouses).ranked(WAREHOUSES)?;

    let mut stops = StopTally::watching(&headers.to_stop.oldest);
    for (lake, account) in lakes.iter().zip(0..) {
        stops.begin_account(account);
        stops = standing_stops(lake, stops, StopTally::add_batch).await?;
    }
    let mut reasons = QuarantineReasons::new();
    for lake in lakes {
        reasons = add_reasons(lake, reasons).await?;
    }
    let last_manifest = lakes.iter().filter_map(|lake| lake.state().last()).map(|last| last.created_at).max();
    let mut spending = Spending::until(last_manifest.unwrap_or(now));
    for lake in lakes {
        spending.add_account(lake).await?;
    }
    let lake = lakes.first().map(|lake| lake.store().root().to_string()).unwrap_or_default();
    Ok(Findings { lake, made_at: now, as_of, accounts, headers, warehouses, stops, reasons, spending })
}

async fn account_part(lake: &Lake, now: BeijingTime) -> Result<AccountPart> {
    let last = last_run(lake.store(), lake.account().clone(), now).await?.last_end;
    let covered = lake.coverage().span().map(Window::end);
    let pending = lake.state().stops().pending().iter();
    Ok(AccountPart {
        name: lake.account().clone(),
        edition: lake.state().binding().map(|binding| binding.edition),
        calendar: Calendar::default(),
        sum: AccountSum::default(),
        versions: lake.rows(Table::PurchaseApply),
        quarantined: lake.quarantined(),
        pending: pending.map(|(number, _)| number.clone()).collect(),
        succeeded_at: last.as_ref().and_then(|end| end.succeeded_at),
        known_until: covered.max(last.and_then(|end| end.checked_until)),
    })
}
