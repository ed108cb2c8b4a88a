//! What a claim needs to know and nobody saw, where servers are seen from outside.
//!
//! Not here: when what was seen happened ([`super::evidence`]).

use super::Span;
use super::run::{ClientId, Run};
use super::state::State;
use crate::act::Action;
use crate::claim::Needs;
use crate::config::ServerId;
use crate::history::{Fact, History};
use crate::wire::{Command, parse};
use crate::words::names;

/// Returns what a claim needs and nobody saw, in words. `holds` tells whether what was seen fulfils the claim.
pub(super) fn unseen(run: &Run<'_>, span: Span, needs: &Needs<'_>, holds: bool) -> Option<String> {
    let origin = &run.history.origin;
    match needs {
        Needs::Clients => None,
        // What was seen may break a claim about everything that servers do, and cannot prove it.
        Needs::Deeds if !holds => None,
        Needs::Deeds => {
            let outside: Vec<_> = run.servers().filter(|&server| origin.is_outside(server)).collect();
            let see = if outside.len() == 1 { "is" } else { "are" };
            Some(format!("{} {see} seen from outside and did not tell what was done", names(&outside, &origin.servers)))
        }
        Needs::Records { client, scope } | Needs::Changes { client, scope } => {
            let state = State::at(run, span.until);
            let servers = state.scope(run, scope);
            let asked = servers.into_iter().filter(|&server| origin.is_outside(server) && !state.is_down(server));
            asked.into_iter().find_map(|server| unasked(run, span, server, *client))
        }
    }
}

/// Returns why it is not known what a server holds of a client, or of any client of the run.
fn unasked(run: &Run<'_>, span: Span, server: ServerId, client: Option<&str>) -> Option<String> {
    let name = run.name(server);
    let missing = match client {
        Some(client) => (!is_known(run, span, server, client)).then(|| client.to_owned()),
        None => {
            let clients = run.clients().map(|client: ClientId| run.client_name(client));
            let mut unknown = clients.filter(|client| !is_known(run, span, server, client));
            unknown.next().map(str::to_owned)
        }
    };
    let client = missing?;
    let silent = run.history.entries[..span.until].iter().rev().find_map(|entry| match &entry.fact {
        Fact::Unanswered { server: of, reason, .. } if *of == server => Some((entry, reason)),
        _ => None,
    });
    Some(match silent {
        Some((entry, reason)) => {
            format!("{name} was asked at {} and did not answer: {reason}", run.clock(entry.at))
        }
        None => format!("{name} is seen from outside, and nobody asked it in the end what it knows about {client}"),
    })
}

/// Returns `true` if an answer shows what a server holds of a client before a span's end, and nothing came after it that could
/// have changed that.
fn is_known(run: &Run<'_>, span: Span, server: ServerId, client: &str) -> bool {
    let answers = run.shown.iter().filter(|shown| shown.answered < span.until);
    let mut of_both = answers.filter(|shown| shown.server == server && *shown.client == *client);
    let Some(last) = of_both.next_back() else { return false };
    let stirred = stirred(run, span.until, client);
    stirred.is_none_or(|stirred| stirred < last.asked)
        && (was_at_rest(run.history, stirred.unwrap_or(0), last.asked)
            || is_the_end(run.history, last.answered + 1, span.until))
}

/// Returns the last entry from which something may have followed for a client: an action, or an `IAMAT`.
fn stirred(run: &Run<'_>, until: usize, client: &str) -> Option<usize> {
    let acted = |fact: &Fact| matches!(fact, Fact::Did { action: Action::Server(..) | Action::Way(..), .. });
    let acted = run.history.entries[..until].iter().rposition(|entry| acted(&entry.fact));
    let says = |line: &[u8]| matches!(parse(line), Command::Iamat { client: said, .. } if said == client);
    let said = run.asked.iter().filter(|asked| asked.entry < until && says(&asked.line));
    let written = said.map(|asked| asked.reply.filter(|&reply| reply < until).unwrap_or(asked.entry));
    acted.max(written.max())
}

/// Returns `true` if the herd was found at rest between two entries.
fn was_at_rest(history: &History, from: usize, until: usize) -> bool {
    let entries = history.entries.get(from..until).unwrap_or_default();
    entries.iter().any(|entry| entry.fact == Fact::Quiescent(true))
}

/// Returns `true` if nothing stands between two entries but the same round of questions and what the script says of itself.
fn is_the_end(history: &History, from: usize, until: usize) -> bool {
    let is_talk = |fact: &Fact| {
        matches!(
            fact,
            Fact::Probing { .. }
                | Fact::Probed { .. }
                | Fact::Unanswered { .. }
                | Fact::StepBegan
                | Fact::StepEnded
                | Fact::Quiescent(_)
                | Fact::Silent(_)
                | Fact::Compared(_)
        )
    };
    history.entries.get(from..until).unwrap_or_default().iter().all(|entry| is_talk(&entry.fact))
}
