//! `available`: every command to these servers is answered, and in time.

use std::time::Duration;

use super::run::{Asked, Run};
use super::state::State;
use super::{Explanation, Outcome, Span};
use crate::claim::Scope;
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
    let actual = match reply.map(|reply| run.entry(reply).at - run.entry(asked.entry).at) {
        None => "there was no answer".into(),
        Some(took) if within.is_some_and(|within| took > within) => format!("it took {}", short(took)),
        Some(_) => return None,
    };
    let within = within.map_or(String::new(), |within| format!(" within {}", short(within)));
    Some(Outcome::Violated(Box::new(Explanation {
        expected: format!("{} answers `{line}`{within}", run.name(asked.server)),
        actual,
        at: Some(run.since_start(run.entry(asked.entry).at)),
        because: state(run, asked).into_iter().collect(),
    })))
}

/// What kept the server from answering.
fn state(run: &Run<'_>, asked: &Asked) -> Option<String> {
    let state = State::at(run, asked.entry);
    let server = run.name(asked.server);
    match state.life[asked.server.index()] {
        super::state::Life::Down => Some(format!("{server} was down")),
        super::state::Life::Paused => Some(format!("{server} was paused")),
        super::state::Life::Running => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Scope, Verdict};
    use crate::driver::Event;
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
