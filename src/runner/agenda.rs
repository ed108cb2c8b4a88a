//! What is going to be done at a time of its own.

use std::collections::BTreeMap;

use crate::driver::Action;
use crate::history::StepId;
use crate::time::Timestamp;

/// One thing to do.
#[derive(Debug)]
pub(super) enum Planned {
    /// A step that has a time.
    Step(StepId),
    /// What a step leads to later: the mending of its fault.
    Actions(StepId, Vec<Action>),
    /// The next command of a workload.
    Command(StepId),
}

/// Things to do by time; of one time, those planned first.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    planned: BTreeMap<(Timestamp, u64), Planned>,
    added: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Timestamp, planned: Planned) {
        self.planned.insert((at, self.added), planned);
        self.added += 1;
    }

    /// The time of the next thing.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.planned.first_key_value().map(|(&(at, _), _)| at)
    }

    /// The time of the last thing.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.planned.last_key_value().map(|(&(at, _), _)| at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }

    /// Takes the next thing whose time has come.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Planned> {
        let first = self.planned.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}
