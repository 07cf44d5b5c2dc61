//! The numbers that a user wants stopped: checked before anything is called.

use std::collections::BTreeSet;

use crate::error::{Error, ErrorClass, Result};
use crate::text::{Text, key, text};

/// The most characters of a number, as the vendor documents it.
const LONGEST: usize = 40;
/// How many complaints are told at once.
const TOLD: usize = 5;

/// Numbers of requisitions, each once, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    list: Vec<String>,
    merged: BTreeSet<String>,
}

impl Numbers {
    /// Checks numbers, each with the place where it was given.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for blanks, for more than 40 characters, and for no number at all.
    pub fn check(given: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let (mut list, mut seen, mut merged, mut wrong) = (Vec::new(), BTreeSet::new(), BTreeSet::new(), Vec::new());
        for (place, number) in given {
            if let Some(why) = complaint(&number) {
                wrong.push(text!("{place}: {why}", place, why));
            } else if seen.insert(number.clone()) {
                list.push(number);
            } else {
                merged.insert(number);
            }
        }
        if !wrong.is_empty() {
            let more = wrong.len().saturating_sub(TOLD);
            let rest = if more > 0 { text!("; and {more} more", more) } else { Text::default() };
            wrong.truncate(TOLD);
            return Err(Error::new(
                ErrorClass::ArgumentWrong,
                text!("no numbers of requisitions: {wrong}{rest}", wrong = Text::join(&wrong, key!("; ")), rest),
            )
            .hint("a number has 1 to 40 characters and no whitespace; one a line in a file. Nothing was called"));
        }
        if list.is_empty() {
            return Err(Error::new(ErrorClass::ArgumentWrong, "there is no number to stop").hint(
                "give numbers as arguments, by `--file FILE`, on standard input with `-`, or by `--stale 30d`; nothing was called",
            ));
        }
        Ok(Self { list, merged })
    }

    /// The numbers.
    pub fn list(&self) -> &[String] {
        &self.list
    }

    /// The same without those that `keep` does not keep.
    pub fn only(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.list.retain(|number| keep(number));
        self
    }

    /// Those that were given more than once.
    pub fn merged(&self) -> impl Iterator<Item = &str> {
        self.merged.iter().map(String::as_str)
    }
}

fn complaint(number: &str) -> Option<Text> {
    let letters = number.chars().count();
    if number.is_empty() {
        Some(text!("an empty number"))
    } else if number.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        Some(text!("whitespace in {number}", number = format!("{number:?}")))
    } else if letters > LONGEST {
        Some(text!("{letters} characters", letters))
    } else {
        None
    }
}

/// The numbers of a file, one a line, with their places; lines without any character are passed over.
pub(crate) fn read_lines(name: &str, text: &str) -> Vec<(String, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(nth, line)| (format!("{name}, line {}", nth + 1), line.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Numbers> {
        Numbers::check(read_lines("list", text))
    }

    #[test]
    fn numbers_are_kept_once_and_in_order() {
        let numbers = check("\u{feff}B1\r\nA1\n\nB1\n采购申请单7\nB1").expect("numbers");
        assert_eq!(numbers.list(), ["B1", "A1", "采购申请单7"]);
        assert_eq!(numbers.merged().collect::<Vec<_>>(), ["B1"]);
        assert!(check(&"购".repeat(40)).is_ok(), "characters, not bytes");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_before_any_call() {
        for (text, word) in [
            ("", "there is no number"),
            ("\n\n", "there is no number"),
            ("A1\n A2", "list, line 2: whitespace in \" A2\""),
            ("A1 A2", "whitespace"),
            ("   ", "whitespace"),
            ("A\u{3000}", "whitespace"),
            ("A\u{0}", "whitespace"),
            (&"x".repeat(41), "41 characters"),
            (&" \n".repeat(9), "and 4 more"),
        ] {
            let error = check(text).expect_err(text);
            assert_eq!(error.kind().exit_code(), 2);
            assert!(error.to_string().contains(word), "{error}");
            assert!(error.hint_text().is_some());
        }
        assert!(Numbers::check([("argument 1".to_owned(), String::new())]).is_err());
    }
}
