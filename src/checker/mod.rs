//! Whether a run did what it should: a pure function from a history to a judgement that explains itself.
//!
//! Not here: anything that runs, and how a judgement is shown ([`crate::report`]). A property that does not hold is a
//! [`Verdict`], never an error.

mod ack_local;
mod agree_line;
mod available;
mod cause;
mod converged;
mod convergence;
mod cost;
mod evidence;
mod faults;
mod healed_within;
mod knows;
mod lacks;
mod lost;
mod measure;
mod monotone;
mod monotonic_reads;
mod no_echo;
mod no_invention;
mod no_lost;
mod no_masked;
mod numbers;
mod propagated;
mod queue_bound;
mod quiescent;
mod read_your_writes;
mod reply_exact;
mod run;
pub(crate) mod seconds;
mod sessions;
#[cfg(test)]
mod simulated;
mod stale;
mod stale_area;
mod staleness;
mod state;
mod unseen;
mod why;

use std::borrow::Cow;

pub use cause::{Cause, Interval, Subject};
pub use numbers::{AtLeast, Deeds, Numbers, Propagation, SetFull};

use crate::claim::{Assertion, Check, StepId, Threshold, Verdict, When};
use crate::history::{Entry, Fact, History};
use crate::words::{clip, nanoseconds};
use evidence::{Evidence, Reading};
use faults::Ledger;
use run::Run;
use unseen::unseen;

/// Most characters of a headline.
const HEADLINE: usize = 200;

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
    /// What is wrong, in one short sentence that can stand alone.
    pub headline: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub actual: String,
    /// When it was seen, in nanoseconds since the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// How it came to that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Cause>,
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

/// Judges a run by the checks and thresholds of its origin.
pub fn judge(history: &History) -> Judgement {
    let evidence = Evidence::of(history);
    let run = Run::of(history, &evidence, Reading::Late);
    let ledger = Ledger::of(&run);
    let early = history.origin.has_outside().then(|| Run::of(history, &evidence, Reading::Early));
    let seen = Seen { run: &run, ledger: &ledger, early: early.as_ref() };
    let numbers = measure::numbers(&seen);
    let checks = history.origin.checks.iter().map(|check| finding(&seen, check));
    let compared = history.entries.iter().filter_map(|entry| comparison(history, entry));
    let limits = history.origin.thresholds.iter().map(|threshold| limit(threshold, &numbers));
    let mut findings: Vec<Finding> = checks.chain(compared).chain(limits).collect();
    let left_out = left_out(history);
    if let Some(left_out) = left_out {
        findings.iter_mut().for_each(|finding| cannot_be_proven(finding, left_out));
    }
    for explanation in findings.iter_mut().filter_map(|finding| finding.explanation.as_mut()) {
        explanation.headline = clip(&explanation.headline, HEADLINE);
    }
    let faults = ledger.entries(&run);
    let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Passed);
    let idle = faults.iter().any(|fault| fault.hit.is_empty());
    let verdict = if idle || left_out.is_some() { worst.max(Verdict::Unproven) } else { worst };
    Judgement { verdict, findings, faults, numbers }
}

/// Returns the number of entries that a history is known to lack; 0 if it lacks some and nobody knows how many.
fn left_out(history: &History) -> Option<u64> {
    let numbers = history.entries.iter().filter_map(|entry| match entry.fact {
        Fact::LeftOut { entries } => Some(entries),
        _ => None,
    });
    numbers.reduce(|one, other| if one == 0 || other == 0 { 0 } else { one + other })
}

/// Takes the verdict of a finding back: entries that are missing could have shown the contrary.
fn cannot_be_proven(finding: &mut Finding, left_out: u64) {
    if finding.verdict == Verdict::Unproven {
        return;
    }
    finding.verdict = Verdict::Unproven;
    let missing = match left_out {
        0 => "what a process did last is".into(),
        1 => "1 entry is".into(),
        _ => format!("{left_out} entries are"),
    };
    let actual = format!("{missing} missing from the history, which could show the contrary");
    let expected = finding.statement.clone();
    let headline = format!("{missing} missing: {expected}");
    finding
        .explanation
        .get_or_insert_with(|| Box::new(Explanation { headline, expected, actual, ..Explanation::default() }));
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

/// A run as it is known.
struct Seen<'r, 'h> {
    /// With everything as late as it can have been.
    run: &'r Run<'h>,
    ledger: &'r Ledger<'h>,
    /// With everything as early as it can have been, where servers are seen from outside.
    early: Option<&'r Run<'h>>,
}

impl Seen<'_, '_> {
    /// Judges an assertion. Where servers are seen from outside it holds, or is violated, if it is so whenever things happened.
    fn outcome(&self, span: Span, assertion: &Assertion) -> Outcome {
        let late = outcome(self.run, self.ledger, span, assertion);
        let Some(run) = self.early else { return late };
        let early = outcome(run, &Ledger::of(run), span, assertion);
        let holds = matches!((&late, &early), (Outcome::Holds, Outcome::Holds));
        if let Some(missing) = unseen(self.run, span, &assertion.needs(), holds) {
            return Outcome::Unobserved(missing);
        }
        match (late, early) {
            (Outcome::Holds, Outcome::Holds) => Outcome::Holds,
            (Outcome::Violated(_), Outcome::Violated(why)) => Outcome::Violated(why),
            (Outcome::Unobserved(why), _) | (_, Outcome::Unobserved(why)) => Outcome::Unobserved(why),
            (Outcome::Violated(why), Outcome::Holds) | (Outcome::Holds, Outcome::Violated(why)) => Outcome::Unobserved(
                format!("it depends on when things happened between two questions; at worst, {}", why.headline),
            ),
        }
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

fn finding(seen: &Seen<'_, '_>, check: &Check) -> Finding {
    let run = seen.run;
    let outcome = match span(run, check) {
        Some(span) => seen.outcome(span, &check.assertion),
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
        headline: format!("`{}` holds, though a violation of it was expected", check.assertion.name()),
        expected: format!("a violation of `{}`", check.assertion.name()),
        actual: format!("it holds: {}", check.statement),
        ..Explanation::default()
    }
}

fn unobserved(check: &Check, why: String) -> Explanation {
    Explanation {
        headline: format!("`{}` is unproven: {why}", check.assertion.name()),
        expected: check.statement.to_string(),
        actual: why,
        ..Explanation::default()
    }
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
        headline: match &*comparison.name {
            "reply" => format!("the reply is {} instead of {}", comparison.actual, comparison.expected),
            _ => format!("{}: {}", comparison.expected, comparison.actual),
        },
        expected: comparison.expected.clone(),
        actual: comparison.actual.clone(),
        at: Some(nanoseconds(entry.at.since(history.started))),
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
    let metric = threshold.metric;
    let holds = |value| threshold.comparison.holds(value, threshold.value);
    let name = metric.name();
    let (verdict, actual, headline) = match numbers.range(metric) {
        None => {
            let actual = "there was nothing to measure";
            (Verdict::Unproven, actual.into(), format!("`{name}` is unproven: {actual}"))
        }
        Some([least, most]) if holds(least) && holds(most) => (Verdict::Passed, String::new(), String::new()),
        Some([least, most]) if holds(least) || holds(most) => {
            let actual = format!("it is between {} and {}", metric.show(least), metric.show(most));
            (Verdict::Unproven, actual.clone(), format!("`{name}` is unproven: {actual}"))
        }
        Some([least, most]) => {
            let shown = if least == most {
                metric.show(most)
            } else {
                format!("{} to {}", metric.show(least), metric.show(most))
            };
            let (sign, bound) = (threshold.comparison.sign(), metric.show(threshold.value));
            let headline = format!("{name} is {shown} instead of {sign} {bound}");
            (Verdict::Failed, shown, headline)
        }
    };
    let explanation = Explanation { headline, expected: threshold.to_string(), actual, ..Explanation::default() };
    Finding {
        name: name.into(),
        statement: threshold.to_string(),
        step: None,
        line: None,
        verdict,
        explanation: (verdict != Verdict::Passed).then(|| Box::new(explanation)),
    }
}
