//! Random scripts of faults and updates as plain values, from which single steps can be taken away.
//!
//! Every step is drawn by its own number, so that a script without one step is the same script but for that step.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::act::{Action, ServerVerb, SessionId, WayFaults, WayVerb};
use crate::config::{Bandwidth, Delay, ServerId, Slowness, Topology, Way, Wiring};
use crate::draws::Draws;
use crate::driver::simulated::{EPOCH, SimulatedDriver};
use crate::driver::{DriverError, Wait};
use crate::history::Observation;

/// What is done to a herd, and when.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Script {
    /// In order of time; steps of one time in the order in which they are done.
    pub(super) steps: Vec<Step>,
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// Since the start of the herd.
    pub(super) at: Duration,
    /// What.
    pub(super) action: Action,
}

/// What a random script is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mix {
    /// Updates and faults, before everything is mended.
    pub(super) steps: u32,
    /// The time in which they happen.
    pub(super) span: Duration,
    /// Different clients that send updates. At least 1.
    pub(super) clients: u32,
    /// Out of a hundred steps, how many are updates; the others are faults.
    pub(super) updates_percent: u8,
    /// Out of a hundred servers that are down at the end of the span, how many are started again.
    pub(super) restarted_percent: u8,
}

impl Default for Mix {
    fn default() -> Self {
        Self { steps: 40, span: Duration::from_secs(2), clients: 4, updates_percent: 40, restarted_percent: 70 }
    }
}

/// Which draw of a step decides what.
#[derive(Debug, Clone, Copy)]
enum Stream {
    Time,
    IsUpdate,
    Kind,
    Server,
    Way,
    Amount,
}

impl Script {
    /// Updates and faults at random times of the span; at its end every way is mended, every frozen server goes on, and
    /// some of those that are down are started. Nothing in it makes TCP do what TCP does not do.
    pub(super) fn random(topology: &Topology, mix: &Mix, seed: u64) -> Self {
        let (draws, ways) = (Draws::new(seed, 0), Wiring::of(topology).ways().collect::<Vec<_>>());
        let step = |number| random_step(draws, number, mix, topology.servers.len() as u64, &ways);
        let mut script = Self { steps: (0..u64::from(mix.steps)).map(step).collect() };
        script.steps.sort_by_key(|step| step.at);
        script.mend(topology, mix, &ways, draws);
        script
    }

    fn mend(&mut self, topology: &Topology, mix: &Mix, ways: &[Way], draws: Draws) {
        let end = self.end_state(topology);
        let at = mix.span;
        let resumed =
            topology.ids().filter(|server| end.is_paused[server.index()]).map(|server| ServerVerb::Resume.on(server));
        let is_started = |server: &ServerId| {
            let number = u64::from(mix.steps) + u64::from(server.0);
            !end.is_up[server.index()] && draws.below(100, number, 0) < u64::from(mix.restarted_percent)
        };
        let started = topology.ids().filter(is_started).map(|server| ServerVerb::Start.on(server));
        let mended = ways.iter().flat_map(|&way| [WayVerb::Heal.on(way), WayVerb::Release.on(way)]);
        self.steps.extend(resumed.chain(started).chain(mended).map(|action| Step { at, action }));
    }

    /// The script without its step number `index`.
    pub(super) fn without(&self, index: usize) -> Self {
        let mut shorter = self.clone();
        shorter.steps.remove(index);
        shorter
    }

    /// The servers that run at the end, if links that are whole in both ways join all of them; `None` when they are apart
    /// or none runs.
    pub(super) fn core(&self, topology: &Topology) -> Option<Vec<ServerId>> {
        let end = self.end_state(topology);
        let core: Vec<_> = topology.ids().filter(|&server| end.runs(server)).collect();
        let mut reached = vec![*core.first()?];
        let wiring = Wiring::of(topology);
        let mut next = 0;
        while let Some(&from) = reached.get(next) {
            next += 1;
            for to in wiring.neighbours(from).iter().map(|neighbour| neighbour.server) {
                let way = Way { from, to };
                if end.runs(to) && end.is_whole(way) && end.is_whole(way.back()) && !reached.contains(&to) {
                    reached.push(to);
                }
            }
        }
        (reached.len() == core.len()).then_some(core)
    }

    /// Does every step at its time, and lets time pass until `then` has passed or nothing more happens. `observe` is given
    /// every observation.
    ///
    /// # Errors
    ///
    /// When a step names a way that the herd has not; the steps before it are done.
    pub(super) fn play(
        &self,
        driver: &mut SimulatedDriver,
        then: Duration,
        mut observe: impl FnMut(&SimulatedDriver, Observation),
    ) -> Result<(), DriverError> {
        let mut end = EPOCH;
        for step in &self.steps {
            end = EPOCH + step.at;
            drain(driver, Wait::Until(end), &mut observe);
            driver.act(step.action.clone())?;
        }
        drain(driver, Wait::Quiescent(end + then), &mut observe);
        Ok(())
    }

    fn end_state(&self, topology: &Topology) -> EndState {
        let servers = topology.servers.len();
        let mut end = EndState { is_up: vec![true; servers], is_paused: vec![false; servers], faults: BTreeMap::new() };
        self.steps.iter().for_each(|step| end.apply(&step.action));
        end
    }
}

/// Takes observations as long as there are any.
pub(super) fn drain(driver: &mut SimulatedDriver, wait: Wait, observe: &mut impl FnMut(&SimulatedDriver, Observation)) {
    while let Some(observation) = driver.observe_next(wait).seen() {
        observe(driver, observation);
    }
}

/// What a script leaves of servers and ways.
#[derive(Debug)]
struct EndState {
    is_up: Vec<bool>,
    is_paused: Vec<bool>,
    faults: BTreeMap<Way, WayFaults>,
}

impl EndState {
    fn runs(&self, server: ServerId) -> bool {
        self.is_up[server.index()] && !self.is_paused[server.index()]
    }

    fn is_whole(&self, way: Way) -> bool {
        self.faults.get(&way).is_none_or(|faults| faults.is_passable())
    }

    fn apply(&mut self, action: &Action) {
        if let Action::Way(way, verb) = *action {
            self.faults.entry(way).or_default().apply(verb);
        }
        let Action::Server(server, verb) = *action else { return };
        let (is_up, is_paused) = (&mut self.is_up[server.index()], &mut self.is_paused[server.index()]);
        match verb {
            ServerVerb::Kill | ServerVerb::Stop => (*is_up, *is_paused) = (false, false),
            ServerVerb::Start if *is_up => {}
            ServerVerb::Start | ServerVerb::Restart => (*is_up, *is_paused) = (true, false),
            ServerVerb::Pause => *is_paused = *is_up,
            ServerVerb::Resume => *is_paused = false,
            ServerVerb::Clock(_) => {}
        }
    }
}

fn random_step(draws: Draws, number: u64, mix: &Mix, servers: u64, ways: &[Way]) -> Step {
    let below = |limit, stream: Stream| draws.below(limit, number, stream as u64);
    let span = u64::try_from(mix.span.as_nanos()).unwrap_or(u64::MAX).max(1);
    let at = Duration::from_nanos(below(span, Stream::Time));
    let server = ServerId(below(servers, Stream::Server) as u32);
    let amount = below(100, Stream::Amount);
    let is_update = ways.is_empty() || below(100, Stream::IsUpdate) < u64::from(mix.updates_percent);
    let action = if is_update {
        update(server, below(u64::from(mix.clients), Stream::Kind), at, number)
    } else {
        fault(below(16, Stream::Kind), server, ways[below(ways.len() as u64, Stream::Way) as usize], amount)
    };
    Step { at, action }
}

/// An update by one of the clients, by whose clock it is `at`; of two at one time, each has a place of its own.
fn update(server: ServerId, client: u64, at: Duration, number: u64) -> Action {
    let time = (EPOCH + at).to_string();
    let line = format!("IAMAT client-{client} +{}.0-118.0 {time}\n", number % 90);
    Action::Send { session: SessionId(number as u32), server, bytes: Bytes::from(line), finish: true }
}

fn fault(kind: u64, server: ServerId, way: Way, amount: u64) -> Action {
    let milliseconds = Duration::from_millis(amount);
    // About 15 ms for a line.
    let bandwidth = Bandwidth::from_bytes_a_second(4000).filter(|_| amount.is_multiple_of(3));
    let delay = Delay { latency: milliseconds / 4, jitter: milliseconds / 4, bandwidth, ..Delay::default() };
    match kind {
        0 => ServerVerb::Kill.on(server),
        1 => ServerVerb::Stop.on(server),
        2 => ServerVerb::Start.on(server),
        3 | 4 => ServerVerb::Restart.on(server),
        5 => ServerVerb::Pause.on(server),
        6 => ServerVerb::Resume.on(server),
        7 => WayVerb::Cut.on(way),
        8 | 9 => WayVerb::Heal.on(way),
        10 => WayVerb::Hold.on(way),
        11 => WayVerb::Release.on(way),
        12 => WayVerb::Slow(Slowness { delay, rate: None }).on(way),
        13 => WayVerb::Reset { after: amount % 4 }.on(way),
        14 => WayVerb::HalfOpen.on(way),
        _ => ServerVerb::Clock(milliseconds.as_nanos() as i64).on(server),
    }
}
