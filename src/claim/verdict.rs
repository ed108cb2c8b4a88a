//! What a run, or one claim about it, is worth.

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
