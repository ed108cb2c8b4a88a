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
        expected: format!("{} is stale about {client}", run.name(server)),
        actual: knows::holds(run, &state, server, client),
        at: Some(run.since_start(run.end_of(span.until))),
        because: knows::since(run, span, server, id).into_iter().collect(),
    }))
}
