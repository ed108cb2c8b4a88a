//! The directed graph of a herd: its ways, and how every server numbers its neighbours.
//!
//! Connections and lines live in the drivers.

use serde::{Deserialize, Serialize};

use super::{Delay, LinkMode, ServerId, Topology};

/// One direction of a link: how lines go from one server to another. `S` tells servers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Way<S = ServerId> {
    /// The server that writes.
    pub from: S,
    /// The server that reads.
    pub to: S,
}

impl<S> Way<S> {
    /// Returns the opposite direction.
    pub fn back(self) -> Self {
        Self { from: self.to, to: self.from }
    }

    /// Returns the same way with its servers told apart another way.
    ///
    /// # Errors
    ///
    /// Returns the first error of `server`.
    pub fn map<T, E>(self, server: &mut impl FnMut(S) -> Result<T, E>) -> Result<Way<T>, E> {
        Ok(Way { from: server(self.from)?, to: server(self.to)? })
    }
}

/// A link as one of its servers numbers it: an index into [`Wiring::neighbours`] of that server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

impl LinkId {
    /// Returns the index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a fault adds to every line of a way. Of two bandwidths, this one and the link's own, the lesser counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slowness {
    /// Time added to each line. The order of lines is kept.
    pub delay: Delay,
    /// Most lines a second. `None` sets no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

impl Slowness {
    /// Adds nothing.
    pub const NONE: Self = Self { delay: Delay::NONE, rate: None };

    /// Returns `true` if it affects any line.
    pub fn slows(self) -> bool {
        let Self { delay, rate } = self;
        !delay.latency.is_zero() || !delay.jitter.is_zero() || delay.bandwidth.is_some() || rate.is_some()
    }
}

/// The neighbours of every server, in the numbering that a [`LinkId`] refers to.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// For every server its links, by [`LinkId`], in the order of [`Topology::effective_links`].
    neighbours: Vec<Vec<Neighbour>>,
    /// Delays of the links. Consecutive links with equal delays share theirs.
    delays: Vec<Delay>,
}

/// One link, seen from one of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The server at the other end.
    pub server: ServerId,
    /// The same link, as the other end numbers it.
    pub back: LinkId,
    /// How lines travel.
    pub mode: LinkMode,
    /// Index of the delay towards `server` in the wiring's delays.
    delay: u32,
}

impl Wiring {
    /// Returns the wiring of a topology. Links of a server are numbered in the order of [`Topology::effective_links`].
    pub fn of(topology: &Topology) -> Self {
        let mut neighbours = vec![Vec::new(); topology.servers.len()];
        let mut delays = Vec::new();
        for link in topology.effective_links() {
            let [a, b] = link.ends.map(|end| LinkId(neighbours[end.index()].len() as u32));
            for ((way, delay), back) in link.ways().into_iter().zip([b, a]) {
                let delay = index_of(&mut delays, delay);
                neighbours[way.from.index()].push(Neighbour { server: way.to, back, mode: link.mode, delay });
            }
        }
        Self { neighbours, delays }
    }

    /// Returns a server's links, by [`LinkId`].
    pub fn neighbours(&self, server: ServerId) -> &[Neighbour] {
        &self.neighbours[server.index()]
    }

    /// Returns the other end of a link.
    pub fn neighbour(&self, server: ServerId, link: LinkId) -> Neighbour {
        self.neighbours[server.index()][link.index()]
    }

    /// Returns the delay of every line on the way to a neighbour.
    pub fn delay(&self, neighbour: &Neighbour) -> Delay {
        self.delays[neighbour.delay as usize]
    }

    /// Returns the link of `way.from` that leads to `way.to`, or `None` if the two are not linked.
    pub fn link(&self, way: Way) -> Option<LinkId> {
        let place = self.neighbours(way.from).iter().position(|neighbour| neighbour.server == way.to)?;
        Some(LinkId(place as u32))
    }

    /// Returns the way of a server's link.
    pub fn way(&self, server: ServerId, link: LinkId) -> Way {
        Way { from: server, to: self.neighbour(server, link).server }
    }

    /// Returns both ways of every link, the two of one link next to each other.
    pub fn ways(&self) -> impl Iterator<Item = Way> {
        let servers = (0..self.neighbours.len() as u32).map(ServerId);
        let outgoing = servers.flat_map(|from| self.neighbours(from).iter().map(move |n| Way { from, to: n.server }));
        outgoing.filter(|way| way.from < way.to).flat_map(|way| [way, way.back()])
    }
}

/// Returns the index of a delay, and appends it unless one of the last two equals it.
///
/// Those two are enough for runs of links with the same two delays. Links far apart are not searched for equals.
fn index_of(delays: &mut Vec<Delay>, delay: Delay) -> u32 {
    let recent = delays.len().saturating_sub(2);
    let found = delays[recent..].iter().position(|known| *known == delay);
    let index = found.map_or(delays.len(), |place| recent + place);
    if found.is_none() {
        delays.push(delay);
    }
    index as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn consecutive_links_with_equal_delays_share_them() {
        let ends: Vec<_> = ('A'..='F').zip('B'..).collect();
        let table = |(a, b)| format!("{{ ends = ['{a}', '{b}'], latency = '10ms', back = {{ latency = '80ms' }} }}");
        let server = |name| format!("{{ name = '{name}', port = 0 }}");
        let links = ends.into_iter().map(table).collect::<Vec<_>>().join(", ");
        let servers = ('A'..='G').map(server).collect::<Vec<_>>().join(", ");
        let text = format!("links = [{links}]\nserver = [{servers}]");
        let topology = parse("f", &text).unwrap_or_else(|problems| panic!("{problems}")).topology;
        assert_eq!(Wiring::of(&topology).delays, topology.links[0].delays);
    }
}
