//! What runs nodes: the actions a driver takes, the observations it gives, and the trait that both drivers share.
//!
//! Not here: names of servers in commands and files ([`crate::herd`]), and what a run is judged by ([`crate::checker`]).

pub mod loopback;
pub mod path;
mod perform;
pub mod simulated;

pub use perform::{Performed, perform};

use std::sync::Arc;

use bytes::Bytes;

use crate::act::{Action, Hit, SessionId};
use crate::config::{ServerId, Way, Wiring};
use crate::node::Source;
use crate::time::Timestamp;
use crate::wire::Report;

/// Why an action could not be done. The herd is as before.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The server cannot listen where it should.
    #[error("{server} cannot listen on {address}: {source}{}", advice(source))]
    Listen {
        /// Whose address it is.
        server: Arc<str>,
        /// Host and port.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The herd has no such link.
    #[error("{from} and {to} are not linked")]
    NoLink {
        /// One server.
        from: Arc<str>,
        /// The other.
        to: Arc<str>,
    },
    /// The server is not one of those this process runs.
    #[error("{0} runs in another process")]
    Elsewhere(Arc<str>),
    /// The system has not what the herd needs.
    #[error("{0}")]
    Resources(String),
}

/// What to do about a port that cannot be had.
fn advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "; another program listens there, or another herd (`herdsim ls`)",
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 are the administrator's: choose a higher one",
        std::io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// By the driver's time.
    pub at: Timestamp,
    /// What.
    pub event: Event,
}

/// What can be seen of a herd that runs.
///
/// Events belong to epochs. A `life` is one run of a server, from its start to its end. The lives of a server count from 1
/// over the whole run of the driver. A `connection` is one TCP connection of a way. The connections of a way count from 1
/// over the whole run, across the lives of both servers. On a per-message link every line has a connection of its own, and
/// keeps its number when the line is doubled.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A server listens.
    Started {
        /// Which.
        server: ServerId,
        /// The life that begins.
        life: u32,
        /// On which port; 0 on virtual time.
        port: u16,
    },
    /// A server ended in order; it knew `records` clients.
    Stopped {
        /// Which.
        server: ServerId,
        /// The life that ended.
        life: u32,
        /// What it forgot.
        records: u64,
    },
    /// A server was killed; it knew `records` clients.
    Killed {
        /// Which.
        server: ServerId,
        /// The life that ended.
        life: u32,
        /// What it forgot.
        records: u64,
    },
    /// A server ended by an error of its own.
    Crashed {
        /// Which.
        server: ServerId,
        /// The life that ended.
        life: u32,
        /// What the error says.
        reason: String,
    },
    /// A server is frozen.
    Paused {
        /// The server.
        server: ServerId,
        /// Its life.
        life: u32,
    },
    /// A frozen server goes on.
    Resumed {
        /// The server.
        server: ServerId,
        /// Its life.
        life: u32,
    },
    /// A server's wall clock was set. The clock survives restarts, so this belongs to no life.
    ClockSet {
        /// Which.
        server: ServerId,
        /// How far it is ahead of the driver's time, in nanoseconds.
        offset: i64,
    },
    /// A dial succeeded: lines can go this way.
    LinkUp {
        /// The way.
        way: Way,
        /// The connection that opened.
        connection: u32,
    },
    /// The connection of a way is gone.
    LinkLost {
        /// Which way.
        way: Way,
        /// The connection that is gone. On a per-message link, several may be gone with one loss. It is then the last one
        /// that the way had used.
        connection: u32,
        /// Lines that had been written and were not read.
        lines_lost: u64,
    },
    /// An `IAMAT` was taken: its server holds it and has handed it to its links. The moment of acknowledgement.
    Accepted {
        /// The server that accepted it.
        server: ServerId,
        /// The server's life.
        life: u32,
        /// The client's connection, when this driver made it.
        session: Option<SessionId>,
        /// The line made of it.
        report: Arc<Report>,
        /// Whether it is newer than what the server held. Otherwise it is answered and changes nothing.
        newer: bool,
    },
    /// A `WHATSAT` was answered with this line.
    Answered {
        /// The server that answered.
        server: ServerId,
        /// The server's life.
        life: u32,
        /// The client's connection, when this driver made it.
        session: Option<SessionId>,
        /// The first line of the reply.
        report: Arc<Report>,
    },
    /// A command was refused with `? `.
    Refused {
        /// The server that refused.
        server: ServerId,
        /// The server's life.
        life: u32,
        /// The client's connection, when this driver made it.
        session: Option<SessionId>,
        /// The command.
        command: Bytes,
    },
    /// A server wrote a line to a neighbour.
    Sent {
        /// By which way.
        way: Way,
        /// The connection it was written to.
        connection: u32,
        /// The line.
        report: Arc<Report>,
    },
    /// A server read an `AT` line.
    Heard {
        /// The server that read it.
        server: ServerId,
        /// The server's life.
        life: u32,
        /// The neighbour and connection it came from. `None` for a stranger, or a neighbour in another process.
        from: Option<Hop>,
        /// The line.
        report: Arc<Report>,
        /// Whether it is newer than what the server held, which then holds it.
        newer: bool,
    },
    /// A record got newer while this way was down: the neighbour does not hear of it by this way.
    Missed {
        /// Which way.
        way: Way,
        /// The life of the server that could not send.
        life: u32,
        /// The line that was not sent.
        report: Arc<Report>,
    },
    /// A client read a whole reply.
    Replied {
        /// On which connection.
        session: SessionId,
        /// As it came over the wire.
        reply: Bytes,
    },
    /// A client's connection ended; what it had asked and was not answered stays unanswered.
    SessionLost {
        /// Which connection.
        session: SessionId,
        /// Commands without reply.
        unanswered: u64,
    },
}

/// The last hop of a line: the neighbour that sent it, and the connection it came by.
///
/// [`Event::Sent`] of the same line has the same connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The neighbour.
    pub server: ServerId,
    /// The connection of the neighbour's way.
    pub connection: u32,
}

/// How far [`Driver::next`] goes when nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until this time.
    Until(Timestamp),
    /// Until the herd is quiescent, and no longer than until this time.
    Quiescent(Timestamp),
}

impl Wait {
    /// The time that is not passed.
    pub fn limit(self) -> Timestamp {
        let (Self::Until(limit) | Self::Quiescent(limit)) = self;
        limit
    }
}

/// What one server knows about one client, as [`Driver::records`] tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The newest report.
    pub report: Arc<Report>,
    /// When the server got it, by the driver's time.
    pub learned_at: Timestamp,
    /// From which neighbour it came; `None`: from the client itself or from somebody unknown.
    pub from: Option<ServerId>,
}

/// What runs a herd: on real sockets, or on virtual time.
#[expect(async_fn_in_trait, reason = "used through generics, never across threads")]
pub trait Driver {
    /// The present moment of this driver.
    fn now(&self) -> Timestamp;

    /// Checks that the driver can do an action at all, whatever state the herd is in.
    ///
    /// # Errors
    ///
    /// Returns an error if the herd has no such link, or another process runs the server.
    fn check(&self, action: &Action) -> Result<(), DriverError>;

    /// Does something to the herd, and returns what it hit at once. A killed server is then down, a started one listens.
    ///
    /// # Errors
    ///
    /// Returns an error if [`Self::check`] does, or if a server cannot listen where it should. The herd is as before then,
    /// except that a server that was to restart is down.
    async fn apply(&mut self, action: Action) -> Result<Hit, DriverError>;

    /// The next observation, in the order in which things happened; `None` once the wait is over.
    async fn next(&mut self, wait: Wait) -> Option<Observation>;

    /// Whether nothing is in flight and nothing is due: without a further action nothing will happen any more.
    ///
    /// What waits for an action does not count: lines on a way that is held, the input of a paused server, dials of a way
    /// that is cut or whose far end is down.
    fn quiescent(&self) -> bool;

    /// Returns `true` if every way from and to a server that can be open is open. A way that is cut or per message, or whose
    /// other end does not run, cannot be.
    fn is_linked(&self, server: ServerId) -> bool;

    /// Everything a server knows, in the order in which it first heard of the clients; empty when it is down.
    fn records(&self, server: ServerId) -> Vec<Known>;

    /// The port a server listens on, 0 on virtual time; `None` when it is down.
    fn port(&self, server: ServerId) -> Option<u16>;
}

/// Returns the neighbour that a record of `server` came from, or `None` if it came from a client or a stranger.
fn neighbour_of(wiring: &Wiring, server: ServerId, source: Source) -> Option<ServerId> {
    match source {
        Source::Link(link) => Some(wiring.neighbour(server, link).server),
        Source::Client | Source::Stranger => None,
    }
}
