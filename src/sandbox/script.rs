//! What tests and options have in store for the calls to come: faults in a row, faults by choice, hooks, and the
//! behaviour of all.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::edition::Edition;
use crate::time::Window;

use super::dice::Dice;
use super::fault::Fault;
use super::hostile::{Behaviour, DriftMoment};
use super::world::World;

/// What a call asks for, as it arrived: not yet checked.
#[derive(Clone, Debug)]
pub struct CallInfo {
    /// Its number, from 1, in order of arrival.
    pub nth: u64,
    /// Which method of the gateway, for example `purchase_apply_query.php`.
    pub method: String,
    /// Its parameters, signature and salt left out; of flagship also those in its `body`.
    pub params: BTreeMap<String, String>,
    /// The window that it names, if it names one.
    pub window: Option<Window>,
}

impl CallInfo {
    /// The page that it asks for; 0 where it says nothing readable.
    pub fn page_no(&self) -> u64 {
        self.params.get("page_no").and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// What happens to the world at some point of a call. It runs while the world is locked: use the world that it is
/// given.
pub type Hook = Arc<dyn Fn(&mut World, &CallInfo) + Send + Sync>;
/// Chooses the fault of a call.
pub type Choice = Arc<dyn Fn(&CallInfo) -> Option<Fault> + Send + Sync>;

/// The hooks of all calls.
#[derive(Clone, Default)]
pub(super) struct Hooks {
    pub(super) before: Option<Hook>,
    pub(super) between: Option<Hook>,
    pub(super) after: Option<Hook>,
}

/// What is in store.
#[derive(Default)]
pub(super) struct Script {
    pub(super) behaviour: Arc<Behaviour>,
    pub(super) hooks: Hooks,
    pub(super) faults: VecDeque<Option<Fault>>,
    pub(super) choice: Option<Choice>,
    arrived: u64,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("behaviour", &self.behaviour)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl Script {
    /// Nothing in store but this behaviour.
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self { behaviour: Arc::new(behaviour), ..Self::default() }
    }

    /// The number of a call that arrives now.
    pub(super) fn arrive(&mut self) -> u64 {
        self.arrived += 1;
        self.arrived
    }

    /// Drops all that is in store; behaviour and count go on.
    pub(super) fn forget(&mut self) {
        (self.hooks, self.choice) = (Hooks::default(), None);
        self.faults.clear();
    }

    /// What this call meets at a gateway of this edition: the next fault in the row, else the chosen one, else one at
    /// random, else one of the oddities.
    pub(super) fn plan(&mut self, info: &CallInfo, edition: Edition) -> Plan {
        let behaviour = self.behaviour.clone();
        let mut dice = Dice::new(behaviour.seed, info.nth);
        let drawn = behaviour.faults.as_ref().filter(|faults| dice.happens(faults.probability));
        let drawn = drawn.and_then(|faults| dice.pick(&faults.kinds)).cloned();
        let fault = match self.faults.pop_front() {
            Some(scripted) => scripted,
            None => {
                let odd = || behaviour.oddities.fault(info.nth, edition);
                self.choice.as_ref().and_then(|choice| choice(info)).or(drawn).or_else(odd)
            }
        };
        let drifts = behaviour.drift.as_ref().is_some_and(|drift| dice.happens(drift.probability));
        Plan { behaviour, hooks: self.hooks.clone(), fault, drifts, dice }
    }
}

/// What one call meets.
pub(super) struct Plan {
    pub(super) behaviour: Arc<Behaviour>,
    pub(super) hooks: Hooks,
    pub(super) fault: Option<Fault>,
    pub(super) dice: Dice,
    drifts: bool,
}

impl Plan {
    /// What happens to the world before the call reads it with so many statements; a call that was refused has none.
    pub(super) fn before(&mut self, world: &mut World, info: &CallInfo, statements: usize) {
        if let Some(hook) = &self.hooks.before {
            hook(world, info);
        }
        let now = self.drift_moment() == Some(DriftMoment::BeforeTheCall);
        if statements == 1 || (statements > 1 && now) {
            self.strike(world, info);
        }
    }

    /// What happens to the world between the call's two statements.
    pub(super) fn between(&mut self, world: &mut World, info: &CallInfo) {
        if let Some(hook) = &self.hooks.between {
            hook(world, info);
        }
        if self.drift_moment() == Some(DriftMoment::BetweenStatements) {
            self.strike(world, info);
        }
    }

    /// What happens to the world when the answer stands.
    pub(super) fn after(&self, world: &mut World, info: &CallInfo) {
        if let Some(hook) = &self.hooks.after {
            hook(world, info);
        }
    }

    fn drift_moment(&self) -> Option<DriftMoment> {
        self.behaviour.drift.as_ref().map(|drift| drift.moment)
    }

    fn strike(&mut self, world: &mut World, info: &CallInfo) {
        if let (true, Some(drift), Some(window)) = (self.drifts, &self.behaviour.drift, info.window) {
            drift.strike(world, window, &mut self.dice);
        }
    }
}
