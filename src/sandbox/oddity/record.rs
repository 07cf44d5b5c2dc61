//! Records that are broken, that nobody can read, that change from one answer to the next, or that are too large.

use std::sync::Arc;

use crate::edition::Edition;

use super::super::dice::Dice;
use super::super::record::{Override, Requisition, Text};
use super::{Oddities, Oddity, OddityKind, Takes, Unit};

const RARE: Takes = Takes::Every(50);

const BROKEN: OddityKind =
    OddityKind::new("broken", RARE, "every N-th requisition has an empty modified time: it does not fit the contract");
const BROKEN_ID_ZERO: OddityKind =
    OddityKind::of_openapi2("broken-id-zero", RARE, "every N-th requisition is broken, and its apply_id is 0");
const BROKEN_ID_MASKED: OddityKind =
    OddityKind::of_openapi2("broken-id-masked", RARE, "every N-th requisition is broken, and its apply_id is ***");
const BROKEN_NO_ID: OddityKind =
    OddityKind::of_openapi2("broken-no-id", RARE, "every N-th requisition is broken and has no apply_id");
const BROKEN_KEYLESS: OddityKind =
    OddityKind::new("broken-keyless", RARE, "every N-th requisition has neither number nor modified time nor apply_id");
const BROKEN_VARIES: OddityKind = OddityKind::new(
    "broken-varies",
    RARE,
    "every N-th requisition is keyless like that, and other in every response by a field of its own",
);
const ID_ZERO: OddityKind =
    OddityKind::of_openapi2("id-zero", RARE, "every N-th requisition is sound, but its apply_id is 0");
const ID_FLICKERS: OddityKind =
    OddityKind::of_openapi2("id-flickers", RARE, "every N-th requisition has its apply_id in half of the responses");
const TWINS: OddityKind = OddityKind::new(
    "twins",
    RARE,
    "every N-th requisition has a twin: the same number and second, another apply_id and other rec_ids",
);
const READING_FLICKERS: OddityKind = OddityKind::new(
    "reading-flickers",
    RARE,
    "every N-th requisition does not fit the contract in half of the responses",
);
const UNREADABLE_QUOTE: OddityKind =
    OddityKind::new("unreadable-quote", RARE, "every N-th requisition has an unescaped quote in its remark: no JSON");
const UNREADABLE_BRACE: OddityKind =
    OddityKind::new("unreadable-brace", RARE, "every N-th requisition has a brace too many: no JSON");
const UNREADABLE_BYTES: OddityKind =
    OddityKind::new("unreadable-bytes", RARE, "every N-th requisition has bytes in its remark that are no UTF-8");
const UNREADABLE_SOMETIMES: OddityKind =
    OddityKind::new("unreadable-sometimes", RARE, "every N-th requisition is no JSON in half of the responses");
const RAW_CONTROLS: OddityKind =
    OddityKind::new("raw-controls", RARE, "every N-th requisition has an unescaped tab and line break in its remark");
const LARGE: OddityKind = OddityKind::new(
    "large",
    Takes::AmountEvery(Unit::Bytes, 1 << 20, 50),
    "every N-th requisition has so long a remark",
);
const MANY_KEYS: OddityKind = OddityKind::new(
    "many-keys",
    Takes::AmountEvery(Unit::Keys, 60_000, 50),
    "every N-th requisition has so many unknown fields",
);
const BEFORE_1900: OddityKind = OddityKind::new("time-before-1900", RARE, "every N-th requisition was created in 1899");
const AFTER_9999: OddityKind =
    OddityKind::new("time-after-9999", RARE, "every N-th requisition is expected in the year 10000");
const MODIFIED_BEFORE_1900: OddityKind =
    OddityKind::new("modified-before-1900", RARE, "every N-th requisition says that it was modified in 1899");
const MODIFIED_AFTER_9999: OddityKind =
    OddityKind::new("modified-after-9999", RARE, "every N-th requisition says that it was modified in the year 10000");

pub(super) const KINDS: &[OddityKind] = &[
    BROKEN,
    BROKEN_ID_ZERO,
    BROKEN_ID_MASKED,
    BROKEN_NO_ID,
    BROKEN_KEYLESS,
    BROKEN_VARIES,
    ID_ZERO,
    ID_FLICKERS,
    TWINS,
    READING_FLICKERS,
    UNREADABLE_QUOTE,
    UNREADABLE_BRACE,
    UNREADABLE_BYTES,
    UNREADABLE_SOMETIMES,
    RAW_CONTROLS,
    LARGE,
    MANY_KEYS,
    BEFORE_1900,
    AFTER_9999,
    MODIFIED_BEFORE_1900,
    MODIFIED_AFTER_9999,
];

/// Stands in a text for bytes that no text can hold, until the answer is bytes. It is no character that anybody writes.
pub(super) const NO_UTF8: char = '\u{FDD0}';

/// The ids of twins lie so far above those of the requisitions that they are twins of.
const TWIN: i64 = 1_000_000_000;

impl Oddities {
    /// A requisition as it is sent in the answer to the call `nth`.
    pub(in crate::sandbox) fn sent(
        &self,
        requisition: Arc<Requisition>,
        edition: Edition,
        seed: u64,
        nth: u64,
    ) -> Arc<Requisition> {
        let mut sent = requisition;
        for oddity in &self.0 {
            if KINDS.contains(oddity.kind) && oddity.touches(sent.apply_id) {
                let apply_id = sent.apply_id.unsigned_abs();
                let mut dice = Dice::new(Dice::new(seed, nth).next(), apply_id);
                bend(Arc::make_mut(&mut sent), oddity, edition, &mut dice);
            }
        }
        sent
    }

    /// The twins that `requisitions` are to have and have not yet.
    pub(in crate::sandbox) fn twins(&self, requisitions: &[Arc<Requisition>]) -> Vec<Requisition> {
        let Some(oddity) = self.get(&TWINS) else { return Vec::new() };
        let known: std::collections::HashSet<_> = requisitions.iter().map(|requisition| requisition.apply_id).collect();
        let wanted = |id: i64| id < TWIN && oddity.touches(id) && !known.contains(&id.saturating_add(TWIN));
        requisitions.iter().filter(|requisition| wanted(requisition.apply_id)).map(|one| twin(one)).collect()
    }
}

fn twin(requisition: &Requisition) -> Requisition {
    let mut twin = requisition.clone();
    twin.apply_id = twin.apply_id.saturating_add(TWIN);
    for detail in &mut twin.details {
        detail.rec_id = detail.rec_id.saturating_add(TWIN);
    }
    twin.remark = format!("{}(同号)", twin.remark).into();
    twin
}

/// Bends a requisition that `oddity` touches.
fn bend(requisition: &mut Requisition, oddity: &Oddity, edition: Edition, dice: &mut Dice) {
    let half = dice.happens(0.5);
    if matches!(*oddity.kind, BROKEN | BROKEN_ID_ZERO | BROKEN_ID_MASKED | BROKEN_NO_ID) {
        requisition.send_raw("modified", "\"\"");
    }
    match *oddity.kind {
        BROKEN_ID_ZERO | ID_ZERO => requisition.send_raw("apply_id", "\"0\""),
        BROKEN_ID_MASKED => requisition.send_raw("apply_id", "\"***\""),
        BROKEN_NO_ID => requisition.leave_out("apply_id"),
        BROKEN_KEYLESS | BROKEN_VARIES => {
            ["purchase_apply_no", "modified", "apply_id"].iter().for_each(|key| requisition.leave_out(key));
            if *oddity.kind == BROKEN_VARIES {
                requisition.send_raw("read_no", &dice.next().to_string());
            }
        }
        ID_FLICKERS if half => requisition.leave_out("apply_id"),
        READING_FLICKERS if half => misread(requisition, edition, dice),
        UNREADABLE_QUOTE => requisition.send_raw("remark", "\"说\"不\"行\""),
        UNREADABLE_BRACE => requisition.send_raw("remark", "\"\"}"),
        UNREADABLE_BYTES => requisition.send_raw("remark", &format!("\"{NO_UTF8}\"")),
        UNREADABLE_SOMETIMES if half => requisition.send_raw("remark", "\"说\"不\"行\""),
        RAW_CONTROLS => requisition.send_raw("remark", "\"一\t二\n三\u{1}\""),
        LARGE => {
            let bytes = usize::try_from(oddity.amount).unwrap_or(usize::MAX);
            requisition.remark = Text::from("x".repeat(bytes));
        }
        MANY_KEYS => {
            requisition.overrides.extend((0..oddity.amount).map(|n| Override::raw(&format!("key_{n}"), "1")));
        }
        BEFORE_1900 => requisition.send_raw("created", "\"1899-12-31 12:00:00\""),
        AFTER_9999 => requisition.send_raw("expected_time", "\"10000-01-01 12:00:00\""),
        MODIFIED_BEFORE_1900 => requisition.send_raw("modified", "\"1899-12-31 12:00:00\""),
        MODIFIED_AFTER_9999 => requisition.send_raw("modified", "\"10000-01-01 12:00:00\""),
        _ => {}
    }
}

/// Makes a requisition one that does not fit the contract: in its time, without which it has no place, or in a
/// quantity.
fn misread(requisition: &mut Requisition, edition: Edition, dice: &mut Dice) {
    match requisition.details.last_mut() {
        Some(line) if dice.happens(0.5) => {
            let quantity = if edition == Edition::Flagship { "num" } else { "real_num" };
            line.overrides.push(Override::raw(quantity, "\"若干\""));
        }
        _ => requisition.send_raw("modified", "\"\""),
    }
}
