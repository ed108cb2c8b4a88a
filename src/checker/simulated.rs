//! Tests of the checks on what the simulator really shows, so that they do not only fit histories written by hand.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::act::{Action, ServerVerb, SessionId, WayVerb};
use crate::config::{
    Delay, Limits, Link, LinkMode, Places, Redial, Server, ServerId, Strategy, Threads, Topology, Unlisted, Way,
};
use crate::driver::Wait;
use crate::driver::simulated::{PlacesAnswer, Settings, SimulatedDriver};
use crate::history::build::assert_causes_point_into;
use crate::history::{DriverKind, Origin, Step};
use crate::wire::Answer;

const LINKS: [(u32, u32); 6] = [(3, 4), (3, 1), (2, 0), (2, 1), (2, 4), (1, 0)];
const BAILEY: ServerId = ServerId(0);
const BONA: ServerId = ServerId(1);
const CAMPBELL: ServerId = ServerId(2);
const CLARK: ServerId = ServerId(3);
const JAQUEZ: ServerId = ServerId(4);

/// The herd of the assignment on virtual time with 2 ms on every link, recorded step by step.
struct Script {
    driver: SimulatedDriver,
    origin: Origin,
    history: History,
    step: Option<StepId>,
    sessions: u32,
}

fn topology(strategy: Strategy) -> Topology {
    let server =
        |name: &str| Server { name: name.into(), host: "127.0.0.1".into(), listen: None, port: 0, clock_offset: 0 };
    let delay = Delay { latency: Duration::from_millis(2), ..Delay::default() };
    let link = |(a, b)| Link { ends: [ServerId(a), ServerId(b)], mode: LinkMode::Persistent, delays: [delay; 2] };
    Topology {
        name: "test".into(),
        servers: ["Bailey", "Bona", "Campbell", "Clark", "Jaquez"].map(server).to_vec(),
        links: LINKS.map(link).to_vec(),
        unlisted: Unlisted::default(),
        strategy,
        reply: None,
        redial: Redial::default(),
        places: Places::default(),
        limits: Limits::default(),
        threads: Threads::default(),
        seed: 1,
    }
}

fn script(strategy: Strategy) -> Script {
    let topology = topology(strategy);
    let origin = Origin::new("a test", DriverKind::Simulated, &topology);
    let json = "{\"html_attributions\":[],\"results\":[],\"status\":\"ZERO_RESULTS\"}";
    let places = PlacesAnswer::new(move |_| Answer { json: Bytes::from_static(json.as_bytes()) });
    let driver = SimulatedDriver::new(Arc::new(topology), Settings::default(), places);
    let history = History::new(Arc::new(origin.clone()), 1, crate::driver::simulated::EPOCH);
    Script { driver, origin, history, step: None, sessions: 0 }.settle()
}

impl Script {
    fn step(mut self, text: &str) -> Self {
        self.step = Some(StepId(self.origin.steps.len() as u32));
        self.origin.steps.push(Step { text: text.into(), file: None, line: 1 });
        self
    }

    fn act(mut self, action: Action) -> Self {
        let hit = self.driver.act(action.clone()).unwrap();
        self.history.push(crate::driver::Driver::now(&self.driver), self.step, Fact::Did { action, hit });
        self
    }

    fn link(self, action: impl Fn(Way) -> Action, from: ServerId, to: ServerId) -> Self {
        self.act(action(Way { from, to })).act(action(Way { from: to, to: from }))
    }

    fn say(mut self, server: ServerId, line: &str) -> Self {
        self.sessions += 1;
        let bytes = Bytes::from(format!("{line}\n"));
        let session = SessionId(self.sessions);
        self.act(Action::Send { session, server, bytes, finish: false })
    }

    fn wait(mut self, wait: Wait) -> Self {
        while let Some(observation) = self.driver.observe_next(wait).seen() {
            self.history.saw(self.step, observation);
        }
        self
    }

    fn pass(self, milliseconds: u64) -> Self {
        let until = crate::driver::Driver::now(&self.driver) + Duration::from_millis(milliseconds);
        self.wait(Wait::Until(until))
    }

    fn settle(self) -> Self {
        let limit = crate::driver::Driver::now(&self.driver) + Duration::from_secs(60);
        let mut script = self.wait(Wait::Quiescent(limit));
        let quiescent = script.driver.is_quiescent();
        script.history.push(crate::driver::Driver::now(&script.driver), script.step, Fact::Quiescent(quiescent));
        script
    }

    fn judge(mut self, assertions: &[Assertion]) -> Judgement {
        for assertion in Assertion::ALWAYS.iter().chain(assertions) {
            self.origin.checks.push(Check::new(assertion.clone(), When::End, None, &self.origin.servers));
        }
        let history = History { origin: Arc::new(self.origin), ..self.history };
        let judgement = judge(&history);
        assert_causes_point_into(&history, &judgement);
        judgement
    }
}

fn plain(names: &[&str]) -> Vec<Assertion> {
    names.iter().map(|name| Assertion::plain(name).unwrap()).collect()
}

fn iamat(time: u32) -> String {
    format!("IAMAT kiwi.cs.ucla.edu +34.068930-118.445127 {time}")
}

fn verdicts(judgement: &Judgement) -> Vec<(&str, Verdict)> {
    judgement.findings.iter().map(|finding| (&*finding.name, finding.verdict)).collect()
}

/// A write at Bailey while Clark and Jaquez are separated from the others, then a heal.
fn partition(strategy: Strategy) -> Script {
    let script = script(strategy).say(CLARK, &iamat(1)).settle().pass(100);
    let cut = script
        .step("partition")
        .link(|way| WayVerb::Cut.on(way), CLARK, BONA)
        .link(|way| WayVerb::Cut.on(way), JAQUEZ, CAMPBELL)
        .pass(100);
    let written = cut.step("iamat").say(BAILEY, &iamat(2)).settle().pass(100);
    let healed = written.step("heal").link(|way| WayVerb::Heal.on(way), CLARK, BONA).link(
        |way| WayVerb::Heal.on(way),
        JAQUEZ,
        CAMPBELL,
    );
    healed.settle().say(CLARK, "WHATSAT kiwi.cs.ucla.edu 10 5").settle()
}

#[test]
fn flood_sync_converges_after_a_partition_and_flood_does_not() {
    let asked = plain(&["converged", "no_lost", "available", "quiescent", "agree_line"]);
    let judgement = partition(Strategy::FloodSync).judge(&asked);
    assert_eq!(judgement.verdict, Verdict::Passed, "{judgement:#?}");
    assert_eq!(judgement.faults.len(), 1);
    let judgement = partition(Strategy::Flood).judge(&asked);
    let failed: Vec<_> = verdicts(&judgement).into_iter().filter(|(_, verdict)| *verdict == Verdict::Failed).collect();
    assert_eq!(failed, [("converged", Verdict::Failed), ("agree_line", Verdict::Failed)], "{judgement:#?}");
    let converged = judgement.findings.iter().find(|finding| finding.name == "converged").unwrap();
    let because = &converged.explanation.as_ref().unwrap().because;
    insta::assert_snapshot!(because.iter().map(|cause| &*cause.text).collect::<Vec<_>>().join("\n"), @r##"
Clark and Jaquez lack kiwi.cs.ucla.edu's 2: links Clark-Bona and Campbell-Jaquez were cut from 110 ms to 314 ms, and nothing was replayed after the heal
"##);
}

#[test]
fn a_flood_without_faults_costs_what_the_theory_says_and_takes_what_the_links_take() {
    let judgement = script(Strategy::Flood).say(BAILEY, &iamat(1)).settle().judge(&plain(&["converged"]));
    let numbers = &judgement.numbers;
    let deeds = numbers.deeds.unwrap();
    assert_eq!((judgement.verdict, deeds.lines, numbers.lines_of_flood), (Verdict::Passed, 8, 8));
    let propagation = numbers.propagation.unwrap();
    assert_eq!((propagation.max, propagation.floor), (Duration::from_millis(4), Duration::from_millis(4)));
    assert_eq!(numbers.convergence, Some(Duration::from_millis(4)));
    // Two servers are stale for one hop, two for two hops.
    assert!((deeds.stale_area - (2.0 * 0.002 + 2.0 * 0.004)).abs() < 1e-9, "{}", deeds.stale_area);
}

#[test]
fn an_idle_link_that_is_cut_makes_the_run_unproven() {
    let script = script(Strategy::FloodSync).say(BAILEY, &iamat(1)).settle();
    let cut = script.step("cut Bona-Bailey").link(|way| WayVerb::Cut.on(way), BONA, BAILEY).pass(50);
    let judgement =
        cut.step("heal").link(|way| WayVerb::Heal.on(way), BONA, BAILEY).settle().judge(&plain(&["converged"]));
    assert_eq!((judgement.verdict, judgement.faults[0].hit.len()), (Verdict::Unproven, 0), "{judgement:#?}");
}

#[test]
fn every_fault_that_meets_traffic_hits_something() {
    let slow =
        crate::config::Slowness { delay: Delay { latency: Duration::from_millis(9), ..Delay::default() }, rate: None };
    let way = Way { from: BONA, to: CLARK };
    let faults = [
        WayVerb::Cut.on(way),
        WayVerb::Hold.on(way),
        WayVerb::Slow(slow).on(way),
        WayVerb::HalfOpen.on(way),
        WayVerb::Reset { after: 0 }.on(way),
        WayVerb::Reset { after: 1 }.on(way),
        ServerVerb::Kill.on(CLARK),
        ServerVerb::Stop.on(CLARK),
        ServerVerb::Restart.on(CLARK),
        ServerVerb::Pause.on(CLARK),
        ServerVerb::Clock(1_000_000_000).on(BONA),
        WayVerb::Drop { nth: 1 }.on(way),
        WayVerb::Duplicate { nth: 1 }.on(way),
    ];
    let hit = faults.map(|fault| {
        let script = script(Strategy::FloodSync).say(BONA, &iamat(1)).settle().step("the fault").act(fault.clone());
        let judgement = script.say(BONA, &iamat(2)).pass(500).judge(&[]);
        format!("{}: {}", fault.spec().map_or("", |spec| spec.word), judgement.faults[0].hit.join(", "))
    });
    insta::assert_snapshot!(hit.join("\n"), @r##"
cut: 1 update missed
hold: 1 line held
slow: 1 line slowed
half-open: 1 line swallowed
reset: 1 connection reset
reset: 1 connection reset
kill: 1 record lost, 1 line lost, 1 update missed
stop: 1 record lost, 1 line lost, 1 update missed
restart: 1 record lost, 1 line lost, 1 update missed
pause: 2 lines kept waiting
clock: 1 IAMAT taken under it
drop: 1 line dropped
duplicate: 1 line doubled
"##);
}

#[test]
fn a_write_that_dies_with_its_server_is_lost() {
    let script = script(Strategy::FloodSync)
        .step("pause")
        .act(ServerVerb::Kill.on(BONA))
        .act(ServerVerb::Kill.on(JAQUEZ))
        .settle();
    let judgement = script.say(CLARK, &iamat(1)).settle().step("kill Clark").act(ServerVerb::Kill.on(CLARK)).settle();
    let judgement = judgement.judge(&plain(&["no_lost"]));
    assert_eq!(verdicts(&judgement).last(), Some(&("no_lost", Verdict::Failed)));
    assert!(judgement.faults.iter().all(|fault| !fault.hit.is_empty()), "{:?}", judgement.faults);
}
