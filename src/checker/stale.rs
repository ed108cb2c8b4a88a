//! `stale`: each of these servers runs and holds less about a client than the newest that a running server holds.

use super::run::Run;
use super::state::State;
use super::{Explanation, Outcome, Span, knows};
use crate::config::ServerId;

pub(super) fn judge(run: &Run<'_>, span: Span, client: &str, on: &[ServerId]) -> Outcome {
    let state = State::at(run, span.until);
    let newest = run.client(client).map_or(0, |client| state.newest(client));
    if newest == 0 {
        return Outcome::Unobserved(format!("no running server knows {client}"));
    }
    let id = run.client(client).expect("somebody holds it");
    let Some(&server) = on.iter().find(|&&s| state.is_down(s) || state.held(s, id) >= newest) else {
        return Outcome::Holds;
    };
    Outcome::Violated(Box::new(Explanation {
        headline: format!("{} and should be stale about {client}", knows::holds_briefly(run, &state, server, client)),
        expected: format!("{} is stale about {client}", run.name(server)),
        actual: knows::holds(run, &state, server, client),
        at: Some(run.since_start(run.end_of(span.until))),
        because: knows::since(run, span, server, id).into_iter().collect(),
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::Builder;
    use crate::history::build::{herd, line};

    fn stale(on: &[&str]) -> Assertion {
        Assertion::Stale { client: "kiwi".into(), on: herd().servers(on) }
    }

    fn behind() -> Builder {
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &line("Bona", "kiwi", 1));
        herd.accepted("Bona", "kiwi", 2)
    }

    #[test]
    fn holds_for_who_holds_less_and_for_who_holds_nothing() {
        assert_eq!(behind().verdict(stale(&["Clark", "Jaquez"])), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_who_holds_the_newest_and_by_the_dead() {
        assert_eq!(
            behind().explanation(stale(&["Clark", "Bona"])),
            "expected: Bona is stale about kiwi\n\
             actual: Bona holds `AT Bona +0.263873386 kiwi +34.068930-118.445127 2`\n\
             - Bona got it at 0 ms"
        );
        let dead = behind().kill("Clark", 1).explanation(stale(&["Clark"]));
        assert!(dead.contains("actual: Clark is down"), "{dead}");
    }
}
