//! `healed_within`: converged no later than so long after the last mending.

use std::time::Duration;

use super::assertion::{ConvergedMode, Scope};
use super::converged::{self, Wanted};
use super::faults::Ledger;
use super::run::Run;
use super::{Outcome, Span};

pub(super) fn judge(run: &Run<'_>, ledger: &Ledger<'_>, span: Span, within: Duration) -> Outcome {
    if !ledger.mendings.iter().any(|&mending| mending < span.until) {
        return Outcome::Unobserved("nothing was mended".into());
    }
    let wanted = Wanted { mode: ConvergedMode::Survivors, scope: &Scope::Core, within: Some(within), by: None };
    converged::judge(run, ledger, span, &wanted)
}
