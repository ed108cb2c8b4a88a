//! A history as JSON lines: a header with everything about the run, then one line per entry.
//!
//! Servers are told by name, times in nanoseconds since the run began, bytes as text when they are UTF-8 and as numbers
//! when they are not. A file of a newer format is refused; one of an older format is read for as long as there is one.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Comparison, DriverKind, Entry, Fact, History, Origin, Step};
use crate::act::{Action, Hit, SessionId};
use crate::claim::{Assertion, Check, StepId, When, limit};
use crate::config::{Delay, Link, LinkMode, Redial, ServerId, Strategy, Way};
use crate::driver::{Event, Hop};
use crate::time::Timestamp;
use crate::wire::{Command, Report, parse};

/// The format that [`write()`] writes.
pub const VERSION: u32 = 1;

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ends before it begins.
    #[error("the file is empty: a history begins with a line about the run")]
    Empty,
    /// Written by a newer herdsim.
    #[error("the history has format {0}; this herdsim reads formats up to {VERSION}")]
    Version(u32),
    /// A line is not what it should be.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Writes a history, one JSON value on each line.
pub fn write(history: &History, out: &mut impl Write) -> io::Result<()> {
    line(out, &Header::of(history))?;
    for entry in &history.entries {
        line(out, &EntryLine::of(history, entry))?;
    }
    Ok(())
}

/// Reads a history that [`write()`] wrote.
pub fn read(input: impl BufRead) -> Result<History, ReadError> {
    let mut lines = input.lines().enumerate().map(|(index, line)| (index + 1, line));
    let (_, first) = lines.next().ok_or(ReadError::Empty)?;
    let first = first?;
    let Format { herdsim_history } = from_json(1, &first)?;
    if herdsim_history > VERSION {
        return Err(ReadError::Version(herdsim_history));
    }
    let mut history = from_json::<Header>(1, &first)?.history().map_err(at_line(1))?;
    let mut reader = Reader { origin: history.origin.clone(), reports: BTreeMap::new() };
    for (number, line) in lines {
        let line = line?;
        if !line.trim().is_empty() {
            let entry = reader.entry(history.started, from_json(number, &line)?).map_err(at_line(number))?;
            history.entries.push(entry);
        }
    }
    Ok(history)
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

fn from_json<'a, T: Deserialize<'a>>(line: usize, text: &'a str) -> Result<T, ReadError> {
    serde_json::from_str(text).map_err(|error| ReadError::Line { line, reason: error.to_string() })
}

fn at_line(line: usize) -> impl Fn(String) -> ReadError {
    move |reason| ReadError::Line { line, reason }
}

/// What every version of the header says.
#[derive(Deserialize)]
struct Format {
    herdsim_history: u32,
}

#[derive(Serialize, Deserialize)]
struct Header {
    herdsim_history: u32,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<String>,
    driver: DriverKind,
    strategy: Strategy,
    seed: u64,
    /// Nanoseconds since the Unix epoch.
    started: i64,
    servers: Vec<ServerLine>,
    links: Vec<LinkLine>,
    redial: RedialLine,
    max_records: usize,
    steps: Vec<Step>,
    checks: Vec<CheckLine>,
    /// Pairs of a metric and its limit.
    thresholds: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct ServerLine {
    name: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    clock_offset: i64,
}

#[derive(Serialize, Deserialize)]
struct LinkLine {
    ends: [String; 2],
    mode: LinkMode,
    /// Delay from the first of `ends` to the second.
    #[serde(flatten)]
    delay: Delay,
    /// Delay from the second of `ends` to the first. `None` if it is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    back: Option<Delay>,
}

/// In nanoseconds.
#[derive(Serialize, Deserialize)]
struct RedialLine {
    first: u64,
    cap: u64,
    timeout: u64,
}

#[derive(Serialize, Deserialize)]
struct CheckLine {
    assert: Assertion<String>,
    when: When,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<StepId>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inverted: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    implied: bool,
}

#[derive(Serialize, Deserialize)]
struct EntryLine {
    /// Nanoseconds since the run began.
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<StepId>,
    #[serde(flatten)]
    fact: FactLine,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FactLine {
    StepBegan {},
    StepEnded {},
    Did { action: Action<String>, hit: Hit },
    Saw(EventLine),
    Opened { session: u32, talker: String },
    Quiescent(bool),
    Compared(Comparison),
    Waited(u64),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EventLine {
    Started { server: String, life: u32, port: u16 },
    Stopped { server: String, life: u32, records: u64 },
    Killed { server: String, life: u32, records: u64 },
    Crashed { server: String, life: u32, reason: String },
    Paused { server: String, life: u32 },
    Resumed { server: String, life: u32 },
    ClockSet { server: String, offset: i64 },
    LinkUp { way: WayLine, connection: u32 },
    LinkLost { way: WayLine, connection: u32, lines_lost: u64 },
    Accepted { server: String, life: u32, session: Option<u32>, line: String, newer: bool },
    Answered { server: String, life: u32, session: Option<u32>, line: String },
    Refused { server: String, life: u32, session: Option<u32>, command: BytesLine },
    Sent { way: WayLine, connection: u32, line: String },
    Heard { server: String, life: u32, from: Option<HopLine>, line: String, newer: bool },
    Missed { way: WayLine, life: u32, line: String },
    Replied { session: u32, reply: BytesLine },
    SessionLost { session: u32, unanswered: u64 },
}

/// From and to.
type WayLine = [String; 2];

#[derive(Serialize, Deserialize)]
struct HopLine {
    server: String,
    connection: u32,
}

/// Text where the bytes are text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum BytesLine {
    Text(String),
    Bytes(Vec<u8>),
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Header {
    fn of(history: &History) -> Self {
        let origin = &*history.origin;
        let name = |server: ServerId| origin.name(server).to_owned();
        Self {
            herdsim_history: VERSION,
            title: origin.title.clone(),
            scenario: origin.scenario.clone(),
            driver: origin.driver,
            strategy: origin.strategy,
            seed: history.seed,
            started: history.started.nanoseconds(),
            servers: origin.servers.iter().zip(&origin.clocks).map(ServerLine::of).collect(),
            links: origin.links.iter().map(|link| LinkLine::of(link, name)).collect(),
            redial: RedialLine::of(origin.redial),
            max_records: origin.max_records,
            steps: origin.steps.clone(),
            checks: origin.checks.iter().map(|check| CheckLine::of(check, name)).collect(),
            thresholds: origin.thresholds.iter().map(|limit| (limit.metric.name().into(), limit.bound())).collect(),
        }
    }

    fn history(self) -> Result<History, String> {
        let servers: Vec<Arc<str>> = self.servers.iter().map(|server| server.name.as_str().into()).collect();
        let mut origin = Origin {
            title: self.title,
            scenario: self.scenario,
            driver: self.driver,
            strategy: self.strategy,
            clocks: self.servers.iter().map(|server| server.clock_offset).collect(),
            links: Vec::new(),
            redial: self.redial.redial(),
            max_records: self.max_records,
            steps: self.steps,
            checks: Vec::new(),
            thresholds: Vec::new(),
            servers,
        };
        origin.links = self.links.into_iter().map(|link| link.link(&origin)).collect::<Result<_, _>>()?;
        origin.checks = self.checks.into_iter().map(|check| check.check(&origin)).collect::<Result<_, _>>()?;
        let limits = self.thresholds.iter().map(|(name, bound)| limit::parse(name, bound));
        origin.thresholds = limits.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        Ok(History::new(Arc::new(origin), self.seed, Timestamp::from_nanoseconds(self.started)))
    }
}

impl ServerLine {
    fn of((name, &clock_offset): (&Arc<str>, &i64)) -> Self {
        Self { name: name.to_string(), clock_offset }
    }
}

impl LinkLine {
    fn of(link: &Link, name: impl Fn(ServerId) -> String) -> Self {
        let [delay, back] = link.delays;
        Self { ends: link.ends.map(name), mode: link.mode, delay, back: Some(back).filter(|back| *back != delay) }
    }

    fn link(self, origin: &Origin) -> Result<Link, String> {
        let [a, b] = self.ends;
        let ends = [server(origin, &a)?, server(origin, &b)?];
        Ok(Link { ends, mode: self.mode, delays: [self.delay, self.back.unwrap_or(self.delay)] })
    }
}

impl RedialLine {
    fn of(redial: Redial) -> Self {
        let Redial { first, cap, timeout } = redial;
        Self { first: nanoseconds(first), cap: nanoseconds(cap), timeout: nanoseconds(timeout) }
    }

    fn redial(&self) -> Redial {
        let [first, cap, timeout] = [self.first, self.cap, self.timeout].map(Duration::from_nanos);
        Redial { first, cap, timeout }
    }
}

impl CheckLine {
    fn of(check: &Check, name: impl Fn(ServerId) -> String) -> Self {
        let mut name = |server| Ok::<_, std::convert::Infallible>(name(server));
        let Ok(assert) = check.assertion.clone().map(&mut name);
        Self { assert, when: check.when, step: check.step, inverted: check.inverted, implied: check.implied }
    }

    fn check(self, origin: &Origin) -> Result<Check, String> {
        let assertion = self.assert.map(&mut |name: String| server(origin, &name))?;
        let mut check = Check::new(assertion, self.when, self.step, &origin.servers);
        check.implied = self.implied;
        Ok(if self.inverted { check.inverted() } else { check })
    }
}

impl BytesLine {
    fn of(bytes: &Bytes) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.into()),
            Err(_) => Self::Bytes(bytes.to_vec()),
        }
    }

    fn bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => bytes.into(),
        }
    }
}

fn server(origin: &Origin, name: &str) -> Result<ServerId, String> {
    origin.server(name).ok_or_else(|| format!("the herd has no server called `{name}`"))
}

impl EntryLine {
    fn of(history: &History, entry: &Entry) -> Self {
        let at = entry.at.nanoseconds() - history.started.nanoseconds();
        Self { at, step: entry.step, fact: Writer { origin: &history.origin }.fact(&entry.fact) }
    }
}

/// From values to lines.
struct Writer<'a> {
    origin: &'a Origin,
}

impl Writer<'_> {
    fn name(&self, server: ServerId) -> String {
        self.origin.name(server).into()
    }

    fn way(&self, way: Way) -> WayLine {
        [self.name(way.from), self.name(way.to)]
    }

    fn fact(&self, fact: &Fact) -> FactLine {
        match fact {
            Fact::StepBegan => FactLine::StepBegan {},
            Fact::StepEnded => FactLine::StepEnded {},
            Fact::Did { action, hit } => FactLine::Did { action: self.action(action), hit: *hit },
            Fact::Saw(event) => FactLine::Saw(self.event(event)),
            Fact::Opened { session, talker } => FactLine::Opened { session: session.0, talker: talker.to_string() },
            Fact::Quiescent(quiescent) => FactLine::Quiescent(*quiescent),
            Fact::Compared(comparison) => FactLine::Compared(comparison.clone()),
            Fact::Waited(time) => FactLine::Waited(nanoseconds(*time)),
        }
    }

    fn action(&self, action: &Action) -> Action<String> {
        let Ok(named) = action.clone().map(&mut |server| Ok::<_, std::convert::Infallible>(self.name(server)));
        named
    }

    fn event(&self, event: &Event) -> EventLine {
        let number = |session: Option<SessionId>| session.map(|session| session.0);
        let text = |report: &Arc<Report>| report.line().to_owned();
        match *event {
            Event::Started { server, life, port } => EventLine::Started { server: self.name(server), life, port },
            Event::Stopped { server, life, records } => EventLine::Stopped { server: self.name(server), life, records },
            Event::Killed { server, life, records } => EventLine::Killed { server: self.name(server), life, records },
            Event::Crashed { server, life, ref reason } => {
                EventLine::Crashed { server: self.name(server), life, reason: reason.clone() }
            }
            Event::Paused { server, life } => EventLine::Paused { server: self.name(server), life },
            Event::Resumed { server, life } => EventLine::Resumed { server: self.name(server), life },
            Event::ClockSet { server, offset } => EventLine::ClockSet { server: self.name(server), offset },
            Event::LinkUp { way, connection } => EventLine::LinkUp { way: self.way(way), connection },
            Event::LinkLost { way, connection, lines_lost } => {
                EventLine::LinkLost { way: self.way(way), connection, lines_lost }
            }
            Event::Accepted { server, life, session, ref report, newer } => EventLine::Accepted {
                server: self.name(server),
                life,
                session: number(session),
                line: text(report),
                newer,
            },
            Event::Answered { server, life, session, ref report } => {
                EventLine::Answered { server: self.name(server), life, session: number(session), line: text(report) }
            }
            Event::Refused { server, life, session, ref command } => EventLine::Refused {
                server: self.name(server),
                life,
                session: number(session),
                command: BytesLine::of(command),
            },
            Event::Sent { way, connection, ref report } => {
                EventLine::Sent { way: self.way(way), connection, line: text(report) }
            }
            Event::Heard { server, life, from, ref report, newer } => EventLine::Heard {
                server: self.name(server),
                life,
                from: from.map(|Hop { server, connection }| HopLine { server: self.name(server), connection }),
                line: text(report),
                newer,
            },
            Event::Missed { way, life, ref report } => {
                EventLine::Missed { way: self.way(way), life, line: text(report) }
            }
            Event::Replied { session, ref reply } => {
                EventLine::Replied { session: session.0, reply: BytesLine::of(reply) }
            }
            Event::SessionLost { session, unanswered } => EventLine::SessionLost { session: session.0, unanswered },
        }
    }
}

/// From lines to values.
struct Reader {
    origin: Arc<Origin>,
    /// Equal lines become one report, as they were in the run.
    reports: BTreeMap<String, Arc<Report>>,
}

impl Reader {
    fn entry(&mut self, started: Timestamp, line: EntryLine) -> Result<Entry, String> {
        Ok(Entry { at: started.shifted(line.at), step: line.step, fact: self.fact(line.fact)? })
    }

    fn server(&self, name: &str) -> Result<ServerId, String> {
        server(&self.origin, name)
    }

    fn way(&self, [from, to]: &WayLine) -> Result<Way, String> {
        Ok(Way { from: self.server(from)?, to: self.server(to)? })
    }

    fn report(&mut self, line: String) -> Result<Arc<Report>, String> {
        if let Some(report) = self.reports.get(&line) {
            return Ok(report.clone());
        }
        let Command::At(at) = parse(line.as_bytes()) else { return Err(format!("`{line}` is not an AT line")) };
        let report = Arc::new(at.to_report());
        self.reports.insert(line, report.clone());
        Ok(report)
    }

    fn fact(&mut self, line: FactLine) -> Result<Fact, String> {
        Ok(match line {
            FactLine::StepBegan {} => Fact::StepBegan,
            FactLine::StepEnded {} => Fact::StepEnded,
            FactLine::Did { action, hit } => {
                Fact::Did { action: action.map(&mut |name: String| self.server(&name))?, hit }
            }
            FactLine::Saw(event) => Fact::Saw(self.event(event)?),
            FactLine::Opened { session, talker } => Fact::Opened { session: SessionId(session), talker: talker.into() },
            FactLine::Quiescent(quiescent) => Fact::Quiescent(quiescent),
            FactLine::Compared(comparison) => Fact::Compared(comparison),
            FactLine::Waited(time) => Fact::Waited(Duration::from_nanos(time)),
        })
    }

    fn hop(&self, HopLine { server, connection }: HopLine) -> Result<Hop, String> {
        Ok(Hop { server: self.server(&server)?, connection })
    }

    fn event(&mut self, line: EventLine) -> Result<Event, String> {
        Ok(match line {
            EventLine::Started { server, life, port } => Event::Started { server: self.server(&server)?, life, port },
            EventLine::Stopped { server, life, records } => {
                Event::Stopped { server: self.server(&server)?, life, records }
            }
            EventLine::Killed { server, life, records } => {
                Event::Killed { server: self.server(&server)?, life, records }
            }
            EventLine::Crashed { server, life, reason } => {
                Event::Crashed { server: self.server(&server)?, life, reason }
            }
            EventLine::Paused { server, life } => Event::Paused { server: self.server(&server)?, life },
            EventLine::Resumed { server, life } => Event::Resumed { server: self.server(&server)?, life },
            EventLine::ClockSet { server, offset } => Event::ClockSet { server: self.server(&server)?, offset },
            EventLine::LinkUp { way, connection } => Event::LinkUp { way: self.way(&way)?, connection },
            EventLine::LinkLost { way, connection, lines_lost } => {
                Event::LinkLost { way: self.way(&way)?, connection, lines_lost }
            }
            EventLine::Accepted { server, life, session, line, newer } => Event::Accepted {
                server: self.server(&server)?,
                life,
                session: session.map(SessionId),
                report: self.report(line)?,
                newer,
            },
            EventLine::Answered { server, life, session, line } => Event::Answered {
                server: self.server(&server)?,
                life,
                session: session.map(SessionId),
                report: self.report(line)?,
            },
            EventLine::Refused { server, life, session, command } => Event::Refused {
                server: self.server(&server)?,
                life,
                session: session.map(SessionId),
                command: command.bytes(),
            },
            EventLine::Sent { way, connection, line } => {
                Event::Sent { way: self.way(&way)?, connection, report: self.report(line)? }
            }
            EventLine::Heard { server, life, from, line, newer } => Event::Heard {
                server: self.server(&server)?,
                life,
                from: from.map(|hop| self.hop(hop)).transpose()?,
                report: self.report(line)?,
                newer,
            },
            EventLine::Missed { way, life, line } => {
                Event::Missed { way: self.way(&way)?, life, report: self.report(line)? }
            }
            EventLine::Replied { session, reply } => {
                Event::Replied { session: SessionId(session), reply: reply.bytes() }
            }
            EventLine::SessionLost { session, unanswered } => {
                Event::SessionLost { session: SessionId(session), unanswered }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::{ServerVerb, WayVerb};
    use crate::claim::{ConvergedMode, Scope, Verdict, VersionBound};
    use crate::config::{Bandwidth, Distribution, Slowness};
    use crate::history::build::{Builder, herd, line};
    use crate::wire::PosixTime;

    fn written(history: &History) -> String {
        let mut bytes = Vec::new();
        write(history, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// One of everything.
    fn full() -> History {
        let herd = herd().step("all of it");
        let [a, b] = [herd.server("Bona"), herd.server("Clark")];
        let way = Way { from: a, to: b };
        let report = Builder::report(&line("Bona", "kiwi", 1));
        let session = SessionId(7);
        let not_text = Bytes::from_static(b"WHATSAT \xff\xfe\n");
        let distribution = Distribution::LogNormal { sigma_percent: 50 };
        let bandwidth = Bandwidth::from_bytes_a_second(64_000);
        let [latency, jitter] = [Duration::from_millis(3), Duration::from_micros(5)];
        let delay = Delay { latency, jitter, distribution, bandwidth };
        let clients =
            [Action::Send { session, server: b, bytes: not_text.clone(), finish: true }, Action::Close(session)];
        let events = [
            Event::Started { server: a, life: 1, port: 10_000 },
            Event::Stopped { server: a, life: 1, records: 2 },
            Event::Killed { server: a, life: 2, records: 3 },
            Event::Crashed { server: a, life: 3, reason: "a bug".into() },
            Event::Paused { server: a, life: 4 },
            Event::Resumed { server: a, life: 4 },
            Event::ClockSet { server: a, offset: 12 },
            Event::LinkUp { way, connection: 5 },
            Event::LinkLost { way, connection: 5, lines_lost: 4 },
            Event::Accepted { server: a, life: 4, session: Some(session), report: report.clone(), newer: true },
            Event::Answered { server: a, life: 4, session: None, report: report.clone() },
            Event::Refused { server: a, life: 4, session: None, command: not_text.clone() },
            Event::Sent { way, connection: 6, report: report.clone() },
            Event::Heard {
                server: b,
                life: 1,
                from: Some(Hop { server: a, connection: 6 }),
                report: report.clone(),
                newer: false,
            },
            Event::Heard { server: b, life: 1, from: None, report: report.clone(), newer: false },
            Event::Missed { way, life: 4, report },
            Event::Replied { session, reply: not_text },
            Event::SessionLost { session, unanswered: 1 },
        ];
        let hit = Hit { connections: 1, lines_lost: 2, lines_released: 3, records_lost: 4 };
        let slow = WayVerb::Slow(Slowness { delay, rate: Some(9) });
        let servers = ServerVerb::ALL.map(|verb| verb.on(a)).into_iter().chain([ServerVerb::Clock(-5).on(a)]);
        let ways = WayVerb::ALL.map(|verb| verb.on(way)).into_iter().chain([slow.on(way)]);
        let actions = servers.chain(ways).chain(clients);
        let herd = actions.into_iter().fold(herd, |herd, action| herd.did(action, hit));
        let herd = events.into_iter().fold(herd, |herd, event| herd.at(5, |herd| herd.saw(event)));
        let version = VersionBound { time: Some(PosixTime { seconds: 1, nanoseconds: 5 }), origin: Some(a) };
        herd.push(Fact::Opened { session, talker: "kiwi".into() })
            .push(Fact::Quiescent(true))
            .push(Fact::Compared(Comparison {
                name: "reply".into(),
                expected: "AT *".into(),
                actual: "? IAMAT".into(),
                verdict: Verdict::Failed,
            }))
            .push(Fact::Waited(Duration::from_millis(2)))
            .push(Fact::StepEnded)
            .check_here(Assertion::Knows { client: "kiwi".into(), version, on: vec![a, b] })
            .violated(Assertion::Converged {
                mode: ConvergedMode::Acknowledged,
                scope: Scope::Servers(vec![b]),
                within: Some(Duration::from_millis(500)),
                by: None,
            })
            .check(Assertion::Propagated { within: Duration::from_micros(1), quantile: 0.95 })
            .threshold("propagation p(95)", "<50ms")
            .history()
    }

    #[test]
    fn a_history_survives_being_written_and_read() {
        let history = full();
        let text = written(&history);
        assert_eq!(read(text.as_bytes()).unwrap(), history, "{text}");
        assert_eq!(written(&read(text.as_bytes()).unwrap()), text);
    }

    #[test]
    fn a_link_has_a_second_delay_only_where_its_directions_differ() {
        let delay = |latency| Delay { latency: Duration::from_nanos(latency), ..Delay::default() };
        let mut history = full();
        let origin = Arc::make_mut(&mut history.origin);
        origin.links.truncate(2);
        (origin.links[0].delays, origin.links[1].delays) = ([delay(1), delay(2)], [delay(3); 2]);
        let text = written(&history);
        assert_eq!(text.matches(r#""back":{"latency":2,"#).count(), 1, "{text}");
        assert_eq!(text.matches(r#""back":"#).count(), 1, "{text}");
        assert_eq!(read(text.as_bytes()).unwrap(), history, "{text}");
    }

    #[test]
    fn servers_are_told_by_name() {
        let history = herd().at(3, |herd| herd.accepted("Bona", "kiwi", 1).cut("Bona", "Clark")).history();
        let text = written(&history);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines[1],
            r#"{"at":3000000,"saw":{"accepted":{"server":"Bona","life":1,"session":null,"line":"AT Bona +0.263873386 kiwi +34.068930-118.445127 1","newer":true}}}"#
        );
        assert_eq!(
            lines[2],
            r#"{"at":3000000,"did":{"action":{"way":[{"from":"Bona","to":"Clark"},"cut"]},"hit":{"connections":1}}}"#
        );
    }

    #[test]
    fn what_is_no_history_is_refused_with_its_line() {
        let told = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(told(""), "the file is empty: a history begins with a line about the run");
        assert_eq!(told("{\"herdsim_history\": 2}"), "the history has format 2; this herdsim reads formats up to 1");
        let mut text = written(&herd().history());
        text.push_str("{\"at\":0,\"saw\":{\"paused\":{\"server\":\"Carl\",\"life\":1}}}\n");
        assert_eq!(told(&text), "line 2: the herd has no server called `Carl`");
    }
}
