//! App secrets as people give them: what is around them is trimmed or refused, and none of it is ever repeated.
//!
//! Editors add a byte order mark and a newline to a file, shells and settings files leave their quotes, and copied text
//! brings blanks of no width. All of these make a signature that the gateway refuses without saying why.

use std::fmt;

use super::env;
use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::text::{Text, key, text};

/// No app secret comes near this: a longer text is another file.
const LONGEST: usize = 1_024;
/// Characters that nobody sees, with their names.
const UNSEEN: [(char, &str); 12] = [
    ('\u{feff}', key!("a byte order mark")),
    ('\u{200b}', key!("a zero-width space")),
    ('\u{200c}', key!("a zero-width non-joiner")),
    ('\u{200d}', key!("a zero-width joiner")),
    ('\u{2060}', key!("a word joiner")),
    ('\u{00ad}', key!("a soft hyphen")),
    ('\u{200e}', key!("a left-to-right mark")),
    ('\u{200f}', key!("a right-to-left mark")),
    ('\u{00a0}', key!("a no-break space")),
    ('\u{3000}', key!("an ideographic space")),
    ('\u{2028}', key!("a line separator")),
    ('\u{fffd}', key!("a replacement character: the text was read in a wrong encoding")),
];
/// What opens and closes a quotation.
const QUOTES: [(char, char); 7] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('\u{201c}', '\u{201d}'),
    ('\u{2018}', '\u{2019}'),
    ('「', '」'),
    ('«', '»'),
];

/// A text that no log, error or manifest can hold: it has no `Display`, no `Serialize`, and `Debug` hides it.
///
/// ```compile_fail
/// let secret = wdt_lake::config::Secret::new("hidden");
/// println!("{secret}");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for signing only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The two parts of a flagship app secret, which is issued as `secret:salt`; `None` when it has not both.
    pub fn split_salt(&self) -> Option<(Secret, Secret)> {
        let (secret, salt) = self.0.split_once(':')?;
        (!secret.is_empty() && !salt.is_empty()).then(|| (Self::new(secret), Self::new(salt)))
    }

    /// The secret in a text as it was given: without a byte order mark before it, and without blanks and line ends
    /// around it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage), which never repeats the text: it is empty, in quotes, has several
    /// lines, is too long to be a secret, or has characters that nobody sees.
    pub(super) fn given(text: &str) -> Result<Self> {
        let text = text.trim_start_matches('\u{feff}').trim();
        let wrong = |why: Text, hint: &'static str| {
            Err(Error::new(ErrorClass::SecretUnusable, text!("the app secret {why}", why)).hint(hint))
        };
        if text.is_empty() {
            return wrong(text!("is empty"), "give it as Wangdian issued it");
        }
        if text.len() > LONGEST {
            return wrong(
                text!("has {bytes} bytes, which is too long to be one", bytes = text.len()),
                "give the secret alone, or a file that holds nothing else",
            );
        }
        let mut letters = text.chars();
        let ends = (letters.next(), letters.next_back());
        if QUOTES.iter().any(|(open, close)| ends == (Some(*open), Some(*close))) {
            return wrong(text!("stands in quotes"), "leave the quotes out: they would be signed as a part of it");
        }
        if text.contains(['\n', '\r']) {
            return wrong(text!("has several lines"), "give the secret alone, or a file that holds nothing else");
        }
        if let Some(what) = unseen(text) {
            return wrong(
                text!("holds {what}", what),
                "type or copy it again as Wangdian issued it, without that character",
            );
        }
        Ok(Self::new(text))
    }

    /// The secret that a file holds, whose text is the outcome of reading it. The file's name is not said: it may be
    /// the secret, by mistake.
    pub(super) fn in_file(text: std::io::Result<String>, setting: &str) -> Result<Self> {
        let text = text.map_err(|error| {
            // Only the kind: a message from elsewhere may repeat the name.
            Error::new(ErrorClass::SecretUnusable, text!("the file that {setting} names cannot be read: {kind}", setting, kind = error.kind())).hint(text!("{setting} is the path of a file that holds the secret, as UTF-8 text, and not the secret; its value is not shown, because it may \
                 be the secret", setting))
        })?;
        Self::given(&text).map_err(|error| error.with("in", format!("the file that {setting} names")))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// The first character of a text that nobody sees, in words.
fn unseen(text: &str) -> Option<Text> {
    text.chars().find_map(|letter| {
        let code = u32::from(letter);
        match UNSEEN.iter().find(|(known, _)| *known == letter) {
            Some((_, name)) => Some(text!("{name} (U+{code})", name = Text::from(*name), code = format!("{code:04X}"))),
            None => letter.is_control().then(|| text!("a control character (U+{code})", code = format!("{code:04X}"))),
        }
    })
}

/// What is said of a flagship app secret that is not `secret:salt`.
pub(crate) fn no_salt() -> Error {
    Error::new(ErrorClass::SecretUnusable, "the app secret of a flagship account is not of the form secret:salt")
        .hint("give the whole app secret as Wangdian issued it, both parts with the colon between them")
}

pub(super) fn check_salt(edition: Edition, secret: &Secret) -> Result<()> {
    if edition == Edition::Flagship && secret.split_salt().is_none() { Err(no_salt()) } else { Ok(()) }
}

/// The secret of the environment's account.
pub(super) fn of_environment(
    set: impl Fn(&str) -> Option<String>,
    read_file: impl Fn(&str) -> std::io::Result<String>,
) -> Result<Secret> {
    match (set(env::APPSECRET), set(env::APPSECRET_FILE)) {
        (Some(_), Some(_)) => {
            Err(Error::new(ErrorClass::SettingsConflict, "WDT_APPSECRET and WDT_APPSECRET_FILE are both set")
                .hint("keep one of them"))
        }
        (Some(text), None) => Secret::given(&text).map_err(|error| error.with("in", env::APPSECRET)),
        (None, file) => Secret::in_file(read_file(file.unwrap_or_default().trim()), env::APPSECRET_FILE),
    }
}

/// A word of a setting for a message, where it is plainly no secret: letters, or letters and digits in few turns. Keys
/// and names look so.
pub(crate) fn plain_word(word: &str) -> Option<&str> {
    /// A longer word is no key and no name that somebody chose.
    const LONGEST: usize = 40;
    let turns = |part: &str| {
        part.as_bytes().windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count()
    };
    let is_plain = !word.is_empty()
        && word.len() <= LONGEST
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && word.split(['_', '-']).all(|part| turns(part) <= 1);
    is_plain.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_a_secret_is_trimmed() {
        for text in [
            "s3cret:s4lt",
            "s3cret:s4lt\n",
            " s3cret:s4lt\r\n\r\n",
            "\u{feff}s3cret:s4lt\n",
            "\u{feff} s3cret:s4lt\u{3000}",
        ] {
            assert_eq!(Secret::given(text).expect(text).expose(), "s3cret:s4lt");
        }
        for inner in ["it's", "a\"b", "\"a", "a'", "盐 值", "\""] {
            assert_eq!(Secret::given(inner).expect(inner).expose(), inner, "only quotes around it are nobody's");
        }
    }

    #[test]
    fn what_makes_a_wrong_signature_is_said_and_not_repeated() {
        for (text, word) in [
            (String::new(), "empty"),
            ("\u{feff}\n".into(), "empty"),
            ("\"m4rker\"".into(), "quotes"),
            ("'m4rker'\n".into(), "quotes"),
            ("\u{201c}m4rker\u{201d}".into(), "quotes"),
            ("「m4rker」".into(), "quotes"),
            ("\"\"".into(), "quotes"),
            ("m4rker\nm4rker".into(), "several lines"),
            ("m4r\u{200b}ker".into(), "a zero-width space (U+200B)"),
            ("m4rker\u{200b}".into(), "a zero-width space (U+200B)"),
            ("\u{200b}m4rker".into(), "a zero-width space (U+200B)"),
            ("m4rker\u{feff}".into(), "a byte order mark (U+FEFF)"),
            ("m4rker:\u{2060}x".into(), "a word joiner (U+2060)"),
            ("m4rker\u{a0}x".into(), "a no-break space (U+00A0)"),
            ("m4rker\u{0}x".into(), "a control character (U+0000)"),
            ("m4rker\tx".into(), "a control character (U+0009)"),
            ("m4rker".repeat(200), "1200 bytes"),
        ] {
            let error = Secret::given(&text).expect_err(&text);
            assert_eq!(error.kind().exit_code(), 2);
            let said = format!("{error} {:?}", error.hint_text());
            assert!(said.contains(word) && !said.contains("m4r"), "{said}");
        }
    }

    #[test]
    fn a_secret_where_its_file_belongs_is_not_repeated() {
        let odd = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file: m4rker");
        let error = Secret::in_file(Err(odd), env::APPSECRET_FILE).expect_err("no file");
        let said = format!("{error} {:?} {error:?}", error.hint_text());
        assert!(said.contains("WDT_APPSECRET_FILE") && !said.contains("m4rker"), "{said}");
    }

    #[test]
    fn only_plain_words_are_repeated() {
        for word in ["warehouse", "Calls_Per_Minute", "acme2", "2acme", "123456", "page-size"] {
            assert_eq!(plain_word(word), Some(word));
        }
        for word in ["", "s3cret", "secret:salt", "0a1b2c", "a b", "密钥", "x\n", &"a".repeat(41), "550e8400-e29b-41d4"]
        {
            assert_eq!(plain_word(word), None, "{word}");
        }
    }
}
