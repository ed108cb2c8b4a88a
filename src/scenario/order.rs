//! Steps that make no sense after those before them: a start of what runs, a heal of what was never cut.
//!
//! Only what can never make sense is an error: whether a fault still lasts when it is mended may depend on time.

use std::collections::BTreeSet;

use super::{Step, Task, When};
use crate::config::{ServerId, Topology};
use crate::diagnostic::Problem;
use crate::driver::{Action, Way, Wiring};
use crate::herd::Verb;

/// What some step before has done.
#[derive(Default)]
struct Before {
    ended: BTreeSet<ServerId>,
    paused: BTreeSet<ServerId>,
    broken: BTreeSet<Way>,
    held: BTreeSet<Way>,
}

/// What cannot be, among the steps that stand in the file itself.
pub(super) fn problems(
    steps: &[Step],
    deadline: Option<std::time::Duration>,
    topology: &Topology,
    wiring: &Wiring,
) -> Vec<Problem> {
    let mut before = Before::default();
    let mut problems = Vec::new();
    for step in steps {
        let mut found = Vec::new();
        if let (When::At(at), Some(deadline)) = (&step.when, deadline)
            && *at >= deadline
        {
            found.push((
                "this is due only after the scenario's deadline".to_owned(),
                "raise `deadline`, or do it earlier",
            ));
        }
        if let Task::Herd(verbs) = &step.task {
            for verb in verbs {
                found.extend(before.missing(verb, topology, wiring));
                before.note(verb, topology, wiring);
            }
        }
        let own = found.into_iter().filter(|_| step.shown.file.is_none());
        problems.extend(own.map(|(title, help)| Problem::error(step.span.clone(), title).help(help)));
    }
    problems
}

impl Before {
    /// What a verb needs and no step before it has done.
    fn missing(&self, verb: &Verb, topology: &Topology, wiring: &Wiring) -> Option<(String, &'static str)> {
        let name = |server: &ServerId| topology.name(*server).clone();
        let ways = |ways: &crate::herd::Ways| ways.of(wiring);
        match verb {
            Verb::Start(server) if !self.ended.contains(server) => {
                Some((format!("{} runs: no step before this ends it", name(server)), "`kill` or `stop` it first"))
            }
            Verb::Resume(server) if !self.paused.contains(server) => {
                Some((format!("{} is not paused by any step before this", name(server)), "`pause` it first"))
            }
            Verb::Heal(which)
                if !ways(which).iter().any(|way| self.broken.contains(way) || self.is_held_and_all(which, way)) =>
            {
                Some((
                    "no step before this cuts, slows or half-opens what is healed".into(),
                    "break it first; `release` ends a `hold`",
                ))
            }
            Verb::Release(which) if !ways(which).iter().any(|way| self.held.contains(way)) => {
                Some(("no step before this holds what is released".into(), "`hold` it first"))
            }
            _ => None,
        }
    }

    /// `heal = "all"` releases, too.
    fn is_held_and_all(&self, which: &crate::herd::Ways, way: &Way) -> bool {
        *which == crate::herd::Ways::All && self.held.contains(way)
    }

    fn note(&mut self, verb: &Verb, topology: &Topology, wiring: &Wiring) {
        let now = verb.actions(topology, wiring);
        let later = verb.later(topology, wiring).map_or_else(Vec::new, |(_, actions)| actions);
        for action in now.into_iter().chain(later) {
            match action {
                Action::Kill(server) | Action::Stop(server) => drop(self.ended.insert(server)),
                Action::Pause(server) => drop(self.paused.insert(server)),
                Action::Cut(way) | Action::Slow(way, _) | Action::HalfOpen(way) => drop(self.broken.insert(way)),
                Action::Hold(way) => drop(self.held.insert(way)),
                _ => {}
            }
        }
    }
}
