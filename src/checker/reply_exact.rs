//! `reply_exact`: one reply per command, of the form the protocol says.
//!
//! A command without reply counts when nothing excuses it: its server runs at the end, and its connection was not closed.

use super::run::Run;
use super::sessions::{Asked, first_line};
use super::state::State;
use super::{Explanation, Outcome, Span};
use crate::act::{Action, SessionId};
use crate::diagnostic::quoted;
use crate::history::{Event, Fact};
use crate::wire::{Command, parse};

pub(super) fn judge(run: &Run<'_>, span: Span) -> Outcome {
    if run.asked.is_empty() && run.unasked.is_empty() {
        return Outcome::Unobserved("no command was sent".into());
    }
    if let Some(&entry) = run.unasked.iter().find(|&&entry| span.has(entry)) {
        let reply = String::from_utf8_lossy(first_line(run.reply(entry).unwrap_or_default())).into_owned();
        let headline = format!("a client read the reply {} without a command", quoted(&reply));
        return violated(run, entry, headline, "no reply without a command".into(), format!("the reply `{reply}`"));
    }
    let mut asked = run.asked.iter().filter(|asked| span.has(asked.entry));
    asked.find_map(|asked| wrong(run, asked, span)).unwrap_or(Outcome::Holds)
}

fn wrong(run: &Run<'_>, asked: &Asked, span: Span) -> Option<Outcome> {
    let command = || String::from_utf8_lossy(&asked.line);
    let server = run.name(asked.server);
    let Some(replied) = asked.reply else {
        return owed(run, asked, span).then(|| {
            let headline = format!("{server} did not answer {}", quoted(&command()));
            let expected = format!("a reply to `{}`", command());
            violated(run, asked.entry, headline, expected, format!("none from {server}"))
        });
    };
    let reply = run.reply(replied)?;
    let form = form(run, asked, replied, reply).err()?;
    let answer = String::from_utf8_lossy(first_line(reply));
    let headline = format!("{server} answered {} to {}", quoted(&answer), quoted(&command()));
    let expected = format!("the reply to `{}` to be {form}", command());
    Some(violated(run, replied, headline, expected, format!("`{answer}`")))
}

/// Whether nothing excuses that a command has no reply before the span ends in quiescence.
fn owed(run: &Run<'_>, asked: &Asked, span: Span) -> bool {
    let runs = State::at(run, span.until).runs(asked.server);
    let later = asked.entry..span.until;
    let over = later.clone().any(|index| ends(&run.entry(index).fact, asked.session));
    let dies = |fact: &Fact| matches!(fact, Fact::Saw(event) if event.ended() == Some(&asked.server));
    let died = later.clone().any(|index| dies(&run.entry(index).fact));
    let quiescent = later.rev().any(|index| matches!(run.entry(index).fact, Fact::Quiescent(true)));
    runs && quiescent && !over && !died
}

fn ends(fact: &Fact, of: SessionId) -> bool {
    matches!(
        fact,
        Fact::Saw(Event::SessionLost { session, .. }) | Fact::Did { action: Action::Close(session), .. } if *session == of
    )
}

/// What the reply should be, when it is not.
fn form(run: &Run<'_>, asked: &Asked, replied: usize, reply: &[u8]) -> Result<(), String> {
    let refused = reply.strip_prefix(b"? ").and_then(|copy| copy.strip_suffix(b"\n")) == Some(&asked.line);
    match parse(&asked.line) {
        Command::Iamat { client, location, stated, .. } => {
            let full = || State::at(run, replied).clients_of(asked.server) >= run.history.origin.max_records;
            let exact = is_acknowledgement(reply, run.name(asked.server), [client, location, stated]);
            let ok = exact || (refused && full());
            if ok { Ok(()) } else { Err(format!("`AT {} SKEW {client} {location} {stated}`", run.name(asked.server))) }
        }
        Command::Whatsat { client, bound, .. } if refused => {
            let held_before = run.client(client).map_or(0, |c| State::at(run, asked.entry).held(asked.server, c));
            let held_after = run.client(client).map_or(0, |c| State::at(run, replied).held(asked.server, c));
            let unknown = held_before == 0 || held_after == 0;
            if unknown { Ok(()) } else { Err(format!("an AT line and up to {bound} places")) }
        }
        Command::Whatsat { client, bound, .. } => found(reply, client, bound),
        _ if refused => Ok(()),
        _ => Err("`? ` and a copy of it".into()),
    }
}

/// `AT server skew client location time`, the skew with a sign and nine decimals, the last three fields as they were sent.
fn is_acknowledgement(reply: &[u8], server: &str, fields: [&str; 3]) -> bool {
    let Some(line) = std::str::from_utf8(reply).ok().and_then(|reply| reply.strip_suffix('\n')) else { return false };
    let mut given = line.split(' ');
    let begins = given.next() == Some("AT") && given.next() == Some(server) && given.next().is_some_and(is_skew);
    begins && given.eq(fields)
}

fn is_skew(text: &str) -> bool {
    let Some((whole, fraction)) = text.strip_prefix(['+', '-']).and_then(|text| text.split_once('.')) else {
        return false;
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && fraction.len() == 9
}

/// An `AT` line of the client, then JSON with at most `bound` results, then exactly two line ends.
fn found(reply: &[u8], client: &str, bound: u8) -> Result<(), String> {
    let line = first_line(reply);
    match parse(line) {
        Command::At(line) if line.client() == client => {}
        _ => return Err(format!("an AT line about {client} and the places near it")),
    }
    let json = reply.get(line.len() + 1..).and_then(|rest| rest.strip_suffix(b"\n\n"));
    let json = json.filter(|json| !json.ends_with(b"\n") && memchr::memmem::find(json, b"\n\n").is_none());
    let json = json.ok_or("ended by exactly two line ends, with no empty line before")?;
    let value: serde_json::Value = serde_json::from_slice(json).map_err(|_| "an AT line and JSON")?;
    for key in ["html_attributions", "results", "status"] {
        value.get(key).ok_or_else(|| format!("JSON with the key `{key}`"))?;
    }
    let results = value["results"].as_array().map_or(usize::MAX, Vec::len);
    if results <= usize::from(bound) { Ok(()) } else { Err(format!("JSON with at most {bound} results")) }
}

fn violated(run: &Run<'_>, entry: usize, headline: String, expected: String, actual: String) -> Outcome {
    let at = Some(run.since_start(run.entry(entry).at));
    Outcome::Violated(Box::new(Explanation { headline, expected, actual, at, because: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use crate::claim::{Assertion, Verdict};
    use crate::history::Fact;
    use crate::history::build::{herd, line};

    const IAMAT: &str = "IAMAT kiwi +34.068930-118.445127 1";

    fn verdict(command: &str, reply: &str) -> Verdict {
        herd().asked("Bona", command, Some(reply)).verdict(Assertion::ReplyExact)
    }

    #[test]
    fn holds_for_the_replies_of_the_protocol() {
        assert_eq!(verdict(IAMAT, "AT Bona +0.263873386 kiwi +34.068930-118.445127 1\n"), Verdict::Passed);
        assert_eq!(verdict("WHATSAT nobody 10 5", "? WHATSAT nobody 10 5\n"), Verdict::Passed);
        assert_eq!(verdict("what?", "? what?\n"), Verdict::Passed);
        let json = "{\"html_attributions\":[],\"results\":[1,2],\"status\":\"OK\"}\n\n";
        assert_eq!(verdict("WHATSAT kiwi 10 2", &format!("{}\n{json}", line("Bona", "kiwi", 1))), Verdict::Passed);
    }

    #[test]
    fn is_violated_by_every_departure_from_them() {
        let json = "{\"html_attributions\":[],\"results\":[1,2],\"status\":\"OK\"}";
        let found = line("Bona", "kiwi", 1);
        for (command, reply) in [
            (IAMAT, "AT Clark +0.263873386 kiwi +34.068930-118.445127 1\n".to_owned()),
            (IAMAT, "AT Bona 0.263873386 kiwi +34.068930-118.445127 1\n".into()),
            (IAMAT, "AT Bona +0.26 kiwi +34.068930-118.445127 1\n".into()),
            (IAMAT, "AT Bona +0.263873386 kiwi +34.06893-118.445127 1\n".into()),
            (IAMAT, "AT Bona +0.263873386 kiwi +34.068930-118.445127 1".into()),
            ("what?", "? what\n".into()),
            ("WHATSAT kiwi 10 1", format!("{found}\n{json}\n\n")),
            ("WHATSAT kiwi 10 2", format!("{found}\n{json}\n")),
            ("WHATSAT kiwi 10 2", format!("{found}\n{json}\n\n\n")),
            ("WHATSAT kiwi 10 2", format!("{found}\n{{}}\n\n")),
            ("WHATSAT other 10 2", format!("{found}\n{json}\n\n")),
        ] {
            assert_eq!(verdict(command, &reply), Verdict::Failed, "{command:?} and {reply:?}");
        }
    }

    #[test]
    fn is_violated_by_refusing_a_client_that_is_known() {
        let herd = herd().accepted("Bona", "kiwi", 1).asked("Bona", "WHATSAT kiwi 10 5", Some("? WHATSAT kiwi 10 5\n"));
        assert_eq!(
            herd.explanation(Assertion::ReplyExact),
            "expected: the reply to `WHATSAT kiwi 10 5` to be an AT line and up to 5 places\n\
             actual: `? WHATSAT kiwi 10 5`"
        );
    }

    #[test]
    fn is_violated_by_silence_unless_the_server_died() {
        let silent = || herd().asked("Bona", IAMAT, None);
        assert_eq!(silent().push(Fact::Quiescent(true)).verdict(Assertion::ReplyExact), Verdict::Failed);
        let died = silent().kill("Bona", 0).start("Bona").push(Fact::Quiescent(true));
        assert_eq!(died.check(Assertion::ReplyExact).judge().findings[0].verdict, Verdict::Passed);
    }

    #[test]
    fn is_violated_by_a_reply_to_nothing() {
        let herd = herd().asked("Bona", "? a refusal", Some("? ? a refusal\n"));
        assert_eq!(
            herd.explanation(Assertion::ReplyExact),
            "expected: no reply without a command\nactual: the reply `? ? a refusal`"
        );
    }
}
