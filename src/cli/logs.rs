//! One log file for each server: written while a herd runs, read by `logs`.
//!
//! A line begins with the time, in text as RFC 3339. In JSON, a header begins what one run of the herd logged, and each line is an
//! entry of its history. No colours.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{Global, LogFormat, Logs};
use super::ask::herd;
use super::narrate::{Detail, Narrator};
use super::terminal::{self, CYAN, styled};
use super::{Failure, Outcome, block_on};
use crate::act::Action;
use crate::config::ServerId;
use crate::control::api::HerdStatus;
use crate::control::herd::Herd;
use crate::control::names;
use crate::control::owner::Watch;
use crate::exit::Exit;
use crate::history::{Entry, Fact, History, json};
use crate::time::{RealClock, Timestamp};
use crate::words::percent_encoded;

/// How often files are looked at for more.
const LOOK: Duration = Duration::from_millis(100);

/// Writes the log files of one herd.
#[derive(Debug)]
pub(super) struct Writer {
    format: LogFormat,
    files: BTreeMap<ServerId, LogFile>,
    /// What the entries are about.
    history: History,
    narrator: Narrator,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    /// Writing failed, and it was said.
    broken: bool,
}

impl Writer {
    /// Creates the files, or appends to those that are there.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be written.
    pub(super) fn create(
        dir: &Path,
        format: LogFormat,
        history: &History,
        servers: &[ServerId],
    ) -> Result<Self, Failure> {
        let failed = |path: &Path, error: io::Error| {
            Failure::could_not(format!("cannot write the log {}: {error}", path.display()))
        };
        fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
        let mut files = BTreeMap::new();
        for &server in servers {
            let path = path(dir, history.origin.name(server));
            let file = File::options().create(true).append(true).open(&path).map_err(|error| failed(&path, error))?;
            let mut file = LogFile { path, file, broken: false };
            if format == LogFormat::Json {
                file.write(&json::header(history, Some(server)));
            }
            files.insert(server, file);
        }
        let narrator = Narrator::new(Detail::Everything, history.origin.clone(), 0);
        let history = History { entries: Vec::new(), ..history.clone() };
        Ok(Self { format, files, history, narrator })
    }

    /// Logs what happens until the herd ends.
    pub(super) fn write_all(mut self, watch: Watch) {
        watch.each(|entry| {
            self.write(entry);
            Ok(())
        });
    }

    fn write(&mut self, entry: &Entry) {
        let Some(line) = self.line(entry) else { return };
        let mut write = |server: ServerId| {
            if let Some(file) = self.files.get_mut(&server) {
                file.write(&line);
            }
        };
        match &entry.fact {
            Fact::Saw(event) => event.servers().into_iter().for_each(|&server| write(server)),
            Fact::Did { action: Action::Server(server, _), .. } => write(*server),
            Fact::Did { action: Action::Way(way, _), .. } => [way.from, way.to].into_iter().for_each(write),
            // What operators ask for may be about every server, and whose entries are missing is not known.
            _ => self.files.values_mut().for_each(|file| file.write(&line)),
        }
    }

    fn line(&mut self, entry: &Entry) -> Option<String> {
        Some(match self.format {
            LogFormat::Json => json::entry(&self.history, entry),
            LogFormat::Text => {
                let (server, text) = self.narrator.words(entry)?;
                let server = server.map_or("-", |server| self.history.origin.name(server));
                format!("{} {server} {}\n", rfc3339(entry.at), anstream::adapter::strip_str(&text))
            }
        })
    }
}

impl LogFile {
    /// A full disk costs lines, not the herd.
    fn write(&mut self, line: &str) {
        match self.file.write_all(line.as_bytes()) {
            Ok(()) => self.broken = false,
            Err(error) if !self.broken => {
                self.broken = true;
                let _ =
                    terminal::warn(&format!("cannot write the log {}: {error}; lines are lost", self.path.display()));
            }
            Err(_) => {}
        }
    }
}

fn rfc3339(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(at.nanoseconds()));
    time.map_or_else(|_| "-".into(), |time| format!("{time:.6}"))
}

/// Two servers never share a file.
fn path(dir: &Path, server: &str) -> PathBuf {
    dir.join(format!("{}.log", percent_encoded(server)))
}

/// `logs`.
pub(super) fn logs(global: &Global, logs: &Logs) -> Outcome {
    block_on(async {
        let herd = herd(global, &logs.nodes).await?;
        let mut tails = tails(&herd.name, &herd.each_status().await?, &logs.nodes)?;
        let mut lines = read_all(&mut tails)?;
        if let Some(since) = logs.since {
            let now = RealClock::start().now().nanoseconds();
            let oldest = now.saturating_sub(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
            lines.retain(|line| line.at >= oldest);
        }
        let skipped = logs.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        print(&lines[skipped..], tails.len() > 1)?;
        if logs.follow {
            follow(&mut tails, &herd).await?;
        }
        Ok(Exit::Passed)
    })
}

/// A log file, and how far it was read.
#[derive(Debug)]
struct Tail {
    server: String,
    path: PathBuf,
    read: u64,
    /// Reads entries in JSON, whose times count from the header before them.
    reader: Option<json::Reader>,
}

#[derive(Debug)]
struct Line {
    at: i64,
    server: String,
    text: String,
}

/// Returns the log files of these servers, or of all that the processes of the herd run.
fn tails(herd: &str, statuses: &[HerdStatus], nodes: &[String]) -> Result<Vec<Tail>, Failure> {
    let known =
        || statuses.iter().flat_map(|status| status.servers.iter().map(move |server| (status, &*server.server)));
    if let Some(node) = nodes.iter().find(|node| !known().any(|(_, name)| name == node.as_str())) {
        return Err(Failure::usage(names::unknown_server(herd, node, known().map(|(_, name)| name)).error));
    }
    let wanted = known().filter(|(_, name)| nodes.is_empty() || nodes.iter().any(|node| node == name));
    let tail = |(status, server): (&HerdStatus, &str)| {
        let dir = Path::new(status.log_dir.as_ref()?);
        Some(Tail { server: server.to_owned(), path: path(dir, server), read: 0, reader: None })
    };
    let tails: Vec<_> = wanted.filter_map(tail).collect();
    if tails.is_empty() {
        return Err(Failure::could_not(format!(
            "`{herd}` was started without --log-dir; `herdsim events` shows what it remembers"
        )));
    }
    Ok(tails)
}

/// All whole lines that were not read yet, by time.
fn read_all(tails: &mut [Tail]) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for tail in tails {
        let read = tail.read_on(&mut lines);
        read.map_err(|error| Failure::could_not(format!("cannot read {}: {error}", tail.path.display())))?;
    }
    lines.sort_by_key(|line| line.at);
    Ok(lines)
}

impl Tail {
    /// Returns when a logged line happened, in nanoseconds since the Unix epoch. A line that is not ours is older than all.
    fn time_of(&mut self, line: &str) -> i64 {
        if !line.starts_with('{') {
            let first = line.split(' ').next().and_then(|time| time.parse::<jiff::Timestamp>().ok());
            return first.and_then(|time| i64::try_from(time.as_nanosecond()).ok()).unwrap_or(0);
        }
        if let Ok(reader) = json::Reader::new(line) {
            // The herd was brought up anew.
            return self.reader.insert(reader).started().nanoseconds();
        }
        let entry = self.reader.as_mut().and_then(|reader| reader.entry(line).ok().flatten());
        entry.map_or(0, |entry| entry.at.nanoseconds())
    }

    fn read_on(&mut self, lines: &mut Vec<Line>) -> io::Result<()> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut reader = BufReader::new(file);
        loop {
            let mut text = String::new();
            let read = reader.read_line(&mut text)?;
            if !text.ends_with('\n') {
                return Ok(());
            }
            self.read += read as u64;
            text.pop();
            lines.push(Line { at: self.time_of(&text), server: self.server.clone(), text });
        }
    }
}

fn print(lines: &[Line], several: bool) -> Result<(), Failure> {
    let width = lines.iter().map(|line| line.server.chars().count()).max().unwrap_or(0);
    let mut out = terminal::out();
    for Line { server, text, .. } in lines {
        if several && text.starts_with('{') {
            let padding = width - server.chars().count();
            write!(out, "{}{:padding$} | ", styled(CYAN, server), "")?;
        }
        writeln!(out, "{text}")?;
    }
    Ok(())
}

/// Prints what is logged until no process of the herd is left.
async fn follow(tails: &mut [Tail], herd: &Herd) -> Result<(), Failure> {
    loop {
        let is_up = herd.is_up().await;
        print(&read_all(tails)?, tails.len() > 1)?;
        if !is_up {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}
