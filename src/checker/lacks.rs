//! `lacks`: each of these servers runs and holds no such record. What [`super::knows`] asks for.

use super::run::Run;
use super::state::State;
use super::{Explanation, Outcome, Span, knows};
use crate::claim::VersionBound;
use crate::config::ServerId;

pub(super) fn judge(run: &Run<'_>, span: Span, client: &str, version: &VersionBound, on: &[ServerId]) -> Outcome {
    let state = State::at(run, span.until);
    let knows = |server: ServerId| knows::fits(run, &state, server, client, version);
    let Some(&server) = on.iter().find(|&&server| state.is_down(server) || knows(server)) else {
        return Outcome::Holds;
    };
    let id = run.client(client).filter(|_| !state.is_down(server));
    Outcome::Violated(Box::new(Explanation {
        headline: format!(
            "{} and should run without {}",
            knows::holds_briefly(run, &state, server, client),
            version.of(client, &run.history.origin.servers)
        ),
        expected: format!("{} runs and lacks {}", run.name(server), version.of(client, &run.history.origin.servers)),
        actual: knows::holds(run, &state, server, client),
        at: Some(run.since_start(run.end_of(span.until))),
        because: id.and_then(|client| knows::since(run, span, server, client)).into_iter().collect(),
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict, VersionBound};
    use crate::history::build::herd;

    fn lacks(on: &[&str]) -> Assertion {
        Assertion::Lacks { client: "kiwi".into(), version: VersionBound::default(), on: herd().servers(on) }
    }

    #[test]
    fn holds_for_who_knows_nothing() {
        assert_eq!(herd().accepted("Bona", "kiwi", 1).verdict(lacks(&["Clark"])), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_who_knows_and_by_the_dead() {
        assert_eq!(
            herd().accepted("Bona", "kiwi", 1).explanation(lacks(&["Bona"])),
            "expected: Bona runs and lacks kiwi\n\
             actual: Bona holds `AT Bona +0.263873386 kiwi +34.068930-118.445127 1`\n\
             - Bona got it at 0 ms"
        );
        assert_eq!(herd().kill("Clark", 0).verdict(lacks(&["Clark"])), Verdict::Failed);
    }
}
