//! A scenario: what is done to a herd and what must come of it, validated against that herd.
//!
//! Not here: the text it is read from, and doing it ([`crate::runner`]).

mod check;
mod expand;
mod fault;
mod names;
mod order;
mod read;
mod reply;
mod schema;
mod step;
mod talk;
#[cfg(test)]
mod tests;
mod times;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::act::Verb;
use crate::claim::{Check, Threshold};
use crate::config::{ServerId, Topology, Way};
use crate::history::{self, DriverKind};

pub use expand::Variables;
pub use read::{Cases, Overrides, is_scenario, load, parse};
pub use reply::{Expectation, Field};
pub use schema::schema;

/// How long a step may take that does not say otherwise, by the driver's time.
pub const STEP_DEADLINE: Duration = Duration::from_secs(10);

/// One case of a scenario file: the file with every variable, every repetition and the matrix settled.
#[derive(Debug, Clone)]
pub struct Script {
    /// What the scenario says it shows.
    pub title: String,
    /// Lesson of the scenario, in a sentence.
    pub teaches: Option<String>,
    /// The file, as it was named.
    pub file: PathBuf,
    /// What tells this case from others of the same file, like `strategy=flood`; empty when it is the only one.
    pub case: String,
    /// The herd, with the scenario's overrides.
    pub topology: Arc<Topology>,
    /// Drivers it can run on; all unless the file says otherwise.
    pub drivers: Vec<DriverKind>,
    /// How long the whole scenario may take, by the driver's time; `None`: as long as its steps may.
    pub deadline: Option<Duration>,
    /// In the order of the file.
    pub steps: Vec<Step>,
    /// What must hold, the checks of steps among it.
    pub checks: Vec<Check>,
    /// What the numbers must be.
    pub thresholds: Vec<Threshold>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// As people see it.
    pub shown: history::Step,
    /// Where its action stands in its file, in bytes: what a caret points at.
    pub span: std::ops::Range<usize>,
    /// When it is done. The script does not wait for a step that is not done in turn.
    pub when: When,
    /// What is done.
    pub task: Task,
    /// After what time a fault is mended by itself.
    pub lasting: Option<Duration>,
    /// How long it may take. Time that it is asked to take, like that of a wait, comes on top.
    pub deadline: Duration,
}

/// When a step is done.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum When {
    /// When the step before is done.
    #[default]
    InTurn,
    /// This long after the script began.
    At(Duration),
    /// This long after its turn.
    After(Duration),
    /// When this has happened, counted from its turn.
    Milestone(Milestone),
}

/// Something that is going to happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Milestone {
    /// So many lines have been seen.
    Lines {
        /// At least 1.
        count: u64,
        /// What is counted.
        kind: LineKind,
        /// On which ways; of lines from clients, the server is `to`.
        on: Vec<Way>,
        /// Only lines about this client.
        client: Option<Arc<str>>,
    },
    /// Servers hold what was last acknowledged about a client, or newer.
    Record {
        /// The client.
        client: Arc<str>,
        /// All of these; at least one.
        on: Vec<ServerId>,
    },
}

/// What a milestone counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LineKind {
    /// Lines written to a neighbour.
    Sent,
    /// Lines read from a neighbour.
    Heard,
    /// Lines not written because the way was down.
    Missed,
    /// `IAMAT`s taken.
    Accepted,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// A client says something.
    Talk(Talk),
    /// Many clients say many things.
    Workload(Workload),
    /// A client hangs up.
    Close {
        /// Which connection.
        session: SessionKey,
    },
    /// Something is done to the herd.
    Herd(Verb),
    /// The script waits for something to happen.
    Until(Until),
    /// The script waits for time to pass.
    Wait(Duration),
    /// Nothing is done: checks refer to this moment.
    Check,
}

/// What a script waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Until {
    /// Nothing is in flight and nothing is due in the herd. What the script itself will do later does not count.
    Quiescent,
    /// Everything planned has happened: steps with a time, the mending of faults, workloads.
    Done,
    /// This.
    Milestone(Milestone),
}

/// A connection, by who uses it. Named or not, it leads to one server: sessions of one name at two servers are two
/// connections of one talker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey {
    /// Its name in the file; `None`: the one connection to the server that steps without a name share.
    pub name: Option<Arc<str>>,
    /// The server.
    pub via: ServerId,
}

/// What one client says.
#[derive(Debug, Clone, PartialEq)]
pub struct Talk {
    /// Over which connection.
    pub session: SessionKey,
    /// What.
    pub said: Said,
    /// Whether the client closes its writing side afterwards.
    pub finish: bool,
    /// How many replies come, if the connection lasts.
    pub replies: u64,
    /// What the last reply must be like.
    pub expect: Option<Expectation>,
}

/// What one client says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// An `IAMAT`.
    Iamat {
        /// Who.
        client: Arc<str>,
        /// Where, as it is written.
        location: Arc<str>,
        /// When.
        time: ClientTime,
    },
    /// These bytes, line ends included.
    Bytes(Bytes),
}

/// The time a client states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientTime {
    /// What its clock shows, which is this many nanoseconds ahead of the driver's time. Two times of one run are never
    /// the same.
    Clock(i64),
    /// This text.
    Text(Arc<str>),
}

/// Many clients that talk at a steady rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// Commands a second, above 0, evenly spaced.
    pub rate: f64,
    /// Commands in all.
    pub count: u64,
    /// How many clients; they are called `PREFIX-1`, `PREFIX-2`, and so on.
    pub clients: u32,
    /// What their names begin with.
    pub prefix: Arc<str>,
    /// The servers they talk to; at least one.
    pub via: Vec<ServerId>,
    /// Which part of the commands reads, 0 to 1.
    pub reads: f64,
    /// Who writes and about whom is asked.
    pub keys: Keys,
    /// How likely a client goes to another server before a command, 0 to 1.
    pub moves: f64,
    /// Whether the script goes on while it runs.
    pub background: bool,
}

/// How the client of a command is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// Every client is as likely as every other.
    #[default]
    Random,
    /// The n-th client is drawn in proportion to 1/n (Zipf's law with exponent 1): few are busy, most are not.
    Skewed,
    /// One after the other.
    Sequential,
}

impl Workload {
    /// How long it takes to say everything.
    pub fn duration(&self) -> Duration {
        self.planned(self.count)
    }

    /// How long after its start the command with this number, counted from 0, is said.
    pub fn planned(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }
}

impl Step {
    /// How long it is asked to take, whatever happens.
    pub fn asked(&self) -> Duration {
        match &self.task {
            Task::Wait(duration) => *duration,
            Task::Workload(workload) if !workload.background => workload.duration(),
            _ => Duration::ZERO,
        }
    }
}

impl Script {
    /// The file and the case, as in `scenarios/partition.toml[strategy=flood]`.
    pub fn name(&self) -> String {
        let file = self.file.display();
        if self.case.is_empty() { file.to_string() } else { format!("{file}[{}]", self.case) }
    }

    /// What a history of this script says about it.
    pub fn origin(&self, driver: DriverKind) -> history::Origin {
        history::Origin {
            scenario: Some(self.file.display().to_string()),
            steps: self.steps.iter().map(|step| step.shown.clone()).collect(),
            checks: self.checks.clone(),
            thresholds: self.thresholds.clone(),
            ..history::Origin::new(self.title.clone(), driver, &self.topology)
        }
    }
}
