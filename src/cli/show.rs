//! Commands that show how herds are: `ps`, `records`, `ls`, `events`.

use std::io::Write;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::args::{Events, Format, Formatted, Global, Records};
use super::ask::{connect, connect_to};
use super::narrate::{Detail, Narrator, printable, time_of_day};
use super::table::{Cell, Table};
use super::terminal::{self, CYAN, DIM, GREEN, RED, YELLOW, styled};
use super::{Failure, Outcome, block_on};
use crate::control::api::{HerdStatus, RecordState, RecordStatus, RecordsQuery, ServerState, ServerStatus};
use crate::control::client::Client;
use crate::control::socket;
use crate::exit::Exit;
use crate::words::{count, signed_seconds};

/// `ps`.
pub(super) fn ps(global: &Global, formatted: &Formatted) -> Outcome {
    block_on(async {
        let status = connect(global).await?.status().await?;
        show(formatted, &status, write_status)
    })
}

fn write_status(status: &HerdStatus) -> Result<(), Failure> {
    let listens = status.servers.iter().any(|server| server.listen.is_some());
    let mut columns = vec!["SERVER", "STATE", "ADDRESS"];
    columns.extend(listens.then_some("LISTENS ON"));
    columns.extend(["LINKS", "RECORDS", "CLOCK", "NEIGHBOURS"]);
    let mut table = Table::new(&columns);
    for server in &status.servers {
        let mut row = vec![Cell::new(CYAN, printable(&server.server)), state(server), address(server).into()];
        row.extend(listens.then(|| server.listen.as_ref().unwrap_or(&server.host).as_str().into()));
        row.extend([
            links(server),
            server.records.to_string().into(),
            signed_seconds(server.clock_offset).into(),
            server.neighbours.join(" ").into(),
        ]);
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

fn state(server: &ServerStatus) -> Cell {
    let style = match server.state {
        ServerState::Up => GREEN,
        ServerState::Paused => YELLOW,
        ServerState::Down | ServerState::Crashed => RED,
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
        let answer = connect_to(global, records.node.as_slice()).await?.records(&query).await?;
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

/// A herd in `ls --format json`.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    pid: u32,
    servers: usize,
    up: usize,
    strategy: crate::config::Strategy,
    file: String,
    socket: String,
}

/// `ls`.
pub(super) fn ls(global: &Global, formatted: &Formatted) -> Outcome {
    block_on(async {
        let mut herds = Vec::new();
        for client in Client::all(global.request_timeout).await {
            let herd = client.herd().to_owned();
            match client.status().await {
                Ok(status) => herds.push(listed(herd, &status)),
                Err(error) => terminal::warn(&error.to_string())?,
            }
        }
        show(formatted, &herds, |herds| write_herds(herds))
    })
}

fn listed(name: String, status: &HerdStatus) -> Listed {
    Listed {
        pid: status.pid,
        servers: status.servers.len(),
        up: status.servers.iter().filter(|server| server.state == ServerState::Up).count(),
        strategy: status.strategy,
        file: status.file.clone(),
        socket: socket::path(&name).display().to_string(),
        name,
    }
}

fn write_herds(herds: &[Listed]) -> Result<(), Failure> {
    let mut table = Table::new(&["HERD", "PID", "UP", "STRATEGY", "FILE"]);
    for herd in herds {
        table.row([
            Cell::new(CYAN, herd.name.as_str()),
            herd.pid.to_string().into(),
            format!("{}/{}", herd.up, herd.servers).into(),
            herd.strategy.to_string().into(),
            herd.file.as_str().into(),
        ]);
    }
    Ok(table.write_to(&mut terminal::out())?)
}

/// `events`.
pub(super) fn events(global: &Global, events: &Events) -> Outcome {
    block_on(async {
        let status = connect(global).await?.status().await?;
        let running = status.servers.iter().filter(|server| server.state != ServerState::Down).count();
        let mut stream = connect(global).await?.events(events.follow, events.tail).await?;
        let mut narrator = Narrator::new(Detail::of(global.verbose), stream.history().origin.clone(), running);
        if events.json {
            writeln!(terminal::out(), "{}", stream.header)?;
        }
        while let Some((entry, line)) = stream.next().await? {
            if events.json {
                writeln!(terminal::out(), "{line}")?;
            } else if let Some(line) = narrator.tell(&entry) {
                writeln!(terminal::out(), "{line}")?;
            }
        }
        Ok(Exit::Passed)
    })
}

/// Prints a value as it is asked for.
fn show<T: Serialize>(formatted: &Formatted, value: &T, table: impl Fn(&T) -> Result<(), Failure>) -> Outcome {
    match formatted.format {
        Format::Json => json(value)?,
        Format::Table => table(value)?,
    }
    Ok(Exit::Passed)
}

/// Prints a value for people and programs.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("a response is JSON");
    Ok(writeln!(terminal::out(), "{text}")?)
}
