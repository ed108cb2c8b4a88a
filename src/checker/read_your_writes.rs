//! `read_your_writes`: a talker's read never shows an older version than its own acknowledged write.

use super::run::{Read, Run, Write};
use super::{Explanation, Outcome, Span, cause};
use crate::wire::{Command, parse};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    let mut observed = false;
    for read in run.asked.iter().filter(|asked| asked.reply.is_some_and(|reply| span.has(reply))) {
        let Command::Whatsat { client, .. } = parse(&read.line) else { continue };
        let own = run.acknowledged().iter().take_while(|write| write.entry < read.entry).filter(|write| {
            let same = write.session.is_some_and(|session| run.talker(session) == run.talker(read.session));
            same && run.version(write.version).report.client() == client
        });
        let Some(own) = own.max_by_key(|write| run.rank(write.version)) else { continue };
        observed = true;
        let shown = run.reads.iter().find(|shown| Some(shown.replied) == read.reply);
        if shown.is_none_or(|shown| run.rank(shown.version) < run.rank(own.version)) {
            return violated(run, own, shown, read.reply.expect("only answered reads are looked at"), read.server);
        }
    }
    Outcome::observed(observed, "nobody read what it had written")
}

fn violated(
    run: &Run<'_>,
    own: &Write,
    shown: Option<&Read>,
    entry: usize,
    server: crate::config::ServerId,
) -> Outcome {
    let shown = shown.map_or("that it knows nothing".into(), |shown| run.tell(run.version(shown.version)));
    let wrote = run.tell(run.version(own.version));
    let acknowledged = format!("{} had acknowledged the write at {}", run.name(own.server), run.when(own.entry));
    Outcome::Violated(Box::new(Explanation {
        headline: format!("{} answered {shown} to a client that had written {wrote}", run.name(server)),
        expected: format!("{wrote} or something newer"),
        actual: format!("{} answered {shown}", run.name(server)),
        at: Some(run.since_start(run.entry(entry).at)),
        because: vec![cause::acknowledged(run, own, acknowledged)],
    }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::build::{herd, line};

    #[test]
    fn holds_when_the_own_write_is_read() {
        let herd =
            herd().accepted_by(Some(1), "Bona", "kiwi", 1, true).read(1, "Bona", "kiwi", &line("Bona", "kiwi", 1));
        assert_eq!(herd.verdict(Assertion::ReadYourWrites), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_an_older_answer_and_by_none() {
        let wrote = || herd().accepted("Bona", "kiwi", 1).accepted_by(Some(1), "Bona", "kiwi", 2, true);
        let older = wrote().read(1, "Bona", "kiwi", &line("Bona", "kiwi", 1));
        assert_eq!(
            older.explanation(Assertion::ReadYourWrites),
            "expected: kiwi's 2 or something newer\nactual: Bona answered kiwi's 1\n\
             - Bona had acknowledged the write at 0 ms"
        );
        let none = wrote().asked_by(1, "Bona", "WHATSAT kiwi 10 5", Some("? WHATSAT kiwi 10 5\n"));
        assert_eq!(none.verdict(Assertion::ReadYourWrites), Verdict::Failed);
    }

    #[test]
    fn is_unproven_when_only_others_read() {
        let herd =
            herd().accepted_by(Some(1), "Bona", "kiwi", 1, true).read(2, "Bona", "kiwi", &line("Bona", "kiwi", 1));
        assert_eq!(herd.verdict(Assertion::ReadYourWrites), Verdict::Unproven);
    }
}
