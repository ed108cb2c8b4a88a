//! Whether a run did what it should: a pure function from a history to a judgement that explains itself.
//!
//! Not here: anything that runs, and how a judgement is shown ([`crate::report`]). A property that does not hold is a
//! [`Verdict`], never an error.

mod ack_local;
mod agree_line;
mod assertion;
mod available;
mod converged;
mod convergence;
mod cost;
mod faults;
mod healed_within;
mod knows;
mod lacks;
mod lost;
mod measure;
pub mod metric;
mod monotone;
mod monotonic_reads;
mod no_echo;
mod no_invention;
mod no_lost;
mod no_masked;
mod propagated;
mod queue_bound;
mod quiescent;
mod read_your_writes;
mod reply_exact;
mod run;
pub(crate) mod seconds;
#[cfg(test)]
mod simulated;
mod stale;
mod stale_area;
mod staleness;
mod state;
mod why;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

pub use assertion::{Assertion, ConvergedMode, Scope, VersionBound};
pub use metric::{Metric, Threshold};

use crate::history::{Entry, Fact, History, StepId};
use faults::Ledger;
use run::Run;

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
    /// Whether it is asserted of every run without being asked for: nothing to observe is then no news.
    pub implied: bool,
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
        Self { assertion, when, step, inverted: false, implied: false, statement }
    }

    /// What holds of every run without being asked for.
    pub fn implied(assertion: Assertion, servers: &[Arc<str>]) -> Self {
        Self { implied: true, ..Self::new(assertion, When::End, None, servers) }
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
    /// The line of the scenario that the step stands in, when it stands there and not in an included file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
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
    /// The line of the scenario that the step stands in, when it stands there and not in an included file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
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
    /// Checks in the order of the scenario, then what the script compared, then thresholds.
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
    #[serde(with = "seconds")]
    #[schemars(with = "f64")]
    pub duration: Duration,
    /// How much of it the script waited for time to pass and for nothing else.
    #[serde(with = "seconds")]
    #[schemars(with = "f64")]
    pub waited: Duration,
    /// From the last fault's end, or the last write, to convergence; `None` when there was neither or it did not converge.
    #[serde(with = "seconds::option")]
    #[schemars(with = "Option<f64>")]
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
    #[serde(with = "seconds")]
    #[schemars(with = "f64")]
    pub p50: Duration,
    /// 95 of 100 are no longer.
    #[serde(with = "seconds")]
    #[schemars(with = "f64")]
    pub p95: Duration,
    /// 99 of 100 are no longer.
    #[serde(with = "seconds")]
    #[schemars(with = "f64")]
    pub p99: Duration,
    /// None is longer.
    #[serde(with = "seconds")]
    #[schemars(with = "f64")]
    pub max: Duration,
    /// The least the links' latencies allow for the farthest server: no `max` can be below it.
    #[serde(with = "seconds")]
    #[schemars(with = "f64")]
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
    let run = Run::of(history);
    let ledger = Ledger::of(&run);
    let numbers = measure::numbers(&run, &ledger);
    let checks = history.origin.checks.iter().map(|check| finding(&run, &ledger, check));
    let compared = history.entries.iter().filter_map(|entry| comparison(history, entry));
    let limits = history.origin.thresholds.iter().map(|threshold| limit(threshold, &numbers));
    let findings: Vec<Finding> = checks.chain(compared).chain(limits).collect();
    let faults = ledger.entries(&run);
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Passed);
    let idle = faults.iter().any(|fault| fault.hit.is_empty());
    let verdict = if idle { worst.max(Verdict::Unproven) } else { worst };
    Judgement { verdict, findings, faults, numbers }
}

/// What an assertion came to.
enum Outcome {
    Holds,
    Violated(Box<Explanation>),
    /// There was nothing that could have violated it, in words.
    Unobserved(String),
}

impl Outcome {
    /// Holds, if there was anything to observe.
    fn observed(anything: bool, otherwise: &str) -> Self {
        if anything { Self::Holds } else { Self::Unobserved(otherwise.into()) }
    }
}

/// Entries of a history, one next to the other.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: usize,
    /// Not included.
    until: usize,
}

impl Span {
    fn has(self, entry: usize) -> bool {
        self.entries().contains(&entry)
    }

    fn entries(self) -> std::ops::Range<usize> {
        self.from..self.until
    }
}

fn finding(run: &Run<'_>, ledger: &Ledger<'_>, check: &Check) -> Finding {
    let outcome = match span(run, check) {
        Some(span) => outcome(run, ledger, span, &check.assertion),
        None => Outcome::Unobserved("its step was never reached".into()),
    };
    let (verdict, explanation) = match (outcome, check.inverted) {
        (Outcome::Holds, false) => (Verdict::Passed, None),
        (Outcome::Unobserved(_), false) if check.implied => (Verdict::Passed, None),
        (Outcome::Violated(_), true) => (Verdict::Passed, None),
        (Outcome::Violated(explanation), false) => (Verdict::Failed, Some(explanation)),
        (Outcome::Holds, true) => (Verdict::Failed, Some(Box::new(not_violated(check)))),
        (Outcome::Unobserved(why), _) => (Verdict::Unproven, Some(Box::new(unobserved(check, why)))),
    };
    let statement = match check.inverted {
        false => check.statement.to_string(),
        true => format!("violated: {}", check.statement),
    };
    let line = run.history.origin.line(check.step);
    Finding { name: check.assertion.name().into(), statement, step: check.step, line, verdict, explanation }
}

fn not_violated(check: &Check) -> Explanation {
    Explanation {
        expected: format!("a violation of `{}`", check.assertion.name()),
        actual: format!("it holds: {}", check.statement),
        ..Explanation::default()
    }
}

fn unobserved(check: &Check, why: String) -> Explanation {
    Explanation { expected: check.statement.to_string(), actual: why, ..Explanation::default() }
}

/// The part of a run that a check is about; `None` when its step never began.
fn span(run: &Run<'_>, check: &Check) -> Option<Span> {
    let began = || {
        let begins = |entry: &Entry| entry.fact == Fact::StepBegan && entry.step == check.step;
        run.history.entries.iter().position(begins)
    };
    Some(match check.when {
        When::End => Span { from: 0, until: run.len() },
        When::FromHere => Span { from: began()?, until: run.len() },
        When::Here => Span { from: 0, until: began()? },
    })
}

fn outcome(run: &Run<'_>, ledger: &Ledger<'_>, span: Span, assertion: &Assertion) -> Outcome {
    match *assertion {
        Assertion::NoInvention => no_invention::judge(run, span),
        Assertion::Monotone => monotone::judge(run, span),
        Assertion::AckLocal => ack_local::judge(run, span),
        Assertion::ReplyExact => reply_exact::judge(run, span),
        Assertion::NoEcho => no_echo::judge(run, span),
        Assertion::QueueBound { lines } => queue_bound::judge(run, span, lines),
        Assertion::MonotonicReads => monotonic_reads::judge(run, span),
        Assertion::ReadYourWrites => read_your_writes::judge(run, span),
        Assertion::Converged { mode, ref scope, within, by } => {
            converged::judge(run, ledger, span, &converged::Wanted { mode, scope, within, by })
        }
        Assertion::HealedWithin { within } => healed_within::judge(run, ledger, span, within),
        Assertion::Propagated { within, quantile } => propagated::judge(run, ledger, span, within, quantile),
        Assertion::NoLost => no_lost::judge(run, span),
        Assertion::Lost { at_least } => lost::judge(run, span, at_least),
        Assertion::NoMasked => no_masked::judge(run, span),
        Assertion::Staleness { within } => staleness::judge(run, span, within),
        Assertion::StaleArea { at_most } => stale_area::judge(run, span, at_most),
        Assertion::Cost { per_update } => cost::judge(run, span, per_update),
        Assertion::Available { ref on, within } => available::judge(run, span, on, within),
        Assertion::Quiescent => quiescent::judge(run, span),
        Assertion::AgreeLine { ref client, ref scope } => agree_line::judge(run, span, client.as_deref(), scope),
        Assertion::Stale { ref client, ref on } => stale::judge(run, span, client, on),
        Assertion::Knows { ref client, ref version, ref on } => knows::judge(run, ledger, span, client, version, on),
        Assertion::Lacks { ref client, ref version, ref on } => lacks::judge(run, span, client, version, on),
    }
}

/// What the script itself compared.
fn comparison(history: &History, entry: &Entry) -> Option<Finding> {
    let Fact::Compared(comparison) = &entry.fact else { return None };
    let explanation = Explanation {
        expected: comparison.expected.clone(),
        actual: comparison.actual.clone(),
        at: Some(u64::try_from(entry.at.since(history.started).as_nanos()).unwrap_or(u64::MAX)),
        because: Vec::new(),
    };
    Some(Finding {
        name: comparison.name.clone().into(),
        statement: comparison.expected.clone(),
        step: entry.step,
        line: history.origin.line(entry.step),
        verdict: comparison.verdict,
        explanation: (comparison.verdict != Verdict::Passed).then(|| Box::new(explanation)),
    })
}

fn limit(threshold: &Threshold, numbers: &Numbers) -> Finding {
    let value = threshold.metric.of(numbers);
    let (verdict, actual) = match value {
        None => (Verdict::Unproven, "there was nothing to measure".into()),
        Some(value) if threshold.comparison.holds(value, threshold.value) => (Verdict::Passed, String::new()),
        Some(value) => (Verdict::Failed, threshold.metric.show(value)),
    };
    let explanation = Explanation { expected: threshold.to_string(), actual, ..Explanation::default() };
    Finding {
        name: threshold.metric.name().into(),
        statement: threshold.to_string(),
        step: None,
        line: None,
        verdict,
        explanation: (verdict != Verdict::Passed).then(|| Box::new(explanation)),
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
