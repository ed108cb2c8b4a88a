//! `run`: which cases, on what, shown while they run, and told when they end.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use std::{io, process, thread};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::args::{DriverChoice, Global, Progress, Run};
use super::signals::Signals;
use super::verdicts::{conclude, tell};
use super::{Failure, Outcome, herd_file, terminal};
use crate::claim::StepId;
use crate::exit::Exit;
use crate::history::DriverKind;
use crate::report::{CaseResult, Status};
use crate::scenario::{self, Overrides, Script};
use crate::suite::{self, Case, CaseDriver, Options, Watcher, scenario_files};

/// From so many cases on, only those that do not pass get a line of their own.
const SWEEP: usize = 100;

/// Of a sweep, so many cases that did not pass are told whole; the summary lists the others' seeds.
const TOLD: usize = 5;

/// How often a line that shows a running case moves.
const TICK: Duration = Duration::from_millis(100);

/// `run`.
pub(super) fn run(global: &Global, args: &Run) -> Outcome {
    let scripts = load(global, args)?;
    let cases = select(global, args, scripts)?;
    if args.herd_of.is_some() && cases.len() > 1 {
        let names: Vec<_> = cases.iter().map(Case::name).collect();
        let text = format!(
            "error: a herd that is up plays one scenario, and knows its clients then; chosen: {}",
            names.join(", ")
        );
        return Err(Failure { exit: Exit::Usage, text });
    }
    if cases.is_empty() {
        return Err(Failure { exit: Exit::NothingSelected, text: "error: no scenario was selected".into() });
    }
    let stop = CancellationToken::new();
    let signalled = watch_signals(stop.clone())?;
    let screen = Screen::new(global, args, cases.len());
    let results = suite::run(&cases, &options(args), &screen, &stop);
    screen.close();
    let told = conclude(global, &args.reports, &shortened(results))?;
    Ok(signalled.get().copied().unwrap_or(told))
}

fn options(args: &Run) -> Options {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Options {
        jobs: args.jobs.unwrap_or(cores),
        retries: args.retries,
        fail_fast: args.fail_fast,
        max_time: args.max_time,
        check_determinism: args.check_determinism,
        herd_of: args.herd_of.clone(),
        histories: args.history.clone(),
    }
}

/// Reads all files, and says what is wrong with each.
fn load(global: &Global, args: &Run) -> Result<Vec<Arc<Script>>, Failure> {
    let files = scenario_files(&args.paths).map_err(|error| Failure::usage(error.to_string()))?;
    let variables = args.variable.iter().cloned().collect();
    let overrides = Overrides { strategy: args.strategy, reply: args.reply, seed: args.seed };
    let mut scripts = Vec::new();
    let mut wrong = Vec::new();
    for file in &files {
        match scenario::load(file, &variables, &overrides) {
            Ok(cases) => {
                herd_file::warn(global, &cases.warnings)?;
                scripts.extend(cases.scripts.into_iter().map(Arc::new));
            }
            Err(error) => wrong.push(herd_file::failure(global, file, error).text),
        }
    }
    if wrong.is_empty() { Ok(scripts) } else { Err(Failure { exit: Exit::Usage, text: wrong.join("\n\n") }) }
}

fn select(global: &Global, args: &Run, scripts: Vec<Arc<Script>>) -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    for script in scripts {
        let wanted = args.filter.is_empty() || args.filter.iter().any(|text| script.name().contains(text.as_str()));
        let Some(driver) = driver(&script, args).filter(|_| wanted) else {
            if wanted && !global.quiet {
                terminal::warn(&format!("{} does not run on this driver; left out", script.name()))?;
            }
            continue;
        };
        if args.driver == DriverChoice::Both && driver != CaseDriver::Both && !global.quiet {
            let left_out =
                if driver == CaseDriver::One(DriverKind::Loopback) { "virtual time" } else { "real sockets" };
            terminal::warn(&format!("{} does not run on {left_out}; nothing is compared", script.name()))?;
        }
        let own = script.topology.seed..script.topology.seed + 1;
        for seed in args.seeds.clone().unwrap_or(own) {
            let case = Case { script: script.clone(), seed, driver };
            cases.extend(std::iter::repeat_n(case, args.repeat as usize));
        }
    }
    Ok(args.partition.map_or_else(|| cases.clone(), |slice| slice.of(cases.clone())))
}

/// What a script is run on; `None` when it cannot be run on what is asked for.
fn driver(script: &Script, args: &Run) -> Option<CaseDriver> {
    let can = |driver| script.drivers.contains(&driver);
    let one = |driver| can(driver).then_some(CaseDriver::One(driver));
    if args.herd_of.is_some() {
        // Its servers have real sockets, too.
        return one(DriverKind::Loopback).map(|_| CaseDriver::One(DriverKind::Remote));
    }
    match args.driver {
        DriverChoice::Loopback => one(DriverKind::Loopback),
        DriverChoice::Simulated => one(DriverKind::Simulated),
        DriverChoice::Both if can(DriverKind::Loopback) && can(DriverKind::Simulated) => Some(CaseDriver::Both),
        DriverChoice::Both => one(DriverKind::Loopback).or_else(|| one(DriverKind::Simulated)),
    }
}

/// The results of a sweep stay small.
fn shortened(results: Vec<CaseResult>) -> Vec<CaseResult> {
    if results.len() < SWEEP {
        return results;
    }
    results.into_iter().map(CaseResult::shortened).collect()
}

/// The first signal ends the suite with what is known so far, the second one the process.
fn watch_signals(stop: CancellationToken) -> Result<Arc<OnceLock<Exit>>, Failure> {
    let signalled = Arc::new(OnceLock::new());
    let seen = signalled.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Taken over before anything runs, so that no signal is met by the system's own way of dealing with it.
    let mut signals = {
        let _inside = runtime.enter();
        Signals::take()?
    };
    thread::spawn(move || {
        runtime.block_on(async {
            let exit = signals.next().await;
            seen.get_or_init(|| exit);
            stop.cancel();
            let exit = signals.next().await;
            process::exit(exit as i32);
        });
    });
    Ok(signalled)
}

/// Reads `1000`, the seeds from 1, or `5..10`.
pub(super) fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || "seeds are a count, like 1000, or a range without its end, like 5..10".to_owned();
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let range = match text.split_once("..") {
        Some((from, to)) => number(from)?..number(to)?,
        None => 1..number(text)?.checked_add(1).ok_or_else(wrong)?,
    };
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

/// What people see while cases run.
struct Screen<'a> {
    global: &'a Global,
    lines: Option<MultiProgress>,
    /// For a sweep, one line for all.
    whole: Option<ProgressBar>,
    running: Mutex<BTreeMap<usize, ProgressBar>>,
    is_sweep: bool,
    told: AtomicUsize,
    progress: Progress,
}

impl<'a> Screen<'a> {
    fn new(global: &'a Global, args: &Run, cases: usize) -> Self {
        let progress = match args.progress {
            Progress::Auto if global.quiet => Progress::None,
            Progress::Auto if io::stderr().is_terminal() && std::env::var_os("CI").is_none() => Progress::Bar,
            Progress::Auto => Progress::Plain,
            chosen => chosen,
        };
        let lines = (progress == Progress::Bar).then(MultiProgress::new);
        let is_sweep = cases >= SWEEP;
        let whole = lines.as_ref().filter(|_| is_sweep).map(|lines| {
            let style =
                ProgressStyle::with_template("{bar:30} {pos}/{len} ({eta} left)").expect("the template is right");
            lines.add(ProgressBar::new(cases as u64)).with_style(style)
        });
        Self { global, lines, whole, running: Mutex::default(), is_sweep, told: AtomicUsize::new(0), progress }
    }

    fn close(&self) {
        if let Some(whole) = &self.whole {
            whole.finish_and_clear();
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, ProgressBar>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a case gets lines of its own when it has ended.
    fn is_told(&self, result: &CaseResult) -> bool {
        if !self.is_sweep {
            return self.progress != Progress::None || result.status != Status::Passed;
        }
        result.status != Status::Passed && self.told.fetch_add(1, Ordering::Relaxed) < TOLD
    }
}

impl Watcher for Screen<'_> {
    fn began(&self, number: usize, case: &Case) {
        let Some(lines) = self.lines.as_ref().filter(|_| !self.is_sweep) else { return };
        let style = ProgressStyle::with_template("{spinner} {prefix}  {wide_msg:.dim}").expect("the template is right");
        let line = lines.add(ProgressBar::new_spinner()).with_style(style).with_prefix(case.name());
        line.enable_steady_tick(TICK);
        self.running().insert(number, line);
    }

    fn step(&self, number: usize, case: &Case, step: StepId) {
        if let Some(line) = self.running().get(&number) {
            let steps = &case.script.steps;
            line.set_message(format!("{}/{} {}", step.index() + 1, steps.len(), steps[step.index()].shown.text));
        }
    }

    fn ended(&self, number: usize, result: &CaseResult) {
        if let Some(line) = self.running().remove(&number) {
            line.finish_and_clear();
        }
        if let Some(whole) = &self.whole {
            whole.inc(1);
        }
        if self.is_told(result) {
            // A standard output that is gone will be noticed at the end, by the one who can act on it.
            let write = || drop(tell(self.global, result));
            match &self.lines {
                Some(lines) => lines.suspend(write),
                None => write(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_count_or_a_range() {
        assert_eq!(seeds("3"), Ok(1..4));
        assert_eq!(seeds("5..7"), Ok(5..7));
        for wrong in ["", "0", "x", "7..5", "5..5", "-1"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }
}
