//! `monotone`: a server's version of a client never goes back within one life.

use super::run::Run;
use super::{Cause, Explanation, Outcome, Span};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let mut changes = run.changes.iter().filter(|change| span.has(change.entry));
    // What a server forgets when its life ends is no step back.
    let Some(back) = changes.find(|change| change.after != 0 && change.after < change.before) else {
        return Outcome::Holds;
    };
    let (before, after) = (run.ranked(back.client, back.before), run.ranked(back.client, back.after));
    let name = run.name(back.server);
    let got = run.last_change(back.server, back.client, back.entry).map(|change| change.entry);
    let held = Cause::new(
        &format!("{name} held {}", before.report.at().stated_time()),
        format!("it held `{}`", before.report.line()),
    );
    let held = held.shown(got).shown([back.entry]).about(run, [back.server]).of(before);
    Outcome::Violated(Box::new(Explanation {
        headline: format!("{name} went back from {} to {}", run.tell(before), run.tell(after)),
        expected: format!("{name} keeps {} or something newer", run.tell(before)),
        actual: format!("{name} went back to `{}`", after.report.line()),
        at: Some(run.since_start(run.entry(back.entry).at)),
        because: vec![held.lasting(run, got.unwrap_or(back.entry), Some(back.entry))],
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{herd, line};

    #[test]
    fn holds_over_newer_versions_and_new_lives() {
        let old = line("Bona", "kiwi", 1);
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &old).accepted("Clark", "kiwi", 2);
        let herd = herd.kill("Clark", 1).start("Clark").told("Bona", "Clark", &old);
        assert_eq!(herd.verdict(Assertion::Monotone), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_a_step_back() {
        let herd =
            herd().accepted("Clark", "kiwi", 2).at(1200, |herd| herd.told("Bona", "Clark", &line("Bona", "kiwi", 1)));
        assert_eq!(
            herd.explanation(Assertion::Monotone),
            "expected: Clark keeps kiwi's 2 or something newer\n\
             actual: Clark went back to `AT Bona +0.263873386 kiwi +34.068930-118.445127 1`\n\
             - it held `AT Clark +0.263873386 kiwi +34.068930-118.445127 2`"
        );
    }
}
