//! Believable requisitions by seed: the same seed, number, days and end give the same data for ever.
//!
//! They keep what a real ERP keeps: created before modified, numbers unique within their day, header quantities the
//! sums of their lines', states that agree with what was referenced. And they hold what breaks careless readers:
//! several on one second, quantities of nineteen digits, empty and zero dates, quotes, backslashes, line breaks, emoji.

use std::collections::HashMap;

use crate::time::BeijingTime;

use super::dice::Dice;
use super::record::{Detail, Quantity, Requisition, Status, Text};
use super::vocabulary::{Place, Sku, Vocabulary};

const DAY: i64 = 86_400;
/// How busy each hour of a working day is.
const HOURS: [u64; 24] = [1, 1, 0, 0, 0, 1, 2, 4, 14, 32, 36, 30, 12, 20, 32, 36, 34, 28, 14, 8, 6, 5, 3, 2];
/// Of a hundred requisitions, so many are in each state.
const STATES: [(Status, u64); 6] = [
    (Status::Referenced, 60),
    (Status::PartlyReferenced, 11),
    (Status::ToReference, 9),
    (Status::ToConfirm, 7),
    (Status::Editing, 8),
    (Status::Cancelled, 5),
];

/// `requisitions` requisitions created and last modified within the `days` days that end with the second `end`, in
/// order of apply_id.
/// One in seven hundred has a quantity with all nineteen digits that a decimal(19,4) holds.
pub fn generate(seed: u64, requisitions: usize, days: u32, end: BeijingTime) -> Vec<Requisition> {
    generate_as(Extremes::Some, seed, requisitions, days, end)
}

/// The same without extreme quantities: their sums are believable, too.
pub fn generate_believable(seed: u64, requisitions: usize, days: u32, end: BeijingTime) -> Vec<Requisition> {
    generate_as(Extremes::None, seed, requisitions, days, end)
}

/// Whether quantities may have nineteen digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extremes {
    Some,
    None,
}

fn generate_as(extremes: Extremes, seed: u64, requisitions: usize, days: u32, end: BeijingTime) -> Vec<Requisition> {
    let mut dice = Dice::new(seed, 0);
    let words = Vocabulary::new(&mut dice);
    let mut moments = moments(&mut dice, requisitions, days.max(1), end);
    moments.sort_unstable();
    let mut writer = Writer { words, dice, extremes, next_rec_id: 300_001, numbered: HashMap::new() };
    (100_001..).zip(moments).map(|(apply_id, times)| writer.requisition(apply_id, times)).collect()
}

/// When each requisition was created and last modified.
fn moments(dice: &mut Dice, count: usize, days: u32, end: BeijingTime) -> Vec<(BeijingTime, BeijingTime)> {
    let start = end.plus_seconds(1 - i64::from(days) * DAY);
    let span = end.unix() - start.unix();
    let rhythm = Rhythm::new(start, days);
    // A buyer who confirms a whole screen of requisitions gives them all one second.
    let mut batch: Option<(BeijingTime, u64)> = None;
    let mut created: Vec<_> = (0..count).map(|_| rhythm.moment(dice).min(span)).collect();
    created.sort_unstable();
    let later = |dice: &mut Dice, created: i64| {
        let minutes = 60 + dice.below(90 * 60) as i64;
        let days = if dice.happens(0.5) { 0 } else { (1.0 + 12.0 * dice.fraction() * dice.fraction()) as i64 };
        let later = created + minutes + days * DAY;
        if later <= span { later } else { created + dice.below((span - created + 1) as u64) as i64 }
    };
    created
        .into_iter()
        .map(|created| {
            let (created_at, joins, opens) = (start.plus_seconds(created), dice.happens(0.25), dice.happens(0.01));
            let modified = match batch.filter(|(second, room)| *second >= created_at && *room > 0) {
                Some((second, room)) if joins => {
                    batch = Some((second, room - 1));
                    second
                }
                _ => start.plus_seconds(later(dice, created)),
            };
            if opens {
                // A screen holds a dozen or two: fewer than a page of the gateway.
                batch = Some((modified, 2 + dice.below(22)));
            }
            (created_at, modified)
        })
        .collect()
}

/// How many requisitions are to be expected on which day, as a running sum.
struct Rhythm {
    by_day: Vec<u64>,
    by_hour: Vec<u64>,
    start_of_day: i64,
}

impl Rhythm {
    fn new(start: BeijingTime, days: u32) -> Self {
        let running = |weights: &mut dyn Iterator<Item = u64>| {
            weights
                .scan(0, |sum, weight| {
                    *sum += weight;
                    Some(*sum)
                })
                .collect()
        };
        let wall = start.unix() + 8 * 3600;
        // 1970-01-01 was a Thursday: counted from it, days 2 and 3 of each week are the weekend.
        let weight = |day: u32| if matches!((wall / DAY + i64::from(day)).rem_euclid(7), 2 | 3) { 2 } else { 10 };
        Self {
            by_day: running(&mut (0..days).map(weight)),
            by_hour: running(&mut HOURS.into_iter()),
            start_of_day: wall.rem_euclid(DAY),
        }
    }

    /// Seconds after the start.
    fn moment(&self, dice: &mut Dice) -> i64 {
        let mut draw = |sums: &[u64]| {
            let place = dice.below(sums.last().copied().unwrap_or(0));
            sums.partition_point(|sum| *sum <= place) as i64
        };
        let (day, hour) = (draw(&self.by_day), draw(&self.by_hour));
        let of_day = hour * 3600 + dice.below(3600) as i64;
        // The range may begin in the middle of a day; the hours are those of the wall clock.
        day * DAY + (of_day - self.start_of_day).rem_euclid(DAY)
    }
}

struct Writer {
    words: Vocabulary,
    dice: Dice,
    extremes: Extremes,
    next_rec_id: i64,
    numbered: HashMap<String, u32>,
}

impl Writer {
    fn requisition(&mut self, apply_id: i64, (created, modified): (BeijingTime, BeijingTime)) -> Requisition {
        let status = state(&mut self.dice);
        let lines = lines(&mut self.dice);
        // Only an exact type keeps nineteen digits; one such line leaves room for the others in decimal(19,4).
        let huge = self.dice.happens(1.0 / 700.0).then(|| self.dice.index(lines));
        let huge = huge.filter(|_| self.extremes == Extremes::Some);
        let details: Vec<Detail> = (0..lines).map(|line| self.detail(huge == Some(line))).collect();
        let warehouse = self.dice.pick_skewed(&self.words.warehouses).cloned();
        let warehouse =
            warehouse.unwrap_or_else(|| Place { no: self.words.none.clone(), name: self.words.none.clone() });
        let mut requisition = Requisition {
            apply_id,
            purchase_apply_no: self.number(created),
            status,
            createor_name: self.text(|words| &words.people, 0.99),
            warehouse_no: warehouse.no,
            name: warehouse.name,
            real_num: Quantity(0),
            ref_num: Quantity(0),
            unref_num: Quantity(0),
            expected_time: self.expected(created),
            remark: self.text(|words| &words.header_remarks, 0.35),
            modified,
            created,
            details,
            overrides: Vec::new(),
        };
        refer(&mut self.dice, &mut requisition);
        requisition
    }

    fn detail(&mut self, huge: bool) -> Detail {
        let real = if huge {
            Quantity(1_000_000_000_000_000_000 + i128::from(self.dice.below(8_000_000_000_000_000_000)))
        } else {
            quantity(&mut self.dice)
        };
        let rec_id = self.next_rec_id;
        self.next_rec_id += 1;
        let Some(sku) = self.dice.pick_skewed(&self.words.skus).cloned() else {
            return Detail::plain(rec_id, "SP100000", real);
        };
        let Sku { spec_no, spec_name, goods_no, goods_name, short_name, brand_no, brand_name, class_name } = sku;
        let supplier = self.dice.pick_skewed(&self.words.suppliers).cloned();
        let supplier = supplier.unwrap_or_else(|| Place { no: self.words.none.clone(), name: self.words.none.clone() });
        Detail {
            rec_id,
            spec_no,
            spec_name,
            goods_no,
            goods_name,
            short_name,
            brand_no,
            brand_name,
            class_name,
            real_num: real,
            ref_num: Quantity(0),
            provider_no: supplier.no,
            provider_name: supplier.name,
            remark: self.text(|words| &words.line_remarks, 0.12),
            overrides: Vec::new(),
        }
    }

    /// `POA` with the day of creation and a number that is unique within it.
    fn number(&mut self, created: BeijingTime) -> Text {
        let mut day = created.compact();
        day.truncate(8);
        let place = self.numbered.entry(day.clone()).or_default();
        *place += 1;
        format!("POA{day}{place:04}").into()
    }

    fn expected(&mut self, created: BeijingTime) -> Text {
        let due = created.plus_seconds(DAY * (3 + self.dice.below(25) as i64)).to_string();
        let date = due.get(..10).unwrap_or_default();
        match self.dice.below(100) {
            0..55 => "0000-00-00 00:00:00".into(),
            55..62 => self.words.none.clone(),
            62..66 => date.into(),
            _ => format!("{date} 00:00:00").into(),
        }
    }

    fn text(&mut self, kind: impl FnOnce(&Vocabulary) -> &Vec<Text>, probability: f64) -> Text {
        let written = self.dice.happens(probability);
        let text = if written { self.dice.pick_skewed(kind(&self.words)) } else { None };
        text.unwrap_or(&self.words.none).clone()
    }
}

fn state(dice: &mut Dice) -> Status {
    let mut place = dice.below(STATES.iter().map(|(_, weight)| weight).sum());
    for (status, weight) in STATES {
        if place < weight {
            return status;
        }
        place -= weight;
    }
    Status::Referenced
}

/// One line most often, about five on average, thirty at most.
fn lines(dice: &mut Dice) -> usize {
    (1..30).take_while(|_| dice.happens(0.8)).count() + 1
}

/// Whole pieces most often, now and then quarters or ten-thousandths; always at least two units, so that a part of it
/// exists.
fn quantity(dice: &mut Dice) -> Quantity {
    match dice.below(20) {
        0..16 => Quantity::pieces(1 + (dice.fraction() * dice.fraction() * 2000.0) as i64),
        16..18 => Quantity((1 + i128::from(dice.below(400))) * 2_500),
        _ => Quantity(2 + i128::from(dice.below(5_000_000))),
    }
}

/// Fills in what was referenced, so that it agrees with the state, and sums up.
pub(super) fn refer(dice: &mut Dice, requisition: &mut Requisition) {
    let status = requisition.status;
    for detail in &mut requisition.details {
        detail.ref_num = match status {
            Status::Referenced => detail.real_num,
            Status::PartlyReferenced => Quantity(detail.real_num.0 / 4 * i128::from(dice.below(5))),
            _ => Quantity(0),
        };
    }
    requisition.sum_up();
    let partly = requisition.ref_num.0 > 0 && requisition.unref_num.0 > 0;
    if let (Status::PartlyReferenced, false, Some(first)) = (status, partly, requisition.details.first_mut()) {
        first.ref_num = Quantity(first.real_num.0 / 2);
        requisition.sum_up();
    }
}

/// Edits a requisition the way its people do: a step forward, a changed line, a note.
pub(super) fn edit(dice: &mut Dice, requisition: &mut Requisition) {
    match dice.below(4) {
        0 => {
            requisition.status = match requisition.status {
                Status::Editing => Status::ToConfirm,
                Status::ToConfirm => Status::ToReference,
                Status::ToReference => Status::PartlyReferenced,
                Status::PartlyReferenced => Status::Referenced,
                // Buyers take a finished or cancelled requisition up again.
                _ => Status::Editing,
            };
        }
        1 if requisition.details.len() > 1 => {
            let gone = dice.index(requisition.details.len());
            requisition.details.remove(gone);
        }
        2 if !requisition.details.is_empty() => {
            let changed = dice.index(requisition.details.len());
            if let Some(detail) = requisition.details.get_mut(changed) {
                detail.real_num = quantity(dice);
            }
        }
        _ => requisition.remark = format!("改单 {:04}", dice.below(10_000)).into(),
    }
    refer(dice, requisition);
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    fn end() -> BeijingTime {
        BeijingTime::parse("2026-05-19 23:59:59").expect("a time")
    }

    #[test]
    fn one_seed_gives_one_world() {
        assert_eq!(generate(7, 50, 10, end()), generate(7, 50, 10, end()));
        assert_ne!(generate(7, 50, 10, end()), generate(8, 50, 10, end()));
        assert!(generate(7, 0, 10, end()).is_empty());
    }

    #[test]
    fn requisitions_are_what_an_erp_would_hold() {
        let start = end().plus_seconds(1 - 90 * DAY);
        let all = generate(1, 4_000, 90, end());
        let numbers: HashSet<_> = all.iter().map(|requisition| &requisition.purchase_apply_no).collect();
        assert_eq!(numbers.len(), all.len());
        for requisition in &all {
            let of = &requisition.purchase_apply_no;
            assert!(start <= requisition.created && requisition.created <= requisition.modified, "{of}");
            assert!(requisition.modified <= end(), "{of}");
            assert!((1..=30).contains(&requisition.details.len()), "{of}");
            let real: Quantity = requisition.details.iter().map(|detail| detail.real_num).sum();
            let refs: Quantity = requisition.details.iter().map(|detail| detail.ref_num).sum();
            assert_eq!(
                (real, refs, real.0 - refs.0),
                (requisition.real_num, requisition.ref_num, requisition.unref_num.0)
            );
            assert!(real.0 < 10_i128.pow(19), "{of}");
            assert!(
                requisition.details.iter().all(|detail| detail.ref_num <= detail.real_num && detail.ref_num.0 >= 0)
            );
            match requisition.status {
                Status::Referenced => assert_eq!(refs, real, "{of}"),
                Status::PartlyReferenced => assert!(0 < refs.0 && refs < real, "{of}"),
                _ => assert_eq!(refs.0, 0, "{of}"),
            }
        }
    }

    #[test]
    fn the_data_holds_what_breaks_careless_readers() {
        let all = generate(1, 4_000, 90, end());
        let any = |test: &dyn Fn(&Requisition) -> bool| assert!(all.iter().any(test));
        any(&|requisition| requisition.real_num.0 >= 10_i128.pow(18));
        any(&|requisition| requisition.details.len() == 30);
        any(&|requisition| requisition.details.len() == 1);
        for text in ["", "0000-00-00 00:00:00"] {
            any(&|requisition| &*requisition.expected_time == text);
        }
        for letter in ['"', '\\', '\n', '\t', '🙏'] {
            any(&|requisition| requisition.remark.contains(letter));
        }
        let mut seconds = BTreeMap::new();
        all.iter().for_each(|requisition| *seconds.entry(requisition.modified).or_insert(0) += 1);
        assert!(seconds.values().any(|count| *count >= 4), "batches share a second");
    }

    #[test]
    fn people_work_by_day_and_on_weekdays() {
        let all = generate(3, 5_000, 84, end());
        let wall = |time: BeijingTime| time.unix() + 8 * 3600;
        let night = all.iter().filter(|requisition| wall(requisition.created).rem_euclid(DAY) < 7 * 3600).count();
        let weekend = all.iter().filter(|r| matches!((wall(r.created) / DAY).rem_euclid(7), 2 | 3)).count();
        assert!(night * 20 < all.len() && weekend * 10 < all.len(), "{night} at night, {weekend} on weekends");
    }

    #[test]
    fn edits_keep_the_quantities_consistent() {
        let mut dice = Dice::new(5, 5);
        let mut requisition = generate(9, 1, 1, end()).remove(0);
        for _ in 0..500 {
            edit(&mut dice, &mut requisition);
            let real: Quantity = requisition.details.iter().map(|detail| detail.real_num).sum();
            assert!(!requisition.details.is_empty() && requisition.real_num == real);
            assert!(requisition.status != Status::PartlyReferenced || requisition.unref_num.0 > 0);
        }
    }
}
