//! What happened in one run, as values: the only thing that checks and reports read.
//!
//! The runner and the owner of a live herd record it. What it is worth is decided by [`crate::checker`]. Its JSON is described in
//! `docs/history.md`.

#[cfg(test)]
pub(crate) mod build;
mod entry;
mod event;
mod header;
pub mod json;

use std::sync::Arc;

pub use entry::{Comparison, Entry, Fact};
pub use event::{Event, Hop, Observation};

use crate::claim::{Assertion, Check, StepId, Threshold};
use crate::config::{Link, Redial, ReplyMode, ServerId, Spread, Strategy, Topology};
use crate::time::Timestamp;

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// What was run. Shared between all seeds of a case.
    pub origin: Arc<Origin>,
    /// Seed of all random draws.
    pub seed: u64,
    /// Time at which the herd began to start, by the driver's clock. All times of reports count from here.
    pub started: Timestamp,
    /// Time at which all links were up for the first time. `None` if they were not yet.
    pub linked: Option<Timestamp>,
    /// What happened, in order.
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
    /// When a server answers a client's `IAMAT`.
    pub reply: ReplyMode,
    /// Names of the servers, by [`ServerId`].
    pub servers: Vec<Arc<str>>,
    /// How far each server's clock is ahead at the start, in nanoseconds, by [`ServerId`].
    pub clocks: Vec<i64>,
    /// How much of each server the driver saw, by [`ServerId`].
    pub sights: Vec<Sight>,
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
    /// Processes that ran already, each with a server of its own or one with all.
    Remote,
}

/// How much of a server the driver of a run saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// Everything: the server itself told what it took, sent and heard.
    #[default]
    Inside,
    /// Only what it says to those who ask it.
    Outside,
}

/// One step, as people see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it does, in one line: `cut Bona-Clark`.
    pub text: String,
    /// The file it stands in, when that is not the scenario itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of the file, counted from 1.
    pub line: u32,
}

impl History {
    /// A history in which nothing has happened yet.
    pub fn new(origin: Arc<Origin>, seed: u64, started: Timestamp) -> Self {
        Self { origin, seed, started, linked: None, entries: Vec::new() }
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
            reply: topology.reply.unwrap_or_default(),
            servers: topology.servers.iter().map(|server| server.name.clone()).collect(),
            clocks: topology.servers.iter().map(|server| server.clock_offset).collect(),
            sights: vec![Sight::Inside; topology.servers.len()],
            links: topology.effective_links(),
            redial: topology.redial,
            max_records: topology.limits.records,
            steps: Vec::new(),
            checks: Vec::new(),
            thresholds: Vec::new(),
        }
    }

    /// Returns the origin of a herd that people run, with the claims that hold of every herd.
    pub fn live(topology: &Topology) -> Self {
        let mut origin = Self::new(topology.name.clone(), DriverKind::Loopback, topology);
        origin.checks = Assertion::ALWAYS.map(|assertion| Check::implied(assertion, &origin.servers)).into();
        origin
    }

    /// Returns `true` if the driver saw a server from outside only.
    pub fn is_outside(&self, server: ServerId) -> bool {
        self.sights[server.index()] == Sight::Outside
    }

    /// Returns `true` if the driver saw any server from outside only.
    pub fn has_outside(&self) -> bool {
        self.sights.contains(&Sight::Outside)
    }

    /// The name of a server.
    pub fn name(&self, server: ServerId) -> &str {
        &self.servers[server.index()]
    }

    /// The server called `name`.
    pub fn server(&self, name: &str) -> Option<ServerId> {
        self.servers.iter().position(|server| &**server == name).map(|index| ServerId(index as u32))
    }

    /// Returns the server called `name`, or an error that says so.
    fn named(&self, name: &str) -> Result<ServerId, String> {
        self.server(name).ok_or_else(|| json::unknown(name))
    }

    /// The line of the scenario that a step stands in; `None` when that is another file.
    pub fn line(&self, step: Option<StepId>) -> Option<u32> {
        let step = self.steps.get(step?.index())?;
        step.file.is_none().then_some(step.line)
    }

    /// Lines that flooding sends for one update when nothing fails: 2E-N+1, which is one over each way but those back
    /// over which a server first heard of it.
    pub fn lines_of_flood(&self) -> u64 {
        Spread::Flood.lines_per_update(self.servers.len() as u64, self.links.len() as u64)
    }

    /// Lines that any strategy needs for one update at least: N-1.
    pub fn lines_of_tree(&self) -> u64 {
        Spread::Tree.lines_per_update(self.servers.len() as u64, self.links.len() as u64)
    }
}
