//! From a verb to actions: planned whole before the first one is applied.

use std::time::Duration;

use super::{Action, Ends, PartitionMode, ServerVerb, Verb, WayVerb, Ways};
use crate::config::{ServerId, Topology, Way, Wiring};

/// What a verb comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is done at once, in this order.
    pub now: Vec<Action>,
    /// What follows without being asked again, in this order.
    pub later: Vec<Later>,
}

/// A part of a plan that waits for its moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Later {
    /// When it is done, counted from the part before it.
    pub moment: Moment,
    /// What is done then.
    pub actions: Vec<Action>,
}

/// When a part of a plan is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// This long after the part before it.
    After(Duration),
    /// Once every link of this server that can be up is up.
    Linked(ServerId),
}

/// Why a verb cannot be planned. Nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The herd has no such link.
    NotLinked(Way),
    /// A server is named twice.
    Twice(ServerId),
    /// A partition has a single group.
    OneGroup,
}

impl Refused {
    /// Returns the reason in words.
    pub fn told(self, topology: &Topology, wiring: &Wiring) -> String {
        match self {
            Self::NotLinked(way) => not_linked(topology, wiring, way),
            Self::Twice(server) => format!("{} is named twice", topology.name(server)),
            Self::OneGroup => "this partition has a single group".into(),
        }
    }
}

/// Says that two servers are not linked, and names the neighbours of the first.
pub fn not_linked(topology: &Topology, wiring: &Wiring, way: Way) -> String {
    let [from, to] = [way.from, way.to].map(|server| topology.name(server));
    let neighbours = wiring.neighbours(way.from).iter().take(10);
    let neighbours: Vec<_> = neighbours.map(|neighbour| &**topology.name(neighbour.server)).collect();
    format!("{from} and {to} are not linked; {from} is linked with {}", neighbours.join(", "))
}

impl Verb {
    /// Plans the verb for a herd.
    ///
    /// # Errors
    ///
    /// Returns an error if it names a link that the herd does not have, names a server twice, or separates nothing.
    pub fn plan(&self, topology: &Topology, wiring: &Wiring) -> Result<Plan, Refused> {
        let mut later = Vec::new();
        let now = match self {
            Self::Servers { verb, on } => distinct(on)?.iter().map(|&server| verb.on(server)).collect(),
            // Healed everywhere, a herd is whole: held lines are released, too.
            Self::Ways { verb: WayVerb::Heal, on: Ways::All } => {
                each(&Ways::All.of(wiring)?, &[WayVerb::Heal, WayVerb::Release])
            }
            Self::Ways { verb, on } => each(&on.of(wiring)?, &[*verb]),
            Self::Partition { groups, mode } => {
                let between = ways_between(groups, topology, wiring)?;
                if let PartitionMode::HoldThenCut(after) = mode {
                    let actions = each(&between, &[WayVerb::Cut, WayVerb::Release]);
                    later.push(Later { moment: Moment::After(*after), actions });
                }
                each(&between, &[mode.verb()])
            }
            Self::RollingRestart { on } => {
                let restarts: Vec<_> = distinct(on)?.iter().map(|&server| ServerVerb::Restart.on(server)).collect();
                let next = restarts.iter().skip(1).map(|action| vec![action.clone()]).chain([Vec::new()]);
                later = on
                    .iter()
                    .zip(next)
                    .map(|(&server, actions)| Later { moment: Moment::Linked(server), actions })
                    .collect();
                restarts.into_iter().take(1).collect()
            }
        };
        Ok(Plan { now, later })
    }

    /// Returns the actions that take the verb back, for faults that last. Empty for what happens once.
    pub fn mend(&self, topology: &Topology, wiring: &Wiring) -> Vec<Action> {
        match self {
            Self::Servers { verb, on } => {
                let mended_by = |server: ServerId| match verb {
                    ServerVerb::Kill | ServerVerb::Stop => Some(ServerVerb::Start),
                    ServerVerb::Pause => Some(ServerVerb::Resume),
                    ServerVerb::Clock(_) => Some(ServerVerb::Clock(topology.servers[server.index()].clock_offset)),
                    ServerVerb::Start | ServerVerb::Restart | ServerVerb::Resume => None,
                };
                on.iter().filter_map(|&server| Some(mended_by(server)?.on(server))).collect()
            }
            Self::Ways { verb, on } => {
                let mended_by: Vec<_> = verb.mended_by().into_iter().collect();
                on.of(wiring).map_or_else(|_| Vec::new(), |ways| each(&ways, &mended_by))
            }
            Self::Partition { groups, mode } => {
                let mended_by: &[WayVerb] = match mode {
                    PartitionMode::Cut => &[WayVerb::Heal],
                    PartitionMode::Hold => &[WayVerb::Release],
                    PartitionMode::HoldThenCut(_) => &[WayVerb::Heal, WayVerb::Release],
                };
                ways_between(groups, topology, wiring).map_or_else(|_| Vec::new(), |ways| each(&ways, mended_by))
            }
            Self::RollingRestart { .. } => Vec::new(),
        }
    }
}

impl PartitionMode {
    /// Returns what it does to the ways between groups at first.
    fn verb(self) -> WayVerb {
        match self {
            Self::Cut => WayVerb::Cut,
            Self::Hold | Self::HoldThenCut(_) => WayVerb::Hold,
        }
    }
}

impl Ways {
    /// Returns the single ways, each link's two ways next to each other.
    ///
    /// # Errors
    ///
    /// Returns an error if the herd does not have one of them.
    pub fn of(&self, wiring: &Wiring) -> Result<Vec<Way>, Refused> {
        let Self::These(ends) = self else { return Ok(wiring.ways().collect()) };
        let ways = ends.iter().flat_map(|ends| match *ends {
            Ends::Both(from, to) => [Some(Way { from, to }), Some(Way { from: to, to: from })],
            Ends::One(from, to) => [Some(Way { from, to }), None],
        });
        let linked = |way: Way| wiring.link(way).map(|_| way).ok_or(Refused::NotLinked(way));
        ways.flatten().map(linked).collect()
    }
}

/// Does every verb to each way before the next way.
fn each(ways: &[Way], verbs: &[WayVerb]) -> Vec<Action> {
    let mut actions = Vec::with_capacity(ways.len() * verbs.len());
    for &way in ways {
        actions.extend(verbs.iter().map(|verb| verb.on(way)));
    }
    actions
}

fn distinct(servers: &[ServerId]) -> Result<&[ServerId], Refused> {
    let twice = servers.iter().enumerate().find(|(place, server)| servers[..*place].contains(server));
    twice.map_or(Ok(servers), |(_, &server)| Err(Refused::Twice(server)))
}

/// Returns the ways whose ends are in different groups.
fn ways_between(groups: &[Vec<ServerId>], topology: &Topology, wiring: &Wiring) -> Result<Vec<Way>, Refused> {
    // Servers in no group are in this one.
    let rest = groups.len();
    let mut group_of = vec![rest; topology.servers.len()];
    for (group, servers) in groups.iter().enumerate() {
        for server in servers {
            if group_of[server.index()] != rest {
                return Err(Refused::Twice(*server));
            }
            group_of[server.index()] = group;
        }
    }
    if group_of.iter().all(|group| *group == group_of[0]) {
        return Err(Refused::OneGroup);
    }
    Ok(wiring.ways().filter(|way| group_of[way.from.index()] != group_of[way.to.index()]).collect())
}
