//! Text, figures and times as the page shows them; every text that comes from a lake is escaped here.

use std::fmt;

use crate::report::labels::{Labels, filled};
use crate::time::BeijingTime;
use crate::units::thousands;

/// A text within HTML, in an element or in a quoted attribute. What is no letter and steers how others are shown
/// becomes U+FFFD: control characters, which no document may hold, and marks of direction, by which one text can pass
/// for another.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                letter if steers(letter) => f.write_str("\u{fffd}")?,
                letter => write!(f, "{letter}")?,
            }
        }
        Ok(())
    }
}

/// Whether a character is no letter but steers how others are shown.
pub(super) fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(letter, '\u{fffe}' | '\u{ffff}' | '\u{feff}')
}

/// A count: the digits for people, and the plain number for machines under a name.
pub(super) fn count(name: &str, number: u64) -> String {
    format!("<data data-n=\"{}\" value=\"{number}\">{}</data>", Escaped(name), thousands(number))
}

/// A quantity of ten-thousandths: without the zeros at its end for people, and with four places for machines.
pub(super) fn quantity(name: &str, scaled: i128) -> String {
    format!("<data data-n=\"{}\" value=\"{}\">{}</data>", Escaped(name), exact(scaled), for_people(scaled))
}

/// `-1234.5000`.
pub(super) fn exact(scaled: i128) -> String {
    let (sign, magnitude) = (if scaled < 0 { "-" } else { "" }, scaled.unsigned_abs());
    format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000)
}

/// `-1,234.5`.
pub(super) fn for_people(scaled: i128) -> String {
    let exact = exact(scaled);
    let shown = exact.trim_end_matches('0').trim_end_matches('.');
    let (sign, digits) = shown.strip_prefix('-').map_or(("", shown), |digits| ("-", digits));
    let (whole, places) = digits.split_once('.').map_or((digits, None), |(whole, places)| (whole, Some(places)));
    let mut grouped = String::from(sign);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    places.map_or(grouped.clone(), |places| format!("{grouped}.{places}"))
}

/// A moment, for people and machines.
pub(super) fn time(at: BeijingTime) -> String {
    let shown = at.to_string();
    let (date, clock) = shown.split_once(' ').unwrap_or((&shown, ""));
    // A date stays on its line.
    format!("<time datetime=\"{}\"><span class=\"t\">{date}</span> {clock}</time>", at.rfc3339())
}

/// A moment of microseconds, to the second.
pub(super) fn time_of(micros: i64) -> String {
    time(BeijingTime::from_micros(micros))
}

/// How long something takes, in the two largest units.
pub(super) fn length(labels: &Labels, seconds: u64) -> String {
    let units = [
        (labels.days_unit, seconds / 86_400),
        (labels.hours_unit, seconds / 3_600 % 24),
        (labels.minutes_unit, seconds / 60 % 60),
        (labels.seconds_unit, seconds % 60),
    ];
    let first = units.iter().position(|(_, number)| *number > 0).unwrap_or(units.len() - 1);
    let shown = units.iter().skip(first).take(2).filter(|(_, number)| *number > 0 || seconds == 0);
    let shown: Vec<String> = shown.map(|(unit, number)| filled(unit, &[&thousands(*number)])).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn no_text_of_a_lake_is_markup_or_steers_others() {
        let text = "<script>alert('1')</script> & \"x\"\u{0}\u{1b}\u{202e}仓\u{feff}\u{85}";
        let shown = Escaped(text).to_string();
        let safe = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;";
        assert_eq!(shown, format!("{safe}\u{fffd}\u{fffd}\u{fffd}仓\u{fffd}\u{fffd}"));
    }

    #[test]
    fn quantities_keep_every_digit() {
        for (scaled, people, machines) in [
            (0, "0", "0.0000"),
            (-5, "-0.0005", "-0.0005"),
            (12_345_670_000, "1,234,567", "1234567.0000"),
            (-1_000_500, "-100.05", "-100.0500"),
            (i128::from(u64::MAX) * 10_000 + 1, "18,446,744,073,709,551,615.0001", "18446744073709551615.0001"),
        ] {
            assert_eq!((&*for_people(scaled), &*exact(scaled)), (people, machines));
        }
    }

    #[test]
    fn lengths_are_told_in_two_units() {
        let english = Labels::of(Language::English);
        for (seconds, told) in [
            (0, "0 s"),
            (59, "59 s"),
            (3_600, "1 h"),
            (90_061, "1 d 1 h"),
            (86_400 * 1_500, "1,500 d"),
            (125, "2 min 5 s"),
        ] {
            assert_eq!(length(english, seconds), told);
        }
        assert_eq!(length(Labels::of(Language::Chinese), 90_000), "1 天 1 小时");
    }
}
