//! `staleness`: no read misses a write that had been acknowledged for longer than a time when the read was sent.

use std::time::Duration;

use super::run::{Run, Write};
use super::sessions::Asked;
use super::{Explanation, Outcome, Span, cause};
use crate::wire::{Command, parse};
use crate::words::short;

pub(super) fn judge(run: &Run<'_>, span: Span, within: Duration) -> Outcome {
    let mut observed = false;
    for read in run.asked.iter().filter(|asked| asked.reply.is_some_and(|reply| span.has(reply))) {
        let Command::Whatsat { client, .. } = parse(&read.line) else { continue };
        observed = true;
        if let Some((missed, age)) = oldest_missed(run, read, client).filter(|(_, age)| *age > within) {
            return violated(run, read, missed, age, within);
        }
    }
    Outcome::observed(observed, "nobody read")
}

/// The first acknowledged write that a read should have shown and did not, and how old it was.
fn oldest_missed<'r>(run: &'r Run<'_>, read: &Asked, client: &str) -> Option<(&'r Write, Duration)> {
    let shown =
        run.reads.iter().find(|shown| Some(shown.replied) == read.reply).map_or(0, |shown| run.rank(shown.version));
    let mut before = run.acknowledged().iter().take_while(|write| write.entry < read.entry);
    let newer = |write: &&Write| {
        let version = run.version(write.version);
        version.report.client() == client && version.rank > shown
    };
    let missed = before.find(newer)?;
    Some((missed, run.entry(read.entry).at - run.entry(missed.entry).at))
}

fn violated(run: &Run<'_>, read: &Asked, missed: &Write, age: Duration, within: Duration) -> Outcome {
    let (server, origin) = (run.name(read.server), run.name(missed.server));
    let version = run.tell(run.version(missed.version));
    let actual = format!("{server} did not show {version}, acknowledged {} before", short(age));
    let acknowledged = format!("{origin} acknowledged it at {}", run.when(missed.entry));
    Outcome::Violated(Box::new(Explanation {
        headline: actual.clone(),
        expected: format!("a read shows every write older than {}", short(within)),
        actual,
        at: Some(run.since_start(run.entry(read.entry).at)),
        because: vec![cause::acknowledged(run, missed, acknowledged)],
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{herd, line};
    use std::time::Duration;

    use crate::history::build::Builder;

    fn read_after(milliseconds: u64) -> Builder {
        let old = line("Bona", "kiwi", 1);
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &old);
        let herd = herd.at(1000, |herd| herd.accepted("Bona", "kiwi", 2));
        herd.at(1000 + milliseconds, |herd| herd.read(1, "Clark", "kiwi", &old))
    }

    const BOUND: Assertion = Assertion::Staleness { within: Duration::from_millis(50) };

    #[test]
    fn holds_while_the_missed_write_is_young() {
        assert_eq!(read_after(50).verdict(BOUND), Verdict::Passed);
    }

    #[test]
    fn is_violated_once_it_is_old() {
        assert_eq!(
            read_after(51).explanation(BOUND),
            "expected: a read shows every write older than 50 ms\n\
             actual: Clark did not show kiwi's 2, acknowledged 51 ms before\n\
             - Bona acknowledged it at 1 s"
        );
    }
}
