//! How a topology takes losses, and what an update costs in it.
//!
//! Not here: whether a topology is valid (`config`), and running it.

use std::collections::VecDeque;
use std::fmt;

use petgraph::algo::articulation_points::articulation_points;
use petgraph::algo::bridges::bridges;
use petgraph::graph::{NodeIndex, UnGraph};
use petgraph::visit::EdgeRef as _;

use crate::config::{LinkMode, ServerId, Spread, Topology, Wiring};

/// Up to this many servers the pairs of servers are looked at: one search through the herd for each.
const PAIRS_UP_TO: usize = 64;

/// Up to this many servers the diameter is exact, which takes a search from each of them.
const EXACT_UP_TO: usize = 4096;

/// How many names a list shows.
const SHOWN: usize = 12;

/// What is known of a topology without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    names: Vec<String>,
    strategy: String,
    /// Two-way links over which updates travel under the herd's strategy.
    pub links: usize,
    /// Groups of servers without a link to the rest; one when the herd is connected.
    pub components: Vec<Vec<ServerId>>,
    /// The longest shortest path, in links; `None` unless the herd is connected.
    pub diameter: Option<Diameter>,
    /// Links whose loss splits the herd.
    pub bridges: Vec<[ServerId; 2]>,
    /// Links of the file whose two directions have different delays.
    pub asymmetric: Vec<[ServerId; 2]>,
    /// Servers whose death splits the rest of the herd.
    pub articulations: Vec<ServerId>,
    /// Pairs of servers whose death together splits the rest; `None` in herds of more than 64 servers.
    pub pairs: Option<Vec<[ServerId; 2]>>,
    /// `AT` lines sent for one update without faults: 2E-N+1 by flooding, N-1 directly
    /// or along a tree once there is one;
    /// `None` unless the herd is connected.
    pub lines_per_update: Option<usize>,
}

/// How far the two servers farthest from each other are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diameter {
    /// So many links.
    Exactly(usize),
    /// So many at least, in a herd too big to look from every server.
    AtLeast(usize),
}

impl Audit {
    /// Looks at a topology. Takes a search from every server up to 4096 servers, and a few searches above.
    pub fn of(topology: &Topology) -> Self {
        let graph = Graph::of(topology);
        let components = graph.components();
        let connected = components.len() == 1;
        let (bridges, articulations) = graph.cuts();
        // Links of one line a connection are flooded.
        let is_flooded = topology.links.iter().any(|link| link.mode == LinkMode::PerMessage);
        let spread = match topology.strategy.spread() {
            Spread::Tree if is_flooded => Spread::Flood,
            spread => spread,
        };
        let lines = spread.lines_per_update(graph.len() as u64, graph.links as u64) as usize;
        Self {
            names: topology.servers.iter().map(|server| server.name.to_string()).collect(),
            strategy: topology.strategy.to_string(),
            links: graph.links,
            diameter: connected.then(|| graph.diameter()),
            pairs: (graph.len() <= PAIRS_UP_TO && connected).then(|| graph.pairs()),
            asymmetric: topology.links.iter().filter(|link| link.is_asymmetric()).map(|link| link.ends).collect(),
            lines_per_update: connected.then_some(lines),
            components,
            bridges,
            articulations,
        }
    }

    /// Whether every server can reach every other.
    pub fn is_connected(&self) -> bool {
        self.components.len() == 1
    }

    fn name(&self, server: ServerId) -> &str {
        &self.names[server.index()]
    }

    fn names(&self, servers: &[ServerId]) -> String {
        listed(servers.iter().map(|&server| self.name(server).to_owned()))
    }

    fn named_pairs(&self, pairs: &[[ServerId; 2]], between: &str) -> String {
        listed(pairs.iter().map(|pair| pair.map(|server| self.name(server)).join(between)))
    }
}

fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(SHOWN);
    let shown = items.take(SHOWN).collect::<Vec<_>>().join(", ");
    match (shown.is_empty(), more) {
        (true, _) => "none".into(),
        (false, 0) => shown,
        (false, more) => format!("{shown} and {more} more"),
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<19}{value}");
        line("servers", &self.names.len())?;
        line("links", &self.links)?;
        if self.is_connected() {
            line("connected", &"yes")?;
        } else {
            let parts = self.components.iter().map(|part| format!("[{}]", self.names(part))).collect::<Vec<_>>();
            line("connected", &format!("no: {} parts: {}", parts.len(), listed(parts.into_iter())))?;
        }
        match self.diameter {
            Some(Diameter::Exactly(links)) => line("diameter", &links)?,
            Some(Diameter::AtLeast(links)) => line("diameter", &format!("at least {links}"))?,
            None => {}
        }
        line("bridges", &self.named_pairs(&self.bridges, "-"))?;
        line("splits if it dies", &self.names(&self.articulations))?;
        if let Some(pairs) = &self.pairs {
            let all = self.names.len() * (self.names.len() - 1) / 2;
            let named = self.named_pairs(pairs, "+");
            line("splits if both die", &format!("{} of {all} pairs: {named}", pairs.len()))?;
        }
        if !self.asymmetric.is_empty() {
            line("asymmetric links", &self.named_pairs(&self.asymmetric, "-"))?;
        }
        if let Some(lines) = self.lines_per_update {
            line("lines per update", &format!("{lines} ({}, without faults)", self.strategy))?;
        }
        Ok(())
    }
}

/// Who is linked with whom.
struct Graph {
    neighbours: Vec<Vec<usize>>,
    links: usize,
}

impl Graph {
    fn of(topology: &Topology) -> Self {
        let wiring = Wiring::of(topology);
        let of =
            |server| wiring.neighbours(server).iter().map(|neighbour| neighbour.server.index()).collect::<Vec<_>>();
        let neighbours: Vec<_> = topology.ids().map(of).collect();
        let links = neighbours.iter().map(Vec::len).sum::<usize>() / 2;
        Self { neighbours, links }
    }

    fn len(&self) -> usize {
        self.neighbours.len()
    }

    /// Distances from `start` without the servers of `dead`; `None` for servers out of reach.
    fn distances(&self, start: usize, dead: &[usize]) -> Vec<Option<usize>> {
        let mut distances = vec![None; self.len()];
        distances[start] = Some(0);
        let mut queue = VecDeque::from([(start, 0)]);
        while let Some((server, distance)) = queue.pop_front() {
            for &next in &self.neighbours[server] {
                if distances[next].is_none() && !dead.contains(&next) {
                    distances[next] = Some(distance + 1);
                    queue.push_back((next, distance + 1));
                }
            }
        }
        distances
    }

    fn components(&self) -> Vec<Vec<ServerId>> {
        let mut seen = vec![false; self.len()];
        let mut components = Vec::new();
        for start in 0..self.len() {
            if !seen[start] {
                let distances = self.distances(start, &[]);
                let part: Vec<_> = (0..self.len()).filter(|&server| distances[server].is_some()).collect();
                part.iter().for_each(|&server| seen[server] = true);
                components.push(part.into_iter().map(|server| ServerId(server as u32)).collect());
            }
        }
        components
    }

    fn eccentricity(&self, start: usize) -> (usize, usize) {
        let distances = self.distances(start, &[]);
        (0..self.len()).map(|server| (distances[server].unwrap_or(0), server)).max().unwrap_or((0, start))
    }

    /// In big herds a few double sweeps, each from the server farthest from the last one: a lower bound that is mostly exact.
    fn diameter(&self) -> Diameter {
        if self.len() <= EXACT_UP_TO {
            return Diameter::Exactly((0..self.len()).map(|start| self.eccentricity(start).0).max().unwrap_or(0));
        }
        let sweeps = std::iter::successors(Some(self.eccentricity(0)), |&(_, far)| Some(self.eccentricity(far)));
        Diameter::AtLeast(sweeps.take(4).map(|(distance, _)| distance).max().unwrap_or(0))
    }

    /// Links and servers whose loss splits their part of the herd.
    fn cuts(&self) -> (Vec<[ServerId; 2]>, Vec<ServerId>) {
        let links = (0..).zip(&self.neighbours).flat_map(|(from, ends)| ends.iter().map(move |&to| (from, to as u32)));
        let graph = UnGraph::<(), ()>::from_edges(links.filter(|(from, to)| from < to));
        let server = |node: NodeIndex| ServerId(node.index() as u32);
        let mut bridges: Vec<_> = bridges(&graph).map(|link| [link.source(), link.target()].map(server)).collect();
        bridges.sort_unstable();
        let mut articulations: Vec<_> = articulation_points(&graph).into_iter().map(server).collect();
        articulations.sort_unstable();
        (bridges, articulations)
    }

    fn pairs(&self) -> Vec<[ServerId; 2]> {
        let all = (0..self.len()).flat_map(|a| (a + 1..self.len()).map(move |b| [a, b]));
        all.filter(|pair| self.is_split_without(pair)).map(|pair| pair.map(|server| ServerId(server as u32))).collect()
    }

    fn is_split_without(&self, dead: &[usize]) -> bool {
        let mut alive = (0..self.len()).filter(|server| !dead.contains(server));
        let Some(first) = alive.next() else { return false };
        let distances = self.distances(first, dead);
        alive.any(|server| distances[server].is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Preset, parse, template};

    fn audit(text: &str) -> Audit {
        Audit::of(&parse("f", text).unwrap_or_else(|problems| panic!("{problems}")).topology)
    }

    #[test]
    fn the_herd_of_the_course_is_told_as_its_assignment_tells_it() {
        insta::assert_snapshot!(audit(&template(Preset::Y2023, None)), @"
        servers            5
        links              6
        connected          yes
        diameter           2
        bridges            none
        splits if it dies  none
        splits if both die 3 of 10 pairs: Bona+Campbell, Bona+Jaquez, Campbell+Clark
        lines per update   8 (flood-sync, without faults)
        ");
    }

    #[test]
    fn a_line_is_all_bridges_and_a_ring_has_none() {
        let line = audit("[generate]\nshape = 'line'\nn = 4");
        assert_eq!((line.bridges.len(), line.articulations.len()), (3, 2));
        assert_eq!((line.diameter, line.lines_per_update), (Some(Diameter::Exactly(3)), Some(3)));
        let ring = audit("[generate]\nshape = 'ring'\nn = 5");
        assert_eq!((ring.bridges.len(), ring.articulations.len(), ring.diameter), (0, 0, Some(Diameter::Exactly(2))));
    }

    #[test]
    fn a_herd_in_parts_says_so() {
        let parts = "links = [['A', 'B']]\n[[server]]\nname = 'A'\nport = 0\n[[server]]\nname = 'B'\nport = 0\n[[server]]\nname = 'C'\nport = 0\n";
        insta::assert_snapshot!(audit(parts), @"
        servers            3
        links              1
        connected          no: 2 parts: [A, B], [C]
        bridges            A-B
        splits if it dies  none
        ");
    }

    #[test]
    fn links_whose_directions_have_different_delays_are_listed() {
        let herd = "latency = '5ms'
links = [
    { ends = ['A', 'B'], there = { latency = '5ms' } },
    { ends = ['C', 'B'], back = { latency = '80ms' } },
    { ends = ['A', 'C'], there = { bandwidth = '1kB/s' } },
]
server = [{ name = 'A', port = 0 }, { name = 'B', port = 0 }, { name = 'C', port = 0 }]";
        let audit = audit(herd).to_string();
        assert!(audit.contains("\nasymmetric links   C-B, A-C\n"), "{audit}");
    }

    #[test]
    fn big_herds_are_looked_at_in_time_that_grows_with_their_size() {
        let audit = audit("[generate]\nshape = 'line'\nn = 100000");
        assert_eq!((audit.diameter, audit.bridges.len()), (Some(Diameter::AtLeast(99_999)), 99_999));
    }
}
