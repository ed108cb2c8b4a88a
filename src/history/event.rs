//! What can be seen of a herd that runs.

use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::act::SessionId;
use crate::config::{ServerId, Way};
use crate::time::Timestamp;
use crate::wire::{ControlLine, Line, Report};

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Time by the driver's clock.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// What can be seen of a herd that runs.
///
/// Events belong to epochs. A `life` is one run of a server, from its start to its end. The lives of a server count from 1
/// over the whole run of the driver. A `connection` is one TCP connection of a way. The connections of a way count from 1
/// over the whole run, across the lives of both servers. On a per-message link every line has a connection of its own, and
/// keeps its number when the line is doubled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event<S = ServerId> {
    /// A server listens.
    Started {
        /// The server.
        server: S,
        /// The life that begins.
        life: u32,
        /// Port it listens on. 0 on virtual time.
        port: u16,
    },
    /// A server ended gracefully.
    Stopped {
        /// The server.
        server: S,
        /// The life that ended.
        life: u32,
        /// Clients it knew and forgot.
        records: u64,
    },
    /// A server was killed.
    Killed {
        /// The server.
        server: S,
        /// The life that ended.
        life: u32,
        /// Clients it knew and forgot.
        records: u64,
    },
    /// A server ended by an error of its own.
    Crashed {
        /// The server.
        server: S,
        /// The life that ended.
        life: u32,
        /// Text of the error.
        reason: String,
    },
    /// A server is frozen.
    Paused {
        /// The server.
        server: S,
        /// Its life.
        life: u32,
    },
    /// A frozen server resumed.
    Resumed {
        /// The server.
        server: S,
        /// Its life.
        life: u32,
    },
    /// A server's wall clock was set. The clock survives restarts, so this belongs to no life.
    ClockSet {
        /// The server.
        server: S,
        /// Nanoseconds that it is ahead of the driver's time.
        offset: i64,
    },
    /// A dial succeeded: lines can go this way.
    LinkUp {
        /// The way.
        way: Way<S>,
        /// The connection that opened.
        connection: u32,
    },
    /// The connection of a way is gone.
    LinkLost {
        /// The way.
        way: Way<S>,
        /// The connection that is gone. On a per-message link, several may be gone with one loss. It is then the last one
        /// that the way had used.
        connection: u32,
        /// Lines that had been written and were not read.
        lines_lost: u64,
    },
    /// A server took an `IAMAT`: it holds the update and has handed it to its links. The moment of acknowledgement, unless
    /// replies wait.
    Accepted {
        /// The server that accepted it.
        server: S,
        /// The server's life.
        life: u32,
        /// The client's connection, if this driver made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        /// The line made of it.
        #[serde(rename = "line")]
        #[schemars(with = "String")]
        report: Arc<Report>,
        /// `true` if it is newer than what the server held. Otherwise it is answered and changes nothing.
        newer: bool,
    },
    /// The reply to an `IAMAT` was let go, where replies wait: the moment of acknowledgement there.
    Acknowledged {
        /// The server that accepted it.
        server: S,
        /// The server's life.
        life: u32,
        /// The client's connection, if this driver made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        /// The line made of it.
        #[serde(rename = "line")]
        #[schemars(with = "String")]
        report: Arc<Report>,
        /// `true` if servers that it waited for had not taken it within the limit, or the server stopped.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        overdue: bool,
    },
    /// A `WHATSAT` was answered with this line.
    Answered {
        /// The server that answered.
        server: S,
        /// The server's life.
        life: u32,
        /// The client's connection, if this driver made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        /// The first line of the reply.
        #[serde(rename = "line")]
        #[schemars(with = "String")]
        report: Arc<Report>,
    },
    /// A command was refused with `? `.
    Refused {
        /// The server that refused.
        server: S,
        /// The server's life.
        life: u32,
        /// The client's connection, if this driver made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        /// The command.
        #[serde(with = "crate::words::BytesText")]
        command: Bytes,
    },
    /// A server wrote a line to a neighbour.
    Sent {
        /// The way.
        way: Way<S>,
        /// The connection it was written to.
        connection: u32,
        /// The line.
        #[serde(rename = "line")]
        #[schemars(with = "String")]
        report: Arc<Report>,
    },
    /// A server wrote a control line to a neighbour: an announcement, a request, or what else its strategy needs.
    Control {
        /// The way.
        way: Way<S>,
        /// The connection it was written to.
        connection: u32,
        /// The line.
        #[schemars(with = "String")]
        line: Arc<ControlLine>,
    },
    /// A line vanished on its way, without the loss of its connection. TCP does not do that.
    Vanished {
        /// The way.
        way: Way<S>,
        /// The connection it was written to.
        connection: u32,
        /// The line.
        #[serde(rename = "line")]
        #[schemars(with = "String")]
        report: Arc<Report>,
    },
    /// A server read an `AT` line.
    Heard {
        /// The server that read it.
        server: S,
        /// The server's life.
        life: u32,
        /// The neighbour and connection it came from. `None` for a stranger, or a neighbour in another process.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<Hop<S>>,
        /// The line.
        #[serde(rename = "line")]
        #[schemars(with = "String")]
        report: Arc<Report>,
        /// `true` if it is newer than what the server held. The server then holds it.
        newer: bool,
    },
    /// A record was updated while a way was down, so the neighbour does not hear of it by this way.
    Missed {
        /// The way.
        way: Way<S>,
        /// The life of the server that could not send.
        life: u32,
        /// The line that was not sent.
        #[serde(rename = "line")]
        #[schemars(with = "String")]
        report: Arc<Report>,
    },
    /// A client read a whole reply.
    Replied {
        /// The connection.
        session: SessionId,
        /// The bytes of the reply.
        #[serde(with = "crate::words::BytesText")]
        reply: Bytes,
    },
    /// A client's connection ended. Observed again for every command sent on the session that is over.
    SessionLost {
        /// The connection.
        session: SessionId,
        /// Commands without a reply that no `SessionLost` has counted before.
        unanswered: u64,
    },
}

/// The last hop of a line: the neighbour that sent it, and the connection it came by.
///
/// [`Event::Sent`] of the same line has the same connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hop<S = ServerId> {
    /// The neighbour.
    pub server: S,
    /// The connection of the neighbour's way.
    pub connection: u32,
}

impl Event {
    /// Returns the event that a server wrote a line to a neighbour.
    pub fn written(way: Way, connection: u32, line: Line) -> Self {
        match line {
            Line::At(report) => Self::Sent { way, connection, report },
            Line::Control(line) => Self::Control { way, connection, line },
        }
    }
}

impl<S> Event<S> {
    /// Returns the same event with its servers told apart another way.
    ///
    /// # Errors
    ///
    /// Returns the first error of `name`.
    pub fn map<T, E>(self, name: &mut impl FnMut(S) -> Result<T, E>) -> Result<Event<T>, E> {
        Ok(match self {
            Self::Started { server, life, port } => Event::Started { server: name(server)?, life, port },
            Self::Stopped { server, life, records } => Event::Stopped { server: name(server)?, life, records },
            Self::Killed { server, life, records } => Event::Killed { server: name(server)?, life, records },
            Self::Crashed { server, life, reason } => Event::Crashed { server: name(server)?, life, reason },
            Self::Paused { server, life } => Event::Paused { server: name(server)?, life },
            Self::Resumed { server, life } => Event::Resumed { server: name(server)?, life },
            Self::ClockSet { server, offset } => Event::ClockSet { server: name(server)?, offset },
            Self::LinkUp { way, connection } => Event::LinkUp { way: way.map(name)?, connection },
            Self::LinkLost { way, connection, lines_lost } => {
                Event::LinkLost { way: way.map(name)?, connection, lines_lost }
            }
            Self::Accepted { server, life, session, report, newer } => {
                Event::Accepted { server: name(server)?, life, session, report, newer }
            }
            Self::Acknowledged { server, life, session, report, overdue } => {
                Event::Acknowledged { server: name(server)?, life, session, report, overdue }
            }
            Self::Answered { server, life, session, report } => {
                Event::Answered { server: name(server)?, life, session, report }
            }
            Self::Refused { server, life, session, command } => {
                Event::Refused { server: name(server)?, life, session, command }
            }
            Self::Sent { way, connection, report } => Event::Sent { way: way.map(name)?, connection, report },
            Self::Control { way, connection, line } => Event::Control { way: way.map(name)?, connection, line },
            Self::Vanished { way, connection, report } => Event::Vanished { way: way.map(name)?, connection, report },
            Self::Heard { server, life, from, report, newer } => {
                let server = name(server)?;
                let hop = |Hop { server, connection }| Ok(Hop { server: name(server)?, connection });
                Event::Heard { server, life, from: from.map(hop).transpose()?, report, newer }
            }
            Self::Missed { way, life, report } => Event::Missed { way: way.map(name)?, life, report },
            Self::Replied { session, reply } => Event::Replied { session, reply },
            Self::SessionLost { session, unanswered } => Event::SessionLost { session, unanswered },
        })
    }

    /// Returns the server whose life it ends, if it ends one.
    pub fn ended(&self) -> Option<&S> {
        match self {
            Self::Killed { server, .. } | Self::Stopped { server, .. } | Self::Crashed { server, .. } => Some(server),
            _ => None,
        }
    }

    /// Returns the report it is about, if it is about one.
    pub fn report(&self) -> Option<&Arc<Report>> {
        match self {
            Self::Accepted { report, .. }
            | Self::Acknowledged { report, .. }
            | Self::Answered { report, .. }
            | Self::Sent { report, .. }
            | Self::Vanished { report, .. }
            | Self::Heard { report, .. }
            | Self::Missed { report, .. } => Some(report),
            _ => None,
        }
    }

    /// Returns the report it is about, to be shared with other events.
    pub(super) fn report_mut(&mut self) -> Option<&mut Arc<Report>> {
        match self {
            Self::Accepted { report, .. }
            | Self::Acknowledged { report, .. }
            | Self::Answered { report, .. }
            | Self::Sent { report, .. }
            | Self::Vanished { report, .. }
            | Self::Heard { report, .. }
            | Self::Missed { report, .. } => Some(report),
            _ => None,
        }
    }

    /// Returns `true` if it is about a line or a client, of which a herd has as many as clients and neighbours send.
    pub fn is_traffic(&self) -> bool {
        self.report().is_some()
            || matches!(
                self,
                Self::Control { .. } | Self::Refused { .. } | Self::Replied { .. } | Self::SessionLost { .. }
            )
    }

    /// Returns the servers at which it happened: for a line, the server that sent or read it.
    pub fn servers(&self) -> Vec<&S> {
        match self {
            Self::Started { server, .. }
            | Self::Stopped { server, .. }
            | Self::Killed { server, .. }
            | Self::Crashed { server, .. }
            | Self::Paused { server, .. }
            | Self::Resumed { server, .. }
            | Self::ClockSet { server, .. }
            | Self::Accepted { server, .. }
            | Self::Acknowledged { server, .. }
            | Self::Answered { server, .. }
            | Self::Refused { server, .. }
            | Self::Heard { server, .. } => vec![server],
            Self::LinkUp { way, .. } | Self::LinkLost { way, .. } => vec![&way.from, &way.to],
            Self::Sent { way, .. }
            | Self::Control { way, .. }
            | Self::Vanished { way, .. }
            | Self::Missed { way, .. } => vec![&way.from],
            Self::Replied { .. } | Self::SessionLost { .. } => Vec::new(),
        }
    }
}
