//! A history as JSON lines: a header, then one line for each entry, as `docs/history.md` describes them.
//!
//! Files, `events --json`, logs and the control socket all carry this one form. Servers go by name, times count from
//! the header's `started`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::sync::Arc;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};

use super::header::{Format, Header};
use super::{Entry, Fact, History};
use crate::claim::StepId;
use crate::config::ServerId;
use crate::time::Timestamp;
use crate::wire::Report;
use crate::words::nanoseconds;

pub use super::header::VERSION;

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ends before it begins.
    #[error("the file is empty: a history begins with a line about the run")]
    Empty,
    /// An older herdsim wrote it.
    #[error(
        "an older herdsim wrote this history, in format {0}; this one reads format {VERSION}: run the scenario again"
    )]
    Older(u32),
    /// A newer herdsim wrote it.
    #[error("a newer herdsim wrote this history, in format {0}; this one reads format {VERSION}")]
    Newer(u32),
    /// It is the log of one server.
    #[error("this is the log of {0}, which is only a part of a history: judge what `herdsim events --json` prints")]
    Log(String),
    /// A line is not what it should be.
    #[error("line {line}: {reason}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// The line of an entry.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Entry")]
struct Line {
    /// Nanoseconds since the header's `started`.
    at: u64,
    /// The step that did it, or that was in progress: an index into the header's `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<StepId>,
    /// The process that recorded it, in a herd of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Arc<str>>,
    /// What happened.
    fact: Fact<Arc<str>>,
}

/// A line of a history.
#[derive(JsonSchema)]
#[schemars(untagged, title = "herdsim history")]
#[expect(dead_code, reason = "it is there for the schema")]
enum AnyLine {
    /// The first line: about the run.
    Header(Header),
    /// Every other line: something that happened.
    Entry(Line),
}

/// Returns the JSON Schema (draft 7) of one line of a history, with a final newline.
pub fn schema() -> String {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<AnyLine>();
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

/// Writes a history, one JSON value on each line.
///
/// # Errors
///
/// Returns the first error of `out`.
pub fn write(history: &History, out: &mut impl Write) -> io::Result<()> {
    out.write_all(header(history, None).as_bytes())?;
    for each in &history.entries {
        let line = line(history, each);
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Returns the first line of a history with its end, or that of the log of one server.
pub fn header(history: &History, log_of: Option<ServerId>) -> String {
    serde_json::to_string(&Header::of(history, log_of)).expect("a header is JSON") + "\n"
}

/// Returns the line of one entry of a history with its end.
pub fn entry(history: &History, entry: &Entry) -> String {
    entry_from(history, entry, None)
}

/// Returns the line of one entry with its end, which this process recorded.
pub fn entry_from(history: &History, entry: &Entry, process: Option<Arc<str>>) -> String {
    serde_json::to_string(&Line { process, ..line(history, entry) }).expect("an entry is JSON") + "\n"
}

fn line(history: &History, entry: &Entry) -> Line {
    let servers = &history.origin.servers;
    let mut name = |server: ServerId| Ok::<_, std::convert::Infallible>(servers[server.index()].clone());
    let Ok(fact) = entry.fact.clone().map(&mut name);
    let at = nanoseconds(entry.at - history.started);
    Line { at, step: entry.step, process: None, fact }
}

/// Reads a history that [`write()`] wrote.
///
/// # Errors
///
/// Returns an error if a line is not what it should be, or if another version of herdsim wrote it.
pub fn read(input: impl BufRead) -> Result<History, ReadError> {
    let mut lines = input.lines();
    let mut reader = Reader::new(&lines.next().ok_or(ReadError::Empty)??)?;
    if let Some(server) = reader.log_of {
        return Err(ReadError::Log(server));
    }
    for line in lines {
        let line = line?;
        match reader.entry(&line)? {
            Some(entry) => reader.history.entries.push(entry),
            None => continue,
        }
    }
    Ok(reader.history)
}

/// Says that a herd has no such server.
pub(super) fn unknown(name: &str) -> String {
    format!("the herd has no server called `{name}`")
}

/// Reads a history line by line.
#[derive(Debug)]
pub struct Reader {
    /// The history without its entries.
    pub history: History,
    log_of: Option<String>,
    servers: BTreeMap<Arc<str>, ServerId>,
    /// Lines read so far.
    lines: usize,
    /// Equal lines become one report, as they were in the run.
    reports: BTreeMap<Box<str>, Arc<Report>>,
}

impl Reader {
    /// Reads the first line.
    ///
    /// # Errors
    ///
    /// Returns an error if it is no header of this version.
    pub fn new(first: &str) -> Result<Self, ReadError> {
        let wrong = |reason: String| ReadError::Line { line: 1, reason };
        let Format { herdsim_history } = serde_json::from_str(first).map_err(|error| wrong(error.to_string()))?;
        match herdsim_history.cmp(&VERSION) {
            std::cmp::Ordering::Less => return Err(ReadError::Older(herdsim_history)),
            std::cmp::Ordering::Greater => return Err(ReadError::Newer(herdsim_history)),
            std::cmp::Ordering::Equal => {}
        }
        let header: Header = serde_json::from_str(first).map_err(|error| wrong(error.to_string()))?;
        let log_of = header.log_of.clone();
        let history = header.history().map_err(wrong)?;
        let servers = history.origin.servers.iter().cloned().zip((0..).map(ServerId)).collect();
        Ok(Self { history, log_of, servers, lines: 1, reports: BTreeMap::new() })
    }

    /// Reads another line. Returns `None` if it is blank.
    ///
    /// # Errors
    ///
    /// Returns an error if the line is no entry, or names a server or a step that the header does not have.
    pub fn entry(&mut self, text: &str) -> Result<Option<Entry>, ReadError> {
        self.lines += 1;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let line = self.lines;
        let wrong = |reason: String| ReadError::Line { line, reason };
        let Line { at, step, process: _, fact } =
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if let Some(step) = step.filter(|step| step.index() >= self.history.origin.steps.len()) {
            return Err(wrong(format!("the script has no step {}", step.0)));
        }
        let server = |name: Arc<str>| self.servers.get(&name).copied().ok_or_else(|| unknown(&name));
        let mut fact = fact.map(&mut { server }).map_err(wrong)?;
        if let Some(report) = fact.report_mut() {
            self.share(report);
        }
        let at = self.history.started.shifted(i64::try_from(at).unwrap_or(i64::MAX));
        Ok(Some(Entry { at, step, fact }))
    }

    /// Puts the report of an equal line in the place of `report`.
    fn share(&mut self, report: &mut Arc<Report>) {
        match self.reports.get(report.line()) {
            Some(known) => *report = known.clone(),
            None => drop(self.reports.insert(report.line().into(), report.clone())),
        }
    }

    /// Returns the time at which the run began.
    pub fn started(&self) -> Timestamp {
        self.history.started
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::act::{Action, Ends, Hit, PartitionMode, ServerVerb, SessionId, Verb, WayVerb, Ways};
    use crate::claim::{Assertion, ConvergedMode, Scope, Verdict, VersionBound};
    use crate::config::{Bandwidth, Delay, Distribution, Slowness, Way};
    use crate::history::build::{Builder, herd, line};
    use crate::history::{Comparison, Event, Hop};
    use crate::wire::{ControlLine, PosixTime};

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
            Event::Acknowledged { server: a, life: 4, session: None, report: report.clone(), overdue: true },
            Event::Answered { server: a, life: 4, session: None, report: report.clone() },
            Event::Refused { server: a, life: 4, session: None, command: not_text.clone() },
            Event::Sent { way, connection: 6, report: report.clone() },
            Event::Control { way, connection: 6, line: Arc::new(ControlLine::welcome(255)) },
            Event::Heard {
                server: b,
                life: 1,
                from: Some(Hop { server: a, connection: 6 }),
                report: report.clone(),
                newer: false,
            },
            Event::Heard { server: b, life: 1, from: None, report: report.clone(), newer: false },
            Event::Vanished { way, connection: 6, report: report.clone() },
            Event::Missed { way, life: 4, report: report.clone() },
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
        let ways = Ways::These(vec![Ends::Both(a, b), Ends::One(b, a)]);
        let verbs = [
            Verb::Servers { verb: ServerVerb::Kill, on: vec![a, b] },
            Verb::Ways { verb: WayVerb::Cut, on: ways },
            Verb::Ways { verb: WayVerb::Heal, on: Ways::All },
            Verb::Partition {
                groups: vec![vec![a], vec![b]],
                mode: PartitionMode::HoldThenCut(Duration::from_secs(2)),
            },
            Verb::RollingRestart { on: vec![a, b] },
        ];
        let herd = verbs.into_iter().fold(herd, |herd, verb| herd.push(Fact::Asked(verb)));
        herd.push(Fact::LeftOut { entries: 3 })
            .push(Fact::Opened { session, talker: "kiwi".into() })
            .push(Fact::Quiescent(true))
            .push(Fact::Compared(Comparison {
                name: "reply".into(),
                expected: "AT *".into(),
                actual: "? IAMAT".into(),
                verdict: Verdict::Failed,
            }))
            .push(Fact::Silent(Duration::from_millis(2)))
            .push(Fact::Probing { server: a })
            .push(Fact::Probed { server: a, asked: 3, client: "kiwi".into(), report: Some(report.clone()) })
            .push(Fact::Probed { server: a, asked: 3, client: "plum".into(), report: None })
            .push(Fact::Unanswered { server: b, asked: 4, reason: "its process is gone".into() })
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
    fn every_line_of_a_history_is_what_the_schema_says() {
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        let schema = serde_json::from_str(&schema()).expect("the schema is JSON");
        compiler.add_resource("history.json", schema).expect("the schema can be referred to");
        let index = compiler.compile("history.json", &mut schemas).expect("the schema is one");
        let validate = |line: &str| {
            let value = serde_json::from_str(line).expect("a line is JSON");
            schemas.validate(&value, index).is_ok()
        };
        let text = written(&full());
        assert!(text.lines().count() > 40, "there is one of everything");
        for line in text.lines() {
            assert!(validate(line), "{line}");
        }
        for wrong in [
            r#"{"at":1}"#,
            r#"{"at":-1,"fact":"step-began"}"#,
            r#"{"at":1,"fact":"step-began","more":1}"#,
            r#"{"at":1,"fact":{"saw":{"paused":{"server":"Bona"}}}}"#,
            r#"{"at":1,"fact":{"saw":{"paused":{"server":"Bona","life":1,"why":"so"}}}}"#,
        ] {
            assert!(!validate(wrong) && serde_json::from_str::<Line>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_schema_that_is_shipped_is_that_of_the_program() {
        assert_eq!(include_str!("../../schema/history.json"), schema(), "`herdsim schema history` writes it");
    }

    #[test]
    fn every_example_of_the_documentation_is_a_line_of_a_history() {
        let page = include_str!("../../docs/history.md");
        let blocks = page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
        let mut examples = 0;
        for line in blocks.flat_map(str::lines) {
            let is_header = line.contains("herdsim_history");
            let read = if is_header {
                serde_json::from_str::<Header>(line).map(drop)
            } else {
                serde_json::from_str::<Line>(line).map(drop)
            };
            read.unwrap_or_else(|error| panic!("{line}: {error}"));
            examples += 1;
        }
        assert!(examples > 20, "{examples} examples");
    }

    #[test]
    fn servers_go_by_name_and_times_count_from_the_start() {
        let history = herd().at(3, |herd| herd.accepted("Bona", "kiwi", 1).cut("Bona", "Clark")).history();
        let text = written(&history);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains(r#""seed":"1","started":"2021-05-19T22:53:47.000000000Z""#), "{}", lines[0]);
        assert_eq!(
            lines[2],
            r#"{"at":3000000,"fact":{"saw":{"accepted":{"server":"Bona","life":1,"line":"AT Bona +0.263873386 kiwi +34.068930-118.445127 1","newer":true}}}}"#
        );
        assert_eq!(
            lines[3],
            r#"{"at":3000000,"fact":{"did":{"action":{"way":[{"from":"Bona","to":"Clark"},"cut"]},"hit":{"connections":1}}}}"#
        );
    }

    #[test]
    fn equal_lines_are_one_report_after_reading() {
        let kiwi = line("Bona", "kiwi", 1);
        let history = herd().accepted("Bona", "kiwi", 1).told("Bona", "Clark", &kiwi).history();
        let read = read(written(&history).as_bytes()).unwrap();
        let reports: Vec<_> = read
            .entries
            .iter()
            .filter_map(|entry| match &entry.fact {
                Fact::Saw(event) => event.report(),
                _ => None,
            })
            .collect();
        assert_eq!(reports.len(), 3);
        assert!(reports.iter().all(|report| Arc::ptr_eq(report, reports[0])));
    }

    #[test]
    fn what_is_no_history_is_refused_with_its_line() {
        let told = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(told(""), "the file is empty: a history begins with a line about the run");
        assert_eq!(
            told("{\"herdsim_history\": 1}"),
            "an older herdsim wrote this history, in format 1; this one reads format 2: run the scenario again"
        );
        assert_eq!(
            told("{\"herdsim_history\": 3}"),
            "a newer herdsim wrote this history, in format 3; this one reads format 2"
        );
        let with = |line: &str| told(&format!("{}{line}\n", written(&herd().history())));
        let paused = r#"{"at":0,"fact":{"saw":{"paused":{"server":"Carl","life":1}}}}"#;
        assert_eq!(with(paused), "line 2: the herd has no server called `Carl`");
        assert_eq!(with(r#"{"at":0,"step":9,"fact":"step-began"}"#), "line 2: the script has no step 9");
        assert!(with(r#"{"at":0,"fact":{"saw":{"sent":{}}}}"#).starts_with("line 2: missing field"));
        let log = header(&herd().history(), Some(ServerId(3)));
        assert!(told(&log).starts_with("this is the log of Clark, which is only a part of a history"));
    }
}
