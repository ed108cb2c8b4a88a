//! `no_lost`: every acknowledged write is covered by a server of the core at the end.

use super::lost::lost;
use super::run::Run;
use super::state::State;
use super::{Explanation, Outcome, Span};
use crate::driver::Event;
use crate::history::Fact;
use crate::words::count;

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let lost = lost(run, span);
    let Some(&first) = lost.first() else {
        return Outcome::observed(!run.writes.is_empty(), "no IAMAT was taken");
    };
    let version = run.version(first.version);
    let more = match lost.len() - 1 {
        0 => String::new(),
        more => format!(", and {} more", count(more as u64, "write")),
    };
    let origin = run.name(first.server);
    let mut because = vec![format!("{origin} acknowledged it at {}", run.when(first.entry))];
    because.extend(fates(run, span, version.client, version.rank));
    Outcome::Violated(Box::new(Explanation {
        expected: "every acknowledged write is held, or something newer, in the core".into(),
        actual: format!("nobody there holds {}{more}", run.tell(version)),
        at: Some(run.since_start(run.end_of(span.until))),
        because,
    }))
}

/// What became of it everywhere it was known.
fn fates(run: &Run<'_>, span: Span, client: super::run::ClientId, rank: u32) -> Vec<String> {
    let forgot = |change: &&super::run::Change| change.client == client && change.before >= rank && change.after == 0;
    let mut told: Vec<String> = run
        .changes
        .iter()
        .filter(|change| change.entry < span.until)
        .filter(forgot)
        .take(5)
        .map(|change| {
            format!(
                "{} forgot it when it {} at {}",
                run.name(change.server),
                ended(run, change.entry),
                run.when(change.entry)
            )
        })
        .collect();
    let state = State::at(run, span.until);
    let outside = run.servers().filter(|&server| state.held(server, client) >= rank);
    told.extend(outside.take(5).map(|server| format!("{} holds it and is not in the core", run.name(server))));
    told
}

fn ended(run: &Run<'_>, entry: usize) -> &'static str {
    match run.entry(entry).fact {
        Fact::Saw(Event::Killed { .. }) => "was killed",
        Fact::Saw(Event::Stopped { .. }) => "was stopped",
        _ => "crashed",
    }
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{herd, line};

    #[test]
    fn holds_when_another_server_survives_with_it() {
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &line("Bona", "kiwi", 1)).kill("Bona", 1);
        assert_eq!(herd.verdict(Assertion::NoLost), Verdict::Passed);
    }

    #[test]
    fn is_violated_when_it_dies_with_its_only_server() {
        let herd = herd().accepted("Bona", "kiwi", 1).at(1200, |herd| herd.kill("Bona", 1));
        assert_eq!(
            herd.explanation(Assertion::NoLost),
            "expected: every acknowledged write is held, or something newer, in the core\n\
             actual: nobody there holds kiwi's 1\n\
             - Bona acknowledged it at 0 ms\n\
             - Bona forgot it when it was killed at 1.2 s"
        );
    }
}
