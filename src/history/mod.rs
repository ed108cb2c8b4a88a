//! What happened in one run, as values: the only thing that checks and reports read.
//!
//! Not here: who records it (the runner), and what it is worth ([`crate::checker`]).

#[cfg(test)]
pub(crate) mod build;
pub mod json;

use std::sync::Arc;
use std::time::Duration;

use crate::act::{Action, Hit, SessionId};
use crate::claim::{Check, StepId, Threshold, Verdict};
use crate::config::{Link, Redial, ServerId, Strategy, Topology};
use crate::driver::{Event, Observation};
use crate::time::Timestamp;

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// What was run. Shared between all seeds of a case.
    pub origin: Arc<Origin>,
    /// Of every random draw.
    pub seed: u64,
    /// When the run began, by the driver's time. Times are told to people counted from here.
    pub started: Timestamp,
    /// What happened, in order; times never go back.
    pub entries: Vec<Entry>,
}

/// What was run, and everything else that somebody who judges the run later has to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// What the scenario says it shows.
    pub title: String,
    /// The scenario file, as it was named.
    pub scenario: Option<String>,
    /// What ran the herd.
    pub driver: DriverKind,
    /// How updates travel.
    pub strategy: Strategy,
    /// Names of the servers, by [`ServerId`].
    pub servers: Vec<Arc<str>>,
    /// How far each server's clock is ahead at the start, in nanoseconds, by [`ServerId`].
    pub clocks: Vec<i64>,
    /// Who talks with whom under the strategy ([`Topology::effective_links`]).
    pub links: Vec<Link>,
    /// How long a server waits before it dials again.
    pub redial: Redial,
    /// Clients that a server remembers at most.
    pub max_records: usize,
    /// The script, by [`StepId`].
    pub steps: Vec<Step>,
    /// What must hold.
    pub checks: Vec<Check>,
    /// What the numbers must be.
    pub thresholds: Vec<Threshold>,
}

/// What ran the herd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriverKind {
    /// Real sockets on this machine.
    Loopback,
    /// Virtual time.
    Simulated,
}

/// One step, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Step {
    /// What it does, in one line: `cut Bona-Clark`.
    pub text: String,
    /// The file it stands in, when that is not the scenario itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of the file, counted from 1.
    pub line: u32,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// By the driver's time.
    pub at: Timestamp,
    /// The step that did it, or that was under way when it was seen; `None` before the first and after the last. What a
    /// step does later (a fault on a milestone, the mending of a fault with an end) is still that step's.
    pub step: Option<StepId>,
    /// What.
    pub fact: Fact,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// The entry's step began. A check "at a step" is judged by what stands before this.
    StepBegan,
    /// The entry's step is done.
    StepEnded,
    /// Something was done to the herd, a client's command among it. A fault is known by the step that did it.
    Did {
        /// What.
        action: Action,
        /// What it hit at once.
        hit: Hit,
    },
    /// The driver saw something.
    Saw(Event),
    /// A connection belongs to this talker. Connections of one talker are one session to the session guarantees
    /// (`monotonic_reads`, `read_your_writes`); a connection without this fact is a talker of its own.
    Opened {
        /// The connection.
        session: SessionId,
        /// Whose it is, by a name the scenario gives.
        talker: Arc<str>,
    },
    /// Whether nothing was in flight and nothing due at this moment; asked after a wait for it, and at the end.
    Quiescent(bool),
    /// The script compared what it got with what it wanted.
    Compared(Comparison),
    /// The script waited for time to pass, and for nothing else, this long.
    Waited(Duration),
}

/// What a script wanted at a step, and what it got.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Comparison {
    /// What was compared: `reply`, `deadline`, `milestone`.
    pub name: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub actual: String,
    /// Passed when it is as it should be; unproven when what should have been compared never came about.
    pub verdict: Verdict,
}

impl History {
    /// A history in which nothing has happened yet.
    pub fn new(origin: Arc<Origin>, seed: u64, started: Timestamp) -> Self {
        Self { origin, seed, started, entries: Vec::new() }
    }

    /// Appends what a step did or what was seen while it was under way.
    pub fn push(&mut self, at: Timestamp, step: Option<StepId>, fact: Fact) {
        self.entries.push(Entry { at, step, fact });
    }

    /// Appends what the driver saw while `step` was under way.
    pub fn saw(&mut self, step: Option<StepId>, observation: Observation) {
        self.push(observation.at, step, Fact::Saw(observation.event));
    }

    /// When the last thing happened.
    pub fn ended(&self) -> Timestamp {
        self.entries.last().map_or(self.started, |entry| entry.at)
    }
}

impl Origin {
    /// A run of a herd without a script.
    pub fn new(title: impl Into<String>, driver: DriverKind, topology: &Topology) -> Self {
        Self {
            title: title.into(),
            scenario: None,
            driver,
            strategy: topology.strategy,
            servers: topology.servers.iter().map(|server| server.name.clone()).collect(),
            clocks: topology.servers.iter().map(|server| server.clock_offset).collect(),
            links: topology.effective_links(),
            redial: topology.redial,
            max_records: topology.limits.records,
            steps: Vec::new(),
            checks: Vec::new(),
            thresholds: Vec::new(),
        }
    }

    /// The name of a server.
    pub fn name(&self, server: ServerId) -> &str {
        &self.servers[server.index()]
    }

    /// The server called `name`.
    pub fn server(&self, name: &str) -> Option<ServerId> {
        self.servers.iter().position(|server| &**server == name).map(|index| ServerId(index as u32))
    }

    /// The line of the scenario that a step stands in; `None` when that is another file.
    pub fn line(&self, step: Option<StepId>) -> Option<u32> {
        let step = self.steps.get(step?.index())?;
        step.file.is_none().then_some(step.line)
    }

    /// Lines that flooding sends for one update when nothing fails: 2E-N+1, which is one over each way but those back
    /// over which a server first heard of it.
    pub fn lines_of_flood(&self) -> u64 {
        (2 * self.links.len() as u64 + 1).saturating_sub(self.servers.len() as u64)
    }

    /// Lines that any strategy needs for one update at least: N-1.
    pub fn lines_of_tree(&self) -> u64 {
        (self.servers.len() as u64).saturating_sub(1)
    }
}
