//! Whether a run did what it should: a pure function from a history to a judgement that explains itself.
//!
//! Not here: anything that runs, and how a judgement is shown ([`crate::report`]). A property that does not hold is a
//! [`Verdict`], never an error.

mod assertion;
pub mod metric;
pub mod words;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

pub use assertion::{Assertion, ConvergedMode, Scope, VersionBound};
pub use metric::{Metric, Threshold};

use crate::history::{History, StepId};

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What.
    pub assertion: Assertion,
    /// When.
    pub when: When,
    /// The step that asks for it; `None`: the scenario as a whole. Needed by [`When::Here`] and [`When::FromHere`].
    pub step: Option<StepId>,
    /// Whether it must be violated, as `expect = "violated: NAME"` says: a known counterexample.
    pub inverted: bool,
    /// What is asserted, in words.
    pub statement: Arc<str>,
}

/// The part of a run that a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// The moment at which the check's step begins; what holds continuously, up to that moment.
    Here,
    /// From the moment at which the check's step begins to the end.
    FromHere,
    /// The end; what holds continuously, from beginning to end.
    #[default]
    End,
}

impl Check {
    /// A check of a herd whose servers have these names.
    pub fn new(assertion: Assertion, when: When, step: Option<StepId>, servers: &[Arc<str>]) -> Self {
        let statement = assertion.statement(servers).into();
        Self { assertion, when, step, inverted: false, statement }
    }

    /// The same, to be violated.
    pub fn inverted(mut self) -> Self {
        self.inverted = !self.inverted;
        self
    }
}

/// What a run is worth.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything asserted holds.
    Passed,
    /// A fault hit nothing or there was nothing to observe, so what holds may hold by accident.
    Unproven,
    /// Something asserted does not hold.
    Failed,
}

/// What became of one check or threshold.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Finding {
    /// The assertion's or the metric's name.
    pub name: Cow<'static, str>,
    /// What was asserted, in words.
    pub statement: String,
    /// The step that asserted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, unless it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Box<Explanation>>,
}

/// Why something does not hold, or could not be observed.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Explanation {
    /// What should be.
    pub expected: String,
    /// What is.
    pub actual: String,
    /// When it was seen, in nanoseconds since the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// How it came to that, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

/// What a fault of the script hit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct FaultEntry {
    /// The step that did it; `None` when nobody's script did.
    pub step: Option<StepId>,
    /// The fault, in words: `cut Bona-Clark`.
    pub fault: String,
    /// When it began, in nanoseconds since the run began.
    pub from: u64,
    /// When it was mended; `None`: not within the run, or there was nothing to mend.
    pub until: Option<u64>,
    /// What it hit, in words, most important first; empty when it hit nothing.
    pub hit: Vec<String>,
}

/// The judgement over a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Judgement {
    /// The worst of everything below.
    pub verdict: Verdict,
    /// Checks in the order of the scenario, then thresholds.
    pub findings: Vec<Finding>,
    /// Every fault, in the order in which they began.
    pub faults: Vec<FaultEntry>,
    /// What was measured.
    pub numbers: Numbers,
}

/// What was measured in a run.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Numbers {
    /// How long the run took, by the driver's time.
    pub duration: Duration,
    /// How much of it the script waited for time to pass and for nothing else.
    pub waited: Duration,
    /// From the last fault's end, or the last write, to convergence; `None` when there was neither or it did not converge.
    pub convergence: Option<Duration>,
    /// From an acknowledgement to another server's knowing it.
    pub propagation: Option<Propagation>,
    /// Acknowledged writes.
    pub writes: u64,
    /// Acknowledged writes that were newer than what their server held: the updates.
    pub updates: u64,
    /// Answered reads.
    pub reads: u64,
    /// Commands that were refused.
    pub refused: u64,
    /// Lines sent from server to server.
    pub lines: u64,
    /// Bytes of them, line ends included.
    pub bytes: u64,
    /// Lines that told their reader nothing new.
    pub redundant: u64,
    /// Lines that never arrived.
    pub lines_lost: u64,
    /// Lines an update costs by flooding without faults: 2E-N+1.
    pub lines_of_flood: u64,
    /// Lines an update costs at least: N-1.
    pub lines_of_tree: u64,
    /// Stale pairs of server and client, integrated over time, per write: seconds.
    pub stale_area: f64,
    /// What became of every write.
    pub set: SetFull,
}

/// Propagation latencies: every write, at every other server that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Propagation {
    /// How many.
    pub count: u64,
    /// How many servers never got to know a write that counts.
    pub never: u64,
    /// Half are no longer.
    pub p50: Duration,
    /// 95 of 100 are no longer.
    pub p95: Duration,
    /// 99 of 100 are no longer.
    pub p99: Duration,
    /// None is longer.
    pub max: Duration,
    /// The least the links' latencies allow for the farthest server: no `max` can be below it.
    pub floor: Duration,
}

/// What became of the acknowledged writes, in the words of Maelstrom's set-full checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct SetFull {
    /// Every core server holds it or something newer.
    pub stable: u64,
    /// Some core servers hold it or something newer, others do not.
    pub stale: u64,
    /// No core server does.
    pub lost: u64,
    /// No read that came after its acknowledgement asked for its client.
    pub never_read: u64,
}

/// Judges a run by the checks and thresholds of its origin.
pub fn judge(history: &History) -> Judgement {
    let _ = history;
    unreachable!("follows")
}

impl Propagation {
    /// The latency that this part of all pairs does not exceed, in seconds; infinite where it falls on a server that
    /// never got to know a write. `part` is 0.5, 0.95, 0.99 or 1.
    fn seconds(&self, part: f64) -> f64 {
        let total = self.count + self.never;
        if (part * total as f64).ceil() as u64 > self.count {
            return f64::INFINITY;
        }
        let latency = match part {
            0.5 => self.p50,
            0.95 => self.p95,
            0.99 => self.p99,
            _ => self.max,
        };
        latency.as_secs_f64()
    }
}
