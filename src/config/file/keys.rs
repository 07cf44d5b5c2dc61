//! The keys of the file's tables, taken one by one: what each holds, or where it is wrong and what to write.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::config::plain_word;
use crate::config::secret_source::HOW_TO_GIVE_A_SECRET;
use crate::error::{Error, ErrorClass, Result};
use crate::publish_format::PublishFormat;
use crate::text::{Text, text};

/// What people write who put the secret itself into the file.
const PLAIN_SECRETS: [&str; 5] = ["secret", "appsecret", "app_secret", "salt", "password"];
/// How alike a known key must be to be suggested, from 0 to 1.
const LIKENESS: f64 = 0.8;

/// The line of each key that a table has.
pub(super) type KeyLines = BTreeMap<&'static str, usize>;

/// Where the lines of the file end, for saying where something is.
#[derive(Clone, Copy)]
pub(super) struct FileText<'a> {
    pub(super) line_ends: &'a [usize],
    pub(super) path: &'a Path,
}

impl FileText<'_> {
    pub(super) fn place(&self, span: Option<Range<usize>>) -> Text {
        let line = self.line(span.map_or(0, |span| span.start));
        text!("{file}, line {line}", file = self.path.display(), line)
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.line_ends.partition_point(|end| *end < at) + 1
    }

    pub(super) fn wrong(&self, span: Option<Range<usize>>, message: impl Into<Text>) -> Error {
        Error::new(ErrorClass::ConfigWrong, message).with("at", self.place(span))
    }

    /// A path or a URI of the file, as the process sees it.
    pub(super) fn place_of(&self, location: &str) -> String {
        // What begins with a word and a colon, or with the home folder, is for who opens it to judge.
        let is_path = location.split_once(':').is_none_or(|(word, _)| word.contains('/')) && !location.starts_with('~');
        match self.path.parent() {
            Some(folder) if is_path && !folder.as_os_str().is_empty() => folder.join(location).display().to_string(),
            _ => location.to_owned(),
        }
    }
}

/// The keys of one table.
pub(super) struct Keys<'a> {
    pub(super) file: FileText<'a>,
    pub(super) table: &'a DeTable<'a>,
    pub(super) span: Range<usize>,
}

impl Keys<'_> {
    /// Refuses every key that is not `known`; one of `elsewhere` is in the wrong place.
    pub(super) fn check(&self, known: &[&str], elsewhere: &[&str], where_it_is: &'static str) -> Result<()> {
        for key in self.table.keys() {
            let (name, span) = (key.get_ref().as_ref(), key.span());
            if known.contains(&name) {
                continue;
            }
            if PLAIN_SECRETS.contains(&name) {
                return Err(self
                    .file
                    .wrong(Some(span), text!("`{name}`: no secret stands in this file", name))
                    .hint(HOW_TO_GIVE_A_SECRET));
            }
            // A key that is none may be a secret that slipped.
            let shown = plain_word(name).map(|name| format!(" `{name}`")).unwrap_or_default();
            let error = self.file.wrong(Some(span), text!("unknown key{shown}", shown));
            if elsewhere.contains(&name) {
                return Err(error.hint(text!("`{name}` {where_it_is}", name, where_it_is = Text::from(where_it_is))));
            }
            let nearest = known
                .iter()
                .map(|known| (strsim::jaro_winkler(&name.to_ascii_lowercase(), known), known))
                .max_by(|(one, _), (other, _)| one.total_cmp(other));
            return Err(match nearest {
                Some((likeness, known)) if likeness >= LIKENESS => error.hint(text!("did you mean `{known}`?", known)),
                _ => error.hint(text!("the keys are {known}", known = known.join(", "))),
            });
        }
        Ok(())
    }

    /// The line of each of `known` that stands there.
    pub(super) fn lines(&self, known: &[&'static str]) -> KeyLines {
        let line = |key: &&'static str| Some((*key, self.file.line(self.table.get(*key)?.span().start)));
        known.iter().filter_map(line).collect()
    }

    pub(super) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        Some(self.table.get(key).map_or_else(|| self.span.clone(), |value| value.span()))
    }

    pub(super) fn wrong(&self, message: impl Into<Text>) -> Error {
        self.file.wrong(Some(self.span.clone()), message)
    }

    pub(super) fn wrong_at(&self, key: &str, message: impl Into<Text>) -> Error {
        self.file.wrong(self.span_of(key), message)
    }

    pub(super) fn placed(&self, key: &str, error: Error) -> Error {
        error.with("at", self.file.place(self.span_of(key)))
    }

    /// A text without blanks around it; an empty one is as good as wrong.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let hint = text!("write {key} = \"...\"; leave it out to have none", key);
        match value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
            // A date without quotes is TOML too.
            DeValue::Datetime(time) if key == "from" => Ok(Some(time.to_string())),
            DeValue::String(_) => Err(self.wrong_at(key, text!("`{key}` is empty", key)).hint(hint)),
            _ => Err(self.wrong_at(key, text!("`{key}` is no text", key)).hint(hint)),
        }
    }

    pub(super) fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
        let unread = |error: Error| {
            // What stands there may be a secret in the wrong place.
            let hint = error.hint_said().cloned();
            let unread = self.wrong_at(key, text!("`{key}` cannot be read", key));
            hint.into_iter().fold(unread, Error::hint)
        };
        self.text(key)?.map(|text| parse(&text).map_err(unread)).transpose()
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let flag = value.get_ref().as_bool();
        flag.map(Some).ok_or_else(|| {
            self.wrong_at(key, text!("`{key}` is neither true nor false", key))
                .hint(text!("write {key} = false, without quotes", key))
        })
    }

    /// A program and its arguments. One that is given by its path is found from the folder of the file.
    pub(super) fn command(&self, key: &str) -> Result<Option<Vec<String>>> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let unread = || {
            self.wrong_at(key, text!("`{key}` is no list of a program and its arguments", key))
                .hint(text!("write {key} = [\"PROGRAM\", \"ARGUMENT\"], each part in quotes; no shell reads it", key))
        };
        let listed = value.get_ref().as_array().ok_or_else(unread)?;
        let read = |value: &toml::Spanned<DeValue<'_>>| value.get_ref().as_str().map(str::to_owned);
        let mut words: Vec<String> = listed.iter().map(read).collect::<Option<_>>().ok_or_else(unread)?;
        let program = words.first_mut().filter(|program| !program.trim().is_empty()).ok_or_else(unread)?;
        if program.contains(['/', std::path::MAIN_SEPARATOR]) {
            *program = self.file.place_of(program);
        }
        Ok(Some(words))
    }

    pub(super) fn formats(&self, key: &str) -> Result<Vec<PublishFormat>> {
        let Some(value) = self.table.get(key) else { return Ok(Vec::new()) };
        let unread = || {
            self.wrong_at(key, text!("`{key}` is no list of table formats", key))
                .hint(text!("write {key} = [\"delta\"]; leave it out to publish nothing", key))
        };
        let listed = value.get_ref().as_array().ok_or_else(unread)?;
        let read = |value: &toml::Spanned<DeValue<'_>>| PublishFormat::parse(value.get_ref().as_str()?).ok();
        listed.iter().map(read).collect::<Option<_>>().ok_or_else(unread)
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u32>> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let number =
            value.get_ref().as_integer().and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        number.map(Some).ok_or_else(|| {
            self.wrong_at(key, text!("`{key}` is no whole number", key))
                .hint(text!("write {key} = 60, without quotes", key))
        })
    }
}
