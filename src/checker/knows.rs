//! `knows`: each of these servers runs and holds a record of a client, of a version that will do.

use super::convergence::Lacking;
use super::faults::Ledger;
use super::run::{ClientId, Run, Version};
use super::state::State;
use super::{Cause, Explanation, Outcome, Span, cause, why};
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
    let why = lacks.map(|lacking| why::lacks(run, ledger, span.until, &lacking));
    let version = version.of(client, &run.history.origin.servers);
    let (headline, because) = match why {
        Some(why) => (why.headline, why.causes),
        None if state.is_down(server) => {
            (format!("{0} does not know {version} because {0} is down", run.name(server)), Vec::new())
        }
        None => (format!("{} does not know {version}", run.name(server)), Vec::new()),
    };
    Outcome::Violated(Box::new(Explanation {
        headline,
        expected: format!("{} knows {version}", run.name(server)),
        actual: holds(run, &state, server, client),
        at: Some(run.since_start(run.end_of(span.until))),
        because,
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
    told(run, state, server, client, |version| format!("`{}`", version.report.line()))
}

/// Returns in a few words what a server holds about a client.
pub(super) fn holds_briefly(run: &Run<'_>, state: &State, server: ServerId, client: &str) -> String {
    told(run, state, server, client, |version| run.tell(version))
}

fn told(run: &Run<'_>, state: &State, server: ServerId, client: &str, tell: impl Fn(Version<'_>) -> String) -> String {
    let name = run.name(server);
    match run.client(client).map(|client| (client, state.held(server, client))) {
        _ if state.is_down(server) => format!("{name} is down"),
        Some((client, rank)) if rank > 0 => format!("{name} holds {}", tell(run.ranked(client, rank))),
        _ => format!("{name} knows nothing about {client}"),
    }
}

/// Returns since when a server holds what it holds about a client, or when it forgot it.
pub(super) fn since(run: &Run<'_>, span: Span, server: ServerId, client: ClientId) -> Option<Cause> {
    let last = run.last_change(server, client, span.until)?;
    if last.after == 0 {
        return Some(cause::forgot(run, last));
    }
    let (name, version) = (run.name(server), run.ranked(client, last.after));
    let cause = Cause::new(&format!("{name} got it"), format!("{name} got it at {}", run.when(last.entry)));
    Some(cause.shown([last.entry]).lasting(run, last.entry, None).about(run, [server]).of(version))
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
