//! `agree_line`: all servers of the scope hold the very same line.

use super::run::{ClientId, Run};
use super::state::State;
use super::{Cause, Explanation, Outcome, Span};
use crate::claim::Scope;
use crate::config::ServerId;
use crate::words::names;

pub(super) fn judge(run: &Run<'_>, span: Span, client: Option<&str>, scope: &Scope) -> Outcome {
    let state = State::at(run, span.until);
    let servers = state.scope(run, scope);
    let clients: Vec<ClientId> = match client {
        Some(client) => run.client(client).into_iter().collect(),
        None => run.clients().collect(),
    };
    let known = |client: &&ClientId| servers.iter().any(|&server| state.held(server, **client) > 0);
    let clients: Vec<_> = clients.iter().filter(known).collect();
    if servers.len() < 2 || clients.is_empty() {
        return Outcome::Unobserved("there are no two servers with a line to compare".into());
    }
    let differs = |client: ClientId| servers.iter().any(|&s| state.held(s, client) != state.held(servers[0], client));
    match clients.into_iter().copied().find(|&client| differs(client)) {
        Some(client) => violated(run, &state, &servers, client, span),
        None => Outcome::Holds,
    }
}

fn violated(run: &Run<'_>, state: &State, servers: &[ServerId], client: ClientId, span: Span) -> Outcome {
    let mut ranks: Vec<u32> = servers.iter().map(|&server| state.held(server, client)).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let told = ranks.iter().rev().map(|&rank| {
        let holders: Vec<ServerId> = servers.iter().copied().filter(|&s| state.held(s, client) == rank).collect();
        let changes = holders.iter().filter_map(|&server| run.last_change(server, client, span.until));
        let since: Vec<usize> = changes.map(|change| change.entry).collect();
        let hold = if holders.len() == 1 { "holds" } else { "hold" };
        let hold = format!("{} {hold}", names(&holders, &run.history.origin.servers));
        let cause = match rank {
            0 => Cause::new(&format!("{hold} nothing"), format!("{hold} nothing")),
            rank => {
                let version = run.ranked(client, rank);
                let title = format!("{hold} {}", version.report.at().stated_time());
                Cause::new(&title, format!("{hold} `{}`", version.report.line())).of(version)
            }
        };
        let cause = cause.about(run, holders);
        match since.iter().max() {
            Some(&last) => cause.lasting(run, last, None).shown(since),
            None => cause,
        }
    });
    Outcome::Violated(Box::new(Explanation {
        headline: format!(
            "{} hold {} different lines about {}",
            names(servers, &run.history.origin.servers),
            ranks.len(),
            run.client_name(client)
        ),
        expected: format!("one line about {}", run.client_name(client)),
        actual: format!("{} different ones", ranks.len()),
        at: Some(run.since_start(run.end_of(span.until))),
        because: told.collect(),
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Scope, Verdict};
    use crate::history::build::{herd, line};

    const EVERYBODY: Assertion = Assertion::AgreeLine { client: None, scope: Scope::Core };

    #[test]
    fn holds_when_all_hold_one_line() {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = ["Bailey", "Campbell", "Clark", "Jaquez"]
            .into_iter()
            .fold(herd().accepted("Bona", "kiwi", 1), |herd, to| herd.told("Bona", to, &kiwi));
        assert_eq!(herd.verdict(EVERYBODY), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_two_lines_of_one_time() {
        let scope = Scope::Servers(herd().servers(&["Bona", "Clark"]));
        let herd = herd().accepted("Bona", "kiwi", 1).accepted("Clark", "kiwi", 1);
        assert_eq!(
            herd.explanation(Assertion::AgreeLine { client: Some("kiwi".into()), scope }),
            "expected: one line about kiwi\nactual: 2 different ones\n\
             - Clark holds `AT Clark +0.263873386 kiwi +34.068930-118.445127 1`\n\
             - Bona holds `AT Bona +0.263873386 kiwi +34.068930-118.445127 1`"
        );
    }
}
