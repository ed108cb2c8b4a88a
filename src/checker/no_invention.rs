//! `no_invention`: every record held or sent was made by an `IAMAT` of this run.

use super::run::Run;
use super::{Explanation, Outcome, Span};
use crate::history::{Event, Fact};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let mut made = vec![false; run.versions.len()];
    for write in &run.writes {
        made[write.version.index()] = true;
    }
    let invented = span.entries().find_map(|index| Some((index, run.subject(index).filter(|id| !made[id.index()])?)));
    let Some((index, version)) = invented else {
        return Outcome::observed(!run.writes.is_empty(), "no IAMAT was taken");
    };
    let version = run.version(version);
    let line = version.report.line();
    Outcome::Violated(Box::new(Explanation {
        headline: format!("{} {}, which no IAMAT of this run made", who(run, index), run.tell(version)),
        expected: "only records that an IAMAT of this run made".into(),
        actual: format!("{} `{line}`, which no server of the herd made", who(run, index)),
        at: Some(run.since_start(run.entry(index).at)),
        because: Vec::new(),
    }))
}

fn who(run: &Run<'_>, index: usize) -> String {
    let Fact::Saw(event) = &run.entry(index).fact else { unreachable!("only events are about reports") };
    match event {
        Event::Sent { way, .. } | Event::Vanished { way, .. } => {
            format!("{} sent {}", run.name(way.from), run.name(way.to))
        }
        Event::Missed { way, .. } => format!("{} owed {}", run.name(way.from), run.name(way.to)),
        Event::Heard { server, from: Some(hop), .. } => {
            format!("{} heard from {}", run.name(*server), run.name(hop.server))
        }
        Event::Heard { server, .. } => format!("{} heard from a stranger", run.name(*server)),
        Event::Answered { server, .. } => format!("{} answered", run.name(*server)),
        _ => "somebody held".into(),
    }
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{herd, line};

    #[test]
    fn holds_when_every_line_goes_back_to_an_iamat() {
        let kiwi = line("Bona", "kiwi", 1);
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &kiwi);
        assert_eq!(herd.verdict(Assertion::NoInvention), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_a_line_that_nobody_made() {
        let herd = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &line("Bona", "kiwi", 2));
        assert_eq!(
            herd.explanation(Assertion::NoInvention),
            "expected: only records that an IAMAT of this run made\n\
             actual: Bona sent Clark `AT Bona +0.263873386 kiwi +34.068930-118.445127 2`, which no server of the herd made"
        );
    }

    #[test]
    fn is_unproven_without_any_iamat() {
        assert_eq!(herd().verdict(Assertion::NoInvention), Verdict::Unproven);
    }
}
