//! `monotonic_reads`: what one talker reads about a client never goes back.

use std::collections::BTreeMap;

use super::run::{Read, Run};
use super::{Cause, Explanation, Outcome, Span};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let mut shown = BTreeMap::new();
    let mut reads: Vec<_> = run.reads.iter().filter(|read| span.has(read.replied)).collect();
    reads.sort_unstable_by_key(|read| read.replied);
    for &read in &reads {
        let version = run.version(read.version);
        let before = shown.insert((run.talker(read.session), version.client), read);
        // Reads that overlap have no order.
        let Some(before) = before.filter(|before| before.replied < read.sent) else { continue };
        if run.rank(before.version) > version.rank {
            return violated(run, before, read);
        }
    }
    Outcome::observed(reads.len() > 1, "there were no two reads")
}

fn violated(run: &Run<'_>, before: &Read, read: &Read) -> Outcome {
    let (newer, older) = (run.version(before.version), run.tell(run.version(read.version)));
    let (server, first) = (run.name(read.server), run.name(before.server));
    let text = format!("{first} had answered the newer one at {}", run.when(before.replied));
    let cause = Cause::new(&format!("{first} answered {}", newer.report.at().stated_time()), text);
    Outcome::Violated(Box::new(Explanation {
        headline: format!("{server} answered {older} to a client that had read {}", run.tell(newer)),
        expected: format!("{} or something newer", run.tell(newer)),
        actual: format!("{server} answered {older}"),
        at: Some(run.since_start(run.entry(read.replied).at)),
        because: vec![cause.at(run, before.replied).about(run, [before.server]).of(newer)],
    }))
}

#[cfg(test)]
mod tests {
    use crate::act::SessionId;
    use crate::claim::{Assertion, Verdict};
    use crate::history::Fact;
    use crate::history::build::{herd, line};

    fn two_reads(second: u32) -> Verdict {
        let (old, new) = (line("Bona", "kiwi", 1), line("Bona", "kiwi", 2));
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &old).accepted("Bona", "kiwi", 2);
        let talker = |session| Fact::Opened { session: SessionId(session), talker: "somebody who moves".into() };
        let herd = herd.push(talker(1)).read(1, "Bona", "kiwi", &new);
        let herd = if second == 2 { herd.push(talker(2)) } else { herd };
        herd.read(second, "Clark", "kiwi", &old).verdict(Assertion::MonotonicReads)
    }

    #[test]
    fn holds_for_two_talkers() {
        assert_eq!(two_reads(3), Verdict::Passed);
    }

    #[test]
    fn is_violated_when_one_talker_moves_to_a_server_that_is_behind() {
        assert_eq!(two_reads(2), Verdict::Failed);
    }

    #[test]
    fn is_unproven_with_a_single_read() {
        let herd = herd().accepted("Bona", "kiwi", 1).read(1, "Bona", "kiwi", &line("Bona", "kiwi", 1));
        assert_eq!(herd.verdict(Assertion::MonotonicReads), Verdict::Unproven);
    }
}
