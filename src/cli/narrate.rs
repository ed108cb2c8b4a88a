//! Entries of a history as lines for people: one line each, the time and the server first.
//!
//! Entries live in [`crate::history`].

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::terminal::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, styled};
use crate::act::Verb;
use crate::config::ServerId;
use crate::diagnostic::escaped;
use crate::history::{Entry, Event, Fact, Origin};
use crate::time::Timestamp;
use crate::wire::Report;
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
    origin: Arc<Origin>,
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
    report: Arc<Report>,
    accepted: Timestamp,
    reached: usize,
}

impl Narrator {
    /// Returns a narrator of a herd of which `running` servers run.
    pub(super) fn new(detail: Detail, origin: Arc<Origin>, running: usize) -> Self {
        let width = origin.servers.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(24);
        let zone = TimeZone::system();
        Self { detail, zone, origin, width, running, starting: 0, opening: 0, updates: VecDeque::new() }
    }

    /// Prepares for a herd that has just come up and whose servers were told already: their starts are left out, and the
    /// first of each of `ways` is told when all are up.
    pub(super) fn since_the_start(self, servers: usize, ways: usize) -> Self {
        Self { starting: servers, opening: ways, ..self }
    }

    /// Returns the line for an entry, styled and without its end, or `None` if this detail leaves it out.
    pub(super) fn tell(&mut self, entry: &Entry) -> Option<String> {
        let (server, text) = self.words(entry)?;
        let name = server.map_or("", |server| self.origin.name(server));
        let time = time_of_day(entry.at.nanoseconds(), &self.zone);
        let padding = self.width.saturating_sub(name.chars().count());
        Some(format!("{}  {}{:padding$}  {text}", styled(DIM, time), styled(CYAN, name), ""))
    }

    /// Returns the server at which it happened and what happened, styled, or `None` if this detail leaves it out.
    pub(super) fn words(&mut self, entry: &Entry) -> Option<(Option<ServerId>, String)> {
        match &entry.fact {
            Fact::Saw(event) => self.event(entry.at, event),
            Fact::Asked(verb) => Some((None, format!("{} {}", styled(BOLD, "asked to"), self.asked(verb)))),
            Fact::LeftOut { entries } => Some((None, format!("({} left out)", words_of_entries(*entries)))),
            _ => None,
        }
    }

    fn asked(&self, verb: &Verb) -> String {
        let mut name =
            |server: ServerId| Ok::<_, std::convert::Infallible>(self.origin.servers[server.index()].clone());
        let Ok(named) = verb.clone().map(&mut name);
        format!("{} {}{}", verb.spec().command(), named.targets(), named.manner())
    }

    fn event(&mut self, at: Timestamp, event: &Event) -> Option<(Option<ServerId>, String)> {
        let server = event.servers().first().map(|server| **server);
        if self.detail == Detail::Servers && event.is_traffic() {
            return None;
        }
        let origin = self.origin.clone();
        let name = |server: ServerId| origin.name(server);
        let text = match event {
            Event::Started { port, .. } => {
                self.running += 1;
                if self.starting > 0 {
                    self.starting -= 1;
                    return None;
                }
                format!("{} on port {port}", styled(GREEN, "listens"))
            }
            Event::Stopped { records, .. } => {
                self.running = self.running.saturating_sub(1);
                format!("{}; {} forgotten", styled(YELLOW, "stopped"), count(*records, "record"))
            }
            Event::Killed { records, .. } => {
                self.running = self.running.saturating_sub(1);
                format!("{}; {} forgotten", styled(RED, "killed"), count(*records, "record"))
            }
            Event::Crashed { reason, .. } => {
                self.running = self.running.saturating_sub(1);
                format!("{}: {}", styled(RED, "crashed"), printable(reason))
            }
            Event::Paused { .. } => styled(YELLOW, "paused"),
            Event::Resumed { .. } => styled(GREEN, "resumed"),
            Event::ClockSet { offset, .. } => format!("clock set to {}", signed_seconds(*offset)),
            Event::LinkUp { .. } if self.opening > 0 => {
                self.opening -= 1;
                return (self.opening == 0).then(|| (None, styled(GREEN, "all links are up")));
            }
            Event::LinkUp { way, .. } => format!("{} {}", styled(GREEN, "reaches"), name(way.to)),
            Event::LinkLost { way, lines_lost, .. } => {
                format!("{} to {}{}", styled(YELLOW, "loses the link"), name(way.to), and_lost(*lines_lost))
            }
            Event::Accepted { report, newer, .. } => self.accepted(at, report, *newer),
            Event::Acknowledged { report, overdue: true, .. } => {
                format!("{} {}: a neighbour has not taken it", styled(YELLOW, "answers late about"), client(report))
            }
            Event::Answered { report, .. } => format!("answers where {} is", client(report)),
            Event::Refused { command, .. } => {
                format!("{} {}", styled(YELLOW, "refuses"), printable(&String::from_utf8_lossy(command)))
            }
            Event::Heard { from, report, newer, .. } => {
                let from = from.map_or("a stranger", |hop| name(hop.server));
                return self.heard(at, server, from, report, *newer);
            }
            Event::Missed { way, report, .. } => {
                let cannot = styled(YELLOW, format!("cannot tell {}", name(way.to)));
                format!("{cannot} of {}: the link is down", client(report))
            }
            Event::Vanished { way, report, .. } => {
                format!("{} to {}: {}", styled(YELLOW, "loses a line"), name(way.to), printable(report.line()))
            }
            Event::Sent { way, report, .. } if self.detail == Detail::Everything => {
                format!("tells {}: {}", name(way.to), printable(report.line()))
            }
            Event::Control { way, line, .. } if self.detail == Detail::Everything => {
                format!("asks or tells {}: {}", name(way.to), printable(line.text()))
            }
            Event::SessionLost { unanswered, .. } => {
                format!("lost a client; {} unanswered", count(*unanswered, "command"))
            }
            Event::Acknowledged { .. } | Event::Sent { .. } | Event::Control { .. } | Event::Replied { .. } => {
                return None;
            }
        };
        Some((server, text))
    }

    fn accepted(&mut self, at: Timestamp, report: &Arc<Report>, newer: bool) -> String {
        if !newer {
            return format!("{} is not newer than what is known: {}", client(report), printable(report.line()));
        }
        if self.updates.len() == UPDATES {
            self.updates.pop_front();
        }
        self.updates.push_back(Update { report: report.clone(), accepted: at, reached: 1 });
        format!("{} is at {}", styled(GREEN, client(report)), report.at().location())
    }

    fn heard(
        &mut self,
        at: Timestamp,
        server: Option<ServerId>,
        from: &str,
        report: &Report,
        newer: bool,
    ) -> Option<(Option<ServerId>, String)> {
        let everywhere = if newer { self.reached(at, report) } else { None };
        let told = match self.detail {
            Detail::Servers | Detail::Herd => None,
            Detail::Lines if !newer => None,
            _ if newer => Some(format!("hears of {} from {from}", client(report))),
            _ => Some(styled(DIM, format!("hears of {} from {from} again", client(report)))),
        };
        match (told, everywhere) {
            (Some(told), Some(everywhere)) => Some((server, format!("{told}; {everywhere}"))),
            (Some(text), None) => Some((server, text)),
            (None, Some(text)) => Some((None, text)),
            (None, None) => None,
        }
    }

    /// Counts an arrival. Returns words for the last one.
    fn reached(&mut self, at: Timestamp, report: &Report) -> Option<String> {
        let place = self.updates.iter().position(|update| update.report.line() == report.line())?;
        let update = &mut self.updates[place];
        update.reached += 1;
        if update.reached < self.running {
            return None;
        }
        let update = self.updates.remove(place)?;
        let milliseconds = at.since(update.accepted).as_secs_f64() * 1e3;
        Some(format!("{} is known by all {} servers after {milliseconds:.2} ms", client(report), update.reached))
    }
}

fn words_of_entries(number: u64) -> String {
    if number == 1 { "1 entry".into() } else { format!("{number} entries") }
}

fn client(report: &Report) -> String {
    printable(report.client())
}

/// What came from outside cannot drive a terminal, and does not fill it.
pub(super) fn printable(text: &str) -> String {
    escaped(text, 160)
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
    use crate::config::Way;
    use crate::history::Hop;
    use crate::history::build::{Builder, herd, line};

    const BONA: ServerId = ServerId(1);
    const CLARK: ServerId = ServerId(3);
    const JAQUEZ: ServerId = ServerId(4);

    fn narrator(running: usize) -> Narrator {
        Narrator::new(Detail::Herd, herd().history().origin, running)
    }

    fn told(narrator: &mut Narrator, fact: Fact) -> Option<String> {
        let line = narrator.tell(&Entry { at: Timestamp::from_nanoseconds(1_000_000), step: None, fact })?;
        Some(anstream::adapter::strip_str(&line).to_string().split_once("  ")?.1.trim().to_owned())
    }

    fn kiwi() -> Arc<Report> {
        Builder::report(&line("Clark", "kiwi", 1_621_464_827))
    }

    fn heard(server: ServerId, newer: bool) -> Fact {
        let from = Some(Hop { server: CLARK, connection: 1 });
        Fact::Saw(Event::Heard { server, life: 1, from, report: kiwi(), newer })
    }

    #[test]
    fn an_update_is_told_when_it_arrives_and_when_it_is_everywhere() {
        let mut narrator = narrator(3);
        let accepted = Event::Accepted { server: CLARK, life: 1, session: None, report: kiwi(), newer: true };
        let text = told(&mut narrator, Fact::Saw(accepted));
        assert_eq!(text.as_deref(), Some("Clark     kiwi is at +34.068930-118.445127"));
        assert_eq!(told(&mut narrator, heard(BONA, true)), None);
        assert_eq!(told(&mut narrator, heard(BONA, false)), None);
        let text = told(&mut narrator, heard(JAQUEZ, true));
        assert_eq!(text.as_deref(), Some("kiwi is known by all 3 servers after 0.00 ms"));
    }

    #[test]
    fn what_an_operator_asked_for_is_told() {
        let ways = crate::act::Ways::These(vec![crate::act::Ends::Both(CLARK, BONA)]);
        let cut = Fact::Asked(Verb::Ways { verb: crate::act::WayVerb::Cut, on: ways });
        assert_eq!(told(&mut narrator(5), cut).as_deref(), Some("asked to cut Clark-Bona"));
        let way = Way { from: CLARK, to: BONA };
        let lost = Fact::Saw(Event::LinkLost { way, connection: 1, lines_lost: 2 });
        assert_eq!(told(&mut narrator(5), lost).as_deref(), Some("Clark     loses the link to Bona; 2 lines lost"));
    }

    #[test]
    fn what_clients_send_cannot_drive_the_terminal() {
        let refused =
            Event::Refused { server: CLARK, life: 1, session: None, command: bytes::Bytes::from_static(b"\x1b[2Jx") };
        let text = told(&mut narrator(1), Fact::Saw(refused));
        assert_eq!(text.as_deref(), Some("Clark     refuses \\u{1b}[2Jx"));
    }
}
