//! `lost`: acknowledged writes are covered by no server of the core at the end. What [`super::no_lost`] forbids.

use super::run::{Run, Write};
use super::state::State;
use super::{Explanation, Outcome, Span};
use crate::words::count;

pub(super) fn judge(run: &Run<'_>, span: Span, at_least: u64) -> Outcome {
    let lost = lost(run, span).len() as u64;
    if lost >= at_least {
        return Outcome::Holds;
    }
    if run.acknowledged().is_empty() {
        return Outcome::Unobserved("no IAMAT was taken".into());
    }
    let of = count(run.acknowledged().len() as u64, "write");
    Outcome::Violated(Box::new(Explanation {
        headline: format!("{lost} of {of} are lost instead of at least {at_least}"),
        expected: format!("at least {} lost", count(at_least, "write")),
        actual: format!("{lost} of {of} lost"),
        at: Some(run.since_start(run.end_of(span.until))),
        because: Vec::new(),
    }))
}

/// The lost writes before a span's end.
pub(super) fn lost<'r>(run: &'r Run<'_>, span: Span) -> Vec<&'r Write> {
    let state = State::at(run, span.until);
    let core = state.core(run);
    let held: Vec<u32> =
        run.clients().map(|client| core.iter().map(|&server| state.held(server, client)).max().unwrap_or(0)).collect();
    let uncovered = |write: &&Write| {
        let version = run.version(write.version);
        version.rank > held[version.client.index()]
    };
    run.acknowledged().iter().filter(|write| write.entry < span.until).filter(uncovered).collect()
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::herd;

    #[test]
    fn holds_when_a_write_died_with_its_server() {
        let herd = herd().accepted("Bona", "kiwi", 1).kill("Bona", 1);
        assert_eq!(herd.verdict(Assertion::Lost { at_least: 1 }), Verdict::Passed);
    }

    #[test]
    fn is_violated_when_everything_survives() {
        assert_eq!(
            herd().accepted("Bona", "kiwi", 1).explanation(Assertion::Lost { at_least: 1 }),
            "expected: at least 1 write lost\nactual: 0 of 1 write lost"
        );
    }
}
