//! What is on record beside the requisitions: stops, quality, and what the walks cost.

use super::Part;
use super::chart::{self, ChartColumn};
use super::table::{HtmlTable, Set};
use super::text::{Escaped, count, time_of};
use crate::report::Findings;
use crate::report::labels::{Labels, filled};
use crate::report::quarantine_reasons::OTHERS;
use crate::report::stop_tally::OUTCOMES;
use crate::units::thousands;

pub(super) fn stops(findings: &Findings, labels: &'static Labels) -> Part {
    let (tally, pending) = (&findings.stops, findings.accounts.iter().map(|part| part.pending.len() as u64).sum());
    let total: u64 = tally.by_outcome.iter().sum();
    let body = if total == 0 && pending == 0 {
        format!("<p class=\"soft\">{}</p>\n", labels.no_stops)
    } else {
        let mut table = HtmlTable::new(
            labels.stops,
            &[(Set::Words, labels.outcome), (Set::Bar, labels.share), (Set::Number, labels.requisitions)],
        )
        .under_its_heading();
        for (name, number) in OUTCOMES.iter().zip(tally.by_outcome) {
            let shown = labels.outcome_name(name).unwrap_or(name).to_owned();
            let bar = chart::bar(number.into(), total.into());
            table.row(&[shown, bar, count(&format!("stop/{name}"), number)]);
        }
        let pending = match pending {
            0 => String::new(),
            _ => format!("<p>{} {}</p>\n", labels.pending, count("stop/pending", pending)),
        };
        let about = format!("<p class=\"soft small\">{}</p>\n", labels.stops_about);
        [about, table.html(), pending, last_stops(findings, labels)].concat()
    };
    Part { id: "stops", heading: labels.stops, is_wide: false, body }
}

fn last_stops(findings: &Findings, labels: &Labels) -> String {
    let mut table = HtmlTable::new(
        labels.last_stops,
        &[
            (Set::Id, labels.number),
            (Set::Time, labels.requested_at),
            (Set::Words, labels.outcome),
            (Set::Words, labels.reason),
        ],
    );
    for stop in findings.stops.last.iter().rev() {
        let account = findings.accounts.get(stop.account as usize).map_or("", |part| part.name.as_str());
        let mut number = Escaped(&stop.number).to_string();
        if findings.accounts.len() > 1 {
            number += &format!(" <span class=\"soft\">· {}</span>", Escaped(account));
        }
        let outcome =
            labels.outcome_name(&stop.outcome).map_or_else(|| Escaped(&stop.outcome).to_string(), str::to_owned);
        table.row(&[number, time_of(stop.requested_at), outcome, Escaped(&stop.error).to_string()]);
    }
    table.html()
}

pub(super) fn quality(findings: &Findings, labels: &'static Labels) -> Part {
    let mismatched = format!(
        "<p>{} <strong>{}</strong><br /><span class=\"soft small\">{}</span></p>\n",
        labels.mismatched,
        count("mismatched", findings.headers.mismatched),
        labels.mismatched_hint
    );
    let mut reasons: Vec<(&String, &u64)> = findings.reasons.iter().collect();
    reasons.sort_unstable_by_key(|(reason, number)| (std::cmp::Reverse(**number), *reason));
    let total: u64 = findings.reasons.values().sum();
    let mut table = HtmlTable::new(
        labels.by_reason,
        &[(Set::Words, labels.reason), (Set::Bar, labels.share), (Set::Number, labels.records)],
    );
    for (reason, number) in reasons {
        let shown = match (labels.reason_name(reason), &**reason) {
            (_, OTHERS) => labels.other_reasons.to_owned(),
            (Some(name), code) => format!("{name} <code class=\"soft\">{}</code>", Escaped(code)),
            (None, code) => format!("<code>{}</code>", Escaped(code)),
        };
        let bar = chart::bar((*number).into(), total.into());
        table.row(&[shown, bar, count(&format!("reason/{reason}"), *number)]);
    }
    table.foot(&[labels.total.to_owned(), String::new(), thousands(total)]);
    let quarantine = match total {
        0 => format!("<p class=\"soft\">{}</p>\n", labels.no_quarantine),
        _ => table.html(),
    };
    Part { id: "quality", heading: labels.quality, is_wide: false, body: mismatched + &quarantine }
}

pub(super) fn calls(findings: &Findings, labels: &'static Labels) -> Part {
    let spending = &findings.spending;
    let about = format!("<p class=\"soft small\">{}</p>\n", labels.calls_about);
    let recent: u64 = spending.days.iter().sum();
    let head = [(Set::Words, labels.figure), (Set::Number, labels.amount)];
    let mut table = HtmlTable::new(labels.calls, &head).under_its_heading();
    for (name, key, number) in [
        (labels.calls_30_days, "calls/30", recent),
        (labels.calls_year, "calls/366", spending.calls),
        (labels.retries_year, "retries/366", spending.retries),
        (labels.landed_year, "landed/366", spending.landed),
    ] {
        table.row(&[name.to_owned(), count(key, number)]);
    }
    if spending.calls == 0 {
        let body = format!("<p class=\"soft\">{}</p>\n", labels.no_calls);
        return Part { id: "calls", heading: labels.calls, is_wide: true, body };
    }
    let days: Vec<(String, u64)> =
        spending.by_day().map(|(day, calls)| (day.to_string()[..10].to_owned(), calls)).collect();
    let column =
        |(day, calls): &(String, u64)| ChartColumn { name: day[5..].to_owned(), parts: vec![("b", "", *calls)] };
    let columns: Vec<ChartColumn<'_>> = days.iter().map(column).collect();
    let end = |day: Option<&(String, u64)>| day.map(|(day, _)| day.clone()).unwrap_or_default();
    let most = thousands(chart::largest(&columns));
    let described = filled(labels.chart_calls, &[&end(days.first()), &end(days.last()), &most]);
    let mut numbers =
        HtmlTable::new(labels.numbers_of_chart, &[(Set::Line, labels.day), (Set::Number, labels.calls_column)]);
    for (day, calls) in days.iter().rev() {
        numbers.row(&[day.clone(), count(&format!("calls/{day}"), *calls)]);
    }
    let drawn = chart::columns(&columns, &described);
    let chart = drawn + &numbers.folded(labels.numbers_of_chart);
    let body = about + &super::beside(&chart, &table.html());
    Part { id: "calls", heading: labels.calls, is_wide: true, body }
}
