//! `queue_bound`: no way ever has more than so many lines written and not read.

use super::run::Run;
use super::{Explanation, Outcome, Span};
use crate::config::Way;
use crate::history::{Event, Fact, Hop};
use crate::words::count;

pub(super) fn judge(run: &Run<'_>, span: Span, bound: u64) -> Outcome {
    let mut waiting = vec![0_u64; run.ways.len()];
    let mut sent = false;
    for (index, entry) in run.history.entries.iter().enumerate().take(span.until) {
        let Fact::Saw(event) = &entry.fact else { continue };
        match *event {
            Event::Sent { way, .. } => {
                sent = true;
                let Some(place) = run.way(way) else { continue };
                waiting[place] += 1;
                if waiting[place] > bound && span.has(index) {
                    return violated(run, way, waiting[place], bound, index);
                }
            }
            Event::Heard { server, from: Some(Hop { server: from, .. }), .. } => {
                if let Some(place) = run.way(Way { from, to: server }) {
                    waiting[place] = waiting[place].saturating_sub(1);
                }
            }
            Event::Vanished { way, .. } => {
                if let Some(place) = run.way(way) {
                    waiting[place] = waiting[place].saturating_sub(1);
                }
            }
            Event::LinkLost { way, .. } => {
                if let Some(place) = run.way(way) {
                    waiting[place] = 0;
                }
            }
            _ => {}
        }
    }
    Outcome::observed(sent, "no server sent a line")
}

fn violated(run: &Run<'_>, way: Way, waiting: u64, bound: u64, entry: usize) -> Outcome {
    let on = format!("{}->{}", run.name(way.from), run.name(way.to));
    Outcome::Violated(Box::new(Explanation {
        headline: format!("{} waited on the way {on} instead of at most {bound}", count(waiting, "line")),
        expected: format!("at most {} on a way, written and not read", count(bound, "line")),
        actual: format!("{waiting} on {on}"),
        at: Some(run.since_start(run.entry(entry).at)),
        because: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{herd, line};

    fn sent(lines: u32) -> crate::history::build::Builder {
        (1..=lines).fold(herd(), |herd, time| {
            herd.accepted("Bona", "kiwi", time).sent("Bona", "Clark", &line("Bona", "kiwi", time))
        })
    }

    #[test]
    fn holds_up_to_the_bound() {
        let read = sent(2).heard("Bona", "Clark", &line("Bona", "kiwi", 1), true);
        let herd = read.accepted("Bona", "kiwi", 3).sent("Bona", "Clark", &line("Bona", "kiwi", 3));
        assert_eq!(herd.verdict(Assertion::QueueBound { lines: 2 }), Verdict::Passed);
    }

    #[test]
    fn is_violated_above_it() {
        assert_eq!(
            sent(3).explanation(Assertion::QueueBound { lines: 2 }),
            "expected: at most 2 lines on a way, written and not read\nactual: 3 on Bona->Clark"
        );
    }
}
