//! Runs many cases side by side and gives back what became of each.
//!
//! Not here: one case's script ([`crate::scenario`]), its run ([`crate::runner`]), and how results are shown
//! ([`crate::report`]).

mod both;
mod excerpt;
mod files;
mod remote;
mod work;

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use files::{NoFiles, scenario_files};

use crate::claim::StepId;
use crate::history::DriverKind;
use crate::report::{CaseResult, Status};
use crate::scenario::Script;
use work::Worker;

/// How cases are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Cases at the same time; at least 1.
    pub jobs: usize,
    /// How often a case that does not pass is tried again.
    pub retries: u32,
    /// Whether nothing more is begun once a case failed.
    pub fail_fast: bool,
    /// How long one case may take, by the clock on the wall; `None`: as long as its script may.
    pub max_time: Option<Duration>,
    /// Whether simulated cases are run twice, and must give the same history to the byte.
    pub check_determinism: bool,
    /// The herd that plays cases on [`DriverKind::Remote`]. `None`: the only one that is up.
    pub herd_of: Option<String>,
    /// Where histories are saved: a file, or with more than one case a directory.
    pub histories: Option<PathBuf>,
}

/// One thing to run.
#[derive(Debug, Clone)]
pub struct Case {
    /// What.
    pub script: Arc<Script>,
    /// Of every random draw.
    pub seed: u64,
    /// On what.
    pub driver: CaseDriver,
}

/// What a case is run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseDriver {
    /// One driver.
    One(DriverKind),
    /// Both, whose verdicts and final records must be the same.
    Both,
}

/// A part of all cases, for several machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Counted from 1.
    pub part: usize,
    /// How many parts there are.
    pub parts: usize,
}

/// Told while cases run. Called from several threads.
pub trait Watcher: Sync {
    /// A case begins.
    fn began(&self, case: usize, of: &Case);
    /// A case is at this step.
    fn step(&self, case: usize, of: &Case, step: StepId);
    /// A case is over.
    fn ended(&self, case: usize, result: &CaseResult);
}

/// Nobody watches.
impl Watcher for () {
    fn began(&self, _: usize, _: &Case) {}
    fn step(&self, _: usize, _: &Case, _: StepId) {}
    fn ended(&self, _: usize, _: &CaseResult) {}
}

impl Slice {
    /// Reads `slice:1/3`.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no part of all cases: write slice:1/3 for the first of three");
        let (part, parts) = text.strip_prefix("slice:").and_then(|text| text.split_once('/')).ok_or_else(wrong)?;
        let (part, parts) = (part.parse().map_err(|_| wrong())?, parts.parse().map_err(|_| wrong())?);
        if (1..=parts).contains(&part) { Ok(Self { part, parts }) } else { Err(wrong()) }
    }

    /// Every `parts`-th case, so that slow neighbours are spread.
    pub fn of<T>(self, cases: Vec<T>) -> Vec<T> {
        cases.into_iter().skip(self.part - 1).step_by(self.parts).collect()
    }
}

impl Case {
    /// The name its result has.
    pub fn name(&self) -> String {
        self.script.name()
    }
}

/// Runs cases, and gives back what became of those that were begun, in the order of the cases. Ends early when `stop` is
/// cancelled: cases under way are judged by what had happened until then.
pub fn run(cases: &[Case], options: &Options, watcher: &impl Watcher, stop: &CancellationToken) -> Vec<CaseResult> {
    let (taken, jobs) = (AtomicUsize::new(0), options.jobs.clamp(1, cases.len().max(1)));
    let work = || {
        let mut worker = Worker::new(options, watcher, stop, cases.len());
        let numbers = std::iter::repeat_with(|| taken.fetch_add(1, Ordering::Relaxed));
        let mut done = Vec::new();
        for number in numbers.take_while(|&number| number < cases.len() && !stop.is_cancelled()) {
            let result = worker.run(number, &cases[number]);
            watcher.ended(number, &result);
            if options.fail_fast && matches!(result.status, Status::Failed | Status::Error) {
                stop.cancel();
            }
            done.push((number, result));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        done.flatten().collect::<Vec<_>>()
    });
    done.sort_unstable_by_key(|&(number, _)| number);
    done.into_iter().map(|(_, result)| result).collect()
}
