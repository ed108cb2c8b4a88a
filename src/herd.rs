//! What people do to a herd, and the actions on single servers and ways that this comes to.
//!
//! Both the command line and scenario files end in a [`Verb`]; their texts are read elsewhere.

use std::time::Duration;

use crate::config::{ServerId, Slowness, Topology, Way, Wiring};
use crate::driver::Action;

/// One thing done to a herd.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// See [`Action::Kill`].
    Kill(ServerId),
    /// See [`Action::Stop`].
    Stop(ServerId),
    /// See [`Action::Start`].
    Start(ServerId),
    /// See [`Action::Restart`].
    Restart(ServerId),
    /// See [`Action::Pause`].
    Pause(ServerId),
    /// See [`Action::Resume`].
    Resume(ServerId),
    /// See [`Action::SetClock`].
    SetClock(ServerId, i64),
    /// See [`Action::Cut`].
    Cut(Ways),
    /// See [`Action::Heal`]. [`Ways::All`] also releases what is held.
    Heal(Ways),
    /// See [`Action::Hold`].
    Hold(Ways),
    /// See [`Action::Release`].
    Release(Ways),
    /// See [`Action::Slow`].
    Slow(Ways, Slowness),
    /// See [`Action::Reset`].
    Reset(Ways, u64),
    /// See [`Action::HalfOpen`].
    HalfOpen(Ways),
    /// See [`Action::Drop`].
    Drop(Way, u64),
    /// See [`Action::Duplicate`].
    Duplicate(Way, u64),
    /// Separates groups of servers from each other.
    Partition(Partition),
}

/// Which ways a verb is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ways {
    /// Both ways between two linked servers.
    Both(ServerId, ServerId),
    /// One way, written `a->b`.
    One(Way),
    /// Every way of the herd.
    All,
}

/// Groups of servers without a way from one to another. Servers in no group are one more group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// No server in two of them.
    pub groups: Vec<Vec<ServerId>>,
    /// What happens to the ways between groups.
    pub mode: PartitionMode,
}

/// What a partition does to the ways between its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartitionMode {
    /// Cuts them: lines in flight are lost.
    #[default]
    Cut,
    /// Holds them: nothing is lost.
    Hold,
    /// Holds them, and cuts them when this much time has passed, as a connection's time-out would.
    HoldThenCut(Duration),
}

impl Verb {
    /// What is to be done now, in order.
    pub fn actions(&self, topology: &Topology, wiring: &Wiring) -> Vec<Action> {
        let each = |ways: Ways, action: &dyn Fn(Way) -> Action| ways.of(wiring).into_iter().map(action).collect();
        match *self {
            Self::Kill(server) => vec![Action::Kill(server)],
            Self::Stop(server) => vec![Action::Stop(server)],
            Self::Start(server) => vec![Action::Start(server)],
            Self::Restart(server) => vec![Action::Restart(server)],
            Self::Pause(server) => vec![Action::Pause(server)],
            Self::Resume(server) => vec![Action::Resume(server)],
            Self::SetClock(server, offset) => vec![Action::SetClock(server, offset)],
            Self::Cut(ways) => each(ways, &Action::Cut),
            Self::Heal(Ways::All) => wiring.ways().flat_map(|way| [Action::Heal(way), Action::Release(way)]).collect(),
            Self::Heal(ways) => each(ways, &Action::Heal),
            Self::Hold(ways) => each(ways, &Action::Hold),
            Self::Release(ways) => each(ways, &Action::Release),
            Self::Slow(ways, slowness) => each(ways, &|way| Action::Slow(way, slowness)),
            Self::Reset(ways, after) => each(ways, &|way| Action::Reset(way, after)),
            Self::HalfOpen(ways) => each(ways, &Action::HalfOpen),
            Self::Drop(way, nth) => vec![Action::Drop(way, nth)],
            Self::Duplicate(way, nth) => vec![Action::Duplicate(way, nth)],
            Self::Partition(ref partition) => partition.actions(topology, wiring),
        }
    }

    /// What is to be done later without being asked again, and after how long.
    pub fn later(&self, topology: &Topology, wiring: &Wiring) -> Option<(Duration, Vec<Action>)> {
        let Self::Partition(Partition { groups, mode: PartitionMode::HoldThenCut(after) }) = self else { return None };
        let between = ways_between(groups, topology, wiring);
        Some((*after, between.into_iter().flat_map(|way| [Action::Cut(way), Action::Release(way)]).collect()))
    }
}

impl Verb {
    /// What undoes it, for faults that last; nothing for what happens once.
    pub fn mending(&self, topology: &Topology, wiring: &Wiring) -> Vec<Action> {
        let each = |ways: Ways, action: fn(Way) -> Action| ways.of(wiring).into_iter().map(action).collect();
        match *self {
            Self::Kill(server) | Self::Stop(server) => vec![Action::Start(server)],
            Self::Pause(server) => vec![Action::Resume(server)],
            Self::SetClock(server, _) => vec![Action::SetClock(server, topology.servers[server.index()].clock_offset)],
            Self::Cut(ways) | Self::Slow(ways, _) | Self::HalfOpen(ways) => each(ways, Action::Heal),
            Self::Hold(ways) => each(ways, Action::Release),
            Self::Partition(ref partition) => partition.mending(topology, wiring),
            Self::Start(_) | Self::Restart(_) | Self::Resume(_) | Self::Heal(_) | Self::Release(_) => Vec::new(),
            Self::Reset(..) | Self::Drop(..) | Self::Duplicate(..) => Vec::new(),
        }
    }
}

impl Ways {
    /// The single ways.
    pub fn of(self, wiring: &Wiring) -> Vec<Way> {
        match self {
            Self::Both(a, b) => vec![Way { from: a, to: b }, Way { from: b, to: a }],
            Self::One(way) => vec![way],
            Self::All => wiring.ways().collect(),
        }
    }
}

impl Partition {
    fn actions(&self, topology: &Topology, wiring: &Wiring) -> Vec<Action> {
        let action = match self.mode {
            PartitionMode::Cut => Action::Cut,
            PartitionMode::Hold | PartitionMode::HoldThenCut(_) => Action::Hold,
        };
        ways_between(&self.groups, topology, wiring).into_iter().map(action).collect()
    }
}

impl Partition {
    fn mending(&self, topology: &Topology, wiring: &Wiring) -> Vec<Action> {
        let between = ways_between(&self.groups, topology, wiring).into_iter();
        match self.mode {
            PartitionMode::Cut => between.map(Action::Heal).collect(),
            PartitionMode::Hold => between.map(Action::Release).collect(),
            PartitionMode::HoldThenCut(_) => {
                between.flat_map(|way| [Action::Heal(way), Action::Release(way)]).collect()
            }
        }
    }
}

/// The ways whose ends are in different groups.
fn ways_between(groups: &[Vec<ServerId>], topology: &Topology, wiring: &Wiring) -> Vec<Way> {
    let mut group_of = vec![groups.len(); topology.servers.len()];
    for (group, servers) in groups.iter().enumerate() {
        for server in servers {
            group_of[server.index()] = group;
        }
    }
    wiring.ways().filter(|way| group_of[way.from.index()] != group_of[way.to.index()]).collect()
}
