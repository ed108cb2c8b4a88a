//! The meaning of a [`SessionId`] on both drivers: one client's connection to one server, for ever.
//!
//! The connections live in [`loopback`](super::loopback) and [`simulated`](super::simulated).

use std::collections::BTreeMap;

use super::DriverError;
use crate::act::SessionId;
use crate::config::{ServerId, Topology};
use crate::wire;

/// All sessions that a driver has had.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    // One small entry for each connection that a script opens.
    known: BTreeMap<SessionId, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    server: ServerId,
    /// Whether the client has closed its writing side or the connection.
    finished: bool,
}

impl Ledger {
    /// Records that a client writes. Returns `true` if the session is new and its connection must be opened.
    ///
    /// # Errors
    ///
    /// If the session is a connection to another server, or its client can write no more.
    pub(super) fn write(
        &mut self,
        session: SessionId,
        server: ServerId,
        finish: bool,
        topology: &Topology,
    ) -> Result<bool, DriverError> {
        let Some(entry) = self.known.get_mut(&session) else {
            self.known.insert(session, Entry { server, finished: finish });
            return Ok(true);
        };
        if entry.server != server {
            return Err(DriverError::OtherServer { session: session.0, server: topology.name(entry.server).clone() });
        }
        if entry.finished {
            return Err(DriverError::Finished { session: session.0 });
        }
        entry.finished = finish;
        Ok(false)
    }

    /// Records that a client closes its connection.
    pub(super) fn close(&mut self, session: SessionId) {
        if let Some(entry) = self.known.get_mut(&session) {
            entry.finished = true;
        }
    }

    /// Returns `true` if the client of a session that was opened has closed neither its writing side nor the connection.
    pub(super) fn may_write(&self, session: SessionId) -> bool {
        self.known.get(&session).is_some_and(|entry| !entry.finished)
    }
}

/// Returns the number of commands in `bytes` that want a reply. A line without its end counts too.
pub(super) fn commands(bytes: &[u8]) -> u64 {
    wire::lines(bytes, true).filter_map(wire::reply_shape).count() as u64
}
