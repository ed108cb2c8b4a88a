//! `no_masked`: no write was acknowledged by a server that already held something at least as new.

use super::run::Run;
use super::{Cause, Explanation, Outcome, Span};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let mut writes = run.writes.iter().filter(|write| span.has(write.entry)).peekable();
    if writes.peek().is_none() {
        return Outcome::Unobserved("no IAMAT was taken".into());
    }
    let Some(masked) = writes.find(|write| !write.newer) else { return Outcome::Holds };
    let version = run.version(masked.version);
    let already = run.last_change(masked.server, version.client, masked.entry).filter(|change| change.after > 0);
    let already = already.map(|change| (change.entry, run.ranked(change.client, change.after)));
    let server = run.name(masked.server);
    let kept = already.map_or("what it held".into(), |(_, held)| run.tell(held));
    Outcome::Violated(Box::new(Explanation {
        headline: format!("{server} acknowledged {} and kept {kept}", run.tell(version)),
        expected: format!("{server} takes {} as the newest", run.tell(version)),
        actual: format!("{server} acknowledged it and kept what it held"),
        at: Some(run.since_start(run.entry(masked.entry).at)),
        because: already
            .map(|(since, held)| {
                let title = format!("{server} held {}", held.report.at().stated_time());
                let text = format!("since {} it held `{}`", run.when(since), held.report.line());
                let cause = Cause::new(&title, text).shown([since, masked.entry]).about(run, [masked.server]);
                cause.of(held).lasting(run, since, Some(masked.entry))
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
