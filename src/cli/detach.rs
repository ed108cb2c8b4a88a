//! `up -d` and `node -d`: the herd, or one server of it, in a process of its own, which outlives the terminal it was started from.
//!
//! The parent runs this program again with the same words and [`CHILD`] set. The child leaves the terminal's session and
//! reports on its standard output, a line when it listens and one when all links are up. Its standard error is a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

use super::args::Global;
use super::terminal::{self, CYAN, styled};
use super::up::write_addresses;
use super::{Failure, Outcome};
use crate::control::api::HerdStatus;
use crate::control::socket::{self, Claim};
use crate::exit::Exit;

/// Set in the environment of the process in the background.
const CHILD: &str = "HERDSIM_DETACHED";

/// What the child tells its parent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Report {
    Listening(Box<HerdStatus>),
    Linked,
}

/// Whether this is the process in the background.
pub(super) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// In the child: every server listens.
pub(super) fn report_listening(status: &HerdStatus) -> Result<(), Failure> {
    report(&Report::Listening(Box::new(status.clone())))
        .map_err(|error| Failure::could_not(format!("who started this herd has gone before it was up: {error}")))
}

/// In the child: every link is up.
pub(super) fn report_linked() -> io::Result<()> {
    report(&Report::Linked)
}

fn report(report: &Report) -> io::Result<()> {
    let mut out = terminal::raw_out();
    serde_json::to_writer(&mut out, report)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// In the child, first of all: leaves the session of the terminal, whose end would be the child's.
pub(super) fn leave_session() {
    if is_child() {
        // Fails only for the leader of a process group, which a fresh child of `spawn` is not.
        let _ = rustix::process::setsid();
    }
}

/// In the parent: starts the child and waits until it listens, and with `wait` for so long until all links are up. `claim` is the
/// name that it will take.
pub(super) fn spawn(global: &Global, wait: Option<Duration>, claim: Claim) -> Outcome {
    let herd = &claim.herd().to_owned();
    // Before its log is cleared; the child takes the name anew.
    drop(claim);
    let log_path = log_path(herd);
    let log = create_log(&log_path)
        .map_err(|error| Failure::could_not(format!("cannot write {}: {error}", log_path.display())))?;
    let mut child = start_child(log).map_err(|error| Failure::could_not(format!("cannot start a process: {error}")))?;
    let (process, reports) = (child.id(), read_reports(&mut child));
    // Listening takes as long as it takes; a child that cannot says so by ending.
    let Ok(Report::Listening(status)) = reports.recv() else { return Err(explain(child, &log_path)) };
    if let Some(limit) = wait {
        wait_until_linked(child, &reports, limit, &log_path)?;
    }
    if !global.quiet {
        write_addresses(&status)?;
        let (herd, log) = (styled(CYAN, herd), log_path.display());
        writeln!(terminal::err(), "{herd} is up (process {process}); `herdsim down` ends it; its log: {log}")?;
    }
    Ok(Exit::Passed)
}

fn wait_until_linked(
    child: Child,
    reports: &mpsc::Receiver<Report>,
    limit: Duration,
    log_path: &Path,
) -> Result<(), Failure> {
    match reports.recv_timeout(limit) {
        Ok(_) => Ok(()),
        Err(RecvTimeoutError::Disconnected) => Err(explain(child, log_path)),
        Err(RecvTimeoutError::Timeout) => Err(Failure::could_not(format!(
            "not all links are up after {limit:?}; the herd runs on: `herdsim ps` shows it, `herdsim down` ends it"
        ))),
    }
}

fn start_child(log: File) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
}

/// Reads on a thread of its own, so that waiting can have a limit.
fn read_reports(child: &mut Child) -> mpsc::Receiver<Report> {
    let stdout = child.stdout.take().expect("the child's standard output is a pipe");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let reports = lines.map_while(|line| serde_json::from_str(&line).ok());
        // Ends when nobody waits any more.
        let _ = reports.into_iter().try_for_each(|report| sender.send(report));
    });
    receiver
}

/// What a child that ended said, and its exit code.
fn explain(mut child: Child, log_path: &Path) -> Failure {
    let exit = match child.wait().ok().and_then(|status| status.code()) {
        Some(code) if code == Exit::Usage as i32 => Exit::Usage,
        _ => Exit::CouldNotRun,
    };
    let said = fs::read_to_string(log_path).unwrap_or_default();
    let said = said.trim_end();
    if said.is_empty() {
        return Failure::could_not("the process in the background ended before it was up");
    }
    Failure { exit, text: said.to_owned() }
}

/// The file a herd in the background writes to: `$XDG_STATE_HOME/herdsim/HERD.log`.
fn log_path(herd: &str) -> PathBuf {
    let state = etcetera::base_strategy::Xdg::new().ok().and_then(|base| base.state_dir());
    let directory = state.map_or_else(socket::directory, |state| state.join("herdsim"));
    directory.join(format!("{herd}.log"))
}

fn create_log(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
}
