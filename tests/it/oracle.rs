//! The oracle: every scenario, played on virtual time for several seeds, sends the same lines at the same nanoseconds as ever.
//!
//! Hashes a projection of each history (time, kind, server or way, line) that outlives changes of form. A change of these
//! hashes is a change of what herds do on virtual time, and belongs in a commit that does nothing else and names the rule.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use herdsim::config::{ServerId, Way, Wiring};
use herdsim::driver::Driver as _;
use herdsim::driver::simulated::{PlacesAnswer, Settings, SimulatedDriver};
use herdsim::history::Event;
use herdsim::history::{DriverKind, Fact, History};
use herdsim::runner::Runner;
use herdsim::scenario::{Overrides, Script, Variables, load};

const SEEDS: std::ops::RangeInclusive<u64> = 1..=3;

fn scenarios() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("scenarios").unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

fn play(script: &Script) -> History {
    let mut driver = SimulatedDriver::new(script.topology.clone(), Settings::default(), PlacesAnswer::offline());
    let origin = Arc::new(script.origin(DriverKind::Simulated));
    let history = History::new(origin, script.topology.seed, driver.now());
    let mut runner = Runner::new(script, history, Arc::new(Wiring::of(&script.topology)), &mut driver);
    runner.run(&()).now_or_never().expect("virtual time waits for nobody").expect("the simulator does every action");
    runner.into_history()
}

/// One line for each event: nanoseconds since the run began, kind, server or way, line.
fn projection(history: &History) -> String {
    let name = |server: ServerId| history.origin.name(server);
    let both = |way: Way| format!("{}->{}", name(way.from), name(way.to));
    let mut text = String::new();
    for entry in &history.entries {
        let Fact::Saw(event) = &entry.fact else { continue };
        let told = match event {
            Event::Started { server, .. } => format!("started {}", name(*server)),
            Event::Stopped { server, records, .. } => format!("stopped {} {records}", name(*server)),
            Event::Killed { server, records, .. } => format!("killed {} {records}", name(*server)),
            Event::Crashed { server, .. } => format!("crashed {}", name(*server)),
            Event::Paused { server, .. } => format!("paused {}", name(*server)),
            Event::Resumed { server, .. } => format!("resumed {}", name(*server)),
            Event::ClockSet { server, offset, .. } => format!("clock-set {} {offset}", name(*server)),
            Event::LinkUp { way, .. } => format!("link-up {}", both(*way)),
            Event::LinkLost { way, lines_lost, .. } => format!("link-lost {} {lines_lost}", both(*way)),
            Event::Accepted { server, report, newer, .. } => {
                format!("accepted {} {newer} {}", name(*server), report.line())
            }
            Event::Acknowledged { server, report, overdue, .. } => {
                format!("acknowledged {} {overdue} {}", name(*server), report.line())
            }
            Event::Answered { server, report, .. } => format!("answered {} {}", name(*server), report.line()),
            Event::Refused { server, command, .. } => format!("refused {} {command:?}", name(*server)),
            Event::Sent { way, report, .. } => format!("sent {} {}", both(*way), report.line()),
            Event::Control { way, line, .. } => format!("control {} {}", both(*way), line.text()),
            Event::Heard { server, from, report, newer, .. } => {
                let from = from.map_or("-", |hop| name(hop.server));
                format!("heard {from}->{} {newer} {}", name(*server), report.line())
            }
            Event::Vanished { way, report, .. } => format!("vanished {} {}", both(*way), report.line()),
            Event::Missed { way, report, .. } => format!("missed {} {}", both(*way), report.line()),
            Event::Replied { reply, .. } => format!("replied {reply:?}"),
            Event::SessionLost { unanswered, .. } => format!("session-lost {unanswered}"),
        };
        writeln!(text, "{} {told}", entry.at.since(history.started).as_nanos()).unwrap();
    }
    text
}

/// 64 bits of FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn hashes(file: &Path) -> String {
    let mut told = String::new();
    for seed in SEEDS {
        let overrides = Overrides { seed: Some(seed), ..Overrides::default() };
        let cases = load(file, &Variables::new(), &overrides).unwrap_or_else(|error| panic!("{error}"));
        for script in cases.scripts {
            let events = projection(&play(&script));
            let lines = events.lines().count();
            writeln!(told, "{} seed {seed}: {lines} events, {:016x}", script.name(), hash(&events)).unwrap();
        }
    }
    told
}

#[test]
fn every_scenario_sends_the_same_lines_at_the_same_nanoseconds_as_ever() {
    let files = scenarios();
    assert!(files.len() >= 25, "the scenarios are found");
    insta::assert_snapshot!(files.iter().map(|file| hashes(file)).collect::<String>());
}
