//! What is going to be done at a moment of its own.

use std::collections::BTreeMap;

use super::{Action, WayFaults, WayVerb};
use crate::time::Timestamp;

/// Things to do by time, those of one time in the order in which they were added.
#[derive(Debug)]
pub struct Agenda<T> {
    planned: BTreeMap<(Timestamp, u64), T>,
    added: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { planned: BTreeMap::new(), added: 0 }
    }
}

impl<T> Agenda<T> {
    /// Adds a thing to do at a time.
    pub fn add(&mut self, at: Timestamp, thing: T) {
        self.planned.insert((at, self.added), thing);
        self.added += 1;
    }

    /// Returns the time of the next thing.
    pub fn next(&self) -> Option<Timestamp> {
        self.planned.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Returns `true` if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }

    /// Takes the next thing whose time has come.
    pub fn pop(&mut self, now: Timestamp) -> Option<T> {
        let first = self.planned.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// Keeps the things for which `keep` returns `true`.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.planned.retain(|_, thing| keep(thing));
    }
}

impl Action {
    /// Takes out of `planned` the second half of a fault, a cut after a hold, that `self` takes back before it was due.
    /// Returns `false` if nothing is left to do.
    pub fn take_back(&self, planned: &mut Vec<Action>) -> bool {
        let Action::Way(way, verb) = *self else { return true };
        let takes_back = [WayVerb::Cut, WayVerb::Hold].into_iter().any(|fault| WayFaults::ends(verb, fault));
        let cuts = planned.iter().any(|action| matches!(action, Action::Way(_, WayVerb::Cut)));
        if takes_back && cuts {
            planned.retain(
                |action| !matches!(*action, Action::Way(other, WayVerb::Cut | WayVerb::Release) if other == way),
            );
        }
        !planned.is_empty()
    }
}
