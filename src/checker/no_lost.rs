//! `no_lost`: every acknowledged write is covered by a server of the core at the end.

use super::lost::lost;
use super::run::{Change, ClientId, Run};
use super::state::State;
use super::{Cause, Explanation, Outcome, Span, cause};
use crate::words::count;

/// At most this many servers are named that forgot a write, and that hold it outside the core.
const FATES: usize = 5;

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let lost = lost(run, span);
    let Some(&first) = lost.first() else {
        return Outcome::observed(!run.acknowledged().is_empty(), "no IAMAT was taken");
    };
    let version = run.version(first.version);
    let more = match lost.len() - 1 {
        0 => String::new(),
        more => format!(", and {} more", count(more as u64, "write")),
    };
    let origin = run.name(first.server);
    let acknowledged = format!("{origin} acknowledged it at {}", run.when(first.entry));
    let mut because = vec![cause::acknowledged(run, first, acknowledged)];
    let forgot: Vec<&Change> = forgot(run, span, version.client, version.rank).take(FATES).collect();
    because.extend(forgot.iter().map(|change| cause::forgot(run, change)));
    because.extend(outside(run, span, version.client, version.rank));
    let why = forgot.last().map_or(String::new(), |change| {
        format!(" because {} {}", run.name(change.server), cause::was(cause::ended(run, change.entry)))
    });
    Outcome::Violated(Box::new(Explanation {
        headline: format!("no server of the core holds {}{why}", run.tell(version)),
        expected: "every acknowledged write is held, or something newer, in the core".into(),
        actual: format!("nobody there holds {}{more}", run.tell(version)),
        at: Some(run.since_start(run.end_of(span.until))),
        because,
    }))
}

/// Returns where a version, or something newer, was forgotten.
fn forgot<'r>(run: &'r Run<'_>, span: Span, client: ClientId, rank: u32) -> impl Iterator<Item = &'r Change> {
    let changes = run.changes.iter().filter(move |change| change.entry < span.until);
    changes.filter(move |change| change.client == client && change.before >= rank && change.after == 0)
}

/// Returns the servers outside the core that hold a version, or something newer.
fn outside(run: &Run<'_>, span: Span, client: ClientId, rank: u32) -> impl Iterator<Item = Cause> {
    let state = State::at(run, span.until);
    let holders = run.servers().filter(move |&server| state.held(server, client) >= rank);
    holders.take(FATES).map(move |server| {
        let name = run.name(server);
        let cause = Cause::new(&format!("{name} outside the core"), format!("{name} holds it and is not in the core"));
        let cause = cause.about(run, [server]).of(run.ranked(client, rank));
        match run.last_change(server, client, span.until) {
            Some(got) => cause.shown([got.entry]).lasting(run, got.entry, None),
            None => cause,
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{herd, line};

    #[test]
    fn holds_when_another_server_survives_with_it() {
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &line("Bona", "kiwi", 1)).kill("Bona", 1);
        assert_eq!(herd.verdict(Assertion::NoLost), Verdict::Passed);
    }

    #[test]
    fn only_what_was_acknowledged_can_be_lost_where_replies_wait() {
        let accepted = || herd().patient().accepted("Bona", "kiwi", 1);
        assert_eq!(accepted().kill("Bona", 1).verdict(Assertion::NoLost), Verdict::Unproven);
        let acknowledged = accepted().acknowledged("Bona", "kiwi", 1).kill("Bona", 1);
        assert_eq!(acknowledged.verdict(Assertion::NoLost), Verdict::Failed);
    }

    #[test]
    fn is_violated_when_it_dies_with_its_only_server() {
        let herd = herd().accepted("Bona", "kiwi", 1).at(1200, |herd| herd.kill("Bona", 1));
        assert_eq!(
            herd.explanation(Assertion::NoLost),
            "expected: every acknowledged write is held, or something newer, in the core\n\
             actual: nobody there holds kiwi's 1\n\
             - Bona acknowledged it at 0 ms\n\
             - Bona forgot it when it was killed at 1.2 s"
        );
    }
}
