//! `ack_local`: who acknowledged a write holds it, or something newer, until it stops.

use super::run::{Read, Run, Write};
use super::state::Held;
use super::{Explanation, Outcome, Span, cause};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    if run.acknowledged().is_empty() {
        return Outcome::Unobserved("no IAMAT was taken".into());
    }
    let mut held = Held::at(run, 0);
    let mut changes = run.changes.iter().peekable();
    for write in run.acknowledged().iter().filter(|write| span.has(write.entry)) {
        while let Some(change) = changes.next_if(|change| change.entry <= write.entry) {
            held.set(change.server, change.client, change.after);
        }
        let version = run.version(write.version);
        if held.rank(write.server, version.client) < version.rank {
            return violated(run, write, write.entry, "did not store it".into());
        }
    }
    run.reads.iter().filter(|read| span.has(read.replied)).find_map(|read| denied(run, read)).unwrap_or(Outcome::Holds)
}

/// A read that was sent after an acknowledgement, to the same server in the same life, and shows something older.
fn denied(run: &Run<'_>, read: &Read) -> Option<Outcome> {
    let shown = run.version(read.version);
    let newer = |write: &&Write| {
        let version = run.version(write.version);
        write.server == read.server && version.client == shown.client && version.rank > shown.rank
    };
    let write = run.acknowledged().iter().take_while(|write| write.entry < read.sent).filter(newer).last()?;
    let died = |change: &&super::run::Change| change.server == read.server && change.after == 0;
    let between = |change: &&super::run::Change| (write.entry..read.replied).contains(&change.entry);
    let same_life = !run.changes.iter().filter(between).any(|change| died(&change));
    same_life.then(|| violated(run, write, read.replied, format!("answered `{}`", shown.report.line())))
}

fn violated(run: &Run<'_>, write: &Write, entry: usize, actual: String) -> Outcome {
    let server = run.name(write.server);
    Outcome::Violated(Box::new(Explanation {
        headline: format!("{server} acknowledged {} and {actual}", run.tell(run.version(write.version))),
        expected: format!("{server} holds {} or something newer", run.tell(run.version(write.version))),
        actual: format!("{server} {actual}"),
        at: Some(run.since_start(run.entry(entry).at)),
        because: vec![cause::acknowledged(
            run,
            write,
            format!("{server} acknowledged it at {}", run.when(write.entry)),
        )],
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{herd, line};

    #[test]
    fn holds_when_the_write_is_stored_and_shown() {
        let herd = herd().accepted("Bona", "kiwi", 1).read(1, "Bona", "kiwi", &line("Bona", "kiwi", 1));
        assert_eq!(herd.verdict(Assertion::AckLocal), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_an_acknowledgement_without_storing() {
        let herd = herd().accepted_by(None, "Bona", "kiwi", 1, false);
        assert_eq!(
            herd.explanation(Assertion::AckLocal),
            "expected: Bona holds kiwi's 1 or something newer\nactual: Bona did not store it\n- Bona acknowledged it at 0 ms"
        );
    }

    #[test]
    fn is_violated_by_a_later_answer_that_shows_something_older() {
        let old = line("Clark", "kiwi", 1);
        let herd = herd().accepted("Clark", "kiwi", 1).told("Clark", "Bona", &old).accepted("Bona", "kiwi", 2);
        assert_eq!(herd.read(1, "Bona", "kiwi", &old).verdict(Assertion::AckLocal), Verdict::Failed);
    }

    #[test]
    fn a_new_life_owes_nothing() {
        let old = line("Clark", "kiwi", 1);
        let herd = herd().accepted("Clark", "kiwi", 1).accepted("Bona", "kiwi", 2).kill("Bona", 1).start("Bona");
        let herd = herd.told("Clark", "Bona", &old).read(1, "Bona", "kiwi", &old);
        assert_eq!(herd.verdict(Assertion::AckLocal), Verdict::Passed);
    }
}
