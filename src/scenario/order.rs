//! Steps that make no sense after those before them: a start of what runs, a heal of what was never cut.
//!
//! Only what can never make sense is an error. A step that has a time of its own, or whose fault ends by itself, may or may not
//! have happened when a later one is done; what it does counts as possible from then on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Step, Task, When};
use crate::config::{ServerId, Topology, Way, Wiring};
use crate::diagnostic::Problem;
use crate::driver::Action;
use crate::herd::{Verb, Ways};

/// What some step before has done: for each thing, whether it is certainly so.
#[derive(Default)]
struct Before {
    ended: BTreeMap<ServerId, bool>,
    paused: BTreeMap<ServerId, bool>,
    broken: BTreeMap<Way, bool>,
    held: BTreeMap<Way, bool>,
}

/// What is wrong with a step, and what to do.
type Wrong = (String, &'static str);

/// What cannot be, among the steps that stand in the file itself.
pub(super) fn problems(
    steps: &[Step],
    deadline: Option<Duration>,
    topology: &Topology,
    wiring: &Wiring,
) -> Vec<Problem> {
    let mut before = Before::default();
    let mut problems = Vec::new();
    // What the steps in turn take at least.
    let mut passed = Duration::ZERO;
    for step in in_time(steps) {
        let mut wrong: Vec<Wrong> = too_late(step, &mut passed, deadline).into_iter().collect();
        if let Task::Herd(verbs) = &step.task {
            let certain = step.when == When::InTurn && step.lasting.is_none();
            for verb in verbs {
                wrong.extend(before.wrong(verb, topology, wiring));
                before.note(verb, certain, topology, wiring);
            }
        }
        let own = wrong.into_iter().filter(|_| step.shown.file.is_none());
        problems.extend(own.map(|(title, help)| Problem::error(step.span.clone(), title).help(help)));
    }
    problems
}

/// Steps in the order in which they are done: those with a time among each other by time, all others as they stand.
fn in_time<'a>(steps: &'a [Step]) -> Vec<&'a Step> {
    let at = |step: &Step| match step.when {
        When::At(at) => Some(at),
        _ => None,
    };
    let mut timed: Vec<&Step> = steps.iter().filter(|step| at(step).is_some()).collect();
    timed.sort_by_key(|step| at(step));
    let mut timed = timed.into_iter();
    let next = |step: &'a Step| if at(step).is_some() { timed.next() } else { Some(step) };
    steps.iter().filter_map(next).collect()
}

/// Whether a step can only be done after the scenario's deadline.
fn too_late(step: &Step, passed: &mut Duration, deadline: Option<Duration>) -> Option<Wrong> {
    let due = match step.when {
        When::InTurn => {
            *passed += step.asked();
            *passed
        }
        When::At(at) => at,
        When::After(after) => *passed + after,
        When::Milestone(_) => *passed,
    };
    let late = deadline.is_some_and(|deadline| due >= deadline && due > Duration::ZERO);
    late.then(|| ("this ends only after the scenario's deadline".to_owned(), "raise `deadline`, or do it earlier"))
}

impl Before {
    /// What a verb needs and no step before it has done.
    fn wrong(&self, verb: &Verb, topology: &Topology, wiring: &Wiring) -> Option<Wrong> {
        let name = |server: &ServerId| topology.name(*server).clone();
        match verb {
            Verb::Start(server) if !self.ended.contains_key(server) => {
                Some((format!("{} runs: no step before this ends it", name(server)), "`kill` or `stop` it first"))
            }
            Verb::Kill(server) | Verb::Stop(server) if self.ended.get(server) == Some(&true) => {
                Some((format!("{} is down already", name(server)), "`start` it first"))
            }
            Verb::Resume(server) if !self.paused.contains_key(server) => {
                Some((format!("{} is not paused by any step before this", name(server)), "`pause` it first"))
            }
            Verb::Heal(which) if !self.can_heal(*which, wiring) => Some((
                "no step before this cuts, slows or half-opens what is healed".into(),
                "break it first; `release` ends a `hold`",
            )),
            Verb::Release(which) if !which.of(wiring).iter().any(|way| self.held.contains_key(way)) => {
                Some(("no step before this holds what is released".into(), "`hold` it first"))
            }
            _ => None,
        }
    }

    fn can_heal(&self, which: Ways, wiring: &Wiring) -> bool {
        // `heal = "all"` releases, too.
        let held = which == Ways::All && !self.held.is_empty();
        held || which.of(wiring).iter().any(|way| self.broken.contains_key(way))
    }

    fn note(&mut self, verb: &Verb, certain: bool, topology: &Topology, wiring: &Wiring) {
        for action in verb.actions(topology, wiring) {
            self.note_action(&action, certain);
        }
        let later = verb.later(topology, wiring).map_or_else(Vec::new, |(_, actions)| actions);
        for action in later {
            self.note_action(&action, false);
        }
    }

    fn note_action(&mut self, action: &Action, certain: bool) {
        match *action {
            Action::Kill(server) | Action::Stop(server) => drop(self.ended.insert(server, certain)),
            Action::Pause(server) => drop(self.paused.insert(server, certain)),
            Action::Cut(way) | Action::Slow(way, _) | Action::HalfOpen(way) => drop(self.broken.insert(way, certain)),
            Action::Hold(way) => drop(self.held.insert(way, certain)),
            Action::Start(server) | Action::Restart(server) => mend(&mut self.ended, &server, certain),
            Action::Resume(server) => mend(&mut self.paused, &server, certain),
            Action::Heal(way) => mend(&mut self.broken, &way, certain),
            Action::Release(way) => mend(&mut self.held, &way, certain),
            _ => {}
        }
    }
}

/// What is certainly mended is no more; otherwise it may still be broken.
fn mend<K: Ord>(broken: &mut BTreeMap<K, bool>, key: &K, certain: bool) {
    match broken.get_mut(key) {
        Some(true) if certain => drop(broken.remove(key)),
        Some(is_certain) => *is_certain = false,
        None => {}
    }
}
