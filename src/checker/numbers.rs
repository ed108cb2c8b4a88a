//! What was measured in a run, as reports carry it.
//!
//! `measure` takes the measurements.

use std::time::Duration;

use super::seconds::{OptionalSeconds, Seconds};
use crate::claim::Metric;

/// What was measured in a run.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Numbers {
    /// How long the run took, by the driver's time.
    #[serde(with = "Seconds")]
    pub duration: Duration,
    /// How much of it the script waited for time to pass and for nothing else.
    #[serde(with = "Seconds")]
    pub waited: Duration,
    /// From the last fault's end, or the last write, to convergence; `None` when there was neither or it did not converge.
    #[serde(with = "OptionalSeconds")]
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
    /// What servers did; `None` if some of them are seen from outside and do not tell.
    #[serde(flatten)]
    pub deeds: Option<Deeds>,
    /// Lines an update costs by flooding without faults: 2E-N+1.
    pub lines_of_flood: u64,
    /// Lines an update costs at least: N-1.
    pub lines_of_tree: u64,
    /// What became of every write; `None` if nobody asked all servers in the end.
    pub set: Option<SetFull>,
    /// The least that times may have been, where servers are seen from outside; `convergence` and `propagation` are then the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<AtLeast>,
}

/// What servers did among themselves.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Deeds {
    /// `AT` lines sent from server to server.
    pub lines: u64,
    /// Bytes of them, line ends included.
    pub bytes: u64,
    /// Lines that told their reader nothing new.
    pub redundant: u64,
    /// Replies that other servers kept waiting until the limit.
    pub late_replies: u64,
    /// Control lines sent from server to server, as the strategy `tree` does.
    pub control_lines: u64,
    /// Lines of both kinds that never arrived.
    pub lines_lost: u64,
    /// Stale pairs of server and client, integrated over time, per write: seconds.
    pub stale_area: f64,
}

/// The least that times may have been.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct AtLeast {
    /// From the last fault's end, or the last write, to convergence.
    #[serde(with = "OptionalSeconds")]
    pub convergence: Option<Duration>,
    /// From an acknowledgement to another server's knowing it.
    pub propagation: Option<Propagation>,
}

/// Propagation latencies: every write, at every other server that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Propagation {
    /// How many.
    pub count: u64,
    /// How many servers never got to know a write that counts.
    pub never: u64,
    /// Half are no longer.
    #[serde(with = "Seconds")]
    pub p50: Duration,
    /// 95 of 100 are no longer.
    #[serde(with = "Seconds")]
    pub p95: Duration,
    /// 99 of 100 are no longer.
    #[serde(with = "Seconds")]
    pub p99: Duration,
    /// None is longer.
    #[serde(with = "Seconds")]
    pub max: Duration,
    /// The least the links' latencies allow for the farthest server: no `max` can be below it.
    #[serde(with = "Seconds")]
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

impl Numbers {
    /// Returns the value of a metric, in its unit, or `None` if the run had nothing to measure.
    ///
    /// A write that some server never got to know makes `propagation max` infinite, and a quantile when it falls there.
    ///
    /// Where servers are seen from outside, a time is the most that it may have been; [`Self::range`] has both ends.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        let part = |of: u64, whole: u64| (whole > 0).then(|| of as f64 / whole as f64);
        Some(match metric {
            Metric::Convergence
            | Metric::PropagationP50
            | Metric::PropagationP95
            | Metric::PropagationP99
            | Metric::PropagationMax => time(metric, self.convergence, self.propagation.as_ref())?,
            Metric::LinesPerUpdate => part(self.deeds?.lines, self.updates)?,
            Metric::Lines => self.deeds?.lines as f64,
            Metric::Bytes => self.deeds?.bytes as f64,
            Metric::Redundant => part(self.deeds?.redundant, self.deeds?.lines)?,
            Metric::ControlLines => self.deeds?.control_lines as f64,
            Metric::LateReplies => self.deeds?.late_replies as f64,
            Metric::StaleArea => self.deeds.filter(|_| self.writes > 0)?.stale_area,
            Metric::Writes => self.writes as f64,
            Metric::Reads => self.reads as f64,
            Metric::Stable => self.set?.stable as f64,
            Metric::Stale => self.set?.stale as f64,
            Metric::Lost => self.set?.lost as f64,
            Metric::NeverRead => self.set?.never_read as f64,
            Metric::Duration => self.duration.as_secs_f64(),
        })
    }

    /// Returns the least and the most that the value of a metric may have been, or `None` if the run had nothing to measure.
    /// Both are the same unless servers are seen from outside.
    pub fn range(&self, metric: Metric) -> Option<[f64; 2]> {
        let most = self.value(metric)?;
        let at_least = self.at_least.as_ref();
        let least = at_least.and_then(|least| time(metric, least.convergence, least.propagation.as_ref()));
        Some([least.unwrap_or(most), most])
    }
}

/// Returns a metric that is a time of the herd, in seconds; `None` for another metric too.
fn time(metric: Metric, convergence: Option<Duration>, propagation: Option<&Propagation>) -> Option<f64> {
    match metric {
        Metric::Convergence => convergence.map(|time| time.as_secs_f64()),
        Metric::PropagationP50 => propagation.map(|times| times.seconds(0.5)),
        Metric::PropagationP95 => propagation.map(|times| times.seconds(0.95)),
        Metric::PropagationP99 => propagation.map(|times| times.seconds(0.99)),
        Metric::PropagationMax => propagation.map(|times| times.seconds(1.0)),
        _ => None,
    }
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
