//! Every order in which a command and the processes that it asks can do their steps, and in which they can be killed.
//!
//! However it goes, the processes that are left have all done their parts, or none has, and the command says which. A rule that is
//! taken away lets some have done it and some not.

use std::collections::VecDeque;

use hashbrown::HashSet;

/// Processes that have a part.
const PROCESSES: usize = 4;

/// What may be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The command waits until a process has taken the decision before it tells the next one.
    OneAfterTheOther,
    /// A process that finds out what was decided tells those before itself first.
    ToldOnTheWay,
    /// A process that is asked about an open promise gives it up.
    AskedDecides,
    /// A command that a process does not obey asks all what they have decided.
    CommandAsks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Unknown,
    Promised,
    Done,
    GivenUp,
    /// The process is dead.
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Command {
    /// Asks this process for its promise.
    Promise(usize),
    /// Has told the processes before this one, and tells it.
    Tell(usize),
    /// Waits until this process has taken the decision.
    Await(usize),
    /// Has to find out what the processes from this one on have decided. The one before has decided this.
    Settle(Walk),
    Succeeded,
    Failed,
    Dead,
}

/// A process that goes through the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Walk {
    next: usize,
    done: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    command: Command,
    /// A process that is there has taken the decision, or was told it and has died since.
    has_decided: bool,
    parts: [Part; PROCESSES],
    /// The decision is on its way.
    told: [bool; PROCESSES],
    /// What a process has answered to it.
    answers: [Option<bool>; PROCESSES],
    walks: [Option<Walk>; PROCESSES],
    kills: u8,
}

impl State {
    fn first() -> Self {
        Self {
            command: Command::Promise(0),
            has_decided: false,
            parts: [Part::Unknown; PROCESSES],
            told: [false; PROCESSES],
            answers: [None; PROCESSES],
            walks: [None; PROCESSES],
            kills: 2,
        }
    }

    /// Returns the state after `change`.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut state = self.clone();
        change(&mut state);
        state
    }

    /// What the command may do next.
    fn command_steps(&self, without: Option<Rule>) -> Vec<Self> {
        match self.command {
            Command::Promise(PROCESSES) => vec![self.with(|state| state.command = Command::Tell(0))],
            Command::Promise(process) if self.parts[process] == Part::Dead => {
                vec![self.with(|state| state.command = Command::Failed)]
            }
            Command::Promise(process) => vec![self.with(|state| {
                state.parts[process] = Part::Promised;
                state.command = Command::Promise(process + 1);
            })],
            Command::Tell(PROCESSES) => vec![self.with(|state| state.command = Command::Succeeded)],
            Command::Tell(process) => vec![self.with(|state| {
                state.told[process] = true;
                let is_awaited = without != Some(Rule::OneAfterTheOther);
                state.command = if is_awaited { Command::Await(process) } else { Command::Tell(process + 1) };
            })],
            Command::Await(process) => self.heard_from(process, without).into_iter().collect(),
            Command::Settle(Walk { next: PROCESSES, done }) => {
                vec![self.with(|state| state.command = if done { Command::Succeeded } else { Command::Failed })]
            }
            Command::Settle(Walk { next, done }) => vec![self.with(|state| {
                let done = state.ask(next, done, without).unwrap_or(done);
                state.command = Command::Settle(Walk { next: next + 1, done });
            })],
            Command::Succeeded | Command::Failed | Command::Dead => Vec::new(),
        }
    }

    fn heard_from(&self, process: usize, without: Option<Rule>) -> Option<Self> {
        let next = Command::Tell(process + 1);
        match (self.parts[process], self.answers[process]) {
            (Part::Dead, _) if self.has_decided => Some(self.with(|state| state.command = next)),
            (Part::Dead, _) | (_, Some(false)) if without != Some(Rule::CommandAsks) => {
                Some(self.with(|state| state.command = Command::Settle(Walk { next: 0, done: false })))
            }
            (Part::Dead, _) | (_, Some(false)) => Some(self.with(|state| state.command = Command::Failed)),
            (_, Some(true)) => Some(self.with(|state| (state.command, state.has_decided) = (next, true))),
            (_, None) => None,
        }
    }

    /// What a process may do next.
    fn steps_of(&self, process: usize, without: Option<Rule>) -> Vec<Self> {
        let mut next = Vec::new();
        let part = self.parts[process];
        if part == Part::Dead {
            return next;
        }
        if self.told[process] && self.walks[process].is_none() {
            next.push(self.with(|state| {
                state.told[process] = false;
                state.decide(process, true);
                state.answers[process] = Some(state.parts[process] == Part::Done);
            }));
        }
        // Its command has gone, or is not waited for any longer.
        if part == Part::Promised && self.walks[process].is_none() {
            next.push(self.with(|state| state.walks[process] = Some(Walk { next: 0, done: false })));
        }
        if let Some(walk) = self.walks[process] {
            next.push(self.with(|state| state.walk(process, walk, without)));
        }
        next
    }

    /// A process takes another step through the order.
    fn walk(&mut self, process: usize, walk: Walk, without: Option<Rule>) {
        let Walk { next, done } = walk;
        if next == process {
            self.decide(process, done);
            self.walks[process] = None;
            return;
        }
        let answer = self.ask(next, done, without);
        let goes_on = answer.is_none() || without != Some(Rule::ToldOnTheWay);
        let next = if goes_on { next + 1 } else { process };
        self.walks[process] = Some(Walk { next, done: answer.unwrap_or(done) });
    }

    /// Tells a process what to decide. Returns what it has decided.
    fn ask(&mut self, process: usize, done: bool, without: Option<Rule>) -> Option<bool> {
        match self.parts[process] {
            Part::Dead | Part::Unknown => None,
            Part::Promised if without == Some(Rule::AskedDecides) && !done => Some(false),
            _ => {
                self.decide(process, done);
                Some(self.parts[process] == Part::Done)
            }
        }
    }

    /// Decides about a promise, if it is open.
    fn decide(&mut self, process: usize, done: bool) {
        if self.parts[process] == Part::Promised {
            self.parts[process] = if done { Part::Done } else { Part::GivenUp };
        }
    }

    /// The command or a process is killed.
    fn kills(&self) -> Vec<Self> {
        if self.kills == 0 {
            return Vec::new();
        }
        let command = self.with(|state| (state.command, state.kills) = (Command::Dead, state.kills - 1));
        let is_over = matches!(self.command, Command::Dead | Command::Failed | Command::Succeeded);
        let processes = (0..PROCESSES).filter(|&process| self.parts[process] != Part::Dead);
        let processes = processes.map(|process| {
            self.with(|state| {
                state.kills -= 1;
                state.parts[process] = Part::Dead;
                (state.told[process], state.walks[process]) = (false, None);
            })
        });
        processes.chain(Some(command).filter(|_| !is_over)).collect()
    }

    /// Returns `true` if some processes that are left have done their parts and some have not, or the command says otherwise.
    fn is_wrong(&self) -> bool {
        let is_done = self.parts.contains(&Part::Done);
        let is_not = self.parts.iter().any(|part| matches!(part, Part::GivenUp | Part::Promised));
        match self.command {
            Command::Succeeded => is_not,
            Command::Failed => is_done,
            _ => is_done && is_not,
        }
    }
}

/// Follows every order of steps. Returns an end that is wrong, if there is one.
fn explore(without: Option<Rule>) -> Option<State> {
    let mut seen: HashSet<State> = HashSet::from([State::first()]);
    let mut open = VecDeque::from([State::first()]);
    while let Some(state) = open.pop_front() {
        let processes = (0..PROCESSES).flat_map(|process| state.steps_of(process, without));
        let steps: Vec<State> = state.command_steps(without).into_iter().chain(processes).collect();
        if steps.is_empty() && state.is_wrong() {
            return Some(state);
        }
        for next in steps.into_iter().chain(state.kills()) {
            if seen.insert(next.clone()) {
                open.push_back(next);
            }
        }
    }
    assert!(seen.len() > 10_000, "{}", seen.len());
    None
}

#[test]
fn whoever_is_killed_the_processes_that_are_left_have_all_done_it_or_none_has() {
    assert_eq!(explore(None), None);
}

#[test]
fn without_any_of_its_rules_some_processes_have_done_it_and_some_have_not() {
    for rule in [Rule::OneAfterTheOther, Rule::ToldOnTheWay, Rule::AskedDecides, Rule::CommandAsks] {
        assert!(explore(Some(rule)).is_some(), "{rule:?}");
    }
}
