//! What the lake covers: calendars, accounts and gaps.

use super::Part;
use super::chart;
use super::table::{HtmlTable, Set};
use super::text::{Escaped, count, length, quantity, time};
use crate::report::labels::{Labels, filled};
use crate::report::{AccountPart, Findings};
use crate::units::thousands;

/// How many accounts have a calendar, and how many a row.
const CALENDARS: usize = 9;
const ACCOUNTS: usize = 30;
/// How many months a calendar has where there are many.
const MONTHS_OF_MANY: usize = 12;
const FEW: usize = 4;
/// How many gaps are listed.
const GAPS: usize = 20;

pub(super) fn coverage(findings: &Findings, labels: &'static Labels) -> Part {
    let body = [
        format!("<p class=\"soft small\">{}</p>\n", labels.coverage_about),
        calendars(findings, labels),
        accounts(findings, labels),
        gaps(findings, labels),
    ];
    Part { id: "coverage", heading: labels.coverage, is_wide: true, body: body.concat() }
}

fn calendars(findings: &Findings, labels: &Labels) -> String {
    let drawn: Vec<&AccountPart> =
        findings.accounts.iter().filter(|part| !part.calendar.months.is_empty()).take(CALENDARS).collect();
    if drawn.is_empty() {
        return String::new();
    }
    let figures: String = drawn
        .iter()
        .map(|part| {
            let months = &part.calendar.months;
            let most = if findings.accounts.len() > FEW { MONTHS_OF_MANY } else { months.len() };
            let [covered, partly, missing, expired] = part.calendar.days.map(thousands);
            let described = filled(labels.calendar_of, &[part.name.as_str(), &covered, &partly, &missing, &expired]);
            let drawn = chart::calendar(&months[months.len().saturating_sub(most)..], &described);
            format!("<figure><figcaption>{}</figcaption>{drawn}</figure>\n", Escaped(part.name.as_str()))
        })
        .collect();
    let key = |class: &str, text: &str| {
        let mark = format!(
            "<svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"12\" height=\"12\"/></svg>"
        );
        format!("<li>{mark}{text}</li>")
    };
    let mut keys = vec![key("dc", labels.day_covered), key("dp", labels.day_partly), key("dm", labels.day_missing)];
    if findings.accounts.iter().any(|part| part.calendar.has_expired) {
        keys.push(key("de", labels.day_expired));
    }
    keys.push(key("du", labels.day_unasked));
    let left_out = findings.accounts.len().saturating_sub(CALENDARS);
    let left_out = match left_out {
        0 => String::new(),
        _ => format!(
            "<p class=\"soft small\">{}</p>\n",
            filled(labels.calendars_left_out, &[&thousands(left_out as u64)])
        ),
    };
    format!("<ul class=\"key\">{}</ul>\n<div class=\"calendars\">\n{figures}</div>\n{left_out}", keys.concat())
}

fn accounts(findings: &Findings, labels: &Labels) -> String {
    let mut table = HtmlTable::new(
        labels.accounts,
        &[
            (Set::Words, labels.account),
            (Set::Line, labels.edition),
            (Set::Time, labels.covered_from),
            (Set::Time, labels.covered_to),
            (Set::Time, labels.last_success),
            (Set::Number, labels.gaps),
            (Set::Number, labels.requisitions),
            (Set::Number, labels.versions),
            (Set::Number, labels.open),
            (Set::Number, labels.open_quantity),
            (Set::Number, labels.quarantine),
            (Set::Number, labels.calls_30),
        ],
    );
    let rows = findings.accounts.iter().zip(&findings.spending.by_account).take(ACCOUNTS);
    for (part, calls) in rows {
        let name = |figure: &str| format!("account/{}/{figure}", part.name);
        let edition = part.edition.and_then(|edition| labels.edition_name(edition.name())).unwrap_or("–");
        let span = part.calendar.span;
        let or_none = |at: Option<crate::time::BeijingTime>| at.map_or_else(|| "–".to_owned(), time);
        table.row(&[
            Escaped(part.name.as_str()).to_string(),
            edition.to_owned(),
            or_none(span.map(crate::time::Window::start)),
            or_none(span.map(crate::time::Window::end)),
            part.succeeded_at.map_or_else(|| labels.not_known.to_owned(), time),
            count(&name("gaps"), part.calendar.gaps.len() as u64),
            count(&name("requisitions"), part.sum.requisitions),
            count(&name("versions"), part.versions),
            count(&name("open"), part.sum.open.requisitions),
            quantity(&name("open.quantity"), part.sum.open.quantity),
            count(&name("quarantined"), part.quarantined),
            count(&name("calls"), *calls),
        ]);
    }
    let others: Vec<_> = findings.accounts.iter().zip(&findings.spending.by_account).skip(ACCOUNTS).collect();
    if !others.is_empty() {
        let sum = |of: fn(&AccountPart) -> u64| thousands(others.iter().map(|(part, _)| of(part)).sum());
        let open: i128 = others.iter().map(|(part, _)| part.sum.open.quantity).sum();
        table.foot(&[
            filled(labels.other_accounts, &[&thousands(others.len() as u64)]),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            sum(|part| part.calendar.gaps.len() as u64),
            sum(|part| part.sum.requisitions),
            sum(|part| part.versions),
            sum(|part| part.sum.open.requisitions),
            super::text::for_people(open),
            sum(|part| part.quarantined),
            thousands(others.iter().map(|(_, calls)| **calls).sum()),
        ]);
    }
    table.html()
}

fn gaps(findings: &Findings, labels: &Labels) -> String {
    let all = || findings.accounts.iter().flat_map(|part| part.calendar.gaps.iter().map(move |gap| (part, *gap)));
    let total = all().count();
    let heading = format!("<h3>{}</h3>\n", labels.gap_list);
    if total == 0 {
        return format!("{heading}<p class=\"soft\">{}</p>\n", labels.no_gaps);
    }
    let mut table = HtmlTable::new(
        labels.gap_list,
        &[
            (Set::Words, labels.account),
            (Set::Time, labels.gap_from),
            (Set::Time, labels.gap_to),
            (Set::Number, labels.gap_length),
        ],
    )
    .under_its_heading();
    for (part, gap) in all().take(GAPS) {
        table.row(&[
            Escaped(part.name.as_str()).to_string(),
            time(gap.start()),
            time(gap.end()),
            length(labels, gap.seconds()),
        ]);
    }
    if let Some(others) = total.checked_sub(GAPS).filter(|others| *others > 0) {
        let seconds = all().skip(GAPS).map(|(_, gap)| gap.seconds()).sum();
        table.foot(&[
            filled(labels.other_gaps, &[&thousands(others as u64)]),
            String::new(),
            String::new(),
            length(labels, seconds),
        ]);
    }
    format!("{heading}{}<p class=\"soft small\">{}</p>\n", table.html(), labels.close_gaps)
}
