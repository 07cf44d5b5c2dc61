//! The one error type of wdt-lake, and the exit codes that its kinds decide.
//!
//! The rule by which errors are written: first what failed, a lower-case sentence fragment with its object ("cannot
//! encode the Parquet file", "the window was not proved complete"); then where, in pairs such as account, window, page,
//! path, each said once however many hands an error goes through; then the cause. What to do next is the `hint`, which
//! the command line prints apart. Each error has a class with a code (`WDT-6101`), and messages and hints are texts of
//! [`crate::text`]: `{}` prints English, `{:#}` the language of the process. No part of an error may carry a secret, a signature or a signed URL: whoever converts
//! a foreign error strips it there (see `gateway::call`).

mod class;
#[cfg(test)]
mod page;

use std::fmt;

pub(crate) use self::class::ErrorClass;
use crate::language::Language;
use crate::text::{Text, place};

/// What a process of wdt-lake tells its caller by its exit code. These are public API.
pub(crate) mod exit {
    /// Everything asked for was done.
    pub(crate) const DONE: u8 = 0;
    /// An internal failure: a defect of wdt-lake itself, or an output that cannot be written.
    pub(crate) const INTERNAL: u8 = 1;
    /// The command line, the environment or the configuration is wrong, or there is no secure way to the gateway.
    pub(crate) const USAGE: u8 = 2;
    /// Done, with quarantined records, stops that are refused, not stopped or unknown, or findings of an audit.
    pub(crate) const DONE_WITH_REMAINDER: u8 = 3;
    /// The gateway refused the credentials or the address of this machine.
    pub(crate) const CREDENTIALS: u8 = 4;
    /// The gateway stayed unavailable after all retries.
    pub(crate) const GATEWAY_UNAVAILABLE: u8 = 5;
    /// The lake is unavailable, held by another run, or in conflict.
    pub(crate) const LAKE: u8 = 6;
    /// Incomplete: a window was not proved, or the run was interrupted. It is safe to run again.
    pub(crate) const INCOMPLETE: u8 = 7;
    /// `verify` found a defect.
    pub(crate) const DEFECT: u8 = 8;

    /// The order in which codes win when several apply to one run, the worst first.
    pub(crate) const PRECEDENCE: [u8; 8] =
        [INTERNAL, DEFECT, USAGE, CREDENTIALS, LAKE, GATEWAY_UNAVAILABLE, INCOMPLETE, DONE_WITH_REMAINDER];

    /// The code of a run to which all of `codes` apply; [`DONE`] when there are none.
    pub(crate) fn combine(codes: impl IntoIterator<Item = u8>) -> u8 {
        let rank = |code: u8| PRECEDENCE.iter().position(|other| *other == code);
        let codes = codes.into_iter().filter(|code| *code != DONE);
        // What is in no list is a failure of our own.
        let worst = codes.map(|code| rank(code).unwrap_or(0)).min();
        worst.and_then(|rank| PRECEDENCE.get(rank).copied()).unwrap_or(DONE)
    }
}

/// What kind of thing went wrong. It decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A defect of wdt-lake: an invariant did not hold.
    Internal,
    /// Command line, environment or configuration.
    Usage,
    /// The gateway refused credentials, permission or address; more calls cannot help.
    Credentials,
    /// The gateway could not be reached, or kept answering nonsense, until the retry time was spent.
    GatewayUnavailable,
    /// The gateway answered a business error that stops this window only.
    GatewayRefused,
    /// The lake's store failed.
    Lake,
    /// Another run holds the lake, or committed what overlaps.
    Conflict,
    /// A window could not be proved complete within its budget.
    Incomplete,
    /// Something stored contradicts the lake format or its own manifest.
    Defect,
    /// What a command prints could not be written.
    Output,
}

impl ErrorKind {
    /// The exit code of a process that ends with this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal | Self::Output => exit::INTERNAL,
            Self::Usage => exit::USAGE,
            Self::Credentials => exit::CREDENTIALS,
            Self::GatewayUnavailable => exit::GATEWAY_UNAVAILABLE,
            Self::Lake | Self::Conflict => exit::LAKE,
            Self::GatewayRefused | Self::Incomplete => exit::INCOMPLETE,
            Self::Defect => exit::DEFECT,
        }
    }
}

/// The result of anything in wdt-lake that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong, where, why, and what to do next.
///
/// ```
/// use wdt_lake::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Incomplete, "the window was not proved complete")
///     .with("account", "acme")
///     .hint("run the same command again");
/// assert_eq!(error.to_string(), "the window was not proved complete (account: acme)");
/// assert_eq!(error.kind().exit_code(), 7);
/// ```
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    class: ErrorClass,
    message: Text,
    context: Vec<(&'static str, Text)>,
    hint: Option<Text>,
    source: Option<Source>,
}

impl Error {
    /// An error of a class, or of a kind of which no class is known, with a lower-case message, as the module says.
    pub fn new(class: impl Into<ErrorClass>, message: impl Into<Text>) -> Self {
        let (class, message) = (class.into(), message.into());
        Self(Box::new(Inner { kind: class.kind(), class, message, context: Vec::new(), hint: None, source: None }))
    }

    /// A [`ErrorKind::Usage`] error: the user can mend it before anything was done.
    pub fn usage(message: impl Into<Text>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// A [`ErrorKind::Internal`] error: an invariant of wdt-lake did not hold.
    pub fn internal(message: impl Into<Text>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds where it happened, for example `("window", "...")`, unless that is said already. The outermost place comes
    /// first when printed.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        let pair = (key, Text::of_value(&value));
        if !self.places().any(|place| *place == pair) {
            self.0.context.insert(0, pair);
        }
        self
    }

    /// Where it happened, the causes of this type included.
    fn places(&self) -> impl Iterator<Item = &(&'static str, Text)> {
        std::iter::successors(Some(self), |error| error.0.source.as_ref()?.downcast_ref())
            .flat_map(|error| &error.0.context)
    }

    /// Says what the user can do next. The first hint, given closest to the cause, stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Text>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Attaches the cause. It must not carry a secret. The hint of a cause of this type goes before our own: it is
    /// closer to what went wrong. So does its class, if it has the same exit code and says anything.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        let source = source.into();
        if let Some(cause) = source.downcast_ref::<Self>() {
            if let Some(hint) = cause.hint_said() {
                self.0.hint = Some(hint.clone());
            }
            let class = cause.class();
            if !class.is_other() && class.kind().exit_code() == self.0.kind.exit_code() {
                self.0.class = class;
            }
        }
        self.0.source = Some(source);
        self
    }

    /// The same without a hint, for whoever has said it.
    pub(crate) fn without_hint(mut self) -> Self {
        self.0.hint = None;
        self
    }

    /// The kind, which decides the exit code.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The class, which decides the code.
    pub fn class(&self) -> ErrorClass {
        self.0.class
    }

    /// The code that every language shares, such as `WDT-6101`; `docs/errors.md` has its cause and remedy.
    pub fn code(&self) -> &'static str {
        self.0.class.code()
    }

    /// The message alone, without context and cause, in English.
    pub fn message(&self) -> &str {
        self.0.message.english()
    }

    /// What the user can do next, if anything is known to help, in English.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_ref().map(Text::english)
    }

    /// The same in every language.
    pub(crate) fn hint_said(&self) -> Option<&Text> {
        self.0.hint.as_ref()
    }
}

/// A text on one line, its control characters written as escapes: what somebody put into a file must not act on a
/// terminal.
pub(crate) fn printable(text: &str) -> String {
    let letter = |letter: char| letter.is_control().then(|| letter.escape_default().to_string());
    text.chars().map(|plain| letter(plain).unwrap_or_else(|| plain.to_string())).collect()
}

impl fmt::Display for Error {
    /// One line: the message, the context, and the chain of causes, each once; by `{:#}` in the language of the
    /// process.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_told = f.alternate();
        let signs = if is_told { Signs::of_process() } else { Signs::ENGLISH };
        f.write_str(if is_told { self.0.message.told() } else { self.0.message.english() })?;
        if !self.0.context.is_empty() {
            f.write_str(signs.open)?;
            for (i, (key, value)) in self.0.context.iter().enumerate() {
                let (between, key) = (if i == 0 { "" } else { signs.comma }, if is_told { place(key) } else { key });
                let value = if is_told { value.told() } else { value.english() };
                write!(f, "{between}{key}{}{value}", signs.colon)?;
            }
            f.write_str(signs.close)?;
        }
        let mut cause = self.0.source.as_ref().map(|source| &**source as &dyn std::error::Error);
        while let Some(error) = cause {
            f.write_str(signs.colon)?;
            // Only what is our own has another form: libraries mean other things by it.
            match (error.downcast_ref::<Self>(), error.downcast_ref::<Text>()) {
                (Some(error), _) if is_told => write!(f, "{error:#}")?,
                (_, Some(text)) if is_told => f.write_str(text.told())?,
                _ => write!(f, "{error}")?,
            }
            // Our own errors print their chain themselves.
            cause = if error.is::<Self>() { None } else { error.source() };
        }
        Ok(())
    }
}

/// What stands between the parts of an error.
struct Signs {
    open: &'static str,
    close: &'static str,
    comma: &'static str,
    colon: &'static str,
}

impl Signs {
    const ENGLISH: Self = Self { open: " (", close: ")", comma: ", ", colon: ": " };
    const CHINESE: Self = Self { open: "（", close: "）", comma: "，", colon: "：" };

    fn of_process() -> Self {
        match crate::text::language() {
            Language::English => Self::ENGLISH,
            Language::Chinese => Self::CHINESE,
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{in_language, text};

    #[test]
    fn the_chain_is_printed_once() {
        let inner = Error::new(ErrorKind::Lake, "cannot write the object")
            .with("path", "a/b")
            .because(std::io::Error::other("disk full"));
        let outer = Error::new(ErrorKind::Lake, "cannot commit the window").with("account", "acme").because(inner);
        let told = "cannot commit the window (account: acme): cannot write the object (path: a/b): disk full";
        assert_eq!(outer.to_string(), told);
        assert_eq!(outer.with("path", "a/b").with("account", "acme").to_string(), told, "a place is said once");
    }

    #[test]
    fn english_is_what_is_kept_and_the_language_of_the_process_what_is_told() {
        in_language(Language::Chinese, || {
            let inner = Error::new(ErrorClass::LeaseHeld, "another run is at work on this account")
                .with("run", "r1")
                .because(std::io::Error::other("disk full"));
            let error = Error::new(
                ErrorKind::Conflict,
                text!("cannot commit {what}", what = Text::from("the results of stops")),
            )
            .with("account", "acme")
            .because(inner)
            .hint("run again");
            assert_eq!(
                error.to_string(),
                "cannot commit the results of stops (account: acme): another run is at work on this account (run: r1): disk full"
            );
            assert_eq!(
                format!("{error:#}"),
                "无法提交停止引用的结果（账号：acme）：这个账号正由另一次运行占用（运行：r1）：disk full"
            );
            assert_eq!((error.message(), error.hint_text()), ("cannot commit the results of stops", Some("run again")));
            assert_eq!(error.hint_said().map(Text::told), Some("再运行一次"));
        });
    }

    /// What is closest to the cause says most, unless it would belie the exit code.
    #[test]
    fn the_class_of_a_cause_goes_before_our_own() {
        let held = || Error::new(ErrorClass::LeaseHeld, "held");
        for (outer, inner, code) in [
            (ErrorClass::WroteAtOnce, held(), "WDT-6101"),
            (ErrorKind::Lake.into(), held(), "WDT-6101"),
            (ErrorClass::WroteAtOnce, Error::new(ErrorKind::Lake, "other"), "WDT-6102"),
            (ErrorClass::NotProved, held(), "WDT-7101"),
            (ErrorClass::WroteAtOnce, Error::new(ErrorKind::Lake, "between").because(held()), "WDT-6101"),
        ] {
            let error = Error::new(outer, "outer").because(inner);
            assert_eq!((error.code(), error.kind()), (code, outer.kind()));
        }
    }

    /// The table of `docs/exit-codes.md` has every code, and its order is the one that counts, for every pair.
    #[test]
    fn codes_combine_by_the_documented_order() {
        let page = include_str!("../docs/exit-codes.md");
        let (_, order) = page.split_once("the worst first: ").expect("the page says the order");
        let order: Vec<u8> = order
            .split(['.', '\n'])
            .next()
            .into_iter()
            .flat_map(|list| list.split(", "))
            .map(|code| code.parse().expect("a code"))
            .collect();
        assert_eq!(order, exit::PRECEDENCE);
        for (rank, worse) in order.iter().enumerate() {
            assert!(page.contains(&format!("\n| {worse} | ")), "the table has {worse}");
            for better in order[rank..].iter().chain([&exit::DONE]) {
                assert_eq!((exit::combine([*worse, *better]), exit::combine([*better, *worse])), (*worse, *worse));
            }
        }
        assert_eq!(exit::combine([77, exit::DEFECT]), exit::INTERNAL, "a code that nobody knows");
    }

    #[test]
    fn the_hint_of_a_cause_is_not_lost_on_the_way_up() {
        let cause = || Error::new(ErrorKind::Lake, "cannot write the object").hint("renew the token");
        let outer = || Error::new(ErrorKind::Lake, "cannot commit the window");
        for error in [
            outer().because(cause()),
            outer().hint("run again").because(cause()),
            outer().because(cause()).hint("run again"),
            outer().because(outer().because(cause())).with("account", "acme"),
        ] {
            assert_eq!(error.hint_text(), Some("renew the token"), "{error}");
        }
        let without = outer().hint("run again").because(outer());
        assert_eq!(without.hint_text(), Some("run again"));
    }

    #[test]
    fn codes_combine_by_the_documented_precedence() {
        assert_eq!(exit::combine([]), exit::DONE);
        assert_eq!(exit::combine([3, 7]), 7);
        assert_eq!(exit::combine([7, 5, 6]), 6);
        assert_eq!(exit::combine([3, 7, 5, 6, 4]), 4);
        assert_eq!(exit::combine([3, 1, 4]), exit::INTERNAL, "a defect of our own hides behind nothing");
    }
}
