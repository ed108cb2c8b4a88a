//! The herd as it was at one moment of a run: who ran, which ways were whole, who held what.

use std::borrow::Cow;

use super::run::{ClientId, Run};
use crate::act::{Action, WayFaults};
use crate::claim::Scope;
use crate::config::{ServerId, Way};
use crate::history::{Event, Fact};

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Life {
    #[default]
    Running,
    Paused,
    Down,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// By server.
    pub(crate) life: Vec<Life>,
    /// By place in [`Run::ways`].
    faults: Vec<WayFaults>,
    held: Held,
}

/// What every server holds of every client, as ranks; 0: nothing.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// By server and then by client.
    ranks: Vec<u32>,
    clients: usize,
}

impl Held {
    pub(super) fn nothing(servers: usize, clients: usize) -> Self {
        Self { ranks: vec![0; servers * clients], clients }
    }

    /// Returns what every server holds before entry `until`.
    pub(super) fn at(run: &Run<'_>, until: usize) -> Self {
        let mut held = Self::nothing(run.history.origin.servers.len(), run.clients().len());
        for change in run.changes.iter().take_while(|change| change.entry < until) {
            held.set(change.server, change.client, change.after);
        }
        held
    }

    pub(super) fn rank(&self, server: ServerId, client: ClientId) -> u32 {
        self.ranks[server.index() * self.clients + client.index()]
    }

    /// Gives back the rank before.
    pub(super) fn set(&mut self, server: ServerId, client: ClientId, rank: u32) -> u32 {
        std::mem::replace(&mut self.ranks[server.index() * self.clients + client.index()], rank)
    }

    fn of(&self, server: ServerId) -> &[u32] {
        &self.ranks[server.index() * self.clients..][..self.clients]
    }

    /// The server forgets everything; the clients it knew, and the ranks before.
    pub(super) fn forget(&mut self, server: ServerId) -> impl Iterator<Item = (ClientId, u32)> {
        let ranks = &mut self.ranks[server.index() * self.clients..][..self.clients];
        let before = ranks.iter_mut().map(std::mem::take);
        (0..).map(ClientId).zip(before).filter(|&(_, before)| before > 0)
    }
}

impl State {
    /// The herd before entry `until`.
    pub(crate) fn at<'r>(run: &'r Run<'_>, until: usize) -> Cow<'r, Self> {
        if until >= run.len() { Cow::Borrowed(run.end_state()) } else { Cow::Owned(Self::worked_out(run, until)) }
    }

    /// What [`Self::at`] gives, which remembers the end.
    pub(super) fn worked_out(run: &Run<'_>, until: usize) -> Self {
        let mut state = Self {
            life: vec![Life::default(); run.history.origin.servers.len()],
            faults: vec![WayFaults::default(); run.ways.len()],
            held: Held::at(run, until),
        };
        for &turn in run.turns.iter().take_while(|&&turn| turn < until) {
            state.follow(run, &run.entry(turn).fact);
        }
        state
    }

    /// Whether [`Self::follow`] could do anything about a fact.
    pub(crate) fn is_turn(fact: &Fact) -> bool {
        match fact {
            Fact::Did { action, .. } => !matches!(action, Action::Send { .. } | Action::Close(_)),
            Fact::Saw(event) => !matches!(
                event,
                Event::Sent { .. }
                    | Event::Control { .. }
                    | Event::Heard { .. }
                    | Event::Missed { .. }
                    | Event::Replied { .. }
                    | Event::LinkUp { .. }
            ),
            _ => false,
        }
    }

    /// What a fact does to servers and ways; records change by themselves.
    pub(crate) fn follow(&mut self, run: &Run<'_>, fact: &Fact) {
        match fact {
            Fact::Saw(event) => self.saw(event),
            Fact::Did { action: Action::Way(way, verb), .. } => {
                if let Some(place) = run.way(*way) {
                    self.faults[place].apply(*verb);
                }
            }
            _ => {}
        }
    }

    fn saw(&mut self, event: &Event) {
        match *event {
            Event::Started { server, .. } | Event::Resumed { server, .. } => self.life[server.index()] = Life::Running,
            Event::Paused { server, .. } => self.life[server.index()] = Life::Paused,
            Event::Killed { server, .. } | Event::Stopped { server, .. } | Event::Crashed { server, .. } => {
                self.life[server.index()] = Life::Down;
            }
            _ => {}
        }
    }

    /// Returns the faults that stand on a way.
    pub(crate) fn faults(&self, run: &Run<'_>, way: Way) -> WayFaults {
        run.way(way).map_or_else(WayFaults::default, |place| self.faults[place])
    }

    pub(crate) fn set(&mut self, server: ServerId, client: ClientId, rank: u32) {
        self.held.set(server, client, rank);
    }

    /// The rank of what a server holds; 0: nothing.
    pub(crate) fn held(&self, server: ServerId, client: ClientId) -> u32 {
        self.held.rank(server, client)
    }

    /// How many clients a server knows.
    pub(crate) fn clients_of(&self, server: ServerId) -> usize {
        self.held.of(server).iter().filter(|&&rank| rank > 0).count()
    }

    pub(crate) fn runs(&self, server: ServerId) -> bool {
        self.life[server.index()] == Life::Running
    }

    pub(crate) fn is_down(&self, server: ServerId) -> bool {
        self.life[server.index()] == Life::Down
    }

    /// The newest that a server which is not down holds.
    pub(crate) fn newest(&self, client: ClientId) -> u32 {
        let up = (0..).map(ServerId).zip(&self.life).filter(|(_, life)| **life != Life::Down);
        up.map(|(server, _)| self.held(server, client)).max().unwrap_or(0)
    }

    /// The servers of a scope, in order.
    pub(crate) fn scope(&self, run: &Run<'_>, scope: &Scope) -> Vec<ServerId> {
        match scope {
            Scope::Core => self.core(run),
            Scope::Running => run.servers().filter(|&server| self.runs(server)).collect(),
            Scope::Servers(servers) => servers.clone(),
        }
    }

    /// The core: servers that run, joined by links both of whose ways are whole. When these fall apart into groups, the
    /// largest one, and of equal ones that with the first server of the file.
    pub(crate) fn core(&self, run: &Run<'_>) -> Vec<ServerId> {
        let mut groups = Groups::new(self.life.len());
        for (&way, faults) in run.ways.iter().zip(&self.faults).filter(|(way, _)| way.from < way.to) {
            let whole = faults.is_passable() && self.faults(run, way.back()).is_passable();
            if whole && self.runs(way.from) && self.runs(way.to) {
                groups.join(way.from.index(), way.to.index());
            }
        }
        let largest = run.servers().rev().filter(|&server| self.runs(server)).max_by_key(|s| groups.size(s.index()));
        let Some(largest) = largest.map(|server| groups.root(server.index())) else { return Vec::new() };
        run.servers().filter(|s| self.runs(*s) && groups.root(s.index()) == largest).collect()
    }
}

/// Disjoint groups of small numbers.
struct Groups {
    parents: Vec<usize>,
    sizes: Vec<usize>,
}

impl Groups {
    fn new(count: usize) -> Self {
        Self { parents: (0..count).collect(), sizes: vec![1; count] }
    }

    fn root(&mut self, mut member: usize) -> usize {
        while self.parents[member] != member {
            self.parents[member] = self.parents[self.parents[member]];
            member = self.parents[member];
        }
        member
    }

    fn size(&mut self, member: usize) -> usize {
        let root = self.root(member);
        self.sizes[root]
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            let (small, large) = if self.sizes[a] < self.sizes[b] { (a, b) } else { (b, a) };
            self.parents[small] = large;
            self.sizes[large] += self.sizes[small];
        }
    }
}
