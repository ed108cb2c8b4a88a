//! `no_invention`: every record held or sent was made by an `IAMAT` of this run.

use super::run::{Run, VersionId};
use super::{Explanation, Outcome, Span};
use crate::history::{Event, Fact};
use crate::wire::{Command, parse};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let mut made = vec![false; run.versions.len()];
    for write in &run.writes {
        made[write.version.index()] = true;
    }
    let is_made = |id: VersionId| made[id.index()] || may_have_been_taken(run, id);
    let told = span.entries().filter_map(|index| Some((index, run.subject(index)?)));
    let shown = run.shown.iter().enumerate().filter(|(_, shown)| span.has(shown.answered));
    let shown = shown.filter_map(|(place, shown)| Some((shown.answered, run.shown_version(place)?.1?)));
    let Some((index, version)) = told.chain(shown).find(|&(_, version)| !is_made(version)) else {
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

/// Returns `true` if a server that is seen from outside was sent such an `IAMAT`: whether it took it need not be known.
fn may_have_been_taken(run: &Run<'_>, version: VersionId) -> bool {
    let made = run.version(version).report.at();
    let is_it = |line: &[u8]| match parse(line) {
        Command::Iamat { client, location, stated, .. } => {
            (client, location, stated) == (made.client(), made.location(), made.stated_time())
        }
        _ => false,
    };
    let mut asked = run.asked.iter().filter(|asked| run.history.origin.is_outside(asked.server));
    asked.any(|asked| run.name(asked.server) == made.origin() && is_it(&asked.line))
}

fn who(run: &Run<'_>, index: usize) -> String {
    let event = match &run.entry(index).fact {
        Fact::Saw(event) => event,
        Fact::Probed { server, .. } => return format!("{} holds", run.name(*server)),
        _ => unreachable!("only events and answers are about reports"),
    };
    match event {
        Event::Replied { .. } => "a server answered".into(),
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
