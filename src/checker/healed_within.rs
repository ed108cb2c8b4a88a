//! `healed_within`: converged no later than so long after the last mending.

use std::time::Duration;

use super::converged::{self, Wanted};
use super::faults::Ledger;
use super::run::Run;
use super::{Outcome, Span};
use crate::claim::{ConvergedMode, Scope};

pub(super) fn judge(run: &Run<'_>, ledger: &Ledger<'_>, span: Span, within: Duration) -> Outcome {
    if !ledger.mendings.iter().any(|&mending| mending < span.until) {
        return Outcome::Unobserved("nothing was mended".into());
    }
    let wanted = Wanted { mode: ConvergedMode::Survivors, scope: &Scope::Core, within: Some(within), by: None };
    converged::judge(run, ledger, span, &wanted)
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{herd, line};
    use std::time::Duration;

    use crate::history::build::Builder;

    const BOUND: Assertion = Assertion::HealedWithin { within: Duration::from_millis(100) };

    /// Bona and Campbell cut Bailey off, which catches up so long after the heal.
    fn healed(after: u64) -> Builder {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = herd().at(100, |herd| herd.cut("Bona", "Bailey").cut("Campbell", "Bailey"));
        let herd = herd.at(200, |herd| {
            let herd = herd.accepted("Bona", "kiwi", 1).missed("Bona", "Bailey", &kiwi);
            ["Campbell", "Clark", "Jaquez"].into_iter().fold(herd, |herd, to| herd.told("Bona", to, &kiwi))
        });
        let herd = herd.at(300, |herd| herd.heal("Bona", "Bailey").heal("Campbell", "Bailey"));
        herd.at(300 + after, |herd| herd.told("Bona", "Bailey", &kiwi))
    }

    #[test]
    fn holds_when_the_herd_catches_up_in_time() {
        assert_eq!(healed(100).verdict(BOUND), Verdict::Passed);
    }

    #[test]
    fn is_violated_when_it_does_not() {
        assert_eq!(
            healed(101).explanation(BOUND),
            "expected: converged within 100 ms\nactual: it took 101 ms\n\
             - the last was Bailey, which got kiwi's 1 at 401 ms"
        );
    }

    #[test]
    fn is_unproven_when_nothing_was_mended() {
        assert_eq!(herd().accepted("Bona", "kiwi", 1).verdict(BOUND), Verdict::Unproven);
    }
}
