//! Plays a script on both drivers and says where they differ.
//!
//! Not here: how scripts are made.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use herdsim::checker::judge;
use herdsim::claim::Verdict;
use herdsim::config::Wiring;
use herdsim::driver::Driver;
use herdsim::driver::loopback::{self, Feed, LoopbackDriver, Options};
use herdsim::driver::simulated::{PlacesAnswer, Settings, SimulatedDriver};
use herdsim::history::{DriverKind, Event, Fact, History};
use herdsim::places::Service;
use herdsim::runner::Runner;
use herdsim::scenario::{Overrides, Variables, parse};

use super::script::Script;

/// Everything of a run that must not depend on the driver, by what it is.
type Outcome = BTreeMap<String, String>;

/// Returns the first difference between both drivers, or `None` if there is none. An error if the script makes no sense.
pub(super) fn difference(script: &Script) -> Result<Option<String>, String> {
    let text = script.to_toml();
    let cases = parse(Path::new("parity.toml"), &text, &Variables::new(), &Overrides::default());
    let read = cases.map_err(|problems| problems.to_string())?.scripts.remove(0);
    let histories = [on_sockets(&read), on_virtual_time(&read)];
    let outcome = |history: History| outcome(&history, script.repairs());
    let [here, there] = histories.map(|history| history.map_or_else(failed, outcome));
    let keys = here.keys().chain(there.keys());
    let differing = keys.into_iter().find(|&key| here.get(key) != there.get(key));
    let shown = |outcome: &Outcome, key| outcome.get(key).map_or("nothing", String::as_str).to_owned();
    Ok(differing
        .map(|key| format!("{key}: {} on real sockets, {} on virtual time", shown(&here, key), shown(&there, key))))
}

fn failed(error: String) -> Outcome {
    Outcome::from([("error".to_owned(), error)])
}

fn on_sockets(script: &herdsim::scenario::Script) -> Result<History, String> {
    let runtime = loopback::runtime(&script.topology).map_err(|error| error.to_string())?;
    let history = runtime.block_on(async {
        let options = Options { only: None, places: Arc::new(Service::offline()), feed: Feed::Lossless, calls: None };
        let driver = LoopbackDriver::start(script.topology.clone(), options).await;
        let mut driver = driver.map_err(|error| error.to_string())?;
        let started = driver.started();
        play(script, &mut driver, DriverKind::Loopback, started).await
    });
    runtime.shutdown_background();
    history
}

fn on_virtual_time(script: &herdsim::scenario::Script) -> Result<History, String> {
    let mut driver = SimulatedDriver::new(script.topology.clone(), Settings::default(), PlacesAnswer::offline());
    let started = driver.now();
    play(script, &mut driver, DriverKind::Simulated, started).now_or_never().expect("virtual time waits for nobody")
}

async fn play<D: Driver>(
    script: &herdsim::scenario::Script,
    driver: &mut D,
    kind: DriverKind,
    started: herdsim::time::Timestamp,
) -> Result<History, String> {
    let history = History::new(Arc::new(script.origin(kind)), script.topology.seed, started);
    let mut runner = Runner::new(script, history, Arc::new(Wiring::of(&script.topology)), driver);
    runner.run(&()).await.map_err(|error| error.to_string())?;
    Ok(runner.into_history())
}

/// Returns what came of a run. Where it `repairs`, numbers of lines do not belong to that.
fn outcome(history: &History, repairs: bool) -> Outcome {
    let judgement = judge(history);
    let mut outcome = Outcome::from([("a verdict".to_owned(), format!("{:?}", judgement.verdict))]);
    for finding in judgement.findings.iter().filter(|finding| finding.verdict == Verdict::Failed) {
        let step = finding.step.map_or(0, |step| step.0 + 1);
        outcome.insert(format!("claim `{}` of step {step}", finding.statement), "failed".to_owned());
    }
    for (number, fault) in judgement.faults.into_iter().enumerate() {
        let mut hit = fault.hit;
        hit.sort();
        hit.retain(|hit| !repairs || !hit.contains(" line"));
        outcome.insert(format!("fault {number}, {}", fault.fault), format!("hit {hit:?}"));
    }
    let lines = lines(history).filter(|_| !repairs);
    outcome.extend(lines.map(|(what, count)| (format!("lines {what}"), count.to_string())));
    outcome
}

fn lines(history: &History) -> impl Iterator<Item = (&'static str, u64)> {
    let mut counts = BTreeMap::<_, u64>::new();
    for entry in &history.entries {
        let Fact::Saw(event) = &entry.fact else { continue };
        let (what, count) = match event {
            Event::Sent { .. } => ("sent", 1),
            Event::Missed { .. } => ("missed", 1),
            Event::Heard { .. } => ("heard", 1),
            Event::Vanished { .. } => ("lost", 1),
            Event::LinkLost { lines_lost, .. } => ("lost", *lines_lost),
            _ => continue,
        };
        *counts.entry(what).or_default() += count;
    }
    counts.into_iter().filter(|(_, count)| *count > 0)
}
