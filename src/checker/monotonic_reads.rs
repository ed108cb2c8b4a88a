//! `monotonic_reads`: what one talker reads about a client never goes back.

use std::collections::BTreeMap;

use super::run::Run;
use super::{Explanation, Outcome, Span};

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
            return Outcome::Violated(Box::new(Explanation {
                expected: format!("{} or something newer", run.tell(run.version(before.version))),
                actual: format!("{} answered {}", run.name(read.server), run.tell(version)),
                at: Some(run.since_start(run.entry(read.replied).at)),
                because: vec![format!(
                    "{} had answered the newer one at {}",
                    run.name(before.server),
                    run.when(before.replied)
                )],
            }));
        }
    }
    Outcome::observed(reads.len() > 1, "there were no two reads")
}
