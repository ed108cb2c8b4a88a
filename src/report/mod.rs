//! What became of many scenarios, for people and for machines. Decides nothing: verdicts come from [`crate::checker`].
//!
//! Not here: progress while scenarios run, which the command line shows.

use std::time::Duration;

use crate::checker::{Judgement, Verdict};
use crate::history::DriverKind;

/// What became of one case: a scenario with one choice of its variables, matrix and seed.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct CaseResult {
    /// Unique among the cases of a report: the file's name, and what tells this case from the others of the file.
    pub name: String,
    /// What the scenario says it shows.
    pub title: String,
    /// The scenario file, as it was named.
    pub file: String,
    /// The line of the file that a failure is about, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Of every random draw.
    pub seed: u64,
    /// What ran the herd.
    pub driver: DriverKind,
    /// How it ended.
    pub status: Status,
    /// How often it was tried; the judgement is the last try's.
    pub attempts: u32,
    /// How long all tries took, by the clock on the wall.
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
