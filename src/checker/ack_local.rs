//! `ack_local`: who acknowledged a write holds it, or something newer, until it stops.

use super::run::{Read, Run, Write};
use super::state::State;
use super::{Explanation, Outcome, Span};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    if run.writes.is_empty() {
        return Outcome::Unobserved("no IAMAT was taken".into());
    }
    let mut state = State::at(run, 0);
    let mut changes = run.changes.iter().peekable();
    for write in run.writes.iter().filter(|write| span.has(write.entry)) {
        while let Some(change) = changes.next_if(|change| change.entry <= write.entry) {
            state.set(change.server, change.client, change.after);
        }
        let version = run.version(write.version);
        if state.held(write.server, version.client) < version.rank {
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
    let write = run.writes.iter().take_while(|write| write.entry < read.sent).filter(newer).last()?;
    let died = |change: &&super::run::Change| change.server == read.server && change.after == 0;
    let between = |change: &&super::run::Change| (write.entry..read.replied).contains(&change.entry);
    let same_life = !run.changes.iter().filter(between).any(|change| died(&change));
    same_life.then(|| violated(run, write, read.replied, format!("answered `{}`", shown.report.line())))
}

fn violated(run: &Run<'_>, write: &Write, entry: usize, actual: String) -> Outcome {
    let server = run.name(write.server);
    Outcome::Violated(Box::new(Explanation {
        expected: format!("{server} holds {} or something newer", run.tell(run.version(write.version))),
        actual: format!("{server} {actual}"),
        at: Some(run.since_start(run.entry(entry).at)),
        because: vec![format!("{server} acknowledged it at {}", run.when(write.entry))],
    }))
}
