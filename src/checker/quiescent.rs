//! `quiescent`: nothing is in flight and nothing is due.

use super::run::Run;
use super::{Explanation, Outcome, Span};
use crate::driver::Action;
use crate::history::Fact;

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let told = run.history.entries[..span.until].iter().enumerate().rev().find_map(|(index, entry)| match entry.fact {
        Fact::Quiescent(quiescent) => Some((index, quiescent)),
        _ => None,
    });
    match told {
        None => Outcome::Unobserved("nobody looked".into()),
        Some((index, true)) => match acted(run, index, span) {
            Some(action) => Outcome::Unobserved(format!("nobody looked after the action at {}", run.when(action))),
            None => Outcome::Holds,
        },
        Some((index, false)) => Outcome::Violated(Box::new(Explanation {
            expected: "nothing in flight and nothing due".into(),
            actual: "the herd was still busy".into(),
            at: Some(run.since_start(run.entry(index).at)),
            because: Vec::new(),
        })),
    }
}

/// The first thing done after the herd was found quiescent.
fn acted(run: &Run<'_>, since: usize, span: Span) -> Option<usize> {
    let done = |fact: &Fact| matches!(fact, Fact::Did { action, .. } if !matches!(action, Action::Close(_)));
    (since..span.until).find(|&index| done(&run.entry(index).fact))
}
