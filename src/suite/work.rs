//! One case after the other, on one thread.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::both::{Ending, compare, race};
use super::excerpt::{excerpt, line};
use super::{Case, CaseDriver, Options, Watcher};
use crate::checker::judge;
use crate::claim::{StepId, Verdict};
use crate::config::{Topology, Wiring};
use crate::driver::loopback::{self, Feed, LoopbackDriver, Options as LoopbackOptions};
use crate::driver::simulated::{self, PlacesAnswer, Settings, SimulatedDriver};
use crate::driver::{Driver, Known};
use crate::history::{DriverKind, Entry, History, Origin, json};
use crate::places::Service;
use crate::report::{CaseResult, Status};
use crate::runner::{Progress, RunError, Runner};
use crate::scenario::Script;
use crate::time::{RealClock, Timestamp};
use crate::words::short;

/// Runs cases, and keeps what the next one can use.
pub(super) struct Worker<'a, W> {
    pub(super) options: &'a Options,
    watcher: &'a W,
    stop: &'a CancellationToken,
    /// How many cases there are in all.
    cases: usize,
    clock: RealClock,
    simulator: Option<SimulatedDriver>,
    /// What the cases of one script share.
    prepared: Option<Prepared>,
    /// Empty, but for the memory of the last history.
    spare: Vec<Entry>,
}

/// What follows from a script alone.
struct Prepared {
    script: Arc<Script>,
    wiring: Arc<Wiring>,
    origins: [Arc<Origin>; 2],
    /// What virtual time does without.
    left_out: Vec<String>,
}

/// One run of a case.
pub(super) struct Attempt {
    pub(super) history: Option<History>,
    /// What every server knew at the end.
    pub(super) records: Vec<Vec<Known>>,
    /// Why it could not run, or stopped half-way.
    pub(super) error: Option<String>,
    pub(super) notes: Vec<String>,
}

/// Where a script is, for whoever watches the suite, and whether it is to go on.
struct Steps<'a, W> {
    watcher: &'a W,
    number: usize,
    case: &'a Case,
    stop: &'a CancellationToken,
    clock: RealClock,
    /// By the clock on the wall.
    limit: Timestamp,
}

impl<W: Watcher> Progress for Steps<'_, W> {
    fn step(&self, step: StepId) {
        self.watcher.step(self.number, self.case, step);
    }

    fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.clock.now() >= self.limit
    }
}

impl<'a, W: Watcher> Worker<'a, W> {
    pub(super) fn new(options: &'a Options, watcher: &'a W, stop: &'a CancellationToken, cases: usize) -> Self {
        Self {
            options,
            watcher,
            stop,
            cases,
            clock: RealClock::start(),
            simulator: None,
            prepared: None,
            spare: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, number: usize, case: &Case) -> CaseResult {
        self.watcher.began(number, case);
        self.prepare(&case.script);
        let begun = self.clock.now();
        let mut attempts = 1;
        let mut result = self.attempt(number, case);
        while attempts <= self.options.retries && result.status > Status::Flaky && !self.stop.is_cancelled() {
            attempts += 1;
            result = self.attempt(number, case);
        }
        if attempts > 1 && result.status == Status::Passed {
            result.status = Status::Flaky;
        }
        result.attempts = attempts;
        result.wall = self.clock.now().since(begun);
        result
    }

    fn attempt(&mut self, number: usize, case: &Case) -> CaseResult {
        match case.driver {
            CaseDriver::One(driver) => {
                let attempt = self.attempt_on(number, case, driver);
                self.result(case, driver, attempt)
            }
            CaseDriver::Both => {
                let [loopback, simulated] = [DriverKind::Loopback, DriverKind::Simulated].map(|driver| {
                    let attempt = self.attempt_on(number, case, driver);
                    let ending = Ending::of(&case.script.topology, &attempt.records);
                    (self.result(case, driver, attempt), ending)
                });
                compare(loopback, simulated, replay(case, "both"), || race(&case.script))
            }
        }
    }

    fn attempt_on(&mut self, number: usize, case: &Case, driver: DriverKind) -> Attempt {
        let mut attempt = self.run_on(number, case, driver);
        if self.options.check_determinism && driver == DriverKind::Simulated {
            let again = self.run_on(number, case, driver);
            attempt.error = attempt.error.or_else(|| first_difference(&attempt.history, &again.history));
        }
        if let Some(history) = &attempt.history {
            attempt.error = attempt.error.or_else(|| self.save(number, case, driver, history));
        }
        attempt
    }

    fn run_on(&mut self, number: usize, case: &Case, driver: DriverKind) -> Attempt {
        match driver {
            DriverKind::Loopback => self.on_sockets(number, case),
            DriverKind::Simulated => self.on_virtual_time(number, case),
            DriverKind::Remote => self.on_processes(number, case),
        }
    }

    fn on_virtual_time(&mut self, number: usize, case: &Case) -> Attempt {
        let topology = &case.script.topology;
        let steps = self.watched(number, case);
        let prepared = self.prepared.as_ref().expect("the case is prepared");
        let (origin, wiring, notes) = (prepared.origins[1].clone(), prepared.wiring.clone(), prepared.left_out.clone());
        let new = || SimulatedDriver::new(topology.clone(), Settings::default(), PlacesAnswer::offline());
        let simulator = self.simulator.get_or_insert_with(new);
        simulator.reset(topology, case.seed);
        let mut history = History::new(origin, case.seed, simulator.now());
        history.entries = std::mem::take(&mut self.spare);
        let mut runner = Runner::new(&case.script, history, wiring, simulator);
        let ended = runner.run(&steps).now_or_never().expect("virtual time waits for nobody");
        let history = runner.into_history();
        let records = topology.ids().map(|server| simulator.records(server)).collect();
        Attempt { history: Some(history), records, error: ended.err().map(|error| self.told(&error)), notes }
    }

    fn watched<'b>(&self, number: usize, case: &'b Case) -> Steps<'b, W>
    where
        'a: 'b,
    {
        let limit = self.options.max_time.map_or(Timestamp::MAX, |limit| self.clock.now() + limit);
        Steps { watcher: self.watcher, number, case, stop: self.stop, clock: self.clock, limit }
    }

    fn told(&self, error: &RunError) -> String {
        match self.options.max_time {
            Some(limit) if matches!(error, RunError::Interrupted) && !self.stop.is_cancelled() => {
                format!("it took longer than {}", short(limit))
            }
            _ => error.to_string(),
        }
    }

    fn on_sockets(&self, number: usize, case: &Case) -> Attempt {
        let (topology, notes) = self.own_topology(case);
        let runtime = match loopback::runtime(&topology) {
            Ok(runtime) => runtime,
            Err(error) => return Attempt::failed(format!("cannot start a runtime: {error}")),
        };
        let attempt = runtime.block_on(self.on_sockets_of(number, case, topology));
        // Nothing of the herd is needed any more; its tasks end where they are, and their sockets close.
        runtime.shutdown_background();
        Attempt { notes, ..attempt }
    }

    async fn on_sockets_of(&self, number: usize, case: &Case, topology: Arc<Topology>) -> Attempt {
        let places = match Service::open(&topology.places) {
            Ok(places) => Arc::new(places),
            Err(error) => return Attempt::failed(error.to_string()),
        };
        let options = LoopbackOptions { only: None, places, feed: Feed::Lossless, calls: None };
        let mut driver = match LoopbackDriver::start(topology.clone(), options).await {
            Ok(driver) => driver,
            Err(error) => return Attempt::failed(error.to_string()),
        };
        let prepared = self.prepared.as_ref().expect("the case is prepared");
        let (origin, wiring) = (prepared.origins[0].clone(), prepared.wiring.clone());
        let history = History::new(origin, case.seed, driver.started());
        let (history, error) = self.play(number, case, history, wiring, &mut driver).await;
        let records = topology.ids().map(|server| driver.records(server)).collect();
        Attempt { history: Some(history), records, error, notes: Vec::new() }
    }

    /// Runs a case in real time, until it ends or is to end. Returns its history, and why it stopped half-way.
    pub(super) async fn play<D: Driver>(
        &self,
        number: usize,
        case: &Case,
        history: History,
        wiring: Arc<Wiring>,
        driver: &mut D,
    ) -> (History, Option<String>) {
        let mut runner = Runner::new(&case.script, history, wiring, driver);
        let steps = self.watched(number, case);
        let ended = tokio::select! {
            ended = runner.run(&steps) => ended,
            () = self.stop.cancelled() => Err(RunError::Interrupted),
            () = expired(self.options.max_time) => Err(RunError::Interrupted),
        };
        let error = ended.err().map(|error| self.told(&error));
        (runner.into_history(), error)
    }

    /// The case's topology with its seed; with free ports when other cases may want the same.
    fn own_topology(&self, case: &Case) -> (Arc<Topology>, Vec<String>) {
        let mut topology = Topology::clone(&case.script.topology);
        topology.seed = case.seed;
        let fixed = topology.servers.iter().any(|server| server.port != 0);
        if self.cases == 1 || !fixed {
            return (Arc::new(topology), Vec::new());
        }
        topology.servers.iter_mut().for_each(|server| server.port = 0);
        let note = "its servers listened on free ports instead of those of the file, because it did not run alone";
        (Arc::new(topology), vec![note.into()])
    }

    fn prepare(&mut self, script: &Arc<Script>) {
        if self.prepared.as_ref().is_some_and(|prepared| Arc::ptr_eq(&prepared.script, script)) {
            return;
        }
        let origins = [DriverKind::Loopback, DriverKind::Simulated].map(|driver| Arc::new(script.origin(driver)));
        let wiring = Arc::new(Wiring::of(&script.topology));
        let left_out = simulated::left_out(&script.topology);
        self.prepared = Some(Prepared { script: script.clone(), wiring, origins, left_out });
    }

    fn result(&mut self, case: &Case, driver: DriverKind, mut attempt: Attempt) -> CaseResult {
        let judgement = attempt.history.as_ref().map(judge);
        let status = match (&attempt.error, &judgement) {
            (None, Some(judgement)) => judgement.verdict.into(),
            _ => Status::Error,
        };
        if let Some(history) = &mut attempt.history {
            history.entries.clear();
            self.spare = std::mem::take(&mut history.entries);
        }
        let troubled = judgement.as_ref().filter(|judgement| judgement.verdict != Verdict::Passed);
        CaseResult {
            name: case.name(),
            title: case.script.title.clone(),
            teaches: case.script.teaches.clone(),
            file: case.script.file.display().to_string(),
            line: troubled.and_then(line),
            seed: case.seed,
            driver,
            status,
            attempts: 1,
            wall: Duration::ZERO,
            excerpt: troubled.and_then(|judgement| excerpt(&case.script, judgement)),
            error: attempt.error,
            notes: attempt.notes,
            compared_with: None,
            replay: match &self.options.herd_of {
                Some(herd) if driver == DriverKind::Remote => {
                    format!("herdsim run {} --herd-of {herd}", case.script.file.display())
                }
                _ => replay(case, driver_name(driver)),
            },
            judgement,
        }
    }

    /// Saves a history; why that did not work, if so.
    fn save(&self, number: usize, case: &Case, driver: DriverKind, history: &History) -> Option<String> {
        let path = self.options.histories.as_ref()?;
        let path = match (self.cases, case.driver) {
            (1, CaseDriver::One(_)) => path.clone(),
            (1, CaseDriver::Both) => with_driver(path, driver),
            _ => path.join(format!("{:04}-{}.jsonl", number + 1, driver_name(driver))),
        };
        write_history(&path, history).err().map(|error| format!("cannot write {}: {error}", path.display()))
    }
}

impl Attempt {
    pub(super) fn failed(error: String) -> Self {
        Self { history: None, records: Vec::new(), error: Some(error), notes: Vec::new() }
    }
}

async fn expired(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

fn write_history(path: &Path, history: &History) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut file = BufWriter::new(File::create(path)?);
    json::write(history, &mut file)?;
    file.flush()
}

/// Where two histories differ first.
fn first_difference(one: &Option<History>, other: &Option<History>) -> Option<String> {
    let lines = |history: &Option<History>| {
        let mut bytes = Vec::new();
        if let Some(history) = history {
            json::write(history, &mut bytes).expect("memory takes every write");
        }
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (one, other) = (lines(one), lines(other));
    let length = one.len().max(other.len());
    let line = (0..length).find(|&line| one.get(line) != other.get(line))?;
    let shown = |lines: &[String]| lines.get(line).cloned().unwrap_or_else(|| "the end".into());
    Some(format!(
        "two runs differ from line {} of their histories on:\n  {}\n  {}",
        line + 1,
        shown(&one),
        shown(&other)
    ))
}

fn driver_name(driver: DriverKind) -> &'static str {
    match driver {
        DriverKind::Loopback => "loopback",
        DriverKind::Simulated => "simulated",
        DriverKind::Remote => "remote",
    }
}

/// Puts a driver's name before the end of a file's name.
fn with_driver(path: &Path, driver: DriverKind) -> PathBuf {
    let name = driver_name(driver);
    match path.extension() {
        Some(extension) => path.with_extension(format!("{name}.{}", extension.display())),
        None => path.with_extension(name),
    }
}

/// The one command that runs a case again.
fn replay(case: &Case, driver: &str) -> String {
    let filter = if case.script.case.is_empty() { String::new() } else { format!(" --filter '{}'", case.script.case) };
    let file = case.script.file.display();
    format!("herdsim run {file} --driver {driver} --seed {}{filter}", case.seed)
}
