//! A herd on virtual time: deterministic, as fast as the machine computes, with the same nodes and the same lines as on real
//! sockets.
//!
//! Not here: what a node does about its inputs ([`crate::node`]), and what a way does to its lines ([`super::path`]).
//!
//! Lines are parsed once, where they enter the herd, and travel with their bytes; that is sound because servers pass them on
//! verbatim. A server takes no time to handle a line: what takes time is the way, the dial, and looking for places. The same
//! topology, seed and actions give the same observations, on every machine.

mod action;
mod client;
mod control;
mod host;
mod network;
mod patience;
mod pipe;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::path::Path;
use super::{Driver, DriverError, Known, Next, Rest, Sender, Unseen, WINDOW_LINES, Wait};
use crate::act::{Action, Hit, SessionId, WayFaults};
use crate::config::{Limits, LinkId, Provider, ServerId, Topology, Way, Wiring};
use crate::history::{Event, Observation, Sight};
use crate::node::{Input, Node, NodeConfig, Output, Rules};
use crate::places::Service;
use crate::time::Timestamp;
use crate::wire::{Answer, Report, Search};
use client::Clients;
use control::Controls;
use host::Host;
use patience::Patience;
use pipe::Pipe;
pub use queue::QueueKind;
use queue::{Due, Queue, Timer};

/// From this many servers on a herd is larger than the caches, and looking ahead pays.
const LARGE: usize = 5_000;

/// How many lines are looked at ahead: about as many fetches as a core has under way at once.
const AHEAD: usize = 12;

pub use crate::time::VIRTUAL_START as EPOCH;

/// How a herd is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What the caller wants to see.
    pub interest: Interest,
    /// Lines on one way at most, in flight, held, or unread by a frozen server. What is owed beyond that stays in the
    /// sender's outbox, where a newer version replaces an older one. At least 1.
    pub window: usize,
    /// How long a server looks for places before it answers a `WHATSAT`.
    pub places_latency: Duration,
    /// How coming events are kept in order. Changes nothing but speed.
    pub queue: QueueKind,
}

impl Default for Settings {
    /// Observes everything, with a window of [`WINDOW_LINES`] and 1 ms for places.
    fn default() -> Self {
        Self {
            interest: Interest::Everything,
            window: WINDOW_LINES,
            places_latency: Duration::from_millis(1),
            queue: QueueKind::Auto,
        }
    }
}

/// How much of a run the caller wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interest {
    /// Only [`SimulatedDriver::counts`]; there are no observations.
    Counts,
    /// Every observation.
    #[default]
    Everything,
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Entries taken from the queue of coming events.
    pub events: u64,
    /// `AT` lines that servers wrote to neighbours.
    pub sent: u64,
    /// Control lines that servers wrote to neighbours.
    pub control: u64,
    /// `AT` lines that servers read.
    pub heard: u64,
    /// Of these, how many told the reader something newer.
    pub newer: u64,
    /// Lines not written because a way was down.
    pub missed: u64,
    /// Lines written and never read.
    pub lost: u64,
    /// Dials begun.
    pub dials: u64,
}

/// Who answers `WHATSAT`s. Clones share what they are made of.
#[derive(Clone)]
pub struct PlacesAnswer(Arc<dyn Fn(&Search) -> Answer + Send + Sync>);

impl PlacesAnswer {
    /// Answers with what `answer` says, which must depend on the search alone if runs are to be the same.
    pub fn new(answer: impl Fn(&Search) -> Answer + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// Answers from the places built into the program, which are unpacked when the first search comes.
    pub fn offline() -> Self {
        let places = OnceLock::new();
        Self::new(move |search| {
            let places: &Service = places.get_or_init(Service::offline);
            places.immediate(search).expect("the offline places answer at once")
        })
    }
}

impl fmt::Debug for PlacesAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlacesAnswer")
    }
}

/// A herd on virtual time. Time passes in [`Self::observe_next`] only. A clone goes on from the same moment, on its own.
#[derive(Debug, Clone)]
pub struct SimulatedDriver {
    topology: Arc<Topology>,
    settings: Settings,
    places: PlacesAnswer,
    now: Timestamp,
    hosts: Vec<Host>,
    pipes: Vec<Pipe>,
    clients: Clients,
    /// `None` where no reply waits.
    patience: Option<Box<Patience>>,
    queue: Queue,
    controls: Controls,
    /// [`Rules::heeds_known`].
    heeds_known: bool,
    /// Observations not yet taken: at most what one action or one event made.
    seen: VecDeque<Observation>,
    counts: Counts,
    /// Queued events that will change something.
    busy: u64,
    /// Sessions of servers that are not frozen whose replies wait.
    held: u64,
    /// Pipes that will dial.
    expected: u64,
    /// Servers that wait for a timer of their node.
    waiting: u64,
    /// A server that was frozen reads what came meanwhile: its links write after that.
    thaws: bool,
    /// Empty, but for the memory it keeps.
    outputs: Vec<Output>,
    /// How many of the next lines have been looked at.
    ahead: usize,
}

/// Returns what a herd's file asks for that virtual time does without, each in a sentence.
pub fn left_out(topology: &Topology) -> Vec<String> {
    let (limits, usual) = (topology.limits, Limits::default());
    let keys = [
        ("connections", limits.connections != usual.connections),
        ("queued-bytes", limits.queued_bytes != usual.queued_bytes),
        ("idle", limits.idle != usual.idle),
    ];
    let limits = keys.into_iter().filter(|(_, is_set)| *is_set);
    let limits = limits.map(|(key, _)| format!("virtual time does without the limit `{key}`"));
    let provider = topology.places.provider;
    let places = (provider != Provider::Offline).then(|| {
        format!(
            "on virtual time the places built into the program answer, and the provider {} is not asked",
            provider.name()
        )
    });
    limits.chain(places).collect()
}

impl SimulatedDriver {
    /// Starts all servers of a herd at [`EPOCH`], with the seed of its topology.
    pub fn new(topology: Arc<Topology>, settings: Settings, places: PlacesAnswer) -> Self {
        let queue = Queue::new(settings.queue, topology.servers.len());
        let mut driver = Self {
            settings,
            places,
            now: EPOCH,
            hosts: Vec::new(),
            pipes: Vec::new(),
            clients: Clients::default(),
            patience: None,
            queue,
            controls: Controls::default(),
            heeds_known: false,
            seen: VecDeque::new(),
            counts: Counts::default(),
            busy: 0,
            held: 0,
            expected: 0,
            waiting: 0,
            thaws: false,
            outputs: Vec::new(),
            ahead: 0,
            topology,
        };
        let seed = driver.topology.seed;
        driver.build();
        driver.begin(seed);
        driver
    }

    /// Starts all over at [`EPOCH`], with another topology or the same, and `seed` instead of the topology's. Nothing of the
    /// run before is left but its memory, which saves allocating it again when the topology is the same.
    pub fn reset(&mut self, topology: &Arc<Topology>, seed: u64) {
        if !Arc::ptr_eq(&self.topology, topology) {
            self.topology = Arc::clone(topology);
            self.queue = Queue::new(self.settings.queue, topology.servers.len());
            self.build();
        }
        self.begin(seed);
    }

    /// Returns `true` if a client can write over this session; see [`Driver::is_open`].
    pub fn is_session_open(&self, session: SessionId) -> bool {
        self.clients.is_open(session)
    }

    /// The herd.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// What has happened since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The next observation; see [`Driver::next`].
    pub fn observe_next(&mut self, wait: Wait) -> Next {
        loop {
            if let Some(observation) = self.seen.pop_front() {
                return Next::Seen(observation);
            }
            let limit = match wait {
                Wait::Quiescent(_) if self.is_quiescent() => return Next::Rested(Rest::Certain),
                Wait::Quiescent(limit) | Wait::Until(limit) => limit,
            };
            let Some((at, due)) = self.queue.pop_until(limit) else {
                self.now = self.now.max(limit);
                return Next::TimeUp;
            };
            self.now = at;
            self.happen(due);
            if self.hosts.len() >= LARGE {
                self.look_ahead();
            }
        }
    }

    /// Returns everything a server knows, in the order in which it first heard of the clients; nothing when it is down.
    pub fn records(&self, server: ServerId) -> Vec<Known> {
        let known = self.host(server).node.records().map(|record| Known {
            report: record.report.clone(),
            learned_at: record.learned_at,
            from: Sender::of(record.source, |link| self.neighbour(server, link)),
        });
        known.collect()
    }

    /// Returns `true` if the herd is at rest ([`Rest::Certain`]).
    pub fn is_quiescent(&self) -> bool {
        self.busy == 0 && self.expected == 0 && self.waiting == 0 && self.held == 0
    }

    /// Servers and pipes of the topology, none of them started.
    fn build(&mut self) {
        let (wiring, rules) = (Wiring::of(&self.topology), Arc::new(Rules::of(&self.topology)));
        let ways = self.topology.ids().map(|server| wiring.neighbours(server).len()).sum();
        self.heeds_known = rules.heeds_known();
        (self.hosts, self.pipes) = (Vec::with_capacity(self.topology.servers.len()), Vec::with_capacity(ways));
        let mut first = 0;
        for server in self.topology.ids() {
            let node = NodeConfig::of(&self.topology, &wiring, &rules, server);
            let links = wiring.neighbours(server).len() as u32;
            self.hosts.push(Host::new(Node::new(node), first, links));
            first += links;
        }
        for server in self.topology.ids() {
            for neighbour in wiring.neighbours(server) {
                let back = self.host(neighbour.server).first_pipe + neighbour.back.0;
                let path = Path::new(wiring.delay(neighbour), 0, Way { from: server, to: neighbour.server });
                self.pipes.push(Pipe::new(server.0, neighbour.server.0, back, neighbour.mode, path));
            }
        }
    }

    /// Time starts.
    fn begin(&mut self, seed: u64) {
        self.now = EPOCH;
        self.clients.clear();
        self.patience = Patience::of(self.topology.reply, self.pipes.len());
        self.queue.clear();
        self.controls.clear();
        self.seen.clear();
        self.counts = Counts::default();
        (self.busy, self.expected, self.waiting, self.held) = (0, 0, 0, 0);
        self.pipes.iter_mut().for_each(|pipe| pipe.reset(seed));
        for server in self.topology.ids() {
            let offset = self.topology.servers[server.index()].clock_offset;
            let host = self.host_mut(server);
            host.reset();
            (host.life, host.waits) = (0, false);
            self.tell(server, Input::ClockSet(offset));
        }
        for server in self.topology.ids() {
            self.start(server);
        }
    }

    #[inline]
    fn happen(&mut self, due: Due) {
        self.counts.events += 1;
        match due {
            Due::Line { report, pipe, connection } => self.on_line(report, pipe, connection),
            Due::Timer(Timer::Dial(pipe)) => self.on_dial(pipe),
            Due::Timer(Timer::Notice(pipe)) => self.on_notice(pipe),
            Due::Timer(Timer::End { pipe, losses }) => self.on_end(pipe, losses),
            Due::Timer(Timer::Message(pipe)) => self.on_message(pipe),
            Due::Timer(Timer::Wake(server)) => self.on_wake(ServerId(server)),
            Due::Timer(Timer::Answered(slot)) => self.on_answered(slot),
            Due::Timer(Timer::Control(slot)) => self.on_control(slot),
            Due::Timer(Timer::Taken(pipe)) => self.on_taken(pipe),
            Due::Timer(Timer::Settled(server)) => self.on_settled(ServerId(server)),
            Due::Timer(Timer::Pull(pipe)) => self.on_pull(pipe),
        }
    }

    /// Reads what the next lines will look at, and does nothing with it. Their own turns would read it too, but one after the
    /// other; here the fetches from memory, which are most of the work in a large herd, do not wait for each other.
    fn look_ahead(&mut self) {
        self.ahead = self.ahead.saturating_sub(1);
        if self.ahead > 0 {
            return;
        }
        let mut readers = [0; AHEAD];
        let mut count = 0;
        for (reader, (_, pipe)) in readers.iter_mut().zip(self.queue.near_lines()) {
            *reader = self.pipes[pipe as usize].to;
            count += 1;
        }
        self.ahead = count;
        let hosts = readers.map(|reader| &self.hosts[reader as usize]);
        let first_pipes = hosts.map(|host| host.first_pipe);
        let mut read = 0;
        for ((report, _), (host, first)) in self.queue.near_lines().zip(hosts.iter().zip(first_pipes)) {
            if !host.node.holds(report) {
                let pipes = &self.pipes[first as usize..][..host.links as usize];
                read += pipes.iter().map(|pipe| u64::from(pipe.lost_through) + pipe.path.lines()).sum::<u64>();
                read += (0..host.links).map(|link| host.node.owed(LinkId(link)) as u64).sum::<u64>();
            }
        }
        black_box(read);
    }

    /// Gives a node an input, and gives back what it wants done, for [`Self::give_back`].
    #[inline]
    fn handle(&mut self, server: ServerId, input: Input<'_>) -> Vec<Output> {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.hosts[server.index()].node.handle(self.now, input, &mut outputs);
        outputs
    }

    /// Keeps the memory of a list of outputs for the next one.
    fn give_back(&mut self, outputs: Vec<Output>) {
        debug_assert!(outputs.is_empty(), "all outputs are carried out");
        self.outputs = outputs;
    }

    fn is_observed(&self) -> bool {
        self.settings.interest == Interest::Everything
    }

    fn observe(&mut self, event: impl FnOnce() -> Event) {
        if self.is_observed() {
            self.seen.push_back(Observation { at: self.now, event: event() });
        }
    }

    fn host(&self, server: ServerId) -> &Host {
        &self.hosts[server.index()]
    }

    fn host_mut(&mut self, server: ServerId) -> &mut Host {
        &mut self.hosts[server.index()]
    }

    fn neighbour(&self, server: ServerId, link: LinkId) -> ServerId {
        ServerId(self.pipes[(self.host(server).first_pipe + link.0) as usize].to)
    }
}

impl Driver for SimulatedDriver {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn check(&self, action: &Action) -> Result<(), DriverError> {
        match *action {
            Action::Way(way, _) => self.pipe(way).map(|_| ()),
            Action::Server(..) | Action::Send { .. } | Action::Close(_) => Ok(()),
        }
    }

    async fn apply(&mut self, action: Action) -> Result<Hit, DriverError> {
        self.act(action)
    }

    async fn next(&mut self, wait: Wait) -> Next {
        self.observe_next(wait)
    }

    fn sight(&self, _: ServerId) -> Sight {
        Sight::Inside
    }

    async fn probe(&mut self, server: ServerId, clients: &[Arc<str>]) -> Result<Vec<Option<Arc<Report>>>, Unseen> {
        let host = self.host(server);
        if !host.up {
            return Err(Unseen::Down);
        }
        Ok(clients.iter().map(|client| host.node.find(client).map(|record| record.report.clone())).collect())
    }

    fn is_linked(&self, server: ServerId) -> bool {
        let mut pipes = self.host(server).pipes().map(|pipe| &self.pipes[pipe as usize]);
        pipes.all(|pipe| !pipe.expected && !self.pipes[pipe.back as usize].expected)
    }

    fn is_open(&self, session: SessionId) -> bool {
        self.is_session_open(session)
    }

    fn faults(&self, way: Way) -> WayFaults {
        self.pipe(way).map_or_else(|_| WayFaults::default(), |pipe| self.pipes[pipe as usize].path.faults())
    }

    fn is_paused(&self, server: ServerId) -> bool {
        self.host(server).paused
    }

    fn clock_offset(&self, server: ServerId) -> i64 {
        self.host(server).node.clock_offset()
    }

    fn port(&self, server: ServerId) -> Option<u16> {
        self.host(server).up.then_some(0)
    }
}
