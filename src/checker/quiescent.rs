//! `quiescent`: nothing is in flight and nothing is due.

use std::time::Duration;

use super::run::Run;
use super::{Explanation, Outcome, Span};
use crate::act::Action;
use crate::history::Fact;
use crate::words::short;

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let told = run.history.entries[..span.until].iter().enumerate().rev().find_map(|(index, entry)| match entry.fact {
        Fact::Quiescent(true) => Some((index, Told::AtRest)),
        Fact::Quiescent(false) => Some((index, Told::Busy)),
        Fact::Silent(since) => Some((index, Told::Silent(since))),
        _ => None,
    });
    match told {
        None => Outcome::Unobserved("nobody looked".into()),
        Some((_, Told::Silent(since))) => Outcome::Unobserved(format!(
            "the herd was silent from {} on, and from outside nobody can tell whether it was at rest",
            short(since)
        )),
        Some((index, Told::AtRest)) => match acted(run, index, span) {
            Some(action) => Outcome::Unobserved(format!("nobody looked after the action at {}", run.when(action))),
            None => Outcome::Holds,
        },
        Some((index, Told::Busy)) => Outcome::Violated(Box::new(Explanation {
            headline: format!("the herd was still busy at {}", run.when(index)),
            expected: "nothing in flight and nothing due".into(),
            actual: "the herd was still busy".into(),
            at: Some(run.since_start(run.entry(index).at)),
            because: Vec::new(),
        })),
    }
}

/// Returns when the herd fell silent, if that is all that was found before entry `until` of what may still be to come: servers
/// that are seen from outside do not tell.
pub(super) fn only_silent(run: &Run<'_>, until: usize) -> Option<Duration> {
    let told = run.history.entries[..until].iter().rev().find_map(|entry| match entry.fact {
        Fact::Quiescent(_) => Some(None),
        Fact::Silent(since) => Some(Some(since)),
        _ => None,
    });
    told.flatten().filter(|_| run.history.origin.has_outside())
}

/// What was found when somebody looked last.
enum Told {
    AtRest,
    Busy,
    /// Since this time from the beginning of the run.
    Silent(Duration),
}

/// The first thing done after the herd was found quiescent.
fn acted(run: &Run<'_>, since: usize, span: Span) -> Option<usize> {
    let done = |fact: &Fact| matches!(fact, Fact::Did { action, .. } if !matches!(action, Action::Close(_)));
    (since..span.until).find(|&index| done(&run.entry(index).fact))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::Fact;
    use crate::history::build::herd;

    #[test]
    fn holds_when_the_herd_was_found_at_rest_and_left_alone() {
        assert_eq!(herd().push(Fact::Quiescent(true)).verdict(Assertion::Quiescent), Verdict::Passed);
    }

    #[test]
    fn is_violated_when_it_was_found_busy() {
        assert_eq!(herd().push(Fact::Quiescent(false)).verdict(Assertion::Quiescent), Verdict::Failed);
    }

    #[test]
    fn is_unproven_when_silence_is_all_that_was_seen() {
        let silent = herd().push(Fact::Silent(std::time::Duration::from_millis(7)));
        assert_eq!(silent.verdict(Assertion::Quiescent), Verdict::Unproven);
    }

    #[test]
    fn is_unproven_when_nobody_looked_since_the_last_action() {
        let herd = herd().push(Fact::Quiescent(true)).kill("Bona", 0);
        assert_eq!(herd.verdict(Assertion::Quiescent), Verdict::Unproven);
    }
}
