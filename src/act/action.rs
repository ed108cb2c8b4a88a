//! One thing that a driver does, to one server, one way or one client's connection.

use std::ops::AddAssign;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ServerVerb, Spec, WayVerb};
use crate::config::{ServerId, Way};

/// The number of one client's connection to one server, chosen by the caller and never used for another connection.
///
/// The first [`Action::Send`] opens the connection. The session is over when the connection ends, and no later than its
/// server's life: a server that is started again is not reached over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SessionId(pub u32);

/// Something done to a running herd. `S` tells servers apart: by number in memory, by name in files.
///
/// Every action can be applied at any time. One that changes nothing, such as killing a dead server, is no error. It answers
/// with [`Hit::default`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action<S = ServerId> {
    /// Does this to a server.
    Server(S, ServerVerb),
    /// Does this to a way.
    Way(Way<S>, WayVerb),
    /// A client writes `bytes` to a server over a connection of its own.
    ///
    /// On a session that is over the bytes reach no server. Their commands are observed as unanswered.
    Send {
        /// The connection, which is opened by the first `Send`.
        session: SessionId,
        /// The server of the connection, the same for all of a session.
        server: S,
        /// The bytes written, line ends included.
        #[serde(with = "crate::words::BytesText")]
        bytes: Bytes,
        /// `true` if the client then closes its writing side.
        finish: bool,
    },
    /// A client closes its connection. It can write no more.
    Close(SessionId),
}

/// What an action hit at the moment it was applied. Zeros mean that nothing was there to hit.
///
/// What a fault hits later, while it lasts, is in the events of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hit {
    /// Connections that were reset or closed.
    #[serde(skip_serializing_if = "crate::words::is_default")]
    pub connections: u64,
    /// Lines that were in flight and are lost.
    #[serde(skip_serializing_if = "crate::words::is_default")]
    pub lines_lost: u64,
    /// Lines that waited and were released.
    #[serde(skip_serializing_if = "crate::words::is_default")]
    pub lines_released: u64,
    /// Records that were forgotten.
    #[serde(skip_serializing_if = "crate::words::is_default")]
    pub records_lost: u64,
}

impl AddAssign for Hit {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.lines_lost += other.lines_lost;
        self.lines_released += other.lines_released;
        self.records_lost += other.records_lost;
    }
}

impl<S> Action<S> {
    /// Returns the row of its verb, or `None` if it is a client's doing.
    pub fn spec(&self) -> Option<&'static Spec> {
        match self {
            Self::Server(_, verb) => Some(verb.spec()),
            Self::Way(_, verb) => Some(verb.spec()),
            Self::Send { .. } | Self::Close(_) => None,
        }
    }

    /// Returns the same action with its servers told apart another way.
    ///
    /// # Errors
    ///
    /// Returns the first error of `server`.
    pub fn map<T, E>(self, server: &mut impl FnMut(S) -> Result<T, E>) -> Result<Action<T>, E> {
        Ok(match self {
            Self::Server(on, verb) => Action::Server(server(on)?, verb),
            Self::Way(way, verb) => Action::Way(way.map(server)?, verb),
            Self::Send { session, server: to, bytes, finish } => {
                Action::Send { session, server: server(to)?, bytes, finish }
            }
            Self::Close(session) => Action::Close(session),
        })
    }
}

impl ServerVerb {
    /// Returns the action that does this to a server.
    pub fn on(self, server: ServerId) -> Action {
        Action::Server(server, self)
    }
}

impl WayVerb {
    /// Returns the action that does this to a way.
    pub fn on(self, way: Way) -> Action {
        Action::Way(way, self)
    }
}
