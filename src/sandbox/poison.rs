//! Records that bend or break the contract: what a gateway should never send, and sends.

use std::str::FromStr;

use crate::edition::Edition;
use crate::error::{Error, ErrorClass, Result};
use crate::text::text;

use super::dice::Dice;
use super::hostile::probability;
use super::record::{Override, Requisition, Status};

/// One way in which a record differs from what the vendor documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoisonKind {
    /// A quantity with five decimals, the fifth not zero.
    SurplusDecimals,
    /// A quantity with more digits than decimal(19,4) holds.
    Overflow,
    /// A created time on 30 February.
    ImpossibleDate,
    /// No number.
    MissingNumber,
    /// A modified time with half a second.
    SubSecondModified,
    /// A text where a number belongs.
    TextForNumber,
    /// An unreadable quantity in one line only.
    BadLine,
    /// A status that the vendor does not document.
    UnknownStatus,
    /// `details_list` is null.
    NullDetails,
    /// `details_list` has no line.
    EmptyDetails,
    /// There is no `details_list`.
    MissingDetails,
    /// Numbers where the vendor's example has strings.
    PlainNumbers,
    /// Fields that the vendor does not document, in header and lines.
    UnknownFields,
}

impl PoisonKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::SurplusDecimals,
        Self::Overflow,
        Self::ImpossibleDate,
        Self::MissingNumber,
        Self::SubSecondModified,
        Self::TextForNumber,
        Self::BadLine,
        Self::UnknownStatus,
        Self::NullDetails,
        Self::EmptyDetails,
        Self::MissingDetails,
        Self::PlainNumbers,
        Self::UnknownFields,
    ];

    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::SurplusDecimals => "surplus-decimals",
            Self::Overflow => "overflow",
            Self::ImpossibleDate => "impossible-date",
            Self::MissingNumber => "missing-number",
            Self::SubSecondModified => "sub-second",
            Self::TextForNumber => "text-for-number",
            Self::BadLine => "bad-line",
            Self::UnknownStatus => "unknown-status",
            Self::NullDetails => "null-details",
            Self::EmptyDetails => "empty-details",
            Self::MissingDetails => "missing-details",
            Self::PlainNumbers => "plain-numbers",
            Self::UnknownFields => "unknown-fields",
        }
    }

    /// What it is, in a few words.
    pub fn does(self) -> &'static str {
        match self {
            Self::SurplusDecimals => "a quantity with five decimals",
            Self::Overflow => "a quantity with more digits than decimal(19,4) holds",
            Self::ImpossibleDate => "created on 30 February",
            Self::MissingNumber => "no number",
            Self::SubSecondModified => "a modified time with half a second",
            Self::TextForNumber => "a text where a quantity belongs",
            Self::BadLine => "an unreadable quantity in one line only",
            Self::UnknownStatus => "a status that the vendor does not document",
            Self::NullDetails => "null in place of the list of details",
            Self::EmptyDetails => "no details",
            Self::MissingDetails => "no list of details",
            Self::PlainNumbers => "numbers where the vendor's example has strings",
            Self::UnknownFields => "fields that the vendor does not document",
        }
    }

    /// Whether such a record fits the data contract all the same; one that does not belongs in quarantine.
    pub fn fits(self) -> bool {
        matches!(
            self,
            Self::UnknownStatus
                | Self::NullDetails
                | Self::EmptyDetails
                | Self::MissingDetails
                | Self::PlainNumbers
                | Self::UnknownFields
        )
    }

    /// Makes `requisition` such a record, under the names that `edition` sends.
    pub fn spoil(self, requisition: &mut Requisition, edition: Edition) {
        let list = if edition == Edition::Flagship { "detail_list" } else { "details_list" };
        match self {
            Self::SurplusDecimals => spoil_quantity(requisition, edition, "\"1.00001\""),
            Self::Overflow => spoil_quantity(requisition, edition, "\"1000000000000000.0000\""),
            Self::ImpossibleDate => requisition.send_raw("created", "\"2026-02-30 10:00:00\""),
            Self::MissingNumber => requisition.leave_out("purchase_apply_no"),
            Self::SubSecondModified => {
                let half = format!("\"{}.5\"", requisition.modified);
                requisition.send_raw("modified", &half);
            }
            Self::TextForNumber => spoil_quantity(requisition, edition, "\"若干\""),
            Self::BadLine => spoil_line(requisition, edition, "\"1e-5\""),
            Self::UnknownStatus => requisition.status = Status::Undocumented(77),
            Self::NullDetails => requisition.send_raw(list, "null"),
            Self::EmptyDetails => requisition.send_raw(list, "[]"),
            Self::MissingDetails => requisition.leave_out(list),
            Self::PlainNumbers => {
                for line in &mut requisition.details {
                    let real = line.real_num.to_string();
                    line.overrides.push(Override::raw(quantity_of_line(edition), &real));
                }
                if edition != Edition::Flagship {
                    let (id, real) = (requisition.apply_id.to_string(), requisition.real_num.to_string());
                    requisition.send_raw("apply_id", &id);
                    requisition.send_raw("real_num", &real);
                }
            }
            Self::UnknownFields => {
                requisition.send_raw("tax_rate", "0.1300");
                requisition.send_raw("custom", r#"{"来源":"OA","tags":["a",null,true]}"#);
                for line in &mut requisition.details {
                    line.overrides.push(Override::raw("barcode", "\"6901234567892\""));
                }
            }
        }
    }
}

/// Sends `json` as a quantity of the header, or of the last line where the edition's header has none.
fn spoil_quantity(requisition: &mut Requisition, edition: Edition, json: &str) {
    match edition {
        Edition::Enterprise | Edition::Y => requisition.send_raw("real_num", json),
        Edition::Flagship => spoil_line(requisition, edition, json),
    }
}

/// Sends `json` as the quantity of the last line.
fn spoil_line(requisition: &mut Requisition, edition: Edition, json: &str) {
    match requisition.details.last_mut() {
        Some(line) => line.overrides.push(Override::raw(quantity_of_line(edition), json)),
        None => requisition.send_raw("modified", json),
    }
}

fn quantity_of_line(edition: Edition) -> &'static str {
    if edition == Edition::Flagship { "num" } else { "real_num" }
}

impl FromStr for PoisonKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::new(ErrorClass::SandboxWrong, text!("`{text}` is not a kind of poison", text))
                .hint(text!("kinds are {names}", names))
        })
    }
}

/// A share of the records is spoiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Poison {
    /// How likely each record is.
    pub fraction: f64,
    /// In which ways, all alike in likelihood.
    pub kinds: Vec<PoisonKind>,
}

impl Poison {
    /// Spoils its share of `requisitions`: for one seed always the same ones in the same way. What was spoiled is what
    /// it was before in the ERP's own eyes, so it is found by its times and number; later versions stay spoiled.
    pub fn spoil(&self, requisitions: &mut [Requisition], edition: Edition, seed: u64) {
        for requisition in requisitions {
            let mut dice = Dice::new(seed, requisition.apply_id.unsigned_abs());
            if dice.happens(self.fraction)
                && let Some(kind) = dice.pick(&self.kinds)
            {
                kind.spoil(requisition, edition);
            }
        }
    }
}

impl FromStr for Poison {
    type Err = Error;

    /// `FRACTION[:KIND,KIND,...]`, for example `0.01` or `0.01:overflow,missing-number`.
    fn from_str(text: &str) -> Result<Self> {
        let (share, kinds) = text.split_once(':').map_or((text, None), |(share, kinds)| (share, Some(kinds)));
        let fraction = probability(share).ok_or_else(|| {
            Error::new(ErrorClass::SandboxWrong, text!("`{text}` is not a share of poison", text))
                .hint("write FRACTION[:KIND,KIND,...], for example `0.01` or `0.01:overflow,missing-number`")
        })?;
        let kinds = match kinds {
            Some(kinds) => kinds.split(',').map(str::parse).collect::<Result<_>>()?,
            None => PoisonKind::ALL.to_vec(),
        };
        Ok(Self { fraction, kinds })
    }
}

#[cfg(test)]
mod tests {
    use super::super::render::{self, Dialect};
    use super::*;
    use crate::time::BeijingTime;

    fn plain() -> Requisition {
        Requisition::plain(1, "POA1", BeijingTime::parse("2026-05-19 12:00:00").expect("a time"))
    }

    #[test]
    fn every_kind_changes_the_record_and_leaves_it_json() {
        let sent = |requisition: &Requisition, edition| {
            let mut json = String::new();
            render::requisition(&mut json, requisition, Dialect::of(edition));
            json
        };
        for (kind, edition) in PoisonKind::ALL.into_iter().flat_map(|kind| Edition::ALL.map(|edition| (kind, edition)))
        {
            let mut spoiled = plain();
            kind.spoil(&mut spoiled, edition);
            let json = sent(&spoiled, edition);
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}: {json}", kind.name());
            assert_ne!(json, sent(&plain(), edition), "{}", kind.name());
            assert_eq!(kind.name().parse::<PoisonKind>().expect("a kind"), kind);
        }
    }

    #[test]
    fn the_share_is_the_same_for_a_seed() {
        let poison: Poison = "0.1:overflow".parse().expect("a poison");
        let spoiled = || {
            let mut all: Vec<_> = (1..=1000).map(|id| Requisition { apply_id: id, ..plain() }).collect();
            poison.spoil(&mut all, Edition::Enterprise, 5);
            all.iter().filter(|one| !one.overrides.is_empty()).map(|one| one.apply_id).collect::<Vec<_>>()
        };
        assert_eq!(spoiled(), spoiled());
        assert!((60..140).contains(&spoiled().len()), "{}", spoiled().len());
        assert!("0.1:vitriol".parse::<Poison>().is_err() && "many".parse::<Poison>().is_err());
    }
}
