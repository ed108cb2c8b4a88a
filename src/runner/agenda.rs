//! What is going to be done at a time of its own.

use std::collections::BTreeMap;

use crate::claim::StepId;
use crate::config::Way;
use crate::driver::Action;
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
    /// When the last of everything known to come is due.
    horizon: Timestamp,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Timestamp, planned: Planned) {
        self.planned.insert((at, self.added), planned);
        self.added += 1;
        self.expect_until(at);
    }

    /// Things will be added up to this time.
    pub(super) fn expect_until(&mut self, at: Timestamp) {
        self.horizon = self.horizon.max(at);
    }

    /// The time of the next thing.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.planned.first_key_value().map(|(&(at, _), _)| at)
    }

    /// When the last of everything known to come is due, or was.
    pub(super) fn horizon(&self) -> Timestamp {
        self.horizon
    }

    pub(super) fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }

    /// Takes the next thing whose time has come.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Planned> {
        let first = self.planned.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// A way was mended before the second half of its fault, the cut after a hold, was due: that half is taken back.
    pub(super) fn mended(&mut self, way: Way) {
        self.planned.retain(|_, planned| {
            let Planned::Actions(_, actions) = planned else { return true };
            let cuts = actions.iter().any(|action| matches!(action, Action::Cut(_)));
            actions.retain(|action| !matches!(action, Action::Cut(cut) | Action::Release(cut) if cuts && *cut == way));
            !actions.is_empty()
        });
    }
}
