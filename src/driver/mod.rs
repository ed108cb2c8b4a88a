//! What runs nodes: the trait that both drivers share, and several actions as one.
//!
//! Actions and plans live in [`crate::act`], what is observed in [`crate::history`].

pub mod loopback;
pub mod path;
mod perform;
pub mod remote;
mod session;
pub mod simulated;
pub mod stage;
pub mod work;

pub use perform::Performed;

use std::sync::Arc;

use crate::act::{Action, Hit, SessionId, WayFaults};
use crate::config::{LinkId, ServerId, Way};
use crate::history::{Observation, Sight};
use crate::node::Source;
use crate::time::Timestamp;
use crate::wire::Report;

/// Number of lines that wait at most on a way that is slow or held, on either driver.
///
/// Further ones stay in the outbox of their sender, where a newer version replaces an older one. Nothing is lost, but not every
/// version arrives.
pub const WINDOW_LINES: usize = 4096;

/// Why an action could not be done. The herd is as before.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The server cannot listen where it should.
    #[error("{server} cannot listen on {address}: {source}{}", advice(address, source))]
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
    /// A process that the action is about is gone, or refuses it.
    #[error("{0}")]
    Process(String),
}

/// Returns what to do about a port that cannot be had. A port of 0 is any free one.
fn advice(address: &str, error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse if address.ends_with(":0") => {
            "; every port for connections is taken, or kept for a minute by connections that ended (`ss -s` counts them)"
        }
        std::io::ErrorKind::AddrInUse => "; another program listens there, or another herd (`herdsim ls`)",
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 are the administrator's: choose a higher one",
        std::io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
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

/// What [`Driver::next`] comes back with.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Something happened.
    Seen(Observation),
    /// Somebody else did something to the herd.
    Did {
        /// When it was begun.
        at: Timestamp,
        /// What was done.
        action: Action,
        /// What it hit at once.
        hit: Hit,
    },
    /// Things happened that nobody tells any more.
    Missed {
        /// Their number; 0 if nobody knows.
        entries: u64,
    },
    /// The herd is at rest, as [`Wait::Quiescent`] asks.
    Rested(Rest),
    /// The time of the wait is over.
    TimeUp,
}

/// How sure a driver is that a herd is at rest: that nothing is in flight, nothing is due, and without a further action nothing
/// will happen any more.
///
/// What waits for an action does not count: lines on a way that is held, the input of a paused server, dials of a way that is
/// cut or whose far end is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// All servers tell their driver what they have to do, and it is nothing.
    Certain,
    /// A server does not tell, and none has shown a sign of work for a while.
    Silent {
        /// When the last sign was seen.
        since: Timestamp,
    },
}

/// Why a server could not be asked what it knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// It does not run.
    #[error("it does not run")]
    Down,
    /// It gave no answer, or one that makes no sense.
    #[error("{0}")]
    NoAnswer(String),
}

/// What one server knows about one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The newest report.
    pub report: Arc<Report>,
    /// When the server got it, by the driver's time.
    pub learned_at: Timestamp,
    /// The sender of the line that brought it.
    pub from: Sender,
}

/// The sender of a line that a server learned from. Only an `IAMAT` comes from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The client itself.
    Client,
    /// This neighbour.
    Neighbour(ServerId),
    /// A server that is not known to be a neighbour, such as one in another process.
    UnknownServer,
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

    /// Applies actions in order: all of them, or none that can be undone.
    async fn perform(&mut self, actions: Vec<Action>) -> Performed
    where
        Self: Sized,
    {
        perform::perform(self, actions).await
    }

    /// Returns the next observation, in the order in which things happened, or why the wait is over.
    async fn next(&mut self, wait: Wait) -> Next;

    /// Returns how much of a server the driver sees. It stays so.
    fn sight(&self, server: ServerId) -> Sight;

    /// Asks a server what it knows about some clients, from outside if that is how the driver sees it. Returns the newest
    /// reports in the order of `clients`; `None` for a client that the server knows nothing about.
    ///
    /// # Errors
    ///
    /// Returns an error if the server does not run, or does not answer.
    async fn probe(&mut self, server: ServerId, clients: &[Arc<str>]) -> Result<Vec<Option<Arc<Report>>>, Unseen>;

    /// Returns `true` if every way from and to a server that can be open is open. A way that is cut or per message, or whose
    /// other end does not run, cannot be.
    fn is_linked(&self, server: ServerId) -> bool;

    /// Returns `true` if a client can write over this session.
    ///
    /// That is, the session was opened, its client has closed neither its writing side nor the connection, and the driver has
    /// not noticed the end of the connection or of the server's life.
    fn is_open(&self, session: SessionId) -> bool;

    /// Returns what was done to a way and not taken back; nothing of a way that is none.
    fn faults(&self, way: Way) -> WayFaults;

    /// Returns `true` if a server runs and is frozen.
    fn is_paused(&self, server: ServerId) -> bool;

    /// Returns how far a server's wall clock is ahead of the driver's time, in nanoseconds; negative when behind.
    fn clock_offset(&self, server: ServerId) -> i64;

    /// The port a server listens on, 0 on virtual time; `None` when it is down.
    fn port(&self, server: ServerId) -> Option<u16>;
}

impl Sender {
    /// Returns the sender that a record's source stands for. `neighbour` finds the neighbour of a link.
    fn of(source: Source, neighbour: impl FnOnce(LinkId) -> ServerId) -> Self {
        match source {
            Source::Client => Self::Client,
            Source::Link(link) => Self::Neighbour(neighbour(link)),
            Source::Stranger => Self::UnknownServer,
        }
    }
}

impl Next {
    /// Returns the observation, if it is one.
    pub fn seen(self) -> Option<Observation> {
        match self {
            Self::Seen(observation) => Some(observation),
            Self::Did { .. } | Self::Missed { .. } | Self::Rested(_) | Self::TimeUp => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_program_is_blamed_for_a_lack_of_free_ports() {
        let told = |address: &str| {
            let (address, source) = (address.to_owned(), std::io::ErrorKind::AddrInUse.into());
            DriverError::Listen { server: "A".into(), address, source }.to_string()
        };
        assert!(told("127.0.0.1:0").contains("every port for connections is taken"));
        assert!(told("127.0.0.1:10000").contains("another program listens there"));
    }
}
