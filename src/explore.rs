//! Random scripts of faults and updates as plain values, from which single steps can be taken away.
//!
//! Not here: what runs a script's herd ([`crate::driver`]), and whether what happened was right ([`crate::checker`]). Every
//! step is drawn by its own number, so that a script without one step is the same script but for that step.

use std::time::Duration;

use bytes::Bytes;

use crate::config::{Bandwidth, Delay, ServerId, Slowness, Topology, Way, Wiring};
use crate::draws::Draws;
use crate::driver::simulated::{EPOCH, SimulatedDriver};
use crate::driver::{Action, DriverError, Observation, SessionId, Wait};

/// What is done to a herd, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// In order of time; steps of one time in the order in which they are done.
    pub steps: Vec<Step>,
}

/// One thing that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Since the start of the herd.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// What a random script is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    /// Updates and faults, before everything is mended.
    pub steps: u32,
    /// The time in which they happen.
    pub span: Duration,
    /// Different clients that send updates. At least 1.
    pub clients: u32,
    /// Out of a hundred steps, how many are updates; the others are faults.
    pub updates_percent: u8,
    /// Out of a hundred servers that are down at the end of the span, how many are started again.
    pub restarted_percent: u8,
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
    pub fn random(topology: &Topology, mix: &Mix, seed: u64) -> Self {
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
        let resumed = topology.ids().filter(|server| end.is_paused[server.index()]).map(Action::Resume);
        let is_started = |server: &ServerId| {
            let number = u64::from(mix.steps) + u64::from(server.0);
            !end.is_up[server.index()] && draws.below(100, number, 0) < u64::from(mix.restarted_percent)
        };
        let started = topology.ids().filter(is_started).map(Action::Start);
        let mended = ways.iter().flat_map(|&way| [Action::Heal(way), Action::Release(way)]);
        self.steps.extend(resumed.chain(started).chain(mended).map(|action| Step { at, action }));
    }

    /// The script without its step number `index`.
    pub fn without(&self, index: usize) -> Self {
        let mut shorter = self.clone();
        shorter.steps.remove(index);
        shorter
    }

    /// The servers that run at the end, if links that are whole in both ways join all of them; `None` when they are apart
    /// or none runs.
    pub fn core(&self, topology: &Topology) -> Option<Vec<ServerId>> {
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
    pub fn play(
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
        let mut end = EndState { is_up: vec![true; servers], is_paused: vec![false; servers], broken: Vec::new() };
        self.steps.iter().for_each(|step| end.apply(&step.action));
        end
    }
}

/// Takes observations as long as there are any.
pub fn drain(driver: &mut SimulatedDriver, wait: Wait, observe: &mut impl FnMut(&SimulatedDriver, Observation)) {
    while let Some(observation) = driver.observe_next(wait) {
        observe(driver, observation);
    }
}

/// What a script leaves of servers and ways.
#[derive(Debug)]
struct EndState {
    is_up: Vec<bool>,
    is_paused: Vec<bool>,
    /// Ways that are cut, held or half-open, once for each of these.
    broken: Vec<(Way, Broken)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Cut,
    Held,
    HalfOpen,
}

impl EndState {
    fn runs(&self, server: ServerId) -> bool {
        self.is_up[server.index()] && !self.is_paused[server.index()]
    }

    fn is_whole(&self, way: Way) -> bool {
        self.broken.iter().all(|&(broken, _)| broken != way)
    }

    fn apply(&mut self, action: &Action) {
        match *action {
            Action::Kill(server) | Action::Stop(server) => self.set(server, false),
            Action::Start(server) if self.is_up[server.index()] => {}
            Action::Start(server) | Action::Restart(server) => self.set(server, true),
            Action::Pause(server) => self.is_paused[server.index()] = self.is_up[server.index()],
            Action::Resume(server) => self.is_paused[server.index()] = false,
            Action::Cut(way) => self.broken.push((way, Broken::Cut)),
            Action::Hold(way) => self.broken.push((way, Broken::Held)),
            Action::HalfOpen(way) => self.broken.push((way, Broken::HalfOpen)),
            Action::Heal(way) => self.broken.retain(|&broken| broken.0 != way || broken.1 == Broken::Held),
            Action::Release(way) => self.broken.retain(|&broken| broken != (way, Broken::Held)),
            Action::SetClock(..) | Action::Slow(..) | Action::Reset(..) | Action::Drop(..) | Action::Duplicate(..) => {}
            Action::Send { .. } | Action::Close(_) => {}
        }
    }

    fn set(&mut self, server: ServerId, is_up: bool) {
        self.is_up[server.index()] = is_up;
        self.is_paused[server.index()] = false;
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
        0 => Action::Kill(server),
        1 => Action::Stop(server),
        2 => Action::Start(server),
        3 | 4 => Action::Restart(server),
        5 => Action::Pause(server),
        6 => Action::Resume(server),
        7 => Action::Cut(way),
        8 | 9 => Action::Heal(way),
        10 => Action::Hold(way),
        11 => Action::Release(way),
        12 => Action::Slow(way, Slowness { delay, rate: None }),
        13 => Action::Reset(way, amount % 4),
        14 => Action::HalfOpen(way),
        _ => Action::SetClock(server, milliseconds.as_nanos() as i64),
    }
}
