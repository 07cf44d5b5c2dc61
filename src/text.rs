//! What the program says to people, in the language that they read.
//!
//! Every such text is written in English where it is needed, as a template: [`text!`] makes a [`Text`], which has it in
//! English and in the language of the process, and [`say!`] the latter alone, for what is printed at once. The English
//! template is the key of the table of Chinese ones, `text/zh.toml`. What a template has no entry for is said in
//! English; a test (`text/scan_tests.rs`) keeps the table complete and without dead entries.
//!
//! A [`Text`] and an [`Error`](crate::Error) print English by `{}` and the language of the process by `{:#}`. So what a
//! lake, a log or JSON keeps is English whatever the language is, because nobody writes `{:#}` there: only [`text!`]
//! and [`say!`] do, and `cli::talk`.

#[cfg(test)]
pub(crate) mod scan;
#[cfg(test)]
mod scan_tests;
mod table;

use std::fmt;
use std::sync::OnceLock;

use crate::language::Language;

pub(crate) use self::table::place;
use self::table::{count, template};

/// The language of the process, once that is known.
static LANGUAGE: OnceLock<Language> = OnceLock::new();

#[cfg(test)]
thread_local! {
    static OF_TEST: std::cell::Cell<Option<Language>> = const { std::cell::Cell::new(None) };
}

/// Sets the language of the process. The first one stays.
pub(crate) fn speak(language: Language) {
    let _ = LANGUAGE.set(language);
}

/// The language of the process: English unless something else was set.
pub(crate) fn language() -> Language {
    #[cfg(test)]
    if let Some(language) = OF_TEST.get() {
        return language;
    }
    LANGUAGE.get().copied().unwrap_or_default()
}

/// What this thread makes in `language`.
#[cfg(test)]
pub(crate) fn in_language<T>(language: Language, make: impl FnOnce() -> T) -> T {
    let before = OF_TEST.replace(Some(language));
    let made = make();
    OF_TEST.set(before);
    made
}

/// Something to say to people: `{}` prints it in English, `{:#}` in the language of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    english: String,
    /// In the language of the process, where that is another one.
    told: Option<String>,
}

impl Text {
    /// What the macros make: the template, what it says in English, and its values by name.
    pub(crate) fn of(key: &'static str, english: String, values: &[(&str, &dyn fmt::Display)]) -> Self {
        let told = match language() {
            Language::English => None,
            Language::Chinese => template(key).map(|template| fill(template, values)),
        };
        // What has no entry may still carry values that have one.
        let told = told.or_else(|| (language() != Language::English).then(|| fill(key, values)));
        Self { english, told }
    }

    /// What others wrote, in whatever language: the reason that a library gives, a name.
    pub fn verbatim(text: impl Into<String>) -> Self {
        Self { english: text.into(), told: None }
    }

    /// What a value prints by itself.
    pub(crate) fn of_value(value: &impl fmt::Display) -> Self {
        Self { english: value.to_string(), told: (language() != Language::English).then(|| format!("{value:#}")) }
    }

    /// A number of things, for example `1 file`, `2 files`; `english` is what it says in English.
    pub(crate) fn of_count(noun: &'static str, english: String, number: &str) -> Self {
        let told = match language() {
            Language::English => None,
            Language::Chinese => count(noun).map(|template| fill(template, &[("n", &number)])),
        };
        Self { english, told }
    }

    /// Texts one after the other.
    pub(crate) fn join<'a>(texts: impl IntoIterator<Item = &'a Self>, between: impl Into<Self>) -> Self {
        let between: Self = between.into();
        let texts: Vec<&Self> = texts.into_iter().collect();
        let in_english: Vec<&str> = texts.iter().map(|text| text.english()).collect();
        let in_its_own: Vec<&str> = texts.iter().map(|text| text.told()).collect();
        let told = (language() != Language::English).then(|| in_its_own.join(between.told()));
        Self { english: in_english.join(between.english()), told }
    }

    /// In English.
    pub fn english(&self) -> &str {
        &self.english
    }

    /// In the language of the process.
    pub fn told(&self) -> &str {
        self.told.as_deref().unwrap_or(&self.english)
    }

    /// The same, for what is printed at once.
    pub(crate) fn into_told(self) -> String {
        self.told.unwrap_or(self.english)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if f.alternate() { self.told() } else { &self.english })
    }
}

impl std::error::Error for Text {}

/// For machines, which read English.
impl serde::Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.english)
    }
}

/// A text without values, which is its own template.
impl From<&'static str> for Text {
    fn from(key: &'static str) -> Self {
        let told = match language() {
            Language::English => None,
            Language::Chinese => template(key).map(str::to_owned),
        };
        Self { english: key.to_owned(), told }
    }
}

impl From<&Self> for Text {
    fn from(text: &Self) -> Self {
        text.clone()
    }
}

/// A text with as many spaces behind it as fill so many columns of a terminal: a Chinese letter takes two.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{:1$}", "", columns.saturating_sub(width(text)))
}

/// The same with the spaces before it.
pub(crate) fn pad_left(text: &str, columns: usize) -> String {
    format!("{:1$}{text}", "", columns.saturating_sub(width(text)))
}

/// How many columns a text of our own takes; nothing of what it says is narrower than Chinese and wider than ASCII.
fn width(text: &str) -> usize {
    text.chars().map(|letter| if letter.is_ascii() { 1 } else { 2 }).sum()
}

/// A template with its values in place: `{name}` is the value of this name, `{{` and `}}` are braces.
fn fill(template: &str, values: &[(&str, &dyn fmt::Display)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, behind) = rest.split_at(at);
        filled.push_str(before);
        if behind.starts_with("{{") || behind.starts_with("}}") {
            filled.push_str(&behind[..1]);
            rest = &behind[2..];
            continue;
        }
        let named = behind.strip_prefix('{').and_then(|behind| behind.split_once('}'));
        let found = named
            .and_then(|(name, after)| values.iter().find(|(known, _)| *known == name).map(|(_, value)| (value, after)));
        let Some((value, after)) = found else {
            filled.push_str(&behind[..1]);
            rest = &behind[1..];
            continue;
        };
        filled.push_str(&format!("{value:#}"));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// A [`Text`] of a template and its values: `text!("{rows} of {path}", rows = plural(n, "row"), path)`. Every
/// placeholder is a name and stands in the list.
macro_rules! text {
    (@value $name:ident) => { $name };
    (@value $name:ident $value:expr) => { $value };
    ($template:literal $(, $name:ident $(= $value:expr)?)* $(,)?) => {
        match ($(&$crate::text::text!(@value $name $($value)?),)*) {
            ($($name,)*) => $crate::text::Text::of(
                $template,
                format!($template, $($name = $name),*),
                &[$((stringify!($name), $name as &dyn ::std::fmt::Display)),*],
            ),
        }
    };
}

/// A text without values that is made to a [`Text`] elsewhere: a constant, an arm of a `match`. It is just the literal;
/// the macro lets the scan of the sources find it.
macro_rules! key {
    ($key:literal) => {
        $key
    };
}

/// The same as [`text!`] as a `String` in the language of the process, for what is printed at once.
macro_rules! say {
    ($($template:tt)*) => { $crate::text::text!($($template)*).into_told() };
}

pub(crate) use {key, say, text};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_english_and_what_the_process_speaks() {
        let make = || text!("{rows} of {path}", rows = crate::units::plural(1_200, "row"), path = "a/b");
        let english = in_language(Language::English, make);
        assert_eq!(
            (english.english(), english.told(), format!("{english:#}")),
            ("1,200 rows of a/b", "1,200 rows of a/b", english.to_string())
        );
        let chinese = in_language(Language::Chinese, make);
        assert_eq!(
            (chinese.english(), chinese.told()),
            ("1,200 rows of a/b", "1,200 行 of a/b"),
            "no entry, but a count"
        );
        assert_eq!(
            (chinese.to_string(), format!("{chinese:#}")),
            ("1,200 rows of a/b".to_owned(), "1,200 行 of a/b".to_owned())
        );
        assert_eq!(in_language(Language::Chinese, || say!("{rows} of {path}", rows = 1, path = "x")), "1 of x");
    }

    #[test]
    fn placeholders_are_filled_by_name() {
        let values: [(&str, &dyn fmt::Display); 2] = [("a", &1), ("b", &"{a}")];
        for (template, filled) in
            [("{b}、{a}", "{a}、1"), ("{{a}} {a}", "{a} 1"), ("{c} {", "{c} {"), ("} {a", "} {a"), ("", "")]
        {
            assert_eq!(fill(template, &values), filled, "{template}");
        }
    }

    #[test]
    fn texts_are_joined_in_each_language() {
        in_language(Language::Chinese, || {
            let counts = [crate::units::plural(1, "row"), crate::units::plural(2, "file")];
            let joined = Text::join(&counts, key!(", "));
            assert_eq!((joined.english(), joined.told()), ("1 row, 2 files", "1 行、2 个文件"));
        });
    }
}
