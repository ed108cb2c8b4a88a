//! `knows`: each of these servers runs and holds a record of a client, of a version that will do.

use super::convergence::Lacking;
use super::faults::Ledger;
use super::run::{ClientId, Run};
use super::state::State;
use super::{Explanation, Outcome, Span, why};
use crate::claim::VersionBound;
use crate::config::ServerId;

pub(super) fn judge(
    run: &Run<'_>,
    ledger: &Ledger<'_>,
    span: Span,
    client: &str,
    version: &VersionBound,
    on: &[ServerId],
) -> Outcome {
    let state = State::at(run, span.until);
    let Some(&server) = on.iter().find(|&&server| !fits(run, &state, server, client, version)) else {
        return Outcome::Holds;
    };
    let wanted = run.client(client).and_then(|client| {
        Some(Lacking {
            client,
            rank: (1..=run.newest(client)).rev().find(|&rank| is(run, client, rank, version))?,
            servers: vec![server],
        })
    });
    let lacks = wanted.filter(|wanted| !state.is_down(server) && state.held(server, wanted.client) < wanted.rank);
    Outcome::Violated(Box::new(Explanation {
        expected: format!("{} knows {}", run.name(server), version.of(client, &run.history.origin.servers)),
        actual: holds(run, &state, server, client),
        at: Some(run.since_start(run.end_of(span.until))),
        because: lacks.map_or_else(Vec::new, |lacking| why::lacks(run, ledger, span.until, &lacking)),
    }))
}

/// Whether a server runs and holds a version that will do.
pub(super) fn fits(run: &Run<'_>, state: &State, server: ServerId, client: &str, version: &VersionBound) -> bool {
    let held = run.client(client).map(|client| (client, state.held(server, client)));
    !state.is_down(server) && held.is_some_and(|(client, rank)| rank > 0 && is(run, client, rank, version))
}

fn is(run: &Run<'_>, client: ClientId, rank: u32, bound: &VersionBound) -> bool {
    let line = run.ranked(client, rank).report.at();
    bound.time.is_none_or(|time| line.time() >= time)
        && bound.origin.is_none_or(|origin| line.origin() == run.name(origin))
}

/// What a server holds about a client, in words.
pub(super) fn holds(run: &Run<'_>, state: &State, server: ServerId, client: &str) -> String {
    let name = run.name(server);
    if state.is_down(server) {
        return format!("{name} is down");
    }
    match run.client(client).map(|client| (client, state.held(server, client))) {
        Some((client, rank)) if rank > 0 => format!("{name} holds `{}`", run.ranked(client, rank).report.line()),
        _ => format!("{name} knows nothing about {client}"),
    }
}

/// Since when a server holds what it holds about a client.
pub(super) fn since(run: &Run<'_>, span: Span, server: ServerId, client: ClientId) -> Option<String> {
    let changes = run.changes.iter().take_while(|change| change.entry < span.until);
    let last = changes.filter(|change| change.server == server && change.client == client).last()?;
    Some(format!("{} got it at {}", run.name(server), run.when(last.entry)))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict, VersionBound};
    use crate::history::build::{herd, line};
    use crate::wire::PosixTime;

    fn knows(time: Option<i64>, on: &[&str]) -> Assertion {
        let time = time.map(|seconds| PosixTime { seconds, nanoseconds: 0 });
        Assertion::Knows { client: "kiwi".into(), version: VersionBound { time, origin: None }, on: herd().servers(on) }
    }

    #[test]
    fn holds_for_who_holds_that_version_or_a_newer_one() {
        let herd = || herd().accepted("Bona", "kiwi", 2);
        assert_eq!(herd().verdict(knows(None, &["Bona"])), Verdict::Passed);
        assert_eq!(herd().verdict(knows(Some(2), &["Bona"])), Verdict::Passed);
        assert_eq!(herd().verdict(knows(Some(3), &["Bona"])), Verdict::Failed);
    }

    #[test]
    fn is_violated_with_the_reason_why_it_lacks_it() {
        let herd = herd().accepted("Bona", "kiwi", 1).missed("Bona", "Clark", &line("Bona", "kiwi", 1));
        assert_eq!(
            herd.explanation(knows(None, &["Clark"])),
            "expected: Clark knows kiwi\nactual: Clark knows nothing about kiwi\n\
             - Clark lacks kiwi's 1: link Bona-Clark was not up at 0 ms, and the only other way led through Jaquez, \
             which never had it"
        );
    }
}
