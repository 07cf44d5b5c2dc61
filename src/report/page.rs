//! The page: HTML that is also well-formed XML, with its style in it and charts as SVG. It names nothing that a browser
//! would fetch, and forbids it by a policy besides. Figures that a program may want stand in `<data data-n="NAME"
//! value="VALUE">`, times in `<time datetime>`.

mod chart;
mod coverage;
mod records;
mod requisitions;
mod table;
mod text;
#[cfg(test)]
mod worst_tests;

use super::Findings;
use super::labels::{Labels, filled};
use crate::language::Language;
use crate::time::BeijingTime;
use text::{Escaped, count, for_people, length, quantity, time};

const STYLE: &str = include_str!("page/style.css");
/// Nothing is fetched and nothing runs, whatever a lake holds.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
/// A lake that is so many seconds behind the present is said to be.
const STALE_SECONDS: i64 = 2 * 86_400;
/// Figures of so many characters get smaller digits.
const LONG_FIGURE: usize = 10;
const LONGER_FIGURE: usize = 16;

/// A part of the page: its name within the page, its heading, whether it takes the whole width, and what is in it.
struct Part {
    id: &'static str,
    heading: &'static str,
    is_wide: bool,
    body: String,
}

/// The page in a language.
pub(super) fn render(findings: &Findings, language: Language) -> String {
    let labels = Labels::of(language);
    let parts = [
        coverage::coverage(findings, labels),
        requisitions::by_status(findings, labels),
        requisitions::by_warehouse(findings, labels),
        requisitions::by_age(findings, labels),
        records::quality(findings, labels),
        records::stops(findings, labels),
        requisitions::oldest(findings, labels),
        records::calls(findings, labels),
    ];
    let links: String =
        parts.iter().map(|part| format!("<li><a href=\"#{}\">{}</a></li>", part.id, part.heading)).collect();
    let sections: String = parts
        .iter()
        .map(|Part { id, heading, is_wide, body }| {
            let class = if *is_wide { " class=\"wide\"" } else { "" };
            format!("<section id=\"{id}\"{class} aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{heading}</h2>\n{body}</section>\n")
        })
        .collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\" />\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\" />\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n\
         <meta name=\"color-scheme\" content=\"light dark\" />\n<meta name=\"referrer\" content=\"no-referrer\" />\n\
         <meta name=\"generator\" content=\"wdt-lake {version}\" />\n<link rel=\"icon\" href=\"data:,\" />\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">{skip}</a>\n<div class=\"wrap\">\n{header}\
         <nav aria-label=\"{contents}\"><ul>{links}</ul></nav>\n<main id=\"main\">\n{notes}{tiles}\
         <div class=\"cards\">\n{sections}</div>\n</main>\n{footer}</div>\n</body>\n</html>\n",
        lang = labels.lang,
        policy = Escaped(POLICY),
        version = env!("CARGO_PKG_VERSION"),
        title = labels.title,
        skip = labels.skip,
        contents = labels.contents,
        header = header(findings, labels),
        notes = notes(findings, labels),
        tiles = tiles(findings, labels),
        footer = footer(labels),
    )
}

fn header(findings: &Findings, labels: &Labels) -> String {
    let as_of = match findings.as_of {
        Some(as_of) => filled(labels.as_of, &[&time(as_of)]),
        None => labels.as_of_unknown.to_owned(),
    };
    let lake = format!("<code>{}</code>", Escaped(&super::clip::clipped(&findings.lake)));
    let made = filled(labels.made_at, &[&time(findings.made_at), &lake]);
    format!(
        "<header>\n<h1>{}</h1>\n<p><strong>{as_of}</strong></p>\n<p class=\"soft small w\">{made}</p>\n</header>\n",
        labels.title
    )
}

/// What a reader must know before the figures.
fn notes(findings: &Findings, labels: &Labels) -> String {
    let mut notes = Vec::new();
    let mut note = |class: &str, text: &str| notes.push(format!("<li class=\"{class}\">{text}</li>\n"));
    let gaps: u64 = findings.accounts.iter().map(|part| part.calendar.gaps.len() as u64).sum();
    let seconds: u64 = findings.accounts.iter().map(|part| part.calendar.gap_seconds).sum();
    let spans = findings.accounts.iter().filter_map(|part| part.calendar.span);
    let span = spans.reduce(crate::time::Window::hull);
    if gaps > 0 {
        let text = filled(labels.gaps_found, &[&crate::units::thousands(gaps), &length(labels, seconds)]);
        note("warn", &text);
    } else if let Some(span) = span {
        note("ok", &filled(labels.all_is_there, &[&time(span.start()), &time(span.end())]));
    }
    if let Some(behind) = findings.as_of.map(|as_of| seconds_between(as_of, findings.made_at))
        && behind >= STALE_SECONDS
    {
        note("warn", &filled(labels.stale, &[&(behind / 86_400).to_string()]));
    }
    let quarantined: u64 = findings.accounts.iter().map(|part| part.quarantined).sum();
    if quarantined > 0 {
        note("warn", &filled(labels.quarantine_found, &[&crate::units::thousands(quarantined)]));
    }
    if findings.accounts.iter().all(|part| part.sum.requisitions == 0) {
        note("warn", labels.no_rows);
    }
    if notes.is_empty() { String::new() } else { format!("<ul class=\"notes\">\n{}</ul>\n", notes.concat()) }
}

fn seconds_between(from: BeijingTime, to: BeijingTime) -> i64 {
    to.unix().saturating_sub(from.unix())
}

/// The figures that are looked for first.
fn tiles(findings: &Findings, labels: &Labels) -> String {
    let open = &findings.headers.open;
    let (to_stop, to_wait) = (&findings.headers.to_stop.sum, &findings.headers.to_wait.sum);
    let partly = to_stop.requisitions + to_wait.requisitions;
    let partly_quantity = to_stop.quantity + to_wait.quantity;
    let requisitions = findings.accounts.iter().map(|part| part.sum.requisitions).sum();
    let gaps = findings.accounts.iter().map(|part| part.calendar.gaps.len() as u64).sum();
    let quarantined = findings.accounts.iter().map(|part| part.quarantined).sum();
    let size = |shown: usize| match (shown > LONG_FIGURE, shown > LONGER_FIGURE) {
        (false, _) => "big",
        (true, false) => "big long",
        (true, true) => "big longer",
    };
    let tile = |label: &str, class: &str, figure: &str, hint: &str| {
        format!("<div><dt>{label}</dt><dd class=\"{class}\">{figure}</dd><dd class=\"small\">{hint}</dd></div>\n")
    };
    let partly_hint = filled(labels.partly_hint, &[&quantity("partly.quantity", partly_quantity)]);
    let tiles = [
        tile(labels.requisitions, "big", &count("requisitions", requisitions), labels.requisitions_hint),
        tile(labels.open, "big", &count("open", open.requisitions), labels.open_hint),
        tile(
            labels.open_quantity,
            size(for_people(open.quantity).len()),
            &quantity("open.quantity", open.quantity),
            labels.open_quantity_hint,
        ),
        tile(labels.partly, "big", &count("partly", partly), &partly_hint),
        tile(labels.gaps, "big", &count("gaps", gaps), labels.gaps_hint),
        tile(labels.quarantine, "big", &count("quarantined", quarantined), labels.quarantine_hint),
    ];
    format!("<dl class=\"tiles\">\n{}</dl>\n", tiles.concat())
}

/// Two things side by side, where there is room.
fn beside(one: &str, other: &str) -> String {
    format!("<div class=\"split\">\n<div>\n{one}</div>\n<div>\n{other}</div>\n</div>\n")
}

fn footer(labels: &Labels) -> String {
    let lines = [labels.about_times, labels.about_latest, labels.about_numbers, labels.about_sql];
    let lines: String = lines.iter().map(|line| format!("<li>{line}</li>\n")).collect();
    format!("<footer>\n<h2>{}</h2>\n<ul>\n{lines}</ul>\n</footer>\n", labels.about)
}
