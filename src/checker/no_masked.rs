//! `no_masked`: no write was acknowledged by a server that already held something at least as new.

use super::run::Run;
use super::{Explanation, Outcome, Span};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let mut writes = run.writes.iter().filter(|write| span.has(write.entry)).peekable();
    if writes.peek().is_none() {
        return Outcome::Unobserved("no IAMAT was taken".into());
    }
    let Some(masked) = writes.find(|write| !write.newer) else { return Outcome::Holds };
    let version = run.version(masked.version);
    let already = run.changes.iter().take_while(|change| change.entry < masked.entry);
    let already = already.filter(|change| change.server == masked.server && change.client == version.client).last();
    let server = run.name(masked.server);
    Outcome::Violated(Box::new(Explanation {
        expected: format!("{server} takes {} as the newest", run.tell(version)),
        actual: format!("{server} acknowledged it and kept what it held"),
        at: Some(run.since_start(run.entry(masked.entry).at)),
        because: already
            .filter(|change| change.after > 0)
            .map(|change| {
                let line = run.ranked(change.client, change.after).report.line();
                format!("since {} it held `{line}`", run.when(change.entry))
            })
            .into_iter()
            .collect(),
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::herd;

    #[test]
    fn holds_when_every_write_is_news() {
        let herd = herd().accepted("Bona", "kiwi", 1).accepted("Bona", "kiwi", 2);
        assert_eq!(herd.verdict(Assertion::NoMasked), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_a_write_with_an_older_time() {
        let herd = herd().accepted("Bona", "kiwi", 2).accepted_by(None, "Bona", "kiwi", 1, false);
        assert_eq!(
            herd.explanation(Assertion::NoMasked),
            "expected: Bona takes kiwi's 1 as the newest\nactual: Bona acknowledged it and kept what it held\n\
             - since 0 ms it held `AT Bona +0.263873386 kiwi +34.068930-118.445127 2`"
        );
    }
}
