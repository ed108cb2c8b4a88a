//! Many seeds of one case: how often each verdict, how the numbers spread, and which seeds to look at.

use super::{CaseResult, Counts, Status, grouped};
use crate::claim::Metric;

/// The runs of one case under several seeds.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Sweep {
    /// The name the cases share.
    pub name: String,
    /// How many ended how.
    pub counts: Counts,
    /// How the numbers spread; those that no run could measure are left out.
    pub numbers: Vec<Spread>,
    /// The runs that did not pass, and how to see them again, the worst first.
    pub replays: Vec<Replay>,
}

/// How a number spreads over runs (nearest rank), in its unit: seconds, a count, or a part of 1.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Spread {
    /// The metric's name.
    pub metric: String,
    /// In how many runs it could be measured.
    pub runs: u64,
    /// 5 of 100 runs are at most this; `null` when that is never.
    pub p5: Option<f64>,
    /// Half the runs are at most this.
    pub p50: Option<f64>,
    /// 95 of 100 runs are at most this.
    pub p95: Option<f64>,
}

impl Spread {
    /// The three values with their unit.
    pub(super) fn shown(&self) -> [String; 3] {
        let metric = self.metric.parse::<Metric>().ok();
        let told = |value: Option<f64>| metric.map_or(String::new(), |m| m.show(value.unwrap_or(f64::INFINITY)));
        [self.p5, self.p50, self.p95].map(told)
    }

    /// Whether it is zero in nearly all runs, which needs no row.
    pub(super) fn is_zero(&self) -> bool {
        self.p95 == Some(0.0)
    }
}

/// A run worth seeing again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Replay {
    /// Its seed.
    pub seed: u64,
    /// How it ended.
    pub status: Status,
    /// The command.
    pub command: String,
}

/// One sweep for every name that several cases share, in the order in which the names occur.
pub fn sweeps(cases: &[CaseResult]) -> Vec<Sweep> {
    let groups = grouped(cases, |case| &case.name).into_iter();
    groups.filter(|(_, cases)| cases.len() > 1).map(|(name, cases)| sweep(name, &cases)).collect()
}

fn sweep(name: &str, cases: &[&CaseResult]) -> Sweep {
    let mut replays: Vec<Replay> = cases.iter().filter(|case| case.status > Status::Flaky).map(|c| replay(c)).collect();
    replays.sort_by_key(|replay| (std::cmp::Reverse(replay.status), replay.seed));
    Sweep {
        name: name.into(),
        counts: Counts::of(cases.iter().copied()),
        numbers: Metric::all().filter_map(|metric| spread(metric, cases)).collect(),
        replays,
    }
}

fn replay(case: &CaseResult) -> Replay {
    Replay { seed: case.seed, status: case.status, command: case.replay.clone() }
}

fn spread(metric: Metric, cases: &[&CaseResult]) -> Option<Spread> {
    let judged = cases.iter().filter_map(|case| case.judgement.as_ref());
    let mut values: Vec<f64> = judged.filter_map(|judgement| judgement.numbers.value(metric)).collect();
    values.sort_unstable_by(f64::total_cmp);
    let quantile = |part: f64| {
        let place = ((part * values.len() as f64).ceil() as usize).max(1) - 1;
        values[place].is_finite().then_some(values[place])
    };
    if values.is_empty() {
        return None;
    }
    let (p5, p50, p95) = (quantile(0.05), quantile(0.5), quantile(0.95));
    Some(Spread { metric: metric.name().into(), runs: values.len() as u64, p5, p50, p95 })
}
