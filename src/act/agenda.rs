//! What is going to be done at a moment of its own.

use std::collections::BTreeMap;

use super::{Action, WayVerb};
use crate::config::ServerId;
use crate::time::Timestamp;

/// Things to do: some at a time, those of one time in the order in which they were added, and some once a server is linked.
#[derive(Debug)]
pub struct Agenda<T> {
    planned: BTreeMap<(Timestamp, u64), T>,
    added: u64,
    /// Waiting for the links of a server.
    linked: Vec<(ServerId, T)>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { planned: BTreeMap::new(), added: 0, linked: Vec::new() }
    }
}

impl<T> Agenda<T> {
    /// Adds a thing to do at a time.
    pub fn add(&mut self, at: Timestamp, thing: T) {
        self.planned.insert((at, self.added), thing);
        self.added += 1;
    }

    /// Adds a thing to do once every link of a server that can be up is up.
    pub fn add_linked(&mut self, server: ServerId, thing: T) {
        self.linked.push((server, thing));
    }

    /// Returns the time of the next thing that has one.
    pub fn next(&self) -> Option<Timestamp> {
        self.planned.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Returns `true` if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.planned.is_empty() && self.linked.is_empty()
    }

    /// Returns the things that wait for the links of a server, and the server.
    pub fn waiting(&self) -> impl Iterator<Item = (ServerId, &T)> {
        self.linked.iter().map(|(server, thing)| (*server, thing))
    }

    /// Returns all things to do.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.planned.values().chain(self.linked.iter().map(|(_, thing)| thing))
    }

    /// Returns `true` if [`Self::pop`] would give something.
    pub fn is_due(&self, now: Timestamp, is_linked: impl Fn(ServerId) -> bool) -> bool {
        self.next().is_some_and(|next| next <= now) || self.linked.iter().any(|(server, _)| is_linked(*server))
    }

    /// Takes the next thing whose moment has come. `is_linked` tells whether a server's links are up.
    pub fn pop(&mut self, now: Timestamp, is_linked: impl Fn(ServerId) -> bool) -> Option<T> {
        if let Some(first) = self.planned.first_entry().filter(|first| first.key().0 <= now) {
            return Some(first.remove());
        }
        let place = self.linked.iter().position(|(server, _)| is_linked(*server))?;
        Some(self.linked.remove(place).1)
    }

    /// Keeps the things for which `keep` returns `true`.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.planned.retain(|_, thing| keep(thing));
        self.linked.retain_mut(|(_, thing)| keep(thing));
    }
}

/// Takes out of `planned`, where it is the second half of a fault, a cut after a hold, what was `done` to the same ways before it
/// was due: no healed way is cut, and no way is released that was released or is held anew. Returns `false` if nothing is left
/// to do.
pub fn take_back<'a>(done: impl IntoIterator<Item = &'a Action>, planned: &mut Vec<Action>) -> bool {
    if planned.iter().any(|action| matches!(action, Action::Way(_, WayVerb::Cut))) {
        for action in done {
            let Action::Way(way, verb) = *action else { continue };
            let ends = |planned| match planned {
                WayVerb::Cut => matches!(verb, WayVerb::Heal | WayVerb::Release | WayVerb::Hold),
                WayVerb::Release => matches!(verb, WayVerb::Release | WayVerb::Hold),
                _ => false,
            };
            planned.retain(|action| !matches!(*action, Action::Way(other, verb) if other == way && ends(verb)));
        }
    }
    !planned.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Way;

    const WAY: Way = Way { from: ServerId(0), to: ServerId(1) };

    /// What is left of the second half of a partition once `verbs` were done.
    fn left(verbs: &[WayVerb]) -> Vec<Action> {
        let mut planned = [WAY, WAY.back()].map(|way| [WayVerb::Cut.on(way), WayVerb::Release.on(way)]).concat();
        let done: Vec<_> = verbs.iter().map(|verb| verb.on(WAY)).collect();
        assert!(take_back(&done, &mut planned));
        planned.retain(|action| matches!(action, Action::Way(way, _) if *way == WAY));
        planned
    }

    #[test]
    fn what_is_planned_for_a_way_is_taken_back_by_what_ends_it_and_no_way_stays_held() {
        assert_eq!(left(&[WayVerb::Heal]), [WayVerb::Release.on(WAY)]);
        assert_eq!(left(&[WayVerb::Release]), []);
        assert_eq!(left(&[WayVerb::Heal, WayVerb::Release]), []);
        assert_eq!(left(&[WayVerb::Hold]), []);
        assert_eq!(left(&[WayVerb::Cut]).len(), 2);
        let mut mending = vec![WayVerb::Release.on(WAY)];
        assert!(take_back(&[WayVerb::Release.on(WAY)], &mut mending) && mending.len() == 1);
    }
}
