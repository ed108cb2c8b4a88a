//! What is known of the servers and ways of a herd in several processes, from its status and from what happened since.
//!
//! Not here: which processes are there, which their events tell.

use std::collections::{BTreeMap, BTreeSet};

use crate::act::{Action, WayFaults};
use crate::config::{LinkMode, ServerId, Topology, Way, Wiring};
use crate::control::api::{HerdStatus, ServerState};
use crate::history::{Entry, Event, Fact, Sight};

/// What is known.
#[derive(Debug)]
pub(super) struct View {
    servers: Vec<Server>,
    faults: BTreeMap<Way, WayFaults>,
    open: BTreeSet<Way>,
}

#[derive(Debug)]
struct Server {
    is_up: bool,
    is_paused: bool,
    clock_offset: i64,
    /// Host by which a client on this machine reaches it.
    host: String,
    port: u16,
    /// Lives that have begun or ended since the herd is driven.
    life: u64,
    /// The number of its present life, as it tells.
    number: u32,
    sight: Sight,
}

impl View {
    pub(super) fn of(topology: &Topology, status: &HerdStatus) -> Self {
        let server = |server: &crate::control::api::ServerStatus| Server {
            is_up: matches!(server.state, ServerState::Up | ServerState::Paused),
            is_paused: server.state == ServerState::Paused,
            clock_offset: server.clock_offset,
            host: server.host_here().to_owned(),
            port: server.port,
            life: 0,
            number: 1,
            sight: Sight::Inside,
        };
        let named = |from: &str, to: &str| Some(Way { from: topology.server(from)?, to: topology.server(to)? });
        let faults = status.faults.iter().filter_map(|fault| Some((named(&fault.from, &fault.to)?, fault.standing)));
        let open = status.servers.iter().flat_map(|server| {
            server.open.iter().filter_map(|neighbour| named(&server.server, neighbour)).collect::<Vec<_>>()
        });
        Self { servers: status.servers.iter().map(server).collect(), faults: faults.collect(), open: open.collect() }
    }

    /// Learns from something that happened.
    pub(super) fn see(&mut self, entry: &Entry) {
        match &entry.fact {
            Fact::Did { action: Action::Way(way, verb), .. } => {
                self.faults.entry(*way).or_default().apply(*verb);
            }
            Fact::Saw(event) => self.on_event(event),
            _ => {}
        }
    }

    fn on_event(&mut self, event: &Event) {
        match *event {
            Event::Started { server, port, life } => {
                let known = &mut self.servers[server.index()];
                (known.is_up, known.is_paused, known.port, known.number) = (true, false, port, life);
                known.life += 1;
                self.open.retain(|way| way.from != server);
            }
            Event::Stopped { server, .. } | Event::Killed { server, .. } | Event::Crashed { server, .. } => {
                let known = &mut self.servers[server.index()];
                (known.is_up, known.is_paused) = (false, false);
                known.life += 1;
                self.open.retain(|way| way.from != server);
            }
            Event::Paused { server, .. } => self.servers[server.index()].is_paused = true,
            Event::Resumed { server, .. } => self.servers[server.index()].is_paused = false,
            Event::ClockSet { server, offset } => self.servers[server.index()].clock_offset = offset,
            Event::LinkUp { way, .. } => drop(self.open.insert(way)),
            Event::LinkLost { way, .. } => drop(self.open.remove(&way)),
            _ => {}
        }
    }

    /// Returns `true` if a way is open, or cannot be.
    pub(super) fn is_as_open_as_it_can_be(&self, way: Way, wiring: &Wiring) -> bool {
        let neighbour = wiring.neighbours(way.from).iter().find(|neighbour| neighbour.server == way.to);
        let is_persistent = neighbour.is_some_and(|neighbour| neighbour.mode == LinkMode::Persistent);
        let faults = self.faults(way);
        // A server that is seen from outside does not tell of its ways.
        let can_be = is_persistent
            && self.sight(way.from) == Sight::Inside
            && self.is_up(way.to)
            && self.is_up(way.from)
            && !self.is_paused(way.from)
            && !(faults.cut || faults.half_open);
        !can_be || self.open.contains(&way)
    }

    /// A server that no process of the herd runs is there all the same.
    pub(super) fn is_outside(&mut self, server: ServerId) {
        let known = &mut self.servers[server.index()];
        (known.is_up, known.sight) = (true, Sight::Outside);
    }

    pub(super) fn sight(&self, server: ServerId) -> Sight {
        self.servers[server.index()].sight
    }

    /// Returns the number of a server's present life, or of its last one.
    pub(super) fn life_number(&self, server: ServerId) -> u32 {
        self.servers[server.index()].number
    }

    pub(super) fn faults(&self, way: Way) -> WayFaults {
        self.faults.get(&way).copied().unwrap_or_default()
    }

    pub(super) fn is_up(&self, server: ServerId) -> bool {
        self.servers[server.index()].is_up
    }

    pub(super) fn is_paused(&self, server: ServerId) -> bool {
        self.servers[server.index()].is_paused
    }

    pub(super) fn clock_offset(&self, server: ServerId) -> i64 {
        self.servers[server.index()].clock_offset
    }

    /// Returns the port on which a server listens, or `None` if it is down.
    pub(super) fn port(&self, server: ServerId) -> Option<u16> {
        Some(&self.servers[server.index()]).filter(|known| known.is_up).map(|known| known.port)
    }

    /// Returns where a client on this machine reaches a server.
    pub(super) fn address(&self, server: ServerId) -> (String, u16) {
        let known = &self.servers[server.index()];
        (known.host.clone(), known.port)
    }

    /// Returns a number that changes whenever a life of the server begins or ends.
    pub(super) fn life(&self, server: ServerId) -> u64 {
        self.servers[server.index()].life
    }
}
