//! Requisitions as they stand now: by status, by warehouse, by age, and the oldest.

use std::collections::{BTreeMap, BTreeSet};

use super::Part;
use super::chart::{self, ChartColumn};
use super::table::{HtmlTable, Set};
use super::text::{Escaped, count, quantity, steers, time_of};
use crate::report::Findings;
use crate::report::labels::{Labels, filled};
use crate::report::tally::{OldRequisition, PartlyReferenced, STATUS_KINDS, STATUSES, days_old};
use crate::units::thousands;

/// How many undocumented codes are named.
const CODES: usize = 6;
/// The classes of the colours of [`STATUSES`], and of all other codes.
const COLOURS: [&str; STATUS_KINDS] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6"];

pub(super) fn by_status(findings: &Findings, labels: &'static Labels) -> Part {
    let tally = &findings.headers;
    let total: u64 = tally.by_status.iter().sum::<u64>() + tally.by_code.values().sum::<u64>();
    let mut table = HtmlTable::new(
        labels.by_status,
        &[(Set::Words, labels.status), (Set::Bar, labels.share), (Set::Number, labels.requisitions)],
    )
    .under_its_heading();
    let bar = |number: u64| chart::bar(number.into(), total.into());
    for (name, number) in STATUSES.iter().zip(tally.by_status).filter(|(_, number)| *number > 0) {
        let shown = labels.status_name(name).unwrap_or(name);
        table.row(&[shown.to_owned(), bar(number), count(&format!("status/{name}"), number)]);
    }
    let mut codes: Vec<(i16, u64)> = tally.by_code.iter().map(|(code, number)| (*code, *number)).collect();
    codes.sort_unstable_by_key(|(code, number)| (std::cmp::Reverse(*number), *code));
    for (code, number) in codes.iter().take(CODES) {
        let shown = filled(labels.code, &[&code.to_string()]);
        table.row(&[shown, bar(*number), count(&format!("status/{code}"), *number)]);
    }
    if codes.len() > CODES {
        let others: u64 = codes.iter().skip(CODES).map(|(_, number)| number).sum();
        let shown = filled(labels.other_codes, &[&thousands((codes.len() - CODES) as u64)]);
        table.row(&[shown, bar(others), count("status/other", others)]);
    }
    table.foot(&[labels.total.to_owned(), String::new(), thousands(total)]);
    let about = format!("<p class=\"soft small\">{}</p>\n", labels.by_status_about);
    let body = match total {
        0 => format!("<p class=\"soft\">{}</p>\n", labels.no_rows),
        _ => about + &super::beside(&by_month(findings, labels), &table.html()),
    };
    Part { id: "status", heading: labels.by_status, is_wide: true, body }
}

/// The chart of months, with its numbers.
fn by_month(findings: &Findings, labels: &Labels) -> String {
    let months = &findings.headers.months;
    let held = |counts: &[u64; STATUS_KINDS]| counts.iter().any(|number| *number > 0);
    let first = months.months.iter().position(|(_, counts)| held(counts)).unwrap_or(months.months.len());
    let mut rows: Vec<(String, String, [u64; STATUS_KINDS])> = Vec::new();
    let edge = |name: &str, key: &str, counts: [u64; STATUS_KINDS]| (name.to_owned(), key.to_owned(), counts);
    rows.extend(held(&months.earlier).then(|| edge(labels.earlier, "earlier", months.earlier)));
    rows.extend(
        months.months.iter().skip(first).map(|(month, counts)| (month.to_string(), month.to_string(), *counts)),
    );
    rows.extend(held(&months.later).then(|| edge(labels.later, "later", months.later)));
    rows.extend(held(&months.undated).then(|| edge(labels.undated, "undated", months.undated)));

    let names: Vec<&str> =
        STATUSES.iter().map(|name| labels.status_name(name).unwrap_or(name)).chain([labels.unknown_codes]).collect();
    // What no requisition has needs neither a colour nor a column.
    let kinds: Vec<usize> =
        (0..STATUS_KINDS).filter(|kind| rows.iter().any(|(.., counts)| counts[*kind] > 0)).collect();
    let columns: Vec<ChartColumn<'_>> = rows
        .iter()
        .map(|(name, _, counts)| ChartColumn {
            name: name.clone(),
            // What is done stands at the bottom, what is open above it.
            parts: kinds.iter().rev().map(|kind| (COLOURS[*kind], names[*kind], counts[*kind])).collect(),
        })
        .collect();
    let end =
        |row: Option<&(String, String, [u64; STATUS_KINDS])>| row.map(|(name, ..)| name.clone()).unwrap_or_default();
    let most = thousands(chart::largest(&columns));
    let described = filled(labels.chart_by_month, &[&end(rows.first()), &end(rows.last()), &most]);
    let keys: String = kinds
        .iter()
        .map(|kind| {
            format!(
                "<li><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"{}\" width=\"12\" height=\"12\"/></svg>{}</li>",
                COLOURS[*kind], names[*kind]
            )
        })
        .collect();

    let mut head = vec![(Set::Line, labels.month)];
    head.extend(kinds.iter().map(|kind| (Set::Number, names[*kind])));
    head.push((Set::Number, labels.total));
    let mut table = HtmlTable::new(labels.numbers_of_chart, &head);
    for (name, key, counts) in rows.iter().rev() {
        let mut cells = vec![name.clone()];
        let status = |kind: usize| STATUSES.get(kind).copied().unwrap_or("code");
        cells.extend(kinds.iter().map(|kind| count(&format!("month/{key}/{}", status(*kind)), counts[*kind])));
        cells.push(thousands(counts.iter().sum()));
        table.row(&cells);
    }
    [
        format!("<ul class=\"key\">{keys}</ul>\n"),
        chart::columns(&columns, &described),
        table.folded(labels.numbers_of_chart),
    ]
    .concat()
}

/// A row of a table of open quantities: what it is of, its bar, and its figures under a name for machines.
fn open_row(name: &str, key: &str, (requisitions, open, largest): (u64, i128, i128)) -> [String; 4] {
    [
        name.to_owned(),
        chart::bar(open, largest),
        count(&format!("{key}/open"), requisitions),
        quantity(&format!("{key}/quantity"), open),
    ]
}

fn open_table(caption: &str, first: &str, labels: &Labels) -> HtmlTable {
    HtmlTable::new(
        caption,
        &[
            (Set::Words, first),
            (Set::Bar, labels.share),
            (Set::Number, labels.open),
            (Set::Number, labels.open_quantity),
        ],
    )
    .under_its_heading()
}

/// The last row of a table of what is open, and a word on what says no quantity.
fn closed(mut table: HtmlTable, findings: &Findings, labels: &Labels) -> String {
    let open = &findings.headers.open;
    if open.requisitions == 0 {
        return format!("<p class=\"soft\">{}</p>\n", labels.nothing_open);
    }
    let total = [super::text::for_people(open.quantity), thousands(open.requisitions)];
    let [quantity, requisitions] = total;
    table.foot(&[labels.total.to_owned(), String::new(), requisitions, quantity]);
    let unknown = match open.unknown {
        0 => String::new(),
        number => {
            let text = filled(labels.quantity_unknown, &[&count("open.unknown", number)]);
            format!("<p class=\"soft small\">{text}</p>\n")
        }
    };
    table.html() + &unknown
}

pub(super) fn by_warehouse(findings: &Findings, labels: &'static Labels) -> Part {
    let ranking = &findings.warehouses;
    let mut table = open_table(labels.by_warehouse, labels.warehouse, labels);
    let largest = ranking.named.first().map_or(0, |first| first.quantity);
    for sum in &ranking.named {
        let account = findings.accounts.get(sum.account as usize).map_or("", |part| part.name.as_str());
        let mut shown = match (&*sum.name, &*sum.no) {
            ("", "") => labels.no_warehouse.to_owned(),
            ("", only) | (only, "") => Escaped(only).to_string(),
            (name, no) if name == no => Escaped(name).to_string(),
            (name, no) => format!("{} <span class=\"soft\">{}</span>", Escaped(name), Escaped(no)),
        };
        if findings.accounts.len() > 1 {
            shown += &format!(" <span class=\"soft\">· {}</span>", Escaped(account));
        }
        let (column, told_by) = if sum.no.is_empty() { ("name", &sum.name) } else { ("no", &sum.no) };
        let key = format!("warehouse/{account}/{column}/{told_by}");
        table.row(&open_row(&shown, &key, (sum.open, sum.quantity, largest)));
    }
    if ranking.others > 0 {
        let shown = filled(labels.other_warehouses, &[&count("warehouses.others", ranking.others)]);
        let figures = (ranking.others_open, ranking.others_quantity, largest.max(ranking.others_quantity));
        let [name, _, open, quantity] = open_row(&shown, "warehouses.others", figures);
        // They are many together: a bar beside those of single ones would mislead.
        table.row(&[name, String::new(), open, quantity]);
    }
    let body = closed(table, findings, labels);
    Part { id: "warehouses", heading: labels.by_warehouse, is_wide: false, body }
}

pub(super) fn by_age(findings: &Findings, labels: &'static Labels) -> Part {
    let ages = &findings.headers.by_age;
    let mut table = open_table(labels.by_age, labels.age, labels);
    let largest = ages.iter().map(|age| age.quantity).max().unwrap_or(0);
    for ((age, name), place) in ages.iter().zip(labels.ages()).zip(0..) {
        let key = format!("age/{place}");
        table.row(&open_row(name, &key, (age.requisitions, age.quantity, largest)));
    }
    let about = format!("<p class=\"soft small\">{}</p>\n", labels.by_age_about);
    let body = about + &closed(table, findings, labels);
    Part { id: "ages", heading: labels.by_age, is_wide: false, body }
}

pub(super) fn oldest(findings: &Findings, labels: &'static Labels) -> Part {
    let (to_stop, to_wait) = (&findings.headers.to_stop, &findings.headers.to_wait);
    let (stoppable, waiting) = (!to_stop.oldest.is_empty(), !to_wait.oldest.is_empty());
    let heading = |text: &str| if stoppable && waiting { format!("<h3>{text}</h3>\n") } else { String::new() };
    let mut body = String::new();
    if stoppable {
        let (table, numbers, odd) = old_table(findings, labels, to_stop);
        body += &[heading(labels.flagship_accounts), table, commands(findings, labels, &numbers, odd)].concat();
    }
    if waiting {
        let (table, ..) = old_table(findings, labels, to_wait);
        let word = format!("<p class=\"soft small\">{}</p>\n", labels.stop_not_offered);
        body += &[heading(labels.other_editions), table, word].concat();
    }
    if body.is_empty() {
        body = format!("<p class=\"soft\">{}</p>\n", labels.none);
    }
    Part { id: "oldest", heading: labels.oldest, is_wide: true, body }
}

/// The numbers that a command can stop, by account.
type NumbersByAccount<'a> = BTreeMap<u32, BTreeSet<&'a str>>;

/// The oldest of some, as a table with a word before it; the numbers that can be stopped, and how many cannot stand in
/// a command.
fn old_table<'a>(
    findings: &Findings,
    labels: &'static Labels,
    partly: &'a PartlyReferenced,
) -> (String, NumbersByAccount<'a>, u64) {
    let state = |old: &OldRequisition| {
        let part = findings.accounts.get(old.account as usize);
        match (findings.stops.is_stopped(old), part.is_some_and(|part| part.pending.contains(&old.number))) {
            (true, _) => labels.stopped_since,
            (_, true) => labels.stop_pending,
            _ => "",
        }
    };
    // A column of nothing says nothing.
    let has_states = partly.oldest.iter().any(|old| !state(old).is_empty());
    let has_several = findings.accounts.len() > 1;
    let mut head = vec![(Set::Id, labels.number)];
    head.extend(has_several.then_some((Set::Words, labels.account)));
    head.extend([
        (Set::Words, labels.warehouse),
        (Set::Time, labels.modified),
        (Set::Number, labels.days),
        (Set::Number, labels.open_quantity),
    ]);
    head.extend(has_states.then_some((Set::Words, labels.stops)));
    let mut table = HtmlTable::new(labels.oldest, &head).under_its_heading();
    let mut to_stop = NumbersByAccount::new();
    let mut odd = 0;
    for old in &partly.oldest {
        let account = findings.accounts.get(old.account as usize).map_or("", |part| part.name.as_str());
        let state = state(old);
        if state.is_empty() && is_plain(&old.number) {
            to_stop.entry(old.account).or_default().insert(&old.number);
        } else if state.is_empty() {
            odd += 1;
        }
        let days = findings.as_of.map_or(0, |as_of| days_old(as_of, old.modified));
        let key = format!("oldest/{account}/{}", old.number);
        let mut cells = vec![Escaped(&old.number).to_string()];
        cells.extend(has_several.then(|| Escaped(account).to_string()));
        cells.extend([
            Escaped(&old.warehouse).to_string(),
            time_of(old.modified),
            thousands(days.unsigned_abs()),
            old.open.map_or_else(|| "–".to_owned(), |open| quantity(&key, open)),
        ]);
        cells.extend(has_states.then(|| state.to_owned()));
        table.row(&cells);
    }
    let listed = thousands(partly.oldest.len() as u64);
    let about = filled(labels.oldest_about, &[&listed, &thousands(partly.sum.requisitions)]);
    (format!("<p class=\"soft small\">{about}</p>\n{}", table.html()), to_stop, odd)
}

/// The commands that show what stops would do, an account each.
fn commands(findings: &Findings, labels: &Labels, to_stop: &NumbersByAccount<'_>, odd: u64) -> String {
    let odd = match odd {
        0 => String::new(),
        odd => format!("<p class=\"soft small\">{}</p>\n", filled(labels.odd_numbers, &[&thousands(odd)])),
    };
    if to_stop.is_empty() {
        return odd;
    }
    let command = |(account, numbers): (&u32, &BTreeSet<&str>)| {
        let account = findings.accounts.get(*account as usize).map_or("", |part| part.name.as_str());
        let numbers: Vec<&str> = numbers.iter().copied().collect();
        let command =
            format!("wdt-lake stop --lake {} --account {account} {}", quoted(&findings.lake), numbers.join(" "));
        format!("<pre tabindex=\"0\"><code>{}</code></pre>\n", Escaped(&command))
    };
    let commands: String = to_stop.iter().map(command).collect();
    format!("<p class=\"small\">{}</p>\n{commands}{odd}", labels.stop_command)
}

/// Whether a number can stand in a command line as it is, whatever shell reads it.
fn is_plain(number: &str) -> bool {
    !number.starts_with('-')
        && !number.is_empty()
        && number.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.'))
}

/// The longest path or URI that is put into commands.
const LONGEST_LAKE: usize = 200;

/// A path or URI as a shell takes it; of one that is too long a word to put it in place of.
fn quoted(lake: &str) -> String {
    if lake.chars().count() > LONGEST_LAKE {
        return "LAKE".to_owned();
    }
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-:@%+=,".contains(letter);
    if !lake.is_empty() && lake.chars().all(is_plain) {
        return lake.to_owned();
    }
    let shown: String = lake.chars().filter(|letter| !steers(*letter)).collect();
    format!("'{}'", shown.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_no_shell_misunderstands_are_put_into_a_command() {
        for good in ["CG202609040001", "采购-1_a.b", "0"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", "--yes", "a b", "a;rm -rf /", "$(id)", "`id`", "a'b", "a\nb", "a&b", "a\u{202e}b", "a*"] {
            assert!(!is_plain(bad), "{bad}");
        }
        assert_eq!(quoted("s3://bucket/a-b_c"), "s3://bucket/a-b_c");
        assert_eq!(quoted("/data/my lake's"), "'/data/my lake'\\''s'");
    }
}
