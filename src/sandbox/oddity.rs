//! The oddities of gateways: what real ones were seen to answer beside the vendor's page, each by a name, to be had on
//! demand.
//!
//! An oddity is written `name`, `name=N` or `name=AMOUNT:N`, several of them with commas between. Each theme is a file:
//! it holds the table of its kinds and the pure functions that the server asks while it answers. What a record or a
//! call meets is decided by its id or its number, and where chance has a part by the seed; so one seed gives the same
//! answers for ever.
//!
//! The journal stays the oracle: it tells what the ERP held and which rows and total an answer carried, whatever dress
//! they came in.

mod clock;
mod dress;
mod page;
mod record;
mod refusal;
mod total;

use std::fmt;
use std::str::FromStr;

use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

pub(super) use dress::Packing;
pub(super) use page::{PageRows, Paging};

/// How alike an unknown name and a known one are when the known one was meant.
const LIKENESS: f64 = 0.8;

/// What stands behind the name of an oddity, and what counts where nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// `=N`: it strikes every N-th record, or call.
    Every(u64),
    /// `=AMOUNT`.
    Amount(Unit, u64),
    /// `=AMOUNT` or `=AMOUNT:N`: so much, in every N-th record, or call.
    AmountEvery(Unit, u64, u64),
}

/// What an amount counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Anything.
    Number,
    /// Rows of a list.
    Rows,
    /// Calls.
    Calls,
    /// Seconds.
    Seconds,
    /// Bytes; KiB, MiB and GiB are understood.
    Bytes,
    /// Names of fields.
    Keys,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Number => "NUMBER",
            Self::Rows => "ROWS",
            Self::Calls => "CALLS",
            Self::Seconds => "SECONDS",
            Self::Bytes => "BYTES",
            Self::Keys => "KEYS",
        }
    }

    /// Reads a whole number; `1e18` is one too.
    fn read(self, text: &str) -> Option<u64> {
        let scale = match self {
            Self::Bytes => [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]
                .into_iter()
                .find_map(|(name, scale)| Some((text.strip_suffix(name)?, scale))),
            _ => None,
        };
        let (digits, scale) = scale.unwrap_or((text, 1));
        let number = match digits.split_once(['e', 'E']) {
            Some((digits, power)) => {
                digits.parse::<u64>().ok()?.checked_mul(10_u64.checked_pow(power.parse().ok()?)?)?
            }
            None => digits.parse().ok()?,
        };
        number.checked_mul(scale)
    }
}

/// Of which gateways an oddity can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Every,
    /// Enterprise and Y only: flagship has nothing that it could strike.
    OpenApi2,
}

/// One way in which answers differ.
#[derive(Debug, PartialEq, Eq)]
pub struct OddityKind {
    name: &'static str,
    takes: Takes,
    does: &'static str,
    reach: Reach,
}

impl OddityKind {
    const fn new(name: &'static str, takes: Takes, does: &'static str) -> Self {
        Self { name, takes, does, reach: Reach::Every }
    }

    const fn of_openapi2(name: &'static str, takes: Takes, does: &'static str) -> Self {
        Self { name, takes, does, reach: Reach::OpenApi2 }
    }

    /// All kinds, theme by theme.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        THEMES.iter().flat_map(|(_, kinds)| *kinds)
    }

    /// Its word on the command line.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What may stand behind the name.
    pub fn takes(&self) -> Takes {
        self.takes
    }

    /// What it does, in a sentence.
    pub fn does(&self) -> &'static str {
        self.does
    }

    /// Whether a gateway of this edition can have it.
    pub fn concerns(&self, edition: Edition) -> bool {
        self.reach == Reach::Every || edition != Edition::Flagship
    }

    /// How it is written, for example `busy[=N]`.
    pub fn synopsis(&self) -> String {
        match self.takes {
            Takes::Nothing => self.name.to_owned(),
            Takes::Every(_) => format!("{}[=N]", self.name),
            Takes::Amount(unit, _) => format!("{}[={}]", self.name, unit.name()),
            Takes::AmountEvery(unit, ..) => format!("{}[={}[:N]]", self.name, unit.name()),
        }
    }

    /// What it does, of which gateways, and what counts where nothing is said.
    pub fn description(&self) -> String {
        let only = if self.reach == Reach::OpenApi2 { " (enterprise and y)" } else { "" };
        format!("{}{only}{}", self.does, self.defaults())
    }

    fn defaults(&self) -> String {
        match self.takes {
            Takes::Nothing => String::new(),
            Takes::Every(number) | Takes::Amount(_, number) => format!(" [{number}]"),
            Takes::AmountEvery(_, amount, every) => format!(" [{amount}:{every}]"),
        }
    }
}

const THEMES: &[(&str, &[OddityKind])] = &[
    ("Totals", total::KINDS),
    ("Pages", page::KINDS),
    ("Records", record::KINDS),
    ("Dress", dress::KINDS),
    ("Clock", clock::KINDS),
    ("Refusals", refusal::KINDS),
];

/// An oddity as it is had: its kind, and how much and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oddity {
    kind: &'static OddityKind,
    amount: u64,
    every: u64,
}

impl Oddity {
    /// Its kind.
    pub fn kind(&self) -> &'static OddityKind {
        self.kind
    }

    /// Whether it strikes the requisition with this `apply_id`, if it is one that strikes every N-th requisition. Kinds
    /// strike different ones.
    pub fn touches(&self, apply_id: i64) -> bool {
        let shift = self.kind.name.bytes().map(i64::from).sum();
        i64::try_from(self.every).is_ok_and(|every| apply_id.wrapping_add(shift).checked_rem_euclid(every) == Some(0))
    }

    fn is(&self, kind: &OddityKind) -> bool {
        self.kind.name == kind.name
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, amount, every) = (self.kind.name, self.amount, self.every);
        match self.kind.takes {
            Takes::Nothing => f.write_str(name),
            Takes::Every(_) => write!(f, "{name}={every}"),
            Takes::Amount(..) => write!(f, "{name}={amount}"),
            Takes::AmountEvery(..) => write!(f, "{name}={amount}:{every}"),
        }
    }
}

impl FromStr for Oddity {
    type Err = Error;

    /// `name`, `name=N`, `name=AMOUNT` or `name=AMOUNT:N`, as [`Takes`] says.
    fn from_str(text: &str) -> Result<Self> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let kind = OddityKind::all().find(|kind| kind.name == name).ok_or_else(|| unknown(name))?;
        let wrong = || {
            Error::new(ErrorClass::SandboxWrong, text!("`{text}`: {name} does not take that", text, name)).hint(text!(
                "write {synopsis}: {does}{defaults}",
                synopsis = kind.synopsis(),
                does = kind.does,
                defaults = kind.defaults()
            ))
        };
        let every = |text: &str| text.parse().ok().filter(|every| *every > 0).ok_or_else(wrong);
        let amount = |unit: Unit, text: &str| unit.read(text).ok_or_else(wrong);
        let (amount, every) = match (kind.takes, value) {
            (Takes::Nothing, None) => (0, 1),
            (Takes::Nothing, Some(_)) => return Err(wrong()),
            (Takes::Every(every), None) => (0, every),
            (Takes::Every(_), Some(text)) => (0, every(text)?),
            (Takes::Amount(_, amount), None) => (amount, 1),
            (Takes::Amount(unit, _), Some(text)) => (amount(unit, text)?, 1),
            (Takes::AmountEvery(_, amount, every), None) => (amount, every),
            (Takes::AmountEvery(unit, _, default), Some(text)) => match text.split_once(':') {
                Some((much, often)) => (amount(unit, much)?, every(often)?),
                None => (amount(unit, text)?, default),
            },
        };
        Ok(Self { kind, amount, every })
    }
}

fn unknown(name: &str) -> Error {
    let names: Vec<_> = OddityKind::all().map(OddityKind::name).collect();
    let nearest = names
        .iter()
        .map(|known| (strsim::jaro_winkler(&name.to_ascii_lowercase(), known), known))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .filter(|(likeness, _)| *likeness >= LIKENESS);
    let meant = nearest.map(|(_, known)| format!("did you mean `{known}`? ")).unwrap_or_default();
    Error::new(ErrorClass::SandboxWrong, text!("`{name}` is not an oddity", name)).hint(text!(
        "{meant}oddities are {names}; `--oddities list` says what each does",
        meant,
        names = names.join(", ")
    ))
}

/// The oddities that a gateway has at one time. Where two contradict each other, the later counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oddities(Vec<Oddity>);

impl Oddities {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Oddity> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of this name strikes the requisition with this `apply_id`; see [`Oddity::touches`].
    pub fn touch(&self, name: &str, apply_id: i64) -> bool {
        self.0.iter().any(|oddity| oddity.kind.name == name && oddity.touches(apply_id))
    }

    /// The table of all kinds: how each is written, what it does, and what counts where nothing is said.
    pub fn table() -> String {
        let width = OddityKind::all().map(|kind| kind.synopsis().len()).max().unwrap_or_default();
        let mut table = String::new();
        for (theme, kinds) in THEMES {
            table.push_str(&format!("{theme}:\n"));
            for kind in *kinds {
                table.push_str(&format!("  {:width$}  {}\n", kind.synopsis(), kind.description()));
            }
        }
        table
    }

    /// # Errors
    /// [`Usage`](crate::ErrorKind::Usage) when a gateway of this edition cannot have one of them.
    pub(super) fn check(&self, edition: Edition) -> Result<()> {
        match self.0.iter().find(|oddity| !oddity.kind.concerns(edition)) {
            Some(oddity) => Err(Error::new(
                ErrorClass::SandboxWrong,
                text!("a gateway of {edition} cannot have `{oddity}`", edition, oddity),
            )
            .hint("it is one of enterprise and y: leave it out, or serve another `--edition`")),
            None => Ok(()),
        }
    }

    fn get(&self, kind: &OddityKind) -> Option<&Oddity> {
        self.0.iter().rev().find(|oddity| oddity.is(kind))
    }

    fn has(&self, kind: &OddityKind) -> bool {
        self.get(kind).is_some()
    }

    fn amount(&self, kind: &OddityKind) -> Option<u64> {
        self.get(kind).map(|oddity| oddity.amount)
    }

    /// Whether one of this kind strikes the call with this number.
    fn strikes(&self, kind: &OddityKind, nth: u64) -> bool {
        self.get(kind).is_some_and(|oddity| nth.is_multiple_of(oddity.every))
    }
}

impl FromStr for Oddities {
    type Err = Error;

    /// Oddities with commas between; nothing is none.
    fn from_str(text: &str) -> Result<Self> {
        text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::parse).collect::<Result<_>>().map(Self)
    }
}

impl fmt::Display for Oddities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, oddity) in self.0.iter().enumerate() {
            write!(f, "{}{oddity}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
