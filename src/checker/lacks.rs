//! `lacks`: each of these servers runs and holds no such record. What [`super::knows`] asks for.

use super::assertion::VersionBound;
use super::run::Run;
use super::state::State;
use super::{Explanation, Outcome, Span, knows};
use crate::config::ServerId;

pub(super) fn judge(run: &Run<'_>, span: Span, client: &str, version: &VersionBound, on: &[ServerId]) -> Outcome {
    let state = State::at(run, span.until);
    let knows = |server: ServerId| knows::fits(run, &state, server, client, version);
    let Some(&server) = on.iter().find(|&&server| state.is_down(server) || knows(server)) else {
        return Outcome::Holds;
    };
    let id = run.client(client).filter(|_| !state.is_down(server));
    Outcome::Violated(Box::new(Explanation {
        expected: format!("{} runs and lacks {}", run.name(server), version.of(client, &run.history.origin.servers)),
        actual: knows::holds(run, &state, server, client),
        at: Some(run.since_start(run.end_of(span.until))),
        because: id.and_then(|client| knows::since(run, span, server, client)).into_iter().collect(),
    }))
}
