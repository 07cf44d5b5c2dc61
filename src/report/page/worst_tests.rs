//! The largest page that there can be: every list is full, every text is as long as one can be and all of it is
//! escaped.

use super::render;
use crate::language::Language;
use crate::report::calendar::{Calendar, DayState};
use crate::report::spending::Spending;
use crate::report::stop_tally::StopTally;
use crate::report::tally::{AccountSum, HeaderTally, Stoppable};
use crate::report::warehouses::Warehouses;
use crate::report::{AccountPart, Findings, MOST_BYTES, QuarantineReasons, WAREHOUSES};
use crate::time::{BeijingTime, Window};
use crate::transform::{DetailSums, StandingHeader, StandingStop};

fn at(text: &str) -> BeijingTime {
    BeijingTime::parse(text).expect("a time")
}

/// A calendar whose neighbours always differ, so that no two days share a shape, and with more gaps than are listed.
fn chequered(last: BeijingTime) -> Calendar {
    let states = [DayState::Covered, DayState::Missing, DayState::Partly, DayState::Expired, DayState::Unasked];
    let second = |nth: i64| at("2026-01-01 00:00:00").plus_seconds(nth * 7_777);
    let gaps = (0..5_000).filter_map(|nth| Window::new(second(nth), second(nth).plus_seconds(61))).collect();
    let days = |_: usize| (0..31).map(|day| states[day % states.len()]).collect();
    let months = crate::report::months::MonthAxis::<()>::until(last).months;
    let months = months.into_iter().enumerate().map(|(nth, (month, ()))| (month, days(nth))).collect();
    let span = Window::new(at("2024-01-01 00:00:00"), last);
    Calendar {
        months,
        days: [999; 4],
        gaps,
        span,
        covered_seconds: u64::MAX,
        gap_seconds: u64::MAX / 1_000,
        has_expired: true,
    }
}

fn worst(accounts: usize) -> Findings {
    let as_of = at("2026-06-30 23:59:59");
    let long = "'".repeat(200);
    let mut headers = HeaderTally::new(as_of);
    let mut stops = StopTally::default();
    let mut warehouses = Warehouses::default();
    for account in 0..accounts {
        headers.begin_account(if account % 3 == 0 { Stoppable::No } else { Stoppable::Yes });
        stops.begin_account(u32::try_from(account).expect("few"));
        for nth in 0_i16..400 {
            // Only plain numbers get into a command.
            let letter = if account % 2 == 0 { "x" } else { "'" };
            let (number, warehouse) = (format!("{nth:03}{}", letter.repeat(197)), format!("{nth}{long}"));
            let header = StandingHeader {
                number: &number,
                apply_id: Some(i64::MAX),
                status: nth,
                status_name: if nth % 2 == 0 { None } else { Some("partly_referenced") },
                warehouse_no: Some(&warehouse),
                warehouse_name: Some(&long),
                modified: i64::from(nth),
                created: Some(as_of.plus_seconds(-i64::from(nth) * 259_200).micros()),
                real: Some(1),
                referenced: Some(1),
                open: Some(i128::from(u64::MAX) * 10_000_000_001),
            };
            let row = headers.add_for_tests(&header, &DetailSums::default());
            row.and_then(|()| warehouses.add(u32::try_from(account).expect("few"), &header, header.open))
                .expect("added");
            stops.add_for_tests(&StandingStop {
                number: &number,
                requested_at: i64::from(nth),
                outcome: &long,
                error: Some(&long),
            });
        }
    }
    let mut spending = Spending::until(as_of);
    spending.days = [u64::MAX / 1_000; 30];
    (spending.calls, spending.by_account) = (u64::MAX, vec![u64::MAX / 1_000; accounts]);
    let accounts = (0..accounts).map(|nth| AccountPart {
        name: format!("a{nth:03}{}", "x".repeat(60)).parse().expect("a name"),
        edition: Some(crate::edition::Edition::Flagship),
        calendar: chequered(as_of),
        sum: AccountSum { requisitions: u64::MAX / 1_000, open: headers.open },
        versions: u64::MAX / 1_000,
        quarantined: u64::MAX / 1_000,
        pending: Vec::new(),
        succeeded_at: Some(as_of),
        known_until: Some(as_of),
    });
    let accounts = accounts.collect();
    let reasons: QuarantineReasons = (0..41).map(|nth| (format!("{nth:02}{}", &long[..58]), u64::MAX / 100)).collect();
    let warehouses = warehouses.ranked(WAREHOUSES).expect("ranked");
    Findings {
        lake: "'".repeat(200),
        made_at: as_of.plus_seconds(9_999_999),
        as_of: Some(as_of),
        accounts,
        headers,
        warehouses,
        stops,
        reasons,
        spending,
    }
}

#[test]
fn no_lake_makes_a_page_that_is_too_large() {
    for accounts in [1, 4, 5, 9, 300] {
        for language in [Language::English, Language::Chinese] {
            let bytes = render(&worst(accounts), language).len();
            assert!(bytes <= MOST_BYTES, "{bytes} bytes for {accounts} accounts");
            assert!(bytes > 100_000, "{bytes} bytes: it is a large page");
        }
    }
}
