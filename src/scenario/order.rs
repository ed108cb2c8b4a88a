//! Steps that make no sense after those before them: a start of what runs, a heal of what was never cut.
//!
//! Only what can never make sense is an error. A step that has a time of its own, or whose fault ends by itself, may or may not
//! have happened when a later one is done; what it does counts as possible from then on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Step, Task, When};
use crate::act::{Action, ServerVerb, Verb, WayVerb, Ways};
use crate::config::{ServerId, Topology, Way, Wiring};
use crate::diagnostic::Problem;

/// What some step before has done: for each thing, whether it is certainly so.
#[derive(Default)]
struct Before {
    ended: BTreeMap<ServerId, bool>,
    paused: BTreeMap<ServerId, bool>,
    /// Ways with a fault that this verb takes back.
    broken: BTreeMap<(Way, Word), bool>,
}

/// The word of a verb that takes faults back.
type Word = &'static str;

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
        if let Task::Herd(verb) = &step.task {
            let certain = step.when == When::InTurn && step.lasting.is_none();
            wrong.extend(before.wrong(verb, topology, wiring));
            before.note(verb, certain, topology, wiring);
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
    /// Returns what a verb needs that no step before it has done.
    fn wrong(&self, verb: &Verb, topology: &Topology, wiring: &Wiring) -> Option<Wrong> {
        match verb {
            Verb::Servers { verb, on } => on.iter().find_map(|server| self.wrong_server(*verb, server, topology)),
            Verb::Ways { verb: verb @ (WayVerb::Heal | WayVerb::Release), on } => {
                // `heal = "all"` releases, too.
                let takes_back = |taken: Word| taken == verb.spec().word || *on == Ways::All && *verb == WayVerb::Heal;
                let ways = on.of(wiring).unwrap_or_default();
                let found = self.broken.keys().any(|(way, taken)| takes_back(taken) && ways.contains(way));
                (!found).then(|| nothing_to_take_back(*verb))
            }
            Verb::Ways { .. } | Verb::Partition { .. } | Verb::RollingRestart { .. } => None,
        }
    }

    fn wrong_server(&self, verb: ServerVerb, server: &ServerId, topology: &Topology) -> Option<Wrong> {
        let name = topology.name(*server);
        match verb {
            ServerVerb::Start if !self.ended.contains_key(server) => {
                Some((format!("{name} runs: no step before this ends it"), "`kill` or `stop` it first"))
            }
            ServerVerb::Kill | ServerVerb::Stop if self.ended.get(server) == Some(&true) => {
                Some((format!("{name} is down already"), "`start` it first"))
            }
            ServerVerb::Resume if !self.paused.contains_key(server) => {
                Some((format!("{name} is not paused by any step before this"), "`pause` it first"))
            }
            _ => None,
        }
    }

    fn note(&mut self, verb: &Verb, certain: bool, topology: &Topology, wiring: &Wiring) {
        let Ok(plan) = verb.plan(topology, wiring) else { return };
        for action in &plan.now {
            self.note_action(action, certain);
        }
        for action in plan.later.iter().flat_map(|later| &later.actions) {
            self.note_action(action, false);
        }
    }

    fn note_action(&mut self, action: &Action, certain: bool) {
        match *action {
            Action::Server(server, verb) => match verb {
                ServerVerb::Kill | ServerVerb::Stop => drop(self.ended.insert(server, certain)),
                ServerVerb::Pause => drop(self.paused.insert(server, certain)),
                ServerVerb::Start | ServerVerb::Restart => mend(&mut self.ended, &server, certain),
                ServerVerb::Resume => mend(&mut self.paused, &server, certain),
                ServerVerb::Clock(_) => {}
            },
            Action::Way(way, verb) => match verb.mended_by() {
                Some(healing) => drop(self.broken.insert((way, healing.spec().word), certain)),
                None => mend(&mut self.broken, &(way, verb.spec().word), certain),
            },
            Action::Send { .. } | Action::Close(_) => {}
        }
    }
}

fn nothing_to_take_back(verb: WayVerb) -> Wrong {
    let faults = WayVerb::ALL.into_iter().filter(|fault| fault.mended_by() == Some(verb));
    let words: Vec<_> = faults.map(|fault| format!("`{}`", fault.spec().word)).collect();
    let title = format!("no step before this does what `{}` takes back: {}", verb.spec().word, words.join(", "));
    (title, if verb == WayVerb::Heal { "break it first; `release` ends a `hold`" } else { "`hold` it first" })
}

/// What is certainly mended is no more; otherwise it may still be broken.
fn mend<K: Ord>(broken: &mut BTreeMap<K, bool>, key: &K, certain: bool) {
    match broken.get_mut(key) {
        Some(true) if certain => drop(broken.remove(key)),
        Some(is_certain) => *is_certain = false,
        None => {}
    }
}
