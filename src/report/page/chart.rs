//! Charts as SVG, drawn by hand: bars, columns and calendars are rectangles, and a crate for charts would fix colours
//! (which here follow the reader's light or dark), draw text that shrinks on a phone, and say nothing to those who
//! cannot see it. So an SVG here holds shapes only, stretches to its place, and its words stand beside it as HTML.

use std::fmt::Write as _;

use super::text::Escaped;
use crate::report::calendar::DayState;
use crate::time::Month;
use crate::units::thousands;

/// No column is wider, however few they are; and the numbers of the axis beside them.
const COLUMN_PIXELS: usize = 90;
const AXIS_PIXELS: usize = 40;

/// A share of a whole as a coordinate. Bars are for the eye: the figures beside them are exact.
#[expect(clippy::cast_precision_loss, reason = "a coordinate")]
pub(super) fn share(part: i128, whole: i128) -> f64 {
    if whole <= 0 { 0.0 } else { (part.max(0) as f64 / whole as f64).min(1.0) }
}

/// A bar in a cell of a table, beside the figure that it shows.
pub(super) fn bar(part: i128, whole: i128) -> String {
    let width = share(part, whole) * 100.0;
    format!(
        "<svg viewBox=\"0 0 100 14\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect class=\"b\" width=\"{width:.2}\" height=\"14\"/></svg>"
    )
}

/// One column of a chart: what it is called, and its parts from the bottom up, each with the class of its colour and
/// what it is called.
pub(super) struct ChartColumn<'a> {
    pub(super) name: String,
    pub(super) parts: Vec<(&'a str, &'a str, u64)>,
}

impl ChartColumn<'_> {
    fn sum(&self) -> u64 {
        self.parts.iter().map(|(.., number)| number).sum()
    }
}

/// The largest column.
pub(super) fn largest(columns: &[ChartColumn<'_>]) -> u64 {
    columns.iter().map(ChartColumn::sum).max().unwrap_or(0)
}

/// Columns over an axis, with `described` for those who cannot see them.
pub(super) fn columns(columns: &[ChartColumn<'_>], described: &str) -> String {
    let top = nice(largest(columns));
    let (height, step) = (100.0, 10.0);
    let mut shapes = String::new();
    for line in 0..4 {
        let y = f64::from(line) * height / 4.0;
        let _ = write!(shapes, "<path class=\"g\" d=\"M0 {y}H{}\"/>", columns.len() as f64 * step);
    }
    for (column, place) in columns.iter().zip(0_u32..) {
        let (x, mut y) = (f64::from(place) * step, height);
        for (class, name, number) in column.parts.iter().filter(|(.., number)| *number > 0) {
            let tall = share(i128::from(*number), i128::from(top)) * height;
            y -= tall;
            let _ = write!(
                shapes,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{y:.2}\" width=\"{:.1}\" height=\"{tall:.2}\"><title>{}{}{}: {}</title></rect>",
                x + 1.2,
                step - 2.4,
                Escaped(&column.name),
                if name.is_empty() { "" } else { ", " },
                Escaped(name),
                thousands(*number)
            );
        }
    }
    // As many words as a phone has room for.
    let every = columns.len().div_ceil(6).max(1);
    let mut ticks = String::new();
    for (place, column) in columns.iter().enumerate().step_by(every) {
        let span = every.min(columns.len() - place);
        let _ = write!(ticks, "<span style=\"grid-column:span {span}\">{}</span>", Escaped(&column.name));
    }
    format!(
        "<div class=\"plot\"><div class=\"box\" style=\"max-width:{}px\"><div class=\"top\" aria-hidden=\"true\"><span>{}</span><span>{}</span><span>0</span></div>\
         <svg viewBox=\"0 0 {} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{shapes}</svg>\
         <div class=\"ticks\" aria-hidden=\"true\" style=\"grid-template-columns:repeat({},1fr)\">{ticks}</div></div></div>\n",
        columns.len() * COLUMN_PIXELS + AXIS_PIXELS,
        thousands(top),
        if top.is_multiple_of(2) { thousands(top / 2) } else { String::new() },
        columns.len() as f64 * step,
        Escaped(described),
        columns.len(),
    )
}

/// The next number above that people like on an axis.
fn nice(number: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for step in [1, 2, 4, 6, 8] {
            if power.saturating_mul(step) >= number {
                return power.saturating_mul(step);
            }
        }
        power = power.saturating_mul(10);
        if power == u64::MAX {
            return power;
        }
    }
}

/// The days of some months, a row a month, with `described` for those who cannot see them.
pub(super) fn calendar(months: &[(Month, Vec<DayState>)], described: &str) -> String {
    const CELL: usize = 14;
    const ROW: usize = 16;
    let mut shapes = String::new();
    for (state, class) in [
        (DayState::Unasked, "du"),
        (DayState::Covered, "dc"),
        (DayState::Partly, "dp"),
        (DayState::Missing, "dm"),
        (DayState::Expired, "de"),
    ] {
        let mut path = String::new();
        for (row, (_, days)) in months.iter().enumerate() {
            for (day, _) in days.iter().enumerate().filter(|(_, held)| **held == state) {
                let _ = write!(path, "M{} {}h12v12h-12z", day * CELL + 1, row * ROW + 2);
            }
        }
        if !path.is_empty() {
            let _ = write!(shapes, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }
    let names: String = months.iter().map(|(month, _)| format!("<span>{month}</span>")).collect();
    let (width, height) = (31 * CELL, months.len() * ROW);
    format!(
        "<div class=\"cal\"><div class=\"months\" aria-hidden=\"true\">{names}</div>\
         <svg viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" style=\"height:{height}px\" role=\"img\" aria-label=\"{}\">{shapes}</svg>\
         <div class=\"daynums\" aria-hidden=\"true\"><span>1</span><span>11</span><span>21</span><span>31</span></div></div>",
        Escaped(described)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_number_that_people_like() {
        let tops = [0, 1, 3, 7, 9, 11, 61, 999, u64::MAX].map(nice);
        assert_eq!(tops, [1, 1, 4, 8, 10, 20, 80, 1_000, u64::MAX]);
    }

    #[test]
    fn shapes_stay_within_their_chart() {
        assert!((share(5, 10) - 0.5).abs() < 1e-9);
        assert!(share(-5, 10) == 0.0 && share(5, 0) == 0.0 && (share(20, 10) - 1.0).abs() < 1e-9);
        assert!(share(i128::MAX, i128::MAX).is_finite());
    }
}
