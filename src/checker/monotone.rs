//! `monotone`: a server's version of a client never goes back within one life.

use super::run::Run;
use super::{Explanation, Outcome, Span};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let mut changes = run.changes.iter().filter(|change| span.has(change.entry));
    // What a server forgets when its life ends is no step back.
    let Some(back) = changes.find(|change| change.after != 0 && change.after < change.before) else {
        return Outcome::Holds;
    };
    let (before, after) = (run.ranked(back.client, back.before), run.ranked(back.client, back.after));
    Outcome::Violated(Box::new(Explanation {
        expected: format!("{} keeps {} or something newer", run.name(back.server), run.tell(before)),
        actual: format!("{} went back to `{}`", run.name(back.server), after.report.line()),
        at: Some(run.since_start(run.entry(back.entry).at)),
        because: vec![format!("it held `{}`", before.report.line())],
    }))
}
