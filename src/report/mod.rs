//! What became of many scenarios, for people and for machines. Decides nothing: verdicts come from [`crate::checker`].
//!
//! Not here: progress while scenarios run, which the command line shows, and exit codes.

pub mod github;
pub mod json;
pub mod junit;
mod sweep;
pub mod tap;
pub mod text;

use std::collections::BTreeMap;
use std::time::Duration;

pub use sweep::{Replay, Spread, Sweep, sweeps};

use crate::checker::seconds::Seconds;
use crate::checker::{FaultEntry, Finding, Judgement};
use crate::claim::Verdict;
use crate::history::DriverKind;

/// What became of one case: a scenario with one choice of its variables, matrix and seed.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct CaseResult {
    /// The scenario's file, and what tells this case from the others of the file except its seed: cases of one name that
    /// differ only in their seeds are one sweep.
    pub name: String,
    /// What the scenario says it shows.
    pub title: String,
    /// Lesson of the scenario, as its file states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teaches: Option<String>,
    /// The scenario file, as it was named.
    pub file: String,
    /// The line of the file that a failure is about, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Of every random draw.
    pub seed: u64,
    /// What ran the herd.
    pub driver: DriverKind,
    /// The other driver, which came to the same result, or else to a better one: the case fails then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<DriverKind>,
    /// How it ended.
    pub status: Status,
    /// How often it was tried; the judgement is the last try's.
    pub attempts: u32,
    /// How long all tries took, by the clock on the wall, in seconds.
    #[serde(with = "Seconds")]
    pub wall: Duration,
    /// The judgement; `None` when it could not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judgement: Option<Judgement>,
    /// Why it could not run, or stopped half-way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The excerpt of the file, with a caret, that a failure is about; plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
    /// What else a reader should know: ports that were changed, time that was only waited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The one command that runs it again.
    pub replay: String,
}

/// How a case ended. Ordered from the best to the worst.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Everything asserted holds.
    Passed,
    /// It did not pass at first and passed when tried again.
    Flaky,
    /// A fault hit nothing, or nothing was observed.
    Unproven,
    /// Something asserted does not hold.
    Failed,
    /// It could not run.
    Error,
}

impl From<Verdict> for Status {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Passed,
            Verdict::Unproven => Self::Unproven,
            Verdict::Failed => Self::Failed,
        }
    }
}

impl Status {
    /// All of them, from the best to the worst.
    pub const ALL: [Self; 5] = [Self::Passed, Self::Flaky, Self::Unproven, Self::Failed, Self::Error];

    /// As it is told.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Flaky => "flaky",
            Self::Unproven => "unproven",
            Self::Failed => "failed",
            Self::Error => "could not run",
        }
    }
}

/// How many cases ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Counts {
    /// [`Status::Passed`].
    pub passed: u64,
    /// [`Status::Flaky`].
    pub flaky: u64,
    /// [`Status::Unproven`].
    pub unproven: u64,
    /// [`Status::Failed`].
    pub failed: u64,
    /// [`Status::Error`].
    pub error: u64,
}

impl Counts {
    /// Counts cases.
    pub fn of<'a>(cases: impl IntoIterator<Item = &'a CaseResult>) -> Self {
        let mut counts = Self::default();
        for case in cases {
            *counts.of_mut(case.status) += 1;
        }
        counts
    }

    /// How many ended so.
    pub fn get(mut self, status: Status) -> u64 {
        *self.of_mut(status)
    }

    /// All cases.
    pub fn total(self) -> u64 {
        Status::ALL.into_iter().map(|status| self.get(status)).sum()
    }

    fn of_mut(&mut self, status: Status) -> &mut u64 {
        match status {
            Status::Passed => &mut self.passed,
            Status::Flaky => &mut self.flaky,
            Status::Unproven => &mut self.unproven,
            Status::Failed => &mut self.failed,
            Status::Error => &mut self.error,
        }
    }

    /// `2 failed, 1 unproven, 40 passed`: the worst first, and those who passed even when nobody did.
    pub fn words(self) -> String {
        let told = Status::ALL.into_iter().rev().map(|status| (status, self.get(status)));
        let told = told.filter(|&(status, number)| number > 0 || status == Status::Passed);
        told.map(|(status, number)| format!("{number} {}", status.name())).collect::<Vec<_>>().join(", ")
    }
}

/// Cases that share a key, in the order in which the keys first occur.
fn grouped<'a>(
    cases: &'a [CaseResult],
    key: impl Fn(&'a CaseResult) -> &'a str,
) -> Vec<(&'a str, Vec<&'a CaseResult>)> {
    let mut groups: Vec<(&str, Vec<&CaseResult>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases {
        let place = *places.entry(key(case)).or_insert(groups.len());
        if place == groups.len() {
            groups.push((key(case), Vec::new()));
        }
        groups[place].1.push(case);
    }
    groups
}

impl CaseResult {
    /// Its name, with the seed: unique in a report.
    pub fn id(&self) -> String {
        format!("{} seed {}", self.name, self.seed)
    }

    /// Without what nobody asks of a case that passed: for sweeps, whose reports must stay small.
    pub fn shortened(mut self) -> Self {
        if let (Status::Passed, Some(judgement)) = (self.status, &mut self.judgement) {
            judgement.findings.clear();
            judgement.faults.clear();
        }
        self
    }

    /// What did not pass.
    fn trouble(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.judgement.iter().flat_map(|judgement| &judgement.findings);
        findings.filter(|finding| finding.verdict != Verdict::Passed)
    }

    /// Faults that hit nothing.
    fn idle_faults(&self) -> impl Iterator<Item = &FaultEntry> {
        let faults = self.judgement.iter().flat_map(|judgement| &judgement.faults);
        faults.filter(|fault| fault.hit.is_empty())
    }

    /// In one sentence, why it did not pass.
    fn reason(&self) -> String {
        if let Some(error) = &self.error {
            return error.clone();
        }
        let worst = self.trouble().max_by_key(|finding| finding.verdict);
        let failed = worst.filter(|finding| finding.verdict == Verdict::Failed || self.idle_faults().next().is_none());
        match (failed, self.idle_faults().next()) {
            (Some(finding), _) => match &finding.explanation {
                Some(why) => why.headline.clone(),
                None => finding.statement.clone(),
            },
            (None, Some(fault)) => format!("the fault `{}` hit nothing, so nothing is proven", fault.fault),
            (None, None) if self.status == Status::Flaky => format!("passed only at attempt {}", self.attempts),
            (None, None) => self.status.name().into(),
        }
    }
}

#[cfg(test)]
pub(crate) mod examples {
    //! Cases for the tests of all formats: judged histories, not made-up judgements.

    use super::*;
    use crate::claim::{Assertion, ConvergedMode, Scope};
    use crate::history::build::{Builder, herd, line};

    fn case(name: &str, seed: u64, herd: Builder) -> CaseResult {
        let converged = Assertion::Converged {
            mode: ConvergedMode::Survivors,
            scope: Scope::Core,
            within: Some(Duration::from_millis(500)),
            by: None,
        };
        let judgement = herd.check(converged).threshold("lines per update", "<=8").judge();
        CaseResult {
            name: name.into(),
            title: "An update made during a partition reaches the other side after it heals".into(),
            teaches: None,
            file: "scenarios/partition.toml".into(),
            line: None,
            seed,
            driver: DriverKind::Simulated,
            compared_with: None,
            status: judgement.verdict.into(),
            attempts: 1,
            wall: Duration::from_millis(3),
            judgement: Some(judgement),
            error: None,
            excerpt: None,
            notes: Vec::new(),
            replay: format!("herdsim run scenarios/{name} --seed {seed}"),
        }
    }

    /// A write during a partition, and a heal that Clark and Jaquez learn of after so many milliseconds, or never.
    fn partition(learns_after: Option<u64>) -> Builder {
        let kiwi = line("Bona", "kiwi.cs.ucla.edu", 1_621_464_827);
        let herd = herd().at(1200, |herd| {
            herd.step("partition Clark, Jaquez | the others").cut("Bona", "Clark").cut("Campbell", "Jaquez")
        });
        let herd = herd.at(2000, |herd| {
            let herd = herd.step("iamat kiwi.cs.ucla.edu via Bona").accepted("Bona", "kiwi.cs.ucla.edu", 1_621_464_827);
            let herd =
                herd.told("Bona", "Bailey", &kiwi).told("Bona", "Campbell", &kiwi).missed("Bona", "Clark", &kiwi);
            herd.missed("Campbell", "Jaquez", &kiwi)
                .sent("Bailey", "Campbell", &kiwi)
                .heard("Bailey", "Campbell", &kiwi, false)
        });
        let herd = herd.at(3000, |herd| herd.step("heal all").heal("Bona", "Clark").heal("Campbell", "Jaquez"));
        match learns_after {
            Some(after) => {
                herd.at(3000 + after, |herd| herd.told("Bona", "Clark", &kiwi).told("Campbell", "Jaquez", &kiwi))
            }
            None => herd.at(4000, |herd| herd),
        }
    }

    pub(super) fn passed(seed: u64) -> CaseResult {
        case("partition.toml", seed, partition(Some(40 + seed)))
    }

    pub(crate) fn failed(seed: u64) -> CaseResult {
        let excerpt = "24 | converged = { within = \"500ms\" }\n   | ^^^^^^^^^";
        CaseResult {
            teaches: Some("Flooding alone loses what happens during a partition.".into()),
            line: Some(24),
            excerpt: Some(excerpt.into()),
            ..case("partition.toml", seed, partition(None))
        }
    }

    pub(super) fn unproven() -> CaseResult {
        let herd = partition(Some(5)).step("cut Campbell-Bailey").cut("Campbell", "Bailey");
        CaseResult { file: "scenarios/idle.toml".into(), ..case("idle.toml", 1, herd) }
    }

    pub(super) fn flaky() -> CaseResult {
        let flaky = case("flaky.toml", 1, partition(Some(40)));
        CaseResult { status: Status::Flaky, attempts: 2, file: "scenarios/flaky.toml".into(), ..flaky }
    }

    pub(super) fn broken() -> CaseResult {
        CaseResult {
            file: "scenarios/taken.toml".into(),
            status: Status::Error,
            judgement: None,
            error: Some("Bona cannot listen on 127.0.0.1:10001: Address already in use".into()),
            ..case("taken.toml", 1, herd())
        }
    }

    /// One of each.
    pub(super) fn all() -> Vec<CaseResult> {
        vec![passed(1), flaky(), unproven(), failed(2), broken()]
    }
}
