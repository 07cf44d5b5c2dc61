//! The sandbox's memory: every version of every requisition with the time it lived, and every call with what was
//! answered.
//!
//! Tests use it as their oracle, so it shares no code with the connector. One sequence counts mutations and calls
//! alike: a version lived during a walk exactly when it was born before the walk's first call and had not died when the
//! last one ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::time::{BeijingTime, Window};

use super::record::{Requisition, Text};
use super::render::{self, Dialect};
use super::stop::StopEffect;

/// A point in the sandbox's history: the order is by `seq`, which nothing else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The place in the history of all mutations and calls.
    pub seq: u64,
    /// The server's clock then.
    pub time: BeijingTime,
}

/// One version of a requisition and when it lived.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its full content.
    pub requisition: Arc<Requisition>,
    /// When it came to be; sequence 0 for what the world started with.
    pub born: Moment,
    /// When it was replaced or purged; `None` while it is current.
    pub died: Option<Moment>,
}

impl Version {
    /// Exactly the JSON object that a gateway of this dialect sends for it.
    pub fn to_json(&self, dialect: Dialect) -> String {
        let mut json = String::new();
        render::requisition(&mut json, &self.requisition, dialect);
        json
    }

    /// Whether it lived from the moment `from_seq` to the moment `to_seq`.
    pub fn lived_throughout(&self, from_seq: u64, to_seq: u64) -> bool {
        self.born.seq <= from_seq && self.died.is_none_or(|died| died.seq > to_seq)
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With rows.
    Answered,
    /// With a business error.
    Refused {
        /// The code of the error.
        code: i64,
        /// Its text.
        message: String,
    },
    /// With a fault of this name; the rows, if any, were what the answer would have held.
    Faulted(&'static str),
}

/// One call and its answer.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number, from 1, in order of arrival.
    pub nth: u64,
    /// When the server began to work on it: mutations between its two statements come after this.
    pub began: Moment,
    /// When the answer was complete.
    pub ended: Moment,
    /// Which method of the gateway, for example `purchase_apply_query.php`.
    pub method: String,
    /// Its parameters, signature and salt left out; of flagship also those in its `body`.
    pub params: BTreeMap<String, String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Number and modified time of every row of the answer, in its order.
    pub rows: Vec<(Text, BeijingTime)>,
    /// The total that the answer carried.
    pub total: Option<u64>,
}

/// What one call of the stop method did to one number, when it did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The number of the call, as [`Call::nth`].
    pub call: u64,
    /// The number of the requisition.
    pub number: Text,
    /// When: for an effect that came late, after the call had ended.
    pub moment: Moment,
    /// What.
    pub effect: StopEffect,
}

/// All versions and all calls of one world.
#[derive(Debug, Default)]
pub struct Journal {
    seq: u64,
    versions: Vec<Version>,
    by_number: HashMap<Text, Vec<usize>>,
    current: HashMap<i64, usize>,
    calls: Vec<Call>,
    stops: Vec<Stop>,
}

impl Journal {
    /// Every version, in the order of birth.
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Every call, in the order in which they ended.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// What the stop method did to each number that it was called with, in the order in which it did it.
    pub fn stops(&self) -> &[Stop] {
        &self.stops
    }

    /// The latest moment's place in the history; 0 before anything happened.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The versions of one requisition, oldest first.
    pub fn history(&self, number: &str) -> impl Iterator<Item = &Version> {
        self.by_number.get(number).into_iter().flatten().filter_map(|index| self.versions.get(*index))
    }

    /// The versions in `window` that lived during the whole of `from_seq..=to_seq`: what a walk between them must bring
    /// home.
    pub fn alive_throughout(&self, window: Window, from_seq: u64, to_seq: u64) -> impl Iterator<Item = &Version> {
        self.versions.iter().filter(move |version| {
            window.contains(version.requisition.modified) && version.lived_throughout(from_seq, to_seq)
        })
    }

    /// The versions with this number and modified time; more than one when it was edited twice within a second.
    pub fn held(&self, number: &str, modified: BeijingTime) -> impl Iterator<Item = &Version> {
        self.history(number).filter(move |version| version.requisition.modified == modified)
    }

    /// Whether the ERP ever held this number with this modified time.
    pub fn ever_held(&self, number: &str, modified: BeijingTime) -> bool {
        self.held(number, modified).next().is_some()
    }

    /// Takes the next place in the history.
    pub(super) fn tick(&mut self, time: BeijingTime) -> Moment {
        self.seq += 1;
        Moment { seq: self.seq, time }
    }

    /// Notes a new version; the one before it dies at the same moment.
    pub(super) fn born(&mut self, requisition: Arc<Requisition>, moment: Moment) {
        self.died(requisition.apply_id, moment);
        self.current.insert(requisition.apply_id, self.versions.len());
        self.by_number.entry(requisition.purchase_apply_no.clone()).or_default().push(self.versions.len());
        self.versions.push(Version { requisition, born: moment, died: None });
    }

    /// Notes that the current version of a requisition ended.
    pub(super) fn died(&mut self, apply_id: i64, moment: Moment) {
        let version = self.current.remove(&apply_id).and_then(|index| self.versions.get_mut(index));
        if let Some(version) = version {
            version.died = Some(moment);
        }
    }

    /// Notes a call that ended.
    pub(super) fn called(&mut self, call: Call) {
        self.calls.push(call);
    }

    /// Notes what a stop did to one number.
    pub(super) fn stopped(&mut self, stop: Stop) {
        self.stops.push(stop);
    }
}
