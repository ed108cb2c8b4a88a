//! `available`: every command to these servers is answered, and in time.

use std::time::Duration;

use super::run::Run;
use super::sessions::Asked;
use super::state::{Life, State};
use super::{Cause, Explanation, Outcome, Span};
use crate::claim::Scope;
use crate::config::ServerId;
use crate::diagnostic::quoted;
use crate::history::{Event, Fact};
use crate::words::short;

pub(super) fn judge(run: &Run<'_>, span: Span, on: &Scope, within: Option<Duration>) -> Outcome {
    let servers = State::at(run, span.until).scope(run, on);
    let mut asked =
        run.asked.iter().filter(|asked| span.has(asked.entry) && servers.contains(&asked.server)).peekable();
    if asked.peek().is_none() {
        return Outcome::Unobserved("no command was sent to them".into());
    }
    asked.find_map(|asked| refused(run, asked, span, within)).unwrap_or(Outcome::Holds)
}

fn refused(run: &Run<'_>, asked: &Asked, span: Span, within: Option<Duration>) -> Option<Outcome> {
    let line = String::from_utf8_lossy(&asked.line);
    let reply = asked.reply.filter(|&reply| reply < span.until);
    let took = reply.map(|reply| run.entry(reply).at - run.entry(asked.entry).at);
    if took.is_some_and(|took| within.is_none_or(|within| took <= within)) {
        return None;
    }
    let (server, command) = (run.name(asked.server), quoted(&line));
    let state = State::at(run, asked.entry).life[asked.server.index()];
    let why = trouble(state).map_or(String::new(), |trouble| format!(" because it was {trouble}"));
    let within = within.map_or(String::new(), |within| format!(" within {}", short(within)));
    Some(Outcome::Violated(Box::new(Explanation {
        headline: match took {
            None => format!("{server} did not answer {command}{why}"),
            Some(took) => format!("{server} took {} to answer {command}{why}", short(took)),
        },
        expected: format!("{server} answers `{line}`{within}"),
        actual: took.map_or("there was no answer".into(), |took| format!("it took {}", short(took))),
        at: Some(run.since_start(run.entry(asked.entry).at)),
        because: cause(run, asked, state, span).into_iter().collect(),
    })))
}

/// Returns what kept the server from answering.
fn cause(run: &Run<'_>, asked: &Asked, state: Life, span: Span) -> Option<Cause> {
    let trouble = trouble(state)?;
    let server = run.name(asked.server);
    let cause = Cause::new(&format!("{server} {trouble}"), format!("{server} was {trouble}"));
    let cause = cause.about(run, [asked.server]);
    let turns = |from: usize, until: usize| {
        run.turns.iter().copied().skip_while(move |&turn| turn < from).take_while(move |&turn| turn < until)
    };
    let began = turns(0, asked.entry).filter(|&turn| leaves(&run.entry(turn).fact, asked.server, state)).last();
    let ended = turns(asked.entry, span.until).find(|&turn| comes_back(&run.entry(turn).fact, asked.server));
    Some(match began {
        Some(began) => cause.shown([began]).shown(ended).shown([asked.entry]).lasting(run, began, ended),
        None => cause.at(run, asked.entry),
    })
}

/// Returns what keeps a server of this state from answering.
fn trouble(state: Life) -> Option<&'static str> {
    match state {
        Life::Down => Some("down"),
        Life::Paused => Some("paused"),
        Life::Running => None,
    }
}

/// Returns `true` if a server goes down or pauses, as `state` says.
fn leaves(fact: &Fact, of: ServerId, state: Life) -> bool {
    match fact {
        Fact::Saw(Event::Paused { server, .. }) => *server == of && state == Life::Paused,
        Fact::Saw(event) => event.ended() == Some(&of) && state == Life::Down,
        _ => false,
    }
}

fn comes_back(fact: &Fact, of: ServerId) -> bool {
    matches!(fact, Fact::Saw(Event::Started { server, .. } | Event::Resumed { server, .. }) if *server == of)
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Scope, Verdict};
    use crate::history::Event;
    use crate::history::build::herd;

    const EVERYBODY: Assertion = Assertion::Available { on: Scope::Running, within: None };

    #[test]
    fn holds_when_every_command_is_answered() {
        assert_eq!(herd().asked("Bona", "what?", Some("? what?\n")).verdict(EVERYBODY), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_silence() {
        let herd = herd();
        let bona = herd.server("Bona");
        let herd = herd.saw(Event::Paused { server: bona, life: 1 }).asked("Bona", "what?", None);
        let herd = herd.saw(Event::Resumed { server: bona, life: 1 });
        assert_eq!(
            herd.explanation(EVERYBODY),
            "expected: Bona answers `what?`\nactual: there was no answer\n- Bona was paused"
        );
    }
}
