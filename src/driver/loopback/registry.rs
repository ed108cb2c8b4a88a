//! Who is at the far end of a connection between two tasks of this process.
//!
//! An `AT` line does not say who passed it on, and servers add nothing to the protocol that would. Inside one process the
//! address of the dialling socket says it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::activity::Flow;
use super::lock;
use crate::driver::{SessionId, Way};

/// The far end of an accepted connection.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// A neighbour; what it sends is counted in lines.
    Neighbour {
        /// The way its lines take.
        way: Way,
        /// Lines on their way to us.
        lines: Arc<Flow>,
    },
    /// A client of this driver; counted in bytes.
    Client {
        /// Its connection.
        session: SessionId,
        /// Bytes on their way to us.
        commands: Arc<Flow>,
        /// Bytes on their way back.
        replies: Arc<Flow>,
    },
}

/// Callers by the addresses of their sockets.
#[derive(Debug, Default)]
pub(super) struct Registry {
    callers: Mutex<BTreeMap<SocketAddr, Caller>>,
}

impl Registry {
    /// Makes a caller known until the result is dropped. Called before the caller connects.
    pub(super) fn register(self: &Arc<Self>, address: SocketAddr, caller: Caller) -> Registration {
        lock(&self.callers).insert(address, caller);
        Registration { registry: self.clone(), address }
    }

    /// Who calls from `address`; `None` for anybody outside this process.
    pub(super) fn caller(&self, address: SocketAddr) -> Option<Caller> {
        lock(&self.callers).get(&address).cloned()
    }
}

/// A caller that is known.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    address: SocketAddr,
}

impl Registration {
    /// Whether nothing that the caller sent waits to be handled.
    pub(super) fn is_settled(&self) -> bool {
        self.lines().is_none_or(|lines| lines.in_flight() == 0)
    }

    /// What the caller sent will not be handled any more; how many lines that were.
    pub(super) fn lose(self) -> u64 {
        self.lines().map_or(0, |lines| lines.end())
    }

    fn lines(&self) -> Option<Arc<Flow>> {
        match self.registry.caller(self.address)? {
            Caller::Neighbour { lines, .. } => Some(lines),
            Caller::Client { commands, .. } => Some(commands),
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.registry.callers).remove(&self.address);
    }
}
