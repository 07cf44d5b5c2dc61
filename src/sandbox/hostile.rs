//! How the gateway misbehaves on demand: one plain structure, read anew at each call, and the command line's spelling
//! of its parts.

use std::str::FromStr;
use std::time::Duration;

use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::text::text;
use crate::time::Window;

use super::data;
use super::dice::Dice;
use super::fault::Fault;
use super::oddity::Oddities;
use super::render::{Applicant, Dialect, Escapes, Scalars};
use super::world::World;

/// In which order a window's requisitions are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By modified time; those of one second by apply_id.
    #[default]
    Modified,
    /// By modified time; those of one second in a new order at every call.
    ModifiedShuffledTies,
    /// By modified time, the latest first.
    ModifiedDescending,
    /// By apply_id.
    ApplyId,
    /// In a new order at every call.
    Random,
}

impl Order {
    /// All orders.
    pub const ALL: [Self; 5] =
        [Self::Modified, Self::ModifiedShuffledTies, Self::ModifiedDescending, Self::ApplyId, Self::Random];

    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Modified => "modified",
            Self::ModifiedShuffledTies => "shuffled-ties",
            Self::ModifiedDescending => "descending",
            Self::ApplyId => "apply-id",
            Self::Random => "random",
        }
    }

    /// What it is, in a few words.
    pub fn does(self) -> &'static str {
        match self {
            Self::Modified => "by modified time, those of one second by id",
            Self::ModifiedShuffledTies => "by modified time, those of one second in a new order at every call",
            Self::ModifiedDescending => "by modified time, the latest first",
            Self::ApplyId => "by id",
            Self::Random => "in a new order at every call",
        }
    }
}

impl FromStr for Order {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|order| order.name() == text).ok_or_else(|| {
            Error::new(ErrorClass::SandboxWrong, text!("`{text}` is not an order", text))
                .hint(text!("orders are {all}", all = Self::ALL.map(Self::name).join(", ")))
        })
    }
}

/// Which statement comes first when an answer carries rows and total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statements {
    /// The total may be larger than what the list then holds.
    #[default]
    CountThenList,
    /// The list may hold more than the total then says.
    ListThenCount,
}

/// Whether answers are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Never.
    #[default]
    None,
    /// With gzip, for a client that accepts it.
    Gzip,
}

/// What a flagship search takes its `end_time` for; its page does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interval {
    /// The last second of the interval.
    #[default]
    Closed,
    /// The second after the interval.
    HalfOpen,
}

/// What a flagship search says of the total when it was not asked to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uncounted {
    /// Nothing.
    #[default]
    Absent,
    /// 0.
    Zero,
}

/// How a flagship search wraps its list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outer {
    /// In `data`, beside a `status`.
    #[default]
    Object,
    /// Not at all, as in the vendor's example answer.
    None,
}

/// When drift strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriftMoment {
    /// Before the call reads anything.
    #[default]
    BeforeTheCall,
    /// Between counting and listing; before a call that does only one of them.
    BetweenStatements,
}

/// Requisitions of the window that is asked for are edited while it is asked for, and so leave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// How likely a call meets it.
    pub probability: f64,
    /// How many requisitions are edited then.
    pub edits: usize,
    /// When.
    pub moment: DriftMoment,
}

impl FromStr for Drift {
    type Err = Error;

    /// `PROBABILITY[:EDITS[:between]]`, for example `0.2` or `0.2:3`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(ErrorClass::SandboxWrong, text!("`{text}` is not a drift", text))
                .hint("write PROBABILITY[:EDITS[:between]], for example `0.2` or `0.2:3`")
        };
        let mut parts = text.split(':');
        let probability = parts.next().and_then(probability).ok_or_else(wrong)?;
        let edits = parts.next().map_or(Ok(1), |edits| edits.parse().map_err(|_| wrong()))?;
        let moment = match parts.next() {
            None => DriftMoment::BeforeTheCall,
            Some("between") => DriftMoment::BetweenStatements,
            Some(_) => return Err(wrong()),
        };
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self { probability, edits, moment }) }
    }
}

impl Drift {
    /// Edits requisitions of `window`, so that they leave it. A window that the present is still in is let alone:
    /// nothing would leave.
    pub(super) fn strike(&self, world: &mut World, window: Window, dice: &mut Dice) {
        if window.end() >= world.now() {
            return;
        }
        for _ in 0..self.edits {
            let Some((_, apply_id)) = dice.pick(world.window(window)).copied() else { return };
            let Some(number) = world.get(apply_id).map(|found| found.purchase_apply_no.clone()) else { return };
            world.edit(&number, |requisition| data::edit(dice, requisition));
        }
    }
}

/// Faults that strike at random.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// How likely a call meets one.
    pub probability: f64,
    /// Which ones, all alike in likelihood; [`Fault::usual`] unless named.
    pub kinds: Vec<Fault>,
}

impl FromStr for Faults {
    type Err = Error;

    /// `PROBABILITY[:FAULT,FAULT,...]`, for example `0.05` or `0.05:502,disconnect`.
    fn from_str(text: &str) -> Result<Self> {
        let (share, kinds) = text.split_once(':').map_or((text, None), |(share, kinds)| (share, Some(kinds)));
        let probability = probability(share).ok_or_else(|| {
            Error::new(ErrorClass::SandboxWrong, text!("`{text}` is not a rate of faults", text))
                .hint("write PROBABILITY[:FAULT,FAULT,...], for example `0.05` or `0.05:502,disconnect`")
        })?;
        let kinds = match kinds {
            Some(kinds) => kinds.split(',').map(str::parse).collect::<Result<_>>()?,
            None => Fault::usual(),
        };
        Ok(Self { probability, kinds })
    }
}

/// How long a call takes before the gateway looks at the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// At least.
    pub at_least: Duration,
    /// At most.
    pub at_most: Duration,
}

impl Latency {
    /// The same for every call.
    pub fn exactly(duration: Duration) -> Self {
        Self { at_least: duration, at_most: duration }
    }

    pub(super) fn draw(self, dice: &mut Dice) -> Duration {
        let spread = self.at_most.saturating_sub(self.at_least);
        self.at_least + Duration::from_nanos(dice.below(u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl FromStr for Latency {
    type Err = Error;

    /// `50ms`, `1.5s` or a range such as `20ms..200ms`.
    fn from_str(text: &str) -> Result<Self> {
        let duration = |text: &str| {
            let (number, unit) = match text.strip_suffix("ms") {
                Some(number) => (number, 0.001),
                None => (text.strip_suffix('s')?, 1.0),
            };
            Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
        };
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        match (duration(low), duration(high)) {
            (Some(at_least), Some(at_most)) if at_least <= at_most => Ok(Self { at_least, at_most }),
            _ => Err(Error::new(ErrorClass::SandboxWrong, text!("`{text}` is not a latency", text))
                .hint("write `50ms`, `1.5s` or `20ms..200ms`")),
        }
    }
}

/// Everything in which a gateway may differ from the one on the vendor's page. The default differs in nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behaviour {
    /// Decides every draw of chance, together with the number of the call.
    pub seed: u64,
    /// Edits of the window that is asked for.
    pub drift: Option<Drift>,
    /// Faults at random.
    pub faults: Option<Faults>,
    /// How many calls are let in within any sixty seconds of the machine's clock.
    pub calls_per_minute: Option<u32>,
    /// How many calls are let in at once.
    pub max_concurrency: Option<u32>,
    /// How long a call takes.
    pub latency: Latency,
    /// In which order rows come.
    pub order: Order,
    /// Which statement comes first.
    pub statements: Statements,
    /// The server silently gives at most so many rows a page, and pages by that size.
    pub max_page_rows: Option<usize>,
    /// Every page but the first begins with the last so many rows of the page before it.
    pub overlap_rows: usize,
    /// Whether answers are compressed.
    pub compression: Compression,
    /// What a flagship search takes its end for.
    pub interval: Interval,
    /// What a flagship search says of a total that it was not asked for.
    pub uncounted: Uncounted,
    /// How a flagship search wraps its list.
    pub outer: Outer,
    /// How the applicant's field is spelled by enterprise and Y.
    pub applicant: Applicant,
    /// How numbers are sent.
    pub scalars: Scalars,
    /// How text is escaped.
    pub escapes: Escapes,
    /// What real gateways were seen to answer beside all that.
    pub oddities: Oddities,
}

impl Behaviour {
    /// The form of the answers of a gateway of this edition.
    pub fn dialect(&self, edition: Edition) -> Dialect {
        let lists = self.oddities.lists();
        Dialect { edition, applicant: self.applicant, scalars: self.scalars, escapes: self.escapes, lists }
    }
}

/// A probability as a user writes it: 0 to 1.
pub(super) fn probability(text: &str) -> Option<f64> {
    text.parse().ok().filter(|probability| (0.0..=1.0).contains(probability))
}

#[cfg(test)]
mod tests {
    use super::super::clock::SandboxClock;
    use super::super::record::Requisition;
    use super::*;
    use crate::time::BeijingTime;

    #[test]
    fn the_command_lines_spelling_is_understood() {
        let drift = Drift { probability: 0.2, edits: 3, moment: DriftMoment::BetweenStatements };
        assert_eq!("0.2:3:between".parse::<Drift>().expect("a drift"), drift);
        assert_eq!("1".parse::<Drift>().expect("a drift").edits, 1);
        assert_eq!("0.1".parse::<Faults>().expect("faults").kinds, Fault::usual());
        assert_eq!("0:502,hang".parse::<Faults>().expect("faults").kinds, [Fault::Status(502), Fault::Hang]);
        let latency = Latency { at_least: Duration::from_millis(20), at_most: Duration::from_millis(1500) };
        assert_eq!("20ms..1.5s".parse::<Latency>().expect("a latency"), latency);
        assert_eq!(Order::ALL.map(|order| order.name().parse::<Order>().expect("an order")), Order::ALL);
        for wrong in ["", "2", "-0.1", "NaN", "0.5:x", "0.5:1:later", "0.5:1:between:"] {
            assert!(wrong.parse::<Drift>().is_err(), "{wrong}");
        }
        assert!("0.1:nothing".parse::<Faults>().is_err() && "2ms..1ms".parse::<Latency>().is_err());
        assert!("fast".parse::<Latency>().is_err() && "-1s".parse::<Latency>().is_err());
    }

    #[test]
    fn drift_takes_rows_out_of_a_past_window_and_out_of_no_other() {
        let noon = BeijingTime::parse("2026-05-19 12:00:00").expect("a time");
        let clock = SandboxClock::held(noon.plus_seconds(3600));
        let all = (1..=9).map(|id| Requisition::plain(id, &format!("POA{id}"), noon)).collect();
        let mut world = World::new(clock, all);
        let (drift, mut dice) = ("1:4".parse::<Drift>().expect("a drift"), Dice::new(1, 1));
        let present = Window::new(noon, noon.plus_seconds(3600)).expect("a window");
        drift.strike(&mut world, present, &mut dice);
        assert_eq!(world.window(Window::second(noon)).len(), 9);
        for left in [5, 1, 0, 0] {
            drift.strike(&mut world, Window::second(noon), &mut dice);
            assert_eq!((world.window(Window::second(noon)).len(), world.len()), (left, 9));
        }
    }
}
