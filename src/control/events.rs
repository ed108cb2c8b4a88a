//! Observations with names instead of numbers, as `herdsim events --json` prints them: one JSON object a line.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::config::{ServerId, Topology, Way};
use crate::driver::{Event, Hop, Observation};
use crate::time::Timestamp;
use crate::wire::Report;

/// Observations a herd keeps for who asks later.
pub const KEPT: usize = 1000;

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedObservation {
    /// Nanoseconds since the Unix epoch.
    pub at: i64,
    /// What.
    #[serde(flatten)]
    pub event: NamedEvent,
}

/// An [`Event`] with names. `line` is an `AT` line, `server` the server it happened at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "every variant and field is that of `Event`, which documents it")]
pub enum NamedEvent {
    Started {
        server: String,
        life: u32,
        port: u16,
    },
    Stopped {
        server: String,
        life: u32,
        records: u64,
    },
    Killed {
        server: String,
        life: u32,
        records: u64,
    },
    Crashed {
        server: String,
        life: u32,
        reason: String,
    },
    Paused {
        server: String,
        life: u32,
    },
    Resumed {
        server: String,
        life: u32,
    },
    ClockSet {
        server: String,
        offset: i64,
    },
    LinkUp {
        from: String,
        to: String,
        connection: u32,
    },
    LinkLost {
        from: String,
        to: String,
        connection: u32,
        lines_lost: u64,
    },
    Accepted {
        server: String,
        life: u32,
        line: String,
        newer: bool,
    },
    Answered {
        server: String,
        life: u32,
        line: String,
    },
    Refused {
        server: String,
        life: u32,
        command: String,
    },
    Sent {
        from: String,
        to: String,
        connection: u32,
        line: String,
    },
    Heard {
        server: String,
        life: u32,
        from: Option<NamedHop>,
        line: String,
        newer: bool,
    },
    Missed {
        from: String,
        to: String,
        life: u32,
        line: String,
    },
    Replied {
        session: u32,
        reply: String,
    },
    SessionLost {
        session: u32,
        unanswered: u64,
    },
    /// So many observations were left out, because who watches is slower than the herd.
    LeftOut {
        events: u64,
    },
}

/// A [`Hop`] with a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "every field is that of `Hop`, which documents it")]
pub struct NamedHop {
    pub server: String,
    pub connection: u32,
}

/// What a watcher gets to see.
#[derive(Debug, Clone)]
pub enum Seen {
    /// This happened.
    Happened(Observation),
    /// So many observations were left out before `at`.
    LeftOut {
        /// When the next one happened.
        at: Timestamp,
        /// How many.
        events: u64,
    },
}

impl NamedEvent {
    /// Whether it is about a line, of which there are as many as clients and neighbours send.
    pub fn is_traffic(&self) -> bool {
        match self {
            Self::Started { .. }
            | Self::Stopped { .. }
            | Self::Killed { .. }
            | Self::Crashed { .. }
            | Self::Paused { .. }
            | Self::Resumed { .. }
            | Self::ClockSet { .. }
            | Self::LinkUp { .. }
            | Self::LinkLost { .. } => false,
            Self::Accepted { .. }
            | Self::Answered { .. }
            | Self::Refused { .. }
            | Self::Sent { .. }
            | Self::Heard { .. }
            | Self::Missed { .. }
            | Self::Replied { .. }
            | Self::SessionLost { .. }
            | Self::LeftOut { .. } => true,
        }
    }
}

impl NamedObservation {
    /// The names of `topology` for the numbers of what was seen.
    pub fn of(topology: &Topology, seen: &Seen) -> Self {
        match seen {
            Seen::Happened(Observation { at, event }) => Self { at: at.nanoseconds(), event: named(topology, event) },
            Seen::LeftOut { at, events } => {
                Self { at: at.nanoseconds(), event: NamedEvent::LeftOut { events: *events } }
            }
        }
    }

    /// The servers it happened at.
    pub fn servers(&self) -> Vec<&str> {
        use NamedEvent as E;
        match &self.event {
            E::Started { server, .. }
            | E::Stopped { server, .. }
            | E::Killed { server, .. }
            | E::Crashed { server, .. }
            | E::Paused { server, .. }
            | E::Resumed { server, .. }
            | E::ClockSet { server, .. }
            | E::Accepted { server, .. }
            | E::Answered { server, .. }
            | E::Refused { server, .. }
            | E::Heard { server, .. } => vec![server],
            E::LinkUp { from, to, .. } | E::LinkLost { from, to, .. } => vec![from, to],
            E::Sent { from, .. } | E::Missed { from, .. } => vec![from],
            E::Replied { .. } | E::SessionLost { .. } | E::LeftOut { .. } => Vec::new(),
        }
    }
}

fn named(topology: &Topology, event: &Event) -> NamedEvent {
    use NamedEvent as E;
    let name = |server: ServerId| topology.name(server).to_string();
    let ends = |way: Way| (name(way.from), name(way.to));
    let text = |report: &Report| report.at().line().to_owned();
    match *event {
        Event::Started { server, life, port } => E::Started { server: name(server), life, port },
        Event::Stopped { server, life, records } => E::Stopped { server: name(server), life, records },
        Event::Killed { server, life, records } => E::Killed { server: name(server), life, records },
        Event::Crashed { server, life, ref reason } => {
            E::Crashed { server: name(server), life, reason: reason.clone() }
        }
        Event::Paused { server, life } => E::Paused { server: name(server), life },
        Event::Resumed { server, life } => E::Resumed { server: name(server), life },
        Event::ClockSet { server, offset } => E::ClockSet { server: name(server), offset },
        Event::LinkUp { way, connection } => {
            let (from, to) = ends(way);
            E::LinkUp { from, to, connection }
        }
        Event::LinkLost { way, connection, lines_lost } => {
            let (from, to) = ends(way);
            E::LinkLost { from, to, connection, lines_lost }
        }
        Event::Accepted { server, life, ref report, newer, .. } => {
            E::Accepted { server: name(server), life, line: text(report), newer }
        }
        Event::Answered { server, life, ref report, .. } => {
            E::Answered { server: name(server), life, line: text(report) }
        }
        Event::Refused { server, life, ref command, .. } => {
            E::Refused { server: name(server), life, command: String::from_utf8_lossy(command).into_owned() }
        }
        Event::Sent { way, connection, ref report } => {
            let (from, to) = ends(way);
            E::Sent { from, to, connection, line: text(report) }
        }
        Event::Heard { server, life, from, ref report, newer } => {
            let from = from.map(|Hop { server, connection }| NamedHop { server: name(server), connection });
            E::Heard { server: name(server), life, from, line: text(report), newer }
        }
        Event::Missed { way, life, ref report } => {
            let (from, to) = ends(way);
            E::Missed { from, to, life, line: text(report) }
        }
        Event::Replied { session, ref reply } => {
            E::Replied { session: session.0, reply: String::from_utf8_lossy(reply).into_owned() }
        }
        Event::SessionLost { session, unanswered } => E::SessionLost { session: session.0, unanswered },
    }
}

/// The last [`KEPT`] observations; the oldest goes when a further one comes.
#[derive(Debug, Default)]
pub struct Recent(VecDeque<Seen>);

impl Recent {
    /// Keeps one more.
    pub fn push(&mut self, seen: Seen) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(seen);
    }

    /// What is kept, the oldest first.
    pub fn to_vec(&self) -> Vec<Seen> {
        self.0.iter().cloned().collect()
    }
}
