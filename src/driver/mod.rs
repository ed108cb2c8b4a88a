//! What runs nodes: the actions a driver takes, the observations it gives, and the trait that both drivers share.
//!
//! Not here: names of servers in commands and files ([`crate::herd`]), and what a run is judged by ([`crate::checker`]).

pub mod loopback;
pub mod path;
mod session;
pub mod simulated;

use std::sync::Arc;

use bytes::Bytes;

use crate::config::{ServerId, Slowness, Way, Wiring};
use crate::node::Source;
use crate::time::Timestamp;
use crate::wire::Report;

/// The number of one client's connection to one server, chosen by the caller and never used for another connection.
///
/// The first [`Action::Send`] opens the connection. The session is over when the connection ends, and no later than its
/// server's life: a server that is started again is not reached over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

/// Something done to a running herd.
///
/// Every action can be applied at any time; one that changes nothing (to kill the dead, to heal what is whole) is no error
/// and answers with [`Hit::default`].
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Ends a server at once: its connections are reset, its memory is gone.
    Kill(ServerId),
    /// Ends a server in order: it finishes what it was asked, hands on what it owes and closes. Its memory is gone.
    Stop(ServerId),
    /// Starts a server that does not run, with an empty memory, on the port it had.
    Start(ServerId),
    /// Kills a server that runs, and starts it.
    Restart(ServerId),
    /// Freezes a server: it handles nothing, its connections stay open and fill.
    Pause(ServerId),
    /// Lets a frozen server go on.
    Resume(ServerId),
    /// Sets how far a server's wall clock is ahead of the machine's, in nanoseconds. Survives restarts.
    SetClock(ServerId, i64),
    /// Resets the connection of a way, loses what is in flight on it, and refuses its dials.
    Cut(Way),
    /// Mends a way that was cut, slowed or half-open. A half-open connection is reset: its far end is back and does not
    /// know it.
    Heal(Way),
    /// Lets lines of a way wait. Nothing is lost.
    Hold(Way),
    /// Lets the lines that wait arrive, in order.
    Release(Way),
    /// Delays the lines of a way, on top of the link's own delay.
    Slow(Way, Slowness),
    /// Resets the connection of a way on a line boundary, after that many further lines; at once when 0.
    Reset(Way, u64),
    /// Loses everything sent on a way from now on without resetting its connection: the far end is gone and nobody has
    /// noticed.
    HalfOpen(Way),
    /// Loses one line of a way: the `n`-th from now, counted from 1. Not something TCP does.
    Drop(Way, u64),
    /// Sends one line of a way twice: the `n`-th from now, counted from 1. Not something TCP does.
    Duplicate(Way, u64),
    /// A client writes `bytes` to a server over a connection of its own.
    ///
    /// On a session that is over the bytes reach no server: an [`Event::SessionLost`] counts their commands as unanswered.
    /// [`Driver::is_open`] tells before.
    Send {
        /// The connection, which is opened by the first `Send`.
        session: SessionId,
        /// The server of the connection, the same for all of a session.
        server: ServerId,
        /// What is written, line ends included.
        bytes: Bytes,
        /// Whether the client then closes its writing side.
        finish: bool,
    },
    /// A client closes its connection. It can write no more.
    Close(SessionId),
}

/// What an action hit at the moment it was applied. Zeros mean that nothing was there to hit.
///
/// What a fault hits later, while it lasts, is in the observations: [`Event::Missed`], [`Event::Sent`] without
/// [`Event::Heard`], [`Event::LinkLost`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hit {
    /// Connections that were reset or closed.
    pub connections: u64,
    /// Lines that were in flight and are lost.
    pub lines_lost: u64,
    /// Lines that waited and go on.
    pub lines_released: u64,
    /// Records that were forgotten.
    pub records_lost: u64,
}

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
    /// The session is a connection to another server than the one named.
    #[error("session {session} is a connection to {server}")]
    OtherServer {
        /// Number of the session.
        session: u32,
        /// The server that the session was opened to.
        server: Arc<str>,
    },
    /// The client of the session has closed its writing side, or the connection.
    #[error("the client of session {session} has closed it for writing")]
    Finished {
        /// Number of the session.
        session: u32,
    },
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
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A server listens.
    Started {
        /// Which.
        server: ServerId,
        /// On which port; 0 on virtual time.
        port: u16,
    },
    /// A server ended in order; it knew `records` clients.
    Stopped {
        /// Which.
        server: ServerId,
        /// What it forgot.
        records: u64,
    },
    /// A server was killed; it knew `records` clients.
    Killed {
        /// Which.
        server: ServerId,
        /// What it forgot.
        records: u64,
    },
    /// A server ended by an error of its own.
    Crashed {
        /// Which.
        server: ServerId,
        /// What the error says.
        reason: String,
    },
    /// A server is frozen.
    Paused(ServerId),
    /// A frozen server goes on.
    Resumed(ServerId),
    /// A server's wall clock was set.
    ClockSet {
        /// Which.
        server: ServerId,
        /// How far it is ahead of the driver's time, in nanoseconds.
        offset: i64,
    },
    /// A dial succeeded: lines can go this way.
    LinkUp(Way),
    /// The connection of a way is gone.
    LinkLost {
        /// Which way.
        way: Way,
        /// Lines that had been written and were not read.
        lines_lost: u64,
    },
    /// An `IAMAT` was taken: its server holds it and has handed it to its links. The moment of acknowledgement.
    Accepted {
        /// Who took it.
        server: ServerId,
        /// The client's connection, when this driver made it.
        session: Option<SessionId>,
        /// The line made of it.
        report: Arc<Report>,
        /// Whether it is newer than what the server held. Otherwise it is answered and changes nothing.
        newer: bool,
    },
    /// A `WHATSAT` was answered with this line.
    Answered {
        /// Who answered.
        server: ServerId,
        /// The client's connection, when this driver made it.
        session: Option<SessionId>,
        /// The first line of the reply.
        report: Arc<Report>,
    },
    /// A command was refused with `? `.
    Refused {
        /// Who refused.
        server: ServerId,
        /// The client's connection, when this driver made it.
        session: Option<SessionId>,
        /// The command.
        command: Bytes,
    },
    /// A server wrote a line to a neighbour.
    Sent {
        /// By which way.
        way: Way,
        /// The line.
        report: Arc<Report>,
    },
    /// A server read an `AT` line.
    Heard {
        /// Who.
        server: ServerId,
        /// From which neighbour; `None`: from somebody who is not known to be one.
        from: Option<ServerId>,
        /// The line.
        report: Arc<Report>,
        /// Whether it is newer than what the server held, which then holds it.
        newer: bool,
    },
    /// A record got newer while this way was down: the neighbour does not hear of it by this way.
    Missed {
        /// Which way.
        way: Way,
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
    /// A client's connection ended. Commands without a reply stay unanswered.
    ///
    /// Observed again for every [`Action::Send`] on the session that is over.
    SessionLost {
        /// The connection.
        session: SessionId,
        /// Commands without a reply that no `SessionLost` has counted before.
        unanswered: u64,
    },
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

    /// Does something to the herd, and tells what it hit at once. When this returns it is done: a killed server is down,
    /// a started one listens.
    async fn apply(&mut self, action: Action) -> Result<Hit, DriverError>;

    /// The next observation, in the order in which things happened; `None` once the wait is over.
    async fn next(&mut self, wait: Wait) -> Option<Observation>;

    /// Whether nothing is in flight and nothing is due: without a further action nothing will happen any more.
    ///
    /// What waits for an action does not count: lines on a way that is held, the input of a paused server, dials of a way
    /// that is cut or whose far end is down.
    fn quiescent(&self) -> bool;

    /// Returns `true` if a client can write over this session.
    ///
    /// That is, the session was opened, its client has closed neither its writing side nor the connection, and the driver has
    /// not noticed the end of the connection or of the server's life.
    fn is_open(&self, session: SessionId) -> bool;

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
