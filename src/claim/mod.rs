//! What can be claimed of a run: assertions, limits to its numbers, and the verdicts both can get.
//!
//! Whether a claim holds of a history is decided by [`crate::checker`].

mod assertion;
pub mod limit;
mod needs;
mod verdict;

use std::sync::Arc;

pub use assertion::{Assertion, ConvergedMode, Scope, VersionBound};
pub use limit::{Metric, Threshold};
pub use needs::Needs;
pub use verdict::Verdict;

/// A step of a script, by its place in the steps of its history's origin. A step that is repeated is listed as often as it is done, because
/// each time it may be a fault of its own.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct StepId(pub u32);

impl StepId {
    /// Returns the index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

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
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
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
