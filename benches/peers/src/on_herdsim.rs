//! The scenario on herdsim's own simulator: once the driver alone, once the whole program with its script, its history and its
//! checks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use herdsim::act::{Action, SessionId, WayVerb};
use herdsim::config::{ServerId, Topology, Way, Wiring};
use herdsim::driver::simulated::{PlacesAnswer, Settings, SimulatedDriver};
use herdsim::driver::{Driver as _, Wait};
use herdsim::history::DriverKind;
use herdsim::wire::Answer;
use herdsim::report::{CaseResult, Status};
use herdsim::scenario::{Overrides, Script, Variables, load};
use herdsim::suite::{self, Case, CaseDriver, Options};
use herdsim::time::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::scenario::{CLIENTS, Outcome, Round, check, is_split, server_of};

const SIMULATOR: &str = "herdsim";

/// The scenario as herdsim's own users write it.
pub fn script(lasting: Duration) -> Arc<Script> {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scenario.toml"));
    let variables: Variables = [("LASTING".to_owned(), format!("{lasting:?}"))].into();
    let cases = load(file, &variables, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
    Arc::new(cases.scripts.into_iter().next().expect("a file has a case"))
}

/// The driver, and nothing that judges. Every observation is made and taken.
pub struct Direct {
    topology: Arc<Topology>,
    across: Vec<Way>,
    driver: SimulatedDriver,
}

impl Direct {
    pub fn new(script: &Script) -> Self {
        let topology = script.topology.clone();
        let split = |way: &Way| is_split(way.from.index(), way.to.index());
        let across = Wiring::of(&topology).ways().filter(split).collect();
        let places = PlacesAnswer::new(|_| Answer { json: Bytes::from_static(b"{}") });
        let driver = SimulatedDriver::new(topology.clone(), Settings::default(), places);
        Self { topology, across, driver }
    }

    /// One scenario. The simulator is used again, as herdsim itself does.
    pub fn run(&mut self, seed: u64, lasting: Duration) -> Outcome {
        self.driver.reset(&self.topology, seed);
        self.settle();
        self.say_all(Round::Before);
        self.settle();
        self.act_across(|way| WayVerb::Cut.on(way));
        self.say_all(Round::During);
        self.settle();
        self.observe(|now| Wait::Until(now + lasting));
        self.act_across(|way| WayVerb::Heal.on(way));
        self.settle();
        for server in self.topology.ids() {
            let records = self.driver.records(server);
            check(SIMULATOR, server.index(), records.iter().map(|known| known.report.at().stated_time()));
        }
        let deeds = judgement.numbers.deeds.expect("all servers tell what they do");
    Outcome { deliveries: self.driver.counts().heard }
    }

    fn settle(&mut self) {
        self.observe(|now| Wait::Quiescent(now + Duration::from_secs(60)));
    }

    fn observe(&mut self, wait: impl FnOnce(Timestamp) -> Wait) {
        let wait = wait(self.driver.now());
        while let Some(observation) = self.driver.observe_next(wait).seen() {
            std::hint::black_box(observation);
        }
    }

    fn say_all(&mut self, round: Round) {
        for client in 0..CLIENTS {
            let server = ServerId(server_of(client) as u32);
            let bytes = Bytes::from(round.command(client));
            self.act(Action::Send { session: SessionId(server.0), server, bytes, finish: false });
        }
    }

    fn act_across(&mut self, action: fn(Way) -> Action) {
        for way in self.across.clone() {
            self.act(action(way));
        }
    }

    fn act(&mut self, action: Action) {
        self.driver.act(action).expect("the herd has what is acted on");
    }
}

/// As many scenarios with the whole program on one thread, each with a seed of its own.
pub fn run_whole(script: &Arc<Script>, seeds: std::ops::Range<u64>) -> Vec<Outcome> {
    let driver = CaseDriver::One(DriverKind::Simulated);
    let cases: Vec<_> = seeds.map(|seed| Case { script: script.clone(), seed, driver }).collect();
    let options =
        Options { jobs: 1, retries: 0, fail_fast: false, max_time: None, check_determinism: false, herd_of: None, histories: None };
    let results = suite::run(&cases, &options, &(), &CancellationToken::new());
    assert_eq!(results.len(), cases.len(), "every case is run");
    results.iter().map(outcome).collect()
}

/// The scenario's own checks say that everybody knows everything.
fn outcome(result: &CaseResult) -> Outcome {
    assert_eq!(result.status, Status::Passed, "{}, seed {}", result.name, result.seed);
    let judgement = result.judgement.as_ref().expect("what passed was judged");
    let deeds = judgement.numbers.deeds.expect("all servers tell what they do");
    Outcome { deliveries: deeds.lines - deeds.lines_lost }
}
