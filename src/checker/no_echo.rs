//! `no_echo`: a version never goes back over the pair of servers it was learned from.
//!
//! A version that was learned before either way of the pair came up may be replayed over it: when the neighbour dials again,
//! it may be another life of it that knows nothing, however long the way back has been up. So may a version that came by a
//! connection which has ended since, as when a frozen server reads it later. A neighbour that is seen from outside does not tell
//! when its way came up: it may always be another life of it.

use hashbrown::HashMap;

use super::run::{Run, VersionId};
use super::{Cause, Explanation, Outcome, Span};
use crate::config::{ServerId, Way};
use crate::history::{Event, Fact, Hop};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    // Looked up, never walked.
    let mut learned: HashMap<(ServerId, VersionId), (Hop, usize)> = HashMap::with_capacity(run.changes.len());
    let mut up_since = vec![0; run.ways.len()];
    // The last connection of each way that has ended.
    let mut ended = vec![0; run.ways.len()];
    let mut sent = false;
    for (index, entry) in run.history.entries.iter().enumerate().take(span.until) {
        match entry.fact {
            Fact::Saw(Event::Heard { server, from: Some(hop), newer: true, .. }) => {
                learned.insert((server, run.subject(index).expect("a report")), (hop, index));
            }
            Fact::Saw(Event::LinkUp { way, connection }) => {
                if let Some(place) = run.way(way) {
                    (up_since[place], ended[place]) = (index, connection.saturating_sub(1));
                }
            }
            Fact::Saw(Event::LinkLost { way, connection, .. }) => {
                if let Some(place) = run.way(way) {
                    ended[place] = connection;
                }
            }
            Fact::Saw(Event::Sent { way, .. }) if !run.history.origin.is_outside(way.to) => {
                sent = true;
                let version = run.subject(index).expect("a report");
                let back = learned.get(&(way.from, version)).filter(|(hop, _)| hop.server == way.to && span.has(index));
                let stands = |hop: Hop| run.way(way.back()).is_none_or(|place| hop.connection > ended[place]);
                let came_up =
                    || [way, way.back()].into_iter().filter_map(|way| run.way(way)).map(|place| up_since[place]).max();
                if let Some(&(_, at)) = back.filter(|&&(hop, at)| at >= came_up().unwrap_or(0) && stands(hop)) {
                    return violated(run, way, version, at, index);
                }
            }
            _ => {}
        }
    }
    Outcome::observed(sent, "no server sent a line")
}

fn violated(run: &Run<'_>, way: Way, version: VersionId, learned: usize, entry: usize) -> Outcome {
    let (from, to) = (run.name(way.from), run.name(way.to));
    let version = run.version(version);
    let heard = format!("{from} had heard it from {to} at {}", run.when(learned));
    let heard = Cause::new(&format!("{from} heard it from {to}"), heard).shown([learned, entry]).of(version);
    let heard = heard.about(run, [way.from, way.to]).on(run, [way, way.back()]).lasting(run, learned, Some(entry));
    Outcome::Violated(Box::new(Explanation {
        headline: format!("{from} sent {} back to {to}, from which it had heard it", run.tell(version)),
        expected: format!("{from} does not send {to} what it has from {to}"),
        actual: format!("{from} sent {to} {}", run.tell(version)),
        at: Some(run.since_start(run.entry(entry).at)),
        because: vec![heard],
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{Builder, herd, line};
    use crate::history::{Event, Hop};

    #[test]
    fn holds_when_lines_cross_and_when_they_are_replayed() {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &kiwi);
        let way = herd.way("Clark", "Bona");
        let herd = herd.up(way).told("Clark", "Bona", &kiwi);
        assert_eq!(herd.verdict(Assertion::NoEcho), Verdict::Passed);
    }

    #[test]
    fn holds_when_the_version_came_by_a_connection_that_has_ended() {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = herd().accepted("Bona", "kiwi", 1);
        let way = herd.way("Bona", "Clark");
        // Clark was frozen: it reads the first connection after the second one has opened.
        let heard = |herd: Builder, connection| {
            let from = Some(Hop { server: way.from, connection });
            herd.saw(Event::Heard { server: way.to, life: 1, from, report: Builder::report(&kiwi), newer: true })
        };
        for (connection, verdict) in [(1, Verdict::Passed), (2, Verdict::Failed)] {
            let herd = heard(herd.clone().up(way), connection).told("Clark", "Bona", &kiwi);
            assert_eq!(herd.verdict(Assertion::NoEcho), verdict, "{connection}");
        }
        let lost = heard(herd.lost(way, 0), 1).told("Clark", "Bona", &kiwi);
        assert_eq!(lost.verdict(Assertion::NoEcho), Verdict::Passed);
    }

    #[test]
    fn holds_when_the_neighbour_has_dialled_again_since() {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &kiwi);
        let redialled = herd.way("Bona", "Clark");
        let herd = herd.up(redialled).sent("Clark", "Bona", &kiwi);
        assert_eq!(herd.verdict(Assertion::NoEcho), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_a_line_that_goes_back_after_another_pair_came_up() {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &kiwi);
        let other = herd.way("Jaquez", "Clark");
        let herd = herd.up(other).sent("Clark", "Bona", &kiwi);
        assert_eq!(herd.verdict(Assertion::NoEcho), Verdict::Failed);
    }

    #[test]
    fn is_violated_by_a_line_that_goes_back() {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &kiwi).sent("Clark", "Bona", &kiwi);
        assert_eq!(
            herd.explanation(Assertion::NoEcho),
            "expected: Clark does not send Bona what it has from Bona\nactual: Clark sent Bona kiwi's 1\n\
             - Clark had heard it from Bona at 0 ms"
        );
    }
}
