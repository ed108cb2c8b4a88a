//! From the names in a request to the servers and ways of a herd.

use std::time::Duration;

use super::api::{NamedMode, NamedWays, Refusal, RefusalCode, VerbRequest};
use crate::config::{ServerId, Slowness, Topology, Way, Wiring};
use crate::diagnostic::{did_you_mean, quoted};
use crate::herd::{Partition, PartitionMode, Verb, Ways};

/// The names of one herd.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    topology: &'a Topology,
    wiring: &'a Wiring,
}

impl<'a> Names<'a> {
    /// The names of a herd with this wiring.
    pub fn of(topology: &'a Topology, wiring: &'a Wiring) -> Self {
        Self { topology, wiring }
    }

    /// The server called `name`.
    pub fn server(self, name: &str) -> Result<ServerId, Refusal> {
        self.topology.server(name).ok_or_else(|| {
            let names = self.topology.servers.iter().map(|server| &*server.name);
            unknown_server(&self.topology.name, name, names)
        })
    }

    /// What a request asks for.
    pub fn verb(self, request: &VerbRequest) -> Result<Verb, Refusal> {
        Ok(match request {
            VerbRequest::Kill(server) => Verb::Kill(self.server(server)?),
            VerbRequest::Stop(server) => Verb::Stop(self.server(server)?),
            VerbRequest::Start(server) => Verb::Start(self.server(server)?),
            VerbRequest::Restart(server) => Verb::Restart(self.server(server)?),
            VerbRequest::Pause(server) => Verb::Pause(self.server(server)?),
            VerbRequest::Unpause(server) => Verb::Resume(self.server(server)?),
            VerbRequest::Clock { server, offset } => Verb::SetClock(self.server(server)?, *offset),
            VerbRequest::Cut(ways) => Verb::Cut(self.ways(ways)?),
            VerbRequest::Heal(ways) => Verb::Heal(self.ways(ways)?),
            VerbRequest::Hold(ways) => Verb::Hold(self.ways(ways)?),
            VerbRequest::Release(ways) => Verb::Release(self.ways(ways)?),
            VerbRequest::HalfOpen(ways) => Verb::HalfOpen(self.ways(ways)?),
            VerbRequest::Slow { ways, delay, rate } => {
                Verb::Slow(self.ways(ways)?, Slowness { delay: *delay, rate: *rate })
            }
            VerbRequest::Reset { ways, after } => Verb::Reset(self.ways(ways)?, *after),
            VerbRequest::Partition { groups, mode } => Verb::Partition(self.partition(groups, *mode)?),
        })
    }

    fn ways(self, named: &NamedWays) -> Result<Ways, Refusal> {
        let linked = |from: &str, to: &str| {
            let way = Way { from: self.server(from)?, to: self.server(to)? };
            self.wiring.link(way).map(|_| way).ok_or_else(|| self.not_linked(way))
        };
        Ok(match named {
            NamedWays::Both(a, b) => linked(a, b).map(|way| Ways::Both(way.from, way.to))?,
            NamedWays::One(from, to) => Ways::One(linked(from, to)?),
            NamedWays::All => Ways::All,
        })
    }

    fn not_linked(self, way: Way) -> Refusal {
        let name = |server| self.topology.name(server);
        let neighbours: Vec<_> = self.wiring.neighbours(way.from).iter().map(|n| &**name(n.server)).collect();
        let (from, to) = (name(way.from), name(way.to));
        refusal(
            RefusalCode::NotLinked,
            format!("{from} and {to} are not linked; {from} is linked with {}", neighbours.join(", ")),
        )
    }

    fn partition(self, groups: &[Vec<String>], mode: NamedMode) -> Result<Partition, Refusal> {
        let mut seen = Vec::new();
        let mut group = |names: &Vec<String>| {
            let servers = names.iter().map(|name| self.server(name)).collect::<Result<Vec<_>, _>>()?;
            for server in &servers {
                if seen.contains(server) {
                    let name = self.topology.name(*server);
                    return Err(refusal(RefusalCode::Invalid, format!("{name} is named twice in this partition")));
                }
                seen.push(*server);
            }
            Ok(servers)
        };
        let groups = groups.iter().map(&mut group).collect::<Result<Vec<_>, _>>()?;
        let mode = match mode {
            NamedMode::Cut => PartitionMode::Cut,
            NamedMode::Hold => PartitionMode::Hold,
            NamedMode::HoldThenCut(after) => PartitionMode::HoldThenCut(Duration::from_nanos(after)),
        };
        Ok(Partition { groups, mode })
    }
}

/// The herd called `herd` has no server `name`, only `names`.
pub fn unknown_server<'a>(herd: &str, name: &str, names: impl IntoIterator<Item = &'a str>) -> Refusal {
    let hint = did_you_mean(name, names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    refusal(RefusalCode::UnknownServer, format!("the herd `{herd}` has no server {}{hint}", quoted(name)))
}

/// A refusal of this kind.
pub fn refusal(code: RefusalCode, error: impl Into<String>) -> Refusal {
    Refusal { code, error: error.into() }
}
