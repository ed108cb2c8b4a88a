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
    pub fn value(&self, metric: Metric) -> Option<f64> {
        let part = |of: u64, whole: u64| (whole > 0).then(|| of as f64 / whole as f64);
        let propagation = self.propagation.as_ref();
        Some(match metric {
            Metric::Convergence => self.convergence?.as_secs_f64(),
            Metric::PropagationP50 => propagation?.seconds(0.5),
            Metric::PropagationP95 => propagation?.seconds(0.95),
            Metric::PropagationP99 => propagation?.seconds(0.99),
            Metric::PropagationMax => propagation?.seconds(1.0),
            Metric::LinesPerUpdate => part(self.lines, self.updates)?,
            Metric::Lines => self.lines as f64,
            Metric::Bytes => self.bytes as f64,
            Metric::Redundant => part(self.redundant, self.lines)?,
            Metric::ControlLines => self.control_lines as f64,
            Metric::LateReplies => self.late_replies as f64,
            Metric::StaleArea => (self.writes > 0).then_some(self.stale_area)?,
            Metric::Writes => self.writes as f64,
            Metric::Reads => self.reads as f64,
            Metric::Stable => self.set.stable as f64,
            Metric::Stale => self.set.stale as f64,
            Metric::Lost => self.set.lost as f64,
            Metric::NeverRead => self.set.never_read as f64,
            Metric::Duration => self.duration.as_secs_f64(),
        })
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
