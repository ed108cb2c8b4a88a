//! What was done to a herd and not taken back, and which ways are open: the memory behind `ps` and its like.
//!
//! Not here: what servers know, which the driver is asked.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{LinkMode, ServerId, Topology};
use crate::driver::{Action, Event, Slowness, Way, Wiring};

/// How a herd stands, as far as observations and actions tell.
#[derive(Debug)]
pub struct Standing {
    servers: Vec<ServerStanding>,
    open: BTreeSet<Way>,
    faults: BTreeMap<Way, Faults>,
}

/// One server.
#[derive(Debug, Clone, Default)]
pub struct ServerStanding {
    /// Whether it is frozen.
    pub paused: bool,
    /// What its error said, when it ended by one.
    pub crashed: Option<String>,
    /// How far its clock is ahead, in nanoseconds.
    pub clock_offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Faults {
    cut: bool,
    held: bool,
    slow: bool,
    half_open: bool,
}

impl Faults {
    fn names(self) -> Vec<String> {
        let all = [(self.cut, "cut"), (self.held, "held"), (self.slow, "slow"), (self.half_open, "half-open")];
        all.into_iter().filter(|&(there, _)| there).map(|(_, name)| name.to_owned()).collect()
    }
}

impl Standing {
    /// A herd to which nothing was done and where no way is open yet.
    pub fn new(topology: &Topology) -> Self {
        let server = |server: &crate::config::Server| ServerStanding {
            clock_offset: server.clock_offset,
            ..ServerStanding::default()
        };
        Self {
            servers: topology.servers.iter().map(server).collect(),
            open: BTreeSet::new(),
            faults: BTreeMap::new(),
        }
    }

    /// Takes note of something that happened.
    pub fn observe(&mut self, event: &Event) {
        match *event {
            Event::Started { server, .. } => self.servers[server.index()].crashed = None,
            Event::Stopped { server, .. } | Event::Killed { server, .. } => self.end(server),
            Event::Crashed { server, ref reason } => {
                self.end(server);
                self.servers[server.index()].crashed = Some(reason.clone());
            }
            Event::LinkUp(way) => drop(self.open.insert(way)),
            Event::LinkLost { way, .. } => drop(self.open.remove(&way)),
            _ => {}
        }
    }

    fn end(&mut self, server: ServerId) {
        self.servers[server.index()].paused = false;
        self.open.retain(|way| way.from != server);
    }

    /// Takes note of an action that was applied; whether it changed anything that is noted here.
    pub fn apply(&mut self, action: &Action) -> bool {
        match *action {
            Action::Pause(server) => !std::mem::replace(&mut self.servers[server.index()].paused, true),
            Action::Resume(server) => std::mem::take(&mut self.servers[server.index()].paused),
            Action::Kill(server) | Action::Stop(server) | Action::Start(server) | Action::Restart(server) => {
                std::mem::take(&mut self.servers[server.index()].paused)
            }
            Action::SetClock(server, offset) => {
                std::mem::replace(&mut self.servers[server.index()].clock_offset, offset) != offset
            }
            Action::Cut(way) => self.change(way, |faults| faults.cut = true),
            Action::Hold(way) => self.change(way, |faults| faults.held = true),
            Action::Release(way) => self.change(way, |faults| faults.held = false),
            Action::HalfOpen(way) => self.change(way, |faults| faults.half_open = true),
            Action::Slow(way, slowness) => self.change(way, |faults| faults.slow = slowness != Slowness::default()),
            Action::Heal(way) => self.change(way, |faults| *faults = Faults { held: faults.held, ..Faults::default() }),
            _ => true,
        }
    }

    fn change(&mut self, way: Way, change: impl FnOnce(&mut Faults)) -> bool {
        let before = self.faults.get(&way).copied().unwrap_or_default();
        let mut after = before;
        change(&mut after);
        if after == Faults::default() {
            self.faults.remove(&way);
        } else {
            self.faults.insert(way, after);
        }
        before != after
    }

    /// How one server stands.
    pub fn server(&self, server: ServerId) -> &ServerStanding {
        &self.servers[server.index()]
    }

    /// Ways that do not do what the file says, and what was done to them.
    pub fn faults(&self) -> impl Iterator<Item = (Way, Vec<String>)> {
        self.faults.iter().map(|(&way, faults)| (way, faults.names()))
    }

    /// To how many neighbours of `server` the way is open. A way whose lines dial for themselves is open unless it is cut.
    pub fn links_up(&self, wiring: &Wiring, server: ServerId) -> usize {
        let is_up = |&(to, mode): &(ServerId, LinkMode)| {
            let way = Way { from: server, to };
            match mode {
                LinkMode::Persistent => self.open.contains(&way),
                LinkMode::PerMessage => !self.faults.get(&way).is_some_and(|faults| faults.cut),
            }
        };
        wiring.neighbours(server).iter().map(|neighbour| (neighbour.server, neighbour.mode)).filter(is_up).count()
    }
}
