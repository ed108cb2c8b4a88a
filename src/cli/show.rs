//! Commands that show how herds are: `ps`, `records`, `ls`, `events`.

use std::io::Write;
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::args::{Events, Format, Formatted, Global, Records};
use super::ask::herd;
use super::narrate::{Detail, Narrator, printable, time_of_day};
use super::table::{Cell, Table};
use super::terminal::{self, CYAN, DIM, GREEN, RED, YELLOW, styled};
use super::{Failure, Outcome, block_on};
use crate::control::api::{HerdStatus, RecordState, RecordStatus, RecordsQuery, ServerState, ServerStatus};
use crate::control::client::{self, ClientError};
use crate::control::herd::{Herd, Process};
use crate::control::merge::Merged;
use crate::control::socket;
use crate::exit::Exit;
use crate::history::{Entry, History, json};
use crate::words::{count, signed_seconds};

/// `ps`.
pub(super) fn ps(global: &Global, formatted: &Formatted) -> Outcome {
    block_on(async {
        let status = herd(global, &[]).await?.status().await?;
        show(formatted, &status, write_status)
    })
}

fn write_status(status: &HerdStatus) -> Result<(), Failure> {
    let listens = status.servers.iter().any(|server| server.listen.is_some());
    let mut columns = vec!["SERVER", "STATE", "ADDRESS"];
    columns.extend(listens.then_some("LISTENS ON"));
    columns.extend(["LINKS", "RECORDS", "CLOCK"]);
    let is_apart = status.pid.is_none();
    columns.extend(is_apart.then_some("PROCESS"));
    columns.push("NEIGHBOURS");
    let mut table = Table::new(&columns);
    for server in &status.servers {
        let mut row = vec![Cell::new(CYAN, printable(&server.server)), state(server), address(server).into()];
        row.extend(listens.then(|| server.listen.as_ref().unwrap_or(&server.host).as_str().into()));
        row.extend([links(server), server.records.to_string().into(), signed_seconds(server.clock_offset).into()]);
        row.extend(is_apart.then(|| pid(server.process.as_ref().and_then(|process| process.pid)).into()));
        row.push(server.neighbours.join(" ").into());
        table.row(row);
    }
    let mut out = terminal::out();
    table.write_to(&mut out)?;
    for fault in &status.faults {
        writeln!(out, "{}->{}: {}", fault.from, fault.to, styled(YELLOW, fault.faults.join(", ")))?;
    }
    for server in status.servers.iter().filter(|server| server.replies_waiting > 0) {
        let replies = count(server.replies_waiting as u64, "client");
        writeln!(out, "{}: {} for other servers to take updates", server.server, styled(YELLOW, replies + " waiting"))?;
    }
    for server in &status.servers {
        if let Some(reason) = &server.reason {
            writeln!(out, "{} {}: {}", server.server, styled(RED, "crashed"), printable(reason))?;
        }
    }
    Ok(())
}

/// Returns the number of a process, or `-`.
fn pid(pid: Option<u32>) -> String {
    pid.map_or_else(|| "-".into(), |pid| pid.to_string())
}

fn state(server: &ServerStatus) -> Cell {
    let style = match server.state {
        ServerState::Up => GREEN,
        ServerState::Paused => YELLOW,
        ServerState::Down | ServerState::Crashed | ServerState::Absent | ServerState::Silent => RED,
    };
    Cell::new(style, server.state.name())
}

fn links(server: &ServerStatus) -> Cell {
    let all = server.neighbours.len();
    let style = if server.links_up == all { anstyle::Style::new() } else { YELLOW };
    Cell::new(style, format!("{}/{all}", server.links_up))
}

/// Host and port; an IPv6 address in brackets.
pub(super) fn address(server: &ServerStatus) -> String {
    let (host, port) = (&server.host, server.port);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// `records`.
pub(super) fn records(global: &Global, records: &Records) -> Outcome {
    block_on(async {
        let query = RecordsQuery { server: records.node.clone(), client: records.client.clone() };
        let answer = herd(global, records.node.as_slice()).await?.records(&query).await?;
        show(&records.formatted, &answer, |answer| write_records(&answer.records))?;
        if answer.left_out > 0 {
            terminal::warn(&format!("{} further records are left out; ask for one NODE or --client", answer.left_out))?;
        }
        Ok(Exit::Passed)
    })
}

fn write_records(records: &[RecordStatus]) -> Result<(), Failure> {
    if records.is_empty() {
        return Ok(writeln!(terminal::err(), "nobody knows anything yet")?);
    }
    let zone = TimeZone::system();
    let mut table = Table::new(&["CLIENT", "SERVER", "STATE", "LOCATION", "CLIENT TIME", "ORIGIN", "SINCE", "FROM"]);
    for record in records {
        table.row(record_cells(record, &zone));
    }
    Ok(table.write_to(&mut terminal::out())?)
}

fn record_cells(record: &RecordStatus, zone: &TimeZone) -> [Cell; 8] {
    let (style, state) = match record.state {
        RecordState::Newest => (GREEN, "newest"),
        RecordState::Older => (YELLOW, "older"),
        RecordState::Missing => (RED, "missing"),
    };
    let [location, time, origin, since, from] = match &record.known {
        None => ["-"; 5].map(|none| Cell::new(DIM, none)),
        Some(known) => [
            known.location.as_str().into(),
            known.time.as_str().into(),
            printable(&known.origin).into(),
            time_of_day(known.since, zone).into(),
            known.from.as_deref().unwrap_or("client").into(),
        ],
    };
    let client = printable(&record.client).into();
    [client, Cell::new(CYAN, printable(&record.server)), Cell::new(style, state), location, time, origin, since, from]
}

/// A herd, or a process of one, in `ls --format json`.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    /// `None` of a herd whose servers have processes of their own.
    pid: Option<u32>,
    servers: usize,
    up: usize,
    strategy: crate::config::Strategy,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processes: Vec<Listed>,
}

/// `ls`.
pub(super) fn ls(global: &Global, formatted: &Formatted) -> Outcome {
    block_on(async {
        let mut herds = Vec::new();
        for herd in Herd::all(global.request_timeout).await {
            match herd.status_then().await {
                Ok(status) => herds.push(listed_herd(&herd, &status)),
                Err(error) => terminal::warn(&format!("{error}; {}", processes(&herd)))?,
            }
        }
        show(formatted, &herds, |herds| write_herds(herds))
    })
}

/// Names the processes of a herd that does not answer, for people who want to end them.
fn processes(herd: &Herd) -> String {
    let process = |process: &Process| match socket::holder(&process.control) {
        Some(pid) => format!("`{}` is process {pid}", process.control),
        None => format!("`{}` is a process", process.control),
    };
    herd.processes.iter().map(process).collect::<Vec<_>>().join(", ")
}

/// Returns a herd with its processes, if it has several.
fn listed_herd(herd: &Herd, status: &HerdStatus) -> Listed {
    let process = |process: &Process| Some(listed(process.control.clone(), process.status.as_ref()?));
    let processes = herd.processes.iter().filter(|_| herd.is_apart()).filter_map(process).collect();
    let socket = Some(socket_of(&herd.name)).filter(|_| !herd.is_apart());
    Listed { socket, processes, ..listed(herd.name.clone(), status) }
}

fn listed(name: String, status: &HerdStatus) -> Listed {
    Listed {
        pid: status.pid,
        servers: status.servers.len(),
        up: status.servers.iter().filter(|server| server.state == ServerState::Up).count(),
        strategy: status.strategy,
        file: status.file.clone(),
        socket: Some(socket_of(&name)),
        processes: Vec::new(),
        name,
    }
}

fn socket_of(control: &str) -> String {
    socket::path(control).display().to_string()
}

fn write_herds(herds: &[Listed]) -> Result<(), Failure> {
    let mut table = Table::new(&["HERD", "PID", "UP", "STRATEGY", "FILE"]);
    for herd in herds {
        table.row(herd_cells(herd, ""));
        for process in &herd.processes {
            table.row(herd_cells(process, "  "));
        }
    }
    Ok(table.write_to(&mut terminal::out())?)
}

fn herd_cells(herd: &Listed, indent: &str) -> [Cell; 5] {
    [
        Cell::new(CYAN, format!("{indent}{}", herd.name)),
        pid(herd.pid).into(),
        format!("{}/{}", herd.up, herd.servers).into(),
        herd.strategy.to_string().into(),
        herd.file.as_str().into(),
    ]
}

/// `events`.
pub(super) fn events(global: &Global, events: &Events) -> Outcome {
    block_on(async {
        let herd = herd(global, &[]).await?;
        let status = herd.status().await?;
        let runs = |server: &&ServerStatus| matches!(server.state, ServerState::Up | ServerState::Paused);
        let running = status.servers.iter().filter(runs).count();
        let mut stream = Stream::open(&herd, events).await?;
        let mut narrator = Narrator::new(Detail::of(global.verbose), stream.history().origin.clone(), running);
        if events.json {
            write!(terminal::out(), "{}", json::header(stream.history(), None))?;
        }
        while let Some((entry, process)) = stream.next().await? {
            if events.json {
                write!(terminal::out(), "{}", json::entry_from(stream.history(), &entry, process))?;
            } else if let Some(line) = narrator.tell(&entry) {
                writeln!(terminal::out(), "{line}")?;
            }
        }
        Ok(Exit::Passed)
    })
}

/// The entries of one process, or of several.
enum Stream {
    One(Box<client::Events>),
    Several(Box<Merged>),
}

impl Stream {
    async fn open(herd: &Herd, events: &Events) -> Result<Self, ClientError> {
        if !herd.is_apart() {
            let process = herd.connect(&herd.processes[0]).await?;
            return Ok(Self::One(Box::new(process.events(events.follow, events.tail).await?)));
        }
        let merged =
            if events.follow { Merged::follow(herd, events.tail).await } else { Merged::past(herd, events.tail).await };
        merged.map(Box::new).map(Self::Several)
    }

    fn history(&self) -> &History {
        match self {
            Self::One(events) => events.history(),
            Self::Several(merged) => &merged.history,
        }
    }

    async fn next(&mut self) -> Result<Option<(Entry, Option<Arc<str>>)>, ClientError> {
        match self {
            Self::One(events) => Ok(events.next().await?.map(|entry| (entry, None))),
            Self::Several(merged) => merged.next().await,
        }
    }
}

/// Prints a value as it is asked for.
fn show<T: Serialize>(formatted: &Formatted, value: &T, table: impl Fn(&T) -> Result<(), Failure>) -> Outcome {
    match formatted.format {
        Format::Json => json_value(value)?,
        Format::Table => table(value)?,
    }
    Ok(Exit::Passed)
}

/// Prints a value for people and programs.
pub(super) fn json_value(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("a response is JSON");
    Ok(writeln!(terminal::out(), "{text}")?)
}
