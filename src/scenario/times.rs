//! Fixed times beside present ones: which of two updates is newer then depends on when, and on what, the scenario is run.
//!
//! Virtual time begins at the same moment in every run. A fixed time after that moment is later than the present there, and on real
//! sockets earlier. Not here: whether a text is a time at all ([`super::talk`]).

use super::{ClientTime, Said, Step, Task};
use crate::diagnostic::{Problem, quoted};
use crate::time::VIRTUAL_START;
use crate::wire::{Command, PosixTime, lines, parse};

/// Returns a warning for each step of the file itself with a fixed time after the start of virtual time, about a client that
/// other steps update at the present.
pub(super) fn problems(steps: &[Step]) -> Vec<Problem> {
    let present: Vec<_> = steps.iter().filter_map(present_update).collect();
    let is_at_present = |client: &str| present.iter().any(|update| update.is_about(client));
    let own = steps.iter().filter(|step| step.shown.file.is_none());
    let fixed = own.filter_map(|step| Some((step, fixed_update(step).filter(|client| is_at_present(client))?)));
    fixed.map(|(step, client)| warning(step, &client)).collect()
}

fn warning(step: &Step, client: &str) -> Problem {
    let title = format!("whether this time is newer than the others of {} depends on the driver", quoted(client));
    let problem = Problem::warning(step.span.clone(), title).note(
        "virtual time begins at 2026-01-01 00:00:00 UTC, real time is the present, and this lies between or after them",
    );
    problem.help("give a time before 2026, or use `ahead` for a time relative to the present")
}

/// Clients that are updated at the present.
enum Update<'a> {
    Client(&'a str),
    /// Clients of a workload, by what their names begin with.
    Prefix(&'a str),
}

impl Update<'_> {
    fn is_about(&self, client: &str) -> bool {
        match self {
            Self::Client(updated) => *updated == client,
            Self::Prefix(prefix) => client.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-')),
        }
    }
}

fn present_update(step: &Step) -> Option<Update<'_>> {
    match &step.task {
        Task::Talk(talk) => match &talk.said {
            Said::Iamat { client, time: ClientTime::Clock(_), .. } => Some(Update::Client(client)),
            _ => None,
        },
        Task::Workload(workload) => Some(Update::Prefix(&workload.prefix)),
        _ => None,
    }
}

/// Returns the client that a step updates with a fixed time after the start of virtual time.
fn fixed_update(step: &Step) -> Option<String> {
    let Task::Talk(talk) = &step.task else { return None };
    let is_after = |time: PosixTime| time.seconds >= VIRTUAL_START.nanoseconds() / 1_000_000_000;
    match &talk.said {
        Said::Iamat { client, time: ClientTime::Text(text), .. } => {
            PosixTime::parse(text).ok().filter(|time| is_after(*time)).map(|_| client.to_string())
        }
        Said::Iamat { .. } => None,
        Said::Bytes(bytes) => lines(bytes, true).find_map(|line| match parse(line) {
            Command::Iamat { client, time, .. } if is_after(time) => Some(client.to_owned()),
            _ => None,
        }),
    }
}
