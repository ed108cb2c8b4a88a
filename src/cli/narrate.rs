//! Observations as lines for people: one line an event, the time and the server first.
//!
//! Not here: which events there are ([`crate::control::events`]).

use std::collections::VecDeque;

use jiff::tz::TimeZone;

use super::terminal::{CYAN, DIM, GREEN, RED, YELLOW, styled};
use crate::control::events::{NamedEvent, NamedObservation};
use crate::words::{count, signed_seconds};

/// Updates under way whose arrivals are counted; the oldest is forgotten when a further one comes.
const UPDATES: usize = 1024;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    /// What happens to servers and links.
    Servers,
    /// Also what clients say, and when an update is everywhere.
    Herd,
    /// Also every new line between servers.
    Lines,
    /// Also lines that bring nothing new.
    Everything,
}

impl Detail {
    pub(super) fn of(verbose: u8) -> Self {
        match verbose {
            0 => Self::Herd,
            1 => Self::Lines,
            _ => Self::Everything,
        }
    }
}

/// Tells what happens, and follows updates so that it can say how far they came.
#[derive(Debug)]
pub(super) struct Narrator {
    detail: Detail,
    zone: TimeZone,
    /// Width of the column of servers.
    width: usize,
    /// Servers that run.
    running: usize,
    /// First starts that are not told.
    starting: usize,
    /// First links that are told together.
    opening: usize,
    updates: VecDeque<Update>,
}

#[derive(Debug)]
struct Update {
    line: String,
    accepted: i64,
    reached: usize,
}

impl Narrator {
    /// For a herd of servers with these names, of which `running` run.
    pub(super) fn new<'a>(detail: Detail, names: impl IntoIterator<Item = &'a str>, running: usize) -> Self {
        let width = names.into_iter().map(|name| name.chars().count()).max().unwrap_or(0).min(24);
        Self { detail, zone: TimeZone::system(), width, running, starting: 0, opening: 0, updates: VecDeque::new() }
    }

    /// For a herd that has just come up and whose servers were told already: their starts are left out, and the first of
    /// each of `ways` is told when all are up.
    pub(super) fn since_the_start(self, servers: usize, ways: usize) -> Self {
        Self { starting: servers, opening: ways, ..self }
    }

    /// The line for an observation, styled and without its end; `None` when it is not told in this detail.
    pub(super) fn tell(&mut self, observation: &NamedObservation) -> Option<String> {
        let (server, text) = self.words(observation)?;
        let time = time_of_day(observation.at, &self.zone);
        let padding = self.width.saturating_sub(server.chars().count());
        Some(format!("{}  {}{:padding$}  {text}", styled(DIM, time), styled(CYAN, server), ""))
    }

    /// Where it happened and what, styled; `None` when it is not told in this detail.
    pub(super) fn words<'a>(&mut self, observation: &'a NamedObservation) -> Option<(&'a str, String)> {
        use NamedEvent as E;
        let server = observation.servers().first().copied().unwrap_or("");
        if self.detail == Detail::Servers && observation.event.is_traffic() {
            return None;
        }
        let text = match &observation.event {
            E::Started { port, .. } => {
                self.running += 1;
                if self.starting > 0 {
                    self.starting -= 1;
                    return None;
                }
                format!("{} on port {port}", styled(GREEN, "listens"))
            }
            E::Stopped { records, .. } => {
                self.running = self.running.saturating_sub(1);
                format!("{}; {} forgotten", styled(YELLOW, "stopped"), count(*records, "record"))
            }
            E::Killed { records, .. } => {
                self.running = self.running.saturating_sub(1);
                format!("{}; {} forgotten", styled(RED, "killed"), count(*records, "record"))
            }
            E::Crashed { reason, .. } => {
                self.running = self.running.saturating_sub(1);
                format!("{}: {}", styled(RED, "crashed"), printable(reason))
            }
            E::Paused { .. } => styled(YELLOW, "paused"),
            E::Resumed { .. } => styled(GREEN, "goes on"),
            E::ClockSet { offset, .. } => format!("clock set to {}", signed_seconds(*offset)),
            E::LinkUp { .. } if self.opening > 0 => {
                self.opening -= 1;
                return (self.opening == 0).then(|| ("", styled(GREEN, "all links are up")));
            }
            E::LinkUp { to, .. } => format!("{} {to}", styled(GREEN, "reaches")),
            E::LinkLost { to, lines_lost, .. } => {
                format!("{} to {to}{}", styled(YELLOW, "loses the link"), and_lost(*lines_lost))
            }
            E::Accepted { line, newer, .. } => self.accepted(observation.at, line, *newer),
            E::Answered { line, .. } => format!("answers where {} is", client(line)),
            E::Refused { command, .. } => format!("{} {}", styled(YELLOW, "refuses"), printable(command)),
            E::Heard { from, line, newer, .. } => {
                let from = from.as_ref().map(|hop| hop.server.as_str());
                return self.heard(observation, server, from, line, *newer);
            }
            E::Missed { to, line, .. } => {
                format!("{} of {}: the link is down", styled(YELLOW, format!("cannot tell {to}")), client(line))
            }
            E::Sent { to, line, .. } if self.detail == Detail::Everything => format!("tells {to}: {}", printable(line)),
            E::SessionLost { unanswered, .. } => format!("lost a client; {} unanswered", count(*unanswered, "command")),
            E::LeftOut { events } => format!("({events} events left out: the herd is faster than this output)"),
            E::Sent { .. } | E::Replied { .. } => return None,
        };
        Some((server, text))
    }

    fn accepted(&mut self, at: i64, line: &str, newer: bool) -> String {
        if !newer {
            return format!("{} is not newer than what is known: {}", client(line), printable(line));
        }
        if self.updates.len() == UPDATES {
            self.updates.pop_front();
        }
        self.updates.push_back(Update { line: line.to_owned(), accepted: at, reached: 1 });
        format!("{} is at {}", styled(GREEN, client(line)), field(line, 4))
    }

    fn heard<'a>(
        &mut self,
        observation: &NamedObservation,
        server: &'a str,
        from: Option<&str>,
        line: &str,
        newer: bool,
    ) -> Option<(&'a str, String)> {
        let from = from.unwrap_or("somebody");
        let everywhere = if newer { self.reached(observation.at, line) } else { None };
        let told = match self.detail {
            Detail::Servers | Detail::Herd => None,
            Detail::Lines if !newer => None,
            _ if newer => Some(format!("hears of {} from {from}", client(line))),
            _ => Some(styled(DIM, format!("hears of {} from {from} again", client(line)))),
        };
        match (told, everywhere) {
            (Some(told), Some(everywhere)) => Some((server, format!("{told}; {everywhere}"))),
            (Some(text), None) => Some((server, text)),
            (None, Some(text)) => Some(("", text)),
            (None, None) => None,
        }
    }

    /// Counts an arrival; says so when it was the last.
    fn reached(&mut self, at: i64, line: &str) -> Option<String> {
        let place = self.updates.iter().position(|update| update.line == line)?;
        let update = &mut self.updates[place];
        update.reached += 1;
        if update.reached < self.running {
            return None;
        }
        let update = self.updates.remove(place)?;
        let milliseconds = (at - update.accepted) as f64 / 1e6;
        Some(format!("{} is known by all {} servers after {milliseconds:.2} ms", client(line), update.reached))
    }
}

fn client(line: &str) -> String {
    printable(field(line, 3))
}

fn field(line: &str, index: usize) -> &str {
    line.split_ascii_whitespace().nth(index).unwrap_or("?")
}

/// What came from outside cannot drive a terminal, and does not fill it.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 160;
    let mut shown: String = text.chars().take(LONGEST).flat_map(Printable::of).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}

enum Printable {
    Plain(std::iter::Once<char>),
    Escaped(std::char::EscapeDefault),
}

impl Printable {
    fn of(character: char) -> Self {
        if character.is_control() {
            Self::Escaped(character.escape_default())
        } else {
            Self::Plain(std::iter::once(character))
        }
    }
}

impl Iterator for Printable {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::Plain(one) => one.next(),
            Self::Escaped(several) => several.next(),
        }
    }
}

fn and_lost(lines: u64) -> String {
    if lines == 0 { String::new() } else { format!("; {} lost", count(lines, "line")) }
}

/// Hours to milliseconds.
pub(super) fn time_of_day(nanoseconds: i64, zone: &TimeZone) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)) {
        Ok(time) => zone.to_datetime(time).strftime("%H:%M:%S.%3f").to_string(),
        Err(_) => "?".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::events::NamedHop;

    const LINE: &str = "AT Clark +0.1 kiwi +34.0-118.0 1621464827.5";

    fn told(narrator: &mut Narrator, event: NamedEvent) -> Option<String> {
        let line = narrator.tell(&NamedObservation { at: 1_000_000, event })?;
        Some(anstream::adapter::strip_str(&line).to_string().split_once("  ")?.1.trim().to_owned())
    }

    fn heard(server: &str, newer: bool) -> NamedEvent {
        let from = Some(NamedHop { server: "Clark".into(), connection: 1 });
        NamedEvent::Heard { server: server.into(), life: 1, from, line: LINE.into(), newer }
    }

    #[test]
    fn an_update_is_told_when_it_arrives_and_when_it_is_everywhere() {
        let mut narrator = Narrator::new(Detail::Herd, ["Clark", "Bona", "Jaquez"], 3);
        let accepted = NamedEvent::Accepted { server: "Clark".into(), life: 1, line: LINE.into(), newer: true };
        assert_eq!(told(&mut narrator, accepted).unwrap(), "Clark   kiwi is at +34.0-118.0");
        assert_eq!(told(&mut narrator, heard("Bona", true)), None);
        assert_eq!(told(&mut narrator, heard("Bona", false)), None);
        assert_eq!(told(&mut narrator, heard("Jaquez", true)).unwrap(), "kiwi is known by all 3 servers after 0.00 ms");
    }

    #[test]
    fn what_clients_send_cannot_drive_the_terminal() {
        let mut narrator = Narrator::new(Detail::Herd, ["Clark"], 1);
        let refused = NamedEvent::Refused { server: "Clark".into(), life: 1, command: "\u{1b}[2Jx".into() };
        assert_eq!(told(&mut narrator, refused).unwrap(), "Clark  refuses \\u{1b}[2Jx");
    }
}
